/* The orderly end of a process: as Python's, non-daemonic workers are waited for, daemonic processes
 * get SIGTERM and are waited for, daemonic threads are left behind. */
#include "base/atomic.h"
#include "park/park.h"
#include "worker/worker_internal.h"

#include <stdlib.h>
#include <unistd.h>

static int watched_pid; /* the process that has the exit handler; a fork's child has not */

/* A joinable worker that this process started and that matches; false if there is none. */
static bool find_own(uint32_t flags, uint32_t kinds, plait_worker *ret)
{
    uint32_t ready = pl_load_acquire(&pl_arena->slots_ready);
    for (uint32_t i = 1; i < ready; i++) {
        struct pl_slot *slot = pl_slot_at(i);
        enum pl_life life = pl_life_of(pl_load_acquire(&slot->life));
        if (life != PL_NEW && life != PL_RUNNING && life != PL_ENDED)
            continue;
        if (pl_load_relaxed(&slot->parent_pid) != getpid() || slot == pl_self.slot)
            continue;
        if ((pl_load_acquire(&slot->flags) & (PL_FLAG_DAEMON | PL_FLAG_DETACHED)) != flags ||
            !(kinds & 1u << slot->kind))
            continue;
        *ret = pl_worker_of(slot);
        return true;
    }
    return false;
}

void pl_worker_finish_all(void)
{
    plait_worker w;
    if (!pl_arena || pl_self_known() < 0)
        return;
    while (find_own(0, 1u << PLAIT_THREAD | 1u << PLAIT_PROCESS, &w))
        pl_worker_join_certainly(w, NULL);
    while (find_own(PL_FLAG_DAEMON, 1u << PLAIT_PROCESS, &w)) {
        plait_terminate(w);
        pl_worker_join_certainly(w, NULL);
    }
}

static void at_exit(void)
{
    if (watched_pid == getpid())
        pl_worker_finish_all();
}

void pl_worker_watch_exit(void)
{
    int pid = getpid(), seen = pl_load_relaxed(&watched_pid);
    if (seen == pid || !pl_cas_acq_rel(&watched_pid, &seen, pid))
        return;
    if (seen == 0) /* a forked child inherits the registration */
        atexit(at_exit);
}
