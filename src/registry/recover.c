/* Recovery: what a death leaves behind is repaired by whoever notices it first (D6).
 *
 * A dead worker may have left: chunks of the allocator it owned; sleepers it was about to wake; a
 * wake-up it had been given but could not use; a condition's notification in its hand; a barrier that
 * counts on it. Each is
 * found in its slot, and each repair may be done twice without harm (a notification passed on twice
 * wakes one waiter too many, which waiters must bear; lost, it would leave one asleep). So a
 * recoverer that dies half way is simply followed by another: `recoverer` names it, and a dead name
 * may be replaced.
 *
 * Who calls: a sleeper woken by a stopped heart, a joiner, the parent that reaps, and, for deaths
 * nobody was watching, the sweep that sleepers make now and then (park). */
#include "registry/registry.h"

#include "arena/alloc.h"
#include "base/atomic.h"
#include "base/clock.h"
#include "port/futex.h"
#include "port/process.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <unistd.h>

/* Dead, whether or not its parent has collected it and others have joined it meanwhile. */
static bool is_corpse(struct pl_slot *slot, uint32_t generation)
{
    uint64_t life = pl_load_acquire(&slot->life);
    enum pl_life l = pl_life_of(life);
    return pl_generation_of(life) == generation && l >= PL_RUNNING && l <= PL_JOINED &&
           pl_heart_is_stopped(slot);
}

/* True for the one caller that may repair now. Between the look and the claim another may have
 * finished and the slot may serve a new worker: hence the second look. */
static bool claim_recovery(struct pl_slot *slot, uint32_t generation)
{
    uint32_t claimed = pl_load_acquire(&slot->recoverer), me = pl_self.thread_id;
    if (claimed == PL_RECOVERED || (claimed && claimed != me && !pl_is_dead(claimed)))
        return false;
    if (!is_corpse(slot, generation) || !pl_cas_acq_rel(&slot->recoverer, &claimed, me))
        return false;
    if (is_corpse(slot, generation))
        return true;
    pl_cas_acq_rel(&slot->recoverer, &me, 0u);
    return false;
}

/* Wakes all who sleep on a shared word: they look again, and one takes what the dead one missed. */
static void wake_sleepers(uint32_t **record)
{
    uint32_t *word = pl_load_acquire(record);
    if (word && pl_arena_holds(word))
        pl_futex_wake(word, INT_MAX, true);
}

/* Wakes every waiter of the condition that owes `debt`: one of them will take it. */
static void wake_creditors(const struct pl_debt *debt)
{
    uint32_t ready = pl_load_acquire(&pl_arena->slots_ready);
    for (uint32_t i = 1; i < ready; i++) {
        struct pl_slot *slot = pl_slot_at(i);
        if (pl_load_acquire(&slot->turn.debt) == debt)
            pl_futex_wake(&slot->turn.word, INT_MAX, true);
    }
}

/* Wakes all who stand in the line of a fair lock: the dead one may have been the first there, or about
 * to call the first. */
static void wake_line(struct pl_slot *dead, uint32_t **record)
{
    uint32_t *line = pl_load_acquire(record);
    if (!line || !pl_arena_holds(line))
        return;
    uint32_t ready = pl_load_acquire(&pl_arena->slots_ready);
    for (uint32_t i = 1; i < ready; i++) {
        struct pl_slot *slot = pl_slot_at(i);
        if (slot != dead && pl_load_acquire(&slot->place.line) == line)
            pl_futex_wake(&slot->place.word, INT_MAX, true);
    }
}

/* Puts the notification that the dead one had in its hand into the debt, once, however many recoverers
 * die at it: the count and the dead one's name change in one step, and the name stays until its hand is
 * known to be empty. False: the debt is on somebody else's account just now. */
static bool pay_in(struct pl_debt *debt, uint32_t index, bool held)
{
    uint32_t owed = pl_load_acquire(&debt->owed), next;
    do {
        uint32_t account = PL_DEBT_ACCOUNT(owed);
        if (account == index && (owed & PL_DEBT_PAID_IN))
            return true; /* by one who died after it */
        if (account != index && account != 0)
            return !held;
        if (account == 0 && !held)
            return true;
        next = ((owed & PL_DEBT_COUNT) + 1) | PL_DEBT_PAID_IN | index << 16;
    } while (
        !pl_cas_acq_rel(&debt->owed, &owed, next)); /* or it was taking one: it is owed again */
    return true;
}

static void close_account(struct pl_debt *debt, uint32_t index)
{
    uint32_t owed = pl_load_acquire(&debt->owed);
    while (PL_DEBT_ACCOUNT(owed) == index)
        if (pl_cas_acq_rel(&debt->owed, &owed, owed & PL_DEBT_COUNT))
            return;
}

/* A waiter of a condition died. If it had a notification in its hand, that becomes a debt of the
 * condition, which the next to look pays out; in any case its place in the queue is void. */
bool pl_slot_settle(struct pl_slot *slot)
{
    struct pl_debt *debt = pl_load_acquire(&slot->turn.debt);
    uint32_t index = PL_ID_SLOT(pl_slot_id(slot));
    if (!debt || !pl_arena_holds(debt))
        return true;
    uint32_t word = PL_TURN_WAITING; /* against a notifier that takes it for alive still */
    bool held = !pl_cas_acq_rel(&slot->turn.word, &word, (uint32_t)PL_TURN_NONE) &&
                word == PL_TURN_NOTIFIED;
    if (!pay_in(debt, index, held))
        return false;
    pl_store_release(&slot->turn.word, (uint32_t)PL_TURN_NONE);
    pl_store_release(&debt->torn, 1u);
    close_account(debt, index);
    if (pl_load_acquire(&debt->owed) & PL_DEBT_COUNT)
        wake_creditors(debt);
    pl_store_release(&slot->turn.debt, NULL);
    return true;
}

static uint64_t number_after(uint32_t number)
{
    return (number + 1) & PL_ROUND_NUMBER;
}

static bool is_breakable(uint64_t state, uint32_t number)
{
    bool is_next = (state & PL_ROUND_NUMBER) == number_after(number) && !(state & PL_ROUND_DRAIN);
    return !(state & PL_ROUND_BROKEN) && ((state & PL_ROUND_NUMBER) == number || is_next);
}

/* Once broken a round stays so: to be repeated by the recoverer of a recoverer. */
void pl_round_break(struct pl_round *round, uint32_t number, uint32_t dead)
{
    uint64_t seen = pl_load_acquire(&round->state), next;
    do {
        if (!is_breakable(seen, number))
            return;
        pl_store_release(&round->died, dead); /* first: who sees DIED may ask at once */
        next = (seen & ~PL_ROUND_WAITERS) | PL_ROUND_BROKEN | PL_ROUND_DIED;
    } while (!pl_cas_acq_rel(&round->state, &seen, next));
}

/* The round before was reset, and those who want to enter wait until its last worker has left: they are
 * to look again, also who is just about to sleep. */
static void open_next_round(struct pl_round *round, uint32_t number)
{
    uint64_t seen = pl_load_acquire(&round->state);
    while ((seen & PL_ROUND_DRAIN) && (seen & PL_ROUND_WAITERS) &&
           (seen & PL_ROUND_NUMBER) == number_after(number))
        if (pl_cas_acq_rel(&round->state, &seen, seen & ~PL_ROUND_WAITERS))
            return;
}

void pl_slot_leave_round(struct pl_slot *slot)
{
    struct pl_round *round = pl_load_acquire(&slot->round);
    uint32_t number = pl_load_relaxed(&slot->round_number);
    bool shared = round && pl_arena_holds(round);
    if (!shared && (!round || slot != pl_self.slot)) /* another process's memory */
        return;
    pl_round_break(round, number, pl_slot_id(slot));
    open_next_round(round, number);
    if (shared) /* sleepers on private memory look by themselves: they see that a heart stopped */
        pl_futex_wake((uint32_t *)&round->state, INT_MAX, true);
    pl_store_release(&slot->round, NULL);
}

/* Whether nobody is left who could be expected to join: the thread that started it may have ended
 * long ago and have given the handle to others, but its process is the one that can collect it. */
static bool is_nobodys(const struct pl_slot *slot)
{
    return (pl_load_relaxed(&slot->flags) & PL_FLAG_DETACHED) || pl_slot_is_orphan(slot);
}

/* ENDED and JOINED at once, if it is repaired and nobody will join it. */
static void bury(struct pl_slot *slot, uint32_t generation)
{
    if (pl_load_acquire(&slot->recoverer) != PL_RECOVERED || !is_nobodys(slot))
        return;
    pl_slot_ended(slot, generation);
    pl_slot_join(slot, generation);
}

/* It had put everything in order, but perhaps had not told anybody of its end. */
static bool may_have_died_at_the_end(struct pl_slot *slot, uint32_t generation)
{
    return pl_load_acquire(&slot->recoverer) == PL_RECOVERED && is_corpse(slot, generation);
}

void pl_recover(struct pl_slot *slot)
{
    uint32_t generation = pl_generation_of(pl_load_acquire(&slot->life));
    /* Who repairs has to have a name; who has none yet may be here on the way to one. */
    if (!pl_self.thread_id)
        return;
    if (!claim_recovery(slot, generation)) {
        if (may_have_died_at_the_end(slot, generation))
            pl_slot_tell_failure(slot);
        return;
    }
    pl_slot_drop_argument(slot);
    pl_alloc_recover(pl_slot_id(slot));
    if (!pl_slot_settle(slot)) { /* whoever comes next goes on */
        pl_store_release(&slot->recoverer, 0u);
        return;
    }
    wake_line(slot, &slot->place.line);
    wake_line(slot, &slot->waking);
    pl_slot_leave_round(slot);
    wake_sleepers(&slot->waits_on);
    wake_sleepers(&slot->waking);
    pl_fetch_add_relaxed(&pl_arena->deaths, 1u);
    pl_slot_tell_failure(slot);
    pl_store_release(&slot->recoverer, PL_RECOVERED);
    pl_heart_stopped(slot);
    bury(slot, generation);
}

bool pl_slot_is_stillborn(struct pl_slot *slot, uint64_t life)
{
    uint32_t claimer = (uint32_t)life & PL_ID_MASK;
    int32_t pid = pl_load_acquire(&slot->pid); /* set: it is launched, and may yet enter */
    if (pl_life_of(life) == PL_ENTERING)
        return !pl_process_lives((int)claimer, 0); /* a zombie's first thread counts as gone */
    return pid ? !pl_process_lives(pid, 0) : pl_is_dead(claimer);
}

/* Frees a slot whose worker died before it ran. Taken over first, in the name of this thread, so that
 * the argument is freed by one. A child of ours is collected by ourselves. */
static void free_stillborn(struct pl_slot *slot, uint64_t life)
{
    uint64_t mine = (life & ~UINT64_C(0xffffffff)) | (uint32_t)PL_ENTERING << PL_ID_BITS |
                    ((uint32_t)gettid() & PL_ID_MASK);
    bool launched = pl_life_of(life) == PL_ENTERING || pl_load_acquire(&slot->pid);
    if (!pl_slot_is_stillborn(slot, life) || (launched && !is_nobodys(slot)) ||
        !pl_cas_acq_rel(&slot->life, &life, mine))
        return;
    pl_slot_drop_argument(slot);
    pl_store_release(&slot->life, mine & ~UINT64_C(0xffffffff));
}

static void look_at(struct pl_slot *slot)
{
    uint64_t life = pl_load_acquire(&slot->life);
    switch (pl_life_of(life)) {
    case PL_CLAIMED:
        if (pl_process_gone((int)((uint32_t)life & PL_ID_MASK)))
            pl_cas_acq_rel(&slot->life, &life, life & ~UINT64_C(0xffffffff));
        break;
    case PL_NEW:
    case PL_ENTERING:
        free_stillborn(slot, life);
        break;
    case PL_RUNNING:
    case PL_ENDED:
    case PL_JOINED:
        if (pl_heart_is_stopped(slot) &&
            (pl_load_acquire(&slot->recoverer) != PL_RECOVERED || pl_load_relaxed(&slot->tells)))
            pl_recover(slot);
        if (pl_life_of(life) == PL_ENDED ||
            (pl_life_of(life) == PL_RUNNING && pl_heart_is_stopped(slot)))
            bury(slot, pl_generation_of(life));
        break;
    default:
        break;
    }
}

void pl_sweep(int64_t interval)
{
    int64_t now = plait_now(), last = pl_load_relaxed(&pl_arena->last_sweep);
    if (interval > 0 &&
        (now - last < interval || !pl_cas_relaxed(&pl_arena->last_sweep, &last, now)))
        return;
    struct pl_roster roster;
    pl_roster_begin(&roster);
    uint32_t ready = pl_load_acquire(&pl_arena->slots_ready);
    for (uint32_t i = 1; i < ready; i++) {
        struct pl_slot *slot = pl_slot_at(i);
        look_at(slot);
        if (pl_life_of(pl_load_acquire(&slot->life)) == PL_RUNNING && !pl_heart_is_stopped(slot))
            pl_roster_add(&roster, slot);
    }
    pl_roster_end(&roster);
}

/* --- blame --- */

/* Only SIGKILL may have come from a kernel that had no memory left; where nobody learned of what it died, that may. */
static int oom_of(const struct pl_slot *slot, uint32_t ending, int signal)
{
    bool maybe = ending == PL_END_UNKNOWN || (ending == PL_END_KILLED && signal == SIGKILL);
    return maybe && pl_slot_kind(slot) == PLAIT_PROCESS ? pl_load_relaxed(&slot->oom) : 0;
}

void pl_blame_fill(const struct pl_slot *slot, plait_blame *ret)
{
    uint32_t ending = pl_load_acquire(&slot->ending);
    *ret = (plait_blame){
        .worker = pl_handle_of(slot),
        .kind = (int)pl_slot_kind(slot),
        .pid = pl_load_relaxed(&slot->pid),
        .tid = pl_load_relaxed(&slot->tid),
        .status = pl_load_relaxed(&slot->status),
        .signal = pl_load_relaxed(&slot->signal),
        .returned = ending == PL_END_RETURNED,
        .core_dumped = pl_load_relaxed(&slot->core) != 0,
        .oom_killed = oom_of(slot, ending, pl_load_relaxed(&slot->signal)),
        .started = pl_load_relaxed(&slot->started),
        .ended = pl_load_relaxed(&slot->ended),
        .user_ns = pl_load_relaxed(&slot->user_ns),
        .system_ns = pl_load_relaxed(&slot->system_ns),
        .max_rss = pl_load_relaxed(&slot->max_rss),
    };
    if (ending == PL_END_UNKNOWN && ret->signal == 0)
        ret->status = -1; /* it may have begun to say */
    pl_name_get(slot, ret->name);
}

void pl_ending_learn(struct pl_slot *slot, int64_t patience)
{
    struct pl_process_end end;
    if (pl_load_acquire(&slot->ending) != PL_END_UNKNOWN || pl_slot_kind(slot) != PLAIT_PROCESS)
        return;
    if (pl_process_peek(pl_load_relaxed(&slot->pid), pl_load_relaxed(&slot->birth), patience,
                        &end) < 0)
        return;
    pl_store_relaxed(&slot->status, end.signal ? -end.signal : end.status);
    pl_store_relaxed(&slot->signal, end.signal);
    pl_store_relaxed(&slot->core, (uint32_t)end.core);
    pl_store_relaxed(&slot->user_ns, end.user_ns);
    pl_store_relaxed(&slot->system_ns, end.system_ns);
    pl_store_relaxed(&slot->ended, plait_now());
    uint32_t unknown = PL_END_UNKNOWN;
    pl_cas_acq_rel(&slot->ending, &unknown, (uint32_t)(end.signal ? PL_END_KILLED : PL_END_EXITED));
}

bool pl_blame_of_id(uint32_t id, plait_blame *ret)
{
    struct pl_slot *slot = pl_slot_of(id);
    if (id == 0 || pl_load_acquire(&slot->id) != id)
        return false;
    pl_ending_learn(slot, PL_BLAME_PATIENCE);
    pl_blame_fill(slot, ret);
    return pl_load_acquire(&slot->id) == id;
}
