/* The latch when a worker is killed at every step: of counting down, arriving, waiting, giving up.
 *
 * The invariant: the count is that of before the call or that of after it; at 0 nobody sleeps. */
#include "steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct world {
    plait_latch latch;
    int before;         /* the count at first */
    int change;         /* what the victim's call takes off it */
    int count_at_death; /* as it left it */
};

/* --- survivors --- */

static void wait_for_it(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_latch_wait(&w->latch, PLAIT_FOREVER) == 0);
    STEPS_EXPECT(plait_latch_count(&w->latch) == 0);
}

/* --- the victim --- */

static void count_down_2(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_latch_count_down(&w->latch, 2) == 0);
}

static void arrive_here(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_latch_arrive_and_wait(&w->latch, PLAIT_FOREVER) == 0);
}

static void wait_2_ms(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = plait_latch_wait(&w->latch, plait_ms(2));
    STEPS_EXPECT(rc == PLAIT_ETIMEDOUT || rc == 0);
}

static void wait_until_cancelled(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_latch_wait(&w->latch, PLAIT_FOREVER) == PLAIT_ECANCELED);
}

static void note_count(void *world, int who)
{
    struct world *w = world;
    (void)who;
    w->count_at_death = plait_latch_count(&w->latch);
}

/* --- the root --- */

static void begin(void *world, int count, int change)
{
    struct world *w = world;
    w->before = count;
    w->change = change;
    STEPS_EXPECT(plait_latch_init(&w->latch, count) == 0);
}

static void at_2_to_take_2(void *world)
{
    begin(world, 2, 2);
}

static void at_5_to_take_2(void *world)
{
    begin(world, 5, 2);
}

static void at_2_to_take_1(void *world)
{
    begin(world, 2, 1);
}

static void at_1_to_take_1(void *world)
{
    begin(world, 1, 1);
}

static void at_1_to_take_none(void *world)
{
    begin(world, 1, 0);
}

static void root_takes_1(void *world)
{
    struct world *w = world;
    w->before--;
    steps_deed();
    STEPS_EXPECT(plait_latch_count_down(&w->latch, 1) == 0);
}

static void root_cancels(void *world)
{
    (void)world;
    int rc = plait_cancel(steps_victim(0));
    STEPS_EXPECT(rc == 0 || rc == PLAIT_ESRCH);
}

/* What is left, others have to do: but only if something is left. */
static void root_takes_the_rest(void *world)
{
    struct world *w = world;
    int left = plait_latch_count(&w->latch);
    STEPS_EXPECT(left == w->before || left == w->before - w->change, "(%d)", left);
    STEPS_EXPECT(!steps_finished(0) || left == w->before - w->change, "(%d)", left);
    if (left == 0)
        return;
    steps_deed();
    STEPS_EXPECT(plait_latch_count_down(&w->latch, left) == 0);
}

static void it_is_open(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(plait_latch_wait(&w->latch, PLAIT_NOWAIT) == 0);
    STEPS_EXPECT(plait_latch_count_down(&w->latch, 1) == PLAIT_EOVERFLOW);
}

/* --- scenarios --- */

#define LATCH .world_size = sizeof(struct world), .last_look = note_count
#define SLEEPERS                                                                                   \
    {                                                                                              \
        .threads = 2, .processes = 2, .sleep_in = PL_WAIT_LATCH, .run = wait_for_it                \
    }
#define NEWCOMERS                                                                                  \
    {                                                                                              \
        .threads = 1, .processes = 1, .run = wait_for_it                                           \
    }

static const struct steps_scenario open_it = {.name = "latch: count down to 0, others wait",
                                              LATCH,
                                              .setup = at_2_to_take_2,
                                              .ahead = SLEEPERS,
                                              .act = count_down_2,
                                              .aftermath = root_takes_the_rest,
                                              .late = NEWCOMERS,
                                              .check = it_is_open};

static const struct steps_scenario open_joined = {.name =
                                                      "latch: count down to 0, the parent joins",
                                                  LATCH,
                                                  .join = true,
                                                  .setup = at_2_to_take_2,
                                                  .ahead = SLEEPERS,
                                                  .act = count_down_2,
                                                  .aftermath = root_takes_the_rest,
                                                  .check = it_is_open};

static const struct steps_scenario count_on = {.name = "latch: count down, others wait on",
                                               LATCH,
                                               .setup = at_5_to_take_2,
                                               .ahead = SLEEPERS,
                                               .act = count_down_2,
                                               .aftermath = root_takes_the_rest,
                                               .check = it_is_open};

static const struct steps_scenario arrive_first = {.name = "latch: arrive and wait",
                                                   LATCH,
                                                   .setup = at_2_to_take_1,
                                                   .ahead = NEWCOMERS,
                                                   .act = arrive_here,
                                                   .sleeps = true,
                                                   .behind = SLEEPERS,
                                                   .direct = root_takes_1,
                                                   .aftermath = root_takes_the_rest,
                                                   .check = it_is_open};

static const struct steps_scenario arrive_last = {.name = "latch: arrive and wait, the last",
                                                  LATCH,
                                                  .setup = at_1_to_take_1,
                                                  .ahead = SLEEPERS,
                                                  .act = arrive_here,
                                                  .aftermath = root_takes_the_rest,
                                                  .check = it_is_open};

static const struct steps_scenario time_out = {.name = "latch: time out",
                                               LATCH,
                                               .setup = at_1_to_take_none,
                                               .ahead = SLEEPERS,
                                               .act = wait_2_ms,
                                               .sleeps = true,
                                               .aftermath = root_takes_the_rest,
                                               .check = it_is_open};

static const struct steps_scenario cancelled = {.name = "latch: cancelled",
                                                LATCH,
                                                .setup = at_1_to_take_none,
                                                .ahead = SLEEPERS,
                                                .act = wait_until_cancelled,
                                                .direct = root_cancels,
                                                .aftermath = root_takes_the_rest,
                                                .check = it_is_open};

static const struct steps_scenario old_kernel = {.name = "latch: without futex_waitv",
                                                 LATCH,
                                                 .old_kernel = true,
                                                 .setup = at_2_to_take_2,
                                                 .ahead = SLEEPERS,
                                                 .act = count_down_2,
                                                 .aftermath = root_takes_the_rest,
                                                 .check = it_is_open};

int main(void)
{
    const struct CMUnitTest tests[] = {
        STEPS_TEST(open_it),         STEPS_TEST(open_joined),
        STEPS_TEST(count_on),        STEPS_TEST(arrive_first),
        STEPS_TEST(arrive_last),     STEPS_TEST(time_out),
        STEPS_TEST(cancelled),       STEPS_TEST(old_kernel),
        STEPS_STORES_TEST(open_it),  STEPS_STORES_TEST(arrive_first),
        STEPS_STORES_TEST(time_out),
    };
    int rc = cmocka_run_group_tests_name("latch", tests, NULL, NULL);
    steps_print_total();
    return rc;
}
