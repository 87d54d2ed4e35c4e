/* Forking while other threads compute.
 *
 * Naive: fork copies the process, so the child can encrypt as its parent did. Its race: OpenSSL has locks of its own, for all
 * connections together; one that another thread holds at that instant is held in the child for ever, for the thread is not there. Cure:
 * who computes holds a gate as a reader, and a fork takes it as the writer. Facts:
 *   1 nobody waits for a peer, the kernel or a task behind the gate: a fork waits for some milliseconds at most;
 *   2 it is never entered twice by a thread, which a fork that waits in between would make hang;
 *   3 a connection's lock is only held behind it, and so is free in the child;
 *   4 what OpenSSL does when a thread ends is done behind it, too: by us, before OpenSSL would, for our key is the older. */
#include "tls/tls.h"

#include <openssl/crypto.h>
#include <pthread.h>

static pthread_rwlock_t gate = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

static pthread_key_t at_end; /* of each thread that was here; constant once made */
static bool has_key;
static _Thread_local bool noted;

void pl_tls_enter(void)
{
    if (!noted && has_key)
        noted = pthread_setspecific(at_end, &gate) == 0;
    pthread_rwlock_rdlock(&gate);
}

void pl_tls_leave(void)
{
    pthread_rwlock_unlock(&gate);
}

static void before_fork(void)
{
    pthread_rwlock_wrlock(&gate);
}

static void after_fork(void)
{
    pthread_rwlock_unlock(&gate);
}

/* The child's thread has another number, so it could not unlock what its parent's has locked. */
static void in_child(void)
{
    gate = (pthread_rwlock_t)PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
}

static void end_thread(void *unused)
{
    (void)unused;
    pthread_rwlock_rdlock(&gate);
    OPENSSL_thread_stop();
    pthread_rwlock_unlock(&gate);
}

__attribute__((constructor)) static void guard_forks(void)
{
    has_key = pthread_key_create(&at_end, end_thread) == 0;
    pthread_atfork(before_fork, after_fork, in_child);
}
