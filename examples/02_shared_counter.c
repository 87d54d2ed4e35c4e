/* A lock: eight workers add to one sum, first without it, then with it.
 *
 * Try:  02_shared_counter thread
 *       02_shared_counter process
 *       02_shared_counter task
 *
 * The lock is a part of what it guards and lies in the arena with it, so it serves threads,
 * processes and tasks alike. Without it two workers read the same sum, and one of the two additions is lost:
 * of tasks too, for they take turns where one waits, here in the middle of an addition. */
#include <plait/plait.h>
#include <stdio.h>
#include <string.h>

enum { WORKERS = 8, ROUNDS = 25 };

struct tally {
    plait_lock lock; /* all bytes zero: free */
    bool use_lock;
    long sum;
};

/* Reads, dawdles, writes. (Atomic accesses, so that the mistake is only the one to be shown.) */
static void add_one(struct tally *t)
{
    long seen = __atomic_load_n(&t->sum, __ATOMIC_RELAXED);
    plait_sleep(plait_ms(1));
    __atomic_store_n(&t->sum, seen + 1, __ATOMIC_RELAXED);
}

static int add(void *arg)
{
    struct tally *t = arg;
    for (int i = 0; i < ROUNDS; i++) {
        if (!t->use_lock)
            add_one(t);
        else
            PLAIT_WITH(&t->lock) /* released on every way out, break and return included */
                add_one(t);
    }
    return 0;
}

/* 0, or the first error. All that were started are joined. */
static int add_together(int kind, struct tally *t)
{
    plait_worker worker[WORKERS];
    int started = 0, rc = 0;
    for (; rc == 0 && started < WORKERS; started += rc == 0)
        rc = plait_start(&worker[started], kind, add, t, &(plait_options){.name = "adder"});
    for (int i = 0; i < started; i++) {
        int joined = plait_join(worker[i], NULL, PLAIT_FOREVER);
        rc = rc == 0 ? joined : rc;
    }
    return rc;
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
    int rc = plait_init(&argc, &argv);
    struct tally *t = rc < 0 ? NULL : plait_alloc(sizeof *t); /* zeroed */
    rc = rc < 0 ? rc : t ? add_together(kind, t) : plait_last_error();
    if (rc == 0) {
        printf("without the lock: %s\n",
               t->sum < WORKERS * ROUNDS ? "additions were lost" : "luck");
        t->sum = 0;
        t->use_lock = true;
        rc = add_together(kind, t);
    }
    if (rc != 0) {
        fprintf(stderr, "02_shared_counter: %s\n", plait_strerror(rc));
        return 1;
    }
    printf("with the lock: %d workers, %d additions each: %ld\n", WORKERS, ROUNDS, t->sum);
    return 0;
}
