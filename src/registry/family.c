/* The family seen as processes. The registry lists workers; a sleeper that wants to notice any death
 * needs one worker of each process, for a worker of another process dies with all of it.
 *
 * Naive: each sleeper looks through all slots. With ten thousand of them that is a hundred million looks
 * a second. Cure: a list in the arena, which sleepers copy. Each process that comes enters itself, and the sweep, which passes all
 * slots anyway and no more than every 10 ms, makes it anew. It may be a little old, or half of it new: then a process is
 * watched twice, or not before the next nap.
 *
 * Who comes does not look through the slots himself: in a fresh process each page of them is a page fault. */
#include "base/atomic.h"
#include "port/process.h"
#include "registry/registry.h"

#include <string.h>
#include <unistd.h>

static bool is_listed(const int32_t *pids, int n, int32_t pid)
{
    for (int i = 0; i < n; i++)
        if (pids[i] == pid)
            return true;
    return false;
}

void pl_roster_begin(struct pl_roster *roster)
{
    roster->n = 0;
}

void pl_roster_add(struct pl_roster *roster, struct pl_slot *slot)
{
    int32_t pid = pl_load_relaxed(&slot->pid);
    if (pl_load_relaxed(&slot->host)) /* a task may end while its process lives on */
        return;
    if (roster->n == PL_PROCESSES_LISTED || is_listed(roster->pids, roster->n, pid))
        return;
    pl_store_relaxed(&pl_arena->processes[roster->n], pl_slot_id(slot));
    roster->pids[roster->n++] = pid;
}

void pl_roster_end(struct pl_roster *roster)
{
    for (int i = roster->n; i < PL_PROCESSES_LISTED; i++)
        pl_store_relaxed(&pl_arena->processes[i], 0u);
}

int pl_process_workers(uint32_t *ids, int most)
{
    int32_t own = pl_load_relaxed(&pl_self.slot->pid);
    int n = 0;
    for (int i = 0; i < PL_PROCESSES_LISTED && n < most; i++) {
        uint32_t id = pl_load_relaxed(&pl_arena->processes[i]);
        if (id == 0)
            break;
        if (pl_load_relaxed(&pl_slot_of(id)->pid) != own && !pl_is_dead(id))
            ids[n++] = id;
    }
    return n;
}

void pl_roster_join(void)
{
    uint32_t own = pl_slot_id(pl_self.slot);
    for (int i = 0; i < PL_PROCESSES_LISTED; i++) {
        uint32_t id = pl_load_relaxed(&pl_arena->processes[i]);
        if ((id == 0 || pl_is_dead(id)) && pl_cas_relaxed(&pl_arena->processes[i], &id, own))
            return;
    }
}

/* --- leaving for another family --- */

/* Whether all there ever was in the arena is the calling thread's entry. */
static bool is_all_mine(void)
{
    uint32_t ready = pl_load_acquire(&pl_arena->slots_ready);
    for (uint32_t i = 1; i < ready; i++)
        if (pl_slot_at(i) != pl_self.thread && pl_load_acquire(&pl_slot_at(i)->life) != 0)
            return false;
    return pl_load_acquire(&pl_arena->chunks_ready) == 0 && !pl_load_acquire(&pl_arena->labels) &&
           !pl_load_acquire(&pl_arena->lockdep);
}

bool pl_family_leave(void)
{
    if (!pl_load_acquire(&pl_arena))
        return true;
    if (pl_self.task || pl_self.parker || pl_self.scope || pl_process_threads(getpid()) != 1 ||
        !is_all_mine())
        return false;
    struct pl_locals *locals = pl_self.locals;
    if (pl_self.thread)
        pl_heart_take_back(pl_self.thread);
    memset(&pl_self, 0, sizeof pl_self);
    pl_self.locals = locals;
    pl_arena_abandon();
    return true;
}
