/* The latch: a count and whether anyone sleeps, in one word.
 *
 *   bit 31       LATCH_WAITERS: someone may sleep on the word. Set before sleeping, cleared by who counts
 *                down to 0, who wakes all. Never set with a count of 0.
 *   bits 30..0   the count
 *
 * Naive: subtract, and whoever sees 0 wakes. Its hole: a subtraction past 0 has to be taken back, and
 * meanwhile the count was another. So it is a compare-and-swap, which knows before. All changes
 * of the word are such, so each carries on what the earlier ones published (R:latch.word). The one who
 * counts to 0 touches the latch no more after that: waking needs the address only. */
#include "base/atomic.h"
#include "base/clock.h"
#include "park/park.h"

#include <limits.h>
#include <plait/latch.h>

#define LATCH_WAITERS UINT32_C(0x80000000)
#define LATCH_COUNT UINT32_C(0x7fffffff)

int plait_latch_init(plait_latch *latch, int count)
{
    if (!latch || count < 0)
        return PLAIT_EINVAL;
    pl_store_release(&latch->word_, (uint32_t)count);
    return 0;
}

int plait_latch_count_down(plait_latch *latch, int n)
{
    if (!latch || n < 1)
        return PLAIT_EINVAL;
    uint32_t seen = pl_load_relaxed(&latch->word_), next;
    do {
        if ((seen & LATCH_COUNT) < (uint32_t)n)
            return PLAIT_EOVERFLOW;
        next = seen - (uint32_t)n;
        if (next == LATCH_WAITERS) {
            next = 0;
            pl_will_unpark(&latch->word_);
        }
        /* R:latch.word, pairs with plait_latch_wait and plait_latch_count. */
    } while (!pl_cas_release(&latch->word_, &seen, next));
    if (next == 0 && (seen & LATCH_WAITERS))
        pl_unpark(&latch->word_, INT_MAX);
    return 0;
}

static bool is_open(const plait_latch *latch)
{
    /* A:latch.word, pairs with plait_latch_count_down. */
    return (pl_load_acquire(&latch->word_) & LATCH_COUNT) == 0;
}

static bool opens_soon(const plait_latch *latch)
{
    struct pl_spin spin = {.answer = true};
    while (!is_open(latch))
        if (!pl_spin(&spin))
            return false;
    pl_spin_won(&spin);
    return true;
}

/* Flags the word as waited for and sleeps on it. 0: look again; else as pl_park. */
static int sleep_on(plait_latch *latch, struct pl_wait *wait)
{
    uint32_t seen = pl_load_relaxed(&latch->word_);
    if ((seen & LATCH_COUNT) == 0)
        return 0;
    if (!(seen & LATCH_WAITERS)) {
        if (!pl_cas_relaxed(&latch->word_, &seen, seen | LATCH_WAITERS))
            return 0;
        seen |= LATCH_WAITERS;
    }
    int64_t start = plait_now();
    int rc = pl_park(&latch->word_, seen, wait);
    if (rc == 0)
        pl_spin_slept(plait_now() - start);
    return rc;
}

static int wait_slow(plait_latch *latch, struct pl_wait *wait)
{
    int rc = 0;
    while (rc == 0 && !opens_soon(latch))
        rc = sleep_on(latch, wait);
    if (rc == 0 || !is_open(latch))
        return rc;
    if (rc == PLAIT_ECANCELED) /* it came at the same time; the next call says it */
        pl_cancel_put_back();
    return 0;
}

int plait_latch_wait(plait_latch *latch, int64_t timeout)
{
    struct pl_wait wait;
    int rc = latch ? pl_wait_begin(&wait, PL_WAIT_LATCH, timeout) : PLAIT_EINVAL;
    if (rc < 0)
        return rc;
    if (is_open(latch))
        return 0;
    if (timeout == PLAIT_NOWAIT)
        return PLAIT_ETIMEDOUT;
    rc = pl_waiter_known(&latch->word_);
    return rc < 0 ? rc : wait_slow(latch, &wait);
}

int plait_latch_arrive_and_wait(plait_latch *latch, int64_t timeout)
{
    int rc = latch ? pl_check_timeout(timeout) : PLAIT_EINVAL;
    if (rc == 0)
        rc = pl_waiter_known(&latch->word_); /* before it is counted: that cannot be taken back */
    if (rc == 0)
        rc = plait_latch_count_down(latch, 1);
    return rc < 0 ? rc : plait_latch_wait(latch, timeout);
}

int plait_latch_count(const plait_latch *latch)
{
    /* A:latch.word, pairs with plait_latch_count_down. */
    return latch ? (int)(pl_load_acquire(&latch->word_) & LATCH_COUNT) : 0;
}
