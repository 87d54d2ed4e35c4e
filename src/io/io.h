/* Shared by the files of this folder: a descriptor that several workers of a process use, and calls on it. */
#ifndef PL_IO_IO_H
#define PL_IO_IO_H

#include "base/error.h"
#include "park/park.h"

#include <plait/resolve.h>
#include <plait/stream.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

/* The bytes of an address as the system sees them. */
union pl_system_address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
} __attribute__((may_alias));

static inline union pl_system_address *pl_system(const plait_address *address)
{
    return (union pl_system_address *)(uintptr_t)address->bytes;
}

/* A side of a descriptor that one worker at a time may use; none for calls that may meet. */
enum pl_side { PL_ANY_SIDE = 0, PL_READING = 2, PL_WRITING = 4 };

/* A descriptor and who is using it; see guard.c. */
struct pl_io {
    uint64_t state; /* atomic: fork count, users, sides in use, closed */
    int fd;         /* constant */
    int bell;       /* eventfd that wakes who waits for fd; -1: none */
    uint32_t forks; /* pl_forks of the process that made it; constant */
    bool is_socket; /* shutdown wakes who waits for it */
    struct pl_fd_watch watch;
};

/* One call on a descriptor: its wait, and the errno to leave as it was. */
struct pl_call {
    struct pl_wait wait;
    enum pl_side side;
    int saved;
};

void pl_io_init(struct pl_io *io, int fd, bool is_socket);

/* Begins a call: checks the timeout, takes the side. 0, PLAIT_EINVAL, PLAIT_EOVERFLOW, PLAIT_EBUSY, PLAIT_ECLOSED. */
int pl_io_enter(struct pl_io *io, enum pl_side side, struct pl_call *call, int64_t timeout);

/* Ends it. True: it was closed meanwhile and the caller is the last one inside: the object goes now. */
bool pl_io_leave(struct pl_io *io, struct pl_call *call);

/* Closes it for all and wakes who waits; abort: of TCP, by a reset. True as above, false if others are inside still. Leaves errno alone. */
bool pl_io_close(struct pl_io *io, bool abort);

bool pl_io_is_closed(const struct pl_io *io);

/* Waits until the descriptor is worth another try. 0, PLAIT_ETIMEDOUT, PLAIT_ECANCELED, PLAIT_ECLOSED and as
 * registering fails. */
int pl_io_wait(struct pl_io *io, uint32_t events, struct pl_call *call);

/* The same for a descriptor that nobody else knows. */
int pl_fd_wait(int fd, uint32_t events, struct pl_wait *wait);

/* Registers the caller if it must be for a wait. 0, or as registering fails. */
int pl_may_wait(const struct pl_wait *wait);

/* The code for what a call on a socket has failed with; never PLAIT_ETIMEDOUT, which means the caller's time. */
int pl_io_error(int error);
int pl_file_error(int error); /* the same for a file */

/* Closes and leaves errno alone. Nothing for -1. */
void pl_close_fd(int fd);

/* --- streams: stream.c --- */

/* Makes a stream of a descriptor, which it takes even if it fails. limit 0: the default. */
int pl_stream_new(plait_stream **ret, int fd, size_t limit);

/* --- addresses: address.c, resolve.c --- */

enum { PL_ADDRESSES_MOST = 32 };

/* plait_resolve within another call. */
int pl_resolve(const char *host, const char *service, const plait_resolve_options *options,
               plait_address *array, int most, struct pl_wait *wait);

/* A socket for the address, non-blocking and closed on exec. Descriptor, or a code. */
int pl_socket(const plait_address *address, int type);

/* Text of a socket's own address, of its peer's. As plait_local_name. */
int pl_socket_name(int fd, bool peer, char *text, size_t size);

/* --- helper threads: offload.c --- */

/* A piece of work that may outlive the call that wants it. */
struct pl_errand {
    void (*run)(struct pl_errand *errand);     /* by a helper thread */
    void (*discard)(struct pl_errand *errand); /* frees it; by whoever is the last to need it */
    struct pl_errand *next;                    /* the queue; under its lock */
    uint32_t done;                             /* atomic: 1 once it has run */
    uint32_t needed;                           /* atomic: by helper and caller, 2, 1, 0 */
};

/* Has it run by a helper thread and waits for that. 0: it has run; the caller reads its results and calls pl_errand_leave.
 * Negative: it was given up, runs all the same and is not the caller's any more; PLAIT_EAGAIN, PLAIT_ENOMEM: it
 * will not run, and is discarded. */
int pl_errand_run(struct pl_errand *errand, struct pl_wait *wait);
void pl_errand_leave(struct pl_errand *errand);

#endif
