/* plait_options.process for a process that is forked: it applies the options to itself, and says how that went before it is a
 * worker. (One that is executed anew gets them from its starter: port/child.h.) */
#ifndef PL_WORKER_SETUP_H
#define PL_WORKER_SETUP_H

#include <plait/process.h>

/* Looks the options over, as far as that can be done before there is a process. 0, or as pl_child_setup_make. */
int pl_setup_check(const plait_process_options *options);

/* The options as one block of the arena, pointers and all, for a process that has not the starter's memory; to be given to
 * plait_free. NULL: plait_last_error. */
plait_process_options *pl_setup_copy(const plait_process_options *options);

/* --- the report: a pipe by which the process says how it went --- */

/* 0 with the reading and the writing end; PLAIT_EMFILE. */
int pl_setup_pipe(int ends[2]);

/* The starter, which has closed the writing end: waits until the process is past its setup or gone. 0, or what failed, an
 * errno negated; the process then ends. */
int pl_setup_hear(int end, int pid);

/* The process: applies the options, and reports; does not return if it fails. */
void pl_setup_apply(const plait_process_options *options, int report);

#endif
