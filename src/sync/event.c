/* The event: a flag, a count of sets, and whether anyone sleeps, in one word.
 *
 * Naive: wait until the flag is seen set. Its hole: set and clear in quick succession, and a waiter
 * that was woken by set looks too late. Cure: the word counts the sets, and a waiter returns when
 * the flag is set or the count has moved since it came.
 *
 *   bit 31       EVENT_WAITERS: someone may sleep on the word. Set by a waiter before it sleeps,
 *                cleared by set, which wakes all. Must never be clear with a sleeper.
 *   bits 30..1   sets so far, modulo 2^30: wrong only if exactly that many sets pass one waiter by
 *   bit 0        EVENT_SET
 *
 * Every set of a clear event changes the word, so a waiter about to sleep on the old word does not
 * (pl_park compares). A setter that dies between the change and the wake-up is recovered through
 * pl_will_unpark. */
#include "base/atomic.h"
#include "base/clock.h"
#include "park/park.h"

#include <limits.h>
#include <plait/event.h>

#define EVENT_WAITERS UINT32_C(0x80000000)
#define EVENT_COUNT UINT32_C(0x7ffffffe)
#define EVENT_SET UINT32_C(1)

int plait_event_init(plait_event *event)
{
    if (!event)
        return PLAIT_EINVAL;
    pl_store_release(&event->word_, 0u);
    return 0;
}

int plait_event_set(plait_event *event)
{
    if (!event)
        return PLAIT_EINVAL;
    uint32_t seen = pl_load_relaxed(&event->word_), next;
    do {
        next = ((seen + 2) & EVENT_COUNT) | EVENT_SET;
        if (seen & EVENT_SET) /* set already; still publish what we wrote before */
            next = seen;
        if (seen & EVENT_WAITERS)
            pl_will_unpark(&event->word_);
        /* R:event.word, pairs with plait_event_wait and plait_event_is_set. */
    } while (!pl_cas_release(&event->word_, &seen, next));
    if (seen & EVENT_WAITERS)
        pl_unpark(&event->word_, INT_MAX);
    return 0;
}

int plait_event_clear(plait_event *event)
{
    if (!event)
        return PLAIT_EINVAL;
    pl_fetch_and_acq_rel(&event->word_, ~EVENT_SET);
    return 0;
}

int plait_event_is_set(const plait_event *event)
{
    /* A:event.word, pairs with plait_event_set. */
    return event && (pl_load_acquire(&event->word_) & EVENT_SET);
}

/* Whether the event is set, or has been since it read `first`. */
static bool has_happened(const plait_event *event, uint32_t first)
{
    /* A:event.word, pairs with plait_event_set. */
    uint32_t seen = pl_load_acquire(&event->word_);
    return (seen & EVENT_SET) || ((seen ^ first) & EVENT_COUNT);
}

static bool happens_soon(const plait_event *event, uint32_t first)
{
    struct pl_spin spin = {.answer = true};
    while (!has_happened(event, first))
        if (!pl_spin(&spin))
            return false;
    pl_spin_won(&spin);
    return true;
}

/* Flags the word as waited for and sleeps on it. 0: look again; else as pl_park. */
static int sleep_on(plait_event *event, uint32_t first, struct pl_wait *wait)
{
    uint32_t seen = pl_load_relaxed(&event->word_);
    if ((seen & EVENT_SET) || ((seen ^ first) & EVENT_COUNT))
        return 0;
    if (!(seen & EVENT_WAITERS)) {
        if (!pl_cas_relaxed(&event->word_, &seen, seen | EVENT_WAITERS))
            return 0;
        seen |= EVENT_WAITERS;
    }
    int rc = pl_park(&event->word_, seen, wait);
    if (rc == 0)
        pl_spin_slept(wait->slept_for);
    return rc;
}

static int wait_slow(plait_event *event, uint32_t first, struct pl_wait *wait)
{
    int rc = 0;
    while (rc == 0 && !happens_soon(event, first))
        rc = sleep_on(event, first, wait);
    if (rc == 0 || !has_happened(event, first))
        return rc;
    if (rc == PLAIT_ECANCELED) /* it came at the same time; the next call says it */
        pl_cancel_put_back();
    return 0;
}

int plait_event_wait(plait_event *event, int64_t timeout)
{
    struct pl_wait wait;
    int rc = event ? pl_wait_begin(&wait, PL_WAIT_EVENT, timeout) : PLAIT_EINVAL;
    if (rc < 0)
        return rc;
    uint32_t first = pl_load_relaxed(&event->word_);
    if (has_happened(event, first))
        return 0;
    if (timeout == PLAIT_NOWAIT)
        return PLAIT_ETIMEDOUT;
    rc = pl_waiter_known(&event->word_);
    return rc < 0 ? rc : wait_slow(event, first, &wait);
}
