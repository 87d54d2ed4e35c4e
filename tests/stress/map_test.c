/* plait_map while workers are killed at random.
 *
 * Invariants, exact: out[i] is right for every i; every item was completed, and completed once more
 * only if the call says that it repeated a run (begun <= n + retried); retried <= deaths; no item
 * fails while its retries last; a call that times out or is cancelled disturbs no other; nothing is left.
 *
 * The killer is a thread that picks worker processes of the pool from plait_enumerate. */
#include "harness.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MANY = 1 << 30, /* retries */
    CALLERS = 6,
    MOST = 20000, /* items of a call */
};

/* One call's items note in `begun` and `done` how often they were run; in the arena. */
struct item {
    uint32_t number;
    uint32_t place;
};
struct counts {
    int begun[MOST], done[MOST];
};

static struct world {
    int stop;           /* callers and killer: finish */
    long kills, wanted; /* workers killed so far; how many are wanted */
    long mishaps;
    uint64_t seed;
    int64_t item_ns;
    int paced_by; /* items of the call; each waits for its share of the kills. 0: none waits */
    plait_pool *pool;
    struct counts *counts[CALLERS];
} * w;

static plait_pool *opened(int kind, int workers, int retries)
{
    plait_pool *pool = NULL;
    plait_pool_options options = {.retries = retries, .name = "prey"};
    CHECK_RC(plait_pool_open(&pool, kind, workers, &options), 0);
    return pool;
}

static void close_now(plait_pool *pool)
{
    CHECK_RC(plait_pool_close(pool, plait_seconds(T_PATIENCE_S)), 0);
}

static uint64_t blocks_now(void)
{
    plait_arena_statistics s;
    CHECK_RC(plait_arena_stats(&s), 0);
    return s.blocks;
}

/* --- the killer --- */

static bool is_prey(plait_worker worker)
{
    char name[PLAIT_NAME_SIZE] = "";
    return plait_kind_of(worker) == PLAIT_PROCESS && plait_name(worker, name, sizeof name) == 0 &&
           strncmp(name, "prey-", 5) == 0;
}

static bool kill_one(uint64_t *seed)
{
    enum { ALL = 256 };
    plait_worker all[ALL], prey[ALL];
    int n = plait_enumerate(all, ALL), found = 0;
    for (int i = 0; i < n && i < ALL; i++)
        if (is_prey(all[i]))
            prey[found++] = all[i];
    return found && plait_kill(prey[t_below(seed, found)]) == 0;
}

static int kill_at_random(void *arg)
{
    uint64_t seed = w->seed;
    (void)arg;
    while (!SEEN(w->stop) && SEEN(w->kills) < w->wanted) {
        if (kill_one(&seed))
            ADD(w->kills, 1);
        t_sleep(t_below(&seed, 3) ? t_below(&seed, 300 * 1000) : 0);
    }
    TELL(w->stop, 1);
    return 0;
}

/* --- items and calls --- */

static void work_for(int64_t ns)
{
    int64_t end = plait_now() + ns;
    while (plait_now() < end)
        ;
}

static uint64_t mixed(uint64_t x)
{
    uint64_t state = x;
    return t_random(&state);
}

/* TSan in a forked worker does not see what orders it after the parent's threads. */
#define UNSEEN __attribute__((no_sanitize("thread"), noinline))

static UNSEEN struct item get_item(const void *in)
{
    struct item item;
    __builtin_memcpy(&item, in, sizeof item);
    return item;
}

static UNSEEN void put_hash(void *out, uint64_t hash)
{
    __builtin_memcpy(out, &hash, sizeof hash);
}

/* in: a number and the item's place; out: begins with a hash of it. */
static int hash_item(const void *in, void *out)
{
    struct item item = get_item(in);
    struct counts *counts = w->counts[item.number >> 24];
    COUNT(counts->begun[item.place]);
    if (w->paced_by)
        UNTIL(SEEN(w->kills) >= w->wanted * (long)item.place / w->paced_by);
    if (w->item_ns)
        work_for((int64_t)(mixed(item.number) % (uint64_t)w->item_ns));
    put_hash(out, mixed(item.number));
    COUNT(counts->done[item.place]);
    return 0;
}

/* One call's arrays and options. */
struct call {
    int caller;
    size_t n, in_size, out_size, chunk;
    bool private_in, private_out;
};

static void *new_array(size_t size, bool is_private)
{
    return is_private ? calloc(1, size) : t_new(&t_processes, size);
}

static void delete_array(void *array, bool is_private)
{
    if (is_private)
        free(array);
    else
        t_delete(&t_processes, array);
}

static void check_results(const struct call *c, const char *in, const char *out,
                          const plait_map_failure *failure)
{
    struct counts *counts = w->counts[c->caller];
    long begun = 0;
    for (size_t i = 0; i < c->n; i++) {
        struct item item;
        uint64_t hash;
        memcpy(&item, in + i * c->in_size, sizeof item);
        memcpy(&hash, out + i * c->out_size, sizeof hash);
        if (hash != mixed(item.number) || counts->done[i] < 1)
            t_die(__FILE__, __LINE__, "item %zu of %zu: done %d times, result %s", i, c->n,
                  counts->done[i], hash == mixed(item.number) ? "right" : "wrong");
        begun += counts->begun[i];
    }
    CHECK(begun >= (long)c->n && begun <= (long)(c->n + failure->retried));
    CHECK(failure->retried <= failure->deaths);
    CHECK_EQ(failure->failed, 0);
    CHECK_EQ(failure->code, 0);
}

static void run_call(plait_pool *pool, const struct call *c)
{
    plait_map_failure failure;
    char *in = new_array(c->n * c->in_size, c->private_in);
    char *out = new_array(c->n * c->out_size, c->private_out);
    memset(w->counts[c->caller], 0, sizeof *w->counts[0]);
    for (size_t i = 0; i < c->n; i++) {
        struct item item = {(uint32_t)c->caller << 24 | (uint32_t)(i * 7 + c->n), (uint32_t)i};
        memcpy(in + i * c->in_size, &item, sizeof item);
    }
    plait_map_call call = {.fn = hash_item,
                           .in = in,
                           .in_size = c->in_size,
                           .out = out,
                           .out_size = c->out_size,
                           .n = c->n,
                           .chunk = c->chunk,
                           .failure = &failure};
    CHECK_RC(plait_map_items(pool, &call, plait_seconds(T_PATIENCE_S)), 0);
    check_results(c, in, out, &failure);
    delete_array(in, c->private_in);
    delete_array(out, c->private_out);
}

/* Calls of all sizes; now and then one whose private arrays take several windows. */
static struct call random_call(int caller, uint64_t *seed)
{
    static const size_t sizes[] = {8, 12, 16, 40, 100, 1000, 4096};
    static const size_t numbers[] = {1, 2, 10, 100, 1000, 3000};
    struct call c = {
        .caller = caller,
        .n = numbers[t_below(seed, 6)],
        .in_size = sizes[t_below(seed, 7)],
        .out_size = sizes[t_below(seed, 7)],
        .chunk = t_below(seed, 2) ? (size_t)t_below(seed, 40) : 0,
        .private_in = t_below(seed, 2),
        .private_out = t_below(seed, 2),
    };
    if (t_below(seed, 30) == 0) {
        c.n = 6000;
        c.in_size = c.out_size = 4096;
    }
    return c;
}

static int call_at_random(void *arg)
{
    int caller = (int)(intptr_t)arg;
    uint64_t seed = w->seed + 1000 + (uint64_t)caller;
    while (!SEEN(w->stop)) {
        struct call c = random_call(caller, &seed);
        run_call(w->pool, &c);
    }
    return 0;
}

/* --- the tests --- */

static uint64_t begin(int64_t item_ns, long kills)
{
    w = t_new(&t_processes, sizeof *w);
    w->seed = t_seed();
    w->item_ns = item_ns;
    w->wanted = kills;
    for (int i = 0; i < CALLERS; i++)
        w->counts[i] = t_new(&t_processes, sizeof *w->counts[0]);
    return blocks_now();
}

static void end(uint64_t blocks)
{
    CHECK(!t_has_children());
    CHECK_EQ(blocks_now(), blocks);
    for (int i = 0; i < CALLERS; i++)
        t_delete(&t_processes, w->counts[i]);
    t_delete(&t_processes, w);
}

/* One call after the other, until the killer has done its rounds. */
static void a_thousand_kills_of_random_workers_during_maps(void **state)
{
    (void)state;
    uint64_t blocks = begin(20 * 1000, t_scaled(1000));
    plait_pool *pool = opened(PLAIT_PROCESS, 4, MANY);
    plait_worker killer = t_start_one(PLAIT_THREAD, kill_at_random, NULL);
    while (!SEEN(w->stop)) {
        struct call c = {.n = 2000, .in_size = sizeof(struct item), .out_size = 8};
        run_call(pool, &c);
    }
    CHECK_EQ(t_join_one(killer), 0);
    CHECK(SEEN(w->kills) >= w->wanted);
    struct call c = {.n = MOST, .in_size = sizeof(struct item), .out_size = 8};
    run_call(pool, &c);
    close_now(pool);
    end(blocks);
}

/* All within one call: more items meet a death than any table would hold. */
static void a_thousand_kills_within_one_call(void **state)
{
    (void)state;
    uint64_t blocks = begin(0, t_scaled(1000));
    w->paced_by = 5000;
    plait_pool *pool = opened(PLAIT_PROCESS, 3, MANY);
    plait_worker killer = t_start_one(PLAIT_THREAD, kill_at_random, NULL);
    struct call c = {.n = 5000, .in_size = sizeof(struct item), .out_size = 8, .private_out = true};
    run_call(pool, &c);
    TELL(w->stop, 1);
    CHECK_EQ(t_join_one(killer), 0);
    CHECK(SEEN(w->kills) >= w->wanted * 4999 / 5000);
    close_now(pool);
    end(blocks);
}

static void several_callers_of_all_sizes_while_workers_are_killed(void **state)
{
    plait_worker callers[CALLERS];
    (void)state;
    uint64_t blocks = begin(10 * 1000, t_scaled(t_is_sanitized() ? 100 : 300));
    w->pool = opened(PLAIT_PROCESS, 3, MANY);
    for (int i = 0; i < CALLERS; i++)
        callers[i] = t_start_one(PLAIT_THREAD, call_at_random, (void *)(intptr_t)i);
    plait_worker killer = t_start_one(PLAIT_THREAD, kill_at_random, NULL);
    for (int i = 0; i < CALLERS; i++)
        CHECK_EQ(t_join_one(callers[i]), 0);
    CHECK_EQ(t_join_one(killer), 0);
    close_now(w->pool);
    end(blocks);
}

/* --- callers that give up --- */

static int note_request(const void *in, void *out)
{
    (void)in;
    (void)out;
    if (plait_cancelling())
        ADD(w->mishaps, 1);
    work_for(30 * 1000);
    if (plait_checkpoint() != 0)
        ADD(w->mishaps, 1);
    return 0;
}

/* Items that last about as long as the caller's patience. */
static int last_a_while(const void *in, void *out)
{
    (void)in;
    (void)out;
    work_for(w->item_ns);
    return 0;
}

static int give_up_again_and_again(void *arg)
{
    uint64_t seed = w->seed + (uint64_t)(intptr_t)arg;
    while (!SEEN(w->stop)) {
        plait_map_call call = {.fn = last_a_while, .n = 4, .chunk = 1};
        int rc = plait_map_items(w->pool, &call, w->item_ns / 2 + t_below(&seed, (int)w->item_ns));
        CHECK(rc == 0 || rc == PLAIT_ETIMEDOUT);
    }
    return 0;
}

/* Whoever gives up, kills or cancels for itself only: with no retries, each item of the other call
 * must be done, and no request to stop may reach it. */
static void callers_that_give_up_disturb_no_other(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        uint64_t blocks = begin(60 * 1000, 0);
        plait_worker fickle[2];
        w->pool = opened(kind, 3, 0);
        for (int i = 0; i < 2; i++)
            fickle[i] =
                t_start_one(PLAIT_THREAD, give_up_again_and_again, (void *)(intptr_t)(i + 1));
        for (long round = 0; round < t_scaled(300); round++) {
            plait_map_failure failure;
            plait_map_call call = {.fn = note_request, .n = 10, .chunk = 1, .failure = &failure};
            CHECK_RC(plait_map_items(w->pool, &call, PLAIT_FOREVER), 0);
            CHECK_EQ(failure.deaths + failure.retried, 0);
        }
        TELL(w->stop, 1);
        for (int i = 0; i < 2; i++)
            CHECK_EQ(t_join_one(fickle[i]), 0);
        CHECK_EQ(SEEN(w->mishaps), 0);
        close_now(w->pool);
        end(blocks);
    }
}

static int wait_a_while(const void *in, void *out)
{
    static plait_event never;
    (void)in;
    (void)out;
    return plait_event_wait(&never, PLAIT_FOREVER);
}

/* Threads that wait in a plait call must hear of the timeout, wherever it meets them. */
static void a_timeout_finds_waiting_threads_at_any_moment(void **state)
{
    (void)state;
    uint64_t blocks = begin(0, 0);
    uint64_t seed = w->seed;
    plait_pool *pool = opened(PLAIT_THREAD, 2, 0);
    for (long i = 0; i < t_scaled(2000); i++) {
        plait_map_call call = {.fn = wait_a_while, .n = 3, .chunk = 1};
        CHECK_RC(plait_map_items(pool, &call, t_below(&seed, 50 * 1000)), PLAIT_ETIMEDOUT);
    }
    close_now(pool);
    end(blocks);
}

/* --- cancelled callers --- */

struct listener {
    int rc, asked;
};

/* Whatever the map returned, the request must be told exactly once, by it or after it. */
static int map_and_listen(void *arg)
{
    struct listener *l = arg;
    plait_map_call call = {.fn = last_a_while, .n = 6, .chunk = 1};
    l->rc = plait_map_items(w->pool, &call, PLAIT_FOREVER);
    UNTIL(SEEN(l->asked));
    CHECK(l->rc == 0 || l->rc == PLAIT_ECANCELED);
    CHECK_RC(plait_checkpoint(), l->rc == 0 ? PLAIT_ECANCELED : 0);
    return 0;
}

static void a_request_to_stop_is_told_exactly_once(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        uint64_t blocks = begin(50 * 1000, 0);
        uint64_t seed = w->seed;
        w->pool = opened(kind, 2, 0);
        for (long i = 0; i < t_scaled(300); i++) {
            struct listener l = {0};
            plait_worker caller = t_start_one(PLAIT_THREAD, map_and_listen, &l);
            work_for(t_below(&seed, 300 * 1000));
            CHECK_RC(plait_cancel(caller), 0);
            TELL(l.asked, 1);
            CHECK_EQ(t_join_one(caller), 0);
        }
        close_now(w->pool);
        end(blocks);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thousand_kills_of_random_workers_during_maps),
        cmocka_unit_test(a_thousand_kills_within_one_call),
        cmocka_unit_test(several_callers_of_all_sizes_while_workers_are_killed),
        cmocka_unit_test(callers_that_give_up_disturb_no_other),
        cmocka_unit_test(a_timeout_finds_waiting_threads_at_any_moment),
        cmocka_unit_test(a_request_to_stop_is_told_exactly_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
