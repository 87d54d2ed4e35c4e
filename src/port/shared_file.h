/* Files with names in /dev/shm: made whole before they are seen, and locked by the kernel. Errors are -errno.
 * In the test build each call that changes something is a step. */
#ifndef PL_PORT_SHARED_FILE_H
#define PL_PORT_SHARED_FILE_H

#include <stddef.h>
#include <stdint.h>

#define PL_SHARED_FOLDER "/dev/shm"

/* A file without a name yet, of `size` bytes that are reserved, so that touching them cannot fail. The descriptor;
 * -ENOSPC: the file system is full. Never raises SIGXFSZ. */
int pl_shared_make(uint32_t mode, uint64_t size);

/* Gives it a name. -EEXIST: there is a file of that name. */
int pl_shared_publish(int fd, const char *path);

/* Opens one to read and write; no links are followed. */
int pl_shared_open(const char *path);

/* Locks the file for this process. -EAGAIN: another process has it. The kernel takes the lock back when this
 * process dies, and when it closes any descriptor of the file; it does not go to a forked child. */
int pl_shared_lock(int fd);

/* Whether the file is the one of that name now. */
int pl_shared_is_named(int fd, const char *path);

/* All of it or an error; -ENODATA: the file is shorter. A write within 4096 aligned bytes is done wholly or not at
 * all, whatever happens to the writer. */
int pl_shared_read(int fd, void *buffer, size_t size, uint64_t offset);
int pl_shared_write(int fd, const void *bytes, size_t size, uint64_t offset);

int pl_shared_remove(const char *path);
int pl_shared_rename(const char *path, const char *to);

/* Maps `size` bytes wherever there is room. */
int pl_shared_map(int fd, uint64_t size, uint64_t offset, void **ret);
void pl_shared_unmap(void *address, uint64_t size);

/* Bytes of the file system. */
int pl_shared_space(uint64_t *ret_free, uint64_t *ret_total);

/* Opens the file with this identity that a process has open, as descriptor `number` or, if it has been moved, another.
 * -EACCES: the kernel does not let this process look there. -EBADF: it is not open there. */
int pl_shared_borrow(int pid, int number, uint64_t device, uint64_t inode);

#endif
