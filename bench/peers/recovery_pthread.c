/* The robust process-shared pthread mutex, plain and recursive, when its holder is killed. Needs: libc6-dev */
#include "recovery_shape.h"

#include <pthread.h>

static void *make_with(int type)
{
    pthread_mutex_t *mutex = bench_shared(sizeof *mutex);
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, type);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(mutex, &attr);
    return mutex;
}

static void *make_plain(void)
{
    return make_with(PTHREAD_MUTEX_NORMAL);
}

static void *make_recursive(void)
{
    return make_with(PTHREAD_MUTEX_RECURSIVE);
}

static bool acquire(void *mutex)
{
    int rc = pthread_mutex_lock(mutex);
    bench_check(rc == 0 || (rc == EOWNERDEAD && pthread_mutex_consistent(mutex) == 0),
                "not locked");
    return rc == EOWNERDEAD;
}

static void hold(void *mutex)
{
    acquire(mutex);
}

static void release(void *mutex)
{
    pthread_mutex_unlock(mutex);
}

static const struct recovery_kind plain = {make_plain, hold, acquire, release};
static const struct recovery_kind recursive = {make_recursive, hold, acquire, release};

static const struct bench_subject table[] = {
    RECOVERY_CASES("lock", "pthread robust", plain),
    RECOVERY_CASES("rlock", "pthread robust", recursive),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
