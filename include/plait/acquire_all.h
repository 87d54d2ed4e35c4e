/* plait_acquire_all: several locks at once, all or none, without deadlock and without livelock.
 *
 *     struct account { plait_lock lock; long cents; };
 *
 *     static int transfer(struct account *from, struct account *to, long cents)
 *     {
 *         plait_lock *both[] = {&from->lock, &to->lock};      // in any order
 *         int rc = plait_acquire_all(both, 2, plait_ms(100));
 *         if (rc < 0)
 *             return rc;                                      // none is held
 *         from->cents -= cents;
 *         to->cents += cents;
 *         return plait_release_all(both, 2);
 *     }
 *
 * Naive: one takes them in the order at hand. Two who come in opposite orders wait for each other for
 * ever; and if each politely gives back what it has and begins anew, they may do so for ever in step.
 * Here everybody takes them in one order, that of their addresses, which is the same in all workers
 * (see src/sync/acquire_all.c), and waits where it must: some worker always goes on.
 *
 * There is no object: any plait_locks will do, also while others take them one at a time by
 * plait_lock_acquire. Those in the arena and private ones may be mixed. Locks already held are
 * kept while a later one is waited for, so take all that you need in one call.
 *
 * Limits: no promise for a caller that holds another lock already, one of these included: it may wait
 * for a worker that waits for it. Any number of locks, no memory is allocated; finding their order costs n * n
 * comparisons, which does not show up to some hundred.
 *
 * Death: as for each lock. A holder's death is told once to whoever takes over: if this call fails
 * after it has taken over a lock, that lock's next holder is told as this one would have been.
 * Python's counterpart: none; in C++ std::lock and std::scoped_lock. */
#ifndef PLAIT_ACQUIRE_ALL_H
#define PLAIT_ACQUIRE_ALL_H

#include <plait/clock.h>
#include <plait/error.h>
#include <plait/lock.h>

PLAIT_BEGIN_DECLS

/* Takes all n locks, waiting until it has them; the timeout is for the whole.
 * Requires: n pointers to different locks, in any order; the array is read only.
 * Returns: 0 (all held), PLAIT_OWNER_DIED (all held; the last holder of one or more died:
 *   plait_lock_blame of each says who, and PLAIT_ESRCH of those that are whole), PLAIT_ETIMEDOUT,
 *   PLAIT_ECANCELED, PLAIT_EINVAL (NULL, n < 1, the same lock twice, timeout below -1), and the other
 *   errors of plait_lock_acquire. Negative: none is held, whatever was taken is released.
 * Blocks: yes, cancellable. Who: threads, processes, tasks; not signal handlers; after fork, yes.
 * Ordering: what earlier holders of each wrote is visible. Python: none. */
PLAIT_API int plait_acquire_all(plait_lock *const *locks, int n, int64_t timeout);

/* Lets all n locks go and wakes a waiter of each, in whatever order they are given.
 * Requires: different locks, all held.
 * Returns: 0; PLAIT_EPERM (one of them is free), PLAIT_EINVAL (NULL, n < 1, the same lock twice): nothing is
 *   changed then.
 * Blocks: no. Who: threads, processes, tasks; not signal handlers; after fork, yes.
 * Ordering: what was written before is visible to the next holders. Python: none. */
PLAIT_API int plait_release_all(plait_lock *const *locks, int n);

PLAIT_END_DECLS
#endif
