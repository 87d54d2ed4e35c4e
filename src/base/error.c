/* Result codes as words. One table, so that a code cannot have a name without a sentence. */
#include "base/error.h"

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
    ROW(PLAIT_EPERM, "not held, or not held by the caller"),
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
    ROW(PLAIT_EARENA, "the shared arena cannot be had"),
    ROW(PLAIT_EPRIVATE, "private memory where memory of the whole family is needed"),
    ROW(PLAIT_EFOREIGN, "not an address that plait_alloc gave out"),
    ROW(PLAIT_EFREED, "freed already"),
    ROW(PLAIT_EDIED, "a worker died while it ran this item"),
    ROW(PLAIT_ECLOSED, "closed: takes no new work"),
    ROW(PLAIT_EWORKERS, "every entry of the worker table is in use"),
    ROW(PLAIT_EBROKEN, "the barrier is broken"),
#undef ROW
};

enum { ROWS = sizeof table / sizeof table[0] };

const char *plait_strerror(int code)
{
    for (int i = 0; i < ROWS; i++)
        if (table[i].code == code)
            return table[i].sentence;
    return "not a result code of plait";
}

const char *plait_errname(int code)
{
    for (int i = 0; i < ROWS; i++)
        if (table[i].code == code)
            return table[i].name;
    return "PLAIT_E?";
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
