/* plait_shm: memory with a name, for programs that do not descend from each other.
 *
 *     static plait_shm shm;                                      // zeroed
 *     struct shared { plait_lock lock; plait_event go; long n; } *s;
 *     int rc = plait_shm_create(&shm, "counter", sizeof *s, NULL);  // or attaches, if it is there
 *     if (rc < 0)
 *         return rc;
 *     s = plait_shm_address(&shm);                               // zeroed, the same address everywhere
 *     PLAIT_WITH(&s->lock)
 *         s->n++;
 *     plait_shm_detach(&shm);
 *
 * Another program that attaches to "counter" joins this program's family: it sees the same arena at the same
 * address, so every primitive in the segment works between them, deaths and deadlocks included, and so does a pointer
 * to what either gets from plait_alloc. A program is in one family at a time, and can change only while it has nothing
 * in its own. So attach right after plait_init, before anything else of plait is used, and before there are threads:
 * after that it is PLAIT_EFAMILY. (What plait_self said before is then void.) Both programs have to be of one user, in
 * one pid namespace, with one version of plait.
 *
 * For bytes alone there is .data_only: memory in a file of its own, that anybody who may open it attaches to, of any
 * family, as many as wanted; it lies at different addresses, and neither pointers nor plait's primitives work in it.
 * A family's segment can be attached to in that way, too.
 *
 * How long it lives. A segment is there until plait_shm_unlink, or with .unlink_with_last until the last process that
 * had attached has detached or died, and a family's segment at the longest as long as the family. It is never taken
 * from under those who are attached: unlinking takes the name away, the memory stays for them. What processes killed
 * by SIGKILL leave behind - of a family's segment a file of 8 KiB, of the other kind all - is removed by whoever looks
 * at the name next (create, attach), or by plait_shm_sweep.
 *
 * Who is attached is written down by pid and start time, so the dead are told from the living and a pid that
 * was given again deceives nobody. A forked child sees the memory as its parent does, but is not written down: if it
 * is to keep it for longer than its parent, it attaches by itself. exec ends the use, but is only noticed at the process's end.
 * Names: 1 to 200 bytes, no '/' but one in front, which is left out, and no '.' in front. They are files
 * /dev/shm/plait-NAME.
 * A file that a stranger with the right to do so cuts short (ftruncate) raises SIGBUS in those that have it mapped
 * with .data_only; a family's memory cannot be cut.
 * Python's counterpart: multiprocessing.shared_memory.SharedMemory. */
#ifndef PLAIT_SHM_H
#define PLAIT_SHM_H

#include <plait/error.h>
#include <stddef.h>
#include <stdint.h>

PLAIT_BEGIN_DECLS

enum {
    PLAIT_SHM_NAME_SIZE = 208,   /* bytes for a name with its end */
    PLAIT_SHM_HOLDERS_MOST = 124 /* processes that can be attached to one segment */
};

/* A process's hold on a segment. All bytes zero: none. Not to be copied to be detached twice. */
typedef struct plait_shm {
    void *address_;
    size_t size_;
    void *mapping_; /* NULL: it lies in the arena */
    size_t mapped_;
    uint64_t serial_;
    int32_t pid_; /* whose hold it is: a forked child's copy is none */
    int owner_;
    char name_[PLAIT_SHM_NAME_SIZE];
} plait_shm;

/* Zero is the default everywhere. */
typedef struct plait_shm_options {
    int data_only;        /* bytes only: of no family, no primitives inside */
    int exclusive;        /* create: PLAIT_EEXIST if there is one of that name */
    int unlink_with_last; /* create: it goes with the last process that is attached */
    uint32_t
        mode; /* create: permissions as chmod(2); 0: 0600. A family's is its user's alone in any case */
    uint64_t
        version; /* of what lies in it: written by create; another one found is PLAIT_ESEGMENT. 0: any */
    size_t least; /* attach: a smaller one is PLAIT_EMSGSIZE */
} plait_shm_options;

/* Makes a segment of `size` zeroed bytes, aligned to 64, and attaches to it as an owner; or attaches to the one
 * of that name, if there is one and .exclusive is not asked for. Of several that race one makes it, the others attach.
 * `name` NULL: a new one, told by plait_shm_name. `options` NULL: none.
 * Requires: `shm` is zeroed or detached.
 * Returns: 0, or
 *   PLAIT_EINVAL (NULL, size 0 or above 2^46, a name against the rules, a bad mode), PLAIT_ENAMETOOLONG,
 *   PLAIT_EBUSY (`shm` is attached; or a program stands still within a call for the same name, and this one has no
 *   arena yet, hence no way to cancel it, and has waited for 10 s), PLAIT_EEXIST (exclusive),
 *   PLAIT_EFAMILY (a segment of another family, and this program has begun its own; or kinds differ: see plait_shm_attach),
 *   PLAIT_ESEGMENT (a file that is no segment, cut short, of another version of plait or .version),
 *   PLAIT_EMSGSIZE (the one of that name is smaller), PLAIT_EUSERS (as many attached as can be),
 *   PLAIT_EACCES (not permitted), PLAIT_EPERM (a leftover of another user is in the way), PLAIT_ENOSPC (/dev/shm is full: plait_shm_space has numbers),
 *   PLAIT_ENOMEM, PLAIT_EMFILE, PLAIT_EARENA, PLAIT_EWORKERS, PLAIT_ECANCELED, PLAIT_EBADF (as plait_shm_attach).
 *   Nothing is left of what failed.
 * Blocks: only while another program is within such a call for the same name; cancellable (once the program
 *   has an arena). Who: threads, processes, tasks; not signal handlers; after fork, yes.
 * Python: SharedMemory(name, create=True, size), which fails if there is one. */
PLAIT_API int plait_shm_create(plait_shm *shm, const char *name, size_t size,
                               const plait_shm_options *options);

/* Attaches to a segment as a borrower; without .data_only joins its family, if this program has none yet.
 * Returns: 0, or PLAIT_ENOENT (none of that name, or only one that died with its family and is now removed),
 *   PLAIT_EFAMILY (it is of another family than this program, or a data-only one and .data_only was not said),
 *   PLAIT_EACCES (also if the kernel does not let this program look into those of the family: another user's, or
 *   with more capabilities, or made undumpable), PLAIT_EBADF (no process of the family that is attached, or was, has
 *   its arena's descriptor open still, so there is no way to it), PLAIT_EMSGSIZE (smaller than .least), else as
 *   plait_shm_create.
 * Requires, blocks, who: as plait_shm_create. Python: SharedMemory(name). */
PLAIT_API int plait_shm_attach(plait_shm *shm, const char *name, const plait_shm_options *options);

/* Gives the hold up; the segment goes with the last one if it was unlinked or is to go so. What lay in it is not to be
 * touched after, though a family's memory stays in sight.
 * In a forked child the parent's hold is only forgotten.
 * Returns: 0, PLAIT_EPERM (not attached), PLAIT_EINVAL (NULL), PLAIT_EACCES, PLAIT_EMFILE, PLAIT_EBUSY (a program stands
 *   still within a call for the same name, for 10 s): but for 0 it is still attached.
 * Blocks: as plait_shm_create, but not cancellable. Who: as there. Python: SharedMemory.close(). */
PLAIT_API int plait_shm_detach(plait_shm *shm);

/* Takes the name away: a new segment of that name is another one. The memory stays for those who are attached.
 * Returns: how many processes are still attached, 0 if it is gone; PLAIT_ENOENT, PLAIT_EACCES, PLAIT_ESEGMENT,
 *   PLAIT_EINVAL, PLAIT_ENAMETOOLONG, PLAIT_ECANCELED, PLAIT_EMFILE.
 * Blocks, who: as plait_shm_create; anyone who may open the file, owner or not. Python: SharedMemory.unlink(). */
PLAIT_API int plait_shm_unlink(const char *name);

/* Where it lies, how large it is and how it is called; NULL, 0, "" if not attached. Whether this hold made it. Never
 * block; anyone. Python: .buf, .size, .name. */
PLAIT_API void *plait_shm_address(const plait_shm *shm);
PLAIT_API size_t plait_shm_size(const plait_shm *shm);
PLAIT_API const char *plait_shm_name(const plait_shm *shm);
PLAIT_API int plait_shm_is_owner(const plait_shm *shm);

/* A process that is attached. */
typedef struct plait_shm_holder {
    int pid;
    int owns;    /* holds by which it made the segment */
    int borrows; /* other holds */
} plait_shm_holder;

/* The processes that are attached and live. Returns: how many there are, of which at most `most` are written; else
 * as plait_shm_unlink. Blocks, who: as there. Python: none. */
PLAIT_API int plait_shm_holders(const char *name, plait_shm_holder *ret, int most);

/* A segment as plait_shm_list finds it. */
typedef struct plait_shm_info {
    char name[PLAIT_SHM_NAME_SIZE]; /* "" once it is unlinked */
    size_t size;
    uint64_t version;
    uint32_t mode;
    uint32_t user;
    int data_only;
    int unlink_with_last;
    int holders;  /* processes that are attached and live */
    int leftover; /* nobody can want it any more: plait_shm_sweep removes it */
} plait_shm_info;

/* All segments of this machine that this user may open. Returns: how many there are, of which at most
 * `most` are written; PLAIT_EINVAL, PLAIT_ECANCELED, PLAIT_EMFILE, or what opening /dev/shm gave. Blocks, who: as plait_shm_create. */
PLAIT_API int plait_shm_list(plait_shm_info *ret, int most);

/* Removes what processes that were killed have left. Returns: how many segments it removed; else as plait_shm_list.
 * Blocks, who: as plait_shm_create. Python: the resource tracker, which needs a process of its own. */
PLAIT_API int plait_shm_sweep(void);

/* The room in /dev/shm, in bytes. */
typedef struct plait_shm_room {
    uint64_t asked; /* by this thread's last create that found it full; 0: none did */
    uint64_t free;
    uint64_t total;
} plait_shm_room;

/* Returns: 0, PLAIT_EINVAL (NULL), or why the system does not tell. Never blocks; anyone. */
PLAIT_API int plait_shm_space(plait_shm_room *ret);

PLAIT_END_DECLS
#endif
