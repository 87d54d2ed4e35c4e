/* Lock-order checking, a mode of debugging (PLAIT_LOCKDEP=1); see lockdep.c. What the primitives call. */
#ifndef PL_SYNC_LOCKDEP_H
#define PL_SYNC_LOCKDEP_H

#include "registry/registry.h"

/* Whether the mode is on; see pl_slow_paths_only. */
static inline bool pl_lockdep_is_on(void)
{
    return __builtin_expect(pl_slow_paths_only, 0);
}

/* The caller is about to take the lock that `word` belongs to, from the code at `site`. */
void pl_lockdep_before(uint32_t *word, const void *site);

/* call(lock, timeout), which acquires what `word` belongs to, watched. */
int pl_lockdep_acquire(int (*call)(void *lock, int64_t timeout), void *lock, uint32_t *word,
                       int64_t timeout, const void *site);

/* It has taken it. */
void pl_lockdep_taken(uint32_t *word, const void *site);

/* `holder`, who may be another worker, no longer has it: about to be released. */
void pl_lockdep_released(uint32_t *word, uint32_t holder);

/* The lock has been made new by the code at `site`: locks made there are of one class. */
void pl_lockdep_made(uint32_t *word, const void *site);

/* Where a primitive that is called from within plait stands in the program: a call sets pl_self.site
 * for the calls it makes; who finds none uses its own return address. */
#define PL_SITE() (pl_self.site ? pl_self.site : __builtin_return_address(0))

#endif
