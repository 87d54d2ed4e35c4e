/* plait_map: what happens to items; a test per sentence of include/plait/pool.h. Opening and closing
 * pools is in pool_test.c, death at each step in tests/crash/map_test.c.
 *
 * Some tests need a family of their own (an arena of a given size, a limit). They run as scenarios:
 * this program, executed afresh with the scenario's name. */
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
    int go;      /* items that wait may go on */
    int inside;  /* items that wait now, or have waited */
    int runs;    /* items begun */
    int over;    /* items over */
    int mishaps; /* things that should not happen */
    int victim;  /* pid of a worker to die */
    int tries[256];
    plait_event event;
    plait_pool *pool, *other;
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

#define MAP_TEST(f) cmocka_unit_test_setup_teardown(f, note_before, nothing_is_left)

static plait_pool *opened(int kind, int workers, int retries)
{
    plait_pool *pool = NULL;
    plait_pool_options options = {.retries = retries};
    assert_int_equal(plait_pool_open(&pool, kind, workers, &options), 0);
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

/* As map_call, over in[i] = i. */
static int map_numbers(plait_pool *pool, plait_item_function *fn, const plait_map_call *like)
{
    int *in = t_new(&t_processes, like->n * sizeof *in);
    for (size_t i = 0; i < like->n; i++)
        in[i] = (int)i;
    plait_map_call call = *like;
    call.fn = fn;
    call.in = in;
    call.in_size = sizeof *in;
    int rc = plait_map_items(pool, &call, plait_seconds(T_PATIENCE_S));
    t_delete(&t_processes, in);
    return rc;
}

/* --- items --- */

static int do_nothing(const void *in, void *out)
{
    (void)in;
    (void)out;
    return 0;
}

/* TSan in a forked worker does not see what orders it after the parent's threads. */
static pid_t test_pid;

static __attribute__((no_sanitize("thread"), noinline)) void square_unseen(const int *in, long *out)
{
    *out = (long)*in * *in;
}

static int square(const void *in, void *out)
{
    if (getpid() != test_pid) {
        square_unseen(in, out);
        return 0;
    }
    long x = *(const int *)in;
    *(long *)out = x * x;
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

/* Runs until it is killed or asked to stop, and shows that it does. */
static int run_for_ever(const void *in, void *out)
{
    (void)in;
    (void)out;
    COUNT(w->inside);
    while (plait_checkpoint() == 0)
        COUNT(w->runs);
    return 0;
}

/* --- every item, once, in its place --- */

static void check_squares(plait_pool *pool, size_t n)
{
    int *in = malloc((n + 1) * sizeof *in);
    long *out = malloc((n + 1) * sizeof *out);
    for (size_t i = 0; i < n; i++)
        in[i] = (int)(i * 7 % 30011);
    memset(out, -1, (n + 1) * sizeof *out);
    assert_int_equal(plait_map(pool, square, in, out, n, PLAIT_FOREVER), 0);
    for (size_t i = 0; i < n; i++)
        if (out[i] != (long)in[i] * in[i])
            fail_msg("item %zu of %zu: %d -> %ld", i, n, in[i], out[i]);
    assert_int_equal(out[n], -1);
    free(in);
    free(out);
}

static void maps_any_number_of_items(void **state)
{
    static const size_t numbers[] = {0, 1, 2, 3, 7, 100, 2047, 2048, 2049, 10000, 1000000};
    (void)state;
    FOR_EACH_KIND(kind)
    {
        for (int workers = 1; workers <= 3; workers++) {
            plait_pool *pool = opened(kind, workers, 0);
            for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
                check_squares(pool, numbers[i]);
            close_now(pool);
        }
    }
}

static int count_run(const void *in, void *out)
{
    (void)out;
    __atomic_add_fetch((int *)(uintptr_t)in, 1, __ATOMIC_RELAXED);
    return 0;
}

static void each_item_is_run_exactly_once(void **state)
{
    enum { N = 5000 };
    static const size_t chunks[] = {0, 1, 3, 4999, 5000, 100000, SIZE_MAX};
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_pool *pool = opened(kind, 4, 0);
        for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++) {
            int *in = t_new(&t_processes, N * sizeof *in);
            plait_map_call call = {
                .fn = count_run, .in = in, .in_size = sizeof *in, .n = N, .chunk = chunks[c]};
            assert_int_equal(plait_map_items(pool, &call, PLAIT_FOREVER), 0);
            for (int i = 0; i < N; i++)
                assert_int_equal(in[i], 1);
            t_delete(&t_processes, in);
        }
        close_now(pool);
    }
}

/* Item sizes are told to the item by its first bytes, where there are any. */
static size_t in_size_now, out_size_now;

static int mix_bytes(const void *in, void *out)
{
    const unsigned char *from = in;
    unsigned char *to = out;
    for (size_t i = 0; i < out_size_now; i++)
        to[i] = (unsigned char)(from[i % in_size_now] + i + 1);
    return 0;
}

static void check_sizes(int kind, size_t in_size, size_t out_size)
{
    enum { N = 50 };
    in_size_now = in_size;
    out_size_now = out_size;
    plait_pool *pool = opened(kind, 2, 0); /* after the sizes are set: processes inherit them */
    unsigned char *in = malloc(N * in_size), *out = malloc(N * out_size + 1);
    for (size_t i = 0; i < N * in_size; i++)
        in[i] = (unsigned char)(i * 31);
    out[N * out_size] = 0x5a;
    plait_map_call call = {
        .fn = mix_bytes, .in = in, .in_size = in_size, .out = out, .out_size = out_size, .n = N};
    assert_int_equal(plait_map_items(pool, &call, PLAIT_FOREVER), 0);
    for (size_t i = 0; i < N * out_size; i++) {
        size_t item = i / out_size, at = i % out_size;
        if (out[i] != (unsigned char)(in[item * in_size + at % in_size] + at + 1))
            fail_msg("sizes %zu, %zu: byte %zu of item %zu", in_size, out_size, at, item);
    }
    assert_int_equal(out[N * out_size], 0x5a);
    free(in);
    free(out);
    close_now(pool);
}

static void items_of_any_size(void **state)
{
    static const size_t sizes[] = {1, 2, 3, 7, 8, 16, 63, 64, 65, 1000, 4095, 4096};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    (void)state;
    FOR_EACH_KIND(kind)
    {
        for (int i = 0; i < SIZES; i++)
            check_sizes(kind, sizes[i], sizes[(i * 5 + 3) % SIZES]);
    }
}

static int expect_nulls(const void *in, void *out)
{
    return in || out ? -1 : 0;
}

static int expect_in_only(const void *in, void *out)
{
    return in && !out ? 0 : -1;
}

static int expect_out_only(const void *in, void *out)
{
    return !in && out ? 0 : -1;
}

static void an_array_that_is_not_given_is_null_for_items(void **state)
{
    int array[10] = {0};
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_pool *pool = opened(kind, 2, 0);
        plait_map_call call = {.fn = expect_nulls, .n = 10};
        assert_int_equal(plait_map_items(pool, &call, PLAIT_FOREVER), 0);
        call.in_size = call.out_size = sizeof *array; /* sizes without arrays mean nothing */
        assert_int_equal(plait_map_items(pool, &call, PLAIT_FOREVER), 0);
        call =
            (plait_map_call){.fn = expect_in_only, .in = array, .in_size = sizeof *array, .n = 10};
        assert_int_equal(plait_map_items(pool, &call, PLAIT_FOREVER), 0);
        call = (plait_map_call){
            .fn = expect_out_only, .out = array, .out_size = sizeof *array, .n = 10};
        assert_int_equal(plait_map_items(pool, &call, PLAIT_FOREVER), 0);
        close_now(pool);
    }
}

/* --- in place or copied --- */

struct address {
    const void *in, *out;
};

static int tell_addresses(const void *in, void *out)
{
    *(struct address *)out = (struct address){in, out};
    return 0;
}

/* Whether items see in and out at these addresses, or at others. */
static void check_places(int kind, const long *in, bool in_place, struct address *out,
                         bool out_place)
{
    enum { N = 100 };
    plait_pool *pool = opened(kind, 2, 0);
    assert_int_equal(plait_map(pool, tell_addresses, in, out, N, PLAIT_FOREVER), 0);
    for (int i = 0; i < N; i++) {
        assert_int_equal(out[i].in == &in[i], in_place);
        assert_int_equal(out[i].out == &out[i], out_place);
        assert_int_equal(plait_is_shared(out[i].in), kind == PLAIT_PROCESS || plait_is_shared(in));
        assert_int_equal(plait_is_shared(out[i].out),
                         kind == PLAIT_PROCESS || plait_is_shared(out));
    }
    close_now(pool);
}

static void arrays_in_the_arena_are_worked_on_in_place(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        long *in = t_new(&t_processes, 100 * sizeof *in);
        struct address *out = t_new(&t_processes, 100 * sizeof *out);
        check_places(kind, in, true, out, true);
        t_delete(&t_processes, in);
        t_delete(&t_processes, out);
    }
}

static void private_arrays_are_copied_for_processes_only(void **state)
{
    long in[100] = {0};
    struct address out[100];
    (void)state;
    check_places(PLAIT_THREAD, in, true, out, true);
    check_places(PLAIT_PROCESS, in, false, out, false);
}

static void one_private_array_does_not_move_the_other(void **state)
{
    long in[100] = {0}, *arena_in = t_new(&t_processes, sizeof in);
    struct address out[100], *arena_out = t_new(&t_processes, sizeof out);
    (void)state;
    check_places(PLAIT_PROCESS, in, false, arena_out, true);
    check_places(PLAIT_PROCESS, arena_in, true, out, false);
    t_delete(&t_processes, arena_in);
    t_delete(&t_processes, arena_out);
}

static int add_to_out(const void *in, void *out)
{
    *(int *)out += *(const int *)in;
    return 0;
}

static void items_see_what_out_held_before(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        int in[100], out[100];
        plait_pool *pool = opened(kind, 2, 0);
        for (int i = 0; i < 100; i++) {
            in[i] = i;
            out[i] = 1000;
        }
        assert_int_equal(plait_map(pool, add_to_out, in, out, 100, PLAIT_FOREVER), 0);
        for (int i = 0; i < 100; i++)
            assert_int_equal(out[i], 1000 + i);
        close_now(pool);
    }
}

static int add_one(const void *in, void *out)
{
    *(int *)out = *(const int *)in + 1;
    return 0;
}

static void in_and_out_may_be_the_same_array(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        int array[1000];
        plait_pool *pool = opened(kind, 2, 0);
        for (int i = 0; i < 1000; i++)
            array[i] = i;
        assert_int_equal(plait_map(pool, add_one, array, array, 1000, PLAIT_FOREVER), 0);
        for (int i = 0; i < 1000; i++)
            assert_int_equal(array[i], i + 1);
        close_now(pool);
    }
}

/* Copies go through a window of 16 MiB; these take several. */
enum { BIG = 1000, BIG_SIZE = 48 << 10 };

static int fill_big(const void *in, void *out)
{
    int i = *(const int *)in;
    memset(out, i % 251, BIG_SIZE);
    memcpy(out, &i, sizeof i);
    return i % 400 == 399 ? -1000 - i : 0;
}

static void private_arrays_larger_than_the_window(void **state)
{
    (void)state;
    plait_pool *pool = opened(PLAIT_PROCESS, 2, 0);
    char *in = calloc(BIG, BIG_SIZE), *out = calloc(BIG, BIG_SIZE);
    for (int i = 0; i < BIG; i++)
        memcpy(in + (size_t)i * BIG_SIZE, &i, sizeof i);
    plait_map_failure failure;
    plait_map_call call = {.fn = fill_big,
                           .in = in,
                           .in_size = BIG_SIZE,
                           .out = out,
                           .out_size = BIG_SIZE,
                           .n = BIG,
                           .failure = &failure};
    assert_int_equal(plait_map_items(pool, &call, PLAIT_FOREVER), -1399);
    assert_int_equal(failure.item, 399);
    assert_int_equal(failure.failed, 2);
    assert_int_equal(failure.code, -1399);
    for (int i = 0; i < BIG; i++) {
        int told;
        memcpy(&told, out + (size_t)i * BIG_SIZE, sizeof told);
        assert_int_equal(told, i);
        assert_int_equal(out[(size_t)i * BIG_SIZE + BIG_SIZE - 1] & 0xff, i % 251);
    }
    free(in);
    free(out);
    close_now(pool);
}

enum { HUGE_SIZE = 17 << 20 };

static int copy_ends(const void *in, void *out)
{
    ((char *)out)[0] = ((const char *)in)[0];
    ((char *)out)[HUGE_SIZE - 1] = ((const char *)in)[HUGE_SIZE - 1];
    return 0;
}

static void a_private_item_larger_than_the_window(void **state)
{
    (void)state;
    plait_pool *pool = opened(PLAIT_PROCESS, 2, 0);
    char *in = calloc(2, HUGE_SIZE), *out = calloc(2, HUGE_SIZE);
    for (int i = 0; i < 2; i++) {
        in[i * HUGE_SIZE] = (char)(1 + i);
        in[i * HUGE_SIZE + HUGE_SIZE - 1] = (char)(11 + i);
    }
    plait_map_call call = {
        .fn = copy_ends, .in = in, .in_size = HUGE_SIZE, .out = out, .out_size = HUGE_SIZE, .n = 2};
    assert_int_equal(plait_map_items(pool, &call, PLAIT_FOREVER), 0);
    assert_memory_equal(in, out, 2 * (size_t)HUGE_SIZE);
    free(in);
    free(out);
    close_now(pool);
}

/* --- refused --- */

static void nothing_and_nonsense_are_refused(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        int array[4] = {0};
        plait_pool *pool = opened(kind, 1, 0);
        plait_map_call call = {.fn = do_nothing, .n = 4};
        assert_int_equal(plait_map_items(NULL, &call, PLAIT_FOREVER), PLAIT_EINVAL);
        assert_int_equal(plait_map_items(pool, NULL, PLAIT_FOREVER), PLAIT_EINVAL);
        call.fn = NULL;
        assert_int_equal(plait_map_items(pool, &call, PLAIT_FOREVER), PLAIT_EINVAL);
        call.n = 0;
        assert_int_equal(plait_map_items(pool, &call, PLAIT_FOREVER), PLAIT_EINVAL);
        call = (plait_map_call){.fn = do_nothing, .n = 4, .in = array};
        assert_int_equal(plait_map_items(pool, &call, PLAIT_FOREVER), PLAIT_EINVAL);
        call = (plait_map_call){.fn = do_nothing, .n = 4, .out = array};
        assert_int_equal(plait_map_items(pool, &call, PLAIT_FOREVER), PLAIT_EINVAL);
        call = (plait_map_call){.fn = do_nothing, .n = 4, .in = array, .in_size = SIZE_MAX / 2};
        assert_int_equal(plait_map_items(pool, &call, PLAIT_FOREVER), PLAIT_EOVERFLOW);
        call = (plait_map_call){.fn = do_nothing, .n = 4, .out = array, .out_size = SIZE_MAX / 3};
        assert_int_equal(plait_map_items(pool, &call, PLAIT_FOREVER), PLAIT_EOVERFLOW);
        call = (plait_map_call){.fn = do_nothing, .n = SIZE_MAX};
        assert_int_equal(plait_map_items(pool, &call, PLAIT_FOREVER), PLAIT_EOVERFLOW);
        close_now(pool);
    }
}

static void no_items_are_done_at_once(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_map_failure failure;
        plait_map_call call = {.fn = do_nothing, .failure = &failure};
        plait_pool *pool = opened(kind, 1, 0);
        memset(&failure, 0xff, sizeof failure);
        assert_int_equal(plait_map_items(pool, &call, PLAIT_NOWAIT), 0);
        assert_int_equal(failure.failed | failure.item | (size_t)failure.code, 0);
        assert_int_equal(plait_map_items(pool, &call, -2), PLAIT_EINVAL);
        close_now(pool);
    }
}

/* --- errors of items --- */

static int fail_some(const void *in, void *out)
{
    int i = *(const int *)in;
    COUNT(w->runs);
    *(int *)out = i;
    return i % 100 == 37 ? -5000 - i : i % 3;
}

static void the_first_failed_item_is_told_after_all_were_run(void **state)
{
    enum { N = 1000 };
    (void)state;
    FOR_EACH_KIND(kind)
    {
        int in[N], out[N] = {0};
        plait_map_failure failure;
        plait_pool *pool = opened(kind, 3, 0);
        w->runs = 0;
        for (int i = 0; i < N; i++)
            in[i] = i;
        plait_map_call call = {.fn = fail_some,
                               .in = in,
                               .in_size = sizeof *in,
                               .out = out,
                               .out_size = sizeof *out,
                               .n = N,
                               .failure = &failure};
        assert_int_equal(plait_map_items(pool, &call, PLAIT_FOREVER), -5037);
        assert_int_equal(failure.item, 37);
        assert_int_equal(failure.failed, 10);
        assert_int_equal(failure.code, -5037);
        assert_int_equal(failure.retried, 0);
        assert_int_equal(failure.deaths, 0);
        assert_int_equal(failure.blame.pid, 0);
        assert_int_equal(w->runs, N);
        assert_memory_equal(in, out, sizeof in);
        close_now(pool);
    }
}

static int return_it(const void *in, void *out)
{
    (void)out;
    return *(const int *)in;
}

static void codes_come_back_as_they_were(void **state)
{
    static const int codes[] = {-1,           -100000000,   PLAIT_EDIED, PLAIT_ETIMEDOUT,
                                PLAIT_EINVAL, PLAIT_ENOMEM, -4095,       -99999999};
    static const int fine[] = {0, 1, PLAIT_DIED, INT32_MAX};
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_map_failure failure;
        plait_pool *pool = opened(kind, 2, 3);
        plait_map_call call = {
            .fn = return_it, .in_size = sizeof *codes, .n = 1, .failure = &failure};
        for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
            call.in = &codes[i];
            assert_int_equal(plait_map_items(pool, &call, PLAIT_FOREVER), codes[i]);
            assert_int_equal(failure.code, codes[i]);
            assert_int_equal(failure.failed, 1);
            assert_int_equal(failure.deaths + failure.retried, 0); /* failing is not dying */
        }
        for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
            call.in = &fine[i];
            assert_int_equal(plait_map_items(pool, &call, PLAIT_FOREVER), 0);
            assert_int_equal(failure.code, 0);
        }
        close_now(pool);
    }
}

static int fail_always(const void *in, void *out)
{
    (void)out;
    return -1 - *(const int *)in;
}

static void all_items_may_fail(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_map_failure failure;
        plait_map_call like = {.n = 10000, .failure = &failure};
        plait_pool *pool = opened(kind, 3, 0);
        assert_int_equal(map_numbers(pool, fail_always, &like), -1);
        assert_int_equal(failure.item, 0);
        assert_int_equal(failure.failed, 10000);
        close_now(pool);
    }
}

/* --- items that end their worker --- */

/* Item 3 does it, the others just square. */
static void (*way_to_die)(void);

static void die_by_kill(void)
{
    raise(SIGKILL);
}

static void die_by_term(void)
{
    signal(SIGTERM, SIG_DFL);
    raise(SIGTERM);
}

static void die_by_abort(void)
{
    signal(SIGABRT, SIG_DFL);
    abort();
}

static void die_by_segfault(void)
{
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
}

static void die_by_exit_0(void)
{
    _exit(0);
}

static void die_by_exit_5(void)
{
    _exit(5);
}

static void die_by_pthread_exit(void)
{
    pthread_exit(NULL);
}

static void *keep_on(void *arg)
{
    for (;;)
        pause();
    return arg;
}

/* The worker is gone, its process is not. */
static void die_and_leave_a_thread(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, keep_on, NULL);
    pthread_exit(NULL);
}

static void die_by_exec(void)
{
    execlp("sleep", "sleep", "1000", (char *)NULL);
    _exit(77);
}

static int die_at_3(const void *in, void *out)
{
    int i = *(const int *)in;
    if (i == 3)
        TELL(w->victim, getpid());
    COUNT(w->tries[i]);
    if (i == 3)
        way_to_die();
    return square(in, out);
}

struct death {
    const char *name;
    void (*way)(void);
    int signal; /* UNKNOWN: kernels differ */
    int status;
};
enum { UNKNOWN = -1 };

static const struct death deaths[] = {
    {"SIGKILL", die_by_kill, SIGKILL, -SIGKILL}, {"SIGTERM", die_by_term, SIGTERM, -SIGTERM},
    {"abort", die_by_abort, SIGABRT, -SIGABRT},  {"SIGSEGV", die_by_segfault, SIGSEGV, -SIGSEGV},
    {"_exit(0)", die_by_exit_0, 0, 0},           {"_exit(5)", die_by_exit_5, 0, 5},
    {"pthread_exit", die_by_pthread_exit, 0, 0},
};

static void check_others_of_10(const long *out)
{
    for (int i = 0; i < 10; i++) {
        assert_int_equal(out[i], i == 3 ? -1 : i * i);
        assert_int_equal(w->tries[i], i == 3 ? w->tries[3] : 1);
    }
}

/* Ten items, the fourth of which ends its worker each time it is run. */
static void check_death(const struct death *death, int retries)
{
    int in[10];
    long out[10];
    plait_map_failure failure;
    memset(w->tries, 0, sizeof w->tries);
    way_to_die = death->way;
    plait_pool *pool = opened(PLAIT_PROCESS, 2, retries);
    for (int i = 0; i < 10; i++) {
        in[i] = i;
        out[i] = -1;
    }
    plait_map_call call = {.fn = die_at_3,
                           .in = in,
                           .in_size = sizeof *in,
                           .out = out,
                           .out_size = sizeof *out,
                           .n = 10,
                           .failure = &failure};
    assert_int_equal(plait_map_items(pool, &call, PLAIT_FOREVER), PLAIT_EDIED);
    check_others_of_10(out);
    assert_int_equal(w->tries[3], retries + 1);
    assert_int_equal(failure.item, 3);
    assert_int_equal(failure.code, PLAIT_EDIED);
    assert_int_equal(failure.failed, 1);
    assert_int_equal(failure.retried, retries);
    assert_int_equal(failure.deaths, retries + 1);
    if (death->signal != UNKNOWN) {
        assert_int_equal(failure.blame.signal, death->signal);
        assert_int_equal(failure.blame.status, death->status);
    }
    assert_int_equal(failure.blame.kind, PLAIT_PROCESS);
    assert_int_equal(failure.blame.pid, w->victim);
    assert_false(failure.blame.returned);
    assert_memory_equal(failure.blame.name, "Pool-", 5);
    assert_int_equal(plait_pool_workers(pool), 2);
    check_squares(pool, 1000);
    close_now(pool);
}

static void an_item_that_ends_its_worker_costs_itself_only(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof deaths / sizeof *deaths; i++) {
        check_death(&deaths[i], 0);
        check_death(&deaths[i], 2);
    }
}

/* Through exit handlers; those of the program are its own. */
static void die_by_exit_3(void)
{
    exit(3);
}

static void an_item_that_calls_exit_costs_itself_only(void **state)
{
    static const struct death death = {"exit(3)", die_by_exit_3, 0, 3};
    (void)state;
    check_death(&death, 0);
    check_death(&death, 1);
}

static void a_worker_process_that_goes_on_without_its_worker_is_removed(void **state)
{
    static const struct death thread = {"pthread_exit", die_and_leave_a_thread, UNKNOWN, 0};
    static const struct death exec = {"exec", die_by_exec, SIGKILL, -SIGKILL};
    (void)state;
    check_death(&thread, 0);
    check_death(&exec, 0);
}

static int exit_thread_at_3(const void *in, void *out)
{
    int i = *(const int *)in;
    COUNT(w->tries[i]);
    if (i == 3)
        pthread_exit(NULL);
    return square(in, out);
}

static void an_item_that_ends_its_thread_costs_itself_only(void **state)
{
    (void)state;
    for (int retries = 0; retries < 3; retries++) {
        int in[10];
        long out[10];
        plait_map_failure failure;
        plait_pool *pool = opened(PLAIT_THREAD, 2, retries);
        memset(w->tries, 0, sizeof w->tries);
        for (int i = 0; i < 10; i++) {
            in[i] = i;
            out[i] = -1;
        }
        plait_map_call call = {.fn = exit_thread_at_3,
                               .in = in,
                               .in_size = sizeof *in,
                               .out = out,
                               .out_size = sizeof *out,
                               .n = 10,
                               .failure = &failure};
        assert_int_equal(plait_map_items(pool, &call, PLAIT_FOREVER), PLAIT_EDIED);
        check_others_of_10(out);
        assert_int_equal(w->tries[3], retries + 1);
        assert_int_equal(failure.deaths, retries + 1);
        assert_int_equal(failure.retried, retries);
        assert_int_equal(failure.blame.kind, PLAIT_THREAD);
        check_squares(pool, 1000);
        close_now(pool);
    }
}

static int die_at_first_try(const void *in, void *out)
{
    (void)out;
    if (COUNT(w->tries[*(const int *)in]) == 1)
        raise(SIGKILL);
    return 0;
}

/* More items than a small table would hold, each with a right to a second run. */
static void every_item_has_its_own_retries(void **state)
{
    enum { N = 100 };
    (void)state;
    plait_map_failure failure;
    plait_map_call like = {.n = N, .failure = &failure};
    plait_pool *pool = opened(PLAIT_PROCESS, 3, 1);
    assert_int_equal(map_numbers(pool, die_at_first_try, &like), 0);
    assert_int_equal(failure.code, 0);
    assert_int_equal(failure.failed, 0);
    assert_int_equal(failure.retried, N);
    assert_int_equal(failure.deaths, N);
    assert_int_equal(failure.blame.signal, SIGKILL);
    for (int i = 0; i < N; i++)
        assert_int_equal(w->tries[i], 2);
    close_now(pool);
}

static int die_always(const void *in, void *out)
{
    (void)out;
    COUNT(w->tries[*(const int *)in]);
    raise(SIGKILL);
    return 0;
}

static void all_items_may_kill(void **state)
{
    enum { N = 30, RETRIES = 1 };
    (void)state;
    for (size_t chunk = 0; chunk <= 10; chunk += 5) {
        plait_map_failure failure;
        plait_map_call like = {.n = N, .chunk = chunk, .failure = &failure};
        plait_pool *pool = opened(PLAIT_PROCESS, 2, RETRIES);
        memset(w->tries, 0, sizeof w->tries);
        assert_int_equal(map_numbers(pool, die_always, &like), PLAIT_EDIED);
        assert_int_equal(failure.item, 0);
        assert_int_equal(failure.failed, N);
        assert_int_equal(failure.retried, N * RETRIES);
        assert_int_equal(failure.deaths, N * (RETRIES + 1));
        for (int i = 0; i < N; i++)
            assert_int_equal(w->tries[i], RETRIES + 1);
        check_squares(pool, 1000);
        close_now(pool);
    }
}

/* What an item did before the one that killed stays done, in the same chunk too. */
static int count_and_die_at_7(const void *in, void *out)
{
    int i = *(const int *)in;
    (void)out;
    if (COUNT(w->tries[i]) == 1 && i == 7)
        raise(SIGKILL);
    return 0;
}

static void finished_items_of_a_chunk_are_not_run_again(void **state)
{
    enum { N = 40 };
    (void)state;
    plait_map_call like = {.n = N, .chunk = 20};
    plait_pool *pool = opened(PLAIT_PROCESS, 2, 1);
    assert_int_equal(map_numbers(pool, count_and_die_at_7, &like), 0);
    for (int i = 0; i < N; i++)
        assert_int_equal(w->tries[i], i == 7 ? 2 : 1);
    close_now(pool);
}

/* A failure that came before the death in its chunk is told, and told once. */
static int fail_at_5_and_die_at_7(const void *in, void *out)
{
    int i = *(const int *)in;
    count_and_die_at_7(in, out);
    return i == 5 ? -55 : 0;
}

static void a_failure_before_a_death_is_not_forgotten(void **state)
{
    (void)state;
    for (int retries = 0; retries < 2; retries++) {
        plait_map_failure failure;
        plait_map_call like = {.n = 40, .chunk = 20, .failure = &failure};
        plait_pool *pool = opened(PLAIT_PROCESS, 2, retries);
        memset(w->tries, 0, sizeof w->tries);
        assert_int_equal(map_numbers(pool, fail_at_5_and_die_at_7, &like), -55);
        assert_int_equal(failure.item, 5);
        assert_int_equal(failure.failed, retries ? 1 : 2);
        close_now(pool);
    }
}

static int wait_or_square(const void *in, void *out)
{
    long number;
    square_unseen(in, &number);
    if (number == 1) {
        TELL(w->victim, getpid());
        UNTIL(SEEN(w->go));
    }
    UNTIL(SEEN(w->victim));
    COUNT(w->over);
    return square(in, out);
}

struct caller {
    plait_pool *pool;
    plait_item_function *fn;
    int n, rc, over;
    int in[100];
    long out[100];
    plait_map_failure failure;
    size_t chunk;
};

static int call_map(void *arg)
{
    struct caller *c = arg;
    plait_map_call call = {.fn = c->fn,
                           .in = c->in,
                           .in_size = sizeof *c->in,
                           .out = c->out,
                           .out_size = sizeof *c->out,
                           .n = (size_t)c->n,
                           .chunk = c->chunk,
                           .failure = &c->failure};
    for (int i = 0; i < c->n; i++) {
        c->in[i] = i;
        c->out[i] = -1;
    }
    c->rc = plait_map_items(c->pool, &call, PLAIT_FOREVER);
    TELL(c->over, 1);
    return 0;
}

static plait_worker start_caller(struct caller *c, plait_pool *pool, plait_item_function *fn, int n)
{
    *c = (struct caller){.pool = pool, .fn = fn, .n = n, .chunk = 1};
    return t_start_one(PLAIT_THREAD, call_map, c);
}

static void a_worker_killed_from_outside_costs_its_item_only(void **state)
{
    (void)state;
    static struct caller c;
    plait_pool *pool = opened(PLAIT_PROCESS, 3, 0);
    plait_worker worker = start_caller(&c, pool, wait_or_square, 50);
    UNTIL(SEEN(w->over) == 49);
    assert_int_equal(SEEN(c.over), 0);
    assert_int_equal(kill(w->victim, SIGKILL), 0);
    assert_int_equal(t_join_one(worker), 0);
    assert_int_equal(c.rc, PLAIT_EDIED);
    assert_int_equal(c.failure.item, 1);
    assert_int_equal(c.failure.failed, 1);
    assert_int_equal(c.failure.deaths, 1);
    assert_int_equal(c.failure.blame.pid, w->victim);
    assert_int_equal(c.failure.blame.signal, SIGKILL);
    for (int i = 0; i < 50; i++)
        assert_int_equal(c.out[i], i == 1 ? -1 : i * i);
    close_now(pool);
}

/* Shows its pid until it may go on. */
static int show_and_square(const void *in, void *out)
{
    int place = COUNT(w->inside) - 1;
    if (place < 256)
        TELL(w->tries[place], getpid());
    UNTIL(SEEN(w->go));
    return square(in, out);
}

static void all_workers_killed_at_once_are_replaced(void **state)
{
    enum { WORKERS = 4 };
    (void)state;
    static struct caller c;
    plait_pool *pool = opened(PLAIT_PROCESS, WORKERS, 1);
    plait_worker worker = start_caller(&c, pool, show_and_square, 50);
    for (int i = 0; i < WORKERS; i++)
        UNTIL(SEEN(w->tries[i]));
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(kill(w->tries[i], SIGKILL), 0);
    UNTIL(SEEN(w->inside) == 2 * WORKERS);
    TELL(w->go, 1);
    assert_int_equal(t_join_one(worker), 0);
    assert_int_equal(c.rc, 0);
    assert_int_equal(c.failure.deaths, WORKERS);
    assert_int_equal(c.failure.retried, WORKERS);
    for (int i = 0; i < 50; i++)
        assert_int_equal(c.out[i], i * i);
    assert_int_equal(plait_pool_workers(pool), WORKERS);
    close_now(pool);
}

/* The caller watches 124 hearts at most; the others' deaths it finds by looking now and then. */
static void more_workers_than_can_be_watched(void **state)
{
    enum { WORKERS = 140 };
    (void)state;
    static struct caller c;
    plait_pool *pool = opened(PLAIT_PROCESS, WORKERS, 1);
    plait_worker worker = start_caller(&c, pool, show_and_square, 100);
    UNTIL(SEEN(w->inside) == 100);
    for (int i = 0; i < 100; i++) {
        UNTIL(SEEN(w->tries[i]));
        kill(w->tries[i], SIGKILL);
    }
    UNTIL(SEEN(w->inside) == 200);
    TELL(w->go, 1);
    assert_int_equal(t_join_one(worker), 0);
    assert_int_equal(c.rc, 0);
    assert_int_equal(c.failure.deaths, 100);
    close_now(pool);
}

/* --- time --- */

static int map_for_ever(void *pool, int64_t timeout)
{
    plait_map_call call = {.fn = run_for_ever, .n = 1 << 20};
    return plait_map_items(pool, &call, timeout);
}

static void map_keeps_its_time_and_listens(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_pool *pool = opened(kind, 2, 0);
        t_check_bad_timeouts(map_for_ever, pool);
        t_check_time(map_for_ever, pool);
        t_check_signals(map_for_ever, pool);
        t_check_cancel(&t_threads, map_for_ever, pool);
        t_check_cancel_pending(&t_threads, map_for_ever, pool);
        t_check_cancel_counts(&t_threads, map_for_ever, pool);
        t_check_uncancel(&t_threads, map_for_ever, pool);
        check_squares(pool, 1000);
        close_now(pool);
    }
}

static void after_a_timeout_no_item_runs_on_and_the_pool_is_whole(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_map_failure failure;
        plait_pool *pool = opened(kind, 3, 5);
        for (int i = 0; i < 10; i++) {
            plait_map_call call = {.fn = run_for_ever, .n = 100, .failure = &failure};
            TELL(w->inside, 0);
            assert_int_equal(plait_map_items(pool, &call, plait_ms(5)), PLAIT_ETIMEDOUT);
            int runs = SEEN(w->runs);
            assert_int_equal(failure.deaths, 0); /* our kills are not deaths of theirs */
            check_squares(pool, 500);
            assert_int_equal(SEEN(w->runs), runs);
        }
        assert_int_equal(plait_pool_workers(pool), 3);
        close_now(pool);
    }
}

static void threads_at_work_are_asked_and_waited_for(void **state)
{
    (void)state;
    plait_map_failure failure;
    plait_pool *pool = opened(PLAIT_THREAD, 3, 0);
    plait_map_call call = {.fn = wait_for_event, .n = 100, .failure = &failure};
    for (int64_t time = plait_ms(20); w->inside == 0; time *= 2) /* until one has begun by then */
        assert_int_equal(plait_map_items(pool, &call, time), PLAIT_ETIMEDOUT);
    assert_in_range(w->inside, 1, 3);
    assert_int_equal(failure.failed, w->inside);
    assert_int_equal(failure.code, PLAIT_ECANCELED);
    assert_int_equal(failure.deaths, 0);
    assert_int_equal(plait_pool_workers(pool), 3);
    close_now(pool);
}

static void work_for(int64_t ns)
{
    int64_t end = plait_now() + ns;
    while (plait_now() < end)
        ;
}

static int64_t item_time; /* what work_a_while takes; set while no item runs */

static int work_a_while(const void *in, void *out)
{
    (void)in;
    (void)out;
    work_for(item_time);
    return 0;
}

static int expect_no_request(const void *in, void *out)
{
    (void)in;
    (void)out;
    return plait_cancelling() == 0 && plait_checkpoint() == 0 ? 0 : -1;
}

/* The items end about when the caller's time does, so the request to stop often comes too late. */
static void a_request_to_stop_does_not_reach_a_later_item(void **state)
{
    (void)state;
    plait_pool *pool = opened(PLAIT_THREAD, 2, 0);
    uint64_t seed = t_seed();
    for (int i = 0; i < 300; i++) {
        plait_map_call call = {.fn = work_a_while, .n = 2, .chunk = 1};
        item_time = 200 * 1000 + t_below(&seed, 200 * 1000);
        int rc = plait_map_items(pool, &call, 300 * 1000);
        assert_true(rc == 0 || rc == PLAIT_ETIMEDOUT);
        assert_int_equal(map_call(pool, expect_no_request, 4, NULL), 0);
    }
    close_now(pool);
}

static void cancelling_the_caller_stops_its_items(void **state)
{
    (void)state;
    static struct caller c;
    FOR_EACH_KIND(kind)
    {
        plait_pool *pool = opened(kind, 2, 0);
        TELL(w->inside, 0);
        plait_worker worker = start_caller(&c, pool, run_for_ever, 100);
        UNTIL(SEEN(w->inside) == 2);
        assert_int_equal(plait_cancel(worker), 0);
        assert_int_equal(t_join_one(worker), 0);
        assert_int_equal(c.rc, PLAIT_ECANCELED);
        assert_int_equal(w->inside, 2);
        check_squares(pool, 100);
        close_now(pool);
    }
}

/* --- several callers --- */

static int square_slowly(const void *in, void *out)
{
    work_for(20 * 1000);
    return square(in, out);
}

static void more_callers_than_there_is_room_for(void **state)
{
    enum { CALLERS = 24, ROUNDS = 5 };
    static struct caller c[CALLERS];
    plait_worker workers[CALLERS];
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_pool *pool = opened(kind, 3, 0);
        for (int round = 0; round < ROUNDS; round++) {
            for (int i = 0; i < CALLERS; i++)
                workers[i] = start_caller(&c[i], pool, square_slowly, 10 + i);
            for (int i = 0; i < CALLERS; i++) {
                assert_int_equal(t_join_one(workers[i]), 0);
                assert_int_equal(c[i].rc, 0);
                for (int k = 0; k < c[i].n; k++)
                    assert_int_equal(c[i].out[k], k * k);
            }
        }
        close_now(pool);
    }
}

static void a_caller_that_waits_for_room_keeps_its_time(void **state)
{
    enum { CALLERS = 16 };
    static struct caller c[CALLERS];
    plait_worker workers[CALLERS];
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_pool *pool = opened(kind, 1, 0);
        w->go = w->inside = 0;
        for (int i = 0; i < CALLERS; i++)
            workers[i] = start_caller(&c[i], pool, wait_for_go, 2);
        for (int i = 0; i < CALLERS; i++)
            UNTIL_WAITS(workers[i], PL_WAIT_ITEMS);
        t_check_time(map_for_ever, pool);
        t_check_cancel(&t_threads, map_for_ever, pool);
        TELL(w->go, 1);
        for (int i = 0; i < CALLERS; i++) {
            assert_int_equal(t_join_one(workers[i]), 0);
            assert_int_equal(c[i].rc, 0);
        }
        assert_int_equal(w->inside, 2 * CALLERS);
        close_now(pool);
    }
}

/* One caller's deaths and failures are not another's. */
static int kill_or_square(const void *in, void *out)
{
    raise(SIGKILL);
    return square(in, out);
}

static void callers_do_not_share_failures(void **state)
{
    static struct caller bad, good;
    (void)state;
    plait_pool *pool = opened(PLAIT_PROCESS, 3, 0);
    plait_worker b = start_caller(&bad, pool, kill_or_square, 20);
    plait_worker g = start_caller(&good, pool, square_slowly, 100);
    assert_int_equal(t_join_one(b), 0);
    assert_int_equal(t_join_one(g), 0);
    assert_int_equal(bad.rc, PLAIT_EDIED);
    assert_int_equal(bad.failure.failed, 20);
    assert_int_equal(good.rc, 0);
    assert_int_equal(good.failure.failed + good.failure.retried, 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(good.out[i], i * i);
    close_now(pool);
}

/* One caller's timeouts kill or cancel only those who work for it. */
static int must_not_be_stopped(const void *in, void *out)
{
    work_for(50 * 1000);
    if (plait_checkpoint() != 0)
        COUNT(w->mishaps);
    COUNT(w->runs);
    return square(in, out);
}

static void a_timeout_leaves_other_callers_alone(void **state)
{
    static struct caller c;
    (void)state;
    FOR_EACH_KIND(kind)
    {
        item_time = 100 * 1000;
        plait_pool *pool = opened(kind, 3, 0);
        for (int round = 0; round < 20; round++) {
            w->runs = 0;
            plait_worker worker = start_caller(&c, pool, must_not_be_stopped, 100);
            while (!SEEN(c.over)) {
                plait_map_call call = {.fn = work_a_while, .n = 5, .chunk = 1};
                plait_map_items(pool, &call, 100 * 1000);
            }
            assert_int_equal(t_join_one(worker), 0);
            assert_int_equal(c.rc, 0);
            assert_int_equal(c.failure.deaths + c.failure.retried, 0);
            assert_int_equal(w->mishaps, 0);
            assert_int_equal(w->runs, 100);
        }
        close_now(pool);
    }
}

/* --- map inside of items --- */

static int nested_on_own_pool(const void *in, void *out)
{
    int base = *(const int *)in, inner[20];
    long squares[20];
    plait_map_failure failure;
    plait_worker me = plait_self();
    for (int i = 0; i < 20; i++)
        inner[i] = base + i;
    plait_map_call call = {.fn = square,
                           .in = inner,
                           .in_size = sizeof *inner,
                           .out = squares,
                           .out_size = sizeof *squares,
                           .n = 20,
                           .failure = &failure};
    CHECK_RC(plait_map_items(w->pool, &call, PLAIT_FOREVER), 0);
    CHECK_EQ(failure.code, 0);
    CHECK(plait_same(me, plait_self()));
    *(long *)out = 0;
    for (int i = 0; i < 20; i++)
        *(long *)out += squares[i];
    return 0;
}

static void an_item_may_map_on_its_own_pool(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        int in[30];
        long out[30];
        w->pool = opened(kind, 2, 0);
        for (int i = 0; i < 30; i++)
            in[i] = i;
        assert_int_equal(plait_map(w->pool, nested_on_own_pool, in, out, 30, PLAIT_FOREVER), 0);
        for (int i = 0; i < 30; i++) {
            long sum = 0;
            for (long k = i; k < i + 20; k++)
                sum += k * k;
            assert_int_equal(out[i], sum);
        }
        close_now(w->pool);
    }
}

static int fail_odd(const void *in, void *out)
{
    (void)out;
    return *(const int *)in % 2 ? -10 - *(const int *)in : 0;
}

static int nested_failures(const void *in, void *out)
{
    int inner[] = {0, 2, 3, 4, 5};
    plait_map_failure failure;
    plait_map_call call = {
        .fn = fail_odd, .in = inner, .in_size = sizeof *inner, .n = 5, .failure = &failure};
    (void)in;
    (void)out;
    CHECK_RC(plait_map_items(w->pool, &call, PLAIT_FOREVER), -13);
    CHECK_EQ(failure.item, 2);
    CHECK_EQ(failure.failed, 2);
    CHECK_RC(plait_map_items(w->pool, NULL, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_map_items(w->pool, &call, -2), PLAIT_EINVAL);
    return 0;
}

static void a_nested_map_tells_failures_too(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        w->pool = opened(kind, 2, 0);
        assert_int_equal(map_call(w->pool, nested_failures, 4, NULL), 0);
        close_now(w->pool);
    }
}

static int sleep_a_little(const void *in, void *out)
{
    (void)in;
    (void)out;
    COUNT(w->runs);
    t_sleep(plait_ms(2));
    return 0;
}

static int nested_with_time(const void *in, void *out)
{
    plait_map_call call = {.fn = sleep_a_little, .n = 1 << 20};
    (void)in;
    (void)out;
    int64_t start = plait_now();
    CHECK_RC(plait_map_items(w->pool, &call, plait_ms(20)), PLAIT_ETIMEDOUT);
    CHECK(plait_now() - start >= plait_ms(20));
    return 0;
}

static void a_nested_map_keeps_its_time(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        w->pool = opened(kind, 2, 0);
        assert_int_equal(map_call(w->pool, nested_with_time, 2, NULL), 0);
        close_now(w->pool);
    }
}

static int nested_for_ever(const void *in, void *out)
{
    plait_map_call call = {.fn = sleep_a_little, .n = 1 << 20};
    (void)in;
    (void)out;
    return plait_map_items(w->pool, &call, PLAIT_FOREVER);
}

static void a_timeout_ends_nested_maps_too(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        w->pool = opened(kind, 2, 0);
        plait_map_call call = {.fn = nested_for_ever, .n = 2};
        assert_int_equal(plait_map_items(w->pool, &call, plait_ms(20)), PLAIT_ETIMEDOUT);
        int runs = SEEN(w->runs);
        check_squares(w->pool, 100);
        assert_int_equal(SEEN(w->runs), runs);
        close_now(w->pool);
    }
}

static int map_on_other(const void *in, void *out)
{
    int numbers[10];
    long squares[10];
    for (int i = 0; i < 10; i++)
        numbers[i] = *(const int *)in + i;
    int rc = plait_map(w->other, square, numbers, squares, 10, PLAIT_FOREVER);
    *(long *)out = squares[9];
    return rc;
}

static void a_thread_item_may_map_on_another_pool(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        int in[50];
        long out[50];
        plait_pool *pool = opened(PLAIT_THREAD, 3, 0);
        w->other = opened(kind, 2, 0);
        for (int i = 0; i < 50; i++)
            in[i] = i;
        assert_int_equal(plait_map(pool, map_on_other, in, out, 50, PLAIT_FOREVER), 0);
        for (int i = 0; i < 50; i++)
            assert_int_equal(out[i], (i + 9) * (i + 9));
        close_now(pool);
        close_now(w->other);
    }
}

static int wait_on_other(const void *in, void *out)
{
    (void)in;
    (void)out;
    COUNT(w->runs);
    return map_for_ever(w->other, PLAIT_FOREVER);
}

static void a_timeout_reaches_through_to_another_pool(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_map_failure failure;
        plait_pool *pool = opened(PLAIT_THREAD, 2, 0);
        w->other = opened(kind, 2, 0);
        plait_map_call call = {.fn = wait_on_other, .n = 1, .failure = &failure};
        assert_int_equal(plait_map_items(pool, &call, plait_ms(30)), PLAIT_ETIMEDOUT);
        assert_int_equal(failure.code, PLAIT_ECANCELED);
        check_squares(w->other, 100);
        close_now(pool);
        close_now(w->other);
    }
}

static void a_process_item_cannot_use_another_pool(void **state)
{
    (void)state;
    plait_pool *pool = opened(PLAIT_PROCESS, 2, 0);
    int in = 1;
    long out;
    w->other = opened(PLAIT_THREAD, 2, 0);
    assert_int_equal(plait_map(pool, map_on_other, &in, &out, 1, PLAIT_FOREVER), PLAIT_ECHILD);
    close_now(pool);
    close_now(w->other);
}

static int with_a_pool_of_its_own(const void *in, void *out)
{
    int numbers[10];
    long squares[10];
    plait_pool *own;
    for (int i = 0; i < 10; i++)
        numbers[i] = *(const int *)in + i;
    CHECK_RC(plait_pool_open(&own, PLAIT_PROCESS, 2, NULL), 0);
    CHECK_RC(plait_map(own, square, numbers, squares, 10, PLAIT_FOREVER), 0);
    CHECK_RC(plait_pool_close(own, PLAIT_FOREVER), 0);
    *(long *)out = squares[9];
    return 0;
}

static void an_item_may_have_a_pool_of_its_own(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        int in[6] = {1, 2, 3, 4, 5, 6};
        long out[6];
        plait_pool *pool = opened(kind, 2, 0);
        assert_int_equal(plait_map(pool, with_a_pool_of_its_own, in, out, 6, PLAIT_FOREVER), 0);
        for (int i = 0; i < 6; i++)
            assert_int_equal(out[i], (in[i] + 9) * (in[i] + 9));
        close_now(pool);
    }
}

/* --- fork in user code --- */

static int fork_and_reap(const void *in, void *out)
{
    *(int *)out = *(const int *)in;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(map_call(w->pool, do_nothing, 3, NULL) == PLAIT_ECHILD ? 0 : 1);
    return t_reap(pid) == 0 ? 0 : -1;
}

static void an_item_may_fork(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        int in[10], out[10];
        w->pool = opened(kind, 2, 0);
        for (int i = 0; i < 10; i++)
            in[i] = i;
        assert_int_equal(plait_map(w->pool, fork_and_reap, in, out, 10, PLAIT_FOREVER), 0);
        assert_memory_equal(in, out, sizeof in);
        close_now(w->pool);
    }
}

static int leave_child(void *arg)
{
    return map_call(arg, do_nothing, 3, NULL) == PLAIT_ECHILD ? 0 : 1;
}

static void a_fork_in_the_middle_of_a_map_disturbs_nothing(void **state)
{
    static struct caller c;
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_pool *pool = opened(kind, 2, 0);
        plait_worker worker = start_caller(&c, pool, square_slowly, 100);
        for (int i = 0; i < 5; i++)
            assert_int_equal(t_in_fork(leave_child, pool), 0);
        assert_int_equal(t_join_one(worker), 0);
        assert_int_equal(c.rc, 0);
        for (int i = 0; i < 100; i++)
            assert_int_equal(c.out[i], i * i);
        close_now(pool);
    }
}

/* --- progress --- */

struct shown {
    size_t last, n;
    int calls, backwards, wrong_thread, wrong_n;
    pthread_t thread;
};

static void note_progress(size_t done, size_t n, void *arg)
{
    struct shown *s = arg;
    s->calls++;
    s->backwards += done < s->last || done > n;
    s->wrong_n += n != s->n;
    s->wrong_thread += !pthread_equal(s->thread, pthread_self());
    s->last = done;
}

static int work_and_sometimes_die(const void *in, void *out)
{
    int i = *(const int *)in;
    (void)out;
    work_for(300 * 1000);
    if (i % 401 == 400 && COUNT(w->tries[i / 401]) == 1)
        raise(SIGKILL);
    return 0;
}

static void check_progress(plait_pool *pool, plait_item_function *fn, size_t n, size_t chunk)
{
    struct shown s = {.n = n, .thread = pthread_self()};
    plait_map_call like = {.n = n, .chunk = chunk, .progress = note_progress, .progress_arg = &s};
    memset(w->tries, 0, sizeof w->tries);
    assert_int_equal(map_numbers(pool, fn, &like), 0);
    assert_int_equal(s.backwards, 0);
    assert_int_equal(s.wrong_n, 0);
    assert_int_equal(s.wrong_thread, 0);
    assert_true(s.calls > 0);
    assert_int_equal(s.last, n);
}

static void progress_goes_up_and_ends_at_n(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        item_time = 300 * 1000;
        plait_pool *pool = opened(kind, 2, 0);
        check_progress(pool, work_a_while, 1, 0);
        check_progress(pool, work_a_while, 1000, 0);
        check_progress(pool, work_a_while, 1000, 250);
        close_now(pool);
    }
}

static void progress_does_not_go_back_when_workers_die(void **state)
{
    (void)state;
    plait_pool *pool = opened(PLAIT_PROCESS, 2, 3);
    check_progress(pool, work_and_sometimes_die, 2000, 0);
    check_progress(pool, work_and_sometimes_die, 2000, 1000);
    close_now(pool);
}

static void show_nested(size_t done, size_t n, void *arg)
{
    (void)done;
    (void)n;
    CHECK_RC(map_call(arg, do_nothing, 10, NULL), 0);
    COUNT(w->over);
}

static void progress_may_map_on_the_same_pool(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_pool *pool = opened(kind, 2, 0);
        plait_map_call call = {
            .fn = do_nothing, .n = 100, .progress = show_nested, .progress_arg = pool};
        TELL(w->over, 0);
        assert_int_equal(plait_map_items(pool, &call, PLAIT_FOREVER), 0);
        assert_true(SEEN(w->over) > 0);
        close_now(pool);
    }
}

/* --- chunks --- */

static int tell_worker(const void *in, void *out)
{
    (void)in;
    *(uint64_t *)out = (uint64_t)plait_self().slot << 32 | (uint32_t)COUNT(w->runs);
    return 0;
}

/* Each chunk is run by one worker, its items in order. */
static void check_chunks(plait_pool *pool, size_t n, size_t chunk)
{
    uint64_t *out = t_new(&t_processes, n * sizeof *out);
    plait_map_call call = {
        .fn = tell_worker, .out = out, .out_size = sizeof *out, .n = n, .chunk = chunk};
    assert_int_equal(plait_map_items(pool, &call, PLAIT_FOREVER), 0);
    for (size_t i = 1; i < n; i++)
        if (i % chunk != 0) {
            assert_int_equal(out[i] >> 32, out[i - 1] >> 32);
            assert_true((uint32_t)out[i] > (uint32_t)out[i - 1]);
        }
    t_delete(&t_processes, out);
}

static void chunks_are_handed_out_whole(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_pool *pool = opened(kind, 3, 0);
        check_chunks(pool, 1000, 10);
        check_chunks(pool, 1000, 7);
        check_chunks(pool, 1000, 999);
        check_chunks(pool, 1000, 1000);
        check_chunks(pool, 1000, SIZE_MAX);
        check_chunks(pool, 20000, 10);
        close_now(pool);
    }
}

static int wait_for_another(const void *in, void *out)
{
    (void)in;
    (void)out;
    COUNT(w->inside);
    UNTIL(SEEN(w->inside) >= 2);
    return 0;
}

/* Were two items handed out together, they would wait for each other for ever. */
static void a_chunk_of_one_lets_items_meet(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        plait_pool *pool = opened(kind, 2, 0);
        for (int i = 0; i < 20; i++) {
            plait_map_call call = {.fn = wait_for_another, .n = 2, .chunk = 1};
            TELL(w->inside, 0);
            assert_int_equal(plait_map_items(pool, &call, PLAIT_FOREVER), 0);
        }
        close_now(pool);
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
        execl("/proc/self/exe", "map_test", name, (char *)NULL);
        _exit(99);
    }
    return t_reap(pid);
}

/* Becomes a user whom RLIMIT_NPROC binds (root is above it) and who may have no more processes. */
static void forbid_new_workers(void)
{
    struct rlimit none = {0, 0};
    if (getuid() == 0)
        CHECK(setresgid(54322, 54322, 54322) == 0 && setresuid(54322, 54322, 54322) == 0);
    prctl(PR_SET_DUMPABLE, 1); /* /proc/self stays readable */
    CHECK_EQ(setrlimit(RLIMIT_NPROC, &none), 0);
}

static plait_pool *must_open(int kind, int workers, int retries)
{
    plait_pool *pool;
    plait_pool_options options = {.retries = retries};
    CHECK_RC(plait_pool_open(&pool, kind, workers, &options), 0);
    return pool;
}

static int scenario_none_can_be_replaced(void)
{
    plait_map_failure failure;
    plait_pool *pool = must_open(PLAIT_PROCESS, 2, 1);
    forbid_new_workers();
    plait_map_call like = {.n = 50, .failure = &failure};
    CHECK_RC(map_numbers(pool, die_always, &like), PLAIT_EAGAIN);
    CHECK_EQ(failure.deaths, 2);
    CHECK_EQ(plait_pool_workers(pool), 0);
    CHECK_RC(map_call(pool, do_nothing, 5, NULL), PLAIT_EAGAIN);
    CHECK_RC(plait_pool_close(pool, PLAIT_FOREVER), 0);
    CHECK(!t_has_children());
    return 0;
}

static int scenario_the_rest_goes_on(void)
{
    plait_map_failure failure;
    plait_pool *pool = must_open(PLAIT_PROCESS, 3, 1);
    forbid_new_workers();
    plait_map_call like = {.n = 200, .failure = &failure};
    CHECK_RC(map_numbers(pool, count_and_die_at_7, &like), 0);
    CHECK_EQ(failure.deaths, 1);
    CHECK_EQ(failure.retried, 1);
    CHECK_EQ(plait_pool_workers(pool), 2);
    for (int i = 0; i < 200; i++)
        CHECK_EQ(w->tries[i], i == 7 ? 2 : 1);
    CHECK_RC(plait_pool_close(pool, PLAIT_FOREVER), 0);
    return 0;
}

static int scenario_threads_that_cannot_be_replaced(void)
{
    plait_pool *pool = must_open(PLAIT_THREAD, 2, 0);
    int in[10];
    long out[10];
    forbid_new_workers();
    for (int i = 0; i < 10; i++)
        in[i] = i;
    CHECK_RC(plait_map(pool, exit_thread_at_3, in, out, 10, PLAIT_FOREVER), PLAIT_EDIED);
    CHECK_EQ(plait_pool_workers(pool), 1);
    CHECK_RC(plait_map(pool, exit_thread_at_3, in, out, 10, PLAIT_FOREVER), PLAIT_EAGAIN);
    CHECK_RC(plait_pool_close(pool, PLAIT_FOREVER), 0);
    return 0;
}

/* Takes all of the arena but `keep` blocks of 1 MiB; returns how many blocks it took. */
static int take_all(void **blocks, int most, int keep)
{
    int n = 0;
    for (size_t size = 16 << 20; size >= 1 << 20; size /= 2)
        while (n < most && (blocks[n] = plait_alloc(size)))
            n++;
    CHECK(n >= keep);
    for (int i = 0; i < keep; i++)
        CHECK_RC(plait_free(blocks[--n]), 0);
    return n;
}

static int scenario_arena_full(void)
{
    void *blocks[256];
    plait_pool *pool = must_open(PLAIT_PROCESS, 2, 0);
    CHECK_RC(map_call(pool, do_nothing, 10, NULL), 0);
    int n = take_all(blocks, 256, 0);
    uint64_t before = blocks_now();
    char *in = calloc(64, 1 << 20), *out = calloc(64, 1 << 20);
    plait_map_call call = {
        .fn = do_nothing, .in = in, .in_size = 1 << 20, .out = out, .out_size = 1 << 20, .n = 64};
    CHECK_RC(plait_map_items(pool, &call, PLAIT_FOREVER), PLAIT_ENOMEM);
    CHECK_EQ(blocks_now(), before);
    CHECK_RC(map_call(pool, do_nothing, 10, NULL), 0); /* needs no memory */
    while (n > 0)
        CHECK_RC(plait_free(blocks[--n]), 0);
    CHECK_RC(plait_map_items(pool, &call, PLAIT_FOREVER), 0);
    CHECK_RC(plait_pool_close(pool, PLAIT_FOREVER), 0);
    free(in);
    free(out);
    return 0;
}

static int touch_both(const void *in, void *out)
{
    *(char *)out = (char)(*(const char *)in + 1);
    return 0;
}

/* Private arrays of four times the arena's size. */
static int scenario_arrays_larger_than_the_arena(void)
{
    enum { N = 128, SIZE = 1 << 20 };
    plait_pool *pool = must_open(PLAIT_PROCESS, 2, 0);
    char *in = calloc(N, SIZE), *out = calloc(N, SIZE);
    for (int i = 0; i < N; i++)
        in[(size_t)i * SIZE] = (char)i;
    plait_map_call call = {
        .fn = touch_both, .in = in, .in_size = SIZE, .out = out, .out_size = SIZE, .n = N};
    CHECK_RC(plait_map_items(pool, &call, PLAIT_FOREVER), 0);
    for (int i = 0; i < N; i++)
        CHECK_EQ(out[(size_t)i * SIZE], (char)(i + 1));
    CHECK_RC(plait_pool_close(pool, PLAIT_FOREVER), 0);
    free(in);
    free(out);
    return 0;
}

/* An item that does not fit into the arena at all. */
static int scenario_item_larger_than_the_arena(void)
{
    enum { SIZE = 100 << 20 };
    plait_pool *pool = must_open(PLAIT_PROCESS, 2, 0);
    char *in = calloc(1, SIZE);
    plait_map_call call = {.fn = do_nothing, .in = in, .in_size = SIZE, .n = 1};
    CHECK_RC(plait_map_items(pool, &call, PLAIT_FOREVER), PLAIT_ENOMEM);
    CHECK_RC(map_call(pool, do_nothing, 10, NULL), 0);
    CHECK_RC(plait_pool_close(pool, PLAIT_FOREVER), 0);
    free(in);
    return 0;
}

static const struct scenario {
    const char *name;
    int (*run)(void);
    const char *arena_size;
} scenarios[] = {
    {"none_can_be_replaced", scenario_none_can_be_replaced, NULL},
    {"the_rest_goes_on", scenario_the_rest_goes_on, NULL},
    {"threads_that_cannot_be_replaced", scenario_threads_that_cannot_be_replaced, NULL},
    {"arena_full", scenario_arena_full, "64M"},
    {"arrays_larger_than_the_arena", scenario_arrays_larger_than_the_arena, "64M"},
    {"item_larger_than_the_arena", scenario_item_larger_than_the_arena, "64M"},
};
enum { SCENARIOS = sizeof scenarios / sizeof *scenarios };

static const struct scenario *find_scenario(const char *name)
{
    for (int i = 0; i < SCENARIOS; i++)
        if (strcmp(name, scenarios[i].name) == 0)
            return &scenarios[i];
    return NULL;
}

static void try_scenario(void **state)
{
    const struct scenario *s = *state;
    assert_int_equal(run_scenario(s->name, s->arena_size), 0);
}

#define SCENARIO(test, i)                                                                          \
    {                                                                                              \
#test, try_scenario, NULL, NULL, (void *)&scenarios[i]                                     \
    }

/* map_test [SCENARIO | PATTERN]: one scenario, the tests whose names match, or all. */
int main(int argc, char **argv)
{
    const struct scenario *scenario = argc > 1 ? find_scenario(argv[1]) : NULL;
    if (scenario) {
        w = t_new(&t_processes, sizeof *w);
        _exit(scenario->run()); /* no leak check, which a process without rights cannot make */
    }
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        MAP_TEST(maps_any_number_of_items),
        MAP_TEST(each_item_is_run_exactly_once),
        MAP_TEST(items_of_any_size),
        MAP_TEST(an_array_that_is_not_given_is_null_for_items),
        MAP_TEST(arrays_in_the_arena_are_worked_on_in_place),
        MAP_TEST(private_arrays_are_copied_for_processes_only),
        MAP_TEST(one_private_array_does_not_move_the_other),
        MAP_TEST(items_see_what_out_held_before),
        MAP_TEST(in_and_out_may_be_the_same_array),
        MAP_TEST(private_arrays_larger_than_the_window),
        MAP_TEST(a_private_item_larger_than_the_window),
        MAP_TEST(nothing_and_nonsense_are_refused),
        MAP_TEST(no_items_are_done_at_once),
        MAP_TEST(the_first_failed_item_is_told_after_all_were_run),
        MAP_TEST(codes_come_back_as_they_were),
        MAP_TEST(all_items_may_fail),
        MAP_TEST(an_item_that_ends_its_worker_costs_itself_only),
        MAP_TEST(an_item_that_calls_exit_costs_itself_only),
        MAP_TEST(a_worker_process_that_goes_on_without_its_worker_is_removed),
        MAP_TEST(an_item_that_ends_its_thread_costs_itself_only),
        MAP_TEST(every_item_has_its_own_retries),
        MAP_TEST(all_items_may_kill),
        MAP_TEST(finished_items_of_a_chunk_are_not_run_again),
        MAP_TEST(a_failure_before_a_death_is_not_forgotten),
        MAP_TEST(a_worker_killed_from_outside_costs_its_item_only),
        MAP_TEST(all_workers_killed_at_once_are_replaced),
        MAP_TEST(more_workers_than_can_be_watched),
        MAP_TEST(map_keeps_its_time_and_listens),
        MAP_TEST(after_a_timeout_no_item_runs_on_and_the_pool_is_whole),
        MAP_TEST(threads_at_work_are_asked_and_waited_for),
        MAP_TEST(a_request_to_stop_does_not_reach_a_later_item),
        MAP_TEST(cancelling_the_caller_stops_its_items),
        MAP_TEST(more_callers_than_there_is_room_for),
        MAP_TEST(a_caller_that_waits_for_room_keeps_its_time),
        MAP_TEST(callers_do_not_share_failures),
        MAP_TEST(a_timeout_leaves_other_callers_alone),
        MAP_TEST(an_item_may_map_on_its_own_pool),
        MAP_TEST(a_nested_map_tells_failures_too),
        MAP_TEST(a_nested_map_keeps_its_time),
        MAP_TEST(a_timeout_ends_nested_maps_too),
        MAP_TEST(a_thread_item_may_map_on_another_pool),
        MAP_TEST(a_timeout_reaches_through_to_another_pool),
        MAP_TEST(a_process_item_cannot_use_another_pool),
        MAP_TEST(an_item_may_have_a_pool_of_its_own),
        MAP_TEST(an_item_may_fork),
        MAP_TEST(a_fork_in_the_middle_of_a_map_disturbs_nothing),
        MAP_TEST(progress_goes_up_and_ends_at_n),
        MAP_TEST(progress_does_not_go_back_when_workers_die),
        MAP_TEST(progress_may_map_on_the_same_pool),
        MAP_TEST(chunks_are_handed_out_whole),
        MAP_TEST(a_chunk_of_one_lets_items_meet),
        SCENARIO(no_replacement_to_be_had_ends_the_call, 0),
        SCENARIO(no_replacement_to_be_had_leaves_the_rest_at_work, 1),
        SCENARIO(no_thread_to_be_had_ends_the_call, 2),
        SCENARIO(a_full_arena_is_told_and_leaves_nothing, 3),
        SCENARIO(arrays_larger_than_the_arena_go_through_windows, 4),
        SCENARIO(an_item_larger_than_the_arena_is_refused, 5),
    };
    test_pid = getpid();
    w = t_new(&t_processes, sizeof *w);
    close_now(opened(PLAIT_PROCESS, 1, 0)); /* what stays open, once, is open now */
    t_delete(&t_processes, w);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
