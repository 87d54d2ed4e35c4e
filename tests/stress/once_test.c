/* The once under load. Invariants:
 *   - each of many is done by exactly one successful run, and runs never overlap;
 *   - a failed run is repeated; a run cut short by a kill is repeated by one that is told. */
#include "harness/harness.h"

#include "park/park.h"

#include <stdlib.h>

enum { WORKERS = 6, MANY = 3000 };

struct thing {
    plait_once once;
    int begun, done; /* plain: ordered by the once */
    int runs;        /* that came to their end */
};

struct member {
    struct world *world;
    uint64_t seed;
    struct thing *thing; /* the one it is at */
    bool fails, dawdles;
    int at; /* how many of them it is through with */
};

struct world {
    struct thing things[MANY];
    struct member members[WORKERS];
};

static struct world *new_world(const struct t_setting *s, uint64_t seed)
{
    struct world *w = t_new(s, sizeof *w);
    for (int i = 0; i < WORKERS; i++)
        w->members[i] = (struct member){.world = w, .seed = seed + (uint64_t)i};
    return w;
}

static int work(void *arg, int notice)
{
    struct member *m = arg;
    struct thing *t = m->thing;
    CHECK_EQ(t->done, 0);
    CHECK(t->begun == 0 || notice == PLAIT_OWNER_DIED);
    if (m->fails && t_below(&m->seed, 2))
        return PLAIT_EMFILE;
    t->begun = 1;
    if (m->dawdles || t_below(&m->seed, 100) == 0)
        t_dither(&m->seed, 30 * 1000);
    t->runs++;
    t->done = 1;
    return 0;
}

/* Calls each until it is done. */
static int call_all(void *arg)
{
    struct member *m = arg;
    for (int i = 0; i < MANY; i++) {
        m->thing = &m->world->things[i];
        int rc;
        do
            rc = plait_once_call(&m->thing->once, work, m);
        while (rc == PLAIT_EMFILE);
        CHECK(rc == 0 || rc == PLAIT_OWNER_DIED);
        CHECK(m->thing->done == 1 && m->thing->begun == 1);
        TELL(m->at, i + 1);
    }
    return 0;
}

static void each_is_done_once(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    FOR_EACH_SETTING(s)
    for (int fails = 0; fails < 2; fails++) {
        struct world *w = new_world(s, seed);
        struct t_team team;
        for (int i = 0; i < WORKERS; i++)
            w->members[i].fails = fails;
        t_start_each(&team, s, WORKERS, call_all, w->members, sizeof w->members[0]);
        t_join(&team);
        for (int i = 0; i < MANY; i++)
            CHECK_EQ(w->things[i].runs, 1);
        t_delete(s, w);
    }
}

/* 1 if it was killed; 0 if it was through already. */
static long kill_and_replace(struct t_team *team, struct world *w, int victim)
{
    plait_kill(team->workers[victim]);
    int rc = plait_join(team->workers[victim], NULL, plait_seconds(T_PATIENCE_S));
    CHECK(rc == 0 || rc == PLAIT_DIED);
    team->workers[victim] = t_start_one(PLAIT_PROCESS, call_all, &w->members[victim]);
    return rc == PLAIT_DIED;
}

/* A victim that died after its run had come to its end, but before it could say so, has it repeated. */
static void kills_leave_none_half_done(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    struct world *w = new_world(&t_processes, seed);
    struct t_team team = {.n = WORKERS};
    long kills = 0, repeated = 0;
    for (int i = 0; i < WORKERS; i++)
        w->members[i].dawdles = true;
    for (int i = 0; i < WORKERS - 1; i++)
        team.workers[i] = t_start_one(PLAIT_PROCESS, call_all, &w->members[i]);
    while (kills == 0) /* one at least, however fast the others are */
        kills += kill_and_replace(&team, w, 0);
    /* The last one is a thread and stays. */
    team.workers[WORKERS - 1] = t_start_one(PLAIT_THREAD, call_all, &w->members[WORKERS - 1]);
    while (SEEN(w->members[WORKERS - 1].at) < MANY) {
        int victim = t_below(&seed, WORKERS - 1);
        t_dither(&seed, 500 * 1000);
        kills += kill_and_replace(&team, w, victim);
    }
    t_join(&team);
    for (int i = 0; i < MANY; i++) {
        plait_blame blame;
        struct thing *t = &w->things[i];
        CHECK(t->done == 1 && t->begun == 1 && t->runs >= 1);
        repeated += plait_once_blame(&t->once, &blame) != PLAIT_ESRCH;
    }
    print_message("%ld kills, %ld in the function\n", kills, repeated);
    t_delete(&t_processes, w);
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
        cmocka_unit_test(each_is_done_once),
        cmocka_unit_test(kills_leave_none_half_done),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
