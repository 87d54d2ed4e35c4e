/* The ring by bare system calls, as liburing would; that is a dependency for five functions.
 *
 * Results are delivered only while the owner is in pl_uring_enter (DEFER_TASKRUN). The default way is to
 * interrupt the owner wherever it is, and then calls that are never restarted (epoll_wait, a receive
 * with a time limit) return EINTR though no signal came, to programs that never saw that before. The price is
 * that polling the ring's descriptor tells nothing; the kernel writes to an eventfd instead. */
#include "port/uring.h"

#include "base/atomic.h"
#include "port/memory.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Since 6.7; the headers of many systems are older. */
enum { OP_FUTEX_WAIT = 51, FUTEX_U32 = 2 };
#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif

enum {
    FLAGS = IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER |
            IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_NO_SQARRAY,
    FEATURES = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE,
};

static bool refused; /* any thread sets it, once, when the kernel cannot or may not; or a test */

static long call(long number, long a, void *b, long c, long d)
{
    int saved = errno;
    long rc = number == SYS_io_uring_register ? syscall(number, a, c, b, d)
                                              : syscall(number, a, b, c, d, NULL, 0);
    if (rc < 0)
        rc = -errno;
    errno = saved;
    return rc;
}

static long configure(int fd, unsigned what, void *arg, unsigned n)
{
    return call(SYS_io_uring_register, fd, arg, (long)what, (long)n);
}

/* --- opening --- */

static bool knows_futex(int fd)
{
    enum {
        SIZE =
            sizeof(struct io_uring_probe) + (OP_FUTEX_WAIT + 1) * sizeof(struct io_uring_probe_op)
    };
    _Alignas(struct io_uring_probe) char bytes[SIZE] = {0};
    struct io_uring_probe *probe = (struct io_uring_probe *)bytes;
    return configure(fd, IORING_REGISTER_PROBE, probe, OP_FUTEX_WAIT + 1) >= 0 &&
           probe->last_op >= OP_FUTEX_WAIT &&
           (probe->ops[OP_FUTEX_WAIT].flags & IO_URING_OP_SUPPORTED);
}

/* Maps a part of the ring; children get nothing there. NULL: no memory. */
static char *map(int fd, size_t size, uint64_t offset)
{
    int saved = errno;
    char *got =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, (off_t)offset);
    if (got != MAP_FAILED && madvise(got, size, MADV_DONTFORK) < 0) {
        munmap(got, size);
        got = MAP_FAILED;
    }
    errno = saved;
    return got == MAP_FAILED ? NULL : got;
}

static uint32_t *at(const struct pl_uring *ring, uint32_t offset)
{
    return (uint32_t *)(void *)(ring->rings + offset);
}

static int map_all(struct pl_uring *ring, const struct io_uring_params *p)
{
    ring->rings_size = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
    ring->entries_size = p->sq_entries * sizeof(struct io_uring_sqe);
    ring->rings = map(ring->fd, ring->rings_size, IORING_OFF_SQ_RING);
    ring->entries = map(ring->fd, ring->entries_size, IORING_OFF_SQES);
    if (!ring->rings || !ring->entries)
        return -ENOMEM;
    ring->head = at(ring, p->sq_off.head);
    ring->tail = at(ring, p->sq_off.tail);
    ring->flags = at(ring, p->sq_off.flags);
    ring->done_head = at(ring, p->cq_off.head);
    ring->done_tail = at(ring, p->cq_off.tail);
    ring->done = ring->rings + p->cq_off.cqes;
    ring->n = p->sq_entries;
    ring->mask = p->sq_entries - 1;
    ring->done_mask = p->cq_entries - 1;
    return 0;
}

static int prepare(struct pl_uring *ring, const struct io_uring_params *p, int bell)
{
    if ((p->features & FEATURES) != FEATURES || !knows_futex(ring->fd))
        return -ENOSYS;
    int rc = (int)configure(ring->fd, IORING_REGISTER_EVENTFD, &bell, 1);
    return rc < 0 ? rc : map_all(ring, p);
}

/* Errors that will be the same next time: no such call or flag, forbidden by a filter or the administrator. */
static bool is_final(int rc)
{
    return rc == -ENOSYS || rc == -EPERM || rc == -EACCES || rc == -EINVAL;
}

int pl_uring_open(struct pl_uring *ring, uint32_t n, uint32_t results, int bell)
{
    memset(ring, 0, sizeof *ring);
    if (__atomic_load_n(&refused, __ATOMIC_RELAXED))
        return -ENOSYS;
    struct io_uring_params p;
    memset(&p, 0, sizeof p);
    p.flags = FLAGS;
    p.cq_entries = results;
    ring->fd = (int)call(SYS_io_uring_setup, (long)n, &p, 0, 0);
    if (ring->fd >=
        0) /* close-on-exec is the kernel's default for rings, but not for copies made below */
        ring->fd = pl_descriptor_above_streams(ring->fd);
    int rc = ring->fd < 0 ? ring->fd : prepare(ring, &p, bell);
    if (rc == 0)
        return 0;
    if (ring->fd >= 0)
        pl_uring_close(ring);
    if (!is_final(rc))
        return rc;
    pl_uring_forget_all();
    return -ENOSYS;
}

void pl_uring_withdraw_all(struct pl_uring *ring)
{
    struct io_uring_sync_cancel_reg all;
    memset(&all, 0, sizeof all);
    all.fd = -1;
    all.flags = IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY;
    all.timeout.tv_sec = all.timeout.tv_nsec = -1;
    configure(ring->fd, IORING_REGISTER_SYNC_CANCEL, &all, 1);
}

void pl_uring_close(struct pl_uring *ring)
{
    if (ring->rings)
        munmap(ring->rings, ring->rings_size);
    if (ring->entries)
        munmap(ring->entries, ring->entries_size);
    pl_uring_forget(ring);
}

void pl_uring_forget(struct pl_uring *ring)
{
    int saved = errno;
    close(ring->fd);
    errno = saved;
}

void pl_uring_forget_all(void)
{
    __atomic_store_n(&refused, true, __ATOMIC_RELAXED);
}

/* --- using --- */

static struct io_uring_sqe *next_entry(struct pl_uring *ring)
{
    /* Only we write the tail. A:uring.taken, pairs with R:uring.taken in the kernel, which has read the
     * entries below its head: they may be written again. */
    uint32_t tail = pl_load_relaxed(ring->tail);
    if (tail - pl_load_acquire(ring->head) == ring->n)
        return NULL;
    struct io_uring_sqe *e = (struct io_uring_sqe *)(void *)ring->entries + (tail & ring->mask);
    memset(e, 0, sizeof *e);
    return e;
}

static void publish(struct pl_uring *ring)
{
    /* R:uring.entry, pairs with A:uring.entry in the kernel. */
    pl_store_release(ring->tail, pl_load_relaxed(ring->tail) + 1);
    ring->unsubmitted++;
}

bool pl_uring_wait(struct pl_uring *ring, uint32_t *word, uint32_t seen, uint64_t name)
{
    struct io_uring_sqe *e = next_entry(ring);
    if (!e)
        return false;
    e->opcode = OP_FUTEX_WAIT;
    e->fd = FUTEX_U32;
    e->addr = (uintptr_t)word;
    e->addr2 = seen;
    e->addr3 = FUTEX_BITSET_MATCH_ANY;
    e->user_data = name;
    publish(ring);
    return true;
}

bool pl_uring_cancel(struct pl_uring *ring, uint64_t name)
{
    struct io_uring_sqe *e = next_entry(ring);
    if (!e)
        return false;
    e->opcode = IORING_OP_ASYNC_CANCEL;
    e->fd = -1;
    e->addr = name;
    e->flags = IOSQE_CQE_SKIP_SUCCESS; /* what ends is told by the wait's own result */
    publish(ring);
    return true;
}

int pl_uring_enter(struct pl_uring *ring)
{
    long rc;
    do {
        rc = call(SYS_io_uring_enter, ring->fd, (void *)(uintptr_t)ring->unsubmitted, 0,
                  IORING_ENTER_GETEVENTS);
        if (rc > 0)
            ring->unsubmitted -= (uint32_t)rc;
    } while (rc == -EINTR || (rc > 0 && ring->unsubmitted > 0));
    return rc < 0 ? (int)rc : 0;
}

bool pl_uring_holds_back(const struct pl_uring *ring)
{
    /* The kernel rings the bell after it sets these, and the sleep that a bell ends is a barrier. */
    return pl_load_relaxed(ring->flags) & (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN);
}

bool pl_uring_take(struct pl_uring *ring, struct pl_uring_result *ret)
{
    for (;;) {
        uint32_t head = pl_load_relaxed(ring->done_head); /* only we write it */
        /* A:uring.done, pairs with R:uring.done in the kernel: results below the tail are whole. */
        if (head == pl_load_acquire(ring->done_tail))
            return false;
        const struct io_uring_cqe *c =
            (const struct io_uring_cqe *)(void *)ring->done + (head & ring->done_mask);
        *ret = (struct pl_uring_result){c->user_data, c->res};
        /* R:uring.free, pairs with A:uring.free in the kernel: we have read it. */
        pl_store_release(ring->done_head, head + 1);
        if (ret->name) /* else a cancellation that found nothing */
            return true;
    }
}
