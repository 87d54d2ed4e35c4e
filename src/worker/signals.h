/* Signals, within this folder: who handles what. */
#ifndef PL_WORKER_SIGNALS_H
#define PL_WORKER_SIGNALS_H

#include <plait/signal.h>
#include <stdbool.h>

/* Begins Ctrl-C in a process that has just called plait_init. */
void pl_signals_begin(void);

/* Begins signals in a process that plait has started, by fork, clone or exec, as soon as it has the arena; again does
 * nothing. It leaves Ctrl-C to the first of the family from then on. */
void pl_signals_begin_child(void);

/* The program is about to end with this status. */
void pl_signals_note_exit(int status);

/* --- interrupt.c; both for signal handlers --- */

/* A signal that is set to PLAIT_SIGNAL_CANCEL has come. */
void pl_interrupt(int signum);

/* In a forked child: what has come so far was its parent's; it is a process of its own until pl_interrupt_join_family. */
void pl_interrupt_forget(void);
void pl_interrupt_join_family(void);
bool pl_interrupt_is_left_to_first(void);
/* Whether this very one is: not if a process of the family has sent it, and so means this worker (plait_interrupt). */
bool pl_interrupt_is_for_first(int signum, const siginfo_t *info);

#endif
