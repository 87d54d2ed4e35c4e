/* plait_start and plait_join of a worker that does nothing: a thread; a process, by each start method, alone and many at once,
 * and started by programs of different sizes. See worker_shape.h.
 * Peers: peers/worker_libc.c, and for information Go's goroutine, CPython's Thread and Process. */
#include "worker_shape.h"

#include <plait/plait.h>

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static plait_worker begin(int kind, int method)
{
    plait_worker worker;
    plait_options options = {.start_method = kind == PLAIT_PROCESS ? method : PLAIT_START_DEFAULT};
    bench_check(plait_start(&worker, kind, nothing, NULL, &options) == 0, "not started");
    return worker;
}

static void end(plait_worker worker)
{
    bench_check(plait_join(worker, NULL, PLAIT_FOREVER) == 0, "not joined");
}

static void cycle_thread(void)
{
    end(begin(PLAIT_THREAD, 0));
}

static void cycle_fork(void)
{
    end(begin(PLAIT_PROCESS, PLAIT_FORK));
}

static void cycle_zygote(void)
{
    end(begin(PLAIT_PROCESS, PLAIT_ZYGOTE));
}

static void cycle_spawn(void)
{
    end(begin(PLAIT_PROCESS, PLAIT_SPAWN));
}

static void crowd(int method)
{
    plait_worker workers[WORKER_CROWD];
    for (int i = 0; i < WORKER_CROWD; i++)
        workers[i] = begin(PLAIT_PROCESS, method);
    for (int i = 0; i < WORKER_CROWD; i++)
        end(workers[i]);
}

static void crowd_fork(void)
{
    crowd(PLAIT_FORK);
}

static void crowd_zygote(void)
{
    crowd(PLAIT_ZYGOTE);
}

static worker_cycle *const thread = cycle_thread, *const by_fork = cycle_fork,
                           *const by_zygote = cycle_zygote, *const by_spawn = cycle_spawn,
                           *const many_by_fork = crowd_fork, *const many_by_zygote = crowd_zygote;

static const struct bench_subject table[] = {
    BENCH_SUBJECT("thread_start", "plait", worker_start, &thread, 0),
    BENCH_SUBJECT("process_start", "plait zygote", worker_start, &by_zygote, 0),
    BENCH_SUBJECT("process_start", "plait fork", worker_start, &by_fork, 0),
    BENCH_SUBJECT("process_spawn", "plait spawn", worker_start, &by_spawn, 0),
    BENCH_SUBJECT("process_start_memory/10", "plait zygote", worker_start, &by_zygote, 10),
    BENCH_SUBJECT("process_start_memory/10", "plait fork", worker_start, &by_fork, 10),
    BENCH_SUBJECT("process_start_memory/10", "plait spawn", worker_start, &by_spawn, 10),
    BENCH_SUBJECT("process_start_memory/1024", "plait zygote", worker_start, &by_zygote, 1024),
    BENCH_SUBJECT("process_start_memory/1024", "plait fork", worker_start, &by_fork, 1024),
    BENCH_SUBJECT("process_start_memory/1024", "plait spawn", worker_start, &by_spawn, 1024),
    BENCH_SUBJECT("process_crowd", "plait zygote", worker_start, &many_by_zygote, 0),
    BENCH_SUBJECT("process_crowd", "plait fork", worker_start, &many_by_fork, 0),
    {0},
};

int main(int argc, char **argv)
{
    bench_check(plait_init(&argc, &argv) == 0, "no arena");
    return bench_main(argc, argv, table);
}
