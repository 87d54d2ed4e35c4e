/* Serving: a worker for each connection, no more than so many at once.
 *
 * plait_serve does not return before its clients have ended, so what they use may lie on its caller's stack.
 * Facts:
 *   1 the list of clients changes under the lock. A client is in it from before it starts until it
 *     takes itself out, which is the last but one thing it does;
 *   2 the last is to take itself off `live`. At 0 nobody uses the record of the whole any more, and serve may return. */
#include "base/atomic.h"
#include "base/clock.h"
#include "io/listen.h"
#include "sync/lock_word.h"

#include <stdlib.h>

enum { CLIENTS = 1000, PAUSE = 100 * 1000 * 1000 };

struct client {
    struct serving *all;
    plait_stream *stream;
    plait_worker worker;         /* under the lock */
    struct client *next, **link; /* under the lock */
};

struct serving {
    plait_lock lock;
    struct client *first; /* under the lock */
    uint32_t live;        /* atomic: clients; serve adds, each takes itself off */
    plait_client_function *fn;
    void *arg;
    int kind;
};

static void lock(struct serving *s)
{
    pl_lock_acquire_certainly(&s->lock, PL_WAIT_LOCK);
}

static void unlink_client(struct client *c)
{
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
}

static int client_main(void *arg)
{
    struct client *c = arg;
    struct serving *s = c->all;
    int status = s->fn(c->stream, s->arg);
    plait_stream_close(c->stream);
    lock(s);
    unlink_client(c);
    plait_lock_release(&s->lock);
    free(c);
    /* R:serving.live, pairs with wait_while_live: this client's deeds. */
    pl_fetch_add_acq_rel(&s->live, -1u);
    pl_unpark(&s->live, 1);
    return status;
}

/* Takes the stream, which is closed if no worker can be had. */
static int start_client(struct serving *s, plait_stream *stream)
{
    plait_options options = {.detach = true, .name = "client"};
    struct client *c = malloc(sizeof *c);
    int rc = PLAIT_ENOMEM;
    if (c) {
        lock(s);
        *c = (struct client){.all = s, .stream = stream, .next = s->first, .link = &s->first};
        if (s->first)
            s->first->link = &c->next;
        s->first = c;
        pl_fetch_add_relaxed(&s->live, 1u);
        rc = plait_start(&c->worker, s->kind, client_main, c, &options);
        if (rc < 0) {
            unlink_client(c);
            pl_fetch_add_relaxed(&s->live, -1u);
        }
        plait_lock_release(&s->lock);
    }
    if (rc < 0) {
        free(c);
        plait_stream_close(stream);
    }
    return rc;
}

/* Waits while more than n clients are there. */
static int wait_while_live(struct serving *s, uint32_t n, bool uncancellable)
{
    struct pl_wait wait;
    int rc = pl_wait_begin(&wait, PL_WAIT_LATCH, PLAIT_FOREVER);
    wait.uncancellable = uncancellable;
    while (rc == 0) {
        /* A:serving.live, pairs with client_main. */
        uint32_t live = pl_load_acquire(&s->live);
        if (live <= n)
            return 0;
        rc = pl_may_wait(&wait);
        if (rc == 0)
            rc = pl_park(&s->live, live, &wait);
    }
    return rc;
}

/* Time for others to give back what there is none left of. */
static int pause_a_little(void)
{
    struct pl_wait wait;
    uint32_t word = 0;
    pl_wait_begin(&wait, PL_WAIT_FD, PAUSE);
    int rc = pl_may_wait(&wait);
    while (rc == 0)
        rc = pl_park(&word, 0, &wait);
    return rc == PLAIT_ETIMEDOUT ? 0 : rc;
}

static bool is_want(int code)
{
    return code == PLAIT_EMFILE || code == PLAIT_ENOMEM || code == PLAIT_EAGAIN ||
           code == PLAIT_EWORKERS;
}

static int serve_next(struct serving *s, plait_listener *listener, uint32_t most)
{
    plait_stream *stream;
    int rc = wait_while_live(s, most - 1, false);
    if (rc == 0)
        rc = plait_accept(listener, &stream, PLAIT_FOREVER);
    if (rc == 0)
        rc = start_client(s, stream);
    return is_want(rc) ? pause_a_little() : rc;
}

static void cancel_clients(struct serving *s)
{
    lock(s);
    for (struct client *c = s->first; c; c = c->next)
        plait_cancel(c->worker);
    plait_lock_release(&s->lock);
}

static int serve_until_closed(struct serving *s, plait_listener *listener, uint32_t most)
{
    int rc = 0;
    while (rc == 0)
        rc = serve_next(s, listener, most);
    if (rc == PLAIT_ECLOSED) { /* those that are there may finish */
        int waited = wait_while_live(s, 0, false);
        rc = waited < 0 ? waited : rc;
    }
    cancel_clients(s);
    wait_while_live(s, 0, true);
    return rc;
}

int plait_serve(plait_listener *listener, plait_client_function *client, void *arg,
                const plait_serve_options *options)
{
    plait_serve_options none = {0};
    const plait_serve_options *o = options ? options : &none;
    struct serving s = {.fn = client, .arg = arg, .kind = o->kind ? o->kind : PLAIT_THREAD};
    if (!listener || !client || o->max_clients < 0)
        return PLAIT_EINVAL;
    if (s.kind != PLAIT_THREAD && s.kind != PLAIT_TASK)
        return s.kind == PLAIT_PROCESS ? PLAIT_ENOTSUP : PLAIT_EINVAL;
    /* Held between two connections as well: who closes it then must not delete it. */
    struct pl_call hold;
    int rc = pl_io_enter(&listener->io, PL_ANY_SIDE, &hold, PLAIT_FOREVER);
    if (rc < 0)
        return rc;
    rc = serve_until_closed(&s, listener, o->max_clients ? (uint32_t)o->max_clients : CLIENTS);
    if (pl_io_leave(&listener->io, &hold))
        pl_listener_delete(listener);
    return rc;
}
