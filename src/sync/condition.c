/* The condition: a queue of waiters under the user's lock.
 *
 * Naive: a sequence number that notify raises and waiters sleep on. Its holes: notify(1) lets go
 * everyone who is between releasing the lock and sleeping; a later waiter may take the wake-up of
 * an earlier one; a notification is lost with a waiter that times out or dies.
 * Cure: since wait and notify both need the lock, a plain queue under it will do. Each waiter has a
 * turn in its registry slot, sleeps on that turn's own word, and notify marks the first n turns
 * NOTIFIED and wakes exactly these. A waiter decides only after it has the lock again: marked means
 * notified, whatever the clock says; not marked, it leaves the queue, and nobody can mark it
 * meanwhile. Facts:
 *   1 queue links, tickets and marks are written under the lock only, except by death;
 *   2 `busy_` names the worker that is changing the queue. Found set by the next holder of the
 *     lock, its owner died in the middle, and the queue is built anew from the registry: the turns
 *     that are WAITING for this condition, in order of their tickets;
 *   3 a waiter that dies in the queue makes its recoverer set `torn`, with the same cure, before
 *     its slot can serve another worker;
 *   4 a waiter that dies NOTIFIED makes its recoverer raise `owed` and wake the waiters; the first
 *     with the lock takes the debt as its notification.
 *
 * A condition in private memory that a fork copied still lists the parent's waiters, whose turns are
 * shared: the child must not touch them. `pid_` says whose queue it is. */
#include "base/atomic.h"
#include "base/clock.h"
#include "park/park.h"
#include "port/mapping.h"
#include "sync/lock_word.h"

#include <limits.h>
#include <plait/condition.h>

static struct pl_debt *debt_of(plait_condition *c)
{
    _Static_assert(sizeof(struct pl_debt) == sizeof c->debt_, "the public type has room for it");
    return (struct pl_debt *)c->debt_;
}

/* The lock; if it is an rlock's, that is the rlock's first member. */
static plait_lock *lock_of(plait_condition *c)
{
    return c->rlock_ ? &c->rlock_->lock_ : c->lock_ ? c->lock_ : &c->own_;
}

static enum pl_wait_kind kind_of(const plait_condition *c)
{
    return c->rlock_ ? PL_WAIT_RLOCK : PL_WAIT_LOCK;
}

/* Lets the lock go, however often an rlock is held: that often is what to restore. */
static uint32_t release_wholly(plait_condition *c)
{
    uint32_t depth = c->rlock_ ? c->rlock_->depth_ : 0;
    plait_lock_release(lock_of(c));
    return depth;
}

static int acquire_wholly(plait_condition *c, uint32_t depth)
{
    int rc = pl_lock_acquire_certainly(lock_of(c), kind_of(c));
    if (rc >= 0 && c->rlock_)
        c->rlock_->depth_ = depth;
    return rc;
}

static struct pl_turn *turn_at(uint32_t index)
{
    return &pl_slot_at(index)->turn;
}

static uint32_t own_index(void)
{
    return PL_ID_SLOT(pl_self.id);
}

/* --- the queue; all under the lock --- */

static void begin_change(plait_condition *c)
{
    pl_store_release(&c->busy_, pl_self.id);
}

static void end_change(plait_condition *c)
{
    pl_store_release(&c->busy_, 0u);
}

static void append(plait_condition *c, uint32_t index)
{
    turn_at(index)->next = 0;
    if (c->last_)
        turn_at(c->last_)->next = index;
    else
        c->first_ = index;
    c->last_ = index;
}

/* Takes `index` out; `before` is the one in front of it, 0 if it is the first. */
static void unlink_after(plait_condition *c, uint32_t before, uint32_t index)
{
    uint32_t next = turn_at(index)->next;
    if (before)
        turn_at(before)->next = next;
    else
        c->first_ = next;
    if (c->last_ == index)
        c->last_ = before;
}

static void remove_own(plait_condition *c)
{
    uint32_t before = 0, index = c->first_;
    while (index && index != own_index()) {
        before = index;
        index = turn_at(index)->next;
    }
    if (index)
        unlink_after(c, before, index);
}

static bool belongs(plait_condition *c, uint32_t index)
{
    struct pl_slot *slot = pl_slot_at(index);
    return pl_load_acquire(&slot->turn.debt) == debt_of(c) &&
           pl_load_acquire(&slot->turn.word) == PL_TURN_WAITING && !pl_is_dead(pl_slot_id(slot)) &&
           (pl_arena_holds(c) || pl_load_relaxed(&slot->pid) == c->pid_);
}

/* Inserts by ticket into the queue that is being built anew. */
static void insert_by_ticket(plait_condition *c, uint32_t index)
{
    struct pl_turn *turn = turn_at(index);
    uint32_t before = 0, after = c->first_;
    while (after && turn_at(after)->ticket < turn->ticket) {
        before = after;
        after = turn_at(after)->next;
    }
    turn->next = after;
    if (before)
        turn_at(before)->next = index;
    else
        c->first_ = index;
    if (!after)
        c->last_ = index;
}

/* Builds the queue anew from the registry (facts 2 and 3). */
static void rebuild(plait_condition *c)
{
    begin_change(c);
    pl_store_release(&debt_of(c)->torn, 0u); /* before the scan: a later death asks for another */
    c->first_ = c->last_ = 0;
    c->pid_ = pl_load_relaxed(&pl_self.slot->pid);
    uint32_t ready = pl_load_acquire(&pl_arena->slots_ready);
    for (uint32_t i = 1; i < ready; i++)
        if (belongs(c, i))
            insert_by_ticket(c, i);
    end_change(c);
}

/* Whether the queue is that of another process: it was copied by a fork, or the memory is shared. */
static bool is_anothers(plait_condition *c)
{
    return !pl_arena_holds(c) && c->pid_ != pl_load_relaxed(&pl_self.slot->pid);
}

/* PLAIT_EPRIVATE if the condition lies in shared memory of the program's own. */
static int check_reach(plait_condition *c)
{
    return c->pid_ && is_anothers(c) && pl_mapping_is_shared(c) ? PLAIT_EPRIVATE : 0;
}

/* To be called with the lock held, before the queue is used. */
static void trust_queue(plait_condition *c)
{
    bool foreign = is_anothers(c);
    if (foreign || pl_load_acquire(&c->busy_) || pl_load_acquire(&debt_of(c)->torn))
        rebuild(c);
}

/* --- waiting --- */

static void enqueue_self(plait_condition *c)
{
    struct pl_turn *turn = &pl_self.slot->turn;
    begin_change(c);
    turn->ticket = c->tickets_++;
    pl_store_relaxed(&turn->word, (uint32_t)PL_TURN_WAITING);
    pl_store_release(&turn->debt, debt_of(c));
    append(c, own_index());
    end_change(c);
}

static bool is_notified(void)
{
    return pl_load_acquire(&pl_self.slot->turn.word) == PL_TURN_NOTIFIED;
}

/* Whether the lock's holder has died with it. While all who use it wait here, nobody else would notice;
 * the waiter that does takes the lock over and tells its caller. */
static bool is_lock_orphaned(plait_condition *c)
{
    uint32_t holder = pl_lock_holder(lock_of(c));
    return holder && pl_is_dead(holder);
}

/* Sleeps until there may be something for us. 0, or why to give up. */
static int sleep_for_turn(plait_condition *c, struct pl_wait *wait)
{
    uint32_t *word = &pl_self.slot->turn.word;
    struct pl_spin spin = {.answer = true};
    wait->shown = (uint32_t *)c; /* what the program knows, and may have labelled */
    while (!is_notified()) {
        if (pl_spin(&spin))
            continue;
        int rc = pl_park(word, PL_TURN_WAITING, wait);
        if (rc < 0)
            return rc;
        pl_spin_slept(wait->slept_for);
        if ((pl_load_acquire(&debt_of(c)->owed) & PL_DEBT_COUNT) || is_lock_orphaned(c))
            return 0;
    }
    pl_spin_end(&spin);
    return 0;
}

/* A notification whose receiver died is ours, if there is one. With the lock held, so that only deaths
 * change the count meanwhile, and only upwards; whoever else has an account open there is dead. */
static bool take_debt(plait_condition *c)
{
    uint32_t *owed = &debt_of(c)->owed, seen = pl_load_acquire(owed);
    if (PL_DEBT_ACCOUNT(seen)) {
        pl_recover(pl_slot_at(PL_DEBT_ACCOUNT(seen)));
        seen = pl_load_acquire(owed);
    }
    do {
        if (!(seen & PL_DEBT_COUNT) || PL_DEBT_ACCOUNT(seen))
            return false;
    } while (!pl_cas_acq_rel(owed, &seen, (seen - 1) | own_index() << 16));
    pl_store_release(&pl_self.slot->turn.word, (uint32_t)PL_TURN_NOTIFIED);
    pl_fetch_and_acq_rel(owed, PL_DEBT_COUNT); /* it is in our hand now, as any other */
    return true;
}

/* The word stays as it is: it says whether there is something to pass on. */
static void leave_queue(plait_condition *c)
{
    trust_queue(c);
    begin_change(c);
    remove_own(c);
    end_change(c);
}

/* The wait has brought what it was for; a request to stop that came as well is for the next call. */
static void succeed(int *why)
{
    if (*why == PLAIT_ECANCELED)
        pl_cancel_put_back();
    *why = 0;
}

/* With the lock held again, and what that said: notified? True ends the wait, with 0 or `why`. */
static bool is_over(plait_condition *c, int notice, int *why)
{
    if (is_notified()) {
        succeed(why);
        return true;
    }
    if (take_debt(c))
        succeed(why);
    else if (*why == 0 && notice != PLAIT_OWNER_DIED)
        return false;
    leave_queue(c);
    return true;
}

/* The lock cannot be had again (PLAIT_EPRIVATE): the queue is not touched, but told not to trust its
 * links. */
static int leave_without_lock(plait_condition *c, int why)
{
    pl_store_release(&debt_of(c)->torn, 1u);
    pl_store_release(&pl_self.slot->turn.debt, NULL);
    return why;
}

/* Requires: in the queue, lock held. */
static int wait_in_queue(plait_condition *c, struct pl_wait *wait)
{
    int notice, why;
    do {
        uint32_t depth = release_wholly(c);
        why = sleep_for_turn(c, wait);
        notice = acquire_wholly(c, depth);
        if (notice < 0)
            return leave_without_lock(c, notice);
    } while (!is_over(c, notice, &why));
    /* One store ends the wait: until then a notification in our hand is passed on if we die, after it
     * it has been received. What the word says means nothing without a debt. */
    pl_store_release(&pl_self.slot->turn.debt, NULL);
    return why < 0 ? why : notice;
}

static int wait_begun(plait_condition *c, struct pl_wait *wait)
{
    int rc = check_reach(c);
    if (rc == 0)
        rc = pl_cancel_take();
    if (rc < 0)
        return rc;
    trust_queue(c);
    enqueue_self(c);
    return wait_in_queue(c, wait);
}

int plait_condition_wait(plait_condition *condition, int64_t timeout)
{
    struct pl_wait wait;
    int rc = condition ? pl_wait_begin(&wait, PL_WAIT_CONDITION, timeout) : PLAIT_EINVAL;
    if (rc < 0)
        return rc;
    if (!pl_lock_is_mine(lock_of(condition)))
        return PLAIT_EPERM;
    return wait_begun(condition, &wait);
}

int plait_condition_wait_for(plait_condition *condition, bool (*predicate)(void *), void *arg,
                             int64_t timeout)
{
    struct pl_wait wait;
    int rc =
        condition && predicate ? pl_wait_begin(&wait, PL_WAIT_CONDITION, timeout) : PLAIT_EINVAL;
    if (rc < 0)
        return rc;
    if (!pl_lock_is_mine(lock_of(condition)))
        return PLAIT_EPERM;
    int notice = 0;
    while (!predicate(arg)) {
        if (rc < 0)
            return rc;
        rc = wait_begun(condition, &wait);
        pl_wait_renew(&wait);
        notice = rc > 0 ? rc : notice;
    }
    if (rc < 0)
        succeed(&rc);
    return notice;
}

/* --- notifying --- */

/* False if the waiter died and its recoverer was faster: it gets no notification. */
static bool notify_one(uint32_t index)
{
    uint32_t *word = &turn_at(index)->word, waiting = PL_TURN_WAITING;
    pl_will_unpark(word);
    if (!pl_cas_acq_rel(word, &waiting, (uint32_t)PL_TURN_NOTIFIED))
        return false;
    pl_unpark(word, 1);
    return true;
}

/* Takes the first in the queue out; false if it is dead and gets no notification. */
static bool pop_first(plait_condition *c, uint32_t *ret_index)
{
    uint32_t index = c->first_;
    unlink_after(c, 0, index);
    *ret_index = index;
    return !pl_is_dead(pl_slot_id(pl_slot_at(index)));
}

int plait_condition_notify(plait_condition *condition, int n)
{
    if (!condition)
        return PLAIT_EINVAL;
    if (!pl_lock_is_mine(lock_of(condition)))
        return PLAIT_EPERM;
    int rc = check_reach(condition);
    if (rc < 0)
        return rc;
    trust_queue(condition);
    int woken = 0;
    begin_change(condition);
    while (woken < n && condition->first_) {
        uint32_t index;
        if (pop_first(condition, &index) && notify_one(index))
            woken++;
    }
    end_change(condition);
    return woken;
}

int plait_condition_notify_all(plait_condition *condition)
{
    return plait_condition_notify(condition, INT_MAX);
}

int plait_condition_init(plait_condition *condition, plait_lock *lock)
{
    if (!condition)
        return PLAIT_EINVAL;
    if (lock && pl_arena_holds(condition) && !pl_arena_holds(lock))
        return PLAIT_EPRIVATE;
    *condition = (plait_condition){.lock_ = lock};
    return 0;
}

int plait_condition_init_rlock(plait_condition *condition, plait_rlock *rlock)
{
    int rc = rlock ? plait_condition_init(condition, &rlock->lock_) : PLAIT_EINVAL;
    if (rc < 0)
        return rc;
    condition->lock_ = NULL;
    condition->rlock_ = rlock;
    return 0;
}

int plait_condition_acquire(plait_condition *condition, int64_t timeout)
{
    if (condition && condition->rlock_)
        return plait_rlock_acquire(condition->rlock_, timeout);
    return plait_lock_acquire(condition ? lock_of(condition) : NULL, timeout);
}

int plait_condition_release(plait_condition *condition)
{
    if (condition && condition->rlock_)
        return plait_rlock_release(condition->rlock_);
    return plait_lock_release(condition ? lock_of(condition) : NULL);
}

plait_lock *plait_condition_lock(plait_condition *condition)
{
    return condition && !condition->rlock_ ? lock_of(condition) : NULL;
}
