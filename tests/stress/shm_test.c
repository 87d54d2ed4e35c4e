/* Segments under a crowd: many workers attach, count and detach, under three names at once; others come and go in between.
 *
 * The invariant: every count is found again, and when all is unlinked no file and no block is left. */
#include "harness.h"

#include "arena/alloc.h"

#include <stdio.h>
#include <unistd.h>

enum { NAMES = 3, WORKERS = 6 };

struct crowd {
    char names[NAMES][60];
    uint64_t seed;
    long rounds;
    long counted;
};

static void count(const char *name)
{
    plait_shm shm = {0};
    CHECK_RC(plait_shm_create(&shm, name, sizeof(plait_value), NULL), 0);
    CHECK(plait_value_add(plait_shm_address(&shm), 1, NULL) >= 0);
    CHECK_RC(plait_shm_detach(&shm), 0);
}

/* One that nobody else knows, ended in each of the ways there are. */
static void come_and_go(uint64_t *random)
{
    plait_shm shm = {0}, again = {0};
    plait_shm_options o = {.data_only = t_below(random, 2), .unlink_with_last = t_below(random, 2)};
    CHECK_RC(plait_shm_create(&shm, NULL, 100 + (size_t)t_below(random, 100000), &o), 0);
    unsigned char *bytes = plait_shm_address(&shm);
    CHECK(bytes[0] == 0 && bytes[99] == 0);
    bytes[99] = 7;
    CHECK_RC(plait_shm_attach(&again, plait_shm_name(&shm), &o), 0);
    CHECK_EQ(((unsigned char *)plait_shm_address(&again))[99], 7);
    if (!o.unlink_with_last)
        CHECK_RC(plait_shm_unlink(plait_shm_name(&shm)), 1);
    CHECK_RC(plait_shm_detach(&shm), 0);
    CHECK_EQ(((unsigned char *)plait_shm_address(&again))[99], 7);
    CHECK_RC(plait_shm_detach(&again), 0);
}

static int mingle(void *arg)
{
    struct crowd *c = arg;
    uint64_t random = c->seed ^ (uint64_t)plait_self().slot * 0x9e3779b97f4a7c15;
    for (long i = 0; i < c->rounds; i++) {
        if (t_below(&random, 4) == 0) {
            come_and_go(&random);
            continue;
        }
        count(c->names[t_below(&random, NAMES)]);
        COUNT(c->counted);
        t_give_way();
    }
    return 0;
}

static void every_count_is_found_and_nothing_is_left(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    FOR_EACH_SETTING(s)
    {
        struct crowd *c = t_new(s->shared ? s : &t_threads, sizeof *c);
        struct t_team team;
        plait_arena_statistics before, after;
        long sum = 0;
        c->seed = seed;
        c->rounds = t_rounds(400);
        for (int i = 0; i < NAMES; i++)
            snprintf(c->names[i], sizeof c->names[i], "stress-%d-%d", (int)getpid(), i);
        CHECK_RC(plait_arena_stats(&before), 0);
        t_start(&team, s, WORKERS, mingle, c);
        t_join(&team);
        for (int i = 0; i < NAMES; i++) {
            plait_shm shm = {0};
            int64_t n;
            int rc = plait_shm_attach(&shm, c->names[i], NULL);
            if (rc == PLAIT_ENOENT)
                continue;
            CHECK_RC(rc, 0);
            CHECK_RC(plait_value_get(plait_shm_address(&shm), &n), 0);
            sum += (long)n;
            CHECK_RC(plait_shm_unlink(c->names[i]), 1);
            CHECK_RC(plait_shm_detach(&shm), 0);
        }
        CHECK_EQ(sum, SEEN(c->counted));
        CHECK_RC(plait_arena_stats(&after), 0);
        CHECK(after.chunks_in_use <= before.chunks_in_use + WORKERS * 4); /* of the workers' own */
        CHECK(pl_alloc_valid());
        CHECK(plait_shm_sweep() == 0);
        CHECK(plait_shm_list(NULL, 0) == 0);
        t_delete(s->shared ? s : &t_threads, c);
    }
}

int main(int argc, char **argv)
{
    t_arguments(argc, argv);
    if (!t_private_shm()) /* what is left is counted */
        return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_count_is_found_and_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
