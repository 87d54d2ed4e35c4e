/* Writing to streams: all of it is the kernel's when the call returns.
 *
 * A peer that is gone must be a result and not a signal. Sockets have a flag for that; for pipes, and for sendfile,
 * SIGPIPE is blocked in this thread for the length of the call, and taken away if the call has
 * caused it. One that was pending before is left for whom it was meant. */
#include "base/atomic.h"
#include "io/stream.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <time.h>
#include <unistd.h>

enum { PARTS = 16, PIECE = 1 << 20, COPY = 64 * 1024 };

/* --- SIGPIPE --- */

struct quiet {
    bool pending; /* before: nothing to be done */
    sigset_t mask;
};

static sigset_t only_sigpipe(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    return set;
}

static void quiet_begin(struct quiet *quiet)
{
    sigset_t pending, pipe = only_sigpipe();
    sigemptyset(&pending);
    sigpending(&pending);
    quiet->pending = sigismember(&pending, SIGPIPE);
    if (!quiet->pending)
        pthread_sigmask(SIG_BLOCK, &pipe, &quiet->mask);
}

static void quiet_end(const struct quiet *quiet, bool broken)
{
    int saved = errno;
    sigset_t pipe = only_sigpipe();
    struct timespec now = {0, 0};
    if (!quiet->pending) {
        if (broken)
            while (sigtimedwait(&pipe, NULL, &now) < 0 && errno == EINTR)
                ;
        pthread_sigmask(SIG_SETMASK, &quiet->mask, NULL);
    }
    errno = saved;
}

/* --- writing --- */

ssize_t pl_stream_write_now(plait_stream *stream, struct iovec *parts, int n)
{
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)n};
    if (stream->io.is_socket)
        return sendmsg(stream->io.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    struct quiet quiet;
    quiet_begin(&quiet);
    ssize_t wrote = writev(stream->io.fd, parts, n);
    quiet_end(&quiet, wrote < 0 && errno == EPIPE);
    return wrote;
}

int pl_stream_write_failed(plait_stream *stream, struct pl_call *call)
{
    if (errno == EAGAIN)
        return pl_io_wait(&stream->io, POLLOUT, call);
    if (errno == EINTR)
        return 0;
    int broken = pl_load_relaxed(&stream->broken);
    int rc = pl_stream_failed(stream, errno);
    return rc == PLAIT_EPIPE && broken < 0 ? broken : rc;
}

/* The parts from byte `skip` of the first on, as many as fit. */
static int gather(struct iovec *to, const struct iovec *parts, int n, size_t skip)
{
    n = n < PARTS ? n : PARTS;
    memcpy(to, parts, (size_t)n * sizeof *to);
    to[0].iov_base = (char *)to[0].iov_base + skip;
    to[0].iov_len -= skip;
    return n;
}

static int write_parts(plait_stream *stream, const struct iovec *parts, int n, size_t *done,
                       struct pl_call *call)
{
    const plait_transport *transport = pl_stream_transport(stream);
    if (transport)
        return transport->write(
            stream->self, &(struct plait_transfer){.stream = stream, .call = call}, parts, n, done);
    size_t skip = 0; /* of the first part, written */
    while (n > 0) {
        struct iovec now[PARTS];
        if (skip >= parts->iov_len) {
            skip -= parts->iov_len;
            parts++;
            n--;
            continue;
        }
        ssize_t wrote = pl_stream_write_now(stream, now, gather(now, parts, n, skip));
        int rc = wrote < 0 ? pl_stream_write_failed(stream, call) : 0;
        if (rc < 0)
            return rc;
        if (wrote > 0) {
            *done += (size_t)wrote;
            skip += (size_t)wrote;
        }
    }
    return 0;
}

int plait_writev(plait_stream *stream, const struct iovec *parts, int n, size_t *done,
                 int64_t timeout)
{
    struct pl_call call;
    size_t wrote = 0;
    int rc = !stream || n < 0 || (!parts && n > 0)
                 ? PLAIT_EINVAL
                 : pl_stream_enter(stream, PL_WRITING, &call, timeout);
    if (rc == 0) {
        rc = write_parts(stream, parts, n, &wrote, &call);
        pl_stream_leave(stream, &call);
    }
    if (done)
        *done = wrote;
    return rc;
}

int plait_write(plait_stream *stream, const void *bytes, size_t size, size_t *done, int64_t timeout)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
    if (!bytes && size > 0) {
        if (done)
            *done = 0;
        return PLAIT_EINVAL;
    }
    return plait_writev(stream, &part, 1, done, timeout);
}

/* Only what wants words of a transport waits. */
static int say_eof(plait_stream *stream, const plait_transport *transport, struct pl_call *call)
{
    struct plait_transfer transfer = {.stream = stream, .call = call};
    if (transport)
        return transport->write_eof ? transport->write_eof(stream->self, &transfer) : PLAIT_ENOTSUP;
    if (!stream->io.is_socket)
        return PLAIT_ENOTSUP;
    /* Again: the peer may have closed its half since, and then nothing is connected any more. */
    if (pl_load_relaxed(&stream->half_closed))
        return 0;
    pl_store_relaxed(&stream->half_closed, 1u);
    return shutdown(stream->io.fd, SHUT_WR) < 0 ? pl_stream_failed(stream, errno) : 0;
}

int plait_write_eof(plait_stream *stream)
{
    if (!stream)
        return PLAIT_EINVAL;
    struct pl_call call;
    const plait_transport *transport = pl_stream_transport(stream);
    int rc = pl_stream_enter(stream, PL_WRITING, &call, transport ? PLAIT_FOREVER : PLAIT_NOWAIT);
    if (rc < 0)
        return rc;
    rc = say_eof(stream, transport, &call);
    pl_stream_leave(stream, &call);
    return rc;
}

/* --- files --- */

/* One piece by the kernel: bytes, 0 at the file's end, or -1 with errno. */
static ssize_t send_piece(plait_stream *stream, int file, off_t *offset, size_t n)
{
    struct quiet quiet;
    quiet_begin(&quiet);
    ssize_t sent = sendfile(stream->io.fd, file, offset, n);
    quiet_end(&quiet, sent < 0 && errno == EPIPE);
    return sent;
}

/* One piece by way of memory. 0 with *n bytes sent (0: the file's end), or a code. */
static int copy_piece(plait_stream *stream, int file, off_t offset, size_t *n, struct pl_call *call)
{
    char *copy = malloc(COPY);
    if (!copy)
        return PLAIT_ENOMEM;
    ssize_t got = pread(file, copy, *n < COPY ? *n : COPY, offset);
    int rc = got < 0 ? pl_file_error(errno) : 0;
    struct iovec part = {.iov_base = copy, .iov_len = got > 0 ? (size_t)got : 0};
    *n = 0;
    if (rc == 0)
        rc = write_parts(stream, &part, 1, n, call);
    free(copy);
    return rc;
}

static bool cannot_send(int error)
{
    return error == EINVAL || error == ENOSYS || error == EOPNOTSUPP;
}

static int send_pieces(plait_stream *stream, int file, off_t offset, uint64_t count, uint64_t *done,
                       struct pl_call *call)
{
    bool copies = pl_stream_transport(stream);
    uint64_t left = count ? count : UINT64_MAX;
    while (left > 0) {
        size_t n = left < PIECE ? (size_t)left : PIECE;
        off_t at = offset + (off_t)*done;
        int rc = 0;
        if (copies) {
            rc = copy_piece(stream, file, at, &n, call);
        } else {
            ssize_t sent = send_piece(stream, file, &at, n);
            n = sent > 0 ? (size_t)sent : 0;
            copies = sent < 0 && cannot_send(errno);
            if (sent < 0 && !copies)
                rc = pl_stream_write_failed(stream, call);
            if (sent < 0 && rc == 0)
                continue;
        }
        *done += n;
        left -= n;
        if (rc < 0)
            return rc;
        if (n == 0)
            return count ? PLAIT_EEOF : 0;
    }
    return 0;
}

int plait_sendfile(plait_stream *stream, int file, int64_t offset, uint64_t count, uint64_t *done,
                   int64_t timeout)
{
    struct pl_call call;
    uint64_t sent = 0;
    int rc = !stream || file < 0 || offset < 0
                 ? PLAIT_EINVAL
                 : pl_stream_enter(stream, PL_WRITING, &call, timeout);
    if (rc == 0) {
        rc = send_pieces(stream, file, offset, count, &sent, &call);
        pl_stream_leave(stream, &call);
    }
    if (done)
        *done = sent;
    return rc;
}
