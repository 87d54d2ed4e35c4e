/* plait_latch: a count that goes down to 0, and those who wait for that.
 *
 * For threads and processes at once: in ordinary memory for this process, in the arena for the family
 * (see lock.h; shared memory of your own will not do, and that is not detected here). All bytes zero is an open
 * latch: its count is 0, and nobody has to wait. Nothing to destroy.
 *
 *     plait_latch_init(&job->parts, 8);                     // eight parts to be done
 *
 *     do_part(job, i);                                      // the workers, once for each part
 *     plait_latch_count_down(&job->parts, 1);
 *
 *     plait_latch_wait(&job->parts, PLAIT_FOREVER);         // whoever needs them all
 *
 * It opens once and stays open; plait_barrier is for rounds.
 *
 * A latch does not know who is to count it down: a worker that dies before it has done so leaves
 * the count as it is, and those who wait need a timeout, or somebody who counts in its place. One that
 * dies in the middle has counted wholly or not at all, and those whom it had to wake are woken.
 * Its memory may be given back when all who wait have returned.
 * Python's counterpart: none; C++: std::latch; Java: CountDownLatch. */
#ifndef PLAIT_LATCH_H
#define PLAIT_LATCH_H

#include <plait/clock.h>
#include <plait/error.h>

PLAIT_BEGIN_DECLS

#define PLAIT_LATCH_MAX INT32_MAX

typedef struct plait_latch {
    uint32_t word_; /* count and waiters flag; see src/sync/latch.c */
} plait_latch;

/* Sets the count. Requires: nobody uses it. Returns: 0, PLAIT_EINVAL (NULL, negative). Never blocks. */
PLAIT_API int plait_latch_init(plait_latch *latch, int count);

/* Counts down by n; at 0 all who wait go on.
 * Returns: 0; PLAIT_EOVERFLOW (below 0: nothing is changed), PLAIT_EINVAL (NULL, n < 1).
 * Blocks: no. Who: threads, processes, tasks; not signal handlers; after fork, yes. Ordering: what was written
 * before is visible to those who see 0. C++: count_down(n). Java: countDown(), which ignores too much. */
PLAIT_API int plait_latch_count_down(plait_latch *latch, int n);

/* Waits until the count is 0.
 * Returns: 0, PLAIT_ETIMEDOUT, PLAIT_ECANCELED, PLAIT_EINVAL (NULL, timeout below -1),
 *   PLAIT_EOVERFLOW (timeout too large), and as registering may fail: PLAIT_EARENA, PLAIT_ENOMEM,
 *   PLAIT_EWORKERS.
 * Blocks: yes, cancellable. Who: threads, processes, tasks; not signal handlers; after fork, yes.
 * Ordering: what all wrote before they counted down is visible. C++: wait(). Java: await(). */
PLAIT_API int plait_latch_wait(plait_latch *latch, int64_t timeout);

/* Counts down by 1 and waits until the count is 0.
 * Returns: as plait_latch_wait. After PLAIT_ETIMEDOUT and PLAIT_ECANCELED it has been counted down, after
 *   the other errors not; PLAIT_EOVERFLOW also if the count was 0. Blocks, who: as plait_latch_wait.
 * C++: arrive_and_wait(). */
PLAIT_API int plait_latch_arrive_and_wait(plait_latch *latch, int64_t timeout);

/* The count, 0 for NULL; true of a moment past. Never blocks; anyone may call. Ordering: 0 makes visible
 * what was written before it was counted down. C++: try_wait(). Java: getCount(). */
PLAIT_API int plait_latch_count(const plait_latch *latch);

PLAIT_END_DECLS
#endif
