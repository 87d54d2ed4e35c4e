/* plait_to_thread: what can only block, done by another thread while the caller waits.
 *
 *     static int lookup(void *arg) { return slow_library_call(arg); }
 *
 *     int found;
 *     if (plait_to_thread(lookup, key, &found, plait_seconds(2)) == 0)    // other tasks run meanwhile
 *         use(found);
 *
 * Helper threads are made when needed, 32 in a process at most, and leave when they have been idle for some seconds. More
 * functions wait for one. One that waits in a plait_to_thread of its own does not count, so nesting blocks
 * nothing. Helpers block all signals.
 *
 * Ownership: the function runs, sooner or later, unless an error other than PLAIT_ETIMEDOUT and PLAIT_ECANCELED is returned.
 * After these two its result is dropped and `arg` is its own: on the caller's stack it must not lie.
 * Death: helpers end with their process. Fork: a child has none and makes its own.
 * Python's counterpart: asyncio.to_thread, loop.run_in_executor(None, f). */
#ifndef PLAIT_TO_THREAD_H
#define PLAIT_TO_THREAD_H

#include <plait/worker.h>

PLAIT_BEGIN_DECLS

/* Runs fn(arg) in a helper thread and waits for it.
 * PLAIT_NOWAIT starts it and waits for nothing.
 * Requires: fn. Returns: 0, with what fn returned in *ret if not NULL; PLAIT_ETIMEDOUT, PLAIT_ECANCELED (it runs on, see above); PLAIT_EAGAIN (no
 *   thread can be had), PLAIT_ENOMEM, PLAIT_EINVAL (fn NULL, timeout below -1), PLAIT_EOVERFLOW, and as
 *   registering may fail: PLAIT_EARENA, PLAIT_EWORKERS.
 * Blocks: yes, cancellable. Who: threads, processes, tasks, helpers; not signal handlers; after fork, yes.
 * Ordering: fn sees what the caller wrote before, the caller what fn wrote. Python: asyncio.to_thread. */
PLAIT_API int plait_to_thread(plait_function *fn, void *arg, int *ret, int64_t timeout);

PLAIT_END_DECLS
#endif
