/* How a process comes into being, and what it is told at its beginning.
 *
 *   fork    fork.c          has all that its parent had
 *   spawn   spawn.c         is executed anew (reexec.c), and finds its role in plait_init (init.c)
 *   zygote  zygote_ask.c    asks the zygote, a process that was executed anew once (zygote.c) and forks siblings
 *
 * All three end in pl_process_main (process.c). */
#ifndef PL_WORKER_BEGIN_H
#define PL_WORKER_BEGIN_H

#include "port/child.h"
#include "port/process.h"
#include "registry/code.h"
#include "worker/worker_internal.h"

/* What a process that has not its parent's memory has to be told. In the arena, in front of the copy of the argument; part
 * of the same block, which is freed as the argument is (pl_slot_drop_argument). Written by the starter before the process
 * is there, read by the process. */
struct pl_begin {
    struct pl_code function;
    void *argument;
    int32_t start_method; /* what plait_set_start_method said */
    int32_t pid;          /* of the process; the kernel writes it as it makes it: zygote_ask.c */
    const plait_process_options
        *process; /* to be applied; also in the arena, the starter frees it. NULL: none */
    _Alignas(16) char copy[];
};

/* A process to be: its entry, the entry's `life` as the starter left it (until that is confirmed, nothing of the entry
 * may be touched: if the starter died, it may serve another), and how it is tied to its parent. */
struct pl_birth {
    struct pl_slot *slot;
    uint64_t meant;
    bool detached;
    const plait_options *options;
};

/* --- the three ways. 0; on failure nothing is left but the entry: PLAIT_EAGAIN, PLAIT_ENOMEM, PLAIT_EMFILE ... --- */

int pl_fork_start(const struct pl_birth *birth);
int pl_spawn_start(const struct pl_birth *birth);
int pl_zygote_start(const struct pl_birth *birth);

/* Whether the program has a hook for its zygote. */
bool pl_zygote_preloads(void);

/* --- both sides: process.c --- */

/* The starter, at the end: notes which process it is. */
void pl_birth_done(const struct pl_birth *birth, int32_t pid);

/* Runs the worker of an entry as this process, and ends it. All that ties the process to its parent is done. */
_Noreturn void pl_process_main(struct pl_slot *slot, uint64_t meant);

/* --- the lifeline of this process, which its children are tied to: process.c --- */

/* 0, PLAIT_EMFILE. */
int pl_lifeline_need(void);

/* The end that children hold, and which pipe it is. -1 and 0: none yet. */
int pl_lifeline_read_end(void);
uint64_t pl_lifeline_inode(void);
const struct pl_lifeline *pl_lifeline_own(void);

/* In a child forked by plait: is tied to the lifeline it was forked with, or to nothing. `own` from pl_lifeline_open, or -1. */
void pl_lifeline_inherit(bool detached, int own);

/* Set around our own fork(): the child then ties the lifeline itself. */
void pl_lifeline_forking(bool now);

/* --- executing the program anew: reexec.c --- */

enum pl_role_kind { PL_ROLE_NONE, PL_ROLE_ZYGOTE, PL_ROLE_SPAWNED };

/* What an executed process is to be, told by its environment. Descriptors have the same numbers as in its parent. */
struct pl_role {
    enum pl_role_kind kind;
    int arena;
    int lifeline;                  /* of its starter */
    const struct pl_lifeline *tie; /* it is tied by its starter, to this; not told */
    int socket;                    /* zygote: requests */
    uint32_t slot;                 /* spawned: index of its entry */
    uint64_t meant;                /* and its life */
    bool holds_interrupt; /* spawned: SIGINT is blocked until it has left Ctrl-C to the first */
    bool fork_twice;      /* zygote: as if it could not make siblings; for tests */
};

/* plait_init but for its last step, which makes the arena: for tests, whose programs are families of their own. */
int pl_program_begin(int argc, char **argv);

/* Keeps what the program was called with. 0, PLAIT_ENOMEM. */
int pl_program_keep(int argc, char **argv);

/* Executes the program anew, with the setup (made, not sealed; still the caller's) and so many descriptors handed over.
 * 0 with *ret, whose pidfd is the caller's; PLAIT_EINIT (plait_init was not called), PLAIT_ENOTSUP (it runs with privileges of its
 * file, or there is no /proc), PLAIT_EBADF (of `fds`, or the arena's was closed), PLAIT_EINVAL (one of `fds` twice), PLAIT_EAGAIN, PLAIT_ENOMEM,
 * PLAIT_EMFILE, or another errno negated. */
int pl_reexec(const struct pl_role *role, struct pl_child_setup *setup, const int *fds,
              size_t n_fds, struct pl_spawned *ret);

/* The role that this process was given; taken out of the environment. False: what stands there makes no sense. */
bool pl_role_take(struct pl_role *ret);

/* Whether the program may be executed anew at all: its file gives it no privileges that it may have dropped, and it acts as
 * the user that it is. */
bool pl_may_reexec(void);

/* --- in an executed process; they do not return --- */

_Noreturn void pl_zygote_main(const struct pl_role *role);
_Noreturn void pl_spawned_main(const struct pl_role *role);

/* What plait_set_start_method said. Atomic. */
extern int32_t pl_default_method;

extern bool pl_zygotes_fork_twice; /* tests: as where siblings cannot be made */
extern int64_t pl_zygote_patience; /* ns; tests: less */

#endif
