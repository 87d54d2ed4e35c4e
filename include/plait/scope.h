/* Cancel scopes: one deadline for everything inside a block, in any kind of worker.
 *
 *     int rc = 0;
 *     PLAIT_TIMEOUT(plait_seconds(2)) {
 *         rc = plait_lock_acquire(&printer, PLAIT_FOREVER);
 *         if (rc < 0)
 *             break;                            // PLAIT_ECANCELED: the two seconds are over
 *         print();                              // all it waits for counts as well
 *         plait_lock_release(&printer);
 *     } else {
 *         rc = PLAIT_ETIMEDOUT;                 // the block was cut short by its deadline
 *     }
 *
 * When the time is over, the blocking call that is in progress returns PLAIT_ECANCELED, and so does every further
 * one in the block that would have to wait, at once. A call's own timeout stays PLAIT_ETIMEDOUT;
 * calls with PLAIT_NOWAIT, and those that need not wait, work as ever. So a block that never
 * waits never times out, and clean-up that has to wait goes into a PLAIT_SHIELD. Waits that cannot be cancelled
 * (a condition that takes its lock back) ignore scopes.
 *
 * The block may be left in every way; the scope ends with it. `break` and `continue` leave the block, not
 * a loop around it, and then `else`, if there is one, runs if the scope cut the block short; return and goto
 * skip it. `else` does not run when somebody else wants the worker to stop as well: a request
 * (plait_cancel) that came since the block began, or a scope around it that is over, too. These must get
 * through, so pass the PLAIT_ECANCELED on. No request is lost or counted twice by scopes, which
 * do not use them.
 *
 * Nested scopes: the outermost that is over is the one that cuts; its `else` runs.
 *
 * A scope belongs to the worker that began it; others started inside it are not in it (see group.h). A forked child is
 * in no scope.
 * Python's counterpart: asyncio.timeout. There the request is delivered once, and a block that swallows
 * it may wait for ever; here, as in Trio, it stands until the scope ends. */
#ifndef PLAIT_SCOPE_H
#define PLAIT_SCOPE_H

#include <plait/clock.h>
#include <plait/error.h>
#include <stdbool.h>
#include <stdint.h>

PLAIT_BEGIN_DECLS

/* The scope of the function form. In private memory, normally on the stack; needs no preparation; not
 * to be copied or moved while open. Its fields are not for direct use. */
typedef struct plait_scope {
    struct plait_scope *outer_; /* what it lies in */
    struct plait_scope
        *took_; /* which scope the last PLAIT_ECANCELED in here came from; NULL: none, a request */
    void *slot_, *task_; /* of the worker that may sleep inside; who cancels reads them */
    void (*look_)(struct plait_scope *scope); /* asks whether it is to be cancelled; NULL: nobody */
    int64_t deadline_, look_at_;
    uint32_t flags_;   /* atomic: others may cancel */
    uint32_t said_;    /* calls that it has made return PLAIT_ECANCELED */
    uint32_t stirred_; /* what the worker's stir word was at the last look */
    uint32_t heard_;   /* requests that had been delivered when it began */
    int cancelling_;   /* and all by then */
} plait_scope;

/* Opens a scope inside those that are open; ends it; the function form of PLAIT_TIMEOUT:
 *
 *     plait_scope s;
 *     plait_scope_begin(&s, plait_seconds(2));
 *     rc = talk();
 *     if (plait_scope_end(&s) > 0)
 *         rc = PLAIT_ETIMEDOUT;
 *
 * _at takes an instant of plait_now(), which may be past, instead.
 * Begin returns: 0; PLAIT_EINVAL (NULL, a negative time), PLAIT_EOVERFLOW, PLAIT_EBUSY (open already).
 * End returns: 1 if the scope has cut the block short, and nothing else wants the worker to stop: then
 *   it is what `else` is for; 0 if not; PLAIT_EPERM if it is not open, or another worker's. Scopes begun inside
 *   and not ended stay open.
 * Block: no. Who: threads, processes, tasks; end, the worker that began. Python: async with
 *   asyncio.timeout(t), timeout_at(when). */
PLAIT_API int plait_scope_begin(plait_scope *scope, int64_t timeout);
PLAIT_API int plait_scope_begin_at(plait_scope *scope, int64_t when);
PLAIT_API int plait_scope_end(plait_scope *scope);

/* Opens a scope that requests to stop and the scopes outside do not reach into; those begun inside it work. What
 * came meanwhile is said by the first blocking call after it. Ended by plait_scope_end, which says 0.
 * Returns, blocks, who: as plait_scope_begin. Python: Trio's CancelScope(shield=True). */
PLAIT_API int plait_scope_begin_shield(plait_scope *scope);

/* Gives an open scope another deadline, so long from now.
 * Returns: 0; PLAIT_EPERM (not open, or another worker's), PLAIT_ETIMEDOUT (it has expired), PLAIT_EINVAL, PLAIT_EOVERFLOW.
 * Blocks: no. Who: the worker that began it. Python: Timeout.reschedule. */
PLAIT_API int plait_scope_reschedule(plait_scope *scope, int64_t timeout);

/* Cuts the scope's block short now, as if its time were over; again does nothing.
 * Requires: the caller knows that the scope is open and stays so during the call.
 * Returns: 0; PLAIT_EINVAL (NULL), PLAIT_EPERM (not open).
 * Blocks: no. Who: any thread or task of the process that began it; not signal handlers.
 * Python: Trio's CancelScope.cancel. */
PLAIT_API int plait_scope_cancel(plait_scope *scope);

/* 1 if the scope has made a call return PLAIT_ECANCELED because its time was over, also after its end;
 * else 0. Never blocks. Python: Timeout.expired(). */
PLAIT_API int plait_scope_expired(const plait_scope *scope);

/* The instant of its deadline, INT64_MAX if it has none. Never blocks. Python: Timeout.when(). */
PLAIT_API int64_t plait_scope_deadline(const plait_scope *scope);

/* The instant at which calls of this worker begin to return PLAIT_ECANCELED, by whichever scope it is in; INT64_MAX:
 * none. For passing on what is left. Never blocks. Python: Trio's current_effective_deadline(). */
PLAIT_API int64_t plait_scope_effective_deadline(void);

/* What the blocks expand to. Not for direct use. */
struct plait_block_ {
    plait_scope scope;
    int pass; /* 1: the block, 2: else, 0: over */
    int once;
};
PLAIT_API void plait_timeout_begin_(struct plait_block_ *block, int64_t timeout);
PLAIT_API void plait_timeout_begin_at_(struct plait_block_ *block, int64_t when);
PLAIT_API void plait_shield_begin_(struct plait_block_ *block);
PLAIT_API void plait_block_next_(struct plait_block_ *block);
PLAIT_API void plait_block_end_(struct plait_block_ *block);

PLAIT_END_DECLS

#define PLAIT_BLOCK_NAME_(a, b) a##b
#define PLAIT_BLOCK_AS_(type, name, first, begin, next, end)                                       \
    for (struct type name __attribute__((cleanup(end))), *first = (begin, &name); first->pass;     \
         next(first))                                                                              \
        for (first->once = 1; first->once; first->once = 0)                                        \
            if (first->pass == 1)
#define PLAIT_TIMEOUT_AS_(begin, time, name, first)                                                \
    PLAIT_BLOCK_AS_(plait_block_, name, first, begin(&name, time), plait_block_next_,              \
                    plait_block_end_)
#define PLAIT_TIMEOUT_UNIQUE_(begin, time, n)                                                      \
    PLAIT_TIMEOUT_AS_(begin, time, PLAIT_BLOCK_NAME_(plait_block_, n),                             \
                      PLAIT_BLOCK_NAME_(plait_first_, n))
#define PLAIT_SHIELD_AS_(name, first)                                                              \
    PLAIT_BLOCK_AS_(plait_block_, name, first, plait_shield_begin_(&name), plait_block_next_,      \
                    plait_block_end_)
#define PLAIT_SHIELD_UNIQUE_(n)                                                                    \
    PLAIT_SHIELD_AS_(PLAIT_BLOCK_NAME_(plait_block_, n), PLAIT_BLOCK_NAME_(plait_first_, n))

/* A negative `timeout` (but PLAIT_FOREVER) or one past PLAIT_TIMEOUT_MAX skips the block; `else` runs.
 * PLAIT_TIMEOUT_AT takes an instant of plait_now(). */
#define PLAIT_TIMEOUT(timeout) PLAIT_TIMEOUT_UNIQUE_(plait_timeout_begin_, timeout, __COUNTER__)
#define PLAIT_TIMEOUT_AT(when) PLAIT_TIMEOUT_UNIQUE_(plait_timeout_begin_at_, when, __COUNTER__)

/* Inside, neither requests to stop nor scopes outside are noticed: for clean-up that has to wait. */
#define PLAIT_SHIELD PLAIT_SHIELD_UNIQUE_(__COUNTER__)

#endif
