/* The lock: a word that names its holder.
 *
 * Acquire is one compare-and-swap 0 -> my id, release one my id -> 0. All else is the slow path.
 *
 * Naive: a release sets the word to 0 and wakes a sleeper if a flag said so. Its hole: the flag is
 * gone with the 0; should the releaser die before it wakes, or the woken one before it takes the
 * lock, a newcomer may take and release the free lock without knowing of the other sleepers.
 * Cure: a release keeps the flags (free with waiters), and a worker that has slept takes the lock
 * with WAITERS set, because others may sleep that it cannot see. Facts:
 *   1 whoever sleeps has seen WAITERS set in the very word it sleeps on;
 *   2 WAITERS is cleared only where a wake-up found nobody asleep, by compare-and-swap on the free
 *     word; a sleeper that arrives in between sees a free lock and does not sleep.
 *   3 sleepers watch the holder's heart: if it dies with the lock, or between freeing and waking,
 *     they wake and look. A wake-up that died with the woken one is passed on by its recoverer.
 *
 * Ordering: R:lock.word in release pairs with A:lock.word in acquire; they publish whatever the lock
 * guards. A lock taken from the dead needs no release: the kernel's mark on the heart, read with
 * acquire in pl_is_dead, came after all that the dead one did. */
#include "base/clock.h"
#include "park/park.h"
#include "port/mapping.h"
#include "sync/lock_word.h"
#include "sync/lockdep.h"

#include <limits.h>

/* Whether this wait has been so long that it may shut newcomers out. */
static bool is_hungry(const struct pl_wait *wait)
{
    return wait->slept && plait_now() - wait->began >= PL_HUNGER;
}

/* The word after this waiter takes a free (or a dead worker's) lock that reads `seen`. */
static uint32_t taken(uint32_t seen, const struct pl_wait *wait)
{
    uint32_t flags = seen & PL_LOCK_FLAGS;
    if (wait->slept)
        flags |= PL_LOCK_WAITERS;
    if ((flags & PL_LOCK_HUNGRY) && is_hungry(wait))
        flags &= ~PL_LOCK_HUNGRY;
    return pl_self.id | flags;
}

static bool may_take(uint32_t seen, const struct pl_wait *wait)
{
    return (seen & PL_ID_MASK) == 0 && (!(seen & PL_LOCK_HUNGRY) || wait->slept);
}

/* Looks at the word again and again for a while. True: taken. */
static bool take_spinning(plait_lock *lock, const struct pl_wait *wait)
{
    struct pl_spin spin = {0};
    do {
        uint32_t seen = pl_load_relaxed(&lock->word_);
        /* A:lock.word, pairs with plait_lock_release. */
        if (may_take(seen, wait) && pl_cas_acquire(&lock->word_, &seen, taken(seen, wait))) {
            pl_spin_won(&spin);
            return true;
        }
    } while (pl_spin(&spin));
    return false;
}

static bool is_elsewhere(const void *where, uint32_t holder)
{
    return !pl_arena_holds(where) &&
           pl_load_relaxed(&pl_slot_of(holder)->pid) != pl_load_relaxed(&pl_self.slot->pid);
}

int pl_holder_lost(const void *where, uint32_t holder)
{
    if (pl_is_dead(holder))
        return 1;
    if (!is_elsewhere(where, holder))
        return 0;
    return pl_mapping_is_shared(where) ? PLAIT_EPRIVATE : 1;
}

bool pl_lock_is_lost(const plait_lock *lock, uint32_t holder)
{
    return pl_is_dead(holder) || is_elsewhere(lock, holder);
}

int pl_lock_inherit(plait_lock *lock, uint32_t seen, uint32_t next)
{
    uint32_t dead = seen & PL_ID_MASK;
    /* A private lock whose holder lives in another process: a copy that fork made; or the memory is shared
     * without our knowing. */
    if (!pl_is_dead(dead) && pl_mapping_is_shared(lock))
        return PLAIT_EPRIVATE;
    if (!pl_cas_acq_rel(&lock->word_, &seen, next))
        return 0;
    pl_store_relaxed(&lock->died_, dead);
    return PLAIT_OWNER_DIED;
}

/* Flags the word as waited for and sleeps on it. 0: look again; else as pl_park. */
static int sleep_on(plait_lock *lock, uint32_t seen, struct pl_wait *wait)
{
    uint32_t flagged = seen | PL_LOCK_WAITERS | (is_hungry(wait) ? PL_LOCK_HUNGRY : 0);
    if (flagged != seen && !pl_cas_relaxed(&lock->word_, &seen, flagged))
        return 0;
    wait->holder = flagged & PL_ID_MASK;
    if (wait->holder == 0) /* left to a hungry one, who may have died */
        wait->nap_end = plait_now() + PL_HUNGER;
    int rc = pl_park(&lock->word_, flagged, wait);
    if (rc == 0)
        pl_spin_slept(wait->slept_for);
    return rc;
}

/* Nobody was asleep: takes the flags off the free word (fact 2). With HUNGRY among them a newcomer may
 * have gone to sleep on the free word just now, and has to be told that it need not. False if the word
 * is another by now. */
static bool clear_flags(plait_lock *lock, uint32_t kept)
{
    if (!pl_cas_seq_cst(&lock->word_, &kept, 0u))
        return false;
    if (kept & PL_LOCK_HUNGRY)
        pl_unpark(&lock->word_, INT_MAX);
    return true;
}

/* The word is free, and its flags say that others come first: wakes one of them. If there is none - the
 * hungry one has died or given up - takes the flags off and says true. */
static bool flags_lie(plait_lock *lock, uint32_t seen)
{
    if ((seen & PL_ID_MASK) != 0 || pl_unpark(&lock->word_, 1) > 0)
        return false;
    return clear_flags(lock, seen);
}

/* Gives up; a wake-up that this worker may have been given meanwhile goes to the next (whatever the
 * flags: fact 2 may have cleared them), and a free lock is left without flags that keep others out. */
static int give_up(plait_lock *lock, const struct pl_wait *wait, int why)
{
    uint32_t seen = pl_load_relaxed(&lock->word_);
    if ((seen & PL_ID_MASK) == 0 && (wait->slept || seen))
        flags_lie(lock, seen);
    return why;
}

/* The lock is not ours to take now. 0: look again; else why not to wait. */
static int wait_longer(plait_lock *lock, uint32_t seen, struct pl_wait *wait)
{
    if (wait->deadline == 0)
        return flags_lie(lock, seen) ? 0 : PLAIT_ETIMEDOUT;
    int rc = sleep_on(lock, seen, wait);
    /* Perhaps the lock has become free while this worker was kept from the processor: the rest is a mere try. */
    if (rc == PLAIT_ETIMEDOUT) {
        wait->deadline = 0;
        return 0;
    }
    return rc < 0 ? give_up(lock, wait, rc) : 0;
}

static int acquire_slow(plait_lock *lock, struct pl_wait *wait)
{
    for (;;) {
        if (wait->deadline != 0 && take_spinning(lock, wait))
            return 0;
        uint32_t seen = pl_load_relaxed(&lock->word_);
        if (may_take(seen, wait)) {
            if (pl_cas_acquire(&lock->word_, &seen, taken(seen, wait)))
                return 0;
            continue;
        }
        int rc = 0;
        if ((seen & PL_ID_MASK) && pl_lock_is_lost(lock, seen & PL_ID_MASK))
            rc = pl_lock_inherit(lock, seen, taken(seen, wait));
        if (rc != 0)
            return rc;
        rc = wait_longer(lock, seen, wait);
        if (rc < 0)
            return rc;
    }
}

static int acquire_any(plait_lock *lock, struct pl_wait *wait)
{
    return pl_load_relaxed(&lock->word_) & PL_LOCK_FAIR ? pl_fair_acquire(lock, wait)
                                                        : acquire_slow(lock, wait);
}

/* In the mode that checks lock orders. A mere try cannot wait for anyone, in whatever order. */
static __attribute__((noinline)) int acquire_watched(plait_lock *lock, struct pl_wait *wait,
                                                     const void *site)
{
    if (wait->deadline != 0)
        pl_lockdep_before(&lock->word_, site);
    int rc = acquire_any(lock, wait);
    if (rc >= 0)
        pl_lockdep_taken(&lock->word_, site);
    return rc;
}

__attribute__((noinline)) int pl_lock_acquire_as(plait_lock *lock, enum pl_wait_kind kind,
                                                 int64_t timeout, const void *site)
{
    struct pl_wait wait;
    int rc = lock ? pl_wait_begin(&wait, kind, timeout) : PLAIT_EINVAL;
    if (rc == 0)
        rc = pl_self_known();
    if (rc < 0)
        return rc;
    return pl_lockdep_is_on() ? acquire_watched(lock, &wait, site) : acquire_any(lock, &wait);
}

int plait_lock_acquire(plait_lock *lock, int64_t timeout)
{
    uint32_t mine = pl_self.quick, free_word = 0;
    /* A:lock.word, pairs with plait_lock_release. */
    if (__builtin_expect(lock && mine && timeout >= PLAIT_FOREVER && timeout <= PLAIT_TIMEOUT_MAX &&
                             pl_cas_acquire(&lock->word_, &free_word, mine),
                         1))
        return 0;
    return pl_lock_acquire_as(lock, PL_WAIT_LOCK, timeout, PL_SITE());
}

int pl_lock_acquire_within(plait_lock *lock, struct pl_wait *wait)
{
    return acquire_slow(lock, wait);
}

int pl_lock_acquire_certainly(plait_lock *lock, enum pl_wait_kind kind)
{
    struct pl_wait wait;
    pl_wait_begin(&wait, kind, PLAIT_FOREVER);
    wait.uncancellable = true;
    return pl_lockdep_is_on() ? acquire_watched(lock, &wait, PL_SITE()) : acquire_any(lock, &wait);
}

/* The word is free, and its flags speak of others: wakes one of them. If there is none, takes the flags
 * off; a fair lock keeps them. */
static void wake_one(plait_lock *lock, uint32_t kept)
{
    if (kept & PL_LOCK_FAIR)
        pl_fair_call(lock);
    else if (pl_unpark(&lock->word_, 1) == 0)
        clear_flags(lock, kept);
}

/* Frees the word, keeping its flags, and wakes one of those the flags speak of. */
static __attribute__((noinline)) int release_slow(plait_lock *lock)
{
    uint32_t seen = pl_load_relaxed(&lock->word_), kept;
    if (pl_lockdep_is_on())
        pl_lockdep_released(&lock->word_, seen & PL_ID_MASK);
    do {
        if ((seen & PL_ID_MASK) == 0)
            return PLAIT_EPERM;
        kept = seen & PL_LOCK_FLAGS;
        if (kept & ~PL_LOCK_FAIR)
            pl_will_unpark(&lock->word_);
        /* R:lock.word, pairs with plait_lock_acquire. seq_cst: before the look at a fair lock's line. */
    } while (!pl_cas_seq_cst(&lock->word_, &seen, kept));
    if (kept & ~PL_LOCK_FAIR)
        wake_one(lock, kept);
    return 0;
}

int plait_lock_release(plait_lock *lock)
{
    if (__builtin_expect(!lock, 0))
        return PLAIT_EINVAL;
    uint32_t mine = pl_self.quick;
    /* R:lock.word, pairs with plait_lock_acquire. */
    if (__builtin_expect(mine && pl_cas_release(&lock->word_, &mine, 0u), 1))
        return 0;
    return release_slow(lock);
}

void pl_lock_disinherit(plait_lock *lock)
{
    uint32_t dead = pl_load_relaxed(&lock->died_), seen = pl_load_relaxed(&lock->word_);
    pl_will_unpark(&lock->word_);
    /* R:lock.word, pairs with pl_lock_inherit. Only waiters change the word meanwhile: they set flags. */
    while (!pl_cas_release(&lock->word_, &seen, dead | (seen & PL_LOCK_FLAGS)))
        ;
    if (seen & PL_LOCK_FAIR)
        pl_fair_call(lock);
    pl_unpark(&lock->word_, INT_MAX); /* they watch us, not the dead one, and would sleep on */
}

int plait_lock_init(plait_lock *lock, const plait_lock_options *options)
{
    if (!lock)
        return PLAIT_EINVAL;
    pl_store_relaxed(&lock->died_, 0u);
    if (pl_lockdep_is_on())
        pl_lockdep_made(&lock->word_, PL_SITE());
    pl_store_release(&lock->word_, options && options->fair ? PL_LOCK_FAIR : 0u);
    return 0;
}

int plait_lock_locked(const plait_lock *lock)
{
    return lock && pl_lock_holder(lock) != 0;
}

plait_worker plait_lock_holder(const plait_lock *lock)
{
    plait_worker nobody = {0, 0};
    uint32_t id = lock && pl_arena ? pl_lock_holder(lock) : 0;
    if (id == 0)
        return nobody;
    struct pl_slot *slot = pl_slot_of(id);
    plait_worker w = pl_handle_of(slot);
    return pl_load_acquire(&slot->id) == id ? w : nobody;
}

int plait_lock_blame(plait_lock *lock, plait_blame *ret)
{
    if (!lock || !ret)
        return PLAIT_EINVAL;
    uint32_t dead = pl_exchange_acquire(&lock->died_, 0u);
    if (dead == 0)
        return PLAIT_ESRCH;
    return pl_blame_of_id(dead, ret) ? 0 : PLAIT_ESTALE;
}
