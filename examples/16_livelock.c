/* A livelock, and plait_acquire_all, which cures it: two polite workers at a narrow door.
 *
 * Try:  16_livelock thread
 *       16_livelock process
 *       16_livelock task
 *
 * Each needs both locks. To avoid a deadlock, each takes one, tries the other, and if that is taken
 * gives its own back and begins anew. Both are busy all the time, nobody hangs, and nothing is ever
 * done. In real programs that takes bad luck; here a pair of semaphores keeps them in step. */
#include <plait/plait.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRIES = 1000, TURNS = 1000 };

struct door {
    plait_lock left, right;
    plait_semaphore meet[2]; /* the other one is as far as I am */
    int tries, passed;       /* passed: under both locks */
    int who;
};

/* Waits until the other one is here, too. */
static void meet(struct door *door, int who)
{
    plait_semaphore_release(&door->meet[!who], 1);
    plait_semaphore_acquire(&door->meet[who], PLAIT_FOREVER);
}

static int number(struct door *door)
{
    return __atomic_fetch_add(&door->who, 1, __ATOMIC_SEQ_CST) % 2;
}

static int be_polite(void *arg)
{
    struct door *door = arg;
    int who = number(door);
    plait_lock *first = who ? &door->right : &door->left;
    plait_lock *second = who ? &door->left : &door->right;
    for (int i = 0; i < TRIES; i++) {
        plait_lock_acquire(first, PLAIT_FOREVER);
        meet(door, who);
        if (plait_lock_acquire(second, PLAIT_NOWAIT) == 0) {
            door->passed++;
            plait_lock_release(second);
        } else {
            __atomic_fetch_add(&door->tries, 1, __ATOMIC_SEQ_CST); /* after you! */
        }
        meet(door, who);
        plait_lock_release(first);
    }
    return 0;
}

static int take_both(void *arg)
{
    struct door *door = arg;
    int who = number(door);
    plait_lock *both[] = {who ? &door->right : &door->left, who ? &door->left : &door->right};
    for (int i = 0; i < TURNS; i++) {
        plait_acquire_all(both, 2, PLAIT_FOREVER);
        door->passed++;
        plait_release_all(both, 2);
    }
    return 0;
}

static void check(const char *what, int rc)
{
    if (rc == 0)
        return;
    fprintf(stderr, "%s: %s\n", what, plait_strerror(rc));
    _Exit(1); /* exit would wait for the workers */
}

static void run_two(int kind, plait_function *fn, struct door *door)
{
    plait_worker worker[2];
    for (int i = 0; i < 2; i++)
        check("plait_start", plait_start(&worker[i], kind, fn, door, NULL));
    for (int i = 0; i < 2; i++)
        check("plait_join", plait_join(worker[i], NULL, PLAIT_FOREVER));
}

static int kind_named(const char *name)
{
    return strcmp(name, "process") == 0 ? PLAIT_PROCESS
           : strcmp(name, "task") == 0  ? PLAIT_TASK
                                        : PLAIT_THREAD;
}

int main(int argc, char **argv)
{
    int kind = kind_named(argc > 1 ? argv[1] : "thread");
    check("plait_init", plait_init(&argc, &argv));
    struct door *door = plait_alloc(sizeof *door);
    check("plait_alloc", door ? 0 : plait_last_error());

    run_two(kind, be_polite, door);
    printf("polite: %d tries, %d got through\n", door->tries, door->passed);

    run_two(kind, take_both, door);
    printf("plait_acquire_all: %d got through\n", door->passed);
    return 0;
}
