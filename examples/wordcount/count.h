/* count - one file to the words in it: what a worker does. */
#ifndef WORDCOUNT_COUNT_H
#define WORDCOUNT_COUNT_H

#include "table.h"

/* What a worker is given. The path lies in the arena. */
struct item {
    const char *path;
};

/* What it gives back. Lies in the arena, zeroed at first. */
struct result {
    struct block *block; /* the words, in the arena; the reader's to free. NULL if error */
    uint64_t bytes;      /* of text, after unpacking */
    int error;           /* 0, an errno, or one of enum count_error: this file was not counted */
    int done;            /* 1: the item ended well, be the file readable or not */
};

enum count_error {
    COUNT_NOT_REGULAR = -1, /* a folder, a pipe, a device */
    COUNT_BAD_GZIP = -2,    /* breaks off, or is damaged */
    COUNT_DIED = -3,        /* the workers who tried were killed */
};

/* A plait_item_function from struct item to struct result. A file that cannot be read to its end is
 * a result like any other; only a lack of memory is a failure. */
int count_item(const void *item, void *result);

/* The sentence for result.error. */
const char *count_why(int error);

#endif
