/* The end of a program: learned by many, collected once.
 *
 * Naive: waitpid(pid) by whoever waits, kill(pid) by whoever signals. Their races: of two that wait one gets ECHILD; and between
 * a look and a kill the pid may have been collected and be another's. Cure: the pidfd, which names this process for ever and is
 * readable once it has ended, is what everybody waits for; collecting and signalling exclude each other. Facts:
 *   1 the zombie is collected under `lock`, once; `end` is written before `ended`, and constant after;
 *   2 signals are sent under `lock` while `ended` is 0: the pid is its own then, even without a pidfd;
 *   3 nobody sleeps with `lock` held.
 *
 * Others may collect it first: a library that waits for any child, or the kernel, if SIGCHLD is ignored. Then the kernel is asked by
 * the pidfd how it ended, which it remembers since Linux 6.15. Before, that is not to be had: PLAIT_ENOSTATUS, never a 0 that
 * would look like success. Without pidfds (before Linux 5.3, or refused) waiting is looking, at growing intervals. */
#include "program/program_internal.h"

#include "base/at_fork.h"
#include "base/atomic.h"
#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIRST_LOOK = 500 * 1000, LONGEST_LOOK = 50 * 1000 * 1000, BY_PIDFD = 3 };

/* --- how it ended --- */

/* As the kernel has it (include/uapi/linux/pidfd.h), its first version. */
struct pidfd_info {
    uint64_t mask, cgroup;
    uint32_t pid, tgid, ppid, ids[8];
    int32_t exit_code;
};
_Static_assert(sizeof(struct pidfd_info) == 64, "as the kernel has it");
enum { INFO_EXIT = 8 };
#define GET_INFO _IOWR(0xff, 11, struct pidfd_info)

static int64_t ns_of(struct timeval t)
{
    return (int64_t)t.tv_sec * 1000000000 + (int64_t)t.tv_usec * 1000;
}

static void note_status(plait_program_end *end, int status)
{
    end->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    end->core_dumped = WIFSIGNALED(status) && WCOREDUMP(status);
    end->status = end->signal ? -end->signal : WEXITSTATUS(status);
}

/* Somebody else has collected it. */
static void learn_from_kernel(plait_program *p)
{
    struct pidfd_info info = {.mask = INFO_EXIT};
    bool known = p->pidfd >= 0 && ioctl(p->pidfd, GET_INFO, &info) == 0 && (info.mask & INFO_EXIT);
    p->end.unknown = !known;
    p->end.status = -1;
    if (known)
        note_status(&p->end, info.exit_code);
}

static int collect(plait_program *p, siginfo_t *info, struct rusage *usage)
{
    int by_pidfd = p->pidfd >= 0;
    long rc;
    info->si_pid = 0;
    do
        rc = syscall(SYS_waitid, by_pidfd ? BY_PIDFD : P_PID, by_pidfd ? p->pidfd : p->pid, info,
                     WEXITED | WNOHANG | __WALL, usage);
    while (rc < 0 && errno == EINTR);
    /* Kernels from 5.2 to 5.3 have pidfds and do not wait by them. */
    if (rc < 0 && errno == EINVAL && by_pidfd)
        rc = syscall(SYS_waitid, P_PID, p->pid, info, WEXITED | WNOHANG | __WALL, usage);
    return rc < 0 ? -errno : info->si_pid == 0 ? -EAGAIN : 0;
}

int pl_program_reap_locked(plait_program *p)
{
    siginfo_t info;
    struct rusage usage;
    if (pl_load_relaxed(&p->ended))
        return 0;
    int rc = collect(p, &info, &usage);
    if (rc == -EAGAIN)
        return PLAIT_EBUSY;
    p->end = (plait_program_end){.pid = (int)p->pid};
    if (rc < 0) {
        if (p->pidfd >= 0 && !pl_process_has_ended(p->pidfd))
            return PLAIT_EBUSY; /* its tracer's, say */
        learn_from_kernel(p);
    } else {
        bool killed = info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED;
        p->end.signal = killed ? info.si_status : 0;
        p->end.status = killed ? -info.si_status : info.si_status;
        p->end.core_dumped = info.si_code == CLD_DUMPED;
        p->end.user_ns = ns_of(usage.ru_utime);
        p->end.system_ns = ns_of(usage.ru_stime);
        p->end.max_rss = (int64_t)usage.ru_maxrss * 1024;
    }
    /* R:program.ended, pairs with tell: the end is written. */
    pl_store_release(&p->ended, 1u);
    return 0;
}

static int reap(plait_program *p)
{
    int saved = errno;
    pthread_mutex_lock(&p->lock);
    int rc = pl_program_reap_locked(p);
    pthread_mutex_unlock(&p->lock);
    errno = saved;
    return rc;
}

/* 0, PLAIT_ENOSTATUS; PLAIT_EBUSY if it runs as far as is known. */
static int tell(plait_program *p, plait_program_end *ret)
{
    /* A:program.ended, pairs with pl_program_reap_locked. */
    if (!pl_load_acquire(&p->ended))
        return PLAIT_EBUSY;
    if (ret)
        *ret = p->end;
    return p->end.unknown ? PLAIT_ENOSTATUS : 0;
}

/* --- waiting --- */

static int poll_once(plait_program *p, plait_program_end *ret)
{
    int rc = tell(p, ret);
    if (rc == PLAIT_EBUSY && reap(p) == 0)
        rc = tell(p, ret);
    return rc;
}

/* Without a pidfd: sleeps for a while, in the way of the calling worker. */
static int nap(plait_program *p, struct pl_wait *wait, int64_t *length)
{
    int rc = pl_may_wait(wait);
    if (rc < 0)
        return rc;
    int64_t deadline = wait->deadline, until = plait_now() + *length;
    *length = *length * 2 < LONGEST_LOOK ? *length * 2 : LONGEST_LOOK;
    if (until < deadline)
        wait->deadline = until;
    rc = pl_park(&p->ended, 0, wait);
    wait->deadline = deadline;
    return rc == PLAIT_ETIMEDOUT && !pl_passed(deadline) ? 0 : rc;
}

int pl_program_wait(plait_program *p, plait_program_end *ret, struct pl_wait *wait)
{
    int64_t length = FIRST_LOOK;
    for (;;) {
        int rc = poll_once(p, ret);
        if (rc != PLAIT_EBUSY)
            return rc;
        rc = p->pidfd >= 0 ? pl_fd_wait(p->pidfd, POLLIN, wait) : nap(p, wait, &length);
        if (rc < 0)
            return rc;
    }
}

int plait_program_wait(plait_program *program, plait_program_end *ret, int64_t timeout)
{
    struct pl_wait wait;
    int rc = program ? pl_wait_begin(&wait, PL_WAIT_FD, timeout) : PLAIT_EINVAL;
    if (rc < 0)
        return rc;
    if (program->forks != pl_forks)
        return PLAIT_ECHILD;
    return pl_program_wait(program, ret, &wait);
}

int plait_program_poll(plait_program *program, plait_program_end *ret)
{
    if (!program)
        return PLAIT_EINVAL;
    return program->forks == pl_forks ? poll_once(program, ret) : PLAIT_ECHILD;
}

/* --- signals --- */

int pl_program_send_locked(plait_program *p, int signal)
{
    if (p->pidfd >= 0) {
        int rc = pl_process_signal(p->pidfd, signal);
        if (rc != -ENOSYS && rc != -EBADF)
            return rc;
    }
    return kill(p->pid, signal) < 0 ? -errno : 0;
}

int plait_program_signal(plait_program *program, int signal)
{
    if (!program || signal < 0 || signal > SIGRTMAX)
        return PLAIT_EINVAL;
    if (program->forks != pl_forks)
        return PLAIT_ECHILD;
    int saved = errno;
    pthread_mutex_lock(&program->lock);
    int rc = pl_program_reap_locked(program) == 0 ? PLAIT_ESRCH
                                                  : pl_program_send_locked(program, signal);
    pthread_mutex_unlock(&program->lock);
    errno = saved;
    return rc;
}

int plait_program_terminate(plait_program *program)
{
    return plait_program_signal(program, SIGTERM);
}

int plait_program_kill(plait_program *program)
{
    return plait_program_signal(program, SIGKILL);
}

void pl_program_destroy(plait_program *p)
{
    struct pl_wait wait;
    plait_program_kill_tree(p);
    if (plait_program_kill(p) ==
        PLAIT_EPERM) { /* it runs as another user: nobody here can end it */
        pl_program_forget(p->pid, p->pidfd);
        p->pidfd = -1;
        return;
    }
    pl_wait_begin(&wait, PL_WAIT_FD, PLAIT_FOREVER);
    wait.uncancellable = true;
    while (pl_program_wait(p, NULL, &wait) != 0 && !pl_load_acquire(&p->ended)) {
        /* The waiting room cannot be had: then the kernel's. */
        struct pollfd end = {.fd = p->pidfd, .events = POLLIN};
        poll(&end, p->pidfd >= 0, p->pidfd >= 0 ? -1 : 1);
    }
}

/* --- those that nobody waits for --- */

struct forgotten {
    struct forgotten *next;
    pid_t pid;
    int pidfd;
};

static PL_WRITTEN_AT_FORK pthread_mutex_t forgotten_lock = PTHREAD_MUTEX_INITIALIZER;
static PL_WRITTEN_AT_FORK struct forgotten *forgotten; /* under the lock; a forked child has none */

static void forget_in_child(void)
{
    pthread_mutex_init(&forgotten_lock, NULL);
    while (forgotten) {
        struct forgotten *f = forgotten;
        forgotten = f->next;
        pl_close_fd(f->pidfd);
        free(f);
    }
}

__attribute__((constructor(101))) static void watch_fork(void)
{
    pthread_atfork(NULL, NULL, forget_in_child);
}

void pl_program_forget(pid_t pid, int pidfd)
{
    struct forgotten *f = malloc(sizeof *f);
    if (!f) { /* it stays a zombie until this process ends */
        pl_close_fd(pidfd);
        return;
    }
    pthread_mutex_lock(&forgotten_lock);
    *f = (struct forgotten){.next = forgotten, .pid = pid, .pidfd = pidfd};
    forgotten = f;
    pthread_mutex_unlock(&forgotten_lock);
}

static bool has_gone(const struct forgotten *f)
{
    plait_program p = {.pid = f->pid, .pidfd = f->pidfd};
    return pl_program_reap_locked(&p) == 0;
}

void pl_program_reap_forgotten(void)
{
    int saved = errno;
    pthread_mutex_lock(&forgotten_lock);
    for (struct forgotten **at = &forgotten; *at;) {
        struct forgotten *f = *at;
        if (has_gone(f)) {
            *at = f->next;
            pl_close_fd(f->pidfd);
            free(f);
        } else {
            at = &f->next;
        }
    }
    pthread_mutex_unlock(&forgotten_lock);
    errno = saved;
}
