/* Deadlocks: workers that wait for each other, found while they wait, and named.
 *
 * Nothing is to be switched on, and who does not block pays nothing. A worker that has been blocked
 * for 20 ms looks whom it waits for, whom that one waits for, and so on, over threads and processes. If the
 * way leads back to itself, a report names all of them and what each waits for, and one of them is
 * chosen to give way: its call returns PLAIT_EDEADLK, and the others go on as soon as it releases
 * what it holds.
 *
 *     if (plait_rlock_acquire(&to->lock, PLAIT_FOREVER) == PLAIT_EDEADLK) {
 *         plait_rlock_release(&from->lock);             // the one chosen lets go of all it has,
 *         rest_a_little();                              // rests, for else it may soon be chosen
 *         goto again;                                   // again, and tries once more
 *     }
 *
 * A ring is *certain* if each of its waits can be ended only by the one it waits for: rlocks,
 * priority-inheriting locks, rwlocks, gils, once, joins. A plain lock may be released by anyone, so a ring
 * with one of those is *suspected*: reported once, and waited on. A wait that has a timeout ends by
 * itself, and a ring with one is neither. Chosen is who has waited least, of those that can be asked.
 *
 * Besides, if every worker of the family sleeps without a timeout, and nobody is left who could
 * wake them, that is reported as suspected too, after some tenths of a second. Not if a process has
 * threads that never used plait: they may be about to wake one.
 *
 * Limits: rings of more than 64 workers are not seen; in a family of more than 32 processes, nor is that all
 * sleep. A join of a process counts as certain though one of its other threads might call exit().
 *
 * Reports go to the log (log.h), by default standard error. plait_label names locks in them.
 * Python has no counterpart. */
#ifndef PLAIT_DEADLOCK_H
#define PLAIT_DEADLOCK_H

#include <plait/clock.h>
#include <plait/error.h>
#include <plait/label.h>
#include <plait/log.h>

PLAIT_BEGIN_DECLS

/* What happens to a deadlock that is found; it is reported in each case but the last. */
enum plait_deadlock_policy {
    PLAIT_DEADLOCK_DEFAULT = 0, /* certain: one worker fails; suspected: the report is all */
    PLAIT_DEADLOCK_REPORT,      /* the report is all */
    PLAIT_DEADLOCK_FAIL,        /* one worker fails, also when it is only suspected */
    PLAIT_DEADLOCK_ABORT,       /* the chosen worker's process aborts; for tests */
    PLAIT_DEADLOCK_IGNORE,      /* not looked for */
};

/* Sets the policy, and how long a worker is blocked before it looks (0: 20 ms), for the whole family.
 * Waits that have begun may still go by the old one.
 * Returns: 0, PLAIT_EINVAL (no such policy; negative time but for PLAIT_FOREVER, which is as
 *   PLAIT_DEADLOCK_IGNORE), PLAIT_EOVERFLOW (time too large), and as registering may fail:
 *   PLAIT_EARENA, PLAIT_ENOMEM, PLAIT_EWORKERS.
 * Blocks: no. Who: threads, processes, tasks; not signal handlers; after fork, yes. */
PLAIT_API int plait_deadlock_policy(enum plait_deadlock_policy policy, int64_t after);

PLAIT_END_DECLS
#endif
