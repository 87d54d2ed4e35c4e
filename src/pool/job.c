/* Jobs: claiming items, running them, knowing when all are done. The idea is in pool_internal.h. */
#include "base/clock.h"
#include "pool/pool_internal.h"

#include <sched.h>
#include <unistd.h>

enum {
    WORTH = 500 * 1000, /* ns of work per claim that make its cost vanish */
    CODE_BITS = 28,     /* of a failure's word; the rest is the item */
    CODE_MOST = (1 << CODE_BITS) - 1,
};

/* --- failures --- */

static bool has_failed(const struct pl_claim *claim, uint64_t item)
{
    uint32_t last = (uint32_t)pl_load_acquire(&claim->failed);
    return last && pl_load_relaxed(&claim->start) + last - 1 == item;
}

/* The count and the last item are one word, so that a worker that dies after this and before its seat
 * says so has failed the item once, and not twice. */
void pl_claim_fail(struct pl_claim *claim, uint64_t item, int code)
{
    uint64_t failed = pl_load_relaxed(&claim->failed) >> 32;
    uint64_t size = code < -CODE_MOST ? CODE_MOST : (uint64_t) - (int64_t)code;
    if (has_failed(claim, item))
        return;
    if (failed == 0)
        pl_store_relaxed(&claim->failure, item << CODE_BITS | size);
    uint64_t last = item - pl_load_relaxed(&claim->start) + 1;
    pl_store_release(&claim->failed, (failed + 1) << 32 | last);
}

uint64_t pl_job_failures(struct pl_job *job, uint64_t *ret_item, int *ret_code)
{
    uint64_t n = 0;
    for (uint32_t k = 0; k < PL_POOL_CLAIMS; k++) {
        struct pl_claim *claim = &job->claim[k];
        if (pl_claim_state(pl_load_acquire(&claim->word)) == PL_CLAIM_NONE)
            break;
        uint64_t here = pl_load_acquire(&claim->failed) >> 32;
        uint64_t first = pl_load_relaxed(&claim->failure);
        if (here && n == 0) { /* entries lie in the order of their items */
            *ret_item = first >> CODE_BITS;
            *ret_code = -(int)(first & CODE_MOST);
        }
        n += here;
    }
    return n;
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

static plait_item_function *function_of(const struct pl_job *job)
{
    plait_function *fn;
    return pl_function_get(&job->fn, &fn) < 0 ? NULL : (plait_item_function *)(void (*)(void))fn;
}

static void run_item(struct pl_job *job, plait_item_function *fn, struct pl_claim *claim,
                     struct pl_seat *seat, uint64_t i)
{
    const void *in = job->in ? job->in + i * job->in_size : NULL;
    void *out = job->out ? job->out + i * job->out_size : NULL;
    /* R:seat.item: results of the items before are written before the seat says that we are past
     * them; pairs with the reconciler's look at a dead worker's seat. */
    pl_store_release(&seat->item, i);
    int rc = fn ? fn(in, out) : PLAIT_EMODULE;
    if (__builtin_expect(rc < 0, 0))
        pl_claim_fail(claim, i, rc);
}

/* A request to stop that came for one item must not hit the next. */
static void forget_cancel(void)
{
    struct pl_slot *slot = pl_self.slot;
    uint32_t asked = pl_load_acquire(&slot->asked.made);
    if (__builtin_expect(asked != pl_load_relaxed(&slot->asked.undone), 0)) {
        pl_store_relaxed(&slot->asked.delivered, asked);
        pl_store_relaxed(&slot->asked.undone, asked);
    }
}

/* Takes the claim off the seat. If an interrupter was faster, what it has started must be over before
 * this worker does anything else: a process is killed here, a thread is being cancelled. */
static void stop_running(struct pl_seat *seat, uint64_t mine)
{
    uint64_t seen = mine;
    if (pl_cas_acq_rel(&seat->running, &seen, UINT64_C(0)))
        return;
    while (seat->pool->kind == PLAIT_PROCESS)
        pause();
    while (!(pl_load_acquire(&seat->running) & PL_RUNNING_SENT))
        sched_yield();
    forget_cancel();
    pl_store_release(&seat->running, UINT64_C(0));
}

static void learn_pace(struct pl_seat *seat, int64_t took, uint64_t items)
{
    int64_t each = items ? took / (int64_t)items : 0;
    seat->pace = each < 1 ? 1 : each > INT32_MAX ? INT32_MAX : (uint32_t)each;
}

/* Items to run between two looks at whether to stop: as many as take about a microsecond. */
static uint64_t burst_of(const struct pl_seat *seat)
{
    enum { OFTEN = 1000 };
    return seat->pace && seat->pace < OFTEN ? OFTEN / seat->pace : 1;
}

/* Runs the items of a claim that is ours. A stopped job's items stay undone: the caller has left. */
static void run_claim(struct pl_job *job, struct pl_seat *seat, uint32_t k)
{
    struct pl_claim *claim = &job->claim[k];
    uint64_t word = pl_load_relaxed(&claim->word), start = pl_load_relaxed(&claim->start);
    uint64_t i = start + claim->first, end = start + pl_claim_items(word);
    uint64_t mine = pl_running_word((pl_load_relaxed(&job->serial) - 1) | 1, k);
    int64_t began = plait_now();
    plait_item_function *fn = function_of(job);
    pl_store_relaxed(&seat->item, i);
    /* Pair job.stop with close_job: we show that we run, then look whether to stop; it says stop, then
     * looks who runs. */
    pl_store_seq_cst(&seat->running, mine);
    while (i < end) {
        forget_cancel(); /* first: a request that is seen here came before a stop that is seen below */
        if (pl_load_seq_cst(&job->stop))
            break;
        for (uint64_t burst = burst_of(seat); burst > 0 && i < end; burst--, i++)
            run_item(job, fn, claim, seat, i);
    }
    pl_store_release(&seat->item, i);
    if (i == end) /* R:claim.word, pairs with claim_new and pl_job_is_complete: the results. */
        pl_store_seq_cst(&claim->word, pl_claim_word(PL_CLAIM_DONE, 0, pl_claim_items(word)));
    stop_running(seat, mine);
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
        done += pl_claim_state(word) == PL_CLAIM_DONE ? pl_claim_items(word) : 0;
    }
    uint64_t serial = pl_load_relaxed(&job->serial);
    for (uint32_t s = 0; s < pool->n_seats; s++) {
        uint64_t running = pl_load_acquire(&pool->seat[s].running);
        uint64_t item = pl_load_acquire(&pool->seat[s].item);
        if (pl_running_serial(running) != serial)
            continue;
        uint64_t start = pl_load_relaxed(&job->claim[(running & 0xfff) - 1].start);
        done += item > start ? item - start : 0;
    }
    return done < job->n ? done : job->n;
}
