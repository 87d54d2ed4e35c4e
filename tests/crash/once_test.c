/* The once when a worker is killed at every step: of running the function, failing in it, waiting for
 * another, taking over from the dead.
 *
 * The invariant: when somebody's call has succeeded, the work was done wholly, by one run that nobody
 * else's overlapped; if the victim died in the middle of it, exactly one other did it and was told. */
#include "steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <unistd.h>

struct world {
    plait_once once;
    plait_event go_on;    /* for a function that waits */
    plait_worker early;   /* a runner that is killed before the victim comes */
    int begun, done;      /* halves of the work, changed by the function */
    int inside;           /* workers in the function */
    int told;             /* runs that got the notice */
    int took_over;        /* calls that did */
    int ok, failed;       /* calls of survivors */
    bool inside_at_death; /* the word named the victim */
    bool looked;          /* that is known: it was not killed asleep, from outside */
    bool victim_fails;
};

/* The work: two halves, with a death possible between them. */
static int work(void *world, int notice)
{
    struct world *w = world;
    bool mine = pl_self.id == steps_victim_id(0);
    STEPS_EXPECT(mine || __atomic_add_fetch(&w->inside, 1, __ATOMIC_SEQ_CST) == 1);
    STEPS_EXPECT(notice == 0 || notice == PLAIT_OWNER_DIED);
    STEPS_EXPECT(w->begun == w->done || notice, "(a half is done, and nobody is told)");
    if (!mine)
        w->told += notice != 0;
    if (mine && w->victim_fails) {
        steps_here("in the function", &w->begun);
        return PLAIT_EMFILE;
    }
    w->begun = 1;
    steps_here("in the function", &w->begun);
    w->done = 1;
    if (!mine)
        __atomic_sub_fetch(&w->inside, 1, __ATOMIC_SEQ_CST);
    return 0;
}

static int work_when_told(void *world, int notice)
{
    struct world *w = world;
    STEPS_EXPECT(plait_event_wait(&w->go_on, PLAIT_FOREVER) == 0);
    return work(w, notice);
}

/* --- survivors --- */

static void keep(struct world *w, int rc)
{
    STEPS_EXPECT(rc == 0 || rc == PLAIT_OWNER_DIED, "(%s)", plait_errname(rc));
    STEPS_EXPECT(w->done >= 1 && w->begun == w->done && plait_once_done(&w->once));
    __atomic_add_fetch(&w->took_over, rc == PLAIT_OWNER_DIED, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&w->ok, 1, __ATOMIC_SEQ_CST);
}

static void call(void *world, int who)
{
    struct world *w = world;
    (void)who;
    keep(w, plait_once_call(&w->once, work, w));
}

static void call_slowly(void *world, int who)
{
    struct world *w = world;
    (void)who;
    keep(w, plait_once_call(&w->once, work_when_told, w));
}

/* --- the victim --- */

static void call_here(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = plait_once_call(&w->once, work, w);
    STEPS_EXPECT(rc == 0 || rc == PLAIT_OWNER_DIED);
}

static void call_when_told(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_once_call(&w->once, work_when_told, w) == 0);
}

static void call_when_told_and_fail(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_once_call(&w->once, work_when_told, w) == PLAIT_EMFILE);
}

static void call_and_fail(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_once_call(&w->once, work, w) == PLAIT_EMFILE);
}

static void call_until_cancelled(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_once_call(&w->once, work, w) == PLAIT_ECANCELED);
}

static void note_runner(void *world, int who)
{
    struct world *w = world;
    w->inside_at_death = (w->once.word_ & PL_ID_MASK) == steps_victim_id(who);
    w->looked = true;
}

/* --- the root --- */

static void victim_will_fail(void *world)
{
    ((struct world *)world)->victim_fails = true;
}

static int sleep_inside(void *world, int notice)
{
    struct world *w = world;
    (void)notice;
    w->begun = 1;
    plait_event_set(&w->go_on);
    pause(); /* until it is killed */
    return 0;
}

static int early_main(void *world)
{
    struct world *w = world;
    return plait_once_call(&w->once, sleep_inside, w);
}

/* Leaves a once behind whose runner is dead. */
static void one_dies_inside(void *world)
{
    struct world *w = world;
    plait_options options = {.start_method = PLAIT_FORK};
    STEPS_EXPECT(plait_start(&w->early, PLAIT_PROCESS, early_main, w, &options) == 0);
    STEPS_EXPECT(plait_event_wait(&w->go_on, PLAIT_FOREVER) == 0);
    STEPS_EXPECT(plait_kill(w->early) == 0);
    STEPS_EXPECT(plait_join(w->early, NULL, PLAIT_FOREVER) == PLAIT_DIED);
}

static void root_lets_it_end(void *world)
{
    struct world *w = world;
    steps_deed();
    STEPS_EXPECT(plait_event_set(&w->go_on) == 0);
}

static void root_cancels(void *world)
{
    (void)world;
    int rc = plait_cancel(steps_victim(0));
    STEPS_EXPECT(rc == 0 || rc == PLAIT_ESRCH);
}

/* --- what must be --- */

static void done_once(void *world)
{
    struct world *w = world;
    plait_blame blame;
    STEPS_EXPECT(w->done == 1 && w->begun == 1, "(%d, %d)", w->begun, w->done);
    STEPS_EXPECT(w->ok == steps_through());
    STEPS_EXPECT(w->told == (w->inside_at_death || !w->looked) && w->took_over == w->told,
                 "(%d, %d)", w->told, w->took_over);
    int rc = plait_once_blame(&w->once, &blame);
    STEPS_EXPECT(rc == (w->told ? 0 : PLAIT_ESRCH), "(%s)", plait_errname(rc));
    STEPS_EXPECT(!w->told || plait_same(blame.worker, steps_victim(0)));
}

/* Told is whoever comes after the early one, be it the victim or, after its death too, another. */
static void done_once_after_a_death(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(w->done == 1 && w->begun == 1, "(%d, %d)", w->begun, w->done);
    STEPS_EXPECT(w->ok == steps_through());
    STEPS_EXPECT(w->told <= 1 && w->took_over == w->told);
    STEPS_EXPECT(!w->inside_at_death || w->told == 1);
    STEPS_EXPECT(!steps_finished(0) || w->told == 0 || w->ok);
}

static void done_by_a_survivor(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(w->done == 1 && w->ok == steps_through());
    STEPS_EXPECT(w->told == 0 && w->took_over == 0);
}

/* --- scenarios --- */

#define ONCE .world_size = sizeof(struct world), .last_look = note_runner
#define CALLERS                                                                                    \
    {                                                                                              \
        .threads = 1, .processes = 2, .run = call                                                  \
    }
#define SLEEPERS                                                                                   \
    {                                                                                              \
        .threads = 1, .processes = 1, .sleep_in = PL_WAIT_ONCE, .run = call                        \
    }
#define RUNNER                                                                                     \
    {                                                                                              \
        .processes = 1, .sleep_in = PL_WAIT_EVENT, .run = call_slowly                              \
    }

static const struct steps_scenario run = {
    .name = "once: run", ONCE, .act = call_here, .late = CALLERS, .check = done_once};

static const struct steps_scenario others_wait = {.name = "once: run, others wait for it",
                                                  ONCE,
                                                  .act = call_when_told,
                                                  .sleeps = true,
                                                  .behind = SLEEPERS,
                                                  .direct = root_lets_it_end,
                                                  .late = CALLERS,
                                                  .check = done_once};

static const struct steps_scenario failing = {.name = "once: fail",
                                              ONCE,
                                              .setup = victim_will_fail,
                                              .act = call_and_fail,
                                              .late = CALLERS,
                                              .check = done_once};

static const struct steps_scenario failing_others_wait = {.name = "once: fail, others wait for it",
                                                          ONCE,
                                                          .setup = victim_will_fail,
                                                          .act = call_when_told_and_fail,
                                                          .sleeps = true,
                                                          .behind = SLEEPERS,
                                                          .direct = root_lets_it_end,
                                                          .check = done_once};

static const struct steps_scenario waiting = {.name = "once: wait for another",
                                              ONCE,
                                              .first = RUNNER,
                                              .act = call_here,
                                              .sleeps = true,
                                              .behind = SLEEPERS,
                                              .direct = root_lets_it_end,
                                              .late = CALLERS,
                                              .check = done_by_a_survivor};

static const struct steps_scenario cancelled = {.name = "once: wait for another, cancelled",
                                                ONCE,
                                                .first = RUNNER,
                                                .ahead = SLEEPERS,
                                                .act = call_until_cancelled,
                                                .direct = root_cancels,
                                                .aftermath = root_lets_it_end,
                                                .check = done_by_a_survivor};

static const struct steps_scenario inheriting = {.name = "once: take over from the dead",
                                                 ONCE,
                                                 .setup = one_dies_inside,
                                                 .act = call_here,
                                                 .late = CALLERS,
                                                 .check = done_once_after_a_death};

static const struct steps_scenario old_kernel = {.name = "once: run, without futex_waitv",
                                                 ONCE,
                                                 .old_kernel = true,
                                                 .act = call_here,
                                                 .late = CALLERS,
                                                 .check = done_once};

int main(void)
{
    const struct CMUnitTest tests[] = {
        STEPS_TEST(run),
        STEPS_TEST(others_wait),
        STEPS_TEST(failing),
        STEPS_TEST(failing_others_wait),
        STEPS_TEST(waiting),
        STEPS_TEST(cancelled),
        STEPS_TEST(inheriting),
        STEPS_TEST(old_kernel),
        STEPS_STORES_TEST(run),
        STEPS_STORES_TEST(others_wait),
        STEPS_STORES_TEST(waiting),
        STEPS_STORES_TEST(inheriting),
    };
    int rc = cmocka_run_group_tests_name("once", tests, NULL, NULL);
    steps_print_total();
    return rc;
}
