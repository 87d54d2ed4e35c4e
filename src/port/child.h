/* A child before it runs: all that it is to have, prepared by its starter, and applied by itself with nothing but system
 * calls, for it may share its starter's memory until it execs. See child.c. Errors are -errno. */
#ifndef PL_PORT_CHILD_H
#define PL_PORT_CHILD_H

#include "port/process.h"

#include <plait/process.h>
#include <sys/types.h>

/* A descriptor that the child is to have under the number `to`. */
struct pl_move {
    int from, to;
};

struct pl_child_limit {
    int which;
    uint64_t soft, hard; /* as struct rlimit64 */
};

/* All zero: nothing is changed but signals, and every descriptor but 0 to 2 is closed. Constant once it is applied, but for
 * `moves`, which is scratch then. */
struct pl_child_setup {
    /* The child does not exec: descriptors are closed and not only marked. */
    bool stays;

    /* Signals. The starter has all blocked from before the child is made. */
    bool keep_signals;
    uint64_t mask; /* to be set at the end; 0: none blocked */

    /* Descriptors; `tos` is the sorted list of `to`, which pl_child_setup_seal makes. */
    bool keep_others; /* close nothing */
    struct pl_move *moves;
    int n_moves, room;
    int *tos;
    int highest; /* of all from and to, at least 2 */

    /* To die with the starter: the starter's lifeline. NULL: not tied. */
    const struct pl_lifeline *lifeline;
    char lifeline_path[32]; /* /proc/self/fd/N of its reading end */
    int tie;                /* the same from pl_lifeline_open; with has_tie */
    bool has_tie;

    const char *cwd;
    bool set_umask;
    uint32_t umask;
    int nice; /* added */
    unsigned long *cpus;
    size_t cpus_size;
    struct pl_child_limit *limits;
    int n_limits;
    int cgroup; /* cgroup.procs, open to write; with has_cgroup */
    bool has_cgroup;
    bool new_session, take_terminal, new_group, subreaper;
    pid_t group_to_join;

    bool set_groups, set_gid, set_uid;
    gid_t *groups, gid;
    int n_groups;
    uid_t uid;

    /* Called last, with `argument`: 0, or an errno. May use what a signal handler may. */
    int (*callback)(void *argument);
    void *argument;

    char *const *env; /* of a program; NULL: the starter's */
};

/* --- preparing: child_setup.c --- */

/* Fills in a setup from the options (NULL: none). 0, or a code with *failure (not NULL) filled in and nothing to be freed:
 * PLAIT_EINVAL (contradictions, "NAME" without '=', negative numbers), PLAIT_ENOENT (user or group unknown, no such cgroup),
 * PLAIT_EACCES, PLAIT_EMFILE, PLAIT_ENOMEM, PLAIT_EIO. May read the user database. */
int pl_child_setup_make(struct pl_child_setup *ret, const plait_process_options *options,
                        plait_process_failure *failure);
void pl_child_setup_free(struct pl_child_setup *setup);

/* Adds a descriptor. 0, PLAIT_EINVAL (negative, `to` is there already), PLAIT_ENOMEM. */
int pl_child_setup_move(struct pl_child_setup *setup, int from, int to);

/* The last call before it is applied: 0, PLAIT_ENOMEM. */
int pl_child_setup_seal(struct pl_child_setup *setup, const struct pl_lifeline *lifeline);

/* Fills in a failure; `path` may be NULL. Returns the code. */
int pl_process_failed(plait_process_failure *failure, int code, int step, int error,
                      const char *path);

/* --- applying: child.c --- */

/* In the child, all signals blocked: does it all. 0, or -errno with the step that failed. */
int pl_child_apply(const struct pl_child_setup *setup, int *ret_step);

/* --- running a program: spawn.c --- */

struct pl_spawn {
    char *const *paths; /* tried in turn, as execvp does; NULL at the end */
    char *const *argv;
    char *const *env;
    char **
        shell_argv; /* scratch of argc + 2, for what is no program by itself; NULL: an error then */
    struct pl_child_setup *setup;
};

struct pl_spawned {
    pid_t pid;
    int pidfd; /* -1: not to be had */
};

/* Starts it, or says why not: 0, or -errno with the step and for PLAIT_STEP_EXEC the index of the path. The process is then
 * collected. Leaves errno alone. */
int pl_child_spawn(const struct pl_spawn *spawn, struct pl_spawned *ret, int *ret_step,
                   int *ret_path);

/* Executes it in the calling process: returns only if it fails, -errno. */
int pl_child_exec(const struct pl_spawn *spawn, int *ret_path);

#endif
