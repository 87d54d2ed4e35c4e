/* Starting a worker that does nothing and waiting for its end; ns for both. */
#ifndef BENCH_WORKER_SHAPE_H
#define BENCH_WORKER_SHAPE_H

#include "harness.h"

typedef void worker_cycle(void);

static inline int64_t worker_loop(void *cycle, long n)
{
    int64_t start = bench_now();
    for (long i = 0; i < n; i++)
        (*(worker_cycle *const *)cycle)();
    return bench_now() - start;
}

/* For the table of subjects; `what` points to a pointer to the cycle. */
static inline double worker_start(const struct bench_subject *self)
{
    worker_cycle *cycle = *(worker_cycle *const *)self->what;
    return bench_per_operation(worker_loop, &cycle);
}

#endif
