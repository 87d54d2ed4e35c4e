/* PLAIT_SPAWN: each process is the program executed anew. */
#include "base/atomic.h"
#include "worker/begin.h"

#include <unistd.h>

/* Exit code of a process that could not become a worker: its place in the arena's address range is taken. */
enum { NO_ARENA = 125 };

static int start(const struct pl_birth *birth, struct pl_child_setup *setup, struct pl_spawned *ret)
{
    const plait_options *o = birth->options;
    struct pl_role role = {
        .kind = PL_ROLE_SPAWNED,
        .arena = pl_arena_descriptor(),
        .lifeline = pl_lifeline_read_end(),
        .tie = birth->detached ? NULL : pl_lifeline_own(),
        .socket = -1,
        .slot = PL_ID_SLOT(pl_slot_id(birth->slot)),
        .meant = birth->meant,
    };
    return pl_reexec(&role, setup, o->fds, o->n_fds, ret);
}

int pl_spawn_start(const struct pl_birth *birth)
{
    struct pl_child_setup setup;
    plait_process_failure failure;
    struct pl_spawned spawned;
    int rc = pl_child_setup_make(&setup, birth->options->process, &failure);
    if (rc < 0)
        return rc;
    rc = start(birth, &setup, &spawned);
    pl_child_setup_free(&setup);
    if (rc < 0)
        return rc;
    if (spawned.pidfd >= 0)
        close(spawned.pidfd);
    pl_birth_done(birth, (int32_t)spawned.pid);
    return 0;
}

_Noreturn void pl_spawned_main(const struct pl_role *role)
{
    close(role->lifeline);
    if (pl_arena_attach(role->arena) < 0 || role->slot >= pl_load_acquire(&pl_arena->slots_ready))
        _exit(NO_ARENA);
    pl_process_main(pl_slot_at(role->slot), role->meant);
}
