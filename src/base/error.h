/* The reason behind a NULL: set by pointer-returning calls, read by plait_last_error(). */
#ifndef PL_BASE_ERROR_H
#define PL_BASE_ERROR_H

#include <plait/error.h>
#include <stddef.h>

/* Records `code` for this thread and returns NULL, so that `return pl_null(PLAIT_ENOMEM);` reads
 * as one thought. */
void *pl_null(int code);

/* The result code for an errno: -e. EAGAIN, ESTALE, EDEADLK and ECHILD are to be dealt with before, for
 * plait means something else by them. What is no errno (0, negative) becomes PLAIT_EIO. */
int pl_error_from_errno(int e);

#endif
