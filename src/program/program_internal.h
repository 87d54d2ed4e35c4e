/* Shared by the files of this folder. */
#ifndef PL_PROGRAM_INTERNAL_H
#define PL_PROGRAM_INTERNAL_H

#include "io/io.h"
#include "port/child.h"

#include <plait/program.h>
#include <pthread.h>

enum { PL_STREAMS = 3 };

/* What was read of an output. The one worker that communicates */
struct pl_buffer {
    char *bytes; /* with room for a zero byte more; NULL: nothing yet */
    size_t size, room;
};

/* Bytes to a program and from it, at once; see exchange.c. The program's whose it is, or a pipeline's. */
struct pl_exchange {
    plait_stream **in;
    plait_stream **from[2]; /* out, err */
    struct pl_buffer to[2];
    const char *input;
    size_t size, written; /* of input */
    bool begun;
    size_t limit; /* of each buffer */
    int epoll;    /* -1: none */
    int on_epoll; /* streams that it watches: bits */
};

struct plait_program {
    pid_t pid;
    int pidfd;      /* -1: not to be had */
    uint32_t forks; /* pl_forks of the process that started it */
    bool detached, leads, subreaper;
    plait_stream *streams[PL_STREAMS]; /* the starter's ends; NULL: none. Under `using` */

    pthread_mutex_t lock; /* of collecting and signalling: never held while anything waits */
    uint32_t ended;       /* atomic: 1 once `end` is there; written under lock */
    plait_program_end end;

    uint32_t communicates; /* atomic: a worker does */
    struct pl_exchange exchange;
};

/* --- finding: path.c --- */

/* Where to look for a program: `name` itself if it has a slash, else in each directory of PATH as `env` has it. One block,
 * for free(); NULL: no memory. */
char **pl_program_paths(const char *name, char *const *env);

/* Whether each entry has a name and '='. */
bool pl_env_is_valid(const char *const *env);

/* The code for an errno of a start. */
int pl_start_error(int error);

/* --- forks kept away: gate.c --- */

/* Between these no other thread forks: what is open then, and meant for one program, would be in that child, too. */
void pl_gate_enter(void);
void pl_gate_leave(void);

/* --- standard streams: streams.c --- */

/* The child's ends, what is to be closed after, and the starter's. */
struct pl_streams {
    int child[PL_STREAMS]; /* to be 0, 1, 2 there; -1: nothing is there yet */
    int to_close[PL_STREAMS];
    int ours[PL_STREAMS]; /* -1: none */
    unsigned given;       /* bits of those that a pipeline provides */
};

/* Files, before the gate; then pipes. 0, or a code with *failure filled in and nothing left open. */
int pl_streams_check(const plait_program_options *options, plait_process_failure *failure);
int pl_streams_open_files(struct pl_streams *streams, const plait_program_options *options,
                          plait_process_failure *failure);
int pl_streams_make_pipes(struct pl_streams *streams, const plait_program_options *options,
                          plait_process_failure *failure);
int pl_pipe(int ends[2], int size);
void pl_streams_close_childs(struct pl_streams *streams);
void pl_streams_close_all(struct pl_streams *streams);

/* --- starting: start.c --- */

/* plait_program_start_pipeline; errors not NULL: the errors of all go to one pipe, whose stream *errors becomes, also if the
 * start fails after that was made. */
int pl_pipeline_start(plait_program **ret, const char *const *const *argvs, int n,
                      const plait_program_options *options, plait_stream **errors);

/* --- the end: end.c --- */

/* As plait_program_wait within another call. */
int pl_program_wait(plait_program *program, plait_program_end *ret, struct pl_wait *wait);

/* Collects it if it has ended, under its lock: 0, PLAIT_EBUSY. */
int pl_program_reap_locked(plait_program *program);

/* Sends a signal, under its lock, to one that is not collected. -errno. */
int pl_program_send_locked(plait_program *program, int signal);

/* Kills it with all below it and collects it. */
void pl_program_destroy(plait_program *program);

/* Notes one that nobody waits for, and collects those that have ended. */
void pl_program_forget(pid_t pid, int pidfd);
void pl_program_reap_forgotten(void);

/* --- communicating: exchange.c --- */

void pl_exchange_init(struct pl_exchange *exchange, plait_stream **in, plait_stream **out,
                      plait_stream **err, size_t limit);

/* Goes on until all is written and read. 0, PLAIT_ELIMIT, PLAIT_ETIMEDOUT, PLAIT_ECANCELED, PLAIT_ENOMEM, ... */
int pl_exchange_run(struct pl_exchange *exchange, struct pl_wait *wait);
void pl_exchange_free(struct pl_exchange *exchange);

#endif
