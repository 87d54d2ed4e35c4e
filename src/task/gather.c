/* Waiting for several workers at once.
 *
 * A sleeper can watch the deaths of PL_WATCH_MOST workers besides its word (park.h), and an orderly end stops a heart as
 * a death does. Tasks have no hearts; those of this process, once marked, count their ends in one word. So one look at all, then one
 * sleep on that word, with those that run watched. An end between the look and the sleep is seen by the sleep, which looks at each
 * heart once more, and at the word. What cannot be watched - those
 * past the limit, a process that is being born or just going - is looked at again soon.
 *
 * Nobody is joined while there is more to wait for: who fails to get all leaves everything as it was. */
#include <plait/gather.h>
#include <plait/scope.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "park/park.h"
#include "task/task_internal.h"
#include "worker/tasks.h"

#include <stdlib.h>

enum {
    WATCHED = 96,        /* of PL_WATCH_MOST; the rest is left for a death anywhere */
    WATCHED_BY_TASK = 6, /* a task's parker arms few */
    SOON = 1000 * 1000,
    ROUND = 5 * 1000 * 1000, /* between looks at more than can be watched */
};

static bool has_ended(plait_worker worker)
{
    int state = plait_state(worker);
    return state == PLAIT_STATE_ENDED || state == PLAIT_ESTALE;
}

/* How one that has ended did: 0, PLAIT_ESTALE. One that died before it was registered has left nothing to read. */
static int ending_of(plait_worker worker, plait_blame *ret)
{
    int rc = plait_exit_status(worker, ret);
    if (rc == PLAIT_EBUSY)
        *ret = (plait_blame){.worker = worker, .status = -1, .ended = plait_now()};
    return rc == PLAIT_EBUSY ? 0 : rc;
}

/* A task of another process tells nobody here of its end; a thread does not end before its tasks. */
static int check_one(plait_worker worker)
{
    struct pl_task *task = pl_task_hold(worker);
    if (task) {
        pl_task_drop(task, 0);
        return task == pl_self.task ? PLAIT_EDEADLK : 0;
    }
    if (pl_is_task(worker))
        return plait_state(worker) == PLAIT_ESTALE ? 0 : PLAIT_ENOTSUP;
    return plait_same(worker, pl_worker_of(pl_self.thread)) ? PLAIT_EDEADLK : 0;
}

static int check(const plait_worker *workers, int n)
{
    if (n < 0 || (n > 0 && !workers))
        return PLAIT_EINVAL;
    for (int i = 0; i < n; i++)
        if (workers[i].slot == 0)
            return PLAIT_EINVAL;
    int rc = pl_self_known();
    if (rc < 0)
        return rc;
    for (int i = 0; i < n && rc == 0; i++)
        rc = check_one(workers[i]);
    return rc;
}

/* Some workers, and which of them are not waited for any more. */
struct crowd {
    const plait_worker *workers;
    int n;
    bool *over;
};

/* Whom to watch; sets `wait`'s next look where that is not enough. False: one has ended. */
static bool list_running(const struct crowd *c, uint32_t *ids, struct pl_wait *wait)
{
    int64_t look = PL_NEVER;
    wait->n_others = 0;
    for (int i = 0; i < c->n; i++) {
        if (c->over && c->over[i])
            continue;
        bool is_task = pl_is_task(c->workers[i]);
        if (is_task ? pl_task_watch(c->workers[i]) : has_ended(c->workers[i]))
            return false;
        if (is_task)
            continue;
        struct pl_slot *slot = pl_slot_find(c->workers[i]);
        if (wait->n_others == (pl_self.task ? WATCHED_BY_TASK : WATCHED))
            look = look < ROUND ? look : ROUND;
        else if (slot && pl_life_of(pl_load_acquire(&slot->life)) == PL_RUNNING &&
                 !pl_heart_is_stopped(slot))
            ids[wait->n_others++] = pl_slot_id(slot);
        else
            look = SOON;
    }
    if (look != PL_NEVER)
        wait->nap_end = plait_now() + look;
    return true;
}

/* Sleeps until one of them has ended. 0, or as pl_park. */
static int await_one(const struct crowd *c, struct pl_wait *wait)
{
    uint32_t ids[WATCHED], ends = pl_load_seq_cst(&pl_task_ends);
    wait->others = ids;
    while (list_running(c, ids, wait)) {
        int rc = pl_park(&pl_task_ends, ends, wait);
        if (rc < 0)
            return rc;
        ends = pl_load_seq_cst(&pl_task_ends);
    }
    return 0;
}

/* --- plait_wait --- */

static bool has_failed(plait_worker worker)
{
    plait_blame blame;
    int rc = ending_of(worker, &blame);
    return rc >= 0 && (!blame.returned || (blame.status < 0 && blame.status != PLAIT_ECANCELED));
}

/* Who has ended by now; whether that is enough. */
static bool count_ended(const struct crowd *c, enum plait_when when, int *ret_n)
{
    int n = 0;
    bool failure = false;
    for (int i = 0; i < c->n; i++) {
        if (!c->over[i] && has_ended(c->workers[i])) {
            c->over[i] = true;
            failure |= when == PLAIT_FIRST_EXCEPTION && has_failed(c->workers[i]);
        }
        n += c->over[i];
    }
    *ret_n = n;
    return n == c->n || failure || (when == PLAIT_FIRST_COMPLETED && n > 0);
}

static int wait_for_enough(const struct crowd *c, enum plait_when when, struct pl_wait *wait)
{
    int n;
    while (!count_ended(c, when, &n)) {
        int rc = await_one(c, wait);
        if (rc == PLAIT_ETIMEDOUT) {
            count_ended(c, when, &n);
            return n;
        }
        if (rc < 0)
            return rc;
    }
    return n;
}

int plait_wait(const plait_worker *workers, int n, bool *done, enum plait_when when,
               int64_t timeout)
{
    struct pl_wait wait;
    bool few[64] = {false};
    if (n < 1 || when < PLAIT_ALL_COMPLETED || when > PLAIT_FIRST_EXCEPTION)
        return PLAIT_EINVAL;
    int rc = pl_wait_begin(&wait, PL_WAIT_WORKERS, timeout);
    if (rc == 0)
        rc = check(workers, n);
    if (rc < 0)
        return rc;
    bool *own = done || n <= 64 ? NULL : calloc((size_t)n, sizeof *own);
    if (!done && n > 64 && !own)
        return PLAIT_ENOMEM;
    struct crowd c = {workers, n, done ? done : own ? own : few};
    for (int i = 0; i < n; i++)
        c.over[i] = false;
    rc = wait_for_enough(&c, when, &wait);
    free(own);
    return rc;
}

/* --- plait_as_completed --- */

static int64_t ended_at(plait_worker worker)
{
    plait_blame blame;
    return ending_of(worker, &blame) >= 0 ? blame.ended : INT64_MIN;
}

/* The one not told of that ended first; -1: none has ended. `left`: how many are not told of. */
static int first_ended(const plait_as_completed *order, int *left)
{
    int first = -1;
    int64_t at = 0;
    *left = 0;
    for (int i = 0; i < order->n; i++) {
        if (order->told[i])
            continue;
        ++*left;
        if (!has_ended(order->workers[i]))
            continue;
        int64_t its = ended_at(order->workers[i]);
        if (first < 0 || its < at) {
            first = i;
            at = its;
        }
    }
    return first;
}

int plait_as_completed_next(plait_as_completed *order, int *ret, int64_t timeout)
{
    struct pl_wait wait;
    int left, first = -1;
    if (!order || !ret || (order->n > 0 && !order->told))
        return PLAIT_EINVAL;
    int rc = pl_wait_begin(&wait, PL_WAIT_WORKERS, timeout);
    if (rc == 0)
        rc = check(order->workers, order->n);
    while (rc == 0 && (first = first_ended(order, &left)) < 0) {
        if (left == 0)
            return 0;
        struct crowd c = {order->workers, order->n, order->told};
        rc = await_one(&c, &wait);
    }
    if (rc < 0)
        return rc;
    order->told[first] = true;
    *ret = first;
    return 1;
}

/* --- plait_gather --- */

/* The failure of one that has ended, as plait_gather returns it; 0: none. */
static int failure_of(plait_worker worker)
{
    plait_blame blame;
    int rc = ending_of(worker, &blame);
    if (rc < 0)
        return rc;
    return !blame.returned ? PLAIT_EDIED : blame.status < 0 ? blame.status : 0;
}

static int join_all(const plait_worker *workers, int n, plait_blame *blames)
{
    int stale = 0;
    for (int i = 0; i < n; i++) {
        plait_blame blame = {.worker = workers[i]};
        int same = 0;
        while (!plait_same(workers[same], workers[i]))
            same++;
        if (same < i) {
            if (blames)
                blames[i] = blames[same];
            continue;
        }
        int rc;
        do
            rc = plait_join(workers[i], &blame, PLAIT_FOREVER);
        while (rc < 0 && rc != PLAIT_ESTALE);
        if (rc < 0)
            stale = rc;
        if (blames)
            blames[i] = blame;
    }
    return stale;
}

/* Joins all, whatever is asked of the caller meanwhile. */
static int join_all_shielded(const plait_worker *workers, int n, plait_blame *blames)
{
    plait_scope shield;
    plait_scope_begin_shield(&shield);
    int rc = join_all(workers, n, blames);
    plait_scope_end(&shield);
    return rc;
}

static void cancel_all(const plait_worker *workers, int n)
{
    for (int i = 0; i < n; i++) {
        int same = 0;
        while (!plait_same(workers[same], workers[i]))
            same++;
        if (same == i)
            plait_cancel(workers[i]);
    }
}

/* Waits for all; the first failure ends it, unless failures do not count. */
static int await_all(plait_as_completed *order, bool failures_count, int *failed,
                     struct pl_wait *wait)
{
    int left, first;
    for (;;) {
        while ((first = first_ended(order, &left)) >= 0) {
            order->told[first] = true;
            int rc = failures_count ? failure_of(order->workers[first]) : 0;
            if (rc < 0) {
                *failed = first;
                return rc;
            }
        }
        if (left == 0)
            return 0;
        struct crowd c = {order->workers, order->n, order->told};
        int rc = await_one(&c, wait);
        if (rc < 0)
            return rc;
    }
}

static int gather(const plait_worker *workers, int n, plait_blame *blames,
                  const plait_gather_options *o, struct pl_wait *wait)
{
    bool few[64] = {false}, *told = n <= 64 ? few : calloc((size_t)n, sizeof *told);
    if (!told)
        return PLAIT_ENOMEM;
    plait_as_completed order = {workers, n, told};
    int failed = -1, rc = await_all(&order, !o->return_exceptions, &failed, wait);
    if (told != few)
        free(told);
    if (failed >= 0 && o->failed)
        *o->failed = failed;
    if (rc == PLAIT_ECANCELED && failed < 0) {
        cancel_all(workers, n);
        join_all_shielded(workers, n, blames);
    }
    return rc == 0 ? join_all_shielded(workers, n, blames) : rc;
}

int plait_gather(const plait_worker *workers, int n, plait_blame *blames,
                 const plait_gather_options *options, int64_t timeout)
{
    static const plait_gather_options defaults;
    struct pl_wait wait;
    int rc = pl_wait_begin(&wait, PL_WAIT_WORKERS, timeout);
    if (rc == 0)
        rc = check(workers, n);
    return rc < 0 ? rc : gather(workers, n, blames, options ? options : &defaults, &wait);
}

/* --- plait_wait_for --- */

int plait_wait_for(plait_worker worker, plait_blame *ret, int64_t timeout)
{
    plait_blame blame = {.worker = worker};
    int why = plait_join(worker, &blame, timeout);
    int rc = why;
    if (why == PLAIT_ETIMEDOUT || why == PLAIT_ECANCELED) {
        plait_cancel(worker);
        rc = join_all_shielded(&worker, 1, &blame);
        if (rc < 0)
            return rc;
        bool obeyed = blame.returned && blame.status == PLAIT_ECANCELED;
        rc = why == PLAIT_ECANCELED || obeyed ? why : blame.returned ? 0 : PLAIT_DIED;
    }
    if (ret && (rc >= 0 || rc == why) && blame.kind)
        *ret = blame;
    return rc;
}
