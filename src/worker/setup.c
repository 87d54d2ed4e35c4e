/* Options of a process that is forked. */
#include "worker/setup.h"

#include "port/child.h"
#include "port/memory.h"
#include "port/process.h"

#include <plait/arena.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int pl_setup_check(const plait_process_options *options)
{
    struct pl_child_setup setup;
    plait_process_failure failure;
    int rc = pl_child_setup_make(&setup, options, &failure);
    if (rc == 0)
        pl_child_setup_free(&setup);
    return rc;
}

/* --- the copy --- */

/* Where the next part goes; NULL while it is only counted how much there is. */
struct block {
    char *at;
    size_t size;
};

static void *put(struct block *b, const void *bytes, size_t n, size_t alignment)
{
    b->size = (b->size + alignment - 1) / alignment * alignment;
    void *place = b->at ? b->at + b->size : NULL;
    if (place && n)
        memcpy(place, bytes, n);
    b->size += n;
    return place;
}

static const char *put_string(struct block *b, const char *text)
{
    return text ? put(b, text, strlen(text) + 1, 1) : NULL;
}

static const char *const *put_strings(struct block *b, const char *const *list, size_t n)
{
    const char **copy = put(b, list, (n + 1) * sizeof *list, sizeof *list);
    for (size_t i = 0; i < n; i++) {
        const char *text = put_string(b, list[i]);
        if (copy)
            copy[i] = text;
    }
    if (copy)
        copy[n] = NULL;
    return copy;
}

static size_t length_of(const char *const *list)
{
    size_t n = 0;
    while (list[n])
        n++;
    return n;
}

static plait_process_options *put_options(struct block *b, const plait_process_options *o)
{
    plait_process_options copy = *o;
    plait_process_options *place = put(b, o, sizeof *o, 16);
    copy.cwd = put_string(b, o->cwd);
    copy.cgroup = put_string(b, o->cgroup);
    copy.user = put_string(b, o->user);
    copy.group = put_string(b, o->group);
    copy.env = o->env ? put_strings(b, o->env, length_of(o->env)) : NULL;
    copy.groups = o->n_groups ? put_strings(b, o->groups, o->n_groups) : NULL;
    copy.cpus = put(b, o->cpus, o->n_cpus * sizeof *o->cpus, sizeof *o->cpus);
    copy.limits = put(b, o->limits, o->n_limits * sizeof *o->limits, 8);
    if (place)
        *place = copy;
    return place;
}

plait_process_options *pl_setup_copy(const plait_process_options *options)
{
    struct block b = {NULL, 0};
    put_options(&b, options);
    b.at = plait_alloc(b.size);
    b.size = 0;
    return b.at ? put_options(&b, options) : NULL;
}

/* --- the report --- */

/* Success is said, too. Naive: the pipe's end means it. Its fault: a process that another thread forks meanwhile has the
 * writing end as well, and the end comes when that process has ended. For the same reason a child that is killed before it
 * says anything is noticed by its pidfd. */

int pl_setup_pipe(int ends[2])
{
    int saved = errno;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        errno = saved;
        return PLAIT_EMFILE;
    }
    ends[0] = pl_descriptor_above_streams(ends[0]);
    ends[1] = pl_descriptor_above_streams(ends[1]);
    errno = saved;
    if (ends[0] >= 0 && ends[1] >= 0)
        return 0;
    close(ends[0]);
    close(ends[1]);
    return PLAIT_EMFILE;
}

/* Sleeps until something has been said, or the process has ended. */
static void wait_for_news(int end, int pid)
{
    enum { SOON = 10 }; /* ms, where no pidfd is to be had */
    int handle = pl_process_open(pid);
    struct pollfd p[] = {{.fd = end, .events = POLLIN}, {.fd = handle, .events = POLLIN}};
    int ready;
    do
        ready = poll(p, 2, handle >= 0 ? -1 : SOON);
    while (ready <= 0 && (handle >= 0 || pl_process_child_runs(pid)));
    if (handle >= 0)
        close(handle);
}

int pl_setup_hear(int end, int pid)
{
    int error = 0, saved = errno;
    struct pollfd p = {.fd = end, .events = POLLIN};
    wait_for_news(end, pid);
    ssize_t n = poll(&p, 1, 0) == 1 ? read(end, &error, sizeof error) : 0;
    errno = saved;
    return n == (ssize_t)sizeof error ? error : 0;
}

/* --- in the process --- */

/* The block the options lie in goes away. */
static void take_environment(char *const *env)
{
    extern char **environ;
    size_t n = length_of((const char *const *)env);
    char **copy = malloc((n + 1) * sizeof *copy);
    if (!copy)
        return;
    for (size_t i = 0; i < n; i++)
        copy[i] = strdup(env[i]);
    copy[n] = NULL;
    environ = copy;
}

static int apply(const plait_process_options *options)
{
    struct pl_child_setup setup;
    plait_process_failure failure;
    int step;
    int rc = pl_child_setup_make(&setup, options, &failure);
    if (rc < 0)
        return rc;
    setup.stays = setup.keep_others = true;
    rc = pl_child_setup_seal(&setup, NULL);
    if (rc == 0)
        rc = pl_child_apply(&setup, &step);
    if (rc == 0 && setup.env)
        take_environment(setup.env);
    pl_child_setup_free(&setup);
    return rc;
}

void pl_setup_apply(const plait_process_options *options, int report)
{
    enum { NOT_TOLD = 126, NOT_SET_UP = 127 };
    int rc = apply(options);
    ssize_t n = write(report, &rc, sizeof rc);
    if (rc < 0)
        _exit(n == (ssize_t)sizeof rc ? NOT_SET_UP : NOT_TOLD);
    close(report);
}
