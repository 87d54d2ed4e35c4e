/* Large blocks: runs of whole chunks, for more than PL_MOST_SMALL bytes. */
#ifndef PL_ARENA_LARGE_H
#define PL_ARENA_LARGE_H

#include "arena/chunk.h"

#include <stddef.h>

/* Claims a zeroed run for `size` bytes. 0 with *ret_head and its length, or PLAIT_ENOMEM. It is the
 * caller's only by pl_large_commit; if he dies before, it is put back. */
int pl_large_begin(size_t size, uint32_t *ret_head, uint32_t *ret_run);

/* Makes the run a block. */
void pl_large_commit(uint32_t head, uint32_t run);

/* Frees the block at `head`, seen in `state`. 0 or PLAIT_EFREED. */
int pl_large_free(uint32_t head, uint64_t state);

/* Makes the block, seen in `state`, hold `size` bytes where it is. 0; PLAIT_ENOMEM if the chunks
 * behind it are taken, or for size a smaller block would do: nothing was changed; PLAIT_EFREED. */
int pl_large_resize(uint32_t head, uint64_t state, size_t size);

/* Finishes or undoes what a dead worker, named in `state`, was doing to a LARGE or CLAIMED chunk.
 * `me` is who does it. */
void pl_large_recover(uint32_t head, uint64_t state, uint32_t me);

#endif
