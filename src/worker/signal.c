/* Handlers of signals, run by the main thread as tasks.
 *
 * Naive: the C handler sets a flag, and the program looks at it now and then. Its holes: who sleeps does not look; the kernel may
 * have picked another thread, so nothing is interrupted at all; and a sleep that is interrupted goes on from the
 * beginning. Cure: the C handler notes the signal and rings the main thread's bell (park/bell.c), which
 * reaches it in whatever it waits for, by whichever thread. The answer starts a task for each signal that has a
 * handler. Facts:
 *   1 an entry's function, `handled`, `task` and `busy` are the main thread's own. The C handler reads the function (atomic),
 *     and changes `arrived`, the news and the note, in this order: arrived, R:signal.news, the bell;
 *   2 A:signal.news: the answer takes the news before it compares `arrived` with `handled`. Of a signal it misses there, the bell
 *     rings anew;
 *   3 one task for each signal at a time. It compares once more before it ends, and does not wait in between; so
 *     what comes meanwhile is its own, or the bell's;
 *   4 the note of the last signal is written by several threads at once, perhaps: a sequence word, odd while
 *     one is at it; who finds it odd leaves it, being no later than the other. The reader tries again, and as the main thread
 *     may be the writer only in a handler that has returned, it ends;
 *   5 a handler that was copied by fork, or runs in a child of vfork, finds another process than `owner`, and does nothing: it
 *     is the parent's memory, or about to be reset.
 * The C handler calls nothing but system calls and atomics; errno is put back. */
#include "base/atomic.h"
#include "base/error.h"
#include "park/park.h"
#include "worker/signals.h"
#include "worker/tasks.h"
#include "worker/worker_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SIGNALS = 65, STACK = 256 << 10 };

/* The last signal of its kind, in words that may be torn apart (fact 4). All atomic. */
struct note {
    uint32_t seq;
    int32_t code, pid, uid, status, error;
    int64_t value;
};

static struct entry {
    plait_signal_function *fn; /* atomic; fact 1 */
    void *arg;
    uint32_t arrived; /* atomic: counts; the C handler adds */
    uint32_t handled; /* of these */
    bool busy;        /* `task` has been started for it */
    plait_worker task;
    struct note note;
    bool has_foreign;
    struct sigaction foreign; /* what was there before plait */
} entries[SIGNALS];

static uint64_t news;      /* atomic: a bit for each signal that has come since the last answer */
static int32_t owner;      /* atomic: the process that all this belongs to */
static int wakeup_fd = -1; /* atomic; the main thread */
static uint64_t wakeups_lost; /* atomic */

static bool answer(void);
static struct pl_bell bell = {.answer = answer};

static uint64_t bit_of(int signum)
{
    return UINT64_C(1) << (signum - 1);
}

static bool is_function(plait_signal_function *fn)
{
    return (uintptr_t)fn > (uintptr_t)PLAIT_SIGNAL_FOREIGN;
}

static bool is_main_thread(void)
{
    return gettid() == getpid();
}

/* --- the C handler --- */

static void write_note(struct note *note, const siginfo_t *info)
{
    uint32_t seq = pl_load_relaxed(&note->seq);
    if ((seq & 1) || !pl_cas_acquire(&note->seq, &seq, seq + 1))
        return;
    bool child = info->si_signo == SIGCHLD && info->si_code > 0;
    bool sent = info->si_code == SI_QUEUE || info->si_code == SI_TIMER ||
                info->si_code == SI_MESGQ || info->si_code == SI_ASYNCIO;
    bool by_process = child || info->si_code == SI_USER || info->si_code == SI_TKILL ||
                      info->si_code == SI_QUEUE || info->si_code == SI_MESGQ;
    /* R:signal.note: who sees a word of this sees that it changes. */
    pl_store_release(&note->code, (int32_t)info->si_code);
    pl_store_release(&note->pid, by_process ? (int32_t)info->si_pid : 0);
    pl_store_release(&note->uid, by_process ? (int32_t)info->si_uid : 0);
    pl_store_release(&note->status, child ? (int32_t)info->si_status : 0);
    pl_store_release(&note->error, (int32_t)info->si_errno);
    pl_store_release(&note->value, sent ? (int64_t)(intptr_t)info->si_value.sival_ptr : 0);
    pl_store_release(&note->seq, seq + 2);
}

static void wake_loop(int signum)
{
    int fd = pl_load_relaxed(&wakeup_fd);
    unsigned char byte = (unsigned char)signum;
    if (fd >= 0 && write(fd, &byte, 1) != 1)
        pl_fetch_add_relaxed(&wakeups_lost, UINT64_C(1));
}

static void on_signal(int signum, siginfo_t *info, void *context)
{
    int saved = errno;
    struct entry *e = &entries[signum];
    (void)context;
    if (pl_load_relaxed(&owner) != (int32_t)getpid())
        return; /* fact 5 */
    plait_signal_function *fn = pl_load_relaxed(&e->fn);
    if (fn == PLAIT_SIGNAL_CANCEL) {
        if (!pl_interrupt_is_for_first(signum, info)) {
            wake_loop(signum);
            pl_interrupt(signum);
        }
    } else {
        wake_loop(signum);
        write_note(&e->note, info);
        pl_fetch_add_seq_cst(&e->arrived, 1u);
        pl_fetch_or_seq_cst(&news, bit_of(signum)); /* R:signal.news */
        pl_bell_ring(&bell);
    }
    errno = saved;
}

/* --- running handlers --- */

static void read_note(struct note *note, plait_signal_info *ret)
{
    uint32_t seq;
    do { /* A:signal.note, pairs with write_note */
        seq = pl_load_acquire(&note->seq);
        ret->code = pl_load_acquire(&note->code);
        ret->pid = pl_load_acquire(&note->pid);
        ret->uid = pl_load_acquire(&note->uid);
        ret->status = pl_load_acquire(&note->status);
        ret->error = pl_load_acquire(&note->error);
        ret->value = pl_load_acquire(&note->value);
    } while ((seq & 1) || pl_load_acquire(&note->seq) != seq);
}

static bool is_due(const struct entry *e)
{
    return is_function(e->fn) && pl_load_seq_cst(&e->arrived) != e->handled;
}

/* A task of the main thread. */
static int run_handler(void *entry)
{
    struct entry *e = entry;
    while (is_due(e)) {
        uint32_t arrived = pl_load_seq_cst(&e->arrived);
        plait_signal_info info = {.signum = (int)(e - entries), .count = arrived - e->handled};
        e->handled = arrived;
        read_note(&e->note, &info);
        e->fn(&info, e->arg);
    }
    e->busy = false;
    return 0;
}

/* A task that was cancelled before its first step has not run. */
static bool is_busy(const struct entry *e)
{
    return e->busy && plait_is_alive(e->task);
}

static int start_handler(struct entry *e)
{
    char name[PLAIT_NAME_SIZE];
    snprintf(name, sizeof name, "signal %d", (int)(e - entries));
    plait_options o = {.name = name, .detach = true, .stack_size = STACK};
    struct pl_locals *locals = pl_self.locals; /* whose they are is chance */
    pl_self.locals = NULL;
    int rc = pl_task_start(&e->task, run_handler, e, &o);
    pl_self.locals = locals;
    e->busy = rc == 0;
    return rc;
}

static bool answer(void)
{
    bool has_tasks = pl_self.task, all = true;
    int saved = errno;
    uint64_t now = __atomic_exchange_n(&news, 0, __ATOMIC_SEQ_CST); /* A:signal.news */
    for (; now; now &= now - 1) {
        struct entry *e = &entries[__builtin_ctzll(now) + 1];
        if (!is_due(e) || is_busy(e) || start_handler(e) == 0)
            continue;
        pl_fetch_or_seq_cst(&news, now & -now);
        all = false;
    }
    if (!has_tasks && pl_self.task)
        pl_tasks_let_run();
    errno = saved;
    return all;
}

/* --- setting --- */

static int check_number(int signum)
{
    struct sigaction unused;
    int saved = errno;
    bool there = signum > 0 && signum < SIGNALS && sigaction(signum, NULL, &unused) == 0;
    errno = saved;
    return there ? 0 : PLAIT_EINVAL;
}

static int check_settable(int signum)
{
    switch (signum) {
    case SIGKILL:
    case SIGSTOP:
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
        return PLAIT_ENOTSUP;
    case SIGURG:
        return PLAIT_EBUSY;
    default:
        return check_number(signum);
    }
}

static bool is_ours(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) && action->sa_sigaction == on_signal;
}

static void look_up(int signum, plait_signal_action *ret)
{
    struct sigaction now;
    *ret = (plait_signal_action){.fn = PLAIT_SIGNAL_FOREIGN};
    sigaction(signum, NULL, &now);
    if (is_ours(&now))
        *ret = (plait_signal_action){entries[signum].fn, entries[signum].arg};
    else if (!(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL)
        ret->fn = PLAIT_SIGNAL_DEFAULT;
    else if (!(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_IGN)
        ret->fn = PLAIT_SIGNAL_IGNORE;
}

int plait_signal_get(int signum, plait_signal_action *ret)
{
    int rc = ret ? check_number(signum) : PLAIT_EINVAL;
    if (rc == 0 && !is_main_thread())
        rc = PLAIT_EPERM;
    if (rc == 0)
        look_up(signum, ret);
    return rc;
}

static void hang_bell(void)
{
    pl_store_seq_cst(&owner, (int32_t)getpid());
    pl_self.bell = &bell;
}

/* What the kernel is to know. */
static struct sigaction os_action(const struct entry *e, plait_signal_function *fn)
{
    struct sigaction a = {.sa_handler = SIG_DFL};
    if (fn == PLAIT_SIGNAL_FOREIGN)
        return e->foreign;
    if (fn == PLAIT_SIGNAL_IGNORE)
        a.sa_handler = SIG_IGN;
    if (is_function(fn) || fn == PLAIT_SIGNAL_CANCEL) {
        a.sa_sigaction = on_signal;
        a.sa_flags = SA_SIGINFO | SA_ONSTACK;
        if (fn !=
            PLAIT_SIGNAL_CANCEL) /* who reads from a terminal by read(2) is to notice Ctrl-C */
            a.sa_flags |= SA_RESTART;
        sigfillset(&a.sa_mask);
    }
    return a;
}

static void count_handlers(void)
{
    bell.awaited = 0;
    for (int i = 1; i < SIGNALS; i++)
        bell.awaited += is_function(entries[i].fn);
}

/* What has come for a handler that is none any more is not for the next. */
static void set(int signum, plait_signal_function *fn, void *arg)
{
    struct entry *e = &entries[signum];
    struct sigaction before, action = os_action(e, fn);
    hang_bell();
    if (!is_function(fn) || !is_function(e->fn))
        e->handled = pl_load_seq_cst(&e->arrived);
    e->arg = arg;
    pl_store_seq_cst(&e->fn, fn);
    count_handlers();
    sigaction(signum, &action, &before);
    if (!is_ours(&before) && fn != PLAIT_SIGNAL_FOREIGN) {
        e->foreign = before;
        e->has_foreign = true;
    }
    if (signum == SIGINT && !pl_interrupt_is_left_to_first())
        pl_store_relaxed(&pl_arena->ctrl_c, fn == PLAIT_SIGNAL_CANCEL ? 1u : 0u);
    if (fn == PLAIT_SIGNAL_CANCEL)
        pl_worker_watch_exit();
}

int plait_signal(int signum, plait_signal_function *fn, void *arg, plait_signal_action *previous)
{
    plait_signal_action before;
    int rc = check_settable(signum);
    if (rc == 0 && !is_main_thread())
        rc = PLAIT_EPERM;
    if (rc == 0 && fn == PLAIT_SIGNAL_FOREIGN && !entries[signum].has_foreign)
        rc = PLAIT_EINVAL;
    if (rc == 0)
        rc = pl_thread_known();
    if (rc < 0)
        return rc;
    look_up(signum, &before);
    set(signum, fn, arg);
    if (previous)
        *previous = before;
    return 0;
}

int plait_signal_set_wakeup_fd(int fd, int *previous)
{
    int saved = errno;
    int flags = fd >= 0 ? fcntl(fd, F_GETFL) : O_NONBLOCK;
    errno = saved;
    if (!is_main_thread())
        return PLAIT_EPERM;
    if (fd < -1 || flags < 0)
        return PLAIT_EBADF;
    if (!(flags & O_NONBLOCK))
        return PLAIT_EINVAL;
    if (previous)
        *previous = pl_load_relaxed(&wakeup_fd);
    pl_store_seq_cst(&wakeup_fd, fd);
    return 0;
}

uint64_t plait_signal_wakeups_lost(void)
{
    return pl_load_relaxed(&wakeups_lost);
}

/* --- processes --- */

void pl_signals_begin(void)
{
    static bool begun; /* a program that has turned it off does not want it back */
    plait_signal_action now;
    if (begun || !is_main_thread() || pl_interrupt_is_left_to_first())
        return;
    begun = true;
    look_up(SIGINT, &now);
    if (now.fn == PLAIT_SIGNAL_DEFAULT)
        set(SIGINT, PLAIT_SIGNAL_CANCEL, NULL);
}

/* The child has one thread, which is its main one; the tasks are not its own. */
static void begin_anew_in_child(void)
{
    if (owner == 0)
        return;
    for (int i = 1; i < SIGNALS; i++) {
        if (entries[i].handled == entries[i].arrived && !entries[i].busy &&
            (entries[i].note.seq & 1) == 0) /* mostly: no page is to be copied for that */
            continue;
        entries[i].handled = entries[i].arrived;
        entries[i].busy = false;
        entries[i].note.seq &= ~1u;
    }
    __atomic_store_n(&news, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&wakeup_fd, -1, __ATOMIC_RELAXED);
    __atomic_store_n(&wakeups_lost, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&bell.slot, NULL, __ATOMIC_RELAXED);
    bell.heard = bell.rung;
    bell.late = false;
    pl_interrupt_forget();
    if (pl_process_is_forking()) /* so from the first instant: a signal may come any time */
        pl_interrupt_join_family();
    hang_bell();
}

void pl_signals_begin_child(void)
{
    plait_signal_action now;
    if (owner != 0 && owner != (int32_t)getpid()) /* made by clone: no fork handler has run */
        begin_anew_in_child();
    pl_interrupt_join_family();
    look_up(SIGINT, &now);
    if (now.fn == PLAIT_SIGNAL_DEFAULT && pl_arena && pl_load_relaxed(&pl_arena->ctrl_c))
        set(SIGINT, PLAIT_SIGNAL_CANCEL, NULL);
}

/* After that of the registry, which forgets who the caller is. */
__attribute__((constructor(103))) static void watch_fork(void)
{
    pthread_atfork(NULL, NULL, begin_anew_in_child);
}
