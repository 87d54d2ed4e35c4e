/* Loops for anything at which workers meet: barriers, latches.
 *
 * ns per round, from one meeting to the next, with `workers` that do nothing in between.
 * Two workers that have a processor each should not need the kernel for it; with more workers than
 * processors it is the price of waking them. */
#ifndef BENCH_MEET_SHAPE_H
#define BENCH_MEET_SHAPE_H

#include "harness.h"

struct meet_work {
    void *place;
    int workers;
    bool processes;
    void (*loop)(void *work, int which);
    long n;
};

/* The worker's i-th meeting. */
typedef void meet_operation(void *place, int which, long i);

/* One kind of place to meet; MEET_KIND makes it. */
struct meet_kind {
    void *(*make)(bool shared, int workers);
    void (*loop)(void *work, int which);
};

#define MEET_KIND(id, make, meet)                                                                  \
    static void id##_loop(void *arg, int which)                                                    \
    {                                                                                              \
        struct meet_work *work = (struct meet_work *)arg;                                          \
        for (long i = 0; i < work->n; i++)                                                         \
            meet(work->place, which, i);                                                           \
    }                                                                                              \
    static const struct meet_kind id = {make, id##_loop};

/* --- runs, for the table of subjects; `what` is a meet_kind, `x` the number of workers --- */

static inline int64_t meet_run(void *arg, long n)
{
    struct meet_work *work = (struct meet_work *)arg;
    work->n = n;
    return bench_together(work->workers, work->processes, work->loop, work);
}

static inline double meet_in(const struct bench_subject *self, bool processes)
{
    const struct meet_kind *kind = (const struct meet_kind *)self->what;
    struct meet_work *work = (struct meet_work *)bench_shared(sizeof *work);
    work->workers = (int)self->x;
    work->place = kind->make(processes, work->workers);
    work->processes = processes;
    work->loop = kind->loop;
    return bench_per_operation(meet_run, work);
}

static inline double meet_threads(const struct bench_subject *self)
{
    return meet_in(self, false);
}

static inline double meet_processes(const struct bench_subject *self)
{
    return meet_in(self, true);
}

#define MEET_THREAD_CASES(stem, name, kind)                                                        \
    BENCH_SUBJECT(stem "_threads", name, meet_threads, &kind, 2),                                  \
        BENCH_SUBJECT(stem "_threads_4", name, meet_threads, &kind, 4)

#define MEET_PROCESS_CASES(stem, name, kind)                                                       \
    BENCH_SUBJECT(stem "_processes", name, meet_processes, &kind, 2),                              \
        BENCH_SUBJECT(stem "_processes_4", name, meet_processes, &kind, 4)

#endif
