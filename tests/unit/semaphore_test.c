/* The semaphore: a test per promise of include/plait/semaphore.h, and each misuse. */
#include "harness/harness.h"

#include "park/park.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { WAITERS = 4 };

struct box {
    plait_semaphore semaphore;
    int inside, most; /* workers with a permit, and the most there ever were */
    int taken;
    struct t_waiter waiters[WAITERS];
};

static int acquire(void *semaphore, int64_t timeout)
{
    return plait_semaphore_acquire(semaphore, timeout);
}

/* Starts waiters, each asleep before the next one begins. */
static void start_waiters(struct t_team *team, const struct t_setting *s, struct box *b, int n)
{
    team->n = n;
    for (int i = 0; i < n; i++) {
        b->waiters[i] = (struct t_waiter){acquire, &b->semaphore, PLAIT_FOREVER, 0, 0, 0};
        team->workers[i] = t_start_one(s->kinds[i % 2], t_wait_once, &b->waiters[i]);
        UNTIL_WAITS(team->workers[i], PL_WAIT_SEMAPHORE);
    }
}

static int through(struct box *b, int n)
{
    int count = 0;
    for (int i = 0; i < n; i++)
        count += SEEN(b->waiters[i].step) == 2;
    return count;
}

static void join_waiters(struct t_team *team, struct box *b)
{
    int n = team->n;
    t_join(team);
    for (int i = 0; i < n; i++)
        CHECK_RC(b->waiters[i].rc, 0);
}

/* --- value --- */

static void without_an_arena_it_says_why_it_cannot_wait(void **state)
{
    (void)state;
    plait_semaphore semaphore = {0};
    t_check_no_arena(acquire, &semaphore);
}

static void zeroed_memory_is_a_semaphore_of_0_without_bound(void **state)
{
    (void)state;
    static plait_semaphore semaphore;
    assert_int_equal(plait_semaphore_value(&semaphore), 0);
    CHECK_RC(plait_semaphore_acquire(&semaphore, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
    CHECK_RC(plait_semaphore_release(&semaphore, 1000), 0);
    assert_int_equal(plait_semaphore_value(&semaphore), 1000);
}

static void init_sets_value_and_bound(void **state)
{
    (void)state;
    plait_semaphore semaphore;
    memset(&semaphore, 0xff, sizeof semaphore);
    CHECK_RC(plait_semaphore_init(&semaphore, 2, 3), 0);
    assert_int_equal(plait_semaphore_value(&semaphore), 2);
    CHECK_RC(plait_semaphore_release(&semaphore, 1), 0);
    CHECK_RC(plait_semaphore_release(&semaphore, 1), PLAIT_EOVERFLOW);
    CHECK_RC(plait_semaphore_init(&semaphore, 0, 0), 0);
    assert_int_equal(plait_semaphore_value(&semaphore), 0);
    CHECK_RC(plait_semaphore_release(&semaphore, 4), 0);
}

static void bad_values_are_refused_and_change_nothing(void **state)
{
    (void)state;
    plait_semaphore semaphore;
    CHECK_RC(plait_semaphore_init(&semaphore, 2, 3), 0);
    CHECK_RC(plait_semaphore_init(&semaphore, -1, 0), PLAIT_EINVAL);
    CHECK_RC(plait_semaphore_init(&semaphore, 1, -1), PLAIT_EINVAL);
    CHECK_RC(plait_semaphore_init(&semaphore, 4, 3), PLAIT_EINVAL);
    CHECK_RC(plait_semaphore_init(&semaphore, INT_MIN, INT_MIN), PLAIT_EINVAL);
    assert_int_equal(plait_semaphore_value(&semaphore), 2);
    CHECK_RC(plait_semaphore_release(&semaphore, 2), PLAIT_EOVERFLOW);
    CHECK_RC(plait_semaphore_init(&semaphore, 3, 3), 0); /* the bound itself is allowed */
}

static void null_is_refused(void **state)
{
    (void)state;
    CHECK_RC(plait_semaphore_init(NULL, 1, 1), PLAIT_EINVAL);
    CHECK_RC(plait_semaphore_acquire(NULL, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_semaphore_release(NULL, 1), PLAIT_EINVAL);
    assert_int_equal(plait_semaphore_value(NULL), 0);
}

static void acquire_takes_one_permit(void **state)
{
    (void)state;
    plait_semaphore semaphore;
    CHECK_RC(plait_semaphore_init(&semaphore, 3, 3), 0);
    CHECK_RC(plait_semaphore_acquire(&semaphore, PLAIT_NOWAIT), 0);
    CHECK_RC(plait_semaphore_acquire(&semaphore, PLAIT_FOREVER), 0);
    CHECK_RC(plait_semaphore_acquire(&semaphore, plait_ms(1)), 0);
    assert_int_equal(plait_semaphore_value(&semaphore), 0);
    CHECK_RC(plait_semaphore_acquire(&semaphore, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
    assert_int_equal(plait_semaphore_value(&semaphore), 0);
}

static void release_past_the_bound_changes_nothing(void **state)
{
    (void)state;
    plait_semaphore semaphore;
    CHECK_RC(plait_semaphore_init(&semaphore, 1, 3), 0);
    CHECK_RC(plait_semaphore_release(&semaphore, 3), PLAIT_EOVERFLOW); /* nor in part */
    assert_int_equal(plait_semaphore_value(&semaphore), 1);
    CHECK_RC(plait_semaphore_release(&semaphore, INT_MAX), PLAIT_EOVERFLOW);
    assert_int_equal(plait_semaphore_value(&semaphore), 1);
    CHECK_RC(plait_semaphore_release(&semaphore, 2), 0);
    CHECK_RC(plait_semaphore_release(&semaphore, 1), PLAIT_EOVERFLOW);
    assert_int_equal(plait_semaphore_value(&semaphore), 3);
}

static void the_greatest_value_bounds_all(void **state)
{
    (void)state;
    plait_semaphore semaphore;
    CHECK_RC(plait_semaphore_init(&semaphore, PLAIT_SEMAPHORE_MAX - 1, 0), 0);
    CHECK_RC(plait_semaphore_release(&semaphore, 2), PLAIT_EOVERFLOW);
    CHECK_RC(plait_semaphore_release(&semaphore, INT_MAX), PLAIT_EOVERFLOW);
    assert_int_equal(plait_semaphore_value(&semaphore), PLAIT_SEMAPHORE_MAX - 1);
    CHECK_RC(plait_semaphore_release(&semaphore, 1), 0);
    CHECK_RC(plait_semaphore_release(&semaphore, 1), PLAIT_EOVERFLOW);
    assert_int_equal(plait_semaphore_value(&semaphore), PLAIT_SEMAPHORE_MAX);
    CHECK_RC(plait_semaphore_acquire(&semaphore, PLAIT_NOWAIT), 0);
    CHECK_RC(plait_semaphore_init(&semaphore, 0, PLAIT_SEMAPHORE_MAX), 0);
    CHECK_RC(plait_semaphore_release(&semaphore, PLAIT_SEMAPHORE_MAX), 0);
}

static void release_of_less_than_1_is_refused(void **state)
{
    (void)state;
    plait_semaphore semaphore;
    CHECK_RC(plait_semaphore_init(&semaphore, 1, 3), 0);
    CHECK_RC(plait_semaphore_release(&semaphore, 0), PLAIT_EINVAL);
    CHECK_RC(plait_semaphore_release(&semaphore, -1), PLAIT_EINVAL);
    CHECK_RC(plait_semaphore_release(&semaphore, INT_MIN), PLAIT_EINVAL);
    assert_int_equal(plait_semaphore_value(&semaphore), 1);
}

/* --- waiting --- */

static void release_n_lets_n_waiters_through(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        start_waiters(&team, s, b, WAITERS);
        CHECK_EQ(through(b, WAITERS), 0);
        CHECK_RC(plait_semaphore_release(&b->semaphore, 2), 0);
        UNTIL(through(b, WAITERS) == 2);
        CHECK_RC(plait_semaphore_acquire(&b->semaphore, plait_ms(5)), PLAIT_ETIMEDOUT);
        CHECK_EQ(through(b, WAITERS), 2);
        CHECK_RC(plait_semaphore_release(&b->semaphore, 5), 0);
        join_waiters(&team, b);
        CHECK_EQ(plait_semaphore_value(&b->semaphore), 3);
        t_delete(s, b);
    }
}

static void each_release_lets_one_waiter_through(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        start_waiters(&team, s, b, WAITERS);
        for (int i = 1; i <= WAITERS; i++) {
            CHECK_RC(plait_semaphore_release(&b->semaphore, 1), 0);
            UNTIL(through(b, WAITERS) == i);
        }
        join_waiters(&team, b);
        CHECK_EQ(plait_semaphore_value(&b->semaphore), 0);
        t_delete(s, b);
    }
}

static void release_past_the_bound_wakes_nobody(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        CHECK_RC(plait_semaphore_init(&b->semaphore, 0, 2), 0);
        start_waiters(&team, s, b, 2);
        CHECK_RC(plait_semaphore_release(&b->semaphore, 3), PLAIT_EOVERFLOW);
        CHECK_EQ(plait_semaphore_value(&b->semaphore), 0);
        CHECK_EQ(through(b, 2), 0);
        CHECK_RC(plait_semaphore_release(&b->semaphore, 2), 0);
        join_waiters(&team, b);
        t_delete(s, b);
    }
}

enum { SETTINGS = 4 };

static int64_t release_to_all(void)
{
    struct box *b[SETTINGS];
    struct t_team teams[SETTINGS];
    for (int i = 0; i < SETTINGS; i++) {
        b[i] = t_new(&t_settings[i], sizeof *b[i]);
        start_waiters(&teams[i], &t_settings[i], b[i], WAITERS);
    }
    t_let_naps_grow();
    int64_t start = plait_now();
    for (int i = 0; i < SETTINGS; i++)
        CHECK_RC(plait_semaphore_release(&b[i]->semaphore, WAITERS), 0);
    for (int i = 0; i < SETTINGS; i++)
        UNTIL(through(b[i], WAITERS) == WAITERS);
    int64_t took = plait_now() - start;
    for (int i = 0; i < SETTINGS; i++) {
        join_waiters(&teams[i], b[i]);
        t_delete(&t_settings[i], b[i]);
    }
    return took;
}

static void release_n_wakes_n_at_once(void **state)
{
    (void)state;
    t_check_at_once(release_to_all);
}

enum { PERMITS = 2, EACH = 500 };

static int go_in_and_out(void *arg)
{
    struct box *b = arg;
    for (int i = 0; i < EACH; i++) {
        CHECK_RC(plait_semaphore_acquire(&b->semaphore, plait_seconds(T_PATIENCE_S)), 0);
        CHECK(COUNT(b->inside) <= PERMITS);
        ADD(b->inside, -1);
        CHECK_RC(plait_semaphore_release(&b->semaphore, 1), 0);
    }
    return 0;
}

static void never_more_inside_than_permits(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        CHECK_RC(plait_semaphore_init(&b->semaphore, PERMITS, PERMITS), 0);
        t_start(&team, s, WAITERS, go_in_and_out, b);
        t_join(&team);
        CHECK_EQ(plait_semaphore_value(&b->semaphore), PERMITS);
        t_delete(s, b);
    }
}

static int release_one(void *semaphore)
{
    return plait_semaphore_release(semaphore, 1);
}

static int take_one(void *semaphore)
{
    return plait_semaphore_acquire(semaphore, PLAIT_NOWAIT);
}

static void anyone_may_release(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    for (int i = 0; i < 2; i++) {
        struct box *b = t_new(s, sizeof *b);
        plait_worker other = t_start_one(s->kinds[i], release_one, &b->semaphore);
        CHECK_RC(plait_semaphore_acquire(&b->semaphore, plait_seconds(T_PATIENCE_S)), 0);
        CHECK_EQ(t_join_one(other), 0);
        t_delete(s, b);
    }
    plait_semaphore semaphore = {0};
    CHECK_EQ(t_in_pthread(release_one, &semaphore), 0);
    CHECK_EQ(t_in_pthread(take_one, &semaphore), 0);
    CHECK_EQ(t_in_pthread(take_one, &semaphore), PLAIT_ETIMEDOUT);
}

/* --- time --- */

static void bad_timeouts_are_refused_with_and_without_permits(void **state)
{
    (void)state;
    plait_semaphore semaphore = {0};
    t_check_bad_timeouts(acquire, &semaphore);
    CHECK_RC(plait_semaphore_release(&semaphore, 1), 0);
    t_check_bad_timeouts(acquire, &semaphore);
    CHECK_EQ(plait_semaphore_value(&semaphore), 1);
}

static void a_timeout_is_over_in_time_and_takes_nothing(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        t_check_time(acquire, &b->semaphore);
        t_check_signals(acquire, &b->semaphore);
        CHECK_EQ(plait_semaphore_value(&b->semaphore), 0);
        CHECK_RC(plait_semaphore_release(&b->semaphore, 1), 0);
        CHECK_EQ(plait_semaphore_value(&b->semaphore), 1);
        t_delete(s, b);
    }
}

static void the_longest_timeout_is_accepted(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        b->waiters[0] = (struct t_waiter){acquire, &b->semaphore, PLAIT_TIMEOUT_MAX, 0, 0, 0};
        plait_worker waiter = t_start_one(s->kinds[0], t_wait_once, &b->waiters[0]);
        UNTIL_WAITS(waiter, PL_WAIT_SEMAPHORE);
        CHECK_RC(plait_semaphore_release(&b->semaphore, 1), 0);
        CHECK_EQ(t_join_one(waiter), 0);
        CHECK_RC(b->waiters[0].rc, 0);
        t_delete(s, b);
    }
}

static void a_timed_out_waiter_takes_no_permit_from_others(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        start_waiters(&team, s, b, 2);
        CHECK_RC(plait_semaphore_acquire(&b->semaphore, plait_ms(5)), PLAIT_ETIMEDOUT);
        CHECK_RC(plait_semaphore_release(&b->semaphore, 2), 0);
        join_waiters(&team, b);
        CHECK_EQ(plait_semaphore_value(&b->semaphore), 0);
        t_delete(s, b);
    }
}

static void errno_is_left_alone(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        start_waiters(&team, s, b, 1);
        errno = EXDEV;
        CHECK_RC(plait_semaphore_acquire(&b->semaphore, plait_ms(2)), PLAIT_ETIMEDOUT);
        CHECK_RC(plait_semaphore_release(&b->semaphore, 2), 0);
        CHECK_RC(plait_semaphore_release(&b->semaphore, 0), PLAIT_EINVAL);
        CHECK_RC(plait_semaphore_acquire(&b->semaphore, PLAIT_FOREVER), 0);
        CHECK_EQ(errno, EXDEV);
        join_waiters(&team, b);
        t_delete(s, b);
    }
}

/* --- cancellation --- */

static void cancellation_ends_a_wait_and_takes_nothing(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        t_check_cancel(s, acquire, &b->semaphore);
        t_check_cancel_pending(s, acquire, &b->semaphore);
        t_check_cancel_counts(s, acquire, &b->semaphore);
        t_check_uncancel(s, acquire, &b->semaphore);
        CHECK_RC(plait_semaphore_release(&b->semaphore, 1), 0);
        CHECK_EQ(plait_semaphore_value(&b->semaphore), 1);
        t_delete(s, b);
    }
}

/* Whether the canceled one got the permit or not, it is not lost. */
static void a_canceled_waiter_leaves_the_permit_to_others(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    for (int round = 0; round < 20; round++) {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        start_waiters(&team, s, b, 2);
        CHECK_RC(plait_cancel(team.workers[0]), 0);
        CHECK_RC(plait_semaphore_release(&b->semaphore, 1), 0);
        CHECK_EQ(t_join_one(team.workers[0]), 0);
        if (b->waiters[0].rc == 0)
            CHECK_RC(plait_semaphore_release(&b->semaphore, 1), 0);
        else
            CHECK_RC(b->waiters[0].rc, PLAIT_ECANCELED);
        CHECK_EQ(t_join_one(team.workers[1]), 0);
        CHECK_RC(b->waiters[1].rc, 0);
        CHECK_EQ(plait_semaphore_value(&b->semaphore), 0);
        t_delete(s, b);
    }
}

/* --- death --- */

static void a_killed_waiter_takes_no_permit(void **state)
{
    (void)state;
    const struct t_setting *both[] = {&t_processes, &t_mixed};
    for (int k = 0; k < 2; k++)
        for (int victim = 0; victim < WAITERS; victim += 2) {
            struct box *b = t_new(both[k], sizeof *b);
            struct t_team team;
            start_waiters(&team, both[k], b, WAITERS);
            t_kill(team.workers[victim]);
            team.workers[victim] = team.workers[--team.n];
            CHECK_RC(plait_semaphore_release(&b->semaphore, WAITERS), 0);
            t_join(&team);
            CHECK_EQ(plait_semaphore_value(&b->semaphore), 1);
            t_delete(both[k], b);
        }
}

static void a_stopped_waiter_holds_up_nobody(void **state)
{
    (void)state;
    struct box *b = t_new(&t_mixed, sizeof *b);
    struct t_team team;
    start_waiters(&team, &t_mixed, b, 3);
    t_stop(team.workers[0]);
    CHECK_RC(plait_semaphore_release(&b->semaphore, 2), 0);
    UNTIL(SEEN(b->waiters[1].step) == 2 && SEEN(b->waiters[2].step) == 2);
    t_continue(team.workers[0]);
    CHECK_RC(plait_semaphore_release(&b->semaphore, 1), 0);
    join_waiters(&team, b);
    t_delete(&t_mixed, b);
}

static int take_and_sleep(void *arg)
{
    struct box *b = arg;
    CHECK_RC(plait_semaphore_acquire(&b->semaphore, plait_seconds(T_PATIENCE_S)), 0);
    TELL(b->taken, 1);
    t_sleep_for_ever();
}

static void who_is_killed_with_a_permit_takes_it_along(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    CHECK_RC(plait_semaphore_init(&b->semaphore, 2, 2), 0);
    plait_worker worker = t_start_one(PLAIT_PROCESS, take_and_sleep, b);
    UNTIL(SEEN(b->taken));
    t_kill(worker);
    CHECK_EQ(plait_semaphore_value(&b->semaphore), 1);
    CHECK_RC(plait_semaphore_release(&b->semaphore, 1), 0); /* anyone may give it back */
    t_delete(&t_processes, b);
}

/* --- fork in user code --- */

static plait_semaphore copied; /* private: each process has its own */

static int use_copied(void *unused)
{
    (void)unused;
    CHECK_RC(plait_semaphore_acquire(&copied, plait_ms(2)), PLAIT_ETIMEDOUT);
    CHECK_RC(plait_semaphore_release(&copied, 2), 0);
    CHECK_RC(plait_semaphore_acquire(&copied, PLAIT_FOREVER), 0);
    return plait_semaphore_value(&copied) == 1 ? 0 : 1;
}

static void a_private_semaphore_copied_by_fork_is_the_childs_own(void **state)
{
    (void)state;
    struct t_waiter waiter = {acquire, &copied, PLAIT_FOREVER, 0, 0, 0};
    plait_worker other = t_start_one(PLAIT_THREAD, t_wait_once, &waiter);
    UNTIL_WAITS(other, PL_WAIT_SEMAPHORE); /* the copy says that someone waits */
    CHECK_EQ(t_in_fork(use_copied, NULL), 0);
    CHECK_EQ(plait_semaphore_value(&copied), 0);
    CHECK_EQ(SEEN(waiter.step), 1);
    CHECK_RC(plait_semaphore_release(&copied, 1), 0);
    CHECK_EQ(t_join_one(other), 0);
    CHECK_RC(waiter.rc, 0);
}

static int64_t release_to_own_thread(void)
{
    struct t_waiter waiter = {acquire, &copied, PLAIT_FOREVER, 0, 0, 0};
    plait_worker own = t_start_one(PLAIT_THREAD, t_wait_once, &waiter);
    UNTIL_WAITS(own, PL_WAIT_SEMAPHORE);
    t_let_naps_grow();
    int64_t start = plait_now();
    CHECK_RC(plait_semaphore_release(&copied, 1), 0);
    CHECK_EQ(t_join_one(own), 0);
    return plait_now() - start;
}

static int wake_own_thread(void *unused)
{
    (void)unused;
    t_check_at_once(release_to_own_thread);
    return 0;
}

/* The parent's waiter came first, but it is not here. */
static void in_a_forked_child_the_wake_up_goes_to_the_childs_waiter(void **state)
{
    (void)state;
    struct t_waiter waiter = {acquire, &copied, PLAIT_FOREVER, 0, 0, 0};
    plait_worker other = t_start_one(PLAIT_THREAD, t_wait_once, &waiter);
    UNTIL_WAITS(other, PL_WAIT_SEMAPHORE);
    CHECK_EQ(t_in_fork(wake_own_thread, NULL), 0);
    CHECK_RC(plait_semaphore_release(&copied, 1), 0);
    CHECK_EQ(t_join_one(other), 0);
}

static void a_forked_child_releases_for_its_parent(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    struct t_team team;
    start_waiters(&team, &t_mixed, b, 2);
    CHECK_EQ(t_in_fork(release_one, &b->semaphore), 0);
    CHECK_EQ(t_in_fork(release_one, &b->semaphore), 0);
    join_waiters(&team, b);
    CHECK_EQ(plait_semaphore_value(&b->semaphore), 0);
    t_delete(&t_processes, b);
}

#ifdef PL_STEP_HOOKS
/* --- every interleaving of a wait with a release and a request to stop --- */

static bool release_here(void *semaphore)
{
    return plait_semaphore_release(semaphore, 1) == 0;
}

static int meet(void *semaphore, long i, long k)
{
    struct t_meddling m = {.deeds = {release_here, t_cancel_me}, .at = {i, k}};
    for (int try = 0; try < T_TRIES; try++) {
        CHECK_RC(plait_semaphore_init(semaphore, 0, 0), 0);
        int rc = t_meddle(&m, acquire, semaphore, plait_ms(T_SHORT_MS));
        t_check_canceled_once(&m, rc);
        CHECK_EQ(plait_semaphore_value(semaphore), m.done[0] - (rc == 0));
        if ((!m.done[0] && !m.done[1]) || m.took < plait_ms(T_TOO_LONG_MS))
            return t_came_late(&m);
    }
    t_die(__FILE__, __LINE__, "deeds at steps %ld and %ld, and it slept on", i, k);
}

static void at_each_step_what_meets_a_wait_is_heard(void **state)
{
    (void)state;
    const struct t_setting *both[] = {&t_private_threads, &t_threads};
    for (int n = 0; n < 2; n++) {
        plait_semaphore *semaphore = t_new(both[n], sizeof *semaphore);
        t_each_pair(meet, semaphore);
        t_delete(both[n], semaphore);
    }
}

/* Another one comes and sleeps behind the caller, then there is one permit. */
struct meeting {
    plait_semaphore semaphore; /* first: the object of the call */
    const struct t_setting *setting;
    struct t_waiter other;
    plait_worker worker;
};

static bool let_another_in_and_release(void *arg)
{
    struct meeting *g = arg;
    g->other = (struct t_waiter){acquire, &g->semaphore, PLAIT_FOREVER, 0, 0, 0};
    g->worker = t_start_one(g->setting->kinds[0], t_wait_once, &g->other);
    UNTIL_WAITS(g->worker, PL_WAIT_SEMAPHORE);
    return plait_semaphore_release(&g->semaphore, 1) == 0;
}

/* The permit goes to one of them, and neither sleeps on beside it. */
static bool went_well(struct meeting *g, const struct t_meddling *m, int rc)
{
    int64_t start = plait_now();
    t_check_canceled_once(m, rc);
    if (!m->done[0])
        return true;
    if (rc == 0)
        CHECK_RC(plait_semaphore_release(&g->semaphore, 1), 0);
    CHECK_EQ(t_join_one(g->worker), 0);
    CHECK_RC(g->other.rc, 0);
    CHECK_EQ(plait_semaphore_value(&g->semaphore), 0);
    return plait_now() - start < plait_ms(T_TOO_LONG_MS);
}

static int meet_in_company(void *arg, long i, long k)
{
    struct meeting *g = arg;
    struct t_meddling m = {.deeds = {let_another_in_and_release, t_cancel_me}, .at = {i, k}};
    for (int try = 0; try < T_TRIES; try++) {
        CHECK_RC(plait_semaphore_init(&g->semaphore, 0, 0), 0);
        int rc = t_meddle(&m, acquire, &g->semaphore, plait_ms(T_SHORT_MS));
        if (went_well(g, &m, rc))
            return t_came_late(&m);
    }
    t_die(__FILE__, __LINE__, "deeds at steps %ld and %ld, and the other slept on", i, k);
}

static void at_each_step_who_gives_up_leaves_the_permit_to_the_other(void **state)
{
    (void)state;
    const struct t_setting *both[] = {&t_private_threads, &t_threads};
    for (int n = 0; n < 2; n++) {
        struct meeting *g = t_new(both[n], sizeof *g);
        g->setting = both[n];
        t_each_pair(meet_in_company, g);
        t_delete(both[n], g);
    }
}
#endif

static int nothing_is_left(void **state)
{
    (void)state;
    return t_has_children() ? -1 : 0;
}

int main(int argc, char **argv)
{
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_an_arena_it_says_why_it_cannot_wait), /* the first */
        cmocka_unit_test(zeroed_memory_is_a_semaphore_of_0_without_bound),
        cmocka_unit_test(init_sets_value_and_bound),
        cmocka_unit_test(bad_values_are_refused_and_change_nothing),
        cmocka_unit_test(null_is_refused),
        cmocka_unit_test(acquire_takes_one_permit),
        cmocka_unit_test(release_past_the_bound_changes_nothing),
        cmocka_unit_test(the_greatest_value_bounds_all),
        cmocka_unit_test(release_of_less_than_1_is_refused),
        cmocka_unit_test(release_n_lets_n_waiters_through),
        cmocka_unit_test(release_n_wakes_n_at_once),
        cmocka_unit_test(each_release_lets_one_waiter_through),
        cmocka_unit_test(release_past_the_bound_wakes_nobody),
        cmocka_unit_test(never_more_inside_than_permits),
        cmocka_unit_test(anyone_may_release),
        cmocka_unit_test(bad_timeouts_are_refused_with_and_without_permits),
        cmocka_unit_test(a_timeout_is_over_in_time_and_takes_nothing),
        cmocka_unit_test(the_longest_timeout_is_accepted),
        cmocka_unit_test(a_timed_out_waiter_takes_no_permit_from_others),
        cmocka_unit_test(errno_is_left_alone),
        cmocka_unit_test(cancellation_ends_a_wait_and_takes_nothing),
        cmocka_unit_test(a_canceled_waiter_leaves_the_permit_to_others),
        cmocka_unit_test(a_killed_waiter_takes_no_permit),
        cmocka_unit_test(a_stopped_waiter_holds_up_nobody),
        cmocka_unit_test(who_is_killed_with_a_permit_takes_it_along),
        cmocka_unit_test(a_private_semaphore_copied_by_fork_is_the_childs_own),
        cmocka_unit_test(in_a_forked_child_the_wake_up_goes_to_the_childs_waiter),
        cmocka_unit_test(a_forked_child_releases_for_its_parent),
#ifdef PL_STEP_HOOKS
        cmocka_unit_test(at_each_step_what_meets_a_wait_is_heard),
        cmocka_unit_test(at_each_step_who_gives_up_leaves_the_permit_to_the_other),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
