/* Futex: sleeping on a 32-bit word. The only place in plait that puts a thread to sleep.
 *
 * Duties of the port: a sleeper returns for any reason or none (callers re-check); a wake that
 * follows a change of the word is never lost to a sleeper that saw the old value; timeouts are
 * absolute instants of the monotonic clock, so interruptions need no arithmetic. */
#ifndef PL_PORT_FUTEX_H
#define PL_PORT_FUTEX_H

#include <stdbool.h>
#include <stdint.h>

enum { PL_FUTEX_MAX = 128 }; /* words one sleeper may watch at once */

/* One word to watch. `shared`: other processes may wake it. */
struct pl_watch {
    uint32_t *word;
    uint32_t seen;
    bool shared;
};

/* Sleeps while *word == seen, until woken or `deadline`. 0: woken, changed or interrupted;
 * -ETIMEDOUT: the deadline passed. */
int pl_futex_wait(uint32_t *word, uint32_t seen, bool shared, int64_t deadline);

/* Sleeps while every watched word is as seen. As pl_futex_wait; -ENOSYS where the kernel has no
 * futex_waitv (before 5.16, or refused): then the caller must watch one word and poll the rest. */
int pl_futex_wait_any(const struct pl_watch *watch, int n, int64_t deadline);

/* The same for n words, with an answer: the index of one that was woken, the highest of those; -EAGAIN: one is not
 * as seen, and none was woken; -ETIMEDOUT; -EINTR; -ENOSYS as above; -EFAULT and others: it cannot be
 * done with these words. */
int pl_futex_wait_which(const struct pl_watch *watch, int n, int64_t deadline);

/* Wakes up to `n` sleepers of the word and returns how many. Safe on an address that is no longer
 * mapped (returns 0). */
int pl_futex_wake(uint32_t *word, int n, bool shared);

/* Priority-inheriting words: 0 free, else the kernel's id of the thread that holds it, with FUTEX_WAITERS
 * if the kernel has to be asked to unlock, FUTEX_OWNER_DIED if a holder has died. The kernel changes
 * them, too.
 *
 * Locks, waiting at most until `deadline` (soon: before Linux 5.14 only the wall clock can be waited for, and
 * setting it back makes the wait longer by as much). 0; -ETIMEDOUT; -ESRCH: the word names no
 * living thread; -EDEADLK: it names the caller, or a thread that waits for the caller; -ENOSYS: the
 * kernel cannot do this; -EAGAIN: anything else, look again. */
int pl_futex_lock_pi(uint32_t *word, bool shared, int64_t deadline);

/* Locks if the kernel agrees that nobody holds it. 0, -EAGAIN or as pl_futex_lock_pi. */
int pl_futex_trylock_pi(uint32_t *word, bool shared);

/* Unlocks and hands over to the waiter with the highest priority. 0; -EPERM: the word names another; -EAGAIN: the
 * kernel and the word disagree for now. */
int pl_futex_unlock_pi(uint32_t *word, bool shared);

/* Tests: behave as a kernel without FUTEX_LOCK_PI2, without any of this, from now on. */
void pl_futex_forget_lock_pi2(void);
void pl_futex_forget_pi(void);

/* Tests: behave as a kernel without futex_waitv from now on. */
void pl_futex_forget_waitv(void);

#endif
