/* plait_semaphore: a number of permits to take and give back.
 *
 * For threads and processes at once: in ordinary memory for this process, in the arena for the family
 * (see lock.h; shared memory of your own will not do, and that is not detected here). All bytes zero is a semaphore
 * of value 0 without an upper bound. Nothing to destroy.
 *
 *     static plait_semaphore slots;
 *     plait_semaphore_init(&slots, 3, 3);          // three permits, never more: bounded
 *
 *     PLAIT_WITH(&slots)                           // at most three at once in here
 *         use_connection();
 *
 *     if (plait_semaphore_release(&slots, 1) == PLAIT_EOVERFLOW)
 *         complain("released more often than acquired");
 *
 * Permits have no owner, anyone may release: a worker that dies with a permit takes it along, as in
 * Python. One that dies waiting, or in the middle of acquire or release, leaves the value as if the
 * call had happened wholly or not at all, and a wake-up it was given is passed on.
 * Python's counterpart: threading.Semaphore, BoundedSemaphore, and multiprocessing's. */
#ifndef PLAIT_SEMAPHORE_H
#define PLAIT_SEMAPHORE_H

#include <plait/clock.h>
#include <plait/error.h>

PLAIT_BEGIN_DECLS

#define PLAIT_SEMAPHORE_MAX INT32_MAX

typedef struct plait_semaphore {
    uint32_t word_;  /* value and waiters flag; see src/sync/semaphore.c */
    uint32_t bound_; /* highest value allowed; 0: PLAIT_SEMAPHORE_MAX */
} plait_semaphore;

/* Sets the value and the bound (0: none). Requires: nobody uses it.
 * Returns: 0, PLAIT_EINVAL (NULL, negative, or value above the bound). Never blocks. */
PLAIT_API int plait_semaphore_init(plait_semaphore *semaphore, int value, int bound);

/* Takes one permit, waiting until there is one.
 * Returns: 0, PLAIT_ETIMEDOUT, PLAIT_ECANCELED, PLAIT_EINVAL (NULL, timeout below -1),
 *   PLAIT_EOVERFLOW (timeout too large), and as registering may fail: PLAIT_EARENA, PLAIT_ENOMEM,
 *   PLAIT_EWORKERS. Negative: nothing was taken.
 * Blocks: yes, cancellable. Who: threads, processes, tasks; not signal handlers; after fork, yes.
 * Ordering: what the releaser wrote before is visible. Python: acquire(). */
PLAIT_API int plait_semaphore_acquire(plait_semaphore *semaphore, int64_t timeout);

/* Gives n permits back and wakes up to n waiters.
 * Returns: 0; PLAIT_EOVERFLOW (past the bound: nothing is changed), PLAIT_EINVAL (NULL, n < 1).
 * Blocks: no. Who: threads, processes, tasks; not signal handlers; after fork, yes. Python: release(n). */
PLAIT_API int plait_semaphore_release(plait_semaphore *semaphore, int n);

/* Permits free just now, 0 for NULL; true of a moment past. Never blocks. Python: get_value(). */
PLAIT_API int plait_semaphore_value(const plait_semaphore *semaphore);

PLAIT_END_DECLS
#endif
