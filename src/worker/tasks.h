/* What this folder's calls do for a task; declared here, because they know all kinds by one name, and defined by
 * the task layer above, which knows tasks. Results are as the public calls' (worker.h). */
#ifndef PL_WORKER_TASKS_H
#define PL_WORKER_TASKS_H

#include "park/park.h"

#include <plait/worker.h>

/* Whether a handle is a task's. */
static inline bool pl_is_task(plait_worker worker)
{
    return worker.slot & UINT32_C(0x80000000);
}

int pl_task_start(plait_worker *ret, plait_function *fn, void *arg, const plait_options *options);
int pl_task_join(plait_worker worker, plait_blame *ret, struct pl_wait *wait);
int pl_task_detach(plait_worker worker);
int pl_task_cancel(plait_worker worker);
int pl_task_state(plait_worker worker);
int pl_task_exit_status(plait_worker worker, plait_blame *ret);
int pl_task_get_name(plait_worker worker, char *buffer, size_t size);
int pl_task_set_name(const char *name); /* the calling one's */
int pl_task_pid(plait_worker worker);
int pl_task_tid(plait_worker worker);
plait_worker pl_task_parent(plait_worker worker);

/* The thread's own flow lets tasks that were started run up to their first wait; a loop that has none left goes. */
void pl_tasks_let_run(void);

/* Whether the caller is a task, not its thread's own flow. */
bool pl_task_runs(void);

#endif
