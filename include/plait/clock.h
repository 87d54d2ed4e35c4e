/* Time: int64_t nanoseconds, relative, always the last parameter of a call.
 *
 *     plait_lock_acquire(&lock, PLAIT_FOREVER);        // until it is ours
 *     plait_lock_acquire(&lock, PLAIT_NOWAIT);         // now or PLAIT_ETIMEDOUT
 *     plait_lock_acquire(&lock, plait_ms(20));         // at most 20 ms
 *     plait_lock_acquire(&lock, plait_seconds(1.5));
 *
 * A negative time other than PLAIT_FOREVER is PLAIT_EINVAL, one above PLAIT_TIMEOUT_MAX (146 years)
 * PLAIT_EOVERFLOW; neither is clamped in silence. The clock is monotonic: setting the wall clock
 * changes nothing, and a signal that interrupts a wait does not restart its time.
 * Python's counterpart: the timeout= argument (None, 0, seconds as float), time.monotonic_ns(). */
#ifndef PLAIT_CLOCK_H
#define PLAIT_CLOCK_H

#include <plait/export.h>
#include <stdint.h>

PLAIT_BEGIN_DECLS

#define PLAIT_FOREVER INT64_C(-1)
#define PLAIT_NOWAIT INT64_C(0)
#define PLAIT_TIMEOUT_MAX (INT64_MAX / 2)

/* n units of `unit` nanoseconds; a product that does not fit becomes INT64_MAX or INT64_MIN, which
 * every blocking call refuses. */
static inline int64_t plait_scaled_(int64_t n, int64_t unit)
{
    int64_t ns;
    if (__builtin_mul_overflow(n, unit, &ns))
        return n > 0 ? INT64_MAX : INT64_MIN;
    return ns;
}

/* Microseconds, milliseconds as a time. Never block; anyone may call. */
static inline int64_t plait_us(int64_t n)
{
    return plait_scaled_(n, 1000);
}

static inline int64_t plait_ms(int64_t n)
{
    return plait_scaled_(n, 1000000);
}

/* Seconds as a time; NaN becomes INT64_MIN, which every blocking call refuses. */
static inline int64_t plait_seconds(double s)
{
    double ns = s * 1e9;
    if (!(ns > -9.2e18))
        return INT64_MIN;
    return ns < 9.2e18 ? (int64_t)ns : INT64_MAX;
}

/* Nanoseconds on the monotonic clock, for measuring. Never blocks; anyone may call, signal handlers
 * included. Python: time.monotonic_ns(). */
PLAIT_API int64_t plait_now(void);

PLAIT_END_DECLS
#endif
