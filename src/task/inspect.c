/* A look at the calling thread's tasks. */
#include "base/atomic.h"
#include "base/clock.h"
#include "task/task_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int state_of(const struct pl_task *task)
{
    if (!task->started)
        return PLAIT_STATE_NEW;
    return task->state == PL_TASK_PARKED ? PLAIT_STATE_BLOCKED : PLAIT_STATE_RUNNING;
}

static void describe(const struct pl_task *task, plait_task_info *ret)
{
    int64_t now = pl_now_about();
    bool waits = task->state == PL_TASK_PARKED && task->waits_kind != PL_WAIT_NONE;
    *ret = (plait_task_info){
        .worker = pl_task_handle(task),
        .parent = task->parent,
        .state = state_of(task),
        .waits = waits ? pl_wait_name(task->waits_kind) : NULL,
        .waits_on = waits ? task->waits_on : NULL,
        .age = now > task->began ? now - task->began : 0,
        .stack_size = task->stack.low ? task->stack.size : 0,
        .stack_used = task->stack.low ? pl_stack_used(&task->stack) : 0,
    };
    pl_task_name(task, ret->name);
}

struct listing {
    plait_task_info *array;
    int most, n;
};

static void add(struct pl_task *task, void *arg)
{
    struct listing *listing = arg;
    if (listing->n < listing->most)
        describe(task, &listing->array[listing->n]);
    listing->n++;
}

int plait_task_list(plait_task_info *array, int most)
{
    if (most < 0 || (most > 0 && !array))
        return PLAIT_EINVAL;
    struct listing listing = {.array = array, .most = most};
    if (pl_loop_here())
        pl_records_each(pl_loop_here(), add, &listing);
    return listing.n;
}

/* --- the tree --- */

static int write_all(int fd, const char *text)
{
    size_t left = strlen(text);
    while (left > 0) {
        ssize_t n = write(fd, text, left);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0) {
            text += n;
            left -= (size_t)n;
        }
    }
    return 0;
}

static const char *state_name(const plait_task_info *task)
{
    if (task->state == PLAIT_STATE_NEW)
        return "new";
    return plait_same(task->worker, pl_task_self()) ? "running" : "ready";
}

static int write_task(int fd, int depth, const plait_task_info *task)
{
    char line[256], what[96];
    if (task->waits && task->waits_on)
        snprintf(what, sizeof what, "waits for %s at %p", task->waits, task->waits_on);
    else
        snprintf(what, sizeof what, "%s%s", task->waits ? "waits for " : "",
                 task->waits ? task->waits : state_name(task));
    snprintf(line, sizeof line, "%*s%s: %s, %.1f s old, stack %zu of %zu KiB\n", 4 * depth, "",
             task->name, what, (double)task->age / 1e9, task->stack_used / 1024,
             task->stack_size / 1024);
    return write_all(fd, line);
}

/* A task whose parent is none of the list is a root. */
static bool is_root(const struct listing *all, const plait_task_info *task)
{
    for (int i = 0; i < all->n; i++)
        if (plait_same(all->array[i].worker, task->parent))
            return false;
    return true;
}

/* Depth first, without recursion: `path` holds where each level stands. */
static int write_below(int fd, const struct listing *all, int root, int *path)
{
    int depth = 0, rc = write_task(fd, 1, &all->array[root]);
    int *at = path + all->n; /* the task of each level */
    at[0] = root;
    path[0] = 0;
    while (rc == 0 && depth >= 0) {
        int i = path[depth]++;
        if (i >= all->n) {
            depth--;
        } else if (plait_same(all->array[i].parent, all->array[at[depth]].worker)) {
            depth++;
            at[depth] = i;
            path[depth] = 0;
            rc = write_task(fd, depth + 1, &all->array[i]);
        }
    }
    return rc;
}

static int write_tree(int fd, const struct listing *all, int *path)
{
    char line[96], name[PLAIT_NAME_SIZE] = "this thread";
    plait_worker self = pl_self.thread ? pl_worker_of(pl_self.thread) : (plait_worker){0, 0};
    if (self.slot)
        plait_name(self, name, sizeof name);
    snprintf(line, sizeof line, "%s: %d tasks\n", name, all->n);
    int rc = write_all(fd, line);
    for (int i = 0; i < all->n && rc == 0; i++)
        if (is_root(all, &all->array[i]))
            rc = write_below(fd, all, i, path);
    return rc;
}

int plait_task_print_tree(int fd)
{
    int n = plait_task_list(NULL, 0), saved = errno;
    struct listing all = {.array = calloc((size_t)n + 1, sizeof *all.array), .n = n, .most = n};
    int *path = calloc(2 * ((size_t)n + 1), sizeof *path);
    int rc = all.array && path ? 0 : PLAIT_ENOMEM;
    if (rc == 0) {
        plait_task_list(all.array, n);
        rc = write_tree(fd, &all, path);
    }
    free(all.array);
    free(path);
    errno = saved;
    return rc;
}
