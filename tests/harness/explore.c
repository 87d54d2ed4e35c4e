/* The runner: each search in a process of its own, so that a crash is a failure like any other, and
 * what a failed run leaves behind is gone. */
#include "explore_internal.h"

#include "base/sanitizers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- the process of a search --- */

struct task {
    const struct explore_scenario *s;
    bool shared;
    const char *schedule; /* NULL: search */
    bool tells;
};

static struct ex_box *box;

static void clear_box(void)
{
    enum { WRITE = PROT_READ | PROT_WRITE, SHARED = MAP_SHARED | MAP_ANONYMOUS };
    if (!box)
        box = mmap(NULL, sizeof *box, WRITE, SHARED, -1, 0);
    assert_true(box != MAP_FAILED);
    memset(&box->report, 0, sizeof box->report);
    box->n_tokens = 0;
    box->n_lines = 0;
}

static _Noreturn void search_main(const struct task *task)
{
    const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++)
        signal(crashes[i], SIG_DFL); /* not to cmocka, which would go on to the next test */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    ex = (struct ex){.s = task->s, .box = box, .shared = task->shared, .tells = task->tells};
    ex_prepare();
    if (task->schedule)
        ex_replay(task->schedule);
    else if (task->s->random)
        ex_random(task->s->random);
    else
        ex_search();
    _exit(0);
}

/* Waits for its end; kills it if nothing goes on in it. */
static int wait_for(pid_t pid)
{
    enum { PATIENCE_MS = 10000 };
    int fd = (int)syscall(SYS_pidfd_open, pid, 0), status = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    long seen = -1;
    while (poll(&p, 1, PATIENCE_MS) == 0) {
        if (box->alive == seen)
            kill(pid, SIGKILL);
        seen = box->alive;
    }
    waitpid(pid, &status, 0);
    close(fd);
    return status;
}

static void note_crash(struct explore_report *report, int status)
{
    if (report->failed || status == 0)
        return;
    report->failed = true;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        snprintf(report->failure, sizeof report->failure, "hangs between two steps");
    else if (WIFSIGNALED(status))
        snprintf(report->failure, sizeof report->failure, "crashes: %s",
                 strsignal(WTERMSIG(status)));
    else
        snprintf(report->failure, sizeof report->failure, "ends its process with status %d",
                 WEXITSTATUS(status));
}

static struct explore_report run_task(const struct task *task)
{
    clear_box();
    fflush(stdout);
    fflush(stderr);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        search_main(task);
    int status = wait_for(pid);
    struct explore_report *report = &box->report;
    note_crash(report, status);
    if (report->failed) {
        char text[sizeof report->schedule - 16];
        ex_schedule_text(box, text, sizeof text);
        snprintf(report->schedule, sizeof report->schedule, "%s:%s",
                 task->shared ? "arena" : "private", text);
    }
    return *report;
}

/* --- searching and repeating --- */

static struct explore_report replay(const struct explore_scenario *s, const char *schedule,
                                    long lines)
{
    const char *colon = strchr(schedule, ':');
    struct task task = {.s = s,
                        .shared = strncmp(schedule, "arena:", 6) == 0,
                        .schedule = colon ? colon + 1 : schedule,
                        .tells = lines > 0};
    struct explore_report report = run_task(&task);
    if (lines > 0)
        ex_print_lines(box, lines);
    return report;
}

struct explore_report explore_replay(const struct explore_scenario *s, const char *schedule,
                                     bool tell)
{
    return replay(s, schedule, tell ? LONG_MAX : 0);
}

static struct explore_report search(const struct explore_scenario *s, bool shared, bool quiet)
{
    enum { LAST_LINES = 60 };
    struct task task = {.s = s, .shared = shared};
    struct explore_report report = run_task(&task);
    if (report.failed && !quiet) {
        fprintf(stderr, "  FAILED: EXPLORE='%s@%s'\n    %s\n", s->name, report.schedule,
                report.failure);
        replay(s, report.schedule, LAST_LINES);
    }
    return report;
}

struct explore_report explore(const struct explore_scenario *s, bool quiet)
{
    struct explore_report sum = {0};
    for (int shared = s->memory == EXPLORE_ARENA; shared <= (s->memory != EXPLORE_PRIVATE);
         shared++) {
        struct explore_report report = search(s, shared, quiet);
        report.runs += sum.runs;
        report.steps += sum.steps;
        report.longest = report.longest > sum.longest ? report.longest : sum.longest;
        report.words = report.words > sum.words ? report.words : sum.words;
        sum = report;
        if (sum.failed)
            break;
    }
    return sum;
}

/* --- cmocka --- */

static long all_runs, all_steps, all_scenarios;

static void conclude(const char *name, const struct explore_report *report)
{
    char how[48];
    if (report->preemptions < 0)
        snprintf(how, sizeof how, "at random, PLAIT_TEST_SEED=%llu",
                 (unsigned long long)report->seed);
    else
        snprintf(how, sizeof how, "%d preemptions", report->preemptions);
    all_runs += report->runs;
    all_steps += report->steps;
    all_scenarios++;
    print_message("  %s: %ld runs, %s, up to %ld steps, %d words\n", name, report->runs, how,
                  report->longest, report->words);
    if (report->failed)
        fail_msg("%s: %s", name, report->failure);
}

void explore_print_total(void)
{
    print_message("%ld scenarios, %ld runs, %ld steps\n", all_scenarios, all_runs, all_steps);
}

/* EXPLORE=NAME[@SCHEDULE]: false if another scenario is asked for. */
static bool is_asked_for(const char *name, const char **ret_schedule)
{
    const char *asked = getenv("EXPLORE"), *at = asked ? strrchr(asked, '@') : NULL;
    *ret_schedule = at ? at + 1 : NULL;
    if (!asked)
        return true;
    size_t length = at ? (size_t)(at - asked) : strlen(asked);
    return strlen(name) == length && strncmp(name, asked, length) == 0;
}

static bool is_possible(void)
{
    return !PL_TSAN; /* it would have to be told of each switch */
}

void explore_test(void **state)
{
    const struct explore_scenario *s = *state;
    const char *schedule = NULL;
    if (!is_possible() || !is_asked_for(s->name, &schedule))
        skip();
    struct explore_report report = schedule ? explore_replay(s, schedule, true) : explore(s, false);
    conclude(s->name, &report);
}
