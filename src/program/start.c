/* Starting a program: everything is had before the child is made, so that nothing can fail after. */
#include "program/program_internal.h"

#include "base/atomic.h"
#include "worker/worker_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* All that a start needs, for one program. */
struct launch {
    const plait_program_options *options;
    const char *const *argv;
    plait_program *program;
    struct pl_child_setup setup;
    struct pl_streams streams;
    struct pl_lifeline lifeline;
    char **paths, **arguments, **shell_arguments; /* blocks */
    plait_process_failure failure;
};

static int fail(struct launch *l, int code, int step, int error, const char *path)
{
    return pl_process_failed(&l->failure, code, step, error, path);
}

/* The program's arguments: of a script, "/bin/sh -c" before them. */
static int make_arguments(struct launch *l)
{
    size_t n = 0, shift = l->options->shell ? 2 : 0;
    while (l->argv[n])
        n++;
    l->arguments = malloc((n + shift + 1) * sizeof *l->arguments);
    l->shell_arguments = malloc((n + shift + 3) * sizeof *l->shell_arguments);
    if (!l->arguments || !l->shell_arguments)
        return fail(l, PLAIT_ENOMEM, PLAIT_STEP_ARGUMENTS, ENOMEM, NULL);
    if (shift) {
        const char *shell = l->options->executable ? l->options->executable : "/bin/sh";
        l->arguments[0] = (char *)(uintptr_t)shell;
        l->arguments[1] = (char *)(uintptr_t) "-c";
    }
    memcpy(l->arguments + shift, l->argv, (n + 1) * sizeof *l->arguments);
    return 0;
}

static int make_paths(struct launch *l)
{
    const char *name = l->options->executable ? l->options->executable
                       : l->options->shell    ? "/bin/sh"
                                              : l->argv[0];
    l->paths = pl_program_paths(name, l->setup.env ? l->setup.env : environ);
    return l->paths ? 0 : fail(l, PLAIT_ENOMEM, PLAIT_STEP_ARGUMENTS, ENOMEM, NULL);
}

static int check(struct launch *l)
{
    const plait_program_options *o = l->options;
    if (!l->argv || !l->argv[0])
        return fail(l, PLAIT_EINVAL, PLAIT_STEP_ARGUMENTS, 0, "argv");
    if ((o->n_fds && !o->fds) || (o->n_moves && !o->moves))
        return fail(l, PLAIT_EINVAL, PLAIT_STEP_ARGUMENTS, 0, "a count without a list");
    return pl_streams_check(o, &l->failure);
}

static int add_move(struct launch *l, int from, int to)
{
    if (from < 0 || fcntl(from, F_GETFD) < 0)
        return fail(l, PLAIT_EBADF, PLAIT_STEP_DESCRIPTORS, EBADF, NULL);
    int rc = pl_child_setup_move(&l->setup, from, to);
    return rc < 0 ? fail(l, rc, PLAIT_STEP_ARGUMENTS, 0, "descriptors") : 0;
}

/* A standard number among those passed is meant to be the stream, if that is only inherited. */
static int add_passed(struct launch *l, int from, int to)
{
    const plait_program_options *o = l->options;
    const int kinds[] = {o->in.kind, o->out.kind, o->err.kind};
    if (to < 0 || to >= PL_STREAMS)
        return add_move(l, from, to);
    if (kinds[to] != PLAIT_INHERIT || fcntl(from, F_GETFD) < 0)
        return add_move(l, from, kinds[to] != PLAIT_INHERIT ? -1 : to);
    l->streams.child[to] = from;
    return 0;
}

static int add_all_passed(struct launch *l)
{
    const plait_program_options *o = l->options;
    int rc = 0;
    for (size_t i = 0; i < o->n_fds && rc == 0; i++)
        rc = add_passed(l, o->fds[i], o->fds[i]);
    for (size_t i = 0; i < o->n_moves && rc == 0; i++)
        rc = add_passed(l, o->moves[i].from, o->moves[i].to);
    return rc;
}

static plait_program *new_program(const struct launch *l)
{
    plait_program *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->pid = -1;
    p->pidfd = -1;
    p->forks = pl_forks;
    p->detached = l->options->detach;
    p->leads = l->setup.new_session || l->setup.new_group;
    p->subreaper = l->setup.subreaper;
    pthread_mutex_init(&p->lock, NULL);
    pl_exchange_init(&p->exchange, &p->streams[0], &p->streams[1], &p->streams[2],
                     l->options->limit);
    return p;
}

/* Before the gate: what takes time, or locks. */
static int prepare(struct launch *l)
{
    int rc = check(l);
    if (rc == 0)
        rc = pl_child_setup_make(&l->setup, l->options->process, &l->failure);
    if (rc < 0)
        return rc;
    l->setup.callback = l->options->before_exec;
    l->setup.argument = l->options->before_exec_arg;
    rc = make_arguments(l);
    if (rc == 0)
        rc = make_paths(l);
    if (rc == 0 && !(l->program = new_program(l)))
        rc = fail(l, PLAIT_ENOMEM, PLAIT_STEP_ARGUMENTS, ENOMEM, NULL);
    if (rc == 0 && !l->options->detach) {
        rc = pl_process_lifeline(&l->lifeline);
        if (rc < 0)
            fail(l, rc, PLAIT_STEP_TIE, EMFILE, NULL);
    }
    if (rc == 0)
        rc = pl_streams_open_files(&l->streams, l->options, &l->failure);
    return rc == 0 ? add_all_passed(l) : rc;
}

/* The starter's ends, as streams: the descriptors are theirs then. */
static int make_streams(struct launch *l)
{
    for (int i = 0; i < PL_STREAMS; i++) {
        int fd = l->streams.ours[i];
        l->streams.ours[i] = -1;
        int rc = fd < 0 ? 0 : pl_stream_new(&l->program->streams[i], fd, 0);
        if (rc < 0)
            return fail(l, rc, PLAIT_STEP_STREAMS, ENOMEM, NULL);
    }
    return 0;
}

static int spawn(struct launch *l)
{
    struct pl_spawned spawned;
    int step, path;
    struct pl_spawn what = {
        .paths = l->paths,
        .argv = l->arguments,
        .env = l->setup.env ? l->setup.env : environ,
        .shell_argv = l->shell_arguments,
        .setup = &l->setup,
    };
    int rc = pl_child_spawn(&what, &spawned, &step, &path);
    if (rc < 0) {
        const plait_process_options *o = l->options->process;
        const char *about = step == PLAIT_STEP_EXEC     ? l->paths[path]
                            : step == PLAIT_STEP_CWD    ? o->cwd
                            : step == PLAIT_STEP_CGROUP ? o->cgroup
                                                        : NULL;
        /* Not found anywhere: what was asked for says more than the first place it was looked for. */
        if (step == PLAIT_STEP_EXEC && rc == -ENOENT && path == 0)
            about = l->options->executable ? l->options->executable : l->arguments[0];
        return fail(l, pl_start_error(-rc), step, -rc, about);
    }
    l->program->pid = spawned.pid;
    l->program->pidfd = spawned.pidfd;
    return 0;
}

static int launch(struct launch *l)
{
    int rc = pl_streams_make_pipes(&l->streams, l->options, &l->failure);
    if (rc == 0)
        rc = make_streams(l);
    for (int i = 0; i < PL_STREAMS && rc == 0; i++)
        rc = add_move(l, l->streams.child[i], i);
    if (rc == 0 && pl_child_setup_seal(&l->setup, l->options->detach ? NULL : &l->lifeline) < 0)
        rc = fail(l, PLAIT_ENOMEM, PLAIT_STEP_ARGUMENTS, ENOMEM, NULL);
    if (rc == 0)
        rc = spawn(l);
    pl_streams_close_childs(&l->streams);
    return rc;
}

static void clean_up(struct launch *l, int rc)
{
    pl_streams_close_all(&l->streams);
    if (rc < 0)
        plait_program_close(l->program);
    pl_child_setup_free(&l->setup);
    free(l->paths);
    free(l->arguments);
    free(l->shell_arguments);
}

/* The pipe that all write their errors to. */
static int make_shared_errors(struct launch *l, int n, int ends[2])
{
    int rc = pl_pipe(ends, l->options->pipe_size);
    if (rc < 0) {
        ends[0] = ends[1] = -1;
        return fail(l, pl_start_error(-rc), PLAIT_STEP_STREAMS, -rc, NULL);
    }
    for (int i = 0; i < n; i++)
        l[i].streams.child[2] = ends[1];
    return 0;
}

/* Each with a pipe from the one before. */
static int launch_chain(struct launch *l, int n)
{
    int rc = 0, before = -1;
    for (int i = 0; i < n && rc == 0; i++) {
        int between[2] = {-1, -1};
        int error = i < n - 1 ? -pl_pipe(between, l[i].options->pipe_size) : 0;
        if (i > 0)
            l[i].streams.child[0] = before;
        if (i < n - 1)
            l[i].streams.child[1] = between[1];
        rc = error ? fail(&l[i], pl_start_error(error), PLAIT_STEP_STREAMS, error, NULL)
                   : launch(&l[i]);
        pl_close_fd(before);
        if (!error)
            pl_close_fd(between[1]);
        before = error ? -1 : between[0];
    }
    pl_close_fd(before);
    return rc;
}

/* Behind the gate. */
static int launch_all(struct launch *l, int n, plait_stream **errors)
{
    int ends[2] = {-1, -1};
    int rc = errors ? make_shared_errors(l, n, ends) : 0;
    if (rc == 0)
        rc = launch_chain(l, n);
    pl_close_fd(ends[1]);
    if (!errors || ends[0] < 0)
        return rc;
    int made = pl_stream_new(errors, ends[0], 0);
    return rc < 0 ? rc : made < 0 ? fail(l, made, PLAIT_STEP_STREAMS, ENOMEM, NULL) : 0;
}

static int start_all(struct launch *l, int n, plait_stream **errors)
{
    int rc = 0;
    pl_program_reap_forgotten();
    for (int i = 0; i < n && rc == 0; i++)
        rc = prepare(&l[i]);
    if (rc == 0) {
        pl_gate_enter();
        rc = launch_all(l, n, errors);
        pl_gate_leave();
    }
    for (int i = 0; i < n; i++)
        clean_up(&l[i], rc);
    return rc;
}

static void tell_failure(const struct launch *l, int n)
{
    while (n > 1 && l->failure.code == 0) {
        l++;
        n--;
    }
    if (l->options->failure)
        *l->options->failure = l->failure;
}

static struct launch launch_of(const char *const *argv, const plait_program_options *options)
{
    return (struct launch){
        .options = options,
        .argv = argv,
        .setup = {.highest = 2},
        .streams = {{-1, -1, -1}, {-1, -1, -1}, {-1, -1, -1}, 0},
    };
}

static const plait_program_options defaults;

int plait_program_start(plait_program **ret, const char *const *argv,
                        const plait_program_options *options)
{
    if (!ret)
        return PLAIT_EINVAL;
    int saved = errno;
    struct launch l = launch_of(argv, options ? options : &defaults);
    int rc = start_all(&l, 1, NULL);
    if (rc == 0)
        *ret = l.program;
    else
        tell_failure(&l, 1);
    errno = saved;
    return rc;
}

/* What is between two of them, and what they share, is made behind the gate. */
static plait_program_options options_of_stage(const plait_program_options *options, int i, int n,
                                              bool shares_errors, unsigned *ret_given)
{
    plait_program_options o = *options;
    *ret_given = (i > 0 ? 1U : 0) | (i < n - 1 ? 2U : 0) | (shares_errors ? 4U : 0);
    if (i > 0)
        o.in = (plait_stream_spec){0};
    if (i < n - 1)
        o.out = (plait_stream_spec){0};
    if (shares_errors)
        o.err = (plait_stream_spec){0};
    return o;
}

int pl_pipeline_start(plait_program **ret, const char *const *const *argvs, int n,
                      const plait_program_options *options, plait_stream **errors)
{
    int saved = errno, rc = PLAIT_ENOMEM;
    struct launch *l = calloc((size_t)n, sizeof *l);
    plait_program_options *o = calloc((size_t)n, sizeof *o);
    for (int i = 0; l && o && i < n; i++) {
        unsigned given;
        o[i] = options_of_stage(options, i, n, errors != NULL, &given);
        l[i] = launch_of(argvs[i], &o[i]);
        l[i].streams.given = given;
    }
    if (l && o) {
        rc = start_all(l, n, errors);
        for (int i = 0; i < n && rc == 0; i++)
            ret[i] = l[i].program;
        if (rc < 0)
            tell_failure(l, n);
    }
    free(l);
    free(o);
    errno = saved;
    return rc;
}

int plait_program_start_pipeline(plait_program **ret, const char *const *const *argvs, int n,
                                 const plait_program_options *options)
{
    if (!ret || !argvs || n < 1)
        return PLAIT_EINVAL;
    return pl_pipeline_start(ret, argvs, n, options ? options : &defaults, NULL);
}

/* --- streams, giving up --- */

static plait_stream *stream_of(plait_program *program, int i)
{
    return program ? program->streams[i] : NULL;
}

plait_stream *plait_program_in(plait_program *program)
{
    return stream_of(program, 0);
}

plait_stream *plait_program_out(plait_program *program)
{
    return stream_of(program, 1);
}

plait_stream *plait_program_err(plait_program *program)
{
    return stream_of(program, 2);
}

int plait_program_close_in(plait_program *program)
{
    if (!program)
        return PLAIT_EINVAL;
    if (program->forks != pl_forks)
        return PLAIT_ECHILD;
    plait_stream_close(program->streams[0]);
    program->streams[0] = NULL;
    return 0;
}

int plait_program_pid(const plait_program *program)
{
    return program ? (int)program->pid : PLAIT_EINVAL;
}

int plait_program_fd(const plait_program *program)
{
    if (!program)
        return PLAIT_EINVAL;
    return program->pidfd >= 0 ? program->pidfd : PLAIT_ENOTSUP;
}

static void free_program(plait_program *program)
{
    for (int i = 0; i < PL_STREAMS; i++)
        plait_stream_close(program->streams[i]);
    pl_exchange_free(&program->exchange);
    pl_close_fd(program->pidfd);
    pthread_mutex_destroy(&program->lock);
    free(program);
}

int plait_program_close(plait_program *program)
{
    if (!program)
        return 0;
    int saved = errno;
    bool started = program->pid > 0 && program->forks == pl_forks;
    if (started && plait_program_poll(program, NULL) == PLAIT_EBUSY) {
        if (program->detached) {
            pl_program_forget(program->pid, program->pidfd);
            program->pidfd = -1;
        } else {
            pl_program_destroy(program);
        }
    }
    free_program(program);
    errno = saved;
    return 0;
}
