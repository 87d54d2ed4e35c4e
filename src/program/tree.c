/* Killing a program with all below it: port/tree.h does it. What is added here: the members of the program's own process group
 * and session, who may have lost the parents that would show where they belong; the wait until all are gone; and collecting
 * those who have become ours by that, if this process takes orphans in (a subreaper, the first of a container).
 *
 * The program is not collected while groups are looked at (looks hold its lock), so its pid, which is the group's and the session's
 * name, is its own. It may have ended: as a zombie it leads its group all the same. */
#include "program/program_internal.h"

#include "base/atomic.h"
#include "base/clock.h"
#include "port/stat.h"
#include "port/tree.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE (INT64_C(5) * 1000 * 1000 * 1000) /* ns until those that are killed are gone */
enum { NAP = 200 * 1000, LONG_NAP = 2 * 1000 * 1000 };

/* A process as /proc shows it. */
struct seen {
    int pid, parent, group, session;
    uint64_t birth;
    bool dead;
};

typedef void visit(plait_program *program, struct pl_tree *tree, const struct seen *seen,
                   int *found);

static bool read_one(const char *name, struct seen *ret)
{
    char path[40];
    struct pl_stat line;
    int length = snprintf(path, sizeof path, "/proc/%s/stat", name);
    if (length >= (int)sizeof path || pl_stat_read(path, &line) < 0)
        return false;
    *ret = (struct seen){
        .pid = atoi(name),
        .parent = line.parent,
        .group = line.group,
        .session = line.session,
        .birth = line.birth,
        .dead = line.state == 'Z' || line.state == 'X',
    };
    return true;
}

/* Shows each process to `fn`; what that counts. 0 also if nothing can be seen. */
static int visit_all(plait_program *program, struct pl_tree *tree, visit *fn)
{
    int found = 0;
    struct seen seen;
    DIR *folder = opendir("/proc");
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && read_one(entry->d_name, &seen))
            fn(program, tree, &seen, &found);
    if (folder)
        closedir(folder);
    return found;
}

static void add_member(plait_program *p, struct pl_tree *tree, const struct seen *seen, int *found)
{
    bool member = p->pid > 1 && (seen->group == p->pid || seen->session == p->pid);
    if (!member || seen->dead || pl_tree_has(tree, seen->pid, seen->birth))
        return;
    *found += pl_tree_add(tree, seen->pid, seen->birth, false) == 0;
}

static void count_living(plait_program *p, struct pl_tree *tree, const struct seen *seen,
                         int *found)
{
    (void)p;
    *found += !seen->dead && pl_tree_has(tree, seen->pid, seen->birth);
}

static void collect_orphan(plait_program *p, struct pl_tree *tree, const struct seen *seen,
                           int *found)
{
    siginfo_t info;
    if (seen->dead && seen->parent == getpid() && seen->pid != p->pid &&
        pl_tree_has(tree, seen->pid, seen->birth) &&
        syscall(SYS_waitid, P_PID, seen->pid, &info, WEXITED | WNOHANG | __WALL, NULL) == 0)
        (*found)++;
}

/* Lets others run, in the way of the calling worker. */
static void nap(int64_t length)
{
    struct pl_wait wait;
    uint32_t never = 0;
    pl_wait_begin(&wait, PL_WAIT_SLEEP, length);
    wait.uncancellable = true;
    if (pl_may_wait(&wait) == 0)
        pl_park(&never, 0, &wait);
    else
        usleep((useconds_t)(length / 1000)); /* the waiting room cannot be had */
}

/* One step, under the lock. 0 and errors as pl_tree_step; -EAGAIN also if new members of the group were found. */
static int step(plait_program *p, struct pl_tree *tree)
{
    pthread_mutex_lock(&p->lock);
    bool look = p->leads && !pl_load_relaxed(&p->ended);
    int fresh = look ? visit_all(p, tree, add_member) : 0;
    int rc = pl_tree_step(tree);
    pthread_mutex_unlock(&p->lock);
    return rc == 0 && fresh ? -EAGAIN : rc;
}

/* The program itself, while it is certain to be there. */
static int begin(plait_program *p, struct pl_tree *tree)
{
    pthread_mutex_lock(&p->lock);
    bool gone = pl_load_relaxed(&p->ended);
    int rc =
        gone ? -ESRCH : pl_tree_add(tree, (int)p->pid, pl_process_birth((int)p->pid), p->subreaper);
    pthread_mutex_unlock(&p->lock);
    if (gone)
        return PLAIT_ESRCH;
    return rc == -ESRCH ? 0 : rc; /* a zombie: there may be members of its group */
}

static int kill_all(plait_program *p, struct pl_tree *tree)
{
    int64_t until = plait_now() + PATIENCE;
    int rc,
        calm = 0; /* looks in a row that were over at once: members may be born while others die */
    do {
        rc = step(p, tree);
        calm = rc == -EAGAIN ? 0 : calm + 1;
        if (rc == -EAGAIN)
            nap(NAP);
    } while ((rc == -EAGAIN || (p->leads && rc == 0 && calm < 2)) && plait_now() < until);
    return rc;
}

/* Until none of them is there. */
static int see_them_go(plait_program *p, struct pl_tree *tree)
{
    struct pl_wait wait;
    int64_t until = plait_now() + PATIENCE;
    pl_wait_begin(&wait, PL_WAIT_FD, PATIENCE);
    wait.uncancellable = true;
    int rc = pl_program_wait(p, NULL, &wait) == PLAIT_ETIMEDOUT ? PLAIT_EBUSY : 0;
    while (rc == 0 && visit_all(p, tree, count_living) > 0) {
        if (plait_now() >= until)
            rc = PLAIT_EBUSY;
        nap(LONG_NAP);
    }
    visit_all(p, tree, collect_orphan);
    return rc;
}

static int code_of(int error)
{
    switch (error) {
    case 0:
    case -EPERM:
        return error;
    case -ENOSYS:
        return PLAIT_ENOTSUP;
    case -EAGAIN:
    case -ETIMEDOUT:
        return PLAIT_EBUSY;
    default:
        return pl_start_error(-error);
    }
}

static int kill_tree(plait_program *p, struct pl_tree *tree)
{
    int rc = begin(p, tree);
    if (rc == PLAIT_ESRCH)
        return rc;
    if (rc == 0)
        rc = kill_all(p, tree);
    int alone = plait_program_kill(p); /* also if the others could not be looked for */
    if (alone == PLAIT_EPERM)
        return PLAIT_EPERM;
    rc = code_of(rc);
    int gone = rc == PLAIT_EPERM ? 0 : see_them_go(p, tree);
    return rc < 0 ? rc : gone;
}

int plait_program_kill_tree(plait_program *program)
{
    if (!program)
        return PLAIT_EINVAL;
    if (program->forks != pl_forks)
        return PLAIT_ECHILD;
    int saved = errno;
    struct pl_tree *tree = pl_tree_begin();
    int rc = tree ? kill_tree(program, tree) : PLAIT_ENOMEM;
    if (tree)
        pl_tree_end(tree);
    errno = saved;
    return rc;
}
