/* Priority inversion, and plait_pi_lock, which cures it: three real-time threads on one processor.
 *
 * Try:  17_priority_inversion          (as root, or with CAP_SYS_NICE; else it says so, status 77)
 *       17_priority_inversion times    how long the high one waited
 *
 * The low one holds a lock; the high one wants it; the middle one wants neither, only the processor.
 * With a plain lock the middle one keeps the low one from running, and so the high one from getting the lock. With
 * the inheriting one, the low one runs as high as the one that waits for it until it lets go. */
#include <plait/plait.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LOW = 1, MIDDLE = 2, HIGH = 3, LOW_MS = 5, MIDDLE_MS = 50 };

struct scene {
    bool inherit;
    plait_lock plain;
    plait_pi_lock inheriting;
    plait_semaphore middle_go, high_go;
    bool middle_done, high_came_last;
    int64_t waited;
};

static int acquire(struct scene *s)
{
    return s->inherit ? plait_pi_lock_acquire(&s->inheriting, PLAIT_FOREVER)
                      : plait_lock_acquire(&s->plain, PLAIT_FOREVER);
}

static int release(struct scene *s)
{
    return s->inherit ? plait_pi_lock_release(&s->inheriting) : plait_lock_release(&s->plain);
}

static bool set_priority(int priority)
{
    struct sched_param param = {.sched_priority = priority};
    return sched_setscheduler(0, priority ? SCHED_FIFO : SCHED_OTHER, &param) == 0;
}

/* Uses the processor for so long. */
static void work(int ms)
{
    struct timespec now;
    do
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    while (now.tv_sec * 1000 + now.tv_nsec / 1000000 < ms);
}

static int low(void *arg)
{
    struct scene *s = arg;
    set_priority(LOW);
    acquire(s);
    plait_semaphore_release(&s->high_go, 1);   /* it runs at once, until it has to wait for us */
    plait_semaphore_release(&s->middle_go, 1); /* it runs at once, if it is above us */
    work(LOW_MS);
    return release(s);
}

static int middle(void *arg)
{
    struct scene *s = arg;
    set_priority(MIDDLE);
    plait_semaphore_acquire(&s->middle_go, PLAIT_FOREVER);
    work(MIDDLE_MS);
    s->middle_done = true;
    return 0;
}

static int high(void *arg)
{
    struct scene *s = arg;
    set_priority(HIGH);
    plait_semaphore_acquire(&s->high_go, PLAIT_FOREVER);
    int64_t start = plait_now();
    acquire(s);
    s->waited = plait_now() - start;
    s->high_came_last = s->middle_done;
    return release(s);
}

static void check(const char *what, int rc)
{
    if (rc == 0)
        return;
    fprintf(stderr, "%s: %s\n", what, plait_strerror(rc));
    _Exit(1); /* exit would wait for the workers */
}

static plait_worker start(plait_function *fn, struct scene *s, bool until_it_waits)
{
    plait_worker worker;
    check("plait_start", plait_start(&worker, PLAIT_THREAD, fn, s, NULL));
    while (until_it_waits && plait_state(worker) != PLAIT_STATE_BLOCKED)
        usleep(1000);
    return worker;
}

static void play(const char *lock, bool inherit, bool times)
{
    struct scene s = {.inherit = inherit};
    plait_worker workers[] = {start(middle, &s, true), start(high, &s, true),
                              start(low, &s, false)};
    for (int i = 0; i < 3; i++)
        check("plait_join", plait_join(workers[i], NULL, PLAIT_FOREVER));
    printf("%s: the high one gets it %s the middle one is done\n", lock,
           s.high_came_last ? "after" : "before");
    if (times)
        printf("    it waited %.1f ms\n", (double)s.waited / 1e6);
}

/* All threads share one processor: the first that this program may use. */
static void stay_on_one_processor(void)
{
    cpu_set_t all, one;
    sched_getaffinity(0, sizeof all, &all);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &all))
            CPU_SET(i, &one);
    sched_setaffinity(0, sizeof one, &one);
}

int main(int argc, char **argv)
{
    bool times = argc > 1 && strcmp(argv[1], "times") == 0;
    if (!set_priority(LOW) || !set_priority(0)) {
        printf("this needs the right to set real-time priorities (root, CAP_SYS_NICE)\n");
        return 77;
    }
    stay_on_one_processor();
    check("plait_init", plait_init(&argc, &argv));
    play("plain lock", false, times);
    play("inheriting lock", true, times);
    return 0;
}
