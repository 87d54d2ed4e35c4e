/* Mapping a function over items with a pool that is there already.
 *
 * tiny: 1,000,000 items of i * i, the pool chooses how many to hand out at a time; ns per item.
 * tiny_chunk1: 2,000 of them, each handed out by itself: the cost of dispatch; ns per item.
 * real: 400 items, each the CRC-32 of 256 KiB, some 0.3 ms; ns per item. "serial" is a plain loop.
 *
 * A subject gets an item function that it cannot see into (it lies in pool_items.c) and calls it
 * once per item through a pointer, as any pool in C must. What C++ and OpenMP gain where the
 * compiler can see and vectorise the loop body shows the subject "... inlined", for information. */
#ifndef BENCH_POOL_SHAPE_H
#define BENCH_POOL_SHAPE_H

#include "harness.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef int pool_function(const void *in, void *out);

struct pool_work {
    pool_function *fn;
    void *in, *out;
    size_t in_size, out_size, n;
    bool chunk1;
};

/* Runs all items of the work once. */
typedef void pool_map(void *pool, const struct pool_work *work);

/* Zeroed memory for `in` and `out`. */
typedef void *pool_memory(size_t size);

/* Each prepares the items in memory from `get`, maps them until the run's time is over with
 * map(pool, work), checks the result, and returns ns per item. */
double pool_tiny(pool_map *map, void *pool, pool_memory *get);
double pool_tiny_chunk1(pool_map *map, void *pool, pool_memory *get);
double pool_real(pool_map *map, void *pool, pool_memory *get);

/* The item functions: int -> long, its square; uint32_t -> uint32_t, a CRC seeded with it. */
int pool_square(const void *in, void *out);
int pool_crc(const void *in, void *out);

BENCH_INLINE void pool_item(const struct pool_work *w, size_t i)
{
    w->fn((const char *)w->in + i * w->in_size, (char *)w->out + i * w->out_size);
}

#ifdef __cplusplus
}
#endif
#endif
