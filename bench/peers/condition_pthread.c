/* Conditions of pthreads: private, process-shared, and on a robust mutex, which alone tells of the death of who
 * held it. A flag, a mutex and a condition are also what an event is written with: these stand beside
 * plait_event and plait_condition. Needs: libc6-dev */
#include "notify_shape.h"
#include "round_trip.h"

#include <pthread.h>

static void init_mutex(pthread_mutex_t *mutex, bool shared, bool robust)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, shared ? PTHREAD_PROCESS_SHARED : PTHREAD_PROCESS_PRIVATE);
    pthread_mutexattr_setrobust(&attr, robust ? PTHREAD_MUTEX_ROBUST : PTHREAD_MUTEX_STALLED);
    bench_check(pthread_mutex_init(mutex, &attr) == 0, "no mutex");
}

static void init_cond(pthread_cond_t *cond, bool shared)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setpshared(&attr, shared ? PTHREAD_PROCESS_SHARED : PTHREAD_PROCESS_PRIVATE);
    bench_check(pthread_cond_init(cond, &attr) == 0, "no condition");
}

/* --- a bell --- */

struct bell {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool rung;
};

static void *make_with(bool shared, bool robust)
{
    struct bell *bell = shared ? bench_shared(sizeof *bell) : bench_private(sizeof *bell);
    init_mutex(&bell->mutex, shared, robust);
    init_cond(&bell->changed, shared);
    return bell;
}

static void *make_plain(bool shared)
{
    return make_with(shared, false);
}

static void *make_robust(bool shared)
{
    return make_with(shared, true);
}

static void ring(void *arg)
{
    struct bell *bell = arg;
    bench_check(pthread_mutex_lock(&bell->mutex) == 0, "not locked");
    bell->rung = true;
    pthread_cond_signal(&bell->changed);
    pthread_mutex_unlock(&bell->mutex);
}

static void await(void *arg)
{
    struct bell *bell = arg;
    bench_check(pthread_mutex_lock(&bell->mutex) == 0, "not locked");
    while (!bell->rung)
        bench_check(pthread_cond_wait(&bell->changed, &bell->mutex) == 0, "not waited");
    bell->rung = false;
    pthread_mutex_unlock(&bell->mutex);
}

TRIP_KIND(bell_plain, make_plain, ring, await)
TRIP_KIND(bell_robust, make_robust, ring, await)

/* --- many waiters --- */

struct place {
    pthread_mutex_t mutex;
    pthread_cond_t called, answered;
};

static void *make_place_with(bool shared, bool robust)
{
    struct place *place = shared ? bench_shared(sizeof *place) : bench_private(sizeof *place);
    init_mutex(&place->mutex, shared, robust);
    init_cond(&place->called, shared);
    init_cond(&place->answered, shared);
    return place;
}

static void *make_plain_place(bool shared)
{
    return make_place_with(shared, false);
}

static void *make_robust_place(bool shared)
{
    return make_place_with(shared, true);
}

static void acquire(void *arg)
{
    struct place *place = arg;
    bench_check(pthread_mutex_lock(&place->mutex) == 0, "not locked");
}

static void release(void *arg)
{
    struct place *place = arg;
    pthread_mutex_unlock(&place->mutex);
}

static void call_all(void *arg)
{
    struct place *place = arg;
    pthread_cond_broadcast(&place->called);
}

static void await_call(void *arg)
{
    struct place *place = arg;
    bench_check(pthread_cond_wait(&place->called, &place->mutex) == 0, "not waited");
}

static void answer(void *arg)
{
    struct place *place = arg;
    pthread_cond_signal(&place->answered);
}

static void await_answer(void *arg)
{
    struct place *place = arg;
    bench_check(pthread_cond_wait(&place->answered, &place->mutex) == 0, "not waited");
}

NOTIFY_KIND(many_plain, make_plain_place, acquire, release, call_all, await_call, answer,
            await_answer)
NOTIFY_KIND(many_robust, make_robust_place, acquire, release, call_all, await_call, answer,
            await_answer)

#define CONDITION_CASES(name, bell, place)                                                         \
    TRIP_THREAD_CASES("condition", name, bell, false),                                             \
        TRIP_PROCESS_CASES("condition", name, bell, false),                                        \
        NOTIFY_THREAD_CASES("condition", name, place),                                             \
        NOTIFY_PROCESS_CASES("condition", name, place)

static const struct bench_subject table[] = {
    TRIP_THREAD_CASES("event", "pthread cond", bell_plain, false),
    TRIP_PROCESS_CASES("event", "pthread cond", bell_plain, false),
    CONDITION_CASES("pthread cond", bell_plain, many_plain),
    CONDITION_CASES("pthread cond robust", bell_robust, many_robust),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
