/* The watchdog: names the task that keeps a loop from going on, and says where it is.
 *
 * Naive: note the clock at each switch and compare it at the next. That costs each switch, and tells of a task that never
 * yields nothing at all. So: each loop counts the turns it gives, which it has to do anyway to know when a pass is
 * over, and a helper thread looks at the counts now and then. Its race: what it has seen may be over when it speaks. So
 * it lets the slow thread itself have the last word, in the handler of a signal: that thread knows whether the turn in question
 * still lasts, who runs, and by what calls it got there. Facts:
 *   1 `turns` grows with each turn, and when the loop goes idle: the same number seen twice was the same turn all the
 *     time between;
 *   2 the handler runs in the loop's thread, so nothing of the loop changes meanwhile. If the number is still the one that
 *     was asked for, the loop is not idle, and the calling task runs, it is that turn, and it has lasted as long as
 *     the watchdog says, at least;
 *   3 one question at a time, R:watch.stage/A:watch.stage: asked, taken by the handler, answered. It is withdrawn if the turn
 *     has ended, or the thread has the signal blocked, before it was taken; what is taken is waited for, so a late handler finds no question;
 *   4 the signal goes to a thread whose loop is in the list, under the list's lock: the thread is there.
 * The handler calls what signal handlers may, and backtrace, which is called once before, so that nothing is loaded there.
 *
 * Nothing runs and no handler is installed until the mode is on. */
#include "base/atomic.h"
#include "base/clock.h"
#include "base/log.h"
#include "park/record.h"
#include "port/symbol.h"
#include "task/task_internal.h"

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum {
    FRAMES_MOST = 48,
    DEAF = 10,                /* so many slices */
    LEAST = 1000 * 1000,      /* ns; a shorter limit is taken for this */
    SLICE = 10 * 1000 * 1000, /* ns of waiting for the handler, then a look whether it can come */
};

/* What is known of a loop. The watchdog's. */
struct pl_watched {
    struct pl_watched *next;
    uint64_t serial;                /* of the loop */
    uint64_t turns;                 /* as seen last */
    int64_t since;                  /* when they were seen first */
    uint64_t round;                 /* the look at which the loop was in the list */
    bool asked;                     /* about this turn */
    bool told;                      /* it has been reported */
    int64_t total;                  /* a reported turn that is over: how long it was */
    char who[PLAIT_NAME_SIZE + 32]; /* of the reported turn */
};

/* --- the question --- */

enum stage { QUIET, ASKED, TAKEN, ANSWERED };

static struct {
    uint32_t stage; /* atomic: enum stage */
    sem_t answered;

    /* The watchdog writes these before it asks. */
    const struct pl_loop *loop;
    uint64_t serial, turns;

    /* The handler writes these before it answers. */
    bool still; /* that turn still lasts */
    bool is_root, is_named;
    char name[PLAIT_NAME_SIZE];
    uint32_t index;
    int n;
    void *frames[FRAMES_MOST];
} question;

static int signal_used; /* 0: none yet, -1: none to be had. The watchdog writes it */

/* Where the thread was interrupted; NULL: unknown on this processor. */
static const void *interrupted_at(const void *context)
{
    const ucontext_t *c = context;
#if defined(__x86_64__)
    return (const void *)c->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (const void *)c->uc_mcontext.pc;
#else
    (void)c;
    return NULL;
#endif
}

/* The frames of the handler itself are not wanted. */
static void keep_frames(const void *at)
{
    void *frames[FRAMES_MOST + 8];
    int n = backtrace(frames, FRAMES_MOST + 8), first = 0;
    while (first < n && frames[first] != at)
        first++;
    if (first == n)
        first = 0;
    question.n = n - first < FRAMES_MOST ? n - first : FRAMES_MOST;
    memcpy(question.frames, frames + first, (size_t)question.n * sizeof frames[0]);
}

static void answer(const void *context)
{
    const struct pl_task *self = pl_self.task;
    const struct pl_loop *loop = self ? self->loop : NULL;
    question.still = loop && loop == question.loop && loop->serial == question.serial &&
                     loop->turns == question.turns && !loop->idle && self->state == PL_TASK_RUNNING;
    if (!question.still)
        return;
    question.is_root = self == &loop->root;
    question.is_named = self->name != NULL;
    question.index = self->index;
    if (self->name)
        memcpy(question.name, self->name, PLAIT_NAME_SIZE);
    keep_frames(interrupted_at(context));
}

static void handle(int signal, siginfo_t *info, void *context)
{
    int saved = errno;
    uint32_t asked = ASKED;
    (void)signal;
    (void)info;
    if (pl_cas_acquire(&question.stage, &asked, (uint32_t)TAKEN)) { /* A:watch.stage */
        answer(context);
        pl_store_release(&question.stage, (uint32_t)ANSWERED); /* R:watch.answer */
        sem_post(&question.answered);
    }
    errno = saved;
}

/* A real-time signal that nobody uses, from the top. It stays ours: one may be on its way. */
static void choose_signal(void)
{
    struct sigaction now,
        ours = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
    void *frame;
    backtrace(&frame, 1); /* loads what it needs */
    sigfillset(&ours.sa_mask);
    signal_used = -1;
    for (int s = SIGRTMAX - 1; s >= SIGRTMIN && signal_used < 0; s--)
        if (sigaction(s, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) &&
            now.sa_handler == SIG_DFL && sigaction(s, &ours, NULL) == 0)
            signal_used = s;
}

/* Under the lock of the list. */
static void ask(const struct pl_loop *loop, uint64_t turns)
{
    question.loop = loop;
    question.serial = loop->serial;
    question.turns = turns;
    pl_store_release(&question.stage, (uint32_t)ASKED); /* R:watch.stage */
    if (signal_used > 0)
        syscall(SYS_tgkill, getpid(), pl_load_relaxed(&loop->thread->tid), signal_used);
}

/* What the kernel says of a thread's blocked signals. */
static bool has_blocked(int tid, int signal)
{
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/self/task/%d/status", tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    const char *mask = strstr(text, "SigBlk:");
    return mask && strtoull(mask + 7, NULL, 16) >> (signal - 1) & 1;
}

/* What hinders an answer, at one look. */
struct hindrance {
    bool over; /* the turn */
    bool deaf; /* its thread, just now */
};

static void reconsider(struct pl_loop *loop, void *arg)
{
    struct hindrance *h = arg;
    if (loop != question.loop || loop->serial != question.serial)
        return;
    h->over = pl_load_relaxed(&loop->turns) != question.turns;
    h->deaf = signal_used < 0 || has_blocked(pl_load_relaxed(&loop->thread->tid), signal_used);
}

static bool wait_a_little(void)
{
    struct timespec until = pl_timespec(plait_now() + SLICE);
    return sem_clockwait(&question.answered, CLOCK_MONOTONIC, &until) == 0;
}

/* False: nobody took the question. The C library blocks signals too, for moments; so a thread is deaf only if it is found so
 * several times. */
static bool wait_for_answer(void)
{
    uint32_t asked = ASKED;
    struct hindrance h = {.over = false};
    bool taken = wait_a_little();
    for (int deaf = 0; !taken && !h.over && deaf < DEAF; taken = wait_a_little()) {
        h = (struct hindrance){.over = true};
        pl_loops_each(reconsider, &h);
        deaf = h.deaf ? deaf + 1 : 0;
    }
    if (!taken && !pl_cas_relaxed(&question.stage, &asked, (uint32_t)QUIET)) {
        while (sem_wait(&question.answered) != 0) /* fact 3 */
            ;
        taken = true;
    }
    taken = taken && pl_load_acquire(&question.stage) == ANSWERED; /* A:watch.answer */
    pl_store_relaxed(&question.stage, (uint32_t)QUIET);
    return taken;
}

/* --- looking --- */

static struct {
    pthread_mutex_t lock; /* of the next three */
    pthread_cond_t news;  /* for the watchdog */
    bool runs;            /* there is a watchdog */
    bool has_news;        /* it is to look again */

    int64_t limit; /* atomic: ns; 0: off. Written under the lock */

    /* The watchdog's own. */
    uint64_t round;
    int n_loops;
    struct pl_watched *notes, *due; /* due: to be asked about */
    int64_t due_for;
    int due_others;
    char due_thread[PLAIT_NAME_SIZE];
} dog;

static struct pl_watched *note_of(struct pl_loop *loop)
{
    struct pl_watched *note = loop->watched;
    if (note || !(note = calloc(1, sizeof *note)))
        return note;
    note->serial = loop->serial;
    note->turns = pl_load_relaxed(
        &loop->turns); /* a loop in its first turn has been so since now, as far as we know */
    note->since = plait_now();
    note->next = dog.notes;
    dog.notes = loop->watched = note;
    return note;
}

static void begin_turn(struct pl_watched *note, uint64_t turns, int64_t now)
{
    if (note->told)
        note->total = now - note->since;
    note->asked = note->told = false;
    note->turns = turns;
    note->since = now;
}

static void choose(struct pl_loop *loop, struct pl_watched *note, int64_t now)
{
    note->asked = true;
    dog.due = note;
    dog.due_for = now - note->since;
    dog.due_others = pl_load_relaxed(&loop->live);
    pl_name_get(loop->thread, dog.due_thread);
    ask(loop, note->turns);
}

/* Under the lock of the list. Whether nobody is held up: the loop is idle, or its thread has no tasks. */
static bool is_well(const struct pl_loop *loop)
{
    return pl_load_relaxed(&loop->idle) || (pl_load_relaxed(&loop->live) == 0 &&
                                            pl_load_relaxed(&loop->root.state) == PL_TASK_RUNNING);
}

static void look_at(struct pl_loop *loop, void *limit)
{
    struct pl_watched *note = note_of(loop);
    int64_t now = plait_now();
    uint64_t turns = pl_load_relaxed(&loop->turns);
    dog.n_loops++;
    if (!note)
        return;
    note->round = dog.round;
    if (turns != note->turns || is_well(loop))
        begin_turn(note, turns, now);
    else if (!note->asked && !dog.due && now - note->since >= *(int64_t *)limit)
        choose(loop, note, now);
}

/* --- telling --- */

static void add_frames(struct pl_text *text)
{
    char symbol[128];
    for (int i = 0; i < question.n; i++) {
        const char *at = question.frames[i];
        pl_symbol(i > 0 ? at - 1 : at, symbol,
                  sizeof symbol); /* others are where calls return to */
        if (strncmp(symbol, "pl_task_main", 12) == 0)
            break;
        if (symbol[0])
            pl_text_add(text, "plait:   in %s\n", symbol);
        else
            pl_text_add(text, "plait:   in %p\n", (const void *)at);
    }
}

static void describe(struct pl_watched *note, bool answered)
{
    if (!answered)
        snprintf(note->who, sizeof note->who, "a task of \"%s\"", dog.due_thread);
    else if (question.is_root)
        snprintf(note->who, sizeof note->who, "\"%s\"", dog.due_thread);
    else if (question.is_named)
        snprintf(note->who, sizeof note->who, "\"%s\"", question.name);
    else
        snprintf(note->who, sizeof note->who, "\"Task-%u\"", question.index + 1);
}

static void report(struct pl_watched *note, bool answered)
{
    static struct pl_text text; /* the watchdog's */
    if (answered &&
        !question.still) { /* it is over, or has not begun: the loop is still preparing it */
        note->asked = false;
        note->since = plait_now();
        return;
    }
    describe(note, answered);
    int others = dog.due_others - !(answered && question.is_root);
    text.length = 0;
    pl_text_add(&text, "plait: slow task: %s has run for %lld ms", note->who,
                (long long)dog.due_for / 1000000);
    pl_text_add(&text, " without a wait; other tasks of \"%s\": %d\n", dog.due_thread, others);
    if (answered)
        add_frames(&text);
    note->told = true;
    pl_log(text.bytes);
}

static void report_end(struct pl_watched *note)
{
    struct pl_text text = {.length = 0};
    pl_text_add(&text, "plait: slow task: %s let others run after %lld ms\n", note->who,
                (long long)note->total / 1000000);
    note->total = 0;
    pl_log(text.bytes);
}

/* Tells of turns that are over; forgets loops that are. */
static void look_at_notes(int64_t now)
{
    for (struct pl_watched **at = &dog.notes; *at;) {
        struct pl_watched *note = *at;
        bool gone = note->round != dog.round;
        if (gone)
            begin_turn(note, 0, now);
        if (note->total)
            report_end(note);
        if (gone) {
            *at = note->next;
            free(note);
        } else {
            at = &note->next;
        }
    }
}

/* One look at all loops. True: somebody may be due still. */
static bool look(int64_t limit)
{
    dog.round++;
    dog.n_loops = 0;
    dog.due = NULL;
    pl_loops_each(look_at, &limit);
    struct pl_watched *due = dog.due;
    if (due)
        report(due, wait_for_answer());
    look_at_notes(plait_now());
    return due;
}

/* --- the thread --- */

/* Sleeps until the next look. The limit; 0: the watchdog is to end. */
static int64_t rest(void)
{
    pthread_mutex_lock(&dog.lock);
    int64_t limit = dog.limit;
    struct timespec until = pl_timespec(plait_now() + limit / 2);
    if (!dog.has_news && dog.n_loops > 0)
        pthread_cond_timedwait(&dog.news, &dog.lock, &until);
    while (!dog.has_news && dog.n_loops == 0)
        pthread_cond_wait(&dog.news, &dog.lock);
    dog.has_news = false;
    limit = dog.limit;
    dog.runs = limit > 0;
    pthread_mutex_unlock(&dog.lock);
    return limit;
}

static void *dog_main(void *unused)
{
    int64_t limit;
    (void)unused;
    while ((limit = rest()) > 0)
        while (look(limit))
            ;
    return NULL;
}

/* Signals are for the program's own threads. */
static int start_thread(void)
{
    sigset_t all, before;
    pthread_t thread;
    pthread_attr_t attr;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&thread, &attr, dog_main, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return rc == 0 ? 0 : PLAIT_EAGAIN;
}

/* Under the lock. */
static int wake_dog(void)
{
    int rc = 0;
    dog.has_news = true;
    if (!dog.runs && dog.limit > 0) {
        if (signal_used == 0)
            choose_signal();
        rc = start_thread();
        dog.runs = rc == 0;
    }
    pthread_cond_signal(&dog.news);
    return rc;
}

void pl_watch_begin(void)
{
    int saved = errno;
    if (pl_load_relaxed(&dog.limit) == 0)
        return;
    pthread_mutex_lock(&dog.lock);
    wake_dog(); /* without a thread: with the next loop, perhaps */
    pthread_mutex_unlock(&dog.lock);
    errno = saved;
}

int plait_slow_task_limit(int64_t limit)
{
    if (limit < 0)
        return PLAIT_EINVAL;
    if (limit > PLAIT_TIMEOUT_MAX)
        return PLAIT_EOVERFLOW;
    int saved = errno;
    pthread_mutex_lock(&dog.lock);
    int64_t before = dog.limit;
    pl_store_relaxed(&dog.limit, limit > 0 && limit < LEAST ? LEAST : limit);
    int rc = wake_dog();
    if (rc < 0)
        pl_store_relaxed(&dog.limit, before);
    pthread_mutex_unlock(&dog.lock);
    errno = saved;
    return rc;
}

static void begin_anew(void)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&dog.lock, NULL);
    pthread_cond_init(&dog.news, &attr);
    pthread_condattr_destroy(&attr);
    sem_init(&question.answered, 0, 0);
    question.stage = QUIET;
}

/* There is no watchdog, nor any of the loops it knew; the next loop brings one. */
static void forget_in_child(void)
{
    begin_anew();
    dog.runs = dog.has_news = false;
    dog.n_loops = 0;
    dog.notes = NULL;
}

__attribute__((constructor(101))) static void read_wish(void)
{
    const char *wish = getenv("PLAIT_SLOW_TASK");
    long ms = wish ? strtol(wish, NULL, 10) : 0;
    begin_anew();
    if (ms > 0 && ms <= PLAIT_TIMEOUT_MAX / 1000000)
        dog.limit = ms * INT64_C(1000000);
    pthread_atfork(NULL, NULL, forget_in_child);
}
