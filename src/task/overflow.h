/* The overflow of a task's stack: told before the program dies of it. */
#ifndef PL_TASK_OVERFLOW_H
#define PL_TASK_OVERFLOW_H

/* Watches the calling thread's stacks (task/stack.h): when one overflows, a line on standard error says which task it was
 * and how large its stack is; then the program dies of SIGSEGV as it would have. Gives the thread a stack for signals unless
 * it has one that is large enough. Each watch is ended by one unwatch in the same thread; they may nest. 0, or PLAIT_ENOMEM. */
int pl_overflow_watch(void);
void pl_overflow_unwatch(void);

/* The name of the task that runs on the calling thread; NULL: it has none. Called in a signal handler. Set once, before
 * the first watch. */
extern const char *(*pl_overflow_name)(void);

#endif
