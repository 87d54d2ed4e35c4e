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

#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif

/* What the kernel lacks: any thread sets it, once, when the kernel says ENOSYS; or a test. */
static bool no_lock_pi2, no_pi;

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

int pl_futex_wait_which(const struct pl_watch *watch, int n, int64_t deadline)
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
    return (int)rc;
}

int pl_futex_wait_any(const struct pl_watch *watch, int n, int64_t deadline)
{
    int rc = pl_futex_wait_which(watch, n, deadline);
    return rc == -ENOSYS ? rc : woken_or_timed_out(rc);
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

/* --- priority inheritance --- */

/* Before 5.14 the time is an instant of the wall clock. */
static long lock_pi_by_wall_clock(uint32_t *word, int private, int64_t deadline)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t left = deadline - plait_now();
    struct timespec until =
        pl_timespec((int64_t)now.tv_sec * 1000000000 + now.tv_nsec + (left > 0 ? left : 0));
    return futex_call(SYS_futex, word, FUTEX_LOCK_PI | private, 0, &until, NULL, 0);
}

static int locked_or_why(long rc)
{
    switch (rc) {
    case 0:
    case -ETIMEDOUT:
    case -ESRCH:
    case -EDEADLK:
    case -ENOSYS:
        return (int)rc;
    default: /* EINTR, EAGAIN; EPERM: a kernel thread; EINVAL: others are queued for another thread; ENOMEM */
        return -EAGAIN;
    }
}

int pl_futex_lock_pi(uint32_t *word, bool shared, int64_t deadline)
{
    int private = shared ? 0 : FUTEX_PRIVATE_FLAG;
    struct timespec until = pl_timespec(deadline);
    long rc = -ENOSYS;
    PL_STEP("futex_lock_pi", word);
    if (__atomic_load_n(&no_pi, __ATOMIC_RELAXED))
        return -ENOSYS;
    if (!__atomic_load_n(&no_lock_pi2, __ATOMIC_RELAXED))
        rc = futex_call(SYS_futex, word, FUTEX_LOCK_PI2 | private, 0, &until, NULL, 0);
    if (rc == -ENOSYS) {
        pl_futex_forget_lock_pi2();
        rc = lock_pi_by_wall_clock(word, private, deadline);
    }
    return locked_or_why(rc);
}

int pl_futex_trylock_pi(uint32_t *word, bool shared)
{
    int private = shared ? 0 : FUTEX_PRIVATE_FLAG;
    PL_STEP("futex_trylock_pi", word);
    if (__atomic_load_n(&no_pi, __ATOMIC_RELAXED))
        return -ENOSYS;
    return locked_or_why(futex_call(SYS_futex, word, FUTEX_TRYLOCK_PI | private, 0, NULL, NULL, 0));
}

int pl_futex_unlock_pi(uint32_t *word, bool shared)
{
    int private = shared ? 0 : FUTEX_PRIVATE_FLAG;
    PL_STEP("futex_unlock_pi", word);
    long rc = futex_call(SYS_futex, word, FUTEX_UNLOCK_PI | private, 0, NULL, NULL, 0);
    return rc == 0 || rc == -EPERM ? (int)rc : -EAGAIN;
}

void pl_futex_forget_lock_pi2(void)
{
    __atomic_store_n(&no_lock_pi2, true, __ATOMIC_RELAXED);
}

void pl_futex_forget_pi(void)
{
    __atomic_store_n(&no_pi, true, __ATOMIC_RELAXED);
}

void pl_futex_forget_waitv(void)
{
    __atomic_store_n(&no_waitv, true, __ATOMIC_RELAXED);
}
