/* PLAIT_FORK: a copy of the caller, which has all that the caller had. */
#include "port/context.h"
#include "worker/begin.h"
#include "worker/setup.h"
#include "worker/tasks.h"

#include <errno.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { LARGEST_STACK = 64 << 20 }; /* bytes, for a process that a task starts */

/* What the child finds on its copy of the stack. */
struct child {
    const struct pl_birth *birth;
    int report[2];    /* how the setup goes; -1: there is none */
    int tie;          /* from pl_lifeline_open; -1: none */
    int64_t earliest; /* when it can have been born */
};

static _Noreturn void child_main(const struct child *child)
{
    pl_born_after(child->earliest);
    pl_lifeline_inherit(child->birth->detached, child->tie);
    if (child->birth->options->process) {
        close(child->report[0]);
        pl_setup_apply(child->birth->options->process, child->report[1]);
    }
    __fpurge(stdout); /* what another thread has printed since is in the parent's buffers too */
    __fpurge(stderr);
    pl_process_main(child->birth->slot, child->birth->meant);
}

static void child_entry(void *child)
{
    child_main(child);
}

/* Where a task's stack is too small for a whole process. As large as a first thread's; if there is no memory for
 * that, what the task has left must do. */
static void move_to_large_stack(struct child *child)
{
    struct rlimit limit;
    struct pl_context here, there;
    bool sane = getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur <= LARGEST_STACK;
    size_t size = sane ? (size_t)limit.rlim_cur : LARGEST_STACK;
    void *low = mmap(NULL, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (low == MAP_FAILED)
        return;
    pl_context_adopt(&here);
    pl_context_make(&there, low, size, child_entry, child);
    pl_context_switch(&here, &there);
}

static _Noreturn void begin_child(struct child *child, bool in_task)
{
    if (in_task)
        move_to_large_stack(child);
    child_main(child);
}

/* The pid, or an error. */
static int make(struct child *child)
{
    bool in_task = pl_task_runs();
    child->tie = child->birth->detached ? -1 : pl_lifeline_open(pl_lifeline_read_end());
    pl_lifeline_forking(true);
    child->earliest = pl_boot_time();
    pid_t pid = fork();
    if (pid == 0)
        begin_child(child, in_task);
    int rc = pid >= 0 ? (int)pid : errno == ENOMEM ? PLAIT_ENOMEM : PLAIT_EAGAIN;
    pl_lifeline_forking(false);
    if (child->tie >= 0)
        close(child->tie);
    return rc;
}

/* With options the start has not succeeded before they are applied. */
static int make_with_setup(struct child *child)
{
    int rc = pl_setup_check(child->birth->options->process);
    if (rc == 0)
        rc = pl_setup_pipe(child->report);
    if (rc < 0)
        return rc;
    int pid = make(child);
    close(child->report[1]);
    rc = pid < 0 ? pid : pl_setup_hear(child->report[0], pid);
    close(child->report[0]);
    if (rc < 0 && pid > 0)
        pl_process_await(pid);
    return rc < 0 ? rc : pid;
}

int pl_fork_start(const struct pl_birth *birth)
{
    /* What lies in the buffers would be written twice. The standard streams only: another thread
     * may be reading from any other, and hold its lock. */
    int saved = errno;
    fflush(stdout);
    fflush(stderr);
    struct child child = {.birth = birth, .report = {-1, -1}};
    int rc = birth->options->process ? make_with_setup(&child) : make(&child);
    errno = saved;
    if (rc < 0)
        return rc;
    pl_birth_done(birth, (int32_t)rc);
    return 0;
}
