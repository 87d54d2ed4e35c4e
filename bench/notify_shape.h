/* Loops for conditions with several waiters.
 *
 * notify_all: a caller begins a round, notifies all, and waits until each of the `waiters` has answered;
 * they wait for the next round on one condition, it waits for the last answer on another one with the
 * same lock. ns per round; the next one follows at once. */
#ifndef BENCH_NOTIFY_SHAPE_H
#define BENCH_NOTIFY_SHAPE_H

#include "harness.h"

struct notify_work {
    void *place;
    int waiters;
    bool processes;
    void (*loop)(void *work, int which);
    long n;
    char apart[88]; /* what follows has cache lines of its own */
    long round;     /* under the place's lock, as all below */
    int missing;    /* answers to this round */
    char apart_too[112];
};

typedef void notify_operation(void *place);

/* What a subject does with its lock and its two conditions. */
struct notify_operations {
    notify_operation *acquire, *release;
    notify_operation *call_all, *await_call; /* the one condition: all waiters */
    notify_operation *answer, *await_answer; /* the other: the caller */
};

BENCH_INLINE void notify_caller(struct notify_work *work, const struct notify_operations *do_)
{
    for (long i = 0; i < work->n; i++) {
        do_->acquire(work->place);
        work->round++;
        work->missing = work->waiters;
        do_->call_all(work->place);
        while (work->missing > 0)
            do_->await_answer(work->place);
        do_->release(work->place);
    }
}

BENCH_INLINE void notify_waiter(struct notify_work *work, const struct notify_operations *do_)
{
    for (long seen = 0; seen < work->n; seen++) {
        do_->acquire(work->place);
        while (work->round == seen)
            do_->await_call(work->place);
        bench_check(work->round == seen + 1, "a round began before the last one was answered");
        if (--work->missing == 0)
            do_->answer(work->place);
        do_->release(work->place);
    }
}

BENCH_INLINE void notify_loop(struct notify_work *work, int which,
                              const struct notify_operations *do_)
{
    if (which == 0)
        notify_caller(work, do_);
    else
        notify_waiter(work, do_);
}

/* One kind of place; NOTIFY_KIND makes it of `make` and the notify_operations in their order. */
struct notify_kind {
    void *(*make)(bool shared);
    void (*loop)(void *work, int which);
};

#define NOTIFY_KIND(id, make, ...)                                                                 \
    static void id##_loop(void *work, int which)                                                   \
    {                                                                                              \
        static const struct notify_operations operations = {__VA_ARGS__};                          \
        notify_loop((struct notify_work *)work, which, &operations);                               \
    }                                                                                              \
    static const struct notify_kind id = {make, id##_loop};

/* --- runs, for the table of subjects; `what` is a notify_kind, `x` the number of waiters --- */

static inline int64_t notify_run(void *arg, long n)
{
    struct notify_work *work = (struct notify_work *)arg;
    work->n = n;
    work->round = 0;
    return bench_together(work->waiters + 1, work->processes, work->loop, work);
}

static inline double notify_in(const struct bench_subject *self, bool processes)
{
    const struct notify_kind *kind = (const struct notify_kind *)self->what;
    struct notify_work *work = (struct notify_work *)bench_shared(sizeof *work);
    work->waiters = (int)self->x;
    work->place = kind->make(processes);
    work->processes = processes;
    work->loop = kind->loop;
    return bench_per_operation(notify_run, work);
}

static inline double notify_threads(const struct bench_subject *self)
{
    return notify_in(self, false);
}

static inline double notify_processes(const struct bench_subject *self)
{
    return notify_in(self, true);
}

#define NOTIFY_THREAD_CASES(stem, name, kind)                                                      \
    BENCH_SUBJECT(stem "_notify_all_threads", name, notify_threads, &kind, 4)

#define NOTIFY_PROCESS_CASES(stem, name, kind)                                                     \
    BENCH_SUBJECT(stem "_notify_all_processes", name, notify_processes, &kind, 4)

#endif
