/* plait_run_program and plait_program_communicate. See program_shape.h.
 * Peers: peers/program_libc.c (posix_spawn, vfork, fork), libuv, GLib, CPython's subprocess. */
#include "program_shape.h"

#include <plait/plait.h>

static void cycle_run(void)
{
    plait_run_result r;
    bench_check(plait_run_program(PLAIT_ARGV("/bin/true"), NULL, &r, PLAIT_FOREVER) == 0 &&
                    r.end.status == 0,
                "not run");
    plait_run_free(&r);
}

static double communicate(const struct bench_subject *self)
{
    (void)self;
    char *bytes = malloc(PROGRAM_THROUGH);
    bench_check(bytes != NULL, "no memory");
    memset(bytes, 'x', PROGRAM_THROUGH);
    plait_run_result r;
    plait_run_options o = {.capture = true, .input = bytes, .input_size = PROGRAM_THROUGH};
    int64_t start = bench_now();
    bench_check(plait_run_program(PLAIT_ARGV("cat"), &o, &r, PLAIT_FOREVER) == 0, "not run");
    int64_t took = bench_now() - start;
    bench_check(r.out_size == PROGRAM_THROUGH, "bytes are missing");
    plait_run_free(&r);
    free(bytes);
    return (double)took / (PROGRAM_THROUGH / 1024);
}

static program_cycle *const run = cycle_run;

static const struct bench_subject table[] = {
    PROGRAM_CASES("plait", run),
    BENCH_SUBJECT("program_communicate", "plait", communicate, NULL, 0),
    {0},
};

int main(int argc, char **argv)
{
    plait_init(&argc, &argv);
    return bench_main(argc, argv, table);
}
