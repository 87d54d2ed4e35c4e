/* See pool_shape.h. */
#include "pool_shape.h"

enum {
    TINY = 1000000,
    TINY_CHUNK1 = 2000,
    REAL = 400,
    REAL_BYTES = 256 * 1024,
};

static uint32_t crc_table[256];
static unsigned char text[REAL_BYTES]; /* what the CRCs are taken of */

static void fill_tables(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0xedb88320) : 0);
        crc_table[i] = crc;
    }
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (unsigned char)(i * i >> 3);
}

int pool_square(const void *in, void *out)
{
    long i = *(const int *)in;
    *(long *)out = i * i;
    return 0;
}

int pool_crc(const void *in, void *out)
{
    uint32_t crc = *(const uint32_t *)in;
    for (size_t i = 0; i < sizeof text; i++)
        crc = crc >> 8 ^ crc_table[(crc ^ text[i]) & 0xff];
    *(uint32_t *)out = crc;
    return 0;
}

struct run {
    struct pool_work work;
    pool_map *map;
    void *pool;
};

static int64_t map_n(void *arg, long n)
{
    struct run *run = arg;
    int64_t start = bench_now();
    for (long i = 0; i < n; i++)
        run->map(run->pool, &run->work);
    return bench_now() - start;
}

static double per_item(struct run *run)
{
    return bench_per_operation(map_n, run) / (double)run->work.n;
}

static double tiny(struct run *run, size_t n, pool_memory *get)
{
    int *in = get(n * sizeof *in);
    long *out = get(n * sizeof *out);
    bench_check(in && out, "no memory");
    for (size_t i = 0; i < n; i++)
        in[i] = (int)i;
    run->work.fn = pool_square;
    run->work.in = in;
    run->work.out = out;
    run->work.in_size = sizeof *in;
    run->work.out_size = sizeof *out;
    run->work.n = n;
    double ns = per_item(run);
    for (size_t i = 0; i < n; i++)
        bench_check(out[i] == (long)i * (long)i, "a wrong square");
    return ns;
}

double pool_tiny(pool_map *map, void *pool, pool_memory *get)
{
    struct run run = {.map = map, .pool = pool};
    return tiny(&run, TINY, get);
}

double pool_tiny_chunk1(pool_map *map, void *pool, pool_memory *get)
{
    struct run run = {.map = map, .pool = pool, .work.chunk1 = true};
    return tiny(&run, TINY_CHUNK1, get);
}

double pool_real(pool_map *map, void *pool, pool_memory *get)
{
    uint32_t *in = get(REAL * sizeof *in), *out = get(REAL * sizeof *out), first;
    bench_check(in && out, "no memory");
    for (uint32_t i = 0; i < REAL; i++)
        in[i] = i;
    struct run run = {
        .map = map,
        .pool = pool,
        .work = {pool_crc, in, out, sizeof *in, sizeof *out, REAL, false},
    };
    double ns = per_item(&run);
    pool_crc(in, &first);
    bench_check(out[0] == first && out[REAL - 1] != 0, "a wrong sum");
    return ns;
}

/* Before main, so that forked workers have the tables. */
__attribute__((constructor)) static void prepare(void)
{
    fill_tables();
}
