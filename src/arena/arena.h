/* The arena: memory of the whole family, at one address in every process (D1).
 *
 *     base                                                                              base + size
 *     | header | worker slots | chunk states | chunk records | chunks of 64 KiB ................. |
 *
 * Nothing is backed by pages until pl_arena_back() has reserved them: a page that cannot be had is
 * an error at that call, never a SIGBUS at touch. Zero bytes are the initial state of everything. */
#ifndef PL_ARENA_ARENA_H
#define PL_ARENA_ARENA_H

#include <plait/arena.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PL_CHUNK_SIZE = 65536,   /* what the allocator hands from worker to worker */
    PL_SLOT_SIZE = 512,      /* one worker's entry in the registry */
    PL_MOST_SLOTS = 1 << 16, /* as many as a worker id can name */
    PL_MODULES_ROOM = 4096,  /* bytes; see registry/code.c */
};

struct pl_arena {
    /* Constant once the arena is published. */
    uint64_t magic;
    uint64_t version;
    struct pl_arena *base; /* where every process maps it */
    uint64_t size;         /* bytes of address space */
    uint64_t slots;        /* offset of the worker slots, n_slots of them */
    uint64_t states;       /* offset of uint64_t state[n_chunks] */
    uint64_t records;      /* offset of struct pl_chunk[n_chunks] */
    uint64_t chunks;       /* offset of the first chunk */
    uint32_t n_slots;
    uint32_t n_chunks;

    /* Atomic; any worker writes. */
    _Alignas(64) uint32_t slots_ready; /* slots below this are backed by pages; grows */
    uint32_t slot_cursor;              /* where the search for a free slot goes on; a hint */
    uint32_t root;                     /* id of the worker that made the arena */
    uint32_t deaths;                   /* recoveries completed; for tests and sight */
    uint64_t tickets;                  /* given out to those who stand in line for fair locks */
    _Alignas(64) int64_t last_sweep;   /* when someone last looked for dead workers (plait_now) */
    uint32_t processes[32];   /* a worker of each process, 0: no more; see registry/family.c */
    int64_t last_roll_call;   /* when someone last looked whether all are asleep */
    uint64_t seen_asleep;     /* the state of all workers then; 0: someone was awake */
    uint64_t told_asleep;     /* the state in which that was last reported */
    int64_t deadlock_after;   /* ns after which a blocked worker looks for one; 0: default */
    uint32_t deadlock_policy; /* enum plait_deadlock_policy */
    struct tables *lockdep;   /* tables of sync/lockdep.c, in that mode */
    uint32_t ctrl_c;          /* 1: the first process takes care of SIGINT; worker/interrupt.c */
    struct pl_label *labels;  /* names of objects, newest first; see park/label.c */
    uint32_t modules_made;    /* in the room below */
    struct pl_code_module *modules; /* where functions lie; see registry/code.c */

    /* Atomic; the allocator's own; any worker writes. */
    _Alignas(64) uint32_t chunks_ready; /* chunk states and records below this are backed; grows */
    _Alignas(64) uint32_t chunk_hint;   /* lowest chunk that may be spare; a hint */
    uint32_t chunks_free;               /* chunks in the state FREE; an estimate */
    uint64_t orphans[40];               /* per class, where to look for ownerless chunks: slab.c */

    _Alignas(64) char modules_room[PL_MODULES_ROOM]; /* for the first few modules */
};

/* The arena of this process's family: NULL until someone needs it. Set once, then constant. */
extern struct pl_arena *pl_arena;

/* Makes the arena if there is none yet. 0, PLAIT_EARENA (no address space, no memfd), PLAIT_EINVAL
 * (PLAIT_ARENA_SIZE is not a size) or PLAIT_ENOMEM. Threads may race; one wins. */
int pl_arena_need(void);

/* Maps an existing arena from a file descriptor at the address it names; for a re-executed child, and a
 * program that joins another's family. Keeps `fd`. PLAIT_EARENA if there is an arena already, the place is
 * taken or the file is not an arena of this version. Threads may race with it and pl_arena_need; one wins. */
int pl_arena_attach(int fd);

/* Gives the arena up, mapping and descriptor. Requires: nothing in this process refers to it, nobody races. */
void pl_arena_abandon(void);

/* Which file the arena is, by which other programs know the family. Requires: there is an arena. */
void pl_arena_identity(uint64_t *ret_device, uint64_t *ret_inode);

/* The descriptor to hand to a re-executed child (close-on-exec here). -1 without an arena. */
int pl_arena_descriptor(void);

/* Moves that descriptor to a number not below `lowest`, unless it has one already. 0 or PLAIT_EMFILE. */
int pl_arena_lift_descriptor(int lowest);

/* Reserves pages for [offset, offset + len). 0 or PLAIT_ENOMEM. Pages already there keep their
 * content; new ones are zero. */
int pl_arena_back(uint64_t offset, uint64_t len);

/* Gives the pages of [offset, offset + len) back; reading it again needs pl_arena_back. */
void pl_arena_unback(uint64_t offset, uint64_t len);

static inline void *pl_arena_at(uint64_t offset)
{
    return (char *)pl_arena + offset;
}

/* Whether `p` lies in the arena: then every process of the family sees it. */
static inline bool pl_arena_holds(const void *p)
{
    const struct pl_arena *a = pl_arena;
    return a && (uintptr_t)p - (uintptr_t)a < a->size;
}

#endif
