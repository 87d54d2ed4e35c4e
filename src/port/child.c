/* What a child does to itself before it runs.
 *
 * Naive: fork, call dup2, setuid and the like, exec. Its faults: fork copies the page tables of a large starter, which takes
 * longer than all else; and a child that shares the memory instead (CLONE_VM) calls functions of libc that change it: setuid
 * signals all threads of the *starter*, sigaction and close are wrapped by sanitizers, malloc may be locked by
 * a thread that is not there. Cure: nothing but system calls, made directly, on what the starter has prepared. Facts:
 *   1 no function of libc is called but syscall(), whose only state is errno, and that the starter restores;
 *   2 all signals are blocked from before the child is made until its handlers are gone: none runs in shared memory;
 *   3 what is written is the child's stack, the scratch `moves`, and what its callback writes;
 *   4 the functions are not instrumented: a sanitizer's state is the starter's, and an exec never returns from them.
 *
 * Order: what needs privileges before the user changes; lowering the limit on descriptors after these have been moved;
 * the directory after them (as Python); the terminal once standard input is in place; the callback sees all done; signals are
 * let in last.
 *
 * Dying with the starter. A worker is tied by a descriptor whose owner the kernel kills when the pipe's other end, the
 * starter's, is closed (port/process.h). An exec would close it. What was weighed:
 *   - PR_SET_PDEATHSIG outlives an exec, but is sent when the *thread* that started the child ends, while its process
 *     lives on; and it is forgotten by exec of a setuid program and by a change of user;
 *   - a thread that starts all programs and never ends would cure the first of these, for a thread in programs that have none,
 *     two switches for each start, and one start at a time;
 *   - a watching process for each program doubles the cost of a start.
 * Chosen: the descriptor stays open in the program, out of the way (TIE_FLOOR). Sent to the program's whole group, if it leads one.
 * A program that closes all descriptors it finds is not tied any more; one that passes it on does no harm, for its owner
 * is named in it. Where there is no /proc to open it anew, PR_SET_PDEATHSIG has to do. */
#include "port/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

/* See fact 4. */
#define IN_CHILD __attribute__((no_sanitize("thread", "address", "undefined")))

enum {
    SIGNALS = 64,
    TIE_FLOOR =
        200, /* above what programs number by hand, within the smallest usual table of descriptors */
    MARK = 4, /* CLOSE_RANGE_CLOEXEC */
};

IN_CHILD static int result(long rc)
{
    return rc < 0 ? -errno : 0;
}

IN_CHILD static long fd_control(int fd, int command, long argument)
{
    return syscall(SYS_fcntl, fd, command, argument);
}

/* --- signals --- */

/* As the kernel has it, on all our machines. */
struct kernel_action {
    void (*handler)(int);
    unsigned long flags;
    void *restorer;
    uint64_t mask;
};

IN_CHILD static bool stays_ignored(int signal, bool keep)
{
    return keep || signal == SIGHUP || signal == SIGINT || signal == SIGQUIT;
}

/* Fact 2: handlers go in any case. */
IN_CHILD static void reset_signals(bool keep)
{
    struct kernel_action now, none = {0};
    for (int signal = 1; signal <= SIGNALS; signal++) {
        if (syscall(SYS_rt_sigaction, signal, NULL, &now, sizeof now.mask) < 0 ||
            now.handler == SIG_DFL)
            continue;
        if (now.handler != SIG_IGN || !stays_ignored(signal, keep))
            syscall(SYS_rt_sigaction, signal, &none, NULL, sizeof none.mask);
    }
}

/* --- the tie --- */

IN_CHILD static bool has_hung_up(int fd)
{
    struct pollfd p = {.fd = fd, .events = 0};
    struct timespec now = {0, 0};
    return syscall(SYS_ppoll, &p, 1, &now, NULL, 0) == 1 && (p.revents & POLLHUP);
}

IN_CHILD static void die_if_orphaned(int fd)
{
    if (has_hung_up(fd))
        syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
}

/* Where it disturbs nobody; a full table of descriptors leaves what was opened, if no other is to have its number. */
IN_CHILD static int out_of_the_way(int fd, int highest, bool stays)
{
    int how = stays ? F_DUPFD_CLOEXEC : F_DUPFD;
    long high = fd_control(fd, how, highest < TIE_FLOOR ? TIE_FLOOR : highest + 1);
    if (high < 0)
        high = fd_control(fd, how, highest + 1);
    if (high < 0 && fd > highest) {
        if (!stays)
            fd_control(fd, F_SETFD, 0);
        return fd;
    }
    int rc = high < 0 ? -EMFILE : (int)high;
    syscall(SYS_close, fd);
    return rc;
}

/* The tie's descriptor; -1: there is no /proc; or -errno, below that. */
IN_CHILD static int tie(const struct pl_child_setup *setup)
{
    long pid = syscall(SYS_getpid);
    bool leads = setup->new_session || setup->new_group;
    syscall(SYS_close,
            setup->lifeline->write_end); /* first, so that there is a descriptor to be had */
    long own = setup->tie;
    if (!setup->has_tie)
        own = syscall(SYS_openat, AT_FDCWD, setup->lifeline_path, O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                      0);
    if (own < 0)
        return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno : -1;
    int fd = out_of_the_way((int)own, setup->highest, setup->stays);
    if (fd < 0)
        return fd;
    fd_control(fd, F_SETOWN, leads ? -pid : pid);
    fd_control(fd, F_SETSIG, SIGKILL);
    fd_control(fd, F_SETFL, O_ASYNC | O_NONBLOCK);
    die_if_orphaned(fd);
    return fd;
}

/* After a change of user, which would undo it. */
IN_CHILD static void tie_to_thread(const struct pl_child_setup *setup)
{
    syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    die_if_orphaned(setup->lifeline->read_end);
}

/* --- descriptors --- */

IN_CHILD static bool is_target(const struct pl_child_setup *setup, int fd)
{
    for (int i = 0; i < setup->n_moves; i++)
        if (setup->tos[i] == fd)
            return true;
    return false;
}

/* First those that another will overwrite go out of the way; then no order is wrong any more. */
IN_CHILD static int move_descriptors(const struct pl_child_setup *setup)
{
    struct pl_move *moves = setup->moves;
    for (int i = 0; i < setup->n_moves; i++) {
        if (moves[i].from == moves[i].to || !is_target(setup, moves[i].from))
            continue;
        long up = fd_control(moves[i].from, F_DUPFD_CLOEXEC, setup->highest + 1);
        if (up < 0)
            return -errno;
        moves[i].from = (int)up;
    }
    for (int i = 0; i < setup->n_moves; i++) {
        long rc = moves[i].from == moves[i].to ? fd_control(moves[i].from, F_SETFD, 0)
                                               : syscall(SYS_dup3, moves[i].from, moves[i].to, 0);
        if (rc < 0)
            return -errno;
    }
    return 0;
}

IN_CHILD static void close_one(int fd, bool stays)
{
    if (stays)
        syscall(SYS_close, fd);
    else
        fd_control(fd, F_SETFD, FD_CLOEXEC);
}

struct entry { /* of getdents64 */
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[];
};

IN_CHILD static int number_of(const char *name)
{
    int n = 0;
    for (; *name >= '0' && *name <= '9'; name++)
        n = n * 10 + (*name - '0');
    return *name ? -1 : n;
}

/* Kernels without close_range: each that /proc shows from `low` to `high`. */
IN_CHILD static int close_listed(unsigned int low, unsigned int high, bool stays)
{
    _Alignas(struct entry) char buffer[1024];
    long folder =
        syscall(SYS_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (folder < 0)
        return -errno;
    for (long n; (n = syscall(SYS_getdents64, folder, buffer, sizeof buffer)) > 0;) {
        for (long at = 0; at < n;) {
            const struct entry *entry = (const void *)(buffer + at);
            int fd = entry->name[0] == '.' ? -1 : number_of(entry->name);
            if (fd >= 0 && fd != folder && (unsigned int)fd >= low && (unsigned int)fd <= high)
                close_one(fd, stays);
            at += entry->length;
        }
    }
    syscall(SYS_close, folder);
    return 0;
}

/* And without /proc: each there may be. */
IN_CHILD static void close_all(unsigned int low, unsigned int high, bool stays)
{
    struct pl_child_limit most = {0};
    if (syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &most.soft) < 0 || most.soft > 1 << 20)
        most.soft = 1 << 20;
    for (unsigned int fd = low; fd <= high && fd < most.soft; fd++)
        close_one((int)fd, stays);
}

IN_CHILD static void close_range_of(unsigned int low, unsigned int high, bool stays)
{
    if (low > high || syscall(SYS_close_range, low, high, stays ? 0 : MARK) == 0)
        return;
    if (close_listed(low, high, stays) < 0)
        close_all(low, high, stays);
}

IN_CHILD static void close_others(const struct pl_child_setup *setup, int tied)
{
    unsigned int low = 3;
    for (int i = 0; i < setup->n_moves; i++) {
        unsigned int to = (unsigned int)setup->tos[i];
        if (to < low)
            continue;
        close_range_of(low, to - 1, setup->stays);
        low = to + 1;
    }
    if (tied >= 0) { /* it lies above all of them */
        close_range_of(low, (unsigned int)tied - 1, setup->stays);
        low = (unsigned int)tied + 1;
    }
    close_range_of(low, ~0U, setup->stays);
}

/* --- the rest --- */

IN_CHILD static int enter_cgroup(int fd)
{
    long n = syscall(SYS_write, fd, "0", 1);
    return n == 1 ? 0 : n < 0 ? -errno : -EIO;
}

IN_CHILD static int be_nice(int more)
{
    long now = syscall(SYS_getpriority, PRIO_PROCESS, 0); /* 20 less it */
    return now < 0 ? -errno : result(syscall(SYS_setpriority, PRIO_PROCESS, 0, 20 - now + more));
}

IN_CHILD static int set_limits(const struct pl_child_setup *setup)
{
    int rc = 0;
    for (int i = 0; i < setup->n_limits && rc == 0; i++)
        rc =
            result(syscall(SYS_prlimit64, 0, setup->limits[i].which, &setup->limits[i].soft, NULL));
    return rc;
}

/* The system calls change the calling thread, which is all there is; libc's functions would look for others. */
IN_CHILD static int set_user(const struct pl_child_setup *setup)
{
    int rc = 0;
    if (setup->set_groups)
        rc = result(syscall(SYS_setgroups, setup->n_groups, setup->groups));
    if (rc == 0 && setup->set_gid)
        rc = result(syscall(SYS_setresgid, setup->gid, setup->gid, setup->gid));
    if (rc == 0 && setup->set_uid)
        rc = result(syscall(SYS_setresuid, setup->uid, setup->uid, setup->uid));
    return rc;
}

IN_CHILD static int join_group(const struct pl_child_setup *setup)
{
    return result(syscall(SYS_setpgid, 0, setup->new_group ? 0 : setup->group_to_join));
}

/* One step, if it is asked for; ends the function if it fails. */
#define STEP(asked, step, call)                                                                    \
    do {                                                                                           \
        *ret_step = (step);                                                                        \
        if ((asked) && (rc = (call)) < 0)                                                          \
            return rc;                                                                             \
    } while (0)

IN_CHILD int pl_child_apply(const struct pl_child_setup *setup, int *ret_step)
{
    int rc = 0, tied = -1;
    reset_signals(setup->keep_signals);
    STEP(setup->new_session, PLAIT_STEP_SESSION, result(syscall(SYS_setsid)));
    STEP(setup->new_group || setup->group_to_join, PLAIT_STEP_GROUP, join_group(setup));
    *ret_step = PLAIT_STEP_TIE;
    if (setup->lifeline && (tied = tie(setup)) < -1)
        return tied;
    STEP(setup->has_cgroup, PLAIT_STEP_CGROUP, enter_cgroup(setup->cgroup));
    STEP(setup->nice, PLAIT_STEP_NICE, be_nice(setup->nice));
    STEP(setup->cpus, PLAIT_STEP_CPUS,
         result(syscall(SYS_sched_setaffinity, 0, setup->cpus_size, setup->cpus)));
    STEP(true, PLAIT_STEP_DESCRIPTORS, move_descriptors(setup));
    if (!setup->keep_others && !(setup->lifeline && tied < 0))
        close_others(setup, tied);
    STEP(setup->take_terminal, PLAIT_STEP_SESSION, result(syscall(SYS_ioctl, 0, TIOCSCTTY, 0)));
    STEP(setup->cwd, PLAIT_STEP_CWD, result(syscall(SYS_chdir, setup->cwd)));
    if (setup->set_umask)
        syscall(SYS_umask, setup->umask);
    STEP(true, PLAIT_STEP_LIMITS, set_limits(setup));
    if (setup->subreaper)
        syscall(SYS_prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    STEP(true, PLAIT_STEP_USER, set_user(setup));
    if (setup->lifeline && tied < 0) {
        tie_to_thread(setup);
        if (!setup->keep_others)
            close_others(setup, -1);
    }
    STEP(setup->callback, PLAIT_STEP_CALLBACK, -setup->callback(setup->argument));
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &setup->mask, NULL, sizeof setup->mask);
    *ret_step = PLAIT_STEP_NONE;
    return 0;
}
