/* What the lock offers to its neighbours in this folder. */
#ifndef PL_SYNC_LOCK_WORD_H
#define PL_SYNC_LOCK_WORD_H

#include "base/atomic.h"
#include "park/park.h"

#include <plait/lock.h>

/* The word: who holds it (0: free), and two flags with a law each.
 *
 * PL_LOCK_WAITERS  someone may be asleep on the word. Set by a worker before it sleeps; kept by a
 *                  release; cleared by the releaser that wakes nobody. May be set with no sleeper
 *                  (costs a system call); must never be clear with one.
 * PL_LOCK_HUNGRY   a sleeper has waited too long: newcomers must not take a free lock, only workers
 *                  that have slept. Set by the hungry one, cleared by a hungry one that takes the
 *                  lock or with WAITERS. May be set with nobody hungry (newcomers then sleep for
 *                  1 ms at most).
 * PL_LOCK_FAIR     first come, first served: see fair.c. Set by plait_lock_init, then constant. HUNGRY
 *                  is never set with it. Since the word is never 0 then, the fast path never takes it.
 *
 * Held is `id != 0`; so free with waiters is a state of its own, and the flag outlives the holder. */
#define PL_LOCK_WAITERS UINT32_C(0x80000000)
#define PL_LOCK_HUNGRY UINT32_C(0x40000000)
#define PL_LOCK_FAIR UINT32_C(0x20000000)
#define PL_LOCK_FLAGS (PL_LOCK_WAITERS | PL_LOCK_HUNGRY | PL_LOCK_FAIR)

static inline uint32_t pl_lock_holder(const plait_lock *lock)
{
    return pl_load_relaxed(&lock->word_) & PL_ID_MASK;
}

static inline bool pl_lock_is_mine(const plait_lock *lock)
{
    return pl_self.id && pl_lock_holder(lock) == pl_self.id;
}

/* As plait_lock_acquire; `kind` is what goes on record: PL_WAIT_LOCK, PL_WAIT_RLOCK; `site` is for lockdep. */
int pl_lock_acquire_as(plait_lock *lock, enum pl_wait_kind kind, int64_t timeout, const void *site);

/* Takes the lock without timeout, whatever is asked of the worker meanwhile: 0, PLAIT_OWNER_DIED or
 * PLAIT_EPRIVATE. Requires: the caller is registered. */
int pl_lock_acquire_certainly(plait_lock *lock, enum pl_wait_kind kind);

/* --- between lock.c and fair.c --- */

/* Whether the holder is gone for this lock: dead, or (a forked copy) never there. */
bool pl_lock_is_lost(const plait_lock *lock, uint32_t holder);

/* Takes over from a holder that is: the word becomes `next`. PLAIT_OWNER_DIED; 0: it is another by now;
 * PLAIT_EPRIVATE: it lies in shared memory that is not the arena's. */
int pl_lock_inherit(plait_lock *lock, uint32_t seen, uint32_t next);

/* The slow path of a fair lock. As plait_lock_acquire. */
int pl_fair_acquire(plait_lock *lock, struct pl_wait *wait);

/* One try of it, and one sleep: as plait_lock_acquire, or PLAIT_EBUSY: not yet, and the place in the line is
 * kept. To be called until it says something else. */
int pl_fair_round(plait_lock *lock, struct pl_wait *wait);

/* Calls the first in the line of a free lock. False: there is none. */
bool pl_fair_call(plait_lock *lock);

/* Puts the holder of a fair lock into its line, behind all who stand there; it then releases, and goes on with
 * pl_fair_round. */
void pl_fair_queue(plait_lock *lock);

/* Takes the lock within a wait that has begun, whatever its kind: 0, PLAIT_OWNER_DIED, or why not.
 * Requires: the caller is registered. */
int pl_lock_acquire_within(plait_lock *lock, struct pl_wait *wait);

/* Whether the worker that a word at `where` names is gone for this process: dead, or the word is a copy
 * that fork made of one in another process. 1: gone; 0: it lives; PLAIT_EPRIVATE: it lives in another
 * process, and the memory is shared without our knowing. */
int pl_holder_lost(const void *where, uint32_t holder);

/* Undoes an acquire that returned PLAIT_OWNER_DIED: the lock is the dead one's again, and the next to
 * acquire it is told as this worker was. Requires: the caller holds it and has not asked for the blame. */
void pl_lock_disinherit(plait_lock *lock);

#endif
