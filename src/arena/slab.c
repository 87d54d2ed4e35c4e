/* Slabs: where a block comes from when the current chunk has none. The idea is in slab.h.
 *
 * In this order: another word of the current chunk; the worker's own chunks of the class, in which
 * others may have freed blocks; a chunk without owner; a new chunk; and when there is none, any of
 * these after everything empty has been put back.
 *
 * Cost: the search through own chunks is bounded per call and goes on where it stopped, so a worker
 * with very many full chunks may open a new one while an old one has room. So is the search for an
 * ownerless chunk. A chunk of a living worker that others emptied stays with its owner until that
 * worker needs a block of the class again, runs out of memory, or ends. */
#include "arena/slab.h"

enum {
    ROTATE_MOST = 64,  /* own chunks to look at before opening another */
    SHED_MOST = 2,     /* empty chunks to give up per rotation */
    ADOPT_SCAN = 4096, /* states to look at for an ownerless chunk */
    ADOPT_PEEK = 16,   /* ownerless chunks to look into */
    HINT_MASK = PL_MOST_CHUNKS,
};

_Static_assert(sizeof pl_arena->orphans / sizeof pl_arena->orphans[0] == PL_CLASSES, "one each");

/* --- the books of one chunk; the caller owns it --- */

/* The mask is against a block freed twice, the second time so late that the chunk has become one of
 * larger blocks in between. */
static void collect_word(struct pl_chunk *record, unsigned class, uint32_t word)
{
    /* A:slab.freed, pairs with pl_slab_free_remote: the old owner of the block has done with it. */
    uint64_t freed = pl_load_acquire(&record->freed[word]);
    if (freed == 0)
        return;
    uint64_t avail = pl_load_relaxed(&record->avail[word]);
    uint64_t more = freed & ~avail & pl_class_mask(&pl_classes[class], word);
    pl_store_release(&record->avail[word], avail | more);
    record->used -= (uint32_t)__builtin_popcountl(more);
    pl_fetch_and_acq_rel(&record->freed[word], ~freed);
}

/* Makes available what others freed. True if the chunk has a block to give. */
static bool collect(uint32_t chunk, unsigned class)
{
    struct pl_chunk *record = pl_record_at(chunk);
    for (uint32_t w = 0; w < pl_classes[class].words; w++)
        collect_word(record, class, w);
    return record->used < pl_classes[class].blocks;
}

/* Undoes what a dead owner had pending, and counts anew (facts 2 and 3). */
static void repair(uint32_t chunk, unsigned class)
{
    struct pl_chunk *record = pl_record_at(chunk);
    uint32_t pending = pl_load_relaxed(&record->pending);
    if (pending) {
        uint64_t *avail = &record->avail[(pending - 1) / 64];
        pl_store_release(avail, pl_load_relaxed(avail) | UINT64_C(1) << (pending - 1) % 64);
        pl_store_release(&record->pending, 0u);
    }
    record->word = 0;
    record->used = pl_classes[class].blocks;
    for (uint32_t w = 0; w < pl_classes[class].words; w++)
        record->used -= (uint32_t)__builtin_popcountl(pl_load_relaxed(&record->avail[w]));
    collect(chunk, class);
}

static void init(uint32_t chunk, unsigned class)
{
    struct pl_chunk *record = pl_record_at(chunk);
    record->used = 0;
    record->word = 0;
    pl_store_relaxed(&record->pending, 0u);
    for (uint32_t w = 0; w < pl_classes[class].words; w++) {
        pl_store_relaxed(&record->freed[w], UINT64_C(0));
        pl_store_relaxed(&record->avail[w], pl_class_mask(&pl_classes[class], w));
    }
}

static struct pl_taken take(uint32_t chunk, unsigned class)
{
    struct pl_chunk *record = pl_record_at(chunk);
    uint64_t bits;
    while ((bits = pl_load_relaxed(&record->avail[record->word])) == 0)
        record->word = (record->word + 1) % pl_classes[class].words;
    return pl_slab_take_from(chunk, class, record->word, bits);
}

/* --- the ring of a worker's chunks of a class; pl_self.heap names one of them --- */

/* Puts `chunk` behind the current one and makes it current. */
static void link_in(uint32_t chunk, unsigned class)
{
    struct pl_chunk *record = pl_record_at(chunk);
    record->next = record->prev = chunk;
    if (pl_self.heap[class]) {
        record->prev = pl_self.heap[class] - 1;
        record->next = pl_record_at(record->prev)->next;
        pl_record_at(record->prev)->next = chunk;
        pl_record_at(record->next)->prev = chunk;
    }
    pl_self.heap[class] = chunk + 1;
}

static void link_out(uint32_t chunk, unsigned class)
{
    struct pl_chunk *record = pl_record_at(chunk);
    pl_record_at(record->prev)->next = record->next;
    pl_record_at(record->next)->prev = record->prev;
    if (pl_self.heap[class] == chunk + 1)
        pl_self.heap[class] = record->next == chunk ? 0 : record->next + 1;
}

/* SLAB(me) -> FREE or VOID. Not in a ring any more. */
static void put(uint32_t chunk)
{
    pl_store_release(pl_state_at(chunk),
                     pl_state(PL_CHUNK_CLAIMED, PL_MARK_USED, 0, pl_self.thread_id));
    pl_run_put(chunk, true);
}

void pl_slab_retire(uint32_t chunk, unsigned class)
{
    link_out(chunk, class);
    put(chunk);
}

/* --- chunks without owner --- */

/* Where to look: the next chunk, and how many from there on may be ownerless. A count of them would
 * drift with each death beside it; this only says where nobody need look, and may say too much. It
 * is written after the state; a worker that dies in between, or that found something and could not
 * say so, is made up for by its recoverer (pl_slab_look_everywhere). `change` tells two writings of
 * the same apart: else who ends a search could wipe out news of the place where it began. */
static uint64_t hint(uint32_t chunk, uint32_t left, uint64_t last)
{
    return (uint64_t)(chunk & HINT_MASK) << 23 | left | ((last >> 46) + 1) << 46;
}

static void look_from(uint32_t chunk, unsigned class)
{
    uint64_t last = pl_load_relaxed(&pl_arena->orphans[class]);
    while (!pl_cas_acq_rel(&pl_arena->orphans[class], &last, hint(chunk, HINT_MASK, last)))
        ;
}

bool pl_slab_is_searched(unsigned class)
{
    return pl_load_relaxed(&pl_arena->orphans[class]) & HINT_MASK;
}

void pl_slab_look_everywhere(void)
{
    for (unsigned class = 0; class < PL_CLASSES; class ++)
        look_from(0, class);
}

/* SLAB(me) -> SLAB(nobody). */
static void orphan(uint32_t chunk, unsigned class)
{
    /* R:slab.orphan, pairs with adopt: the books are up to date for the next owner. */
    pl_store_release(pl_state_at(chunk), pl_state(PL_CHUNK_SLAB, class, 0, 0));
    look_from(chunk, class);
}

/* SLAB(nobody) -> SLAB(me), repaired. Not in a ring yet. */
static bool adopt(uint32_t chunk, unsigned class)
{
    uint64_t ownerless = pl_state(PL_CHUNK_SLAB, class, 0, 0);
    uint64_t mine = pl_state(PL_CHUNK_SLAB, class, 0, pl_self.thread_id);
    /* A:slab.orphan, pairs with orphan: the books are those the last owner left. */
    if (!pl_cas_acq_rel(pl_state_at(chunk), &ownerless, mine))
        return false;
    repair(chunk, class);
    return true;
}

/* How many blocks are given out, as it looks from outside. */
static uint32_t count_live(uint32_t chunk, unsigned class)
{
    uint32_t n = 0;
    for (uint32_t w = 0; w < pl_classes[class].words; w++)
        n += (uint32_t)__builtin_popcountl(pl_slab_live(pl_record_at(chunk), class, w));
    return n;
}

/* Puts an ownerless chunk back if it is empty. */
static void reap(uint32_t chunk, unsigned class)
{
    if (count_live(chunk, class) > 0 || !adopt(chunk, class))
        return;
    if (pl_record_at(chunk)->used == 0)
        put(chunk);
    else
        orphan(chunk, class);
}

void pl_slab_orphan_of_dead(uint32_t chunk, uint64_t state)
{
    unsigned class = pl_state_detail(state);
    /* One step, so it may be repeated, and a repetition finds another state. Who adopts the chunk
     * repairs it (A:slab.orphan); what the dead one wrote came before its death was known. */
    if (!pl_cas_acq_rel(pl_state_at(chunk), &state, pl_state(PL_CHUNK_SLAB, class, 0, 0)))
        return;
    look_from(chunk, class);
    if (pl_self.thread_id)
        reap(chunk, class);
}

/* --- the search for room --- */

/* After a rotation that found `chunk`: gives up empty chunks behind it. */
static void shed(uint32_t chunk, unsigned class)
{
    for (int i = 0; i < SHED_MOST; i++) {
        uint32_t next = pl_record_at(chunk)->next;
        if (next == chunk || !collect(next, class) || pl_record_at(next)->used > 0)
            return;
        pl_slab_retire(next, class);
    }
}

/* The first own chunk with room, from the current one on; where it stops is current next. */
static uint32_t rotate(unsigned class)
{
    uint32_t first = pl_self.heap[class] - 1;
    if (first == PL_NO_CHUNK)
        return PL_NO_CHUNK;
    uint32_t chunk = first;
    for (int i = 0; i < ROTATE_MOST; i++) {
        pl_self.heap[class] = chunk + 1;
        if (collect(chunk, class)) {
            shed(chunk, class);
            return chunk;
        }
        chunk = pl_record_at(chunk)->next;
        if (chunk == first)
            break;
    }
    return PL_NO_CHUNK;
}

/* Adopts `chunk` if it is ownerless and has room, and makes it current. */
static bool adopt_for_room(uint32_t chunk, unsigned class)
{
    if (count_live(chunk, class) == pl_classes[class].blocks || !adopt(chunk, class))
        return false;
    link_in(chunk, class);
    return pl_record_at(chunk)->used < pl_classes[class].blocks;
}

/* Adopts an ownerless chunk with room. Looks at `most` states and into `peek` chunks, then leaves
 * the rest for another time; stops looking once it has seen all and found none. */
static uint32_t adopt_one(unsigned class, uint32_t most, uint32_t peek)
{
    uint64_t last = pl_load_acquire(&pl_arena->orphans[class]);
    uint64_t ownerless = pl_state(PL_CHUNK_SLAB, class, 0, 0);
    uint32_t ready = pl_chunks_ready(pl_arena), found = PL_NO_CHUNK, seen = 0, i;
    uint32_t from = (uint32_t)(last >> 23) & HINT_MASK, left = (uint32_t)last & HINT_MASK;
    left = left < ready ? left : ready;
    for (i = 0; i < left && i < most && seen < peek && found == PL_NO_CHUNK; i++) {
        uint32_t chunk = (from + i) % ready;
        if (pl_load_relaxed(pl_state_at(chunk)) != ownerless)
            continue;
        seen++;
        if (adopt_for_room(chunk, class))
            found = chunk;
    }
    if (i > 0)
        pl_cas_acq_rel(&pl_arena->orphans[class], &last,
                       hint(from + i, seen ? HINT_MASK : left - i, last));
    return found;
}

static uint32_t open_new(unsigned class)
{
    uint32_t chunk;
    if (pl_run_claim(1, &chunk) < 0)
        return PL_NO_CHUNK;
    init(chunk, class);
    /* R:slab.open, pairs with plait_free: who sees a slab sees its books. */
    pl_store_release(pl_state_at(chunk), pl_state(PL_CHUNK_SLAB, class, 0, pl_self.thread_id));
    link_in(chunk, class);
    return chunk;
}

static uint32_t find_room(unsigned class)
{
    uint32_t chunk = rotate(class);
    if (chunk == PL_NO_CHUNK)
        chunk = adopt_one(class, ADOPT_SCAN, ADOPT_PEEK);
    if (chunk == PL_NO_CHUNK)
        chunk = open_new(class);
    if (chunk != PL_NO_CHUNK)
        return chunk;
    look_from(0, class);
    chunk = adopt_one(class, UINT32_MAX, UINT32_MAX);
    if (chunk != PL_NO_CHUNK)
        return chunk;
    pl_slab_scavenge();
    return open_new(class);
}

struct pl_taken pl_slab_take_slow(unsigned class)
{
    uint32_t current = pl_self.heap[class];
    uint32_t chunk = current && pl_record_at(current - 1)->used < pl_classes[class].blocks
                         ? current - 1
                         : find_room(class);
    return chunk == PL_NO_CHUNK ? (struct pl_taken){NULL, NULL} : take(chunk, class);
}

/* --- giving up --- */

void pl_slab_leave(void)
{
    for (unsigned class = 0; class < PL_CLASSES; class ++) {
        while (pl_self.heap[class]) {
            uint32_t chunk = pl_self.heap[class] - 1;
            collect(chunk, class);
            link_out(chunk, class);
            if (pl_record_at(chunk)->used == 0)
                put(chunk);
            else
                orphan(chunk, class);
        }
    }
}

static void retire_if_empty(uint32_t chunk, unsigned class)
{
    collect(chunk, class);
    if (pl_record_at(chunk)->used == 0)
        pl_slab_retire(chunk, class);
}

static void scavenge_own(unsigned class)
{
    uint32_t first = pl_self.heap[class] - 1, next;
    if (first == PL_NO_CHUNK)
        return;
    for (uint32_t i = pl_record_at(first)->next; i != first; i = next) {
        next = pl_record_at(i)->next;
        retire_if_empty(i, class);
    }
    retire_if_empty(first, class);
}

void pl_slab_scavenge(void)
{
    uint32_t ready = pl_chunks_ready(pl_arena);
    for (uint32_t i = 0; i < ready; i++) {
        uint64_t state = pl_load_relaxed(pl_state_at(i));
        if (pl_state_kind(state) == PL_CHUNK_SLAB && pl_state_owner(state) == 0)
            reap(i, pl_state_detail(state));
    }
    for (unsigned class = 0; class < PL_CLASSES; class ++)
        scavenge_own(class);
    pl_chunks_trim();
}

/* --- seen from outside --- */

uint64_t pl_slab_live(const struct pl_chunk *record, unsigned class, uint32_t word)
{
    uint64_t live = pl_class_mask(&pl_classes[class], word);
    uint32_t pending = pl_load_relaxed(&record->pending);
    if (pending && (pending - 1) / 64 == word)
        live &= ~(UINT64_C(1) << (pending - 1) % 64);
    return live & ~(pl_load_relaxed(&record->avail[word]) | pl_load_relaxed(&record->freed[word]));
}

bool pl_slab_valid_own(unsigned class, uint32_t *ret_chunks)
{
    uint32_t first = pl_self.heap[class] - 1, chunk = first;
    if (first == PL_NO_CHUNK)
        return true;
    do {
        struct pl_chunk *record = pl_record_at(chunk);
        uint32_t used = 0;
        if (pl_load_relaxed(pl_state_at(chunk)) !=
                pl_state(PL_CHUNK_SLAB, class, 0, pl_self.thread_id) ||
            pl_record_at(record->next)->prev != chunk || pl_load_relaxed(&record->pending))
            return false;
        for (uint32_t w = 0; w < pl_classes[class].words; w++)
            used += (uint32_t)__builtin_popcountl(pl_class_mask(&pl_classes[class], w) &
                                                  ~pl_load_relaxed(&record->avail[w]));
        if (used != record->used)
            return false;
        ++*ret_chunks;
        chunk = record->next;
    } while (chunk != first);
    return true;
}
