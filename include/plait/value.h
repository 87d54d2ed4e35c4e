/* plait_value: a number with its lock.
 *
 *     plait_value *hits = plait_alloc(sizeof *hits);        // 0; for the whole family
 *
 *     plait_value_add(hits, 1, NULL);                       // any worker; none gets lost
 *
 *     PLAIT_WITH(&hits->lock)                               // several steps that belong together
 *         if (hits->integer > 1000)
 *             hits->integer = 0;
 *
 *     plait_value_get(hits, &n);
 *
 * It holds 8 bytes: an integer or a real number, whichever was put in last. Every call takes the lock, which is an rlock, so
 * calls may stand in a PLAIT_WITH of it, and the fields are to be touched within one only. In ordinary memory it serves this process,
 * in the arena or a segment (shm.h) all who see it. All bytes zero: 0, with a free lock. Nothing to destroy.
 *
 * If its holder dies, the next call says PLAIT_OWNER_DIED and has done its work: the number is what the dead one left, and the calls
 * here leave the number before or the number after. A number that is only counted needs no lock: then an _Atomic long in the
 * arena is faster.
 * Python's counterpart: multiprocessing.Value (and sharedctypes.Value; RawValue is the number without the lock). */
#ifndef PLAIT_VALUE_H
#define PLAIT_VALUE_H

#include <plait/rlock.h>
#include <stdint.h>

PLAIT_BEGIN_DECLS

typedef struct plait_value {
    plait_rlock lock;
    union { /* under the lock */
        int64_t integer;
        double real;
        void *pointer;
    };
} plait_value;

/* Each of these. Returns: 0, PLAIT_OWNER_DIED (done; the lock's last holder died with it), or with nothing done PLAIT_EINVAL (NULL)
 *   or why the lock is not to be had: PLAIT_ECANCELED, PLAIT_EDEADLK, PLAIT_EOVERFLOW (held too often), and as
 *   registering may fail: PLAIT_EARENA, PLAIT_ENOMEM, PLAIT_EWORKERS.
 * Blocks: while another worker has the lock; cancellable, also by PLAIT_TIMEOUT. Who: threads, processes, tasks; not
 * signal handlers; after fork, yes. Ordering: as the lock. */

/* Reads the number. `ret` not NULL. Python: v.value. */
PLAIT_API int plait_value_get(plait_value *value, int64_t *ret);
PLAIT_API int plait_value_get_real(plait_value *value, double *ret);

/* Replaces it. Python: v.value = x. */
PLAIT_API int plait_value_set(plait_value *value, int64_t number);
PLAIT_API int plait_value_set_real(plait_value *value, double number);

/* Adds to it; *ret, unless NULL, is the sum. PLAIT_EOVERFLOW also if the sum does not fit: nothing is changed.
 * Python: with v.get_lock(): v.value += x. */
PLAIT_API int plait_value_add(plait_value *value, int64_t number, int64_t *ret);
PLAIT_API int plait_value_add_real(plait_value *value, double number, double *ret);

PLAIT_END_DECLS
#endif
