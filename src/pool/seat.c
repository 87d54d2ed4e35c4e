/* A pool worker: look for a job, work on it, sleep when there is none. */
#include "base/clock.h"
#include "pool/pool_internal.h"

#define SOMEONE_SLEEPS UINT32_C(1)

/* The job's memory is the pool's, so a look at it after leaving is safe. */
void pl_seat_leave(struct pl_seat *seat, struct pl_job *job)
{
    pl_store_seq_cst(&seat->job, NULL);
    if (pl_load_seq_cst(&job->serial) & 1)
        return;
    pl_will_unpark(&job->done);
    if (pl_fetch_add_acq_rel(&job->done, PL_DONE_LEFT) & PL_DONE_WAITED)
        pl_unpark(&job->done, 1);
}

/* Enters a job if it is open; it is not used for another call while the seat shows it. */
static bool enter(struct pl_seat *seat, struct pl_job *job)
{
    if (!job || !(pl_load_relaxed(&job->serial) & 1))
        return false;
    pl_store_seq_cst(&seat->job, job); /* pair job.seen with close_job in map.c */
    /* A:job.serial, pairs with open_job in map.c: an open job is ready. */
    if (pl_load_seq_cst(&job->serial) & 1)
        return true;
    pl_seat_leave(seat, job);
    return false;
}

/* One round over the jobs. True: something was done. */
static bool work_somewhere(struct plait_pool *pool, struct pl_seat *seat)
{
    bool worked = false;
    for (int j = 0; j < PL_POOL_JOBS; j++) {
        struct pl_job *job = pl_load_acquire(&pool->jobs[j]);
        if (!enter(seat, job))
            continue;
        seat->pace = 0;
        bool here = false;
        while (pl_job_work(job, seat))
            here = true;
        if (here)
            pl_job_tell(job);
        pl_seat_leave(seat, job);
        worked |= here;
    }
    return worked;
}

/* Sleeps until the work word is no longer as seen before the round that found nothing. */
static void sleep_idle(struct plait_pool *pool, uint32_t seen, struct pl_wait *wait)
{
    struct pl_spin spin = {0};
    while (pl_load_acquire(&pool->work) == seen) {
        if (pl_spin(&spin))
            continue;
        uint32_t expected = seen;
        if (!(seen & SOMEONE_SLEEPS) &&
            !pl_cas_acq_rel(&pool->work, &expected, seen | SOMEONE_SLEEPS))
            return;
        int64_t start = plait_now();
        pl_park(&pool->work, seen | SOMEONE_SLEEPS, wait);
        pl_spin_slept(plait_now() - start);
        return;
    }
    pl_spin_won(&spin);
}

void pl_pool_call(struct plait_pool *pool)
{
    uint32_t seen = pl_load_relaxed(&pool->work);
    pl_will_unpark(&pool->work);
    while (!pl_cas_acq_rel(&pool->work, &seen, (seen + 2) & ~SOMEONE_SLEEPS))
        ;
    if (seen & SOMEONE_SLEEPS)
        pl_unpark(&pool->work, (int)pool->n_seats);
}

/* Whether there is nothing left to stay for. While a call is in progress a worker stays, though all
 * is claimed: another may die. */
static bool may_go(struct plait_pool *pool)
{
    enum pl_pool_state state = (enum pl_pool_state)pl_load_acquire(&pool->state);
    return state == PL_POOL_ENDING || (state == PL_POOL_CLOSING &&
                                       (pl_load_acquire(&pool->callers) & ~PL_CALLERS_WAITED) == 0);
}

static int work_until_closed(struct plait_pool *pool, struct pl_seat *seat)
{
    struct pl_wait wait;
    pl_wait_begin(&wait, PL_WAIT_POOL, PLAIT_FOREVER);
    wait.uncancellable = true;
    for (;;) {
        uint32_t seen = pl_load_acquire(&pool->work);
        if (may_go(pool))
            return 0;
        if (work_somewhere(pool, seat))
            pl_wait_renew(&wait);
        else
            sleep_idle(pool, seen, &wait);
    }
}

/* Whose worker this thread is, and under which id: a child that it forks is not. */
static _Thread_local struct {
    const struct plait_pool *pool;
    uint32_t id;
} employed __attribute__((tls_model("initial-exec")));

static int initialize(const struct plait_pool *pool)
{
    plait_function *initializer;
    int rc = pl_function_get(&pool->initializer, &initializer);
    return rc < 0 ? rc : initializer(pool->initializer_arg);
}

int pl_seat_main(void *arg)
{
    struct pl_seat *seat = arg;
    struct plait_pool *pool = seat->pool;
    employed.pool = pool;
    employed.id = pl_self.thread_id;
    if (pool->initializer.address) {
        pl_store_release(&seat->ready, (uint32_t)PL_SEAT_INITIALIZING);
        int rc = initialize(pool);
        if (rc < 0)
            return rc;
    }
    pl_store_release(&seat->ready, (uint32_t)PL_SEAT_READY);
    return work_until_closed(pool, seat);
}

bool pl_seat_is_mine(const struct plait_pool *pool)
{
    return employed.pool == pool && employed.id == pl_self.thread_id;
}
