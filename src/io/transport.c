/* Transports: a stream whose bytes go through somebody else's functions, which use the descriptor by those below.
 *
 * Naive upgrade: from now on the calls take the other way. Its hole: what was received before and still lies in the
 * stream's buffer is given out as if it had come encrypted; an attacker puts commands of his own there (CVE-2011-0411). Cure: the
 * transport gets these bytes as the first that it receives, however late it asks for
 * them, and starts with both sides taken: the buffer is empty before anyone reads again. */
#include "base/atomic.h"
#include "io/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { BOTH = PL_READING | PL_WRITING };

static int may_start(const plait_stream *stream)
{
    if (!stream->io.is_socket)
        return PLAIT_ENOTSUP;
    return pl_stream_transport(stream) ? PLAIT_EBUSY : 0;
}

/* What is buffered becomes what the transport receives first. Both sides are the caller's. */
static void install(plait_stream *stream, const plait_transport *table, void *self)
{
    stream->earlier = stream->bytes;
    stream->earlier_at = stream->begin;
    stream->earlier_end = stream->end;
    stream->bytes = NULL;
    stream->begin = stream->end = stream->room = 0;
    pl_store_relaxed(&stream->ended, 0u);
    stream->self = self;
    stream->forks = pl_forks;
    /* R:stream.transport, pairs with pl_stream_transport. */
    pl_store_release(&stream->transport, table);
}

int plait_transport_start(plait_stream *stream, const plait_transport *table, void *self,
                          bool *taken, int64_t timeout)
{
    struct pl_call call;
    if (taken)
        *taken = false;
    if (!stream || !table || !table->read || !table->write)
        return PLAIT_EINVAL;
    int rc = pl_stream_enter(stream, (enum pl_side)BOTH, &call, timeout);
    if (rc < 0)
        return rc;
    rc = may_start(stream);
    if (rc == 0) {
        install(stream, table, self);
        if (taken)
            *taken = true;
        rc = table->start
                 ? table->start(self, &(struct plait_transfer){.stream = stream, .call = &call})
                 : 0;
    }
    pl_stream_leave(stream, &call);
    return rc;
}

void *plait_transport_self(const plait_stream *stream, const plait_transport *table)
{
    return stream && table && pl_stream_transport(stream) == table ? stream->self : NULL;
}

void pl_transport_say_goodbye(plait_stream *stream)
{
    const plait_transport *transport = pl_stream_transport(stream);
    struct plait_transfer transfer = {.stream = stream};
    if (!transport || !transport->close || stream->forks != pl_forks)
        return;
    int saved = errno;
    transport->close(stream->self, &transfer);
    errno = saved;
}

/* --- for the transport's functions --- */

static size_t take_earlier(plait_stream *stream, void *to, size_t size)
{
    size_t have = stream->earlier_end - stream->earlier_at;
    size_t n = size < have ? size : have;
    if (n > 0)
        memcpy(to, stream->earlier + stream->earlier_at, n);
    stream->earlier_at += n;
    if (n == have) {
        free(stream->earlier);
        stream->earlier = NULL;
        stream->earlier_at = stream->earlier_end = 0;
    }
    return n;
}

ssize_t plait_transfer_receive(plait_transfer *transfer, void *to, size_t size)
{
    plait_stream *stream = transfer->stream;
    if (stream->earlier_at < stream->earlier_end)
        return (ssize_t)take_earlier(stream, to, size);
    return pl_stream_receive(stream, to, size, transfer->call);
}

ssize_t plait_transfer_send(plait_transfer *transfer, const void *bytes, size_t size)
{
    int rc = 0;
    while (rc == 0) {
        struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
        ssize_t sent = pl_stream_write_now(transfer->stream, &part, 1);
        if (sent >= 0)
            return sent;
        rc = pl_stream_write_failed(transfer->stream, transfer->call);
    }
    return rc;
}

ssize_t plait_transfer_send_now(plait_transfer *transfer, const void *bytes, size_t size)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
    ssize_t sent;
    do
        sent = pl_stream_write_now(transfer->stream, &part, 1);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return sent;
    return errno == EAGAIN ? 0 : pl_stream_failed(transfer->stream, errno);
}
