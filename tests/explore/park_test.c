/* The waiting room itself, on words that are nobody's primitive.
 *
 * The invariant: a wake-up that follows a change of the word is not lost; a private word wakes its own
 * sleepers only, also when another word's sleepers stand in the same queue. */
#include "explore.h"

#include "base/atomic.h"
#include "park/park.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>

enum { MANY = 4096 };

struct world {
    uint32_t first;
    uint32_t others[MANY]; /* one of them shares the first one's bucket */
};

/* As park/lot.c finds a bucket. */
static uint64_t bucket_of(const uint32_t *word)
{
    return (uint64_t)(uintptr_t)word * UINT64_C(0x9e3779b97f4a7c15) >> 56;
}

static uint32_t *neighbour(struct world *w)
{
    for (int i = 0; i < MANY; i++)
        if (bucket_of(&w->others[i]) == bucket_of(&w->first))
            return &w->others[i];
    return NULL;
}

static void has_a_neighbour(void *world)
{
    struct world *w = world;
    EXPLORE_NAME(w->first);
    EXPLORE_EXPECT(neighbour(w) != NULL);
    explore_name(neighbour(w), sizeof(uint32_t), "neighbour");
}

static int wait_for(uint32_t *word, int64_t timeout)
{
    struct pl_wait wait;
    int rc = pl_wait_begin(&wait, PL_WAIT_EVENT, timeout);
    while (rc == 0 && pl_load_acquire(word) == 0)
        rc = pl_park(word, 0, &wait);
    return rc;
}

static void change(uint32_t *word, int n)
{
    pl_store_seq_cst(word, 1u);
    pl_unpark(word, n);
}

static void wait_for_first(void *world)
{
    EXPLORE_EXPECT(wait_for(&((struct world *)world)->first, PLAIT_FOREVER) == 0);
}

static void wait_for_first_in_time(void *world)
{
    int rc = wait_for(&((struct world *)world)->first, plait_ms(5));
    EXPLORE_EXPECT(rc == 0 || rc == PLAIT_ETIMEDOUT);
}

static void wait_for_neighbour(void *world)
{
    EXPLORE_EXPECT(wait_for(neighbour(world), PLAIT_FOREVER) == 0);
}

static void change_first(void *world)
{
    change(&((struct world *)world)->first, 1);
}

static void change_first_for_all(void *world)
{
    change(&((struct world *)world)->first, INT_MAX);
}

static void change_both(void *world)
{
    change(neighbour(world), 1);
    change_first(world);
}

#define PARK .world_size = sizeof(struct world), .setup = has_a_neighbour

static const struct explore_scenario one = {
    .name = "park: one sleeps, one wakes", PARK, .run = {wait_for_first, change_first}};

static const struct explore_scenario all = {
    .name = "park: two sleep, one wakes all",
    PARK,
    .run = {wait_for_first, wait_for_first, change_first_for_all}};

static const struct explore_scenario in_time = {.name = "park: a timeout against the wake-up",
                                                PARK,
                                                .run = {wait_for_first_in_time, change_first}};

static const struct explore_scenario bucket = {
    .name = "park: two words in one bucket",
    PARK,
    .memory = EXPLORE_PRIVATE,
    .run = {wait_for_first, wait_for_neighbour, change_both}};

static const struct explore_scenario bucket_two_wake = {
    .name = "park: two words in one bucket, two wake",
    PARK,
    .memory = EXPLORE_PRIVATE,
    .preemptions = 1,
    .run = {wait_for_neighbour, wait_for_first, change_first, change_both}};

static const struct explore_scenario bucket_in_time = {
    .name = "park: two words in one bucket, one sleeper times out",
    PARK,
    .memory = EXPLORE_PRIVATE,
    .preemptions = 2,
    .run = {wait_for_first_in_time, wait_for_neighbour, change_both}};

static const struct explore_scenario spurious = {.name = "park: wakes for no reason",
                                                 PARK,
                                                 .spurious = true,
                                                 .run = {wait_for_first, change_first}};

int main(void)
{
    const struct CMUnitTest tests[] = {
        EXPLORE_TEST(one),
        EXPLORE_TEST(all),
        EXPLORE_TEST(in_time),
        EXPLORE_TEST(bucket),
        EXPLORE_TEST(bucket_two_wake),
        EXPLORE_TEST(bucket_in_time),
        EXPLORE_TEST(spurious),
    };
    int rc = cmocka_run_group_tests_name("park", tests, NULL, NULL);
    explore_print_total();
    return rc;
}
