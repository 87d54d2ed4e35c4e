/* Between supervisor.c, which runs one, and supervisor_orders.c, by which others ask it. */
#ifndef PL_TASK_SUPERVISOR_INTERNAL_H
#define PL_TASK_SUPERVISOR_INTERNAL_H

#include "registry/code.h"
#include "registry/registry.h"

#include <plait/supervisor.h>

/* order_.word. A futex: who asks sleeps on it. */
enum { PL_ORDER_IDLE = 0, PL_ORDER_ASKED = 1, PL_ORDER_DONE = 2 };

/* order_.what */
enum { PL_ORDER_ADD = 1, PL_ORDER_REMOVE, PL_ORDER_RESTART };

/* 0; NULL, a copy, or a private one that a fork has copied: PLAIT_EINVAL, PLAIT_ECHILD. */
int pl_supervisor_check(const plait_supervisor *s);

/* From now on this process, or the family, uses it. */
void pl_supervisor_adopt(plait_supervisor *s);

void pl_supervisor_lock(plait_supervisor *s);
void pl_supervisor_unlock(plait_supervisor *s);

/* Functions are kept so that the supervisor finds them, whatever image of the program its process runs. */
static inline struct pl_function *pl_place(plait_function_place_ *place)
{
    _Static_assert(sizeof *place == sizeof(struct pl_function), "a function and its name");
    return (struct pl_function *)place;
}

/* --- the table; the owner's while it is run, else under the lock --- */

/* The children in order: how many. */
int pl_supervisor_sort(plait_supervisor *s, plait_supervised_ **list);
plait_supervised_ *pl_supervisor_find(plait_supervisor *s, const char *name); /* NULL: none */
/* Puts a new child in the table; its function is where `place` says. 0; PLAIT_EEXIST, PLAIT_EOVERFLOW. */
int pl_supervisor_enter(plait_supervisor *s, const plait_child *child,
                        const plait_function_place_ *place, plait_supervised_ **ret);
void pl_supervisor_drop(plait_supervisor *s, plait_supervised_ *c);

#endif
