/* Processors: how many this program may use. */
#ifndef PL_PORT_CPU_H
#define PL_PORT_CPU_H

#include <stdint.h>

/* Processors this process may use at once: the smaller of its affinity mask and the quota of its
 * cgroup (rounded up), at least 1. Reads files at each call. */
int pl_cpu_count(void);

/* The affinity mask alone, read once and remembered; what spinning goes by. */
int pl_cpu_parallel(void);

/* The processor's own count of time, where it has one that is cheaper to ask than the clock: for noticing that some time
 * has passed, not for measuring it. */
static inline uint64_t pl_ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    static _Thread_local uint64_t calls;
    return calls += 2000;
#endif
}

/* So many are some 30 to 100 microseconds. */
static inline uint64_t pl_ticks_soon(void)
{
#if defined(__aarch64__)
    uint64_t per_second;
    __asm__("mrs %0, cntfrq_el0" : "=r"(per_second));
    return per_second / 20000;
#else
    return 100000;
#endif
}

#endif
