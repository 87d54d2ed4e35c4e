/* plait_join on both kinds of worker: results, refusals, time, cancellation, several at once. */
#include "harness.h"
#include "park/park.h"
#include "registry/registry.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *number(intptr_t n)
{
    return (void *)n;
}

static int give_back(void *n)
{
    return (int)(intptr_t)n;
}

struct world {
    plait_event done;
    plait_worker subject, other;
    plait_blame end;
    int joined, stale; /* joins that succeeded, that came too late */
    int go, ready, timeouts;
    long sum;
};

static struct world *new_world(void)
{
    struct world *w = plait_alloc(sizeof *w);
    CHECK(w != NULL);
    return w;
}

static int wait_for_done(void *world)
{
    struct world *w = world;
    int rc = plait_event_wait(&w->done, PLAIT_FOREVER);
    return rc < 0 ? rc : 7;
}

static int join_timed(void *worker, int64_t timeout)
{
    return plait_join(*(plait_worker *)worker, NULL, timeout);
}

static int join_subject_late(void *world)
{
    struct world *w = world;
    UNTIL(SEEN(w->go));
    return plait_join(w->subject, &w->end, plait_seconds(T_PATIENCE_S));
}

/* --- results --- */

static int write_sum(void *world)
{
    struct world *w = world;
    for (int i = 1; i <= 100; i++)
        w->sum += i;
    return 3;
}

static void what_it_wrote_is_seen_after_the_join(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    for (int i = 0; i < 50; i++) {
        struct world *w = new_world();
        plait_worker worker = t_start_one(kind, write_sum, w);
        CHECK_EQ(t_join_one(worker), 3);
        CHECK_EQ(w->sum, 5050);
        CHECK_RC(plait_free(w), 0);
    }
}

static void blame_of_a_thread_is_filled(void **state)
{
    (void)state;
    plait_blame end;
    plait_worker w;
    memset(&end, 0xff, sizeof end);
    int64_t before = plait_now();
    CHECK_RC(plait_start(&w, PLAIT_THREAD, give_back, number(9), &(plait_options){.name = "nine"}),
             0);
    CHECK_RC(plait_join(w, &end, PLAIT_FOREVER), 0);
    int64_t after = plait_now();
    CHECK(plait_same(end.worker, w));
    CHECK_EQ(end.kind, PLAIT_THREAD);
    CHECK_EQ(end.pid, getpid());
    CHECK(end.tid > 0 && end.tid != gettid());
    CHECK_EQ(end.status, 9);
    CHECK_EQ(end.signal, 0);
    CHECK(end.returned && !end.core_dumped);
    CHECK(before <= end.started && end.started <= end.ended && end.ended <= after);
    CHECK_EQ(end.max_rss, 0);
    CHECK(end.user_ns >= 0 && end.system_ns >= 0);
    CHECK(strcmp(end.name, "nine") == 0);
}

static void the_result_may_be_left_out(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    CHECK_RC(plait_join(t_start_one(kind, give_back, number(5)), NULL, PLAIT_FOREVER), 0);
}

static void the_ended_wait_to_be_joined(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_event never = {0};
        plait_blame end;
        plait_worker w = t_start_one(kind, give_back, number(5));
        UNTIL(!plait_is_alive(w));
        CHECK_RC(plait_event_wait(&never, plait_ms(50)), PLAIT_ETIMEDOUT);
        pl_sweep(0);
        CHECK_RC(plait_exit_status(w, &end), 0);
        CHECK_RC(plait_exit_status(w, &end), 0); /* as often as one likes */
        CHECK_EQ(end.status, 5);
        CHECK_EQ(t_join_one(w), 5);
    }
}

/* --- refusals --- */

static int join_self(void *unused)
{
    (void)unused;
    return plait_join(plait_self(), NULL, PLAIT_FOREVER);
}

static void joining_oneself_would_never_end(void **state)
{
    (void)state;
    plait_worker w;
    FOR_EACH_KIND(kind)
    CHECK_EQ(t_join_one(t_start_one(kind, join_self, NULL)), PLAIT_EDEADLK);
    w = plait_self();
    int rc = plait_join(w, NULL, PLAIT_FOREVER);
    CHECK(rc == PLAIT_EDEADLK || rc == PLAIT_ESTALE); /* main: self, and nobody's to join */
    CHECK(t_in_pthread(join_self, NULL) == PLAIT_EDEADLK ||
          t_in_pthread(join_self, NULL) == PLAIT_ESTALE);
}

static void one_joins_once(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_blame end = {.status = 55};
        plait_worker w = t_start_one(kind, give_back, number(4));
        CHECK_EQ(t_join_one(w), 4);
        CHECK_RC(plait_join(w, &end, PLAIT_FOREVER), PLAIT_ESTALE);
        CHECK_EQ(end.status, 55);
        CHECK_RC(plait_join(w, &end, PLAIT_NOWAIT), PLAIT_ESTALE);
    }
}

static void threads_that_plait_did_not_start_count_as_detached(void **state)
{
    (void)state;
    plait_worker self = plait_self();
    struct world *w = new_world();
    w->subject = self;
    TELL(w->go, 1);
    FOR_EACH_KIND(kind)
    CHECK_EQ(t_join_one(t_start_one(kind, join_subject_late, w)), PLAIT_ESTALE);
    CHECK_RC(plait_detach(self), PLAIT_ESTALE);
    CHECK_EQ(plait_is_alive(self), 1);
    CHECK_RC(plait_free(w), 0);
}

static void nobody_is_not_joined(void **state)
{
    (void)state;
    plait_worker nobody = {0, 0};
    CHECK_RC(plait_join(nobody, NULL, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_join(nobody, NULL, -2), PLAIT_EINVAL);
}

/* --- time and cancellation --- */

static void a_join_keeps_the_promises_of_waits(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w = new_world();
        w->subject = t_start_one(kind, wait_for_done, w);
        UNTIL_WAITS(w->subject, PL_WAIT_EVENT);
        t_check_bad_timeouts(join_timed, &w->subject);
        t_check_time(join_timed, &w->subject);
        t_check_signals(join_timed, &w->subject);
        t_check_cancel(&t_mixed, join_timed, &w->subject);
        t_check_cancel_pending(&t_mixed, join_timed, &w->subject);
        t_check_cancel_counts(&t_mixed, join_timed, &w->subject);
        t_check_uncancel(&t_mixed, join_timed, &w->subject);
        CHECK_EQ(plait_is_alive(w->subject), 1);
        plait_event_set(&w->done);
        CHECK_EQ(t_join_one(w->subject), 7); /* still joinable after all that */
        CHECK_RC(plait_free(w), 0);
    }
}

static void a_mere_look_succeeds_once_it_has_ended(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w = new_world();
        plait_blame end;
        plait_worker worker = t_start_one(kind, wait_for_done, w);
        CHECK_RC(plait_join(worker, &end, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
        plait_event_set(&w->done);
        int rc;
        UNTIL((rc = plait_join(worker, &end, PLAIT_NOWAIT)) != PLAIT_ETIMEDOUT);
        CHECK_RC(rc, 0);
        CHECK_EQ(end.status, 7);
        CHECK_RC(plait_free(w), 0);
    }
}

static void bad_times_are_refused_for_the_ended_too(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_worker w = t_start_one(kind, give_back, number(1));
        UNTIL(!plait_is_alive(w));
        CHECK_RC(plait_join(w, NULL, -2), PLAIT_EINVAL);
        CHECK_RC(plait_join(w, NULL, PLAIT_TIMEOUT_MAX + 1), PLAIT_EOVERFLOW);
        CHECK_EQ(t_join_one(w), 1);
    }
}

/* --- several --- */

static int join_subject(void *world)
{
    struct world *w = world;
    plait_blame end;
    TELL(w->ready, 1);
    UNTIL(SEEN(w->go));
    int rc = plait_join(w->subject, &end, PLAIT_FOREVER);
    if (rc == PLAIT_ESTALE) {
        COUNT(w->stale);
        return 0;
    }
    CHECK_RC(rc, 0);
    CHECK_EQ(end.status, 7);
    CHECK(plait_same(end.worker, w->subject));
    COUNT(w->joined);
    return 0;
}

/* All that wait before the end get the result; who comes later gets it or learns that it is gone. */
static void joiners_may_race(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    for (long i = 0; i < t_scaled(t_is_sanitized() ? 10 : 50); i++) {
        struct world *w = new_world();
        struct t_team team;
        w->subject = t_start_one(kind, wait_for_done, w);
        t_start(&team, &t_mixed, 4, join_subject, w);
        TELL(w->go, 1);
        if (i & 1)
            for (int k = 0; k < 4; k++)
                UNTIL(plait_state(team.workers[k]) != PLAIT_STATE_NEW);
        plait_event_set(&w->done);
        t_join(&team);
        CHECK(w->joined >= 1);
        CHECK_EQ(w->joined + w->stale, 4);
        CHECK_RC(plait_join(w->subject, NULL, PLAIT_NOWAIT), PLAIT_ESTALE);
        plait_children(NULL, 0); /* collects what strangers joined */
        CHECK_RC(plait_free(w), 0);
    }
    UNTIL(plait_children(NULL, 0) == 0 && !t_has_children());
}

static void all_who_wait_get_the_result(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w = new_world();
        struct t_team team;
        TELL(w->go, 1);
        w->subject = t_start_one(kind, wait_for_done, w);
        t_start(&team, &t_mixed, 5, join_subject, w);
        for (int k = 0; k < 5; k++)
            UNTIL_WAITS(team.workers[k], PL_WAIT_JOIN);
        plait_event_set(&w->done);
        t_join(&team);
        CHECK_EQ(w->joined, 5);
        CHECK_RC(plait_free(w), 0);
    }
    UNTIL(plait_children(NULL, 0) == 0 && !t_has_children());
}

static int join_other(void *world)
{
    struct world *w = world;
    UNTIL(SEEN(w->go));
    plait_worker other = plait_same(plait_self(), w->subject) ? w->other : w->subject;
    int rc = plait_join(other, NULL, plait_ms(30));
    CHECK(rc == PLAIT_ETIMEDOUT || rc == 0);
    if (rc == PLAIT_ETIMEDOUT)
        COUNT(w->timeouts);
    return 0;
}

/* A deadlock by joins, which at least time gets out of: the first to give up is then joined. */
static void two_that_join_each_other_time_out(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w = new_world();
        w->subject = t_start_one(kind, join_other, w);
        w->other = t_start_one(kind, join_other, w);
        TELL(w->go, 1);
        UNTIL(!plait_is_alive(w->subject) && !plait_is_alive(w->other));
        CHECK(w->timeouts == 1 || w->timeouts == 2);
        plait_join(w->subject, NULL, PLAIT_FOREVER);
        plait_join(w->other, NULL, PLAIT_FOREVER);
        CHECK_RC(plait_free(w), 0);
    }
    UNTIL(plait_children(NULL, 0) == 0 && !t_has_children());
}

static void a_thread_of_the_program_may_join(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w = new_world();
        TELL(w->go, 1);
        w->subject = t_start_one(kind, wait_for_done, w);
        plait_event_set(&w->done);
        CHECK_EQ(t_in_pthread(join_subject, w), 0);
        CHECK_EQ(w->joined, 1);
        CHECK_RC(plait_join(w->subject, NULL, PLAIT_NOWAIT), PLAIT_ESTALE);
        CHECK_RC(plait_free(w), 0);
    }
}

/* --- others' workers --- */

static int start_and_go(void *world)
{
    struct world *w = world;
    w->subject = t_start_one(PLAIT_THREAD, give_back, number(11));
    w->other = t_start_one(PLAIT_PROCESS, give_back, number(12));
    return 0;
}

/* Its status stays, though the thread that started it has ended and sweeps have gone by. */
static void workers_outlive_the_thread_that_started_them(void **state)
{
    (void)state;
    for (int foreign = 0; foreign < 2; foreign++) {
        struct world *w = new_world();
        if (foreign)
            CHECK_EQ(t_in_pthread(start_and_go, w), 0);
        else
            CHECK_EQ(t_join_one(t_start_one(PLAIT_THREAD, start_and_go, w)), 0);
        UNTIL(!plait_is_alive(w->subject) && !plait_is_alive(w->other));
        CHECK_RC(plait_event_wait(&w->done, plait_ms(50)), PLAIT_ETIMEDOUT);
        pl_sweep(0);
        CHECK_EQ(t_join_one(w->subject), 11);
        CHECK_EQ(t_join_one(w->other), 12);
        CHECK_RC(plait_free(w), 0);
    }
    CHECK(!t_has_children());
}

static int stand_still(void *unused)
{
    (void)unused;
    while (pause())
        ;
    return 0;
}

static int start_victim_and_go(void *world)
{
    struct world *w = world;
    w->subject = t_start_one(PLAIT_PROCESS, stand_still, NULL);
    return 0;
}

static void the_killed_outlive_the_thread_that_started_them_too(void **state)
{
    (void)state;
    struct world *w = new_world();
    plait_blame end;
    CHECK_EQ(t_join_one(t_start_one(PLAIT_THREAD, start_victim_and_go, w)), 0);
    CHECK_RC(plait_kill(w->subject), 0);
    UNTIL(!plait_is_alive(w->subject));
    CHECK_RC(plait_event_wait(&w->done, plait_ms(50)), PLAIT_ETIMEDOUT);
    pl_sweep(0);
    CHECK_RC(plait_join(w->subject, &end, PLAIT_FOREVER), PLAIT_DIED);
    CHECK_EQ(end.signal, SIGKILL);
    CHECK_RC(plait_free(w), 0);
}

static void one_that_is_detached_while_joined_ends_the_join(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w = new_world();
        TELL(w->go, 1);
        w->subject = t_start_one(kind, wait_for_done, w);
        plait_worker joiner = t_start_one(PLAIT_THREAD, join_subject_late, w);
        UNTIL_WAITS(joiner, PL_WAIT_JOIN);
        CHECK_RC(plait_detach(w->subject), 0);
        plait_event_set(&w->done);
        int rc = t_join_one(joiner);
        CHECK(rc == 0 || rc == PLAIT_ESTALE);
        CHECK_RC(plait_join(w->subject, NULL, PLAIT_NOWAIT), PLAIT_ESTALE);
        UNTIL(plait_children(NULL, 0) == 0 && !t_has_children());
        CHECK_RC(plait_free(w), 0);
    }
}

static int look_often(void *world)
{
    struct world *w = world;
    plait_blame end;
    for (;;) {
        int rc = plait_exit_status(w->subject, &end);
        if (rc == PLAIT_ESTALE)
            return 0;
        if (rc == 0)
            CHECK(end.status == 7 && end.returned);
        else
            CHECK_RC(rc, PLAIT_EBUSY);
    }
}

static void looking_and_joining_may_meet(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    for (int i = 0; i < 20; i++) {
        struct world *w = new_world();
        struct t_team team;
        w->subject = t_start_one(kind, wait_for_done, w);
        t_start(&team, &t_mixed, 2, look_often, w);
        plait_event_set(&w->done);
        CHECK_EQ(t_join_one(w->subject), 7);
        t_join(&team);
        CHECK_RC(plait_free(w), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_wrote_is_seen_after_the_join),
        cmocka_unit_test(blame_of_a_thread_is_filled),
        cmocka_unit_test(the_result_may_be_left_out),
        cmocka_unit_test(the_ended_wait_to_be_joined),
        cmocka_unit_test(joining_oneself_would_never_end),
        cmocka_unit_test(one_joins_once),
        cmocka_unit_test(threads_that_plait_did_not_start_count_as_detached),
        cmocka_unit_test(nobody_is_not_joined),
        cmocka_unit_test(a_join_keeps_the_promises_of_waits),
        cmocka_unit_test(a_mere_look_succeeds_once_it_has_ended),
        cmocka_unit_test(bad_times_are_refused_for_the_ended_too),
        cmocka_unit_test(joiners_may_race),
        cmocka_unit_test(all_who_wait_get_the_result),
        cmocka_unit_test(two_that_join_each_other_time_out),
        cmocka_unit_test(a_thread_of_the_program_may_join),
        cmocka_unit_test(workers_outlive_the_thread_that_started_them),
        cmocka_unit_test(the_killed_outlive_the_thread_that_started_them_too),
        cmocka_unit_test(one_that_is_detached_while_joined_ends_the_join),
        cmocka_unit_test(looking_and_joining_may_meet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
