/* Connecting: to one of several addresses, the first that answers (RFC 8305, "happy eyeballs").
 *
 * Naive: try the addresses one after another; where the first does not answer at all, that takes minutes. Cure: the
 * next attempt begins when the last one has failed, or after a quarter of a second; the first to succeed is taken, the others are
 * closed. Addresses of the two families take turns, for often all of one family fail alike. */
#include "base/clock.h"
#include "io/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EYEBALLS_DELAY INT64_C(250000000)

struct race {
    plait_address addresses[PL_ADDRESSES_MOST], local[PL_ADDRESSES_MOST];
    int n, n_local;
    int fds[PL_ADDRESSES_MOST]; /* -1: not begun, or failed */
    int begun, flying;
    int64_t delay, next_at; /* ns between attempts; when the next one begins */
    int epoll;              /* waits for several; -1: not needed yet */
    int first_error;
    struct pl_wait *wait;
};

/* The families take turns, beginning with that of the first. */
static void interleave(plait_address *a, int n)
{
    for (int i = 1; i < n; i++) {
        int j = i;
        while (j < n && pl_system(&a[j])->any.sa_family == pl_system(&a[i - 1])->any.sa_family)
            j++;
        if (j == n)
            return;
        plait_address other = a[j];
        memmove(&a[i + 1], &a[i], (size_t)(j - i) * sizeof *a);
        a[i] = other;
    }
}

static void note_error(struct race *race, int code)
{
    if (race->first_error == 0)
        race->first_error = code;
}

/* --- one attempt --- */

static int bind_local(const struct race *race, int fd, int family)
{
    int on = 1;
    if (race->n_local == 0)
        return 0;
    for (int i = 0; i < race->n_local; i++) {
        if (pl_system(&race->local[i])->any.sa_family != family)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        return bind(fd, &pl_system(&race->local[i])->any, race->local[i].length) < 0
                   ? pl_io_error(errno)
                   : 0;
    }
    return PLAIT_EADDRNOTAVAIL;
}

/* Begins: a descriptor, *connected if that was all; or a code. */
static int begin_one(const struct race *race, const plait_address *to, bool *connected)
{
    int fd = pl_socket(to, SOCK_STREAM), rc;
    *connected = false;
    if (fd < 0)
        return fd;
    rc = bind_local(race, fd, pl_system(to)->any.sa_family);
    if (rc == 0) {
        *connected = connect(fd, &pl_system(to)->any, to->length) == 0;
        if (!*connected && errno != EINPROGRESS && errno != EINTR)
            rc = pl_io_error(errno);
    }
    if (rc == 0)
        return fd;
    pl_close_fd(fd);
    return rc;
}

/* An attempt that made a sound: 1 it is connected, 0 not yet, or a code. */
static int look_at(int fd)
{
    int error = 0;
    socklen_t size = sizeof error;
    struct pollfd poll_one = {.fd = fd, .events = POLLOUT};
    if (poll(&poll_one, 1, 0) <= 0)
        return 0;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    return error ? pl_io_error(error) : 1;
}

/* --- the race --- */

static void watch(struct race *race, int i)
{
    struct epoll_event event = {.events = EPOLLOUT};
    if (race->epoll >= 0)
        epoll_ctl(race->epoll, EPOLL_CTL_ADD, race->fds[i], &event);
}

/* Begins the next attempt: the descriptor if it connected at once, else -1. */
static int begin_next(struct race *race)
{
    bool connected;
    int i = race->begun++;
    int fd = begin_one(race, &race->addresses[i], &connected);
    race->next_at = pl_deadline(race->delay);
    if (fd < 0) {
        note_error(race, fd);
        return -1;
    }
    if (connected)
        return fd;
    race->fds[i] = fd;
    race->flying++;
    watch(race, i);
    return -1;
}

static int only_flying(const struct race *race)
{
    for (int i = 0; i < race->begun; i++)
        if (race->fds[i] >= 0)
            return race->fds[i];
    return -1;
}

/* What to wait for: the one attempt, or a descriptor that tells of any. Or a code. */
static int what_to_watch(struct race *race)
{
    if (race->flying == 1)
        return only_flying(race);
    if (race->epoll >= 0)
        return race->epoll;
    race->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (race->epoll < 0)
        return pl_io_error(errno);
    for (int i = 0; i < race->begun; i++)
        if (race->fds[i] >= 0)
            watch(race, i);
    return race->epoll;
}

/* Waits until one makes a sound, or the next is to begin. */
static int wait_for_any(struct race *race)
{
    int fd = what_to_watch(race);
    if (fd < 0)
        return fd;
    int64_t deadline = race->wait->deadline;
    bool more = race->begun < race->n;
    if (more && race->next_at < deadline)
        race->wait->deadline = race->next_at;
    int rc = pl_fd_wait(fd, fd == race->epoll ? POLLIN : POLLOUT, race->wait);
    bool own = race->wait->deadline == deadline;
    race->wait->deadline = deadline;
    return rc == PLAIT_ETIMEDOUT && !own ? 0 : rc;
}

/* Those that have failed go, one that is connected is returned; -1: none is. */
static int collect(struct race *race)
{
    for (int i = 0; i < race->begun; i++) {
        int fd = race->fds[i], rc = fd < 0 ? 0 : look_at(fd);
        if (rc == 0)
            continue;
        race->fds[i] = -1;
        race->flying--;
        if (rc > 0)
            return fd;
        note_error(race, rc);
        pl_close_fd(fd);
    }
    return -1;
}

/* A connected descriptor, or a code. */
static int run_race(struct race *race)
{
    for (;;) {
        bool due = race->begun < race->n && (race->flying == 0 || pl_passed(race->next_at));
        int fd = due ? begin_next(race) : collect(race);
        if (fd >= 0)
            return fd;
        if (race->flying == 0 && race->begun == race->n)
            return race->first_error ? race->first_error : PLAIT_ENAME;
        if (due || race->flying == 0)
            continue;
        int rc = wait_for_any(race);
        if (rc < 0)
            return rc;
    }
}

static int race_to(struct race *race)
{
    for (int i = 0; i < PL_ADDRESSES_MOST; i++)
        race->fds[i] = -1;
    race->epoll = -1;
    interleave(race->addresses, race->n);
    int fd = run_race(race);
    for (int i = 0; i < race->begun; i++)
        pl_close_fd(race->fds[i]);
    pl_close_fd(race->epoll);
    return fd;
}

/* --- calls --- */

static int at_most(int n)
{
    return n < PL_ADDRESSES_MOST ? n : PL_ADDRESSES_MOST;
}

static int resolve_both(struct race *race, const char *host, const char *port,
                        const plait_connect_options *o)
{
    plait_resolve_options how = {.family = o->family};
    int n = pl_resolve(host, port, &how, race->addresses, PL_ADDRESSES_MOST, race->wait);
    if (n <= 0)
        return n < 0 ? n : PLAIT_ENAME;
    race->n = at_most(n);
    if (!o->local_host && !o->local_port)
        return 0;
    how.passive = true;
    n = pl_resolve(o->local_host, o->local_port, &how, race->local, PL_ADDRESSES_MOST, race->wait);
    race->n_local = n < 0 ? 0 : at_most(n);
    return n <= 0 ? (n < 0 ? n : PLAIT_ENAME) : 0;
}

static int connect_tcp(plait_stream **ret, const char *host, const char *port,
                       const plait_connect_options *o, struct pl_wait *wait)
{
    struct race race = {.wait = wait, .delay = o->happy_eyeballs_delay};
    if (race.delay == 0)
        race.delay = EYEBALLS_DELAY;
    int rc = resolve_both(&race, host, port, o);
    int fd = rc < 0 ? rc : race_to(&race);
    if (fd < 0)
        return fd;
    int on = 1;
    if (!o->delay)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (o->keepalive)
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    return pl_stream_new(ret, fd, o->limit);
}

int plait_connect(plait_stream **ret, const char *host, const char *port,
                  const plait_connect_options *options, int64_t timeout)
{
    struct pl_wait wait;
    plait_connect_options none = {0};
    const plait_connect_options *o = options ? options : &none;
    if (!ret || !host || !port)
        return PLAIT_EINVAL;
    int rc = pl_check_timeout(o->happy_eyeballs_delay);
    if (rc == 0)
        rc = pl_wait_begin(&wait, PL_WAIT_FD, timeout);
    if (rc < 0)
        return rc;
    int saved = errno;
    rc = connect_tcp(ret, host, port, o, &wait);
    errno = saved;
    return rc;
}

/* Unix sockets connect at once or, while the listener's queue is full, not at all: then it is tried again. */
static int connect_unix(const plait_address *address, struct pl_wait *wait)
{
    enum { PAUSE = 5 * 1000 * 1000 };
    int fd = pl_socket(address, SOCK_STREAM), rc = 0;
    while (fd >= 0 && rc == 0) {
        if (connect(fd, &pl_system(address)->any, address->length) == 0)
            return fd;
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN) {
            rc = pl_io_error(errno);
            break;
        }
        uint32_t word = 0;
        int64_t deadline = wait->deadline, pause = plait_now() + PAUSE;
        rc = pl_may_wait(wait);
        if (rc < 0)
            break;
        wait->deadline = pause < deadline ? pause : deadline;
        rc = pl_park(&word, 0, wait);
        wait->deadline = deadline;
        if (rc == PLAIT_ETIMEDOUT && pause < deadline)
            rc = 0;
    }
    pl_close_fd(fd >= 0 ? fd : -1);
    return fd < 0 ? fd : rc;
}

int plait_connect_unix(plait_stream **ret, const char *path, const plait_connect_options *options,
                       int64_t timeout)
{
    struct pl_wait wait;
    plait_address address;
    if (!ret)
        return PLAIT_EINVAL;
    int rc = plait_address_unix(&address, path);
    if (rc == 0)
        rc = pl_wait_begin(&wait, PL_WAIT_FD, timeout);
    if (rc < 0)
        return rc;
    int saved = errno;
    int fd = connect_unix(&address, &wait);
    rc = fd < 0 ? fd : pl_stream_new(ret, fd, options ? options->limit : 0);
    errno = saved;
    return rc;
}
