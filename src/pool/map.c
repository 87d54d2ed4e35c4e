/* The caller's side of plait_map: open a job, wait for it, close it.
 *
 * While it waits, the caller is the pool's reconciler: it watches the hearts of all workers, so a
 * death wakes it, and it repairs and goes on waiting. */
#include "base/clock.h"
#include "pool/pool_internal.h"
#include "sync/lock_word.h"

#include <plait/arena.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

enum {
    WINDOW = 16 << 20,                  /* bytes of private arrays copied at a time */
    PROGRESS_EVERY = 100 * 1000 * 1000, /* ns */
};

/* One call, from validation to return; on the caller's stack. */
struct call {
    struct plait_pool *pool;
    const plait_map_call *what;
    struct pl_job *job;
    uint64_t base;  /* items of earlier windows */
    uint64_t shown; /* progress shown last */
    struct pl_wait wait;
    plait_map_failure failure;
};

/* --- opening and closing --- */

static struct pl_job *job_at(struct plait_pool *pool, int j)
{
    struct pl_job *job = pl_load_acquire(&pool->jobs[j]), *none = NULL;
    if (job)
        return job;
    job = plait_alloc(sizeof *job);
    if (!job || pl_cas_acq_rel(&pool->jobs[j], &none, job))
        return job;
    plait_free(job); /* another caller was faster */
    return pl_load_acquire(&pool->jobs[j]);
}

/* A job that is ours, or NULL: all are taken (*ret_rc 0), or no memory for a further one. */
static struct pl_job *take_job(struct plait_pool *pool, int *ret_rc)
{
    for (int j = 0; j < PL_POOL_JOBS; j++) {
        struct pl_job *job = job_at(pool, j);
        if (!job) {
            *ret_rc = plait_last_error();
            return NULL;
        }
        uint32_t nobody = 0;
        if (pl_cas_acq_rel(&job->owner, &nobody, pl_self.id))
            return job;
    }
    *ret_rc = 0;
    return NULL;
}

/* Waits until a job is free and takes it. 0 or as pl_park. */
static int wait_for_job(struct call *call)
{
    struct plait_pool *pool = call->pool;
    for (;;) {
        uint32_t seen = pl_load_acquire(&pool->jobs_free);
        int rc = 0;
        call->job = take_job(pool, &rc);
        if (call->job)
            return 0;
        if (rc < 0)
            return rc;
        rc = pl_park(&pool->jobs_free, seen, &call->wait);
        if (rc < 0) {
            pl_unpark(&pool->jobs_free, 1); /* should the wake-up have been ours */
            return rc;
        }
    }
}

static void free_job(struct plait_pool *pool, struct pl_job *job)
{
    pl_store_release(&job->owner, 0u);
    pl_fetch_add_acq_rel(&pool->jobs_free, 1u);
    pl_unpark(&pool->jobs_free, 1);
}

/* Entries are claimed without gaps, so those in use end at the first that is not. */
static void clear_claims(struct pl_job *job)
{
    uint32_t k = 0;
    while (k < PL_POOL_CLAIMS && job->claim[k].word != 0)
        job->claim[k++] = (struct pl_claim){.word = 0};
    if (k < PL_POOL_CLAIMS)
        job->claim[k].start = 0;
}

/* Readies a job for a window of items and shows it to the workers. */
static void open_job(struct call *call, const char *in, char *out, uint64_t n)
{
    struct pl_job *job = call->job;
    const plait_map_call *what = call->what;
    clear_claims(job);
    pl_store_relaxed(&job->stop, 0u);
    pl_store_relaxed(&job->done, 0u);
    pl_store_relaxed(&job->reopened, 0u);
    pl_store_relaxed(&job->tail, 0u);
    pl_function_set(&job->fn, (plait_function *)(void (*)(void))what->fn,
                    pl_pool_needs_names(call->pool));
    job->in = in;
    job->out = out;
    job->in_size = what->in_size;
    job->out_size = what->out_size;
    job->n = n;
    job->chunk = what->chunk;
    job->workers = call->pool->n_seats;
    job->retries = call->pool->retries;
    job->retried = job->deaths = 0;
    uint64_t serial = 2 * pl_fetch_add_relaxed(&call->pool->serial, UINT64_C(1)) + 1;
    /* R:job.serial, pairs with enter in seat.c: the job is ready before it is open. */
    pl_store_seq_cst(&job->serial, serial);
    pl_pool_call(call->pool);
}

static bool is_looked_at(struct plait_pool *pool, const struct pl_job *job)
{
    for (uint32_t s = 0; s < pool->n_seats; s++)
        if (pl_load_seq_cst(&pool->seat[s].job) == job)
            return true;
    return false;
}

/* --- waiting --- */

/* Sleeps on the done word, watching the workers; repairs what died. 0: look again; negative: the
 * wait is over, or no worker is left. */
static int wait_once(struct call *call, uint32_t seen, bool certainly)
{
    uint32_t ids[PL_WATCH_MOST];
    struct pl_wait wait = call->wait;
    wait.others = ids;
    wait.n_others = pl_pool_ids(call->pool, ids, PL_WATCH_MOST);
    wait.uncancellable = certainly;
    int64_t end = certainly ? PL_NEVER : wait.deadline;
    int64_t look = call->what->progress ? plait_now() + PROGRESS_EVERY : PL_NEVER;
    wait.deadline = look < end ? look : end;
    int rc = pl_park(&call->job->done, seen, &wait);
    call->wait.nap = wait.nap;
    call->wait.nap_end = wait.nap_end;
    call->wait.naps = wait.naps;
    call->wait.began = wait.began; /* it is one wait, however often it is looked around in it */
    call->wait.slept = wait.slept;
    call->wait.told = wait.told;
    if (rc == PLAIT_ETIMEDOUT && look < end)
        rc = 0;
    int changes = pl_pool_reconcile(call->pool);
    if (changes > 0)
        pl_wait_renew(&call->wait); /* a worker that is just starting has no heart to watch yet */
    return changes < 0 && rc == 0 && !certainly ? changes : rc;
}

/* Flags the done word as waited for. False: it says something new. */
static bool will_wait(struct pl_job *job, uint32_t *seen)
{
    if (*seen & PL_DONE_WAITED)
        return true;
    if (!pl_cas_acq_rel(&job->done, seen, *seen | PL_DONE_WAITED))
        return false;
    *seen |= PL_DONE_WAITED;
    return true;
}

/* What is read while workers go on may be less than what was read before; it is not shown then. */
static void show_progress(struct call *call)
{
    const plait_map_call *what = call->what;
    if (!what->progress)
        return;
    uint64_t done = call->base + pl_job_progress(call->job, call->pool);
    done = done < what->n ? done : what->n - 1; /* all of them is for the end */
    call->shown = done > call->shown ? done : call->shown;
    what->progress(call->shown, what->n, what->progress_arg);
}

/* Waits for the last item. 0, or why not. */
static int wait_for_all(struct call *call)
{
    struct pl_job *job = call->job;
    struct pl_spin spin = {0};
    for (;;) {
        uint32_t seen = pl_load_acquire(&job->done);
        if (seen & PL_DONE_ALL) {
            pl_spin_won(&spin);
            return 0;
        }
        if (pl_load_acquire(&call->pool->state) == PL_POOL_ENDING) {
            pl_spin_end(&spin);
            return PLAIT_ECLOSED;
        }
        if (pl_spin(&spin) || !will_wait(job, &seen))
            continue;
        int64_t start = plait_now();
        int rc = wait_once(call, seen, false);
        pl_spin_slept(plait_now() - start);
        if (rc == PLAIT_ECANCELED) /* delivered: it must be returned, done or not */
            return rc;
        if (pl_job_is_complete(job))
            return 0;
        if (rc < 0)
            return rc;
        show_progress(call);
    }
}

/* Closes the job and waits until no worker looks at it; `stop`: without its items being done. */
static void close_job(struct call *call, bool stop)
{
    struct pl_job *job = call->job;
    uint64_t serial = pl_load_relaxed(&job->serial);
    pl_store_seq_cst(&job->stop, (uint32_t)stop); /* pair job.stop with run_claim */
    pl_store_seq_cst(&job->serial, serial + 1);   /* pair job.seen with enter */
    if (stop)
        pl_pool_interrupt(call->pool, serial);
    struct pl_spin spin = {0};
    for (;;) {
        uint32_t seen = pl_load_acquire(&job->done);
        if (!is_looked_at(call->pool, job)) {
            pl_spin_end(&spin);
            return;
        }
        if (!pl_spin(&spin) && will_wait(job, &seen))
            wait_once(call, seen, true);
    }
}

/* --- a window of items --- */

static void add_up(struct call *call)
{
    struct pl_job *job = call->job;
    plait_map_failure *f = &call->failure;
    uint64_t item;
    int code;
    uint64_t failed = pl_job_failures(job, &item, &code);
    f->failed += failed;
    f->retried += job->retried;
    f->deaths += job->deaths;
    if (job->deaths)
        f->blame = job->blame;
    if (f->code == 0 && failed) {
        f->item = call->base + item;
        f->code = code;
    }
}

static int run_window(struct call *call, const char *in, char *out, uint64_t n)
{
    open_job(call, in, out, n);
    int rc = wait_for_all(call);
    close_job(call, rc < 0);
    add_up(call);
    call->base += n;
    return rc;
}

/* One of the two arrays: the caller's, or a copy in the arena that workers see a window of. */
struct array {
    char *own;   /* the caller's; NULL: none */
    char *copy;  /* NULL: the own one is seen by the workers */
    size_t size; /* of an item */
};

static bool is_seen_by_workers(const struct plait_pool *pool, const void *array)
{
    return !array || pool->kind == PLAIT_THREAD || pl_arena_holds(array);
}

/* Readies an array for windows of `window` items. 0 or PLAIT_ENOMEM. */
static int prepare(struct call *call, struct array *a, const void *own, size_t size, size_t window)
{
    *a = (struct array){.own = (char *)own, .size = size};
    if (is_seen_by_workers(call->pool, own))
        return 0;
    a->copy = plait_alloc(window * size);
    return a->copy ? 0 : plait_last_error();
}

/* What workers see of the n items from i on. */
static char *show(const struct array *a, size_t i, size_t n)
{
    if (!a->copy)
        return a->own ? a->own + i * a->size : NULL;
    memcpy(a->copy, a->own + i * a->size, n * a->size);
    return a->copy;
}

static void take_back(const struct array *a, size_t i, size_t n)
{
    if (a->copy)
        memcpy(a->own + i * a->size, a->copy, n * a->size);
}

/* Items per window: all, unless something has to be copied. */
static size_t window_of(const struct call *call)
{
    const plait_map_call *what = call->what;
    size_t bytes = (is_seen_by_workers(call->pool, what->in) ? 0 : what->in_size) +
                   (is_seen_by_workers(call->pool, what->out) ? 0 : what->out_size);
    if (bytes == 0)
        return what->n;
    size_t fit = WINDOW / bytes;
    return fit < 1 ? 1 : fit < what->n ? fit : what->n;
}

static int run_windows(struct call *call)
{
    const plait_map_call *what = call->what;
    size_t window = window_of(call);
    struct array in, out = {NULL, NULL, 0};
    int rc = prepare(call, &in, what->in, what->in_size, window);
    if (rc == 0)
        rc = prepare(call, &out, what->out, what->out_size, window);
    for (size_t i = 0; i < what->n && rc == 0; i += window) {
        size_t n = what->n - i < window ? what->n - i : window;
        rc = run_window(call, show(&in, i, n), show(&out, i, n), n);
        take_back(&out, i, n);
    }
    plait_free(in.copy);
    plait_free(out.copy);
    return rc;
}

static void run_one_inline(const plait_map_call *what, size_t i, plait_map_failure *failure)
{
    const void *in = what->in ? (const char *)what->in + i * what->in_size : NULL;
    void *out = what->out ? (char *)what->out + i * what->out_size : NULL;
    int rc = what->fn(in, out);
    if (rc < 0 && failure->failed++ == 0) {
        failure->item = i;
        failure->code = rc;
    }
}

/* A worker that calls its own pool runs the items itself: waiting for others could wait for ever. */
static int run_inline(struct call *call)
{
    for (size_t i = 0; i < call->what->n; i++) {
        int rc = pl_cancel_take();
        if (rc == 0 && pl_passed(call->wait.deadline))
            rc = PLAIT_ETIMEDOUT;
        if (rc < 0)
            return rc;
        run_one_inline(call->what, i, &call->failure);
    }
    if (call->what->progress)
        call->what->progress(call->what->n, call->what->n, call->what->progress_arg);
    return call->failure.code;
}

/* --- the call --- */

static int check_array(const void *array, size_t size, size_t n)
{
    size_t bytes;
    if (!array)
        return 0;
    if (size == 0)
        return PLAIT_EINVAL;
    return __builtin_mul_overflow(size, n, &bytes) ? PLAIT_EOVERFLOW : 0;
}

static int check(const struct plait_pool *pool, const plait_map_call *what)
{
    if (!pool || !what || !what->fn)
        return PLAIT_EINVAL;
    if (what->n >= UINT64_C(1) << 36) /* the failure word has 36 bits for an index */
        return PLAIT_EOVERFLOW;
    int rc = check_array(what->in, what->in_size, what->n);
    return rc < 0 ? rc : check_array(what->out, what->out_size, what->n);
}

static int run_with_job(struct call *call)
{
    int rc = wait_for_job(call);
    if (rc < 0)
        return rc;
    rc = pl_pool_reconcile(call->pool);
    if (rc >= 0)
        rc = run_windows(call);
    if (rc == 0 && call->what->progress)
        call->what->progress(call->what->n, call->what->n, call->what->progress_arg);
    free_job(call->pool, call->job);
    return rc < 0 ? rc : call->failure.code;
}

/* Whoever closes the pool says so and then waits for the callers to be 0; a caller counts itself and
 * then looks whether the pool is open (pair pool.callers). After it has counted itself out, it does
 * not touch the pool again but for waking an address. */
static int run(struct call *call)
{
    struct plait_pool *pool = call->pool;
    pl_fetch_add_seq_cst(&pool->callers, 1u);
    int rc = pl_load_seq_cst(&pool->state) == PL_POOL_OPEN ? run_with_job(call) : PLAIT_ECLOSED;
    uint32_t *callers = &pool->callers;
    if (pl_fetch_add_seq_cst(callers, UINT32_MAX) == (PL_CALLERS_WAITED | 1))
        pl_unpark(callers, INT_MAX);
    return rc;
}

int plait_map_items(plait_pool *pool, const plait_map_call *what, int64_t timeout)
{
    struct call call = {.pool = pool, .what = what};
    int rc = check(pool, what);
    if (rc == 0)
        rc = pl_wait_begin(&call.wait, PL_WAIT_ITEMS, timeout);
    if (rc == 0)
        rc = pl_self_known();
    if (rc < 0)
        return rc;
    if (what->n > 0 && pl_seat_is_mine(pool))
        rc = run_inline(&call);
    else if (pool->owner != getpid())
        rc = PLAIT_ECHILD;
    else if (what->n > 0)
        rc = run(&call);
    if (what->failure)
        *what->failure = call.failure;
    return rc;
}
