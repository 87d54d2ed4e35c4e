/* Starting, ending and joining workers when somebody is killed at every step of it: the parent, the
 * child in its beginning and its end, the joiner.
 *
 * The invariant: children die with their parent, unless detached; every join ends, with the truth or
 * with PLAIT_ESTALE; in the end every entry of the worker table is free again, nothing is left of
 * the arguments, and no process. The harness looks for what is left; the rest is asked here. */
#include "steps.h"

#include "worker/begin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STATUS = 7 };

struct world {
    plait_worker child;
    uint32_t child_known; /* child is written */
    uint32_t may_leave;   /* children that wait end */
    uint32_t runs;        /* children that began their function */
    uint32_t joined;      /* survivors' joins that brought a result */
    uint32_t stale;       /* that came too late */
    uint32_t returned;    /* of the results: that it returned */
};

static uint32_t seen(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static void add(uint32_t *word)
{
    __atomic_add_fetch(word, 1, __ATOMIC_SEQ_CST);
}

/* --- children --- */

static int come_and_go(void *world)
{
    add(&((struct world *)world)->runs);
    return STATUS;
}

static int stay_for_long(void *world)
{
    struct world *w = world;
    add(&w->runs);
    while (!seen(&w->may_leave))
        usleep(300);
    return STATUS;
}

static int check_copy(void *copy)
{
    return memcmp(copy, "an argument", 12) == 0 ? STATUS : 1;
}

/* --- the victim starts --- */

static void note_child(struct world *w, plait_worker child)
{
    w->child = child;
    __atomic_store_n(&w->child_known, 1, __ATOMIC_SEQ_CST);
}

static void begin(struct world *w, int kind, plait_function *fn, const plait_options *options)
{
    plait_worker child;
    int rc = plait_start(&child, kind, fn, w, options);
    STEPS_EXPECT(rc == 0, "(%s)", plait_errname(rc));
    note_child(w, child);
}

static void begin_process(void *world, int who)
{
    (void)who;
    begin(world, PLAIT_PROCESS, stay_for_long, NULL);
}

static void begin_thread(void *world, int who)
{
    (void)who;
    begin(world, PLAIT_THREAD, stay_for_long, NULL);
}

static void begin_detached(void *world, int who)
{
    (void)who;
    begin(world, PLAIT_PROCESS, stay_for_long, &(plait_options){.detach = true});
}

static void begin_by_zygote(void *world, int who)
{
    (void)who;
    begin(world, PLAIT_PROCESS, stay_for_long, &(plait_options){.start_method = PLAIT_ZYGOTE});
}

static void begin_by_spawn(void *world, int who)
{
    (void)who;
    begin(world, PLAIT_PROCESS, stay_for_long, &(plait_options){.start_method = PLAIT_SPAWN});
}

static void begin_detached_by_zygote(void *world, int who)
{
    (void)who;
    begin(world, PLAIT_PROCESS, stay_for_long,
          &(plait_options){.detach = true, .start_method = PLAIT_ZYGOTE});
}

static void begin_detached_by_spawn(void *world, int who)
{
    (void)who;
    begin(world, PLAIT_PROCESS, stay_for_long,
          &(plait_options){.detach = true, .start_method = PLAIT_SPAWN});
}

/* So that there is a zygote, and it is the next start that is tried. */
static void begin_another_before(void *world, int who)
{
    plait_worker child;
    (void)who;
    plait_options options = {.start_method = PLAIT_ZYGOTE};
    STEPS_EXPECT(plait_start(&child, PLAIT_PROCESS, come_and_go, world, &options) == 0);
    STEPS_EXPECT(plait_join(child, NULL, PLAIT_FOREVER) == 0);
}

static void begin_short_by_zygote_and_join(void *world, int who)
{
    struct world *w = world;
    begin_another_before(world, who);
    begin(w, PLAIT_PROCESS, come_and_go, &(plait_options){.start_method = PLAIT_ZYGOTE});
    STEPS_EXPECT(plait_join(w->child, NULL, PLAIT_FOREVER) == 0);
}

static void begin_with_copy_by(struct world *w, int method)
{
    char text[] = "an argument";
    plait_worker child;
    plait_options options = {.arg_size = sizeof text, .start_method = method};
    STEPS_EXPECT(plait_start(&child, PLAIT_PROCESS, check_copy, text, &options) == 0);
    note_child(w, child);
}

static void begin_with_copy(void *world, int who)
{
    (void)who;
    begin_with_copy_by(world, PLAIT_FORK);
}

static void begin_with_copy_by_zygote(void *world, int who)
{
    (void)who;
    begin_with_copy_by(world, PLAIT_ZYGOTE);
}

static void begin_with_copy_by_spawn(void *world, int who)
{
    (void)who;
    begin_with_copy_by(world, PLAIT_SPAWN);
}

static void begin_short_and_join(void *world, int who)
{
    struct world *w = world;
    plait_blame blame = {0};
    (void)who;
    begin(w, PLAIT_PROCESS, come_and_go, NULL);
    int rc = plait_join(w->child, &blame, PLAIT_FOREVER);
    if (rc == 0)
        STEPS_EXPECT(blame.status == STATUS && blame.returned);
    else
        STEPS_EXPECT(rc == PLAIT_DIED && blame.signal == SIGKILL && blame.status == -SIGKILL,
                     "(%s)", plait_errname(rc));
}

static void begin_copy_and_join(void *world, int who)
{
    struct world *w = world;
    begin_with_copy(w, who);
    int rc = plait_join(w->child, NULL, PLAIT_FOREVER);
    STEPS_EXPECT(rc == 0 || rc == PLAIT_DIED, "(%s)", plait_errname(rc));
}

/* A zombie, which nobody has collected yet. */
static void await_zombie(plait_worker child)
{
    siginfo_t info;
    int pid = plait_pid(child);
    while (pid > 0 && waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
        ;
}

static void begin_short_and_await_zombie(void *world, int who)
{
    struct world *w = world;
    (void)who;
    begin(w, PLAIT_PROCESS, come_and_go, NULL);
    await_zombie(w->child);
}

static void begin_short_detached(void *world, int who)
{
    struct world *w = world;
    (void)who;
    begin(w, PLAIT_PROCESS, come_and_go, &(plait_options){.detach = true});
    await_zombie(w->child);
}

static void begin_short_and_let_others_join(void *world, int who)
{
    struct world *w = world;
    (void)who;
    begin(w, PLAIT_PROCESS, come_and_go, NULL);
    while (seen(&w->joined) + seen(&w->stale) < 2)
        usleep(300);
}

static void doom_the_child(void *world, int who)
{
    (void)world, (void)who;
    steps_doom_children();
}

/* --- the victim joins --- */

static void begin_long(void *world, int who)
{
    (void)who;
    begin(world, PLAIT_PROCESS, stay_for_long, NULL);
}

static void join_it(void *world, int who)
{
    struct world *w = world;
    plait_blame blame = {0};
    (void)who;
    int rc = plait_join(w->child, &blame, PLAIT_FOREVER);
    STEPS_EXPECT(rc == 0 && blame.status == STATUS, "(%s)", plait_errname(rc));
}

/* --- the victim ends --- */

static void return_from_it(void *world, int who)
{
    (void)world, (void)who;
    steps_stay_armed();
}

static void exit_from_it(void *world, int who)
{
    (void)world, (void)who;
    steps_stay_armed();
    exit(3);
}

static void return_with_a_child(void *world, int who)
{
    (void)who;
    begin(world, PLAIT_PROCESS, come_and_go, NULL);
    steps_stay_armed();
}

/* --- survivors --- */

static void note_result(struct world *w, int rc, const plait_blame *blame)
{
    if (rc == PLAIT_ESTALE) {
        add(&w->stale);
        return;
    }
    STEPS_EXPECT(rc == 0 || rc == PLAIT_DIED, "(%s)", plait_errname(rc));
    STEPS_EXPECT((rc == 0) == blame->returned);
    add(&w->joined);
    if (blame->returned)
        add(&w->returned);
}

static void join_the_child(void *world, int who)
{
    struct world *w = world;
    plait_blame blame = {0};
    (void)who;
    while (!seen(&w->child_known))
        usleep(300);
    note_result(w, plait_join(w->child, &blame, PLAIT_FOREVER), &blame);
}

static void join_the_victim(void *world, int who)
{
    struct world *w = world;
    plait_blame blame = {0};
    (void)who;
    int rc = plait_join(steps_victim(0), &blame, PLAIT_FOREVER);
    bool unknown = blame.signal == 0 && blame.status == -1; /* as strangers may hear */
    if (rc == PLAIT_DIED)
        STEPS_EXPECT(blame.signal == SIGKILL || blame.status == 3 || unknown, "(%d, %d)",
                     blame.signal, blame.status);
    note_result(w, rc, &blame);
}

static void begin_and_join_own(void *world, int who)
{
    struct world *w = world;
    plait_worker child;
    plait_blame blame = {0};
    (void)who;
    STEPS_EXPECT(plait_start(&child, PLAIT_PROCESS, come_and_go, w, NULL) == 0);
    STEPS_EXPECT(plait_join(child, &blame, PLAIT_FOREVER) == 0 && blame.status == STATUS);
}

/* --- the root --- */

static void let_children_leave(void *world)
{
    add(&((struct world *)world)->may_leave);
}

static bool is_child_gone(void *world)
{
    struct world *w = world;
    return !plait_is_alive(w->child);
}

/* Its parent is dead; nobody has told it. */
static void child_dies_with_it(void *world)
{
    struct world *w = world;
    if (w->child_known)
        STEPS_EXPECT(steps_await(is_child_gone, w), "(the child outlives its parent)");
}

static void child_lives_on(void *world)
{
    struct world *w = world;
    if (w->child_known)
        STEPS_EXPECT(plait_is_alive(w->child) == 1, "(a detached child dies with its parent)");
    let_children_leave(w);
}

static void root_begins(void *world)
{
    begin(world, PLAIT_PROCESS, stay_for_long, NULL);
}

static void root_joins_what_is_left(void *world)
{
    struct world *w = world;
    plait_blame blame = {0};
    int rc = plait_join(w->child, &blame, plait_seconds(5));
    STEPS_EXPECT((rc == 0 && blame.status == STATUS) || rc == PLAIT_ESTALE, "(%s)",
                 plait_errname(rc));
}

/* Its own child dies with the victim; or has returned before, or has been joined. */
static void root_joins_the_victims(void *world)
{
    struct world *w = world;
    plait_blame blame = {0};
    int rc = plait_join(w->child, &blame, plait_seconds(5));
    STEPS_EXPECT((rc == 0 && blame.status == STATUS) || rc == PLAIT_DIED || rc == PLAIT_ESTALE,
                 "(%s)", plait_errname(rc));
    STEPS_EXPECT(plait_join(w->child, NULL, PLAIT_NOWAIT) == PLAIT_ESTALE);
}

static bool is_victim_dead(void *unused)
{
    (void)unused;
    return steps_is_dead(0);
}

/* While a child is held in the middle of its beginning, its parent dies and others look around. */
static void kill_the_parent_and_sweep(void *world)
{
    (void)world;
    kill(plait_pid(steps_victim(0)), SIGKILL);
    STEPS_EXPECT(steps_await(is_victim_dead, NULL));
    for (int i = 0; i < 3; i++)
        pl_sweep(0);
}

/* --- what must be --- */

static void all_who_waited_agree(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(w->joined >= 1 && w->joined + w->stale == 4, "(%u, %u)", w->joined, w->stale);
    STEPS_EXPECT(w->returned == 0 || w->returned == w->joined);
    STEPS_EXPECT(plait_join(steps_victim(0), NULL, PLAIT_NOWAIT) == PLAIT_ESTALE);
}

static void both_got_it(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(w->joined >= 1 && w->joined + w->stale == 2, "(%u, %u)", w->joined, w->stale);
    STEPS_EXPECT(w->returned == 0 || w->returned == w->joined);
    plait_join(steps_victim(0), NULL, plait_seconds(5));
}

static void victim_returned(void *world)
{
    (void)world;
    int rc = plait_join(steps_victim(0), NULL, plait_seconds(5));
    STEPS_EXPECT(rc == 0, "(%s)", plait_errname(rc));
}

static void victim_ended_somehow(void *world)
{
    (void)world;
    int rc = plait_join(steps_victim(0), NULL, plait_seconds(5));
    STEPS_EXPECT(rc == 0 || rc == PLAIT_DIED, "(%s)", plait_errname(rc));
}

/* --- scenarios --- */

#define WORKER .world_size = sizeof(struct world)
#define OTHERS_START .late = {.threads = 1, .processes = 1, .run = begin_and_join_own}
#define JOINERS .ahead = {2, 2, PL_WAIT_JOIN, join_the_victim}

static const struct steps_scenario start_process = {.name = "worker: start a process",
                                                    WORKER,
                                                    .act = begin_process,
                                                    .aftermath = child_dies_with_it,
                                                    OTHERS_START};

static const struct steps_scenario start_process_joined = {
    .name = "worker: start a process, the parent's parent joins",
    WORKER,
    .join = true,
    .act = begin_process,
    .aftermath = child_dies_with_it,
    OTHERS_START};

static const struct steps_scenario start_thread = {.name = "worker: start a thread",
                                                   WORKER,
                                                   .act = begin_thread,
                                                   .aftermath = child_dies_with_it,
                                                   OTHERS_START};

static const struct steps_scenario start_detached = {.name = "worker: start a detached process",
                                                     WORKER,
                                                     .act = begin_detached,
                                                     .aftermath = child_lives_on,
                                                     OTHERS_START};

static const struct steps_scenario start_with_copy = {
    .name = "worker: start with a copied argument", WORKER, .act = begin_with_copy, OTHERS_START};

#define CLEAN(variable, text, ...)                                                                 \
    static const struct steps_scenario variable = {                                                \
        .name = "worker: " text, WORKER, __VA_ARGS__, OTHERS_START}

CLEAN(start_by_zygote, "start by a new zygote", .act = begin_by_zygote,
      .aftermath = child_dies_with_it);
CLEAN(start_by_known_zygote, "start by a zygote", .prepare = begin_another_before,
      .act = begin_by_zygote, .aftermath = child_dies_with_it);
CLEAN(start_by_spawn, "start by spawn", .act = begin_by_spawn, .aftermath = child_dies_with_it);
CLEAN(start_detached_by_zygote, "start a detached process by a zygote",
      .prepare = begin_another_before, .act = begin_detached_by_zygote,
      .aftermath = child_lives_on);
CLEAN(start_detached_by_spawn, "start a detached process by spawn", .act = begin_detached_by_spawn,
      .aftermath = child_lives_on);
CLEAN(start_with_copy_by_zygote, "start with a copied argument by a zygote",
      .act = begin_with_copy_by_zygote);
CLEAN(start_with_copy_by_spawn, "start with a copied argument by spawn",
      .act = begin_with_copy_by_spawn);
CLEAN(start_and_join_by_zygote, "start by a zygote and join",
      .act = begin_short_by_zygote_and_join);

static const struct steps_scenario child_joined = {.name = "worker: the child, its parent joins",
                                                   WORKER,
                                                   .alive = true,
                                                   .prepare = doom_the_child,
                                                   .act = begin_short_and_join,
                                                   OTHERS_START,
                                                   .check = victim_returned};

static const struct steps_scenario child_with_copy = {
    .name = "worker: the child with a copied argument",
    WORKER,
    .alive = true,
    .prepare = doom_the_child,
    .act = begin_copy_and_join,
    .check = victim_returned};

static const struct steps_scenario child_then_parent = {.name =
                                                            "worker: the child, then its parent",
                                                        WORKER,
                                                        .prepare = doom_the_child,
                                                        .act = begin_short_and_await_zombie,
                                                        OTHERS_START};

static const struct steps_scenario child_of_returned = {.name =
                                                            "worker: the child, its parent returns",
                                                        WORKER,
                                                        .alive = true,
                                                        .prepare = doom_the_child,
                                                        .act = begin_short_and_await_zombie,
                                                        OTHERS_START,
                                                        .check = victim_returned};

static const struct steps_scenario child_detached = {.name = "worker: the detached child",
                                                     WORKER,
                                                     .alive = true,
                                                     .prepare = doom_the_child,
                                                     .act = begin_short_detached,
                                                     OTHERS_START,
                                                     .check = victim_returned};

static const struct steps_scenario child_joined_by_strangers = {
    .name = "worker: the child, strangers join",
    WORKER,
    .alive = true,
    .prepare = doom_the_child,
    .ahead = {.threads = 1, .processes = 1, .run = join_the_child},
    .act = begin_short_and_let_others_join,
    .check = both_got_it};

static const struct steps_scenario parent_of_half_born = {
    .name = "worker: the parent while the child is at a step",
    WORKER,
    .stall = true,
    .prepare = doom_the_child,
    .act = begin_short_and_await_zombie,
    .aftermath = kill_the_parent_and_sweep,
    OTHERS_START};

static const struct steps_scenario parent_of_half_born_detached = {
    .name = "worker: the parent while the detached child is at a step",
    WORKER,
    .stall = true,
    .prepare = doom_the_child,
    .act = begin_short_detached,
    .aftermath = kill_the_parent_and_sweep,
    OTHERS_START};

static const struct steps_scenario join_own = {.name = "worker: join its own child",
                                               WORKER,
                                               .sleeps = true,
                                               .prepare = begin_long,
                                               .act = join_it,
                                               .direct = let_children_leave,
                                               OTHERS_START,
                                               .check = root_joins_the_victims};

static const struct steps_scenario join_anothers = {.name = "worker: join another's child",
                                                    WORKER,
                                                    .sleeps = true,
                                                    .setup = root_begins,
                                                    .act = join_it,
                                                    .direct = let_children_leave,
                                                    OTHERS_START,
                                                    .check = root_joins_what_is_left};

static const struct steps_scenario join_beside_others = {
    .name = "worker: join another's child beside others",
    WORKER,
    .setup = root_begins,
    .ahead = {.threads = 1, .processes = 1, .sleep_in = PL_WAIT_JOIN, .run = join_the_child},
    .act = join_it,
    .direct = let_children_leave,
    .check = root_joins_what_is_left};

static const struct steps_scenario return_joined = {.name = "worker: return, others join",
                                                    WORKER,
                                                    .alive = true,
                                                    JOINERS,
                                                    .act = return_from_it,
                                                    .check = all_who_waited_agree};

static const struct steps_scenario return_old_kernel = {.name =
                                                            "worker: return, without futex_waitv",
                                                        WORKER,
                                                        .alive = true,
                                                        .old_kernel = true,
                                                        JOINERS,
                                                        .act = return_from_it,
                                                        .check = all_who_waited_agree};

static const struct steps_scenario exit_joined = {.name = "worker: exit, others join",
                                                  WORKER,
                                                  .alive = true,
                                                  JOINERS,
                                                  .act = exit_from_it,
                                                  .check = all_who_waited_agree};

static const struct steps_scenario return_detached = {.name = "worker: return, detached",
                                                      WORKER,
                                                      .alive = true,
                                                      .detached = true,
                                                      .act = return_from_it,
                                                      OTHERS_START};

static const struct steps_scenario return_with_child = {.name = "worker: return before its child",
                                                        WORKER,
                                                        .alive = true,
                                                        .act = return_with_a_child,
                                                        .check = victim_ended_somehow};

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        STEPS_TEST(start_process),
        STEPS_TEST(start_process_joined),
        STEPS_TEST(start_thread),
        STEPS_TEST(start_detached),
        STEPS_TEST(start_with_copy),
        STEPS_TEST(start_by_zygote),
        STEPS_TEST(start_by_known_zygote),
        STEPS_TEST(start_by_spawn),
        STEPS_TEST(start_detached_by_zygote),
        STEPS_TEST(start_detached_by_spawn),
        STEPS_TEST(start_with_copy_by_zygote),
        STEPS_TEST(start_with_copy_by_spawn),
        STEPS_TEST(start_and_join_by_zygote),
        STEPS_TEST(child_joined),
        STEPS_TEST(child_with_copy),
        STEPS_TEST(child_then_parent),
        STEPS_TEST(child_of_returned),
        STEPS_TEST(child_detached),
        STEPS_TEST(child_joined_by_strangers),
        STEPS_TEST(parent_of_half_born),
        STEPS_TEST(parent_of_half_born_detached),
        STEPS_TEST(join_own),
        STEPS_TEST(join_anothers),
        STEPS_TEST(join_beside_others),
        STEPS_TEST(return_joined),
        STEPS_TEST(return_old_kernel),
        STEPS_TEST(exit_joined),
        STEPS_TEST(return_detached),
        STEPS_TEST(return_with_child),
    };
    if (pl_program_begin(argc, argv) < 0)
        return 1;
    int rc = cmocka_run_group_tests_name("worker", tests, NULL, NULL);
    steps_print_total();
    return rc;
}
