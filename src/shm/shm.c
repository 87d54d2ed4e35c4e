/* Segments: making, attaching, detaching, unlinking.
 *
 * Naive: shm_open, ftruncate, mmap. Then two programs have the memory at two addresses, so nothing in it can point
 * anywhere; a lock in it names a holder that the other program cannot find, let alone notice the death of; and a full
 * /dev/shm kills by SIGBUS. Giving segments addresses that all agree on does not suffice: each process of the family,
 * children that run already included, may have to repair what a dead one left in a segment, and so would have to have
 * every segment mapped.
 *
 * Cure: a family's segment is a block of its arena, and the name leads to the arena. The record (record.h) says which
 * file the arena is, which processes have it open, and where the block is. Who attaches opens the file
 * through /proc of one of them and maps it, whereby it is a process of the family like any other; all else
 * - addresses, waking, deaths, deadlocks - is as between parent and child. */
#include "arena/alloc.h"
#include "arena/class.h"
#include "base/atomic.h"
#include "base/error.h"
#include "port/shared_file.h"
#include "registry/registry.h"
#include "shm/record.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_BYTES (UINT64_C(1) << 46)

static const plait_shm_options no_options;
static _Thread_local uint64_t asked_in_vain;

/* What the program wants. */
struct wish {
    plait_shm *shm;
    const char *name;
    uint64_t size; /* to be had at least; or to be made */
    const plait_shm_options *options;
    bool owner;
};

/* --- the memory --- */

static uint64_t block_size(uint64_t size)
{
    /* So large that it has whole chunks, hence pages, to itself: others may map it by itself. */
    uint64_t bytes = size + sizeof(struct pl_segment_tag);
    return bytes > PL_MOST_SMALL ? bytes : PL_MOST_SMALL + 1;
}

/* The block is the record's from here on, if this thread dies; see record.c, fact 2. */
static void note_block(void *block, void *record)
{
    struct pl_record *r = record;
    struct pl_segment_tag *tag = block;
    pl_store_release(&tag->serial, r->head.serial);
    r->head.block = (uint64_t)((char *)block - (char *)pl_arena);
    if (pl_record_write_head(r) < 0)
        r->head.block = 0;
}

static int get_block(struct pl_record *r)
{
    int rc = pl_arena_need();
    if (rc == 0)
        rc = pl_thread_known();
    if (rc < 0)
        return rc;
    pl_arena_identity(&r->head.device, &r->head.inode);
    rc = pl_alloc_noted(block_size(r->head.size), note_block, r);
    return rc == 0 && r->head.block == 0 ? PLAIT_EIO : rc;
}

/* Opens the family's arena through a process that has it open. */
static int borrow_arena(const struct pl_record *r)
{
    int rc = PLAIT_EBADF;
    for (int i = 0; i < PLAIT_SHM_HOLDERS_MOST; i++) {
        const struct pl_segment_holder *h = &r->holders[i];
        if (!r->alive[i] || h->number < 0)
            continue;
        int fd = pl_shared_borrow(h->pid, h->number, r->head.device, r->head.inode);
        if (fd >= 0)
            return fd;
        if (rc == PLAIT_EBADF)
            rc = fd;
    }
    return rc;
}

static int join_family(const struct pl_record *r)
{
    struct stat st;
    /* What another user says about where to find an arena is not to be believed. */
    if (fstat(r->fd, &st) < 0 || st.st_uid != geteuid())
        return PLAIT_EACCES;
    int fd = borrow_arena(r);
    if (fd < 0)
        return fd;
    int rc = pl_family_leave() ? pl_arena_attach(fd) : PLAIT_EFAMILY;
    if (rc < 0)
        close(fd);
    return rc < 0 && pl_load_acquire(&pl_arena) ? PLAIT_EFAMILY
                                                : rc; /* another thread was faster */
}

/* Where the segment lies in the arena, as a process of the family. */
static int find_in_arena(plait_shm *shm, const struct pl_record *r)
{
    int rc = pl_record_is_ours(r) ? 0 : join_family(r);
    if (rc == 0)
        rc = pl_thread_known();
    if (rc < 0)
        return rc;
    struct pl_segment_tag *tag = pl_record_block(r);
    if (!tag)
        return PLAIT_ESEGMENT;
    shm->address_ = tag + 1;
    return 0;
}

static int map(plait_shm *shm, int fd, uint64_t size, uint64_t offset, uint64_t before)
{
    int rc = pl_shared_map(fd, size + before, offset, &shm->mapping_);
    if (rc < 0)
        return rc;
    shm->mapped_ = size + before;
    shm->address_ = (char *)shm->mapping_ + before;
    return 0;
}

static int map_of_family(plait_shm *shm, const struct pl_record *r)
{
    int fd = borrow_arena(r);
    if (fd < 0)
        return fd;
    int rc = map(shm, fd, r->head.size, r->head.block, sizeof(struct pl_segment_tag));
    close(fd);
    return rc;
}

static int map_file(plait_shm *shm, const struct pl_record *r)
{
    struct stat st;
    if (fstat(r->fd, &st) < 0 || (uint64_t)st.st_size < r->head.size + PL_RECORD_SIZE)
        return PLAIT_ESEGMENT; /* cut short */
    return map(shm, r->fd, r->head.size, 0, PL_RECORD_SIZE);
}

static int find_memory(const struct wish *w, const struct pl_record *r)
{
    if (r->head.flags & PL_SEGMENT_DATA_ONLY)
        return w->options->data_only ? map_file(w->shm, r) : PLAIT_EFAMILY;
    if (w->options->data_only && !pl_record_is_ours(r))
        return map_of_family(w->shm, r);
    return find_in_arena(w->shm, r);
}

static void lose_memory(plait_shm *shm)
{
    if (shm->mapping_)
        pl_shared_unmap(shm->mapping_, shm->mapped_);
    memset(shm, 0, sizeof *shm);
}

/* --- holding --- */

/* Attaches to the segment of a record. */
static int hold(const struct wish *w, struct pl_record *r)
{
    plait_shm *shm = w->shm;
    int rc = find_memory(w, r);
    if (rc == 0)
        rc = pl_record_enter(r, w->owner);
    if (rc < 0) {
        lose_memory(shm);
        return rc;
    }
    shm->size_ = r->head.size;
    shm->serial_ = r->head.serial;
    shm->pid_ = (int32_t)getpid();
    shm->owner_ = w->owner;
    snprintf(shm->name_, sizeof shm->name_, "%s", w->name);
    return 0;
}

static int hold_existing(const struct wish *w, struct pl_record *r)
{
    if (w->options->version && w->options->version != r->head.version)
        return PLAIT_ESEGMENT;
    if (w->size > r->head.size)
        return PLAIT_EMSGSIZE;
    return hold(w, r);
}

/* --- making --- */

/* Fills a record that has been published and is locked by us, and makes it ready. */
static int fill(const struct wish *w, struct pl_record *r)
{
    int rc = w->options->data_only ? 0 : get_block(r);
    if (rc == 0)
        rc = hold(w, r);
    if (rc < 0)
        return rc;
    r->head.state = PL_SEGMENT_READY;
    rc = pl_record_write_head(r);
    if (rc < 0)
        lose_memory(w->shm);
    return rc;
}

static int make(const struct wish *w, const char *path)
{
    struct pl_record r = {
        .head = {.serial = pl_record_new_serial(),
                 .size = w->size,
                 .version = w->options->version,
                 .flags = (w->options->data_only ? PL_SEGMENT_DATA_ONLY : 0) |
                          (w->options->unlink_with_last ? PL_SEGMENT_WITH_LAST : 0)}};
    uint64_t bytes = PL_RECORD_SIZE + (w->options->data_only ? w->size : 0);
    int rc = pl_record_make(&r, path, w->options->mode ? w->options->mode : 0600, bytes);
    if (rc == PLAIT_ENOSPC)
        asked_in_vain = bytes;
    if (rc < 0)
        return rc;
    rc = fill(w, &r);
    if (rc < 0)
        pl_record_end(&r);
    pl_record_close(&r);
    return rc;
}

/* One look at the name: makes the segment or attaches. -EAGAIN: look again, something was in the way. */
static int make_or_hold(struct wish *w, const char *path)
{
    struct pl_record r;
    w->owner = true;
    int rc = pl_record_open(&r, path, false);
    if (rc == PLAIT_ENOENT) {
        rc = make(w, path);
        return rc == PLAIT_EEXIST ? -EAGAIN : rc;
    }
    if (rc < 0)
        return rc == PLAIT_ESEGMENT && w->options->exclusive ? PLAIT_EEXIST : rc;
    w->owner = false;
    if (pl_record_is_leftover(&r)) {
        rc = pl_record_end(&r);
        rc = rc < 0 ? rc : -EAGAIN;
    } else {
        rc = w->options->exclusive ? PLAIT_EEXIST : hold_existing(w, &r);
    }
    pl_record_close(&r);
    return rc;
}

/* A name that nobody has, by the way the maker is asked for it. */
static int make_unnamed(struct wish *w)
{
    plait_shm_options alone = *w->options;
    char name[40], path[PL_RECORD_PATH];
    int rc;
    alone.exclusive = 1;
    w->options = &alone;
    w->name = name;
    do {
        snprintf(name, sizeof name, "shm-%016lx", (unsigned long)pl_record_new_serial());
        rc = pl_record_path(name, path);
        if (rc == 0)
            rc = make_or_hold(w, path);
    } while (rc == PLAIT_EEXIST || rc == -EAGAIN);
    return rc;
}

static int check_options(const plait_shm *shm, const plait_shm_options *o)
{
    if (!shm || (o->mode & ~UINT32_C(0777)))
        return PLAIT_EINVAL;
    return shm->address_ ? PLAIT_EBUSY : 0;
}

static int create(struct wish *w)
{
    char path[PL_RECORD_PATH];
    int rc = check_options(w->shm, w->options);
    if (rc == 0 && (w->size == 0 || w->size > MOST_BYTES))
        rc = PLAIT_EINVAL;
    if (rc == 0 && !w->name)
        return make_unnamed(w);
    if (rc == 0)
        rc = pl_record_path(w->name, path);
    if (rc < 0)
        return rc;
    w->name += *w->name == '/';
    do
        rc = make_or_hold(w, path);
    while (rc == -EAGAIN);
    return rc;
}

int plait_shm_create(plait_shm *shm, const char *name, size_t size,
                     const plait_shm_options *options)
{
    int saved = errno;
    int rc = create(&(struct wish){shm, name, size, options ? options : &no_options, true});
    errno = saved;
    return rc;
}

static int attach(const struct wish *w)
{
    char path[PL_RECORD_PATH];
    struct pl_record r;
    int rc = check_options(w->shm, w->options);
    if (rc == 0)
        rc = pl_record_path(w->name, path);
    if (rc == 0)
        rc = pl_record_open(&r, path, false);
    if (rc < 0)
        return rc;
    if (pl_record_is_leftover(&r)) {
        pl_record_end(&r);
        rc = PLAIT_ENOENT;
    } else {
        rc = hold_existing(w, &r);
    }
    pl_record_close(&r);
    return rc;
}

int plait_shm_attach(plait_shm *shm, const char *name, const plait_shm_options *options)
{
    int saved = errno;
    const plait_shm_options *o = options ? options : &no_options;
    const char *bare = name ? name + (*name == '/') : NULL;
    int rc = pl_record_path(name, (char[PL_RECORD_PATH]){0});
    if (rc == 0)
        rc = attach(&(struct wish){shm, bare, o->least, o, false});
    errno = saved;
    return rc;
}

/* --- letting go --- */

/* Opens the record that this hold is written down in: under its name, or where unlinking has put it. */
static int open_own(const plait_shm *shm, struct pl_record *r)
{
    char path[PL_RECORD_PATH];
    int rc = pl_record_path(shm->name_, path);
    if (rc == 0)
        rc = pl_record_open(r, path, true);
    if (rc == 0 && r->head.serial == shm->serial_)
        return 0;
    if (rc == 0)
        pl_record_close(r);
    else if (rc != PLAIT_ENOENT && rc != PLAIT_ESEGMENT && rc != PLAIT_EACCES)
        return rc; /* the latter three: another one has the name by now */
    pl_record_hidden_path(shm->serial_, path);
    rc = pl_record_open(r, path, true);
    if (rc == 0 && r->head.serial != shm->serial_) {
        pl_record_close(r);
        rc = PLAIT_ENOENT;
    }
    return rc;
}

static int leave(struct pl_record *r, bool owner)
{
    int i = pl_record_find_self(r);
    if (i < 0)
        return 0;
    struct pl_segment_holder *h = &r->holders[i];
    h->owns -= owner && h->owns > 0;
    h->borrows -= !owner && h->borrows > 0;
    bool last = !h->owns && !h->borrows;
    /* This process still shows others the way to the family's arena. */
    bool shows_the_way = pl_record_is_ours(r) && h->number >= 0;
    if (last && !shows_the_way)
        *h = (struct pl_segment_holder){0};
    int rc = pl_record_write_holder(r, i);
    r->n_holding -= last;
    return rc < 0 ? rc : pl_record_is_leftover(r) ? pl_record_end(r) : 0;
}

static int detach(plait_shm *shm)
{
    struct pl_record r;
    if (!shm)
        return PLAIT_EINVAL;
    if (!shm->address_)
        return PLAIT_EPERM;
    if (shm->pid_ != (int32_t)getpid()) {
        lose_memory(shm);
        return 0;
    }
    int rc = open_own(shm, &r);
    bool gone = rc == PLAIT_ENOENT || rc == PLAIT_ESEGMENT; /* there is nothing to be told to */
    if (rc < 0 && !gone)
        return rc;
    bool owner = shm->owner_;
    lose_memory(shm); /* first: then nobody can see it end under this hold */
    if (gone)
        return 0;
    rc = leave(&r, owner);
    pl_record_close(&r);
    return rc;
}

int plait_shm_detach(plait_shm *shm)
{
    int saved = errno;
    int rc = detach(shm);
    errno = saved;
    return rc;
}

/* The name goes, by one call of the kernel. A family's record has to stay, hidden, for whoever gives the block back;
 * the memory of a file is the kernel's business. */
static int take_name(struct pl_record *r)
{
    char hidden[PL_RECORD_PATH];
    if (r->n_holding == 0)
        return pl_record_end(r);
    if (r->head.flags & PL_SEGMENT_DATA_ONLY)
        return pl_shared_remove(r->path);
    pl_record_hidden_path(r->head.serial, hidden);
    return pl_shared_rename(r->path, hidden);
}

static int unlink_segment(const char *name)
{
    char path[PL_RECORD_PATH];
    struct pl_record r;
    int rc = pl_record_path(name, path);
    if (rc == 0)
        rc = pl_record_open(&r, path, false);
    if (rc < 0)
        return rc;
    bool was_there = !pl_record_is_leftover(&r);
    rc = was_there ? take_name(&r) : pl_record_end(&r);
    if (rc == 0)
        rc = was_there ? r.n_holding : PLAIT_ENOENT;
    pl_record_close(&r);
    return rc;
}

int plait_shm_unlink(const char *name)
{
    int saved = errno;
    int rc = unlink_segment(name);
    errno = saved;
    return rc;
}

/* --- asking --- */

void *plait_shm_address(const plait_shm *shm)
{
    return shm ? shm->address_ : NULL;
}

size_t plait_shm_size(const plait_shm *shm)
{
    return shm ? shm->size_ : 0;
}

const char *plait_shm_name(const plait_shm *shm)
{
    return shm ? shm->name_ : "";
}

int plait_shm_is_owner(const plait_shm *shm)
{
    return shm && shm->owner_;
}

int plait_shm_space(plait_shm_room *ret)
{
    int saved = errno;
    if (!ret)
        return PLAIT_EINVAL;
    ret->asked = asked_in_vain;
    int rc = pl_shared_space(&ret->free, &ret->total);
    errno = saved;
    return rc;
}
