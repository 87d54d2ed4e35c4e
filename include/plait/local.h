/* Task-local variables: values that go along with a worker and with those it starts.
 *
 *     static plait_local request = PLAIT_LOCAL(NULL);
 *
 *     static int handle(void *arg)
 *     {
 *         plait_local_set(&request, arg, NULL);
 *         work();                         // and whomever it starts: plait_local_get(&request) == arg
 *         return 0;
 *     }
 *
 * A worker that is started, thread, task or forked process, begins with the values its starter had at that
 * moment; what either sets after that the other does not see. So does a child that the program forks. (Pointers that a process inherits
 * mean what they point to in its own copy of memory, unless that lies in the arena.) Threads that plait did not start begin with none.
 * Values are pointers and are not freed.
 *
 * A variable is a static object, identified by its address; all zero its default is NULL. It must not go away while a worker has a value
 * for it. Getting looks through those that the worker has set, of which there should be some dozens at most.
 * Python's counterpart: contextvars.ContextVar. There new threads begin without values by default. */
#ifndef PLAIT_LOCAL_H
#define PLAIT_LOCAL_H

#include <plait/error.h>
#include <stdbool.h>
#include <stdint.h>

PLAIT_BEGIN_DECLS

typedef struct plait_local {
    void *initial; /* for workers that have no value; constant */
} plait_local;

#define PLAIT_LOCAL(initial)                                                                       \
    {                                                                                              \
        initial                                                                                    \
    }

/* What a set has replaced. Private to the worker; to be used once. Its fields are not for direct use. */
typedef struct plait_local_token {
    plait_local *local_;
    void *old_;
    uint64_t context_;
    uint32_t forks_;
    bool was_set_, used_;
} plait_local_token;

/* The worker's value, or the default. NULL for NULL. Never blocks. Who: anyone. Python: ContextVar.get(). */
PLAIT_API void *plait_local_get(const plait_local *local);

/* The same, with `other` in place of the variable's default. Python: ContextVar.get(default). */
PLAIT_API void *plait_local_get_or(const plait_local *local, void *other);

/* 1 if the worker has a value of its own or inherited one, else 0. Never blocks. Python: `var in copy_context()`. */
PLAIT_API int plait_local_is_set(const plait_local *local);

/* Sets the value, for this worker and those it will start. A token, if not NULL, keeps what was.
 * Returns: 0, PLAIT_EINVAL (NULL), PLAIT_ENOMEM, and as registering a thread may fail: PLAIT_EARENA, PLAIT_EWORKERS.
 * Blocks: no. Who: threads, processes, tasks; not signal handlers. Python: ContextVar.set(). */
PLAIT_API int plait_local_set(plait_local *local, void *value, plait_local_token *token);

/* Back to what was before the set that filled the token, unset included.
 * Returns: 0; PLAIT_EINVAL (NULL, the token is another variable's or was never filled), PLAIT_EPERM (another worker's), PLAIT_ESTALE (used
 *   already), PLAIT_ENOMEM. Blocks: no. Who: the worker that set. Python: ContextVar.reset(token): ValueError,
 *   RuntimeError. */
PLAIT_API int plait_local_reset(plait_local *local, plait_local_token *token);

PLAIT_END_DECLS
#endif
