/* Counting processors as a container sees them. */
#include "port/cpu.h"

#include "base/atomic.h"

#include <errno.h>
#include <limits.h>
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

/* Reads numbers from a file of a cgroup folder; how many. "max" reads as none. */
static int read_numbers(const char *folder, const char *file, long *a, long *b)
{
    char path[PATH + 32];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    int n = fscanf(f, "%ld %ld", a, b);
    fclose(f);
    return n;
}

/* quota / period of one cgroup folder, of either version, rounded up; 0 if it sets no limit. */
static int quota_of(const char *folder)
{
    long quota = 0, period = 0, unused;
    if (read_numbers(folder, "cpu.max", &quota, &period) != 2 &&
        (read_numbers(folder, "cpu.cfs_quota_us", &quota, &unused) != 1 ||
         read_numbers(folder, "cpu.cfs_period_us", &period, &unused) != 1))
        return 0;
    if (quota <= 0 || period <= 0)
        return 0;
    long cpus = (quota - 1) / period + 1;
    return cpus < INT_MAX ? (int)cpus : INT_MAX;
}

/* The folder that a line of /proc/self/cgroup names, "number:controllers:/path", and where its
 * hierarchy begins. False if it is not the unified hierarchy and has nothing to do with cpu. */
static bool folder_of(char *line, char *folder, size_t size, size_t *ret_root)
{
    char *controllers = strchr(line, ':');
    char *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path)
        return false;
    *path++ = 0;
    controllers++;
    path[strcspn(path, "\n")] = 0;
    bool unified = *controllers == 0;
    if (!unified && strncmp(controllers, "cpu,", 4) != 0 && strcmp(controllers, "cpu") != 0)
        return false;
    int root = snprintf(folder, size, "/sys/fs/cgroup%s%s", unified ? "" : "/", controllers);
    *ret_root = (size_t)root;
    return snprintf(folder + root, size - (size_t)root, "%s", path) < (int)(size - (size_t)root);
}

/* The smallest quota on the way from a folder up to the root of its hierarchy; 0 if there is none. */
static int least_quota(char *folder, size_t root)
{
    int least = 0;
    for (;;) {
        int n = quota_of(folder);
        if (n > 0 && (least == 0 || n < least))
            least = n;
        char *slash = strrchr(folder, '/');
        if (strlen(folder) <= root || !slash || slash < folder + root)
            return least;
        *slash = 0;
    }
}

static int cgroup_count(void)
{
    char line[PATH], folder[PATH];
    size_t root;
    int least = 0;
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (!f)
        return 0;
    while (fgets(line, sizeof line, f)) {
        int n = folder_of(line, folder, sizeof folder, &root) ? least_quota(folder, root) : 0;
        if (n > 0 && (least == 0 || n < least))
            least = n;
    }
    fclose(f);
    return least;
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
