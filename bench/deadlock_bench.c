/* What looking for deadlocks costs, and how long one lasts. There is no peer: none looks.
 *
 * deadlock_check/n: one look at the end of a nap, as pl_park does it, by a worker at whose end of a chain n
 *   others wait, each for the next one's rlock; the last one holds his and waits for nobody. Who is
 *   blocked pays it once per nap: after 20 ms, 60 ms, ... then once a second.
 * deadlock_ring/n: n workers, each with an rlock, ask for the next one's; ns from the call that closes the
 *   ring until one of them has got PLAIT_EDEADLK, the report included; the median of the run. By
 *   design a worker is blocked for 20 ms before it looks.
 * deadlock_undone/n: until the last of them has got both rlocks, or has given way.
 *
 * The first is inside the library, so this program is linked with the static one. */
#include "harness.h"

#include <plait/plait.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "park/park.h"

enum { RESTS = 1000 * 1000, RING_COSTS = 25 * 1000 * 1000, LEAST = 5, MOST_ROUNDS = 256 };

static void rest(void)
{
    nanosleep(&(struct timespec){0, RESTS}, NULL);
}

static void ignore(const char *text, void *unused)
{
    (void)text, (void)unused;
}

static void acquire(plait_rlock *rlock)
{
    bench_check(plait_rlock_acquire(rlock, PLAIT_FOREVER) == 0, "not acquired");
}

/* --- a chain --- */

struct link {
    plait_rlock own;
    struct link *next; /* whose rlock is waited for; constant; NULL: the end */
    plait_worker worker;
    int holds; /* atomic; 1 once it has its own */
};

static void *be_link(void *arg)
{
    struct link *link = arg;
    link->worker = plait_self();
    acquire(&link->own);
    __atomic_store_n(&link->holds, 1, __ATOMIC_RELEASE);
    while (!link->next)
        pause();
    acquire(&link->next->own);
    return NULL;
}

static void start_link(struct link *link, struct link *next, bool ends)
{
    pthread_t thread;
    link->next = next;
    bench_check(pthread_create(&thread, NULL, be_link, link) == 0, "no thread");
    pthread_detach(thread);
    while (!__atomic_load_n(&link->holds, __ATOMIC_ACQUIRE))
        rest();
    while (!ends && plait_state(link->worker) != PLAIT_STATE_BLOCKED)
        rest();
}

/* The first of n + 1 links: n wait. */
static struct link *make_chain(int n)
{
    struct link *links = bench_private(sizeof *links * (size_t)(n + 1));
    start_link(&links[n], NULL, true);
    for (int i = n - 1; i >= 0; i--)
        start_link(&links[i], &links[i + 1], false);
    return links;
}

static int64_t check_loop(void *arg, long n)
{
    struct link *first = arg;
    struct pl_wait wait;
    bench_check(pl_wait_begin(&wait, PL_WAIT_RLOCK, PLAIT_FOREVER) == 0, "no wait");
    wait.unheld = 0;
    wait.naps = 1;
    wait.began = plait_now();
    pl_wait_show(&first->own.lock_.word_, &wait, wait.began);
    int64_t start = bench_now();
    for (long i = 0; i < n; i++)
        bench_check(pl_deadlock_check(&wait) == 0, "a deadlock where none is");
    int64_t took = bench_now() - start;
    pl_wait_hide();
    return took;
}

static double check(const struct bench_subject *self)
{
    plait_self();
    return bench_per_operation(check_loop, make_chain((int)self->x));
}

/* --- a ring --- */

struct ring {
    int n;
    bool until_undone;
    plait_rlock *rlocks;
    pthread_barrier_t meet;
    long rounds; /* the first is for warming up */
    int64_t closed;
    int64_t ended[8], gave_way[8]; /* when each got what it asked for; PLAIT_EDEADLK; 0: not */
    int64_t took[MOST_ROUNDS];
};

/* Asks for the next one's rlock; the first worker comes last and closes the ring. */
static void ask(struct ring *ring, int which)
{
    if (which == 0) {
        for (int i = 0; i < 2 * ring->n; i++)
            rest();
        ring->closed = bench_now();
    }
    plait_rlock *next = &ring->rlocks[(which + 1) % ring->n];
    int rc = plait_rlock_acquire(next, PLAIT_FOREVER);
    bench_check(rc == 0 || rc == PLAIT_EDEADLK, "not acquired");
    ring->ended[which] = bench_now();
    ring->gave_way[which] = rc == 0 ? 0 : ring->ended[which];
    if (rc == 0)
        plait_rlock_release(next);
}

static int64_t judge(const struct ring *ring)
{
    int64_t found = 0, last = 0;
    for (int i = 0; i < ring->n; i++) {
        bench_check(!ring->gave_way[i] || !found, "two gave way");
        found = ring->gave_way[i] ? ring->gave_way[i] : found;
        last = ring->ended[i] > last ? ring->ended[i] : last;
    }
    bench_check(found != 0, "nobody gave way");
    return (ring->until_undone ? last : found) - ring->closed;
}

static void be_member(void *arg, int which)
{
    struct ring *ring = arg;
    for (long i = 0; i < ring->rounds; i++) {
        acquire(&ring->rlocks[which]);
        pthread_barrier_wait(&ring->meet);
        ask(ring, which);
        plait_rlock_release(&ring->rlocks[which]);
        pthread_barrier_wait(&ring->meet);
        if (which == 0)
            ring->took[i] = judge(ring);
    }
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static double in_ring(const struct bench_subject *self, bool processes, bool until_undone)
{
    struct ring *ring = bench_shared(sizeof *ring);
    pthread_barrierattr_t attr;
    long n = (long)(bench_budget() / RING_COSTS);
    ring->rounds = 1 + (n < LEAST ? LEAST : n > MOST_ROUNDS - 1 ? MOST_ROUNDS - 1 : n);
    ring->n = (int)self->x;
    ring->until_undone = until_undone;
    ring->rlocks = plait_alloc(sizeof *ring->rlocks * (size_t)ring->n);
    bench_check(ring->rlocks, "no rlocks");
    pthread_barrierattr_init(&attr);
    pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&ring->meet, &attr, (unsigned)ring->n);
    plait_set_log(ignore, NULL);
    bench_together(ring->n, processes, be_member, ring);
    qsort(ring->took + 1, (size_t)(ring->rounds - 1), sizeof *ring->took, compare);
    return (double)ring->took[1 + (ring->rounds - 1) / 2];
}

static double ring_of_threads(const struct bench_subject *self)
{
    return in_ring(self, false, false);
}

static double ring_of_processes(const struct bench_subject *self)
{
    return in_ring(self, true, false);
}

static double undone_threads(const struct bench_subject *self)
{
    return in_ring(self, false, true);
}

static double undone_processes(const struct bench_subject *self)
{
    return in_ring(self, true, true);
}

static const struct bench_subject table[] = {
    BENCH_SUBJECT("deadlock_check/1", "plait", check, NULL, 1),
    BENCH_SUBJECT("deadlock_check/4", "plait", check, NULL, 4),
    BENCH_SUBJECT("deadlock_check/16", "plait", check, NULL, 16),
    BENCH_SUBJECT("deadlock_ring/2", "plait threads", ring_of_threads, NULL, 2),
    BENCH_SUBJECT("deadlock_ring/3", "plait threads", ring_of_threads, NULL, 3),
    BENCH_SUBJECT("deadlock_ring/2", "plait processes", ring_of_processes, NULL, 2),
    BENCH_SUBJECT("deadlock_ring/3", "plait processes", ring_of_processes, NULL, 3),
    BENCH_SUBJECT("deadlock_undone/2", "plait threads", undone_threads, NULL, 2),
    BENCH_SUBJECT("deadlock_undone/3", "plait threads", undone_threads, NULL, 3),
    BENCH_SUBJECT("deadlock_undone/2", "plait processes", undone_processes, NULL, 2),
    BENCH_SUBJECT("deadlock_undone/3", "plait processes", undone_processes, NULL, 3),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
