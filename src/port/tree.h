/* Process trees: a process and all below it, killed so that none gets away. Errors are -errno. */
#ifndef PL_PORT_TREE_H
#define PL_PORT_TREE_H

#include <stdbool.h>
#include <stdint.h>

struct pl_tree;

/* An empty tree, NULL if there is no memory. To be given to pl_tree_end. */
struct pl_tree *pl_tree_begin(void);
void pl_tree_end(struct pl_tree *tree);

/* Adds a process and all below it; stops it (SIGSTOP). `adopts`: it is a subreaper and has been since before it had
 * grandchildren, so that even those whose parents ended are below it, and no runaway escapes. One that is in the tree already is left as it is. 0; -ESRCH: it has
 * ended, or the pid is another's by now (`birth` as of pl_process_birth; 0: not known, the pid has to do); -EPERM, also for the first process of all;
 * -EDEADLK: the caller is in that tree; -ENOSYS: no pidfds, or no /proc that shows our pids; -EMFILE, -ENOMEM. On
 * failure nothing has been done to it. */
int pl_tree_add(struct pl_tree *tree, int pid, uint64_t birth, bool adopts);

/* Whether a process has been found to be in the tree. */
bool pl_tree_has(const struct pl_tree *tree, int pid, uint64_t birth);

/* Goes on with killing it. -EAGAIN: some are not standing still yet; call again in a little while (a part of a millisecond),
 * with more added if need be. 0: it is over: each process of the tree has been sent SIGKILL. -EPERM: but those of other
 * users. -ETIMEDOUT: those that are known, but some would not stand still within a second, so there may be others.
 * -EMFILE, -ENOMEM: nobody is known to have been forgotten, but it could not be looked. */
int pl_tree_step(struct pl_tree *tree);

/* All of that at once, for who may sleep: up to a second if a process hangs in the kernel, commonly a millisecond. */
int pl_tree_kill(int pid, uint64_t birth, bool adopts);

#endif
