/* A segment's record: the file /dev/shm/plait-NAME that programs find it by.
 *
 *     | head, 256 bytes | 124 holders of 64 bytes | to 8192 | a data-only segment's bytes ... |
 *
 * Whoever reads or changes a record holds its lock, a lock of the kernel on the file, which goes with the process
 * that has it. The record is read and written by calls, never mapped: who cuts it short makes a call fail, and no
 * SIGBUS. Every write lies within one page, so it is done or not, whatever happens to the writer. */
#ifndef PL_SHM_RECORD_H
#define PL_SHM_RECORD_H

#include <plait/shm.h>
#include <stdbool.h>

enum { PL_RECORD_SIZE = 8192, PL_RECORD_PATH = 240 };

/* Where the segment stands. */
enum {
    PL_SEGMENT_MAKING = 1, /* its maker has the lock; else he is dead, and it is a leftover */
    PL_SEGMENT_READY = 2,
    PL_SEGMENT_ENDING = 3, /* the memory is being given back, or has been: a leftover */
};

enum {
    PL_SEGMENT_DATA_ONLY = 1,
    PL_SEGMENT_WITH_LAST = 2, /* goes with the last holder */
};

struct pl_segment_head {
    uint64_t magic;
    uint32_t format; /* of the record */
    uint32_t state;
    uint64_t serial;  /* names this segment for ever */
    uint64_t size;    /* bytes that the user has */
    uint64_t version; /* the user's */
    uint32_t flags;
    uint32_t unused;
    uint64_t device, inode; /* of the family's arena */
    uint64_t block;         /* where in the arena; 0: nowhere yet */
    uint64_t spare[23];
};

/* A process that is attached, or was: by it the family's arena can be reached. */
struct pl_segment_holder {
    int32_t pid;    /* 0: a free entry */
    int32_t number; /* of the arena's descriptor in that process; -1: it has none */
    uint64_t birth;
    uint64_t space; /* its pid namespace: pids of another one say nothing here */
    uint32_t owns, borrows;
    uint64_t unused[4];
};

_Static_assert(sizeof(struct pl_segment_head) == 256, "holders follow");
_Static_assert(sizeof(struct pl_segment_holder) == 64, "none lies in two pages");
_Static_assert(256 + 64 * PLAIT_SHM_HOLDERS_MOST <= PL_RECORD_SIZE, "all fit");

/* What lies before the user's bytes in the arena, by which a block is known to be this segment's. */
struct pl_segment_tag {
    _Alignas(64) uint64_t serial;
};

/* A record that is open and locked, between pl_record_open or _make and _close. */
struct pl_record {
    int fd;
    char path[PL_RECORD_PATH];
    struct pl_segment_head head;
    struct pl_segment_holder holders[PLAIT_SHM_HOLDERS_MOST];
    bool alive[PLAIT_SHM_HOLDERS_MOST]; /* the process lives, or nobody here can tell */
    int n_holding;                      /* processes that live and are attached */
    int n_living;                       /* or were attached */
    bool nameless;                      /* unlinked: it goes with the last holder, too */
};

/* The path of a name. 0, PLAIT_EINVAL, PLAIT_ENAMETOOLONG. */
int pl_record_path(const char *name, char *ret);

/* The path that the record of an unlinked segment has. */
void pl_record_hidden_path(uint64_t serial, char *ret);

/* Opens, locks and reads a record. 0, PLAIT_ENOENT, PLAIT_EACCES, PLAIT_ESEGMENT, PLAIT_ECANCELED (unless
 * `firm`), PLAIT_EMFILE. */
int pl_record_open(struct pl_record *r, const char *path, bool firm);

/* Makes a record in state MAKING, with a file of `size` bytes. 0, PLAIT_EEXIST, PLAIT_ENOSPC... */
int pl_record_make(struct pl_record *r, const char *path, uint32_t mode, uint64_t size);

void pl_record_close(struct pl_record *r);

/* Writes the head, or a holder, as it stands in memory. */
int pl_record_write_head(struct pl_record *r);
int pl_record_write_holder(struct pl_record *r, int i);

/* The entry of this process; -1: it has none. */
int pl_record_find_self(const struct pl_record *r);

/* Enters this process with one hold more. 0, PLAIT_EUSERS, or an error of the write. */
int pl_record_enter(struct pl_record *r, bool owner);

/* Whether the segment is of this program's family. */
bool pl_record_is_ours(const struct pl_record *r);

/* Its block, if it is of this program's family and still there; else NULL. */
struct pl_segment_tag *pl_record_block(const struct pl_record *r);

/* Whether nobody can want the segment any more. */
bool pl_record_is_leftover(const struct pl_record *r);

/* Gives the memory back and removes the record; to be repeated by others, if the caller dies. Another family's
 * record is only hidden while it may live; PLAIT_EFAMILY if it is already. */
int pl_record_end(struct pl_record *r);

/* A number that no other segment has. */
uint64_t pl_record_new_serial(void);

#endif
