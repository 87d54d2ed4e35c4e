/* plait_barrier: rounds of two and of four workers. See meet_shape.h for what is measured. Peers:
 * pthread_barrier, std::barrier. */
#include "meet_shape.h"

#include <plait/plait.h>

static void *make(bool shared, int workers)
{
    plait_barrier *barrier = shared ? plait_alloc(128) : bench_private(sizeof *barrier);
    bench_check(barrier && plait_barrier_init(barrier, workers, NULL) == 0, "no barrier");
    return barrier;
}

static int nothing(void *unused)
{
    (void)unused;
    return 0;
}

static void *make_with_action(bool shared, int workers)
{
    plait_barrier_options options = {.action = nothing};
    plait_barrier *barrier = shared ? plait_alloc(128) : bench_private(sizeof *barrier);
    bench_check(barrier && plait_barrier_init(barrier, workers, &options) == 0, "no barrier");
    return barrier;
}

static void meet(void *barrier, int which, long i)
{
    (void)which, (void)i;
    bench_check(plait_barrier_wait(barrier, PLAIT_FOREVER) >= 0, "not met");
}

MEET_KIND(ours, make, meet)
MEET_KIND(with_action, make_with_action, meet)

static const struct bench_subject table[] = {
    MEET_THREAD_CASES("barrier", "plait", ours),
    MEET_PROCESS_CASES("barrier", "plait", ours),
    MEET_THREAD_CASES("barrier", "plait, action", with_action),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
