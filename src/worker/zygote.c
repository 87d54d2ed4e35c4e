/* The zygote: the program executed anew, which got no further than plait_init, and forks whenever it is asked to.
 *
 * It has one thread, no locks, no open files but its own and hardly any memory, so that a fork of it is clean and cheap
 * however large the program is. The processes it makes are its siblings (port/clone.h): children of the process that
 * asked, which waits for them as for any other, and does not mind if the zygote dies.
 *
 * Death. The zygote is killed between any two lines: the kernel writes the pid of a new process into its entry before that
 * process exists, so who asked sees in the entry whether there is one. Who asked is killed: the lifeline ends the
 * zygote and what it has forked. */
#include "worker/signals.h"
#include "worker/zygote.h"

#include "arena/arena.h"
#include "base/atomic.h"
#include "port/clone.h"
#include "port/memory.h"
#include "worker/begin.h"
#include "worker/setup.h"

#include <plait/start_method.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HIGH = 512 }; /* where its own descriptors are out of the way of those handed over */

static plait_zygote_hook *preload;

int plait_zygote_preload(plait_zygote_hook *hook)
{
    preload = hook;
    return 0;
}

bool pl_zygote_preloads(void)
{
    return preload != NULL;
}

/* What the zygote works with. */
static struct {
    int socket;
    int lifeline;
    int report;       /* of a child that has a setup to apply */
    int tie;          /* for the next child, from pl_lifeline_open; -1: none */
    bool forks_twice; /* it cannot make siblings */
} own;

/* A request as received. */
struct order {
    struct pl_zygote_request request;
    int fds[PL_ZYGOTE_FDS];
    int n_fds;
};

/* --- the child --- */

static bool is_place(const struct order *order, int fd)
{
    for (uint32_t i = 0; i < order->request.n_fds; i++)
        if (order->request.places[i] == fd)
            return true;
    return fd >= 0 && fd <= STDERR_FILENO;
}

/* A copy of a descriptor under a higher number that nobody has asked for; -1: there is none. */
static int copy_aside(const struct order *order, int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, fd + 1);
    while (copy >= 0 && is_place(order, copy)) {
        int next = fcntl(fd, F_DUPFD_CLOEXEC, copy + 1);
        close(copy);
        copy = next;
    }
    return copy;
}

/* The descriptor where it is in nobody's way; -1: that cannot be. */
static int step_aside(const struct order *order, int fd)
{
    if (!is_place(order, fd))
        return fd;
    int copy = copy_aside(order, fd);
    close(fd);
    return copy;
}

static bool arena_steps_aside(const struct order *order)
{
    int fd = pl_arena_descriptor();
    if (!is_place(order, fd))
        return true;
    int copy = copy_aside(order, fd);
    close(copy);
    return copy >= 0 && pl_arena_lift_descriptor(copy) == 0;
}

static bool put(int fd, int place)
{
    int flags = place > STDERR_FILENO ? O_CLOEXEC : 0;
    bool done = dup3(fd, place, flags) >= 0;
    close(fd);
    return done;
}

/* Gives the descriptors the numbers they have in the starter. First all are moved off the numbers that are asked for. */
static bool take_descriptors(struct order *order)
{
    int next = 0;
    own.lifeline = step_aside(order, own.lifeline);
    if (own.tie >= 0)
        own.tie = step_aside(order, own.tie);
    bool good = own.lifeline >= 0 && arena_steps_aside(order);
    for (int i = 0; i < order->n_fds; i++) {
        order->fds[i] = step_aside(order, order->fds[i]);
        good = good && order->fds[i] >= 0;
    }
    for (int stream = 0; stream <= STDERR_FILENO && good; stream++) {
        if (order->request.brings & 1u << stream)
            good = put(order->fds[next++], stream);
        else
            close(stream);
    }
    if (good && order->request.brings & PL_ZYGOTE_HAS_CWD) {
        good = fchdir(order->fds[next]) == 0;
        close(order->fds[next++]);
    }
    if (good && order->request.brings & PL_ZYGOTE_HAS_REPORT)
        own.report = order->fds[next++];
    for (uint32_t i = 0; i < order->request.n_fds && good; i++)
        good = put(order->fds[next++], order->request.places[i]);
    return good;
}

static void let_signals_in(void)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static struct pl_begin *begin_of(struct pl_slot *slot)
{
    return slot->argument;
}

static _Noreturn void child_main(struct order *order)
{
    enum { NO_DESCRIPTORS = 126 };
    close(own.socket);
    if (!take_descriptors(order))
        _exit(NO_DESCRIPTORS);
    if (order->request.detached) {
        close(own.lifeline);
        pl_lifeline_untie(); /* the zygote's, which does not hold this process */
    } else {
        pl_lifeline_tie_to(own.lifeline, own.tie);
    }
    pl_signals_begin_child(); /* before any can come */
    let_signals_in();
    struct pl_slot *slot = pl_slot_at(order->request.slot);
    /* The starter waits for this, so the entry is still the one; if the starter is killed, so is who is tied to it, and
     * what somebody else does meanwhile fails at its entry. */
    if (order->request.brings & PL_ZYGOTE_HAS_REPORT)
        pl_setup_apply(begin_of(slot)->process, own.report);
    pl_process_main(slot, order->request.meant);
}

/* --- forking --- */

static int error_of(int rc)
{
    return rc == -ENOMEM ? PLAIT_ENOMEM : PLAIT_EAGAIN;
}

static int fork_sibling(struct order *order, struct pl_begin *begin, int32_t *ret_pid)
{
    own.tie = order->request.detached ? -1 : pl_lifeline_open(own.lifeline);
    int64_t earliest = pl_boot_time();
    int rc = pl_clone_sibling(&begin->pid);
    if (rc == 0) {
        pl_forked();
        pl_born_after(earliest);
        child_main(order);
    }
    if (own.tie >= 0)
        close(own.tie);
    own.tie = -1;
    *ret_pid = rc;
    return rc < 0 ? error_of(rc) : 0;
}

static _Noreturn void be_in_between(struct order *order, struct pl_begin *begin, const int ends[2])
{
    pid_t self = getpid(), pid = fork();
    if (pid == 0) {
        close(ends[0]);
        close(ends[1]);
        while (getppid() == self) /* it is about to end, and the starter to be the parent */
            usleep(100);
        child_main(order);
    }
    int32_t said = pid < 0 ? error_of(-errno) : (int32_t)pid;
    if (pid > 0)
        pl_store_release(&begin->pid, said);
    ssize_t n = write(ends[1], &said, sizeof said);
    _exit(n != (ssize_t)sizeof said);
}

/* What the process in between has said: a pid, or an error. It ends at once, and its child goes to the next process above
 * that adopts orphans: who asked. */
static int32_t hear_in_between(pid_t between, int report)
{
    int32_t said;
    if (read(report, &said, sizeof said) != (ssize_t)sizeof said)
        said = PLAIT_EAGAIN;
    while (waitpid(between, NULL, 0) < 0 && errno == EINTR)
        continue;
    return said;
}

static int fork_grandchild(struct order *order, struct pl_begin *begin, int32_t *ret_pid)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return PLAIT_EMFILE;
    pid_t between = fork();
    if (between == 0)
        be_in_between(order, begin, ends);
    close(ends[1]);
    int32_t said = between < 0 ? error_of(-errno) : hear_in_between(between, ends[0]);
    close(ends[0]);
    *ret_pid = said;
    return said < 0 ? said : 0;
}

static int serve(struct order *order, int32_t *ret_pid)
{
    struct pl_begin *begin = begin_of(pl_slot_at(order->request.slot));
    return own.forks_twice ? fork_grandchild(order, begin, ret_pid)
                           : fork_sibling(order, begin, ret_pid);
}

/* --- the socket --- */

static void keep_descriptors(struct msghdr *message, struct order *order)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        order->n_fds = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(order->fds, CMSG_DATA(c), (size_t)order->n_fds * sizeof(int));
    }
}

static int expected_descriptors(const struct pl_zygote_request *request)
{
    return __builtin_popcount(request->brings) + (int)request->n_fds;
}

/* Waits for a request. False: there will be none. */
static bool receive(struct order *order)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof order->fds)];
    struct iovec part = {&order->request, sizeof order->request};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    order->n_fds = 0;
    ssize_t n = recvmsg(own.socket, &message, MSG_CMSG_CLOEXEC);
    if (n <= 0)
        return n < 0 && errno == EINTR && receive(order);
    keep_descriptors(&message, order);
    return true;
}

static void answer(int rc, int32_t pid)
{
    struct pl_zygote_answer answer = {.rc = rc, .pid = pid};
    if (send(own.socket, &answer, sizeof answer, MSG_NOSIGNAL) < 0)
        _exit(0); /* nobody is there any more */
}

static void close_all(const struct order *order)
{
    for (int i = 0; i < order->n_fds; i++)
        close(order->fds[i]);
}

/* Whether a process of ours can have all it is to have. Descriptors that did not all come: the table was full. A number may be beyond
 * our limit: the starter's may have risen since. */
static bool can_be(const struct order *order)
{
    struct rlimit limit;
    if (order->n_fds != expected_descriptors(&order->request))
        return false;
    if (order->request.n_fds == 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return true;
    for (uint32_t i = 0; i < order->request.n_fds; i++)
        if ((rlim_t)order->request.places[i] >= limit.rlim_cur)
            return false;
    return true;
}

static void serve_all(void)
{
    static struct order order;
    while (receive(&order)) {
        int32_t pid = 0;
        int rc = can_be(&order) ? serve(&order, &pid) : PLAIT_EMFILE;
        close_all(&order);
        answer(rc, pid);
    }
}

/* --- the beginning --- */

/* What it has printed would be in the buffers of every process. */
static int run_preload(void)
{
    if (preload)
        answer(PL_ZYGOTE_PRELOADS, 0);
    int rc = preload ? preload() : 0;
    fflush(stdout);
    fflush(stderr);
    if (rc < 0)
        return rc;
    return pl_process_threads(getpid()) > 1 && !own.forks_twice ? PLAIT_EPRELOAD : 0;
}

static int prepare(const struct pl_role *role)
{
    int rc = pl_arena_attach(role->arena);
    if (rc < 0)
        return rc;
    own.lifeline = role->lifeline;
    own.tie = -1;
    own.forks_twice = role->fork_twice || !pl_clone_prepare();
    return run_preload();
}

/* As a worker would be: the zygote keeps the lifeline's end for its children, and holds a tie of its own. */
static void tie(int lifeline)
{
    int copy = fcntl(lifeline, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (copy >= 0)
        pl_lifeline_tie_to(copy, -1);
}

/* Moves a descriptor up, if there is room. */
static int lift(int fd, int above)
{
    int lifted = fcntl(fd, F_DUPFD_CLOEXEC, above);
    if (lifted < 0) {
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        return fd;
    }
    close(fd);
    return lifted;
}

static void get_out_of_the_way(void)
{
    struct rlimit limit;
    int above = HIGH;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 2 * HIGH)
        above = (int)limit.rlim_cur / 2;
    own.socket = lift(own.socket, above);
    own.lifeline = lift(own.lifeline, above);
    pl_arena_lift_descriptor(above);
}

/* Who reads what the program writes is told of the end when the program closes the stream, not when the zygote ends. The processes
 * get the program's streams with each request. */
static void let_go_of_streams(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int stream = 0; stream <= STDERR_FILENO; stream++) {
        if (null < 0)
            close(stream);
        else
            dup2(null, stream);
    }
    if (null > STDERR_FILENO)
        close(null);
}

_Noreturn void pl_zygote_main(const struct pl_role *role)
{
    prctl(PR_SET_NAME, "plait-zygote");
    own.socket = role->socket;
    tie(role->lifeline);
    int rc = prepare(role);
    if (rc == 0) {
        get_out_of_the_way();
        let_go_of_streams();
    }
    answer(rc == 0 && own.forks_twice ? PL_ZYGOTE_FORKS_TWICE : rc, 0);
    if (rc == 0)
        serve_all();
    _exit(0);
}
