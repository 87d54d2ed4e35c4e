/* The pool's shared structures; all lie in the arena.
 *
 * A call of plait_map is a job. Its items are handed out through a log of claims, not a counter.
 *
 * Naive: workers add to a shared index to claim items. Its hole: a worker that dies between the
 * addition and noting it down somewhere takes items along that nobody knows of, and the caller waits
 * for ever. Cure: the claim itself is the note. Entry k of the log is claimed by one compare-and-swap
 * that writes the claimer's id and the number of items; where entry k+1 begins follows from that, and
 * whoever needs it writes it (all write the same). Facts:
 *   1 an item belongs to exactly one entry, from the moment the entry is claimed;
 *   2 an entry names its worker until its items are done, so after a death the entries that name the
 *     dead are exactly what it had in hand; its seat says which item it was at;
 *   3 what remains of such an entry is claimed again under the same rules (OPEN, owner 0).
 *
 * A worker shows which job it looks at in its seat (`job`), then makes sure that the job is still
 * open; a caller closes the job, then waits until no seat shows it, before the job serves another
 * call. The two sides store, then load what the other stored (pair job.seen, sequentially
 * consistent). For a dead worker's seat the reconciler takes the job off it, when it is done there.
 *
 * A call that gives up must stop the workers that run its items, and no others. While a worker is in a
 * claim, its seat's `running` names the call and the claim. The interrupter marks that word by
 * compare-and-swap and only then kills or cancels; the worker leaves the claim by compare-and-swap,
 * and if it finds itself marked it waits for what is coming. */
#ifndef PL_POOL_INTERNAL_H
#define PL_POOL_INTERNAL_H

#include "base/atomic.h"
#include "park/park.h"
#include "registry/code.h"

#include <plait/lock.h>
#include <plait/pool.h>

enum {
    PL_POOL_JOBS = 16,     /* calls of plait_map in progress at once; more wait */
    PL_POOL_CLAIMS = 2048, /* entries in a job's log */
    PL_POOL_MOST = 4096,   /* workers */
};

/* What a claim's word says; bits 62..60. */
enum pl_claim_state {
    PL_CLAIM_NONE = 0,  /* not claimed yet */
    PL_CLAIM_TAKEN = 1, /* by the worker named */
    PL_CLAIM_OPEN = 2,  /* its worker died: `first` and what follows is to be claimed again */
    PL_CLAIM_DONE = 3,
};

/* One entry of the log. Its worker writes all but `first` and `deaths`; once that is dead, the
 * reconciler, which opens it again. */
struct pl_claim {
    uint64_t word;    /* atomic: state << 60 | owner id << 31 | items (31 bits) */
    uint64_t start;   /* atomic: index of its first item; all who write it write the same */
    uint32_t first;   /* items of it that are done already; changes between two owners */
    uint32_t deaths;  /* how often item `first` has killed its worker */
    uint64_t failed;  /* atomic: items that failed << 32 | (the last of them, from start on, + 1) */
    uint64_t failure; /* atomic: the first of them << 28 | its code negated; valid if any failed */
};

struct pl_job {
    uint64_t serial; /* which call, unique in the pool; odd while open. Atomic: the caller writes */
    uint32_t owner;  /* id of the calling worker; 0: the job is free. Atomic */
    uint32_t stop;   /* atomic: claim no more, stop between items */
    uint32_t done;   /* atomic: futex of the caller; see PL_DONE_* */
    uint32_t reopened; /* atomic: entries that are OPEN; a hint where to look */
    uint32_t tail;     /* atomic: no entry below is NONE; a hint where to begin */

    /* Constant while open. */
    struct pl_function fn; /* a plait_item_function */
    const char *in;
    char *out;
    size_t in_size, out_size;
    uint64_t n;
    uint64_t chunk;   /* items per claim as the caller wants it; 0: adapt */
    uint32_t workers; /* that share the items; for the size of claims */
    uint32_t retries;

    /* By the reconciler while a dead worker's seat shows the job; by the caller once none does. */
    uint64_t retried, deaths;
    plait_blame blame;

    struct pl_claim claim[PL_POOL_CLAIMS];
};

/* The done word: the caller sleeps on it. */
#define PL_DONE_ALL UINT32_C(1)
#define PL_DONE_WAITED UINT32_C(2) /* the caller may be asleep */
#define PL_DONE_LEFT UINT32_C(4)   /* step of a count of workers that left the closed job */

/* The running word of a seat: serial << 12 | claim + 1, and two marks of an interrupter. 0: in none. */
#define PL_RUNNING_MARKED (UINT64_C(1) << 63) /* it will be killed or cancelled now */
#define PL_RUNNING_SENT (UINT64_C(1) << 62)   /* a thread: the cancellation has been sent */

/* How far a pool worker has come. */
enum pl_seat_ready { PL_SEAT_STARTING = 0, PL_SEAT_INITIALIZING = 1, PL_SEAT_READY = 2 };

/* A worker's place in the pool. The worker writes, the reconciler reads when it is dead. */
struct pl_seat {
    _Alignas(64) struct pl_job *job; /* atomic: the job it looks at; NULL: none */
    uint64_t running; /* atomic: see above. The worker writes, an interrupter marks */
    uint64_t item;    /* atomic: index of the item it runs; valid with `running` */
    uint32_t pace;    /* ns per item, as it learned in this job; private */
    uint32_t ready;   /* atomic: enum pl_seat_ready */

    /* By the reconciler, under pool->manage. */
    plait_worker worker; /* zero: empty */
    uint32_t id;         /* its id as claims name it. Atomic */
    bool given_up;       /* its initializer failed: it stays empty */
    uint32_t unready;    /* workers in a row that ended in their initializer */
    plait_pool *pool;
};

enum pl_pool_state { PL_POOL_OPEN = 0, PL_POOL_CLOSING = 1, PL_POOL_ENDING = 2 };

/* In the count of callers: someone waits for it to become 0. */
#define PL_CALLERS_WAITED UINT32_C(0x80000000)

struct plait_pool {
    uint32_t state; /* atomic: enum pl_pool_state */
    uint32_t work; /* atomic: futex of idle workers; a count of jobs opened << 1 | someone sleeps */
    uint32_t kind; /* constant, like all up to manage */
    uint32_t n_seats;
    int32_t owner; /* pid of the process that opened it */
    uint32_t retries;
    struct pl_function initializer;
    void *initializer_arg;
    size_t stack_size;
    int start_method; /* of its processes */
    char name[PLAIT_NAME_SIZE - 8];

    plait_lock manage;  /* seats and repairs: one reconciler at a time */
    uint32_t jobs_free; /* atomic: futex of callers that found all jobs taken; a count of frees */
    uint32_t callers;   /* atomic: calls of plait_map in progress; futex of who closes */
    uint64_t serial;    /* atomic: jobs opened so far */
    void *block;        /* what plait_alloc gave; the pool itself is aligned to a cache line */

    struct pl_job *jobs[PL_POOL_JOBS]; /* made when first needed. Atomic */
    struct pl_seat seat[];
};

/* Whether its workers have the code elsewhere. */
static inline bool pl_pool_needs_names(const struct plait_pool *pool)
{
    return pool->kind == PLAIT_PROCESS && pool->start_method != PLAIT_FORK;
}

static inline enum pl_claim_state pl_claim_state(uint64_t word)
{
    return (enum pl_claim_state)(word >> 60 & 7);
}

static inline uint32_t pl_claim_owner(uint64_t word)
{
    return (uint32_t)(word >> 31) & PL_ID_MASK;
}

static inline uint64_t pl_claim_items(uint64_t word)
{
    return word & INT32_MAX;
}

static inline uint64_t pl_claim_word(enum pl_claim_state state, uint32_t owner, uint64_t items)
{
    return (uint64_t)state << 60 | (uint64_t)owner << 31 | items;
}

static inline uint64_t pl_running_word(uint64_t serial, uint32_t claim)
{
    return serial << 12 | (claim + 1);
}

static inline uint64_t pl_running_serial(uint64_t running)
{
    return (running & ~(PL_RUNNING_MARKED | PL_RUNNING_SENT)) >> 12;
}

/* --- job.c --- */

/* Claims items of an open job for the calling worker and runs them; false if there are none. */
bool pl_job_work(struct pl_job *job, struct pl_seat *seat);

/* Whether every item is done. */
bool pl_job_is_complete(struct pl_job *job);

/* Wakes the caller if the job is complete. */
void pl_job_tell(struct pl_job *job);

/* Items done so far, about. */
uint64_t pl_job_progress(struct pl_job *job, struct plait_pool *pool);

/* Notes that an item of a claim has failed. By whoever has the claim. */
void pl_claim_fail(struct pl_claim *claim, uint64_t item, int code);

/* Adds up what failed: how many, and if any the first with its code. */
uint64_t pl_job_failures(struct pl_job *job, uint64_t *ret_item, int *ret_code);

/* --- seat.c --- */

/* The life of a pool worker; its argument is its seat. */
int pl_seat_main(void *seat);

/* Takes a job off a seat, and wakes the caller if it waits for that. By the worker, or by the
 * reconciler if that is dead. */
void pl_seat_leave(struct pl_seat *seat, struct pl_job *job);

/* Whether the calling worker is one of the pool's. */
bool pl_seat_is_mine(const struct plait_pool *pool);

/* --- reconcile.c --- */

/* Brings the pool's seats in line with what is wanted: collects the dead, gives their items back or
 * fails them, starts replacements. How many it collected or started; negative if no worker is left
 * and none can be started. */
int pl_pool_reconcile(struct plait_pool *pool);

/* Stops those who run items of a call: processes are killed, threads cancelled. */
void pl_pool_interrupt(struct plait_pool *pool, uint64_t serial);

/* Ids of the workers now seated, for watching their hearts; how many. */
int pl_pool_ids(struct plait_pool *pool, uint32_t *ids, int most);

/* Wakes idle workers: there is a job, or the pool closes. */
void pl_pool_call(struct plait_pool *pool);

#endif
