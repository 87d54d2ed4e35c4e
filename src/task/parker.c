/* How tasks sleep and are woken: the task's side of park.
 *
 * A wait on a private word whose holder nobody asks for, which is most of them, is made here wholly: the task queues in
 * the lot, beside threads that wait for the same word, and lets others run. It needs no entry in
 * the registry, no naps and no look at the clock, so that a million can do it.
 *
 * A wait on a shared word, or for somebody's death, goes the common way through pl_park, with naps, a record
 * that deadlock detection reads, and the lot too: tasks of this process are woken there, in shared memory
 * as well. What other processes wake, the kernel's futex, is watched for the task by a proxy (proxy.h). A wake-up
 * that the proxy has taken while the task was woken otherwise is passed on by it.
 *
 * What is asked of a task by others is told to it so: within the process by its record and the inbox (join.c); by
 * other processes in its registry entry, with a mark in the entry of its thread, which the
 * loop looks at (pl_parker_sort). */
#include "base/atomic.h"
#include "base/clock.h"
#include "park/scope.h"
#include "task/task_internal.h"

#include <string.h>

/* --- sleeping --- */

static void set_timer(struct pl_task *self, int64_t until)
{
    self->timed_out = false;
    if (until != PL_NEVER)
        pl_timers_add(&self->loop->timers, &self->timer, until);
}

static void stop_timer(struct pl_task *self)
{
    pl_timers_remove(&self->loop->timers, &self->timer);
}

static bool is_deaf(const struct pl_task *self)
{
    return self->firm;
}

/* Lets others run until woken, asked, or `until`. */
static void doze(struct pl_task *self, uint32_t *word, const struct pl_wait *wait, int64_t until)
{
    self->firm = wait->deaf;
    self->certain = wait->uncancellable;
    if (!is_deaf(self) && pl_task_is_asked(self))
        return;
    set_timer(self, until);
    pl_task_suspend(wait->kind, word);
    stop_timer(self);
}

static int why_awake(struct pl_task *self, const uint32_t *word, uint32_t seen,
                     struct pl_wait *wait)
{
    if (pl_load_relaxed(word) != seen)
        return 0;
    int rc = pl_wait_take(wait);
    if (rc < 0 || !self->timed_out)
        return rc;
    wait->nap_end = 0;
    return pl_passed(wait->deadline) ? PLAIT_ETIMEDOUT : 0;
}

static int park_privately(struct pl_parker *parker, uint32_t *word, uint32_t seen,
                          struct pl_wait *wait)
{
    struct pl_task *self = pl_self.task;
    struct pl_parked node;
    int rc = pl_wait_take(wait);
    if (rc < 0 || wait->deadline == 0)
        return rc < 0 ? rc : PLAIT_ETIMEDOUT;
    node.word = word;
    node.seen = seen;
    node.shared = false;
    node.queued = false;
    node.woken = 0;
    node.parker = parker;
    node.sleeper = self;
    node.wait = wait;
    node.n_watched = 0;
    self->timed_out = false;
    wait->slept = true;
    wait->slept_for = 0;
    int64_t until = pl_wait_look(wait);
    if (wait->nap_end && wait->nap_end < until) /* the caller wants to look then */
        until = wait->nap_end;
    if (!pl_lot_enter(&node))
        return 0;
    doze(self, word, wait, until);
    return pl_lot_leave(&node) ? 0 : why_awake(self, word, seen, wait);
}

static bool task_park(struct pl_parker *parker, uint32_t *word, uint32_t seen, struct pl_wait *wait,
                      int *ret)
{
    struct pl_loop *loop = (struct pl_loop *)parker;
    if (loop->live == 0 && !loop->in_run && pl_loop_close(loop))
        return false; /* a thread like any other again */
    if (wait->holder || wait->n_others || pl_arena_holds(word))
        return false;
    *ret = park_privately(parker, word, seen, wait);
    return true;
}

/* --- the common way --- */

enum { PROXIES_FEW = 8, PROXIES_MOST = PL_WATCH_MOST + 4 };

struct proxies {
    struct pl_proxied **list;
    int n, most;
};

static void arm(struct pl_task *self, struct proxies *p, uint32_t *word, uint32_t seen)
{
    struct pl_proxied *proxied =
        p->n < p->most ? pl_proxy_arm(&self->loop->proxies, word, seen, self) : NULL;
    if (proxied)
        p->list[p->n++] = proxied;
}

/* Watches the heart of a worker. False if it has stopped already. */
static bool arm_heart(struct pl_task *self, struct proxies *p, struct pl_parked *node, uint32_t id)
{
    struct pl_slot *slot = pl_slot_of(id);
    uint32_t beat;
    if (id == self->id)
        return true;
    if (node->n_watched < PL_WATCH_MOST)
        node->watched[node->n_watched++] = id;
    if (node->wait->kind != PL_WAIT_JOIN) /* of that it is told otherwise */
        pl_slot_mind(slot);
    bool own = pl_heart_of(slot) == self->loop->thread; /* it dies with us, or tells us itself */
    if (!own && !pl_is_dead(id) && pl_heart_watch(slot, &beat))
        arm(self, p, pl_heart_word(slot), beat);
    return !pl_is_dead(id);
}

static bool arm_all(struct pl_task *self, struct proxies *p, struct pl_parked *node)
{
    const struct pl_wait *wait = node->wait;
    if (node->shared)
        arm(self, p, node->word, node->seen);
    if (wait->holder && !arm_heart(self, p, node, wait->holder))
        return false;
    for (int i = 0; i < wait->n_others; i++)
        if (!arm_heart(self, p, node, wait->others[i]))
            return false;
    return true;
}

static void sleep_watching(struct pl_parked *node, int64_t until, struct proxies *p)
{
    struct pl_task *self = pl_self.task;
    self->told = false;
    if (arm_all(self, p, node))
        doze(self, node->word, node->wait, until);
    while (p->n > 0)
        pl_proxy_disarm(&self->loop->proxies, p->list[--p->n]);
    node->told = self->told;
}

/* Apart, so that most tasks do not have the large array on their stacks. */
static __attribute__((noinline)) void sleep_watching_many(struct pl_parked *node, int64_t until)
{
    struct pl_proxied *list[PROXIES_MOST];
    sleep_watching(node, until, &(struct proxies){.list = list, .most = PROXIES_MOST});
}

static void task_sleep(struct pl_parker *parker, struct pl_parked *node, int64_t until)
{
    (void)parker;
    struct pl_proxied *list[PROXIES_FEW];
    if (node->wait->n_others + 2 > PROXIES_FEW)
        sleep_watching_many(node, until);
    else
        sleep_watching(node, until, &(struct proxies){.list = list, .most = PROXIES_FEW});
}

/* --- waking --- */

static void task_wake(struct pl_parker *parker, struct pl_parked *node)
{
    struct pl_task *task = node->sleeper;
    if (pl_self.parker == parker) {
        pl_store_relaxed(&node->woken, 1u);
        pl_task_ready(task);
        return;
    }
    /* First the inbox: once `woken` is set the task may go on, end, and its loop with it. */
    pl_task_post(task);
    pl_store_release(&node->woken, 1u);
}

const struct pl_parker pl_task_parker = {
    .park = task_park,
    .sleep = task_sleep,
    .wake = task_wake,
    .wait_fd = pl_poller_wait_fd,
    .events_of = pl_poller_events_of,
};

/* --- requests --- */

/* Whether it is in a scope and has not looked around since it was told to. */
static bool is_stirred(const struct pl_task *task, struct pl_slot *slot)
{
    return task->scope && !task->certain && pl_load_acquire(&slot->stir) != task->scope->stirred_;
}

void pl_task_look(struct pl_task *task)
{
    if (task->loop == pl_loop_here())
        pl_task_ready(task);
    else
        pl_task_post(task);
}

static void pass_on(struct pl_task *task)
{
    struct pl_asked *asked = &task->slot->asked;
    uint32_t made = pl_load_acquire(&asked->made), delivered = pl_load_relaxed(&asked->delivered);
    for (; delivered != made; delivered++)
        pl_asked_add(&task->asked, pl_generation_of(pl_load_relaxed(&task->life)));
    pl_store_relaxed(&asked->delivered, made);
    bool look = pl_load_acquire(&task->slot->asked_to_look) || is_stirred(task, task->slot);
    if (look || (pl_task_is_asked(task) && !task->firm))
        pl_task_ready(task);
}

void pl_parker_sort(struct pl_loop *loop)
{
    struct pl_task *root = &loop->root;
    pl_bell_look();
    if (root->state == PL_TASK_PARKED &&
        ((!root->firm && pl_task_is_asked(root)) || is_stirred(root, loop->thread)))
        pl_task_ready(root);
    if (root->state == PL_TASK_PARKED && pl_load_acquire(&loop->thread->asked_to_look))
        pl_task_ready(root);
    if (!pl_load_seq_cst(&loop->thread->asked_tasks))
        return;
    pl_store_seq_cst(&loop->thread->asked_tasks, 0u);
    for (struct pl_task *task = loop->known; task; task = task->known_next)
        pass_on(task);
}

int pl_task_enter(void)
{
    struct pl_task *self = pl_self.task;
    struct pl_slot *slot;
    char name[PLAIT_NAME_SIZE];
    int rc = pl_slot_enter_task(&slot, pl_task_handle(self));
    if (rc < 0)
        return rc;
    pl_task_name(self, name);
    pl_name_set(slot, name);
    self->slot = pl_self.slot = slot;
    self->id = pl_self.id = pl_slot_id(slot);
    self->quick = pl_self.quick = pl_slow_paths_only ? 0 : self->id;
    struct pl_loop *loop = self->loop;
    self->known_at = &loop->known;
    self->known_next = loop->known;
    if (loop->known)
        loop->known->known_at = &self->known_next;
    loop->known = self;
    /* R:task.known, pairs with wait_for_end: joiners are to name it as what they wait for, from now on. */
    pl_store_seq_cst(&self->ended, (uint32_t)PL_TASK_KNOWN);
    pl_unpark(&self->ended, INT32_MAX);
    return 0;
}
