/* What /proc says of a process or thread, in one line. */
#ifndef PL_PORT_STAT_H
#define PL_PORT_STAT_H

#include <stdint.h>

struct pl_stat {
    char state; /* R, S, D, T, t, Z, X ... */
    int parent, group, session;
    unsigned long user, system; /* clock ticks of processor time */
    unsigned long birth;        /* clock ticks since boot */
    int status;                 /* as of waitpid, once it has ended */
};

/* Reads a /proc/.../stat. 0; -ESRCH: it is gone; or another -errno. May change errno. */
int pl_stat_read(const char *path, struct pl_stat *ret);

#endif
