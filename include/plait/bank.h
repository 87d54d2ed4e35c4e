/* plait_bank: resources of several kinds, lent so that a deadlock cannot come about (banker's
 * algorithm).
 *
 * Where semaphores count what is free, a bank also knows what each worker may yet ask for. It lends
 * only if after that there is still an order in which everybody can get all that he has claimed
 * and give it back; whoever would spoil that waits, though there be enough. Without: two workers each
 * hold two of three buffers' worth of work and both wait for one more, for ever.
 *
 *     enum { BUFFERS, PRINTERS, KINDS };
 *     plait_bank *bank = plait_alloc(sizeof *bank);             // or anywhere, for one process
 *     plait_bank_init(bank, (int[]){10, 2}, KINDS);
 *
 *     plait_bank_declare(bank, (int[]){4, 1});                  // each worker: never more than this
 *     if (plait_bank_acquire(bank, (int[]){3, 0}, PLAIT_FOREVER) == 0) {
 *         ...
 *         plait_bank_acquire(bank, (int[]){0, 1}, PLAIT_FOREVER); // and more while it has some
 *         plait_bank_release(bank, (int[]){3, 1});
 *     }
 *     plait_bank_leave(bank);
 *
 * For threads and processes at once: in ordinary memory for this process, in the arena for the family
 * (about 10 KiB). Nothing to destroy. All bytes zero is a bank that has no kinds yet: every call but
 * plait_bank_init answers PLAIT_EINVAL.
 *
 * Fairness: who asks first is served first, if what it asks for can be lent; else later ones may
 * overtake it, but PLAIT_BANK_OVERTAKEN times at most: then no worker that holds nothing gets
 * anything before it. (Those that hold something must go on, or they could never give it back.) So
 * nobody starves, provided that each worker now and then gives all back.
 *
 * Death: what a dead worker held, claimed and asked for is the bank's again at once; those who
 * wait are told nothing but served. A worker that ends without plait_bank_leave counts as dead. A death in
 * the middle of a call leaves things as if the call had happened wholly or not at all.
 *
 * Limits: PLAIT_BANK_KINDS kinds, PLAIT_BANK_CLAIMANTS workers at a time. The bank sees only what it
 * lends: a worker that also waits for locks held by others can still deadlock with them. A worker that is stopped
 * (SIGSTOP) in the middle of a call holds the others up until it goes on.
 * Python's counterpart: none. */
#ifndef PLAIT_BANK_H
#define PLAIT_BANK_H

#include <plait/clock.h>
#include <plait/error.h>
#include <plait/lock.h>
#include <stdint.h>

PLAIT_BEGIN_DECLS

enum {
    PLAIT_BANK_KINDS = 8,
    PLAIT_BANK_CLAIMANTS = 64,
    PLAIT_BANK_OVERTAKEN = 16, /* times a waiting worker lets later ones pass */
};

/* A worker that has declared what it may need. Not for direct use; see src/sync/bank.c. */
struct plait_bank_row_ {
    uint32_t id_; /* the worker; 0: the row is free */
    uint32_t word_;
    uint64_t ticket_;
    uint32_t overtaken_;
    int32_t claim_[PLAIT_BANK_KINDS];
    int32_t want_[PLAIT_BANK_KINDS];
    int32_t held_[2][PLAIT_BANK_KINDS];
};

typedef struct plait_bank {
    plait_lock lock_;
    int32_t kinds_;
    int32_t pid_; /* the process whose rows these are, if the memory is private */
    uint64_t tickets_;
    int32_t total_[PLAIT_BANK_KINDS];
    struct plait_bank_row_ rows_[PLAIT_BANK_CLAIMANTS];
} plait_bank;

/* Opens a bank that owns totals[k] of each of `kinds` kinds; nobody holds or claims anything.
 * Requires: nobody uses it. The arrays of this and all calls below have `kinds` numbers.
 * Returns: 0, PLAIT_EINVAL (NULL, a negative number, kinds outside 1 to PLAIT_BANK_KINDS).
 * Never blocks. */
PLAIT_API int plait_bank_init(plait_bank *bank, const int *totals, int kinds);

/* Says that the calling worker will never hold more than claims[k] at once.
 * Returns: 0; PLAIT_EOVERFLOW (more than the bank owns), PLAIT_EBUSY (it has declared before and not
 *   left), PLAIT_EWORKERS (PLAIT_BANK_CLAIMANTS others have), PLAIT_EINVAL (NULL, negative, no bank), PLAIT_EPRIVATE
 *   (memory shared with other processes, but not the arena's), and as registering may fail:
 *   PLAIT_EARENA, PLAIT_ENOMEM, PLAIT_EWORKERS. Negative: nothing is changed.
 * Blocks: only while others are in the middle of a call. Who: threads, processes, tasks, each for itself;
 *   not signal handlers; after fork, yes: the child has declared nothing. */
PLAIT_API int plait_bank_declare(plait_bank *bank, const int *claims);

/* Takes want[k] of each kind, all or none, waiting until the bank may lend them. Nothing wanted is
 * got at once.
 * Returns: 0, PLAIT_ETIMEDOUT, PLAIT_ECANCELED; PLAIT_EPERM (it has not declared), PLAIT_EOVERFLOW (more
 *   than is left of its claim; timeout too large), PLAIT_EINVAL (NULL, negative, timeout below -1, no
 *   bank), PLAIT_EPRIVATE. Negative: nothing was taken.
 * Blocks: yes, cancellable. Who: threads, processes, tasks; not signal handlers.
 * Ordering: what those who gave it back wrote before is visible. */
PLAIT_API int plait_bank_acquire(plait_bank *bank, const int *want, int64_t timeout);

/* Gives back give[k] of each kind and lets those go on who can be served now.
 * Returns: 0; PLAIT_EOVERFLOW (more than it holds), PLAIT_EPERM (it has not declared), PLAIT_EINVAL,
 *   PLAIT_EPRIVATE. Negative: nothing is changed.
 * Blocks: only while others are in the middle of a call. Who: threads, processes, tasks, for themselves; not
 *   signal handlers. Ordering: what was written before is visible to those who are lent it. */
PLAIT_API int plait_bank_release(plait_bank *bank, const int *give);

/* Gives back all that the calling worker holds, and its claim.
 * Returns: 0; PLAIT_EPERM (it has not declared), PLAIT_EINVAL, PLAIT_EPRIVATE. Blocks: as
 *   plait_bank_release. Who: threads, processes, tasks, for themselves; not signal handlers. */
PLAIT_API int plait_bank_leave(plait_bank *bank);

/* Fills ret[k] with what nobody holds; true of a moment past, and more than may be lent. Anyone may ask.
 * Returns: 0; PLAIT_EINVAL, PLAIT_EPRIVATE, or as registering may fail. Blocks: as
 *   plait_bank_release. Who: threads, processes, tasks; not signal handlers. */
PLAIT_API int plait_bank_available(plait_bank *bank, int *ret);

PLAIT_END_DECLS
#endif
