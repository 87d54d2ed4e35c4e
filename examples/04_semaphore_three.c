/* A semaphore: ten workers, three permits, never more than three inside.
 *
 * Try:  04_semaphore_three thread
 *       04_semaphore_three process
 *       04_semaphore_three task
 *
 * The second 3 is a bound: a permit given back that nobody took is a mistake of the program, and is
 * refused. */
#include <plait/plait.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PERMITS = 3, WORKERS = 10 };

struct room {
    plait_semaphore permits;
    plait_lock lock; /* guards what follows */
    int inside, most, passed;
};

static int enter(void *arg)
{
    struct room *room = arg;
    PLAIT_WITH(&room->permits) {
        PLAIT_WITH(&room->lock) {
            room->inside++;
            room->most = room->inside > room->most ? room->inside : room->most;
        }
        plait_sleep(plait_ms(5));
        PLAIT_WITH(&room->lock) {
            room->inside--;
            room->passed++;
        }
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
    plait_worker worker[WORKERS];

    check("plait_init", plait_init(&argc, &argv));
    struct room *room = plait_alloc(sizeof *room);
    check("plait_alloc", room ? 0 : plait_last_error());
    check("plait_semaphore_init", plait_semaphore_init(&room->permits, PERMITS, PERMITS));

    for (int i = 0; i < WORKERS; i++)
        check("plait_start", plait_start(&worker[i], kind, enter, room, NULL));
    for (int i = 0; i < WORKERS; i++)
        check("plait_join", plait_join(worker[i], NULL, PLAIT_FOREVER));

    printf("%d workers passed, %s than %d inside\n", room->passed,
           room->most > PERMITS ? "more" : "never more", PERMITS);
    int rc = plait_semaphore_release(&room->permits, 1);
    printf("a fourth permit: %s, still %d\n", plait_errname(rc),
           plait_semaphore_value(&room->permits));
    return 0;
}
