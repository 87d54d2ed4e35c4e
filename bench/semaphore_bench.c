/* plait_semaphore with one permit, used like a lock: alone, with others, in private memory and in
 * the arena. See lock_shape.h for what one operation is. Peers: sem_t, a buffered channel of Go. */
#include "lock_shape.h"

#include <plait/plait.h>

static void *make(bool shared)
{
    plait_semaphore *semaphore = shared ? plait_alloc(128) : bench_private(sizeof *semaphore);
    bench_check(semaphore && plait_semaphore_init(semaphore, 1, 0) == 0, "no semaphore");
    return semaphore;
}

static void acquire(void *semaphore)
{
    bench_check(plait_semaphore_acquire(semaphore, PLAIT_FOREVER) == 0, "not acquired");
}

static void release(void *semaphore)
{
    plait_semaphore_release(semaphore, 1);
}

LOCK_KIND(ours, make, acquire, release)

static const struct bench_subject table[] = {
    LOCK_PRIVATE_CASES("semaphore", "plait", ours),
    LOCK_SHARED_CASES("semaphore", "plait", ours),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
