/* The table of size classes, worked out by the compiler. */
#include "arena/class.h"

#include "arena/arena.h"

#define RECIP(units) (UINT32_C(0x80000000) / (units) + (UINT32_C(0x80000000) % (units) != 0))
#define CLASS(bytes)                                                                               \
    {                                                                                              \
        .size = (bytes), .recip = RECIP((bytes) / 16), .blocks = PL_CHUNK_SIZE / (bytes),          \
        .words = (PL_CHUNK_SIZE / (bytes) + 63) / 64                                               \
    }
#define DOUBLING(base)                                                                             \
    CLASS((base)*5 / 4), CLASS((base)*6 / 4), CLASS((base)*7 / 4), CLASS((base)*8 / 4)

const struct pl_class pl_classes[PL_CLASSES] = {
    CLASS(16),      CLASS(32),      CLASS(48),      CLASS(64),       CLASS(80),     CLASS(96),
    CLASS(112),     CLASS(128),     DOUBLING(128),  DOUBLING(256),   DOUBLING(512), DOUBLING(1024),
    DOUBLING(2048), DOUBLING(4096), DOUBLING(8192), DOUBLING(16384),
};
