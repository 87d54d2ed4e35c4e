/* plait_once: something that is done once, by whoever comes first.
 *
 * For threads and processes at once: in ordinary memory for this process, in the arena for the family
 * (see lock.h). All bytes zero is a once that has not run. Nothing to destroy.
 *
 *     struct cache { plait_once loaded; ... };                     // zeroed, in the arena or not
 *
 *     static int load(void *arg, int notice)
 *     {
 *         struct cache *c = arg;
 *         if (notice == PLAIT_OWNER_DIED)                          // another died in here
 *             clear(c);
 *         return read_file(c);                                     // negative: not done
 *     }
 *
 *     if (plait_once_call(&c->loaded, load, c) < 0)                // every user of the cache
 *         return -1;
 *
 * One worker runs the function, the others wait until it is done; later calls cost one load. If it fails
 * (negative), that worker gets its result and the next caller, or one of those who wait, tries again: a
 * failure is one caller's, and what he lacked (memory, a file not there yet) the next may have. As
 * with std::call_once, where an exception means the same.
 *
 * Death: if the worker dies in the function (kill -9 and pthread_exit included), the next one runs it,
 * with PLAIT_OWNER_DIED as the notice, because the work may be half done; every further run is told so,
 * too, until one succeeds. plait_once_blame says who it was. A function must not leave by longjmp.
 *
 * Limits: as with plait_lock, memory shared but not the arena's is noticed only when a worker has to wait
 * (PLAIT_EPRIVATE); a private once that a fork copied while its function ran is run again by the child.
 * Python's counterpart: none (functools.cache under a lock); C11: call_once; C++: std::call_once. */
#ifndef PLAIT_ONCE_H
#define PLAIT_ONCE_H

#include <plait/worker.h>

PLAIT_BEGIN_DECLS

typedef struct plait_once {
    uint32_t word_; /* who runs it, or that it is done; see src/sync/once.c */
    uint32_t died_; /* id of the last worker that died while it ran it */
} plait_once;

/* What is to be done once. `notice` is 0, or PLAIT_OWNER_DIED if somebody died in the middle of it and
 * nobody has done it since. 0 or more: done; negative: not done, the caller gets this value. */
typedef int plait_once_function(void *arg, int notice);

/* Makes a once that has not run, whatever its bytes were. Zeroed memory needs no init.
 * Requires: nobody uses it. Returns: 0, PLAIT_EINVAL (NULL). Never blocks. */
PLAIT_API int plait_once_init(plait_once *once);

/* Runs fn(arg, notice) unless it has been done; waits if another runs it. Returns when it is done.
 * Returns: 0 (done, now or before), PLAIT_OWNER_DIED (done by this call, after another's death in it),
 *   what fn returned if it failed here, PLAIT_ECANCELED (while it waited for another),
 *   PLAIT_EDEADLK (called in its own function, or for a waiter as the lock's), PLAIT_EINVAL (NULL),
 *   PLAIT_EPRIVATE (see Limits), PLAIT_ECHILD (to a child that the function forked: its parent does it),
 *   and as registering may fail: PLAIT_EARENA, PLAIT_ENOMEM, PLAIT_EWORKERS.
 * Blocks: yes, cancellable; fn itself is not interrupted. Who: threads, processes, tasks; not signal handlers;
 * after fork, yes. Ordering: what fn wrote is visible to all who get 0. */
PLAIT_API int plait_once_call(plait_once *once, plait_once_function *fn, void *arg);

/* 1 if it is done, else 0, also for NULL. Never blocks; anyone may call. Ordering: 1 makes visible what
 * the function wrote. */
PLAIT_API int plait_once_done(const plait_once *once);

/* Who was the last to die while he ran the function; asked in the function or after.
 * Returns: 0 with *ret filled, PLAIT_ESRCH (nobody did), PLAIT_ESTALE (someone did, but his entry serves
 *   another by now), PLAIT_EINVAL (NULL).
 * Blocks: up to a second, until the kernel can tell of what the process died. */
PLAIT_API int plait_once_blame(plait_once *once, plait_blame *ret);

PLAIT_END_DECLS
#endif
