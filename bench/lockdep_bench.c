/* plait_lock with and without the check of lock orders (PLAIT_LOCKDEP=1, see docs/internals/lockdep.md):
 * alone, with others, and two taken one inside the other, which is what the check is about. See lock_shape.h
 * for what one operation is.
 *
 * The mode is read before main, so the program executes itself anew where the environment is not what
 * the subject asks for. */
#include "lock_shape.h"

#include <plait/plait.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *make(bool shared)
{
    void *lock = shared ? plait_alloc(256) : bench_private(256);
    bench_check(lock, "no lock");
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

/* The second one, on a cache line of its own. */
static void *inner(void *lock)
{
    return (char *)lock + 128;
}

static void acquire_two(void *lock)
{
    acquire(lock);
    acquire(inner(lock));
}

static void release_two(void *lock)
{
    release(inner(lock));
    release(lock);
}

LOCK_KIND(one, make, acquire, release)
LOCK_KIND(two, make, acquire_two, release_two)

#define CASES(name)                                                                                \
    LOCK_PRIVATE_CASES("lockdep", name, one), LOCK_SHARED_CASES("lockdep", name, one),             \
        LOCK_PRIVATE_CASES("lockdep_nested", name, two),                                           \
        LOCK_SHARED_CASES("lockdep_nested", name, two)

static const struct bench_subject table[] = {
    CASES("plait"),
    CASES("plait checked"),
    {0},
};

static void set_mode(char **argv, bool wanted)
{
    const char *wish = getenv("PLAIT_LOCKDEP");
    if ((wish && strcmp(wish, "1") == 0) == wanted)
        return;
    setenv("PLAIT_LOCKDEP", wanted ? "1" : "0", 1);
    execv("/proc/self/exe", argv);
    bench_fail("it cannot execute itself");
}

int main(int argc, char **argv)
{
    if (argc == 3)
        set_mode(argv, strcmp(argv[2], "plait checked") == 0);
    return bench_main(argc, argv, table);
}
