/* Tasks: workers that cost like function calls.
 *
 * A task is a coroutine with a stack of its own. It is started, joined, cancelled and named by the calls of
 * worker.h, blocks in the same locks, events and queues as threads and processes do, and belongs to
 * the thread that started it: of a thread's tasks one runs at a time, until it waits for something or
 * yields. So what tasks of one thread share needs no lock between two waits.
 *
 *     static int sleeper(void *arg) { return plait_sleep(plait_seconds(1)); }
 *
 *     static int all(void *arg)
 *     {
 *         plait_worker w[10000];
 *         for (int i = 0; i < 10000; i++)
 *             plait_start(&w[i], PLAIT_TASK, sleeper, NULL, NULL);
 *         for (int i = 0; i < 10000; i++)
 *             plait_join(w[i], NULL, PLAIT_FOREVER);
 *         return 0;                                             // after about one second
 *     }
 *
 *     int main(void) { return plait_run(all, NULL); }
 *
 * The loop: a thread that has tasks runs them whenever it waits itself in a plait call; there is nothing to
 * create. plait_run is for a thread that wants nothing else. Calls that block outside plait (read, sleep, a pthread
 * mutex) stop all tasks of the thread: use plait's streams, plait_wait_fd for other libraries,
 * plait_to_thread for what can only block. PLAIT_SLOW_TASK=100 in the environment finds those calls.
 *
 * Order: tasks that are ready run first come first served, and each pass over them is followed by a look at
 * timers, descriptors and other threads.
 *
 * Death: a task dies with its thread's process. Cancelled before its first step, it never runs, and ends with
 * PLAIT_ECANCELED as its status. A task must not call pthread_exit. Limits: 16,000,000 tasks in a process; 65,000 of them at once may hold locks or wait for something in
 * the arena.
 * Python's counterpart: asyncio. */
#ifndef PLAIT_TASK_H
#define PLAIT_TASK_H

#include <plait/worker.h>

PLAIT_BEGIN_DECLS

/* Runs fn(arg) on the calling thread, and with it all tasks that are started here, until fn has returned
 * and every task has ended: those that are not daemons are waited for, daemons are cancelled and then waited for.
 * If the thread was asked to stop, and fn has not taken that back, all are cancelled.
 * Requires: fn; no plait_run in this thread yet.
 * Returns: what fn returned; PLAIT_EINVAL (fn NULL), PLAIT_EBUSY (called within a plait_run or by a
 *   task), PLAIT_ENOMEM, PLAIT_EMFILE, and as registering may fail: PLAIT_EARENA, PLAIT_EWORKERS.
 * Blocks: yes; fn is cancelled by cancelling the thread. Who: any thread; after fork, yes.
 * Python: asyncio.run(fn(arg)), which however cancels all tasks when fn returns. */
PLAIT_API int plait_run(plait_function *fn, void *arg);

/* Lets the other tasks of this thread run first that are ready now; in a thread without tasks the
 * processor is offered to other threads.
 * Returns: 0, PLAIT_ECANCELED (asked to stop; delivered by this).
 * Blocks: only while others run. Who: tasks, threads, processes. Python: await asyncio.sleep(0). */
PLAIT_API int plait_yield(void);

/* Waits for `time` ns; PLAIT_NOWAIT is as plait_yield, PLAIT_FOREVER until cancelled.
 * Returns: 0 (never early), PLAIT_ECANCELED, PLAIT_EINVAL (negative), PLAIT_EOVERFLOW, and as registering
 *   may fail: PLAIT_EARENA, PLAIT_ENOMEM, PLAIT_EWORKERS.
 * Blocks: yes, cancellable. Who: tasks, threads, processes. Python: asyncio.sleep, time.sleep. */
PLAIT_API int plait_sleep(int64_t time);

/* Runs fn(arg) as a task of the loop's thread: after those that are ready now; after `delay` ns; at the
 * instant `when` of plait_now(), at once if that is past. Of equal instants the first asked comes first.
 * Requires: `loop` names a thread (or process, meaning its first thread) of this process that has tasks or is in plait_run; all zero: the
 *   calling thread. The function may block like any task.
 * Returns: 0, with *ret (if not NULL) to be joined or cancelled: cancelled before it ran it never runs. With NULL nobody
 *   will join it. PLAIT_EINVAL, PLAIT_ESTALE (that thread has no loop any more), PLAIT_ENOMEM.
 * Blocks: no. Who: tasks and threads of this process; not signal handlers. Python: loop.call_soon_threadsafe,
 *   call_later, call_at. */
PLAIT_API int plait_call_soon(plait_worker *ret, plait_worker loop, plait_function *fn, void *arg);
PLAIT_API int plait_call_later(plait_worker *ret, plait_worker loop, int64_t delay,
                               plait_function *fn, void *arg);
PLAIT_API int plait_call_at(plait_worker *ret, plait_worker loop, int64_t when, plait_function *fn,
                            void *arg);

/* The thread whose loop runs the calling task: what `loop` above wants; the thread itself if it is none.
 * All zero if it cannot be registered. Python: asyncio.get_running_loop(). */
PLAIT_API plait_worker plait_loop(void);

/* What a task is doing, for a look at it. */
typedef struct plait_task_info {
    plait_worker worker, parent;
    int state;            /* enum plait_worker_state */
    const char *waits;    /* for what, in words: "an event"; NULL: it does not wait. Constant */
    const void *waits_on; /* the address it waits on; NULL: none, or not told */
    int64_t age;          /* ns since it was started */
    int64_t waiting;      /* ns it has been waiting; 0: it does not, or that is not recorded */
    size_t stack_size;    /* bytes */
    size_t stack_used;    /* bytes touched so far, in whole pages */
    char name[PLAIT_NAME_SIZE];
} plait_task_info;

/* The tasks of the calling thread that have not ended. Fills up to `most` entries and returns how many there
 * are. PLAIT_EINVAL (array NULL with most > 0, most negative). Never blocks. Python: asyncio.all_tasks(). */
PLAIT_API int plait_task_list(plait_task_info *array, int most);

/* Writes the calling thread's tasks as a tree of who started whom, a line each, to a descriptor.
 * Returns: 0; -errno of write. Blocks: as write does. Who: any thread or task; not signal handlers.
 * Python: python -m asyncio pstree, asyncio.print_call_graph(). */
PLAIT_API int plait_task_print_tree(int fd);

/* --- tasks that do not let others run --- */

/* Has the process look out for tasks that run longer than `limit` ns without waiting in a plait call, be it that they
 * compute or that they block outside plait: each is reported (log.h) by name with the functions it is in, and once more when it
 * lets others run. Told are all that take one and a half times the limit or longer, and none that take less than the limit. A thread's
 * own flow counts as a task while the thread has others. 0: no more, the default. PLAIT_SLOW_TASK=100 in the environment means 100 ms
 * from the start. While nobody looks out it costs nothing; the turns of tasks cost the same either way.
 * Limits: the report is made by a helper thread, which asks the slow one by a signal: the highest real-time signal that has
 *   no handler when this is first used. Calls that a signal ends even with SA_RESTART (nanosleep, poll; see signal(7)) return
 *   EINTR, once per report. A thread that blocks the signal is reported without the functions. Less than 1 ms counts as 1 ms.
 * Returns: 0, PLAIT_EINVAL (negative), PLAIT_EOVERFLOW, PLAIT_EAGAIN (no helper thread). Never blocks. Who: any thread or task;
 *   not signal handlers; forked children inherit it.
 * Python: loop.slow_callback_duration with loop.set_debug(True). */
PLAIT_API int plait_slow_task_limit(int64_t limit);

PLAIT_END_DECLS
#endif
