/* plait_pi_lock: a lock whose holder runs with the priority of those who wait for it.
 *
 * For real-time threads (SCHED_FIFO, SCHED_RR). With a plain lock a thread of high priority waits for one of low
 * priority that holds it, and that one for the processor, which a third one of middling priority
 * uses for as long as it likes: priority inversion. Here the kernel lends the holder the
 * waiter's priority until it lets go, and wakes waiters by priority.
 *
 *     static plait_pi_lock bus;                        // or in the arena, for processes
 *
 *     if (plait_pi_lock_acquire(&bus, plait_ms(5)) >= 0) {
 *         ...
 *         plait_pi_lock_release(&bus);
 *     }
 *     PLAIT_WITH(&bus)
 *         send(frame);
 *
 * Owned: only the worker that acquired it may release it, and it may not acquire it again while it holds
 * it. For threads and processes at once, not for tasks; in ordinary memory it serves this process, in the arena the family.
 * All bytes zero is a free lock. Nothing to destroy.
 *
 * Death: if the holder dies or ends with it, the next one gets it with PLAIT_OWNER_DIED: what it
 * guards may be half changed. plait_pi_lock_blame says who it was.
 *
 * Deadlock: a ring of waits through owned locks is certain: one of them gets PLAIT_EDEADLK; see
 * deadlock.h.
 *
 * Limits: the kernel cannot watch for anything else meanwhile, so a waiter looks up every 20 ms: a request
 * to stop is heard that late. Nobody spins. On kernels before 5.14, setting the wall clock back
 * while someone waits delays its timeout and cancellation (not its turn) by as much. All workers
 * must be in one pid namespace. Without contention it costs what a plait_lock costs and a little more; take that one unless
 * priorities differ.
 * Python's counterpart: none; in POSIX PTHREAD_PRIO_INHERIT with PTHREAD_MUTEX_ROBUST. */
#ifndef PLAIT_PI_LOCK_H
#define PLAIT_PI_LOCK_H

#include <plait/clock.h>
#include <plait/error.h>
#include <plait/lock.h>
#include <plait/worker.h>

PLAIT_BEGIN_DECLS

typedef struct plait_pi_lock {
    uint32_t holder_; /* id of the worker that holds it, from just after to just before */
    uint32_t word_;   /* the kernel's word: thread id and two flags; see src/sync/pi_lock.c */
    uint32_t died_;   /* id of the last holder that died with it, until asked for */
    plait_lock repair_;
} plait_pi_lock;

/* Makes a lock free, whatever its bytes were. Zeroed memory needs no init.
 * Requires: nobody uses it. Returns: 0, PLAIT_EINVAL (NULL). Never blocks. */
PLAIT_API int plait_pi_lock_init(plait_pi_lock *lock);

/* Takes the lock, waiting until it is free; of several who wait, the one with the highest priority is next.
 * Returns: 0 (held), PLAIT_OWNER_DIED (held; its last holder died), PLAIT_ETIMEDOUT, PLAIT_ECANCELED,
 *   PLAIT_EDEADLK (the caller holds it, or its holder waits for the caller), PLAIT_EINVAL (NULL, timeout
 *   below -1), PLAIT_EOVERFLOW (timeout too large), PLAIT_ENOTSUP (the caller is a task, which has no
 *   priority of its own; or the lock is held, and the kernel has no such locks, or holder and caller are in different pid namespaces), PLAIT_EPRIVATE (held by another process, in shared memory that is not the
 *   arena's), and as registering may fail: PLAIT_EARENA, PLAIT_ENOMEM, PLAIT_EWORKERS. Negative: not held.
 * Blocks: yes, cancellable within 20 ms. Who: threads, processes; not signal handlers; after fork, yes (a private
 *   lock that was held is free in the child, with PLAIT_OWNER_DIED).
 * Ordering: what earlier holders wrote is visible. Python: none. */
PLAIT_API int plait_pi_lock_acquire(plait_pi_lock *lock, int64_t timeout);

/* Lets the lock go and hands it to the waiter with the highest priority.
 * Returns: 0; PLAIT_EPERM (the caller does not hold it: nothing is changed), PLAIT_EINVAL (NULL).
 * Blocks: no. Who: the holder. Ordering: what was written before is visible to the next holder. */
PLAIT_API int plait_pi_lock_release(plait_pi_lock *lock);

/* 1 if held by anyone, 0 if free or NULL; true of a moment past. Never blocks; anyone may call. */
PLAIT_API int plait_pi_lock_locked(const plait_pi_lock *lock);

/* Who holds it; nobody (all zero) if free. True of a moment past. Never blocks. */
PLAIT_API plait_worker plait_pi_lock_holder(const plait_pi_lock *lock);

/* Who died holding this lock, asked after PLAIT_OWNER_DIED; the answer is given once.
 * Requires: the caller holds the lock.
 * Returns: 0 with *ret filled, PLAIT_ESRCH (nobody died since last asked), PLAIT_ESTALE (someone
 *   did, but his entry serves another by now), PLAIT_EINVAL (NULL).
 * Blocks: up to a second, until the kernel can tell of what the process died. */
PLAIT_API int plait_pi_lock_blame(plait_pi_lock *lock, plait_blame *ret);

PLAIT_END_DECLS
#endif
