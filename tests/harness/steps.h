/* steps: a worker is killed at every step of an operation, and the others must go on (D10).
 *
 * Naive: kill -9 at random moments and see whether anything hangs. Its hole: the dangerous windows
 * are a few instructions wide, random kills hit them once in a million. Cure: build the code with
 * PL_STEP_HOOKS, where each atomic operation and futex call first calls a hook (base/atomic.h). In
 * round k the hook kills the process right before the k-th of them; k counts up until the operation
 * ends alive. So each state that a death can leave behind is met, and met again at will.
 *
 * A scenario says who does what; the harness runs the rounds. Each round is a fresh family with an
 * arena of its own, in this order:
 *
 *     setup       the root makes the world: zeroed memory in the arena
 *     first       workers that come before the victim
 *     prepare     the victim, a process, does what leads up to the operation; it cannot die yet
 *     ahead       workers that come when the victim is ready
 *     act         the victim does the operation; it dies before its k-th step, or after the last
 *     behind      workers that come once the victim sleeps or is dead
 *     direct      the root does what a sleeping victim waits for
 *     aftermath   the victim is dead: the root does what the others may wait for by rights
 *     late        workers that come when all others have come through
 *     check       all have come through: the root compares the world with what must be
 *
 * All parts but act may be left out. Nobody collects the victim before check, so the others have to
 * notice its death themselves. After check the harness collects everyone and expects the death to
 * be told, every entry of the worker table to be free again, and no process to be left.
 *
 *     struct world { plait_lock lock; bool held; };
 *
 *     static void take(void *world, int who)               { acquires the lock }
 *     static void note(void *world, int who)               { held = the word names the caller }
 *     static void take_and_give(void *world, int who)      { acquires, releases }
 *
 *     static const struct steps_scenario acquire_free = {
 *         .name = "lock: acquire, free", .world_size = sizeof(struct world),
 *         .act = take, .last_look = note, .late = {.processes = 2, .run = take_and_give}};
 *
 *     const struct CMUnitTest tests[] = {STEPS_TEST(acquire_free)};
 *
 * It works for any code on top of plait: it dies at plait's own steps, and at steps of yours that
 * you mark with steps_here(). Environment:
 *     PLAIT_STEPS=NAME@K[,J]   run this round of this scenario only, and tell the last steps
 *     PLAIT_STEPS=NAME@=K      the same for the K-th change of memory
 *     PLAIT_TEST_SCALE=N       more rounds of random deaths, more deaths of recoverers */
#ifndef TESTS_HARNESS_STEPS_H
#define TESTS_HARNESS_STEPS_H

#include "park/park.h"

#include <plait/plait.h>
#include <stdbool.h>

/* Some workers that do the same: threads of the root (which is not the victim's process), then
 * processes of their own. `who` counts them from 0. */
struct steps_crew {
    int threads, processes;
    enum pl_wait_kind sleep_in; /* each is asleep in this kind of wait before the next one starts */
    void (*run)(void *world, int who);
};

struct steps_scenario {
    const char *name;
    size_t world_size;
    int victims;     /* 0: one */
    bool sleeps;     /* the operation may sleep: kill it asleep, from outside, too */
    bool old_kernel; /* as if the kernel had no futex_waitv */
    bool join;       /* the root joins the victim as soon as it is dead */
    bool alive;      /* a victim whose operation ends returns instead of being killed */
    bool detached;   /* nobody will join the victim */
    bool stall;      /* the victim is not killed at its step but held there until after aftermath */
    bool leaks;      /* memory that the victim had may be left */
    bool alone;      /* no recoverer is killed besides */
    long stride;     /* a long operation: only each n-th step, at PLAIT_TEST_SCALE 1; 0: each */
    int64_t patience; /* ns until who has not come through counts as stuck; 0: 5 s */

    void (*setup)(void *world);
    struct steps_crew first;
    void (*prepare)(void *world, int who);
    struct steps_crew ahead;
    void (*act)(void *world, int who);
    void (*last_look)(void *world, int who); /* the victim, at the moment of its death */
    struct steps_crew behind;
    void (*direct)(void *world);
    void (*aftermath)(void *world);
    struct steps_crew late;
    void (*check)(void *world);
};

/* What a series of rounds came to. */
struct steps_report {
    long steps;      /* at which the victim was killed */
    long recoverers; /* rounds in which a worker that repaired was killed, too */
    long rounds;     /* all together */
    long slow;       /* rounds in which someone needed more than 10 ms: helped by a nap, it seems */
    int64_t slowest; /* ns from the death, or the last deed, until the last one came through */
    long failures;   /* rounds that failed; the series stops after a few */
    char failure[512]; /* the first of them, in words */
};

/* Kills at every step; with `recoverers`, a second worker at the steps of its recovery, too (pl_recover
 * of the victim, for a sample of the victim's steps). Tells failures on standard error. */
struct steps_report steps_series(const struct steps_scenario *s, bool recoverers, bool quiet);

/* Kills right after every change of the world or the worker table, and before every system call: also
 * between the plain stores that no hook stands under. Needs ptrace; x86-64. For scenarios with one
 * victim, which neither stall nor doom children. The root calls last_look then. */
struct steps_report steps_at_stores(const struct steps_scenario *s, bool quiet);

/* Kills each victim at a step drawn from 1..span, `rounds` times. */
struct steps_report steps_random(const struct steps_scenario *s, long rounds, long span);

/* The tests of cmocka, each told in one line, failing if a round failed: a series with recoverers, a
 * series at every change, random deaths. */
void steps_test(void **state);
void steps_stores_test(void **state);
void steps_random_test(void **state);
#define STEPS_TEST(scenario)                                                                       \
    {                                                                                              \
        (scenario).name, steps_test, NULL, NULL, (void *)&(scenario)                               \
    }
#define STEPS_STORES_TEST(scenario)                                                                \
    {                                                                                              \
        (scenario).name, steps_stores_test, NULL, NULL, (void *)&(scenario)                        \
    }
#define STEPS_RANDOM_TEST(scenario)                                                                \
    {                                                                                              \
        (scenario).name, steps_random_test, NULL, NULL, (void *)&(scenario)                        \
    }

/* Prints how many pairs of operation and step all scenarios of this program tried. */
void steps_print_total(void);

/* PLAIT_TEST_SCALE. */
long steps_scale(void);

/* --- for the functions of a scenario --- */

/* What must hold; a failure is told with its place, and the round goes on. Any member may ask. */
#define STEPS_EXPECT(what, ...)                                                                    \
    ((what) ? (void)0 : steps_fail(__FILE__, __LINE__, #what " " __VA_ARGS__))
void steps_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A step of the caller's own code; kills the victim like one of plait's. */
void steps_here(const char *what, const void *word);

/* The victim (its id is what a lock word names), whether its operation ended alive, and whether it is dead by now. */
plait_worker steps_victim(int who);
uint32_t steps_victim_id(int who);
bool steps_finished(int who);
bool steps_is_dead(int who);

/* Whether somebody who repaired was killed at it: some repairs may then be done twice. */
bool steps_recoverer_died(void);

/* To be called in `prepare`: the processes that the victim starts from then on count steps together,
 * from their first on, and one of them dies at step k in place of the victim. */
void steps_doom_children(void);

/* In `act`: from here on the caller's steps count, from 1. For what happens after the operation's
 * function (a worker's end): the harness leaves steps counted when act returns. */
void steps_stay_armed(void);

/* How many members of all crews there are so far, and how many of them have come through. */
int steps_hired(void);
int steps_through(void);

/* The root has just done what others wait for: their time counts from now. */
void steps_deed(void);

/* Waits until it is true, at most the scenario's patience: whether it came true. */
bool steps_await(bool (*is_so)(void *world), void *world);

/* Entries of the worker table that are in use: all but free ones and those that a new worker may
 * take. */
int steps_slots_in_use(void);

#endif
