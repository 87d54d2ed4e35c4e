/* Starting a program: a child that shares the starter's memory, and stops it, until it has another program in its own.
 *
 * clone(CLONE_VM | CLONE_VFORK): no page table is copied, so the time does not grow with the starter; and as the
 * memory is shared until the exec, the child says in it what has failed, with no pipe between. Facts:
 *   1 the starting thread stands still until the child has exec'ed or ended: what lies on its stack is there;
 *   2 all its signals are blocked meanwhile, so no handler runs in the child;
 *   3 the child's end is no signal to the starter as long as it has not exec'ed (its exit signal is 0, which the kernel makes
 *     SIGCHLD at an exec). So a start that fails bothers nobody's handler of SIGCHLD, nobody's wait(2) takes the child, and it
 *     is there to be collected although SIGCHLD may be ignored.
 *
 * With a change of user the memory is not shared: another thread of the starter, or a process of that user which traces the
 * child, could reach the memory of the one from the other; and the kernel makes a memory that changes its user secret, the
 * starter's too. Then, and where such a clone is refused (a seccomp filter), the child is a copy and reports through
 * a pipe that an exec closes. */
#include "port/child.h"

#include "base/at_fork.h"
#include "base/sanitizers.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000
#endif

#define IN_CHILD __attribute__((no_sanitize("thread", "address", "undefined")))

/* TSan's own clone() takes the child for a fork's copy and, in the memory that is shared, ends its watch of the starter. */
#if PL_TSAN
int __clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);
#define clone __clone
#endif

enum { STACK = 128 * 1024, GUARD = 4096, SHARES = CLONE_VM | CLONE_VFORK | CLONE_PIDFD };

struct report {
    int error; /* -errno; 0: none */
    int step, path;
};

/* --- in the child --- */

/* What is no program by itself is taken for a script of the shell. */
IN_CHILD static void exec_by_shell(const struct pl_spawn *spawn, char *path)
{
    int n = 0;
    spawn->shell_argv[n++] = (char *)(uintptr_t) "/bin/sh";
    spawn->shell_argv[n++] = path;
    for (int i = 1; spawn->argv[0] && spawn->argv[i]; i++)
        spawn->shell_argv[n++] = spawn->argv[i];
    spawn->shell_argv[n] = NULL;
    syscall(SYS_execve, spawn->shell_argv[0], spawn->shell_argv, spawn->env);
}

/* Whether the program may be found in a later directory: as execvp. */
IN_CHILD static bool goes_on(int error)
{
    return error == ENOENT || error == ENOTDIR || error == EACCES || error == ENODEV ||
           error == ETIMEDOUT || error == ESTALE;
}

/* Of several failures the first counts that is more than "not there". */
IN_CHILD static int exec_paths(const struct pl_spawn *spawn, int *ret_path)
{
    int kept = ENOENT;
    bool found = false;
    *ret_path = 0;
    for (int i = 0; spawn->paths[i]; i++) {
        syscall(SYS_execve, spawn->paths[i], spawn->argv, spawn->env);
        if (errno == ENOEXEC && spawn->shell_argv) {
            exec_by_shell(spawn, spawn->paths[i]);
            errno = errno == ENOENT ? ENOEXEC : errno; /* no shell here: then as it was */
        }
        bool there = errno != ENOENT && errno != ENOTDIR;
        if (i == 0 || (there && !found) || !goes_on(errno)) {
            kept = errno;
            *ret_path = i;
        }
        found |= there;
        if (!goes_on(errno))
            break;
    }
    return -kept;
}

IN_CHILD int pl_child_exec(const struct pl_spawn *spawn, int *ret_path)
{
    return exec_paths(spawn, ret_path);
}

struct child {
    const struct pl_spawn *spawn;
    struct report report; /* written by the child */
};

IN_CHILD static void run(const struct pl_spawn *spawn, struct report *report)
{
    report->error = pl_child_apply(spawn->setup, &report->step);
    if (report->error < 0)
        return;
    report->step = PLAIT_STEP_EXEC;
    report->error = exec_paths(spawn, &report->path);
}

IN_CHILD static int sharing_child(void *arg)
{
    struct child *child = arg;
    struct report report = {0, 0, 0};
    run(child->spawn, &report);
    child->report = report;
    syscall(SYS_exit_group, 127);
    return 127;
}

/* The report fits into the pipe, so writing it does not block; SIGPIPE: the starter is dead, and so is the child. */
IN_CHILD static void copied_child(const struct pl_spawn *spawn, int pipe)
{
    struct report report = {0, 0, 0};
    run(spawn, &report);
    syscall(SYS_write, pipe, &report, sizeof report);
    syscall(SYS_exit_group, 127);
}

/* --- in the starter --- */

/* All, libc's own included: its handlers would run in shared memory, too. */
static void block_signals(uint64_t *before)
{
    uint64_t all = ~UINT64_C(0);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, before, sizeof all);
}

static void restore_signals(const uint64_t *before)
{
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, before, NULL, sizeof *before);
}

static void collect(pid_t pid, int pidfd)
{
    siginfo_t info;
    while (syscall(SYS_waitid, P_PID, pid, &info, WEXITED | __WALL, NULL) < 0 && errno == EINTR)
        ;
    if (pidfd >= 0)
        close(pidfd);
}

/* -EAGAIN and -ENOMEM: so it is. Others: such a child cannot be had here. */
static int start_sharing(const struct pl_spawn *spawn, struct pl_spawned *ret,
                         struct report *report)
{
    struct child child = {.spawn = spawn};
    char *stack = mmap(NULL, STACK + GUARD, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return -ENOMEM;
    mprotect(stack, GUARD, PROT_NONE);
    ret->pidfd = -1;
    ret->pid = clone(sharing_child, stack + GUARD + STACK, SHARES, &child, &ret->pidfd, NULL, NULL);
    int rc = ret->pid < 0 ? -errno : 0;
    munmap(stack, STACK + GUARD);
    /* The child has gone on to its program, or has ended: nobody writes any more. */
    *report = child.report;
    return rc;
}

static int make_pipe(int highest, int ends[2])
{
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    for (int i = 0; i < 2; i++) {
        int up = ends[i] > highest ? ends[i] : fcntl(ends[i], F_DUPFD_CLOEXEC, highest + 1);
        if (up < 0) {
            int error = -errno;
            close(ends[0]);
            close(ends[1]);
            return error;
        }
        if (up != ends[i])
            close(ends[i]);
        ends[i] = up;
    }
    return 0;
}

/* A fork without fork's handlers, which are for children that go on as this program. Its pidfd comes with it: later the pid
 * might be somebody else's already. */
static int make_copy(struct pl_spawned *ret)
{
    ret->pid = (pid_t)syscall(SYS_clone, CLONE_PIDFD, NULL, &ret->pidfd, NULL, 0);
    if (ret->pid >= 0)
        return 0;
    ret->pidfd = -1;
    ret->pid = (pid_t)syscall(SYS_clone, 0, NULL, NULL, NULL, 0);
    if (ret->pid < 0)
        return -errno;
    int pidfd =
        ret->pid > 0 ? pl_process_open(ret->pid) : -1; /* it cannot have been collected: fact 3 */
    ret->pidfd = pidfd < 0 ? -1 : pidfd;
    return 0;
}

/* Held while the writing end is open here: a process that another thread forked meanwhile would have it, too, and hold it open
 * for as long as it lives. */
static PL_WRITTEN_AT_FORK pthread_mutex_t piping = PTHREAD_MUTEX_INITIALIZER;

static void before_fork(void)
{
    pthread_mutex_lock(&piping);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&piping);
}

__attribute__((constructor(101))) static void guard_fork(void)
{
    pthread_atfork(before_fork, after_fork, after_fork);
}

/* 0 with the child and the reading end. */
static int fork_with_pipe(const struct pl_spawn *spawn, struct pl_spawned *ret, int *ret_end)
{
    int ends[2];
    int rc = make_pipe(spawn->setup->highest, ends);
    if (rc < 0)
        return rc;
    rc = make_copy(ret);
    if (rc == 0 && ret->pid == 0)
        copied_child(spawn, ends[1]);
    close(ends[1]);
    if (rc < 0)
        close(ends[0]);
    *ret_end = ends[0];
    return rc;
}

static int start_copied(const struct pl_spawn *spawn, struct pl_spawned *ret, struct report *report)
{
    int end;
    ret->pidfd = -1;
    pthread_mutex_lock(&piping);
    int rc = fork_with_pipe(spawn, ret, &end);
    pthread_mutex_unlock(&piping);
    if (rc < 0)
        return rc;
    ssize_t n = -1;
    while ((n = read(end, report, sizeof *report)) < 0 && errno == EINTR)
        ;
    if (n != sizeof *report)
        *report = (struct report){0, 0, 0};
    close(end);
    return 0;
}

static int start(const struct pl_spawn *spawn, struct pl_spawned *ret, struct report *report)
{
    const struct pl_child_setup *setup = spawn->setup;
    bool changes_user = setup->set_uid || setup->set_gid || setup->set_groups;
    int rc = changes_user ? -ENOSYS : start_sharing(spawn, ret, report);
    bool refused = rc == -ENOSYS || rc == -EPERM || rc == -EINVAL || rc == -EACCES;
    return refused ? start_copied(spawn, ret, report) : rc;
}

int pl_child_spawn(const struct pl_spawn *spawn, struct pl_spawned *ret, int *ret_step,
                   int *ret_path)
{
    int saved = errno, cancelling;
    uint64_t mask;
    struct report report = {0, 0, 0};
    /* A thread that ended here would leave a stack to a child that is still on it. */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelling);
    block_signals(&mask);
    if (spawn->setup->keep_signals) /* but for the one that waiting blocks: see park/poll.c */
        spawn->setup->mask = mask & ~(UINT64_C(1) << (SIGURG - 1));
    int rc = start(spawn, ret, &report);
    *ret_step = rc < 0 ? PLAIT_STEP_CLONE : report.step;
    *ret_path = report.path;
    if (rc == 0 && report.error < 0) {
        collect(ret->pid, ret->pidfd);
        rc = report.error;
    }
    restore_signals(&mask);
    pthread_setcancelstate(cancelling, NULL);
    errno = saved;
    return rc;
}
