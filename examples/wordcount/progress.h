/* progress - what the caller does while the workers count: draws a bar, kills one of them if asked. */
#ifndef WORDCOUNT_PROGRESS_H
#define WORDCOUNT_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Workers of the pool are called this and a number. */
#define WORKER_NAME "count"

struct progress {
    const uint64_t *work; /* of the first i files together, in bytes; n + 1 entries */
    bool draw;            /* stands the bar on a terminal? */
    bool kill_one;        /* to do */
};

/* For plait_map_call.progress; `progress` is a struct progress. */
void progress_step(size_t done, size_t n, void *progress);

/* Wipes the bar away. */
void progress_end(const struct progress *progress);

#endif
