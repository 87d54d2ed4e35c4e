/* Starting workers, of any kind, and asking about them. */
#include "arena/alloc.h"
#include "base/atomic.h"
#include "base/clock.h"
#include "park/park.h"
#include "port/cpu.h"
#include "port/oom.h"
#include "port/process.h"
#include "worker/tasks.h"
#include "worker/begin.h"

#include <plait/arena.h>
#include <plait/start_method.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* --- starting --- */

enum { MOST_FDS = 196 };                        /* that the zygote can be sent */
static const size_t MOST_COPIED = SIZE_MAX / 2; /* bytes */

static int check_kind(int kind, const plait_options *o)
{
    if (kind != PLAIT_THREAD && kind != PLAIT_PROCESS && kind != PLAIT_TASK)
        return PLAIT_EINVAL;
    if ((kind != PLAIT_TASK && (o->loop.slot || o->delay)) ||
        (kind != PLAIT_PROCESS && o->subreaper))
        return PLAIT_EINVAL;
    if (o->start_method < PLAIT_START_DEFAULT || o->start_method > PLAIT_SPAWN)
        return PLAIT_EINVAL;
    if ((o->n_fds && !o->fds) || ((o->n_fds || o->process) && kind != PLAIT_PROCESS))
        return PLAIT_EINVAL;
    return 0;
}

static int check_argument(int kind, const void *arg, const plait_options *o)
{
    if (o->arg_size && !arg)
        return PLAIT_EINVAL;
    bool reaches = kind != PLAIT_PROCESS || o->start_method == PLAIT_FORK || !arg || o->arg_size ||
                   pl_arena_holds(arg);
    return reaches ? 0 : PLAIT_EPRIVATE;
}

static void note_argument(void *block, void *arg)
{
    struct pl_slot *slot = arg;
    plait_worker self = pl_worker_of(slot);
    struct pl_argument_tag *tag = block;
    *tag = (struct pl_argument_tag){.generation = self.generation, .slot = self.slot};
    slot->argument = tag + 1;
    pl_store_release(&slot->owns_argument, 1u);
}

static int fill_argument(struct pl_slot *slot, void *arg, size_t size)
{
    slot->argument = arg;
    if (size == 0)
        return 0;
    if (size > MOST_COPIED)
        return PLAIT_ENOMEM;
    int rc = pl_alloc_noted(sizeof(struct pl_argument_tag) + size, note_argument, slot);
    if (rc == 0)
        memcpy(slot->argument, arg, size);
    return rc;
}

/* For a process that will not have this one's memory: the function by name, the argument and the list of descriptors, in one
 * block. */
static int fill_begin(struct pl_slot *slot, plait_function *fn, void *arg, const plait_options *o)
{
    struct pl_code code;
    if (o->arg_size > MOST_COPIED || o->n_fds > MOST_FDS)
        return o->n_fds > MOST_FDS ? PLAIT_EOVERFLOW : PLAIT_ENOMEM;
    int rc = pl_code_name(&code, fn);
    if (rc == 0)
        rc = pl_alloc_noted(sizeof(struct pl_argument_tag) + sizeof(struct pl_begin) + o->arg_size,
                            note_argument, slot);
    if (rc < 0)
        return rc;
    struct pl_begin *begin = slot->argument;
    begin->function = code;
    begin->argument = o->arg_size ? begin->copy : arg;
    begin->start_method = pl_load_relaxed(&pl_default_method);
    begin->pid = 0;
    begin->process = NULL;
    if (o->arg_size)
        memcpy(begin->copy, arg, o->arg_size);
    slot->function = NULL; /* it finds it itself */
    return 0;
}

static void fill_name(struct pl_slot *slot, const char *name)
{
    char made[PLAIT_NAME_SIZE];
    if (!name)
        snprintf(made, sizeof made, pl_slot_kind(slot) == PLAIT_THREAD ? "Thread-%u" : "Process-%u",
                 PL_ID_SLOT(pl_slot_id(slot)));
    pl_name_set(slot, name ? name : made);
}

static int method_of(const plait_options *o)
{
    return o->start_method == PLAIT_START_DEFAULT ? plait_get_start_method() : o->start_method;
}

static int start_thread(struct pl_slot *slot, void *arg, const plait_options *o)
{
    int rc = fill_argument(slot, arg, o->arg_size);
    return rc < 0 ? rc : pl_thread_start(slot, o->stack_size);
}

static int start_process(struct pl_slot *slot, plait_function *fn, void *arg,
                         const plait_options *o)
{
    int method = method_of(o);
    int rc =
        method == PLAIT_FORK ? fill_argument(slot, arg, o->arg_size) : fill_begin(slot, fn, arg, o);
    return rc < 0 ? rc : pl_process_start(slot, method, o);
}

static int start(plait_worker *ret, int kind, plait_function *fn, void *arg, const plait_options *o)
{
    struct pl_slot *slot;
    int rc = pl_slot_claim(&slot);
    if (rc < 0)
        return rc;
    plait_worker worker = pl_worker_of(slot);
    pl_store_relaxed(&slot->kind, (uint32_t)kind);
    slot->function = fn;
    struct pl_process_name self = pl_this_process();
    pl_worker_will_have_own();
    pl_store_relaxed(&slot->parent_birth, self.birth);
    pl_store_relaxed(&slot->parent_pid, self.pid);
    pl_fetch_or_relaxed(&slot->flags, (uint32_t)((o->daemon ? PL_FLAG_DAEMON : 0) |
                                                 (o->subreaper ? PL_FLAG_SUBREAPER : 0) |
                                                 (kind == PLAIT_PROCESS ? PL_FLAG_MAIN : 0)));
    if (kind == PLAIT_PROCESS)
        pl_store_relaxed(&slot->oom_before, pl_oom_kills_lately());
    fill_name(slot, o->name);
    rc = kind == PLAIT_THREAD ? start_thread(slot, arg, o) : start_process(slot, fn, arg, o);
    if (rc < 0) {
        pl_slot_drop_argument(slot);
        pl_slot_abandon(slot);
        return rc;
    }
    *ret = worker;
    if (o->detach) /* last: before that the entry could be another's by the time the starter writes into it */
        plait_detach(worker);
    return 0;
}

int plait_start(plait_worker *ret, int kind, plait_function *fn, void *arg,
                const plait_options *options)
{
    static const plait_options defaults;
    const plait_options *o = options ? options : &defaults;
    if (!ret || !fn)
        return PLAIT_EINVAL;
    int rc = check_kind(kind, o);
    if (rc == 0)
        rc = pl_thread_known();
    if (rc == 0)
        rc = check_argument(kind, arg, o);
    if (rc < 0)
        return rc;
    if (kind == PLAIT_TASK) {
        pl_worker_watch_exit();
        return pl_task_start(ret, fn, arg, o);
    }
    if (kind == PLAIT_PROCESS && pl_worker_is_closing())
        return PLAIT_ECLOSED;
    pl_worker_watch_exit();
    return start(ret, kind, fn, arg, o);
}

int pl_worker_run(struct pl_slot *slot)
{
    return slot->function(slot->argument);
}

/* --- asking and telling --- */

/* The slot of a handle that is neither nobody nor stale. 0 or the error. */
static int find(plait_worker worker, struct pl_slot **ret)
{
    if (worker.slot == 0)
        return PLAIT_EINVAL;
    *ret = pl_slot_find(worker);
    if (!*ret || pl_life_of(pl_load_acquire(&(*ret)->life)) == PL_JOINED)
        return PLAIT_ESTALE;
    return 0;
}

plait_worker plait_self(void)
{
    plait_worker nobody = {0, 0};
    return pl_self_known() < 0 ? nobody : pl_handle_of(pl_self.slot);
}

bool pl_slot_lingers(struct pl_slot *slot)
{
    return pl_slot_kind(slot) == PLAIT_PROCESS &&
           pl_load_acquire(&slot->ending) == PL_END_UNKNOWN &&
           pl_process_lives(pl_load_relaxed(&slot->pid), pl_load_relaxed(&slot->birth));
}

int plait_state(plait_worker worker)
{
    struct pl_slot *slot;
    if (pl_is_task(worker))
        return pl_task_state(worker);
    int rc = find(worker, &slot);
    if (rc < 0)
        return rc;
    uint64_t word = pl_load_acquire(&slot->life);
    enum pl_life life = pl_life_of(word);
    if (life == PL_NEW || life == PL_ENTERING)
        return pl_slot_is_stillborn(slot, word) ? PLAIT_STATE_ENDED : PLAIT_STATE_NEW;
    bool dead = life == PL_RUNNING && pl_heart_is_stopped(slot) && !pl_slot_lingers(slot);
    if (dead) /* who is told of the death may free what the dead one used: so repair first */
        pl_recover(slot);
    if (dead || life != PL_RUNNING)
        return PLAIT_STATE_ENDED;
    return pl_load_relaxed(&slot->waits_kind) ? PLAIT_STATE_BLOCKED : PLAIT_STATE_RUNNING;
}

int plait_is_alive(plait_worker worker)
{
    int state = plait_state(worker);
    return state >= PLAIT_STATE_NEW && state != PLAIT_STATE_ENDED;
}

int plait_name(plait_worker worker, char *buffer, size_t size)
{
    struct pl_slot *slot;
    char name[PLAIT_NAME_SIZE];
    if (buffer && size && pl_is_task(worker))
        return pl_task_get_name(worker, buffer, size);
    int rc = buffer && size ? find(worker, &slot) : PLAIT_EINVAL;
    if (rc < 0)
        return rc;
    pl_name_get(slot, name);
    snprintf(buffer, size, "%s", name);
    return 0;
}

int plait_set_name(const char *name)
{
    int rc = name ? pl_thread_known() : PLAIT_EINVAL;
    if (rc < 0)
        return rc;
    if (pl_task_runs())
        return pl_task_set_name(name);
    pl_name_set(pl_self.slot, name);
    prctl(PR_SET_NAME, name);
    return 0;
}

int plait_kind_of(plait_worker worker)
{
    struct pl_slot *slot;
    if (pl_is_task(worker)) {
        int state = pl_task_state(worker);
        return state < 0 ? state : PLAIT_TASK;
    }
    int rc = find(worker, &slot);
    int value = rc < 0 ? rc : (int)pl_slot_kind(slot);
    return rc < 0 || pl_slot_find(worker) == slot ? value : PLAIT_ESTALE;
}

int plait_pid(plait_worker worker)
{
    struct pl_slot *slot;
    if (pl_is_task(worker))
        return pl_task_pid(worker);
    int rc = find(worker, &slot);
    int value = rc < 0 ? rc : pl_load_acquire(&slot->pid);
    return rc < 0 || pl_slot_find(worker) == slot ? value : PLAIT_ESTALE;
}

int plait_tid(plait_worker worker)
{
    struct pl_slot *slot;
    if (pl_is_task(worker))
        return pl_task_tid(worker);
    int rc = find(worker, &slot);
    int value = rc < 0 ? rc : pl_load_relaxed(&slot->tid);
    return rc < 0 || pl_slot_find(worker) == slot ? value : PLAIT_ESTALE;
}

plait_worker plait_parent(plait_worker worker)
{
    plait_worker nobody = {0, 0};
    struct pl_slot *slot;
    if (pl_is_task(worker))
        return pl_task_parent(worker);
    if (find(worker, &slot) < 0)
        return nobody;
    uint32_t parent = pl_load_relaxed(&slot->parent);
    if (parent == 0)
        return nobody;
    plait_worker w = pl_handle_of(pl_slot_of(parent));
    return pl_slot_id(pl_slot_of(parent)) == parent ? w : nobody;
}

static bool is_listed(struct pl_slot *slot, uint32_t parent)
{
    uint64_t word = pl_load_acquire(&slot->life);
    enum pl_life life = pl_life_of(word);
    if (!parent)
        return pl_slot_is_alive(slot) && (life == PL_RUNNING || !pl_slot_is_stillborn(slot, word));
    return (pl_slot_is_alive(slot) || life == PL_RUNNING || life == PL_ENDED) &&
           pl_load_relaxed(&slot->parent) == parent &&
           !(pl_load_relaxed(&slot->flags) & PL_FLAG_DETACHED);
}

/* All living workers, or the joinable children of `parent`. */
static int list(plait_worker *array, int most, uint32_t parent)
{
    int n = 0;
    uint32_t ready = pl_load_acquire(&pl_arena->slots_ready);
    for (uint32_t i = 1; i < ready; i++) {
        if (!is_listed(pl_slot_at(i), parent))
            continue;
        if (n < most)
            array[n] = pl_handle_of(pl_slot_at(i));
        n++;
    }
    return n;
}

int plait_children(plait_worker *array, int most)
{
    int rc = most > 0 && !array ? PLAIT_EINVAL : pl_self_known();
    if (rc < 0)
        return rc;
    pl_child_reap_forgotten();
    return list(array, most, pl_self.id);
}

int plait_enumerate(plait_worker *array, int most)
{
    int rc = most > 0 && !array ? PLAIT_EINVAL : pl_self_known();
    return rc < 0 ? rc : list(array, most, 0);
}

int plait_cpu_count(void)
{
    return pl_cpu_count();
}
