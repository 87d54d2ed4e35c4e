/* Files, for tasks too: the calls that may wait for a disk.
 *
 *     int fd = plait_open("notes", O_RDONLY, 0, PLAIT_FOREVER);
 *     char text[100];
 *     ssize_t n = fd < 0 ? fd : plait_pread(fd, text, sizeof text, 0, PLAIT_FOREVER);
 *
 * A file is always "ready", so it cannot be waited for; reading it blocks the thread. In a thread or process these calls are the system's, and timeouts are only
 * checked to be valid. In a task a helper thread makes them (to_thread.h) while other tasks of the thread
 * run; then timeout and cancellation work, the call itself runs on, and a write may or may not have happened.
 * Descriptors are plain ones, closed with close(2).
 * Python's counterpart: open, os.pread, os.pwrite, os.fsync in asyncio.to_thread. */
#ifndef PLAIT_FILE_H
#define PLAIT_FILE_H

#include <plait/clock.h>
#include <plait/error.h>
#include <stddef.h>
#include <sys/types.h>

PLAIT_BEGIN_DECLS

/* Each of these: Returns a negative code if it failed: what the system says (PLAIT_ENOENT, PLAIT_EACCES, PLAIT_EEXIST, PLAIT_EBADF, PLAIT_EMFILE,
 * ..., PLAIT_EIO for what has no code), PLAIT_EINVAL (NULL, negative), PLAIT_EOVERFLOW; in tasks also
 * PLAIT_ETIMEDOUT, PLAIT_ECANCELED, PLAIT_EAGAIN (no helper), PLAIT_ENOMEM. Blocks: yes. Who: threads, processes, tasks; after fork, yes. */

/* Opens a file, closed on exec; flags and mode as open(2). Returns: the descriptor. */
PLAIT_API int plait_open(const char *path, int flags, int mode, int64_t timeout);

/* Reads or writes at an offset. Returns: how many bytes; a read's 0 is the end; fewer than asked is no error. */
PLAIT_API ssize_t plait_pread(int fd, void *buffer, size_t size, int64_t offset, int64_t timeout);
PLAIT_API ssize_t plait_pwrite(int fd, const void *bytes, size_t size, int64_t offset,
                               int64_t timeout);

/* Waits until what was written is on the disk. Returns: 0. */
PLAIT_API int plait_fsync(int fd, int64_t timeout);

PLAIT_END_DECLS
#endif
