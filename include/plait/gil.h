/* plait_gil: a lock that is passed round, for interpreters that only one worker may run at a time.
 *
 * An embedded interpreter (Lua, an old Python, one's own) is single-threaded: whoever runs a script holds
 * its lock. A plain lock lets a script that never stops shut everyone else out; and a release with an acquire
 * right after it, meant to let others in, gets the lock back before they are awake. Here a worker that
 * has waited for the switch interval asks the holder to yield, and what is yielded goes to the one who
 * has waited longest: the yielder comes back when it is its turn.
 *
 *     static plait_gil gil;                             // or in the arena, for processes
 *
 *     plait_gil_acquire(&gil, PLAIT_FOREVER);
 *     while (step(interpreter)) {                       // the interpreter's loop
 *         if (plait_gil_should_yield(&gil))             // one load
 *             plait_gil_yield(&gil);
 *         if (wants_to_read(interpreter))
 *             PLAIT_GIL_RELEASED(&gil)                  // others run meanwhile
 *                 n = read(fd, buffer, size);
 *     }
 *     plait_gil_release(&gil);
 *
 * Owned: only the worker that acquired it may yield or release it. For threads and processes at once; in ordinary memory it
 * serves this process, in the arena the family. All bytes zero is a free one with the default
 * interval of 5 ms. Nothing to destroy.
 *
 * Death: if the holder dies, the next one gets it with PLAIT_OWNER_DIED: the interpreter may be in the middle of
 * anything. plait_gil_blame says who it was.
 *
 * Limits: a holder that does not look (plait_gil_should_yield) is not interrupted. Whoever waits looks up once per interval.
 * Why this shape: it is plait_lock's fair form with a flag beside it.
 * Python's counterpart: the GIL itself; sys.setswitchinterval, Py_BEGIN_ALLOW_THREADS. */
#ifndef PLAIT_GIL_H
#define PLAIT_GIL_H

#include <plait/clock.h>
#include <plait/error.h>
#include <plait/lock.h>
#include <plait/worker.h>

PLAIT_BEGIN_DECLS

#define PLAIT_GIL_INTERVAL INT64_C(5000000) /* ns; the default */

typedef struct plait_gil {
    plait_lock lock_;
    uint32_t request_;  /* somebody has waited long enough */
    uint32_t switches_; /* times it was taken */
    int64_t interval_;  /* 0: PLAIT_GIL_INTERVAL */
} plait_gil;

/* Makes it free, with a switch interval (0: the default). Zeroed memory needs no init.
 * Requires: nobody uses it. Returns: 0, PLAIT_EINVAL (NULL, negative), PLAIT_EOVERFLOW (too long).
 * Never blocks. Python: sys.setswitchinterval(). */
PLAIT_API int plait_gil_init(plait_gil *gil, int64_t interval);

/* Takes it, first come, first served. After each interval in which it was not handed on, asks the holder to
 * yield.
 * Returns: as plait_lock_acquire; PLAIT_EDEADLK also if the caller holds it.
 * Blocks: yes, cancellable. Who: threads, processes, tasks; not signal handlers; after fork, yes.
 * Ordering: what earlier holders wrote is visible. Python: PyGILState_Ensure(). */
PLAIT_API int plait_gil_acquire(plait_gil *gil, int64_t timeout);

/* Lets it go, to the one who has waited longest.
 * Returns: 0; PLAIT_EPERM (the caller does not hold it: nothing is changed), PLAIT_EINVAL (NULL).
 * Blocks: no. Who: the holder. Ordering: what was written before is visible to the next holder.
 * Python: PyGILState_Release(). */
PLAIT_API int plait_gil_release(plait_gil *gil);

/* Whether somebody has waited long enough; for the holder, as often as it likes: one relaxed load. Requires: not
 * NULL. Never blocks. */
static inline bool plait_gil_should_yield(const plait_gil *gil)
{
    return __atomic_load_n(&gil->request_, __ATOMIC_RELAXED) != 0;
}

/* Lets everyone have it who waits now, the longest waiting first, and takes it back. Without anybody, does
 * nothing.
 * Returns: 0, PLAIT_OWNER_DIED (it is held again; one of the others died with it), PLAIT_EPERM (the caller
 *   does not hold it), PLAIT_EINVAL (NULL), PLAIT_EPRIVATE (not held; see lock.h).
 * Blocks: until it is the caller's turn again, whatever is asked of it meanwhile: on return it is held. Who: the
 *   holder. Python: what the evaluation loop does at each request. */
PLAIT_API int plait_gil_yield(plait_gil *gil);

/* Who died holding it, asked after PLAIT_OWNER_DIED; the answer is given once. Requires: the caller
 * holds it. Returns and blocks: as plait_lock_blame. */
PLAIT_API int plait_gil_blame(plait_gil *gil, plait_blame *ret);

/* 1 if held by anyone, 0 if free or NULL; who holds it, nobody (all zero) if free. True of a moment
 * past. Never block. */
PLAIT_API int plait_gil_locked(const plait_gil *gil);
PLAIT_API plait_worker plait_gil_holder(const plait_gil *gil);

/* A block without it: released at the brace, taken back on every way out (return, break, goto). For calls that may
 * block and do not touch the interpreter. Taking it back is as in plait_gil_yield; of a holder's death
 * meanwhile plait_gil_blame tells. If the caller does not hold it, the block just runs. `break` and
 * `continue` leave the block, not a loop around it. A child forked in the block that leaves it waits for the lock as its parent does.
 * Python: Py_BEGIN_ALLOW_THREADS. */
#define PLAIT_GIL_RELEASED(gil) PLAIT_GIL_UNIQUE_(gil, __COUNTER__)

/* What the block stands on. Not for direct use. */
struct plait_gil_released_ {
    plait_gil *gil; /* to be taken back; NULL: nothing */
    int once;
};
PLAIT_API struct plait_gil_released_ plait_gil_released_(plait_gil *gil);
PLAIT_API void plait_gil_take_back_(struct plait_gil_released_ *released);
#define PLAIT_GIL_NAME_(a, b) a##b
#define PLAIT_GIL_AS_(gil, name)                                                                   \
    for (struct plait_gil_released_ name                                                           \
         __attribute__((cleanup(plait_gil_take_back_))) = plait_gil_released_(gil);                \
         name.once; name.once = 0)
#define PLAIT_GIL_UNIQUE_(gil, n) PLAIT_GIL_AS_(gil, PLAIT_GIL_NAME_(plait_gil_block_, n))

PLAIT_END_DECLS
#endif
