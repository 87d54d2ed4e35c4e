/* Loops for taking several locks at once. free: nobody else about. contended: two workers take the same
 * two locks, named in opposite orders, and touch what they guard; ns per turn over both together. */
#ifndef BENCH_ACQUIRE_ALL_SHAPE_H
#define BENCH_ACQUIRE_ALL_SHAPE_H

#include "harness.h"

enum { ALL_MOST = 8, ALL_OUTSIDE = 20 };

struct all_work {
    void *locks;
    int workers;
    bool processes;
    void (*loop)(void *work, int which);
    long wanted;    /* constant while it runs */
    char apart[88]; /* what follows has a cache line of its own */
    long done;      /* under the locks */
};

/* One kind of locks; ALL_KIND makes it. */
struct all_kind {
    void *(*make)(int n, bool shared);
    int64_t (*free_loop)(void *locks, long n);
    void (*contended_loop)(void *work, int which);
};

#define ALL_KIND(id, make, acquire, release)                                                       \
    static int64_t id##_free(void *locks, long n)                                                  \
    {                                                                                              \
        int64_t start = bench_now();                                                               \
        for (long i = 0; i < n; i++) {                                                             \
            acquire(locks, 0);                                                                     \
            release(locks, 0);                                                                     \
        }                                                                                          \
        return bench_now() - start;                                                                \
    }                                                                                              \
    static void id##_contended(void *arg, int which)                                               \
    {                                                                                              \
        struct all_work *work = arg;                                                               \
        for (bool more = true; more;) {                                                            \
            acquire(work->locks, which);                                                           \
            more = work->done < work->wanted;                                                      \
            work->done += more;                                                                    \
            release(work->locks, which);                                                           \
            bench_dawdle(ALL_OUTSIDE);                                                             \
        }                                                                                          \
    }                                                                                              \
    static const struct all_kind id = {make, id##_free, id##_contended};

static inline double all_free(const struct bench_subject *self)
{
    const struct all_kind *kind = self->what;
    bench_be_threaded();
    return bench_per_operation(kind->free_loop, kind->make((int)self->x, false));
}

static inline int64_t all_contended_run(void *arg, long n)
{
    struct all_work *work = arg;
    work->wanted = n;
    work->done = 0;
    int64_t took = bench_together(work->workers, work->processes, work->loop, work);
    bench_check(work->done == n, "the locks let two in at once");
    return took;
}

static inline double all_contended_in(const struct bench_subject *self, bool processes)
{
    const struct all_kind *kind = self->what;
    struct all_work *work = bench_shared(sizeof *work);
    work->locks = kind->make(2, processes);
    work->workers = (int)self->x;
    work->processes = processes;
    work->loop = kind->contended_loop;
    return bench_per_operation(all_contended_run, work);
}

static inline double all_contended(const struct bench_subject *self)
{
    return all_contended_in(self, false);
}

static inline double all_contended_processes(const struct bench_subject *self)
{
    return all_contended_in(self, true);
}

#define ALL_PRIVATE_CASES(name, kind)                                                              \
    BENCH_SUBJECT("acquire_all_free/2", name, all_free, &kind, 2),                                 \
        BENCH_SUBJECT("acquire_all_free/8", name, all_free, &kind, 8),                             \
        BENCH_SUBJECT("acquire_all_contended", name, all_contended, &kind, 2)

#endif
