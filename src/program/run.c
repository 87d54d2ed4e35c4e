/* Running programs to their end: start, exchange, end, each within what is left of the time. What began is ended in any case,
 * with all below it, and what was read is the caller's. */
#include "program/program_internal.h"

#include "base/atomic.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct run {
    int n;
    plait_program **programs;
    plait_program_end *ends;
    plait_process_options process;
    plait_program_options options;
    struct pl_exchange exchange; /* from the first to the last */
    plait_stream *errors;        /* of all; NULL: none, or one program's, which has it itself */
};

static const plait_run_options defaults;

static int check(const plait_run_options *o)
{
    const plait_program_options *p = &o->program;
    bool has_input = o->has_input || o->input_size > 0;
    if ((!o->input && o->input_size > 0) || (has_input && p->in.kind != PLAIT_INHERIT))
        return PLAIT_EINVAL;
    if (o->capture && (p->out.kind != PLAIT_INHERIT || p->err.kind != PLAIT_INHERIT))
        return PLAIT_EINVAL;
    return p->detach ? PLAIT_EINVAL : 0;
}

static void prepare(struct run *run, const plait_run_options *o, plait_process_failure *failure)
{
    run->options = o->program;
    if (o->program.process)
        run->process = *o->program.process;
    run->process.subreaper = true;
    run->options.process = &run->process;
    run->options.failure = failure;
    if (o->has_input || o->input_size > 0)
        run->options.in.kind = PLAIT_PIPE;
    if (o->capture)
        run->options.out.kind = run->options.err.kind = PLAIT_PIPE;
}

/* Ends what still runs; the first failure counts. */
static void end_all(struct run *run)
{
    for (int i = 0; i < run->n; i++)
        if (plait_program_poll(run->programs[i], NULL) == PLAIT_EBUSY)
            pl_program_destroy(run->programs[i]);
}

/* Takes over what was read, as the result's own. */
static char *take(struct pl_buffer *buffer, size_t *ret_size)
{
    char *bytes = buffer->bytes ? buffer->bytes : malloc(1);
    *ret_size = bytes && buffer->bytes ? buffer->size : 0;
    if (bytes)
        bytes[*ret_size] = 0;
    *buffer = (struct pl_buffer){0};
    return bytes;
}

static int wait_all(struct run *run, struct pl_wait *wait)
{
    int result = 0;
    for (int i = 0; i < run->n; i++) {
        int rc = pl_program_wait(run->programs[i], NULL, wait);
        if (rc < 0 && rc != PLAIT_ENOSTATUS)
            return rc;
        result = rc < 0 ? rc : result;
    }
    return result;
}

static int check_status(const struct run *run)
{
    for (int i = 0; i < run->n; i++) {
        bool cut_off = i < run->n - 1 && run->ends[i].signal == SIGPIPE;
        if (run->ends[i].status != 0 && !cut_off)
            return PLAIT_ESTATUS;
    }
    return 0;
}

/* The programs run. */
static int see_through(struct run *run, const plait_run_options *o, plait_run_result *ret,
                       struct pl_wait *wait)
{
    struct pl_exchange *x = &run->exchange;
    plait_program *last = run->programs[run->n - 1];
    pl_exchange_init(x, &run->programs[0]->streams[0], &last->streams[1],
                     run->n > 1 ? &run->errors : &last->streams[2], run->options.limit);
    x->input = o->input;
    x->size = o->input_size;
    x->begun = true;
    int rc = pl_exchange_run(x, wait);
    if (rc == 0)
        rc = wait_all(run, wait);
    if (rc < 0 && rc != PLAIT_ENOSTATUS)
        end_all(run);
    for (int i = 0; i < run->n; i++)
        plait_program_poll(run->programs[i], &run->ends[i]);
    ret->end = run->ends[run->n - 1];
    ret->out = take(&x->to[0], &ret->out_size);
    ret->err = take(&x->to[1], &ret->err_size);
    pl_exchange_free(x);
    if (rc == 0 && (!ret->out || !ret->err))
        rc = PLAIT_ENOMEM;
    return rc == 0 && o->check ? check_status(run) : rc;
}

static int run_all(struct run *run, const char *const *const *argvs, const plait_run_options *o,
                   plait_run_result *ret, struct pl_wait *wait)
{
    int rc = check(o);
    if (rc < 0)
        return pl_process_failed(&ret->failure, rc, PLAIT_STEP_ARGUMENTS, 0,
                                 "options that exclude each other");
    prepare(run, o, &ret->failure);
    bool shares = run->n > 1 && run->options.err.kind == PLAIT_PIPE;
    rc = pl_pipeline_start(run->programs, argvs, run->n, &run->options,
                           shares ? &run->errors : NULL);
    if (rc == 0)
        rc = see_through(run, o, ret, wait);
    for (int i = 0; i < run->n; i++)
        plait_program_close(run->programs[i]);
    plait_stream_close(run->errors);
    return rc;
}

int plait_run_pipeline(const char *const *const *argvs, int n, const plait_run_options *options,
                       plait_run_result *ret, plait_program_end *ends, int64_t timeout)
{
    struct pl_wait wait;
    if (!ret)
        return PLAIT_EINVAL;
    *ret = (plait_run_result){0};
    int rc = !argvs || n < 1 ? PLAIT_EINVAL : pl_wait_begin(&wait, PL_WAIT_FD, timeout);
    int saved = errno;
    struct run run = {.n = n};
    if (rc == 0) {
        run.programs = calloc((size_t)n, sizeof(plait_program *));
        run.ends = calloc((size_t)n, sizeof *run.ends);
        rc = run.programs && run.ends
                 ? run_all(&run, argvs, options ? options : &defaults, ret, &wait)
                 : PLAIT_ENOMEM;
    }
    if (ends && run.ends && ret->end.pid)
        memcpy(ends, run.ends, (size_t)n * sizeof *ends);
    free(run.programs);
    free(run.ends);
    if (!ret->out)
        ret->out = calloc(1, 1);
    if (!ret->err)
        ret->err = calloc(1, 1);
    errno = saved;
    return rc;
}

int plait_run_program(const char *const *argv, const plait_run_options *options,
                      plait_run_result *ret, int64_t timeout)
{
    return plait_run_pipeline(&argv, 1, options, ret, NULL, timeout);
}

void plait_run_free(plait_run_result *result)
{
    if (!result)
        return;
    free(result->out);
    free(result->err);
    *result = (plait_run_result){0};
}

int plait_shell_output(const char *command, char **ret, int64_t timeout)
{
    if (!command || !ret)
        return PLAIT_EINVAL;
    plait_run_result result;
    const char *const argv[] = {command, NULL};
    plait_run_options o = {
        .program = {.shell = true, .out = {.kind = PLAIT_PIPE}, .err = {.kind = PLAIT_MERGED}}};
    int rc = plait_run_program(argv, &o, &result, timeout);
    *ret = result.out;
    result.out = NULL;
    if (*ret && result.out_size > 0 && (*ret)[result.out_size - 1] == '\n')
        (*ret)[result.out_size - 1] = 0;
    if (rc == 0)
        rc = result.end.signal ? PLAIT_EDIED : result.end.status;
    plait_run_free(&result);
    return rc;
}
