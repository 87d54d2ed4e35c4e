/* plait_acquire_all when a worker is killed at every step: of taking, waiting, giving back, releasing.
 *
 * The invariant: everybody else gets all locks; of each lock the next one is told of the death exactly
 * if the dead one held it, or had taken it over and not passed the news on. */
#include "steps.h"

#include "sync/lock_word.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <unistd.h>

enum { LOCKS = 3 };

struct world {
    plait_lock locks[LOCKS];
    uint32_t inside, passes;
    uint32_t told[LOCKS];      /* survivors that were told of a death with this lock */
    uint32_t died_with[LOCKS]; /* the victim held it at its death */
    bool looked;               /* it could look at that; not if it was killed asleep, */
    uint32_t asleep_with;      /* with so many of the first locks in its hands */
    uint32_t left_by_dead;     /* 1: locks[1] was that of one who died before; 0 */
    uint32_t victim_told;      /* the victim was told of that, and returned so */
};

static int take_all(struct world *w, int64_t timeout)
{
    plait_lock *all[LOCKS] = {&w->locks[2], &w->locks[0], &w->locks[1]};
    return plait_acquire_all(all, LOCKS, timeout);
}

static void give_all(struct world *w)
{
    plait_lock *all[LOCKS] = {&w->locks[1], &w->locks[2], &w->locks[0]};
    STEPS_EXPECT(plait_release_all(all, LOCKS) == 0);
}

/* --- survivors --- */

static void note_deaths(struct world *w, int rc)
{
    plait_blame blame;
    int told = 0;
    for (int i = 0; i < LOCKS; i++) {
        int why = plait_lock_blame(&w->locks[i], &blame);
        STEPS_EXPECT(why == 0 || why == PLAIT_ESRCH || why == PLAIT_ESTALE);
        if (why == 0)
            STEPS_EXPECT(blame.signal == SIGKILL);
        told += why != PLAIT_ESRCH;
        w->told[i] += why != PLAIT_ESRCH;
    }
    STEPS_EXPECT((rc == PLAIT_OWNER_DIED) == (told > 0));
}

static void pass_through(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = take_all(w, PLAIT_FOREVER);
    STEPS_EXPECT(rc == 0 || rc == PLAIT_OWNER_DIED);
    STEPS_EXPECT(__atomic_exchange_n(&w->inside, 1, __ATOMIC_SEQ_CST) == 0);
    note_deaths(w, rc);
    w->passes++;
    STEPS_EXPECT(__atomic_exchange_n(&w->inside, 0, __ATOMIC_SEQ_CST) == 1);
    give_all(w);
}

static void told_exactly_if_held(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(w->passes == (uint32_t)steps_through());
    for (int i = 0; i < LOCKS; i++) {
        uint32_t owed = w->looked ? w->died_with[i] : (uint32_t)i < w->asleep_with;
        if (i == 1 && w->left_by_dead && !w->victim_told)
            owed = 1; /* if both died with it, it is told once: of the second */
        STEPS_EXPECT(w->told[i] == owed, "(lock %d: told %u times, not %u)", i, w->told[i], owed);
    }
    STEPS_EXPECT(take_all(w, PLAIT_NOWAIT) == 0);
    give_all(w);
}

/* --- the victim --- */

static void take(void *world, int who)
{
    struct world *w = world;
    (void)who;
    w->victim_told = take_all(w, PLAIT_FOREVER) == PLAIT_OWNER_DIED;
}

static void take_for_certain(void *world, int who)
{
    (void)who;
    STEPS_EXPECT(take_all(world, PLAIT_FOREVER) >= 0);
}

static void give(void *world, int who)
{
    (void)who;
    give_all(world);
}

static void take_within_2_ms(void *world, int who)
{
    (void)who;
    int rc = take_all(world, plait_ms(2));
    STEPS_EXPECT(rc == PLAIT_ETIMEDOUT || rc >= 0);
    if (rc >= 0)
        ((struct world *)world)->victim_told = rc == PLAIT_OWNER_DIED;
}

static void take_until_cancelled(void *world, int who)
{
    (void)who;
    int rc = take_all(world, PLAIT_FOREVER);
    STEPS_EXPECT(rc == PLAIT_ECANCELED || rc >= 0);
}

static void note_what_is_held(void *world, int who)
{
    struct world *w = world;
    w->looked = true;
    for (int i = 0; i < LOCKS; i++)
        w->died_with[i] = pl_lock_holder(&w->locks[i]) == steps_victim_id(who);
}

/* --- the root --- */

static void root_takes_the_last(void *world)
{
    STEPS_EXPECT(plait_lock_acquire(&((struct world *)world)->locks[2], PLAIT_FOREVER) == 0);
}

/* The victim comes first, and sleeps with the others in its hands. */
static void root_takes_the_last_only(void *world)
{
    root_takes_the_last(world);
    ((struct world *)world)->asleep_with = LOCKS - 1;
}

static void root_gives_the_last(void *world)
{
    steps_deed();
    STEPS_EXPECT(plait_lock_release(&((struct world *)world)->locks[2]) == 0);
}

static void root_cancels(void *world)
{
    (void)world;
    int rc = plait_cancel(steps_victim(0));
    STEPS_EXPECT(rc == 0 || rc == PLAIT_ESRCH);
}

static int die_with_one(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(plait_lock_acquire(&w->locks[1], PLAIT_FOREVER) == 0);
    kill(getpid(), SIGKILL);
    return 0;
}

static void let_another_die_with_one(void *world)
{
    struct world *w = world;
    plait_worker other;
    STEPS_EXPECT(plait_start(&other, PLAIT_PROCESS, die_with_one, w, NULL) == 0);
    STEPS_EXPECT(plait_join(other, NULL, plait_seconds(5)) == PLAIT_DIED);
    w->left_by_dead = 1;
}

static void let_another_die_and_take_the_last(void *world)
{
    let_another_die_with_one(world);
    root_takes_the_last_only(world);
}

/* --- scenarios --- */

#define ALL .world_size = sizeof(struct world), .last_look = note_what_is_held
#define TOLD .check = told_exactly_if_held
#define WAITERS                                                                                    \
    {                                                                                              \
        .threads = 1, .processes = 1, .sleep_in = PL_WAIT_LOCK, .run = pass_through                \
    }
#define NEWCOMERS                                                                                  \
    {                                                                                              \
        .threads = 1, .processes = 1, .run = pass_through                                          \
    }

static const struct steps_scenario take_free = {
    .name = "acquire_all: take, free", ALL, .act = take_for_certain, .late = NEWCOMERS, TOLD};

static const struct steps_scenario take_held = {.name = "acquire_all: take, the last held",
                                                ALL,
                                                .setup = root_takes_the_last,
                                                .ahead = WAITERS,
                                                .act = take_for_certain,
                                                .sleeps = true,
                                                .behind = WAITERS,
                                                .direct = root_gives_the_last,
                                                .late = NEWCOMERS,
                                                TOLD};

static const struct steps_scenario give_others_wait = {.name = "acquire_all: give, others wait",
                                                       ALL,
                                                       .prepare = take_for_certain,
                                                       .ahead = WAITERS,
                                                       .act = give,
                                                       .late = NEWCOMERS,
                                                       TOLD};

static const struct steps_scenario time_out = {.name = "acquire_all: time out",
                                               ALL,
                                               .setup = root_takes_the_last_only,
                                               .act = take_within_2_ms,
                                               .sleeps = true,
                                               .behind = WAITERS,
                                               .aftermath = root_gives_the_last,
                                               .late = NEWCOMERS,
                                               TOLD};

static const struct steps_scenario cancelled = {.name = "acquire_all: cancelled",
                                                ALL,
                                                .setup = root_takes_the_last,
                                                .act = take_until_cancelled,
                                                .behind = WAITERS,
                                                .direct = root_cancels,
                                                .aftermath = root_gives_the_last,
                                                .late = NEWCOMERS,
                                                TOLD};

static const struct steps_scenario inherit = {.name = "acquire_all: take from the dead",
                                              ALL,
                                              .setup = let_another_die_with_one,
                                              .act = take,
                                              .late = NEWCOMERS,
                                              TOLD};

static const struct steps_scenario inherit_and_time_out = {
    .name = "acquire_all: take from the dead, time out",
    ALL,
    .setup = let_another_die_and_take_the_last,
    .act = take_within_2_ms,
    .sleeps = true,
    .behind = WAITERS,
    .aftermath = root_gives_the_last,
    .late = NEWCOMERS,
    TOLD};

int main(void)
{
    const struct CMUnitTest tests[] = {
        STEPS_TEST(take_free),
        STEPS_TEST(take_held),
        STEPS_TEST(give_others_wait),
        STEPS_TEST(time_out),
        STEPS_TEST(cancelled),
        STEPS_TEST(inherit),
        STEPS_TEST(inherit_and_time_out),
        STEPS_STORES_TEST(give_others_wait),
        STEPS_STORES_TEST(inherit_and_time_out),
    };
    int rc = cmocka_run_group_tests_name("acquire_all", tests, NULL, NULL);
    steps_print_total();
    return rc;
}
