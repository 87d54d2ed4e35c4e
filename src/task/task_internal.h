/* Shared by the files of this folder: the records of tasks, and the loop that runs them. */
#ifndef PL_TASK_INTERNAL_H
#define PL_TASK_INTERNAL_H

#include "park/park.h"
#include "port/context.h"
#include "task/proxy.h"
#include "task/stack.h"
#include "task/timers.h"

#include <plait/task.h>
#include <plait/worker.h>

/* Where a task stands. Its loop's thread writes it, others may read it. */
enum pl_task_state {
    PL_TASK_FREE = 0,
    PL_TASK_NEW,     /* started, its delay is not over, or it waits for its first turn */
    PL_TASK_READY,   /* in the ready queue */
    PL_TASK_RUNNING, /* the one of its thread */
    PL_TASK_PARKED,  /* to be made ready by a wake-up */
    PL_TASK_ENDED,
};

/* How near its end a task is, for those who wait for that. */
enum pl_task_end {
    PL_TASK_UNKNOWN = 0, /* not in the registry yet */
    PL_TASK_KNOWN = 2,   /* in it: `slot` is set, so that a ring of waits through it can be found */
    PL_TASK_IS_OVER = 1,
};

/* The life of a record, one word, so that any thread of the process may look it up by a handle:
 *   generation << 32 | flags | references
 * The loop holds one reference until the task has ended and left its stack, each joiner one while it looks, and
 * an inbox one while the task is in it. The record is free
 * for another task when it has ended, nobody wants to join it any more and no reference is left. */
#define PL_TASK_REFS UINT64_C(0x00ffffff)
#define PL_TASK_LIVE UINT64_C(0x01000000)
#define PL_TASK_OVER UINT64_C(0x02000000)
#define PL_TASK_DETACHED UINT64_C(0x04000000)
#define PL_TASK_JOINED UINT64_C(0x08000000)
#define PL_TASK_WATCHED UINT64_C(0x10000000)    /* its end is told to pl_task_ends, too */
#define PL_TASK_SAID_READY UINT64_C(0x20000000) /* plait_supervisor_ready */

/* A task. Records are never unmapped, so that whoever has an old handle may look. Written by the loop's thread, unless said. */
struct pl_task {
    struct pl_context context;
    struct pl_task *next; /* in the ready queue, or a list of free records */
    struct pl_loop *loop;
    uint32_t state; /* enum pl_task_state; atomic for lookers */

    /* What pl_self has of it while it runs. */
    uint32_t id, quick;
    struct pl_slot *slot; /* its entry in the registry; NULL: none yet */
    struct plait_scope *scope;
    struct pl_locals *locals;
    const void *site;

    struct pl_asked asked;      /* not the root's, which has its thread's */
    uint32_t posted;            /* atomic: it is in the loop's inbox */
    struct pl_task *inbox_next; /* whoever posts it */

    struct pl_stack stack;
    struct pl_timer timer; /* the end of its wait, or of its delay */
    bool timed_out;        /* the timer has fired */
    bool told;             /* by a proxy */
    bool firm;             /* in a wait that requests to stop do not end */
    bool certain;          /* in a wait that nothing of the kind ends */
    bool daemon;
    bool counted; /* among the loop's */
    bool owns_argument;
    bool started; /* it has had its first turn; atomic for lookers */

    plait_function *function;
    void *argument;
    int64_t began; /* plait_now() at its start */
    plait_worker parent;
    uint32_t tells; /* atomic: as a slot's; who started it */
    uint64_t *name; /* PLAIT_NAME_SIZE bytes; NULL: made from the index. Atomic, as are its words */
    uint32_t index; /* of this record; constant */
    uint32_t host;  /* slot of the thread, as in its handle */

    uint32_t waits_kind;   /* enum pl_wait_kind; atomic for lookers */
    uint32_t *waits_on;    /* atomic for lookers */
    struct pl_task *joins; /* a task that it waits for without a timeout; atomic, see join.c */
    struct pl_task *known_next, **known_at; /* the loop's list of those with a slot */

    uint64_t life;  /* atomic, see above */
    uint32_t ended; /* what joiners sleep on: enum pl_task_end. Atomic */
    int status;     /* before life says PL_TASK_OVER */
    int64_t finished;
};

/* First come first served. */
struct pl_task_queue {
    struct pl_task *first, *last;
    int n;
};

struct pl_watch_table; /* poller.c */
struct pl_watched;     /* watch.c */

/* A thread's loop. The thread's own flow is one of its tasks, `root`. */
struct pl_loop {
    struct pl_parker parker; /* first: the loop is found by it */
    struct pl_task_queue ready;
    uint64_t turns;     /* given to tasks so far; atomic for the watchdog (watch.c) */
    uint64_t pass_end;  /* `turns` when all have had theirs that were ready when this pass began */
    uint64_t looked_at; /* pl_ticks() when descriptors were last asked */
    int *errno_at;      /* the thread's errno: each task keeps its own over its waits */
    struct pl_task *dead; /* it has just left its stack */
    struct pl_task *free_records;
    struct pl_timers timers;
    struct pl_stacks stacks;
    struct pl_task *known; /* those with a slot */
    int live,
        live_daemons; /* tasks that have not ended, besides the root (atomic for the watchdog); of these daemons */
    uint32_t idle;   /* atomic: 1: nobody is ready, the thread sleeps or is about to */
    bool in_run;     /* plait_run is on the root's stack */
    bool root_waits; /* the root waits for the others to end */
    uint32_t host;   /* the thread's slot */
    struct pl_slot *thread;

    int epoll, doorbell; /* descriptors; -1: none */
    struct pl_watch_table *watches;
    struct pl_proxies proxies;
    bool watches_proxies; /* their descriptor is in `epoll` */
    uint64_t serial;      /* which loop of the process's; never used again */

    struct pl_loop *next_loop;  /* the list of all; under its lock */
    struct pl_watched *watched; /* what the watchdog has noted; under the same lock */

    struct pl_task root;

    /* Other threads write these. */
    _Alignas(64) struct pl_task *inbox; /* atomic: newest first */
    uint32_t asleep; /* atomic: 1: in epoll_wait, to be rung; who rings clears it */
};

/* --- record.c --- */

/* A free record for a task of the loop, or, with NULL, for one of another thread's. NULL: no memory. */
struct pl_task *pl_record_take(struct pl_loop *loop);
void pl_record_give(struct pl_loop *loop, struct pl_task *task);
void pl_records_return(struct pl_loop *loop); /* all free ones of the loop, to the process */

plait_worker pl_task_handle(const struct pl_task *task);

/* Finds by handle and takes a reference. NULL: not a task of this process, or it is over and nobody's. */
struct pl_task *pl_task_hold(plait_worker handle);
/* Sets flags of `life` and gives the reference back; with the last one of a task nobody wants the record goes. */
void pl_task_drop(struct pl_task *task, uint64_t flags);

/* Calls look(task, arg) for each record of the loop that has a task. */
void pl_records_each(const struct pl_loop *loop, void (*look)(struct pl_task *task, void *arg),
                     void *arg);

/* --- loop.c --- */

/* The calling thread's loop; made if there is none. 0, PLAIT_ENOMEM, PLAIT_EMFILE or as registering. */
int pl_loop_need(struct pl_loop **ret);
struct pl_loop *pl_loop_here(void); /* NULL: none */
/* Ends the calling thread's loop, whose root it is, if no task is left. False: another thread has sent one. */
bool pl_loop_close(struct pl_loop *loop);

/* Counts a new task among the loop's, and lets it begin when its time has come. */
void pl_task_admit(struct pl_task *task);

/* Puts a task that is NEW or PARKED at the end of the ready queue; others do nothing. */
void pl_task_ready(struct pl_task *task);

/* Admits a task that is NEW, makes ready one that is PARKED: what follows from a post, or from a request that the
 * loop's own thread makes. */
void pl_task_look_at(struct pl_task *task);

/* Lets others run until somebody makes the calling task ready, which may be for no reason. */
void pl_task_suspend(enum pl_wait_kind kind, uint32_t *word);

/* Lets others run that are ready; the calling task comes last. */
void pl_task_give_way(void);

/* Ends the calling task. */
_Noreturn void pl_task_finish(int status);

/* Has the loop look at a task, from any thread; the record or the loop must be certain to be there. */
void pl_task_post(struct pl_task *task);

/* Whether a request to stop waits to be delivered. */
bool pl_task_is_asked(struct pl_task *task);

/* Has a task tell a worker of its failure; `whom` as in a slot's `tells`. True: it is over already. */
bool pl_task_tie(plait_worker task, uint32_t whom);

/* Makes sure that pl_task_ends changes when the task ends, and its sleepers wake. True: it is over already. */
bool pl_task_watch(plait_worker task);
/* The calling task says that it is ready; whom that is to be told, as in `tells`. Whether a task has. */
uint32_t pl_task_say_ready(void);
bool pl_task_said_ready(plait_worker task);
extern uint32_t pl_task_ends; /* ends of watched tasks in this process. Atomic */

/* Finds the loop of a thread of this process and keeps it there until pl_loops_unlock. */
struct pl_loop *pl_loops_lock(uint32_t host);
void pl_loops_unlock(void);
/* Calls look(loop, arg) for each loop of the process, under that lock. */
void pl_loops_each(void (*look)(struct pl_loop *loop, void *arg), void *arg);

/* --- start.c --- */

/* Its name, PLAIT_NAME_SIZE bytes. */
void pl_task_name(const struct pl_task *task, char *buffer);
plait_worker pl_task_self(void); /* the calling worker's handle, without making it known */

/* What a task does from its first step to its last. */
void pl_task_main(void *task);

/* --- poller.c --- */

int pl_poller_begin(struct pl_loop *loop);
void pl_poller_end(struct pl_loop *loop);
void pl_poller_forget(struct pl_loop *loop); /* in a forked child */
/* Asks the kernel, waiting until `deadline` (0: not at all), and makes ready who has been waiting for what
 * happened. */
void pl_poller_ask(struct pl_loop *loop, int64_t deadline);
void pl_poller_ring(const struct pl_loop *loop);
uint32_t pl_poller_events_of(struct pl_parker *parker, int fd, const struct pl_fd_watch *watch);
int pl_poller_wait_fd(struct pl_parker *parker, int fd, uint32_t events, struct pl_wait *wait,
                      struct pl_fd_watch *watch);

/* --- watch.c --- */

/* A loop has been made: it is watched, if the program wants that. */
void pl_watch_begin(void);

/* --- parker.c --- */

extern const struct pl_parker pl_task_parker;

/* Requests to stop and to look that came through the registry go to the tasks they are for. */
void pl_parker_sort(struct pl_loop *loop);

#endif
