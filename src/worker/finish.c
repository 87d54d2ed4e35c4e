/* The orderly end of a process: as Python's, non-daemonic workers are waited for, daemonic processes
 * get SIGTERM and are waited for, daemonic threads are left behind.
 *
 * A request to stop that its main worker has got, and not taken back, goes on to those that it waits for here: who ends
 * because he was asked to would else wait for those who were not. So a request to the first of a tree ends the tree. */
#include "base/atomic.h"
#include "base/clock.h"
#include "park/park.h"
#include "worker/signals.h"
#include "worker/tasks.h"
#include "worker/worker_internal.h"

#include <stdlib.h>
#include <unistd.h>

enum {
    SOON = 1000 * 1000, /* ns */
    EITHER = 1 << PLAIT_THREAD | 1 << PLAIT_PROCESS,
};

static int32_t
    closing_pid; /* the process that ends its daemons and starts no more; a fork's child may */
static int32_t starter; /* the process that has started workers; a fork's child has none. Atomic */
static uint32_t watching; /* the exit handler is registered; inherited over fork, as that is */

void pl_worker_will_have_own(void)
{
    pl_store_relaxed(&starter, (int32_t)getpid());
}

static bool has_own(void)
{
    return pl_load_relaxed(&starter) == (int32_t)getpid();
}

/* The first joinable worker from `at` on that this process started and that matches; false if there is none. */
static bool find_own_from(uint32_t at, uint32_t flags, uint32_t kinds, plait_worker *ret)
{
    uint32_t ready = has_own() ? pl_load_acquire(&pl_arena->slots_ready) : 0;
    struct pl_process_name self = pl_this_process();
    for (uint32_t i = at; i < ready; i++) {
        struct pl_slot *slot = pl_slot_at(i);
        enum pl_life life = pl_life_of(pl_load_acquire(&slot->life));
        if (life == PL_FREE || life == PL_CLAIMED || life == PL_JOINED || slot == pl_self.thread ||
            pl_load_relaxed(&slot->parent_pid) != self.pid ||
            pl_load_relaxed(&slot->parent_birth) != self.birth)
            continue;
        if ((pl_load_acquire(&slot->flags) & (PL_FLAG_DAEMON | PL_FLAG_DETACHED)) != flags ||
            !(kinds & 1u << pl_slot_kind(slot)))
            continue;
        *ret = pl_worker_of(slot);
        return true;
    }
    return false;
}

static bool find_own(uint32_t flags, uint32_t kinds, plait_worker *ret)
{
    return find_own_from(1, flags, kinds, ret);
}

/* Who has been asked before, by his group say, is not asked again. */
static void ask(plait_worker worker)
{
    struct pl_slot *slot = pl_slot_find(worker);
    if (slot && pl_load_acquire(&slot->asked.made) == pl_load_relaxed(&slot->asked.undone))
        pl_cancel_request(slot, worker.generation);
}

static void pass_on_request(void)
{
    plait_worker w = {0, 0};
    while (find_own_from(w.slot + 1, 0, EITHER, &w))
        ask(w);
}

/* Waits for one. A request that comes meanwhile goes on to all. */
static void wait_for(plait_worker worker)
{
    if (pl_worker_join_if_not_asked(worker) == PLAIT_ECANCELED)
        pass_on_request();
}

/* Scopes around the exit have no say in it: the frames they lie in are left. */
void pl_worker_finish_all(void)
{
    plait_worker w;
    if (!pl_arena || pl_self_known() < 0)
        return;
    struct plait_scope *scope = pl_self.scope;
    pl_self.scope = NULL;
    if (plait_cancelling() > 0)
        pass_on_request();
    pl_tasks_finish();
    while (find_own(0, EITHER, &w))
        wait_for(w);
    pl_self.scope = scope;
    pl_store_seq_cst(&closing_pid, (int32_t)getpid());
    while (find_own(PL_FLAG_DAEMON, 1u << PLAIT_PROCESS, &w)) {
        /* One that is just being forked cannot be told yet: come back to it. */
        int64_t patience = plait_terminate(w) == PLAIT_EBUSY ? plait_now() + SOON : PL_NEVER;
        pl_worker_join_certainly(w, NULL, patience);
    }
}

bool pl_worker_is_closing(void)
{
    int32_t pid = pl_load_relaxed(&closing_pid);
    return pid && pid == getpid();
}

/* Runs in every process of the family that calls exit() or returns from main; a worker process that
 * calls exit() in the middle of its function signs off here. */
static void at_exit(int status, void *unused)
{
    (void)unused;
    pl_worker_finish_all();
    pl_signals_note_exit(status & 0xff);
    const struct pl_slot *slot = pl_self.thread;
    uint32_t flags = slot ? pl_load_relaxed(&slot->flags) : 0;
    if ((flags & PL_FLAG_MAIN) && !(flags & PL_FLAG_FOREIGN))
        pl_slot_leave(PL_END_EXITED, status);
}

void pl_worker_watch_exit(void)
{
    uint32_t no = 0;
    if (pl_load_relaxed(&watching) == 0 && pl_cas_acq_rel(&watching, &no, 1u))
        on_exit(at_exit, NULL); /* children inherit it */
}
