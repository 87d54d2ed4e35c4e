/* The barrier: a test per promise of include/plait/barrier.h, and each misuse. */
#include "harness/harness.h"

#include "park/park.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WORKERS = 4, ROUNDS = 50 };

struct box {
    plait_barrier barrier, inner;
    int actions; /* how often the action ran */
    int action_rc;
    int in_action, go_on, tickets;
    int released; /* workers through while the action ran */
    int indices[ROUNDS][WORKERS];
    int here[ROUNDS]; /* workers that came to each round */
    struct t_waiter waiters[WORKERS + 2];
};

static int wait_for(void *barrier, int64_t timeout)
{
    return plait_barrier_wait(barrier, timeout);
}

static struct box *new_box(const struct t_setting *s, int parties, plait_function *action)
{
    struct box *b = t_new(s, sizeof *b);
    plait_barrier_options options = {.action = action, .arg = b};
    CHECK_RC(plait_barrier_init(&b->barrier, parties, &options), 0);
    return b;
}

/* Starts one more waiter and lets it fall asleep. */
static void add_waiter(struct t_team *team, const struct t_setting *s, struct box *b,
                       int64_t timeout)
{
    int i = team->n++;
    b->waiters[i] = (struct t_waiter){wait_for, &b->barrier, timeout, 0, 0, 0};
    team->workers[i] = t_start_one(s->kinds[i % 2], t_wait_once, &b->waiters[i]);
    UNTIL_WAITS(team->workers[i], PL_WAIT_BARRIER);
}

static void start_waiters(struct t_team *team, const struct t_setting *s, struct box *b, int n)
{
    team->n = 0;
    for (int i = 0; i < n; i++)
        add_waiter(team, s, b, PLAIT_FOREVER);
}

/* All have returned this. */
static void join_waiters(struct t_team *team, struct box *b, int rc)
{
    int n = team->n;
    t_join(team);
    for (int i = 0; i < n; i++)
        CHECK_RC(b->waiters[i].rc, rc);
}

static int count_action(void *arg)
{
    struct box *b = arg;
    ADD(b->actions, 1);
    return SEEN(b->action_rc);
}

/* --- what it is --- */

static void without_an_arena_it_says_why_it_cannot_wait(void **state)
{
    (void)state;
    plait_barrier barrier;
    CHECK_RC(plait_barrier_init(&barrier, 2, NULL), 0);
    t_check_no_arena(wait_for, &barrier);
}

static void a_zeroed_barrier_is_for_nobody(void **state)
{
    (void)state;
    static plait_barrier barrier, zero;
    CHECK_RC(plait_barrier_wait(&barrier, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_barrier_abort(&barrier), PLAIT_EINVAL);
    CHECK_RC(plait_barrier_reset(&barrier), PLAIT_EINVAL);
    CHECK_EQ(plait_barrier_parties(&barrier), 0);
    CHECK_EQ(plait_barrier_waiting(&barrier), 0);
    CHECK_EQ(plait_barrier_broken(&barrier), 0);
    CHECK_EQ(memcmp(&barrier, &zero, sizeof barrier), 0);
}

static void null_and_bad_values_are_refused_and_change_nothing(void **state)
{
    (void)state;
    plait_barrier barrier, before;
    plait_blame blame;
    memset(&barrier, 0xff, sizeof barrier);
    before = barrier;
    CHECK_RC(plait_barrier_init(NULL, 1, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_barrier_init(&barrier, 0, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_barrier_init(&barrier, -1, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_barrier_init(&barrier, PLAIT_BARRIER_MAX + 1, NULL), PLAIT_EOVERFLOW);
    CHECK_RC(plait_barrier_init(&barrier, 1, &(plait_barrier_options){.timeout = -2}),
             PLAIT_EINVAL);
    CHECK_RC(
        plait_barrier_init(&barrier, 1, &(plait_barrier_options){.timeout = PLAIT_TIMEOUT_MAX + 1}),
        PLAIT_EOVERFLOW);
    CHECK_EQ(memcmp(&barrier, &before, sizeof barrier), 0);
    CHECK_RC(plait_barrier_wait(NULL, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_barrier_abort(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_barrier_reset(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_barrier_blame(NULL, &blame), PLAIT_EINVAL);
    CHECK_RC(plait_barrier_init(&barrier, PLAIT_BARRIER_MAX, NULL), 0);
    CHECK_RC(plait_barrier_blame(&barrier, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_barrier_blame(&barrier, &blame), PLAIT_ESRCH);
    CHECK_EQ(plait_barrier_parties(&barrier), PLAIT_BARRIER_MAX);
    CHECK_EQ(plait_barrier_parties(NULL), 0);
    CHECK_EQ(plait_barrier_waiting(NULL), 0);
    CHECK_EQ(plait_barrier_broken(NULL), 0);
}

static void a_barrier_of_one_lets_pass_at_once(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s, 1, count_action);
        CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_NOWAIT), 0);
        CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_FOREVER), 0);
        CHECK_RC(plait_barrier_wait(&b->barrier, plait_ms(1)), 0);
        CHECK_EQ(b->actions, 3);
        CHECK_EQ(plait_barrier_waiting(&b->barrier), 0);
        t_delete(s, b);
    }
}

/* --- rounds --- */

static int go_through_rounds(void *arg)
{
    struct box *b = arg;
    for (int round = 0; round < ROUNDS; round++) {
        COUNT(b->here[round]);
        int index = plait_barrier_wait(&b->barrier, plait_seconds(T_PATIENCE_S));
        CHECK(index >= 0 && index < WORKERS);
        CHECK_EQ(SEEN(b->here[round]), WORKERS);
        if (b->barrier.action_)
            CHECK(SEEN(b->actions) > round);
        COUNT(b->indices[round][index]);
    }
    return 0;
}

static void each_round_gives_each_index_once_and_runs_the_action_once(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    for (int with_action = 0; with_action < 2; with_action++) {
        struct box *b = new_box(s, WORKERS, with_action ? count_action : NULL);
        struct t_team team;
        t_start(&team, s, WORKERS, go_through_rounds, b);
        t_join(&team);
        for (int round = 0; round < ROUNDS; round++)
            for (int i = 0; i < WORKERS; i++)
                CHECK_EQ(b->indices[round][i], 1);
        CHECK_EQ(b->actions, with_action ? ROUNDS : 0);
        CHECK_EQ(plait_barrier_waiting(&b->barrier), 0);
        t_delete(s, b);
    }
}

static void indices_tell_the_order_of_arrival(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s, WORKERS, NULL);
        struct t_team team = {0};
        for (int i = 0; i < WORKERS - 1; i++) {
            CHECK_EQ(plait_barrier_waiting(&b->barrier), i);
            add_waiter(&team, s, b, PLAIT_FOREVER);
        }
        CHECK_EQ(plait_barrier_waiting(&b->barrier), WORKERS - 1);
        CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_NOWAIT), WORKERS - 1);
        CHECK_EQ(plait_barrier_waiting(&b->barrier), 0);
        t_join(&team);
        for (int i = 0; i < WORKERS - 1; i++)
            CHECK_RC(b->waiters[i].rc, i);
        t_delete(s, b);
    }
}

/* Each takes a ticket per round; there is an even number of them, so nobody is left alone. */
static int take_part_while_tickets_last(void *arg)
{
    struct box *b = arg;
    while (ADD(b->tickets, -1) >= 0) {
        int index = plait_barrier_wait(&b->barrier, plait_seconds(T_PATIENCE_S));
        CHECK(index == 0 || index == 1);
        COUNT(b->indices[0][index]);
    }
    return 0;
}

static void more_workers_than_parties_share_the_rounds(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    for (int with_action = 0; with_action < 2; with_action++) {
        struct box *b = new_box(s, 2, with_action ? count_action : NULL);
        struct t_team team;
        b->tickets = 8 * ROUNDS;
        t_start(&team, s, WORKERS + 1, take_part_while_tickets_last, b);
        t_join(&team);
        CHECK_EQ(b->actions, with_action ? 4 * ROUNDS : 0);
        CHECK_EQ(b->indices[0][0], 4 * ROUNDS);
        CHECK_EQ(b->indices[0][1], 4 * ROUNDS);
        t_delete(s, b);
    }
}

static int64_t complete_all(void)
{
    struct box *b[4];
    struct t_team teams[4];
    for (int i = 0; i < 4; i++) {
        b[i] = new_box(&t_settings[i], WORKERS, NULL);
        start_waiters(&teams[i], &t_settings[i], b[i], WORKERS - 1);
    }
    t_let_naps_grow();
    int64_t start = plait_now();
    for (int i = 0; i < 4; i++)
        CHECK_RC(plait_barrier_wait(&b[i]->barrier, PLAIT_FOREVER), WORKERS - 1);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < WORKERS - 1; k++)
            UNTIL(SEEN(b[i]->waiters[k].step) == 2);
    int64_t took = plait_now() - start;
    for (int i = 0; i < 4; i++) {
        t_join(&teams[i]);
        t_delete(&t_settings[i], b[i]);
    }
    return took;
}

static void the_last_one_wakes_all_at_once(void **state)
{
    (void)state;
    t_check_at_once(complete_all);
}

/* --- the action --- */

static int look_who_is_through(void *arg)
{
    struct box *b = arg;
    t_sleep(plait_ms(2));
    for (int i = 0; i < WORKERS - 1; i++)
        b->released += SEEN(b->waiters[i].step) == 2;
    CHECK_EQ(plait_barrier_waiting(&b->barrier), WORKERS);
    return COUNT(b->actions);
}

static void nobody_is_let_go_before_the_action_is_over(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s, WORKERS, look_who_is_through);
        struct t_team team;
        start_waiters(&team, s, b, WORKERS - 1);
        CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_FOREVER), WORKERS - 1);
        t_join(&team);
        CHECK_EQ(b->released, 0);
        CHECK_EQ(b->actions, 1); /* a positive result is no failure */
        t_delete(s, b);
    }
}

static void a_failing_action_tells_its_runner_and_breaks_for_the_others(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s, WORKERS, count_action);
        struct t_team team;
        plait_blame blame;
        b->action_rc = PLAIT_EMFILE;
        start_waiters(&team, s, b, WORKERS - 1);
        CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_FOREVER), PLAIT_EMFILE);
        join_waiters(&team, b, PLAIT_EBROKEN);
        CHECK_EQ(plait_barrier_broken(&b->barrier), 1);
        CHECK_RC(plait_barrier_blame(&b->barrier, &blame), PLAIT_ESRCH);
        CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_FOREVER), PLAIT_EBROKEN);
        CHECK_EQ(b->actions, 1);
        b->action_rc = 0;
        CHECK_RC(plait_barrier_reset(&b->barrier), 0);
        start_waiters(&team, s, b, WORKERS - 1);
        CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_FOREVER), WORKERS - 1);
        t_join(&team);
        CHECK_EQ(b->actions, 2);
        t_delete(s, b);
    }
}

static int come_again(void *arg)
{
    struct box *b = arg;
    CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_FOREVER), PLAIT_EDEADLK);
    CHECK_RC(plait_barrier_reset(&b->barrier), 0); /* and not either when it is to be left */
    CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_FOREVER), PLAIT_EDEADLK);
    return 0;
}

static void to_wait_in_its_own_action_is_a_deadlock(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s, 2, come_again);
        struct t_team team;
        start_waiters(&team, s, b, 1);
        CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_FOREVER), PLAIT_EBROKEN);
        join_waiters(&team, b, PLAIT_EBROKEN);
        CHECK_EQ(plait_barrier_broken(&b->barrier), 0);
        t_delete(s, b);
    }
}

static int meet_in_another(void *arg)
{
    struct box *b = arg;
    CHECK(plait_barrier_wait(&b->inner, plait_seconds(T_PATIENCE_S)) >= 0);
    return count_action(b);
}

static int meet_runner(void *arg)
{
    struct box *b = arg;
    CHECK(plait_barrier_wait(&b->inner, plait_seconds(T_PATIENCE_S)) >= 0);
    return 0;
}

static void an_action_may_wait_at_another_barrier(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s, 2, meet_in_another);
        struct t_team team;
        CHECK_RC(plait_barrier_init(&b->inner, 2, NULL), 0);
        start_waiters(&team, s, b, 1);
        plait_worker other = t_start_one(s->kinds[1], meet_runner, b);
        CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_FOREVER), 1);
        CHECK_EQ(t_join_one(other), 0);
        join_waiters(&team, b, 0);
        CHECK_EQ(b->actions, 1);
        t_delete(s, b);
    }
}

static int stay_in_action(void *arg)
{
    struct box *b = arg;
    TELL(b->in_action, 1);
    UNTIL(SEEN(b->go_on));
    return count_action(b);
}

/* Starts one that runs the action and stays in it; `first` waits in the same round. */
static plait_worker start_runner(const struct t_setting *s, struct box *b, int i)
{
    b->waiters[i] = (struct t_waiter){wait_for, &b->barrier, PLAIT_FOREVER, 0, 0, 0};
    plait_worker runner = t_start_one(s->kinds[i % 2], t_wait_once, &b->waiters[i]);
    UNTIL(SEEN(b->in_action));
    return runner;
}

static void who_comes_during_the_action_takes_part_in_the_next_round(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s, 2, stay_in_action);
        struct t_team team;
        start_waiters(&team, s, b, 1);
        plait_worker runner = start_runner(s, b, 1);
        team.n = 2;
        team.workers[1] = runner;
        CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
        CHECK_RC(plait_barrier_wait(&b->barrier, plait_ms(2)), PLAIT_ETIMEDOUT);
        CHECK_EQ(plait_barrier_broken(&b->barrier), 0); /* it did not belong to the round */
        add_waiter(&team, s, b, PLAIT_FOREVER);
        CHECK_EQ(SEEN(b->waiters[0].step), 1);
        TELL(b->go_on, 1);
        UNTIL(SEEN(b->waiters[0].step) == 2 && SEEN(b->waiters[1].step) == 2);
        CHECK_RC(b->waiters[0].rc, 0);
        CHECK_RC(b->waiters[1].rc, 1);
        int index = plait_barrier_wait(&b->barrier, PLAIT_FOREVER); /* who is first now? */
        t_join(&team);
        CHECK(index >= 0 && b->waiters[2].rc >= 0 && index + b->waiters[2].rc == 1);
        CHECK_EQ(b->actions, 2);
        t_delete(s, b);
    }
}

static void abort_and_timeouts_do_not_wait_for_the_action(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    for (int by_abort = 0; by_abort < 2; by_abort++) {
        struct box *b = new_box(s, 2, stay_in_action);
        struct t_team team = {0};
        add_waiter(&team, s, b, by_abort ? PLAIT_FOREVER : plait_ms(60));
        plait_worker runner = start_runner(s, b, 1);
        if (by_abort)
            CHECK_RC(plait_barrier_abort(&b->barrier), 0);
        UNTIL(SEEN(b->waiters[0].step) == 2);
        CHECK_RC(b->waiters[0].rc, by_abort ? PLAIT_EBROKEN : PLAIT_ETIMEDOUT);
        TELL(b->go_on, 1);
        CHECK_EQ(t_join_one(runner), 0);
        CHECK_RC(b->waiters[1].rc, PLAIT_EBROKEN); /* the round was not completed for it either */
        CHECK_EQ(b->actions, 1);
        t_join(&team);
        t_delete(s, b);
    }
}

static int fork_and_wait(void *arg)
{
    struct box *b = arg;
    pid_t pid = fork();
    if (pid == 0) {
        ADD(b->released, 1);
        return 0; /* out of the wait; see below */
    }
    CHECK_EQ(t_reap(pid), 7);
    return count_action(b);
}

static void a_child_forked_in_the_action_leaves_the_round_to_its_parent(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s, 2, fork_and_wait);
        struct t_team team;
        pid_t self = getpid();
        start_waiters(&team, s, b, 1);
        int rc = plait_barrier_wait(&b->barrier, PLAIT_FOREVER);
        if (getpid() != self)
            _exit(rc == PLAIT_ECHILD ? 7 : 1);
        CHECK_RC(rc, 1);
        join_waiters(&team, b, 0);
        CHECK_EQ(b->actions, 1);
        t_delete(s, b);
    }
}

/* --- breaking --- */

static void abort_breaks_it_for_those_who_wait_and_who_come(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s, WORKERS, count_action);
        struct t_team team;
        plait_blame blame;
        start_waiters(&team, s, b, WORKERS - 1);
        CHECK_RC(plait_barrier_abort(&b->barrier), 0);
        join_waiters(&team, b, PLAIT_EBROKEN);
        CHECK_RC(plait_barrier_abort(&b->barrier), 0); /* does nothing */
        CHECK_EQ(plait_barrier_broken(&b->barrier), 1);
        CHECK_EQ(plait_barrier_waiting(&b->barrier), 0);
        CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_FOREVER), PLAIT_EBROKEN);
        CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_NOWAIT), PLAIT_EBROKEN);
        CHECK_RC(plait_barrier_blame(&b->barrier, &blame), PLAIT_ESRCH);
        CHECK_RC(plait_barrier_reset(&b->barrier), 0);
        CHECK_EQ(plait_barrier_broken(&b->barrier), 0);
        start_waiters(&team, s, b, WORKERS - 1);
        CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_FOREVER), WORKERS - 1);
        t_join(&team);
        CHECK_EQ(b->actions, 1);
        t_delete(s, b);
    }
}

static int64_t abort_all(void)
{
    struct box *b[4];
    struct t_team teams[4];
    for (int i = 0; i < 4; i++) {
        b[i] = new_box(&t_settings[i], WORKERS, NULL);
        start_waiters(&teams[i], &t_settings[i], b[i], WORKERS - 1);
    }
    t_let_naps_grow();
    int64_t start = plait_now();
    for (int i = 0; i < 4; i++)
        CHECK_RC(i % 2 ? plait_barrier_abort(&b[i]->barrier) : plait_barrier_reset(&b[i]->barrier),
                 0);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < WORKERS - 1; k++)
            UNTIL(SEEN(b[i]->waiters[k].step) == 2);
    int64_t took = plait_now() - start;
    for (int i = 0; i < 4; i++) {
        join_waiters(&teams[i], b[i], PLAIT_EBROKEN);
        t_delete(&t_settings[i], b[i]);
    }
    return took;
}

static void abort_and_reset_wake_all_at_once(void **state)
{
    (void)state;
    t_check_at_once(abort_all);
}

static void reset_sends_those_who_wait_away_and_leaves_it_whole(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s, WORKERS, NULL);
        struct t_team team;
        CHECK_RC(plait_barrier_reset(&b->barrier), 0); /* nobody waits: nothing happens */
        for (int round = 0; round < 3; round++) {
            start_waiters(&team, s, b, WORKERS - 1);
            CHECK_RC(plait_barrier_reset(&b->barrier), 0);
            CHECK_EQ(plait_barrier_broken(&b->barrier), 0);
            CHECK_EQ(plait_barrier_waiting(&b->barrier), 0);
            join_waiters(&team, b, PLAIT_EBROKEN);
        }
        start_waiters(&team, s, b, WORKERS - 1);
        CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_FOREVER), WORKERS - 1);
        t_join(&team);
        for (int i = 0; i < WORKERS - 1; i++)
            CHECK_RC(b->waiters[i].rc, i);
        t_delete(s, b);
    }
}

/* One of the old ones stands still: who comes waits until it has left, and then takes part. */
static void after_a_reset_newcomers_wait_until_the_old_ones_left(void **state)
{
    (void)state;
    for (int aborted = 0; aborted < 2; aborted++) {
        struct box *b = new_box(&t_processes, 2, NULL);
        struct t_team team;
        start_waiters(&team, &t_processes, b, 1);
        t_stop(team.workers[0]);
        if (aborted)
            CHECK_RC(plait_barrier_abort(&b->barrier), 0);
        CHECK_RC(plait_barrier_reset(&b->barrier), 0);
        CHECK_EQ(plait_barrier_broken(&b->barrier), 0);
        CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
        CHECK_RC(plait_barrier_wait(&b->barrier, plait_ms(2)), PLAIT_ETIMEDOUT);
        CHECK_EQ(plait_barrier_broken(&b->barrier), 0); /* they had not come in yet */
        add_waiter(&team, &t_mixed, b, PLAIT_FOREVER);
        CHECK_EQ(plait_barrier_waiting(&b->barrier), 0);
        CHECK_RC(plait_barrier_reset(&b->barrier), 0); /* leaves them as they are */
        CHECK_EQ(SEEN(b->waiters[1].step), 1);
        t_continue(team.workers[0]);
        CHECK(plait_barrier_wait(&b->barrier, plait_seconds(T_PATIENCE_S)) >= 0);
        t_join(&team);
        CHECK_RC(b->waiters[0].rc, PLAIT_EBROKEN);
        CHECK(b->waiters[1].rc >= 0);
        t_delete(&t_processes, b);
    }
}

/* Its end would wake others, too: so it stays. */
static int be_sent_away_and_stay(void *arg)
{
    struct box *b = arg;
    CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_FOREVER), PLAIT_EBROKEN);
    UNTIL(SEEN(b->go_on));
    return 0;
}

static int64_t let_the_last_old_one_leave(void)
{
    struct box *b = new_box(&t_processes, 2, NULL);
    struct t_team team = {0};
    plait_worker old = t_start_one(PLAIT_PROCESS, be_sent_away_and_stay, b);
    UNTIL_WAITS(old, PL_WAIT_BARRIER);
    t_stop(old);
    CHECK_RC(plait_barrier_reset(&b->barrier), 0);
    add_waiter(&team, &t_processes, b, PLAIT_FOREVER);
    t_let_naps_grow();
    int64_t start = plait_now();
    t_continue(old);
    UNTIL(plait_barrier_waiting(&b->barrier) == 1);
    int64_t took = plait_now() - start;
    TELL(b->go_on, 1);
    CHECK_EQ(t_join_one(old), 0);
    CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_FOREVER), 1);
    t_join(&team);
    t_delete(&t_processes, b);
    return took;
}

static void newcomers_come_in_as_soon_as_the_old_ones_left(void **state)
{
    (void)state;
    t_check_at_once(let_the_last_old_one_leave);
}

static void abort_reaches_those_who_wait_for_the_old_ones(void **state)
{
    (void)state;
    struct box *b = new_box(&t_processes, 2, NULL);
    struct t_team team;
    start_waiters(&team, &t_processes, b, 1);
    t_stop(team.workers[0]);
    CHECK_RC(plait_barrier_reset(&b->barrier), 0);
    add_waiter(&team, &t_mixed, b, PLAIT_FOREVER);
    CHECK_RC(plait_barrier_abort(&b->barrier), 0);
    UNTIL(SEEN(b->waiters[1].step) == 2);
    CHECK_RC(b->waiters[1].rc, PLAIT_EBROKEN);
    CHECK_RC(plait_barrier_reset(&b->barrier), 0);
    add_waiter(&team, &t_mixed, b, PLAIT_FOREVER); /* and the old one still is inside */
    t_kill(team.workers[0]);                       /* the dead are not waited for */
    CHECK(plait_barrier_wait(&b->barrier, plait_seconds(T_PATIENCE_S)) >= 0);
    CHECK_EQ(t_join_one(team.workers[1]), 0);
    CHECK_EQ(t_join_one(team.workers[2]), 0);
    CHECK(b->waiters[2].rc >= 0);
    t_delete(&t_processes, b);
}

/* It was let go before it could look, and much has happened since. */
static void who_was_let_go_gets_its_index_whatever_comes_after(void **state)
{
    (void)state;
    struct box *b = new_box(&t_processes, 2, NULL);
    struct t_team team;
    start_waiters(&team, &t_processes, b, 1);
    t_stop(team.workers[0]);
    CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_FOREVER), 1);
    for (int i = 0; i < 3; i++) {
        CHECK_RC(plait_barrier_abort(&b->barrier), 0);
        CHECK_RC(plait_barrier_reset(&b->barrier), 0);
    }
    CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
    CHECK_EQ(plait_barrier_broken(&b->barrier), 1);
    CHECK_RC(plait_barrier_reset(&b->barrier), 0);
    CHECK_RC(plait_barrier_abort(&b->barrier), 0);
    t_continue(team.workers[0]);
    join_waiters(&team, b, 0);
    t_delete(&t_processes, b);
}

static void a_waiter_that_was_sent_away_learns_it_however_late(void **state)
{
    (void)state;
    struct box *b = new_box(&t_processes, 2, NULL);
    struct t_team team;
    start_waiters(&team, &t_processes, b, 1);
    t_stop(team.workers[0]);
    for (int i = 0; i < 3; i++) {
        CHECK_RC(plait_barrier_abort(&b->barrier), 0);
        CHECK_RC(plait_barrier_reset(&b->barrier), 0);
        CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
    }
    t_continue(team.workers[0]);
    join_waiters(&team, b, PLAIT_EBROKEN);
    t_delete(&t_processes, b);
}

/* --- time --- */

static void bad_timeouts_are_refused(void **state)
{
    (void)state;
    plait_barrier barrier;
    CHECK_RC(plait_barrier_init(&barrier, 2, NULL), 0);
    t_check_bad_timeouts(wait_for, &barrier);
    CHECK_EQ(plait_barrier_waiting(&barrier), 0);
    CHECK_EQ(plait_barrier_broken(&barrier), 0);
    CHECK_RC(plait_barrier_init(&barrier, 1, NULL), 0);
    t_check_bad_timeouts(wait_for, &barrier);
}

/* As a rule each such call finds it whole. */
static int wait_afresh(void *barrier, int64_t timeout)
{
    CHECK_RC(plait_barrier_reset(barrier), 0);
    return plait_barrier_wait(barrier, timeout);
}

static void a_timeout_is_over_in_time(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s, 2, NULL);
        t_check_time(wait_afresh, &b->barrier);
        t_check_signals(wait_afresh, &b->barrier);
        t_delete(s, b);
    }
}

static void one_waiters_timeout_breaks_it_for_all(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    for (int64_t timeout = 0; timeout <= plait_ms(2); timeout += plait_ms(2)) {
        struct box *b = new_box(s, WORKERS, NULL);
        struct t_team team;
        plait_blame blame;
        start_waiters(&team, s, b, WORKERS - 2);
        CHECK_RC(plait_barrier_wait(&b->barrier, timeout), PLAIT_ETIMEDOUT);
        join_waiters(&team, b, PLAIT_EBROKEN);
        CHECK_EQ(plait_barrier_broken(&b->barrier), 1);
        CHECK_RC(plait_barrier_blame(&b->barrier, &blame), PLAIT_ESRCH);
        t_delete(s, b);
    }
}

static void the_default_timeout_stands_for_forever(void **state)
{
    (void)state;
    plait_barrier barrier;
    plait_barrier_options options = {.timeout = plait_ms(5)};
    CHECK_RC(plait_barrier_init(&barrier, 2, &options), 0);
    int64_t start = plait_now();
    CHECK_RC(plait_barrier_wait(&barrier, PLAIT_FOREVER), PLAIT_ETIMEDOUT);
    CHECK(plait_now() - start >= plait_ms(5));
    CHECK_RC(plait_barrier_reset(&barrier), 0);
    CHECK_RC(plait_barrier_wait(&barrier, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
    options.timeout = PLAIT_FOREVER;
    CHECK_RC(plait_barrier_init(&barrier, 1, &options), 0);
    CHECK_RC(plait_barrier_wait(&barrier, PLAIT_FOREVER), 0);
}

static void errno_is_left_alone(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s, 2, NULL);
        struct t_team team;
        start_waiters(&team, s, b, 1);
        errno = EXDEV;
        CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_FOREVER), 1);
        CHECK_RC(plait_barrier_wait(&b->barrier, plait_ms(2)), PLAIT_ETIMEDOUT);
        CHECK_RC(plait_barrier_wait(&b->barrier, plait_ms(2)), PLAIT_EBROKEN);
        CHECK_RC(plait_barrier_reset(&b->barrier), 0);
        CHECK_RC(plait_barrier_abort(&b->barrier), 0);
        CHECK_EQ(errno, EXDEV);
        t_join(&team);
        t_delete(s, b);
    }
}

/* --- cancellation --- */

static void cancellation_ends_a_wait(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s, 2, NULL);
        t_check_cancel(s, wait_afresh, &b->barrier);
        t_check_cancel_pending(s, wait_afresh, &b->barrier);
        t_check_cancel_counts(s, wait_afresh, &b->barrier);
        t_check_uncancel(s, wait_afresh, &b->barrier);
        t_delete(s, b);
    }
}

static void a_canceled_waiter_breaks_it_for_the_others(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    for (int victim = 0; victim < WORKERS - 1; victim++) {
        struct box *b = new_box(s, WORKERS, NULL);
        struct t_team team;
        start_waiters(&team, s, b, WORKERS - 1);
        CHECK_RC(plait_cancel(team.workers[victim]), 0);
        t_join(&team);
        for (int i = 0; i < WORKERS - 1; i++)
            CHECK_RC(b->waiters[i].rc, i == victim ? PLAIT_ECANCELED : PLAIT_EBROKEN);
        t_delete(s, b);
    }
}

/* --- death --- */

static void a_killed_waiter_breaks_it_for_the_others_and_is_blamed(void **state)
{
    (void)state;
    const struct t_setting *both[] = {&t_processes, &t_mixed};
    for (int k = 0; k < 2; k++)
        for (int victim = 0; victim < WORKERS; victim += 2) {
            struct box *b = new_box(both[k], WORKERS + 1, NULL);
            struct t_team team;
            plait_blame blame;
            start_waiters(&team, both[k], b, WORKERS);
            plait_worker dead = team.workers[victim];
            CHECK_RC(plait_kill(dead), 0);
            for (int i = 0; i < WORKERS; i++)
                if (i != victim) {
                    UNTIL(SEEN(b->waiters[i].step) == 2);
                    CHECK_RC(b->waiters[i].rc, PLAIT_EBROKEN);
                }
            CHECK_RC(plait_barrier_blame(&b->barrier, &blame), 0);
            CHECK(plait_same(blame.worker, dead));
            CHECK_EQ(blame.signal, SIGKILL);
            CHECK_EQ(t_join_one(dead), -SIGKILL);
            CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_FOREVER), PLAIT_EBROKEN);
            CHECK_RC(plait_barrier_blame(&b->barrier, &blame), 0); /* as often as asked */
            team.workers[victim] = team.workers[--team.n];
            t_join(&team);
            CHECK_RC(plait_barrier_reset(&b->barrier), 0);
            CHECK_RC(plait_barrier_abort(&b->barrier), 0);
            CHECK_RC(plait_barrier_blame(&b->barrier, &blame), PLAIT_ESRCH);
            t_delete(both[k], b);
        }
}

/* It was joined, and others have its entry of the worker table, before the waiter looked. */
static void a_death_is_not_missed_when_the_entry_serves_another(void **state)
{
    (void)state;
    struct box *b = new_box(&t_processes, 3, NULL);
    struct t_team team;
    start_waiters(&team, &t_processes, b, 2);
    t_stop(team.workers[1]);
    t_kill(team.workers[0]);
    CHECK_EQ(plait_barrier_broken(&b->barrier), 1); /* the joiner saw to it */
    t_continue(team.workers[1]);
    CHECK_EQ(t_join_one(team.workers[1]), 0);
    CHECK_RC(b->waiters[1].rc, PLAIT_EBROKEN);
    t_delete(&t_processes, b);
}

/* It was counted, and the others have completed the round: they do not wait for it in the next one. */
static void who_dies_after_it_was_let_go_breaks_the_next_round(void **state)
{
    (void)state;
    for (int asleep = 0; asleep < 2; asleep++) {
        struct box *b = new_box(&t_processes, 3, NULL);
        struct t_team team;
        plait_blame blame;
        start_waiters(&team, &t_processes, b, 2);
        plait_worker dead = team.workers[0];
        t_stop(dead);
        CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_FOREVER), 2);
        CHECK_EQ(t_join_one(team.workers[1]), 0);
        CHECK_RC(b->waiters[1].rc, 1);
        team.n = 1;
        if (asleep)
            add_waiter(&team, &t_mixed, b, PLAIT_FOREVER);
        CHECK_EQ(plait_barrier_broken(&b->barrier), 0);
        CHECK_RC(plait_kill(dead), 0);
        CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_FOREVER), PLAIT_EBROKEN);
        CHECK_RC(plait_barrier_blame(&b->barrier, &blame), 0);
        CHECK(plait_same(blame.worker, dead));
        if (asleep) {
            CHECK_EQ(t_join_one(team.workers[1]), 0);
            CHECK_RC(b->waiters[1].rc, PLAIT_EBROKEN);
        }
        CHECK_EQ(t_join_one(dead), -SIGKILL);
        t_delete(&t_processes, b);
    }
}

static void a_death_from_before_a_reset_breaks_nothing(void **state)
{
    (void)state;
    for (int complete = 0; complete < 2; complete++) {
        struct box *b = new_box(&t_processes, 2, NULL);
        struct t_team team;
        plait_blame blame;
        start_waiters(&team, &t_processes, b, 1);
        t_stop(team.workers[0]);
        if (complete)
            CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_FOREVER), 1);
        CHECK_RC(plait_barrier_reset(&b->barrier), 0);
        t_kill(team.workers[0]);
        CHECK_EQ(plait_barrier_broken(&b->barrier), 0);
        CHECK_RC(plait_barrier_blame(&b->barrier, &blame), PLAIT_ESRCH);
        start_waiters(&team, &t_mixed, b, 1);
        CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_FOREVER), 1);
        join_waiters(&team, b, 0);
        t_delete(&t_processes, b);
    }
}

static int sleep_in_action(void *arg)
{
    struct box *b = arg;
    TELL(b->in_action, 1);
    t_sleep_for_ever();
}

static int meet_and_sleep(void *arg)
{
    struct box *b = arg;
    CHECK_RC(plait_barrier_wait(&b->inner, PLAIT_FOREVER), 0); /* forgets no outer one by that */
    TELL(b->in_action, 1);
    t_sleep_for_ever();
}

static int meet_for_ever(void *arg)
{
    struct box *b = arg;
    TELL(b->in_action, 1);
    plait_barrier_wait(&b->inner, PLAIT_FOREVER);
    return 0;
}

static void a_runner_killed_in_the_action_breaks_it(void **state)
{
    (void)state;
    plait_function *actions[] = {sleep_in_action, meet_and_sleep, meet_for_ever};
    for (int k = 0; k < 3; k++) {
        struct box *b = new_box(&t_processes, WORKERS, actions[k]);
        struct t_team team;
        plait_blame blame;
        CHECK_RC(plait_barrier_init(&b->inner, k == 2 ? 2 : 1, NULL), 0);
        start_waiters(&team, &t_mixed, b, WORKERS - 1);
        b->waiters[WORKERS] = (struct t_waiter){wait_for, &b->barrier, PLAIT_FOREVER, 0, 0, 0};
        plait_worker runner = t_start_one(PLAIT_PROCESS, t_wait_once, &b->waiters[WORKERS]);
        UNTIL(SEEN(b->in_action));
        if (k == 2)
            UNTIL_WAITS(runner, PL_WAIT_BARRIER);
        CHECK_RC(plait_kill(runner), 0);
        join_waiters(&team, b, PLAIT_EBROKEN);
        CHECK_RC(plait_barrier_blame(&b->barrier, &blame), 0);
        CHECK(plait_same(blame.worker, runner));
        CHECK_EQ(t_join_one(runner), -SIGKILL);
        t_delete(&t_processes, b);
    }
}

static int exit_in_action(void *arg)
{
    struct box *b = arg;
    TELL(b->in_action, 1);
    pthread_exit(NULL);
}

static void a_thread_that_ends_in_the_action_breaks_it(void **state)
{
    (void)state;
    const struct t_setting *both[] = {&t_private_threads, &t_threads};
    for (int k = 0; k < 2; k++) {
        struct box *b = new_box(both[k], 2, exit_in_action);
        struct t_team team;
        plait_blame blame;
        start_waiters(&team, both[k], b, 1);
        plait_worker runner = start_runner(both[k], b, 1);
        join_waiters(&team, b, PLAIT_EBROKEN);
        CHECK_RC(plait_barrier_blame(&b->barrier, &blame), 0);
        CHECK(plait_same(blame.worker, runner));
        CHECK_RC(plait_join(runner, NULL, PLAIT_FOREVER), PLAIT_DIED);
        t_delete(both[k], b);
    }
}

static void a_stopped_waiter_is_not_a_dead_one(void **state)
{
    (void)state;
    struct box *b = new_box(&t_processes, 3, NULL);
    struct t_team team;
    start_waiters(&team, &t_processes, b, 2);
    t_stop(team.workers[0]);
    t_sleep(plait_ms(30));
    CHECK_EQ(plait_barrier_broken(&b->barrier), 0);
    CHECK_RC(plait_barrier_wait(&b->barrier, PLAIT_FOREVER), 2);
    UNTIL(SEEN(b->waiters[1].step) == 2);
    t_continue(team.workers[0]);
    t_join(&team);
    CHECK_RC(b->waiters[0].rc, 0);
    CHECK_RC(b->waiters[1].rc, 1);
    t_delete(&t_processes, b);
}

/* --- fork in user code --- */

static plait_barrier copied; /* private: each process has its own */

static int use_copied(void *unused)
{
    (void)unused;
    CHECK_EQ(plait_barrier_waiting(&copied), 0);
    CHECK_RC(plait_barrier_wait(&copied, plait_ms(2)), PLAIT_ETIMEDOUT); /* not with ghosts */
    CHECK_RC(plait_barrier_reset(&copied), 0);
    struct t_waiter waiter = {wait_for, &copied, PLAIT_FOREVER, 0, 0, 0};
    plait_worker own = t_start_one(PLAIT_THREAD, t_wait_once, &waiter);
    UNTIL_WAITS(own, PL_WAIT_BARRIER);
    CHECK_RC(plait_barrier_wait(&copied, PLAIT_FOREVER), 1);
    CHECK_EQ(t_join_one(own), 0);
    CHECK_RC(waiter.rc, 0);
    return 0;
}

static int reset_copied(void *unused)
{
    (void)unused;
    CHECK_RC(plait_barrier_reset(&copied), 0);
    CHECK_RC(plait_barrier_wait(&copied, plait_ms(2)), PLAIT_ETIMEDOUT);
    return 0;
}

static void a_private_barrier_copied_by_fork_is_empty_for_the_child(void **state)
{
    (void)state;
    CHECK_RC(plait_barrier_init(&copied, 2, NULL), 0);
    struct t_waiter waiter = {wait_for, &copied, PLAIT_FOREVER, 0, 0, 0};
    plait_worker other = t_start_one(PLAIT_THREAD, t_wait_once, &waiter);
    UNTIL_WAITS(other, PL_WAIT_BARRIER);
    CHECK_EQ(t_in_fork(use_copied, NULL), 0);
    CHECK_EQ(t_in_fork(reset_copied, NULL), 0);
    CHECK_EQ(plait_barrier_waiting(&copied), 1);
    CHECK_RC(plait_barrier_wait(&copied, PLAIT_FOREVER), 1);
    CHECK_EQ(t_join_one(other), 0);
    CHECK_RC(waiter.rc, 0);
}

static int wait_in_shared(void *barrier)
{
    CHECK_RC(plait_barrier_wait(barrier, plait_ms(5)), PLAIT_EPRIVATE);
    return 0;
}

static void shared_memory_of_ones_own_is_refused_when_it_matters(void **state)
{
    (void)state;
    plait_barrier *barrier =
        mmap(NULL, sizeof *barrier, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(barrier != MAP_FAILED);
    CHECK_RC(plait_barrier_init(barrier, 2, NULL), 0);
    struct t_waiter waiter = {wait_for, barrier, PLAIT_FOREVER, 0, 0, 0};
    plait_worker other = t_start_one(PLAIT_THREAD, t_wait_once, &waiter);
    UNTIL_WAITS(other, PL_WAIT_BARRIER);
    CHECK_EQ(t_in_fork(wait_in_shared, barrier), 0);
    CHECK_RC(plait_barrier_wait(barrier, PLAIT_FOREVER), 1);
    CHECK_EQ(t_join_one(other), 0);
    munmap(barrier, sizeof *barrier);
}

static int take_part_once(void *barrier)
{
    return plait_barrier_wait(barrier, plait_seconds(T_PATIENCE_S)) == 1 ? 0 : 1;
}

static void a_forked_child_takes_part_in_the_arena(void **state)
{
    (void)state;
    struct box *b = new_box(&t_processes, 2, NULL);
    struct t_team team;
    start_waiters(&team, &t_mixed, b, 1);
    CHECK_EQ(t_in_fork(take_part_once, &b->barrier), 0);
    join_waiters(&team, b, 0);
    t_delete(&t_processes, b);
}

static void threads_that_plait_did_not_start_take_part(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s, 2, NULL);
        struct t_team team;
        start_waiters(&team, s, b, 1);
        CHECK_EQ(t_in_pthread(take_part_once, &b->barrier), 0);
        join_waiters(&team, b, 0);
        t_delete(s, b);
    }
}

#ifdef PL_STEP_HOOKS
/* --- every interleaving of a wait with what ends it --- */

static plait_worker other_one;

/* In a thread of its own, for this one is in the round already; joined later, as this one may just have
 * been asked to stop. */
static bool come_as_the_other(void *arg)
{
    struct box *b = arg;
    b->waiters[0] = (struct t_waiter){wait_for, &b->barrier, PLAIT_FOREVER, 0, 0, 0};
    other_one = t_start_one(PLAIT_THREAD, t_wait_once, &b->waiters[0]);
    UNTIL(SEEN(b->waiters[0].step) == 2);
    return true;
}

/* Only when the caller has been counted: the other one would wait for it here. */
static bool complete_here(void *arg)
{
    struct box *b = arg;
    return plait_barrier_waiting(&b->barrier) == 1 && come_as_the_other(b);
}

static bool abort_here(void *arg)
{
    return plait_barrier_abort(&((struct box *)arg)->barrier) == 0;
}

static bool reset_here(void *arg)
{
    struct box *b = arg;
    return plait_barrier_waiting(&b->barrier) == 1 && plait_barrier_reset(&b->barrier) == 0;
}

static int wait_in_box(void *box, int64_t timeout)
{
    return plait_barrier_wait(&((struct box *)box)->barrier, timeout);
}

static bool (*deed)(void *);

static int meet(void *arg, long i, long k)
{
    struct box *b = arg;
    struct t_meddling m = {.deeds = {deed, t_cancel_me}, .at = {i, k}};
    for (int try = 0; try < T_TRIES; try++) {
        CHECK_RC(plait_barrier_init(&b->barrier, 2, NULL), 0);
        int rc = t_meddle(&m, wait_in_box, b, plait_ms(T_SHORT_MS));
        t_check_canceled_once(&m, rc);
        if (m.done[0] && deed == complete_here)
            CHECK_EQ(t_join_one(other_one), 0);
        if (rc >= 0)
            CHECK(m.done[0] && deed == complete_here && b->waiters[0].rc == 1 && rc == 0);
        else
            CHECK(rc == PLAIT_ECANCELED || rc == PLAIT_ETIMEDOUT || rc == PLAIT_EBROKEN);
        if (rc == PLAIT_EBROKEN)
            CHECK(m.done[0] && deed != complete_here);
        if (m.done[0] && deed == complete_here) /* the other came in time, or after it was broken */
            CHECK(b->waiters[0].rc == (rc == 0 ? 1 : PLAIT_EBROKEN));
        if ((!m.done[0] && !m.done[1]) || m.took < plait_ms(T_TOO_LONG_MS))
            return t_came_late(&m);
    }
    t_die(__FILE__, __LINE__, "deeds at steps %ld and %ld, and it slept on", i, k);
}

static void at_each_step_what_meets_a_wait_is_heard(void **state)
{
    (void)state;
    const struct t_setting *both[] = {&t_private_threads, &t_threads};
    bool (*deeds[])(void *) = {complete_here, abort_here, reset_here};
    for (int n = 0; n < 2; n++)
        for (int d = 0; d < (both[n]->shared ? 3 : 1); d++) { /* the rest is the same there */
            struct box *b = t_new(both[n], sizeof *b);
            deed = deeds[d];
            t_each_pair(meet, b);
            t_delete(both[n], b);
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
        cmocka_unit_test(a_zeroed_barrier_is_for_nobody),
        cmocka_unit_test(null_and_bad_values_are_refused_and_change_nothing),
        cmocka_unit_test(a_barrier_of_one_lets_pass_at_once),
        cmocka_unit_test(each_round_gives_each_index_once_and_runs_the_action_once),
        cmocka_unit_test(indices_tell_the_order_of_arrival),
        cmocka_unit_test(more_workers_than_parties_share_the_rounds),
        cmocka_unit_test(the_last_one_wakes_all_at_once),
        cmocka_unit_test(nobody_is_let_go_before_the_action_is_over),
        cmocka_unit_test(a_failing_action_tells_its_runner_and_breaks_for_the_others),
        cmocka_unit_test(to_wait_in_its_own_action_is_a_deadlock),
        cmocka_unit_test(an_action_may_wait_at_another_barrier),
        cmocka_unit_test(who_comes_during_the_action_takes_part_in_the_next_round),
        cmocka_unit_test(abort_and_timeouts_do_not_wait_for_the_action),
        cmocka_unit_test(a_child_forked_in_the_action_leaves_the_round_to_its_parent),
        cmocka_unit_test(abort_breaks_it_for_those_who_wait_and_who_come),
        cmocka_unit_test(abort_and_reset_wake_all_at_once),
        cmocka_unit_test(reset_sends_those_who_wait_away_and_leaves_it_whole),
        cmocka_unit_test(after_a_reset_newcomers_wait_until_the_old_ones_left),
        cmocka_unit_test(newcomers_come_in_as_soon_as_the_old_ones_left),
        cmocka_unit_test(abort_reaches_those_who_wait_for_the_old_ones),
        cmocka_unit_test(who_was_let_go_gets_its_index_whatever_comes_after),
        cmocka_unit_test(a_waiter_that_was_sent_away_learns_it_however_late),
        cmocka_unit_test(bad_timeouts_are_refused),
        cmocka_unit_test(a_timeout_is_over_in_time),
        cmocka_unit_test(one_waiters_timeout_breaks_it_for_all),
        cmocka_unit_test(the_default_timeout_stands_for_forever),
        cmocka_unit_test(errno_is_left_alone),
        cmocka_unit_test(cancellation_ends_a_wait),
        cmocka_unit_test(a_canceled_waiter_breaks_it_for_the_others),
        cmocka_unit_test(a_killed_waiter_breaks_it_for_the_others_and_is_blamed),
        cmocka_unit_test(a_death_is_not_missed_when_the_entry_serves_another),
        cmocka_unit_test(who_dies_after_it_was_let_go_breaks_the_next_round),
        cmocka_unit_test(a_death_from_before_a_reset_breaks_nothing),
        cmocka_unit_test(a_runner_killed_in_the_action_breaks_it),
        cmocka_unit_test(a_thread_that_ends_in_the_action_breaks_it),
        cmocka_unit_test(a_stopped_waiter_is_not_a_dead_one),
        cmocka_unit_test(a_private_barrier_copied_by_fork_is_empty_for_the_child),
        cmocka_unit_test(shared_memory_of_ones_own_is_refused_when_it_matters),
        cmocka_unit_test(a_forked_child_takes_part_in_the_arena),
        cmocka_unit_test(threads_that_plait_did_not_start_take_part),
#ifdef PL_STEP_HOOKS
        cmocka_unit_test(at_each_step_what_meets_a_wait_is_heard),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
