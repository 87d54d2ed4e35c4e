/* After kill -9 of a process that holds a plait_lock, a plait_rlock, or writes under a plait_rwlock: how
 * long until one that waits has it. See recovery_shape.h for what is measured. Peer: the robust
 * pthread mutex, in peers/recovery_pthread.c; there is no robust rwlock. */
#include "recovery_shape.h"

#include <plait/plait.h>

static void *make(void)
{
    void *lock = plait_alloc(256);
    bench_check(lock, "no lock");
    return lock;
}

/* Whether the result of an acquire says that the last holder died. */
static bool is_told(int rc)
{
    bench_check(rc == 0 || rc == PLAIT_OWNER_DIED, "not acquired");
    return rc == PLAIT_OWNER_DIED;
}

static bool acquire(void *lock)
{
    return is_told(plait_lock_acquire(lock, PLAIT_FOREVER));
}

static void hold(void *lock)
{
    acquire(lock);
}

static void release(void *lock)
{
    plait_lock_release(lock);
}

static bool acquire_rlock(void *rlock)
{
    return is_told(plait_rlock_acquire(rlock, PLAIT_FOREVER));
}

static void hold_rlock(void *rlock)
{
    acquire_rlock(rlock);
}

static void release_rlock(void *rlock)
{
    plait_rlock_release(rlock);
}

static void hold_to_write(void *rw)
{
    is_told(plait_rwlock_acquire_write(rw, PLAIT_FOREVER));
}

static bool acquire_to_read(void *rw)
{
    return is_told(plait_rwlock_acquire_read(rw, PLAIT_FOREVER));
}

static void release_read(void *rw)
{
    plait_rwlock_release_read(rw);
}

static const struct recovery_kind lock = {make, hold, acquire, release};
static const struct recovery_kind rlock = {make, hold_rlock, acquire_rlock, release_rlock};
static const struct recovery_kind rwlock = {make, hold_to_write, acquire_to_read, release_read};

static const struct bench_subject table[] = {
    RECOVERY_CASES("lock", "plait", lock),
    RECOVERY_CASES("rlock", "plait", rlock),
    RECOVERY_CASES("rwlock", "plait", rwlock),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
