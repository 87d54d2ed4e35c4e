/* A death: a process that holds a lock is killed while others wait for it.
 *
 * ns from the call of kill(SIGKILL) until the first of the waiting processes holds the lock; the
 * median of the deaths of one run. What comes before (a holder is forked, the others fall asleep)
 * and after (they let each other in, the dead one is buried) does not count.
 * `waiters` processes wait all through the run; each death costs one holder more, and there is one
 * at a time. How long they have waited when the holder dies is the case:
 *   short: 0.1 ms. Else 5 ms. long: 40 ms; a waiter of plait's has then looked around by itself. */
#ifndef BENCH_RECOVERY_SHAPE_H
#define BENCH_RECOVERY_SHAPE_H

#include "harness.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    RECOVERY_SHORT = 100 * 1000,
    RECOVERY_USUAL = 5 * 1000 * 1000,
    RECOVERY_LONG = 40 * 1000 * 1000,
    RECOVERY_ELSE = 3 * 1000 * 1000, /* ns that a death costs besides, roughly */
    RECOVERY_LEAST = 9,
    RECOVERY_MOST = 512,
    RECOVERY_PATIENCE = 10, /* seconds, then it has failed */
};

/* One kind of lock, shared by processes. */
struct recovery_kind {
    void *(*make)(void);
    void (*hold)(void *lock);    /* as the one who will die */
    bool (*acquire)(void *lock); /* as a waiter; true: and is told of the death */
    void (*release)(void *lock);
};

struct recovery {
    const struct recovery_kind *kind;
    void *lock;
    int waiters;
    sem_t held, begun, done; /* the others tell the first process */
    sem_t go[8];             /* to each waiter: a holder is there */
    bool over;               /* set before the last go */
    int64_t acquired;        /* atomic: when the first one had it; 0: nobody yet */
    int told;                /* atomic: how many heard of this death */
};

static inline void recovery_await(sem_t *semaphore)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += RECOVERY_PATIENCE;
    while (sem_timedwait(semaphore, &until) != 0)
        bench_check(errno == EINTR, "nobody got the lock of the dead");
}

/* Forks; the child does not outlive the first process. */
static inline pid_t recovery_fork(void)
{
    pid_t first = getpid(), pid = fork();
    bench_check(pid >= 0, "no process");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != first)
            _exit(1);
    }
    return pid;
}

static inline void recovery_wait_once(struct recovery *r)
{
    int64_t nobody = 0;
    sem_post(&r->begun);
    bool told = r->kind->acquire(r->lock);
    int64_t now = bench_now();
    __atomic_compare_exchange_n(&r->acquired, &nobody, now, false, __ATOMIC_SEQ_CST,
                                __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&r->told, told, __ATOMIC_SEQ_CST);
    r->kind->release(r->lock);
    sem_post(&r->done);
}

static inline void recovery_be_waiter(struct recovery *r, int which)
{
    for (;;) {
        while (sem_wait(&r->go[which]) != 0)
            ;
        if (r->over)
            _exit(0);
        recovery_wait_once(r);
    }
}

static inline pid_t recovery_new_holder(struct recovery *r)
{
    pid_t pid = recovery_fork();
    if (pid == 0) {
        r->kind->hold(r->lock);
        sem_post(&r->held);
        for (;;)
            pause();
    }
    recovery_await(&r->held);
    return pid;
}

/* One death; the ns until the lock is held again. */
static inline int64_t recovery_one(struct recovery *r, int64_t wait)
{
    pid_t holder = recovery_new_holder(r);
    r->acquired = r->told = 0;
    for (int i = 0; i < r->waiters; i++)
        sem_post(&r->go[i]);
    for (int i = 0; i < r->waiters; i++)
        recovery_await(&r->begun);
    nanosleep(&(struct timespec){0, wait}, NULL);
    bench_check(r->acquired == 0, "a lock that is held was given away");
    int64_t killed = bench_now();
    bench_check(kill(holder, SIGKILL) == 0, "the holder was gone");
    for (int i = 0; i < r->waiters; i++)
        recovery_await(&r->done);
    bench_check(waitpid(holder, NULL, 0) == holder, "the holder is not ours");
    bench_check(r->told > 0, "nobody was told of the death");
    return r->acquired - killed;
}

static inline int recovery_compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static inline void recovery_start(struct recovery *r, const struct bench_subject *self)
{
    r->kind = (const struct recovery_kind *)self->what;
    r->lock = r->kind->make();
    r->waiters = (int)self->x;
    sem_init(&r->held, true, 0);
    sem_init(&r->begun, true, 0);
    sem_init(&r->done, true, 0);
    for (int i = 0; i < r->waiters; i++) {
        sem_init(&r->go[i], true, 0);
        if (recovery_fork() == 0)
            recovery_be_waiter(r, i);
    }
}

static inline void recovery_end(struct recovery *r)
{
    r->over = true;
    for (int i = 0; i < r->waiters; i++)
        sem_post(&r->go[i]);
    for (int i = 0, status; i < r->waiters; i++)
        bench_check(wait(&status) > 0 && status == 0, "a waiter failed");
}

static inline double recovery_after(const struct bench_subject *self, int64_t wait)
{
    int64_t took[RECOVERY_MOST], n = bench_budget() / (wait + RECOVERY_ELSE);
    struct recovery *r = (struct recovery *)bench_shared(sizeof *r);
    n = n < RECOVERY_LEAST ? RECOVERY_LEAST : n > RECOVERY_MOST ? RECOVERY_MOST : n;
    recovery_start(r, self);
    recovery_one(r, wait); /* all are known to plait, all pages are there */
    for (int64_t i = 0; i < n; i++)
        took[i] = recovery_one(r, wait);
    recovery_end(r);
    qsort(took, (size_t)n, sizeof *took, recovery_compare);
    return (double)took[n / 2];
}

/* --- runs, for the table of subjects; `what` is a recovery_kind, `x` the number of waiters --- */

static inline double recovery_short(const struct bench_subject *self)
{
    return recovery_after(self, RECOVERY_SHORT);
}

static inline double recovery_usual(const struct bench_subject *self)
{
    return recovery_after(self, RECOVERY_USUAL);
}

static inline double recovery_long(const struct bench_subject *self)
{
    return recovery_after(self, RECOVERY_LONG);
}

#define RECOVERY_CASES(stem, name, kind)                                                           \
    BENCH_SUBJECT("recovery_" stem "_short", name, recovery_short, &kind, 1),                      \
        BENCH_SUBJECT("recovery_" stem, name, recovery_usual, &kind, 1),                           \
        BENCH_SUBJECT("recovery_" stem "_long", name, recovery_long, &kind, 1),                    \
        BENCH_SUBJECT("recovery_" stem "_3", name, recovery_usual, &kind, 3),                      \
        BENCH_SUBJECT("recovery_" stem "_3_long", name, recovery_long, &kind, 3)

#endif
