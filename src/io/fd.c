/* The public call that waits for a descriptor: checks, a first look, and then src/park/fd.c. */
#include "park/park.h"

#include <plait/fd.h>
#include <poll.h>

static const struct {
    int ours;
    uint32_t polls;
} bits[] = {
    {PLAIT_READABLE, POLLIN}, {PLAIT_WRITABLE, POLLOUT}, {PLAIT_PRIORITY, POLLPRI},
    {PLAIT_HANGUP, POLLHUP},  {PLAIT_FAILED, POLLERR},
};

enum {
    BITS = sizeof bits / sizeof bits[0],
    ALL = PLAIT_READABLE | PLAIT_WRITABLE | PLAIT_PRIORITY | PLAIT_HANGUP | PLAIT_FAILED,
};

static uint32_t to_poll(int events)
{
    uint32_t polls = 0;
    for (int i = 0; i < BITS; i++)
        polls |= events & bits[i].ours ? bits[i].polls : 0;
    return polls;
}

static int from_poll(int ready)
{
    int events = 0;
    for (int i = 0; i < BITS; i++)
        events |= (uint32_t)ready & bits[i].polls ? bits[i].ours : 0;
    return events;
}

int plait_wait_fd(int fd, int events, int64_t timeout)
{
    struct pl_wait wait;
    if (events == 0 || (events & ~ALL))
        return PLAIT_EINVAL;
    int rc = pl_wait_begin(&wait, PL_WAIT_FD, timeout);
    if (rc < 0)
        return rc;
    rc = pl_fd_ready(fd, to_poll(events));
    if (rc == 0 && timeout == PLAIT_NOWAIT)
        return PLAIT_ETIMEDOUT;
    if (rc == 0)
        rc = pl_self_known();
    if (rc == 0)
        rc = pl_park_fd(fd, to_poll(events), &wait);
    return rc < 0 ? rc : from_poll(rc);
}
