/* memfd, mmap at a fixed place, and reserving pages ahead of use. */
#include "port/memory.h"

#include "base/atomic.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

static bool no_populate; /* any thread sets it, once, when the kernel does not know the advice */

/* Growing a file past RLIMIT_FSIZE kills with SIGXFSZ, so the limit is asked first. */
static bool file_may_be(uint64_t size)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
           (limit.rlim_cur == RLIM_INFINITY || size <= limit.rlim_cur);
}

int pl_descriptor_above_streams(int fd)
{
    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int rc = moved < 0 ? -errno : moved;
    close(fd);
    return rc;
}

int pl_memory_file(uint64_t size)
{
    int saved = errno, rc = 0;
    if (!file_may_be(size))
        return -EFBIG;
    int fd = memfd_create("plait", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    fd = fd < 0 ? -errno : pl_descriptor_above_streams(fd);
    if (fd < 0) {
        rc = fd;
    } else if (ftruncate(fd, (off_t)size) < 0) {
        rc = -errno;
        close(fd);
    } else { /* nobody who gets hold of it can cut it off under those who have it mapped */
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    }
    errno = saved;
    return rc < 0 ? rc : fd;
}

int pl_memory_map(int fd, void *place, uint64_t size)
{
    int saved = errno, rc = 0;
    void *got = mmap(place, size, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, fd, 0);
    if (got == MAP_FAILED) {
        rc = -errno;
    } else if (got != place) { /* a kernel before 4.17 takes the place for a hint */
        munmap(got, size);
        rc = -EEXIST;
    } else {
        /* A core dump would have the kernel make every page there could be, to write it out. */
        madvise(place, size, MADV_DONTDUMP);
    }
    errno = saved;
    return rc;
}

/* Bytes that the system could still give, as it estimates itself; UINT64_MAX where it does not say. */
static uint64_t available(void)
{
    char line[128];
    unsigned long kib;
    uint64_t sum = 0;
    FILE *f = fopen("/proc/meminfo", "re");
    if (!f)
        return UINT64_MAX;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %lu", &kib) == 1 ||
            sscanf(line, "SwapFree: %lu", &kib) == 1)
            sum += (uint64_t)kib * 1024;
    fclose(f);
    return sum ? sum : UINT64_MAX;
}

int pl_memory_back(void *start, uint64_t len, int fd, uint64_t offset)
{
    enum { MUCH = 256 << 20 };
    int saved = errno, rc = -1;
    /* More than there is would not fail: it would bring the system's killer upon somebody. */
    if (len >= MUCH && len > available()) {
        errno = saved;
        return -ENOMEM;
    }
    if (!pl_load_relaxed(&no_populate)) {
        do
            rc = madvise(start, len, MADV_POPULATE_WRITE);
        while (rc < 0 && (errno == EINTR || errno == EAGAIN));
        if (rc < 0 && errno == EINVAL)
            pl_memory_forget_populate();
    }
    if (pl_load_relaxed(&no_populate)) {
        do
            rc = fd < 0 ? -1 : fallocate(fd, 0, (off_t)offset, (off_t)len);
        while (rc < 0 && fd >= 0 && errno == EINTR);
    }
    errno = saved;
    return rc < 0 ? -ENOMEM : 0;
}

void pl_memory_unback(void *start, uint64_t len)
{
    int saved = errno;
    if (madvise(start, len, MADV_REMOVE) < 0) /* locked in memory, say: then at least zero */
        memset(start, 0, len);
    errno = saved;
}

void pl_memory_forget_populate(void)
{
    pl_store_relaxed(&no_populate, true);
}

bool pl_memory_peek(const uint32_t *word, uint32_t *ret)
{
    struct iovec here = {ret, sizeof *ret}, there = {(void *)word, sizeof *word};
    int saved = errno;
    ssize_t n = process_vm_readv(getpid(), &here, 1, &there, 1, 0);
    bool refused = n < 0 && (errno == ENOSYS || errno == EPERM);
    errno = saved;
    if (refused) /* by a filter: then as everybody else reads it */
        *ret = pl_load_acquire(word);
    return refused || n == sizeof *ret;
}
