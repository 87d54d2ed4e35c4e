/* The arena's allocator, as the layers above see it. Public face: include/plait/arena.h. */
#ifndef PL_ARENA_ALLOC_H
#define PL_ARENA_ALLOC_H

#include <stddef.h>
#include <stdint.h>

/* As plait_alloc, but calls note(block, arg) before the block counts as handed out: a caller killed
 * after that is known to have it by what note has written, before that it never had it. 0, or as
 * plait_alloc's reasons. */
int pl_alloc_noted(size_t size, void (*note)(void *block, void *arg), void *arg);

/* Gives up every chunk the calling worker owns: its blocks stay, others may go on with the chunks.
 * For a worker that ends in good order. */
void pl_alloc_leave(void);

/* Takes over from a dead worker: its chunks become ownerless, a block it was just getting or
 * freeing is finished or undone. Idempotent; may be repeated after a recoverer died half way.
 * `dead` is the worker's id; the worker must be dead. If the caller is not registered, nobody else
 * may be recovering the same worker. */
void pl_alloc_recover(uint32_t dead);

/* Walks the whole heap: 1 if all of it is as it should be, 0 if something is torn. For tests and
 * debugging: nobody may be in a call of the allocator meanwhile, and the dead must be recovered. */
int pl_alloc_valid(void);

#endif
