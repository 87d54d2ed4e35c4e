/* The once: a word that names who is at it, until it says that it is done.
 *
 * Naive: a lock around "if not done, do it". Its holes: every later call pays for the lock, or reads
 * `done` without it and sees it before what was done; and after a death in the middle nobody knows
 * that the work is half done.
 * Cure: one word, read with acquire, for all of it. Facts:
 *   1 DONE is set by one store, after the function has returned, and never taken back;
 *   2 while the function runs the word names its runner; a dead one is replaced by compare-and-swap, so
 *     one worker at a time runs it;
 *   3 TORN is set in the step that replaces a dead runner, and kept by a run that fails: until DONE,
 *     every further runner is told;
 *   4 sleepers watch the runner's heart: its death in the function, or between its last store and the
 *     wake-up, wakes them. A run that fails wakes all, so no wake-up can be lost with one of them.
 *
 *   bit 31       ONCE_WAITERS: someone may sleep on the word
 *   bit 30       ONCE_DONE
 *   bit 29       ONCE_TORN
 *   bits 28..0   id of the runner, 0: nobody */
#include "base/atomic.h"
#include "base/clock.h"
#include "park/park.h"
#include "port/mapping.h"

#include <limits.h>
#include <plait/once.h>

#define ONCE_WAITERS UINT32_C(0x80000000)
#define ONCE_DONE UINT32_C(0x40000000)
#define ONCE_TORN UINT32_C(0x20000000)

int plait_once_init(plait_once *once)
{
    if (!once)
        return PLAIT_EINVAL;
    pl_store_relaxed(&once->died_, 0u);
    pl_store_release(&once->word_, 0u);
    return 0;
}

int plait_once_done(const plait_once *once)
{
    /* A:once.word, pairs with end_run. */
    return once && (pl_load_acquire(&once->word_) & ONCE_DONE);
}

/* --- running --- */

/* The run is over: nobody is at it any more, and all look. */
static void end_run(plait_once *once, uint32_t next)
{
    uint32_t seen = pl_load_relaxed(&once->word_);
    do {
        if (seen & ONCE_WAITERS)
            pl_will_unpark(&once->word_);
        /* R:once.word, pairs with plait_once_call: what the function wrote. */
    } while (!pl_cas_release(&once->word_, &seen, next));
    if (seen & ONCE_WAITERS)
        pl_unpark(&once->word_, INT_MAX);
}

/* Requires: the word names the caller. `torn`: ONCE_TORN or 0. */
static int run(plait_once *once, plait_once_function *fn, void *arg, uint32_t torn)
{
    uint32_t forks = __atomic_load_n(&pl_forks, __ATOMIC_RELAXED);
    int notice = torn ? PLAIT_OWNER_DIED : 0;
    int rc = fn(arg, notice);
    if (forks != __atomic_load_n(&pl_forks, __ATOMIC_RELAXED) && pl_arena_holds(once))
        return PLAIT_ECHILD; /* a child that fn forked; the word names its parent */
    end_run(once, rc < 0 ? torn : ONCE_DONE);
    return rc < 0 ? rc : notice;
}

/* Whether the runner is gone for this once: dead, or (in a forked copy) never there. 1, 0, PLAIT_EPRIVATE. */
static int is_lost(const plait_once *once, uint32_t runner)
{
    if (pl_is_dead(runner))
        return 1;
    if (pl_arena_holds(once) ||
        pl_load_relaxed(&pl_slot_of(runner)->pid) == pl_load_relaxed(&pl_self.slot->pid))
        return 0;
    return pl_mapping_is_shared(once) ? PLAIT_EPRIVATE : 1;
}

/* Makes the caller the runner, in place of the one in `seen`, who is lost, or of nobody. False if
 * another was faster. */
static bool take(plait_once *once, uint32_t seen, uint32_t *ret_torn)
{
    uint32_t lost = seen & PL_ID_MASK;
    *ret_torn = lost ? ONCE_TORN : seen & ONCE_TORN;
    uint32_t next = (seen & ONCE_WAITERS) | *ret_torn | pl_self.id;
    /* A:once.word, pairs with end_run: what a run that failed has left. */
    if (!pl_cas_acq_rel(&once->word_, &seen, next))
        return false;
    if (lost)
        pl_store_relaxed(&once->died_, lost);
    return true;
}

/* --- waiting --- */

/* Looks again and again while this worker runs it. True: the word has changed. */
static bool ends_soon(const plait_once *once, uint32_t runner)
{
    struct pl_spin spin = {0};
    while ((pl_load_relaxed(&once->word_) & PL_ID_MASK) == runner)
        if (!pl_spin(&spin))
            return false;
    pl_spin_won(&spin);
    return true;
}

/* Flags the word as waited for and sleeps on it. 0: look again; else as pl_park. */
static int sleep_on(plait_once *once, uint32_t runner, struct pl_wait *wait)
{
    uint32_t seen = pl_load_relaxed(&once->word_);
    if ((seen & PL_ID_MASK) != runner)
        return 0;
    if (!(seen & ONCE_WAITERS)) {
        if (!pl_cas_relaxed(&once->word_, &seen, seen | ONCE_WAITERS))
            return 0;
        seen |= ONCE_WAITERS;
    }
    wait->holder = runner;
    int64_t start = plait_now();
    int rc = pl_park(&once->word_, seen, wait);
    if (rc == 0)
        pl_spin_slept(plait_now() - start);
    return rc;
}

static int wait_for(plait_once *once, uint32_t runner, struct pl_wait *wait)
{
    int rc = ends_soon(once, runner) ? 0 : sleep_on(once, runner, wait);
    if (rc == 0 || !plait_once_done(once))
        return rc;
    if (rc == PLAIT_ECANCELED) /* it came at the same time; the next call says it */
        pl_cancel_put_back();
    return 0;
}

static __attribute__((noinline)) int call_slow(plait_once *once, plait_once_function *fn, void *arg)
{
    struct pl_wait wait;
    uint32_t torn;
    int rc = pl_self_known();
    if (rc == 0)
        pl_wait_begin(&wait, PL_WAIT_ONCE, PLAIT_FOREVER);
    while (rc == 0) {
        /* A:once.word, pairs with end_run. */
        uint32_t seen = pl_load_acquire(&once->word_), runner = seen & PL_ID_MASK;
        if (seen & ONCE_DONE)
            return 0;
        if (runner == pl_self.id)
            return PLAIT_EDEADLK;
        int lost = runner ? is_lost(once, runner) : 1;
        if (lost > 0 && take(once, seen, &torn))
            return run(once, fn, arg, torn);
        rc = lost == 0 ? wait_for(once, runner, &wait) : lost < 0 ? lost : 0;
    }
    return rc;
}

int plait_once_call(plait_once *once, plait_once_function *fn, void *arg)
{
    if (__builtin_expect(!once || !fn, 0))
        return PLAIT_EINVAL;
    /* A:once.word, pairs with end_run. */
    if (__builtin_expect(pl_load_acquire(&once->word_) & ONCE_DONE, 1))
        return 0;
    return call_slow(once, fn, arg);
}

int plait_once_blame(plait_once *once, plait_blame *ret)
{
    if (!once || !ret)
        return PLAIT_EINVAL;
    uint32_t dead = pl_load_relaxed(&once->died_);
    if (dead == 0)
        return PLAIT_ESRCH;
    return pl_blame_of_id(dead, ret) ? 0 : PLAIT_ESTALE;
}
