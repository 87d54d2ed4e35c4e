/* Timers: a priority queue of instants for one thread, millions of them (timers.c).
 *
 * The caller owns the memory of each timer and says what time it is; nothing is allocated and no clock
 * is read. Not for use by several threads at once. */
#ifndef PL_TASK_TIMERS_H
#define PL_TASK_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A place in the queue; part of what is to happen. Zeroed: not in a queue. */
struct pl_timer {
    int64_t when;           /* the instant; stays readable after it has left the queue */
    uint64_t turn;          /* order of adding, for equal instants */
    struct pl_timer *child; /* the first of those below it: none of them is due before it is */
    struct pl_timer *next;  /* the sibling behind it; NULL: the last */
    struct pl_timer *prev;  /* the sibling before; of a first child its parent; of the first of all
                             * itself; NULL: not in a queue */
};

/* The queue. Zeroed: empty. */
struct pl_timers {
    struct pl_timer *first; /* whose turn is next: the top of the heap; NULL: empty */
    size_t count;
    uint64_t turns;  /* given out so far */
    uint64_t placed; /* below the present top since it got there; see timers.c */
};

/* Adds a timer. Requires: it is not in a queue. */
void pl_timers_add(struct pl_timers *timers, struct pl_timer *timer, int64_t when);

/* Takes a timer out, if it is in. Requires: it is in no other queue. */
void pl_timers_remove(struct pl_timers *timers, struct pl_timer *timer);

/* Removes and returns the earliest timer if it is due at `now`, else NULL. Of equal instants the one
 * that was added first comes first. Timers may be added and removed between two calls. */
struct pl_timer *pl_timers_expired(struct pl_timers *timers, int64_t now);

/* The earliest; NULL: none. */
static inline struct pl_timer *pl_timers_first(const struct pl_timers *timers)
{
    return timers->first;
}

static inline bool pl_timer_is_queued(const struct pl_timer *timer)
{
    return timer->prev != NULL;
}

static inline size_t pl_timers_count(const struct pl_timers *timers)
{
    return timers->count;
}

#endif
