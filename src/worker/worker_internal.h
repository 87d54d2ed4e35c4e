/* Shared by the files of this folder: starting, ending and collecting workers. */
#ifndef PL_WORKER_INTERNAL_H
#define PL_WORKER_INTERNAL_H

#include "registry/registry.h"

/* Starts the worker of a claimed and filled slot. 0; on failure nothing is left but the slot. */
int pl_thread_start(struct pl_slot *slot, size_t stack_size);
int pl_process_start(struct pl_slot *slot, int method, const plait_options *o);

/* This process's lifeline, for children that are not workers: made if there is none. 0 or PLAIT_EMFILE. */
struct pl_lifeline;
int pl_process_lifeline(struct pl_lifeline *ret);

/* Whether the calling thread is forking a process worker, or is the first of one that was forked just now. */
bool pl_process_is_forking(void);

/* Runs the slot's function in the calling thread, which is the worker. Its status. */
int pl_worker_run(struct pl_slot *slot);

/* Collects a child process of this process if it has ended: fills its ending, recovers what it left,
 * life becomes ENDED. 0; -EAGAIN: it still runs; -ECHILD: not ours, or collected already. */
int pl_child_reap(struct pl_slot *slot);

/* Makes a dead process's slot ENDED: recovers what it left, also if it died before it could register.
 * The ending must be filled in before, as far as it is known. */
void pl_child_finish(struct pl_slot *slot, uint32_t generation);

/* Joins whatever is asked of the caller meanwhile, until an instant; for repair and exit. As
 * plait_join. */
int pl_worker_join_certainly(plait_worker worker, plait_blame *ret, int64_t deadline);

/* Joins; PLAIT_ECANCELED if the caller is asked to stop meanwhile. For exit. */
int pl_worker_join_if_not_asked(plait_worker worker);

/* Collects the children that nobody of this process will join: detached, or joined by strangers. */
void pl_child_reap_forgotten(void);

/* How many processes this one has started and not collected yet changes by n. */
void pl_child_count(int n);

/* To be said before this process has its first worker: until then nobody looks for one. */
void pl_worker_will_have_own(void);

/* The end of this process in good order: waits for its workers, ends its daemons. */
void pl_worker_finish_all(void);

/* Whether this process is ending its daemons: a process that is started now would never be ended. */
bool pl_worker_is_closing(void);

/* Whether a process worker whose heart has stopped is there all the same: it has executed another
 * program, or its first thread has left it, or it is just about to be gone. */
bool pl_slot_lingers(struct pl_slot *slot);

/* Makes sure that pl_worker_finish_all runs at exit of this process. */
void pl_worker_watch_exit(void);

#endif
