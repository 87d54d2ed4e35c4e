/* plait_condition: a round trip between two workers, where each bell is a flag under a condition
 * with a lock of its own; and four waiters notified at once. See round_trip.h and notify_shape.h for what is
 * measured. Peers: peers/condition_pthread.c, nsync_cv, GCond, Go's sync.Cond, CPython. */
#include "notify_shape.h"
#include "round_trip.h"

#include <plait/plait.h>

struct bell {
    plait_condition changed;
    bool rung; /* under it */
};

static void *make(bool shared)
{
    struct bell *bell = shared ? plait_alloc(sizeof *bell) : bench_private(sizeof *bell);
    bench_check(bell, "no condition");
    return bell;
}

static void ring(void *arg)
{
    struct bell *bell = arg;
    plait_lock *lock = plait_condition_lock(&bell->changed);
    plait_lock_acquire(lock, PLAIT_FOREVER);
    bell->rung = true;
    plait_condition_notify(&bell->changed, 1);
    plait_lock_release(lock);
}

static void await(void *arg)
{
    struct bell *bell = arg;
    plait_lock *lock = plait_condition_lock(&bell->changed);
    plait_lock_acquire(lock, PLAIT_FOREVER);
    while (!bell->rung)
        bench_check(plait_condition_wait(&bell->changed, PLAIT_FOREVER) == 0, "not waited");
    bell->rung = false;
    plait_lock_release(lock);
}

TRIP_KIND(ours, make, ring, await)

/* --- many waiters --- */

struct place {
    plait_lock lock;
    plait_condition called, answered; /* both on it */
};

static void *make_place(bool shared)
{
    struct place *place = shared ? plait_alloc(sizeof *place) : bench_private(sizeof *place);
    bench_check(place && plait_condition_init(&place->called, &place->lock) == 0 &&
                    plait_condition_init(&place->answered, &place->lock) == 0,
                "no conditions");
    return place;
}

static void acquire(void *arg)
{
    struct place *place = arg;
    bench_check(plait_lock_acquire(&place->lock, PLAIT_FOREVER) == 0, "not acquired");
}

static void release(void *arg)
{
    struct place *place = arg;
    plait_lock_release(&place->lock);
}

static void call_all(void *arg)
{
    struct place *place = arg;
    plait_condition_notify_all(&place->called);
}

static void await_call(void *arg)
{
    struct place *place = arg;
    bench_check(plait_condition_wait(&place->called, PLAIT_FOREVER) == 0, "not waited");
}

static void answer(void *arg)
{
    struct place *place = arg;
    plait_condition_notify(&place->answered, 1);
}

static void await_answer(void *arg)
{
    struct place *place = arg;
    bench_check(plait_condition_wait(&place->answered, PLAIT_FOREVER) == 0, "not waited");
}

NOTIFY_KIND(many, make_place, acquire, release, call_all, await_call, answer, await_answer)

static const struct bench_subject table[] = {
    TRIP_THREAD_CASES("condition", "plait", ours, false),
    TRIP_PROCESS_CASES("condition", "plait", ours, false),
    NOTIFY_THREAD_CASES("condition", "plait", many),
    NOTIFY_PROCESS_CASES("condition", "plait", many),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
