/* Size classes: what a small block may measure.
 *
 * Multiples of 16 up to 128, then four steps per doubling (160, 192, 224, 256, 320 ... 32768), so a
 * block is at most a quarter larger than asked for, beyond 128 bytes. Above: whole chunks. */
#ifndef PL_ARENA_CLASS_H
#define PL_ARENA_CLASS_H

#include "base/self.h"

#include <stddef.h>
#include <stdint.h>

enum { PL_MOST_SMALL = 32768 };

struct pl_class {
    uint32_t size;   /* bytes of a block */
    uint32_t recip;  /* 2^31 / (size / 16), rounded up: division by multiplication */
    uint32_t blocks; /* in a chunk */
    uint32_t words;  /* of a bitmap that have bits of blocks */
};

extern const struct pl_class pl_classes[PL_CLASSES];

/* The smallest class that holds `size` bytes, at most PL_MOST_SMALL. */
static inline unsigned pl_class_for(size_t size)
{
    size_t last = size - (size != 0);
    if (last < 128)
        return (unsigned)(last >> 4);
    unsigned top = 63 - (unsigned)__builtin_clzl(last);
    return 8 + (top - 7) * 4 + (unsigned)(last >> (top - 2) & 3);
}

/* The block that an offset within a chunk lies in. Exact: offset / 16 is below 4096, so the
 * rounding of `recip` never reaches the next block. */
static inline uint32_t pl_class_block(const struct pl_class *class, uint32_t offset)
{
    return (uint32_t)((uint64_t)(offset >> 4) * class->recip >> 31);
}

/* The bits of `word` that stand for blocks. */
static inline uint64_t pl_class_mask(const struct pl_class *class, uint32_t word)
{
    uint32_t bits = class->blocks - word * 64;
    return bits >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << bits) - 1;
}

#endif
