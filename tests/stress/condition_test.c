/* The condition under load. Invariants:
 *   - bounded buffer: each item that went in comes out exactly once, and nobody is left waiting;
 *   - each notification ends exactly one wait: those reported by notify and the waits that returned 0
 *     are equal in number, whatever times out or is canceled meanwhile;
 *   - whoever is killed, the account of the items stays exact, and the others go on. */
#include "harness/harness.h"

#include "park/park.h"

enum { WORKERS = 6, ROOM = 4 };

struct member {
    struct world *world;
    uint64_t seed;
    bool makes; /* a producer */
    long done;  /* items put or taken, waits ended; written under the lock */
    long refused;
    long place; /* in line */
};

struct world {
    plait_lock lock;
    plait_condition not_full, not_empty;
    long items[ROOM];
    long put, taken; /* plain, under the lock */
    long sum, squares;
    long told;
    int stop, ended;
    struct member members[WORKERS];
};

static struct world *new_world(const struct t_setting *s, uint64_t seed)
{
    struct world *w = t_new(s, sizeof *w);
    CHECK_RC(plait_condition_init(&w->not_full, &w->lock), 0);
    CHECK_RC(plait_condition_init(&w->not_empty, &w->lock), 0);
    for (int i = 0; i < WORKERS; i++)
        w->members[i] =
            (struct member){.world = w, .seed = seed + (uint64_t)i, .makes = i >= WORKERS / 2};
    return w;
}

static void take_lock(struct world *w)
{
    CHECK_RC(plait_lock_acquire(&w->lock, PLAIT_FOREVER), 0);
}

static void give_lock(struct world *w)
{
    CHECK_RC(plait_lock_release(&w->lock), 0);
}

/* --- bounded buffer --- */

static void put(struct world *w, long item)
{
    take_lock(w);
    while (w->put - w->taken == ROOM)
        CHECK_RC(plait_condition_wait(&w->not_full, PLAIT_FOREVER), 0);
    w->items[w->put++ % ROOM] = item;
    CHECK(plait_condition_notify(&w->not_empty, 1) <= 1);
    give_lock(w);
}

static long take(struct world *w)
{
    take_lock(w);
    while (w->put == w->taken)
        CHECK_RC(plait_condition_wait(&w->not_empty, PLAIT_FOREVER), 0);
    long item = w->items[w->taken++ % ROOM];
    CHECK(plait_condition_notify(&w->not_full, 1) <= 1);
    give_lock(w);
    return item;
}

/* Producers put items from ranges of their own, consumers take as many. */
static int put_or_take_many(void *arg)
{
    struct member *m = arg;
    struct world *w = m->world;
    long n = t_rounds(5000), base = (m - w->members) * n, sum = 0, squares = 0;
    for (long i = 1; i <= n; i++) {
        if (m->makes) {
            put(w, base + i);
            continue;
        }
        long item = take(w);
        sum += item;
        squares += item * item;
    }
    ADD(w->sum, sum);
    ADD(w->squares, squares);
    return 0;
}

static void what_goes_in_comes_out_exactly_once(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct world *w = new_world(s, 0);
        struct t_team team;
        t_start_each(&team, s, WORKERS, put_or_take_many, w->members, sizeof w->members[0]);
        t_join(&team);
        long n = t_rounds(5000), sum = 0, squares = 0;
        for (long i = WORKERS / 2 * n + 1; i <= WORKERS * n; i++) {
            sum += i;
            squares += i * i;
        }
        CHECK_EQ(w->sum, sum);
        CHECK_EQ(w->squares, squares);
        CHECK_EQ(w->put, WORKERS / 2 * n);
        CHECK_EQ(w->taken, w->put);
        take_lock(w); /* nobody is left waiting */
        CHECK_EQ(plait_condition_notify_all(&w->not_full), 0);
        CHECK_EQ(plait_condition_notify_all(&w->not_empty), 0);
        give_lock(w);
        t_delete(s, w);
    }
}

/* --- each notification ends one wait --- */

static int wait_briefly(void *arg)
{
    struct member *m = arg;
    struct world *w = m->world;
    while (plait_lock_acquire(&w->lock, PLAIT_FOREVER) == PLAIT_ECANCELED)
        m->refused++;
    while (!SEEN(w->stop)) {
        int64_t timeout = t_below(&m->seed, 300) * 1000;
        int rc = plait_condition_wait(&w->not_empty, timeout);
        CHECK(rc == 0 || rc == PLAIT_ETIMEDOUT || rc == PLAIT_ECANCELED);
        m->done += rc == 0;
        m->refused += rc == PLAIT_ECANCELED;
    }
    COUNT(w->ended);
    give_lock(w);
    return 0;
}

static void each_notification_ends_one_wait(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    FOR_EACH_SETTING(s)
    {
        struct world *w = new_world(s, seed);
        struct t_team team;
        long woken = 0, ended = 0, refused = 0;
        t_start_each(&team, s, WORKERS, wait_briefly, w->members, sizeof w->members[0]);
        for (long i = 0, n = t_rounds(3000); i < n; i++) {
            if (i % 3 == 0)
                CHECK_RC(plait_cancel(team.workers[t_below(&seed, WORKERS)]), 0);
            take_lock(w);
            int some = plait_condition_notify(&w->not_empty, 1 + t_below(&seed, 3));
            CHECK(some >= 0 && some <= 3);
            woken += some;
            if (t_below(&seed, 4) == 0)
                t_dither(&seed, 200 * 1000); /* so that times run out meanwhile */
            give_lock(w);
            t_dither(&seed, 100 * 1000);
        }
        TELL(w->stop, 1);
        t_join(&team);
        for (int i = 0; i < WORKERS; i++) {
            ended += w->members[i].done;
            refused += w->members[i].refused;
        }
        CHECK_EQ(ended, woken);
        CHECK(woken > 0 && refused > 0);
        t_delete(s, w);
    }
}

/* One token that is handed round: were a notification lost, all would sleep. */
static int hand_round(void *arg)
{
    struct member *m = arg;
    struct world *w = m->world;
    long me = m - w->members, n = t_rounds(1000);
    take_lock(w);
    for (long i = 0; i < n; i++) {
        while (w->put % WORKERS != me)
            CHECK_RC(plait_condition_wait(&w->not_empty, PLAIT_FOREVER), 0);
        w->put++;
        CHECK(plait_condition_notify_all(&w->not_empty) >= 0);
    }
    give_lock(w);
    return 0;
}

static void a_token_goes_round_without_end(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct world *w = new_world(s, 0);
        struct t_team team;
        t_start_each(&team, s, WORKERS, hand_round, w->members, sizeof w->members[0]);
        t_join(&team);
        CHECK_EQ(w->put, WORKERS * t_rounds(1000));
        t_delete(s, w);
    }
}

/* --- deaths --- */

static long account(const struct world *w, bool makes)
{
    long sum = 0;
    for (int i = 0; i < WORKERS; i++)
        if (w->members[i].makes == makes)
            sum += SEEN(w->members[i].done);
    return sum;
}

/* After the death of a holder: its last item counts if its journal says so. It may not have come to
 * notifying anybody, so all are to look again. */
static void repair(struct world *w)
{
    long was_put = account(w, true), was_taken = account(w, false);
    CHECK(was_put - w->put == 0 || was_put - w->put == 1);
    CHECK(was_taken - w->taken == 0 || was_taken - w->taken == 1);
    w->put = was_put;
    w->taken = was_taken;
    w->told++;
    CHECK(plait_condition_notify_all(&w->not_full) >= 0);
    CHECK(plait_condition_notify_all(&w->not_empty) >= 0);
}

static void repair_if(struct world *w, int rc)
{
    CHECK(rc == 0 || rc == PLAIT_OWNER_DIED);
    if (rc == PLAIT_OWNER_DIED)
        repair(w);
    CHECK_EQ(w->put, account(w, true)); /* whole, or we were told */
    CHECK_EQ(w->taken, account(w, false));
    CHECK(w->put - w->taken >= 0 && w->put - w->taken <= ROOM);
}

static bool must_wait(const struct member *m)
{
    const struct world *w = m->world;
    return m->makes ? w->put - w->taken == ROOM : w->put == w->taken;
}

static int put_or_take_until_stopped(void *arg)
{
    struct member *m = arg;
    struct world *w = m->world;
    plait_condition *mine = m->makes ? &w->not_full : &w->not_empty;
    plait_condition *theirs = m->makes ? &w->not_empty : &w->not_full;
    repair_if(w, plait_lock_acquire(&w->lock, PLAIT_FOREVER));
    while (!SEEN(w->stop)) {
        if (must_wait(m)) {
            repair_if(w, plait_condition_wait(mine, PLAIT_FOREVER));
            continue;
        }
        TELL(m->done, m->done + 1); /* from here on it counts */
        t_dither(&m->seed, 10 * 1000);
        *(m->makes ? &w->put : &w->taken) += 1;
        CHECK(plait_condition_notify(theirs, 1) >= 0);
        give_lock(w);
        repair_if(w, plait_lock_acquire(&w->lock, PLAIT_FOREVER));
    }
    plait_condition_notify_all(&w->not_full);
    plait_condition_notify_all(&w->not_empty);
    give_lock(w);
    return 0;
}

/* Two of each sort are processes to be killed, one of each is a thread, which lives on. */
static bool is_mortal(int i)
{
    return i != 0 && i != WORKERS - 1;
}

static void go_on_after_death(struct world *w)
{
    long put_so_far = account(w, true), taken_so_far = account(w, false);
    UNTIL(account(w, true) > put_so_far && account(w, false) > taken_so_far);
}

static void a_thousand_kills_leave_the_account_exact(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    struct world *w = new_world(&t_mixed, seed);
    struct t_team team = {.n = WORKERS};
    long rounds = t_rounds(1000);
    for (int i = 0; i < WORKERS; i++)
        team.workers[i] = t_start_one(is_mortal(i) ? PLAIT_PROCESS : PLAIT_THREAD,
                                      put_or_take_until_stopped, &w->members[i]);
    for (long i = 0; i < rounds; i++) {
        int victim = 1 + t_below(&seed, WORKERS - 2);
        t_dither(&seed, 200 * 1000);
        t_kill(team.workers[victim]);
        team.workers[victim] =
            t_start_one(PLAIT_PROCESS, put_or_take_until_stopped, &w->members[victim]);
        go_on_after_death(w);
    }
    TELL(w->stop, 1);
    t_join(&team);
    repair_if(w, plait_lock_acquire(&w->lock, PLAIT_FOREVER));
    CHECK(w->told > 0 && w->told <= rounds);
    give_lock(w);
    print_message("%ld kills, %ld with the lock held, %ld items\n", rounds, w->told, w->put);
    t_delete(&t_mixed, w);
}

static bool is_notified(void)
{
    return SEEN(pl_self.slot->turn.word) == PL_TURN_NOTIFIED;
}

/* Notes its place in line, so that the killer knows who is next. */
static int wait_and_sign(void *arg)
{
    struct member *m = arg;
    struct world *w = m->world;
    w->told += plait_lock_acquire(&w->lock, PLAIT_FOREVER) == PLAIT_OWNER_DIED;
    while (!SEEN(w->stop)) {
        TELL(m->place, w->put++);
        int rc = plait_condition_wait(&w->not_empty, PLAIT_FOREVER);
        CHECK(rc == 0 || rc == PLAIT_OWNER_DIED);
        if (is_notified()) /* or it was told of a death, without a notification */
            TELL(m->done, m->done + 1);
        else
            CHECK_RC(rc, PLAIT_OWNER_DIED);
        w->told += rc == PLAIT_OWNER_DIED;
    }
    give_lock(w);
    return 0;
}

static long all_done(const struct world *w)
{
    return account(w, true) + account(w, false);
}

static int next_in_line(const struct world *w)
{
    int next = 0;
    for (int i = 1; i < WORKERS; i++)
        if (SEEN(w->members[i].place) < SEEN(w->members[next].place))
            next = i;
    return next;
}

static void until_all_wait(const struct t_team *team)
{
    for (int i = 0; i < WORKERS; i++)
        UNTIL_WAITS(team->workers[i], PL_WAIT_CONDITION);
}

static int notify_one(struct world *w)
{
    take_lock(w);
    int woken = plait_condition_notify(&w->not_empty, 1);
    give_lock(w);
    return woken;
}

/* One notification, and death to the one it is for, mostly. One wait ends, the dead one's or another's;
 * only of one who died with the lock it cannot be said whether its wait had ended. */
static void notify_and_kill(struct world *w, struct t_team *team, uint64_t *seed)
{
    int victim = t_below(seed, 4) ? next_in_line(w) : t_below(seed, WORKERS);
    long before = all_done(w), told = w->told;
    CHECK_EQ(notify_one(w), 1);
    t_dither(seed, 80 * 1000);
    t_kill(team->workers[victim]);
    w->told += plait_lock_acquire(&w->lock, PLAIT_FOREVER) == PLAIT_OWNER_DIED;
    bool in_doubt = w->told != told;
    give_lock(w);
    if (!in_doubt)
        UNTIL(all_done(w) > before);
    team->workers[victim] = t_start_one(PLAIT_PROCESS, wait_and_sign, &w->members[victim]);
    until_all_wait(team);
    long ended = all_done(w) - before;
    CHECK(ended == 1 || (in_doubt && ended == 0));
}

static void killed_waiters_swallow_no_notification(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    struct world *w = new_world(&t_processes, seed);
    struct t_team team;
    long rounds = t_rounds(1000);
    t_start_each(&team, &t_processes, WORKERS, wait_and_sign, w->members, sizeof w->members[0]);
    until_all_wait(&team);
    for (long i = 0; i < rounds; i++)
        notify_and_kill(w, &team, &seed);
    take_lock(w);
    TELL(w->stop, 1);
    CHECK_EQ(plait_condition_notify_all(&w->not_empty), WORKERS);
    give_lock(w);
    t_join(&team);
    print_message("%ld kills, %ld with the lock held, %ld waits ended\n", rounds, w->told,
                  all_done(w));
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
        cmocka_unit_test(what_goes_in_comes_out_exactly_once),
        cmocka_unit_test(each_notification_ends_one_wait),
        cmocka_unit_test(a_token_goes_round_without_end),
        cmocka_unit_test(a_thousand_kills_leave_the_account_exact),
        cmocka_unit_test(killed_waiters_swallow_no_notification),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
