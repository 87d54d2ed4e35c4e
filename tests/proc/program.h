/* program - each test of this folder is a program of its own, after which the machine is as before.
 *
 *     static int children_die_with_their_parent(void *unused) { ...; return 0; }
 *
 *     const struct CMUnitTest tests[] = {PROGRAM(children_die_with_their_parent)};
 *
 * The program is forked while there is no arena yet, so it is a family of its own; it runs in a
 * session of its own and ends by exit(what its function returned). Passed means: status 0, and one
 * second later no process of the session lives. PROGRAM_SKIPPED says that it cannot be tried here.
 *
 * A test about the end of a whole program forks a further one (t_fork, before it uses plait itself)
 * and watches from outside; what that one has to say it writes on a board. */
#ifndef TESTS_PROC_PROGRAM_H
#define TESTS_PROC_PROGRAM_H

#include "harness.h"

enum { PROGRAM_SKIPPED = 77 };

#define PROGRAM(fn)                                                                                \
    {                                                                                              \
#fn, program_run, NULL, NULL, (void *)(uintptr_t)(fn)                                      \
    }
void program_run(void **state);

/* Zeroed memory that this process and all it forks share, and that is not plait's. */
void *board_new(size_t size);

/* Orphans below this process become its children: t_reap says how they ended. */
void adopt_orphans(void);

/* Whether a process runs no more: it is gone, or a zombie. */
bool has_ended(pid_t pid);

/* Waits until a child can be collected, and leaves it: has_ended may say so while some of its threads still go. */
void wait_for_zombie(pid_t pid);

/* How many processes of a session run. */
int living_in_session(pid_t session);

/* Entries of the worker table that serve somebody: to come, living, or not joined yet. */
int entries_in_use(void);

/* Fills the table of descriptors up to a limit that it lowers to `most`; the lowest of those opened
 * to that end. */
int fill_descriptors(int most);

/* Makes the calling process that of a user who has no other processes. */
void become_nobody_else(void);

#endif
