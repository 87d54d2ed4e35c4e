/* An rlock: its holder takes it again, three deep; another worker that releases it is refused by name.
 *
 * Try:  12_rlock_three_deep thread
 *       12_rlock_three_deep process
 *       12_rlock_three_deep task
 *
 * Each function takes what it needs, and does not ask whether its caller has it already. With a plain
 * lock the second PLAIT_WITH would wait for its own caller. */
#include <plait/plait.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORKERS = 4, TRANSFERS = 500 };

struct bank {
    plait_rlock lock; /* all bytes zero: free; guards what follows */
    long cents[2];
    unsigned deepest;
};

static void note_depth(struct bank *b)
{
    PLAIT_WITH(&b->lock)
        if (plait_rlock_depth(&b->lock) > b->deepest)
            b->deepest = plait_rlock_depth(&b->lock);
}

static void deposit(struct bank *b, int account, long cents)
{
    PLAIT_WITH(&b->lock) {
        b->cents[account] += cents;
        note_depth(b);
    }
}

static int transfer(void *arg)
{
    struct bank *b = arg;
    for (int i = 0; i < TRANSFERS; i++)
        PLAIT_WITH(&b->lock) {
            deposit(b, 0, -1);
            deposit(b, 1, +1); /* nobody sees the sum without this cent */
        }
    return 0;
}

static int release_anothers(void *arg)
{
    struct bank *b = arg;
    return plait_rlock_release(&b->lock);
}

static void check(const char *what, int rc)
{
    if (rc >= 0)
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
    plait_worker worker[WORKERS], wrong;
    plait_blame end;

    check("plait_init", plait_init(&argc, &argv));
    struct bank *b = plait_alloc(sizeof *b);
    check("plait_alloc", b ? 0 : plait_last_error());
    for (int i = 0; i < WORKERS; i++)
        check("plait_start", plait_start(&worker[i], kind, transfer, b, NULL));
    for (int i = 0; i < WORKERS; i++)
        check("plait_join", plait_join(worker[i], NULL, PLAIT_FOREVER));
    printf("%ld and %ld cents, taken %u deep\n", b->cents[0], b->cents[1], b->deepest);

    PLAIT_WITH(&b->lock) {
        check("plait_start", plait_start(&wrong, kind, release_anothers, b, NULL));
        check("plait_join", plait_join(wrong, &end, PLAIT_FOREVER));
        printf("released by another worker: %s, still %u deep\n", plait_errname(end.status),
               plait_rlock_depth(&b->lock));
    }
    printf("released once too often: %s\n", plait_errname(plait_rlock_release(&b->lock)));
    return 0;
}
