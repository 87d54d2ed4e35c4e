/* The harness; see harness.h. */
#include "harness.h"

#include "base/atomic.h"
#include "base/sanitizers.h"
#include "park/park.h"
#include "task/task_internal.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

/* --- saying what is wrong --- */

static const struct t_setting *current; /* told in messages */

/* One line for each living worker: what it waits for. */
static void tell_workers(void)
{
    enum { MOST = 32 };
    plait_worker all[MOST];
    if (!pl_arena)
        return;
    int n = plait_enumerate(all, MOST);
    for (int i = 0; i < n && i < MOST; i++) {
        char name[PLAIT_NAME_SIZE] = "?";
        struct pl_slot *slot = pl_slot_find(all[i]);
        plait_name(all[i], name, sizeof name);
        if (slot)
            fprintf(stderr, "  %s (slot %u, pid %d, tid %d) waits for %s at %p, holder %u\n", name,
                    all[i].slot, plait_pid(all[i]), plait_tid(all[i]),
                    pl_wait_name(__atomic_load_n(&slot->waits_kind, __ATOMIC_RELAXED)),
                    (void *)__atomic_load_n(&slot->waits_on, __ATOMIC_RELAXED),
                    PL_ID_SLOT(__atomic_load_n(&slot->waits_holder, __ATOMIC_RELAXED)));
    }
    if (pl_self.task)
        plait_task_print_tree(STDERR_FILENO);
}

_Noreturn void t_die(const char *file, int line, const char *format, ...)
{
    va_list args;
    flockfile(stderr);
    fprintf(stderr, "%s:%d: ", file, line);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    if (current)
        fprintf(stderr, "\n  in the setting: %s", current->name);
    fprintf(stderr, "\n");
    tell_workers();
    funlockfile(stderr);
    abort();
}

void t_check_eq(const char *file, int line, const char *a_text, long long a, const char *b_text,
                long long b)
{
    if (a != b)
        t_die(file, line, "%s is %lld, but %s is %lld", a_text, a, b_text, b);
}

void t_check_rc(const char *file, int line, const char *call, int rc, int expected)
{
    if (rc != expected)
        t_die(file, line, "%s: %s (%d), not %s (%d)", call, plait_errname(rc), rc,
              plait_errname(expected), expected);
}

/* --- waiting for a state --- */

/* Lets the other tasks of this thread run meanwhile. What is asked of this one is left for its next call. */
static void rest(int64_t ns)
{
    uint32_t never = 0;
    struct pl_wait wait = {.kind = PL_WAIT_SLEEP,
                           .deadline = plait_now() + ns,
                           .nap = PL_FIRST_NAP,
                           .uncancellable = true};
    while (pl_park(&never, 0, &wait) != PLAIT_ETIMEDOUT)
        ;
}

void t_give_way(void)
{
    if (pl_self.task)
        pl_task_give_way();
}

void t_sleep(int64_t ns)
{
    if (pl_self.task) {
        rest(ns);
        return;
    }
    struct timespec left = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        ;
}

_Noreturn void t_sleep_for_ever(void)
{
    for (;;)
        if (pl_self.task)
            t_sleep(plait_seconds(1));
        else
            pause();
}

void t_poll_again(struct t_poll *poll, const char *file, int line, const char *what)
{
    int64_t now = plait_now();
    if (poll->rounds++ == 0)
        poll->since = now;
    if (now - poll->since > plait_seconds(T_PATIENCE_S))
        t_die(file, line, "waited %d s in vain until: %s", T_PATIENCE_S, what);
    t_sleep(poll->rounds < 20 ? 20 * 1000 : 500 * 1000);
}

/* The kernel's letter for the state of a thread: R, S, T, ... */
static char state_letter(int pid, int tid)
{
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", pid, tid);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    char *got = fgets(text, sizeof text, file);
    fclose(file);
    char *end = got ? strrchr(text, ')') : NULL;
    return end && end[1] ? end[2] : 0;
}

static bool is_kind(uint32_t waits, int wanted)
{
    return wanted ? waits == (uint32_t)wanted : waits != PL_WAIT_NONE && waits != PL_WAIT_SLEEP;
}

static bool is_parked(const struct pl_task *task, int wait_kind)
{
    return pl_load_relaxed(&task->state) == PL_TASK_PARKED &&
           is_kind(pl_load_relaxed(&task->waits_kind), wait_kind);
}

/* One of another process is known by its entry only. */
static bool foreign_task_waits(plait_worker worker, int wait_kind)
{
    uint64_t known_as = (uint64_t)worker.slot << 32 | worker.generation;
    uint32_t ready = pl_load_acquire(&pl_arena->slots_ready);
    for (uint32_t i = 1; i < ready; i++) {
        struct pl_slot *slot = pl_slot_at(i);
        if (pl_load_acquire(&slot->host) && pl_load_relaxed(&slot->known_as) == known_as)
            return is_kind(pl_load_seq_cst(&slot->waits_kind), wait_kind);
    }
    return false;
}

struct pl_slot *t_slot(plait_worker worker)
{
    if (!(worker.slot & UINT32_C(0x80000000)))
        return pl_slot_find(worker);
    struct pl_task *task = pl_task_hold(worker);
    struct pl_slot *slot = task ? pl_load_acquire(&task->slot) : NULL;
    if (task)
        pl_task_drop(task, 0);
    return slot;
}

static bool task_waits(plait_worker worker, int wait_kind)
{
    struct pl_task *task = pl_task_hold(worker);
    if (!task)
        return foreign_task_waits(worker, wait_kind);
    bool waits = is_parked(task, wait_kind);
    pl_task_drop(task, 0);
    return waits;
}

/* Of a thread of this process that has tasks: its own flow is one of them. */
static bool root_waits(plait_worker thread, int wait_kind)
{
    struct pl_loop *loop = pl_loops_lock(thread.slot);
    bool waits = loop && is_parked(&loop->root, wait_kind);
    pl_loops_unlock();
    return waits;
}

bool t_waits(plait_worker worker, int wait_kind)
{
    if (worker.slot & UINT32_C(0x80000000))
        return task_waits(worker, wait_kind);
    struct pl_slot *slot = pl_slot_find(worker);
    if (slot && pl_load_acquire(&slot->runs_tasks) && plait_pid(worker) == getpid())
        return root_waits(worker, wait_kind);
    if (!slot || plait_state(worker) != PLAIT_STATE_BLOCKED)
        return false;
    if (!is_kind(__atomic_load_n(&slot->waits_kind, __ATOMIC_SEQ_CST), wait_kind))
        return false;
    char state = state_letter(plait_pid(worker), plait_tid(worker));
    return state == 'S' || state == 'T'; /* not merely about to sleep */
}

/* --- settings --- */

#define PRIVATE_THREADS                                                                            \
    {                                                                                              \
        "threads, private memory", {PLAIT_THREAD, PLAIT_THREAD}, false                             \
    }
#define THREADS                                                                                    \
    {                                                                                              \
        "threads, arena", {PLAIT_THREAD, PLAIT_THREAD}, true                                       \
    }
#define PROCESSES                                                                                  \
    {                                                                                              \
        "processes", {PLAIT_PROCESS, PLAIT_PROCESS}, true                                          \
    }
#define MIXED                                                                                      \
    {                                                                                              \
        "threads and processes", {PLAIT_PROCESS, PLAIT_THREAD}, true                               \
    }

#define PRIVATE_TASKS                                                                              \
    {                                                                                              \
        "tasks, private memory", {PLAIT_TASK, PLAIT_TASK}, false                                   \
    }
#define PRIVATE_TASKS_AND_THREADS                                                                  \
    {                                                                                              \
        "tasks and threads, private memory", {PLAIT_TASK, PLAIT_THREAD}, false                     \
    }
#define TASKS                                                                                      \
    {                                                                                              \
        "tasks, arena", {PLAIT_TASK, PLAIT_TASK}, true                                             \
    }
#define TASKS_AND_THREADS                                                                          \
    {                                                                                              \
        "tasks and threads, arena", {PLAIT_THREAD, PLAIT_TASK}, true                               \
    }
#define TASKS_AND_PROCESSES                                                                        \
    {                                                                                              \
        "tasks and processes", {PLAIT_TASK, PLAIT_PROCESS}, true                                   \
    }

const struct t_setting t_private_threads = PRIVATE_THREADS, t_threads = THREADS,
                       t_processes = PROCESSES, t_mixed = MIXED, t_private_tasks = PRIVATE_TASKS,
                       t_tasks = TASKS, t_tasks_and_processes = TASKS_AND_PROCESSES;
const struct t_setting t_settings[] = {
    PRIVATE_THREADS, THREADS,           PROCESSES,
    MIXED,           PRIVATE_TASKS,     PRIVATE_TASKS_AND_THREADS,
    TASKS,           TASKS_AND_THREADS, TASKS_AND_PROCESSES,
    {.name = NULL}};

const struct t_setting *t_begin(const struct t_setting *setting)
{
    current = setting->name ? setting : NULL;
    return setting;
}

bool t_has_processes(const struct t_setting *setting)
{
    return setting->kinds[0] == PLAIT_PROCESS || setting->kinds[1] == PLAIT_PROCESS;
}

bool t_has_tasks(const struct t_setting *setting)
{
    return setting->kinds[0] == PLAIT_TASK || setting->kinds[1] == PLAIT_TASK;
}

bool t_is_all_processes(const struct t_setting *setting)
{
    return setting->kinds[0] == PLAIT_PROCESS && setting->kinds[1] == PLAIT_PROCESS;
}

void *t_new(const struct t_setting *setting, size_t size)
{
    void *block = setting->shared ? plait_alloc(size) : calloc(1, size);
    if (!block)
        t_die(__FILE__, __LINE__, "no %zu bytes: %s", size, plait_errname(plait_last_error()));
    return block;
}

void t_delete(const struct t_setting *setting, void *block)
{
    if (setting->shared)
        CHECK_RC(plait_free(block), 0);
    else
        free(block);
}

/* --- workers --- */

plait_worker t_start_one(int kind, plait_function *fn, void *arg)
{
    plait_worker worker;
    plait_options options = {.start_method = kind == PLAIT_PROCESS ? PLAIT_FORK : 0};
    CHECK_RC(plait_start(&worker, kind, fn, arg, &options), 0);
    if (kind == PLAIT_TASK) /* asked to stop before its first step it would have none */
        t_give_way();
    return worker;
}

int t_join_blame(plait_worker worker, plait_blame *ret)
{
    int rc = plait_join(worker, ret, plait_seconds(T_PATIENCE_S));
    if (rc < 0)
        t_die(__FILE__, __LINE__, "join of slot %u: %s", worker.slot, plait_errname(rc));
    return ret->status;
}

int t_join_one(plait_worker worker)
{
    plait_blame end;
    return t_join_blame(worker, &end);
}

void t_start_each(struct t_team *team, const struct t_setting *setting, int n, plait_function *fn,
                  void *args, size_t size)
{
    CHECK(n <= T_TEAM_MOST);
    team->n = n;
    for (int i = 0; i < n; i++)
        team->workers[i] = t_start_one(setting->kinds[i % 2], fn, (char *)args + (size_t)i * size);
}

void t_start(struct t_team *team, const struct t_setting *setting, int n, plait_function *fn,
             void *arg)
{
    t_start_each(team, setting, n, fn, arg, 0);
}

void t_join(struct t_team *team)
{
    for (int i = 0; i < team->n; i++)
        CHECK_EQ(t_join_one(team->workers[i]), 0);
    team->n = 0;
}

void t_kill(plait_worker worker)
{
    CHECK_RC(plait_kill(worker), 0);
    CHECK_EQ(t_join_one(worker), -SIGKILL);
}

void t_stop(plait_worker worker)
{
    int pid = plait_pid(worker);
    CHECK(pid > 0 && plait_kind_of(worker) == PLAIT_PROCESS);
    CHECK_EQ(kill(pid, SIGSTOP), 0);
    UNTIL(state_letter(pid, pid) == 'T');
}

void t_continue(plait_worker worker)
{
    CHECK_EQ(kill(plait_pid(worker), SIGCONT), 0);
}

pid_t t_fork(plait_function *fn, void *arg)
{
    fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        _exit(fn(arg));
    return pid;
}

int t_reap(pid_t pid)
{
    int status;
    struct t_poll poll = {0};
    pid_t rc;
    while ((rc = waitpid(pid, &status, WNOHANG)) == 0)
        t_poll_again(&poll, __FILE__, __LINE__, "a forked child ends");
    CHECK_EQ(rc, pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

int t_in_fork(plait_function *fn, void *arg)
{
    return t_reap(t_fork(fn, arg));
}

struct call {
    plait_function *fn;
    void *arg;
    int result;
};

static void *make_call(void *arg)
{
    struct call *call = arg;
    call->result = call->fn(call->arg);
    return NULL;
}

int t_in_pthread(plait_function *fn, void *arg)
{
    struct call call = {fn, arg, 0};
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, make_call, &call), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    return call.result;
}

/* --- any blocking call --- */

int t_wait_once(void *arg)
{
    struct t_waiter *w = arg;
    TELL(w->step, 1);
    w->rc = w->call(w->object, w->timeout);
    TELL(w->step, 2);
    return 0;
}

void t_check_bad_timeouts(t_wait *call, void *object)
{
    errno = EXDEV;
    CHECK_RC(call(object, -2), PLAIT_EINVAL);
    CHECK_RC(call(object, plait_ms(-1)), PLAIT_EINVAL);
    CHECK_RC(call(object, INT64_MIN), PLAIT_EINVAL);
    CHECK_RC(call(object, plait_seconds(__builtin_nan(""))), PLAIT_EINVAL);
    CHECK_RC(call(object, PLAIT_TIMEOUT_MAX + 1), PLAIT_EOVERFLOW);
    CHECK_RC(call(object, INT64_MAX), PLAIT_EOVERFLOW);
    CHECK_RC(call(object, plait_ms(INT64_MAX)), PLAIT_EOVERFLOW);
    CHECK_RC(call(object, plait_seconds(1e300)), PLAIT_EOVERFLOW);
    CHECK_EQ(errno, EXDEV);
}

static int wait_with_bad_size(void *waiter)
{
    struct t_waiter *w = waiter;
    setenv("PLAIT_ARENA_SIZE", "nonsense", 1);
    CHECK_RC(w->call(w->object, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_EQ(plait_self().slot, 0);
    return 0;
}

static int wait_without_room(void *waiter)
{
    struct t_waiter *w = waiter;
    struct rlimit limit = {INT64_C(1) << 30, INT64_C(1) << 30};
    setenv("PLAIT_ARENA_SIZE", "16G", 1);
    CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
    CHECK_RC(w->call(w->object, PLAIT_FOREVER), PLAIT_EARENA);
    CHECK_EQ(plait_self().slot, 0);
    return 0;
}

void t_check_no_arena(t_wait *call, void *object)
{
    struct t_waiter w = {.call = call, .object = object};
    CHECK(pl_arena == NULL);
    CHECK_EQ(t_in_fork(wait_with_bad_size, &w), 0);
    if (!t_is_sanitized()) /* which needs the room itself */
        CHECK_EQ(t_in_fork(wait_without_room, &w), 0);
}

void t_check_time(t_wait *call, void *object)
{
    errno = EXDEV;
    CHECK_RC(call(object, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
    CHECK_RC(call(object, 1), PLAIT_ETIMEDOUT);
    int64_t start = plait_now();
    CHECK_RC(call(object, plait_ms(20)), PLAIT_ETIMEDOUT);
    CHECK(plait_now() - start >= plait_ms(20));
    CHECK_EQ(errno, EXDEV);
}

/* Naps of 1, 20, 40, 80, 160, 320 ms: the sixth lasts from 301 to 621 ms after the wait began. */
void t_let_naps_grow(void)
{
    t_sleep(plait_ms(330));
}

void t_check_at_once(int64_t (*scene)(void))
{
    int64_t took[3];
    for (int i = 0; i < 3; i++) {
        took[i] = scene();
        if (took[i] < plait_ms(T_AT_ONCE_MS))
            return;
    }
    t_die(__FILE__, __LINE__, "they slept on for %ld, %ld and %ld ms", (long)(took[0] / 1000000),
          (long)(took[1] / 1000000), (long)(took[2] / 1000000));
}

static _Thread_local struct t_alarms *alarms_here;

static void count_alarm(int signal)
{
    (void)signal;
    if (alarms_here)
        alarms_here->handled++;
}

void t_alarms_start(struct t_alarms *alarms, int64_t period)
{
    struct sigaction action = {.sa_handler = count_alarm};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM};
    struct timespec ts = {.tv_sec = period / 1000000000, .tv_nsec = period % 1000000000};
    struct itimerspec every = {ts, ts};
    timer_t timer;
    event._sigev_un._tid = gettid();
    alarms->handled = 0;
    alarms_here = alarms;
    CHECK_EQ(sigaction(SIGALRM, &action, NULL), 0);
    CHECK_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    CHECK_EQ(timer_settime(timer, 0, &every, NULL), 0);
    alarms->timer = timer;
}

void t_alarms_stop(struct t_alarms *alarms)
{
    CHECK_EQ(timer_delete((timer_t)alarms->timer), 0);
    alarms_here = NULL;
}

/* Were the time restarted by each signal, the call would never end. */
void t_check_signals(t_wait *call, void *object)
{
    struct t_alarms alarms;
    t_alarms_start(&alarms, plait_ms(3));
    int64_t start = plait_now();
    int rc = call(object, plait_ms(60));
    int64_t took = plait_now() - start;
    t_alarms_stop(&alarms);
    CHECK_RC(rc, PLAIT_ETIMEDOUT);
    CHECK(took >= plait_ms(60));
    CHECK(alarms.handled > 0);
}

static struct t_waiter *new_waiter(const struct t_setting *setting, t_wait *call, void *object)
{
    struct t_waiter *w = t_new(setting, sizeof *w);
    w->call = call;
    w->object = object;
    w->timeout = PLAIT_FOREVER;
    return w;
}

void t_check_cancel(const struct t_setting *setting, t_wait *call, void *object)
{
    for (int i = 0; i < 2; i++) {
        struct t_waiter *w = new_waiter(setting, call, object);
        plait_worker worker = t_start_one(setting->kinds[i], t_wait_once, w);
        UNTIL_WAITS(worker, 0);
        CHECK_RC(plait_cancel(worker), 0);
        CHECK_EQ(t_join_one(worker), 0);
        CHECK_RC(w->rc, PLAIT_ECANCELED);
        t_delete(setting, w);
    }
}

/* Runs a waiter of each kind that begins when told, after it was asked to stop `times` times. */
static void cancel_first(const struct t_setting *setting, t_wait *call, void *object, int times,
                         plait_function *fn)
{
    for (int i = 0; i < 2; i++) {
        struct t_waiter *w = new_waiter(setting, call, object);
        plait_worker worker = t_start_one(setting->kinds[i], fn, w);
        for (int k = 0; k < times; k++)
            CHECK_RC(plait_cancel(worker), 0);
        TELL(w->go, 1);
        CHECK_EQ(t_join_one(worker), 0);
        t_delete(setting, w);
    }
}

static int canceled_once(void *arg)
{
    struct t_waiter *w = arg;
    TELL(w->step, 1);
    UNTIL(SEEN(w->go));
    CHECK_EQ(plait_cancelling(), 1);
    CHECK_RC(w->call(w->object, PLAIT_FOREVER), PLAIT_ECANCELED);
    CHECK_RC(w->call(w->object, plait_ms(5)), PLAIT_ETIMEDOUT); /* delivered once, not for ever */
    CHECK_EQ(plait_cancelling(), 1);
    return 0;
}

void t_check_cancel_pending(const struct t_setting *setting, t_wait *call, void *object)
{
    cancel_first(setting, call, object, 1, canceled_once);
}

static int canceled_twice(void *arg)
{
    struct t_waiter *w = arg;
    TELL(w->step, 1);
    UNTIL(SEEN(w->go));
    CHECK_EQ(plait_cancelling(), 2);
    CHECK_RC(w->call(w->object, PLAIT_FOREVER), PLAIT_ECANCELED);
    CHECK_RC(w->call(w->object, plait_ms(5)), PLAIT_ETIMEDOUT); /* they came together */
    CHECK_EQ(plait_cancelling(), 2);
    CHECK_EQ(plait_uncancel(), 1);
    CHECK_EQ(plait_uncancel(), 0);
    CHECK_EQ(plait_uncancel(), 0); /* there is none to take back */
    CHECK_EQ(plait_cancelling(), 0);
    CHECK_RC(w->call(w->object, plait_ms(5)), PLAIT_ETIMEDOUT);
    return 0;
}

void t_check_cancel_counts(const struct t_setting *setting, t_wait *call, void *object)
{
    cancel_first(setting, call, object, 2, canceled_twice);
}

static int uncanceled(void *arg)
{
    struct t_waiter *w = arg;
    TELL(w->step, 1);
    UNTIL(SEEN(w->go));
    CHECK_EQ(plait_uncancel(), 0);
    CHECK_RC(w->call(w->object, plait_ms(5)), PLAIT_ETIMEDOUT);
    return 0;
}

void t_check_uncancel(const struct t_setting *setting, t_wait *call, void *object)
{
    cancel_first(setting, call, object, 1, uncanceled);
}

#ifdef PL_STEP_HOOKS
static _Thread_local struct {
    struct t_meddling *m;
    void *object;
    bool busy;
    int64_t last; /* deed */
} meddler;

/* Whether the caller is within a bucket of the parking lot, whose lock keeps others out, too: from the step
 * after the cas on that lock to the exchange that lets it go. */
static bool is_in_bucket(const char *what, const uint32_t *word)
{
    static _Thread_local bool inside;
    bool was_inside = inside;
    if (pl_lot_holds(word) && strcmp(what, "cas") == 0)
        inside = true;
    if (pl_lot_holds(word) && strcmp(what, "exchange") == 0)
        inside = false;
    return was_inside;
}

/* Whether the step is one in the worker table that no deed can meet: who is alive, what is on record about
 * waits, and all of an entry where nobody lives. */
static bool is_beside_the_point(const void *word)
{
    uintptr_t at = (uintptr_t)word - (uintptr_t)pl_slot_at(0);
    if (at / PL_SLOT_SIZE >= pl_arena->n_slots)
        return false;
    struct pl_slot *slot = pl_slot_at((uint32_t)(at / PL_SLOT_SIZE));
    size_t field = at % PL_SLOT_SIZE;
    return field < offsetof(struct pl_slot, asked) ||
           (field >= offsetof(struct pl_slot, waits_seq) &&
            field < offsetof(struct pl_slot, turn)) ||
           pl_life_of(__atomic_load_n(&slot->life, __ATOMIC_ACQUIRE)) != PL_RUNNING;
}

static void do_deeds(const char *what, const void *word)
{
    struct t_meddling *m = meddler.m;
    if (!m || meddler.busy || is_beside_the_point(word))
        return;
    meddler.busy = true;
    m->steps++;
    bool possible = !is_in_bucket(what, word);
    for (int i = 0; i < 2; i++)
        if (!m->done[i] && m->steps >= m->at[i] && possible) {
            m->done[i] = m->deeds[i](meddler.object);
            meddler.last = plait_now();
        }
    meddler.busy = false;
}

int t_meddle(struct t_meddling *m, t_wait *call, void *object, int64_t timeout)
{
    CHECK(plait_self().slot); /* registered, and the arena is there */
    pl_self.spin_budget = 1;  /* no spinning: it would only repeat the same steps */
    __atomic_store_n(&pl_arena->last_sweep, PLAIT_TIMEOUT_MAX, __ATOMIC_RELAXED); /* nor sweeping */
    m->steps = 0;
    m->done[0] = m->done[1] = false;
    meddler.object = object;
    meddler.last = plait_now();
    meddler.m = m;
    int rc = call(object, timeout);
    meddler.m = NULL;
    m->took = plait_now() - meddler.last;
    __atomic_store_n(&pl_arena->last_sweep, plait_now(), __ATOMIC_RELAXED);
    return rc;
}

void t_each_pair(int (*round)(void *arg, long i, long k), void *arg)
{
    int stride = t_is_sanitized() ? 3 : 1;
    bool ever = true; /* the first deed came in time, for some step of the second */
    for (long i = 1; ever; i += stride) {
        int late = 0;
        ever = false;
        for (long k = 1; !(late & T_SECOND_LATE); k += stride) {
            late = round(arg, i, k);
            ever |= !(late & T_FIRST_LATE);
        }
    }
}

int t_came_late(const struct t_meddling *m)
{
    return (m->done[0] ? 0 : T_FIRST_LATE) | (m->done[1] ? 0 : T_SECOND_LATE);
}

void t_check_canceled_once(const struct t_meddling *m, int rc)
{
    int heard = rc == PLAIT_ECANCELED;
    heard += plait_checkpoint() == PLAIT_ECANCELED;
    CHECK_EQ(heard, m->done[1]);
    while (plait_uncancel() > 0)
        ;
}

bool t_cancel_me(void *unused)
{
    (void)unused;
    CHECK_RC(plait_cancel(plait_self()), 0);
    return true;
}
#endif

/* --- length, chance, leftovers --- */

long t_scaled(long n)
{
    const char *text = getenv("PLAIT_TEST_SCALE");
    long scale = text ? strtol(text, NULL, 10) : 1;
    return n * (scale > 0 ? scale : 1);
}

bool t_is_under_tsan(void)
{
    return PL_TSAN;
}

bool t_is_sanitized(void)
{
    return PL_ASAN || PL_TSAN;
}

bool t_may_fork_beside_threads(void)
{
#ifdef __clang__
    return !PL_ASAN;
#endif
    return !t_is_sanitized();
}

uint64_t t_seed(void)
{
    const char *text = getenv("PLAIT_TEST_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 10) : (uint64_t)plait_now();
    fprintf(stderr, "PLAIT_TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

long t_rounds(long n)
{
    long rounds = t_scaled(n);
    return t_is_sanitized() && rounds >= 4 ? rounds / 4 : rounds;
}

void t_dither(uint64_t *random, int64_t most)
{
    if (pl_self.task) /* the times of a thread's tasks add up */
        most = most / 8 + 1;
    int64_t end = plait_now() + (int64_t)(t_random(random) % (uint64_t)most);
    do
        t_give_way();
    while (plait_now() < end);
}

/* splitmix64 */
uint64_t t_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

int t_below(uint64_t *state, int n)
{
    return (int)(t_random(state) % (uint64_t)n);
}

/* Tests say by variables of their own what workers are to do, which a clean process would not see. Those about the
 * start methods ask for each. */
__attribute__((constructor)) static void fork_by_default(void)
{
    plait_set_start_method(PLAIT_FORK);
}

void t_arguments(int argc, char **argv)
{
#ifdef PL_STEP_HOOKS
    pl_step_hook = do_deeds; /* before there are threads that read it */
#endif
    for (int i = 1; i < argc; i++)
        if (argv[i][0] == '-')
            cmocka_set_skip_filter(argv[i] + 1);
        else
            cmocka_set_test_filter(argv[i]);
}

bool t_has_children(void)
{
    siginfo_t info;
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

int t_open_files(void)
{
    int n = 0;
    DIR *folder = opendir("/proc/self/fd");
    CHECK(folder != NULL);
    while (readdir(folder))
        n++;
    closedir(folder);
    return n - 3; /* "." and ".." and the folder itself */
}

/* --- a world of its own --- */

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return done;
}

/* Who is not root may be so in a namespace of users that has but himself. */
static bool become_root_of_few(void)
{
    char users[40], groups[40];
    snprintf(users, sizeof users, "%u %u 1", (unsigned)geteuid(), (unsigned)geteuid());
    snprintf(groups, sizeof groups, "%u %u 1", (unsigned)getegid(), (unsigned)getegid());
    return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && write_file("/proc/self/uid_map", users) &&
           write_file("/proc/self/setgroups", "deny") && write_file("/proc/self/gid_map", groups);
}

/* Into what may not be looked at by processes of the same user with fewer capabilities. */
static void be_nobody_special(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    syscall(SYS_capset, &head, none);
    prctl(PR_SET_DUMPABLE, 1);
}

bool t_private_shm(void)
{
    bool is_root = unshare(CLONE_NEWNS) == 0;
    if (!is_root && !become_root_of_few())
        return false;
    bool mounted = mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                   mount("none", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, NULL) == 0;
    if (!is_root)
        be_nobody_special();
    return mounted;
}
