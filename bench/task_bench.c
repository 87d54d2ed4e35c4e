/* Tasks: switch, start and join, hand-over, timers, sleepers, a million that wait. See task_shape.h,
 * timer_shape.h and worker_shape.h.
 * Peers: Go's goroutines, Boost.Fiber, asyncio, libuv's timers; for information Boost.Context, which is
 * a bare switch of stacks without a scheduler.
 *
 * The hand-over is a slot between two semaphores, where the peers use a channel or a queue. */
#include "task_shape.h"
#include "timer_shape.h"
#include "worker_shape.h"

#include <plait/plait.h>
#include <stdlib.h>

static void *many(long n, size_t size)
{
    void *p = calloc((size_t)n, size);
    bench_check(p, "no memory");
    return p;
}

static void join_all(const plait_worker *tasks, long n)
{
    for (long i = 0; i < n; i++)
        bench_check(plait_join(tasks[i], NULL, PLAIT_FOREVER) == 0, "not joined");
}

/* --- crews --- */

struct member {
    task_body *body;
    void *arg;
    int which;
};

static int serve(void *member)
{
    struct member *m = member;
    m->body(m->arg, m->which);
    return 0;
}

static void crew(int n, task_body *body, void *arg)
{
    plait_worker *tasks = many(n, sizeof *tasks);
    struct member *members = many(n, sizeof *members);
    for (int i = 0; i < n; i++) {
        members[i] = (struct member){body, arg, i};
        bench_check(plait_start(&tasks[i], PLAIT_TASK, serve, &members[i], NULL) == 0,
                    "not started");
    }
    join_all(tasks, n);
    free(members);
    free(tasks);
}

static void yield(void)
{
    plait_yield();
}

static struct {
    plait_semaphore free, full;
    long item;
} places[2];

static void put(enum task_place place, long item)
{
    plait_semaphore_acquire(&places[place].free, PLAIT_FOREVER);
    places[place].item = item;
    plait_semaphore_release(&places[place].full, 1);
}

static long take(enum task_place place)
{
    plait_semaphore_acquire(&places[place].full, PLAIT_FOREVER);
    long item = places[place].item;
    plait_semaphore_release(&places[place].free, 1);
    return item;
}

TASK_KIND(ours, crew, yield, put, take)

/* --- start and join --- */

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static void start_join(void)
{
    plait_worker task;
    bench_check(plait_start(&task, PLAIT_TASK, nothing, NULL, NULL) == 0, "not started");
    bench_check(plait_join(task, NULL, PLAIT_FOREVER) == 0, "not joined");
}

static worker_cycle *const cycle = start_join;

/* --- parked --- */

static plait_event gate_event;

static void gate_wait(void)
{
    bench_check(plait_event_wait(&gate_event, PLAIT_FOREVER) == 0, "not waited");
}

static void gate_open(void)
{
    plait_event_set(&gate_event);
}

static const struct task_gate gate = {crew, yield, gate_wait, gate_open};

/* --- timers, which are tasks that begin later, and sleepers --- */

static void call_later(plait_worker *timers, long n, int64_t (*due)(long i, long n))
{
    for (long i = 0; i < n; i++)
        bench_check(plait_call_later(&timers[i], (plait_worker){0}, due(i, n), nothing, NULL) == 0,
                    "no timer");
}

static void fire_all(long n)
{
    plait_worker *timers = many(n, sizeof *timers);
    call_later(timers, n, timer_soon);
    join_all(timers, n);
    free(timers);
}

static void cancel_all(long n)
{
    plait_worker *timers = many(n, sizeof *timers);
    call_later(timers, n, timer_late);
    for (long i = 0; i < n; i++)
        bench_check(plait_cancel(timers[timer_shuffled(i, n)]) == 0, "not cancelled");
    join_all(timers, n);
    free(timers);
}

static long sleepers;

static void sleep_soon(void *arg, int which)
{
    (void)arg;
    bench_check(plait_sleep(timer_soon(which, sleepers)) == 0, "not slept");
}

static void sleep_all(long n)
{
    sleepers = n;
    crew((int)n, sleep_soon, NULL);
}

static timer_all *const firing = fire_all, *const cancelling = cancel_all,
                        *const sleeping = sleep_all;

static const struct bench_subject table[] = {
    BENCH_SUBJECT("task_switch", "plait", task_switch, &ours, 2),
    BENCH_SUBJECT("task_switch_100", "plait", task_switch, &ours, 100),
    BENCH_SUBJECT("task_start_join", "plait", worker_start, &cycle, 0),
    BENCH_SUBJECT("task_channel", "plait semaphores", task_hand_over, &ours, 0),
    BENCH_SUBJECT("task_parked_100k", "plait", task_parked, &gate, 100000),
    BENCH_SUBJECT("task_parked_1M", "plait", task_parked, &gate, 1000000),
    TIMER_CASES("task_timers", "plait", firing),
    TIMER_CASES("task_timers_cancelled", "plait", cancelling),
    TIMER_CASES("task_sleepers", "plait", sleeping),
    {0},
};

struct command {
    int argc;
    char **argv;
};

static int run(void *command)
{
    struct command *c = command;
    plait_semaphore_init(&places[TASK_ITEMS].free, 1, 1);
    plait_semaphore_init(&places[TASK_ANSWERS].free, 1, 1);
    return bench_main(c->argc, c->argv, table);
}

int main(int argc, char **argv)
{
    return plait_run(run, &(struct command){argc, argv});
}
