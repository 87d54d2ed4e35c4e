/* O_TMPFILE and linkat, record locks, /proc/PID/fd. */
#include "port/shared_file.h"

#include "base/atomic.h"
#include "port/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Growing a file past RLIMIT_FSIZE kills with SIGXFSZ, so the limit is asked first. */
static int reserve(int fd, uint64_t size)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        size > limit.rlim_cur)
        return -EFBIG;
    int rc;
    do
        rc = fallocate(fd, 0, 0, (off_t)size) < 0 ? -errno : 0;
    while (rc == -EINTR);
    return rc;
}

int pl_shared_make(uint32_t mode, uint64_t size)
{
    int fd = open(PL_SHARED_FOLDER, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    fd = fd < 0 ? -errno : pl_descriptor_above_streams(fd);
    if (fd < 0)
        return fd;
    int rc = reserve(fd, size);
    if (rc == 0 && fchmod(fd, mode) < 0) /* not cut by the umask: what was asked for is meant */
        rc = -errno;
    if (rc < 0)
        close(fd);
    return rc < 0 ? rc : fd;
}

int pl_shared_publish(int fd, const char *path)
{
    char self[40];
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    PL_STEP("link", path);
    return linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

int pl_shared_open(const char *path)
{
    int fd = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    return fd < 0 ? -errno : pl_descriptor_above_streams(fd);
}

int pl_shared_lock(int fd)
{
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    PL_STEP("lock file", NULL);
    if (fcntl(fd, F_SETLK, &all) == 0)
        return 0;
    return errno == EACCES ? -EAGAIN : -errno;
}

int pl_shared_is_named(int fd, const char *path)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && lstat(path, &b) == 0 && S_ISREG(a.st_mode) &&
           a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

int pl_shared_read(int fd, void *buffer, size_t size, uint64_t offset)
{
    ssize_t n;
    do
        n = pread(fd, buffer, size, (off_t)offset);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : (size_t)n < size ? -ENODATA : 0;
}

int pl_shared_write(int fd, const void *bytes, size_t size, uint64_t offset)
{
    ssize_t n;
    PL_STEP("write file", NULL);
    do
        n = pwrite(fd, bytes, size, (off_t)offset);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : (size_t)n < size ? -ENOSPC : 0;
}

int pl_shared_remove(const char *path)
{
    PL_STEP("unlink", path);
    return unlink(path) < 0 ? -errno : 0;
}

int pl_shared_rename(const char *path, const char *to)
{
    PL_STEP("rename", path);
    return rename(path, to) < 0 ? -errno : 0;
}

int pl_shared_map(int fd, uint64_t size, uint64_t offset, void **ret)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
    if (at == MAP_FAILED)
        return -errno;
    *ret = at;
    return 0;
}

void pl_shared_unmap(void *address, uint64_t size)
{
    PL_STEP("munmap", address);
    munmap(address, size);
}

int pl_shared_space(uint64_t *ret_free, uint64_t *ret_total)
{
    struct statvfs v;
    if (statvfs(PL_SHARED_FOLDER, &v) < 0)
        return -errno;
    *ret_free = (uint64_t)v.f_bavail * v.f_frsize;
    *ret_total = (uint64_t)v.f_blocks * v.f_frsize;
    return 0;
}

/* First looked at, then opened: opening what is something else by now could do anything. */
static int open_if_it_is(const char *path, uint64_t device, uint64_t inode)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return errno == ENOENT ? -EBADF : -errno;
    if ((uint64_t)st.st_dev != device || (uint64_t)st.st_ino != inode)
        return -EBADF;
    int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    fd = fd < 0 ? -errno : pl_descriptor_above_streams(fd);
    if (fd < 0)
        return fd == -ENOENT ? -EBADF : fd;
    if (fstat(fd, &st) < 0 || (uint64_t)st.st_dev != device || (uint64_t)st.st_ino != inode) {
        close(fd);
        return -EBADF;
    }
    return fd;
}

/* Among all that the process has open. */
static int search(int pid, uint64_t device, uint64_t inode)
{
    char path[300];
    int rc = -EBADF;
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *folder = opendir(path);
    if (!folder)
        return errno == ENOENT ? -EBADF : -errno;
    for (struct dirent *e; rc == -EBADF && (e = readdir(folder));) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/fd/%s", pid, e->d_name);
        rc = open_if_it_is(path, device, inode);
    }
    closedir(folder);
    return rc;
}

int pl_shared_borrow(int pid, int number, uint64_t device, uint64_t inode)
{
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, number);
    int rc = open_if_it_is(path, device, inode);
    return rc == -EBADF ? search(pid, device, inode) : rc;
}
