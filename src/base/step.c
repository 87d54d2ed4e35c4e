/* The hooks of the test build; see atomic.h and model.h. Empty in the library that is installed. */
#include "base/atomic.h"
#include "base/model.h"

#ifdef PL_STEP_HOOKS
void (*pl_step_hook)(const char *what, const void *word);
const struct pl_model *pl_model;
#else
typedef int pl_step_is_empty; /* ISO C wants a declaration */
#endif
