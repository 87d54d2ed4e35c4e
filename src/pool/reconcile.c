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

enum {
    LAST_WAY = 1000 * 1000 * 1000
}; /* ns that a worker that has ended gets to leave its process */

/* --- what a dead worker had in hand --- */

/* Whether the item a worker died of is to be failed now. */
static bool is_given_up(struct pl_job *job, struct pl_claim *claim, bool first_again)
{
    claim->deaths = first_again ? claim->deaths + 1 : 1;
    if (claim->deaths > job->retries)
        return true;
    job->retried++;
    return false;
}

/* Lets go of a dead worker's claim: what was done stays done, the item it died of is failed or left
 * to be retried, the rest can be claimed again. */
static void reopen(struct pl_job *job, const struct pl_seat *seat, uint32_t k, uint64_t word)
{
    struct pl_claim *claim = &job->claim[k];
    uint64_t start = pl_load_relaxed(&claim->start), items = pl_claim_items(word);
    /* A:seat.item, pairs with run_item. */
    uint64_t running = pl_load_acquire(&seat->running), item = pl_load_acquire(&seat->item);
    bool was_in = (running & 0xfff) == k + 1;
    uint32_t first = was_in ? (uint32_t)(item - start) : claim->first;
    bool failed_before = (uint32_t)pl_load_acquire(&claim->failed) == first + 1;
    if (was_in && first < items) {
        if (failed_before) { /* it was through with it, just not past it */
            first++;
        } else if (is_given_up(job, claim, first == claim->first)) {
            pl_claim_fail(claim, item, PLAIT_EDIED);
            first++;
        }
        if (first != item - start)
            claim->deaths = 0;
    }
    claim->first = first;
    if (first < items)
        pl_fetch_add_acq_rel(&job->reopened, 1u);
    pl_store_seq_cst(&claim->word,
                     pl_claim_word(first < items ? PL_CLAIM_OPEN : PL_CLAIM_DONE, 0, items));
}

/* Goes through the job that a dead worker's seat shows, which therefore stays, for its claims. */
static void clear_job(struct pl_job *job, const struct pl_seat *seat, const plait_blame *blame)
{
    if (!blame->returned) {
        job->deaths++;
        job->blame = *blame;
    }
    for (uint32_t k = 0; k < PL_POOL_CLAIMS; k++) {
        uint64_t word = pl_load_acquire(&job->claim[k].word);
        if (pl_claim_state(word) == PL_CLAIM_NONE)
            break;
        if (pl_claim_state(word) == PL_CLAIM_TAKEN &&
            pl_claim_owner(word) == pl_load_relaxed(&seat->id))
            reopen(job, seat, k, word);
    }
    pl_job_tell(job);
}

static void clear_seat(struct plait_pool *pool, struct pl_seat *seat, const plait_blame *blame)
{
    struct pl_job *job = pl_load_acquire(&seat->job);
    bool ending = pl_load_acquire(&pool->state) == PL_POOL_ENDING; /* then we killed it ourselves */
    if (job && !ending && (pl_load_seq_cst(&job->serial) & 1))
        clear_job(job, seat, blame);
    pl_store_release(&seat->running, UINT64_C(0));
    if (job)
        pl_seat_leave(seat, job);
    seat->worker = (plait_worker){0, 0};
    pl_store_relaxed(&seat->id, 0u);
    pl_pool_call(pool); /* the idle may have something to do again */
}

/* --- seats --- */

/* Whether the worker of a seat has ended; one that died before it could register stopped no heart, but
 * its state says so. */
static bool has_ended(const struct pl_seat *seat)
{
    int state = plait_state(seat->worker);
    return state < 0 || state == PLAIT_STATE_ENDED || pl_is_dead(pl_load_relaxed(&seat->id));
}

/* A worker has ended when its first thread has; a process that goes on after that (pthread_exit or
 * exec within an item) is no use to the pool. */
static void join_or_kill(const struct pl_seat *seat, plait_blame *ret)
{
    int rc = pl_worker_join_certainly(seat->worker, ret, plait_now() + LAST_WAY);
    if (rc == PLAIT_ETIMEDOUT) {
        plait_kill(seat->worker);
        rc = pl_worker_join_certainly(seat->worker, ret, PL_NEVER);
    }
    if (rc < 0)
        *ret = (plait_blame){.worker = seat->worker, .status = -1};
}

/* A worker whose initializer failed is not replaced; nor is one after the third in a row that died in
 * it: it is the initializer that kills them, not chance. */
static void note_readiness(struct pl_seat *seat, const plait_blame *blame)
{
    enum { MOST = 3 };
    uint32_t ready = pl_load_acquire(&seat->ready);
    if (ready == PL_SEAT_READY)
        seat->unready = 0;
    else if (ready == PL_SEAT_INITIALIZING)
        seat->unready += blame->returned ? MOST : 1;
    seat->given_up = seat->unready >= MOST;
}

/* True if there was one to collect. */
static bool collect_dead(struct plait_pool *pool, struct pl_seat *seat)
{
    plait_blame blame;
    if (!pl_load_relaxed(&seat->id) || !has_ended(seat))
        return false;
    join_or_kill(seat, &blame);
    note_readiness(seat, &blame);
    clear_seat(pool, seat, &blame);
    return true;
}

static int fill_seat(struct plait_pool *pool, struct pl_seat *seat)
{
    char name[PLAIT_NAME_SIZE + 16];
    snprintf(name, sizeof name, "%s-%d", pool->name, (int)(seat - pool->seat) + 1);
    plait_options options = {.name = name,
                             .daemon = true,
                             .stack_size = pool->stack_size,
                             .start_method = pool->start_method};
    seat->pool = pool;
    pl_store_relaxed(&seat->ready, (uint32_t)PL_SEAT_STARTING);
    int rc = plait_start(&seat->worker, (int)pool->kind, pl_seat_main, seat, &options);
    if (rc == 0)
        pl_store_relaxed(&seat->id, pl_slot_id(pl_slot_at(seat->worker.slot)));
    return rc;
}

/* Under manage. */
static int reconcile(struct plait_pool *pool)
{
    int rc = 0, changes = 0;
    uint32_t alive = 0, given_up = 0;
    for (uint32_t s = 0; s < pool->n_seats; s++) {
        struct pl_seat *seat = &pool->seat[s];
        changes += collect_dead(pool, seat);
        bool wanted = pl_load_acquire(&pool->state) != PL_POOL_ENDING && !seat->given_up;
        if (!pl_load_relaxed(&seat->id) && wanted && rc == 0) {
            rc = fill_seat(pool, seat);
            changes += rc == 0;
        }
        alive += pl_load_relaxed(&seat->id) != 0;
        given_up += seat->given_up;
    }
    if (alive > 0)
        return changes;
    if (pl_load_acquire(&pool->state) == PL_POOL_ENDING)
        return PLAIT_ECLOSED;
    return rc < 0 ? rc : given_up > 0 ? PLAIT_EDIED : PLAIT_EAGAIN;
}

int pl_pool_reconcile(struct plait_pool *pool)
{
    pl_lock_acquire_certainly(&pool->manage, PL_WAIT_LOCK);
    int rc = reconcile(pool);
    plait_lock_release(&pool->manage);
    return rc;
}

static void interrupt_seat(struct plait_pool *pool, struct pl_seat *seat, uint64_t serial)
{
    uint64_t running = pl_load_seq_cst(&seat->running); /* pair job.stop */
    if (!running || (running & PL_RUNNING_MARKED) || pl_running_serial(running) != serial ||
        !pl_cas_acq_rel(&seat->running, &running, running | PL_RUNNING_MARKED))
        return;
    if (pool->kind == PLAIT_PROCESS) {
        plait_kill(seat->worker);
    } else {
        plait_cancel(seat->worker);
        pl_fetch_or_acq_rel(&seat->running, PL_RUNNING_SENT);
    }
}

void pl_pool_interrupt(struct plait_pool *pool, uint64_t serial)
{
    pl_lock_acquire_certainly(&pool->manage, PL_WAIT_LOCK);
    for (uint32_t s = 0; s < pool->n_seats; s++)
        interrupt_seat(pool, &pool->seat[s], serial);
    plait_lock_release(&pool->manage);
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
