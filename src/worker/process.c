/* Processes: forked, tied to their parent's life, collected once. */
#include "base/atomic.h"
#include "base/clock.h"
#include "park/park.h"
#include "port/process.h"
#include "port/context.h"
#include "worker/tasks.h"
#include "worker/worker_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { LARGEST_STACK = 64 << 20 }; /* bytes, for a process that a task starts */

/* This process's lifeline, which its children are tied to; made with the first child. */
static const struct pl_lifeline no_lifeline = {-1, -1, 0};
static struct pl_lifeline lifeline = {-1, -1, 0};
static struct pl_lifeline outgrown = {-1, -1, 0}; /* one that earlier children are still tied to */
static pthread_mutex_t lifeline_lock = PTHREAD_MUTEX_INITIALIZER;

/* Set around our own fork(): the child then ties the lifeline itself. */
static _Thread_local bool forking;

static void lock_before_fork(void)
{
    pthread_mutex_lock(&lifeline_lock);
}

static void unlock_in_parent(void)
{
    pthread_mutex_unlock(&lifeline_lock);
}

/* A child that keeps the writing end would keep its siblings alive after the parent's death. */
static void let_go_in_child(void)
{
    pthread_mutex_unlock(&lifeline_lock);
    if (forking)
        return;
    pl_lifeline_untie();
    pl_lifeline_drop(&lifeline);
    pl_lifeline_drop(&outgrown);
    lifeline = outgrown = no_lifeline;
}

__attribute__((constructor(101))) static void watch_fork(void)
{
    pthread_atfork(lock_before_fork, unlock_in_parent, let_go_in_child);
}

static int need_lifeline(void)
{
    pthread_mutex_lock(&lifeline_lock);
    int rc = 0;
    if (!pl_lifeline_is_usable(&lifeline)) {
        if (pl_lifeline_is_whole(&lifeline)) /* the program has changed its user */
            outgrown = lifeline;
        rc = pl_lifeline_make(&lifeline);
    }
    pthread_mutex_unlock(&lifeline_lock);
    return rc == 0 ? 0 : PLAIT_EMFILE;
}

/* --- the child --- */

static void take_position(bool detached)
{
    struct pl_lifeline parents = lifeline;
    pl_lifeline_drop(&outgrown);
    lifeline = outgrown = no_lifeline;
    if (detached) {
        pl_lifeline_untie();
        pl_lifeline_drop(&parents);
    } else {
        pl_lifeline_tie(&parents);
    }
    forking = false;
}

/* `meant` is the slot's life as its parent left it; until that is confirmed, nothing of the slot may be
 * touched: if the parent died, it may serve another. */
static _Noreturn void child_main(struct pl_slot *slot, uint64_t meant, bool detached)
{
    char name[PLAIT_NAME_SIZE];
    take_position(detached);
    __fpurge(stdout); /* what another thread has printed since is in the parent's buffers too */
    __fpurge(stderr);
    if (!pl_slot_enter(slot, meant))
        _exit(0); /* detached, and its parent died before it could tell anyone of it */
    pl_name_get(slot, name);
    prctl(PR_SET_NAME, name);
    int status = pl_worker_run(slot);
    pl_worker_finish_all();
    fflush(stdout);
    fflush(stderr);
    if (pl_self.thread == slot)
        pl_slot_leave(PL_END_RETURNED, status);
    /* Not exit(): the handlers that the program registered before the fork are its parent's. */
    _exit(status & 0xff);
}

struct child {
    struct pl_slot *slot;
    uint64_t meant;
    bool detached;
};

static void child_entry(void *arg)
{
    const struct child *child = arg;
    child_main(child->slot, child->meant, child->detached);
}

/* Where a task's stack is too small for a whole process. As large as a first thread's; if there is no memory for
 * that, what the task has left must do. */
static void move_to_large_stack(struct child *child)
{
    struct rlimit limit;
    struct pl_context here, there;
    bool sane = getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur <= LARGEST_STACK;
    size_t size = sane ? (size_t)limit.rlim_cur : LARGEST_STACK;
    void *low = mmap(NULL, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (low == MAP_FAILED)
        return;
    pl_context_adopt(&here);
    pl_context_make(&there, low, size, child_entry, child);
    pl_context_switch(&here, &there);
}

static _Noreturn void begin_child(struct child *child, bool in_task)
{
    if (in_task)
        move_to_large_stack(child);
    child_main(child->slot, child->meant, child->detached);
}

/* --- the parent --- */

int pl_process_start(struct pl_slot *slot)
{
    int rc = need_lifeline();
    if (rc < 0)
        return rc;
    pl_child_reap_forgotten();
    /* What lies in the buffers would be written twice. The standard streams only: another thread
     * may be reading from any other, and hold its lock. */
    int saved = errno;
    fflush(stdout);
    fflush(stderr);
    struct child child = {.slot = slot,
                          .meant = pl_load_relaxed(&slot->life),
                          .detached = pl_load_relaxed(&slot->flags) & PL_FLAG_DETACHED};
    bool in_task = pl_task_runs();
    forking = true;
    pid_t pid = fork();
    if (pid == 0)
        begin_child(&child, in_task);
    forking = false;
    rc = pid < 0 ? (errno == ENOMEM ? PLAIT_ENOMEM : PLAIT_EAGAIN) : 0;
    errno = saved;
    if (pid > 0) {
        pl_store_relaxed(&slot->tid, (int32_t)pid);
        pl_store_release(&slot->pid, (int32_t)pid);
    }
    return rc;
}

static void record_end(struct pl_slot *slot, const struct pl_process_end *end)
{
    pl_store_relaxed(&slot->user_ns, end->user_ns);
    pl_store_relaxed(&slot->system_ns, end->system_ns);
    pl_store_relaxed(&slot->max_rss, end->max_rss);
    if (pl_load_acquire(&slot->ending) != PL_END_UNKNOWN)
        return; /* it has said itself how it ended */
    pl_store_relaxed(&slot->status, end->signal ? -end->signal : end->status);
    pl_store_relaxed(&slot->signal, end->signal);
    pl_store_relaxed(&slot->core, (uint32_t)end->core);
    pl_store_relaxed(&slot->ended, plait_now());
    pl_store_release(&slot->ending, (uint32_t)(end->signal ? PL_END_KILLED : PL_END_EXITED));
}

void pl_child_finish(struct pl_slot *slot, uint32_t generation)
{
    /* One that died before it registered left nothing but its argument, and is not RUNNING. */
    uint64_t life = pl_load_acquire(&slot->life);
    if (pl_generation_of(life) != generation)
        return;
    if (pl_life_of(life) == PL_NEW || pl_life_of(life) == PL_ENTERING) {
        pl_slot_drop_argument(slot);
        pl_store_release(&slot->recoverer, PL_RECOVERED);
        pl_cas_acq_rel(&slot->life, &life,
                       (uint64_t)generation << 32 | (uint32_t)PL_RUNNING << PL_ID_BITS);
    }
    pl_recover(slot);
    pl_slot_ended(slot, generation);
}

/* Under the slot's reaper word. As pl_process_reap, but a process that another has collected is told
 * from one that is not ours to collect. */
static int reap_claimed(struct pl_slot *slot, struct pl_process_end *end, bool *ret_known)
{
    int32_t pid = pl_load_acquire(&slot->pid);
    uint64_t birth = pl_load_relaxed(&slot->birth);
    int rc = pl_process_reap(pid, birth, end);
    *ret_known = rc == 0;
    if (rc != -ECHILD)
        return rc;
    return pl_process_lives(pid, birth) ? -EAGAIN : 0;
}

int pl_child_reap(struct pl_slot *slot)
{
    struct pl_process_end end;
    bool known;
    uint32_t nobody = 0, generation = pl_generation_of(pl_load_acquire(&slot->life));
    struct pl_process_name self = pl_this_process();
    if (!pl_slot_is_child(slot, &self) ||
        !pl_cas_acq_rel(&slot->reaper, &nobody, pl_self.thread_id))
        return -ECHILD;
    bool same = pl_generation_of(pl_load_acquire(&slot->life)) == generation;
    int rc = same ? reap_claimed(slot, &end, &known) : -EAGAIN;
    if (rc < 0) {
        pl_store_release(&slot->reaper, 0u);
        return rc;
    }
    if (known) { /* written down before the zombie goes, whom others may be asking */
        record_end(slot, &end);
        pl_process_collect(pl_load_relaxed(&slot->pid));
    }
    pl_child_finish(slot, generation);
    pl_store_release(&slot->reaper, PL_REAPED);
    return 0;
}

void pl_child_reap_forgotten(void)
{
    struct pl_process_name self = pl_this_process();
    uint32_t ready = pl_load_acquire(&pl_arena->slots_ready);
    for (uint32_t i = 1; i < ready; i++) {
        struct pl_slot *slot = pl_slot_at(i);
        if (!pl_slot_is_child(slot, &self) || pl_load_acquire(&slot->reaper) != 0)
            continue;
        enum pl_life life = pl_life_of(pl_load_acquire(&slot->life));
        if (life == PL_JOINED || (pl_load_relaxed(&slot->flags) & PL_FLAG_DETACHED))
            pl_child_reap(slot);
    }
}
