/* The barrier, in every order of the steps of those who come, give up, abort and reset.
 *
 * The invariant: a round is complete for all who were counted in, or broken for all; nobody goes on before
 * all have come; nobody is left asleep. */
#include "explore.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct world {
    plait_barrier barrier;
    int n;                      /* parties */
    int calls[EXPLORE_WORKERS]; /* rounds that each has come to */
    int through, broken, timed_out, failed;
    int indices; /* the sum of those that complete rounds gave */
    int acting;  /* is in the action */
    int actions; /* how often the action has run */
    bool heard;  /* a request to stop */
};

static void name_barrier(struct world *w)
{
    EXPLORE_NAME(w->barrier.round_[0]);
    EXPLORE_NAME(w->barrier.runner_);
}

static void of(void *world, int n, plait_function *action)
{
    struct world *w = world;
    name_barrier(w);
    w->n = n;
    plait_barrier_options options = {.action = action, .arg = w};
    EXPLORE_EXPECT(plait_barrier_init(&w->barrier, n, &options) == 0);
}

static int act(void *world)
{
    struct world *w = world;
    int through = w->through;
    EXPLORE_EXPECT(plait_barrier_waiting(&w->barrier) == w->n || plait_barrier_broken(&w->barrier));
    explore_step("action", &w->actions);
    EXPLORE_EXPECT(w->through == through);
    w->actions++;
    return 0;
}

/* Where workers of another round may be on their way, or the round be reset. */
static int act_beside(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(w->acting++ == 0);
    explore_step("action", &w->actions);
    EXPLORE_EXPECT(--w->acting == 0);
    w->actions++;
    return 0;
}

static int act_in_vain(void *world)
{
    ((struct world *)world)->actions++;
    return -1000;
}

static void of_two(void *world)
{
    of(world, 2, NULL);
}

static void of_three(void *world)
{
    of(world, 3, NULL);
}

static void of_two_with_action(void *world)
{
    of(world, 2, act);
}

static void of_two_with_action_beside(void *world)
{
    of(world, 2, act_beside);
}

static void of_two_that_fail(void *world)
{
    of(world, 2, act_in_vain);
}

/* --- what workers do --- */

static int meet_within(struct world *w, int64_t timeout)
{
    int rc = plait_barrier_wait(&w->barrier, timeout);
    EXPLORE_EXPECT(rc < w->n);
    w->through += rc >= 0;
    w->indices += rc > 0 ? rc : 0;
    w->broken += rc == PLAIT_EBROKEN;
    w->timed_out += rc == PLAIT_ETIMEDOUT;
    w->failed += rc == -1000;
    w->heard |= rc == PLAIT_ECANCELED;
    return rc;
}

/* All workers come to each round: nobody is through before all have come. */
static void meet(void *world)
{
    struct world *w = world;
    int round = ++w->calls[explore_self()];
    EXPLORE_EXPECT(meet_within(w, PLAIT_FOREVER) >= 0);
    for (int i = 0; i < w->n; i++)
        EXPLORE_EXPECT(w->calls[i] >= round);
}

static void meet_twice(void *world)
{
    meet(world);
    meet(world);
}

static void meet_anybody(void *world)
{
    EXPLORE_EXPECT(meet_within(world, PLAIT_FOREVER) >= 0);
}

static void meet_or_break(void *world)
{
    int rc = meet_within(world, PLAIT_FOREVER);
    EXPLORE_EXPECT(rc >= 0 || rc == PLAIT_EBROKEN || rc == -1000);
}

static void meet_in_time(void *world)
{
    int rc = meet_within(world, plait_ms(5));
    EXPLORE_EXPECT(rc >= 0 || rc == PLAIT_ETIMEDOUT || rc == PLAIT_EBROKEN);
}

static void meet_at_once(void *world)
{
    int rc = meet_within(world, PLAIT_NOWAIT);
    EXPLORE_EXPECT(rc >= 0 || rc == PLAIT_ETIMEDOUT || rc == PLAIT_EBROKEN);
}

static void meet_until_cancelled(void *world)
{
    int rc = meet_within(world, PLAIT_FOREVER);
    EXPLORE_EXPECT(rc >= 0 || rc == PLAIT_ECANCELED);
}

static void cancel_a(void *world)
{
    (void)world;
    EXPLORE_EXPECT(plait_cancel(explore_worker(0)) == 0);
}

/* Comes again until it has met the others. */
static void meet_at_last(void *world)
{
    struct world *w = world;
    int rc;
    while ((rc = meet_within(w, PLAIT_FOREVER)) < 0) {
        EXPLORE_EXPECT(rc == PLAIT_EBROKEN);
        while (plait_barrier_broken(&w->barrier))
            explore_yield();
    }
}

/* Once sent away, comes again only when the other has been counted in: he must not need that. */
static void meet_behind(void *world)
{
    struct world *w = world;
    if (meet_within(w, PLAIT_FOREVER) >= 0)
        return;
    while (plait_barrier_waiting(&w->barrier) == 0)
        explore_yield();
    EXPLORE_EXPECT(meet_within(w, PLAIT_FOREVER) >= 0);
}

static void abort_it(void *world)
{
    EXPLORE_EXPECT(plait_barrier_abort(&((struct world *)world)->barrier) == 0);
}

static void reset_it(void *world)
{
    EXPLORE_EXPECT(plait_barrier_reset(&((struct world *)world)->barrier) == 0);
}

static void abort_and_reset(void *world)
{
    abort_it(world);
    reset_it(world);
}

static void reset_twice(void *world)
{
    reset_it(world);
    reset_it(world);
}

/* --- what must be at the end --- */

static void is_empty(struct world *w)
{
    EXPLORE_EXPECT(!plait_barrier_broken(&w->barrier));
    EXPLORE_EXPECT(plait_barrier_waiting(&w->barrier) == 0);
}

/* So many rounds, and each index once in each. */
static void rounds_were(struct world *w, int rounds)
{
    EXPLORE_EXPECT(w->through == rounds * w->n);
    EXPLORE_EXPECT(w->indices == rounds * w->n * (w->n - 1) / 2);
    EXPLORE_EXPECT(w->actions == (w->barrier.action_ ? rounds : 0));
    is_empty(w);
}

static void one_round(void *world)
{
    rounds_were(world, 1);
}

static void two_rounds(void *world)
{
    rounds_were(world, 2);
}

/* One round, by all of those who come to it, or by none. */
static bool was_complete(struct world *w)
{
    EXPLORE_EXPECT(w->through == 0 || w->through == w->n);
    return w->through != 0;
}

static void all_or_one_timed_out(void *world)
{
    struct world *w = world;
    if (was_complete(w)) {
        is_empty(w);
    } else {
        EXPLORE_EXPECT(w->timed_out == 1 && w->broken == w->n - 1);
        EXPLORE_EXPECT(plait_barrier_broken(&w->barrier));
    }
}

static void all_or_one_cancelled(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(w->heard != explore_is_asked(0));
    if (was_complete(w))
        EXPLORE_EXPECT(!w->heard);
    else
        EXPLORE_EXPECT(w->heard && w->broken == w->n - 1);
}

static void all_or_none_and_broken(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(was_complete(w) || w->broken == w->n);
    EXPLORE_EXPECT(plait_barrier_broken(&w->barrier));
    reset_it(w);
    is_empty(w);
}

static void one_failed_one_broken(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(w->through == 0 && w->failed == 1 && w->broken == 1 && w->actions == 1);
    EXPLORE_EXPECT(plait_barrier_broken(&w->barrier));
}

/* Each reset sends away those who have come; never all of them, for then the round was complete. */
static void met_at_last(struct world *w, int resets)
{
    EXPLORE_EXPECT(w->broken <= resets * (w->n - 1));
    rounds_were(w, 1);
}

static void met_after_reset(void *world)
{
    met_at_last(world, 1);
}

static void met_after_two_resets(void *world)
{
    met_at_last(world, 2);
}

/* An abort sends away those, too, who come after it: so they may be more. */
static void met_after_abort(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(w->through == w->n);
    is_empty(w);
}

/* With an action a round may be complete, or be aborted while it runs; nobody was through then. */
static void met_after_reset_of_action(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(w->through == w->n && w->broken <= w->n);
    EXPLORE_EXPECT(w->actions == 1 + (w->broken == w->n));
    is_empty(w);
}

#define TWO .world_size = sizeof(struct world), .setup = of_two
#define THREE .world_size = sizeof(struct world), .setup = of_three
#define BESIDE .world_size = sizeof(struct world), .setup = of_two_with_action_beside
#define ACTION .world_size = sizeof(struct world), .setup = of_two_with_action

static const struct explore_scenario two_meet = {
    .name = "barrier: two meet", TWO, .run = {meet, meet}, .check = one_round};

static const struct explore_scenario two_again = {.name = "barrier: two meet twice",
                                                  TWO,
                                                  .preemptions = 3,
                                                  .run = {meet_twice, meet_twice},
                                                  .check = two_rounds};

static const struct explore_scenario three_meet = {.name = "barrier: three meet",
                                                   THREE,
                                                   .preemptions = 2,
                                                   .run = {meet, meet, meet},
                                                   .check = one_round};

static const struct explore_scenario three_again = {.name = "barrier: three meet twice",
                                                    THREE,
                                                    .memory = EXPLORE_ARENA,
                                                    .preemptions = 2,
                                                    .run = {meet_twice, meet_twice, meet_twice},
                                                    .check = two_rounds};

static const struct explore_scenario four_for_two = {
    .name = "barrier: four come, two make a round",
    TWO,
    .preemptions = 1,
    .run = {meet_anybody, meet_anybody, meet_anybody, meet_anybody},
    .check = two_rounds};

static const struct explore_scenario in_time = {.name =
                                                    "barrier: the last to come against a timeout",
                                                TWO,
                                                .preemptions = 4,
                                                .run = {meet_in_time, meet_or_break},
                                                .check = all_or_one_timed_out};

static const struct explore_scenario both_in_time = {
    .name = "barrier: the last to come against two timeouts",
    THREE,
    .preemptions = 2,
    .run = {meet_in_time, meet_in_time, meet_or_break},
    .check = all_or_one_timed_out};

static const struct explore_scenario at_once = {.name = "barrier: one does not wait",
                                                TWO,
                                                .run = {meet_at_once, meet_or_break},
                                                .check = all_or_one_timed_out};

static const struct explore_scenario cancelled = {
    .name = "barrier: the last to come against a request to stop",
    TWO,
    .preemptions = 2,
    .run = {meet_until_cancelled, meet_or_break, cancel_a},
    .check = all_or_one_cancelled};

static const struct explore_scenario aborted = {.name = "barrier: abort against the last to come",
                                                TWO,
                                                .preemptions = 3,
                                                .run = {meet_or_break, meet_or_break, abort_it},
                                                .check = all_or_none_and_broken};

static const struct explore_scenario aborted_three = {
    .name = "barrier: abort against three that come",
    THREE,
    .memory = EXPLORE_ARENA,
    .preemptions = 2,
    .run = {meet_or_break, meet_or_break, meet_or_break, abort_it},
    .check = all_or_none_and_broken};

static const struct explore_scenario reset = {.name = "barrier: reset against those who come",
                                              TWO,
                                              .preemptions = 2,
                                              .run = {meet_at_last, meet_at_last, reset_it},
                                              .check = met_after_reset};

static const struct explore_scenario reset_behind = {
    .name = "barrier: who was sent away lets the next one in",
    TWO,
    .preemptions = 2,
    .run = {meet_behind, meet_behind, reset_it},
    .check = met_after_reset};

static const struct explore_scenario reset_three = {
    .name = "barrier: reset against three that come",
    THREE,
    .preemptions = 1,
    .run = {meet_at_last, meet_at_last, meet_at_last, reset_it},
    .check = met_after_reset};

static const struct explore_scenario reset_again = {
    .name = "barrier: reset twice against those who come",
    TWO,
    .preemptions = 2,
    .run = {meet_at_last, meet_at_last, reset_twice},
    .check = met_after_two_resets};

static const struct explore_scenario two_reset = {
    .name = "barrier: two reset it, two come",
    TWO,
    .preemptions = 1,
    .run = {meet_at_last, meet_at_last, reset_it, reset_it},
    .check = met_after_two_resets};

static const struct explore_scenario fast_reset = {
    .name = "barrier: aborted and at once reset",
    TWO,
    .preemptions = 2,
    .run = {meet_at_last, meet_at_last, abort_and_reset},
    .check = met_after_abort};

static const struct explore_scenario action = {.name = "barrier: an action, two meet",
                                               ACTION,
                                               .preemptions = 4,
                                               .run = {meet, meet},
                                               .check = one_round};

static const struct explore_scenario action_again = {.name = "barrier: an action, two meet twice",
                                                     ACTION,
                                                     .preemptions = 3,
                                                     .run = {meet_twice, meet_twice},
                                                     .check = two_rounds};

static const struct explore_scenario action_door = {
    .name = "barrier: an action, others wait at the door",
    BESIDE,
    .preemptions = 1,
    .run = {meet_anybody, meet_anybody, meet_anybody, meet_anybody},
    .check = two_rounds};

static const struct explore_scenario action_fails = {.name = "barrier: the action fails",
                                                     .world_size = sizeof(struct world),
                                                     .setup = of_two_that_fail,
                                                     .run = {meet_or_break, meet_or_break},
                                                     .check = one_failed_one_broken};

static const struct explore_scenario action_in_time = {
    .name = "barrier: a timeout while the action runs",
    ACTION,
    .preemptions = 3,
    .run = {meet_in_time, meet_or_break},
    .check = all_or_one_timed_out};

static const struct explore_scenario action_aborted = {
    .name = "barrier: abort while the action runs",
    ACTION,
    .preemptions = 2,
    .run = {meet_or_break, meet_or_break, abort_it},
    .check = all_or_none_and_broken};

static const struct explore_scenario action_reset = {.name = "barrier: reset while the action runs",
                                                     BESIDE,
                                                     .preemptions = 2,
                                                     .run = {meet_at_last, meet_at_last, reset_it},
                                                     .check = met_after_reset_of_action};

int main(void)
{
    const struct CMUnitTest tests[] = {
        EXPLORE_TEST(two_meet),       EXPLORE_TEST(two_again),      EXPLORE_TEST(three_meet),
        EXPLORE_TEST(three_again),    EXPLORE_TEST(four_for_two),   EXPLORE_TEST(in_time),
        EXPLORE_TEST(both_in_time),   EXPLORE_TEST(at_once),        EXPLORE_TEST(cancelled),
        EXPLORE_TEST(aborted),        EXPLORE_TEST(aborted_three),  EXPLORE_TEST(reset),
        EXPLORE_TEST(reset_behind),   EXPLORE_TEST(reset_three),    EXPLORE_TEST(reset_again),
        EXPLORE_TEST(two_reset),      EXPLORE_TEST(fast_reset),     EXPLORE_TEST(action),
        EXPLORE_TEST(action_again),   EXPLORE_TEST(action_door),    EXPLORE_TEST(action_fails),
        EXPLORE_TEST(action_in_time), EXPLORE_TEST(action_aborted), EXPLORE_TEST(action_reset),
    };
    int rc = cmocka_run_group_tests_name("barrier", tests, NULL, NULL);
    explore_print_total();
    return rc;
}
