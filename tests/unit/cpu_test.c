/* Counting processors: affinity and the quotas of control groups, asked anew at each call. */
#include "port/cpu.h"

#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CANNOT = 77 };

static int allowed(void)
{
    cpu_set_t all;
    CHECK_EQ(sched_getaffinity(0, sizeof all, &all), 0);
    return CPU_COUNT(&all);
}

/* Leaves the process the first n of its processors. */
static void keep(int n)
{
    cpu_set_t all, some;
    CHECK_EQ(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&some);
    for (int i = 0; i < CPU_SETSIZE && n > 0; i++)
        if (CPU_ISSET(i, &all)) {
            CPU_SET(i, &some);
            n--;
        }
    CHECK_EQ(sched_setaffinity(0, sizeof some, &some), 0);
}

static void there_is_at_least_one_and_not_more_than_allowed(void **state)
{
    (void)state;
    errno = EXDEV;
    int n = plait_cpu_count();
    assert_true(n >= 1);
    assert_true(n <= allowed());
    assert_int_equal(n, pl_cpu_count());
    assert_int_equal(errno, EXDEV);
}

static int shrink(void *unused)
{
    (void)unused;
    int parallel = pl_cpu_parallel();
    CHECK_EQ(parallel, allowed());
    keep(1);
    CHECK_EQ(plait_cpu_count(), 1);        /* asked anew */
    CHECK_EQ(pl_cpu_parallel(), parallel); /* remembered */
    return 0;
}

static void affinity_is_minded_anew_at_each_call(void **state)
{
    (void)state;
    assert_int_equal(t_in_fork(shrink, NULL), 0);
}

static int shrink_in_thread(void *unused)
{
    (void)unused;
    keep(1);
    CHECK_EQ(plait_cpu_count(), 1);
    return 0;
}

/* Affinity is a thread's own; children have what their starter had. */
static void affinity_is_inherited(void **state)
{
    (void)state;
    assert_int_equal(t_in_pthread(shrink_in_thread, NULL), 0);
    assert_true(plait_cpu_count() >= 1);
}

/* --- control groups --- */

/* Which hierarchies this process is in: the folders of its groups, below a root of our own. */
struct groups {
    char v2[300], v1[300];
};

static bool read_groups(struct groups *ret)
{
    char line[512];
    FILE *f = fopen("/proc/self/cgroup", "r");
    *ret = (struct groups){.v2 = "", .v1 = ""};
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = 0;
        if (strcmp(names, ":") == 0)
            snprintf(ret->v2, sizeof ret->v2, "%s", path);
        else if (strcmp(names, ":cpu") == 0)
            snprintf(ret->v1, sizeof ret->v1, "/cpu%s", path);
        else if (strcmp(names, ":cpu,cpuacct") == 0)
            snprintf(ret->v1, sizeof ret->v1, "/cpu,cpuacct%s", path);
    }
    if (f)
        fclose(f);
    return f != NULL;
}

static void make_folders(const char *path)
{
    char part[400];
    for (const char *slash = path + 1; slash; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
        mkdir(part, 0755);
    }
    mkdir(path, 0755);
}

static void put(const char *folder, const char *file, const char *text)
{
    char path[500];
    make_folders(folder);
    snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *f = fopen(path, "w");
    CHECK(f != NULL);
    fputs(text, f);
    fclose(f);
}

/* An empty /sys/fs/cgroup, for this process only. False: not allowed. */
static bool hide_groups(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", "/sys/fs/cgroup", "tmpfs", 0, NULL) == 0;
}

/* The quota's text, and how many processors that leaves of two. */
struct quota {
    const char *text;
    int processors;
};

static int count_with_v2(void *quota)
{
    const struct quota *q = quota;
    struct groups groups;
    char folder[400];
    if (allowed() < 2 || !hide_groups() || !read_groups(&groups) || !groups.v2[0])
        return CANNOT;
    keep(2);
    CHECK_EQ(plait_cpu_count(), 2);
    snprintf(folder, sizeof folder, "/sys/fs/cgroup%s", groups.v2);
    put(folder, "cpu.max", q->text);
    CHECK_EQ(plait_cpu_count(), q->processors);
    return 0;
}

static int check_quotas(plait_function *count, struct quota *quotas, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int status = t_in_fork(count, &quotas[i]);
        if (status == CANNOT)
            return CANNOT;
        if (status != 0)
            fprintf(stderr, "with the quota \"%s\"\n", quotas[i].text);
        CHECK_EQ(status, 0);
    }
    return 0;
}

static void a_quota_is_minded_and_rounded_up(void **state)
{
    (void)state;
    struct quota quotas[] = {
        {"max 100000\n", 2},    {"200000 100000\n", 2},
        {"100000 100000\n", 1}, {"100001 100000\n", 2},
        {"99999 100000\n", 1},  {"1000 100000\n", 1},
        {"50000 25000\n", 2},   {"9000000000 100000\n", 2},
        {"1000 1000000\n", 1},  {"9223372036854775807 1\n", 2},
    };
    if (check_quotas(count_with_v2, quotas, sizeof quotas / sizeof quotas[0]) == CANNOT)
        skip();
}

static void what_is_no_quota_limits_nothing(void **state)
{
    (void)state;
    struct quota quotas[] = {
        {"", 2},
        {"\n", 2},
        {"max\n", 2},
        {"0 100000\n", 2},
        {"-1 100000\n", 2},
        {"100000 0\n", 2},
        {"100000 -5\n", 2},
        {"nonsense\n", 2},
        {"100000", 2},
    };
    if (check_quotas(count_with_v2, quotas, sizeof quotas / sizeof quotas[0]) == CANNOT)
        skip();
}

/* A quota of a group further up holds for all below. */
static int count_with_outer_quota(void *unused)
{
    (void)unused;
    struct groups groups;
    char folder[400];
    if (allowed() < 2 || !hide_groups() || !read_groups(&groups) || !groups.v2[0])
        return CANNOT;
    keep(2);
    snprintf(folder, sizeof folder, "/sys/fs/cgroup%s", groups.v2);
    put(folder, "cpu.max", "200000 100000\n");
    put("/sys/fs/cgroup", "cpu.max", "100000 100000\n");
    CHECK_EQ(plait_cpu_count(), 1);
    put("/sys/fs/cgroup", "cpu.max", "max 100000\n");
    put(folder, "cpu.max", "max 100000\n");
    CHECK_EQ(plait_cpu_count(), 2);
    return 0;
}

static void the_narrowest_quota_on_the_way_up_holds(void **state)
{
    (void)state;
    int status = t_in_fork(count_with_outer_quota, NULL);
    if (status == CANNOT)
        skip();
    assert_int_equal(status, 0);
}

static int count_with_v1(void *quota)
{
    const struct quota *q = quota;
    struct groups groups;
    char folder[400], text[100], *period = strchr(strcpy(text, q->text), ' ');
    if (allowed() < 2 || !hide_groups() || !read_groups(&groups) || !groups.v1[0] || !period)
        return CANNOT;
    *period++ = 0;
    keep(2);
    snprintf(folder, sizeof folder, "/sys/fs/cgroup%s", groups.v1);
    put(folder, "cpu.cfs_quota_us", text);
    put(folder, "cpu.cfs_period_us", period);
    CHECK_EQ(plait_cpu_count(), q->processors);
    return 0;
}

static void quotas_of_the_first_kind_of_groups_are_minded(void **state)
{
    (void)state;
    struct quota quotas[] = {
        {"-1 100000\n", 2},     {"200000 100000\n", 2}, {"100000 100000\n", 1},
        {"100001 100000\n", 2}, {"1000 100000\n", 1},
    };
    if (check_quotas(count_with_v1, quotas, sizeof quotas / sizeof quotas[0]) == CANNOT)
        skip();
}

static int count_in_a_bare_root(void *unused)
{
    (void)unused;
    if (chroot("/mnt") != 0)
        return CANNOT;
    CHECK_EQ(plait_cpu_count(), allowed());
    return 0;
}

static void without_proc_and_sys_affinity_counts(void **state)
{
    (void)state;
    int status = t_in_fork(count_in_a_bare_root, NULL);
    if (status == CANNOT)
        skip();
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_is_at_least_one_and_not_more_than_allowed),
        cmocka_unit_test(affinity_is_minded_anew_at_each_call),
        cmocka_unit_test(affinity_is_inherited),
        cmocka_unit_test(a_quota_is_minded_and_rounded_up),
        cmocka_unit_test(what_is_no_quota_limits_nothing),
        cmocka_unit_test(the_narrowest_quota_on_the_way_up_holds),
        cmocka_unit_test(quotas_of_the_first_kind_of_groups_are_minded),
        cmocka_unit_test(without_proc_and_sys_affinity_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
