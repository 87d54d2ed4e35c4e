/* GLib beside plait: GMutex, GRecMutex, GRWLock, GCond, GOnce. None of them is for several processes.
 * Needs: libglib2.0-dev */
#include "program_shape.h"
#include "lock_shape.h"
#include "notify_shape.h"
#include "once_shape.h"
#include "round_trip.h"
#include "rwlock_shape.h"

#include <glib.h>

/* --- lock --- */

static void *make(bool shared)
{
    (void)shared; /* it cannot be */
    GMutex *mutex = bench_private(sizeof *mutex);
    g_mutex_init(mutex);
    return mutex;
}

static void acquire(void *mutex)
{
    g_mutex_lock(mutex);
}

static void release(void *mutex)
{
    g_mutex_unlock(mutex);
}

LOCK_KIND(locks, make, acquire, release)

/* --- rlock --- */

static void *make_recursive(bool shared)
{
    (void)shared;
    GRecMutex *mutex = bench_private(sizeof *mutex);
    g_rec_mutex_init(mutex);
    return mutex;
}

static void acquire_recursive(void *mutex)
{
    g_rec_mutex_lock(mutex);
}

static void release_recursive(void *mutex)
{
    g_rec_mutex_unlock(mutex);
}

static void *make_held(bool shared)
{
    void *mutex = make_recursive(shared);
    acquire_recursive(mutex);
    return mutex;
}

LOCK_KIND(rlocks, make_recursive, acquire_recursive, release_recursive)
LOCK_KIND(held, make_held, acquire_recursive, release_recursive)

/* --- rwlock --- */

static void *make_rw(bool shared)
{
    (void)shared;
    GRWLock *rw = bench_private(sizeof *rw);
    g_rw_lock_init(rw);
    return rw;
}

static void acquire_read(void *rw)
{
    g_rw_lock_reader_lock(rw);
}

static void release_read(void *rw)
{
    g_rw_lock_reader_unlock(rw);
}

static void acquire_write(void *rw)
{
    g_rw_lock_writer_lock(rw);
}

static void release_write(void *rw)
{
    g_rw_lock_writer_unlock(rw);
}

RWLOCK_KIND(rwlocks, make_rw, acquire_read, release_read, acquire_write, release_write)

/* --- condition: a bell --- */

struct bell {
    GMutex mutex;
    GCond changed;
    bool rung;
};

static void *make_bell(bool shared)
{
    (void)shared;
    struct bell *bell = bench_private(sizeof *bell);
    g_mutex_init(&bell->mutex);
    g_cond_init(&bell->changed);
    return bell;
}

static void ring(void *arg)
{
    struct bell *bell = arg;
    g_mutex_lock(&bell->mutex);
    bell->rung = true;
    g_cond_signal(&bell->changed);
    g_mutex_unlock(&bell->mutex);
}

static void await(void *arg)
{
    struct bell *bell = arg;
    g_mutex_lock(&bell->mutex);
    while (!bell->rung)
        g_cond_wait(&bell->changed, &bell->mutex);
    bell->rung = false;
    g_mutex_unlock(&bell->mutex);
}

TRIP_KIND(bells, make_bell, ring, await)

/* --- condition: many waiters --- */

struct place {
    GMutex mutex; /* first, so that it is acquired like a lock */
    GCond called, answered;
};

static void *make_place(bool shared)
{
    (void)shared;
    struct place *place = bench_private(sizeof *place);
    g_mutex_init(&place->mutex);
    g_cond_init(&place->called);
    g_cond_init(&place->answered);
    return place;
}

static void call_all(void *arg)
{
    struct place *place = arg;
    g_cond_broadcast(&place->called);
}

static void await_call(void *arg)
{
    struct place *place = arg;
    g_cond_wait(&place->called, &place->mutex);
}

static void answer(void *arg)
{
    struct place *place = arg;
    g_cond_signal(&place->answered);
}

static void await_answer(void *arg)
{
    struct place *place = arg;
    g_cond_wait(&place->answered, &place->mutex);
}

NOTIFY_KIND(many, make_place, acquire, release, call_all, await_call, answer, await_answer)

/* --- once --- */

static void *nothing(void *unused)
{
    return unused;
}

static void call(void *once)
{
    g_once((GOnce *)once, nothing, NULL);
}

static void *make_once(bool shared)
{
    (void)shared;
    GOnce *once = bench_private(sizeof *once), fresh = G_ONCE_INIT;
    *once = fresh;
    call(once);
    return once;
}

ONCE_KIND(onces, make_once, call)

/* --- programs --- */

static void cycle_program(void)
{
    char *arguments[] = {(char *)"/bin/true", NULL};
    int status;
    bench_check(g_spawn_sync(NULL, arguments, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, NULL,
                             &status, NULL) &&
                    status == 0,
                "the program failed");
}

static program_cycle *const program = cycle_program;

static const struct bench_subject table[] = {
    PROGRAM_CASES("GLib", program),
    LOCK_PRIVATE_CASES("lock", "GLib", locks),
    LOCK_CURVE("lock", "GLib", locks),
    LOCK_PRIVATE_CASES("rlock", "GLib", rlocks),
    BENCH_SUBJECT("rlock_again", "GLib", lock_free, &held, 0),
    RWLOCK_PRIVATE_CASES("GLib", rwlocks),
    TRIP_THREAD_CASES("condition", "GLib", bells, false),
    NOTIFY_THREAD_CASES("condition", "GLib", many),
    BENCH_SUBJECT("once_done", "GLib", once_done, &onces, 0),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
