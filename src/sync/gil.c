/* The gil: a fair lock, and a flag by which those who wait ask the holder to yield.
 *
 * Naive: whoever wants others to have a turn releases the lock and acquires it again. Its hole: it
 * is awake and they are not, so it wins. Cure: the lock is the fair one (fair.c), in whose line the
 * yielder stands behind all who wait already. It joins the line before it lets go: were it kept from the processor
 * between the two, those who have yielded after it would be before it. Facts:
 *   1 the lock's word has PL_LOCK_FAIR from before it is first taken: zeroed memory gets it then;
 *   2 who takes the lock clears `request_` and counts `switches_`, both under the lock;
 *   3 a waiter looks up once per interval. If nobody has taken the lock since it last looked, the holder
 *     has had it for an interval: it sets `request_`. Set too late, just after another took the lock, it costs
 *     that one a turn that is too short. */
#include "base/clock.h"
#include "sync/lock_word.h"

#include <plait/gil.h>

static int64_t interval_of(const plait_gil *gil)
{
    int64_t interval = pl_load_relaxed(&gil->interval_);
    return interval ? interval : PLAIT_GIL_INTERVAL;
}

int plait_gil_init(plait_gil *gil, int64_t interval)
{
    if (!gil || interval < 0)
        return PLAIT_EINVAL;
    if (interval > PLAIT_TIMEOUT_MAX)
        return PLAIT_EOVERFLOW;
    pl_store_relaxed(&gil->interval_, interval);
    pl_store_relaxed(&gil->request_, 0u);
    return plait_lock_init(&gil->lock_, &(plait_lock_options){.fair = true});
}

static bool is_mine(const plait_gil *gil)
{
    return pl_lock_is_mine(&gil->lock_);
}

static int taken(plait_gil *gil, int rc)
{
    if (rc < 0)
        return rc;
    pl_store_relaxed(&gil->request_, 0u);
    pl_store_relaxed(&gil->switches_, pl_load_relaxed(&gil->switches_) + 1);
    return rc;
}

/* What a waiter has seen when it last looked. */
struct look {
    uint32_t switches;
    int64_t when;
};

static struct look look_at(const plait_gil *gil)
{
    return (struct look){pl_load_relaxed(&gil->switches_), plait_now()};
}

/* Asks for it, if it was not handed on for an interval (fact 3). */
static void urge(plait_gil *gil, struct look *last)
{
    struct look now = look_at(gil);
    if (now.switches == last->switches && now.when - last->when < interval_of(gil))
        return;
    if (now.switches == last->switches)
        pl_store_relaxed(&gil->request_, 1u);
    *last = now;
}

static int acquire(plait_gil *gil, struct pl_wait *wait)
{
    uint32_t nobodys = 0;
    struct look last = look_at(gil);
    int rc;
    if (!(pl_load_relaxed(&gil->lock_.word_) & PL_LOCK_FAIR))
        pl_cas_relaxed(&gil->lock_.word_, &nobodys, PL_LOCK_FAIR); /* fact 1 */
    for (;;) {
        if (wait->nap_end == 0)
            wait->nap = interval_of(gil);
        rc = pl_fair_round(&gil->lock_, wait);
        if (rc != PLAIT_EBUSY)
            return taken(gil, rc);
        urge(gil, &last);
    }
}

int plait_gil_acquire(plait_gil *gil, int64_t timeout)
{
    struct pl_wait wait;
    int rc = gil ? pl_wait_begin(&wait, PL_WAIT_GIL, timeout) : PLAIT_EINVAL;
    if (rc == 0)
        rc = pl_self_known();
    if (rc < 0)
        return rc;
    return is_mine(gil) ? PLAIT_EDEADLK : acquire(gil, &wait);
}

/* Requires: registered. */
static int acquire_certainly(plait_gil *gil)
{
    struct pl_wait wait;
    pl_wait_begin(&wait, PL_WAIT_GIL, PLAIT_FOREVER);
    wait.uncancellable = true;
    return acquire(gil, &wait);
}

int plait_gil_release(plait_gil *gil)
{
    if (!gil)
        return PLAIT_EINVAL;
    return is_mine(gil) ? plait_lock_release(&gil->lock_) : PLAIT_EPERM;
}

int plait_gil_yield(plait_gil *gil)
{
    if (!gil)
        return PLAIT_EINVAL;
    if (!is_mine(gil))
        return PLAIT_EPERM;
    if (!(pl_load_relaxed(&gil->lock_.word_) & PL_LOCK_WAITERS)) {
        pl_store_relaxed(&gil->request_, 0u); /* who asked has given up */
        return 0;
    }
    pl_fair_queue(&gil->lock_);
    plait_lock_release(&gil->lock_);
    return acquire_certainly(gil);
}

struct plait_gil_released_ plait_gil_released_(plait_gil *gil)
{
    return (struct plait_gil_released_){.gil = plait_gil_release(gil) == 0 ? gil : NULL, .once = 1};
}

void plait_gil_take_back_(struct plait_gil_released_ *released)
{
    /* In a forked child, it is to be registered first. */
    if (released->gil && pl_self_known() == 0)
        acquire_certainly(released->gil);
}

int plait_gil_blame(plait_gil *gil, plait_blame *ret)
{
    return plait_lock_blame(gil ? &gil->lock_ : NULL, ret);
}

int plait_gil_locked(const plait_gil *gil)
{
    return gil && plait_lock_locked(&gil->lock_);
}

plait_worker plait_gil_holder(const plait_gil *gil)
{
    return plait_lock_holder(gil ? &gil->lock_ : NULL);
}
