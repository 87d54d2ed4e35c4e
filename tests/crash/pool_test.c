/* The pool when somebody is killed at every step of a map: one of its workers, or the caller.
 *
 * The invariant: a worker's death costs at most the item it ran, which is run again if that was
 * asked for; all other results are there, the pool is whole again. With the caller die its workers,
 * and nothing of theirs is left. */
#include "steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

enum { ITEMS = 24, WORKERS = 2 };

struct world {
    int in[ITEMS];
    long out[ITEMS];
    int runs[ITEMS];
};

/* --- items --- */

static int square(const void *in, void *out)
{
    int i = *(const int *)in;
    *(long *)out = (long)i * i;
    return 0;
}

static void fill(struct world *w)
{
    for (int i = 0; i < ITEMS; i++)
        w->in[i] = i + 2;
    memset(w->out, 0, sizeof w->out);
}

/* How many results are not there. */
static int missing(const struct world *w)
{
    int n = 0;
    for (int i = 0; i < ITEMS; i++)
        n += w->out[i] != (long)(i + 2) * (i + 2);
    return n;
}

/* --- the victim: it opens the pool --- */

static plait_pool *open_pool(int retries)
{
    plait_pool *pool = NULL;
    plait_pool_options options = {.retries = retries};
    int rc = plait_pool_open(&pool, PLAIT_PROCESS, WORKERS, &options);
    STEPS_EXPECT(rc == 0, "(%s)", plait_errname(rc));
    return pool;
}

static int map_once(struct world *w, plait_pool *pool, plait_map_failure *failure)
{
    plait_map_call call = {.fn = square,
                           .in = w->in,
                           .in_size = sizeof w->in[0],
                           .out = w->out,
                           .out_size = sizeof w->out[0],
                           .n = ITEMS,
                           .failure = failure};
    return plait_map_items(pool, &call, PLAIT_FOREVER);
}

static void close_pool(plait_pool *pool)
{
    int rc = plait_pool_close(pool, PLAIT_FOREVER);
    STEPS_EXPECT(rc == 0, "(%s)", plait_errname(rc));
}

static void map_with_retries(void *world, int who)
{
    struct world *w = world;
    plait_map_failure failure;
    (void)who;
    plait_pool *pool = open_pool(2);
    for (int i = 0; i < 2; i++) {
        fill(w);
        int rc = map_once(w, pool, &failure);
        STEPS_EXPECT(rc == 0 && missing(w) == 0, "(%s, %d)", plait_errname(rc), missing(w));
        STEPS_EXPECT(failure.failed == 0 && failure.retried <= 1 && failure.deaths <= 1);
    }
    STEPS_EXPECT(plait_pool_workers(pool) <= WORKERS);
    close_pool(pool);
}

static void map_without_retries(void *world, int who)
{
    struct world *w = world;
    plait_map_failure failure;
    (void)who;
    plait_pool *pool = open_pool(0);
    fill(w);
    int rc = map_once(w, pool, &failure);
    if (rc == 0)
        STEPS_EXPECT(missing(w) == 0 && failure.failed == 0, "(%d)", missing(w));
    else
        STEPS_EXPECT(rc == PLAIT_EDIED && missing(w) <= 1 && failure.failed == 1 &&
                         failure.blame.signal == 9,
                     "(%s, %d)", plait_errname(rc), missing(w));
    fill(w);
    rc = map_once(w, pool, &failure);
    STEPS_EXPECT(rc == 0 || (failure.deaths == 1 && missing(w) <= 1), "(%s)", plait_errname(rc));
    close_pool(pool);
}

static void map_and_terminate(void *world, int who)
{
    struct world *w = world;
    (void)who;
    plait_pool *pool = open_pool(0);
    fill(w);
    map_once(w, pool, NULL);
    plait_pool_terminate(pool, PLAIT_FOREVER);
}

static void doom_the_workers(void *world, int who)
{
    (void)world, (void)who;
    steps_doom_children();
}

/* --- others --- */

static void map_in_own_pool(void *world, int who)
{
    struct world *w = plait_alloc(sizeof *w);
    (void)world;
    map_with_retries(w, who);
    plait_free(w);
}

static void victim_returned(void *world)
{
    (void)world;
    int rc = plait_join(steps_victim(0), NULL, plait_seconds(5));
    STEPS_EXPECT(rc == 0, "(%s)", plait_errname(rc));
}

/* --- scenarios --- */

#define POOL .world_size = sizeof(struct world), .alone = true
#define OTHERS_MAP .late = {.processes = 1, .run = map_in_own_pool}

static const struct steps_scenario worker_with_retries = {.name =
                                                              "pool: a worker, items are retried",
                                                          POOL,
                                                          .alive = true,
                                                          .stride = 5,
                                                          .prepare = doom_the_workers,
                                                          .act = map_with_retries,
                                                          .check = victim_returned};

static const struct steps_scenario worker_without_retries = {.name = "pool: a worker, items fail",
                                                             POOL,
                                                             .alive = true,
                                                             .stride = 5,
                                                             .prepare = doom_the_workers,
                                                             .act = map_without_retries,
                                                             .check = victim_returned};

static const struct steps_scenario worker_terminated = {.name = "pool: a worker, then terminate",
                                                        POOL,
                                                        .alive = true,
                                                        .stride = 7,
                                                        .prepare = doom_the_workers,
                                                        .act = map_and_terminate,
                                                        .check = victim_returned};

static const struct steps_scenario caller = {.name = "pool: the caller",
                                             POOL,
                                             .leaks = true,
                                             .stride = 13,
                                             .act = map_with_retries,
                                             OTHERS_MAP};

static const struct steps_scenario worker_old_kernel = {.name =
                                                            "pool: a worker, without futex_waitv",
                                                        POOL,
                                                        .alive = true,
                                                        .old_kernel = true,
                                                        .stride = 11,
                                                        .prepare = doom_the_workers,
                                                        .act = map_with_retries,
                                                        .check = victim_returned};

int main(void)
{
    const struct CMUnitTest tests[] = {
        STEPS_TEST(worker_with_retries), STEPS_TEST(worker_without_retries),
        STEPS_TEST(worker_terminated),   STEPS_TEST(caller),
        STEPS_TEST(worker_old_kernel),
    };
    int rc = cmocka_run_group_tests_name("pool", tests, NULL, NULL);
    steps_print_total();
    return rc;
}
