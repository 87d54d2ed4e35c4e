/* Values and arrays when a worker is killed at every step of changing them.
 *
 * The invariant: a number is that of before the call or that of after it; the lock is found again, with
 * PLAIT_OWNER_DIED at most once. */
#include "harness.h"
#include "steps.h"

struct world {
    plait_value value;
    _Alignas(16) char room[sizeof(plait_array) + 8 * sizeof(long)];
    int told; /* how often a death was told */
};

enum { BEFORE = 10, ADDED = 5, NEWCOMERS = 4 };

static plait_array *array_of(struct world *w)
{
    return (plait_array *)w->room;
}

/* --- survivors --- */

static void note(struct world *w, int rc)
{
    STEPS_EXPECT(rc == 0 || rc == PLAIT_OWNER_DIED, "(%d)", rc);
    if (rc == PLAIT_OWNER_DIED)
        COUNT(w->told);
}

static void add_one(void *world, int who)
{
    struct world *w = world;
    (void)who;
    note(w, plait_value_add(&w->value, 1, NULL));
}

static void set_own_item(void *world, int who)
{
    struct world *w = world;
    long x = 100 + who;
    note(w, plait_array_init(array_of(w), 8, sizeof(long)));
    note(w, plait_array_set(array_of(w), 4 + (size_t)who % 4, &x));
}

/* --- the victim --- */

static void add_five(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_value_add(&w->value, ADDED, NULL) >= 0);
}

static void init_and_write(void *world, int who)
{
    struct world *w = world;
    const long items[2] = {7, 8};
    (void)who;
    STEPS_EXPECT(plait_array_init(array_of(w), 8, sizeof(long)) >= 0);
    STEPS_EXPECT(plait_array_write(array_of(w), 1, 2, items) >= 0);
}

/* --- the root --- */

static void at_ten(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(plait_value_set(&w->value, BEFORE) == 0);
}

static void nothing_is_lost(void *world)
{
    struct world *w = world;
    int64_t n = 0;
    note(w, plait_value_get(&w->value, &n));
    n -= NEWCOMERS;
    STEPS_EXPECT(n == BEFORE || n == BEFORE + ADDED, "(%d)", (int)n);
    STEPS_EXPECT(!steps_finished(0) || n == BEFORE + ADDED);
    STEPS_EXPECT(SEEN(w->told) <= 1);
    STEPS_EXPECT(!plait_rlock_locked(&w->value.lock));
}

static void it_is_an_array(void *world)
{
    struct world *w = world;
    long all[8];
    note(w, plait_array_read(array_of(w), 0, 8, all));
    STEPS_EXPECT(all[1] == 0 || all[1] == 7);
    STEPS_EXPECT(all[2] == 0 || all[2] == 8);
    STEPS_EXPECT(!steps_finished(0) || (all[1] == 7 && all[2] == 8));
    STEPS_EXPECT(all[0] == 0 && all[3] == 0 && all[4] >= 100 && all[5] >= 100);
    STEPS_EXPECT(SEEN(w->told) <= 1);
}

/* --- scenarios --- */

static const struct steps_scenario adding = {
    .name = "value: add",
    .world_size = sizeof(struct world),
    .setup = at_ten,
    .act = add_five,
    .late = {.threads = NEWCOMERS / 2, .processes = NEWCOMERS / 2, .run = add_one},
    .check = nothing_is_lost};

static const struct steps_scenario writing = {
    .name = "array: init and write",
    .world_size = sizeof(struct world),
    .act = init_and_write,
    .late = {.threads = 2, .processes = 2, .run = set_own_item},
    .check = it_is_an_array};

int main(void)
{
    const struct CMUnitTest tests[] = {
        STEPS_TEST(adding),
        STEPS_TEST(writing),
        STEPS_STORES_TEST(adding),
        STEPS_STORES_TEST(writing),
    };
    int rc = cmocka_run_group_tests_name("value", tests, NULL, NULL);
    steps_print_total();
    return rc;
}
