/* The three standard streams: files and pipes made by the starter. */
#include "program/program_internal.h"

#include "port/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <plait/file.h>
#include <unistd.h>

static const plait_stream_spec *spec_of(const plait_program_options *o, int i)
{
    return i == 0 ? &o->in : i == 1 ? &o->out : &o->err;
}

static int refuse(plait_process_failure *failure, const char *about)
{
    return pl_process_failed(failure, PLAIT_EINVAL, PLAIT_STEP_ARGUMENTS, 0, about);
}

int pl_streams_check(const plait_program_options *o, plait_process_failure *failure)
{
    for (int i = 0; i < PL_STREAMS; i++) {
        const plait_stream_spec *spec = spec_of(o, i);
        if (spec->kind < PLAIT_INHERIT || spec->kind > PLAIT_MERGED ||
            (spec->kind == PLAIT_MERGED && i != 2))
            return refuse(failure, "kind of a stream");
        if (spec->kind == PLAIT_FILE && !spec->path)
            return refuse(failure, "PLAIT_FILE without .path");
        if (spec->kind == PLAIT_FD && (spec->fd < 0 || fcntl(spec->fd, F_GETFD) < 0))
            return pl_process_failed(failure, PLAIT_EBADF, PLAIT_STEP_STREAMS, EBADF, NULL);
    }
    return o->pipe_size < 0 ? refuse(failure, "pipe_size") : 0;
}

static int open_file(const plait_stream_spec *spec, bool reads)
{
    if (spec->kind != PLAIT_FILE) { /* does not block, nor need a helper thread */
        int null = open("/dev/null", (reads ? O_RDONLY : O_WRONLY) | O_CLOEXEC);
        null = null < 0 ? -errno : pl_descriptor_above_streams(null);
        return null < 0 ? pl_start_error(-null) : null;
    }
    int flags = reads ? O_RDONLY : O_WRONLY | O_CREAT | (spec->append ? O_APPEND : O_TRUNC);
    int fd = plait_open(spec->path, flags, 0666, PLAIT_FOREVER);
    int moved = fd < 0 ? fd : pl_descriptor_above_streams(fd);
    return fd >= 0 && moved < 0 ? PLAIT_EMFILE : moved;
}

/* What the child gets, as far as it is there already. 0, or a code. */
static int open_one(struct pl_streams *streams, const plait_program_options *o, int i)
{
    const plait_stream_spec *spec = spec_of(o, i);
    switch (spec->kind) {
    case PLAIT_PIPE:
    case PLAIT_MERGED:
        return 0;
    case PLAIT_FD:
        streams->child[i] = spec->fd;
        return 0;
    case PLAIT_INHERIT:
        if (fcntl(i, F_GETFD) < 0)
            break;
        streams->child[i] = i;
        return 0;
    default:
        break;
    }
    int fd = open_file(spec, i == 0);
    if (fd < 0)
        return fd;
    streams->child[i] = streams->to_close[i] = fd;
    return 0;
}

int pl_streams_open_files(struct pl_streams *streams, const plait_program_options *o,
                          plait_process_failure *failure)
{
    for (int i = 0; i < PL_STREAMS; i++) {
        int rc = streams->given & 1U << i ? 0 : open_one(streams, o, i);
        if (rc < 0) {
            pl_streams_close_all(streams);
            return pl_process_failed(failure, rc, PLAIT_STEP_STREAMS, rc > -4000 ? -rc : 0,
                                     spec_of(o, i)->path);
        }
    }
    return 0;
}

int pl_pipe(int ends[2], int size)
{
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    int error = 0;
    if (size > 0 && fcntl(ends[0], F_SETPIPE_SZ, size) < 0)
        error = -errno;
    for (int i = 0; i < 2; i++) {
        ends[i] = pl_descriptor_above_streams(ends[i]);
        if (ends[i] < 0)
            error = ends[i];
    }
    for (int i = 0; i < 2 && error; i++)
        pl_close_fd(ends[i]);
    return error;
}

int pl_streams_make_pipes(struct pl_streams *streams, const plait_program_options *o,
                          plait_process_failure *failure)
{
    int ends[2];
    for (int i = 0; i < PL_STREAMS; i++) {
        if (spec_of(o, i)->kind == PLAIT_MERGED)
            streams->child[i] = streams->child[1];
        if (spec_of(o, i)->kind != PLAIT_PIPE)
            continue;
        int rc = pl_pipe(ends, o->pipe_size);
        if (rc < 0) {
            pl_streams_close_all(streams);
            return pl_process_failed(failure, pl_start_error(-rc), PLAIT_STEP_STREAMS, -rc, NULL);
        }
        streams->child[i] = streams->to_close[i] = ends[i != 0];
        streams->ours[i] = ends[i == 0];
    }
    return 0;
}

void pl_streams_close_childs(struct pl_streams *streams)
{
    for (int i = 0; i < PL_STREAMS; i++) {
        pl_close_fd(streams->to_close[i]);
        streams->to_close[i] = -1;
    }
}

void pl_streams_close_all(struct pl_streams *streams)
{
    pl_streams_close_childs(streams);
    for (int i = 0; i < PL_STREAMS; i++) {
        pl_close_fd(streams->ours[i]);
        streams->ours[i] = -1;
    }
}
