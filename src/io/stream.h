/* What stream.c, read.c, write.c and connect.c know of a stream. */
#ifndef PL_IO_STREAM_H
#define PL_IO_STREAM_H

#include <plait/transport.h>

#include "base/atomic.h"
#include "io/io.h"

struct plait_stream {
    struct pl_io io;
    bool is_tcp;   /* constant */
    bool restores; /* constant: it was blocking and is to be so again */
    int32_t
        broken; /* atomic: PLAIT_ECONNRESET and the like, once either side has met it; 0: not yet */
    uint32_t ended;       /* atomic: the reader has met the end. Reader writes, anyone reads */
    uint32_t half_closed; /* atomic: plait_write_eof was called */
    size_t limit;         /* constant */
    char *bytes; /* what was received and not read yet: [begin, end) of room. The reader's */
    size_t begin, end, room;
    /* What lies between the calls and the descriptor; NULL: nothing. Set once, with both sides taken. Atomic */
    const plait_transport *transport;
    void *self;     /* its own; written before */
    uint32_t forks; /* pl_forks of the process that started it; written before */
    char *
        earlier; /* received before there was a transport, which receives it first: [earlier_at, earlier_end). The reader's */
    size_t earlier_at, earlier_end;
};

/* A call of a stream's as its transport sees it. */
struct plait_transfer {
    plait_stream *stream;
    struct pl_call *call;
};

/* The transport, or NULL. */
static inline const plait_transport *pl_stream_transport(const plait_stream *stream)
{
    /* A:stream.transport, pairs with plait_transport_start: `self` is there. */
    return pl_load_acquire(&stream->transport);
}

/* pl_io_enter, which refuses a forked child a stream with a transport: PLAIT_ECHILD. */
int pl_stream_enter(plait_stream *stream, enum pl_side side, struct pl_call *call, int64_t timeout);

/* Ends a call; frees the stream if it was closed meanwhile and nobody else is inside. */
void pl_stream_leave(plait_stream *stream, struct pl_call *call);

/* Up to n bytes from the descriptor, waiting for the first: how many, 0 at the end, or a code. (read.c) */
ssize_t pl_stream_receive(plait_stream *stream, void *to, size_t n, struct pl_call *call);

/* Parts to the descriptor, without waiting: bytes, or -1 with errno; and after such a failure: 0 to try again, having
 * waited, or a code. (write.c) */
ssize_t pl_stream_write_now(plait_stream *stream, struct iovec *parts, int n);
int pl_stream_write_failed(plait_stream *stream, struct pl_call *call);

/* The transport's last words to the peer, if this process made the stream. (transport.c) */
void pl_transport_say_goodbye(plait_stream *stream);

/* Frees it; of a closed stream, by whoever left last. */
void pl_stream_delete(plait_stream *stream);

/* What a call on the descriptor has failed with (errno), as a code; kept if the connection is gone with it. */
int pl_stream_failed(plait_stream *stream, int error);

#endif
