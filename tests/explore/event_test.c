/* The event, in every order of the steps of those who set, clear and wait.
 *
 * The invariant: who waited when it was set comes through, even if it was cleared at once. */
#include "explore.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct world {
    plait_event event, second;
    int arrived; /* who is about to wait, or waits already */
    bool heard;  /* a request to stop */
    int news;    /* written before the set, read after the wait */
};

static void name_event(void *world)
{
    struct world *w = world;
    EXPLORE_NAME(w->event.word_);
    EXPLORE_NAME(w->second.word_);
}

static void wait_for_it(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(plait_event_wait(&w->event, PLAIT_FOREVER) == 0);
    EXPLORE_EXPECT(w->news == 1);
}

static void wait_in_time(void *world)
{
    struct world *w = world;
    int rc = plait_event_wait(&w->event, plait_ms(5));
    EXPLORE_EXPECT(rc == 0 || rc == PLAIT_ETIMEDOUT);
    EXPLORE_EXPECT(rc != 0 || w->news == 1);
}

static void wait_until_cancelled(void *world)
{
    struct world *w = world;
    int rc = plait_event_wait(&w->event, PLAIT_FOREVER);
    EXPLORE_EXPECT(rc == 0 || rc == PLAIT_ECANCELED);
    w->heard = rc == PLAIT_ECANCELED;
}

static void set(void *world)
{
    struct world *w = world;
    w->news = 1;
    EXPLORE_EXPECT(plait_event_set(&w->event) == 0);
}

static void cancel_a(void *world)
{
    (void)world;
    int rc = plait_cancel(explore_worker(0));
    EXPLORE_EXPECT(rc == 0);
}

/* Sets and clears, once whoever is to come through sleeps. */
static void set_and_clear(void *world)
{
    struct world *w = world;
    while (!explore_sleeps(0))
        explore_yield();
    w->news = 1;
    EXPLORE_EXPECT(plait_event_set(&w->event) == 0);
    EXPLORE_EXPECT(plait_event_clear(&w->event) == 0);
}

/* Two who answer each other. */
static void ping(void *world)
{
    struct world *w = world;
    for (int i = 0; i < 2; i++) {
        plait_event_set(&w->event);
        EXPLORE_EXPECT(plait_event_wait(&w->second, PLAIT_FOREVER) == 0);
        plait_event_clear(&w->second);
    }
}

static void pong(void *world)
{
    struct world *w = world;
    for (int i = 0; i < 2; i++) {
        EXPLORE_EXPECT(plait_event_wait(&w->event, PLAIT_FOREVER) == 0);
        plait_event_clear(&w->event);
        plait_event_set(&w->second);
    }
}

static void was_heard_or_will_be(void *world)
{
    EXPLORE_EXPECT(((struct world *)world)->heard != explore_is_asked(0));
}

static void is_set(void *world)
{
    EXPLORE_EXPECT(plait_event_is_set(&((struct world *)world)->event));
}

#define EVENT .world_size = sizeof(struct world), .setup = name_event

static const struct explore_scenario set_and_wait = {
    .name = "event: set, wait", EVENT, .run = {wait_for_it, set}, .check = is_set};

static const struct explore_scenario set_two_wait = {
    .name = "event: set, two wait", EVENT, .run = {wait_for_it, wait_for_it, set}, .check = is_set};

static const struct explore_scenario two_set = {
    .name = "event: two set, one waits", EVENT, .run = {wait_for_it, set, set}, .check = is_set};

static const struct explore_scenario set_clear = {
    .name = "event: set and cleared while one sleeps", EVENT, .run = {wait_for_it, set_and_clear}};

static const struct explore_scenario in_time = {.name = "event: a timeout against the set",
                                                EVENT,
                                                .run = {wait_in_time, set, wait_for_it},
                                                .check = is_set};

static const struct explore_scenario cancelled = {.name =
                                                      "event: a request to stop against the set",
                                                  EVENT,
                                                  .run = {wait_until_cancelled, cancel_a, set},
                                                  .check = was_heard_or_will_be};

static const struct explore_scenario there_and_back = {
    .name = "event: two answer each other", EVENT, .preemptions = 3, .run = {ping, pong}};

int main(void)
{
    const struct CMUnitTest tests[] = {
        EXPLORE_TEST(set_and_wait),   EXPLORE_TEST(set_two_wait), EXPLORE_TEST(two_set),
        EXPLORE_TEST(set_clear),      EXPLORE_TEST(in_time),      EXPLORE_TEST(cancelled),
        EXPLORE_TEST(there_and_back),
    };
    int rc = cmocka_run_group_tests_name("event", tests, NULL, NULL);
    explore_print_total();
    return rc;
}
