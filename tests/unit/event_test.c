/* The event: a test per promise of include/plait/event.h, and each misuse. */
#include "harness/harness.h"

#include "park/park.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { WAITERS = 4 };

struct box {
    plait_event event, back;
    int data; /* plain: ordered by the event */
    int ready;
    int stop;
    struct t_waiter waiters[WAITERS];
};

static int wait_for(void *event, int64_t timeout)
{
    return plait_event_wait(event, timeout);
}

/* Starts waiters, each asleep before the next one begins. */
static void start_waiters(struct t_team *team, const struct t_setting *s, struct box *b, int n)
{
    team->n = n;
    for (int i = 0; i < n; i++) {
        b->waiters[i] = (struct t_waiter){wait_for, &b->event, PLAIT_FOREVER, 0, 0, 0};
        team->workers[i] = t_start_one(s->kinds[i % 2], t_wait_once, &b->waiters[i]);
        UNTIL_WAITS(team->workers[i], PL_WAIT_EVENT);
    }
}

static void join_waiters(struct t_team *team, struct box *b)
{
    int n = team->n;
    t_join(team);
    for (int i = 0; i < n; i++)
        CHECK_RC(b->waiters[i].rc, 0);
}

/* --- set and clear --- */

static void without_an_arena_it_says_why_it_cannot_wait(void **state)
{
    (void)state;
    plait_event event = {0};
    t_check_no_arena(wait_for, &event);
}

static void zeroed_memory_is_a_clear_event(void **state)
{
    (void)state;
    static plait_event event;
    assert_int_equal(plait_event_is_set(&event), 0);
    CHECK_RC(plait_event_wait(&event, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
}

static void init_makes_any_bytes_a_clear_event(void **state)
{
    (void)state;
    plait_event event;
    memset(&event, 0xff, sizeof event);
    CHECK_RC(plait_event_init(&event), 0);
    assert_int_equal(plait_event_is_set(&event), 0);
    CHECK_RC(plait_event_wait(&event, plait_ms(2)), PLAIT_ETIMEDOUT);
}

static void null_is_refused(void **state)
{
    (void)state;
    CHECK_RC(plait_event_init(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_event_set(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_event_clear(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_event_wait(NULL, PLAIT_FOREVER), PLAIT_EINVAL);
    assert_int_equal(plait_event_is_set(NULL), 0);
}

static void set_stays_until_clear(void **state)
{
    (void)state;
    plait_event event = {0};
    for (int i = 0; i < 3; i++) {
        CHECK_RC(plait_event_set(&event), 0);
        CHECK_RC(plait_event_set(&event), 0); /* does nothing */
        assert_int_equal(plait_event_is_set(&event), 1);
        CHECK_RC(plait_event_wait(&event, PLAIT_NOWAIT), 0);
        CHECK_RC(plait_event_wait(&event, PLAIT_FOREVER), 0); /* not used up */
        CHECK_RC(plait_event_clear(&event), 0);
        CHECK_RC(plait_event_clear(&event), 0);
        assert_int_equal(plait_event_is_set(&event), 0);
        CHECK_RC(plait_event_wait(&event, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
    }
}

static void set_wakes_all_who_wait(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        start_waiters(&team, s, b, WAITERS);
        for (int i = 0; i < WAITERS; i++)
            CHECK_EQ(SEEN(b->waiters[i].step), 1);
        CHECK_RC(plait_event_set(&b->event), 0);
        join_waiters(&team, b);
        CHECK_EQ(plait_event_is_set(&b->event), 1);
        t_delete(s, b);
    }
}

enum { SETTINGS = 4 };

static bool all_through(const struct box *b)
{
    for (int i = 0; i < WAITERS; i++)
        if (SEEN(b->waiters[i].step) != 2)
            return false;
    return true;
}

static int64_t set_for_all(void)
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
        CHECK_RC(plait_event_set(&b[i]->event), 0);
    for (int i = 0; i < SETTINGS; i++)
        UNTIL(all_through(b[i]));
    int64_t took = plait_now() - start;
    for (int i = 0; i < SETTINGS; i++) {
        join_waiters(&teams[i], b[i]);
        t_delete(&t_settings[i], b[i]);
    }
    return took;
}

static void set_wakes_them_at_once(void **state)
{
    (void)state;
    t_check_at_once(set_for_all);
}

static int64_t cancel_all(void)
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
        for (int k = 0; k < WAITERS; k++)
            CHECK_RC(plait_cancel(teams[i].workers[k]), 0);
    for (int i = 0; i < SETTINGS; i++)
        UNTIL(all_through(b[i]));
    int64_t took = plait_now() - start;
    for (int i = 0; i < SETTINGS; i++) {
        t_join(&teams[i]);
        t_delete(&t_settings[i], b[i]);
    }
    return took;
}

static void cancellation_ends_a_wait_at_once(void **state)
{
    (void)state;
    t_check_at_once(cancel_all);
}

static void set_then_clear_still_wakes_all_who_waited(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        start_waiters(&team, s, b, WAITERS);
        CHECK_RC(plait_event_set(&b->event), 0);
        CHECK_RC(plait_event_clear(&b->event), 0);
        join_waiters(&team, b);
        CHECK_EQ(plait_event_is_set(&b->event), 0);
        t_delete(s, b);
    }
}

static void who_comes_after_clear_waits(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team early, late;
        start_waiters(&early, s, b, 2);
        CHECK_RC(plait_event_set(&b->event), 0);
        CHECK_RC(plait_event_clear(&b->event), 0);
        join_waiters(&early, b);
        start_waiters(&late, s, b, 2);
        CHECK_RC(plait_event_wait(&b->event, plait_ms(2)), PLAIT_ETIMEDOUT);
        CHECK_RC(plait_event_set(&b->event), 0);
        join_waiters(&late, b);
        t_delete(s, b);
    }
}

static int answer(void *arg)
{
    struct box *b = arg;
    for (int i = 1; i <= 500; i++) {
        CHECK_RC(plait_event_wait(&b->event, plait_seconds(T_PATIENCE_S)), 0);
        CHECK_RC(plait_event_clear(&b->event), 0);
        CHECK_EQ(b->data, 2 * i - 1);
        b->data++;
        CHECK_RC(plait_event_set(&b->back), 0);
    }
    return 0;
}

static void what_the_setter_wrote_is_seen_by_the_waiter(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        plait_worker other = t_start_one(s->kinds[0], answer, b);
        for (int i = 1; i <= 500; i++) {
            b->data++;
            CHECK_RC(plait_event_set(&b->event), 0);
            CHECK_RC(plait_event_wait(&b->back, plait_seconds(T_PATIENCE_S)), 0);
            CHECK_RC(plait_event_clear(&b->back), 0);
            CHECK_EQ(b->data, 2 * i);
        }
        CHECK_EQ(t_join_one(other), 0);
        t_delete(s, b);
    }
}

static int set_it(void *event)
{
    return plait_event_set(event);
}

static void anyone_may_set_it(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    for (int i = 0; i < 2; i++) {
        struct box *b = t_new(s, sizeof *b);
        plait_worker setter = t_start_one(s->kinds[i], set_it, &b->event);
        CHECK_RC(plait_event_wait(&b->event, plait_seconds(T_PATIENCE_S)), 0);
        CHECK_EQ(t_join_one(setter), 0);
        t_delete(s, b);
    }
    plait_event event = {0};
    CHECK_EQ(t_in_pthread(set_it, &event), 0);
    CHECK_EQ(plait_event_is_set(&event), 1);
}

/* --- time --- */

static void bad_timeouts_are_refused_clear_or_set(void **state)
{
    (void)state;
    plait_event event = {0};
    t_check_bad_timeouts(wait_for, &event);
    CHECK_RC(plait_event_set(&event), 0);
    t_check_bad_timeouts(wait_for, &event);
    CHECK_EQ(plait_event_is_set(&event), 1);
}

static void a_timeout_is_over_in_time(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        t_check_time(wait_for, &b->event);
        t_check_signals(wait_for, &b->event);
        CHECK_EQ(plait_event_is_set(&b->event), 0);
        t_delete(s, b);
    }
}

static void the_longest_timeout_is_accepted(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        b->waiters[0] = (struct t_waiter){wait_for, &b->event, PLAIT_TIMEOUT_MAX, 0, 0, 0};
        plait_worker waiter = t_start_one(s->kinds[0], t_wait_once, &b->waiters[0]);
        UNTIL_WAITS(waiter, PL_WAIT_EVENT);
        CHECK_RC(plait_event_set(&b->event), 0);
        CHECK_EQ(t_join_one(waiter), 0);
        CHECK_RC(b->waiters[0].rc, 0);
        t_delete(s, b);
    }
}

static void a_timed_out_waiter_takes_no_wake_up_from_others(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        start_waiters(&team, s, b, 2);
        CHECK_RC(plait_event_wait(&b->event, plait_ms(5)), PLAIT_ETIMEDOUT);
        CHECK_RC(plait_event_set(&b->event), 0);
        join_waiters(&team, b);
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
        CHECK_RC(plait_event_wait(&b->event, plait_ms(2)), PLAIT_ETIMEDOUT);
        CHECK_RC(plait_event_set(&b->event), 0);
        CHECK_RC(plait_event_wait(&b->event, PLAIT_FOREVER), 0);
        CHECK_RC(plait_event_clear(&b->event), 0);
        CHECK_EQ(errno, EXDEV);
        join_waiters(&team, b);
        t_delete(s, b);
    }
}

/* --- cancellation --- */

static void cancellation_ends_a_wait(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        t_check_cancel(s, wait_for, &b->event);
        t_check_cancel_pending(s, wait_for, &b->event);
        t_check_cancel_counts(s, wait_for, &b->event);
        t_check_uncancel(s, wait_for, &b->event);
        CHECK_RC(plait_event_set(&b->event), 0);
        CHECK_RC(plait_event_wait(&b->event, PLAIT_NOWAIT), 0);
        t_delete(s, b);
    }
}

static void a_canceled_waiter_leaves_the_others_waiting(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        start_waiters(&team, s, b, 3);
        CHECK_RC(plait_cancel(team.workers[0]), 0);
        CHECK_EQ(t_join_one(team.workers[0]), 0);
        CHECK_RC(b->waiters[0].rc, PLAIT_ECANCELED);
        CHECK_EQ(SEEN(b->waiters[1].step), 1);
        CHECK_EQ(SEEN(b->waiters[2].step), 1);
        CHECK_RC(plait_event_set(&b->event), 0);
        CHECK_EQ(t_join_one(team.workers[1]), 0);
        CHECK_EQ(t_join_one(team.workers[2]), 0);
        CHECK_RC(b->waiters[1].rc, 0);
        CHECK_RC(b->waiters[2].rc, 0);
        t_delete(s, b);
    }
}

enum { RACES = 300 };

/* In each round it is asked to stop once while the event is set: it hears of both, in any order. */
static int hear_of_both(void *arg)
{
    struct box *b = arg;
    for (int i = 0; i < RACES; i++) {
        int rc = plait_event_wait(&b->event, plait_seconds(T_PATIENCE_S));
        CHECK(rc == 0 || rc == PLAIT_ECANCELED);
        UNTIL(SEEN(b->ready) > i);
        if (rc == 0) /* then the request is still to come */
            CHECK_RC(plait_event_wait(&b->back, plait_seconds(T_PATIENCE_S)), PLAIT_ECANCELED);
        CHECK_EQ(plait_uncancel(), 0);
        CHECK_RC(plait_event_clear(&b->event), 0);
        COUNT(b->stop);
    }
    return 0;
}

static int set_in_each_round(void *arg)
{
    struct box *b = arg;
    for (int i = 0; i < RACES; i++) {
        UNTIL(SEEN(b->data) > i);
        CHECK_RC(plait_event_set(&b->event), 0);
    }
    return 0;
}

static void a_request_to_stop_that_meets_a_set_is_not_lost(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        plait_worker waiter = t_start_one(s->kinds[0], hear_of_both, b);
        plait_worker setter = t_start_one(s->kinds[1], set_in_each_round, b);
        for (int i = 0; i < RACES; i++) {
            UNTIL_WAITS(waiter, PL_WAIT_EVENT);
            COUNT(b->data);
            CHECK_RC(plait_cancel(waiter), 0);
            UNTIL(plait_event_is_set(&b->event) || SEEN(b->stop) > i);
            COUNT(b->ready);
            UNTIL(SEEN(b->stop) > i);
        }
        CHECK_EQ(t_join_one(waiter), 0);
        CHECK_EQ(t_join_one(setter), 0);
        t_delete(s, b);
    }
}

/* --- death --- */

static void a_killed_waiter_does_not_hold_up_the_others(void **state)
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
            CHECK_RC(plait_event_set(&b->event), 0);
            t_join(&team);
            t_delete(both[k], b);
        }
}

static void a_stopped_waiter_hears_of_it_when_it_goes_on(void **state)
{
    (void)state;
    struct box *b = t_new(&t_mixed, sizeof *b);
    struct t_team team;
    start_waiters(&team, &t_mixed, b, 2);
    t_stop(team.workers[0]);
    CHECK_RC(plait_event_set(&b->event), 0);
    CHECK_RC(plait_event_clear(&b->event), 0);
    UNTIL(SEEN(b->waiters[1].step) == 2);
    t_continue(team.workers[0]);
    join_waiters(&team, b);
    t_delete(&t_mixed, b);
}

static int set_and_clear_for_ever(void *arg)
{
    struct box *b = arg;
    TELL(b->ready, 1);
    for (;;) {
        plait_event_set(&b->event);
        plait_event_clear(&b->event);
    }
    return 0;
}

static void a_killed_setter_leaves_it_set_or_clear(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct box *b = t_new(&t_processes, sizeof *b);
        struct t_team team;
        plait_worker setter = t_start_one(PLAIT_PROCESS, set_and_clear_for_ever, b);
        UNTIL(SEEN(b->ready));
        t_kill(setter);
        int set = plait_event_is_set(&b->event);
        CHECK_RC(plait_event_wait(&b->event, PLAIT_NOWAIT), set ? 0 : PLAIT_ETIMEDOUT);
        CHECK_RC(plait_event_clear(&b->event), 0);
        start_waiters(&team, &t_mixed, b, 2);
        CHECK_RC(plait_event_set(&b->event), 0);
        join_waiters(&team, b);
        t_delete(&t_processes, b);
    }
}

/* --- fork in user code --- */

static plait_event copied; /* private: each process has its own */

static void a_forked_child_sets_an_arena_event_for_its_parent(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    struct t_team team;
    start_waiters(&team, &t_mixed, b, 2);
    CHECK_EQ(t_in_fork(set_it, &b->event), 0);
    join_waiters(&team, b);
    CHECK_EQ(plait_event_is_set(&b->event), 1);
    t_delete(&t_processes, b);
}

static int use_copied(void *unused)
{
    (void)unused;
    CHECK_RC(plait_event_wait(&copied, plait_ms(2)), PLAIT_ETIMEDOUT);
    CHECK_RC(plait_event_set(&copied), 0);
    CHECK_RC(plait_event_wait(&copied, PLAIT_FOREVER), 0);
    return 0;
}

static void a_private_event_copied_by_fork_is_the_childs_own(void **state)
{
    (void)state;
    struct t_waiter waiter = {wait_for, &copied, PLAIT_FOREVER, 0, 0, 0};
    plait_worker other = t_start_one(PLAIT_THREAD, t_wait_once, &waiter);
    UNTIL_WAITS(other, PL_WAIT_EVENT); /* the copy says that someone waits */
    CHECK_EQ(t_in_fork(use_copied, NULL), 0);
    CHECK_EQ(plait_event_is_set(&copied), 0);
    CHECK_EQ(SEEN(waiter.step), 1);
    CHECK_RC(plait_event_set(&copied), 0);
    CHECK_EQ(t_join_one(other), 0);
    CHECK_RC(waiter.rc, 0);
}

static int wait_as_child(void *arg)
{
    struct box *b = arg;
    TELL(b->ready, 1);
    return plait_event_wait(&b->event, plait_seconds(T_PATIENCE_S)) == 0 ? 0 : 1;
}

static void a_forked_child_waits_for_its_parent(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    pid_t child = t_fork(wait_as_child, b);
    UNTIL(SEEN(b->ready));
    CHECK_RC(plait_event_set(&b->event), 0);
    CHECK_RC(plait_event_clear(&b->event), 0);
    CHECK_RC(plait_event_set(&b->event), 0);
    CHECK_EQ(t_reap(child), 0);
    t_delete(&t_processes, b);
}

#ifdef PL_STEP_HOOKS
/* --- every interleaving of a wait with a set and a request to stop --- */

static bool set_here(void *event)
{
    return plait_event_set(event) == 0;
}

static bool pulse_here(void *event)
{
    return plait_event_set(event) == 0 && plait_event_clear(event) == 0;
}

struct meeting {
    plait_event *event;
    bool (*deed)(void *);
};

static void check_heard(const struct t_meddling *m, plait_event *event, int rc)
{
    t_check_canceled_once(m, rc);
    if (rc == 0)
        CHECK(m->done[0]);
    if (rc == PLAIT_ETIMEDOUT && m->done[0] && m->deeds[0] == set_here)
        CHECK_EQ(plait_event_is_set(event), 1);
    if (rc == PLAIT_ETIMEDOUT && m->done[0] && m->deeds[0] == pulse_here)
        CHECK(m->at[0] == 1 || m->at[0] == m->steps); /* before the first look, after the last */
}

/* Whether it slept although there was something to hear. */
static bool overslept(const struct t_meddling *m)
{
    bool unheard = m->deeds[0] == pulse_here && m->at[0] == 1; /* it came before the wait began */
    return ((m->done[0] && !unheard) || m->done[1]) && m->took > plait_ms(T_TOO_LONG_MS);
}

static int meet(void *arg, long i, long k)
{
    struct meeting *g = arg;
    struct t_meddling m = {.deeds = {g->deed, t_cancel_me}, .at = {i, k}};
    for (int try = 0; try < T_TRIES; try++) {
        CHECK_RC(plait_event_init(g->event), 0);
        check_heard(&m, g->event, t_meddle(&m, wait_for, g->event, plait_ms(T_SHORT_MS)));
        if (!overslept(&m))
            return t_came_late(&m);
    }
    t_die(__FILE__, __LINE__, "deeds at steps %ld and %ld, and it slept on", i, k);
}

static void at_each_step_what_meets_a_wait_is_heard(void **state)
{
    (void)state;
    const struct t_setting *both[] = {&t_private_threads, &t_threads};
    for (int n = 0; n < 4; n++) {
        plait_event *event = t_new(both[n % 2], sizeof *event);
        struct meeting g = {event, n < 2 ? set_here : pulse_here};
        t_each_pair(meet, &g);
        t_delete(both[n % 2], event);
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
        cmocka_unit_test(zeroed_memory_is_a_clear_event),
        cmocka_unit_test(init_makes_any_bytes_a_clear_event),
        cmocka_unit_test(null_is_refused),
        cmocka_unit_test(set_stays_until_clear),
        cmocka_unit_test(set_wakes_all_who_wait),
        cmocka_unit_test(set_wakes_them_at_once),
        cmocka_unit_test(cancellation_ends_a_wait_at_once),
        cmocka_unit_test(set_then_clear_still_wakes_all_who_waited),
        cmocka_unit_test(who_comes_after_clear_waits),
        cmocka_unit_test(what_the_setter_wrote_is_seen_by_the_waiter),
        cmocka_unit_test(anyone_may_set_it),
        cmocka_unit_test(bad_timeouts_are_refused_clear_or_set),
        cmocka_unit_test(a_timeout_is_over_in_time),
        cmocka_unit_test(the_longest_timeout_is_accepted),
        cmocka_unit_test(a_timed_out_waiter_takes_no_wake_up_from_others),
        cmocka_unit_test(errno_is_left_alone),
        cmocka_unit_test(cancellation_ends_a_wait),
        cmocka_unit_test(a_canceled_waiter_leaves_the_others_waiting),
        cmocka_unit_test(a_request_to_stop_that_meets_a_set_is_not_lost),
        cmocka_unit_test(a_killed_waiter_does_not_hold_up_the_others),
        cmocka_unit_test(a_stopped_waiter_hears_of_it_when_it_goes_on),
        cmocka_unit_test(a_killed_setter_leaves_it_set_or_clear),
        cmocka_unit_test(a_forked_child_sets_an_arena_event_for_its_parent),
        cmocka_unit_test(a_private_event_copied_by_fork_is_the_childs_own),
        cmocka_unit_test(a_forked_child_waits_for_its_parent),
#ifdef PL_STEP_HOOKS
        cmocka_unit_test(at_each_step_what_meets_a_wait_is_heard),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
