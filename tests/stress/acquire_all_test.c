/* plait_acquire_all under load: philosophers at a table. Invariants:
 *   - a fork is in one hand: what is counted under a pair of locks, in plain memory, is exact;
 *   - all go on: nobody starves or hangs, in whatever order each names its forks, whatever times out,
 *     is canceled or is killed meanwhile;
 *   - a call that fails holds nothing; a death is told exactly to those who take over. */
#include "harness/harness.h"

enum { SEATS = 5, EACH = 4000, EAT_NS = 10 * 1000 };

/* One fork, and what it guards: equal, but in the middle of a meal. */
struct fork {
    plait_lock lock;
    long left, right;
};

struct seat {
    struct table *table;
    uint64_t seed;
    int number;
    long meals;
    long refused, told;
};

struct table {
    struct fork forks[SEATS];
    int stop;
    struct seat seats[SEATS];
};

static struct table *lay(const struct t_setting *s, uint64_t seed)
{
    struct table *t = t_new(s, sizeof *t);
    for (int i = 0; i < SEATS; i++)
        t->seats[i] = (struct seat){.table = t, .seed = seed + (uint64_t)i, .number = i};
    return t;
}

static struct fork *fork_at(struct seat *seat, int which)
{
    return &seat->table->forks[(seat->number + which) % SEATS];
}

/* Both forks, in an order of the philosopher's mood. */
static void choose(struct seat *seat, plait_lock **both)
{
    int first = t_below(&seat->seed, 2);
    both[0] = &fork_at(seat, first)->lock;
    both[1] = &fork_at(seat, !first)->lock;
}

/* Meals eaten with a fork, as its two neighbours count them. With the fork's lock held, which both need
 * for a meal, it does not change. */
static long used(const struct table *t, int number)
{
    return SEEN(t->seats[number].meals) + SEEN(t->seats[(number + SEATS - 1) % SEATS].meals);
}

static void check_fork(struct table *t, const struct fork *f)
{
    CHECK_EQ(f->left, f->right);
    CHECK_EQ(f->left, used(t, (int)(f - t->forks)));
}

/* With time to be killed in each state. */
static void eat(struct seat *seat)
{
    for (int k = 0; k < 2; k++) {
        struct fork *f = fork_at(seat, k);
        check_fork(seat->table, f);
        TELL(f->left, f->left + 1);
    }
    t_dither(&seat->seed, EAT_NS);
    TELL(seat->meals, seat->meals + 1); /* from here on it counts */
    t_dither(&seat->seed, EAT_NS);
    for (int k = 0; k < 2; k++) {
        struct fork *f = fork_at(seat, k);
        TELL(f->right, f->right + 1);
    }
}

static long all_meals(const struct table *t)
{
    long sum = 0;
    for (int i = 0; i < SEATS; i++)
        sum += SEEN(t->seats[i].meals);
    return sum;
}

static void check_forks(struct table *t)
{
    for (int i = 0; i < SEATS; i++) {
        CHECK_EQ(plait_lock_locked(&t->forks[i].lock), 0);
        check_fork(t, &t->forks[i]);
    }
}

/* --- no deaths --- */

static int dine(void *arg)
{
    struct seat *seat = arg;
    for (long i = 0, n = t_rounds(EACH); i < n; i++) {
        plait_lock *both[2];
        choose(seat, both);
        CHECK_RC(plait_acquire_all(both, 2, PLAIT_FOREVER), 0);
        eat(seat);
        CHECK_RC(plait_release_all(both, 2), 0);
    }
    return 0;
}

static void every_philosopher_eats_his_fill(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    FOR_EACH_SETTING(s)
    {
        struct table *t = lay(s, seed);
        struct t_team team;
        t_start_each(&team, s, SEATS, dine, t->seats, sizeof t->seats[0]);
        t_join(&team);
        CHECK_EQ(all_meals(t), SEATS * t_rounds(EACH));
        check_forks(t);
        t_delete(s, t);
    }
}

/* Any number of forks, in any order; also singly. */
static int grab_some(void *arg)
{
    struct seat *seat = arg;
    struct table *t = seat->table;
    for (long i = 0, n = t_rounds(EACH); i < n; i++) {
        plait_lock *some[SEATS];
        int order[SEATS], k = 1 + t_below(&seat->seed, SEATS);
        for (int j = 0; j < SEATS; j++)
            order[j] = j;
        for (int j = 0; j < k; j++) {
            int other = j + t_below(&seat->seed, SEATS - j), keep = order[j];
            order[j] = order[other];
            order[other] = keep;
            some[j] = &t->forks[order[j]].lock;
        }
        CHECK_RC(k == 1 ? plait_lock_acquire(some[0], PLAIT_FOREVER)
                        : plait_acquire_all(some, k, PLAIT_FOREVER),
                 0);
        for (int j = 0; j < k; j++) {
            CHECK_EQ(t->forks[order[j]].left++, t->forks[order[j]].right++);
            seat->meals++;
        }
        CHECK_RC(plait_release_all(some, k), 0);
    }
    return 0;
}

static void any_set_in_any_order(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    FOR_EACH_SETTING(s)
    {
        struct table *t = lay(s, seed);
        struct t_team team;
        long sum = 0;
        t_start_each(&team, s, SEATS, grab_some, t->seats, sizeof t->seats[0]);
        t_join(&team);
        for (int i = 0; i < SEATS; i++)
            sum += t->forks[i].left;
        CHECK_EQ(sum, all_meals(t));
        t_delete(s, t);
    }
}

static int dine_if_in_time(void *arg)
{
    struct seat *seat = arg;
    while (!SEEN(seat->table->stop)) {
        plait_lock *both[2];
        choose(seat, both);
        int rc = plait_acquire_all(both, 2, t_below(&seat->seed, 100) * 1000);
        if (rc == PLAIT_ECANCELED)
            COUNT(seat->refused);
        CHECK(rc == 0 || rc == PLAIT_ETIMEDOUT || rc == PLAIT_ECANCELED);
        if (rc < 0)
            continue;
        eat(seat);
        CHECK_RC(plait_release_all(both, 2), 0);
    }
    return 0;
}

/* Requests to stop that were heard so far. */
static long all_refused(const struct table *t)
{
    long sum = 0;
    for (int i = 0; i < SEATS; i++)
        sum += SEEN(t->seats[i].refused);
    return sum;
}

static void timeouts_and_cancellations_leave_no_fork_taken(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    FOR_EACH_SETTING(s)
    {
        struct table *t = lay(s, seed);
        struct t_team team;
        t_start_each(&team, s, SEATS, dine_if_in_time, t->seats, sizeof t->seats[0]);
        for (long i = 0, n = t_rounds(1500); i < n; i++) {
            CHECK_RC(plait_cancel(team.workers[t_below(&seed, SEATS)]), 0);
            t_dither(&seed, 200 * 1000);
        }
        UNTIL(all_refused(t) > 0); /* each is heard when its worker sleeps next */
        TELL(t->stop, 1);
        t_join(&team);
        CHECK(all_meals(t) > 0);
        check_forks(t);
        t_delete(s, t);
    }
}

/* --- deaths --- */

/* A fork taken over from the dead: as it should be, or one meal off on one side. */
static void clean(struct table *t, struct fork *f)
{
    long right = used(t, (int)(f - t->forks));
    CHECK(f->left == right || f->left == right + 1);
    CHECK(f->right == right || f->right == right - 1);
    f->left = f->right = right;
}

/* Torn forks come with the notice only, and plait_lock_blame tells which they are. */
static void clean_what_the_dead_had(struct seat *seat, int rc)
{
    int told = 0;
    for (int k = 0; k < 2; k++) {
        struct fork *f = fork_at(seat, k);
        plait_blame blame;
        if (rc == 0)
            continue;
        int why = plait_lock_blame(&f->lock, &blame);
        CHECK(why == 0 || why == PLAIT_ESRCH || why == PLAIT_ESTALE);
        if (why == PLAIT_ESRCH)
            continue; /* whole: `eat` checks it */
        told++;
        clean(seat->table, f);
    }
    CHECK(rc == 0 || told > 0);
    seat->told += told;
}

static int dine_until_stopped(void *arg)
{
    struct seat *seat = arg;
    while (!SEEN(seat->table->stop)) {
        plait_lock *both[2];
        choose(seat, both);
        int rc = plait_acquire_all(both, 2, t_below(&seat->seed, 4) ? PLAIT_FOREVER : 50 * 1000);
        if (rc == PLAIT_ETIMEDOUT)
            continue;
        CHECK(rc == 0 || rc == PLAIT_OWNER_DIED);
        clean_what_the_dead_had(seat, rc);
        eat(seat);
        CHECK_RC(plait_release_all(both, 2), 0);
    }
    return 0;
}

/* All seats but the last are those of processes that die; who sits there is a thread. */
static void hundreds_of_kills_stop_nobody(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    long rounds = t_rounds(600);
    struct table *t = lay(&t_mixed, seed);
    struct t_team team = {.n = SEATS};
    for (int i = 0; i < SEATS; i++)
        team.workers[i] = t_start_one(i < SEATS - 1 ? PLAIT_PROCESS : PLAIT_THREAD,
                                      dine_until_stopped, &t->seats[i]);
    for (long i = 0; i < rounds; i++) {
        int victim = t_below(&seed, SEATS - 1);
        t_dither(&seed, 300 * 1000);
        t_kill(team.workers[victim]);
        long left = SEEN(t->seats[(victim + SEATS - 1) % SEATS].meals),
             right = SEEN(t->seats[(victim + 1) % SEATS].meals);
        /* Its neighbours, who share the forks that it may have held. */
        UNTIL(SEEN(t->seats[(victim + SEATS - 1) % SEATS].meals) > left);
        UNTIL(SEEN(t->seats[(victim + 1) % SEATS].meals) > right);
        team.workers[victim] = t_start_one(PLAIT_PROCESS, dine_until_stopped, &t->seats[victim]);
    }
    TELL(t->stop, 1);
    t_join(&team);
    long told = 0;
    for (int i = 0; i < SEATS; i++) {
        told += t->seats[i].told;
        plait_lock *last[] = {&t->forks[i].lock};
        if (plait_acquire_all(last, 1, PLAIT_FOREVER) == PLAIT_OWNER_DIED)
            clean(t, &t->forks[i]);
        CHECK_RC(plait_release_all(last, 1), 0);
    }
    check_forks(t);
    CHECK(told > 0 && told <= 2 * rounds);
    print_message("%ld kills, %ld forks taken over, %ld meals\n", rounds, told, all_meals(t));
    t_delete(&t_mixed, t);
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
        cmocka_unit_test(every_philosopher_eats_his_fill),
        cmocka_unit_test(any_set_in_any_order),
        cmocka_unit_test(timeouts_and_cancellations_leave_no_fork_taken),
        cmocka_unit_test(hundreds_of_kills_stop_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
