/* io_uring as far as plait needs it: futex waits that end in a queue instead of in a sleeping thread.
 *
 * A ring belongs to the thread that opened it; no other may use it. Its memory is not inherited by forked
 * children. Errors are -errno; errno itself is left alone. */
#ifndef PL_PORT_URING_H
#define PL_PORT_URING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pl_uring {
    int fd;
    char *rings,
        *entries; /* mapped: both rings' heads, tails and results; what is to be submitted */
    size_t rings_size, entries_size;
    uint32_t *head, *tail, *flags;            /* submission: the kernel writes head and flags */
    uint32_t *done_head, *done_tail;          /* completion: the kernel writes the tail */
    char *done;                               /* results */
    uint32_t mask, done_mask, n, unsubmitted; /* sizes; entries written since the last enter */
};

/* How one wait has ended: 0 woken, -EAGAIN the word differed, -ECANCELED, or another -errno. */
struct pl_uring_result {
    uint64_t name;
    int rc;
};

/* A ring that takes up to `n` entries at a time (a power of 2) and has room for `results`; more results wait
 * in the kernel. Each time there may be something new, eventfd `bell` is written to. 0; -ENOSYS: not with
 * this kernel, or not allowed, and never will be; else for now: -ENOMEM, -EMFILE, ... */
int pl_uring_open(struct pl_uring *ring, uint32_t n, uint32_t results, int bell);

/* Writes an entry, to be submitted by the next enter. False: no room, enter first. `name` is not 0. */
bool pl_uring_wait(struct pl_uring *ring, uint32_t *word, uint32_t seen, uint64_t name);
bool pl_uring_cancel(struct pl_uring *ring, uint64_t name);

/* Submits what was written and lets the kernel deliver. 0; -EBUSY: results have to be taken first; else the
 * ring is of no use any more. */
int pl_uring_enter(struct pl_uring *ring);

/* Whether the kernel holds results back until the next enter; true also for no reason, for as long as there are none. */
bool pl_uring_holds_back(const struct pl_uring *ring);

/* Takes the oldest result. False: there is none. */
bool pl_uring_take(struct pl_uring *ring, struct pl_uring_result *ret);

/* Takes all waits out of their queues at once, without pl_uring_enter, which may have failed. Their
 * results are lost. */
void pl_uring_withdraw_all(struct pl_uring *ring);

/* The kernel drops waits that are left, but later, in a thread of its own; a wake-up that comes before
 * that is lost. */
void pl_uring_close(struct pl_uring *ring);
/* In a forked child, where only the descriptor is there. */
void pl_uring_forget(struct pl_uring *ring);

/* Tests: behave as a kernel without io_uring from now on. */
void pl_uring_forget_all(void);

#endif
