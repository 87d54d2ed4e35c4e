/* The lock, in every order of the steps of those who use it.
 *
 * The invariant: never two inside; nobody is left asleep; what was counted inside is exact. */
#include "explore.h"

#include "sync/lock_word.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct world {
    plait_lock lock;
    int inside; /* who is; a plain counter that only the lock protects */
    int passed, gave_up;
};

static void name_lock(void *world)
{
    struct world *w = world;
    EXPLORE_NAME(w->lock.word_);
}

static void be_inside(struct world *w)
{
    EXPLORE_EXPECT(w->inside++ == 0);
    explore_step("inside", &w->inside);
    EXPLORE_EXPECT(--w->inside == 0);
    w->passed++;
}

static void take_and_give(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(plait_lock_acquire(&w->lock, PLAIT_FOREVER) == 0);
    be_inside(w);
    EXPLORE_EXPECT(plait_lock_release(&w->lock) == 0);
}

static void take_and_give_twice(void *world)
{
    take_and_give(world);
    take_and_give(world);
}

static void take_in_time(void *world)
{
    struct world *w = world;
    int rc = plait_lock_acquire(&w->lock, plait_ms(5));
    EXPLORE_EXPECT(rc == 0 || rc == PLAIT_ETIMEDOUT);
    if (rc == 0) {
        be_inside(w);
        EXPLORE_EXPECT(plait_lock_release(&w->lock) == 0);
    } else {
        w->gave_up++;
    }
}

static void lock_is_free(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(!plait_lock_locked(&w->lock));
    EXPLORE_EXPECT(plait_lock_acquire(&w->lock, PLAIT_NOWAIT) == 0);
}

static void two_passed(void *world)
{
    EXPLORE_EXPECT(((struct world *)world)->passed == 2);
    lock_is_free(world);
}

static void three_passed(void *world)
{
    EXPLORE_EXPECT(((struct world *)world)->passed == 3);
    lock_is_free(world);
}

static void two_passed_or_gave_up(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(w->passed + w->gave_up == 2);
    lock_is_free(world);
}

#define LOCK .world_size = sizeof(struct world), .setup = name_lock

static const struct explore_scenario two = {.name = "lock: two take and give",
                                            LOCK,
                                            .run = {take_and_give, take_and_give},
                                            .check = two_passed};

static const struct explore_scenario three = {.name = "lock: three take and give",
                                              LOCK,
                                              .run = {take_and_give, take_and_give, take_and_give},
                                              .check = three_passed};

static const struct explore_scenario in_time = {.name = "lock: a timeout against the release",
                                                LOCK,
                                                .run = {take_and_give, take_in_time},
                                                .check = two_passed_or_gave_up};

int main(void)
{
    (void)take_and_give_twice;
    const struct CMUnitTest tests[] = {
        EXPLORE_TEST(two),
        EXPLORE_TEST(three),
        EXPLORE_TEST(in_time),
    };
    int rc = cmocka_run_group_tests_name("lock", tests, NULL, NULL);
    explore_print_total();
    return rc;
}
