/* A pthread mutex that inherits priorities and survives the death of its holder. Needs: libc6-dev */
#include "lock_shape.h"

#include <pthread.h>

static void *make(bool shared)
{
    pthread_mutex_t *mutex = shared ? bench_shared(sizeof *mutex) : bench_private(sizeof *mutex);
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&attr, shared ? PTHREAD_PROCESS_SHARED : PTHREAD_PROCESS_PRIVATE);
    bench_check(pthread_mutex_init(mutex, &attr) == 0, "no mutex");
    return mutex;
}

static void acquire(void *mutex)
{
    bench_check(pthread_mutex_lock(mutex) == 0, "not locked");
}

static void release(void *mutex)
{
    pthread_mutex_unlock(mutex);
}

LOCK_KIND(robust, make, acquire, release)

static const struct bench_subject table[] = {
    LOCK_PRIVATE_CASES("pi_lock", "pthread inherit robust", robust),
    LOCK_SHARED_CASES("pi_lock", "pthread inherit robust", robust),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
