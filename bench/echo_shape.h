/* TCP echo on the loopback: what servers written in C share. A server is the subject; who asks it is
 * echo_load.c, one program for all servers, whose figures are the run's.
 *
 * A server listens on 127.0.0.1 at a port that the kernel chose, gives it to echo_start_load, and serves until
 * that ends the program. Each connection has a buffer of ECHO_BUFFER bytes; what a read brought is written
 * back before the next read. */
#ifndef BENCH_ECHO_SHAPE_H
#define BENCH_ECHO_SHAPE_H

#include "harness.h"

#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ECHO_BUFFER = 64 * 1024, ECHO_BACKLOG = 4096 };

static inline void *echo_end_with(void *load)
{
    int status;
    waitpid((pid_t)(intptr_t)load, &status, 0);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

/* As many as the administrator lets us. */
static inline void echo_allow_descriptors(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* Starts echo_load against this process; the program ends when it does, with its status. Its end resets
 * connections that are being written to. */
static inline void echo_start_load(const struct bench_subject *self, int port)
{
    extern char **environ;
    const char *load = getenv("BENCH_ECHO_LOAD");
    char port_text[16], pid_text[16];
    char *arguments[] = {(char *)"echo_load", (char *)self->name, (char *)self->subject,
                         port_text,           pid_text,           NULL};
    snprintf(port_text, sizeof port_text, "%d", port);
    snprintf(pid_text, sizeof pid_text, "%d", (int)getpid());
    echo_allow_descriptors();
    signal(SIGPIPE, SIG_IGN);
    bench_check(load, "BENCH_ECHO_LOAD does not name the program echo_load");
    pid_t pid;
    pthread_t watcher;
    bench_check(posix_spawn(&pid, load, NULL, NULL, arguments, environ) == 0, "no load");
    bench_check(pthread_create(&watcher, NULL, echo_end_with, (void *)(intptr_t)pid) == 0,
                "no thread");
}

/* For the table of subjects; `serve` is its run and does not return. */
#define ECHO_CASES(name, serve)                                                                    \
    BENCH_SUBJECT("echo_64/1", name, serve, NULL, 0),                                              \
        BENCH_SUBJECT("echo_64/100", name, serve, NULL, 0),                                        \
        BENCH_SUBJECT("echo_64/1000", name, serve, NULL, 0),                                       \
        BENCH_SUBJECT("echo_4096/1", name, serve, NULL, 0),                                        \
        BENCH_SUBJECT("echo_4096/100", name, serve, NULL, 0),                                      \
        BENCH_SUBJECT("echo_4096/1000", name, serve, NULL, 0),                                     \
        BENCH_SUBJECT("echo_65536/1", name, serve, NULL, 0),                                       \
        BENCH_SUBJECT("echo_65536/100", name, serve, NULL, 0),                                     \
        BENCH_SUBJECT("echo_65536/1000", name, serve, NULL, 0),                                    \
        BENCH_SUBJECT("echo_idle", name, serve, NULL, 0)

#endif
