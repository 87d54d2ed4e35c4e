/* Tasks of one thread: what they share with the fibers of other libraries.
 *
 * switch: several take turns, each yields again and again; ns per yield. Starting and joining them is in the
 *   time, and nothing beside as many yields as fill a run.
 * hand-over: an item goes from one task to another and an answer comes back; ns for both ways. A subject
 *   says how an item is put into one of two places and taken from it; a place holds one.
 * parked: x tasks are started and wait for the same thing; when all of them wait they are let go and joined.
 *   ns per task from the first start to the last join, and in the case "..._memory" the bytes that became
 *   resident per task while all waited. */
#ifndef BENCH_TASK_SHAPE_H
#define BENCH_TASK_SHAPE_H

#include "harness.h"

typedef void task_body(void *arg, int which);

/* Runs body(arg, 0) ... body(arg, tasks - 1) in tasks of the calling thread and waits for all. */
typedef void task_crew(int tasks, task_body *body, void *arg);

/* --- switch --- */

struct task_kind {
    task_crew *crew;
    task_body *turns, *hand_over;
};

struct task_work {
    const struct task_kind *kind;
    int tasks;
    long n; /* for each */
};

typedef void task_yield(void);

BENCH_INLINE void task_take_turns(const struct task_work *w, task_yield *yield)
{
    for (long i = 0; i < w->n; i++)
        yield();
}

static inline int64_t task_turns(void *work, long n)
{
    struct task_work *w = (struct task_work *)work;
    int64_t start = bench_now();
    w->n = n / w->tasks + 1;
    w->kind->crew(w->tasks, w->kind->turns, w);
    return bench_now() - start;
}

/* For the table of subjects; `what` is a task_kind, `x` how many tasks. */
static inline double task_switch(const struct bench_subject *self)
{
    struct task_work work = {(const struct task_kind *)self->what, (int)self->x, 0};
    return bench_per_operation(task_turns, &work);
}

/* --- hand-over --- */

enum task_place { TASK_ITEMS, TASK_ANSWERS };

typedef void task_put(enum task_place place, long item);
typedef long task_take(enum task_place place);

BENCH_INLINE void task_exchange(const struct task_work *w, int which, task_put *put,
                                task_take *take)
{
    for (long i = 0; i < w->n; i++) {
        if (which == 1) {
            put(TASK_ANSWERS, take(TASK_ITEMS) + 1);
        } else {
            put(TASK_ITEMS, i);
            bench_check(take(TASK_ANSWERS) == i + 1, "an answer to another item");
        }
    }
}

static inline int64_t task_exchanges(void *work, long n)
{
    struct task_work *w = (struct task_work *)work;
    int64_t start = bench_now();
    w->n = n;
    w->kind->crew(2, w->kind->hand_over, w);
    return bench_now() - start;
}

static inline double task_hand_over(const struct bench_subject *self)
{
    struct task_work work = {(const struct task_kind *)self->what, 2, 0};
    return bench_per_operation(task_exchanges, &work);
}

#define TASK_KIND(id, crew, yield, put, take)                                                      \
    static void id##_turns(void *work, int which)                                                  \
    {                                                                                              \
        (void)which;                                                                               \
        task_take_turns((const struct task_work *)work, yield);                                    \
    }                                                                                              \
    static void id##_hand_over(void *work, int which)                                              \
    {                                                                                              \
        task_exchange((const struct task_work *)work, which, put, take);                           \
    }                                                                                              \
    static const struct task_kind id = {crew, id##_turns, id##_hand_over};

/* --- parked --- */

struct task_gate {
    task_crew *crew;
    task_yield *yield;
    void (*wait)(void); /* until opened */
    void (*open)(void);
};

struct task_queue {
    const struct task_gate *gate;
    long tasks, waiting;
    long before, during; /* bytes resident */
};

/* The last of the crew is the porter, who opens when all others wait. */
static inline void task_park(void *queue, int which)
{
    struct task_queue *q = (struct task_queue *)queue;
    if (which < q->tasks) {
        q->waiting++;
        q->gate->wait();
        return;
    }
    while (q->waiting < q->tasks)
        q->gate->yield();
    q->during = bench_resident(0);
    q->gate->open();
}

/* For the table of subjects; `what` is a task_gate, `x` how many tasks. */
static inline double task_parked(const struct bench_subject *self)
{
    struct task_queue queue = {(const struct task_gate *)self->what, self->x, 0, bench_resident(0),
                               0};
    int64_t start = bench_now();
    queue.gate->crew((int)self->x + 1, task_park, &queue);
    int64_t took = bench_now() - start;
    bench_also("memory", (double)(queue.during - queue.before) / (double)self->x, "B");
    return (double)took / (double)self->x;
}

#endif
