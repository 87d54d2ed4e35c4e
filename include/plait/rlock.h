/* plait_rlock: a lock that its holder may take again.
 *
 * For threads and processes at once: in ordinary memory it serves this process, in the arena every
 * process of the family (see lock.h). All bytes zero is a free rlock. Nothing to destroy.
 *
 *     struct tree { plait_rlock lock; struct node *root; };
 *
 *     int insert(struct tree *t, int key)
 *     {
 *         PLAIT_WITH(&t->lock)                    // also when called by one who holds it
 *             return t->root ? insert_below(t, key) : plant(t, key);
 *         return PLAIT_ECANCELED;
 *     }
 *
 * It is owned: only the worker that acquired it may release it, as often as it acquired it. So a ring of
 * workers that wait for each other's rlocks is certainly a deadlock, and one of them gets
 * PLAIT_EDEADLK (see deadlock.h).
 *
 * Death: the next holder gets PLAIT_OWNER_DIED, holding it once, however often the dead one did. A private
 * rlock that a fork copied while held is treated likewise in the child, also if it was the forking thread
 * that held it: the child is another worker.
 * Python's counterpart: threading.RLock, multiprocessing.RLock. */
#ifndef PLAIT_RLOCK_H
#define PLAIT_RLOCK_H

#include <plait/lock.h>

PLAIT_BEGIN_DECLS

typedef struct plait_rlock {
    plait_lock lock_;
    uint32_t depth_; /* how often its holder has it; written by the holder only */
} plait_rlock;

/* Makes an rlock free, whatever its bytes were. Zeroed memory needs no init; NULL options are the
 * default. Requires: nobody uses it. Returns: 0, PLAIT_EINVAL (NULL). Never blocks. Python: RLock(). */
PLAIT_API int plait_rlock_init(plait_rlock *rlock, const plait_lock_options *options);

/* Takes the rlock, waiting until it is free or the caller's own.
 * Requires: memory that stays valid while anyone waits.
 * Returns: 0 (held), PLAIT_OWNER_DIED (held; its last holder died), PLAIT_EDEADLK (its holder waits for
 *   the caller; see deadlock.h), PLAIT_ETIMEDOUT, PLAIT_ECANCELED, PLAIT_EINVAL (NULL, timeout below
 *   -1), PLAIT_EOVERFLOW (timeout too large; taken 2^32 - 1 times already), PLAIT_EPRIVATE (as
 *   plait_lock_acquire), and as registering may fail: PLAIT_EARENA, PLAIT_ENOMEM, PLAIT_EWORKERS.
 *   Negative: nothing has changed.
 * Blocks: yes, cancellable; not if the caller has it already. Who: threads, processes, tasks; not signal handlers;
 *   after fork, yes.
 * Ordering: what earlier holders wrote is visible. Python: RLock.acquire(blocking, timeout). */
PLAIT_API int plait_rlock_acquire(plait_rlock *rlock, int64_t timeout);

/* Undoes one acquire; the last one lets the rlock go and wakes one waiter.
 * Returns: 0; PLAIT_EPERM (not held by the caller: nothing is changed), PLAIT_EINVAL (NULL).
 * Blocks: no. Who: the worker that acquired it. Ordering: as plait_lock_release.
 * Python: RLock.release(). */
PLAIT_API int plait_rlock_release(plait_rlock *rlock);

/* How often the caller holds it; 0 if not at all, or for NULL. Never blocks. Python:
 * RLock._recursion_count(). */
PLAIT_API uint32_t plait_rlock_depth(const plait_rlock *rlock);

/* 1 if held by anyone, 0 if free or NULL; who has it, nobody (all zero) if free. True of a moment past.
 * Never block. Python: RLock.locked(). */
PLAIT_API int plait_rlock_locked(const plait_rlock *rlock);
PLAIT_API plait_worker plait_rlock_holder(const plait_rlock *rlock);

/* Who died holding it; as plait_lock_blame. */
PLAIT_API int plait_rlock_blame(plait_rlock *rlock, plait_blame *ret);

PLAIT_END_DECLS
#endif
