/* What the lock offers to its neighbours in this folder. */
#ifndef PL_SYNC_LOCK_WORD_H
#define PL_SYNC_LOCK_WORD_H

#include "base/atomic.h"
#include "base/self.h"

#include <plait/lock.h>

/* The word: who holds it (0: free), and two flags with a law each.
 *
 * PL_LOCK_WAITERS  someone may be asleep on the word. Set by a worker before it sleeps; kept by a
 *                  release; cleared by the releaser that wakes nobody. May be set with no sleeper
 *                  (costs a system call); must never be clear with one.
 * PL_LOCK_HUNGRY   a sleeper has waited too long: newcomers must not take a free lock, only workers
 *                  that have slept. Set by the hungry one, cleared by a hungry one that takes the
 *                  lock or with WAITERS. May be set with nobody hungry (newcomers then sleep for a
 *                  nap at most).
 *
 * Held is `id != 0`; so free with waiters is a state of its own, and the flag outlives the holder. */
#define PL_LOCK_WAITERS UINT32_C(0x80000000)
#define PL_LOCK_HUNGRY UINT32_C(0x40000000)
#define PL_LOCK_FLAGS (PL_LOCK_WAITERS | PL_LOCK_HUNGRY)

static inline uint32_t pl_lock_holder(const plait_lock *lock)
{
    return pl_load_relaxed(&lock->word_) & PL_ID_MASK;
}

static inline bool pl_lock_is_mine(const plait_lock *lock)
{
    return pl_self.id && pl_lock_holder(lock) == pl_self.id;
}

/* Takes the lock without timeout, whatever is asked of the worker meanwhile: 0, PLAIT_OWNER_DIED or
 * PLAIT_EPRIVATE. Requires: the caller is registered. */
int pl_lock_acquire_certainly(plait_lock *lock);

#endif
