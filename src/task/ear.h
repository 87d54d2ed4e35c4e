/* Ears: helper threads that sleep on shared words in place of loops, which sleep in epoll. For where the
 * kernel cannot do this by itself; see proxy.h, which is their only user. */
#ifndef PL_TASK_EAR_H
#define PL_TASK_EAR_H

#include <stdbool.h>
#include <stdint.h>

struct pl_ear;

/* A word that is listened to; the start of a block of malloc. */
struct pl_heard {
    struct pl_heard *next, *prev; /* of the ear's, of the box's; under the ears' lock */
    struct pl_ear *ear;           /* that listens; NULL: heard. Under the lock */
    struct pl_heard_box *box;     /* NULL: withdrawn. Under the lock */
    uint32_t *word;               /* constant, as is the next */
    uint32_t seen;
    bool slept_on; /* the ear sleeps on it, or has just done so. Under the lock */
    bool woken;    /* a wake-up may have been swallowed. Under the lock; constant once heard */
};

/* Where ears put what they have heard for one loop. Zeroed: nothing. */
struct pl_heard_box {
    struct pl_heard *first, *last; /* under the lock */
    int bell;                      /* eventfd that is written to; constant */
    uint32_t any;                  /* atomic: it is worth a look */
};

/* Listens: h->box, word and seen are filled in. From pl_ears_go on at the latest. False: no memory, no thread. */
bool pl_ear_listen(struct pl_heard *h);
void pl_ears_go(void);

/* The oldest that was heard. NULL: none. The caller's from now on. */
struct pl_heard *pl_ear_take(struct pl_heard_box *box);

/* Ends listening to what was not taken; frees the block, now or later. A wake-up that it has swallowed is passed on. */
void pl_ear_withdraw(struct pl_heard *h);

/* Makes the loop look. */
void pl_heard_ring(const struct pl_heard_box *box);

/* How many helper threads there are: they are no workers, but count as threads of the process. */
int pl_ears(void);

/* Tests: ears end after so many ns without work. */
void pl_ears_tire_after(int64_t ns);

#endif
