/* The runner: repeats rounds, each in a family of its own, and reports. */
#include "steps_internal.h"

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

enum {
    MOST_STEPS = 5000,  /* a series that is longer does not end */
    MOST_FAILURES = 4,  /* then a series stops: each may cost its whole patience */
    SLOW_NS = 10000000, /* who needs longer was helped by a nap, it seems: 20 ms and more */
};

/* --- a round --- */

/* Waits for the root's end, and collects orphans of the family meanwhile, as init would. */
static bool ends_in_time(pid_t root, int *ret_status, int64_t ns)
{
    int fd = (int)syscall(SYS_pidfd_open, root, 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    bool ended = false;
    for (int64_t end = plait_now() + ns; !ended && plait_now() < end;) {
        int status;
        pid_t pid = waitpid(-root, &status, WNOHANG);
        if (pid == root)
            *ret_status = status;
        ended = pid == root;
        if (pid <= 0)
            poll(&p, 1, 2);
    }
    close(fd);
    return ended;
}

/* Collects what a family left to us. False: some of it still runs. */
static bool group_is_gone(pid_t group)
{
    while (waitpid(-group, NULL, WNOHANG) > 0)
        ;
    return kill(-group, 0) < 0;
}

static void clear_group(pid_t group)
{
    int64_t kindly = plait_now() + (st_now->failed ? 0 : st_patience());
    while (!group_is_gone(group) && plait_now() < kindly)
        usleep(200);
    if (group_is_gone(group))
        return;
    if (!st_now->failed)
        steps_fail(__FILE__, __LINE__, "processes are left behind");
    while (!group_is_gone(group)) {
        kill(-group, SIGKILL);
        usleep(500);
    }
}

static void run_family(void)
{
    int status = 0;
    fflush(stdout);
    fflush(stderr);
    pid_t root = fork();
    if (root == 0)
        st_root_main();
    setpgid(root, root);
    if (!ends_in_time(root, &status, 6 * st_patience())) {
        steps_fail(__FILE__, __LINE__, "the root hangs");
        kill(root, SIGKILL);
        waitpid(root, &status, 0);
    } else if (status != 0 && !st_now->failed) {
        steps_fail(__FILE__, __LINE__, "the root ended with status %#x", (unsigned)status);
    }
    clear_group(root);
}

/* A series: one scenario, one way of counting, what it came to so far. */
struct series {
    const struct steps_scenario *s;
    enum st_mode mode;
    bool quiet;
    struct steps_report report;
};

static void begin_round(const struct series *series, long k, long j)
{
    enum { WRITE = PROT_READ | PROT_WRITE, SHARED = MAP_SHARED | MAP_ANONYMOUS };
    if (!st_now) {
        st_now = mmap(NULL, sizeof *st_now, WRITE, SHARED, -1, 0);
        prctl(PR_SET_CHILD_SUBREAPER, 1);
    }
    memset(st_now, 0, sizeof *st_now);
    st_now->s = series->s;
    st_now->mode = series->mode;
    st_now->k = k;
    st_now->j = j;
    st_now->n_victims = series->s->victims ? series->s->victims : 1;
    st_now->stage = "start";
    for (int i = 0; i <= ST_VICTIMS; i++)
        st_now->fates[i].k = k == ST_ASLEEP ? LONG_MAX : k;
    st_recoverer()->k = j;
}

static void tell_trace(const struct fate *fate)
{
    long first = fate->steps > ST_TRACE ? fate->steps - ST_TRACE : 0;
    for (long i = first; i < fate->steps && st_now->mode != ST_AT_STORES; i++)
        fprintf(stderr, "      step %ld: %s %p\n", i + 1, fate->trace[i % ST_TRACE].what,
                fate->trace[i % ST_TRACE].word);
}

static void tell_round(const char *verdict)
{
    const struct fate *victim = &st_now->fates[0], *recoverer = st_recoverer();
    fprintf(stderr, "  %s: PLAIT_STEPS='%s@%s%ld", verdict, st_now->s->name,
            st_now->mode == ST_AT_STORES ? "=" : "", st_now->k);
    fprintf(stderr, st_now->j ? ",%ld'\n" : "'\n", st_now->j);
    fprintf(stderr, "    victim: %s; stage: %s\n",
            victim->where[0] ? victim->where : "came through", st_now->stage);
    if (st_now->j)
        fprintf(stderr, "    recoverer: %s\n", recoverer->where[0] ? recoverer->where : "finished");
    if (st_now->failed)
        fprintf(stderr, "    %s\n", st_now->failure);
    tell_trace(victim);
}

static void sum_up(struct series *series)
{
    struct steps_report *report = &series->report;
    report->rounds++;
    for (int i = 0; i < st_now->n_victims && st_now->j == 0; i++)
        report->steps += st_now->fates[i].killed != 0;
    report->recoverers += st_recoverer()->killed != 0;
    report->slow += st_now->slowest > SLOW_NS;
    if (st_now->slowest > report->slowest)
        report->slowest = st_now->slowest;
    if (st_now->failed && report->failures++ == 0)
        snprintf(report->failure, sizeof report->failure, "killed at step %ld (%s): %s", st_now->k,
                 st_now->fates[0].where, st_now->failure);
    if (st_now->failed ? !series->quiet : getenv("PLAIT_STEPS") != NULL)
        tell_round(st_now->failed ? "FAILED" : "passed");
}

/* True if the worker that was to be killed was; then there may be a next step. */
static bool run_round(struct series *series, long k, long j)
{
    begin_round(series, k, j);
    run_family();
    sum_up(series);
    return j ? st_recoverer()->killed : st_now->fates[0].killed;
}

static bool has_failed_enough(const struct series *series)
{
    return series->report.failures >= MOST_FAILURES;
}

/* --- a series --- */

long steps_scale(void)
{
    const char *text = getenv("PLAIT_TEST_SCALE");
    long scale = text ? atol(text) : 1;
    return scale < 1 ? 1 : scale;
}

/* A spread sample: 1 in `n` at scale 1, all at scale n. */
static long stride_of(long n)
{
    return steps_scale() < n ? n / steps_scale() : 1;
}

static bool is_sampled(long k)
{
    return k <= 2 || k % stride_of(16) == 0;
}

/* The victim dies at step k, and whoever repairs at his step j. */
static void kill_recoverers(struct series *series, long k)
{
    long stride = stride_of(16);
    for (long j = 1 + k % stride; j < MOST_STEPS && !has_failed_enough(series); j += stride)
        if (!run_round(series, k, j))
            return;
}

/* Who comes first differs from round to round, and with it the way: hence twice to the end. */
static void run_series(struct series *series, bool recoverers)
{
    long alive = 0;
    if (series->s->sleeps && series->mode == ST_AT_STEPS)
        run_round(series, ST_ASLEEP, 0);
    for (long k = 1; alive < 2 && !has_failed_enough(series); k += stride_of(series->s->stride)) {
        alive = run_round(series, k, 0) ? 0 : alive + 1;
        if (recoverers && !series->s->alone && is_sampled(k))
            kill_recoverers(series, k);
        assert_true(k < MOST_STEPS);
    }
}

struct steps_report steps_series(const struct steps_scenario *s, bool recoverers, bool quiet)
{
    struct series series = {.s = s, .mode = ST_AT_STEPS, .quiet = quiet};
    run_series(&series, recoverers);
    return series.report;
}

struct steps_report steps_at_stores(const struct steps_scenario *s, bool quiet)
{
    struct series series = {.s = s, .mode = ST_AT_STORES, .quiet = quiet};
    run_series(&series, false);
    return series.report;
}

/* --- random deaths --- */

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * UINT64_C(0x2545f4914f6cdd1d) >> 16;
}

static void run_random_round(struct series *series, long seed, long span)
{
    uint64_t state = (uint64_t)seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    begin_round(series, seed, 0);
    for (int i = 0; i < st_now->n_victims; i++)
        st_now->fates[i].k = 1 + (long)(next_random(&state) % (uint64_t)span);
    run_family();
    sum_up(series);
}

struct steps_report steps_random(const struct steps_scenario *s, long rounds, long span)
{
    struct series series = {.s = s, .mode = ST_AT_RANDOM};
    for (long seed = 1; seed <= rounds && !has_failed_enough(&series); seed++)
        run_random_round(&series, seed, span);
    return series.report;
}

/* --- cmocka --- */

static long all_steps, all_recoverers, all_rounds;

static void conclude(const struct series *series)
{
    const struct steps_report *report = &series->report;
    all_steps += report->steps;
    all_recoverers += report->recoverers;
    all_rounds += report->rounds;
    print_message("  %s: killed at %ld %s, %ld recoverers, %ld rounds; slowest survivor %.1f ms, "
                  "%ld rounds above 10 ms\n",
                  series->s->name, report->steps,
                  series->mode == ST_AT_STORES ? "changes" : "steps", report->recoverers,
                  report->rounds, (double)report->slowest / 1e6, report->slow);
    if (report->failures)
        fail_msg("%s: %s", series->s->name, report->failure);
}

void steps_print_total(void)
{
    print_message("%ld pairs of operation and step, %ld deaths of recoverers, %ld rounds\n",
                  all_steps, all_recoverers, all_rounds);
}

/* PLAIT_STEPS=NAME@K[,J] or NAME@=K: false if it asks for another scenario or way of counting. */
static bool is_asked_for(const struct series *series, long *ret_k, long *ret_j)
{
    const char *asked = getenv("PLAIT_STEPS"), *name = series->s->name;
    *ret_k = -1;
    *ret_j = 0;
    if (!asked)
        return true;
    const char *at = strrchr(asked, '@');
    bool stores = at && at[1] == '=';
    size_t length = at ? (size_t)(at - asked) : strlen(asked);
    if (at)
        sscanf(at + 1 + stores, "%ld,%ld", ret_k, ret_j);
    return strlen(name) == length && strncmp(name, asked, length) == 0 &&
           (!at || stores == (series->mode == ST_AT_STORES));
}

static void test_series(const struct steps_scenario *s, enum st_mode mode)
{
    struct series series = {.s = s, .mode = mode};
    long k, j;
    if (!is_asked_for(&series, &k, &j))
        skip();
    if (k < 0)
        run_series(&series, mode == ST_AT_STEPS);
    else
        run_round(&series, k, j);
    conclude(&series);
}

void steps_test(void **state)
{
    test_series(*state, ST_AT_STEPS);
}

void steps_stores_test(void **state)
{
    test_series(*state, ST_AT_STORES);
}

void steps_random_test(void **state)
{
    enum { ROUNDS = 60, SPAN = 120 };
    struct series series = {.s = *state, .mode = ST_AT_RANDOM};
    long seed, unused;
    if (!is_asked_for(&series, &seed, &unused))
        skip();
    if (seed < 0)
        series.report = steps_random(series.s, ROUNDS * steps_scale(), SPAN);
    else
        run_random_round(&series, seed, SPAN);
    conclude(&series);
}
