/* clone(CLONE_PARENT), so that libc does not notice.
 *
 * libc's fork() has no flags, and its clone() leaves the child with the thread id of its parent in libc's own
 * records: then a robust mutex would name the wrong owner, and the kernel would not mark it when the
 * child dies. Where libc keeps the id the kernel knows: it is the address that it clears at the thread's end,
 * and prctl tells it. So the kernel is asked to write the child's id there itself. The list of robust mutexes is
 * not inherited, and handed over anew. The rest of what fork() does (locks of malloc and stdio, handlers) matters only
 * where there are other threads. */
#include "port/clone.h"

#include "base/sanitizers.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PR_GET_TID_ADDRESS
#define PR_GET_TID_ADDRESS 40
#endif

enum { IS_ALONE = !PL_TSAN }; /* TSan has a thread of its own, which fork() has to be told of */

/* Of the only thread. */
static int32_t *tid_place;
static void *robust_list;
static size_t robust_size;

/* A filter of system calls may refuse it. Asked with flags that exclude each other, which the kernel itself
 * answers EINVAL before it makes anything. */
static bool may_make_siblings(void)
{
    return syscall(SYS_clone, CLONE_PARENT | CLONE_SIGHAND | SIGCHLD, NULL, NULL, NULL, NULL) < 0 &&
           errno == EINVAL;
}

bool pl_clone_prepare(void)
{
    int saved = errno;
    bool known = IS_ALONE && may_make_siblings() &&
                 prctl(PR_GET_TID_ADDRESS, &tid_place, 0, 0, 0) == 0 && tid_place &&
                 *tid_place == (int32_t)getpid() &&
                 syscall(SYS_get_robust_list, 0, &robust_list, &robust_size) == 0;
    errno = saved;
    return known;
}

int pl_clone_sibling(int32_t *ret_pid)
{
    const unsigned long flags =
        CLONE_PARENT | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD;
    int saved = errno;
#ifdef __aarch64__
    long pid = syscall(SYS_clone, flags, NULL, ret_pid, NULL, tid_place);
#else
    long pid = syscall(SYS_clone, flags, NULL, ret_pid, tid_place, NULL);
#endif
    int rc = pid < 0 ? -errno : (int)pid;
    errno = saved;
    if (rc == 0)
        syscall(SYS_set_robust_list, robust_list, robust_size);
    return rc;
}
