/* The latch under load. Invariants:
 *   - whoever is let through sees what all wrote before they counted down;
 *   - at 0 nobody sleeps, whatever times out, is canceled or is killed meanwhile. */
#include "harness/harness.h"

#include "park/park.h"

#include <stdlib.h>

enum { WORKERS = 5, LATCHES = 2000 };

struct member {
    struct world *world;
    uint64_t seed;
    int number;
    long at; /* latches it is through */
};

struct world {
    plait_latch latches[LATCHES];
    long value[WORKERS]; /* plain: ordered by the latches */
    int stop;
    struct member members[WORKERS];
};

static struct world *new_world(const struct t_setting *s, uint64_t seed, int count)
{
    struct world *w = t_new(s, sizeof *w);
    for (int i = 0; i < LATCHES; i++)
        CHECK_RC(plait_latch_init(&w->latches[i], count), 0);
    for (int i = 0; i < WORKERS; i++)
        w->members[i] = (struct member){.world = w, .seed = seed + (uint64_t)i, .number = i};
    return w;
}

/* By turns in one call and in two. */
static void meet(struct member *m, plait_latch *latch)
{
    if (t_below(&m->seed, 2)) {
        CHECK_RC(plait_latch_arrive_and_wait(latch, PLAIT_FOREVER), 0);
        return;
    }
    CHECK_RC(plait_latch_count_down(latch, 1), 0);
    if (t_below(&m->seed, 32) == 0)
        t_dither(&m->seed, 20 * 1000);
    CHECK_RC(plait_latch_wait(latch, PLAIT_FOREVER), 0);
}

static int meet_at_each(void *arg)
{
    struct member *m = arg;
    struct world *w = m->world;
    for (long i = 0; i + 1 < LATCHES; i += 2) {
        w->value[m->number] = i + 1;
        meet(m, &w->latches[i]);
        for (int k = 0; k < WORKERS; k++)
            CHECK_EQ(w->value[k], i + 1);
        meet(m, &w->latches[i + 1]); /* all have read */
    }
    return 0;
}

static void whoever_is_through_sees_all(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    FOR_EACH_SETTING(s)
    {
        struct world *w = new_world(s, seed, WORKERS);
        struct t_team team;
        t_start_each(&team, s, WORKERS, meet_at_each, w->members, sizeof w->members[0]);
        t_join(&team);
        for (int i = 0; i < LATCHES; i++)
            CHECK_EQ(plait_latch_count(&w->latches[i]), 0);
        t_delete(s, w);
    }
}

/* Waits for one latch after the other, somehow. */
static int wait_for_each(void *arg)
{
    struct member *m = arg;
    struct world *w = m->world;
    for (long i = SEEN(m->at); i < LATCHES; i++) {
        int rc;
        do {
            int64_t timeout = t_below(&m->seed, 4) ? PLAIT_FOREVER : t_below(&m->seed, 100) * 1000;
            rc = plait_latch_wait(&w->latches[i], timeout);
            CHECK(rc == 0 || rc == PLAIT_ETIMEDOUT || rc == PLAIT_ECANCELED);
        } while (rc < 0);
        CHECK(__atomic_load_n(&w->value[0], __ATOMIC_RELAXED) > i);
        TELL(m->at, i + 1);
    }
    return 0;
}

static bool all_are_at(const struct world *w, long at)
{
    for (int i = 0; i < WORKERS; i++)
        if (SEEN(w->members[i].at) < at)
            return false;
    return true;
}

/* One latch at a time: its waiters are canceled and, if `kills`, killed, while it is opened. */
static void open_each(const struct t_setting *s, uint64_t seed, bool kills)
{
    struct world *w = new_world(s, seed, 1);
    struct t_team team;
    t_start_each(&team, s, WORKERS, wait_for_each, w->members, sizeof w->members[0]);
    for (long i = 0; i < LATCHES; i++) {
        int one = t_below(&seed, WORKERS);
        t_dither(&seed, 60 * 1000);
        if (!kills && t_below(&seed, 4) == 0)
            CHECK(plait_cancel(team.workers[one]) == 0 || all_are_at(w, i));
        __atomic_store_n(&w->value[0], i + 1, __ATOMIC_RELAXED);
        CHECK_RC(plait_latch_count_down(&w->latches[i], 1), 0);
        if (kills && i % 16 == 0 && i + 1 < LATCHES) {
            t_kill(team.workers[one]);
            team.workers[one] = t_start_one(PLAIT_PROCESS, wait_for_each, &w->members[one]);
        }
        UNTIL(all_are_at(w, i + 1));
    }
    t_join(&team);
    t_delete(s, w);
}

static void timeouts_and_cancellations_lose_no_wake_up(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    FOR_EACH_SETTING(s)
    open_each(s, seed, false);
}

static void kills_lose_no_wake_up(void **state)
{
    (void)state;
    open_each(&t_processes, t_seed(), true);
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
        cmocka_unit_test(whoever_is_through_sees_all),
        cmocka_unit_test(timeouts_and_cancellations_lose_no_wake_up),
        cmocka_unit_test(kills_lose_no_wake_up),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
