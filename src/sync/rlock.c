/* The rlock: a lock, and how often its holder has it.
 *
 * The lock's word names the holder, so whether the caller has it already is one look: only the caller
 * itself could change that. The depth is the holder's alone, guarded by the lock: what a dead holder left
 * in it is overwritten by the next. */
#include "base/clock.h"
#include "sync/lock_word.h"
#include "sync/lockdep.h"

#include <plait/rlock.h>

static bool is_mine(const plait_rlock *rlock)
{
    return pl_lock_is_mine(&rlock->lock_);
}

int plait_rlock_init(plait_rlock *rlock, const plait_lock_options *options)
{
    if (!rlock)
        return PLAIT_EINVAL;
    rlock->depth_ = 0;
    pl_self.site = __builtin_return_address(0);
    int rc = plait_lock_init(&rlock->lock_, options);
    pl_self.site = NULL;
    return rc;
}

static int acquire_again(plait_rlock *rlock, int64_t timeout)
{
    int rc = pl_check_timeout(timeout);
    if (rc == 0 && rlock->depth_ == UINT32_MAX)
        rc = PLAIT_EOVERFLOW;
    if (rc == 0)
        rlock->depth_++;
    return rc;
}

int plait_rlock_acquire(plait_rlock *rlock, int64_t timeout)
{
    uint32_t mine = pl_self.quick, free_word = 0;
    if (!rlock)
        return PLAIT_EINVAL;
    if (is_mine(rlock))
        return acquire_again(rlock, timeout);
    /* A:lock.word, pairs with plait_lock_release. */
    bool taken = mine && timeout >= PLAIT_FOREVER && timeout <= PLAIT_TIMEOUT_MAX &&
                 pl_cas_acquire(&rlock->lock_.word_, &free_word, mine);
    int rc = taken ? 0 : pl_lock_acquire_as(&rlock->lock_, PL_WAIT_RLOCK, timeout, PL_SITE());
    if (rc >= 0)
        rlock->depth_ = 1;
    return rc;
}

int plait_rlock_release(plait_rlock *rlock)
{
    if (!rlock)
        return PLAIT_EINVAL;
    if (!is_mine(rlock))
        return PLAIT_EPERM;
    return --rlock->depth_ ? 0 : plait_lock_release(&rlock->lock_);
}

uint32_t plait_rlock_depth(const plait_rlock *rlock)
{
    return rlock && is_mine(rlock) ? rlock->depth_ : 0;
}

int plait_rlock_locked(const plait_rlock *rlock)
{
    return rlock && plait_lock_locked(&rlock->lock_);
}

plait_worker plait_rlock_holder(const plait_rlock *rlock)
{
    return plait_lock_holder(rlock ? &rlock->lock_ : NULL);
}

int plait_rlock_blame(plait_rlock *rlock, plait_blame *ret)
{
    return plait_lock_blame(rlock ? &rlock->lock_ : NULL, ret);
}
