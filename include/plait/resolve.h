/* Addresses of sockets, and names turned into them.
 *
 *     plait_address found[4];
 *     char text[64];
 *     int n = plait_resolve("localhost", "http", NULL, found, 4, plait_seconds(5));
 *     for (int i = 0; i < n && i < 4; i++)
 *         if (plait_address_text(&found[i], text, sizeof text) == 0)
 *             puts(text);                                       // 127.0.0.1:80
 *
 * An address is a value; all zero it is none. Numbers ("127.0.0.1", "::1", "80") are turned at once. Names are
 * looked up by the system's resolver, which can only block: a helper thread asks it, so that a task's thread goes
 * on with its other tasks, and timeout and cancellation work. A lookup that was given up ends in the background.
 * Limits: 32 helpers in a process, also those of to_thread.h; further lookups wait for one.
 * Python's counterpart: loop.getaddrinfo, socket.getaddrinfo. */
#ifndef PLAIT_RESOLVE_H
#define PLAIT_RESOLVE_H

#include <plait/clock.h>
#include <plait/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

PLAIT_BEGIN_DECLS

typedef struct plait_address {
    uint32_t length; /* bytes of the address; 0: none */
    uint32_t unused_;
    union {
        char bytes[128]; /* a struct sockaddr: cast, or copy, to use it in calls of the system */
        uint64_t aligned_;
    };
} plait_address;

/* All zero is the default. */
typedef struct plait_resolve_options {
    int family;    /* AF_INET, AF_INET6; 0: both */
    bool datagram; /* for datagrams; else for streams */
    bool passive;  /* host NULL means all addresses of this machine; else its loopback */
} plait_resolve_options;

/* Looks up the addresses of a host and service, each a name or a number or NULL, not both NULL.
 * Returns: how many there are, the first `most` of which are in the array, in the system's order; PLAIT_ENAME (no
 *   such name, or none that fits the options), PLAIT_ENOTSUP (the family), PLAIT_ETIMEDOUT, PLAIT_ECANCELED, PLAIT_EAGAIN (no
 *   helper thread can be had), PLAIT_ENOMEM, PLAIT_EINVAL (both NULL, array NULL with most > 0, most or timeout
 *   negative), PLAIT_EOVERFLOW, and as registering may fail: PLAIT_EARENA, PLAIT_EWORKERS.
 * Blocks: for names, cancellable. Who: threads, processes, tasks; not signal handlers; after fork, yes.
 * Python: getaddrinfo. */
PLAIT_API int plait_resolve(const char *host, const char *service,
                            const plait_resolve_options *options, plait_address *array, int most,
                            int64_t timeout);

/* The address of a unix socket; a leading '@' means the abstract namespace, without a file.
 * Returns: 0, PLAIT_EINVAL (NULL, empty), PLAIT_EOVERFLOW (107 bytes is the most). Never blocks; anyone may call. */
PLAIT_API int plait_address_unix(plait_address *ret, const char *path);

/* Writes the address as text: "127.0.0.1:80", "[::1]:80", "/run/x.sock", "@abstract", "" for an unnamed unix socket.
 * Returns: 0, PLAIT_EINVAL (NULL, size 0), PLAIT_EOVERFLOW (does not fit; 160 bytes always do), PLAIT_ENOTSUP (a
 * family unknown here, or no address). Never blocks; anyone may call. */
PLAIT_API int plait_address_text(const plait_address *address, char *text, size_t size);

/* The port; PLAIT_ENOTSUP if the family has none, PLAIT_EINVAL (NULL). Never blocks; anyone may call. */
PLAIT_API int plait_address_port(const plait_address *address);

PLAIT_END_DECLS
#endif
