/* Cancel scopes: what ends a wait inside, what does not, who wins, and what is left after. */
#include "harness.h"
#include "park/park.h"
#include "park/scope.h"

#include <errno.h>
#include <unistd.h>

struct world {
    plait_event never, go;
    plait_lock lock;
    plait_condition condition;
    plait_semaphore semaphore;
    plait_scope *scope;
    int rc, second, ended, expired, other, cancelling;
    int64_t timeout;
    int ready;
};

static int wait_for_ever(struct world *w)
{
    return plait_event_wait(&w->never, PLAIT_FOREVER);
}

/* --- the deadline --- */

static int time_out(void *arg)
{
    struct world *w = arg;
    int64_t start = plait_now();
    bool other = false;
    PLAIT_TIMEOUT(plait_ms(20)) {
        CHECK_RC(wait_for_ever(w), PLAIT_ECANCELED);
        CHECK(plait_now() - start >= plait_ms(20));
        start = plait_now();
        CHECK_RC(plait_event_wait(&w->never, PLAIT_FOREVER), PLAIT_ECANCELED); /* at once */
        CHECK_RC(plait_semaphore_acquire(&w->semaphore, plait_seconds(30)), PLAIT_ECANCELED);
        CHECK_RC(plait_checkpoint(), PLAIT_ECANCELED);
    } else {
        other = true;
        CHECK_RC(plait_event_wait(&w->never, plait_ms(1)), PLAIT_ETIMEDOUT); /* it is over */
    }
    CHECK(other);
    CHECK_RC(plait_checkpoint(), 0);
    CHECK_EQ(plait_cancelling(), 0);
    return 0;
}

/* The first that plait hears of a thread. */
static int wait_unknown(void *arg)
{
    struct world *w = arg;
    PLAIT_TIMEOUT(plait_ms(2))
        CHECK_RC(wait_for_ever(w), PLAIT_ECANCELED);
    else
        return 4;
    return 0;
}

static void a_thread_may_begin_with_a_scope(void **state)
{
    (void)state;
    struct world w = {0};
    CHECK_EQ(t_in_pthread(wait_unknown, &w), 4);
    CHECK_EQ(t_in_fork(wait_unknown, &w), 4);
}

static void the_deadline_cancels_every_wait_in_the_block(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct world *w = t_new(s, sizeof *w);
        struct t_team team;
        t_start(&team, s, 3, time_out, w);
        t_join(&team);
        CHECK_EQ(time_out(w), 0);
        t_delete(s, w);
    }
}

static void what_need_not_wait_works_in_a_block_that_is_over(void **state)
{
    (void)state;
    struct world w = {0};
    bool other = false;
    plait_event_set(&w.go);
    plait_lock_acquire(&w.lock, PLAIT_FOREVER);
    PLAIT_TIMEOUT(PLAIT_NOWAIT) {
        CHECK_RC(plait_event_wait(&w.go, PLAIT_FOREVER), 0);
        CHECK_RC(plait_event_wait(&w.never, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
        CHECK_RC(plait_lock_acquire(&w.lock, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
        CHECK_RC(plait_lock_release(&w.lock), 0);
        CHECK_RC(plait_lock_acquire(&w.lock, PLAIT_FOREVER), 0);
    } else {
        other = true;
    }
    CHECK(!other); /* it has never waited: a body that never awaits never times out */
}

static void a_calls_own_timeout_stays_its_own(void **state)
{
    (void)state;
    struct world w = {0};
    plait_scope s;
    CHECK_RC(plait_scope_begin(&s, plait_seconds(30)), 0);
    CHECK_RC(plait_event_wait(&w.never, plait_ms(5)), PLAIT_ETIMEDOUT);
    CHECK_RC(plait_scope_end(&s), 0);
    CHECK_EQ(plait_scope_expired(&s), 0);
}

/* Each kind of wait that computes its sleep by itself. */
static int sit(void *arg)
{
    struct world *w = arg;
    return plait_event_wait(&w->never, PLAIT_FOREVER);
}

static int hold_pi(void *arg)
{
    plait_pi_lock *lock = arg;
    CHECK_RC(plait_pi_lock_acquire(lock, PLAIT_FOREVER), 0);
    int rc = 0;
    while (rc != PLAIT_ECANCELED)
        rc = plait_event_wait(&(plait_event){0}, PLAIT_FOREVER);
    return plait_pi_lock_release(lock);
}

static void every_kind_of_wait_obeys(void **state)
{
    (void)state;
    struct world *w = t_new(&t_threads, sizeof *w);
    plait_worker held[2];
    int n = 0;
    FOR_EACH_KIND(kind)
    {
        held[n++] = t_start_one(kind, sit, w);
        PLAIT_TIMEOUT(plait_ms(5))
            CHECK_RC(plait_join(held[n - 1], NULL, PLAIT_FOREVER), PLAIT_ECANCELED);
    }
    plait_pi_lock *pi = t_new(&t_threads, sizeof *pi);
    plait_worker holder = t_start_one(PLAIT_THREAD, hold_pi, pi);
    UNTIL_WAITS(holder, PL_WAIT_EVENT);
    int64_t start = plait_now();
    PLAIT_TIMEOUT(plait_ms(5))
        CHECK_RC(plait_pi_lock_acquire(pi, PLAIT_FOREVER), PLAIT_ECANCELED);
    CHECK(plait_now() - start >= plait_ms(5));
    CHECK_RC(plait_cancel(holder), 0);
    CHECK_EQ(t_join_one(holder), 0);

    CHECK_RC(plait_condition_acquire(&w->condition, PLAIT_FOREVER), 0);
    PLAIT_TIMEOUT(plait_ms(5))
        CHECK_RC(plait_condition_wait(&w->condition, PLAIT_FOREVER), PLAIT_ECANCELED);
    CHECK_RC(plait_condition_release(&w->condition), 0); /* it has its lock back */

    plait_lock other = {0}, *both[2] = {&w->lock, &other};
    plait_barrier barrier = {0};
    plait_barrier_init(&barrier, 2, NULL);
    PLAIT_TIMEOUT(plait_ms(5))
        CHECK_RC(plait_barrier_wait(&barrier, PLAIT_FOREVER), PLAIT_ECANCELED);
    CHECK_RC(plait_lock_acquire(&other, PLAIT_FOREVER), 0);
    PLAIT_TIMEOUT(plait_ms(5))
        CHECK_RC(plait_acquire_all(both, 2, plait_seconds(30)), PLAIT_ECANCELED);
    CHECK_EQ(plait_lock_locked(&w->lock), 0);
    for (int i = 0; i < n; i++) {
        CHECK_RC(plait_cancel(held[i]), 0);
        CHECK_EQ(t_join_one(held[i]), PLAIT_ECANCELED);
    }
    t_delete(&t_threads, pi);
    t_delete(&t_threads, w);
}

/* --- ways out --- */

static int leave_by_return(struct world *w)
{
    PLAIT_TIMEOUT(plait_ms(1)) {
        if (wait_for_ever(w) < 0)
            return 5;
    } else {
        return 6;
    }
    return 7;
}

static void every_way_out_ends_the_scope(void **state)
{
    (void)state;
    struct world w = {0};
    int passes = 0, others = 0;
    CHECK_EQ(leave_by_return(&w), 5);
    CHECK_RC(plait_event_wait(&w.never, plait_ms(1)), PLAIT_ETIMEDOUT);
    for (int i = 0; i < 3; i++) {
        PLAIT_TIMEOUT(plait_ms(1)) {
            passes++;
            if (wait_for_ever(&w) < 0 && i != 1)
                break;
            continue;
        } else
            others++;
    }
    CHECK_EQ(passes, 3);
    CHECK_EQ(others, 3);
    PLAIT_TIMEOUT(plait_seconds(9))
        goto out;
    CHECK(false);
out:
    CHECK_EQ(plait_scope_effective_deadline(), INT64_MAX);
}

static void a_time_that_is_none_skips_the_block(void **state)
{
    (void)state;
    int others = 0;
    PLAIT_TIMEOUT(-7)
        CHECK(false);
    else
        others++;
    PLAIT_TIMEOUT(INT64_MAX)
        CHECK(false);
    else
        others++;
    PLAIT_TIMEOUT_AT(1) /* long past: an instant may be */
        CHECK_RC(plait_checkpoint(), PLAIT_ECANCELED);
    else
        others++;
    CHECK_EQ(others, 3);
}

/* --- nesting --- */

static void the_outer_one_wins(void **state)
{
    (void)state;
    struct world w = {0};
    plait_scope outer, inner;
    CHECK_RC(plait_scope_begin(&outer, plait_ms(5)), 0);
    CHECK_RC(plait_scope_begin(&inner, plait_seconds(30)), 0);
    CHECK(plait_scope_effective_deadline() == plait_scope_deadline(&outer));
    CHECK_RC(wait_for_ever(&w), PLAIT_ECANCELED);
    CHECK_RC(plait_scope_end(&inner), 0);
    CHECK_EQ(plait_scope_expired(&inner), 0);
    CHECK_RC(wait_for_ever(&w), PLAIT_ECANCELED);
    CHECK_RC(plait_scope_end(&outer), 1);
    CHECK_EQ(plait_scope_expired(&outer), 1);

    CHECK_RC(plait_scope_begin(&outer, plait_ms(20)), 0);
    CHECK_RC(plait_scope_begin(&inner, plait_ms(1)), 0);
    CHECK_RC(wait_for_ever(&w), PLAIT_ECANCELED);
    UNTIL(plait_now() > plait_scope_deadline(&outer));
    CHECK_RC(wait_for_ever(&w), PLAIT_ECANCELED); /* of the outer one by now */
    CHECK_RC(plait_scope_end(&inner), 0);         /* expired, but what it says is not all */
    CHECK_EQ(plait_scope_expired(&inner), 1);
    CHECK_RC(plait_scope_end(&outer), 1);
}

static void the_inner_one_leaves_the_outer_alone(void **state)
{
    (void)state;
    struct world w = {0};
    plait_scope outer, inner;
    CHECK_RC(plait_scope_begin(&outer, plait_seconds(30)), 0);
    CHECK_RC(plait_scope_begin(&inner, plait_ms(2)), 0);
    CHECK_RC(wait_for_ever(&w), PLAIT_ECANCELED);
    CHECK_RC(plait_scope_end(&inner), 1);
    CHECK_RC(plait_event_wait(&w.never, plait_ms(1)), PLAIT_ETIMEDOUT);
    CHECK_RC(plait_scope_end(&outer), 0);
}

static void a_deadline_can_be_moved_until_it_has_come(void **state)
{
    (void)state;
    struct world w = {0};
    plait_scope s;
    CHECK_RC(plait_scope_begin(&s, plait_ms(1)), 0);
    CHECK_RC(plait_scope_reschedule(&s, PLAIT_FOREVER), 0);
    CHECK(plait_scope_deadline(&s) == INT64_MAX);
    CHECK_RC(plait_event_wait(&w.never, plait_ms(5)), PLAIT_ETIMEDOUT);
    CHECK_RC(plait_scope_reschedule(&s, plait_ms(1)), 0);
    CHECK_RC(wait_for_ever(&w), PLAIT_ECANCELED);
    CHECK_RC(plait_scope_reschedule(&s, PLAIT_FOREVER), PLAIT_ETIMEDOUT);
    CHECK_EQ(plait_scope_expired(&s), 1);
    CHECK_RC(plait_scope_end(&s), 1);
    CHECK_RC(plait_scope_reschedule(&s, plait_ms(1)), PLAIT_EPERM);
}

/* --- requests to stop --- */

static int be_asked_in_a_block(void *arg)
{
    struct world *w = arg;
    plait_scope s;
    CHECK_RC(plait_scope_begin(&s, w->timeout), 0);
    TELL(w->ready, 1);
    w->rc = wait_for_ever(w);
    w->second =
        plait_event_wait(&w->never, w->timeout > plait_seconds(1) ? plait_ms(1) : PLAIT_FOREVER);
    w->ended = plait_scope_end(&s);
    w->expired = plait_scope_expired(&s);
    w->cancelling = plait_cancelling();
    w->other = plait_checkpoint();
    return 0;
}

static void a_request_from_outside_gets_through(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct world *w = t_new(&t_threads, sizeof *w);
        w->timeout = plait_seconds(30);
        plait_worker worker = t_start_one(s->kinds[0], be_asked_in_a_block, w);
        UNTIL_WAITS(worker, PL_WAIT_EVENT);
        CHECK_RC(plait_cancel(worker), 0);
        CHECK_EQ(t_join_one(worker), 0);
        CHECK_RC(w->rc, PLAIT_ECANCELED);
        CHECK_RC(w->second, PLAIT_ETIMEDOUT); /* a request is said once */
        CHECK_EQ(w->ended, 0);
        CHECK_EQ(w->expired, 0);
        CHECK_EQ(w->cancelling, 1);
        CHECK_RC(w->other, 0);
        t_delete(&t_threads, w);
    }
}

static void a_request_is_not_eaten_by_a_scope_that_expires_too(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w = t_new(&t_threads, sizeof *w);
        w->timeout = plait_ms(200);
        plait_worker worker = t_start_one(kind, be_asked_in_a_block, w);
        UNTIL(SEEN(w->ready));
        CHECK_RC(plait_cancel(worker), 0);
        CHECK_EQ(t_join_one(worker), 0);
        CHECK_RC(w->rc, PLAIT_ECANCELED);
        CHECK_RC(w->second, PLAIT_ECANCELED); /* of the scope */
        CHECK_EQ(w->expired, 1);
        CHECK_EQ(w->ended, 0); /* but it is not for it to say that this is all */
        CHECK_EQ(w->cancelling, 1);
        t_delete(&t_threads, w);
    }
}

static int ask_oneself(void *arg)
{
    struct world *w = arg;
    plait_scope s;
    CHECK_RC(plait_scope_begin(&s, PLAIT_NOWAIT), 0);
    CHECK_RC(wait_for_ever(w), PLAIT_ECANCELED);
    CHECK_RC(plait_cancel(plait_self()), 0);
    CHECK_RC(plait_scope_end(&s), 0); /* it came after, and is not delivered yet */
    CHECK_RC(plait_checkpoint(), PLAIT_ECANCELED);
    CHECK_EQ(plait_uncancel(), 0);
    CHECK_RC(plait_scope_begin(&s, PLAIT_NOWAIT), 0);
    CHECK_RC(wait_for_ever(w), PLAIT_ECANCELED);
    CHECK_RC(plait_cancel(plait_self()), 0);
    CHECK_EQ(plait_uncancel(), 0); /* the cause is dealt with */
    CHECK_RC(plait_scope_end(&s), 1);
    CHECK_RC(plait_checkpoint(), 0);
    CHECK_RC(plait_cancel(plait_self()), 0); /* it came before, and is delivered inside */
    CHECK_RC(plait_scope_begin(&s, PLAIT_NOWAIT), 0);
    CHECK_RC(plait_checkpoint(), PLAIT_ECANCELED);
    CHECK_RC(plait_checkpoint(), PLAIT_ECANCELED);
    CHECK_RC(plait_scope_end(&s), 0);
    CHECK_EQ(plait_cancelling(), 1);
    return 0;
}

static void requests_are_counted_not_mixed_up(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w = t_new(&t_threads, sizeof *w);
        CHECK_EQ(t_join_one(t_start_one(kind, ask_oneself, w)), 0);
        t_delete(&t_threads, w);
    }
}

/* --- shields --- */

static int wait_shielded(void *arg)
{
    struct world *w = arg;
    PLAIT_TIMEOUT(plait_ms(1)) {
        PLAIT_SHIELD
        {
            CHECK_RC(plait_event_wait(&w->never, plait_ms(5)), PLAIT_ETIMEDOUT);
            TELL(w->ready, 1);
            w->rc = plait_event_wait(&w->go, PLAIT_FOREVER);
            w->second = plait_checkpoint();
            PLAIT_TIMEOUT(plait_ms(1))
                CHECK_RC(wait_for_ever(w), PLAIT_ECANCELED);
            else
                w->expired++;
        }
        w->other = wait_for_ever(w);
        w->cancelling = plait_cancelling();
    }
    return 0;
}

static void nothing_from_outside_reaches_into_a_shield(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w = t_new(&t_threads, sizeof *w);
        plait_worker worker = t_start_one(kind, wait_shielded, w);
        UNTIL(SEEN(w->ready));
        CHECK_RC(plait_cancel(worker), 0);
        UNTIL_WAITS(worker, PL_WAIT_EVENT);
        t_sleep(plait_ms(30));
        CHECK_EQ(plait_is_alive(worker), 1);
        plait_event_set(&w->go);
        CHECK_EQ(t_join_one(worker), 0);
        CHECK_RC(w->rc, 0);
        CHECK_RC(w->second, 0);
        CHECK_EQ(w->expired, 1);
        CHECK_RC(w->other, PLAIT_ECANCELED); /* what came meanwhile */
        CHECK_EQ(w->cancelling, 1);
        t_delete(&t_threads, w);
    }
}

/* --- cancelling a scope --- */

static void a_scope_can_be_cancelled_from_inside(void **state)
{
    (void)state;
    struct world w = {0};
    plait_scope s;
    CHECK_RC(plait_scope_begin(&s, PLAIT_FOREVER), 0);
    CHECK_RC(plait_checkpoint(), 0);
    CHECK_RC(plait_scope_cancel(&s), 0);
    CHECK_RC(plait_scope_cancel(&s), 0);
    CHECK_RC(wait_for_ever(&w), PLAIT_ECANCELED);
    CHECK_RC(plait_scope_end(&s), 1);
    CHECK_EQ(plait_scope_expired(&s), 0); /* that is for deadlines */
    CHECK_RC(plait_scope_cancel(&s), PLAIT_EPERM);
}

static int wait_in_open_scope(void *arg)
{
    struct world *w = arg;
    plait_scope s, inner;
    CHECK_RC(plait_scope_begin(&s, PLAIT_FOREVER), 0);
    CHECK_RC(plait_scope_begin(&inner, PLAIT_FOREVER), 0);
    __atomic_store_n(&w->scope, &s, __ATOMIC_SEQ_CST);
    w->rc = wait_for_ever(w);
    UNTIL(SEEN(w->ready)); /* the other is done with the scope */
    CHECK_RC(plait_scope_end(&inner), 0);
    CHECK_RC(plait_scope_end(&s), 1);
    return 0;
}

static int64_t cancel_scope_of_another(void)
{
    struct world w = {0};
    plait_worker worker = t_start_one(PLAIT_THREAD, wait_in_open_scope, &w);
    UNTIL(__atomic_load_n(&w.scope, __ATOMIC_SEQ_CST));
    UNTIL_WAITS(worker, PL_WAIT_EVENT);
    t_let_naps_grow();
    int64_t start = plait_now();
    CHECK_RC(plait_scope_cancel(w.scope), 0);
    TELL(w.ready, 1);
    CHECK_EQ(t_join_one(worker), 0);
    CHECK_RC(w.rc, PLAIT_ECANCELED);
    return plait_now() - start;
}

static void a_thread_can_cancel_anothers_scope(void **state)
{
    (void)state;
    t_check_at_once(cancel_scope_of_another);
    for (int i = 0; i < 300; i++) { /* at any moment of the other's call */
        struct world w = {0};
        uint64_t seed = (uint64_t)i + 1;
        plait_worker worker = t_start_one(PLAIT_THREAD, wait_in_open_scope, &w);
        UNTIL(__atomic_load_n(&w.scope, __ATOMIC_SEQ_CST));
        t_dither(&seed, 50 * 1000);
        CHECK_RC(plait_scope_cancel(w.scope), 0);
        TELL(w.ready, 1);
        CHECK_EQ(t_join_one(worker), 0);
    }
}

/* --- misuse, forks --- */

static int end_it(void *scope)
{
    return plait_scope_end(scope);
}

static void misuse_is_told(void **state)
{
    (void)state;
    plait_scope s, t;
    errno = EXDEV;
    CHECK_RC(plait_scope_begin(NULL, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_scope_begin(&s, -2), PLAIT_EINVAL);
    CHECK_RC(plait_scope_begin(&s, INT64_MAX), PLAIT_EOVERFLOW);
    CHECK_RC(plait_scope_begin_at(&s, -1), PLAIT_EINVAL);
    CHECK_RC(plait_scope_begin_shield(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_scope_end(NULL), PLAIT_EPERM);
    CHECK_RC(plait_scope_end(&s), PLAIT_EPERM);
    CHECK_RC(plait_scope_cancel(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_scope_begin(&s, PLAIT_FOREVER), 0);
    CHECK_RC(plait_scope_begin(&s, PLAIT_FOREVER), PLAIT_EBUSY);
    CHECK_RC(plait_scope_begin_shield(&s), PLAIT_EBUSY);
    CHECK_RC(t_join_one(t_start_one(PLAIT_THREAD, end_it, &s)), PLAIT_EPERM);
    CHECK_RC(plait_scope_begin(&t, PLAIT_FOREVER), 0);
    CHECK_RC(plait_scope_end(&s), 0); /* in either order */
    CHECK_RC(plait_scope_end(&t), 0);
    CHECK_RC(plait_scope_end(&t), PLAIT_EPERM);
    CHECK_EQ(plait_scope_expired(NULL), 0);
    CHECK(plait_scope_deadline(NULL) == INT64_MAX);
    CHECK_EQ(errno, EXDEV);
}

static int child_waits(void *scope)
{
    plait_event never = {0};
    CHECK_RC(plait_event_wait(&never, plait_ms(1)), PLAIT_ETIMEDOUT);
    CHECK_RC(plait_scope_end(scope), PLAIT_EPERM);
    return 3;
}

static void a_forked_child_is_in_no_scope(void **state)
{
    (void)state;
    plait_scope s;
    CHECK_RC(plait_scope_begin(&s, PLAIT_NOWAIT), 0);
    CHECK_EQ(t_in_fork(child_waits, &s), 3);
    CHECK_RC(plait_scope_end(&s), 0);
}

static void with_keeps_what_cut_it_short(void **state)
{
    (void)state;
    struct world w = {0};
    bool skipped = false, other = false;
    PLAIT_TIMEOUT(plait_ms(1)) {
        PLAIT_WITH(&w.semaphore)
            CHECK(false);
        else skipped = true;
    } else
        other = true;
    CHECK(skipped && other);
}

#ifdef PL_STEP_HOOKS
/* --- every interleaving of a wait in a scope with what it waits for and the scope's cancelling --- */

static plait_scope *meddled_with;

static bool set_here(void *event)
{
    return plait_event_set(event) == 0;
}

/* As another thread would. */
static bool cancel_scope_here(void *unused)
{
    (void)unused;
    __atomic_fetch_or(&meddled_with->flags_, PL_SCOPE_CANCELLED, __ATOMIC_SEQ_CST);
    if (meddled_with->slot_)
        pl_slot_stir(meddled_with->slot_);
    return true;
}

static int wait_for(void *event, int64_t timeout)
{
    return plait_event_wait(event, timeout);
}

static int meet(void *arg, long i, long k)
{
    plait_event *event = arg;
    struct t_meddling m = {.deeds = {set_here, cancel_scope_here}, .at = {i, k}};
    for (int try = 0; try < T_TRIES; try++) {
        plait_scope s;
        CHECK_RC(plait_event_init(event), 0);
        CHECK_RC(plait_scope_begin(&s, PLAIT_FOREVER), 0);
        meddled_with = &s;
        int rc = t_meddle(&m, wait_for, event, plait_ms(T_SHORT_MS));
        CHECK(rc != 0 || m.done[0]);
        CHECK(rc != PLAIT_ECANCELED || m.done[1]);
        CHECK_EQ(plait_scope_end(&s), rc == PLAIT_ECANCELED); /* it has cut short, or it has not */
        CHECK_RC(plait_checkpoint(), 0);
        if (!(m.done[0] || m.done[1]) || m.took <= plait_ms(T_TOO_LONG_MS))
            return t_came_late(&m);
    }
    t_die(__FILE__, __LINE__, "deeds at steps %ld and %ld, and it slept on", i, k);
}

static void at_each_step_a_scope_is_heard(void **state)
{
    (void)state;
    const struct t_setting *both[] = {&t_private_threads, &t_threads};
    for (int n = 0; n < 2; n++) {
        plait_event *event = t_new(both[n], sizeof *event);
        t_each_pair(meet, event);
        t_delete(both[n], event);
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
        cmocka_unit_test(a_thread_may_begin_with_a_scope),
        cmocka_unit_test(the_deadline_cancels_every_wait_in_the_block),
        cmocka_unit_test(what_need_not_wait_works_in_a_block_that_is_over),
        cmocka_unit_test(a_calls_own_timeout_stays_its_own),
        cmocka_unit_test(every_kind_of_wait_obeys),
        cmocka_unit_test(every_way_out_ends_the_scope),
        cmocka_unit_test(a_time_that_is_none_skips_the_block),
        cmocka_unit_test(the_outer_one_wins),
        cmocka_unit_test(the_inner_one_leaves_the_outer_alone),
        cmocka_unit_test(a_deadline_can_be_moved_until_it_has_come),
        cmocka_unit_test(a_request_from_outside_gets_through),
        cmocka_unit_test(a_request_is_not_eaten_by_a_scope_that_expires_too),
        cmocka_unit_test(requests_are_counted_not_mixed_up),
        cmocka_unit_test(nothing_from_outside_reaches_into_a_shield),
        cmocka_unit_test(a_scope_can_be_cancelled_from_inside),
        cmocka_unit_test(a_thread_can_cancel_anothers_scope),
        cmocka_unit_test(misuse_is_told),
        cmocka_unit_test(a_forked_child_is_in_no_scope),
        cmocka_unit_test(with_keeps_what_cut_it_short),
#ifdef PL_STEP_HOOKS
        cmocka_unit_test(at_each_step_a_scope_is_heard),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
