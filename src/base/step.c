/* The hook of the test build; see atomic.h. Empty in the library that is installed. */
#include "base/atomic.h"

#ifdef PL_STEP_HOOKS
void (*pl_step_hook)(const char *what, const void *word);
#else
typedef int pl_step_is_empty; /* ISO C wants a declaration */
#endif
