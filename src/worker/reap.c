/* Collecting child processes, once each, and writing down how they ended. */
#include "base/at_fork.h"
#include "base/atomic.h"
#include "base/clock.h"
#include "port/oom.h"
#include "port/process.h"
#include "worker/worker_internal.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

/* What can be known: the count of kills has risen since the worker was started. If its death was not one of those, another
 * process of the same control group was killed for want of memory meanwhile. */
static int was_killed_for_memory(const struct pl_slot *slot)
{
    int64_t before = pl_load_relaxed(&slot->oom_before), now = before < 0 ? -1 : pl_oom_kills();
    return now < 0 ? -1 : now > before;
}

static void record_end(struct pl_slot *slot, const struct pl_process_end *end)
{
    pl_store_relaxed(&slot->user_ns, end->user_ns);
    pl_store_relaxed(&slot->system_ns, end->system_ns);
    pl_store_relaxed(&slot->max_rss, end->max_rss);
    if (pl_load_acquire(&slot->ending) != PL_END_UNKNOWN)
        return; /* it has said itself how it ended */
    pl_store_relaxed(&slot->status, end->signal ? -end->signal : end->status);
    pl_store_relaxed(&slot->signal, end->signal);
    pl_store_relaxed(&slot->core, (uint32_t)end->core);
    if (end->signal == SIGKILL)
        pl_store_relaxed(&slot->oom, was_killed_for_memory(slot));
    pl_store_relaxed(&slot->ended, plait_now());
    pl_store_release(&slot->ending, (uint32_t)(end->signal ? PL_END_KILLED : PL_END_EXITED));
}

void pl_child_finish(struct pl_slot *slot, uint32_t generation)
{
    /* One that died before it registered left nothing but its argument, and is not RUNNING. */
    uint64_t life = pl_load_acquire(&slot->life);
    if (pl_generation_of(life) != generation)
        return;
    if (pl_life_of(life) == PL_NEW || pl_life_of(life) == PL_ENTERING) {
        pl_slot_drop_argument(slot);
        pl_store_release(&slot->recoverer, PL_RECOVERED);
        pl_cas_acq_rel(&slot->life, &life,
                       (uint64_t)generation << 32 | (uint32_t)PL_RUNNING << PL_ID_BITS);
    }
    pl_recover(slot);
    pl_slot_ended(slot, generation);
}

/* It has said so within the last tick of the clock that births are counted in: the pid is its own still, whatever the birth. */
static bool has_just_ended(const struct pl_slot *slot)
{
    enum { TICK = 10 * 1000 * 1000 }; /* ns */
    return pl_life_of(pl_load_acquire(&slot->life)) == PL_ENDED &&
           plait_now() - pl_load_relaxed(&slot->ended) < TICK;
}

/* Under the slot's reaper word. As pl_process_reap, but a process that another has collected is told
 * from one that is not ours to collect. */
static int reap_claimed(struct pl_slot *slot, struct pl_process_end *end, bool *ret_known)
{
    int32_t pid = pl_load_acquire(&slot->pid);
    uint64_t birth = pl_load_relaxed(&slot->birth);
    int rc = pl_process_reap(pid, has_just_ended(slot) ? 0 : birth, end);
    *ret_known = rc == 0;
    if (rc != -ECHILD)
        return rc;
    return pl_process_lives(pid, birth) ? -EAGAIN : 0;
}

/* This process's pid and how many children it has still to collect; a fork's child has none. Atomic. */
static PL_WRITTEN_AT_FORK uint64_t uncollected;

void pl_child_count(int n)
{
    uint64_t self = (uint32_t)getpid(), seen = pl_load_relaxed(&uncollected), next;
    do {
        uint32_t count = seen >> 32 == self ? (uint32_t)seen : 0;
        next = self << 32 | (count + (uint32_t)n);
    } while (!pl_cas_relaxed(&uncollected, &seen, next));
}

static bool has_uncollected(void)
{
    uint64_t seen = pl_load_relaxed(&uncollected);
    return seen >> 32 == (uint32_t)getpid() && (uint32_t)seen != 0;
}

int pl_child_reap(struct pl_slot *slot)
{
    struct pl_process_end end;
    bool known;
    uint32_t nobody = 0, generation = pl_generation_of(pl_load_acquire(&slot->life));
    struct pl_process_name self = pl_this_process();
    if (!pl_slot_is_child(slot, &self) ||
        !pl_cas_acq_rel(&slot->reaper, &nobody, pl_self.thread_id))
        return -ECHILD;
    bool same = pl_generation_of(pl_load_acquire(&slot->life)) == generation;
    int rc = same ? reap_claimed(slot, &end, &known) : -EAGAIN;
    if (rc < 0) {
        pl_store_release(&slot->reaper, 0u);
        return rc;
    }
    if (known) { /* written down before the zombie goes, whom others may be asking */
        record_end(slot, &end);
        pl_process_collect(pl_load_relaxed(&slot->pid));
    }
    pl_child_count(-1);
    pl_child_finish(slot, generation);
    pl_store_release(&slot->reaper, PL_REAPED);
    return 0;
}

void pl_child_reap_forgotten(void)
{
    struct pl_process_name self = pl_this_process();
    uint32_t ready = has_uncollected() ? pl_load_acquire(&pl_arena->slots_ready) : 0;
    for (uint32_t i = 1; i < ready; i++) {
        struct pl_slot *slot = pl_slot_at(i);
        if (!pl_slot_is_child(slot, &self) || pl_load_acquire(&slot->reaper) != 0)
            continue;
        enum pl_life life = pl_life_of(pl_load_acquire(&slot->life));
        if (life == PL_JOINED || (pl_load_relaxed(&slot->flags) & PL_FLAG_DETACHED))
            pl_child_reap(slot);
    }
}
