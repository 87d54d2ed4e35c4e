/* The barrier: rounds with a number, and arrivals counted in the same word.
 *
 * Naive: count those who come; the last one sets the count back and wakes the others. Its holes: a
 * fast worker comes again before a slow one has looked, and is counted into the wrong round; who
 * breaks and resets it may be so fast that a waiter never sees it broken; and the dead are waited for.
 * Cure: everything is one word of 64 bits, changed by compare-and-swap only, in which rounds are
 * numbered; and whoever comes writes down in its registry slot which round it is in, before it is
 * counted and until it has left. Facts:
 *   1 a waiter of round n looks at the word, and it says for certain
 *        number n, not BROKEN                wait
 *        number n, BROKEN                    broken
 *        number n+1 and DRAIN                broken, and reset meanwhile
 *        anything else                       complete
 *   2 it can say so because DRAIN stays, and the number with it, until nobody of round n is inside any
 *     more: newcomers look through the registry for them. A completed round needs no such care:
 *     its slow ones see a later number, whatever has happened since, and nobody waits for them;
 *   3 dies a worker whose slot says round n, its recoverer breaks round n, or n+1 if n is complete: the
 *     dead one may have been counted, and the others have come before anybody noticed; then they would
 *     wait for it in the next one (pl_slot_leave_round). It wakes all and only then lets the slot go.
 *     Waiters, when they wake for whatever reason, look for the dead themselves, too
 *     (break_for_the_dead);
 *   4 a death from before a reset breaks nothing after it: the number is left behind by two, or DRAIN
 *     stays until the recoverers of the dead are through;
 *   5 the last to arrive completes the round in the step in which it is counted. With an action there
 *     are two steps: all are counted (full), and, after the action, complete. Its runner is named,
 *     because in the action it may meet another barrier, of which its slot then speaks.
 *
 * The word; its low half is the futex, which an arrival does not change:
 *   bits 63..48   how often this process had been forked, if the barrier is private: arrivals in a copy
 *                 that a fork made are those of the parent's workers, who are not here. In the arena 0
 *   bits 47..32   arrivals
 *   bit 31        PL_ROUND_WAITERS: someone may sleep on the word; cleared by whoever changes what they
 *                 wait for, who wakes all
 *   bit 30        PL_ROUND_BROKEN, until reset
 *   bit 29        PL_ROUND_DRAIN, see fact 2; no arrivals until it is cleared
 *   bit 28        PL_ROUND_DIED: the last broken round was broken by a death
 *   bits 27..0    the round's number, modulo 2^28: wrong only if exactly that many pass a waiter by
 *
 * Ordering: every change of the word is a read-modify-write with release and acquire (R:barrier.word), so
 * who sees a round complete (A:barrier.word) sees what all its workers wrote before they came. */
#include "base/atomic.h"
#include "base/clock.h"
#include "park/park.h"
#include "port/cpu.h"
#include "port/mapping.h"
#include "registry/code.h"

#include <limits.h>
#include <plait/barrier.h>

#define ONE_ARRIVAL (UINT64_C(1) << 32)
#define FORKS_SHIFT 48

enum outcome { OPEN, COMPLETE, BROKEN };

static struct pl_round *round_of(const plait_barrier *b)
{
    _Static_assert(sizeof(struct pl_round) == sizeof b->round_, "the public type has room for it");
    return (struct pl_round *)(uintptr_t)b->round_;
}

static uint64_t *state_of(const plait_barrier *b)
{
    return &round_of(b)->state;
}

/* What sleepers sleep on (little-endian on all our machines). */
static uint32_t *word_of(const plait_barrier *b)
{
    return (uint32_t *)state_of(b);
}

static uint32_t number_of(uint64_t state)
{
    return (uint32_t)(state & PL_ROUND_NUMBER);
}

static uint32_t number_after(uint64_t state)
{
    return (number_of(state) + 1) & (uint32_t)PL_ROUND_NUMBER;
}

static uint32_t number_before(uint32_t number)
{
    return (number - 1) & (uint32_t)PL_ROUND_NUMBER;
}

static uint32_t arrivals_of(uint64_t state)
{
    return (uint32_t)(state >> 32) & 0xffff;
}

/* The bits that say whose arrivals these are. */
static uint64_t forks_here(const plait_barrier *b)
{
    uint32_t forks = __atomic_load_n(&pl_forks, __ATOMIC_RELAXED);
    return pl_arena_holds(b) ? 0 : (uint64_t)(uint16_t)forks << FORKS_SHIFT;
}

/* Whether the arrivals are those of another process: it was copied by a fork, or the memory is shared. */
static bool is_anothers(const plait_barrier *b, uint64_t state)
{
    return state >> FORKS_SHIFT != forks_here(b) >> FORKS_SHIFT;
}

/* Fact 1. */
static enum outcome outcome_in(uint64_t state, uint32_t number)
{
    if (number_of(state) == number)
        return state & PL_ROUND_BROKEN ? BROKEN : OPEN;
    return (state & PL_ROUND_DRAIN) && number_of(state) == number_after(number) ? BROKEN : COMPLETE;
}

static enum outcome outcome_of(const plait_barrier *b, uint32_t number)
{
    /* A:barrier.word, pairs with change. */
    return outcome_in(pl_load_acquire(state_of(b)), number);
}

/* Changes the word, if it still is *seen; if the change takes WAITERS off, wakes them. */
static bool change(plait_barrier *b, uint64_t *seen, uint64_t next)
{
    bool wakes = *seen & ~next & PL_ROUND_WAITERS;
    if (wakes)
        pl_will_unpark(word_of(b));
    /* R:barrier.word, pairs with outcome_of. */
    if (!pl_cas_acq_rel(state_of(b), seen, next))
        return false;
    if (wakes)
        pl_unpark(word_of(b), INT_MAX);
    return true;
}

/* The word after the round is complete; after it was broken, not by a death. */
static uint64_t completed(uint64_t state)
{
    return (state >> FORKS_SHIFT << FORKS_SHIFT) | number_after(state);
}

static uint64_t broken(uint64_t state)
{
    return (state | PL_ROUND_BROKEN) & ~(PL_ROUND_WAITERS | PL_ROUND_DIED);
}

/* --- the dead --- */

/* If the worker of the slot is in this round: its id, else 0. The id is read twice, for the slot may
 * change hands meanwhile; a new worker's slot speaks of no round before it has the new id. */
static uint32_t worker_in_round(const plait_barrier *b, struct pl_slot *slot, uint32_t number)
{
    if (pl_slot_round(slot) != round_of(b)) /* nearly all of them */
        return 0;
    uint32_t id = pl_load_acquire(&slot->id);
    if (pl_load_acquire(&slot->round) != round_of(b) ||
        pl_load_acquire(&slot->round_number) != number ||
        (!pl_arena_holds(b) && pl_load_relaxed(&slot->pid) != pl_load_relaxed(&pl_self.slot->pid)))
        return 0;
    return pl_load_acquire(&slot->id) == id ? id : 0;
}

/* The action and how other processes find it. */
static struct pl_function *action_of(const plait_barrier *b)
{
    _Static_assert(sizeof b->action_ + sizeof b->action_place_ == sizeof(struct pl_function),
                   "a function and its name");
    return (struct pl_function *)&b->action_;
}

static uint64_t runner_name(uint32_t number, uint32_t id)
{
    return (uint64_t)number << 32 | id;
}

/* Who runs the action of this round, 0: nobody (yet). */
static uint32_t runner_of(const plait_barrier *b, uint32_t number)
{
    uint64_t runner = pl_load_acquire(&b->runner_);
    return runner >> 32 == number ? (uint32_t)runner : 0;
}

static void break_for(plait_barrier *b, uint32_t number, uint32_t dead)
{
    pl_will_unpark(word_of(b));
    pl_round_break(round_of(b), number, dead);
    pl_unpark(word_of(b), INT_MAX);
}

/* If a worker is dead that is in this round, or has not left the one before (fact 3). */
static void break_for_the_dead(plait_barrier *b, uint32_t number)
{
    uint32_t ready = pl_load_acquire(&pl_arena->slots_ready), runner = runner_of(b, number);
    if (runner && pl_is_dead(runner))
        break_for(b, number, runner);
    for (uint32_t i = 1; i < ready; i++) {
        struct pl_slot *slot = pl_slot_at(i);
        uint32_t in = number, id = worker_in_round(b, slot, in);
        if (!id && pl_slot_round(slot) == round_of(b)) {
            in = number_before(number);
            id = worker_in_round(b, slot, in);
        }
        if (id && pl_is_dead(id))
            break_for(b, in, id);
    }
}

/* --- at the door: who cannot be counted yet --- */

/* Whether the worker of the slot has not left this round yet. A dead one leaves by its recovery. */
static bool is_still_in(const plait_barrier *b, struct pl_slot *slot, uint32_t number)
{
    uint32_t id = worker_in_round(b, slot, number);
    if (id && pl_is_dead(id)) {
        pl_recover(slot);
        return worker_in_round(b, slot, number) != 0;
    }
    return id != 0;
}

static bool is_somebody_in(const plait_barrier *b, uint32_t number)
{
    uint32_t ready = pl_load_acquire(&pl_arena->slots_ready);
    for (uint32_t i = 1; i < ready; i++)
        if (is_still_in(b, pl_slot_at(i), number))
            return true;
    return false;
}

/* The arrivals are another process's: a copy starts with none. 0: look again; PLAIT_EPRIVATE. */
static int make_own(plait_barrier *b, uint64_t seen)
{
    if (arrivals_of(seen) && pl_mapping_is_shared(b))
        return PLAIT_EPRIVATE;
    change(b, &seen, forks_here(b) | (seen & PL_ROUND_BROKEN) | number_after(seen));
    return 0;
}

/* Waits for a round to end that is full, or was reset. 0: look again; else as pl_park. The order of flag
 * and look matters: who leaves looks for the flag after it has left (R:barrier.left). */
static int wait_at_door(plait_barrier *b, uint64_t seen, struct pl_wait *wait)
{
    uint32_t number = number_of(seen);
    /* A:barrier.left, pairs with leave. */
    if ((seen & PL_ROUND_DRAIN) && !is_somebody_in(b, number_before(number))) {
        change(b, &seen, seen & ~(PL_ROUND_DRAIN | PL_ROUND_WAITERS));
        return 0;
    }
    if (wait->deadline == 0)
        return PLAIT_ETIMEDOUT;
    if (!(seen & PL_ROUND_WAITERS)) {
        pl_cas_seq_cst(state_of(b), &seen, seen | PL_ROUND_WAITERS);
        return 0;
    }
    wait->holder = runner_of(b, number);
    int rc = pl_park(word_of(b), (uint32_t)seen, wait);
    if (rc == 0 && pl_load_seq_cst(state_of(b)) == seen)
        break_for_the_dead(b, number);
    return rc;
}

static bool is_full(const plait_barrier *b, uint64_t state)
{
    return arrivals_of(state) >= b->parties_;
}

/* Whether there is more to do than to be counted. */
static bool is_shut(const plait_barrier *b, uint64_t state)
{
    return (state & (PL_ROUND_BROKEN | PL_ROUND_DRAIN)) || is_full(b, state) ||
           is_anothers(b, state);
}

/* 0: look again, else why not to. */
static __attribute__((noinline)) int come_to_door(plait_barrier *b, uint64_t seen,
                                                  struct pl_wait *wait)
{
    if (is_anothers(b, seen))
        return make_own(b, seen);
    if (seen & PL_ROUND_BROKEN)
        return PLAIT_EBROKEN;
    if (runner_of(b, number_of(seen)) == pl_self.id && is_full(b, seen))
        return PLAIT_EDEADLK;
    return wait_at_door(b, seen, wait);
}

/* --- in the round --- */

/* What the registry says of this worker: the round it is in, and the one whose action this was called in. */
struct place {
    struct pl_round *outer;
    uint32_t outer_number, number;
};

/* The number means nothing while there is no round: so a death in between breaks no other. */
static void enter(plait_barrier *b, const struct place *place)
{
    struct pl_slot *slot = pl_self.slot;
    if (place->outer)
        pl_store_release(&slot->round, NULL);
    pl_store_release(&slot->round_number, place->number);
    pl_store_release(&slot->round, round_of(b));
}

static void return_to_outer(const struct place *place)
{
    if (!place->outer)
        return;
    pl_store_release(&pl_self.slot->round_number, place->outer_number);
    pl_store_release(&pl_self.slot->round, place->outer);
}

static void leave(const struct place *place)
{
    pl_store_release(&pl_self.slot->round, NULL);
    return_to_outer(place);
}

/* Leaves a round that was broken, or that it was not counted in: newcomers may wait for that. */
static void leave_broken(plait_barrier *b, const struct place *place)
{
    pl_will_unpark(word_of(b));
    /* R:barrier.left, pairs with wait_at_door: first this, then the look whether someone waits for it. */
    pl_store_seq_cst(&pl_self.slot->round, NULL);
    uint64_t seen = pl_load_seq_cst(state_of(b));
    while ((seen & PL_ROUND_DRAIN) && (seen & PL_ROUND_WAITERS))
        if (change(b, &seen, seen & ~PL_ROUND_WAITERS))
            break;
    return_to_outer(place);
}

/* Flags the word as waited for and sleeps on it. 0: look again; else as pl_park. */
static int sleep_on(plait_barrier *b, uint32_t number, struct pl_wait *wait)
{
    uint64_t seen = pl_load_relaxed(state_of(b));
    if (outcome_in(seen, number) != OPEN)
        return 0;
    if (!(seen & PL_ROUND_WAITERS)) {
        if (!pl_cas_relaxed(state_of(b), &seen, seen | PL_ROUND_WAITERS))
            return 0;
        seen |= PL_ROUND_WAITERS;
    }
    wait->holder = is_full(b, seen) ? runner_of(b, number) : 0;
    int64_t start = plait_now();
    int rc = pl_park(word_of(b), (uint32_t)seen, wait);
    if (rc == 0)
        pl_spin_slept(plait_now() - start);
    if (rc == 0 && outcome_of(b, number) == OPEN)
        break_for_the_dead(b, number);
    return rc;
}

static enum outcome ends_soon(const plait_barrier *b, uint32_t number, const struct pl_wait *wait)
{
    struct pl_spin spin = {.answer = true};
    enum outcome outcome;
    /* With more parties than processors somebody has to make room for those still to come. */
    bool room = b->parties_ <= (uint32_t)pl_cpu_parallel() && wait->deadline != 0;
    while ((outcome = outcome_of(b, number)) == OPEN)
        if (!room || !pl_spin(&spin))
            return OPEN;
    pl_spin_won(&spin);
    return outcome;
}

/* Breaks the round, if it is not over. What came of it. */
static enum outcome break_round(plait_barrier *b, uint32_t number, bool *ret_by_us)
{
    /* A:barrier.word, pairs with change. */
    uint64_t seen = pl_load_acquire(state_of(b));
    enum outcome outcome = outcome_in(seen, number);
    *ret_by_us = false;
    while (outcome == OPEN && !*ret_by_us) {
        *ret_by_us = change(b, &seen, broken(seen));
        outcome = *ret_by_us ? BROKEN : outcome_in(seen, number);
    }
    return outcome;
}

/* Waits for the others; what came of it. `*why` is what this worker gave up for, or 0. */
static enum outcome wait_in_round(plait_barrier *b, uint32_t number, struct pl_wait *wait, int *why)
{
    enum outcome outcome;
    bool by_us;
    int rc = 0;
    while ((outcome = ends_soon(b, number, wait)) == OPEN && rc == 0)
        rc = sleep_on(b, number, wait);
    *why = 0;
    if (rc == 0)
        return outcome;
    outcome = break_round(b, number, &by_us);
    if (by_us)
        *why = rc;
    else if (rc == PLAIT_ECANCELED) /* the end came at the same time; the next call says it */
        pl_cancel_put_back();
    return outcome;
}

/* As the last one of a full round: runs the action. What came of the round. */
static enum outcome run_action(plait_barrier *b, uint32_t number, int *why)
{
    bool by_us;
    pl_store_release(&b->runner_, runner_name(number, pl_self.id));
    uint32_t forks = __atomic_load_n(&pl_forks, __ATOMIC_RELAXED);
    plait_function *action;
    int rc = pl_function_get(action_of(b), &action);
    if (rc == 0)
        rc = action(b->arg_);
    if (forks != __atomic_load_n(&pl_forks, __ATOMIC_RELAXED)) {
        *why = PLAIT_ECHILD; /* a child that the action forked: its parent goes on with the round */
        return OPEN;
    }
    *why = rc < 0 ? rc : 0;
    if (rc < 0) {
        break_round(b, number, &by_us);
        return BROKEN;
    }
    /* Only this worker completes the round: if it is over already, it was broken. */
    uint64_t seen = pl_load_acquire(state_of(b));
    while (outcome_in(seen, number) == OPEN)
        if (change(b, &seen, completed(seen)))
            return COMPLETE;
    return BROKEN;
}

/* Counts this worker in. *ret_index, and whether it was the last; false: it cannot be counted now. */
static bool arrive(plait_barrier *b, uint64_t seen, uint32_t *ret_index, bool *ret_last)
{
    uint32_t number = number_of(seen);
    do {
        *ret_index = arrivals_of(seen);
        *ret_last = *ret_index + 1 == b->parties_;
        if (change(b, &seen, *ret_last && !b->action_ ? completed(seen) : seen + ONE_ARRIVAL))
            return true;
    } while (number_of(seen) == number && !is_shut(b, seen));
    return false;
}

/* Counted in; until the round is over. The index, or why not. */
static int take_part(plait_barrier *b, uint32_t number, uint32_t index, bool last,
                     struct pl_wait *wait, enum outcome *ret_outcome)
{
    int why = 0;
    if (!last)
        *ret_outcome = wait_in_round(b, number, wait, &why);
    else
        *ret_outcome = b->action_ ? run_action(b, number, &why) : COMPLETE;
    if (why < 0)
        return why;
    return *ret_outcome == COMPLETE ? (int)index : PLAIT_EBROKEN;
}

/* Waits until somebody can be counted in. 0 with *ret_seen, else why not. */
static int pass_door(plait_barrier *b, struct pl_wait *wait, uint64_t *ret_seen)
{
    *ret_seen = pl_load_seq_cst(state_of(b));
    while (__builtin_expect(is_shut(b, *ret_seen), 0)) {
        int rc = come_to_door(b, *ret_seen, wait);
        if (rc < 0)
            return rc;
        *ret_seen = pl_load_seq_cst(state_of(b));
    }
    return 0;
}

static int wait_registered(plait_barrier *b, struct pl_wait *wait)
{
    struct place place = {.outer = pl_load_relaxed(&pl_self.slot->round),
                          .outer_number = pl_load_relaxed(&pl_self.slot->round_number)};
    enum outcome outcome = OPEN;
    uint32_t index;
    bool last;
    if (place.outer == round_of(b))
        return PLAIT_EDEADLK;
    for (;;) {
        uint64_t seen;
        int rc = pass_door(b, wait, &seen);
        if (rc < 0)
            return rc;
        place.number = number_of(seen);
        enter(b, &place);
        if (arrive(b, seen, &index, &last))
            break;
        leave_broken(b, &place);
    }
    int rc = take_part(b, place.number, index, last, wait, &outcome);
    if (outcome == COMPLETE)
        leave(&place);
    else if (rc != PLAIT_ECHILD)
        leave_broken(b, &place);
    return rc;
}

int plait_barrier_wait(plait_barrier *barrier, int64_t timeout)
{
    struct pl_wait wait;
    if (!barrier || !barrier->parties_)
        return PLAIT_EINVAL;
    if (timeout == PLAIT_FOREVER && barrier->timeout_)
        timeout = barrier->timeout_;
    int rc = pl_wait_begin(&wait, PL_WAIT_BARRIER, timeout);
    if (rc == 0)
        rc = pl_self_known();
    return rc < 0 ? rc : wait_registered(barrier, &wait);
}

/* --- from outside --- */

int plait_barrier_init(plait_barrier *barrier, int parties, const plait_barrier_options *options)
{
    static const plait_barrier_options none;
    if (!barrier || parties < 1)
        return PLAIT_EINVAL;
    if (parties > PLAIT_BARRIER_MAX)
        return PLAIT_EOVERFLOW;
    options = options ? options : &none;
    int rc = pl_check_timeout(options->timeout);
    if (rc < 0)
        return rc;
    barrier->parties_ = (uint32_t)parties;
    bool shared = pl_arena_holds(barrier);
    rc = shared ? pl_thread_known() : 0;
    if (rc < 0)
        return rc;
    pl_function_set(action_of(barrier), options->action, shared);
    barrier->arg_ = options->arg;
    barrier->timeout_ = options->timeout == PLAIT_FOREVER ? 0 : options->timeout;
    pl_store_relaxed(&round_of(barrier)->died, 0u);
    pl_store_relaxed(&barrier->runner_, UINT64_C(0));
    pl_store_release(state_of(barrier), forks_here(barrier));
    return 0;
}

int plait_barrier_abort(plait_barrier *barrier)
{
    if (!barrier || !barrier->parties_)
        return PLAIT_EINVAL;
    uint64_t seen = pl_load_acquire(state_of(barrier));
    while (!(seen & PL_ROUND_BROKEN))
        if (change(barrier, &seen, broken(seen)))
            break;
    return 0;
}

/* The word after a reset. While DRAIN is set the number stays (fact 2); without anybody to send away it
 * goes on by two (fact 4). */
static uint64_t after_reset(const plait_barrier *b, uint64_t state)
{
    uint64_t kept = forks_here(b) | (state & PL_ROUND_DIED);
    if (is_anothers(b, state) || (!(state & PL_ROUND_DRAIN) && !arrivals_of(state)))
        return kept | number_after(number_after(state));
    if (state & PL_ROUND_DRAIN)
        return state & ~PL_ROUND_BROKEN;
    return kept | number_after(state) | PL_ROUND_DRAIN;
}

int plait_barrier_reset(plait_barrier *barrier)
{
    if (!barrier || !barrier->parties_)
        return PLAIT_EINVAL;
    uint64_t seen = pl_load_acquire(state_of(barrier));
    while (!change(barrier, &seen, after_reset(barrier, seen)))
        continue;
    return 0;
}

int plait_barrier_parties(const plait_barrier *barrier)
{
    return barrier ? (int)barrier->parties_ : 0;
}

int plait_barrier_waiting(const plait_barrier *barrier)
{
    uint64_t seen = barrier ? pl_load_relaxed(state_of(barrier)) : 0;
    if (!barrier || (seen & PL_ROUND_BROKEN) || is_anothers(barrier, seen))
        return 0;
    return (int)arrivals_of(seen);
}

int plait_barrier_broken(const plait_barrier *barrier)
{
    return barrier && (pl_load_relaxed(state_of(barrier)) & PL_ROUND_BROKEN);
}

int plait_barrier_blame(plait_barrier *barrier, plait_blame *ret)
{
    if (!barrier || !ret)
        return PLAIT_EINVAL;
    if (!(pl_load_acquire(state_of(barrier)) & PL_ROUND_DIED))
        return PLAIT_ESRCH;
    return pl_blame_of_id(pl_load_relaxed(&round_of(barrier)->died), ret) ? 0 : PLAIT_ESTALE;
}
