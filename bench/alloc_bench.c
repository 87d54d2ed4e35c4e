/* plait_alloc and plait_free: zeroed blocks that every process of the family sees. See
 * alloc_shape.h for what is measured. Peers: malloc + memset and calloc, whose blocks only one
 * process sees.
 *
 * Zeroing is part of it for all, and is most of it from some KiB on. */
#include "alloc_shape.h"

#include <plait/plait.h>

static void *get(size_t size)
{
    void *block = plait_alloc(size);
    bench_check(block, "no memory");
    return block;
}

static void give(void *block)
{
    plait_free(block);
}

ALLOC_KIND(ours, get, give)

static const struct bench_subject table[] = {
    ALLOC_CASES("plait", ours),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
