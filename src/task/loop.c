/* The loop: who runs next on this thread.
 *
 * There is no scheduler with a stack of its own. A task that must wait looks itself for the next one and
 * switches to it, one switch instead of two; if nobody is ready, it asks the kernel, on its own stack, until
 * somebody is. If that is itself, nothing is switched at all. The thread's own flow is a task like the
 * others (the root).
 *
 * Fairness: those that are ready are run in passes. A pass is over when all have run that were ready at its
 * beginning; between two passes the loop looks into its inbox, and at descriptors and timers if some time has gone by
 * since it last did (asking costs a system call) or nobody is ready. So two tasks that keep each
 * other busy cannot shut out the rest of the world.
 *
 * Wake-ups. In the loop's thread: the task goes to the end of the ready queue. From another thread: into
 * the inbox, a stack of tasks, and the loop's doorbell is rung if it sleeps. Facts:
 *   1 a task is in the inbox at most once (`posted`); it is marked as taken out before it is looked at, so
 *     what was written before a further post is seen by that look or the next;
 *   2 R:loop.asleep/A:loop.asleep: the sleeper says that it sleeps, then looks into the inbox; who posts puts the task
 *     in, then looks whether the loop sleeps. One of both sees the other;
 *   3 a wake-up may reach a task that has gone on already: it is made ready if it is parked, and looks for
 *     itself. Each wait is a loop that bears that;
 *   4 who is in an inbox is held there by a reference of `life`. Else its record might serve a task of
 *     another loop before this one takes it out, and then two threads would change one queue. */
#include "base/at_fork.h"
#include "base/atomic.h"
#include "base/clock.h"
#include "port/cpu.h"
#include "task/overflow.h"
#include "task/task_internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- all loops of the process --- */

static PL_WRITTEN_AT_FORK struct pl_loop *loops; /* under `loops_lock` */
static uint64_t serials;                         /* under `loops_lock` */
static PL_WRITTEN_AT_FORK pthread_mutex_t loops_lock = PTHREAD_MUTEX_INITIALIZER;

static void lock_before_fork(void)
{
    pthread_mutex_lock(&loops_lock);
}

static void unlock_in_parent(void)
{
    pthread_mutex_unlock(&loops_lock);
}

/* The child has none of the loops. What it must not keep is their descriptors: through those it would share
 * the parent's. */
static void forget_in_child(void)
{
    for (struct pl_loop *loop = loops; loop; loop = loop->next_loop)
        pl_poller_forget(loop);
    loops = NULL;
    pthread_mutex_unlock(&loops_lock);
}

/* In a signal handler. */
static const char *name_of_running(void)
{
    static _Thread_local char name[PLAIT_NAME_SIZE];
    if (!pl_self.task)
        return NULL;
    pl_task_name(pl_self.task, name);
    return name;
}

/* After that of ears: in a child the loops free what those have let go of. */
__attribute__((constructor(102))) static void begin(void)
{
    pthread_atfork(lock_before_fork, unlock_in_parent, forget_in_child);
    pl_overflow_name = name_of_running;
}

struct pl_loop *pl_loops_lock(uint32_t host)
{
    pthread_mutex_lock(&loops_lock);
    struct pl_loop *loop = loops;
    while (loop && loop->host != host)
        loop = loop->next_loop;
    return loop;
}

void pl_loops_unlock(void)
{
    pthread_mutex_unlock(&loops_lock);
}

void pl_loops_each(void (*look)(struct pl_loop *loop, void *arg), void *arg)
{
    pthread_mutex_lock(&loops_lock);
    for (struct pl_loop *loop = loops; loop; loop = loop->next_loop)
        look(loop, arg);
    pthread_mutex_unlock(&loops_lock);
}

static void list_loop(struct pl_loop *loop)
{
    pthread_mutex_lock(&loops_lock);
    loop->serial = ++serials;
    loop->next_loop = loops;
    loops = loop;
    pthread_mutex_unlock(&loops_lock);
}

/* False: there is something in its inbox. */
static bool unlist_loop(struct pl_loop *loop)
{
    pthread_mutex_lock(&loops_lock);
    bool empty = !pl_load_acquire(&loop->inbox);
    struct pl_loop **at = &loops;
    while (*at != loop)
        at = &(*at)->next_loop;
    if (empty)
        *at = loop->next_loop;
    pthread_mutex_unlock(&loops_lock);
    return empty;
}

/* --- making and ending --- */

struct pl_loop *pl_loop_here(void)
{
    return pl_self.task ? pl_self.task->loop : NULL;
}

static void make_root(struct pl_loop *loop)
{
    struct pl_task *root = &loop->root;
    root->loop = loop;
    root->state = PL_TASK_RUNNING;
    root->started = true;
    root->id = pl_self.id;
    root->quick = pl_self.quick;
    root->slot = pl_self.slot;
    root->index = UINT32_MAX;
    root->host = loop->host;
    pl_context_adopt(&root->context);
}

static int make_loop(struct pl_loop **ret)
{
    struct pl_loop *loop = aligned_alloc(_Alignof(struct pl_loop), sizeof *loop);
    if (!loop)
        return PLAIT_ENOMEM;
    memset(loop, 0, sizeof *loop);
    loop->parker = pl_task_parker;
    loop->thread = pl_self.thread;
    loop->host = PL_ID_SLOT(pl_self.thread_id);
    pl_stacks_begin(&loop->stacks);
    int rc = pl_poller_begin(loop);
    if (rc == 0 && (rc = pl_overflow_watch()) < 0)
        pl_poller_end(loop);
    if (rc < 0) {
        free(loop);
        return rc;
    }
    loop->errno_at = &errno;
    pl_poll_hold();
    make_root(loop);
    list_loop(loop);
    pl_self.task = &loop->root;
    pl_self.parker = &loop->parker;
    pl_store_relaxed(&pl_self.thread->runs_tasks, 1u);
    pl_watch_begin();
    *ret = loop;
    return 0;
}

int pl_loop_need(struct pl_loop **ret)
{
    *ret = pl_loop_here();
    if (*ret)
        return 0;
    int rc = pl_thread_known();
    return rc < 0 ? rc : make_loop(ret);
}

/* Nobody posts to it any more. */
static void end_loop(struct pl_loop *loop)
{
    pl_store_relaxed(&pl_self.thread->runs_tasks, 0u);
    pl_self.task = NULL;
    pl_self.parker = NULL;
    pl_poll_let_go();
    pl_overflow_unwatch();
    pl_poller_end(loop);
    pl_stacks_end(&loop->stacks);
    pl_records_return(loop);
    pl_context_drop(&loop->root.context);
    free(loop);
}

bool pl_loop_close(struct pl_loop *loop)
{
    if (!unlist_loop(loop))
        return false;
    end_loop(loop);
    return true;
}

/* --- the ready queue --- */

static inline void append(struct pl_task_queue *queue, struct pl_task *task)
{
    task->next = NULL;
    if (queue->last)
        queue->last->next = task;
    else
        queue->first = task;
    queue->last = task;
    queue->n++;
}

static inline struct pl_task *take_first(struct pl_task_queue *queue)
{
    struct pl_task *task = queue->first;
    queue->first = task->next;
    if (!queue->first)
        queue->last = NULL;
    queue->n--;
    return task;
}

void pl_task_ready(struct pl_task *task)
{
    if (task->state != PL_TASK_PARKED && task->state != PL_TASK_NEW)
        return;
    pl_store_relaxed(&task->state, (uint32_t)PL_TASK_READY);
    append(&task->loop->ready, task);
}

/* --- the inbox --- */

void pl_task_post(struct pl_task *task)
{
    struct pl_loop *loop = task->loop;
    if (pl_exchange_acq_rel(&task->posted, 1u) == 0) {
        pl_fetch_add_relaxed(&task->life, UINT64_C(1)); /* the caller is certain that it is there */
        struct pl_task *newest = pl_load_relaxed(&loop->inbox);
        do
            task->inbox_next = newest;
        /* R:loop.inbox, pairs with empty_inbox. seq_cst: before the look whether the loop sleeps. */
        while (!pl_cas_seq_cst(&loop->inbox, &newest, task));
    }
    uint32_t sleeping = 1;
    /* R:loop.asleep, pairs with sleep_until_ready: the inbox is filled. */
    if (pl_load_seq_cst(&loop->asleep) && pl_cas_seq_cst(&loop->asleep, &sleeping, 0u))
        pl_poller_ring(loop);
}

void pl_task_admit(struct pl_task *task)
{
    struct pl_loop *loop = task->loop;
    if (!task->counted) {
        task->counted = true;
        pl_store_relaxed(&loop->live, loop->live + 1);
        loop->live_daemons += task->daemon;
    }
    if (task->timer.when == 0 || pl_task_is_asked(task))
        pl_task_ready(task);
    else if (!pl_timer_is_queued(&task->timer))
        pl_timers_add(&loop->timers, &task->timer, task->timer.when);
}

void pl_task_look_at(struct pl_task *task)
{
    if (task->state == PL_TASK_NEW)
        pl_task_admit(task);
    else
        pl_task_ready(task);
}

static void empty_inbox(struct pl_loop *loop)
{
    /* A:loop.inbox, pairs with pl_task_post. */
    struct pl_task *newest = pl_exchange_acquire(&loop->inbox, NULL), *oldest = NULL;
    while (newest) { /* oldest first */
        struct pl_task *task = newest;
        newest = task->inbox_next;
        task->inbox_next = oldest;
        oldest = task;
    }
    while (oldest) {
        struct pl_task *task = oldest;
        oldest = task->inbox_next;
        pl_exchange_acq_rel(&task->posted, 0u);
        pl_task_look_at(task);
        pl_task_drop(task, 0);
    }
}

/* --- passes --- */

static void fire_timers(struct pl_loop *loop)
{
    if (!pl_timers_first(&loop->timers))
        return;
    int64_t now = plait_now();
    struct pl_timer *timer;
    while ((timer = pl_timers_expired(&loop->timers, now))) {
        struct pl_task *task = (struct pl_task *)((char *)timer - offsetof(struct pl_task, timer));
        task->timed_out = true;
        pl_task_ready(task);
    }
}

static void look_around(struct pl_loop *loop)
{
    loop->looked_at = pl_ticks();
    pl_poller_ask(loop, 0);
    pl_parker_sort(loop);
    fire_timers(loop);
}

/* A turn is counted, though it is nobody's: what ran before has ended its own (watch.c). */
static void sleep_until_ready(struct pl_loop *loop)
{
    pl_store_relaxed(&loop->idle, 1u);
    pl_store_relaxed(&loop->turns, loop->turns + 1);
    while (loop->ready.n == 0) {
        const struct pl_timer *first = pl_timers_first(&loop->timers);
        /* A:loop.asleep, pairs with pl_task_post. */
        pl_store_seq_cst(&loop->asleep, 1u);
        pl_poll_enter(loop->thread);
        pl_parker_sort(loop); /* after that: see park/poll.c */
        if (loop->ready.n == 0 && !pl_load_seq_cst(&loop->inbox))
            pl_poller_ask(loop, first ? first->when : PL_NEVER);
        pl_poll_leave(loop->thread);
        pl_store_relaxed(&loop->asleep, 0u);
        empty_inbox(loop);
        pl_parker_sort(loop);
        fire_timers(loop);
    }
    loop->looked_at = pl_ticks();
    pl_store_relaxed(&loop->idle, 0u);
}

static __attribute__((noinline)) void begin_pass(struct pl_loop *loop)
{
    if (__builtin_expect(pl_load_relaxed(&loop->inbox) != NULL, 0))
        empty_inbox(loop);
    if (loop->ready.n == 0 || pl_ticks() - loop->looked_at >= pl_ticks_soon())
        look_around(loop);
    if (loop->ready.n == 0)
        sleep_until_ready(loop);
    loop->pass_end = loop->turns + (uint64_t)loop->ready.n;
}

static inline struct pl_task *next_ready(struct pl_loop *loop)
{
    if (__builtin_expect(loop->turns == loop->pass_end, 0))
        begin_pass(loop);
    pl_store_relaxed(&loop->turns, loop->turns + 1);
    return take_first(&loop->ready);
}

/* --- switching --- */

/* The one before has left its stack for good: now that is free. */
static __attribute__((noinline)) void bury(struct pl_loop *loop)
{
    struct pl_task *dead = loop->dead;
    loop->dead = NULL;
    pl_context_drop(&dead->context);
    pl_stack_give(&loop->stacks, &dead->stack);
    pl_task_drop(dead, 0);
}

static inline void after_switch(struct pl_loop *loop)
{
    if (__builtin_expect(loop->dead != NULL, 0))
        bury(loop);
}

static void entry(void *arg)
{
    struct pl_task *task = arg;
    after_switch(task->loop);
    pl_task_main(task);
}

/* Gives a task that runs for the first time its stack. False: no memory. */
static bool prepare(struct pl_loop *loop, struct pl_task *task)
{
    if (task->stack.low)
        return true;
    if (pl_stack_take(&loop->stacks, task->stack.size, &task->stack) < 0)
        return false;
    pl_context_make(&task->context, task->stack.low, task->stack.size, entry, task);
    return true;
}

/* It ends without having run. */
static void end_unborn(struct pl_loop *loop, struct pl_task *task, int status);

static __attribute__((noinline)) struct pl_task *first_turn(struct pl_loop *loop,
                                                            struct pl_task *task);

static inline struct pl_task *next_to_run(struct pl_loop *loop)
{
    struct pl_task *task = next_ready(loop);
    return __builtin_expect(task->started, 1) ? task : first_turn(loop, task);
}

/* Prepares a task for its first turn; if that is not to be, the next one. */
static struct pl_task *first_turn(struct pl_loop *loop, struct pl_task *task)
{
    for (;; task = next_ready(loop)) {
        if (task->started)
            return task;
        pl_timers_remove(&loop->timers, &task->timer);
        if (pl_task_is_asked(task))
            end_unborn(loop, task, PLAIT_ECANCELED);
        else if (!prepare(loop, task))
            end_unborn(loop, task, PLAIT_ENOMEM);
        else
            return task;
    }
}

static inline void save_self(struct pl_task *task)
{
    task->scope = pl_self.scope;
    task->locals = pl_self.locals;
    task->site = pl_self.site;
}

static struct pl_asked *asked_of(struct pl_task *task)
{
    return task == &task->loop->root ? &task->loop->thread->asked : &task->asked;
}

bool pl_task_is_asked(struct pl_task *task)
{
    const struct pl_asked *asked = asked_of(task);
    return pl_load_seq_cst(&asked->made) != pl_load_relaxed(&asked->delivered);
}

static inline void become(struct pl_task *task)
{
    pl_store_relaxed(&task->started, true);
    pl_store_relaxed(&task->state, (uint32_t)PL_TASK_RUNNING);
    pl_self.id = task->id;
    pl_self.quick = task->quick;
    pl_self.slot = task->slot;
    pl_self.asked = asked_of(task);
    pl_self.scope = task->scope;
    pl_self.locals = task->locals;
    pl_self.site = task->site;
    pl_self.task = task;
}

/* The calling task is PARKED, or READY and in the queue. Returns when it runs again. */
static inline void schedule(struct pl_loop *loop)
{
    struct pl_task *self = pl_self.task;
    int saved = *loop->errno_at;
    save_self(self);
    struct pl_task *next = next_to_run(loop);
    become(next);
    if (next != self) {
        pl_context_switch(&self->context, &next->context);
        after_switch(loop);
    }
    *loop->errno_at = saved;
}

void pl_task_suspend(enum pl_wait_kind kind, uint32_t *word)
{
    struct pl_task *self = pl_self.task;
    pl_store_relaxed(&self->waits_on, word);
    pl_store_relaxed(&self->waits_kind, (uint32_t)kind);
    pl_store_relaxed(&self->state, (uint32_t)PL_TASK_PARKED);
    schedule(self->loop);
    pl_store_relaxed(&self->waits_kind, (uint32_t)PL_WAIT_NONE);
}

void pl_task_give_way(void)
{
    struct pl_task *self = pl_self.task;
    pl_store_relaxed(&self->state, (uint32_t)PL_TASK_READY);
    append(&self->loop->ready, self);
    schedule(self->loop);
}

/* --- the end --- */

/* As pl_slot_tell_failure. */
static void tell_failure(struct pl_task *task, int status)
{
    uint32_t tells = pl_load_seq_cst(&task->tells), whom = tells & PL_ID_MASK;
    bool failed = status < 0 && status != PLAIT_ECANCELED;
    if (whom && (failed || (tells & PL_TELLS_ANY_END)) && !pl_is_dead(whom))
        pl_slot_stir(pl_slot_of(whom));
}

/* Says that the task is over, and tells those who wait for that. */
static void announce_end(struct pl_loop *loop, struct pl_task *task, int status)
{
    task->status = status;
    task->finished = 0;
    pl_store_relaxed(&task->state, (uint32_t)PL_TASK_ENDED);
    if (task->owns_argument)
        free(task->argument);
    pl_store_relaxed(&loop->live, loop->live - 1);
    loop->live_daemons -= task->daemon;
    if (loop->root_waits)
        pl_task_ready(&loop->root);
    uint64_t life = pl_load_relaxed(&task->life);
    if (status < 0 || (life & PL_TASK_WATCHED)) /* who ended first may matter */
        task->finished = plait_now();
    /* R:task.over, pairs with pl_task_hold. */
    while (!pl_cas_seq_cst(&task->life, &life, (life & ~PL_TASK_LIVE) | PL_TASK_OVER))
        ;
    pl_store_seq_cst(&task->ended, (uint32_t)PL_TASK_IS_OVER);
    tell_failure(task, status);
    if (life & PL_TASK_WATCHED) {
        pl_fetch_add_seq_cst(&pl_task_ends, 1u);
        pl_unpark(&pl_task_ends, INT32_MAX);
    }
    if ((life & PL_TASK_REFS) > 1)
        pl_unpark(&task->ended, INT32_MAX);
}

static void end_unborn(struct pl_loop *loop, struct pl_task *task, int status)
{
    pl_locals_free(task->locals);
    task->locals = NULL;
    announce_end(loop, task, status);
    pl_task_drop(task, 0);
}

/* Those of this loop that wait for what the task holds: whoever else does watches the thread's heart. */
static void tell_minders(struct pl_loop *loop, uint32_t id)
{
    for (struct pl_task *task = loop->known; task; task = task->known_next)
        if (pl_load_relaxed(&task->slot->waits_kind) &&
            pl_load_relaxed(&task->slot->waits_holder) == id)
            pl_task_ready(task);
    if (pl_load_relaxed(&loop->thread->waits_kind) &&
        pl_load_relaxed(&loop->thread->waits_holder) == id)
        pl_task_ready(&loop->root);
}

static void leave_registry(struct pl_task *task, int status)
{
    if (task->known_next)
        task->known_next->known_at = task->known_at;
    *task->known_at = task->known_next;
    if (pl_slot_leave_task(task->slot, status))
        tell_minders(task->loop, task->id);
    pl_self.id = pl_self.quick = 0;
    pl_self.slot = task->slot = NULL;
}

_Noreturn void pl_task_finish(int status)
{
    struct pl_task *self = pl_self.task;
    struct pl_loop *loop = self->loop;
    pl_locals_drop();
    if (self->slot)
        leave_registry(self, status);
    announce_end(loop, self, status);
    struct pl_task *next = next_to_run(loop);
    loop->dead = self;
    become(next);
    pl_context_leave(&self->context, &next->context);
}
