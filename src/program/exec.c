/* exec: what is lost with a process that goes on as another program is written out before, and what would be lost by the exec, and
 * must not be, is kept: the tie to its parent (src/port/child.c says how), and that of its children to itself.
 *
 * The registry needs nothing: the kernel marks the robust mutexes of all threads at an exec as at their death, so the worker's heart stops,
 * its locks go to the next holder with PLAIT_OWNER_DIED, and recovery does the rest. That its process is there still,
 * and is to be collected by its parent as what it was started as, pl_slot_lingers says (src/worker). */
#include <plait/exec.h>

#include "program/program_internal.h"
#include "worker/begin.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Another thread may be reading from a stream, and hold its lock until something comes; then the two that are only written. */
static void flush_streams(void)
{
    if (pl_process_threads(getpid()) == 1) {
        fflush(NULL);
        return;
    }
    fflush(stdout);
    fflush(stderr);
}

/* Waiting blocks this signal in threads that have tasks (park/poll.c); the program is not to inherit that. */
static void unblock_nudges(sigset_t *before)
{
    sigset_t nudge;
    sigemptyset(&nudge);
    sigaddset(&nudge, SIGURG);
    pthread_sigmask(pl_self.parker ? SIG_UNBLOCK : SIG_BLOCK, pl_self.parker ? &nudge : NULL,
                    before);
}

/* The end of the lifeline that this process's children are tied to: an exec that closed it would kill them. Closed by the new
 * program's end, it does. -1: there are none. */
static int keep_children(void)
{
    enum { FLOOR = 200 };
    struct pl_lifeline own = *pl_lifeline_own();
    if (!pl_lifeline_is_whole(&own))
        return -1;
    int kept = fcntl(own.write_end, F_DUPFD, FLOOR);
    return kept < 0 ? fcntl(own.write_end, F_DUPFD, STDERR_FILENO + 1) : kept;
}

static int count(const char *const *argv)
{
    int n = 0;
    while (argv[n])
        n++;
    return n;
}

/* Returns only if it fails. */
static int exec(const char *name, const char *const *argv, const char *const *env, bool search)
{
    if (!name || !argv || !argv[0] || !pl_env_is_valid(env))
        return PLAIT_EINVAL;
    int saved = errno, failed;
    char *const *environment = env ? (char *const *)(uintptr_t)env : environ;
    char *alone[] = {(char *)(uintptr_t)name, NULL};
    char **paths = search ? pl_program_paths(name, environment) : NULL;
    char **shell = search ? malloc(((size_t)count(argv) + 2) * sizeof *shell) : NULL;
    if (search && (!paths || !shell)) {
        free(paths);
        free(shell);
        return PLAIT_ENOMEM;
    }
    struct pl_spawn what = {.paths = paths ? paths : alone,
                            .argv = (char *const *)(uintptr_t)argv,
                            .env = environment,
                            .shell_argv = shell};
    sigset_t mask;
    flush_streams();
    int tie = pl_lifeline_keep(), children = keep_children();
    unblock_nudges(&mask);
    int rc = pl_child_exec(&what, &failed);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    pl_close_fd(tie);
    pl_close_fd(children);
    free(paths);
    free(shell);
    errno = saved;
    return pl_start_error(-rc);
}

int plait_execv(const char *path, const char *const *argv)
{
    return exec(path, argv, NULL, false);
}

int plait_execve(const char *path, const char *const *argv, const char *const *env)
{
    return env ? exec(path, argv, env, false) : PLAIT_EINVAL;
}

int plait_execvp(const char *name, const char *const *argv)
{
    return exec(name, argv, NULL, true);
}

int plait_execvpe(const char *name, const char *const *argv, const char *const *env)
{
    return env ? exec(name, argv, env, true) : PLAIT_EINVAL;
}
