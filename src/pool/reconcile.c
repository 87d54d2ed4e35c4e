/* Reconciling: workers wanted against workers living (D7). Run by a caller of plait_map whenever one
 * of the workers' hearts has stopped, and when a pool opens; under pool->manage.
 *
 * Only the process that opened the pool does it, for it has to be the parent of the workers. If a
 * reconciler were killed, the whole pool would go with it: workers die with their parent. */
#include "base/clock.h"
#include "pool/pool_internal.h"
#include "sync/lock_word.h"
#include "worker/worker_internal.h"

#include <stdio.h>
#include <string.h>

/* --- what a dead worker had in hand --- */

/* How often this item has killed, with this time. */
static uint32_t count_death(struct pl_job *job, uint64_t item)
{
    for (uint32_t i = 0; i < job->n_troubles; i++)
        if (job->trouble[i].item == item)
            return ++job->trouble[i].deaths;
    if (job->n_troubles == PL_TROUBLES)
        return UINT32_MAX; /* a job that kills so often gets no more second chances */
    job->trouble[job->n_troubles++] = (struct pl_trouble){.item = item, .deaths = 1};
    return 1;
}

/* Lets go of a dead worker's claim: what was done stays done, the item it died of is failed or left
 * to be retried, the rest can be claimed again. */
static void reopen(struct pl_job *job, const struct pl_seat *seat, uint32_t k, uint64_t word)
{
    struct pl_claim *claim = &job->claim[k];
    uint64_t start = pl_load_relaxed(&claim->start), items = pl_claim_items(word);
    /* A:seat.item, pairs with run_item. */
    bool was_in = pl_load_acquire(&seat->job) == job && pl_load_acquire(&seat->running) == k + 1;
    uint64_t item = pl_load_acquire(&seat->item);
    uint32_t first = was_in ? (uint32_t)(item - start) : claim->first;
    if (was_in && first < items && !pl_load_relaxed(&job->stop)) {
        if (!seat->shot && count_death(job, item) > job->retries) {
            pl_job_fail(job, item, PLAIT_EDIED);
            first++;
        } else {
            job->retried++;
        }
    }
    claim->first = first;
    if (first < items) {
        pl_fetch_add_acq_rel(&job->reopened, 1u);
        pl_store_seq_cst(&claim->word, pl_claim_word(PL_CLAIM_OPEN, 0, items));
    } else {
        pl_store_seq_cst(&claim->word, pl_claim_word(PL_CLAIM_DONE, 0, items));
    }
}

/* Goes through an open job for claims of the dead worker of a seat. */
static void clear_job(struct pl_job *job, const struct pl_seat *seat, const plait_blame *blame)
{
    if (!blame->returned && !seat->shot) {
        job->deaths++;
        job->blame = *blame;
    }
    for (uint32_t k = 0; k < PL_POOL_CLAIMS; k++) {
        uint64_t word = pl_load_acquire(&job->claim[k].word);
        if (pl_claim_state(word) == PL_CLAIM_NONE)
            break;
        if (pl_claim_state(word) == PL_CLAIM_TAKEN && pl_claim_owner(word) == seat->id)
            reopen(job, seat, k, word);
    }
    pl_job_tell(job);
}

static void clear_seat(struct plait_pool *pool, struct pl_seat *seat, const plait_blame *blame)
{
    for (int j = 0; j < PL_POOL_JOBS; j++) {
        struct pl_job *job = pl_load_acquire(&pool->jobs[j]);
        if (job && (pl_load_acquire(&job->serial) & 1))
            clear_job(job, seat, blame);
    }
    pl_store_release(&seat->job, NULL);
    pl_store_release(&seat->running, 0u);
    seat->shot = false;
    seat->worker = (plait_worker){0, 0};
    pl_store_relaxed(&seat->id, 0u);
    pl_pool_call(pool); /* the idle may have something to do again */
}

/* --- seats --- */

/* Whether the worker of a seat has ended; one that died before it could register stopped no heart
 * and has to be asked for. */
static bool has_ended(const struct pl_seat *seat)
{
    plait_blame blame;
    if (plait_state(seat->worker) == PLAIT_STATE_NEW)
        return plait_exit_status(seat->worker, &blame) != PLAIT_EBUSY;
    return pl_is_dead(seat->id);
}

static void collect_dead(struct plait_pool *pool, struct pl_seat *seat)
{
    plait_blame blame;
    if (!seat->id || !has_ended(seat))
        return;
    if (pl_worker_join_certainly(seat->worker, &blame) < 0)
        blame = (plait_blame){.worker = seat->worker, .status = -1};
    if (blame.returned && blame.status < 0)
        pool->hopeless++;
    clear_seat(pool, seat, &blame);
}

static int fill_seat(struct plait_pool *pool, struct pl_seat *seat)
{
    char name[PLAIT_NAME_SIZE + 16];
    snprintf(name, sizeof name, "%s-%d", pool->name, (int)(seat - pool->seat) + 1);
    plait_options options = {.name = name, .daemon = true, .stack_size = pool->stack_size};
    seat->pool = pool;
    int rc = plait_start(&seat->worker, (int)pool->kind, pl_seat_main, seat, &options);
    if (rc == 0)
        pl_store_relaxed(&seat->id, pl_load_relaxed(&pl_slot_find(seat->worker)->id));
    return rc;
}

static int reconcile(struct plait_pool *pool)
{
    int rc = 0;
    uint32_t alive = 0;
    for (uint32_t s = 0; s < pool->n_seats; s++) {
        struct pl_seat *seat = &pool->seat[s];
        collect_dead(pool, seat);
        bool wanted = pl_load_acquire(&pool->state) != PL_POOL_ENDING &&
                      s + pool->hopeless < pool->n_seats && rc == 0;
        if (!seat->id && wanted)
            rc = fill_seat(pool, seat);
        alive += seat->id != 0;
    }
    if (alive > 0)
        return 0;
    return rc < 0 ? rc : pool->hopeless ? PLAIT_EDIED : 0;
}

int pl_pool_reconcile(struct plait_pool *pool)
{
    pl_lock_acquire_certainly(&pool->manage);
    int rc = reconcile(pool);
    plait_lock_release(&pool->manage);
    return rc;
}

int pl_pool_ids(struct plait_pool *pool, uint32_t *ids, int most)
{
    int n = 0;
    for (uint32_t s = 0; s < pool->n_seats && n < most; s++) {
        uint32_t id = pl_load_relaxed(&pool->seat[s].id);
        if (id)
            ids[n++] = id;
    }
    return n;
}
