/* plait_condition: wait, under a lock, until others say that something has changed.
 *
 * For threads and processes at once, wherever it lies (see lock.h). All bytes zero is a condition
 * with a lock of its own; plait_condition_init binds it to a lock that is shared with others,
 * plait_condition_init_rlock to an rlock.
 * Nothing to destroy.
 *
 *     struct box { plait_condition changed; int items; };      // zeroed, in the arena or not
 *
 *     PLAIT_WITH(&b->changed) {                                // producer: takes its lock
 *         b->items++;
 *         plait_condition_notify(&b->changed, 1);
 *     }
 *
 *     PLAIT_WITH(&b->changed) {                                // consumer
 *         while (b->items == 0)
 *             plait_condition_wait(&b->changed, PLAIT_FOREVER);
 *         b->items--;
 *     }
 *
 * notify(n) wakes at most n of those waiting at that moment, in order of arrival; with nobody
 * waiting it is not remembered. A notification that meets a timeout or a cancellation counts: the
 * wait returns 0. One whose receiver is killed before its wait returns goes to another waiter. Still
 * wait in a loop: between the notification and the lock another worker may have been faster.
 *
 * Its memory may be given back when nobody uses it any more; a waiter that was killed uses it until it
 * has been joined or plait_is_alive has said 0.
 *
 * Unlike Python with a plain Lock, wait and notify demand that the caller itself acquired the lock,
 * not just that somebody did.
 * Python's counterpart: threading.Condition, multiprocessing.Condition. */
#ifndef PLAIT_CONDITION_H
#define PLAIT_CONDITION_H

#include <plait/lock.h>
#include <plait/rlock.h>
#include <stdbool.h>

PLAIT_BEGIN_DECLS

typedef struct plait_condition {
    plait_lock own_;     /* the lock, unless lock_ says another */
    plait_lock *lock_;   /* constant after init; NULL: own_ */
    plait_rlock *rlock_; /* constant after init; NULL: a plain lock */
    uint32_t debt_[2];   /* what deaths left to do; see src/registry/registry.h */
    uint32_t first_;     /* queue of waiters, by worker slot; under the lock, like all below */
    uint32_t last_;
    uint32_t busy_;    /* id of the worker that is changing the queue */
    int32_t pid_;      /* process whose queue this is, while in private memory */
    uint64_t tickets_; /* given out so far */
} plait_condition;

/* Makes a condition without waiters, on `lock`, or on a lock of its own if NULL. Zeroed memory needs
 * no init. Requires: nobody uses it; a lock that lives as long, in the arena if the condition is.
 * Returns: 0, PLAIT_EINVAL (NULL), PLAIT_EPRIVATE (condition in the arena, lock not).
 * Never blocks. Python: Condition(lock). */
PLAIT_API int plait_condition_init(plait_condition *condition, plait_lock *lock);

/* The same on an rlock: wait lets go of all levels at which the caller holds it, and restores them.
 * Returns: as plait_condition_init; PLAIT_EINVAL also for a NULL rlock. Never blocks. Python: Condition(). */
PLAIT_API int plait_condition_init_rlock(plait_condition *condition, plait_rlock *rlock);

/* Take and let go its lock, of whichever kind; PLAIT_WITH(&condition) does both. As plait_lock_acquire,
 * plait_rlock_acquire and their releases. Python: Condition.acquire(), release(). */
PLAIT_API int plait_condition_acquire(plait_condition *condition, int64_t timeout);
PLAIT_API int plait_condition_release(plait_condition *condition);

/* Its plain lock; NULL for NULL, and if it is on an rlock. */
PLAIT_API plait_lock *plait_condition_lock(plait_condition *condition);

/* Releases the lock, sleeps until notified, takes the lock again. The lock is held on return
 * whatever is returned; taking it back knows neither timeout nor cancellation.
 * Requires: the caller holds the lock.
 * Returns: 0 (notified), PLAIT_OWNER_DIED (notified or not: the lock's last holder died with it, so
 *   look at the data; with one of the errors below, plait_lock_blame tells of it),
 *   PLAIT_ETIMEDOUT, PLAIT_ECANCELED, PLAIT_EPERM (lock not held by the caller: nothing happened),
 *   PLAIT_EINVAL (NULL, timeout below -1), PLAIT_EOVERFLOW; PLAIT_EPRIVATE (in shared memory that is
 *   not the arena's, as far as detected; the lock may then not be held).
 * Blocks: yes, cancellable. Who: threads, processes, tasks; not signal handlers; after fork, yes.
 * Python: wait(timeout). */
PLAIT_API int plait_condition_wait(plait_condition *condition, int64_t timeout);

/* Waits until predicate(arg) is true; it is called with the lock held, at once and after each
 * notification, and once more when the time is over. `timeout` is for the whole.
 * Returns: 0 (it is true), else as plait_condition_wait. Python: wait_for(predicate, timeout). */
PLAIT_API int plait_condition_wait_for(plait_condition *condition, bool (*predicate)(void *),
                                       void *arg, int64_t timeout);

/* Wakes up to n waiters; n < 1 wakes none. Does not release the lock.
 * Requires: the caller holds the lock.
 * Returns: how many were woken, PLAIT_EPERM (lock not held by the caller), PLAIT_EINVAL (NULL),
 *   PLAIT_EPRIVATE (as wait).
 * Blocks: no. Who: threads, processes, tasks; not signal handlers; after fork, yes. Python: notify(n). */
PLAIT_API int plait_condition_notify(plait_condition *condition, int n);
PLAIT_API int plait_condition_notify_all(plait_condition *condition);

PLAIT_END_DECLS
#endif
