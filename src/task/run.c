/* plait_run, and the end of a thread that has tasks. */
#include "base/atomic.h"
#include "base/clock.h"
#include "park/scope.h"
#include "task/task_internal.h"
#include "worker/tasks.h"

#include <errno.h>
#include <sched.h>

static void cancel_one(struct pl_task *task, void *only_daemons)
{
    if (only_daemons && !task->daemon)
        return;
    pl_asked_add(&task->asked, (uint32_t)(pl_load_relaxed(&task->life) >> 32));
    if (!task->firm)
        pl_task_look_at(task);
}

/* Lets the tasks run until one of them has ended. A request to stop the thread goes to all of them, and so
 * does, once, the end of a scope around. */
static void wait_for_some(struct pl_loop *loop, bool *cut)
{
    struct pl_timer *timer = &loop->root.timer;
    int64_t look = pl_self.scope && !*cut ? pl_scope_next_look() : PL_NEVER;
    if (look != PL_NEVER)
        pl_timers_add(&loop->timers, timer, look);
    loop->root.firm = loop->root.certain = pl_is_shielded() || *cut;
    loop->root_waits = true;
    pl_task_suspend(PL_WAIT_JOIN, NULL);
    loop->root_waits = false;
    pl_timers_remove(&loop->timers, timer);
    int rc = *cut ? 0 : pl_cancel_take();
    if (rc == PLAIT_ECANCELED)
        pl_records_each(loop, cancel_one, NULL);
    *cut |= rc == PLAIT_ECANCELED && pl_scope_took();
}

/* By the root. */
static void finish(struct pl_loop *loop)
{
    static bool yes = true;
    bool cut = false;
    if (plait_cancelling() > 0) /* what its thread was asked for, it did not take back */
        pl_records_each(loop, cancel_one, NULL);
    for (;;) {
        while (loop->live > loop->live_daemons)
            wait_for_some(loop, &cut);
        if (loop->live > 0)
            pl_records_each(loop, cancel_one, &yes);
        while (loop->live > 0)
            wait_for_some(loop, &cut);
        if (pl_loop_close(loop))
            return;
        pl_task_give_way(); /* another thread has sent something: into the inbox it goes */
    }
}

void pl_tasks_finish(void)
{
    struct pl_loop *loop = pl_loop_here();
    if (loop && !pl_task_runs())
        finish(loop);
}

int plait_run(plait_function *fn, void *arg)
{
    struct pl_loop *loop;
    if (!fn)
        return PLAIT_EINVAL;
    if (pl_task_runs() || (pl_loop_here() && pl_loop_here()->in_run))
        return PLAIT_EBUSY;
    int rc = pl_loop_need(&loop);
    if (rc < 0)
        return rc;
    loop->in_run = true;
    int status = fn(arg);
    if (pl_loop_here() != loop) /* the function forked and let the child return */
        return status;
    finish(loop);
    return status;
}

/* Whether there may be a reason not to go on. */
static inline bool is_interrupted(void)
{
    struct pl_asked *asked = pl_self.asked;
    return pl_self.scope ||
           (asked && pl_load_acquire(&asked->made) != pl_load_relaxed(&asked->delivered));
}

int plait_yield(void)
{
    if (__builtin_expect(is_interrupted(), 0)) {
        int rc = plait_checkpoint();
        if (rc < 0)
            return rc;
    }
    if (pl_self.task) {
        pl_task_give_way();
    } else {
        pl_bell_look();
        sched_yield();
    }
    return 0;
}

void pl_tasks_let_run(void)
{
    struct pl_loop *loop = pl_loop_here();
    pl_task_give_way();
    if (loop->live == 0 && !loop->in_run)
        pl_loop_close(loop);
}

int plait_sleep(int64_t time)
{
    struct pl_wait wait;
    uint32_t never = 0;
    int rc = pl_wait_begin(&wait, PL_WAIT_SLEEP, time);
    if (rc == 0 && time == PLAIT_NOWAIT)
        return plait_yield();
    if (rc == 0)
        rc = pl_waiter_known(&never);
    while (rc == 0)
        rc = pl_park(&never, 0, &wait);
    return rc == PLAIT_ETIMEDOUT ? 0 : rc;
}
