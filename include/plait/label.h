/* plait_label: a name for a lock (or any object), to be read in reports.
 *
 *     static plait_lock accounts;
 *
 *     plait_label(&accounts, "accounts");
 *
 * A report of a deadlock then says: a lock "accounts" at 0x40c0 (bank.c's symbol, if it is static).
 * Labels cost nothing where locks are used; they stand in a list of their own. Python's counterpart: Thread.name, for
 * everything else. */
#ifndef PLAIT_LABEL_H
#define PLAIT_LABEL_H

#include <plait/error.h>

PLAIT_BEGIN_DECLS

#define PLAIT_LABEL_SIZE 40 /* bytes, with the 0 at the end */

/* Names the object at this address: for all processes if it lies in the arena, else for this one. The
 * text is copied, and cut to PLAIT_LABEL_SIZE - 1 bytes. A later label of the same address replaces
 * it, NULL removes it; memory that is freed and used for something else keeps its label until then.
 * Returns: 0, PLAIT_EINVAL (object NULL), PLAIT_ENOMEM, PLAIT_EARENA, PLAIT_EWORKERS.
 * Blocks: no. Who: threads, processes; not signal handlers; after fork, yes. */
PLAIT_API int plait_label(const void *object, const char *name);

PLAIT_END_DECLS
#endif
