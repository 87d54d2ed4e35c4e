/* The harness itself: that it tries what it says, tells what it finds, and stops where it must. */
#include "explore.h"

#include "base/atomic.h"
#include "base/clock.h"
#include "port/futex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* What runs ended in; outlives the process of a search. */
static struct {
    long seen[64];
} * outcomes;

static void forget_outcomes(void)
{
    memset(outcomes, 0, sizeof *outcomes);
}

static uint64_t set_of_outcomes(void)
{
    uint64_t set = 0;
    for (int i = 0; i < 64; i++)
        if (outcomes->seen[i])
            set |= UINT64_C(1) << i;
    return set;
}

static int number_of_outcomes(void)
{
    return __builtin_popcountll(set_of_outcomes());
}

static struct explore_report explore_anew(const struct explore_scenario *s)
{
    forget_outcomes();
    return explore(s, true);
}

static void must_find(const struct explore_scenario *s, const char *text)
{
    struct explore_report report = explore_anew(s);
    if (!report.failed || !strstr(report.failure, text))
        fail_msg("%s: \"%s\" is not in \"%s\"", s->name, text, report.failure);
    struct explore_report again = explore_replay(s, report.schedule, false);
    assert_true(again.failed);
    assert_string_equal(again.failure, report.failure);
}

static void must_pass(const struct explore_scenario *s)
{
    struct explore_report report = explore_anew(s);
    if (report.failed)
        fail_msg("%s: %s", s->name, report.failure);
}

/* --- which orders --- */

struct order {
    uint32_t word;
    uint32_t n;
    int steps; /* a bit per step: 1 for b's */
};

static void step(struct order *o, int who)
{
    explore_step("step", &o->word);
    o->steps |= who << o->n++;
}

static void two_steps(void *world)
{
    step(world, explore_self());
    step(world, explore_self());
}

static void note_order(void *world)
{
    outcomes->seen[((struct order *)world)->steps]++;
}

static void every_order_is_tried(void **state)
{
    (void)state;
    struct explore_scenario s = {.name = "two and two steps",
                                 .world_size = sizeof(struct order),
                                 .memory = EXPLORE_PRIVATE,
                                 .run = {two_steps, two_steps},
                                 .check = note_order};
    must_pass(&s);
    assert_int_equal(number_of_outcomes(), 6); /* 4 over 2 */
}

static void as_many_preemptions_as_asked_for(void **state)
{
    (void)state;
    struct explore_scenario s = {.name = "two and two steps",
                                 .world_size = sizeof(struct order),
                                 .memory = EXPLORE_PRIVATE,
                                 .run = {two_steps, two_steps},
                                 .check = note_order,
                                 .preemptions = EXPLORE_NONE};
    must_pass(&s);
    assert_int_equal(set_of_outcomes(), 1u << 3 | 1u << 12); /* aabb, bbaa */
    s.preemptions = 1;
    must_pass(&s);
    assert_int_equal(set_of_outcomes(), 1u << 3 | 1u << 12 | 1u << 6 | 1u << 9); /* abba, baab */
}

static void a_larger_scale_allows_more(void **state)
{
    (void)state;
    struct explore_scenario s = {.name = "two and two steps",
                                 .world_size = sizeof(struct order),
                                 .memory = EXPLORE_PRIVATE,
                                 .run = {two_steps, two_steps},
                                 .preemptions = 1};
    const char *before = getenv("PLAIT_TEST_SCALE");
    char *kept = before ? strdup(before) : NULL;
    const struct {
        const char *scale;
        int preemptions;
    } cases[] = {{"1", 1}, {"5", 2}, {"50", 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        setenv("PLAIT_TEST_SCALE", cases[i].scale, 1);
        assert_int_equal(explore_anew(&s).preemptions, cases[i].preemptions);
    }
    if (kept)
        setenv("PLAIT_TEST_SCALE", kept, 1);
    else
        unsetenv("PLAIT_TEST_SCALE");
    free(kept);
}

/* Words that only one worker uses, or that nobody changes, are passed by; what can come out must be
 * the same. */
struct mixed {
    uint32_t constant, own[2], shared[2];
    int result;
};

static void mix(void *world)
{
    struct mixed *m = world;
    int who = explore_self();
    for (int i = 0; i < 2; i++) {
        pl_store_relaxed(&m->own[who], pl_load_relaxed(&m->own[who]) + 1);
        uint32_t other = pl_load_relaxed(&m->shared[!who]);
        uint32_t constant = pl_load_relaxed(&m->constant);
        pl_store_relaxed(&m->own[who], m->own[who] + other);
        pl_store_relaxed(&m->shared[who], pl_load_relaxed(&m->own[who]) + constant);
    }
}

static void note_mixture(void *world)
{
    struct mixed *m = world;
    outcomes->seen[(m->own[0] * 8 + m->own[1]) % 64]++;
}

static void steps_that_make_no_difference_are_passed_by(void **state)
{
    (void)state;
    struct explore_scenario s = {.name = "own words and others",
                                 .world_size = sizeof(struct mixed),
                                 .memory = EXPLORE_PRIVATE,
                                 .run = {mix, mix},
                                 .check = note_mixture,
                                 .preemptions = 3};
    struct explore_report few = explore_anew(&s);
    uint64_t with_few = set_of_outcomes();
    s.everywhere = true;
    struct explore_report all = explore_anew(&s);
    assert_false(few.failed || all.failed);
    assert_int_equal(with_few, set_of_outcomes());
    assert_true(number_of_outcomes() > 4);
    assert_true(few.runs * 3 < all.runs);
    assert_int_equal(few.words, 2);
}

/* --- what is found --- */

struct locks {
    plait_lock first, second;
};

static void name_locks(void *world)
{
    struct locks *l = world;
    EXPLORE_NAME(l->first.word_);
    EXPLORE_NAME(l->second.word_);
}

static void lock_both(plait_lock *one, plait_lock *two)
{
    plait_lock_acquire(one, PLAIT_FOREVER);
    plait_lock_acquire(two, PLAIT_FOREVER);
    plait_lock_release(two);
    plait_lock_release(one);
}

static void first_second(void *world)
{
    struct locks *l = world;
    lock_both(&l->first, &l->second);
}

static void second_first(void *world)
{
    struct locks *l = world;
    lock_both(&l->second, &l->first);
}

static void a_deadlock_is_found_in_both_kinds_of_memory(void **state)
{
    (void)state;
    struct explore_scenario s = {.name = "crosswise",
                                 .world_size = sizeof(struct locks),
                                 .memory = EXPLORE_ARENA,
                                 .setup = name_locks,
                                 .run = {first_second, second_first}};
    must_find(&s, "deadlock: asleep for ever are a on second.word_, b on first.word_");
    s.memory = EXPLORE_PRIVATE;
    must_find(&s, "deadlock: asleep for ever are a on ");
    s.run[1] = first_second;
    s.memory = EXPLORE_BOTH;
    must_pass(&s);
}

static void wait_for_the_word(void *world)
{
    while (!pl_load_acquire((uint32_t *)world))
        explore_yield();
}

static void set_the_word(void *world)
{
    pl_store_release((uint32_t *)world, 1u);
}

static void a_run_without_an_end_is_found(void **state)
{
    (void)state;
    struct explore_scenario s = {.name = "waits for ever, awake",
                                 .world_size = sizeof(uint32_t),
                                 .run = {wait_for_the_word, wait_for_the_word}};
    must_find(&s, "does not end: more than 5000 steps");
    s.longest = 30;
    must_find(&s, "does not end: more than 30 steps");
    s.run[1] = set_the_word;
    must_pass(&s);
}

static void crash_if_second(void *world)
{
    if (pl_fetch_add_relaxed((uint32_t *)world, 1u) == 1 && explore_self() == 0)
        raise(SIGSEGV);
}

static void exit_if_second(void *world)
{
    if (pl_fetch_add_relaxed((uint32_t *)world, 1u) == 1 && explore_self() == 0)
        _Exit(3);
}

static void a_crash_is_found(void **state)
{
    (void)state;
    struct explore_scenario s = {.name = "crashes",
                                 .world_size = sizeof(uint32_t),
                                 .run = {crash_if_second, crash_if_second}};
    must_find(&s, "crashes: Segmentation fault");
    s.run[0] = s.run[1] = exit_if_second;
    must_find(&s, "ends its process with status 3");
}

static void is_below_two(void *world)
{
    EXPLORE_EXPECT(*(uint32_t *)world < 2, "; it is %d", 2);
}

static void one_step_up(void *world)
{
    pl_fetch_add_relaxed((uint32_t *)world, 1u);
    explore_step("load", world);
}

static void an_expectation_is_heard_wherever_it_stands(void **state)
{
    (void)state;
    struct explore_scenario s = {.name = "expects",
                                 .world_size = sizeof(uint32_t),
                                 .run = {one_step_up, one_step_up},
                                 .always = is_below_two};
    must_find(&s, "< 2 ; it is 2");
    s.check = s.always;
    s.always = NULL;
    must_find(&s, "not true in setup or check: ");
}

static void a_scenario_that_differs_from_run_to_run_is_found_out(void **state)
{
    (void)state;
    extern void differ(void *world);
    struct explore_scenario s = {
        .name = "differs", .world_size = sizeof(uint32_t), .run = {differ, one_step_up}};
    struct explore_report report = explore_anew(&s);
    assert_true(report.failed);
    assert_non_null(strstr(report.failure, "not the same in each run"));
}

void differ(void *world);
void differ(void *world)
{
    static int run;
    if (run++ % 2 == 0)
        one_step_up(world);
    one_step_up(world);
}

/* --- sleeping --- */

static void sleep_at_most_1_us(void *world)
{
    uint32_t *word = world;
    int rc = pl_futex_wait(word, 0, false, plait_now() + 1000);
    outcomes->seen[rc == -ETIMEDOUT ? 1 : pl_load_relaxed(word) ? 2 : 3]++;
}

static void set_and_wake(void *world)
{
    set_the_word(world);
    pl_futex_wake(world, 1, false);
}

static void a_timeout_comes_at_any_moment(void **state)
{
    (void)state;
    struct explore_scenario s = {.name = "timeout or wake-up",
                                 .world_size = sizeof(uint32_t),
                                 .run = {sleep_at_most_1_us, set_and_wake}};
    must_pass(&s);
    assert_int_equal(set_of_outcomes(), 1u << 1 | 1u << 2);
    s.preemptions = EXPLORE_NONE; /* it could not have slept but for the other */
    must_pass(&s);
    assert_int_equal(set_of_outcomes(), 1u << 2);
    s.run[1] = set_the_word; /* wakes nobody: only its time can end the sleep */
    must_pass(&s);
    assert_int_equal(set_of_outcomes(), 1u << 1 | 1u << 2);
}

static void waking_for_no_reason_is_tried_if_asked_for(void **state)
{
    (void)state;
    struct explore_scenario s = {.name = "spurious",
                                 .world_size = sizeof(uint32_t),
                                 .spurious = true,
                                 .run = {sleep_at_most_1_us, set_and_wake}};
    must_pass(&s);
    assert_int_equal(set_of_outcomes(), 1u << 1 | 1u << 2 | 1u << 3);
}

static void sleep_and_note(void *world)
{
    uint32_t *words = world;
    if (pl_load_relaxed(&words[0]) == 0)
        pl_futex_wait(&words[0], 0, false, PL_NEVER);
    if (pl_fetch_add_relaxed(&words[1], 1u) == 0)
        outcomes->seen[explore_self()]++;
}

/* When a sleeps, and then b. */
static void wake_one_by_one(void *world)
{
    uint32_t *words = world;
    while (!explore_sleeps(0) || !explore_sleeps(1))
        explore_yield();
    pl_futex_wake(&words[0], 1, false);
    while (!explore_ended(0) && !explore_ended(1))
        explore_yield();
    pl_futex_wake(&words[0], 1, false);
}

static void b_sleeps_after_a(void *world)
{
    while (!explore_sleeps(0))
        explore_yield();
    sleep_and_note(world);
}

static void any_sleeper_is_woken_if_asked_for(void **state)
{
    (void)state;
    struct explore_scenario s = {.name = "who is woken first",
                                 .world_size = 2 * sizeof(uint32_t),
                                 .run = {sleep_and_note, b_sleeps_after_a, wake_one_by_one}};
    must_pass(&s);
    assert_int_equal(set_of_outcomes(), 1);
    s.any_sleeper = true;
    must_pass(&s);
    assert_int_equal(set_of_outcomes(), 3);
}

/* Naps would mend a lost wake-up of plait's own waits. */
static void acquire(void *world)
{
    plait_semaphore_acquire(world, PLAIT_FOREVER);
}

static void release_without_waking(void *world)
{
    plait_semaphore *s = world;
    pl_fetch_add_relaxed(&s->word_, 1u);
}

static void naps_do_not_end_unless_asked_for(void **state)
{
    (void)state;
    struct explore_scenario s = {.name = "lost, but for a nap",
                                 .world_size = sizeof(plait_semaphore),
                                 .run = {acquire, release_without_waking}};
    must_find(&s, "deadlock: ");
    s.longest_nap = plait_seconds(10);
    must_pass(&s);
}

static void cancel_a(void *world)
{
    (void)world;
    plait_cancel(explore_worker(0));
}

static void acquire_until_cancelled(void *world)
{
    int rc = plait_semaphore_acquire(world, PLAIT_FOREVER);
    EXPLORE_EXPECT(rc == PLAIT_ECANCELED);
    EXPLORE_EXPECT(plait_self().slot == explore_worker(0).slot);
}

static void a_request_to_stop_reaches_a_sleeper(void **state)
{
    (void)state;
    struct explore_scenario s = {.name = "cancelled",
                                 .world_size = sizeof(plait_semaphore),
                                 .run = {acquire_until_cancelled, cancel_a}};
    must_pass(&s);
}

/* --- at random, and again --- */

static void count_in_two(void *world)
{
    pl_store_relaxed((uint32_t *)world, pl_load_relaxed((uint32_t *)world) + 1);
}

static void all_were_counted(void *world)
{
    EXPLORE_EXPECT(*(uint32_t *)world == 4);
}

static struct explore_scenario four_count = {
    .name = "four count in two steps",
    .world_size = sizeof(uint32_t),
    .memory = EXPLORE_PRIVATE,
    .run = {count_in_two, count_in_two, count_in_two, count_in_two},
    .check = all_were_counted,
    .random = 1000};

static void chance_finds_it_and_the_seed_finds_it_again(void **state)
{
    (void)state;
    char seed[24];
    struct explore_report report = explore_anew(&four_count), again;
    assert_true(report.failed);
    assert_int_equal(report.preemptions, -1);
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)report.seed);
    setenv("PLAIT_TEST_SEED", seed, 1);
    again = explore_anew(&four_count);
    unsetenv("PLAIT_TEST_SEED");
    assert_int_equal(again.runs, report.runs);
    assert_string_equal(again.schedule, report.schedule);
    again = explore_replay(&four_count, report.schedule, false);
    assert_string_equal(again.schedule, report.schedule);
}

static void a_schedule_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    const char *const schedules[] = {"private:a1.tb", "private:a9.b1", "private:a2.a1"};
    for (size_t i = 0; i < sizeof schedules / sizeof *schedules; i++) {
        struct explore_report report = explore_replay(&four_count, schedules[i], false);
        assert_true(report.failed);
        assert_non_null(strstr(report.failure, "the schedule does not fit"));
    }
    assert_non_null(strstr(explore_replay(&four_count, "nonsense", false).failure, "no schedule"));
    struct explore_report fine = explore_replay(&four_count, "private:d2.c2.b2.a2", false);
    assert_false(fine.failed);
}

/* --- the example of tests/README.md --- */

struct cell {
    plait_semaphore full;
    int item;
};

static void put(void *world)
{
    struct cell *c = world;
    c->item = 7;
    plait_semaphore_release(&c->full, 1);
}

static void put_too_late(void *world)
{
    struct cell *c = world;
    plait_semaphore_release(&c->full, 1);
    c->item = 7;
}

static void get(void *world)
{
    struct cell *c = world;
    EXPLORE_EXPECT(plait_semaphore_acquire(&c->full, PLAIT_FOREVER) == 0);
    EXPLORE_EXPECT(c->item == 7);
}

static void the_example_holds(void **state)
{
    (void)state;
    struct explore_scenario hand_over = {
        .name = "hand over", .world_size = sizeof(struct cell), .run = {put, get}};
    must_pass(&hand_over);
    hand_over.run[0] = put_too_late;
    must_find(&hand_over, "not true in b: c->item == 7");
    print_message("  %s\n", explore_anew(&hand_over).schedule);
}

int main(void)
{
    enum { WRITE = PROT_READ | PROT_WRITE };
    outcomes = mmap(NULL, sizeof *outcomes, WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_order_is_tried),
        cmocka_unit_test(as_many_preemptions_as_asked_for),
        cmocka_unit_test(a_larger_scale_allows_more),
        cmocka_unit_test(steps_that_make_no_difference_are_passed_by),
        cmocka_unit_test(a_deadlock_is_found_in_both_kinds_of_memory),
        cmocka_unit_test(a_run_without_an_end_is_found),
        cmocka_unit_test(a_crash_is_found),
        cmocka_unit_test(an_expectation_is_heard_wherever_it_stands),
        cmocka_unit_test(a_scenario_that_differs_from_run_to_run_is_found_out),
        cmocka_unit_test(a_timeout_comes_at_any_moment),
        cmocka_unit_test(waking_for_no_reason_is_tried_if_asked_for),
        cmocka_unit_test(any_sleeper_is_woken_if_asked_for),
        cmocka_unit_test(naps_do_not_end_unless_asked_for),
        cmocka_unit_test(a_request_to_stop_reaches_a_sleeper),
        cmocka_unit_test(chance_finds_it_and_the_seed_finds_it_again),
        cmocka_unit_test(a_schedule_that_does_not_fit_is_refused),
        cmocka_unit_test(the_example_holds),
    };
    return cmocka_run_group_tests_name("explore", tests, NULL, NULL);
}
