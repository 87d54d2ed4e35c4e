/* Waiting for descriptors: for libraries that have one, and for system calls that plait has no stream for.
 *
 * Works for whatever poll(2) does: sockets, pipes, terminals, eventfd, timerfd, pidfd, signalfd, inotify,
 * epoll. Regular files are always ready. The descriptor may be in blocking mode or not; it is only looked
 * at. A task that waits lets the other tasks of its thread run; otherwise there is no difference between
 * threads, processes and tasks.
 *
 *     // A query of libpq, in a task or a thread, with a timeout and cancellable.
 *     PGresult *query(PGconn *db, const char *sql)
 *     {
 *         int rc = PQsendQuery(db, sql) ? 0 : PLAIT_EIO;
 *         while (rc >= 0 && PQisBusy(db)) {
 *             rc = plait_wait_fd(PQsocket(db), PLAIT_READABLE, plait_seconds(5));
 *             if (rc > 0 && !PQconsumeInput(db))
 *                 rc = PLAIT_EIO;
 *         }
 *         return rc >= 0 ? PQgetResult(db) : NULL;
 *     }
 *
 * Ready means that the call in question would not block now. If several wait for the same descriptor, all may be
 * told, and one of them takes what is there: then the others' read blocks, unless the descriptor is in
 * non-blocking mode.
 *
 * Closing a descriptor while somebody waits for it is misuse. The kernel does not tell those who wait; so the wait ends
 * by its timeout, by being cancelled, because of the old file as long as that is open elsewhere, with PLAIT_EBADF if it happens
 * to look again, or by what becomes of a new file with that number. To end the waits of others, shutdown(2) the socket or
 * plait_cancel the workers, and close it when they are done.
 *
 * Death: a waiter that is killed leaves nothing. That the other side has died is seen as its kernel tells it: end
 * of file, PLAIT_HANGUP, PLAIT_FAILED.
 * Limits: a request to stop reaches the waiting thread by the signal SIGURG, which see in plait_wait_fd.
 * Python's counterpart: select.poll, and of a loop add_reader, add_writer, sock_recv and so on. */
#ifndef PLAIT_FD_H
#define PLAIT_FD_H

#include <plait/clock.h>
#include <plait/error.h>

PLAIT_BEGIN_DECLS

/* What a descriptor is ready for. */
enum plait_fd_event {
    PLAIT_READABLE = 1, /* to read, also the end of the stream; a listening socket: to accept */
    PLAIT_WRITABLE = 2, /* to write; a connecting socket: connected or refused */
    PLAIT_PRIORITY = 4, /* out-of-band data, and what poll(2) says of POLLPRI */
    PLAIT_HANGUP = 8,   /* the other side is gone; what it wrote may still be there to be read */
    PLAIT_FAILED = 16,  /* an error is pending (SO_ERROR), or a pipe has no readers left */
};

/* Waits until the descriptor is ready for one of `events`: a set of enum plait_fd_event. PLAIT_HANGUP and
 * PLAIT_FAILED end the wait even if they are not in it, as with poll(2); alone they wait for just that. PLAIT_NOWAIT
 * only looks.
 * Returns: the positive set of those it is ready for, of the ones asked for and these two;
 *   PLAIT_ETIMEDOUT, PLAIT_ECANCELED, PLAIT_EBADF (negative, or not open), PLAIT_EINVAL (events empty or with other
 *   bits, timeout below -1), PLAIT_EOVERFLOW, PLAIT_ENOMEM, and as registering may fail: PLAIT_EARENA,
 *   PLAIT_EWORKERS. What is ready at once is returned although a request to stop is pending.
 * Blocks: yes, cancellable, at once from anywhere in the family. To that end the process gets, at the first wait,
 *   a handler for SIGURG that does nothing, unless it has one; a handler of yours is called then, too, and should be installed
 *   with SA_RESTART. While the signal is ignored, or the canceller may not signal this process (another user), a request arrives
 *   within a second.
 * Who: threads, processes, tasks; not signal handlers; after fork, yes. Never a point of pthread_cancel.
 * Python: loop.add_reader(fd) and a future; select.poll().poll(timeout). */
PLAIT_API int plait_wait_fd(int fd, int events, int64_t timeout);

PLAIT_END_DECLS
#endif
