/* An event as one writes it with pthreads: a flag, a mutex, a condition variable; private and
 * process-shared. Stands beside plait_event and plait_condition. Needs: libc6-dev */
#include "round_trip.h"

#include <pthread.h>

struct bell {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool rung;
};

static void *make(bool shared)
{
    struct bell *bell = shared ? bench_shared(sizeof *bell) : bench_private(sizeof *bell);
    int reach = shared ? PTHREAD_PROCESS_SHARED : PTHREAD_PROCESS_PRIVATE;
    pthread_mutexattr_t mutex_attr;
    pthread_condattr_t cond_attr;
    pthread_mutexattr_init(&mutex_attr);
    pthread_mutexattr_setpshared(&mutex_attr, reach);
    pthread_mutex_init(&bell->mutex, &mutex_attr);
    pthread_condattr_init(&cond_attr);
    pthread_condattr_setpshared(&cond_attr, reach);
    pthread_cond_init(&bell->changed, &cond_attr);
    return bell;
}

static void ring(void *arg)
{
    struct bell *bell = arg;
    pthread_mutex_lock(&bell->mutex);
    bell->rung = true;
    pthread_cond_signal(&bell->changed);
    pthread_mutex_unlock(&bell->mutex);
}

static void await(void *arg)
{
    struct bell *bell = arg;
    pthread_mutex_lock(&bell->mutex);
    while (!bell->rung)
        pthread_cond_wait(&bell->changed, &bell->mutex);
    bell->rung = false;
    pthread_mutex_unlock(&bell->mutex);
}

TRIP_KIND(cond, make, ring, await)

static const struct bench_subject table[] = {
    TRIP_THREAD_CASES("event", "pthread cond", cond, false),
    TRIP_PROCESS_CASES("event", "pthread cond", cond, false),
    TRIP_THREAD_CASES("condition", "pthread cond", cond, false),
    TRIP_PROCESS_CASES("condition", "pthread cond", cond, false),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
