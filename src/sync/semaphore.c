/* The semaphore: a value and whether anyone sleeps, in one word.
 *
 *   bit 31       SEM_WAITERS: someone may sleep on the word. Set before sleeping, and by a worker
 *                that has slept when it takes a permit, because others may still sleep; cleared by a
 *                releaser that woke fewer than it released permits for, who wakes all after that.
 *                May be set with no sleeper; must never be clear with one who is not to be woken.
 *   bits 30..0   permits
 *
 * A worker sleeps only on "no permits, waiters": any release changes that. The permits a releaser
 * adds are there before it wakes anyone, so a worker that dies woken takes no permit along; the
 * wake-up it swallowed is passed on by its recoverer (park). */
#include "base/atomic.h"
#include "base/clock.h"
#include "park/park.h"

#include <limits.h>
#include <plait/semaphore.h>

#define SEM_WAITERS UINT32_C(0x80000000)
#define SEM_VALUE UINT32_C(0x7fffffff)

int plait_semaphore_init(plait_semaphore *semaphore, int value, int bound)
{
    if (!semaphore || value < 0 || bound < 0 || (bound > 0 && value > bound))
        return PLAIT_EINVAL;
    semaphore->bound_ = (uint32_t)bound;
    pl_store_release(&semaphore->word_, (uint32_t)value);
    return 0;
}

/* Takes a permit if there is one. */
static bool take(plait_semaphore *semaphore, bool slept)
{
    uint32_t seen = pl_load_relaxed(&semaphore->word_);
    while (seen & SEM_VALUE) {
        uint32_t next = (seen - 1) | (slept ? SEM_WAITERS : 0);
        /* A:semaphore.word, pairs with plait_semaphore_release. */
        if (pl_cas_acquire(&semaphore->word_, &seen, next))
            return true;
    }
    return false;
}

static bool take_spinning(plait_semaphore *semaphore, bool slept)
{
    struct pl_spin spin = {.answer = true};
    while (!take(semaphore, slept))
        if (!pl_spin(&spin))
            return false;
    pl_spin_won(&spin);
    return true;
}

/* Flags the word as waited for and sleeps on it. 0: look again; else as pl_park. */
static int sleep_on(plait_semaphore *semaphore, struct pl_wait *wait)
{
    uint32_t seen = pl_load_relaxed(&semaphore->word_);
    if (seen & SEM_VALUE)
        return 0;
    if (!(seen & SEM_WAITERS) && !pl_cas_relaxed(&semaphore->word_, &seen, SEM_WAITERS))
        return 0;
    int rc = pl_park(&semaphore->word_, SEM_WAITERS, wait);
    if (rc == 0)
        pl_spin_slept(wait->slept_for);
    return rc;
}

/* Gives up; a wake-up that this worker may have been given meanwhile goes to the next. */
static int give_up(plait_semaphore *semaphore, const struct pl_wait *wait, int why)
{
    uint32_t seen = pl_load_relaxed(&semaphore->word_);
    if (wait->slept && (seen & SEM_VALUE)) /* the flag may have been cleared behind us */
        pl_unpark(&semaphore->word_, 1);
    return why;
}

static int acquire_slow(plait_semaphore *semaphore, struct pl_wait *wait)
{
    while (!take_spinning(semaphore, wait->slept)) {
        int rc = sleep_on(semaphore, wait);
        if (rc < 0)
            return give_up(semaphore, wait, rc);
    }
    return 0;
}

int plait_semaphore_acquire(plait_semaphore *semaphore, int64_t timeout)
{
    struct pl_wait wait;
    int rc = semaphore ? pl_check_timeout(timeout) : PLAIT_EINVAL;
    if (rc < 0)
        return rc;
    if (take(semaphore, false))
        return 0;
    if (timeout == PLAIT_NOWAIT)
        return PLAIT_ETIMEDOUT;
    rc = pl_waiter_known(&semaphore->word_);
    if (rc < 0)
        return rc;
    pl_wait_begin(&wait, PL_WAIT_SEMAPHORE, timeout);
    return acquire_slow(semaphore, &wait);
}

static uint32_t bound_of(const plait_semaphore *semaphore)
{
    return semaphore->bound_ ? semaphore->bound_ : SEM_VALUE;
}

/* Fewer slept than permits came: takes the flag off. The word may have been another since, and come back
 * to the same with others asleep behind the flag; so whoever sleeps is told to look, and flags it anew. */
static void clear_waiters(plait_semaphore *semaphore, uint32_t kept)
{
    pl_will_unpark(&semaphore->word_);
    if (pl_cas_seq_cst(&semaphore->word_, &kept, kept & SEM_VALUE))
        pl_unpark(&semaphore->word_, INT_MAX);
}

int plait_semaphore_release(plait_semaphore *semaphore, int n)
{
    if (!semaphore || n < 1)
        return PLAIT_EINVAL;
    uint32_t seen = pl_load_relaxed(&semaphore->word_), next;
    do {
        if ((seen & SEM_VALUE) + (uint32_t)n > bound_of(semaphore))
            return PLAIT_EOVERFLOW;
        next = seen + (uint32_t)n;
        if (seen & SEM_WAITERS)
            pl_will_unpark(&semaphore->word_);
        /* R:semaphore.word, pairs with take. */
    } while (!pl_cas_release(&semaphore->word_, &seen, next));
    if ((next & SEM_WAITERS) && pl_unpark(&semaphore->word_, n) < n)
        clear_waiters(semaphore, next);
    return 0;
}

int plait_semaphore_value(const plait_semaphore *semaphore)
{
    return semaphore ? (int)(pl_load_relaxed(&semaphore->word_) & SEM_VALUE) : 0;
}
