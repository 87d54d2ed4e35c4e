/* A pairing heap with a binary counter at its top.
 *
 * What it is for: timeouts. Nearly each wait has one, nearly none expires. So adding and removing must cost
 * next to nothing, while the earliest has to be known at once.
 *
 * Why not a binary heap: both cost a walk of log n nodes, each a cache miss when there are millions. Why
 * not a wheel: its slots are ticks, and instants here are ns, to be served in their exact order; a wheel
 * that sorts what falls into a tick is two structures, and has to be turned while nothing happens.
 *
 * A pairing heap is a tree in which no timer is due before its parent. Adding: the newcomer becomes a
 * child of the top, or the top. Removing: the timer's children are made one tree, two by two, and
 * that goes below the top. Most timers have no child or one.
 *
 * Naive, so far: a million timers added become a million children of the top, and who removes the top
 * must go through them all: cheap on average, and once a stall of many ms. Cure: the children of the top
 * grow like a binary number. The k-th timer placed below a top first takes over as many of the latest
 * trees there as k - 1 has ones at its end; what it meets is in the cache, for it came
 * just before. After k placings there are no more trees than k has ones, instead of k of them.
 *
 * Facts: 1 no timer comes before its parent, by instant and then by turn.
 *        2 `first` is NULL only if the queue is empty, and has neither siblings nor parent.
 *        3 x->prev->child == x if and only if x is a first child.
 *        4 no walk is deeper than one list of siblings, and none is recursive. */
#include "task/timers.h"

static bool comes_before(const struct pl_timer *a, const struct pl_timer *b)
{
    return a->when != b->when ? a->when < b->when : a->turn < b->turn;
}

/* --- trees: `next` and `prev` of their tops mean nothing here --- */

static void put_below(struct pl_timer *parent, struct pl_timer *child)
{
    child->next = parent->child;
    child->prev = parent;
    if (child->next)
        child->next->prev = child;
    parent->child = child;
}

static struct pl_timer *merge(struct pl_timer *a, struct pl_timer *b)
{
    if (comes_before(b, a)) {
        put_below(b, a);
        return b;
    }
    put_below(a, b);
    return a;
}

/* Takes a tree that is not the whole out of the heap. */
static void cut(struct pl_timer *timer)
{
    if (timer->prev->child == timer)
        timer->prev->child = timer->next;
    else
        timer->prev->next = timer->next;
    if (timer->next)
        timer->next->prev = timer->prev;
}

/* Makes one tree of a list of siblings; NULL of none. By pairs from the front, then these together from the back: it is this
 * order that makes removing cost log n on average. */
static struct pl_timer *merge_all(struct pl_timer *list)
{
    struct pl_timer *pairs = NULL, *whole = NULL;
    while (list) {
        struct pl_timer *one = list, *two = list->next;
        list = two ? two->next : NULL;
        struct pl_timer *pair = two ? merge(one, two) : one;
        pair->next = pairs;
        pairs = pair;
    }
    while (pairs) {
        struct pl_timer *pair = pairs;
        pairs = pair->next;
        whole = whole ? merge(pair, whole) : pair;
    }
    return whole;
}

/* --- the queue --- */

static void make_first(struct pl_timers *timers, struct pl_timer *tree, uint64_t placed)
{
    timers->first = tree;
    timers->placed = placed;
    if (!tree)
        return;
    tree->prev = tree;
    tree->next = NULL;
}

/* Puts a tree below the top, which comes before all in it. */
static void place(struct pl_timers *timers, struct pl_timer *tree)
{
    struct pl_timer *top = timers->first;
    for (uint64_t ones = timers->placed++; (ones & 1) && top->child; ones >>= 1) {
        struct pl_timer *latest = top->child;
        cut(latest);
        tree = merge(latest, tree);
    }
    put_below(top, tree);
}

void pl_timers_add(struct pl_timers *timers, struct pl_timer *timer, int64_t when)
{
    struct pl_timer *top = timers->first;
    *timer = (struct pl_timer){.when = when, .turn = timers->turns++};
    timers->count++;
    if (top && !comes_before(timer, top)) {
        place(timers, timer);
        return;
    }
    make_first(timers, timer, 0);
    if (top)
        place(timers, top);
}

void pl_timers_remove(struct pl_timers *timers, struct pl_timer *timer)
{
    if (!pl_timer_is_queued(timer))
        return;
    timers->count--;
    if (timer == timers->first) {
        make_first(timers, merge_all(timer->child), 0);
    } else {
        cut(timer);
        struct pl_timer *orphans = merge_all(timer->child);
        if (orphans)
            place(timers, orphans);
    }
    timer->child = timer->next = timer->prev = NULL;
}

struct pl_timer *pl_timers_expired(struct pl_timers *timers, int64_t now)
{
    struct pl_timer *due = timers->first;
    if (!due || due->when > now)
        return NULL;
    pl_timers_remove(timers, due);
    return due;
}
