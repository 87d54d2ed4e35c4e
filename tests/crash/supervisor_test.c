/* Supervisors when the supervisor, one of its children, or who gives it an order is killed at every step.
 *
 * The invariants: with the supervisor die its processes; who waits for it, or asks it, is told, and whoever runs it again finds
 * a table that is whole. A child that dies anywhere is started again. An order of which the giver dies is carried out wholly or not at
 * all, and the next one is. */
#include "steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

struct world {
    plait_supervisor s;
    plait_event never;
    int first, second, third; /* starts of the children */
    bool asked_for_more;
};

static int count(int *word)
{
    return __atomic_add_fetch(word, 1, __ATOMIC_SEQ_CST);
}

/* --- children --- */

/* Ready at once; the first time it fails, the second time it is done. */
static int fail_then_succeed(void *arg)
{
    struct world *w = arg;
    plait_supervisor_ready();
    return count(&w->first) == 1 ? -9 : 0;
}

static int wait_for_ever(void *arg)
{
    struct world *w = arg;
    count(&w->second);
    return plait_event_wait(&w->never, PLAIT_FOREVER);
}

static int end_at_once(void *arg)
{
    count(&((struct world *)arg)->third);
    return 0;
}

static plait_child child(struct world *w, const char *name, int kind, plait_function *fn)
{
    return (plait_child){
        .name = name, .kind = kind, .function = fn, .argument = w, .restart = PLAIT_TRANSIENT};
}

static void expect(int rc, int expected)
{
    STEPS_EXPECT(rc == expected, "(%s)", plait_errname(rc));
}

static void set_up_children(struct world *w, bool ready)
{
    plait_supervisor_options o = {.strategy = PLAIT_REST_FOR_ONE, .intensity = 20, .ends = true};
    expect(plait_supervisor_init(&w->s, &o), 0);
    plait_child a = child(w, "a", PLAIT_PROCESS, fail_then_succeed);
    plait_child b = child(w, "b", PLAIT_THREAD, end_at_once);
    a.ready = ready;
    expect(plait_supervisor_add(&w->s, &a, NULL, 0), 0);
    expect(plait_supervisor_add(&w->s, &b, NULL, 0), 0);
}

static void set_up(void *world)
{
    set_up_children(world, true);
}

static void set_up_hastily(void *world)
{
    set_up_children(world, false);
}

/* With one that stays, so that it has to be stopped. */
static void set_up_to_stay(void *world)
{
    struct world *w = world;
    set_up(w);
    plait_child c = child(w, "c", PLAIT_PROCESS, wait_for_ever);
    expect(plait_supervisor_add(&w->s, &c, NULL, 0), 0);
}

/* --- the supervisor dies --- */

static void run(void *world, int who)
{
    struct world *w = world;
    (void)who;
    expect(plait_supervisor_run(&w->s), 0);
}

static void run_until_cancelled(void *world, int who)
{
    struct world *w = world;
    int rc = -1;
    (void)who;
    PLAIT_TIMEOUT(plait_ms(8))
        rc = plait_supervisor_run(&w->s);
    expect(rc, PLAIT_ECANCELED);
}

/* Whoever comes later can ask what has become of it, and run it. */
static void ask_and_run_again(void *world, int who)
{
    struct world *w = world;
    plait_child_info info[4];
    plait_child d = child(w, "d", PLAIT_THREAD, end_at_once);
    (void)who;
    int n = plait_supervisor_list(&w->s, info, 4);
    STEPS_EXPECT(n == 2 || n == 3, "(%d)", n);
    for (int i = 0; i < n; i++)
        STEPS_EXPECT(info[i].state == PLAIT_CHILD_STOPPED);
    int rc = plait_supervisor_stop(&w->s, PLAIT_FOREVER);
    STEPS_EXPECT(rc == 0 || rc == PLAIT_EDIED, "(%s)", plait_errname(rc));
    if (rc == 0)
        return;
    expect(plait_supervisor_add(&w->s, &d, NULL, PLAIT_FOREVER), PLAIT_EDIED);
    if (n == 3)
        run_until_cancelled(w, 0);
    else
        run(w, 0);
    expect(plait_supervisor_remove(&w->s, "a", PLAIT_FOREVER), 0);
    expect(plait_supervisor_add(&w->s, &d, NULL, PLAIT_FOREVER), 0);
}

/* Asks while it lives. */
static void ask(void *world, int who)
{
    struct world *w = world;
    plait_child d = child(w, "d", PLAIT_THREAD, end_at_once);
    (void)who;
    int rc = plait_supervisor_add(&w->s, &d, NULL, PLAIT_FOREVER);
    bool told = rc == PLAIT_EDIED || rc == PLAIT_ECLOSED;
    STEPS_EXPECT(rc == 0 || rc == PLAIT_EEXIST || told, "(%s)", plait_errname(rc));
    rc = plait_supervisor_stop(&w->s, PLAIT_FOREVER);
    STEPS_EXPECT(rc == 0 || rc == PLAIT_EDIED, "(%s)", plait_errname(rc));
}

/* --- a child dies --- */

static void doom_the_children(void *world, int who)
{
    (void)world, (void)who;
    steps_doom_children();
}

static void victim_returned(void *world)
{
    struct world *w = world;
    int rc = plait_join(steps_victim(0), NULL, plait_seconds(5));
    expect(rc, 0);
    STEPS_EXPECT(w->first >= 2 && w->third >= 1, "(%d, %d)", w->first, w->third);
}

/* One that dies before it is ready has not started: then the supervisor ends. */
static void run_or_fail(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = plait_supervisor_run(&w->s);
    STEPS_EXPECT(rc == 0 || rc == PLAIT_EDIED, "(%s)", plait_errname(rc));
    if (rc < 0)
        expect(plait_supervisor_run(&w->s), 0);
}

static void victim_ran(void *world)
{
    (void)world;
    expect(plait_join(steps_victim(0), NULL, plait_seconds(5)), 0);
}

/* --- who gives orders dies --- */

static void run_until_stopped(void *world, int who)
{
    struct world *w = world;
    (void)who;
    expect(plait_supervisor_run(&w->s), 0);
}

static void set_up_to_be_asked(void *world)
{
    struct world *w = world;
    expect(plait_supervisor_init(&w->s, NULL), 0);
    plait_child c = child(w, "c", PLAIT_PROCESS, wait_for_ever);
    expect(plait_supervisor_add(&w->s, &c, NULL, 0), 0);
}

static void give_orders(void *world, int who)
{
    struct world *w = world;
    plait_child d = child(w, "d", PLAIT_PROCESS, wait_for_ever);
    (void)who;
    expect(plait_supervisor_add(&w->s, &d, NULL, PLAIT_FOREVER), 0);
    expect(plait_supervisor_restart(&w->s, "c", NULL, PLAIT_FOREVER), 0);
    expect(plait_supervisor_remove(&w->s, "d", PLAIT_FOREVER), 0);
}

static void give_further_orders(void *world)
{
    struct world *w = world;
    plait_child_info info[4];
    plait_child e = child(w, "e", PLAIT_THREAD, end_at_once);
    expect(plait_supervisor_add(&w->s, &e, NULL, PLAIT_FOREVER), 0);
    expect(plait_supervisor_restart(&w->s, "c", NULL, PLAIT_FOREVER), 0);
    int rc = plait_supervisor_remove(&w->s, "d", PLAIT_FOREVER);
    STEPS_EXPECT(rc == 0 || rc == PLAIT_ENOENT, "(%s)", plait_errname(rc));
    int n = plait_supervisor_list(&w->s, info, 4);
    STEPS_EXPECT(n == 2 && strcmp(info[0].name, "c") == 0 && strcmp(info[1].name, "e") == 0, "(%d)",
                 n);
    expect(plait_supervisor_stop(&w->s, PLAIT_FOREVER), 0);
}

static void stop_it(void *world, int who)
{
    struct world *w = world;
    (void)who;
    expect(plait_supervisor_stop(&w->s, PLAIT_FOREVER), 0);
}

static void stop_it_too(void *world)
{
    stop_it(world, 0);
}

#define WORLD .world_size = sizeof(struct world), .alone = true
#define OTHERS .late = {.processes = 1, .run = ask_and_run_again}

static const struct steps_scenario supervisor = {
    .name = "supervisor: it dies", WORLD, .setup = set_up, .act = run, .stride = 3, OTHERS};

static const struct steps_scenario supervisor_stops = {.name = "supervisor: it dies as it stops",
                                                       WORLD,
                                                       .setup = set_up_to_stay,
                                                       .act = run_until_cancelled,
                                                       .stride = 9,
                                                       OTHERS};

static const struct steps_scenario supervisor_asked = {
    .name = "supervisor: it dies, others ask",
    WORLD,
    .setup = set_up_to_stay,
    .act = run,
    .stride = 5,
    .behind = {.processes = 1, .threads = 1, .run = ask}};

static const struct steps_scenario a_child = {.name = "supervisor: a child dies",
                                              WORLD,
                                              .alive = true,
                                              .setup = set_up_hastily,
                                              .prepare = doom_the_children,
                                              .act = run,
                                              .aftermath = victim_returned};

static const struct steps_scenario a_child_unready = {
    .name = "supervisor: a child dies, perhaps before it is ready",
    WORLD,
    .alive = true,
    .setup = set_up,
    .prepare = doom_the_children,
    .act = run_or_fail,
    .aftermath = victim_ran};

static const struct steps_scenario a_child_old = {.name = "supervisor: without futex_waitv",
                                                  WORLD,
                                                  .alive = true,
                                                  .old_kernel = true,
                                                  .stride = 3,
                                                  .setup = set_up_hastily,
                                                  .prepare = doom_the_children,
                                                  .act = run,
                                                  .aftermath = victim_returned};

static const struct steps_scenario orders = {
    .name = "supervisor: who gives orders",
    WORLD,
    .setup = set_up_to_be_asked,
    .first = {.processes = 1, .sleep_in = PL_WAIT_WORKERS, .run = run_until_stopped},
    .act = give_orders,
    .stride = 3,
    .aftermath = give_further_orders};

static const struct steps_scenario stopper = {
    .name = "supervisor: who stops it",
    WORLD,
    .setup = set_up_to_be_asked,
    .first = {.processes = 1, .sleep_in = PL_WAIT_WORKERS, .run = run_until_stopped},
    .act = stop_it,
    .aftermath = stop_it_too};

int main(void)
{
    const struct CMUnitTest tests[] = {
        STEPS_TEST(supervisor), STEPS_TEST(supervisor_stops), STEPS_TEST(supervisor_asked),
        STEPS_TEST(a_child),    STEPS_TEST(a_child_unready),  STEPS_TEST(a_child_old),
        STEPS_TEST(orders),     STEPS_TEST(stopper),
    };
    int rc = cmocka_run_group_tests_name("supervisor", tests, NULL, NULL);
    steps_print_total();
    return rc;
}
