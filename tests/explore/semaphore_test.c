/* The semaphore, in every order of the steps of those who take and give.
 *
 * The invariant: permits are neither lost nor made; while there are permits, nobody sleeps. */
#include "explore.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct world {
    plait_semaphore permits;
    int given, taken;
    bool heard; /* a request to stop */
};

static void name_permits(void *world)
{
    struct world *w = world;
    EXPLORE_NAME(w->permits.word_);
}

static void with_bound_2(void *world)
{
    struct world *w = world;
    name_permits(world);
    EXPLORE_EXPECT(plait_semaphore_init(&w->permits, 1, 2) == 0);
    w->given = 1;
}

/* The flag may be set with no sleeper: one has given up, say. */
static void with_a_flag_left(void *world)
{
    name_permits(world);
    ((struct world *)world)->permits.word_ = UINT32_C(0x80000000);
}

static void take(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(plait_semaphore_acquire(&w->permits, PLAIT_FOREVER) == 0);
    w->taken++;
}

static void take_twice(void *world)
{
    take(world);
    take(world);
}

static void take_in_time(void *world)
{
    struct world *w = world;
    int rc = plait_semaphore_acquire(&w->permits, plait_ms(5));
    EXPLORE_EXPECT(rc == 0 || rc == PLAIT_ETIMEDOUT);
    w->taken += rc == 0;
}

static void take_until_cancelled(void *world)
{
    struct world *w = world;
    int rc = plait_semaphore_acquire(&w->permits, PLAIT_FOREVER);
    EXPLORE_EXPECT(rc == 0 || rc == PLAIT_ECANCELED);
    w->taken += rc == 0;
    w->heard = rc == PLAIT_ECANCELED;
}

/* Gives back what it took, so that the next one can go on. */
static void take_in_time_and_give(void *world)
{
    struct world *w = world;
    int rc = plait_semaphore_acquire(&w->permits, plait_ms(5));
    EXPLORE_EXPECT(rc == 0 || rc == PLAIT_ETIMEDOUT);
    if (rc == 0)
        EXPLORE_EXPECT(plait_semaphore_release(&w->permits, 1) == 0);
}

static void take_until_cancelled_and_give(void *world)
{
    struct world *w = world;
    int rc = plait_semaphore_acquire(&w->permits, PLAIT_FOREVER);
    EXPLORE_EXPECT(rc == 0 || rc == PLAIT_ECANCELED);
    if (rc == 0)
        EXPLORE_EXPECT(plait_semaphore_release(&w->permits, 1) == 0);
}

static void give_n(struct world *w, int n)
{
    EXPLORE_EXPECT(plait_semaphore_release(&w->permits, n) == 0);
    w->given += n;
}

static void give(void *world)
{
    give_n(world, 1);
}

static void give_two(void *world)
{
    give_n(world, 2);
}

/* Two permits for the others, from here and from elsewhere: one after the other. */
static void try_and_give_singly(void *world)
{
    struct world *w = world;
    int rc = plait_semaphore_acquire(&w->permits, PLAIT_NOWAIT);
    EXPLORE_EXPECT(rc == 0 || rc == PLAIT_ETIMEDOUT);
    w->taken += rc == 0;
    give(world);
    if (rc == 0)
        give(world);
}

static void give_within_bound(void *world)
{
    struct world *w = world;
    int rc = plait_semaphore_release(&w->permits, 1);
    EXPLORE_EXPECT(rc == 0 || rc == PLAIT_EOVERFLOW);
    w->given += rc == 0;
}

static void cancel_a(void *world)
{
    (void)world;
    EXPLORE_EXPECT(plait_cancel(explore_worker(0)) == 0);
}

static void sum_is_right(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(plait_semaphore_value(&w->permits) == w->given - w->taken);
}

static void was_heard_or_will_be(void *world)
{
    EXPLORE_EXPECT(((struct world *)world)->heard != explore_is_asked(0));
    sum_is_right(world);
}

static void bound_is_kept(void *world)
{
    EXPLORE_EXPECT(plait_semaphore_value(&((struct world *)world)->permits) <= 2);
}

#define SEMAPHORE .world_size = sizeof(struct world), .setup = name_permits, .check = sum_is_right

static const struct explore_scenario give_and_take = {
    .name = "semaphore: give, take", SEMAPHORE, .run = {take, give}};

static const struct explore_scenario one_by_one = {
    .name = "semaphore: two give, one takes twice", SEMAPHORE, .run = {take_twice, give, give}};

static const struct explore_scenario both_at_once = {
    .name = "semaphore: give two, two take", SEMAPHORE, .run = {take, take, give_two}};

static const struct explore_scenario four = {
    .name = "semaphore: two give, two take", SEMAPHORE, .run = {take, take, give, give}};

static const struct explore_scenario in_time = {
    .name = "semaphore: a timeout against the give", SEMAPHORE, .run = {take_in_time, give}};

static const struct explore_scenario passed_on = {
    .name = "semaphore: who gives up passes the wake-up on",
    SEMAPHORE,
    .run = {take_in_time_and_give, take, give}};

static const struct explore_scenario cancelled = {
    .name = "semaphore: a request to stop against the give",
    .world_size = sizeof(struct world),
    .setup = name_permits,
    .check = was_heard_or_will_be,
    .run = {take_until_cancelled, cancel_a, give}};

static const struct explore_scenario cancelled_passes_on = {
    .name = "semaphore: who is asked to stop passes the wake-up on",
    SEMAPHORE,
    .run = {take_until_cancelled_and_give, take, give, cancel_a}};

static const struct explore_scenario left_behind = {.name =
                                                        "semaphore: a flag is left of a sleeper",
                                                    .preemptions = 3,
                                                    .world_size = sizeof(struct world),
                                                    .memory = EXPLORE_ARENA,
                                                    .setup = with_a_flag_left,
                                                    .run = {give, try_and_give_singly, take, take},
                                                    .check = sum_is_right};

static const struct explore_scenario bounded = {
    .name = "semaphore: two give up to the bound, one takes",
    .world_size = sizeof(struct world),
    .setup = with_bound_2,
    .always = bound_is_kept,
    .run = {give_within_bound, give_within_bound, take},
    .check = sum_is_right};

/* Too large to be tried wholly. */
static const struct explore_scenario crowd = {
    .name = "semaphore: six at random",
    SEMAPHORE,
    .random = 10000,
    .changes = 5,
    .run = {take_twice, take_in_time, take, give_two, give, try_and_give_singly}};

int main(void)
{
    const struct CMUnitTest tests[] = {
        EXPLORE_TEST(give_and_take), EXPLORE_TEST(one_by_one),
        EXPLORE_TEST(both_at_once),  EXPLORE_TEST(four),
        EXPLORE_TEST(in_time),       EXPLORE_TEST(passed_on),
        EXPLORE_TEST(cancelled),     EXPLORE_TEST(cancelled_passes_on),
        EXPLORE_TEST(bounded),       EXPLORE_TEST(left_behind),
        EXPLORE_TEST(crowd),
    };
    int rc = cmocka_run_group_tests_name("semaphore", tests, NULL, NULL);
    explore_print_total();
    return rc;
}
