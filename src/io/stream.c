/* Streams: making, naming and closing them. Reading is in read.c, writing in write.c.
 *
 * A call is tried first and waits only if the kernel says EAGAIN; so a stream costs what the calls below it
 * do. There is no buffer for writing: what plait_write has taken is the kernel's, and a peer that
 * does not read makes the writer wait. */
#include "base/atomic.h"
#include "io/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LIMIT = 64 * 1024 };

/* Streams only of what delivers bytes when they come: a regular file is always ready, and blocks. */
static int check_type(int fd, bool *is_socket)
{
    struct stat about;
    int type = 0;
    socklen_t size = sizeof type;
    if (fstat(fd, &about) < 0)
        return PLAIT_EBADF;
    *is_socket = S_ISSOCK(about.st_mode);
    if (*is_socket && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0)
        return type == SOCK_STREAM ? 0 : PLAIT_ENOTSUP;
    return S_ISFIFO(about.st_mode) || S_ISCHR(about.st_mode) ? 0 : PLAIT_ENOTSUP;
}

static bool is_tcp(int fd)
{
    int protocol = 0;
    socklen_t size = sizeof protocol;
    return getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) == 0 &&
           protocol == IPPROTO_TCP;
}

/* Non-blocking and closed on exec. Whether it was blocking before. */
static bool prepare(int fd)
{
    int flags = fcntl(fd, F_GETFL), on_exec = fcntl(fd, F_GETFD);
    if (!(on_exec & FD_CLOEXEC))
        fcntl(fd, F_SETFD, on_exec | FD_CLOEXEC);
    if (flags & O_NONBLOCK)
        return false;
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    return true;
}

int pl_stream_new(plait_stream **ret, int fd, size_t limit)
{
    bool is_socket = false;
    int rc = check_type(fd, &is_socket);
    plait_stream *stream = rc < 0 ? NULL : calloc(1, sizeof *stream);
    if (!stream) {
        pl_close_fd(fd);
        return rc < 0 ? rc : PLAIT_ENOMEM;
    }
    pl_io_init(&stream->io, fd, is_socket);
    stream->is_tcp = is_socket && is_tcp(fd);
    stream->restores = prepare(fd) && !is_socket;
    stream->limit = limit ? limit : LIMIT;
    *ret = stream;
    return 0;
}

int plait_stream_of_fd(plait_stream **ret, int fd, const plait_stream_options *options)
{
    bool is_socket;
    if (!ret || fd < 0)
        return PLAIT_EINVAL;
    int saved = errno;
    int rc = check_type(fd, &is_socket); /* refused, it stays the caller's */
    if (rc == 0)
        rc = pl_stream_new(ret, fd, options ? options->limit : 0);
    errno = saved;
    return rc;
}

int plait_stream_pair(plait_stream **first, plait_stream **second)
{
    int fds[2];
    if (!first || !second)
        return PLAIT_EINVAL;
    int saved = errno, rc = 0;
    plait_stream *a = NULL, *b = NULL;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0) {
        rc = pl_io_error(errno);
    } else {
        rc = pl_stream_new(&a, fds[0], 0);
        if (rc < 0)
            pl_close_fd(fds[1]);
        else if ((rc = pl_stream_new(&b, fds[1], 0)) < 0)
            plait_stream_close(a);
    }
    errno = saved;
    if (rc == 0) {
        *first = a;
        *second = b;
    }
    return rc;
}

/* --- the end --- */

void pl_stream_delete(plait_stream *stream)
{
    int fd = stream->io.fd;
    pl_fd_watch_drop(&stream->io.watch);
    if (stream->restores && stream->io.forks == pl_forks) {
        int saved = errno;
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
        errno = saved;
    }
    const plait_transport *transport = pl_stream_transport(stream);
    if (transport && transport->free)
        transport->free(stream->self);
    pl_close_fd(fd);
    free(stream->earlier);
    free(stream->bytes);
    free(stream);
}

static void close_stream(plait_stream *stream, bool abort)
{
    if (pl_io_close(&stream->io, abort))
        pl_stream_delete(stream);
}

int plait_stream_close(plait_stream *stream)
{
    if (!stream)
        return 0;
    pl_transport_say_goodbye(stream);
    close_stream(stream, false);
    return 0;
}

int plait_stream_abort(plait_stream *stream)
{
    if (!stream)
        return 0;
    int saved = errno;
    struct linger now = {.l_onoff = 1, .l_linger = 0}; /* closing is then a reset */
    if (stream->is_tcp)
        setsockopt(stream->io.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    errno = saved;
    close_stream(stream, stream->is_tcp);
    return 0;
}

int pl_stream_enter(plait_stream *stream, enum pl_side side, struct pl_call *call, int64_t timeout)
{
    if (pl_stream_transport(stream) && stream->forks != pl_forks)
        return PLAIT_ECHILD;
    return pl_io_enter(&stream->io, side, call, timeout);
}

void pl_stream_leave(plait_stream *stream, struct pl_call *call)
{
    if (pl_io_leave(&stream->io, call))
        pl_stream_delete(stream);
}

int pl_stream_failed(plait_stream *stream, int error)
{
    int code = pl_io_error(error);
    if (pl_io_is_closed(&stream->io))
        return PLAIT_ECLOSED;
    if (code == PLAIT_ECONNRESET || code == PLAIT_EHOSTUNREACH)
        pl_store_relaxed(&stream->broken, code);
    return code;
}

/* --- about it --- */

int plait_stream_fd(const plait_stream *stream)
{
    return stream ? stream->io.fd : PLAIT_EINVAL;
}

int plait_stream_at_eof(const plait_stream *stream)
{
    return stream && pl_load_acquire(&stream->ended) && stream->begin == stream->end;
}

int plait_peer_name(const plait_stream *stream, char *text, size_t size)
{
    return stream && text ? pl_socket_name(stream->io.fd, true, text, size) : PLAIT_EINVAL;
}

int plait_local_name(const plait_stream *stream, char *text, size_t size)
{
    return stream && text ? pl_socket_name(stream->io.fd, false, text, size) : PLAIT_EINVAL;
}
