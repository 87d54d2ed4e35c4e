/* Waiting for signals: a signalfd for the length of the call, so that threads and tasks wait alike.
 *
 * A signal is taken by reading; who else waits for it finds nothing then, and waits on. One that comes between
 * two calls stays pending, as it is blocked. */
#include "base/error.h"
#include "park/park.h"

#include <errno.h>
#include <plait/signal.h>
#include <poll.h>
#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { LAST = 64 };

/* 0; PLAIT_EINVAL: the set is empty; PLAIT_EBUSY; PLAIT_EPERM: one is not blocked. */
static int check_set(const sigset_t *set)
{
    sigset_t blocked;
    bool any = false, all = true;
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    for (int s = 1; s <= LAST; s++) {
        if (sigismember(set, s) != 1)
            continue;
        if (s == SIGURG)
            return PLAIT_EBUSY;
        any = true;
        all &= sigismember(&blocked, s) == 1;
    }
    return !any ? PLAIT_EINVAL : all ? 0 : PLAIT_EPERM;
}

static void fill(plait_signal_info *ret, const struct signalfd_siginfo *info)
{
    *ret = (plait_signal_info){.signum = (int)info->ssi_signo,
                               .code = info->ssi_code,
                               .pid = (int)info->ssi_pid,
                               .uid = (int)info->ssi_uid,
                               .status = info->ssi_status,
                               .error = info->ssi_errno,
                               .value = (int64_t)info->ssi_ptr,
                               .count = 1};
}

/* The signal; 0: none is there. */
static int take(int fd, plait_signal_info *ret)
{
    struct signalfd_siginfo info;
    ssize_t n = read(fd, &info, sizeof info);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : pl_error_from_errno(errno);
    if (ret)
        fill(ret, &info);
    return (int)info.ssi_signo;
}

static int wait_for(int fd, plait_signal_info *ret, struct pl_wait *wait)
{
    int rc = take(fd, ret);
    while (rc == 0) {
        rc = wait->deadline == 0 ? PLAIT_ETIMEDOUT : pl_park_fd(fd, POLLIN, wait);
        if (rc > 0)
            rc = take(fd, ret);
    }
    return rc;
}

int plait_signal_wait(const sigset_t *set, plait_signal_info *ret, int64_t timeout)
{
    struct pl_wait wait;
    int saved = errno;
    int rc = pl_wait_begin(&wait, PL_WAIT_FD, timeout);
    if (rc == 0)
        rc = set ? check_set(set) : PLAIT_EINVAL;
    if (rc == 0)
        rc = pl_self_known();
    if (rc == 0) {
        int fd = signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK);
        rc = fd < 0 ? (errno == EMFILE || errno == ENFILE ? PLAIT_EMFILE : PLAIT_ENOMEM)
                    : wait_for(fd, ret, &wait);
        if (fd >= 0)
            close(fd);
    }
    errno = saved;
    return rc;
}
