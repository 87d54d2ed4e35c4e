/* plait_pi_lock: alone, with others, in private memory and in the arena. See lock_shape.h for what one
 * operation is. Peer: peers/pi_lock_pthread.c, which is robust, too. */
#include "lock_shape.h"

#include <plait/plait.h>

static void *make(bool shared)
{
    plait_pi_lock *lock = shared ? plait_alloc(128) : bench_private(sizeof *lock);
    bench_check(lock, "no lock");
    return lock;
}

static void acquire(void *lock)
{
    bench_check(plait_pi_lock_acquire(lock, PLAIT_FOREVER) == 0, "not acquired");
}

static void release(void *lock)
{
    plait_pi_lock_release(lock);
}

LOCK_KIND(ours, make, acquire, release)

static const struct bench_subject table[] = {
    LOCK_PRIVATE_CASES("pi_lock", "plait", ours),
    LOCK_SHARED_CASES("pi_lock", "plait", ours),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
