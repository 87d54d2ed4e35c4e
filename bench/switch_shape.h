/* The loop for a bare switch between two flows of one thread, without a scheduler. ns per switch: a round trip is two. */
#ifndef BENCH_SWITCH_SHAPE_H
#define BENCH_SWITCH_SHAPE_H

#include "harness.h"

enum { SWITCH_STACK = 64 << 10 };

/* Makes the other flow, which does nothing but switch back; goes there and back n times. */
struct switch_kind {
    void (*make)(void);
    int64_t (*loop)(void *unused, long n);
};

#define SWITCH_KIND(id, make, round_trip)                                                          \
    static int64_t id##_loop(void *unused, long n)                                                 \
    {                                                                                              \
        (void)unused;                                                                              \
        int64_t start = bench_now();                                                               \
        for (long i = 0; i < n; i++)                                                               \
            round_trip();                                                                          \
        return (bench_now() - start) / 2;                                                          \
    }                                                                                              \
    static const struct switch_kind id = {make, id##_loop};

/* `what` is a switch_kind. */
static inline double switch_bare(const struct bench_subject *self)
{
    const struct switch_kind *kind = (const struct switch_kind *)self->what;
    kind->make();
    return bench_per_operation(kind->loop, NULL);
}

#endif
