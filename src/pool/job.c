/* Jobs: claiming items, running them, knowing when all are done. The idea is in pool_internal.h. */
#include "base/clock.h"
#include "pool/pool_internal.h"

#include <stddef.h>

enum {
    WORTH = 500 * 1000, /* ns of work per claim that make its cost vanish */
    CODE_BITS = 28,     /* of a failure's word; the rest is the item */
    CODE_MOST = (1 << CODE_BITS) - 1,
};

/* --- failures --- */

/* Index and code in one word, so that the lowest index wins by compare-and-swap. Codes are negative
 * and stored negated. */
void pl_job_fail(struct pl_job *job, uint64_t item, int code)
{
    uint64_t size = code < -CODE_MOST ? CODE_MOST : (uint64_t) - (int64_t)code;
    uint64_t mine = item << CODE_BITS | size, seen = pl_load_relaxed(&job->failure);
    pl_fetch_add_relaxed(&job->failed, UINT64_C(1));
    while (mine < seen && !pl_cas_relaxed(&job->failure, &seen, mine))
        ;
}

bool pl_job_failure(struct pl_job *job, uint64_t *ret_item, int *ret_code)
{
    uint64_t word = pl_load_acquire(&job->failure);
    if (word == UINT64_MAX)
        return false;
    *ret_item = word >> CODE_BITS;
    *ret_code = -(int)(word & CODE_MOST);
    return true;
}

/* --- claiming --- */

/* How many items to claim when `left` are left and `entries` of the log: few enough that all workers
 * end together, many enough that claiming costs nothing beside them and the log suffices. */
static uint64_t claim_size(const struct pl_job *job, const struct pl_seat *seat, uint64_t left,
                           uint64_t entries)
{
    uint64_t least = (left + entries - 1) / entries;
    uint64_t want = job->chunk ? job->chunk : seat->pace ? WORTH / seat->pace : 1;
    uint64_t share = left / (4 * (uint64_t)job->workers);
    if (!job->chunk && want > share)
        want = share;
    want = want > least ? want : least;
    want = want > 0 ? want : 1;
    want = want < left ? want : left;
    return want < INT32_MAX ? want : INT32_MAX;
}

/* The hint only rises: whoever opens the job next clears the entries up to it. */
static void raise_tail(struct pl_job *job, uint32_t k)
{
    uint32_t seen = pl_load_relaxed(&job->tail);
    while (seen < k && !pl_cas_release(&job->tail, &seen, k))
        ;
}

/* Steps over entries that are claimed, writing where each next one starts. The first that is not,
 * or PL_POOL_CLAIMS. */
static uint32_t find_tail(struct pl_job *job)
{
    uint32_t k = pl_load_acquire(&job->tail);
    while (k < PL_POOL_CLAIMS) {
        uint64_t word = pl_load_acquire(&job->claim[k].word);
        if (pl_claim_state(word) == PL_CLAIM_NONE)
            break;
        if (k + 1 < PL_POOL_CLAIMS)
            pl_store_release(&job->claim[k + 1].start,
                             pl_load_relaxed(&job->claim[k].start) + pl_claim_items(word));
        k++;
    }
    raise_tail(job, k);
    return k;
}

/* Claims the next items that nobody has. False: there are none. */
static bool claim_new(struct pl_job *job, const struct pl_seat *seat, uint32_t *ret)
{
    for (;;) {
        uint32_t k = find_tail(job);
        if (k == PL_POOL_CLAIMS)
            return false;
        struct pl_claim *claim = &job->claim[k];
        uint64_t start = pl_load_acquire(&claim->start), nothing = 0;
        if (start >= job->n)
            return false;
        uint64_t items = claim_size(job, seat, job->n - start, PL_POOL_CLAIMS - k);
        /* A:claim.word, pairs with run_claim and the reconciler: their items' results. */
        if (pl_cas_acq_rel(&claim->word, &nothing,
                           pl_claim_word(PL_CLAIM_TAKEN, pl_self.id, items))) {
            *ret = k;
            return true;
        }
    }
}

/* Claims what a dead worker left. False: there is nothing. */
static bool claim_reopened(struct pl_job *job, uint32_t *ret)
{
    if (pl_load_acquire(&job->reopened) == 0)
        return false;
    for (uint32_t k = 0; k < PL_POOL_CLAIMS; k++) {
        uint64_t word = pl_load_acquire(&job->claim[k].word);
        if (pl_claim_state(word) == PL_CLAIM_NONE)
            return false;
        if (pl_claim_state(word) != PL_CLAIM_OPEN)
            continue;
        if (pl_cas_acq_rel(&job->claim[k].word, &word,
                           pl_claim_word(PL_CLAIM_TAKEN, pl_self.id, pl_claim_items(word)))) {
            pl_fetch_add_relaxed(&job->reopened, UINT32_MAX);
            *ret = k;
            return true;
        }
    }
    return false;
}

/* --- running --- */

static void run_item(struct pl_job *job, struct pl_seat *seat, uint64_t i)
{
    const void *in = job->in ? job->in + i * job->in_size : NULL;
    void *out = job->out ? job->out + i * job->out_size : NULL;
    /* R:seat.item: results of the items before are written before the seat says that we are past
     * them; pairs with the reconciler's look at a dead worker's seat. */
    pl_store_release(&seat->item, i);
    int rc = job->fn(in, out);
    if (__builtin_expect(rc < 0, 0))
        pl_job_fail(job, i, rc);
}

/* A request to stop that came for one item must not hit the next. */
static void forget_cancel(void)
{
    struct pl_slot *slot = pl_self.slot;
    uint32_t asked = pl_load_relaxed(&slot->cancel);
    if (__builtin_expect(asked != pl_load_relaxed(&slot->cancel_undone), 0)) {
        pl_store_relaxed(&slot->cancel_seen, asked);
        pl_store_relaxed(&slot->cancel_undone, asked);
    }
}

static void learn_pace(struct pl_seat *seat, int64_t took, uint64_t items)
{
    int64_t each = items ? took / (int64_t)items : 0;
    seat->pace = each < 1 ? 1 : each > INT32_MAX ? INT32_MAX : (uint32_t)each;
}

/* Runs the items of a claim that is ours. A stopped job's items stay undone: the caller has left. */
static void run_claim(struct pl_job *job, struct pl_seat *seat, uint32_t k)
{
    struct pl_claim *claim = &job->claim[k];
    uint64_t word = pl_load_relaxed(&claim->word), start = pl_load_relaxed(&claim->start);
    uint64_t i = start + claim->first, end = start + pl_claim_items(word);
    int64_t began = plait_now();
    pl_store_release(&seat->item, i);
    pl_store_release(&seat->running, k + 1);
    for (; i < end && !pl_load_relaxed(&job->stop); i++) {
        run_item(job, seat, i);
        forget_cancel();
    }
    pl_store_release(&seat->item, i);
    if (i == end) /* R:claim.word, pairs with claim_new and pl_job_is_complete: the results. */
        pl_store_seq_cst(&claim->word, pl_claim_word(PL_CLAIM_DONE, 0, pl_claim_items(word)));
    pl_store_release(&seat->running, 0u);
    learn_pace(seat, plait_now() - began, end - start - claim->first);
}

bool pl_job_work(struct pl_job *job, struct pl_seat *seat)
{
    uint32_t k;
    if (pl_load_acquire(&job->stop) || (!claim_reopened(job, &k) && !claim_new(job, seat, &k)))
        return false;
    run_claim(job, seat, k);
    return true;
}

/* --- completion --- */

bool pl_job_is_complete(struct pl_job *job)
{
    for (uint32_t k = 0; k < PL_POOL_CLAIMS; k++) {
        /* A:claim.word, pairs with run_claim. */
        uint64_t word = pl_load_seq_cst(&job->claim[k].word);
        if (pl_claim_state(word) != PL_CLAIM_DONE)
            return pl_claim_state(word) == PL_CLAIM_NONE &&
                   pl_load_acquire(&job->claim[k].start) >= job->n;
        if (pl_load_relaxed(&job->claim[k].start) + pl_claim_items(word) >= job->n)
            return true;
    }
    return false;
}

void pl_job_tell(struct pl_job *job)
{
    if (!pl_job_is_complete(job))
        return;
    pl_will_unpark(&job->done);
    if (pl_fetch_or_acq_rel(&job->done, PL_DONE_ALL) & PL_DONE_WAITED)
        pl_unpark(&job->done, 1);
}

uint64_t pl_job_progress(struct pl_job *job, struct plait_pool *pool)
{
    uint64_t done = 0;
    for (uint32_t k = 0; k < PL_POOL_CLAIMS; k++) {
        uint64_t word = pl_load_acquire(&job->claim[k].word);
        if (pl_claim_state(word) == PL_CLAIM_NONE)
            break;
        if (pl_claim_state(word) == PL_CLAIM_DONE)
            done += pl_claim_items(word);
    }
    for (uint32_t s = 0; s < pool->n_seats; s++) {
        struct pl_seat *seat = &pool->seat[s];
        uint32_t running = pl_load_acquire(&seat->running);
        uint64_t item = pl_load_acquire(&seat->item);
        if (pl_load_acquire(&seat->job) == job && running) {
            uint64_t start = pl_load_relaxed(&job->claim[running - 1].start);
            done += item > start ? item - start : 0;
        }
    }
    return done < job->n ? done : job->n;
}
