/* A deadlock of three workers in a ring: found and named; then prevented, avoided and undone.
 *
 * Try:  15_deadlock thread
 *       15_deadlock process
 *       15_deadlock task
 *       15_deadlock mixed
 *
 * Three philosophers sit at a round table, with a fork between any two of them; each needs both of his. If all take
 * the left one first, all wait for the right one for ever. plait finds out, says so on standard
 * error, and lets one of the three waits fail. Better than that: take the forks in one order for
 * all (prevention), let a bank lend them (avoidance), or give back what one has and try again. */
#include <plait/plait.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEATS = 3, MEALS = 100 };

struct table {
    plait_rlock forks[SEATS];
    plait_bank bank; /* lends the forks, each as a kind of its own */
    plait_barrier all_have_left;
    int failed, eaten;
    int64_t since, found;
    struct seat {
        struct table *table;
        int number;
    } seats[SEATS];
};

static void check(const char *what, int rc)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, plait_strerror(rc));
    _Exit(1);
}

static void count(int *n)
{
    __atomic_fetch_add(n, 1, __ATOMIC_SEQ_CST);
}

static plait_rlock *left(struct seat *s)
{
    return &s->table->forks[s->number];
}

static plait_rlock *right(struct seat *s)
{
    return &s->table->forks[(s->number + 1) % SEATS];
}

/* All take the left one, and only then the right one. */
static int dine_in_a_ring(void *arg)
{
    struct seat *s = arg;
    check("plait_rlock_acquire", plait_rlock_acquire(left(s), PLAIT_FOREVER));
    check("plait_barrier_wait", plait_barrier_wait(&s->table->all_have_left, PLAIT_FOREVER));
    s->table->since = plait_now();
    int rc = plait_rlock_acquire(right(s), PLAIT_FOREVER);
    if (rc == PLAIT_EDEADLK) {
        s->table->found = plait_now();
        count(&s->table->failed);
    } else {
        check("plait_rlock_acquire", rc);
        count(&s->table->eaten);
        plait_rlock_release(right(s));
    }
    return plait_rlock_release(left(s));
}

static int dine_in_order(void *arg)
{
    struct seat *s = arg;
    plait_rlock *low = left(s) < right(s) ? left(s) : right(s);
    plait_rlock *high = left(s) < right(s) ? right(s) : left(s);
    for (int i = 0; i < MEALS; i++)
        PLAIT_WITH(low)
            PLAIT_WITH(high)
                count(&s->table->eaten);
    return 0;
}

/* One fork after the other, each from the bank: it lends none that could lead into a ring. */
static int dine_by_the_bank(void *arg)
{
    struct seat *s = arg;
    int both[SEATS] = {0}, first[SEATS] = {0}, second[SEATS] = {0};
    first[s->number] = second[(s->number + 1) % SEATS] = 1;
    both[s->number] = both[(s->number + 1) % SEATS] = 1;
    check("plait_bank_declare", plait_bank_declare(&s->table->bank, both));
    for (int i = 0; i < MEALS; i++) {
        check("plait_bank_acquire", plait_bank_acquire(&s->table->bank, first, PLAIT_FOREVER));
        check("plait_bank_acquire", plait_bank_acquire(&s->table->bank, second, PLAIT_FOREVER));
        count(&s->table->eaten);
        check("plait_bank_release", plait_bank_release(&s->table->bank, both));
    }
    return plait_bank_leave(&s->table->bank);
}

/* Gives the left one back if the right one does not come soon; each has another patience. */
static int dine_with_patience(void *arg)
{
    struct seat *s = arg;
    for (int meals = 0; meals < MEALS;) {
        check("plait_rlock_acquire", plait_rlock_acquire(left(s), PLAIT_FOREVER));
        if (plait_rlock_acquire(right(s), plait_ms(1 + s->number)) == 0) {
            meals++;
            count(&s->table->eaten);
            plait_rlock_release(right(s));
        }
        plait_rlock_release(left(s));
    }
    return 0;
}

static void dine(struct table *t, const int *kinds, plait_function *fn)
{
    plait_worker workers[SEATS];
    t->eaten = t->failed = 0;
    for (int i = 0; i < SEATS; i++) {
        char name[16];
        snprintf(name, sizeof name, "seat %d", i);
        check("plait_start", plait_start(&workers[i], kinds[i % 2], fn, &t->seats[i],
                                         &(plait_options){.name = name}));
    }
    for (int i = 0; i < SEATS; i++)
        check("plait_join", plait_join(workers[i], NULL, PLAIT_FOREVER));
}

static int kind_named(const char *name)
{
    return strcmp(name, "process") == 0 ? PLAIT_PROCESS
           : strcmp(name, "task") == 0  ? PLAIT_TASK
                                        : PLAIT_THREAD;
}

int main(int argc, char **argv)
{
    const char *wish = argc > 1 ? argv[1] : "thread";
    const int kinds[2] = {kind_named(strcmp(wish, "mixed") == 0 ? "process" : wish),
                          kind_named(strcmp(wish, "mixed") == 0 ? "thread" : wish)};
    check("plait_init", plait_init(&argc, &argv));
    struct table *t = plait_alloc(sizeof *t);
    check("plait_alloc", t ? 0 : plait_last_error());
    for (int i = 0; i < SEATS; i++) {
        static const char *const names[SEATS] = {"fork 0", "fork 1", "fork 2"};
        t->seats[i] = (struct seat){t, i};
        check("plait_label", plait_label(&t->forks[i], names[i]));
    }
    check("plait_barrier_init", plait_barrier_init(&t->all_have_left, SEATS, NULL));
    check("plait_bank_init", plait_bank_init(&t->bank, (int[]){1, 1, 1}, SEATS));

    dine(t, kinds, dine_in_a_ring);
    fprintf(stderr, "(found after %.1f ms)\n", (double)(t->found - t->since) / 1e6);
    printf("a ring: %d gets PLAIT_EDEADLK, the other %d eat\n", t->failed, t->eaten);
    dine(t, kinds, dine_in_order);
    printf("prevented, in one order for all: %d meals\n", t->eaten);
    dine(t, kinds, dine_by_the_bank);
    printf("avoided, by the bank: %d meals\n", t->eaten);
    dine(t, kinds, dine_with_patience);
    printf("undone, by patience: %d meals\n", t->eaten);
    return 0;
}
