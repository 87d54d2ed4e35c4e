/* nsync beside plait: nsync_mu as a lock and as an rwlock, nsync_cv, nsync_once, and nsync_counter, which is a
 * latch. None of them is for several processes. Needs: libnsync-dev */
#include "lock_shape.h"
#include "meet_shape.h"
#include "notify_shape.h"
#include "once_shape.h"
#include "round_trip.h"
#include "rwlock_shape.h"

#include <nsync.h>

/* --- lock, rwlock --- */

static void *make(bool shared)
{
    (void)shared; /* it cannot be */
    nsync_mu *mu = bench_private(sizeof *mu);
    nsync_mu_init(mu);
    return mu;
}

static void acquire(void *mu)
{
    nsync_mu_lock(mu);
}

static void release(void *mu)
{
    nsync_mu_unlock(mu);
}

static void acquire_read(void *mu)
{
    nsync_mu_rlock(mu);
}

static void release_read(void *mu)
{
    nsync_mu_runlock(mu);
}

LOCK_KIND(locks, make, acquire, release)
RWLOCK_KIND(rwlocks, make, acquire_read, release_read, acquire, release)

/* --- condition: a bell --- */

struct bell {
    nsync_mu mu;
    nsync_cv changed;
    bool rung;
};

static void *make_bell(bool shared)
{
    (void)shared;
    return bench_private(sizeof(struct bell)); /* all zero is ready */
}

static void ring(void *arg)
{
    struct bell *bell = arg;
    nsync_mu_lock(&bell->mu);
    bell->rung = true;
    nsync_cv_signal(&bell->changed);
    nsync_mu_unlock(&bell->mu);
}

static void await(void *arg)
{
    struct bell *bell = arg;
    nsync_mu_lock(&bell->mu);
    while (!bell->rung)
        nsync_cv_wait(&bell->changed, &bell->mu);
    bell->rung = false;
    nsync_mu_unlock(&bell->mu);
}

TRIP_KIND(bells, make_bell, ring, await)

/* --- condition: many waiters --- */

struct place {
    nsync_mu mu; /* first, so that it is acquired like a lock */
    nsync_cv called, answered;
};

static void *make_place(bool shared)
{
    (void)shared;
    return bench_private(sizeof(struct place));
}

static void call_all(void *arg)
{
    struct place *place = arg;
    nsync_cv_broadcast(&place->called);
}

static void await_call(void *arg)
{
    struct place *place = arg;
    nsync_cv_wait(&place->called, &place->mu);
}

static void answer(void *arg)
{
    struct place *place = arg;
    nsync_cv_signal(&place->answered);
}

static void await_answer(void *arg)
{
    struct place *place = arg;
    nsync_cv_wait(&place->answered, &place->mu);
}

NOTIFY_KIND(many, make_place, acquire, release, call_all, await_call, answer, await_answer)

/* --- once --- */

static void nothing(void)
{
}

static void call(void *once)
{
    nsync_run_once(once, nothing);
}

static void *make_once(bool shared)
{
    (void)shared;
    void *once = bench_private(sizeof(nsync_once));
    call(once);
    return once;
}

ONCE_KIND(onces, make_once, call)

/* --- latch: a counter opens once; there are four, used in turn, over all runs --- */

enum { LATCHES = 4, WORKERS_MOST = 8 };

struct latches {
    int workers;
    char apart[124];
    struct {
        long met; /* meetings of this worker */
        char apart[120];
    } by[WORKERS_MOST];
    nsync_counter at[LATCHES];
};

static void *make_latches(bool shared, int workers)
{
    (void)shared;
    struct latches *place = bench_private(sizeof *place);
    place->workers = workers;
    for (int i = 0; i < LATCHES; i++)
        place->at[i] = nsync_counter_new((uint32_t)workers);
    return place;
}

/* The first worker replaces the one that all have left, which is that of two meetings ago. */
static void meet(void *arg, int which, long i)
{
    struct latches *place = arg;
    (void)i;
    long turn = place->by[which].met++;
    nsync_counter latch = place->at[turn % LATCHES];
    nsync_counter_add(latch, -1);
    nsync_counter_wait(latch, nsync_time_no_deadline);
    if (which != 0)
        return;
    nsync_counter_free(place->at[(turn + 2) % LATCHES]);
    place->at[(turn + 2) % LATCHES] = nsync_counter_new((uint32_t)place->workers);
}

MEET_KIND(latches, make_latches, meet)

static const struct bench_subject table[] = {
    LOCK_PRIVATE_CASES("lock", "nsync", locks),
    LOCK_CURVE("lock", "nsync", locks),
    RWLOCK_PRIVATE_CASES("nsync", rwlocks),
    TRIP_THREAD_CASES("condition", "nsync", bells, false),
    NOTIFY_THREAD_CASES("condition", "nsync", many),
    BENCH_SUBJECT("once_done", "nsync", once_done, &onces, 0),
    MEET_THREAD_CASES("latch", "nsync counter", latches),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
