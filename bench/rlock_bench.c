/* plait_rlock: alone, with others, in private memory and in the arena, and taken again by its holder
 * (rlock_again). See lock_shape.h for what one operation is. Peers: peers/rlock_pthread.c. */
#include "lock_shape.h"

#include <plait/plait.h>

static void *make(bool shared)
{
    plait_rlock *rlock = shared ? plait_alloc(128) : bench_private(sizeof *rlock);
    bench_check(rlock, "no rlock");
    return rlock;
}

static void acquire(void *rlock)
{
    bench_check(plait_rlock_acquire(rlock, PLAIT_FOREVER) == 0, "not acquired");
}

static void release(void *rlock)
{
    plait_rlock_release(rlock);
}

static void *make_held(bool shared)
{
    void *rlock = make(shared);
    acquire(rlock);
    return rlock;
}

LOCK_KIND(ours, make, acquire, release)
LOCK_KIND(held, make_held, acquire, release)

static const struct bench_subject table[] = {
    LOCK_PRIVATE_CASES("rlock", "plait", ours),
    LOCK_SHARED_CASES("rlock", "plait", ours),
    BENCH_SUBJECT("rlock_again", "plait", lock_free, &held, 0),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
