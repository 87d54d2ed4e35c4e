/* report - the result, for people and for programs. */
#ifndef WORDCOUNT_REPORT_H
#define WORDCOUNT_REPORT_H

#include "merge.h"
#include "options.h"
#include "walk.h"

#include <plait/plait.h>

struct summary {
    double seconds; /* for everything but the report */
    size_t files;   /* that were counted */
    uint64_t bytes; /* of text, after unpacking */
    uint64_t words; /* repetitions included */
    uint64_t distinct;
    uint64_t fingerprint; /* of every word and its count */
    struct files unreadable;
    struct files failed; /* what should have been counted and was not */
    size_t deaths, retried;
    plait_blame blame;          /* the last worker that died, if any did */
    const struct merged *parts; /* PARTS of them */
};

/* Adds up words, distinct words and the fingerprint. */
void report_add_up(struct summary *summary);

/* Prints all of it: the result on stdout, what could not be read on stderr. 0, or PLAIT_ENOMEM. */
int report_print(const struct summary *summary, const struct options *options);

#endif
