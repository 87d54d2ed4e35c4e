/* Is anybody left who could wake anybody? (Promise 5.)
 *
 * A ring is one way to wait for ever; another is that everyone waits for somebody else to do something:
 * set an event, notify, release a permit. If each worker of the family sleeps without a timeout, nobody
 * will.
 *
 * Naive: read all records, then all of them again: unchanged, so all sleep. Its hole: one that has been woken
 * looks asleep until it runs, and of two that play ping-pong often one is on its way and the other
 * waits already. Cure: what one roll call finds counts if the next, 100 ms later, finds each worker in the very
 * same wait; to be woken and run takes less. A wait is the same from its beginning to its end, through all
 * naps. A thread that is not in the registry might still wake someone; so the number of threads that each
 * process has is held against the number of its workers, and what is found is called suspected all
 * the same.
 *
 * Only sleepers past several naps ask, one of them every 100 ms, and each state is reported once. */
#include "base/atomic.h"
#include "base/clock.h"
#include "base/log.h"
#include "park/record.h"
#include "port/process.h"

#include <plait/deadlock.h>
#include <stdlib.h>

enum {
    NAPS_BEFORE = 2, /* and a third: some 140 ms of sleep */
    EVERY = 100 * 1000 * 1000,
    NAMED_MOST = 16, /* in a report */
};

/* What a roll call has found. */
struct roll {
    uint64_t state; /* of all waits: another one if any worker has waited anew */
    int workers;
};

static bool may_look(void)
{
    int64_t now = plait_now(), last = pl_load_relaxed(&pl_arena->last_roll_call);
    return now - last >= EVERY && pl_cas_relaxed(&pl_arena->last_roll_call, &last, now);
}

/* A worker that will do nothing more by itself. What has ended, or was never one, does not count. */
static bool is_asleep(struct pl_slot *slot, struct roll *roll)
{
    struct pl_wait_record record;
    if (!pl_slot_is_alive(slot))
        return true;
    if (pl_load_relaxed(&slot->runs_tasks)) /* they need not be in the registry: who knows */
        return false;
    if (!pl_wait_read(slot, &record) || record.ends_soon)
        return false;
    if (record.kind == PL_WAIT_FD || record.kind == PL_WAIT_HELPER ||
        record.rousable) /* the world may wake it */
        return false;
    roll->workers++;
    roll->state = (roll->state + record.id) * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)record.since;
    return true;
}

static bool call_roll(struct roll *roll)
{
    *roll = (struct roll){0, 0};
    uint32_t ready = pl_load_acquire(&pl_arena->slots_ready);
    for (uint32_t i = 1; i < ready; i++) {
        enum pl_life life = pl_life_of(pl_load_acquire(&pl_slot_at(i)->life));
        if (life == PL_CLAIMED || !is_asleep(pl_slot_at(i), roll))
            return false;
    }
    return true;
}

/* Threads of the processes of all workers; each process is counted by the first of its workers. */
static int count_threads(void)
{
    uint32_t ids[32];
    int threads = pl_process_threads(pl_load_relaxed(&pl_self.slot->pid));
    int n = pl_process_workers(ids, 32);
    for (int i = 0; i < n; i++)
        threads += pl_process_threads(pl_load_relaxed(&pl_slot_of(ids[i])->pid));
    return threads;
}

static void report(int workers)
{
    struct pl_text text = {.length = 0};
    struct pl_wait_record record;
    int named = 0;
    pl_text_add(&text,
                "plait: suspected deadlock: all %d workers sleep, and none can wake another\n",
                workers);
    uint32_t ready = pl_load_acquire(&pl_arena->slots_ready);
    for (uint32_t i = 1; i < ready; i++) {
        if (!pl_slot_is_alive(pl_slot_at(i)) || !pl_wait_read(pl_slot_at(i), &record))
            continue;
        if (++named > NAMED_MOST)
            break;
        pl_text_add(&text, "plait:   ");
        pl_text_add_worker(&text, record.slot);
        pl_text_add(&text, " has waited %ld ms for ",
                    (long)((plait_now() - record.since) / 1000000));
        pl_text_add_wait(&text, &record);
        pl_text_add(&text, "\n");
    }
    if (named > NAMED_MOST)
        pl_text_add(&text, "plait:   and others\n");
    pl_log(text.bytes);
}

/* True if all sleep, as they did at the last roll call. */
static bool all_still_sleep(struct roll *roll)
{
    bool asleep = call_roll(roll) && count_threads() == roll->workers;
    uint64_t state = asleep ? roll->state : 0;
    uint64_t before = pl_load_relaxed(&pl_arena->seen_asleep);
    pl_store_relaxed(&pl_arena->seen_asleep, state);
    return asleep && before == state;
}

int pl_asleep_check(const struct pl_wait *wait, uint32_t policy)
{
    struct roll roll;
    if (wait->naps < NAPS_BEFORE || !may_look() || !all_still_sleep(&roll))
        return 0;
    uint64_t told = pl_load_relaxed(&pl_arena->told_asleep);
    if (told == roll.state || !pl_cas_relaxed(&pl_arena->told_asleep, &told, roll.state))
        return 0;
    report(roll.workers);
    if (policy == PLAIT_DEADLOCK_ABORT)
        abort();
    return 0;
}
