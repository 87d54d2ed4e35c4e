/* Reading /proc/self/maps without the heap, for it may be called in a forked child. */
#include "port/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Judges one line, "start-end perms ...". True: the address is in it; then *ret_shared. */
static bool judge(const char *line, uintptr_t address, bool *ret_shared)
{
    unsigned long start, end;
    char perms[5];
    if (sscanf(line, "%lx-%lx %4s", &start, &end, perms) != 3)
        return false;
    *ret_shared = perms[3] == 's';
    return address >= start && address < end;
}

static bool search(int fd, uintptr_t address)
{
    char text[4096];
    size_t have = 0;
    bool shared = false;
    for (;;) {
        ssize_t n = read(fd, text + have, sizeof text - 1 - have);
        if (n <= 0)
            return false;
        have += (size_t)n;
        text[have] = 0;
        char *line = text, *end;
        while ((end = strchr(line, '\n'))) {
            *end = 0;
            if (judge(line, address, &shared))
                return shared;
            line = end + 1;
        }
        have = strlen(line);
        if (line == text && have == sizeof text - 1)
            have = 0; /* a line too long for us: its head has been judged as a part */
        memmove(text, line, have);
    }
}

bool pl_mapping_is_shared(const void *address)
{
    int saved = errno;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    bool shared = fd >= 0 && search(fd, (uintptr_t)address);
    if (fd >= 0)
        close(fd);
    errno = saved;
    return shared;
}
