/* The barrier when a worker is killed at every step: of waiting, first, last or in between, of running
 * the action, of giving up, aborting, resetting, leaving.
 *
 * The invariant: the round is complete for all who survive, each with an index of its own, or broken for
 * all; broken if the victim had come in and the round was not complete when it died, and then it
 * is blamed. Afterwards the barrier can be reset and works. */
#include "steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { PARTIES = 3, MOST = 16 };

struct world {
    plait_barrier barrier;
    plait_event go_on;      /* for an action that waits */
    plait_latch told;       /* two of the late ones found it broken */
    plait_once repaired;    /* the late ones reset it first */
    int results[MOST], n;   /* of survivors in the round that the victim meets */
    int late[MOST], n_late; /* of those that come when all is over */
    int blamed;             /* survivors that were told of the victim */
    int actions, in_action;
    bool in_at_death;   /* a victim was in a round */
    bool open_at_death; /* and that was neither complete nor broken */
    bool aborted;       /* by the root, for those who waited by rights */
    long rounds[MOST];  /* completed, by each of many */
};

/* --- survivors --- */

static void note(int *results, int *n, int rc)
{
    results[__atomic_fetch_add(n, 1, __ATOMIC_SEQ_CST)] = rc;
}

static void note_blame(struct world *w)
{
    plait_blame blame;
    if (plait_barrier_blame(&w->barrier, &blame) == 0 && plait_same(blame.worker, steps_victim(0)))
        __atomic_add_fetch(&w->blamed, 1, __ATOMIC_SEQ_CST);
}

static void meet(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = plait_barrier_wait(&w->barrier, PLAIT_FOREVER);
    if (rc == PLAIT_EBROKEN)
        note_blame(w);
    note(w->results, &w->n, rc);
}

static int repair(void *world, int notice)
{
    struct world *w = world;
    (void)notice;
    STEPS_EXPECT(plait_barrier_reset(&w->barrier) == 0);
    return 0;
}

static void meet_afterwards(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_once_call(&w->repaired, repair, w) == 0);
    note(w->late, &w->n_late, plait_barrier_wait(&w->barrier, PLAIT_FOREVER));
}

/* If the victim died in it, it is broken now, or becomes so while two of them wait. */
static void meet_after_a_death(void *world, int who)
{
    struct world *w = world;
    if (w->in_at_death) {
        if (who < 2) {
            STEPS_EXPECT(plait_barrier_wait(&w->barrier, PLAIT_FOREVER) == PLAIT_EBROKEN);
            STEPS_EXPECT(plait_latch_count_down(&w->told, 1) == 0);
        }
        STEPS_EXPECT(plait_latch_wait(&w->told, PLAIT_FOREVER) == 0);
    }
    meet_afterwards(w, who);
}

static void meet_without_repair(void *world, int who)
{
    struct world *w = world;
    (void)who;
    note(w->late, &w->n_late, plait_barrier_wait(&w->barrier, PLAIT_FOREVER));
}

/* --- the victim --- */

static void wait_here(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = plait_barrier_wait(&w->barrier, PLAIT_FOREVER);
    STEPS_EXPECT(rc >= 0 && rc < PARTIES, "(%s)", plait_errname(rc));
}

static void wait_in_vain(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_barrier_wait(&w->barrier, PLAIT_FOREVER) == PLAIT_EBROKEN);
}

static void wait_2_ms(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = plait_barrier_wait(&w->barrier, plait_ms(2));
    STEPS_EXPECT(rc == PLAIT_ETIMEDOUT, "(%s)", plait_errname(rc));
}

static void wait_until_cancelled(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_barrier_wait(&w->barrier, PLAIT_FOREVER) == PLAIT_ECANCELED);
}

static void abort_it(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_barrier_abort(&w->barrier) == 0);
}

static void reset_it(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_barrier_reset(&w->barrier) == 0);
}

static void abort_and_reset_it(void *world, int who)
{
    abort_it(world, who);
    reset_it(world, who);
}

static void note_round(void *world, int who)
{
    struct world *w = world;
    struct pl_slot *slot = pl_slot_at(steps_victim(who).slot);
    uint64_t state = w->barrier.round_[0];
    if (slot->round != (struct pl_round *)w->barrier.round_)
        return;
    w->in_at_death = true;
    if ((state & PL_ROUND_NUMBER) == slot->round_number && !(state & PL_ROUND_BROKEN))
        w->open_at_death = true;
}

/* --- actions --- */

static int act(void *world)
{
    struct world *w = world;
    steps_here("in the action", &w->actions);
    __atomic_add_fetch(&w->actions, 1, __ATOMIC_SEQ_CST);
    steps_here("in the action", &w->actions);
    return 0;
}

static int act_and_fail(void *world)
{
    act(world);
    return pl_self.id == steps_victim_id(0) ? PLAIT_EMFILE : 0;
}

static void fail_here(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_barrier_wait(&w->barrier, PLAIT_FOREVER) == PLAIT_EMFILE);
}

static int act_when_told(void *world)
{
    struct world *w = world;
    if (__atomic_add_fetch(&w->actions, 1, __ATOMIC_SEQ_CST) == 1)
        STEPS_EXPECT(plait_event_wait(&w->go_on, PLAIT_FOREVER) == 0);
    return 0;
}

/* --- the root --- */

static void begin(void *world, int parties, plait_function *action)
{
    struct world *w = world;
    plait_barrier_options options = {.action = action, .arg = w};
    STEPS_EXPECT(plait_barrier_init(&w->barrier, parties, &options) == 0);
    STEPS_EXPECT(plait_latch_init(&w->told, 2) == 0);
}

static void without_action(void *world)
{
    begin(world, PARTIES, NULL);
}

static void with_action(void *world)
{
    begin(world, PARTIES, act);
}

static void with_failing_action(void *world)
{
    begin(world, PARTIES, act_and_fail);
}

static void with_long_action(void *world)
{
    begin(world, 2, act_when_told);
}

/* For one who never came, and what never was done, the others wait by rights. */
static void root_aborts_if_they_wait(void *world)
{
    struct world *w = world;
    if (w->open_at_death || steps_finished(0) || !plait_barrier_waiting(&w->barrier))
        return;
    w->aborted = true;
    steps_deed();
    abort_it(w, 0);
}

static void root_resets(void *world)
{
    steps_deed();
    reset_it(world, 0);
}

static void root_cancels(void *world)
{
    (void)world;
    int rc = plait_cancel(steps_victim(0));
    STEPS_EXPECT(rc == 0 || rc == PLAIT_ESRCH);
}

static void root_ends_the_action(void *world)
{
    struct world *w = world;
    steps_deed();
    STEPS_EXPECT(plait_event_set(&w->go_on) == 0);
}

static void root_aborts_and_resets(void *world)
{
    steps_deed();
    abort_it(world, 0);
    reset_it(world, 0);
}

static bool the_first_round_is_over(void *world)
{
    struct world *w = world;
    return __atomic_load_n(&w->n, __ATOMIC_SEQ_CST) == 3 ||
           (__atomic_load_n(&w->n, __ATOMIC_SEQ_CST) == 2 &&
            plait_barrier_waiting(&w->barrier) == 1);
}

static void root_aborts_if_one_is_left(void *world)
{
    struct world *w = world;
    if (w->open_at_death || steps_finished(0))
        return;
    STEPS_EXPECT(steps_await(the_first_round_is_over, w));
    root_aborts_if_they_wait(w);
}

static void root_aborts_if_nobody_died_inside(void *world)
{
    struct world *w = world;
    steps_deed();
    if (!w->open_at_death)
        abort_it(w, 0);
}

/* --- what must be --- */

static void indices_are_distinct(const int *results, int n, int below)
{
    uint32_t seen = 0;
    for (int i = 0; i < n; i++) {
        STEPS_EXPECT(results[i] >= 0 && results[i] < below, "(%s)", plait_errname(results[i]));
        STEPS_EXPECT(!(seen & 1u << results[i]), "(index %d twice)", results[i]);
        seen |= 1u << results[i];
    }
}

static void it_works_again(struct world *w)
{
    STEPS_EXPECT(w->n_late == (int)w->barrier.parties_, "(%d)", w->n_late);
    indices_are_distinct(w->late, w->n_late, (int)w->barrier.parties_);
    STEPS_EXPECT(!plait_barrier_broken(&w->barrier) && !plait_barrier_waiting(&w->barrier));
}

static void it_works(void *world)
{
    it_works_again(world);
}

static bool all_are(const struct world *w, int rc)
{
    for (int i = 0; i < w->n; i++)
        if (w->results[i] != rc)
            return false;
    return true;
}

static void complete_for_all_or_broken_for_all(void *world)
{
    struct world *w = world;
    bool is_broken = all_are(w, PLAIT_EBROKEN);
    if (!is_broken)
        indices_are_distinct(w->results, w->n, PARTIES);
    if (w->in_at_death && !w->open_at_death)
        STEPS_EXPECT(!is_broken);
    if (w->open_at_death && is_broken)
        STEPS_EXPECT(w->blamed == w->n, "(by %d of %d)", w->blamed, w->n);
    if (w->aborted)
        STEPS_EXPECT(is_broken && w->blamed == 0);
    if (steps_finished(0))
        STEPS_EXPECT(!is_broken);
    it_works_again(w);
}

static void sent_away_all(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(all_are(w, PLAIT_EBROKEN));
    it_works_again(w);
}

static void broken_for_all(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(!w->open_at_death || w->blamed == w->n, "(by %d of %d)", w->blamed, w->n);
    sent_away_all(w);
}

/* The first round is nobody's business but its own; the one behind the victim, who was at the door, meets
 * it in the next, or waits by rights. */
static void the_first_round_is_complete(void *world)
{
    struct world *w = world;
    int complete = 0, is_broken = 0;
    for (int i = 0; i < w->n; i++) {
        complete += w->results[i] == 0 || w->results[i] == 1;
        is_broken += w->results[i] == PLAIT_EBROKEN;
    }
    STEPS_EXPECT(w->n == 3 && complete + is_broken == 3 && is_broken <= 1, "(%d, %d)", complete,
                 is_broken);
    STEPS_EXPECT(!steps_finished(0) || is_broken == 0);
    it_works_again(w);
}

/* --- many at once --- */

enum { VICTIMS = 3, MANY = 5, ROUNDS = 12 };

static void begin_many(void *world)
{
    begin(world, MANY, act);
}

/* Survivors go on until it is broken. */
static void meet_until_broken(void *world, int who)
{
    struct world *w = world;
    int rc;
    (void)who;
    int me = __atomic_fetch_add(&w->n, 1, __ATOMIC_SEQ_CST);
    while ((rc = plait_barrier_wait(&w->barrier, PLAIT_FOREVER)) >= 0)
        w->rounds[me]++;
    STEPS_EXPECT(rc == PLAIT_EBROKEN);
}

static void meet_often(void *world, int who)
{
    struct world *w = world;
    (void)who;
    for (int i = 0; i < ROUNDS; i++)
        if (plait_barrier_wait(&w->barrier, PLAIT_FOREVER) < 0)
            return;
}

static void same_rounds_for_all(void *world)
{
    struct world *w = world;
    for (int i = 1; i < w->n; i++)
        STEPS_EXPECT(w->rounds[i] == w->rounds[0], "(%ld and %ld)", w->rounds[i], w->rounds[0]);
    STEPS_EXPECT(w->actions >= w->rounds[0] && w->actions <= w->rounds[0] + 1);
}

/* --- scenarios --- */

#define BARRIER .world_size = sizeof(struct world), .last_look = note_round
#define SLEEPERS(n_threads, n_processes)                                                           \
    {                                                                                              \
        .threads = n_threads, .processes = n_processes, .sleep_in = PL_WAIT_BARRIER, .run = meet   \
    }
#define LATE(n_threads, n_processes)                                                               \
    {                                                                                              \
        .threads = n_threads, .processes = n_processes, .run = meet_afterwards                     \
    }
#define AFTER_A_DEATH                                                                              \
    {                                                                                              \
        .threads = 2, .processes = 1, .run = meet_after_a_death                                    \
    }

static const struct steps_scenario first = {.name = "barrier: wait, the first to come",
                                            BARRIER,
                                            .setup = without_action,
                                            .act = wait_here,
                                            .sleeps = true,
                                            .behind = SLEEPERS(1, 1),
                                            .aftermath = root_aborts_if_they_wait,
                                            .late = AFTER_A_DEATH,
                                            .check = complete_for_all_or_broken_for_all};

static const struct steps_scenario between = {.name = "barrier: wait, one before and one behind",
                                              BARRIER,
                                              .setup = without_action,
                                              .ahead = SLEEPERS(0, 1),
                                              .act = wait_here,
                                              .sleeps = true,
                                              .behind = SLEEPERS(1, 0),
                                              .aftermath = root_aborts_if_they_wait,
                                              .late = AFTER_A_DEATH,
                                              .check = complete_for_all_or_broken_for_all};

static const struct steps_scenario old_kernel = {.name = "barrier: wait, without futex_waitv",
                                                 BARRIER,
                                                 .old_kernel = true,
                                                 .setup = without_action,
                                                 .ahead = SLEEPERS(0, 1),
                                                 .act = wait_here,
                                                 .sleeps = true,
                                                 .behind = SLEEPERS(1, 0),
                                                 .aftermath = root_aborts_if_they_wait,
                                                 .late = AFTER_A_DEATH,
                                                 .check = complete_for_all_or_broken_for_all};

static const struct steps_scenario last = {.name = "barrier: wait, the last to come",
                                           BARRIER,
                                           .setup = without_action,
                                           .ahead = SLEEPERS(1, 1),
                                           .act = wait_here,
                                           .aftermath = root_aborts_if_they_wait,
                                           .late = AFTER_A_DEATH,
                                           .check = complete_for_all_or_broken_for_all};

static const struct steps_scenario last_joined = {
    .name = "barrier: wait, the last to come, the parent joins",
    BARRIER,
    .join = true,
    .setup = without_action,
    .ahead = SLEEPERS(1, 1),
    .act = wait_here,
    .aftermath = root_aborts_if_they_wait,
    .late = AFTER_A_DEATH,
    .check = complete_for_all_or_broken_for_all};

static const struct steps_scenario action = {.name = "barrier: the last to come runs the action",
                                             BARRIER,
                                             .setup = with_action,
                                             .ahead = SLEEPERS(1, 1),
                                             .act = wait_here,
                                             .aftermath = root_aborts_if_they_wait,
                                             .late = AFTER_A_DEATH,
                                             .check = complete_for_all_or_broken_for_all};

static const struct steps_scenario failing = {.name = "barrier: the action fails",
                                              BARRIER,
                                              .setup = with_failing_action,
                                              .ahead = SLEEPERS(1, 1),
                                              .act = fail_here,
                                              .aftermath = root_aborts_if_they_wait,
                                              .late = AFTER_A_DEATH,
                                              .check = broken_for_all};

static const struct steps_scenario door = {
    .name = "barrier: wait for a round that is full",
    BARRIER,
    .setup = with_long_action,
    .first = SLEEPERS(0, 1),
    .ahead = {.threads = 1, .sleep_in = PL_WAIT_EVENT, .run = meet},
    .act = wait_here,
    .sleeps = true,
    .behind = SLEEPERS(0, 1),
    .direct = root_ends_the_action,
    .aftermath = root_aborts_if_one_is_left,
    .late = LATE(1, 1),
    .check = the_first_round_is_complete};

static const struct steps_scenario time_out = {.name = "barrier: time out",
                                               BARRIER,
                                               .setup = without_action,
                                               .ahead = SLEEPERS(0, 1),
                                               .act = wait_2_ms,
                                               .stride = 4,
                                               .sleeps = true,
                                               .aftermath = root_aborts_if_they_wait,
                                               .late = AFTER_A_DEATH,
                                               .check = broken_for_all};

static const struct steps_scenario cancelled = {.name = "barrier: cancelled",
                                                BARRIER,
                                                .setup = without_action,
                                                .ahead = SLEEPERS(0, 1),
                                                .act = wait_until_cancelled,
                                                .direct = root_cancels,
                                                .aftermath = root_aborts_if_they_wait,
                                                .late = AFTER_A_DEATH,
                                                .check = broken_for_all};

static const struct steps_scenario aborting = {.name = "barrier: abort, others wait",
                                               BARRIER,
                                               .setup = without_action,
                                               .ahead = SLEEPERS(1, 1),
                                               .act = abort_it,
                                               .aftermath = root_aborts_if_they_wait,
                                               .late = LATE(1, 2),
                                               .check = sent_away_all};

static const struct steps_scenario resetting = {.name = "barrier: reset, others wait",
                                                BARRIER,
                                                .setup = without_action,
                                                .ahead = SLEEPERS(1, 1),
                                                .act = reset_it,
                                                .aftermath = root_aborts_if_they_wait,
                                                .late = LATE(1, 2),
                                                .check = sent_away_all};

static const struct steps_scenario both = {.name = "barrier: abort and reset, others wait",
                                           BARRIER,
                                           .setup = without_action,
                                           .ahead = SLEEPERS(1, 1),
                                           .act = abort_and_reset_it,
                                           .aftermath = root_aborts_if_they_wait,
                                           .late = LATE(1, 2),
                                           .check = sent_away_all};

static const struct steps_scenario leaving = {.name = "barrier: leave after a reset",
                                              BARRIER,
                                              .setup = without_action,
                                              .ahead = SLEEPERS(0, 1),
                                              .act = wait_in_vain,
                                              .sleeps = true,
                                              .direct = root_resets,
                                              .aftermath = root_aborts_if_they_wait,
                                              .late = LATE(1, 2),
                                              .check = sent_away_all};

/* Whenever it died: what came before the reset is forgotten. */
static const struct steps_scenario forgotten = {
    .name = "barrier: wait, then it is aborted and reset",
    BARRIER,
    .setup = without_action,
    .act = wait_in_vain,
    .sleeps = true,
    .direct = root_aborts_and_resets,
    .late = {.threads = 1, .processes = 2, .sleep_in = PL_WAIT_BARRIER, .run = meet_without_repair},
    .check = it_works};

static const struct steps_scenario several_at_random = {.name = "barrier: several at random steps",
                                                        BARRIER,
                                                        .victims = VICTIMS,
                                                        .setup = begin_many,
                                                        .ahead = {1, 1, 0, meet_until_broken},
                                                        .act = meet_often,
                                                        .aftermath =
                                                            root_aborts_if_nobody_died_inside,
                                                        .check = same_rounds_for_all};

int main(void)
{
    const struct CMUnitTest tests[] = {
        STEPS_TEST(first),          STEPS_TEST(between),
        STEPS_TEST(old_kernel),     STEPS_TEST(last),
        STEPS_TEST(last_joined),    STEPS_TEST(action),
        STEPS_TEST(failing),        STEPS_TEST(door),
        STEPS_TEST(time_out),       STEPS_TEST(cancelled),
        STEPS_TEST(aborting),       STEPS_TEST(resetting),
        STEPS_TEST(both),           STEPS_TEST(leaving),
        STEPS_TEST(forgotten),      STEPS_STORES_TEST(between),
        STEPS_STORES_TEST(last),    STEPS_STORES_TEST(action),
        STEPS_STORES_TEST(leaving), STEPS_RANDOM_TEST(several_at_random),
    };
    int rc = cmocka_run_group_tests_name("barrier", tests, NULL, NULL);
    steps_print_total();
    return rc;
}
