/* Programs under load. Invariants:
 *   - each byte comes back, each status is the one the program ended with, whoever else starts, waits, kills or forks;
 *   - every call ends: nobody waits for a pipe that somebody else's child holds;
 *   - after thousands of them no child, no zombie and no descriptor is left. */
#include "harness/harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SH(script) PLAIT_ARGV("/bin/sh", "-c", script)

enum { WORKERS = 8 };
static const int64_t patience = (int64_t)30 * 1000000000;

static void run_true(void)
{
    plait_run_result r;
    CHECK_RC(plait_run_program(PLAIT_ARGV("/bin/true"), NULL, &r, patience), 0);
    CHECK_EQ(r.end.status, 0);
    plait_run_free(&r);
}

/* Before: what the first one makes stays, the lifeline and the arena. */
static int files_before(void)
{
    CHECK_RC(plait_init(NULL, NULL), 0);
    run_true();
    return t_open_files();
}

static void check_nothing_left(int before)
{
    CHECK(t_open_files() <= before + 4); /* a loop's own */
    CHECK(!t_has_children());
}

static void two_thousand_in_a_row_leave_nothing(void **state)
{
    (void)state;
    int before = files_before();
    for (long i = 0, n = t_rounds(2000); i < n; i++)
        run_true();
    CHECK(t_open_files() <= before);
    CHECK(!t_has_children());
}

/* --- all kinds of use at once --- */

static void echo(uint64_t *random)
{
    char text[100];
    plait_run_result r;
    int n = snprintf(text, sizeof text, "%d", t_below(random, 1 << 30));
    plait_run_options o = {.capture = true, .input = text, .input_size = (size_t)n};
    CHECK_RC(plait_run_program(PLAIT_ARGV("cat"), &o, &r, patience), 0);
    CHECK(r.out_size == (size_t)n && memcmp(r.out, text, (size_t)n) == 0);
    plait_run_free(&r);
}

static void give_status(uint64_t *random)
{
    char script[40];
    plait_program *p;
    plait_program_end end;
    int status = t_below(random, 200);
    snprintf(script, sizeof script, "exit %d", status);
    CHECK_RC(plait_program_start(&p, SH(script), NULL), 0);
    CHECK_RC(plait_program_wait(p, &end, patience), 0);
    CHECK_EQ(end.status, status);
    plait_program_close(p);
}

static void be_killed(uint64_t *random)
{
    plait_program *p;
    plait_program_end end;
    plait_program_options o = {.in = {.kind = PLAIT_PIPE}, .out = {.kind = PLAIT_PIPE}};
    CHECK_RC(plait_program_start(&p, PLAIT_ARGV("cat"), &o), 0);
    if (t_below(random, 2))
        CHECK_RC(plait_program_wait(p, NULL, t_below(random, 2000000)), PLAIT_ETIMEDOUT);
    if (t_below(random, 2)) {
        CHECK_RC(plait_program_kill(p), 0);
        CHECK_RC(plait_program_communicate(p, NULL, 0, NULL, patience), 0);
        CHECK_RC(plait_program_poll(p, &end), 0);
        CHECK_EQ(end.status, -SIGKILL);
    }
    plait_program_close(p);
}

static void run_out_of_time(uint64_t *random)
{
    plait_run_result r;
    plait_run_options o = {.capture = true};
    int rc = plait_run_program(SH("sleep 1000 & sleep 1000"), &o, &r, t_below(random, 20000000));
    CHECK(rc == PLAIT_ETIMEDOUT);
    CHECK(r.end.signal == SIGKILL || r.end.pid == 0);
    plait_run_free(&r);
}

static void fail_to_start(uint64_t *random)
{
    (void)random;
    plait_program *p;
    CHECK_RC(plait_program_start(&p, PLAIT_ARGV("/no/such"), NULL), PLAIT_ENOENT);
}

static int use_programs(void *seed)
{
    void (*const uses[])(uint64_t *) = {echo, give_status, be_killed, run_out_of_time,
                                        fail_to_start};
    uint64_t random = *(uint64_t *)seed + (uint64_t)plait_self().slot;
    for (long i = 0, n = t_rounds(10); i < n; i++)
        uses[t_below(&random, 5)](&random);
    return 0;
}

static void all_uses_beside_each_other(void **state)
{
    (void)state;
    uint64_t *seed = plait_alloc(sizeof *seed);
    *seed = t_seed();
    int before = files_before();
    FOR_EACH_SETTING(s)
    {
        if (t_has_processes(s) && !t_is_all_processes(s) && !t_may_fork_beside_threads())
            continue;
        struct t_team team;
        t_start(&team, s, WORKERS, use_programs, seed);
        t_join(&team);
    }
    check_nothing_left(before);
    plait_free(seed);
}

/* --- one program, many hands --- */

struct shared {
    plait_program *program;
    int ended;
};

static int wait_poll_and_signal(void *arg)
{
    struct shared *s = arg;
    plait_program_end end;
    int rc;
    while ((rc = plait_program_poll(s->program, &end)) == PLAIT_EBUSY) {
        rc = plait_program_signal(s->program, 0);
        CHECK(rc == 0 || rc == PLAIT_ESRCH);
        rc = plait_program_wait(s->program, &end, plait_us(200));
        CHECK(rc == 0 || rc == PLAIT_ETIMEDOUT);
        if (rc == 0)
            break;
    }
    CHECK_EQ(end.status, 7);
    COUNT(s->ended);
    return 0;
}

static void many_wait_poll_and_signal_one(void **state)
{
    (void)state;
    const struct t_setting *const settings[] = {&t_private_threads, &t_private_tasks};
    int before = files_before();
    for (long i = 0, n = t_rounds(60); i < n; i++) {
        struct shared s = {0};
        struct t_team team;
        CHECK_RC(plait_program_start(&s.program, SH("exit 7"), NULL), 0);
        t_start(&team, settings[i % 2], 6, wait_poll_and_signal, &s);
        t_join(&team);
        CHECK_EQ(s.ended, 6);
        plait_program_close(s.program);
    }
    check_nothing_left(before);
}

/* Another part of the program collects whatever it can get: a status is right or said to be lost. */
static int collect_all(void *stop)
{
    while (!SEEN(*(int *)stop))
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
    return 0;
}

static void a_library_that_collects_all_children_does_no_harm(void **state)
{
    (void)state;
    int stop = 0, lost = 0;
    plait_worker thief = t_start_one(PLAIT_THREAD, collect_all, &stop);
    for (long i = 0, n = t_rounds(200); i < n; i++) {
        plait_program *p;
        plait_program_end end;
        CHECK_RC(plait_program_start(&p, SH("exit 9"), NULL), 0);
        int rc = plait_program_wait(p, &end, patience);
        CHECK(rc == 0 || rc == PLAIT_ENOSTATUS);
        CHECK_EQ(end.status, rc == 0 ? 9 : -1);
        lost += rc != 0;
        plait_program_close(p);
        fail_to_start(NULL);
    }
    TELL(stop, 1);
    CHECK_EQ(t_join_one(thief), 0);
    print_message("%d lost\n", lost);
    CHECK(!t_has_children());
}

int main(int argc, char **argv)
{
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_thousand_in_a_row_leave_nothing),
        cmocka_unit_test(all_uses_beside_each_other),
        cmocka_unit_test(many_wait_poll_and_signal_one),
        cmocka_unit_test(a_library_that_collects_all_children_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
