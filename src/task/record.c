/* The records of the process's tasks, and their handles.
 *
 * A handle names the record, its generation, and the thread's slot in the registry, which is the same in no two
 * processes at a time: so another process sees that it is not its own. 64 bits hold all of it:
 *
 *   slot        1 | host (16) | index, high 15 bits
 *   generation  index, low 9 bits | generation (23)
 *
 * Records lie in blocks that are never given back, so whoever has an old handle may look. Each loop keeps some free ones
 * at hand; the rest are in the process's store, under a lock. */
#include "base/at_fork.h"
#include "base/atomic.h"
#include "task/task_internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    BLOCK = 1024, /* records */
    BLOCKS = 1 << 14,
    HANDFUL = 64, /* that a loop takes at a time */
    LOW_BITS = 9,
    GENERATION_BITS = 23,
};

#define TASK_BIT UINT32_C(0x80000000)
#define GENERATION_MASK ((UINT32_C(1) << GENERATION_BITS) - 1)

static struct pl_task *blocks[BLOCKS];       /* under `store`; an entry does not change any more */
static PL_WRITTEN_AT_FORK uint32_t n_blocks; /* atomic; under `store` */
static PL_WRITTEN_AT_FORK struct pl_task *free_records; /* under `store` */
static PL_WRITTEN_AT_FORK pthread_mutex_t store = PTHREAD_MUTEX_INITIALIZER;

static void lock_before_fork(void)
{
    pthread_mutex_lock(&store);
}

static void unlock_in_parent(void)
{
    pthread_mutex_unlock(&store);
}

/* The tasks of the child's memory are its parent's. */
static void forget_in_child(void)
{
    n_blocks = 0;
    free_records = NULL;
    pthread_mutex_unlock(&store);
}

__attribute__((constructor(101))) static void watch_fork(void)
{
    pthread_atfork(lock_before_fork, unlock_in_parent, forget_in_child);
}

/* Where a record begins to count: elsewhere in each process, so that an old handle of a process that is gone does
 * not name a task of one that has its thread's place in the registry now. */
static uint64_t first_generation(void)
{
    struct pl_process_name self = pl_this_process();
    uint64_t mixed = (self.birth * 31 + (uint32_t)self.pid) * UINT64_C(0x9e3779b97f4a7c15);
    return mixed >> (64 - GENERATION_BITS);
}

/* Under `store`. */
static bool add_block(void)
{
    if (n_blocks == BLOCKS)
        return false;
    struct pl_task *block = mmap(NULL, BLOCK * sizeof *block, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED)
        return false;
    for (uint32_t i = BLOCK; i-- > 0;) {
        block[i].life = first_generation() << 32;
        block[i].index = n_blocks * BLOCK + i;
        block[i].next = free_records;
        free_records = &block[i];
    }
    blocks[n_blocks] = block;
    /* R:records.block, pairs with record_at: the block is there before it is counted. */
    pl_store_release(&n_blocks, n_blocks + 1);
    return true;
}

/* Takes up to n records, chained. NULL: no memory. */
static struct pl_task *take_many(int n)
{
    struct pl_task *taken = NULL;
    pthread_mutex_lock(&store);
    while (n-- > 0 && (free_records || add_block())) {
        struct pl_task *task = free_records;
        free_records = task->next;
        task->next = taken;
        taken = task;
    }
    pthread_mutex_unlock(&store);
    return taken;
}

struct pl_task *pl_record_take(struct pl_loop *loop)
{
    if (!loop)
        return take_many(1);
    if (__builtin_expect(!loop->free_records, 0))
        loop->free_records = take_many(HANDFUL);
    struct pl_task *task = loop->free_records;
    if (task)
        loop->free_records = task->next;
    return task;
}

static void put_back(struct pl_task *task)
{
    pthread_mutex_lock(&store);
    task->next = free_records;
    free_records = task;
    pthread_mutex_unlock(&store);
}

void pl_record_give(struct pl_loop *loop, struct pl_task *task)
{
    if (!loop) {
        put_back(task);
        return;
    }
    task->next = loop->free_records;
    loop->free_records = task;
}

void pl_records_return(struct pl_loop *loop)
{
    while (loop->free_records) {
        struct pl_task *task = loop->free_records;
        loop->free_records = task->next;
        put_back(task);
    }
}

/* --- handles --- */

plait_worker pl_task_handle(const struct pl_task *task)
{
    uint32_t generation = (uint32_t)(pl_load_relaxed(&task->life) >> 32) & GENERATION_MASK;
    plait_worker handle = {
        .slot = TASK_BIT | task->host << (31 - PL_ID_SLOT_BITS) | task->index >> LOW_BITS,
        .generation = task->index << GENERATION_BITS | generation,
    };
    return handle;
}

static struct pl_task *record_at(plait_worker handle)
{
    uint32_t high = handle.slot & ((UINT32_C(1) << (31 - PL_ID_SLOT_BITS)) - 1);
    uint32_t index = high << LOW_BITS | handle.generation >> GENERATION_BITS;
    /* A:records.block, pairs with add_block. */
    if (index / BLOCK >= pl_load_acquire(&n_blocks))
        return NULL;
    return &blocks[index / BLOCK][index % BLOCK];
}

static bool is_meant(const struct pl_task *task, uint64_t life, plait_worker handle)
{
    uint32_t host = (handle.slot & ~TASK_BIT) >> (31 - PL_ID_SLOT_BITS);
    bool wanted = (life & PL_TASK_LIVE) ||
                  ((life & PL_TASK_OVER) && !(life & (PL_TASK_DETACHED | PL_TASK_JOINED)));
    return wanted && ((life >> 32) & GENERATION_MASK) == (handle.generation & GENERATION_MASK) &&
           pl_load_relaxed(&task->host) == host;
}

struct pl_task *pl_task_hold(plait_worker handle)
{
    struct pl_task *task = handle.slot & TASK_BIT ? record_at(handle) : NULL;
    if (!task)
        return NULL;
    /* A:task.begun, pairs with give_life.
     * A:task.over, pairs with announce_end: whoever sees that it is over sees its status. */
    uint64_t life = pl_load_acquire(&task->life);
    do {
        if (!is_meant(task, life, handle))
            return NULL;
    } while (!pl_cas_acq_rel(&task->life, &life, life + 1));
    return task;
}

static bool is_done_with(uint64_t life)
{
    return !(life & PL_TASK_REFS) && (life & PL_TASK_OVER) &&
           (life & (PL_TASK_DETACHED | PL_TASK_JOINED));
}

void pl_task_drop(struct pl_task *task, uint64_t flags)
{
    uint64_t life = pl_load_acquire(&task->life), next;
    do
        next = (life | flags) - 1;
    while (!pl_cas_acq_rel(&task->life, &life, next));
    if (!is_done_with(next))
        return;
    /* Nobody finds it any more, and nobody holds it. */
    free(task->name);
    task->name = NULL;
    pl_store_release(&task->life, ((next >> 32) + 1) << 32);
    pl_store_relaxed(&task->state, (uint32_t)PL_TASK_FREE);
    struct pl_loop *here = pl_loop_here();
    pl_record_give(here, task);
}

/* Takes a reference, so that the record stays this task's while it is looked at: other threads give theirs life
 * meanwhile. False: there is no task. */
static bool hold_live(struct pl_task *task)
{
    uint64_t life = pl_load_relaxed(&task->life);
    do {
        if (!(life & PL_TASK_LIVE))
            return false;
    } while (
        !pl_cas_acquire(&task->life, &life, life + 1)); /* A:task.begun, pairs with give_life */
    return true;
}

void pl_records_each(const struct pl_loop *loop, void (*look)(struct pl_task *task, void *arg),
                     void *arg)
{
    uint32_t n = pl_load_acquire(&n_blocks);
    for (uint32_t i = 0; i < n * BLOCK; i++) {
        struct pl_task *task = &blocks[i / BLOCK][i % BLOCK];
        if (!hold_live(task))
            continue;
        if (task->loop == loop)
            look(task, arg);
        pl_task_drop(task, 0);
    }
}
