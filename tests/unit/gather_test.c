/* Waiting for several workers: which ends count, who is joined, who is cancelled, who is left alone. */
#include "harness.h"
#include "park/park.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum { FEW = 5 };

struct world;
struct member {
    struct world *world;
    int status;
};

struct world {
    plait_event never, go;
    struct member members[160];
    plait_worker workers[FEW];
    int turn, ended, cancelled, ready;
    int rc, count, after;
};

static struct world *new_world(void)
{
    struct world *w = plait_alloc(sizeof *w);
    CHECK(w != NULL);
    for (int i = 0; i < 160; i++)
        w->members[i] = (struct member){w, i};
    return w;
}

static int end_in_turn(void *arg)
{
    struct member *m = arg;
    COUNT(m->world->ready);
    UNTIL(SEEN(m->world->turn) > m->status);
    return m->status;
}

static int end_at_once(void *arg)
{
    return ((struct member *)arg)->status;
}

static int wait_for_go(void *arg)
{
    struct member *m = arg;
    COUNT(m->world->ready);
    int rc = plait_event_wait(&m->world->go, PLAIT_FOREVER);
    if (rc == PLAIT_ECANCELED)
        COUNT(m->world->cancelled);
    return rc < 0 ? rc : m->status;
}

static int refuse_to_stop(void *arg)
{
    struct member *m = arg;
    COUNT(m->world->ready);
    CHECK_RC(plait_event_wait(&m->world->never, PLAIT_FOREVER), PLAIT_ECANCELED);
    t_sleep(plait_ms(10));
    COUNT(m->world->ended);
    return m->status;
}

static void start_all(struct world *w, const struct t_setting *s, plait_function *fn)
{
    for (int i = 0; i < FEW; i++)
        w->workers[i] = t_start_one(s->kinds[i % 2], fn, &w->members[i]);
}

/* --- plait_wait --- */

static void wait_tells_who_has_ended(void **state)
{
    (void)state;
    FOR_EACH_TASKLESS_SETTING(s)
    {
        struct world *w = new_world();
        bool done[FEW];
        start_all(w, s, end_in_turn);
        CHECK_RC(plait_wait(w->workers, FEW, done, PLAIT_ALL_COMPLETED, plait_ms(5)), 0);
        CHECK_RC(plait_wait(w->workers, FEW, NULL, PLAIT_FIRST_COMPLETED, PLAIT_NOWAIT), 0);
        TELL(w->turn, 1);
        CHECK_RC(plait_wait(w->workers, FEW, done, PLAIT_FIRST_COMPLETED, PLAIT_FOREVER), 1);
        for (int i = 0; i < FEW; i++)
            CHECK_EQ(done[i], i == 0);
        TELL(w->turn, 3);
        CHECK_RC(plait_wait(w->workers + 1, 2, done, PLAIT_ALL_COMPLETED, PLAIT_FOREVER), 2);
        CHECK_RC(plait_wait(w->workers, FEW, done, PLAIT_ALL_COMPLETED, plait_ms(1)), 3);
        TELL(w->turn, FEW);
        CHECK_RC(plait_wait(w->workers, FEW, NULL, PLAIT_FIRST_EXCEPTION, PLAIT_FOREVER), FEW);
        for (int i = 0; i < FEW; i++)
            CHECK_EQ(t_join_one(w->workers[i]), i); /* nobody was joined or cancelled */
        CHECK_RC(plait_wait(w->workers, FEW, NULL, PLAIT_ALL_COMPLETED, PLAIT_FOREVER), FEW);
        CHECK_RC(plait_free(w), 0);
    }
}

static void the_first_exception_ends_the_wait(void **state)
{
    (void)state;
    FOR_EACH_TASKLESS_SETTING(s)
    {
        struct world *w = new_world();
        bool done[FEW];
        w->members[3].status = -9;
        start_all(w, s, wait_for_go);
        UNTIL(SEEN(w->ready) == FEW);
        CHECK_RC(plait_cancel(w->workers[1]), 0); /* is none */
        CHECK_RC(plait_wait(w->workers, FEW, done, PLAIT_FIRST_EXCEPTION, plait_ms(30)), 1);
        CHECK(done[1]);
        plait_worker failing = t_start_one(s->kinds[0], end_at_once, &w->members[3]);
        plait_worker both[2] = {w->workers[0], failing};
        CHECK_RC(plait_wait(both, 2, done, PLAIT_FIRST_EXCEPTION, PLAIT_FOREVER), 1);
        CHECK(done[1]);
        CHECK_EQ(t_join_one(failing), -9);
        CHECK_RC(plait_event_set(&w->go), 0);
        for (int i = 0; i < FEW; i++)
            CHECK_EQ(t_join_one(w->workers[i]), i == 1 ? PLAIT_ECANCELED : w->members[i].status);
        CHECK_RC(plait_free(w), 0);
    }
}

static void a_killed_worker_is_an_exception(void **state)
{
    (void)state;
    struct world *w = new_world();
    start_all(w, &t_mixed, wait_for_go);
    plait_worker victim = t_start_one(PLAIT_PROCESS, wait_for_go, &w->members[7]);
    plait_worker all[3] = {w->workers[0], victim, w->workers[1]};
    CHECK_RC(plait_kill(victim), 0);
    CHECK_RC(plait_wait(all, 3, NULL, PLAIT_FIRST_EXCEPTION, PLAIT_FOREVER), 1);
    CHECK_EQ(t_join_one(victim), -SIGKILL);
    CHECK_RC(plait_event_set(&w->go), 0);
    for (int i = 0; i < FEW; i++)
        CHECK_EQ(t_join_one(w->workers[i]), i);
    CHECK_RC(plait_free(w), 0);
}

static void more_than_can_be_watched_are_waited_for(void **state)
{
    (void)state;
    enum { MANY = 140 };
    struct world *w = new_world();
    plait_worker many[MANY];
    bool done[MANY];
    for (int i = 0; i < MANY; i++)
        many[i] = t_start_one(PLAIT_THREAD, end_in_turn, &w->members[MANY - 1 - i]);
    TELL(w->turn, 1); /* the last of them */
    CHECK_RC(plait_wait(many, MANY, done, PLAIT_FIRST_COMPLETED, PLAIT_FOREVER), 1);
    CHECK(done[MANY - 1]);
    TELL(w->turn, MANY);
    CHECK_RC(plait_wait(many, MANY, NULL, PLAIT_ALL_COMPLETED, PLAIT_FOREVER), MANY);
    for (int i = 0; i < MANY; i++)
        CHECK_EQ(t_join_one(many[i]), MANY - 1 - i);
    CHECK_RC(plait_free(w), 0);
}

/* --- plait_as_completed --- */

static void they_come_in_the_order_of_their_ends(void **state)
{
    (void)state;
    FOR_EACH_TASKLESS_SETTING(s)
    {
        struct world *w = new_world();
        bool told[FEW] = {false};
        plait_as_completed order = {w->workers, FEW, told};
        int which = -1;
        for (int i = 0; i < FEW; i++)
            w->members[i].status = FEW - 1 - i;
        start_all(w, s, end_in_turn);
        CHECK_RC(plait_as_completed_next(&order, &which, plait_ms(2)), PLAIT_ETIMEDOUT);
        for (int i = 0; i < FEW; i++) {
            if (i % 2 == 0) /* two by two: the order is that of the ends, not of the looks */
                TELL(w->turn, i + 1);
            else {
                UNTIL(!plait_is_alive(w->workers[FEW - 1 - i]) || SEEN(w->turn) <= i);
            }
            if (SEEN(w->turn) <= i)
                TELL(w->turn, i + 1);
            CHECK_RC(plait_as_completed_next(&order, &which, PLAIT_FOREVER), 1);
            CHECK_EQ(which, FEW - 1 - i);
            CHECK_EQ(t_join_one(w->workers[which]), i);
        }
        CHECK_RC(plait_as_completed_next(&order, &which, PLAIT_FOREVER), 0);
        CHECK_RC(plait_free(w), 0);
    }
}

static void several_that_have_ended_come_in_order(void **state)
{
    (void)state;
    struct world *w = new_world();
    bool told[FEW] = {false};
    plait_as_completed order = {w->workers, FEW, told};
    for (int i = 0; i < FEW; i++)
        w->members[i].status = (i * 2) % FEW;
    start_all(w, &t_mixed, end_in_turn);
    for (int i = 0; i < FEW; i++) {
        TELL(w->turn, i + 1);
        for (int k = 0; k < FEW; k++)
            if (w->members[k].status == i)
                UNTIL(!plait_is_alive(w->workers[k]));
    }
    for (int i = 0; i < FEW; i++) {
        int which;
        CHECK_RC(plait_as_completed_next(&order, &which, PLAIT_NOWAIT + plait_seconds(9)), 1);
        CHECK_EQ(w->members[which].status, i);
        CHECK_EQ(t_join_one(w->workers[which]), i);
    }
    CHECK_RC(plait_free(w), 0);
}

/* --- plait_gather --- */

static void gather_joins_all_and_tells_how_each_ended(void **state)
{
    (void)state;
    FOR_EACH_TASKLESS_SETTING(s)
    {
        struct world *w = new_world();
        plait_blame ends[FEW + 1];
        plait_worker twice[FEW + 1];
        start_all(w, s, end_in_turn);
        for (int i = 0; i < FEW; i++)
            twice[i] = w->workers[i];
        twice[FEW] = w->workers[2]; /* duplicates run once */
        CHECK_RC(plait_gather(twice, FEW + 1, ends, NULL, plait_ms(2)), PLAIT_ETIMEDOUT);
        TELL(w->turn, FEW);
        CHECK_RC(plait_gather(twice, FEW + 1, ends, NULL, PLAIT_FOREVER), 0);
        for (int i = 0; i < FEW; i++) {
            CHECK_EQ(ends[i].status, i);
            CHECK_EQ(plait_state(w->workers[i]), PLAIT_ESTALE);
        }
        CHECK_EQ(ends[FEW].status, 2);
        CHECK_RC(plait_gather(twice, FEW, ends, NULL, PLAIT_FOREVER), PLAIT_ESTALE);
        CHECK_RC(plait_gather(NULL, 0, NULL, NULL, PLAIT_FOREVER), 0);
        CHECK_RC(plait_free(w), 0);
    }
}

static void the_first_failure_is_returned_while_the_others_go_on(void **state)
{
    (void)state;
    FOR_EACH_TASKLESS_SETTING(s)
    {
        struct world *w = new_world();
        int failed = -1;
        start_all(w, s, wait_for_go);
        UNTIL(SEEN(w->ready) == FEW);
        w->members[8].status = -8;
        plait_worker all[3] = {w->workers[0], t_start_one(s->kinds[1], end_at_once, &w->members[8]),
                               w->workers[1]};
        CHECK_RC(
            plait_gather(all, 3, NULL, &(plait_gather_options){.failed = &failed}, PLAIT_FOREVER),
            -8);
        CHECK_EQ(failed, 1);
        CHECK_EQ(t_join_one(all[1]), -8);
        CHECK_EQ(w->cancelled, 0);
        CHECK_EQ(plait_is_alive(w->workers[0]), 1);
        /* a child's own cancellation is an error of the gather */
        CHECK_RC(plait_cancel(w->workers[1]), 0);
        CHECK_RC(plait_gather(w->workers, FEW, NULL, NULL, PLAIT_FOREVER), PLAIT_ECANCELED);
        CHECK_EQ(plait_cancelling(), 0);
        CHECK_EQ(w->cancelled, 1);
        CHECK_RC(plait_event_set(&w->go), 0);
        for (int i = 0; i < FEW; i++)
            CHECK_EQ(t_join_one(w->workers[i]), i == 1 ? PLAIT_ECANCELED : i);
        CHECK_RC(plait_free(w), 0);
    }
}

static void failures_can_be_left_to_the_blames(void **state)
{
    (void)state;
    struct world *w = new_world();
    plait_blame ends[FEW];
    w->members[1].status = -1;
    w->members[4].status = PLAIT_ECANCELED;
    start_all(w, &t_mixed, end_at_once);
    CHECK_RC(plait_gather(w->workers, FEW, ends, &(plait_gather_options){.return_exceptions = true},
                          PLAIT_FOREVER),
             0);
    for (int i = 0; i < FEW; i++)
        CHECK_EQ(ends[i].status, w->members[i].status);
    CHECK_RC(plait_free(w), 0);
}

static void a_killed_worker_is_a_failure_of_the_gather(void **state)
{
    (void)state;
    struct world *w = new_world();
    plait_blame ends[FEW];
    start_all(w, &t_processes, wait_for_go);
    UNTIL(SEEN(w->ready) == FEW);
    CHECK_RC(plait_kill(w->workers[3]), 0);
    CHECK_RC(plait_gather(w->workers, FEW, NULL, NULL, PLAIT_FOREVER), PLAIT_EDIED);
    CHECK_RC(plait_event_set(&w->go), 0);
    CHECK_RC(plait_gather(w->workers, FEW, ends, &(plait_gather_options){.return_exceptions = true},
                          PLAIT_FOREVER),
             0);
    CHECK_EQ(ends[3].signal, SIGKILL);
    CHECK_EQ(ends[2].status, 2);
    CHECK_RC(plait_free(w), 0);
}

static int gather_them(void *arg)
{
    struct world *w = arg;
    plait_blame ends[FEW];
    w->rc = plait_gather(w->workers, FEW, ends, NULL, PLAIT_FOREVER);
    w->count = plait_cancelling();
    w->after = plait_checkpoint();
    for (int i = 0; i < FEW; i++)
        CHECK_EQ(ends[i].status, PLAIT_ECANCELED);
    return 0;
}

static void cancelling_the_gather_cancels_all_children(void **state)
{
    (void)state;
    FOR_EACH_TASKLESS_SETTING(s)
    {
        struct world *w = new_world();
        start_all(w, s, wait_for_go);
        plait_worker gatherer = t_start_one(s->kinds[1], gather_them, w);
        UNTIL_WAITS(gatherer, PL_WAIT_WORKERS);
        CHECK_RC(plait_cancel(gatherer), 0);
        CHECK_EQ(t_join_one(gatherer), 0);
        CHECK_RC(w->rc, PLAIT_ECANCELED);
        CHECK_EQ(w->count, 1);
        CHECK_RC(w->after, 0);
        for (int i = 0; i < FEW; i++)
            CHECK_EQ(plait_state(w->workers[i]), PLAIT_ESTALE);
        CHECK_EQ(w->cancelled, FEW);
        CHECK_RC(plait_free(w), 0);
    }
}

/* --- plait_wait_for --- */

static void wait_for_cancels_and_waits_for_the_end(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w = new_world();
        plait_blame end = {0};
        plait_worker one = t_start_one(kind, wait_for_go, &w->members[4]);
        UNTIL(SEEN(w->ready) == 1);
        CHECK_RC(plait_wait_for(one, &end, plait_ms(3)), PLAIT_ETIMEDOUT);
        CHECK_EQ(end.status, PLAIT_ECANCELED);
        CHECK_EQ(plait_state(one), PLAIT_ESTALE);
        /* if it returns a value after all, that wins */
        one = t_start_one(kind, refuse_to_stop, &w->members[4]);
        UNTIL(SEEN(w->ready) == 2);
        CHECK_RC(plait_wait_for(one, &end, plait_ms(3)), 0);
        CHECK_EQ(w->ended, 1);
        CHECK_EQ(end.status, 4);
        one = t_start_one(kind, end_at_once, &w->members[6]);
        UNTIL(!plait_is_alive(one));
        CHECK_RC(plait_wait_for(one, &end, PLAIT_NOWAIT), 0);
        CHECK_EQ(end.status, 6);
        one = t_start_one(kind, wait_for_go, &w->members[6]);
        UNTIL(SEEN(w->ready) == 3);
        CHECK_RC(plait_wait_for(one, NULL, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
        CHECK_RC(plait_wait_for(one, NULL, PLAIT_FOREVER), PLAIT_ESTALE);
        CHECK_RC(plait_free(w), 0);
    }
}

static int wait_for_one(void *arg)
{
    struct world *w = arg;
    w->rc = plait_wait_for(w->workers[0], NULL, PLAIT_FOREVER);
    return 0;
}

static void cancelling_wait_for_cancels_the_inner(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct world *w = new_world();
        w->workers[0] = t_start_one(kind, wait_for_go, &w->members[4]);
        plait_worker outer = t_start_one(kind, wait_for_one, w);
        UNTIL_WAITS(outer, PL_WAIT_JOIN);
        CHECK_RC(plait_cancel(outer), 0);
        CHECK_EQ(t_join_one(outer), 0);
        CHECK_RC(w->rc, PLAIT_ECANCELED);
        CHECK_EQ(w->cancelled, 1);
        CHECK_RC(plait_free(w), 0);
    }
}

static int join_first(void *arg)
{
    struct world *w = arg;
    w->rc = plait_join(w->workers[0], NULL, PLAIT_FOREVER);
    return 0;
}

static void joining_is_shielded(void **state)
{
    (void)state;
    struct world *w = new_world();
    w->workers[0] = t_start_one(PLAIT_THREAD, wait_for_go, &w->members[4]);
    plait_worker outer = t_start_one(PLAIT_THREAD, join_first, w);
    UNTIL_WAITS(outer, PL_WAIT_JOIN);
    CHECK_RC(plait_cancel(outer), 0);
    CHECK_EQ(t_join_one(outer), 0);
    CHECK_RC(w->rc, PLAIT_ECANCELED); /* the caller is cancelled, the inner one goes on */
    CHECK_EQ(w->cancelled, 0);
    CHECK_RC(plait_event_set(&w->go), 0);
    CHECK_EQ(t_join_one(w->workers[0]), 4);
    CHECK_RC(plait_free(w), 0);
}

static int wait_for_never(void *object, int64_t timeout)
{
    return plait_gather(object, 1, NULL, NULL, timeout);
}

static void misuse_is_told(void **state)
{
    (void)state;
    plait_worker self = plait_self(), nobody = {0, 0};
    plait_as_completed order = {&self, 1, NULL};
    bool done[1];
    int which;
    errno = EXDEV;
    CHECK_RC(plait_wait(NULL, 0, NULL, PLAIT_ALL_COMPLETED, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_wait(&self, 0, NULL, PLAIT_ALL_COMPLETED, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_wait(&self, 1, NULL, (enum plait_when)7, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_wait(&nobody, 1, done, PLAIT_ALL_COMPLETED, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_wait(&self, 1, done, PLAIT_ALL_COMPLETED, PLAIT_FOREVER), PLAIT_EDEADLK);
    CHECK_RC(plait_gather(NULL, 1, NULL, NULL, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_gather(&self, -1, NULL, NULL, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_gather(&nobody, 1, NULL, NULL, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_gather(&self, 1, NULL, NULL, PLAIT_FOREVER), PLAIT_EDEADLK);
    CHECK_RC(plait_as_completed_next(NULL, &which, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_as_completed_next(&order, &which, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_wait_for(nobody, NULL, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_wait_for(self, NULL, PLAIT_FOREVER), PLAIT_EDEADLK);
    CHECK_EQ(errno, EXDEV);
}

static void it_waits_as_every_call_does(void **state)
{
    (void)state;
    struct world *w = new_world();
    w->workers[0] = t_start_one(PLAIT_PROCESS, wait_for_go, &w->members[0]);
    t_check_bad_timeouts(wait_for_never, w->workers);
    t_check_time(wait_for_never, w->workers);
    t_check_signals(wait_for_never, w->workers);
    CHECK_RC(plait_event_set(&w->go), 0);
    CHECK_EQ(t_join_one(w->workers[0]), 0);
    CHECK_RC(plait_free(w), 0);
}

static int nothing_is_left(void **state)
{
    (void)state;
    /* Processes that were joined by siblings are collected by a later call of their parent's, once they are gone. */
    UNTIL(plait_children(NULL, 0) == 0 && !t_has_children());
    return 0;
}

int main(int argc, char **argv)
{
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wait_tells_who_has_ended),
        cmocka_unit_test(the_first_exception_ends_the_wait),
        cmocka_unit_test(a_killed_worker_is_an_exception),
        cmocka_unit_test(more_than_can_be_watched_are_waited_for),
        cmocka_unit_test(they_come_in_the_order_of_their_ends),
        cmocka_unit_test(several_that_have_ended_come_in_order),
        cmocka_unit_test(gather_joins_all_and_tells_how_each_ended),
        cmocka_unit_test(the_first_failure_is_returned_while_the_others_go_on),
        cmocka_unit_test(failures_can_be_left_to_the_blames),
        cmocka_unit_test(a_killed_worker_is_a_failure_of_the_gather),
        cmocka_unit_test(cancelling_the_gather_cancels_all_children),
        cmocka_unit_test(wait_for_cancels_and_waits_for_the_end),
        cmocka_unit_test(cancelling_wait_for_cancels_the_inner),
        cmocka_unit_test(joining_is_shielded),
        cmocka_unit_test(misuse_is_told),
        cmocka_unit_test(it_waits_as_every_call_does),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
