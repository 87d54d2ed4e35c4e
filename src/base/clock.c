/* The one clock: monotonic, nanoseconds. */
#include "base/clock.h"

#include "base/model.h"

int64_t plait_now(void)
{
    if (pl_model)
        return pl_model->now();
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}
