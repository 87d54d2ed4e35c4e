/* plait_rwlock: its writing and its reading as a lock each, then many readers with a few writers. Peers:
 * peers/rwlock_pthread.c. See lock_shape.h and rwlock_shape.h for what one operation is. */
#include "rwlock_shape.h"

#include <plait/plait.h>

static void *make(bool shared)
{
    plait_rwlock *rw = shared ? plait_alloc(256) : bench_private(sizeof *rw);
    bench_check(rw, "no rwlock");
    return rw;
}

static void acquire_read(void *rw)
{
    bench_check(plait_rwlock_acquire_read(rw, PLAIT_FOREVER) == 0, "not acquired");
}

static void release_read(void *rw)
{
    plait_rwlock_release_read(rw);
}

static void acquire_write(void *rw)
{
    bench_check(plait_rwlock_acquire_write(rw, PLAIT_FOREVER) == 0, "not acquired");
}

static void release_write(void *rw)
{
    plait_rwlock_release_write(rw);
}

RWLOCK_KIND(ours, make, acquire_read, release_read, acquire_write, release_write)

static const struct bench_subject table[] = {
    RWLOCK_PRIVATE_CASES("plait", ours),
    RWLOCK_SHARED_CASES("plait", ours),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
