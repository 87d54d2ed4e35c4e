/* Whether the kernel has killed for want of memory. */
#ifndef PL_PORT_OOM_H
#define PL_PORT_OOM_H

#include <stdint.h>

/* How many processes of this process's control group (as it was at the first call; of version 2 those below it, too) the
 * kernel has killed for want of memory, ever, whether the group's own limit was met or the machine was full.
 * -1: it cannot be known. Reads a file at each call. */
int64_t pl_oom_kills(void);

/* The same, as it was some milliseconds ago at most. Who starts many processes does not read the file for each. */
int64_t pl_oom_kills_lately(void);

#endif
