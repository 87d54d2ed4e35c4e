/* plait_condition: a round trip between two workers, where each bell is a flag under a condition
 * with a lock of its own. See round_trip.h for what is measured. Peer: pthread_cond. */
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

static const struct bench_subject table[] = {
    TRIP_THREAD_CASES("condition", "plait", ours, false),
    TRIP_PROCESS_CASES("condition", "plait", ours, false),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
