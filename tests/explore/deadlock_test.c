/* The deadlock detector, in every order of the steps of those who wait in a ring.
 *
 * The invariant: of a certain ring exactly one gets PLAIT_EDEADLK, whenever each of them looks; where there
 * is no ring, nobody does, though the records of who waits for whom are not of one moment. */
#include "explore.h"

#include "park/park.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { LOCKS = 3 };

/* Who looks at its nap's end while another is just lying down finds no ring; the next look does. Each such
 * miss takes a preemption, so one nap more than preemptions is enough: five of them end here. */
#define SOME_NAPS (16 * (int64_t)PL_FIRST_NAP)

struct world {
    plait_rlock locks[LOCKS];
    plait_rwlock rw;
    int n;    /* workers in the ring */
    int have; /* have their first lock */
    int passed, refused, reports;
};

static void hear(const char *text, void *world)
{
    (void)text;
    ((struct world *)world)->reports++;
}

static void prepare(void *world, int n)
{
    struct world *w = world;
    w->n = n;
    EXPLORE_EXPECT(plait_set_log(hear, w) == 0);
    EXPLORE_NAME(w->locks);
    EXPLORE_NAME(w->rw);
}

static void is_for_two(void *world)
{
    prepare(world, 2);
}

static void is_for_three(void *world)
{
    prepare(world, 3);
}

/* --- rings --- */

static void take(plait_rlock *lock)
{
    EXPLORE_EXPECT(plait_rlock_acquire(lock, PLAIT_FOREVER) == 0);
}

static void give(plait_rlock *lock)
{
    EXPLORE_EXPECT(plait_rlock_release(lock) == 0);
}

static void wait_for_all(struct world *w)
{
    w->have++;
    while (w->have < w->n)
        explore_yield();
}

/* Worker i takes lock i and, with it, the next; `surely`: not before all have their first. */
static void take_two(struct world *w, bool surely)
{
    int i = explore_self();
    take(&w->locks[i]);
    if (surely)
        wait_for_all(w);
    int rc = plait_rlock_acquire(&w->locks[(i + 1) % w->n], PLAIT_FOREVER);
    EXPLORE_EXPECT(rc == 0 || rc == PLAIT_EDEADLK);
    if (rc == 0)
        give(&w->locks[(i + 1) % w->n]);
    give(&w->locks[i]);
    w->passed += rc == 0;
    w->refused += rc != 0;
}

static void join_ring(void *world)
{
    take_two(world, true);
}

static void perhaps_join_ring(void *world)
{
    take_two(world, false);
}

/* The same with a writer that waits for a reader. */
static void take_then_write(void *world)
{
    struct world *w = world;
    take(&w->locks[0]);
    wait_for_all(w);
    int rc = plait_rwlock_acquire_write(&w->rw, PLAIT_FOREVER);
    EXPLORE_EXPECT(rc == 0 || rc == PLAIT_EDEADLK);
    if (rc == 0)
        EXPLORE_EXPECT(plait_rwlock_release_write(&w->rw) == 0);
    give(&w->locks[0]);
    w->passed += rc == 0;
    w->refused += rc != 0;
}

static void read_then_take(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(plait_rwlock_acquire_read(&w->rw, PLAIT_FOREVER) == 0);
    wait_for_all(w);
    int rc = plait_rlock_acquire(&w->locks[0], PLAIT_FOREVER);
    EXPLORE_EXPECT(rc == 0 || rc == PLAIT_EDEADLK);
    if (rc == 0)
        give(&w->locks[0]);
    EXPLORE_EXPECT(plait_rwlock_release_read(&w->rw) == 0);
    w->passed += rc == 0;
    w->refused += rc != 0;
}

/* --- what looks like a ring --- */

/* Waits for b's lock while it has its own. */
static void take_both(void *world)
{
    struct world *w = world;
    take(&w->locks[0]);
    take(&w->locks[1]);
    give(&w->locks[1]);
    give(&w->locks[0]);
    w->passed++;
}

/* Lets go what a waits for, and then waits for what a has. */
static void give_then_take(void *world)
{
    struct world *w = world;
    take(&w->locks[1]);
    give(&w->locks[1]);
    take(&w->locks[0]);
    give(&w->locks[0]);
    w->passed++;
}

/* The same with an rwlock, where a writer waits for a reader who comes again. */
static void take_and_write(void *world)
{
    struct world *w = world;
    take(&w->locks[0]);
    EXPLORE_EXPECT(plait_rwlock_acquire_write(&w->rw, PLAIT_FOREVER) == 0);
    EXPLORE_EXPECT(plait_rwlock_release_write(&w->rw) == 0);
    give(&w->locks[0]);
    w->passed++;
}

static void read_twice(void *world)
{
    struct world *w = world;
    for (int i = 0; i < 2; i++) {
        EXPLORE_EXPECT(plait_rwlock_acquire_read(&w->rw, PLAIT_FOREVER) == 0);
        EXPLORE_EXPECT(plait_rwlock_release_read(&w->rw) == 0);
    }
    w->passed++;
}

/* --- what must be at the end --- */

static void all_are_free(struct world *w)
{
    for (int i = 0; i < LOCKS; i++)
        take(&w->locks[i]);
}

static void one_was_refused(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(w->refused == 1 && w->passed == w->n - 1 && w->reports == 1);
    all_are_free(w);
}

static void one_was_refused_at_most(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(w->refused <= 1 && w->passed == w->n - w->refused);
    EXPLORE_EXPECT(w->reports == w->refused);
    all_are_free(w);
}

static void nobody_was_refused(void *world)
{
    struct world *w = world;
    EXPLORE_EXPECT(w->refused == 0 && w->passed == w->n && w->reports == 0);
    all_are_free(w);
}

#define TWO .world_size = sizeof(struct world), .setup = is_for_two, .longest_nap = SOME_NAPS
#define THREE .world_size = sizeof(struct world), .setup = is_for_three, .longest_nap = SOME_NAPS

static const struct explore_scenario ring = {.name = "deadlock: two rlocks in a ring",
                                             TWO,
                                             .preemptions = 1,
                                             .run = {join_ring, join_ring},
                                             .check = one_was_refused};

static const struct explore_scenario perhaps = {.name = "deadlock: perhaps a ring of two",
                                                TWO,
                                                .preemptions = 2,
                                                .run = {perhaps_join_ring, perhaps_join_ring},
                                                .check = one_was_refused_at_most};

static const struct explore_scenario with_a_reader = {
    .name = "deadlock: a writer and a reader in a ring",
    TWO,
    .preemptions = 1,
    .run = {take_then_write, read_then_take},
    .check = one_was_refused};

static const struct explore_scenario ring_of_three = {.name = "deadlock: three rlocks in a ring",
                                                      THREE,
                                                      .preemptions = EXPLORE_NONE,
                                                      .run = {join_ring, join_ring, join_ring},
                                                      .check = one_was_refused};

static const struct explore_scenario handed_over = {
    .name = "deadlock: handed over, which looks like a ring",
    TWO,
    .preemptions = 3,
    .run = {take_both, give_then_take},
    .check = nobody_was_refused};

static const struct explore_scenario came_again = {
    .name = "deadlock: a reader comes again, which looks like a ring",
    TWO,
    .preemptions = 3,
    .run = {take_and_write, read_twice},
    .check = nobody_was_refused};

int main(void)
{
    const struct CMUnitTest tests[] = {
        EXPLORE_TEST(ring),          EXPLORE_TEST(perhaps),     EXPLORE_TEST(with_a_reader),
        EXPLORE_TEST(ring_of_three), EXPLORE_TEST(handed_over), EXPLORE_TEST(came_again),
    };
    int rc = cmocka_run_group_tests_name("deadlock", tests, NULL, NULL);
    explore_print_total();
    return rc;
}
