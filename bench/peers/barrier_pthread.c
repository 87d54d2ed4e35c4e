/* pthread_barrier, private and process-shared, beside plait_barrier. Needs: libc6-dev */
#include "meet_shape.h"

#include <pthread.h>

static void *make(bool shared, int workers)
{
    pthread_barrier_t *barrier =
        shared ? bench_shared(sizeof *barrier) : bench_private(sizeof *barrier);
    pthread_barrierattr_t attr;
    pthread_barrierattr_init(&attr);
    pthread_barrierattr_setpshared(&attr,
                                   shared ? PTHREAD_PROCESS_SHARED : PTHREAD_PROCESS_PRIVATE);
    bench_check(pthread_barrier_init(barrier, &attr, (unsigned)workers) == 0, "no barrier");
    return barrier;
}

static void meet(void *barrier, int which, long i)
{
    (void)which, (void)i;
    pthread_barrier_wait(barrier);
}

MEET_KIND(posix, make, meet)

static const struct bench_subject table[] = {
    MEET_THREAD_CASES("barrier", "pthread", posix),
    MEET_PROCESS_CASES("barrier", "pthread", posix),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
