/* waitid, pidfd, /proc and the lifeline. */
#include "port/process.h"

#include "base/at_fork.h"
#include "base/clock.h"
#include "port/memory.h"
#include "port/stat.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif

static int64_t timeval_ns(struct timeval t)
{
    return (int64_t)t.tv_sec * 1000000000 + (int64_t)t.tv_usec * 1000;
}

/* glibc's waitid leaves the usage out; the system call has it. __WALL: a child that is killed before its exec is none
 * that ends with SIGCHLD (port/spawn.c). */
static int wait_once(int pid, int options, siginfo_t *info, struct rusage *usage)
{
    int saved = errno;
    info->si_pid = 0;
    long rc;
    do
        rc = syscall(SYS_waitid, P_PID, pid, info, options | __WALL, usage);
    while (rc < 0 && errno == EINTR);
    int error = rc < 0 ? -errno : info->si_pid == 0 ? -EAGAIN : 0;
    errno = saved;
    return error;
}

int pl_process_open(int pid)
{
    int saved = errno;
    long fd = syscall(SYS_pidfd_open, pid, 0);
    int rc = fd < 0 ? -errno : (int)fd;
    errno = saved;
    return rc;
}

int pl_process_signal(int handle, int signal)
{
    int saved = errno;
    long rc = syscall(SYS_pidfd_send_signal, handle, signal, NULL, 0);
    if (rc < 0)
        rc = -errno;
    errno = saved;
    return (int)rc;
}

/* A pidfd reads as ready once its process is a zombie or gone. */
static int wait_for_end(int handle, int64_t deadline)
{
    struct pollfd p = {.fd = handle, .events = POLLIN};
    for (;;) {
        int64_t left = deadline == PL_NEVER ? 0 : deadline - plait_now();
        struct timespec ts = pl_timespec(left > 0 ? left : 0);
        int rc = ppoll(&p, 1, deadline == PL_NEVER ? NULL : &ts, NULL);
        if (rc > 0)
            return 0;
        if (rc == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}

int pl_process_wait(int pid, int64_t deadline)
{
    int saved = errno;
    int handle = pl_process_open(pid);
    if (handle < 0)
        return handle == -ESRCH ? 0 : -ENOSYS;
    int rc = wait_for_end(handle, deadline);
    close(handle);
    errno = saved;
    return rc;
}

static int read_stat(int pid, struct pl_stat *ret)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    return pl_stat_read(path, ret);
}

uint64_t pl_process_birth(int pid)
{
    struct pl_stat line;
    int saved = errno;
    int rc = read_stat(pid, &line);
    errno = saved;
    return rc < 0 ? 0 : line.birth;
}

int64_t pl_boot_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

uint64_t pl_process_birth_between(int64_t earliest, int64_t latest)
{
    enum { SLACK = 1000 }; /* ns; the clock is read in user space, by another processor perhaps */
    static int64_t tick;   /* atomic */
    int64_t length = __atomic_load_n(&tick, __ATOMIC_RELAXED);
    if (length == 0) {
        length = 1000000000 / sysconf(_SC_CLK_TCK);
        __atomic_store_n(&tick, length, __ATOMIC_RELAXED);
    }
    int64_t first = (earliest - SLACK) / length, last = (latest + SLACK) / length;
    return first == last && first > 0 ? (uint64_t)first : 0;
}

int pl_process_threads(int pid)
{
    char path[40];
    struct stat st;
    int saved = errno;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    int links = stat(path, &st) == 0 ? (int)st.st_nlink : 2; /* ., .. and one for each thread */
    errno = saved;
    return links - 2;
}

/* Whether a process may be the one of that birth; what is not known (0) speaks for it. */
static bool may_be_of(int pid, uint64_t birth)
{
    uint64_t now = birth ? pl_process_birth(pid) : 0;
    return now == 0 || now == birth;
}

bool pl_process_has_ended(int handle)
{
    struct pollfd p = {.fd = handle, .events = POLLIN};
    int saved = errno;
    int rc = poll(&p, 1, 0);
    errno = saved;
    return rc == 1;
}

bool pl_process_lives(int pid, uint64_t birth)
{
    int handle = pl_process_open(pid);
    if (handle < 0)
        return handle != -ESRCH && !pl_process_gone(pid) && may_be_of(pid, birth);
    bool lives = !pl_process_has_ended(handle) && may_be_of(pid, birth);
    close(handle);
    return lives;
}

/* To other users the kernel shows every status as 0. */
static bool may_see_status(int pid)
{
    char path[40];
    struct stat st;
    snprintf(path, sizeof path, "/proc/%d", pid);
    return geteuid() == 0 || (stat(path, &st) == 0 && st.st_uid == geteuid());
}

static int64_t ticks_ns(unsigned long ticks)
{
    return (int64_t)ticks * (1000000000 / sysconf(_SC_CLK_TCK));
}

int pl_process_peek(int pid, uint64_t birth, int64_t patience, struct pl_process_end *ret)
{
    struct pl_stat line;
    int saved = errno;
    if (pl_process_wait(pid, plait_now() + patience) == -ETIMEDOUT)
        return -EAGAIN;
    int rc = read_stat(pid, &line);
    errno = saved;
    if (rc < 0)
        return rc;
    int status = line.status;
    if ((line.state != 'Z' && line.state != 'X') || (birth && birth != line.birth))
        return -ESRCH;
    if (status == 0 && !may_see_status(pid))
        return -EACCES;
    *ret = (struct pl_process_end){
        .status = WIFEXITED(status) ? WEXITSTATUS(status) : 0,
        .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
        .core = WIFSIGNALED(status) && WCOREDUMP(status),
        .user_ns = ticks_ns(line.user),
        .system_ns = ticks_ns(line.system),
    };
    return 0;
}

int pl_process_reap(int pid, uint64_t birth, struct pl_process_end *ret)
{
    siginfo_t info;
    struct rusage usage;
    if (!may_be_of(pid, birth))
        return -ECHILD;
    int rc = wait_once(pid, WEXITED | WNOHANG | WNOWAIT, &info, &usage);
    if (rc < 0)
        return rc;
    bool killed = info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED;
    if (!killed && info.si_code != CLD_EXITED)
        return -EAGAIN; /* it has stopped for its tracer, us */
    *ret = (struct pl_process_end){
        .status = killed ? 0 : info.si_status,
        .signal = killed ? info.si_status : 0,
        .core = info.si_code == CLD_DUMPED,
        .user_ns = timeval_ns(usage.ru_utime),
        .system_ns = timeval_ns(usage.ru_stime),
        .max_rss = (int64_t)usage.ru_maxrss * 1024,
    };
    return 0;
}

void pl_process_collect(int pid)
{
    siginfo_t info;
    struct rusage usage;
    wait_once(pid, WEXITED | WNOHANG, &info, &usage);
}

void pl_process_await(int pid)
{
    siginfo_t info;
    struct rusage usage;
    wait_once(pid, WEXITED, &info, &usage);
}

bool pl_process_child_runs(int pid)
{
    siginfo_t info;
    struct rusage usage;
    return wait_once(pid, WEXITED | WNOHANG | WNOWAIT, &info, &usage) == -EAGAIN;
}

bool pl_process_gone(int tid)
{
    int saved = errno;
    bool gone = kill(tid, 0) < 0 && errno == ESRCH;
    errno = saved;
    return gone;
}

/* The descriptor that ties this process to its parent, and its pipe. */
static PL_WRITTEN_AT_FORK int tie = -1;
static PL_WRITTEN_AT_FORK uint64_t tie_inode;

/* Names the pipe behind a descriptor; 0 if it is none. */
static uint64_t inode_of(int fd)
{
    struct stat st;
    int saved = errno;
    bool fifo = fd >= 0 && fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
    errno = saved;
    return fifo ? (uint64_t)st.st_ino : 0;
}

int pl_lifeline_make(struct pl_lifeline *ret)
{
    int ends[2], saved = errno;
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        int error = -errno;
        errno = saved;
        return error;
    }
    ret->read_end = pl_descriptor_above_streams(ends[0]);
    ret->write_end = pl_descriptor_above_streams(ends[1]);
    errno = saved;
    if (ret->read_end < 0 || ret->write_end < 0) {
        close(ret->read_end);
        close(ret->write_end);
        ret->read_end = ret->write_end = -1;
        return -EMFILE;
    }
    ret->inode = inode_of(ret->read_end);
    return 0;
}

void pl_lifeline_untie(void)
{
    if (tie >= 0 && inode_of(tie) == tie_inode)
        close(tie);
    tie = -1;
}

int pl_lifeline_keep(void)
{
    enum { FLOOR = 200 };
    if (tie < 0 || inode_of(tie) != tie_inode)
        return -1;
    int saved = errno, kept = fcntl(tie, F_DUPFD, FLOOR);
    if (kept < 0)
        kept = fcntl(tie, F_DUPFD, STDERR_FILENO + 1);
    errno = saved;
    return kept;
}

bool pl_lifeline_is_usable(const struct pl_lifeline *line)
{
    struct stat st;
    int saved = errno;
    bool mine =
        pl_lifeline_is_whole(line) && fstat(line->read_end, &st) == 0 && st.st_uid == geteuid();
    errno = saved;
    return mine;
}

bool pl_lifeline_is_whole(const struct pl_lifeline *line)
{
    return line->read_end >= 0 && inode_of(line->read_end) == line->inode &&
           inode_of(line->write_end) == line->inode;
}

void pl_lifeline_drop(const struct pl_lifeline *parents)
{
    if (!pl_lifeline_is_whole(parents))
        return;
    close(parents->read_end);
    close(parents->write_end);
}

static bool has_hung_up(int fd)
{
    struct pollfd p = {.fd = fd, .events = 0};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLHUP);
}

void pl_lifeline_tie(const struct pl_lifeline *parents, int own)
{
    close(parents->write_end); /* first, so that there is a descriptor to be had */
    pl_lifeline_tie_to(parents->read_end, own);
}

int pl_lifeline_open(int read_end)
{
    /* Whom to signal is a property of the open file, and the inherited one is shared with all
     * siblings: each child needs an open file of its own on the same pipe. */
    char path[40];
    int saved = errno;
    snprintf(path, sizeof path, "/proc/self/fd/%d", read_end);
    int own = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (own >= 0)
        own = pl_descriptor_above_streams(own);
    errno = saved;
    return own;
}

/* No /proc: the second best follows the forking thread. */
static void tie_to_thread(int read_end)
{
    pid_t parent = getppid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || has_hung_up(read_end))
        kill(getpid(), SIGKILL);
    close(read_end);
}

void pl_lifeline_tie_to(int read_end, int own)
{
    pl_lifeline_untie();
    /* Another number's file: the program has closed ours, and used it, meanwhile. */
    if (own < 0 || inode_of(own) != inode_of(read_end))
        own = pl_lifeline_open(read_end);
    if (own < 0) {
        tie_to_thread(read_end);
        return;
    }
    close(read_end);
    tie = own;
    tie_inode = inode_of(own);
    fcntl(own, F_SETOWN, getpid());
    fcntl(own, F_SETSIG, SIGKILL);
    fcntl(own, F_SETFL, O_ASYNC | O_NONBLOCK);
    if (has_hung_up(own)) /* it died before we were tied */
        kill(getpid(), SIGKILL);
}
