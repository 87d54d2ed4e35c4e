/* What a process and its zygote say to each other, over a socket that keeps messages apart. */
#ifndef PL_WORKER_ZYGOTE_H
#define PL_WORKER_ZYGOTE_H

#include <stdint.h>

enum {
    PL_ZYGOTE_FDS = 200, /* descriptors that one request may bring */
    PL_ZYGOTE_OWN_FDS =
        4, /* of these: the standard streams, as far as they are open, and the working directory */
    PL_ZYGOTE_HAS_CWD = 8, /* after the bits of the three streams */
};

/* Makes a process. Descriptors come along: those that `brings` has bits for, then n_fds others. */
struct pl_zygote_request {
    uint64_t meant;    /* the entry's life */
    uint32_t slot;     /* its index */
    uint32_t detached; /* not to be tied to the lifeline */
    uint32_t brings;   /* bits 0..2: standard streams; PL_ZYGOTE_HAS_CWD */
    uint32_t n_fds;
    int32_t places
        [PL_ZYGOTE_FDS -
         PL_ZYGOTE_OWN_FDS]; /* the number each of the others is to have; only n_fds are sent */
};

/* The answer: 0 or the error; once unasked for, at the start: it is ready, and how it forks. */
enum { PL_ZYGOTE_FORKS_TWICE = 1 };
struct pl_zygote_answer {
    int32_t rc;
};

#endif
