/* Asking workers to stop: delivery, counting, refusals; and that threads cannot be killed. */
#include "harness.h"
#include "park/park.h"
#include "registry/registry.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const plait_worker nobody;

struct world {
    plait_event event;
    plait_lock lock;
    plait_semaphore semaphore;
    plait_condition condition;
    plait_worker self, subject;
    int go, ready, done;
    long n;
};

static struct world *new_world(void)
{
    struct world *w = plait_alloc(sizeof *w);
    CHECK(w != NULL);
    return w;
}

static int give_back(void *n)
{
    return (int)(intptr_t)n;
}

/* --- refusals --- */

static void only_the_living_are_asked(void **state)
{
    (void)state;
    errno = EXDEV;
    CHECK_RC(plait_cancel(nobody), PLAIT_EINVAL);
    CHECK_RC(plait_cancel((plait_worker){0, 5}), PLAIT_EINVAL);
    CHECK_RC(plait_cancel((plait_worker){60000, 5}), PLAIT_ESTALE);
    FOR_EACH_KIND(kind)
    {
        plait_worker w = t_start_one(kind, give_back, (void *)4);
        UNTIL(!plait_is_alive(w));
        errno = EXDEV;
        CHECK_RC(plait_cancel(w), PLAIT_ESRCH);
        CHECK_EQ(errno, EXDEV);
        CHECK_EQ(t_join_one(w), 4);
        CHECK_RC(plait_cancel(w), PLAIT_ESTALE);
    }
}

static int wait_for_event(void *world)
{
    struct world *w = world;
    return plait_event_wait(&w->event, PLAIT_FOREVER);
}

static void a_thread_cannot_be_killed(void **state)
{
    (void)state;
    struct world *w = new_world();
    plait_worker thread = t_start_one(PLAIT_THREAD, wait_for_event, w);
    UNTIL_WAITS(thread, PL_WAIT_EVENT);
    CHECK_RC(plait_kill(thread), PLAIT_ENOTSUP);
    CHECK_RC(plait_terminate(thread), PLAIT_ENOTSUP);
    CHECK_EQ(plait_is_alive(thread), 1);
    plait_event_set(&w->event);
    CHECK_EQ(t_join_one(thread), 0);
    CHECK_RC(plait_kill(thread), PLAIT_ESTALE);
    CHECK_RC(plait_kill(nobody), PLAIT_EINVAL);
    CHECK_RC(plait_terminate(nobody), PLAIT_EINVAL);
    CHECK_RC(plait_free(w), 0);
}

static void an_ended_thread_is_not_killed_either(void **state)
{
    (void)state;
    plait_worker w = t_start_one(PLAIT_THREAD, give_back, (void *)4);
    UNTIL(!plait_is_alive(w));
    int rc = plait_kill(w);
    CHECK(rc == PLAIT_ESRCH || rc == PLAIT_ENOTSUP);
    rc = plait_terminate(w);
    CHECK(rc == PLAIT_ESRCH || rc == PLAIT_ENOTSUP);
    CHECK_EQ(t_join_one(w), 4);
}

/* --- every blocking call --- */

static int event_call(void *world, int64_t timeout)
{
    return plait_event_wait(&((struct world *)world)->event, timeout);
}

static int lock_call(void *world, int64_t timeout)
{
    return plait_lock_acquire(&((struct world *)world)->lock, timeout);
}

static int semaphore_call(void *world, int64_t timeout)
{
    return plait_semaphore_acquire(&((struct world *)world)->semaphore, timeout);
}

static int join_call(void *world, int64_t timeout)
{
    return plait_join(((struct world *)world)->subject, NULL, timeout);
}

static t_wait *const calls[] = {event_call, lock_call, semaphore_call, join_call};
enum { CALLS = sizeof calls / sizeof calls[0] };

static int try_all(void *world)
{
    struct world *w = world;
    for (int i = 0; i < CALLS; i++) {
        TELL(w->ready, i + 1);
        CHECK_RC(calls[i](w, PLAIT_FOREVER), PLAIT_ECANCELED);
        CHECK_EQ(plait_cancelling(), i + 1);
        CHECK_RC(calls[i](w, plait_ms(2)), PLAIT_ETIMEDOUT); /* once per request */
    }
    CHECK_RC(plait_lock_acquire(plait_condition_lock(&w->condition), PLAIT_FOREVER), 0);
    TELL(w->ready, CALLS + 1);
    CHECK_RC(plait_condition_wait(&w->condition, PLAIT_FOREVER), PLAIT_ECANCELED);
    CHECK_RC(plait_lock_release(plait_condition_lock(&w->condition)), 0);
    return 5; /* it may refuse, and go on */
}

static void each_blocking_call_is_reached(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w = new_world();
        w->subject = t_start_one(PLAIT_PROCESS, wait_for_event, new_world());
        CHECK_RC(plait_lock_acquire(&w->lock, PLAIT_FOREVER), 0);
        plait_worker worker = t_start_one(kind, try_all, w);
        for (int i = 0; i <= CALLS; i++) {
            UNTIL(SEEN(w->ready) == i + 1);
            UNTIL_WAITS(worker, 0);
            CHECK_RC(plait_cancel(worker), 0);
        }
        CHECK_EQ(t_join_one(worker), 5);
        CHECK_RC(plait_cancel(w->subject), 0);
        CHECK_EQ(t_join_one(w->subject), PLAIT_ECANCELED);
        CHECK_RC(plait_lock_release(&w->lock), 0);
        CHECK_RC(plait_free(w), 0);
    }
}

/* --- counting --- */

static int count_requests(void *world)
{
    struct world *w = world;
    CHECK_EQ(plait_cancelling(), 0);
    CHECK_EQ(plait_uncancel(), 0);
    CHECK_RC(plait_checkpoint(), 0);
    TELL(w->ready, 1);
    UNTIL(plait_cancelling() == 3);
    CHECK_RC(plait_checkpoint(), PLAIT_ECANCELED);
    while (plait_checkpoint() == PLAIT_ECANCELED)
        ;                            /* together or one by one */
    CHECK_EQ(plait_cancelling(), 3); /* got, not taken back */
    CHECK_EQ(plait_uncancel(), 2);
    CHECK_EQ(plait_uncancel(), 1);
    CHECK_EQ(plait_cancelling(), 1);
    TELL(w->ready, 2);
    UNTIL(plait_cancelling() == 2);
    CHECK_RC(plait_event_wait(&w->event, plait_ms(1)), PLAIT_ECANCELED);
    CHECK_EQ(plait_uncancel(), 1);
    CHECK_EQ(plait_uncancel(), 0);
    CHECK_EQ(plait_uncancel(), 0);
    CHECK_EQ(plait_cancelling(), 0);
    CHECK_RC(plait_event_wait(&w->event, plait_ms(1)), PLAIT_ETIMEDOUT);
    return 0;
}

static void requests_are_counted(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w = new_world();
        plait_worker worker = t_start_one(kind, count_requests, w);
        UNTIL(SEEN(w->ready) == 1);
        for (int i = 0; i < 3; i++)
            CHECK_RC(plait_cancel(worker), 0);
        UNTIL(SEEN(w->ready) == 2);
        CHECK_RC(plait_cancel(worker), 0);
        CHECK_EQ(t_join_one(worker), 0);
        CHECK_RC(plait_free(w), 0);
    }
}

static int take_one_back(void *world)
{
    struct world *w = world;
    UNTIL(plait_cancelling() == 2);
    CHECK_EQ(plait_uncancel(), 1);
    CHECK_RC(plait_event_wait(&w->event, plait_seconds(T_PATIENCE_S)),
             PLAIT_ECANCELED); /* one is left */
    CHECK_RC(plait_event_wait(&w->event, plait_ms(1)), PLAIT_ETIMEDOUT);
    CHECK_EQ(plait_uncancel(), 0);
    return 0;
}

static void of_two_requests_one_may_be_taken_back(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w = new_world();
        plait_worker worker = t_start_one(kind, take_one_back, w);
        CHECK_RC(plait_cancel(worker), 0);
        CHECK_RC(plait_cancel(worker), 0);
        CHECK_EQ(t_join_one(worker), 0);
        CHECK_RC(plait_free(w), 0);
    }
}

static void one_may_ask_oneself(void **state)
{
    (void)state;
    plait_event event = {0};
    CHECK_RC(plait_cancel(plait_self()), 0);
    CHECK_EQ(plait_cancelling(), 1);
    CHECK_RC(plait_event_wait(&event, PLAIT_FOREVER), PLAIT_ECANCELED);
    CHECK_EQ(plait_cancelling(), 1);
    CHECK_RC(plait_checkpoint(), 0);
    CHECK_EQ(plait_uncancel(), 0);
    CHECK_RC(plait_cancel(plait_self()), 0);
    CHECK_RC(plait_checkpoint(), PLAIT_ECANCELED);
    CHECK_EQ(plait_uncancel(), 0);
    CHECK_RC(plait_cancel(plait_self()), 0);
    CHECK_EQ(plait_uncancel(), 0); /* taken back before it was delivered */
    CHECK_RC(plait_checkpoint(), 0);
}

static int ask_hundred_times(void *world)
{
    struct world *w = world;
    UNTIL(SEEN(w->go));
    for (int i = 0; i < 100; i++)
        CHECK_RC(plait_cancel(w->subject), 0);
    return 0;
}

static int take_hundreds(void *world)
{
    struct world *w = world;
    TELL(w->ready, 1);
    while (!SEEN(w->done))
        if (plait_event_wait(&w->event, plait_us(100)) == PLAIT_ECANCELED)
            w->n++;
    CHECK_EQ(plait_cancelling(), 400);
    while (plait_uncancel() > 0)
        ;
    return 0;
}

static void no_request_is_lost_in_a_crowd(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w = new_world();
        struct t_team team;
        w->subject = t_start_one(kind, take_hundreds, w);
        UNTIL(SEEN(w->ready));
        t_start(&team, &t_mixed, 4, ask_hundred_times, w);
        TELL(w->go, 1);
        t_join(&team);
        TELL(w->done, 1);
        CHECK_EQ(t_join_one(w->subject), 0);
        CHECK(w->n >= 1 && w->n <= 400);
        CHECK_RC(plait_free(w), 0);
    }
}

/* --- a request is for one worker, and for the next call --- */

static int wait_shortly(void *world)
{
    struct world *w = world;
    COUNT(w->ready);
    UNTIL(SEEN(w->go));
    return plait_event_wait(&w->event, plait_ms(5));
}

static void siblings_are_not_reached(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w = new_world();
        plait_worker a = t_start_one(kind, wait_shortly, w), b = t_start_one(kind, wait_shortly, w);
        UNTIL(SEEN(w->ready) == 2);
        CHECK_RC(plait_cancel(a), 0);
        TELL(w->go, 1);
        CHECK_EQ(t_join_one(a), PLAIT_ECANCELED);
        CHECK_EQ(t_join_one(b), PLAIT_ETIMEDOUT);
        CHECK_EQ(plait_cancelling(), 0);
        CHECK_RC(plait_free(w), 0);
    }
}

static int take_free_things(void *world)
{
    struct world *w = world;
    UNTIL(plait_cancelling() == 1);
    CHECK_RC(plait_lock_acquire(&w->lock, PLAIT_FOREVER), 0); /* free: nothing to wait for */
    CHECK_RC(plait_lock_release(&w->lock), 0);
    CHECK_RC(plait_event_wait(&w->event, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
    CHECK_RC(plait_checkpoint(), PLAIT_ECANCELED); /* so it is still there */
    return 0;
}

/* As in asyncio: a call that need not wait does not deliver. */
static void what_need_not_wait_succeeds(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w = new_world();
        plait_worker worker = t_start_one(kind, take_free_things, w);
        CHECK_RC(plait_cancel(worker), 0);
        CHECK_EQ(t_join_one(worker), 0);
        CHECK_RC(plait_free(w), 0);
    }
}

static int clean_up(void *world)
{
    struct world *w = world;
    CHECK_RC(plait_event_wait(&w->event, PLAIT_FOREVER), PLAIT_ECANCELED);
    TELL(w->ready, 1);
    CHECK_RC(plait_semaphore_acquire(&w->semaphore, PLAIT_FOREVER), 0); /* a wait of its own */
    return 9;
}

static void one_who_was_asked_may_wait_to_clean_up(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w = new_world();
        plait_worker worker = t_start_one(kind, clean_up, w);
        UNTIL_WAITS(worker, PL_WAIT_EVENT);
        CHECK_RC(plait_cancel(worker), 0);
        UNTIL(SEEN(w->ready));
        UNTIL_WAITS(worker, PL_WAIT_SEMAPHORE);
        CHECK_RC(plait_semaphore_release(&w->semaphore, 1), 0);
        CHECK_EQ(t_join_one(worker), 9);
        CHECK_RC(plait_free(w), 0);
    }
}

static int foreign_wait(void *world)
{
    struct world *w = world;
    w->self = plait_self();
    TELL(w->ready, 1);
    return plait_event_wait(&w->event, PLAIT_FOREVER);
}

struct foreign {
    pthread_t thread;
    struct world *world;
    int rc;
};

static void *foreign_main(void *foreign)
{
    struct foreign *f = foreign;
    f->rc = foreign_wait(f->world);
    return NULL;
}

static void threads_that_plait_did_not_start_are_reached_too(void **state)
{
    (void)state;
    struct foreign f = {.world = new_world()};
    CHECK_EQ(pthread_create(&f.thread, NULL, foreign_main, &f), 0);
    UNTIL(SEEN(f.world->ready));
    CHECK_RC(plait_cancel(f.world->self), 0);
    CHECK_EQ(pthread_join(f.thread, NULL), 0);
    CHECK_RC(f.rc, PLAIT_ECANCELED);
    UNTIL(plait_cancel(f.world->self) == PLAIT_ESTALE);
    CHECK_RC(plait_free(f.world), 0);
}

static int start_next(void *world)
{
    struct world *w = world;
    plait_worker next = t_start_one(PLAIT_THREAD, wait_shortly, w);
    return t_join_one(next);
}

/* Nor does a request hang on to the place of one that is gone. */
static void a_request_does_not_pass_to_the_next_in_that_place(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct world *w = new_world();
        plait_worker first = t_start_one(PLAIT_THREAD, wait_for_event, w);
        UNTIL_WAITS(first, PL_WAIT_EVENT);
        CHECK_RC(plait_cancel(first), 0);
        plait_cancel(first), plait_cancel(first); /* it may have ended by then */
        CHECK_EQ(t_join_one(first), PLAIT_ECANCELED);
        __atomic_store_n(&pl_arena->slot_cursor, first.slot, __ATOMIC_SEQ_CST);
        TELL(w->go, 1);
        CHECK_EQ(start_next(w), PLAIT_ETIMEDOUT);
        CHECK_RC(plait_free(w), 0);
    }
}

/* --- long computations, blocks --- */

static int compute(void *world)
{
    struct world *w = world;
    while (plait_checkpoint() == 0)
        TELL(w->n, w->n + 1);
    CHECK_RC(plait_checkpoint(), 0); /* delivered by the one before */
    return 3;
}

static void a_checkpoint_delivers(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w = new_world();
        plait_worker worker = t_start_one(kind, compute, w);
        UNTIL(SEEN(w->n) > 100);
        CHECK_RC(plait_cancel(worker), 0);
        CHECK_EQ(t_join_one(worker), 3);
        CHECK_RC(plait_free(w), 0);
    }
}

static int skip_block(void *world)
{
    struct world *w = world;
    TELL(w->ready, 1);
    PLAIT_WITH(&w->lock)
        CHECK(!"nobody lets it in");
    CHECK_RC(plait_event_wait(&w->event, PLAIT_FOREVER), PLAIT_ECANCELED); /* it was kept */
    return 0;
}

static void a_block_that_was_skipped_keeps_the_request(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w = new_world();
        CHECK_RC(plait_lock_acquire(&w->lock, PLAIT_FOREVER), 0);
        plait_worker worker = t_start_one(kind, skip_block, w);
        UNTIL_WAITS(worker, PL_WAIT_LOCK);
        CHECK_RC(plait_cancel(worker), 0);
        CHECK_EQ(t_join_one(worker), 0);
        CHECK_RC(plait_lock_release(&w->lock), 0);
        CHECK_RC(plait_free(w), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_living_are_asked),
        cmocka_unit_test(a_thread_cannot_be_killed),
        cmocka_unit_test(an_ended_thread_is_not_killed_either),
        cmocka_unit_test(each_blocking_call_is_reached),
        cmocka_unit_test(requests_are_counted),
        cmocka_unit_test(of_two_requests_one_may_be_taken_back),
        cmocka_unit_test(one_may_ask_oneself),
        cmocka_unit_test(no_request_is_lost_in_a_crowd),
        cmocka_unit_test(siblings_are_not_reached),
        cmocka_unit_test(what_need_not_wait_succeeds),
        cmocka_unit_test(one_who_was_asked_may_wait_to_clean_up),
        cmocka_unit_test(threads_that_plait_did_not_start_are_reached_too),
        cmocka_unit_test(a_request_does_not_pass_to_the_next_in_that_place),
        cmocka_unit_test(a_checkpoint_delivers),
        cmocka_unit_test(a_block_that_was_skipped_keeps_the_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
