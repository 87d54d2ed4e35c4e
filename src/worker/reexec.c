/* Executing the program anew, so that a process begins clean.
 *
 * The new process has nothing from its starter but descriptors, under the numbers they have there, and one variable in its
 * environment that says what it is to be. plait_init, the first line of main, reads that and takes the variable out.
 *
 * Naive: whoever finds the variable takes the role. Its faults: a constructor of a library may run other programs
 * before main, to which the variable is passed on; and the starter may have died meanwhile, and then the program
 * would be run as if a user had called it, if the variable were just disbelieved. Cure: the variable names
 * the starter. Who has another parent and finds the lifeline cut is an orphan and leaves; who has another
 * parent and finds it whole was not meant. */
#include "worker/begin.h"

#include "base/atomic.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#define VARIABLE "PLAIT_ROLE"
enum { TEXT = 160 };

extern char **environ;

/* --- what the program was called with --- */

static char **arguments; /* set once, by plait_init. Atomic */

static char **copy_strings(int n, char **strings)
{
    size_t size = (size_t)(n + 1) * sizeof *strings;
    for (int i = 0; i < n; i++)
        size += strlen(strings[i]) + 1;
    char **copy = malloc(size);
    if (!copy)
        return NULL;
    char *text = (char *)(copy + n + 1);
    for (int i = 0; i < n; i++) {
        copy[i] = text;
        text = stpcpy(text, strings[i]) + 1;
    }
    copy[n] = NULL;
    return copy;
}

/* The program may permute its arguments and write into them later. */
int pl_program_keep(int argc, char **argv)
{
    static char *nameless[] = {"plait", NULL};
    if (pl_load_acquire(&arguments))
        return 0;
    int saved = errno;
    char **copy = argc > 0 ? copy_strings(argc, argv) : copy_strings(1, nameless);
    errno = saved;
    if (!copy)
        return PLAIT_ENOMEM;
    pl_store_release(&arguments, copy);
    return 0;
}

bool pl_may_reexec(void)
{
    return getauxval(AT_SECURE) == 0;
}

/* --- the starter --- */

static void write_role(const struct pl_role *role, char *text)
{
    snprintf(text, TEXT, VARIABLE "=%d %d %d %d %d %" PRIu32 " %" PRIu64 " %d", (int)role->kind,
             (int)getpid(), role->arena, role->lifeline, role->socket, role->slot, role->meant,
             role->detached | role->fork_twice << 1);
}

/* The caller's environment with one variable more; to be freed. */
static char **environment_with(char *variable)
{
    size_t n = 0;
    while (environ && environ[n])
        n++;
    char **copy = malloc((n + 2) * sizeof *copy);
    if (!copy)
        return NULL;
    copy[0] = variable;
    if (n)
        memcpy(copy + 1, environ, n * sizeof *copy);
    copy[n + 1] = NULL;
    return copy;
}

/* A descriptor duplicated onto itself is kept over exec. */
static int keep(posix_spawn_file_actions_t *actions, int fd)
{
    return fd < 0 ? 0 : posix_spawn_file_actions_adddup2(actions, fd, fd);
}

static int keep_all(posix_spawn_file_actions_t *actions, const struct pl_role *role, const int *fds,
                    size_t n_fds)
{
    int error = keep(actions, role->arena);
    if (error == 0)
        error = keep(actions, role->lifeline);
    if (error == 0)
        error = keep(actions, role->socket);
    for (size_t i = 0; error == 0 && i < n_fds; i++)
        error = keep(actions, fds[i]);
    return error;
}

/* The zygote lives with all signals blocked: those from the terminal are for the program. */
static int set_signals(posix_spawnattr_t *attr, const struct pl_role *role)
{
    sigset_t mask, all;
    sigfillset(&all);
    sigemptyset(&mask);
    posix_spawnattr_setsigmask(attr, role->kind == PL_ROLE_ZYGOTE ? &all : &mask);
    posix_spawnattr_setsigdefault(attr, &all);
    return posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

static int execute(const struct pl_role *role, const int *fds, size_t n_fds, char **environment,
                   int32_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    pid_t pid;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    int error = keep_all(&actions, role, fds, n_fds);
    if (error == 0)
        error = set_signals(&attr, role);
    if (error == 0)
        error = posix_spawn(&pid, "/proc/self/exe", &actions, &attr, arguments, environment);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    if (error == 0)
        *ret_pid = (int32_t)pid;
    return -error;
}

int pl_reexec(const struct pl_role *role, const int *fds, size_t n_fds, int32_t *ret_pid)
{
    char variable[TEXT];
    if (!pl_load_acquire(&arguments))
        return PLAIT_EINIT;
    if (!pl_may_reexec())
        return PLAIT_ENOTSUP;
    int saved = errno;
    write_role(role, variable);
    char **environment = environment_with(variable);
    int rc = environment ? execute(role, fds, n_fds, environment, ret_pid) : PLAIT_ENOMEM;
    free(environment);
    errno = saved;
    return rc == -ENOENT ? PLAIT_ENOTSUP : rc; /* no /proc */
}

/* --- the new process --- */

static bool read_role(const char *text, struct pl_role *ret, int *ret_starter)
{
    int kind, flags, n = 0;
    if (sscanf(text, "%d %d %d %d %d %" SCNu32 " %" SCNu64 " %d%n", &kind, ret_starter, &ret->arena,
               &ret->lifeline, &ret->socket, &ret->slot, &ret->meant, &flags, &n) != 8 ||
        text[n] != 0 || (kind != PL_ROLE_ZYGOTE && kind != PL_ROLE_SPAWNED))
        return false;
    ret->kind = (enum pl_role_kind)kind;
    ret->detached = flags & 1;
    ret->fork_twice = flags & 2;
    return true;
}

static bool is_cut(int lifeline)
{
    struct pollfd p = {.fd = lifeline, .events = 0};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLHUP);
}

bool pl_role_take(struct pl_role *ret)
{
    int starter;
    *ret = (struct pl_role){.kind = PL_ROLE_NONE};
    const char *text = secure_getenv(VARIABLE);
    if (!text)
        return true;
    bool sane = read_role(text, ret, &starter);
    unsetenv(VARIABLE);
    pid_t parent = getppid(); /* 0: in another pid namespace */
    if (!sane || parent == starter || parent == 0)
        return sane;
    if (is_cut(ret->lifeline))
        _exit(0);
    ret->kind = PL_ROLE_NONE;
    return true;
}
