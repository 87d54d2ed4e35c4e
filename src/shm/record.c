/* Records of segments: found, locked, read, and cleared away after deaths.
 *
 * Naive: a table in shared memory, changed by atomic operations. Then a creator may die with it half
 * made, who attaches races with the last one who detaches, and who cuts the file short kills all that look at it. Cure:
 * the kernel's lock on the file, for the few microseconds of a change. A dead one's lock is gone with him, and as
 * nobody else looks meanwhile, only the order of the writes counts, that is what a death leaves:
 *
 *   1 A record gets its name when it is whole, in state MAKING, with its maker's lock on it. So a free lock and
 *     MAKING are a dead maker's.
 *   2 The block is written down before it counts as handed out (pl_alloc_noted): it is either the dead one's, and
 *     recovered with him, or the record's. Its tag tells which.
 *   3 A holder is entered before the state is READY, and before it is told the address.
 *   4 The end is ENDING, then the memory, then the name. The tag of a block that is given back says nothing: whether
 *     it is in use is asked first, and a block that is got again is zeroed.
 *
 * Locks of this kind belong to the process, and closing any descriptor of the file drops them. So all of it
 * happens under one mutex of the process; fork waits for that, and the child finds it free. Nobody sleeps in line for
 * either: who cannot have it naps. */
#include "shm/record.h"

#include "arena/alloc.h"
#include "base/at_fork.h"
#include "base/atomic.h"
#include "park/park.h"
#include "port/process.h"
#include "port/shared_file.h"
#include "registry/registry.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAGIC UINT64_C(0x706c616974736567) /* "plaitseg" */
enum { FORMAT = 1, MOST_NAME = 200 };

/* --- the process's turn --- */

static PL_WRITTEN_AT_FORK pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static void before_fork(void)
{
    pthread_mutex_lock(&turn);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&turn);
}

/* After the arena, whose mutex is taken with this one held; so fork takes this one first. */
__attribute__((constructor(102))) static void guard_fork(void)
{
    pthread_atfork(before_fork, after_fork, after_fork);
}

#define PATIENCE (INT64_C(10) * 1000 * 1000 * 1000) /* ns, of who cannot be asked to give up */

/* Somebody else is at it. A worker sleeps as workers do; a program without an arena has no tasks to hold up and
 * nobody who could cancel it. `firm`: requests to stop wait. */
static int nap(bool firm, int64_t since)
{
    enum { SHORT = 200 * 1000 }; /* ns */
    uint32_t never = 0;
    struct pl_wait wait;
    bool known = pl_load_acquire(&pl_arena) && (pl_self.id || pl_self.task);
    if ((firm || !known) && plait_now() - since > PATIENCE)
        return PLAIT_EBUSY;
    if (!known) {
        nanosleep(&(struct timespec){.tv_nsec = SHORT}, NULL);
        return 0;
    }
    int rc = pl_wait_begin(&wait, PL_WAIT_SLEEP, SHORT);
    wait.uncancellable = firm;
    while (rc == 0)
        rc = pl_park(&never, 0, &wait);
    return rc == PLAIT_ETIMEDOUT ? 0 : rc;
}

/* --- paths --- */

int pl_record_path(const char *name, char *ret)
{
    if (!name)
        return PLAIT_EINVAL;
    name += *name == '/';
    if (*name == 0 || *name == '.' || strchr(name, '/'))
        return PLAIT_EINVAL;
    if (strlen(name) > MOST_NAME)
        return PLAIT_ENAMETOOLONG;
    snprintf(ret, PL_RECORD_PATH, PL_SHARED_FOLDER "/plait-%s", name);
    return 0;
}

void pl_record_hidden_path(uint64_t serial, char *ret)
{
    snprintf(ret, PL_RECORD_PATH, PL_SHARED_FOLDER "/plait-.%016lx", (unsigned long)serial);
}

uint64_t pl_record_new_serial(void)
{
    uint64_t serial = 0;
    if (getrandom(&serial, sizeof serial, GRND_NONBLOCK) != sizeof serial)
        serial = 0;
    if (serial == 0)
        serial = (uint64_t)plait_now() << 20 ^ (uint64_t)getpid();
    return serial | 1;
}

/* --- reading and writing --- */

static uint64_t pid_space(void)
{
    struct stat st;
    return stat("/proc/self/ns/pid", &st) == 0 ? (uint64_t)st.st_ino : 0;
}

/* Entries of other pid namespaces are left alone: nobody here can tell whether they are dead. */
static bool may_live(const struct pl_segment_holder *h, uint64_t space)
{
    struct pl_process_name self = pl_this_process();
    if (h->space != space)
        return true;
    if (h->pid == self.pid)
        return h->birth == self.birth;
    return pl_process_lives(h->pid, h->birth);
}

static void count_living(struct pl_record *r)
{
    uint64_t space = pid_space();
    r->n_holding = r->n_living = 0;
    for (int i = 0; i < PLAIT_SHM_HOLDERS_MOST; i++) {
        const struct pl_segment_holder *h = &r->holders[i];
        r->alive[i] = h->pid && may_live(h, space);
        r->n_living += r->alive[i];
        r->n_holding += r->alive[i] && (h->owns || h->borrows);
    }
}

static bool is_hidden(const struct pl_record *r)
{
    return strchr(r->path, '.') == r->path + sizeof PL_SHARED_FOLDER "/plait-" - 1;
}

static int read_all(struct pl_record *r)
{
    if (pl_shared_read(r->fd, &r->head, sizeof r->head, 0) < 0 ||
        pl_shared_read(r->fd, r->holders, sizeof r->holders, sizeof r->head) < 0 ||
        r->head.magic != MAGIC || r->head.format != FORMAT)
        return PLAIT_ESEGMENT;
    r->nameless = is_hidden(r);
    count_living(r);
    return 0;
}

int pl_record_write_head(struct pl_record *r)
{
    return pl_shared_write(r->fd, &r->head, sizeof r->head, 0);
}

int pl_record_write_holder(struct pl_record *r, int i)
{
    return pl_shared_write(r->fd, &r->holders[i], sizeof r->holders[i],
                           sizeof r->head + (uint64_t)i * sizeof r->holders[i]);
}

/* --- opening --- */

/* -EAGAIN: not now. */
static int try_open(struct pl_record *r, const char *path)
{
    if (pthread_mutex_trylock(&turn) != 0)
        return -EAGAIN;
    int rc = r->fd = pl_shared_open(path);
    if (rc == -ELOOP || rc == -EISDIR || rc == -ENXIO)
        rc = PLAIT_ESEGMENT;
    if (rc >= 0)
        rc = pl_shared_lock(r->fd);
    if (rc == 0 && !pl_shared_is_named(r->fd, path)) /* removed before we had the lock */
        rc = -EAGAIN;
    if (rc == 0)
        return 0;
    if (r->fd >= 0)
        close(r->fd);
    pthread_mutex_unlock(&turn);
    return rc;
}

void pl_record_close(struct pl_record *r)
{
    close(r->fd); /* and with it goes the lock */
    pthread_mutex_unlock(&turn);
}

int pl_record_open(struct pl_record *r, const char *path, bool firm)
{
    int rc;
    int64_t since = plait_now();
    while ((rc = try_open(r, path)) == -EAGAIN) {
        rc = nap(firm, since);
        if (rc < 0)
            return rc;
    }
    if (rc < 0)
        return rc;
    snprintf(r->path, sizeof r->path, "%s", path);
    rc = read_all(r);
    if (rc < 0)
        pl_record_close(r);
    return rc;
}

static int make(struct pl_record *r, const char *path, uint32_t mode, uint64_t size)
{
    int rc = r->fd = pl_shared_make(mode, size);
    if (rc < 0)
        return rc;
    rc = pl_shared_lock(r->fd); /* nobody knows the file yet */
    if (rc == 0)
        rc = pl_record_write_head(r);
    if (rc == 0)
        rc = pl_shared_publish(r->fd, path);
    if (rc < 0)
        close(r->fd);
    return rc;
}

int pl_record_make(struct pl_record *r, const char *path, uint32_t mode, uint64_t size)
{
    int64_t since = plait_now();
    while (pthread_mutex_trylock(&turn) != 0) {
        int rc = nap(false, since);
        if (rc < 0)
            return rc;
    }
    snprintf(r->path, sizeof r->path, "%s", path);
    r->head.magic = MAGIC;
    r->head.format = FORMAT;
    r->head.state = PL_SEGMENT_MAKING;
    int rc = make(r, path, mode, size);
    if (rc < 0)
        pthread_mutex_unlock(&turn);
    return rc;
}

/* --- holders --- */

int pl_record_find_self(const struct pl_record *r)
{
    struct pl_process_name self = pl_this_process();
    uint64_t space = pid_space();
    for (int i = 0; i < PLAIT_SHM_HOLDERS_MOST; i++)
        if (r->holders[i].pid == self.pid && r->holders[i].birth == self.birth &&
            r->holders[i].space == space)
            return i;
    return -1;
}

/* An entry to use: a free one, a dead one's, one of a process that has detached; -1: none. */
static int find_room(const struct pl_record *r)
{
    int past = -1;
    for (int i = 0; i < PLAIT_SHM_HOLDERS_MOST; i++) {
        if (!r->alive[i])
            return i;
        if (!r->holders[i].owns && !r->holders[i].borrows)
            past = i;
    }
    return past;
}

int pl_record_enter(struct pl_record *r, bool owner)
{
    struct pl_process_name self = pl_this_process();
    int i = pl_record_find_self(r);
    if (i < 0) {
        i = find_room(r);
        if (i < 0)
            return PLAIT_EUSERS;
        r->holders[i] =
            (struct pl_segment_holder){.pid = self.pid, .birth = self.birth, .space = pid_space()};
    }
    struct pl_segment_holder *h = &r->holders[i];
    h->number = pl_record_is_ours(r) ? pl_arena_descriptor() : -1;
    h->owns += owner;
    h->borrows += !owner;
    return pl_record_write_holder(r, i);
}

/* --- whose it is, and whether it is still wanted --- */

bool pl_record_is_ours(const struct pl_record *r)
{
    uint64_t device, inode;
    if (!pl_load_acquire(&pl_arena) || (r->head.flags & PL_SEGMENT_DATA_ONLY))
        return false;
    pl_arena_identity(&device, &inode);
    return r->head.device == device && r->head.inode == inode;
}

struct pl_segment_tag *pl_record_block(const struct pl_record *r)
{
    if (!pl_record_is_ours(r) || r->head.block == 0 || r->head.block >= pl_arena->size)
        return NULL;
    struct pl_segment_tag *tag = pl_arena_at(r->head.block);
    bool ours = plait_alloc_size(tag) > 0 && pl_load_acquire(&tag->serial) == r->head.serial;
    return ours ? tag : NULL;
}

bool pl_record_is_leftover(const struct pl_record *r)
{
    if (r->head.state != PL_SEGMENT_READY)
        return true;
    if (r->n_holding > 0)
        return false;
    if (r->nameless || (r->head.flags & PL_SEGMENT_WITH_LAST))
        return true;
    if (r->head.flags & PL_SEGMENT_DATA_ONLY)
        return false;
    /* A family without a living process that was ever attached cannot be reached from outside. */
    return pl_record_is_ours(r) ? !pl_record_block(r) : r->n_living == 0;
}

/* Only a process of the family can give the block back: the name goes, the record waits for one. */
static int leave_to_family(struct pl_record *r)
{
    char hidden[PL_RECORD_PATH];
    if (r->nameless)
        return PLAIT_EFAMILY;
    pl_record_hidden_path(r->head.serial, hidden);
    return pl_shared_rename(r->path, hidden);
}

int pl_record_end(struct pl_record *r)
{
    if (!(r->head.flags & PL_SEGMENT_DATA_ONLY) && !pl_record_is_ours(r) && r->n_living > 0)
        return leave_to_family(r);
    struct pl_segment_tag *block = pl_record_block(r);
    r->head.state = PL_SEGMENT_ENDING;
    int rc = pl_record_write_head(r);
    if (rc < 0)
        return rc;
    if (block)
        plait_free(block);
    return pl_shared_remove(r->path);
}
