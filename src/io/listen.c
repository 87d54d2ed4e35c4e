/* Listening and accepting.
 *
 * A listener has a socket for each address, and an epoll descriptor that tells of a connection on any, and of the
 * bell that wakes those in plait_accept when it is closed. (Not shutdown, which would end the listening
 * of forked copies, too.)
 *
 * No descriptor left. Naive: accept fails with EMFILE, and is tried again. Its hole: the connection stays in the queue, so
 * the listener is ready all the time, and the loop spins while the peer waits for nothing. Cure: a descriptor
 * is kept in reserve. It is closed, the connection accepted and closed with it, so that the peer knows; and the caller is told. */
#include "base/atomic.h"
#include "io/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 100, PORT_TRIES = 16 };

/* --- making --- */

static int open_reserve(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void delete_fds(plait_listener *l)
{
    for (int i = 0; i < l->n; i++)
        pl_close_fd(l->fds[i]);
    l->n = 0;
}

void pl_listener_delete(plait_listener *l)
{
    pl_fd_watch_drop(&l->io.watch);
    delete_fds(l);
    pl_close_fd(l->io.fd);
    pl_close_fd(l->io.bell);
    pl_close_fd(pl_load_relaxed(&l->reserve));
    free(l);
}

static int watch(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? pl_io_error(errno) : 0;
}

/* The sockets are there: what tells of them. 0, or a code with all gone. */
static int finish(plait_listener **ret, plait_listener *l, const plait_listen_options *o)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    int rc = epoll < 0 ? pl_io_error(errno) : 0;
    pl_io_init(&l->io, epoll, false);
    l->io.bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (rc == 0 && l->io.bell < 0)
        rc = pl_io_error(errno);
    for (int i = 0; i < l->n && rc == 0; i++)
        rc = watch(epoll, l->fds[i]);
    if (rc == 0)
        rc = watch(epoll, l->io.bell);
    l->reserve = open_reserve();
    l->delay = o->delay;
    l->keepalive = o->keepalive;
    l->limit = o->limit;
    if (rc < 0)
        pl_listener_delete(l);
    else
        *ret = l;
    return rc;
}

static void set(int fd, int level, int option)
{
    int on = 1;
    setsockopt(fd, level, option, &on, sizeof on);
}

/* A listening socket, or a code. */
static int listen_at(const plait_address *address, const plait_listen_options *o)
{
    int family = pl_system(address)->any.sa_family, fd = pl_socket(address, SOCK_STREAM);
    if (fd < 0)
        return fd;
    if (family != AF_UNIX)
        set(fd, SOL_SOCKET, SO_REUSEADDR);
    if (family == AF_INET6)
        set(fd, IPPROTO_IPV6, IPV6_V6ONLY);
    if (o->reuse_port)
        set(fd, SOL_SOCKET, SO_REUSEPORT);
    if (bind(fd, &pl_system(address)->any, address->length) == 0 &&
        listen(fd, o->backlog > 0 ? o->backlog : BACKLOG) == 0)
        return fd;
    int rc = pl_io_error(errno);
    pl_close_fd(fd);
    return rc;
}

static int port_of(int fd)
{
    plait_address address;
    socklen_t length = sizeof address.bytes;
    if (getsockname(fd, &pl_system(&address)->any, &length) < 0)
        return pl_io_error(errno);
    return plait_address_port(&address);
}

static void set_port(plait_address *address, int port)
{
    if (pl_system(address)->any.sa_family == AF_INET6)
        pl_system(address)->in6.sin6_port = htons((uint16_t)port);
    else
        pl_system(address)->in.sin_port = htons((uint16_t)port);
}

/* A family that this machine has not is no reason to do without the other. */
static bool may_be_missing(int code)
{
    return code == PLAIT_ENOTSUP || code == PLAIT_EADDRNOTAVAIL;
}

/* Listens at all addresses, at the same port if any will do. */
static int listen_at_all(plait_listener *l, const plait_address *addresses, int n, bool everywhere,
                         const plait_listen_options *o)
{
    int port = 0, missing = 0;
    for (int i = 0; i < n; i++) {
        plait_address address = addresses[i];
        if (plait_address_port(&address) == 0)
            set_port(&address, port);
        int fd = listen_at(&address, o);
        if (fd < 0 && !(everywhere && may_be_missing(fd)))
            return fd;
        if (fd < 0) {
            missing = fd;
            continue;
        }
        l->fds[l->n++] = fd;
        port = port_of(fd);
    }
    return l->n > 0 ? 0 : missing;
}

static int listen_tcp(plait_listener *l, const char *host, const char *port,
                      const plait_listen_options *o, struct pl_wait *wait)
{
    plait_address addresses[PL_LISTENER_MOST];
    plait_resolve_options how = {.family = o->family, .passive = true};
    int n = pl_resolve(host, port, &how, addresses, PL_LISTENER_MOST, wait);
    if (n <= 0)
        return n < 0 ? n : PLAIT_ENAME;
    n = n < PL_LISTENER_MOST ? n : PL_LISTENER_MOST;
    bool any_port = plait_address_port(&addresses[0]) == 0;
    int rc = 0;
    /* The port that is free for one address may not be so for the next. */
    for (int i = 0; i < PORT_TRIES; i++) {
        rc = listen_at_all(l, addresses, n, host == NULL, o);
        if (rc == 0)
            return 0;
        delete_fds(l);
        if (rc != PLAIT_EADDRINUSE || !any_port)
            return rc;
    }
    return rc;
}

int plait_listen(plait_listener **ret, const char *host, const char *port,
                 const plait_listen_options *options, int64_t timeout)
{
    struct pl_wait wait;
    plait_listen_options none = {0};
    const plait_listen_options *o = options ? options : &none;
    if (!ret || !port || o->backlog < 0)
        return PLAIT_EINVAL;
    int rc = pl_wait_begin(&wait, PL_WAIT_FD, timeout);
    if (rc < 0)
        return rc;
    int saved = errno;
    plait_listener *l = calloc(1, sizeof *l);
    rc = l ? listen_tcp(l, host, port, o, &wait) : PLAIT_ENOMEM;
    if (rc == 0)
        rc = finish(ret, l, o);
    else
        free(l);
    errno = saved;
    return rc;
}

/* --- unix sockets --- */

/* A socket file at which nobody listens any more goes. 0; PLAIT_EADDRINUSE: somebody does, or it is no socket. */
static int remove_stale(const plait_address *address, const char *path)
{
    struct stat about;
    if (lstat(path, &about) < 0)
        return 0;
    if (!S_ISSOCK(about.st_mode))
        return PLAIT_EADDRINUSE;
    int fd = pl_socket(address, SOCK_STREAM);
    if (fd < 0)
        return fd;
    bool stale =
        connect(fd, &pl_system(address)->any, address->length) < 0 && errno == ECONNREFUSED;
    pl_close_fd(fd);
    if (stale)
        unlink(path);
    return stale ? 0 : PLAIT_EADDRINUSE;
}

static int listen_unix(plait_listener *l, const char *path, const plait_listen_options *o)
{
    plait_address address;
    struct stat about;
    int rc = plait_address_unix(&address, path);
    bool has_file = path[0] != '@';
    if (rc == 0 && has_file)
        rc = remove_stale(&address, path);
    int fd = rc < 0 ? rc : listen_at(&address, o);
    if (fd < 0)
        return fd;
    l->fds[l->n++] = fd;
    if (has_file && lstat(path, &about) == 0) {
        memcpy(l->path, path, strlen(path) + 1);
        l->device = about.st_dev;
        l->inode = about.st_ino;
    }
    return 0;
}

int plait_listen_unix(plait_listener **ret, const char *path, const plait_listen_options *options)
{
    plait_listen_options none = {0};
    const plait_listen_options *o = options ? options : &none;
    if (!ret || !path || !path[0] || o->backlog < 0)
        return PLAIT_EINVAL;
    int saved = errno;
    plait_listener *l = calloc(1, sizeof *l);
    int rc = l ? listen_unix(l, path, o) : PLAIT_ENOMEM;
    if (rc == 0)
        rc = finish(ret, l, o);
    else
        free(l);
    errno = saved;
    return rc;
}

/* The file goes if it is still ours: another listener may have put its own in its place. */
static void remove_file(const plait_listener *l)
{
    struct stat about;
    int saved = errno;
    if (l->path[0] && l->io.forks == pl_forks && lstat(l->path, &about) == 0 &&
        about.st_dev == l->device && about.st_ino == l->inode)
        unlink(l->path);
    errno = saved;
}

int plait_listener_close(plait_listener *listener)
{
    if (!listener)
        return 0;
    if (!pl_io_is_closed(&listener->io))
        remove_file(listener);
    if (pl_io_close(&listener->io, false))
        pl_listener_delete(listener);
    return 0;
}

/* --- accepting --- */

/* Failures of the one connection, and of the network under it: the next may be better. */
static bool is_to_be_skipped(int error)
{
    switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENOPROTOOPT:
    case EPERM:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
    case EOPNOTSUPP:
        return true;
    default:
        return false;
    }
}

static int accept_at(int fd)
{
    int got;
    do
        got = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    while (got < 0 && is_to_be_skipped(errno));
    return got;
}

/* Lets the peer know that it comes to nothing, with the descriptor in reserve. */
static void turn_away(plait_listener *l, int fd)
{
    int reserve = pl_exchange_acq_rel(&l->reserve, -1); /* of several accepters one has it */
    if (reserve < 0)
        return;
    close(reserve);
    pl_close_fd(accept_at(fd));
    pl_store_release(&l->reserve, open_reserve());
}

/* A connection; PLAIT_EAGAIN: there is none; or a code. */
static int accept_any(plait_listener *l)
{
    int start = (int)(pl_fetch_add_relaxed(&l->turn, 1u) % (uint32_t)l->n); /* each its turn */
    for (int i = 0; i < l->n; i++) {
        int at = l->fds[(start + i) % l->n], fd = accept_at(at);
        if (fd >= 0)
            return fd;
        if (errno == EMFILE || errno == ENFILE) {
            turn_away(l, at);
            return PLAIT_EMFILE;
        }
        if (errno != EAGAIN)
            return pl_io_error(errno);
    }
    return PLAIT_EAGAIN;
}

static int accept_one(plait_listener *l, struct pl_call *call)
{
    for (;;) {
        int fd = accept_any(l);
        if (fd != PLAIT_EAGAIN)
            return fd;
        int rc = pl_io_wait(&l->io, POLLIN, call);
        if (rc < 0)
            return rc;
    }
}

int plait_accept(plait_listener *listener, plait_stream **ret, int64_t timeout)
{
    struct pl_call call;
    int rc =
        listener && ret ? pl_io_enter(&listener->io, PL_ANY_SIDE, &call, timeout) : PLAIT_EINVAL;
    if (rc < 0)
        return rc;
    int fd = accept_one(listener, &call);
    if (fd >= 0 && !listener->delay)
        set(fd, IPPROTO_TCP, TCP_NODELAY);
    if (fd >= 0 && listener->keepalive)
        set(fd, SOL_SOCKET, SO_KEEPALIVE);
    rc = fd < 0 ? fd : pl_stream_new(ret, fd, listener->limit);
    if (pl_io_leave(&listener->io, &call))
        pl_listener_delete(listener);
    return rc;
}

int plait_listener_port(const plait_listener *listener)
{
    int saved = errno, rc = listener ? port_of(listener->fds[0]) : PLAIT_EINVAL;
    errno = saved;
    return rc;
}

int plait_listener_name(const plait_listener *listener, int i, char *text, size_t size)
{
    if (!listener || !text || i < 0)
        return PLAIT_EINVAL;
    return i < listener->n ? pl_socket_name(listener->fds[i], false, text, size) : PLAIT_ENOENT;
}
