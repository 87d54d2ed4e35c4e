/* The allocator's calls: what a caller may do, and telling blocks from other addresses.
 *
 * Small blocks come from slabs (slab.h has the idea), large ones from runs of chunks (large.c); both
 * are made of chunks (chunk.h). Here is the common path: with a current chunk at hand, plait_alloc
 * is a bit scan, four stores and the zeroing, and no locked instruction.
 *
 * Bytes of a block beyond what was asked for are zero as long as the caller leaves them alone, so
 * a block can grow within its class and its new bytes are zero. */
#include "arena/alloc.h"

#include "arena/large.h"
#include "arena/slab.h"
#include "base/error.h"

#include <string.h>

/* --- allocating --- */

/* What to do with a block before it counts as handed out. */
struct note {
    void (*write)(void *block, void *arg);
    void *arg;
};

__attribute__((noinline)) static void *alloc_large(size_t size, const struct note *note)
{
    uint32_t head, run;
    int rc = pl_large_begin(size, &head, &run);
    if (rc < 0) {
        pl_slab_scavenge();
        rc = pl_large_begin(size, &head, &run);
    }
    if (rc < 0)
        return pl_null(rc);
    if (note)
        note->write(pl_chunk_at(head), note->arg);
    pl_large_commit(head, run);
    return pl_chunk_at(head);
}

static inline void *alloc_small(size_t size, const struct note *note)
{
    unsigned class = pl_class_for(size);
    struct pl_taken taken = pl_slab_take(class);
    if (!taken.block)
        return pl_null(PLAIT_ENOMEM);
    memset(taken.block, 0, pl_classes[class].size);
    if (note)
        note->write(taken.block, note->arg);
    pl_slab_settle(taken);
    return taken.block;
}

int pl_alloc_noted(size_t size, void (*note)(void *block, void *arg), void *arg)
{
    struct note n = {note, arg};
    int rc = pl_thread_known();
    if (rc < 0)
        return rc;
    void *block = size > PL_MOST_SMALL ? alloc_large(size, &n) : alloc_small(size, &n);
    return block ? 0 : plait_last_error();
}

void *plait_alloc(size_t size)
{
    int rc = pl_thread_known();
    if (rc < 0)
        return pl_null(rc);
    if (size > PL_MOST_SMALL)
        return alloc_large(size, NULL);
    return alloc_small(size, NULL);
}

void *plait_calloc(size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes))
        return pl_null(PLAIT_ENOMEM);
    return plait_alloc(bytes);
}

char *plait_strdup(const char *string)
{
    if (!string)
        return pl_null(PLAIT_EINVAL);
    size_t size = strlen(string) + 1;
    char *copy = plait_alloc(size);
    return copy ? memcpy(copy, string, size) : NULL;
}

/* --- whose address is this? --- */

struct place {
    uint32_t chunk;
    uint32_t block; /* of a slab */
    uint64_t state; /* of the chunk, when we looked */
    size_t size;    /* bytes of the block */
};

/* For an address in a chunk without blocks: most likely a block was there once. */
static int error_for_gone(uint64_t state, uint32_t offset)
{
    bool was_used =
        pl_state_kind(state) == PL_CHUNK_FREE ||
        (pl_state_kind(state) <= PL_CHUNK_CLAIMED && (pl_state_detail(state) & PL_MARK_USED));
    return was_used && offset % 16 == 0 ? PLAIT_EFREED : PLAIT_EFOREIGN;
}

/* Finds the block that starts at `address`, free or not. 0, PLAIT_EFOREIGN, PLAIT_EFREED. Reads
 * nothing that is not backed, whatever the address. */
static inline int find(const void *address, struct place *ret)
{
    struct pl_arena *a = pl_load_acquire(&pl_arena);
    if (!a)
        return PLAIT_EFOREIGN;
    uint64_t at = (uintptr_t)address - (uintptr_t)a - a->chunks;
    if (at / PL_CHUNK_SIZE >= pl_chunks_ready(a))
        return PLAIT_EFOREIGN;
    uint32_t offset = at % PL_CHUNK_SIZE;
    ret->chunk = (uint32_t)(at / PL_CHUNK_SIZE);
    /* A:slab.open, pairs with open_new: the books of a slab are those of its class.
     * A:large.commit, pairs with pl_large_commit: so are the tails of a block. */
    ret->state = pl_load_acquire(pl_state_at(ret->chunk));
    if (pl_state_kind(ret->state) == PL_CHUNK_SLAB) {
        const struct pl_class *class = &pl_classes[pl_state_detail(ret->state)];
        ret->block = pl_class_block(class, offset);
        ret->size = class->size;
        bool start = ret->block * class->size == offset && ret->block < class->blocks;
        return start ? 0 : PLAIT_EFOREIGN;
    }
    if (pl_state_kind(ret->state) == PL_CHUNK_LARGE) {
        ret->size = (size_t)pl_state_index(ret->state) * PL_CHUNK_SIZE;
        return offset == 0 ? 0 : PLAIT_EFOREIGN;
    }
    return error_for_gone(ret->state, offset);
}

/* As find, for a block that is in use. */
static int find_live(const void *address, struct place *ret)
{
    int rc = find(address, ret);
    if (rc < 0)
        return rc;
    uint32_t detail = pl_state_detail(ret->state);
    if (pl_state_kind(ret->state) == PL_CHUNK_LARGE)
        return detail & PL_MARK_DOOMED ? PLAIT_EFREED : 0;
    bool freed =
        pl_slab_is_freed(pl_record_at(ret->chunk), ret->block / 64, UINT64_C(1) << ret->block % 64);
    return freed ? PLAIT_EFREED : 0;
}

size_t plait_alloc_size(const void *block)
{
    struct place at;
    return find_live(block, &at) < 0 ? 0 : at.size;
}

/* --- freeing --- */

int plait_free(void *block)
{
    struct place at;
    if (!block)
        return 0;
    int rc = find(block, &at);
    if (__builtin_expect(rc < 0, 0))
        return rc;
    if (pl_state_kind(at.state) == PL_CHUNK_LARGE)
        return pl_large_free(at.chunk, at.state);
    uint32_t owner = pl_state_owner(at.state);
    if (owner && owner == pl_self.thread_id)
        return pl_slab_free_own(at.chunk, pl_state_detail(at.state), at.block);
    return pl_slab_free_remote(at.chunk, at.block);
}

/* --- resizing --- */

/* Copies into a new small block and frees the old one. A death before pl_slab_settle undoes the
 * new block, so at no moment but between the two calls could both be lost to the caller. */
static void *move_to_small(void *old, size_t keep, size_t size)
{
    unsigned class = pl_class_for(size);
    struct pl_taken taken = pl_slab_take(class);
    if (!taken.block)
        return pl_null(PLAIT_ENOMEM);
    memcpy(taken.block, old, keep);
    memset((char *)taken.block + keep, 0, pl_classes[class].size - keep);
    pl_slab_settle(taken);
    plait_free(old);
    return taken.block;
}

static void *move_to_large(void *old, size_t keep, size_t size)
{
    uint32_t head, run;
    int rc = pl_large_begin(size, &head, &run);
    if (rc < 0) {
        pl_slab_scavenge();
        rc = pl_large_begin(size, &head, &run);
    }
    if (rc < 0)
        return pl_null(rc);
    memcpy(pl_chunk_at(head), old, keep);
    pl_large_commit(head, run);
    plait_free(old);
    return pl_chunk_at(head);
}

/* Bytes of a block for `size`. */
static size_t capacity_for(size_t size)
{
    if (size <= PL_MOST_SMALL)
        return pl_classes[pl_class_for(size)].size;
    return (size + PL_CHUNK_SIZE - 1) / PL_CHUNK_SIZE * PL_CHUNK_SIZE;
}

/* 0 if the block holds `size` bytes where it is, PLAIT_ENOMEM if it must move, PLAIT_EFREED. */
static int resize_in_place(const struct place *at, size_t size)
{
    if (pl_state_kind(at->state) == PL_CHUNK_LARGE)
        return size > PL_MOST_SMALL ? pl_large_resize(at->chunk, at->state, size) : PLAIT_ENOMEM;
    bool same = size <= PL_MOST_SMALL && pl_class_for(size) == pl_state_detail(at->state);
    return same ? 0 : PLAIT_ENOMEM;
}

void *plait_realloc(void *block, size_t size)
{
    struct place at;
    if (!block)
        return plait_alloc(size);
    int rc = find_live(block, &at);
    if (rc == 0)
        rc = pl_thread_known();
    if (rc < 0)
        return pl_null(rc);
    rc = resize_in_place(&at, size);
    if (rc == 0)
        memset((char *)block + size, 0, capacity_for(size) - size);
    if (rc != PLAIT_ENOMEM)
        return rc == 0 ? block : pl_null(rc);
    size_t keep = size < at.size ? size : at.size;
    return size > PL_MOST_SMALL ? move_to_large(block, keep, size)
                                : move_to_small(block, keep, size);
}

/* --- workers that end --- */

void pl_alloc_leave(void)
{
    if (pl_self.thread_id)
        pl_slab_leave();
}

/* Only the states are searched, for the dead one's name, and each find is one worker's business:
 * a slab becomes ownerless by one step, everything else is taken over in the recoverer's name and
 * then put back. A chunk that has found a new owner meanwhile no longer bears the dead one's name;
 * so a repetition has nothing to undo. Hints that the dead one owed are set to their safe side. */
void pl_alloc_recover(uint32_t dead)
{
    if (!pl_arena || dead == 0 || dead == pl_self.thread_id)
        return;
    uint32_t me = pl_self.thread_id ? pl_self.thread_id : dead;
    uint32_t ready = pl_chunks_ready(pl_arena);
    for (uint32_t i = 0; i < ready; i++) {
        uint64_t state = pl_load_acquire(pl_state_at(i));
        if (pl_state_owner(state) != dead)
            continue;
        if (pl_state_kind(state) == PL_CHUNK_SLAB)
            pl_slab_orphan_of_dead(i, state);
        else
            pl_large_recover(i, state, me);
    }
    pl_slab_look_everywhere();
    pl_chunks_recount();
}
