/* plait_lock: alone, with others, in private memory and in the arena. See lock_shape.h for what one
 * operation is. Peers: peers/lock_*.c, Go's sync.Mutex, CPython's threading.Lock.
 *
 * Read lock_shared_free as the price of crash safety: its peer is the robust mutex, for a plain
 * process-shared one is lost for good with a holder that dies. Read lock_fair as the price of fairness: no
 * peer is fair, so each hand-over that plait makes by changing workers they make or leave out as they like. */
#include "lock_shape.h"

#include <plait/plait.h>

static void *make(bool shared)
{
    plait_lock *lock = shared ? plait_alloc(128) : bench_private(sizeof *lock);
    bench_check(lock, "no lock");
    return lock;
}

static void *make_fair(bool shared)
{
    void *lock = make(shared);
    plait_lock_init(lock, &(plait_lock_options){.fair = true});
    return lock;
}

static void acquire(void *lock)
{
    bench_check(plait_lock_acquire(lock, PLAIT_FOREVER) == 0, "not acquired");
}

static void release(void *lock)
{
    plait_lock_release(lock);
}

LOCK_KIND(ours, make, acquire, release)
LOCK_KIND(fair, make_fair, acquire, release)

static const struct bench_subject table[] = {
    LOCK_PRIVATE_CASES("lock", "plait", ours),
    LOCK_SHARED_CASES("lock", "plait", ours),
    LOCK_CURVE("lock", "plait", ours),
    LOCK_PRIVATE_CASES("lock_fair", "plait fair", fair),
    LOCK_SHARED_CASES("lock_fair", "plait fair", fair),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
