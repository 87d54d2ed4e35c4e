/* Scopes and groups under load. Invariants:
 *   - a scope cuts short or it does not, and a lock taken inside is given back: the count under it is exact;
 *   - each request to stop that was made is counted by its worker, whatever scopes end at the same time;
 *   - of n members each ends once, the error is that of one that failed, and nobody is cancelled without a failure. */
#include "harness/harness.h"

#include "park/park.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum { WORKERS = 4 };

struct member {
    struct world *world;
    uint64_t seed;
    long got, cut, refused, asked;
};

struct world {
    plait_lock lock;
    plait_semaphore permits;
    plait_event never;
    long under_lock;
    int stop, ready;
    struct member members[WORKERS];
};

static struct world *new_world(const struct t_setting *s, uint64_t seed)
{
    struct world *w = t_new(s, sizeof *w);
    for (int i = 0; i < WORKERS; i++)
        w->members[i] = (struct member){.world = w, .seed = seed + (uint64_t)i};
    return w;
}

/* --- scopes --- */

static int take_in_scopes(void *arg)
{
    struct member *m = arg;
    struct world *w = m->world;
    for (long i = 0, n = t_rounds(2000); i < n; i++) {
        bool got = false, cut = false;
        PLAIT_TIMEOUT(t_below(&m->seed, 200) * 1000) {
            if (plait_semaphore_acquire(&w->permits, PLAIT_FOREVER) < 0)
                break;
            got = true;
            if (plait_lock_acquire(&w->lock, PLAIT_FOREVER) < 0)
                break;
            w->under_lock++;
            m->got++;
            t_dither(&m->seed, 20 * 1000);
            CHECK_RC(plait_lock_release(&w->lock), 0);
        } else
            cut = true;
        m->cut += cut;
        if (got)
            CHECK_RC(plait_semaphore_release(&w->permits, 1), 0);
        else
            CHECK(cut);
    }
    return 0;
}

static void scopes_lose_no_permit_and_no_lock(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    FOR_EACH_SETTING(s)
    {
        if (t_has_processes(s) && !t_is_all_processes(s) && !t_may_fork_beside_threads())
            continue;
        struct world *w = new_world(s, seed);
        struct t_team team;
        long got = 0, cut = 0;
        CHECK_RC(plait_semaphore_init(&w->permits, 2, 2), 0);
        t_start_each(&team, s, WORKERS, take_in_scopes, w->members, sizeof w->members[0]);
        t_join(&team);
        for (int i = 0; i < WORKERS; i++) {
            got += w->members[i].got;
            cut += w->members[i].cut;
        }
        CHECK_EQ(got, w->under_lock);
        CHECK_EQ(plait_semaphore_value(&w->permits), 2);
        CHECK_EQ(plait_lock_locked(&w->lock), 0);
        CHECK(got > 0 && cut > 0);
        t_delete(s, w);
    }
}

static int be_asked_in_scopes(void *arg)
{
    struct member *m = arg;
    struct world *w = m->world;
    COUNT(w->ready);
    while (!SEEN(w->stop)) {
        plait_scope scope;
        CHECK_RC(plait_scope_begin(&scope, t_below(&m->seed, 100) * 1000), 0);
        int before = plait_cancelling();
        int rc = plait_event_wait(&w->never, PLAIT_FOREVER);
        CHECK_RC(rc, PLAIT_ECANCELED);
        int ended = plait_scope_end(&scope), after = plait_cancelling();
        if (ended)
            m->cut++;
        else
            CHECK(after > 0 || before > 0); /* somebody else wanted it */
        while (plait_cancelling() > 0) {
            plait_uncancel();
            m->asked++;
        }
    }
    while (plait_cancelling() > 0) {
        plait_uncancel();
        m->asked++;
    }
    return 0;
}

static void every_request_is_counted_whatever_expires(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    FOR_EACH_SETTING(s)
    {
        if (t_has_processes(s) && !t_is_all_processes(s) && !t_may_fork_beside_threads())
            continue;
        struct world *w = new_world(s, seed);
        struct t_team team;
        long made = 0, counted = 0;
        t_start_each(&team, s, WORKERS, be_asked_in_scopes, w->members, sizeof w->members[0]);
        UNTIL(SEEN(w->ready) == WORKERS);
        for (long i = 0, n = t_rounds(3000); i < n; i++) {
            CHECK_RC(plait_cancel(team.workers[t_below(&seed, WORKERS)]), 0);
            made++;
            t_dither(&seed, 60 * 1000);
        }
        TELL(w->stop, 1);
        t_join(&team);
        for (int i = 0; i < WORKERS; i++)
            counted += w->members[i].asked;
        CHECK_EQ(counted, made);
        t_delete(s, w);
    }
}

/* --- groups --- */

enum { MEMBERS = 6, SUCCEED = 0, FAIL, BE_KILLED, WAIT };

struct plan {
    plait_event never;
    int what[MEMBERS];
    int64_t after[MEMBERS];
    int ended[MEMBERS], cancelled[MEMBERS], n;
};

struct role {
    struct plan *plan;
    int i;
};

static int play(void *arg)
{
    struct role *role = arg;
    struct plan *plan = role->plan;
    int i = role->i;
    int64_t time = plan->what[i] == WAIT ? PLAIT_FOREVER : plan->after[i];
    int rc = plait_event_wait(&plan->never, time);
    COUNT(plan->ended[i]);
    if (rc == PLAIT_ECANCELED) {
        COUNT(plan->cancelled[i]);
        return rc;
    }
    if (plan->what[i] == BE_KILLED)
        raise(SIGKILL);
    return plan->what[i] == FAIL ? -100 - i : 0;
}

/* Members of all kinds with random fates; the owner waits in its body or leaves. */
static void play_one(struct plan *plan, uint64_t *seed, bool tasks)
{
    plait_group g = {0};
    plait_blame failed[PLAIT_GROUP_FAILURES];
    struct role *roles = plait_alloc(sizeof *roles * MEMBERS);
    bool trouble = false, waits = false, started[MEMBERS] = {false};
    *plan = (struct plan){.n = 0};
    for (int i = 0; i < MEMBERS; i++) {
        int kinds[3] = {PLAIT_THREAD, PLAIT_PROCESS, PLAIT_TASK};
        int kind = kinds[t_below(seed, tasks ? 3 : 2)];
        if (kind == PLAIT_PROCESS && !t_may_fork_beside_threads())
            kind = PLAIT_THREAD;
        plan->what[i] = t_below(seed, 4);
        if (plan->what[i] == BE_KILLED && kind != PLAIT_PROCESS)
            plan->what[i] = FAIL;
        plan->after[i] = t_below(seed, 300) * 1000;
        roles[i] = (struct role){plan, i};
        int rc = plait_group_start(&g, NULL, kind, play, &roles[i], NULL);
        CHECK(rc == 0 || rc == PLAIT_ECLOSED);
        started[i] = rc == 0;
        trouble |= started[i] && (plan->what[i] == FAIL || plan->what[i] == BE_KILLED);
        waits |= started[i] && plan->what[i] == WAIT;
    }
    if (trouble && t_below(seed, 2))
        CHECK_RC(plait_event_wait(&plan->never, PLAIT_FOREVER), PLAIT_ECANCELED);
    else if (waits && !trouble)
        CHECK_RC(plait_group_cancel(&g), 0);
    int rc = plait_group_leave(&g);
    CHECK_EQ(plait_group_failures(&g, failed, PLAIT_GROUP_FAILURES) > 0, trouble);
    CHECK(trouble ? rc == PLAIT_EDIED || (rc <= -100 && rc > -100 - MEMBERS) : rc == 0);
    if (trouble && rc != PLAIT_EDIED)
        CHECK_EQ(plan->what[-100 - rc], FAIL);
    for (int i = 0; i < MEMBERS; i++) {
        CHECK(plan->ended[i] <= started[i]); /* a process may have been cancelled before it began */
        if (plan->cancelled[i])
            CHECK(trouble || waits);
        if (started[i] && !plan->ended[i])
            CHECK(trouble || waits);
    }
    CHECK_RC(plait_checkpoint(), 0);
    CHECK_EQ(plait_cancelling(), 0);
    CHECK_RC(plait_free(roles), 0);
}

static void groups_of_random_fates(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    struct plan *plan = plait_alloc(sizeof *plan);
    for (long i = 0, n = t_rounds(150); i < n; i++)
        play_one(plan, &seed, false);
    CHECK_RC(plait_free(plan), 0);
}

static int play_in_task(void *arg)
{
    uint64_t seed = *(uint64_t *)arg;
    struct plan *plan = plait_alloc(sizeof *plan);
    for (long i = 0, n = t_rounds(60); i < n; i++)
        play_one(plan, &seed, true);
    CHECK_RC(plait_free(plan), 0);
    return 0;
}

static int play_in_tasks(void *arg)
{
    uint64_t seeds[3];
    plait_group g = {0};
    for (int i = 0; i < 3; i++) {
        seeds[i] = *(uint64_t *)arg + (uint64_t)i;
        CHECK_RC(plait_group_start(&g, NULL, PLAIT_TASK, play_in_task, &seeds[i], NULL), 0);
    }
    return plait_group_leave(&g);
}

static void groups_owned_by_tasks(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    CHECK_RC(plait_run(play_in_tasks, &seed), 0);
}

static int nothing_is_left(void **state)
{
    (void)state;
    return t_has_children() ? -1 : 0;
}

int main(int argc, char **argv)
{
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scopes_lose_no_permit_and_no_lock),
        cmocka_unit_test(every_request_is_counted_whatever_expires),
        cmocka_unit_test(groups_of_random_fates),
        cmocka_unit_test(groups_owned_by_tasks),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
