/* The bank under load. Invariants:
 *   - never more lent than there is, of any kind;
 *   - nobody hangs, though each takes what it needs in two steps, which with plain counting would soon be
 *     a deadlock;
 *   - what is left is exactly the total less what the living hold, whatever times out, is canceled or
 *     is killed meanwhile. */
#include "harness/harness.h"

enum { WORKERS = 6, KINDS = 2, HOLD_NS = 10 * 1000 };

static const int totals[KINDS] = {5, 3};

struct member {
    struct world *world;
    uint64_t seed;
    int has[KINDS]; /* as far as it knows for certain; told while it pauses */
    long turns, refused;
};

struct world {
    plait_bank bank;
    int lent[KINDS];
    int stop;
    int pause, paused;
    plait_event go_on;
    struct member members[WORKERS];
};

static struct world *new_world(const struct t_setting *s, uint64_t seed)
{
    struct world *w = t_new(s, sizeof *w);
    CHECK_RC(plait_bank_init(&w->bank, totals, KINDS), 0);
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

static void check_all_is_back(struct world *w)
{
    int left[KINDS];
    CHECK_RC(plait_bank_available(&w->bank, left), 0);
    for (int k = 0; k < KINDS; k++)
        CHECK_EQ(left[k], totals[k]);
}

/* --- no deaths --- */

static void count_in(struct member *m, const int *n)
{
    for (int k = 0; k < KINDS; k++)
        CHECK(ADD(m->world->lent[k], n[k]) <= totals[k]);
}

static void count_out(struct member *m, const int *n)
{
    for (int k = 0; k < KINDS; k++)
        CHECK(ADD(m->world->lent[k], -n[k]) >= 0);
}

/* A claim, and its parts. */
static void choose(struct member *m, int *claim, int *first, int *second)
{
    for (int k = 0; k < KINDS; k++) {
        claim[k] = t_below(&m->seed, totals[k] + 1);
        first[k] = t_below(&m->seed, claim[k] + 1);
        second[k] = t_below(&m->seed, claim[k] - first[k] + 1);
    }
}

static int take_in_two_steps(void *arg)
{
    struct member *m = arg;
    plait_bank *bank = &m->world->bank;
    for (long i = 0, n = t_rounds(2500); i < n; i++) {
        int claim[KINDS], first[KINDS], second[KINDS];
        choose(m, claim, first, second);
        CHECK_RC(plait_bank_declare(bank, claim), 0);
        CHECK_RC(plait_bank_acquire(bank, first, PLAIT_FOREVER), 0);
        count_in(m, first);
        t_dither(&m->seed, HOLD_NS);
        CHECK_RC(plait_bank_acquire(bank, second, PLAIT_FOREVER), 0);
        count_in(m, second);
        t_dither(&m->seed, HOLD_NS);
        count_out(m, first);
        CHECK_RC(plait_bank_release(bank, first), 0);
        count_out(m, second);
        CHECK_RC(plait_bank_leave(bank), 0);
        m->turns++;
    }
    return 0;
}

static void nobody_hangs_and_nothing_is_lent_twice(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    FOR_EACH_SETTING(s)
    {
        struct world *w = new_world(s, seed);
        struct t_team team;
        t_start_each(&team, s, WORKERS, take_in_two_steps, w->members, sizeof w->members[0]);
        t_join(&team);
        CHECK_EQ(all_turns(w), WORKERS * t_rounds(2500));
        check_all_is_back(w);
        t_delete(s, w);
    }
}

static bool take(struct member *m, const int *n, int64_t timeout)
{
    int rc = plait_bank_acquire(&m->world->bank, n, timeout);
    if (rc == PLAIT_ECANCELED)
        COUNT(m->refused);
    CHECK(rc == 0 || rc == PLAIT_ETIMEDOUT || rc == PLAIT_ECANCELED);
    if (rc == 0)
        count_in(m, n);
    return rc == 0;
}

static int take_if_in_time(void *arg)
{
    struct member *m = arg;
    plait_bank *bank = &m->world->bank;
    while (!SEEN(m->world->stop)) {
        int claim[KINDS], first[KINDS], second[KINDS];
        choose(m, claim, first, second);
        CHECK_RC(plait_bank_declare(bank, claim), 0);
        bool one = take(m, first, t_below(&m->seed, 200) * 1000);
        t_dither(&m->seed, HOLD_NS);
        if (take(m, second, t_below(&m->seed, 200) * 1000))
            count_out(m, second);
        if (one)
            count_out(m, first);
        CHECK_RC(plait_bank_leave(bank), 0);
        m->turns++;
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
        t_start_each(&team, s, WORKERS, take_if_in_time, w->members, sizeof w->members[0]);
        for (long i = 0, n = t_rounds(1000); i < n; i++) {
            CHECK_RC(plait_cancel(team.workers[t_below(&seed, WORKERS)]), 0);
            t_dither(&seed, 200 * 1000);
        }
        UNTIL(all_refused(w) > 0); /* each is heard when its worker sleeps next */
        TELL(w->stop, 1);
        t_join(&team);
        check_all_is_back(w);
        t_delete(s, w);
    }
}

/* --- one who wants all --- */

static int take_little(void *arg)
{
    struct member *m = arg;
    static const int little[KINDS] = {1, 1};
    CHECK_RC(plait_bank_declare(&m->world->bank, little), 0);
    while (!SEEN(m->world->stop)) {
        CHECK_RC(plait_bank_acquire(&m->world->bank, little, PLAIT_FOREVER), 0);
        t_dither(&m->seed, HOLD_NS);
        CHECK_RC(plait_bank_release(&m->world->bank, little), 0);
        TELL(m->turns, m->turns + 1);
    }
    return plait_bank_leave(&m->world->bank);
}

static int take_all_and_stop(void *arg)
{
    struct member *m = arg;
    CHECK_RC(plait_bank_declare(&m->world->bank, totals), 0);
    for (long i = 0, n = t_rounds(300); i < n; i++) {
        CHECK_RC(plait_bank_acquire(&m->world->bank, totals, PLAIT_FOREVER), 0);
        CHECK_RC(plait_bank_release(&m->world->bank, totals), 0);
        m->turns++;
    }
    TELL(m->world->stop, 1);
    return plait_bank_leave(&m->world->bank);
}

static void who_wants_all_is_not_starved_by_those_who_want_little(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    FOR_EACH_SETTING(s)
    {
        struct world *w = new_world(s, seed);
        struct t_team team = {.n = WORKERS};
        for (int i = 0; i < WORKERS; i++)
            team.workers[i] =
                t_start_one(s->kinds[i % 2], i ? take_little : take_all_and_stop, &w->members[i]);
        t_join(&team);
        CHECK_EQ(w->members[0].turns, t_rounds(300));
        check_all_is_back(w);
        t_delete(s, w);
    }
}

/* --- deaths --- */

static void pause_if_asked(struct member *m, const int *has)
{
    struct world *w = m->world;
    if (!SEEN(w->pause))
        return;
    for (int k = 0; k < KINDS; k++)
        m->has[k] = has[k];
    COUNT(w->paused);
    CHECK_RC(plait_event_wait(&w->go_on, PLAIT_FOREVER), 0);
    ADD(w->paused, -1);
}

/* Never holds more at a pause than lets the others come to theirs: one of each kind is the claim. */
static int live(void *arg)
{
    struct member *m = arg;
    plait_bank *bank = &m->world->bank;
    static const int none[KINDS] = {0, 0};
    while (!SEEN(m->world->stop)) {
        int claim[KINDS], first[KINDS], second[KINDS];
        choose(m, claim, first, second);
        CHECK_RC(plait_bank_declare(bank, claim), 0);
        pause_if_asked(m, none);
        CHECK_RC(plait_bank_acquire(bank, first, PLAIT_FOREVER), 0);
        t_sleep(t_below(&m->seed, HOLD_NS)); /* the killer wants the processor, too */
        if (plait_bank_acquire(bank, second, t_below(&m->seed, 300) * 1000) == 0)
            CHECK_RC(plait_bank_release(bank, second), 0);
        CHECK_RC(plait_bank_release(bank, first), 0);
        CHECK_RC(plait_bank_leave(bank), 0);
        TELL(m->turns, m->turns + 1);
    }
    return 0;
}

/* With all others at rest and holding nothing, and the dead one's returned. */
static void settle_account(struct world *w)
{
    TELL(w->pause, 1);
    UNTIL(SEEN(w->paused) == WORKERS - 1);
    check_all_is_back(w);
    TELL(w->pause, 0);
    CHECK_RC(plait_event_set(&w->go_on), 0);
    UNTIL(SEEN(w->paused) == 0);
    CHECK_RC(plait_event_clear(&w->go_on), 0);
}

static void hundreds_of_kills_lose_nothing(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    long rounds = t_rounds(600);
    struct world *w = new_world(&t_mixed, seed);
    struct t_team team = {.n = WORKERS};
    for (int i = 0; i < WORKERS; i++)
        team.workers[i] =
            t_start_one(i < WORKERS - 1 ? PLAIT_PROCESS : PLAIT_THREAD, live, &w->members[i]);
    for (long i = 0; i < rounds; i++) {
        int victim = t_below(&seed, WORKERS - 1);
        t_dither(&seed, 300 * 1000);
        t_kill(team.workers[victim]);
        settle_account(w);
        team.workers[victim] = t_start_one(PLAIT_PROCESS, live, &w->members[victim]);
    }
    TELL(w->stop, 1);
    t_join(&team);
    check_all_is_back(w);
    print_message("%ld kills, %ld turns\n", rounds, all_turns(w));
    t_delete(&t_mixed, w);
}

/* Each holds one of a kind for long; after a kill what is left is one more, exactly. */
static int hold_some(void *arg)
{
    struct member *m = arg;
    int all[KINDS], some[KINDS];
    for (int k = 0; k < KINDS; k++) {
        all[k] = totals[k];
        some[k] = 0;
    }
    CHECK_RC(plait_bank_declare(&m->world->bank, all), 0);
    some[t_below(&m->seed, KINDS)] = 1;
    CHECK_RC(plait_bank_acquire(&m->world->bank, some, PLAIT_FOREVER), 0);
    for (int k = 0; k < KINDS; k++)
        TELL(m->has[k], some[k]);
    TELL(m->turns, m->turns + 1);
    t_sleep_for_ever();
}

static void what_is_left_is_exact_after_each_death(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    struct world *w = new_world(&t_processes, seed);
    plait_worker worker = {0, 0};
    for (long i = 0, n = t_rounds(300); i < n; i++) {
        struct member *m = &w->members[0];
        int left[KINDS];
        long turns = SEEN(m->turns);
        m->has[0] = m->has[1] = 0;
        worker = t_start_one(PLAIT_PROCESS, hold_some, m);
        bool let_it_come = t_below(&seed, 2);
        if (let_it_come)
            UNTIL(SEEN(m->turns) > turns);
        else
            t_dither(&seed, 300 * 1000);
        CHECK_RC(plait_bank_available(&w->bank, left), 0);
        for (int k = 0; k < KINDS && let_it_come; k++)
            CHECK_EQ(left[k], totals[k] - SEEN(m->has[k]));
        t_kill(worker);
        check_all_is_back(w);
    }
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
        cmocka_unit_test(nobody_hangs_and_nothing_is_lent_twice),
        cmocka_unit_test(timeouts_and_cancellations_lose_nothing),
        cmocka_unit_test(who_wants_all_is_not_starved_by_those_who_want_little),
        cmocka_unit_test(hundreds_of_kills_lose_nothing),
        cmocka_unit_test(what_is_left_is_exact_after_each_death),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
