/* Records of waits: written by the waiter, read by anyone; see record.h. */
#include "park/record.h"

#include "base/atomic.h"
#include "base/clock.h"

/* In waits_firm: the wait cannot be made to fail at all; requests to stop do not reach it. */
#define FIRM UINT32_C(1)
#define SHIELDED UINT32_C(2)
#define ROUSABLE UINT32_C(4) /* a bit besides: something from outside may give it other work */

static uint32_t firmness_of(const struct pl_wait *wait)
{
    uint32_t rousable = pl_self.bell && pl_self.bell->awaited > 0 ? ROUSABLE : 0;
    if (wait->uncancellable || wait->lasting)
        return rousable | FIRM;
    return wait->deaf ? rousable | SHIELDED : rousable;
}

void pl_wait_show(uint32_t *word, const struct pl_wait *wait, int64_t now)
{
    struct pl_slot *slot = pl_self.slot;
    uint32_t seq = pl_load_relaxed(&slot->waits_seq);
    /* `now` is from before this look. */
    bool held =
        wait->holder && (pl_load_acquire(word) & (PL_ID_MASK | wait->unheld)) == wait->holder;
    pl_store_relaxed(&slot->waits_seq, seq + 1);
    /* R:wait.record, pairs with pl_wait_read: who sees a field of this wait sees that it changes. */
    pl_store_release(&slot->waits_kind, (uint32_t)wait->kind);
    pl_store_release(&slot->waits_holder, wait->holder);
    pl_store_release(&slot->waits_firm, firmness_of(wait));
    pl_store_release(&slot->waits_unheld, wait->unheld);
    pl_store_release(&slot->waits_since, wait->began);
    pl_store_release(&slot->waits_until, pl_wait_end(wait));
    pl_store_release(&slot->waits_looked, held ? now : 0);
    pl_store_seq_cst(&slot->waits_on, word);
    pl_store_release(&slot->waits_seq, seq + 2);
}

/* The word stays on record: should this worker die before it has used the wake-up, its recoverer wakes
 * the others who sleep there. */
void pl_wait_hide(void)
{
    pl_store_relaxed(&pl_self.slot->waits_kind, 0u);
}

bool pl_wait_read(struct pl_slot *slot, struct pl_wait_record *ret)
{
    /* A:wait.record, pairs with pl_wait_show. */
    uint32_t seq = pl_load_acquire(&slot->waits_seq);
    uint32_t kind = pl_load_acquire(&slot->waits_kind);
    uint32_t firmness = pl_load_acquire(&slot->waits_firm);
    bool asked = pl_load_acquire(&slot->asked.made) != pl_load_acquire(&slot->asked.delivered);
    *ret = (struct pl_wait_record){
        .slot = slot,
        .id = pl_slot_id(slot),
        .seq = seq,
        .kind = kind,
        .holder = pl_load_acquire(&slot->waits_holder),
        .unheld = pl_load_acquire(&slot->waits_unheld),
        .pid = pl_load_relaxed(&slot->pid),
        .word = pl_load_acquire(&slot->waits_on),
        .since = pl_load_acquire(&slot->waits_since),
        .looked = pl_load_acquire(&slot->waits_looked),
        .firm = (firmness & FIRM) != 0,
        .rousable = (firmness & ROUSABLE) != 0,
        .ends_soon = pl_load_acquire(&slot->waits_until) != PL_NEVER ||
                     (asked && !(firmness & (FIRM | SHIELDED))),
    };
    return kind != PL_WAIT_NONE && kind < PL_WAIT_KINDS && pl_wait_is_same(ret);
}

bool pl_wait_is_same(const struct pl_wait_record *record)
{
    return !(record->seq & 1) && pl_load_acquire(&record->slot->waits_seq) == record->seq &&
           pl_load_acquire(&record->slot->waits_kind) == record->kind &&
           pl_slot_is_alive(record->slot) && pl_slot_id(record->slot) == record->id;
}
