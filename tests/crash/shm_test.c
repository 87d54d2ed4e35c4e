/* Segments when a process is killed at every step of making, attaching, detaching, unlinking and sweeping.
 *
 * The invariant: whoever comes next finds the segment whole or none; nobody hangs; and when all is swept there is no file
 * left, and no block of the arena. */
#include "harness.h"
#include "steps.h"

#include "arena/chunk.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct world {
    char name[60];
    plait_shm_options options;
    plait_shm roots, victims; /* the victim's in its own process; here for its size */
    int large;                /* large blocks at first */
};

static int large_blocks(void)
{
    int n = 0;
    uint32_t ready = pl_chunks_ready(pl_arena);
    for (uint32_t i = 0; i < ready; i++)
        n += pl_state_kind(pl_load_acquire(pl_state_at(i))) == PL_CHUNK_LARGE;
    return n;
}

static bool is_there(const char *name)
{
    char path[100];
    snprintf(path, sizeof path, "/dev/shm/plait-%s", name);
    return access(path, F_OK) == 0;
}

/* --- survivors --- */

/* Zeroed, or counted up by others: never torn. */
static void use(plait_shm *shm)
{
    plait_value *v = plait_shm_address(shm);
    int64_t n = -1;
    STEPS_EXPECT(plait_shm_size(shm) == 4000);
    STEPS_EXPECT(plait_value_add(v, 1, &n) >= 0);
    STEPS_EXPECT(n > 0 && n < 10);
}

static void use_data(plait_shm *shm)
{
    char *bytes = plait_shm_address(shm);
    STEPS_EXPECT(plait_shm_size(shm) == 4000);
    for (int i = 0; i < 4000; i++)
        STEPS_EXPECT(bytes[i] == 0);
}

static void make_or_attach(void *world, int who)
{
    struct world *w = world;
    plait_shm shm = {0};
    (void)who;
    int rc = plait_shm_create(&shm, w->name, 4000, &w->options);
    STEPS_EXPECT(rc == 0, "(%d)", rc);
    if (rc < 0)
        return;
    if (w->options.data_only)
        use_data(&shm);
    else
        use(&shm);
    STEPS_EXPECT(plait_shm_detach(&shm) == 0);
}

/* --- the victim --- */

static plait_shm held; /* by the victim */

static void create_it(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_shm_create(&held, w->name, 4000, &w->options) == 0);
}

static void attach_it(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_shm_attach(&held, w->name, &w->options) == 0);
}

static void detach_it(void *world, int who)
{
    (void)world;
    (void)who;
    STEPS_EXPECT(plait_shm_detach(&held) == 0);
}

static void unlink_it(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_shm_unlink(w->name) >= 0);
}

static void sweep(void *world, int who)
{
    (void)world;
    (void)who;
    STEPS_EXPECT(plait_shm_sweep() >= 0);
}

static void come_and_go(void *world, int who)
{
    create_it(world, who);
    detach_it(world, who);
}

/* --- the root --- */

static void begin(void *world, int data_only, int with_last)
{
    struct world *w = world;
    snprintf(w->name, sizeof w->name, "steps-%d", (int)getpid());
    w->options = (plait_shm_options){.data_only = data_only, .unlink_with_last = with_last};
    w->large = large_blocks();
}

static void none(void *world)
{
    begin(world, 0, 0);
}

static void none_with_last(void *world)
{
    begin(world, 0, 1);
}

static void none_of_data(void *world)
{
    begin(world, 1, 1);
}

static void root_has_it(void *world)
{
    struct world *w = world;
    begin(world, 0, 0);
    STEPS_EXPECT(plait_shm_create(&w->roots, w->name, 4000, &w->options) == 0);
}

static void root_had_it(void *world)
{
    struct world *w = world;
    root_has_it(world);
    STEPS_EXPECT(plait_shm_detach(&w->roots) == 0);
}

/* Everything goes; the dead may not be gone wholly yet. */
static void nothing_is_left(void *world)
{
    struct world *w = world;
    if (plait_shm_address(&w->roots)) {
        *(char *)plait_shm_address(&w->roots) = 1; /* still ours */
        STEPS_EXPECT(plait_shm_detach(&w->roots) == 0);
    }
    int rc = plait_shm_unlink(w->name);
    STEPS_EXPECT(rc >= 0 || rc == PLAIT_ENOENT, "(%d)", rc);
    int64_t until = plait_now() + plait_seconds(3);
    do {
        STEPS_EXPECT(plait_shm_sweep() >= 0);
        pl_sweep(0);
    } while ((large_blocks() != w->large || plait_shm_list(NULL, 0) > 0) && plait_now() < until &&
             sched_yield() == 0);
    STEPS_EXPECT(!is_there(w->name));
    STEPS_EXPECT(large_blocks() == w->large, "(%d of %d)", large_blocks(), w->large);
    STEPS_EXPECT(plait_shm_list(NULL, 0) == 0);
}

/* --- scenarios --- */

#define SHM .world_size = sizeof(struct world), .check = nothing_is_left
#define NEWCOMERS                                                                                  \
    {                                                                                              \
        .threads = 1, .processes = 1, .run = make_or_attach                                        \
    }

static const struct steps_scenario making = {
    .name = "shm: create", SHM, .setup = none, .act = create_it, .late = NEWCOMERS};

static const struct steps_scenario making_with_last = {.name = "shm: create and detach, the last",
                                                       SHM,
                                                       .setup = none_with_last,
                                                       .act = come_and_go,
                                                       .late = NEWCOMERS};

static const struct steps_scenario making_data = {.name = "shm: create and detach, data only",
                                                  SHM,
                                                  .setup = none_of_data,
                                                  .act = come_and_go,
                                                  .late = NEWCOMERS};

static const struct steps_scenario attaching = {
    .name = "shm: attach", SHM, .setup = root_has_it, .act = attach_it, .late = NEWCOMERS};

static const struct steps_scenario leaving = {.name = "shm: detach, others stay",
                                              SHM,
                                              .setup = root_has_it,
                                              .prepare = attach_it,
                                              .act = detach_it,
                                              .late = NEWCOMERS};

static const struct steps_scenario unlinking = {
    .name = "shm: unlink", SHM, .setup = root_had_it, .act = unlink_it, .late = NEWCOMERS};

static const struct steps_scenario unlinking_held = {.name = "shm: unlink while others hold it",
                                                     SHM,
                                                     .setup = root_has_it,
                                                     .act = unlink_it,
                                                     .late = NEWCOMERS};

/* The victim made it, for others to find it left over; it is killed while it still makes it, or at sweeping. */
static void create_and_unlink(void *world, int who)
{
    create_it(world, who);
    unlink_it(world, who);
}

static const struct steps_scenario unlinking_own = {.name = "shm: create, unlink, detach",
                                                    SHM,
                                                    .setup = none,
                                                    .prepare = create_and_unlink,
                                                    .act = detach_it,
                                                    .late = NEWCOMERS};

/* A child of the root makes it and dies, the victim sweeps. */
static void leave_one_behind(void *world)
{
    struct world *w = world;
    none_with_last(world);
    pid_t pid = fork();
    if (pid == 0) {
        plait_shm shm = {0};
        _exit(plait_shm_create(&shm, w->name, 4000, &w->options) == 0 ? 0 : 1);
    }
    int status = -1;
    STEPS_EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
    STEPS_EXPECT(is_there(w->name));
}

static const struct steps_scenario sweeping = {
    .name = "shm: sweep", SHM, .setup = leave_one_behind, .act = sweep, .late = NEWCOMERS};

static const struct steps_scenario replacing = {.name = "shm: create over a leftover",
                                                SHM,
                                                .setup = leave_one_behind,
                                                .act = create_it,
                                                .late = NEWCOMERS};

/* Two at once, drawn steps. */
static const struct steps_scenario at_random = {.name = "shm: several come and go",
                                                SHM,
                                                .victims = 3,
                                                .setup = none_with_last,
                                                .act = come_and_go,
                                                .late = NEWCOMERS};

static int print_total(void **state)
{
    (void)state;
    steps_print_total();
    return 0;
}

int main(void)
{
    if (!t_private_shm()) /* what is left is counted */
        return 77;
    const struct CMUnitTest tests[] = {
        STEPS_TEST(making),
        STEPS_TEST(making_with_last),
        STEPS_TEST(making_data),
        STEPS_TEST(attaching),
        STEPS_TEST(leaving),
        STEPS_TEST(unlinking),
        STEPS_TEST(unlinking_held),
        STEPS_TEST(unlinking_own),
        STEPS_TEST(sweeping),
        STEPS_TEST(replacing),
        STEPS_RANDOM_TEST(at_random),
        STEPS_STORES_TEST(leaving),
        STEPS_STORES_TEST(unlinking_held),
    };
    return cmocka_run_group_tests(tests, NULL, print_total);
}
