/* Scopes, groups, gather and locals where tasks take part. What one thread's tasks share needs no atomics. */
#include "harness.h"
#include "park/park.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

struct world {
    plait_event never, go;
    plait_scope *scope;
    plait_group *group;
    plait_worker workers[8];
    int fds[2];
    int ready, ended, cancelled, timed_out;
    int rc, n;
};

static struct world *new_world(void)
{
    struct world *w = plait_alloc(sizeof *w);
    CHECK(w != NULL);
    return w;
}

/* Lets the others run until it is so. */
#define YIELD_UNTIL(condition)                                                                     \
    do                                                                                             \
        CHECK_RC(plait_sleep(plait_ms(1)), 0);                                                     \
    while (!(condition))

static plait_worker start(plait_group *g, int kind, plait_function *fn, void *arg)
{
    plait_worker w;
    CHECK_RC(plait_group_start(g, &w, kind, fn, arg, NULL), 0);
    return w;
}

static plait_worker task(plait_function *fn, void *arg)
{
    plait_worker w;
    CHECK_RC(plait_start(&w, PLAIT_TASK, fn, arg, NULL), 0);
    return w;
}

static int joined(plait_worker w)
{
    plait_blame end;
    int rc = plait_join(w, &end, PLAIT_FOREVER);
    CHECK(rc >= 0);
    return end.status;
}

static int wait_to_be_cancelled(void *arg)
{
    struct world *w = arg;
    COUNT(w->ready);
    CHECK_RC(plait_event_wait(&w->never, PLAIT_FOREVER), PLAIT_ECANCELED);
    COUNT(w->cancelled);
    return PLAIT_ECANCELED;
}

static int fail_at_go(void *arg)
{
    struct world *w = arg;
    COUNT(w->ready);
    CHECK_RC(plait_event_wait(&w->go, PLAIT_FOREVER), 0);
    return -77;
}

static int give_back(void *n)
{
    return (int)(intptr_t)n;
}

/* --- scopes --- */

static int time_out_of_each_wait(void *arg)
{
    struct world *w = arg;
    plait_event private = {0};
    plait_semaphore shared_wait = {0};
    int others = 0;
    PLAIT_TIMEOUT(plait_ms(3)) {
        CHECK_RC(plait_event_wait(&private, PLAIT_FOREVER), PLAIT_ECANCELED);
        CHECK_RC(plait_semaphore_acquire(&shared_wait, plait_seconds(30)), PLAIT_ECANCELED);
        CHECK_RC(plait_sleep(plait_seconds(30)), PLAIT_ECANCELED);
        CHECK_RC(plait_yield(), PLAIT_ECANCELED);
    } else
        others++;
    PLAIT_TIMEOUT(plait_ms(3))
        CHECK_RC(plait_event_wait(&w->never, PLAIT_FOREVER), PLAIT_ECANCELED);
    else
        others++;
    PLAIT_TIMEOUT(plait_ms(3))
        CHECK_RC(plait_sleep(plait_seconds(30)), PLAIT_ECANCELED);
    else
        others++;
    PLAIT_TIMEOUT(plait_ms(3))
        CHECK_RC(plait_wait_fd(w->fds[0], PLAIT_READABLE, PLAIT_FOREVER), PLAIT_ECANCELED);
    else
        others++;
    plait_worker one = task(wait_to_be_cancelled, w);
    PLAIT_TIMEOUT(plait_ms(3))
        CHECK_RC(plait_join(one, NULL, PLAIT_FOREVER), PLAIT_ECANCELED);
    else
        others++;
    CHECK_RC(plait_cancel(one), 0);
    CHECK_EQ(joined(one), PLAIT_ECANCELED);
    PLAIT_TIMEOUT(plait_seconds(30))
        CHECK_RC(plait_event_wait(&private, plait_ms(2)), PLAIT_ETIMEDOUT);
    else
        others++;
    CHECK_EQ(others, 5);
    CHECK_RC(plait_event_wait(&private, plait_ms(1)), PLAIT_ETIMEDOUT);
    COUNT(w->ended);
    return 0;
}

static int run_timeouts(void *arg)
{
    struct world *w = arg;
    plait_worker tasks[3];
    for (int i = 0; i < 3; i++)
        tasks[i] = task(time_out_of_each_wait, w);
    time_out_of_each_wait(w);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(joined(tasks[i]), 0);
    return 0;
}

static void every_wait_of_a_task_obeys(void **state)
{
    (void)state;
    struct world *w = new_world();
    CHECK_EQ(pipe(w->fds), 0);
    CHECK_EQ(plait_run(run_timeouts, w), 0);
    CHECK_EQ(w->ended, 4);
    CHECK_EQ(time_out_of_each_wait(w), 0); /* a thread that has a task now and then */
    close(w->fds[0]);
    close(w->fds[1]);
    CHECK_RC(plait_free(w), 0);
}

static int in_a_scope(void *arg)
{
    struct world *w = arg;
    plait_scope s;
    plait_event private = {0};
    CHECK_RC(plait_scope_begin(&s, PLAIT_FOREVER), 0);
    w->scope = &s;
    __atomic_store_n(&w->ready, 1, __ATOMIC_SEQ_CST);
    w->rc = w->n ? plait_event_wait(&w->never, PLAIT_FOREVER)
                 : plait_event_wait(&private, PLAIT_FOREVER);
    while (SEEN(w->ready) != 2)
        plait_yield();
    CHECK_RC(plait_scope_end(&s), 1);
    return 0;
}

static int cancel_its_scope(void *arg)
{
    struct world *w = arg;
    UNTIL(SEEN(w->ready) == 1);
    CHECK_RC(plait_scope_cancel(w->scope), 0);
    TELL(w->ready, 2);
    return 0;
}

static int run_scope_cancels(void *arg)
{
    struct world *w = arg;
    for (int i = 0; i < 200; i++) {
        w->n = i % 2;
        w->ready = 0;
        plait_worker inside = task(in_a_scope, w);
        if (i % 4 < 2) { /* by a task of the same thread */
            YIELD_UNTIL(w->ready == 1);
            CHECK_RC(plait_scope_cancel(w->scope), 0);
            w->ready = 2;
            CHECK_EQ(joined(inside), 0);
        } else { /* by another thread, at any moment */
            plait_worker other = t_start_one(PLAIT_THREAD, cancel_its_scope, w);
            CHECK_EQ(joined(inside), 0);
            CHECK_EQ(joined(other), 0);
        }
        CHECK_RC(w->rc, PLAIT_ECANCELED);
    }
    return 0;
}

static void a_tasks_scope_can_be_cancelled_from_everywhere(void **state)
{
    (void)state;
    struct world *w = new_world();
    CHECK_EQ(plait_run(run_scope_cancels, w), 0);
    CHECK_RC(plait_free(w), 0);
}

static int shielded(void *arg)
{
    struct world *w = arg;
    PLAIT_SHIELD
    {
        CHECK_RC(plait_event_wait(&w->go, PLAIT_FOREVER), 0);
        CHECK_RC(plait_sleep(plait_ms(2)), 0);
        CHECK_RC(plait_yield(), 0);
        w->ended++;
    }
    return plait_sleep(plait_seconds(30));
}

static int run_shield(void *arg)
{
    struct world *w = arg;
    plait_worker one = task(shielded, w);
    CHECK_RC(plait_sleep(plait_ms(1)), 0);
    CHECK_RC(plait_cancel(one), 0);
    CHECK_RC(plait_sleep(plait_ms(5)), 0);
    CHECK_EQ(w->ended, 0);
    CHECK_RC(plait_event_set(&w->go), 0);
    CHECK_EQ(joined(one), PLAIT_ECANCELED);
    CHECK_EQ(w->ended, 1);
    return 0;
}

static void a_task_can_be_shielded(void **state)
{
    (void)state;
    struct world *w = new_world();
    CHECK_EQ(plait_run(run_shield, w), 0);
    CHECK_RC(plait_free(w), 0);
}

static int leave_tasks_behind(void *arg)
{
    struct world *w = arg;
    for (int i = 0; i < 3; i++)
        task(wait_to_be_cancelled, w);
    return 5;
}

static void a_scope_around_a_run_cancels_its_tasks(void **state)
{
    (void)state;
    struct world *w = new_world();
    plait_scope s;
    CHECK_RC(plait_scope_begin(&s, plait_ms(5)), 0);
    CHECK_EQ(plait_run(leave_tasks_behind, w), 5);
    CHECK_RC(plait_scope_end(&s), 1);
    CHECK_EQ(w->cancelled, 3);
    CHECK_RC(plait_free(w), 0);
}

/* --- groups --- */

static const int mixes[][2] = {{PLAIT_TASK, PLAIT_TASK},
                               {PLAIT_TASK, PLAIT_THREAD},
                               {PLAIT_THREAD, PLAIT_TASK},
                               {PLAIT_TASK, PLAIT_PROCESS},
                               {PLAIT_PROCESS, PLAIT_TASK}};

static int own_a_failing_group(void *arg)
{
    for (int m = 0; m < 5; m++) {
        for (int in_body = 0; in_body < 2; in_body++) {
            struct world *w = new_world();
            plait_group g = {0};
            plait_blame failure;
            int rc = 0;
            PLAIT_GROUP(&g) {
                for (int i = 0; i < 3; i++)
                    start(&g, mixes[m][1], wait_to_be_cancelled, w);
                plait_worker failing = start(&g, mixes[m][0], fail_at_go, w);
                YIELD_UNTIL(SEEN(w->ready) == 4);
                CHECK_RC(plait_event_set(&w->go), 0);
                (void)failing;
                if (in_body) {
                    CHECK_RC(plait_event_wait(&w->never, PLAIT_FOREVER), PLAIT_ECANCELED);
                    CHECK_RC(plait_sleep(plait_seconds(9)), PLAIT_ECANCELED);
                }
            } else
                rc = plait_group_error(&g);
            CHECK_RC(rc, -77);
            CHECK_EQ(w->cancelled, 3);
            CHECK_EQ(plait_group_failures(&g, &failure, 1), 1);
            CHECK_EQ(failure.status, -77);
            CHECK_EQ(failure.kind, mixes[m][0]);
            CHECK_RC(plait_checkpoint(), 0);
            CHECK_EQ(plait_cancelling(), 0);
            CHECK_RC(plait_free(w), 0);
        }
    }
    return (int)(intptr_t)arg;
}

static int run_failing_groups(void *arg)
{
    (void)arg;
    plait_worker tasks[2];
    for (int i = 0; i < 2; i++)
        tasks[i] = task(own_a_failing_group, (void *)(intptr_t)i);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(joined(tasks[i]), i);
    return own_a_failing_group((void *)9);
}

static void a_failure_cancels_the_rest_whoever_owns_the_group(void **state)
{
    (void)state;
    CHECK_EQ(plait_run(run_failing_groups, NULL), 9);
    CHECK_EQ(own_a_failing_group((void *)8), 8); /* without plait_run */
}

static int own_a_group_with_a_victim(void *arg)
{
    for (int in_body = 0; in_body < 2; in_body++) {
        struct world *w = new_world();
        plait_group g = {0};
        start(&g, PLAIT_TASK, wait_to_be_cancelled, w);
        start(&g, PLAIT_THREAD, wait_to_be_cancelled, w);
        plait_worker victim = start(&g, PLAIT_PROCESS, wait_to_be_cancelled, w);
        YIELD_UNTIL(SEEN(w->ready) == 3);
        CHECK_RC(plait_kill(victim), 0);
        if (in_body)
            CHECK_RC(plait_sleep(plait_seconds(30)), PLAIT_ECANCELED);
        CHECK_RC(plait_group_leave(&g), PLAIT_EDIED);
        CHECK_EQ(w->cancelled, 2);
        CHECK_RC(plait_free(w), 0);
    }
    return (int)(intptr_t)arg;
}

static int run_victims(void *arg)
{
    (void)arg;
    CHECK_EQ(joined(task(own_a_group_with_a_victim, (void *)1)), 1);
    return own_a_group_with_a_victim((void *)2);
}

static void a_task_learns_that_a_member_was_killed(void **state)
{
    (void)state;
    CHECK_EQ(plait_run(run_victims, NULL), 2);
}

static int own_and_be_cancelled(void *arg)
{
    struct world *w = arg;
    plait_group g = {0};
    int rc = 0;
    PLAIT_GROUP(&g) {
        start(&g, PLAIT_TASK, wait_to_be_cancelled, w);
        start(&g, PLAIT_TASK, wait_to_be_cancelled, w);
        if (w->n)
            CHECK_RC(plait_sleep(plait_seconds(30)), PLAIT_ECANCELED);
    } else
        rc = plait_group_error(&g);
    CHECK_RC(rc, PLAIT_ECANCELED);
    CHECK_EQ(plait_cancelling(), 1);
    CHECK_RC(plait_sleep(plait_ms(1)), 0);
    return 0;
}

static int run_cancelled_owners(void *arg)
{
    struct world *w = arg;
    for (w->n = 0; w->n < 2; w->n++) {
        plait_worker owner = task(own_and_be_cancelled, w);
        YIELD_UNTIL(w->ready == 2 * (w->n + 1));
        CHECK_RC(plait_cancel(owner), 0);
        CHECK_EQ(joined(owner), 0);
        CHECK_EQ(w->cancelled, 2 * (w->n + 1));
    }
    return 0;
}

static void cancelling_the_owner_cancels_the_members(void **state)
{
    (void)state;
    struct world *w = new_world();
    CHECK_EQ(plait_run(run_cancelled_owners, w), 0);
    CHECK_RC(plait_free(w), 0);
}

static int start_two_more(void *arg)
{
    struct world *w = arg;
    if (w->n++ < 40) {
        start(w->group, PLAIT_TASK, start_two_more, w);
        start(w->group, PLAIT_TASK, start_two_more, w);
    }
    CHECK_RC(plait_yield(), 0);
    w->ended++;
    return 0;
}

static int run_growing_group(void *arg)
{
    struct world *w = arg;
    plait_group g = {0};
    w->group = &g;
    start(&g, PLAIT_TASK, start_two_more, w);
    CHECK_RC(plait_group_leave(&g), 0);
    CHECK_EQ(w->ended, w->n);
    CHECK_EQ(w->n, 81);
    CHECK_RC(plait_group_start(&g, NULL, PLAIT_TASK, give_back, NULL, NULL), PLAIT_ECLOSED);
    return 0;
}

static void tasks_can_be_added_while_waiting(void **state)
{
    (void)state;
    struct world *w = new_world();
    CHECK_EQ(plait_run(run_growing_group, w), 0);
    CHECK_RC(plait_free(w), 0);
}

static int cancel_before_first_step(void *arg)
{
    struct world *w = arg;
    plait_group g = {0};
    for (int i = 0; i < 100; i++)
        start(&g, PLAIT_TASK, wait_to_be_cancelled, w);
    CHECK_RC(plait_group_cancel(&g), 0);
    CHECK_RC(plait_group_leave(&g), 0);
    CHECK_EQ(w->ready, 0);
    return 0;
}

static void members_cancelled_before_their_first_step_never_run(void **state)
{
    (void)state;
    struct world *w = new_world();
    CHECK_EQ(plait_run(cancel_before_first_step, w), 0);
    CHECK_RC(plait_free(w), 0);
}

/* --- gather and its kin --- */

static int sleep_ms(void *ms)
{
    CHECK_RC(plait_sleep(plait_ms((intptr_t)ms)), 0);
    return (int)(intptr_t)ms;
}

static int sleep_or_cancelled(void *ms)
{
    int rc = plait_sleep(plait_ms((intptr_t)ms));
    return rc < 0 ? rc : (int)(intptr_t)ms;
}

static int run_gathers(void *arg)
{
    struct world *w = arg;
    plait_worker all[6];
    plait_blame ends[6];
    bool told[6] = {false};
    for (int i = 0; i < 6; i++)
        CHECK_RC(plait_start(&all[i],
                             i == 2   ? PLAIT_THREAD
                             : i == 4 ? PLAIT_PROCESS
                                      : PLAIT_TASK,
                             sleep_ms, (void *)(intptr_t)(30 - 5 * i),
                             &(plait_options){.start_method = PLAIT_FORK}),
                 0);
    plait_as_completed order = {all, 6, told};
    for (int i = 0; i < 6; i++) {
        int which;
        CHECK_RC(plait_as_completed_next(&order, &which, PLAIT_FOREVER), 1);
        w->n += which;
    }
    CHECK_EQ(w->n, 15);
    CHECK_RC(plait_gather(all, 6, ends, NULL, PLAIT_FOREVER), 0);
    for (int i = 0; i < 6; i++)
        CHECK_EQ(ends[i].status, 30 - 5 * i);

    for (int i = 0; i < 3; i++)
        all[i] = task(sleep_or_cancelled, (void *)(intptr_t)(i == 1 ? 1 : 30000));
    CHECK_RC(plait_wait(all, 3, told, PLAIT_FIRST_COMPLETED, PLAIT_FOREVER), 1);
    CHECK(told[1]);
    CHECK_RC(plait_wait(all, 3, told, PLAIT_ALL_COMPLETED, plait_ms(2)), 1);
    CHECK_RC(plait_wait_for(all[0], ends, plait_ms(2)), PLAIT_ETIMEDOUT);
    CHECK_EQ(ends[0].status, PLAIT_ECANCELED);
    plait_worker failing = task(give_back, (void *)-5);
    plait_worker two[2] = {all[2], failing};
    CHECK_RC(plait_wait(two, 2, told, PLAIT_FIRST_EXCEPTION, PLAIT_FOREVER), 1);
    CHECK_RC(plait_gather(two, 2, ends, NULL, PLAIT_FOREVER), -5);
    CHECK_RC(plait_cancel(all[2]), 0);
    CHECK_RC(plait_gather(two, 2, ends, &(plait_gather_options){.return_exceptions = true},
                          PLAIT_FOREVER),
             0);
    CHECK_EQ(ends[0].status, PLAIT_ECANCELED);
    CHECK_EQ(ends[1].status, -5);
    CHECK_EQ(joined(all[1]), 1);
    return 0;
}

static void tasks_can_be_gathered_with_others(void **state)
{
    (void)state;
    struct world *w = new_world();
    CHECK_EQ(plait_run(run_gathers, w), 0);
    w->n = 0;
    CHECK_EQ(run_gathers(w), 0);
    CHECK_RC(plait_free(w), 0);
}

static int gather_many(void *arg)
{
    enum { MANY = 250 }; /* their ends lie on this stack of 64 KiB */
    plait_worker all[MANY];
    plait_blame ends[MANY];
    for (int i = 0; i < MANY; i++)
        all[i] = task(sleep_or_cancelled, (void *)(intptr_t)(arg ? 30000 : i % 5));
    int rc = plait_gather(all, MANY, ends, NULL, PLAIT_FOREVER);
    for (int i = 0; i < MANY; i++)
        CHECK_EQ(ends[i].status, rc < 0 ? rc : i % 5);
    return rc;
}

static int run_cancelled_gather(void *arg)
{
    (void)arg;
    CHECK_EQ(joined(task(gather_many, NULL)), 0);
    plait_worker gatherer = task(gather_many, (void *)1);
    CHECK_RC(plait_sleep(plait_ms(3)), 0);
    CHECK_RC(plait_cancel(gatherer), 0);
    CHECK_EQ(joined(gatherer), PLAIT_ECANCELED);
    return 0;
}

static void cancelling_a_gather_cancels_all_its_tasks(void **state)
{
    (void)state;
    CHECK_EQ(plait_run(run_cancelled_gather, NULL), 0);
}

/* --- locals --- */

static plait_local variable;

static int check_local(void *expected)
{
    plait_local_token token;
    CHECK(plait_local_get(&variable) == expected);
    CHECK_RC(plait_local_set(&variable, &token, &token), 0);
    CHECK_RC(plait_yield(), 0);
    CHECK(plait_local_get(&variable) == &token);
    plait_worker inner = task(give_back, (void *)3); /* shares, drops */
    CHECK_EQ(joined(inner), 3);
    CHECK_RC(plait_local_reset(&variable, &token), 0);
    CHECK(plait_local_get(&variable) == expected);
    return 0;
}

static int run_locals(void *arg)
{
    struct world *w = arg;
    plait_local_token token;
    plait_worker tasks[5];
    CHECK_RC(plait_local_set(&variable, w, &token), 0);
    for (int i = 0; i < 5; i++)
        tasks[i] = task(check_local, w);
    CHECK_RC(plait_cancel(tasks[4]), 0); /* never runs */
    CHECK_RC(plait_local_set(&variable, NULL, NULL), 0);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(joined(tasks[i]), i == 4 ? PLAIT_ECANCELED : 0);
    CHECK(plait_local_get(&variable) == NULL);
    CHECK_RC(plait_local_reset(&variable, &token), 0);
    CHECK_EQ(plait_local_is_set(&variable), 0);
    return 0;
}

static void each_task_has_its_own_values(void **state)
{
    (void)state;
    struct world *w = new_world();
    CHECK_EQ(plait_run(run_locals, w), 0);
    CHECK_RC(plait_free(w), 0);
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
        cmocka_unit_test(every_wait_of_a_task_obeys),
        cmocka_unit_test(a_tasks_scope_can_be_cancelled_from_everywhere),
        cmocka_unit_test(a_task_can_be_shielded),
        cmocka_unit_test(a_scope_around_a_run_cancels_its_tasks),
        cmocka_unit_test(a_failure_cancels_the_rest_whoever_owns_the_group),
        cmocka_unit_test(a_task_learns_that_a_member_was_killed),
        cmocka_unit_test(cancelling_the_owner_cancels_the_members),
        cmocka_unit_test(tasks_can_be_added_while_waiting),
        cmocka_unit_test(members_cancelled_before_their_first_step_never_run),
        cmocka_unit_test(tasks_can_be_gathered_with_others),
        cmocka_unit_test(cancelling_a_gather_cancels_all_its_tasks),
        cmocka_unit_test(each_task_has_its_own_values),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
