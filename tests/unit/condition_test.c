/* The condition: a test per promise of include/plait/condition.h, and each misuse. */
#include "harness/harness.h"

#include "park/park.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WAITERS = 4 };

struct box {
    plait_condition changed, other;
    plait_lock lock; /* of a pair of conditions */
    int arrived, n_done;
    int done[WAITERS]; /* who came out, in order; under the lock */
    int next;          /* number of the next to begin */
    int calls;         /* of the predicate */
    int out;           /* the wait is over; under the lock */
    int truth;         /* what it answers; under the lock */
    int go, stop;
    int64_t timeout;
    int rc;
    struct t_waiter waiters[WAITERS];
};

static void take(plait_condition *c)
{
    CHECK_RC(plait_lock_acquire(plait_condition_lock(c), plait_seconds(T_PATIENCE_S)), 0);
}

static void give(plait_condition *c)
{
    CHECK_RC(plait_lock_release(plait_condition_lock(c)), 0);
}

static bool is_mine(plait_condition *c)
{
    return plait_same(plait_lock_holder(plait_condition_lock(c)), plait_self());
}

/* Takes the lock, waits, gives the lock: what the wait returned. */
static int wait_for(void *condition, int64_t timeout)
{
    take(condition);
    int rc = plait_condition_wait(condition, timeout);
    CHECK(is_mine(condition));
    give(condition);
    return rc;
}

/* The wait alone, for a caller that has the lock. */
static int wait_holding(void *condition, int64_t timeout)
{
    int rc = plait_condition_wait(condition, timeout);
    CHECK(is_mine(condition));
    return rc;
}

static int notify(plait_condition *c, int n)
{
    take(c);
    int woken = plait_condition_notify(c, n);
    give(c);
    return woken;
}

/* Notes when it is through. */
static int wait_and_sign(void *arg)
{
    struct box *b = arg;
    take(&b->changed);
    int me = b->next++;
    CHECK_RC(plait_condition_wait(&b->changed, PLAIT_FOREVER), 0);
    CHECK(is_mine(&b->changed));
    b->done[b->n_done] = me;
    COUNT(b->n_done);
    give(&b->changed);
    return 0;
}

/* Starts waiters, each asleep before the next one begins. */
static void start_waiters(struct t_team *team, const struct t_setting *s, struct box *b, int n)
{
    team->n = n;
    for (int i = 0; i < n; i++) {
        team->workers[i] = t_start_one(s->kinds[i % 2], wait_and_sign, b);
        UNTIL_WAITS(team->workers[i], PL_WAIT_CONDITION);
    }
}

static plait_worker start_waiter(int kind, struct t_waiter *w, plait_condition *c, int64_t timeout)
{
    *w = (struct t_waiter){wait_for, c, timeout, 0, 0, 0};
    plait_worker worker = t_start_one(kind, t_wait_once, w);
    UNTIL_WAITS(worker, PL_WAIT_CONDITION);
    return worker;
}

/* --- making one --- */

static void zeroed_memory_is_a_condition_with_a_lock_of_its_own(void **state)
{
    (void)state;
    static plait_condition c;
    assert_non_null(plait_condition_lock(&c));
    take(&c);
    assert_true(is_mine(&c));
    CHECK_RC(plait_condition_notify_all(&c), 0);
    CHECK_RC(plait_condition_wait(&c, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
    give(&c);
}

static void init_makes_any_bytes_a_condition(void **state)
{
    (void)state;
    plait_condition c;
    memset(&c, 0xff, sizeof c);
    CHECK_RC(plait_condition_init(&c, NULL), 0);
    take(&c);
    CHECK_RC(plait_condition_wait(&c, plait_ms(2)), PLAIT_ETIMEDOUT);
    CHECK_RC(plait_condition_notify_all(&c), 0);
    give(&c);
}

static void init_binds_it_to_a_lock(void **state)
{
    (void)state;
    plait_condition c;
    plait_lock lock = {0};
    CHECK_RC(plait_condition_init(&c, &lock), 0);
    assert_ptr_equal(plait_condition_lock(&c), &lock);
    CHECK_RC(plait_lock_acquire(&lock, PLAIT_NOWAIT), 0);
    CHECK_RC(plait_condition_wait(&c, plait_ms(2)), PLAIT_ETIMEDOUT);
    assert_true(plait_lock_locked(&lock));
    CHECK_RC(plait_lock_release(&lock), 0);
}

static void an_arena_condition_with_a_private_lock_is_refused(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    plait_lock private_lock = {0};
    plait_condition private_condition;
    CHECK_RC(plait_condition_init(&b->changed, &private_lock), PLAIT_EPRIVATE);
    CHECK_RC(plait_condition_init(&b->changed, &b->lock), 0);
    CHECK_RC(plait_condition_init(&private_condition, &b->lock), 0);
    t_delete(&t_processes, b);
}

static bool yes(void *unused)
{
    (void)unused;
    return true;
}

static void null_is_refused(void **state)
{
    (void)state;
    plait_condition c = {0};
    assert_null(plait_condition_lock(NULL));
    CHECK_RC(plait_condition_init(NULL, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_condition_wait(NULL, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_condition_wait_for(NULL, yes, NULL, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_condition_notify(NULL, 1), PLAIT_EINVAL);
    CHECK_RC(plait_condition_notify_all(NULL), PLAIT_EINVAL);
    take(&c);
    CHECK_RC(plait_condition_wait_for(&c, NULL, NULL, PLAIT_FOREVER), PLAIT_EINVAL);
    assert_true(is_mine(&c));
    give(&c);
}

/* --- the lock is to be held --- */

static void check_eperm(plait_condition *c)
{
    CHECK_RC(plait_condition_wait(c, PLAIT_FOREVER), PLAIT_EPERM);
    CHECK_RC(plait_condition_wait(c, PLAIT_NOWAIT), PLAIT_EPERM);
    CHECK_RC(plait_condition_wait_for(c, yes, NULL, PLAIT_FOREVER), PLAIT_EPERM);
    CHECK_RC(plait_condition_notify(c, 1), PLAIT_EPERM);
    CHECK_RC(plait_condition_notify_all(c), PLAIT_EPERM);
}

static int check_eperm_as_worker(void *condition)
{
    check_eperm(condition);
    return 0;
}

static void without_the_lock_nothing_happens(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        start_waiters(&team, s, b, 2);
        check_eperm(&b->changed);
        CHECK_EQ(plait_lock_locked(plait_condition_lock(&b->changed)), 0);
        take(&b->changed); /* held, but not by the caller */
        CHECK_EQ(t_join_one(t_start_one(s->kinds[0], check_eperm_as_worker, &b->changed)), 0);
        CHECK(is_mine(&b->changed));
        CHECK_EQ(plait_condition_notify_all(&b->changed), 2);
        give(&b->changed);
        t_join(&team);
        t_delete(s, b);
    }
}

static int check_eperm_unregistered(void *condition)
{
    check_eperm(condition); /* its first call of plait */
    return 0;
}

static void a_thread_that_plait_does_not_know_holds_nothing(void **state)
{
    (void)state;
    plait_condition c = {0};
    CHECK_EQ(t_in_pthread(check_eperm_unregistered, &c), 0);
}

static void wait_lets_the_lock_go_and_takes_it_back(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        start_waiters(&team, s, b, 1);
        take(&b->changed);
        CHECK_EQ(plait_condition_notify(&b->changed, 1), 1);
        UNTIL_WAITS(team.workers[0], PL_WAIT_LOCK);
        CHECK_EQ(SEEN(b->n_done), 0);
        CHECK(is_mine(&b->changed)); /* notify does not release it */
        give(&b->changed);
        t_join(&team);
        CHECK_EQ(b->n_done, 1);
        t_delete(s, b);
    }
}

/* --- notify --- */

static void a_notification_with_nobody_waiting_is_lost(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        CHECK_EQ(notify(&b->changed, 1), 0);
        CHECK_EQ(notify(&b->changed, INT_MAX), 0);
        CHECK_RC(wait_for(&b->changed, plait_ms(5)), PLAIT_ETIMEDOUT);
        t_delete(s, b);
    }
}

static void notify_n_wakes_n_in_order_of_arrival(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        start_waiters(&team, s, b, WAITERS);
        CHECK_EQ(notify(&b->changed, 1), 1);
        UNTIL(SEEN(b->n_done) == 1);
        CHECK_EQ(b->done[0], 0);
        CHECK_EQ(notify(&b->changed, 2), 2);
        UNTIL(SEEN(b->n_done) == 3);
        CHECK_EQ(b->done[1] + b->done[2], 1 + 2);
        CHECK_EQ(notify(&b->changed, 5), 1);
        t_join(&team);
        CHECK_EQ(b->done[3], 3);
        t_delete(s, b);
    }
}

static void each_notification_is_for_the_first_in_line(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        start_waiters(&team, s, b, WAITERS);
        for (int i = 0; i < WAITERS; i++) {
            CHECK_EQ(notify(&b->changed, 1), 1);
            UNTIL(SEEN(b->n_done) == i + 1);
            CHECK_EQ(b->done[i], i);
        }
        t_join(&team);
        t_delete(s, b);
    }
}

static void notify_of_less_than_1_wakes_nobody(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        start_waiters(&team, s, b, 1);
        CHECK_EQ(notify(&b->changed, 0), 0);
        CHECK_EQ(notify(&b->changed, -1), 0);
        CHECK_EQ(notify(&b->changed, INT_MIN), 0);
        CHECK_EQ(SEEN(b->n_done), 0);
        CHECK_EQ(notify(&b->changed, 1), 1);
        t_join(&team);
        t_delete(s, b);
    }
}

static void notify_all_wakes_all(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        start_waiters(&team, s, b, WAITERS);
        take(&b->changed);
        CHECK_EQ(plait_condition_notify_all(&b->changed), WAITERS);
        CHECK_EQ(plait_condition_notify_all(&b->changed), 0); /* each once */
        give(&b->changed);
        t_join(&team);
        CHECK_EQ(b->n_done, WAITERS);
        t_delete(s, b);
    }
}

enum { SETTINGS = 4 };

static int64_t notify_everyone(void)
{
    struct box *b[SETTINGS];
    struct t_team teams[SETTINGS];
    for (int i = 0; i < SETTINGS; i++) {
        b[i] = t_new(&t_settings[i], sizeof *b[i]);
        start_waiters(&teams[i], &t_settings[i], b[i], WAITERS);
    }
    t_let_naps_grow();
    int64_t start = plait_now();
    for (int i = 0; i < SETTINGS; i++)
        CHECK_EQ(notify(&b[i]->changed, WAITERS), WAITERS);
    for (int i = 0; i < SETTINGS; i++)
        UNTIL(SEEN(b[i]->n_done) == WAITERS);
    int64_t took = plait_now() - start;
    for (int i = 0; i < SETTINGS; i++) {
        t_join(&teams[i]);
        t_delete(&t_settings[i], b[i]);
    }
    return took;
}

static void notify_wakes_them_at_once(void **state)
{
    (void)state;
    t_check_at_once(notify_everyone);
}

/* The first has not even looked when the second comes. */
static void who_comes_later_does_not_take_an_earlier_ones_notification(void **state)
{
    (void)state;
    struct box *b = t_new(&t_mixed, sizeof *b);
    struct t_team first, second;
    start_waiters(&first, &t_processes, b, 1);
    t_stop(first.workers[0]);
    CHECK_EQ(notify(&b->changed, 1), 1);
    start_waiters(&second, &t_mixed, b, 2);
    CHECK_EQ(SEEN(b->n_done), 0);
    t_continue(first.workers[0]);
    t_join(&first);
    CHECK_EQ(b->n_done, 1);
    CHECK_EQ(b->done[0], 0);
    CHECK_EQ(notify(&b->changed, 2), 2);
    t_join(&second);
    t_delete(&t_mixed, b);
}

static void two_conditions_on_one_lock_wake_their_own_waiters(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        CHECK_RC(plait_condition_init(&b->changed, &b->lock), 0);
        CHECK_RC(plait_condition_init(&b->other, &b->lock), 0);
        plait_worker one = start_waiter(s->kinds[0], &b->waiters[0], &b->changed, PLAIT_FOREVER);
        plait_worker two = start_waiter(s->kinds[1], &b->waiters[1], &b->other, PLAIT_FOREVER);
        CHECK_EQ(notify(&b->other, INT_MAX), 1);
        CHECK_EQ(t_join_one(two), 0);
        CHECK_EQ(SEEN(b->waiters[0].step), 1);
        CHECK_EQ(notify(&b->other, 1), 0);
        CHECK_EQ(notify(&b->changed, 1), 1);
        CHECK_EQ(t_join_one(one), 0);
        CHECK_RC(b->waiters[0].rc, 0);
        CHECK_RC(b->waiters[1].rc, 0);
        t_delete(s, b);
    }
}

/* --- time --- */

static void bad_timeouts_are_refused_and_the_lock_stays_held(void **state)
{
    (void)state;
    plait_condition c = {0};
    take(&c);
    t_check_bad_timeouts(wait_holding, &c);
    give(&c);
}

static int wait_for_yes(void *condition, int64_t timeout)
{
    return plait_condition_wait_for(condition, yes, NULL, timeout);
}

static void wait_for_refuses_bad_timeouts_though_the_predicate_be_true(void **state)
{
    (void)state;
    plait_condition c = {0};
    take(&c);
    t_check_bad_timeouts(wait_for_yes, &c);
    give(&c);
}

static void a_timeout_is_over_in_time(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        take(&b->changed);
        t_check_time(wait_holding, &b->changed);
        t_check_signals(wait_holding, &b->changed);
        CHECK_EQ(plait_condition_notify(&b->changed, 1), 0); /* it left the queue */
        give(&b->changed);
        t_delete(s, b);
    }
}

static void the_longest_timeout_is_accepted(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        plait_worker w = start_waiter(s->kinds[0], &b->waiters[0], &b->changed, PLAIT_TIMEOUT_MAX);
        CHECK_EQ(notify(&b->changed, 1), 1);
        CHECK_EQ(t_join_one(w), 0);
        CHECK_RC(b->waiters[0].rc, 0);
        t_delete(s, b);
    }
}

static void a_timed_out_waiter_leaves_the_line_to_others(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        start_waiters(&team, s, b, 1);
        CHECK_RC(wait_for(&b->changed, plait_ms(5)), PLAIT_ETIMEDOUT); /* the last in line */
        plait_worker w = start_waiter(s->kinds[1], &b->waiters[0], &b->changed, PLAIT_FOREVER);
        CHECK_EQ(notify(&b->changed, 3), 2);
        t_join(&team);
        CHECK_EQ(t_join_one(w), 0);
        t_delete(s, b);
    }
}

static int wait_a_while(void *arg)
{
    struct box *b = arg;
    take(&b->changed);
    b->rc = plait_condition_wait(&b->changed, b->timeout);
    CHECK(is_mine(&b->changed));
    b->out = 1;
    give(&b->changed);
    return 0;
}

/* A waiter in its wait for less than `timeout` yet, while the caller holds the lock. On a machine that
 * is too slow for that, begins anew with more time. */
static plait_worker start_short_waiter(int kind, struct box *b, plait_function *fn)
{
    for (b->timeout = plait_ms(50);; b->timeout *= 2) {
        b->out = b->calls = 0;
        plait_worker w = t_start_one(kind, fn, b);
        struct t_poll poll = {0};
        while (!t_waits(w, PL_WAIT_CONDITION) && plait_state(w) != PLAIT_STATE_ENDED)
            t_poll_again(&poll, __FILE__, __LINE__, "the waiter waits");
        take(&b->changed);
        if (!b->out)
            return w;
        give(&b->changed);
        CHECK_EQ(t_join_one(w), 0);
    }
}

/* Whoever's time is over still has to take the lock back, however long that takes. */
static void after_a_timeout_the_lock_is_taken_back_first(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        plait_worker w = start_short_waiter(s->kinds[0], b, wait_a_while);
        UNTIL_WAITS(w, PL_WAIT_LOCK);
        CHECK(!b->out);
        give(&b->changed);
        CHECK_EQ(t_join_one(w), 0);
        CHECK_RC(b->rc, PLAIT_ETIMEDOUT);
        t_delete(s, b);
    }
}

static void a_notification_that_meets_a_timeout_counts(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        plait_worker w = start_short_waiter(s->kinds[0], b, wait_a_while);
        UNTIL_WAITS(w, PL_WAIT_LOCK); /* its time is over, and it wants the lock back */
        CHECK_EQ(plait_condition_notify(&b->changed, 1), 1);
        give(&b->changed);
        CHECK_EQ(t_join_one(w), 0);
        CHECK_RC(b->rc, 0);
        t_delete(s, b);
    }
}

static void errno_is_left_alone(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        start_waiters(&team, s, b, 1);
        take(&b->changed);
        errno = EXDEV;
        CHECK_RC(plait_condition_wait(&b->changed, plait_ms(2)), PLAIT_ETIMEDOUT);
        CHECK_EQ(plait_condition_notify_all(&b->changed), 1);
        CHECK_RC(plait_condition_wait_for(&b->changed, yes, NULL, PLAIT_FOREVER), 0);
        give(&b->changed);
        CHECK_RC(plait_condition_notify(&b->changed, 1), PLAIT_EPERM);
        CHECK_EQ(errno, EXDEV);
        t_join(&team);
        t_delete(s, b);
    }
}

/* --- cancellation --- */

static void cancellation_ends_a_wait_with_the_lock_held(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        t_check_cancel(s, wait_for, &b->changed);
        t_check_cancel_pending(s, wait_for, &b->changed);
        t_check_cancel_counts(s, wait_for, &b->changed);
        t_check_uncancel(s, wait_for, &b->changed);
        CHECK_EQ(notify(&b->changed, INT_MAX), 0);
        t_delete(s, b);
    }
}

static void a_canceled_waiter_leaves_the_line_to_others(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        plait_worker first = start_waiter(s->kinds[0], &b->waiters[0], &b->changed, PLAIT_FOREVER);
        plait_worker second = start_waiter(s->kinds[1], &b->waiters[1], &b->changed, PLAIT_FOREVER);
        CHECK_RC(plait_cancel(first), 0);
        CHECK_EQ(t_join_one(first), 0);
        CHECK_RC(b->waiters[0].rc, PLAIT_ECANCELED);
        CHECK_EQ(notify(&b->changed, 2), 1);
        CHECK_EQ(t_join_one(second), 0);
        CHECK_RC(b->waiters[1].rc, 0);
        t_delete(s, b);
    }
}

/* The wait that was asked to stop ends with 0, for it was notified; so the request is still due. */
static int wait_twice(void *arg)
{
    struct box *b = arg;
    take(&b->changed);
    CHECK_RC(plait_condition_wait(&b->changed, PLAIT_FOREVER), 0);
    CHECK_EQ(plait_cancelling(), 1);
    CHECK_RC(plait_condition_wait(&b->changed, plait_seconds(T_PATIENCE_S)), PLAIT_ECANCELED);
    give(&b->changed);
    return 0;
}

static void a_notification_that_meets_a_cancellation_counts_and_both_are_heard(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        plait_worker w = t_start_one(s->kinds[0], wait_twice, b);
        UNTIL_WAITS(w, PL_WAIT_CONDITION);
        take(&b->changed);
        CHECK_RC(plait_cancel(w), 0);
        UNTIL_WAITS(w, PL_WAIT_LOCK); /* it was asked to stop, and wants the lock back */
        CHECK_EQ(plait_condition_notify(&b->changed, 1), 1);
        give(&b->changed);
        CHECK_EQ(t_join_one(w), 0);
        t_delete(s, b);
    }
}

static void taking_the_lock_back_cannot_be_canceled(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        plait_worker w = t_start_one(s->kinds[0], wait_twice, b);
        UNTIL_WAITS(w, PL_WAIT_CONDITION);
        take(&b->changed);
        CHECK_EQ(plait_condition_notify(&b->changed, 1), 1);
        UNTIL_WAITS(w, PL_WAIT_LOCK);
        CHECK_RC(plait_cancel(w), 0);
        t_sleep(plait_ms(5));
        UNTIL_WAITS(w, PL_WAIT_LOCK);
        give(&b->changed);
        CHECK_EQ(t_join_one(w), 0);
        t_delete(s, b);
    }
}

/* --- wait_for --- */

static bool ask(void *arg)
{
    struct box *b = arg;
    CHECK(is_mine(&b->changed));
    COUNT(b->calls);
    return b->truth;
}

static void wait_for_a_true_predicate_does_not_wait(void **state)
{
    (void)state;
    struct box b = {.truth = 1};
    take(&b.changed);
    CHECK_RC(plait_condition_wait_for(&b.changed, ask, &b, PLAIT_FOREVER), 0);
    CHECK_RC(plait_condition_wait_for(&b.changed, ask, &b, PLAIT_NOWAIT), 0);
    assert_int_equal(b.calls, 2);
    assert_true(is_mine(&b.changed));
    give(&b.changed);
}

static void wait_for_with_no_time_asks_twice(void **state)
{
    (void)state;
    struct box b = {0};
    take(&b.changed);
    CHECK_RC(plait_condition_wait_for(&b.changed, ask, &b, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
    assert_int_equal(b.calls, 2);
    CHECK_RC(plait_condition_wait_for(&b.changed, ask, &b, plait_ms(5)), PLAIT_ETIMEDOUT);
    assert_int_equal(b.calls, 4);
    assert_true(is_mine(&b.changed));
    give(&b.changed);
}

static bool ask_without_lock(void *calls)
{
    (*(int *)calls)++;
    return false;
}

static void wait_for_without_the_lock_does_not_ask(void **state)
{
    (void)state;
    plait_condition c = {0};
    int calls = 0;
    CHECK_RC(plait_condition_wait_for(&c, ask_without_lock, &calls, PLAIT_FOREVER), PLAIT_EPERM);
    assert_int_equal(calls, 0);
}

static int wait_for_truth(void *arg)
{
    struct box *b = arg;
    take(&b->changed);
    b->rc = plait_condition_wait_for(&b->changed, ask, b, b->timeout);
    CHECK(is_mine(&b->changed));
    b->out = 1;
    give(&b->changed);
    return 0;
}

static void wait_for_asks_after_each_notification(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        b->timeout = PLAIT_FOREVER;
        plait_worker w = t_start_one(s->kinds[0], wait_for_truth, b);
        for (int i = 1; i <= 3; i++) {
            UNTIL(SEEN(b->calls) == i);
            UNTIL_WAITS(w, PL_WAIT_CONDITION);
            take(&b->changed);
            b->truth = i == 3;
            CHECK_EQ(plait_condition_notify(&b->changed, 1), 1);
            give(&b->changed);
        }
        CHECK_EQ(t_join_one(w), 0);
        CHECK_RC(b->rc, 0);
        CHECK_EQ(b->calls, 4);
        t_delete(s, b);
    }
}

static int notify_again_and_again(void *arg)
{
    struct box *b = arg;
    while (!SEEN(b->stop)) {
        notify(&b->changed, 1);
        t_sleep(plait_ms(2));
    }
    return 0;
}

/* Were the time restarted by each notification, it would never be over. */
static void wait_for_has_one_time_for_the_whole(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        plait_worker w = t_start_one(s->kinds[0], notify_again_and_again, b);
        take(&b->changed);
        int64_t start = plait_now();
        int rc = plait_condition_wait_for(&b->changed, ask, b, plait_ms(60));
        CHECK(plait_now() - start >= plait_ms(60));
        CHECK_RC(rc, PLAIT_ETIMEDOUT);
        give(&b->changed);
        TELL(b->stop, 1);
        CHECK_EQ(t_join_one(w), 0);
        t_delete(s, b);
    }
}

static void wait_for_believes_the_predicate_when_time_is_over(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        plait_worker w = start_short_waiter(s->kinds[0], b, wait_for_truth);
        b->truth = 1; /* and nobody is notified */
        UNTIL_WAITS(w, PL_WAIT_LOCK);
        give(&b->changed);
        CHECK_EQ(t_join_one(w), 0);
        CHECK_RC(b->rc, 0);
        t_delete(s, b);
    }
}

static void cancellation_ends_wait_for(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        b->timeout = PLAIT_FOREVER;
        plait_worker w = t_start_one(s->kinds[0], wait_for_truth, b);
        UNTIL_WAITS(w, PL_WAIT_CONDITION);
        CHECK_RC(plait_cancel(w), 0);
        CHECK_EQ(t_join_one(w), 0);
        CHECK_RC(b->rc, PLAIT_ECANCELED);
        t_delete(s, b);
    }
}

static int wait_for_truth_then_stop(void *arg)
{
    struct box *b = arg;
    take(&b->changed);
    CHECK_RC(plait_condition_wait_for(&b->changed, ask, b, PLAIT_FOREVER), 0);
    CHECK_RC(plait_condition_wait(&b->changed, plait_seconds(T_PATIENCE_S)), PLAIT_ECANCELED);
    give(&b->changed);
    return 0;
}

static void a_request_to_stop_that_meets_a_true_predicate_is_not_lost(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        plait_worker w = t_start_one(s->kinds[0], wait_for_truth_then_stop, b);
        UNTIL_WAITS(w, PL_WAIT_CONDITION);
        take(&b->changed);
        b->truth = 1; /* and nobody is notified */
        CHECK_RC(plait_cancel(w), 0);
        give(&b->changed);
        CHECK_EQ(t_join_one(w), 0);
        t_delete(s, b);
    }
}

/* --- death --- */

static int hold_for_ever(void *arg)
{
    struct box *b = arg;
    take(&b->changed);
    b->truth = 1;
    plait_condition_notify_all(&b->changed);
    TELL(b->go, 1);
    t_sleep_for_ever();
}

static plait_worker start_holder(struct box *b)
{
    plait_worker holder = t_start_one(PLAIT_PROCESS, hold_for_ever, b);
    UNTIL(SEEN(b->go));
    return holder;
}

static void a_wait_whose_lock_comes_from_the_dead_says_so(void **state)
{
    (void)state;
    const struct t_setting *all[] = {&t_processes, &t_threads};
    for (int k = 0; k < 2; k++) {
        struct box *b = t_new(all[k], sizeof *b);
        plait_worker w = start_waiter(all[k]->kinds[0], &b->waiters[0], &b->changed, PLAIT_FOREVER);
        plait_worker holder = start_holder(b);
        UNTIL_WAITS(w, PL_WAIT_LOCK);
        t_kill(holder);
        CHECK_EQ(t_join_one(w), 0);
        CHECK_RC(b->waiters[0].rc, PLAIT_OWNER_DIED);
        take(&b->changed);
        give(&b->changed);
        t_delete(all[k], b);
    }
}

static void wait_for_whose_lock_comes_from_the_dead_says_so(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    b->timeout = PLAIT_FOREVER;
    plait_worker w = t_start_one(PLAIT_PROCESS, wait_for_truth, b);
    UNTIL_WAITS(w, PL_WAIT_CONDITION);
    plait_worker holder = start_holder(b);
    UNTIL_WAITS(w, PL_WAIT_LOCK);
    t_kill(holder);
    CHECK_EQ(t_join_one(w), 0);
    CHECK_RC(b->rc, PLAIT_OWNER_DIED);
    t_delete(&t_processes, b);
}

static int hold_and_end(void *arg)
{
    struct box *b = arg;
    take(&b->changed);
    return 0;
}

/* The holder may have been about to notify: one of the waiters looks at the data. */
static void a_wait_ends_when_the_locks_holder_dies_without_a_word(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        plait_worker w[2];
        for (int i = 0; i < 2; i++)
            w[i] = start_waiter(s->kinds[i], &b->waiters[i], &b->changed, PLAIT_FOREVER);
        CHECK_EQ(t_join_one(t_start_one(s->kinds[0], hold_and_end, b)), 0);
        UNTIL(SEEN(b->waiters[0].step) + SEEN(b->waiters[1].step) == 2 + 1);
        int told = SEEN(b->waiters[0].step) == 2 ? 0 : 1;
        CHECK_RC(b->waiters[told].rc, PLAIT_OWNER_DIED);
        CHECK_EQ(notify(&b->changed, 2), 1); /* the other waits on */
        CHECK_EQ(t_join_one(w[0]), 0);
        CHECK_EQ(t_join_one(w[1]), 0);
        CHECK_RC(b->waiters[1 - told].rc, 0);
        t_delete(s, b);
    }
}

static int hold_silently(void *arg)
{
    struct box *b = arg;
    take(&b->changed);
    TELL(b->go, 1);
    t_sleep_for_ever();
}

static void so_it_does_when_the_holder_is_killed(void **state)
{
    (void)state;
    const struct t_setting *all[] = {&t_processes, &t_threads};
    for (int k = 0; k < 2; k++) {
        struct box *b = t_new(all[k], sizeof *b);
        plait_worker w = start_waiter(all[k]->kinds[0], &b->waiters[0], &b->changed, PLAIT_FOREVER);
        plait_worker holder = t_start_one(PLAIT_PROCESS, hold_silently, b);
        UNTIL(SEEN(b->go));
        t_kill(holder);
        CHECK_EQ(t_join_one(w), 0);
        CHECK_RC(b->waiters[0].rc, PLAIT_OWNER_DIED);
        t_delete(all[k], b);
    }
}

static void a_killed_waiter_does_not_count(void **state)
{
    (void)state;
    const struct t_setting *both[] = {&t_processes, &t_mixed};
    for (int k = 0; k < 2; k++)
        for (int victim = 0; victim < WAITERS; victim += 2) {
            struct box *b = t_new(both[k], sizeof *b);
            struct t_team team;
            start_waiters(&team, both[k], b, WAITERS);
            t_kill(team.workers[victim]);
            team.workers[victim] = team.workers[--team.n];
            CHECK_EQ(notify(&b->changed, WAITERS), WAITERS - 1);
            t_join(&team);
            CHECK_EQ(b->n_done, WAITERS - 1);
            CHECK_EQ(notify(&b->changed, 1), 0);
            t_delete(both[k], b);
        }
}

static void a_notification_is_not_spent_on_the_dead(void **state)
{
    (void)state;
    struct box *b = t_new(&t_mixed, sizeof *b);
    struct t_team team;
    start_waiters(&team, &t_mixed, b, 3);
    t_kill(team.workers[0]);
    CHECK_EQ(notify(&b->changed, 1), 1);
    UNTIL(SEEN(b->n_done) == 1);
    CHECK_EQ(b->done[0], 1);
    CHECK_EQ(notify(&b->changed, 1), 1);
    CHECK_EQ(t_join_one(team.workers[1]), 0);
    CHECK_EQ(t_join_one(team.workers[2]), 0);
    t_delete(&t_mixed, b);
}

static void a_notification_whose_receiver_is_killed_goes_to_another(void **state)
{
    (void)state;
    const struct t_setting *both[] = {&t_processes, &t_mixed};
    for (int k = 0; k < 2; k++) {
        struct box *b = t_new(both[k], sizeof *b);
        struct t_team team;
        start_waiters(&team, both[k], b, 3);
        t_stop(team.workers[0]); /* so that it cannot come out before it dies */
        CHECK_EQ(notify(&b->changed, 1), 1);
        t_kill(team.workers[0]);
        UNTIL(SEEN(b->n_done) == 1);
        CHECK_EQ(notify(&b->changed, 3), 1);
        CHECK_EQ(t_join_one(team.workers[1]), 0);
        CHECK_EQ(t_join_one(team.workers[2]), 0);
        CHECK_EQ(b->n_done, 2);
        t_delete(both[k], b);
    }
}

/* ... as soon as someone has noticed the death. */
static int64_t pass_notification_on(void)
{
    struct box *b = t_new(&t_mixed, sizeof *b);
    struct t_team team;
    start_waiters(&team, &t_mixed, b, 3);
    t_stop(team.workers[0]);
    CHECK_EQ(notify(&b->changed, 1), 1);
    t_let_naps_grow();
    t_kill(team.workers[0]);
    int64_t start = plait_now();
    UNTIL(SEEN(b->n_done) == 1);
    int64_t took = plait_now() - start;
    CHECK_EQ(notify(&b->changed, 3), 1);
    CHECK_EQ(t_join_one(team.workers[1]), 0);
    CHECK_EQ(t_join_one(team.workers[2]), 0);
    t_delete(&t_mixed, b);
    return took;
}

static void it_goes_there_at_once(void **state)
{
    (void)state;
    t_check_at_once(pass_notification_on);
}

/* It waits when nobody collects the dead: the others find out by themselves. */
static void it_does_when_nobody_joins_the_receiver(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    struct t_team team;
    start_waiters(&team, &t_processes, b, 2);
    t_stop(team.workers[0]);
    CHECK_EQ(notify(&b->changed, 1), 1);
    CHECK_RC(plait_kill(team.workers[0]), 0);
    UNTIL(SEEN(b->n_done) == 1);
    CHECK_EQ(t_join_one(team.workers[0]), -SIGKILL);
    CHECK_EQ(t_join_one(team.workers[1]), 0);
    t_delete(&t_processes, b);
}

static void a_stopped_waiter_keeps_its_notification(void **state)
{
    (void)state;
    struct box *b = t_new(&t_mixed, sizeof *b);
    struct t_team team;
    start_waiters(&team, &t_mixed, b, 2);
    t_stop(team.workers[0]);
    CHECK_EQ(notify(&b->changed, 1), 1);
    t_sleep(plait_ms(60));
    CHECK_EQ(SEEN(b->n_done), 0);
    t_continue(team.workers[0]);
    CHECK_EQ(t_join_one(team.workers[0]), 0);
    CHECK_EQ(notify(&b->changed, 1), 1);
    CHECK_EQ(t_join_one(team.workers[1]), 0);
    t_delete(&t_mixed, b);
}

/* --- fork in user code --- */

static struct box copied; /* private: each process has its own */

static int notify_copied(void *unused)
{
    (void)unused;
    CHECK_EQ(notify(&copied.changed, INT_MAX), 0); /* its waiters are the parent's */
    struct t_team team;
    copied.next = copied.n_done = 0;
    start_waiters(&team, &t_private_threads, &copied, 2);
    CHECK_EQ(notify(&copied.changed, INT_MAX), 2);
    t_join(&team);
    CHECK_RC(wait_for(&copied.changed, plait_ms(2)), PLAIT_ETIMEDOUT);
    return 0;
}

static void a_private_condition_copied_by_fork_does_not_touch_the_parents_waiters(void **state)
{
    (void)state;
    struct t_team team;
    memset(&copied, 0, sizeof copied);
    start_waiters(&team, &t_private_threads, &copied, 2);
    CHECK_EQ(t_in_fork(notify_copied, NULL), 0);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, notify_copied, NULL)), 0);
    CHECK_EQ(SEEN(copied.n_done), 0);
    UNTIL_WAITS(team.workers[0], PL_WAIT_CONDITION);
    CHECK_EQ(notify(&copied.changed, INT_MAX), 2);
    t_join(&team);
}

static int wait_in_copy(void *unused)
{
    (void)unused;
    CHECK_RC(plait_lock_acquire(plait_condition_lock(&copied.changed), PLAIT_FOREVER),
             PLAIT_OWNER_DIED);
    CHECK_RC(plait_condition_wait(&copied.changed, plait_ms(2)), PLAIT_ETIMEDOUT);
    CHECK_EQ(plait_condition_notify_all(&copied.changed), 0);
    give(&copied.changed);
    return 0;
}

static void a_private_condition_copied_while_locked_is_usable_in_the_child(void **state)
{
    (void)state;
    struct t_team team;
    memset(&copied, 0, sizeof copied);
    start_waiters(&team, &t_private_threads, &copied, 1);
    take(&copied.changed);
    CHECK_EQ(t_in_fork(wait_in_copy, NULL), 0);
    CHECK_EQ(plait_condition_notify_all(&copied.changed), 1);
    give(&copied.changed);
    t_join(&team);
}

static int notify_from_child(void *condition)
{
    return notify(condition, INT_MAX);
}

static void a_forked_child_notifies_its_parents_waiters(void **state)
{
    (void)state;
    struct box *b = t_new(&t_mixed, sizeof *b);
    struct t_team team;
    start_waiters(&team, &t_mixed, b, 2);
    CHECK_EQ(t_in_fork(notify_from_child, &b->changed), 2);
    t_join(&team);
    t_delete(&t_mixed, b);
}

static int wait_as_child(void *arg)
{
    struct box *b = arg;
    return wait_and_sign(b);
}

static void a_forked_child_waits_among_the_others(void **state)
{
    (void)state;
    struct box *b = t_new(&t_mixed, sizeof *b);
    struct t_team team;
    start_waiters(&team, &t_mixed, b, 2);
    pid_t child = t_fork(wait_as_child, b);
    for (bool in = false; !in;) { /* until it is in the queue */
        take(&b->changed);
        in = b->next == 3;
        give(&b->changed);
        t_sleep(plait_ms(1));
    }
    CHECK_EQ(notify(&b->changed, INT_MAX), 3);
    CHECK_EQ(t_reap(child), 0);
    t_join(&team);
    t_delete(&t_mixed, b);
}

/* --- memory that is shared, but not the arena's --- */

static struct box *map_shared(void)
{
    void *memory =
        mmap(NULL, sizeof(struct box), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    return memory;
}

static int hold_until_told(void *arg)
{
    struct box *b = arg;
    take(&b->changed);
    TELL(b->go, 1);
    UNTIL(SEEN(b->stop));
    give(&b->changed);
    return 0;
}

static int wait_and_keep(void *arg)
{
    struct box *b = arg;
    take(&b->changed);
    b->rc = plait_condition_wait(&b->changed, PLAIT_FOREVER);
    return 0;
}

static void a_wait_that_cannot_take_its_lock_back_says_so(void **state)
{
    (void)state;
    struct box *b = map_shared();
    plait_worker w = t_start_one(PLAIT_THREAD, wait_and_keep, b);
    UNTIL_WAITS(w, PL_WAIT_CONDITION);
    plait_worker holder = t_start_one(PLAIT_PROCESS, hold_until_told, b);
    UNTIL(SEEN(b->go));
    CHECK_RC(plait_cancel(w), 0); /* it wants the lock back, which another process has */
    CHECK_EQ(t_join_one(w), 0);
    CHECK_RC(b->rc, PLAIT_EPRIVATE);
    CHECK(plait_same(plait_lock_holder(plait_condition_lock(&b->changed)), holder));
    TELL(b->stop, 1);
    CHECK_EQ(t_join_one(holder), 0);
    munmap(b, sizeof *b);
}

static int use_from_elsewhere(void *arg)
{
    struct box *b = arg;
    take(&b->changed);
    CHECK_RC(plait_condition_notify(&b->changed, 1), PLAIT_EPRIVATE);
    CHECK_RC(plait_condition_wait(&b->changed, PLAIT_FOREVER), PLAIT_EPRIVATE);
    give(&b->changed);
    return 0;
}

static void a_condition_in_a_mapping_of_your_own_is_refused_to_a_second_process(void **state)
{
    (void)state;
    struct box *b = map_shared();
    plait_worker w = start_waiter(PLAIT_THREAD, &b->waiters[0], &b->changed, PLAIT_FOREVER);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, use_from_elsewhere, b)), 0);
    CHECK_EQ(notify(&b->changed, 1), 1);
    CHECK_EQ(t_join_one(w), 0);
    CHECK_RC(b->waiters[0].rc, 0);
    munmap(b, sizeof *b);
}

#ifdef PL_STEP_HOOKS
/* --- every interleaving of a wait with a notification and a request to stop --- */

static int woken_here;

/* Possible while the lock is free. */
static bool notify_here(void *condition)
{
    if (plait_lock_acquire(plait_condition_lock(condition), PLAIT_NOWAIT) < 0)
        return false;
    woken_here = plait_condition_notify(condition, 1);
    give(condition);
    return true;
}

static int meet(void *condition, long i, long k)
{
    struct t_meddling m = {.deeds = {notify_here, t_cancel_me}, .at = {i, k}};
    for (int try = 0; try < T_TRIES; try++) {
        woken_here = 0;
        int rc = t_meddle(&m, wait_for, condition, plait_ms(T_SHORT_MS));
        t_check_canceled_once(&m, rc);
        CHECK_EQ(rc == 0,
                 woken_here); /* it counts, and what did not wake it did not end the wait */
        CHECK_EQ(notify(condition, 1), 0);
        if ((!woken_here && !m.done[1]) || m.took < plait_ms(T_TOO_LONG_MS))
            return t_came_late(&m);
    }
    t_die(__FILE__, __LINE__, "deeds at steps %ld and %ld, and it slept on", i, k);
}

static void at_each_step_what_meets_a_wait_is_heard(void **state)
{
    (void)state;
    const struct t_setting *both[] = {&t_private_threads, &t_threads};
    for (int n = 0; n < 2; n++) {
        plait_condition *condition = t_new(both[n], sizeof *condition);
        t_each_pair(meet, condition);
        t_delete(both[n], condition);
    }
}
#endif

static int nothing_is_left(void **state)
{
    (void)state;
    return t_has_children() ? -1 : 0;
}

int main(int argc, char **argv)
{
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zeroed_memory_is_a_condition_with_a_lock_of_its_own),
        cmocka_unit_test(init_makes_any_bytes_a_condition),
        cmocka_unit_test(init_binds_it_to_a_lock),
        cmocka_unit_test(an_arena_condition_with_a_private_lock_is_refused),
        cmocka_unit_test(null_is_refused),
        cmocka_unit_test(without_the_lock_nothing_happens),
        cmocka_unit_test(a_thread_that_plait_does_not_know_holds_nothing),
        cmocka_unit_test(wait_lets_the_lock_go_and_takes_it_back),
        cmocka_unit_test(a_notification_with_nobody_waiting_is_lost),
        cmocka_unit_test(notify_n_wakes_n_in_order_of_arrival),
        cmocka_unit_test(each_notification_is_for_the_first_in_line),
        cmocka_unit_test(notify_of_less_than_1_wakes_nobody),
        cmocka_unit_test(notify_all_wakes_all),
        cmocka_unit_test(notify_wakes_them_at_once),
        cmocka_unit_test(who_comes_later_does_not_take_an_earlier_ones_notification),
        cmocka_unit_test(two_conditions_on_one_lock_wake_their_own_waiters),
        cmocka_unit_test(bad_timeouts_are_refused_and_the_lock_stays_held),
        cmocka_unit_test(wait_for_refuses_bad_timeouts_though_the_predicate_be_true),
        cmocka_unit_test(a_timeout_is_over_in_time),
        cmocka_unit_test(the_longest_timeout_is_accepted),
        cmocka_unit_test(a_timed_out_waiter_leaves_the_line_to_others),
        cmocka_unit_test(after_a_timeout_the_lock_is_taken_back_first),
        cmocka_unit_test(a_notification_that_meets_a_timeout_counts),
        cmocka_unit_test(errno_is_left_alone),
        cmocka_unit_test(cancellation_ends_a_wait_with_the_lock_held),
        cmocka_unit_test(a_canceled_waiter_leaves_the_line_to_others),
        cmocka_unit_test(a_notification_that_meets_a_cancellation_counts_and_both_are_heard),
        cmocka_unit_test(taking_the_lock_back_cannot_be_canceled),
        cmocka_unit_test(wait_for_a_true_predicate_does_not_wait),
        cmocka_unit_test(wait_for_with_no_time_asks_twice),
        cmocka_unit_test(wait_for_without_the_lock_does_not_ask),
        cmocka_unit_test(wait_for_asks_after_each_notification),
        cmocka_unit_test(wait_for_has_one_time_for_the_whole),
        cmocka_unit_test(wait_for_believes_the_predicate_when_time_is_over),
        cmocka_unit_test(cancellation_ends_wait_for),
        cmocka_unit_test(a_request_to_stop_that_meets_a_true_predicate_is_not_lost),
        cmocka_unit_test(a_wait_whose_lock_comes_from_the_dead_says_so),
        cmocka_unit_test(wait_for_whose_lock_comes_from_the_dead_says_so),
        cmocka_unit_test(a_wait_ends_when_the_locks_holder_dies_without_a_word),
        cmocka_unit_test(so_it_does_when_the_holder_is_killed),
        cmocka_unit_test(a_killed_waiter_does_not_count),
        cmocka_unit_test(a_notification_is_not_spent_on_the_dead),
        cmocka_unit_test(a_notification_whose_receiver_is_killed_goes_to_another),
        cmocka_unit_test(it_goes_there_at_once),
        cmocka_unit_test(it_does_when_nobody_joins_the_receiver),
        cmocka_unit_test(a_stopped_waiter_keeps_its_notification),
        cmocka_unit_test(a_private_condition_copied_by_fork_does_not_touch_the_parents_waiters),
        cmocka_unit_test(a_private_condition_copied_while_locked_is_usable_in_the_child),
        cmocka_unit_test(a_forked_child_notifies_its_parents_waiters),
        cmocka_unit_test(a_forked_child_waits_among_the_others),
        cmocka_unit_test(a_wait_that_cannot_take_its_lock_back_says_so),
        cmocka_unit_test(a_condition_in_a_mapping_of_your_own_is_refused_to_a_second_process),
#ifdef PL_STEP_HOOKS
        cmocka_unit_test(at_each_step_what_meets_a_wait_is_heard),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
