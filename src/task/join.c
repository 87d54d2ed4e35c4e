/* Joining tasks, cancelling and asking about them: the calls of worker.h for a task's handle.
 *
 * Within the process they find the record. For another process a task exists once it is in the registry, under the same
 * handle; before that the answer is PLAIT_EPRIVATE. */
#include "base/atomic.h"
#include "base/clock.h"
#include "task/task_internal.h"
#include "worker/tasks.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- tasks of other processes --- */

/* Whether the entry is the task's; *ret is its handle in the registry then. The entry may get another worker
 * meanwhile: so first whose it is, and that again after the look. */
static bool is_known_as(struct pl_slot *slot, plait_worker handle, plait_worker *ret)
{
    *ret = pl_worker_of(slot);
    if (pl_slot_find(*ret) != slot || !pl_load_acquire(&slot->host))
        return false;
    return pl_load_acquire(&slot->known_as) == ((uint64_t)handle.slot << 32 | handle.generation) &&
           plait_same(pl_worker_of(slot), *ret);
}

/* Whether its thread is one of another process, and alive. */
static bool may_run_elsewhere(plait_worker handle)
{
    uint32_t host = (handle.slot & ~UINT32_C(0x80000000)) >> (31 - PL_ID_SLOT_BITS);
    return host < pl_load_acquire(&pl_arena->slots_ready) && pl_slot_is_alive(pl_slot_at(host)) &&
           pl_load_relaxed(&pl_slot_at(host)->pid) != (int32_t)getpid();
}

/* The registry's handle of a task of another process. 0; PLAIT_ESTALE, PLAIT_EPRIVATE. */
static int find_elsewhere(plait_worker handle, plait_worker *ret)
{
    int rc = pl_thread_known();
    if (rc < 0)
        return rc;
    if (!may_run_elsewhere(handle))
        return PLAIT_ESTALE;
    uint32_t ready = pl_load_acquire(&pl_arena->slots_ready);
    for (uint32_t i = 1; i < ready; i++) {
        if (is_known_as(pl_slot_at(i), handle, ret))
            return 0;
    }
    return PLAIT_EPRIVATE;
}

/* --- joining --- */

/* Whether `task` waits, perhaps through others, for the end of `self`: each of them for ever, so that nothing but
 * our giving way could end that. They may be of other threads. Facts:
 *   1 R:task.joins/A:task.joins: each says whom it joins, then looks; so the last to close a ring sees all of it;
 *   2 what it says stays true until that one has ended: in a ring, until one of them gives way;
 *   3 a record on the way that is not in a ring may become another task's while we look. So a ring counts if it is there
 *     twice. */
static bool waits_for(struct pl_task *task, const struct pl_task *self)
{
    enum { LONGEST = 1000000 };
    for (int n = 0; task && task != self && n < LONGEST; n++)
        task = pl_load_seq_cst(&task->joins);
    return task == self;
}

/* A task that is in the registry may itself wait for what others hold; so whoever waits for it says so there, and a ring
 * through both can be found. */
static int name_in_wait(const struct pl_task *task, struct pl_wait *wait)
{
    int rc = pl_self_known();
    wait->holder = rc == 0 ? pl_load_relaxed(&task->id) : 0;
    return rc;
}

static int wait_for_end(struct pl_task *task, struct pl_wait *wait)
{
    int rc = 0;
    while (rc == 0 && (pl_load_acquire(&task->life) & PL_TASK_LIVE)) {
        /* A:task.known, pairs with pl_task_enter. */
        uint32_t end = pl_load_seq_cst(&task->ended);
        if (end == PL_TASK_KNOWN)
            rc = name_in_wait(task, wait);
        if (rc == 0 && end != PL_TASK_IS_OVER)
            rc = pl_park(&task->ended, end, wait);
    }
    return rc;
}

static void fill_blame(const struct pl_task *task, plait_worker handle, plait_blame *ret)
{
    *ret = (plait_blame){
        .worker = handle,
        .kind = PLAIT_TASK,
        .pid = (int)getpid(),
        .tid = pl_load_relaxed(&pl_slot_at(task->host)->tid),
        .status = task->status,
        .returned = true,
        .started = task->began,
        .ended = task->finished,
    };
    pl_task_name(task, ret->name);
}

/* Waits for a task that the caller holds. */
static int join_held(struct pl_task *task, struct pl_wait *wait)
{
    struct pl_task *self = pl_self.task;
    if (self && task->loop != self->loop) { /* who may wait for this one in turn */
        int rc = pl_self_known();
        if (rc < 0)
            return rc;
    }
    if (!self || wait->uncancellable || pl_wait_end(wait) != PL_NEVER)
        return task == self ? PLAIT_EDEADLK : wait_for_end(task, wait);
    pl_store_seq_cst(&self->joins, task);
    bool ring = waits_for(task, self) && waits_for(task, self);
    int rc = ring ? PLAIT_EDEADLK : wait_for_end(task, wait);
    pl_store_seq_cst(&self->joins, NULL);
    return rc;
}

int pl_task_join(plait_worker worker, plait_blame *ret, struct pl_wait *wait)
{
    plait_worker known;
    struct pl_task *task = pl_task_hold(worker);
    if (!task) {
        int rc = find_elsewhere(worker, &known);
        return rc < 0 ? rc : PLAIT_ENOTSUP;
    }
    int rc = pl_load_relaxed(&task->life) & PL_TASK_DETACHED ? PLAIT_ESTALE : 0;
    if (rc == 0 && (pl_load_acquire(&task->life) & PL_TASK_LIVE)) {
        if (wait->deadline == 0)
            rc = PLAIT_ETIMEDOUT;
        else
            rc = pl_waiter_known(&task->ended);
        if (rc == 0)
            rc = join_held(task, wait);
    }
    if (rc == 0 && ret)
        fill_blame(task, worker, ret);
    pl_task_drop(task, rc == 0 ? PL_TASK_JOINED : 0);
    return rc;
}

int pl_task_exit_status(plait_worker worker, plait_blame *ret)
{
    struct pl_task *task = pl_task_hold(worker);
    plait_worker known;
    if (!task) {
        int rc = find_elsewhere(worker, &known);
        return rc < 0 ? rc : plait_exit_status(known, ret);
    }
    bool over = pl_load_acquire(&task->life) & PL_TASK_OVER;
    if (over)
        fill_blame(task, worker, ret);
    pl_task_drop(task, 0);
    return over ? 0 : PLAIT_EBUSY;
}

int pl_task_detach(plait_worker worker)
{
    struct pl_task *task = pl_task_hold(worker);
    plait_worker known;
    if (!task) {
        int rc = find_elsewhere(worker, &known);
        return rc < 0 ? rc : PLAIT_ENOTSUP;
    }
    int rc = pl_load_relaxed(&task->life) & PL_TASK_DETACHED ? PLAIT_ESTALE : 0;
    pl_task_drop(task, rc == 0 ? PL_TASK_DETACHED : 0);
    return rc;
}

/* --- cancelling --- */

int pl_task_cancel(plait_worker worker)
{
    struct pl_task *task = pl_task_hold(worker);
    plait_worker known;
    if (!task) {
        int rc = find_elsewhere(worker, &known);
        return rc < 0 ? rc : plait_cancel(known);
    }
    int rc = PLAIT_ESRCH;
    if (pl_load_acquire(&task->life) & PL_TASK_LIVE)
        rc = pl_asked_add(&task->asked, (uint32_t)(pl_load_relaxed(&task->life) >> 32));
    if (rc == 0 && task->loop == pl_loop_here()) {
        if (!task->firm)
            pl_task_look_at(task); /* not just ready: it may be in the inbox still */
    } else if (rc == 0) {
        struct pl_loop *loop = pl_loops_lock(task->host); /* so that it does not end meanwhile */
        if (loop && loop == task->loop)
            pl_task_post(task);
        pl_loops_unlock();
    }
    pl_task_drop(task, 0);
    return rc;
}

bool pl_task_tie(plait_worker worker, uint32_t whom)
{
    struct pl_task *task = pl_task_hold(worker);
    if (!task)
        return true;
    pl_store_seq_cst(&task->tells, whom);
    bool over = !(pl_load_seq_cst(&task->life) & PL_TASK_LIVE);
    pl_task_drop(task, 0);
    return over;
}

/* --- watching --- */

uint32_t pl_task_ends;

bool pl_task_watch(plait_worker worker)
{
    struct pl_task *task = pl_task_hold(worker);
    if (!task)
        return true;
    uint64_t life = pl_load_seq_cst(&task->life);
    while (!(life & PL_TASK_WATCHED) && !pl_cas_seq_cst(&task->life, &life, life | PL_TASK_WATCHED))
        ;
    pl_task_drop(task, 0);
    return !(life & PL_TASK_LIVE);
}

/* --- being ready --- */

uint32_t pl_task_say_ready(void)
{
    struct pl_task *self = pl_self.task;
    uint64_t life = pl_load_relaxed(&self->life);
    while (!pl_cas_seq_cst(&self->life, &life, life | PL_TASK_SAID_READY))
        ;
    return pl_load_seq_cst(&self->tells);
}

bool pl_task_said_ready(plait_worker worker)
{
    struct pl_task *task = pl_task_hold(worker);
    bool ready = task && (pl_load_seq_cst(&task->life) & PL_TASK_SAID_READY);
    if (task)
        pl_task_drop(task, 0);
    return ready;
}

/* --- asking --- */

static int state_of(const struct pl_task *task)
{
    if (!(pl_load_acquire(&task->life) & PL_TASK_LIVE))
        return PLAIT_STATE_ENDED;
    if (!pl_load_relaxed(&task->started))
        return PLAIT_STATE_NEW;
    switch (pl_load_relaxed(&task->state)) {
    case PL_TASK_PARKED:
        return PLAIT_STATE_BLOCKED;
    case PL_TASK_ENDED:
        return PLAIT_STATE_ENDED;
    default:
        return PLAIT_STATE_RUNNING;
    }
}

int pl_task_state(plait_worker worker)
{
    struct pl_task *task = pl_task_hold(worker);
    plait_worker known;
    if (!task) {
        int rc = find_elsewhere(worker, &known);
        return rc < 0 ? rc : plait_state(known);
    }
    int state = state_of(task);
    pl_task_drop(task, 0);
    return state;
}

int pl_task_get_name(plait_worker worker, char *buffer, size_t size)
{
    char name[PLAIT_NAME_SIZE];
    struct pl_task *task = pl_task_hold(worker);
    plait_worker known;
    if (!task) {
        int rc = find_elsewhere(worker, &known);
        return rc < 0 ? rc : plait_name(known, buffer, size);
    }
    pl_task_name(task, name);
    pl_task_drop(task, 0);
    snprintf(buffer, size, "%s", name);
    return 0;
}

int pl_task_pid(plait_worker worker)
{
    struct pl_task *task = pl_task_hold(worker);
    plait_worker known;
    if (!task) {
        int rc = find_elsewhere(worker, &known);
        return rc < 0 ? rc : plait_pid(known);
    }
    pl_task_drop(task, 0);
    return (int)getpid();
}

int pl_task_tid(plait_worker worker)
{
    struct pl_task *task = pl_task_hold(worker);
    plait_worker known;
    if (!task) {
        int rc = find_elsewhere(worker, &known);
        return rc < 0 ? rc : plait_tid(known);
    }
    int tid = pl_load_relaxed(&pl_slot_at(task->host)->tid);
    pl_task_drop(task, 0);
    return tid;
}

plait_worker pl_task_parent(plait_worker worker)
{
    plait_worker parent = {0, 0}, known;
    struct pl_task *task = pl_task_hold(worker);
    if (!task)
        return find_elsewhere(worker, &known) < 0 ? parent : plait_parent(known);
    parent = task->parent;
    pl_task_drop(task, 0);
    return parent;
}
