/* Claiming chunks, alone or in a row, and putting them back.
 *
 * Naive: a lock around a free list. It would be the one lock of the allocator, and whoever dies
 * under it leaves a list half linked. Cure: no list. The states are the truth; a claim is one
 * compare-and-swap per chunk that names the claimant, so what a dead claimant took is found by its
 * name, and a run that cannot be completed is put back by the one who began it.
 *
 * Facts that death and race rely on:
 * 1 A row is claimed upwards. Two claimants that meet: the later one puts its own back and looks
 *   again. The claimant that stands highest meets nobody above, so someone always gets through.
 * 2 VOID chunks read as zero. Only pl_arena_unback makes a chunk with content VOID, and it comes
 *   before the state changes.
 * 3 Tails are made upwards and put back downwards, the head last: at each moment the tails of a
 *   head lie in a row behind it (or behind the new end of a block that shrinks). So a recoverer
 *   needs no record of how far the dead one came: it puts back whatever row it finds (pl_run_put).
 * 4 Giving pages back twice is harmless as long as the chunk is claimed in the caller's name.
 *
 * Cost: a claim scans the states upwards from the lowest chunk that may be spare. In a large and
 * nearly full arena that is long: 8 bytes per chunk of 64 KiB. */
#include "arena/chunk.h"

#include "base/self.h"

#include <string.h>

enum {
    UNBACK_FROM = 32,    /* a run of this many chunks gives its pages back at once */
    KEEP_AT_LEAST = 256, /* FREE chunks to keep, plus an eighth of all there ever were */
};

/* --- the tables grow --- */

static int back_tables(uint32_t from, uint32_t to)
{
    struct pl_arena *a = pl_arena;
    uint64_t n = to - from;
    int rc = pl_arena_back(a->states + from * sizeof(uint64_t), n * sizeof(uint64_t));
    if (rc < 0)
        return rc;
    return pl_arena_back(a->records + (uint64_t)from * PL_CHUNK_RECORD_SIZE,
                         n * PL_CHUNK_RECORD_SIZE);
}

/* Spare chunks in a row that end right below `ready`. */
static uint32_t spare_below(uint32_t ready)
{
    uint32_t n = 0;
    while (n < ready && pl_state_is_spare(pl_load_relaxed(pl_state_at(ready - 1 - n))))
        n++;
    return n;
}

/* Makes room for a run of `n` at the end of the tables, which end at `ready` now. Backing is
 * idempotent, so it does not matter who else grows, or grew and died before it could say so. */
static int grow(uint32_t ready, uint32_t n)
{
    uint32_t most = pl_arena->n_chunks, spare = spare_below(ready);
    uint32_t more = n > spare ? n - spare : 1;
    if (more > most - ready)
        return PLAIT_ENOMEM;
    uint64_t to = ((uint64_t)ready + more + PL_READY_STEP - 1) / PL_READY_STEP * PL_READY_STEP;
    if (to > most)
        to = most;
    int rc = back_tables(ready, (uint32_t)to);
    /* R:chunk.tables, pairs with pl_chunks_ready: states and records have pages. */
    if (rc == 0)
        pl_cas_acq_rel(&pl_arena->chunks_ready, &ready, (uint32_t)to);
    return rc;
}

/* --- claiming --- */

/* The first of `n` spare chunks in a row within [from, to), or PL_NO_CHUNK. */
static uint32_t find_spare(uint32_t from, uint32_t to, uint32_t n)
{
    uint32_t row = 0, step;
    for (uint32_t i = from; i < to; i += step) {
        uint64_t state = pl_load_relaxed(pl_state_at(i));
        step = 1;
        if (!pl_state_is_spare(state)) {
            row = 0;
            if (pl_state_kind(state) == PL_CHUNK_LARGE)
                step = pl_state_index(state);
        } else if (++row == n) {
            return i + 1 - n;
        }
    }
    return PL_NO_CHUNK;
}

static uint32_t find_run(uint32_t ready, uint32_t n)
{
    uint32_t hint = pl_load_relaxed(&pl_arena->chunk_hint);
    uint32_t first = hint < ready ? find_spare(hint, ready, n) : PL_NO_CHUNK;
    if (first == PL_NO_CHUNK && hint > 0) { /* the hint may be wrong */
        first = find_spare(0, ready, n);
    } else if (n == 1 && first != PL_NO_CHUNK) {
        pl_cas_relaxed(&pl_arena->chunk_hint, &hint, first + 1);
    }
    return first;
}

static bool claim(uint32_t chunk)
{
    uint64_t *at = pl_state_at(chunk);
    uint64_t state = pl_load_relaxed(at);
    if (!pl_state_is_spare(state))
        return false;
    bool raw = pl_state_kind(state) == PL_CHUNK_VOID;
    uint32_t marks = raw ? PL_MARK_RAW | pl_state_detail(state) : PL_MARK_USED;
    /* A:chunk.put, pairs with put: the last user has done with the content. */
    if (!pl_cas_acq_rel(at, &state, pl_state(PL_CHUNK_CLAIMED, marks, 0, pl_self.thread_id)))
        return false;
    if (!raw)
        pl_fetch_add_relaxed(&pl_arena->chunks_free, -1u);
    return true;
}

static bool is_raw(uint32_t chunk)
{
    return pl_state_detail(pl_load_relaxed(pl_state_at(chunk))) & PL_MARK_RAW;
}

/* Who frees a chunk makes it findable again. */
static void lower_hint(uint32_t chunk)
{
    uint32_t hint = pl_load_relaxed(&pl_arena->chunk_hint);
    while (chunk < hint && !pl_cas_relaxed(&pl_arena->chunk_hint, &hint, chunk))
        ;
}

/* CLAIMED -> FREE or VOID. */
static void put(uint32_t chunk, bool keep, uint32_t marks)
{
    uint64_t state = keep ? pl_state(PL_CHUNK_FREE, 0, 0, 0) : pl_state(PL_CHUNK_VOID, marks, 0, 0);
    if (keep)
        pl_fetch_add_relaxed(&pl_arena->chunks_free, 1u);
    /* R:chunk.put, pairs with claim: whoever claims it next comes after all of ours. */
    pl_store_release(pl_state_at(chunk), state);
    lower_hint(chunk);
}

/* Undoes claim for each of a row. */
static void unclaim(uint32_t first, uint32_t n)
{
    while (n-- > 0) {
        uint32_t marks = pl_state_detail(pl_load_relaxed(pl_state_at(first + n)));
        put(first + n, !(marks & PL_MARK_RAW), marks & PL_MARK_USED);
    }
}

/* The raw chunks of a claimed row as [*ret_from, *ret_to); false if there are none. */
static bool raw_span(uint32_t first, uint32_t n, uint32_t *ret_from, uint32_t *ret_to)
{
    uint32_t from = first, to = first + n;
    while (from < to && !is_raw(from))
        from++;
    while (to > from && !is_raw(to - 1))
        to--;
    *ret_from = from;
    *ret_to = to;
    return from < to;
}

static void unback(uint32_t first, uint32_t n)
{
    pl_arena_unback(pl_chunk_offset(first), (uint64_t)n * PL_CHUNK_SIZE);
}

/* Backs a claimed row in one call. On failure the row is put back, and pages got half way are
 * returned, so that VOID chunks have none. */
static int back(uint32_t first, uint32_t n)
{
    uint32_t from, to;
    if (!raw_span(first, n, &from, &to))
        return 0;
    int rc = pl_arena_back(pl_chunk_offset(from), (uint64_t)(to - from) * PL_CHUNK_SIZE);
    if (rc == 0)
        return 0;
    for (uint32_t i = from; i < to; i++)
        if (is_raw(i))
            unback(i, 1);
    unclaim(first, n);
    return rc;
}

static bool claim_row(uint32_t first, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!claim(first + i)) {
            unclaim(first, i);
            return false;
        }
    }
    return true;
}

/* When no pages can be had: any one chunk that has kept its own. */
static int claim_kept(uint32_t *ret_first)
{
    uint32_t ready = pl_chunks_ready(pl_arena);
    for (uint32_t i = 0; i < ready; i++) {
        if (pl_state_kind(pl_load_relaxed(pl_state_at(i))) != PL_CHUNK_FREE || !claim(i))
            continue;
        if (is_raw(i)) { /* someone was quicker and took its pages */
            unclaim(i, 1);
            continue;
        }
        *ret_first = i;
        return 0;
    }
    return PLAIT_ENOMEM;
}

int pl_run_claim(uint32_t n, uint32_t *ret_first)
{
    for (;;) {
        int rc = 0;
        uint32_t ready = pl_chunks_ready(pl_arena);
        *ret_first = find_run(ready, n);
        if (*ret_first == PL_NO_CHUNK)
            rc = grow(ready, n);
        else if (claim_row(*ret_first, n))
            break;
        if (rc < 0)
            return rc;
    }
    if (back(*ret_first, n) == 0)
        return 0;
    return n == 1 ? claim_kept(ret_first) : PLAIT_ENOMEM;
}

bool pl_run_claim_at(uint32_t first, uint32_t n)
{
    uint32_t ready = pl_chunks_ready(pl_arena);
    if (n > pl_arena->n_chunks - first)
        return false;
    if (first + n > ready && (spare_below(ready) < ready - first || grow(ready, n) < 0))
        return false;
    if (first + n > pl_chunks_ready(pl_arena) || !claim_row(first, n))
        return false;
    return back(first, n) == 0;
}

void pl_run_zero(uint32_t first, uint32_t n)
{
    for (uint32_t i = first; i < first + n; i++)
        if (!is_raw(i))
            memset(pl_chunk_at(i), 0, PL_CHUNK_SIZE);
}

/* --- tails, and putting back --- */

void pl_run_make_tails(uint32_t head, uint32_t first, uint32_t n)
{
    for (uint32_t i = first; i < first + n; i++)
        pl_store_release(pl_state_at(i), pl_state(PL_CHUNK_TAIL, 0, head, 0));
}

uint32_t pl_run_tails(uint32_t head, uint32_t from)
{
    uint32_t ready = pl_chunks_ready(pl_arena), first = head + from, n = 0;
    uint64_t tail = pl_state(PL_CHUNK_TAIL, 0, head, 0);
    while (first + n < ready && pl_load_relaxed(pl_state_at(first + n)) == tail)
        n++;
    return n;
}

/* Whether a run keeps its pages for the next claim: getting them again costs some microseconds
 * each, a hundred times as much as zeroing them. The estimate may even be below zero. */
static bool worth_keeping(uint32_t n)
{
    int32_t most = (int32_t)(KEEP_AT_LEAST + pl_load_relaxed(&pl_arena->chunks_ready) / 8);
    return n < UNBACK_FROM && (int32_t)(pl_load_relaxed(&pl_arena->chunks_free) + n) <= most;
}

static void put_row(uint32_t first, uint32_t n, bool sound)
{
    bool keep = sound && worth_keeping(n);
    if (!keep && n > 0)
        unback(first, n);
    while (n-- > 0)
        put(first + n, keep, PL_MARK_USED);
}

void pl_run_put(uint32_t head, bool sound)
{
    put_row(head, 1 + pl_run_tails(head, 1), sound);
}

void pl_run_put_tails(uint32_t head, uint32_t from, bool sound)
{
    put_row(head + from, pl_run_tails(head, from), sound);
}

void pl_chunks_trim(void)
{
    uint32_t ready = pl_chunks_ready(pl_arena);
    for (uint32_t i = 0; i < ready; i++) {
        uint64_t state = pl_load_relaxed(pl_state_at(i));
        if (pl_state_kind(state) == PL_CHUNK_FREE && claim(i)) {
            unback(i, 1);
            put(i, false, PL_MARK_USED);
        }
    }
}

void pl_chunks_recount(void)
{
    uint32_t ready = pl_chunks_ready(pl_arena), n = 0;
    for (uint32_t i = 0; i < ready; i++)
        n += pl_state_kind(pl_load_relaxed(pl_state_at(i))) == PL_CHUNK_FREE;
    pl_store_relaxed(&pl_arena->chunks_free, n);
}
