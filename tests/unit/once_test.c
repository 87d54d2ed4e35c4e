/* The once: a test per promise of include/plait/once.h, and each misuse. */
#include "harness/harness.h"

#include "base/atomic.h"
#include "park/park.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WORKERS = 4 };

struct box {
    plait_once once;
    int runs, told; /* how often the function began; how often with PLAIT_OWNER_DIED */
    int fail_first; /* so many runs fail */
    int inside, go_on;
    int done; /* plain: ordered by the once */
    struct t_waiter waiters[WORKERS];
};

static int run(void *arg, int notice)
{
    struct box *b = arg;
    int runs = COUNT(b->runs);
    CHECK(notice == 0 || notice == PLAIT_OWNER_DIED);
    if (notice)
        COUNT(b->told);
    if (runs <= b->fail_first)
        return PLAIT_EMFILE;
    b->done++;
    return 3; /* a positive result is no failure, and stays here */
}

static int run_when_told(void *arg, int notice)
{
    struct box *b = arg;
    TELL(b->inside, 1);
    UNTIL(SEEN(b->go_on));
    return run(b, notice);
}

static int sleep_inside(void *arg, int notice)
{
    struct box *b = arg;
    (void)notice;
    COUNT(b->runs);
    TELL(b->inside, 1);
    t_sleep_for_ever();
}

/* The calls as blocking calls, whose object is the box. */
static int call(void *box, int64_t unused)
{
    struct box *b = box;
    (void)unused;
    int rc = plait_once_call(&b->once, run, b);
    if (rc >= 0)
        CHECK_EQ(b->done, 1);
    return rc;
}

static int call_slowly(void *box, int64_t unused)
{
    struct box *b = box;
    (void)unused;
    return plait_once_call(&b->once, run_when_told, b);
}

static int call_and_sleep(void *box, int64_t unused)
{
    struct box *b = box;
    (void)unused;
    return plait_once_call(&b->once, sleep_inside, b);
}

/* One that is in the function, as waiters[0], and others that wait for it. */
static void start(struct t_team *team, const struct t_setting *s, struct box *b, t_wait *first,
                  int n)
{
    team->n = n;
    for (int i = 0; i < n; i++) {
        b->waiters[i] = (struct t_waiter){i ? call : first, b, PLAIT_FOREVER, 0, 0, 0};
        team->workers[i] = t_start_one(s->kinds[i % 2], t_wait_once, &b->waiters[i]);
        if (i)
            UNTIL_WAITS(team->workers[i], PL_WAIT_ONCE);
        else
            UNTIL(SEEN(b->inside));
    }
}

/* --- what it is --- */

static int call_in_vain(void *box, int64_t unused)
{
    struct box *b = box;
    (void)unused;
    return plait_once_call(&b->once, run, b);
}

static void without_an_arena_it_says_why_it_cannot_run(void **state)
{
    (void)state;
    struct box b = {0};
    t_check_no_arena(call_in_vain, &b);
    CHECK_EQ(b.runs, 0);
}

static void zeroed_memory_has_not_run_and_runs_once(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        CHECK_EQ(plait_once_done(&b->once), 0);
        for (int i = 0; i < 3; i++) {
            CHECK_RC(plait_once_call(&b->once, run, b), 0);
            CHECK_EQ(plait_once_done(&b->once), 1);
        }
        CHECK_EQ(b->runs, 1);
        CHECK_EQ(b->told, 0);
        t_delete(s, b);
    }
}

static void init_makes_any_bytes_one_that_has_not_run(void **state)
{
    (void)state;
    struct box b = {0};
    plait_blame blame;
    memset(&b.once, 0xff, sizeof b.once);
    CHECK_RC(plait_once_init(&b.once), 0);
    CHECK_EQ(plait_once_done(&b.once), 0);
    CHECK_RC(plait_once_blame(&b.once, &blame), PLAIT_ESRCH);
    CHECK_RC(plait_once_call(&b.once, run, &b), 0);
    CHECK_EQ(b.told, 0);
}

static void null_is_refused(void **state)
{
    (void)state;
    plait_once once = {0};
    plait_blame blame;
    CHECK_RC(plait_once_init(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_once_call(NULL, run, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_once_call(&once, NULL, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_once_blame(NULL, &blame), PLAIT_EINVAL);
    CHECK_RC(plait_once_blame(&once, NULL), PLAIT_EINVAL);
    CHECK_EQ(plait_once_done(NULL), 0);
    CHECK_EQ(plait_once_done(&once), 0);
}

static int call_and_count(void *arg)
{
    struct box *b = arg;
    CHECK_RC(call(b, 0), 0);
    return 0;
}

static void it_runs_once_among_all(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    for (int round = 0; round < 30; round++) {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        t_start(&team, s, WORKERS, call_and_count, b);
        t_join(&team);
        CHECK_EQ(b->runs, 1);
        CHECK_EQ(b->done, 1);
        t_delete(s, b);
    }
}

static void others_wait_until_it_is_done(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        start(&team, s, b, call_slowly, WORKERS);
        for (int i = 0; i < WORKERS; i++)
            CHECK_EQ(SEEN(b->waiters[i].step), 1);
        CHECK_EQ(plait_once_done(&b->once), 0);
        struct pl_slot *slot = t_slot(team.workers[1]);
        CHECK_EQ(pl_load_relaxed(&slot->waits_holder), /* the deadlock detector's question */
                 pl_slot_id(t_slot(team.workers[0])));
        TELL(b->go_on, 1);
        t_join(&team);
        for (int i = 0; i < WORKERS; i++)
            CHECK_RC(b->waiters[i].rc, 0);
        CHECK_EQ(b->runs, 1);
        t_delete(s, b);
    }
}

static int64_t finish_all(void)
{
    struct box *b[4];
    struct t_team teams[4];
    for (int i = 0; i < 4; i++) {
        b[i] = t_new(&t_settings[i], sizeof *b[i]);
        start(&teams[i], &t_settings[i], b[i], call_slowly, WORKERS);
    }
    t_let_naps_grow();
    int64_t start_time = plait_now();
    for (int i = 0; i < 4; i++)
        TELL(b[i]->go_on, 1);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < WORKERS; k++)
            UNTIL(SEEN(b[i]->waiters[k].step) == 2);
    int64_t took = plait_now() - start_time;
    for (int i = 0; i < 4; i++) {
        t_join(&teams[i]);
        t_delete(&t_settings[i], b[i]);
    }
    return took;
}

static void who_waits_wakes_at_once(void **state)
{
    (void)state;
    t_check_at_once(finish_all);
}

/* --- failure --- */

static void a_failure_is_the_runners_and_the_next_caller_tries_again(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        b->fail_first = 2;
        CHECK_RC(call(b, 0), PLAIT_EMFILE);
        CHECK_EQ(plait_once_done(&b->once), 0);
        CHECK_RC(call(b, 0), PLAIT_EMFILE);
        CHECK_RC(call(b, 0), 0);
        CHECK_RC(call(b, 0), 0);
        CHECK_EQ(b->runs, 3);
        CHECK_EQ(b->told, 0);
        t_delete(s, b);
    }
}

static void after_a_failure_one_of_those_who_wait_runs_it(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        b->fail_first = 2;
        start(&team, s, b, call_slowly, WORKERS);
        TELL(b->go_on, 1);
        t_join(&team);
        int failed = 0;
        for (int i = 0; i < WORKERS; i++)
            failed += b->waiters[i].rc == PLAIT_EMFILE;
        CHECK_RC(b->waiters[0].rc, PLAIT_EMFILE);
        CHECK_EQ(failed, 2);
        CHECK_EQ(b->runs, 3);
        CHECK_EQ(b->done, 1);
        t_delete(s, b);
    }
}

static int call_again(void *arg, int notice)
{
    struct box *b = arg;
    CHECK_RC(plait_once_call(&b->once, run, b), PLAIT_EDEADLK);
    return run(b, notice);
}

static void a_call_in_its_own_function_is_a_deadlock(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        CHECK_RC(plait_once_call(&b->once, call_again, b), 0);
        CHECK_EQ(b->runs, 1);
        t_delete(s, b);
    }
}

static void errno_is_left_alone(void **state)
{
    (void)state;
    struct box b = {.fail_first = 1};
    errno = EXDEV;
    CHECK_RC(call(&b, 0), PLAIT_EMFILE);
    CHECK_RC(call(&b, 0), 0);
    CHECK_RC(call(&b, 0), 0);
    CHECK_EQ(errno, EXDEV);
}

/* --- cancellation --- */

static void cancellation_ends_a_wait_and_nothing_else(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        start(&team, s, b, call_slowly, WORKERS);
        CHECK_RC(plait_cancel(team.workers[1]), 0);
        CHECK_RC(plait_cancel(team.workers[0]), 0); /* the function is not interrupted */
        UNTIL(SEEN(b->waiters[1].step) == 2);
        CHECK_RC(b->waiters[1].rc, PLAIT_ECANCELED);
        TELL(b->go_on, 1);
        t_join(&team);
        for (int i = 0; i < WORKERS; i++)
            CHECK_RC(b->waiters[i].rc, i == 1 ? PLAIT_ECANCELED : 0);
        CHECK_EQ(b->runs, 1);
        t_delete(s, b);
    }
}

/* --- death --- */

static void a_dead_runner_is_replaced_by_one_that_is_told(void **state)
{
    (void)state;
    const struct t_setting *both[] = {&t_processes, &t_mixed};
    for (int k = 0; k < 2; k++)
        for (int n = 1; n <= WORKERS; n++) {
            struct box *b = t_new(both[k], sizeof *b);
            struct t_team team;
            plait_blame blame;
            struct t_setting first = *both[k];
            first.kinds[0] = PLAIT_PROCESS; /* it is to be killed */
            start(&team, &first, b, call_and_sleep, n);
            CHECK_RC(plait_once_blame(&b->once, &blame), PLAIT_ESRCH);
            CHECK_RC(plait_kill(team.workers[0]), 0);
            int told = 0;
            for (int i = 1; i < n; i++) {
                CHECK_EQ(t_join_one(team.workers[i]), 0);
                CHECK(b->waiters[i].rc == 0 || b->waiters[i].rc == PLAIT_OWNER_DIED);
                told += b->waiters[i].rc == PLAIT_OWNER_DIED;
            }
            CHECK_RC(plait_once_call(&b->once, run, b), n == 1 ? PLAIT_OWNER_DIED : 0);
            CHECK_EQ(told, n > 1);
            CHECK_EQ(b->told, 1);
            CHECK_EQ(b->runs, 2);
            for (int i = 0; i < 2; i++) {
                CHECK_RC(plait_once_blame(&b->once, &blame), 0);
                CHECK(plait_same(blame.worker, team.workers[0]));
                CHECK_EQ(blame.signal, SIGKILL);
            }
            CHECK_RC(plait_once_call(&b->once, run, b), 0);
            CHECK_EQ(t_join_one(team.workers[0]), -SIGKILL);
            t_delete(both[k], b);
        }
}

static void every_run_is_told_until_one_succeeds(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    struct t_team team;
    start(&team, &t_processes, b, call_and_sleep, 1);
    t_kill(team.workers[0]);
    b->fail_first = 3;
    CHECK_RC(call(b, 0), PLAIT_EMFILE);
    CHECK_RC(call(b, 0), PLAIT_EMFILE);
    CHECK_RC(call(b, 0), PLAIT_OWNER_DIED);
    CHECK_EQ(b->told, 3);
    CHECK_RC(call(b, 0), 0);
    t_delete(&t_processes, b);
}

static int exit_inside(void *arg, int notice)
{
    struct box *b = arg;
    (void)notice;
    TELL(b->inside, 1);
    pthread_exit(NULL);
}

static int call_and_exit(void *box, int64_t unused)
{
    struct box *b = box;
    (void)unused;
    return plait_once_call(&b->once, exit_inside, b);
}

static void a_thread_that_ends_in_the_function_is_replaced(void **state)
{
    (void)state;
    const struct t_setting *both[] = {&t_private_threads, &t_threads};
    for (int k = 0; k < 2; k++) {
        struct box *b = t_new(both[k], sizeof *b);
        b->waiters[0] = (struct t_waiter){call_and_exit, b, PLAIT_FOREVER, 0, 0, 0};
        plait_worker runner = t_start_one(PLAIT_THREAD, t_wait_once, &b->waiters[0]);
        UNTIL(SEEN(b->inside));
        CHECK_RC(call(b, 0), PLAIT_OWNER_DIED);
        CHECK_EQ(b->told, 1);
        CHECK_RC(plait_join(runner, NULL, PLAIT_FOREVER), PLAIT_DIED);
        t_delete(both[k], b);
    }
}

static void a_stopped_runner_is_waited_for(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    struct t_team team;
    start(&team, &t_processes, b, call_slowly, 2);
    t_stop(team.workers[0]);
    TELL(b->go_on, 1);
    t_sleep(plait_ms(30));
    CHECK_EQ(SEEN(b->waiters[1].step), 1);
    t_continue(team.workers[0]);
    t_join(&team);
    CHECK_EQ(b->runs, 1);
    t_delete(&t_processes, b);
}

/* --- fork in user code --- */

static struct box copied; /* private: each process has its own */

static int run_copied(void *unused)
{
    (void)unused;
    CHECK_RC(plait_once_call(&copied.once, run, &copied), PLAIT_OWNER_DIED);
    CHECK_EQ(copied.told, 1);
    return 0;
}

static void a_private_once_copied_while_it_runs_is_run_again_by_the_child(void **state)
{
    (void)state;
    struct t_team team;
    start(&team, &t_private_threads, &copied, call_slowly, 1);
    CHECK_EQ(t_in_fork(run_copied, NULL), 0);
    CHECK_EQ(plait_once_done(&copied.once), 0);
    TELL(copied.go_on, 1);
    t_join(&team);
    CHECK_RC(copied.waiters[0].rc, 0);
    CHECK_EQ(copied.told, 0);
}

static int wait_in_shared(void *once)
{
    CHECK_RC(plait_once_call(once, run, NULL), PLAIT_EPRIVATE);
    return 0;
}

static int run_shared_slowly(void *arg)
{
    struct box *b = arg;
    return plait_once_call(&b->once, run_when_told, b);
}

static void shared_memory_of_ones_own_is_refused_when_it_matters(void **state)
{
    (void)state;
    struct box *b =
        mmap(NULL, sizeof *b, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(b != MAP_FAILED);
    plait_worker runner = t_start_one(PLAIT_THREAD, run_shared_slowly, b);
    UNTIL(SEEN(b->inside));
    CHECK_EQ(t_in_fork(wait_in_shared, &b->once), 0);
    TELL(b->go_on, 1);
    CHECK_EQ(t_join_one(runner), 0);
    munmap(b, sizeof *b);
}

static int fork_inside(void *arg, int notice)
{
    pid_t pid = fork();
    if (pid == 0)
        return 0; /* out of the call */
    CHECK_EQ(t_reap(pid), 7);
    return run(arg, notice);
}

static void a_child_forked_in_the_function_leaves_a_shared_one_to_its_parent(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        pid_t self = getpid();
        int rc = plait_once_call(&b->once, fork_inside, b);
        if (getpid() != self) /* its copy is its own, and done */
            _exit(rc == (s->shared ? PLAIT_ECHILD : 0) && plait_once_done(&b->once) == !s->shared
                      ? 7
                      : 1);
        CHECK_RC(rc, 0);
        CHECK_EQ(b->runs, 1);
        t_delete(s, b);
    }
}

static int call_box(void *box)
{
    return call(box, 0);
}

static void threads_that_plait_did_not_start_may_call(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        CHECK_EQ(t_in_pthread(call_box, b), 0);
        CHECK_RC(call(b, 0), 0);
        CHECK_EQ(b->runs, 1);
        t_delete(s, b);
    }
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
        cmocka_unit_test(without_an_arena_it_says_why_it_cannot_run), /* the first */
        cmocka_unit_test(zeroed_memory_has_not_run_and_runs_once),
        cmocka_unit_test(init_makes_any_bytes_one_that_has_not_run),
        cmocka_unit_test(null_is_refused),
        cmocka_unit_test(it_runs_once_among_all),
        cmocka_unit_test(others_wait_until_it_is_done),
        cmocka_unit_test(who_waits_wakes_at_once),
        cmocka_unit_test(a_failure_is_the_runners_and_the_next_caller_tries_again),
        cmocka_unit_test(after_a_failure_one_of_those_who_wait_runs_it),
        cmocka_unit_test(a_call_in_its_own_function_is_a_deadlock),
        cmocka_unit_test(errno_is_left_alone),
        cmocka_unit_test(cancellation_ends_a_wait_and_nothing_else),
        cmocka_unit_test(a_dead_runner_is_replaced_by_one_that_is_told),
        cmocka_unit_test(every_run_is_told_until_one_succeeds),
        cmocka_unit_test(a_thread_that_ends_in_the_function_is_replaced),
        cmocka_unit_test(a_stopped_runner_is_waited_for),
        cmocka_unit_test(a_private_once_copied_while_it_runs_is_run_again_by_the_child),
        cmocka_unit_test(shared_memory_of_ones_own_is_refused_when_it_matters),
        cmocka_unit_test(a_child_forked_in_the_function_leaves_a_shared_one_to_its_parent),
        cmocka_unit_test(threads_that_plait_did_not_start_may_call),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
