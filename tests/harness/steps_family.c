/* A round: the root, its workers, the order in which they come. */
#include "steps_internal.h"

#include "arena/alloc.h"
#include "base/atomic.h"
#include "port/futex.h"
#include "registry/code.h"
#include "registry/registry.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

/* --- members --- */

static int member_main(void *arg)
{
    struct member *m = arg;
    m->began_at = plait_now();
    m->crew->run(st_now->world, m->who);
    m->through_at = plait_now();
    st_tell(&m->through);
    return 0;
}

static int start(plait_worker *ret, int kind, plait_function *fn, void *arg, bool detached)
{
    plait_options options = {.start_method = PLAIT_FORK, .detach = detached};
    int rc = plait_start(ret, kind, fn, arg, &options);
    if (rc < 0)
        steps_fail(__FILE__, __LINE__, "a worker cannot be started: %s", plait_errname(rc));
    return rc;
}

/* The kernel says that the thread sleeps; not running, nor stopped by who traces it. */
static bool is_off_the_processor(int pid, int tid)
{
    char path[60], state = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", pid, tid);
    FILE *stat = fopen(path, "r");
    if (!stat)
        return false;
    if (fscanf(stat, "%*d (%*[^)]) %c", &state) != 1)
        state = 0;
    fclose(stat);
    return state == 'S';
}

/* Really: waiters are written down a little before they sleep, and who comes first matters. */
static bool sleeps_in(plait_worker worker, uint32_t kind)
{
    struct pl_slot *slot = pl_slot_find(worker);
    return slot && plait_state(worker) == PLAIT_STATE_BLOCKED &&
           (kind == PL_WAIT_NONE || pl_load_relaxed(&slot->waits_kind) == kind) &&
           is_off_the_processor(plait_pid(worker), plait_tid(worker));
}

/* The member hired last sleeps, or needs not. */
static bool last_has_settled(void *unused)
{
    const struct member *m = &st_now->members[st_now->n_members - 1];
    (void)unused;
    return st_look(&m->through) || sleeps_in(m->worker, m->crew->sleep_in);
}

static void hire(const struct steps_crew *crew)
{
    for (int i = 0; i < crew->threads + crew->processes; i++) {
        struct member *m = &st_now->members[st_now->n_members];
        *m = (struct member){.crew = crew, .who = i};
        int kind = i < crew->threads ? PLAIT_THREAD : PLAIT_PROCESS;
        if (start(&m->worker, kind, member_main, m, false) < 0)
            return;
        st_now->n_members++;
        if (crew->sleep_in && !steps_await(last_has_settled, NULL))
            steps_fail(__FILE__, __LINE__, "member %d does not get to sleep",
                       st_now->n_members - 1);
    }
}

static bool all_are_through(void *unused)
{
    (void)unused;
    return steps_through() == st_now->n_members;
}

/* Who is stuck, and where. */
static void tell_stuck(void)
{
    char text[240] = "";
    size_t n = 0;
    for (int i = 0; i < st_now->n_members && n < sizeof text - 60; i++) {
        const struct member *m = &st_now->members[i];
        struct pl_slot *slot = pl_slot_find(m->worker);
        if (!st_look(&m->through) && slot)
            n += (size_t)snprintf(text + n, sizeof text - n, " %d (%s %u, in wait %u for %u)", i,
                                  slot->kind == PLAIT_THREAD ? "thread" : "process", m->worker.slot,
                                  pl_load_relaxed(&slot->waits_kind),
                                  PL_ID_SLOT(pl_load_relaxed(&slot->waits_holder)));
    }
    steps_fail(__FILE__, __LINE__, "these members do not come through:%s", text);
}

static void await_members(void)
{
    if (!steps_await(all_are_through, NULL))
        tell_stuck();
}

/* --- the victim --- */

static int victim_main(void *arg)
{
    struct fate *fate = arg;
    const struct steps_scenario *s = st_now->s;
    int who = (int)(fate - st_now->fates);
    if (s->prepare)
        s->prepare(st_now->world, who);
    st_tell(&fate->ready);
    st_wait_for(&st_now->may_act);
    if (st_now->mode == ST_AT_STORES)
        st_be_traced();
    else
        st_arm(fate);
    s->act(st_now->world, who);
    st_disarm();
    st_tell(&fate->finished);
    if (s->alive)
        return 0;
    st_look_last(fate);
    fate->killed_at = plait_now();
    st_kill_self();
}

static bool victims_are_ready(void *unused)
{
    (void)unused;
    for (int i = 0; i < st_now->n_victims; i++)
        if (!st_look(&st_now->fates[i].ready))
            return false;
    return true;
}

static bool victims_have_settled(void *unused)
{
    (void)unused;
    for (int i = 0; i < st_now->n_victims; i++)
        if (!steps_is_dead(i) && !sleeps_in(steps_victim(i), PL_WAIT_NONE))
            return false;
    return true;
}

static bool victims_are_dead(void *unused)
{
    (void)unused;
    for (int i = 0; i < st_now->n_victims; i++)
        if (!steps_is_dead(i))
            return false;
    return true;
}

static bool victim_is_held_or_dead(void *unused)
{
    (void)unused;
    return st_look(&st_now->fates[0].killed) || victims_are_dead(NULL);
}

static void prepare_victims(void)
{
    for (int i = 0; i < st_now->n_victims; i++)
        if (start(&st_now->fates[i].worker, PLAIT_PROCESS, victim_main, &st_now->fates[i],
                  st_now->s->detached) < 0)
            return;
    if (!steps_await(victims_are_ready, NULL))
        steps_fail(__FILE__, __LINE__, "the victim does not get ready");
}

static void kill_asleep(void)
{
    struct fate *fate = &st_now->fates[0];
    if (!steps_await(victims_have_settled, NULL))
        steps_fail(__FILE__, __LINE__, "the victim does not sleep");
    snprintf(fate->where, sizeof fate->where, "asleep");
    fate->killed_at = plait_now();
    kill(plait_pid(fate->worker), SIGKILL);
    while (!steps_is_dead(0))
        usleep(100);
}

/* --- the recoverer --- */

static int recoverer_main(void *arg)
{
    struct fate *fate = arg;
    st_arm(fate);
    pl_recover(pl_slot_at(st_now->fates[0].worker.slot));
    st_disarm();
    st_tell(&fate->finished);
    st_kill_self();
}

static bool recoverer_is_dead(void *unused)
{
    (void)unused;
    return st_has_ended(st_recoverer()->worker);
}

static void run_recoverer(void)
{
    struct fate *fate = st_recoverer();
    if (start(&fate->worker, PLAIT_PROCESS, recoverer_main, fate, false) < 0)
        return;
    if (!steps_await(recoverer_is_dead, NULL))
        steps_fail(__FILE__, __LINE__, "the recoverer does not come to an end");
}

/* --- the end of a round --- */

static void join_killed(plait_worker worker)
{
    plait_blame blame = {0};
    int rc = plait_join(worker, &blame, st_patience());
    if (rc != PLAIT_DIED || blame.signal != SIGKILL || blame.returned)
        steps_fail(__FILE__, __LINE__, "the death is not told: join gave %s, signal %d, status %d",
                   plait_errname(rc), blame.signal, blame.status);
}

static void join_all(void)
{
    for (int i = 0; i < st_now->n_members; i++) {
        int rc = plait_join(st_now->members[i].worker, NULL, st_patience());
        if (rc != 0)
            steps_fail(__FILE__, __LINE__, "join of member %d gave %s", i, plait_errname(rc));
    }
    bool joined = st_now->s->join || st_now->s->alive || st_now->s->detached;
    for (int i = 0; i < st_now->n_victims && !joined; i++)
        join_killed(steps_victim(i));
    if (st_now->j)
        join_killed(st_recoverer()->worker);
}

static bool table_is_clean(void *unused)
{
    (void)unused;
    plait_children(NULL, 0); /* collects the zombies that nobody joins */
    pl_sweep(0);
    return steps_slots_in_use() == 1;
}

static void tell_slots_in_use(void)
{
    char text[300] = "";
    size_t n = 0;
    for (uint32_t i = 1; i < pl_arena->slots_ready && n < sizeof text - 60; i++) {
        struct pl_slot *slot = pl_slot_at(i);
        if (st_is_in_use(slot))
            n += (size_t)snprintf(text + n, sizeof text - n, " %u (life %d, pid %d, parent %u)", i,
                                  (int)pl_life_of(slot->life), slot->pid, PL_ID_SLOT(slot->parent));
    }
    steps_fail(__FILE__, __LINE__, "entries of the worker table leak:%s", text);
}

static void expect_no_leftovers(void)
{
    plait_arena_statistics stats;
    if (!steps_await(table_is_clean, NULL))
        tell_slots_in_use();
    if (!pl_alloc_valid())
        steps_fail(__FILE__, __LINE__, "the allocator is torn");
    int stay = 1 + pl_code_modules(); /* the world, and the names of what its functions are of */
    if (plait_arena_stats(&stats) < 0 || ((long)stats.blocks != stay && !st_now->s->leaks))
        steps_fail(__FILE__, __LINE__, "%ld blocks of memory leak", (long)stats.blocks - stay);
}

/* --- a round, as the root runs it --- */

static void stage(const char *name)
{
    st_now->stage = name;
    if (st_now->failed)
        _exit(1);
}

static void await_death(void)
{
    if (!steps_await(victims_are_dead, NULL))
        steps_fail(__FILE__, __LINE__, "the victim neither comes through nor dies: in wait %u",
                   pl_load_relaxed(&pl_slot_at(steps_victim(0).slot)->waits_kind));
    for (int i = 0; i < st_now->n_victims && st_now->s->join; i++)
        join_killed(steps_victim(i));
}

static void let_it_act(const struct steps_scenario *s)
{
    if ((s->behind.run || s->direct) && !steps_await(victims_have_settled, NULL))
        steps_fail(__FILE__, __LINE__, "the victim neither sleeps nor dies");
    if (st_now->k == ST_ASLEEP && st_now->mode == ST_AT_STEPS)
        kill_asleep();
    hire(&s->behind);
    if (s->direct) {
        s->direct(st_now->world);
        steps_deed();
    }
}

static void *let_it_act_beside(void *s)
{
    let_it_act(s);
    return NULL;
}

/* The root's first thread steps through the victim; what else there is to do, another does. */
static void trace_and_let_it_act(const struct steps_scenario *s)
{
    pthread_t other;
    if (pthread_create(&other, NULL, let_it_act_beside, (void *)s) != 0)
        steps_fail(__FILE__, __LINE__, "no thread can be had");
    st_trace_victim(&st_now->fates[0]);
    pthread_join(other, NULL);
}

static void play(const struct steps_scenario *s)
{
    stage("setup");
    if (s->setup)
        s->setup(st_now->world);
    hire(&s->first);
    stage("prepare");
    prepare_victims();
    hire(&s->ahead);
    stage("act");
    st_raise(&st_now->may_act);
    if (st_now->mode == ST_AT_STORES)
        trace_and_let_it_act(s);
    else
        let_it_act(s);
    stage("death");
    if (!s->stall)
        await_death();
    else if (!steps_await(victim_is_held_or_dead, NULL))
        steps_fail(__FILE__, __LINE__, "the victim comes neither to its step nor to its end");
    if (st_now->j)
        run_recoverer();
    stage("aftermath");
    if (s->aftermath)
        s->aftermath(st_now->world);
    stage("coming through");
    st_raise(&st_now->may_go_on);
    if (s->stall)
        await_death();
    await_members();
    stage("late");
    hire(&s->late);
    await_members();
    stage("check");
    st_measure();
    if (s->check)
        s->check(st_now->world);
    stage("the end");
    join_all();
    expect_no_leftovers();
    stage("over");
}

_Noreturn void st_root_main(void)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* and with the root go its children */
    if (st_now->s->old_kernel)
        pl_futex_forget_waitv();
    st_now->world = plait_alloc(st_now->s->world_size ? st_now->s->world_size : 1);
    if (!st_now->world)
        steps_fail(__FILE__, __LINE__, "no memory for the world");
    play(st_now->s);
    _exit(0);
}
