/* plait_listener: where others connect; plait_serve: a worker for each who does.
 *
 *     static int echo(plait_stream *s, void *arg)
 *     {
 *         char bytes[4096];
 *         ssize_t n;
 *         while ((n = plait_read(s, bytes, sizeof bytes, PLAIT_FOREVER)) > 0)
 *             plait_write(s, bytes, n, NULL, PLAIT_FOREVER);
 *         return 0;                                            // closes the stream
 *     }
 *
 *     plait_listener *l;
 *     if (plait_listen(&l, NULL, "8007", NULL, PLAIT_FOREVER) == 0)
 *         plait_serve(l, echo, NULL, NULL);                    // until cancelled
 *
 * A listener belongs to the process that made it and is closed by the caller. Any number of workers may accept from it, and of processes
 * that were forked after it was made: each connection comes to one of them. Closing it while others wait in it is allowed: they
 * return PLAIT_ECLOSED (in a forked child within 100 ms).
 * Death: a process that dies closes its copy; connections not accepted yet are reset if it was the last. The file
 * of a unix socket stays then, and the next plait_listen_unix removes it.
 * Limits: 16 addresses. Python's counterpart: asyncio.start_server, asyncio.Server. */
#ifndef PLAIT_LISTENER_H
#define PLAIT_LISTENER_H

#include <plait/stream.h>
#include <plait/worker.h>

PLAIT_BEGIN_DECLS

typedef struct plait_listener plait_listener;

/* All zero is the default. */
typedef struct plait_listen_options {
    int family;      /* AF_INET, AF_INET6; 0: both */
    int backlog;     /* connections that may wait to be accepted; 0: 100 */
    bool reuse_port; /* other sockets may listen at the same port, the kernel shares out */
    bool delay;      /* of the streams: small writes wait for more to go with them (Nagle) */
    bool keepalive;  /* of the streams: the kernel asks now and then whether the peer is there */
    size_t limit;    /* of the streams: bytes kept; 0: 64 KiB */
} plait_listen_options;

/* Listens at all addresses of `host` (NULL: of this machine, both families) and a port: a service, a number, or "0": any
 * that is free, the same at all addresses. A port whose last connections are just ending can be had again at once.
 * Returns: 0 with *ret set, else *ret is untouched: PLAIT_EADDRINUSE, PLAIT_EADDRNOTAVAIL, PLAIT_EACCES, PLAIT_ENAME, PLAIT_ENOTSUP (the family),
 *   PLAIT_EMFILE, PLAIT_ENOMEM, PLAIT_ETIMEDOUT, PLAIT_ECANCELED, PLAIT_EAGAIN, PLAIT_EINVAL, PLAIT_EOVERFLOW, PLAIT_EARENA, PLAIT_EWORKERS.
 * Blocks: while a name is looked up, cancellable. Who: threads, processes, tasks; not signal handlers; after fork, yes.
 * Python: loop.create_server. */
PLAIT_API int plait_listen(plait_listener **ret, const char *host, const char *port,
                           const plait_listen_options *options, int64_t timeout);

/* Listens at a unix socket; a leading '@' means the abstract namespace. A socket file at which nobody listens any more is
 * replaced. Closing removes the file unless another has taken its place.
 * Returns: as plait_listen; PLAIT_EADDRINUSE also for a file that is no socket, PLAIT_EOVERFLOW for a path of
 *   more than 107 bytes, PLAIT_ENOENT (its folder). Never blocks. Python: loop.create_unix_server. */
PLAIT_API int plait_listen_unix(plait_listener **ret, const char *path,
                                const plait_listen_options *options);

/* Waits for a connection.
 * Returns: 0 with *ret set, to be closed by the caller; PLAIT_EMFILE (no descriptor left in the process or the system: one
 *   connection was closed at once with a descriptor kept for that, so that its peer does not wait for ever),
 *   PLAIT_ENOMEM, PLAIT_ECLOSED, PLAIT_ETIMEDOUT, PLAIT_ECANCELED, PLAIT_EINVAL, PLAIT_EOVERFLOW, PLAIT_EARENA, PLAIT_EWORKERS. Connections that broke while
 *   they waited are skipped.
 * Blocks: yes, cancellable. Who: threads, processes, tasks, any number at once; not signal handlers. Python: loop.sock_accept. */
PLAIT_API int plait_accept(plait_listener *listener, plait_stream **ret, int64_t timeout);

/* The port; PLAIT_ENOTSUP (a unix socket), PLAIT_EINVAL (NULL). Never blocks. Python: Server.sockets. */
PLAIT_API int plait_listener_port(const plait_listener *listener);

/* Writes its i-th address (from 0) as text; PLAIT_ENOENT: there are not so many. Else as plait_local_name. */
PLAIT_API int plait_listener_name(const plait_listener *listener, int i, char *text, size_t size);

/* Listens no more; streams that came of it stay. NULL does nothing. Returns: 0. Never blocks. Who: any worker of the process,
 * once; not signal handlers. Python: Server.close(). */
PLAIT_API int plait_listener_close(plait_listener *listener);

/* What serves a client; the stream is closed when it returns, and not before by it. */
typedef int plait_client_function(plait_stream *stream, void *arg);

/* All zero is the default. */
typedef struct plait_serve_options {
    int kind;        /* PLAIT_THREAD or PLAIT_TASK; 0: threads in this version */
    int max_clients; /* served at once; more wait to be accepted. 0: 1000 */
} plait_serve_options;

/* Accepts connections and runs client(stream, arg) for each, in a worker of its own. While descriptors, memory or threads
 * are lacking it accepts none, looking again every 100 ms.
 * Returns, when all clients have ended: PLAIT_ECANCELED (they were asked to stop), PLAIT_ECLOSED (the listener was closed: they were let finish);
 *   PLAIT_ENOTSUP (PLAIT_PROCESS), PLAIT_EINVAL, and as registering may fail: PLAIT_EARENA, PLAIT_ENOMEM. A client that waits outside plait calls holds it up.
 * Blocks: yes, cancellable. Who: threads, processes, tasks; not signal handlers. Python: Server.serve_forever(). */
PLAIT_API int plait_serve(plait_listener *listener, plait_client_function *client, void *arg,
                          const plait_serve_options *options);

PLAIT_END_DECLS
#endif
