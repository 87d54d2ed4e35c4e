/* plait_event: a flag to wait for.
 *
 * For threads and processes at once: in ordinary memory for this process, in the arena for the family
 * (see lock.h; shared memory of your own will not do, and that is not detected here). All bytes zero is a clear
 * event. Nothing to destroy.
 *
 *     struct job { plait_event done; int result; };
 *
 *     job->result = compute();                             // one worker
 *     plait_event_set(&job->done);
 *
 *     if (plait_event_wait(&job->done, plait_seconds(5)) == 0)     // any number of others
 *         use(job->result);
 *
 * A waiter that was woken by set returns 0 even if clear came before it ran. An event has no
 * holder, so no death can hold it up; a setter killed in the middle has either set it or not.
 * Python's counterpart: threading.Event, multiprocessing.Event. */
#ifndef PLAIT_EVENT_H
#define PLAIT_EVENT_H

#include <plait/clock.h>
#include <plait/error.h>

PLAIT_BEGIN_DECLS

typedef struct plait_event {
    uint32_t word_; /* set, count of sets, waiters; see src/sync/event.c */
} plait_event;

/* Makes an event clear. Zeroed memory needs no init. Requires: nobody uses it.
 * Returns: 0, PLAIT_EINVAL (NULL). Never blocks. */
PLAIT_API int plait_event_init(plait_event *event);

/* Sets the flag and wakes all who wait; setting a set event does nothing.
 * Returns: 0, PLAIT_EINVAL (NULL). Blocks: no. Who: threads, processes, tasks; not signal handlers; after
 * fork, yes. Ordering: what was written before is visible to those who return. Python: set(). */
PLAIT_API int plait_event_set(plait_event *event);

/* Clears the flag. Returns: 0, PLAIT_EINVAL. Blocks: no. Who: as set. Python: clear(). */
PLAIT_API int plait_event_clear(plait_event *event);

/* 1 if set, 0 if clear or NULL. Never blocks; anyone may call. Ordering: 1 makes visible what the
 * setter wrote before. Python: is_set(). */
PLAIT_API int plait_event_is_set(const plait_event *event);

/* Waits until the event is set.
 * Returns: 0, PLAIT_ETIMEDOUT, PLAIT_ECANCELED, PLAIT_EINVAL (NULL, timeout below -1),
 *   PLAIT_EOVERFLOW, and as registering may fail: PLAIT_EARENA, PLAIT_ENOMEM, PLAIT_EWORKERS.
 * Blocks: yes, cancellable. Who: threads, processes, tasks; not signal handlers; after fork, yes.
 * Python: wait(timeout). */
PLAIT_API int plait_event_wait(plait_event *event, int64_t timeout);

PLAIT_END_DECLS
#endif
