/* at_fork - what each fork writes lies together, not all over the program's data: a page that is written after a fork costs a fault
 * and a copy of the page, in the parent as in the child. */
#ifndef PL_BASE_AT_FORK_H
#define PL_BASE_AT_FORK_H

#define PL_WRITTEN_AT_FORK __attribute__((section("pl_at_fork")))

#endif
