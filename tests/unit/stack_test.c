/* Stacks: taken and given back, guarded, and no more memory kept than promised. */
#include "harness/harness.h"

#include "base/sanitizers.h"
#include "task/stack.h"

#include <errno.h>
#include <plait/error.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MANY = 100000 };

static struct pl_stack many[MANY];

static void fill(const struct pl_stack *s)
{
    memset(s->low, 0x5a, s->size);
}

/* --- what is taken --- */

static void a_stack_is_usable_whole(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, PL_STACK_DEFAULT, PL_STACK_LEAST, 20000, 1 << 20, 3 << 20};
    struct pl_stacks p;
    pl_stacks_begin(&p);
    for (int round = 0; round < 3; round++) {
        struct pl_stack s[6];
        for (int i = 0; i < 6; i++) {
            CHECK_RC(pl_stack_take(&p, sizes[i], &s[i]), 0);
            assert_true(s[i].size >= (sizes[i] ? sizes[i] : PL_STACK_DEFAULT));
            assert_int_equal((uintptr_t)(s[i].low + s[i].size) % 64, 0);
            fill(&s[i]);
            memset(s[i].low, i, 1);
            assert_int_equal(pl_stack_used(&s[i]), s[i].size);
        }
        for (int i = 0; i < 6; i++) {
            assert_int_equal(s[i].low[0], i); /* nobody else has written there */
            pl_stack_give(&p, &s[i]);
        }
    }
    pl_stacks_end(&p);
}

static void sizes_that_cannot_be_are_refused(void **state)
{
    (void)state;
    struct pl_stacks p;
    struct pl_stack s = {(char *)12, 34};
    pl_stacks_begin(&p);
    errno = EXDEV;
    CHECK_RC(pl_stack_take(&p, 1, &s), PLAIT_EINVAL);
    CHECK_RC(pl_stack_take(&p, PL_STACK_LEAST - 1, &s), PLAIT_EINVAL);
    CHECK_RC(pl_stack_take(&p, SIZE_MAX, &s), PLAIT_ENOMEM);
    CHECK_RC(pl_stack_take(&p, SIZE_MAX / 4, &s), PLAIT_ENOMEM);
    assert_int_equal(errno, EXDEV);
    assert_true(s.low == (char *)12 && s.size == 34);
    pl_stacks_end(&p);
}

static void the_last_one_given_is_the_next_one_taken(void **state)
{
    (void)state;
    struct pl_stacks p;
    struct pl_stack a, b, c;
    pl_stacks_begin(&p);
    for (int own = 0; own < 2; own++) {
        size_t size = own ? 100000 : 0;
        CHECK_RC(pl_stack_take(&p, size, &a), 0);
        CHECK_RC(pl_stack_take(&p, size, &b), 0);
        pl_stack_give(&p, &a);
        pl_stack_give(&p, &b);
        CHECK_RC(pl_stack_take(&p, size, &c), 0);
        assert_ptr_equal(c.low, b.low);
        CHECK_RC(pl_stack_take(&p, size, &c), 0);
        assert_ptr_equal(c.low, a.low);
    }
    pl_stacks_end(&p);
}

static void used_counts_from_the_top_to_the_lowest_touched_page(void **state)
{
    (void)state;
    struct pl_stacks p;
    struct pl_stack s;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    pl_stacks_begin(&p);
    CHECK_RC(pl_stack_take(&p, 8 << 20, &s), 0); /* several times what is looked at at once */
    s.low[s.size - 1] = 1;
    assert_true(pl_stack_used(&s) <= 2 * page);
    s.low[s.size - 5 * page] = 1; /* the pages between are not touched */
    assert_in_range(pl_stack_used(&s), 5 * page, 6 * page);
    s.low[0] = 1;
    assert_int_equal(pl_stack_used(&s), s.size);
    pl_stacks_end(&p);
}

/* --- guards --- */

static sigjmp_buf out;

static void leave_fault(int signal)
{
    (void)signal;
    siglongjmp(out, 1);
}

/* Whether a write there faults. */
static bool faults(char *address)
{
    struct sigaction ours = {.sa_handler = leave_fault}, old;
    sigaction(SIGSEGV, &ours, &old);
    volatile bool faulted = true;
    if (sigsetjmp(out, 1) == 0) {
        *(volatile char *)address = 1;
        faulted = false;
    }
    sigaction(SIGSEGV, &old, NULL);
    return faulted;
}

/* The highest byte of the guard: at most a page and the slack below. */
static char *guard_below(const struct pl_stack *s)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (char *)(((uintptr_t)s->low - 1) & ~(page - 1)) - 1;
}

static void check_guard(const struct pl_stack *s)
{
    struct pl_stack found;
    char *guard = guard_below(s);
    assert_true(faults(guard));
    assert_true(pl_stack_guards(guard, &found));
    assert_ptr_equal(found.low, s->low);
    assert_int_equal(found.size, s->size);
    assert_false(faults(guard + 1));
    assert_false(pl_stack_guards(guard + 1, &found));
    assert_false(pl_stack_guards(s->low + s->size - 1, &found));
}

static void check_guards(void)
{
    struct pl_stacks p, q;
    struct pl_stack s[20], other;
    pl_stacks_begin(&p);
    pl_stacks_begin(&q); /* a second pool of the thread */
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 20; i++) {
            CHECK_RC(pl_stack_take(&p, i % 3 ? 0 : 50000, &s[i]), 0);
            CHECK_RC(pl_stack_take(&q, 0, &other), 0);
        }
        for (int i = 0; i < 20; i++)
            check_guard(&s[i]);
        check_guard(&other);
        for (int i = 0; i < 20; i++)
            pl_stack_give(&p, &s[i]);
    }
    assert_int_equal(pl_stacks_unguarded(&p), 0);
    pl_stacks_end(&p);
    check_guard(&other);
    pl_stacks_end(&q);
}

static void below_each_stack_is_a_guard(void **state)
{
    (void)state;
    check_guards();
}

/* In a child: what it forgets stays forgotten. */
static void in_a_child(void (*fn)(void))
{
    pid_t child = fork();
    if (child == 0) {
        fn();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void without_guard_regions(void)
{
    pl_stack_forget_guard_install();
    check_guards();
}

static void a_kernel_without_guard_regions_gets_protected_pages(void **state)
{
    (void)state;
    in_a_child(without_guard_regions);
}

static void with_few_mappings(void)
{
    struct pl_stacks p;
    struct pl_stack s;
    pl_stack_forget_guard_install();
    pl_stack_limit_mappings(10);
    for (int round = 0; round < 3; round++) { /* those of a pool that has ended count no more */
        pl_stacks_begin(&p);
        for (int i = 0; i < 15; i++)
            CHECK_RC(pl_stack_take(&p, i % 2 ? 0 : 50000, &s), 0);
        CHECK_EQ(pl_stacks_unguarded(&p), 5);
        fill(&s);
        pl_stacks_end(&p);
        pl_stacks_begin(&p);
        for (int i = 0; i < 30; i++) { /* unmapped as soon as it is given back */
            CHECK_RC(pl_stack_take(&p, 2 << 20, &s), 0);
            CHECK_EQ(pl_stacks_unguarded(&p), 0);
            pl_stack_give(&p, &s);
        }
        pl_stacks_end(&p);
    }
}

static void without_room_for_mappings_stacks_are_unguarded_and_counted(void **state)
{
    (void)state;
    in_a_child(with_few_mappings);
}

/* --- how many --- */

static void take_many(struct pl_stacks *p)
{
    for (int i = 0; i < MANY; i++)
        CHECK_RC(pl_stack_take(p, 0, &many[i]), 0);
}

static int mappings(void)
{
    int lines = 0, c;
    FILE *f = fopen("/proc/self/maps", "r");
    while ((c = fgetc(f)) != EOF)
        lines += c == '\n';
    fclose(f);
    return lines;
}

static void take_and_touch_many(void)
{
    struct pl_stacks p;
    pl_stacks_begin(&p);
    take_many(&p);
    for (int i = 0; i < MANY; i++)
        memcpy(many[i].low + many[i].size - sizeof i, &i, sizeof i);
    for (int i = 0, got; i < MANY; i++) { /* none is another's */
        memcpy(&got, many[i].low + many[i].size - sizeof i, sizeof i);
        CHECK_EQ(got, i);
    }
    CHECK(mappings() < 30000);
    pl_stacks_end(&p);
}

static void a_hundred_thousand_fit(void **state)
{
    (void)state;
    take_and_touch_many();
}

static void many_without_guard_regions(void)
{
    pl_stack_forget_guard_install();
    take_and_touch_many();
}

static void a_hundred_thousand_fit_without_guard_regions(void **state)
{
    (void)state;
    in_a_child(many_without_guard_regions);
}

/* --- memory --- */

static size_t resident(void)
{
    size_t all, here = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f && fscanf(f, "%zu %zu", &all, &here) == 2);
    fclose(f);
    return here * (size_t)sysconf(_SC_PAGESIZE);
}

static void free_stacks_keep_little_memory(void **state)
{
    (void)state;
    enum { N = 4000 }; /* filled: 250 MiB */
    struct pl_stacks p;
    pl_stacks_begin(&p);
    for (int i = 0; i < N; i++) {
        CHECK_RC(pl_stack_take(&p, 0, &many[i]), 0);
        fill(&many[i]);
    }
    size_t full = resident();
    for (int i = 0; i < N; i++)
        pl_stack_give(&p, &many[i * 7 % N]); /* in no order of addresses */
    size_t idle = resident();
    assert_true(full > idle + (size_t)(N - 600) * PL_STACK_DEFAULT);
    for (int i = 0; i < N; i++) { /* all are there still, and as good as before */
        CHECK_RC(pl_stack_take(&p, 0, &many[i]), 0);
        many[i].low[0] = (char)(i % 100 + 1);
        assert_true(faults(guard_below(&many[i])));
    }
    for (int i = 0; i < 2000;
         i++) /* those in use keep what they hold, whatever becomes of others */
        pl_stack_give(&p, &many[i]);
    for (int i = 0; i < 1000; i++)
        CHECK_RC(pl_stack_take(&p, 0, &many[i]), 0);
    for (int i = 2000; i < N; i++)
        assert_int_equal(many[i].low[0], i % 100 + 1);
    pl_stacks_end(&p);
}

static void few_free_stacks_keep_what_they_touched(void **state)
{
    (void)state;
    struct pl_stacks p;
    struct pl_stack s;
    pl_stacks_begin(&p);
    for (int i = 0; i < 1000; i++) {
        CHECK_RC(pl_stack_take(&p, 0, &s), 0);
        if (i > 0)
            assert_int_equal(pl_stack_used(&s), s.size);
        fill(&s);
        pl_stack_give(&p, &s);
    }
    pl_stacks_end(&p);
}

static void without_address_space(void)
{
    struct pl_stacks p;
    struct pl_stack s;
    size_t all = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f && fscanf(f, "%zu", &all) == 1);
    fclose(f);
    rlim_t most = all * (size_t)sysconf(_SC_PAGESIZE) + (24 << 20);
    pl_stacks_begin(&p);
    CHECK_EQ(setrlimit(RLIMIT_AS, &(struct rlimit){most, most}), 0);
    int n = 0, rc;
    errno = EXDEV;
    while ((rc = pl_stack_take(&p, 0, &s)) == 0) {
        fill(&s);
        many[n++] = s;
    }
    CHECK_RC(rc, PLAIT_ENOMEM);
    CHECK(n > 300); /* nearly all of the 24 MiB: the last slabs are small */
    CHECK_RC(pl_stack_take(&p, 1 << 20, &s), PLAIT_ENOMEM);
    CHECK_EQ(errno, EXDEV);
    for (int i = 0; i < n; i++) /* and goes on with those there are */
        pl_stack_give(&p, &many[i]);
    for (int i = 0; i < n; i++)
        CHECK_RC(pl_stack_take(&p, 0, &s), 0);
    CHECK_RC(pl_stack_take(&p, 0, &s), PLAIT_ENOMEM);
    pl_stacks_end(&p);
}

static void without_address_space_none_is_to_be_had(void **state)
{
    (void)state;
#if PL_ASAN || PL_TSAN
    skip(); /* they need address space themselves */
#endif
    in_a_child(without_address_space);
}

static void an_ended_pool_leaves_nothing(void **state)
{
    (void)state;
    struct pl_stacks p;
    struct pl_stack s;
#if PL_TSAN
    skip(); /* it maps memory of its own for ours, and keeps it */
#endif
    int before = mappings();
    for (int round = 0; round < 20; round++) {
        pl_stacks_begin(&p);
        for (int i = 0; i < 300; i++) {
            CHECK_RC(pl_stack_take(&p, i % 3 ? 0 : 50000 + (size_t)i * 5000, &s), 0);
            if (i % 2)
                pl_stack_give(&p, &s);
        }
        pl_stacks_end(&p);
    }
    assert_in_range(mappings(), 1, before + 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stack_is_usable_whole),
        cmocka_unit_test(sizes_that_cannot_be_are_refused),
        cmocka_unit_test(the_last_one_given_is_the_next_one_taken),
        cmocka_unit_test(used_counts_from_the_top_to_the_lowest_touched_page),
        cmocka_unit_test(below_each_stack_is_a_guard),
        cmocka_unit_test(a_kernel_without_guard_regions_gets_protected_pages),
        cmocka_unit_test(without_room_for_mappings_stacks_are_unguarded_and_counted),
        cmocka_unit_test(a_hundred_thousand_fit),
        cmocka_unit_test(a_hundred_thousand_fit_without_guard_regions),
        cmocka_unit_test(free_stacks_keep_little_memory),
        cmocka_unit_test(few_free_stacks_keep_what_they_touched),
        cmocka_unit_test(without_address_space_none_is_to_be_had),
        cmocka_unit_test(an_ended_pool_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
