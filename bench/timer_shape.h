/* Timers and sleepers by the hundred thousand; ns of processor time each, because the time itself is
 * mostly spent waiting.
 *
 * staggered: number i of n is due after a time between 0 and n microseconds that looks random; all are
 *   started at once, and the run ends when the last has fired.
 * cancelled: they are due in one to two hours, and each is cancelled after all have been started, in another
 *   order than they were started or are due. */
#ifndef BENCH_TIMER_SHAPE_H
#define BENCH_TIMER_SHAPE_H

#include "harness.h"

/* Between 0 and n - 1, each once if n is no multiple of the factor. */
static inline long timer_shuffled(long i, long n)
{
    return (long)((uint64_t)i * UINT64_C(7368787) % (uint64_t)n);
}

static inline int64_t timer_soon(long i, long n)
{
    return timer_shuffled(i, n) * 1000;
}

static inline int64_t timer_late(long i, long n)
{
    return INT64_C(3600000000000) / n * (n + timer_shuffled(i, n));
}

typedef void timer_all(long n); /* starts all, and waits for or cancels all */

/* For the table of subjects; `what` points to a pointer to a timer_all, `x` is n. */
static inline double timer_run(const struct bench_subject *self)
{
    int64_t before = bench_worked();
    (*(timer_all *const *)self->what)(self->x);
    return (double)(bench_worked() - before) / (double)self->x;
}

/* The table's entries for 100,000 and for a million. */
#define TIMER_CASES(stem, name, kind)                                                              \
    BENCH_SUBJECT(stem "_100k", name, timer_run, &kind, 100000),                                   \
        BENCH_SUBJECT(stem "_1M", name, timer_run, &kind, 1000000)

#endif
