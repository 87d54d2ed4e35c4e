/* Large blocks: claimed, committed, resized and freed so that a death at any step can be repaired.
 *
 * A block is its head's state: LARGE(run). Until that one store the chunks are CLAIMED, and from
 * the moment it is freed the head is CLAIMED again; so for a recoverer there is nothing to decide:
 * a CLAIMED chunk of a dead worker, with the tails behind it, is put back (chunk.c, fact 3).
 *
 * Resizing in place: the resizer writes its name into the head, LARGE(run, owner). Shrinking, `run`
 * is the new length at once and the tails beyond it are put back; growing, it stays the old one
 * until the new tails are made. Either way, tails beyond `run` are what a death left over.
 *
 * Naive, the block could be freed meanwhile - by mistake, or because the resizer was killed and a
 * survivor does not know yet - and two would put the same tails back; the second would take them
 * from whoever got them in between. Cure: who frees a block with a name in it only dooms it (one
 * bit), and the resizer, or who recovers it, finds the bit when it wants to take its name out. */
#include "arena/large.h"

#include "base/self.h"

#include <plait/error.h>

static uint64_t run_for(size_t size)
{
    return size / PL_CHUNK_SIZE + (size % PL_CHUNK_SIZE != 0);
}

/* A worker that cannot be registered may free, too; if it dies in the middle, the run leaks. */
static uint32_t my_id(void)
{
    return pl_thread_known() < 0 ? 0 : pl_self.thread_id;
}

int pl_large_begin(size_t size, uint32_t *ret_head, uint32_t *ret_run)
{
    uint64_t run = run_for(size);
    if (run > pl_arena->n_chunks)
        return PLAIT_ENOMEM;
    int rc = pl_run_claim((uint32_t)run, ret_head);
    if (rc < 0)
        return rc;
    pl_run_zero(*ret_head, (uint32_t)run);
    *ret_run = (uint32_t)run;
    return 0;
}

void pl_large_commit(uint32_t head, uint32_t run)
{
    pl_run_make_tails(head, head + 1, run - 1);
    /* R:large.commit, pairs with plait_free: the tails are made before there is a block. */
    pl_store_release(pl_state_at(head), pl_state(PL_CHUNK_LARGE, 0, run, 0));
}

/* The head is CLAIMED by the caller now: nobody else can free the block. */
static void put_block(uint32_t head)
{
    pl_run_put(head, true);
}

static uint64_t freed_state(uint64_t state, uint32_t me)
{
    if (pl_state_owner(state) == 0)
        return pl_state(PL_CHUNK_CLAIMED, PL_MARK_USED, 0, me);
    return state | pl_state(0, PL_MARK_DOOMED, 0, 0);
}

static bool is_block(uint64_t state)
{
    return pl_state_kind(state) == PL_CHUNK_LARGE && !(pl_state_detail(state) & PL_MARK_DOOMED);
}

int pl_large_free(uint32_t head, uint64_t state)
{
    uint32_t me = my_id();
    while (is_block(state)) {
        /* A success is the one free that counts; of two, the other sees that it came late. */
        if (pl_cas_acq_rel(pl_state_at(head), &state, freed_state(state, me))) {
            if (pl_state_owner(state) == 0)
                put_block(head);
            return 0;
        }
    }
    return PLAIT_EFREED;
}

/* --- resizing --- */

/* Takes the resizer's name out of the head and makes the length `run`. PLAIT_EFREED if the block
 * was doomed meanwhile: then it is put back. */
static int let_go(uint32_t head, uint64_t state, uint32_t run, bool sound)
{
    uint32_t me = pl_state_owner(state);
    if (!(pl_state_detail(state) & PL_MARK_DOOMED)) {
        if (pl_cas_acq_rel(pl_state_at(head), &state, pl_state(PL_CHUNK_LARGE, 0, run, 0)))
            return 0;
    }
    pl_store_release(pl_state_at(head), pl_state(PL_CHUNK_CLAIMED, PL_MARK_USED, 0, me));
    pl_run_put(head, sound);
    return PLAIT_EFREED;
}

static int shrink(uint32_t head, uint32_t run)
{
    pl_run_put_tails(head, run, true);
    return let_go(head, pl_state(PL_CHUNK_LARGE, 0, run, pl_self.thread_id), run, true);
}

static int grow(uint32_t head, uint32_t have, uint32_t run)
{
    bool got = pl_run_claim_at(head + have, run - have);
    if (got) {
        pl_run_zero(head + have, run - have);
        pl_run_make_tails(head, head + have, run - have);
    }
    int rc =
        let_go(head, pl_state(PL_CHUNK_LARGE, 0, have, pl_self.thread_id), got ? run : have, true);
    return rc < 0 || got ? rc : PLAIT_ENOMEM;
}

int pl_large_resize(uint32_t head, uint64_t state, size_t size)
{
    uint64_t run = run_for(size);
    uint32_t have = pl_state_index(state);
    if (run > pl_arena->n_chunks - head || pl_state_owner(state) != 0)
        return PLAIT_ENOMEM;
    if (run == have)
        return 0;
    uint32_t named = run < have ? (uint32_t)run : have;
    if (!pl_cas_acq_rel(pl_state_at(head), &state,
                        pl_state(PL_CHUNK_LARGE, 0, named, pl_self.thread_id)))
        return is_block(state) ? PLAIT_ENOMEM : PLAIT_EFREED;
    return run < have ? shrink(head, (uint32_t)run) : grow(head, have, (uint32_t)run);
}

/* --- recovery --- */

void pl_large_recover(uint32_t head, uint64_t state, uint32_t me)
{
    /* Taken over in the recoverer's name, so that his own death is repaired like any other. A block
     * may be doomed at any moment: then look again. */
    uint32_t dead = pl_state_owner(state);
    uint64_t mine;
    do {
        if (pl_state_owner(state) != dead)
            return;
        mine = (state & UINT32_MAX) | (uint64_t)me << 32;
    } while (!pl_cas_acq_rel(pl_state_at(head), &state, mine));
    if (pl_state_kind(mine) == PL_CHUNK_LARGE) {
        pl_run_put_tails(head, pl_state_index(mine), false);
        let_go(head, mine, pl_state_index(mine), false);
    } else {
        pl_run_put(head, false);
    }
}
