/* A model of the world outside: in the test build a harness may put its own clock and its own futex
 * under the library (PL_STEP_HOOKS; explore harness). In the ordinary build there is none, and the
 * compiler drops every question about it. */
#ifndef PL_BASE_MODEL_H
#define PL_BASE_MODEL_H

#include <stdint.h>

struct pl_watch; /* port/futex.h */

struct pl_model {
    int64_t (*now)(void);
    /* As pl_futex_wait_any and pl_futex_wake. */
    int (*wait)(const struct pl_watch *watch, int n, int64_t deadline);
    int (*wake)(uint32_t *word, int n);
    int64_t longest_nap; /* ns; a longer nap never ends, so that a lost wake-up shows */
};

#ifdef PL_STEP_HOOKS
extern const struct pl_model *pl_model; /* set by a harness; NULL: the real world */
#else
#define pl_model ((const struct pl_model *)0)
#endif

#endif
