/* Stacks for tasks: a pool for one thread, from which taking one and giving it back costs a few ns.
 *
 * A stack of the default size has 64 KiB of addresses and as many pages of memory as were touched. Below it lies a
 * guard page, where an overflow ends in SIGSEGV (overflow.h) rather than in another task's stack. */
#ifndef PL_TASK_STACK_H
#define PL_TASK_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PL_STACK_DEFAULT = 64 << 10, /* bytes */
    PL_STACK_LEAST = 16 << 10,   /* a signal's frame has to fit beside what the task needs */
    PL_STACK_OWN_CACHED = 8,     /* free stacks of other sizes that are kept */
};

struct pl_stack {
    char *low;   /* usable: [low, low + size) */
    size_t size; /* as asked for, in whole pages */
};

struct pl_stack_slab;
struct pl_stack_own;

/* A pool; used by one thread only, from begin to end. */
struct pl_stacks {
    char **free; /* n_free free stacks, the last given on top; `room` fit */
    size_t n_free, room;
    size_t cold;             /* of these the lowest so many hold no memory */
    char *fresh, *fresh_end; /* of the newest slab: slots never taken */
    struct pl_stack_slab *slabs;
    struct pl_stack_own *own; /* stacks of other sizes, in use or cached */
    struct pl_stack_own *cached[PL_STACK_OWN_CACHED];
    int n_cached;
    uint32_t slab_slots; /* of the next slab */
    size_t page;
    size_t guards[3];       /* how many stacks are guarded in which way; stack.c */
    struct pl_stacks *next; /* of this thread's pools, for pl_stack_at */
};

/* Makes an empty pool of the calling thread; gives all its memory back, stacks in use included. */
void pl_stacks_begin(struct pl_stacks *p);
void pl_stacks_end(struct pl_stacks *p);

/* A stack of at least `size` bytes; 0: PL_STACK_DEFAULT. What it holds is undefined. 0 with *ret; PLAIT_EINVAL: less
 * than PL_STACK_LEAST; PLAIT_ENOMEM. */
int pl_stack_take(struct pl_stacks *p, size_t size, struct pl_stack *ret);

/* Gives a stack back to the pool it is from. It keeps its memory while few are free. */
void pl_stack_give(struct pl_stacks *p, struct pl_stack *stack);

/* How much of a stack has been touched: bytes from the top down, in whole pages. Slow. Memory that an earlier user touched
 * counts too. */
size_t pl_stack_used(const struct pl_stack *stack);

/* Stacks of the pool without a guard, because the kernel knows no guard regions (before Linux 6.13) and mappings would run
 * out. */
size_t pl_stacks_unguarded(const struct pl_stacks *p);

/* Whether an address lies in the guard of a stack of the calling thread; *ret is that stack. For signal handlers. */
bool pl_stack_guards(const void *address, struct pl_stack *ret);

/* Tests: behave as a kernel without MADV_GUARD_INSTALL; and with room for so many guards made of mappings. */
void pl_stack_forget_guard_install(void);
void pl_stack_limit_mappings(size_t guards);

#endif
