/* Cancel scopes: a list from the innermost outwards, on the stack of the worker whose waits they bound.
 *
 * Naive: a timer that sends the worker a request to stop. Its holes: it costs a timer for each block; a request that
 * was meant for the block may be delivered after it, and one that came from elsewhere may be
 * taken for the timer's, so everybody has to count.
 * Cure: nothing is sent. A worker that is about to sleep looks at its scopes and sleeps no longer than
 * they allow; what it looks at is a state, not a message, so it cannot be lost or come late. Facts:
 *   1 the list, deadlines and `said_` are read and written by their worker only;
 *   2 flags_ others may set CANCELLED in. Who sets it stirs the worker after: the worker's stir word, in its
 *     slot, is watched by its sleep if it has scopes, with the value it had before the flags were
 *     looked at (pair scope.stir). Where the slot is, the worker writes into the scope before that look;
 *   3 which of several scopes speaks: the outermost that is over, up to the nearest shield;
 *   4 a scope that spoke to a call which then succeeded takes its word back: it has cut nothing short, and
 *     as it is still over, the next call hears it. */
#include "park/scope.h"

#include "base/atomic.h"
#include "park/park.h"
#include "port/futex.h"

#include <limits.h>

static bool is_known(const plait_scope *scope)
{
    for (const plait_scope *s = pl_self.scope; s; s = s->outer_)
        if (s == scope)
            return true;
    return false;
}

static uint32_t flags_of(const plait_scope *scope)
{
    return pl_load_seq_cst(&scope->flags_);
}

static bool is_shield(const plait_scope *scope)
{
    return pl_load_relaxed(&scope->flags_) & PL_SCOPE_SHIELD;
}

/* --- what waits ask --- */

/* Its worker may be stirred from now on (fact 2), or has been. The thread's own flow, though it is a task of its
 * loop, is found by the slot. */
static void look_around(plait_scope *scope, uint32_t stir, int64_t now)
{
    bool is_task = pl_self.task && pl_self.slot != pl_self.thread;
    pl_store_seq_cst(&scope->task_, is_task ? (void *)pl_self.task : NULL);
    pl_store_seq_cst(&scope->slot_, (void *)pl_self.slot);
    if (!scope->look_ || (stir == scope->stirred_ && now < scope->look_at_))
        return;
    scope->stirred_ = stir;
    scope->look_(scope);
}

static bool is_over(const plait_scope *scope, int64_t now, int64_t before)
{
    return (flags_of(scope) & PL_SCOPE_CANCELLED) ||
           (scope->deadline_ <= now && scope->deadline_ < before);
}

/* The scope that has a say now (fact 3). */
static plait_scope *find_over(int64_t before)
{
    plait_scope *found = NULL;
    int64_t now = plait_now();
    /* A:scope.stir, pairs with pl_slot_stir: before the flags are looked at. */
    uint32_t stir = pl_self.slot ? pl_load_seq_cst(&pl_self.slot->stir) : 0;
    for (plait_scope *s = pl_self.scope; s; s = s->outer_) {
        look_around(s, stir, now);
        if (is_over(s, now, before))
            found = s;
        if (is_shield(s))
            break;
    }
    pl_self.scope->stirred_ = stir;
    return found;
}

int pl_scope_take(int64_t before)
{
    plait_scope *inner = pl_self.scope;
    inner->took_ = NULL;
    int rc = pl_self.asked && !pl_is_shielded() ? pl_request_take() : 0;
    plait_scope *over = rc == 0 ? find_over(before) : NULL;
    if (!over)
        return rc;
    inner->took_ = over;
    over->said_++;
    return PLAIT_ECANCELED;
}

bool pl_scope_is_over(void)
{
    return find_over(PL_NEVER) != NULL;
}

bool pl_scope_took(void)
{
    return pl_self.scope && pl_self.scope->took_;
}

bool pl_scope_untake(void)
{
    if (!pl_scope_took())
        return false;
    pl_self.scope->took_->said_--;
    pl_self.scope->took_ = NULL;
    return true;
}

int64_t pl_scope_end_of_waits(void)
{
    int64_t end = PL_NEVER;
    for (const plait_scope *s = pl_self.scope; s; s = s->outer_) {
        end = s->deadline_ < end ? s->deadline_ : end;
        if (is_shield(s))
            break;
    }
    return end;
}

int64_t pl_scope_next_look(void)
{
    int64_t next = pl_scope_end_of_waits();
    for (const plait_scope *s = pl_self.scope; s; s = s->outer_) {
        next = s->look_at_ < next ? s->look_at_ : next;
        if (is_shield(s))
            break;
    }
    return next;
}

/* --- opening and ending --- */

/* Changes when one is delivered. */
static uint32_t requests_heard(void)
{
    return pl_self.asked ? pl_load_relaxed(&pl_self.asked->delivered) : 0;
}

void pl_scope_open(plait_scope *scope, int64_t deadline, uint32_t flags,
                   void (*look)(plait_scope *))
{
    uint32_t around = pl_is_shielded() ? PL_SCOPE_DEAF : 0;
    *scope = (plait_scope){
        .outer_ = pl_self.scope,
        .look_ = look,
        .deadline_ = deadline,
        .look_at_ = PL_NEVER,
        .heard_ = requests_heard(),
        .cancelling_ = plait_cancelling(),
    };
    pl_store_relaxed(&scope->flags_, PL_SCOPE_OPEN | flags | around);
    pl_self.scope = scope;
}

int plait_scope_begin(plait_scope *scope, int64_t timeout)
{
    int rc = scope ? pl_check_timeout(timeout) : PLAIT_EINVAL;
    if (rc < 0)
        return rc;
    if (is_known(scope))
        return PLAIT_EBUSY;
    pl_scope_open(scope, pl_deadline(timeout), 0, NULL);
    return 0;
}

int plait_scope_begin_at(plait_scope *scope, int64_t when)
{
    if (!scope || when < 0)
        return PLAIT_EINVAL;
    if (is_known(scope))
        return PLAIT_EBUSY;
    pl_scope_open(scope, when, 0, NULL);
    return 0;
}

int plait_scope_begin_shield(plait_scope *scope)
{
    if (!scope)
        return PLAIT_EINVAL;
    if (is_known(scope))
        return PLAIT_EBUSY;
    pl_scope_open(scope, PL_NEVER, PL_SCOPE_SHIELD | PL_SCOPE_DEAF, NULL);
    return 0;
}

static void take_out(plait_scope *scope)
{
    plait_scope **link = &pl_self.scope;
    while (*link != scope)
        link = &(*link)->outer_;
    *link = scope->outer_;
}

/* Its time is over and it has said so. */
static void note_lateness(plait_scope *scope)
{
    if (scope->said_ && pl_passed(scope->deadline_))
        pl_fetch_or_seq_cst(&scope->flags_, (uint32_t)PL_SCOPE_LATE);
}

bool pl_scope_is_overruled(const plait_scope *scope)
{
    int requests = plait_cancelling();
    if (requests > scope->cancelling_ || (requests > 0 && requests_heard() != scope->heard_))
        return true;
    for (const plait_scope *s = scope->outer_; s && !is_shield(s); s = s->outer_)
        if (s->said_)
            return true;
    return false;
}

int plait_scope_end(plait_scope *scope)
{
    if (!scope || !is_known(scope))
        return PLAIT_EPERM;
    take_out(scope);
    note_lateness(scope);
    pl_fetch_and_acq_rel(&scope->flags_, ~(uint32_t)PL_SCOPE_OPEN);
    return scope->said_ && !pl_scope_is_overruled(scope);
}

int plait_scope_reschedule(plait_scope *scope, int64_t timeout)
{
    int rc = scope ? pl_check_timeout(timeout) : PLAIT_EINVAL;
    if (rc < 0)
        return rc;
    if (!is_known(scope))
        return PLAIT_EPERM;
    if (plait_scope_expired(scope))
        return PLAIT_ETIMEDOUT;
    scope->deadline_ = pl_deadline(timeout);
    return 0;
}

int plait_scope_cancel(plait_scope *scope)
{
    if (!scope)
        return PLAIT_EINVAL;
    if (!(flags_of(scope) & PL_SCOPE_OPEN))
        return PLAIT_EPERM;
    pl_fetch_or_seq_cst(&scope->flags_, (uint32_t)PL_SCOPE_CANCELLED);
    struct pl_task *task = pl_load_seq_cst(&scope->task_);
    struct pl_slot *slot = pl_load_seq_cst(&scope->slot_);
    if (task && task != pl_self.task)
        pl_task_look(task);
    else if (slot && slot != pl_self.slot)
        pl_slot_stir(slot);
    return 0;
}

void pl_slot_stir(struct pl_slot *slot)
{
    /* R:scope.stir, pairs with find_over. */
    pl_fetch_add_seq_cst(&slot->stir, 1u);
    pl_futex_wake(&slot->stir, INT_MAX, true);
    pl_nudge(slot);
    /* A sleeper on a kernel without futex_waitv sleeps on its word alone. */
    uint32_t *word = pl_load_seq_cst(&slot->waits_on);
    if (word && pl_arena_holds(word))
        pl_futex_wake(word, INT_MAX, true);
}

int plait_scope_expired(const plait_scope *scope)
{
    if (!scope)
        return 0;
    bool late = flags_of(scope) & PL_SCOPE_LATE;
    return late ||
           ((flags_of(scope) & PL_SCOPE_OPEN) && scope->said_ && pl_passed(scope->deadline_));
}

int64_t plait_scope_deadline(const plait_scope *scope)
{
    return scope ? scope->deadline_ : PL_NEVER;
}

int64_t plait_scope_effective_deadline(void)
{
    return pl_scope_end_of_waits();
}

/* --- blocks --- */

enum { PASS_OVER = 0, PASS_BLOCK = 1, PASS_ELSE = 2 };

void plait_timeout_begin_(struct plait_block_ *block, int64_t timeout)
{
    block->pass = plait_scope_begin(&block->scope, timeout) == 0 ? PASS_BLOCK : PASS_ELSE;
}

void plait_timeout_begin_at_(struct plait_block_ *block, int64_t when)
{
    block->pass = plait_scope_begin_at(&block->scope, when) == 0 ? PASS_BLOCK : PASS_ELSE;
}

void plait_shield_begin_(struct plait_block_ *block)
{
    plait_scope_begin_shield(&block->scope);
    block->pass = PASS_BLOCK;
}

void plait_block_next_(struct plait_block_ *block)
{
    bool cut = block->pass == PASS_BLOCK && plait_scope_end(&block->scope) > 0;
    block->pass = cut ? PASS_ELSE : PASS_OVER;
}

void plait_block_end_(struct plait_block_ *block)
{
    if (block->pass == PASS_BLOCK) /* left by return or goto */
        plait_scope_end(&block->scope);
}
