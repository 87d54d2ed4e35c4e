/* What std::lock does, with pthread mutexes: wait for one, try the others, and if one of them is taken
 * give all back and begin anew with that one. Needs: libc6-dev */
#include "acquire_all_shape.h"

#include <pthread.h>
#include <sched.h>

struct many {
    pthread_mutex_t locks[ALL_MOST];
    pthread_mutex_t *forth[ALL_MOST], *back[ALL_MOST];
    int n;
};

static void *make(int n, bool shared)
{
    struct many *m = shared ? bench_shared(sizeof *m) : bench_private(sizeof *m);
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, shared ? PTHREAD_PROCESS_SHARED : PTHREAD_PROCESS_PRIVATE);
    m->n = n;
    for (int i = 0; i < n; i++) {
        pthread_mutex_init(&m->locks[i], &attr);
        m->forth[i] = &m->locks[i];
        m->back[n - 1 - i] = &m->locks[i];
    }
    return m;
}

/* Takes all, waiting for number `first`. The number of one that is taken, or -1: all are ours. */
static int try_from(pthread_mutex_t **all, int n, int first)
{
    bench_check(pthread_mutex_lock(all[first]) == 0, "not locked");
    for (int k = 1; k < n; k++) {
        int i = (first + k) % n;
        if (pthread_mutex_trylock(all[i]) == 0)
            continue;
        while (k-- > 0)
            pthread_mutex_unlock(all[(first + k) % n]);
        return i;
    }
    return -1;
}

static void acquire(void *many, int which)
{
    struct many *m = many;
    int first = 0;
    while ((first = try_from(which % 2 ? m->back : m->forth, m->n, first)) >= 0)
        sched_yield();
}

static void release(void *many, int which)
{
    struct many *m = many;
    (void)which;
    for (int i = 0; i < m->n; i++)
        pthread_mutex_unlock(&m->locks[i]);
}

ALL_KIND(backing_off, make, acquire, release)

static const struct bench_subject table[] = {
    ALL_PRIVATE_CASES("pthread, backing off", backing_off),
    BENCH_SUBJECT("acquire_all_contended_processes", "pthread, backing off",
                  all_contended_processes, &backing_off, 2),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
