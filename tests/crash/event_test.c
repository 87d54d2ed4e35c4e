/* The event when a worker is killed at every step: of setting, clearing, waiting, giving up.
 *
 * The invariant: the event is as before or as after; if it was set, everybody who waited returns,
 * without further help, also if it was cleared right after. */
#include "steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct world {
    plait_event event;
    bool set_at_death; /* how the victim left it */
    bool has_been_set; /* set by the victim at any time, or by the root */
    uint32_t returned; /* survivors whose wait succeeded */
};

/* --- survivors --- */

static void wait_for_it(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_event_wait(&w->event, PLAIT_FOREVER) == 0);
    __atomic_add_fetch(&w->returned, 1, __ATOMIC_SEQ_CST);
}

static void all_returned(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(w->returned == (uint32_t)steps_through());
}

static void all_returned_and_it_works(void *world)
{
    struct world *w = world;
    all_returned(w);
    STEPS_EXPECT(plait_event_set(&w->event) == 0 && plait_event_is_set(&w->event));
    STEPS_EXPECT(plait_event_wait(&w->event, PLAIT_NOWAIT) == 0);
    STEPS_EXPECT(plait_event_clear(&w->event) == 0 && !plait_event_is_set(&w->event));
    STEPS_EXPECT(plait_event_wait(&w->event, PLAIT_NOWAIT) == PLAIT_ETIMEDOUT);
}

/* --- the victim --- */

static void set_it(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_event_set(&w->event) == 0);
}

static void clear_it(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_event_clear(&w->event) == 0);
}

static void set_and_clear_it(void *world, int who)
{
    set_it(world, who);
    clear_it(world, who);
}

static void wait_here(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_event_wait(&w->event, PLAIT_FOREVER) == 0);
}

static void wait_2_ms(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = plait_event_wait(&w->event, plait_ms(2));
    STEPS_EXPECT(rc == PLAIT_ETIMEDOUT || rc == 0);
}

static void wait_until_cancelled(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_event_wait(&w->event, PLAIT_FOREVER) == PLAIT_ECANCELED);
}

/* The word counts sets: more than the flag is told by it. */
static void note_if_set(void *world, int who)
{
    struct world *w = world;
    (void)who;
    w->set_at_death = plait_event_is_set(&w->event);
    w->has_been_set = (w->event.word_ & 0x7fffffff) != 0;
}

/* --- the root --- */

static void root_sets(void *world)
{
    steps_deed();
    set_it(world, 0);
}

/* Who waits for an event that was never set waits by rights. */
static void root_sets_if_never_set(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(plait_event_is_set(&w->event) == w->set_at_death);
    if (!w->has_been_set)
        root_sets(w);
}

static void root_sets_for_the_late(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(plait_event_is_set(&w->event) == w->set_at_death);
    if (!w->set_at_death)
        root_sets(w);
}

static void root_sets_first(void *world)
{
    set_it(world, 0);
}

static void root_cancels(void *world)
{
    (void)world;
    int rc = plait_cancel(steps_victim(0));
    STEPS_EXPECT(rc == 0 || rc == PLAIT_ESRCH);
}

/* --- many at once --- */

enum { ROUNDS = 12 };

static void set_and_clear_often(void *world, int who)
{
    for (int i = 0; i < ROUNDS; i++)
        set_and_clear_it(world, who);
}

/* --- scenarios --- */

#define EVENT .world_size = sizeof(struct world), .last_look = note_if_set
#define SLEEPERS                                                                                   \
    {                                                                                              \
        .threads = 2, .processes = 2, .sleep_in = PL_WAIT_EVENT, .run = wait_for_it                \
    }
#define NEWCOMERS                                                                                  \
    {                                                                                              \
        .threads = 1, .processes = 1, .run = wait_for_it                                           \
    }

static const struct steps_scenario set_alone = {.name = "event: set, nobody waits",
                                                EVENT,
                                                .act = set_it,
                                                .aftermath = root_sets_for_the_late,
                                                .late = NEWCOMERS,
                                                .check = all_returned_and_it_works};

static const struct steps_scenario set_others_wait = {.name = "event: set, others wait",
                                                      EVENT,
                                                      .ahead = SLEEPERS,
                                                      .act = set_it,
                                                      .aftermath = root_sets_if_never_set,
                                                      .late = NEWCOMERS,
                                                      .check = all_returned_and_it_works};

static const struct steps_scenario set_old_kernel = {.name = "event: set, without futex_waitv",
                                                     EVENT,
                                                     .old_kernel = true,
                                                     .ahead = SLEEPERS,
                                                     .act = set_it,
                                                     .aftermath = root_sets_if_never_set,
                                                     .late = NEWCOMERS,
                                                     .check = all_returned_and_it_works};

static const struct steps_scenario set_joined = {.name = "event: set, the parent joins",
                                                 EVENT,
                                                 .join = true,
                                                 .ahead = SLEEPERS,
                                                 .act = set_it,
                                                 .aftermath = root_sets_if_never_set,
                                                 .late = NEWCOMERS,
                                                 .check = all_returned_and_it_works};

static const struct steps_scenario set_and_clear = {.name = "event: set and clear, others wait",
                                                    EVENT,
                                                    .ahead = SLEEPERS,
                                                    .act = set_and_clear_it,
                                                    .aftermath = root_sets_if_never_set,
                                                    .check = all_returned_and_it_works};

static const struct steps_scenario clear_a_set_one = {.name = "event: clear",
                                                      EVENT,
                                                      .setup = root_sets_first,
                                                      .act = clear_it,
                                                      .aftermath = root_sets_for_the_late,
                                                      .late = NEWCOMERS,
                                                      .check = all_returned_and_it_works};

static const struct steps_scenario wait_others_wait = {.name = "event: wait, others wait",
                                                       EVENT,
                                                       .ahead = SLEEPERS,
                                                       .act = wait_here,
                                                       .sleeps = true,
                                                       .behind = SLEEPERS,
                                                       .direct = root_sets,
                                                       .late = NEWCOMERS,
                                                       .check = all_returned_and_it_works};

static const struct steps_scenario wait_for_a_set_one = {.name = "event: wait, it is set",
                                                         EVENT,
                                                         .setup = root_sets_first,
                                                         .act = wait_here,
                                                         .late = NEWCOMERS,
                                                         .check = all_returned_and_it_works};

static const struct steps_scenario time_out = {.name = "event: time out",
                                               EVENT,
                                               .ahead = SLEEPERS,
                                               .act = wait_2_ms,
                                               .sleeps = true,
                                               .aftermath = root_sets,
                                               .late = NEWCOMERS,
                                               .check = all_returned_and_it_works};

static const struct steps_scenario cancelled = {.name = "event: cancelled",
                                                EVENT,
                                                .ahead = SLEEPERS,
                                                .act = wait_until_cancelled,
                                                .direct = root_cancels,
                                                .aftermath = root_sets,
                                                .late = NEWCOMERS,
                                                .check = all_returned_and_it_works};

static const struct steps_scenario several_at_random = {.name = "event: several at random steps",
                                                        EVENT,
                                                        .victims = 3,
                                                        .ahead = SLEEPERS,
                                                        .act = set_and_clear_often,
                                                        .aftermath = root_sets,
                                                        .late = NEWCOMERS,
                                                        .check = all_returned_and_it_works};

int main(void)
{
    const struct CMUnitTest tests[] = {
        STEPS_TEST(set_alone),
        STEPS_TEST(set_others_wait),
        STEPS_TEST(set_old_kernel),
        STEPS_TEST(set_joined),
        STEPS_TEST(set_and_clear),
        STEPS_TEST(clear_a_set_one),
        STEPS_TEST(wait_others_wait),
        STEPS_TEST(wait_for_a_set_one),
        STEPS_TEST(time_out),
        STEPS_TEST(cancelled),
        STEPS_STORES_TEST(set_others_wait),
        STEPS_STORES_TEST(set_and_clear),
        STEPS_STORES_TEST(wait_others_wait),
        STEPS_STORES_TEST(cancelled),
        STEPS_RANDOM_TEST(several_at_random),
    };
    int rc = cmocka_run_group_tests_name("event", tests, NULL, NULL);
    steps_print_total();
    return rc;
}
