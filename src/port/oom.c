/* The count stands in memory.events of a control group, or memory.oom_control in version 1: a line "oom_kill N". Which file
 * that is stands in /proc/self/cgroup. To read that takes a lock that the whole machine shares, so it is done once for each
 * process. */
#include "port/oom.h"

#include "base/atomic.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATH = 4096, BUILDING = -1 };

static char remembered[PATH]; /* written by who has set `owner` to BUILDING */
static int32_t owner;         /* the process it is valid for; 0: nobody. Atomic */

static int64_t count_in(const char *path)
{
    char text[512];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return -1;
    text[n] = 0;
    const char *line = text;
    while (line && strncmp(line, "oom_kill ", 9) != 0)
        line = (line = strchr(line, '\n')) ? line + 1 : NULL;
    long count;
    return line && sscanf(line + 9, "%ld", &count) == 1 ? count : -1;
}

/* In a container /proc may name the group as the host does, and the folder shows the container's own at its root. */
static bool try_in(const char *hierarchy, const char *group, const char *file, char *ret)
{
    const char *const groups[] = {group, ""};
    for (int i = 0; i < 2; i++)
        if (snprintf(ret, PATH, "%s%s/%s", hierarchy, groups[i], file) < PATH && count_in(ret) >= 0)
            return true;
    return false;
}

/* "number:controllers:/group" */
static bool try_line(char *line, char *ret)
{
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group)
        return false;
    *group++ = 0;
    group[strcspn(group, "\n")] = 0;
    if (strcmp(group, "/") == 0)
        *group = 0;
    if (strcmp(controllers, ":memory") == 0)
        return try_in("/sys/fs/cgroup/memory", group, "memory.oom_control", ret);
    return controllers[1] == 0 && (try_in("/sys/fs/cgroup", group, "memory.events", ret) ||
                                   try_in("/sys/fs/cgroup/unified", group, "memory.events", ret));
}

/* Empty if there is none. */
static void find_file(char *ret)
{
    char line[PATH];
    bool found = false;
    FILE *f = fopen("/proc/self/cgroup", "re");
    while (f && !found && fgets(line, sizeof line, f))
        found = try_line(line, ret);
    if (f)
        fclose(f);
    if (!found)
        *ret = 0;
}

static void remember(const char *path, int32_t seen, int32_t self)
{
    if (seen == BUILDING || !pl_cas_acq_rel(&owner, &seen, (int32_t)BUILDING))
        return;
    memcpy(remembered, path, strlen(path) + 1);
    pl_store_release(&owner, self);
}

/* What was read last, by `owner`, and when. Atomic. */
static int64_t last_count, last_read;

int64_t pl_oom_kills(void)
{
    char path[PATH];
    int saved = errno;
    int32_t self = (int32_t)getpid(), seen = pl_load_acquire(&owner);
    const char *file = remembered;
    if (seen != self) {
        find_file(path);
        remember(path, seen, self);
        file = path;
    }
    int64_t now = plait_now(), count = *file ? count_in(file) : -1;
    errno = saved;
    pl_store_relaxed(&last_count, count);
    /* R:oom.last, pairs with pl_oom_kills_lately: a count is at least as new as it says. */
    pl_store_release(&last_read, now);
    return count;
}

int64_t pl_oom_kills_lately(void)
{
    enum { LATELY = 10 * 1000 * 1000 }; /* ns */
    /* A:oom.last, pairs with pl_oom_kills. */
    int64_t read = pl_load_acquire(&last_read);
    bool is_new = read != 0 && plait_now() - read < LATELY;
    return is_new && pl_load_acquire(&owner) == (int32_t)getpid() ? pl_load_relaxed(&last_count)
                                                                  : pl_oom_kills();
}
