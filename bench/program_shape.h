/* Running /bin/true and collecting it, ns for both, by a starter of 10 MiB and of 1 GiB: what is copied from it shows. And passing
 * 256 MiB through cat, ns for each KiB. */
#ifndef BENCH_PROGRAM_SHAPE_H
#define BENCH_PROGRAM_SHAPE_H

#include "harness.h"

#include <stdlib.h>
#include <string.h>

typedef void program_cycle(void);

enum { PROGRAM_THROUGH = 256 << 20 }; /* bytes */

static inline int64_t program_loop(void *cycle, long n)
{
    int64_t start = bench_now();
    for (long i = 0; i < n; i++)
        (*(program_cycle *const *)cycle)();
    return bench_now() - start;
}

/* For the table of subjects; `what` points to a pointer to the cycle, x is the starter's size in MiB. */
static inline double program_run(const struct bench_subject *self)
{
    program_cycle *cycle = *(program_cycle *const *)self->what;
    size_t size = (size_t)self->x << 20;
    char *weight = malloc(size);
    bench_check(weight != NULL, "no memory");
    memset(weight, 1, size);
    bench_escape(weight);
    double ns = bench_per_operation(program_loop, &cycle);
    free(weight);
    return ns;
}

#define PROGRAM_CASES(name, cycle)                                                                 \
    BENCH_SUBJECT("program_run/10", name, program_run, &(cycle), 10),                              \
        BENCH_SUBJECT("program_run/1024", name, program_run, &(cycle), 1024)

#endif
