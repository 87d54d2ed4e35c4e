/* Reading from streams. What read_until has received beyond its separator waits in the stream's buffer, from
 * which every read takes first; reads that want n bytes get the rest right into the caller's memory.
 *
 * The end and a broken connection are told apart. Naive: recv said 0, so it is the end. Its race: the kernel reports a
 * reset once, to whichever call comes first, and 0 from then on; a writer may have got it. Cure: both sides leave it in `broken`;
 * and where neither has, a TCP socket that is closed altogether although this side has not closed its half was reset. */
#include "base/atomic.h"
#include "io/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROOM_FIRST = 4096 };

static bool was_reset(const plait_stream *stream)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    return stream->is_tcp && !pl_load_relaxed(&stream->half_closed) &&
           getsockopt(stream->io.fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
           info.tcpi_state == TCP_CLOSE;
}

/* recv said 0: 0, or what it means. */
static int at_end(plait_stream *stream)
{
    if (pl_io_is_closed(&stream->io))
        return PLAIT_ECLOSED;
    bool reset = was_reset(stream);
    int broken = pl_load_relaxed(&stream->broken);
    if (broken < 0 || reset)
        return broken < 0 ? broken : pl_stream_failed(stream, ECONNRESET);
    return 0;
}

ssize_t pl_stream_receive(plait_stream *stream, void *to, size_t n, struct pl_call *call)
{
    int fd = stream->io.fd, rc = 0;
    if (pl_fd_is_drained(fd, &stream->io.watch))
        rc = pl_io_wait(&stream->io, POLLIN, call);
    while (rc == 0) {
        ssize_t got = stream->io.is_socket ? recv(fd, to, n, MSG_DONTWAIT) : read(fd, to, n);
        if (got > 0 && (size_t)got < n && stream->io.is_socket) /* there was no more */
            pl_fd_note_drained(fd, &stream->io.watch);
        if (got > 0)
            return got;
        if (got == 0)
            return at_end(stream);
        if (errno == EAGAIN)
            rc = pl_io_wait(&stream->io, POLLIN, call);
        else if (errno != EINTR)
            rc = pl_stream_failed(stream, errno);
    }
    return rc;
}

/* Up to n bytes from the transport or the kernel, waiting for the first: how many, 0 at the end, or a code. */
static ssize_t receive(plait_stream *stream, void *to, size_t n, struct pl_call *call)
{
    const plait_transport *transport = pl_stream_transport(stream);
    struct plait_transfer transfer = {.stream = stream, .call = call};
    ssize_t got = transport ? transport->read(stream->self, &transfer, to, n)
                            : pl_stream_receive(stream, to, n, call);
    if (got == 0)
        pl_store_release(&stream->ended, 1u);
    return got;
}

/* --- the buffer --- */

static size_t buffered(const plait_stream *stream)
{
    return stream->end - stream->begin;
}

static size_t take_buffered(plait_stream *stream, void *to, size_t n)
{
    size_t have = buffered(stream), take = n < have ? n : have;
    if (take == 0)
        return 0;
    memcpy(to, stream->bytes + stream->begin, take);
    stream->begin += take;
    if (stream->begin == stream->end)
        stream->begin = stream->end = 0;
    return take;
}

/* Makes room for at least one more byte, for `most` at most. */
static int make_room(plait_stream *stream, size_t most)
{
    if (stream->begin > 0) {
        memmove(stream->bytes, stream->bytes + stream->begin, buffered(stream));
        stream->end -= stream->begin;
        stream->begin = 0;
    }
    if (stream->end < stream->room)
        return 0;
    size_t room = stream->room ? stream->room * 2 : ROOM_FIRST;
    room = room < most ? room : most;
    char *bytes = realloc(stream->bytes, room);
    if (!bytes)
        return PLAIT_ENOMEM;
    stream->bytes = bytes;
    stream->room = room;
    return 0;
}

/* Receives more into the buffer, which may hold `most`: how many bytes, 0 at the end, or a code. */
static ssize_t fill(plait_stream *stream, size_t most, struct pl_call *call)
{
    int rc = make_room(stream, most);
    if (rc < 0)
        return rc;
    ssize_t got = receive(stream, stream->bytes + stream->end, stream->room - stream->end, call);
    if (got > 0)
        stream->end += (size_t)got;
    return got;
}

/* --- calls --- */

static int enter(plait_stream *stream, const void *buffer, size_t size, struct pl_call *call,
                 int64_t timeout)
{
    if (!stream || (!buffer && size > 0))
        return PLAIT_EINVAL;
    return pl_stream_enter(stream, PL_READING, call, timeout);
}

ssize_t plait_read(plait_stream *stream, void *buffer, size_t size, int64_t timeout)
{
    struct pl_call call;
    int rc = size == 0 ? PLAIT_EINVAL : enter(stream, buffer, size, &call, timeout);
    if (rc < 0)
        return rc;
    ssize_t got = (ssize_t)take_buffered(stream, buffer, size);
    if (got == 0)
        got = receive(stream, buffer, size, &call);
    pl_stream_leave(stream, &call);
    return got;
}

/* Reads until the buffer is full. 0, PLAIT_EEOF, or a code; *got either way. */
static int read_full(plait_stream *stream, char *to, size_t size, size_t *got, struct pl_call *call)
{
    *got = take_buffered(stream, to, size);
    while (*got < size) {
        ssize_t n = receive(stream, to + *got, size - *got, call);
        if (n <= 0)
            return n == 0 ? PLAIT_EEOF : (int)n;
        *got += (size_t)n;
    }
    return 0;
}

int plait_read_exactly(plait_stream *stream, void *buffer, size_t size, size_t *got,
                       int64_t timeout)
{
    struct pl_call call;
    size_t n = 0;
    int rc = enter(stream, buffer, size, &call, timeout);
    if (rc == 0) {
        rc = read_full(stream, buffer, size, &n, &call);
        pl_stream_leave(stream, &call);
    }
    if (got)
        *got = n;
    return rc;
}

int plait_read_all(plait_stream *stream, void *buffer, size_t size, size_t *got, int64_t timeout)
{
    struct pl_call call;
    size_t n = 0;
    int rc = enter(stream, buffer, size, &call, timeout);
    if (rc == 0) {
        rc = read_full(stream, buffer, size, &n, &call);
        if (rc == 0 && buffered(stream) == 0) { /* full: is that all? */
            ssize_t more = fill(stream, stream->limit, &call);
            rc = more == 0 ? PLAIT_EEOF : more < 0 ? (int)more : 0;
        }
        pl_stream_leave(stream, &call);
    }
    if (got)
        *got = n;
    return rc == 0 ? PLAIT_ELIMIT : rc == PLAIT_EEOF ? 0 : rc;
}

/* Where the separator ends within the first `most` buffered bytes, 0 if nowhere. Bytes before `from` were searched. */
static size_t find_end(const plait_stream *stream, const void *separator, size_t length,
                       size_t from, size_t most)
{
    size_t have = buffered(stream);
    size_t start = from >= length ? from - length + 1 : 0;
    have = have < most ? have : most;
    if (have <= start)
        return 0;
    const char *bytes = stream->bytes + stream->begin;
    const char *found = memmem(bytes + start, have - start, separator, length);
    return found ? (size_t)(found - bytes) + length : 0;
}

/* Receives until the separator is there. 0 with the length up to its end, or PLAIT_EEOF, PLAIT_ELIMIT, or a code. */
static int search(plait_stream *stream, const void *separator, size_t length, size_t most,
                  size_t *ret, struct pl_call *call)
{
    size_t searched = 0;
    for (;;) {
        *ret = find_end(stream, separator, length, searched, most);
        if (*ret > 0)
            return 0;
        searched = buffered(stream);
        if (searched >= most)
            return PLAIT_ELIMIT;
        ssize_t n = fill(stream, stream->limit, call);
        if (n <= 0)
            return n == 0 ? PLAIT_EEOF : (int)n;
    }
}

int plait_read_until(plait_stream *stream, void *buffer, size_t size, const void *separator,
                     size_t length, size_t *got, int64_t timeout)
{
    struct pl_call call;
    size_t n = 0;
    if (got)
        *got = 0;
    int rc = !separator || length == 0 ? PLAIT_EINVAL : enter(stream, buffer, size, &call, timeout);
    if (rc < 0)
        return rc;
    size_t most = size < stream->limit ? size : stream->limit;
    rc = search(stream, separator, length, most, &n, &call);
    if (rc == PLAIT_EEOF)
        n = buffered(stream);
    if (rc == 0 || rc == PLAIT_EEOF)
        n = take_buffered(stream, buffer, n);
    pl_stream_leave(stream, &call);
    if (got && (rc == 0 || rc == PLAIT_EEOF))
        *got = n;
    return rc;
}

int plait_read_line(plait_stream *stream, char *line, size_t size, size_t *got, int64_t timeout)
{
    size_t n = 0;
    if (got)
        *got = 0;
    if (!line || size < 2)
        return PLAIT_EINVAL;
    int rc = plait_read_until(stream, line, size - 1, "\n", 1, &n, timeout);
    if (rc < 0 && !(rc == PLAIT_EEOF && n > 0))
        return rc;
    line[n] = 0;
    if (got)
        *got = n;
    return 0;
}
