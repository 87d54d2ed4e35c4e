/* plait_stream: bytes to and from another program or worker: TCP, unix sockets, pipes, terminals.
 *
 *     plait_stream *s;
 *     char line[100];
 *     if (plait_connect(&s, "localhost", "7", NULL, plait_seconds(5)) < 0)
 *         return;
 *     plait_write(s, "hello\n", 6, NULL, plait_seconds(5));
 *     if (plait_read_line(s, line, sizeof line, NULL, plait_seconds(5)) == 0)
 *         fputs(line, stdout);
 *     plait_stream_close(s);
 *
 * The same code reads the same in a thread, a process and a task: a call that has to wait lets others run.
 *
 * Reading: what was received and not asked for yet is kept, up to a limit, 64 KiB unless said otherwise. Writing: a call
 * returns when the kernel has all bytes; no buffer of plait's grows while a peer does not read: the
 * writer waits. The end and a broken connection are told apart: the end is 0 or PLAIT_EEOF, a reset
 * PLAIT_ECONNRESET; writing to who has gone is PLAIT_EPIPE or PLAIT_ECONNRESET and never a signal.
 *
 * One worker may read while another writes. A second reader gets PLAIT_EBUSY, so does a second writer. A stream
 * belongs to the process that made it, and the caller closes it. Closing while others wait in it is allowed: they
 * return PLAIT_ECLOSED. Using it after it was closed is not, as with fclose.
 * Fork: the child has a copy, of the buffered bytes too, on the same connection; each closes its own. A child that closes
 * a socket in which other workers of that child wait ends the connection for both.
 * Death: a process that dies closes its streams; the peer sees the end, or a reset if bytes were left unread.
 * The descriptor is non-blocking and closed on exec.
 * Python's counterpart: asyncio.StreamReader and StreamWriter in one. */
#ifndef PLAIT_STREAM_H
#define PLAIT_STREAM_H

#include <plait/clock.h>
#include <plait/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

PLAIT_BEGIN_DECLS

typedef struct plait_stream plait_stream;

/* --- making --- */

/* All zero is the default. */
typedef struct plait_connect_options {
    int family;             /* AF_INET, AF_INET6; 0: both */
    const char *local_host; /* address to connect from; NULL: any */
    const char *local_port; /* NULL: any */
    /* ns after which the next address is tried beside those that have not answered; 0: 250 ms; PLAIT_FOREVER: the next is
     * tried when the last has failed */
    int64_t happy_eyeballs_delay;
    bool delay;     /* small writes wait for more to go with them (Nagle); else they go at once */
    bool keepalive; /* the kernel asks now and then whether the peer is still there */
    size_t limit;   /* bytes kept, and the longest that plait_read_until finds; 0: 64 KiB */
} plait_connect_options;

/* Connects to a host (name or number) and port (service name or number). A name with several addresses is
 * tried at all of them, families taking turns, and the first to answer is taken.
 * Requires: ret, host, port. Returns: 0 with *ret set, else *ret is untouched: PLAIT_ECONNREFUSED, PLAIT_EHOSTUNREACH,
 *   PLAIT_ENETUNREACH and the like of the first address that failed, when all have; PLAIT_ENAME, PLAIT_EADDRNOTAVAIL, PLAIT_EADDRINUSE
 *   (the local address), PLAIT_EMFILE, PLAIT_ETIMEDOUT, PLAIT_ECANCELED, PLAIT_EINVAL, PLAIT_EOVERFLOW, PLAIT_ENOMEM, PLAIT_EAGAIN (no
 *   helper thread for the name), and as registering may fail: PLAIT_EARENA, PLAIT_EWORKERS.
 * Blocks: yes, cancellable. Who: threads, processes, tasks; not signal handlers; after fork, yes.
 * Python: asyncio.open_connection. */
PLAIT_API int plait_connect(plait_stream **ret, const char *host, const char *port,
                            const plait_connect_options *options, int64_t timeout);

/* Connects to a unix socket; a leading '@' means the abstract namespace. Of the options, limit counts.
 * Returns: as plait_connect; PLAIT_ENOENT, PLAIT_EACCES, PLAIT_EOVERFLOW also for a path of more than 107 bytes.
 * Blocks: while the listener's queue is full, cancellable. Python: asyncio.open_unix_connection. */
PLAIT_API int plait_connect_unix(plait_stream **ret, const char *path,
                                 const plait_connect_options *options, int64_t timeout);

/* Two streams, each the other's peer. Returns: 0 with both set, PLAIT_EMFILE, PLAIT_ENOMEM, PLAIT_EINVAL (NULL).
 * Never blocks. Who: as plait_connect. Python: socket.socketpair. */
PLAIT_API int plait_stream_pair(plait_stream **first, plait_stream **second);

/* All zero is the default. */
typedef struct plait_stream_options {
    size_t limit; /* as above */
} plait_stream_options;

/* Makes a stream of a pipe, terminal or connected socket, and takes the descriptor. A pipe or terminal that was blocking
 * is so again when the stream is closed, for others may share it.
 * Returns: 0 with *ret set; PLAIT_ENOTSUP (a regular file, a directory, a datagram socket, ...: they are not waited for; use
 *   file.h), PLAIT_EBADF, PLAIT_EINVAL: the descriptor is still the caller's then; PLAIT_ENOMEM (it is closed).
 * Never blocks. Python: connect_read_pipe, connect_write_pipe, open_connection(sock=). */
PLAIT_API int plait_stream_of_fd(plait_stream **ret, int fd, const plait_stream_options *options);

/* --- reading ---
 *
 * All of these: Blocks: yes, cancellable. Who: threads, processes, tasks, one at a time; not signal handlers; after
 * fork, yes. Besides what is said at each they return PLAIT_ECONNRESET (broken off; so do all later ones),
 * PLAIT_EHOSTUNREACH (the peer does not answer any more), PLAIT_EBUSY (another reads), PLAIT_ECLOSED (closed meanwhile), PLAIT_ETIMEDOUT, PLAIT_ECANCELED,
 * PLAIT_EINVAL (NULL, timeout below -1), PLAIT_EOVERFLOW, PLAIT_EIO, PLAIT_ENOMEM, and as registering may fail: PLAIT_EARENA, PLAIT_EWORKERS.
 * *got (may be NULL) is set in any case: the bytes delivered to the buffer and consumed, also of a call
 * that failed. */

/* Reads what there is, at most `size` bytes, waiting for the first.
 * Returns: how many; 0: the end. PLAIT_EINVAL also for size 0. Python: read(n). */
PLAIT_API ssize_t plait_read(plait_stream *stream, void *buffer, size_t size, int64_t timeout);

/* Reads exactly `size` bytes.
 * Returns: 0; PLAIT_EEOF (the end came first: *got says how many are there). Python: readexactly(n). */
PLAIT_API int plait_read_exactly(plait_stream *stream, void *buffer, size_t size, size_t *got,
                                 int64_t timeout);

/* Reads through the first `separator` of `length` bytes.
 * Returns: 0, the separator being the last of *got bytes; PLAIT_EEOF (the end came first: *got bytes are left over);
 *   PLAIT_ELIMIT (it is not within the first `size` bytes, nor within the stream's limit). Nothing is consumed by
 *   PLAIT_ELIMIT, PLAIT_ETIMEDOUT and other failures. PLAIT_EINVAL also for an empty separator. Python: readuntil(separator). */
PLAIT_API int plait_read_until(plait_stream *stream, void *buffer, size_t size,
                               const void *separator, size_t length, size_t *got, int64_t timeout);

/* Reads a line with its "\n" and puts a zero byte after it; the last may lack the "\n".
 * Returns: 0; PLAIT_EEOF (no line is left); PLAIT_ELIMIT (it does not fit; nothing is consumed). PLAIT_EINVAL also for size below 2.
 * Python: readline(). */
PLAIT_API int plait_read_line(plait_stream *stream, char *line, size_t size, size_t *got,
                              int64_t timeout);

/* Reads to the end.
 * Returns: 0; PLAIT_ELIMIT (there is more than `size` bytes: the first are in the buffer, the rest can be read).
 * Python: read(-1). */
PLAIT_API int plait_read_all(plait_stream *stream, void *buffer, size_t size, size_t *got,
                             int64_t timeout);

/* 1 if the last read met the end and nothing is kept, else 0. For the reader. Never blocks. Python: at_eof(). */
PLAIT_API int plait_stream_at_eof(const plait_stream *stream);

/* --- writing ---
 *
 * All of these: Blocks: until the kernel has taken all, cancellable. Who: as for reading, one writer at a time. *done
 * (may be NULL) is set in any case: bytes that went, also of a call that failed. Returns: 0; PLAIT_EPIPE (nobody will
 * read it: the peer has gone, or plait_write_eof was called), PLAIT_ECONNRESET, PLAIT_EHOSTUNREACH, PLAIT_EBUSY (another writes), and the rest as for reading. */

/* Writes all bytes. Python: write(data) and await drain(). */
PLAIT_API int plait_write(plait_stream *stream, const void *bytes, size_t size, size_t *done,
                          int64_t timeout);

/* Writes all bytes of n parts, in order. PLAIT_EINVAL also for n < 0. Python: writelines(list). */
PLAIT_API int plait_writev(plait_stream *stream, const struct iovec *parts, int n, size_t *done,
                           int64_t timeout);

/* Writes `count` bytes of a regular file from `offset` on (count 0: to its end) without copying them where the kernel
 * can. The file's own position stays.
 * Returns: also PLAIT_EEOF (the file ended before `count` bytes), PLAIT_EINVAL (file or offset negative), and what reading the file gives.
 * Blocks: also while the file is read from its disk, for all tasks of the thread. Python: loop.sendfile, sock_sendfile. */
PLAIT_API int plait_sendfile(plait_stream *stream, int file, int64_t offset, uint64_t count,
                             uint64_t *done, int64_t timeout);

/* Says that no more will be written: the peer reads to the end; reading goes on. Again: 0.
 * Returns: 0; PLAIT_ENOTSUP (a pipe or terminal: close it), PLAIT_ENOTCONN (the connection is gone), PLAIT_EBUSY (another writes), PLAIT_ECLOSED, PLAIT_EINVAL (NULL).
 * Never blocks, but over TLS, where it is as plait_write without a timeout. Python: write_eof(). */
PLAIT_API int plait_write_eof(plait_stream *stream);

/* --- the end --- */

/* Closes the stream; what was written is still delivered. Workers that wait in it return PLAIT_ECLOSED (from a pipe or
 * terminal within 100 ms). NULL does nothing.
 * Returns: 0. Never blocks. Who: any worker of the process, once; not signal handlers. Python: close(). */
PLAIT_API int plait_stream_close(plait_stream *stream);

/* The same, but of a TCP connection the peer gets a reset and what was not delivered yet is dropped.
 * Python: transport.abort(). */
PLAIT_API int plait_stream_abort(plait_stream *stream);

/* --- about it; these never block --- */

/* Its descriptor, which stays the stream's; PLAIT_EINVAL (NULL). Python: get_extra_info("socket").fileno(). */
PLAIT_API int plait_stream_fd(const plait_stream *stream);

/* Writes the peer's, the own address into `text`, as plait_address_text does (resolve.h).
 * Returns: 0, PLAIT_EINVAL (NULL, size 0), PLAIT_EOVERFLOW (does not fit), PLAIT_ENOTSUP (no socket), PLAIT_ENOTCONN.
 * Python: get_extra_info("peername"), get_extra_info("sockname"). */
PLAIT_API int plait_peer_name(const plait_stream *stream, char *text, size_t size);
PLAIT_API int plait_local_name(const plait_stream *stream, char *text, size_t size);

PLAIT_END_DECLS
#endif
