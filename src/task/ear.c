/* Ears: threads that listen to words for others.
 *
 * An ear sleeps in one futex_waitv on its control word and on up to 126 words of watches. When it is woken it
 * puts the watches concerned into the boxes of their loops and rings their bells.
 *
 * Naive: tell the one watch whose index futex_waitv returns. Its hole: between the first wake-up and the moment
 * the ear leaves the kernel's queues, other words of the same sleep may be woken, too. The kernel takes these
 * wake-ups (each waker was told that it woke someone) and reports one index of several. With FUTEX_WAKE of one,
 * a waiter elsewhere has been passed over and nobody goes on: a lost wake-up.
 * Cure, from what the kernel does report:
 *  1. It leaves the queues in the order of the list and returns the last index that had been woken. So a result
 *     of i says: i was, those after i were not, those before i may have been.
 *  2. The control word is the first of the list. If it is the result, no watch has been woken.
 *  3. If there was no wake-up (a word differed, time, a signal), there is no index but an error.
 *  4. So all watches up to i are told, most for no reason: a told sleeper looks at its word, and its own rules
 *     say what to do with the wake-up. None is lost. To tell few, the newest watch, which is the likeliest to be
 *     woken next, comes first.
 *  5. A withdrawn watch among them wakes one further sleeper of its word instead, perhaps one too many.
 *  6. A watch stays in the ear's list until the ear has left the kernel's queues, also if withdrawn; so it is the
 *     ear who frees it, and after pl_ear_withdraw nothing of the loop is touched.
 *
 * Where futex_waitv is missing, an ear looks at its words every 5 ms. It is then in no queue: it takes no wake-up, and one
 * without a change of the word goes unnoticed.
 *
 * One mutex orders everything here. It is held for short, never while asleep; a waker of another process is never
 * held up by it. Changes of the words themselves need no order from us: the sleeper looks again with its own.
 * A forked child has no ears, and its copies of what they had are freed. */
#include "task/ear.h"

#include "base/at_fork.h"
#include "base/atomic.h"
#include "base/clock.h"
#include "park/park.h"
#include "port/futex.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    WORDS = PL_FUTEX_MAX - 2, /* besides the control word */
    POLL_EVERY = 5 * 1000 * 1000,
    STACK = 64 * 1024,
};

struct pl_ear {
    struct pl_ear *next;    /* under the lock, as are the next three */
    struct pl_heard *first; /* the newest; withdrawn ones included */
    int n;
    bool news;        /* watches were added or withdrawn since it was last called */
    uint32_t control; /* atomic: changes when the list is to be read again */
    /* What it sleeps on; its own. */
    struct pl_heard *asleep_on[WORDS];
    struct pl_watch list[WORDS + 1];
};

static PL_WRITTEN_AT_FORK pthread_mutex_t ears_lock = PTHREAD_MUTEX_INITIALIZER;
static PL_WRITTEN_AT_FORK struct pl_ear *ears; /* under the lock, as are the next two */
static PL_WRITTEN_AT_FORK int n_ears;
static int64_t tired_after = INT64_C(10) * 1000 * 1000 * 1000;

/* --- forks --- */

static void lock_before_fork(void)
{
    pthread_mutex_lock(&ears_lock);
}

static void unlock_in_parent(void)
{
    pthread_mutex_unlock(&ears_lock);
}

/* What was withdrawn is ours to free; the rest its loop's, which forgets it, or nobody's. */
static void forget_in_child(void)
{
    for (struct pl_ear *ear = ears, *next; ear; ear = next) {
        next = ear->next;
        for (struct pl_heard *h = ear->first, *after; h; h = after) {
            after = h->next;
            if (h->box)
                h->ear = NULL;
            else
                free(h);
        }
        free(ear);
    }
    ears = NULL;
    n_ears = 0;
    pthread_mutex_unlock(&ears_lock);
}

/* Before the loops' (loop.c): what is left of the child's copies is theirs to free, after this. */
__attribute__((constructor(101))) static void prepare_for_forks(void)
{
    pthread_atfork(lock_before_fork, unlock_in_parent, forget_in_child);
}

/* --- an ear's list and a loop's box; all under the lock --- */

static void add(struct pl_ear *ear, struct pl_heard *h)
{
    h->ear = ear;
    h->prev = NULL;
    h->next = ear->first;
    if (ear->first)
        ear->first->prev = h;
    ear->first = h;
    ear->n++;
}

static void take_out(struct pl_heard **first, struct pl_heard **last, struct pl_heard *h)
{
    *(h->prev ? &h->prev->next : first) = h->next;
    if (h->next)
        h->next->prev = h->prev;
    else if (last)
        *last = h->prev;
}

static void leave_ear(struct pl_heard *h)
{
    take_out(&h->ear->first, NULL, h);
    h->ear->n--;
    h->ear = NULL;
}

void pl_heard_ring(const struct pl_heard_box *box)
{
    uint64_t one = 1;
    int saved = errno;
    ssize_t written = write(box->bell, &one, sizeof one);
    (void)
        written; /* it can only fail when it has been rung 2^64 - 1 times: then it is heard, too */
    errno = saved;
}

static void put_into_box(struct pl_heard *h)
{
    struct pl_heard_box *box = h->box;
    h->next = NULL;
    h->prev = box->last;
    *(box->last ? &box->last->next : &box->first) = h;
    box->last = h;
    pl_store_relaxed(&box->any, 1u); /* the lock orders the rest; the bell makes the loop look */
    pl_heard_ring(box);
}

/* The ear has heard something of the word, and is in its queue no more. */
static void tell(struct pl_heard *h, bool woken)
{
    leave_ear(h);
    h->woken = woken;
    if (h->box) {
        put_into_box(h);
        return;
    }
    if (woken)
        pl_unpark_another(h->word);
    free(h);
}

/* --- the ear --- */

/* Lists the words to sleep on, and drops what was withdrawn. How many, with the control word. */
static int list_words(struct pl_ear *ear)
{
    int n = 0;
    ear->list[0] = (struct pl_watch){&ear->control, pl_load_relaxed(&ear->control), false};
    for (struct pl_heard *h = ear->first, *next; h; h = next) {
        next = h->next;
        h->slept_on = h->box && n < WORDS;
        if (!h->box) {
            leave_ear(h);
            free(h);
        } else if (h->slept_on) {
            ear->asleep_on[n++] = h;
            ear->list[n] = (struct pl_watch){h->word, h->seen, true};
        }
    }
    return n + 1;
}

static bool differs(const struct pl_heard *h)
{
    return pl_load_relaxed(h->word) != h->seen;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Sleeps; as pl_futex_wait_which, -EAGAIN also where this is to find out what differs. */
static int sleep_on_all(struct pl_ear *ear, int n, int64_t until)
{
    int rc = pl_futex_wait_which(ear->list, n, until);
    if (rc != -ENOSYS)
        return rc;
    int64_t next_look = n > 1 ? plait_now() + POLL_EVERY : PL_NEVER;
    rc = pl_futex_wait(&ear->control, ear->list[0].seen, false, earlier(until, next_look));
    return n == 1 && rc == -ETIMEDOUT ? rc : -EAGAIN;
}

/* Tells those that the end of a sleep concerns. */
static void hear(struct pl_ear *ear, int n, int rc)
{
    bool unusable = rc < 0 && rc != -EAGAIN && rc != -ETIMEDOUT && rc != -EINTR;
    for (int i = 0; i < n - 1; i++) {
        struct pl_heard *h = ear->asleep_on[i];
        h->slept_on = false;
        if (i + 1 <= rc)
            tell(h, true); /* facts 1, 4, 5 */
        else if (h->box && (unusable || (rc == -EAGAIN && differs(h))))
            tell(h, false);
    }
}

static void end_ear(struct pl_ear *ear)
{
    struct pl_ear **at = &ears;
    while (*at != ear)
        at = &(*at)->next;
    *at = ear->next;
    n_ears--;
    free(ear);
}

static void *listen_on(void *arg)
{
    struct pl_ear *ear = arg;
    pthread_mutex_lock(&ears_lock);
    for (;;) {
        ear->news = false;
        int n = list_words(ear);
        int64_t until = n == 1 ? plait_now() + tired_after : PL_NEVER;
        pthread_mutex_unlock(&ears_lock);
        int rc = sleep_on_all(ear, n, until);
        pthread_mutex_lock(&ears_lock);
        hear(ear, n, rc);
        if (ear->n == 0 && rc == -ETIMEDOUT)
            break;
    }
    end_ear(ear);
    pthread_mutex_unlock(&ears_lock);
    return NULL;
}

/* Detached, without signals, and small. */
static bool start_thread(struct pl_ear *ear)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    if (pthread_attr_init(&attr) != 0)
        return false;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK); /* refused: the usual size */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&thread, &attr, listen_on, ear);
    if (rc == EINVAL) { /* too small for the thread-local memory of this program */
        pthread_attr_setstacksize(&attr, (size_t)16 * STACK);
        rc = pthread_create(&thread, &attr, listen_on, ear);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return rc == 0;
}

/* One with room; NULL: none can be had. */
static struct pl_ear *find_ear(void)
{
    for (struct pl_ear *ear = ears; ear; ear = ear->next)
        if (ear->n < WORDS)
            return ear;
    struct pl_ear *ear = calloc(1, sizeof *ear);
    if (!ear)
        return NULL;
    ear->next = ears;
    if (!start_thread(ear)) { /* it waits for the lock, which we hold */
        free(ear);
        return NULL;
    }
    ears = ear;
    n_ears++;
    return ear;
}

/* Has the ear read its list again. */
static void call_ear(struct pl_ear *ear)
{
    ear->news = false;
    pl_fetch_add_relaxed(&ear->control, 1u);
    pl_futex_wake(&ear->control, 1, false);
}

/* --- for loops --- */

bool pl_ear_listen(struct pl_heard *h)
{
    int saved = errno;
    pthread_mutex_lock(&ears_lock);
    struct pl_ear *ear = find_ear();
    h->slept_on = h->woken = false;
    if (ear) {
        add(ear, h);
        ear->news = true;
    }
    pthread_mutex_unlock(&ears_lock);
    errno = saved;
    return ear;
}

void pl_ears_go(void)
{
    pthread_mutex_lock(&ears_lock);
    for (struct pl_ear *ear = ears; ear; ear = ear->next)
        if (ear->news)
            call_ear(ear);
    pthread_mutex_unlock(&ears_lock);
}

struct pl_heard *pl_ear_take(struct pl_heard_box *box)
{
    if (!pl_load_relaxed(&box->any))
        return NULL;
    pthread_mutex_lock(&ears_lock);
    struct pl_heard *h = box->first;
    if (h)
        take_out(&box->first, &box->last, h);
    if (!box->first)
        pl_store_relaxed(&box->any, 0u);
    pthread_mutex_unlock(&ears_lock);
    return h;
}

void pl_ear_withdraw(struct pl_heard *h)
{
    pthread_mutex_lock(&ears_lock);
    if (h->ear && h->slept_on) { /* fact 6 */
        h->box = NULL;
        call_ear(h->ear);
    } else if (h->ear) { /* the ear is in its queue no more, or not yet */
        leave_ear(h);
        free(h);
    } else { /* in the box */
        take_out(&h->box->first, &h->box->last, h);
        if (h->woken)
            pl_unpark_another(h->word);
        free(h);
    }
    pthread_mutex_unlock(&ears_lock);
}

int pl_ears(void)
{
    pthread_mutex_lock(&ears_lock);
    int n = n_ears;
    pthread_mutex_unlock(&ears_lock);
    return n;
}

void pl_ears_tire_after(int64_t ns)
{
    pthread_mutex_lock(&ears_lock);
    tired_after = ns;
    for (struct pl_ear *ear = ears; ear; ear = ear->next)
        call_ear(ear);
    pthread_mutex_unlock(&ears_lock);
}
