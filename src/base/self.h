/* Who am I: the calling worker's place among the workers, be it the thread itself or a task on it.
 *
 * The fast paths of all primitives read `pl_self.id` and nothing else. It is 0 until the thread is
 * written down in the registry, which happens on first need (pl_self_enter), and again after a
 * fork, where the child's copy is reset: the child is a new worker. */
#ifndef PL_BASE_SELF_H
#define PL_BASE_SELF_H

#include <stdint.h>

struct pl_slot;     /* registry */
struct pl_parker;   /* park */
struct pl_task;     /* task */
struct plait_scope; /* park: cancel scopes */
struct pl_asked;    /* registry */
struct pl_locals;   /* task: task-local variables */
struct pl_bell;     /* park: what wakes this thread besides */

/* Size classes of the arena's allocator; see arena/class.h. */
enum { PL_CLASSES = 40 };

struct pl_self {
    /* The worker's own; a switch between tasks changes them. */
    uint32_t id;            /* PL_ID_MASK bits: what a lock word names; 0: not registered yet */
    uint32_t quick;         /* the same for fast paths: 0 if they are not to be taken (lockdep) */
    struct pl_slot *slot;   /* the registry entry of `id`; NULL: none yet */
    struct pl_asked *asked; /* requests to stop; NULL: a thread that is not registered */
    struct pl_task *task;   /* the task that runs; NULL: this thread has no loop */
    struct plait_scope *scope; /* the innermost cancel scope; NULL: none */
    struct pl_locals *locals;  /* values of task-local variables; NULL: none */
    const void *site;          /* where in the program, for calls within plait; NULL: unknown */

    /* The thread's. */
    uint32_t thread_id; /* `id` of the thread itself: who owns memory, who recovers. 0: none yet */
    struct pl_slot *thread;    /* and its entry */
    struct pl_parker *parker;  /* how workers of this thread sleep; NULL: as a thread does */
    struct pl_bell *bell;      /* what it looks at besides whenever it waits; NULL: nothing */
    uint32_t spin_budget;      /* pauses worth spending before sleeping; learned, see park/spin.c */
    uint32_t woke;             /* it has woken a sleeper since its last wait for an answer */
    uint8_t spins_missed;      /* how it went lately with long spins; see park/spin.c */
    uint8_t spins_skip;        /* so many times not to try one again */
    uint8_t unparks;           /* of shared words; see park.c */
    uint32_t heap[PL_CLASSES]; /* allocator: this worker's current chunk of each class, 0 none */
};

extern _Thread_local struct pl_self pl_self __attribute__((tls_model("initial-exec")));

/* How often this process and those it was copied from have been forked: differs on the two sides of a
 * fork. Changes in a child that has one thread only. */
extern uint32_t pl_forks;

/* A worker id: 16 bits of slot, 13 of generation. 29 bits, so that a lock word has room for three
 * flags. Never 0. */
enum { PL_ID_SLOT_BITS = 16, PL_ID_BITS = 29 };
#define PL_ID_MASK ((UINT32_C(1) << PL_ID_BITS) - 1)
#define PL_ID_SLOT(id) ((id) & ((UINT32_C(1) << PL_ID_SLOT_BITS) - 1))

/* Writes the calling worker into the registry; the thread only. 0, or PLAIT_EARENA, PLAIT_ENOMEM, PLAIT_EWORKERS.
 * Declared here because the arena needs it too; the registry, which knows workers, defines it. */
int pl_self_enter(void);
int pl_thread_enter(void);

/* Task-local variables: what a new worker is to begin with (NULL: nothing), made by its starter and set by itself as
 * pl_self.locals; 0 or PLAIT_ENOMEM. Given up unused; given up by the worker at its end. Defined by the task layer. */
int pl_locals_share(struct pl_locals **ret);
void pl_locals_free(struct pl_locals *locals);
void pl_locals_drop(void);

/* Entries of the registry in use; for plait_arena_stats, and defined by the registry too. */
uint32_t pl_workers_known(void);

/* 0 if the calling worker is registered, now if not before; the same for the thread, which is all that
 * memory needs, while a task that neither holds nor waits for anything others can see stays unknown. */
static inline int pl_self_known(void)
{
    return __builtin_expect(pl_self.id != 0, 1) ? 0 : pl_self_enter();
}

static inline int pl_thread_known(void)
{
    return __builtin_expect(pl_self.thread_id != 0, 1) ? 0 : pl_thread_enter();
}

#endif
