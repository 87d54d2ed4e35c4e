/* Worker processes, whichever way they are made: what ties them to their parent, and how they run. */
#include "base/at_fork.h"
#include "base/atomic.h"
#include "worker/begin.h"
#include "worker/signals.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

/* This process's lifeline, which its children are tied to; made with the first child. */
static const struct pl_lifeline no_lifeline = {-1, -1, 0};
static PL_WRITTEN_AT_FORK struct pl_lifeline lifeline = {-1, -1, 0};
static PL_WRITTEN_AT_FORK struct pl_lifeline outgrown = {
    -1, -1, 0}; /* one that earlier children are still tied to */
static PL_WRITTEN_AT_FORK pthread_mutex_t lifeline_lock = PTHREAD_MUTEX_INITIALIZER;

static _Thread_local bool forking;

bool pl_process_is_forking(void)
{
    return forking;
}

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

int pl_lifeline_need(void)
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

int pl_lifeline_read_end(void)
{
    return lifeline.read_end;
}

int pl_process_lifeline(struct pl_lifeline *ret)
{
    int rc = pl_lifeline_need();
    pthread_mutex_lock(&lifeline_lock);
    *ret = lifeline;
    pthread_mutex_unlock(&lifeline_lock);
    return rc;
}

uint64_t pl_lifeline_inode(void)
{
    return lifeline.inode;
}

const struct pl_lifeline *pl_lifeline_own(void)
{
    return &lifeline;
}

void pl_lifeline_forking(bool now)
{
    forking = now;
}

void pl_lifeline_inherit(bool detached, int own)
{
    struct pl_lifeline parents = lifeline;
    pl_lifeline_drop(&outgrown);
    lifeline = outgrown = no_lifeline;
    if (detached) {
        pl_lifeline_untie();
        pl_lifeline_drop(&parents);
    } else {
        pl_lifeline_tie(&parents, own);
    }
    forking = false;
}

/* --- running as one --- */

/* What the starter has written down for a process that has not its memory. 0, PLAIT_EMODULE. */
static int take_over(struct pl_slot *slot)
{
    const struct pl_begin *begin = slot->argument;
    pl_default_method = begin->start_method;
    pl_worker_watch_exit();
    return pl_code_find(&begin->function, &slot->function);
}

static int run(struct pl_slot *slot, enum pl_ending *ret_ending)
{
    *ret_ending = PL_END_RETURNED;
    if (slot->function)
        return slot->function(slot->argument);
    int rc = take_over(slot);
    if (rc < 0) {
        *ret_ending = PL_END_EXITED;
        return rc;
    }
    return slot->function(((struct pl_begin *)slot->argument)->argument);
}

_Noreturn void pl_process_main(struct pl_slot *slot, uint64_t meant)
{
    char name[PLAIT_NAME_SIZE];
    enum pl_ending ending;
    if (!pl_slot_enter(slot, meant))
        _exit(0); /* detached, and its parent died before it could tell anyone of it */
    pl_signals_begin_child();
    pl_name_get(slot, name);
    prctl(PR_SET_NAME, name);
    if (pl_load_relaxed(&slot->flags) & PL_FLAG_SUBREAPER)
        prctl(PR_SET_CHILD_SUBREAPER, 1);
    int status = run(slot, &ending);
    pl_worker_finish_all();
    fflush(stdout);
    fflush(stderr);
    if (pl_self.thread == slot)
        pl_slot_leave(ending, status);
    /* Not exit(): the handlers that the program registered before the fork are its parent's. */
    _exit(status & 0xff);
}

/* Not once it runs: then it has noted that itself, may have ended, been joined by another thread, and the entry be another's. */
void pl_birth_done(const struct pl_birth *birth, int32_t pid)
{
    uint64_t life = pl_load_acquire(&birth->slot->life);
    if (pl_generation_of(life) != pl_generation_of(birth->meant) ||
        (pl_life_of(life) != PL_NEW && pl_life_of(life) != PL_ENTERING))
        return;
    pl_store_relaxed(&birth->slot->tid, pid);
    pl_store_release(&birth->slot->pid, pid);
}

/* Where a library starts threads before main begins, no zygote is clean. If it was plait's own choice, spawn does. */
static int start_by_zygote(const struct pl_birth *birth)
{
    static uint32_t none_is_clean; /* atomic */
    bool may_choose = birth->options->start_method == PLAIT_START_DEFAULT &&
                      !pl_zygote_preloads() &&
                      pl_load_relaxed(&pl_default_method) == PLAIT_START_DEFAULT;
    if (may_choose && pl_load_relaxed(&none_is_clean))
        return pl_spawn_start(birth);
    int rc = pl_zygote_start(birth);
    if (rc != PLAIT_EPRELOAD || !may_choose)
        return rc;
    pl_store_relaxed(&none_is_clean, 1u);
    return pl_spawn_start(birth);
}

static int start_by(int method, const struct pl_birth *birth)
{
    switch (method) {
    case PLAIT_FORK:
        return pl_fork_start(birth);
    case PLAIT_SPAWN:
        return pl_spawn_start(birth);
    default:
        return start_by_zygote(birth);
    }
}

int pl_process_start(struct pl_slot *slot, int method, const plait_options *o)
{
    struct pl_birth birth = {
        .slot = slot,
        .meant = pl_load_relaxed(&slot->life),
        .detached = o->detach,
        .options = o,
    };
    int rc = pl_lifeline_need();
    if (rc < 0)
        return rc;
    pl_child_reap_forgotten();
    rc = start_by(method, &birth);
    if (rc == 0)
        pl_child_count(+1);
    return rc;
}
