/* pthread rwlocks beside plait_rwlock; none of them survives the death of its holder. Needs: libc6-dev */
#include "rwlock_shape.h"

#include <pthread.h>

static void *make(bool shared)
{
    pthread_rwlock_t *rw = shared ? bench_shared(sizeof *rw) : bench_private(sizeof *rw);
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setpshared(&attr, shared ? PTHREAD_PROCESS_SHARED : PTHREAD_PROCESS_PRIVATE);
    pthread_rwlock_init(rw, &attr);
    return rw;
}

static void acquire_read(void *rw)
{
    bench_check(pthread_rwlock_rdlock(rw) == 0, "not locked");
}

static void acquire_write(void *rw)
{
    bench_check(pthread_rwlock_wrlock(rw) == 0, "not locked");
}

static void release(void *rw)
{
    pthread_rwlock_unlock(rw);
}

RWLOCK_KIND(plain, make, acquire_read, release, acquire_write, release)

static const struct bench_subject table[] = {
    RWLOCK_PRIVATE_CASES("pthread", plain),
    RWLOCK_SHARED_CASES("pthread", plain),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
