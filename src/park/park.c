/* Parking: the record in the registry, the watched words, naps, timeouts, cancellation.
 *
 * Naive: futex_wait(word, seen). Its holes: a dead holder changes no word; a cancelled sleeper is
 * not woken; a wake-up given to a worker that was killed before it could use it is lost.
 * Cure: a sleeper watches up to three words at once: the primitive's, its own `cancel`, and the
 * holder's heart, which the kernel marks at death. And it naps: a sleep is cut into naps (20 ms,
 * doubling to 1 s), after each of which the word is looked at again and the registry swept for
 * deaths that nobody noticed. So a lost wake-up costs a nap, not forever, and a sleeper that is
 * left alone costs one look a second.
 *
 * Where the kernel cannot watch several words (no futex_waitv), naps are short and the cancel word
 * and the heart are looked at after each. */
#include "park/park.h"

#include "base/atomic.h"
#include "base/clock.h"
#include "base/model.h"
#include "park/scope.h"
#include "port/futex.h"

#include <limits.h>

enum {
    LONGEST_NAP = 1000 * 1000 * 1000,
    BLIND_NAP = 5 * 1000 * 1000, /* without futex_waitv */
    SWEEP_EVERY = 10 * 1000 * 1000,
};

int pl_wait_begin(struct pl_wait *wait, enum pl_wait_kind kind, int64_t timeout)
{
    int rc = pl_check_timeout(timeout);
    if (rc < 0)
        return rc;
    *wait = (struct pl_wait){
        .kind = kind,
        .deadline = timeout == PLAIT_NOWAIT ? 0 : pl_deadline(timeout),
        .nap = PL_FIRST_NAP,
    };
    return 0;
}

void pl_wait_renew(struct pl_wait *wait)
{
    *wait = (struct pl_wait){.kind = wait->kind, .deadline = wait->deadline, .nap = PL_FIRST_NAP};
}

/* --- cancellation --- */

int pl_request_take(void)
{
    struct pl_asked *self = pl_self.asked;
    uint32_t asked = pl_load_acquire(&self->made);
    if (asked == pl_load_relaxed(&self->delivered))
        return 0;
    pl_store_relaxed(&self->delivered, asked);
    return PLAIT_ECANCELED;
}

int pl_cancel_take(void)
{
    return pl_self.scope ? pl_scope_take(PL_NEVER) : pl_request_take();
}

static void put_request_back(void)
{
    struct pl_asked *self = pl_self.asked;
    pl_store_relaxed(&self->delivered, pl_load_relaxed(&self->delivered) - 1);
}

int pl_asked_add(struct pl_asked *asked, uint32_t generation)
{
    uint32_t seen = pl_load_relaxed(&asked->made);
    do {
        if ((seen & PL_TAG_MASK) != PL_TAG(generation))
            return PLAIT_ESTALE;
        if ((seen & ~PL_TAG_MASK) == ~PL_TAG_MASK)
            return PLAIT_EOVERFLOW;
    } while (!pl_cas_seq_cst(&asked->made, &seen, seen + 1));
    return 0;
}

void pl_nudge(struct pl_slot *slot)
{
    pl_futex_wake(&slot->asked.made, INT_MAX, true);
    uint32_t host = pl_load_acquire(&slot->host);
    if (host)
        pl_store_seq_cst(&pl_slot_of(host)->asked_tasks, 1u);
    pl_poll_nudge(slot);
}

void pl_cancel_put_back(void)
{
    if (!pl_scope_untake())
        put_request_back();
}

void pl_cancel_put_back_unsaid(void)
{
    if (!pl_scope_took()) /* a scope that is over is so for the next call, too */
        put_request_back();
}

void pl_request_say_again(void)
{
    const struct pl_asked *self = pl_self.asked;
    if (self && pl_load_acquire(&self->made) == pl_load_relaxed(&self->delivered) &&
        pl_load_relaxed(&self->undone) != pl_load_relaxed(&self->delivered))
        put_request_back();
}

int pl_cancel_request(struct pl_slot *slot, uint32_t generation)
{
    int rc = pl_asked_add(&slot->asked, generation);
    if (rc < 0)
        return rc;
    pl_nudge(slot);
    /* A sleeper on a kernel without futex_waitv sleeps on its word alone. */
    uint32_t *word = pl_load_seq_cst(&slot->waits_on);
    if (word && pl_arena_holds(word))
        pl_futex_wake(word, INT_MAX, true);
    return 0;
}

/* --- the thread parker --- */

_Static_assert(PL_WATCH_MOST + 4 <= PL_FUTEX_MAX, "word, cancel, stir, holder and others fit");

enum { PL_WATCH_PROCESSES = 32 };

/* Adds the heart of a worker whose death must wake us. False if it is dead. */
static bool watch_worker(struct pl_parked *node, uint32_t id, struct pl_watch *list, int *n)
{
    struct pl_slot *slot = pl_slot_of(id);
    uint32_t beat;
    if (id == pl_self.id)
        return true;
    if (node->n_watched < (int)(sizeof node->watched / sizeof node->watched[0]))
        node->watched[node->n_watched++] = id;
    if (node->wait->kind != PL_WAIT_JOIN) /* of that it is told otherwise */
        pl_slot_mind(slot);
    if (pl_is_dead(id))
        return false;
    if (pl_heart_watch(slot, &beat))
        list[(*n)++] = (struct pl_watch){pl_heart_word(slot), beat, true};
    return !pl_is_dead(id); /* the slot may have changed hands meanwhile */
}

static int32_t pid_of(uint32_t id)
{
    return pl_load_relaxed(&pl_slot_of(id)->pid);
}

/* A heart of each process of the family but the holder's, whose own is watched: then a death anywhere is
 * noticed at once, also that of one who took the lock without being seen by the others that wait for it.
 * Who waits for no one in particular begins with that after its first nap. More processes than these are found
 * by later naps. */
static bool watch_processes(struct pl_parked *node, struct pl_watch *list, int *n)
{
    uint32_t ids[PL_WATCH_PROCESSES];
    int found = pl_process_workers(ids, PL_WATCH_PROCESSES);
    int32_t holders = node->wait->holder ? pid_of(node->wait->holder) : 0;
    for (int i = 0; i < found && *n < PL_FUTEX_MAX; i++)
        if (pid_of(ids[i]) != holders && !watch_worker(node, ids[i], list, n))
            return false;
    return true;
}

/* The words besides the primitive's own: the cancel word and the hearts. False if one of them
 * already calls for a look. */
static bool watch_more(struct pl_parked *node, struct pl_watch *list, int *n)
{
    const struct pl_wait *wait = node->wait;
    struct pl_slot *self = pl_self.slot;
    uint32_t asked = pl_load_seq_cst(&self->asked.made);
    if (pl_self.bell) {
        if (pl_bell_rings())
            return false;
        list[(*n)++] = (struct pl_watch){&pl_self.bell->rung, pl_self.bell->heard, false};
    }
    if (pl_self.scope && !wait->uncancellable) {
        uint32_t stir = pl_load_seq_cst(&self->stir);
        if (stir != pl_self.scope->stirred_)
            return false;
        list[(*n)++] = (struct pl_watch){&self->stir, stir, true};
    }
    if (!wait->deaf) {
        if (asked != pl_load_relaxed(&self->asked.delivered))
            return false;
        list[(*n)++] = (struct pl_watch){&self->asked.made, asked, true};
    }
    if (wait->holder && !watch_worker(node, wait->holder, list, n))
        return false;
    for (int i = 0; i < wait->n_others && *n < PL_FUTEX_MAX; i++)
        if (!watch_worker(node, wait->others[i], list, n))
            return false;
    bool any_death_counts =
        wait->holder || wait->naps > 0 || (!wait->uncancellable && pl_scope_minds_deaths());
    return !any_death_counts || watch_processes(node, list, n);
}

static void thread_sleep(struct pl_parker *self, struct pl_parked *node, int64_t until)
{
    (void)self;
    struct pl_watch list[PL_FUTEX_MAX];
    int n = 1;
    list[0] = node->shared ? (struct pl_watch){node->word, node->seen, true}
                           : (struct pl_watch){&node->woken, 0, false};
    if (!watch_more(node, list, &n))
        return;
    if (n > 1 && pl_futex_wait_any(list, n, until) != -ENOSYS)
        return;
    if (n > 1) {
        int64_t blind = plait_now() + BLIND_NAP;
        until = blind < until ? blind : until;
    }
    pl_futex_wait(list[0].word, list[0].seen, list[0].shared, until);
}

static void thread_wake(struct pl_parker *self, struct pl_parked *node)
{
    (void)self;
    uint32_t *word = &node->woken;
    /* R:parked.woken, pairs with pl_lot_leave. After this the node may be gone; waking an address
     * where nobody sleeps any more harms nobody. */
    pl_store_release(word, 1u);
    pl_futex_wake(word, 1, false);
}

struct pl_parker pl_thread_parker = {.sleep = thread_sleep, .wake = thread_wake};

/* --- parking --- */

/* After a nap that brought nothing: look around, sleep longer next time. */
static void after_nap(struct pl_wait *wait)
{
    pl_sweep(SWEEP_EVERY);
    wait->naps++;
    wait->nap = wait->nap * 2 < LONGEST_NAP ? wait->nap * 2 : LONGEST_NAP;
    wait->nap_end = 0;
}

/* The sleep proper. True if an unparker chose us; the kernel's futexes, by which threads wait for shared words,
 * cannot tell. */
static bool sleep_once(struct pl_parked *node, int64_t until)
{
    if (node->shared && !pl_self.parker) {
        node->parker->sleep(node->parker, node, until);
        return false;
    }
    if (!pl_lot_enter(node))
        return true;
    node->parker->sleep(node->parker, node, until);
    /* A:parked.woken, pairs with thread_wake. */
    bool chosen = pl_lot_leave(node);
    if (chosen && node->told) /* two wake-ups for one: another sleeper gets the second */
        pl_unpark_another(node->word);
    return chosen;
}

/* Repairs what those that died while we watched them have left. True if there was one. */
static bool note_deaths(const struct pl_parked *node)
{
    bool any = false;
    for (int i = 0; i < node->n_watched; i++) {
        if (!pl_is_dead(node->watched[i]))
            continue;
        any = true;
        pl_recover(pl_slot_of(node->watched[i]));
        pl_heart_stopped(pl_slot_of(node->watched[i])); /* the kernel has woken one of us only */
    }
    return any;
}

/* Whether another has seen a deadlock in which this worker has to give way. */
static bool is_asked_to_look(void)
{
    uint32_t *asked = &pl_self.slot->asked_to_look;
    if (!pl_load_acquire(asked))
        return false;
    pl_store_relaxed(asked, 0u);
    return true;
}

int64_t pl_wait_end(const struct pl_wait *wait)
{
    int64_t end = pl_self.scope && !wait->uncancellable ? pl_scope_end_of_waits() : PL_NEVER;
    return end < wait->deadline ? end : wait->deadline;
}

int64_t pl_wait_look(const struct pl_wait *wait)
{
    int64_t look = pl_self.scope && !wait->uncancellable ? pl_scope_next_look() : PL_NEVER;
    return look < wait->deadline ? look : wait->deadline;
}

int pl_wait_take(struct pl_wait *wait)
{
    wait->deaf = wait->uncancellable || pl_is_shielded();
    if (wait->uncancellable)
        return 0;
    return pl_self.scope ? pl_scope_take(wait->deadline) : pl_request_take();
}

bool pl_wait_is_asked(struct pl_wait *wait)
{
    wait->deaf = wait->uncancellable || pl_is_shielded();
    if (!wait->deaf &&
        pl_load_seq_cst(&pl_self.asked->made) != pl_load_relaxed(&pl_self.asked->delivered))
        return true;
    return pl_self.scope && !wait->uncancellable && pl_scope_is_over();
}

/* When to wake at the latest. */
static int64_t latest_look(const struct pl_wait *wait)
{
    int64_t look = pl_wait_look(wait);
    return wait->nap_end < look ? wait->nap_end : look;
}

/* Sleeps once, and says why it woke: as pl_park. The wait is on record. The clock is asked no more often
 * than it must: on virtual machines that may cost as much as the rest. */
static int sleep_recorded(struct pl_parked *node, int64_t start)
{
    struct pl_wait *wait = node->wait;
    bool chosen = sleep_once(node, latest_look(wait));
    int64_t now = plait_now();
    wait->slept = true;
    wait->slept_for = now - start;
    if (note_deaths(node) || chosen || pl_load_relaxed(node->word) != node->seen)
        return 0;
    int rc = pl_wait_take(wait);
    if (rc < 0)
        return rc;
    bool over = now >= wait->nap_end;
    if (over || is_asked_to_look())
        rc = pl_deadlock_check(wait);
    if (over)
        after_nap(wait);
    return rc < 0 ? rc : now >= wait->deadline ? PLAIT_ETIMEDOUT : 0;
}

static int64_t nap_end(int64_t now, int64_t nap)
{
    return pl_model && nap > pl_model->longest_nap ? PL_NEVER : now + nap;
}

int pl_park(uint32_t *word, uint32_t seen, struct pl_wait *wait)
{
    int rc;
    if (!pl_self.parker)
        pl_bell_look(); /* it may make a parker */
    if (pl_self.parker && pl_self.parker->park &&
        pl_self.parker->park(pl_self.parker, word, seen, wait, &rc))
        return rc;
    int64_t now = plait_now();
    if (now >= wait->deadline)
        return PLAIT_ETIMEDOUT;
    rc = pl_wait_take(wait);
    if (rc < 0)
        return rc;
    if (wait->began == 0) {
        wait->began = now;
        if (wait->nap == PL_FIRST_NAP)
            wait->nap = pl_deadlock_after() < LONGEST_NAP ? pl_deadlock_after() : LONGEST_NAP;
    }
    if (wait->nap_end == 0)
        wait->nap_end = nap_end(now, wait->nap);
    struct pl_parked node;
    node.word = word;
    node.seen = seen;
    node.shared = pl_arena_holds(word);
    node.queued = false;
    node.woken = 0;
    node.parker = pl_self.parker ? pl_self.parker : &pl_thread_parker;
    node.sleeper = pl_self.task;
    node.told = false;
    node.wait = wait;
    node.n_watched = 0;
    pl_wait_show(wait->shown ? wait->shown : word, wait, now);
    rc = sleep_recorded(&node, now);
    pl_wait_hide();
    return rc;
}

/* Tasks wait in the lot for shared words too, where waking them is cheap, and behind their proxies in the kernel's queue,
 * where all stand in order. Asked first always, the lot would let none of the others have a turn while there
 * is a task; so now and then the kernel is. */
static int wake_shared(uint32_t *word, int n)
{
    enum { KERNEL_EVERY = 4 };
    bool kernel_first = ++pl_self.unparks % KERNEL_EVERY == 0;
    int woken = kernel_first ? pl_futex_wake(word, n, true) : 0;
    if (woken < n)
        woken += pl_lot_wake(word, n - woken);
    if (!kernel_first && woken < n)
        woken += pl_futex_wake(word, n - woken, true);
    return woken;
}

void pl_unpark_another(uint32_t *word)
{
    if (pl_lot_wake(word, 1) == 0)
        pl_futex_wake(word, 1, true);
}

int pl_unpark(uint32_t *word, int n)
{
    bool shared = pl_arena_holds(word);
    int woken = shared ? wake_shared(word, n) : pl_lot_wake(word, n);
    if (woken > 0)
        pl_self.woke = 1;
    if (shared && pl_self.thread)
        pl_store_release(&pl_self.thread->waking, NULL);
    return woken;
}
