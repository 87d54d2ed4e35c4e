/* Waiting for a descriptor.
 *
 * In a task the thread's loop does it (pl_parker.wait_fd). A thread sleeps in ppoll, where nothing of plait's can
 * wake it but a nudge (poll.c); so a request to stop arrives at once, and if the nudge is lost after one nap.
 * What deaths and deadlocks are concerned it need not be woken: it waits for nobody of the family, as far as can be known. */
#include "base/atomic.h"
#include "base/clock.h"
#include "base/error.h"
#include "park/park.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The system call itself: libc's is a point where pthread_cancel strikes, and a thread that ended here
 * would leave its wait on record. `timeout` in ns. As ppoll; -errno. */
static int poll_fd(int fd, uint32_t events, int64_t timeout, const sigset_t *mask, uint32_t *ret)
{
    struct pollfd p = {.fd = fd, .events = (short)events};
    struct timespec ts = pl_timespec(timeout);
    int saved = errno;
    long rc = syscall(SYS_ppoll, &p, 1, &ts, mask, sizeof(uint64_t));
    if (rc < 0)
        rc = -errno;
    errno = saved;
    *ret = (uint32_t)(unsigned short)p.revents;
    return (int)rc;
}

/* Positive: ready. 0: not yet, or interrupted. */
static int poll_result(int rc, uint32_t ready)
{
    if (rc < 0)
        return rc == -EINTR ? 0 : pl_error_from_errno(-rc);
    return ready & POLLNVAL ? PLAIT_EBADF : (int)ready;
}

int pl_fd_ready(int fd, uint32_t events)
{
    uint32_t ready;
    if (fd < 0) /* poll skips these */
        return PLAIT_EBADF;
    int rc = poll_fd(fd, events, 0, NULL, &ready);
    return poll_result(rc, ready);
}

/* One sleep, of a nap at most. 0: again. */
static int sleep_once(int fd, uint32_t events, struct pl_wait *wait)
{
    uint32_t ready;
    bool asked =
        pl_wait_is_asked(wait);   /* after in_poll was set, and in that order for all: see poll.c */
    bool rings = pl_bell_rings(); /* likewise */
    int64_t now = plait_now();
    int64_t look = pl_wait_look(wait);
    int64_t left = now >= look ? 0 : look - now;
    int64_t nap = asked || rings ? 0 : left < PL_POLL_NAP ? left : PL_POLL_NAP;
    PL_STEP("ppoll", &pl_self.slot->in_poll);
    int polled = poll_fd(fd, events, nap, pl_poll_mask(), &ready);
    int rc = poll_result(polled, ready);
    if (rc != 0)
        return rc;
    if (asked)
        return pl_cancel_take();
    if (plait_now() >= wait->deadline)
        return PLAIT_ETIMEDOUT;
    if (polled == 0 && !rings)
        pl_poll_renew();
    return 0;
}

/* 0: the bell rings, or is to be answered still. */
static int thread_wait_fd(int fd, uint32_t events, struct pl_wait *wait)
{
    struct pl_slot *slot = pl_self.slot;
    int rc = fd < 0 ? PLAIT_EBADF : 0;
    int64_t now = plait_now();
    if (wait->began == 0)
        wait->began = now;
    pl_wait_show(NULL, wait, now);
    pl_poll_enter(slot);
    while (rc == 0) {
        rc = sleep_once(fd, events, wait);
        if (rc == 0 && (pl_bell_rings() || (pl_self.bell && pl_self.bell->late)))
            break;
    }
    pl_poll_leave(slot);
    pl_wait_hide();
    wait->slept = true;
    wait->slept_for = plait_now() - now;
    return rc;
}

int pl_park_fd_kept(int fd, uint32_t events, struct pl_wait *wait, struct pl_fd_watch *watch)
{
    int rc = 0;
    while (rc == 0) {
        if (!pl_self.parker)
            pl_bell_look(); /* it may make a parker */
        struct pl_parker *parker = pl_self.parker;
        rc = parker && parker->wait_fd ? parker->wait_fd(parker, fd, events, wait, watch)
                                       : thread_wait_fd(fd, events, wait);
    }
    return rc;
}

int pl_park_fd(int fd, uint32_t events, struct pl_wait *wait)
{
    return pl_park_fd_kept(fd, events, wait, NULL);
}

static uint32_t events_of(int fd, const struct pl_fd_watch *watch)
{
    struct pl_parker *parker = pl_self.parker;
    return parker && parker->events_of ? parker->events_of(parker, fd, watch) : 0;
}

void pl_fd_note_drained(int fd, struct pl_fd_watch *watch)
{
    watch->drained = events_of(fd, watch);
}

bool pl_fd_is_drained(int fd, const struct pl_fd_watch *watch)
{
    return watch->drained && watch->drained == events_of(fd, watch);
}

void pl_fd_watch_drop(struct pl_fd_watch *watch)
{
    *watch = (struct pl_fd_watch){0};
}
