/* The registry: everyone who can wait or hold is written down (D2).
 *
 * A worker has one slot in the arena from before it runs until it is joined. Fast paths never touch
 * it; it is written when a worker starts, sleeps, is cancelled or ends, and read by whoever must
 * know: waiters (is the holder alive?), joiners, recovery, the inspector.
 *
 * How a death is noticed. Naive: the parent waits for the child and tells the others; but the
 * parent may be dead, busy, or killed in the middle of telling. Cure: each worker holds a robust
 * mutex in its slot, its heart, from registration to the end and never releases it. When the thread
 * dies, of whatever, the kernel itself marks the heart FUTEX_OWNER_DIED and wakes one sleeper on
 * it. So liveness is one load, and a sleeper that also watches the holder's heart (futex_waitv) is
 * woken by the kernel at the moment of death, in any process, with no parent and no helper needed.
 *
 * Facts: 1 the kernel wakes one sleeper only: it wakes the others (pl_heart_stopped).
 *        2 the kernel wakes only if FUTEX_WAITERS is set: the sleeper sets it (pl_heart_watch).
 *        3 a slot must not be reused while its old thread may still exit: a heart that was locked
 *          is taken for a new worker only after it stopped. */
#ifndef PL_REGISTRY_REGISTRY_H
#define PL_REGISTRY_REGISTRY_H

#include "arena/arena.h"
#include "base/self.h"

#include <plait/worker.h>
#include <pthread.h>

/* Where a slot stands. Order matters: ENDED and above never run again. */
enum pl_life {
    PL_FREE = 0,
    PL_NEW = 1,      /* claimed; low bits: id of the claimer. The worker is being started */
    PL_RUNNING = 2,  /* registered */
    PL_ENDED = 3,    /* status recorded; waits to be joined */
    PL_JOINED = 4,   /* joined or detached; free to be claimed once the heart stopped */
    PL_CLAIMED = 6,  /* being reset; low bits: the claimer's kernel thread id. Nobody's yet */
    PL_ENTERING = 5, /* its thread is making itself at home; low bits: its kernel thread id */
};

/* How a worker ended, as far as is known. */
enum pl_ending {
    PL_END_UNKNOWN = 0,  /* died, and nobody could learn of what */
    PL_END_RETURNED = 1, /* its function returned `status` */
    PL_END_EXITED = 2,   /* it called exit(status) or pthread_exit */
    PL_END_KILLED = 3,   /* by signal `signal` */
};

/* Words that others change while they hold no more than a handle carry the generation in their upper half:
 * who was held up until the slot serves another worker fails to change them. 65,536 starts in that slot
 * would have to come in between to deceive it. */
#define PL_TAG(generation) ((uint32_t)(generation) << 16)
#define PL_TAG_MASK UINT32_C(0xffff0000)

enum {
    PL_FLAG_DAEMON = 1,
    PL_FLAG_DETACHED = 2,   /* nobody will join: the slot frees itself */
    PL_FLAG_FOREIGN = 4,    /* not started by plait */
    PL_FLAG_MAIN = 8,       /* the first thread of a process */
    PL_FLAG_READY = 16,     /* it has said that it is ready (plait_supervisor_ready) */
    PL_FLAG_SUBREAPER = 32, /* its process adopts orphans below it */
};

/* What a turn's word says. */
enum {
    PL_TURN_NONE = 0,     /* not in a queue */
    PL_TURN_WAITING = 1,  /* in the queue, not chosen yet */
    PL_TURN_NOTIFIED = 2, /* chosen: the waiter has a notification in its hand */
};

/* What a condition owes after deaths among its waiters; written by recoverers, settled by whoever
 * holds the condition's lock. Atomic. */
struct pl_debt {
    /* Low half: notifications whose receivers died before they could use them. High half: slot of the
     * worker on whose account the count has just been changed, or 0: the worker that is taking one, or,
     * with PL_DEBT_PAID_IN, the dead one from whom one has been taken over. So the change and the note of
     * it are one step, and whoever goes on after a death does not make it twice. */
    uint32_t owed;
    uint32_t torn; /* a waiter died in the queue: its links are not to be trusted */
};

#define PL_DEBT_COUNT UINT32_C(0x7fff)
#define PL_DEBT_PAID_IN UINT32_C(0x8000)
#define PL_DEBT_ACCOUNT(owed) ((owed) >> 16)

/* A place in a condition's queue; see sync/condition.c. A worker waits for one at a time. */
struct pl_turn {
    uint32_t word;        /* futex: PL_TURN_*; the waiter sleeps on it. Atomic */
    uint32_t next;        /* slot index behind in the queue; under the condition's lock */
    uint64_t ticket;      /* order of arrival; under the condition's lock */
    struct pl_debt *debt; /* of the condition whose queue this is; NULL: none. Atomic */
};

/* A lock that a worker holds, on record in the lock-order mode only; see sync/lockdep.c. */
enum { PL_HELD_MOST = 24 };
struct pl_held {
    uint32_t *word; /* atomic; NULL: an entry that is free. The worker sets, who releases clears */
    const void *site; /* atomic; where in the code it was taken */
};

/* A place in the line of a fair lock; see sync/fair.c. */
struct pl_place {
    uint32_t word;  /* futex: 0 waiting, 1 called. Atomic; the waiter and whoever calls it */
    uint32_t *line; /* the word of the lock it stands in line for; NULL: none. Atomic; the waiter */
    uint64_t ticket; /* order of arrival. Atomic; the waiter, before `line` */
};

/* What a death must be able to change in a barrier; see sync/barrier.c. */
struct pl_round {
    /* Low half, a futex: flags and the round's number. High half: forks seen by its process, if in private
     * memory, and arrivals so far. Atomic. */
    uint64_t state;
    uint32_t died; /* id of the dead worker that PL_ROUND_DIED speaks of. Atomic */
    uint32_t unused;
};

#define PL_ROUND_WAITERS UINT64_C(0x80000000) /* someone may sleep on the low half */
#define PL_ROUND_BROKEN UINT64_C(0x40000000)  /* the round will not be completed */
#define PL_ROUND_DRAIN UINT64_C(0x20000000) /* the one before was reset: some may still be inside */
#define PL_ROUND_DIED UINT64_C(0x10000000)  /* the last broken round was broken by a death */
#define PL_ROUND_NUMBER UINT64_C(0x0fffffff)

/* An rwlock that a worker reads or waits to read although all entries of the rwlock are taken; see
 * sync/rwlock.c. The worker writes, unless said. */
struct pl_reading {
    uint64_t lock; /* which rwlock; lowest bit: it waits. A writer takes that bit off. Atomic */
    uint32_t gate; /* as in struct plait_reader_. Atomic */
    uint32_t word; /* futex: the worker's id and two flags, as in an entry. A writer that sleeps on
                    * it sets one. Atomic */
};

enum { PL_READINGS = 4 };

/* Requests to stop: of a registered thread in its slot, of a task in its record. */
struct pl_asked {
    uint32_t made;      /* so far, tagged; anyone adds. Atomic; sleepers watch it */
    uint32_t delivered; /* of these, tagged too; the worker writes. Atomic */
    uint32_t undone;    /* of these, taken back by plait_uncancel; the worker. Atomic */
};

struct pl_slot {
    /* generation << 32 | enum pl_life << 29 | claimer's id. Atomic; see the transitions in
     * registry.c. Joiners sleep on its low half. */
    uint64_t life;

    /* Written by the claimer before the worker runs, or by the worker itself; then constant. */
    uint32_t kind;         /* enum plait_kind */
    uint32_t parent;       /* id of the worker that started it; 0 for the root */
    int32_t parent_pid;    /* process that started it: the one that can reap it. Atomic */
    uint64_t parent_birth; /* and when that one was born. Atomic */
    int32_t pid;           /* atomic: the parent or the worker writes, the same value */
    int32_t tid;           /* atomic: the worker writes */
    uint64_t birth;        /* start time of its process, as the kernel says; 0: not known. Atomic */
    int64_t started;       /* plait_now() */
    uint32_t flags;        /* atomic: PL_FLAG_* and the generation's tag; detaching sets bits */
    uint32_t id;           /* generation and index as a lock word names them */

    /* A task has no heart of its own: it lives as long as the thread that runs it, named here; 0: not a task. Atomic; set
     * before it runs. And the handle it goes by, by which others find this entry. */
    uint32_t host;
    uint32_t
        runs_tasks; /* of a thread: it has tasks, which may not be in the registry. Atomic; it sets */
    uint64_t known_as;
    uint32_t
        minded; /* of a task: somebody sleeps who has to be told of its end. Atomic; sleepers set */

    /* The heart; see above. Locked by the worker, marked by the kernel. */
    _Alignas(8) pthread_mutex_t heart;

    /* Cancellation. Of a task `made` counts the requests that came by this entry, and the loop that has
     * passed them on raises `delivered`. */
    _Alignas(64) struct pl_asked asked;
    uint32_t asked_tasks; /* of a thread: there is something in the entries of its tasks. Atomic */
    uint32_t
        in_poll; /* atomic: it sleeps, or is about to, where only a signal wakes it (park/poll.c); the
                       * worker writes, who has changed something it should see reads */
    uint32_t
        stir; /* atomic: counts calls to look at its scopes; anyone adds. Sleepers in a scope watch it */
    uint32_t
        tells; /* atomic: id of the worker to stir if this one fails or dies, or with PL_TELLS_ANY_END
                * however it ends; who started it sets */

    /* The wait, written by the worker while it sleeps, read by anyone (park/record.h). All atomic. */
    uint32_t
        waits_seq; /* odd while the worker changes what follows; else differs from wait to wait */
    uint32_t waits_kind;   /* enum pl_wait_kind; 0 when running */
    uint32_t waits_holder; /* id of the worker it waits for, 0 unknown */
    uint32_t waits_firm;   /* it cannot be asked to give up; see park/record.c */
    uint32_t waits_unheld; /* bits of the word: if one is set, whom it names does not hold it */
    uint32_t *waits_on;    /* the word, also of the last wait */
    uint32_t *waking;      /* a shared word whose sleepers it is about to wake */
    int64_t waits_since;   /* plait_now() */
    int64_t waits_until;   /* when it gives up by itself, PL_NEVER: never */
    int64_t waits_looked;  /* when it last saw that the holder holds it; 0: it did not see */
    uint32_t
        asked_to_look; /* it has to give way in a deadlock, says another, who sets it; it clears */

    /* A priority-inheriting lock that it is about to take or to give; see sync/pi_lock.c. Written by the
     * worker. `pi_moves` is odd meanwhile, and counts. Atomic */
    uint32_t *pi_word;
    uint32_t pi_moves;

    struct pl_turn turn;
    struct pl_place place;

    struct pl_held
        *held; /* atomic; PL_HELD_MOST of them, NULL: none yet. Stays with the slot for ever */

    /* The round of a barrier that it is in, from before it is counted until it has left; NULL: none.
     * Atomic; the worker writes, the number first; once it is dead its recoverer. */
    struct pl_round *round;
    uint32_t round_number;

    /* The end; written by the worker, its reaper or its recoverer before life becomes ENDED. */
    _Alignas(64) uint32_t ending; /* enum pl_ending; atomic */
    int32_t status;
    int32_t signal;
    uint32_t core;
    int64_t ended;
    int64_t user_ns, system_ns;
    int64_t max_rss; /* bytes */
    int32_t oom;     /* killed for want of memory: 1, 0, -1 not known */
    uint32_t reaper; /* atomic: id of the worker that is collecting the zombie, PL_REAPED, or 0 */
    uint32_t recoverer; /* atomic: id of the worker that recovers, or PL_RECOVERED */

    _Alignas(64) uint64_t name[PLAIT_NAME_SIZE / 8]; /* atomic words; see pl_name_get */

    /* The start: what the new worker is to run. Written by the claimer; read once by the worker. */
    plait_function *function;
    void *argument;
    uint32_t owns_argument; /* atomic: the argument is a copy, with a tag before it */

    uint32_t
        image; /* which image of the program it runs (code.h), cut. Atomic; the worker writes */
    int64_t oom_before; /* pl_oom_kills() as it was started; the claimer. Atomic */

    _Alignas(64) struct pl_reading reading[PL_READINGS];
};

_Static_assert(sizeof(struct pl_slot) <= PL_SLOT_SIZE, "a slot fits its place");

/* The round that the slot's worker is in. No step of the test build: it is asked of every entry. */
static inline struct pl_round *pl_slot_round(const struct pl_slot *slot)
{
    return __atomic_load_n(&slot->round, __ATOMIC_SEQ_CST);
}

#define PL_RECOVERED UINT32_C(0x80000000)
#define PL_REAPED UINT32_C(0x80000000)

static inline struct pl_slot *pl_slot_at(uint32_t index)
{
    return pl_arena_at(pl_arena->slots + (uint64_t)index * PL_SLOT_SIZE);
}

/* The slot an id names; it may by now serve another generation (compare ->id). */
static inline struct pl_slot *pl_slot_of(uint32_t id)
{
    return pl_slot_at(PL_ID_SLOT(id));
}

static inline enum pl_life pl_life_of(uint64_t life)
{
    return (enum pl_life)((uint32_t)life >> PL_ID_BITS);
}

static inline uint32_t pl_generation_of(uint64_t life)
{
    return (uint32_t)(life >> 32);
}

/* The half of `life` that joiners sleep on (little-endian on all our machines). */
static inline uint32_t *pl_life_word(struct pl_slot *slot)
{
    return (uint32_t *)&slot->life;
}

/* This process, named by pid and birth. */
struct pl_process_name {
    int32_t pid;
    uint64_t birth;
};
struct pl_process_name pl_this_process(void);

/* To be called in a child that was made without fork(): it is another process now. */
void pl_forked(void);

/* In a forked child: what its parent's pl_boot_time was just before. Then it need not ask /proc for its birth. */
void pl_born_after(int64_t earliest);

/* Whether this is a process that this process (`self`, so that a loop asks once) forked and has to
 * collect. */
bool pl_slot_is_child(const struct pl_slot *slot, const struct pl_process_name *self);

/* Whether the process that started the worker is gone, so that nobody can collect it. */
bool pl_slot_is_orphan(const struct pl_slot *slot);

/* Whether addresses of code and variables mean the same to the slot's worker as here. */
bool pl_slot_is_of_this_image(const struct pl_slot *slot);

/* Whether a slot in NEW or ENTERING will never run: whoever was to, died before. */
bool pl_slot_is_stillborn(struct pl_slot *slot, uint64_t life);

static inline uint32_t pl_slot_kind(const struct pl_slot *slot)
{
    return __atomic_load_n(&slot->kind, __ATOMIC_RELAXED);
}

static inline uint32_t pl_slot_id(const struct pl_slot *slot)
{
    return __atomic_load_n(&slot->id, __ATOMIC_RELAXED);
}

/* Claims a free slot for a worker to be started by the caller; life becomes NEW, all else is reset.
 * 0, PLAIT_EWORKERS or PLAIT_ENOMEM. Requires: the caller is registered. */
int pl_slot_claim(struct pl_slot **ret);

/* Gives back a claimed slot whose worker could not be started. */
void pl_slot_abandon(struct pl_slot *slot);

/* Makes the calling thread the worker of `slot` (life NEW or ENTERING -> RUNNING) and its heart beat.
 * `meant` is the slot's life as it was claimed. False if it is another by now: the claimer died, and the
 * slot was given to another. */
bool pl_slot_enter(struct pl_slot *slot, uint64_t meant);

/* Writes down a task of the calling thread, and its end. The entry goes with the task; it is never joined: whoever
 * waits for a task waits elsewhere. 0, PLAIT_EWORKERS, PLAIT_ENOMEM. */
int pl_slot_enter_task(struct pl_slot **ret, plait_worker known_as);
bool pl_slot_leave_task(struct pl_slot *slot,
                        int status); /* true: workers of this thread may mind, too */

/* Who is about to sleep until a task does something says so, and looks after that whether it is there still; the heart that
 * it sleeps on is then told of the task's end. */
void pl_slot_mind(struct pl_slot *slot);

/* Makes a task look around, if it is parked; of any thread of the process, while the task is certain not to end. Defined by
 * the task layer. */
struct pl_task;
void pl_task_look(struct pl_task *task);

/* Gives the task that runs here an entry of its own; defined by the task layer. As pl_self_enter. */
int pl_task_enter(void);

/* Runs the calling thread's tasks to their end: waits for those that are not daemons, cancels the others. Nothing, if the
 * caller is one of them. Defined by the task layer. */
void pl_tasks_finish(void);

/* Records the calling thread's end: its allocator chunks are given up, life becomes ENDED, joiners
 * wake. It may not touch plait after. */
void pl_slot_leave(enum pl_ending ending, int status);

/* What lies before the copy of an argument: whose it is. Freeing the copy and noting that are two steps,
 * and a death may come between; whoever repeats it looks at the tag, which no other block can bear. */
struct pl_argument_tag {
    _Alignas(16) uint64_t generation;
    uint64_t slot;
};

/* Makes a worker that sleeps in a cancel scope look around. Too often harms nobody. Defined by park. */
void pl_slot_stir(struct pl_slot *slot);

/* Beside the id in `tells`: any end concerns that worker. */
#define PL_TELLS_ANY_END UINT32_C(0x80000000)

/* Stirs whom the worker's failure or death concerns. `life` is ENDED, or it is known to be dead. Done anew by each
 * sweep until who is concerned has looked and takes `tells` back: the dead one may not have come to it. */
void pl_slot_tell_failure(struct pl_slot *slot);

/* Frees the argument if it is a copy. By the worker, or once it is dead whoever has claimed its
 * recovery; may be repeated. */
void pl_slot_drop_argument(struct pl_slot *slot);

/* Sets life to ENDED if it is not yet, and wakes joiners. The ending must be filled in before. */
void pl_slot_ended(struct pl_slot *slot, uint32_t generation);

/* ENDED or dead -> JOINED, exactly once: true for the one caller that did it. */
bool pl_slot_join(struct pl_slot *slot, uint32_t generation);

/* The name, word by word, so that a reader beside a writer gets a mixed name at worst. */
void pl_name_set(struct pl_slot *slot, const char *name);
void pl_name_get(const struct pl_slot *slot, char *buffer);

/* The slot of a public handle, or NULL if it names no worker (zero, never started, long gone). */
struct pl_slot *pl_slot_find(plait_worker w);
plait_worker pl_worker_of(const struct pl_slot *slot);

/* What the program calls it: the same, but for a task, which has had its handle before its slot. */
plait_worker pl_handle_of(const struct pl_slot *slot);

/* --- hearts: heart.c --- */

/* The entry whose heart beats for this worker: its own, or for a task that of its thread. */
static inline struct pl_slot *pl_heart_of(struct pl_slot *slot)
{
    uint32_t host = __atomic_load_n(&slot->host, __ATOMIC_ACQUIRE);
    return host ? pl_slot_of(host) : slot;
}

static inline uint32_t *pl_own_heart(struct pl_slot *slot)
{
    return (uint32_t *)&slot->heart.__data.__lock;
}

static inline uint32_t *pl_heart_word(struct pl_slot *slot)
{
    return pl_own_heart(pl_heart_of(slot));
}

/* Starts the heart of the calling thread in `slot`. */
void pl_heart_start(struct pl_slot *slot);

/* Whether the slot's heart has been started and stopped: its thread is dead for certain. */
bool pl_heart_is_stopped(struct pl_slot *slot);

/* Prepares to sleep on a heart: arms the kernel's wake-up. True with *ret_seen to sleep with; false
 * if it is stopped, or not started yet, and there is nothing to sleep on. */
bool pl_heart_watch(struct pl_slot *slot, uint32_t *ret_seen);

/* To be called by whoever was woken by a stopped heart: wakes the others (fact 1). */
void pl_heart_stopped(struct pl_slot *slot);

/* Says, by the worker itself at its orderly end, that it will do nothing more: whoever watches the heart
 * looks now. The kernel would wake one of them only, who may be one that was just woken for another
 * reason and is not interested. */
void pl_heart_tell(struct pl_slot *slot);

/* Whether the worker an id names will never run again: dead, ended, or its slot reused. */
bool pl_is_dead(uint32_t id);

/* Whether a slot's worker is being started or runs. */
static inline bool pl_slot_is_alive(struct pl_slot *slot)
{
    enum pl_life life = pl_life_of(__atomic_load_n(&slot->life, __ATOMIC_ACQUIRE));
    return life == PL_NEW || life == PL_ENTERING ||
           (life == PL_RUNNING && !pl_heart_is_stopped(slot));
}

/* The heart of the calling thread is no longer to be watched by anyone: only for an entry that nobody knows. */
void pl_heart_take_back(struct pl_slot *slot);

/* Leaves a family that is nobody's but the calling thread's, so that this program can join another: the arena
 * is given up. True if that was done, or there was none. False, with nothing changed: the process has other
 * threads, there are or were other workers, tasks or cancel scopes, or something has been allocated. A lock in private memory
 * that this thread holds then names a worker that is not of this process, as after a fork. (family.c) */
bool pl_family_leave(void);

/* --- recovery: recover.c --- */

/* Gives back what a worker has in hand of a condition: its place in the queue, a notification. False:
 * another worker's account is open just now; to be tried again. */
bool pl_slot_settle(struct pl_slot *slot);

/* Breaks the round with this number in the name of a dead worker; if it is complete already, the next, as
 * the dead one will not come to it. Not if it was reset. Whoever sleeps on it is left to the caller
 * to wake. */
void pl_round_break(struct pl_round *round, uint32_t number, uint32_t dead);

/* The worker is dead, or at its end: nobody is to wait for it in the barrier it is in. */
void pl_slot_leave_round(struct pl_slot *slot);

/* Repairs what a dead worker left: allocator, wake-ups it owed or swallowed. Once per death, by one
 * of any number of callers; safe against the death of the recoverer. */
void pl_recover(struct pl_slot *slot);

/* A running worker of each other process of the family, as the last sweep saw them, at most `most`: how
 * many. */
int pl_process_workers(uint32_t *ids, int most);

/* Enters the calling worker, the first of its process, in the list, if there is a place. */
void pl_roster_join(void);

/* The list of processes being made anew, by a sweep: family.c. */
enum { PL_PROCESSES_LISTED = 32 };
struct pl_roster {
    int n;
    int32_t pids[PL_PROCESSES_LISTED];
};
void pl_roster_begin(struct pl_roster *roster);
void pl_roster_add(struct pl_roster *roster, struct pl_slot *slot); /* that of a running worker */
void pl_roster_end(struct pl_roster *roster);

/* Looks through all slots for dead workers and recovers them; at most once per `interval` ns over
 * the whole family. */
void pl_sweep(int64_t interval);

/* Fills a blame record from a slot. */
void pl_blame_fill(const struct pl_slot *slot, plait_blame *ret);

/* Fills the blame record of the worker an id names; false if the slot serves another by now. Waits so long for the kernel to
 * tell how a process ended: the mark on its heart comes earlier in its death. */
#define PL_BLAME_PATIENCE (INT64_C(1000) * 1000 * 1000)
bool pl_blame_of_id(uint32_t id, plait_blame *ret);

/* Completes the ending of a dead process that its parent has not reaped yet, as far as the kernel
 * tells a stranger: waits up to `patience` ns for it to become a zombie. */
void pl_ending_learn(struct pl_slot *slot, int64_t patience);

/* No fast paths are to be taken: a mode of debugging wants to see each call. Set before main. */
extern bool pl_slow_paths_only;

/* The id of the worker that this process's fork()ing thread was, 0 if not forked. */
extern uint32_t pl_fork_parent;

#endif
