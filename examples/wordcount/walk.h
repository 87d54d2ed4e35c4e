/* walk - from the command line's names to the files to count. */
#ifndef WORDCOUNT_WALK_H
#define WORDCOUNT_WALK_H

#include <stddef.h>
#include <stdint.h>

/* A file to count, or (error not 0) a name that led to none. */
struct file {
    char *path;
    uint64_t size; /* bytes on disk */
    int error;     /* as in count.h */
};

/* All zero is an empty list. */
struct files {
    struct file *array;
    size_t n, room;
};

/* Finds the files of each name. A name of a file gives that file, through symbolic links too. A name
 * of a folder gives all regular files below it; links in it are not followed, so there are no loops,
 * and pipes and devices are passed over. The largest come first, so that no worker begins a large one
 * when the others are about to finish; equals in the order of their names.
 * `found` and `unreadable` are appended to. 0, or PLAIT_ENOMEM. */
int walk(char *const *names, size_t n, struct files *found, struct files *unreadable);

/* Appends a copy of the path. 0, or PLAIT_ENOMEM. */
int files_add(struct files *files, const char *path, uint64_t size, int error);

void files_free(struct files *files);

#endif
