/* The condition, in every order of the steps of those who wait and notify.
 *
 * The invariant: a notification goes to one who waits and is used by him or by the next; what he waited
 * for is looked at under the lock. */
#include "explore.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct world {
    plait_condition condition;
    plait_lock lock; /* for conditions that use one of the program's */
    int items, waiting, notified;
    bool heard; /* a request to stop */
};

/* The first use of a zeroed condition is longer than the later ones: here, and not in each run. */
static void be_used_once(struct world *w)
{
    EXPLORE_EXPECT(plait_lock_acquire(plait_condition_lock(&w->condition), PLAIT_FOREVER) == 0);
    EXPLORE_EXPECT(plait_condition_notify(&w->condition, 1) == 0);
    EXPLORE_EXPECT(plait_lock_release(plait_condition_lock(&w->condition)) == 0);
}

static void name_condition(void *world)
{
    struct world *w = world;
    be_used_once(w);
    EXPLORE_NAME(w->condition.own_.word_);
    EXPLORE_NAME(w->condition.busy_);
    EXPLORE_NAME(w->condition.debt_);
    EXPLORE_NAME(w->lock.word_);
}

static void with_a_lock_of_its_own(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(plait_condition_init(&w->condition, &w->lock) == 0);
    name_condition(world);
}

static void enter(struct world *w)
{
    EXPLORE_EXPECT(plait_lock_acquire(plait_condition_lock(&w->condition), PLAIT_FOREVER) == 0);
}

static void leave(struct world *w)
{
    EXPLORE_EXPECT(plait_lock_release(plait_condition_lock(&w->condition)) == 0);
}

/* --- a store of items: while there are some, nobody sleeps --- */

static void take_item(void *world)
{
    struct world *w = world;
    enter(w);
    while (w->items == 0)
        EXPLORE_EXPECT(plait_condition_wait(&w->condition, PLAIT_FOREVER) == 0);
    w->items--;
    leave(w);
}

static void put_item(void *world)
{
    struct world *w = world;
    enter(w);
    w->items++;
    EXPLORE_EXPECT(plait_condition_notify(&w->condition, 1) >= 0);
    leave(w);
}

static void put_two_items(void *world)
{
    struct world *w = world;
    enter(w);
    w->items += 2;
    EXPLORE_EXPECT(plait_condition_notify(&w->condition, 2) >= 0);
    leave(w);
}

static void put_two_and_notify_all(void *world)
{
    struct world *w = world;
    enter(w);
    w->items += 2;
    EXPLORE_EXPECT(plait_condition_notify_all(&w->condition) >= 0);
    leave(w);
}

/* Looks at the item and leaves it, telling the next: so both come through with one notification. */
static void see_item_within(struct world *w, int64_t timeout)
{
    int rc = 0;
    enter(w);
    while (w->items == 0 && rc == 0)
        rc = plait_condition_wait(&w->condition, timeout);
    EXPLORE_EXPECT(rc == 0 || rc == PLAIT_ETIMEDOUT || rc == PLAIT_ECANCELED);
    EXPLORE_EXPECT(plait_lock_holder(plait_condition_lock(&w->condition)).slot ==
                   plait_self().slot);
    if (rc == 0)
        EXPLORE_EXPECT(plait_condition_notify(&w->condition, 1) >= 0);
    leave(w);
}

static void see_item(void *world)
{
    see_item_within(world, PLAIT_FOREVER);
}

static void see_item_in_time(void *world)
{
    see_item_within(world, plait_ms(5));
}

static void nothing_is_left(void *world)
{
    EXPLORE_EXPECT(((struct world *)world)->items == 0);
}

/* --- notifications are counted: each wakes one of those who wait, and no more --- */

static void wait_once(struct world *w, int64_t timeout)
{
    enter(w);
    w->waiting++;
    int rc = plait_condition_wait(&w->condition, timeout);
    w->waiting--;
    w->notified += rc == 0;
    EXPLORE_EXPECT(rc == 0 || rc == PLAIT_ETIMEDOUT);
    leave(w);
}

static void wait_in_time(void *world)
{
    wait_once(world, plait_ms(5));
}

/* Asked while it waits for the lock, it goes without having waited for a notification. */
static void wait_until_cancelled(void *world)
{
    struct world *w = world;
    plait_lock *lock = plait_condition_lock(&w->condition);
    int rc = plait_lock_acquire(lock, PLAIT_FOREVER);
    EXPLORE_EXPECT(rc == 0 || rc == PLAIT_ECANCELED);
    w->heard = rc == PLAIT_ECANCELED;
    if (rc != 0)
        return;
    w->waiting++;
    rc = plait_condition_wait(&w->condition, PLAIT_FOREVER);
    w->waiting--;
    w->notified += rc == 0;
    w->heard = rc == PLAIT_ECANCELED;
    EXPLORE_EXPECT(rc == 0 || rc == PLAIT_ECANCELED);
    EXPLORE_EXPECT(plait_lock_release(lock) == 0);
}

static void notify_one_of_those_who_wait(void *world)
{
    struct world *w = world;
    enter(w);
    int rc = plait_condition_notify(&w->condition, 1);
    EXPLORE_EXPECT(rc == (w->waiting + w->notified - w->items > 0));
    w->items += rc; /* here: notifications so far; of those who wait they have reached so many */
    leave(w);
}

static void notifications_came(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(w->notified == w->items);
}

static void was_heard_or_will_be(void *world)
{
    EXPLORE_EXPECT(((struct world *)world)->heard != explore_is_asked(0));
    notifications_came(world);
}

static void cancel_a(void *world)
{
    (void)world;
    EXPLORE_EXPECT(plait_cancel(explore_worker(0)) == 0);
}

#define CONDITION .world_size = sizeof(struct world), .setup = name_condition

static const struct explore_scenario put_and_take = {.name = "condition: notify, wait",
                                                     CONDITION,
                                                     .run = {take_item, put_item},
                                                     .check = nothing_is_left};

static const struct explore_scenario other_lock = {.name = "condition: notify, wait; another lock",
                                                   .world_size = sizeof(struct world),
                                                   .setup = with_a_lock_of_its_own,
                                                   .run = {take_item, put_item},
                                                   .check = nothing_is_left};

static const struct explore_scenario one_by_one = {
    .name = "condition: two wait, two notify",
    CONDITION,
    .preemptions = 1,
    .run = {take_item, take_item, put_item, put_item},
    .check = nothing_is_left};

static const struct explore_scenario both_at_once = {.name =
                                                         "condition: two wait, one notifies two",
                                                     CONDITION,
                                                     .preemptions = 2,
                                                     .run = {take_item, take_item, put_two_items},
                                                     .check = nothing_is_left};

static const struct explore_scenario all_at_once = {
    .name = "condition: two wait, one notifies all",
    CONDITION,
    .preemptions = 2,
    .run = {take_item, take_item, put_two_and_notify_all},
    .check = nothing_is_left};

static const struct explore_scenario handed_on = {.name = "condition: two wait, one notification",
                                                  CONDITION,
                                                  .preemptions = 2,
                                                  .run = {see_item, see_item, put_item}};

static const struct explore_scenario in_time = {.name = "condition: a timeout against notify",
                                                CONDITION,
                                                .preemptions = 2,
                                                .run = {see_item_in_time, see_item, put_item}};

static const struct explore_scenario counted = {
    .name = "condition: notify tells whom it reached, who may time out",
    CONDITION,
    .preemptions = 4,
    .run = {wait_in_time, notify_one_of_those_who_wait},
    .check = notifications_came};

static const struct explore_scenario counted_twice = {
    .name = "condition: two notifications, two who may time out",
    CONDITION,
    .preemptions = 1,
    .run = {wait_in_time, wait_in_time, notify_one_of_those_who_wait, notify_one_of_those_who_wait},
    .check = notifications_came};

static const struct explore_scenario cancelled = {
    .name = "condition: notify tells whom it reached, who may be asked to stop",
    CONDITION,
    .preemptions = 2,
    .run = {wait_until_cancelled, cancel_a, notify_one_of_those_who_wait},
    .check = was_heard_or_will_be};

int main(void)
{
    const struct CMUnitTest tests[] = {
        EXPLORE_TEST(put_and_take), EXPLORE_TEST(other_lock),  EXPLORE_TEST(one_by_one),
        EXPLORE_TEST(both_at_once), EXPLORE_TEST(all_at_once), EXPLORE_TEST(handed_on),
        EXPLORE_TEST(in_time),      EXPLORE_TEST(counted),     EXPLORE_TEST(counted_twice),
        EXPLORE_TEST(cancelled),
    };
    int rc = cmocka_run_group_tests_name("condition", tests, NULL, NULL);
    explore_print_total();
    return rc;
}
