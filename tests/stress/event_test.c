/* The event under load. Invariants:
 *   - each set is heard by each worker that waits for it, exactly once per round, whoever is killed,
 *     canceled or times out meanwhile;
 *   - a setter that is killed has either set the event, and then all hear of it, or not. */
#include "harness/harness.h"

#include "park/park.h"

enum { WORKERS = 5 };

struct member {
    struct world *world;
    uint64_t seed;
    long heard; /* rounds */
    long refused;
};

struct world {
    plait_event turn[2]; /* of even and of odd rounds */
    plait_event go, never;
    long round;
    long data; /* plain: ordered by the events */
    int stop;
    struct member members[WORKERS];
};

static struct world *new_world(const struct t_setting *s, uint64_t seed)
{
    struct world *w = t_new(s, sizeof *w);
    for (int i = 0; i < WORKERS; i++)
        w->members[i] = (struct member){.world = w, .seed = seed + (uint64_t)i};
    return w;
}

static bool all_heard(const struct world *w, long round)
{
    for (int i = 0; i < WORKERS; i++)
        if (SEEN(w->members[i].heard) < round)
            return false;
    return true;
}

/* --- no deaths --- */

static int answer(void *arg)
{
    struct world *w = arg;
    for (long i = 0, n = t_rounds(20000); i < n; i++) {
        CHECK_RC(plait_event_wait(&w->turn[1], PLAIT_FOREVER), 0);
        CHECK_RC(plait_event_clear(&w->turn[1]), 0);
        CHECK_EQ(w->data, 2 * i + 1);
        w->data++;
        CHECK_RC(plait_event_set(&w->turn[0]), 0);
    }
    return 0;
}

static void many_rounds_of_ping_pong(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct world *w = new_world(s, 0);
        plait_worker other = t_start_one(s->kinds[0], answer, w);
        for (long i = 0, n = t_rounds(20000); i < n; i++) {
            w->data++;
            CHECK_RC(plait_event_set(&w->turn[1]), 0);
            CHECK_RC(plait_event_wait(&w->turn[0], plait_seconds(T_PATIENCE_S)), 0);
            CHECK_RC(plait_event_clear(&w->turn[0]), 0);
            CHECK_EQ(w->data, 2 * i + 2);
        }
        CHECK_EQ(t_join_one(other), 0);
        t_delete(s, w);
    }
}

/* Waits for each round from the next one on. */
static int hear_every_round(void *arg)
{
    struct member *m = arg;
    struct world *w = m->world;
    for (long i = SEEN(m->heard) + 1; !SEEN(w->stop); i++) {
        CHECK_RC(plait_event_wait(&w->turn[i % 2], PLAIT_FOREVER), 0);
        if (SEEN(w->stop))
            break;
        CHECK_EQ(SEEN(w->round), i); /* not before it, and not after the next */
        TELL(m->heard, i);
    }
    return 0;
}

static void begin_round(struct world *w, long i)
{
    CHECK_RC(plait_event_clear(&w->turn[(i + 1) % 2]), 0);
    TELL(w->round, i);
    CHECK_RC(plait_event_set(&w->turn[i % 2]), 0);
}

static void end(struct world *w, struct t_team *team)
{
    TELL(w->stop, 1);
    CHECK_RC(plait_event_set(&w->turn[0]), 0);
    CHECK_RC(plait_event_set(&w->turn[1]), 0);
    t_join(team);
}

static void every_round_is_heard_by_all(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct world *w = new_world(s, 0);
        struct t_team team;
        t_start_each(&team, s, WORKERS, hear_every_round, w->members, sizeof w->members[0]);
        for (long i = 1, n = t_rounds(2000); i <= n; i++) {
            begin_round(w, i);
            UNTIL(all_heard(w, i));
        }
        end(w, &team);
        t_delete(s, w);
    }
}

static int hear_pulses(void *arg)
{
    struct member *m = arg;
    while (!SEEN(m->world->stop)) {
        CHECK_RC(plait_event_wait(&m->world->go, PLAIT_FOREVER), 0);
        COUNT(m->heard);
    }
    return 0;
}

/* Set and cleared at once, when all are known to wait. One that is quick may hear it twice. */
static void a_pulse_is_heard_by_all_who_wait(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct world *w = new_world(s, 0);
        struct t_team team;
        long before[WORKERS];
        t_start_each(&team, s, WORKERS, hear_pulses, w->members, sizeof w->members[0]);
        for (long i = 1, n = t_rounds(200); i <= n; i++) {
            for (int k = 0; k < WORKERS; k++) {
                UNTIL_WAITS(team.workers[k], PL_WAIT_EVENT);
                before[k] = SEEN(w->members[k].heard);
            }
            TELL(w->stop, i == n);
            CHECK_RC(plait_event_set(&w->go), 0);
            CHECK_RC(plait_event_clear(&w->go), 0);
            for (int k = 0; k < WORKERS; k++)
                UNTIL(SEEN(w->members[k].heard) > before[k]);
        }
        t_join(&team);
        t_delete(s, w);
    }
}

/* Short timeouts all the time; a round is heard all the same. */
static int hear_with_short_timeouts(void *arg)
{
    struct member *m = arg;
    struct world *w = m->world;
    for (long i = 1, n = t_rounds(1000); i <= n; i++) {
        int rc;
        do {
            rc = plait_event_wait(&w->turn[i % 2], t_below(&m->seed, 100) * 1000);
            m->refused += rc == PLAIT_ECANCELED;
            CHECK(rc == 0 || rc == PLAIT_ETIMEDOUT || rc == PLAIT_ECANCELED);
        } while (rc < 0);
        CHECK_EQ(SEEN(w->round), i);
        TELL(m->heard, i);
    }
    return 0;
}

static void timeouts_and_cancellations_lose_no_round(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    FOR_EACH_SETTING(s)
    {
        struct world *w = new_world(s, seed);
        struct t_team team;
        t_start_each(&team, s, WORKERS, hear_with_short_timeouts, w->members, sizeof w->members[0]);
        for (long i = 1, n = t_rounds(1000); i <= n; i++) {
            t_dither(&seed, 100 * 1000);
            plait_cancel(team.workers[t_below(&seed, WORKERS)]);
            begin_round(w, i);
            UNTIL(all_heard(w, i));
        }
        t_join(&team);
        t_delete(s, w);
    }
}

/* In each round it is asked to stop once, and once there is something to hear: it gets both. */
static int hear_of_both(void *arg)
{
    struct world *w = arg;
    for (long i = 1, n = t_rounds(1000); i <= n; i++) {
        int rc = plait_event_wait(&w->turn[i % 2], plait_seconds(T_PATIENCE_S));
        CHECK(rc == 0 || rc == PLAIT_ECANCELED);
        if (rc == 0) /* then the request is still to come */
            CHECK_RC(plait_event_wait(&w->never, plait_seconds(T_PATIENCE_S)), PLAIT_ECANCELED);
        else
            CHECK_RC(plait_event_wait(&w->turn[i % 2], plait_seconds(T_PATIENCE_S)), 0);
        CHECK_EQ(plait_uncancel(), 0);
        TELL(w->members[0].heard, i);
    }
    return 0;
}

struct canceler {
    plait_worker whom;
    struct world *world;
    uint64_t seed;
};

static int cancel_in_each_round(void *arg)
{
    struct canceler *c = arg;
    for (long i = 1, n = t_rounds(1000); i <= n; i++) {
        struct t_poll poll = {0};
        for (int64_t spin = plait_now() + plait_ms(1); SEEN(c->world->data) < i;)
            if (plait_now() > spin)
                t_poll_again(&poll, __FILE__, __LINE__, "the next round begins");
            else
                t_give_way();
        t_dither(&c->seed, 60 * 1000);
        CHECK_RC(plait_cancel(c->whom), 0);
    }
    return 0;
}

static void a_request_to_stop_that_meets_a_set_is_heard_too(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    FOR_EACH_SETTING(s)
    {
        struct world *w = new_world(s, seed);
        struct canceler *c = t_new(s, sizeof *c);
        plait_worker waiter = t_start_one(s->kinds[0], hear_of_both, w);
        *c = (struct canceler){waiter, w, seed};
        plait_worker canceler = t_start_one(s->kinds[1], cancel_in_each_round, c);
        for (long i = 1, n = t_rounds(1000); i <= n; i++) {
            TELL(w->data, i);
            t_dither(&seed, 60 * 1000);
            begin_round(w, i);
            UNTIL(SEEN(w->members[0].heard) >= i);
        }
        CHECK_EQ(t_join_one(waiter), 0);
        CHECK_EQ(t_join_one(canceler), 0);
        t_delete(s, c);
        t_delete(s, w);
    }
}

/* --- deaths --- */

static void a_thousand_killed_waiters_keep_no_round_from_the_others(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    struct world *w = new_world(&t_mixed, seed);
    struct t_team team = {.n = WORKERS};
    for (int i = 0; i < WORKERS; i++)
        team.workers[i] = t_start_one(i < WORKERS - 1 ? PLAIT_PROCESS : PLAIT_THREAD,
                                      hear_every_round, &w->members[i]);
    for (long i = 1, n = t_rounds(1000); i <= n; i++) {
        int victim = t_below(&seed, WORKERS - 1);
        bool before = t_below(&seed, 2);
        if (before)
            CHECK_RC(plait_kill(team.workers[victim]), 0);
        begin_round(w, i);
        t_dither(&seed, 100 * 1000);
        if (!before)
            CHECK_RC(plait_kill(team.workers[victim]), 0);
        CHECK_EQ(t_join_one(team.workers[victim]), -9);
        TELL(w->members[victim].heard, i);
        UNTIL(all_heard(w, i));
        team.workers[victim] = t_start_one(PLAIT_PROCESS, hear_every_round, &w->members[victim]);
    }
    end(w, &team);
    t_delete(&t_mixed, w);
}

static int set_when_told(void *arg)
{
    struct member *m = arg;
    CHECK_RC(plait_event_wait(&m->world->go, PLAIT_FOREVER), 0);
    t_dither(&m->seed, 100 * 1000);
    TELL(m->world->round, m->world->data);
    CHECK_RC(plait_event_set(&m->world->turn[m->world->data % 2]), 0);
    return 0;
}

/* All wait while the setter is killed in the middle of it. If the event is set, they hear of it with
 * nobody's help. */
static void a_killed_setter_has_told_all_or_none(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    struct world *w = new_world(&t_mixed, seed);
    struct t_team team;
    long told = 0, rounds = t_rounds(500);
    t_start_each(&team, &t_mixed, WORKERS - 1, hear_every_round, w->members, sizeof w->members[0]);
    for (long i = 1; i <= rounds; i++) {
        struct member *m = &w->members[WORKERS - 1];
        m->seed = t_random(&seed);
        m->heard = i;
        CHECK_RC(plait_event_clear(&w->turn[(i + 1) % 2]), 0);
        TELL(w->data, i);
        CHECK_RC(plait_event_clear(&w->go), 0);
        plait_worker setter = t_start_one(PLAIT_PROCESS, set_when_told, m);
        UNTIL_WAITS(setter, PL_WAIT_EVENT);
        CHECK_RC(plait_event_set(&w->go), 0);
        t_dither(&seed, 250 * 1000);
        plait_kill(setter);
        int status = t_join_one(setter);
        CHECK(status == 0 || status == -9);
        if (plait_event_is_set(&w->turn[i % 2]))
            told++;
        else
            begin_round(w, i);
        UNTIL(all_heard(w, i));
    }
    end(w, &team);
    print_message("%ld of %ld setters had told\n", told, rounds);
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
        cmocka_unit_test(many_rounds_of_ping_pong),
        cmocka_unit_test(every_round_is_heard_by_all),
        cmocka_unit_test(a_pulse_is_heard_by_all_who_wait),
        cmocka_unit_test(timeouts_and_cancellations_lose_no_round),
        cmocka_unit_test(a_request_to_stop_that_meets_a_set_is_heard_too),
        cmocka_unit_test(a_thousand_killed_waiters_keep_no_round_from_the_others),
        cmocka_unit_test(a_killed_setter_has_told_all_or_none),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
