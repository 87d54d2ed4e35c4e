/* Memory from the kernel: a nameless file that many processes map, reserved page by page. */
#ifndef PL_PORT_MEMORY_H
#define PL_PORT_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Moves a descriptor that has just been made out of the way of the standard streams, which a program
 * may have closed: what is printed to them must not end up in it. The descriptor to use, or -errno. */
int pl_descriptor_above_streams(int fd);

/* A nameless, close-on-exec shared file of `size` bytes without pages. The descriptor, or a
 * negative errno. Never raises SIGXFSZ. */
int pl_memory_file(uint64_t size);

/* Maps `size` bytes of `fd` shared, exactly at `place`; left out of core dumps. 0; -EEXIST if the place is taken; else a
 * negative errno. */
int pl_memory_map(int fd, void *place, uint64_t size);

/* Makes [start, start + len) of a shared mapping present and writable, so that touching it cannot
 * raise SIGBUS. Keeps what is there. 0, or -ENOMEM. `fd` is the mapped file and `offset` its
 * position there, used on kernels without MADV_POPULATE_WRITE (before 5.14). */
int pl_memory_back(void *start, uint64_t len, int fd, uint64_t offset);

/* Gives the pages of a shared mapping back to the kernel; they read as zero after. */
void pl_memory_unback(void *start, uint64_t len);

/* Reads a word of this process that may be unmapped by now. False then. */
bool pl_memory_peek(const uint32_t *word, uint32_t *ret);

/* Tests: behave as a kernel without MADV_POPULATE_WRITE. */
void pl_memory_forget_populate(void);

#endif
