/* Watching shared words by io_uring's futex waits, or by ears.
 *
 * Naive: one waits for the word, and when it is told, tells the task. Its hole: FUTEX_WAKE wakes a number of
 * sleepers, and a proxy counts as one. If the task has given up meanwhile (timed out, cancelled), the wake-up
 * that its proxy got is lost, and another process that waits on the word sleeps on.
 * Cure: every wake-up that a watch takes out of the kernel's queue is either told to the sleeper, whose rules
 * then apply, or passed on by waking one other sleeper of the word. The facts:
 *  1. A watch in the ring ends in exactly one result. 0: it was taken from the queue by a wake-up. -EAGAIN: the word
 *     differed when it was submitted, it has never been in the queue. -ECANCELED: a cancellation has taken it out of the
 *     queue, under the queue's lock; a wake-up has not and will not count it.
 *  2. A cancellation that comes too late does nothing: the result is 0 and soon there.
 *  3. So a disarmed watch stays known (GONE) until its result is there. If that is 0, one is woken instead.
 *     As a rule that is before pl_proxy_disarm returns; if the waker is in the middle of it, by the next collect,
 *     for which the bell rings.
 *  4. A watch that was not submitted, and one told, have no wake-up to pass on.
 *  5. For ears the same holds with "may have been taken" for "was taken": see ear.c.
 *  6. Nothing is written into shared memory. When the process dies the kernel takes its watches out of the
 *     queues, as it does with sleeping threads; a wake-up that had reached one is lost as that of a thread is.
 *
 * Orders. The word is compared by the kernel under its queue's lock, which a waker takes after it has changed the
 * word: so either the change is seen, or the wake-up finds the watch. Nothing else is learned from the word here;
 * the sleeper looks at it again with the order that its primitive needs. A result and its ring's indices are paired
 * with the kernel in uring.c; boxes and ears are under the ears' lock.
 *
 * A state is written by the loop's thread only. */
#include "task/proxy.h"

#include "base/atomic.h"
#include "park/park.h"
#include "port/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { ENTRIES = 64, RESULTS = 1024 }; /* of a ring; more results wait in the kernel */

enum state {
    FRESH, /* in that queue */
    RINGS, /* in the ring */
    EARS,  /* with an ear, or in the box */
    READY, /* in that queue */
    TOLD,
    GONE, /* disarmed, still in the ring */
};

struct pl_proxied {
    struct pl_heard heard; /* first: who frees that frees all. With the word, and what was seen */
    struct pl_proxied *next, *prev; /* in a queue */
    struct pl_proxied *next_known, *prev_known;
    void *sleeper;
    enum state state;
    bool woken; /* READY: by a wake-up */
};

/* --- lists --- */

static void append(struct pl_proxy_queue *q, struct pl_proxied *e)
{
    e->next = NULL;
    e->prev = q->last;
    *(q->last ? &q->last->next : &q->first) = e;
    q->last = e;
}

static void take_out(struct pl_proxy_queue *q, struct pl_proxied *e)
{
    *(e->prev ? &e->prev->next : &q->first) = e->next;
    *(e->next ? &e->next->prev : &q->last) = e->prev;
}

static void know(struct pl_proxies *p, struct pl_proxied *e)
{
    e->prev_known = NULL;
    e->next_known = p->known;
    if (p->known)
        p->known->prev_known = e;
    p->known = e;
}

static void unknow(struct pl_proxies *p, struct pl_proxied *e)
{
    *(e->prev_known ? &e->prev_known->next_known : &p->known) = e->next_known;
    if (e->next_known)
        e->next_known->prev_known = e->prev_known;
}

static void drop(struct pl_proxies *p, struct pl_proxied *e)
{
    unknow(p, e);
    free(e);
}

static void pass_on(const struct pl_proxied *e)
{
    pl_unpark_another(e->heard.word);
}

static void make_ready(struct pl_proxies *p, struct pl_proxied *e, bool woken)
{
    e->state = READY;
    e->woken = woken;
    append(&p->ready, e);
}

/* --- the ring --- */

static uint64_t name_of(struct pl_proxied *e)
{
    return (uintptr_t)e;
}

static struct pl_proxied *named(uint64_t name)
{
    return (struct pl_proxied *)(uintptr_t)name;
}

/* A watch is out of the ring; facts 1 to 3. */
static void leave_ring(struct pl_proxies *p, struct pl_proxied *e, bool woken)
{
    p->in_kernel--;
    if (e->state == RINGS) {
        make_ready(p, e, woken);
        return;
    }
    if (woken)
        pass_on(e);
    drop(p, e);
}

/* The kernel answers no more (a filter was put up, memory is short): all that it had counts as woken. Closing
 * alone would leave the watches in the queues for a while, where they would take wake-ups for nobody. */
static void give_up_ring(struct pl_proxies *p)
{
    pl_uring_withdraw_all(&p->ring);
    pl_uring_close(&p->ring);
    p->has_ring = false;
    for (struct pl_proxied *e = p->known, *next; e; e = next) {
        next = e->next_known;
        if (e->state == RINGS || e->state == GONE)
            leave_ring(p, e, true);
    }
}

/* False: there was nothing. */
static bool take_what_is_there(struct pl_proxies *p)
{
    struct pl_uring_result r;
    bool any = false;
    while (pl_uring_take(&p->ring, &r)) {
        any = true;
        if (r.rc != 0 && r.rc != -EAGAIN && r.rc != -ECANCELED)
            p->ring_is_bad = true; /* ears may do better */
        leave_ring(p, named(r.name), r.rc == 0);
    }
    return any;
}

/* Submits what is written. False: the ring was given up. */
static bool enter_ring(struct pl_proxies *p)
{
    int rc;
    while ((rc = pl_uring_enter(&p->ring)) == -EBUSY)
        take_what_is_there(p);
    if (rc < 0)
        give_up_ring(p);
    return rc == 0;
}

/* Takes all results there are. The kernel hands out a few at a time. It may say that it holds some back when it
 * does not: a waker adds its result and then sets the flag, and if we have taken the result in between, the flag
 * stays. So an enter that brings nothing is the last; what is added later rings the bell. */
static void take_results(struct pl_proxies *p)
{
    bool entered = false;
    while (p->has_ring) {
        bool any = take_what_is_there(p);
        if (!pl_uring_holds_back(&p->ring) || (entered && !any))
            return;
        entered = enter_ring(p);
    }
}

/* --- beginning --- */

static bool has_bell(struct pl_proxies *p)
{
    if (p->begun)
        return true;
    int saved = errno;
    int fd = pl_descriptor_above_streams(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    errno = saved;
    if (fd < 0)
        return false;
    p->bell = p->box.bell = fd;
    p->begun = true;
    p->has_ring = pl_uring_open(&p->ring, ENTRIES, RESULTS, fd) == 0;
    return true;
}

static bool give_to_ears(struct pl_proxies *p, struct pl_proxied *e)
{
    e->heard.box = &p->box;
    if (!pl_ear_listen(&e->heard))
        return false;
    e->state = EARS;
    p->ears_have_news = true;
    return true;
}

int pl_proxy_fd(const struct pl_proxies *p)
{
    return p->begun ? p->bell : -1;
}

struct pl_proxied *pl_proxy_arm(struct pl_proxies *p, uint32_t *word, uint32_t seen, void *sleeper)
{
    int saved = errno;
    struct pl_proxied *e = has_bell(p) ? calloc(1, sizeof *e) : NULL;
    errno = saved;
    if (!e)
        return NULL;
    e->heard.word = word;
    e->heard.seen = seen;
    e->sleeper = sleeper;
    if (p->has_ring && !p->ring_is_bad) {
        e->state = FRESH;
        append(&p->fresh, e);
    } else if (!give_to_ears(p, e)) {
        free(e);
        return NULL;
    }
    know(p, e);
    return e;
}

/* --- submitting --- */

/* Into the ring, or, if that fails on the way, to the ears. */
static void submit_one(struct pl_proxies *p, struct pl_proxied *e)
{
    while (p->has_ring && !pl_uring_wait(&p->ring, e->heard.word, e->heard.seen, name_of(e)))
        enter_ring(p);
    if (p->has_ring) {
        e->state = RINGS;
        p->in_kernel++;
    } else if (!give_to_ears(p, e)) {
        make_ready(p, e, false); /* for no reason, rather than never */
    }
}

void pl_proxy_submit(struct pl_proxies *p)
{
    struct pl_proxied *e;
    bool any = p->fresh.first;
    while ((e = p->fresh.first)) {
        take_out(&p->fresh, e);
        submit_one(p, e);
    }
    if (any && p->has_ring)
        enter_ring(p);
    if (p->ears_have_news) {
        p->ears_have_news = false;
        pl_ears_go();
    }
    if (p->ready.first) /* found in passing, by an enter for another reason */
        pl_heard_ring(&p->box);
}

/* --- telling --- */

static void tell(struct pl_proxied *e, void (*told)(void *sleeper))
{
    e->state = TOLD;
    told(e->sleeper);
}

void pl_proxy_collect(struct pl_proxies *p, void (*told)(void *sleeper))
{
    struct pl_proxied *e;
    struct pl_heard *h;
    take_results(p);
    while ((e = p->ready.first)) {
        take_out(&p->ready, e);
        tell(e, told);
    }
    while ((h = pl_ear_take(&p->box)))
        tell((struct pl_proxied *)h, told);
}

/* --- ending --- */

static void leave_ring_early(struct pl_proxies *p, struct pl_proxied *e)
{
    e->state = GONE;
    uint64_t name = name_of(e);
    while (p->has_ring && !pl_uring_cancel(&p->ring, name))
        enter_ring(p);
    if (p->has_ring && enter_ring(p))
        take_results(p);
}

void pl_proxy_disarm(struct pl_proxies *p, struct pl_proxied *e)
{
    switch (e->state) {
    case FRESH:
        take_out(&p->fresh, e);
        break;
    case RINGS:
        leave_ring_early(p, e);
        return;
    case EARS:
        unknow(p, e);
        pl_ear_withdraw(&e->heard);
        return;
    case READY:
        take_out(&p->ready, e);
        if (e->woken)
            pass_on(e);
        break;
    case TOLD:
    case GONE:
        break;
    }
    drop(p, e);
}

static void close_bell(struct pl_proxies *p)
{
    int saved = errno;
    if (p->begun)
        close(p->bell);
    errno = saved;
    memset(p, 0, sizeof *p);
}

void pl_proxies_end(struct pl_proxies *p)
{
    while (p->has_ring && p->in_kernel > 0 && enter_ring(p)) /* fact 2: soon */
        take_results(p);
    if (p->has_ring)
        pl_uring_close(&p->ring);
    close_bell(p);
}

void pl_proxies_forget(struct pl_proxies *p)
{
    if (p->has_ring)
        pl_uring_forget(&p->ring);
    /* Forwards only: at the fork its thread may have been about to change the list. */
    for (struct pl_proxied *e = p->known, *next; e; e = next) {
        next = e->next_known;
        free(e);
    }
    close_bell(p);
}
