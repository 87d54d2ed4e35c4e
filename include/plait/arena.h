/* The arena: memory that every worker of the family sees, at the same address.
 *
 * A family is a program and all it starts. What plait_alloc returns means the same in each of its
 * processes, so plain pointers can be stored in it and handed from one to another:
 *
 *     struct tally { plait_lock lock; long sum; };
 *     struct tally *t = plait_alloc(sizeof *t);             // zeroed
 *     if (!t)
 *         return plait_last_error();
 *     plait_start(&w, PLAIT_PROCESS, add, t, NULL);         // the child writes to the same t
 *     ...
 *     plait_free(t);                                        // here or in any other worker
 *
 * The arena is made on first use: 64 GiB of address space (less where that cannot be had; the
 * environment variable PLAIT_ARENA_SIZE, from 64M to 64G, asks for exactly that much), of which
 * only pages in use cost memory. It has no name and nothing to unlink: when the last process of the
 * family is gone, it is gone. No lock guards it, so no dead worker can keep one: a worker killed in
 * the middle of a call leaks at most the block at hand, and only until its death is noticed.
 *
 * Python's counterpart: multiprocessing.shared_memory, sharedctypes, heap.Arena. */
#ifndef PLAIT_ARENA_H
#define PLAIT_ARENA_H

#include <plait/error.h>
#include <stddef.h>
#include <stdint.h>

PLAIT_BEGIN_DECLS

/* A zeroed block of at least `size` bytes, aligned to 16 (as malloc).
 * Requires: nothing; 0 gives a distinct smallest block.
 * Returns: the block, or NULL with plait_last_error() PLAIT_ENOMEM (no page, or arena full),
 *   PLAIT_EARENA (no arena can be had), PLAIT_EINVAL (PLAIT_ARENA_SIZE is not a size from 64M to 64G), PLAIT_EWORKERS.
 * Blocks: no. Who: any thread or process of the family; not signal handlers; after fork, yes.
 * Ownership: the caller's until plait_free; not bound to the worker that got it.
 * Python: multiprocessing.heap.BufferWrapper(size). */
PLAIT_API void *plait_alloc(size_t size);

/* As plait_alloc for `n` items of `size` bytes; an overflowing product is PLAIT_ENOMEM. */
PLAIT_API void *plait_calloc(size_t n, size_t size);

/* Gives a block back, whoever got it.
 * Requires: `block` came from plait_alloc and its kin, or is NULL (nothing happens).
 * Returns: 0; PLAIT_EFOREIGN (not the start of a block), PLAIT_EFREED (free already): nothing was
 *   changed. A block freed twice with a plait_alloc of the same size in between cannot be told.
 * Blocks: no. Who: any thread or process of the family; not signal handlers; after fork, yes. */
PLAIT_API int plait_free(void *block);

/* Resizes a block, in place where it fits, else by moving; new bytes are zero.
 * Requires: as plait_free; NULL gives a new block; `size` 0 gives the smallest block.
 * Returns: the block, or NULL with plait_last_error() as plait_alloc, or PLAIT_EFOREIGN or
 *   PLAIT_EFREED; `block` is then unchanged and still the caller's.
 * Blocks: no. Who: as plait_alloc; the block must not be in use by others meanwhile. */
PLAIT_API void *plait_realloc(void *block, size_t size);

/* A copy of a string in the arena. Returns as plait_alloc; NULL for NULL with PLAIT_EINVAL. */
PLAIT_API char *plait_strdup(const char *string);

/* Bytes that the block can hold: what was asked for, rounded up to its size class. 0 for NULL or an
 * address that is not a block. Python: len(BufferWrapper). */
PLAIT_API size_t plait_alloc_size(const void *block);

/* 1 if every process of the family sees this address (it lies in the arena), else 0. Never blocks;
 * anyone may call. */
PLAIT_API int plait_is_shared(const void *address);

/* What the arena holds. Bytes unless said. */
typedef struct plait_arena_statistics {
    uint64_t address;       /* where it lies, in every process */
    uint64_t size;          /* address space */
    uint64_t backed;        /* reserved pages: what it costs */
    uint64_t in_use;        /* in blocks given out, at their class size */
    uint64_t blocks;        /* blocks given out; a count */
    uint64_t largest_free;  /* the largest block that address space would still allow */
    uint32_t chunks_in_use; /* chunks of 64 KiB with blocks in them; a count */
    uint32_t chunks_owned;  /* of these, held by a living worker for its own use; a count */
    uint32_t workers; /* entries of the worker table in use, ended and unjoined ones too; a count */
    uint32_t workers_most; /* entries there are; a count */
    uint32_t deaths;       /* dead workers recovered from so far; a count */
} plait_arena_statistics;

/* Fills *ret from a walk over the arena; while others allocate, the figures are of about now.
 * Returns: 0, PLAIT_EINVAL (NULL), PLAIT_EARENA (none can be had). Blocks: no, but takes time in
 * proportion to the chunks in use. Who: any thread or process. */
PLAIT_API int plait_arena_stats(plait_arena_statistics *ret);

PLAIT_END_DECLS
#endif
