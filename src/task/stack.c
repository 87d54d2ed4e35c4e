/* Stacks: slots of large mappings, handed out last in first out.
 *
 * The naive way, a mapping with a protected page for each stack, costs two system calls and two of the 65,530
 * mappings that a process may have: 32,000 tasks and no more. Stacks from malloc have no guard, and an overflow
 * writes into the neighbour.
 *
 * So stacks of the default size are slots of slabs, mapped 64 to 4096 at a time without memory behind
 * them, and the guard of each is a guard region: a mark in the page table, not a mapping. It is made when the slot
 * is taken for the first time and stays.
 *
 *   1. A slot is guard page, slack, usable bytes, slack: the usable bytes are moved up or down by a few cache lines from
 *      slot to slot, for what all tasks touch, the ends of their stacks, would otherwise compete for the same few
 *      lines of the cache. The slack together is one page of addresses.
 *   2. free[] has room for every slot there is, so giving one back cannot fail.
 *   3. The slots free[cold .. n_free) may hold memory, at most WARM + BATCH of them; those below hold none. They
 *      cool in batches: sorted by address, so that neighbours, and a wave of tasks leaves whole runs of them, cost one
 *      system call together. Guard regions survive that.
 *   4. A stack of another size is a mapping of its own; its record lies at its top end, where no overflow
 *      of it gets to. */
#include "task/stack.h"

#include "base/atomic.h"
#include "base/panic.h"

#include <errno.h>
#include <plait/error.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef PL_HAVE_VALGRIND
#include <valgrind/valgrind.h>
#endif

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

enum {
    LEAST_SLOTS = 64, /* in a slab */
    MOST_SLOTS = 4096,
    WARM = 256,         /* free slots that keep their memory */
    BATCH = 256,        /* slots that cool at once */
    COLOURS = 8,        /* positions within a slot; */
    COLOUR_STEP = 192,  /* so many bytes apart */
    OWN_KEPT = 1 << 20, /* larger stacks are unmapped when they are given back */
};

enum guard { GUARD_NONE, GUARD_MAPPING, GUARD_REGION };

/* At the low end of each slab. */
struct pl_stack_slab {
    struct pl_stack_slab *next;
    size_t size;
    char *first, *end; /* its slots */
};

/* At the top end of a stack of another size. */
struct pl_stack_own {
    struct pl_stack_own *next, **link;
    char *map;
    size_t map_size, size;
    enum guard guard;
#ifdef PL_HAVE_VALGRIND
    unsigned valgrind_id;
#endif
};

static _Thread_local struct pl_stacks *pools __attribute__((tls_model("initial-exec")));

/* Guards made of mappings count against the limit of the process: any thread adds its own. */
static size_t guards_mapped;
static size_t guards_at_most =
    10000;                    /* each splits a mapping, which makes two more. Tests lower it */
static bool no_guard_install; /* any thread sets it, once, when the kernel says EINVAL; or a test */

void pl_stack_forget_guard_install(void)
{
    pl_store_relaxed(&no_guard_install, true);
}

void pl_stack_limit_mappings(size_t guards)
{
    pl_store_relaxed(&guards_at_most, guards);
}

/* The system calls set errno, which the library must leave alone. */
static char *map(size_t size)
{
    int saved = errno;
    char *got = mmap(NULL, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (got == MAP_FAILED)
        got = NULL;
    else
        madvise(got, size, MADV_NOHUGEPAGE); /* refused where there are no huge pages */
    errno = saved;
    return got;
}

static void unmap(void *start, size_t size)
{
    int saved = errno;
    munmap(start, size);
    errno = saved;
}

static bool guard_by_mapping(char *start, size_t page)
{
    if (pl_fetch_add_relaxed(&guards_mapped, 1) < pl_load_relaxed(&guards_at_most) &&
        mprotect(start, page, PROT_NONE) == 0)
        return true;
    pl_fetch_add_relaxed(&guards_mapped, (size_t)-1);
    return false;
}

/* Makes a page one that cannot be touched. Which way, counts in the pool: see forget_guard. */
static enum guard guard(struct pl_stacks *p, char *start)
{
    int saved = errno;
    enum guard made = GUARD_NONE;
    if (!pl_load_relaxed(&no_guard_install)) {
        if (madvise(start, p->page, MADV_GUARD_INSTALL) == 0)
            made = GUARD_REGION;
        else if (errno == EINVAL)
            pl_store_relaxed(&no_guard_install, true);
    }
    if (made == GUARD_NONE && guard_by_mapping(start, p->page))
        made = GUARD_MAPPING;
    p->guards[made]++;
    errno = saved;
    return made;
}

/* `n` guards made that way are unmapped. */
static void forget_guards(struct pl_stacks *p, enum guard made, size_t n)
{
    p->guards[made] -= n;
    if (made == GUARD_MAPPING)
        pl_fetch_add_relaxed(&guards_mapped, (size_t)0 - n);
}

void pl_stacks_begin(struct pl_stacks *p)
{
    memset(p, 0, sizeof *p);
    p->page = (size_t)sysconf(_SC_PAGESIZE);
    p->slab_slots = LEAST_SLOTS;
    p->next = pools;
    pools = p;
}

static size_t slot_size(const struct pl_stacks *p)
{
    return p->page + PL_STACK_DEFAULT + p->page;
}

/* The usable bytes of a slot; fact 1. */
static char *low_of(const struct pl_stacks *p, const char *slot)
{
    size_t colour = (uintptr_t)slot / slot_size(p) % COLOURS;
    return (char *)slot + 2 * p->page - colour * COLOUR_STEP;
}

static char *slot_of(const struct pl_stacks *p, const char *low)
{
    return (char *)(((uintptr_t)low - 1) & ~(p->page - 1)) - p->page;
}

/* Fact 2. */
static bool grow_free(struct pl_stacks *p, size_t room)
{
    size_t old_size = (p->room * sizeof *p->free + p->page - 1) & ~(p->page - 1);
    size_t size = (room * sizeof *p->free + p->page - 1) & ~(p->page - 1);
    char *got = map(size);
    if (!got)
        return false;
    if (p->n_free)
        memcpy(got, p->free, p->n_free * sizeof *p->free);
    if (p->free)
        unmap(p->free, old_size);
    p->free = (void *)got;
    p->room = room;
    return true;
}

static int add_slab(struct pl_stacks *p)
{
    for (uint32_t slots = p->slab_slots; slots > 0; slots /= 2) {
        size_t size = p->page + slots * slot_size(p);
        char *got = map(size);
        if (!got)
            continue; /* a smaller one may be had */
        if (!grow_free(p, p->room + slots)) {
            unmap(got, size);
            continue;
        }
        struct pl_stack_slab *slab = (void *)got;
        *slab = (struct pl_stack_slab){p->slabs, size, got + p->page, got + size};
        p->slabs = slab;
        p->fresh = slab->first;
        p->fresh_end = slab->end;
        if (p->slab_slots < MOST_SLOTS)
            p->slab_slots *= 2;
        return 0;
    }
    return PLAIT_ENOMEM;
}

static void tell_valgrind(char *low, size_t size)
{
#ifdef PL_HAVE_VALGRIND
    (void)VALGRIND_STACK_REGISTER(low, low + size);
#endif
    (void)low;
    (void)size;
}

static int take_fresh(struct pl_stacks *p, struct pl_stack *ret)
{
    if (p->fresh == p->fresh_end) {
        int failed = add_slab(p);
        if (failed)
            return failed;
    }
    char *slot = p->fresh;
    p->fresh += slot_size(p);
    guard(p, slot);
    *ret = (struct pl_stack){low_of(p, slot), PL_STACK_DEFAULT};
    tell_valgrind(ret->low, ret->size);
    return 0;
}

static int by_address(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t) * (char *const *)a, y = (uintptr_t) * (char *const *)b;
    return x < y ? -1 : x > y;
}

/* Fact 3. */
static void cool(struct pl_stacks *p)
{
    int saved = errno;
    char **batch = p->free + p->cold;
    size_t slot = slot_size(p);
    qsort(batch, BATCH, sizeof *batch, by_address);
    for (size_t i = 0, n; i < BATCH; i += n) {
        char *start = slot_of(p, batch[i]);
        for (n = 1; i + n < BATCH && slot_of(p, batch[i + n]) == start + n * slot; n++)
            ;
        madvise(start, n * slot, MADV_DONTNEED);
    }
    p->cold += BATCH;
    errno = saved;
}

/* Sizes other than the default; fact 4. */
static int take_own(struct pl_stacks *p, size_t size, struct pl_stack *ret)
{
    for (int i = p->n_cached - 1; i >= 0; i--) {
        struct pl_stack_own *own = p->cached[i];
        if (own->size == size) {
            p->cached[i] = p->cached[--p->n_cached];
            *ret = (struct pl_stack){(char *)own - size, size};
            return 0;
        }
    }
    size_t map_size = p->page + size + p->page;
    char *got = map_size > size ? map(map_size) : NULL;
    if (!got)
        return PLAIT_ENOMEM;
    size_t record = (sizeof(struct pl_stack_own) + 63) & ~(size_t)63;
    struct pl_stack_own *own = (void *)(got + map_size - record);
    *own = (struct pl_stack_own){.next = p->own, .link = &p->own, .map = got};
    own->map_size = map_size;
    own->size = size;
    if (p->own)
        p->own->link = &own->next;
    p->own = own;
    own->guard = guard(p, got);
    *ret = (struct pl_stack){(char *)own - size, size};
#ifdef PL_HAVE_VALGRIND
    own->valgrind_id = VALGRIND_STACK_REGISTER(ret->low, ret->low + size);
#endif
    return 0;
}

static void drop_own(struct pl_stacks *p, struct pl_stack_own *own)
{
    forget_guards(p, own->guard, 1);
#ifdef PL_HAVE_VALGRIND
    VALGRIND_STACK_DEREGISTER(own->valgrind_id);
#endif
    *own->link = own->next;
    if (own->next)
        own->next->link = own->link;
    unmap(own->map, own->map_size);
}

static void give_own(struct pl_stacks *p, struct pl_stack *stack)
{
    struct pl_stack_own *own = (void *)(stack->low + stack->size);
    if (stack->size > OWN_KEPT || p->n_cached == PL_STACK_OWN_CACHED)
        drop_own(p, own);
    else
        p->cached[p->n_cached++] = own;
}

int pl_stack_take(struct pl_stacks *p, size_t size, struct pl_stack *ret)
{
    if (size != 0 && size != PL_STACK_DEFAULT) {
        if (size < PL_STACK_LEAST)
            return PLAIT_EINVAL;
        if (size > SIZE_MAX / 2)
            return PLAIT_ENOMEM;
        size = (size + p->page - 1) & ~(p->page - 1);
        if (size != PL_STACK_DEFAULT)
            return take_own(p, size, ret);
    }
    if (p->n_free == 0)
        return take_fresh(p, ret);
    *ret = (struct pl_stack){p->free[--p->n_free], PL_STACK_DEFAULT};
    if (p->cold > p->n_free)
        p->cold = p->n_free;
    return 0;
}

void pl_stack_give(struct pl_stacks *p, struct pl_stack *stack)
{
    if (stack->size != PL_STACK_DEFAULT) {
        give_own(p, stack);
        return;
    }
    p->free[p->n_free++] = stack->low;
    if (p->n_free - p->cold >= WARM + BATCH)
        cool(p);
}

void pl_stacks_end(struct pl_stacks *p)
{
    struct pl_stacks **link = &pools;
    while (*link && *link != p)
        link = &(*link)->next;
    pl_invariant(*link == p, "a pool of stacks ends in the thread it began in");
    *link = p->next;
    while (p->own)
        drop_own(p, p->own);
    forget_guards(p, GUARD_MAPPING, p->guards[GUARD_MAPPING]);
    while (p->slabs) {
        struct pl_stack_slab *slab = p->slabs;
        p->slabs = slab->next;
        unmap(slab, slab->size);
    }
    if (p->free)
        unmap(p->free, (p->room * sizeof *p->free + p->page - 1) & ~(p->page - 1));
    memset(p, 0, sizeof *p);
}

size_t pl_stack_used(const struct pl_stack *stack)
{
    enum { PAGES = 256 };
    int saved = errno;
    size_t page = (size_t)sysconf(_SC_PAGESIZE), used = 0;
    char *top = stack->low + stack->size;
    char *at = (char *)((uintptr_t)stack->low & ~(page - 1));
    unsigned char present[PAGES];
    while (at < top && used == 0) {
        size_t n = ((size_t)(top - at) + page - 1) / page;
        n = n < PAGES ? n : PAGES;
        if (mincore(at, n * page, present) != 0)
            break;
        size_t i = 0;
        while (i < n && !(present[i] & 1))
            i++;
        at += i * page;
        if (i < n)
            used = (((size_t)(top - at) + page - 1) / page) * page;
    }
    errno = saved;
    return used < stack->size ? used : stack->size;
}

size_t pl_stacks_unguarded(const struct pl_stacks *p)
{
    return p->guards[GUARD_NONE];
}

static bool slab_guards(const struct pl_stacks *p, const struct pl_stack_slab *slab,
                        const char *address, struct pl_stack *ret)
{
    if (address < slab->first || address >= slab->end)
        return false;
    size_t slot = slot_size(p), into = (size_t)(address - slab->first) % slot;
    *ret = (struct pl_stack){low_of(p, address - into), PL_STACK_DEFAULT};
    return into < p->page;
}

bool pl_stack_guards(const void *address, struct pl_stack *ret)
{
    const char *at = address;
    for (const struct pl_stacks *p = pools; p; p = p->next) {
        for (const struct pl_stack_slab *slab = p->slabs; slab; slab = slab->next)
            if (slab_guards(p, slab, at, ret))
                return true;
        for (struct pl_stack_own *own = p->own; own; own = own->next) {
            *ret = (struct pl_stack){(char *)own - own->size, own->size};
            if (at >= own->map && at < own->map + p->page)
                return true;
        }
    }
    return false;
}
