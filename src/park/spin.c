/* How long to spin before sleeping (D5).
 *
 * Sleeping and being woken costs tens of microseconds on a virtual machine, a look at a cache line
 * some tens of nanoseconds. Spinning as long as a sleep would cost is never worse than twice the
 * best choice made with foresight; spinning when nothing will come in that time is waste. So each
 * thread keeps a budget, learned from its own waits: it grows when spinning succeeded or when a
 * sleep turned out so short that more spinning would have, and is halved when a sleep was long.
 * With one processor nobody can change the word while we look, and the budget is 0. */
#include "base/atomic.h"
#include "base/clock.h"
#include "park/park.h"
#include "port/cpu.h"

enum {
    WORTH_NS = 50000, /* about what a sleep and a wake-up cost */
    LEAST = 64,       /* pauses; below, a budget could never be seen to succeed again */
    BURST = 8,        /* pauses between two looks, once the first few have failed */
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

/* Whether to go to sleep at once. Whoever was just woken through the kernel may have been put on this
 * very processor, and then cannot answer while we spin. But two who answer each other quickly should
 * get out of sleeping altogether, which only spinning brings about. So it is tried, and after each
 * miss not tried again for twice as many times. */
static bool should_make_room(struct pl_spin *spin)
{
    if (!spin->answer || spin->spent > 0 || !pl_self.woke)
        return false;
    pl_self.woke = 0;
    if (pl_self.answers_skip > 0) {
        pl_self.answers_skip--;
        return true;
    }
    spin->trial = true;
    return false;
}

static void note_miss(void)
{
    enum { MOST = 63 };
    pl_self.answers_missed = (uint8_t)((pl_self.answers_missed * 2 + 1) & MOST);
    pl_self.answers_skip = pl_self.answers_missed;
}

bool pl_spin(struct pl_spin *spin)
{
    if (should_make_room(spin))
        return false;
    if (pl_self.spin_budget == 0) {
        uint32_t n = most_pauses();
        pl_self.spin_budget = n == 1 ? 1 : n / 4;
    }
    if (spin->spent >= pl_self.spin_budget || pl_self.spin_budget == 1) {
        if (spin->trial)
            note_miss();
        return false;
    }
    int pauses = spin->spent < 4 * BURST ? 1 : BURST;
    for (int i = 0; i < pauses; i++)
        pl_pause();
    spin->spent += (uint32_t)pauses;
    return true;
}

void pl_spin_won(const struct pl_spin *spin)
{
    uint32_t wish = 2 * spin->spent + LEAST, budget = pl_self.spin_budget;
    if (wish > budget && budget > 1)
        pl_self.spin_budget = wish < most_pauses() ? wish : most_pauses();
    if (spin->trial)
        pl_self.answers_missed = 0;
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
