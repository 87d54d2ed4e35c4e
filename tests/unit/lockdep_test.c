/* The mode that checks lock orders, PLAIT_LOCKDEP=1: what it reports, and what it does not. */
#include "harness/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct reports {
    int n;
    char last[4096];
};
static struct reports *reports; /* in the arena */

static void keep(const char *text, void *unused)
{
    (void)unused;
    snprintf(reports->last, sizeof reports->last, "%s", text);
    COUNT(reports->n);
}

static int begin(void **state)
{
    (void)state;
    memset(reports, 0, sizeof *reports);
    return 0;
}

/* Fresh locks, each a class of its own. */
static plait_lock *some_locks(void)
{
    static const char *const names[] = {"alpha", "beta", "gamma"};
    plait_lock *locks = plait_alloc(3 * sizeof *locks);
    begin(NULL);
    for (int i = 0; i < 3; i++)
        CHECK_RC(plait_label(&locks[i], names[i]), 0);
    return locks;
}

static __attribute__((noinline)) void take_first_then_second(plait_lock *first, plait_lock *second)
{
    CHECK_RC(plait_lock_acquire(first, PLAIT_FOREVER), 0);
    CHECK_RC(plait_lock_acquire(second, PLAIT_FOREVER), 0);
    CHECK_RC(plait_lock_release(second), 0);
    CHECK_RC(plait_lock_release(first), 0);
}

/* --- reported --- */

static void an_inversion_is_reported_though_nobody_waits(void **state)
{
    (void)state;
    plait_lock *l = some_locks();
    take_first_then_second(&l[0], &l[1]);
    CHECK_EQ(reports->n, 0);
    take_first_then_second(&l[1], &l[0]);
    CHECK_EQ(reports->n, 1);
    CHECK(strstr(reports->last, "plait: lock order: "));
    CHECK(strstr(reports->last, "\"MainThread\""));
    CHECK(strstr(reports->last, "takes \"alpha\" at take_first_then_second+0x"));
    CHECK(strstr(reports->last, "holding \"beta\" at take_first_then_second+0x"));
    CHECK(strstr(reports->last, "with \"alpha\" at take_first"));
    for (int i = 0; i < 3; i++) { /* it is known now */
        take_first_then_second(&l[1], &l[0]);
        take_first_then_second(&l[0], &l[1]);
    }
    CHECK_EQ(reports->n, 1);
}

static void a_ring_of_three_orders_is_an_inversion(void **state)
{
    (void)state;
    plait_lock *l = some_locks();
    take_first_then_second(&l[0], &l[1]);
    take_first_then_second(&l[1], &l[2]);
    take_first_then_second(&l[0], &l[2]);
    CHECK_EQ(reports->n, 0);
    take_first_then_second(&l[2], &l[0]);
    CHECK_EQ(reports->n, 1);
}

/* From 0 lead a long way and a short one to 7, and from there one to 8. Many times, for the addresses decide which
 * of the two is looked at first. */
static void a_short_ring_is_found_beside_a_long_one(void **state)
{
    (void)state;
    for (int round = 0; round < 12; round++) {
        plait_lock *l = plait_alloc(9 * sizeof *l);
        begin(NULL);
        for (int i = 0; i < 8; i++)
            take_first_then_second(&l[i], &l[i + 1]);
        take_first_then_second(&l[0], &l[7]);
        CHECK_EQ(reports->n, 0);
        take_first_then_second(&l[8], &l[0]);
        CHECK_EQ(reports->n, 1);
    }
}

static int take_beta_then_alpha(void *locks)
{
    plait_lock *l = locks;
    take_first_then_second(&l[1], &l[0]);
    return 0;
}

static void the_two_orders_may_be_those_of_two_workers(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_lock *l = some_locks();
        CHECK_EQ(t_join_one(t_start_one(kind, take_beta_then_alpha, l)), 0);
        CHECK_EQ(reports->n, 0);
        take_first_then_second(&l[0], &l[1]);
        CHECK_EQ(SEEN(reports->n), 1);
    }
}

struct account {
    plait_lock lock;
};

static __attribute__((noinline)) void open_account(struct account *a)
{
    CHECK_RC(plait_lock_init(&a->lock, NULL), 0);
}

/* Two accounts in the one order, two others in the other: never the same locks. */
static void locks_made_in_one_place_are_of_one_class(void **state)
{
    (void)state;
    struct account *a = plait_alloc(4 * sizeof *a);
    begin(NULL);
    for (int i = 0; i < 4; i++)
        open_account(&a[i]);
    take_first_then_second(&a[0].lock, &a[1].lock);
    CHECK_EQ(reports->n, 0);
    take_first_then_second(&a[3].lock, &a[2].lock);
    CHECK_EQ(reports->n, 1);
    CHECK(strstr(reports->last, "open_account"));
}

static void rlocks_and_blocks_are_checked_too(void **state)
{
    (void)state;
    plait_rlock *r = plait_alloc(2 * sizeof *r);
    begin(NULL);
    PLAIT_WITH(&r[0])
        PLAIT_WITH(&r[0]) /* again: no order */
            PLAIT_WITH(&r[1])
                CHECK_EQ(plait_rlock_depth(&r[1]), 1);
    CHECK_EQ(reports->n, 0);
    PLAIT_WITH(&r[1])
        PLAIT_WITH(&r[0])
            CHECK_EQ(plait_rlock_depth(&r[0]), 1);
    CHECK_EQ(reports->n, 1);
    CHECK(strstr(reports->last, "at rlocks_and_blocks_are_checked_too+0x"));
}

static void rwlocks_and_inheriting_locks_are_checked_too(void **state)
{
    (void)state;
    plait_rwlock *rw = plait_alloc(sizeof *rw);
    plait_pi_lock *pi = plait_alloc(sizeof *pi);
    begin(NULL);
    PLAIT_WITH_READ(rw)
    PLAIT_WITH_READ(rw) /* again: no order */
    PLAIT_WITH(pi)
        CHECK_EQ(reports->n, 0);
    PLAIT_WITH(pi)
        CHECK_EQ(reports->n, 0);
    PLAIT_WITH_WRITE(rw)
    CHECK_EQ(reports->n, 0);
    PLAIT_WITH(pi)
        PLAIT_WITH_WRITE(rw)
    CHECK_EQ(reports->n, 1);
    CHECK_RC(plait_rwlock_release_read(rw), PLAIT_EPERM);
    CHECK_RC(plait_rwlock_release_write(rw), PLAIT_EPERM);
}

/* --- not reported --- */

static void one_order_is_fine_however_often(void **state)
{
    (void)state;
    plait_lock *l = some_locks();
    for (int i = 0; i < 1000; i++) {
        take_first_then_second(&l[0], &l[1]);
        take_first_then_second(&l[1], &l[2]);
        take_first_then_second(&l[0], &l[2]);
    }
    CHECK_EQ(reports->n, 0);
}

static void a_mere_try_waits_for_nobody(void **state)
{
    (void)state;
    plait_lock *l = some_locks();
    take_first_then_second(&l[0], &l[1]);
    CHECK_RC(plait_lock_acquire(&l[1], PLAIT_FOREVER), 0);
    CHECK_RC(plait_lock_acquire(&l[0], PLAIT_NOWAIT), 0);
    CHECK_RC(plait_lock_release(&l[0]), 0);
    CHECK_RC(plait_lock_release(&l[1]), 0);
    CHECK_EQ(reports->n, 0);
}

static int release_it(void *lock)
{
    return plait_lock_release(lock);
}

static void what_another_has_released_is_not_held(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_lock *l = some_locks();
        take_first_then_second(&l[0], &l[1]);
        CHECK_RC(plait_lock_acquire(&l[1], PLAIT_FOREVER), 0);
        CHECK_EQ(t_join_one(t_start_one(kind, release_it, &l[1])), 0);
        CHECK_RC(plait_lock_acquire(&l[0], PLAIT_FOREVER), 0);
        CHECK_RC(plait_lock_release(&l[0]), 0);
        CHECK_EQ(SEEN(reports->n), 0);
    }
}

static void a_wait_lets_go_of_the_conditions_lock(void **state)
{
    (void)state;
    plait_lock *l = some_locks();
    plait_condition *c = plait_alloc(sizeof *c);
    CHECK_RC(plait_condition_init(c, &l[0]), 0);
    CHECK_RC(plait_lock_acquire(&l[0], PLAIT_FOREVER), 0);
    CHECK_RC(plait_condition_wait(c, plait_ms(1)), PLAIT_ETIMEDOUT);
    CHECK_RC(plait_lock_release(&l[0]), 0);
    take_first_then_second(&l[1], &l[0]); /* fails if the wait had left it on record */
    take_first_then_second(&l[1], &l[2]);
    CHECK_EQ(reports->n, 0);
}

/* --- deadlocks --- */

static int take_beta_with_alpha(void *locks)
{
    plait_rlock *l = locks;
    CHECK_RC(plait_rlock_acquire(&l[0], PLAIT_FOREVER), 0);
    UNTIL(plait_rlock_locked(&l[1]));
    int rc = plait_rlock_acquire(&l[1], PLAIT_FOREVER);
    if (rc == 0)
        CHECK_RC(plait_rlock_release(&l[1]), 0);
    CHECK_RC(plait_rlock_release(&l[0]), 0);
    return 0;
}

static void the_report_of_a_deadlock_says_where_the_locks_were_taken(void **state)
{
    (void)state;
    plait_rlock *l = plait_alloc(2 * sizeof *l);
    begin(NULL);
    plait_worker w = t_start_one(PLAIT_THREAD, take_beta_with_alpha, l);
    CHECK_RC(plait_rlock_acquire(&l[1], PLAIT_FOREVER), 0);
    UNTIL(plait_rlock_locked(&l[0]));
    int rc = plait_rlock_acquire(&l[0], PLAIT_FOREVER);
    if (rc == 0)
        CHECK_RC(plait_rlock_release(&l[0]), 0);
    CHECK_RC(plait_rlock_release(&l[1]), 0);
    CHECK_EQ(t_join_one(w), 0);
    CHECK(strstr(reports->last, "plait: deadlock"));
    CHECK(strstr(reports->last, "held since take_beta_with_alpha+0x"));
}

static int listen_in(void **state)
{
    (void)state;
    reports = plait_alloc(sizeof *reports);
    return reports ? plait_set_log(keep, NULL) : -1;
}

int main(int argc, char **argv)
{
    if (!getenv("PLAIT_LOCKDEP")) { /* it is read before main */
        setenv("PLAIT_LOCKDEP", "1", 1);
        execv("/proc/self/exe", argv);
    }
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_inversion_is_reported_though_nobody_waits),
        cmocka_unit_test(a_ring_of_three_orders_is_an_inversion),
        cmocka_unit_test(a_short_ring_is_found_beside_a_long_one),
        cmocka_unit_test(the_two_orders_may_be_those_of_two_workers),
        cmocka_unit_test(locks_made_in_one_place_are_of_one_class),
        cmocka_unit_test(rlocks_and_blocks_are_checked_too),
        cmocka_unit_test(rwlocks_and_inheriting_locks_are_checked_too),
        cmocka_unit_test(one_order_is_fine_however_often),
        cmocka_unit_test(a_mere_try_waits_for_nobody),
        cmocka_unit_test(what_another_has_released_is_not_held),
        cmocka_unit_test(a_wait_lets_go_of_the_conditions_lock),
        cmocka_unit_test(the_report_of_a_deadlock_says_where_the_locks_were_taken),
    };
    return cmocka_run_group_tests(tests, listen_in, NULL);
}
