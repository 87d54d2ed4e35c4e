/* The array: items of one size with their lock. */
#include "harness.h"

#include <string.h>

static void a_new_array_is_zeroed_and_shared(void **state)
{
    (void)state;
    plait_array *a = plait_array_new(10, sizeof(double));
    CHECK(a && plait_is_shared(a));
    CHECK(a->count == 10 && a->size == sizeof(double));
    CHECK((uintptr_t)plait_array_items(a) % 16 == 0);
    CHECK(plait_array_size(10, sizeof(double)) == sizeof *a + 80);
    double *d = plait_array_items(a);
    for (int i = 0; i < 10; i++)
        CHECK(d[i] == 0 && plait_array_at(a, (size_t)i) == &d[i]);
    CHECK(!plait_array_at(a, 10));
    CHECK_RC(plait_free(a), 0);
}

static void items_and_slices_are_copied(void **state)
{
    (void)state;
    plait_array *a = plait_array_new(5, sizeof(int));
    int x = 7, five[5] = {1, 2, 3, 4, 5}, got[5] = {0};
    CHECK_RC(plait_array_set(a, 4, &x), 0);
    x = 0;
    CHECK_RC(plait_array_get(a, 4, &x), 0);
    CHECK_EQ(x, 7);
    CHECK_RC(plait_array_write(a, 0, 5, five), 0);
    CHECK_RC(plait_array_read(a, 1, 3, got), 0);
    CHECK(got[0] == 2 && got[1] == 3 && got[2] == 4 && got[3] == 0);
    CHECK_RC(plait_array_read(a, 5, 0, got), 0);
    CHECK(!plait_rlock_locked(&a->lock));
    CHECK_RC(plait_free(a), 0);
}

static void past_the_end_nothing_is_copied(void **state)
{
    (void)state;
    plait_array *a = plait_array_new(5, sizeof(int));
    int many[6] = {9, 9, 9, 9, 9, 9};
    CHECK_RC(plait_array_set(a, 5, many), PLAIT_EOVERFLOW);
    CHECK_RC(plait_array_get(a, SIZE_MAX, many), PLAIT_EOVERFLOW);
    CHECK_RC(plait_array_write(a, 0, 6, many), PLAIT_EOVERFLOW);
    CHECK_RC(plait_array_write(a, 3, 3, many), PLAIT_EOVERFLOW);
    CHECK_RC(plait_array_read(a, 3, SIZE_MAX, many), PLAIT_EOVERFLOW);
    CHECK_RC(plait_array_read(a, 6, 0, many), PLAIT_EOVERFLOW);
    for (size_t i = 0; i < 5; i++)
        CHECK_EQ(*(int *)plait_array_at(a, i), 0);
    CHECK_EQ(many[0], 9);
    CHECK_RC(plait_free(a), 0);
}

static void misuse_is_refused(void **state)
{
    (void)state;
    int x = 0;
    CHECK(!plait_array_new(0, 4));
    CHECK_RC(plait_last_error(), PLAIT_EINVAL);
    CHECK(!plait_array_new(4, 0));
    CHECK(!plait_array_new(SIZE_MAX / 2, 4));
    CHECK_RC(plait_last_error(), PLAIT_ENOMEM);
    CHECK_EQ(plait_array_size(SIZE_MAX, 2), 0);
    CHECK_EQ(plait_array_size(SIZE_MAX, 1), 0);
    CHECK_RC(plait_array_init(NULL, 1, 1), PLAIT_EINVAL);
    CHECK(!plait_array_items(NULL) && !plait_array_at(NULL, 0));
    CHECK_RC(plait_array_get(NULL, 0, &x), PLAIT_EINVAL);
    CHECK_RC(plait_array_set(NULL, 0, &x), PLAIT_EINVAL);
    plait_array *a = plait_array_new(1, sizeof x);
    CHECK_RC(plait_array_get(a, 0, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_array_set(a, 0, NULL), PLAIT_EINVAL);
    plait_free(a);
}

struct box {
    _Alignas(16) char room[sizeof(plait_array) + 8 * sizeof(long)];
    int ready;
};

/* Every one makes it, nobody has to be first; then each moves one from an item to the next. */
static int pass_on(void *arg)
{
    struct box *b = arg;
    plait_array *a = (plait_array *)b->room;
    long all[8], *item = plait_array_items(a);
    CHECK_RC(plait_array_init(a, 8, sizeof(long)), 0);
    for (size_t i = 0; i < 200; i++) {
        PLAIT_WITH(&a->lock) {
            item[i % 8]--;
            item[(i + 1) % 8]++;
        }
        long sum = 0;
        CHECK_RC(plait_array_read(a, 0, 8, all), 0);
        for (int k = 0; k < 8; k++)
            sum += all[k];
        CHECK_EQ(sum, 0);
    }
    return 0;
}

static void a_slice_is_of_one_moment(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        t_start(&team, s, 4, pass_on, b);
        t_join(&team);
        CHECK_RC(plait_array_init((plait_array *)b->room, 8, 4), PLAIT_EEXIST);
        CHECK_RC(plait_array_init((plait_array *)b->room, 7, sizeof(long)), PLAIT_EEXIST);
        t_delete(s, b);
    }
}

static int die_with_it(void *arg)
{
    plait_array *a = arg;
    int x = 3;
    CHECK_RC(plait_rlock_acquire(&a->lock, PLAIT_FOREVER), 0);
    CHECK_RC(plait_array_set(a, 0, &x), 0);
    t_sleep_for_ever();
}

static void a_death_under_the_lock_is_told_once(void **state)
{
    (void)state;
    plait_array *a = plait_array_new(1, sizeof(int));
    int x;
    plait_worker w = t_start_one(PLAIT_PROCESS, die_with_it, a);
    UNTIL(SEEN(*(int *)plait_array_items(a)) == 3);
    t_kill(w);
    CHECK_RC(plait_array_get(a, 0, &x), PLAIT_OWNER_DIED);
    CHECK_EQ(x, 3);
    CHECK_RC(plait_array_get(a, 0, &x), 0);
    plait_free(a);
}

static int get_first(void *object, int64_t timeout)
{
    int x, rc = PLAIT_EINVAL;
    PLAIT_TIMEOUT(timeout)
        rc = plait_array_get(object, 0, &x);
    return rc;
}

static void a_copy_that_waits_can_be_stopped(void **state)
{
    (void)state;
    plait_array *a = plait_array_new(1, sizeof(int));
    FOR_EVERY_KIND(kind)
    {
        struct t_waiter *w = plait_alloc(sizeof *w);
        *w = (struct t_waiter){.call = get_first, .object = a, .timeout = plait_seconds(100)};
        CHECK_RC(plait_rlock_acquire(&a->lock, PLAIT_FOREVER), 0);
        plait_worker waiter = t_start_one(kind, t_wait_once, w);
        UNTIL_WAITS(waiter, 0);
        CHECK_RC(plait_cancel(waiter), 0);
        CHECK_EQ(t_join_one(waiter), 0);
        CHECK_RC(w->rc, PLAIT_ECANCELED);
        CHECK_RC(plait_rlock_release(&a->lock), 0);
        plait_free(w);
    }
    plait_free(a);
}

int main(int argc, char **argv)
{
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_array_is_zeroed_and_shared),
        cmocka_unit_test(items_and_slices_are_copied),
        cmocka_unit_test(past_the_end_nothing_is_copied),
        cmocka_unit_test(misuse_is_refused),
        cmocka_unit_test(a_slice_is_of_one_moment),
        cmocka_unit_test(a_death_under_the_lock_is_told_once),
        cmocka_unit_test(a_copy_that_waits_can_be_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
