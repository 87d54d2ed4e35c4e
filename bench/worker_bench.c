/* plait_start and plait_join of a worker that does nothing: a thread, a process. See
 * worker_shape.h.
 * Peers: peers/worker_libc.c, and for information Go's goroutine, CPython's Thread and Process.
 *
 * The parent is a small program; forking costs more, for all, the more memory the parent has. */
#include "worker_shape.h"

#include <plait/plait.h>

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static void cycle(int kind)
{
    plait_worker worker;
    bench_check(plait_start(&worker, kind, nothing, NULL, NULL) == 0, "not started");
    bench_check(plait_join(worker, NULL, PLAIT_FOREVER) == 0, "not joined");
}

static void cycle_thread(void)
{
    cycle(PLAIT_THREAD);
}

static void cycle_process(void)
{
    cycle(PLAIT_PROCESS);
}

static worker_cycle *const thread = cycle_thread, *const process = cycle_process;

static const struct bench_subject table[] = {
    BENCH_SUBJECT("thread_start", "plait", worker_start, &thread, 0),
    BENCH_SUBJECT("process_start", "plait", worker_start, &process, 0),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
