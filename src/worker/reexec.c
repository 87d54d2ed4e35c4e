/* Executing the program anew, so that a process begins clean.
 *
 * The new process has nothing from its starter but descriptors, under the numbers they have there, and one variable in its
 * environment that says what it is to be. plait_init, the first line of main, reads that and takes the variable out.
 *
 * Naive: whoever finds the variable takes the role. Its fault: a constructor of a library may run other programs before main,
 * to which the variable is passed on. Naming the starter does not help: it may have died meanwhile, and its detached
 * process is to run all the same. Cure: the variable names the process that is meant. The number is not known before there is
 * that process; so it writes it in itself, last before the exec.
 *
 * Privileges. A process whose effective user is not its real one becomes by an exec what a setuid program is, and such a one must
 * not take orders from its environment. So it is not executed anew (pl_may_reexec); should that happen after all, it ends
 * rather than run main as if a user had called it. So does one whose first thread is not the one that takes the role: main would go
 * on when the worker leaves by pthread_exit. */
#include "worker/begin.h"

#include "base/atomic.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#define VARIABLE "PLAIT_ROLE"
enum {
    TEXT = 160,
    PID_AT = sizeof VARIABLE "=" - 1, /* where in the text the pid goes */
    PID_DIGITS = 10,
};

/* As in port/child.c: it runs in memory that is shared with the starter. */
#define IN_CHILD __attribute__((no_sanitize("thread", "address", "undefined")))

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
    return getauxval(AT_SECURE) == 0 && getuid() == geteuid() && getgid() == getegid();
}

/* --- the starter --- */

static void write_role(const struct pl_role *role, char *text)
{
    snprintf(text, TEXT, VARIABLE "=%0*d %d %d %d %d %" PRIu32 " %" PRIu64 " %d", (int)PID_DIGITS,
             0, (int)role->kind, role->arena, role->lifeline, role->socket, role->slot, role->meant,
             (int)role->fork_twice);
}

/* The new process, just before its exec: says in the text that it is the one. */
IN_CHILD static int sign(void *text)
{
    long pid = syscall(SYS_getpid);
    for (int i = PID_DIGITS - 1; i >= 0; i--, pid /= 10)
        ((char *)text)[PID_AT + i] = (char)('0' + pid % 10);
    return 0;
}

/* An environment with one variable more; to be freed. */
static char **environment_with(char *const *given, char *variable)
{
    size_t n = 0;
    while (given && given[n])
        n++;
    char **copy = malloc((n + 2) * sizeof *copy);
    if (!copy)
        return NULL;
    copy[0] = variable;
    if (n)
        memcpy(copy + 1, given, n * sizeof *copy);
    copy[n + 1] = NULL;
    return copy;
}

/* Descriptors keep their numbers. */
static int keep(struct pl_child_setup *setup, int fd)
{
    return fd <= STDERR_FILENO ? 0 : pl_child_setup_move(setup, fd, fd);
}

static int keep_all(struct pl_child_setup *setup, const struct pl_role *role, const int *fds,
                    size_t n_fds)
{
    int rc = keep(setup, role->arena);
    if (rc == 0)
        rc = keep(setup, role->lifeline);
    if (rc == 0)
        rc = keep(setup, role->socket);
    for (size_t i = 0; rc == 0 && i < n_fds; i++)
        rc = fcntl(fds[i], F_GETFD) < 0 ? PLAIT_EBADF : keep(setup, fds[i]);
    return rc;
}

static int error_of(int rc, int step)
{
    switch (rc) {
    case -ENOENT:
        return step == PLAIT_STEP_EXEC ? PLAIT_ENOTSUP : rc; /* no /proc */
    case -EPERM: /* a limit of the cgroup, too, is told so by some kernels */
        return step == PLAIT_STEP_CLONE ? PLAIT_EAGAIN : rc;
    default:
        return rc;
    }
}

static int execute(struct pl_child_setup *setup, char *variable, struct pl_spawned *ret)
{
    char *const program[] = {(char *)(uintptr_t) "/proc/self/exe", NULL};
    int step, path;
    char *const *given = setup->env ? setup->env : environ;
    char **environment = environment_with(given, variable);
    if (!environment)
        return PLAIT_ENOMEM;
    setup->callback = sign;
    setup->argument = variable;
    struct pl_spawn spawn = {
        .paths = program, .argv = arguments, .env = environment, .setup = setup};
    int rc = pl_child_spawn(&spawn, ret, &step, &path);
    free(environment);
    return error_of(rc, step);
}

int pl_reexec(const struct pl_role *role, struct pl_child_setup *setup, const int *fds,
              size_t n_fds, struct pl_spawned *ret)
{
    char variable[TEXT];
    if (!pl_load_acquire(&arguments))
        return PLAIT_EINIT;
    if (!pl_may_reexec())
        return PLAIT_ENOTSUP;
    if (role->arena < 0)
        return PLAIT_EBADF;
    int saved = errno;
    write_role(role, variable);
    int rc = keep_all(setup, role, fds, n_fds);
    if (rc == 0)
        rc = pl_child_setup_seal(setup, role->tie);
    if (rc == 0)
        rc = execute(setup, variable, ret);
    errno = saved;
    return rc;
}

/* --- the new process --- */

static bool read_role(const char *text, struct pl_role *ret, int *ret_pid)
{
    int kind, twice, n = 0;
    if (sscanf(text, "%d %d %d %d %d %" SCNu32 " %" SCNu64 " %d%n", ret_pid, &kind, &ret->arena,
               &ret->lifeline, &ret->socket, &ret->slot, &ret->meant, &twice, &n) != 8 ||
        text[n] != 0 || (kind != PL_ROLE_ZYGOTE && kind != PL_ROLE_SPAWNED))
        return false;
    ret->kind = (enum pl_role_kind)kind;
    ret->fork_twice = twice;
    return true;
}

bool pl_role_take(struct pl_role *ret)
{
    enum { CANNOT_BE = 124 };
    int pid;
    *ret = (struct pl_role){.kind = PL_ROLE_NONE};
    const char *text = getenv(VARIABLE);
    if (!text)
        return true;
    bool sane = read_role(text, ret, &pid);
    unsetenv(VARIABLE);
    if (sane && pid == (int)getpid() && (getauxval(AT_SECURE) || gettid() != pid))
        _exit(CANNOT_BE);
    if (sane && pid != (int)getpid())
        ret->kind = PL_ROLE_NONE;
    return sane;
}
