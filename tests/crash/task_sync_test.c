/* What tasks hold and wait for when their process is killed, at every step of two tasks' work.
 *
 * The invariant: a task dies with its thread. What it held goes to others, who are told exactly if it was held;
 * where it stood in a queue nobody waits for it; and its entry in the registry is free again. Half of those
 * who find that out are tasks themselves. */
#include "steps.h"

#include "base/atomic.h"
#include "sync/lock_word.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>

enum { PERMITS = 4 };

struct world {
    plait_lock lock;
    plait_rlock rlock;
    plait_rwlock rwlock;
    plait_semaphore permits;
    plait_condition changed;
    plait_barrier barrier;
    plait_once once;
    int turn;             /* under the condition's lock */
    int told, died_with;  /* of deaths; of these, with something in hand */
    int value_at_death;   /* of the semaphore */
    uint32_t left, right; /* equal while nobody is inside */
};

/* --- running as tasks --- */

struct part {
    void (*run)(void *world, int who);
    void *world;
    int who;
};

static int play(void *arg)
{
    struct part *part = arg;
    part->run(part->world, part->who);
    return 0;
}

static void start(plait_worker *ret, struct part *part)
{
    STEPS_EXPECT(plait_start(ret, PLAIT_TASK, play, part, NULL) == 0);
}

/* Two tasks of the caller do it side by side. */
static void by_two_tasks(void *world, void (*one)(void *, int), void (*other)(void *, int))
{
    struct part parts[2] = {{one, world, 0}, {other, world, 1}};
    plait_worker tasks[2];
    for (int i = 0; i < 2; i++)
        start(&tasks[i], &parts[i]);
    for (int i = 0; i < 2; i++)
        STEPS_EXPECT(plait_join(tasks[i], NULL, PLAIT_FOREVER) == 0);
}

/* Survivors with an even number are tasks. */
static void by_a_task(void *world, int who, void (*run)(void *, int))
{
    struct part part = {run, world, who};
    plait_worker task;
    if (who % 2) {
        run(world, who);
        return;
    }
    start(&task, &part);
    STEPS_EXPECT(plait_join(task, NULL, PLAIT_FOREVER) == 0);
}

/* Whether an id is that of a task of the victim's. */
static bool is_victims_task(uint32_t id)
{
    return id && pl_heart_of(pl_slot_of(id)) == pl_slot_of(steps_victim_id(0)) &&
           pl_slot_kind(pl_slot_of(id)) == PLAIT_TASK;
}

static void be_inside(struct world *w)
{
    STEPS_EXPECT(w->left == w->right);
    w->left++;
    plait_yield();
    w->right++;
}

static void hear(struct world *w, int rc)
{
    STEPS_EXPECT(rc == 0 || rc == PLAIT_OWNER_DIED, "(%s)", plait_errname(rc));
    if (rc != PLAIT_OWNER_DIED)
        return;
    w->told++;
    w->right = w->left;
}

static void told_exactly_if_held(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(w->told == w->died_with, "(%d, %d)", w->told, w->died_with);
    STEPS_EXPECT(w->left == w->right);
}

/* --- locks --- */

static void use_lock(void *world, int who)
{
    struct world *w = world;
    plait_blame blame;
    (void)who;
    int rc = plait_lock_acquire(&w->lock, PLAIT_FOREVER);
    hear(w, rc);
    if (rc == PLAIT_OWNER_DIED) {
        STEPS_EXPECT(plait_lock_blame(&w->lock, &blame) == 0);
        STEPS_EXPECT(blame.kind == PLAIT_TASK && !blame.returned);
    }
    be_inside(w);
    STEPS_EXPECT(plait_lock_release(&w->lock) == 0);
}

static void two_use_lock(void *world, int who)
{
    (void)who;
    by_two_tasks(world, use_lock, use_lock);
}

static void survivor_uses_lock(void *world, int who)
{
    by_a_task(world, who, use_lock);
}

static void is_lock_held(void *world, int who)
{
    struct world *w = world;
    (void)who;
    w->died_with += is_victims_task(pl_lock_holder(&w->lock));
}

static void make_fair(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(plait_lock_init(&w->lock, &(plait_lock_options){.fair = true}) == 0);
}

static void use_rlock(void *world, int who)
{
    struct world *w = world;
    (void)who;
    hear(w, plait_rlock_acquire(&w->rlock, PLAIT_FOREVER));
    STEPS_EXPECT(plait_rlock_acquire(&w->rlock, PLAIT_FOREVER) == 0);
    be_inside(w);
    STEPS_EXPECT(plait_rlock_release(&w->rlock) == 0);
    STEPS_EXPECT(plait_rlock_release(&w->rlock) == 0);
}

static void two_use_rlock(void *world, int who)
{
    (void)who;
    by_two_tasks(world, use_rlock, use_rlock);
}

static void survivor_uses_rlock(void *world, int who)
{
    by_a_task(world, who, use_rlock);
}

static void is_rlock_held(void *world, int who)
{
    struct world *w = world;
    (void)who;
    w->died_with += is_victims_task(pl_lock_holder(&w->rlock.lock_));
}

/* --- rwlock: nobody hears of a reader's death --- */

static void write_it(void *world, int who)
{
    struct world *w = world;
    (void)who;
    hear(w, plait_rwlock_acquire_write(&w->rwlock, PLAIT_FOREVER));
    be_inside(w);
    STEPS_EXPECT(plait_rwlock_release_write(&w->rwlock) == 0);
}

static void read_it(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = plait_rwlock_acquire_read(&w->rwlock, PLAIT_FOREVER);
    STEPS_EXPECT(rc == 0 || rc == PLAIT_OWNER_DIED);
    plait_yield();
    STEPS_EXPECT(plait_rwlock_release_read(&w->rwlock) == 0);
}

static void two_use_rwlock(void *world, int who)
{
    (void)who;
    by_two_tasks(world, write_it, read_it);
}

static void survivor_writes(void *world, int who)
{
    by_a_task(world, who, write_it);
}

/* --- semaphore: what a task has taken is gone with it, nothing else --- */

static void use_permit(void *world, int who)
{
    struct world *w = world;
    (void)who;
    STEPS_EXPECT(plait_semaphore_acquire(&w->permits, PLAIT_FOREVER) == 0);
    plait_yield();
    STEPS_EXPECT(plait_semaphore_release(&w->permits, 1) == 0);
}

static void two_use_permits(void *world, int who)
{
    (void)who;
    by_two_tasks(world, use_permit, use_permit);
}

static void survivor_uses_permit(void *world, int who)
{
    by_a_task(world, who, use_permit);
}

static void make_permits(void *world)
{
    STEPS_EXPECT(plait_semaphore_init(&((struct world *)world)->permits, PERMITS, 0) == 0);
}

static void note_value(void *world, int who)
{
    struct world *w = world;
    (void)who;
    w->value_at_death = plait_semaphore_value(&w->permits);
}

static void value_is_that_of_the_death(void *world)
{
    struct world *w = world;
    STEPS_EXPECT(plait_semaphore_value(&w->permits) == w->value_at_death);
    STEPS_EXPECT(w->value_at_death >= PERMITS - 2);
}

/* --- condition: who waits takes turns, the dead have none --- */

static void take_turns(void *world, int who)
{
    struct world *w = world;
    int rc = plait_condition_acquire(&w->changed, PLAIT_FOREVER);
    STEPS_EXPECT(rc >= 0);
    while (w->turn % 2 != who % 2) {
        rc = plait_condition_wait(&w->changed, PLAIT_FOREVER);
        STEPS_EXPECT(rc >= 0);
    }
    w->turn++;
    plait_condition_notify_all(&w->changed);
    STEPS_EXPECT(plait_condition_release(&w->changed) == 0);
}

static void two_take_turns(void *world, int who)
{
    (void)who;
    by_two_tasks(world, take_turns, take_turns);
}

static void survivor_takes_turns(void *world, int who)
{
    by_a_task(world, who, take_turns);
    by_a_task(world, who, take_turns);
}

/* --- barrier --- */

static void meet(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = plait_barrier_wait(&w->barrier, PLAIT_FOREVER);
    STEPS_EXPECT(rc == PLAIT_EBROKEN || rc >= 0, "(%s)", plait_errname(rc));
}

static void two_meet(void *world, int who)
{
    (void)who;
    by_two_tasks(world, meet, meet);
}

static void survivor_meets(void *world, int who)
{
    by_a_task(world, who, meet);
}

/* Nobody of the dead was in it: the others wait by rights, for somebody who would come. */
static void are_in_barrier(void *world, int who)
{
    struct world *w = world;
    (void)who;
    uint32_t ready = pl_load_acquire(&pl_arena->slots_ready);
    for (uint32_t i = 1; i < ready; i++)
        w->died_with += is_victims_task(pl_slot_id(pl_slot_at(i))) && pl_slot_round(pl_slot_at(i));
}

static void abort_if_nobody_was(void *world)
{
    struct world *w = world;
    if (w->died_with == 0)
        STEPS_EXPECT(plait_barrier_abort(&w->barrier) == 0);
}

static void make_barrier(void *world)
{
    STEPS_EXPECT(plait_barrier_init(&((struct world *)world)->barrier, 4, NULL) == 0);
}

/* --- once --- */

static int do_once(void *world, int notice)
{
    struct world *w = world;
    hear(w, notice);
    be_inside(w);
    return 0;
}

static void call_once(void *world, int who)
{
    struct world *w = world;
    (void)who;
    int rc = plait_once_call(&w->once, do_once, w);
    STEPS_EXPECT(rc == 0 || rc == PLAIT_OWNER_DIED);
}

static void two_call_once(void *world, int who)
{
    (void)who;
    by_two_tasks(world, call_once, call_once);
}

static void survivor_calls_once(void *world, int who)
{
    by_a_task(world, who, call_once);
}

static void is_once_running(void *world, int who)
{
    struct world *w = world;
    (void)who;
    w->died_with += is_victims_task(w->once.word_ & PL_ID_MASK);
}

/* --- scenarios --- */

#define TASKS .world_size = sizeof(struct world), .stride = 3
#define BESIDE(function)                                                                           \
    {                                                                                              \
        .threads = 2, .processes = 2, .run = function                                              \
    }

static const struct steps_scenario lock = {.name = "tasks: a lock",
                                           TASKS,
                                           .act = two_use_lock,
                                           .last_look = is_lock_held,
                                           .late = BESIDE(survivor_uses_lock),
                                           .ahead = BESIDE(survivor_uses_lock),
                                           .check = told_exactly_if_held};

static const struct steps_scenario fair = {.name = "tasks: a fair lock",
                                           TASKS,
                                           .setup = make_fair,
                                           .act = two_use_lock,
                                           .last_look = is_lock_held,
                                           .behind = BESIDE(survivor_uses_lock),
                                           .check = told_exactly_if_held};

static const struct steps_scenario rlock = {.name = "tasks: an rlock",
                                            TASKS,
                                            .act = two_use_rlock,
                                            .last_look = is_rlock_held,
                                            .behind = BESIDE(survivor_uses_rlock),
                                            .check = told_exactly_if_held};

static const struct steps_scenario rwlock = {
    .name = "tasks: an rwlock", TASKS, .act = two_use_rwlock, .behind = BESIDE(survivor_writes)};

static const struct steps_scenario semaphore = {.name = "tasks: a semaphore",
                                                TASKS,
                                                .setup = make_permits,
                                                .act = two_use_permits,
                                                .last_look = note_value,
                                                .behind = BESIDE(survivor_uses_permit),
                                                .check = value_is_that_of_the_death};

static const struct steps_scenario condition = {.name = "tasks: a condition",
                                                TASKS,
                                                .act = two_take_turns,
                                                .behind = BESIDE(survivor_takes_turns)};

static const struct steps_scenario barrier = {
    .name = "tasks: a barrier",
    TASKS,
    .setup = make_barrier,
    .ahead = {.threads = 1, .processes = 1, .sleep_in = 0, .run = survivor_meets},
    .act = two_meet,
    .last_look = are_in_barrier,
    .aftermath = abort_if_nobody_was};

static const struct steps_scenario once = {.name = "tasks: a once",
                                           TASKS,
                                           .act = two_call_once,
                                           .last_look = is_once_running,
                                           .behind = BESIDE(survivor_calls_once),
                                           .check = told_exactly_if_held};

int main(void)
{
    const struct CMUnitTest tests[] = {
        STEPS_TEST(lock),      STEPS_TEST(fair),      STEPS_TEST(rlock),   STEPS_TEST(rwlock),
        STEPS_TEST(semaphore), STEPS_TEST(condition), STEPS_TEST(barrier), STEPS_TEST(once),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    steps_print_total();
    return failed;
}
