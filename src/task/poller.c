/* Descriptors: epoll, the doorbell, and who waits for what.
 *
 * A call is tried first and waits only if it would block; so a wait begins with a descriptor that is not
 * ready, as a rule, and must be told when that changes. Two ways:
 *   - kept: a stream is registered once, edge-triggered, for both directions, and stays so until it is closed:
 *     a wait then costs no system call of its own. Each edge that comes after the failed try is seen, for
 *     edges are taken from the kernel only between tasks.
 *   - once: any other descriptor, about which nothing is known, is registered for one event, and asked directly
 *     before and after. It may be closed and its number used again at any time: then the registration is
 *     gone or wrong, both of which the next wait finds out.
 * Events name the descriptor, not an address, and whoever they wake looks for himself. */
#include "base/atomic.h"
#include "base/clock.h"
#include "base/error.h"
#include "task/task_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { EVENTS_MOST = 256, NUMBERS_MOST = 1 << 24 };

#define DOORBELL UINT64_MAX
#define PROXIES (UINT64_MAX - 1)
#define KEPT ((uint32_t)(EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI) | EPOLLET)

/* One that waits for a descriptor; on its stack. */
struct waiter {
    struct waiter *next;
    struct pl_task *task;
    uint32_t events; /* EPOLL*, which are POLL* too */
    uint32_t got;
};

/* What is known of each descriptor by number. */
struct pl_watch_table {
    int n;
    struct watch {
        struct waiter *waiters;
        uint32_t
            events; /* seen while it is kept, but for those that only say that it can be written */
        bool ends;  /* kept, and its end or a failure has been told: that is not told again */
        bool
            kept; /* it has been registered edge-triggered; perhaps it was another descriptor of that number */
    } fds[];
};

/* --- making and ending --- */

static int watch_own(const struct pl_loop *loop, int fd, uint64_t name)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = name};
    return epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event);
}

int pl_poller_begin(struct pl_loop *loop)
{
    int saved = errno;
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    loop->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool made =
        loop->epoll >= 0 && loop->doorbell >= 0 && watch_own(loop, loop->doorbell, DOORBELL) == 0;
    int why = errno;
    if (!made)
        pl_poller_forget(loop);
    errno = saved;
    return made ? 0 : why == EMFILE || why == ENFILE ? PLAIT_EMFILE : PLAIT_ENOMEM;
}

static void close_own(struct pl_loop *loop)
{
    if (loop->epoll >= 0)
        close(loop->epoll);
    if (loop->doorbell >= 0)
        close(loop->doorbell);
    loop->epoll = loop->doorbell = -1;
}

void pl_poller_forget(struct pl_loop *loop)
{
    pl_proxies_forget(&loop->proxies);
    close_own(loop);
}

void pl_poller_end(struct pl_loop *loop)
{
    pl_proxies_end(&loop->proxies);
    close_own(loop);
    free(loop->watches);
    loop->watches = NULL;
}

void pl_poller_ring(const struct pl_loop *loop)
{
    int saved = errno;
    uint64_t one = 1;
    /* Edge-triggered: each write is an event, nobody need read. It fails after 2^64 - 1 of them. */
    long written = syscall(SYS_write, loop->doorbell, &one, sizeof one); /* no cancellation point */
    (void)written;
    errno = saved;
}

/* --- asking --- */

static void count_event(struct watch *watch)
{
    if (++watch->events == 0)
        watch->events = 1;
}

uint32_t pl_poller_events_of(struct pl_parker *parker, int fd, const struct pl_fd_watch *watch)
{
    struct pl_loop *loop = (struct pl_loop *)parker;
    if (pl_load_relaxed(&watch->loop) != loop->serial || loop->watches->fds[fd].ends)
        return 0;
    return loop->watches->fds[fd].events;
}

static void tell_waiters(struct pl_loop *loop, int fd, uint32_t events)
{
    if (!loop->watches || fd >= loop->watches->n)
        return;
    /* A registration for one event is used up by any: whoever it was not for makes it anew. */
    bool all = !loop->watches->fds[fd].kept;
    if (events & ~(uint32_t)EPOLLOUT)
        count_event(&loop->watches->fds[fd]);
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        loop->watches->fds[fd].ends = true;
    for (struct waiter *w = loop->watches->fds[fd].waiters; w; w = w->next) {
        uint32_t got = events & (w->events | EPOLLERR | EPOLLHUP);
        if (!got && !all)
            continue;
        w->got |= got;
        pl_task_ready(w->task);
    }
}

static void told_by_proxy(void *sleeper)
{
    struct pl_task *task = sleeper;
    task->told = true;
    pl_task_ready(task);
}

/* The system call itself, as in park/fd.c: libc's is a point where pthread_cancel strikes. */
static int pwait(const struct pl_loop *loop, struct epoll_event *events, int ms,
                 const sigset_t *mask)
{
    return (int)syscall(SYS_epoll_pwait, loop->epoll, events, EVENTS_MOST, ms, mask,
                        sizeof(uint64_t));
}

/* epoll_pwait to the nanosecond, if the kernel can. */
static int wait_events(const struct pl_loop *loop, struct epoll_event *events, int64_t time)
{
    static bool no_pwait2; /* atomic */
    if (!__atomic_load_n(&no_pwait2, __ATOMIC_RELAXED)) {
        struct timespec ts = pl_timespec(time);
        int n = (int)syscall(SYS_epoll_pwait2, loop->epoll, events, EVENTS_MOST, &ts,
                             pl_poll_mask(), sizeof(uint64_t));
        if (n >= 0 || errno != ENOSYS)
            return n;
        __atomic_store_n(&no_pwait2, true, __ATOMIC_RELAXED);
    }
    return pwait(loop, events, (int)((time + 999999) / 1000000), pl_poll_mask());
}

/* Sleeps for a nap at most: should a nudge be lost, the loop looks around then. */
static int ask_kernel(const struct pl_loop *loop, struct epoll_event *events, int64_t deadline)
{
    int64_t left = PL_POLL_NAP;
    if (deadline == 0)
        return pwait(loop, events, 0, NULL);
    if (deadline != PL_NEVER)
        left = deadline - plait_now();
    left = left < 0 ? 0 : left < PL_POLL_NAP ? left : PL_POLL_NAP;
    int n = wait_events(loop, events, left);
    if (n == 0 && left == PL_POLL_NAP)
        pl_poll_renew();
    return n;
}

static void watch_proxies(struct pl_loop *loop)
{
    int fd = pl_proxy_fd(&loop->proxies);
    if (fd < 0 || loop->watches_proxies)
        return;
    loop->watches_proxies = watch_own(loop, fd, PROXIES) == 0;
}

void pl_poller_ask(struct pl_loop *loop, int64_t deadline)
{
    struct epoll_event events[EVENTS_MOST];
    pl_proxy_submit(&loop->proxies);
    watch_proxies(loop);
    int n = ask_kernel(loop, events, deadline);
    for (int i = 0; i < n; i++)
        if (events[i].data.u64 < PROXIES)
            tell_waiters(loop, (int)events[i].data.u64, events[i].events);
    pl_proxy_collect(&loop->proxies, told_by_proxy);
}

/* --- waiting --- */

static bool has_room(struct pl_loop *loop, int fd)
{
    if (loop->watches && fd < loop->watches->n)
        return true;
    if (fd >= NUMBERS_MOST || fcntl(fd, F_GETFD) < 0)
        return false;
    int n = fd < 64 ? 128 : fd + fd / 2, had = loop->watches ? loop->watches->n : 0;
    struct pl_watch_table *grown =
        realloc(loop->watches, sizeof *grown + (size_t)n * sizeof grown->fds[0]);
    if (!grown)
        return false;
    memset(&grown->fds[had], 0, (size_t)(n - had) * sizeof grown->fds[0]);
    grown->n = n;
    loop->watches = grown;
    return true;
}

/* Changes the registration of a descriptor, or makes it. 0 or -errno. */
static int register_fd(const struct pl_loop *loop, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u64 = (uint64_t)fd};
    if (epoll_ctl(loop->epoll, EPOLL_CTL_MOD, fd, &event) == 0)
        return 0;
    if (errno == ENOENT && epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) == 0)
        return 0;
    return -errno;
}

static void enlist(struct pl_loop *loop, int fd, struct waiter *w)
{
    w->next = loop->watches->fds[fd].waiters;
    loop->watches->fds[fd].waiters = w;
}

static void unlist(struct pl_loop *loop, int fd, struct waiter *w)
{
    struct waiter **at = &loop->watches->fds[fd].waiters;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
}

/* Waits for one telling. 0, PLAIT_ECANCELED, PLAIT_ETIMEDOUT. */
static int wait_once(struct pl_loop *loop, int fd, struct waiter *w, struct pl_wait *wait)
{
    struct pl_task *self = w->task;
    int rc = pl_wait_take(wait);
    if (rc < 0)
        return rc;
    int64_t look = pl_wait_look(wait);
    self->firm = wait->deaf;
    self->certain = wait->uncancellable;
    self->timed_out = false;
    if (look != PL_NEVER)
        pl_timers_add(&loop->timers, &self->timer, look);
    enlist(loop, fd, w);
    pl_task_suspend(wait->kind, NULL);
    unlist(loop, fd, w);
    pl_timers_remove(&loop->timers, &self->timer);
    if (w->got)
        return 0;
    rc = pl_wait_take(wait);
    return rc < 0 ? rc : self->timed_out && pl_passed(wait->deadline) ? PLAIT_ETIMEDOUT : 0;
}

/* What to register for one event more. A registration that is kept must stay what it is; to make it anew brings an
 * event if there is one already. */
static uint32_t once_for(const struct pl_loop *loop, int fd, uint32_t events)
{
    if (loop->watches->fds[fd].kept)
        return KEPT;
    for (const struct waiter *w = loop->watches->fds[fd].waiters; w; w = w->next)
        events |= w->events;
    return events | EPOLLONESHOT;
}

/* The kernel's limit on watched descriptors is one on memory; what cannot be watched, like a file, is always ready and has
 * not come here. */
static int arm_error(int rc)
{
    return rc == -ENOSPC || rc == -EPERM ? PLAIT_ENOMEM : pl_error_from_errno(-rc);
}

static int wait_for(struct pl_loop *loop, int fd, uint32_t events, struct pl_wait *wait)
{
    struct waiter w = {.task = pl_self.task, .events = events};
    for (;;) {
        int rc = pl_fd_ready(fd, events);
        if (rc == 0 && wait->deadline == 0)
            rc = PLAIT_ETIMEDOUT;
        if (rc != 0)
            return rc;
        rc = register_fd(loop, fd, once_for(loop, fd, events));
        if (rc < 0)
            return arm_error(rc);
        w.got = 0;
        rc = wait_once(loop, fd, &w, wait);
        if (rc < 0)
            return rc;
    }
}

static int wait_kept(struct pl_loop *loop, int fd, uint32_t events, struct pl_wait *wait,
                     struct pl_fd_watch *watch)
{
    struct waiter w = {.task = pl_self.task, .events = events | EPOLLRDHUP};
    if (pl_load_relaxed(&watch->loop) != loop->serial) {
        int rc = register_fd(loop, fd, KEPT);
        if (rc == -EPERM)
            return (int)events; /* always ready */
        if (rc < 0)
            return arm_error(rc);
        loop->watches->fds[fd].ends = false;
        count_event(&loop->watches->fds[fd]); /* never 0 from now on */
        pl_store_relaxed(&watch->loop, loop->serial);
        loop->watches->fds[fd].kept = true;
    }
    while (!w.got) {
        int rc = wait_once(loop, fd, &w, wait);
        if (rc < 0)
            return rc;
    }
    return (int)w.got;
}

int pl_poller_wait_fd(struct pl_parker *parker, int fd, uint32_t events, struct pl_wait *wait,
                      struct pl_fd_watch *watch)
{
    struct pl_loop *loop = (struct pl_loop *)parker;
    int saved = errno;
    int rc = fd < 0 ? PLAIT_EBADF : 0;
    if (rc == 0 && !has_room(loop, fd)) /* a number that is none may be as large as it likes */
        rc = fcntl(fd, F_GETFD) < 0 ? PLAIT_EBADF : PLAIT_ENOMEM;
    if (rc == 0)
        rc = watch && wait->deadline != 0 ? wait_kept(loop, fd, events, wait, watch)
                                          : wait_for(loop, fd, events, wait);
    errno = saved;
    return rc;
}
