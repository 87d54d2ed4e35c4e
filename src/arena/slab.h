/* Slabs: chunks cut into blocks of one class, each owned by one worker.
 *
 * Naive: one heap behind one lock. Everybody meets there, and a worker that dies in it stops the
 * family. Cure: a worker allocates only from chunks of its own, so taking a block needs no locked
 * instruction; the others give blocks back in a second bitmap, which the owner collects when it
 * runs out. When the owner ends or dies, its chunks become ownerless and any worker adopts them.
 *
 * Taking a block, with what is left if the owner dies after each line:
 *     pending = block + 1      nothing happened yet; the next owner sets a bit that is set already
 *     avail[...] &= ~bit       the block was not handed out: the next owner sets its bit again
 *     the block is zeroed      the same
 *     pending = 0              it was handed out: the caller's, dead or not
 * The stores need no order beyond that of the program: a killed worker has made all stores up to
 * some instruction and none after it, and who learns of the death sees them.
 *
 * Facts: 1 a bit is in `avail` before it leaves `freed`, so a death in between loses no block.
 *        2 a new owner repairs and collects the whole chunk before it takes the first block: then
 *          `avail` and `freed` have no bit in common, else a block could be handed out twice.
 *        3 if the new owner dies while repairing, all of it may be done again; nobody else has
 *          taken a block since. So recovery only has to make the chunk ownerless: one step.
 *        4 a chunk all of whose blocks are in `avail` is touched by nobody but its owner (and by
 *          who frees twice). So it may become something else. */
#ifndef PL_ARENA_SLAB_H
#define PL_ARENA_SLAB_H

#include "arena/chunk.h"
#include "arena/class.h"
#include "base/self.h"

#include <plait/error.h>

/* A block that is pending: pl_slab_settle makes it the caller's. */
struct pl_taken {
    void *block; /* NULL: none to be had */
    struct pl_chunk *record;
};

/* Takes a block from `word` of a chunk, where `bits` are available. */
static inline struct pl_taken pl_slab_take_from(uint32_t chunk, unsigned class, uint32_t word,
                                                uint64_t bits)
{
    struct pl_chunk *record = pl_record_at(chunk);
    uint32_t block = word * 64 + (uint32_t)__builtin_ctzl(bits);
    pl_store_relaxed(&record->pending, block + 1);
    pl_store_release(&record->avail[word], bits & (bits - 1));
    record->used++;
    return (struct pl_taken){pl_chunk_at(chunk) + (size_t)block * pl_classes[class].size, record};
}

/* As pl_slab_take, from wherever a block can be found. */
struct pl_taken pl_slab_take_slow(unsigned class);

/* A pending block of the class for the caller, a registered worker. Its content is old. */
static inline struct pl_taken pl_slab_take(unsigned class)
{
    uint32_t current = pl_self.heap[class];
    if (__builtin_expect(current != 0, 1)) {
        struct pl_chunk *record = pl_record_at(current - 1);
        uint64_t bits = pl_load_relaxed(&record->avail[record->word]);
        if (__builtin_expect(bits != 0, 1))
            return pl_slab_take_from(current - 1, class, record->word, bits);
    }
    return pl_slab_take_slow(class);
}

static inline void pl_slab_settle(struct pl_taken taken)
{
    pl_store_release(&taken.record->pending, 0u);
}

/* Gives up a chunk of the caller's that has no block in use. */
void pl_slab_retire(uint32_t chunk, unsigned class);

/* Whether a block is free already. */
static inline bool pl_slab_is_freed(const struct pl_chunk *record, uint32_t word, uint64_t bit)
{
    return (pl_load_relaxed(&record->avail[word]) | pl_load_relaxed(&record->freed[word])) & bit;
}

/* Frees a block of a chunk of the caller's. */
static inline int pl_slab_free_own(uint32_t chunk, unsigned class, uint32_t block)
{
    struct pl_chunk *record = pl_record_at(chunk);
    uint32_t word = block / 64;
    uint64_t bit = UINT64_C(1) << block % 64;
    if (pl_slab_is_freed(record, word, bit))
        return PLAIT_EFREED;
    pl_store_release(&record->avail[word], pl_load_relaxed(&record->avail[word]) | bit);
    if (--record->used == 0 && pl_self.heap[class] != chunk + 1)
        pl_slab_retire(chunk, class);
    return 0;
}

/* Frees a block of a chunk that is someone else's or nobody's. Two workers that free one block at
 * the same moment, while its owner frees it or collects, may both get 0. */
static inline int pl_slab_free_remote(uint32_t chunk, uint32_t block)
{
    struct pl_chunk *record = pl_record_at(chunk);
    uint64_t bit = UINT64_C(1) << block % 64;
    if (pl_load_relaxed(&record->avail[block / 64]) & bit)
        return PLAIT_EFREED;
    /* R:slab.freed, pairs with collect: who gets the block next comes after all of ours. */
    return pl_fetch_or_acq_rel(&record->freed[block / 64], bit) & bit ? PLAIT_EFREED : 0;
}

/* Gives up all chunks of the caller's, the empty ones for any use, the others ownerless. */
void pl_slab_leave(void);

/* Makes a slab ownerless whose owner, named in `state`, is dead; if it is empty, and the caller
 * registered, it is put back for any use. */
void pl_slab_orphan_of_dead(uint32_t chunk, uint64_t state);

/* Makes all searches for ownerless chunks begin anew; after each recovery. */
void pl_slab_look_everywhere(void);

/* Whether the search for ownerless chunks of a class goes on. */
bool pl_slab_is_searched(unsigned class);

/* Looks everywhere for empty chunks to put back: ownerless ones and the caller's own. */
void pl_slab_scavenge(void);

/* Blocks of a slab that are given out: a bit per block of `word`. A pending block is not. */
uint64_t pl_slab_live(const struct pl_chunk *record, unsigned class, uint32_t word);

/* Whether the caller's rings and counts are as they should be; for pl_alloc_valid. */
bool pl_slab_valid_own(unsigned class, uint32_t *ret_chunks);

#endif
