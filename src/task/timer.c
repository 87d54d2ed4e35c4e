/* Timers: a worker that waits, and one word that says whether it may call.
 *
 * Naive: cancelling asks the worker to stop. Its holes: a request that comes when the function has just begun interrupts it; and one
 * set again at once has two workers, the old of which wakes late and calls in the name of the new.
 * Cure: the worker sleeps on the timer's word, and calls only if it can change it from WAITING to RUNNING. Facts:
 *   1 the word holds the number of the setting and how it stands; each start takes the next number. A worker knows its
 *     number, and does nothing once the word has another;
 *   2 WAITING -> RUNNING is the worker's, WAITING or RUNNING -> CANCELLED the canceller's, RUNNING -> WAITING or OVER the
 *     worker's: of a call and a cancel one comes first, and after a cancel no call begins;
 *   3 a task that waits for its time has not begun: so no stack is needed. Who cancels ends it by a request to stop, which it gets
 *     before its first step or, having lost at the word, never looks at. */
#include <plait/timer.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "park/park.h"
#include "sync/lock_word.h"
#include "worker/tasks.h"

/* Low bits of the word. */
enum { UNSET = 0, WAITING = 1, RUNNING = 2, OVER = 3, CANCELLED = 4, STATES = 7, NEXT = 8 };

static uint32_t state_of(uint32_t word)
{
    return word & STATES;
}

static bool is_set(uint32_t word)
{
    return state_of(word) == WAITING || state_of(word) == RUNNING;
}

/* What the worker is given. */
struct setting {
    plait_timer *timer;
    uint32_t word; /* number and WAITING */
    plait_function *function;
    void *argument;
    int64_t due, every;
};

static uint32_t in_state(const struct setting *s, uint32_t state)
{
    return (s->word & ~(uint32_t)STATES) | state;
}

/* False: it is in another state, or the word is another setting's. */
static bool change(const struct setting *s, uint32_t from, uint32_t to)
{
    uint32_t seen = in_state(s, from);
    /* R:timer.word, A:timer.word */
    return pl_cas_acq_rel(&s->timer->word_, &seen, in_state(s, to));
}

/* 0: it is due; PLAIT_ECANCELED: it is cancelled, or the worker was asked to stop. */
static int wait_until_due(const struct setting *s)
{
    struct pl_wait wait;
    int rc = 0;
    pl_wait_begin(&wait, PL_WAIT_SLEEP, PLAIT_FOREVER);
    wait.deadline = s->due;
    while (rc == 0 && plait_now() < s->due) {
        if (pl_load_acquire(&s->timer->word_) != s->word)
            return PLAIT_ECANCELED;
        rc = pl_park(&s->timer->word_, s->word, &wait);
    }
    if (rc == 0 || rc == PLAIT_ETIMEDOUT)
        return 0;
    change(s, WAITING, CANCELLED);
    return PLAIT_ECANCELED;
}

/* The next instant after now at which it is due. */
static int64_t next_due(const struct setting *s)
{
    int64_t late = plait_now() - s->due;
    return s->due + (late < 0 ? 1 : late / s->every + 1) * s->every;
}

static int wait_and_call(void *arg)
{
    struct setting s = *(struct setting *)arg;
    int status = PLAIT_ECANCELED;
    for (;;) {
        if (wait_until_due(&s) < 0 || !change(&s, WAITING, RUNNING))
            return status;
        pl_fetch_add_relaxed(&s.timer->fired_, 1u);
        status = s.function(s.argument);
        bool again = s.every && status == 0;
        if (!change(&s, RUNNING, again ? WAITING : OVER) || !again)
            return status;
        s.due = next_due(&s);
    }
}

static int check(int kind, int64_t delay, plait_function *fn, const plait_timer_options *o)
{
    if (!fn || delay < 0 || o->every < 0 || o->worker.detach || o->worker.arg_size ||
        o->worker.delay)
        return PLAIT_EINVAL;
    if (kind == PLAIT_PROCESS)
        return PLAIT_ENOTSUP;
    return kind == PLAIT_THREAD || kind == PLAIT_TASK ? pl_check_timeout(delay) : PLAIT_EINVAL;
}

/* Under the lock. */
static int start(plait_timer *t, int kind, int64_t delay, struct setting *s,
                 const plait_timer_options *o)
{
    plait_options options = o->worker;
    plait_worker worker;
    uint32_t before = pl_load_acquire(&t->word_);
    if (is_set(before))
        return PLAIT_EBUSY;
    s->word = ((before & ~(uint32_t)STATES) + NEXT) | WAITING;
    options.arg_size = sizeof *s;
    if (kind == PLAIT_TASK)
        options.delay = delay;
    pl_store_release(&t->word_, s->word);
    int rc = plait_start(&worker, kind, wait_and_call, s, &options);
    if (rc < 0) {
        pl_store_release(&t->word_, before);
        return rc;
    }
    if (t->worker_.slot) /* of the setting before; joined perhaps */
        plait_detach(t->worker_);
    t->worker_ = worker;
    return 0;
}

static void lock(plait_timer *t)
{
    pl_lock_acquire_certainly(&t->lock_, PL_WAIT_LOCK);
}

int plait_timer_start(plait_timer *timer, int kind, int64_t delay, plait_function *fn, void *arg,
                      const plait_timer_options *options)
{
    static const plait_timer_options defaults;
    const plait_timer_options *o = options ? options : &defaults;
    int rc = timer ? check(kind, delay, fn, o) : PLAIT_EINVAL;
    if (rc == 0)
        rc = pl_self_known();
    if (rc < 0)
        return rc;
    struct setting s = {.timer = timer,
                        .function = fn,
                        .argument = arg,
                        .due = plait_now() + delay,
                        .every = o->every};
    lock(timer);
    rc = start(timer, kind, delay, &s, o);
    plait_lock_release(&timer->lock_);
    return rc;
}

int plait_timer_cancel(plait_timer *timer)
{
    int rc = timer ? pl_self_known() : PLAIT_EINVAL;
    if (rc < 0)
        return rc;
    lock(timer);
    uint32_t seen = pl_load_acquire(&timer->word_);
    pl_will_unpark(&timer->word_);
    /* R:timer.word, A:timer.word */
    while (is_set(seen) &&
           !pl_cas_acq_rel(&timer->word_, &seen, (seen & ~(uint32_t)STATES) | CANCELLED))
        ;
    pl_unpark(&timer->word_, INT32_MAX);
    if (state_of(seen) == WAITING && pl_is_task(timer->worker_)) /* fact 3 */
        plait_cancel(timer->worker_);
    plait_lock_release(&timer->lock_);
    return 0;
}

int plait_timer_join(plait_timer *timer, plait_blame *ret, int64_t timeout)
{
    int rc = timer ? pl_self_known() : PLAIT_EINVAL;
    if (rc < 0)
        return rc;
    lock(timer);
    plait_worker worker = timer->worker_;
    plait_lock_release(&timer->lock_);
    return worker.slot ? plait_join(worker, ret, timeout) : PLAIT_ESTALE;
}

int plait_timer_is_set(const plait_timer *timer)
{
    return timer && is_set(pl_load_acquire(&timer->word_));
}

uint32_t plait_timer_fired(const plait_timer *timer)
{
    return timer ? pl_load_relaxed(&timer->fired_) : 0;
}
