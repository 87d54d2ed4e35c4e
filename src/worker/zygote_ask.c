/* PLAIT_ZYGOTE, the starter's side: keeps a zygote and asks it for processes.
 *
 * One request at a time, under a lock: the zygote could not serve two at once, and answers arrive in order.
 *
 * Naive: a zygote that does not answer is dead; make another and ask again. Its fault: it may have made the process before it
 * died, and then there would be two. Cure: fact Z.
 *   Z  the kernel writes the pid of the new process into the block that its entry points to within the call that makes it (pl_clone_sibling). So once
 *      the zygote can make no more (its socket is closed, which happens on its way out, or it has been killed and
 *      collected), the entry says whether there is a process.
 * Where siblings cannot be made, the pid is written a little later, by the process in between; a death just there leaves
 * a process that finds its entry given up, and leaves. */
#include "worker/zygote.h"

#include "base/at_fork.h"
#include "base/atomic.h"
#include "base/clock.h"
#include "port/memory.h"
#include "worker/begin.h"
#include "worker/setup.h"

#include <plait/arena.h>
#include <plait/start_method.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* ns after which a zygote that says nothing is taken for stuck: somebody has stopped it, or main does not call plait_init. */
int64_t pl_zygote_patience = INT64_C(10) * 1000 * 1000 * 1000;

/* Whose process it was when the zygote was made: what a zygote cannot change later. */
struct standing {
    uid_t user;
    gid_t group;
    pid_t session, process_group;
    dev_t root_device; /* of the root directory */
    ino_t root;
    uint64_t groups; /* digest of the further groups */
};

static PL_WRITTEN_AT_FORK pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Under the lock. */
static struct {
    int32_t pid; /* 0: none */
    uint64_t birth;
    int socket;
    ino_t inode; /* of the socket: the program may close our descriptors and use the numbers */
    struct standing standing;
    uint64_t lifeline; /* the one it is tied to */
} zygote = {.socket = -1};

bool pl_zygotes_fork_twice; /* tests: as where siblings cannot be made */

/* --- fork --- */

static void lock_before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void unlock_in_parent(void)
{
    pthread_mutex_unlock(&lock);
}

static bool socket_is_ours(void)
{
    struct stat st;
    return zygote.socket >= 0 && fstat(zygote.socket, &st) == 0 && st.st_ino == zygote.inode &&
           S_ISSOCK(st.st_mode);
}

static void forget(void)
{
    if (socket_is_ours())
        close(zygote.socket);
    zygote.pid = 0;
    zygote.socket = -1;
}

/* It is the parent's. */
static void forget_in_child(void)
{
    forget();
    pthread_mutex_unlock(&lock);
}

/* After that of port/spawn.c, so that a fork takes the two locks in the order in which a start does. */
__attribute__((constructor(104))) static void watch_fork(void)
{
    pthread_atfork(lock_before_fork, unlock_in_parent, forget_in_child);
}

/* --- keeping one --- */

static uint64_t digest_groups(void)
{
    enum { MOST = 1024 };
    gid_t groups[MOST];
    int n = getgroups(MOST, groups);
    uint64_t digest = (uint64_t)n;
    for (int i = 0; i < n; i++)
        digest = (digest ^ groups[i]) * UINT64_C(0x9e3779b97f4a7c15);
    return digest;
}

static struct standing standing_now(void)
{
    struct stat root = {0};
    int rc = stat("/", &root);
    (void)rc; /* unknown: no change either */
    return (struct standing){geteuid(),   getegid(),   getsid(0),      getpgrp(),
                             root.st_dev, root.st_ino, digest_groups()};
}

static bool stands_as(const struct standing *a, const struct standing *b)
{
    return a->user == b->user && a->group == b->group && a->session == b->session &&
           a->process_group == b->process_group && a->root_device == b->root_device &&
           a->root == b->root && a->groups == b->groups;
}

static void await_end(int32_t pid, int64_t deadline)
{
    if (pl_process_wait(pid, deadline) != -ENOSYS)
        return;
    while (pl_process_child_runs(pid) && plait_now() < deadline) /* no descriptor to be had */
        usleep(1000);
}

/* Ends the zygote for certain, and collects it. It is our child, so its pid is its own until then - unless the
 * program collects any child; so its birth is looked at, too. No pidfd is kept: the program may close our descriptors, and
 * then it could be that of another process. */
static void bury(void)
{
    int32_t pid = zygote.pid;
    int handle = pl_process_open(pid);
    uint64_t birth = pl_process_birth(pid); /* 0: there is no /proc any more */
    bool is_it = birth == 0 || birth == zygote.birth;
    if (is_it && pl_process_child_runs(pid) &&
        (handle < 0 || pl_process_signal(handle, SIGKILL) == -ENOSYS))
        kill(pid, SIGKILL);
    if (handle >= 0)
        close(handle);
    forget(); /* the socket: that ends it, too, if it is another user's by now and may not be killed */
    if (!is_it)
        return;
    await_end(pid, plait_now() + pl_zygote_patience);
    pl_process_collect(pid);
}

static int make_socket(int ends[2])
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return errno == ENOMEM || errno == ENOBUFS ? PLAIT_ENOMEM : PLAIT_EMFILE;
    ends[0] = pl_descriptor_above_streams(ends[0]);
    ends[1] = pl_descriptor_above_streams(ends[1]);
    if (ends[0] >= 0 && ends[1] >= 0)
        return 0;
    close(ends[0]);
    close(ends[1]);
    return PLAIT_EMFILE;
}

/* What has come: 0 with the answer; -EAGAIN: nothing yet; -EPIPE: nobody is there any more. */
static int take_answer(struct pl_zygote_answer *ret)
{
    ssize_t n = recv(zygote.socket, ret, sizeof *ret, MSG_DONTWAIT);
    if (n == (ssize_t)sizeof *ret)
        return 0;
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? -EAGAIN : -EPIPE;
}

/* 0 with the answer; -EPIPE: nobody is there any more; -ETIMEDOUT. */
static int hear(struct pl_zygote_answer *ret, int64_t end)
{
    struct pollfd p = {.fd = zygote.socket, .events = POLLIN};
    for (;;) {
        int64_t left = end == PL_NEVER ? 0 : end - plait_now();
        int most = end == PL_NEVER ? -1 : left > 0 ? (int)(left / 1000000) + 1 : 0;
        int ready = poll(&p, 1, most);
        if (ready == 0)
            return -ETIMEDOUT;
        if (ready < 0)
            continue;
        int rc = take_answer(ret);
        if (rc != -EAGAIN)
            return rc;
    }
}

/* The same; a fork takes about as long as to fall asleep and be woken. */
static int hear_at_once(struct pl_zygote_answer *ret, int64_t end)
{
    enum { A_MOMENT = 200 * 1000 }; /* ns */
    int64_t until = plait_now() + A_MOMENT;
    do {
        int rc = take_answer(ret);
        if (rc != -EAGAIN)
            return rc;
        sched_yield();
    } while (plait_now() < until);
    return hear(ret, end);
}

static int execute(int ends[2])
{
    struct stat st;
    struct pl_role role = {
        .kind = PL_ROLE_ZYGOTE,
        .arena = pl_arena_descriptor(),
        .lifeline = pl_lifeline_read_end(),
        .socket = ends[1],
        .fork_twice = pl_zygotes_fork_twice,
    };
    /* All signals blocked: those from the terminal are for the program. */
    struct pl_child_setup setup = {.highest = STDERR_FILENO, .mask = ~UINT64_C(0)};
    struct pl_spawned spawned;
    int rc = pl_reexec(&role, &setup, NULL, 0, &spawned);
    pl_child_setup_free(&setup);
    close(ends[1]);
    if (rc < 0) {
        close(ends[0]);
        return rc;
    }
    if (spawned.pidfd >= 0)
        close(spawned.pidfd);
    zygote.pid = (int32_t)spawned.pid;
    zygote.birth = pl_process_birth((int)spawned.pid);
    zygote.socket = ends[0];
    zygote.inode = fstat(ends[0], &st) == 0 ? st.st_ino : 0;
    zygote.standing = standing_now();
    zygote.lifeline = pl_lifeline_inode();
    return 0;
}

/* Whether the zygote was killed, rather than that main has gone its own way. */
static bool was_killed(void)
{
    struct pl_process_end end;
    await_end(zygote.pid, plait_now() + pl_zygote_patience);
    return pl_process_reap(zygote.pid, zygote.birth, &end) == 0 && end.signal == SIGKILL;
}

/* 0; -EPIPE: try again; or the error. */
static int make(void)
{
    int ends[2];
    struct pl_zygote_answer hello;
    int rc = make_socket(ends);
    if (rc == 0)
        rc = execute(ends);
    if (rc < 0)
        return rc;
    int heard = hear(&hello, plait_now() + pl_zygote_patience);
    if (heard == 0 && hello.rc == PL_ZYGOTE_PRELOADS) /* however long that takes */
        heard = hear(&hello, PL_NEVER);
    if (heard == 0 && hello.rc == PL_ZYGOTE_FORKS_TWICE) /* its orphans are to come here */
        hello.rc = prctl(PR_SET_CHILD_SUBREAPER, 1) == 0 ? 0 : PLAIT_ENOTSUP;
    if (heard == 0 && hello.rc == 0)
        return 0;
    bool killed = heard == -EPIPE && was_killed();
    bury();
    return killed ? -EPIPE : heard < 0 ? PLAIT_EINIT : hello.rc;
}

static int need(void)
{
    if (zygote.pid) {
        struct standing now = standing_now();
        if (socket_is_ours() && stands_as(&now, &zygote.standing) &&
            zygote.lifeline == pl_lifeline_inode())
            return 0;
        bury();
    }
    return make();
}

/* --- asking --- */

struct letter {
    struct pl_zygote_request request;
    int fds[PL_ZYGOTE_FDS];
    int n_fds;
    int directory; /* -1: this user may not open it */
    int report;    /* -1: no setup */
};

static void enclose(struct letter *letter, int fd, uint32_t bit)
{
    if (fcntl(fd, F_GETFD) < 0)
        return;
    letter->fds[letter->n_fds++] = fd;
    letter->request.brings |= bit;
}

/* The standard streams go in any case. */
static int enclose_given(struct letter *letter, const plait_options *o)
{
    for (size_t i = 0; i < o->n_fds; i++) {
        if (fcntl(o->fds[i], F_GETFD) < 0)
            return PLAIT_EBADF;
        for (uint32_t k = 0; k < letter->request.n_fds; k++)
            if (letter->request.places[k] == o->fds[i])
                return PLAIT_EINVAL;
        if (o->fds[i] <= STDERR_FILENO)
            continue;
        letter->request.places[letter->request.n_fds++] = o->fds[i];
        letter->fds[letter->n_fds++] = o->fds[i];
    }
    return 0;
}

/* A directory that cannot be had for want of a descriptor is an error: the process would begin in the zygote's. */
static int enclose_directory(struct letter *letter)
{
    letter->directory = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (letter->directory >= 0)
        letter->directory = pl_descriptor_above_streams(letter->directory);
    if (letter->directory >= 0)
        enclose(letter, letter->directory, PL_ZYGOTE_HAS_CWD);
    else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
        return errno == ENOMEM ? PLAIT_ENOMEM : PLAIT_EMFILE;
    return 0;
}

static int write_letter(struct letter *letter, const struct pl_birth *birth)
{
    letter->request = (struct pl_zygote_request){
        .meant = birth->meant,
        .slot = PL_ID_SLOT(pl_slot_id(birth->slot)),
        .detached = birth->detached,
    };
    letter->n_fds = 0;
    for (int stream = 0; stream <= STDERR_FILENO; stream++)
        enclose(letter, stream, 1u << stream);
    int rc = enclose_directory(letter);
    if (rc < 0)
        return rc;
    if (letter->report >= 0)
        enclose(letter, letter->report, PL_ZYGOTE_HAS_REPORT);
    return enclose_given(letter, birth->options);
}

/* -EPIPE: the zygote is at fault; otherwise what is sent. EBADF: another thread has closed it in between; EINVAL: of a kind that cannot be
 * sent (io_uring). */
static int send_error(int error)
{
    switch (error) {
    case ETOOMANYREFS:
        return PLAIT_EMFILE;
    case ENOBUFS:
    case ENOMEM:
        return PLAIT_ENOMEM;
    case EBADF:
        return PLAIT_EBADF;
    case EINVAL:
        return PLAIT_EINVAL;
    default:
        return -EPIPE;
    }
}

static int send_letter(const struct letter *letter)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof letter->fds)];
    size_t bytes = (size_t)letter->n_fds * sizeof(int);
    struct iovec part = {(void *)&letter->request, offsetof(struct pl_zygote_request, places) +
                                                       letter->request.n_fds * sizeof(int32_t)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (letter->n_fds) {
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(bytes);
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        *c = (struct cmsghdr){
            .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(bytes)};
        memcpy(CMSG_DATA(c), letter->fds, bytes);
    }
    ssize_t n;
    do
        n = sendmsg(zygote.socket, &message, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n >= 0 ? 0 : send_error(errno);
}

/* The process that has been made after all, 0: there is none. To be asked once the zygote makes no more. As long as nobody has
 * entered, the block is there; who is entering, and may be killed there, has its number in the entry's life. */
static int32_t find_made(const struct pl_birth *birth, const struct pl_begin *begin)
{
    int32_t noted = pl_load_acquire(&begin->pid);
    uint64_t life = pl_load_acquire(&birth->slot->life);
    int32_t pid = pl_load_acquire(&birth->slot->pid);
    if (life == birth->meant)
        return noted;
    return pid ? pid : (int32_t)(life & PL_ID_MASK);
}

/* The pid; -EPIPE: the zygote has gone, and no process is made; or the error. */
static int ask(const struct letter *letter, const struct pl_birth *birth,
               const struct pl_begin *begin)
{
    struct pl_zygote_answer answer;
    int rc = send_letter(letter);
    if (rc < 0 && rc != -EPIPE)
        return rc;
    if (rc == 0)
        rc = hear_at_once(&answer, plait_now() + pl_zygote_patience);
    if (rc == 0)
        return answer.rc < 0 ? answer.rc : answer.pid;
    bury();
    int32_t pid = find_made(birth, begin);
    return pid ? pid : rc == -ETIMEDOUT ? PLAIT_EAGAIN : -EPIPE;
}

static int ask_one(const struct letter *letter, const struct pl_birth *birth,
                   const struct pl_begin *begin)
{
    enum { TRIES = 3 };
    int rc = -EPIPE;
    for (int i = 0; i < TRIES && rc == -EPIPE; i++) {
        rc = need();
        if (rc == 0)
            rc = ask(letter, birth, begin);
    }
    return rc == -EPIPE ? PLAIT_EAGAIN : rc;
}

/* The pid, or the error. */
static int send_and_hear(struct letter *letter, const struct pl_birth *birth,
                         const struct pl_begin *begin)
{
    int rc = write_letter(letter, birth);
    if (rc == 0) {
        pthread_mutex_lock(&lock);
        rc = ask_one(letter, birth, begin);
        pthread_mutex_unlock(&lock);
    }
    if (letter->directory >= 0)
        close(letter->directory);
    return rc;
}

/* With options the start has not succeeded before they are applied. */
static int start_with_setup(struct letter *letter, const struct pl_birth *birth,
                            struct pl_begin *begin)
{
    int ends[2], rc = pl_setup_check(birth->options->process);
    if (rc == 0)
        rc = pl_setup_pipe(ends);
    if (rc < 0)
        return rc;
    plait_process_options *copy = pl_setup_copy(birth->options->process);
    begin->process = copy;
    letter->report = ends[1];
    rc = copy ? send_and_hear(letter, birth, begin) : plait_last_error();
    close(ends[1]);
    int heard = rc > 0 ? pl_setup_hear(ends[0], rc) : 0;
    if (heard < 0)
        pl_process_await(rc);
    close(ends[0]);
    plait_free(copy);
    return heard < 0 ? heard : rc;
}

int pl_zygote_start(const struct pl_birth *birth)
{
    struct letter letter = {.report = -1};
    struct pl_begin *begin = birth->slot->argument;
    if (birth->options->n_fds > PL_ZYGOTE_FDS - PL_ZYGOTE_OWN_FDS)
        return PLAIT_EOVERFLOW;
    int saved = errno, cancelling;
    /* A thread that ended here would leave the lock to nobody. */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelling);
    int rc = birth->options->process ? start_with_setup(&letter, birth, begin)
                                     : send_and_hear(&letter, birth, begin);
    pthread_setcancelstate(cancelling, NULL);
    errno = saved;
    if (rc < 0)
        return rc;
    pl_birth_done(birth, (int32_t)rc);
    return 0;
}

int plait_zygote_stop(void)
{
    int saved = errno, cancelling;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelling);
    pthread_mutex_lock(&lock);
    if (zygote.pid)
        bury();
    pthread_mutex_unlock(&lock);
    pthread_setcancelstate(cancelling, NULL);
    errno = saved;
    return 0;
}
