/* Signals: handlers as tasks of the main thread, waiting for signals, the wake-up descriptor. */
#include "harness.h"
#include "park/park.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* What handlers leave behind, in this process. */
static struct {
    int runs;
    int at_once, most_at_once; /* runs that have begun and not ended */
    int tid;
    int64_t at; /* plait_now() of the last */
    uint64_t count;
    plait_signal_info info;
    bool in_c_handler;
} seen;

static void forget(void)
{
    memset(&seen, 0, sizeof seen);
}

static void note(const plait_signal_info *info, void *arg)
{
    (void)arg;
    seen.tid = gettid();
    seen.at = plait_now();
    seen.count += info->count;
    seen.info = *info;
    COUNT(seen.runs);
}

static void note_and_set(const plait_signal_info *info, void *event)
{
    note(info, NULL);
    CHECK_RC(plait_event_set(event), 0);
}

static void handle(int signum, plait_signal_function *fn, void *arg)
{
    CHECK_RC(plait_signal(signum, fn, arg, NULL), 0);
}

static void back_to_default(int signum)
{
    handle(signum, PLAIT_SIGNAL_DEFAULT, NULL);
}

/* --- the main threads there are: this one, a child process's, one with tasks in the flow and in a task --- */

static plait_function *to_run;
static void *to_run_with;

static int run_in_task(void *unused)
{
    (void)unused;
    CHECK_EQ(t_join_one(t_start_one(PLAIT_TASK, to_run, to_run_with)), 0);
    return 0;
}

static int run_beside_tasks(void *unused)
{
    (void)unused;
    return to_run(to_run_with);
}

/* Each time with one argument for all of them. */
static void in_each_main_thread(plait_function *fn, void *arg)
{
    to_run = fn;
    to_run_with = arg;
    forget();
    CHECK_EQ(fn(arg), 0);
    forget();
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, fn, arg)), 0);
    forget();
    CHECK_EQ(plait_run(run_in_task, NULL), 0);
    forget();
    CHECK_EQ(plait_run(run_beside_tasks, NULL), 0);
}

/* --- a signal from elsewhere while the main thread waits --- */

struct sender {
    int signum;
    int64_t after;
    bool to_itself; /* to its own thread, by pthread_kill */
    int sent;
};

static int send(void *sender)
{
    struct sender *s = sender;
    t_sleep(s->after);
    if (s->to_itself)
        CHECK_EQ(pthread_kill(pthread_self(), s->signum), 0);
    else
        CHECK_EQ(kill(getpid(), s->signum), 0);
    COUNT(s->sent);
    return 0;
}

/* --- where handlers run --- */

static int the_event_is_set(void *unused)
{
    (void)unused;
    plait_event *event = plait_alloc(sizeof *event);
    struct sender s = {.signum = SIGUSR1, .after = plait_ms(5), .to_itself = true};
    handle(SIGUSR1, note_and_set, event);
    plait_worker w = t_start_one(PLAIT_THREAD, send, &s);
    CHECK_RC(plait_event_wait(event, plait_seconds(T_PATIENCE_S)), 0);
    CHECK_EQ(seen.runs, 1);
    CHECK_EQ(seen.tid, getpid());
    CHECK_EQ(t_join_one(w), 0);
    plait_free(event);
    return 0;
}

static void a_handler_runs_in_the_main_thread_whoever_gets_the_signal(void **state)
{
    (void)state;
    in_each_main_thread(the_event_is_set, NULL);
    back_to_default(SIGUSR1);
}

/* --- every wait --- */

struct room {
    plait_event event;
    plait_lock lock;
    plait_rlock rlock;
    plait_rwlock rwlock;
    plait_pi_lock pi_lock;
    plait_semaphore semaphore;
    plait_condition condition;
    plait_barrier barrier;
    plait_latch latch;
    plait_worker thread, process;
    plait_event leave;
    int pipe[2];
    int held;
};

static int wait_event(void *room, int64_t timeout)
{
    return plait_event_wait(&((struct room *)room)->event, timeout);
}
static int wait_lock(void *room, int64_t timeout)
{
    return plait_lock_acquire(&((struct room *)room)->lock, timeout);
}
static int wait_rlock(void *room, int64_t timeout)
{
    return plait_rlock_acquire(&((struct room *)room)->rlock, timeout);
}
static int wait_read(void *room, int64_t timeout)
{
    return plait_rwlock_acquire_read(&((struct room *)room)->rwlock, timeout);
}
static int wait_write(void *room, int64_t timeout)
{
    return plait_rwlock_acquire_write(&((struct room *)room)->rwlock, timeout);
}
static int wait_pi_lock(void *room, int64_t timeout)
{
    return plait_pi_lock_acquire(&((struct room *)room)->pi_lock, timeout);
}
static int wait_semaphore(void *room, int64_t timeout)
{
    return plait_semaphore_acquire(&((struct room *)room)->semaphore, timeout);
}
static int wait_condition(void *room, int64_t timeout)
{
    struct room *r = room;
    CHECK_RC(plait_lock_acquire(plait_condition_lock(&r->condition), PLAIT_FOREVER), 0);
    int rc = plait_condition_wait(&r->condition, timeout);
    CHECK_RC(plait_lock_release(plait_condition_lock(&r->condition)), 0);
    return rc;
}
static int wait_latch(void *room, int64_t timeout)
{
    return plait_latch_wait(&((struct room *)room)->latch, timeout);
}
static int wait_thread(void *room, int64_t timeout)
{
    return plait_join(((struct room *)room)->thread, NULL, timeout);
}
static int wait_process(void *room, int64_t timeout)
{
    return plait_join(((struct room *)room)->process, NULL, timeout);
}
static int wait_fd(void *room, int64_t timeout)
{
    return plait_wait_fd(((struct room *)room)->pipe[0], PLAIT_READABLE, timeout);
}
static int wait_time(void *unused, int64_t timeout)
{
    (void)unused;
    int rc = plait_sleep(timeout);
    return rc == 0 ? PLAIT_ETIMEDOUT : rc;
}

static t_wait *const waits[] = {
    wait_event,     wait_lock,  wait_rlock,  wait_read,    wait_write, wait_pi_lock, wait_semaphore,
    wait_condition, wait_latch, wait_thread, wait_process, wait_fd,    wait_time};
enum { WAITS = sizeof waits / sizeof waits[0] };

/* A pi_lock holds up the tasks of a thread, so handlers too, if it has any. */
static bool is_possible(t_wait *wait)
{
    return wait != wait_pi_lock || !pl_self.task;
}

static int wait_for_leave(void *room)
{
    return plait_event_wait(&((struct room *)room)->leave, PLAIT_FOREVER);
}

static int hold_all(void *room)
{
    struct room *r = room;
    CHECK_RC(plait_lock_acquire(&r->lock, PLAIT_FOREVER), 0);
    CHECK_RC(plait_rlock_acquire(&r->rlock, PLAIT_FOREVER), 0);
    CHECK_RC(plait_rwlock_acquire_write(&r->rwlock, PLAIT_FOREVER), 0);
    CHECK_RC(plait_pi_lock_acquire(&r->pi_lock, PLAIT_FOREVER), 0);
    TELL(r->held, 1);
    CHECK_RC(plait_event_wait(&r->leave, PLAIT_FOREVER), 0);
    CHECK_RC(plait_pi_lock_release(&r->pi_lock), 0);
    CHECK_RC(plait_rwlock_release_write(&r->rwlock), 0);
    CHECK_RC(plait_rlock_release(&r->rlock), 0);
    CHECK_RC(plait_lock_release(&r->lock), 0);
    return 0;
}

/* In the calling process; its workers are there until the room is left. */
static void enter(struct room *r)
{
    plait_semaphore_init(&r->semaphore, 0, 0);
    plait_latch_init(&r->latch, 1);
    r->thread = t_start_one(PLAIT_THREAD, hold_all, r);
    r->process = t_start_one(PLAIT_PROCESS, wait_for_leave, r);
    CHECK_EQ(pipe(r->pipe), 0);
    UNTIL(SEEN(r->held));
}

static void leave(struct room *r)
{
    CHECK_RC(plait_event_set(&r->leave), 0);
    CHECK_EQ(t_join_one(r->thread), 0);
    CHECK_EQ(t_join_one(r->process), 0);
    close(r->pipe[0]);
    close(r->pipe[1]);
    plait_free(r);
}

/* True: the handler ran within the wait, which took its time all the same. False: the signal came later; then the
 * next wait is for it. */
static bool goes_on(struct room *r, t_wait *wait, int64_t time)
{
    struct sender s = {.signum = SIGUSR1, .after = plait_ms(4), .to_itself = true};
    forget();
    plait_worker w = t_start_one(PLAIT_THREAD, send, &s);
    int64_t start = plait_now();
    CHECK_RC(wait(r, time), PLAIT_ETIMEDOUT);
    CHECK(plait_now() - start >= time);
    bool within = seen.runs == 1;
    CHECK_EQ(t_join_one(w), 0);
    while (seen.runs == 0)
        CHECK_RC(plait_sleep(plait_ms(1)), 0);
    CHECK_EQ(seen.runs, 1);
    return within;
}

static int each_wait_goes_on(void *unused)
{
    (void)unused;
    struct room *r = plait_alloc(sizeof *r);
    enter(r);
    handle(SIGUSR1, note, NULL);
    for (int i = 0; i < WAITS; i++) {
        if (!is_possible(waits[i]))
            continue;
        int64_t time = plait_ms(20);
        while (!goes_on(r, waits[i], time)) { /* the sender had no processor */
            time *= 2;
            CHECK(time < PL_POLL_NAP); /* after one it would look by itself */
        }
    }
    leave(r);
    return 0;
}

static void whatever_the_main_thread_waits_for_it_handles_and_waits_on(void **state)
{
    (void)state;
    in_each_main_thread(each_wait_goes_on, NULL);
    back_to_default(SIGUSR1);
}

/* --- what handlers may do --- */

static void use_all(const plait_signal_info *info, void *room)
{
    struct room *r = room;
    for (int i = 0; i < WAITS; i++)
        if (is_possible(waits[i]))
            CHECK_RC(waits[i](r, plait_us(500)), PLAIT_ETIMEDOUT);
    plait_worker w = t_start_one(PLAIT_PROCESS, wait_for_leave, r);
    CHECK_RC(plait_cancel(w), 0);
    CHECK_EQ(t_join_one(w), PLAIT_ECANCELED);
    char *text = malloc(100);
    CHECK(text != NULL);
    free(text);
    note(info, NULL);
}

/* A handler waits within each kind of wait, and the outer one is still what it was. */
static int waits_are_nested(void *unused)
{
    (void)unused;
    struct room *r = plait_alloc(sizeof *r);
    enter(r);
    handle(SIGUSR2, use_all, r);
    for (int i = 0; i < WAITS; i++) {
        struct sender s = {.signum = SIGUSR2, .after = plait_ms(3)};
        if (!is_possible(waits[i]))
            continue;
        forget();
        plait_worker w = t_start_one(PLAIT_THREAD, send, &s);
        CHECK_RC(waits[i](r, plait_ms(12)), PLAIT_ETIMEDOUT);
        CHECK_EQ(t_join_one(w), 0);
        while (SEEN(seen.runs) == 0)
            CHECK_RC(plait_sleep(plait_ms(1)), 0);
        CHECK_EQ(seen.runs, 1);
    }
    leave(r);
    return 0;
}

static void a_handler_may_wait_for_anything_in_any_wait(void **state)
{
    (void)state;
    in_each_main_thread(waits_are_nested, NULL);
    back_to_default(SIGUSR2);
}

static void take_and_give(const plait_signal_info *info, void *lock)
{
    CHECK_RC(plait_lock_acquire(lock, PLAIT_FOREVER), 0);
    note(info, NULL);
    CHECK_RC(plait_lock_release(lock), 0);
}

static int the_holder_goes_on(void *unused)
{
    (void)unused;
    plait_lock *lock = plait_alloc(sizeof *lock);
    handle(SIGUSR1, take_and_give, lock);
    CHECK_RC(plait_lock_acquire(lock, PLAIT_FOREVER), 0);
    raise(SIGUSR1);
    CHECK_RC(plait_sleep(plait_ms(3)), 0);
    CHECK_EQ(seen.runs, 0);
    CHECK_RC(plait_lock_release(lock), 0);
    while (seen.runs == 0)
        CHECK_RC(plait_sleep(plait_ms(1)), 0);
    CHECK_EQ(plait_lock_locked(lock), 0);
    plait_free(lock);
    return 0;
}

static void a_handler_may_wait_for_a_lock_that_the_main_thread_holds(void **state)
{
    (void)state;
    in_each_main_thread(the_holder_goes_on, NULL);
    back_to_default(SIGUSR1);
}

static void linger(const plait_signal_info *info, void *arg)
{
    seen.at_once++;
    if (seen.at_once > seen.most_at_once)
        seen.most_at_once = seen.at_once;
    CHECK_RC(plait_sleep(plait_ms(5)), 0);
    seen.at_once--;
    note(info, arg);
}

static int one_at_a_time(void *unused)
{
    (void)unused;
    handle(SIGUSR1, linger, NULL);
    for (int i = 0; i < 4; i++) {
        raise(SIGUSR1);
        CHECK_RC(plait_sleep(plait_ms(1)), 0);
    }
    while (seen.count < 4)
        CHECK_RC(plait_sleep(plait_ms(1)), 0);
    CHECK_EQ(seen.most_at_once, 1);
    CHECK(seen.runs >= 2); /* the second came while the first lingered */
    forget();
    handle(SIGUSR2, linger, NULL);
    raise(SIGUSR1);
    raise(SIGUSR2);
    while (seen.count < 2)
        CHECK_RC(plait_sleep(plait_ms(1)), 0);
    CHECK_EQ(seen.most_at_once, 2);
    return 0;
}

static void runs_for_one_signal_do_not_overlap(void **state)
{
    (void)state;
    in_each_main_thread(one_at_a_time, NULL);
    back_to_default(SIGUSR1);
    back_to_default(SIGUSR2);
}

/* --- when not --- */

static int only_where_it_waits(void *unused)
{
    (void)unused;
    plait_lock lock = {0};
    handle(SIGUSR1, note, NULL);
    for (int i = 0; i < 5; i++) {
        raise(SIGUSR1);
        CHECK_RC(plait_lock_acquire(&lock, PLAIT_FOREVER), 0); /* it does not wait */
        CHECK_RC(plait_lock_release(&lock), 0);
    }
    CHECK_EQ(seen.runs, 0);
    CHECK_RC(plait_checkpoint(), 0);
    CHECK_RC(plait_yield(), 0);
    CHECK_EQ(seen.runs, 1);
    CHECK_EQ(seen.count, 5);
    raise(SIGUSR1);
    CHECK_RC(plait_yield(), 0);
    if (seen.runs < 2) /* beside tasks the loop looks now and then */
        CHECK_RC(plait_sleep(plait_ms(1)), 0);
    CHECK_EQ(seen.runs, 2);
    CHECK_EQ(seen.count, 6);
    return 0;
}

static void a_handler_runs_where_the_main_thread_waits_and_nowhere_else(void **state)
{
    (void)state;
    in_each_main_thread(only_where_it_waits, NULL);
    back_to_default(SIGUSR1);
}

static int compute(void *unused)
{
    (void)unused;
    while (SEEN(seen.runs) == 0)
        plait_checkpoint();
    return 0;
}

static void who_computes_handles_at_checkpoints(void **state)
{
    (void)state;
    struct sender s = {.signum = SIGUSR1, .after = plait_ms(5)};
    forget();
    handle(SIGUSR1, note, NULL);
    plait_worker w = t_start_one(PLAIT_THREAD, send, &s);
    CHECK_EQ(compute(NULL), 0);
    CHECK_EQ(t_join_one(w), 0);
    back_to_default(SIGUSR1);
}

static int spin_with_others(void *unused)
{
    (void)unused;
    while (SEEN(seen.runs) == 0)
        CHECK_RC(plait_yield(), 0);
    return 0;
}

static int start_two(void *unused)
{
    (void)unused;
    plait_worker a = t_start_one(PLAIT_TASK, spin_with_others, NULL);
    plait_worker b = t_start_one(PLAIT_TASK, spin_with_others, NULL);
    raise(SIGUSR1);
    CHECK_EQ(t_join_one(a), 0);
    CHECK_EQ(t_join_one(b), 0);
    return 0;
}

static void tasks_that_keep_the_loop_busy_do_not_shut_handlers_out(void **state)
{
    (void)state;
    forget();
    handle(SIGUSR1, note, NULL);
    CHECK_EQ(plait_run(start_two, NULL), 0);
    CHECK_EQ(seen.runs, 1);
    back_to_default(SIGUSR1);
}

/* --- what is known of them --- */

static int tell_all(void *unused)
{
    (void)unused;
    handle(SIGUSR1, note, NULL);
    CHECK_EQ(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 4711}), 0);
    CHECK_RC(plait_sleep(plait_ms(1)), 0);
    CHECK_EQ(seen.info.signum, SIGUSR1);
    CHECK_EQ(seen.info.code, SI_QUEUE);
    CHECK_EQ(seen.info.pid, getpid());
    CHECK_EQ(seen.info.uid, getuid());
    CHECK_EQ((int)seen.info.value, 4711);
    CHECK_EQ(seen.info.count, 1);
    kill(getpid(), SIGUSR1);
    CHECK_RC(plait_sleep(plait_ms(1)), 0);
    CHECK_EQ(seen.info.code, SI_USER);
    CHECK_EQ(seen.info.value, 0);
    return 0;
}

static void a_handler_is_told_who_sent_it(void **state)
{
    (void)state;
    in_each_main_thread(tell_all, NULL);
    back_to_default(SIGUSR1);
}

static int give_7(void *unused)
{
    (void)unused;
    return 7;
}

static void the_end_of_a_child_is_told_and_left_to_others(void **state)
{
    (void)state;
    forget();
    handle(SIGCHLD, note, NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(7);
    while (seen.runs == 0)
        CHECK_RC(plait_sleep(plait_ms(1)), 0);
    CHECK_EQ(seen.info.pid, pid);
    CHECK_EQ(seen.info.code, CLD_EXITED);
    CHECK_EQ(seen.info.status, 7);
    CHECK_EQ(t_reap(pid), 7);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, give_7, NULL)), 7);
    back_to_default(SIGCHLD);
}

/* --- setting --- */

static void c_handler(int signum)
{
    (void)signum;
    seen.in_c_handler = true;
}

static plait_signal_action action_of(int signum)
{
    plait_signal_action action;
    CHECK_RC(plait_signal_get(signum, &action), 0);
    return action;
}

static void what_was_set_before_is_told_and_comes_back(void **state)
{
    (void)state;
    plait_signal_action before;
    int one;
    forget();
    CHECK(action_of(SIGUSR1).fn == PLAIT_SIGNAL_DEFAULT);
    CHECK_RC(plait_signal(SIGUSR1, note, &one, &before), 0);
    CHECK(before.fn == PLAIT_SIGNAL_DEFAULT);
    CHECK_RC(plait_signal(SIGUSR1, PLAIT_SIGNAL_IGNORE, NULL, &before), 0);
    CHECK(before.fn == note && before.arg == &one);
    raise(SIGUSR1);
    CHECK_RC(plait_signal(SIGUSR1, note, NULL, &before), 0);
    CHECK(before.fn == PLAIT_SIGNAL_IGNORE);
    CHECK_RC(plait_sleep(plait_ms(1)), 0);
    CHECK_EQ(seen.runs, 0); /* it was ignored */
    signal(SIGUSR1, c_handler);
    CHECK(action_of(SIGUSR1).fn == PLAIT_SIGNAL_FOREIGN);
    CHECK_RC(plait_signal(SIGUSR1, note, NULL, &before), 0);
    CHECK(before.fn == PLAIT_SIGNAL_FOREIGN);
    CHECK_RC(plait_signal(SIGUSR1, before.fn, before.arg, NULL), 0);
    raise(SIGUSR1);
    CHECK(seen.in_c_handler);
    CHECK_EQ(seen.runs, 0);
    back_to_default(SIGUSR1);
}

static void what_came_before_a_handler_was_taken_away_is_not_for_the_next(void **state)
{
    (void)state;
    forget();
    handle(SIGUSR1, note, NULL);
    raise(SIGUSR1);
    back_to_default(SIGUSR1);
    handle(SIGUSR1, note, NULL);
    CHECK_RC(plait_sleep(plait_ms(1)), 0);
    CHECK_EQ(seen.runs, 0);
    raise(SIGUSR1);
    CHECK_RC(plait_sleep(plait_ms(1)), 0);
    CHECK_EQ(seen.runs, 1);
    back_to_default(SIGUSR1);
}

static void set_another(const plait_signal_info *info, void *arg)
{
    (void)arg;
    handle(info->signum, note, NULL);
    raise(info->signum);
}

static void a_handler_may_set_another(void **state)
{
    (void)state;
    forget();
    handle(SIGUSR1, set_another, NULL);
    raise(SIGUSR1);
    while (seen.runs == 0)
        CHECK_RC(plait_sleep(plait_ms(1)), 0);
    CHECK_EQ(seen.count, 1);
    back_to_default(SIGUSR1);
}

static void signals_that_cannot_be_set_are_refused(void **state)
{
    (void)state;
    const int impossible[] = {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    const int unknown[] = {0, -1, 65, 1000, 32, 33};
    plait_signal_action untouched = {note, &untouched};
    errno = EXDEV;
    for (size_t i = 0; i < sizeof impossible / sizeof impossible[0]; i++)
        CHECK_RC(plait_signal(impossible[i], note, NULL, &untouched), PLAIT_ENOTSUP);
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        CHECK_RC(plait_signal(unknown[i], note, NULL, &untouched), PLAIT_EINVAL);
        CHECK_RC(plait_signal_get(unknown[i], &untouched), PLAIT_EINVAL);
    }
    CHECK_RC(plait_signal(SIGURG, note, NULL, &untouched), PLAIT_EBUSY);
    CHECK_RC(plait_signal(SIGTTOU, PLAIT_SIGNAL_FOREIGN, NULL, &untouched), PLAIT_EINVAL);
    CHECK_RC(plait_signal_get(SIGUSR1, NULL), PLAIT_EINVAL);
    CHECK(untouched.fn == note && untouched.arg == &untouched);
    CHECK_EQ(errno, EXDEV);
    CHECK(action_of(SIGTTOU).fn == PLAIT_SIGNAL_DEFAULT);
}

static int try_from_elsewhere(void *unused)
{
    (void)unused;
    plait_signal_action action;
    int previous;
    errno = EXDEV;
    CHECK_RC(plait_signal(SIGUSR1, note, NULL, &action), PLAIT_EPERM);
    CHECK_RC(plait_signal_get(SIGUSR1, &action), PLAIT_EPERM);
    CHECK_RC(plait_signal_set_wakeup_fd(-1, &previous), PLAIT_EPERM);
    CHECK_EQ(errno, EXDEV);
    return 0;
}

static void only_the_main_thread_sets_them(void **state)
{
    (void)state;
    CHECK_EQ(t_join_one(t_start_one(PLAIT_THREAD, try_from_elsewhere, NULL)), 0);
    CHECK_EQ(t_in_pthread(try_from_elsewhere, NULL), 0);
    CHECK(action_of(SIGUSR1).fn == PLAIT_SIGNAL_DEFAULT);
}

static int set_and_raise(void *unused)
{
    (void)unused;
    handle(SIGTERM, note, NULL);
    raise(SIGTERM);
    CHECK_RC(plait_sleep(plait_ms(1)), 0);
    CHECK_EQ(seen.runs, 1);
    return 0;
}

static void the_first_thread_of_a_child_is_a_main_thread(void **state)
{
    (void)state;
    forget();
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, set_and_raise, NULL)), 0);
    CHECK_EQ(t_in_fork(set_and_raise, NULL), 0);
    CHECK(action_of(SIGTERM).fn == PLAIT_SIGNAL_DEFAULT);
}

/* --- forked children --- */

static int has_the_handler(void *unused)
{
    (void)unused;
    forget();
    CHECK_RC(plait_sleep(plait_ms(1)), 0);
    CHECK_EQ(seen.runs, 0); /* what is pending is the parent's */
    raise(SIGUSR1);
    CHECK_RC(plait_sleep(plait_ms(1)), 0);
    CHECK_EQ(seen.runs, 1);
    CHECK_EQ(seen.count, 1);
    return 0;
}

static int fork_elsewhere(void *unused)
{
    (void)unused;
    return t_in_fork(has_the_handler, NULL);
}

static int has_the_handler_in_each_child(void *unused)
{
    (void)unused;
    handle(SIGUSR1, note, NULL);
    raise(SIGUSR1);
    int (*const ways[])(plait_function *, void *) = {t_in_fork, t_in_pthread};
    plait_function *const what[] = {has_the_handler, fork_elsewhere};
    CHECK_EQ(ways[0](what[0], NULL), 0);
    CHECK_EQ(ways[1](what[1], NULL), 0); /* forked by a thread that is not the main one */
    plait_worker w = t_start_one(PLAIT_PROCESS, has_the_handler, NULL);
    CHECK_EQ(t_join_one(w), 0);
    CHECK_RC(plait_sleep(plait_ms(1)), 0);
    CHECK_EQ(seen.runs, 1); /* here it was not lost */
    return 0;
}

static void a_forked_child_has_the_handlers_and_nothing_pending(void **state)
{
    (void)state;
    in_each_main_thread(has_the_handler_in_each_child, NULL);
    back_to_default(SIGUSR1);
}

static int is_not_blocked(void *unused)
{
    (void)unused;
    sigset_t blocked;
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    CHECK_EQ(sigismember(&blocked, SIGURG), 0);
    return 0;
}

static int start_from_tasks(void *unused)
{
    (void)unused;
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, is_not_blocked, NULL)), 0);
    CHECK_EQ(t_in_fork(is_not_blocked, NULL), 0);
    return 0;
}

static void a_forked_child_does_not_have_the_nudge_blocked(void **state)
{
    (void)state;
    in_each_main_thread(start_from_tasks, NULL);
}

/* --- no means --- */

static void without_a_descriptor_a_handler_runs_as_soon_as_there_is_one(void **state)
{
    (void)state;
    struct rlimit limit, low;
    int fds[32], ends[2], n = 0;
    forget();
    handle(SIGUSR1, note, NULL);
    CHECK_EQ(pipe(ends), 0);
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = limit;
    low.rlim_cur = 32;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
    while (n < 32 && (fds[n] = dup(2)) >= 0)
        n++;
    raise(SIGUSR1);
    CHECK_RC(plait_sleep(plait_ms(5)), 0);
    CHECK_EQ(seen.runs, 0);
    CHECK_RC(plait_wait_fd(ends[0], PLAIT_READABLE, plait_ms(5)), PLAIT_ETIMEDOUT);
    CHECK_EQ(seen.runs, 0);
    while (n > 0)
        close(fds[--n]);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_RC(plait_sleep(plait_ms(1)), 0);
    CHECK_EQ(seen.runs, 1);
    back_to_default(SIGUSR1);
    close(ends[0]);
    close(ends[1]);
}

/* --- the wake-up descriptor --- */

static void new_pipe(int ends[2])
{
    CHECK_EQ(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
}

static int has_no_wakeup_fd(void *unused)
{
    (void)unused;
    int previous = 0;
    raise(SIGUSR1);
    CHECK_RC(plait_signal_set_wakeup_fd(-1, &previous), 0);
    CHECK_EQ(previous, -1);
    return 0;
}

static void a_byte_is_written_for_each_signal(void **state)
{
    (void)state;
    int ends[2], previous = 0;
    unsigned char bytes[4];
    new_pipe(ends);
    forget();
    CHECK_RC(plait_signal_set_wakeup_fd(ends[1], &previous), 0);
    CHECK_EQ(previous, -1);
    handle(SIGUSR1, note, NULL);
    handle(SIGUSR2, note, NULL);
    signal(SIGALRM, c_handler);
    errno = EXDEV;
    raise(SIGUSR1);
    raise(SIGALRM); /* not plait's */
    raise(SIGUSR2);
    CHECK_EQ(errno, EXDEV);
    CHECK_EQ(read(ends[0], bytes, sizeof bytes), 2); /* at once, before a handler ran */
    CHECK_EQ(seen.runs, 0);
    CHECK_EQ(bytes[0], SIGUSR1);
    CHECK_EQ(bytes[1], SIGUSR2);
    CHECK_EQ(t_in_fork(has_no_wakeup_fd, NULL), 0);
    CHECK_EQ(read(ends[0], bytes, sizeof bytes), -1);
    CHECK_RC(plait_signal_set_wakeup_fd(-1, &previous), 0);
    CHECK_EQ(previous, ends[1]);
    raise(SIGUSR1);
    CHECK_EQ(read(ends[0], bytes, sizeof bytes), -1);
    back_to_default(SIGUSR1);
    back_to_default(SIGUSR2);
    back_to_default(SIGALRM);
    close(ends[0]);
    close(ends[1]);
}

static void what_does_not_fit_is_counted(void **state)
{
    (void)state;
    int ends[2];
    char fill[4096] = {0};
    new_pipe(ends);
    while (write(ends[1], fill, sizeof fill) > 0)
        ;
    while (write(ends[1], fill, 1) > 0)
        ;
    uint64_t before = plait_signal_wakeups_lost();
    handle(SIGUSR1, note, NULL);
    CHECK_RC(plait_signal_set_wakeup_fd(ends[1], NULL), 0);
    errno = EXDEV;
    raise(SIGUSR1);
    CHECK_EQ(errno, EXDEV);
    CHECK_EQ(plait_signal_wakeups_lost(), before + 1);
    CHECK_RC(plait_signal_set_wakeup_fd(-1, NULL), 0);
    back_to_default(SIGUSR1);
    close(ends[0]);
    close(ends[1]);
}

static void a_wakeup_descriptor_that_blocks_or_is_none_is_refused(void **state)
{
    (void)state;
    int ends[2], previous = 4711;
    CHECK_EQ(pipe(ends), 0);
    errno = EXDEV;
    CHECK_RC(plait_signal_set_wakeup_fd(ends[1], &previous), PLAIT_EINVAL);
    CHECK_RC(plait_signal_set_wakeup_fd(-2, &previous), PLAIT_EBADF);
    CHECK_RC(plait_signal_set_wakeup_fd(100000, &previous), PLAIT_EBADF);
    CHECK_EQ(previous, 4711);
    CHECK_EQ(errno, EXDEV);
    close(ends[0]);
    close(ends[1]);
    CHECK_RC(plait_signal_set_wakeup_fd(-1, &previous), 0);
    CHECK_EQ(previous, -1);
}

/* --- waiting for signals --- */

static sigset_t set_of(int first, int second)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, first);
    sigaddset(&set, second);
    return set;
}

static void block(int how)
{
    sigset_t set = set_of(SIGUSR1, SIGRTMIN);
    pthread_sigmask(how, &set, NULL);
}

static int wait_signal(void *unused, int64_t timeout)
{
    (void)unused;
    sigset_t set = set_of(SIGUSR1, SIGRTMIN);
    return plait_signal_wait(&set, NULL, timeout);
}

static int takes_what_is_pending(void *unused)
{
    (void)unused;
    plait_signal_info info;
    sigset_t set = set_of(SIGUSR1, SIGRTMIN);
    errno = EXDEV;
    CHECK_RC(plait_signal_wait(&set, &info, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
    sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_ptr = &info});
    sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 5});
    kill(getpid(), SIGUSR1);
    CHECK_RC(plait_signal_wait(&set, &info, PLAIT_NOWAIT), SIGUSR1);
    CHECK_EQ(info.signum, SIGUSR1);
    CHECK_EQ(info.code, SI_USER);
    CHECK_EQ(info.pid, getpid());
    CHECK_EQ(info.uid, getuid());
    CHECK_EQ(info.count, 1);
    CHECK_RC(plait_signal_wait(&set, &info, PLAIT_FOREVER), SIGRTMIN); /* these queue */
    CHECK_EQ(info.code, SI_QUEUE);
    CHECK(info.value == (int64_t)(intptr_t)&info);
    CHECK_RC(plait_signal_wait(&set, NULL, PLAIT_FOREVER), SIGRTMIN);
    CHECK_RC(plait_signal_wait(&set, &info, plait_ms(2)), PLAIT_ETIMEDOUT);
    CHECK_EQ(errno, EXDEV);
    return 0;
}

static void a_wait_takes_what_is_pending(void **state)
{
    (void)state;
    block(SIG_BLOCK);
    in_each_main_thread(takes_what_is_pending, NULL);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_THREAD, takes_what_is_pending, NULL)), 0);
    block(SIG_UNBLOCK);
}

static int signal_ends_wait(void *unused)
{
    (void)unused;
    struct sender s = {.signum = SIGUSR1, .after = plait_ms(5)};
    plait_worker w = t_start_one(PLAIT_THREAD, send, &s);
    CHECK_RC(wait_signal(NULL, plait_seconds(T_PATIENCE_S)), SIGUSR1);
    CHECK_EQ(t_join_one(w), 0);
    return 0;
}

static void a_signal_ends_the_wait_of_any_kind_of_worker(void **state)
{
    (void)state;
    block(SIG_BLOCK);
    in_each_main_thread(signal_ends_wait, NULL);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_THREAD, signal_ends_wait, NULL)), 0);
    block(SIG_UNBLOCK);
}

static int take_one(void *taken)
{
    CHECK_RC(wait_signal(NULL, plait_seconds(T_PATIENCE_S)), SIGUSR1);
    COUNT(*(int *)taken);
    return 0;
}

static void each_signal_goes_to_one_of_those_who_wait(void **state)
{
    (void)state;
    enum { N = 6 };
    plait_worker w[N];
    int taken = 0;
    block(SIG_BLOCK);
    for (int i = 0; i < N; i++)
        w[i] = t_start_one(i % 2 ? PLAIT_THREAD : PLAIT_TASK, take_one, &taken);
    for (int i = 0; i < N; i++) {
        kill(getpid(), SIGUSR1);
        UNTIL(SEEN(taken) == i + 1);
    }
    for (int i = 0; i < N; i++)
        CHECK_EQ(t_join_one(w[i]), 0);
    CHECK_RC(wait_signal(NULL, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
    block(SIG_UNBLOCK);
}

static void waits_keep_the_promises_of_all_waits(void **state)
{
    (void)state;
    block(SIG_BLOCK);
    t_check_bad_timeouts(wait_signal, NULL);
    t_check_time(wait_signal, NULL);
    t_check_signals(wait_signal, NULL);
    FOR_EACH_SETTING(s)
    {
        t_check_cancel(s, wait_signal, NULL);
        t_check_cancel_pending(s, wait_signal, NULL);
        t_check_cancel_counts(s, wait_signal, NULL);
        t_check_uncancel(s, wait_signal, NULL);
    }
    block(SIG_UNBLOCK);
}

static void sets_that_cannot_be_waited_for_are_refused(void **state)
{
    (void)state;
    sigset_t none, open = set_of(SIGUSR1, SIGUSR2), urgent = set_of(SIGURG, SIGURG);
    plait_signal_info untouched = {.signum = 4711};
    sigemptyset(&none);
    errno = EXDEV;
    CHECK_RC(plait_signal_wait(NULL, &untouched, PLAIT_NOWAIT), PLAIT_EINVAL);
    CHECK_RC(plait_signal_wait(&none, &untouched, PLAIT_NOWAIT), PLAIT_EINVAL);
    CHECK_RC(plait_signal_wait(&open, &untouched, PLAIT_NOWAIT), PLAIT_EPERM);
    block(SIG_BLOCK);
    CHECK_RC(plait_signal_wait(&open, &untouched, PLAIT_NOWAIT), PLAIT_EPERM); /* one of the two */
    CHECK_RC(plait_signal_wait(&urgent, &untouched, PLAIT_NOWAIT), PLAIT_EBUSY);
    CHECK_EQ(untouched.signum, 4711);
    CHECK_EQ(errno, EXDEV);
    block(SIG_UNBLOCK);
}

static void a_wait_leaves_no_descriptor(void **state)
{
    (void)state;
    int before = t_open_files();
    block(SIG_BLOCK);
    for (int i = 0; i < 10; i++)
        CHECK_RC(wait_signal(NULL, plait_ms(1)), PLAIT_ETIMEDOUT);
    block(SIG_UNBLOCK);
    CHECK_EQ(t_open_files(), before);
}

/* --- reports --- */

static long reports;

static void count_report(const char *text, void *unused)
{
    (void)text;
    (void)unused;
    reports++;
}

static void who_waits_for_a_signal_to_be_handled_is_not_taken_for_deadlocked(void **state)
{
    (void)state;
    plait_event *event = plait_alloc(sizeof *event);
    struct sender s = {.signum = SIGUSR1, .after = plait_ms(600)};
    handle(SIGUSR1, note_and_set, event);
    plait_set_log(count_report, NULL);
    pid_t helper = fork();
    if (helper == 0) {
        t_sleep(s.after);
        kill(getppid(), SIGUSR1);
        _exit(0);
    }
    CHECK_RC(plait_event_wait(event, PLAIT_FOREVER), 0);
    CHECK_EQ(t_reap(helper), 0);
    plait_set_log(NULL, NULL);
    CHECK_EQ(reports, 0);
    back_to_default(SIGUSR1);
    plait_free(event);
}

/* --- at each step --- */

#ifdef PL_STEP_HOOKS
struct meeting {
    plait_event event;
    int ends[2];
};

static void end_wait(const plait_signal_info *info, void *meeting)
{
    struct meeting *m = meeting;
    (void)info;
    seen.runs++;
    plait_event_set(&m->event);
    CHECK_EQ(write(m->ends[1], "x", 1), 1);
}

static bool raise_it(void *unused)
{
    (void)unused;
    raise(SIGUSR1);
    return true;
}

static bool nothing(void *unused)
{
    (void)unused;
    return true;
}

static int wait_meeting(void *meeting, int64_t timeout)
{
    return plait_event_wait(&((struct meeting *)meeting)->event, timeout);
}

static int wait_meeting_fd(void *meeting, int64_t timeout)
{
    int rc = plait_wait_fd(((struct meeting *)meeting)->ends[0], PLAIT_READABLE, timeout);
    return rc > 0 ? 0 : rc;
}

/* The signal comes right before step k of a wait that its handler ends. True: it came in time. */
static bool meet_at(struct meeting *m, t_wait *call, long k)
{
    struct t_meddling meddling = {.deeds = {raise_it, nothing}, .at = {k, 1}};
    char byte;
    for (int tries = 0; tries < T_TRIES; tries++) {
        forget();
        plait_event_clear(&m->event);
        int rc = t_meddle(&meddling, call, m, plait_ms(T_SHORT_MS));
        if (!meddling.done[0]) {
            CHECK_RC(rc, PLAIT_ETIMEDOUT);
            return false;
        }
        while (seen.runs == 0) /* it came too late for this wait */
            CHECK_RC(plait_sleep(plait_ms(1)), 0);
        CHECK(rc == 0 || rc == PLAIT_ETIMEDOUT);
        CHECK_EQ(seen.runs, 1);
        CHECK_EQ(read(m->ends[0], &byte, 1), 1);
        if (meddling.took < plait_ms(T_TOO_LONG_MS))
            return true;
    }
    t_die(__FILE__, __LINE__, "a signal before step %ld is not heard", k);
}

static int meet_at_each(void *meeting)
{
    t_wait *const calls[] = {wait_meeting, wait_meeting_fd};
    for (int i = 0; i < 2; i++) {
        long k = 1;
        while (meet_at(meeting, calls[i], k))
            k++;
        CHECK(k > 5);
    }
    return 0;
}

static void at_each_step_a_signal_that_meets_a_wait_is_heard(void **state)
{
    (void)state;
    const struct t_setting *both[] = {&t_private_threads, &t_threads};
    for (int i = 0; i < 2; i++) {
        struct meeting *m = t_new(both[i], sizeof *m);
        new_pipe(m->ends);
        handle(SIGUSR1, end_wait, m);
        in_each_main_thread(meet_at_each, m);
        close(m->ends[0]);
        close(m->ends[1]);
        t_delete(both[i], m);
    }
    back_to_default(SIGUSR1);
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
        cmocka_unit_test(a_handler_runs_in_the_main_thread_whoever_gets_the_signal),
        cmocka_unit_test(whatever_the_main_thread_waits_for_it_handles_and_waits_on),
        cmocka_unit_test(a_handler_may_wait_for_anything_in_any_wait),
        cmocka_unit_test(a_handler_may_wait_for_a_lock_that_the_main_thread_holds),
        cmocka_unit_test(runs_for_one_signal_do_not_overlap),
        cmocka_unit_test(a_handler_runs_where_the_main_thread_waits_and_nowhere_else),
        cmocka_unit_test(who_computes_handles_at_checkpoints),
        cmocka_unit_test(tasks_that_keep_the_loop_busy_do_not_shut_handlers_out),
        cmocka_unit_test(a_handler_is_told_who_sent_it),
        cmocka_unit_test(the_end_of_a_child_is_told_and_left_to_others),
        cmocka_unit_test(what_was_set_before_is_told_and_comes_back),
        cmocka_unit_test(what_came_before_a_handler_was_taken_away_is_not_for_the_next),
        cmocka_unit_test(a_handler_may_set_another),
        cmocka_unit_test(signals_that_cannot_be_set_are_refused),
        cmocka_unit_test(only_the_main_thread_sets_them),
        cmocka_unit_test(the_first_thread_of_a_child_is_a_main_thread),
        cmocka_unit_test(a_forked_child_has_the_handlers_and_nothing_pending),
        cmocka_unit_test(a_forked_child_does_not_have_the_nudge_blocked),
        cmocka_unit_test(without_a_descriptor_a_handler_runs_as_soon_as_there_is_one),
        cmocka_unit_test(a_byte_is_written_for_each_signal),
        cmocka_unit_test(what_does_not_fit_is_counted),
        cmocka_unit_test(a_wakeup_descriptor_that_blocks_or_is_none_is_refused),
        cmocka_unit_test(a_wait_takes_what_is_pending),
        cmocka_unit_test(a_signal_ends_the_wait_of_any_kind_of_worker),
        cmocka_unit_test(each_signal_goes_to_one_of_those_who_wait),
        cmocka_unit_test(waits_keep_the_promises_of_all_waits),
        cmocka_unit_test(sets_that_cannot_be_waited_for_are_refused),
        cmocka_unit_test(a_wait_leaves_no_descriptor),
        cmocka_unit_test(who_waits_for_a_signal_to_be_handled_is_not_taken_for_deadlocked),
#ifdef PL_STEP_HOOKS
        cmocka_unit_test(at_each_step_a_signal_that_meets_a_wait_is_heard),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
