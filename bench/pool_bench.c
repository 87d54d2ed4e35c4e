/* plait_map on a pool of threads and on one of processes. See pool_shape.h for what is measured.
 * Peers: TBB and OpenMP (threads), CPython's Pool.map (processes); no C library has a process pool.
 *
 * Arrays lie in the arena, so items are worked on in place by processes as by threads; the subject
 * "plait processes, copied" has them in private memory, where plait copies them to and fro. */
#include "pool_shape.h"

#include <plait/plait.h>

#include <stdlib.h>

struct pool_kind {
    int kind; /* PLAIT_THREAD, PLAIT_PROCESS */
    pool_memory *get;
};

static void *get_private(size_t size)
{
    return calloc(1, size);
}

static const struct pool_kind threads = {PLAIT_THREAD, plait_alloc},
                              processes = {PLAIT_PROCESS, plait_alloc},
                              copied = {PLAIT_PROCESS, get_private};

static void map(void *pool, const struct pool_work *work)
{
    plait_map_call call = {
        .fn = work->fn,
        .in = work->in,
        .in_size = work->in_size,
        .out = work->out,
        .out_size = work->out_size,
        .n = work->n,
        .chunk = work->chunk1 ? 1 : 0,
    };
    bench_check(plait_map_items(pool, &call, PLAIT_FOREVER) == 0, "not mapped");
}

/* x: the number of workers, 0: one per processor. */
static double run(const struct bench_subject *self,
                  double (*shape)(pool_map *map, void *pool, pool_memory *get))
{
    const struct pool_kind *kind = self->what;
    plait_pool *pool;
    bench_check(plait_pool_open(&pool, kind->kind, (int)self->x, NULL) == 0, "no pool");
    double ns = shape(map, pool, kind->get);
    plait_pool_close(pool, PLAIT_FOREVER);
    return ns;
}

static double tiny(const struct bench_subject *self)
{
    return run(self, pool_tiny);
}

static double tiny_chunk1(const struct bench_subject *self)
{
    return run(self, pool_tiny_chunk1);
}

static double real(const struct bench_subject *self)
{
    return run(self, pool_real);
}

static const struct bench_subject table[] = {
    BENCH_SUBJECT("map_tiny", "plait threads", tiny, &threads, 0),
    BENCH_SUBJECT("map_tiny", "plait processes", tiny, &processes, 0),
    BENCH_SUBJECT("map_tiny", "plait processes, copied", tiny, &copied, 0),
    BENCH_SUBJECT("map_tiny_chunk1", "plait threads", tiny_chunk1, &threads, 0),
    BENCH_SUBJECT("map_tiny_chunk1", "plait processes", tiny_chunk1, &processes, 0),
    BENCH_SUBJECT("map_real", "plait threads", real, &threads, 0),
    BENCH_SUBJECT("map_real", "plait processes", real, &processes, 0),
    BENCH_SUBJECT("map_curve/1", "plait threads", real, &threads, 1),
    BENCH_SUBJECT("map_curve/2", "plait threads", real, &threads, 2),
    BENCH_SUBJECT("map_curve/4", "plait threads", real, &threads, 4),
    BENCH_SUBJECT("map_curve/8", "plait threads", real, &threads, 8),
    BENCH_SUBJECT("map_curve/1", "plait processes", real, &processes, 1),
    BENCH_SUBJECT("map_curve/2", "plait processes", real, &processes, 2),
    BENCH_SUBJECT("map_curve/4", "plait processes", real, &processes, 4),
    BENCH_SUBJECT("map_curve/8", "plait processes", real, &processes, 8),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
