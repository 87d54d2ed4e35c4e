/* A task that runs out of its stack: the report, and how the program dies. */
#include "program.h"

#include "port/context.h"
#include "task/overflow.h"
#include "task/stack.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static struct pl_context self, task;
static volatile int handled; /* by a handler that was there before */
static volatile char *volatile nowhere = (volatile char *)16;

static const char *name(void)
{
    return "digger";
}

__attribute__((noinline)) static int dig(volatile char *above)
{
    volatile char frame[512];
    frame[0] = above[0];
    if (frame[0] == 0) /* never */
        return 0;
    return dig(frame) + frame[0];
}

static void overflow(void *unused)
{
    (void)unused;
    volatile char c = 1;
    exit(dig(&c));
}

static void overflow_a_stack(size_t size)
{
    struct pl_stacks p;
    struct pl_stack s;
    pl_stacks_begin(&p);
    CHECK_RC(pl_overflow_watch(), 0);
    CHECK_RC(pl_stack_take(&p, size, &s), 0);
    pl_context_adopt(&self);
    pl_context_make(&task, s.low, s.size, overflow, NULL);
    pl_context_switch(&self, &task);
}

static void nothing(void)
{
}

static void overflow_default(void)
{
    pl_overflow_name = name;
    overflow_a_stack(0);
}

static void overflow_large(void)
{
    overflow_a_stack(300 << 10);
}

static void overflow_without_regions(void)
{
    pl_stack_forget_guard_install();
    overflow_default();
}

static void write_to_nowhere(void)
{
    CHECK_RC(pl_overflow_watch(), 0);
    *nowhere = 1;
}

static void be_sent_it(void)
{
    CHECK_RC(pl_overflow_watch(), 0);
    kill(getpid(), SIGSEGV);
}

static void exit_3(int signal, siginfo_t *info, void *context)
{
    (void)context;
    _exit(signal == SIGSEGV && info->si_addr ? 3 : 4);
}

static void with_handler(void (*then)(void))
{
    struct sigaction theirs = {.sa_sigaction = exit_3, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &theirs, NULL);
    then();
}

static void overflow_with_handler(void)
{
    with_handler(overflow_default);
}

static void write_to_nowhere_with_handler(void)
{
    with_handler(write_to_nowhere);
}

static void step_over(int signal)
{
    (void)signal;
    handled++;
}

static void be_sent_it_with_handler(void)
{
    signal(SIGSEGV, step_over);
    be_sent_it();
    kill(getpid(), SIGSEGV);
    _exit(10 + handled);
}

static void be_sent_it_ignored(void)
{
    signal(SIGSEGV, SIG_IGN);
    be_sent_it();
    _exit(5);
}

static void overflow_after_unwatch_of_one_of_two(void)
{
    CHECK_RC(pl_overflow_watch(), 0);
    CHECK_RC(pl_overflow_watch(), 0);
    pl_overflow_unwatch();
    overflow_default();
}

static void keep_own_signal_stack(void)
{
    stack_t own = {.ss_size = 64 << 10}, now;
    own.ss_sp = malloc(own.ss_size);
    CHECK_EQ(sigaltstack(&own, NULL), 0);
    CHECK_RC(pl_overflow_watch(), 0);
    CHECK_EQ(sigaltstack(NULL, &now), 0);
    CHECK(now.ss_sp == own.ss_sp);
    pl_overflow_unwatch();
    CHECK_EQ(sigaltstack(NULL, &now), 0);
    CHECK(now.ss_sp == own.ss_sp);
    overflow_default();
}

/* A program that dies, and what it said. */
struct death {
    int status;
    char said[4096];
};

static struct death die_of(void (*fn)(void))
{
    struct death d = {0};
    int ends[2];
    CHECK_EQ(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        signal(SIGSEGV, SIG_DFL); /* a sanitizer's */
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        fn();
        _exit(0);
    }
    close(ends[1]);
    size_t n = 0;
    for (ssize_t got; (got = read(ends[0], d.said + n, sizeof d.said - 1 - n)) > 0;)
        n += (size_t)got;
    close(ends[0]);
    CHECK_EQ(waitpid(child, &d.status, 0), child);
    return d;
}

static void expect_killed(void (*fn)(void), const char *said)
{
    struct death d = die_of(fn);
    if (!WIFSIGNALED(d.status) || WTERMSIG(d.status) != SIGSEGV || strcmp(d.said, said) != 0)
        fail_msg("status %d, said: %s", d.status, d.said);
}

static void expect_exit(void (*fn)(void), int code, const char *said)
{
    struct death d = die_of(fn);
    if (!WIFEXITED(d.status) || WEXITSTATUS(d.status) != code || strcmp(d.said, said) != 0)
        fail_msg("status %d, said: %s", d.status, d.said);
}

#define REPORT(name, bytes)                                                                        \
    "plait: stack overflow: task \"" name "\" has used up its stack of " bytes                     \
    " bytes; start it with a larger .stack_size\n"

static void an_overflow_is_told_and_kills(void **state)
{
    (void)state;
    expect_killed(overflow_default, REPORT("digger", "65536"));
    expect_killed(overflow_large, REPORT("?", "307200"));
    expect_killed(overflow_without_regions, REPORT("digger", "65536"));
    expect_killed(overflow_after_unwatch_of_one_of_two, REPORT("digger", "65536"));
}

static void other_faults_kill_as_ever(void **state)
{
    (void)state;
    expect_killed(write_to_nowhere, "");
    expect_killed(be_sent_it, "");
    expect_exit(nothing, 0, "");
}

static void a_handler_that_was_there_gets_all(void **state)
{
    (void)state;
    expect_exit(overflow_with_handler, 3, REPORT("digger", "65536"));
    expect_exit(write_to_nowhere_with_handler, 3, "");
    expect_exit(be_sent_it_with_handler, 12, "");
    expect_exit(be_sent_it_ignored, 5, "");
}

static void a_signal_stack_that_was_there_stays(void **state)
{
    (void)state;
    expect_killed(keep_own_signal_stack, REPORT("digger", "65536"));
}

static void unwatch_takes_the_signal_stack_back(void **state)
{
    (void)state;
    stack_t before, during, after;
    CHECK_EQ(sigaltstack(NULL, &before), 0);
    CHECK_RC(pl_overflow_watch(), 0);
    CHECK_EQ(sigaltstack(NULL, &during), 0);
    assert_int_equal(during.ss_flags & SS_DISABLE, 0);
    pl_overflow_unwatch();
    CHECK_EQ(sigaltstack(NULL, &after), 0);
    assert_int_equal(after.ss_flags, before.ss_flags);
    pl_overflow_unwatch(); /* one too many: nothing */
    CHECK_RC(pl_overflow_watch(), 0);
    pl_overflow_unwatch();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_overflow_is_told_and_kills),
        cmocka_unit_test(other_faults_kill_as_ever),
        cmocka_unit_test(a_handler_that_was_there_gets_all),
        cmocka_unit_test(a_signal_stack_that_was_there_stays),
        cmocka_unit_test(unwatch_takes_the_signal_stack_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
