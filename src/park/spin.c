/* How long to spin before sleeping (D5).
 *
 * Sleeping and being woken costs tens of microseconds on a virtual machine, a look at a cache line
 * some tens of nanoseconds. Spinning as long as a sleep would cost is never worse than twice the
 * best choice made with foresight; spinning when nothing will come in that time is waste. So each
 * thread keeps a budget, learned from its own waits: it grows when spinning succeeded or when a
 * sleep turned out so short that more spinning would have, and is halved when a sleep was long.
 * With one processor nobody can change the word while we look, and the budget is 0.
 *
 * Who spins takes a processor from somebody, perhaps from the very one it waits for. So after a short while
 * only as many threads of a process go on spinning as leave one processor free. */
#include "base/at_fork.h"
#include "base/atomic.h"
#include "base/clock.h"
#include "park/park.h"
#include "port/cpu.h"

#include <pthread.h>

enum {
    WORTH_NS = 50000, /* about what a sleep and a wake-up cost */
    LEAST = 64,       /* pauses; below, a budget could never be seen to succeed again */
    APART = 64, /* most pauses between two looks: each look takes the line from who changes it */
    SHORT = 32, /* pauses that everybody may spin */
    BRIEF_PART = 10, /* a brief spin is that part of WORTH_NS */
};

static uint32_t most; /* pauses that take WORTH_NS here; any thread measures it, once */

static uint32_t measure(void)
{
    enum { SAMPLE = 256 };
    if (pl_cpu_parallel() < 2)
        return 1;
    int64_t start = plait_now();
    for (int i = 0; i < SAMPLE; i++)
        pl_pause();
    int64_t took = plait_now() - start;
    int64_t pauses = (int64_t)SAMPLE * WORTH_NS / (took > 0 ? took : 1);
    return pauses < 2 * LEAST ? 2 * LEAST : pauses > 50000 ? 50000 : (uint32_t)pauses;
}

static uint32_t most_pauses(void)
{
    uint32_t n = __atomic_load_n(&most, __ATOMIC_RELAXED);
    if (n == 0) {
        n = measure();
        __atomic_store_n(&most, n, __ATOMIC_RELAXED);
    }
    return n;
}

/* Decides how a wait begins. A long spin that was in vain is not tried again for some times, and after each
 * further one for twice as many: two who answer each other quickly find out soon, and stay awake; where
 * the processors are wanted by others, few are wasted. Meanwhile it is spun briefly; or not at all
 * if this worker has just woken the one who is to answer, who may have been put on this very processor.
 * False: go to sleep at once. */
static bool begin(struct pl_spin *spin)
{
    bool woke = spin->answer && pl_self.woke;
    spin->begun = true;
    if (woke)
        pl_self.woke = 0;
    if (pl_self.spins_skip == 0)
        return true;
    pl_self.spins_skip--;
    spin->brief = true;
    return !woke;
}

static PL_WRITTEN_AT_FORK int long_spinners; /* threads of this process past SHORT. Atomic */

static void forget_spinners(void)
{
    __atomic_store_n(&long_spinners, 0, __ATOMIC_RELAXED);
}

__attribute__((constructor(101))) static void watch_fork(void)
{
    pthread_atfork(NULL, NULL, forget_spinners);
}

/* Plain counting without steps: it orders nothing, and no harness need look into it. */
static bool may_go_on(struct pl_spin *spin)
{
    if (spin->counted || spin->spent < SHORT)
        return true;
    int before = __atomic_fetch_add(&long_spinners, 1, __ATOMIC_RELAXED);
    spin->counted = before + 1 < pl_cpu_parallel();
    if (!spin->counted)
        __atomic_fetch_sub(&long_spinners, 1, __ATOMIC_RELAXED);
    return spin->counted;
}

void pl_spin_end(struct pl_spin *spin)
{
    if (spin->counted)
        __atomic_fetch_sub(&long_spinners, 1, __ATOMIC_RELAXED);
    spin->counted = false;
}

static void note_miss(const struct pl_spin *spin)
{
    enum { MOST = 63 };
    if (spin->brief)
        return;
    pl_self.spins_missed = (uint8_t)((pl_self.spins_missed * 2 + 1) & MOST);
    pl_self.spins_skip = pl_self.spins_missed;
}

static uint32_t limit_of(const struct pl_spin *spin)
{
    uint32_t budget = pl_self.spin_budget, brief = most_pauses() / BRIEF_PART;
    return spin->brief && brief < budget ? brief : budget;
}

bool pl_spin(struct pl_spin *spin)
{
    if (pl_self.parker) /* let other tasks run: one of them may be the one that is waited for */
        return false;
    if (!spin->begun && !begin(spin))
        return false;
    if (pl_self.spin_budget == 0) {
        uint32_t n = most_pauses();
        pl_self.spin_budget = n == 1 ? 1 : n / 4;
    }
    if (pl_self.spin_budget == 1 || spin->spent >= limit_of(spin) || !may_go_on(spin)) {
        note_miss(spin);
        pl_spin_end(spin);
        return false;
    }
    uint32_t pauses = spin->spent < SHORT ? 1 : spin->spent / 4;
    if (pauses > APART)
        pauses = APART;
    for (uint32_t i = 0; i < pauses; i++)
        pl_pause();
    spin->spent += pauses;
    return true;
}

void pl_spin_won(struct pl_spin *spin)
{
    pl_spin_end(spin);
    uint32_t wish = 2 * spin->spent + LEAST, budget = pl_self.spin_budget;
    if (wish > budget && budget > 1)
        pl_self.spin_budget = wish < most_pauses() ? wish : most_pauses();
    if (!spin->brief && spin->spent > SHORT)
        pl_self.spins_missed = 0;
}

void pl_spin_slept(int64_t ns)
{
    uint32_t budget = pl_self.spin_budget, limit = most_pauses();
    if (budget <= 1)
        return;
    if (ns < 2 * WORTH_NS)
        pl_self.spin_budget = 2 * budget < limit ? 2 * budget : limit;
    else
        pl_self.spin_budget = budget / 2 > LEAST ? budget / 2 : LEAST;
}
