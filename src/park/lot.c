/* The parking lot: queues of sleepers on private words, in this process's memory.
 *
 * A fixed table of buckets, found by the word's address; each is a queue under a small lock. To
 * park: take the bucket's lock, compare the word, join the queue, let the lock go, sleep. To wake:
 * take the lock, take the first sleepers of that word out, let go, wake them. Since comparing and
 * joining happen under the lock that a waker takes after it changed the word, no wake-up is lost:
 *
 *   waiter: lock bucket; if (*word == seen) join; unlock       waker: change *word; lock bucket; ...
 *
 *   Either the waiter sees the change and does not sleep, or the waker finds it in the queue. The
 *   waker may look at the number of queued sleepers first and save the lock: the fences of the pair
 *   lot.count make that safe (both store, then load the other's).
 *
 * Only threads of this process come here and none of them can die alone, so the lot needs no
 * recovery. A forked child starts with an empty lot: the sleepers it would find are the parent's. */
#include "base/atomic.h"
#include "park/park.h"
#include "port/futex.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

enum { BUCKETS_LOG = 8, BUCKETS = 1 << BUCKETS_LOG };

struct bucket {
    uint32_t lock;   /* 0 free, 1 taken, 2 taken and waited for */
    uint32_t queued; /* sleepers in the queue; written under the lock, read without */
    struct pl_parked *first, *last;
    char apart[40]; /* a cache line each */
};

static struct bucket lot[BUCKETS] __attribute__((aligned(64)));

static struct bucket *bucket_of(const uint32_t *word)
{
    uint64_t hash = (uint64_t)(uintptr_t)word * UINT64_C(0x9e3779b97f4a7c15);
    return &lot[hash >> (64 - BUCKETS_LOG)];
}

/* The lot cannot use plait's own lock, which parks here. */
static void lock_bucket(struct bucket *b)
{
    uint32_t seen = 0;
    /* A:lot.bucket, pairs with unlock_bucket: the queue as the last one left it. */
    if (pl_cas_acquire(&b->lock, &seen, 1u))
        return;
    while (pl_exchange_acquire(&b->lock, 2u) != 0)
        pl_futex_wait(&b->lock, 2, false, INT64_MAX);
}

static void unlock_bucket(struct bucket *b)
{
    /* R:lot.bucket, pairs with lock_bucket. */
    if (pl_exchange_release(&b->lock, 0u) == 2)
        pl_futex_wake(&b->lock, 1, false);
}

/* Word by word, and plainly: unseen by TSan, which takes the parent's threads for threads of the child, and which sees atomics
 * always. */
__attribute__((no_sanitize("thread"))) static void empty_in_child(void)
{
    for (int i = 0; i < BUCKETS; i++) {
        volatile struct bucket *b = &lot[i];
        if (!b->lock && !b->queued && !b->first) /* mostly: no page is to be copied for that */
            continue;
        b->lock = 0;
        b->queued = 0;
        b->first = NULL;
        b->last = NULL;
    }
}

__attribute__((constructor(101))) static void watch_fork(void)
{
    pthread_atfork(NULL, NULL, empty_in_child);
}

static void join_queue(struct bucket *b, struct pl_parked *node)
{
    node->queued = true;
    node->next = NULL;
    node->prev = b->last;
    if (b->last)
        b->last->next = node;
    else
        b->first = node;
    b->last = node;
}

static void leave_queue(struct bucket *b, struct pl_parked *node)
{
    if (node->prev)
        node->prev->next = node->next;
    else
        b->first = node->next;
    if (node->next)
        node->next->prev = node->prev;
    else
        b->last = node->prev;
    node->queued = false;
    pl_store_relaxed(&b->queued, pl_load_relaxed(&b->queued) - 1);
}

bool pl_lot_enter(struct pl_parked *node)
{
    struct bucket *b = bucket_of(node->word);
    lock_bucket(b);
    /* R:lot.count, pairs with pl_lot_wake: counted before the word is compared, so that a waker
     * that changed the word and then sees no sleepers has been seen by this comparison. */
    pl_fetch_add_seq_cst(&b->queued, 1u);
    bool sleep = pl_load_seq_cst(node->word) == node->seen;
    if (sleep)
        join_queue(b, node);
    else
        pl_store_relaxed(&b->queued, pl_load_relaxed(&b->queued) - 1);
    unlock_bucket(b);
    return sleep;
}

bool pl_lot_leave(struct pl_parked *node)
{
    /* Chosen already: whoever chose us is done with the node. The common case takes no lock. */
    if (pl_load_acquire(&node->woken))
        return true;
    struct bucket *b = bucket_of(node->word);
    lock_bucket(b);
    bool chosen = !node->queued;
    if (!chosen)
        leave_queue(b, node);
    unlock_bucket(b);
    /* Chosen, but `woken` is not set yet: the node must live until it is. */
    while (chosen && !pl_load_acquire(&node->woken)) {
        if (node->sleeper) /* its waker does not wake the word */
            sched_yield();
        else
            pl_futex_wait(&node->woken, 0, false, INT64_MAX);
    }
    return chosen;
}

/* Takes up to n sleepers of `word` out of the queue, oldest first, chained by `next`. */
static struct pl_parked *choose(struct bucket *b, const uint32_t *word, int n)
{
    struct pl_parked *chosen = NULL, **end = &chosen;
    for (struct pl_parked *node = b->first, *next; node && n > 0; node = next) {
        next = node->next;
        if (node->word != word)
            continue;
        leave_queue(b, node);
        node->next = NULL;
        *end = node;
        end = &node->next;
        n--;
    }
    return chosen;
}

int pl_lot_wake(uint32_t *word, int n)
{
    struct bucket *b = bucket_of(word);
    /* A:lot.count, pairs with pl_lot_enter: the caller's change of the word, then this look. */
    if (pl_fetch_add_seq_cst(&b->queued, 0u) == 0)
        return 0;
    lock_bucket(b);
    struct pl_parked *chosen = choose(b, word, n);
    unlock_bucket(b);
    int woken = 0;
    for (struct pl_parked *next; chosen; chosen = next, woken++) {
        next = chosen->next;
        chosen->parker->wake(chosen->parker, chosen);
    }
    return woken;
}

bool pl_lot_holds(const void *address)
{
    return (uintptr_t)address - (uintptr_t)lot < sizeof lot;
}
