/* Workers: threads and processes, started, watched and joined by the same calls.
 *
 * A plait_worker is a value, like a pid_t but never confused on reuse: nothing to free, it may be
 * copied and lie in the arena, and any worker of the family may join, cancel or ask about any
 * other. All zero it names nobody. Once the worker is joined (or was started detached and has
 * ended) the handle is stale and every call answers PLAIT_ESTALE.
 *
 *     static int greet(void *arg) { printf("hello from %s\n", (char *)arg); return 7; }
 *
 *     int main(int argc, char **argv)
 *     {
 *         plait_init(&argc, &argv);
 *         plait_worker w;
 *         plait_blame end;
 *         char *name = plait_strdup("a process");
 *         if (plait_start(&w, PLAIT_PROCESS, greet, name, NULL) < 0)     // or PLAIT_THREAD
 *             return 1;
 *         plait_join(w, &end, PLAIT_FOREVER);
 *         printf("it returned %d\n", end.status);
 *     }
 *
 * Arguments: one pointer. A thread may be given any. A process sees the arena and what it
 * inherited, and with start methods other than fork it inherits nothing: so the pointer must lie in
 * the arena, or `.arg_size` bytes at it are copied for the worker. A private pointer is refused with
 * PLAIT_EPRIVATE, unless .start_method = PLAIT_FORK says that a copy-on-write view is meant.
 *
 * Life: a child process that is not detached is killed by the kernel when its parent process is gone,
 * of whatever. The tie is a pair of descriptors in the parent: a parent that closes all its
 * descriptors ends its children.
 *
 * Python's counterpart: threading.Thread, multiprocessing.Process. */
#ifndef PLAIT_WORKER_H
#define PLAIT_WORKER_H

#include <plait/clock.h>
#include <plait/error.h>
#include <plait/process.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

PLAIT_BEGIN_DECLS

enum { PLAIT_NAME_SIZE = 32 }; /* bytes of a worker's name, its final zero included */

typedef struct plait_worker {
    uint32_t slot;       /* place in the family's worker table; 0: nobody */
    uint32_t generation; /* which worker of that place */
} plait_worker;

enum plait_kind {
    PLAIT_THREAD = 1,
    PLAIT_PROCESS = 2,
    PLAIT_TASK = 3, /* a coroutine of the starting thread; see task.h */
};

enum plait_worker_state {
    PLAIT_STATE_NEW = 1,     /* being started */
    PLAIT_STATE_RUNNING = 2, /* on a processor or ready for one */
    PLAIT_STATE_BLOCKED = 3, /* waiting in a plait call */
    PLAIT_STATE_ENDED = 4,   /* its function returned, or it died; not joined yet */
};

/* How a process is made; start_method.h says more. */
enum plait_start_method {
    PLAIT_START_DEFAULT = 0, /* zygote, unless plait_set_start_method says otherwise */
    PLAIT_FORK = 1,          /* a copy of the caller: inherits everything */
    PLAIT_ZYGOTE = 2,        /* forked by a clean, single-threaded copy of the program */
    PLAIT_SPAWN = 3,         /* the program executed afresh */
};

/* What a worker runs. The value returned is its status; for a process the kernel keeps only its low
 * 8 bits as the exit code, plait_join gives it whole. */
typedef int plait_function(void *arg);

/* All zero is the default. */
typedef struct plait_options {
    const char *name;  /* copied, cut to PLAIT_NAME_SIZE; NULL: "Thread-5", "Process-6" */
    bool daemon;       /* not waited for when the program exits; a process gets SIGTERM then */
    bool detach;       /* nobody will join it; a process also outlives its parent */
    size_t arg_size;   /* bytes at `arg` to copy for the worker, freed when it ends; 0: none */
    int start_method;  /* enum plait_start_method; processes only */
    size_t stack_size; /* bytes; 0: the system's default, for tasks 64 KiB. Not for processes */
    const int *fds;    /* descriptors to hand over (zygote, spawn); fork inherits all */
    size_t n_fds;      /* how many; at most 196 */
    const plait_process_options *process; /* its directory, limits, user, ...; processes only */
    plait_worker loop; /* tasks: the thread that is to run it; all zero: the calling one */
    int64_t delay;     /* tasks: ns before it begins */
    bool subreaper;    /* processes: it adopts orphans below it, see plait_kill_tree */
} plait_options;

/* How a worker ended. */
typedef struct plait_blame {
    plait_worker worker;
    int kind;      /* enum plait_kind */
    int pid, tid;  /* process and kernel thread id it had */
    int status;    /* returned or exit()ed value; -signal if killed (as Python) */
    int signal;    /* what killed it; 0 if it ended by itself or nobody could learn */
    bool returned; /* its function returned: nothing to blame */
    bool core_dumped;
    int oom_killed; /* 1: by the kernel for want of memory; 0: not; -1: nobody could learn */
    int64_t started, ended; /* plait_now() */
    int64_t user_ns,
        system_ns;   /* processor time used; 0 if unknown. Known to a stranger: to 10 ms */
    int64_t max_rss; /* most memory it had resident, bytes; processes; 0 if unknown */
    char name[PLAIT_NAME_SIZE];
} plait_blame;

/* Prepares the program for plait; the first line of main. In a process that plait has executed anew (zygote, spawn) it
 * runs the worker, or serves as the zygote, and does not return: what stands above it in main is done in each of them.
 * Requires: argc and argv as main got them, or both NULL.
 * Returns: 0; PLAIT_EARENA, PLAIT_EINVAL (one of them NULL, bad PLAIT_ARENA_SIZE, a variable PLAIT_ROLE in the environment that
 *   plait has not set), PLAIT_ENOMEM.
 * Blocks: no. Who: the main thread, once; a second call does nothing. A program that only starts threads, tasks and forked
 * processes can do without. From then on Ctrl-C asks the program to stop, unless it is ignored or handled already: signal.h.
 * Python: multiprocessing.freeze_support() and the __main__ guard. */
PLAIT_API int plait_init(int *argc, char ***argv);

/* Starts a worker that runs fn(arg); when this returns, it is in plait_enumerate().
 * Requires: ret, fn; kind and options as above; for arg see the top of this page.
 * Returns: 0 with *ret set; *ret is untouched on failure and nothing is left behind:
 *   PLAIT_EINVAL (NULL, unknown kind, arg_size without arg), PLAIT_EPRIVATE (private arg for a
 *   process), PLAIT_EAGAIN (limit on threads or processes; a system call that is needed is refused by a filter),
 *   PLAIT_ENOMEM, PLAIT_EMFILE, PLAIT_EWORKERS, PLAIT_EARENA, PLAIT_ECLOSED (a process, while the
 *   program is exiting); of processes made by zygote or spawn: PLAIT_EINIT (main does not begin with plait_init, also found out by
 *   the zygote that does not come to it within 10 s), PLAIT_EMODULE (fn is code made at run time), PLAIT_EBADF (one of .fds, or the
 *   program has closed plait's descriptors), PLAIT_EINVAL (one of .fds twice), PLAIT_EOVERFLOW (more than 196), PLAIT_ENOTSUP (spawn or
 *   zygote asked for by a program that its file gives privileges, or without /proc), PLAIT_EACCES and PLAIT_EPERM (the program's
 *   file may no longer be executed; one that was deleted or replaced may), PLAIT_EPRELOAD or what the preload hook
 *   returned, PLAIT_EARENA; with .process what of it cannot be had (process.h): PLAIT_ENOENT, PLAIT_EPERM, PLAIT_EACCES and other errno
 *   values; of tasks: PLAIT_EOVERFLOW (.delay), PLAIT_ESTALE (the thread of .loop has no loop).
 *   If the function's library is not to be had in the new process, the worker ends at once with the status PLAIT_EMODULE; if
 *   there is no room for the arena at its addresses there (RLIMIT_AS, too), with the exit code 125; if main calls plait_init in
 *   another thread than its first, 124.
 * Blocks: no; the first zygote of a process takes some milliseconds. Who: threads, processes and tasks; not signal handlers; after fork, yes.
 * Ownership: the worker is joinable until joined or detached.
 * Python: Thread(target=fn, args=(arg,)).start(), Process(...).start(). */
PLAIT_API int plait_start(plait_worker *ret, int kind, plait_function *fn, void *arg,
                          const plait_options *options);

/* Waits until the worker has ended, and forgets it.
 * Requires: a worker of this family, not the caller itself.
 * Returns: 0 (its function returned), PLAIT_DIED (it was killed or exited; *ret says how), both with
 *   *ret filled if not NULL; PLAIT_ETIMEDOUT, PLAIT_ECANCELED (still joinable then);
 *   PLAIT_EDEADLK (self, or one that waits for the caller: deadlock.h), PLAIT_ESTALE (joined before, or detached), PLAIT_EINVAL.
 *   Several waiting at once all get the result. A task is joined within its process only: elsewhere
 *   PLAIT_EPRIVATE (that process has not made it known), PLAIT_ENOTSUP (it has).
 * Blocks: yes, cancellable. Who: any thread or process of the family, the parent or not (of a
 *   process killed while its parent is busy, a stranger may not learn the signal: status is then
 *   -1, signal 0; as for everybody if SIGCHLD is ignored, has SA_NOCLDWAIT, or the program waits for any child). Python: Thread.join, Process.join and .exitcode. */
PLAIT_API int plait_join(plait_worker worker, plait_blame *ret, int64_t timeout);

/* Lets go of a worker: nobody will join it, its end frees its entry.
 * Returns: 0, PLAIT_ESTALE, PLAIT_EINVAL. Blocks: no. Who: any thread or process of the family. */
PLAIT_API int plait_detach(plait_worker worker);

/* Asks a worker to stop: its current or next blocking plait call returns PLAIT_ECANCELED, once;
 * requests that come before that are delivered together. It may clean up with blocking calls of its own, or refuse and go on.
 * A process that ends while it is asked, and has not taken that back (plait_uncancel), hands it on to the workers it would wait
 * for; a thread to its tasks.
 * Returns: 0, PLAIT_ESTALE, PLAIT_EINVAL, PLAIT_ESRCH (ended), PLAIT_EOVERFLOW (asked 65,535 times
 * already). Blocks: no. Who: any thread or process of the family; after fork, yes.
 * Python: asyncio.Task.cancel(). */
PLAIT_API int plait_cancel(plait_worker worker);

/* Requests to stop that the caller has got and not taken back. Never blocks. Python:
 * Task.cancelling(). */
PLAIT_API int plait_cancelling(void);

/* Takes one request back (its cause is dealt with); returns how many remain. A request not yet
 * delivered is then not delivered. Never blocks. Python: Task.uncancel(). */
PLAIT_API int plait_uncancel(void);

/* For long computations: 0, or PLAIT_ECANCELED if a request to stop is waiting (it is delivered by
 * this). Never blocks. Trio: checkpoint(). */
PLAIT_API int plait_checkpoint(void);

/* Sends SIGTERM, SIGKILL, SIGINT to a worker process. The signal reaches that process or nobody, also when
 * its pid has been reused. Where plait takes care of Ctrl-C (signal.h), SIGINT asks the worker to stop, as plait_cancel does.
 * Returns: 0; PLAIT_ESRCH (it has ended), PLAIT_EBUSY (it is being started and not there yet),
 * PLAIT_EPERM (the kernel says so), PLAIT_EMFILE, PLAIT_ESTALE, PLAIT_EINVAL; PLAIT_ENOTSUP for a
 * thread, which nobody can kill (use plait_cancel), and for another's child on a kernel without
 * pidfds. Blocks: no. Who: any thread or process of the family.
 * Python: Process.terminate(), Process.kill(), os.kill(p.pid, SIGINT). */
PLAIT_API int plait_terminate(plait_worker worker);
PLAIT_API int plait_kill(plait_worker worker);
PLAIT_API int plait_interrupt(plait_worker worker);

/* Kills a worker process and all processes below it: its workers and theirs, detached ones too; programs it has
 * started; those that went on to another session. They are brought to a stop (SIGSTOP) from above to below, until all stand
 * still, and killed then, so that none forks itself out of reach. Of those whose parents have ended the kernel no longer
 * knows that they were below the worker, unless it was started with .subreaper: then such orphans become its children, as
 * init's otherwise. What that means for the worker's own code: a wait for any child, waitpid(-1, ..), may tell of a
 * process it never started; orphans that end stay zombies until it does so or ends; their getppid() is not 1.
 * Returns: 0, each has been sent SIGKILL (plait_join tells of the worker's end); PLAIT_ESRCH (it has ended),
 *   PLAIT_EBUSY (it is being started and not there yet), PLAIT_EDEADLK (the caller is in that tree), PLAIT_ENOTSUP (a
 *   thread or task; a kernel without pidfds; no /proc), PLAIT_ESTALE, PLAIT_EINVAL, PLAIT_EMFILE, PLAIT_ENOMEM, and as registering
 *   may fail: nothing was done. Done as far as it could be: PLAIT_EPERM (some are other users': setuid
 *   programs), PLAIT_ETIMEDOUT (for a second some hung in the kernel, or
 *   came and went so fast that nobody could tell whose they are: others may be left).
 * Blocks: a few milliseconds, or that second; not cancellable; other tasks of the thread run. Who: any thread,
 *   process or task of the family. A caller that is killed meanwhile leaves the tree standing still.
 * Python: nothing; psutil's children(recursive=True) and kill(), which a process that forks may escape. */
PLAIT_API int plait_kill_tree(plait_worker worker);

/* A descriptor that becomes readable when the worker's process ends: a pidfd, for plait_wait_fd, poll, epoll. Also of one
 * that has ended and is not collected yet. It stays with that process, however often its pid is reused.
 * Returns: the descriptor, which is the caller's to close and not inherited by programs; PLAIT_ESRCH (the process is gone
 *   altogether; plait_join has the rest), PLAIT_EBUSY (it is being started and not there yet), PLAIT_EMFILE, PLAIT_ENOMEM,
 *   PLAIT_ENOTSUP (threads, tasks; a kernel without pidfds), PLAIT_ESTALE, PLAIT_EINVAL.
 * Blocks: no. Who: any thread or process of the family. Python: Process.sentinel. */
PLAIT_API int plait_sentinel(plait_worker worker);

/* The calling worker. A thread that plait did not start, and main, are workers too, from their
 * first need on. All zero if it cannot be registered. Python: threading.current_thread(). */
PLAIT_API plait_worker plait_self(void);

static inline bool plait_same(plait_worker a, plait_worker b)
{
    return a.slot == b.slot && a.generation == b.generation;
}

/* enum plait_worker_state, or PLAIT_ESTALE, PLAIT_EINVAL. Never blocks. */
PLAIT_API int plait_state(plait_worker worker);

/* 1 while it is being started or runs, else 0 (ended, stale or nobody). Never blocks. Python:
 * is_alive(). */
PLAIT_API int plait_is_alive(plait_worker worker);

/* How it ended, without joining: 0 with *ret filled, PLAIT_EBUSY (it runs), PLAIT_ESTALE,
 * PLAIT_EINVAL. Never blocks. Python: Process.exitcode. */
PLAIT_API int plait_exit_status(plait_worker worker, plait_blame *ret);

/* Copies the name into `buffer`, cut to `size` bytes: 0, PLAIT_ESTALE, PLAIT_EINVAL. */
PLAIT_API int plait_name(plait_worker worker, char *buffer, size_t size);

/* Names the calling worker; the kernel shows the first 15 bytes. 0, PLAIT_EINVAL (NULL), or as
 * registering may fail: PLAIT_EARENA, PLAIT_ENOMEM, PLAIT_EWORKERS. */
PLAIT_API int plait_set_name(const char *name);

/* enum plait_kind, process id, kernel thread id (0 while a thread is in PLAIT_STATE_NEW);
 * PLAIT_ESTALE, PLAIT_EINVAL. Never block. Python:
 * Process.pid, Thread.native_id. */
PLAIT_API int plait_kind_of(plait_worker worker);
PLAIT_API int plait_pid(plait_worker worker);
PLAIT_API int plait_tid(plait_worker worker);

/* Who started it; nobody (all zero) for the first worker and stale handles. */
PLAIT_API plait_worker plait_parent(plait_worker worker);

/* The caller's own children that are not joined yet; every living worker of the family. Fill up to
 * `most` entries of `array` and return how many there are (may be more than `most`; the count of a
 * moment). Negative: PLAIT_EINVAL (array NULL with most > 0), or as registering may fail.
 * Never block. Python: multiprocessing.active_children(), threading.enumerate(). */
PLAIT_API int plait_children(plait_worker *array, int most);
PLAIT_API int plait_enumerate(plait_worker *array, int most);

/* Processors this program may use at once: affinity and cgroup quota considered; at least 1. Asks
 * anew at each call. Python: os.process_cpu_count(). */
PLAIT_API int plait_cpu_count(void);

PLAIT_END_DECLS
#endif
