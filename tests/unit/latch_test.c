/* The latch: a test per promise of include/plait/latch.h, and each misuse. */
#include "harness/harness.h"

#include "park/park.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { WAITERS = 4 };

struct box {
    plait_latch latch;
    int data[WAITERS]; /* plain: ordered by the latch */
    struct t_waiter waiters[WAITERS];
};

static int wait_for(void *latch, int64_t timeout)
{
    return plait_latch_wait(latch, timeout);
}

static int arrive(void *latch, int64_t timeout)
{
    return plait_latch_arrive_and_wait(latch, timeout);
}

static struct box *new_box(const struct t_setting *s, int count)
{
    struct box *b = t_new(s, sizeof *b);
    CHECK_RC(plait_latch_init(&b->latch, count), 0);
    return b;
}

static void start_waiters(struct t_team *team, const struct t_setting *s, struct box *b,
                          t_wait *call, int n)
{
    team->n = n;
    for (int i = 0; i < n; i++) {
        b->waiters[i] = (struct t_waiter){call, &b->latch, PLAIT_FOREVER, 0, 0, 0};
        team->workers[i] = t_start_one(s->kinds[i % 2], t_wait_once, &b->waiters[i]);
        UNTIL_WAITS(team->workers[i], PL_WAIT_LATCH);
    }
}

static void join_waiters(struct t_team *team, struct box *b)
{
    int n = team->n;
    t_join(team);
    for (int i = 0; i < n; i++)
        CHECK_RC(b->waiters[i].rc, 0);
}

/* --- the count --- */

static void without_an_arena_it_says_why_it_cannot_wait(void **state)
{
    (void)state;
    plait_latch latch;
    CHECK_RC(plait_latch_init(&latch, 1), 0);
    t_check_no_arena(wait_for, &latch);
    t_check_no_arena(arrive, &latch);
    CHECK_EQ(plait_latch_count(&latch), 1);
}

static void zeroed_memory_is_an_open_latch(void **state)
{
    (void)state;
    static plait_latch latch;
    CHECK_EQ(plait_latch_count(&latch), 0);
    CHECK_RC(plait_latch_wait(&latch, PLAIT_NOWAIT), 0);
    CHECK_RC(plait_latch_wait(&latch, PLAIT_FOREVER), 0);
    CHECK_RC(plait_latch_count_down(&latch, 1), PLAIT_EOVERFLOW);
    CHECK_RC(plait_latch_arrive_and_wait(&latch, PLAIT_FOREVER), PLAIT_EOVERFLOW);
}

static void init_sets_the_count(void **state)
{
    (void)state;
    plait_latch latch;
    memset(&latch, 0xff, sizeof latch);
    CHECK_RC(plait_latch_init(&latch, PLAIT_LATCH_MAX), 0);
    CHECK_EQ(plait_latch_count(&latch), PLAIT_LATCH_MAX);
    CHECK_RC(plait_latch_count_down(&latch, PLAIT_LATCH_MAX - 1), 0);
    CHECK_EQ(plait_latch_count(&latch), 1);
    CHECK_RC(plait_latch_wait(&latch, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
    CHECK_RC(plait_latch_count_down(&latch, 1), 0);
    CHECK_RC(plait_latch_wait(&latch, PLAIT_NOWAIT), 0);
    CHECK_RC(plait_latch_init(&latch, 0), 0);
    CHECK_RC(plait_latch_wait(&latch, PLAIT_NOWAIT), 0);
}

static void misuse_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    plait_latch latch;
    CHECK_RC(plait_latch_init(&latch, 3), 0);
    CHECK_RC(plait_latch_init(NULL, 3), PLAIT_EINVAL);
    CHECK_RC(plait_latch_init(&latch, -1), PLAIT_EINVAL);
    CHECK_RC(plait_latch_count_down(NULL, 1), PLAIT_EINVAL);
    CHECK_RC(plait_latch_count_down(&latch, 0), PLAIT_EINVAL);
    CHECK_RC(plait_latch_count_down(&latch, -1), PLAIT_EINVAL);
    CHECK_RC(plait_latch_count_down(&latch, INT_MIN), PLAIT_EINVAL);
    CHECK_RC(plait_latch_count_down(&latch, 4), PLAIT_EOVERFLOW);
    CHECK_RC(plait_latch_count_down(&latch, INT_MAX), PLAIT_EOVERFLOW);
    CHECK_RC(plait_latch_wait(NULL, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_latch_arrive_and_wait(NULL, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_EQ(plait_latch_count(NULL), 0);
    t_check_bad_timeouts(wait_for, &latch);
    t_check_bad_timeouts(arrive, &latch);
    CHECK_EQ(plait_latch_count(&latch), 3);
}

/* --- waiting --- */

static void it_opens_at_0_for_all_and_stays_open(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s, 3);
        struct t_team team;
        start_waiters(&team, s, b, wait_for, WAITERS);
        CHECK_RC(plait_latch_count_down(&b->latch, 2), 0);
        CHECK_RC(plait_latch_count_down(&b->latch, 2), PLAIT_EOVERFLOW);
        CHECK_EQ(plait_latch_count(&b->latch), 1);
        CHECK_RC(plait_latch_wait(&b->latch, plait_ms(2)), PLAIT_ETIMEDOUT);
        for (int i = 0; i < WAITERS; i++)
            CHECK_EQ(SEEN(b->waiters[i].step), 1);
        CHECK_RC(plait_latch_count_down(&b->latch, 1), 0);
        join_waiters(&team, b);
        CHECK_RC(plait_latch_wait(&b->latch, PLAIT_FOREVER), 0);
        CHECK_RC(plait_latch_count_down(&b->latch, 1), PLAIT_EOVERFLOW);
        t_delete(s, b);
    }
}

static int64_t open_all(void)
{
    struct box *b[4];
    struct t_team teams[4];
    for (int i = 0; i < 4; i++) {
        b[i] = new_box(&t_settings[i], 1);
        start_waiters(&teams[i], &t_settings[i], b[i], wait_for, WAITERS);
    }
    t_let_naps_grow();
    int64_t start = plait_now();
    for (int i = 0; i < 4; i++)
        CHECK_RC(plait_latch_count_down(&b[i]->latch, 1), 0);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < WAITERS; k++)
            UNTIL(SEEN(b[i]->waiters[k].step) == 2);
    int64_t took = plait_now() - start;
    for (int i = 0; i < 4; i++) {
        join_waiters(&teams[i], b[i]);
        t_delete(&t_settings[i], b[i]);
    }
    return took;
}

static void it_wakes_them_at_once(void **state)
{
    (void)state;
    t_check_at_once(open_all);
}

static void arrive_and_wait_counts_and_waits(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s, WAITERS + 1);
        struct t_team team;
        start_waiters(&team, s, b, arrive, WAITERS);
        CHECK_EQ(plait_latch_count(&b->latch), 1);
        CHECK_RC(plait_latch_arrive_and_wait(&b->latch, PLAIT_NOWAIT), 0);
        join_waiters(&team, b);
        CHECK_EQ(plait_latch_count(&b->latch), 0);
        t_delete(s, b);
    }
}

static void who_gives_up_has_been_counted(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s, 3);
        struct t_team team;
        CHECK_RC(plait_latch_arrive_and_wait(&b->latch, plait_ms(2)), PLAIT_ETIMEDOUT);
        CHECK_EQ(plait_latch_count(&b->latch), 2);
        CHECK_RC(plait_latch_arrive_and_wait(&b->latch, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
        CHECK_EQ(plait_latch_count(&b->latch), 1);
        CHECK_RC(plait_latch_init(&b->latch, 2), 0);
        start_waiters(&team, s, b, arrive, 1);
        CHECK_RC(plait_cancel(team.workers[0]), 0);
        t_join(&team);
        CHECK_RC(b->waiters[0].rc, PLAIT_ECANCELED);
        CHECK_EQ(plait_latch_count(&b->latch), 1);
        t_delete(s, b);
    }
}

struct part {
    struct box *box;
    int number;
};

static int do_part(void *arg)
{
    struct part *p = arg;
    p->box->data[p->number] = 7;
    return plait_latch_count_down(&p->box->latch, 1);
}

static void what_was_done_before_is_seen(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    for (int round = 0; round < 20; round++) {
        struct box *b = new_box(s, WAITERS);
        struct part *parts = t_new(s, WAITERS * sizeof *parts);
        struct t_team team;
        for (int i = 0; i < WAITERS; i++)
            parts[i] = (struct part){b, i};
        t_start_each(&team, s, WAITERS, do_part, parts, sizeof *parts);
        if (round % 2)
            UNTIL(plait_latch_count(&b->latch) == 0);
        else
            CHECK_RC(plait_latch_wait(&b->latch, plait_seconds(T_PATIENCE_S)), 0);
        for (int i = 0; i < WAITERS; i++)
            CHECK_EQ(b->data[i], 7);
        t_join(&team);
        t_delete(s, parts);
        t_delete(s, b);
    }
}

/* --- time, cancellation --- */

static void a_timeout_is_over_in_time(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s, 1);
        t_check_time(wait_for, &b->latch);
        t_check_signals(wait_for, &b->latch);
        CHECK_EQ(plait_latch_count(&b->latch), 1);
        t_delete(s, b);
    }
}

static void errno_is_left_alone(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s, 1);
        struct t_team team;
        start_waiters(&team, s, b, wait_for, 1);
        errno = EXDEV;
        CHECK_RC(plait_latch_wait(&b->latch, plait_ms(2)), PLAIT_ETIMEDOUT);
        CHECK_RC(plait_latch_count_down(&b->latch, 2), PLAIT_EOVERFLOW);
        CHECK_RC(plait_latch_count_down(&b->latch, 1), 0);
        CHECK_EQ(errno, EXDEV);
        join_waiters(&team, b);
        t_delete(s, b);
    }
}

static void cancellation_ends_a_wait(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s, 1);
        t_check_cancel(s, wait_for, &b->latch);
        t_check_cancel_pending(s, wait_for, &b->latch);
        t_check_cancel_counts(s, wait_for, &b->latch);
        t_check_uncancel(s, wait_for, &b->latch);
        CHECK_EQ(plait_latch_count(&b->latch), 1);
        t_delete(s, b);
    }
}

/* --- death --- */

static void a_killed_waiter_changes_nothing_for_the_others(void **state)
{
    (void)state;
    const struct t_setting *both[] = {&t_processes, &t_mixed};
    for (int k = 0; k < 2; k++)
        for (int victim = 0; victim < WAITERS; victim += 2) {
            struct box *b = new_box(both[k], 1);
            struct t_team team;
            start_waiters(&team, both[k], b, wait_for, WAITERS);
            t_kill(team.workers[victim]);
            team.workers[victim] = team.workers[--team.n];
            CHECK_EQ(plait_latch_count(&b->latch), 1);
            CHECK_RC(plait_latch_count_down(&b->latch, 1), 0);
            t_join(&team);
            t_delete(both[k], b);
        }
}

static int sleep_instead(void *arg)
{
    (void)arg;
    t_sleep_for_ever();
}

static void who_dies_before_it_counted_leaves_the_count(void **state)
{
    (void)state;
    struct box *b = new_box(&t_processes, 2);
    plait_worker dead = t_start_one(PLAIT_PROCESS, sleep_instead, b);
    CHECK_RC(plait_latch_count_down(&b->latch, 1), 0);
    t_kill(dead);
    CHECK_RC(plait_latch_wait(&b->latch, plait_ms(5)), PLAIT_ETIMEDOUT);
    CHECK_EQ(plait_latch_count(&b->latch), 1);
    CHECK_RC(plait_latch_count_down(&b->latch, 1), 0); /* anyone may do it */
    CHECK_RC(plait_latch_wait(&b->latch, PLAIT_FOREVER), 0);
    t_delete(&t_processes, b);
}

/* --- fork in user code --- */

static plait_latch copied; /* private: each process has its own */

static int use_copied(void *unused)
{
    (void)unused;
    CHECK_RC(plait_latch_wait(&copied, plait_ms(2)), PLAIT_ETIMEDOUT);
    CHECK_RC(plait_latch_count_down(&copied, 1), 0);
    CHECK_RC(plait_latch_wait(&copied, PLAIT_FOREVER), 0);
    return 0;
}

static void a_private_latch_copied_by_fork_is_the_childs_own(void **state)
{
    (void)state;
    CHECK_RC(plait_latch_init(&copied, 1), 0);
    struct t_waiter waiter = {wait_for, &copied, PLAIT_FOREVER, 0, 0, 0};
    plait_worker other = t_start_one(PLAIT_THREAD, t_wait_once, &waiter);
    UNTIL_WAITS(other, PL_WAIT_LATCH);
    CHECK_EQ(t_in_fork(use_copied, NULL), 0);
    CHECK_EQ(plait_latch_count(&copied), 1);
    CHECK_EQ(SEEN(waiter.step), 1);
    CHECK_RC(plait_latch_count_down(&copied, 1), 0);
    CHECK_EQ(t_join_one(other), 0);
    CHECK_RC(waiter.rc, 0);
}

static int count_down_one(void *latch)
{
    return plait_latch_count_down(latch, 1);
}

static void anyone_may_count_down(void **state)
{
    (void)state;
    struct box *b = new_box(&t_processes, 2);
    struct t_team team;
    start_waiters(&team, &t_mixed, b, wait_for, 2);
    CHECK_EQ(t_in_fork(count_down_one, &b->latch), 0);
    CHECK_EQ(t_in_pthread(count_down_one, &b->latch), 0);
    join_waiters(&team, b);
    t_delete(&t_processes, b);
}

#ifdef PL_STEP_HOOKS
/* --- every interleaving of a wait with its end and a request to stop --- */

static bool open_here(void *latch)
{
    return plait_latch_count_down(latch, 2) == 0;
}

static int meet(void *latch, long i, long k)
{
    struct t_meddling m = {.deeds = {open_here, t_cancel_me}, .at = {i, k}};
    for (int try = 0; try < T_TRIES; try++) {
        CHECK_RC(plait_latch_init(latch, 2), 0);
        int rc = t_meddle(&m, wait_for, latch, plait_ms(T_SHORT_MS));
        t_check_canceled_once(&m, rc);
        if (rc == 0)
            CHECK(m.done[0]);
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
        plait_latch *latch = t_new(both[n], sizeof *latch);
        t_each_pair(meet, latch);
        t_delete(both[n], latch);
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
        cmocka_unit_test(zeroed_memory_is_an_open_latch),
        cmocka_unit_test(init_sets_the_count),
        cmocka_unit_test(misuse_is_refused_and_changes_nothing),
        cmocka_unit_test(it_opens_at_0_for_all_and_stays_open),
        cmocka_unit_test(it_wakes_them_at_once),
        cmocka_unit_test(arrive_and_wait_counts_and_waits),
        cmocka_unit_test(who_gives_up_has_been_counted),
        cmocka_unit_test(what_was_done_before_is_seen),
        cmocka_unit_test(a_timeout_is_over_in_time),
        cmocka_unit_test(errno_is_left_alone),
        cmocka_unit_test(cancellation_ends_a_wait),
        cmocka_unit_test(a_killed_waiter_changes_nothing_for_the_others),
        cmocka_unit_test(who_dies_before_it_counted_leaves_the_count),
        cmocka_unit_test(a_private_latch_copied_by_fork_is_the_childs_own),
        cmocka_unit_test(anyone_may_count_down),
#ifdef PL_STEP_HOOKS
        cmocka_unit_test(at_each_step_what_meets_a_wait_is_heard),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
