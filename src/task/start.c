/* Starting tasks, here or on another thread's loop, and plait_call_*.
 *
 * A task costs nothing but its record until its first turn; then it gets a stack. What is to run later is a
 * task whose turn has not come. */
#include "base/atomic.h"
#include "base/clock.h"
#include "task/task_internal.h"
#include "worker/tasks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_WORDS = PLAIT_NAME_SIZE / 8 };

plait_worker pl_task_self(void)
{
    struct pl_task *self = pl_self.task;
    if (self && self != &self->loop->root)
        return pl_task_handle(self);
    return pl_worker_of(pl_self.thread);
}

bool pl_task_runs(void)
{
    struct pl_task *self = pl_self.task;
    return self && self != &self->loop->root;
}

/* Word by word, so that a reader beside a writer gets a mixed name at worst. */
static void write_name(uint64_t *name, const char *text)
{
    uint64_t words[NAME_WORDS] = {0};
    memcpy(words, text, strnlen(text, PLAIT_NAME_SIZE - 1));
    for (int i = 0; i < NAME_WORDS; i++)
        pl_store_relaxed(&name[i], words[i]);
}

static void read_name(const uint64_t *name, char *buffer)
{
    uint64_t words[NAME_WORDS];
    for (int i = 0; i < NAME_WORDS; i++)
        words[i] = pl_load_relaxed(&name[i]);
    memcpy(buffer, words, PLAIT_NAME_SIZE);
    buffer[PLAIT_NAME_SIZE - 1] = 0;
}

void pl_task_name(const struct pl_task *task, char *buffer)
{
    /* A:task.name, pairs with pl_task_set_name. */
    const uint64_t *name = pl_load_acquire(&task->name);
    if (name)
        read_name(name, buffer);
    else
        snprintf(buffer, PLAIT_NAME_SIZE, "Task-%u", task->index + 1);
}

static uint64_t *copy_name(const char *name)
{
    uint64_t *copy = calloc(NAME_WORDS, sizeof *copy);
    if (copy)
        write_name(copy, name);
    return copy;
}

int pl_task_set_name(const char *name)
{
    struct pl_task *self = pl_self.task;
    if (self->name) { /* which others may be reading */
        write_name(self->name, name);
    } else {
        uint64_t *copy = copy_name(name);
        if (!copy)
            return PLAIT_ENOMEM;
        /* R:task.name, pairs with pl_task_name. */
        pl_store_release(&self->name, copy);
    }
    if (self->slot)
        pl_name_set(self->slot, name);
    return 0;
}

void pl_task_main(void *arg)
{
    struct pl_task *task = arg;
    int status = task->function(task->argument);
    if (pl_self.task !=
        task) /* the function forked and let the child return: there is nothing to return to */
        exit(status & 0xff);
    pl_task_finish(status);
}

/* --- filling the record --- */

static int fill_argument(struct pl_task *task, void *arg, size_t size)
{
    task->argument = arg;
    task->owns_argument = false;
    if (size == 0)
        return 0;
    task->argument = malloc(size);
    if (!task->argument)
        return PLAIT_ENOMEM;
    memcpy(task->argument, arg, size);
    task->owns_argument = true;
    return 0;
}

static void reset(struct pl_task *task)
{
    uint32_t tag = PL_TAG((uint32_t)(pl_load_relaxed(&task->life) >> 32));
    task->state = PL_TASK_NEW;
    task->id = task->quick = 0;
    task->slot = NULL;
    task->scope = NULL;
    task->locals = NULL;
    pl_store_relaxed(&task->tells, 0u);
    task->site = NULL;
    pl_store_relaxed(&task->asked.delivered, tag);
    pl_store_relaxed(&task->asked.undone, tag);
    pl_store_relaxed(&task->asked.made, tag);
    memset(&task->timer, 0, sizeof task->timer);
    task->timed_out = task->firm = task->certain = task->counted = task->started = false;
    task->name = NULL;
    pl_store_relaxed(&task->joins, NULL);
    pl_store_relaxed(&task->waits_kind, (uint32_t)PL_WAIT_NONE);
    pl_store_relaxed(&task->ended, (uint32_t)PL_TASK_UNKNOWN);
}

static void unfill(struct pl_task *task)
{
    if (task->owns_argument)
        free(task->argument);
    pl_locals_free(task->locals);
}

/* 0 or PLAIT_ENOMEM. */
static int fill(struct pl_task *task, plait_function *fn, void *arg, const plait_options *o,
                int64_t when)
{
    reset(task);
    task->function = fn;
    task->daemon = o->daemon;
    task->parent = pl_task_self();
    task->began = pl_now_about();
    task->stack = (struct pl_stack){.size = o->stack_size};
    task->timer.when = when;
    int rc = fill_argument(task, arg, o->arg_size);
    if (rc == 0)
        rc = pl_locals_share(&task->locals);
    if (rc == 0 && o->name && !(task->name = copy_name(o->name)))
        rc = PLAIT_ENOMEM;
    if (rc < 0)
        unfill(task);
    return rc;
}

/* Now the handle is good. */
static void give_life(struct pl_task *task, struct pl_loop *loop, const plait_options *o)
{
    task->loop = loop;
    pl_store_relaxed(&task->host, loop->host);
    uint64_t flags = PL_TASK_LIVE | (o->detach ? PL_TASK_DETACHED : 0);
    uint64_t generation = pl_load_relaxed(&task->life) & ~UINT64_C(0xffffffff);
    /* R:task.begun, pairs with pl_task_hold: the record is filled in. */
    pl_store_release(&task->life, generation | flags | 1);
}

static int take_filled(struct pl_task **ret, struct pl_loop *loop, plait_function *fn, void *arg,
                       const plait_options *o, int64_t when)
{
    struct pl_task *task = pl_record_take(loop);
    if (!task)
        return PLAIT_ENOMEM;
    int rc = fill(task, fn, arg, o, when);
    if (rc < 0)
        pl_record_give(loop, task);
    *ret = task;
    return rc;
}

/* --- here and elsewhere --- */

static int start_here(plait_worker *ret, plait_function *fn, void *arg, const plait_options *o,
                      int64_t when)
{
    struct pl_loop *loop;
    struct pl_task *task = NULL;
    int rc = pl_loop_need(&loop);
    if (rc == 0)
        rc = take_filled(&task, loop, fn, arg, o, when);
    if (rc < 0)
        return rc;
    give_life(task, loop, o);
    pl_task_admit(task);
    *ret = pl_task_handle(task);
    return 0;
}

/* A thread of this process; 0, PLAIT_EINVAL, PLAIT_ESTALE. */
static int check_host(plait_worker host)
{
    struct pl_slot *slot = pl_slot_find(host);
    if (!slot || !pl_slot_is_alive(slot))
        return PLAIT_ESTALE;
    return pl_load_relaxed(&slot->pid) == pl_load_relaxed(&pl_self.thread->pid) ? 0 : PLAIT_EINVAL;
}

static int start_there(plait_worker *ret, plait_function *fn, void *arg, const plait_options *o,
                       int64_t when)
{
    struct pl_task *task = NULL;
    int rc = check_host(o->loop);
    if (rc == 0)
        rc = take_filled(&task, NULL, fn, arg, o, when);
    if (rc < 0)
        return rc;
    struct pl_loop *loop = pl_loops_lock(o->loop.slot);
    if (loop && !plait_same(pl_worker_of(loop->thread), o->loop))
        loop = NULL; /* that thread has ended meanwhile, and another has its number */
    if (loop) {
        give_life(task, loop, o);
        *ret = pl_task_handle(task);
        pl_task_post(task); /* it may be over at once */
    }
    pl_loops_unlock();
    if (loop)
        return 0;
    unfill(task);
    free(task->name);
    pl_record_give(pl_loop_here(), task);
    return PLAIT_ESTALE;
}

/* `when` is the instant at which it begins; 0: now. */
static int start_at(plait_worker *ret, plait_function *fn, void *arg, const plait_options *o,
                    int64_t when)
{
    int rc = pl_thread_known();
    if (rc < 0)
        return rc;
    bool here = o->loop.slot == 0 || plait_same(o->loop, pl_worker_of(pl_self.thread));
    return here ? start_here(ret, fn, arg, o, when) : start_there(ret, fn, arg, o, when);
}

int pl_task_start(plait_worker *ret, plait_function *fn, void *arg, const plait_options *o)
{
    if (o->delay < 0)
        return PLAIT_EINVAL;
    if (o->delay > PLAIT_TIMEOUT_MAX)
        return PLAIT_EOVERFLOW;
    return start_at(ret, fn, arg, o, o->delay > 0 ? plait_now() + o->delay : 0);
}

/* --- calls --- */

int plait_call_at(plait_worker *ret, plait_worker loop, int64_t when, plait_function *fn, void *arg)
{
    plait_worker unwanted;
    if (!fn || when < 0)
        return PLAIT_EINVAL;
    plait_options o = {.loop = loop, .daemon = when > 0, .detach = !ret};
    return start_at(ret ? ret : &unwanted, fn, arg, &o, when);
}

int plait_call_later(plait_worker *ret, plait_worker loop, int64_t delay, plait_function *fn,
                     void *arg)
{
    if (delay < 0)
        return PLAIT_EINVAL;
    if (delay > PLAIT_TIMEOUT_MAX)
        return PLAIT_EOVERFLOW;
    return plait_call_at(ret, loop, delay > 0 ? plait_now() + delay : 0, fn, arg);
}

int plait_call_soon(plait_worker *ret, plait_worker loop, plait_function *fn, void *arg)
{
    return plait_call_at(ret, loop, 0, fn, arg);
}

plait_worker plait_loop(void)
{
    plait_worker nobody = {0, 0};
    return pl_thread_known() < 0 ? nobody : pl_worker_of(pl_self.thread);
}
