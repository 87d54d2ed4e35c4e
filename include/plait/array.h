/* plait_array: a fixed number of items of one size, with their lock.
 *
 *     plait_array *a = plait_array_new(100, sizeof(double));  // zeroed, for the whole family
 *     double x = 2.5, ten[10];
 *     plait_array_set(a, 7, &x);
 *     plait_array_read(a, 0, 10, ten);                        // ten items of one moment
 *
 *     double *d = plait_array_items(a);
 *     PLAIT_WITH(&a->lock)                                    // or work in place
 *         for (size_t i = 0; i < a->count; i++)
 *             d[i] *= 2;
 *     plait_free(a);
 *
 * In memory of your own, or a segment (shm.h), it takes plait_array_size() bytes, zeroed, and plait_array_init. Every call
 * that copies takes the lock, an rlock, so calls may stand within a PLAIT_WITH of it. Workers that keep to
 * items of their own need no lock. Items may be of any type that can be copied byte by byte.
 *
 * If a worker dies with the lock, the next call does its work and says PLAIT_OWNER_DIED: what the dead one was writing may be
 * written in part.
 * Python's counterpart: multiprocessing.Array (RawArray: without the lock), sharedctypes. */
#ifndef PLAIT_ARRAY_H
#define PLAIT_ARRAY_H

#include <plait/rlock.h>
#include <stddef.h>
#include <stdint.h>

PLAIT_BEGIN_DECLS

/* The items follow it. */
typedef struct plait_array {
    plait_rlock lock;
    size_t count; /* items; constant */
    size_t size;  /* bytes of one; constant */
    uint64_t unused_[4];
} plait_array;

/* Bytes that an array takes; 0 if that is more than there can be. Never blocks; anyone. */
PLAIT_API size_t plait_array_size(size_t count, size_t size);

/* A zeroed array in the arena, aligned to 16; to be given back by plait_free. count and size may not be 0.
 * Returns: the array, or NULL with plait_last_error() as plait_calloc, PLAIT_EINVAL.
 * Blocks: no. Who: as plait_alloc. Python: Array(typecode, n). */
PLAIT_API plait_array *plait_array_new(size_t count, size_t size);

/* Makes an array of zeroed memory of plait_array_size(count, size) bytes. Done again, by any who share it, it
 * changes nothing: so nobody has to be first.
 * Returns: 0; PLAIT_EINVAL (NULL, 0, or more than there can be), PLAIT_EEXIST (it is an array of another shape), or
 *   as plait_array_get. Blocks, who: as plait_array_get. */
PLAIT_API int plait_array_init(plait_array *array, size_t count, size_t size);

/* The first item, for work in place; NULL for NULL. Never blocks; anyone. */
PLAIT_API void *plait_array_items(plait_array *array);

/* Item i, for work in place; NULL if there is none. Never blocks; anyone. Python: a[i] of a RawArray. */
PLAIT_API void *plait_array_at(plait_array *array, size_t i);

/* Copies item i out, or in.
 * Returns: 0, PLAIT_OWNER_DIED (done; the lock's last holder died with it), PLAIT_EOVERFLOW (there is no such item), PLAIT_EINVAL
 *   (NULL), or why the lock is not to be had: PLAIT_ECANCELED, PLAIT_EDEADLK, PLAIT_EARENA, PLAIT_ENOMEM, PLAIT_EWORKERS.
 * Blocks: while another worker has the lock; cancellable, also by PLAIT_TIMEOUT. Who: threads, processes, tasks; not
 * signal handlers; after fork, yes. Ordering: as the lock. Python: a[i], a[i] = x. */
PLAIT_API int plait_array_get(plait_array *array, size_t i, void *ret);
PLAIT_API int plait_array_set(plait_array *array, size_t i, const void *item);

/* Copies `count` items from the i-th on, all under one lock. Returns: as plait_array_get; PLAIT_EOVERFLOW if not all of them are
 * there: nothing is copied. Blocks, who: as there. Python: a[i:j], a[i:j] = x. */
PLAIT_API int plait_array_read(plait_array *array, size_t i, size_t count, void *ret);
PLAIT_API int plait_array_write(plait_array *array, size_t i, size_t count, const void *items);

PLAIT_END_DECLS
#endif
