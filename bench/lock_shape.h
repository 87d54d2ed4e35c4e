/* Loops for anything that is acquired and released: locks and semaphores.
 *
 * free: one thread, nobody else about. ns per acquire + release.
 * contended: `workers` at once acquire, touch what the lock guards, release, spend a few ns
 * outside.
 *   ns per acquire + release over all of them together, so with perfect hand-over it would be the
 *   time inside the lock, whatever the number of workers. */
#ifndef BENCH_LOCK_SHAPE_H
#define BENCH_LOCK_SHAPE_H

#include "harness.h"

enum { LOCK_OUTSIDE = 20 }; /* turns of bench_dawdle between release and acquire */

struct lock_work {
    void *lock;
    int workers;
    bool processes;
    void (*loop)(void *work, int which);
    long wanted;    /* constant while it runs */
    char apart[88]; /* what follows has cache lines of its own, as does each `by` */
    long done;      /* under the lock; `wanted` at the end */
    char apart_too[120];
    struct {
        long done; /* by one worker */
        char apart[120];
    } by[64];
};

typedef void lock_operation(void *lock);

BENCH_INLINE int64_t lock_free_loop(void *lock, long n, lock_operation *acquire,
                                    lock_operation *release)
{
    int64_t start = bench_now();
    for (long i = 0; i < n; i++) {
        acquire(lock);
        release(lock);
    }
    return bench_now() - start;
}

/* One worker's part: goes on until all together have done what is wanted. */
BENCH_INLINE void lock_contended_loop(struct lock_work *work, int which, lock_operation *acquire,
                                      lock_operation *release)
{
    long mine = 0;
    for (bool more = true; more; mine += more) {
        acquire(work->lock);
        more = work->done < work->wanted;
        work->done += more;
        release(work->lock);
        bench_dawdle(LOCK_OUTSIDE);
    }
    work->by[which].done = mine;
}

/* One kind of lock; LOCK_KIND makes it. */
struct lock_kind {
    void *(*make)(bool shared); /* a free lock; shared: where forked processes see it */
    int64_t (*free_loop)(void *lock, long n);
    void (*contended_loop)(void *work, int which);
};

#define LOCK_KIND(id, make, acquire, release)                                                      \
    static int64_t id##_free(void *lock, long n)                                                   \
    {                                                                                              \
        return lock_free_loop(lock, n, acquire, release);                                          \
    }                                                                                              \
    static void id##_contended(void *work, int which)                                              \
    {                                                                                              \
        lock_contended_loop(work, which, acquire, release);                                        \
    }                                                                                              \
    static const struct lock_kind id = {make, id##_free, id##_contended};

/* --- runs, for the table of subjects; `what` is a lock_kind, `x` the number of workers --- */

static inline double lock_free_of(const struct lock_kind *kind, bool shared)
{
    bench_be_threaded();
    return bench_per_operation(kind->free_loop, kind->make(shared));
}

static inline double lock_free(const struct bench_subject *self)
{
    return lock_free_of(self->what, false);
}

static inline double lock_shared_free(const struct bench_subject *self)
{
    return lock_free_of(self->what, true);
}

static inline int64_t lock_contended_run(void *arg, long n)
{
    struct lock_work *work = arg;
    long sum = 0;
    work->wanted = n;
    work->done = 0;
    int64_t took = bench_together(work->workers, work->processes, work->loop, work);
    for (int i = 0; i < work->workers; i++)
        sum += work->by[i].done;
    bench_check(sum == n, "the lock let two in at once");
    return took;
}

static inline double lock_contended_in(const struct bench_subject *self, bool processes)
{
    const struct lock_kind *kind = self->what;
    struct lock_work *work = bench_shared(sizeof *work);
    work->lock = kind->make(processes);
    work->workers = (int)self->x;
    work->processes = processes;
    work->loop = kind->contended_loop;
    return bench_per_operation(lock_contended_run, work);
}

static inline double lock_contended(const struct bench_subject *self)
{
    return lock_contended_in(self, false);
}

static inline double lock_contended_processes(const struct bench_subject *self)
{
    return lock_contended_in(self, true);
}

/* The cases of a lock that serves one process: what every peer can do. */
#define LOCK_PRIVATE_CASES(stem, name, kind)                                                       \
    BENCH_SUBJECT(stem "_free", name, lock_free, &kind, 0),                                        \
        BENCH_SUBJECT(stem "_contended", name, lock_contended, &kind, 2)

/* The same of one that serves several. */
#define LOCK_SHARED_CASES(stem, name, kind)                                                        \
    BENCH_SUBJECT(stem "_shared_free", name, lock_shared_free, &kind, 0),                          \
        BENCH_SUBJECT(stem "_contended_processes", name, lock_contended_processes, &kind, 2)

/* A curve: how it grows with the number of threads. */
#define LOCK_CURVE(stem, name, kind)                                                               \
    BENCH_SUBJECT(stem "_curve/1", name, lock_contended, &kind, 1),                                \
        BENCH_SUBJECT(stem "_curve/2", name, lock_contended, &kind, 2),                            \
        BENCH_SUBJECT(stem "_curve/4", name, lock_contended, &kind, 4),                            \
        BENCH_SUBJECT(stem "_curve/8", name, lock_contended, &kind, 8)

#endif
