/* sem_t, private and process-shared, beside plait_semaphore. Needs: libc6-dev */
#include "lock_shape.h"

#include <semaphore.h>

static void *make(bool shared)
{
    sem_t *semaphore = shared ? bench_shared(sizeof *semaphore) : bench_private(sizeof *semaphore);
    bench_check(sem_init(semaphore, shared, 1) == 0, "no semaphore");
    return semaphore;
}

static void acquire(void *semaphore)
{
    bench_check(sem_wait(semaphore) == 0, "not acquired");
}

static void release(void *semaphore)
{
    sem_post(semaphore);
}

LOCK_KIND(posix, make, acquire, release)

static const struct bench_subject table[] = {
    LOCK_PRIVATE_CASES("semaphore", "sem_t", posix),
    LOCK_SHARED_CASES("semaphore", "sem_t", posix),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
