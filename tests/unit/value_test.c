/* The value: a number with its lock. */
#include "harness.h"

#include <signal.h>
#include <unistd.h>

static void zeroed_memory_is_a_value(void **state)
{
    (void)state;
    plait_value v = {0};
    int64_t n = 5;
    double x = 5;
    CHECK_RC(plait_value_get(&v, &n), 0);
    CHECK_EQ(n, 0);
    CHECK_RC(plait_value_get_real(&v, &x), 0);
    CHECK(x == 0);
}

static void what_was_put_in_is_got_out(void **state)
{
    (void)state;
    plait_value v = {0};
    int64_t n;
    double x;
    CHECK_RC(plait_value_set(&v, -7), 0);
    CHECK_RC(plait_value_get(&v, &n), 0);
    CHECK_EQ(n, -7);
    CHECK_RC(plait_value_add(&v, 10, &n), 0);
    CHECK_EQ(n, 3);
    CHECK_RC(plait_value_add(&v, -1, NULL), 0);
    CHECK_EQ(v.integer, 2);
    CHECK_RC(plait_value_set_real(&v, 2.5), 0);
    CHECK_RC(plait_value_add_real(&v, 0.25, &x), 0);
    CHECK(x == 2.75);
    CHECK_RC(plait_value_add_real(&v, 0.25, NULL), 0);
    CHECK_RC(plait_value_get_real(&v, &x), 0);
    CHECK(x == 3);
}

static void a_sum_that_does_not_fit_changes_nothing(void **state)
{
    (void)state;
    plait_value v = {0};
    int64_t n = 4;
    CHECK_RC(plait_value_set(&v, INT64_MAX), 0);
    CHECK_RC(plait_value_add(&v, 1, &n), PLAIT_EOVERFLOW);
    CHECK_EQ(n, 4);
    CHECK_EQ(v.integer, INT64_MAX);
    CHECK(!plait_rlock_locked(&v.lock));
    CHECK_RC(plait_value_set(&v, INT64_MIN), 0);
    CHECK_RC(plait_value_add(&v, -1, NULL), PLAIT_EOVERFLOW);
    CHECK_EQ(v.integer, INT64_MIN);
}

static void nulls_are_refused(void **state)
{
    (void)state;
    plait_value v = {0};
    int64_t n;
    double x;
    CHECK_RC(plait_value_get(NULL, &n), PLAIT_EINVAL);
    CHECK_RC(plait_value_get(&v, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_value_get_real(NULL, &x), PLAIT_EINVAL);
    CHECK_RC(plait_value_get_real(&v, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_value_set(NULL, 1), PLAIT_EINVAL);
    CHECK_RC(plait_value_set_real(NULL, 1), PLAIT_EINVAL);
    CHECK_RC(plait_value_add(NULL, 1, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_value_add_real(NULL, 1, NULL), PLAIT_EINVAL);
}

struct box {
    plait_value v;
    int stage;
};

/* Steps under the lock, between which every call of others has to wait. */
static int count(void *arg)
{
    struct box *b = arg;
    int64_t n;
    for (int i = 0; i < 200; i++) {
        CHECK_RC(plait_value_add(&b->v, 1, NULL), 0);
        PLAIT_WITH(&b->v.lock) {
            int64_t seen = b->v.integer;
            CHECK_RC(plait_value_get(&b->v, &n), 0);
            CHECK_EQ(n, seen);
            if (i % 50 == 0)
                t_give_way();
            CHECK_RC(plait_value_set(&b->v, seen + 1), 0);
        }
    }
    return 0;
}

static void no_count_is_lost(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        int64_t n;
        t_start(&team, s, 4, count, b);
        t_join(&team);
        CHECK_RC(plait_value_get(&b->v, &n), 0);
        CHECK_EQ(n, 4 * 400);
        t_delete(s, b);
    }
}

static int add_once(void *object, int64_t timeout)
{
    int rc = PLAIT_EINVAL;
    PLAIT_TIMEOUT(timeout)
        rc = plait_value_add(object, 1, NULL);
    return rc;
}

static void every_call_waits_for_the_lock_and_can_be_stopped(void **state)
{
    (void)state;
    FOR_EVERY_KIND(kind)
    {
        plait_value *v = plait_alloc(sizeof *v);
        struct t_waiter *w = plait_alloc(sizeof *w);
        *w = (struct t_waiter){.call = add_once, .object = v, .timeout = plait_seconds(100)};
        CHECK_RC(plait_rlock_acquire(&v->lock, PLAIT_FOREVER), 0);
        plait_worker waiter = t_start_one(kind, t_wait_once, w);
        UNTIL_WAITS(waiter, 0);
        CHECK_RC(plait_cancel(waiter), 0);
        CHECK_EQ(t_join_one(waiter), 0);
        CHECK_RC(w->rc, PLAIT_ECANCELED);
        CHECK_EQ(v->integer, 0);
        CHECK_RC(plait_rlock_release(&v->lock), 0);
        plait_free(w);
        plait_free(v);
    }
}

static int die_with_it(void *arg)
{
    struct box *b = arg;
    CHECK_RC(plait_rlock_acquire(&b->v.lock, PLAIT_FOREVER), 0);
    b->v.integer = 5;
    TELL(b->stage, 1);
    t_sleep_for_ever();
}

static void a_death_under_the_lock_is_told_once(void **state)
{
    (void)state;
    struct box *b = plait_alloc(sizeof *b);
    int64_t n;
    plait_worker w = t_start_one(PLAIT_PROCESS, die_with_it, b);
    UNTIL(SEEN(b->stage) == 1);
    t_kill(w);
    CHECK_RC(plait_value_add(&b->v, 1, &n), PLAIT_OWNER_DIED);
    CHECK_EQ(n, 6);
    CHECK_RC(plait_value_get(&b->v, &n), 0);
    plait_free(b);
}

int main(int argc, char **argv)
{
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zeroed_memory_is_a_value),
        cmocka_unit_test(what_was_put_in_is_got_out),
        cmocka_unit_test(a_sum_that_does_not_fit_changes_nothing),
        cmocka_unit_test(nulls_are_refused),
        cmocka_unit_test(no_count_is_lost),
        cmocka_unit_test(every_call_waits_for_the_lock_and_can_be_stopped),
        cmocka_unit_test(a_death_under_the_lock_is_told_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
