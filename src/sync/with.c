/* What PLAIT_WITH expands to: acquire at the brace, release at its end.
 *
 * A request to stop that made the acquire fail is put back: the block has no way to return it, and
 * a request must not vanish.
 *
 * A child forked inside the block runs its end too. A copy in private memory is its own to release; in
 * the arena it would release what its parent holds. */
#include "base/atomic.h"
#include "park/park.h"
#include "sync/lockdep.h"

#include <plait/with.h>

/* The call stands where the block does, not here. */
#define FROM_HERE(call)                                                                            \
    int rc;                                                                                        \
    pl_self.site = __builtin_return_address(0);                                                    \
    call;                                                                                          \
    pl_self.site = NULL

static struct plait_with_ begun(void *what, void (*end)(void *), int rc)
{
    if (rc == PLAIT_ECANCELED)
        pl_cancel_put_back_unsaid();
    return (struct plait_with_){.what = what,
                                .end = end,
                                .forks = __atomic_load_n(&pl_forks, __ATOMIC_RELAXED),
                                .held = rc >= 0,
                                .once = 1};
}

static void end_lock(void *lock)
{
    plait_lock_release(lock);
}

struct plait_with_ plait_with_lock_(plait_lock *lock)
{
    FROM_HERE(rc = plait_lock_acquire(lock, PLAIT_FOREVER));
    return begun(lock, end_lock, rc);
}

static void end_semaphore(void *semaphore)
{
    plait_semaphore_release(semaphore, 1);
}

struct plait_with_ plait_with_semaphore_(plait_semaphore *semaphore)
{
    return begun(semaphore, end_semaphore, plait_semaphore_acquire(semaphore, PLAIT_FOREVER));
}

static void end_rlock(void *rlock)
{
    plait_rlock_release(rlock);
}

struct plait_with_ plait_with_rlock_(plait_rlock *rlock)
{
    FROM_HERE(rc = plait_rlock_acquire(rlock, PLAIT_FOREVER));
    return begun(rlock, end_rlock, rc);
}

static void end_pi_lock(void *lock)
{
    plait_pi_lock_release(lock);
}

struct plait_with_ plait_with_pi_lock_(plait_pi_lock *lock)
{
    FROM_HERE(rc = plait_pi_lock_acquire(lock, PLAIT_FOREVER));
    return begun(lock, end_pi_lock, rc);
}

static void end_condition(void *condition)
{
    plait_condition_release(condition);
}

static void end_read(void *rw)
{
    plait_rwlock_release_read(rw);
}

struct plait_with_ plait_with_read_(plait_rwlock *rw)
{
    FROM_HERE(rc = plait_rwlock_acquire_read(rw, PLAIT_FOREVER));
    return begun(rw, end_read, rc);
}

static void end_write(void *rw)
{
    plait_rwlock_release_write(rw);
}

struct plait_with_ plait_with_write_(plait_rwlock *rw)
{
    FROM_HERE(rc = plait_rwlock_acquire_write(rw, PLAIT_FOREVER));
    return begun(rw, end_write, rc);
}

struct plait_with_ plait_with_condition_(plait_condition *condition)
{
    FROM_HERE(rc = plait_condition_acquire(condition, PLAIT_FOREVER));
    return begun(condition, end_condition, rc);
}

void plait_with_end_(struct plait_with_ *with)
{
    bool mine = with->forks == __atomic_load_n(&pl_forks, __ATOMIC_RELAXED);
    if (with->held && (mine || !pl_arena_holds(with->what)))
        with->end(with->what);
}
