/* Waiting for several workers, of any kind, at once.
 *
 *     plait_worker w[3];
 *     plait_blame end[3];
 *     for (int i = 0; i < 3; i++)
 *         plait_start(&w[i], PLAIT_PROCESS, fetch, urls[i], NULL);
 *     int rc = plait_gather(w, 3, end, NULL, PLAIT_FOREVER);    // 0: end[i].status is what each returned
 *
 * Four ways to wait, and what each does to those waited for:
 *   plait_join       one; never ends it, even if the joiner is cancelled: what asyncio calls shield()
 *   plait_wait_for   one; cancels it if it takes too long
 *   plait_wait       for the first, the first failure, or all; joins and cancels nobody
 *   plait_gather     for all; joins them; cancels them if the caller is asked to stop
 *
 * To fail, here: to return a negative value, or to be killed or to exit. Workers that wait for each other this way are
 * not told of deadlocks, unlike plait_join's.
 * A worker that has been joined or detached meanwhile counts as ended. Tasks of other processes cannot be waited for
 * (PLAIT_ENOTSUP).
 * Python's counterpart: asyncio.gather, wait, as_completed, wait_for, shield; concurrent.futures.wait. */
#ifndef PLAIT_GATHER_H
#define PLAIT_GATHER_H

#include <plait/worker.h>

PLAIT_BEGIN_DECLS

/* All zero is the default. */
typedef struct plait_gather_options {
    bool return_exceptions; /* wait for all, whoever fails; failures are told in `blames` only */
    int *failed; /* set to the index of the worker whose failure is returned; NULL: not wanted */
} plait_gather_options;

/* Waits until all have returned, and joins them. The first failure is returned at once: then nobody is joined, and the
 * others go on. If the caller is asked to stop, all are cancelled, waited for and joined.
 * Requires: n workers, of which one may come several times, nobody ({0, 0}) not at all; blames: room for n, or NULL.
 * Returns: 0, with blames filled; the status of the first that failed, PLAIT_ECANCELED as a status included, or PLAIT_EDIED if it was
 *   killed or called exit; PLAIT_ECANCELED (the caller is asked to stop; blames filled); PLAIT_ETIMEDOUT (nobody was
 *   cancelled or joined); PLAIT_EDEADLK (the caller is one of them), PLAIT_ESTALE (one had been joined before),
 *   PLAIT_EINVAL, PLAIT_EOVERFLOW, PLAIT_ENOMEM, and as registering may fail: PLAIT_EARENA, PLAIT_EWORKERS.
 * Blocks: yes, cancellable. Who: any worker; not signal handlers. Python: asyncio.gather(*aws, return_exceptions). */
PLAIT_API int plait_gather(const plait_worker *workers, int n, plait_blame *blames,
                           const plait_gather_options *options, int64_t timeout);

enum plait_when {
    PLAIT_ALL_COMPLETED = 0,
    PLAIT_FIRST_COMPLETED = 1,
    PLAIT_FIRST_EXCEPTION =
        2, /* the first that fails, otherwise than by PLAIT_ECANCELED; else all */
};

/* Waits until so many have ended as `when` says, or for `timeout`, which is no error. Nobody is joined or cancelled.
 * Requires: n > 0 workers; done: room for n, or NULL.
 * Returns: how many have ended, with done[i] set for each and cleared for the others; PLAIT_ECANCELED, PLAIT_EDEADLK (the caller
 *   is one of them), PLAIT_EINVAL (n < 1, nobody among them), PLAIT_EOVERFLOW, and as registering may fail.
 * Blocks: yes, cancellable. Who: any worker; not signal handlers. Python: asyncio.wait(fs, timeout, return_when),
 *   concurrent.futures.wait. */
PLAIT_API int plait_wait(const plait_worker *workers, int n, bool *done, enum plait_when when,
                         int64_t timeout);

/* Workers in the order in which they end:
 *
 *     bool told[3] = {false};
 *     plait_as_completed order = {w, 3, told};
 *     for (int i; plait_as_completed_next(&order, &i, PLAIT_FOREVER) > 0;)
 *         plait_join(w[i], &end, PLAIT_FOREVER);               // at once
 *
 * Filled in by the caller; `told` says who has been told of. */
typedef struct plait_as_completed {
    const plait_worker *workers;
    int n;
    bool *told;
} plait_as_completed;

/* The next that has ended and was not told of: of several the one that ended first. Joins nobody.
 * Returns: 1 with *ret, its index; 0: all were told of; PLAIT_ETIMEDOUT, PLAIT_ECANCELED, PLAIT_EDEADLK, PLAIT_EINVAL,
 *   PLAIT_EOVERFLOW, and as registering may fail.
 * Blocks: yes, cancellable. Who: any worker; not signal handlers. Python: asyncio.as_completed. */
PLAIT_API int plait_as_completed_next(plait_as_completed *order, int *ret, int64_t timeout);

/* Joins a worker that has so much time. If it takes longer, or the caller is asked to stop, it is cancelled and waited
 * for until it has really ended, however long it takes. If it then returned something else than PLAIT_ECANCELED, that counts.
 * PLAIT_NOWAIT: the result if it has ended, else it is cancelled.
 * Returns: as plait_join, 0 or PLAIT_DIED with *ret; PLAIT_ETIMEDOUT (it was cancelled in time's name and has ended;
 *   *ret filled); PLAIT_ECANCELED (the caller is asked to stop; it was cancelled and has ended; *ret filled); PLAIT_EDEADLK,
 *   PLAIT_ESTALE, PLAIT_EINVAL, PLAIT_EOVERFLOW.
 * Blocks: yes; cancellable until it cancels. Who: any worker; not signal handlers. Python: asyncio.wait_for. */
PLAIT_API int plait_wait_for(plait_worker worker, plait_blame *ret, int64_t timeout);

PLAIT_END_DECLS
#endif
