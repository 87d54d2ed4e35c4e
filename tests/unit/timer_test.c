/* Timers: when the function is called, that it is not once cancelled, and what setting one again means. */
#include "harness.h"
#include "park/park.h"

#include <errno.h>
#include <string.h>

struct world {
    plait_timer t;
    plait_event go, begun;
    int calls, status, repeats, asked;
    int64_t at[8];
    plait_worker worker;
};

#define FOR_TIMER_KINDS(kind) for (int kind = PLAIT_THREAD; kind <= PLAIT_TASK; kind += 2)

static int note(void *arg)
{
    struct world *w = arg;
    int n = COUNT(w->calls);
    if (n <= 8)
        w->at[n - 1] = plait_now();
    w->worker = plait_self();
    return w->status;
}

static int note_and_wait(void *arg)
{
    struct world *w = arg;
    COUNT(w->calls);
    plait_event_set(&w->begun);
    int rc = plait_event_wait(&w->go, PLAIT_FOREVER);
    w->asked = rc;
    return w->status;
}

static int join(struct world *w)
{
    plait_blame end;
    CHECK_RC(plait_timer_join(&w->t, &end, PLAIT_FOREVER), 0);
    CHECK_EQ(end.returned, 1);
    return end.status;
}

static void it_calls_once_and_not_before_its_time(void **state)
{
    (void)state;
    FOR_TIMER_KINDS(kind)
    {
        struct world w = {.status = 5};
        int64_t began = plait_now();
        CHECK_RC(plait_timer_start(&w.t, kind, plait_ms(10), note, &w, NULL), 0);
        CHECK_EQ(plait_timer_is_set(&w.t), 1);
        CHECK_EQ(plait_timer_fired(&w.t), 0);
        CHECK_EQ(join(&w), 5);
        CHECK_EQ(w.calls, 1);
        CHECK(w.at[0] - began >= plait_ms(10));
        CHECK_EQ(plait_timer_is_set(&w.t), 0);
        CHECK_EQ(plait_timer_fired(&w.t), 1);
        CHECK_RC(plait_timer_join(&w.t, NULL, 0), PLAIT_ESTALE);
        CHECK_RC(plait_timer_cancel(&w.t), 0); /* harmless */
        CHECK_RC(plait_timer_cancel(&w.t), 0);
        CHECK_EQ(plait_timer_fired(&w.t), 1);
    }
}

static void without_a_delay_it_calls_at_once(void **state)
{
    (void)state;
    FOR_TIMER_KINDS(kind)
    {
        struct world w = {.calls = 0};
        CHECK_RC(plait_timer_start(&w.t, kind, 0, note, &w, NULL), 0);
        CHECK_EQ(join(&w), 0);
        CHECK_EQ(w.calls, 1);
    }
}

static void one_that_is_cancelled_never_calls(void **state)
{
    (void)state;
    FOR_TIMER_KINDS(kind)
    for (int asleep = 0; asleep < 2; asleep++) {
        struct world w = {.calls = 0};
        CHECK_RC(plait_timer_start(&w.t, kind, plait_seconds(1000), note, &w, NULL), 0);
        if (asleep && kind == PLAIT_THREAD)
            UNTIL_WAITS(w.t.worker_, PL_WAIT_SLEEP);
        else if (asleep)
            t_sleep(plait_ms(1));
        CHECK_RC(plait_timer_cancel(&w.t), 0);
        CHECK_EQ(plait_timer_is_set(&w.t), 0);
        CHECK_RC(plait_timer_cancel(&w.t), 0);
        CHECK_EQ(join(&w), PLAIT_ECANCELED);
        CHECK_EQ(w.calls, 0);
        CHECK_EQ(plait_timer_fired(&w.t), 0);
    }
}

static void cancelling_does_not_interrupt_the_function(void **state)
{
    (void)state;
    FOR_TIMER_KINDS(kind)
    {
        struct world w = {.status = 3};
        plait_timer_options o = {.every = plait_ms(1)};
        CHECK_RC(plait_timer_start(&w.t, kind, 0, note_and_wait, &w, &o), 0);
        CHECK_RC(plait_event_wait(&w.begun, PLAIT_FOREVER), 0);
        CHECK_EQ(plait_timer_is_set(&w.t), 1);
        CHECK_RC(plait_timer_cancel(&w.t), 0);
        CHECK_EQ(plait_timer_is_set(&w.t), 0);
        CHECK_RC(plait_timer_join(&w.t, NULL, plait_ms(5)), PLAIT_ETIMEDOUT);
        plait_event_set(&w.go);
        CHECK_EQ(join(&w), 3);
        CHECK_RC(w.asked, 0);
        CHECK_EQ(w.calls, 1);
    }
}

static int cancel_oneself(void *arg)
{
    struct world *w = arg;
    COUNT(w->calls);
    CHECK_RC(plait_timer_cancel(&w->t), 0);
    CHECK_EQ(plait_checkpoint(), 0);
    return 0;
}

static void the_function_may_cancel_its_timer(void **state)
{
    (void)state;
    FOR_TIMER_KINDS(kind)
    {
        struct world w = {.calls = 0};
        plait_timer_options o = {.every = 1};
        CHECK_RC(plait_timer_start(&w.t, kind, 0, cancel_oneself, &w, &o), 0);
        CHECK_EQ(join(&w), 0);
        CHECK_EQ(w.calls, 1);
    }
}

static int call_three_times(void *arg)
{
    struct world *w = arg;
    note(w);
    if (SEEN(w->calls) == 1)
        t_sleep(plait_ms(12)); /* late for the next two */
    return SEEN(w->calls) == 3 ? 9 : 0;
}

static void one_that_repeats_keeps_its_beat(void **state)
{
    (void)state;
    FOR_TIMER_KINDS(kind)
    {
        struct world w = {.calls = 0};
        plait_timer_options o = {.every = plait_ms(5)};
        int64_t began = plait_now();
        CHECK_RC(plait_timer_start(&w.t, kind, plait_ms(2), call_three_times, &w, &o), 0);
        CHECK_EQ(join(&w), 9);
        CHECK_EQ(plait_timer_fired(&w.t), 3);
        CHECK(w.at[0] - began >= plait_ms(2));
        CHECK(w.at[1] - began >= plait_ms(2 + 15)); /* those at 7 and 12 are left out */
        CHECK(w.at[2] - began >= plait_ms(2 + 20));
    }
}

static void one_that_repeats_goes_on_until_cancelled(void **state)
{
    (void)state;
    FOR_TIMER_KINDS(kind)
    {
        struct world w = {.calls = 0};
        plait_timer_options o = {.every = plait_ms(1)};
        CHECK_RC(plait_timer_start(&w.t, kind, 0, note, &w, &o), 0);
        UNTIL(SEEN(w.calls) >= 5);
        CHECK_RC(plait_timer_cancel(&w.t), 0);
        CHECK_EQ(join(&w), 0);
        CHECK_EQ(w.calls, (int)plait_timer_fired(&w.t));
    }
}

static void it_may_be_set_again(void **state)
{
    (void)state;
    FOR_TIMER_KINDS(kind)
    {
        struct world w = {.calls = 0};
        CHECK_RC(plait_timer_start(&w.t, kind, plait_seconds(1000), note, &w, NULL), 0);
        CHECK_RC(plait_timer_start(&w.t, kind, 0, note, &w, NULL), PLAIT_EBUSY);
        for (int i = 0; i < 50; i++) { /* while the old worker is still there */
            CHECK_RC(plait_timer_cancel(&w.t), 0);
            CHECK_RC(plait_timer_start(&w.t, kind, plait_seconds(1000), note, &w, NULL), 0);
        }
        CHECK_RC(plait_timer_cancel(&w.t), 0);
        CHECK_RC(plait_timer_start(&w.t, kind, plait_ms(1), note, &w, NULL), 0);
        CHECK_EQ(join(&w), 0);
        CHECK_EQ(w.calls, 1);
        CHECK_RC(plait_timer_start(&w.t, kind, 0, note, &w, NULL), 0);
        CHECK_EQ(join(&w), 0);
        CHECK_EQ(w.calls, 2);
        UNTIL(plait_children(NULL, 0) == 0);
    }
}

static void a_worker_that_is_asked_to_stop_is_a_timer_cancelled(void **state)
{
    (void)state;
    FOR_TIMER_KINDS(kind)
    {
        struct world w = {.calls = 0};
        plait_timer_options o = {.every = plait_seconds(1000)};
        CHECK_RC(plait_timer_start(&w.t, kind, 0, note, &w, &o), 0);
        UNTIL(SEEN(w.calls) == 1);
        UNTIL_WAITS(w.worker, PL_WAIT_SLEEP);
        CHECK_RC(plait_cancel(w.worker), 0);
        CHECK_EQ(join(&w), 0);
        CHECK_EQ(plait_timer_is_set(&w.t), 0);
        CHECK_RC(plait_timer_start(&w.t, kind, 0, note, &w, NULL), 0);
        CHECK_EQ(join(&w), 0);
        CHECK_EQ(w.calls, 2);
    }
}

static int cancel_it(void *arg)
{
    struct world *w = arg;
    CHECK_RC(plait_timer_cancel(&w->t), 0);
    return 0;
}

static void any_worker_may_cancel_it(void **state)
{
    (void)state;
    FOR_TIMER_KINDS(kind)
    FOR_EVERY_KIND(who)
    {
        struct world *w = plait_alloc(sizeof *w);
        CHECK_RC(plait_timer_start(&w->t, kind, plait_seconds(1000), note, w, NULL), 0);
        CHECK_EQ(t_join_one(t_start_one(who, cancel_it, w)), 0);
        CHECK_EQ(plait_timer_is_set(&w->t), 0);
        if (kind == PLAIT_TASK && who == PLAIT_PROCESS) /* which cannot tell it */
            CHECK_RC(plait_cancel(w->t.worker_), 0);
        CHECK_EQ(join(w), PLAIT_ECANCELED);
        CHECK_EQ(w->calls, 0);
        plait_free(w);
    }
}

/* Of a call and a cancel that meet, one comes first. */
static void a_call_and_a_cancel_exclude_each_other(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    long fired = 0, cancelled = 0;
    for (long i = 0, n = t_rounds(400); i < n; i++) {
        struct world w = {.calls = 0};
        CHECK_RC(plait_timer_start(&w.t, PLAIT_THREAD, t_below(&seed, 100) * 1000, note, &w, NULL),
                 0);
        t_dither(&seed, 200 * 1000);
        CHECK_RC(plait_timer_cancel(&w.t), 0);
        uint32_t begun = plait_timer_fired(&w.t);
        int status = join(&w);
        CHECK_EQ(w.calls, (int)plait_timer_fired(&w.t));
        CHECK_EQ(status, w.calls ? 0 : PLAIT_ECANCELED);
        CHECK(begun <= 1);
        fired += w.calls;
        cancelled += !w.calls;
    }
    CHECK_EQ(fired + cancelled, t_rounds(400));
}

static int name_me(void *arg)
{
    plait_name(plait_self(), arg, PLAIT_NAME_SIZE);
    return 0;
}

static void options_are_passed_on(void **state)
{
    (void)state;
    FOR_TIMER_KINDS(kind)
    {
        char name[PLAIT_NAME_SIZE] = "";
        plait_timer t = {0};
        plait_timer_options o = {.worker = {.name = "alarm", .daemon = true}};
        CHECK_RC(plait_timer_start(&t, kind, 0, name_me, name, &o), 0);
        CHECK_RC(plait_timer_join(&t, NULL, PLAIT_FOREVER), 0);
        CHECK(strcmp(name, "alarm") == 0);
    }
}

static void misuse_is_told(void **state)
{
    (void)state;
    struct world w = {.calls = 0};
    plait_timer_options o = {0};
    errno = 77;
    CHECK_RC(plait_timer_start(NULL, PLAIT_THREAD, 0, note, &w, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_timer_start(&w.t, PLAIT_THREAD, 0, NULL, &w, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_timer_start(&w.t, PLAIT_THREAD, -1, note, &w, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_timer_start(&w.t, 0, 0, note, &w, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_timer_start(&w.t, PLAIT_PROCESS, 0, note, &w, NULL), PLAIT_ENOTSUP);
    CHECK_RC(plait_timer_start(&w.t, PLAIT_THREAD, INT64_MAX, note, &w, NULL), PLAIT_EOVERFLOW);
    o.every = -1;
    CHECK_RC(plait_timer_start(&w.t, PLAIT_THREAD, 0, note, &w, &o), PLAIT_EINVAL);
    o = (plait_timer_options){.worker.detach = true};
    CHECK_RC(plait_timer_start(&w.t, PLAIT_THREAD, 0, note, &w, &o), PLAIT_EINVAL);
    o = (plait_timer_options){.worker.arg_size = 1};
    CHECK_RC(plait_timer_start(&w.t, PLAIT_THREAD, 0, note, &w, &o), PLAIT_EINVAL);
    o = (plait_timer_options){.worker.delay = 1};
    CHECK_RC(plait_timer_start(&w.t, PLAIT_THREAD, 0, note, &w, &o), PLAIT_EINVAL);
    o = (plait_timer_options){.worker.stack_size = 1}; /* too small: as plait_start says */
    CHECK_RC(plait_timer_start(&w.t, PLAIT_THREAD, 0, note, &w, &o), PLAIT_EINVAL);
    CHECK_EQ(plait_timer_is_set(&w.t), 0);
    CHECK_RC(plait_timer_cancel(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_timer_cancel(&w.t), 0);
    CHECK_RC(plait_timer_join(NULL, NULL, 0), PLAIT_EINVAL);
    CHECK_RC(plait_timer_join(&w.t, NULL, 0), PLAIT_ESTALE);
    CHECK_EQ(plait_timer_is_set(NULL), 0);
    CHECK_EQ(plait_timer_fired(NULL), 0);
    CHECK_EQ(errno, 77);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_calls_once_and_not_before_its_time),
        cmocka_unit_test(without_a_delay_it_calls_at_once),
        cmocka_unit_test(one_that_is_cancelled_never_calls),
        cmocka_unit_test(cancelling_does_not_interrupt_the_function),
        cmocka_unit_test(the_function_may_cancel_its_timer),
        cmocka_unit_test(one_that_repeats_keeps_its_beat),
        cmocka_unit_test(one_that_repeats_goes_on_until_cancelled),
        cmocka_unit_test(it_may_be_set_again),
        cmocka_unit_test(a_worker_that_is_asked_to_stop_is_a_timer_cancelled),
        cmocka_unit_test(any_worker_may_cancel_it),
        cmocka_unit_test(a_call_and_a_cancel_exclude_each_other),
        cmocka_unit_test(options_are_passed_on),
        cmocka_unit_test(misuse_is_told),
    };
    t_arguments(argc, argv);
    return cmocka_run_group_tests_name("timer", tests, NULL, NULL);
}
