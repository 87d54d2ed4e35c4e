/* The rlock, in every order of the steps of those who use it; and the condition on one, which lets go of
 * all levels at once. */
#include "explore.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct world {
    plait_rlock rlock;
    plait_condition condition;
    int inside, passed, items;
};

static void name_rlock(void *world)
{
    struct world *w = world;
    EXPLORE_NAME(w->rlock.lock_.word_);
    EXPLORE_EXPECT(plait_condition_init_rlock(&w->condition, &w->rlock) == 0);
}

static void be_inside(struct world *w)
{
    EXPLORE_EXPECT(w->inside++ == 0);
    explore_step("inside", &w->inside);
    EXPLORE_EXPECT(--w->inside == 0);
}

static void take_two_levels(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(plait_rlock_acquire(&w->rlock, PLAIT_FOREVER) == 0);
    EXPLORE_EXPECT(plait_rlock_acquire(&w->rlock, PLAIT_FOREVER) == 0);
    EXPLORE_EXPECT(plait_rlock_depth(&w->rlock) == 2);
    EXPLORE_EXPECT(plait_rlock_release(&w->rlock) == 0);
    be_inside(w);
    EXPLORE_EXPECT(plait_rlock_release(&w->rlock) == 0);
    EXPLORE_EXPECT(plait_rlock_release(&w->rlock) == PLAIT_EPERM);
}

static void take_in_time(void *world)
{
    struct world *w = world;
    int rc = plait_rlock_acquire(&w->rlock, plait_ms(5));
    EXPLORE_EXPECT(rc == 0 || rc == PLAIT_ETIMEDOUT);
    if (rc == 0) {
        be_inside(w);
        EXPLORE_EXPECT(plait_rlock_release(&w->rlock) == 0);
    }
}

static void release_what_is_not_ours(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(plait_rlock_release(&w->rlock) == PLAIT_EPERM);
    EXPLORE_EXPECT(plait_rlock_depth(&w->rlock) == 0);
}

/* Waits with two levels held, and has two again after. */
static void wait_two_deep(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(plait_rlock_acquire(&w->rlock, PLAIT_FOREVER) == 0);
    EXPLORE_EXPECT(plait_rlock_acquire(&w->rlock, PLAIT_FOREVER) == 0);
    while (w->items == 0)
        EXPLORE_EXPECT(plait_condition_wait(&w->condition, PLAIT_FOREVER) == 0);
    w->items--;
    EXPLORE_EXPECT(plait_rlock_depth(&w->rlock) == 2);
    EXPLORE_EXPECT(plait_rlock_release(&w->rlock) == 0);
    EXPLORE_EXPECT(plait_rlock_release(&w->rlock) == 0);
}

static void put_item(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(plait_rlock_acquire(&w->rlock, PLAIT_FOREVER) == 0);
    w->items++;
    EXPLORE_EXPECT(plait_condition_notify(&w->condition, 1) >= 0);
    EXPLORE_EXPECT(plait_rlock_release(&w->rlock) == 0);
}

static void is_free(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(!plait_rlock_locked(&w->rlock));
    EXPLORE_EXPECT(w->items == 0);
    EXPLORE_EXPECT(plait_rlock_acquire(&w->rlock, PLAIT_NOWAIT) == 0);
    EXPLORE_EXPECT(plait_rlock_depth(&w->rlock) == 1);
}

#define RLOCK .world_size = sizeof(struct world), .setup = name_rlock, .check = is_free

static const struct explore_scenario two = {.name = "rlock: two take two levels",
                                            RLOCK,
                                            .preemptions = 4,
                                            .run = {take_two_levels, take_two_levels}};

static const struct explore_scenario in_time = {.name = "rlock: a timeout against the release",
                                                RLOCK,
                                                .preemptions = 3,
                                                .run = {take_in_time, take_two_levels}};

static const struct explore_scenario not_ours = {
    .name = "rlock: who does not hold it cannot release it",
    RLOCK,
    .run = {take_two_levels, release_what_is_not_ours}};

static const struct explore_scenario two_deep = {.name = "rlock: a condition, waited for two deep",
                                                 RLOCK,
                                                 .preemptions = 3,
                                                 .run = {wait_two_deep, put_item}};

static const struct explore_scenario two_wait = {
    .name = "rlock: a condition, two wait, two notify",
    RLOCK,
    .preemptions = 1,
    .run = {wait_two_deep, wait_two_deep, put_item, put_item}};

int main(void)
{
    const struct CMUnitTest tests[] = {
        EXPLORE_TEST(two),      EXPLORE_TEST(in_time),  EXPLORE_TEST(not_ours),
        EXPLORE_TEST(two_deep), EXPLORE_TEST(two_wait),
    };
    int rc = cmocka_run_group_tests_name("rlock", tests, NULL, NULL);
    explore_print_total();
    return rc;
}
