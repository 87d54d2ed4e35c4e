/* plait_lock: one worker at a time.
 *
 * For threads and processes (and, in time, tasks) at once: in ordinary memory it serves this
 * process, in the arena every process of the family. There is no flag to set and nothing to
 * destroy. All bytes zero is a free lock. Not recursive: a worker that acquires a lock it holds
 * waits, for any worker may release it (as Python's Lock).
 *
 *     struct account { plait_lock lock; long cents; };
 *     struct account *a = plait_alloc(sizeof *a);       // seen by every process
 *
 *     PLAIT_WITH(&a->lock)                              // see with.h
 *         a->cents += 100;
 *
 *     if (plait_lock_acquire(&a->lock, plait_ms(50)) < 0)
 *         return busy();                                // timed out or cancelled
 *     a->cents -= 100;
 *     plait_lock_release(&a->lock);
 *
 * Death: if the holder dies (kill -9 included), the next to acquire gets the lock and the notice
 * PLAIT_OWNER_DIED: it holds the lock, and what the lock guards may be half changed.
 * plait_lock_blame says who it was. SIGSTOP is not a death.
 *
 * Fairness: a free lock goes to whoever comes first; but one who has waited for 1 ms and been overtaken
 * is, as a rule, served before further newcomers: nobody starves. With the option `fair` it is strictly first come,
 * first served; that costs a change of workers for each hand-over under contention.
 *
 * Deadlock: a ring of waits through a plain lock is reported but not broken, for anyone might release it;
 * see deadlock.h.
 *
 * Limits: a lock in memory that is shared but not the arena's (your own mmap(MAP_SHARED)) is told
 * from a private one only when a worker must wait for a holder in another process: it then gets
 * PLAIT_EPRIVATE. A private lock that a fork copied while held is free for the child: it gets
 * PLAIT_OWNER_DIED instead of waiting for a worker that its copy does not have.
 *
 * Why this shape: the word names its holder, so a death and a deadlock can be told from a long
 * wait; and it is 8 bytes, so that each object can have its own.
 * Python's counterpart: threading.Lock, multiprocessing.Lock. */
#ifndef PLAIT_LOCK_H
#define PLAIT_LOCK_H

#include <plait/clock.h>
#include <plait/error.h>
#include <plait/worker.h>
#include <stdbool.h>

PLAIT_BEGIN_DECLS

typedef struct plait_lock {
    uint32_t word_; /* the holder's id and two flags; see src/sync/lock.c */
    uint32_t died_; /* id of the last holder that died with it, until asked for */
} plait_lock;

/* Options of plait_lock_init; all zero is the default. */
typedef struct plait_lock_options {
    bool fair; /* strictly first come, first served; see above */
} plait_lock_options;

/* Makes a lock free, whatever its bytes were. Zeroed memory needs no init; NULL options are the default.
 * Requires: nobody uses it. Returns: 0, PLAIT_EINVAL (NULL). Never blocks. */
PLAIT_API int plait_lock_init(plait_lock *lock, const plait_lock_options *options);

/* Takes the lock, waiting until it is free.
 * Requires: memory that stays valid while anyone waits.
 * Returns: 0 (held), PLAIT_OWNER_DIED (held; its last holder died), PLAIT_ETIMEDOUT,
 *   PLAIT_ECANCELED, PLAIT_EINVAL (NULL, timeout below -1), PLAIT_EOVERFLOW (timeout too large),
 *   PLAIT_EPRIVATE (see Limits), PLAIT_EDEADLK (if plait_deadlock_policy says so), and as registering may fail: PLAIT_EARENA, PLAIT_ENOMEM,
 *   PLAIT_EWORKERS. Negative: not held.
 * Blocks: yes, cancellable. Who: threads, processes, tasks; not signal handlers; after fork, yes.
 * Ordering: what earlier holders wrote is visible.
 * Python: Lock.acquire(blocking, timeout). */
PLAIT_API int plait_lock_acquire(plait_lock *lock, int64_t timeout);

/* Lets the lock go and wakes one waiter. Any worker may do it, not only the one that acquired it.
 * Returns: 0; PLAIT_EPERM (it is free: nothing is changed), PLAIT_EINVAL (NULL).
 * Blocks: no. Who: threads, processes, tasks; not signal handlers; after fork, yes.
 * Ordering: what was written before is visible to the next holder. Python: Lock.release(). */
PLAIT_API int plait_lock_release(plait_lock *lock);

/* 1 if held by anyone, 0 if free or NULL; true of a moment past. Never blocks; anyone may call.
 * Python: Lock.locked(). */
PLAIT_API int plait_lock_locked(const plait_lock *lock);

/* Who acquired it; nobody (all zero) if free. True of a moment past. Never blocks. */
PLAIT_API plait_worker plait_lock_holder(const plait_lock *lock);

/* Who died holding this lock, asked after PLAIT_OWNER_DIED; the answer is given once.
 * Requires: the caller holds the lock.
 * Returns: 0 with *ret filled, PLAIT_ESRCH (nobody died since last asked), PLAIT_ESTALE (someone
 *   did, but his entry serves another by now), PLAIT_EINVAL (NULL).
 * Blocks: up to a second, until the kernel can tell of what the process died. */
PLAIT_API int plait_lock_blame(plait_lock *lock, plait_blame *ret);

PLAIT_END_DECLS
#endif
