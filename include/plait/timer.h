/* Timers: a function that is called once a time has passed, or again and again, unless it is cancelled before.
 *
 *     static int warn(void *arg) { puts("still waiting"); return 0; }
 *
 *     plait_timer t = {0};
 *     plait_timer_start(&t, PLAIT_THREAD, plait_seconds(10), warn, NULL, NULL); // or PLAIT_TASK
 *     wait_for_the_answer();
 *     plait_timer_cancel(&t);                        // harmless if it has fired by then
 *     plait_timer_join(&t, NULL, PLAIT_FOREVER);     // now `t` may go out of scope
 *
 * The function runs in a worker of the timer's own: a thread, which sleeps until then, or a task of the calling thread, which costs
 * nothing until then and must be given its turn (task.h). It may wait, and may cancel its own timer or start others. For what
 * is to happen in another process, let the function start it.
 *
 * All zero it is unset. It may be set again once it has fired or was cancelled. It is not copied while it is set, and stays where it
 * is until its worker has ended: join it before its memory goes. In the arena other processes may cancel it, too (the worker of a task then
 * ends no sooner than its time comes). If
 * the process dies that set it, it does not fire. A program's exit waits for it as for any worker, unless its options
 * say .worker.daemon. Python's counterpart: threading.Timer. */
#ifndef PLAIT_TIMER_H
#define PLAIT_TIMER_H

#include <plait/lock.h>
#include <plait/worker.h>

PLAIT_BEGIN_DECLS

/* Its fields are not for direct use. */
typedef struct plait_timer {
    uint32_t word_;   /* which setting it is, and how that stands; see src/task/timer.c. Atomic */
    uint32_t fired_;  /* calls begun. Atomic */
    plait_lock lock_; /* for what follows */
    plait_worker worker_; /* of the last setting */
} plait_timer;

/* All zero is the default. */
typedef struct plait_timer_options {
    int64_t every; /* ns: it is called again so long after it was due last; 0: once. Calls that
                    * would come while it still runs are left out */
    plait_options worker; /* for plait_start; not .detach, .arg_size, .delay */
} plait_timer_options;

/* Sets the timer: after `delay` ns fn(arg) is called. With .every it goes on until it is cancelled or fn returns something else than 0.
 * Requires: a timer that is unset, has fired or was cancelled.
 * Returns: 0; PLAIT_EBUSY (it is set, or its function runs), PLAIT_EINVAL (NULL, kind, negative times, options), PLAIT_ENOTSUP
 *   (PLAIT_PROCESS), PLAIT_EOVERFLOW (delay), and all that plait_start returns. On failure it is as it was.
 * Blocks: only while another sets or cancels it. Who: threads, processes, tasks; not signal handlers; after fork, yes.
 * Python: Timer(interval, fn, args).start(). */
PLAIT_API int plait_timer_start(plait_timer *timer, int kind, int64_t delay, plait_function *fn,
                                void *arg, const plait_timer_options *options);

/* Makes sure that no call begins from now on. One that is running is neither interrupted nor waited for. Of a timer that is
 * unset, has fired or was cancelled: nothing.
 * Returns: 0; PLAIT_EINVAL (NULL), and as registering may fail.
 * Blocks: as start. Who: as start, the function itself included. Python: Timer.cancel(). */
PLAIT_API int plait_timer_cancel(plait_timer *timer);

/* Waits until its worker has ended - it has fired and returned, or was cancelled - and forgets it. *ret (if not NULL) says what the
 * function returned, PLAIT_ECANCELED if it was cancelled before its first call.
 * Returns: as plait_join; PLAIT_ESTALE too for one that was never set.
 * Blocks: yes, cancellable. Who: any worker of the process that set it, of a task; of a thread any that sees it. Python: Timer.join(). */
PLAIT_API int plait_timer_join(plait_timer *timer, plait_blame *ret, int64_t timeout);

/* 1 while a call is to come or runs, else 0. Never blocks. Python: not finished.is_set(). */
PLAIT_API int plait_timer_is_set(const plait_timer *timer);

/* How many calls have begun, over all settings. Never blocks; NULL: 0. */
PLAIT_API uint32_t plait_timer_fired(const plait_timer *timer);

PLAIT_END_DECLS
#endif
