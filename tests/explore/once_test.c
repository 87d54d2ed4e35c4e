/* The once, in every order of the steps of those who call it.
 *
 * The invariant: one at a time runs the function, and none after it has succeeded; nobody returns before
 * that, but with what it lacked; nobody is left asleep. */
#include "explore.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ONCE_DONE UINT32_C(0x40000000) /* as in src/sync/once.c */

enum { FAILED = -1000 };

struct world {
    plait_once once;
    int failures; /* so many runs are to fail */
    int inside, runs, done;
    int passed, failed;
    bool heard; /* a request to stop */
};

static void name_once(void *world)
{
    struct world *w = world;
    EXPLORE_NAME(w->once.word_);
}

static void fails_once(void *world)
{
    name_once(world);
    ((struct world *)world)->failures = 1;
}

static void fails_always(void *world)
{
    name_once(world);
    ((struct world *)world)->failures = 9;
}

static int load(void *world, int notice)
{
    struct world *w = world;
    EXPLORE_EXPECT(notice == 0);
    EXPLORE_EXPECT(w->inside++ == 0);
    EXPLORE_EXPECT(!w->done);
    explore_step("load it", &w->inside);
    EXPLORE_EXPECT(--w->inside == 0);
    if (w->runs++ < w->failures)
        return FAILED;
    w->done = true;
    return 7;
}

static int call(void *world)
{
    struct world *w = world;
    int rc = plait_once_call(&w->once, load, w);
    EXPLORE_EXPECT(rc != 0 || (w->done && plait_once_done(&w->once)));
    w->passed += rc == 0;
    w->failed += rc == FAILED;
    return rc;
}

static void call_once(void *world)
{
    EXPLORE_EXPECT(call(world) == 0);
}

static void call_twice(void *world)
{
    call_once(world);
    call_once(world);
}

static void call_perhaps_in_vain(void *world)
{
    int rc = call(world);
    EXPLORE_EXPECT(rc == 0 || rc == FAILED);
}

static void call_until_done(void *world)
{
    while (call(world) != 0)
        continue;
}

static void call_until_cancelled(void *world)
{
    struct world *w = world;
    int rc = call(world);
    EXPLORE_EXPECT(rc == 0 || rc == FAILED ||
                   (rc == PLAIT_ECANCELED && !(w->once.word_ & ONCE_DONE)));
    w->heard = rc == PLAIT_ECANCELED;
}

static void cancel_a(void *world)
{
    (void)world;
    EXPLORE_EXPECT(plait_cancel(explore_worker(0)) == 0);
}

/* --- what must be at the end --- */

static void was_done(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(w->done && w->runs == 1 + w->failures && w->failed == w->failures);
    EXPLORE_EXPECT(plait_once_done(&w->once));
}

static void all_failed(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(w->passed == 0 && w->failed == 3 && w->runs == 3);
    EXPLORE_EXPECT(!plait_once_done(&w->once));
    w->failures = 0;
    EXPLORE_EXPECT(call(w) == 0);
}

static void was_heard_or_will_be(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(w->heard != explore_is_asked(0));
    EXPLORE_EXPECT(w->passed + w->failed + w->heard == 2);
}

#define ONCE .world_size = sizeof(struct world), .setup = name_once
#define FAILS .world_size = sizeof(struct world), .setup = fails_once

static const struct explore_scenario two = {
    .name = "once: two call", ONCE, .run = {call_once, call_once}, .check = was_done};

static const struct explore_scenario three = {.name = "once: three call, one of them twice",
                                              ONCE,
                                              .run = {call_once, call_twice, call_once},
                                              .check = was_done};

static const struct explore_scenario one_fails = {.name = "once: the first run fails, two call",
                                                  FAILS,
                                                  .preemptions = 4,
                                                  .run = {call_perhaps_in_vain, call_until_done},
                                                  .check = was_done};

static const struct explore_scenario one_of_three_fails = {
    .name = "once: the first run fails, three call",
    FAILS,
    .preemptions = 2,
    .run = {call_perhaps_in_vain, call_until_done, call_perhaps_in_vain},
    .check = was_done};

static const struct explore_scenario all_fail = {
    .name = "once: each run fails, three call",
    .world_size = sizeof(struct world),
    .setup = fails_always,
    .preemptions = 2,
    .run = {call_perhaps_in_vain, call_perhaps_in_vain, call_perhaps_in_vain},
    .check = all_failed};

static const struct explore_scenario cancelled = {
    .name = "once: a request to stop against the end",
    ONCE,
    .run = {call_until_cancelled, call_once, cancel_a},
    .check = was_heard_or_will_be};

static const struct explore_scenario cancelled_and_fails = {
    .name = "once: a request to stop against a run that fails",
    FAILS,
    .preemptions = 2,
    .run = {call_until_cancelled, call_perhaps_in_vain, cancel_a},
    .check = was_heard_or_will_be};

/* The wake-ups of a run that failed go to all, or the one who gives up would take another's. */
static const struct explore_scenario passed_on = {
    .name = "once: who is asked to stop leaves the run to another",
    FAILS,
    .preemptions = 1,
    .run = {call_until_cancelled, call_until_done, call_until_done, cancel_a}};

int main(void)
{
    const struct CMUnitTest tests[] = {
        EXPLORE_TEST(two),       EXPLORE_TEST(three),
        EXPLORE_TEST(one_fails), EXPLORE_TEST(one_of_three_fails),
        EXPLORE_TEST(all_fail),  EXPLORE_TEST(cancelled),
        EXPLORE_TEST(passed_on), EXPLORE_TEST(cancelled_and_fails),
    };
    int rc = cmocka_run_group_tests_name("once", tests, NULL, NULL);
    explore_print_total();
    return rc;
}
