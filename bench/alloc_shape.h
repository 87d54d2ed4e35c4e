/* Loops for allocators that give zeroed blocks.
 *
 * pair: get a block, touch it, give it back; ns per pair. What a thread cache is best at.
 * many: MANY blocks are alive, in each step a random one is replaced; ns per free + allocation.
 * cross: one thread gets blocks and passes them through a small ring to another, who gives them
 *   back; ns per block. What thread caches are worst at. */
#ifndef BENCH_ALLOC_SHAPE_H
#define BENCH_ALLOC_SHAPE_H

#include "harness.h"

#include <sched.h>

enum { ALLOC_MANY = 5000, ALLOC_RING = 64 };

struct alloc_work {
    size_t size;
    long n;
    void *blocks[ALLOC_MANY];
    void (*loop)(void *work, int which);
    char apart[128];
    void *ring[ALLOC_RING]; /* NULL: empty. The getter fills, the giver empties */
};

typedef void *alloc_get(size_t size);
typedef void alloc_give(void *block);

BENCH_INLINE int64_t alloc_pair_loop(struct alloc_work *work, long n, alloc_get *get,
                                     alloc_give *give)
{
    int64_t start = bench_now();
    for (long i = 0; i < n; i++) {
        char *block = get(work->size);
        bench_escape(block);
        block[0] = 1;
        bench_escape(block);
        give(block);
    }
    return bench_now() - start;
}

BENCH_INLINE int64_t alloc_many_loop(struct alloc_work *work, long n, alloc_get *get,
                                     alloc_give *give)
{
    uint32_t random = 1;
    for (int i = 0; i < ALLOC_MANY; i++)
        if (!work->blocks[i])
            work->blocks[i] = get(work->size);
    int64_t start = bench_now();
    for (long i = 0; i < n; i++) {
        random = random * 1664525 + 1013904223;
        void **block = &work->blocks[(random >> 16) % ALLOC_MANY];
        give(*block);
        *block = get(work->size);
        bench_escape(*block);
    }
    return bench_now() - start;
}

/* Looks for a while, then lets others run. */
BENCH_INLINE void alloc_linger(unsigned *turns)
{
    if (++*turns % 256 == 0)
        sched_yield();
}

BENCH_INLINE void alloc_pass(void **place, void *block)
{
    unsigned turns = 0;
    while (__atomic_load_n(place, __ATOMIC_ACQUIRE))
        alloc_linger(&turns);
    __atomic_store_n(place, block, __ATOMIC_RELEASE);
}

BENCH_INLINE void *alloc_receive(void **place)
{
    unsigned turns = 0;
    void *block;
    while (!(block = __atomic_load_n(place, __ATOMIC_ACQUIRE)))
        alloc_linger(&turns);
    __atomic_store_n(place, NULL, __ATOMIC_RELEASE);
    return block;
}

BENCH_INLINE void alloc_cross_loop(struct alloc_work *work, int which, alloc_get *get,
                                   alloc_give *give)
{
    for (long i = 0; i < work->n; i++) {
        void **place = &work->ring[i % ALLOC_RING];
        if (which == 0)
            alloc_pass(place, get(work->size));
        else
            give(alloc_receive(place));
    }
}

/* One allocator; ALLOC_KIND makes it. */
struct alloc_kind {
    int64_t (*pair_loop)(void *work, long n);
    int64_t (*many_loop)(void *work, long n);
    void (*cross_loop)(void *work, int which);
};

#define ALLOC_KIND(id, get, give)                                                                  \
    static int64_t id##_pair(void *work, long n)                                                   \
    {                                                                                              \
        return alloc_pair_loop(work, n, get, give);                                                \
    }                                                                                              \
    static int64_t id##_many(void *work, long n)                                                   \
    {                                                                                              \
        return alloc_many_loop(work, n, get, give);                                                \
    }                                                                                              \
    static void id##_cross(void *work, int which)                                                  \
    {                                                                                              \
        alloc_cross_loop(work, which, get, give);                                                  \
    }                                                                                              \
    static const struct alloc_kind id = {id##_pair, id##_many, id##_cross};

/* --- runs, for the table of subjects; `what` is an alloc_kind, `x` the size in bytes --- */

static inline struct alloc_work *alloc_work_of(const struct bench_subject *self)
{
    struct alloc_work *work = bench_private(sizeof *work);
    work->size = (size_t)self->x;
    bench_be_threaded();
    return work;
}

static inline double alloc_pair(const struct bench_subject *self)
{
    const struct alloc_kind *kind = self->what;
    return bench_per_operation(kind->pair_loop, alloc_work_of(self));
}

static inline double alloc_many(const struct bench_subject *self)
{
    const struct alloc_kind *kind = self->what;
    return bench_per_operation(kind->many_loop, alloc_work_of(self));
}

static inline int64_t alloc_cross_run(void *arg, long n)
{
    struct alloc_work *work = arg;
    work->n = n;
    return bench_together(2, false, work->loop, work);
}

static inline double alloc_cross(const struct bench_subject *self)
{
    struct alloc_work *work = alloc_work_of(self);
    work->loop = ((const struct alloc_kind *)self->what)->cross_loop;
    return bench_per_operation(alloc_cross_run, work);
}

#define ALLOC_CASES(name, kind)                                                                    \
    BENCH_SUBJECT("alloc_pair_64", name, alloc_pair, &kind, 64),                                   \
        BENCH_SUBJECT("alloc_pair_1k", name, alloc_pair, &kind, 1024),                             \
        BENCH_SUBJECT("alloc_pair_64k", name, alloc_pair, &kind, 65536),                           \
        BENCH_SUBJECT("alloc_many_64", name, alloc_many, &kind, 64),                               \
        BENCH_SUBJECT("alloc_cross_64", name, alloc_cross, &kind, 64),                             \
        BENCH_SUBJECT("alloc_curve/16", name, alloc_pair, &kind, 16),                              \
        BENCH_SUBJECT("alloc_curve/64", name, alloc_pair, &kind, 64),                              \
        BENCH_SUBJECT("alloc_curve/256", name, alloc_pair, &kind, 256),                            \
        BENCH_SUBJECT("alloc_curve/1024", name, alloc_pair, &kind, 1024),                          \
        BENCH_SUBJECT("alloc_curve/4096", name, alloc_pair, &kind, 4096),                          \
        BENCH_SUBJECT("alloc_curve/16384", name, alloc_pair, &kind, 16384),                        \
        BENCH_SUBJECT("alloc_curve/65536", name, alloc_pair, &kind, 65536),                        \
        BENCH_SUBJECT("alloc_curve/262144", name, alloc_pair, &kind, 262144),                      \
        BENCH_SUBJECT("alloc_curve/1048576", name, alloc_pair, &kind, 1048576)

#endif
