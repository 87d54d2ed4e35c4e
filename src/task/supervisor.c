/* A supervisor: a table of children, and a worker that sleeps until one of them ends or an order comes.
 *
 * Naive: a joiner for each child that tells the supervisor. Its holes: a helper per child, each of which can die, block or
 * tell too late; and two ends at once are two messages, whose order is chance.
 * Cure: nobody sends anything. Who ends, says that it is ready, or asks for something changes a state that the supervisor can read -
 * the registry, the order - and stirs the supervisor's entry in the registry, whose stir word it sleeps on. It looks at
 * all there is, then sleeps unless the word has changed since before the look. Facts:
 *   1 a child's entry names the supervisor (`tells`, with PL_TELLS_ANY_END) from right after its start. It is set before the supervisor's
 *     next look, and who ends looks at it after it has said so: one of the two sees the other;
 *   2 a process that is killed stirs nobody: its heart, which the kernel marks, is slept on as well. Before its heart beats,
 *     and while a process whose first thread has gone is not gone wholly, there is nothing to sleep on: then, and only then,
 *     the supervisor looks again by itself, ever more seldom;
 *   3 the supervisor does one thing at a time: it starts, stops or restarts, to the end, and then looks again. So of several
 *     children that have ended each is treated in the table's order, as if it had ended after what was done for the one before;
 *   4 the stir word is in the registry, whose entries are never freed: who stirs late harms nobody;
 *   5 in the table an entry is filled before `place` makes it one, and emptied by that word alone: a supervisor that is
 *     killed leaves a whole table, and its successor begins with all children stopped. */
#include <plait/scope.h>
#include <plait/supervisor.h>
#include <plait/task.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "park/park.h"
#include "sync/lock_word.h"
#include "task/supervisor_internal.h"
#include "task/task_internal.h"
#include "worker/tasks.h"

#include <string.h>

enum { FIRST_LOOK = 1000 * 1000, LAST_LOOK = 64 * 1000 * 1000, SOON = 1000 * 1000 };
enum { DEFAULT_INTENSITY = 3 };
#define DEFAULT_PERIOD plait_seconds(5)
#define DEFAULT_GRACE plait_seconds(5)

/* What a step came to, besides errors: the supervisor is to end. */
enum { GO_ON = 0, INTERRUPTED = 1 };

/* A supervisor while it runs; on its worker's stack. */
struct run {
    plait_supervisor *s;
    struct pl_slot *slot; /* the worker's entry */
    struct pl_wait wait;  /* the sleep between two events, of which there may be many turns */
    int64_t look_every;   /* fact 2 */
    bool cancelled;       /* the worker was asked to stop */
};

/* --- the object --- */

static uint32_t forks_now(void)
{
    return __atomic_load_n(&pl_forks, __ATOMIC_RELAXED);
}

int pl_supervisor_check(const plait_supervisor *s)
{
    if (!s)
        return PLAIT_EINVAL;
    const plait_supervisor *self = pl_load_acquire(&s->self_);
    if (self && self != s)
        return PLAIT_EINVAL;
    return self && !pl_arena_holds(s) && pl_load_relaxed(&s->forks_) != forks_now() ? PLAIT_ECHILD
                                                                                    : 0;
}

void pl_supervisor_adopt(plait_supervisor *s)
{
    pl_store_relaxed(&s->forks_, forks_now());
    pl_store_release(&s->self_, s);
}

void pl_supervisor_lock(plait_supervisor *s)
{
    pl_lock_acquire_certainly(&s->lock_, PL_WAIT_LOCK);
}

void pl_supervisor_unlock(plait_supervisor *s)
{
    plait_lock_release(&s->lock_);
}

static bool are_options_good(const plait_supervisor_options *o)
{
    return o->strategy >= PLAIT_ONE_FOR_ONE && o->strategy <= PLAIT_REST_FOR_ONE &&
           o->intensity <= PLAIT_SUPERVISOR_INTENSITY && o->period >= 0;
}

int plait_supervisor_init(plait_supervisor *supervisor, const plait_supervisor_options *options)
{
    bool good = supervisor && (!options || are_options_good(options));
    bool shared = good && pl_arena_holds(supervisor);
    int rc = !good ? PLAIT_EINVAL : shared ? pl_thread_known() : 0;
    if (rc < 0)
        return rc;
    memset(supervisor, 0, sizeof *supervisor);
    if (options) {
        supervisor->options_ = *options;
        supervisor->options_.listener = NULL;
        pl_function_set(pl_place(&supervisor->listener_),
                        (plait_function *)(void (*)(void))options->listener, shared);
    }
    return 0;
}

/* --- the table --- */

int pl_supervisor_sort(plait_supervisor *s, plait_supervised_ **list)
{
    int n = 0;
    for (int i = 0; i < PLAIT_SUPERVISOR_CHILDREN; i++) {
        plait_supervised_ *c = &s->children_[i];
        int at = n;
        if (c->place == 0)
            continue;
        for (; at > 0 && list[at - 1]->place > c->place; at--)
            list[at] = list[at - 1];
        list[at] = c;
        n++;
    }
    return n;
}

plait_supervised_ *pl_supervisor_find(plait_supervisor *s, const char *name)
{
    for (int i = 0; i < PLAIT_SUPERVISOR_CHILDREN; i++)
        if (s->children_[i].place && strcmp(s->children_[i].name, name) == 0)
            return &s->children_[i];
    return NULL;
}

int pl_supervisor_enter(plait_supervisor *s, const plait_child *child,
                        const plait_function_place_ *place, plait_supervised_ **ret)
{
    plait_supervised_ *c = s->children_, *end = c + PLAIT_SUPERVISOR_CHILDREN;
    if (pl_supervisor_find(s, child->name))
        return PLAIT_EEXIST;
    while (c < end && c->place)
        c++;
    if (c == end)
        return PLAIT_EOVERFLOW;
    *c = (plait_supervised_){.spec = *child, .function = *place};
    c->spec.name = NULL;
    c->spec.function = NULL;
    memcpy(c->name, child->name, strlen(child->name) + 1);
    pl_store_release(&c->place, ++s->places_);
    *ret = c;
    return 0;
}

void pl_supervisor_drop(plait_supervisor *s, plait_supervised_ *c)
{
    (void)s;
    pl_store_release(&c->place, 0u);
}

static void set_state(struct run *r, plait_supervised_ *c, enum plait_child_state state)
{
    pl_supervisor_lock(r->s);
    c->state = state;
    pl_supervisor_unlock(r->s);
}

static bool has_worker(const plait_supervised_ *c)
{
    return c->state != PLAIT_CHILD_STOPPED;
}

/* --- reports --- */

static void report(struct run *r, int event, const plait_supervised_ *c,
                   plait_supervisor_report report)
{
    plait_function *listener;
    if (!r->s->listener_.address || pl_function_get(pl_place(&r->s->listener_), &listener) < 0)
        return;
    report.event = event;
    report.when = plait_now();
    if (c) {
        memcpy(report.child, c->name, sizeof report.child);
        report.worker = c->worker;
    }
    ((plait_supervisor_listener *)(void (*)(void))listener)(&report, r->s->options_.argument);
}

#define REPORT(r, event, child, ...) report(r, event, child, (plait_supervisor_report){__VA_ARGS__})

/* --- looking at children --- */

/* The entry of a child that is no task. NULL: it is one, or gone. */
static struct pl_slot *slot_of(const plait_supervised_ *c)
{
    return pl_is_task(c->worker) ? NULL : pl_slot_find(c->worker);
}

/* Fact 1. Nobody else joins it, so the entry is its own until then. */
static void tie(struct run *r, const plait_supervised_ *c)
{
    uint32_t whom = pl_slot_id(r->slot) | PL_TELLS_ANY_END;
    struct pl_slot *slot = slot_of(c);
    if (pl_is_task(c->worker))
        pl_task_tie(c->worker, whom);
    else if (slot)
        pl_store_seq_cst(&slot->tells, whom);
}

/* It has nothing more to tell. */
static void untie(const plait_supervised_ *c)
{
    struct pl_slot *slot = slot_of(c);
    if (slot)
        pl_store_relaxed(&slot->tells, 0u);
}

static bool is_ready(const plait_supervised_ *c)
{
    struct pl_slot *slot = slot_of(c);
    if (pl_is_task(c->worker))
        return pl_task_said_ready(c->worker);
    return slot && (pl_load_seq_cst(&slot->flags) & PL_FLAG_READY);
}

static bool has_ended(const plait_supervised_ *c)
{
    int state = plait_state(c->worker);
    return state == PLAIT_STATE_ENDED || state == PLAIT_ESTALE;
}

static bool is_normal(const plait_blame *end)
{
    if (end->returned)
        return end->status >= 0 || end->status == PLAIT_ECANCELED;
    return end->status == 0 && end->signal == 0 && end->kind == PLAIT_PROCESS;
}

/* Joins it, whatever is asked of the supervisor meanwhile. 0 with *ret, PLAIT_ETIMEDOUT. */
static int join(plait_worker worker, plait_blame *ret, int64_t timeout)
{
    plait_scope shield;
    plait_scope_begin_shield(&shield);
    int rc = plait_join(worker, ret, timeout);
    while (rc < 0 && rc != PLAIT_ETIMEDOUT) {
        /* Somebody has joined or detached it; or it waits for us, and has been asked not to. */
        if (rc == PLAIT_ESTALE && !plait_is_alive(worker)) {
            *ret = (plait_blame){.worker = worker, .status = -1, .ended = plait_now()};
            rc = 0;
        } else {
            plait_sleep(SOON);
            rc = plait_join(worker, ret, timeout);
        }
    }
    plait_scope_end(&shield);
    return rc < 0 ? rc : 0;
}

/* It is joined, asked for or not. */
static void note_end(struct run *r, plait_supervised_ *c, const plait_blame *end, bool asked)
{
    pl_supervisor_lock(r->s);
    c->last = *end;
    c->state = PLAIT_CHILD_STOPPED;
    c->failures += !asked && !is_normal(end);
    pl_supervisor_unlock(r->s);
    REPORT(r, PLAIT_REPORT_END, c, .blame = *end, .asked = asked);
}

/* Joins a child that has ended by itself. False: it has not, or is not gone wholly. */
static bool take_end(struct run *r, plait_supervised_ *c)
{
    plait_blame end;
    if (!has_ended(c))
        return false;
    untie(c);
    if (join(c->worker, &end, PLAIT_NOWAIT) < 0)
        return false;
    note_end(r, c, &end, false);
    return true;
}

/* --- sleeping --- */

/* Whose heart to sleep on; true: there is one that has to be looked at again (fact 2). */
static bool watch(struct run *r, plait_supervised_ *c, uint32_t *ids)
{
    struct pl_slot *slot = slot_of(c);
    if (!has_worker(c) || !slot || c->spec.kind != PLAIT_PROCESS)
        return has_worker(c) && has_ended(c);
    bool beats =
        pl_life_of(pl_load_acquire(&slot->life)) == PL_RUNNING && !pl_heart_is_stopped(slot);
    if (beats)
        ids[r->wait.n_others++] = pl_slot_id(slot);
    return !beats;
}

/* Sleeps until there may be something new: `stir` is from before the last look. GO_ON, INTERRUPTED, PLAIT_ETIMEDOUT. */
static int sleep_until_stirred(struct run *r, uint32_t stir, int64_t deadline)
{
    uint32_t ids[PLAIT_SUPERVISOR_CHILDREN];
    bool unsure = false;
    r->wait.deadline = deadline;
    r->wait.others = ids;
    r->wait.n_others = 0;
    for (int i = 0; i < PLAIT_SUPERVISOR_CHILDREN; i++)
        if (r->s->children_[i].place)
            unsure |= watch(r, &r->s->children_[i], ids);
    if (unsure) {
        r->wait.nap_end = plait_now() + r->look_every;
        r->look_every = r->look_every * 2 < LAST_LOOK ? r->look_every * 2 : LAST_LOOK;
    }
    int rc = pl_park(&r->slot->stir, stir, &r->wait);
    if (rc == PLAIT_ECANCELED)
        r->cancelled = true;
    return rc == PLAIT_ETIMEDOUT ? rc : rc < 0 ? INTERRUPTED : GO_ON;
}

/* Something was done, so the next sleep is a new one. */
static void begin_sleep(struct run *r)
{
    pl_wait_begin(&r->wait, PL_WAIT_WORKERS, PLAIT_FOREVER);
    r->look_every = FIRST_LOOK;
}

static uint32_t stir_of(const struct run *r)
{
    /* A:supervisor.stir, pairs with place and plait_supervisor_stop: before the look. */
    return pl_load_seq_cst(&r->slot->stir);
}

static bool is_to_stop(const struct run *r)
{
    return r->cancelled || pl_load_seq_cst(&r->s->stop_);
}

/* --- stopping one --- */

/* A process: asked, told, made to. */
static void end_process(const plait_supervised_ *c, int64_t grace, plait_blame *end)
{
    int64_t patience = grace / 2;
    if (join(c->worker, end, patience) == 0)
        return;
    plait_terminate(c->worker);
    if (join(c->worker, end, grace - patience) == 0)
        return;
    do /* one that is being started cannot be told yet */
        plait_kill(c->worker);
    while (join(c->worker, end, SOON) < 0);
}

/* A thread or a task: asked as often as it takes. */
static void end_flow(struct run *r, const plait_supervised_ *c, int64_t grace, plait_blame *end)
{
    while (join(c->worker, end, grace) < 0) {
        REPORT(r, PLAIT_REPORT_REFUSED, c, .asked = true);
        plait_cancel(c->worker);
    }
}

static void stop_one(struct run *r, plait_supervised_ *c)
{
    plait_blame end;
    int64_t grace = c->spec.grace ? c->spec.grace : DEFAULT_GRACE;
    if (!has_worker(c))
        return;
    set_state(r, c, PLAIT_CHILD_STOPPING);
    untie(c);
    plait_cancel(c->worker);
    if (grace == PLAIT_FOREVER)
        join(c->worker, &end, PLAIT_FOREVER);
    else if (c->spec.kind == PLAIT_PROCESS)
        end_process(c, grace, &end);
    else
        end_flow(r, c, grace, &end);
    note_end(r, c, &end, true);
}

static void drop(struct run *r, plait_supervised_ *c)
{
    pl_supervisor_lock(r->s);
    pl_supervisor_drop(r->s, c);
    pl_supervisor_unlock(r->s);
}

/* Stops those from this place on, in reverse order. */
static void stop_from(struct run *r, uint32_t place)
{
    plait_supervised_ *list[PLAIT_SUPERVISOR_CHILDREN];
    for (int i = pl_supervisor_sort(r->s, list) - 1; i >= 0 && list[i]->place >= place; i--) {
        bool ran = has_worker(list[i]);
        stop_one(r, list[i]);
        if (ran && list[i]->spec.restart == PLAIT_TEMPORARY)
            drop(r, list[i]);
    }
}

/* --- starting one --- */

static int fail_start(struct run *r, plait_supervised_ *c, int error)
{
    REPORT(r, PLAIT_REPORT_NO_START, c, .error = error);
    return error;
}

/* Waits until it is ready. GO_ON, INTERRUPTED, or why it has failed. */
static int await_ready(struct run *r, plait_supervised_ *c)
{
    int64_t patience = c->spec.ready_timeout ? c->spec.ready_timeout : PLAIT_FOREVER;
    int64_t deadline = pl_deadline(patience);
    int rc = GO_ON;
    begin_sleep(r);
    while (rc == GO_ON) {
        uint32_t stir = stir_of(r);
        bool ended = has_ended(c); /* before it is asked whether it was ready */
        if (is_ready(c)) {
            set_state(r, c, PLAIT_CHILD_RUNNING);
            REPORT(r, PLAIT_REPORT_READY, c, .event = 0);
            return GO_ON;
        }
        if (ended && take_end(r, c))
            return fail_start(
                r, c, c->last.returned && c->last.status < 0 ? c->last.status : PLAIT_EDIED);
        rc = is_to_stop(r) ? INTERRUPTED : sleep_until_stirred(r, stir, deadline);
    }
    if (rc < 0) {
        stop_one(r, c);
        fail_start(r, c, rc);
    }
    return rc;
}

static int start_one(struct run *r, plait_supervised_ *c)
{
    plait_worker worker;
    plait_options options = c->spec.options;
    plait_function *fn;
    options.name = c->name;
    if (is_to_stop(r))
        return INTERRUPTED;
    int rc = pl_function_get(pl_place(&c->function), &fn);
    if (rc == 0)
        rc = plait_start(&worker, c->spec.kind, fn, c->spec.argument, &options);
    if (rc < 0)
        return fail_start(r, c, rc);
    pl_supervisor_lock(r->s);
    c->worker = worker;
    c->state = c->spec.ready ? PLAIT_CHILD_STARTING : PLAIT_CHILD_RUNNING;
    c->starts++;
    pl_supervisor_unlock(r->s);
    tie(r, c);
    REPORT(r, PLAIT_REPORT_START, c, .event = 0);
    return c->spec.ready ? await_ready(r, c) : GO_ON;
}

/* Starts those from this place on that do not run, in order; *failed is the one that could not be. */
static int start_from(struct run *r, uint32_t place, plait_supervised_ **failed)
{
    plait_supervised_ *list[PLAIT_SUPERVISOR_CHILDREN];
    int n = pl_supervisor_sort(r->s, list), rc = GO_ON;
    for (int i = 0; i < n && rc == GO_ON; i++) {
        if (list[i]->place < place || has_worker(list[i]))
            continue;
        rc = start_one(r, list[i]);
        *failed = list[i];
    }
    return rc;
}

/* --- restarting --- */

/* Counts one more restart. False: that is too many. */
static bool may_restart(struct run *r)
{
    plait_supervisor *s = r->s;
    const plait_supervisor_options *o = &s->options_;
    int most = o->intensity ? o->intensity : DEFAULT_INTENSITY, n = 0;
    int64_t now = plait_now(), period = o->period ? o->period : DEFAULT_PERIOD;
    for (int i = 0; i < s->n_restarts_; i++)
        if (now - s->restarts_[i] < period)
            s->restarts_[n++] = s->restarts_[i];
    s->n_restarts_ = n;
    if (n >= most)
        return false;
    s->restarts_[s->n_restarts_++] = now;
    return true;
}

static void count_restarts(struct run *r, uint32_t from, uint32_t to)
{
    pl_supervisor_lock(r->s);
    for (int i = 0; i < PLAIT_SUPERVISOR_CHILDREN; i++) {
        plait_supervised_ *c = &r->s->children_[i];
        c->restarts += c->place >= from && c->place <= to && c->place != 0;
    }
    pl_supervisor_unlock(r->s);
}

/* Once. *culprit is the one that has ended, then the one that could not be started. */
static int restart_as_planned(struct run *r, plait_supervised_ **culprit)
{
    uint32_t place = (*culprit)->place;
    int strategy = r->s->options_.strategy;
    if (strategy == PLAIT_ONE_FOR_ONE) {
        count_restarts(r, place, place);
        return start_one(r, *culprit);
    }
    uint32_t from = strategy == PLAIT_ONE_FOR_ALL ? 1 : place;
    stop_from(r, from);
    count_restarts(r, from, UINT32_MAX);
    return start_from(r, from, culprit);
}

/* GO_ON, INTERRUPTED, PLAIT_EINTENSITY. */
static int restart(struct run *r, plait_supervised_ *culprit)
{
    int rc;
    do {
        if (!may_restart(r)) {
            REPORT(r, PLAIT_REPORT_GIVE_UP, culprit, .restarts = r->s->n_restarts_,
                   .error = PLAIT_EINTENSITY);
            return PLAIT_EINTENSITY;
        }
        REPORT(r, PLAIT_REPORT_RESTART, culprit, .restarts = r->s->n_restarts_);
        rc = restart_as_planned(r, &culprit);
    } while (rc < 0);
    return rc;
}

/* A child has ended by itself. */
static int treat_end(struct run *r, plait_supervised_ *c)
{
    switch (c->spec.restart) {
    case PLAIT_TEMPORARY:
        drop(r, c);
        return GO_ON;
    case PLAIT_TRANSIENT:
        return is_normal(&c->last) ? GO_ON : restart(r, c);
    default:
        return restart(r, c);
    }
}

/* --- orders --- */

/* The result; INTERRUPTED if it could not be carried out to its end. */
static int obey_add(struct run *r, plait_order_ *order)
{
    plait_supervised_ *c;
    plait_child child = order->child;
    child.name = order->name;
    pl_supervisor_lock(r->s);
    int rc = pl_supervisor_enter(r->s, &child, &order->function, &c);
    pl_supervisor_unlock(r->s);
    if (rc < 0)
        return rc;
    rc = start_one(r, c);
    order->worker = c->worker;
    if (rc < 0)
        drop(r, c);
    return rc;
}

static int obey(struct run *r, plait_order_ *order)
{
    if (order->what == PL_ORDER_ADD)
        return obey_add(r, order);
    plait_supervised_ *c = pl_supervisor_find(r->s, order->name);
    if (!c)
        return PLAIT_ENOENT;
    stop_one(r, c);
    if (order->what == PL_ORDER_REMOVE) {
        drop(r, c);
        return GO_ON;
    }
    int rc = start_one(r, c);
    order->worker = c->worker;
    return rc;
}

static void answer(plait_order_ *order, int result)
{
    order->result = result;
    /* R:order.word, pairs with await_answer. */
    pl_will_unpark(&order->word);
    pl_store_release(&order->word, (uint32_t)PL_ORDER_DONE);
    pl_unpark(&order->word, INT32_MAX);
}

static bool is_asked(const plait_supervisor *s)
{
    /* A:order.word, pairs with place. */
    return pl_load_acquire(&s->order_.word) == PL_ORDER_ASKED;
}

/* GO_ON, INTERRUPTED. */
static int serve(struct run *r)
{
    int rc = obey(r, &r->s->order_);
    answer(&r->s->order_, rc == INTERRUPTED ? PLAIT_ECLOSED : rc);
    return rc == INTERRUPTED ? rc : GO_ON;
}

/* --- running --- */

/* The first in order that has ended by itself; NULL: none. */
static plait_supervised_ *find_ended(struct run *r, int *ret_running)
{
    plait_supervised_ *list[PLAIT_SUPERVISOR_CHILDREN];
    int n = pl_supervisor_sort(r->s, list);
    *ret_running = 0;
    for (int i = 0; i < n; i++) {
        if (has_worker(list[i]) && take_end(r, list[i]))
            return list[i];
        *ret_running += has_worker(list[i]);
    }
    return NULL;
}

/* One look, and what follows from it, or a sleep. GO_ON, INTERRUPTED, PLAIT_EINTENSITY. */
static int look(struct run *r)
{
    int running;
    uint32_t stir = stir_of(r);
    if (is_to_stop(r))
        return INTERRUPTED;
    plait_supervised_ *ended = find_ended(r, &running);
    if (!ended && !is_asked(r->s)) {
        bool over = r->s->options_.ends && running == 0;
        return over ? INTERRUPTED : sleep_until_stirred(r, stir, PL_NEVER);
    }
    int rc = ended ? treat_end(r, ended) : serve(r);
    begin_sleep(r);
    return rc;
}

static int supervise(struct run *r)
{
    plait_supervised_ *failed;
    int rc = start_from(r, 1, &failed);
    begin_sleep(r);
    while (rc == GO_ON)
        rc = look(r);
    stop_from(r, 1);
    return rc < 0 ? rc : r->cancelled ? PLAIT_ECANCELED : 0;
}

/* Makes the caller the owner. 0, PLAIT_EBUSY. */
static int take_over(plait_supervisor *s)
{
    pl_supervisor_lock(s);
    uint32_t owner = pl_load_acquire(&s->owner_);
    bool runs = owner && !pl_is_dead(owner);
    if (!runs) {
        pl_supervisor_adopt(s);
        for (int i = 0; i < PLAIT_SUPERVISOR_CHILDREN; i++)
            s->children_[i].state = PLAIT_CHILD_STOPPED;
        s->n_restarts_ = 0;
        if (is_asked(s)) /* of the one that has died */
            answer(&s->order_, PLAIT_EDIED);
        pl_store_seq_cst(&s->stop_, 0u);
        pl_store_seq_cst(&s->owner_, pl_self.id);
    }
    pl_supervisor_unlock(s);
    return runs ? PLAIT_EBUSY : 0;
}

/* Whoever asks from now on finds that it does not run. */
static void hand_over(plait_supervisor *s)
{
    pl_supervisor_lock(s);
    if (is_asked(s))
        answer(&s->order_, PLAIT_ECLOSED);
    pl_will_unpark(&s->owner_);
    /* R:supervisor.owner, pairs with plait_supervisor_stop: all are stopped. */
    pl_store_seq_cst(&s->owner_, 0u);
    pl_unpark(&s->owner_, INT32_MAX);
    pl_supervisor_unlock(s);
}

int plait_supervisor_run(plait_supervisor *supervisor)
{
    int rc = pl_supervisor_check(supervisor);
    if (rc == 0)
        rc = pl_self_known();
    if (rc == 0)
        rc = take_over(supervisor);
    if (rc < 0)
        return rc;
    struct run r = {.s = supervisor, .slot = pl_self.slot};
    rc = supervise(&r);
    REPORT(&r, PLAIT_REPORT_OVER, NULL, .error = rc);
    hand_over(supervisor);
    return rc;
}

static int run_it(void *supervisor)
{
    return plait_supervisor_run(supervisor);
}

int plait_supervisor_start(plait_worker *ret, plait_supervisor *supervisor, int kind,
                           const plait_options *options)
{
    int rc = pl_supervisor_check(supervisor);
    if (rc == 0 && options && options->arg_size)
        rc = PLAIT_EINVAL;
    if (rc == 0 && kind == PLAIT_PROCESS && !pl_arena_holds(supervisor))
        rc = PLAIT_EPRIVATE;
    return rc < 0 ? rc : plait_start(ret, kind, run_it, supervisor, options);
}

int plait_supervisor_ready(void)
{
    int rc = pl_self_known();
    if (rc < 0)
        return rc;
    uint32_t tells;
    if (pl_task_runs()) {
        tells = pl_task_say_ready();
    } else {
        pl_fetch_or_seq_cst(&pl_self.thread->flags, (uint32_t)PL_FLAG_READY);
        tells = pl_load_seq_cst(&pl_self.thread->tells);
    }
    uint32_t whom = tells & PL_ID_MASK;
    if (whom && !pl_is_dead(whom))
        pl_slot_stir(pl_slot_of(whom));
    return 0;
}
