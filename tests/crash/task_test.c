/* Tasks when their process is killed at every step: of being started, taking, holding and giving a shared lock, entering
 * the worker table and leaving it, waiting in shared memory together with others.
 *
 * The invariant: everybody else gets the lock, and is told of the death exactly if a task of the dead process
 * held it; while there are permits, nobody sleeps; no entry of the worker table stays in use. */
#include "steps.h"

#include "base/atomic.h"
#include "sync/lock_word.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>

enum { TASKS = 2 };

struct world {
    plait_lock lock;
    plait_semaphore permits;
    int given;      /* permits, by the root */
    uint32_t told;  /* survivors that were told of the death; under the lock */
    bool died_with; /* a task held the lock when its process died */
};

/* --- the victim --- */

static void run_tasks(struct world *w, plait_function *fn)
{
    plait_worker tasks[TASKS];
    for (int i = 0; i < TASKS; i++)
        STEPS_EXPECT(plait_start(&tasks[i], PLAIT_TASK, fn, w, NULL) == 0);
    for (int i = 0; i < TASKS; i++)
        STEPS_EXPECT(plait_join(tasks[i], NULL, PLAIT_FOREVER) == 0);
}

static int hold_while_others_run(void *arg)
{
    struct world *w = arg;
    STEPS_EXPECT(plait_lock_acquire(&w->lock, PLAIT_FOREVER) == 0);
    STEPS_EXPECT(plait_yield() == 0);
    STEPS_EXPECT(plait_lock_release(&w->lock) == 0);
    return 0;
}

static void tasks_hold_in_turn(void *world, int who)
{
    (void)who;
    run_tasks(world, hold_while_others_run);
}

static int take_permit(void *arg)
{
    struct world *w = arg;
    STEPS_EXPECT(plait_semaphore_acquire(&w->permits, PLAIT_FOREVER) == 0);
    return 0;
}

/* The victim's own flow, too: the harness sees that it sleeps. */
static void tasks_take_permits(void *world, int who)
{
    struct world *w = world;
    plait_worker tasks[TASKS];
    (void)who;
    for (int i = 0; i < TASKS; i++)
        STEPS_EXPECT(plait_start(&tasks[i], PLAIT_TASK, take_permit, w, NULL) == 0);
    STEPS_EXPECT(plait_semaphore_acquire(&w->permits, PLAIT_FOREVER) == 0);
    for (int i = 0; i < TASKS; i++)
        STEPS_EXPECT(plait_join(tasks[i], NULL, PLAIT_FOREVER) == 0);
}

static int take_permit_in_time(void *arg)
{
    struct world *w = arg;
    int rc = plait_semaphore_acquire(&w->permits, plait_ms(1));
    STEPS_EXPECT(rc == 0 || rc == PLAIT_ETIMEDOUT);
    return 0;
}

static void tasks_give_up(void *world, int who)
{
    (void)who;
    run_tasks(world, take_permit_in_time);
}

static void note_if_held(void *world, int who)
{
    struct world *w = world;
    uint32_t holder = pl_lock_holder(&w->lock);
    w->died_with =
        holder && pl_load_relaxed(&pl_slot_of(holder)->pid) == plait_pid(steps_victim(who));
}

/* --- survivors --- */

static void pass_through(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = plait_lock_acquire(&w->lock, PLAIT_FOREVER);
    STEPS_EXPECT(rc == 0 || rc == PLAIT_OWNER_DIED, "(%d)", rc);
    w->told += rc == PLAIT_OWNER_DIED;
    STEPS_EXPECT(plait_lock_release(&w->lock) == 0);
}

static void take(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_semaphore_acquire(&w->permits, PLAIT_FOREVER) == 0);
}

/* --- the root --- */

static void with_no_permits(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(plait_semaphore_init(&w->permits, 0, 0) == 0);
}

static void give(struct world *w, int n)
{
    w->given += n;
    STEPS_EXPECT(plait_semaphore_release(&w->permits, n) == 0);
}

static bool is_used_up(void *world)
{
    return plait_semaphore_value(&((struct world *)world)->permits) == 0;
}

static void give_until_it_is_through(void *world)
{
    struct world *w = world;
    for (int i = 0; !steps_is_dead(0); i++) {
        if (i % 20 == 0 && is_used_up(w))
            give(w, 1);
        usleep(500);
    }
}

/* As long as there are permits, those who wait must go on by themselves. */
static void give_what_lacks(void *world)
{
    struct world *w = world;
    while (steps_through() < steps_hired()) {
        int through = steps_through();
        if (!steps_await(is_used_up, w)) {
            STEPS_EXPECT(false, "(there are permits, and somebody sleeps)");
            return;
        }
        if (steps_through() == through) {
            steps_deed();
            give(w, 1);
        }
    }
}

/* --- what must be --- */

static void told_exactly_if_held(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(w->told == w->died_with, "(%u, %d)", w->told, w->died_with);
    STEPS_EXPECT(plait_lock_acquire(&w->lock, PLAIT_NOWAIT) == 0);
    STEPS_EXPECT(plait_lock_release(&w->lock) == 0);
}

static void each_took_one_at_most(void *world)
{
    struct world *w = world;
    int taken = w->given - plait_semaphore_value(&w->permits) - steps_through();
    STEPS_EXPECT(taken >= 0 && taken <= TASKS + 1, "(%d)", taken);
}

static const struct steps_scenario hold_lock = {
    .name = "task: take, hold and give a lock",
    .world_size = sizeof(struct world),
    .act = tasks_hold_in_turn,
    .last_look = note_if_held,
    .behind = {.threads = 1, .processes = 1, .run = pass_through},
    .late = {.processes = 1, .run = pass_through},
    .check = told_exactly_if_held,
    .stride = 3,
};

static const struct steps_scenario wait_for_permits = {
    .name = "task: wait beside others",
    .world_size = sizeof(struct world),
    .sleeps = true,
    .setup = with_no_permits,
    .first = {.threads = 1, .sleep_in = PL_WAIT_SEMAPHORE, .run = take},
    .act = tasks_take_permits,
    .behind = {.processes = 1, .run = take},
    .direct = give_until_it_is_through,
    .aftermath = give_what_lacks,
    .check = each_took_one_at_most,
    .stride = 5,
};

static const struct steps_scenario give_up = {
    .name = "task: give up",
    .world_size = sizeof(struct world),
    .setup = with_no_permits,
    .first = {.processes = 1, .sleep_in = PL_WAIT_SEMAPHORE, .run = take},
    .act = tasks_give_up,
    .aftermath = give_what_lacks,
    .check = each_took_one_at_most,
    .stride = 5,
};

int main(void)
{
    const struct CMUnitTest tests[] = {
        STEPS_TEST(hold_lock),
        STEPS_TEST(wait_for_permits),
        STEPS_TEST(give_up),
    };
    int rc = cmocka_run_group_tests_name("task", tests, NULL, NULL);
    steps_print_total();
    return rc;
}
