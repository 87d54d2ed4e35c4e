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
 *   2 WAITERS is cleared only where the line was found empty, by compare-and-swap on the free word; who
 *     joined meanwhile sees a free lock and does not sleep. Should the word have been taken and freed
 *     in between (the swap does not see that), that release has called the one who joined, and who takes
 *     the lock out of the line sets WAITERS again;
 *   3 who leaves the line without the lock calls the next if the lock is free;
 *   4 a caller that dies, or a called one, is noticed through hearts, and naps, as everywhere.
 *
 * A newcomer takes a free lock at once only if WAITERS is not set: nobody stands in the line. */
#include "base/clock.h"
#include "sync/lock_word.h"

enum { WAITING = 0, CALLED = 1 };

static struct pl_place *own_place(void)
{
    return &pl_self.slot->place;
}

static bool stands_in(struct pl_slot *slot, const plait_lock *lock)
{
    /* A:place.line, pairs with join. */
    return pl_load_acquire(&slot->place.line) == &lock->word_ &&
           (pl_arena_holds(lock) ||
            pl_load_relaxed(&slot->pid) == pl_load_relaxed(&pl_self.slot->pid)) &&
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

static bool is_in_line(const plait_lock *lock)
{
    return pl_load_relaxed(&own_place()->line) == &lock->word_;
}

static void leave(void)
{
    pl_store_release(&own_place()->line, NULL);
}

bool pl_fair_call(plait_lock *lock)
{
    struct pl_slot *first = pl_self_known() == 0 ? first_in(lock) : NULL;
    if (!first)
        return false;
    /* R:place.called, pairs with wait_in_line. */
    pl_store_release(&first->place.word, (uint32_t)CALLED);
    pl_unpark(&first->place.word, 1);
    return true;
}

/* A free word with nobody in line: takes WAITERS off. */
static void clear_waiters(plait_lock *lock)
{
    uint32_t kept = PL_LOCK_FAIR | PL_LOCK_WAITERS;
    pl_cas_seq_cst(&lock->word_, &kept, PL_LOCK_FAIR);
}

/* Gives up; if the lock is free, the next in line may have been waiting for us. */
static int give_up(plait_lock *lock, int why)
{
    leave();
    uint32_t seen = pl_load_seq_cst(&lock->word_);
    if ((seen & PL_ID_MASK) == 0 && !pl_fair_call(lock))
        clear_waiters(lock);
    return why;
}

/* Whether it is this worker's turn, should the lock be to be had. */
static bool is_first(const plait_lock *lock, uint32_t seen)
{
    return is_in_line(lock) ? first_in(lock) == pl_self.slot : !(seen & PL_LOCK_WAITERS);
}

static uint32_t taken(const plait_lock *lock, uint32_t seen)
{
    return pl_self.id | (seen & PL_LOCK_FLAGS) | (is_in_line(lock) ? PL_LOCK_WAITERS : 0);
}

/* Tries to take the lock. 0: taken; PLAIT_OWNER_DIED, PLAIT_EPRIVATE; PLAIT_EBUSY: not now. The caller
 * keeps the word as it was judged by: if it has changed, it may be the caller's turn by now. */
static int try_take(plait_lock *lock, uint32_t seen)
{
    uint32_t holder = seen & PL_ID_MASK;
    if ((holder && !pl_lock_is_lost(lock, holder)) || !is_first(lock, seen))
        return PLAIT_EBUSY;
    if (holder == 0)
        /* A:lock.word, pairs with plait_lock_release. */
        return pl_cas_acquire(&lock->word_, &seen, taken(lock, seen)) ? 0 : PLAIT_EBUSY;
    int rc = pl_lock_inherit(lock, seen, taken(lock, seen));
    return rc != 0 ? rc : PLAIT_EBUSY;
}

/* Joins the line and sees WAITERS set after that. False: look again. */
static bool stand_in_line(plait_lock *lock, uint32_t seen)
{
    bool joined = !is_in_line(lock);
    if (joined)
        join(lock);
    uint32_t now = pl_load_seq_cst(&lock->word_);
    bool may_be_ours = joined && (now & PL_ID_MASK) == 0;
    if (now != seen || may_be_ours)
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

/* A worker that is not to wait may have found a free lock whose line has died. True: look again. */
static bool line_is_empty(plait_lock *lock, uint32_t seen)
{
    if ((seen & PL_ID_MASK) || !(seen & PL_LOCK_WAITERS) || pl_fair_call(lock))
        return false;
    clear_waiters(lock);
    return true;
}

int pl_fair_round(plait_lock *lock, struct pl_wait *wait)
{
    uint32_t seen = pl_load_seq_cst(&lock->word_);
    int rc = try_take(lock, seen);
    if (rc != PLAIT_EBUSY) {
        leave();
        return rc;
    }
    if (wait->deadline == 0)
        return line_is_empty(lock, seen) ? PLAIT_EBUSY : PLAIT_ETIMEDOUT;
    rc = wait_in_line(lock, seen, wait);
    return rc < 0 ? give_up(lock, rc) : PLAIT_EBUSY;
}

int pl_fair_acquire(plait_lock *lock, struct pl_wait *wait)
{
    int rc;
    do
        rc = pl_fair_round(lock, wait);
    while (rc == PLAIT_EBUSY);
    return rc;
}
