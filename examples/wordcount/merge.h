/* merge - the same part of many blocks to one sorted block: the workers' second task. */
#ifndef WORDCOUNT_MERGE_H
#define WORDCOUNT_MERGE_H

#include "count.h"

/* What a worker is given. All of it lies in the arena. */
struct merge_item {
    const struct result *results;
    size_t n;
    int part;
};

/* What it gives back. Lies in the arena, zeroed at first. */
struct merged {
    struct block *block; /* words of that part only, sorted; the reader's to free */
};

/* A plait_item_function from struct merge_item to struct merged. */
int merge_part(const void *item, void *merged);

#endif
