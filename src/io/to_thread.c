/* plait_to_thread: the caller's function as an errand. */
#include <plait/to_thread.h>

#include "base/clock.h"
#include "io/io.h"

#include <errno.h>
#include <stdlib.h>

struct task {
    struct pl_errand errand;
    plait_function *fn;
    void *arg;
    int status; /* written before `done` */
};

static void run(struct pl_errand *errand)
{
    struct task *task = (struct task *)errand;
    task->status = task->fn(task->arg);
}

static void discard(struct pl_errand *errand)
{
    free(errand);
}

int plait_to_thread(plait_function *fn, void *arg, int *ret, int64_t timeout)
{
    struct pl_wait wait;
    int rc = fn ? pl_wait_begin(&wait, PL_WAIT_HELPER, timeout) : PLAIT_EINVAL;
    if (rc < 0)
        return rc;
    int saved = errno;
    struct task *task = malloc(sizeof *task);
    if (task) {
        *task = (struct task){.errand = {.run = run, .discard = discard}, .fn = fn, .arg = arg};
        rc = pl_errand_run(&task->errand, &wait);
    }
    errno = saved;
    if (!task || rc < 0)
        return task ? rc : PLAIT_ENOMEM;
    if (ret)
        *ret = task->status;
    pl_errand_leave(&task->errand);
    return 0;
}
