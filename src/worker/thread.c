/* Threads: a detached pthread that signs in and out of the registry.
 *
 * Detached, because anybody may join it, several at once or nobody: the registry keeps its status,
 * and joiners wait for the word there, not for the pthread. */
#include "base/atomic.h"
#include "base/panic.h"
#include "worker/tasks.h"
#include "worker/worker_internal.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

/* pthread_exit (or the exit of a cancelled pthread) in the middle of the function. */
static void left_early(void *slot)
{
    if (pl_self.thread != slot)
        return;
    pl_tasks_finish();
    pl_slot_leave(PL_END_EXITED, 0);
}

/* What a thread begins with; freed by it. */
struct start {
    struct pl_slot *slot;
    struct pl_locals *locals;
};

static void *thread_main(void *arg)
{
    struct start start = *(struct start *)arg;
    struct pl_slot *slot = start.slot;
    free(arg);
    pl_self.locals = start.locals;
    char name[PLAIT_NAME_SIZE];
    int status;
    bool entered = pl_slot_enter(slot, pl_load_acquire(&slot->life));
    pl_invariant(entered, "a slot is kept while its claimer's process lives");
    pl_name_get(slot, name);
    prctl(PR_SET_NAME, name);
    pthread_cleanup_push(left_early, slot);
    status = pl_worker_run(slot);
    if (pl_self.thread == slot)
        pl_tasks_finish();
    pthread_cleanup_pop(0);
    if (pl_self.thread == slot) /* not so in a child that the function forked and let return */
        pl_slot_leave(PL_END_RETURNED, status);
    return NULL;
}

int pl_thread_start(struct pl_slot *slot, size_t stack_size)
{
    pthread_attr_t attr;
    pthread_t thread;
    int saved = errno;
    struct start *start = malloc(sizeof *start);
    int none = start ? pl_locals_share(&start->locals) : PLAIT_ENOMEM;
    if (none < 0) {
        free(start);
        errno = saved;
        return none;
    }
    start->slot = slot;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int rc = stack_size ? pthread_attr_setstacksize(&attr, stack_size) : 0;
    pl_store_release(&slot->pid, (int32_t)getpid()); /* launched: the sweep keeps its hands off */
    if (rc == 0)
        rc = pthread_create(&thread, &attr, thread_main, start);
    pthread_attr_destroy(&attr);
    if (rc != 0) {
        pl_locals_free(start->locals);
        free(start);
    }
    errno = saved;
    return rc == 0 ? 0 : rc == EINVAL ? PLAIT_EINVAL : PLAIT_EAGAIN;
}
