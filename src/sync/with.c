/* What PLAIT_WITH expands to: acquire at the brace, release at its end.
 *
 * A request to stop that made the acquire fail is put back: the block has no way to return it, and
 * a request must not vanish. */
#include "base/atomic.h"
#include "park/park.h"

#include <plait/with.h>

static struct plait_with_ begun(plait_lock *lock, plait_semaphore *semaphore, int rc)
{
    if (rc == PLAIT_ECANCELED)
        pl_cancel_put_back();
    return (struct plait_with_){.lock = lock, .semaphore = semaphore, .held = rc >= 0, .once = 1};
}

struct plait_with_ plait_with_lock_(plait_lock *lock)
{
    return begun(lock, NULL, plait_lock_acquire(lock, PLAIT_FOREVER));
}

struct plait_with_ plait_with_semaphore_(plait_semaphore *semaphore)
{
    return begun(NULL, semaphore, plait_semaphore_acquire(semaphore, PLAIT_FOREVER));
}

struct plait_with_ plait_with_condition_(plait_condition *condition)
{
    return plait_with_lock_(plait_condition_lock(condition));
}

void plait_with_end_(struct plait_with_ *with)
{
    if (!with->held)
        return;
    if (with->lock)
        plait_lock_release(with->lock);
    else
        plait_semaphore_release(with->semaphore, 1);
}
