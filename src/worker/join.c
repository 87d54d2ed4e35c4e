/* Joining: waiting for an end, learning of it, forgetting the worker.
 *
 * A thread says itself that it has ended; so does a process that returns, but it is gone only a
 * little later, and a process that is killed says nothing. So joiners sleep on the slot's life and
 * watch its heart; the process that started it collects the zombie and learns the rest from the
 * kernel, strangers ask /proc while it is a zombie. Several may join at once: life goes to JOINED by
 * one compare-and-swap, the slot keeps its content until it is claimed again, and those who were
 * waiting all read it. Who comes when it is JOINED already gets PLAIT_ESTALE. */
#include "base/atomic.h"
#include "base/clock.h"
#include "park/park.h"
#include "port/process.h"
#include "worker/tasks.h"
#include "worker/worker_internal.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

enum {
    LEARN = 50 * 1000 * 1000, /* ns a stranger waits for a dead process to become a zombie */
    SOON = 1000 * 1000,       /* ns between looks at a worker that is just starting */
};

/* A process that this process has to collect. */
static bool is_ours(const struct pl_slot *slot)
{
    struct pl_process_name self = pl_this_process();
    return pl_slot_is_child(slot, &self);
}

/* A process that dies before it registers stops no heart: look whether it is a zombie or gone. */
static bool died_unborn(struct pl_slot *slot, uint64_t life)
{
    int32_t pid = pl_load_acquire(&slot->pid);
    if (pl_life_of(life) == PL_RUNNING || pl_slot_kind(slot) != PLAIT_PROCESS || pid == 0)
        return false;
    if (is_ours(slot))
        return pl_child_reap(slot) == 0;
    if (pl_process_lives(pid, 0))
        return false;
    pl_ending_learn(slot, 0);
    pl_child_finish(slot, pl_generation_of(life));
    return true;
}

/* Sleeps until the worker no longer runs. 0 or as pl_park. */
static int wait_for_end(struct pl_slot *slot, uint32_t generation, struct pl_wait *wait)
{
    for (;;) {
        uint64_t life = pl_load_acquire(&slot->life);
        if (pl_generation_of(life) != generation || !pl_slot_is_alive(slot) ||
            died_unborn(slot, life))
            return 0;
        wait->holder = pl_slot_id(slot);
        if (pl_life_of(life) !=
            PL_RUNNING) /* its heart is not to be watched yet: look again soon */
            wait->nap_end = plait_now() + SOON;
        int rc = pl_park(pl_life_word(slot), (uint32_t)life, wait);
        if (rc < 0)
            return rc;
    }
}

/* The same without holding up the other tasks of the thread. As pl_process_wait, or PLAIT_ECANCELED. */
static int wait_in_loop(int pid, const struct pl_wait *wait, int64_t until)
{
    struct pl_wait look = {
        .kind = wait->kind, .deadline = until, .uncancellable = wait->uncancellable};
    uint32_t never = 0;
    int handle = pl_process_open(pid);
    if (handle == -ESRCH)
        return 0;
    int rc = handle < 0 ? handle : pl_park_fd(handle, POLLIN, &look);
    if (handle >= 0)
        close(handle);
    if (rc >= 0 || rc == PLAIT_ECANCELED || rc == PLAIT_ETIMEDOUT)
        return rc < 0 ? rc : 0;
    look.deadline = plait_now() + SOON; /* no descriptor to be had */
    rc = pl_park(&never, 0, &look);
    return rc < 0 ? rc : PLAIT_ETIMEDOUT;
}

/* A process that has said that it has ended is a zombie some tens of microseconds later: to sleep and be woken takes as long.
 * True: it is one. */
static bool comes_at_once(int32_t pid)
{
    enum { A_MOMENT = 100 * 1000 }; /* ns */
    int64_t until = plait_now() + A_MOMENT;
    do {
        if (!pl_process_child_runs(pid))
            return true;
        sched_yield();
    } while (plait_now() < until);
    return false;
}

/* Waits a while for a process that is on its last way, or whose first thread left while others go on.
 * 0: look again; PLAIT_ETIMEDOUT, PLAIT_ECANCELED. */
static int wait_for_zombie(struct pl_slot *slot, const struct pl_wait *wait)
{
    enum { LOOK_EVERY = 20 * 1000 * 1000 };
    int saved = errno;
    int64_t now = plait_now(), look = now + LOOK_EVERY;
    int64_t end = pl_wait_end(wait), until = look < end ? look : end;
    int32_t pid = pl_load_acquire(&slot->pid);
    int rc;
    if (!pl_self.parker)
        pl_bell_look();
    if (pl_self.parker) {
        rc = wait_in_loop(pid, wait, until);
    } else {
        pl_wait_show(pl_life_word(slot), wait, now);
        rc = pl_process_wait(pid, until);
        if (rc == -ENOSYS)
            usleep(1000);
        pl_wait_hide();
    }
    errno = saved;
    if (rc == 0 || rc == PLAIT_ECANCELED)
        return rc;
    rc = wait->uncancellable ? 0 : pl_cancel_take();
    return rc < 0 ? rc : pl_passed(wait->deadline) ? PLAIT_ETIMEDOUT : 0;
}

static bool is_still(const struct pl_slot *slot, uint32_t generation)
{
    return pl_generation_of(pl_load_acquire(&slot->life)) == generation;
}

/* The parent's part for a process: collects it. 0, PLAIT_ETIMEDOUT, PLAIT_ECANCELED. */
static int collect(struct pl_slot *slot, uint32_t generation, const struct pl_wait *wait)
{
    while (pl_load_acquire(&slot->reaper) != PL_REAPED) {
        if (!is_still(slot, generation))
            return PLAIT_ESTALE; /* joined by another, and a later worker has its place */
        int rc = pl_child_reap(slot);
        if (rc == 0)
            return 0;
        if (rc == -ECHILD) { /* another thread of ours is at it */
            sched_yield();
            continue;
        }
        bool ended = pl_life_of(pl_load_acquire(&slot->life)) == PL_ENDED;
        if (ended && comes_at_once(pl_load_acquire(&slot->pid)))
            continue;
        rc = wait_for_zombie(slot, wait);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Makes a dead worker ENDED: repairs, and asks the kernel while there is a zombie to ask. */
static void learn(struct pl_slot *slot, uint32_t generation, int64_t patience)
{
    if (pl_life_of(pl_load_acquire(&slot->life)) != PL_RUNNING)
        return;
    pl_ending_learn(slot, patience);
    for (;;) { /* by us, or by another who is at it; if that one dies, by us after all */
        pl_recover(slot);
        if (pl_load_acquire(&slot->recoverer) == PL_RECOVERED || !is_still(slot, generation))
            break;
        sched_yield();
    }
    if (is_still(slot, generation))
        pl_slot_ended(slot, generation);
}

/* A stranger's part: waits until the process is really gone, then learns. 0, PLAIT_ETIMEDOUT,
 * PLAIT_ECANCELED, PLAIT_ESTALE. */
static int learn_when_gone(struct pl_slot *slot, uint32_t generation, const struct pl_wait *wait)
{
    while (pl_slot_lingers(slot)) {
        int rc = is_still(slot, generation) ? wait_for_zombie(slot, wait) : PLAIT_ESTALE;
        if (rc < 0)
            return rc;
    }
    learn(slot, generation, LEARN);
    return 0;
}

static int result_of(struct pl_slot *slot, uint32_t generation, plait_blame *ret)
{
    plait_blame blame;
    pl_blame_fill(slot, &blame);
    if (!is_still(slot, generation))
        return PLAIT_ESTALE;
    blame.worker.generation = generation;
    if (ret)
        *ret = blame;
    return blame.returned ? 0 : PLAIT_DIED;
}

static int join(struct pl_slot *slot, uint32_t generation, plait_blame *ret, struct pl_wait *wait)
{
    int rc = wait_for_end(slot, generation, wait);
    if (!is_still(slot, generation) && (rc == 0 || rc == PLAIT_ETIMEDOUT))
        return PLAIT_ESTALE;
    if (rc < 0)
        return rc;
    rc = is_ours(slot) ? collect(slot, generation, wait) : learn_when_gone(slot, generation, wait);
    if (rc < 0)
        return rc;
    rc = result_of(slot, generation, ret);
    pl_slot_join(slot, generation);
    return rc;
}

static int join_checked(plait_worker worker, plait_blame *ret, struct pl_wait *wait)
{
    int rc = worker.slot ? pl_thread_known() : PLAIT_EINVAL;
    if (rc < 0)
        return rc;
    if (pl_is_task(worker))
        return pl_task_join(worker, ret, wait);
    rc = pl_self_known();
    if (rc < 0)
        return rc;
    struct pl_slot *slot = pl_slot_find(worker);
    if (!slot || pl_life_of(pl_load_acquire(&slot->life)) == PL_JOINED)
        return PLAIT_ESTALE;
    if (slot == pl_self.slot || slot == pl_self.thread) /* a thread ends after its tasks */
        return PLAIT_EDEADLK;
    if (pl_load_acquire(&slot->flags) & PL_FLAG_DETACHED)
        return PLAIT_ESTALE;
    return join(slot, worker.generation, ret, wait);
}

int plait_join(plait_worker worker, plait_blame *ret, int64_t timeout)
{
    struct pl_wait wait;
    int rc = pl_wait_begin(&wait, PL_WAIT_JOIN, timeout);
    return rc < 0 ? rc : join_checked(worker, ret, &wait);
}

int pl_worker_join_if_not_asked(plait_worker worker)
{
    struct pl_wait wait;
    pl_wait_begin(&wait, PL_WAIT_JOIN, PLAIT_FOREVER);
    wait.lasting = true;
    return join_checked(worker, NULL, &wait);
}

int pl_worker_join_certainly(plait_worker worker, plait_blame *ret, int64_t deadline)
{
    struct pl_wait wait;
    pl_wait_begin(&wait, PL_WAIT_JOIN, PLAIT_FOREVER);
    wait.deadline = deadline;
    wait.uncancellable = true;
    return join_checked(worker, ret, &wait);
}

/* False: it is detached already, or the slot serves another by now. */
static bool mark_detached(struct pl_slot *slot, uint32_t generation)
{
    uint32_t seen = pl_load_relaxed(&slot->flags);
    do {
        if ((seen & PL_TAG_MASK) != PL_TAG(generation) || (seen & PL_FLAG_DETACHED))
            return false;
    } while (!pl_cas_acq_rel(&slot->flags, &seen, seen | PL_FLAG_DETACHED));
    return true;
}

int plait_detach(plait_worker worker)
{
    if (!worker.slot)
        return PLAIT_EINVAL;
    if (pl_is_task(worker))
        return pl_task_detach(worker);
    struct pl_slot *slot = pl_slot_find(worker);
    if (!slot || pl_life_of(pl_load_acquire(&slot->life)) == PL_JOINED ||
        !mark_detached(slot, worker.generation))
        return PLAIT_ESTALE;
    pl_slot_join(slot, worker.generation); /* if it has ended already */
    return 0;
}

int plait_exit_status(plait_worker worker, plait_blame *ret)
{
    if (!worker.slot || !ret)
        return PLAIT_EINVAL;
    if (pl_is_task(worker))
        return pl_task_exit_status(worker, ret);
    struct pl_slot *slot = pl_slot_find(worker);
    if (!slot || pl_life_of(pl_load_acquire(&slot->life)) == PL_JOINED)
        return PLAIT_ESTALE;
    int rc = pl_self_known();
    if (rc < 0)
        return rc;
    if (is_ours(slot))
        pl_child_reap(slot);
    if (pl_slot_is_alive(slot) || pl_slot_lingers(slot))
        return PLAIT_EBUSY;
    learn(slot, worker.generation, 0);
    rc = result_of(slot, worker.generation, ret);
    return rc < 0 ? rc : 0;
}
