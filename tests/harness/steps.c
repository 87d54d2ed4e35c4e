/* Dying at the k-th step, and what the functions of a scenario may ask. */
#include "steps_internal.h"

#include "base/atomic.h"
#include "base/clock.h"
#include "registry/registry.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct round *st_now;

/* --- words without steps --- */

uint32_t st_look(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

void st_sleep_while(uint32_t *word, uint32_t seen, int64_t ns)
{
    struct timespec ts = pl_timespec(ns);
    syscall(SYS_futex, word, FUTEX_WAIT, seen, &ts, NULL, 0);
}

void st_raise(uint32_t *word)
{
    __atomic_fetch_add(word, 1u, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void st_tell(uint32_t *word)
{
    __atomic_store_n(word, 1u, __ATOMIC_SEQ_CST);
    st_raise(&st_now->any_news);
}

/* --- failing --- */

void steps_fail(const char *file, int line, const char *format, ...)
{
    const char *name = strrchr(file, '/');
    char text[300];
    va_list args;
    if (__atomic_exchange_n(&st_now->failed, 1u, __ATOMIC_SEQ_CST))
        return; /* the first failure says most */
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(st_now->failure, sizeof st_now->failure, "%s:%d: %s", name ? name + 1 : file, line,
             text);
}

/* --- naming a word --- */

#define FIELD(name)                                                                                \
    {                                                                                              \
        offsetof(struct pl_slot, name), #name                                                      \
    }

/* The field of a slot that begins at or before `offset`. */
static const char *slot_field(size_t offset)
{
    static const struct {
        size_t offset;
        const char *name;
    } fields[] = {
        FIELD(life),         FIELD(kind),        FIELD(parent),       FIELD(parent_pid),
        FIELD(pid),          FIELD(tid),         FIELD(started),      FIELD(flags),
        FIELD(id),           FIELD(heart),       FIELD(asked.made),   FIELD(asked.delivered),
        FIELD(asked.undone), FIELD(waits_kind),  FIELD(waits_holder), FIELD(waits_on),
        FIELD(waking),       FIELD(waits_since), FIELD(turn.word),    FIELD(turn.next),
        FIELD(turn.ticket),  FIELD(turn.debt),   FIELD(ending),       FIELD(status),
        FIELD(signal),       FIELD(core),        FIELD(ended),        FIELD(user_ns),
        FIELD(system_ns),    FIELD(max_rss),     FIELD(reaper),       FIELD(recoverer),
        FIELD(name),
    };
    const char *best = "?";
    size_t best_offset = 0;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (fields[i].offset <= offset && fields[i].offset >= best_offset) {
            best = fields[i].name;
            best_offset = fields[i].offset;
        }
    return best;
}

void st_describe(char *buffer, size_t size, const char *what, const void *word)
{
    uintptr_t at = (uintptr_t)word, world = (uintptr_t)st_now->world;
    if (world && at - world < st_now->s->world_size) {
        snprintf(buffer, size, "%s world+%lu", what, (unsigned long)(at - world));
        return;
    }
    if (!pl_arena_holds(word)) {
        snprintf(buffer, size, "%s private", what);
        return;
    }
    uintptr_t slots = at - (uintptr_t)pl_slot_at(0);
    if (slots / PL_SLOT_SIZE < pl_arena->n_slots)
        snprintf(buffer, size, "%s slot %lu %s", what, (unsigned long)(slots / PL_SLOT_SIZE),
                 slot_field(slots % PL_SLOT_SIZE));
    else
        snprintf(buffer, size, "%s arena+%#lx", what, (unsigned long)(at - (uintptr_t)pl_arena));
}

/* --- counting steps --- */

static _Thread_local struct {
    struct fate *fate;        /* NULL: this thread's steps do not count */
    const void *loaded;       /* the word of the last step, if that was a load */
    struct fate *of_children; /* processes this thread forks count for it */
    bool stays;               /* counts on when the operation has ended */
} doom;

_Noreturn void st_kill_self(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

void st_wait_for(uint32_t *gate)
{
    while (!st_look(gate))
        st_sleep_while(gate, 0, 1000 * ST_MS);
}

void st_look_last(const struct fate *fate)
{
    if (st_now->s->last_look)
        st_now->s->last_look(st_now->world, (int)(fate - st_now->fates));
}

static void die_here(const char *what, const void *word)
{
    struct fate *fate = doom.fate;
    const struct steps_scenario *s = st_now->s;
    bool victim = fate != st_recoverer();
    doom.fate = NULL;
    st_describe(fate->where, sizeof fate->where, what, word);
    if (victim)
        st_look_last(fate);
    fate->killed_at = plait_now();
    st_tell(&fate->killed);
    if (!s->stall || !victim)
        st_kill_self();
    st_wait_for(&st_now->may_go_on);
}

/* Whether a load right after another takes no step of its own: the same word again, as in spinning, or
 * the next of a table that is looked through. In between nothing can have changed. */
static bool goes_on_looking(const char *what, const void *word)
{
    ptrdiff_t on = (const char *)word - (const char *)doom.loaded;
    bool load = strcmp(what, "load") == 0;
    bool same = load && doom.loaded && (on == 0 || on == sizeof(uint64_t) || on == PL_SLOT_SIZE);
    doom.loaded = load ? word : NULL;
    return same;
}

static void count_step(const char *what, const void *word)
{
    struct fate *fate = doom.fate;
    if (!fate || goes_on_looking(what, word))
        return;
    long step = __atomic_fetch_add(&fate->steps, 1, __ATOMIC_SEQ_CST);
    fate->trace[step % ST_TRACE].what = what;
    fate->trace[step % ST_TRACE].word = word;
    if (step + 1 == fate->k)
        die_here(what, word);
}

static void count_for(struct fate *fate)
{
    doom.loaded = NULL;
    doom.fate = fate;
    pl_step_hook = count_step;
}

void st_arm(struct fate *fate)
{
    if (!doom.of_children)
        count_for(fate);
}

void st_disarm(void)
{
    if (!doom.stays)
        doom.fate = NULL;
}

static void arm_child(void)
{
    struct fate *fate = doom.of_children;
    memset(&doom, 0, sizeof doom);
    if (fate)
        count_for(fate);
}

/* A victim is to be armed when it begins, and a clean process would not be. */
__attribute__((constructor)) static void fork_by_default(void)
{
    plait_set_start_method(PLAIT_FORK);
}

__attribute__((constructor)) static void watch_fork(void)
{
    pthread_atfork(NULL, NULL, arm_child);
}

void steps_here(const char *what, const void *word)
{
    count_step(what, word);
}

void steps_doom_children(void)
{
    doom.of_children = &st_now->fates[0];
}

void steps_stay_armed(void)
{
    doom.fate->steps = 0;
    doom.stays = true;
}

/* --- what the functions of a scenario may ask --- */

plait_worker steps_victim(int who)
{
    return st_now->fates[who].worker;
}

uint32_t steps_victim_id(int who)
{
    return pl_slot_at(st_now->fates[who].worker.slot)->id;
}

bool steps_finished(int who)
{
    return st_look(&st_now->fates[who].finished);
}

/* A zombie, or its own child that was collected: without collecting it. */
bool st_has_ended(plait_worker worker)
{
    siginfo_t info = {0};
    int pid = plait_pid(worker);
    if (pid < 0 || waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
        return true;
    /* Whoever traces is also told of stops. */
    return info.si_pid == pid && info.si_code != CLD_TRAPPED && info.si_code != CLD_STOPPED;
}

bool steps_is_dead(int who)
{
    return st_has_ended(st_now->fates[who].worker);
}

bool steps_recoverer_died(void)
{
    return st_look(&st_recoverer()->killed);
}

int steps_hired(void)
{
    return st_now->n_members;
}

int steps_through(void)
{
    int n = 0;
    for (int i = 0; i < st_now->n_members; i++)
        n += st_look(&st_now->members[i].through) != 0;
    return n;
}

/* How long those who are through needed since the last thing that happened. */
void st_measure(void)
{
    int64_t since = st_now->deed_at;
    for (int i = 0; i <= ST_VICTIMS; i++)
        if (st_now->fates[i].killed_at > since)
            since = st_now->fates[i].killed_at;
    for (int i = 0; i < st_now->n_members; i++) {
        const struct member *m = &st_now->members[i];
        int64_t began = m->began_at > since ? m->began_at : since;
        if (m->through_at - began > st_now->slowest)
            st_now->slowest = m->through_at - began;
    }
}

void steps_deed(void)
{
    st_measure();
    st_now->deed_at = plait_now();
}

int64_t st_patience(void)
{
    return st_now->s->patience ? st_now->s->patience : 5000 * ST_MS;
}

/* Looks whenever there is news, and now and then besides, because not everything is told. */
bool steps_await(bool (*is_so)(void *world), void *world)
{
    /* A gap in which nobody ran, because the whole machine stood still, is no waiting. */
    const int64_t gap = 50 * ST_MS;
    int64_t last = plait_now(), waited = 0;
    for (;;) {
        uint32_t news = st_look(&st_now->any_news);
        if (is_so(world))
            return true;
        int64_t now = plait_now();
        waited += now - last < gap ? now - last : gap;
        last = now;
        if (waited > st_patience())
            return false;
        st_sleep_while(&st_now->any_news, news, waited < 2 * ST_MS ? ST_MS / 5 : ST_MS);
    }
}

bool st_is_in_use(struct pl_slot *slot)
{
    enum pl_life life = pl_life_of(pl_load_acquire(&slot->life));
    if (life != PL_JOINED)
        return life != PL_FREE;
    uint32_t beat = pl_load_acquire(pl_heart_word(slot));
    return (beat != 0 && !pl_heart_is_stopped(slot)) ||
           pl_load_acquire(&slot->recoverer) != PL_RECOVERED;
}

int steps_slots_in_use(void)
{
    int n = 0;
    for (uint32_t i = 1; i < pl_load_acquire(&pl_arena->slots_ready); i++)
        n += st_is_in_use(pl_slot_at(i));
    return n;
}
