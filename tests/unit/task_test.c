/* Tasks: a test per promise of include/plait/task.h and of worker.h where a task is the worker. */
#include "harness/harness.h"

#include "base/self.h"
#include "park/park.h"
#include "port/uring.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static plait_worker start_with(plait_function *fn, void *arg, const plait_options *options)
{
    plait_worker w;
    CHECK_RC(plait_start(&w, PLAIT_TASK, fn, arg, options), 0);
    return w;
}

static plait_worker start(plait_function *fn, void *arg)
{
    return start_with(fn, arg, NULL);
}

static int join(plait_worker w)
{
    plait_blame end;
    CHECK_RC(plait_join(w, &end, PLAIT_FOREVER), 0);
    return end.status;
}

static void run(plait_function *fn)
{
    assert_int_equal(plait_run(fn, NULL), 0);
}

/* What happened, in order. */
static struct {
    int n, what[256];
} story;

static void tell(int what)
{
    CHECK(story.n < 256);
    story.what[story.n++] = what;
}

static void check_story(const int *expected, int n)
{
    CHECK_EQ(story.n, n);
    for (int i = 0; i < n; i++)
        CHECK_EQ(story.what[i], expected[i]);
    story.n = 0;
}
#define CHECK_STORY(...)                                                                           \
    check_story((const int[]){__VA_ARGS__}, sizeof(int[]){__VA_ARGS__} / sizeof(int))

static int forty_two(void *arg)
{
    (void)arg;
    return 42;
}

static int echo(void *arg)
{
    return (int)(intptr_t)arg;
}

static int tell_it(void *arg)
{
    tell((int)(intptr_t)arg);
    return 0;
}

static int sleep_for_ever(void *arg)
{
    (void)arg;
    return plait_sleep(PLAIT_FOREVER);
}

static int wait_for_event(void *event)
{
    return plait_event_wait(event, PLAIT_FOREVER);
}

/* --- run --- */

static void run_returns_what_the_function_returned(void **state)
{
    (void)state;
    assert_int_equal(plait_run(forty_two, NULL), 42);
    assert_int_equal(plait_run(echo, (void *)(intptr_t)-7), -7);
    assert_int_equal(plait_run(NULL, NULL), PLAIT_EINVAL);
}

static int run_again(void *arg)
{
    (void)arg;
    return plait_run(forty_two, NULL);
}

static int run_in_run(void *arg)
{
    CHECK_RC(run_again(arg), PLAIT_EBUSY);
    CHECK_RC(join(start(run_again, NULL)), PLAIT_EBUSY);
    return 0;
}

static void run_within_run_is_refused(void **state)
{
    (void)state;
    run(run_in_run);
}

static int late(void *arg)
{
    plait_sleep(plait_ms(5));
    *(int *)arg += 1;
    return 0;
}

static int finished;

static int leave_some(void *arg)
{
    (void)arg;
    for (int i = 0; i < 3; i++)
        CHECK_RC(plait_detach(start(late, &finished)), 0);
    return 0;
}

static void run_waits_for_all_tasks(void **state)
{
    (void)state;
    finished = 0;
    run(leave_some);
    assert_int_equal(finished, 3);
}

static int daemon_status;

static int daemon_task(void *arg)
{
    (void)arg;
    return daemon_status = plait_sleep(PLAIT_FOREVER);
}

static int leave_a_daemon(void *arg)
{
    (void)arg;
    plait_detach(start_with(daemon_task, NULL, &(plait_options){.daemon = true}));
    CHECK_RC(plait_yield(), 0);
    return 0;
}

static void run_cancels_daemons(void **state)
{
    (void)state;
    daemon_status = 0;
    run(leave_a_daemon);
    assert_int_equal(daemon_status, PLAIT_ECANCELED);
}

static plait_worker left;

static int leave_unjoined(void *arg)
{
    (void)arg;
    left = start(forty_two, NULL);
    return 0;
}

static void a_task_can_be_joined_after_the_run(void **state)
{
    (void)state;
    run(leave_unjoined);
    assert_int_equal(join(left), 42);
    assert_int_equal(plait_join(left, NULL, PLAIT_NOWAIT), PLAIT_ESTALE);
}

static void no_run_is_needed(void **state)
{
    (void)state;
    plait_worker w[8];
    for (int i = 0; i < 8; i++)
        w[i] = start(echo, (void *)(intptr_t)i);
    for (int i = 0; i < 8; i++)
        assert_int_equal(join(w[i]), i);
}

static int thread_with_tasks(void *arg)
{
    plait_detach(start(late, arg));
    return 0;
}

static void a_thread_ends_after_its_tasks(void **state)
{
    (void)state;
    int done = 0;
    plait_worker w = t_start_one(PLAIT_THREAD, thread_with_tasks, &done);
    assert_int_equal(t_join_one(w), 0);
    assert_int_equal(done, 1);
}

static int asked_to_stop(void *arg)
{
    (void)arg;
    return plait_sleep(PLAIT_FOREVER);
}

static int cancel_me_later(void *arg)
{
    plait_worker thread = plait_loop();
    (void)arg;
    CHECK_RC(plait_cancel(thread), 0);
    return 0;
}

static int run_until_cancelled(void *arg)
{
    plait_detach(start(cancel_me_later, NULL));
    return asked_to_stop(arg);
}

static int in_a_thread(void *arg)
{
    (void)arg;
    return plait_run(run_until_cancelled, NULL);
}

static void cancelling_the_thread_cancels_its_own_flow(void **state)
{
    (void)state;
    plait_worker w = t_start_one(PLAIT_THREAD, in_a_thread, NULL);
    assert_int_equal(t_join_one(w), PLAIT_ECANCELED);
}

static int two_sleepers(void *arg)
{
    (void)arg;
    plait_detach(start(sleep_for_ever, NULL));
    plait_detach(start(sleep_for_ever, NULL));
    return 0;
}

static int run_two(void *arg)
{
    (void)arg;
    return plait_run(two_sleepers, NULL);
}

static void cancelling_the_thread_at_the_end_cancels_its_tasks(void **state)
{
    (void)state;
    plait_worker w = t_start_one(PLAIT_THREAD, run_two, NULL);
    t_sleep(plait_ms(20));
    CHECK_RC(plait_cancel(w), 0);
    assert_int_equal(t_join_one(w), 0);
}

/* --- order --- */

static int tell_and_yield(void *arg)
{
    for (int i = 0; i < 3; i++) {
        tell(10 * (int)(intptr_t)arg + i);
        CHECK_RC(plait_yield(), 0);
    }
    return 0;
}

static int three_in_turn(void *arg)
{
    plait_worker w[3];
    (void)arg;
    for (int i = 0; i < 3; i++)
        w[i] = start(tell_and_yield, (void *)(intptr_t)i);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(join(w[i]), 0);
    CHECK_STORY(0, 10, 20, 1, 11, 21, 2, 12, 22);
    return 0;
}

static void those_that_yield_take_turns(void **state)
{
    (void)state;
    run(three_in_turn);
}

static int starts_do_not_run(void *arg)
{
    (void)arg;
    plait_worker w = start(tell_it, (void *)1);
    tell(0);
    join(w);
    CHECK_STORY(0, 1);
    return 0;
}

static void a_task_does_not_run_within_start(void **state)
{
    (void)state;
    run(starts_do_not_run);
}

static int call_soon_again(void *arg)
{
    tell(1);
    CHECK_RC(plait_call_soon(NULL, plait_loop(), tell_it, (void *)3), 0);
    (void)arg;
    return 0;
}

static int calls_in_order(void *arg)
{
    plait_worker loop = plait_loop(), last;
    (void)arg;
    CHECK_RC(plait_call_later(&last, loop, plait_ms(30), tell_it, (void *)7), 0);
    CHECK_RC(plait_call_later(NULL, loop, plait_ms(20), tell_it, (void *)6), 0);
    CHECK_RC(plait_call_at(NULL, loop, plait_now() + plait_ms(10), tell_it, (void *)5), 0);
    CHECK_RC(plait_call_soon(NULL, loop, call_soon_again, NULL), 0);
    CHECK_RC(plait_call_soon(NULL, loop, tell_it, (void *)2), 0);
    tell(0);
    join(last);
    CHECK_STORY(0, 1, 2, 3, 5, 6, 7);
    return 0;
}

static void what_is_called_soon_is_called_in_order_and_what_it_calls_in_the_next_pass(void **state)
{
    (void)state;
    run(calls_in_order);
}

static int equal_instants(void *arg)
{
    plait_worker w[20];
    int64_t when = plait_now() + plait_ms(5);
    (void)arg;
    for (int i = 0; i < 20; i++)
        CHECK_RC(plait_call_at(&w[i], plait_loop(), when, tell_it, (void *)(intptr_t)i), 0);
    for (int i = 0; i < 20; i++)
        join(w[i]);
    for (int i = 0; i < 20; i++)
        CHECK_EQ(story.what[i], i);
    story.n = 0;
    return 0;
}

static void of_equal_instants_the_first_asked_comes_first(void **state)
{
    (void)state;
    run(equal_instants);
}

static int stop;

static int yield_until_stop(void *arg)
{
    (void)arg;
    while (!stop)
        CHECK_RC(plait_yield(), 0);
    return 0;
}

static int fair_to_others(void *arg)
{
    int p[2];
    (void)arg;
    stop = 0;
    CHECK(pipe(p) == 0);
    plait_worker busy[2] = {start(yield_until_stop, NULL), start(yield_until_stop, NULL)};
    CHECK_RC(plait_sleep(plait_ms(5)), 0); /* the timer gets its turn */
    CHECK(write(p[1], "x", 1) == 1);
    CHECK_RC(plait_wait_fd(p[0], PLAIT_READABLE, PLAIT_FOREVER), PLAIT_READABLE);
    plait_worker other = t_start_one(PLAIT_THREAD, forty_two, NULL);
    CHECK_EQ(t_join_one(other), 42); /* and so does another thread's news */
    stop = 1;
    join(busy[0]);
    join(busy[1]);
    close(p[0]);
    close(p[1]);
    return 0;
}

static void tasks_that_keep_each_other_busy_shut_nobody_out(void **state)
{
    (void)state;
    run(fair_to_others);
}

/* --- sleeping --- */

static int slept(void *arg)
{
    int64_t ms = (intptr_t)arg, before = plait_now();
    CHECK_RC(plait_sleep(plait_ms(ms)), 0);
    CHECK(plait_now() - before >= plait_ms(ms)); /* never early */
    return 0;
}

static int many_sleepers(void *arg)
{
    enum { N = 1000 };
    static plait_worker w[N];
    int64_t before = plait_now();
    (void)arg;
    for (int i = 0; i < N; i++)
        w[i] = start(slept, (void *)(intptr_t)(50 + i % 7));
    for (int i = 0; i < N; i++)
        CHECK_EQ(join(w[i]), 0);
    CHECK(plait_now() - before < plait_seconds(20)); /* together, not one after the other: 53 s */
    CHECK_RC(plait_sleep(-2), PLAIT_EINVAL);
    CHECK_RC(plait_sleep(INT64_MAX), PLAIT_EOVERFLOW);
    CHECK_RC(plait_sleep(PLAIT_NOWAIT), 0);
    return 0;
}

static void sleepers_sleep_together_and_never_too_short(void **state)
{
    (void)state;
    run(many_sleepers);
    many_sleepers(NULL); /* and without a run */
    assert_int_equal(slept((void *)20), 0);
}

/* --- joining --- */

static int joins_itself(void *arg)
{
    (void)arg;
    return plait_join(plait_self(), NULL, PLAIT_FOREVER);
}

static int joins_its_thread(void *arg)
{
    (void)arg;
    return plait_join(plait_loop(), NULL, PLAIT_FOREVER);
}

static plait_worker ring[3];
static int refused;

static int joins_the_next(void *arg)
{
    int i = (int)(intptr_t)arg;
    if (plait_join(ring[(i + 1) % 3], NULL, PLAIT_FOREVER) == PLAIT_EDEADLK)
        refused++;
    return 0;
}

static int joins_that_never_end(void *arg)
{
    (void)arg;
    CHECK_RC(join(start(joins_itself, NULL)), PLAIT_EDEADLK);
    CHECK_RC(join(start(joins_its_thread, NULL)), PLAIT_EDEADLK);
    refused = 0;
    for (int i = 0; i < 3; i++)
        ring[i] = start(joins_the_next, (void *)(intptr_t)i);
    CHECK_RC(plait_yield(), 0);
    for (int i = 0; i < 3; i++) {
        int rc = plait_join(ring[i], NULL, PLAIT_FOREVER);
        CHECK(rc == 0 || rc == PLAIT_ESTALE); /* joined by its neighbour */
    }
    CHECK_EQ(refused, 1);
    return 0;
}

static void a_join_that_would_never_end_is_refused(void **state)
{
    (void)state;
    run(joins_that_never_end);
}

static plait_worker across[2];
static int refused_across;

static int joins_across(void *arg)
{
    int other = (int)(intptr_t)arg;
    while (!SEEN(across[other].slot))
        CHECK_RC(plait_yield(), 0);
    if (plait_join(across[other], NULL, PLAIT_FOREVER) == PLAIT_EDEADLK)
        COUNT(refused_across);
    return 0;
}

static int half_of_a_ring(void *arg)
{
    int i = (int)(intptr_t)arg;
    plait_worker w = start(joins_across, (void *)(intptr_t)!i);
    across[i].generation = w.generation;
    TELL(across[i].slot, w.slot);
    int rc = plait_join(w, NULL, PLAIT_FOREVER);
    CHECK(rc == 0 || rc == PLAIT_ESTALE); /* joined by the other */
    return 0;
}

static void a_ring_of_joins_across_two_threads_is_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        plait_worker w[2];
        memset(across, 0, sizeof across);
        refused_across = 0;
        for (intptr_t k = 0; k < 2; k++)
            CHECK_RC(plait_start(&w[k], PLAIT_THREAD, half_of_a_ring, (void *)k, NULL), 0);
        for (int k = 0; k < 2; k++)
            CHECK_EQ(t_join_one(w[k]), 0);
        CHECK(refused_across >= 1);
    }
}

static int joiner(void *arg)
{
    plait_blame end;
    int rc = plait_join(*(plait_worker *)arg, &end, PLAIT_FOREVER);
    return rc < 0 ? rc : end.status;
}

static int several_join(void *arg)
{
    enum { N = 5 };
    plait_event go = {0};
    plait_worker target = start(wait_for_event, &go), w[N];
    (void)arg;
    for (int i = 0; i < N; i++) {
        if (i % 2)
            w[i] = start(joiner, &target);
        else
            w[i] = t_start_one(PLAIT_THREAD, joiner, &target);
    }
    CHECK_RC(plait_sleep(plait_ms(20)), 0);
    CHECK_RC(plait_join(target, NULL, plait_ms(1)), PLAIT_ETIMEDOUT);
    CHECK_RC(plait_join(target, NULL, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
    plait_event_set(&go);
    for (int i = 0; i < N; i++) {
        plait_blame end;
        CHECK_RC(plait_join(w[i], &end, PLAIT_FOREVER), 0);
        CHECK_EQ(end.status, 0);
    }
    CHECK_RC(plait_join(target, NULL, PLAIT_FOREVER), PLAIT_ESTALE);
    return 0;
}

static void several_may_join_one_task_from_everywhere(void **state)
{
    (void)state;
    run(several_join);
}

static int stale_handles(void *arg)
{
    plait_blame end;
    char name[8];
    (void)arg;
    plait_worker w = start(forty_two, NULL);
    CHECK_RC(plait_exit_status(w, &end), PLAIT_EBUSY);
    CHECK_RC(plait_yield(), 0);
    CHECK_RC(plait_exit_status(w, &end), 0);
    CHECK_EQ(end.status, 42);
    CHECK_EQ(end.kind, PLAIT_TASK);
    CHECK_EQ(end.pid, getpid());
    CHECK(end.returned && plait_same(end.worker, w));
    CHECK_RC(plait_state(w), PLAIT_STATE_ENDED);
    CHECK_RC(plait_cancel(w), PLAIT_ESRCH);
    CHECK_EQ(join(w), 42);
    CHECK_RC(plait_join(w, NULL, PLAIT_FOREVER), PLAIT_ESTALE);
    CHECK_RC(plait_state(w), PLAIT_ESTALE);
    CHECK_RC(plait_cancel(w), PLAIT_ESTALE);
    CHECK_RC(plait_detach(w), PLAIT_ESTALE);
    CHECK_RC(plait_kind_of(w), PLAIT_ESTALE);
    CHECK_RC(plait_pid(w), PLAIT_ESTALE);
    CHECK_RC(plait_name(w, name, sizeof name), PLAIT_ESTALE);
    CHECK_RC(plait_kill(w), PLAIT_ESTALE);
    CHECK_RC(plait_exit_status(w, &end), PLAIT_ESTALE);
    plait_worker next = start(forty_two, NULL); /* most likely in the same record */
    CHECK(!plait_same(next, w));
    CHECK_RC(plait_state(w), PLAIT_ESTALE);
    join(next);
    return 0;
}

static void a_joined_task_is_stale_for_every_call(void **state)
{
    (void)state;
    run(stale_handles);
}

static int detached(void *arg)
{
    plait_event go = {0};
    (void)arg;
    plait_worker w = start_with(wait_for_event, &go, &(plait_options){.detach = true});
    CHECK_RC(plait_join(w, NULL, PLAIT_FOREVER), PLAIT_ESTALE);
    CHECK_RC(plait_state(w), PLAIT_STATE_NEW);
    CHECK_RC(plait_yield(), 0);
    CHECK_RC(plait_state(w), PLAIT_STATE_BLOCKED);
    plait_event_set(&go);
    CHECK_RC(plait_yield(), 0);
    CHECK_RC(plait_state(w), PLAIT_ESTALE);
    plait_worker later = start(forty_two, NULL);
    CHECK_RC(plait_yield(), 0);
    CHECK_RC(plait_detach(later), 0);
    CHECK_RC(plait_state(later), PLAIT_ESTALE);
    return 0;
}

static void a_detached_task_goes_by_itself(void **state)
{
    (void)state;
    run(detached);
}

/* --- cancelling --- */

static int never_runs(void *arg)
{
    (void)arg;
    CHECK(!"a task that was cancelled before its first step has run");
    return 0;
}

static int cancelled_early(void *arg)
{
    (void)arg;
    plait_worker w = start(never_runs, NULL);
    plait_worker later =
        start_with(never_runs, NULL, &(plait_options){.delay = plait_seconds(3600)});
    CHECK_RC(plait_cancel(w), 0);
    CHECK_RC(plait_cancel(later), 0);
    CHECK_EQ(join(w), PLAIT_ECANCELED);
    CHECK_EQ(join(later), PLAIT_ECANCELED);
    return 0;
}

static void a_task_cancelled_before_its_first_step_never_runs(void **state)
{
    (void)state;
    run(cancelled_early);
}

static int refuses_once(void *arg)
{
    (void)arg;
    CHECK_RC(plait_sleep(PLAIT_FOREVER), PLAIT_ECANCELED);
    CHECK_EQ(plait_cancelling(), 1);
    CHECK_EQ(plait_uncancel(), 0);
    CHECK_EQ(plait_cancelling(), 0);
    CHECK_RC(plait_sleep(plait_ms(1)), 0); /* it goes on */
    CHECK_RC(plait_sleep(PLAIT_FOREVER), PLAIT_ECANCELED);
    CHECK_EQ(plait_cancelling(), 1);
    return 9;
}

static int cancel_twice(void *arg)
{
    (void)arg;
    plait_worker w = start(refuses_once, NULL);
    CHECK_RC(plait_yield(), 0);
    CHECK_RC(plait_cancel(w), 0);
    CHECK_RC(plait_sleep(plait_ms(10)), 0);
    CHECK_RC(plait_cancel(w), 0);
    CHECK_EQ(join(w), 9);
    return 0;
}

static void a_task_may_refuse_and_go_on(void **state)
{
    (void)state;
    run(cancel_twice);
}

static int cancels(void *arg)
{
    plait_worker *w = arg;
    return plait_cancel(*w);
}

static int cancelled_by_a_thread(void *arg)
{
    (void)arg;
    for (int i = 0; i < 200; i++) {
        plait_worker w = start(sleep_for_ever, NULL);
        plait_worker thread = t_start_one(PLAIT_THREAD, cancels, &w);
        CHECK_EQ(join(w), PLAIT_ECANCELED);
        CHECK_EQ(t_join_one(thread), 0);
    }
    return 0;
}

static void a_thread_may_cancel_a_task(void **state)
{
    (void)state;
    run(cancelled_by_a_thread);
}

static int sees_itself_cancelled(void *arg)
{
    (void)arg;
    plait_worker w = start(sleep_for_ever, NULL);
    CHECK_RC(plait_yield(), 0);
    CHECK_RC(plait_cancel(plait_loop()), 0); /* our own flow, not the task */
    CHECK_RC(plait_yield(), PLAIT_ECANCELED);
    CHECK_EQ(plait_uncancel(), 0);
    CHECK_RC(plait_yield(), 0);
    CHECK_RC(plait_state(w), PLAIT_STATE_BLOCKED);
    CHECK_RC(plait_cancel(w), 0);
    CHECK_EQ(join(w), PLAIT_ECANCELED);
    return 0;
}

static void a_request_reaches_whom_it_is_for(void **state)
{
    (void)state;
    run(sees_itself_cancelled);
}

static int cancel_known(void *arg)
{
    return plait_cancel(*(plait_worker *)arg);
}

static int known_sleeper(void *arg)
{
    *(plait_worker *)arg = plait_self(); /* known to the family from now on */
    return plait_sleep(PLAIT_FOREVER);
}

static int cancelled_by_a_process(void *arg)
{
    plait_worker *w = plait_alloc(sizeof *w);
    (void)arg;
    plait_worker mine = start(known_sleeper, w);
    CHECK_RC(plait_yield(), 0);
    CHECK(plait_same(mine, *w));
    plait_worker child = t_start_one(PLAIT_PROCESS, cancel_known, w);
    CHECK_EQ(join(mine), PLAIT_ECANCELED);
    CHECK_EQ(t_join_one(child), 0);
    plait_free(w);
    return 0;
}

static void a_process_may_cancel_a_task_that_is_known(void **state)
{
    (void)state;
    run(cancelled_by_a_process);
}

static int ask_about(void *arg)
{
    plait_worker w = *(plait_worker *)arg;
    CHECK_RC(plait_state(w), PLAIT_EPRIVATE);
    CHECK_RC(plait_cancel(w), PLAIT_EPRIVATE);
    CHECK_RC(plait_join(w, NULL, PLAIT_FOREVER), PLAIT_EPRIVATE);
    return 0;
}

static int unknown_elsewhere(void *arg)
{
    plait_worker *w = plait_alloc(sizeof *w);
    (void)arg;
    *w = start(sleep_for_ever, NULL);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, ask_about, w)), 0);
    CHECK_RC(plait_cancel(*w), 0);
    join(*w);
    plait_free(w);
    return 0;
}

static void other_processes_are_told_that_a_task_is_private(void **state)
{
    (void)state;
    run(unknown_elsewhere);
}

/* --- who and what --- */

static int names_itself(void *arg)
{
    char name[PLAIT_NAME_SIZE];
    (void)arg;
    CHECK_RC(plait_name(plait_self(), name, sizeof name), 0);
    CHECK(strcmp(name, "first") == 0);
    CHECK_RC(plait_set_name("second"), 0);
    CHECK_RC(plait_name(plait_self(), name, sizeof name), 0);
    CHECK(strcmp(name, "second") == 0);
    CHECK_EQ(plait_kind_of(plait_self()), PLAIT_TASK);
    CHECK_EQ(plait_pid(plait_self()), getpid());
    CHECK_EQ(plait_tid(plait_self()), gettid());
    CHECK(plait_same(plait_parent(plait_self()), plait_loop()));
    return 0;
}

static int names(void *arg)
{
    plait_blame end;
    (void)arg;
    plait_worker w = start_with(names_itself, NULL, &(plait_options){.name = "first"});
    CHECK_RC(plait_join(w, &end, PLAIT_FOREVER), 0);
    CHECK(strcmp(end.name, "second") == 0);
    w = start(forty_two, NULL);
    CHECK_RC(plait_join(w, &end, PLAIT_FOREVER), 0);
    CHECK(strncmp(end.name, "Task-", 5) == 0);
    char thread[PLAIT_NAME_SIZE];
    CHECK_RC(plait_name(plait_loop(), thread, sizeof thread), 0);
    CHECK(strcmp(thread, "second") != 0);
    return 0;
}

static void tasks_have_names_and_parents_of_their_own(void **state)
{
    (void)state;
    run(names);
}

static int changes_its_copy(void *arg)
{
    int *copy = arg;
    int value = *copy;
    *copy = 0;
    return value;
}

static int copies(void *arg)
{
    int value = 17;
    (void)arg;
    plait_worker w =
        start_with(changes_its_copy, &value, &(plait_options){.arg_size = sizeof value});
    value = 99;
    CHECK_EQ(join(w), 17);
    CHECK_EQ(value, 99);
    return 0;
}

static void an_argument_is_copied_on_request(void **state)
{
    (void)state;
    run(copies);
}

static int bad_options(void *arg)
{
    plait_worker w = {1, 2}, nobody = {60000, 1};
    plait_options o = {.delay = -1};
    (void)arg;
    CHECK_RC(plait_start(&w, PLAIT_TASK, forty_two, NULL, &o), PLAIT_EINVAL);
    o = (plait_options){.delay = INT64_MAX};
    CHECK_RC(plait_start(&w, PLAIT_TASK, forty_two, NULL, &o), PLAIT_EOVERFLOW);
    o = (plait_options){.loop = nobody};
    CHECK_RC(plait_start(&w, PLAIT_TASK, forty_two, NULL, &o), PLAIT_ESTALE);
    o = (plait_options){.arg_size = 8};
    CHECK_RC(plait_start(&w, PLAIT_TASK, forty_two, NULL, &o), PLAIT_EINVAL);
    o = (plait_options){.delay = 5};
    CHECK_RC(plait_start(&w, PLAIT_THREAD, forty_two, NULL, &o), PLAIT_EINVAL);
    CHECK_RC(plait_start(NULL, PLAIT_TASK, forty_two, NULL, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_start(&w, PLAIT_TASK, NULL, NULL, NULL), PLAIT_EINVAL);
    CHECK_EQ(w.slot, 1); /* untouched */
    return 0;
}

static void bad_options_are_refused(void **state)
{
    (void)state;
    run(bad_options);
    assert_int_equal(plait_call_at(NULL, plait_loop(), -1, forty_two, NULL), PLAIT_EINVAL);
}

static int keeps_errno(void *arg)
{
    int mine = (int)(intptr_t)arg;
    for (int i = 0; i < 10; i++) {
        errno = mine;
        CHECK_RC(i % 2 ? plait_yield() : plait_sleep(plait_us(100)), 0);
        CHECK_EQ(errno, mine);
    }
    return 0;
}

static int errnos(void *arg)
{
    plait_worker a = start(keeps_errno, (void *)5), b = start(keeps_errno, (void *)7);
    (void)arg;
    join(a);
    join(b);
    return 0;
}

static void each_task_keeps_its_errno(void **state)
{
    (void)state;
    run(errnos);
}

static int deep(int n)
{
    volatile char frame[1000];
    frame[0] = (char)n;
    return n == 0 ? frame[0] : deep(n - 1) + 1 - (frame[0] - (char)n);
}

static int recurses(void *arg)
{
    return deep((int)(intptr_t)arg);
}

static int large_stacks(void *arg)
{
    (void)arg;
    plait_worker w = start_with(recurses, (void *)3000, &(plait_options){.stack_size = 16 << 20});
    CHECK_EQ(join(w), 3000);
    CHECK_EQ(join(start(recurses, (void *)20)), 20);
    return 0;
}

static void a_stack_is_as_large_as_asked(void **state)
{
    (void)state;
    run(large_stacks);
}

static int list_them(void *arg)
{
    plait_task_info info[4];
    plait_event go = {0};
    (void)arg;
    CHECK_EQ(plait_task_list(NULL, 0), 0);
    plait_worker w = start_with(wait_for_event, &go, &(plait_options){.name = "waiter"});
    CHECK_EQ(plait_task_list(info, 4), 1);
    CHECK_EQ(info[0].state, PLAIT_STATE_NEW);
    CHECK_RC(plait_yield(), 0);
    CHECK_EQ(plait_task_list(info, 4), 1);
    CHECK_EQ(info[0].state, PLAIT_STATE_BLOCKED);
    CHECK(strcmp(info[0].name, "waiter") == 0 && strcmp(info[0].waits, "an event") == 0);
    CHECK(info[0].waits_on == &go && plait_same(info[0].worker, w));
    CHECK(info[0].stack_used > 0 && info[0].stack_used <= info[0].stack_size);
    CHECK_RC(plait_task_list(NULL, 1), PLAIT_EINVAL);
    CHECK_RC(plait_task_list(info, -1), PLAIT_EINVAL);
    plait_event_set(&go);
    join(w);
    return 0;
}

static void every_task_can_be_seen(void **state)
{
    (void)state;
    run(list_them);
}

static plait_event tree_go;

static int grandchild(void *arg)
{
    plait_worker w = start_with(wait_for_event, &tree_go, &(plait_options){.name = "grandchild"});
    (void)arg;
    return join(w);
}

static int draw_tree(void *arg)
{
    char text[1024] = {0};
    int p[2];
    (void)arg;
    tree_go = (plait_event){0};
    plait_worker w = start_with(grandchild, NULL, &(plait_options){.name = "child"});
    CHECK_RC(plait_sleep(plait_ms(1)), 0);
    CHECK(pipe(p) == 0);
    CHECK_RC(plait_task_print_tree(p[1]), 0);
    CHECK(read(p[0], text, sizeof text - 1) > 0);
    const char *child = strstr(text, "\n    child: waits for the end of"),
               *grand = strstr(text, "\n        grandchild: waits for an event at 0x");
    CHECK(strstr(text, ": 2 tasks\n") != NULL);
    CHECK(child != NULL && grand != NULL && child < grand);
    CHECK_RC(plait_task_print_tree(-1), -EBADF);
    plait_event_set(&tree_go);
    join(w);
    close(p[0]);
    close(p[1]);
    return 0;
}

static void the_tree_shows_who_started_whom_and_what_they_wait_for(void **state)
{
    (void)state;
    run(draw_tree);
}

/* --- other threads --- */

struct visitor {
    plait_worker loop;
    int n;
    pthread_t ran_on;
};

static int note_thread(void *arg)
{
    struct visitor *v = arg;
    v->ran_on = pthread_self();
    v->n++;
    return v->n;
}

static int sends_tasks(void *arg)
{
    struct visitor *v = arg;
    for (int i = 1; i <= 100; i++) {
        plait_worker w;
        CHECK_RC(plait_call_soon(&w, v->loop, note_thread, v), 0);
        CHECK_EQ(join(w), i);
        CHECK(!pthread_equal(v->ran_on, pthread_self()));
    }
    CHECK_RC(plait_call_later(NULL, v->loop, plait_ms(5), note_thread, v), 0);
    return 0;
}

static int serve_thread(void *arg)
{
    struct visitor v = {.loop = plait_loop()};
    (void)arg;
    plait_worker w = t_start_one(PLAIT_THREAD, sends_tasks, &v);
    CHECK_EQ(t_join_one(w), 0);
    CHECK_EQ(v.n, 100);
    CHECK(pthread_equal(v.ran_on, pthread_self()));
    CHECK_RC(plait_sleep(plait_ms(20)), 0);
    CHECK_EQ(v.n, 101);
    return 0;
}

static void other_threads_send_tasks_to_a_loop(void **state)
{
    (void)state;
    run(serve_thread);
}

static int try_to_send(void *arg)
{
    plait_worker w;
    struct visitor *v = arg;
    return plait_start(&w, PLAIT_TASK, forty_two, NULL, &(plait_options){.loop = v->loop});
}

static void a_thread_without_a_loop_takes_none(void **state)
{
    (void)state;
    struct visitor v = {.loop = plait_loop()};
    plait_worker w = t_start_one(PLAIT_THREAD, try_to_send, &v);
    plait_blame end;
    assert_int_equal(plait_join(w, &end, PLAIT_FOREVER), 0);
    assert_int_equal(end.status, PLAIT_ESTALE);
}

/* --- descriptors --- */

struct end {
    int fd, events, rc;
};

static int wait_for_end_of(void *arg)
{
    struct end *end = arg;
    end->rc = plait_wait_fd(end->fd, end->events, PLAIT_FOREVER);
    return 0;
}

static void fill(int fd)
{
    static char block[65536];
    while (write(fd, block, sizeof block) > 0)
        ;
}

static void drain(int fd)
{
    static char block[65536];
    while (read(fd, block, sizeof block) > 0)
        ;
}

static int reader_and_writer(void *arg)
{
    int s[2];
    (void)arg;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s) == 0);
    for (int writer_first = 0; writer_first < 2; writer_first++) {
        fill(s[0]);
        struct end ends[2] = {{s[0], PLAIT_READABLE, 0}, {s[0], PLAIT_WRITABLE, 0}};
        plait_worker a = start(wait_for_end_of, &ends[writer_first]);
        plait_worker b = start(wait_for_end_of, &ends[!writer_first]);
        CHECK_RC(plait_sleep(plait_ms(5)), 0);
        CHECK(write(s[1], "x", 1) == 1);
        CHECK_RC(plait_sleep(plait_ms(5)), 0);
        CHECK_RC(ends[0].rc, PLAIT_READABLE);
        CHECK_RC(ends[1].rc, 0); /* it waits still */
        drain(s[1]);
        join(a);
        join(b);
        CHECK_RC(ends[1].rc, PLAIT_WRITABLE);
        drain(s[0]);
    }
    close(s[0]);
    close(s[1]);
    return 0;
}

static void a_reader_and_a_writer_of_one_descriptor_are_both_told(void **state)
{
    (void)state;
    run(reader_and_writer);
}

static int reused_numbers(void *arg)
{
    (void)arg;
    for (int i = 0; i < 100; i++) { /* the same number each time, never told to the loop */
        int p[2];
        CHECK(pipe(p) == 0);
        struct end end = {p[0], PLAIT_READABLE, 0};
        plait_worker w = start(wait_for_end_of, &end);
        CHECK_RC(plait_yield(), 0);
        CHECK(write(p[1], "x", 1) == 1);
        join(w);
        CHECK_RC(end.rc, PLAIT_READABLE);
        close(p[0]);
        close(p[1]);
    }
    return 0;
}

static void numbers_of_descriptors_may_be_used_again(void **state)
{
    (void)state;
    run(reused_numbers);
}

static int bad_descriptors(void *arg)
{
    int p[2];
    (void)arg;
    CHECK(pipe(p) == 0);
    close(p[0]);
    close(p[1]);
    CHECK_RC(plait_wait_fd(p[0], PLAIT_READABLE, plait_ms(5)), PLAIT_EBADF);
    CHECK_RC(plait_wait_fd(-1, PLAIT_READABLE, plait_ms(5)), PLAIT_EBADF);
    CHECK_RC(plait_wait_fd(INT32_MAX, PLAIT_READABLE, plait_ms(5)), PLAIT_EBADF);
    int file = open("/proc/self/exe", O_RDONLY);
    CHECK_RC(plait_wait_fd(file, PLAIT_READABLE, plait_ms(5)), PLAIT_READABLE);
    close(file);
    return 0;
}

static void bad_descriptors_are_told_and_files_are_always_ready(void **state)
{
    (void)state;
    run(bad_descriptors);
}

/* --- forks and limits --- */

static int in_the_child(void *arg)
{
    plait_worker parents = *(plait_worker *)arg;
    CHECK_RC(plait_join(parents, NULL, PLAIT_FOREVER), PLAIT_EPRIVATE);
    CHECK_EQ(join(start(forty_two, NULL)), 42); /* a loop of its own */
    return 3;
}

static int forks(void *arg)
{
    (void)arg;
    plait_worker w = start(sleep_for_ever, NULL);
    CHECK_RC(plait_yield(), 0);
    CHECK_EQ(t_in_fork(in_the_child, &w), 3);
    CHECK_RC(plait_state(w), PLAIT_STATE_BLOCKED);
    plait_cancel(w);
    join(w);
    return 0;
}

static int forks_itself(void *arg)
{
    return forks(arg);
}

static int forks_from_both(void *arg)
{
    forks(arg);
    return join(start(forks_itself, NULL));
}

static void a_forked_child_has_none_of_its_parents_tasks(void **state)
{
    (void)state;
    run(forks_from_both);
}

static int uses_much_stack(void *arg)
{
    char block[1 << 20];
    (void)arg;
    memset(block, 7, sizeof block);
    return block[sizeof block / 2];
}

static int starts_a_process(void *arg)
{
    (void)arg;
    return t_join_one(t_start_one(PLAIT_PROCESS, uses_much_stack, NULL));
}

static int process_of_a_task(void *arg)
{
    (void)arg;
    CHECK_EQ(join(start(starts_a_process, NULL)), 7);
    return 0;
}

static void a_process_started_by_a_task_has_a_large_stack(void **state)
{
    (void)state;
    run(process_of_a_task);
}

static void without_descriptors_it_says_so(void **state)
{
    struct rlimit before, none;
    plait_worker w = {7, 7};
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int rc = plait_start(&w, PLAIT_TASK, forty_two, NULL, NULL);
    int rc2 = plait_run(forty_two, NULL);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(rc, PLAIT_EMFILE);
    assert_int_equal(rc2, PLAIT_EMFILE);
    assert_int_equal(w.slot, 7);
    assert_int_equal(plait_run(forty_two, NULL), 42);
}

static int many_at_once(void *arg)
{
    enum { MOST = 50000 };
    static plait_worker w[MOST];
    int n = t_is_sanitized() ? 2000 : MOST; /* TSan bears 8,000 flows at once */
    plait_event go = {0};
    (void)arg;
    for (int i = 0; i < n; i++)
        w[i] = start(wait_for_event, &go);
    CHECK_RC(plait_yield(), 0);
    CHECK_EQ(plait_task_list(NULL, 0), n);
    plait_event_set(&go);
    for (int i = 0; i < n; i++)
        CHECK_EQ(join(w[i]), 0);
    return 0;
}

static void fifty_thousand_wait_for_one_event(void **state)
{
    (void)state;
    run(many_at_once);
}

static int opens_and_closes(void *arg)
{
    (void)arg;
    return plait_run(forty_two, NULL);
}

static void loops_leave_nothing_behind(void **state)
{
    (void)state;
    opens_and_closes(NULL);
    int before = t_open_files();
    for (int i = 0; i < 100; i++)
        assert_int_equal(opens_and_closes(NULL), 42);
    for (int i = 0; i < 20; i++)
        assert_int_equal(t_join_one(t_start_one(PLAIT_THREAD, opens_and_closes, NULL)), 42);
    assert_int_equal(t_open_files(), before);
}

/* --- descriptors --- */

static int pair[2];

static void fill_up(int fd)
{
    char block[4096] = {0};
    while (send(fd, block, sizeof block, MSG_DONTWAIT) > 0)
        ;
}

static void drain_all(int fd)
{
    char block[4096];
    while (recv(fd, block, sizeof block, MSG_DONTWAIT) > 0)
        ;
}

static int wait_to_write(void *fd)
{
    return plait_wait_fd((int)(intptr_t)fd, PLAIT_WRITABLE, plait_seconds(10));
}

static void let_them_wait(void)
{
    for (int i = 0; i < 3; i++)
        CHECK_RC(plait_sleep(plait_ms(1)), 0);
}

static int write_to_one_who_has_said_all(void *arg)
{
    (void)arg;
    plait_worker writer = start(wait_to_write, (void *)(intptr_t)pair[0]);
    let_them_wait();
    CHECK_EQ(shutdown(pair[1], SHUT_WR), 0);
    let_them_wait();
    drain_all(pair[1]);
    CHECK_EQ(join(writer), PLAIT_WRITABLE);
    return 0;
}

static void a_peer_that_has_said_all_can_be_waited_for_to_write(void **state)
{
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    fill_up(pair[0]);
    run(write_to_one_who_has_said_all);
    close(pair[0]);
    close(pair[1]);
}

/* --- at the wrong moment --- */

/* Threads that spin at chosen points, so that another is faster than they are. */
static struct {
    int ready, go, b_runs, b_may_end, sent, ran;
    plait_worker a, home, away;
    plait_event over;
} scene;

static void begin_scene(void)
{
    memset(&scene, 0, sizeof scene);
}

static int count_ran(void *arg)
{
    (void)arg;
    COUNT(scene.ran);
    return 0;
}

static int end_on_word(void *arg)
{
    (void)arg;
    TELL(scene.ready, 1);
    UNTIL(SEEN(scene.go));
    return 0;
}

static int keep_the_pass(void *arg)
{
    (void)arg;
    TELL(scene.b_runs, 1);
    UNTIL(SEEN(scene.b_may_end));
    return 0;
}

static int run_a_and_b(void *arg)
{
    (void)arg;
    scene.a = start(end_on_word, NULL);
    return join(start(keep_the_pass, NULL));
}

static int be_away(void *arg)
{
    (void)arg;
    scene.away = plait_loop();
    TELL(scene.sent, 1);
    return plait_event_wait(&scene.over, PLAIT_FOREVER);
}

static int run_it(void *fn)
{
    plait_function *const *f = fn;
    return plait_run(*f, NULL);
}

/* It is in the inbox, ends by itself, is joined, and its record serves a task of another loop: all before the
 * first loop has looked into its inbox. */
static void a_record_is_not_used_again_while_it_is_in_an_inbox(void **state)
{
    (void)state;
    static plait_function *const two = run_a_and_b, *const away = be_away;
    begin_scene();
    plait_worker home = t_start_one(PLAIT_THREAD, run_it, (void *)(uintptr_t)&two);
    plait_worker other = t_start_one(PLAIT_THREAD, run_it, (void *)(uintptr_t)&away), sent;
    UNTIL(SEEN(scene.ready) && SEEN(scene.sent));
    assert_int_equal(plait_cancel(scene.a), 0);
    TELL(scene.go, 1);
    UNTIL(SEEN(scene.b_runs)); /* so the first is over, and off its stack */
    assert_int_equal(join(scene.a), 0);
    assert_int_equal(plait_call_soon(&sent, scene.away, count_ran, NULL), 0);
    UNTIL(SEEN(scene.ran) == 1);
    TELL(scene.b_may_end, 1);
    assert_int_equal(t_join_one(home), 0);
    assert_int_equal(join(sent), 0);
    assert_int_equal(plait_event_set(&scene.over), 0);
    assert_int_equal(t_join_one(other), 0);
}

static int send_one(void *arg)
{
    (void)arg;
    UNTIL(SEEN(scene.ready));
    CHECK_RC(plait_call_soon(&scene.a, scene.home, count_ran, NULL), 0);
    TELL(scene.sent, 1);
    return 0;
}

/* Until another thread has sent a task that nobody here has seen yet. */
static void be_sent_one(void)
{
    scene.home = plait_loop();
    TELL(scene.ready, 1);
    while (!SEEN(scene.sent)) /* not UNTIL: that lets the loop see it */
        sched_yield();
}

static int cancel_the_unseen(void *arg)
{
    (void)arg;
    be_sent_one();
    CHECK_RC(plait_cancel(scene.a), 0);
    CHECK_RC(join(scene.a), PLAIT_ECANCELED);
    CHECK_RC(plait_detach(start(late, &finished)), 0);
    return 0;
}

static void a_task_that_was_sent_is_cancelled_before_the_loop_has_seen_it(void **state)
{
    (void)state;
    begin_scene();
    finished = 0;
    plait_worker sender = t_start_one(PLAIT_THREAD, send_one, NULL);
    run(cancel_the_unseen);
    assert_int_equal(scene.ran, 0);
    assert_int_equal(finished, 1); /* none is counted twice */
    assert_int_equal(t_join_one(sender), 0);
}

static int return_with_one_unseen(void *arg)
{
    (void)arg;
    be_sent_one();
    return 0;
}

static void a_task_that_was_sent_at_the_end_of_the_run_is_run(void **state)
{
    (void)state;
    begin_scene();
    plait_worker sender = t_start_one(PLAIT_THREAD, send_one, NULL);
    run(return_with_one_unseen);
    assert_int_equal(scene.ran, 1);
    assert_int_equal(t_join_one(sender), 0);
    assert_int_equal(join(scene.a), 0);
}

/* --- processes, signals, threads of others --- */

static int sleep_deaf_to_signals(void *arg)
{
    (void)arg;
    CHECK_RC(plait_sleep(plait_ms(1)), 0); /* its handler is installed now */
    CHECK(signal(SIGURG, SIG_IGN) != SIG_ERR);
    TELL(scene.ready, 1);
    return plait_sleep(PLAIT_FOREVER);
}

static int cancel_one_deaf_to_signals(void *arg)
{
    static plait_function *const deaf = sleep_deaf_to_signals;
    plait_blame end;
    (void)arg;
    plait_worker w = t_start_one(PLAIT_THREAD, run_it, (void *)(uintptr_t)&deaf);
    UNTIL(SEEN(scene.ready));
    t_sleep(plait_ms(20)); /* it is asleep now, most likely */
    CHECK_RC(plait_cancel(w), 0);
    CHECK_RC(plait_join(w, &end, plait_seconds(20)), 0);
    CHECK_EQ(end.status, PLAIT_ECANCELED);
    return 0;
}

static void a_thread_whose_signal_is_ignored_is_cancelled_all_the_same(void **state)
{
    (void)state;
    begin_scene();
    assert_int_equal(t_in_fork(cancel_one_deaf_to_signals, NULL), 0);
}

static int sleep_with_a_signal_blocked(void *arg)
{
    sigset_t set;
    (void)arg;
    CHECK_RC(plait_sleep(plait_ms(1)), 0);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    CHECK_EQ(kill(getpid(), SIGTERM), 0);
    CHECK_RC(plait_sleep(plait_ms(5)), 0);
    return 0;
}

static int run_with_a_signal_blocked(void *arg)
{
    return plait_run(sleep_with_a_signal_blocked, arg);
}

static void signals_that_are_blocked_later_stay_blocked(void **state)
{
    (void)state;
    assert_int_equal(t_in_fork(run_with_a_signal_blocked, NULL), 0);
}

static void *leave_when_told(void *ticks)
{
    UNTIL(SEEN(*(int *)ticks) >= 50);
    _exit(3);
}

/* A process whose first thread is gone but which has not ended. */
static int leave_a_thread(void *ticks)
{
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, leave_when_told, ticks), 0);
    pthread_exit(NULL);
}

static int tick(void *ticks)
{
    while (COUNT(*(int *)ticks) < 50)
        CHECK_RC(plait_sleep(plait_ms(1)), 0);
    return 0;
}

static int join_one_that_lingers(void *ticks)
{
    plait_worker process = t_start_one(PLAIT_PROCESS, leave_a_thread, ticks);
    plait_worker ticker = start(tick, ticks);
    CHECK_RC(plait_join(process, NULL, plait_seconds(T_PATIENCE_S)), PLAIT_DIED);
    return join(ticker);
}

static void others_run_while_a_task_joins_a_process(void **state)
{
    (void)state;
    int *ticks = t_new(&t_processes, sizeof *ticks);
    assert_int_equal(plait_run(join_one_that_lingers, ticks), 0);
    *ticks = 0;
    assert_int_equal(plait_run(forty_two, NULL), 42);
    t_delete(&t_processes, ticks);
}

static int fork_and_return(void *arg)
{
    (void)arg;
    fflush(NULL);
    pid_t pid = fork();
    return pid == 0 ? 7 : t_reap(pid);
}

static int join_one_that_forks(void *arg)
{
    (void)arg;
    return join(start(fork_and_return, NULL));
}

static void a_forked_child_may_return_from_a_task(void **state)
{
    (void)state;
    if (t_is_sanitized()) /* at the child's exit ASan takes what hangs on the root's stack for lost */
        skip();
    assert_int_equal(plait_run(join_one_that_forks, NULL), 7);
}

static int use_tasks_only(void *arg)
{
    (void)arg;
    return join(start(forty_two, NULL));
}

static void a_foreign_thread_ends_after_its_tasks_and_leaves_nothing(void **state)
{
    (void)state;
    assert_int_equal(t_in_pthread(use_tasks_only, NULL), 42);
    int open = t_open_files();
    assert_int_equal(t_in_pthread(use_tasks_only, NULL), 42);
    finished = 0;
    assert_int_equal(t_in_pthread(leave_some, NULL), 0);
    assert_int_equal(finished, 3);
    assert_int_equal(t_open_files(), open);
}

static int exit_early(void *arg)
{
    leave_some(arg);
    pthread_exit(NULL);
}

static void a_thread_that_leaves_early_ends_after_its_tasks(void **state)
{
    (void)state;
    finished = 0;
    t_join_one(t_start_one(PLAIT_THREAD, exit_early, NULL));
    assert_int_equal(finished, 3);
}

static int wait_in_arena(void *event)
{
    return plait_event_wait(event, PLAIT_FOREVER);
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int fork_while_ears_listen(void *event)
{
    plait_worker w = start(wait_in_arena, event);
    for (int i = 0; i < 5; i++) {
        CHECK_RC(plait_sleep(plait_ms(1)), 0);
        CHECK_EQ(t_in_fork(nothing, NULL), 0);
    }
    CHECK_RC(plait_event_set(event), 0);
    return join(w);
}

static int run_with_ears(void *event)
{
    pl_uring_forget_all();
    return plait_run(fork_while_ears_listen, event);
}

/* Under ASan: the watches are freed once. */
static void a_process_may_fork_while_ears_listen(void **state)
{
    (void)state;
    plait_event *event = t_new(&t_processes, sizeof *event);
    assert_int_equal(t_in_fork(run_with_ears, event), 0);
    t_delete(&t_processes, event);
}

int main(int argc, char **argv)
{
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_returns_what_the_function_returned),
        cmocka_unit_test(run_within_run_is_refused),
        cmocka_unit_test(run_waits_for_all_tasks),
        cmocka_unit_test(run_cancels_daemons),
        cmocka_unit_test(a_task_can_be_joined_after_the_run),
        cmocka_unit_test(no_run_is_needed),
        cmocka_unit_test(a_thread_ends_after_its_tasks),
        cmocka_unit_test(cancelling_the_thread_cancels_its_own_flow),
        cmocka_unit_test(cancelling_the_thread_at_the_end_cancels_its_tasks),
        cmocka_unit_test(those_that_yield_take_turns),
        cmocka_unit_test(a_task_does_not_run_within_start),
        cmocka_unit_test(what_is_called_soon_is_called_in_order_and_what_it_calls_in_the_next_pass),
        cmocka_unit_test(of_equal_instants_the_first_asked_comes_first),
        cmocka_unit_test(tasks_that_keep_each_other_busy_shut_nobody_out),
        cmocka_unit_test(sleepers_sleep_together_and_never_too_short),
        cmocka_unit_test(a_join_that_would_never_end_is_refused),
        cmocka_unit_test(a_ring_of_joins_across_two_threads_is_refused),
        cmocka_unit_test(several_may_join_one_task_from_everywhere),
        cmocka_unit_test(a_joined_task_is_stale_for_every_call),
        cmocka_unit_test(a_detached_task_goes_by_itself),
        cmocka_unit_test(a_task_cancelled_before_its_first_step_never_runs),
        cmocka_unit_test(a_task_may_refuse_and_go_on),
        cmocka_unit_test(a_thread_may_cancel_a_task),
        cmocka_unit_test(a_request_reaches_whom_it_is_for),
        cmocka_unit_test(a_process_may_cancel_a_task_that_is_known),
        cmocka_unit_test(other_processes_are_told_that_a_task_is_private),
        cmocka_unit_test(tasks_have_names_and_parents_of_their_own),
        cmocka_unit_test(an_argument_is_copied_on_request),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(each_task_keeps_its_errno),
        cmocka_unit_test(a_stack_is_as_large_as_asked),
        cmocka_unit_test(every_task_can_be_seen),
        cmocka_unit_test(the_tree_shows_who_started_whom_and_what_they_wait_for),
        cmocka_unit_test(other_threads_send_tasks_to_a_loop),
        cmocka_unit_test(a_thread_without_a_loop_takes_none),
        cmocka_unit_test(a_reader_and_a_writer_of_one_descriptor_are_both_told),
        cmocka_unit_test(numbers_of_descriptors_may_be_used_again),
        cmocka_unit_test(bad_descriptors_are_told_and_files_are_always_ready),
        cmocka_unit_test(a_forked_child_has_none_of_its_parents_tasks),
        cmocka_unit_test(a_process_started_by_a_task_has_a_large_stack),
        cmocka_unit_test(without_descriptors_it_says_so),
        cmocka_unit_test(fifty_thousand_wait_for_one_event),
        cmocka_unit_test(a_peer_that_has_said_all_can_be_waited_for_to_write),
        cmocka_unit_test(a_record_is_not_used_again_while_it_is_in_an_inbox),
        cmocka_unit_test(a_task_that_was_sent_is_cancelled_before_the_loop_has_seen_it),
        cmocka_unit_test(a_task_that_was_sent_at_the_end_of_the_run_is_run),
        cmocka_unit_test(a_thread_whose_signal_is_ignored_is_cancelled_all_the_same),
        cmocka_unit_test(signals_that_are_blocked_later_stay_blocked),
        cmocka_unit_test(others_run_while_a_task_joins_a_process),
        cmocka_unit_test(a_forked_child_may_return_from_a_task),
        cmocka_unit_test(a_foreign_thread_ends_after_its_tasks_and_leaves_nothing),
        cmocka_unit_test(a_thread_that_leaves_early_ends_after_its_tasks),
        cmocka_unit_test(a_process_may_fork_while_ears_listen),
        cmocka_unit_test(loops_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
