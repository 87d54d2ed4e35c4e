/* Ten classical mistakes: each must be found, its schedule must fail again when repeated, and with the
 * mistake corrected every run must come through.
 *
 * `corrected` stands where the two versions differ, so the mistake can be read off the line. */
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
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool corrected; /* the same in all runs of a search */

static void sleep_while(uint32_t *word, uint32_t seen)
{
    pl_futex_wait(word, seen, false, PL_NEVER);
}

static void wake(uint32_t *word, int n)
{
    pl_futex_wake(word, n, false);
}

/* --- 1: looks first, says afterwards that it is going to sleep --- */

struct flag {
    uint32_t raised, sleepers, bell;
};

static void raise_flag(void *world)
{
    struct flag *f = world;
    pl_store_seq_cst(&f->raised, 1u);
    if (pl_load_seq_cst(&f->sleepers)) {
        pl_fetch_add_seq_cst(&f->bell, 1u);
        wake(&f->bell, INT_MAX);
    }
}

static void wait_for_flag(void *world)
{
    struct flag *f = world;
    if (corrected)
        pl_fetch_add_seq_cst(&f->sleepers, 1u);
    while (!pl_load_seq_cst(&f->raised)) {
        uint32_t bell = pl_load_seq_cst(&f->bell);
        if (!corrected)
            pl_fetch_add_seq_cst(&f->sleepers, 1u);
        if (!corrected || !pl_load_seq_cst(&f->raised))
            sleep_while(&f->bell, bell);
    }
}

static void name_flag(void *world)
{
    struct flag *f = world;
    EXPLORE_NAME(f->raised);
    EXPLORE_NAME(f->sleepers);
    EXPLORE_NAME(f->bell);
}

static const struct explore_scenario look_then_announce = {
    .name = "looks before it announces that it sleeps",
    .world_size = sizeof(struct flag),
    .memory = EXPLORE_PRIVATE,
    .setup = name_flag,
    .run = {wait_for_flag, raise_flag}};

/* --- 2: does not look again after waking --- */

struct store {
    plait_condition filled;
    int items;
};

static void take_item(void *world)
{
    struct store *s = world;
    plait_lock_acquire(plait_condition_lock(&s->filled), PLAIT_FOREVER);
    if (corrected)
        while (s->items == 0)
            plait_condition_wait(&s->filled, PLAIT_FOREVER);
    else if (s->items == 0)
        plait_condition_wait(&s->filled, PLAIT_FOREVER);
    EXPLORE_EXPECT(s->items > 0);
    s->items--;
    plait_lock_release(plait_condition_lock(&s->filled));
}

static void put_two_items(void *world)
{
    struct store *s = world;
    for (int i = 0; i < 2; i++) {
        plait_lock_acquire(plait_condition_lock(&s->filled), PLAIT_FOREVER);
        s->items++;
        plait_condition_notify(&s->filled, 1);
        plait_lock_release(plait_condition_lock(&s->filled));
    }
}

static const struct explore_scenario if_for_while = {.name = "does not look again after waking",
                                                     .world_size = sizeof(struct store),
                                                     .memory = EXPLORE_PRIVATE,
                                                     .preemptions = 2,
                                                     .run = {take_item, take_item, put_two_items}};

/* --- 3: ABA --- */

enum { NODES = 3 };

struct stack {
    uint64_t head; /* index of the first, 0: none; corrected: above it a count of changes */
    uint32_t next[NODES + 1];
    int owner[NODES + 1]; /* 1 + who has taken it, 0: it is in the stack */
};

static uint64_t head_after(uint64_t head, uint32_t index)
{
    return corrected ? ((head >> 32) + 1) << 32 | index : index;
}

static uint32_t pop(struct stack *s)
{
    uint64_t head = pl_load_acquire(&s->head);
    uint32_t index, next;
    do {
        index = (uint32_t)head;
        if (index == 0)
            return 0;
        next = pl_load_relaxed(&s->next[index]);
    } while (!pl_cas_acq_rel(&s->head, &head, head_after(head, next)));
    EXPLORE_EXPECT(s->owner[index] == 0);
    s->owner[index] = 1 + explore_self();
    return index;
}

static void push(struct stack *s, uint32_t index)
{
    uint64_t head = pl_load_acquire(&s->head);
    s->owner[index] = 0;
    do
        pl_store_relaxed(&s->next[index], (uint32_t)head);
    while (!pl_cas_acq_rel(&s->head, &head, head_after(head, index)));
}

static void fill_stack(void *world)
{
    EXPLORE_NAME(((struct stack *)world)->head);
    EXPLORE_NAME(((struct stack *)world)->next);
    for (uint32_t i = NODES; i > 0; i--)
        push(world, i);
}

static void pop_two(void *world)
{
    pop(world);
    pop(world);
}

static void pop_two_push_first(void *world)
{
    uint32_t first = pop(world);
    pop(world);
    if (first)
        push(world, first);
}

static const struct explore_scenario aba = {.name = "takes an old head for a new one (ABA)",
                                            .world_size = sizeof(struct stack),
                                            .memory = EXPLORE_PRIVATE,
                                            .setup = fill_stack,
                                            .run = {pop_two, pop_two_push_first}};

/* --- 4: wakes before it stores --- */

static void set_and_wake(void *world)
{
    uint32_t *word = world;
    if (!corrected)
        wake(word, 1);
    pl_store_release(word, 1u);
    if (corrected)
        wake(word, 1);
}

static void wait_until_set(void *world)
{
    uint32_t *word = world;
    while (!pl_load_acquire(word))
        sleep_while(word, 0);
}

static const struct explore_scenario wake_then_store = {.name = "wakes before it stores",
                                                        .world_size = sizeof(uint32_t),
                                                        .memory = EXPLORE_PRIVATE,
                                                        .run = {wait_until_set, set_and_wake}};

/* --- 5: clears the sleepers' flag before the change they wait for --- */

static void raise_and_clear(void *world)
{
    struct flag *f = world;
    uint32_t sleepers = 0;
    if (!corrected)
        sleepers = pl_exchange_acq_rel(&f->sleepers, 0u);
    pl_store_seq_cst(&f->raised, 1u);
    if (corrected)
        sleepers = pl_exchange_acq_rel(&f->sleepers, 0u);
    if (sleepers) {
        pl_fetch_add_seq_cst(&f->bell, 1u);
        wake(&f->bell, INT_MAX);
    }
}

static void announce_and_wait(void *world)
{
    struct flag *f = world;
    for (;;) {
        uint32_t bell = pl_load_seq_cst(&f->bell);
        pl_store_seq_cst(&f->sleepers, 1u);
        if (pl_load_seq_cst(&f->raised))
            return;
        sleep_while(&f->bell, bell);
    }
}

static const struct explore_scenario cleared_early = {
    .name = "clears the sleepers' flag before the change",
    .world_size = sizeof(struct flag),
    .memory = EXPLORE_PRIVATE,
    .setup = name_flag,
    .run = {announce_and_wait, raise_and_clear, announce_and_wait}};

/* --- 6: counts in two steps --- */

static void count(void *world)
{
    uint32_t *counter = world;
    if (corrected)
        pl_fetch_add_relaxed(counter, 1u);
    else
        pl_store_relaxed(counter, pl_load_relaxed(counter) + 1);
}

static void two_were_counted(void *world)
{
    EXPLORE_EXPECT(*(uint32_t *)world == 2);
}

static const struct explore_scenario count_in_two = {.name = "counts in two steps",
                                                     .world_size = sizeof(uint32_t),
                                                     .memory = EXPLORE_PRIVATE,
                                                     .run = {count, count},
                                                     .check = two_were_counted};

/* --- 7: publishes before it has filled in --- */

struct settings {
    plait_lock lock;
    uint32_t made, value;
};

static void use_settings(void *world)
{
    struct settings *s = world;
    if (!pl_load_acquire(&s->made)) {
        plait_lock_acquire(&s->lock, PLAIT_FOREVER);
        if (!pl_load_relaxed(&s->made)) {
            if (!corrected)
                pl_store_release(&s->made, 1u);
            pl_store_relaxed(&s->value, 42u);
            if (corrected)
                pl_store_release(&s->made, 1u);
        }
        plait_lock_release(&s->lock);
    }
    EXPLORE_EXPECT(pl_load_relaxed(&s->value) == 42);
}

static const struct explore_scenario published_empty = {
    .name = "publishes before it has filled in (double-checked)",
    .world_size = sizeof(struct settings),
    .memory = EXPLORE_PRIVATE,
    .run = {use_settings, use_settings}};

/* --- 8: a notification goes to one who has timed out --- */

enum { NOBODY, WAITING, NOTIFIED };

struct office {
    plait_lock lock;
    uint32_t turns[2]; /* futexes; of two waiters */
    int letters;
};

static void notify_one(struct office *o)
{
    for (int i = 0; i < 2; i++)
        if (o->turns[i] == WAITING) {
            pl_store_release(&o->turns[i], (uint32_t)NOTIFIED);
            wake(&o->turns[i], 1);
            return;
        }
}

/* With the lock held. 0, or -ETIMEDOUT. */
static int wait_for_turn(struct office *o, uint32_t *turn, int64_t deadline)
{
    pl_store_relaxed(turn, (uint32_t)WAITING);
    plait_lock_release(&o->lock);
    int rc = 0;
    while (rc == 0 && pl_load_acquire(turn) == WAITING)
        rc = pl_futex_wait(turn, WAITING, false, deadline);
    plait_lock_acquire(&o->lock, PLAIT_FOREVER);
    if (corrected && *turn == NOTIFIED)
        rc = 0;
    pl_store_relaxed(turn, (uint32_t)NOBODY);
    return rc;
}

/* Takes a letter, and puts it back for the next. */
static void fetch_letter(struct office *o, uint32_t *turn, int64_t deadline)
{
    int rc = 0;
    plait_lock_acquire(&o->lock, PLAIT_FOREVER);
    while (rc == 0 && o->letters == 0)
        rc = wait_for_turn(o, turn, deadline);
    if (rc == 0)
        notify_one(o);
    plait_lock_release(&o->lock);
}

static void fetch_in_time(void *world)
{
    struct office *o = world;
    fetch_letter(o, &o->turns[0], plait_now() + 1000);
}

static void fetch_patiently(void *world)
{
    struct office *o = world;
    fetch_letter(o, &o->turns[1], PL_NEVER);
}

static void deliver(void *world)
{
    struct office *o = world;
    plait_lock_acquire(&o->lock, PLAIT_FOREVER);
    o->letters++;
    notify_one(o);
    plait_lock_release(&o->lock);
}

static const struct explore_scenario notified_too_late = {
    .name = "a notification goes to one who has timed out",
    .world_size = sizeof(struct office),
    .memory = EXPLORE_PRIVATE,
    .preemptions = 2,
    .run = {fetch_in_time, fetch_patiently, deliver}};

/* --- 9: releases two permits by load and store --- */

static void release_two(void *world)
{
    uint32_t *permits = world;
    if (corrected)
        pl_fetch_add_acq_rel(permits, 2u);
    else
        pl_store_release(permits, pl_load_relaxed(permits) + 2);
    wake(permits, 2);
}

static void acquire_one(void *world)
{
    uint32_t *permits = world, seen = pl_load_relaxed(permits);
    for (;;)
        if (seen == 0) {
            sleep_while(permits, 0);
            seen = pl_load_relaxed(permits);
        } else if (pl_cas_acquire(permits, &seen, seen - 1)) {
            return;
        }
}

static void one_permit(void *world)
{
    *(uint32_t *)world = 1;
    explore_name(world, sizeof(uint32_t), "permits");
}

static void two_are_left(void *world)
{
    EXPLORE_EXPECT(*(uint32_t *)world == 2);
}

static const struct explore_scenario release_in_two = {.name =
                                                           "releases two permits by load and store",
                                                       .world_size = sizeof(uint32_t),
                                                       .memory = EXPLORE_PRIVATE,
                                                       .setup = one_permit,
                                                       .run = {release_two, acquire_one},
                                                       .check = two_are_left};

/* --- 10: a reader registers after it has looked for a writer --- */

struct book {
    uint32_t readers, writer;
    int inside; /* readers, or -1: a writer */
};

static void read_book(void *world)
{
    struct book *b = world;
    if (corrected)
        pl_fetch_add_seq_cst(&b->readers, 1u);
    bool free_to_read = !pl_load_seq_cst(&b->writer);
    if (!corrected && free_to_read)
        pl_fetch_add_seq_cst(&b->readers, 1u);
    if (free_to_read) {
        EXPLORE_EXPECT(b->inside++ >= 0);
        explore_step("inside", &b->inside);
        EXPLORE_EXPECT(--b->inside >= 0);
    }
    if (corrected || free_to_read)
        pl_fetch_add_seq_cst(&b->readers, -1u);
}

static void write_book(void *world)
{
    struct book *b = world;
    pl_store_seq_cst(&b->writer, 1u);
    if (!pl_load_seq_cst(&b->readers)) {
        EXPLORE_EXPECT(b->inside == 0);
        b->inside = -1;
        explore_step("inside", &b->inside);
        b->inside = 0;
    }
    pl_store_seq_cst(&b->writer, 0u);
}

static const struct explore_scenario registers_late = {
    .name = "a reader registers after it has looked for a writer",
    .world_size = sizeof(struct book),
    .memory = EXPLORE_PRIVATE,
    .run = {read_book, write_book, read_book}};

/* --- finding them --- */

static const struct mistake {
    const struct explore_scenario *scenario;
    const char *finding; /* part of what is to be told */
} mistakes[] = {
    {&look_then_announce, "deadlock: asleep for ever are a on bell"},
    {&if_for_while, "not true in "},
    {&aba, "not true in a: s->owner[index] == 0"},
    {&wake_then_store, "deadlock: asleep for ever are a on "},
    {&cleared_early, "deadlock: asleep for ever are "},
    {&count_in_two, "not true in setup or check: *(uint32_t *)world == 2"},
    {&published_empty, "not true in "},
    {&notified_too_late, "deadlock: asleep for ever are b on "},
    {&release_in_two, "not true in setup or check: *(uint32_t *)world == 2"},
    {&registers_late, "not true in "},
};

static void is_found_again(const struct explore_scenario *s, const struct explore_report *found)
{
    for (int i = 0; i < 3; i++) {
        struct explore_report again = explore_replay(s, found->schedule, false);
        assert_true(again.failed);
        assert_string_equal(again.failure, found->failure);
        assert_string_equal(again.schedule, found->schedule);
    }
}

static void is_found(const struct mistake *m)
{
    corrected = false;
    struct explore_report report = explore(m->scenario, true);
    print_message("  found in run %ld, %d preemptions: EXPLORE='%s@%s'\n    %s\n", report.runs,
                  report.preemptions, m->scenario->name, report.schedule, report.failure);
    assert_true(report.failed);
    assert_non_null(strstr(report.failure, m->finding));
    is_found_again(m->scenario, &report);
}

static void is_found_and_the_cure_holds(void **state)
{
    const struct mistake *m = *state;
    void *scenario = (void *)m->scenario;
    if (!getenv("EXPLORE"))
        is_found(m);
    corrected = !getenv("EXPLORE"); /* who asks wants to see it */
    explore_test(&scenario);
}

int main(void)
{
    enum { N = sizeof mistakes / sizeof *mistakes };
    struct CMUnitTest tests[N];
    for (int i = 0; i < N; i++)
        tests[i] = (struct CMUnitTest){mistakes[i].scenario->name, is_found_and_the_cure_holds,
                                       NULL, NULL, (void *)&mistakes[i]};
    int rc = cmocka_run_group_tests_name("mistakes", tests, NULL, NULL);
    explore_print_total();
    return rc;
}
