/* The latch, in every order of the steps of those who count and wait.
 *
 * The invariant: nobody is through before the count is 0; it never goes below; nobody is left asleep. */
#include "explore.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct world {
    plait_latch latch;
    int to_come; /* parts that are not done yet, by those who do them */
    int passed, gave_up, refused;
    bool heard; /* a request to stop */
};

static void counts(void *world, int n)
{
    struct world *w = world;
    EXPLORE_NAME(w->latch.word_);
    EXPLORE_EXPECT(plait_latch_init(&w->latch, n) == 0);
    w->to_come = n;
}

static void counts_one(void *world)
{
    counts(world, 1);
}

static void counts_two(void *world)
{
    counts(world, 2);
}

static void counts_three(void *world)
{
    counts(world, 3);
}

/* --- what workers do --- */

static void count(void *world)
{
    struct world *w = world;
    w->to_come--;
    EXPLORE_EXPECT(plait_latch_count_down(&w->latch, 1) == 0);
}

static void count_two(void *world)
{
    struct world *w = world;
    w->to_come -= 2;
    EXPLORE_EXPECT(plait_latch_count_down(&w->latch, 2) == 0);
}

/* One of three, of whom the latch takes two. */
static void count_or_be_refused(void *world)
{
    struct world *w = world;
    int rc = plait_latch_count_down(&w->latch, 1);
    EXPLORE_EXPECT(rc == 0 || rc == PLAIT_EOVERFLOW);
    w->to_come -= rc == 0;
    w->refused += rc != 0;
}

static void wait_within(struct world *w, int64_t timeout, int or_else)
{
    int rc = plait_latch_wait(&w->latch, timeout);
    EXPLORE_EXPECT(rc == 0 || rc == or_else);
    EXPLORE_EXPECT(rc < 0 || (w->to_come == 0 && plait_latch_count(&w->latch) == 0));
    EXPLORE_EXPECT(rc == 0 || w->latch.word_ != 0); /* at the moment of giving up */
    w->passed += rc == 0;
    w->gave_up += rc < 0;
    w->heard = rc == PLAIT_ECANCELED;
}

static void wait_for_it(void *world)
{
    wait_within(world, PLAIT_FOREVER, 0);
}

/* Who counts after its call may be seen as not done by a plain counter: only the count is looked at. */
static void wait_for_count(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(plait_latch_wait(&w->latch, PLAIT_FOREVER) == 0);
    EXPLORE_EXPECT(plait_latch_count(&w->latch) == 0);
    w->passed++;
}

static void wait_in_time(void *world)
{
    wait_within(world, plait_ms(5), PLAIT_ETIMEDOUT);
}

static void look(void *world)
{
    wait_within(world, PLAIT_NOWAIT, PLAIT_ETIMEDOUT);
}

static void wait_until_cancelled(void *world)
{
    wait_within(world, PLAIT_FOREVER, PLAIT_ECANCELED);
}

static void cancel_a(void *world)
{
    (void)world;
    EXPLORE_EXPECT(plait_cancel(explore_worker(0)) == 0);
}

static void arrive_and_wait(void *world)
{
    struct world *w = world;
    w->to_come--;
    EXPLORE_EXPECT(plait_latch_arrive_and_wait(&w->latch, PLAIT_FOREVER) == 0);
    EXPLORE_EXPECT(w->to_come == 0);
    w->passed++;
}

/* --- what must be at the end --- */

/* Open, and no flag is left of anybody who slept. */
static void is_open(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(w->latch.word_ == 0 && w->to_come == 0);
}

static void one_was_refused(void *world)
{
    is_open(world);
    EXPLORE_EXPECT(((struct world *)world)->refused == 1);
}

static void was_heard_or_will_be(void *world)
{
    struct world *w = world;
    is_open(w);
    EXPLORE_EXPECT(w->heard != explore_is_asked(0));
    EXPLORE_EXPECT(w->passed + w->gave_up == 1);
}

#define LATCH(n) .world_size = sizeof(struct world), .setup = counts_##n, .check = is_open

static const struct explore_scenario one = {
    .name = "latch: one counts, one waits", LATCH(one), .run = {wait_for_it, count}};

static const struct explore_scenario two_wait = {
    .name = "latch: one counts, two wait", LATCH(one), .run = {wait_for_it, wait_for_it, count}};

static const struct explore_scenario two_count = {
    .name = "latch: two count, one waits", LATCH(two), .run = {wait_for_it, count, count}};

static const struct explore_scenario two_and_two = {
    .name = "latch: two count, two wait",
    LATCH(two),
    .preemptions = 2,
    .run = {wait_for_it, wait_for_it, count, count}};

static const struct explore_scenario two_at_once = {.name = "latch: one counts two, one counts one",
                                                    LATCH(three),
                                                    .run = {wait_for_it, count_two, count}};

static const struct explore_scenario arrive = {
    .name = "latch: three arrive and wait",
    LATCH(three),
    .run = {arrive_and_wait, arrive_and_wait, arrive_and_wait}};

static const struct explore_scenario in_time = {
    .name = "latch: a timeout against the last count", LATCH(one), .run = {wait_in_time, count}};

static const struct explore_scenario one_in_time = {
    .name = "latch: one waits with a timeout, one without",
    LATCH(two),
    .preemptions = 2,
    .run = {wait_in_time, wait_for_it, count, count}};

static const struct explore_scenario looked = {
    .name = "latch: one looks, two count", LATCH(two), .run = {look, count, count}};

static const struct explore_scenario cancelled = {.name =
                                                      "latch: a request to stop against the count",
                                                  .world_size = sizeof(struct world),
                                                  .setup = counts_one,
                                                  .run = {wait_until_cancelled, count, cancel_a},
                                                  .check = was_heard_or_will_be};

static const struct explore_scenario refused = {
    .name = "latch: one count too many is refused",
    .world_size = sizeof(struct world),
    .setup = counts_two,
    .preemptions = 2,
    .run = {count_or_be_refused, count_or_be_refused, count_or_be_refused, wait_for_count},
    .check = one_was_refused};

int main(void)
{
    const struct CMUnitTest tests[] = {
        EXPLORE_TEST(one),         EXPLORE_TEST(two_wait),    EXPLORE_TEST(two_count),
        EXPLORE_TEST(two_and_two), EXPLORE_TEST(two_at_once), EXPLORE_TEST(arrive),
        EXPLORE_TEST(in_time),     EXPLORE_TEST(one_in_time), EXPLORE_TEST(looked),
        EXPLORE_TEST(cancelled),   EXPLORE_TEST(refused),
    };
    int rc = cmocka_run_group_tests_name("latch", tests, NULL, NULL);
    explore_print_total();
    return rc;
}
