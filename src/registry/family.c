/* The family seen as processes. The registry lists workers; some questions are about processes. */
#include "base/atomic.h"
#include "registry/registry.h"

static bool is_listed(const int32_t *pids, int n, int32_t pid)
{
    for (int i = 0; i < n; i++)
        if (pids[i] == pid)
            return true;
    return false;
}

int pl_process_workers(uint32_t *ids, int most)
{
    enum { MOST = 32 };
    int32_t pids[MOST + 1] = {pl_load_relaxed(&pl_self.slot->pid)};
    int n = 0;
    uint32_t ready = pl_load_acquire(&pl_arena->slots_ready);
    for (uint32_t i = 1; i < ready && n < most && n < MOST; i++) {
        struct pl_slot *slot = pl_slot_at(i);
        uint64_t life = pl_load_acquire(&slot->life);
        int32_t pid = pl_load_relaxed(&slot->pid);
        if (pl_life_of(life) != PL_RUNNING || is_listed(pids, n + 1, pid) ||
            pl_heart_is_stopped(slot))
            continue;
        ids[n++] = pl_slot_id(slot);
        pids[n] = pid;
    }
    return n;
}
