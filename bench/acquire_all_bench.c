/* plait_acquire_all: two, eight locks at once, alone, and with others who name the same two in the
 * opposite order. One operation takes all and gives all back. Peers: peers/acquire_all_pthread.c. */
#include "acquire_all_shape.h"

#include <plait/plait.h>

struct many {
    plait_lock locks[ALL_MOST];
    plait_lock *forth[ALL_MOST], *back[ALL_MOST];
    int n;
};

static void *make(int n, bool shared)
{
    struct many *m = shared ? plait_alloc(sizeof *m) : bench_private(sizeof *m);
    bench_check(m, "no locks");
    m->n = n;
    for (int i = 0; i < n; i++) {
        m->forth[i] = &m->locks[i];
        m->back[n - 1 - i] = &m->locks[i];
    }
    return m;
}

static void acquire(void *many, int which)
{
    struct many *m = many;
    bench_check(plait_acquire_all(which % 2 ? m->back : m->forth, m->n, PLAIT_FOREVER) == 0,
                "not acquired");
}

static void release(void *many, int which)
{
    struct many *m = many;
    plait_release_all(which % 2 ? m->back : m->forth, m->n);
}

ALL_KIND(ours, make, acquire, release)

static const struct bench_subject table[] = {
    ALL_PRIVATE_CASES("plait", ours),
    BENCH_SUBJECT("acquire_all_contended_processes", "plait", all_contended_processes, &ours, 2),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
