/* The loop for what is done once: the call after it is done, which is nearly every call. ns per call, in a
 * program that has a second thread. */
#ifndef BENCH_ONCE_SHAPE_H
#define BENCH_ONCE_SHAPE_H

#include "harness.h"

/* Makes one that is done; calls it. */
struct once_kind {
    void *(*make)(bool shared);
    int64_t (*loop)(void *once, long n);
};

#define ONCE_KIND(id, make, call)                                                                  \
    static int64_t id##_loop(void *once, long n)                                                   \
    {                                                                                              \
        int64_t start = bench_now();                                                               \
        for (long i = 0; i < n; i++) {                                                             \
            call(once);                                                                            \
            bench_escape(once);                                                                    \
        }                                                                                          \
        return bench_now() - start;                                                                \
    }                                                                                              \
    static const struct once_kind id = {make, id##_loop};

/* `what` is a once_kind, `x` is 1 where processes share it. */
static inline double once_done(const struct bench_subject *self)
{
    const struct once_kind *kind = (const struct once_kind *)self->what;
    bench_be_threaded();
    return bench_per_operation(kind->loop, kind->make(self->x != 0));
}

#endif
