/* options - what the command line asks for. */
#ifndef WORDCOUNT_OPTIONS_H
#define WORDCOUNT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

enum {
    OPTIONS_GO_ON = -1, /* else the exit status: nothing more is to be done */
    EXIT_USAGE = 2,
};

struct options {
    int kind;    /* PLAIT_THREAD or PLAIT_PROCESS */
    int workers; /* 1 or more */
    int top;     /* how many words to print */
    int retries;
    bool kill_one, json;
    char **names; /* files and folders, as given */
    size_t n_names;
};

/* Fills *ret. Prints the help or what is wrong. */
int options_parse(struct options *ret, int argc, char **argv);

#endif
