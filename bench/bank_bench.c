/* plait_bank: the only unit of one of two kinds, borrowed and given back like a lock: alone, and by several
 * workers. There is no peer; what a semaphore costs, which lends without thinking ahead, is in
 * semaphore_bench.c. See lock_shape.h. */
#include "lock_shape.h"

#include <plait/plait.h>

static const int one[] = {1, 0};

static void *make(bool shared)
{
    plait_bank *bank = shared ? plait_alloc(sizeof *bank) : bench_private(sizeof *bank);
    bench_check(bank && plait_bank_init(bank, (int[]){1, 1}, 2) == 0, "no bank");
    return bank;
}

/* A worker that has not told its claim yet is refused. */
static void acquire(void *bank)
{
    int rc = plait_bank_acquire(bank, one, PLAIT_FOREVER);
    if (rc == PLAIT_EPERM) {
        bench_check(plait_bank_declare(bank, one) == 0, "not declared");
        rc = plait_bank_acquire(bank, one, PLAIT_FOREVER);
    }
    bench_check(rc == 0, "not lent");
}

static void release(void *bank)
{
    bench_check(plait_bank_release(bank, one) == 0, "not given back");
}

LOCK_KIND(ours, make, acquire, release)

static const struct bench_subject table[] = {
    LOCK_PRIVATE_CASES("bank", "plait", ours),
    LOCK_SHARED_CASES("bank", "plait", ours),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
