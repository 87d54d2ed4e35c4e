/* Many locks at once, in every order of the steps of those who take them in whatever order.
 *
 * The invariant: all or none; never two inside one lock; no ring, nobody is left asleep. */
#include "explore.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { LOCKS = 3 };

struct world {
    plait_lock locks[LOCKS];
    int inside[LOCKS];
    int passed, gave_up;
    bool heard; /* a request to stop */
};

static void name_locks(void *world)
{
    struct world *w = world;
    EXPLORE_NAME(w->locks[0].word_);
    EXPLORE_NAME(w->locks[1].word_);
    EXPLORE_NAME(w->locks[2].word_);
}

static void be_inside(struct world *w, plait_lock *const *locks, int n)
{
    for (int i = 0; i < n; i++)
        EXPLORE_EXPECT(w->inside[locks[i] - w->locks]++ == 0);
    explore_step("inside", w->inside);
    for (int i = 0; i < n; i++)
        EXPLORE_EXPECT(--w->inside[locks[i] - w->locks] == 0);
    w->passed++;
}

static int take(struct world *w, plait_lock *const *locks, int n, int64_t timeout)
{
    int rc = plait_acquire_all(locks, n, timeout);
    if (rc == 0) {
        be_inside(w, locks, n);
        EXPLORE_EXPECT(plait_release_all(locks, n) == 0);
    }
    w->gave_up += rc < 0;
    return rc;
}

#define LIST(...)                                                                                  \
    (plait_lock *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static void take_up(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(take(w, LIST(&w->locks[0], &w->locks[1]), 2, PLAIT_FOREVER) == 0);
}

static void take_down(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(take(w, LIST(&w->locks[1], &w->locks[0]), 2, PLAIT_FOREVER) == 0);
}

static void take_ends(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(take(w, LIST(&w->locks[2], &w->locks[0]), 2, PLAIT_FOREVER) == 0);
}

static void take_upper(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(take(w, LIST(&w->locks[2], &w->locks[1]), 2, PLAIT_FOREVER) == 0);
}

static void take_three(void *world)
{
    struct world *w = world;
    plait_lock *const *all = LIST(&w->locks[1], &w->locks[2], &w->locks[0]);
    EXPLORE_EXPECT(take(w, all, 3, PLAIT_FOREVER) == 0);
}

static void take_one(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(take(w, LIST(&w->locks[1]), 1, PLAIT_FOREVER) == 0);
}

static void take_in_time(void *world)
{
    struct world *w = world;
    int rc = take(w, LIST(&w->locks[1], &w->locks[0]), 2, plait_ms(5));
    EXPLORE_EXPECT(rc == 0 || rc == PLAIT_ETIMEDOUT);
}

static void try_to_take(void *world)
{
    struct world *w = world;
    int rc = take(w, LIST(&w->locks[1], &w->locks[0]), 2, PLAIT_NOWAIT);
    EXPLORE_EXPECT(rc == 0 || rc == PLAIT_ETIMEDOUT);
}

static void take_until_cancelled(void *world)
{
    struct world *w = world;
    int rc = take(w, LIST(&w->locks[1], &w->locks[0]), 2, PLAIT_FOREVER);
    EXPLORE_EXPECT(rc == 0 || rc == PLAIT_ECANCELED);
    w->heard = rc == PLAIT_ECANCELED;
}

static void cancel_a(void *world)
{
    (void)world;
    EXPLORE_EXPECT(plait_cancel(explore_worker(0)) == 0);
}

/* --- what must be at the end --- */

static void came_to(struct world *w, int n)
{
    EXPLORE_EXPECT(w->passed + w->gave_up == n);
    for (int i = 0; i < LOCKS; i++)
        EXPLORE_EXPECT(!plait_lock_locked(&w->locks[i]));
}

static void two_came(void *world)
{
    came_to(world, 2);
}

static void three_came(void *world)
{
    came_to(world, 3);
}

static void was_heard_or_will_be(void *world)
{
    EXPLORE_EXPECT(((struct world *)world)->heard != explore_is_asked(0));
    two_came(world);
}

#define LOCKS_ .world_size = sizeof(struct world), .setup = name_locks

static const struct explore_scenario opposite = {.name =
                                                     "acquire_all: two take two in opposite orders",
                                                 LOCKS_,
                                                 .preemptions = 4,
                                                 .run = {take_up, take_down},
                                                 .check = two_came};

static const struct explore_scenario ring = {.name =
                                                 "acquire_all: three take two each, round a ring",
                                             LOCKS_,
                                             .preemptions = 2,
                                             .run = {take_up, take_upper, take_ends},
                                             .check = three_came};

static const struct explore_scenario all_three = {.name =
                                                      "acquire_all: one takes three, two take two",
                                                  LOCKS_,
                                                  .preemptions = 2,
                                                  .run = {take_three, take_down, take_ends},
                                                  .check = three_came};

static const struct explore_scenario beside = {.name =
                                                   "acquire_all: one takes the upper lock alone",
                                               LOCKS_,
                                               .preemptions = 2,
                                               .run = {take_up, take_down, take_one},
                                               .check = three_came};

static const struct explore_scenario in_time = {
    .name = "acquire_all: who gives up gives back what it has",
    LOCKS_,
    .preemptions = 4,
    .run = {take_in_time, take_one},
    .check = two_came};

static const struct explore_scenario in_time_of_three = {
    .name = "acquire_all: one gives up, two others take",
    LOCKS_,
    .preemptions = 2,
    .run = {take_in_time, take_one, take_up},
    .check = three_came};

static const struct explore_scenario tried = {.name = "acquire_all: one tries, two take",
                                              LOCKS_,
                                              .preemptions = 2,
                                              .run = {try_to_take, take_one, take_up},
                                              .check = three_came};

static const struct explore_scenario cancelled = {
    .name = "acquire_all: a request to stop against the release",
    LOCKS_,
    .preemptions = 2,
    .run = {take_until_cancelled, take_one, cancel_a},
    .check = was_heard_or_will_be};

int main(void)
{
    const struct CMUnitTest tests[] = {
        EXPLORE_TEST(opposite), EXPLORE_TEST(ring),      EXPLORE_TEST(all_three),
        EXPLORE_TEST(beside),   EXPLORE_TEST(in_time),   EXPLORE_TEST(in_time_of_three),
        EXPLORE_TEST(tried),    EXPLORE_TEST(cancelled),
    };
    int rc = cmocka_run_group_tests_name("acquire_all", tests, NULL, NULL);
    explore_print_total();
    return rc;
}
