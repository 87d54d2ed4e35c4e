/* PLAIT_SPAWN: each process is the program executed anew. */
#include "base/atomic.h"
#include "worker/begin.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Exit code of a process that could not become a worker: its place in the arena's address range is taken. */
enum { NO_ARENA = 125 };

static int check_descriptors(const int *fds, size_t n)
{
    int saved = errno;
    size_t open = 0;
    while (open < n && fcntl(fds[open], F_GETFD) >= 0)
        open++;
    errno = saved;
    return open == n ? 0 : PLAIT_EBADF;
}

int pl_spawn_start(const struct pl_birth *birth)
{
    struct pl_slot *slot = birth->slot;
    struct pl_role role = {
        .kind = PL_ROLE_SPAWNED,
        .arena = pl_arena_descriptor(),
        .lifeline = pl_lifeline_read_end(),
        .detached = birth->detached,
        .socket = -1,
        .slot = PL_ID_SLOT(pl_slot_id(slot)),
        .meant = birth->meant,
    };
    int32_t pid;
    int rc = role.arena < 0 ? PLAIT_EBADF : check_descriptors(birth->fds, birth->n_fds);
    if (rc == 0)
        rc = pl_reexec(&role, birth->fds, birth->n_fds, &pid);
    if (rc < 0)
        return rc;
    pl_store_relaxed(&slot->tid, pid);
    pl_store_release(&slot->pid, pid);
    return 0;
}

_Noreturn void pl_spawned_main(const struct pl_role *role)
{
    if (role->detached)
        close(role->lifeline);
    else
        pl_lifeline_tie_to(role->lifeline);
    if (pl_arena_attach(role->arena) < 0 || role->slot >= pl_load_acquire(&pl_arena->slots_ready))
        _exit(NO_ARENA);
    pl_process_main(pl_slot_at(role->slot), role->meant);
}
