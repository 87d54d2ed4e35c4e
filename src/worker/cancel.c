/* Asking workers to stop, gently and otherwise. */
#include "base/atomic.h"
#include "park/park.h"
#include "port/process.h"
#include "worker/tasks.h"
#include "worker/worker_internal.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

/* A worker that still runs: 0 with *ret; PLAIT_EINVAL, PLAIT_ESTALE, PLAIT_ESRCH. */
static int find_running(plait_worker worker, struct pl_slot **ret)
{
    int state = plait_state(worker);
    if (state < 0)
        return state;
    *ret = pl_slot_find(worker);
    return state == PLAIT_STATE_ENDED ? PLAIT_ESRCH : *ret ? 0 : PLAIT_ESTALE;
}

int plait_cancel(plait_worker worker)
{
    struct pl_slot *slot;
    if (pl_is_task(worker))
        return pl_task_cancel(worker);
    int rc = find_running(worker, &slot);
    return rc < 0 ? rc : pl_cancel_request(slot, worker.generation);
}

int plait_cancelling(void)
{
    if (!pl_self.asked)
        return 0;
    return (int)(pl_load_acquire(&pl_self.asked->made) - pl_load_relaxed(&pl_self.asked->undone));
}

int plait_uncancel(void)
{
    int pending = plait_cancelling();
    if (pending <= 0)
        return 0;
    struct pl_asked *self = pl_self.asked;
    pl_store_relaxed(&self->undone, pl_load_relaxed(&self->undone) + 1);
    if (pending == 1) /* none is left to deliver */
        pl_store_relaxed(&self->delivered, pl_load_relaxed(&self->undone));
    return pending - 1;
}

int plait_checkpoint(void)
{
    return pl_self.asked || pl_self.scope ? pl_cancel_take() : 0;
}

/* Where no pidfd is to be had: a child of ours keeps its pid until we collect it. */
static int send_without_handle(struct pl_slot *slot, int signal, int why)
{
    int pid = pl_load_acquire(&slot->pid);
    struct pl_process_name self = pl_this_process();
    if (!pl_slot_is_child(slot, &self))
        return why == -EMFILE || why == -ENFILE ? PLAIT_EMFILE : PLAIT_ENOTSUP;
    if (!pl_process_child_runs(pid))
        return PLAIT_ESRCH;
    return kill(pid, signal) < 0 ? PLAIT_ESRCH : 0;
}

/* Whether the process that has the pid now, and therefore the pidfd, is the worker's: born when it was;
 * or, where births cannot be learned, held by our own child until we collect it, or by a worker whose
 * heart beats still. */
static bool is_the_one(struct pl_slot *slot, int pid)
{
    uint64_t birth = pl_load_relaxed(&slot->birth), now = pl_process_birth(pid);
    if (birth && now)
        return birth == now;
    struct pl_process_name self = pl_this_process();
    return pl_slot_is_child(slot, &self) || !pl_heart_is_stopped(slot);
}

/* Sends through a pidfd. The pid may have been reused before the pidfd was opened; so it is looked at
 * after that whose it is. */
static int send_to(struct pl_slot *slot, plait_worker worker, int signal)
{
    int pid = pl_load_acquire(&slot->pid);
    if (pid <= 0) /* listed already, not forked yet */
        return PLAIT_EBUSY;
    int handle = pl_process_open(pid);
    if (handle == -ESRCH || handle == -EINVAL)
        return PLAIT_ESRCH;
    if (handle < 0)
        return send_without_handle(slot, signal, handle);
    bool reach = !pl_process_has_ended(handle) && is_the_one(slot, pid) &&
                 pl_slot_find(worker) == slot; /* last: all that was read was of this worker */
    int rc = reach ? pl_process_signal(handle, signal) : -ESRCH;
    close(handle);
    return rc == 0 ? 0 : rc == -EPERM ? PLAIT_EPERM : PLAIT_ESRCH;
}

static int signal_worker(plait_worker worker, int signal)
{
    if (worker.slot == 0)
        return PLAIT_EINVAL;
    if (pl_is_task(worker)) {
        int state = pl_task_state(worker);
        return state < 0 ? state : PLAIT_ENOTSUP;
    }
    struct pl_slot *slot = pl_slot_find(worker);
    if (!slot || pl_life_of(pl_load_acquire(&slot->life)) == PL_JOINED)
        return PLAIT_ESTALE;
    if (pl_slot_kind(slot) != PLAIT_PROCESS)
        return PLAIT_ENOTSUP;
    int saved = errno;
    int rc = send_to(slot, worker, signal);
    errno = saved;
    return rc;
}

int plait_terminate(plait_worker worker)
{
    return signal_worker(worker, SIGTERM);
}

int plait_kill(plait_worker worker)
{
    return signal_worker(worker, SIGKILL);
}
