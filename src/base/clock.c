/* The one clock: monotonic, nanoseconds. */
#include "base/clock.h"

int64_t plait_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}
