/* Signals: handlers that may do anything, waiting for signals, Ctrl-C.
 *
 * A C signal handler interrupts the program anywhere, in the middle of malloc too, and may call next to nothing. One
 * that is set here is a plain function: the main thread runs it as a task, in order, where it waits.
 *
 *     static void reload(const plait_signal_info *info, void *config)
 *     {
 *         printf("process %d wants it\n", info->pid);
 *         read_again(config);                               // may lock, wait, start workers
 *     }
 *
 *     plait_signal(SIGHUP, reload, &config, NULL);          // in main
 *
 * When it runs: while the main thread waits in a call of plait, whatever it waits for; it is woken for that, and goes
 * on waiting after, for the time that is left. Also at plait_checkpoint and plait_yield, for who computes. As a task
 * (task.h) it has waits and requests of its own: where it waits, what the main thread waits for goes on meanwhile, and it
 * may even wait for a lock which the main thread holds. Never in a thread other than the main one, whichever the kernel has
 * picked; never while the main thread does not call plait, or sleeps in a system call outside it (such calls are
 * restarted); never after the main thread has left by pthread_exit.
 *
 * What may merge: signals that come while their handler has not begun, or is running, run it once more (info->count says
 * how many). At least one run begins after the last of them.
 *
 * Ctrl-C: plait_init sets SIGINT to PLAIT_SIGNAL_CANCEL, unless the program or whoever started it has decided
 * otherwise. Then the first Ctrl-C is a request to stop (plait_cancel) to the first process's main worker: what it waits for
 * returns PLAIT_ECANCELED. As it ends, all workers that it would wait for are asked in turn, and so on down the tree:
 * threads, processes and tasks clean up and go. Who goes on instead takes the request back with plait_uncancel. A second
 * Ctrl-C before that kills the family at once. A program that ends with a status other than 0 after a Ctrl-C
 * which was not taken back dies of SIGINT in the end, so that its shell knows; 0 says that it ended as it wanted to.
 * System calls of the program itself, such as a read from the terminal, return EINTR then; handlers of functions let them go on.
 * plait_signal(SIGINT, PLAIT_SIGNAL_DEFAULT, NULL, NULL) turns it off; SIGTERM can be had the same way.
 *
 * Children: a terminal sends Ctrl-C to all processes. Those of the family (but detached ones, which take care of themselves) leave it
 * to the first, unless one of the family has sent it to just them (plait_interrupt); a signal of another kind that is set to PLAIT_SIGNAL_CANCEL asks the process that gets it. Forked children
 * have their parent's handlers, run by their own main thread; what was pending is not. Executed programs
 * have the defaults back, as always.
 *
 * Masks are the thread's and stay the program's business: pthread_sigmask. A forked child has that of the thread which forked.
 * SIGURG is plait's own, for waking threads that sleep on descriptors; SIGCHLD is left to the program.
 * Python's counterpart: the module signal, and asyncio's add_signal_handler. */
#ifndef PLAIT_SIGNAL_H
#define PLAIT_SIGNAL_H

#include <plait/clock.h>
#include <plait/error.h>
#include <signal.h>
#include <stdint.h>

PLAIT_BEGIN_DECLS

/* What is known of a signal; of the last one, where several have merged. Fields as in siginfo_t. */
typedef struct plait_signal_info {
    int signum;
    int code;      /* SI_USER, SI_QUEUE, SI_KERNEL, CLD_EXITED, ... */
    int pid, uid;  /* who sent it, if a process did */
    int status;    /* SIGCHLD: exit code or signal */
    int error;     /* an errno; rarely set */
    int64_t value; /* sent along with sigqueue, or by a timer: the pointer or int */
    uint64_t
        count; /* how many have come since the handler was last called; of real-time signals, too */
} plait_signal_info;

typedef void plait_signal_function(const plait_signal_info *info, void *arg);

/* In place of a handler. */
#define PLAIT_SIGNAL_DEFAULT ((plait_signal_function *)0) /* what the kernel does by default */
#define PLAIT_SIGNAL_IGNORE ((plait_signal_function *)1)  /* nothing */
#define PLAIT_SIGNAL_CANCEL ((plait_signal_function *)2)  /* as Ctrl-C: see above */
#define PLAIT_SIGNAL_FOREIGN ((plait_signal_function *)3) /* the one that was there before plait */

typedef struct plait_signal_action {
    plait_signal_function *fn;
    void *arg;
} plait_signal_action;

/* Has the main thread call fn(info, arg) when the signal arrives, from now on; or one of the four above.
 * Requires: nothing; `previous` may be NULL.
 * Returns: 0, with *previous what was set before (PLAIT_SIGNAL_FOREIGN: a handler by sigaction, which that brings
 *   back); PLAIT_EPERM (not the main thread), PLAIT_EINVAL (no such signal; FOREIGN where there is none), PLAIT_ENOTSUP
 *   (SIGKILL, SIGSTOP: nobody can; SIGSEGV, SIGBUS, SIGFPE, SIGILL: a fault cannot be handled later), PLAIT_EBUSY (SIGURG:
 *   plait's own), and as registering may fail: PLAIT_EARENA, PLAIT_ENOMEM, PLAIT_EWORKERS.
 * Blocks: no. Who: the main thread and its tasks, signal handlers of this kind too; after fork, yes.
 * Limits: the handler has 256 KiB of stack. Its task needs two descriptors if there are no others; while there are none left, it
 *   is tried again with each nap of the wait.
 * Python: signal.signal; loop.add_signal_handler, remove_signal_handler. */
PLAIT_API int plait_signal(int signum, plait_signal_function *fn, void *arg,
                           plait_signal_action *previous);

/* What is set for a signal. 0 with *ret; PLAIT_EPERM (not the main thread), PLAIT_EINVAL. Never blocks.
 * Python: signal.getsignal. */
PLAIT_API int plait_signal_get(int signum, plait_signal_action *ret);

/* Waits until a signal of the set has come, and takes it: no handler is run, nothing is interrupted.
 * Requires: all of the set are blocked in the calling thread (pthread_sigmask), and in all others that might get
 *   them: best in main, before anything is started. The set does not hold SIGURG.
 * Returns: the number of the signal, positive, with *ret filled if not NULL; PLAIT_ETIMEDOUT, PLAIT_ECANCELED,
 *   PLAIT_EPERM (one is not blocked here: it would be handled elsewhere), PLAIT_EINVAL (NULL, an empty set),
 *   PLAIT_EBUSY (SIGURG), PLAIT_EOVERFLOW, PLAIT_EMFILE, PLAIT_ENOMEM, and as registering may fail.
 * Blocks: yes, cancellable; PLAIT_NOWAIT only looks. Who: threads, processes, tasks; each signal goes to one of
 *   those that wait. Python: signal.sigwait, sigwaitinfo, sigtimedwait. */
PLAIT_API int plait_signal_wait(const sigset_t *set, plait_signal_info *ret, int64_t timeout);

/* Has a byte, the number of the signal, written to `fd` as soon as one arrives that is set to a handler or
 * PLAIT_SIGNAL_CANCEL: for loops that sleep outside plait. -1: no more. A forked child begins without.
 * Requires: non-blocking; `previous` may be NULL. A pipe whose reader is gone raises SIGPIPE, as always.
 * Returns: 0, with *previous the one before, -1 if none; PLAIT_EPERM (not the main thread), PLAIT_EBADF, PLAIT_EINVAL
 *   (it blocks). Blocks: no. Who: the main thread and its tasks. Python: signal.set_wakeup_fd. */
PLAIT_API int plait_signal_set_wakeup_fd(int fd, int *previous);

/* How many such bytes could not be written, because it was full or closed. Never blocks; who: all. Python
 * prints a warning instead. */
PLAIT_API uint64_t plait_signal_wakeups_lost(void);

PLAIT_END_DECLS
#endif
