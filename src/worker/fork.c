/* PLAIT_FORK: a copy of the caller, which has all that the caller had. */
#include "base/atomic.h"
#include "port/context.h"
#include "worker/begin.h"
#include "worker/tasks.h"

#include <errno.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { LARGEST_STACK = 64 << 20 }; /* bytes, for a process that a task starts */

static _Noreturn void child_main(const struct pl_birth *birth)
{
    pl_lifeline_inherit(birth->detached);
    __fpurge(stdout); /* what another thread has printed since is in the parent's buffers too */
    __fpurge(stderr);
    pl_process_main(birth->slot, birth->meant);
}

static void child_entry(void *birth)
{
    child_main(birth);
}

/* Where a task's stack is too small for a whole process. As large as a first thread's; if there is no memory for
 * that, what the task has left must do. */
static void move_to_large_stack(struct pl_birth *birth)
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
    pl_context_make(&there, low, size, child_entry, birth);
    pl_context_switch(&here, &there);
}

static _Noreturn void begin_child(struct pl_birth *birth, bool in_task)
{
    if (in_task)
        move_to_large_stack(birth);
    child_main(birth);
}

int pl_fork_start(const struct pl_birth *birth)
{
    /* What lies in the buffers would be written twice. The standard streams only: another thread
     * may be reading from any other, and hold its lock. */
    int saved = errno;
    fflush(stdout);
    fflush(stderr);
    struct pl_birth copy = *birth; /* on this stack, where the child finds it */
    bool in_task = pl_task_runs();
    pl_lifeline_forking(true);
    pid_t pid = fork();
    if (pid == 0)
        begin_child(&copy, in_task);
    pl_lifeline_forking(false);
    int rc = pid < 0 ? (errno == ENOMEM ? PLAIT_ENOMEM : PLAIT_EAGAIN) : 0;
    errno = saved;
    if (pid > 0) {
        pl_store_relaxed(&birth->slot->tid, (int32_t)pid);
        pl_store_release(&birth->slot->pid, (int32_t)pid);
    }
    return rc;
}
