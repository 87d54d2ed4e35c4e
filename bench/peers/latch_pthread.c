/* A count under a pthread mutex and condition, beside plait_latch. Needs: libc6-dev */
#include "meet_shape.h"

#include <pthread.h>

enum { LATCHES = 4 };

struct latch {
    pthread_mutex_t mutex;
    pthread_cond_t opened;
    int count;
    char apart[128];
};

struct place {
    int workers;
    char apart[124];
    struct {
        long met; /* meetings of this worker */
        char apart[120];
    } by[8];
    struct latch at[LATCHES];
};

static void make_latch(struct latch *latch, bool shared, int workers)
{
    int reach = shared ? PTHREAD_PROCESS_SHARED : PTHREAD_PROCESS_PRIVATE;
    pthread_mutexattr_t mutex;
    pthread_condattr_t cond;
    pthread_mutexattr_init(&mutex);
    pthread_condattr_init(&cond);
    pthread_mutexattr_setpshared(&mutex, reach);
    pthread_condattr_setpshared(&cond, reach);
    bench_check(pthread_mutex_init(&latch->mutex, &mutex) == 0, "no mutex");
    bench_check(pthread_cond_init(&latch->opened, &cond) == 0, "no condition");
    latch->count = workers;
}

static void *make(bool shared, int workers)
{
    struct place *place = shared ? bench_shared(sizeof *place) : bench_private(sizeof *place);
    place->workers = workers;
    for (int i = 0; i < LATCHES; i++)
        make_latch(&place->at[i], shared, workers);
    return place;
}

static void arrive_and_wait(struct latch *latch)
{
    pthread_mutex_lock(&latch->mutex);
    if (--latch->count == 0)
        pthread_cond_broadcast(&latch->opened);
    while (latch->count > 0)
        pthread_cond_wait(&latch->opened, &latch->mutex);
    pthread_mutex_unlock(&latch->mutex);
}

static void meet(void *arg, int which, long i)
{
    struct place *place = arg;
    (void)i;
    long turn = place->by[which].met++;
    arrive_and_wait(&place->at[turn % LATCHES]);
    if (which != 0)
        return;
    struct latch *next = &place->at[(turn + 2) % LATCHES];
    pthread_mutex_lock(&next->mutex);
    next->count = place->workers;
    pthread_mutex_unlock(&next->mutex);
}

MEET_KIND(posix, make, meet)

static const struct bench_subject table[] = {
    MEET_THREAD_CASES("latch", "pthread cond", posix),
    MEET_PROCESS_CASES("latch", "pthread cond", posix),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
