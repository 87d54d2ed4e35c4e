/* Pools: opening, closing, terminating, counting workers; a test per sentence of include/plait/pool.h.
 * What plait_map does with items is in map_test.c.
 *
 * Some tests need a family of their own (an arena of a given size, a limit, a killed owner). They
 * run as scenarios: this program, executed afresh with the scenario's name. */
#include "harness.h"

#include "base/self.h"
#include "park/park.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* What items and the test tell each other; in the arena. */
struct world {
    int go;     /* items that wait may go on */
    int inside; /* items that wait now, or have waited */
    int begun;  /* initializers that began */
    int pids[64];
    plait_event event;
    plait_pool *pool;
};
static struct world *w;

/* --- before and after each test --- */

static uint64_t blocks_before;
static int files_before;
static bool children_before; /* of a test that failed */

static uint64_t blocks_now(void)
{
    plait_arena_statistics s;
    assert_int_equal(plait_arena_stats(&s), 0);
    return s.blocks;
}

static int note_before(void **state)
{
    (void)state;
    w = t_new(&t_processes, sizeof *w);
    blocks_before = blocks_now();
    files_before = t_open_files();
    children_before = t_has_children();
    return 0;
}

static int nothing_is_left(void **state)
{
    (void)state;
    bool clean = blocks_now() == blocks_before && t_open_files() == files_before &&
                 t_has_children() == children_before;
    if (!clean)
        fprintf(stderr, "left: %lld blocks, %d files, children: %d\n",
                (long long)(blocks_now() - blocks_before), t_open_files() - files_before,
                t_has_children());
    t_delete(&t_processes, w);
    return clean ? 0 : -1;
}

#define POOL_TEST(f) cmocka_unit_test_setup_teardown(f, note_before, nothing_is_left)

static plait_pool *opened(int kind, int workers, const plait_pool_options *options)
{
    plait_pool *pool = NULL;
    assert_int_equal(plait_pool_open(&pool, kind, workers, options), 0);
    assert_non_null(pool);
    return pool;
}

static void close_now(plait_pool *pool)
{
    assert_int_equal(plait_pool_close(pool, plait_seconds(T_PATIENCE_S)), 0);
}

static int map_call(plait_pool *pool, plait_item_function *fn, size_t n, plait_map_failure *failure)
{
    plait_map_call call = {.fn = fn, .n = n, .failure = failure};
    return plait_map_items(pool, &call, plait_seconds(T_PATIENCE_S));
}

/* --- items --- */

static int do_nothing(const void *in, void *out)
{
    (void)in;
    (void)out;
    return 0;
}

static int wait_for_go(const void *in, void *out)
{
    (void)in;
    (void)out;
    COUNT(w->inside);
    UNTIL(SEEN(w->go));
    return 0;
}

/* Waits in a plait call, so that it can be asked to stop. */
static int wait_for_event(const void *in, void *out)
{
    (void)in;
    (void)out;
    COUNT(w->inside);
    return plait_event_wait(&w->event, PLAIT_FOREVER);
}

static int sleep_for_ever(const void *in, void *out)
{
    (void)in;
    (void)out;
    COUNT(w->inside);
    for (;;)
        pause();
    return 0;
}

/* --- callers: threads that call plait_map --- */

struct caller {
    plait_item_function *fn;
    size_t n;
    int rc, over;
    plait_map_failure failure;
};

static int call_map(void *arg)
{
    struct caller *c = arg;
    c->rc = map_call(w->pool, c->fn, c->n, &c->failure);
    TELL(c->over, 1);
    return 0;
}

/* --- opening --- */

static void open_refuses_null_and_bad_numbers(void **state)
{
    (void)state;
    plait_pool *pool = (plait_pool *)w;
    assert_int_equal(plait_pool_open(NULL, PLAIT_THREAD, 1, NULL), PLAIT_EINVAL);
    assert_int_equal(plait_pool_open(&pool, 0, 1, NULL), PLAIT_EINVAL);
    assert_int_equal(plait_pool_open(&pool, -1, 1, NULL), PLAIT_EINVAL);
    assert_int_equal(plait_pool_open(&pool, PLAIT_TASK + 1, 1, NULL), PLAIT_EINVAL);
    assert_int_equal(plait_pool_open(&pool, PLAIT_THREAD, -1, NULL), PLAIT_EINVAL);
    assert_int_equal(plait_pool_open(&pool, PLAIT_PROCESS, 4097, NULL), PLAIT_EINVAL);
    assert_int_equal(plait_pool_open(&pool, PLAIT_PROCESS, INT32_MIN, NULL), PLAIT_EINVAL);
    plait_pool_options negative = {.retries = -1};
    assert_int_equal(plait_pool_open(&pool, PLAIT_THREAD, 1, &negative), PLAIT_EINVAL);
    assert_ptr_equal(pool, w);
}

static void tasks_are_not_offered(void **state)
{
    (void)state;
    plait_pool *pool;
    assert_int_equal(plait_pool_open(&pool, PLAIT_TASK, 1, NULL), PLAIT_ENOTSUP);
}

static int begin(void *arg)
{
    struct world *world = arg;
    COUNT(world->begun);
    return 0;
}

static void a_private_initializer_argument_is_refused_for_processes_only(void **state)
{
    (void)state;
    struct world here = {0};
    plait_pool *pool;
    plait_pool_options options = {.initializer = begin, .initializer_arg = &here};
    assert_int_equal(plait_pool_open(&pool, PLAIT_PROCESS, 1, &options), PLAIT_EPRIVATE);
    pool = opened(PLAIT_THREAD, 2, &options);
    close_now(pool);
    assert_int_equal(here.begun, 2);
}

static void no_number_means_one_worker_per_processor(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_pool *pool = opened(kind, 0, NULL);
        assert_int_equal(plait_pool_workers(pool), plait_cpu_count());
        close_now(pool);
    }
}

static int named(const char *prefix, int kind)
{
    plait_worker all[256];
    int found = 0, n = plait_enumerate(all, 256);
    for (int i = 0; i < n && i < 256; i++) {
        char name[PLAIT_NAME_SIZE] = "";
        plait_name(all[i], name, sizeof name);
        found += strncmp(name, prefix, strlen(prefix)) == 0 && plait_kind_of(all[i]) == kind;
    }
    return found;
}

static void workers_are_named_and_numbered(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_pool *pool = opened(kind, 3, NULL);
        assert_int_equal(named("Pool-", kind), 3);
        assert_int_equal(named("Pool-3", kind), 1);
        close_now(pool);
        pool = opened(kind, 2, &(plait_pool_options){.name = "cook"});
        assert_int_equal(named("cook-1", kind), 1);
        assert_int_equal(named("cook-2", kind), 1);
        close_now(pool);
    }
}

static void a_long_name_is_cut_and_keeps_its_number(void **state)
{
    (void)state;
    char name[300];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = 0;
    plait_pool *pool = opened(PLAIT_THREAD, 2, &(plait_pool_options){.name = name});
    assert_int_equal(named("xxxxxxxxxxxxxxxx", PLAIT_THREAD), 2);
    assert_int_equal(map_call(pool, do_nothing, 10, NULL), 0);
    close_now(pool);
}

static int tell_stack(const void *in, void *out)
{
    (void)in;
    pthread_attr_t attr;
    void *low;
    if (pthread_getattr_np(pthread_self(), &attr) != 0)
        return PLAIT_EINVAL;
    pthread_attr_getstack(&attr, &low, out);
    pthread_attr_destroy(&attr);
    return 0;
}

static void stack_size_is_honoured_for_threads(void **state)
{
    (void)state;
    size_t size = 0;
    plait_pool *pool = opened(PLAIT_THREAD, 1, &(plait_pool_options){.stack_size = 24 << 20});
    plait_map_call call = {.fn = tell_stack, .out = &size, .out_size = sizeof size, .n = 1};
    assert_int_equal(plait_map_items(pool, &call, PLAIT_FOREVER), 0);
    assert_true(size >= 24 << 20);
    close_now(pool);
}

static void an_impossible_stack_size_is_refused(void **state)
{
    (void)state;
    plait_pool *pool;
    plait_pool_options options = {.stack_size = 1};
    assert_int_equal(plait_pool_open(&pool, PLAIT_THREAD, 2, &options), PLAIT_EINVAL);
}

static void opening_and_closing_leave_errno_alone(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        errno = EXDEV;
        plait_pool *pool;
        int opening = plait_pool_open(&pool, kind, 2, NULL);
        int after_open = errno;
        int mapping = map_call(pool, do_nothing, 5, NULL);
        int after_map = errno;
        int closing = plait_pool_close(pool, PLAIT_FOREVER);
        int after_close = errno;
        assert_int_equal(opening | mapping | closing, 0);
        assert_int_equal(after_open, EXDEV);
        assert_int_equal(after_map, EXDEV);
        assert_int_equal(after_close, EXDEV);
    }
}

/* --- initializers --- */

static _Thread_local int begun_here;

static int begin_once(void *arg)
{
    struct world *world = arg;
    COUNT(world->begun);
    begun_here++;
    return 0;
}

static int has_begun(const void *in, void *out)
{
    (void)in;
    (void)out;
    return begun_here == 1 ? 0 : -1;
}

static void the_initializer_runs_once_in_each_worker_before_its_first_item(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        w->begun = 0;
        plait_pool *pool =
            opened(kind, 3, &(plait_pool_options){.initializer = begin_once, .initializer_arg = w});
        for (int i = 0; i < 5; i++)
            assert_int_equal(map_call(pool, has_begun, 50, NULL), 0);
        close_now(pool);
        assert_int_equal(w->begun, 3);
    }
}

static int refuse_to_begin(void *arg)
{
    struct world *world = arg;
    COUNT(world->begun);
    return -77;
}

static void a_pool_whose_initializer_fails_everywhere_says_so_and_starts_nobody_again(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        w->begun = 0;
        plait_pool_options options = {.initializer = refuse_to_begin, .initializer_arg = w};
        plait_pool *pool = opened(kind, 3, &options);
        for (int i = 0; i < 3; i++)
            assert_int_equal(map_call(pool, do_nothing, 10, NULL), PLAIT_EDIED);
        assert_int_equal(plait_pool_workers(pool), 0);
        close_now(pool);
        assert_int_equal(w->begun, 3);
    }
}

static int refuse_first(void *arg)
{
    struct world *world = arg;
    return COUNT(world->begun) == 1 ? -77 : 0;
}

static void a_worker_whose_initializer_failed_is_not_replaced(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        w->begun = 0;
        plait_pool_options options = {.initializer = refuse_first, .initializer_arg = w};
        plait_pool *pool = opened(kind, 4, &options);
        UNTIL(SEEN(w->begun) == 4 && plait_pool_workers(pool) == 3);
        for (int i = 0; i < 3; i++)
            assert_int_equal(map_call(pool, do_nothing, 100, NULL), 0);
        assert_int_equal(plait_pool_workers(pool), 3);
        assert_int_equal(w->begun, 4);
        close_now(pool);
    }
}

static int die_beginning(void *arg)
{
    struct world *world = arg;
    COUNT(world->begun);
    _exit(9);
}

static void an_initializer_that_kills_its_worker_does_not_fork_for_ever(void **state)
{
    (void)state;
    plait_pool_options options = {.initializer = die_beginning, .initializer_arg = w};
    plait_pool *pool = opened(PLAIT_PROCESS, 2, &options);
    int rc = map_call(pool, do_nothing, 10, NULL);
    assert_true(rc < 0 && rc != PLAIT_ETIMEDOUT);
    assert_in_range(SEEN(w->begun), 2, 20);
    close_now(pool);
}

static int kill_once(const void *in, void *out)
{
    (void)in;
    (void)out;
    if (COUNT(w->inside) == 1)
        raise(SIGKILL);
    return has_begun(in, out);
}

static void a_replacement_runs_the_initializer_too(void **state)
{
    (void)state;
    plait_pool_options options = {.initializer = begin_once, .initializer_arg = w, .retries = 1};
    plait_pool *pool = opened(PLAIT_PROCESS, 1, &options);
    assert_int_equal(map_call(pool, kill_once, 10, NULL), 0);
    close_now(pool);
    assert_int_equal(w->begun, 2);
}

/* --- counting workers --- */

static void workers_of_no_pool_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(plait_pool_workers(NULL), PLAIT_EINVAL);
}

static int note_pid(const void *in, void *out)
{
    (void)in;
    *(int *)out = getpid();
    COUNT(w->inside);
    UNTIL(SEEN(w->inside) == 3);
    return 0;
}

/* The pids of the three workers of a pool: each runs one of three items. */
static void pids_of_three(plait_pool *pool, int *pids)
{
    TELL(w->inside, 0);
    plait_map_call call = {
        .fn = note_pid, .out = pids, .out_size = sizeof *pids, .n = 3, .chunk = 1};
    assert_int_equal(plait_map_items(pool, &call, PLAIT_FOREVER), 0);
}

static void the_dead_are_not_counted_and_are_replaced_by_the_next_call(void **state)
{
    (void)state;
    int pids[3], later[3];
    plait_pool *pool = opened(PLAIT_PROCESS, 3, NULL);
    pids_of_three(pool, pids);
    for (int i = 0; i < 3; i++)
        assert_int_equal(kill(pids[i], SIGKILL), 0);
    UNTIL(plait_pool_workers(pool) == 0);
    plait_map_failure failure;
    assert_int_equal(map_call(pool, do_nothing, 100, &failure), 0);
    assert_int_equal(failure.deaths, 0); /* they died before the call */
    assert_int_equal(plait_pool_workers(pool), 3);
    pids_of_three(pool, later);
    for (int i = 0; i < 9; i++)
        assert_int_not_equal(later[i / 3], pids[i % 3]);
    close_now(pool);
}

/* --- closing --- */

static void closing_no_pool_is_fine(void **state)
{
    (void)state;
    assert_int_equal(plait_pool_close(NULL, PLAIT_FOREVER), 0);
    assert_int_equal(plait_pool_close(NULL, PLAIT_NOWAIT), 0);
    assert_int_equal(plait_pool_terminate(NULL, PLAIT_FOREVER), 0);
}

static int do_close(void *pool, int64_t timeout)
{
    return plait_pool_close(pool, timeout);
}

static int do_terminate(void *pool, int64_t timeout)
{
    return plait_pool_terminate(pool, timeout);
}

static void a_bad_timeout_is_refused_and_the_pool_stays_open(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_pool *pool = opened(kind, 2, NULL);
        t_check_bad_timeouts(do_close, pool);
        t_check_bad_timeouts(do_terminate, pool);
        assert_int_equal(map_call(pool, do_nothing, 10, NULL), 0);
        close_now(pool);
    }
}

/* Starts a caller with `n` items that wait for go, and waits until `inside` of them do. */
static plait_worker start_caller(struct caller *c, plait_item_function *fn, size_t n, int inside)
{
    *c = (struct caller){.fn = fn, .n = n};
    plait_worker worker = t_start_one(PLAIT_THREAD, call_map, c);
    UNTIL(SEEN(w->inside) >= inside);
    return worker;
}

static void close_lets_calls_in_progress_finish_and_takes_no_new_ones(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct caller c;
        w->go = w->inside = 0;
        w->pool = opened(kind, 2, NULL);
        plait_worker worker = start_caller(&c, wait_for_go, 8, 2);
        assert_int_equal(plait_pool_close(w->pool, plait_ms(20)), PLAIT_ETIMEDOUT);
        assert_int_equal(map_call(w->pool, do_nothing, 1, NULL), PLAIT_ECLOSED);
        assert_int_equal(SEEN(c.over), 0);
        TELL(w->go, 1);
        close_now(w->pool);
        assert_int_equal(t_join_one(worker), 0);
        assert_int_equal(c.rc, 0);
        assert_int_equal(w->inside, 8);
    }
}

static void closing_again_and_again_ends_in_time(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_pool *pool = opened(kind, 3, NULL);
        int rc;
        while ((rc = plait_pool_close(pool, PLAIT_NOWAIT)) == PLAIT_ETIMEDOUT)
            ;
        assert_int_equal(rc, 0);
    }
}

static void close_keeps_its_time(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct caller c;
        w->go = w->inside = 0;
        w->pool = opened(kind, 2, NULL);
        plait_worker worker = start_caller(&c, wait_for_go, 1, 1);
        t_check_time(do_close, w->pool);
        t_check_signals(do_close, w->pool);
        t_check_cancel(&t_threads, do_close, w->pool);
        t_check_cancel_pending(&t_threads, do_close, w->pool);
        TELL(w->go, 1);
        close_now(w->pool);
        assert_int_equal(t_join_one(worker), 0);
        assert_int_equal(c.rc, 0);
    }
}

static int begin_counting(void *arg)
{
    (void)arg;
    COUNT(w->begun);
    return 0;
}

/* The others have nothing to do while one works on, and must not leave and come again. */
static void while_closing_nobody_is_replaced_for_leaving(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct caller c;
        w->go = w->inside = w->begun = 0;
        w->pool = opened(kind, 4, &(plait_pool_options){.initializer = begin_counting});
        plait_worker worker = start_caller(&c, wait_for_go, 1, 1);
        assert_int_equal(plait_pool_close(w->pool, plait_ms(100)), PLAIT_ETIMEDOUT);
        TELL(w->go, 1);
        close_now(w->pool);
        assert_int_equal(t_join_one(worker), 0);
        assert_int_equal(c.rc, 0);
        assert_int_equal(c.failure.deaths, 0);
        assert_int_equal(w->begun, 4);
    }
}

static int die_once_when_told(const void *in, void *out)
{
    (void)in;
    (void)out;
    int nth = COUNT(w->inside);
    UNTIL(SEEN(w->go));
    if (nth == 1)
        raise(SIGKILL);
    return 0;
}

static void an_item_is_run_again_even_while_the_pool_closes(void **state)
{
    (void)state;
    struct caller c;
    w->pool = opened(PLAIT_PROCESS, 2, &(plait_pool_options){.retries = 1});
    plait_worker worker = start_caller(&c, die_once_when_told, 2, 2);
    assert_int_equal(plait_pool_close(w->pool, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
    TELL(w->go, 1);
    close_now(w->pool);
    assert_int_equal(t_join_one(worker), 0);
    assert_int_equal(c.rc, 0);
    assert_int_equal(c.failure.retried, 1);
    assert_int_equal(c.failure.deaths, 1);
}

/* There is room for 16 calls at once; these wait for it, and have been accepted all the same. */
static void close_lets_calls_finish_that_wait_for_room(void **state)
{
    enum { CALLERS = 24 };
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct caller c[CALLERS];
        plait_worker workers[CALLERS];
        w->go = w->inside = 0;
        w->pool = opened(kind, 1, NULL);
        for (int i = 0; i < CALLERS; i++) {
            workers[i] = start_caller(&c[i], wait_for_go, 3, 1);
            UNTIL_WAITS(workers[i], 0);
        }
        TELL(w->go, 1);
        close_now(w->pool);
        for (int i = 0; i < CALLERS; i++) {
            assert_int_equal(t_join_one(workers[i]), 0);
            assert_int_equal(c[i].rc, 0);
        }
        assert_int_equal(w->inside, 3 * CALLERS);
    }
}

static void nobody_of_the_pool_is_left_after_close(void **state)
{
    (void)state;
    int pids[3];
    plait_pool *pool = opened(PLAIT_PROCESS, 3, NULL);
    pids_of_three(pool, pids);
    close_now(pool);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kill(pids[i], 0), -1);
        assert_int_equal(errno, ESRCH);
    }
    assert_int_equal(named("Pool-", PLAIT_PROCESS), 0);
}

static void a_pool_whose_workers_were_all_killed_can_be_closed(void **state)
{
    (void)state;
    int pids[3];
    plait_pool *pool = opened(PLAIT_PROCESS, 3, NULL);
    pids_of_three(pool, pids);
    for (int i = 0; i < 3; i++)
        kill(pids[i], SIGKILL);
    close_now(pool);
}

static void cycles_of_open_map_and_close_leave_nothing(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        for (int i = 0; i < 20; i++) {
            plait_pool *pool = opened(kind, 1 + i % 4, NULL);
            assert_int_equal(map_call(pool, do_nothing, (size_t)i * 3, NULL), 0);
            close_now(pool);
            assert_int_equal(blocks_now(), blocks_before);
        }
    }
}

/* --- terminating --- */

static void terminate_ends_calls_in_progress_at_once(void **state)
{
    (void)state;
    struct caller c;
    w->pool = opened(PLAIT_PROCESS, 2, NULL);
    plait_worker worker = start_caller(&c, sleep_for_ever, 1000, 2);
    assert_int_equal(plait_pool_terminate(w->pool, plait_seconds(T_PATIENCE_S)), 0);
    assert_int_equal(t_join_one(worker), 0);
    assert_int_equal(c.rc, PLAIT_ECLOSED);
    assert_int_equal(w->inside, 2);
}

static void terminate_asks_threads_to_stop(void **state)
{
    (void)state;
    struct caller c;
    w->pool = opened(PLAIT_THREAD, 2, NULL);
    plait_worker worker = start_caller(&c, wait_for_event, 1000, 2);
    assert_int_equal(plait_pool_terminate(w->pool, plait_seconds(T_PATIENCE_S)), 0);
    assert_int_equal(t_join_one(worker), 0);
    assert_int_equal(c.rc, PLAIT_ECLOSED);
    assert_int_equal(w->inside, 2);
}

static void terminate_waits_for_threads_that_do_not_listen(void **state)
{
    (void)state;
    struct caller c;
    w->pool = opened(PLAIT_THREAD, 2, NULL);
    plait_worker worker = start_caller(&c, wait_for_go, 1000, 2);
    assert_int_equal(plait_pool_terminate(w->pool, plait_ms(20)), PLAIT_ETIMEDOUT);
    assert_int_equal(map_call(w->pool, do_nothing, 1, NULL), PLAIT_ECLOSED);
    TELL(w->go, 1);
    assert_int_equal(plait_pool_terminate(w->pool, plait_seconds(T_PATIENCE_S)), 0);
    assert_int_equal(t_join_one(worker), 0);
    assert_int_equal(c.rc, PLAIT_ECLOSED);
    assert_int_equal(w->inside, 2);
}

static void terminate_of_an_idle_pool(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_pool *pool = opened(kind, 3, NULL);
        assert_int_equal(plait_pool_terminate(pool, plait_seconds(T_PATIENCE_S)), 0);
    }
}

static void terminate_hurries_a_close_that_gave_up(void **state)
{
    (void)state;
    struct caller c;
    w->pool = opened(PLAIT_PROCESS, 2, NULL);
    plait_worker worker = start_caller(&c, sleep_for_ever, 2, 2);
    assert_int_equal(plait_pool_close(w->pool, plait_ms(10)), PLAIT_ETIMEDOUT);
    assert_int_equal(plait_pool_terminate(w->pool, plait_seconds(T_PATIENCE_S)), 0);
    assert_int_equal(t_join_one(worker), 0);
    assert_int_equal(c.rc, PLAIT_ECLOSED);
}

static void terminate_ends_calls_that_wait_for_room(void **state)
{
    enum { CALLERS = 20 };
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct caller c[CALLERS];
        plait_worker workers[CALLERS];
        w->inside = 0;
        w->pool = opened(kind, 1, NULL);
        for (int i = 0; i < CALLERS; i++) {
            plait_item_function *fn = kind == PLAIT_THREAD ? wait_for_event : sleep_for_ever;
            workers[i] = start_caller(&c[i], fn, 3, 1);
            UNTIL_WAITS(workers[i], 0);
        }
        assert_int_equal(plait_pool_terminate(w->pool, plait_seconds(T_PATIENCE_S)), 0);
        for (int i = 0; i < CALLERS; i++) {
            assert_int_equal(t_join_one(workers[i]), 0);
            assert_int_equal(c[i].rc, PLAIT_ECLOSED);
        }
    }
}

/* --- from the wrong place --- */

static int close_from_inside(const void *in, void *out)
{
    (void)in;
    (void)out;
    CHECK_RC(plait_pool_close(w->pool, PLAIT_FOREVER), PLAIT_EDEADLK);
    CHECK_RC(plait_pool_terminate(w->pool, PLAIT_FOREVER), PLAIT_EDEADLK);
    return 0;
}

static void a_worker_cannot_close_its_own_pool(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        w->pool = opened(kind, 2, NULL);
        assert_int_equal(map_call(w->pool, close_from_inside, 3, NULL), 0);
        close_now(w->pool);
    }
}

static int use_in_child(void *arg)
{
    plait_pool *pool = arg;
    plait_map_failure failure;
    CHECK_RC(plait_pool_workers(pool), PLAIT_ECHILD);
    CHECK_RC(map_call(pool, do_nothing, 3, &failure), PLAIT_ECHILD);
    CHECK_RC(plait_pool_close(pool, PLAIT_FOREVER), PLAIT_ECHILD);
    CHECK_RC(plait_pool_terminate(pool, PLAIT_FOREVER), PLAIT_ECHILD);
    plait_pool *own;
    CHECK_RC(plait_pool_open(&own, PLAIT_PROCESS, 2, NULL), 0);
    CHECK_RC(map_call(own, do_nothing, 3, NULL), 0);
    CHECK_RC(plait_pool_close(own, PLAIT_FOREVER), 0);
    return 0;
}

static void a_forked_child_is_told_that_the_pool_is_its_parents(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_pool *pool = opened(kind, 2, NULL);
        assert_int_equal(t_in_fork(use_in_child, pool), 0);
        assert_int_equal(plait_pool_workers(pool), 2);
        assert_int_equal(map_call(pool, do_nothing, 100, NULL), 0);
        close_now(pool);
    }
}

static void a_started_process_is_told_that_the_pool_is_its_parents(void **state)
{
    (void)state;
    plait_pool *pool = opened(PLAIT_PROCESS, 2, NULL);
    plait_worker worker = t_start_one(PLAIT_PROCESS, use_in_child, pool);
    assert_int_equal(t_join_one(worker), 0);
    close_now(pool);
}

static int ask_from_inside(const void *in, void *out)
{
    (void)in;
    (void)out;
    CHECK_RC(plait_pool_workers(w->pool), PLAIT_ECHILD);
    return 0;
}

static void a_worker_process_cannot_count_its_fellows(void **state)
{
    (void)state;
    w->pool = opened(PLAIT_PROCESS, 2, NULL);
    assert_int_equal(map_call(w->pool, ask_from_inside, 3, NULL), 0);
    close_now(w->pool);
}

/* --- threads that come and go --- */

static int open_and_end(void *arg)
{
    (void)arg;
    return plait_pool_open(&w->pool, PLAIT_PROCESS, 2, NULL);
}

static int raise_kill(const void *in, void *out)
{
    (void)in;
    (void)out;
    raise(SIGKILL);
    return 0;
}

/* Its workers' parent has ended, but they are no orphans: the process still has the pool. */
static void a_pool_outlives_the_thread_that_opened_it(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(t_in_pthread(open_and_end, NULL), 0);
        assert_int_equal(plait_pool_workers(w->pool), 2);
        assert_int_equal(map_call(w->pool, do_nothing, 100, NULL), 0);
        close_now(w->pool);
        assert_false(t_has_children());
    }
}

static void a_death_is_told_though_the_starting_thread_has_ended(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        plait_map_failure failure;
        assert_int_equal(t_in_pthread(open_and_end, NULL), 0);
        assert_int_equal(map_call(w->pool, raise_kill, 1, &failure), PLAIT_EDIED);
        assert_int_equal(failure.blame.signal, SIGKILL);
        assert_true(failure.blame.pid > 0);
        close_now(w->pool);
        assert_false(t_has_children());
    }
}

/* A sweep by any sleeper of the family may find the corpse before the pool looks. */
static void the_dead_of_an_ended_starter_leave_no_zombie(void **state)
{
    (void)state;
    int pids[3];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(t_in_pthread(open_and_end, NULL), 0);
        plait_map_call call = {.fn = note_pid, .out = pids, .out_size = sizeof *pids, .n = 1};
        TELL(w->inside, 2);
        assert_int_equal(plait_map_items(w->pool, &call, PLAIT_FOREVER), 0);
        kill(pids[0], SIGKILL);
        UNTIL(plait_pool_workers(w->pool) == 1);
        pl_sweep(0);
        close_now(w->pool);
        assert_false(t_has_children());
    }
}

/* --- scenarios: families of their own --- */

static int run_scenario(const char *name, const char *arena_size)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (arena_size)
            setenv("PLAIT_ARENA_SIZE", arena_size, 1);
        execl("/proc/self/exe", "pool_test", name, (char *)NULL);
        _exit(99);
    }
    return t_reap(pid);
}

/* Becomes a user whom RLIMIT_NPROC binds; root is above it. Root's choice has no other process. */
static void allow_workers(rlim_t most)
{
    struct rlimit limit = {most, most};
    if (getuid() == 0)
        CHECK(setresgid(54321, 54321, 54321) == 0 && setresuid(54321, 54321, 54321) == 0);
    prctl(PR_SET_DUMPABLE, 1); /* /proc/self stays readable */
    CHECK_EQ(setrlimit(RLIMIT_NPROC, &limit), 0);
}

static void reap_all(void)
{
    struct t_poll poll = {0};
    pid_t pid;
    while ((pid = waitpid(-1, NULL, WNOHANG)) >= 0)
        if (pid == 0)
            t_poll_again(&poll, __FILE__, __LINE__, "all descendants end");
}

static int own_a_busy_pool(void *arg)
{
    (void)arg;
    CHECK_RC(plait_pool_open(&w->pool, PLAIT_PROCESS, 3, NULL), 0);
    map_call(w->pool, sleep_for_ever, 3, NULL);
    return 0;
}

/* The workers become our children when their owner is gone, so we see them end. */
static int scenario_killed_owner(void)
{
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    pid_t owner = t_fork(own_a_busy_pool, NULL);
    UNTIL(SEEN(w->inside) == 3);
    CHECK_EQ(kill(owner, SIGKILL), 0);
    CHECK_EQ(t_reap(owner), 1000 + SIGKILL);
    reap_all();
    return 0;
}

static int exit_with_an_open_pool(void *arg)
{
    (void)arg;
    CHECK_RC(plait_pool_open(&w->pool, PLAIT_PROCESS, 3, NULL), 0);
    CHECK_RC(map_call(w->pool, do_nothing, 10, NULL), 0);
    exit(5);
}

static int scenario_owner_exits(void)
{
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    CHECK_EQ(t_in_fork(exit_with_an_open_pool, NULL), 5);
    CHECK(!t_has_children()); /* the owner has waited for them */
    return 0;
}

static void *map_for_ever(void *arg)
{
    (void)arg;
    map_call(w->pool, sleep_for_ever, 1 << 20, NULL);
    return NULL;
}

static int exit_with_a_busy_pool(void *arg)
{
    pthread_t thread;
    (void)arg;
    CHECK_RC(plait_pool_open(&w->pool, PLAIT_PROCESS, 2, NULL), 0);
    CHECK_EQ(pthread_create(&thread, NULL, map_for_ever, NULL), 0);
    CHECK_EQ(pthread_detach(thread), 0);
    UNTIL(SEEN(w->inside) >= 2);
    exit(6);
}

/* The thread that calls plait_map replaces workers while the exit ends them: the exit must win. */
static int scenario_owner_exits_with_work_in_progress(void)
{
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    CHECK_EQ(t_in_fork(exit_with_a_busy_pool, NULL), 6);
    reap_all();
    CHECK(SEEN(w->inside) < 1000);
    return 0;
}

static int scenario_no_worker_allowed(void)
{
    plait_pool *pool = NULL;
    allow_workers(0);
    uint64_t blocks = blocks_now();
    FOR_EACH_KIND(kind)
    {
        CHECK_RC(plait_pool_open(&pool, kind, 3, NULL), PLAIT_EAGAIN);
        CHECK(pool == NULL);
        CHECK_EQ(blocks_now(), blocks);
        CHECK(!t_has_children());
    }
    return 0;
}

/* Three may run, ourselves included. */
static int scenario_some_workers_allowed(void)
{
    plait_pool *pool = NULL;
    if (getuid() != 0)
        return 77; /* how many our user has already is not known */
    allow_workers(3);
    CHECK_RC(plait_pool_open(&pool, PLAIT_PROCESS, 5, NULL), 0);
    /* TSan starts a thread of its own in some forked children, which counts if it is there before the next fork. */
    int n = plait_pool_workers(pool);
    CHECK(n == 2 || (n == 1 && t_is_sanitized()));
    CHECK_RC(map_call(pool, do_nothing, 100, NULL), 0);
    CHECK_RC(plait_pool_close(pool, PLAIT_FOREVER), 0);
    CHECK(!t_has_children());
    return 0;
}

static int scenario_no_memory(void)
{
    plait_pool *pool = NULL;
    void *blocks[4096];
    int n = 0;
    for (size_t size = 32 << 20; size >= 16; size /= 2)
        while (n < 4096 && (blocks[n] = plait_alloc(size)))
            n++;
    CHECK(n < 4096);
    FOR_EACH_KIND(kind)
    {
        CHECK_RC(plait_pool_open(&pool, kind, 4096, NULL), PLAIT_ENOMEM);
        CHECK(pool == NULL);
    }
    while (n > 0)
        CHECK_RC(plait_free(blocks[--n]), 0);
    CHECK_RC(plait_pool_open(&pool, PLAIT_PROCESS, 2, NULL), 0);
    CHECK_RC(map_call(pool, do_nothing, 10, NULL), 0);
    CHECK_RC(plait_pool_close(pool, PLAIT_FOREVER), 0);
    return 0;
}

static int scenario_no_descriptors(void)
{
    struct rlimit none = {3, 3};
    plait_pool *pool = NULL;
    CHECK(plait_alloc(1) != NULL); /* the arena has its descriptor, if it needs one */
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    uint64_t blocks = blocks_now();
    CHECK_RC(plait_pool_open(&pool, PLAIT_PROCESS, 2, NULL), PLAIT_EMFILE);
    CHECK(pool == NULL);
    CHECK_EQ(blocks_now(), blocks);
    return 0;
}

static int scenario_bad_arena(void)
{
    plait_pool *pool = NULL;
    CHECK_RC(plait_pool_open(&pool, PLAIT_PROCESS, 2, NULL), PLAIT_EINVAL);
    CHECK(pool == NULL);
    return 0;
}

static const struct scenario {
    const char *name;
    int (*run)(void);
    const char *arena_size;
    bool without_world;
} scenarios[] = {
    {"killed_owner", scenario_killed_owner, NULL, false},
    {"owner_exits", scenario_owner_exits, NULL, false},
    {"owner_exits_with_work_in_progress", scenario_owner_exits_with_work_in_progress, NULL, false},
    {"no_worker_allowed", scenario_no_worker_allowed, NULL, false},
    {"some_workers_allowed", scenario_some_workers_allowed, NULL, false},
    {"no_memory", scenario_no_memory, "64M", false},
    {"no_descriptors", scenario_no_descriptors, NULL, false},
    {"bad_arena", scenario_bad_arena, "much", true},
};
enum { SCENARIOS = sizeof scenarios / sizeof *scenarios };

static const struct scenario *find_scenario(const char *name)
{
    for (int i = 0; i < SCENARIOS; i++)
        if (strcmp(name, scenarios[i].name) == 0)
            return &scenarios[i];
    return NULL;
}

static int be_scenario(const struct scenario *s)
{
    if (!s->without_world)
        w = t_new(&t_processes, sizeof *w);
    return s->run();
}

static void try_scenario(void **state)
{
    const struct scenario *s = *state;
    int status = run_scenario(s->name, s->arena_size);
    if (status == 77)
        skip();
    assert_int_equal(status, 0);
}

#define SCENARIO(test, i)                                                                          \
    {                                                                                              \
#test, try_scenario, NULL, NULL, (void *)&scenarios[i]                                     \
    }

/* pool_test [SCENARIO | PATTERN]: one scenario, the tests whose names match, or all. */
int main(int argc, char **argv)
{
    const struct scenario *scenario = argc > 1 ? find_scenario(argv[1]) : NULL;
    if (scenario)
        _exit(
            be_scenario(scenario)); /* no leak check, which a process without rights cannot make */
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        POOL_TEST(open_refuses_null_and_bad_numbers),
        POOL_TEST(tasks_are_not_offered),
        POOL_TEST(a_private_initializer_argument_is_refused_for_processes_only),
        POOL_TEST(no_number_means_one_worker_per_processor),
        POOL_TEST(workers_are_named_and_numbered),
        POOL_TEST(a_long_name_is_cut_and_keeps_its_number),
        POOL_TEST(stack_size_is_honoured_for_threads),
        POOL_TEST(an_impossible_stack_size_is_refused),
        POOL_TEST(opening_and_closing_leave_errno_alone),
        POOL_TEST(the_initializer_runs_once_in_each_worker_before_its_first_item),
        POOL_TEST(a_pool_whose_initializer_fails_everywhere_says_so_and_starts_nobody_again),
        POOL_TEST(a_worker_whose_initializer_failed_is_not_replaced),
        POOL_TEST(an_initializer_that_kills_its_worker_does_not_fork_for_ever),
        POOL_TEST(a_replacement_runs_the_initializer_too),
        POOL_TEST(workers_of_no_pool_is_an_error),
        POOL_TEST(the_dead_are_not_counted_and_are_replaced_by_the_next_call),
        POOL_TEST(closing_no_pool_is_fine),
        POOL_TEST(a_bad_timeout_is_refused_and_the_pool_stays_open),
        POOL_TEST(close_lets_calls_in_progress_finish_and_takes_no_new_ones),
        POOL_TEST(closing_again_and_again_ends_in_time),
        POOL_TEST(close_keeps_its_time),
        POOL_TEST(while_closing_nobody_is_replaced_for_leaving),
        POOL_TEST(an_item_is_run_again_even_while_the_pool_closes),
        POOL_TEST(close_lets_calls_finish_that_wait_for_room),
        POOL_TEST(nobody_of_the_pool_is_left_after_close),
        POOL_TEST(a_pool_whose_workers_were_all_killed_can_be_closed),
        POOL_TEST(cycles_of_open_map_and_close_leave_nothing),
        POOL_TEST(terminate_ends_calls_in_progress_at_once),
        POOL_TEST(terminate_asks_threads_to_stop),
        POOL_TEST(terminate_waits_for_threads_that_do_not_listen),
        POOL_TEST(terminate_of_an_idle_pool),
        POOL_TEST(terminate_hurries_a_close_that_gave_up),
        POOL_TEST(terminate_ends_calls_that_wait_for_room),
        POOL_TEST(a_worker_cannot_close_its_own_pool),
        POOL_TEST(a_forked_child_is_told_that_the_pool_is_its_parents),
        POOL_TEST(a_started_process_is_told_that_the_pool_is_its_parents),
        POOL_TEST(a_worker_process_cannot_count_its_fellows),
        POOL_TEST(a_pool_outlives_the_thread_that_opened_it),
        POOL_TEST(a_death_is_told_though_the_starting_thread_has_ended),
        POOL_TEST(the_dead_of_an_ended_starter_leave_no_zombie),
        SCENARIO(workers_die_with_a_killed_owner, 0),
        SCENARIO(an_owner_that_exits_ends_its_workers, 1),
        SCENARIO(an_owner_can_exit_while_a_thread_maps, 2),
        SCENARIO(no_pool_where_no_worker_can_be_started, 3),
        SCENARIO(a_smaller_pool_where_not_all_can_be_started, 4),
        SCENARIO(no_pool_where_the_arena_is_full, 5),
        SCENARIO(no_pool_of_processes_without_a_descriptor, 6),
        SCENARIO(no_pool_without_an_arena, 7),
    };
    w = t_new(&t_processes, sizeof *w);
    plait_pool *first = opened(PLAIT_PROCESS, 1, NULL); /* what stays open, once, is open now */
    close_now(first);
    t_delete(&t_processes, w);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
