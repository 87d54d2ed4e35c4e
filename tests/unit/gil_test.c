/* The gil: a test per promise of include/plait/gil.h, and each misuse. */
#include "harness/harness.h"

#include "park/park.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { RUNNERS = 4, TURNS = 60 };

struct box {
    plait_gil gil;
    struct t_waiter waiters[RUNNERS];
    int step, go, ready;
    long turns[RUNNERS]; /* under the gil */
    int last, turn, log[RUNNERS * TURNS];
    int number;
};

static int acquire(void *gil, int64_t timeout)
{
    return plait_gil_acquire(gil, timeout);
}

static int visit(void *gil, int64_t timeout)
{
    int rc = plait_gil_acquire(gil, timeout);
    if (rc >= 0)
        CHECK_RC(plait_gil_release(gil), 0);
    return rc;
}

static plait_worker start_waiter(const struct t_setting *s, struct box *b, int i)
{
    b->waiters[i] = (struct t_waiter){visit, &b->gil, PLAIT_FOREVER, 0, 0, 0};
    plait_worker w = t_start_one(s->kinds[i % 2], t_wait_once, &b->waiters[i]);
    UNTIL_WAITS(w, PL_WAIT_GIL);
    return w;
}

static void without_an_arena_it_says_why_it_cannot_be_had(void **state)
{
    (void)state;
    plait_gil gil = {0};
    t_check_no_arena(acquire, &gil);
}

static void zeroed_memory_is_a_free_gil(void **state)
{
    (void)state;
    static plait_gil gil;
    CHECK_EQ(plait_gil_locked(&gil), 0);
    CHECK_EQ(plait_gil_holder(&gil).slot, 0);
    CHECK_RC(plait_gil_acquire(&gil, PLAIT_NOWAIT), 0);
    CHECK_EQ(plait_gil_locked(&gil), 1);
    CHECK(plait_same(plait_gil_holder(&gil), plait_self()));
    CHECK_EQ(plait_gil_should_yield(&gil), 0);
    CHECK_RC(plait_gil_yield(&gil), 0);
    CHECK_RC(plait_gil_release(&gil), 0);
    CHECK_EQ(plait_gil_locked(&gil), 0);
}

static void misuse_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    plait_gil gil;
    plait_blame blame;
    memset(&gil, 0xff, sizeof gil);
    CHECK_RC(plait_gil_init(NULL, 0), PLAIT_EINVAL);
    CHECK_RC(plait_gil_init(&gil, -1), PLAIT_EINVAL);
    CHECK_RC(plait_gil_init(&gil, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_gil_init(&gil, PLAIT_TIMEOUT_MAX + 1), PLAIT_EOVERFLOW);
    CHECK_RC(plait_gil_init(&gil, plait_ms(1)), 0);
    CHECK_RC(plait_gil_acquire(NULL, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_gil_release(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_gil_yield(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_gil_blame(NULL, &blame), PLAIT_EINVAL);
    CHECK_RC(plait_gil_blame(&gil, NULL), PLAIT_EINVAL);
    CHECK_EQ(plait_gil_locked(NULL), 0);
    CHECK_EQ(plait_gil_holder(NULL).slot, 0);
    t_check_bad_timeouts(acquire, &gil);
    CHECK_RC(plait_gil_release(&gil), PLAIT_EPERM);
    CHECK_RC(plait_gil_yield(&gil), PLAIT_EPERM);
    CHECK_RC(plait_gil_acquire(&gil, PLAIT_FOREVER), 0);
    CHECK_RC(plait_gil_acquire(&gil, PLAIT_FOREVER), PLAIT_EDEADLK);
    CHECK_RC(plait_gil_blame(&gil, &blame), PLAIT_ESRCH);
    CHECK_RC(plait_gil_release(&gil), 0);
}

static int meddle(void *gil)
{
    CHECK_RC(plait_gil_release(gil), PLAIT_EPERM);
    CHECK_RC(plait_gil_yield(gil), PLAIT_EPERM);
    int ran = 0;
    PLAIT_GIL_RELEASED(gil)
    ran = 1; /* it just runs */
    CHECK_EQ(ran, 1);
    return 0;
}

static void only_the_holder_may_give_it_away(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    for (int i = 0; i < 2; i++) {
        struct box *b = t_new(s, sizeof *b);
        CHECK_RC(plait_gil_acquire(&b->gil, PLAIT_FOREVER), 0);
        CHECK_EQ(t_join_one(t_start_one(s->kinds[i], meddle, &b->gil)), 0);
        CHECK(plait_same(plait_gil_holder(&b->gil), plait_self()));
        CHECK_RC(plait_gil_release(&b->gil), 0);
        t_delete(s, b);
    }
}

/* --- asking for it --- */

static void one_who_waits_an_interval_asks_for_it(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        int64_t start = plait_now();
        CHECK_RC(plait_gil_init(&b->gil, plait_ms(10)), 0);
        CHECK_RC(plait_gil_acquire(&b->gil, PLAIT_FOREVER), 0);
        plait_worker w = start_waiter(s, b, 0);
        UNTIL(plait_gil_should_yield(&b->gil));
        CHECK(plait_now() - start >= plait_ms(10));
        CHECK_EQ(SEEN(b->waiters[0].step), 1);
        CHECK_RC(plait_gil_yield(&b->gil), 0); /* it had it meanwhile */
        CHECK_EQ(plait_gil_should_yield(&b->gil), 0);
        CHECK_EQ(t_join_one(w), 0);
        CHECK_RC(b->waiters[0].rc, 0);
        CHECK_RC(plait_gil_release(&b->gil), 0);
        t_delete(s, b);
    }
}

static void a_request_of_one_who_gave_up_is_forgotten(void **state)
{
    (void)state;
    struct box *b = t_new(&t_threads, sizeof *b);
    CHECK_RC(plait_gil_init(&b->gil, plait_ms(1)), 0);
    CHECK_RC(plait_gil_acquire(&b->gil, PLAIT_FOREVER), 0);
    plait_worker w = start_waiter(&t_threads, b, 0);
    UNTIL(plait_gil_should_yield(&b->gil));
    CHECK_RC(plait_cancel(w), 0);
    CHECK_EQ(t_join_one(w), 0);
    CHECK_RC(b->waiters[0].rc, PLAIT_ECANCELED);
    CHECK_RC(plait_gil_yield(&b->gil), 0);
    CHECK_EQ(plait_gil_should_yield(&b->gil), 0);
    CHECK_RC(plait_gil_release(&b->gil), 0);
    t_delete(&t_threads, b);
}

/* --- handing over --- */

static void yield_lets_all_who_wait_have_it_first(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    for (int round = 0; round < 5; round++) {
        struct box *b = t_new(s, sizeof *b);
        plait_worker w[3];
        CHECK_RC(plait_gil_acquire(&b->gil, PLAIT_FOREVER), 0);
        for (int i = 0; i < 3; i++)
            w[i] = start_waiter(s, b, i);
        uint32_t switches = b->gil.switches_;
        CHECK_RC(plait_gil_yield(&b->gil), 0);
        CHECK_EQ(b->gil.switches_ - switches, 4); /* three others, and we */
        for (int i = 0; i < 3; i++)
            CHECK_EQ(t_join_one(w[i]), 0);
        CHECK_RC(plait_gil_release(&b->gil), 0);
        t_delete(s, b);
    }
}

/* Runs until asked, yields, and so on; notes its turns. */
static int run_in_turns(void *arg)
{
    struct box *b = arg;
    int me = COUNT(b->number) - 1;
    CHECK_RC(plait_gil_acquire(&b->gil, PLAIT_FOREVER), 0);
    COUNT(b->ready);
    while (SEEN(b->ready) < RUNNERS) { /* until all are in the circle, however late one begins */
        CHECK_RC(plait_gil_yield(&b->gil), 0);
        t_give_way();
    }
    for (int i = 0; i < TURNS; i++) {
        b->turns[me]++;
        b->log[b->turn++] = me;
        UNTIL(plait_gil_should_yield(&b->gil) || b->turn > RUNNERS * (TURNS - 1));
        CHECK_RC(plait_gil_yield(&b->gil), 0);
    }
    return plait_gil_release(&b->gil);
}

/* By counts: between two turns of one, each other one has exactly one. */
static void whoever_is_in_the_circle_gets_every_nth_turn(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        CHECK_RC(plait_gil_init(&b->gil, plait_us(200)), 0);
        t_start(&team, s, RUNNERS, run_in_turns, b);
        t_join(&team);
        CHECK_EQ(b->turn, RUNNERS * TURNS);
        for (int i = 2 * RUNNERS; i < RUNNERS * (TURNS - 2); i++)
            for (int k = 1; k < RUNNERS; k++)
                CHECK(b->log[i] != b->log[i + k]);
        t_delete(s, b);
    }
}

static int enter_while_released(void *arg)
{
    struct box *b = arg;
    CHECK_RC(plait_gil_acquire(&b->gil, PLAIT_FOREVER), 0);
    TELL(b->step, 1);
    UNTIL(SEEN(b->go));
    return plait_gil_release(&b->gil);
}

static int leave_in_the_middle(struct box *b)
{
    PLAIT_GIL_RELEASED(&b->gil)
    {
        if (!plait_same(plait_gil_holder(&b->gil), plait_self()))
            return 5;
    }
    return 6;
}

static void a_released_block_is_without_it_and_takes_it_back(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        plait_worker w = {0, 0};
        CHECK_RC(plait_gil_acquire(&b->gil, PLAIT_FOREVER), 0);
        PLAIT_GIL_RELEASED(&b->gil)
        {
            w = t_start_one(s->kinds[0], enter_while_released, b);
            UNTIL(SEEN(b->step));
            TELL(b->go, 1);
        }
        CHECK(plait_same(plait_gil_holder(&b->gil), plait_self()));
        CHECK_EQ(t_join_one(w), 0);
        CHECK_EQ(leave_in_the_middle(b), 5);
        CHECK(plait_same(plait_gil_holder(&b->gil), plait_self()));
        PLAIT_GIL_RELEASED(&b->gil)
        break;
        CHECK(plait_same(plait_gil_holder(&b->gil), plait_self()));
        CHECK_RC(plait_gil_release(&b->gil), 0);
        t_delete(s, b);
    }
}

/* --- time, cancellation --- */

static int hold_until_told(void *arg)
{
    return enter_while_released(arg);
}

static void a_timeout_is_over_in_time_and_takes_nothing(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        plait_worker w = t_start_one(s->kinds[0], hold_until_told, b);
        UNTIL(SEEN(b->step));
        t_check_time(acquire, &b->gil);
        t_check_signals(acquire, &b->gil);
        t_check_cancel(s, acquire, &b->gil);
        t_check_cancel_pending(s, acquire, &b->gil);
        t_check_cancel_counts(s, acquire, &b->gil);
        t_check_uncancel(s, acquire, &b->gil);
        TELL(b->go, 1);
        CHECK_EQ(t_join_one(w), 0);
        CHECK_EQ(plait_gil_locked(&b->gil), 0);
        CHECK_RC(visit(&b->gil, PLAIT_TIMEOUT_MAX), 0);
        t_delete(s, b);
    }
}

static int yield_canceled(void *arg)
{
    struct box *b = arg;
    CHECK_RC(plait_gil_acquire(&b->gil, PLAIT_FOREVER), 0);
    TELL(b->ready, 1);
    UNTIL(SEEN(b->waiters[0].step) == 1 && plait_gil_should_yield(&b->gil));
    CHECK_RC(plait_gil_yield(&b->gil), 0);
    CHECK(plait_same(plait_gil_holder(&b->gil), plait_self()));
    CHECK_RC(plait_gil_release(&b->gil), 0);
    CHECK_RC(plait_checkpoint(), PLAIT_ECANCELED); /* heard, not lost */
    return 0;
}

static void who_yields_gets_it_back_though_asked_to_stop(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        plait_worker yielder = t_start_one(s->kinds[0], yield_canceled, b);
        UNTIL(SEEN(b->ready));
        CHECK_RC(plait_cancel(yielder), 0);
        TELL(b->waiters[0].step, 1);
        CHECK_RC(plait_gil_acquire(&b->gil, PLAIT_FOREVER), 0); /* asks, and gets it */
        UNTIL_WAITS(yielder, PL_WAIT_GIL);
        CHECK_RC(plait_gil_release(&b->gil), 0);
        CHECK_EQ(t_join_one(yielder), 0);
        t_delete(s, b);
    }
}

static void errno_is_left_alone(void **state)
{
    (void)state;
    struct box *b = t_new(&t_mixed, sizeof *b);
    CHECK_RC(plait_gil_acquire(&b->gil, PLAIT_FOREVER), 0);
    plait_worker w = start_waiter(&t_mixed, b, 0);
    errno = EXDEV;
    CHECK_RC(plait_gil_yield(&b->gil), 0);
    CHECK_RC(plait_gil_release(&b->gil), 0);
    CHECK_RC(plait_gil_release(&b->gil), PLAIT_EPERM);
    CHECK_EQ(errno, EXDEV);
    CHECK_EQ(t_join_one(w), 0);
    t_delete(&t_mixed, b);
}

/* --- death --- */

static int take_and_sleep(void *arg)
{
    struct box *b = arg;
    CHECK_RC(plait_gil_acquire(&b->gil, PLAIT_FOREVER), 0);
    TELL(b->step, 1);
    t_sleep_for_ever();
}

static int64_t kill_the_holder(void)
{
    struct box *b = t_new(&t_processes, sizeof *b);
    plait_blame blame;
    plait_worker w = t_start_one(PLAIT_PROCESS, take_and_sleep, b), others[2];
    UNTIL(SEEN(b->step));
    for (int i = 0; i < 2; i++)
        others[i] = start_waiter(&t_mixed, b, i);
    t_let_naps_grow();
    int64_t start = plait_now();
    t_kill(w);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(t_join_one(others[i]), 0);
    int64_t took = plait_now() - start;
    CHECK_RC(b->waiters[0].rc, PLAIT_OWNER_DIED); /* the longest waiting */
    CHECK_RC(b->waiters[1].rc, 0);
    CHECK_RC(plait_gil_acquire(&b->gil, PLAIT_NOWAIT), 0);
    int rc = plait_gil_blame(&b->gil, &blame);
    CHECK(rc == PLAIT_ESTALE || (rc == 0 && plait_same(blame.worker, w)));
    CHECK_RC(plait_gil_release(&b->gil), 0);
    t_delete(&t_processes, b);
    return took;
}

static void the_next_one_is_told_of_the_holders_death_at_once(void **state)
{
    (void)state;
    t_check_at_once(kill_the_holder);
}

static int die_in_turn(void *arg)
{
    struct box *b = arg;
    CHECK_RC(plait_gil_acquire(&b->gil, PLAIT_FOREVER), 0);
    kill(getpid(), SIGKILL);
    return 0;
}

static void who_yields_is_told_of_a_death_meanwhile(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    CHECK_RC(plait_gil_acquire(&b->gil, PLAIT_FOREVER), 0);
    plait_worker w = t_start_one(PLAIT_PROCESS, die_in_turn, b);
    UNTIL_WAITS(w, PL_WAIT_GIL);
    CHECK_RC(plait_gil_yield(&b->gil), PLAIT_OWNER_DIED);
    CHECK_EQ(t_join_one(w), -SIGKILL);
    w = t_start_one(PLAIT_PROCESS, die_in_turn, b);
    UNTIL_WAITS(w, PL_WAIT_GIL);
    PLAIT_GIL_RELEASED(&b->gil)
    CHECK_EQ(t_join_one(w), -SIGKILL);
    plait_blame blame;
    CHECK(plait_gil_blame(&b->gil, &blame) != PLAIT_ESRCH);
    CHECK_RC(plait_gil_release(&b->gil), 0);
    t_delete(&t_processes, b);
}

/* --- fork in user code --- */

static int use_the_copy(void *arg)
{
    struct box *b = arg;
    CHECK_RC(plait_gil_release(&b->gil), PLAIT_EPERM);
    CHECK_RC(visit(&b->gil, PLAIT_FOREVER), PLAIT_OWNER_DIED);
    return visit(&b->gil, PLAIT_FOREVER);
}

static void a_private_one_copied_by_fork_is_free_for_the_child(void **state)
{
    (void)state;
    struct box *b = t_new(&t_private_threads, sizeof *b);
    CHECK_RC(plait_gil_acquire(&b->gil, PLAIT_FOREVER), 0);
    plait_worker w = start_waiter(&t_private_threads, b, 0);
    CHECK_EQ(t_in_fork(use_the_copy, b), 0);
    CHECK_RC(plait_gil_release(&b->gil), 0);
    CHECK_EQ(t_join_one(w), 0);
    t_delete(&t_private_threads, b);
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
        cmocka_unit_test(without_an_arena_it_says_why_it_cannot_be_had),
        cmocka_unit_test(zeroed_memory_is_a_free_gil),
        cmocka_unit_test(misuse_is_refused_and_changes_nothing),
        cmocka_unit_test(only_the_holder_may_give_it_away),
        cmocka_unit_test(one_who_waits_an_interval_asks_for_it),
        cmocka_unit_test(a_request_of_one_who_gave_up_is_forgotten),
        cmocka_unit_test(yield_lets_all_who_wait_have_it_first),
        cmocka_unit_test(whoever_is_in_the_circle_gets_every_nth_turn),
        cmocka_unit_test(a_released_block_is_without_it_and_takes_it_back),
        cmocka_unit_test(a_timeout_is_over_in_time_and_takes_nothing),
        cmocka_unit_test(who_yields_gets_it_back_though_asked_to_stop),
        cmocka_unit_test(errno_is_left_alone),
        cmocka_unit_test(the_next_one_is_told_of_the_holders_death_at_once),
        cmocka_unit_test(who_yields_is_told_of_a_death_meanwhile),
        cmocka_unit_test(a_private_one_copied_by_fork_is_free_for_the_child),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
