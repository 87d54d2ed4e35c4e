/* harness - what the tests share: settings, workers, waiting for a state, saying what hangs.
 *
 * A test describes its scenario once and runs it in every setting: with threads on private memory,
 * with threads, processes and a mix of both on the arena; with tasks of the test's own thread, alone and
 * beside threads and processes.
 *
 *     static int worker(void *arg) { struct box *b = arg; ...; return 0; }
 *
 *     FOR_EACH_SETTING(s) {
 *         struct box *b = t_new(s, sizeof *b);           // zeroed, private or in the arena
 *         struct t_team team;
 *         t_start(&team, s, 4, worker, b);
 *         UNTIL(b->arrived == 4);                        // dies with a message if it never comes
 *         t_join(&team);                                 // each must have returned 0
 *         t_delete(s, b);
 *     }
 *
 * CHECK works in every worker, where cmocka's asserts (which longjmp) do not: it says what is wrong
 * and aborts; an aborted process worker makes its joiner's check fail. */
#ifndef TEST_HARNESS_H
#define TEST_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <plait/plait.h>
#include <sys/types.h>

/* --- saying what is wrong --- */

/* Prints "FILE:LINE: MESSAGE" to standard error, who waits for what below it, and aborts. */
_Noreturn void t_die(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define CHECK(condition)                                                                           \
    ((condition) ? (void)0 : t_die(__FILE__, __LINE__, "not true: %s", #condition))

#define CHECK_EQ(a, b) t_check_eq(__FILE__, __LINE__, #a, (long long)(a), #b, (long long)(b))
void t_check_eq(const char *file, int line, const char *a_text, long long a, const char *b_text,
                long long b);

/* The result of a plait call, named in the message. */
#define CHECK_RC(call, expected) t_check_rc(__FILE__, __LINE__, #call, (call), (expected))
void t_check_rc(const char *file, int line, const char *call, int rc, int expected);

/* --- waiting for a state --- */

enum { T_PATIENCE_S = 40 }; /* longer than anything takes, shorter than the test's own timeout */

/* Waits until the condition, which another worker makes true, holds. Polls: any expression may
 * stand there; words that others write are to be read with SEEN. */
#define UNTIL(condition)                                                                           \
    for (struct t_poll t_poll_ = {0}; !(condition);)                                               \
    t_poll_again(&t_poll_, __FILE__, __LINE__, #condition)

struct t_poll {
    int64_t since;
    int rounds;
};
void t_poll_again(struct t_poll *poll, const char *file, int line, const char *what);

/* Words that tests share outside any lock: sequentially consistent, seen by sanitizers. */
#define SEEN(word) __atomic_load_n(&(word), __ATOMIC_SEQ_CST)
#define TELL(word, value) __atomic_store_n(&(word), (value), __ATOMIC_SEQ_CST)
#define COUNT(word) __atomic_add_fetch(&(word), 1, __ATOMIC_SEQ_CST)
#define ADD(word, n) __atomic_add_fetch(&(word), (n), __ATOMIC_SEQ_CST)

/* Its entry in the registry; NULL: none (yet). A task of this process, if it is one. */
struct pl_slot *t_slot(plait_worker worker);

/* Whether the worker is asleep in a plait call of this kind (enum pl_wait_kind), or in any (0). */
bool t_waits(plait_worker worker, int wait_kind);
#define UNTIL_WAITS(worker, wait_kind) UNTIL(t_waits((worker), (wait_kind)))

/* Lets the other tasks of this thread run, if it has any. Each loop that waits for another worker without
 * one of plait's calls has to do this, or to use UNTIL, which does. */
void t_give_way(void);

/* Sleeps; only where time itself is what is tested. Requests to stop are left for the next call. */
void t_sleep(int64_t ns);

/* For workers that are to be killed. */
_Noreturn void t_sleep_for_ever(void);

/* --- settings: kinds of worker, kinds of memory --- */

struct t_setting {
    const char *name;
    int kinds[2]; /* worker i is of kinds[i % 2] */
    bool shared;  /* memory from the arena */
};

extern const struct t_setting t_settings[]; /* ends with a NULL name */
#define FOR_EACH_SETTING(s)                                                                        \
    for (const struct t_setting *s = t_begin(t_settings); s->name; s = t_begin(s + 1))
/* Only those without tasks, which come first; for what tasks cannot do. */
#define FOR_EACH_TASKLESS_SETTING(s)                                                               \
    for (const struct t_setting *s = t_begin(t_settings); !t_has_tasks(s); s = t_begin(s + 1))
const struct t_setting *t_begin(const struct t_setting *setting);

/* Those whose workers include processes; those with processes only. */
bool t_has_processes(const struct t_setting *setting);
bool t_is_all_processes(const struct t_setting *setting);

bool t_has_tasks(const struct t_setting *setting);

extern const struct t_setting t_private_threads, t_threads, t_processes, t_mixed, t_private_tasks,
    t_tasks, t_tasks_and_processes;

/* Zeroed memory of the setting's kind; dies if there is none. */
void *t_new(const struct t_setting *setting, size_t size);
void t_delete(const struct t_setting *setting, void *block);

/* Threads and processes, for tests that need no setting; all kinds of worker. */
#define FOR_EACH_KIND(kind) for (int kind = PLAIT_THREAD; kind <= PLAIT_PROCESS; kind++)
#define FOR_EVERY_KIND(kind) for (int kind = PLAIT_THREAD; kind <= PLAIT_TASK; kind++)

/* --- workers --- */

enum { T_TEAM_MOST = 64 };

struct t_team {
    int n;
    plait_worker workers[T_TEAM_MOST];
};

/* Starts one worker; dies if it cannot. A task has run up to its first wait. A process may be given private memory: a fork's copy. */
plait_worker t_start_one(int kind, plait_function *fn, void *arg);

/* Joins one worker: its status, -signal if it was killed; dies if it hangs. */
int t_join_one(plait_worker worker);
int t_join_blame(plait_worker worker, plait_blame *ret);

/* Starts n workers of the setting's kinds, each with the same argument. */
void t_start(struct t_team *team, const struct t_setting *setting, int n, plait_function *fn,
             void *arg);
/* The same, worker i with the argument (char *)args + i * size. */
void t_start_each(struct t_team *team, const struct t_setting *setting, int n, plait_function *fn,
                  void *args, size_t size);
/* Joins all; each must have returned 0. */
void t_join(struct t_team *team);

/* Kills a worker process and joins it: its end must be SIGKILL. */
void t_kill(plait_worker worker);

/* Stops a worker process (SIGSTOP) and waits until it stands still; lets it go on. */
void t_stop(plait_worker worker);
void t_continue(plait_worker worker);

/* Runs fn(arg) in a child that the test forks by itself; its exit status, 1000 + signal if killed. */
int t_in_fork(plait_function *fn, void *arg);
pid_t t_fork(plait_function *fn, void *arg);
int t_reap(pid_t pid);

/* Runs fn(arg) in a plain pthread, which plait did not start; its result. */
int t_in_pthread(plait_function *fn, void *arg);

/* --- any blocking call --- */

typedef int t_wait(void *object, int64_t timeout);

/* A worker that makes one blocking call and keeps its result. Zero, then fill the first three. */
struct t_waiter {
    t_wait *call;
    void *object;
    int64_t timeout;
    int rc;   /* what it returned */
    int step; /* 1: about to call, 2: the call is over; tests may use more */
    int go;   /* for tests that let it begin */
};
int t_wait_once(void *waiter); /* plait_function; returns 0 */

/* Each of these tries a promise that every blocking call makes. `object` is one on which the call
 * has to wait; nobody must end that wait meanwhile. */
void t_check_bad_timeouts(t_wait *call, void *object); /* refused; errno left alone */
void t_check_no_arena(t_wait *call, void *object);     /* to be tried before there is one */
void t_check_time(t_wait *call, void *object);         /* 0 and 20 ms: over, not before time */
void t_check_signals(t_wait *call, void *object);      /* do not restart the time */
void t_check_cancel(const struct t_setting *setting, t_wait *call, void *object);
void t_check_cancel_pending(const struct t_setting *setting, t_wait *call, void *object);
void t_check_cancel_counts(const struct t_setting *setting, t_wait *call, void *object);
void t_check_uncancel(const struct t_setting *setting, t_wait *call, void *object);

/* A sleeper looks around now and then (its naps end), so a wake-up that is lost only comes late. Sleeps
 * until the naps of those who wait since just now are so long that this shows. */
void t_let_naps_grow(void);
enum { T_AT_ONCE_MS = 150 };

/* Tries it up to 3 times, for the processor may have been elsewhere: it returns how long those who
 * waited needed after what should have woken them, ns. Dies if it was too long each time. */
void t_check_at_once(int64_t (*scene)(void));

/* Sends the calling thread a SIGALRM every `period` ns, until stopped; the count of those handled. */
struct t_alarms {
    void *timer;
    long handled;
};
void t_alarms_start(struct t_alarms *alarms, int64_t period);
void t_alarms_stop(struct t_alarms *alarms);

#ifdef PL_STEP_HOOKS
/* Two deeds of others, each right before a chosen atomic step of a blocking call (counted from 1). The
 * calling thread does them itself, as if another worker had been that fast: so every interleaving of
 * the call with the deeds is tried, not those that chance brings. */
struct t_meddling {
    bool (*deeds[2])(
        void *object); /* false: not possible now, to be tried again at the next step */
    long at[2];
    bool done[2]; /* out: did take place during the call */
    long steps;   /* out: of the call */
    int64_t took; /* out: ns from the last deed to the end of the call */
};
int t_meddle(struct t_meddling *m, t_wait *call, void *object, int64_t timeout);

/* Calls round(arg, i, k) for the deeds at each pair of steps, as long as it says that they came before
 * the call was over. */
enum { T_FIRST_LATE = 1, T_SECOND_LATE = 2 };
void t_each_pair(int (*round)(void *arg, long i, long k), void *arg);

int t_came_late(const struct t_meddling *m);

/* A deed: asks the caller to stop. As the second one it is to be heard exactly once, as the call's
 * result or from the next call. */
bool t_cancel_me(void *unused);
void t_check_canceled_once(const struct t_meddling *m, int rc);

/* The timeout of such a call; who takes that long after the last deed, in each of so many tries (the
 * processor may have been elsewhere in some), has slept in vain. */
enum { T_SHORT_MS = 5, T_TOO_LONG_MS = 4, T_TRIES = 20 };
#endif

/* --- length, chance, leftovers --- */

/* n rounds, times PLAIT_TEST_SCALE; t_rounds: a quarter of that under a sanitizer. */
long t_scaled(long n);
long t_rounds(long n);

/* Keeps the processor busy for a random time below `most` ns; other tasks of this thread run meanwhile. */
void t_dither(uint64_t *random, int64_t most);

/* Whether this build runs under a sanitizer, whose slowness shortens what is not a promise. */
bool t_is_sanitized(void);

/* ThreadSanitizer calls a handler when the flow that was hit comes by one of its points: never in one that just computes,
 * and not at all if the flow, which may be a task's, ends before. It has a thread of its own, too, that outlives all others. */
bool t_is_under_tsan(void);

/* Whether a child may be forked while other threads of the test allocate memory, and allocate itself. libc sees to that, and
 * so does the TSan of clang 19. ASan does not (a lock that ending threads take was seen to stay taken), nor do the sanitizers of gcc 12: their
 * allocator's locks stay taken in the child for ever. */
bool t_may_fork_beside_threads(void);

/* Random numbers from a seed that t_seed prints (or takes from PLAIT_TEST_SEED). */

uint64_t t_seed(void);
uint64_t t_random(uint64_t *state);
int t_below(uint64_t *state, int n);

/* Gives this program, and all it starts, a /dev/shm of its own, so that it may count what is in there. False: that
 * is not permitted here. To be called first in main. */
bool t_private_shm(void);

/* The arguments of a test program: NAME (with * and ?) runs these tests only, -NAME all but these. */
void t_arguments(int argc, char **argv);

/* Children of this process not collected yet, open descriptors. */
bool t_has_children(void);
int t_open_files(void);

#endif
