/* Fields by their numbers in proc(5). */
#include "port/stat.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SKIP " %*s"
#define SKIP_5 SKIP SKIP SKIP SKIP SKIP

int pl_stat_read(const char *path, struct pl_stat *ret)
{
    static const char fields_3_to_52[] = " %c %d %d %d"               /* to 6 */
        SKIP_5 SKIP SKIP " %lu %lu"                                   /* 14, 15 */
        SKIP_5 SKIP " %lu"                                            /* 22 */
        SKIP_5 SKIP_5 SKIP_5 SKIP_5 SKIP_5 SKIP SKIP SKIP SKIP " %d"; /* 52 */
    char text[1024];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return -ESRCH;
    text[n] = 0;
    const char *rest = strrchr(text, ')'); /* the name may hold anything, blanks and brackets too */
    return rest && sscanf(rest + 1, fields_3_to_52, &ret->state, &ret->parent, &ret->group,
                          &ret->session, &ret->user, &ret->system, &ret->birth, &ret->status) == 8
               ? 0
               : -ESRCH;
}
