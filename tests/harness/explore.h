/* explore: a scenario of a few workers is run in every order of their steps (D10).
 *
 * Naive: start threads, let them fight, hope. Its hole: the order that breaks the code needs one worker
 * to stand still between two certain instructions while another does a whole operation; chance brings
 * it once in a million runs, and never under the debugger. Cure: build the code with PL_STEP_HOOKS,
 * where each atomic operation and futex call first calls a hook (base/atomic.h). Here the workers are
 * coroutines of one thread; at the hook a scheduler decides who makes the next step. So a run is its
 * list of decisions, all lists are tried one after the other, and one that fails is told and can be
 * repeated as often as wanted. A run costs microseconds.
 *
 * What is tried. A preemption is a switch away from a worker that could go on. All runs with up to
 * `preemptions` of them are tried, those with fewer first, so a failure has as few as possible; nearly
 * all known mistakes need one or two (the idea and the experience are those of CHESS, Musuvathi and
 * Qadeer 2007). Who runs next when a worker sleeps or ends costs nothing and is tried in all ways. A
 * switch is tried only before a step on a word that two workers use and one changes: before any other
 * step it would make no difference. A worker that sleeps with a timeout may time out at any moment;
 * while others could go on, that counts as a preemption.
 *
 * What is found: a false EXPLORE_EXPECT; a deadlock (all sleep, none has a timeout; so a lost wake-up,
 * for naps do not end here); a run that does not end; a crash.
 *
 * What is not: the order of steps is one that all workers agree on (sequential consistency). What
 * weaker memory orders allow besides is left to ThreadSanitizer and to the labels R:, A: in the
 * sources. And plain accesses between two steps are not interrupted: whether there is a race in them
 * ThreadSanitizer says, too.
 *
 *     struct world { plait_lock lock; long sum; };
 *
 *     static void add(void *world)
 *     {
 *         struct world *w = world;
 *         EXPLORE_EXPECT(plait_lock_acquire(&w->lock, PLAIT_FOREVER) == 0);
 *         w->sum++;
 *         EXPLORE_EXPECT(plait_lock_release(&w->lock) == 0);
 *     }
 *     static void both_counted(void *world) { EXPLORE_EXPECT(((struct world *)world)->sum == 2); }
 *
 *     static const struct explore_scenario two_add = {
 *         .name = "two add", .world_size = sizeof(struct world), .run = {add, add},
 *         .check = both_counted};
 *
 *     const struct CMUnitTest tests[] = {EXPLORE_TEST(two_add)};
 *
 * It works for any code on top of plait, and for code with atomics of its own: use the operations of
 * base/atomic.h, or say explore_step("what", &word) right before yours. A loop that waits for another
 * worker without sleeping must call explore_yield(). Workers may not start threads or processes, and
 * what they do must follow from the order of the steps alone (no clock but plait_now, no addresses as
 * keys, no state that lives from one run to the next).
 *
 * Environment:
 *     EXPLORE=NAME             this scenario only
 *     EXPLORE=NAME@SCHEDULE    this run only, told step by step; a failure prints it like that
 *     PLAIT_TEST_SCALE=N       more preemptions: one more from 5 on, two from 50 on; more random runs
 *     PLAIT_TEST_SEED=N        the seed of random runs */
#ifndef TESTS_HARNESS_EXPLORE_H
#define TESTS_HARNESS_EXPLORE_H

#include <plait/plait.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EXPLORE_WORKERS = 6 };

enum explore_memory { EXPLORE_BOTH, EXPLORE_ARENA, EXPLORE_PRIVATE };

struct explore_scenario {
    const char *name;
    size_t world_size;
    enum explore_memory memory;                /* where the world lies; both: one after the other */
    void (*run[EXPLORE_WORKERS])(void *world); /* worker a, b, c ...; up to the first NULL */

    void (*setup)(void *world);  /* the world is zeroed */
    void (*always)(void *world); /* an invariant, asked before each step */
    void (*check)(void *world);  /* all have come to their ends */

    int preemptions; /* 0: three for two workers, else two. EXPLORE_NONE: none */
    long random; /* so many random runs instead (PCT); for what is too large to be tried wholly */
    int changes; /* random: changes of priority in a run; 0: three */
    bool everywhere;     /* switch before every step, also where it should make no difference */
    bool any_sleeper;    /* a wake-up may take any sleeper of the word, not the first only */
    bool spurious;       /* a sleeper may wake for no reason, which counts as a preemption */
    bool old_kernel;     /* as if the kernel had no futex_waitv */
    int64_t longest_nap; /* ns; naps up to this length end, by which a lost wake-up is mended */
    long longest;        /* steps after which a run counts as one that does not end; 0: 5000 */
};

enum { EXPLORE_NONE = -1 };

struct explore_report {
    long runs, steps;    /* all together */
    long longest;        /* steps of the longest run */
    int preemptions;     /* up to so many; -1: at random */
    int words;           /* used by two workers, changed by one */
    uint64_t seed;       /* of random runs */
    bool failed;         /* the search stops at the first failure */
    char failure[512];   /* it, in words */
    char schedule[4096]; /* its run, to be repeated */
};

/* Tries all runs. Tells a failure on standard error, with its last steps, unless `quiet`. */
struct explore_report explore(const struct explore_scenario *s, bool quiet);

/* Repeats one run; `tell`s each step on standard error. */
struct explore_report explore_replay(const struct explore_scenario *s, const char *schedule,
                                     bool tell);

/* A test of cmocka; says in one line what was tried, and fails if a run did. */
void explore_test(void **state);
#define EXPLORE_TEST(scenario)                                                                     \
    {                                                                                              \
        (scenario).name, explore_test, NULL, NULL, (void *)&(scenario)                             \
    }

/* Prints what all scenarios of this program came to. */
void explore_print_total(void);

/* --- for the functions of a scenario --- */

/* What must hold; the run ends here if it does not. */
#define EXPLORE_EXPECT(what, ...)                                                                  \
    ((what) ? (void)0 : explore_fail(__FILE__, __LINE__, #what " " __VA_ARGS__))
void explore_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Gives a variable a name for the telling: EXPLORE_NAME(w->lock.word_). In setup. */
#define EXPLORE_NAME(variable) explore_name(&(variable), sizeof(variable), #variable)
void explore_name(const void *start, size_t size, const char *name);

/* A step of the caller's own; `what` begins with "load" if it changes nothing. */
void explore_step(const char *what, const void *word);

/* The others go first. */
void explore_yield(void);

/* Worker i (0: a), and the index of the caller; -1 in setup and check. */
plait_worker explore_worker(int i);
uint32_t explore_worker_id(int i); /* as a lock's word names it */
int explore_self(void);

/* Whether worker i has been asked to stop (plait_cancel) and has not heard it yet. No step. */
bool explore_is_asked(int i);

/* Whether worker i sleeps in the futex; whether it has come to its end. */
bool explore_sleeps(int i);
bool explore_ended(int i);

#endif
