/* Cancel scopes, seen from where workers wait: what ends the waits of this worker besides their own
 * deadlines and requests to stop. All of it is skipped while pl_self.scope is NULL. */
#ifndef PL_PARK_SCOPE_H
#define PL_PARK_SCOPE_H

#include "base/clock.h"
#include "base/self.h"

#include <plait/scope.h>

/* Bits of flags_. */
enum {
    PL_SCOPE_OPEN = 1,
    PL_SCOPE_SHIELD = 2,    /* what lies outside does not reach in */
    PL_SCOPE_CANCELLED = 4, /* cut short by a call */
    PL_SCOPE_DEAF = 8,      /* it, or a scope around it, is a shield */
    PL_SCOPE_LATE = 16,     /* it has spoken because of its deadline */
};

/* As pl_cancel_take, within a scope. Of a scope that was over no sooner than `before` it says nothing. */
int pl_scope_take(int64_t before);

/* The call that was told of a request or of a scope's end succeeded all the same. True: it was a scope,
 * and nothing is to be put back. */
bool pl_scope_untake(void);
bool pl_scope_took(void);

/* Whether one is over, which it does not say by this. */
bool pl_scope_is_over(void);

/* When the waits of this worker end, and when to look again, because of scopes. */
int64_t pl_scope_end_of_waits(void);
int64_t pl_scope_next_look(void);

/* Opens a scope with a question that is asked when the worker is stirred and at `look_at_`. It may close
 * with PL_SCOPE_CANCELLED set, and must not block. */
void pl_scope_open(plait_scope *scope, int64_t deadline, uint32_t flags,
                   void (*look)(plait_scope *));

/* Whether another than the scope wants the worker to stop: a request since it began, a scope around it that
 * has spoken. */
bool pl_scope_is_overruled(const plait_scope *scope);

/* Whether requests to stop do not reach this worker now. */
static inline bool pl_is_shielded(void)
{
    return pl_self.scope &&
           (__atomic_load_n(&pl_self.scope->flags_, __ATOMIC_RELAXED) & PL_SCOPE_DEAF);
}

#endif
