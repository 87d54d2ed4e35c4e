/* The waiting room: the one place where plait blocks (D4).
 *
 * A primitive is a 32-bit word and rules for changing it. When a worker must wait for the word to
 * change, it parks: "sleep while *word == seen". When a change may let others go on, it unparks.
 * Where the word lies decides how: a word in the arena is waited for with the kernel's futex, whose
 * queue no death can tear; a word in private memory through the lot (lot.c), a queue in user space
 * from which tasks will be woken too. Primitives do not see the difference.
 *
 * What a caller may rely on:
 *   - a wake-up that follows a change of the word is not lost;
 *   - pl_park may return 0 for no reason, so it is called in a loop that looks at the word;
 *   - it also returns 0 when the `holder` it was told about dies, and now and then while waiting (a
 *     nap's end), so that what a dead worker left undone is found even if nobody else notices;
 *   - a timeout or cancellation never takes a wake-up with it in private memory; in shared memory
 *     it may, and the caller that gives up must pass it on (unpark if the word still calls for it).
 *
 * Cancellation wakes a sleeper by its slot's `cancel` word, which every sleeper watches too. */
#ifndef PL_PARK_PARK_H
#define PL_PARK_PARK_H

#include "registry/registry.h"

#include <signal.h>

/* ns after which a sleeper first looks around by itself; later naps are longer. Not shorter than this: a
 * timer of less than a clock tick has to be programmed into the processor's own, which on virtual
 * machines costs as much as the sleep and the wake-up together. */
enum { PL_FIRST_NAP = 20 * 1000 * 1000 };

/* ns of waiting after which newcomers have to let a sleeper pass. */
enum { PL_HUNGER = 1000 * 1000 };

/* Workers whose deaths one sleeper can watch at once, besides the holder. */
enum { PL_WATCH_MOST = 124 };

/* What a worker waits for; the inspector's and the deadlock detector's word for it. */
enum pl_wait_kind {
    PL_WAIT_NONE = 0,
    PL_WAIT_LOCK,
    PL_WAIT_EVENT,
    PL_WAIT_SEMAPHORE,
    PL_WAIT_CONDITION,
    PL_WAIT_JOIN,
    PL_WAIT_POOL,  /* a pool worker for work */
    PL_WAIT_ITEMS, /* a caller for a pool's results */
    PL_WAIT_RLOCK,
    PL_WAIT_PI_LOCK,
    PL_WAIT_READ,  /* an rwlock, to read */
    PL_WAIT_WRITE, /* an rwlock, to write */
    PL_WAIT_BARRIER,
    PL_WAIT_ONCE,
    PL_WAIT_LATCH,
    PL_WAIT_BANK,
    PL_WAIT_GIL,
    PL_WAIT_FD,     /* a descriptor */
    PL_WAIT_HELPER, /* a helper thread, for the end of what it does (io/offload.c) */
    PL_WAIT_SLEEP,
    PL_WAIT_WORKERS,    /* the end of one of several workers */
    PL_WAIT_SUPERVISOR, /* that a supervisor does what it is asked */
    PL_WAIT_KINDS,
};

/* The kind in words, to follow "waits for": "a lock". */
const char *pl_wait_name(uint32_t kind);

/* One wait, from the first look at the word to the last; lives on the waiter's stack. */
struct pl_wait {
    enum pl_wait_kind kind;
    int64_t deadline;       /* absolute; PL_NEVER, or 0 in the past for a mere look */
    uint32_t holder;        /* id of the worker whose death must wake us; 0: nobody in particular */
    uint32_t unheld;        /* bits of the word: if one is set, whom it names does not hold it */
    uint32_t *shown;        /* the word to put on record; NULL: the one slept on */
    const uint32_t *others; /* further ids whose death must wake us; n_others of them */
    int n_others;
    bool uncancellable; /* finish the wait whatever is asked (taking a lock back) */
    bool lasting;       /* a deadlock does not end it: it would only begin again. Others give way */
    bool deaf;  /* requests to stop do not reach it now: uncancellable, or shielded. pl_park */
    bool slept; /* out: pl_park has slept in this wait */
    int64_t slept_for; /* out: ns, the last time; what pl_spin_slept wants to know */
    int64_t began;     /* out: when it first parked; 0 before */
    int64_t nap;       /* length of the next nap; grows */
    int64_t nap_end;   /* when the current one ends; 0: none is begun */
    int naps;          /* slept through so far */
    bool told;         /* a suspected deadlock has been reported in this wait */
};

/* What a loop has noted about a descriptor that it keeps registered; in the stream it belongs to. Zeroed: nothing. */
struct pl_fd_watch {
    uint64_t
        loop; /* serial number of the loop it is registered with. Atomic: reader and writer may differ */
    uint32_t
        drained; /* it was read empty when the loop had seen so many events of it; 0: that is not known. The reader */
};

/* A parker: how one kind of worker sleeps and is woken. Threads have theirs (park.c); the task
 * loop registers its own in pl_self.parker. */
struct pl_parked;
struct pl_fd_watch;
struct pl_parker {
    /* Parks in the parker's own way, if it has one for such a wait: true, with what pl_park is to return. NULL for
     * threads. */
    bool (*park)(struct pl_parker *self, uint32_t *word, uint32_t seen, struct pl_wait *wait,
                 int *ret);
    /* Sleeps until woken, or one of the watched words differs from what was seen, or `until`. */
    void (*sleep)(struct pl_parker *self, struct pl_parked *node, int64_t until);
    /* Wakes the sleeper: sets node->woken to 1 (release), after which the node may be gone, and makes
     * the sleeper run. Called by the unparker, of any worker of the process. */
    void (*wake)(struct pl_parker *self, struct pl_parked *node);
    /* Waits for a descriptor: as pl_park_fd. NULL: as a thread does. */
    int (*wait_fd)(struct pl_parker *self, int fd, uint32_t events, struct pl_wait *wait,
                   struct pl_fd_watch *watch);
    /* Events of a kept descriptor that the parker has seen, never 0; 0: it does not keep it, or its end has been told
     * already. NULL for threads. */
    uint32_t (*events_of)(struct pl_parker *self, int fd, const struct pl_fd_watch *watch);
};

/* A sleeper. On its stack; in the lot's queue while its word is private. */
struct pl_parked {
    struct pl_parked *next, *prev; /* the lot's queue; under the bucket's lock */
    uint32_t *word;                /* what it waits for to change */
    uint32_t seen;
    bool shared;    /* word lies in the arena */
    bool queued;    /* in the lot; under the bucket's lock */
    uint32_t woken; /* private: the word it sleeps on; 1 once unparked. Atomic */
    struct pl_parker *parker;
    struct pl_task *sleeper; /* the parker's business; NULL: a thread that has no tasks */
    bool told; /* shared: the kernel has woken it too, or the word has changed; the parker sets */
    struct pl_wait *wait;
    int n_watched; /* workers whose deaths wake it */
    uint32_t watched[PL_WATCH_MOST + 4];
};

/* Sleeps while *word == seen. 0: look again; PLAIT_ETIMEDOUT; PLAIT_ECANCELED (the request is then
 * delivered); PLAIT_EDEADLK (nobody could ever end this wait; for kinds that have a holder).
 * Requires: the caller is registered (pl_self_known). */
int pl_park(uint32_t *word, uint32_t seen, struct pl_wait *wait);

/* Waits until the descriptor is ready for one of `events`, has failed or was hung up (POLL* bits). Those
 * that it is ready for, positive; PLAIT_ETIMEDOUT; PLAIT_ECANCELED (delivered); PLAIT_EBADF; PLAIT_ENOMEM. It looks
 * at least once, whatever the deadline; what is ready comes before a request to stop that arrives meanwhile.
 * Requires: the caller is registered; a wait begun with PL_WAIT_FD. (fd.c) */
int pl_park_fd(int fd, uint32_t events, struct pl_wait *wait);

/* The same for a descriptor that is tried until it would block before each wait, and that nobody closes without
 * dropping the watch: a loop then keeps it registered. */
int pl_park_fd_kept(int fd, uint32_t events, struct pl_wait *wait, struct pl_fd_watch *watch);

/* Notes that a kept descriptor has just been read empty: a read brought less than there was room for. And whether
 * it is so still for all that the loop knows: then there is no need to try before waiting. */
void pl_fd_note_drained(int fd, struct pl_fd_watch *watch);
bool pl_fd_is_drained(int fd, const struct pl_fd_watch *watch);

/* To be called before the descriptor is closed. */
void pl_fd_watch_drop(struct pl_fd_watch *watch);

/* What it is ready for now: 0 if for nothing. PLAIT_EBADF, PLAIT_ENOMEM. Anyone may ask. */
int pl_fd_ready(int fd, uint32_t events);

/* Lets up to n sleepers of the word go on, first come first served as far as known; how many. Tasks that wait for a
 * shared word may be counted twice: as such, and as what the kernel woke in their place. */
int pl_unpark(uint32_t *word, int n);

/* Passes on a wake-up of a shared word that has come twice to one sleeper, or too late: for parkers, whose sleepers stand
 * in the lot and in the kernel's queue at once. Not to one of these queues only: the other sleepers may stand in the
 * other one. */
void pl_unpark_another(uint32_t *word);

/* To announce, before a shared word is changed, that its sleepers will be woken after: should this
 * worker die in between, its recoverer wakes them. Cleared by pl_unpark. */
static inline void pl_will_unpark(uint32_t *word)
{
    if (pl_arena_holds(word) && pl_self.thread)
        __atomic_store_n(&pl_self.thread->waking, word, __ATOMIC_RELEASE);
}

/* What was announced is not to be: there was nobody to wake. */
static inline void pl_wont_unpark(void)
{
    if (pl_self.thread)
        __atomic_store_n(&pl_self.thread->waking, NULL, __ATOMIC_RELEASE);
}

/* Begins a wait: checks the timeout. 0, PLAIT_EINVAL, PLAIT_EOVERFLOW. */
int pl_wait_begin(struct pl_wait *wait, enum pl_wait_kind kind, int64_t timeout);

/* Begins a further wait with the same kind and deadline. */
void pl_wait_renew(struct pl_wait *wait);

/* Writes into the registry that this worker waits for the word; that it does so no longer. For waits
 * that cannot be made by pl_park. */
void pl_wait_show(uint32_t *word, const struct pl_wait *wait, int64_t now);
void pl_wait_hide(void);

/* A request to stop that is not delivered yet, or a cancel scope that is over: takes it and says
 * PLAIT_ECANCELED, else 0. pl_request_take: requests only, shielded or not. */
int pl_cancel_take(void);
int pl_request_take(void);

/* Puts back a request that was taken where another result is to be returned: the next call says it. With
 * _unsaid what was to be done has not been done, though the caller cannot be told why. */
void pl_cancel_put_back(void);
void pl_cancel_put_back_unsaid(void);

/* The last request to stop that was delivered is said once more by the next blocking call, unless one is waiting to
 * be anyway or all were taken back. */
void pl_request_say_again(void);

/* For sleeps that are not made by pl_park. When the wait ends by itself, by its own deadline or that of a cancel
 * scope; when to wake at the latest; what pl_cancel_take says in it, but of a scope only if its deadline is before the
 * wait's own; whether that would say something. A sleep begins with pl_wait_take, which fills in `deaf`. */
int64_t pl_wait_end(const struct pl_wait *wait);
int64_t pl_wait_look(const struct pl_wait *wait);
int pl_wait_take(struct pl_wait *wait);
bool pl_wait_is_asked(struct pl_wait *wait);

/* Makes sure that the caller may wait for a word: a task may for one in private memory without being in the
 * registry. 0, or as pl_self_known. */
static inline int pl_waiter_known(const void *word)
{
    return pl_self.id || (pl_self.task && !pl_arena_holds(word)) ? 0 : pl_self_enter();
}

/* Adds a request. 0; PLAIT_ESTALE, PLAIT_EOVERFLOW as pl_cancel_request. */
int pl_asked_add(struct pl_asked *asked, uint32_t generation);

/* Makes a worker look whether it is asked for something, if it sleeps. */
void pl_nudge(struct pl_slot *slot);

/* Adds a request to stop and wakes the worker if it sleeps. 0; PLAIT_ESTALE (the slot serves another
 * generation), PLAIT_EOVERFLOW (65,535 requests already). */
int pl_cancel_request(struct pl_slot *slot, uint32_t generation);

/* --- sleeping on descriptors: poll.c --- */

/* Around a sleep in the kernel that a nudge shall end: enter; look at what the nudge is about (`cancel`), with a
 * sequentially consistent load; sleep in ppoll or epoll_pwait with pl_poll_mask(); leave. Who changes what
 * was looked at, sequentially consistent, and then nudges ends the sleep with EINTR; but see poll.c for when a
 * nudge fails, so sleep for PL_POLL_NAP at most, and call pl_poll_renew after one. `slot` is the thread's. */
void pl_poll_enter(struct pl_slot *slot);
void pl_poll_leave(struct pl_slot *slot);
const sigset_t *pl_poll_mask(void);
void pl_poll_renew(void);
enum { PL_POLL_NAP = 1000 * 1000 * 1000 }; /* ns */

/* Between these the signal stays blocked in this thread, which saves one system call of the two that enter
 * and leave make. The mask is still asked for at each enter: the program may have blocked others meanwhile. */
void pl_poll_hold(void);
void pl_poll_let_go(void);

/* Ends such a sleep of the slot's thread, or of the thread that runs this task. */
void pl_poll_nudge(struct pl_slot *slot);

/* --- the bell: bell.c --- */

/* What a thread looks at besides, whenever it waits: somebody may have something for it to do, whatever it waits
 * for. The main thread has one, for signals (worker/signal.c). */
struct pl_bell {
    uint32_t rung;        /* atomic: counts; anyone adds. A futex of this process */
    uint32_t heard;       /* of these; the thread, as the next two */
    int awaited;          /* things outside the family that may ring it at any time */
    bool late;            /* what was to be done was not possible: to be tried again */
    struct pl_slot *slot; /* atomic: the thread's, once it has slept on descriptors; it sets */
    bool (*answer)(void); /* what is to be done, by the thread. False: not possible now */
};

/* Makes the thread look, where it begins to wait or in the wait it is in. From any thread of the process; signal
 * handlers may. */
void pl_bell_ring(struct pl_bell *bell);

/* Answers, if it rings. In a thread with tasks what is to be done is started by this; in one without it is done,
 * up to its first wait. */
void pl_bell_answer(void);

/* Whether it rings for this thread: then it must not sleep. */
static inline bool pl_bell_rings(void)
{
    const struct pl_bell *bell = pl_self.bell;
    return __builtin_expect(bell != NULL, 0) &&
           __atomic_load_n(&bell->rung, __ATOMIC_SEQ_CST) != bell->heard;
}

static inline void pl_bell_look(void)
{
    if (__builtin_expect(pl_self.bell != NULL, 0))
        pl_bell_answer();
}

/* What the deadlock detector says at a nap's end: 0, or PLAIT_EDEADLK for the one that has to give way
 * (deadlock.c). To be called while the wait is on record. */
int pl_deadlock_check(struct pl_wait *wait);
int pl_asleep_check(const struct pl_wait *wait, uint32_t policy); /* asleep.c */

/* ns after which a blocked worker looks for a deadlock: its first nap. */
int64_t pl_deadlock_after(void);

/* The thread parker (park.c). */
extern struct pl_parker pl_thread_parker;

/* The lot (lot.c). False: the word has changed, nobody sleeps. */
bool pl_lot_enter(struct pl_parked *node);
/* After sleeping: leaves the queue; true if an unparker chose us before. */
bool pl_lot_leave(struct pl_parked *node);
int pl_lot_wake(uint32_t *word, int n);
/* Tests: whether an address is in one of its buckets. */
bool pl_lot_holds(const void *address);

/* --- spinning: spin.c --- */

/* One wait's spinning; zero to begin. */
struct pl_spin {
    uint32_t spent;
    bool answer;  /* what it waits for may come from one whom this worker has just woken */
    bool begun;   /* what follows is decided */
    bool brief;   /* no long spin this time: the last ones were in vain */
    bool counted; /* among those that spin long */
};

/* Whether to look once more instead of sleeping; pauses a little if so. */
bool pl_spin(struct pl_spin *spin);

/* Ends a wait's spinning that was broken off; to be called if neither pl_spin has said false last nor
 * pl_spin_won is called. */
void pl_spin_end(struct pl_spin *spin);

/* What the spinning came to, so that the next is shorter or longer: success without sleeping, or
 * how long the sleep then took. */
void pl_spin_won(struct pl_spin *spin);
void pl_spin_slept(int64_t ns);

#endif
