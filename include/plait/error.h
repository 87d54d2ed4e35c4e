/* Result codes: what every plait call returns.
 *
 * A call returns 0 on success, a positive notice on success with something to tell, or a negative
 * error. `rc < 0` therefore always means: it did not happen. Where an errno fits, the value is that
 * errno negated; the rest count down from -4000. errno itself is never touched. Calls for input and output
 * may also return an errno negated that has no name here (-EXDEV); it has its sentence all the same.
 *
 * Python's counterpart: exceptions (TimeoutError, CancelledError, RuntimeError, ValueError, ...). */
#ifndef PLAIT_ERROR_H
#define PLAIT_ERROR_H

#include <errno.h>
#include <plait/export.h>

PLAIT_BEGIN_DECLS

enum plait_code {
    PLAIT_OK = 0,

    /* Notices: the call did what was asked, and there is something to know. */
    PLAIT_OWNER_DIED = 1, /* you hold the lock; its last holder died with it: check your data */
    PLAIT_DIED = 2,       /* the worker is joined; it did not return but was killed or exited */

    /* Errors with an errno of the same meaning. */
    PLAIT_EPERM = -EPERM,         /* not yours to do: released when not held, not the holder */
    PLAIT_ESRCH = -ESRCH,         /* the worker has ended; there is nobody to signal */
    PLAIT_EAGAIN = -EAGAIN,       /* a limit on threads or processes is reached (RLIMIT_NPROC) */
    PLAIT_ENOMEM = -ENOMEM,       /* no memory, or no page of the arena can be had */
    PLAIT_EBUSY = -EBUSY,         /* in use just now: not yet ended, or still being worked on */
    PLAIT_EINVAL = -EINVAL,       /* an argument is NULL, negative or contradicts another */
    PLAIT_EMFILE = -EMFILE,       /* no file descriptor left */
    PLAIT_EDEADLK = -EDEADLK,     /* waiting would never end: join of self, ring of waits */
    PLAIT_ECHILD = -ECHILD,       /* made before a fork, not usable in the forked child */
    PLAIT_EOVERFLOW = -EOVERFLOW, /* past a bound; nothing was changed */
    PLAIT_ENOTSUP = -EOPNOTSUPP,  /* not offered: by this version, this kind or this kernel */
    PLAIT_ETIMEDOUT = -ETIMEDOUT, /* the time given is over (PLAIT_NOWAIT: it would have waited) */
    PLAIT_ECANCELED = -ECANCELED, /* this worker was asked to stop (plait_cancel) */
    PLAIT_ESTALE = -ESTALE,       /* that worker is gone and already joined or detached */

    /* The same, from input and output. */
    PLAIT_EBADF = -EBADF,                 /* not an open descriptor, or not open for that */
    PLAIT_ECONNRESET = -ECONNRESET,       /* the other side has cut the connection */
    PLAIT_ECONNREFUSED = -ECONNREFUSED,   /* nobody listens there */
    PLAIT_EPIPE = -EPIPE,                 /* the other side reads no more */
    PLAIT_ENOENT = -ENOENT,               /* no such file, or no socket of that path */
    PLAIT_EEXIST = -EEXIST,               /* there is a file of that name already */
    PLAIT_EACCES = -EACCES,               /* the file's mode, or the port's number, forbids it */
    PLAIT_EADDRINUSE = -EADDRINUSE,       /* somebody else has the address */
    PLAIT_EADDRNOTAVAIL = -EADDRNOTAVAIL, /* not an address of this machine, or no port is left */
    PLAIT_ENETUNREACH = -ENETUNREACH,     /* no way leads to that network */
    PLAIT_EHOSTUNREACH = -EHOSTUNREACH,   /* the host does not answer on any way */
    PLAIT_ENOTCONN = -ENOTCONN,           /* not connected, or no more */
    PLAIT_EMSGSIZE = -EMSGSIZE,           /* larger than a message can be */
    PLAIT_ENOSPC = -ENOSPC,               /* the file system is full */
    PLAIT_EIO = -EIO,                     /* the device or file system failed */
    PLAIT_ENAMETOOLONG = -ENAMETOOLONG,   /* the name is longer than names can be */
    PLAIT_EUSERS = -EUSERS,               /* as many processes have it as can be written down */

    /* Errors of plait's own. */
    PLAIT_EARENA = -4001,   /* the arena cannot be had: address space, memfd or its size refused */
    PLAIT_EPRIVATE = -4002, /* private memory where memory of the whole family is needed */
    PLAIT_EFOREIGN = -4003, /* not an address that plait_alloc gave out */
    PLAIT_EFREED = -4004,   /* freed already */
    PLAIT_EDIED = -4005,    /* a worker died while it ran this item, or as a member of this group */
    PLAIT_ECLOSED = -4006,  /* closed: takes no new work */
    PLAIT_EWORKERS = -4007, /* every entry of the worker table is in use */
    PLAIT_EBROKEN = -4008,  /* broken: a barrier that a waiter left, was aborted or reset */
    PLAIT_EEOF = -4009,     /* the stream ended before what was asked for */
    PLAIT_ELIMIT = -4010,   /* the separator was not found within the limit */
    PLAIT_ENAME = -4011,    /* the name of a host or service cannot be resolved */
    PLAIT_ETLS = -4012,     /* TLS: the handshake failed, or a certificate is not to be trusted */
    PLAIT_ENOSTATUS = -4013,  /* a program has ended, and somebody else took its status */
    PLAIT_ESTATUS = -4014,    /* a program has ended with a status other than 0 (.check) */
    PLAIT_EINIT = -4015,      /* main does not begin with plait_init(&argc, &argv) */
    PLAIT_EFAMILY = -4016,    /* this program belongs to another family, or the memory to none */
    PLAIT_ESEGMENT = -4017,   /* the file of that name is no segment, or one of another version */
    PLAIT_EINTENSITY = -4018, /* a supervisor's children ended too often in too short a time */
    PLAIT_EMODULE = -4019,    /* the function's module is not the same in the new process */
    PLAIT_EPRELOAD = -4020,   /* the zygote has threads, of its preload hook or a constructor */
};

/* The sentence for a code ("the time given is over"), for any other errno negated libc's. Never NULL; an
 * unknown code gets a sentence that says so. Does not block; anyone may call, signal handlers and forked children included. The
 * text is constant: do not free it. Python: str(exception). */
PLAIT_API const char *plait_strerror(int code);

/* The name of a code as written in C ("PLAIT_ETIMEDOUT"; "EXDEV" for -EXDEV), "PLAIT_E?" if unknown. Never NULL. Does
 * not block; anyone may call. Constant text. Python: type(exception).__name__. */
PLAIT_API const char *plait_errname(int code);

/* Why the last pointer-returning call of this thread gave NULL (plait_alloc and its kin), 0 if none
 * has failed yet. A call that succeeds leaves it as it was. Does not block; any thread. */
PLAIT_API int plait_last_error(void);

PLAIT_END_DECLS
#endif
