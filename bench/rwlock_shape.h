/* Loops for locks that many may hold to read and one to write.
 *
 * read_free, write_free: as lock_free of lock_shape.h, with the one and the other pair of calls.
 * write_contended, write_contended_processes: as lock_contended.
 * read_curve/n: n workers read, each as often as it can; ns per acquire + release over all of them
 *   together: with readers that do not disturb each other it falls as 1/n, down to the number of
 *   processors.
 * read_contended_processes: the same with two processes.
 * mixed_curve/n: the same, and each writes once in 100 times. */
#ifndef BENCH_RWLOCK_SHAPE_H
#define BENCH_RWLOCK_SHAPE_H

#include "lock_shape.h"

enum { RWLOCK_SHARE = 100 }; /* of so many operations one writes */

struct rwlock_work {
    void *rw;
    int workers;
    bool processes, mixed;
    void (*loop)(void *work, int which);
    long each;      /* operations of each worker; constant while it runs */
    char apart[88]; /* what follows has cache lines of its own */
    long a, b;      /* under the rwlock: equal */
    char apart_too[112];
};

struct rwlock_kind {
    const struct lock_kind *read, *write;
    void (*loop)(void *work, int which);
};

BENCH_INLINE void rwlock_loop(struct rwlock_work *work, int which, lock_operation *acquire_read,
                              lock_operation *release_read, lock_operation *acquire_write,
                              lock_operation *release_write)
{
    bool torn = false;
    for (long i = 0, turn = which; i < work->each; i++, turn++) {
        if (work->mixed && turn % RWLOCK_SHARE == 0) {
            acquire_write(work->rw);
            work->a++;
            work->b++;
            release_write(work->rw);
        } else {
            acquire_read(work->rw);
            torn |= work->a != work->b;
            release_read(work->rw);
        }
    }
    bench_check(!torn, "a reader and a writer were in at once");
}

#define RWLOCK_KIND(id, make, acquire_read, release_read, acquire_write, release_write)            \
    LOCK_KIND(id##_read, make, acquire_read, release_read)                                         \
    LOCK_KIND(id##_write, make, acquire_write, release_write)                                      \
    static void id##_loop(void *work, int which)                                                   \
    {                                                                                              \
        rwlock_loop(work, which, acquire_read, release_read, acquire_write, release_write);        \
    }                                                                                              \
    static const struct rwlock_kind id = {&id##_read, &id##_write, id##_loop};

static inline double rwlock_read_free(const struct bench_subject *self)
{
    return lock_free_of(((const struct rwlock_kind *)self->what)->read, false);
}

static inline double rwlock_read_shared_free(const struct bench_subject *self)
{
    return lock_free_of(((const struct rwlock_kind *)self->what)->read, true);
}

static inline double rwlock_write_free(const struct bench_subject *self)
{
    return lock_free_of(((const struct rwlock_kind *)self->what)->write, false);
}

static inline double rwlock_write_shared_free(const struct bench_subject *self)
{
    return lock_free_of(((const struct rwlock_kind *)self->what)->write, true);
}

static inline int64_t rwlock_run(void *arg, long n)
{
    struct rwlock_work *work = arg;
    work->each = n / work->workers + 1;
    return bench_together(work->workers, work->processes, work->loop, work);
}

static inline double rwlock_many(const struct bench_subject *self, bool processes, bool mixed)
{
    const struct rwlock_kind *kind = self->what;
    struct rwlock_work *work = bench_shared(sizeof *work);
    work->rw = kind->read->make(processes);
    work->workers = (int)self->x;
    work->processes = processes;
    work->mixed = mixed;
    work->loop = kind->loop;
    return bench_per_operation(rwlock_run, work);
}

static inline double rwlock_read_curve(const struct bench_subject *self)
{
    return rwlock_many(self, false, false);
}

static inline double rwlock_mixed_curve(const struct bench_subject *self)
{
    return rwlock_many(self, false, true);
}

static inline double rwlock_read_processes(const struct bench_subject *self)
{
    return rwlock_many(self, true, false);
}

static inline double rwlock_write_in(const struct bench_subject *self, bool processes)
{
    struct bench_subject as_lock = *self;
    as_lock.what = ((const struct rwlock_kind *)self->what)->write;
    return lock_contended_in(&as_lock, processes);
}

static inline double rwlock_write_contended(const struct bench_subject *self)
{
    return rwlock_write_in(self, false);
}

static inline double rwlock_write_processes(const struct bench_subject *self)
{
    return rwlock_write_in(self, true);
}

/* The cases of one that serves several processes. */
#define RWLOCK_SHARED_CASES(name, kind)                                                            \
    BENCH_SUBJECT("rwlock_read_shared_free", name, rwlock_read_shared_free, &kind, 0),             \
        BENCH_SUBJECT("rwlock_write_shared_free", name, rwlock_write_shared_free, &kind, 0),       \
        BENCH_SUBJECT("rwlock_read_contended_processes", name, rwlock_read_processes, &kind, 2),   \
        BENCH_SUBJECT("rwlock_write_contended_processes", name, rwlock_write_processes, &kind, 2)

/* The cases of one that serves one process: what every peer can do. */
#define RWLOCK_PRIVATE_CASES(name, kind)                                                           \
    BENCH_SUBJECT("rwlock_read_free", name, rwlock_read_free, &kind, 0),                           \
        BENCH_SUBJECT("rwlock_write_free", name, rwlock_write_free, &kind, 0),                     \
        BENCH_SUBJECT("rwlock_write_contended", name, rwlock_write_contended, &kind, 2),           \
        BENCH_SUBJECT("rwlock_read_curve/1", name, rwlock_read_curve, &kind, 1),                   \
        BENCH_SUBJECT("rwlock_read_curve/2", name, rwlock_read_curve, &kind, 2),                   \
        BENCH_SUBJECT("rwlock_read_curve/4", name, rwlock_read_curve, &kind, 4),                   \
        BENCH_SUBJECT("rwlock_read_curve/8", name, rwlock_read_curve, &kind, 8),                   \
        BENCH_SUBJECT("rwlock_mixed_curve/1", name, rwlock_mixed_curve, &kind, 1),                 \
        BENCH_SUBJECT("rwlock_mixed_curve/2", name, rwlock_mixed_curve, &kind, 2),                 \
        BENCH_SUBJECT("rwlock_mixed_curve/4", name, rwlock_mixed_curve, &kind, 4),                 \
        BENCH_SUBJECT("rwlock_mixed_curve/8", name, rwlock_mixed_curve, &kind, 8)

#endif
