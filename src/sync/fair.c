/* The fair lock: strictly first come, first served.
 *
 * Naive: a release hands the word to the first waiter. Its hole: the chosen one may die or give up just
 * then, and holds a lock it does not know of. Cure: a release frees the word, as for any lock, and
 * calls the first in the line; but who is not first does not take it. So being chosen changes
 * nothing but who runs, and whoever is first when it looks may take the lock.
 *
 * The line is not a queue of links, which a death could tear: each waiter stands in it by itself, with the
 * lock's address and a ticket in its registry slot; the first is the living one with the lowest ticket.
 * Finding it costs a look at each slot, on paths that sleep anyway. Facts:
 *   1 who sleeps stands in the line, and has seen WAITERS in the word after it joined. So a release
 *     that comes after finds it: it looks at the line if WAITERS is set;
 *   2 WAITERS is taken off by a holder only, who looks at the line after that and sets it again if
 *     someone stands there: he may have seen it before it went. (Taken off the free word, it could be
 *     so late that others sleep there again, and a newcomer would pass them.);
 *   3 who leaves the line looks at the word after that, and calls the next if the lock is to be had.
 *     So whoever freed it has either found the leaver gone, or it does what the call was for;
 *   4 a caller that dies, or a called one, is noticed through hearts, and naps, as everywhere; and its
 *     recoverer wakes the whole line.
 *
 * A newcomer takes a free lock at once only if nobody stands in the line; without WAITERS it need not
 * look. */
#include "base/clock.h"
#include "sync/lock_word.h"

enum { WAITING = 0, CALLED = 1 };

static struct pl_place *own_place(void)
{
    return &pl_self.slot->place;
}

/* Also of a thread that is not in the registry: it may release. */
static int32_t own_pid(void)
{
    return pl_self.slot ? pl_load_relaxed(&pl_self.slot->pid) : pl_this_process().pid;
}

static bool stands_in(struct pl_slot *slot, const plait_lock *lock)
{
    /* A:place.line, pairs with join. seq_cst: after the change of the word (facts 2 and 3). */
    return pl_load_seq_cst(&slot->place.line) == &lock->word_ &&
           (pl_arena_holds(lock) || pl_load_relaxed(&slot->pid) == own_pid()) &&
           !pl_is_dead(pl_slot_id(slot));
}

/* The living worker with the lowest ticket; NULL: nobody is in line. */
static struct pl_slot *first_in(const plait_lock *lock)
{
    struct pl_slot *first = NULL;
    uint64_t lowest = UINT64_MAX;
    uint32_t ready = pl_load_acquire(&pl_arena->slots_ready);
    for (uint32_t i = 1; i < ready; i++) {
        struct pl_slot *slot = pl_slot_at(i);
        if (!stands_in(slot, lock))
            continue;
        uint64_t ticket = pl_load_relaxed(&slot->place.ticket);
        if (ticket < lowest) {
            lowest = ticket;
            first = slot;
        }
    }
    return first;
}

static void join(plait_lock *lock)
{
    struct pl_place *place = own_place();
    pl_store_relaxed(&place->word, (uint32_t)WAITING);
    pl_store_relaxed(&place->ticket, pl_fetch_add_relaxed(&pl_arena->tickets, UINT64_C(1)));
    /* R:place.line, pairs with stands_in. seq_cst: before the look at the word (fact 1). */
    pl_store_seq_cst(&place->line, &lock->word_);
}

void pl_fair_queue(plait_lock *lock)
{
    join(lock);
}

static bool is_in_line(const plait_lock *lock)
{
    return pl_load_relaxed(&own_place()->line) == &lock->word_;
}

bool pl_fair_call(plait_lock *lock)
{
    struct pl_slot *first = pl_arena ? first_in(lock) : NULL;
    if (!first) {
        pl_wont_unpark();
        return false;
    }
    /* R:place.called, pairs with wait_in_line. */
    pl_store_release(&first->place.word, (uint32_t)CALLED);
    pl_unpark(&first->place.word, 1);
    return true;
}

/* Whether nobody holds the lock who could release it. */
static bool is_to_be_had(const plait_lock *lock, uint32_t seen)
{
    uint32_t holder = seen & PL_ID_MASK;
    return holder == 0 || (holder != pl_self.id && pl_lock_is_lost(lock, holder));
}

/* Leaves the line, with the lock or without (fact 3). */
static void leave(plait_lock *lock)
{
    pl_will_unpark(&lock->word_);
    /* seq_cst: before the look at the word. */
    pl_store_seq_cst(&own_place()->line, NULL);
    if (is_to_be_had(lock, pl_load_seq_cst(&lock->word_)))
        pl_fair_call(lock);
    else
        pl_wont_unpark();
}

/* This worker has taken the lock with WAITERS set, but with nobody in line (fact 2). */
static void clear_waiters(plait_lock *lock)
{
    uint32_t mine = pl_self.id | PL_LOCK_FAIR | PL_LOCK_WAITERS;
    if (!pl_cas_seq_cst(&lock->word_, &mine, pl_self.id | PL_LOCK_FAIR) || !first_in(lock))
        return;
    uint32_t was = pl_fetch_or_seq_cst(&lock->word_, PL_LOCK_WAITERS);
    if ((was & PL_ID_MASK) == 0) /* a stranger has released it meanwhile, and called nobody */
        pl_fair_call(lock);
}

/* Whether it is this worker's turn, should the lock be to be had. */
static bool is_first(const plait_lock *lock, uint32_t seen)
{
    if (is_in_line(lock))
        return first_in(lock) == pl_self.slot;
    return !(seen & PL_LOCK_WAITERS) || !first_in(lock);
}

static uint32_t taken(const plait_lock *lock, uint32_t seen)
{
    return pl_self.id | (seen & PL_LOCK_FLAGS) | (is_in_line(lock) ? PL_LOCK_WAITERS : 0);
}

/* Tries to take the lock. 0: taken; PLAIT_OWNER_DIED, PLAIT_EPRIVATE; PLAIT_EBUSY: not now, judged by the
 * word as it was in *seen: if it has changed since, it may be the caller's turn. */
static int try_take(plait_lock *lock, uint32_t *seen)
{
    *seen = pl_load_seq_cst(&lock->word_);
    while (is_to_be_had(lock, *seen) && is_first(lock, *seen)) {
        if (*seen & PL_ID_MASK) {
            int rc = pl_lock_inherit(lock, *seen, taken(lock, *seen));
            if (rc != 0)
                return rc;
            *seen = pl_load_seq_cst(&lock->word_);
            /* A:lock.word, pairs with plait_lock_release. */
        } else if (pl_cas_acquire(&lock->word_, seen, taken(lock, *seen))) {
            return 0;
        }
    }
    return PLAIT_EBUSY;
}

/* Joins the line and sees WAITERS set after that. False: look again. */
static bool stand_in_line(plait_lock *lock, uint32_t seen)
{
    bool joined = !is_in_line(lock);
    if (joined)
        join(lock);
    uint32_t now = pl_load_seq_cst(&lock->word_);
    if (now != seen || (joined && is_to_be_had(lock, now)))
        return false;
    return (now & PL_LOCK_WAITERS) || pl_cas_seq_cst(&lock->word_, &now, now | PL_LOCK_WAITERS);
}

/* Whether this worker has been called, or is soon. */
static bool is_called_soon(void)
{
    struct pl_spin spin = {0};
    uint32_t *word = &own_place()->word;
    while (pl_load_acquire(word) == WAITING)
        if (!pl_spin(&spin))
            return false;
    pl_spin_won(&spin);
    return true;
}

/* Sleeps until called. 0: look again; else as pl_park. */
static int sleep_in_line(plait_lock *lock, uint32_t holder, struct pl_wait *wait)
{
    uint32_t *word = &own_place()->word;
    wait->holder =
        holder && !pl_is_dead(holder) ? holder : 0; /* the first in line sees to a dead one */
    wait->shown = &lock->word_;
    int rc = pl_park(word, WAITING, wait);
    if (rc == 0)
        pl_spin_slept(wait->slept_for);
    return rc;
}

static int wait_in_line(plait_lock *lock, uint32_t seen, struct pl_wait *wait)
{
    if (!stand_in_line(lock, seen))
        return 0;
    int rc = is_called_soon() ? 0 : sleep_in_line(lock, seen & PL_ID_MASK, wait);
    /* A:place.called, pairs with pl_fair_call: a call that this overwrites is answered by the next look at
     * the word, which shows what the caller did before. */
    pl_exchange_acq_rel(&own_place()->word, (uint32_t)WAITING);
    return rc;
}

int pl_fair_round(plait_lock *lock, struct pl_wait *wait)
{
    uint32_t seen;
    int rc = try_take(lock, &seen);
    if (rc == PLAIT_EBUSY) {
        rc = wait->deadline == 0 ? PLAIT_ETIMEDOUT : wait_in_line(lock, seen, wait);
        if (rc == 0)
            return PLAIT_EBUSY;
    }
    if (is_in_line(lock))
        leave(lock);
    else if (rc >= 0 && (seen & PL_LOCK_WAITERS))
        clear_waiters(lock);
    return rc;
}

int pl_fair_acquire(plait_lock *lock, struct pl_wait *wait)
{
    int rc;
    do
        rc = pl_fair_round(lock, wait);
    while (rc == PLAIT_EBUSY);
    return rc;
}
