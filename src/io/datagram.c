/* Datagrams: messages that arrive whole or not at all. Any number of workers may send and receive at once: the
 * kernel keeps messages apart. */
#include <plait/datagram.h>

#include "io/io.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* All but io is constant. */
struct plait_datagram {
    struct pl_io io;
    bool connected;
    dev_t device; /* whose file `path` was */
    ino_t inode;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* "": no file */
};

static void set(int fd, int option)
{
    int on = 1;
    setsockopt(fd, SOL_SOCKET, option, &on, sizeof on);
}

/* Takes the local address, and the peer's as the only one to talk with. */
static int tie(int fd, const plait_address *local, const plait_address *remote)
{
    if (local && bind(fd, &pl_system(local)->any, local->length) < 0)
        return pl_io_error(errno);
    if (remote && connect(fd, &pl_system(remote)->any, remote->length) < 0)
        return pl_io_error(errno);
    return 0;
}

static void keep_file(plait_datagram *d, const plait_address *local)
{
    struct stat about;
    if (!local || pl_system(local)->any.sa_family != AF_UNIX)
        return;
    const char *path = pl_system(local)->un.sun_path;
    if (path[0] == 0 || lstat(path, &about) < 0)
        return;
    memcpy(d->path, path, strnlen(path, sizeof d->path - 1));
    d->device = about.st_dev;
    d->inode = about.st_ino;
}

/* A unix socket needs an address of its own to be answered at; the kernel thinks of one. */
static void name_unix(int fd)
{
    sa_family_t family = AF_UNIX;
    bind(fd, (struct sockaddr *)&family, sizeof family);
}

static int open_socket(const plait_address *local, const plait_address *remote, int family,
                       const plait_datagram_options *o)
{
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return pl_io_error(errno);
    if (o->broadcast)
        set(fd, SO_BROADCAST);
    if (o->reuse_address)
        set(fd, SO_REUSEADDR);
    if (o->reuse_port)
        set(fd, SO_REUSEPORT);
    if (family == AF_UNIX && !local)
        name_unix(fd);
    int rc = tie(fd, local, remote);
    if (rc == 0)
        return fd;
    pl_close_fd(fd);
    return rc;
}

int plait_datagram_open(plait_datagram **ret, const plait_address *local,
                        const plait_address *remote, const plait_datagram_options *options)
{
    plait_datagram_options none = {0};
    if (!ret || (!local && !remote) ||
        (local && remote && pl_system(local)->any.sa_family != pl_system(remote)->any.sa_family))
        return PLAIT_EINVAL;
    int saved = errno, rc = PLAIT_ENOMEM;
    plait_datagram *d = calloc(1, sizeof *d);
    if (d) {
        rc = open_socket(local, remote, pl_system(local ? local : remote)->any.sa_family,
                         options ? options : &none);
        if (rc >= 0) {
            pl_io_init(&d->io, rc, true);
            d->connected = remote != NULL;
            keep_file(d, local);
            *ret = d;
            rc = 0;
        } else {
            free(d);
        }
    }
    errno = saved;
    return rc;
}

static void delete_it(plait_datagram *d)
{
    pl_fd_watch_drop(&d->io.watch);
    pl_close_fd(d->io.fd);
    free(d);
}

static void remove_file(const plait_datagram *d)
{
    struct stat about;
    int saved = errno;
    if (d->path[0] && d->io.forks == pl_forks && lstat(d->path, &about) == 0 &&
        about.st_dev == d->device && about.st_ino == d->inode)
        unlink(d->path);
    errno = saved;
}

int plait_datagram_close(plait_datagram *datagram)
{
    if (!datagram)
        return 0;
    if (!pl_io_is_closed(&datagram->io))
        remove_file(datagram);
    if (pl_io_close(&datagram->io, false))
        delete_it(datagram);
    return 0;
}

/* A call failed: 0 to try again, or a code. */
static int after_failure(plait_datagram *d, uint32_t events, struct pl_call *call)
{
    if (errno == EAGAIN)
        return pl_io_wait(&d->io, events, call);
    if (errno == EINTR)
        return 0;
    return pl_io_is_closed(&d->io) ? PLAIT_ECLOSED : pl_io_error(errno);
}

static int send_one(plait_datagram *d, const void *bytes, size_t size, const plait_address *to,
                    struct pl_call *call)
{
    for (;;) {
        ssize_t sent = sendto(d->io.fd, bytes, size, MSG_NOSIGNAL, to ? &pl_system(to)->any : NULL,
                              to ? to->length : 0);
        int rc = sent < 0 ? after_failure(d, POLLOUT, call) : 0;
        if (sent >= 0 || rc < 0)
            return rc;
    }
}

int plait_send_to(plait_datagram *datagram, const void *bytes, size_t size, const plait_address *to,
                  int64_t timeout)
{
    struct pl_call call;
    if (!datagram || (!bytes && size > 0) || datagram->connected == (to != NULL))
        return PLAIT_EINVAL;
    int rc = pl_io_enter(&datagram->io, PL_ANY_SIDE, &call, timeout);
    if (rc < 0)
        return rc;
    rc = send_one(datagram, bytes, size, to, &call);
    if (pl_io_leave(&datagram->io, &call))
        delete_it(datagram);
    return rc;
}

/* A closed socket that is not connected says "a message of 0 bytes". */
static int receive_one(plait_datagram *d, struct msghdr *message, size_t *got, struct pl_call *call)
{
    socklen_t room = message->msg_namelen;
    for (;;) {
        message->msg_namelen = room;
        ssize_t n = recvmsg(d->io.fd, message, MSG_TRUNC);
        if (pl_io_is_closed(&d->io))
            return PLAIT_ECLOSED;
        int rc = n < 0 ? after_failure(d, POLLIN, call) : 0;
        if (n >= 0)
            *got = (size_t)n;
        if (n >= 0)
            return message->msg_flags & MSG_TRUNC ? PLAIT_EMSGSIZE : 0;
        if (rc < 0)
            return rc;
    }
}

int plait_receive_from(plait_datagram *datagram, void *buffer, size_t size, size_t *got,
                       plait_address *from, int64_t timeout)
{
    struct pl_call call;
    size_t n = 0;
    plait_address sender;
    struct iovec part = {.iov_base = buffer, .iov_len = size};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_name = sender.bytes,
                             .msg_namelen = sizeof sender.bytes};
    if (!datagram || (!buffer && size > 0))
        return PLAIT_EINVAL;
    int rc = pl_io_enter(&datagram->io, PL_ANY_SIDE, &call, timeout);
    if (rc < 0)
        return rc;
    memset(&sender, 0, sizeof sender);
    rc = receive_one(datagram, &message, &n, &call);
    if (pl_io_leave(&datagram->io, &call))
        delete_it(datagram);
    sender.length = message.msg_namelen;
    if (from && (rc == 0 || rc == PLAIT_EMSGSIZE))
        *from = sender;
    if (got)
        *got = n;
    return rc;
}

int plait_datagram_fd(const plait_datagram *datagram)
{
    return datagram ? datagram->io.fd : PLAIT_EINVAL;
}

int plait_datagram_address(const plait_datagram *datagram, plait_address *ret)
{
    if (!datagram || !ret)
        return PLAIT_EINVAL;
    int saved = errno;
    socklen_t length = sizeof ret->bytes;
    memset(ret, 0, sizeof *ret);
    int rc =
        getsockname(datagram->io.fd, &pl_system(ret)->any, &length) < 0 ? pl_io_error(errno) : 0;
    ret->length = length;
    errno = saved;
    return rc;
}
