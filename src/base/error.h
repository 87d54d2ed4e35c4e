/* The reason behind a NULL: set by pointer-returning calls, read by plait_last_error(). */
#ifndef PL_BASE_ERROR_H
#define PL_BASE_ERROR_H

#include <plait/error.h>
#include <stddef.h>

/* Records `code` for this thread and returns NULL, so that `return pl_null(PLAIT_ENOMEM);` reads
 * as one thought. */
void *pl_null(int code);

#endif
