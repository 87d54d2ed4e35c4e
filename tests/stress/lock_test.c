/* The lock under load. Invariants:
 *   - what is counted under the lock, in plain memory, is exactly what the workers say they counted,
 *     whatever times out, is canceled or is killed meanwhile;
 *   - who gets the lock with 0 finds the data whole; torn data comes with PLAIT_OWNER_DIED only;
 *   - after each death the others go on. */
#include "harness/harness.h"

#include <string.h>
#include <unistd.h>

enum { WORKERS = 6, LONG_NS = 20 * 1000 };

struct member {
    struct world *world;
    uint64_t seed;
    long done;    /* updates of the counters; written under the lock */
    long refused; /* requests to stop that it heard of */
};

struct world {
    plait_lock lock;
    long a, b; /* plain, under the lock: equal, but in the middle of an update */
    long told; /* deaths that takers of the lock were told of */
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

static long all_done(const struct world *w)
{
    long sum = 0;
    for (int i = 0; i < WORKERS; i++)
        sum += SEEN(w->members[i].done);
    return sum;
}

/* The update, with time to be killed in each of its states. */
static void update(struct member *m)
{
    struct world *w = m->world;
    CHECK_EQ(w->a, w->b);
    TELL(w->a, w->a + 1);
    t_dither(&m->seed, LONG_NS);
    TELL(m->done, m->done + 1); /* from here on it counts */
    t_dither(&m->seed, LONG_NS);
    TELL(w->b, w->b + 1);
}

/* After the death of a holder: exactly one update may be half done. */
static void repair(struct world *w)
{
    long done = all_done(w);
    CHECK(w->a == w->b || w->a == w->b + 1);
    CHECK(done == w->a || done == w->b);
    w->a = w->b = done;
    w->told++;
}

/* --- no deaths --- */

enum { EACH = 20000 };

static int add_many(void *arg)
{
    struct world *w = arg;
    for (long i = 0, n = t_rounds(EACH); i < n; i++) {
        CHECK_RC(plait_lock_acquire(&w->lock, PLAIT_FOREVER), 0);
        w->a++;
        CHECK_RC(plait_lock_release(&w->lock), 0);
    }
    return 0;
}

static void the_sum_of_all_additions_is_exact(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct world *w = new_world(s, 0);
        struct t_team team;
        t_start(&team, s, WORKERS, add_many, w);
        t_join(&team);
        CHECK_EQ(w->a, WORKERS * t_rounds(EACH));
        CHECK_EQ(plait_lock_locked(&w->lock), 0);
        t_delete(s, w);
    }
}

/* Timeouts of all lengths; whoever gets the lock counts. */
static int add_if_in_time(void *arg)
{
    struct member *m = arg;
    struct world *w = m->world;
    while (!SEEN(w->stop)) {
        int rc = plait_lock_acquire(&w->lock, t_below(&m->seed, 200) * 1000);
        if (rc == PLAIT_ECANCELED)
            COUNT(m->refused);
        CHECK(rc == 0 || rc == PLAIT_ETIMEDOUT || rc == PLAIT_ECANCELED);
        if (rc < 0)
            continue;
        w->a++;
        m->done++;
        t_dither(&m->seed, LONG_NS);
        CHECK_RC(plait_lock_release(&w->lock), 0);
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
        long asked = 0;
        t_start_each(&team, s, WORKERS, add_if_in_time, w->members, sizeof w->members[0]);
        for (long i = 0, n = t_rounds(2000); i < n; i++, asked++) {
            CHECK_RC(plait_cancel(team.workers[t_below(&seed, WORKERS)]), 0);
            t_dither(&seed, 200 * 1000);
        }
        UNTIL(all_refused(w) > 0); /* each is heard when its worker sleeps next */
        TELL(w->stop, 1);
        t_join(&team);
        CHECK_EQ(w->a, all_done(w));
        CHECK(all_refused(w) <= asked);
        CHECK_RC(plait_lock_acquire(&w->lock, PLAIT_NOWAIT), 0);
        CHECK_RC(plait_lock_release(&w->lock), 0);
        t_delete(s, w);
    }
}

/* The lock is passed on by workers that never acquired it. */
static int pass_on(void *arg)
{
    struct world *w = arg;
    for (long i = 0, n = t_rounds(1000); i < n; i++) {
        CHECK_RC(plait_lock_acquire(&w->lock, PLAIT_FOREVER), 0);
        w->a++;
        COUNT(w->b); /* the other side releases it */
    }
    UNTIL(SEEN(w->stop)); /* to end with the lock would be a death */
    return 0;
}

static void another_worker_may_do_all_the_releasing(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct world *w = new_world(s, 0);
        struct t_team team;
        long n = t_rounds(1000) * 3;
        t_start(&team, s, 3, pass_on, w);
        for (long i = 1; i <= n; i++) {
            struct t_poll poll = {0};
            for (int64_t spin = plait_now() + plait_ms(1); SEEN(w->b) < i;)
                if (plait_now() > spin)
                    t_poll_again(&poll, __FILE__, __LINE__, "the lock is acquired again");
                else
                    t_give_way();
            CHECK_RC(plait_lock_release(&w->lock), 0);
        }
        TELL(w->stop, 1);
        t_join(&team);
        CHECK_EQ(w->a, n);
        CHECK_EQ(plait_lock_locked(&w->lock), 0);
        t_delete(s, w);
    }
}

/* --- fork in the middle of it --- */

enum { LOCKS = 8 };

static plait_lock copied[LOCKS]; /* private: each process has its own */
static plait_condition copied_condition;
static int forking;

static int use_all_copied(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg;
    while (SEEN(forking)) {
        plait_lock *lock = &copied[t_below(&seed, LOCKS)];
        CHECK_RC(plait_lock_acquire(lock, PLAIT_FOREVER), 0);
        t_dither(&seed, 5 * 1000);
        CHECK_RC(plait_lock_release(lock), 0);
        PLAIT_WITH(&copied_condition) {
            plait_condition_notify(&copied_condition, 1);
            plait_condition_wait(&copied_condition, t_below(&seed, 50) * 1000);
        }
    }
    return 0;
}

/* Whatever the other threads of its parent were doing, they are not here to end it. */
static int find_all_usable(void *unused)
{
    (void)unused;
    for (int i = 0; i < 2 * LOCKS; i++) {
        int rc = plait_lock_acquire(&copied[i % LOCKS], plait_seconds(T_PATIENCE_S));
        CHECK(rc == 0 || (rc == PLAIT_OWNER_DIED && i < LOCKS));
        CHECK_RC(plait_lock_release(&copied[i % LOCKS]), 0);
    }
    PLAIT_WITH(&copied_condition) {
        CHECK_RC(plait_condition_wait(&copied_condition, 1000), PLAIT_ETIMEDOUT);
        CHECK_EQ(plait_condition_notify_all(&copied_condition), 0);
    }
    plait_worker own[2]; /* its own threads share them as well */
    for (int i = 0; i < 2; i++)
        own[i] = t_start_one(PLAIT_THREAD, use_all_copied, (void *)(uintptr_t)i);
    t_sleep(plait_ms(1));
    TELL(forking, 0);
    return t_join_one(own[0]) | t_join_one(own[1]);
}

static void a_forked_child_finds_all_private_locks_usable(void **state)
{
    (void)state;
    struct t_team team = {.n = 3};
    TELL(forking, 1);
    for (int i = 0; i < team.n; i++)
        team.workers[i] = t_start_one(PLAIT_THREAD, use_all_copied, (void *)(uintptr_t)i);
    for (long i = 0, n = t_rounds(300); i < n; i++)
        CHECK_EQ(t_in_fork(find_all_usable, NULL), 0);
    TELL(forking, 0);
    t_join(&team);
}

/* --- deaths --- */

static int update_until_stopped(void *arg)
{
    struct member *m = arg;
    struct world *w = m->world;
    while (!SEEN(w->stop)) {
        int rc = plait_lock_acquire(&w->lock, PLAIT_FOREVER);
        CHECK(rc == 0 || rc == PLAIT_OWNER_DIED);
        if (rc == PLAIT_OWNER_DIED)
            repair(w);
        update(m);
        CHECK_RC(plait_lock_release(&w->lock), 0);
    }
    return 0;
}

static void go_on_after_death(struct world *w)
{
    long so_far = all_done(w);
    UNTIL(all_done(w) >= so_far + 1);
}

/* Kills one worker after the other at random moments; the last one is a thread, which lives on. */
static void kill_again_and_again(struct world *w, struct t_team *team, uint64_t *seed, long rounds)
{
    for (long i = 0; i < rounds; i++) {
        int victim = t_below(seed, WORKERS - 1);
        t_dither(seed, 300 * 1000);
        t_kill(team->workers[victim]);
        go_on_after_death(w);
        team->workers[victim] =
            t_start_one(PLAIT_PROCESS, update_until_stopped, &w->members[victim]);
    }
}

static void the_last_one_out(struct world *w)
{
    int rc = plait_lock_acquire(&w->lock, PLAIT_FOREVER);
    CHECK(rc == 0 || rc == PLAIT_OWNER_DIED);
    if (rc == PLAIT_OWNER_DIED)
        repair(w);
    CHECK_RC(plait_lock_release(&w->lock), 0);
}

static void a_thousand_kills_leave_the_count_exact(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    long rounds = t_rounds(1000);
    struct world *w = new_world(&t_mixed, seed);
    struct t_team team = {.n = WORKERS};
    for (int i = 0; i < WORKERS; i++)
        team.workers[i] = t_start_one(i < WORKERS - 1 ? PLAIT_PROCESS : PLAIT_THREAD,
                                      update_until_stopped, &w->members[i]);
    kill_again_and_again(w, &team, &seed, rounds);
    TELL(w->stop, 1);
    t_join(&team);
    the_last_one_out(w);
    CHECK_EQ(w->a, w->b);
    CHECK_EQ(w->a, all_done(w));
    CHECK(w->told > 0 && w->told <= rounds); /* no death is told twice */
    print_message("%ld kills, %ld with the lock held, %ld updates\n", rounds, w->told, w->a);
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
        cmocka_unit_test(the_sum_of_all_additions_is_exact),
        cmocka_unit_test(timeouts_and_cancellations_lose_nothing),
        cmocka_unit_test(another_worker_may_do_all_the_releasing),
        cmocka_unit_test(a_forked_child_finds_all_private_locks_usable),
        cmocka_unit_test(a_thousand_kills_leave_the_count_exact),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
