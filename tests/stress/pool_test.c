/* Pools opened, closed and terminated again and again, while workers, callers and owners come and go.
 *
 * Invariants, exact: a call that was accepted and is not cut off by terminate runs every item once (or
 * again, if its worker died, which it says); after terminate it returns PLAIT_ECLOSED or its result; after each
 * round no child, no descriptor and no block of the arena is left; a killed owner leaves no worker. */
#include "harness.h"

#include "park/park.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MANY = 1 << 30 /* retries */, ITEMS = 64, CALLERS = 20 };

static struct world {
    int stop, go;
    long inside, begun;
    uint64_t seed;
    plait_pool *pool;
} * w;

static uint64_t blocks_now(void)
{
    plait_arena_statistics s;
    CHECK_RC(plait_arena_stats(&s), 0);
    return s.blocks;
}

static struct {
    uint64_t blocks;
    int files;
} before;

static void begin(void)
{
    w = t_new(&t_processes, sizeof *w);
    w->seed = t_seed();
    before.blocks = blocks_now();
    before.files = t_open_files();
}

static void check_nothing_left(void)
{
    CHECK(!t_has_children());
    CHECK_EQ(blocks_now(), before.blocks);
}

static void end(void)
{
    check_nothing_left();
    CHECK_EQ(t_open_files(), before.files);
    t_delete(&t_processes, w);
}

static int count_begun(void *arg)
{
    (void)arg;
    COUNT(w->begun);
    return 0;
}

static plait_pool *opened(int kind, int workers)
{
    plait_pool *pool = NULL;
    plait_pool_options options = {.retries = MANY, .name = "prey"};
    CHECK_RC(plait_pool_open(&pool, kind, workers, &options), 0);
    return pool;
}

/* --- calls --- */

/* TSan in a forked worker does not see what orders it after the parent's threads. */
static __attribute__((no_sanitize("thread"), noinline)) void cube(const long *in, long *out)
{
    *out = *in * *in * *in;
}

static int cube_item(const void *in, void *out)
{
    COUNT(w->inside);
    cube(in, out);
    return 0;
}

static void map_and_check(plait_pool *pool, size_t n)
{
    long in[ITEMS], out[ITEMS];
    for (size_t i = 0; i < n; i++) {
        in[i] = (long)(i + n);
        out[i] = -1;
    }
    CHECK_RC(plait_map(pool, cube_item, in, out, n, plait_seconds(T_PATIENCE_S)), 0);
    for (size_t i = 0; i < n; i++)
        CHECK_EQ(out[i], in[i] * in[i] * in[i]);
}

/* --- the killer --- */

static bool is_prey(plait_worker worker)
{
    char name[PLAIT_NAME_SIZE] = "";
    return plait_kind_of(worker) == PLAIT_PROCESS && plait_name(worker, name, sizeof name) == 0 &&
           strncmp(name, "prey-", 5) == 0;
}

static int kill_at_random(void *arg)
{
    enum { ALL = 256 };
    plait_worker all[ALL];
    uint64_t seed = w->seed + 1;
    (void)arg;
    while (!SEEN(w->stop)) {
        int n = plait_enumerate(all, ALL);
        plait_worker worker = all[t_below(&seed, n < ALL ? n : ALL)];
        if (is_prey(worker))
            plait_kill(worker);
        t_sleep(t_below(&seed, 400 * 1000));
    }
    return 0;
}

static void open_map_and_end(uint64_t *seed)
{
    int kind = t_below(seed, 3) ? PLAIT_PROCESS : PLAIT_THREAD;
    plait_pool *pool = opened(kind, 1 + t_below(seed, 4));
    for (int calls = t_below(seed, 4); calls > 0; calls--)
        map_and_check(pool, (size_t)t_below(seed, ITEMS));
    int64_t patience = plait_seconds(T_PATIENCE_S);
    if (t_below(seed, 3))
        CHECK_RC(plait_pool_close(pool, patience), 0);
    else
        CHECK_RC(plait_pool_terminate(pool, patience), 0);
}

static void pools_come_and_go_while_workers_are_killed(void **state)
{
    (void)state;
    begin();
    uint64_t seed = w->seed;
    plait_worker killer = t_start_one(PLAIT_THREAD, kill_at_random, NULL);
    for (long round = 0; round < t_scaled(300); round++) {
        open_map_and_end(&seed);
        check_nothing_left();
    }
    TELL(w->stop, 1);
    CHECK_EQ(t_join_one(killer), 0);
    end();
}

static int open_again_and_again(void *arg)
{
    uint64_t seed = w->seed + 100 * (uint64_t)(intptr_t)arg;
    for (long round = 0; round < t_scaled(60); round++)
        open_map_and_end(&seed);
    return 0;
}

static void many_threads_have_pools_of_their_own(void **state)
{
    enum { THREADS = 5 };
    plait_worker threads[THREADS];
    (void)state;
    begin();
    plait_worker killer = t_start_one(PLAIT_THREAD, kill_at_random, NULL);
    for (int i = 0; i < THREADS; i++)
        threads[i] = t_start_one(PLAIT_THREAD, open_again_and_again, (void *)(intptr_t)i);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(t_join_one(threads[i]), 0);
    TELL(w->stop, 1);
    CHECK_EQ(t_join_one(killer), 0);
    end();
}

/* --- the end comes in the middle of calls --- */

struct caller {
    int rc;
    plait_map_failure failure;
};

static int work_a_little(const void *in, void *out)
{
    int64_t stop = plait_now() + 50 * 1000;
    (void)in;
    (void)out;
    COUNT(w->inside);
    while (plait_now() < stop)
        ;
    return 0;
}

static int call_map(void *arg)
{
    struct caller *c = arg;
    plait_map_call call = {.fn = work_a_little, .n = 20, .chunk = 1, .failure = &c->failure};
    c->rc = plait_map_items(w->pool, &call, PLAIT_FOREVER);
    return 0;
}

static void terminate_round(int kind, uint64_t *seed)
{
    struct caller callers[3];
    plait_worker threads[3];
    w->pool = opened(kind, 1 + t_below(seed, 3));
    for (int i = 0; i < 3; i++) {
        TELL(w->inside, 0);
        threads[i] = t_start_one(PLAIT_THREAD, call_map, &callers[i]);
        UNTIL(t_waits(threads[i], PL_WAIT_ITEMS) || !plait_is_alive(threads[i]));
    }
    t_sleep(t_below(seed, 600 * 1000));
    CHECK_RC(plait_pool_terminate(w->pool, plait_seconds(T_PATIENCE_S)), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(t_join_one(threads[i]), 0);
        CHECK(callers[i].rc == 0 || callers[i].rc == PLAIT_ECLOSED);
        CHECK_EQ(callers[i].failure.failed, 0);
    }
    check_nothing_left();
}

static void pools_are_terminated_in_the_middle_of_calls(void **state)
{
    (void)state;
    begin();
    uint64_t seed = w->seed;
    for (long round = 0; round < t_scaled(150); round++)
        FOR_EACH_KIND(kind)
    terminate_round(kind, &seed);
    end();
}

static int wait_for_go(const void *in, void *out)
{
    (void)in;
    (void)out;
    COUNT(w->inside);
    UNTIL(SEEN(w->go));
    return 0;
}

static int call_and_wait(void *arg)
{
    struct caller *c = arg;
    plait_map_call call = {.fn = wait_for_go, .n = 5, .failure = &c->failure};
    c->rc = plait_map_items(w->pool, &call, PLAIT_FOREVER);
    return 0;
}

/* More callers than there is room for: all have been accepted, all must be served. */
static void close_round(int kind, uint64_t *seed)
{
    struct caller callers[CALLERS];
    plait_worker threads[CALLERS];
    plait_pool_options options = {.initializer = count_begun};
    int workers = 1 + t_below(seed, 3);
    w->go = 0;
    w->inside = w->begun = 0;
    CHECK_RC(plait_pool_open(&w->pool, kind, workers, &options), 0);
    for (int i = 0; i < CALLERS; i++) {
        threads[i] = t_start_one(PLAIT_THREAD, call_and_wait, &callers[i]);
        UNTIL_WAITS(threads[i], PL_WAIT_ITEMS);
    }
    TELL(w->go, 1);
    CHECK_RC(plait_pool_close(w->pool, plait_seconds(T_PATIENCE_S)), 0);
    for (int i = 0; i < CALLERS; i++) {
        CHECK_EQ(t_join_one(threads[i]), 0);
        CHECK_RC(callers[i].rc, 0);
        CHECK_EQ(callers[i].failure.deaths, 0);
    }
    CHECK_EQ(w->inside, 5 * CALLERS);
    CHECK_EQ(w->begun, workers); /* nobody left before the end and had to be replaced */
    check_nothing_left();
}

static void pools_are_closed_under_many_callers(void **state)
{
    (void)state;
    begin();
    uint64_t seed = w->seed;
    for (long round = 0; round < t_scaled(20); round++)
        FOR_EACH_KIND(kind)
    close_round(kind, &seed);
    end();
}

/* --- owners that are killed --- */

static int own_pools(void *arg)
{
    uint64_t seed = w->seed + 7 * (uint64_t)(intptr_t)arg;
    for (;;)
        open_map_and_end(&seed);
    return 0;
}

static void reap_all(void)
{
    struct t_poll poll = {0};
    pid_t pid;
    while ((pid = waitpid(-1, NULL, WNOHANG)) >= 0)
        if (pid == 0)
            t_poll_again(&poll, __FILE__, __LINE__, "the workers of dead owners end");
}

/* The workers of a dead owner are given to us, its next of kin; they must end without being told. What
 * it had allocated stays allocated, for nobody else knows of it. */
static void owners_are_killed_at_random(void **state)
{
    (void)state;
    begin();
    uint64_t seed = w->seed;
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    for (long round = 0; round < t_scaled(40); round++) {
        plait_worker owner = t_start_one(PLAIT_PROCESS, own_pools, (void *)(intptr_t)round);
        t_sleep(t_below(&seed, 15 * 1000 * 1000));
        t_kill(owner);
        reap_all();
    }
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
    CHECK(!t_has_children());
    CHECK_EQ(t_open_files(), before.files);
    open_map_and_end(&seed);
    t_delete(&t_processes, w);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pools_come_and_go_while_workers_are_killed),
        cmocka_unit_test(many_threads_have_pools_of_their_own),
        cmocka_unit_test(pools_are_terminated_in_the_middle_of_calls),
        cmocka_unit_test(pools_are_closed_under_many_callers),
        cmocka_unit_test(owners_are_killed_at_random),
    };
    begin();
    CHECK_RC(plait_pool_close(opened(PLAIT_PROCESS, 1), PLAIT_FOREVER), 0);
    t_delete(&t_processes, w);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
