/* The harness itself: that it finds what it is made to find. Toy locks, each with one wound of the
 * kind that plait must not have, and one without. */
#include "steps.h"

#include "base/atomic.h"
#include "port/futex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ns: failing rounds last as long. */
enum { PATIENCE = 400 * 1000 * 1000 };

struct world {
    uint32_t word; /* 0 free, 1 held, 2 held and waited for */
    uint32_t owner;
    int32_t waiter; /* process id of one that waits for the toy */
    long inside;
    plait_lock lock;
};

/* --- a lock that knows nothing of deaths --- */

static void toy_lock(struct world *w)
{
    uint32_t seen = 0;
    if (pl_cas_acquire(&w->word, &seen, 1u))
        return;
    while (pl_exchange_acquire(&w->word, 2u) != 0)
        pl_futex_wait(&w->word, 2, true, INT64_MAX);
}

static void toy_unlock(struct world *w)
{
    if (pl_exchange_release(&w->word, 0u) == 2)
        pl_futex_wake(&w->word, 1, true);
}

static void take_toy(void *world, int who)
{
    (void)who;
    toy_lock(world);
}

static void give_toy(void *world, int who)
{
    (void)who;
    toy_unlock(world);
}

static void pass_toy(void *world, int who)
{
    ((struct world *)world)->waiter = (int32_t)getpid();
    take_toy(world, who);
    give_toy(world, who);
}

/* The waiter has said that it will sleep, and sleeps. */
static bool waiter_sleeps(const struct world *w)
{
    char path[40], state = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", w->waiter);
    FILE *stat = fopen(path, "r");
    if (stat && fscanf(stat, "%*d (%*[^)]) %c", &state) != 1)
        state = 0;
    if (stat)
        fclose(stat);
    return __atomic_load_n(&w->word, __ATOMIC_SEQ_CST) == 2 && state == 'S';
}

static void give_waited_for_toy(void *world, int who)
{
    while (!waiter_sleeps(world))
        usleep(200);
    give_toy(world, who);
}

/* --- the same, but whoever waits looks whether the owner lives --- */

static void take_from_dead(struct world *w)
{
    uint32_t owner = pl_load_acquire(&w->owner);
    if (owner && pl_is_dead(owner) && pl_cas_acq_rel(&w->owner, &owner, 0u))
        toy_unlock(w);
}

/* Wound: between taking and saying who took it, nobody knows. */
static void take_careful_toy(void *world, int who)
{
    struct world *w = world;
    (void)who;
    uint32_t seen = 0;
    while (!pl_cas_acquire(&w->word, &seen, 1u)) {
        take_from_dead(w);
        usleep(200);
        seen = 0;
    }
    pl_store_release(&w->owner, pl_self.id);
}

static void pass_careful_toy(void *world, int who)
{
    struct world *w = world;
    take_careful_toy(w, who);
    pl_store_release(&w->owner, 0u);
    pl_store_release(&w->word, 0u);
}

/* --- real operations with false expectations --- */

static void change_under_lock(void *world, int who)
{
    struct world *w = world;
    (void)who;
    plait_lock_acquire(&w->lock, PLAIT_FOREVER);
    w->inside++;
    plait_lock_release(&w->lock);
}

static void expect_one_change(void *world)
{
    STEPS_EXPECT(((struct world *)world)->inside == 1 + 1);
}

static void leave_a_block(void *world, int who)
{
    (void)world, (void)who;
    plait_alloc(100);
}

static int stay(void *unused)
{
    (void)unused;
    for (;;)
        pause();
    return 0;
}

static void leave_a_worker(void *world)
{
    plait_worker w;
    (void)world;
    plait_start(&w, PLAIT_PROCESS, stay, NULL, &(plait_options){.detach = true});
}

static void fork_a_stray(void *world)
{
    (void)world;
    if (fork() == 0)
        stay(NULL);
}

/* --- scenarios --- */

#define TOY .world_size = sizeof(struct world), .patience = PATIENCE

static const struct steps_scenario deaf = {
    .name = "toy: no one notices", TOY, .act = take_toy, .late = {1, 1, 0, pass_toy}};
static const struct steps_scenario forgetful = {.name = "toy: lost wake-up",
                                                TOY,
                                                .prepare = take_toy,
                                                .ahead = {.processes = 1, .run = pass_toy},
                                                .act = give_waited_for_toy};
static const struct steps_scenario careful = {.name = "toy: a window of one step",
                                              TOY,
                                              .act = take_careful_toy,
                                              .late = {1, 1, 0, pass_careful_toy}};
static const struct steps_scenario false_hope = {.name = "toy: not always done",
                                                 TOY,
                                                 .act = change_under_lock,
                                                 .late = {1, 0, 0, change_under_lock},
                                                 .check = expect_one_change};
static const struct steps_scenario leaky = {
    .name = "toy: memory leaks", TOY, .act = change_under_lock, .late = {1, 0, 0, leave_a_block}};
static const struct steps_scenario crowded = {
    .name = "toy: a worker stays", TOY, .act = change_under_lock, .aftermath = leave_a_worker};
static const struct steps_scenario stray = {
    .name = "toy: a process stays", TOY, .act = change_under_lock, .aftermath = fork_a_stray};
static const struct steps_scenario sound = {.name = "toy: plait's lock",
                                            .world_size = sizeof(struct world),
                                            .act = change_under_lock,
                                            .late = {1, 1, 0, change_under_lock}};

static struct steps_report try(const struct steps_scenario *s)
{
    return steps_series(s, false, true);
}

static void catches_a_lock_whose_holder_died(void **state)
{
    (void)state;
    struct steps_report report = try(&deaf);
    assert_int_equal(report.failures, 2); /* the two rounds that end alive, and with the lock */
    assert_non_null(strstr(report.failure, "do not come through: 0 (thread"));
}

static void catches_a_lost_wake_up(void **state)
{
    (void)state;
    struct steps_report report = try(&forgetful);
    /* Before the word changes: held for ever. Between change and wake-up: free, but one sleeps. */
    assert_int_equal(report.steps, 2);
    assert_int_equal(report.failures, 2);
    assert_non_null(strstr(report.failure, "do not come through"));
}

static void catches_a_window_of_one_step(void **state)
{
    (void)state;
    struct steps_report report = try(&careful);
    assert_int_equal(report.steps, 2);
    assert_int_equal(report.failures, 1);
    assert_non_null(strstr(report.failure, "killed at step 2 (store world+4)"));
}

static void catches_a_broken_invariant(void **state)
{
    (void)state;
    struct steps_report report = try(&false_hope);
    assert_int_equal(report.failures, 1); /* killed before it had the lock */
    assert_non_null(strstr(report.failure, "killed at step 1"));
    assert_non_null(strstr(report.failure, "inside == 1 + 1"));
}

static void catches_leaks(void **state)
{
    (void)state;
    assert_non_null(strstr(try(&leaky).failure, "1 blocks of memory leak"));
    assert_non_null(strstr(try(&crowded).failure, "entries of the worker table leak"));
    assert_non_null(strstr(try(&stray).failure, "processes are left behind"));
}

static void is_content_with_a_sound_lock(void **state)
{
    (void)state;
    struct steps_report report = steps_series(&sound, true, true);
    assert_int_equal(report.failures, 0);
    assert_true(report.steps >= 2);
    assert_true(report.recoverers >= 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(catches_a_lock_whose_holder_died),
        cmocka_unit_test(catches_a_lost_wake_up),
        cmocka_unit_test(catches_a_window_of_one_step),
        cmocka_unit_test(catches_a_broken_invariant),
        cmocka_unit_test(catches_leaks),
        cmocka_unit_test(is_content_with_a_sound_lock),
    };
    return cmocka_run_group_tests_name("steps", tests, NULL, NULL);
}
