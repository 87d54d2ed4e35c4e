/* plait_datagram: messages that arrive whole or not at all, by UDP or a unix socket.
 *
 *     plait_datagram *d;
 *     plait_address to;
 *     char answer[512];
 *     size_t n;
 *     plait_resolve("127.0.0.1", "53", &(plait_resolve_options){.datagram = true}, &to, 1, PLAIT_FOREVER);
 *     if (plait_datagram_open(&d, NULL, &to, NULL) == 0) {
 *         plait_send_to(d, "?", 1, NULL, PLAIT_FOREVER);
 *         plait_receive_from(d, answer, sizeof answer, &n, NULL, plait_seconds(1));
 *         plait_datagram_close(d);
 *     }
 *
 * With a remote address it is connected: it sends to and hears nobody else. A message of 0 bytes is a
 * message. Any number of workers may send and receive at once. The caller closes it; those who wait in it then
 * return PLAIT_ECLOSED. Fork: the child has a copy on the same socket; each closes its own.
 * Python's counterpart: create_datagram_endpoint, socket.sendto, recvfrom. */
#ifndef PLAIT_DATAGRAM_H
#define PLAIT_DATAGRAM_H

#include <plait/resolve.h>

PLAIT_BEGIN_DECLS

typedef struct plait_datagram plait_datagram;

/* All zero is the default. */
typedef struct plait_datagram_options {
    bool broadcast;     /* may send to broadcast addresses */
    bool reuse_address; /* the same address for several, of which one receives (multicast: all) */
    bool reuse_port;    /* the same address for several, among whom the kernel shares out */
} plait_datagram_options;

/* Opens a socket at `local` (NULL: any address, with a port that is free), connected to `remote` (NULL: not
 * connected), not both NULL. A unix socket's file is removed when it is closed.
 * Returns: 0 with *ret set, else *ret is untouched: PLAIT_EADDRINUSE, PLAIT_EADDRNOTAVAIL, PLAIT_EACCES, PLAIT_ECONNREFUSED and PLAIT_ENOENT (unix: nobody at
 *   `remote`), PLAIT_ENETUNREACH, PLAIT_EMFILE, PLAIT_ENOMEM, PLAIT_EINVAL (both NULL, or of different families).
 * Never blocks. Who: threads, processes, tasks; not signal handlers; after fork, yes. Python: create_datagram_endpoint. */
PLAIT_API int plait_datagram_open(plait_datagram **ret, const plait_address *local,
                                  const plait_address *remote,
                                  const plait_datagram_options *options);

/* Sends one message, to the peer (`to` NULL) if connected, else to an address.
 * Returns: 0; PLAIT_EMSGSIZE (too long for one message), PLAIT_ECONNREFUSED (an earlier one found nobody there), PLAIT_EACCES (broadcast without the option),
 *   PLAIT_ENETUNREACH, PLAIT_EHOSTUNREACH, PLAIT_ENOENT, PLAIT_EPIPE, PLAIT_ECLOSED, PLAIT_ETIMEDOUT, PLAIT_ECANCELED, PLAIT_EINVAL (NULL; an address if
 *   connected, none if not), PLAIT_EOVERFLOW, and as registering may fail: PLAIT_EARENA, PLAIT_ENOMEM, PLAIT_EWORKERS.
 * Blocks: while the socket's buffer is full, cancellable. Who: as open. Python: sock_sendto. */
PLAIT_API int plait_send_to(plait_datagram *datagram, const void *bytes, size_t size,
                            const plait_address *to, int64_t timeout);

/* Receives one message, and whose (*from, if not NULL).
 * Returns: 0 with its length in *got (if not NULL); PLAIT_EMSGSIZE: it was longer than `size`: *got says how long, the buffer has
 *   its beginning, the rest is lost. PLAIT_ECONNREFUSED (what was sent before found nobody there), and else as plait_send_to.
 * Blocks: yes, cancellable. Who: as open. Python: sock_recvfrom. */
PLAIT_API int plait_receive_from(plait_datagram *datagram, void *buffer, size_t size, size_t *got,
                                 plait_address *from, int64_t timeout);

/* Its own address; its descriptor, which stays its own. PLAIT_EINVAL (NULL). Never block. */
PLAIT_API int plait_datagram_address(const plait_datagram *datagram, plait_address *ret);
PLAIT_API int plait_datagram_fd(const plait_datagram *datagram);

/* Closes it. NULL does nothing. Returns: 0. Never blocks. Who: any worker of the process, once. Python: close(). */
PLAIT_API int plait_datagram_close(plait_datagram *datagram);

PLAIT_END_DECLS
#endif
