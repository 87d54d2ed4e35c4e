/* Killing a program with all below it.
 *
 * Naive: look up its children, kill each, and so on down. Its race: while one is looked at another forks, and a child
 * whose parent is dead hangs under somebody else. Cure: nothing is killed before all stand still. Rounds: all processes are
 * read from /proc, and each that belongs to the tree and is new is stopped (SIGSTOP), until a round finds no new one. Then they
 * are killed, and rounds go on, for one may have been within its fork as it was stopped. The program itself is killed last: as a
 * subreaper it is the parent of all that lost theirs, so the tree holds together until it is empty. Facts:
 *   1 a process belongs to the tree by its parents, or by being in the group or session that the program leads;
 *   2 the program is not collected before the last round has looked (rounds hold its lock), so its pid, and with it the name of its group and
 *     session, is its own;
 *   3 reading /proc takes time, and a chain of processes that fork and end can pass the reader by (its next pid lies behind, for numbers
 *     wrap round). So a round that finds nothing counts only if nobody in the system forked during it, which the last pid
 *     given out tells; where others fork all the time, QUIET_ROUNDS of them in a row do;
 *   4 others are signalled through a pidfd that was opened before they were looked at again: never a later process with that pid.
 * What it does not find: processes that left group and session *and* whose parents died before, if the program is no subreaper. */
#include "program/program_internal.h"

#include "base/atomic.h"
#include "base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE = 5 * 1000 * 1000, PATIENCE_ROUNDS = 1000, QUIET_ROUNDS = 12, BY_PIDFD = 3 };

/* A process as /proc shows it. */
struct seen {
    int pid, parent, group, session;
    uint64_t birth;
    bool dead, in_tree;
};

/* One of the tree that was met. */
struct met {
    int pid, pidfd;
    uint64_t birth;
    bool refused; /* it runs as another user */
};

struct hunt {
    plait_program *program;
    struct seen *seen;
    size_t n_seen, room_seen;
    struct met *met;
    size_t n_met, room_met;
    int quiet; /* rounds in a row that found nothing new */
    bool no_memory, refused;
};

static bool read_one(int folder, const char *name, struct seen *ret)
{
    char path[32], text[512], state;
    if (snprintf(path, sizeof path, "%s/stat", name) >= (int)sizeof path)
        return false;
    int fd = openat(folder, path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    pl_close_fd(fd);
    if (n <= 0)
        return false;
    text[n] = 0;
    const char *rest = strrchr(text, ')'); /* the name may hold anything */
    unsigned long birth = 0;
    if (!rest ||
        sscanf(rest,
               ") %c %d %d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %lu",
               &state, &ret->parent, &ret->group, &ret->session, &birth) != 5)
        return false;
    ret->pid = atoi(name);
    ret->birth = birth;
    ret->dead = state == 'Z' || state == 'X';
    ret->in_tree = false;
    return true;
}

static bool grow(void **array, size_t *room, size_t size)
{
    size_t more = *room ? *room * 2 : 256;
    void *bytes = realloc(*array, more * size);
    if (!bytes)
        return false;
    *array = bytes;
    *room = more;
    return true;
}

/* Reads all processes. False: there is no /proc. */
static bool look_around(struct hunt *h)
{
    DIR *folder = opendir("/proc");
    if (!folder)
        return false;
    h->n_seen = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
            continue;
        if (h->n_seen == h->room_seen && !grow((void **)&h->seen, &h->room_seen, sizeof *h->seen)) {
            h->no_memory = true;
            break;
        }
        if (read_one(dirfd(folder), entry->d_name, &h->seen[h->n_seen]))
            h->n_seen++;
    }
    closedir(folder);
    return h->n_seen > 0;
}

static int by_pid(const void *a, const void *b)
{
    const struct seen *x = a, *y = b;
    return x->pid < y->pid ? -1 : x->pid > y->pid;
}

static struct seen *find(const struct hunt *h, int pid)
{
    struct seen key = {.pid = pid};
    return bsearch(&key, h->seen, h->n_seen, sizeof key, by_pid);
}

/* Fact 1. Never the caller. */
static void mark_tree(struct hunt *h)
{
    int root = (int)h->program->pid, self = (int)getpid();
    bool more = true;
    qsort(h->seen, h->n_seen, sizeof *h->seen, by_pid);
    while (more) {
        more = false;
        for (size_t i = 0; i < h->n_seen; i++) {
            struct seen *s = &h->seen[i];
            if (s->in_tree || s->pid == root || s->pid == self)
                continue;
            const struct seen *parent = find(h, s->parent);
            s->in_tree = s->parent == root || (parent && parent->in_tree) ||
                         (h->program->leads && (s->group == root || s->session == root));
            more |= s->in_tree;
        }
    }
}

static struct met *known(struct hunt *h, const struct seen *s)
{
    for (size_t i = 0; i < h->n_met; i++)
        if (h->met[i].pid == s->pid && h->met[i].birth == s->birth)
            return &h->met[i];
    return NULL;
}

/* Fact 4: after the pidfd is open, the process that was seen is there still, so it is the pidfd's. */
static int open_same(const struct seen *s)
{
    int fd = pl_process_open(s->pid);
    if (fd >= 0 && pl_process_birth(s->pid) != s->birth) {
        pl_close_fd(fd);
        return -ESRCH;
    }
    return fd;
}

static int signal_one(const struct met *m, int signal)
{
    if (m->pidfd >= 0)
        return pl_process_signal(m->pidfd, signal);
    if (pl_process_birth(m->pid) != m->birth) /* no descriptor is left: the next best */
        return -ESRCH;
    return kill(m->pid, signal) < 0 ? -errno : 0;
}

static void meet(struct hunt *h, const struct seen *s, int signal)
{
    if (h->n_met == h->room_met && !grow((void **)&h->met, &h->room_met, sizeof *h->met)) {
        h->no_memory = true;
        return;
    }
    int fd = open_same(s);
    if (fd == -ESRCH)
        return;
    struct met *m = &h->met[h->n_met++];
    *m = (struct met){.pid = s->pid, .birth = s->birth, .pidfd = fd < 0 ? -1 : fd};
    m->refused = signal_one(m, signal) == -EPERM;
    h->refused |= m->refused;
}

/* The last pid that was given out; -1: not known. */
static int last_pid(void)
{
    char text[128];
    int fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC), pid = -1;
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    pl_close_fd(fd);
    text[n > 0 ? n : 0] = 0;
    const char *last = strrchr(text, ' ');
    return last && sscanf(last, "%d", &pid) == 1 ? pid : -1;
}

/* Fact 3. */
static void count_quiet(struct hunt *h, int fresh, int last)
{
    if (fresh > 0)
        h->quiet = 0;
    else
        h->quiet += last >= 0 && last == last_pid() ? QUIET_ROUNDS : 1;
}

/* One round: new ones get the signal. How many there were; -1: there is no /proc. Others than these that live: *living. */
static int round_of(struct hunt *h, int signal, int *living)
{
    int fresh = 0, last = last_pid();
    *living = 0;
    if (!look_around(h))
        return -1;
    mark_tree(h);
    for (size_t i = 0; i < h->n_seen; i++) {
        const struct seen *s = &h->seen[i];
        if (!s->in_tree || s->dead)
            continue;
        const struct met *m = known(h, s);
        if (!m) {
            meet(h, s, signal);
            fresh++;
        }
        *living += !(m && m->refused);
    }
    count_quiet(h, fresh, last);
    return fresh;
}

static void kill_met(struct hunt *h)
{
    for (size_t i = 0; i < h->n_met; i++)
        if (!h->met[i].refused)
            signal_one(&h->met[i], SIGKILL);
}

/* Lets the dying die, in the way of the calling worker; ns at most. */
static void give_time(const struct hunt *h, int64_t time)
{
    struct pl_wait wait;
    pl_wait_begin(&wait, PL_WAIT_FD, time);
    wait.uncancellable = true;
    for (size_t i = h->n_met; i-- > 0;)
        if (h->met[i].pidfd >= 0 && !h->met[i].refused && !pl_process_has_ended(h->met[i].pidfd)) {
            pl_fd_wait(h->met[i].pidfd, POLLIN, &wait);
            return;
        }
    uint32_t never = 0;
    if (pl_may_wait(&wait) == 0)
        pl_park(&never, 0, &wait);
}

/* Under the lock: until nothing new is found. False: there is no /proc. */
static bool stop_all(struct hunt *h)
{
    enum { ROUNDS = 200 };
    int living, fresh = 1;
    pl_program_send_locked(h->program, SIGSTOP);
    for (int i = 0; i < ROUNDS && fresh >= 0 && h->quiet < QUIET_ROUNDS && !h->no_memory; i++)
        fresh = round_of(h, SIGSTOP, &living);
    return fresh >= 0;
}

/* Rounds of killing, each under the lock, until none lives: 0, PLAIT_EBUSY. */
static int kill_all(struct hunt *h)
{
    int living = 1;
    h->quiet = 0;
    for (int i = 0; i < PATIENCE_ROUNDS; i++) {
        pthread_mutex_lock(&h->program->lock);
        kill_met(h);
        int fresh = pl_load_relaxed(&h->program->ended) ? -1 : round_of(h, SIGKILL, &living);
        pthread_mutex_unlock(&h->program->lock);
        if (fresh < 0 || (living == 0 && h->quiet >= QUIET_ROUNDS))
            return 0;
        if (living > 0)
            give_time(h, PATIENCE);
    }
    return PLAIT_EBUSY;
}

static int end_program(plait_program *p)
{
    struct pl_wait wait;
    if (plait_program_kill(p) == PLAIT_EPERM)
        return PLAIT_EPERM;
    pl_wait_begin(&wait, PL_WAIT_FD, (int64_t)PATIENCE * PATIENCE_ROUNDS);
    wait.uncancellable = true;
    int rc = pl_program_wait(p, NULL, &wait);
    return rc == PLAIT_ETIMEDOUT ? PLAIT_EBUSY : 0;
}

/* If this process takes orphans in (a subreaper, or the first of a container), those are its to collect now. */
static void forget_met(struct hunt *h)
{
    siginfo_t info;
    for (size_t i = 0; i < h->n_met; i++) {
        if (h->met[i].pidfd < 0)
            continue;
        syscall(SYS_waitid, BY_PIDFD, h->met[i].pidfd, &info, WEXITED | WNOHANG | __WALL, NULL);
        pl_close_fd(h->met[i].pidfd);
    }
    free(h->met);
    free(h->seen);
}

int plait_program_kill_tree(plait_program *program)
{
    if (!program)
        return PLAIT_EINVAL;
    if (program->forks != pl_forks)
        return PLAIT_ECHILD;
    struct hunt h = {.program = program};
    int saved = errno, rc = 0;
    pthread_mutex_lock(&program->lock);
    bool gone = pl_load_relaxed(&program->ended);
    bool can_look = gone || stop_all(&h);
    pthread_mutex_unlock(&program->lock);
    if (gone)
        rc = PLAIT_ESRCH;
    else if (can_look)
        rc = kill_all(&h);
    int ended = gone ? 0 : end_program(program);
    if (ended < 0)
        rc = ended;
    if (rc == 0)
        rc = h.refused ? PLAIT_EPERM : !can_look ? PLAIT_ENOTSUP : h.no_memory ? PLAIT_ENOMEM : 0;
    forget_met(&h);
    errno = saved;
    return rc;
}
