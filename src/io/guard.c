/* Who uses a descriptor, and who closes it.
 *
 * Naive: close(fd) while another worker waits for it. Its race: that one sleeps on, for poll does not
 * notice; and once the number is in use again, it reads what is somebody else's. Cure: users are
 * counted. Closing marks the word and wakes those inside; whoever leaves last closes the descriptor. Facts:
 *   1 the word counts the owner and all inside; the descriptor is closed when the count comes to 0, and only then;
 *   2 the owner counts until it has marked the word and woken the others: what it wakes them by is open still;
 *   3 who is inside looks at the mark before and after each sleep. It is set before the waking, so who saw it
 *     clear is woken from the sleep that follows;
 *   4 what another process does is not counted: a forked child has a copy of the word, made when others
 *     of the parent were inside. The count of forks is in the word, so the child's first use forgets them.
 *
 * Waking: sockets by shutdown, which ends the connection (of forked copies too, so it is done only if somebody is
 * inside). Listeners have a bell. What has neither, pipes and terminals, is waited for in short
 * naps. */
#include "base/atomic.h"
#include "base/clock.h"
#include "io/io.h"

#include <errno.h>
#include <plait/task.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { CLOSED = 1, USER = 8, SIDES = PL_READING | PL_WRITING, NAP = 100 * 1000 * 1000 };

void pl_close_fd(int fd)
{
    int saved = errno;
    if (fd >= 0)
        close(fd);
    errno = saved;
}

int pl_io_error(int error)
{
    switch (error) {
    case ETIMEDOUT:
    case EHOSTDOWN:
    case ENONET:
        return PLAIT_EHOSTUNREACH;
    case ENETDOWN:
        return PLAIT_ENETUNREACH;
    case ECONNABORTED:
        return PLAIT_ECONNRESET;
    case ENOBUFS:
        return PLAIT_ENOMEM;
    case ENFILE:
        return PLAIT_EMFILE;
    case EAGAIN: /* a unix socket's queue of connections is full */
        return PLAIT_ECONNREFUSED;
    case EAFNOSUPPORT:
    case EPROTONOSUPPORT:
        return PLAIT_ENOTSUP;
    case ESTALE: /* plait means something else by these */
    case EDEADLK:
    case ECHILD:
        return PLAIT_EIO;
    default:
        return pl_error_from_errno(error);
    }
}

int pl_file_error(int error)
{
    return error == EAGAIN || error == ETIMEDOUT ? PLAIT_EIO : pl_io_error(error);
}

/* --- the word --- */

static uint64_t fresh(uint64_t closed)
{
    return (uint64_t)pl_forks << 32 | USER | closed;
}

/* The word as this process means it. */
static uint64_t read_state(const struct pl_io *io)
{
    /* A:io.state, pairs with change. */
    uint64_t seen = pl_load_acquire(&io->state);
    return seen >> 32 == pl_forks ? seen : fresh(seen & CLOSED);
}

static bool change(struct pl_io *io, uint64_t seen, uint64_t next)
{
    uint64_t raw = pl_load_acquire(&io->state);
    uint64_t meant = raw >> 32 == pl_forks ? raw : fresh(raw & CLOSED);
    /* R:io.state, pairs with read_state: what a user did to the object is seen by the last one. */
    return meant == seen && pl_cas_acq_rel(&io->state, &raw, next);
}

void pl_io_init(struct pl_io *io, int fd, bool is_socket)
{
    *io = (struct pl_io){
        .state = fresh(0), .fd = fd, .bell = -1, .forks = pl_forks, .is_socket = is_socket};
}

bool pl_io_is_closed(const struct pl_io *io)
{
    return read_state(io) & CLOSED;
}

/* A task whose peers are fast never has to wait, and would keep the thread for itself: so it lets the others run now and
 * then all the same. */
static void be_fair(void)
{
    enum { CALLS = 64 };
    static _Thread_local uint32_t calls;
    if (pl_self.task && ++calls % CALLS == 0 && plait_yield() == PLAIT_ECANCELED)
        pl_cancel_put_back(); /* the call says it, if it waits */
}

int pl_io_enter(struct pl_io *io, enum pl_side side, struct pl_call *call, int64_t timeout)
{
    int rc = pl_wait_begin(&call->wait, PL_WAIT_FD, timeout);
    if (rc < 0)
        return rc;
    if (timeout != PLAIT_NOWAIT)
        be_fair();
    call->saved = errno;
    call->side = side;
    uint64_t seen;
    do {
        seen = read_state(io);
        if (seen & CLOSED)
            return PLAIT_ECLOSED;
        if (seen & (uint64_t)side)
            return PLAIT_EBUSY;
    } while (!change(io, seen, (seen | (uint64_t)side) + USER));
    return 0;
}

/* Takes one user off. True: it was the last. */
static bool leave(struct pl_io *io, uint64_t side)
{
    uint64_t seen;
    do
        seen = read_state(io);
    while (!change(io, seen, (seen & ~side) - USER));
    return (uint32_t)seen < 2 * USER;
}

bool pl_io_leave(struct pl_io *io, struct pl_call *call)
{
    errno = call->saved;
    return leave(io, (uint64_t)call->side);
}

/* --- closing --- */

static bool has_bell(const struct pl_io *io)
{
    return io->bell >= 0 && io->forks == pl_forks; /* a parent's bell would wake the parent */
}

static void wake_users(struct pl_io *io, bool abort)
{
    int saved = errno;
    struct sockaddr nothing = {.sa_family = AF_UNSPEC};
    if (abort) /* connecting to nothing takes a TCP connection back: that sends a reset, and wakes, too */
        connect(io->fd, &nothing, sizeof nothing);
    else if (has_bell(io))
        eventfd_write(io->bell, 1);
    else if (io->is_socket)
        shutdown(io->fd, SHUT_RDWR);
    errno = saved;
}

bool pl_io_close(struct pl_io *io, bool abort)
{
    uint64_t seen;
    do {
        seen = read_state(io);
        if (seen & CLOSED)
            return false;
    } while (!change(io, seen, seen | CLOSED));
    if ((uint32_t)seen >= 2 * USER)
        wake_users(io, abort);
    return leave(io, 0);
}

/* --- waiting --- */

int pl_may_wait(const struct pl_wait *wait)
{
    if (wait->deadline == 0)
        return PLAIT_ETIMEDOUT;
    return pl_waiter_known(NULL);
}

int pl_fd_wait(int fd, uint32_t events, struct pl_wait *wait)
{
    int rc = pl_may_wait(wait);
    rc = rc < 0 ? rc : pl_park_fd(fd, events, wait);
    return rc < 0 ? rc : 0;
}

/* The loop keeps watching for the one reader and the one writer; where any number may wait, each is watched for by itself. */
static int park(struct pl_io *io, uint32_t events, struct pl_call *call)
{
    if (call->side == PL_ANY_SIDE)
        return pl_park_fd(io->fd, events, &call->wait);
    return pl_park_fd_kept(io->fd, events, &call->wait, &io->watch);
}

/* Sleeps for a nap at most, so that a closing which cannot wake is noticed. */
static int park_for_a_nap(struct pl_io *io, uint32_t events, struct pl_call *call)
{
    struct pl_wait *wait = &call->wait;
    int64_t deadline = wait->deadline, nap = plait_now() + NAP;
    if (nap < deadline)
        wait->deadline = nap;
    int rc = park(io, events, call);
    wait->deadline = deadline;
    return rc == PLAIT_ETIMEDOUT && nap < deadline && !pl_passed(deadline) ? 0 : rc;
}

int pl_io_wait(struct pl_io *io, uint32_t events, struct pl_call *call)
{
    int rc = pl_io_is_closed(io) ? PLAIT_ECLOSED : pl_may_wait(&call->wait);
    if (rc < 0)
        return rc;
    if (io->is_socket || has_bell(io))
        rc = park(io, events, call);
    else
        rc = park_for_a_nap(io, events, call);
    if (!pl_io_is_closed(io))
        return rc < 0 ? rc : 0;
    if (rc == PLAIT_ECANCELED) /* it came at the same time; the next call says it */
        pl_cancel_put_back();
    return PLAIT_ECLOSED;
}
