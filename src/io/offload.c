/* Helper threads: what can only block is done by a thread that may.
 *
 * A caller that gives up (timeout, cancellation) cannot stop the helper. Naive: leave it and return; its
 * race: the helper writes its results into a stack frame that is gone. Cure: an errand is a block of its own that both need; who lets
 * go of it last frees it, and results are copied out by the caller while it holds it.
 *
 * Helpers are made when an errand finds none idle for it, up to HELPERS in all (an idle one that has been called counts as
 * idle until it has the lock: so those count, too); idle ones leave after a while. A helper that waits for an errand of its own does not count meanwhile, so nested ones cannot
 * block each other. Errands wait in the order they came. A forked child starts with no helpers
 * and an empty queue: what waits there is the parent's. */
#include "base/atomic.h"
#include "io/io.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <time.h>

enum { HELPERS = 32, IDLE_S = 5 };

static struct {
    pthread_mutex_t lock; /* of all below; never held while anything waits */
    pthread_cond_t more;
    struct pl_errand *first, **last;
    int queued, idle, busy; /* errands; helpers that wait for one, that do one */
} office = {.lock = PTHREAD_MUTEX_INITIALIZER, .last = &office.first};

static _Thread_local bool is_helper;

static void empty_in_child(void)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&office.lock, NULL);
    pthread_cond_init(&office.more, &attr);
    pthread_condattr_destroy(&attr);
    office.first = NULL;
    office.last = &office.first;
    office.queued = office.idle = office.busy = 0;
    is_helper = false;
}

__attribute__((constructor(101))) static void prepare_office(void)
{
    empty_in_child();
    pthread_atfork(NULL, NULL, empty_in_child);
}

void pl_errand_leave(struct pl_errand *errand)
{
    if (pl_fetch_add_acq_rel(&errand->needed, -1u) == 1)
        errand->discard(errand);
}

static void run(struct pl_errand *errand)
{
    errand->run(errand);
    /* R:errand.done, pairs with pl_errand_run: its results are there. */
    pl_store_release(&errand->done, 1u);
    pl_unpark(&errand->done, 1);
    pl_errand_leave(errand);
}

/* The next errand, waited for a while; NULL: there was none. Under the lock. */
static struct pl_errand *next_errand(void)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_S;
    int rc = 0;
    office.idle++;
    while (!office.first && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&office.more, &office.lock, &until);
    office.idle--;
    struct pl_errand *errand = office.first;
    if (!errand)
        return NULL;
    office.first = errand->next;
    if (!office.first)
        office.last = &office.first;
    office.queued--;
    return errand;
}

static void *helper_main(void *unused)
{
    is_helper = true;
    prctl(PR_SET_NAME, "plait-helper");
    pthread_mutex_lock(&office.lock);
    office.busy--; /* its maker counted it, lest others made more */
    for (struct pl_errand *errand; (errand = next_errand());) {
        office.busy++;
        pthread_mutex_unlock(&office.lock);
        run(errand);
        pthread_mutex_lock(&office.lock);
        office.busy--;
    }
    pthread_mutex_unlock(&office.lock);
    return unused;
}

/* Signals are for the program's own threads. */
static int start_helper(void)
{
    pthread_t thread;
    pthread_attr_t attr;
    sigset_t all, before;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&thread, &attr, helper_main, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return rc == 0 ? 0 : PLAIT_EAGAIN;
}

/* Hands it to a helper. False: there is none, and none can be had. */
static bool hand_over(struct pl_errand *errand)
{
    pthread_mutex_lock(&office.lock);
    bool enough = office.idle > office.queued || office.busy + office.idle >= HELPERS;
    if (!enough) {
        office.busy++;
        if (start_helper() < 0)
            office.busy--;
    }
    bool taken = office.busy + office.idle > 0;
    if (taken) {
        errand->next = NULL;
        *office.last = errand;
        office.last = &errand->next;
        office.queued++;
        pthread_cond_signal(&office.more);
    }
    pthread_mutex_unlock(&office.lock);
    return taken;
}

/* A helper that waits makes room for another. */
static void count_as_busy(int n)
{
    if (!is_helper)
        return;
    pthread_mutex_lock(&office.lock);
    office.busy += n;
    pthread_mutex_unlock(&office.lock);
}

static int wait_for(struct pl_errand *errand, struct pl_wait *wait)
{
    int rc = 0;
    /* A:errand.done, pairs with run. */
    while (rc == 0 && !pl_load_acquire(&errand->done))
        rc = pl_park(&errand->done, 0, wait);
    if (rc == 0 || !pl_load_acquire(&errand->done))
        return rc;
    if (rc == PLAIT_ECANCELED) /* it came at the same time; the next call says it */
        pl_cancel_put_back();
    return 0;
}

int pl_errand_run(struct pl_errand *errand, struct pl_wait *wait)
{
    int rc = wait->deadline == 0 ? 0 : pl_waiter_known(&errand->done);
    pl_store_relaxed(&errand->done, 0u);
    pl_store_relaxed(&errand->needed, 2u);
    count_as_busy(-1);
    if (rc == 0 && !hand_over(errand))
        rc = PLAIT_EAGAIN;
    if (rc < 0) {
        count_as_busy(1);
        errand->discard(errand);
        return rc;
    }
    enum pl_wait_kind kind = wait->kind;
    wait->kind = PL_WAIT_HELPER;
    rc = wait_for(errand, wait);
    wait->kind = kind;
    count_as_busy(1);
    if (rc < 0)
        pl_errand_leave(errand);
    return rc;
}
