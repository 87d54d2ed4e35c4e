/* OpenMP's loops and tasks beside plait_map, and the serial loop that all are to beat.
 * Needs: gcc (libgomp) */
#include "pool_shape.h"

#include <omp.h>
#include <stdlib.h>

static void *get(size_t size)
{
    return calloc(1, size);
}

static void map_serial(void *pool, const struct pool_work *w)
{
    (void)pool;
    for (size_t i = 0; i < w->n; i++)
        pool_item(w, i);
}

static void map_static(void *pool, const struct pool_work *w)
{
    (void)pool;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < w->n; i++)
        pool_item(w, i);
}

/* OpenMP's own default for dynamic is one item at a time. */
static void map_dynamic(void *pool, const struct pool_work *w)
{
    (void)pool;
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < w->n; i++)
        pool_item(w, i);
}

static void map_guided(void *pool, const struct pool_work *w)
{
    (void)pool;
#pragma omp parallel for schedule(guided)
    for (size_t i = 0; i < w->n; i++)
        pool_item(w, i);
}

static void map_tasks(void *pool, const struct pool_work *w)
{
    (void)pool;
#pragma omp parallel
#pragma omp single
    for (size_t i = 0; i < w->n; i++) {
#pragma omp task firstprivate(i)
        pool_item(w, i);
    }
}

static void map_inlined(void *pool, const struct pool_work *w)
{
    const int *in = w->in;
    long *out = w->out;
    (void)pool;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < w->n; i++)
        out[i] = (long)in[i] * in[i];
}

typedef double shape(pool_map *map, void *pool, pool_memory *get);

struct subject {
    shape *shape;
    pool_map *map;
};

static double run(const struct bench_subject *self)
{
    const struct subject *s = self->what;
    if (self->x)
        omp_set_num_threads((int)self->x);
    return s->shape(s->map, NULL, get);
}

static const struct subject tiny_serial = {pool_tiny, map_serial},
                            tiny_static = {pool_tiny, map_static},
                            tiny_dynamic = {pool_tiny, map_dynamic},
                            tiny_guided = {pool_tiny, map_guided},
                            tiny_inlined = {pool_tiny, map_inlined},
                            one_dynamic = {pool_tiny_chunk1, map_dynamic},
                            one_tasks = {pool_tiny_chunk1, map_tasks},
                            real_serial = {pool_real, map_serial},
                            real_dynamic = {pool_real, map_dynamic};

static const struct bench_subject table[] = {
    BENCH_INFO("map_tiny", "serial", run, &tiny_serial, 0),
    BENCH_SUBJECT("map_tiny", "OpenMP static", run, &tiny_static, 0),
    BENCH_SUBJECT("map_tiny", "OpenMP guided", run, &tiny_guided, 0),
    BENCH_SUBJECT("map_tiny", "OpenMP dynamic", run, &tiny_dynamic, 0),
    BENCH_INFO("map_tiny", "OpenMP static, inlined", run, &tiny_inlined, 0),
    BENCH_SUBJECT("map_tiny_chunk1", "OpenMP dynamic", run, &one_dynamic, 0),
    BENCH_SUBJECT("map_tiny_chunk1", "OpenMP task", run, &one_tasks, 0),
    BENCH_INFO("map_real", "serial", run, &real_serial, 0),
    BENCH_SUBJECT("map_real", "OpenMP dynamic", run, &real_dynamic, 0),
    BENCH_SUBJECT("map_curve/1", "OpenMP dynamic", run, &real_dynamic, 1),
    BENCH_SUBJECT("map_curve/2", "OpenMP dynamic", run, &real_dynamic, 2),
    BENCH_SUBJECT("map_curve/4", "OpenMP dynamic", run, &real_dynamic, 4),
    BENCH_SUBJECT("map_curve/8", "OpenMP dynamic", run, &real_dynamic, 8),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
