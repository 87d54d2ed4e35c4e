/* Killing a process and all below it.
 *
 * Naive: list the children, kill them, list theirs. But while one reads the list they fork, and when a process dies its
 * children become another's, init's, and nobody can tell any more whose they were. Cure: first everything is brought
 * to a stop, from above to below, and nothing dies; only when all stand still they are killed. If the topmost is a
 * subreaper (prctl(2)), which gets the children of all who die below it, it alone is stopped and all others are killed as they
 * are seen.
 *
 * Facts: 1 A process of which all threads have stopped neither forks nor ends nor collects children: below it the tree
 *          neither grows nor loses a branch. Seen in /proc, thread by thread: SIGSTOP comes to the others a little later.
 *        2 SIGKILL takes effect as it is sent: each thread of the receiver has it pending, and fork looks for that
 *          at the same time as it hangs the child into the tree. Who has been sent it gets no more children, and need not be
 *          waited for.
 *        3 So if all that are known stood still (or were doomed) before a look through /proc, it shows no other below them, and
 *          nobody at all was born meanwhile, there is none: who is there during the whole look is in it. Whether one was born
 *          the kernel tells by the last pid it gave. On a machine where strangers are born all the time, several looks that show
 *          nobody have to do: only who forks and ends without pause, each time between our reading
 *          the folder and reading the file, could pass through all of them.
 *        4 Whether one is below those who are known is found out as its line is read, by reading those above it then and there:
 *          when the list is complete, who forks and ends without pause is long gone. If one above it is gone already,
 *          it has another parent by now, and its line is read again.
 *        5 Children are killed before their parents. A parent's end makes the kernel send SIGCONT to groups of
 *          stopped processes that are orphaned by it; so those of them that are ours must be doomed already.
 *        6 A thread that has called vfork hangs until its child, which we have stopped, is gone. If nothing moves any more,
 *          such a child is killed before the others, provided that it has no children of its own.
 *        7 Signals go through pidfds, looked at after they were opened (pid and birth): never to a stranger.
 *
 * What gets away: who had left the tree before, because a process between had ended (not if the topmost is a
 * subreaper: then it has them); processes of other users (setuid programs), which are told of
 * (-EPERM) or, where /proc hides them, are not; what somebody else continues (SIGCONT) meanwhile, or a tracer outside
 * the tree lets go on; without a subreaper, below one whom somebody else kills meanwhile. Who is killed in the
 * middle of this leaves the tree, or its topmost, standing still.
 *
 * Not used: /proc/PID/task/TID/children, which not every kernel has and which may miss children of processes that run;
 * the freezer and cgroup.kill, which need a control group of the tree's own. Where there is one they are better. */
#include "port/tree.h"

#include "base/clock.h"
#include "port/process.h"
#include "port/stat.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    PATIENCE = 1000 * 1000 * 1000, /* ns until one that does not stop is taken to hang */
    NAP_US = 200,                  /* between two looks at those who are stopping */
    RETRIES = 100,                 /* of a line, each after the one above it was gone */
    MOST_HOPS = 1000,              /* upwards from one, to those who have not been seen */
    QUIET_LOOKS = 5,               /* in a row are believed even if somebody was born meanwhile */
};

/* What a process in the tree is doing. In order of what its threads do, taken together. */
enum pose {
    STILL, /* all its threads have stopped, or it has ended, or is doomed */
    HANGS, /* the others are asleep in the kernel and no signal wakes them: vfork, disks */
    MOVES,
};

/* A process as /proc shows it. */
struct process {
    int pid, parent;
    char state;
    uint64_t birth;
    int depth;      /* below the tree's topmost */
    int look;       /* the last that showed it */
    bool doomed;    /* it has been sent SIGKILL */
    bool adopts;    /* its topmost is a subreaper */
    enum pose pose; /* before the last look */
};

struct list {
    struct process *at;
    int n, room;
};

struct pl_tree {
    struct list known;     /* parents before their children */
    struct list strangers; /* seen in this look and not in the tree, by pid */
    bool denied;           /* there are some that we may not signal */
    int look;              /* counts them */
    int quiet;             /* looks in a row that showed nobody new */
    int64_t since;         /* when the last was found */
};

/* --- reading /proc --- */

static int read_line(const char *path, struct process *ret)
{
    struct pl_stat line;
    int rc = pl_stat_read(path, &line);
    if (rc < 0)
        return rc;
    if (line.group == -1) /* it was leaving as the line was made, and has no parent there */
        return -ESRCH;
    ret->state = line.state;
    ret->parent = line.parent;
    ret->birth = line.birth;
    ret->depth = ret->look = 0;
    ret->pose = MOVES;
    ret->doomed = ret->adopts = false;
    return 0;
}

static int read_process(int pid, struct process *ret)
{
    char path[40];
    ret->pid = pid;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    return read_line(path, ret);
}

static int append(struct list *list, const struct process *p)
{
    if (list->n == list->room) {
        int room = list->room ? 2 * list->room : 256;
        struct process *at = realloc(list->at, (size_t)room * sizeof *at);
        if (!at)
            return -ENOMEM;
        list->at = at;
        list->room = room;
    }
    list->at[list->n++] = *p;
    return 0;
}

static int by_pid(const void *a, const void *b)
{
    const struct process *p = a, *q = b;
    return (p->pid > q->pid) - (p->pid < q->pid);
}

static bool is_stranger(const struct pl_tree *tree, int pid)
{
    struct process key = {.pid = pid};
    const struct list *list = &tree->strangers;
    return list->n && bsearch(&key, list->at, (size_t)list->n, sizeof key, by_pid);
}

/* /proc is read in order of pids, so its place is mostly the last. */
static int add_stranger(struct pl_tree *tree, const struct process *p)
{
    struct list *list = &tree->strangers;
    int rc = append(list, p), i = list->n - 1;
    for (; rc == 0 && i > 0 && list->at[i - 1].pid > p->pid; i--)
        list->at[i] = list->at[i - 1];
    if (rc == 0)
        list->at[i] = *p;
    return rc;
}

static bool is_number(const char *name)
{
    return *name >= '1' && *name <= '9';
}

/* --- the tree --- */

static bool is_same(const struct process *a, int pid, uint64_t birth)
{
    return a->pid == pid && (birth == 0 || a->birth == birth);
}

static struct process *find_known(const struct pl_tree *tree, int pid, uint64_t birth)
{
    for (int i = 0; i < tree->known.n; i++)
        if (is_same(&tree->known.at[i], pid, birth))
            return &tree->known.at[i];
    return NULL;
}

bool pl_tree_has(const struct pl_tree *tree, int pid, uint64_t birth)
{
    return find_known(tree, pid, birth) != NULL;
}

/* Fact 7. 0; -ESRCH: it is gone. */
static int send(const struct process *p, int signal)
{
    int handle = pl_process_open(p->pid);
    if (handle == -ESRCH || handle == -EINVAL)
        return -ESRCH;
    if (handle < 0)
        return handle;
    struct process now;
    int rc = read_process(p->pid, &now);
    if (rc == 0 && now.birth == p->birth)
        rc = pl_process_signal(handle, signal);
    else if (rc != -EMFILE && rc != -ENFILE)
        rc = -ESRCH;
    close(handle);
    return rc;
}

/* --- standing still --- */

static enum pose pose_of_thread(const char *path)
{
    struct process thread;
    int rc = read_line(path, &thread);
    if (rc < 0)
        return rc == -ENOENT || rc == -ESRCH ? STILL : MOVES;
    return strchr("TtZX", thread.state) ? STILL : thread.state == 'D' ? HANGS : MOVES;
}

/* Fact 1. */
static enum pose pose_of(const struct process *p)
{
    char path[300];
    struct process now;
    if (read_process(p->pid, &now) == 0 && now.birth != p->birth)
        return STILL; /* long gone, and its pid another's */
    snprintf(path, sizeof path, "/proc/%d/task", p->pid);
    DIR *dir = opendir(path);
    if (!dir)
        return errno == ENOENT || errno == ESRCH ? STILL : MOVES;
    enum pose pose = STILL;
    for (struct dirent *entry; pose < MOVES && (entry = readdir(dir));) {
        if (!is_number(entry->d_name))
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/stat", p->pid, entry->d_name);
        enum pose thread = pose_of_thread(path);
        pose = thread > pose ? thread : pose;
    }
    closedir(dir);
    return pose;
}

static enum pose pose_of_all(struct pl_tree *tree)
{
    enum pose all = STILL;
    for (int i = 0; i < tree->known.n; i++) {
        struct process *p = &tree->known.at[i];
        if (p->pose != STILL)
            p->pose = p->doomed ? STILL : pose_of(p);
        all = p->pose > all ? p->pose : all;
    }
    return all;
}

static bool has_children(const struct pl_tree *tree, const struct process *p)
{
    for (int i = 0; i < tree->known.n; i++) {
        const struct process *k = &tree->known.at[i];
        if (k->parent == p->pid && k->look == tree->look && !strchr("ZX", k->state))
            return true;
    }
    return false;
}

/* Fact 6. After a look that showed nobody new. */
static void free_from_vfork(struct pl_tree *tree)
{
    for (int i = 0; i < tree->known.n; i++) {
        struct process *p = &tree->known.at[i];
        const struct process *parent = p->parent ? find_known(tree, p->parent, 0) : NULL;
        if (p->depth > 0 && p->pose == STILL && parent && parent->pose == HANGS &&
            !has_children(tree, p) && send(p, SIGKILL) == 0)
            p->doomed = true;
    }
}

/* --- growing --- */

/* Stops or kills one, and knows it from then on. */
static int take_in(struct pl_tree *tree, struct process *p)
{
    bool at_once = p->adopts && p->depth > 0;
    p->doomed = at_once;
    int rc = append(&tree->known, p);
    if (rc < 0)
        return rc;
    rc = send(p, at_once ? SIGKILL : SIGSTOP);
    if (rc < 0)
        tree->known.n--;
    if (rc == -EPERM)
        tree->denied = true;
    return rc == -ENFILE ? -EMFILE : rc;
}

/* What one look has brought. */
struct news {
    int found;    /* taken in */
    int vanished; /* gone before it was clear whose they were, or before they could be taken in */
    int error;    /* that makes looking useless; else 0 */
};

static bool is_useless(int rc)
{
    return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM;
}

static void report(struct news *news, int rc)
{
    news->found += rc == 0;
    news->vanished += rc == -ESRCH || rc == -ENOENT;
    if (is_useless(rc))
        news->error = rc == -ENFILE ? -EMFILE : rc;
}

static struct process *place(struct pl_tree *tree, struct process *p, int hops, struct news *news);

/* Fact 4. Who of those who are known is directly above one, those between taken in; NULL: nobody. */
static struct process *find_above(struct pl_tree *tree, struct process *p, int hops,
                                  struct news *news)
{
    for (int k = 0; k < RETRIES; k++) {
        if (p->parent == 0 || is_stranger(tree, p->parent))
            return NULL;
        struct process parent, *above;
        int rc = read_process(p->parent, &parent); /* its pid may have been one of ours once */
        if (rc == 0 && (above = find_known(tree, parent.pid, parent.birth)))
            return above;
        if (rc == 0)
            return hops < MOST_HOPS ? place(tree, &parent, hops + 1, news) : NULL;
        if (is_useless(rc) || (rc = read_process(p->pid, p)) < 0) {
            report(news, rc);
            return NULL;
        }
    }
    news->vanished++;
    return NULL;
}

/* Finds out about one. Its entry, if it is in the tree. */
static struct process *place(struct pl_tree *tree, struct process *p, int hops, struct news *news)
{
    struct process *known = find_known(tree, p->pid, p->birth);
    if (known) {
        known->parent = p->parent;
        known->state = p->state;
        known->look = tree->look;
        return known;
    }
    const struct process *above = find_above(tree, p, hops, news);
    if (!above) {
        if (!is_stranger(tree, p->pid))
            report(news, add_stranger(tree, p) < 0 ? -ENOMEM : 1);
        return NULL;
    }
    p->depth = above->depth + 1;
    p->adopts = above->adopts;
    p->look = tree->look;
    int rc = take_in(tree, p);
    report(news, rc);
    return rc == 0 ? &tree->known.at[tree->known.n - 1] : NULL;
}

/* Reading /proc: the folder's entries come by the hundred, in order of pids, and are old when we come to them. */
struct reading {
    DIR *dir;
    long
        offset; /* what the kernel adds to a pid to say where in the folder it stands; 0: not known yet */
    long after; /* where the entry after the last one stands; 0: it was none of a process */
};

static int next_pid(struct reading *r)
{
    struct dirent *entry;
    while ((entry = readdir(r->dir))) {
        int pid = is_number(entry->d_name) ? atoi(entry->d_name) : 0;
        if (pid && r->after)
            r->offset = r->after - pid;
        r->after = pid ? entry->d_off : 0;
        if (pid)
            return pid;
    }
    return 0;
}

/* Fact 4. A process has vanished: its children stand behind it, but are not yet in the part that has been read. */
static void read_anew_behind(struct reading *r, int pid)
{
    if (r->offset)
        seekdir(r->dir, r->offset + pid + 1);
    r->after = 0;
}

static void look(struct pl_tree *tree, struct news *news)
{
    struct reading r = {.dir = opendir("/proc")};
    if (!r.dir) {
        news->error = errno == ENFILE ? -EMFILE : -errno;
        return;
    }
    tree->look++;
    tree->strangers.n = 0;
    for (int pid; news->error == 0 && (pid = next_pid(&r));) {
        struct process p;
        int vanished = news->vanished, rc = read_process(pid, &p);
        if (rc == 0)
            place(tree, &p, 0, news);
        else if (is_useless(rc))
            report(news, rc);
        if (rc < 0 || vanished != news->vanished)
            read_anew_behind(&r, pid);
    }
    closedir(r.dir);
}

/* Who was born last; 0: not known. */
static int last_born(void)
{
    char text[100];
    int pid, fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    return sscanf(text, "%*f %*f %*f %*d/%*d %d", &pid) == 1 ? pid : 0;
}

/* Fact 3. */
static void grow(struct pl_tree *tree, struct news *news)
{
    int before = last_born();
    look(tree, news);
    bool births = before == 0 || before != last_born();
    if (news->found || news->vanished)
        tree->quiet = 0;
    else
        tree->quiet += births ? 1 : QUIET_LOOKS;
    if (news->found)
        tree->since = plait_now();
}

/* Fact 5. Who stands still by our doing keeps its pid: so if there is no descriptor to be had, the pid has to do. */
static void kill_all(struct pl_tree *tree)
{
    for (int i = tree->known.n - 1; i >= 0; i--) {
        const struct process *p = &tree->known.at[i];
        int rc = p->doomed ? 0 : send(p, SIGKILL);
        if (rc < 0 && rc != -ESRCH)
            kill(p->pid, SIGKILL);
    }
}

static int step(struct pl_tree *tree)
{
    struct news news = {0, 0, 0};
    enum pose before = pose_of_all(tree);
    grow(tree, &news);
    int rc = news.error;
    if (rc == 0 && (before != STILL || tree->quiet < QUIET_LOOKS)) {
        if (plait_now() - tree->since <= PATIENCE) {
            if (before == HANGS && !news.found)
                free_from_vfork(tree);
            return -EAGAIN;
        }
        rc = -ETIMEDOUT;
    }
    kill_all(tree);
    return rc == 0 && tree->denied ? -EPERM : rc;
}

int pl_tree_step(struct pl_tree *tree)
{
    int saved = errno;
    int rc = step(tree);
    errno = saved;
    return rc;
}

/* --- beginning and end --- */

struct pl_tree *pl_tree_begin(void)
{
    int saved = errno;
    struct pl_tree *tree = calloc(1, sizeof *tree);
    errno = saved;
    return tree;
}

void pl_tree_end(struct pl_tree *tree)
{
    if (!tree)
        return;
    free(tree->known.at);
    free(tree->strangers.at);
    free(tree);
}

/* Whether /proc is there and counts processes as we do. */
static bool proc_is_ours(void)
{
    char text[20];
    ssize_t n = readlink("/proc/self", text, sizeof text - 1);
    if (n <= 0)
        return false;
    text[n] = 0;
    return atoi(text) == (int)getpid();
}

/* In doubt it does: somebody above us has died just now, or cannot be read. */
static bool holds_caller(int pid)
{
    for (int k = 0; k < RETRIES; k++) {
        struct process p = {.pid = pid};
        int above = (int)getpid(), rc = 0;
        while (above && above != pid && (rc = read_process(above, &p)) == 0)
            above = p.parent;
        if (rc == 0)
            return above == pid;
    }
    return true;
}

/* The process that is meant, once its pidfd is open; else -errno. */
static int identify(int pid, uint64_t birth, struct process *ret)
{
    int handle = pl_process_open(pid);
    if (handle < 0)
        return handle == -EINVAL ? -ESRCH : handle == -EPERM ? -ENOSYS : handle;
    int rc = read_process(pid, ret);
    if (rc == -ENOENT || (rc == 0 && birth && ret->birth != birth) || pl_process_has_ended(handle))
        rc = -ESRCH;
    close(handle);
    return rc;
}

static int add(struct pl_tree *tree, int pid, uint64_t birth, bool adopts)
{
    struct process p;
    if (pid <= 0)
        return -ESRCH;
    if (find_known(tree, pid, birth))
        return 0;
    int rc = identify(pid, birth, &p);
    if (rc == 0 && holds_caller(pid))
        return -EDEADLK;
    if (rc == 0 && !proc_is_ours())
        return -ENOSYS;
    p.depth = 0;
    p.adopts = adopts;
    if (rc == 0)
        rc = take_in(tree, &p);
    tree->since = plait_now();
    tree->quiet = 0;
    return rc;
}

int pl_tree_add(struct pl_tree *tree, int pid, uint64_t birth, bool adopts)
{
    int saved = errno;
    if (pid == 1) /* below the first of all there is everybody */
        return -EPERM;
    int rc = add(tree, pid, birth, adopts);
    errno = saved;
    switch (rc) {
    case 0:
    case -ESRCH:
    case -EPERM:
    case -EDEADLK:
    case -ENOMEM:
        return rc;
    case -EMFILE:
    case -ENFILE:
        return -EMFILE;
    default:
        return -ENOSYS;
    }
}

int pl_tree_kill(int pid, uint64_t birth, bool adopts)
{
    struct pl_tree *tree = pl_tree_begin();
    int rc = tree ? pl_tree_add(tree, pid, birth, adopts) : -ENOMEM, saved = errno;
    if (rc == 0)
        while ((rc = pl_tree_step(tree)) == -EAGAIN)
            usleep(NAP_US);
    if (tree)
        pl_tree_end(tree);
    errno = saved;
    return rc;
}
