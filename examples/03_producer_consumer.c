/* Conditions: producers that are processes, consumers that are threads, a ring of 16 places between.
 *
 * Try:  03_producer_consumer thread
 *       03_producer_consumer task      consumers that are tasks of main's thread
 *
 * A full ring makes producers wait, an empty one consumers; each wait names what it waits for. Both
 * conditions go with the one lock of the ring. Everything lies in the arena, so it does not matter
 * that half of the workers live in processes of their own. */
#include <plait/plait.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PLACES = 16, PRODUCERS = 2, CONSUMERS = 2, EACH = 1000, END = 0 };

struct ring {
    plait_lock lock;
    plait_condition filled, emptied;
    int place[PLACES];
    unsigned put, got; /* so far; put - got are in the ring */
    long received, sum;
};

static int put(struct ring *r, int value)
{
    PLAIT_WITH(&r->lock) {
        while (r->put - r->got == PLACES) {
            int rc = plait_condition_wait(&r->emptied, PLAIT_FOREVER);
            if (rc < 0)
                return rc;
        }
        r->place[r->put++ % PLACES] = value;
        return plait_condition_notify(&r->filled, 1);
    }
    return PLAIT_ECANCELED; /* asked to stop before the lock was ours */
}

static int get(struct ring *r, int *ret)
{
    PLAIT_WITH(&r->lock) {
        while (r->put == r->got) {
            int rc = plait_condition_wait(&r->filled, PLAIT_FOREVER);
            if (rc < 0)
                return rc;
        }
        *ret = r->place[r->got++ % PLACES];
        r->received += *ret != END;
        r->sum += *ret;
        return plait_condition_notify(&r->emptied, 1);
    }
    return PLAIT_ECANCELED;
}

static int produce(void *ring)
{
    int rc = 0;
    for (int i = 1; rc >= 0 && i <= EACH; i++)
        rc = put(ring, i);
    return rc < 0 ? rc : 0;
}

static int consume(void *ring)
{
    int rc, value;
    do
        rc = get(ring, &value);
    while (rc >= 0 && value != END);
    return rc < 0 ? rc : 0;
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
    int kind = argc > 1 && strcmp(argv[1], "task") == 0 ? PLAIT_TASK : PLAIT_THREAD;
    plait_worker producer[PRODUCERS], consumer[CONSUMERS];
    check("plait_init", plait_init(&argc, &argv));
    struct ring *r = plait_alloc(sizeof *r);
    check("plait_alloc", r ? 0 : plait_last_error());
    check("filled", plait_condition_init(&r->filled, &r->lock));
    check("emptied", plait_condition_init(&r->emptied, &r->lock));

    for (int i = 0; i < PRODUCERS; i++)
        check("producer", plait_start(&producer[i], PLAIT_PROCESS, produce, r, NULL));
    for (int i = 0; i < CONSUMERS; i++)
        check("consumer", plait_start(&consumer[i], kind, consume, r, NULL));

    for (int i = 0; i < PRODUCERS; i++)
        check("producer", plait_join(producer[i], NULL, PLAIT_FOREVER));
    for (int i = 0; i < CONSUMERS; i++) {
        int rc = put(r, END);
        check("the end", rc < 0 ? rc : 0);
    }
    for (int i = 0; i < CONSUMERS; i++)
        check("consumer", plait_join(consumer[i], NULL, PLAIT_FOREVER));

    printf("%d processes sent %d numbers each\n", PRODUCERS, EACH);
    printf("%d consumers received %ld numbers, their sum is %ld\n", CONSUMERS, r->received, r->sum);
    return 0;
}
