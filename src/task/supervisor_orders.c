/* What others ask of a supervisor, and how they wait for it.
 *
 * Naive: everybody changes the table under a lock and starts and stops children himself. Its hole: the children of a process
 * are that process's; only the supervisor can start and collect them. So an order is written down and the supervisor,
 * which does one thing at a time, carries it out. Facts:
 *   1 who holds desk_ writes the order; `word` says whose turn it is: IDLE or DONE the writer's, ASKED the supervisor's;
 *   2 who gives up or dies while it is ASKED leaves it standing; the next at the desk waits until it is DONE;
 *   3 an order becomes ASKED under lock_ while the supervisor runs, and before that one ceases to it answers what is ASKED
 *     under lock_. So no order is left without an answer but by the supervisor's death, which wakes who waits. */
#include <plait/supervisor.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "park/park.h"
#include "sync/lock_word.h"
#include "task/supervisor_internal.h"

#include <string.h>

static uint32_t owner_of(const plait_supervisor *s)
{
    return pl_load_seq_cst(&s->owner_);
}

static bool is_known_kind(int kind)
{
    return kind == PLAIT_THREAD || kind == PLAIT_PROCESS || kind == PLAIT_TASK;
}

static bool is_name(const char *name)
{
    return name && name[0] && strnlen(name, PLAIT_NAME_SIZE) < PLAIT_NAME_SIZE;
}

static int check_child(const plait_child *c)
{
    if (!c || !is_name(c->name) || !is_known_kind(c->kind) || !c->function)
        return PLAIT_EINVAL;
    if (c->restart < PLAIT_PERMANENT || c->restart > PLAIT_TEMPORARY)
        return PLAIT_EINVAL;
    if (c->ready_timeout < 0 || c->grace < PLAIT_FOREVER)
        return PLAIT_EINVAL;
    return c->options.detach || c->options.name ? PLAIT_EINVAL : 0;
}

/* Sleeps until the word is another, or the owner has died. 0: look again; else as pl_park. */
static int sleep_on(uint32_t *word, uint32_t seen, uint32_t owner, struct pl_wait *wait)
{
    wait->others = &owner;
    wait->n_others = 1;
    return pl_park(word, seen, wait);
}

/* --- orders --- */

/* Waits while an order is being carried out. 0; PLAIT_EDIED; as pl_park. */
static int await_answer(plait_supervisor *s, uint32_t owner, struct pl_wait *wait)
{
    int rc = 0;
    /* A:order.word, pairs with answer. */
    while (rc == 0 && pl_load_acquire(&s->order_.word) == PL_ORDER_ASKED) {
        if (pl_is_dead(owner))
            return PLAIT_EDIED;
        rc = sleep_on(&s->order_.word, PL_ORDER_ASKED, owner, wait);
    }
    if (rc < 0 && pl_load_acquire(&s->order_.word) != PL_ORDER_ASKED) {
        if (rc == PLAIT_ECANCELED)
            pl_cancel_put_back();
        rc = 0;
    }
    return rc;
}

static plait_function_place_ place_of(plait_supervisor *s, plait_function *fn)
{
    plait_function_place_ place;
    pl_function_set(pl_place(&place), fn, pl_arena_holds(s));
    return place;
}

static void write_order(plait_supervisor *s, int what, const char *name, const plait_child *child)
{
    plait_order_ *order = &s->order_;
    order->what = what;
    order->worker = (plait_worker){0, 0};
    memset(order->name, 0, sizeof order->name);
    memcpy(order->name, name, strlen(name));
    if (child) {
        order->function = place_of(s, child->function);
        order->child = *child;
        order->child.name = NULL;
    }
}

/* What is done at once if nobody runs it. Under lock_. */
static int do_it_oneself(plait_supervisor *s, int what, const char *name, const plait_child *child)
{
    plait_supervised_ *c = pl_supervisor_find(s, name);
    if (what == PL_ORDER_ADD) {
        plait_function_place_ place = place_of(s, child->function);
        pl_supervisor_adopt(s);
        return pl_supervisor_enter(s, child, &place, &c);
    }
    if (!c)
        return PLAIT_ENOENT;
    if (what == PL_ORDER_RESTART)
        return PLAIT_ECLOSED;
    pl_supervisor_drop(s, c);
    return 0;
}

/* Places the order, at the desk. 0 with *ret, the worker that will obey, or 0 if there is none and it is done; an error. */
static int place(plait_supervisor *s, int what, const char *name, const plait_child *child,
                 uint32_t *ret)
{
    int rc = 0;
    pl_supervisor_lock(s);
    uint32_t owner = owner_of(s);
    *ret = owner;
    if (owner && pl_is_dead(owner)) {
        rc = PLAIT_EDIED;
    } else if (owner) {
        write_order(s, what, name, child);
        /* R:order.word, pairs with is_asked. */
        pl_store_release(&s->order_.word, (uint32_t)PL_ORDER_ASKED);
    } else {
        rc = do_it_oneself(s, what, name, child);
    }
    pl_supervisor_unlock(s);
    /* R:supervisor.stir, pairs with stir_of: what it is to see is there. */
    if (rc == 0 && owner)
        pl_slot_stir(pl_slot_of(owner));
    return rc;
}

static int order_at_desk(plait_supervisor *s, int what, const char *name, const plait_child *child,
                         plait_worker *ret, struct pl_wait *wait)
{
    uint32_t owner = owner_of(s);
    int rc = owner ? await_answer(s, owner, wait) : 0;
    if (rc == PLAIT_ETIMEDOUT)
        rc = PLAIT_EBUSY;
    if (rc == 0)
        rc = place(s, what, name, child, &owner);
    if (rc < 0)
        return rc;
    plait_worker none = {0, 0};
    pl_wait_renew(wait);
    rc = owner ? await_answer(s, owner, wait) : 0;
    if (rc == 0 && owner)
        rc = s->order_.result;
    if (rc == 0 && ret)
        *ret = owner ? s->order_.worker : none;
    return rc;
}

static int order(plait_supervisor *s, int what, const char *name, const plait_child *child,
                 plait_worker *ret, int64_t timeout)
{
    struct pl_wait wait;
    int rc = pl_supervisor_check(s);
    if (rc == 0)
        rc = pl_wait_begin(&wait, PL_WAIT_SUPERVISOR, timeout);
    if (rc == 0)
        rc = pl_self_known();
    if (rc == 0 && owner_of(s) == pl_self.id)
        rc = PLAIT_EDEADLK;
    if (rc == 0)
        rc = plait_lock_acquire(&s->desk_, timeout);
    if (rc < 0)
        return rc == PLAIT_ETIMEDOUT ? PLAIT_EBUSY : rc;
    rc = order_at_desk(s, what, name, child, ret, &wait);
    plait_lock_release(&s->desk_);
    return rc;
}

int plait_supervisor_add(plait_supervisor *supervisor, const plait_child *child, plait_worker *ret,
                         int64_t timeout)
{
    int rc = check_child(child);
    return rc < 0 ? rc : order(supervisor, PL_ORDER_ADD, child->name, child, ret, timeout);
}

int plait_supervisor_remove(plait_supervisor *supervisor, const char *name, int64_t timeout)
{
    if (!is_name(name))
        return PLAIT_EINVAL;
    return order(supervisor, PL_ORDER_REMOVE, name, NULL, NULL, timeout);
}

int plait_supervisor_restart(plait_supervisor *supervisor, const char *name, plait_worker *ret,
                             int64_t timeout)
{
    if (!is_name(name))
        return PLAIT_EINVAL;
    return order(supervisor, PL_ORDER_RESTART, name, NULL, ret, timeout);
}

/* --- looking --- */

static plait_child_info info_of(const plait_supervised_ *c, bool runs)
{
    plait_child_info info = {
        .worker = c->worker,
        .kind = c->spec.kind,
        .restart = c->spec.restart,
        .state = runs ? c->state : PLAIT_CHILD_STOPPED,
        .starts = c->starts,
        .restarts = c->restarts,
        .failures = c->failures,
        .last = c->last,
    };
    memcpy(info.name, c->name, sizeof info.name);
    return info;
}

int plait_supervisor_list(plait_supervisor *supervisor, plait_child_info *array, int most)
{
    plait_supervised_ *list[PLAIT_SUPERVISOR_CHILDREN];
    int rc = most < 0 || (most > 0 && !array) ? PLAIT_EINVAL : pl_supervisor_check(supervisor);
    if (rc == 0)
        rc = pl_self_known();
    if (rc < 0)
        return rc;
    pl_supervisor_lock(supervisor);
    uint32_t owner = owner_of(supervisor);
    bool runs = owner && !pl_is_dead(owner);
    int n = pl_supervisor_sort(supervisor, list);
    for (int i = 0; i < n && i < most; i++)
        array[i] = info_of(list[i], runs);
    pl_supervisor_unlock(supervisor);
    return n;
}

/* --- stopping it --- */

/* Waits until it is another's or nobody's. */
static int await_end(plait_supervisor *s, uint32_t owner, struct pl_wait *wait)
{
    int rc = 0;
    /* A:supervisor.owner, pairs with hand_over. */
    while (rc == 0 && owner_of(s) == owner) {
        if (pl_is_dead(owner))
            return PLAIT_EDIED;
        rc = sleep_on(&s->owner_, owner, owner, wait);
    }
    if (rc < 0 && owner_of(s) != owner) {
        if (rc == PLAIT_ECANCELED)
            pl_cancel_put_back();
        rc = 0;
    }
    return rc;
}

int plait_supervisor_stop(plait_supervisor *supervisor, int64_t timeout)
{
    struct pl_wait wait;
    int rc = pl_supervisor_check(supervisor);
    if (rc == 0)
        rc = pl_wait_begin(&wait, PL_WAIT_SUPERVISOR, timeout);
    if (rc == 0)
        rc = pl_self_known();
    if (rc < 0)
        return rc;
    pl_supervisor_lock(supervisor);
    uint32_t owner = owner_of(supervisor);
    if (owner)
        pl_store_seq_cst(&supervisor->stop_, 1u);
    pl_supervisor_unlock(supervisor);
    if (!owner || owner == pl_self.id)
        return 0;
    /* R:supervisor.stir, pairs with stir_of. */
    pl_slot_stir(pl_slot_of(owner));
    rc = await_end(supervisor, owner, &wait);
    if (rc == 0) { /* it is out of the lock: the memory is the caller's again */
        pl_supervisor_lock(supervisor);
        pl_supervisor_unlock(supervisor);
    }
    return rc;
}
