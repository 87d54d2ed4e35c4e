/* The barrier under load. Invariants:
 *   - each round has each index once, and runs the action once, before anybody is let go; what was
 *     written before is seen after;
 *   - whatever times out, is canceled, aborts or resets meanwhile: as many succeed as rounds were completed
 *     times parties;
 *   - after a kill all others are told, and have completed the same rounds. */
#include "harness/harness.h"

#include "park/park.h"

#include <stdlib.h>

enum { WORKERS = 4, CROWD = 6, PARTIES = 3 };

struct member {
    struct world *world;
    uint64_t seed;
    int number;
    long rounds;    /* completed */
    long completed; /* of these, as the one who ran the action */
    int epoch;      /* has seen so many ends */
};

struct world {
    plait_barrier barrier;
    long value[WORKERS]; /* plain: ordered by the barrier */
    uint32_t tally;      /* who had which index in the last round, a byte each */
    long rounds;         /* plain: written by the action */
    int stop, epoch;
    struct member members[CROWD];
};

static struct world *new_world(const struct t_setting *s, uint64_t seed, int parties,
                               plait_function *action)
{
    struct world *w = t_new(s, sizeof *w);
    plait_barrier_options options = {.action = action, .arg = w};
    CHECK_RC(plait_barrier_init(&w->barrier, parties, &options), 0);
    for (int i = 0; i < CROWD; i++)
        w->members[i] = (struct member){.world = w, .seed = seed + (uint64_t)i, .number = i};
    return w;
}

/* --- rounds --- */

/* All have come to this round, so all have told of the last one. */
static int check_last_round(void *arg)
{
    struct world *w = arg;
    CHECK_EQ(SEEN(w->tally), w->rounds ? 0x01010101 : 0);
    TELL(w->tally, 0);
    w->rounds++;
    return 0;
}

static int go_through_rounds(void *arg)
{
    struct member *m = arg;
    struct world *w = m->world;
    for (long round = 1, n = t_rounds(4000); round <= n; round++) {
        if (t_below(&m->seed, 64) == 0)
            t_dither(&m->seed, 30 * 1000);
        w->value[m->number] = round;
        int index = plait_barrier_wait(&w->barrier, PLAIT_FOREVER);
        CHECK(index >= 0 && index < WORKERS);
        for (int i = 0; i < WORKERS; i++)
            CHECK_EQ(w->value[i], round);
        CHECK_EQ(w->rounds, 2 * round - 1);
        ADD(w->tally, 1u << 8 * index);
        index = plait_barrier_wait(&w->barrier, PLAIT_FOREVER); /* all have read */
        CHECK(index >= 0 && index < WORKERS);
        ADD(w->tally, 1u << 8 * index);
    }
    return 0;
}

static void rounds_do_not_mix(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    FOR_EACH_SETTING(s)
    {
        struct world *w = new_world(s, seed, WORKERS, check_last_round);
        struct t_team team;
        t_start_each(&team, s, WORKERS, go_through_rounds, w->members, sizeof w->members[0]);
        t_join(&team);
        CHECK_EQ(w->rounds, 2 * t_rounds(4000));
        CHECK_EQ(w->tally, 0x01010101);
        t_delete(s, w);
    }
}

/* --- everything at once --- */

static int count_round(void *arg)
{
    struct world *w = arg;
    w->rounds++; /* plain: one action at a time */
    return 0;
}

static void note_result(struct member *m, int rc)
{
    CHECK(rc < PARTIES);
    if (rc >= 0)
        m->rounds++;
    if (rc == PARTIES - 1)
        COUNT(m->completed);
    if (rc < 0)
        CHECK(rc == PLAIT_EBROKEN || rc == PLAIT_ETIMEDOUT || rc == PLAIT_ECANCELED);
    if (rc < 0 && t_below(&m->seed, 3) == 0)
        CHECK_RC(plait_barrier_reset(&m->world->barrier), 0);
}

static int meet_somehow(void *arg)
{
    struct member *m = arg;
    struct world *w = m->world;
    while (!SEEN(w->stop)) {
        int64_t timeout = t_below(&m->seed, 8) ? PLAIT_FOREVER : t_below(&m->seed, 200) * 1000;
        note_result(m, plait_barrier_wait(&w->barrier, timeout));
        if (t_below(&m->seed, 50) == 0)
            CHECK_RC(plait_barrier_abort(&w->barrier), 0);
    }
    return 0;
}

static long all_completed(const struct world *w)
{
    long sum = 0;
    for (int i = 0; i < CROWD; i++)
        sum += SEEN(w->members[i].completed);
    return sum;
}

static bool any_alive(const struct t_team *team)
{
    for (int i = 0; i < team->n; i++)
        if (plait_is_alive(team->workers[i]))
            return true;
    return false;
}

static void whatever_happens_rounds_are_complete_for_all_or_none(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    FOR_EACH_SETTING(s)
    {
        struct world *w = new_world(s, seed, PARTIES, count_round);
        struct t_team team;
        long rounds = 0;
        t_start_each(&team, s, CROWD, meet_somehow, w->members, sizeof w->members[0]);
        for (long i = 0, n = t_rounds(2000); i < n; i++) {
            int what = t_below(&seed, 4);
            if (what == 0)
                CHECK_RC(plait_cancel(team.workers[t_below(&seed, CROWD)]), 0);
            else if (what == 1)
                CHECK_RC(plait_barrier_abort(&w->barrier), 0);
            else
                CHECK_RC(plait_barrier_reset(&w->barrier), 0);
            t_dither(&seed, 100 * 1000);
        }
        UNTIL(all_completed(w) > 0); /* however rarely they are left alone for long enough */
        TELL(w->stop, 1);
        while (any_alive(&team)) {
            CHECK_RC(plait_barrier_abort(&w->barrier), 0);
            t_give_way();
        }
        t_join(&team);
        for (int i = 0; i < CROWD; i++)
            rounds += w->members[i].rounds;
        CHECK_EQ(rounds, all_completed(w) * PARTIES);
        CHECK(w->rounds >= all_completed(w));
        t_delete(s, w);
    }
}

/* --- deaths --- */

/* Until it is broken; then stands by until the world is whole again. */
static int meet_until_broken(void *arg)
{
    struct member *m = arg;
    struct world *w = m->world;
    while (!SEEN(w->stop)) {
        int rc = plait_barrier_wait(&w->barrier, PLAIT_FOREVER);
        if (rc >= 0) {
            TELL(m->rounds, m->rounds + 1);
            continue;
        }
        CHECK_RC(rc, PLAIT_EBROKEN);
        TELL(m->epoch, m->epoch + 1);
        UNTIL(SEEN(w->epoch) >= m->epoch);
    }
    return 0;
}

static void a_kill_is_told_to_all_others(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    struct world *w = new_world(&t_mixed, seed, WORKERS, count_round);
    struct t_team team = {.n = WORKERS};
    long n = t_rounds(400), inside = 0;
    for (int i = 0; i < WORKERS; i++) /* the last one is a thread */
        team.workers[i] = t_start_one(i < WORKERS - 1 ? PLAIT_PROCESS : PLAIT_THREAD,
                                      meet_until_broken, &w->members[i]);
    for (long epoch = 1; epoch <= n; epoch++) {
        int victim = t_below(&seed, WORKERS - 1);
        t_dither(&seed, 500 * 1000);
        CHECK_EQ(plait_barrier_broken(&w->barrier), 0); /* the last death is forgotten */
        t_kill(team.workers[victim]);
        if (plait_barrier_broken(&w->barrier))
            inside++;
        else /* it died on its way: nobody can know */
            CHECK_RC(plait_barrier_abort(&w->barrier), 0);
        for (int i = 0; i < WORKERS; i++)
            if (i != victim)
                UNTIL(SEEN(w->members[i].epoch) == epoch);
        int one = victim == 0 ? 1 : 0; /* those who live have completed the same rounds */
        for (int i = 0; i < WORKERS; i++)
            if (i != victim)
                CHECK_EQ(w->members[i].rounds, w->members[one].rounds);
        w->members[victim].rounds = w->members[one].rounds;
        w->members[victim].epoch = (int)epoch;
        CHECK_RC(plait_barrier_reset(&w->barrier), 0);
        TELL(w->epoch, (int)epoch);
        team.workers[victim] = t_start_one(PLAIT_PROCESS, meet_until_broken, &w->members[victim]);
    }
    TELL(w->stop, 1);
    CHECK_RC(plait_barrier_abort(&w->barrier), 0);
    TELL(w->epoch, (int)n + 1);
    t_join(&team);
    CHECK(inside > 0);
    print_message("%ld kills, %ld of them inside, %ld rounds\n", n, inside, w->rounds);
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
        cmocka_unit_test(rounds_do_not_mix),
        cmocka_unit_test(whatever_happens_rounds_are_complete_for_all_or_none),
        cmocka_unit_test(a_kill_is_told_to_all_others),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
