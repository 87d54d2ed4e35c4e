/* What the arena holds, by walking over it; and whether all of it is whole.
 *
 * Nothing is counted as it happens: a counter would be wrong for ever after the first death between
 * a change and its counting, and would be one more word that all workers fight for. */
#include "arena/alloc.h"
#include "arena/large.h"
#include "arena/slab.h"
#include "base/self.h"

/* Longest row of chunks that a large block could still take. */
struct row {
    uint32_t now, most;
};

static void count_row(struct row *row, bool spare, uint32_t n)
{
    row->now = spare ? row->now + n : 0;
    if (row->now > row->most)
        row->most = row->now;
}

static void count_slab(plait_arena_statistics *s, uint32_t chunk, uint64_t state)
{
    unsigned class = pl_state_detail(state);
    uint64_t live = 0, size = pl_classes[class].size;
    for (uint32_t w = 0; w < pl_classes[class].words; w++)
        live += (uint64_t)__builtin_popcountl(pl_slab_live(pl_record_at(chunk), class, w));
    s->in_use += live * size;
    s->blocks += live;
    s->chunks_in_use += live > 0;
    s->chunks_owned += live > 0 && pl_state_owner(state) != 0;
    bool usable = pl_state_owner(state) == 0 || pl_state_owner(state) == pl_self.thread_id;
    if (usable && live < pl_classes[class].blocks && size > s->largest_free)
        s->largest_free = size;
}

static void count_large(plait_arena_statistics *s, uint64_t state)
{
    if (pl_state_detail(state) & PL_MARK_DOOMED)
        return;
    s->in_use += (uint64_t)pl_state_index(state) * PL_CHUNK_SIZE;
    s->chunks_in_use += pl_state_index(state);
    s->blocks++;
}

static void count_chunk(plait_arena_statistics *s, uint32_t chunk, uint64_t state)
{
    if (pl_state_kind(state) == PL_CHUNK_SLAB)
        count_slab(s, chunk, state);
    else if (pl_state_kind(state) == PL_CHUNK_LARGE)
        count_large(s, state);
    if (pl_state_kind(state) != PL_CHUNK_VOID)
        s->backed += PL_CHUNK_SIZE;
}

static uint64_t tables_backed(const struct pl_arena *a, uint32_t ready)
{
    uint64_t slots = (uint64_t)pl_load_relaxed(&a->slots_ready) * PL_SLOT_SIZE;
    return a->slots + slots + ready * (sizeof(uint64_t) + PL_CHUNK_RECORD_SIZE);
}

int plait_arena_stats(plait_arena_statistics *ret)
{
    struct row row = {0, 0};
    if (!ret)
        return PLAIT_EINVAL;
    int rc = pl_arena_need();
    if (rc < 0)
        return rc;
    struct pl_arena *a = pl_arena;
    uint32_t ready = pl_chunks_ready(a);
    *ret = (plait_arena_statistics){
        .address = (uintptr_t)a,
        .size = a->size,
        .backed = tables_backed(a, ready),
        .workers = pl_workers_known(),
        .workers_most = a->n_slots,
        .deaths = pl_load_relaxed(&a->deaths),
    };
    for (uint32_t i = 0; i < ready; i++) {
        uint64_t state = pl_load_acquire(pl_state_at(i));
        count_chunk(ret, i, state);
        count_row(&row, pl_state_is_spare(state), 1);
    }
    count_row(&row, true, a->n_chunks - ready);
    if (row.most > 0)
        ret->largest_free = (uint64_t)row.most * PL_CHUNK_SIZE;
    return 0;
}

/* --- validity --- */

static bool valid_large(uint32_t head, uint64_t state)
{
    uint32_t run = pl_state_index(state);
    return run > 0 && pl_state_owner(state) == 0 && pl_state_detail(state) == 0 &&
           pl_run_tails(head, 1) == run - 1;
}

/* A TAIL has a head before it that reaches this far. */
static bool valid_tail(uint32_t chunk, uint64_t state)
{
    uint32_t head = pl_state_index(state);
    if (head >= chunk)
        return false;
    uint64_t of_head = pl_load_acquire(pl_state_at(head));
    return pl_state_kind(of_head) == PL_CHUNK_LARGE && pl_state_index(of_head) > chunk - head;
}

static bool valid_slab(uint32_t chunk, uint64_t state)
{
    unsigned class = pl_state_detail(state);
    struct pl_chunk *record = pl_record_at(chunk);
    if (class >= PL_CLASSES || pl_load_relaxed(&record->pending) > pl_classes[class].blocks)
        return false;
    for (uint32_t w = 0; w < pl_classes[class].words; w++) {
        uint64_t avail = pl_load_relaxed(&record->avail[w]);
        uint64_t freed = pl_load_relaxed(&record->freed[w]);
        if ((avail | freed) & ~pl_class_mask(&pl_classes[class], w))
            return false;
        if (pl_state_owner(state) && (avail & freed))
            return false;
    }
    return true;
}

static bool valid_chunk(uint32_t chunk, uint64_t state)
{
    switch (pl_state_kind(state)) {
    case PL_CHUNK_VOID:
    case PL_CHUNK_FREE:
        return pl_state_owner(state) == 0;
    case PL_CHUNK_SLAB:
        return valid_slab(chunk, state);
    case PL_CHUNK_LARGE:
        return valid_large(chunk, state);
    case PL_CHUNK_TAIL:
        return valid_tail(chunk, state);
    default:
        return false; /* CLAIMED: someone is at work, or was and is not recovered */
    }
}

/* Where there are ownerless chunks, the search for them must not have ended. */
static bool valid_hints(const uint32_t *orphans)
{
    for (unsigned class = 0; class < PL_CLASSES; class ++)
        if (orphans[class] > 0 && !pl_slab_is_searched(class))
            return false;
    return true;
}

static bool valid_own(uint32_t owned)
{
    uint32_t in_rings = 0;
    for (unsigned class = 0; class < PL_CLASSES; class ++)
        if (!pl_slab_valid_own(class, &in_rings))
            return false;
    return in_rings == owned;
}

int pl_alloc_valid(void)
{
    uint32_t orphans[PL_CLASSES] = {0}, owned = 0;
    if (!pl_arena)
        return 1;
    uint32_t ready = pl_chunks_ready(pl_arena);
    for (uint32_t i = 0; i < ready; i++) {
        uint64_t state = pl_load_acquire(pl_state_at(i));
        if (!valid_chunk(i, state))
            return 0;
        if (pl_state_kind(state) != PL_CHUNK_SLAB)
            continue;
        orphans[pl_state_detail(state)] += pl_state_owner(state) == 0;
        owned += pl_self.thread_id && pl_state_owner(state) == pl_self.thread_id;
    }
    return valid_hints(orphans) && valid_own(owned);
}
