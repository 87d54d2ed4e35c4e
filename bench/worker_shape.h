/* Starting a worker that does nothing and waiting for its end, or many at once; ns for both. The program that starts may have so
 * much private memory, which it has written to. */
#ifndef BENCH_WORKER_SHAPE_H
#define BENCH_WORKER_SHAPE_H

#include "harness.h"

#include <string.h>

enum { WORKER_CROWD = 64 };

typedef void worker_cycle(void);

static inline int64_t worker_loop(void *cycle, long n)
{
    int64_t start = bench_now();
    for (long i = 0; i < n; i++)
        (*(worker_cycle *const *)cycle)();
    return bench_now() - start;
}

static inline void worker_grow(long mebibytes)
{
    enum { MEBIBYTE = 1 << 20 };
    for (long i = 0; i < mebibytes; i++)
        memset(bench_private(MEBIBYTE), 1, MEBIBYTE);
}

/* For the table of subjects; `what` points to a pointer to the cycle, x is the program's size in MiB. */
static inline double worker_start(const struct bench_subject *self)
{
    worker_cycle *cycle = *(worker_cycle *const *)self->what;
    worker_grow(self->x);
    return bench_per_operation(worker_loop, &cycle);
}

#endif
