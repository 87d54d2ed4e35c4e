/* Signals to worker processes, which reach that process or nobody; and to all processes below one. */
#include "base/atomic.h"
#include "base/clock.h"
#include "park/park.h"
#include "port/process.h"
#include "port/tree.h"
#include "worker/tasks.h"
#include "worker/worker_internal.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

enum { NAP = 200 * 1000 }; /* ns, between two looks at a tree that is being killed */

/* Where no pidfd is to be had: a child of ours keeps its pid until we collect it. */
static int send_without_handle(struct pl_slot *slot, int signal, int why)
{
    int pid = pl_load_acquire(&slot->pid);
    struct pl_process_name self = pl_this_process();
    if (!pl_slot_is_child(slot, &self))
        return why == -EMFILE || why == -ENFILE ? PLAIT_EMFILE : PLAIT_ENOTSUP;
    if (!pl_process_child_runs(pid))
        return PLAIT_ESRCH;
    return kill(pid, signal) < 0 ? PLAIT_ESRCH : 0;
}

/* Whether the process that has the pid now, and therefore the pidfd, is the worker's: born when it was;
 * or, where births cannot be learned, held by our own child until we collect it, or by a worker whose
 * heart beats still. */
static bool is_the_one(struct pl_slot *slot, int pid)
{
    uint64_t birth = pl_load_relaxed(&slot->birth), now = pl_process_birth(pid);
    if (birth && now)
        return birth == now;
    struct pl_process_name self = pl_this_process();
    return pl_slot_is_child(slot, &self) || !pl_heart_is_stopped(slot);
}

/* Opens a pidfd of the worker's process. The pid may have been reused before that was done; so it is looked at after that
 * whose it is. The pidfd, or -errno. */
static int open_process(struct pl_slot *slot, plait_worker worker, int pid)
{
    int handle = pl_process_open(pid);
    if (handle < 0)
        return handle == -EINVAL ? -ESRCH : handle;
    if (is_the_one(slot, pid) &&
        pl_slot_find(worker) == slot) /* last: all that was read was of this worker */
        return handle;
    close(handle);
    return -ESRCH;
}

static int send_to(struct pl_slot *slot, plait_worker worker, int signal)
{
    int pid = pl_load_acquire(&slot->pid);
    if (pid <= 0) /* listed already, not forked yet */
        return PLAIT_EBUSY;
    int handle = open_process(slot, worker, pid);
    if (handle == -ESRCH)
        return PLAIT_ESRCH;
    if (handle < 0)
        return send_without_handle(slot, signal, handle);
    int rc = pl_process_has_ended(handle) ? -ESRCH : pl_process_signal(handle, signal);
    close(handle);
    return rc == 0 ? 0 : rc == -EPERM ? PLAIT_EPERM : PLAIT_ESRCH;
}

/* The entry of a worker that has a process of its own: 0 with *ret, or the error. */
static int find_process(plait_worker worker, struct pl_slot **ret)
{
    if (worker.slot == 0)
        return PLAIT_EINVAL;
    if (pl_is_task(worker)) {
        int state = pl_task_state(worker);
        return state < 0 ? state : PLAIT_ENOTSUP;
    }
    *ret = pl_slot_find(worker);
    if (!*ret || pl_life_of(pl_load_acquire(&(*ret)->life)) == PL_JOINED)
        return PLAIT_ESTALE;
    return pl_slot_kind(*ret) == PLAIT_PROCESS ? 0 : PLAIT_ENOTSUP;
}

static int signal_worker(plait_worker worker, int signal)
{
    struct pl_slot *slot;
    int rc = find_process(worker, &slot), saved = errno;
    if (rc == 0)
        rc = send_to(slot, worker, signal);
    errno = saved;
    return rc;
}

int plait_terminate(plait_worker worker)
{
    return signal_worker(worker, SIGTERM);
}

int plait_kill(plait_worker worker)
{
    return signal_worker(worker, SIGKILL);
}

int plait_interrupt(plait_worker worker)
{
    return signal_worker(worker, SIGINT);
}

int plait_sentinel(plait_worker worker)
{
    struct pl_slot *slot;
    int rc = find_process(worker, &slot), saved = errno;
    if (rc < 0)
        return rc;
    int pid = pl_load_acquire(&slot->pid);
    rc = pid <= 0 ? PLAIT_EBUSY : open_process(slot, worker, pid);
    errno = saved;
    switch (rc) {
    case -ESRCH:
    case PLAIT_EBUSY:
    case -ENOMEM:
        return rc;
    case -EMFILE:
    case -ENFILE:
        return PLAIT_EMFILE;
    default:
        return rc >= 0 ? rc : PLAIT_ENOTSUP;
    }
}

/* --- trees --- */

/* The worker process of that name; NULL: it is none, but a program's first or forked by the program itself. */
static struct pl_slot *worker_of_process(int32_t pid, uint64_t birth)
{
    uint32_t ready = pl_load_acquire(&pl_arena->slots_ready);
    for (uint32_t i = 1; i < ready; i++) {
        struct pl_slot *slot = pl_slot_at(i);
        if (pl_load_acquire(&slot->pid) == pid && pl_load_relaxed(&slot->birth) == birth &&
            pl_slot_kind(slot) == PLAIT_PROCESS && pl_slot_is_alive(slot))
            return slot;
    }
    return NULL;
}

/* Whether the calling process is below a worker in the family, whoever forked it. */
static bool is_below(const struct pl_slot *worker)
{
    enum { GENERATIONS = 1000 }; /* entries may change as we look */
    struct pl_process_name self = pl_this_process();
    const struct pl_slot *slot = worker_of_process(self.pid, self.birth);
    for (int i = 0; slot && slot != worker && i < GENERATIONS; i++)
        slot = worker_of_process(pl_load_relaxed(&slot->parent_pid),
                                 pl_load_relaxed(&slot->parent_birth));
    return slot == worker;
}

/* 0, or as pl_tree_add; PLAIT_EBUSY, PLAIT_ESTALE. */
static int add_to(struct pl_tree *tree, struct pl_slot *slot, plait_worker worker)
{
    int pid = pl_load_acquire(&slot->pid);
    uint64_t birth = pl_load_relaxed(&slot->birth);
    bool adopts = pl_load_relaxed(&slot->flags) & PL_FLAG_SUBREAPER;
    if (pid <= 0)
        return PLAIT_EBUSY;
    if (birth == 0) /* it has not come to say it itself */
        birth = pl_process_birth(pid);
    if (pl_slot_find(worker) != slot) /* last: all that was read was of this worker */
        return PLAIT_ESTALE;
    return pl_tree_add(tree, pid, birth, adopts);
}

/* Workers that processes of the tree have started are of the tree, though they may be another's children (a zygote's). */
static void add_workers(struct pl_tree *tree)
{
    uint32_t ready = pl_load_acquire(&pl_arena->slots_ready);
    for (uint32_t i = 1; i < ready; i++) {
        struct pl_slot *slot = pl_slot_at(i);
        if (pl_slot_kind(slot) == PLAIT_PROCESS && pl_slot_is_alive(slot) &&
            pl_tree_has(tree, pl_load_relaxed(&slot->parent_pid),
                        pl_load_relaxed(&slot->parent_birth)))
            add_to(tree, slot, pl_worker_of(slot));
    }
}

/* A little while, in which other tasks of this thread run. */
static void nap(void)
{
    struct pl_wait wait = {
        .kind = PL_WAIT_SLEEP, .deadline = plait_now() + NAP, .uncancellable = true};
    uint32_t never = 0;
    pl_park(&never, 0, &wait);
}

static int kill_whole(struct pl_tree *tree, struct pl_slot *slot, plait_worker worker)
{
    int rc = add_to(tree, slot, worker);
    while (rc == 0) {
        add_workers(tree);
        rc = pl_tree_step(tree);
        if (rc != -EAGAIN)
            return rc;
        nap();
        rc = 0;
    }
    return rc == -ENOSYS ? PLAIT_ENOTSUP : rc;
}

/* A worker that has a control group of its own could be killed by that instead (cgroup.kill): this is the place. */
int plait_kill_tree(plait_worker worker)
{
    struct pl_slot *slot;
    int rc = find_process(worker, &slot);
    if (rc == 0)
        rc = pl_self_known();
    if (rc == 0 && is_below(slot))
        rc = PLAIT_EDEADLK;
    if (rc < 0)
        return rc;
    struct pl_tree *tree = pl_tree_begin();
    if (!tree)
        return PLAIT_ENOMEM;
    rc = kill_whole(tree, slot, worker);
    pl_tree_end(tree);
    return rc;
}
