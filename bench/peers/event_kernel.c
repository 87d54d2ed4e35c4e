/* What one would build a round trip from without a library: a futex that sleeps at once, a
 * socketpair that carries the 64 bytes, and (for information: it burns a processor while it waits)
 * looking at a cache line until it changes. Needs: libc6-dev */
#include "round_trip.h"

#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- futex: 0 silent, 1 rung --- */

static void *make_word(bool shared)
{
    return shared ? bench_shared(128) : bench_private(128);
}

BENCH_INLINE void futex_ring(void *bell, int private_flag)
{
    __atomic_store_n((uint32_t *)bell, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, bell, FUTEX_WAKE | private_flag, 1, NULL, NULL, 0);
}

BENCH_INLINE void futex_await(void *bell, int private_flag)
{
    while (__atomic_exchange_n((uint32_t *)bell, 0, __ATOMIC_ACQUIRE) == 0)
        syscall(SYS_futex, bell, FUTEX_WAIT | private_flag, 0, NULL, NULL, 0);
}

static void ring_private(void *bell)
{
    futex_ring(bell, FUTEX_PRIVATE_FLAG);
}

static void await_private(void *bell)
{
    futex_await(bell, FUTEX_PRIVATE_FLAG);
}

static void ring_shared(void *bell)
{
    futex_ring(bell, 0);
}

static void await_shared(void *bell)
{
    futex_await(bell, 0);
}

TRIP_KIND(futex_private, make_word, ring_private, await_private)
TRIP_KIND(futex_shared, make_word, ring_shared, await_shared)

/* --- spinning --- */

static void spin_ring(void *bell)
{
    __atomic_store_n((uint32_t *)bell, 1, __ATOMIC_RELEASE);
}

/* Yields now and then, so that a machine busy with other things does not stand still. */
static void spin_await(void *bell)
{
    for (unsigned i = 1; __atomic_load_n((uint32_t *)bell, __ATOMIC_ACQUIRE) == 0; i++)
        if (i % 65536 == 0)
            sched_yield();
    __atomic_store_n((uint32_t *)bell, 0, __ATOMIC_RELAXED);
}

TRIP_KIND(spinning, make_word, spin_ring, spin_await)

/* --- socketpair: a bell is a pair, rung at one end and heard at the other --- */

static void *make_pair(bool shared)
{
    (void)shared;
    int *ends = bench_private(2 * sizeof *ends);
    bench_check(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "no socketpair");
    return ends;
}

static void pair_ring(void *ends)
{
    uint64_t message[TRIP_WORDS] = {0};
    bench_check(write(((int *)ends)[0], message, sizeof message) == sizeof message, "not written");
}

static void pair_await(void *ends)
{
    uint64_t message[TRIP_WORDS];
    bench_check(read(((int *)ends)[1], message, sizeof message) == sizeof message, "not read");
}

TRIP_KIND(socketpair_bell, make_pair, pair_ring, pair_await)

static const struct bench_subject table[] = {
    TRIP_THREAD_CASES("event", "futex", futex_private, false),
    TRIP_PROCESS_CASES("event", "futex", futex_shared, false),
    TRIP_THREAD_CASES("event", "socketpair", socketpair_bell, false),
    TRIP_PROCESS_CASES("event", "socketpair", socketpair_bell, false),
    TRIP_THREAD_CASES("event", "spinning", spinning, true),
    TRIP_PROCESS_CASES("event", "spinning", spinning, true),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
