/* A barrier: four workers go through rounds together; in the fourth, one of them dies.
 *
 * Try:  14_barrier_rounds thread
 *       14_barrier_rounds process
 *
 * In each round the last to arrive runs the action, before anybody is let go, and each worker gets an
 * index of its own. Whoever runs the action of the fourth round dies in it: a process by kill -9, a
 * thread by pthread_exit. The others do not wait for the dead, they are told. */
#include <plait/plait.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORKERS = 4, ROUNDS = 3 };

struct world {
    plait_barrier barrier;
    int kind;
    int actions; /* written by the action only: one at a time */
    plait_lock lock;
    int taken[ROUNDS][WORKERS]; /* how often each index was given; under the lock, as the next */
    int told;                   /* workers that learned of the death */
};

static int act(void *arg)
{
    struct world *w = arg;
    if (w->actions == ROUNDS) {
        if (w->kind == PLAIT_PROCESS)
            kill(getpid(), SIGKILL);
        pthread_exit(NULL);
    }
    w->actions++;
    return 0;
}

static int work(void *arg)
{
    struct world *w = arg;
    for (int round = 0;; round++) {
        int index = plait_barrier_wait(&w->barrier, PLAIT_FOREVER);
        PLAIT_WITH(&w->lock) {
            if (index >= 0 && round < ROUNDS)
                w->taken[round][index]++;
            w->told += index == PLAIT_EBROKEN;
        }
        if (index < 0)
            return index;
    }
}

static void check(const char *what, int rc)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, plait_strerror(rc));
    _Exit(1); /* exit would wait for the workers */
}

int main(int argc, char **argv)
{
    int kind = argc > 1 && strcmp(argv[1], "process") == 0 ? PLAIT_PROCESS : PLAIT_THREAD;
    plait_worker worker[WORKERS];
    plait_blame blame;
    int died = 0;

    check("plait_init", plait_init(&argc, &argv));
    struct world *w = plait_alloc(sizeof *w);
    check("plait_alloc", w ? 0 : plait_last_error());
    w->kind = kind;
    plait_barrier_options options = {.action = act, .arg = w};
    check("plait_barrier_init", plait_barrier_init(&w->barrier, WORKERS, &options));

    for (int i = 0; i < WORKERS; i++)
        check("plait_start", plait_start(&worker[i], kind, work, w, NULL));
    for (int i = 0; i < WORKERS; i++) {
        int rc = plait_join(worker[i], &blame, PLAIT_FOREVER);
        check("plait_join", rc);
        died += rc == PLAIT_DIED;
    }

    for (int round = 0; round < ROUNDS; round++) {
        printf("round %d:", round + 1);
        for (int i = 0; i < WORKERS; i++)
            printf("  index %d %s", i, w->taken[round][i] == 1 ? "once" : "NOT once");
        printf("\n");
    }
    printf("the action ran %d times\n", w->actions);
    printf("round %d: %d died, %d were told: %s\n", ROUNDS + 1, died, w->told,
           plait_strerror(PLAIT_EBROKEN));
    check("plait_barrier_blame", plait_barrier_blame(&w->barrier, &blame));
    printf("who died is known: signal %d\n", blame.signal);
    printf("it stays broken: %s\n", plait_errname(plait_barrier_wait(&w->barrier, PLAIT_FOREVER)));
    check("plait_barrier_reset", plait_barrier_reset(&w->barrier));
    printf("reset: %s\n", plait_barrier_broken(&w->barrier) ? "still broken" : "whole again");
    return 0;
}
