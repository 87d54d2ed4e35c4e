/* Forking while other threads compute.
 *
 * Naive: fork copies the process, so the child can encrypt as its parent did. Its race: OpenSSL has locks of its own, for all
 * connections together; one that another thread holds at that instant is held in the child for ever, for the thread is not there. Cure:
 * who computes is counted, and a fork waits until nobody does and lets nobody begin. Facts:
 *   1 nobody waits for a peer, the kernel or a task behind the gate: a fork waits for some milliseconds at most;
 *   2 it is never entered twice by a thread, which a fork that waits in between would make hang;
 *   3 a connection's lock is only held behind it, and so is free in the child;
 *   4 what OpenSSL does when a thread ends is done behind it, too: by us, before OpenSSL would, for our key is the older. */
#include "tls/tls.h"

#include <openssl/crypto.h>
#include <pthread.h>

/* For the gate a mutex, which the child may unlock, and not a rwlock, which it may not: its thread has another number. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
/* Threads that compute, that want to fork. Under gate, which a fork holds while it takes place. */
static unsigned inside, forking;

static pthread_key_t at_end; /* of each thread that was here; constant once made */
static bool has_key;
static _Thread_local bool noted;

static void enter(void)
{
    pthread_mutex_lock(&gate);
    while (forking > 0)
        pthread_cond_wait(&changed, &gate);
    inside++;
    pthread_mutex_unlock(&gate);
}

void pl_tls_leave(void)
{
    pthread_mutex_lock(&gate);
    if (--inside == 0 && forking > 0)
        pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&gate);
}

void pl_tls_enter(void)
{
    if (!noted && has_key)
        noted = pthread_setspecific(at_end, &gate) == 0;
    enter();
}

static void before_fork(void)
{
    pthread_mutex_lock(&gate);
    forking++;
    while (inside > 0)
        pthread_cond_wait(&changed, &gate);
}

static void in_parent(void)
{
    forking--;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&gate);
}

static void in_child(void)
{
    forking = 0; /* others that wanted to fork are not there */
    changed = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    pthread_mutex_unlock(&gate);
}

static void end_thread(void *unused)
{
    (void)unused;
    enter();
    OPENSSL_thread_stop();
    pl_tls_leave();
}

__attribute__((constructor)) static void guard_forks(void)
{
    has_key = pthread_key_create(&at_end, end_thread) == 0;
    pthread_atfork(before_fork, in_parent, in_child);
}
