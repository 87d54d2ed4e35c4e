/* malloc + memset, and calloc, of the C library beside plait_alloc. Needs: libc6-dev */
#include "alloc_shape.h"

#include <stdlib.h>
#include <string.h>

static void *get_malloc(size_t size)
{
    void *block = malloc(size);
    bench_check(block, "no memory");
    bench_escape(block); /* or the compiler makes a calloc of it */
    return memset(block, 0, size);
}

static void *get_calloc(size_t size)
{
    void *block = calloc(1, size);
    bench_check(block, "no memory");
    return block;
}

static void give(void *block)
{
    free(block);
}

ALLOC_KIND(malloc_memset, get_malloc, give)
ALLOC_KIND(calloc_alone, get_calloc, give)

static const struct bench_subject table[] = {
    ALLOC_CASES("malloc+memset", malloc_memset),
    ALLOC_CASES("calloc", calloc_alone),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
