/* Death: a process is killed (kill -9) while it holds a lock, in the middle of a change.
 *
 * Try:  06_worker_dies
 *
 * Nobody hangs: the next one gets the lock, with the notice PLAIT_OWNER_DIED. It means: check your
 * data. So the clerk notes what he is about to do before he does it, and who comes after him can
 * undo it. plait_lock_blame and plait_join say who died, and of what. */
#include <plait/plait.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bank {
    plait_lock lock;
    long a, b;
    long noted_a, noted_b; /* as they were before the transfer in progress */
    bool in_progress;
    plait_event halfway, never;
};

/* Takes 10 from a and, were he not killed in between, gives them to b. */
static int clerk(void *arg)
{
    struct bank *bank = arg;
    PLAIT_WITH(&bank->lock) {
        bank->noted_a = bank->a;
        bank->noted_b = bank->b;
        bank->in_progress = true;
        bank->a -= 10;
        plait_event_set(&bank->halfway);
        plait_event_wait(&bank->never, PLAIT_FOREVER);
        bank->b += 10;
        bank->in_progress = false;
    }
    return 0;
}

static void undo(struct bank *bank)
{
    if (!bank->in_progress)
        return;
    bank->a = bank->noted_a;
    bank->b = bank->noted_b;
    bank->in_progress = false;
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
    plait_worker worker;
    plait_blame blame;

    check("plait_init", plait_init(&argc, &argv));
    struct bank *bank = plait_alloc(sizeof *bank);
    check("plait_alloc", bank ? 0 : plait_last_error());
    bank->a = 60;
    bank->b = 40;

    plait_options options = {.name = "clerk"};
    check("plait_start", plait_start(&worker, PLAIT_PROCESS, clerk, bank, &options));
    check("plait_event_wait", plait_event_wait(&bank->halfway, PLAIT_FOREVER));
    printf("halfway: %ld + %ld\n", bank->a, bank->b);
    check("plait_kill", plait_kill(worker));

    int rc = plait_lock_acquire(&bank->lock, PLAIT_FOREVER);
    check("plait_lock_acquire", rc);
    printf("the lock is ours: %s\n", plait_errname(rc));
    check("plait_lock_blame", plait_lock_blame(&bank->lock, &blame));
    printf("held by the %s, who died of signal %d (%s)\n", blame.name, blame.signal,
           strsignal(blame.signal));
    undo(bank);
    printf("undone: %ld + %ld\n", bank->a, bank->b);
    check("plait_lock_release", plait_lock_release(&bank->lock));

    rc = plait_join(worker, &blame, PLAIT_FOREVER);
    check("plait_join", rc);
    printf("joined: %s, status %d\n", plait_errname(rc), blame.status);
    return 0;
}
