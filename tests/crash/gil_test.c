/* The gil when a worker is killed at every step: of taking, yielding, releasing, giving up.
 *
 * The invariant: everybody else gets it, one at a time; and whoever gets it next is told of the death
 * exactly if the dead one held it. */
#include "steps.h"

#include "sync/lock_word.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <unistd.h>

struct world {
    plait_gil gil;
    uint32_t inside, passes, told, died_with;
};

/* --- survivors --- */

static void pass_through(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = plait_gil_acquire(&w->gil, PLAIT_FOREVER);
    STEPS_EXPECT(rc == 0 || rc == PLAIT_OWNER_DIED);
    if (rc == PLAIT_OWNER_DIED) {
        plait_blame blame;
        w->told++;
        w->inside = 0;
        STEPS_EXPECT(plait_gil_blame(&w->gil, &blame) == 0);
        STEPS_EXPECT(plait_same(blame.worker, steps_victim(0)));
    }
    STEPS_EXPECT(__atomic_exchange_n(&w->inside, 1, __ATOMIC_SEQ_CST) == 0);
    w->passes++;
    STEPS_EXPECT(__atomic_exchange_n(&w->inside, 0, __ATOMIC_SEQ_CST) == 1);
    STEPS_EXPECT(plait_gil_release(&w->gil) == 0);
}

static void told_exactly_if_held(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(w->passes == (uint32_t)steps_through());
    STEPS_EXPECT(w->told == w->died_with);
    STEPS_EXPECT(plait_gil_acquire(&w->gil, PLAIT_NOWAIT) == 0);
    STEPS_EXPECT(plait_gil_release(&w->gil) == 0);
}

/* --- the victim --- */

static void take(void *world, int who)
{
    (void)who;
    STEPS_EXPECT(plait_gil_acquire(&((struct world *)world)->gil, PLAIT_FOREVER) == 0);
}

static void give(void *world, int who)
{
    (void)who;
    STEPS_EXPECT(plait_gil_release(&((struct world *)world)->gil) == 0);
}

static void yield(void *world, int who)
{
    (void)who;
    STEPS_EXPECT(plait_gil_yield(&((struct world *)world)->gil) == 0);
}

static void take_within_2_ms(void *world, int who)
{
    (void)who;
    int rc = plait_gil_acquire(&((struct world *)world)->gil, plait_ms(2));
    STEPS_EXPECT(rc == PLAIT_ETIMEDOUT || rc == 0);
}

static void take_until_cancelled(void *world, int who)
{
    (void)who;
    int rc = plait_gil_acquire(&((struct world *)world)->gil, PLAIT_FOREVER);
    STEPS_EXPECT(rc == PLAIT_ECANCELED || rc == 0);
}

static void note_if_held(void *world, int who)
{
    struct world *w = world;
    if (pl_lock_holder(&w->gil.lock_) == steps_victim_id(who))
        w->died_with = 1;
}

/* --- the root --- */

static void zeroed(void *world)
{
    (void)world;
}

static void root_takes(void *world)
{
    take(world, 0);
}

static void root_gives(void *world)
{
    steps_deed();
    give(world, 0);
}

static void root_cancels(void *world)
{
    (void)world;
    int rc = plait_cancel(steps_victim(0));
    STEPS_EXPECT(rc == 0 || rc == PLAIT_ESRCH);
}

/* --- scenarios --- */

#define GIL .world_size = sizeof(struct world), .last_look = note_if_held
#define TOLD .check = told_exactly_if_held
#define WAITERS                                                                                    \
    {                                                                                              \
        .threads = 1, .processes = 1, .sleep_in = PL_WAIT_GIL, .run = pass_through                 \
    }
#define NEWCOMERS                                                                                  \
    {                                                                                              \
        .threads = 1, .processes = 1, .run = pass_through                                          \
    }

static const struct steps_scenario take_free = {
    .name = "gil: take, zeroed", GIL, .setup = zeroed, .act = take, .late = NEWCOMERS, TOLD};

static const struct steps_scenario take_held = {.name = "gil: take, held",
                                                GIL,
                                                .setup = root_takes,
                                                .ahead = WAITERS,
                                                .act = take,
                                                .sleeps = true,
                                                .behind = WAITERS,
                                                .direct = root_gives,
                                                .late = NEWCOMERS,
                                                TOLD};

static const struct steps_scenario give_others_wait = {.name = "gil: give, others wait",
                                                       GIL,
                                                       .prepare = take,
                                                       .ahead = WAITERS,
                                                       .act = give,
                                                       .late = NEWCOMERS,
                                                       TOLD};

static const struct steps_scenario yield_others_wait = {.name = "gil: yield, others wait",
                                                        GIL,
                                                        .prepare = take,
                                                        .ahead = WAITERS,
                                                        .act = yield,
                                                        .late = NEWCOMERS,
                                                        TOLD};

static const struct steps_scenario time_out = {.name = "gil: time out",
                                               GIL,
                                               .setup = root_takes,
                                               .ahead = WAITERS,
                                               .act = take_within_2_ms,
                                               .sleeps = true,
                                               .behind = WAITERS,
                                               .aftermath = root_gives,
                                               .late = NEWCOMERS,
                                               TOLD};

static const struct steps_scenario cancelled = {.name = "gil: cancelled",
                                                GIL,
                                                .setup = root_takes,
                                                .ahead = WAITERS,
                                                .act = take_until_cancelled,
                                                .direct = root_cancels,
                                                .aftermath = root_gives,
                                                .late = NEWCOMERS,
                                                TOLD};

int main(void)
{
    const struct CMUnitTest tests[] = {
        STEPS_TEST(take_free),
        STEPS_TEST(take_held),
        STEPS_TEST(give_others_wait),
        STEPS_TEST(yield_others_wait),
        STEPS_TEST(time_out),
        STEPS_TEST(cancelled),
        STEPS_STORES_TEST(give_others_wait),
        STEPS_STORES_TEST(yield_others_wait),
    };
    int rc = cmocka_run_group_tests_name("gil", tests, NULL, NULL);
    steps_print_total();
    return rc;
}
