/* plait_rwlock: many readers, or one writer.
 *
 * For threads and processes at once: in ordinary memory for this process, in the arena for the family
 * (see lock.h). All bytes zero is a free rwlock. Nothing to destroy.
 *
 *     struct table { plait_rwlock rw; int n; struct row rows[1000]; };
 *     struct table *t = plait_alloc(sizeof *t);
 *
 *     PLAIT_WITH_READ(&t->rw)                      // any number at once in here; see with.h
 *         found = look_up(t, key);
 *
 *     PLAIT_WITH_WRITE(&t->rw)                     // alone in here
 *         t->rows[t->n++] = row;
 *
 * Who waits for whom. A writer waits for the writers before it and for those who read at the moment
 * it is the next; from then on new readers wait, so readers cannot starve a writer. When a writer
 * leaves, every reader that is asleep then gets in before the next writer, so writers cannot starve a
 * reader: it waits for one writer, and for those, too, that came and left while it was lying down. Among
 * writers it is as with plait_lock: whoever comes first, but after 1 ms newcomers must wait.
 * A reader may read again, at once, whoever waits; it then has to release as often. All else that
 * would wait for oneself is PLAIT_EDEADLK: to write while one reads, to read or write while one writes.
 *
 * Death: a dead reader is forgotten, for it has changed nothing. If a writer dies inside, what the
 * rwlock guards may be half changed: the next writer gets PLAIT_OWNER_DIED with the rwlock, and so do
 * all readers until one has. plait_rwlock_blame says who it was. SIGSTOP is not a death.
 *
 * Limits: a worker may read 65535 deep, and 4 rwlocks at once that have more than 16 other readers
 * each; past that, PLAIT_EAGAIN. A private rwlock that a fork copied while held: whoever held it or
 * waited for it lives in the other process and is gone for the child, the forking thread included; a
 * writer among them counts as dead. In shared memory that is not the arena's: PLAIT_EPRIVATE, as far
 * as is noticed (see lock.h).
 *
 * Why this shape: a count of readers cannot tell who is missing when one dies; so each reader writes
 * its name into an entry of the rwlock, different readers on different cache lines as a rule, hence
 * the 192 bytes. Use it where reading takes long or readers are many; else a plait_lock is as good.
 * Python's counterpart: none. */
#ifndef PLAIT_RWLOCK_H
#define PLAIT_RWLOCK_H

#include <plait/clock.h>
#include <plait/error.h>
#include <plait/lock.h>
#include <plait/worker.h>

PLAIT_BEGIN_DECLS

/* An entry: one reader. Any worker claims it, its owner frees it; see src/sync/rwlock.c. */
struct plait_reader_ {
    uint32_t gate_; /* while it reads: how deep; while it sleeps: the writer it waits for */
    uint32_t id_;   /* whose entry, and two flags; 0: free */
};

enum { PLAIT_RWLOCK_ENTRIES_ = 16 };

typedef struct plait_rwlock {
    uint32_t inside_;    /* id of the writer that may have changed something; the writer writes */
    uint32_t died_;      /* id of the last that died so, until asked for; the writer writes */
    uint32_t overflow_;  /* readers may be written down in the registry; any worker */
    plait_lock queue_;   /* the writers that have to wait; its holder is the next */
    uint32_t word_;      /* the writer's id and three flags; any worker */
    uint32_t apart_[10]; /* so that readers, who look at the word, do not meet here */
    struct plait_reader_ readers_[PLAIT_RWLOCK_ENTRIES_];
} plait_rwlock;

/* Options of plait_rwlock_init; there are none yet. */
typedef struct plait_rwlock_options {
    int reserved; /* must be 0 */
} plait_rwlock_options;

/* Makes an rwlock free, whatever its bytes were. Zeroed memory needs no init; NULL options are the
 * default. Requires: nobody uses it. Returns: 0, PLAIT_EINVAL (NULL, an unknown option). Never blocks. */
PLAIT_API int plait_rwlock_init(plait_rwlock *rw, const plait_rwlock_options *options);

/* Lets the caller read, waiting while a writer is inside or the next. One that reads already gets in
 * at once, one level deeper.
 * Requires: memory that stays valid while anyone waits.
 * Returns: 0 (reads), PLAIT_OWNER_DIED (reads; a writer died inside, and no writer has been since),
 *   PLAIT_ETIMEDOUT, PLAIT_ECANCELED, PLAIT_EDEADLK (the caller is the writer, or it would wait for
 *   a worker that waits for it: deadlock.h), PLAIT_EINVAL (NULL,
 *   timeout below -1), PLAIT_EOVERFLOW (timeout too large), PLAIT_EAGAIN (see Limits), PLAIT_EPRIVATE
 *   (see Limits), and as registering may fail: PLAIT_EARENA, PLAIT_ENOMEM, PLAIT_EWORKERS. Negative:
 *   nothing has changed.
 * Blocks: yes, cancellable. Who: threads, processes, tasks; not signal handlers; after fork, yes.
 * Ordering: what earlier writers wrote is visible. Python: none. */
PLAIT_API int plait_rwlock_acquire_read(plait_rwlock *rw, int64_t timeout);

/* Lets the caller write, waiting until no other writes or reads.
 * Requires: memory that stays valid while anyone waits.
 * Returns: 0 (writes), PLAIT_OWNER_DIED (writes; the last writer died inside), PLAIT_ETIMEDOUT,
 *   PLAIT_ECANCELED, PLAIT_EDEADLK (the caller reads or writes already, or it would wait for a worker
 *   that waits for it: deadlock.h), PLAIT_EINVAL (NULL, timeout
 *   below -1), PLAIT_EOVERFLOW (timeout too large), PLAIT_EPRIVATE (see Limits), and as registering
 *   may fail: PLAIT_EARENA, PLAIT_ENOMEM, PLAIT_EWORKERS. Negative: nothing has changed.
 * Blocks: yes, cancellable. Who: threads, processes, tasks; not signal handlers; after fork, yes.
 * Ordering: what earlier writers wrote is visible, what earlier readers read is not overtaken.
 * Python: none. */
PLAIT_API int plait_rwlock_acquire_write(plait_rwlock *rw, int64_t timeout);

/* Ends the caller's reading, or one level of it; wakes the writer that waits for it.
 * Returns: 0; PLAIT_EPERM (the caller does not read: nothing is changed), PLAIT_EINVAL (NULL).
 * Blocks: no. Who: the worker that acquired it; not signal handlers. Ordering: a later writer writes after
 * what was read. Python: none. */
PLAIT_API int plait_rwlock_release_read(plait_rwlock *rw);

/* Ends the caller's writing; lets the sleeping readers in, or the next writer.
 * Returns: 0; PLAIT_EPERM (the caller is not the writer: nothing is changed), PLAIT_EINVAL (NULL).
 * Blocks: no. Who: the worker that acquired it; not signal handlers. Ordering: what was written
 * before is visible to later readers and writers. Python: none. */
PLAIT_API int plait_rwlock_release_write(plait_rwlock *rw);

/* Who died writing, asked after PLAIT_OWNER_DIED. A writer is told once; a reader each time, until a
 * writer has been inside.
 * Returns: 0 with *ret filled, PLAIT_ESRCH (nobody died since last asked), PLAIT_ESTALE (someone did,
 *   but his entry serves another by now), PLAIT_EPERM (the caller neither reads nor writes),
 *   PLAIT_EINVAL (NULL).
 * Blocks: up to a second, until the kernel can tell of what the process died. Who: who holds it. */
PLAIT_API int plait_rwlock_blame(plait_rwlock *rw, plait_blame *ret);

/* Who is writing; nobody (all zero) if nobody is, also while the next writer still waits for readers.
 * True of a moment past. Never blocks; anyone may call. */
PLAIT_API plait_worker plait_rwlock_writer(const plait_rwlock *rw);

/* How many living workers are reading, each counted once however deep; 0 for NULL. True of a moment
 * past. Never blocks; anyone may call. */
PLAIT_API int plait_rwlock_readers(const plait_rwlock *rw);

PLAIT_END_DECLS
#endif
