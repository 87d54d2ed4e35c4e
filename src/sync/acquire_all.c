/* Many locks at once, in the order of their addresses.
 *
 * Naive: hold what one has, wait for the next. Two who come in opposite orders wait for each other.
 * Backing off instead (try, give all back, begin anew) trades the deadlock for a livelock. Cure: one
 * order for all. Why addresses give one order over threads and processes:
 *   1 within one process any two locks have different, comparable addresses;
 *   2 a lock in the arena has the same address in every process of the family (D1);
 *   3 a private lock is waited for and held by workers of one process only.
 * Suppose a ring of workers, each inside this call and waiting for a lock that the next one holds.
 * Each waits for a lock above all those it holds. The lock by which a worker is waited for and the one
 * that it waits for are both addresses of its own process, so the second is above the first; and
 * a lock in the arena (2) or of a process that both sides belong to (3) means the same address to
 * the waiter and to the holder. Going round the ring the address would rise for ever: there is no
 * ring. Whoever waits for the topmost lock of all waits for somebody who waits for nobody.
 *
 * The order is found by looking for the next higher address again and again: n * n comparisons, but
 * neither memory to run out of nor a change in an array that others may be reading.
 *
 * A lock that was taken over from a dead holder has `died_` set, and here only such: of a whole one an
 * older record, which nobody has asked for, is forgotten. So the caller can tell them apart, and
 * giving up gives them back to the dead. */
#include "base/atomic.h"
#include "base/clock.h"
#include "sync/lock_word.h"

#include <plait/acquire_all.h>

/* The lock with the lowest address above `floor`; NULL if there is none. */
static plait_lock *next_above(plait_lock *const *locks, int n, const plait_lock *floor)
{
    plait_lock *best = NULL;
    for (int i = 0; i < n; i++)
        if ((uintptr_t)locks[i] > (uintptr_t)floor &&
            (!best || (uintptr_t)locks[i] < (uintptr_t)best))
            best = locks[i];
    return best;
}

/* The one with the highest address below `ceiling`. */
static plait_lock *next_below(plait_lock *const *locks, int n, const plait_lock *ceiling)
{
    plait_lock *best = NULL;
    for (int i = 0; i < n; i++)
        if ((uintptr_t)locks[i] < (uintptr_t)ceiling && (uintptr_t)locks[i] > (uintptr_t)best)
            best = locks[i];
    return best;
}

#define ABOVE_ALL ((const plait_lock *)UINTPTR_MAX)

/* 0 if these are n different locks. */
static int check_locks(plait_lock *const *locks, int n)
{
    if (!locks || n < 1)
        return PLAIT_EINVAL;
    for (int i = 0; i < n; i++) {
        if (!locks[i])
            return PLAIT_EINVAL;
        for (int k = 0; k < i; k++)
            if (locks[i] == locks[k])
                return PLAIT_EINVAL;
    }
    return 0;
}

/* What is left of a timeout that is for the whole. */
static int64_t time_left(int64_t timeout, int64_t deadline)
{
    if (timeout == PLAIT_FOREVER || timeout == PLAIT_NOWAIT)
        return timeout;
    int64_t now = plait_now();
    return now < deadline ? deadline - now : PLAIT_NOWAIT;
}

/* Gives back those below `ceiling`, which this call has taken. */
static void give_back(plait_lock *const *locks, int n, const plait_lock *ceiling)
{
    for (plait_lock *lock = next_below(locks, n, ceiling); lock; lock = next_below(locks, n, lock))
        if (pl_load_relaxed(&lock->died_))
            pl_lock_disinherit(lock);
        else
            plait_lock_release(lock);
}

int plait_acquire_all(plait_lock *const *locks, int n, int64_t timeout)
{
    int rc = check_locks(locks, n), notice = 0;
    if (rc == 0)
        rc = pl_check_timeout(timeout);
    if (rc < 0)
        return rc;
    int64_t deadline = timeout == PLAIT_NOWAIT ? 0 : pl_deadline(timeout);
    for (plait_lock *lock = next_above(locks, n, NULL); lock; lock = next_above(locks, n, lock)) {
        rc = plait_lock_acquire(lock, time_left(timeout, deadline));
        if (rc < 0) {
            give_back(locks, n, lock);
            return rc;
        }
        if (rc == PLAIT_OWNER_DIED)
            notice = rc;
        else if (pl_load_relaxed(&lock->died_))
            pl_store_relaxed(&lock->died_, 0u);
    }
    return notice;
}

int plait_release_all(plait_lock *const *locks, int n)
{
    int rc = check_locks(locks, n);
    if (rc < 0)
        return rc;
    for (int i = 0; i < n; i++)
        if (pl_lock_holder(locks[i]) == 0)
            return PLAIT_EPERM;
    /* From the top, so that who has waited for the lowest finds the others free. */
    for (plait_lock *lock = next_below(locks, n, ABOVE_ALL); lock;
         lock = next_below(locks, n, lock))
        plait_lock_release(lock);
    return 0;
}
