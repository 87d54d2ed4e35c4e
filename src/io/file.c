/* Files: the calls that may block on a disk, and that the kernel cannot announce. A thread makes them itself; a task, whose
 * thread has others to run, sends a helper.
 *
 * A caller that gives up leaves its helper at work. So what the helper reads into or writes from is a copy of its own. */
#include <plait/file.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "io/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum what { OPEN, READ, WRITE, SYNC };

/* One call, and what came of it. */
struct work {
    enum what what;
    int fd, flags, mode;
    const char *path;
    void *bytes;
    size_t size;
    int64_t offset;
    ssize_t result; /* bytes, a descriptor, or a code */
};

struct errand {
    struct pl_errand errand;
    struct work work;
    bool kept; /* the caller has the result */
    char bytes[];
};

static ssize_t once(const struct work *w)
{
    switch (w->what) {
    case OPEN:
        return open(w->path, w->flags | O_CLOEXEC, w->mode);
    case READ:
        return pread(w->fd, w->bytes, w->size, w->offset);
    case WRITE:
        return pwrite(w->fd, w->bytes, w->size, w->offset);
    default:
        return fsync(w->fd);
    }
}

static void do_work(struct work *w)
{
    do
        w->result = once(w);
    while (w->result < 0 && errno == EINTR);
    if (w->result < 0)
        w->result = pl_file_error(errno);
}

static void run(struct pl_errand *errand)
{
    do_work(&((struct errand *)errand)->work);
}

static void discard(struct pl_errand *errand)
{
    struct errand *e = (struct errand *)errand;
    if (e->work.what == OPEN && !e->kept && pl_load_relaxed(&errand->done) && e->work.result >= 0)
        pl_close_fd((int)e->work.result);
    free(e);
}

static ssize_t by_helper(struct work *w, struct pl_wait *wait)
{
    size_t size = w->what == OPEN ? strlen(w->path) + 1 : w->size;
    if (size > PTRDIFF_MAX - sizeof(struct errand))
        return PLAIT_ENOMEM;
    struct errand *e = malloc(sizeof *e + size);
    if (!e)
        return PLAIT_ENOMEM;
    *e = (struct errand){.errand = {.run = run, .discard = discard}, .work = *w};
    e->work.bytes = e->bytes;
    e->work.path = e->bytes;
    if (w->what == OPEN)
        memcpy(e->bytes, w->path, size);
    else if (w->what == WRITE)
        memcpy(e->bytes, w->bytes, size);
    int rc = pl_errand_run(&e->errand, wait);
    if (rc < 0)
        return rc;
    e->kept = true;
    ssize_t result = e->work.result;
    if (w->what == READ && result > 0)
        memcpy(w->bytes, e->bytes, (size_t)result);
    pl_errand_leave(&e->errand);
    return result;
}

static ssize_t perform(struct work *w, int64_t timeout)
{
    struct pl_wait wait;
    int saved = errno;
    ssize_t result = pl_wait_begin(&wait, PL_WAIT_HELPER, timeout);
    if (result == 0 && pl_self.task) {
        result = by_helper(w, &wait);
    } else if (result == 0) {
        do_work(w);
        result = w->result;
    }
    errno = saved;
    return result;
}

int plait_open(const char *path, int flags, int mode, int64_t timeout)
{
    struct work work = {.what = OPEN, .path = path, .flags = flags, .mode = mode};
    return path ? (int)perform(&work, timeout) : PLAIT_EINVAL;
}

ssize_t plait_pread(int fd, void *buffer, size_t size, int64_t offset, int64_t timeout)
{
    struct work work = {.what = READ, .fd = fd, .bytes = buffer, .size = size, .offset = offset};
    if (fd < 0 || offset < 0 || (!buffer && size > 0))
        return PLAIT_EINVAL;
    return perform(&work, timeout);
}

ssize_t plait_pwrite(int fd, const void *bytes, size_t size, int64_t offset, int64_t timeout)
{
    struct work work = {
        .what = WRITE, .fd = fd, .bytes = (void *)(uintptr_t)bytes, .size = size, .offset = offset};
    if (fd < 0 || offset < 0 || (!bytes && size > 0))
        return PLAIT_EINVAL;
    return perform(&work, timeout);
}

int plait_fsync(int fd, int64_t timeout)
{
    struct work work = {.what = SYNC, .fd = fd};
    return fd < 0 ? PLAIT_EINVAL : (int)perform(&work, timeout);
}
