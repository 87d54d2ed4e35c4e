/* Groups: a list of members, a scope for the body, and a stir word that failures move.
 *
 * Naive: each member that fails sends the owner and its siblings requests to stop. Its holes: a member that is killed sends
 * nothing; two that fail send two; the owner has to tell them from requests that came from elsewhere,
 * and one that comes late hits what follows the group.
 * Cure: nobody sends the owner anything. A failure, or a death as its recoverer sees it, stirs the owner (registry.h, `tells`),
 * whose blocking calls then look at its scopes; the group's scope asks here, and whether a member has failed is read from
 * the registry. What is looked at is a state, so looking too often or twice changes nothing. Facts:
 *   1 the list, `error_` and `failed_*` change under lock_;
 *   2 who starts a member says whom it tells and looks at its life after; who ends changes its life and
 *     looks whom to tell after. So a failure that stirs nobody is seen by the starter, who stirs;
 *   3 a death may be known before its cause is, and a process may die before it is registered: then
 *     nobody need be stirred again. So while there is such a member the scope looks again by itself, ever more seldom;
 *   4 once CLOSING no member is added, so all that are cancelled then are all;
 *   5 LEFT is set under lock_ when the list is empty: who starts a member later is refused. */
#include <plait/group.h>

#include "base/atomic.h"
#include "park/park.h"
#include "park/scope.h"
#include "sync/lock_word.h"
#include "task/task_internal.h"
#include "worker/tasks.h"

#include <limits.h>
#include <stdlib.h>

struct plait_member_ {
    struct plait_member_ *next;
    plait_worker worker;
};

enum { FIRST_LOOK = 1000 * 1000, LAST_LOOK = 64 * 1000 * 1000 };

/* Bits of state_. */
enum {
    CLOSING = 1, /* failed or cancelled: takes no members */
    LEFT = 2,
    OUTSIDE = 4, /* the body was asked to stop from elsewhere */
    LEAVING = 8, /* the owner joins, nobody else */
};

static uint32_t forks_now(void)
{
    return __atomic_load_n(&pl_forks, __ATOMIC_RELAXED);
}

static uint32_t state_of(const plait_group *g)
{
    return pl_load_acquire(&g->state_);
}

static void lock(plait_group *g)
{
    pl_lock_acquire_certainly(&g->lock_, PL_WAIT_LOCK);
}

static void unlock(plait_group *g)
{
    plait_lock_release(&g->lock_);
}

/* NULL, a copy, or another process's: for calls that any worker may make. */
static int check(const plait_group *g)
{
    if (!g)
        return PLAIT_EINVAL;
    const plait_group *self = pl_load_acquire(&g->self_);
    if (self && self != g)
        return PLAIT_EINVAL;
    return self && g->forks_ != forks_now() ? PLAIT_ECHILD : 0;
}

static int check_owner(const plait_group *g)
{
    int rc = check(g);
    return rc < 0 ? rc : g->owner_ == pl_self.id ? 0 : PLAIT_EPERM;
}

/* --- failures; all under the lock --- */

static bool is_failure(int ending, int status)
{
    return ending != PL_END_RETURNED || (status < 0 && status != PLAIT_ECANCELED);
}

/* What it has to tell is known. While it is not joined, the slot is its own. */
static void untie(plait_worker worker)
{
    struct pl_slot *slot = pl_slot_find(worker);
    if (slot)
        pl_store_relaxed(&slot->tells, 0u);
}

/* Cancels all that are left, and the body. */
static void close_down(plait_group *g)
{
    if (state_of(g) & CLOSING)
        return;
    pl_fetch_or_seq_cst(&g->state_, (uint32_t)CLOSING);
    if (g->self_)
        plait_scope_cancel(&g->scope_);
    for (struct plait_member_ *m = g->members_; m; m = m->next) {
        untie(m->worker);
        plait_cancel(m->worker);
    }
}

/* Puts a failure on the list; it stands first if it was the first. */
static void add_failure(plait_group *g, const plait_blame *blame, int error, bool first)
{
    int i = g->failures_ < PLAIT_GROUP_FAILURES ? g->failures_ : PLAIT_GROUP_FAILURES - 1;
    if (g->failures_ < PLAIT_GROUP_FAILURES || first)
        g->failed_[i] = *blame;
    g->failures_++;
    if (g->error_ == 0 || first) {
        plait_blame was = g->failed_[0];
        g->failed_[0] = g->failed_[i];
        g->failed_[i] = was;
        g->error_ = error;
        g->failed_at_ = blame->ended;
    }
}

/* A member has been joined. */
static void note_end(plait_group *g, struct plait_member_ *member, const plait_blame *blame)
{
    int status = blame->returned ? blame->status : PLAIT_EDIED;
    bool seen_first = g->first_failed_ == member;
    if (status < 0 && status != PLAIT_ECANCELED) {
        /* Without the body having seen one first, the clock decides. */
        bool first = seen_first || (!g->first_failed_ && g->error_ && blame->ended < g->failed_at_);
        add_failure(g, blame, status, first);
        close_down(g);
    }
    if (seen_first) {
        g->failed_at_ = INT64_MIN; /* nobody comes before it */
        g->first_failed_ = NULL;
    }
}

static void take_out(plait_group *g, const struct plait_member_ *member)
{
    struct plait_member_ **link = &g->members_, *before = NULL;
    while (*link != member) {
        before = *link;
        link = &before->next;
    }
    *link = member->next;
    if (g->last_ == member)
        g->last_ = before;
}

/* --- looking --- */

enum look { FINE, FAILED, UNSURE };

/* Of one that has ended; how it did may not be known yet, then it did not return. */
static enum look ending_of(const struct pl_slot *slot)
{
    return is_failure((int)pl_load_acquire(&slot->ending), pl_load_relaxed(&slot->status)) ? FAILED
                                                                                           : FINE;
}

/* How it stands with a member, without waiting. */
static enum look look_at(plait_worker worker)
{
    plait_blame blame;
    if (pl_is_task(worker))
        return pl_task_exit_status(worker, &blame) == 0 && is_failure(PL_END_RETURNED, blame.status)
                   ? FAILED
                   : FINE;
    struct pl_slot *slot = pl_slot_find(worker);
    if (!slot)
        return FINE;
    switch (pl_life_of(pl_load_acquire(&slot->life))) {
    case PL_ENDED:
        return ending_of(slot);
    case PL_NEW:
    case PL_ENTERING:
        if (pl_slot_kind(slot) != PLAIT_PROCESS)
            return FINE;
        return plait_state(worker) == PLAIT_STATE_ENDED ? FAILED : UNSURE;
    case PL_RUNNING:
        if (!pl_heart_is_stopped(slot))
            return FINE;
        return plait_state(worker) == PLAIT_STATE_ENDED ? ending_of(slot) : UNSURE;
    default:
        return FINE;
    }
}

static void look_again(plait_group *g)
{
    g->scope_.look_at_ = plait_now() + g->look_every_;
    g->look_every_ = g->look_every_ * 2 < LAST_LOOK ? g->look_every_ * 2 : LAST_LOOK;
}

static void look_at_members(plait_group *g)
{
    bool unsure = false;
    for (struct plait_member_ *m = g->members_; m; m = m->next) {
        enum look look = look_at(m->worker);
        unsure |= look == UNSURE;
        if (look != FAILED)
            continue;
        if (!g->error_ && !g->first_failed_)
            g->first_failed_ = m;
        close_down(g);
        return;
    }
    if (unsure)
        look_again(g);
}

/* What the scope asks when the owner is stirred. Of the owner, in the middle of a blocking call. */
static void look(plait_scope *scope)
{
    plait_group *g = (plait_group *)scope;
    _Static_assert(offsetof(plait_group, scope_) == 0, "the scope is the group's first member");
    scope->look_at_ = PL_NEVER;
    if (state_of(g) & CLOSING)
        return;
    if (plait_lock_acquire(&g->lock_, PLAIT_NOWAIT) < 0) {
        look_again(g);
        return;
    }
    look_at_members(g);
    unlock(g);
}

/* --- entering, starting --- */

static int enter(plait_group *g)
{
    int rc = pl_arena_holds(g) ? PLAIT_EPRIVATE : pl_self_known();
    if (rc < 0)
        return rc;
    if (state_of(g) & (CLOSING | LEFT))
        return PLAIT_ECLOSED;
    g->owner_ = pl_self.id;
    g->forks_ = forks_now();
    g->look_every_ = FIRST_LOOK;
    pl_scope_open(&g->scope_, PL_NEVER, 0, look);
    pl_store_seq_cst(&g->scope_.slot_, (void *)pl_self.slot);
    pl_store_release(&g->self_, g);
    return 0;
}

int plait_group_enter(plait_group *group)
{
    int rc = check(group);
    if (rc < 0)
        return rc;
    return group->self_ ? PLAIT_EBUSY : enter(group);
}

/* Fact 2. */
static void tie(plait_group *g, plait_worker worker)
{
    if (pl_is_task(worker)) {
        if (pl_task_tie(worker, g->owner_))
            pl_slot_stir(pl_slot_of(g->owner_));
        return;
    }
    struct pl_slot *slot = pl_slot_find(worker);
    if (!slot)
        return;
    pl_store_seq_cst(&slot->tells, g->owner_);
    enum pl_life life = pl_life_of(pl_load_seq_cst(&slot->life));
    if (life == PL_ENDED || (life == PL_RUNNING && pl_heart_is_stopped(slot)))
        pl_slot_stir(pl_slot_of(g->owner_));
    if (pl_slot_kind(slot) == PLAIT_PROCESS && g->owner_ == pl_self.id) {
        g->look_every_ = FIRST_LOOK; /* fact 3 */
        look_again(g);
    }
}

static void collect_ended(plait_group *g);

static int start(plait_group *g, plait_worker *ret, int kind, plait_function *fn, void *arg,
                 const plait_options *options)
{
    struct plait_member_ *member = malloc(sizeof *member);
    if (!member)
        return PLAIT_ENOMEM;
    *member = (struct plait_member_){.next = NULL};
    int rc = plait_start(&member->worker, kind, fn, arg, options);
    if (rc < 0) {
        free(member);
        return rc;
    }
    tie(g, member->worker);
    if (g->last_)
        g->last_->next = member;
    else
        g->members_ = member;
    g->last_ = member;
    if (ret)
        *ret = member->worker;
    return 0;
}

int plait_group_start(plait_group *group, plait_worker *ret, int kind, plait_function *fn,
                      void *arg, const plait_options *options)
{
    int rc = check(group);
    if (rc == 0 && options && (options->daemon || options->detach))
        rc = PLAIT_EINVAL;
    if (rc == 0)
        rc = pl_self_known();
    if (rc == 0 && !group->self_)
        rc = enter(group);
    if (rc < 0)
        return rc;
    lock(group);
    collect_ended(group);
    rc = state_of(group) & (CLOSING | LEFT) ? PLAIT_ECLOSED
                                            : start(group, ret, kind, fn, arg, options);
    unlock(group);
    return rc;
}

/* --- ending --- */

/* Joins the oldest members that have ended, so that a group that lives long does not grow. */
static void collect_ended(plait_group *g)
{
    enum { AT_ONCE = 2 };
    for (int i = 0; i < AT_ONCE && g->members_ && !(state_of(g) & LEAVING); i++) {
        struct plait_member_ *m = g->members_;
        plait_blame blame;
        if (plait_state(m->worker) != PLAIT_STATE_ENDED || m == g->first_failed_)
            return;
        int rc = plait_join(m->worker, &blame, PLAIT_NOWAIT);
        if (rc < 0 && rc != PLAIT_ESTALE)
            return;
        if (rc >= 0)
            note_end(g, m, &blame);
        take_out(g, m);
        free(m);
    }
}

static int join_shielded(plait_worker worker, plait_blame *blame)
{
    plait_scope shield;
    int rc;
    plait_scope_begin_shield(&shield);
    do
        rc = plait_join(worker, blame, PLAIT_FOREVER);
    while (rc < 0 && rc != PLAIT_ESTALE);
    plait_scope_end(&shield);
    return rc;
}

static void close_for(plait_group *g, uint32_t why)
{
    lock(g);
    pl_fetch_or_seq_cst(&g->state_, why);
    close_down(g);
    unlock(g);
}

/* Why a wait in the body was cancelled: by the group itself, or from elsewhere. */
static void note_cancel(plait_group *g)
{
    const plait_scope *why = pl_self.scope->took_;
    close_for(g, why == &g->scope_ ? 0 : OUTSIDE);
}

/* Waits for the end of a member, and if the wait is cancelled, cancels all and waits on. 0, PLAIT_DIED, PLAIT_ESTALE. */
static int await_end(plait_group *g, plait_worker worker, plait_blame *blame, int *deadlock)
{
    if (!(state_of(g) & CLOSING)) {
        int rc = plait_join(worker, blame, PLAIT_FOREVER);
        if (rc >= 0 || rc == PLAIT_ESTALE)
            return rc;
        if (rc == PLAIT_ECANCELED)
            note_cancel(g);
        else
            *deadlock = rc;
        close_for(g, 0);
    }
    return join_shielded(worker, blame);
}

/* The next to wait for; NULL: there is none, and none can come. */
static struct plait_member_ *next_member(plait_group *g)
{
    lock(g);
    struct plait_member_ *m = g->members_;
    if (!m)
        pl_fetch_or_seq_cst(&g->state_, (uint32_t)LEFT);
    unlock(g);
    return m;
}

static void await_all(plait_group *g, int *deadlock)
{
    struct plait_member_ *m;
    lock(g);
    pl_fetch_or_seq_cst(&g->state_, (uint32_t)LEAVING);
    unlock(g);
    while ((m = next_member(g))) {
        plait_blame blame;
        int rc = await_end(g, m->worker, &blame, deadlock);
        lock(g);
        if (rc >= 0)
            note_end(g, m, &blame);
        take_out(g, m);
        unlock(g);
        free(m);
    }
}

int plait_group_leave(plait_group *group)
{
    int rc = check(group), deadlock = 0;
    if (rc < 0)
        return rc;
    if (!group->self_) {
        pl_fetch_or_seq_cst(&group->state_, (uint32_t)LEFT);
        return 0;
    }
    rc = check_owner(group);
    if (rc < 0)
        return rc;
    if (state_of(group) & LEFT)
        return PLAIT_ECLOSED;
    if (pl_scope_is_overruled(&group->scope_))
        close_for(group, OUTSIDE);
    await_all(group, &deadlock);
    plait_scope_end(&group->scope_);
    bool outside = state_of(group) & OUTSIDE;
    if (group->error_ && outside)
        pl_request_say_again();
    if (!group->error_)
        group->error_ = outside ? PLAIT_ECANCELED : deadlock;
    return group->error_;
}

int plait_group_fail(plait_group *group, int error)
{
    int rc = error < 0 && error != PLAIT_ECANCELED ? check(group) : PLAIT_EINVAL;
    if (rc == 0 && state_of(group) & LEFT)
        rc = PLAIT_ECLOSED;
    if (rc == 0)
        rc = check_owner(group);
    if (rc < 0)
        return rc;
    plait_blame blame = {.status = error, .returned = true, .ended = plait_now()};
    lock(group);
    add_failure(group, &blame, error, false);
    close_down(group);
    unlock(group);
    return 0;
}

int plait_group_cancel(plait_group *group)
{
    int rc = check(group);
    if (rc == 0)
        rc = pl_self_known();
    if (rc < 0)
        return rc;
    lock(group);
    if (!(state_of(group) & LEFT))
        close_down(group);
    unlock(group);
    return 0;
}

int plait_group_error(const plait_group *group)
{
    return group ? group->error_ : PLAIT_EINVAL;
}

int plait_group_failures(const plait_group *group, plait_blame *array, int most)
{
    if (!group || most < 0 || (most > 0 && !array))
        return PLAIT_EINVAL;
    for (int i = 0; i < most && i < group->failures_ && i < PLAIT_GROUP_FAILURES; i++)
        array[i] = group->failed_[i];
    return group->failures_;
}

/* --- the block --- */

enum { PASS_OVER = 0, PASS_BLOCK = 1, PASS_ELSE = 2 };

void plait_group_begin_(struct plait_group_block_ *block, plait_group *group)
{
    block->group = group;
    int rc = plait_group_enter(group);
    if (rc == PLAIT_ECLOSED && !(state_of(group) & LEFT)) { /* cancelled before */
        block->pass = PASS_OVER;
        return;
    }
    if (rc < 0 && group && rc != PLAIT_EBUSY && group->error_ == 0)
        group->error_ = rc;
    block->pass = rc < 0 ? PASS_ELSE : PASS_BLOCK;
}

void plait_group_next_(struct plait_group_block_ *block)
{
    bool failed = block->pass == PASS_BLOCK && plait_group_leave(block->group) < 0;
    block->pass = failed ? PASS_ELSE : PASS_OVER;
}

void plait_group_end_(struct plait_group_block_ *block)
{
    if (block->pass == PASS_BLOCK) /* left by return or goto */
        plait_group_leave(block->group);
}
