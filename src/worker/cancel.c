/* Asking workers to stop. */
#include "base/atomic.h"
#include "park/park.h"
#include "worker/tasks.h"
#include "worker/worker_internal.h"

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
    pl_bell_look();
    return pl_self.asked || pl_self.scope ? pl_cancel_take() : 0;
}
