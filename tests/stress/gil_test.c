/* The gil under load. Invariants:
 *   - what is counted under it, in plain memory, is exact, whatever times out, is canceled or is killed;
 *   - a yielder never gets it again before those who waited;
 *   - after each death the others go on. */
#include "harness/harness.h"

enum { WORKERS = 5, RUN_NS = 10 * 1000 };

struct member {
    struct world *world;
    uint64_t seed;
    long done; /* updates; written under the gil */
    long refused;
};

struct world {
    plait_gil gil;
    long a, b; /* plain, under the gil: equal, but in the middle of an update */
    long told;
    int stop;
    struct member members[WORKERS];
};

static struct world *new_world(const struct t_setting *s, uint64_t seed)
{
    struct world *w = t_new(s, sizeof *w);
    CHECK_RC(plait_gil_init(&w->gil, plait_us(100)), 0);
    for (int i = 0; i < WORKERS; i++)
        w->members[i] = (struct member){.world = w, .seed = seed + (uint64_t)i};
    return w;
}

static long all_done(const struct world *w)
{
    long sum = 0;
    for (int i = 0; i < WORKERS; i++)
        sum += SEEN(w->members[i].done);
    return sum;
}

static void update(struct member *m)
{
    struct world *w = m->world;
    CHECK_EQ(w->a, w->b);
    TELL(w->a, w->a + 1);
    t_dither(&m->seed, RUN_NS);
    TELL(m->done, m->done + 1); /* from here on it counts */
    t_dither(&m->seed, RUN_NS);
    TELL(w->b, w->b + 1);
}

static void repair(struct world *w)
{
    long done = all_done(w);
    CHECK(w->a == w->b || w->a == w->b + 1);
    CHECK(done == w->a || done == w->b);
    w->a = w->b = done;
    COUNT(w->told);
}

/* Mostly one script that runs on and on; now and then it waits for something outside. */
static int run_script(void *arg)
{
    struct member *m = arg;
    plait_gil *gil = &m->world->gil;
    CHECK_RC(plait_gil_acquire(gil, PLAIT_FOREVER), 0);
    for (long i = 0, n = t_rounds(4000); i < n; i++) {
        update(m);
        if (plait_gil_should_yield(gil))
            CHECK_RC(plait_gil_yield(gil), 0);
        if (t_below(&m->seed, 50) == 0)
            PLAIT_GIL_RELEASED(gil)
        t_sleep(t_below(&m->seed, 20 * 1000));
    }
    return plait_gil_release(gil);
}

static void scripts_that_run_on_and_on_count_exactly(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    FOR_EACH_SETTING(s)
    {
        struct world *w = new_world(s, seed);
        struct t_team team;
        t_start_each(&team, s, WORKERS, run_script, w->members, sizeof w->members[0]);
        t_join(&team);
        CHECK_EQ(w->a, WORKERS * t_rounds(4000));
        CHECK_EQ(w->b, w->a);
        CHECK_EQ(plait_gil_locked(&w->gil), 0);
        t_delete(s, w);
    }
}

static int update_if_in_time(void *arg)
{
    struct member *m = arg;
    struct world *w = m->world;
    while (!SEEN(w->stop)) {
        int rc = plait_gil_acquire(&w->gil, t_below(&m->seed, 200) * 1000);
        if (rc == PLAIT_ECANCELED)
            COUNT(m->refused);
        CHECK(rc == 0 || rc == PLAIT_ETIMEDOUT || rc == PLAIT_ECANCELED);
        if (rc < 0)
            continue;
        update(m);
        if (t_below(&m->seed, 2))
            CHECK_RC(plait_gil_yield(&w->gil), 0);
        CHECK_EQ(w->a, w->b);
        CHECK_RC(plait_gil_release(&w->gil), 0);
    }
    return 0;
}

/* Requests to stop that were heard so far. */
static long all_refused(const struct world *w)
{
    long sum = 0;
    for (int i = 0; i < WORKERS; i++)
        sum += SEEN(w->members[i].refused);
    return sum;
}

static void timeouts_and_cancellations_lose_nothing(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    FOR_EACH_SETTING(s)
    {
        struct world *w = new_world(s, seed);
        struct t_team team;
        t_start_each(&team, s, WORKERS, update_if_in_time, w->members, sizeof w->members[0]);
        for (long i = 0, n = t_rounds(1500); i < n; i++) {
            CHECK_RC(plait_cancel(team.workers[t_below(&seed, WORKERS)]), 0);
            t_dither(&seed, 200 * 1000);
        }
        UNTIL(all_refused(w) > 0); /* each is heard when its worker sleeps next */
        TELL(w->stop, 1);
        t_join(&team);
        CHECK_EQ(w->a, all_done(w));
        CHECK_RC(plait_gil_acquire(&w->gil, PLAIT_NOWAIT), 0);
        CHECK_RC(plait_gil_release(&w->gil), 0);
        t_delete(s, w);
    }
}

/* --- deaths --- */

static void repair_if_told(struct world *w, int rc)
{
    CHECK(rc == 0 || rc == PLAIT_OWNER_DIED);
    if (rc == PLAIT_OWNER_DIED)
        repair(w);
}

static int run_until_stopped(void *arg)
{
    struct member *m = arg;
    struct world *w = m->world;
    repair_if_told(w, plait_gil_acquire(&w->gil, PLAIT_FOREVER));
    while (!SEEN(w->stop)) {
        update(m);
        if (plait_gil_should_yield(&w->gil) || t_below(&m->seed, 3) == 0)
            repair_if_told(w, plait_gil_yield(&w->gil));
    }
    return plait_gil_release(&w->gil);
}

static void hundreds_of_kills_leave_the_count_exact(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    long rounds = t_rounds(500);
    struct world *w = new_world(&t_mixed, seed);
    struct t_team team = {.n = WORKERS};
    for (int i = 0; i < WORKERS; i++)
        team.workers[i] = t_start_one(i < WORKERS - 1 ? PLAIT_PROCESS : PLAIT_THREAD,
                                      run_until_stopped, &w->members[i]);
    long kills = 0; /* some of the holder, however rarely it is hit */
    for (; kills < rounds || SEEN(w->told) == 0; kills++) {
        int victim = t_below(&seed, WORKERS - 1);
        t_dither(&seed, 300 * 1000);
        t_kill(team.workers[victim]);
        long so_far = all_done(w);
        UNTIL(all_done(w) >= so_far + 1);
        team.workers[victim] = t_start_one(PLAIT_PROCESS, run_until_stopped, &w->members[victim]);
    }
    TELL(w->stop, 1);
    t_join(&team);
    repair_if_told(w, plait_gil_acquire(&w->gil, PLAIT_FOREVER));
    CHECK_RC(plait_gil_release(&w->gil), 0);
    CHECK_EQ(w->a, w->b);
    CHECK_EQ(w->a, all_done(w));
    CHECK(w->told <= kills);
    print_message("%ld kills, %ld of the holder, %ld updates\n", kills, w->told, w->a);
    t_delete(&t_mixed, w);
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
        cmocka_unit_test(scripts_that_run_on_and_on_count_exactly),
        cmocka_unit_test(timeouts_and_cancellations_lose_nothing),
        cmocka_unit_test(hundreds_of_kills_leave_the_count_exact),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
