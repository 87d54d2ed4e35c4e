/* The bell: what a thread has to do for others, whatever it waits for.
 *
 * Naive: the ringer sets a flag and sends the thread a signal, which ends its sleep. Its race: the flag is set after the
 * sleeper looked and before it sleeps. Cure: the flag is a count and a futex. The sleeper watches it beside its own word
 * with the value that it has heard (park.c), so the kernel compares once more; on descriptors it is nudged as
 * by a request to stop (poll.c). Facts:
 *   1 R:bell.rung/A:bell.rung: what is to be done is written before the count is raised, and looked for after
 *     the count is read. So no ring is lost; several may be answered as one;
 *   2 `heard` is written before the answer: a ring during it is a new one;
 *   3 ringing is adding, and system calls: a signal handler may do it, also one that interrupts the answer;
 *   4 the answer is given where a wait begins or has been woken, where tasks may be switched as well. So it may do whatever
 *     another task might do then, and must do it as a task: the waiter's entry in the registry, its place in a queue and its
 *     requests are not its own. */
#include "base/atomic.h"
#include "park/park.h"
#include "port/futex.h"

#include <limits.h>

void pl_bell_ring(struct pl_bell *bell)
{
    pl_fetch_add_seq_cst(&bell->rung, 1u); /* R:bell.rung */
    pl_futex_wake(&bell->rung, INT_MAX, false);
    struct pl_slot *slot = pl_load_seq_cst(&bell->slot);
    if (slot)
        pl_poll_nudge(slot);
}

void pl_bell_answer(void)
{
    struct pl_bell *bell = pl_self.bell;
    uint32_t rung = pl_load_seq_cst(&bell->rung); /* A:bell.rung */
    if (rung == bell->heard && !bell->late)
        return;
    bell->heard = rung;
    bell->late = false;
    if (!bell->answer())
        bell->late = true;
}
