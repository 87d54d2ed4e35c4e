/* The semaphore under load. Invariants:
 *   - never more inside than there are permits;
 *   - permits taken and given balance exactly, whatever times out, is canceled or is killed meanwhile:
 *     a death costs the one permit that the dead worker held, or none;
 *   - after each death the others go on. */
#include "harness/harness.h"

#include "park/park.h"

#include <stdlib.h>

enum { WORKERS = 6, PERMITS = 3, INSIDE_NS = 30 * 1000 };

struct member {
    struct world *world;
    uint64_t seed;
    int inside; /* has a permit for certain */
    long turns; /* times it was inside */
    long refused;
};

struct world {
    plait_semaphore slots;
    int inside;
    int stop;
    int pause, paused;
    plait_event go_on;
    long permits;
    struct member members[WORKERS];
};

static struct world *new_world(const struct t_setting *s, uint64_t seed)
{
    struct world *w = t_new(s, sizeof *w);
    CHECK_RC(plait_semaphore_init(&w->slots, PERMITS, PERMITS), 0);
    for (int i = 0; i < WORKERS; i++)
        w->members[i] = (struct member){.world = w, .seed = seed + (uint64_t)i};
    return w;
}

static long all_turns(const struct world *w)
{
    long sum = 0;
    for (int i = 0; i < WORKERS; i++)
        sum += SEEN(w->members[i].turns);
    return sum;
}

/* --- no deaths --- */

static void be_inside(struct member *m)
{
    struct world *w = m->world;
    CHECK(COUNT(w->inside) <= PERMITS);
    if (t_below(&m->seed, 4) == 0)
        t_dither(&m->seed, INSIDE_NS);
    ADD(w->inside, -1);
    TELL(m->turns, m->turns + 1);
}

static int go_in_and_out(void *arg)
{
    struct member *m = arg;
    for (long i = 0, n = t_rounds(10000); i < n; i++) {
        CHECK_RC(plait_semaphore_acquire(&m->world->slots, PLAIT_FOREVER), 0);
        be_inside(m);
        CHECK_RC(plait_semaphore_release(&m->world->slots, 1), 0);
    }
    return 0;
}

static void never_more_inside_than_permits(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    FOR_EACH_SETTING(s)
    {
        struct world *w = new_world(s, seed);
        struct t_team team;
        t_start_each(&team, s, WORKERS, go_in_and_out, w->members, sizeof w->members[0]);
        t_join(&team);
        CHECK_EQ(w->inside, 0);
        CHECK_EQ(all_turns(w), WORKERS * t_rounds(10000));
        CHECK_EQ(plait_semaphore_value(&w->slots), PERMITS);
        CHECK_RC(plait_semaphore_release(&w->slots, 1), PLAIT_EOVERFLOW);
        t_delete(s, w);
    }
}

static int go_in_if_in_time(void *arg)
{
    struct member *m = arg;
    struct world *w = m->world;
    while (!SEEN(w->stop)) {
        int rc = plait_semaphore_acquire(&w->slots, t_below(&m->seed, 100) * 1000);
        if (rc == PLAIT_ECANCELED)
            COUNT(m->refused);
        CHECK(rc == 0 || rc == PLAIT_ETIMEDOUT || rc == PLAIT_ECANCELED);
        if (rc < 0)
            continue;
        CHECK(COUNT(w->inside) <= PERMITS);
        t_dither(&m->seed, INSIDE_NS);
        ADD(w->inside, -1);
        TELL(m->turns, m->turns + 1);
        CHECK_RC(plait_semaphore_release(&w->slots, 1), 0);
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

static void timeouts_and_cancellations_lose_no_permit(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    FOR_EACH_SETTING(s)
    {
        struct world *w = new_world(s, seed);
        struct t_team team;
        t_start_each(&team, s, WORKERS, go_in_if_in_time, w->members, sizeof w->members[0]);
        for (long i = 0, n = t_rounds(800); i < n; i++) {
            CHECK_RC(plait_cancel(team.workers[t_below(&seed, WORKERS)]), 0);
            t_dither(&seed, 200 * 1000);
        }
        UNTIL(all_refused(w) > 0); /* each is heard when its worker sleeps next */
        TELL(w->stop, 1);
        t_join(&team);
        CHECK_EQ(plait_semaphore_value(&w->slots), PERMITS);
        t_delete(s, w);
    }
}

/* Takes what is given; ends when it has its share. */
static int take_share(void *arg)
{
    struct member *m = arg;
    for (long i = 0, n = t_rounds(3000); i < n; i++) {
        CHECK_RC(plait_semaphore_acquire(&m->world->slots, plait_seconds(T_PATIENCE_S)), 0);
        COUNT(m->turns);
    }
    return 0;
}

/* Were one wake-up lost, the last ones would sleep although there are permits for them. */
static void release_of_many_wakes_as_many(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    FOR_EACH_SETTING(s)
    {
        struct world *w = new_world(s, seed);
        struct t_team team;
        CHECK_RC(plait_semaphore_init(&w->slots, 0, 0), 0);
        t_start_each(&team, s, WORKERS, take_share, w->members, sizeof w->members[0]);
        long left = WORKERS * t_rounds(3000);
        while (left > 0) {
            int n = 1 + t_below(&seed, WORKERS);
            n = n < left ? n : (int)left;
            CHECK_RC(plait_semaphore_release(&w->slots, n), 0);
            left -= n;
            if (t_below(&seed, 8) == 0)
                t_dither(&seed, 100 * 1000); /* let them fall asleep now and then */
        }
        t_join(&team);
        CHECK_EQ(plait_semaphore_value(&w->slots), 0);
        CHECK_EQ(all_turns(w), WORKERS * t_rounds(3000));
        t_delete(s, w);
    }
}

/* --- deaths --- */

static void pause_if_asked(struct world *w)
{
    if (!SEEN(w->pause))
        return;
    COUNT(w->paused);
    CHECK_RC(plait_event_wait(&w->go_on, PLAIT_FOREVER), 0);
    ADD(w->paused, -1);
}

static int go_in_and_out_until_stopped(void *arg)
{
    struct member *m = arg;
    struct world *w = m->world;
    while (!SEEN(w->stop)) {
        pause_if_asked(w);
        CHECK_RC(plait_semaphore_acquire(&w->slots, PLAIT_FOREVER), 0);
        TELL(m->inside, 1);
        t_sleep(t_below(&m->seed, INSIDE_NS)); /* the killer wants the processor, too */
        TELL(m->turns, m->turns + 1);
        TELL(m->inside, 0);
        CHECK_RC(plait_semaphore_release(&w->slots, 1), 0);
    }
    return 0;
}

/* With all others outside: what did the death cost? */
static long settle_account(struct world *w, const struct member *dead)
{
    TELL(w->pause, 1);
    UNTIL(SEEN(w->paused) == WORKERS - 1);
    long lost = PERMITS - plait_semaphore_value(&w->slots);
    CHECK(lost == 0 || lost == 1);
    CHECK(lost == 1 || !dead->inside);
    if (lost)
        CHECK_RC(plait_semaphore_release(&w->slots, 1), 0);
    CHECK_RC(plait_semaphore_release(&w->slots, 1), PLAIT_EOVERFLOW);
    TELL(w->pause, 0);
    CHECK_RC(plait_event_set(&w->go_on), 0);
    UNTIL(SEEN(w->paused) == 0);
    CHECK_RC(plait_event_clear(&w->go_on), 0);
    return lost;
}

static void a_thousand_kills_cost_what_the_dead_held(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    long rounds = t_rounds(1000), lost = 0;
    struct world *w = new_world(&t_mixed, seed);
    struct t_team team = {.n = WORKERS};
    for (int i = 0; i < WORKERS; i++)
        team.workers[i] = t_start_one(i < WORKERS - 1 ? PLAIT_PROCESS : PLAIT_THREAD,
                                      go_in_and_out_until_stopped, &w->members[i]);
    for (long i = 0; i < rounds; i++) {
        int victim = t_below(&seed, WORKERS - 1);
        struct member *m = &w->members[victim];
        t_dither(&seed, 300 * 1000);
        t_kill(team.workers[victim]);
        lost += settle_account(w, m);
        m->inside = 0;
        team.workers[victim] = t_start_one(PLAIT_PROCESS, go_in_and_out_until_stopped, m);
    }
    TELL(w->stop, 1);
    t_join(&team);
    CHECK_EQ(plait_semaphore_value(&w->slots), PERMITS);
    CHECK(lost > 0);
    print_message("%ld kills, %ld with a permit, %ld turns\n", rounds, lost, all_turns(w));
    t_delete(&t_mixed, w);
}

/* Hardly any permits: the dead have been waiting. They cost nothing, and nobody misses a wake-up. */
static int wait_for_permits(void *arg)
{
    struct member *m = arg;
    for (;;) {
        CHECK_RC(plait_semaphore_acquire(&m->world->slots, PLAIT_FOREVER), 0);
        COUNT(m->turns);
    }
    return 0;
}

static void killed_waiters_swallow_no_permit(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    struct world *w = new_world(&t_processes, seed);
    struct t_team team;
    long rounds = t_rounds(1000), given = 0, lost = 0;
    CHECK_RC(plait_semaphore_init(&w->slots, 0, 0), 0);
    t_start_each(&team, &t_processes, WORKERS, wait_for_permits, w->members, sizeof w->members[0]);
    for (long i = 0; i < rounds; i++) {
        int victim = t_below(&seed, WORKERS), n = 1 + t_below(&seed, 3);
        CHECK_RC(plait_semaphore_release(&w->slots, n), 0);
        given += n;
        t_dither(&seed, 100 * 1000);
        t_kill(team.workers[victim]);
        team.workers[victim] = t_start_one(PLAIT_PROCESS, wait_for_permits, &w->members[victim]);
        for (int k = 0; k < WORKERS; k++)
            UNTIL_WAITS(team.workers[k], PL_WAIT_SEMAPHORE);
        CHECK_EQ(plait_semaphore_value(&w->slots), 0);
        long now_lost = given - all_turns(w); /* it may have taken one and not have said so */
        CHECK(now_lost == lost || now_lost == lost + 1);
        lost = now_lost;
    }
    for (int i = 0; i < WORKERS; i++)
        t_kill(team.workers[i]);
    CHECK(lost <= rounds / 4); /* not as a rule */
    print_message("%ld kills, %ld of them just after acquire\n", rounds, lost);
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
        cmocka_unit_test(never_more_inside_than_permits),
        cmocka_unit_test(timeouts_and_cancellations_lose_no_permit),
        cmocka_unit_test(release_of_many_wakes_as_many),
        cmocka_unit_test(a_thousand_kills_cost_what_the_dead_held),
        cmocka_unit_test(killed_waiters_swallow_no_permit),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
