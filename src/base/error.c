/* Result codes as words. One table, so that a code cannot have a name without a sentence. */
#include "base/error.h"

#include <string.h>

static _Thread_local int last_error;

static const struct {
    int code;
    const char *name;
    const char *sentence;
} table[] = {
/* clang-format off */
#define ROW(code, sentence) {code, #code, sentence}
    /* clang-format on */
    ROW(PLAIT_OK, "done"),
    ROW(PLAIT_OWNER_DIED, "you hold the lock; its last holder died with it: check your data"),
    ROW(PLAIT_DIED, "the worker did not return: it was killed or exited"),
    ROW(PLAIT_EPERM, "not yours to do: not held, or not held by the caller"),
    ROW(PLAIT_ESRCH, "the worker has ended"),
    ROW(PLAIT_EAGAIN, "a limit on threads or processes is reached"),
    ROW(PLAIT_ENOMEM, "out of memory"),
    ROW(PLAIT_EBUSY, "in use just now"),
    ROW(PLAIT_EINVAL, "an argument is not valid"),
    ROW(PLAIT_EMFILE, "no file descriptor left"),
    ROW(PLAIT_EDEADLK, "waiting here would never end"),
    ROW(PLAIT_ECHILD, "made before a fork, not usable in the forked child"),
    ROW(PLAIT_EOVERFLOW, "past a bound; nothing was changed"),
    ROW(PLAIT_ENOTSUP, "not offered by this version, kind of worker or kernel"),
    ROW(PLAIT_ETIMEDOUT, "the time given is over"),
    ROW(PLAIT_ECANCELED, "this worker was asked to stop"),
    ROW(PLAIT_ESTALE, "that worker is gone and already joined or detached"),
    ROW(PLAIT_EBADF, "not an open descriptor, or not open for that"),
    ROW(PLAIT_ECONNRESET, "the other side has cut the connection"),
    ROW(PLAIT_ECONNREFUSED, "nobody listens there"),
    ROW(PLAIT_EPIPE, "the other side reads no more"),
    ROW(PLAIT_ENOENT, "no such file"),
    ROW(PLAIT_EEXIST, "there is a file of that name already"),
    ROW(PLAIT_EACCES, "access denied"),
    ROW(PLAIT_EADDRINUSE, "the address is in use"),
    ROW(PLAIT_EADDRNOTAVAIL, "not an address of this machine, or no port is left"),
    ROW(PLAIT_ENETUNREACH, "no way leads to that network"),
    ROW(PLAIT_EHOSTUNREACH, "no way leads to that host"),
    ROW(PLAIT_ENOTCONN, "not connected"),
    ROW(PLAIT_EMSGSIZE, "larger than a message can be"),
    ROW(PLAIT_ENOSPC, "no space left on the device"),
    ROW(PLAIT_EIO, "input or output failed"),
    ROW(PLAIT_ENAMETOOLONG, "the name is too long"),
    ROW(PLAIT_EUSERS, "as many processes have it as can be written down"),
    ROW(PLAIT_EARENA, "the shared arena cannot be had"),
    ROW(PLAIT_EPRIVATE, "private memory where memory of the whole family is needed"),
    ROW(PLAIT_EFOREIGN, "not an address that plait_alloc gave out"),
    ROW(PLAIT_EFREED, "freed already"),
    ROW(PLAIT_EDIED, "a worker died while it ran this item"),
    ROW(PLAIT_ECLOSED, "closed: takes no new work"),
    ROW(PLAIT_EWORKERS, "every entry of the worker table is in use"),
    ROW(PLAIT_EBROKEN, "the barrier is broken"),
    ROW(PLAIT_EEOF, "the stream ended before what was asked for"),
    ROW(PLAIT_ELIMIT, "the separator was not found within the limit"),
    ROW(PLAIT_ENAME, "the host name cannot be resolved"),
    ROW(PLAIT_EINIT, "main does not begin with plait_init"),
    ROW(PLAIT_EMODULE, "the function's program or library is not the same in the new process"),
    ROW(PLAIT_EPRELOAD, "the hook of plait_zygote_preload, or a constructor, has started threads"),
    ROW(PLAIT_ENOSTATUS, "the program has ended, and somebody else took its status"),
    ROW(PLAIT_ESTATUS, "the program has ended with a status other than 0"),
    ROW(PLAIT_ETLS, "the TLS handshake failed or the certificate was refused"),
    ROW(PLAIT_EINTENSITY, "children ended more often than the supervisor is to restart them"),
    ROW(PLAIT_EFAMILY, "this program belongs to another family, or the memory to none"),
    ROW(PLAIT_ESEGMENT, "the file of that name is no segment, or one of another version"),
#undef ROW
};

enum { ROWS = sizeof table / sizeof table[0] };

/* The row of a code; -1: none. */
static int row_of(int code)
{
    for (int i = 0; i < ROWS; i++)
        if (table[i].code == code)
            return i;
    return -1;
}

/* What libc says of an errno negated; NULL if it is none. Both functions of libc return constants. */
static const char *ask_libc(const char *(*ask)(int), int code)
{
    return code < 0 && code > -4000 ? ask(-code) : NULL;
}

const char *plait_strerror(int code)
{
    int row = row_of(code);
    const char *text = row >= 0 ? table[row].sentence : ask_libc(strerrordesc_np, code);
    return text ? text : "not a result code of plait";
}

const char *plait_errname(int code)
{
    int row = row_of(code);
    const char *name = row >= 0 ? table[row].name : ask_libc(strerrorname_np, code);
    return name ? name : "PLAIT_E?";
}

int pl_error_from_errno(int e)
{
    return e > 0 ? -e : PLAIT_EIO;
}

int plait_last_error(void)
{
    return last_error;
}

void *pl_null(int code)
{
    last_error = code;
    return NULL;
}
