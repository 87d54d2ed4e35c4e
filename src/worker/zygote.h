/* What a process and its zygote say to each other, over a socket that keeps messages apart. */
#ifndef PL_WORKER_ZYGOTE_H
#define PL_WORKER_ZYGOTE_H

#include <stdint.h>

enum {
    PL_ZYGOTE_FDS = 200, /* descriptors that one request may bring */
    PL_ZYGOTE_OWN_FDS =
        5, /* of these: the standard streams, as far as they are open, the working directory, the report */
    PL_ZYGOTE_HAS_CWD = 8,     /* after the bits of the three streams */
    PL_ZYGOTE_HAS_REPORT = 16, /* of the setup: worker/setup.h */
};

/* Makes a process. Descriptors come along: those that `brings` has bits for, then n_fds others. */
struct pl_zygote_request {
    uint64_t meant;    /* the entry's life */
    uint32_t slot;     /* its index */
    uint32_t detached; /* not to be tied to the lifeline */
    uint32_t brings;   /* bits 0..2: standard streams; PL_ZYGOTE_HAS_... */
    uint32_t n_fds;
    int32_t places
        [PL_ZYGOTE_FDS -
         PL_ZYGOTE_OWN_FDS]; /* the number each of the others is to have; only n_fds are sent */
};

/* The answer: 0 or the error; unasked for, at the start: it has come to plait_init and goes on to the preload hook; then that it is
 * ready, and how it forks. */
enum { PL_ZYGOTE_FORKS_TWICE = 1, PL_ZYGOTE_PRELOADS = 2 };
struct pl_zygote_answer {
    int32_t rc;
    int32_t pid; /* of the process */
};

#endif
