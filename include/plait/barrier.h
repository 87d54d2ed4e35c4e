/* plait_barrier: n workers wait for each other, round after round.
 *
 * For threads and processes at once: in ordinary memory for this process, in the arena for the family
 * (see lock.h). It has to be told how many take part: all bytes zero is a barrier for nobody, and every
 * call that would use it answers PLAIT_EINVAL. Nothing to destroy.
 *
 *     plait_barrier_init(&world->step, 4, NULL);               // four workers
 *
 *     for (int round = 0; round < 100; round++) {              // each of the four
 *         compute(world, me);
 *         int index = plait_barrier_wait(&world->step, PLAIT_FOREVER);
 *         if (index < 0)
 *             return index;                                    // PLAIT_EBROKEN: one of us is gone
 *         if (index == 0)
 *             print(world);                                    // one of them, whoever it is
 *     }
 *
 * The last to arrive runs the action, if there is one, before anybody is let go.
 *
 * A round that cannot be completed is broken: all who wait in it, and all who come later, get
 * PLAIT_EBROKEN until somebody calls plait_barrier_reset. It breaks when a waiter times out, is
 * cancelled or dies (kill -9 included), when the action fails or its runner dies, and by
 * plait_barrier_abort. A round is complete for all of its workers that live, or broken for all. Nobody
 * waits for the dead:
 *   - who dies in plait_barrier_wait breaks the barrier as soon as that is noticed: the round it waited
 *     in or, if that is complete (it had been counted, or was the last to come), the next one, to
 *     which it will not come. plait_barrier_blame says who it was;
 *   - who dies in the middle of abort or reset has done it wholly or not at all;
 *   - deaths from before a reset break nothing after it.
 * Of one who dies before it comes to wait nobody knows: that is what a timeout is for.
 *
 * Its memory may be given back when all have returned; a waiter that was killed uses it until it
 * has been joined or plait_is_alive has said 0.
 *
 * Limits: memory that is shared but not the arena's is told from private memory only when two processes
 * of different generations of forks meet: PLAIT_EPRIVATE. A private barrier that a fork copied is empty
 * for the child, whose copies of its waiters do not exist.
 *
 * Unlike Python's: the timeout holds also while the action runs, and while the barrier waits for the
 * workers of a round that was reset to leave; abort and reset do not wait for the action, and count as
 * having come before it ended.
 * Python's counterpart: threading.Barrier, multiprocessing.Barrier. */
#ifndef PLAIT_BARRIER_H
#define PLAIT_BARRIER_H

#include <plait/worker.h>

PLAIT_BEGIN_DECLS

#define PLAIT_BARRIER_MAX 65535 /* parties; there cannot be more workers */

typedef struct plait_barrier {
    uint64_t round_[2]; /* the round's state and who died; see src/registry/registry.h */
    uint64_t runner_;   /* who runs the action of which round */
    uint32_t parties_;  /* constant after init, like the rest */
    plait_function *action_;
    uint64_t action_place_[3]; /* where processes that were not forked find it */
    void *arg_;
    int64_t timeout_;
} plait_barrier;

/* Options of plait_barrier_init; all zero is the default. */
typedef struct plait_barrier_options {
    plait_function *action; /* run once per round by the last to arrive; negative: it failed */
    void *arg;              /* for the action. Processes take part: a pointer into the arena */
    int64_t timeout;        /* in place of PLAIT_FOREVER in plait_barrier_wait; 0: none */
} plait_barrier_options;

/* Makes a barrier for so many workers, whatever its bytes were. NULL options are the default.
 * Requires: nobody uses it; an action that is a function of the program or of a library.
 * Returns: 0; PLAIT_EINVAL (NULL, parties < 1, a timeout below -1), PLAIT_EOVERFLOW (more parties than
 *   PLAIT_BARRIER_MAX, timeout too large); in the arena as registering may fail. Never blocks. Python: Barrier(parties, action, timeout). */
PLAIT_API int plait_barrier_init(plait_barrier *barrier, int parties,
                                 const plait_barrier_options *options);

/* Waits until as many have come as there are parties; the last one runs the action first. More workers
 * than parties may use it: who comes too late for a round takes part in the next.
 * Requires: plait_barrier_init.
 * Returns: 0 .. parties - 1 in order of arrival, each once per round; PLAIT_EBROKEN (see above);
 *   PLAIT_ETIMEDOUT, PLAIT_ECANCELED (and it is broken for all others; not if this worker still had to
 *   wait for the round before to end), what the action returned if it failed (to its runner only),
 *   PLAIT_EDEADLK (called in its own action), PLAIT_ECHILD (to a child that the action forked),
 *   PLAIT_EINVAL (NULL, all zero, timeout below -1), PLAIT_EOVERFLOW, PLAIT_EPRIVATE (see Limits), and
 *   as registering may fail: PLAIT_EARENA, PLAIT_ENOMEM, PLAIT_EWORKERS.
 *   With PLAIT_NOWAIT all but the last break it, as in Python.
 * Blocks: yes, cancellable (not while it runs the action). Who: threads, processes, tasks; not signal handlers;
 * after fork, yes. Ordering: what all the others wrote before they came, and what the action wrote, is
 * visible. Python: wait(timeout), where None means the default timeout, as PLAIT_FOREVER here. */
PLAIT_API int plait_barrier_wait(plait_barrier *barrier, int64_t timeout);

/* Breaks the barrier, until it is reset; does nothing if it is broken.
 * Returns: 0, PLAIT_EINVAL (NULL, all zero). Blocks: no. Who: threads, processes, tasks; not signal handlers;
 * after fork, yes. Python: abort(). */
PLAIT_API int plait_barrier_abort(plait_barrier *barrier);

/* Makes the barrier empty and whole. Who waits in it gets PLAIT_EBROKEN; who comes after this waits until
 * all of those have left. Returns, blocks, who: as plait_barrier_abort. Python: reset(). */
PLAIT_API int plait_barrier_reset(plait_barrier *barrier);

/* How many take part. How many wait for the others (0 if broken; all while the action runs). 1 if broken,
 * else 0. For NULL 0; the last two are true of a moment past. Never block; anyone may call.
 * Python: parties, n_waiting, broken. */
PLAIT_API int plait_barrier_parties(const plait_barrier *barrier);
PLAIT_API int plait_barrier_waiting(const plait_barrier *barrier);
PLAIT_API int plait_barrier_broken(const plait_barrier *barrier);

/* Who died and so broke it: asked after PLAIT_EBROKEN, by any number of workers, until the barrier is
 * broken otherwise or completes a round.
 * Returns: 0 with *ret filled, PLAIT_ESRCH (nobody: it is whole, or broken by something else),
 *   PLAIT_ESTALE (someone did, but his entry serves another by now), PLAIT_EINVAL (NULL).
 * Blocks: up to a second, until the kernel can tell of what the process died. */
PLAIT_API int plait_barrier_blame(plait_barrier *barrier, plait_blame *ret);

PLAIT_END_DECLS
#endif
