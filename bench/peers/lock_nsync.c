/* nsync's nsync_mu beside plait_lock. Needs: libnsync-dev */
#include "lock_shape.h"

#include <nsync.h>

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

LOCK_KIND(nsync, make, acquire, release)

static const struct bench_subject table[] = {
    LOCK_PRIVATE_CASES("lock", "nsync", nsync),
    LOCK_CURVE("lock", "nsync", nsync),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
