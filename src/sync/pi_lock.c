/* The priority-inheriting lock: the kernel's PI futex, and beside it what the kernel does not tell.
 *
 * The word is the kernel's (port/futex.h): it must hold the kernel's id of the holder's thread, and as long as
 * anyone is queued only the kernel may change it. Beside it `holder_` has the worker's id.
 *
 * Naive: compare-and-swap 0 -> my thread id, else FUTEX_LOCK_PI. Its holes:
 *   a  a holder that dies with others queued hands over: the kernel does that, and sets
 *      FUTEX_OWNER_DIED. One that dies alone leaves its thread id in the word for ever. FUTEX_LOCK_PI
 *      then says ESRCH - until the id is given to a new thread, for which everybody then waits;
 *   b  the thread ends in an orderly way and holds the lock: the same, if nobody was queued;
 *   c  a forked child has a copy of a private lock, in the name of a thread of its parent;
 *   d  robbing the dead: swapping my own id in while someone is queued in the kernel gives the lock to two,
 *      for the kernel hands it over when the dead thread is gone.
 * Cure: who finds the word held makes sure, before he asks the kernel, that a living worker has this
 * thread id and holds the lock. If not, he does what the kernel would have done with a robust list:
 * thread id out, FUTEX_OWNER_DIED in (bury_holder). Such a word is taken through the kernel only
 * (FUTEX_TRYLOCK_PI), which alone knows whether someone is queued: so exclusion never hangs on what we
 * believe of the dead. Facts:
 *   1 `holder_` is set by the one who got the word, and cleared by him before he lets it go. So who gets
 *     the word and finds it set takes over from the dead, and is told; a holder that died before it was set
 *     had not returned from acquire, one that died after it was cleared was done: nothing is torn;
 *   2 between having the word and having set `holder_`, and the other way round, and while it is queued in
 *     the kernel, a worker has the lock's address in its slot and an odd `pi_moves`. So if a living worker
 *     has the thread id, is not in `holder_`, and at that time was at no such move here, the id in
 *     the word is not its own but a dead one's (holds_it reads all of that as of one moment);
 *   3 who clears a dead one away holds `repair_`, and looks again under it. So the id that was found dead
 *     is still that of the dead one when it is swapped out: to become a living one's it would have to be cleared
 *     away first, by another holder of `repair_`;
 *   4 with no thread id in the word nobody queues in the kernel: those who see it so try again and nap. Those
 *     queued before come back after a slice at most. So a queue that waits for the wrong thread dissolves.
 *
 * The kernel can sleep on this word only, hence the slices, after each of which requests to stop, deadlocks
 * and the dead are looked for. On record the waiter waits on `holder_`, which names the holder as a lock's word does. */
#include "base/atomic.h"
#include "base/clock.h"
#include "park/park.h"
#include "park/scope.h"
#include "port/futex.h"
#include "port/mapping.h"
#include "sync/lockdep.h"

#include <limits.h>
#include <linux/futex.h>
#include <plait/pi_lock.h>

enum {
    SLICE = 20 * 1000 * 1000,
    NAP = 1000 * 1000,
    SWEEP_EVERY = 100 * 1000 * 1000,
    MISSED_MOST = 5, /* times the kernel may say that a living holder's thread is not there */
};

static uint32_t own_tid(void)
{
    return (uint32_t)pl_load_relaxed(&pl_self.slot->tid);
}

/* The kernel knows threads only: of two tasks of one it would take each for the other. */
static bool is_task(void)
{
    return pl_self.task && pl_self.slot != pl_self.thread;
}

static bool is_shared(const plait_pi_lock *lock)
{
    return pl_arena_holds(lock);
}

/* --- moves (fact 2) --- */

static void begin_move(plait_pi_lock *lock)
{
    struct pl_slot *slot = pl_self.slot;
    pl_store_relaxed(&slot->pi_word, &lock->word_);
    pl_store_relaxed(&slot->pi_moves, pl_load_relaxed(&slot->pi_moves) + 1);
}

static void end_move(void)
{
    struct pl_slot *slot = pl_self.slot;
    /* R:pi_lock.moves, pairs with holds_it: what was done to `holder_` is seen by who sees the end. */
    pl_store_release(&slot->pi_moves, pl_load_relaxed(&slot->pi_moves) + 1);
}

/* The word is ours. 0 or PLAIT_OWNER_DIED. */
static int take_over(plait_pi_lock *lock)
{
    /* A:pi_lock.holder, pairs with let_go: also if it was the kernel that handed over. */
    uint32_t dead = pl_load_acquire(&lock->holder_);
    if (dead)
        pl_store_relaxed(&lock->died_, dead);
    pl_store_release(&lock->holder_, pl_self.id);
    return dead ? PLAIT_OWNER_DIED : 0;
}

/* --- the dead --- */

/* Whether a living worker with the thread id of the word holds the lock, or may be just about to. */
static bool holds_it(plait_pi_lock *lock, struct pl_slot *slot, uint32_t tid)
{
    /* A:pi_lock.moves, pairs with end_move; the loads between are of one moment if it does not move. The
     * stores that follow its beginning are ordered behind it by their release. */
    uint32_t moves = pl_load_acquire(&slot->pi_moves);
    uint32_t *word = pl_load_acquire(&slot->pi_word);
    uint32_t holder = pl_load_acquire(&lock->holder_);
    uint32_t seen = pl_load_acquire(&lock->word_);
    if (holder == pl_slot_id(slot) || (seen & FUTEX_TID_MASK) != tid ||
        (moves % 2 && word == &lock->word_))
        return true;
    return pl_load_acquire(&slot->pi_moves) != moves;
}

/* Whether the worker lives and has this thread id. Tasks have their thread's, but not such locks. */
static bool is_thread(struct pl_slot *slot, uint32_t tid)
{
    return (uint32_t)pl_load_relaxed(&slot->tid) == tid && !pl_load_acquire(&slot->host) &&
           pl_life_of(pl_load_acquire(&slot->life)) == PL_RUNNING && !pl_heart_is_stopped(slot);
}

/* Whether a worker of another process can hold it at all. */
static bool is_in_reach(const plait_pi_lock *lock, struct pl_slot *slot)
{
    return is_shared(lock) || pl_load_relaxed(&slot->pid) == pl_load_relaxed(&pl_self.slot->pid);
}

/* Whether nobody alive holds the lock, though the word names a thread. PLAIT_EPRIVATE if it does one of
 * another process, in memory shared without our knowing. */
static int is_orphaned(plait_pi_lock *lock, uint32_t tid)
{
    if (tid == own_tid())
        return 1; /* we know that we do not hold it */
    uint32_t holder = pl_load_acquire(&lock->holder_);
    if (holder && !pl_is_dead(holder) && is_thread(pl_slot_of(holder), tid) &&
        is_in_reach(lock, pl_slot_of(holder)))
        return 0;
    uint32_t ready = pl_load_acquire(&pl_arena->slots_ready);
    for (uint32_t i = 1; i < ready; i++) {
        struct pl_slot *slot = pl_slot_at(i);
        if (!is_thread(slot, tid))
            continue;
        if (is_in_reach(lock, slot))
            return !holds_it(lock, slot, tid);
        if (pl_mapping_is_shared(lock))
            return PLAIT_EPRIVATE;
    }
    return 1;
}

/* Takes a dead thread's id out of the word, as the kernel would have (facts 3 and 4). */
static void bury_holder(plait_pi_lock *lock, uint32_t tid)
{
    if (plait_lock_acquire(&lock->repair_, PLAIT_NOWAIT) < 0)
        return; /* another is at it */
    uint32_t seen = pl_load_acquire(&lock->word_);
    if ((seen & FUTEX_TID_MASK) == tid && is_orphaned(lock, tid) > 0)
        pl_cas_acq_rel(&lock->word_, &seen, (seen & FUTEX_WAITERS) | FUTEX_OWNER_DIED);
    plait_lock_release(&lock->repair_);
}

/* --- waiting --- */

/* Sleeps for a moment, or until asked to stop. */
static void nap(const struct pl_wait *wait)
{
    struct pl_slot *slot = pl_self.slot;
    uint32_t unchanged = 0;
    int64_t until = plait_now() + NAP, end = pl_wait_end(wait);
    if (pl_is_shielded()) /* a request that is not to be heard would end each nap */
        pl_futex_wait(&unchanged, 0, false, until < end ? until : end);
    else
        pl_futex_wait(&slot->asked.made, pl_load_relaxed(&slot->asked.delivered), true,
                      until < end ? until : end);
}

/* Waits in the kernel for one slice, on record. */
static int wait_in_kernel(plait_pi_lock *lock, struct pl_wait *wait)
{
    pl_bell_look();
    int64_t now = plait_now(), until = now + SLICE, end = pl_wait_end(wait);
    wait->deaf = pl_is_shielded();
    if (wait->began == 0)
        wait->began = now;
    wait->holder = pl_load_relaxed(&lock->holder_);
    pl_wait_show(&lock->holder_, wait, now);
    int rc = pl_futex_lock_pi(&lock->word_, is_shared(lock), until < end ? until : end);
    if (rc == -ETIMEDOUT && pl_deadlock_check(wait) < 0)
        rc = -EDEADLK;
    pl_wait_hide();
    wait->slept = true;
    return rc;
}

/* What the kernel said if it did not give us the lock. 0: look again; else why not to wait. `missed` counts
 * how often a living holder's thread was unknown to it. */
static int heed(plait_pi_lock *lock, int rc, struct pl_wait *wait, int *missed)
{
    uint32_t tid = pl_load_relaxed(&lock->word_) & FUTEX_TID_MASK;
    switch (rc) {
    case -ENOSYS:
        return PLAIT_ENOTSUP;
    case -EDEADLK:
        return tid == own_tid() ? 0 : PLAIT_EDEADLK;
    case -ETIMEDOUT:
        wait->naps++;
        pl_sweep(SWEEP_EVERY);
        return 0;
    case -ESRCH: /* it has died since we looked; or it is a thread of another pid namespace */
        *missed = tid && is_orphaned(lock, tid) == 0 ? *missed + 1 : 0;
        if (*missed > MISSED_MOST)
            return PLAIT_ENOTSUP;
        break;
    default:
        break;
    }
    nap(wait);
    return 0;
}

/* Whether the wait is over without the lock: 0 or why. */
static int is_over(const struct pl_wait *wait)
{
    return wait->deadline != PL_NEVER && plait_now() >= wait->deadline ? PLAIT_ETIMEDOUT
                                                                       : pl_cancel_take();
}

/* One try for a word that is not 0. 1: taken; 0: look again; else why not. */
static int try_held(plait_pi_lock *lock, uint32_t seen, struct pl_wait *wait, int *missed)
{
    uint32_t tid = seen & FUTEX_TID_MASK;
    int rc = tid ? is_orphaned(lock, tid) : 0;
    if (rc < 0)
        return rc;
    if (rc > 0) {
        bury_holder(lock, tid);
        seen = pl_load_relaxed(&lock->word_);
        tid = seen & FUTEX_TID_MASK;
    }
    if (!tid && seen && pl_futex_trylock_pi(&lock->word_, is_shared(lock)) == 0)
        return 1;
    int why = is_over(wait);
    if (why < 0)
        return why;
    if (rc > 0 || !tid) {
        nap(wait);
        return 0;
    }
    rc = wait_in_kernel(lock, wait);
    return rc == 0 ? 1 : heed(lock, rc, wait, missed);
}

static int acquire_slow(plait_pi_lock *lock, struct pl_wait *wait)
{
    if (pl_load_relaxed(&lock->holder_) == pl_self.id)
        return PLAIT_EDEADLK;
    begin_move(lock);
    int rc = 0, missed = 0;
    while (rc == 0) {
        uint32_t seen = 0;
        /* A:pi_lock.word, pairs with let_go. */
        rc = pl_cas_acq_rel(&lock->word_, &seen, own_tid()) ? 1
                                                            : try_held(lock, seen, wait, &missed);
    }
    if (rc > 0)
        rc = take_over(lock);
    end_move();
    if (rc == PLAIT_OWNER_DIED)
        pl_recover(pl_slot_of(pl_load_relaxed(&lock->died_)));
    return rc;
}

static __attribute__((noinline)) int acquire_prepared(plait_pi_lock *lock, int64_t timeout)
{
    struct pl_wait wait;
    int rc = lock ? pl_wait_begin(&wait, PL_WAIT_PI_LOCK, timeout) : PLAIT_EINVAL;
    if (rc == 0)
        rc = is_task() ? PLAIT_ENOTSUP : pl_self_known();
    return rc < 0 ? rc : acquire_slow(lock, &wait);
}

static int acquire_unwatched(void *lock, int64_t timeout)
{
    return acquire_prepared(lock, timeout);
}

int plait_pi_lock_acquire(plait_pi_lock *lock, int64_t timeout)
{
    if (pl_lockdep_is_on() && lock && !is_task())
        return pl_lockdep_acquire(acquire_unwatched, lock, &lock->word_, timeout, PL_SITE());
    if (!lock || !pl_self.id || is_task() || timeout < PLAIT_FOREVER || timeout > PLAIT_TIMEOUT_MAX)
        return acquire_prepared(lock, timeout);
    uint32_t free_word = 0;
    begin_move(lock);
    /* A:pi_lock.word, pairs with let_go. Release, so that the move is seen to have begun. */
    bool taken = pl_cas_acq_rel(&lock->word_, &free_word, own_tid());
    int rc = taken ? take_over(lock) : 0;
    end_move();
    return taken ? rc : acquire_prepared(lock, timeout);
}

/* --- letting go --- */

/* The kernel and the word disagree for as long as someone is queued for a dead thread: a slice at most. */
static __attribute__((noinline)) void unlock_in_kernel(plait_pi_lock *lock)
{
    while (pl_futex_unlock_pi(&lock->word_, is_shared(lock)) == -EAGAIN) {
        uint32_t unchanged = 0;
        pl_futex_wait(&unchanged, 0, false, plait_now() + NAP);
    }
}

static void let_go(plait_pi_lock *lock)
{
    uint32_t tid = own_tid();
    begin_move(lock);
    /* R:pi_lock.holder, pairs with take_over. */
    pl_store_release(&lock->holder_, 0u);
    /* R:pi_lock.word, pairs with plait_pi_lock_acquire. */
    if (!pl_cas_release(&lock->word_, &tid, 0u))
        unlock_in_kernel(lock);
    end_move();
}

int plait_pi_lock_release(plait_pi_lock *lock)
{
    if (!lock)
        return PLAIT_EINVAL;
    if (!pl_self.id || pl_load_relaxed(&lock->holder_) != pl_self.id)
        return PLAIT_EPERM;
    if (pl_lockdep_is_on())
        pl_lockdep_released(&lock->word_, pl_self.id);
    let_go(lock);
    return 0;
}

/* --- asking --- */

int plait_pi_lock_init(plait_pi_lock *lock)
{
    if (!lock)
        return PLAIT_EINVAL;
    if (pl_lockdep_is_on())
        pl_lockdep_made(&lock->word_, PL_SITE());
    plait_lock_init(&lock->repair_, NULL);
    pl_store_relaxed(&lock->died_, 0u);
    pl_store_relaxed(&lock->holder_, 0u);
    pl_store_release(&lock->word_, 0u);
    return 0;
}

int plait_pi_lock_locked(const plait_pi_lock *lock)
{
    return lock && (pl_load_relaxed(&lock->word_) & FUTEX_TID_MASK) != 0;
}

plait_worker plait_pi_lock_holder(const plait_pi_lock *lock)
{
    plait_worker nobody = {0, 0};
    uint32_t id = lock && pl_arena ? pl_load_relaxed(&lock->holder_) : 0;
    if (id == 0)
        return nobody;
    struct pl_slot *slot = pl_slot_of(id);
    plait_worker w = pl_handle_of(slot);
    return pl_load_acquire(&slot->id) == id ? w : nobody;
}

int plait_pi_lock_blame(plait_pi_lock *lock, plait_blame *ret)
{
    if (!lock || !ret)
        return PLAIT_EINVAL;
    uint32_t dead = pl_exchange_acquire(&lock->died_, 0u);
    if (dead == 0)
        return PLAIT_ESRCH;
    return pl_blame_of_id(dead, ret) ? 0 : PLAIT_ESTALE;
}
