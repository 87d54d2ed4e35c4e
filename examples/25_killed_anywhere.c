/* Killed anywhere: a worker is killed while it holds a lock, while it puts an item into a box, and while it
 * waits. Each time the others go on, and are told.
 *
 * Try:  25_killed_anywhere
 *
 * Only processes can be killed alone; a thread takes its whole process along. */
#include <plait/plait.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 4 };

/* Items and how many. An item counts once `count` says so: one store makes it valid. */
struct box {
    plait_condition changed; /* with a lock of its own */
    int items[SIZE], count;
    plait_event halfway, never;
};

static void check(const char *what, int rc)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, plait_strerror(rc));
    _Exit(1);
}

static void stop_here(struct box *box)
{
    plait_event_set(&box->halfway);
    plait_event_wait(&box->never, PLAIT_FOREVER);
}

static int hold(void *arg)
{
    struct box *box = arg;
    PLAIT_WITH(&box->changed)
        stop_here(box);
    return 0;
}

static int put_halfway(void *arg)
{
    struct box *box = arg;
    PLAIT_WITH(&box->changed) {
        box->items[box->count] = 2;
        stop_here(box); /* written, not counted */
        box->count++;
        plait_condition_notify(&box->changed, 1);
    }
    return 0;
}

static int get(void *arg)
{
    struct box *box = arg;
    int item = -1;
    PLAIT_WITH(&box->changed) {
        while (box->count == 0)
            plait_condition_wait(&box->changed, PLAIT_FOREVER);
        item = box->items[--box->count];
    }
    return item;
}

static plait_worker start(const char *name, plait_function *fn, struct box *box)
{
    plait_worker worker;
    check("plait_start",
          plait_start(&worker, PLAIT_PROCESS, fn, box, &(plait_options){.name = name}));
    return worker;
}

static void join_killed(plait_worker worker)
{
    plait_blame blame;
    check("plait_join", plait_join(worker, &blame, PLAIT_FOREVER));
    printf("  joined the %s: signal %d (%s)\n", blame.name, blame.signal, strsignal(blame.signal));
}

/* Kills it where it stands; the next to take the lock is told. */
static void kill_at_the_lock(struct box *box, const char *name, plait_function *fn)
{
    plait_blame blame;
    plait_event_clear(&box->halfway);
    plait_worker worker = start(name, fn, box);
    check("plait_event_wait", plait_event_wait(&box->halfway, PLAIT_FOREVER));
    check("plait_kill", plait_kill(worker));
    int rc = plait_condition_acquire(&box->changed, PLAIT_FOREVER);
    check("plait_condition_acquire", rc);
    check("plait_lock_blame", plait_lock_blame(plait_condition_lock(&box->changed), &blame));
    printf("  the lock is ours: %s, from the %s; items in the box: %d\n", plait_errname(rc),
           blame.name, box->count);
    check("plait_condition_release", plait_condition_release(&box->changed));
    join_killed(worker);
}

static bool waits(plait_worker worker)
{
    return plait_state(worker) == PLAIT_STATE_BLOCKED;
}

static void put(struct box *box, int item)
{
    PLAIT_WITH(&box->changed) {
        box->items[box->count++] = item;
        plait_condition_notify(&box->changed, 1);
    }
}

/* Two wait; the first in the queue is killed; one item, one notification: the second gets it. */
static void kill_while_waiting(struct box *box)
{
    plait_blame blame;
    plait_worker first = start("first", get, box);
    while (!waits(first))
        continue;
    plait_worker second = start("second", get, box);
    while (!waits(second))
        continue;
    check("plait_kill", plait_kill(first));
    join_killed(first);
    put(box, 7);
    check("plait_join", plait_join(second, &blame, PLAIT_FOREVER));
    printf("  the %s got the item %d\n", blame.name, blame.status);
}

int main(int argc, char **argv)
{
    check("plait_init", plait_init(&argc, &argv));
    struct box *box = plait_alloc(sizeof *box);
    check("plait_alloc", box ? 0 : plait_last_error());
    printf("killed while it holds the lock\n");
    kill_at_the_lock(box, "holder", hold);
    printf("killed while it puts an item into the box\n");
    kill_at_the_lock(box, "putter", put_halfway);
    printf("killed while it waits\n");
    kill_while_waiting(box);
    return 0;
}
