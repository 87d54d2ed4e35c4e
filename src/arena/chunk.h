/* Chunks: the 64 KiB pieces that the arena's allocator moves from worker to worker.
 *
 * Each chunk has a state word and a record. The state says all that others must know - what the
 * chunk is and who may touch it - in one word, so that each transition is one atomic step and a
 * death leaves either the old state or the new one. The words lie side by side for quick scans. The
 * record keeps the books of a slab. Both lie away from the blocks: a user who writes past the end
 * of his block destroys data, never the books.
 *
 *     VOID --.                .--commit--> SLAB(owner) <--orphan, adopt--> SLAB(nobody)
 *             >--> CLAIMED --<
 *     FREE --'   (claimant)   '--commit--> LARGE(run), followed by run - 1 TAIL(head)
 *      ^             |
 *      '---- put ----'     a block or slab that is given up is CLAIMED first, too
 *
 * Who may change a state: of a chunk without owner anyone, by compare-and-swap; of a chunk with an
 * owner that worker alone, or once it is dead whoever recovers it; of a TAIL whoever has its head.
 * Therefore an owner may use a plain store. */
#ifndef PL_ARENA_CHUNK_H
#define PL_ARENA_CHUNK_H

#include "arena/arena.h"
#include "base/atomic.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PL_CHUNK_WORDS = 64,                 /* words of a bitmap with a bit per block of 16 bytes */
    PL_CHUNK_RECORD_SIZE = 64 + 2 * 512, /* stride of the records: an odd number of cache lines */
    PL_MOST_CHUNKS = (1 << 23) - 1,      /* as many as a state can name */
    PL_READY_STEP = 64,                  /* states and records are backed by this many at a time */
};

#define PL_NO_CHUNK UINT32_MAX

/* The books of a slab: a chunk cut into blocks of one size, owned by one worker or by nobody. */
struct pl_chunk {
    /* Atomic: owner stores. Block + 1 that is being handed out: nobody's if the owner dies; or 0. */
    uint32_t pending;

    /* Plain: owner only; worked out anew by each owner. */
    uint32_t used; /* blocks whose bit in `avail` is clear */
    uint32_t word; /* word of `avail` to look at first */
    uint32_t next; /* ring of the owner's chunks of this class: chunk numbers */
    uint32_t prev;

    /* Atomic: a bit per block that may be handed out. Owner stores, anyone loads. */
    _Alignas(64) uint64_t avail[PL_CHUNK_WORDS];

    /* Atomic: a bit per block given back by others. Anyone sets with fetch_or; the owner clears with
     * fetch_and once the same bits of `avail` are set. */
    _Alignas(64) uint64_t freed[PL_CHUNK_WORDS];
};

_Static_assert(sizeof(struct pl_chunk) == PL_CHUNK_RECORD_SIZE, "the layout goes by this size");
_Static_assert(PL_CHUNK_SIZE / 16 == PL_CHUNK_WORDS * 64, "a bit for each smallest block");

/* --- states --- */

enum pl_chunk_kind {
    PL_CHUNK_VOID = 0,    /* no pages; reads as zero once backed. The first state of all */
    PL_CHUNK_FREE = 1,    /* backed, with unknown content */
    PL_CHUNK_CLAIMED = 2, /* its owner is making something of it, or giving it back */
    PL_CHUNK_SLAB = 3,    /* blocks of one class, whose books are in the record */
    PL_CHUNK_LARGE = 4,   /* one block; `index` chunks, this first. An owner is resizing it */
    PL_CHUNK_TAIL = 5,    /* a further chunk of the LARGE (or CLAIMED) chunk `index` */
};

/* What `detail` says in states other than SLAB, where it is the class. */
enum {
    PL_MARK_RAW = 1,    /* CLAIMED: was VOID before */
    PL_MARK_USED = 2,   /* VOID, CLAIMED: held blocks once. For telling freed from foreign only */
    PL_MARK_DOOMED = 4, /* LARGE: freed while being resized; the resizer completes it */
};

static inline uint64_t pl_state(enum pl_chunk_kind kind, uint32_t detail, uint32_t index,
                                uint32_t owner)
{
    return (uint64_t)owner << 32 | index << 9 | detail << 3 | (uint32_t)kind;
}

static inline enum pl_chunk_kind pl_state_kind(uint64_t state)
{
    return (enum pl_chunk_kind)(state & 7);
}

static inline uint32_t pl_state_detail(uint64_t state)
{
    return (uint32_t)state >> 3 & 63;
}

static inline uint32_t pl_state_index(uint64_t state)
{
    return (uint32_t)state >> 9;
}

static inline uint32_t pl_state_owner(uint64_t state)
{
    return (uint32_t)(state >> 32);
}

/* Whether a chunk in this state may be claimed. */
static inline bool pl_state_is_spare(uint64_t state)
{
    return pl_state_kind(state) <= PL_CHUNK_FREE;
}

/* --- places --- */

/* How many chunks, from the first on, have a state and a record that may be read. */
static inline uint32_t pl_chunks_ready(struct pl_arena *arena)
{
    /* A:chunk.tables, pairs with grow: what the count covers has pages. */
    return pl_load_acquire(&arena->chunks_ready);
}

static inline uint64_t *pl_state_at(uint32_t chunk)
{
    return (uint64_t *)pl_arena_at(pl_arena->states) + chunk;
}

static inline struct pl_chunk *pl_record_at(uint32_t chunk)
{
    return (struct pl_chunk *)pl_arena_at(pl_arena->records) + chunk;
}

static inline uint64_t pl_chunk_offset(uint32_t chunk)
{
    return pl_arena->chunks + (uint64_t)chunk * PL_CHUNK_SIZE;
}

static inline char *pl_chunk_at(uint32_t chunk)
{
    return pl_arena_at(pl_chunk_offset(chunk));
}

/* --- claiming and putting back: chunk.c. The caller is a registered worker --- */

/* Claims `n` chunks in a row for the caller: CLAIMED, backed, not yet zeroed (pl_run_zero). 0 with
 * the first, or PLAIT_ENOMEM. */
int pl_run_claim(uint32_t n, uint32_t *ret_first);

/* Claims exactly the chunks [first, first + n). False, with all as before, if it cannot be done. */
bool pl_run_claim_at(uint32_t first, uint32_t n);

/* Zeroes those chunks of a claimed run that are not known to be zero. */
void pl_run_zero(uint32_t first, uint32_t n);

/* Makes the chunks [first, first + n), CLAIMED by the caller, tails of `head`. */
void pl_run_make_tails(uint32_t head, uint32_t first, uint32_t n);

/* How many TAILs of `head` lie in a row from head + from on. */
uint32_t pl_run_tails(uint32_t head, uint32_t from);

/* Puts back `head`, CLAIMED by the caller, and its tails, the head last. `sound`: all have their
 * pages, so some may be kept for the next claim; else all pages go back. */
void pl_run_put(uint32_t head, bool sound);

/* Puts back the tails of `head` from head + from on, last first. The caller has the head. */
void pl_run_put_tails(uint32_t head, uint32_t from, bool sound);

/* Gives the pages of all FREE chunks back to the system. */
void pl_chunks_trim(void);

/* Counts the FREE chunks anew: a worker that died beside the count left it wrong by one. */
void pl_chunks_recount(void);

#endif
