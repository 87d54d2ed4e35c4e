/* Starvation: a greedy worker takes a lock again as soon as it has let it go; the patient one waits.
 *
 * Try:  18_starvation thread
 *       18_starvation process
 *       18_starvation process numbers
 *
 * A free lock goes to whoever comes first, and the greedy one is there already while the patient one
 * still wakes up. That is the faster way, and plait bounds it: who has waited for 1 ms is served next, so
 * nobody starves. With the option `fair` the one who waits is always served first. The numbers show how
 * often it was passed, and the longest wait; they differ from run to run. */
#include <plait/plait.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROUNDS = 20 };

struct shop {
    plait_lock lock;
    bool served; /* under the lock */
};

static int wait_patiently(void *arg)
{
    struct shop *s = arg;
    PLAIT_WITH(&s->lock)
        s->served = true;
    return 0;
}

static void check(const char *what, int rc)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, plait_strerror(rc));
    _Exit(1); /* exit would wait for the workers */
}

/* Takes and gives until the other one has been served: how often it was passed. */
static int be_greedy(struct shop *s)
{
    for (int turns = 0;; turns++) {
        check("plait_lock_release", plait_lock_release(&s->lock));
        check("plait_lock_acquire", plait_lock_acquire(&s->lock, PLAIT_FOREVER));
        if (s->served)
            return turns;
    }
}

/* One round: the patient one is asleep on the lock before the greedy one begins. */
static int play(struct shop *s, int kind, int64_t *longest)
{
    plait_worker patient;
    s->served = false;
    check("plait_lock_acquire", plait_lock_acquire(&s->lock, PLAIT_FOREVER));
    check("plait_start", plait_start(&patient, kind, wait_patiently, s, NULL));
    while (plait_state(patient) != PLAIT_STATE_BLOCKED)
        usleep(50);
    int64_t start = plait_now();
    int passed = be_greedy(s);
    int64_t took = plait_now() - start;
    *longest = took > *longest ? took : *longest;
    check("plait_lock_release", plait_lock_release(&s->lock));
    check("plait_join", plait_join(patient, NULL, PLAIT_FOREVER));
    return passed;
}

static void show(struct shop *s, int kind, bool fair, bool numbers)
{
    int first = 0, most = 0;
    int64_t longest = 0;
    check("plait_lock_init", plait_lock_init(&s->lock, &(plait_lock_options){.fair = fair}));
    for (int i = 0; i < ROUNDS; i++) {
        int passed = play(s, kind, &longest);
        first += passed == 0;
        most = passed > most ? passed : most;
    }
    if (fair)
        printf("fair: who waited was served first in %d of %d rounds\n", first, ROUNDS);
    else
        printf("first come: who waited was served in the end in %d rounds\n", ROUNDS);
    if (numbers)
        printf("  passed %d times at worst, longest wait %.3f ms\n", most, (double)longest / 1e6);
}

int main(int argc, char **argv)
{
    int kind = argc > 1 && strcmp(argv[1], "process") == 0 ? PLAIT_PROCESS : PLAIT_THREAD;
    bool numbers = argc > 2 && strcmp(argv[2], "numbers") == 0;

    check("plait_init", plait_init(&argc, &argv));
    struct shop *s = plait_alloc(sizeof *s);
    check("plait_alloc", s ? 0 : plait_last_error());
    show(s, kind, false, numbers);
    show(s, kind, true, numbers);
    return 0;
}
