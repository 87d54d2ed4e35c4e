/* Programs whose starter is killed at every step: of starting, talking, waiting, killing, giving up.
 *
 * The invariant: within a second of the starter's death none of its programs is there, wherever it was; another worker of the
 * family runs programs as before. A pipe tells: every program has its writing end, and the root sees when the last one is gone. */
#include "steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <unistd.h>

#define SH(script) PLAIT_ARGV("/bin/sh", "-c", script)

struct world {
    int unused;
};

static int ends[2]; /* the root's and, by fork, the victim's */

static plait_program_options with_pipe(plait_fd_move *move)
{
    static const plait_process_options group = {.new_group =
                                                    true}; /* what it starts dies with it */
    *move = (plait_fd_move){ends[1], 9};
    return (plait_program_options){.process = &group,
                                   .moves = move,
                                   .n_moves = 1,
                                   .in = {.kind = PLAIT_PIPE},
                                   .out = {.kind = PLAIT_PIPE}};
}

static void make_pipe(void *world)
{
    (void)world;
    STEPS_EXPECT(pipe(ends) == 0);
}

static void expect_programs_gone(void *world)
{
    struct pollfd p = {.fd = ends[0], .events = POLLIN};
    (void)world;
    close(ends[1]);
    STEPS_EXPECT(poll(&p, 1, 1000) == 1 && (p.revents & POLLHUP));
    close(ends[0]);
}

/* --- the victim --- */

static void start_talk_and_kill(void *world, int who)
{
    plait_program *p;
    plait_fd_move move;
    char line[10];
    plait_program_options o = with_pipe(&move);
    (void)world, (void)who;
    STEPS_EXPECT(plait_program_start(&p, PLAIT_ARGV("cat"), &o) == 0);
    STEPS_EXPECT(plait_write(plait_program_in(p), "hello\n", 6, NULL, plait_seconds(10)) == 0);
    STEPS_EXPECT(
        plait_read_line(plait_program_out(p), line, sizeof line, NULL, plait_seconds(10)) == 0);
    STEPS_EXPECT(plait_program_wait(p, NULL, plait_ms(1)) == PLAIT_ETIMEDOUT);
    STEPS_EXPECT(plait_program_kill(p) == 0);
    STEPS_EXPECT(plait_program_wait(p, NULL, plait_seconds(10)) == 0);
    STEPS_EXPECT(plait_program_close(p) == 0);
}

static void run_to_its_end(void *world, int who)
{
    plait_run_result r;
    plait_fd_move move;
    plait_run_options o = {
        .program = with_pipe(&move), .capture = true, .input = "x", .input_size = 1};
    (void)world, (void)who;
    o.program.in = o.program.out = (plait_stream_spec){0};
    STEPS_EXPECT(plait_run_program(PLAIT_ARGV("cat"), &o, &r, plait_seconds(10)) == 0);
    STEPS_EXPECT(r.out_size == 1);
    plait_run_free(&r);
}

static void run_out_of_time(void *world, int who)
{
    plait_run_result r;
    plait_fd_move move;
    plait_run_options o = {.program = with_pipe(&move)};
    (void)world, (void)who;
    o.program.in = o.program.out = (plait_stream_spec){0};
    STEPS_EXPECT(plait_run_program(SH("sleep 1000 & sleep 1000"), &o, &r, plait_ms(3)) ==
                 PLAIT_ETIMEDOUT);
    plait_run_free(&r);
}

/* --- the others --- */

static void run_true(void *world, int who)
{
    plait_run_result r;
    (void)world, (void)who;
    STEPS_EXPECT(plait_run_program(PLAIT_ARGV("true"), NULL, &r, plait_seconds(10)) == 0);
    STEPS_EXPECT(r.end.status == 0);
    plait_run_free(&r);
}

static const struct steps_scenario talking = {
    .name = "program: start, talk, wait, kill, close",
    .world_size = sizeof(struct world),
    .alone = true,
    .setup = make_pipe,
    .act = start_talk_and_kill,
    .aftermath = expect_programs_gone,
    .late = {.threads = 1, .processes = 1, .run = run_true},
};

static const struct steps_scenario running = {
    .name = "program: run",
    .world_size = sizeof(struct world),
    .alone = true,
    .setup = make_pipe,
    .act = run_to_its_end,
    .aftermath = expect_programs_gone,
    .late = {.threads = 1, .processes = 1, .run = run_true},
};

static const struct steps_scenario timing_out = {
    .name = "program: run out of time",
    .world_size = sizeof(struct world),
    .alone = true,
    .setup = make_pipe,
    .act = run_out_of_time,
    .aftermath = expect_programs_gone,
    .late = {.threads = 1, .processes = 1, .run = run_true},
};

int main(void)
{
    const struct CMUnitTest tests[] = {
        STEPS_TEST(talking),
        STEPS_TEST(running),
        STEPS_TEST(timing_out),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    steps_print_total();
    return failed;
}
