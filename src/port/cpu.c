/* Counting processors as a container sees them. */
#include "port/cpu.h"

#include "base/atomic.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_CPUS = 1 << 16, PATH = 4096 };

static int affinity_count(void)
{
    for (int cpus = 1024; cpus <= MOST_CPUS; cpus *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)cpus);
        size_t size = CPU_ALLOC_SIZE((size_t)cpus);
        if (!set)
            return 1;
        int failed = sched_getaffinity(0, size, set);
        int n = failed ? 0 : CPU_COUNT_S(size, set);
        CPU_FREE(set);
        if (!failed)
            return n > 0 ? n : 1;
        if (errno != EINVAL) /* EINVAL: the kernel's mask is longer than ours */
            break;
    }
    return 1;
}

/* quota / period of one cgroup folder, rounded up; 0 if it sets no limit. */
static int quota_of(const char *folder)
{
    char path[PATH + 16];
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    long quota = 0, period = 0;
    int read = fscanf(f, "%ld %ld", &quota, &period); /* "max 100000" reads as no number */
    fclose(f);
    if (read != 2 || quota <= 0 || period <= 0)
        return 0;
    return (int)((quota + period - 1) / period);
}

/* This process's folder in the unified (v2) hierarchy: the line "0::/path". */
static int own_cgroup(char *folder, size_t size)
{
    char line[PATH];
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (!f)
        return -1;
    int found = -1;
    while (found < 0 && fgets(line, sizeof line, f)) {
        if (strncmp(line, "0::/", 4) != 0)
            continue;
        line[strcspn(line, "\n")] = 0;
        found = snprintf(folder, size, "/sys/fs/cgroup%s", line + 3) < (int)size ? 0 : -1;
    }
    fclose(f);
    return found;
}

/* The smallest quota on the way from this process's cgroup up to the root. */
static int cgroup_count(void)
{
    char folder[PATH];
    int least = 0;
    if (own_cgroup(folder, sizeof folder) < 0)
        return 0;
    for (;;) {
        int n = quota_of(folder);
        if (n > 0 && (least == 0 || n < least))
            least = n;
        char *slash = strrchr(folder, '/');
        if (!slash || strlen(folder) <= strlen("/sys/fs/cgroup"))
            return least;
        *slash = 0;
    }
}

int pl_cpu_count(void)
{
    int saved = errno;
    int cpus = affinity_count();
    int quota = cgroup_count();
    errno = saved;
    return quota > 0 && quota < cpus ? quota : cpus;
}

int pl_cpu_parallel(void)
{
    static int remembered; /* any thread computes it, to the same value */
    int n = __atomic_load_n(&remembered, __ATOMIC_RELAXED);
    if (n == 0) {
        int saved = errno;
        n = affinity_count();
        errno = saved;
        __atomic_store_n(&remembered, n, __ATOMIC_RELAXED);
    }
    return n;
}
