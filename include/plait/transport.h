/* plait_transport: what lies between the calls of a stream and its descriptor: encryption, compression. For those who
 * write one (tls.h is one); who reads and writes streams needs nothing of this.
 *
 *     static ssize_t my_read(void *self, plait_transfer *t, void *to, size_t size)
 *     {
 *         ssize_t n = plait_transfer_receive(t, to, size);     // waits, as long as the caller has said
 *         for (ssize_t i = 0; i < n; i++)
 *             ((unsigned char *)to)[i] ^= 42;
 *         return n;
 *     }
 *     static const plait_transport secret = {.read = my_read, .write = my_write};
 *
 *     plait_transport_start(stream, &secret, &state, PLAIT_FOREVER);
 *     plait_read_line(stream, ...);                            // as before
 *
 * The functions are called by one worker for each side at a time: `read` and `write` may run at once, `start` and
 * `write_eof` exclude those of their sides. What both use they guard themselves, and hold no lock during
 * a call that waits. All but `read` and `write` may be NULL. Each returns 0 or a negative code.
 * Death, fork: a transport is of no use in a child that is forked after its start: the calls return PLAIT_ECHILD there,
 * closing frees it and says nothing to the peer. Python's counterpart: asyncio.Transport. */
#ifndef PLAIT_TRANSPORT_H
#define PLAIT_TRANSPORT_H

#include <plait/stream.h>

PLAIT_BEGIN_DECLS

/* A call that is under way: its descriptor, its deadline, whom a request to stop is meant for. */
typedef struct plait_transfer plait_transfer;

typedef struct plait_transport {
    /* Before the first use, a handshake for example; holds both sides. */
    int (*start)(void *self, plait_transfer *transfer);
    /* Up to `size` bytes, waiting for the first: how many; 0: the end, which the peer has said. */
    ssize_t (*read)(void *self, plait_transfer *transfer, void *to, size_t size);
    /* All bytes of n parts. Adds to *done what has been taken and must not be given again, also if it fails. */
    int (*write)(void *self, plait_transfer *transfer, const struct iovec *parts, int n,
                 size_t *done);
    /* Nothing more will be written; holds the writing side. NULL: PLAIT_ENOTSUP. */
    int (*write_eof)(void *self, plait_transfer *transfer);
    /* The stream is being closed, others may be inside: last words. Only plait_transfer_send_now may be called. */
    void (*close)(void *self, plait_transfer *transfer);
    /* Nobody will use it any more. */
    void (*free)(void *self);
} plait_transport;

/* Puts a transport under a stream and starts it. Bytes that the stream has received and not given out yet are
 * received by the transport; nothing of what came before reaches a later plait_read.
 * Requires: no transport before. `table` stays as it is until the stream is closed.
 * Returns: 0, or what `start` returns: the transport is the stream's then too, the stream is good for nothing but
 *   plait_stream_close, and other calls return PLAIT_ETLS or what `read` and `write` say. Refused, with `self` still the caller's: PLAIT_EINVAL
 *   (NULL, timeout), PLAIT_EOVERFLOW, PLAIT_EBUSY (another reads or writes, or there is a transport), PLAIT_ECLOSED, PLAIT_ECHILD (a transport, started before a fork), PLAIT_ENOTSUP (no socket).
 *   *taken (may be NULL) tells which.
 * Blocks: as `start` does, cancellable. Who: as for reading. Python: loop.start_tls. */
PLAIT_API int plait_transport_start(plait_stream *stream, const plait_transport *table, void *self,
                                    bool *taken, int64_t timeout);

/* The `self` of a stream's transport if its table is this one, else NULL. Never blocks. */
PLAIT_API void *plait_transport_self(const plait_stream *stream, const plait_transport *table);

/* --- within the functions above --- */

/* Receives up to `size` bytes from the descriptor, waiting for the first. Within `read` and `start`.
 * Returns: how many; 0: the descriptor's end; a code as plait_read. Blocks: yes, cancellable. */
PLAIT_API ssize_t plait_transfer_receive(plait_transfer *transfer, void *to, size_t size);

/* Sends what the descriptor takes of `size` bytes, waiting until it takes some. Within `write`, `write_eof`, `start`.
 * Returns: how many; a code as plait_write. Blocks: yes, cancellable. */
PLAIT_API ssize_t plait_transfer_send(plait_transfer *transfer, const void *bytes, size_t size);

/* The same without waiting; in any of the functions, but no two workers at once may send.
 * Returns: how many, 0 if none can go now; a code as plait_write. Never blocks. */
PLAIT_API ssize_t plait_transfer_send_now(plait_transfer *transfer, const void *bytes, size_t size);

PLAIT_END_DECLS
#endif
