/* The condition when a worker is killed at every step: of waiting, of being notified, of notifying.
 *
 * The invariant: notifications are counted. Each goes to one waiter that was there; one whose
 * receiver dies before its wait returns goes to another; nobody else returns, nobody sleeps for
 * ever, and the lock tells of a death exactly if the dead one held it. */
#include "steps.h"

#include "sync/lock_word.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <unistd.h>

enum { AHEAD = 1, BEHIND = 10, MOST = 20 }; /* names of survivors: AHEAD + who, BEHIND + who */

struct world {
    plait_condition c;
    int given;               /* notifications, as notify said; under the lock, like the next two */
    int told;                /* of deaths */
    bool returned[MOST];     /* with a notification; by a survivor's name */
    int woken_by_death;      /* returned because the lock's holder had died with it */
    int died_with;           /* victims that held the lock when they died */
    int notified_at_death;   /* waiters that the victim had notified when it died */
    bool dead_when_notified; /* the root notified after the victim's death */
    bool got_one;            /* the victim's wait returned with a notification */
    plait_worker early;      /* a waiter that is killed before the victim comes */
};

/* --- the lock, and what it tells --- */

static void heard(struct world *w, int rc)
{
    STEPS_EXPECT(rc == 0 || rc == PLAIT_OWNER_DIED, "(%s)", plait_errname(rc));
    w->told += rc == PLAIT_OWNER_DIED;
}

static void enter(struct world *w)
{
    heard(w, plait_lock_acquire(plait_condition_lock(&w->c), PLAIT_FOREVER));
}

static void leave(struct world *w)
{
    STEPS_EXPECT(plait_lock_release(plait_condition_lock(&w->c)) == 0);
}

/* --- survivors --- */

/* A wait also ends when the lock's holder died with it; whether there was a notification besides, the
 * caller cannot see, but we can: the mark stays. */
static void wait_as(struct world *w, int name)
{
    enter(w);
    int rc = plait_condition_wait(&w->c, PLAIT_FOREVER);
    heard(w, rc);
    w->returned[name] = pl_self.slot->turn.word == PL_TURN_NOTIFIED;
    w->woken_by_death += !w->returned[name];
    STEPS_EXPECT(w->returned[name] || rc == PLAIT_OWNER_DIED, "(for nothing)");
    leave(w);
}

static void wait_ahead(void *world, int who)
{
    wait_as(world, AHEAD + who);
}

static void wait_behind(void *world, int who)
{
    wait_as(world, BEHIND + who);
}

/* --- the victim --- */

static void hold_it(void *world, int who)
{
    (void)who;
    enter(world);
}

static void wait_here(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = plait_condition_wait(&w->c, PLAIT_FOREVER);
    STEPS_EXPECT(rc == 0, "(%s)", plait_errname(rc));
    w->got_one = true;
}

static void wait_2_ms(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = plait_condition_wait(&w->c, plait_ms(2));
    STEPS_EXPECT(rc == 0 || rc == PLAIT_ETIMEDOUT, "(%s)", plait_errname(rc));
    w->got_one = rc == 0;
}

static void wait_until_cancelled(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = plait_condition_wait(&w->c, PLAIT_FOREVER);
    STEPS_EXPECT(rc == 0 || rc == PLAIT_ECANCELED, "(%s)", plait_errname(rc));
    w->got_one = rc == 0;
}

static void notify_1(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_condition_notify(&w->c, 1) == 1);
}

static void notify_all(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_condition_notify_all(&w->c) == 3);
}

static void notify_1_and_leave(void *world, int who)
{
    notify_1(world, who);
    leave(world);
}

/* The marks of those the victim notified stay, also when they have returned. The victim's own wait ends
 * with the store that takes it out of the condition's hands. */
static void note(void *world, int who)
{
    struct world *w = world;
    const struct pl_turn *own = &pl_slot_at(steps_victim(who).slot)->turn;
    w->died_with = pl_lock_holder(plait_condition_lock(&w->c)) == steps_victim_id(who);
    w->got_one |= !own->debt && own->word == PL_TURN_NOTIFIED;
    w->notified_at_death = 0;
    for (uint32_t i = 1; i < pl_arena->slots_ready; i++)
        if (&pl_slot_at(i)->turn != own)
            w->notified_at_death += pl_slot_at(i)->turn.word == PL_TURN_NOTIFIED;
}

/* --- the root --- */

static void root_notifies(struct world *w, int n)
{
    enter(w);
    w->dead_when_notified = steps_is_dead(0);
    steps_deed();
    w->given += plait_condition_notify(&w->c, n);
    leave(w);
}

static void root_notifies_1(void *world)
{
    root_notifies(world, 1);
}

static bool wants_the_lock_or_is_dead(void *world)
{
    (void)world;
    struct pl_slot *slot = pl_slot_at(steps_victim(0).slot);
    return pl_load_relaxed(&slot->waits_kind) == PL_WAIT_LOCK || steps_is_dead(0);
}

/* Keeps the lock until the receiver has to sleep for it. */
static void root_notifies_1_and_lingers(void *world)
{
    struct world *w = world;
    enter(w);
    w->dead_when_notified = steps_is_dead(0);
    w->given += plait_condition_notify(&w->c, 1);
    STEPS_EXPECT(w->dead_when_notified || steps_await(wants_the_lock_or_is_dead, w));
    leave(w);
}

static void root_notifies_1_after_2_ms(void *world)
{
    usleep(2000);
    root_notifies(world, 1);
}

static void root_notifies_3(void *world)
{
    root_notifies(world, 3);
}

static void root_cancels(void *world)
{
    (void)world;
    int rc = plait_cancel(steps_victim(0));
    STEPS_EXPECT(rc == 0 || rc == PLAIT_ESRCH);
}

static void root_cancels_and_notifies_1(void *world)
{
    root_cancels(world);
    root_notifies(world, 1);
}

/* --- notifications add up --- */

static int owed_to_survivors(struct world *w)
{
    return w->given - w->got_one;
}

static int count_returned(const struct world *w)
{
    int n = 0;
    for (int i = 0; i < MOST; i++)
        n += __atomic_load_n(&w->returned[i], __ATOMIC_SEQ_CST);
    return n;
}

static bool have_got_what_is_owed(void *world)
{
    return count_returned(world) >= owed_to_survivors(world);
}

/* Those who were notified return without further help; exactly the others still wait then. */
static void settle(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(steps_await(have_got_what_is_owed, w), "(a notification is lost)");
    enter(w);
    int returned = count_returned(w), extra = returned - owed_to_survivors(w);
    int waited = plait_condition_notify_all(&w->c);
    int left = steps_hired() - returned - w->woken_by_death;
    STEPS_EXPECT(extra == 0, "(%d returned for %d)", returned, owed_to_survivors(w));
    STEPS_EXPECT(waited == left, "(%d in the queue, not %d)", waited, left);
    steps_deed();
    leave(w);
}

static void settle_the_victims(void *world)
{
    struct world *w = world;
    w->given += w->notified_at_death;
    settle(w);
}

static void notify_1_then_settle(void *world)
{
    root_notifies(world, 1);
    settle(world);
}

static void told_exactly_if_held(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(w->told == w->died_with, "(%d, %d)", w->told, w->died_with);
    STEPS_EXPECT(!plait_lock_locked(plait_condition_lock(&w->c)));
}

/* --- who got them --- */

static void first_ahead_got_one(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(w->returned[AHEAD] || w->woken_by_death);
    settle(w);
}

static void first_ahead_got_the_victims(void *world)
{
    struct world *w = world;
    w->given += w->notified_at_death;
    STEPS_EXPECT(steps_await(have_got_what_is_owed, w), "(a notification is lost)");
    STEPS_EXPECT(w->given == 0 || w->returned[AHEAD]);
    settle(w);
}

static void those_ahead_and_one_behind_got_them(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(steps_await(have_got_what_is_owed, w), "(a notification is lost)");
    if (!w->woken_by_death)
        STEPS_EXPECT(w->returned[AHEAD] && w->returned[AHEAD + 1]);
    if (!w->woken_by_death && w->dead_when_notified)
        STEPS_EXPECT(w->returned[BEHIND]);
    settle(w);
}

static void notify_1_for_the_first_ahead(void *world)
{
    struct world *w = world;
    root_notifies(w, 1);
    STEPS_EXPECT(steps_await(have_got_what_is_owed, w), "(a notification is lost)");
    first_ahead_got_one(w);
}

/* --- a waiter that died before --- */

static int wait_for_death(void *world)
{
    struct world *w = world;
    enter(w);
    plait_condition_wait(&w->c, PLAIT_FOREVER);
    return 0;
}

static bool early_waits(void *world)
{
    struct world *w = world;
    struct pl_slot *slot = pl_slot_find(w->early);
    return slot && pl_load_relaxed(&slot->waits_kind) == PL_WAIT_CONDITION;
}

static bool early_wants_the_lock(void *world)
{
    struct world *w = world;
    struct pl_slot *slot = pl_slot_find(w->early);
    return slot && pl_load_relaxed(&slot->waits_kind) == PL_WAIT_LOCK;
}

static void start_early(struct world *w)
{
    STEPS_EXPECT(plait_start(&w->early, PLAIT_PROCESS, wait_for_death, w, NULL) == 0);
    STEPS_EXPECT(steps_await(early_waits, w));
}

static bool early_is_dead(void *world)
{
    struct world *w = world;
    return pl_heart_is_stopped(pl_slot_at(w->early.slot));
}

static void kill_early(struct world *w)
{
    STEPS_EXPECT(plait_kill(w->early) == 0);
    STEPS_EXPECT(steps_await(early_is_dead, w));
}

static void with_a_dead_waiter(void *world)
{
    start_early(world);
    kill_early(world);
}

/* It was notified, and died before it could take the lock back; nobody has noticed yet. */
static void with_a_dead_receiver(void *world)
{
    struct world *w = world;
    start_early(w);
    enter(w);
    w->given += plait_condition_notify(&w->c, 1);
    STEPS_EXPECT(steps_await(early_wants_the_lock, w));
    kill_early(w);
    leave(w);
}

static void root_joins_early(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(plait_join(w->early, NULL, plait_seconds(5)) == PLAIT_DIED);
}

static void early_is_joined_too(void *world)
{
    struct world *w = world;
    plait_join(w->early, NULL, plait_seconds(5));
    told_exactly_if_held(w);
}

/* --- many at once: makers that are killed, users that are not --- */

enum { MADE_BY_EACH = 20 };

struct store {
    plait_condition c;
    long made, used; /* things; under the lock */
    bool closed;
};

static void make_things(void *world, int who)
{
    struct store *s = world;
    (void)who;
    for (int i = 0; i < MADE_BY_EACH; i++) {
        if (plait_lock_acquire(plait_condition_lock(&s->c), PLAIT_FOREVER) == PLAIT_OWNER_DIED)
            plait_condition_notify_all(&s->c);
        s->made++;
        plait_condition_notify(&s->c, 1);
        plait_lock_release(plait_condition_lock(&s->c));
    }
}

static bool is_there_something(void *world)
{
    struct store *s = world;
    return s->made > s->used || s->closed;
}

/* Whoever is told of a death passes on what the dead one may have left unsaid. */
static bool use_one(struct store *s)
{
    int rc = plait_lock_acquire(plait_condition_lock(&s->c), PLAIT_FOREVER);
    if (rc == PLAIT_OWNER_DIED)
        plait_condition_notify_all(&s->c);
    rc = plait_condition_wait_for(&s->c, is_there_something, s, PLAIT_FOREVER);
    STEPS_EXPECT(rc == 0 || rc == PLAIT_OWNER_DIED, "(%s)", plait_errname(rc));
    if (rc == PLAIT_OWNER_DIED)
        plait_condition_notify_all(&s->c);
    bool some = s->made > s->used;
    s->used += some;
    plait_lock_release(plait_condition_lock(&s->c));
    return some;
}

static void use_things(void *world, int who)
{
    (void)who;
    while (use_one(world))
        ;
}

static bool is_sold_out(void *world)
{
    struct store *s = world;
    return __atomic_load_n(&s->made, __ATOMIC_SEQ_CST) ==
           __atomic_load_n(&s->used, __ATOMIC_SEQ_CST);
}

/* A maker that died between making and notifying left that to the next holder of the lock. */
static void close_store(void *world)
{
    struct store *s = world;
    if (plait_lock_acquire(plait_condition_lock(&s->c), PLAIT_FOREVER) == PLAIT_OWNER_DIED)
        plait_condition_notify_all(&s->c);
    plait_lock_release(plait_condition_lock(&s->c));
    STEPS_EXPECT(steps_await(is_sold_out, s), "(%ld made, %ld used)", s->made, s->used);
    plait_lock_acquire(plait_condition_lock(&s->c), PLAIT_FOREVER);
    s->closed = true;
    plait_condition_notify_all(&s->c);
    plait_lock_release(plait_condition_lock(&s->c));
}

static void all_is_used(void *world)
{
    STEPS_EXPECT(is_sold_out(world));
}

/* --- scenarios --- */

#define CONDITION .world_size = sizeof(struct world), .last_look = note
#define TOLD .check = told_exactly_if_held
#define WAITERS(n_threads, n_processes, fn)                                                        \
    {                                                                                              \
        .threads = n_threads, .processes = n_processes, .sleep_in = PL_WAIT_CONDITION, .run = fn   \
    }

static const struct steps_scenario wait_first = {.name = "condition: wait, others behind",
                                                 CONDITION,
                                                 .prepare = hold_it,
                                                 .act = wait_here,
                                                 .sleeps = true,
                                                 .behind = WAITERS(1, 1, wait_behind),
                                                 .direct = root_notifies_1,
                                                 .aftermath = settle,
                                                 TOLD};

static const struct steps_scenario wait_old_kernel = {.name =
                                                          "condition: wait, without futex_waitv",
                                                      CONDITION,
                                                      .old_kernel = true,
                                                      .prepare = hold_it,
                                                      .act = wait_here,
                                                      .sleeps = true,
                                                      .behind = WAITERS(1, 1, wait_behind),
                                                      .direct = root_notifies_1,
                                                      .aftermath = settle,
                                                      TOLD};

static const struct steps_scenario wait_for_the_lock_again = {
    .name = "condition: wait, then for the lock, others behind",
    CONDITION,
    .prepare = hold_it,
    .act = wait_here,
    .behind = WAITERS(1, 1, wait_behind),
    .direct = root_notifies_1_and_lingers,
    .aftermath = settle,
    TOLD};

static const struct steps_scenario wait_joined = {.name = "condition: wait, the parent joins",
                                                  CONDITION,
                                                  .join = true,
                                                  .prepare = hold_it,
                                                  .act = wait_here,
                                                  .sleeps = true,
                                                  .behind = WAITERS(1, 1, wait_behind),
                                                  .direct = root_notifies_1,
                                                  .aftermath = settle,
                                                  TOLD};

static const struct steps_scenario wait_between = {.name =
                                                       "condition: wait, others before and behind",
                                                   CONDITION,
                                                   .first = WAITERS(1, 1, wait_ahead),
                                                   .prepare = hold_it,
                                                   .act = wait_here,
                                                   .sleeps = true,
                                                   .behind = WAITERS(1, 1, wait_behind),
                                                   .direct = root_notifies_3,
                                                   .aftermath = those_ahead_and_one_behind_got_them,
                                                   TOLD};

static const struct steps_scenario time_out = {.name = "condition: time out",
                                               CONDITION,
                                               .first = WAITERS(0, 2, wait_ahead),
                                               .prepare = hold_it,
                                               .act = wait_2_ms,
                                               .sleeps = true,
                                               .aftermath = notify_1_for_the_first_ahead,
                                               TOLD};

static const struct steps_scenario time_out_others_behind = {
    .name = "condition: time out, others behind",
    CONDITION,
    .first = WAITERS(0, 1, wait_ahead),
    .prepare = hold_it,
    .act = wait_2_ms,
    .behind = WAITERS(1, 1, wait_behind),
    .aftermath = notify_1_for_the_first_ahead,
    TOLD};

static const struct steps_scenario time_out_while_notified = {
    .name = "condition: time out while notified",
    CONDITION,
    .prepare = hold_it,
    .act = wait_2_ms,
    .behind = WAITERS(1, 1, wait_behind),
    .direct = root_notifies_1_after_2_ms,
    .aftermath = settle,
    TOLD};

static const struct steps_scenario cancelled = {.name = "condition: cancelled",
                                                CONDITION,
                                                .prepare = hold_it,
                                                .act = wait_until_cancelled,
                                                .behind = WAITERS(1, 1, wait_behind),
                                                .direct = root_cancels,
                                                .aftermath = notify_1_then_settle,
                                                TOLD};

static const struct steps_scenario cancelled_while_notified = {
    .name = "condition: cancelled while notified",
    CONDITION,
    .prepare = hold_it,
    .act = wait_until_cancelled,
    .behind = WAITERS(1, 1, wait_behind),
    .direct = root_cancels_and_notifies_1,
    .aftermath = settle,
    TOLD};

static const struct steps_scenario notify_one = {.name = "condition: notify 1 of 3",
                                                 CONDITION,
                                                 .first = WAITERS(1, 2, wait_ahead),
                                                 .prepare = hold_it,
                                                 .act = notify_1,
                                                 .aftermath = first_ahead_got_the_victims,
                                                 TOLD};

static const struct steps_scenario notify_one_and_leave = {
    .name = "condition: notify 1 of 3 and release",
    CONDITION,
    .first = WAITERS(1, 2, wait_ahead),
    .prepare = hold_it,
    .act = notify_1_and_leave,
    .aftermath = first_ahead_got_the_victims,
    TOLD};

static const struct steps_scenario notify_three = {.name = "condition: notify all 3",
                                                   CONDITION,
                                                   .first = WAITERS(1, 2, wait_ahead),
                                                   .prepare = hold_it,
                                                   .act = notify_all,
                                                   .aftermath = settle_the_victims,
                                                   TOLD};

static const struct steps_scenario notify_past_a_dead = {
    .name = "condition: notify 1, a dead one before it",
    CONDITION,
    .setup = with_a_dead_waiter,
    .first = WAITERS(1, 2, wait_ahead),
    .prepare = hold_it,
    .act = notify_1,
    .aftermath = first_ahead_got_the_victims,
    .check = early_is_joined_too};

static const struct steps_scenario wait_behind_a_dead = {.name =
                                                             "condition: wait behind a dead one",
                                                         CONDITION,
                                                         .setup = with_a_dead_waiter,
                                                         .prepare = hold_it,
                                                         .act = wait_here,
                                                         .behind = WAITERS(1, 1, wait_behind),
                                                         .direct = root_notifies_1,
                                                         .aftermath = settle,
                                                         .check = early_is_joined_too};

static const struct steps_scenario inherit = {
    .name = "condition: a dead one's notification is passed on",
    CONDITION,
    .setup = with_a_dead_receiver,
    .prepare = hold_it,
    .act = wait_here,
    .sleeps = true,
    .behind = WAITERS(1, 1, wait_behind),
    .direct = root_joins_early,
    .aftermath = settle,
    .check = early_is_joined_too};

static const struct steps_scenario several_at_random = {
    .name = "condition: several makers at random steps",
    .world_size = sizeof(struct store),
    .victims = 3,
    .act = make_things,
    .ahead = {.threads = 1, .processes = 2, .run = use_things},
    .aftermath = close_store,
    .check = all_is_used};

/* With an argument the slowest alone, which takes as long as all others. */
int main(int argc, char **argv)
{
    (void)argv;
    const struct CMUnitTest slow[] = {STEPS_STORES_TEST(inherit)};
    const struct CMUnitTest tests[] = {
        STEPS_TEST(wait_first),
        STEPS_TEST(wait_old_kernel),
        STEPS_TEST(wait_for_the_lock_again),
        STEPS_TEST(wait_joined),
        STEPS_TEST(wait_between),
        STEPS_TEST(time_out),
        STEPS_TEST(time_out_others_behind),
        STEPS_TEST(time_out_while_notified),
        STEPS_TEST(cancelled),
        STEPS_TEST(cancelled_while_notified),
        STEPS_TEST(notify_one),
        STEPS_TEST(notify_one_and_leave),
        STEPS_TEST(notify_three),
        STEPS_TEST(notify_past_a_dead),
        STEPS_TEST(wait_behind_a_dead),
        STEPS_TEST(inherit),
        STEPS_STORES_TEST(wait_first),
        STEPS_STORES_TEST(wait_between),
        STEPS_STORES_TEST(time_out_others_behind),
        STEPS_STORES_TEST(notify_one_and_leave),
        STEPS_STORES_TEST(notify_three),
        STEPS_RANDOM_TEST(several_at_random),
    };
    int rc = argc > 1 ? cmocka_run_group_tests_name("condition", slow, NULL, NULL)
                      : cmocka_run_group_tests_name("condition", tests, NULL, NULL);
    steps_print_total();
    return rc;
}
