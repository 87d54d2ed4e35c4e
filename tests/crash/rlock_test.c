/* The rlock when a worker is killed at every step: of taking it several times, giving it back as often,
 * waiting for it, waiting on a condition with it.
 *
 * The invariant: everybody else gets the rlock, one at a time and once; and whoever gets it next is told
 * of the death exactly if the dead one held it, however often. */
#include "steps.h"

#include "sync/lock_word.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <unistd.h>

enum { DEPTH = 3 };

struct world {
    plait_rlock lock;
    plait_condition condition;
    uint32_t inside;     /* workers between taking and giving: never more than one */
    uint32_t passes;     /* survivors that had the lock; under it */
    uint32_t told;       /* of these, told of a death */
    uint32_t died_with;  /* victims that held the lock when they died */
    bool victim_told;    /* the victim was told of the holder's death, and gave the lock on */
    plait_worker holder; /* a worker that holds it before the victim comes, and dies */
    uint32_t holds;
    long left, right; /* equal while nobody is inside; under the lock */
};

/* --- survivors --- */

static bool is_known(const plait_blame *blame, const struct world *w)
{
    for (int i = 0; i < 4; i++)
        if (plait_same(blame->worker, steps_victim(i)))
            return true;
    return plait_same(blame->worker, w->holder);
}

static void note_the_death(struct world *w)
{
    plait_blame blame;
    w->told++;
    w->inside = 0;
    w->right = w->left;
    STEPS_EXPECT(plait_rlock_blame(&w->lock, &blame) == 0);
    STEPS_EXPECT(is_known(&blame, w));
    STEPS_EXPECT(blame.signal == SIGKILL);
}

static void be_inside(struct world *w)
{
    STEPS_EXPECT(__atomic_exchange_n(&w->inside, 1, __ATOMIC_SEQ_CST) == 0);
    STEPS_EXPECT(w->left == w->right);
    STEPS_EXPECT(plait_rlock_depth(&w->lock) == 1);
    w->left++;
    w->right++;
    w->passes++;
    STEPS_EXPECT(__atomic_exchange_n(&w->inside, 0, __ATOMIC_SEQ_CST) == 1);
}

static void pass_through(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = plait_rlock_acquire(&w->lock, PLAIT_FOREVER);
    STEPS_EXPECT(rc == 0 || rc == PLAIT_OWNER_DIED);
    if (rc == PLAIT_OWNER_DIED)
        note_the_death(w);
    be_inside(w);
    STEPS_EXPECT(plait_rlock_release(&w->lock) == 0);
}

static void expect_free(struct world *w)
{
    STEPS_EXPECT(!plait_rlock_locked(&w->lock));
    STEPS_EXPECT(plait_rlock_acquire(&w->lock, PLAIT_NOWAIT) == 0, "(nobody holds or wants it)");
    STEPS_EXPECT(plait_rlock_release(&w->lock) == 0);
}

static void told_exactly_if_held(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(w->passes == (uint32_t)steps_through());
    STEPS_EXPECT(w->told == w->died_with);
    expect_free(w);
}

/* --- the victim --- */

static void take(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_rlock_acquire(&w->lock, PLAIT_FOREVER) >= 0);
    for (uint32_t depth = 1; depth < DEPTH; depth++) {
        STEPS_EXPECT(plait_rlock_depth(&w->lock) == depth);
        STEPS_EXPECT(plait_rlock_acquire(&w->lock, PLAIT_NOWAIT) == 0);
    }
}

static void give(void *world, int who)
{
    struct world *w = world;
    (void)who;
    for (int i = 0; i < DEPTH; i++)
        STEPS_EXPECT(plait_rlock_release(&w->lock) == 0);
}

static void take_and_give(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = plait_rlock_acquire(&w->lock, PLAIT_FOREVER);
    STEPS_EXPECT(rc >= 0);
    w->victim_told = rc == PLAIT_OWNER_DIED;
    STEPS_EXPECT(plait_rlock_depth(&w->lock) == 1);
    STEPS_EXPECT(plait_rlock_release(&w->lock) == 0);
}

/* Waits on the condition with the rlock held DEPTH times, and is notified by the root. */
static void wait_deep(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_condition_wait(&w->condition, PLAIT_FOREVER) == 0);
    STEPS_EXPECT(plait_rlock_depth(&w->lock) == DEPTH);
}

static void give_and_take(void *world, int who)
{
    give(world, who);
    take(world, who);
}

static void take_within_2_ms(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = plait_rlock_acquire(&w->lock, plait_ms(2));
    STEPS_EXPECT(rc == PLAIT_ETIMEDOUT || rc == 0);
}

static void take_until_cancelled(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = plait_rlock_acquire(&w->lock, PLAIT_FOREVER);
    STEPS_EXPECT(rc == PLAIT_ECANCELED || rc == 0);
}

static void note_if_held(void *world, int who)
{
    struct world *w = world;
    if (pl_lock_holder(&w->lock.lock_) == steps_victim_id(who))
        __atomic_add_fetch(&w->died_with, 1, __ATOMIC_SEQ_CST);
}

/* --- the root --- */

static void root_takes(void *world)
{
    take(world, 0);
}

static void root_gives(void *world)
{
    steps_deed();
    give(world, 0);
}

static void make_condition(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(plait_condition_init_rlock(&w->condition, &w->lock) == 0);
}

/* The victim may have died with the rlock, before it slept: then it is told of here. */
static void root_notifies(void *world)
{
    struct world *w = world;
    int rc = plait_rlock_acquire(&w->lock, PLAIT_FOREVER);
    STEPS_EXPECT(rc >= 0);
    w->told += rc == PLAIT_OWNER_DIED;
    STEPS_EXPECT(plait_condition_notify(&w->condition, 1) >= 0);
    STEPS_EXPECT(plait_rlock_release(&w->lock) == 0);
    steps_deed();
}

static void root_gives_after_2_ms(void *world)
{
    usleep(2000);
    root_gives(world);
}

static void root_cancels(void *world)
{
    (void)world;
    int rc = plait_cancel(steps_victim(0));
    STEPS_EXPECT(rc == 0 || rc == PLAIT_ESRCH);
}

static void root_cancels_and_gives(void *world)
{
    root_cancels(world);
    root_gives(world);
}

/* --- dying holders --- */

static int hold(void *world)
{
    struct world *w = world;
    take(world, 0);
    __atomic_store_n(&w->holds, 1, __ATOMIC_SEQ_CST);
    for (;;)
        pause();
    return 0;
}

static bool is_held(void *world)
{
    return __atomic_load_n(&((struct world *)world)->holds, __ATOMIC_SEQ_CST);
}

static void let_another_hold(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(plait_start(&w->holder, PLAIT_PROCESS, hold, w, NULL) == 0);
    STEPS_EXPECT(steps_await(is_held, w));
}

static void kill_the_holder(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(plait_kill(w->holder) == 0);
}

static void let_another_hold_and_die(void *world)
{
    struct world *w = world;
    let_another_hold(w);
    kill_the_holder(w);
    STEPS_EXPECT(plait_join(w->holder, NULL, plait_seconds(5)) == PLAIT_DIED);
}

/* The holder's death is told to a survivor or to the victim, the victim's to a survivor. */
static void told_of_both(void *world)
{
    struct world *w = world;
    plait_join(w->holder, NULL, plait_seconds(5));
    STEPS_EXPECT(w->passes == (uint32_t)steps_through());
    if (w->died_with)
        STEPS_EXPECT(w->told == 1 || (w->told == 2 && !w->victim_told));
    else
        STEPS_EXPECT(w->told == (w->victim_told ? 0 : 1));
    expect_free(w);
}

/* --- many at once --- */

static void pass_often(void *world, int who)
{
    for (int i = 0; i < 40; i++)
        pass_through(world, who);
}

static void change_often(void *world, int who)
{
    struct world *w = world;
    for (int i = 0; i < 25; i++) {
        int rc = plait_rlock_acquire(&w->lock, i % 3 ? PLAIT_FOREVER : plait_us(300));
        if (rc < 0)
            continue;
        w->left = w->right;
        w->left++;
        steps_here("half changed", &w->left);
        w->right++;
        STEPS_EXPECT(plait_rlock_release(&w->lock) == 0);
    }
    (void)who;
}

/* A victim may itself be told of another's death: then nobody else is. */
static void told_no_more_than_held(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(w->passes == 40u * 2 + 2);
    STEPS_EXPECT(w->told <= w->died_with);
    expect_free(w);
}

/* --- scenarios --- */

#define LOCK .world_size = sizeof(struct world), .last_look = note_if_held
#define TOLD .check = told_exactly_if_held
#define WAITERS                                                                                    \
    {                                                                                              \
        .threads = 1, .processes = 1, .sleep_in = PL_WAIT_RLOCK, .run = pass_through               \
    }
#define NEWCOMERS                                                                                  \
    {                                                                                              \
        .threads = 1, .processes = 1, .run = pass_through                                          \
    }

static const struct steps_scenario take_free = {
    .name = "rlock: take, free", LOCK, .act = take, .late = NEWCOMERS, TOLD};

static const struct steps_scenario take_held = {.name = "rlock: take, held",
                                                LOCK,
                                                .setup = root_takes,
                                                .act = take,
                                                .sleeps = true,
                                                .direct = root_gives,
                                                .late = NEWCOMERS,
                                                TOLD};

static const struct steps_scenario take_held_others_wait = {
    .name = "rlock: take, held, others wait before and after",
    LOCK,
    .setup = root_takes,
    .ahead = WAITERS,
    .act = take,
    .sleeps = true,
    .behind = WAITERS,
    .direct = root_gives,
    .late = NEWCOMERS,
    TOLD};

static const struct steps_scenario take_held_others_behind = {
    .name = "rlock: take, held, others wait behind",
    LOCK,
    .setup = root_takes,
    .act = take,
    .sleeps = true,
    .behind = WAITERS,
    .direct = root_gives,
    .late = NEWCOMERS,
    TOLD};

static const struct steps_scenario take_held_others_wait_old_kernel = {
    .name = "rlock: take, held, others wait, without futex_waitv",
    LOCK,
    .setup = root_takes,
    .ahead = WAITERS,
    .act = take,
    .sleeps = true,
    .old_kernel = true,
    .direct = root_gives,
    .late = NEWCOMERS,
    TOLD};

static const struct steps_scenario give_alone = {.name = "rlock: give, nobody waits",
                                                 LOCK,
                                                 .prepare = take,
                                                 .act = give,
                                                 .late = NEWCOMERS,
                                                 TOLD};

static const struct steps_scenario give_others_wait = {
    .name = "rlock: give, others wait", LOCK, .prepare = take, .ahead = WAITERS, .act = give, TOLD};

static const struct steps_scenario give_others_wait_joined = {
    .name = "rlock: give, others wait, the parent joins",
    LOCK,
    .prepare = take,
    .ahead = WAITERS,
    .act = give,
    .join = true,
    TOLD};

static const struct steps_scenario give_others_wait_old_kernel = {
    .name = "rlock: give, others wait, without futex_waitv",
    LOCK,
    .prepare = take,
    .ahead = WAITERS,
    .act = give,
    .old_kernel = true,
    TOLD};

static const struct steps_scenario give_and_take_again = {.name = "rlock: give and take again",
                                                          LOCK,
                                                          .prepare = take,
                                                          .ahead = WAITERS,
                                                          .act = give_and_take,
                                                          .late = NEWCOMERS,
                                                          TOLD};

static const struct steps_scenario time_out = {.name = "rlock: time out",
                                               LOCK,
                                               .setup = root_takes,
                                               .ahead = WAITERS,
                                               .act = take_within_2_ms,
                                               .sleeps = true,
                                               .aftermath = root_gives,
                                               .late = NEWCOMERS,
                                               TOLD};

static const struct steps_scenario time_out_while_given = {.name = "rlock: time out while given",
                                                           LOCK,
                                                           .setup = root_takes,
                                                           .act = take_within_2_ms,
                                                           .behind = WAITERS,
                                                           .direct = root_gives_after_2_ms,
                                                           .late = NEWCOMERS,
                                                           TOLD};

static const struct steps_scenario cancelled = {.name = "rlock: cancelled",
                                                LOCK,
                                                .setup = root_takes,
                                                .ahead = WAITERS,
                                                .act = take_until_cancelled,
                                                .direct = root_cancels,
                                                .aftermath = root_gives,
                                                .late = NEWCOMERS,
                                                TOLD};

static const struct steps_scenario cancelled_while_given = {.name = "rlock: cancelled while given",
                                                            LOCK,
                                                            .setup = root_takes,
                                                            .act = take_until_cancelled,
                                                            .behind = WAITERS,
                                                            .direct = root_cancels_and_gives,
                                                            .late = NEWCOMERS,
                                                            TOLD};

static const struct steps_scenario wait_on_a_condition = {
    .name = "rlock: wait on a condition, held three times",
    LOCK,
    .setup = make_condition,
    .prepare = take,
    .act = wait_deep,
    .sleeps = true,
    .direct = root_notifies,
    .late = NEWCOMERS,
    TOLD};

static const struct steps_scenario inherit = {.name = "rlock: take from the dead",
                                              LOCK,
                                              .setup = let_another_hold_and_die,
                                              .act = take,
                                              .late = NEWCOMERS,
                                              .check = told_of_both};

static const struct steps_scenario woken_by_death = {.name = "rlock: woken by the holder's death",
                                                     LOCK,
                                                     .setup = let_another_hold,
                                                     .act = take_and_give,
                                                     .sleeps = true,
                                                     .direct = kill_the_holder,
                                                     .late = NEWCOMERS,
                                                     .check = told_of_both};

static const struct steps_scenario woken_by_death_with_others = {
    .name = "rlock: woken by the holder's death with others",
    LOCK,
    .setup = let_another_hold,
    .ahead = WAITERS,
    .act = take_and_give,
    .sleeps = true,
    .behind = WAITERS,
    .direct = kill_the_holder,
    .late = NEWCOMERS,
    .check = told_of_both};

static const struct steps_scenario several_at_random = {
    .name = "rlock: several victims at random steps",
    LOCK,
    .victims = 3,
    .act = change_often,
    .ahead = {.threads = 1, .processes = 1, .run = pass_often},
    .late = NEWCOMERS,
    .check = told_no_more_than_held};

int main(void)
{
    const struct CMUnitTest tests[] = {
        STEPS_TEST(take_free),
        STEPS_TEST(take_held),
        STEPS_TEST(take_held_others_wait),
        STEPS_TEST(take_held_others_behind),
        STEPS_TEST(take_held_others_wait_old_kernel),
        STEPS_TEST(give_alone),
        STEPS_TEST(give_others_wait),
        STEPS_TEST(give_others_wait_joined),
        STEPS_TEST(give_others_wait_old_kernel),
        STEPS_TEST(give_and_take_again),
        STEPS_TEST(time_out),
        STEPS_TEST(time_out_while_given),
        STEPS_TEST(cancelled),
        STEPS_TEST(cancelled_while_given),
        STEPS_TEST(wait_on_a_condition),
        STEPS_TEST(inherit),
        STEPS_TEST(woken_by_death),
        STEPS_TEST(woken_by_death_with_others),
        STEPS_STORES_TEST(wait_on_a_condition),
        STEPS_STORES_TEST(give_others_wait),
        STEPS_STORES_TEST(time_out),
        STEPS_STORES_TEST(inherit),
        STEPS_RANDOM_TEST(several_at_random),
    };
    int rc = cmocka_run_group_tests_name("rlock", tests, NULL, NULL);
    steps_print_total();
    return rc;
}
