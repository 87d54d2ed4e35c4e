/* An event: all wait, one sets it, all go. And a wait with a timeout.
 *
 * Try:  05_event_start_gun thread
 *       05_event_start_gun process
 *       05_event_start_gun task
 *
 * The semaphore counts who is at the line; a semaphore of zero bytes has no permits yet. */
#include <plait/plait.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RUNNERS = 5 };

struct race {
    plait_event gun;
    plait_semaphore at_the_line;
    plait_lock lock;
    int started, too_early;
};

static int run(void *arg)
{
    struct race *race = arg;
    int rc = plait_semaphore_release(&race->at_the_line, 1);
    if (rc == 0)
        rc = plait_event_wait(&race->gun, PLAIT_FOREVER);
    if (rc < 0)
        return rc;
    PLAIT_WITH(&race->lock) {
        race->started++;
        race->too_early += !plait_event_is_set(&race->gun);
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

static int kind_named(const char *name)
{
    return strcmp(name, "process") == 0 ? PLAIT_PROCESS
           : strcmp(name, "task") == 0  ? PLAIT_TASK
                                        : PLAIT_THREAD;
}

int main(int argc, char **argv)
{
    int kind = kind_named(argc > 1 ? argv[1] : "thread");
    plait_worker runner[RUNNERS];

    check("plait_init", plait_init(&argc, &argv));
    struct race *race = plait_alloc(sizeof *race);
    check("plait_alloc", race ? 0 : plait_last_error());

    for (int i = 0; i < RUNNERS; i++)
        check("plait_start", plait_start(&runner[i], kind, run, race, NULL));
    for (int i = 0; i < RUNNERS; i++)
        check("at the line", plait_semaphore_acquire(&race->at_the_line, PLAIT_FOREVER));
    int rc = plait_event_wait(&race->gun, plait_ms(20));
    printf("%d at the line; 20 ms later: %s, %d started\n", RUNNERS, plait_errname(rc),
           race->started);

    check("plait_event_set", plait_event_set(&race->gun));
    for (int i = 0; i < RUNNERS; i++)
        check("plait_join", plait_join(runner[i], NULL, PLAIT_FOREVER));
    printf("the gun: %d started, %d of them too early\n", race->started, race->too_early);
    return 0;
}
