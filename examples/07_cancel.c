/* Stopping gracefully: cancel ends a worker that waits, and one that computes.
 *
 * Try:  07_cancel thread
 *       07_cancel process
 *
 * A request to stop is not a shot. The call that the worker waits in returns PLAIT_ECANCELED, and the
 * worker leaves by its own door, cleaning up on the way. Who computes asks plait_checkpoint. */
#include <plait/plait.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct desk {
    plait_event letter; /* nobody writes */
    int tidied;         /* how many put their things away */
};

static int tidy(struct desk *desk, int rc)
{
    __atomic_add_fetch(&desk->tidied, 1, __ATOMIC_RELAXED);
    return rc;
}

static int waits(void *arg)
{
    struct desk *desk = arg;
    return tidy(desk, plait_event_wait(&desk->letter, PLAIT_FOREVER));
}

/* Sleeping is waiting for what does not come. */
static int sleeps(void *arg)
{
    struct desk *desk = arg;
    int rc = PLAIT_ETIMEDOUT;
    while (rc == PLAIT_ETIMEDOUT)
        rc = plait_event_wait(&desk->letter, plait_ms(1));
    return tidy(desk, rc);
}

static int computes(void *arg)
{
    int rc = 0;
    for (unsigned long n = 0; rc == 0; n++)
        if (n % 100000 == 0)
            rc = plait_checkpoint();
    return tidy(arg, rc);
}

static void check(const char *what, int rc)
{
    if (rc == 0)
        return;
    fprintf(stderr, "%s: %s\n", what, plait_strerror(rc));
    _Exit(1); /* exit would wait for the workers */
}

int main(int argc, char **argv)
{
    int kind = argc > 1 && strcmp(argv[1], "process") == 0 ? PLAIT_PROCESS : PLAIT_THREAD;
    plait_function *function[] = {waits, sleeps, computes};
    const char *name[] = {"waiter", "sleeper", "computer"};
    plait_worker worker[3];
    plait_blame end;

    check("plait_init", plait_init(&argc, &argv));
    struct desk *desk = plait_alloc(sizeof *desk);
    check("plait_alloc", desk ? 0 : plait_last_error());
    for (int i = 0; i < 3; i++) {
        plait_options options = {.name = name[i]};
        check("plait_start", plait_start(&worker[i], kind, function[i], desk, &options));
    }
    check("a rest", plait_join(worker[0], NULL, plait_ms(20)) == PLAIT_ETIMEDOUT ? 0 : 1);

    for (int i = 0; i < 3; i++)
        check("plait_cancel", plait_cancel(worker[i]));
    for (int i = 0; i < 3; i++) {
        check("plait_join", plait_join(worker[i], &end, PLAIT_FOREVER));
        printf("%s: returned %s\n", end.name, plait_errname(end.status));
    }
    printf("%d have tidied up\n", desk->tidied);
    return 0;
}
