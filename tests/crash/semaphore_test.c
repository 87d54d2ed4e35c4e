/* The semaphore when a worker is killed at every step: of acquiring, releasing, waiting, giving up.
 *
 * The invariant: the permits are those of before the call or those of after it, never something in
 * between; while there are permits, nobody sleeps. */
#include "steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>

struct world {
    plait_semaphore permits;
    int before, gave, victims; /* permits at first; given by the root; what a victim's call adds */
    int value_at_death;
};

/* --- survivors --- */

static void take(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_semaphore_acquire(&w->permits, PLAIT_FOREVER) == 0);
}

/* --- the victim --- */

static void release_2(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_semaphore_release(&w->permits, 2) == 0);
}

static void take_within_2_ms(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = plait_semaphore_acquire(&w->permits, plait_ms(2));
    STEPS_EXPECT(rc == PLAIT_ETIMEDOUT || rc == 0);
}

static void take_until_cancelled(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = plait_semaphore_acquire(&w->permits, PLAIT_FOREVER);
    STEPS_EXPECT(rc == PLAIT_ECANCELED || rc == 0);
}

static void note_value(void *world, int who)
{
    struct world *w = world;
    (void)who;
    w->value_at_death = plait_semaphore_value(&w->permits);
}

/* --- the root --- */

static void begin(struct world *w, int value, int victims, int bound)
{
    w->before = value;
    w->victims = victims;
    STEPS_EXPECT(plait_semaphore_init(&w->permits, value, bound) == 0);
}

static void with_none_to_take(void *world)
{
    begin(world, 0, -1, 0);
}

static void with_one_to_take(void *world)
{
    begin(world, 1, -1, 1);
}

static void with_none_to_add_2(void *world)
{
    begin(world, 0, 2, 0);
}

static void with_3_bound_5_to_add_2(void *world)
{
    begin(world, 3, 2, 5);
}

static void give(struct world *w, int n)
{
    w->gave += n;
    STEPS_EXPECT(plait_semaphore_release(&w->permits, n) == 0);
}

static bool is_used_up(void *world)
{
    return plait_semaphore_value(&((struct world *)world)->permits) == 0;
}

/* Sleepers that look around lose their place: the first permit need not be the victim's. */
static void root_gives_until_it_is_through(void *world)
{
    struct world *w = world;
    for (int i = 0; !steps_is_dead(0); i++) {
        if (i % 20 == 0 && is_used_up(w))
            give(w, 1);
        usleep(500);
    }
}

static void root_cancels_and_gives(void *world)
{
    int rc = plait_cancel(steps_victim(0));
    STEPS_EXPECT(rc == 0 || rc == PLAIT_ESRCH);
    root_gives_until_it_is_through(world);
}

/* As long as there are permits, those who wait must go on by themselves; without, they wait by
 * rights, and get one more. (A permit given too many shows in the value at the end.) */
static void root_gives_what_lacks(void *world)
{
    struct world *w = world;
    while (steps_through() < steps_hired()) {
        int through = steps_through();
        if (!steps_await(is_used_up, w)) {
            STEPS_EXPECT(false, "(there are permits, and somebody sleeps)");
            return;
        }
        if (steps_through() == through) {
            steps_deed();
            give(w, 1);
        }
    }
}

/* --- what must be --- */

/* What came from the victim's call: nothing or the whole of it, and the whole if it ended. */
static void wholly_or_not_at_all(void *world)
{
    struct world *w = world;
    int left = plait_semaphore_value(&w->permits);
    int change = left + steps_through() - w->before - w->gave;
    STEPS_EXPECT(change == 0 || change == w->victims, "(%d)", change);
    for (int i = 0; i < left; i++)
        STEPS_EXPECT(plait_semaphore_acquire(&w->permits, PLAIT_NOWAIT) == 0);
    STEPS_EXPECT(plait_semaphore_acquire(&w->permits, PLAIT_NOWAIT) == PLAIT_ETIMEDOUT);
}

static void wholly_if_finished(void *world)
{
    struct world *w = world;
    int change = plait_semaphore_value(&w->permits) + steps_through() - w->before - w->gave;
    STEPS_EXPECT(!steps_finished(0) || change == w->victims);
    wholly_or_not_at_all(w);
}

static void value_is_that_of_the_death(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(plait_semaphore_value(&w->permits) == w->value_at_death);
    wholly_if_finished(w);
}

/* The bound counts what the dead one added. */
static void bound_is_kept(void *world)
{
    struct world *w = world;
    int room = 5 - w->value_at_death;
    if (room)
        give(w, room);
    STEPS_EXPECT(plait_semaphore_release(&w->permits, 1) == PLAIT_EOVERFLOW);
    wholly_if_finished(w);
}

/* --- many at once --- */

enum { VICTIMS = 3, TURNS = 30 };

/* Takes one permit and gives it back: the victims carry away one each at most. */
static void take_and_give_often(void *world, int who)
{
    struct world *w = world;
    for (int i = 0; i < TURNS; i++) {
        take(w, who);
        STEPS_EXPECT(plait_semaphore_release(&w->permits, 1) == 0);
    }
}

static void with_4_to_take(void *world)
{
    begin(world, VICTIMS + 1, -1, VICTIMS + 1);
}

/* A victim that has come through holds nothing; one killed may have taken a permit along. */
static void each_took_one_at_most(void *world)
{
    struct world *w = world;
    int value = plait_semaphore_value(&w->permits), killed = 0;
    for (int i = 0; i < VICTIMS; i++)
        killed += !steps_finished(i);
    STEPS_EXPECT(value <= VICTIMS + 1 && value >= VICTIMS + 1 - killed, "(%d)", value);
}

/* --- scenarios --- */

#define SEMAPHORE .world_size = sizeof(struct world), .last_look = note_value
#define SLEEPERS(n_threads, n_processes)                                                           \
    {                                                                                              \
        .threads = n_threads, .processes = n_processes, .sleep_in = PL_WAIT_SEMAPHORE, .run = take \
    }

static const struct steps_scenario acquire_free = {.name = "semaphore: acquire, free",
                                                   SEMAPHORE,
                                                   .setup = with_one_to_take,
                                                   .act = take,
                                                   .check = value_is_that_of_the_death};

static const struct steps_scenario acquire_none = {.name = "semaphore: acquire, none left",
                                                   SEMAPHORE,
                                                   .setup = with_none_to_take,
                                                   .act = take,
                                                   .sleeps = true,
                                                   .direct = root_gives_until_it_is_through,
                                                   .check = wholly_if_finished};

static const struct steps_scenario acquire_others_behind = {
    .name = "semaphore: acquire, others wait behind",
    SEMAPHORE,
    .setup = with_none_to_take,
    .act = take,
    .sleeps = true,
    .behind = SLEEPERS(1, 1),
    .direct = root_gives_until_it_is_through,
    .aftermath = root_gives_what_lacks,
    .check = wholly_if_finished};

static const struct steps_scenario acquire_others_around = {
    .name = "semaphore: acquire, others wait before and behind",
    SEMAPHORE,
    .setup = with_none_to_take,
    .ahead = SLEEPERS(1, 1),
    .act = take,
    .sleeps = true,
    .behind = SLEEPERS(1, 1),
    .direct = root_gives_until_it_is_through,
    .aftermath = root_gives_what_lacks,
    .check = wholly_if_finished};

static const struct steps_scenario acquire_old_kernel = {
    .name = "semaphore: acquire, without futex_waitv",
    SEMAPHORE,
    .old_kernel = true,
    .setup = with_none_to_take,
    .act = take,
    .sleeps = true,
    .behind = SLEEPERS(1, 1),
    .direct = root_gives_until_it_is_through,
    .aftermath = root_gives_what_lacks,
    .check = wholly_if_finished};

static const struct steps_scenario release_alone = {.name = "semaphore: release, nobody waits",
                                                    SEMAPHORE,
                                                    .setup = with_3_bound_5_to_add_2,
                                                    .act = release_2,
                                                    .check = bound_is_kept};

static const struct steps_scenario release_others_wait = {.name = "semaphore: release 2, 3 wait",
                                                          SEMAPHORE,
                                                          .setup = with_none_to_add_2,
                                                          .ahead = SLEEPERS(1, 2),
                                                          .act = release_2,
                                                          .aftermath = root_gives_what_lacks,
                                                          .check = wholly_if_finished};

static const struct steps_scenario release_joined = {
    .name = "semaphore: release 2, 3 wait, the parent joins",
    SEMAPHORE,
    .join = true,
    .setup = with_none_to_add_2,
    .ahead = SLEEPERS(1, 2),
    .act = release_2,
    .aftermath = root_gives_what_lacks,
    .check = wholly_if_finished};

static const struct steps_scenario time_out = {.name = "semaphore: time out",
                                               SEMAPHORE,
                                               .setup = with_none_to_take,
                                               .ahead = SLEEPERS(1, 1),
                                               .act = take_within_2_ms,
                                               .sleeps = true,
                                               .behind = SLEEPERS(1, 1),
                                               .aftermath = root_gives_what_lacks,
                                               .check = wholly_or_not_at_all};

static const struct steps_scenario cancelled = {.name = "semaphore: cancelled",
                                                SEMAPHORE,
                                                .setup = with_none_to_take,
                                                .act = take_until_cancelled,
                                                .behind = SLEEPERS(1, 1),
                                                .direct = root_cancels_and_gives,
                                                .aftermath = root_gives_what_lacks,
                                                .check = wholly_or_not_at_all};

static const struct steps_scenario several_at_random = {.name =
                                                            "semaphore: several at random steps",
                                                        SEMAPHORE,
                                                        .victims = VICTIMS,
                                                        .setup = with_4_to_take,
                                                        .ahead = {1, 1, 0, take_and_give_often},
                                                        .act = take_and_give_often,
                                                        .check = each_took_one_at_most};

int main(void)
{
    const struct CMUnitTest tests[] = {
        STEPS_TEST(acquire_free),
        STEPS_TEST(acquire_none),
        STEPS_TEST(acquire_others_behind),
        STEPS_TEST(acquire_others_around),
        STEPS_TEST(acquire_old_kernel),
        STEPS_TEST(release_alone),
        STEPS_TEST(release_others_wait),
        STEPS_TEST(release_joined),
        STEPS_TEST(time_out),
        STEPS_TEST(cancelled),
        STEPS_STORES_TEST(acquire_others_behind),
        STEPS_STORES_TEST(release_others_wait),
        STEPS_STORES_TEST(time_out),
        STEPS_RANDOM_TEST(several_at_random),
    };
    int rc = cmocka_run_group_tests_name("semaphore", tests, NULL, NULL);
    steps_print_total();
    return rc;
}
