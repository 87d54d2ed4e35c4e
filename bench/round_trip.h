/* A round trip: a question of 64 bytes goes to another worker, who copies it into the answer.
 *
 * busy: the next question follows at once; ns per round trip, over the whole run.
 * asleep: the asker rests for 1 ms before each question, so that the other has gone to sleep (if it
 *   ever does); ns of the round trip alone, the median of the run.
 * A subject says how to tell the other worker and how to wait for it; there are two such bells, one
 * for questions and one for answers, and each rings once per wait. */
#ifndef BENCH_ROUND_TRIP_H
#define BENCH_ROUND_TRIP_H

#include "harness.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TRIP_WORDS = 8, TRIP_REST = 1000 * 1000, TRIP_MOST = 4096 };

struct trip {
    void *asked, *answered; /* the bells; constant */
    void (*loop)(void *trip, int which);
    long n;
    bool processes, rests;
    char apart[64];
    uint64_t question[TRIP_WORDS] __attribute__((aligned(128)));
    uint64_t answer[TRIP_WORDS] __attribute__((aligned(128)));
    int64_t took[TRIP_MOST]; /* each round trip, if it rests; written by the asker */
};

typedef void trip_operation(void *bell);

static inline void trip_rest(void)
{
    nanosleep(&(struct timespec){0, TRIP_REST}, NULL);
}

BENCH_INLINE void trip_ask(struct trip *t, uint64_t i, trip_operation *ring, trip_operation *await)
{
    for (int w = 0; w < TRIP_WORDS; w++)
        t->question[w] = i;
    ring(t->asked);
    await(t->answered);
    bench_check(t->answer[TRIP_WORDS - 1] == i, "an answer to another question");
}

BENCH_INLINE void trip_answer(struct trip *t, trip_operation *ring, trip_operation *await)
{
    await(t->asked);
    memcpy(t->answer, t->question, sizeof t->answer);
    ring(t->answered);
}

BENCH_INLINE void trip_loop(struct trip *t, int which, trip_operation *ring, trip_operation *await)
{
    for (long i = 0; i < t->n; i++) {
        if (which == 1) {
            trip_answer(t, ring, await);
        } else if (!t->rests) {
            trip_ask(t, (uint64_t)i, ring, await);
        } else {
            trip_rest();
            int64_t start = bench_now();
            trip_ask(t, (uint64_t)i, ring, await);
            t->took[i] = bench_now() - start;
        }
    }
}

/* One kind of bell; TRIP_KIND makes it. */
struct trip_kind {
    void *(*make)(bool shared); /* a silent bell */
    void (*loop)(void *trip, int which);
};

#define TRIP_KIND(id, make, ring, await)                                                           \
    static void id##_loop(void *trip, int which)                                                   \
    {                                                                                              \
        trip_loop(trip, which, ring, await);                                                       \
    }                                                                                              \
    static const struct trip_kind id = {make, id##_loop};

/* --- runs, for the table of subjects; `what` is a trip_kind, `x` is 1 for processes --- */

static inline struct trip *trip_new(const struct bench_subject *self)
{
    const struct trip_kind *kind = self->what;
    struct trip *t = bench_shared(sizeof *t);
    t->processes = self->x != 0;
    t->asked = kind->make(t->processes);
    t->answered = kind->make(t->processes);
    t->loop = kind->loop;
    return t;
}

static inline int64_t trip_run(void *trip, long n)
{
    struct trip *t = trip;
    t->n = n;
    return bench_together(2, t->processes, t->loop, t);
}

static inline double trip_busy(const struct bench_subject *self)
{
    return bench_per_operation(trip_run, trip_new(self));
}

static inline int trip_compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static inline double trip_asleep(const struct bench_subject *self)
{
    struct trip *t = trip_new(self);
    long n = bench_budget() / TRIP_REST;
    t->rests = true;
    n = n < 16 ? 16 : n > TRIP_MOST ? TRIP_MOST : n;
    trip_run(t, n);
    qsort(t->took, (size_t)n, sizeof *t->took, trip_compare);
    return (double)t->took[n / 2];
}

#define TRIP_THREAD_CASES(stem, name, kind, info)                                                  \
    BENCH_AS(info, stem "_threads_busy", name, trip_busy, &kind, 0),                               \
        BENCH_AS(info, stem "_threads_asleep", name, trip_asleep, &kind, 0)

#define TRIP_PROCESS_CASES(stem, name, kind, info)                                                 \
    BENCH_AS(info, stem "_processes_busy", name, trip_busy, &kind, 1),                             \
        BENCH_AS(info, stem "_processes_asleep", name, trip_asleep, &kind, 1)

#endif
