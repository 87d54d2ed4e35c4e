/* The gil, in every order of the steps of those who take it, yield it and ask for it.
 *
 * The invariant: never two inside; who stands in line when another yields is in before that one is back;
 * nobody is left asleep. */
#include "explore.h"

#include "park/park.h"
#include "sync/lock_word.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

struct world {
    plait_gil gil;
    int inside;
    int passed, gave_up;
    bool heard; /* a request to stop */
};

static void name_gil(void *world)
{
    struct world *w = world;
    EXPLORE_NAME(w->gil.lock_.word_);
    EXPLORE_NAME(w->gil.request_);
    EXPLORE_NAME(w->gil.switches_);
}

static void has_an_interval(void *world)
{
    struct world *w = world;
    name_gil(world);
    EXPLORE_EXPECT(plait_gil_init(&w->gil, plait_ms(2)) == 0);
}

static void be_inside(struct world *w)
{
    EXPLORE_EXPECT(w->inside++ == 0);
    explore_step("inside", &w->inside);
    EXPLORE_EXPECT(--w->inside == 0);
    w->passed++;
}

static void end(struct world *w)
{
    be_inside(w);
    EXPLORE_EXPECT(plait_gil_release(&w->gil) == 0);
}

static void take_and_give(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(plait_gil_acquire(&w->gil, PLAIT_FOREVER) == 0);
    end(w);
}

static void take_within(struct world *w, int64_t timeout, int or_else)
{
    int rc = plait_gil_acquire(&w->gil, timeout);
    EXPLORE_EXPECT(rc == 0 || rc == or_else);
    if (rc == 0)
        end(w);
    w->gave_up += rc < 0;
    w->heard = rc == PLAIT_ECANCELED;
}

static void take_in_time(void *world)
{
    take_within(world, plait_ms(1), PLAIT_ETIMEDOUT);
}

static void take_in_longer_time(void *world)
{
    take_within(world, plait_ms(3), PLAIT_ETIMEDOUT);
}

static void take_until_cancelled(void *world)
{
    take_within(world, PLAIT_FOREVER, PLAIT_ECANCELED);
}

static void cancel_a(void *world)
{
    (void)world;
    EXPLORE_EXPECT(plait_cancel(explore_worker(0)) == 0);
}

/* How many of the workers from b on stand in line and will be seen there. */
static int standing(const struct world *w)
{
    int n = 0;
    for (int i = 1; i < 3 && (w->gil.lock_.word_ & PL_LOCK_WAITERS); i++)
        n += pl_slot_of(explore_worker_id(i))->place.line == &w->gil.lock_.word_;
    return n;
}

/* Worker a's. */
static void take_and_yield(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(plait_gil_acquire(&w->gil, PLAIT_FOREVER) == 0);
    be_inside(w);
    int before = w->passed, waiting = standing(w);
    EXPLORE_EXPECT(plait_gil_yield(&w->gil) == 0);
    EXPLORE_EXPECT(w->passed >= before + waiting);
    end(w);
}

static void take_and_release_for_a_block(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(plait_gil_acquire(&w->gil, PLAIT_FOREVER) == 0);
    be_inside(w);
    PLAIT_GIL_RELEASED(&w->gil)
    explore_step("outside", &w->inside);
    end(w);
}

/* Yields if it is asked to, and looks twice. */
static void take_and_yield_if_asked(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(plait_gil_acquire(&w->gil, PLAIT_FOREVER) == 0);
    be_inside(w);
    for (int i = 0; i < 2; i++) {
        explore_step("load", &w->gil.request_);
        if (!plait_gil_should_yield(&w->gil))
            continue;
        EXPLORE_EXPECT(plait_gil_yield(&w->gil) == 0);
        EXPLORE_EXPECT(!explore_ended(1) || !plait_gil_should_yield(&w->gil));
    }
    end(w);
}

/* --- what must be at the end --- */

static void is_free(struct world *w)
{
    EXPLORE_EXPECT(!plait_gil_locked(&w->gil));
    EXPLORE_EXPECT(plait_gil_acquire(&w->gil, PLAIT_NOWAIT) == 0);
    EXPLORE_EXPECT(!plait_gil_should_yield(&w->gil));
}

static void came_to(struct world *w, int n)
{
    EXPLORE_EXPECT(w->passed + w->gave_up == n);
    is_free(w);
}

static void two_came(void *world)
{
    came_to(world, 2);
}

static void three_came(void *world)
{
    came_to(world, 3);
}

static void four_came(void *world)
{
    came_to(world, 4);
}

static void was_heard_or_will_be(void *world)
{
    EXPLORE_EXPECT(((struct world *)world)->heard != explore_is_asked(0));
    two_came(world);
}

#define GIL .world_size = sizeof(struct world), .setup = name_gil

static const struct explore_scenario two = {.name = "gil: two take and give",
                                            GIL,
                                            .preemptions = 3,
                                            .run = {take_and_give, take_and_give},
                                            .check = two_came};

static const struct explore_scenario three = {.name = "gil: three take and give",
                                              GIL,
                                              .preemptions = 2,
                                              .run = {take_and_give, take_and_give, take_and_give},
                                              .check = three_came};

static const struct explore_scenario yielded = {.name = "gil: one yields, one takes",
                                                GIL,
                                                .preemptions = 3,
                                                .run = {take_and_yield, take_and_give},
                                                .check = three_came};

static const struct explore_scenario yielded_to_two = {
    .name = "gil: one yields, two take",
    GIL,
    .preemptions = 2,
    .run = {take_and_yield, take_and_give, take_and_give},
    .check = four_came};

static const struct explore_scenario for_a_block = {
    .name = "gil: one yields, one lets it go for a block",
    GIL,
    .preemptions = 3,
    .run = {take_and_yield, take_and_release_for_a_block},
    .check = four_came};

static const struct explore_scenario in_time = {.name = "gil: a timeout against the release",
                                                GIL,
                                                .preemptions = 3,
                                                .run = {take_in_time, take_and_give},
                                                .check = two_came};

static const struct explore_scenario passed_on = {
    .name = "gil: who gives up passes the call on",
    GIL,
    .preemptions = 2,
    .run = {take_in_time, take_and_give, take_and_give},
    .check = three_came};

static const struct explore_scenario cancelled = {
    .name = "gil: a request to stop against the release",
    GIL,
    .preemptions = 2,
    .run = {take_until_cancelled, take_and_give, cancel_a},
    .check = was_heard_or_will_be};

static const struct explore_scenario asked = {.name = "gil: one is asked to yield",
                                              .world_size = sizeof(struct world),
                                              .setup = has_an_interval,
                                              .preemptions = 3,
                                              .longest_nap = 2 * 1000 * 1000,
                                              .run = {take_and_yield_if_asked, take_and_give},
                                              .check = three_came};

static const struct explore_scenario asked_in_vain = {
    .name = "gil: who asked has given up",
    .world_size = sizeof(struct world),
    .setup = has_an_interval,
    .preemptions = 2,
    .longest_nap = 2 * 1000 * 1000,
    .run = {take_and_yield_if_asked, take_in_longer_time},
    .check = three_came};

/* That it comes to a request at all is to be seen, too. */
static void nobody_asks(void *world)
{
    EXPLORE_EXPECT(!plait_gil_should_yield(&((struct world *)world)->gil));
}

static void a_request_is_met(void **state)
{
    (void)state;
    if (getenv("EXPLORE"))
        skip();
    struct explore_scenario s = asked;
    s.always = nobody_asks;
    assert_true(explore(&s, true).failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EXPLORE_TEST(two),
        EXPLORE_TEST(three),
        EXPLORE_TEST(yielded),
        EXPLORE_TEST(yielded_to_two),
        EXPLORE_TEST(for_a_block),
        EXPLORE_TEST(in_time),
        EXPLORE_TEST(passed_on),
        EXPLORE_TEST(cancelled),
        EXPLORE_TEST(asked),
        EXPLORE_TEST(asked_in_vain),
        cmocka_unit_test(a_request_is_met),
    };
    int rc = cmocka_run_group_tests_name("gil", tests, NULL, NULL);
    explore_print_total();
    return rc;
}
