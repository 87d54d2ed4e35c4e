/* Making, inheriting and attaching the arena.
 *
 * Made once per family, by whoever needs it first. The address is chosen from a short list so that
 * every process can have it: a forked child inherits the mapping, a re-executed child maps the same
 * file at the place its header names. Sizes from 64 GiB down are tried, because address space may
 * be limited (RLIMIT_AS); PLAIT_ARENA_SIZE asks for one size exactly. */
#include "arena/arena.h"

#include "arena/chunk.h"
#include "base/at_fork.h"
#include "base/atomic.h"
#include "base/error.h"
#include "port/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC UINT64_C(0x706c616974617265) /* "plaitare" */
enum { VERSION = 2, PAGE = 4096 };

static const uint64_t most = UINT64_C(64) << 30;
static const uint64_t least = UINT64_C(64) << 20;

/* Free in ordinary programs, under TSan and valgrind; the high ones under ASan. */
static const uintptr_t places[] = {0x2000000000, 0x4000000000, 0x6000000000, 0x200000000000,
                                   0x300000000000};

struct pl_arena *pl_arena;

static int descriptor = -1; /* of the memfd; written under `making`, with the identity below */
static dev_t file_device;
static ino_t file_inode;

/* Threads that race to make the arena; held over fork, so that the child never sees it half made. */
static PL_WRITTEN_AT_FORK pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;

static void before_fork(void)
{
    pthread_mutex_lock(&making);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&making);
}

__attribute__((constructor(101))) static void guard_fork(void)
{
    pthread_atfork(before_fork, after_fork, after_fork);
}

/* "512M", "8G", "1073741824" -> bytes; 0 if it is not a size that an arena can have. */
static uint64_t parse_size(const char *text)
{
    char *end;
    if (*text < '0' || *text > '9')
        return 0;
    int saved = errno;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    bool overflow = errno != 0;
    errno = saved;
    int shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : *end == 'T' ? 40 : 0;
    if (shift)
        end++;
    if (overflow || *end || n > UINT64_C(1) << (47 - shift))
        return 0;
    uint64_t size = (n << shift) / PL_CHUNK_SIZE * PL_CHUNK_SIZE;
    return size >= least && size <= most ? size : 0;
}

static uint64_t round_up(uint64_t n, uint64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* Divides `size` bytes among the tables and the chunks; see the picture in arena.h. */
static void lay_out(struct pl_arena *a, void *base, uint64_t size)
{
    uint64_t slots = size / 8192;
    a->n_slots = slots > PL_MOST_SLOTS ? PL_MOST_SLOTS : (uint32_t)slots;
    a->n_chunks = (uint32_t)(size / PL_CHUNK_SIZE);
    a->slots = round_up(sizeof *a, PAGE);
    a->states = round_up(a->slots + (uint64_t)a->n_slots * PL_SLOT_SIZE, PAGE);
    a->records = round_up(a->states + a->n_chunks * sizeof(uint64_t), PAGE);
    a->chunks = round_up(a->records + (uint64_t)a->n_chunks * PL_CHUNK_RECORD_SIZE, PL_CHUNK_SIZE);
    a->n_chunks = (uint32_t)((size - a->chunks) / PL_CHUNK_SIZE);
    a->base = base;
    a->size = size;
    a->version = VERSION;
    a->magic = MAGIC;
}

static void remember(int fd)
{
    struct stat st;
    if (fstat(fd, &st) == 0) {
        file_device = st.st_dev;
        file_inode = st.st_ino;
    }
    descriptor = fd;
}

/* Maps `fd` at the first place that is free. The place, or NULL with *ret_error. */
static void *map_somewhere(int fd, uint64_t size, int *ret_error)
{
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        *ret_error = pl_memory_map(fd, (void *)places[i], size);
        if (*ret_error == 0)
            return (void *)places[i];
        if (*ret_error != -EEXIST)
            return NULL;
    }
    return NULL;
}

/* One attempt with one size. 0, PLAIT_ENOMEM (no page for the header), PLAIT_EARENA. */
static int make_of_size(uint64_t size)
{
    int error, fd = pl_memory_file(size);
    if (fd < 0)
        return PLAIT_EARENA;
    struct pl_arena *a = map_somewhere(fd, size, &error);
    if (!a) {
        close(fd);
        return PLAIT_EARENA;
    }
    if (pl_memory_back(a, round_up(sizeof *a, PAGE), fd, 0) < 0) {
        munmap(a, size);
        close(fd);
        return PLAIT_ENOMEM;
    }
    lay_out(a, a, size);
    remember(fd);
    /* R:arena.publish, pairs with pl_arena_need: the header is filled before it is seen. */
    pl_store_release(&pl_arena, a);
    return 0;
}

static int make(void)
{
    const char *wish = getenv("PLAIT_ARENA_SIZE");
    if (wish && *wish) {
        uint64_t size = parse_size(wish);
        return size ? make_of_size(size) : PLAIT_EINVAL;
    }
    int rc = PLAIT_EARENA;
    for (uint64_t size = most; size >= least && rc == PLAIT_EARENA; size /= 2)
        rc = make_of_size(size);
    return rc;
}

int pl_arena_need(void)
{
    /* A:arena.publish, pairs with make_of_size: a seen arena has its header filled. */
    if (pl_load_acquire(&pl_arena))
        return 0;
    int saved = errno;
    pthread_mutex_lock(&making);
    int rc = pl_arena ? 0 : make();
    pthread_mutex_unlock(&making);
    errno = saved;
    return rc;
}

static int attach(int fd)
{
    struct pl_arena head;
    if (pl_arena)
        return PLAIT_EARENA;
    if (pread(fd, &head, sizeof head, 0) != (ssize_t)sizeof head || head.magic != MAGIC ||
        head.version != VERSION || pl_memory_map(fd, head.base, head.size) < 0)
        return PLAIT_EARENA;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    remember(fd);
    pl_store_release(&pl_arena, head.base);
    return 0;
}

int pl_arena_attach(int fd)
{
    int saved = errno;
    pthread_mutex_lock(&making);
    int rc = attach(fd);
    pthread_mutex_unlock(&making);
    errno = saved;
    return rc;
}

void pl_arena_abandon(void)
{
    int fd = pl_arena_descriptor(), saved = errno;
    pthread_mutex_lock(&making);
    struct pl_arena *a = pl_arena;
    pl_store_release(&pl_arena, NULL);
    munmap(a, a->size);
    if (fd >= 0)
        close(fd);
    descriptor = -1;
    pthread_mutex_unlock(&making);
    errno = saved;
}

void pl_arena_identity(uint64_t *ret_device, uint64_t *ret_inode)
{
    *ret_device = (uint64_t)file_device;
    *ret_inode = (uint64_t)file_inode;
}

/* The descriptor, unless the program closed it (as daemons close all) and its number is now
 * something else's. */
int pl_arena_descriptor(void)
{
    struct stat st;
    int saved = errno;
    bool ours = descriptor >= 0 && fstat(descriptor, &st) == 0 && st.st_dev == file_device &&
                st.st_ino == file_inode;
    errno = saved;
    return ours ? descriptor : -1;
}

int pl_arena_lift_descriptor(int lowest)
{
    int fd = pl_arena_descriptor();
    if (fd < 0 || fd >= lowest)
        return 0;
    int saved = errno;
    int lifted = fcntl(fd, F_DUPFD_CLOEXEC, lowest);
    if (lifted >= 0) {
        close(fd);
        descriptor = lifted;
    }
    errno = saved;
    return lifted >= 0 ? 0 : PLAIT_EMFILE;
}

int pl_arena_back(uint64_t offset, uint64_t len)
{
    uint64_t start = offset / PAGE * PAGE;
    uint64_t end = round_up(offset + len, PAGE);
    if (end > pl_arena->size)
        return PLAIT_ENOMEM;
    int rc = pl_memory_back(pl_arena_at(start), end - start, pl_arena_descriptor(), start);
    return rc < 0 ? PLAIT_ENOMEM : 0;
}

void pl_arena_unback(uint64_t offset, uint64_t len)
{
    pl_memory_unback(pl_arena_at(offset), len);
}

int plait_is_shared(const void *address)
{
    return pl_arena_holds(address);
}
