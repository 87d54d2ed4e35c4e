/* Making a process that is not the caller's child but its sibling: a child of the caller's parent. */
#ifndef PL_PORT_CLONE_H
#define PL_PORT_CLONE_H

#include <stdbool.h>
#include <stdint.h>

/* Learns what pl_clone_sibling needs. False: it cannot be done here (a kernel without PR_GET_TID_ADDRESS, a
 * sanitizer with threads of its own); then fork twice. */
bool pl_clone_prepare(void);

/* As fork(), but the child's parent is the caller's. Requires: pl_clone_prepare said yes; the caller has one
 * thread. Handlers of pthread_atfork are not run. The kernel writes the child's pid to *ret_pid before the child
 * exists for anybody: whoever finds 0 there after the caller's death knows that there is no child.
 * 0 in the child, its pid, or -errno. */
int pl_clone_sibling(int32_t *ret_pid);

#endif
