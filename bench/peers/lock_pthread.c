/* pthread mutexes beside plait_lock: the plain one, the process-shared one, and the robust one,
 * which is the only one that survives the death of its holder. Needs: libc6-dev */
#include "lock_shape.h"

#include <errno.h>
#include <pthread.h>

static void *make_with(bool shared, bool robust)
{
    pthread_mutex_t *mutex = shared ? bench_shared(sizeof *mutex) : bench_private(sizeof *mutex);
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, shared ? PTHREAD_PROCESS_SHARED : PTHREAD_PROCESS_PRIVATE);
    pthread_mutexattr_setrobust(&attr, robust ? PTHREAD_MUTEX_ROBUST : PTHREAD_MUTEX_STALLED);
    pthread_mutex_init(mutex, &attr);
    return mutex;
}

static void *make_plain(bool shared)
{
    return make_with(shared, false);
}

static void *make_robust(bool shared)
{
    return make_with(shared, true);
}

static void acquire(void *mutex)
{
    bench_check(pthread_mutex_lock(mutex) == 0, "not locked");
}

static void release(void *mutex)
{
    pthread_mutex_unlock(mutex);
}

LOCK_KIND(plain, make_plain, acquire, release)
LOCK_KIND(robust, make_robust, acquire, release)

static const struct bench_subject table[] = {
    LOCK_PRIVATE_CASES("lock", "pthread", plain),
    LOCK_SHARED_CASES("lock", "pthread", plain),
    LOCK_CURVE("lock", "pthread", plain),
    LOCK_PRIVATE_CASES("lock_fair", "pthread", plain),
    LOCK_SHARED_CASES("lock_fair", "pthread", plain),
    LOCK_PRIVATE_CASES("lock", "pthread robust", robust),
    LOCK_SHARED_CASES("lock", "pthread robust", robust),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
