/* oneTBB's parallel_for and task_group beside plait_map. Needs: libtbb-dev g++ */
#include "pool_shape.h"

#include <cstdlib>
#include <memory>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>

static void *get(size_t size)
{
    return std::calloc(1, size);
}

static void map_for(void *, const pool_work *w)
{
    tbb::parallel_for(size_t(0), w->n, [w](size_t i) { pool_item(w, i); });
}

/* One item at a time. */
static void map_for_each_alone(void *, const pool_work *w)
{
    tbb::parallel_for(
        tbb::blocked_range<size_t>(0, w->n, 1),
        [w](const tbb::blocked_range<size_t> &range) {
            for (size_t i = range.begin(); i < range.end(); i++)
                pool_item(w, i);
        },
        tbb::simple_partitioner());
}

static void map_tasks(void *, const pool_work *w)
{
    tbb::task_group group;
    for (size_t i = 0; i < w->n; i++)
        group.run([w, i] { pool_item(w, i); });
    group.wait();
}

static void map_inlined(void *, const pool_work *w)
{
    const int *in = static_cast<const int *>(w->in);
    long *out = static_cast<long *>(w->out);
    tbb::parallel_for(tbb::blocked_range<size_t>(0, w->n),
                      [=](const tbb::blocked_range<size_t> &range) {
                          for (size_t i = range.begin(); i < range.end(); i++)
                              out[i] = long(in[i]) * in[i];
                      });
}

typedef double shape(pool_map *map, void *pool, pool_memory *get);

struct subject {
    shape *run;
    pool_map *map;
};

/* x: the number of threads, 0: one per processor. */
static double run(const bench_subject *self)
{
    const subject *s = static_cast<const subject *>(self->what);
    int threads = self->x ? int(self->x) : tbb::this_task_arena::max_concurrency();
    tbb::global_control limit(tbb::global_control::max_allowed_parallelism, size_t(threads));
    tbb::task_arena arena(threads);
    return arena.execute([s] { return s->run(s->map, nullptr, get); });
}

static const subject tiny_for = {pool_tiny, map_for}, tiny_inlined = {pool_tiny, map_inlined},
                     one_for = {pool_tiny_chunk1, map_for_each_alone},
                     one_tasks = {pool_tiny_chunk1, map_tasks}, real_for = {pool_real, map_for};

static const bench_subject table[] = {
    BENCH_SUBJECT("map_tiny", "TBB parallel_for", run, &tiny_for, 0),
    BENCH_INFO("map_tiny", "TBB parallel_for, inlined", run, &tiny_inlined, 0),
    BENCH_SUBJECT("map_tiny_chunk1", "TBB parallel_for", run, &one_for, 0),
    BENCH_SUBJECT("map_tiny_chunk1", "TBB task_group", run, &one_tasks, 0),
    BENCH_SUBJECT("map_real", "TBB parallel_for", run, &real_for, 0),
    BENCH_SUBJECT("map_curve/1", "TBB parallel_for", run, &real_for, 1),
    BENCH_SUBJECT("map_curve/2", "TBB parallel_for", run, &real_for, 2),
    BENCH_SUBJECT("map_curve/4", "TBB parallel_for", run, &real_for, 4),
    BENCH_SUBJECT("map_curve/8", "TBB parallel_for", run, &real_for, 8),
    {nullptr, nullptr, nullptr, nullptr, 0, false},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
