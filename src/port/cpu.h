/* Processors: how many this program may use. */
#ifndef PL_PORT_CPU_H
#define PL_PORT_CPU_H

/* Processors this process may use at once: the smaller of its affinity mask and the quota of its
 * cgroup (rounded up), at least 1. Reads files at each call. */
int pl_cpu_count(void);

/* The affinity mask alone, read once and remembered; what spinning goes by. */
int pl_cpu_parallel(void);

#endif
