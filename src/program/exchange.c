/* Bytes to a program and from it, at once.
 *
 * Naive: write the input, then read one output, then the other. Its deadlock: the program writes more than a pipe holds while we still
 * write, or into the pipe that we do not read yet; both wait for ever. Cure: whatever can go on goes on, and only when
 * nothing can, the worker waits, for all pipes together: an epoll that it waits for like for any descriptor, so that in a task
 * others run. With one pipe left the wait is for that. Facts:
 *   1 what was read is in the buffers at any time, what was written is counted: a call that ends early loses nothing;
 *   2 a pipe that is at its end is closed and not looked at again;
 *   3 at the limit the kernel is asked whether there is more, and nothing of it is read: it is still in the pipe. */
#include "program/program_internal.h"

#include "base/atomic.h"
#include "base/clock.h"
#include "io/stream.h"
#include "port/memory.h"

#include <errno.h>
#include <plait/task.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { ROOM_FIRST = 64 * 1024, PIECE = 64 * 1024, NAP = 2 * 1000 * 1000, AGAIN = 1 };

void pl_exchange_init(struct pl_exchange *x, plait_stream **in, plait_stream **out,
                      plait_stream **err, size_t limit)
{
    *x = (struct pl_exchange){
        .in = in, .from = {out, err}, .limit = limit ? limit : SIZE_MAX, .epoll = -1};
}

void pl_exchange_free(struct pl_exchange *x)
{
    pl_close_fd(x->epoll);
    free(x->to[0].bytes);
    free(x->to[1].bytes);
}

static void finish(plait_stream **stream)
{
    plait_stream_close(*stream);
    *stream = NULL;
}

/* --- one step of each --- */

/* Room for more, at most to the limit: bytes; 0: the limit is reached; PLAIT_ENOMEM. */
static ssize_t make_room(struct pl_buffer *b, size_t limit)
{
    if (b->size >= limit)
        return 0;
    if (b->size == b->room) {
        size_t room = b->room ? b->room * 2 : ROOM_FIRST;
        if (room > limit)
            room = limit;
        char *bytes = room < PTRDIFF_MAX ? realloc(b->bytes, room + 1) : NULL;
        if (!bytes)
            return PLAIT_ENOMEM;
        b->bytes = bytes;
        b->room = room;
    }
    return (ssize_t)(b->room - b->size);
}

/* Fact 3. AGAIN: nothing now; 0: the end; PLAIT_ELIMIT. */
static int look_beyond(plait_stream *stream)
{
    int waiting = 0, fd = plait_stream_fd(stream);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (stream->begin != stream->end)
        return PLAIT_ELIMIT;
    if (poll(&p, 1, 0) != 1)
        return AGAIN;
    return ioctl(fd, FIONREAD, &waiting) == 0 && waiting > 0 ? PLAIT_ELIMIT : 0;
}

/* Reads what there is. AGAIN: nothing now; 0: it went on; or a code. */
static int step_read(struct pl_exchange *x, int i)
{
    plait_stream **stream = x->from[i];
    struct pl_buffer *b = &x->to[i];
    ssize_t room = make_room(b, x->limit);
    if (room < 0)
        return PLAIT_ENOMEM;
    ssize_t got = room ? plait_read(*stream, b->bytes + b->size, (size_t)room, PLAIT_NOWAIT)
                       : look_beyond(*stream);
    if (room == 0 && got != 0)
        return (int)got;
    if (got == PLAIT_ETIMEDOUT)
        return AGAIN;
    if (got < 0 && got != PLAIT_ECONNRESET && got != PLAIT_EIO)
        return (int)got;
    if (got > 0)
        b->size += (size_t)got;
    else
        finish(stream); /* a terminal ends with PLAIT_EIO */
    return 0;
}

/* Writes what can go. A program that does not want it is no error. */
static int step_write(struct pl_exchange *x)
{
    size_t left = x->size - x->written, done = 0;
    int rc = left == 0 ? PLAIT_EPIPE
                       : plait_write(*x->in, x->input + x->written, left < PIECE ? left : PIECE,
                                     &done, PLAIT_NOWAIT);
    x->written += done;
    if (rc == PLAIT_EPIPE || rc == PLAIT_ECONNRESET) {
        x->written = x->size;
        finish(x->in);
        return 0;
    }
    if (rc == PLAIT_ETIMEDOUT)
        return done > 0 ? 0 : AGAIN;
    return rc;
}

/* A step of each that is not done. AGAIN: nothing could go on. */
static int step(struct pl_exchange *x, bool *ret_done)
{
    int result = AGAIN;
    *ret_done = true;
    for (int i = 0; i < PL_STREAMS; i++) {
        plait_stream *stream = i == 2 ? *x->in : *x->from[i];
        if (!stream)
            continue;
        int rc = i == 2 ? step_write(x) : step_read(x, i);
        if (rc < 0)
            return rc;
        *ret_done = false;
        if (rc == 0)
            result = 0;
    }
    return *ret_done ? 0 : result;
}

/* --- waiting for any --- */

static int nap(struct pl_wait *wait)
{
    uint32_t never = 0;
    int rc = pl_may_wait(wait);
    if (rc < 0)
        return rc;
    int64_t deadline = wait->deadline, until = plait_now() + NAP;
    if (until < deadline)
        wait->deadline = until;
    rc = pl_park(&never, 0, wait);
    wait->deadline = deadline;
    return rc == PLAIT_ETIMEDOUT && !pl_passed(deadline) ? 0 : rc;
}

static plait_stream *stream_of(const struct pl_exchange *x, int i)
{
    return i == 2 ? *x->in : *x->from[i];
}

/* The epoll with the streams that are there; closed ones have left it by themselves. False: not to be had. */
static bool ready_epoll(struct pl_exchange *x)
{
    if (x->epoll < 0)
        x->epoll = pl_descriptor_above_streams(epoll_create1(EPOLL_CLOEXEC));
    for (int i = 0; i < PL_STREAMS && x->epoll >= 0; i++) {
        plait_stream *stream = stream_of(x, i);
        struct epoll_event event = {.events = i == 2 ? EPOLLOUT : EPOLLIN};
        if (!stream || (x->on_epoll & 1 << i))
            continue;
        if (epoll_ctl(x->epoll, EPOLL_CTL_ADD, plait_stream_fd(stream), &event) < 0)
            return false;
        x->on_epoll |= 1 << i;
    }
    return x->epoll >= 0;
}

static int wait_for_any(struct pl_exchange *x, struct pl_wait *wait)
{
    int n = 0, last = 0;
    for (int i = 0; i < PL_STREAMS; i++)
        if (stream_of(x, i)) {
            n++;
            last = i;
        }
    if (n == 1)
        return pl_fd_wait(plait_stream_fd(stream_of(x, last)), last == 2 ? POLLOUT : POLLIN, wait);
    return ready_epoll(x) ? pl_fd_wait(x->epoll, POLLIN, wait) : nap(wait);
}

/* A program whose pipes are always ready must not keep the other tasks of the thread from running, nor a request to stop from
 * arriving. */
static int be_fair(struct pl_wait *wait, uint32_t *steps)
{
    enum { STEPS = 64 };
    if (++*steps % STEPS != 0 || wait->deadline == 0)
        return 0;
    if (pl_passed(wait->deadline))
        return PLAIT_ETIMEDOUT;
    int rc = pl_waiter_known(NULL);
    if (rc < 0)
        return rc;
    return pl_self.task ? plait_yield() : pl_wait_take(wait);
}

int pl_exchange_run(struct pl_exchange *x, struct pl_wait *wait)
{
    bool done = false;
    uint32_t steps = 0;
    for (;;) {
        int rc = step(x, &done);
        if (rc == 0 && done)
            return 0;
        if (rc == AGAIN)
            rc = wait_for_any(x, wait);
        else if (rc == 0)
            rc = be_fair(wait, &steps);
        if (rc < 0)
            return rc;
    }
}

/* --- the call --- */

static void show(const struct pl_exchange *x, plait_captured *ret)
{
    const char *bytes[2];
    for (int i = 0; i < 2; i++) {
        if (x->to[i].bytes)
            x->to[i].bytes[x->to[i].size] = 0;
        bytes[i] = x->to[i].bytes ? x->to[i].bytes : "";
    }
    if (ret)
        *ret = (plait_captured){
            .out = bytes[0], .err = bytes[1], .out_size = x->to[0].size, .err_size = x->to[1].size};
}

/* Takes the input of the first call, or makes sure that it is the same. */
static int take_input(plait_program *p, const void *input, size_t size)
{
    struct pl_exchange *x = &p->exchange;
    if (x->begun && size != x->size && !(size == 0 && x->written == x->size))
        return PLAIT_EINVAL;
    if (!x->begun && size > 0 && !p->streams[0])
        return PLAIT_EINVAL;
    if (!x->begun)
        x->size = size;
    x->begun = true;
    x->input = input;
    return 0;
}

static int communicate(plait_program *p, const void *input, size_t size, plait_captured *ret,
                       struct pl_wait *wait)
{
    int rc = take_input(p, input, size);
    if (rc < 0)
        return rc;
    rc = pl_exchange_run(&p->exchange, wait);
    if (rc == 0)
        rc = pl_program_wait(p, NULL, wait);
    if (rc != PLAIT_EBUSY)
        show(&p->exchange, ret);
    return rc;
}

int plait_program_communicate(plait_program *program, const void *input, size_t size,
                              plait_captured *ret, int64_t timeout)
{
    struct pl_wait wait;
    int rc =
        !program || (!input && size > 0) ? PLAIT_EINVAL : pl_wait_begin(&wait, PL_WAIT_FD, timeout);
    if (rc < 0)
        return rc;
    if (program->forks != pl_forks)
        return PLAIT_ECHILD;
    uint32_t nobody = 0;
    if (!pl_cas_acq_rel(&program->communicates, &nobody, 1u))
        return PLAIT_EBUSY;
    int saved = errno;
    rc = communicate(program, input, size, ret, &wait);
    errno = saved;
    pl_store_release(&program->communicates, 0u);
    return rc;
}
