/* plait_gil: what an interpreter pays. check: one look at whether to yield, as after each so many
 * instructions. free: taking and giving with nobody about, as around each call that may block. pass:
 * two workers that yield to each other at once; ns per hand-over. See lock_shape.h. */
#include "lock_shape.h"

#include <plait/plait.h>

static void *make(bool shared)
{
    plait_gil *gil = shared ? plait_alloc(128) : bench_private(sizeof *gil);
    bench_check(gil && plait_gil_init(gil, 0) == 0, "no gil");
    return gil;
}

static void acquire(void *gil)
{
    bench_check(plait_gil_acquire(gil, PLAIT_FOREVER) == 0, "not acquired");
}

static void release(void *gil)
{
    plait_gil_release(gil);
}

LOCK_KIND(ours, make, acquire, release)

static int64_t check_loop(void *gil, long n)
{
    int64_t start = bench_now();
    acquire(gil);
    for (long i = 0; i < n; i++) {
        bench_escape(gil);
        if (plait_gil_should_yield(gil))
            plait_gil_yield(gil);
    }
    release(gil);
    return bench_now() - start;
}

static double check(const struct bench_subject *self)
{
    (void)self;
    return bench_per_operation(check_loop, make(false));
}

struct passing {
    plait_gil *gil;
    long wanted, done;
    bool processes;
};

static void pass(void *arg, int which)
{
    struct passing *p = arg;
    (void)which;
    acquire(p->gil);
    while (p->done < p->wanted) {
        p->done++;
        bench_check(plait_gil_yield(p->gil) == 0, "not had back");
    }
    release(p->gil);
}

static int64_t pass_loop(void *arg, long n)
{
    struct passing *p = arg;
    p->wanted = n;
    p->done = 0;
    return bench_together(2, p->processes, pass, p);
}

static double pass_in(bool processes)
{
    struct passing *p = bench_shared(sizeof *p);
    p->gil = make(processes);
    p->processes = processes;
    return bench_per_operation(pass_loop, p);
}

static double pass_threads(const struct bench_subject *self)
{
    (void)self;
    return pass_in(false);
}

static double pass_processes(const struct bench_subject *self)
{
    (void)self;
    return pass_in(true);
}

static const struct bench_subject table[] = {
    BENCH_SUBJECT("gil_check", "plait", check, NULL, 0),
    LOCK_PRIVATE_CASES("gil", "plait", ours),
    LOCK_SHARED_CASES("gil", "plait", ours),
    BENCH_SUBJECT("gil_pass", "plait", pass_threads, NULL, 2),
    BENCH_SUBJECT("gil_pass_processes", "plait", pass_processes, NULL, 2),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
