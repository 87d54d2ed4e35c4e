/* Slots: claiming, entering, leaving, joining.
 *
 * `life` is one word, so each transition is one compare-and-swap and names who made it:
 *
 *   FREE, JOINED --> CLAIMED(tid)                                 its content is reset
 *     --> NEW(claimer) --> ENTERING(tid) --> RUNNING --> ENDED --> JOINED     a started worker
 *     -------------------> ENTERING(tid) --> RUNNING ...          a thread that plait did not start
 *         NEW --> FREE                                            it could not be started
 *
 * A claimer that dies in NEW or ENTERING is found by the sweep, which frees the slot. The search
 * for a slot goes round, so that a freed slot rests as long as possible: an id (slot and 13 bits of
 * generation) comes back after some millions of starts at the earliest. */
#include "registry/registry.h"

#include "arena/alloc.h"
#include "base/at_fork.h"
#include "base/atomic.h"
#include "base/clock.h"
#include "base/panic.h"
#include "port/futex.h"
#include "port/process.h"
#include "registry/code.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    STEP = 64,      /* slots backed at a time: 32 KiB */
    RESTFUL = 1024, /* rather back more slots than reuse one among fewer than this */
};

_Thread_local struct pl_self pl_self __attribute__((tls_model("initial-exec")));
PL_WRITTEN_AT_FORK uint32_t pl_fork_parent;
PL_WRITTEN_AT_FORK uint32_t pl_forks;
bool pl_slow_paths_only;

static pthread_key_t at_thread_exit; /* its destructor signs a foreign thread off */

static uint64_t life_word(uint32_t generation, enum pl_life life, uint32_t claimer)
{
    return (uint64_t)generation << 32 | (uint32_t)life << PL_ID_BITS | claimer;
}

static PL_WRITTEN_AT_FORK struct pl_process_name
    known; /* this process; atomic. Unknown again in a forked child */

/* --- the threads of this process --- */

/* The forked child is a new worker: it must not pose as the one it was copied from, nor allocate
 * from that one's chunks. */
static void forget_self_in_child(void)
{
    /* Atomic for TSan's sake, which sees the parent's threads; but no steps: the child has one thread,
     * and is not what a harness is after. */
    __atomic_store_n(&pl_fork_parent, pl_self.thread_id, __ATOMIC_RELAXED);
    __atomic_store_n(&known.pid, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&pl_forks, pl_forks + 1, __ATOMIC_RELAXED);
    struct pl_locals *locals = pl_self.locals; /* a child inherits what its parent has set */
    memset(&pl_self, 0, sizeof pl_self);
    pl_self.locals = locals;
}

void pl_forked(void)
{
    forget_self_in_child();
}

static void sign_off(void *slot)
{
    /* A started worker signs off itself, knowing its status; here come threads that are not ours, and
     * the first thread of a process if it calls pthread_exit. */
    if (slot != pl_self.thread)
        return;
    pl_tasks_finish();
    pl_slot_leave(pl_load_relaxed(&pl_self.thread->flags) & PL_FLAG_FOREIGN ? PL_END_RETURNED
                                                                            : PL_END_EXITED,
                  0);
}

__attribute__((constructor(101))) static void watch_threads(void)
{
    pthread_key_create(&at_thread_exit, sign_off);
    pthread_atfork(NULL, NULL, forget_self_in_child);
}

/* --- which process --- */

struct pl_process_name pl_this_process(void)
{
    struct pl_process_name name = {.pid = (int32_t)getpid()};
    if (pl_load_acquire(&known.pid) == name.pid) {
        name.birth = pl_load_relaxed(&known.birth);
        return name;
    }
    name.birth = pl_process_birth(name.pid);
    pl_store_relaxed(&known.birth, name.birth);
    pl_store_release(&known.pid, name.pid);
    return name;
}

void pl_born_after(int64_t earliest)
{
    uint64_t birth = pl_process_birth_between(earliest, pl_boot_time());
    if (birth == 0)
        return;
    pl_store_relaxed(&known.birth, birth);
    pl_store_release(&known.pid, (int32_t)getpid());
}

bool pl_slot_is_child(const struct pl_slot *slot, const struct pl_process_name *self)
{
    return pl_slot_kind(slot) == PLAIT_PROCESS && pl_load_relaxed(&slot->parent_pid) == self->pid &&
           pl_load_relaxed(&slot->parent_birth) == self->birth && pl_load_acquire(&slot->pid) != 0;
}

bool pl_slot_is_orphan(const struct pl_slot *slot)
{
    int32_t parent = pl_load_relaxed(&slot->parent_pid);
    return parent == 0 ||
           (parent != getpid() && !pl_process_lives(parent, pl_load_relaxed(&slot->parent_birth)));
}

bool pl_slot_is_of_this_image(const struct pl_slot *slot)
{
    return pl_load_relaxed(&slot->image) == (uint32_t)pl_image();
}

/* --- names --- */

void pl_name_set(struct pl_slot *slot, const char *name)
{
    uint64_t words[PLAIT_NAME_SIZE / 8] = {0};
    memcpy(words, name, strnlen(name, PLAIT_NAME_SIZE - 1));
    for (int i = 0; i < PLAIT_NAME_SIZE / 8; i++)
        pl_store_relaxed(&slot->name[i], words[i]);
}

void pl_name_get(const struct pl_slot *slot, char *buffer)
{
    uint64_t words[PLAIT_NAME_SIZE / 8];
    for (int i = 0; i < PLAIT_NAME_SIZE / 8; i++)
        words[i] = pl_load_relaxed(&slot->name[i]);
    memcpy(buffer, words, PLAIT_NAME_SIZE);
    buffer[PLAIT_NAME_SIZE - 1] = 0;
}

/* --- claiming --- */

/* Backs the next step of slots. False: no page, or all slots are backed. */
static bool back_more(uint32_t ready)
{
    uint32_t more = ready + STEP < pl_arena->n_slots ? ready + STEP : pl_arena->n_slots;
    if (more == ready)
        return false;
    uint64_t at = pl_arena->slots + (uint64_t)ready * PL_SLOT_SIZE;
    if (pl_arena_back(at, (uint64_t)(more - ready) * PL_SLOT_SIZE) < 0)
        return false;
    /* R:slots.backed, pairs with find_free and pl_sweep: pages are there before slots are seen. */
    pl_cas_acq_rel(&pl_arena->slots_ready, &ready, more);
    return true;
}

/* Whether its parent has still to collect it, and knows whom to collect from this slot only. */
static bool may_be_zombie(struct pl_slot *slot)
{
    return pl_slot_kind(slot) == PLAIT_PROCESS && pl_load_relaxed(&slot->parent_pid) &&
           pl_load_acquire(&slot->reaper) != PL_REAPED && !pl_slot_is_orphan(slot);
}

static bool claimable(struct pl_slot *slot, uint64_t life)
{
    if (pl_life_of(life) == PL_FREE)
        return true;
    if (pl_life_of(life) != PL_JOINED)
        return false;
    uint32_t beat = pl_load_acquire(pl_own_heart(slot)); /* of a task 0 */
    return (beat == 0 || (beat & FUTEX_OWNER_DIED)) && !may_be_zombie(slot) &&
           pl_load_acquire(&slot->recoverer) == PL_RECOVERED;
}

/* One round over the backed slots. NULL if none is to be had. */
static struct pl_slot *find_free(void)
{
    uint32_t tid = (uint32_t)gettid() & PL_ID_MASK;
    /* A:slots.backed, pairs with back_more. */
    uint32_t ready = pl_load_acquire(&pl_arena->slots_ready);
    for (uint32_t tried = 0; tried < ready; tried++) {
        uint32_t index = pl_fetch_add_relaxed(&pl_arena->slot_cursor, 1u) % ready;
        if (index == 0) { /* slot 0 is nobody; a full round is the time to grow */
            if (ready < RESTFUL && back_more(ready))
                ready = pl_load_acquire(&pl_arena->slots_ready);
            continue;
        }
        struct pl_slot *slot = pl_slot_at(index);
        uint64_t life = pl_load_acquire(&slot->life);
        if (claimable(slot, life) &&
            pl_cas_acq_rel(&slot->life, &life,
                           life_word(pl_generation_of(life) + 1, PL_CLAIMED, tid)))
            return slot;
    }
    return NULL;
}

/* First `lock`, by which others find it. */
static void reset_readings(struct pl_slot *slot)
{
    for (int i = 0; i < PL_READINGS; i++) {
        pl_store_release(&slot->reading[i].lock, UINT64_C(0));
        pl_store_release(&slot->reading[i].word, 0u);
        pl_store_relaxed(&slot->reading[i].gate, 0u);
    }
}

static void reset(struct pl_slot *slot)
{
    uint32_t index = (uint32_t)(((char *)slot - (char *)pl_slot_at(0)) / PL_SLOT_SIZE);
    uint32_t generation = pl_generation_of(pl_load_relaxed(&slot->life));
    /* First the turn: no condition may take the new id for a waiter of the old one. */
    pl_store_relaxed(&slot->turn.debt, NULL);
    pl_store_relaxed(&slot->turn.word, (uint32_t)PL_TURN_NONE);
    pl_store_relaxed(&slot->place.line, NULL);
    pl_store_relaxed(&slot->place.word, 0u);
    reset_readings(slot);
    pl_store_relaxed(&slot->round, NULL); /* nor a barrier */
    pl_store_relaxed(&slot->round_number, 0u);
    pl_store_release(&slot->id, (generation << PL_ID_SLOT_BITS & PL_ID_MASK) | index);
    pl_store_relaxed(&slot->parent, pl_self.id ? pl_self.id : pl_self.thread_id);
    pl_store_relaxed(&slot->host, 0u);
    pl_store_relaxed(&slot->minded, 0u);
    pl_store_relaxed(&slot->runs_tasks, 0u);
    pl_store_relaxed(&slot->asked_tasks, 0u);
    pl_store_relaxed(&slot->tells, 0u);
    pl_store_relaxed(&slot->parent_pid, 0);
    pl_store_relaxed(&slot->parent_birth, UINT64_C(0));
    pl_store_relaxed(&slot->pid, 0);
    pl_store_relaxed(&slot->tid, 0);
    pl_store_relaxed(&slot->birth, UINT64_C(0));
    pl_store_relaxed(&slot->flags, PL_TAG(generation));
    pl_store_relaxed(&slot->started, plait_now());
    pl_store_relaxed(pl_own_heart(slot), 0u);
    pl_store_relaxed(&slot->asked.made, PL_TAG(generation));
    pl_store_relaxed(&slot->asked.delivered, PL_TAG(generation));
    pl_store_relaxed(&slot->asked.undone, PL_TAG(generation));
    pl_store_relaxed(&slot->in_poll, 0u);
    pl_store_relaxed(&slot->waits_seq, 0u);
    pl_store_relaxed(&slot->waits_kind, 0u);
    pl_store_relaxed(&slot->waits_holder, 0u);
    pl_store_relaxed(&slot->waits_firm, 0u);
    pl_store_relaxed(&slot->waits_unheld, 0u);
    pl_store_relaxed(&slot->waits_until, INT64_C(0));
    pl_store_relaxed(&slot->waits_looked, INT64_C(0));
    pl_store_relaxed(&slot->asked_to_look, 0u);
    pl_store_relaxed(&slot->waits_on, NULL);
    pl_store_relaxed(&slot->waking, NULL);
    pl_store_relaxed(&slot->pi_word, NULL);
    pl_store_relaxed(&slot->pi_moves, 0u);
    pl_store_relaxed(&slot->ending, (uint32_t)PL_END_UNKNOWN);
    pl_store_relaxed(&slot->status, -1);
    pl_store_relaxed(&slot->signal, 0);
    pl_store_relaxed(&slot->core, 0u);
    pl_store_relaxed(&slot->ended, INT64_C(0));
    pl_store_relaxed(&slot->user_ns, INT64_C(0));
    pl_store_relaxed(&slot->system_ns, INT64_C(0));
    pl_store_relaxed(&slot->max_rss, INT64_C(0));
    pl_store_relaxed(&slot->oom, -1);
    pl_store_relaxed(&slot->oom_before, INT64_C(-1));
    pl_store_relaxed(&slot->reaper, 0u);
    pl_store_relaxed(&slot->recoverer, 0u);
    for (int i = 0; slot->held && i < PL_HELD_MOST; i++)
        pl_store_relaxed(&slot->held[i].word, NULL);
    slot->function = NULL;
    slot->argument = NULL;
    pl_store_relaxed(&slot->owns_argument, 0u);
}

static int claim_as(struct pl_slot **ret, enum pl_life as, uint32_t claimer)
{
    struct pl_slot *slot = find_free();
    while (!slot) {
        uint32_t ready = pl_load_acquire(&pl_arena->slots_ready);
        bool grown = back_more(ready);
        if (!grown)
            pl_sweep(0); /* perhaps the dead hold what we need */
        slot = find_free();
        if (!slot && !grown)
            return ready == pl_arena->n_slots ? PLAIT_EWORKERS : PLAIT_ENOMEM;
    }
    reset(slot);
    uint32_t generation = pl_generation_of(pl_load_relaxed(&slot->life));
    /* R:slot.claimed, pairs with pl_slot_find and the sweep: what is seen in it is this worker's. */
    pl_store_release(&slot->life, life_word(generation, as, claimer));
    *ret = slot;
    return 0;
}

int pl_slot_claim(struct pl_slot **ret)
{
    return claim_as(ret, PL_NEW, pl_self.thread_id);
}

void pl_slot_abandon(struct pl_slot *slot)
{
    /* A process that has come about after all and been faster keeps it. */
    uint64_t life = pl_load_relaxed(&slot->life);
    if (pl_life_of(life) == PL_NEW)
        pl_cas_acq_rel(&slot->life, &life, life_word(pl_generation_of(life), PL_FREE, 0));
}

/* --- entering and leaving --- */

/* NEW(claimer) -> ENTERING(tid), unless the thread has claimed the slot itself and is there already.
 * The exact word is asked for: another generation is another's. */
static bool begin_entering(struct pl_slot *slot, uint64_t meant)
{
    uint32_t tid = (uint32_t)gettid() & PL_ID_MASK;
    return pl_life_of(meant) == PL_ENTERING ||
           pl_cas_acq_rel(&slot->life, &meant,
                          life_word(pl_generation_of(meant), PL_ENTERING, tid));
}

bool pl_slot_enter(struct pl_slot *slot, uint64_t meant)
{
    if (!begin_entering(slot, meant))
        return false;
    struct pl_locals *locals = pl_self.locals; /* what it has begun before it was known */
    struct plait_scope *scope = pl_self.scope;
    struct pl_bell *bell = pl_self.bell;
    memset(&pl_self, 0, sizeof pl_self);
    pl_self.locals = locals;
    pl_self.scope = scope;
    pl_self.bell = bell;
    pl_heart_start(slot);
    pl_store_relaxed(&slot->pid, (int32_t)getpid());
    pl_store_relaxed(&slot->tid, (int32_t)gettid());
    pl_store_relaxed(&slot->image, (uint32_t)pl_image());
    if (pl_slot_kind(slot) == PLAIT_PROCESS)
        pl_store_relaxed(&slot->birth, pl_this_process().birth);
    pl_self.slot = pl_self.thread = slot;
    pl_self.asked = &slot->asked;
    pl_self.id = pl_self.thread_id = pl_slot_id(slot);
    pl_self.quick = pl_slow_paths_only ? 0 : pl_self.id;
    uint32_t generation = pl_generation_of(pl_load_relaxed(&slot->life));
    /* R:slot.running, pairs with pl_slot_find: the heart beats before anyone relies on it. */
    pl_store_release(&slot->life, life_word(generation, PL_RUNNING, 0));
    pthread_setspecific(at_thread_exit, slot);
    if (pl_slot_kind(slot) == PLAIT_PROCESS)
        pl_roster_join();
    return true;
}

int pl_thread_enter(void)
{
    struct pl_slot *slot;
    char name[PLAIT_NAME_SIZE];
    if (pl_self.thread_id)
        return 0;
    int rc = pl_arena_need();
    if (rc == 0)
        rc = claim_as(&slot, PL_ENTERING, (uint32_t)gettid() & PL_ID_MASK);
    if (rc < 0)
        return rc;
    bool main_thread = getpid() == gettid();
    pl_store_relaxed(&slot->kind, (uint32_t)(main_thread ? PLAIT_PROCESS : PLAIT_THREAD));
    pl_store_relaxed(&slot->parent, __atomic_load_n(&pl_fork_parent, __ATOMIC_RELAXED));
    pl_fetch_or_relaxed(&slot->flags,
                        (uint32_t)(PL_FLAG_FOREIGN | PL_FLAG_DETACHED | PL_FLAG_DAEMON |
                                   (main_thread ? PL_FLAG_MAIN : 0)));
    snprintf(name, sizeof name, main_thread ? "MainThread" : "Dummy-%u", pl_slot_id(slot));
    pl_name_set(slot, name);
    pl_slot_enter(slot, pl_load_relaxed(&slot->life));
    uint32_t nobody = 0;
    pl_cas_relaxed(&pl_arena->root, &nobody, pl_self.thread_id);
    return 0;
}

/* What a worker may hold at its end that ends in the middle of a call. */
static void drop_places(struct pl_slot *slot)
{
    if (pl_load_relaxed(&slot->turn.debt)) /* exit() out of a wait, from a signal handler */
        while (!pl_slot_settle(slot))
            sched_yield();
    if (pl_load_relaxed(&slot->round)) /* the same, or pthread_exit in a barrier's action */
        pl_slot_leave_round(slot);
}

int pl_slot_enter_task(struct pl_slot **ret, plait_worker known_as)
{
    struct pl_slot *slot;
    int rc = claim_as(&slot, PL_ENTERING, (uint32_t)gettid() & PL_ID_MASK);
    if (rc < 0)
        return rc;
    pl_store_relaxed(&slot->kind, (uint32_t)PLAIT_TASK);
    pl_store_relaxed(&slot->pid, (int32_t)getpid());
    pl_store_relaxed(&slot->tid, (int32_t)gettid());
    pl_store_relaxed(&slot->image, (uint32_t)pl_image());
    pl_store_relaxed(&slot->known_as, (uint64_t)known_as.slot << 32 | known_as.generation);
    pl_fetch_or_relaxed(&slot->flags, (uint32_t)(PL_FLAG_DETACHED | PL_FLAG_DAEMON));
    pl_store_release(&slot->host, pl_self.thread_id);
    uint32_t generation = pl_generation_of(pl_load_relaxed(&slot->life));
    /* R:slot.running, pairs with pl_slot_find. */
    pl_store_release(&slot->life, life_word(generation, PL_RUNNING, 0));
    *ret = slot;
    return 0;
}

void pl_slot_mind(struct pl_slot *slot)
{
    if (pl_load_acquire(&slot->host))
        pl_exchange_acq_rel(&slot->minded, 1u);
}

bool pl_slot_leave_task(struct pl_slot *slot, int status)
{
    drop_places(slot);
    pl_store_relaxed(&slot->status, status);
    pl_store_relaxed(&slot->ended, plait_now());
    pl_store_relaxed(&slot->ending, (uint32_t)PL_END_RETURNED);
    pl_store_release(&slot->recoverer, PL_RECOVERED);
    uint32_t generation = pl_generation_of(pl_load_relaxed(&slot->life));
    /* R:slot.ended. Nobody sleeps on this word. */
    pl_store_release(&slot->life, life_word(generation, PL_JOINED, 0));
    /* An exchange here and there: either the sleeper sees the end, or it is seen here. */
    if (!pl_exchange_acq_rel(&slot->minded, 0u))
        return false;
    pl_heart_tell(pl_self.thread);
    return true;
}

int pl_self_enter(void)
{
    if (pl_self.id)
        return 0;
    return pl_self.task && pl_self.thread_id ? pl_task_enter() : pl_thread_enter();
}

void pl_slot_leave(enum pl_ending ending, int status)
{
    struct pl_slot *slot = pl_self.thread;
    pl_locals_drop();
    pl_slot_drop_argument(slot);
    drop_places(slot);
    pl_alloc_leave();
    pl_store_relaxed(&slot->status, status);
    pl_store_relaxed(&slot->ended, plait_now());
    pl_store_relaxed(&slot->ending, (uint32_t)ending);
    pl_store_release(&slot->recoverer, PL_RECOVERED); /* nothing is left to repair */
    pl_self.id = pl_self.thread_id = pl_self.quick = 0;
    pl_self.slot = pl_self.thread = NULL;
    pl_self.asked = NULL;
    pl_slot_ended(slot, pl_generation_of(pl_load_relaxed(&slot->life)));
    pl_heart_tell(slot);
}

void pl_slot_drop_argument(struct pl_slot *slot)
{
    if (!pl_load_acquire(&slot->owns_argument))
        return;
    struct pl_argument_tag *tag = (struct pl_argument_tag *)slot->argument - 1;
    plait_worker self = pl_worker_of(slot);
    if (tag->slot == self.slot && tag->generation == self.generation)
        plait_free(tag);
    pl_store_release(&slot->owns_argument, 0u);
}

static bool has_failed(struct pl_slot *slot)
{
    int32_t status = pl_load_relaxed(&slot->status);
    return pl_load_acquire(&slot->ending) != PL_END_RETURNED ||
           (status < 0 && status != PLAIT_ECANCELED);
}

void pl_slot_tell_failure(struct pl_slot *slot)
{
    /* Who sets it looks at `life` after (group.c): one of the two sees the other. */
    uint32_t tells = pl_load_seq_cst(&slot->tells), whom = tells & PL_ID_MASK;
    if (whom && ((tells & PL_TELLS_ANY_END) || has_failed(slot)) && !pl_is_dead(whom))
        pl_slot_stir(pl_slot_of(whom));
}

void pl_slot_ended(struct pl_slot *slot, uint32_t generation)
{
    uint64_t running = life_word(generation, PL_RUNNING, 0);
    /* R:slot.ended, pairs with pl_slot_join and pl_slot_find: the ending is written before. */
    pl_cas_seq_cst(&slot->life, &running, life_word(generation, PL_ENDED, 0));
    pl_slot_tell_failure(slot);
    if (pl_load_acquire(&slot->flags) & PL_FLAG_DETACHED)
        pl_slot_join(slot, generation);
    pl_futex_wake(pl_life_word(slot), INT_MAX, true);
}

bool pl_slot_join(struct pl_slot *slot, uint32_t generation)
{
    uint64_t ended = life_word(generation, PL_ENDED, 0);
    /* A:slot.ended, pairs with pl_slot_ended. */
    return pl_cas_acq_rel(&slot->life, &ended, life_word(generation, PL_JOINED, 0));
}

/* --- handles --- */

struct pl_slot *pl_slot_find(plait_worker w)
{
    if (!pl_arena || w.slot == 0 || w.slot >= pl_load_acquire(&pl_arena->slots_ready))
        return NULL;
    struct pl_slot *slot = pl_slot_at(w.slot);
    /* A:slot.running, pairs with pl_slot_enter. */
    uint64_t life = pl_load_acquire(&slot->life);
    /* A:slot.claimed, pairs with claim_as. */
    bool is_somebodys = pl_life_of(life) != PL_FREE && pl_life_of(life) != PL_CLAIMED;
    return pl_generation_of(life) == w.generation && is_somebodys ? slot : NULL;
}

plait_worker pl_worker_of(const struct pl_slot *slot)
{
    uint32_t index = (uint32_t)(((const char *)slot - (char *)pl_slot_at(0)) / PL_SLOT_SIZE);
    plait_worker w = {index, pl_generation_of(pl_load_acquire(&slot->life))};
    return w;
}

plait_worker pl_handle_of(const struct pl_slot *slot)
{
    if (!pl_load_acquire(&slot->host))
        return pl_worker_of(slot);
    uint64_t known_as = pl_load_relaxed(&slot->known_as);
    return (plait_worker){(uint32_t)(known_as >> 32), (uint32_t)known_as};
}

uint32_t pl_workers_known(void)
{
    uint32_t n = 0, ready = pl_load_acquire(&pl_arena->slots_ready);
    for (uint32_t i = 1; i < ready; i++) {
        enum pl_life life = pl_life_of(pl_load_acquire(&pl_slot_at(i)->life));
        n += life != PL_FREE && life != PL_CLAIMED && life != PL_JOINED;
    }
    return n;
}
