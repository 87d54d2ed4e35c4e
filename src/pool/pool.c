/* Opening and closing pools. */
#include "pool/pool_internal.h"

#include "base/clock.h"
#include "sync/lock_word.h"

#include <plait/arena.h>
#include <plait/start_method.h>
#include <plait/worker.h>
#include <stdio.h>
#include <unistd.h>

static int check_options(int kind, int workers, const plait_pool_options *o)
{
    if (kind == PLAIT_TASK)
        return PLAIT_ENOTSUP;
    if ((kind != PLAIT_THREAD && kind != PLAIT_PROCESS) || workers < 0 || workers > PL_POOL_MOST ||
        o->retries < 0 || o->start_method < PLAIT_START_DEFAULT || o->start_method > PLAIT_SPAWN)
        return PLAIT_EINVAL;
    if (kind == PLAIT_PROCESS && o->initializer_arg && !pl_arena_holds(o->initializer_arg))
        return PLAIT_EPRIVATE;
    return 0;
}

/* Kept for workers to come, for whom the functions have names or have not. */
static int start_method_of(int kind, const plait_pool_options *o)
{
    bool asks = kind == PLAIT_PROCESS && o->start_method == PLAIT_START_DEFAULT;
    return asks && plait_get_start_method() == PLAIT_FORK ? PLAIT_FORK : o->start_method;
}

static struct plait_pool *make(int kind, int workers, const plait_pool_options *o)
{
    enum { LINE = _Alignof(struct plait_pool) };
    size_t size = sizeof(struct plait_pool) + (size_t)workers * sizeof(struct pl_seat);
    char *block = plait_alloc(size + LINE);
    if (!block)
        return NULL;
    struct plait_pool *pool = (void *)(block + (LINE - (uintptr_t)block % LINE) % LINE);
    pool->block = block;
    pool->kind = (uint32_t)kind;
    pool->n_seats = (uint32_t)workers;
    pool->owner = getpid();
    pool->retries = (uint32_t)o->retries;
    pool->start_method = start_method_of(kind, o);
    pl_function_set(&pool->initializer, o->initializer, pl_pool_needs_names(pool));
    pool->initializer_arg = o->initializer_arg;
    pool->stack_size = o->stack_size;
    snprintf(pool->name, sizeof pool->name, "%s", o->name ? o->name : "Pool");
    return pool;
}

static void destroy(struct plait_pool *pool)
{
    for (int j = 0; j < PL_POOL_JOBS; j++)
        plait_free(pool->jobs[j]);
    plait_free(pool->block);
}

int plait_pool_open(plait_pool **ret, int kind, int workers, const plait_pool_options *options)
{
    static const plait_pool_options defaults;
    const plait_pool_options *o = options ? options : &defaults;
    int rc = ret ? check_options(kind, workers, o) : PLAIT_EINVAL;
    if (rc == 0)
        rc = pl_self_known();
    if (rc < 0)
        return rc;
    struct plait_pool *pool = make(kind, workers ? workers : plait_cpu_count(), o);
    if (!pool)
        return plait_last_error();
    rc = pl_pool_reconcile(pool);
    if (rc < 0) { /* not one worker was started */
        destroy(pool);
        return rc;
    }
    *ret = pool;
    return 0;
}

/* Waits until no call of plait_map is in progress (pair pool.callers). */
static int wait_for_calls(struct plait_pool *pool, struct pl_wait *wait)
{
    for (;;) {
        uint32_t seen = pl_fetch_or_seq_cst(&pool->callers, PL_CALLERS_WAITED) | PL_CALLERS_WAITED;
        bool busy = seen != PL_CALLERS_WAITED;
        int rc = busy ? pl_park(&pool->callers, seen, wait) : 0;
        if (rc < 0 || !busy)
            return rc;
    }
}

static int join_seats(struct plait_pool *pool, const struct pl_wait *wait)
{
    for (uint32_t s = 0; s < pool->n_seats; s++) {
        struct pl_seat *seat = &pool->seat[s];
        if (!pl_load_relaxed(&seat->id))
            continue;
        int64_t left = wait->deadline - plait_now();
        int rc = plait_join(seat->worker, NULL,
                            wait->deadline == PL_NEVER ? PLAIT_FOREVER
                            : left > 0                 ? left
                                                       : 0);
        if (rc == PLAIT_ETIMEDOUT || rc == PLAIT_ECANCELED)
            return rc;
        seat->worker = (plait_worker){0, 0};
        pl_store_relaxed(&seat->id, 0u);
    }
    return 0;
}

static int check_close(plait_pool *pool)
{
    int rc = pl_self_known();
    if (rc < 0)
        return rc;
    if (pl_seat_is_mine(pool))
        return PLAIT_EDEADLK;
    return pool->owner == getpid() ? 0 : PLAIT_ECHILD;
}

/* The common way out: no call in progress, workers gone, memory free. */
static int finish(plait_pool *pool, struct pl_wait *wait)
{
    pl_pool_call(pool);
    int rc = wait_for_calls(pool, wait);
    if (rc == 0) {
        pl_pool_call(pool); /* those who fell asleep while calls were in progress */
        rc = join_seats(pool, wait);
    }
    if (rc == 0)
        destroy(pool);
    return rc;
}

int plait_pool_close(plait_pool *pool, int64_t timeout)
{
    struct pl_wait wait;
    int rc = pl_wait_begin(&wait, PL_WAIT_POOL, timeout);
    if (rc == 0 && pool)
        rc = check_close(pool);
    if (rc < 0 || !pool)
        return rc;
    uint32_t open = PL_POOL_OPEN;
    pl_cas_seq_cst(&pool->state, &open, (uint32_t)PL_POOL_CLOSING);
    return finish(pool, &wait);
}

/* Kills the worker processes; threads at work are asked to stop. Under manage, so that nobody is being
 * seated meanwhile. */
static void stop_workers(plait_pool *pool)
{
    pl_lock_acquire_certainly(&pool->manage, PL_WAIT_LOCK);
    for (uint32_t s = 0; s < pool->n_seats; s++) {
        struct pl_seat *seat = &pool->seat[s];
        if (!pl_load_relaxed(&seat->id))
            continue;
        if (pool->kind == PLAIT_PROCESS)
            plait_kill(seat->worker);
        else if (pl_load_seq_cst(&seat->running))
            plait_cancel(seat->worker);
    }
    plait_lock_release(&pool->manage);
}

/* Wakes the callers, who see that the pool is ending. */
static void wake_callers(plait_pool *pool)
{
    for (int j = 0; j < PL_POOL_JOBS; j++) {
        struct pl_job *job = pl_load_acquire(&pool->jobs[j]);
        if (!job)
            continue;
        pl_store_seq_cst(&job->stop, 1u);
        pl_fetch_add_acq_rel(&job->done, PL_DONE_LEFT);
        pl_unpark(&job->done, 1);
    }
}

int plait_pool_terminate(plait_pool *pool, int64_t timeout)
{
    struct pl_wait wait;
    int rc = pl_wait_begin(&wait, PL_WAIT_POOL, timeout);
    if (rc == 0 && pool)
        rc = check_close(pool);
    if (rc < 0 || !pool)
        return rc;
    pl_store_seq_cst(&pool->state, (uint32_t)PL_POOL_ENDING);
    wake_callers(pool);
    stop_workers(pool);
    return finish(pool, &wait);
}

int plait_pool_workers(plait_pool *pool)
{
    if (!pool)
        return PLAIT_EINVAL;
    if (pool->owner != getpid())
        return PLAIT_ECHILD;
    int alive = 0;
    for (uint32_t s = 0; s < pool->n_seats; s++) {
        uint32_t id = pl_load_relaxed(&pool->seat[s].id);
        alive += id && !pl_is_dead(id);
    }
    return alive;
}
