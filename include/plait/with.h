/* PLAIT_WITH: a block that holds something, released on every way out.
 *
 *     PLAIT_WITH(&account->lock)
 *         account->cents += 100;
 *
 *     PLAIT_WITH(&slots) {                  // a plait_lock, _rlock, _pi_lock, _semaphore or _condition
 *         if (!ready())
 *             return -1;                    // released; so by break, continue and goto out of it
 *         use();
 *     } else {
 *         return 0;                         // not acquired: this worker was asked to stop
 *     }
 *
 * An rwlock is held in one of two ways: PLAIT_WITH_READ(&rw), PLAIT_WITH_WRITE(&rw), else the same.
 *
 * Waits without a timeout. If it cannot acquire, the block is skipped and `else`, if there is one,
 * runs. That happens when the worker is cancelled (the request then stays: the next blocking call
 * still returns PLAIT_ECANCELED), when it has to give way in a deadlock (rlocks, rwlocks; locks if
 * plait_deadlock_policy says so: PLAIT_EDEADLK, see deadlock.h), or on misuse (NULL). A child that is forked
 * inside the block does not hold what lies in the arena, and does not release it on its way out. `break`
 * and `continue` leave the block, not a loop around it. After the death of a holder the block runs;
 * plait_lock_blame or plait_rwlock_blame tells.
 * Python's counterpart: the with statement. */
#ifndef PLAIT_WITH_H
#define PLAIT_WITH_H

#include <plait/condition.h>
#include <plait/lock.h>
#include <plait/pi_lock.h>
#include <plait/rlock.h>
#include <plait/rwlock.h>
#include <plait/semaphore.h>
#include <stdint.h>

PLAIT_BEGIN_DECLS

/* What a block holds. Not for direct use. */
struct plait_with_ {
    void *what;          /* the primitive */
    void (*end)(void *); /* lets it go */
    uint32_t forks;      /* how often the process had been forked: a child holds nothing of it */
    int held;
    int once;
};

PLAIT_API struct plait_with_ plait_with_lock_(plait_lock *lock);
PLAIT_API struct plait_with_ plait_with_rlock_(plait_rlock *rlock);
PLAIT_API struct plait_with_ plait_with_pi_lock_(plait_pi_lock *lock);
PLAIT_API struct plait_with_ plait_with_semaphore_(plait_semaphore *semaphore);
PLAIT_API struct plait_with_ plait_with_condition_(plait_condition *condition);
PLAIT_API struct plait_with_ plait_with_read_(plait_rwlock *rw);
PLAIT_API struct plait_with_ plait_with_write_(plait_rwlock *rw);
PLAIT_API void plait_with_end_(struct plait_with_ *with);

PLAIT_END_DECLS

#ifdef __cplusplus
static inline struct plait_with_ plait_with_(plait_lock *x)
{
    return plait_with_lock_(x);
}
static inline struct plait_with_ plait_with_(plait_rlock *x)
{
    return plait_with_rlock_(x);
}
static inline struct plait_with_ plait_with_(plait_pi_lock *x)
{
    return plait_with_pi_lock_(x);
}
static inline struct plait_with_ plait_with_(plait_semaphore *x)
{
    return plait_with_semaphore_(x);
}
static inline struct plait_with_ plait_with_(plait_condition *x)
{
    return plait_with_condition_(x);
}
#else
/* clang-format off */
#define plait_with_(x)                                                                             \
    _Generic((x), plait_lock *: plait_with_lock_,                                                  \
                  plait_rlock *: plait_with_rlock_,                                                \
                  plait_pi_lock *: plait_with_pi_lock_,                                            \
                  plait_semaphore *: plait_with_semaphore_,                                        \
                  plait_condition *: plait_with_condition_)(x)
/* clang-format on */
#endif

#define PLAIT_WITH_NAME_(a, b) a##b
#define PLAIT_WITH_AS_(begun, name)                                                                \
    for (struct plait_with_ name __attribute__((cleanup(plait_with_end_))) = begun; name.once;     \
         name.once = 0)                                                                            \
        if (name.held)
#define PLAIT_WITH_UNIQUE_(begun, n) PLAIT_WITH_AS_(begun, PLAIT_WITH_NAME_(plait_with_, n))
#define PLAIT_WITH(x) PLAIT_WITH_UNIQUE_(plait_with_(x), __COUNTER__)
#define PLAIT_WITH_READ(rw) PLAIT_WITH_UNIQUE_(plait_with_read_(rw), __COUNTER__)
#define PLAIT_WITH_WRITE(rw) PLAIT_WITH_UNIQUE_(plait_with_write_(rw), __COUNTER__)

#endif
