/* How processes are made: what plait_options.start_method leaves open, and the zygote.
 *
 *   PLAIT_ZYGOTE  (the default) A clean copy of the program, executed anew once and kept at plait_init, forks whenever
 *                 a process is wanted. Takes the same time however large the program has become; threads, locks and open files
 *                 of the program are not in the way. Each process that starts others has a zygote of its own, from the
 *                 first start on.
 *   PLAIT_SPAWN   The program is executed anew for each process: its constructors run, main up to plait_init.
 *   PLAIT_FORK    A copy of the caller, with all it has; of its threads only the caller goes on. For programs that have read
 *                 much into private memory and want to share it copy-on-write.
 *
 * What a process made by zygote or spawn has: the arena; the descriptors 0, 1, 2 and those of .fds, under the same
 * numbers; the starter's working directory, environment, user, limits, file mode mask, affinity and niceness - with zygote those
 * are the ones of the moment when the zygote was made, but for the working directory and the three streams. No signal is
 * blocked or handled. Variables have their initial values, or what the preload hook gave them.
 * The function to run may be any of the program or a library it has loaded, static ones too; it is found by the build id of
 * its module. Code made at run time is refused.
 *
 *     static int warm(void) { tables = make_tables(); return 0; }      // once, not in every process
 *
 *     int main(int argc, char **argv)
 *     {
 *         plait_zygote_preload(warm);
 *         plait_init(&argc, &argv);
 *         ...
 *     }
 *
 * Death: a zygote that is killed is made anew at the next start, and the processes it made live on. When the
 * program dies, so do its zygote and its processes, within milliseconds.
 * If the user, the groups, the session, the process group or the root directory of the program have changed, its zygote is
 * made anew by itself. A program that locks itself in by other means (seccomp, capabilities, namespaces) calls plait_zygote_stop after that.
 * Limits: the zygote is a child of the program, and wait(NULL) waits for it: wait for pids. plait_init must be the first
 * line of main. A program whose file gives it privileges (setuid, file capabilities) is not executed anew, for it may have dropped
 * them, nor one that acts as another user for a while (seteuid): there the default is fork. It also is with PLAIT_LOCKDEP=1,
 * whose reports name places in the code.
 * Python's counterpart: multiprocessing.set_start_method; zygote is called forkserver there. */
#ifndef PLAIT_START_METHOD_H
#define PLAIT_START_METHOD_H

#include <plait/error.h>

PLAIT_BEGIN_DECLS

/* What PLAIT_START_DEFAULT means from now on in this process, and in those made by zygote and spawn from now on.
 * Requires: PLAIT_FORK, PLAIT_ZYGOTE, PLAIT_SPAWN, or PLAIT_START_DEFAULT for plait's own choice.
 * Returns: 0, PLAIT_EINVAL. Never blocks. Who: any worker; not signal handlers; before plait_init, too; after fork, yes.
 * Python: multiprocessing.set_start_method(method, force=True). */
PLAIT_API int plait_set_start_method(int method);

/* What PLAIT_START_DEFAULT means: PLAIT_FORK, PLAIT_ZYGOTE or PLAIT_SPAWN. Never blocks. Who: any worker, signal handlers too.
 * Python: multiprocessing.get_start_method(). */
PLAIT_API int plait_get_start_method(void);

/* What a zygote does before it begins to serve; a negative result makes plait_start fail with it. */
typedef int plait_zygote_hook(void);

/* Sets the hook, NULL: none. It runs in the zygote only; each process made by it begins with what the hook has
 * made in memory. It may not start threads (plait_start then fails with PLAIT_EPRELOAD, as a start does that asks
 * for a zygote if a constructor of the program or of a library has; where the method is plait's own choice, that is spawn then) nor use plait. The first plait_start waits
 * until it returns.
 * Requires: to be called before plait_init. Returns: 0. Never blocks. Who: the main thread.
 * Python: multiprocessing.set_forkserver_preload. */
PLAIT_API int plait_zygote_preload(plait_zygote_hook *hook);

/* Ends this process's zygote; the next start makes one anew, with the environment, user, limits and so on of then. The
 * processes it made live on.
 * Returns: 0, also if there is none. Blocks: until it is gone, a millisecond. Who: any worker; not signal handlers; after
 * fork, yes (the child has none). Python: none. */
PLAIT_API int plait_zygote_stop(void);

PLAIT_END_DECLS
#endif
