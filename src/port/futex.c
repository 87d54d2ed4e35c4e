/* The futex system calls, with the errors that mean "look again" folded into 0. */
#include "port/futex.h"

#include "base/atomic.h"
#include "base/clock.h"
#include "base/model.h"
#include "base/panic.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

/* The kernel's struct futex_waitv, which older headers lack. */
struct waitv {
    uint64_t val;
    uint64_t uaddr;
    uint32_t flags;
    uint32_t reserved;
};
enum { WAITV_U32 = 2, WAITV_PRIVATE = 128 };

static bool no_waitv; /* any thread sets it, once, when the kernel says ENOSYS */

/* glibc's syscall() sets errno, which the library must leave alone. */
static long futex_call(long number, void *a, long b, long c, void *d, void *e, long f)
{
    int saved = errno;
    long rc = syscall(number, a, b, c, d, e, f);
    if (rc < 0)
        rc = -errno;
    errno = saved;
    return rc;
}

static int woken_or_timed_out(long rc)
{
    if (rc == -ETIMEDOUT)
        return -ETIMEDOUT;
    pl_invariant(rc >= 0 || rc == -EAGAIN || rc == -EINTR || rc == -ENOMEM,
                 "a futex word can be waited on");
    return 0;
}

int pl_futex_wait(uint32_t *word, uint32_t seen, bool shared, int64_t deadline)
{
    struct timespec until = pl_timespec(deadline);
    int op = FUTEX_WAIT_BITSET | (shared ? 0 : FUTEX_PRIVATE_FLAG);
    PL_STEP("futex_wait", word);
    if (pl_model)
        return pl_model->wait(&(struct pl_watch){word, seen, shared}, 1, deadline);
    return woken_or_timed_out(futex_call(SYS_futex, word, op, seen,
                                         deadline == PL_NEVER ? NULL : &until, NULL,
                                         (long)FUTEX_BITSET_MATCH_ANY));
}

int pl_futex_wait_any(const struct pl_watch *watch, int n, int64_t deadline)
{
    if (__atomic_load_n(&no_waitv, __ATOMIC_RELAXED))
        return -ENOSYS;
    struct waitv list[PL_FUTEX_MAX];
    for (int i = 0; i < n; i++)
        list[i] = (struct waitv){.val = watch[i].seen,
                                 .uaddr = (uintptr_t)watch[i].word,
                                 .flags = WAITV_U32 | (watch[i].shared ? 0 : WAITV_PRIVATE)};
    struct timespec until = pl_timespec(deadline);
    PL_STEP("futex_wait", watch[0].word);
    if (pl_model)
        return pl_model->wait(watch, n, deadline);
    long rc = futex_call(SYS_futex_waitv, list, n, 0, deadline == PL_NEVER ? NULL : &until,
                         (void *)(intptr_t)CLOCK_MONOTONIC, 0);
    /* A seccomp filter answers EPERM where an old kernel answers ENOSYS. */
    if (rc == -ENOSYS || rc == -EPERM) {
        pl_futex_forget_waitv();
        return -ENOSYS;
    }
    return woken_or_timed_out(rc);
}

int pl_futex_wake(uint32_t *word, int n, bool shared)
{
    int op = FUTEX_WAKE | (shared ? 0 : FUTEX_PRIVATE_FLAG);
    PL_STEP("futex_wake", word);
    if (pl_model)
        return pl_model->wake(word, n);
    long rc = futex_call(SYS_futex, word, op, n, NULL, NULL, 0);
    return rc < 0 ? 0 : (int)rc;
}

void pl_futex_forget_waitv(void)
{
    __atomic_store_n(&no_waitv, true, __ATOMIC_RELAXED);
}
