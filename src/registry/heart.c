/* Hearts: liveness that the kernel keeps. The idea and its facts are in registry.h. */
#include "registry/registry.h"

#include "base/atomic.h"
#include "base/panic.h"
#include "base/sanitizers.h"
#include "port/futex.h"

#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <string.h>

#if PL_TSAN
#include <dlfcn.h>
#endif

_Static_assert(offsetof(pthread_mutex_t, __data.__lock) == 0, "the word is the mutex's first");

/* A robust, process-shared mutex as glibc initialises one. */
static pthread_mutex_t fresh;

__attribute__((constructor(101))) static void make_fresh(void)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&fresh, &attr);
    pthread_mutexattr_destroy(&attr);
}

/* A heart goes from worker to worker without a release in between, for we make it anew: a mutex on TSan's books would seem
 * to be locked twice. */
#if PL_TSAN
static int (*lock_unwatched)(pthread_mutex_t *heart);

__attribute__((constructor(101))) static void find_lock(void)
{
    void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
    pl_invariant(libc, "libc is there");
    *(void **)&lock_unwatched = dlsym(libc, "pthread_mutex_trylock");
    pl_invariant(lock_unwatched, "libc's own function is there");
}
#else
#define lock_unwatched pthread_mutex_trylock
#endif

void pl_heart_start(struct pl_slot *slot)
{
    /* All but the word, which is 0 since the slot was claimed and which others may be reading. */
    enum { WORD = sizeof(uint32_t) };
    memcpy((char *)&slot->heart + WORD, (char *)&fresh + WORD, sizeof fresh - WORD);
    int rc = lock_unwatched(&slot->heart);
    pl_invariant(rc == 0, "a fresh heart can be started");
}

/* A task's thread is gone for certain once its entry serves another. */
static bool is_hosts_successor(struct pl_slot *slot)
{
    uint32_t host = pl_load_acquire(&slot->host);
    return host && pl_slot_id(pl_slot_of(host)) != host;
}

bool pl_heart_is_stopped(struct pl_slot *slot)
{
    return (pl_load_acquire(pl_heart_word(slot)) & FUTEX_OWNER_DIED) || is_hosts_successor(slot);
}

bool pl_heart_watch(struct pl_slot *slot, uint32_t *ret_seen)
{
    uint32_t beat = pl_load_acquire(pl_heart_word(slot));
    for (;;) {
        if (beat == 0 || (beat & FUTEX_OWNER_DIED))
            return false;
        if (beat & FUTEX_WAITERS)
            break;
        if (pl_cas_seq_cst(pl_heart_word(slot), &beat, beat | FUTEX_WAITERS)) {
            beat |= FUTEX_WAITERS;
            break;
        }
    }
    *ret_seen = beat;
    return true;
}

void pl_heart_stopped(struct pl_slot *slot)
{
    pl_futex_wake(pl_heart_word(slot), INT_MAX, true);
}

void pl_heart_take_back(struct pl_slot *slot)
{
    int rc = pthread_mutex_unlock(&slot->heart); /* and the kernel forgets it */
    pl_invariant(rc == 0, "a thread's heart is its own");
}

void pl_heart_tell(struct pl_slot *slot)
{
    /* Without the flag, those about to sleep on the word as they saw it turn back as well. */
    if (pl_fetch_and_acq_rel(pl_heart_word(slot), ~(uint32_t)FUTEX_WAITERS) & FUTEX_WAITERS)
        pl_heart_stopped(slot);
}

bool pl_is_dead(uint32_t id)
{
    struct pl_slot *slot = pl_slot_of(id);
    uint64_t life = pl_load_acquire(&slot->life);
    uint32_t generation = pl_generation_of(life) << PL_ID_SLOT_BITS & PL_ID_MASK;
    if ((generation | PL_ID_SLOT(id)) != id)
        return true;
    switch (pl_life_of(life)) {
    case PL_NEW:
    case PL_ENTERING:
        return false;
    case PL_RUNNING:
        return pl_heart_is_stopped(slot);
    default:
        return true;
    }
}
