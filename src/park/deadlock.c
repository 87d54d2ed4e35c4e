/* Deadlock detection: rings in the wait-for graph (D2, D3).
 *
 * Each worker that sleeps has put on record what it waits for and who holds that. So a worker waits for
 * at most one other at a time (who waits for several, as a writer does for readers, waits for one after
 * the other), and looking for a ring through oneself is following a chain until it ends or comes
 * back. Nothing is kept up to date for this while nobody blocks.
 *
 * Naive: follow the chain and believe it. Its hole: the records are not of one moment. Worker A waits
 * for B's lock; B releases it, wakes A, and then waits for A's lock: as long as A has not run, the records
 * show a ring that is none. Cure: collect the ring, then ask the words whether each lock is still held by
 * whom the record says, then look whether all are still in the very same waits. If so there was a
 * moment, when the last word was asked, at which each was asleep and the next one in the ring held what it
 * waited for; and who sleeps releases nothing. That state ends only by an error, a death, or, for a plain
 * lock, by a stranger's release.
 *
 * A private word of another process cannot be asked. Then its waiter's own look counts: it saw the holder
 * in the word at a time when the holder was asleep already. If it has not looked since, it is nudged:
 * it wakes, looks, and the next check finds it.
 *
 * Who gives way: all in the ring find it, each by itself, at the ends of their naps. Who has waited least
 * (which is who closed it, and comes to look first) is the one; the others leave it to him. So exactly one
 * gets the error, and exactly one reports. Should he have met the others while they looked around, or should
 * one who cannot be asked to give way have closed the ring, his next look may be a long nap away: so those
 * who find it wake him. */
#include "base/atomic.h"
#include "base/clock.h"
#include "base/log.h"
#include "park/record.h"
#include "port/futex.h"
#include "port/memory.h"

#include <limits.h>
#include <plait/deadlock.h>
#include <stdlib.h>

enum {
    RING_MOST = 64,
    TRIES = 3,
    NAMED_MOST = 12, /* in a report */
};

struct ring {
    int n;
    struct pl_wait_record members[RING_MOST]; /* each waits for the next, the last for the first */
};

int plait_deadlock_policy(enum plait_deadlock_policy policy, int64_t after)
{
    if (policy < PLAIT_DEADLOCK_DEFAULT || policy > PLAIT_DEADLOCK_IGNORE)
        return PLAIT_EINVAL;
    int rc = pl_check_timeout(after);
    if (rc == 0)
        rc = pl_self_known();
    if (rc < 0)
        return rc;
    pl_store_relaxed(&pl_arena->deadlock_after, after == PLAIT_FOREVER ? 0 : after);
    pl_store_relaxed(&pl_arena->deadlock_policy,
                     (uint32_t)(after == PLAIT_FOREVER ? PLAIT_DEADLOCK_IGNORE : policy));
    return 0;
}

int64_t pl_deadlock_after(void)
{
    int64_t after = pl_load_relaxed(&pl_arena->deadlock_after);
    return after ? after : PL_FIRST_NAP;
}

/* --- finding --- */

/* Whether the wait is for what one worker holds, so that only he (or, of plain locks, a stranger) can end
 * it. */
static bool has_holder(uint32_t kind)
{
    switch (kind) {
    case PL_WAIT_LOCK:
    case PL_WAIT_RLOCK:
    case PL_WAIT_PI_LOCK:
    case PL_WAIT_READ:
    case PL_WAIT_WRITE:
    case PL_WAIT_ONCE:
    case PL_WAIT_JOIN:
    case PL_WAIT_GIL:
        return true;
    default:
        return false;
    }
}

/* Whether a stranger may release it. */
static bool is_plain(uint32_t kind)
{
    return kind == PL_WAIT_LOCK;
}

/* Whether the word waited on can be asked: it is not another process's own. */
static bool is_readable(const struct pl_wait_record *record)
{
    return pl_arena_holds(record->word) || record->pid == pl_load_relaxed(&pl_self.slot->pid);
}

/* Who holds what is waited for. The record says who did when the waiter looked last, perhaps long ago; the
 * word knows better. 0: nobody, or unknown. */
static uint32_t holder_of(const struct pl_wait_record *record)
{
    uint32_t word;
    if (record->kind == PL_WAIT_JOIN || !is_readable(record))
        return record->holder;
    return pl_memory_peek(record->word, &word) && !(word & record->unheld) ? word & PL_ID_MASK : 0;
}

static bool is_member(const struct ring *ring, const struct pl_slot *slot)
{
    for (int i = 0; i < ring->n; i++)
        if (ring->members[i].slot == slot)
            return true;
    return false;
}

/* Follows the chain from this worker. True: it came back. */
static bool collect(struct ring *ring)
{
    struct pl_slot *slot = pl_self.slot;
    for (ring->n = 0; ring->n < RING_MOST;) {
        struct pl_wait_record *record = &ring->members[ring->n];
        if (!pl_wait_read(slot, record) || !has_holder(record->kind))
            return false;
        record->holder = holder_of(record);
        if (record->holder == 0)
            return false;
        ring->n++;
        if (record->holder == pl_self.id)
            return true;
        slot = pl_slot_of(record->holder);
        if (pl_slot_id(slot) != record->holder || is_member(ring, slot))
            return false;
    }
    return false;
}

/* Wakes a waiter so that it looks at its word again. */
static void nudge(const struct pl_wait_record *record)
{
    pl_nudge(record->slot);
}

/* Whether the next in the ring still holds what this one waits for. */
static bool is_held(const struct pl_wait_record *record, const struct pl_wait_record *next)
{
    if (record->kind == PL_WAIT_JOIN)
        return true; /* it is alive, or its record would not be the same */
    if (is_readable(record))
        return holder_of(record) == next->id;
    if (record->looked > next->since)
        return true;
    nudge(record);
    return false;
}

/* Whether all of it was true at one moment; see the top. */
static bool is_true(const struct ring *ring)
{
    for (int i = 0; i < ring->n; i++)
        if (!is_held(&ring->members[i], &ring->members[(i + 1) % ring->n]))
            return false;
    for (int i = 0; i < ring->n; i++)
        if (!pl_wait_is_same(&ring->members[i]))
            return false;
    return true;
}

/* A member that looks around itself just now seems not to wait: hence several tries. */
static bool find(struct ring *ring)
{
    for (int i = 0; i < TRIES; i++)
        if (collect(ring) && is_true(ring))
            return true;
    return false;
}

/* --- judging --- */

static bool will_end(const struct ring *ring)
{
    for (int i = 0; i < ring->n; i++)
        if (ring->members[i].ends_soon)
            return true;
    return false;
}

static bool is_certain(const struct ring *ring)
{
    for (int i = 0; i < ring->n; i++)
        if (is_plain(ring->members[i].kind))
            return false;
    return true;
}

/* Whether `a` rather than `b` has to give way: it can, and has waited less. */
static bool gives_way(const struct pl_wait_record *a, const struct pl_wait_record *b)
{
    if (a->firm != b->firm)
        return b->firm;
    return a->since != b->since ? a->since > b->since : a->id > b->id;
}

static const struct pl_wait_record *chosen_of(const struct ring *ring)
{
    const struct pl_wait_record *chosen = &ring->members[0];
    for (int i = 1; i < ring->n; i++)
        if (gives_way(&ring->members[i], chosen))
            chosen = &ring->members[i];
    return chosen;
}

/* Has the chosen one look, which might be asleep for long. */
static void ask_to_look(const struct pl_wait_record *chosen)
{
    pl_store_release(&chosen->slot->asked_to_look, 1u);
    nudge(chosen);
}

/* --- telling --- */

static void add_member(struct pl_text *text, const struct pl_wait_record *record, bool last)
{
    pl_text_add(text, "plait:   ");
    pl_text_add_worker(text, record->slot);
    pl_text_add(text, " has waited %ld ms for ", (long)((plait_now() - record->since) / 1000000));
    pl_text_add_wait(text, record);
    if (record->kind != PL_WAIT_JOIN) {
        pl_text_add(text, ", held");
        pl_text_add_held(text, record->holder, record->word);
        pl_text_add(text, " by");
    }
    pl_text_add(text, last ? " the first\n" : "\n");
}

static void report(const struct ring *ring, bool certain, bool fails)
{
    struct pl_text text = {.length = 0};
    const char *what = certain ? "deadlock" : "suspected deadlock";
    if (ring->n == 1)
        pl_text_add(&text, "plait: %s: a worker waits for itself\n", what);
    else
        pl_text_add(&text, "plait: %s: %d workers wait for each other\n", what, ring->n);
    for (int i = 0; i < ring->n && i < NAMED_MOST; i++)
        add_member(&text, &ring->members[i], i == ring->n - 1);
    if (ring->n > NAMED_MOST)
        pl_text_add(&text, "plait:   one of %d others, the last of whom waits for the first\n",
                    ring->n - NAMED_MOST);
    if (fails)
        pl_text_add(&text, "plait:   the first one's wait fails with PLAIT_EDEADLK\n");
    else if (!certain)
        pl_text_add(&text,
                    "plait:   unless another worker releases a plain lock, they wait for ever\n");
    pl_log(text.bytes);
}

static int act(const struct ring *ring, struct pl_wait *wait, uint32_t policy)
{
    bool certain = is_certain(ring);
    bool fails = !wait->uncancellable && !wait->lasting &&
                 (policy == PLAIT_DEADLOCK_FAIL || (policy == PLAIT_DEADLOCK_DEFAULT && certain));
    if (!wait->told)
        report(ring, certain, fails);
    wait->told = true;
    if (policy == PLAIT_DEADLOCK_ABORT)
        abort();
    return fails ? PLAIT_EDEADLK : 0;
}

int pl_deadlock_check(struct pl_wait *wait)
{
    struct ring ring;
    uint32_t policy = pl_load_relaxed(&pl_arena->deadlock_policy);
    if (policy == PLAIT_DEADLOCK_IGNORE || plait_now() - wait->began < pl_deadlock_after())
        return 0;
    if (!has_holder(wait->kind) || !find(&ring))
        return pl_asleep_check(wait, policy);
    if (will_end(&ring))
        return 0;
    const struct pl_wait_record *chosen = chosen_of(&ring);
    if (chosen == &ring.members[0])
        return act(&ring, wait, policy);
    ask_to_look(chosen);
    return 0;
}
