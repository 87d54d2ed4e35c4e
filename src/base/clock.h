/* Deadlines: the relative timeout of the API, turned once into an absolute instant. */
#ifndef PL_BASE_CLOCK_H
#define PL_BASE_CLOCK_H

#include <plait/clock.h>
#include <plait/error.h>
#include <stdbool.h>
#include <time.h>

#define PL_NEVER INT64_MAX /* a deadline that does not come */

/* 0 if `timeout` is one a blocking call accepts, else PLAIT_EINVAL or PLAIT_EOVERFLOW. */
static inline int pl_check_timeout(int64_t timeout)
{
    if (timeout < PLAIT_FOREVER)
        return PLAIT_EINVAL;
    return timeout > PLAIT_TIMEOUT_MAX ? PLAIT_EOVERFLOW : 0;
}

/* The instant at which a checked `timeout` that starts now is over. */
static inline int64_t pl_deadline(int64_t timeout)
{
    return timeout == PLAIT_FOREVER ? PL_NEVER : plait_now() + timeout;
}

/* The clock as of the last tick, some milliseconds old and cheap: for ages. */
static inline int64_t pl_now_about(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static inline bool pl_passed(int64_t deadline)
{
    return deadline != PL_NEVER && plait_now() >= deadline;
}

static inline struct timespec pl_timespec(int64_t ns)
{
    struct timespec ts = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    return ts;
}

#endif
