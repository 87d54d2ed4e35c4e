/* plait_pool: a number of workers, and many items to run on them.
 *
 *     static int square(const void *in, void *out)      // one item; negative: it failed
 *     {
 *         *(long *)out = *(const int *)in * (long)*(const int *)in;
 *         return 0;
 *     }
 *
 *     plait_pool *pool;
 *     int in[1000];
 *     long out[1000];
 *     plait_pool_open(&pool, PLAIT_PROCESS, 0, NULL);   // or PLAIT_THREAD; 0: one per processor
 *     int rc = plait_map(pool, square, in, out, 1000, PLAIT_FOREVER);
 *     plait_pool_close(pool, PLAIT_FOREVER);
 *
 * plait_map returns when every item has been run, out[i] from in[i]; chunks of items are handed out
 * as workers ask for them, sized by how long items take. Arrays in the arena are worked on in place,
 * as are all for threads; others are copied to and fro.
 *
 * Death: a worker that is killed, crashes or exits in the middle of an item costs that item only: it
 * is run again as often as `.retries` says, then fails with PLAIT_EDIED and the blame. What the dead
 * worker had finished stays, what it had not begun goes to others, and it is replaced.
 *
 * An item that is run again finds in *out what the dead worker left there.
 *
 * An item may call plait_map on its own pool: the worker then runs these items itself.
 * Python's counterpart: multiprocessing.Pool, ThreadPool, concurrent.futures executors' map. */
#ifndef PLAIT_POOL_H
#define PLAIT_POOL_H

#include <plait/clock.h>
#include <plait/error.h>
#include <plait/worker.h>

PLAIT_BEGIN_DECLS

/* Opaque; lies in the arena. */
typedef struct plait_pool plait_pool;

/* One item: reads *in, writes *out. 0 or more: done; negative: it failed, with a code of the
 * program's own or a PLAIT_E..., at least -100000000. */
typedef int plait_item_function(const void *in, void *out);

/* All zero is the default. */
typedef struct plait_pool_options {
    const char *name; /* of the workers, a number is added; NULL: "Pool" */
    int retries;      /* how often an item is run again after a worker died of it; 0: never */
    plait_function *initializer; /* run once in each worker before its first item; if it returns
                                    negative, the worker ends and is not replaced */
    void *initializer_arg;       /* as plait_start's arg: in the arena, for processes */
    size_t stack_size;           /* bytes; 0: default. Threads only */
    int start_method;            /* enum plait_start_method, of its processes; see start_method.h */
} plait_pool_options;

/* What went wrong with the first item (lowest index) that failed. */
typedef struct plait_map_failure {
    size_t item;       /* its index */
    size_t failed;     /* how many items failed in all */
    size_t retried;    /* how many runs were repeated after a death */
    size_t deaths;     /* workers that died at items of this call */
    int code;          /* what it returned, or PLAIT_EDIED; 0: no item failed */
    plait_blame blame; /* the last of these, if there was one */
} plait_map_failure;

/* A call of plait_map with everything that can be said. All zero but fn and n is legal. */
typedef struct plait_map_call {
    plait_item_function *fn;
    const void *in; /* n items of in_size bytes; NULL: items get NULL */
    size_t in_size;
    void *out; /* n items of out_size bytes; NULL: items get NULL */
    size_t out_size;
    size_t n;
    size_t chunk; /* items handed out at a time, but at least n / 2048; 0: adapted to how long
                           they take */
    plait_map_failure *failure; /* filled on return if not NULL, also when all went well */
    void (*progress)(size_t done, size_t n, void *arg); /* called by the caller's thread, about ten
                                                           times a second and at the end; `done`
                                                           says how many, not which, and
                                                           never goes back */
    void *progress_arg;
} plait_map_call;

/* Opens a pool of `workers` threads or processes (0: plait_cpu_count()).
 * Requires: ret; kind PLAIT_THREAD or PLAIT_PROCESS; 0 <= workers <= 4096.
 * Returns: 0 with *ret set; PLAIT_EINVAL, PLAIT_ENOTSUP (PLAIT_TASK), PLAIT_EPRIVATE
 *   (initializer_arg), PLAIT_EAGAIN (not even one worker could be started), PLAIT_ENOMEM,
 *   PLAIT_EARENA, PLAIT_EWORKERS. Nothing is left behind on failure.
 * Blocks: no. Who: threads and processes. Ownership: the process that opened it uses and closes it;
 * in a forked child its calls answer PLAIT_ECHILD. Python: Pool(processes). */
PLAIT_API int plait_pool_open(plait_pool **ret, int kind, int workers,
                              const plait_pool_options *options);

/* Takes no new work, lets calls in progress finish, ends the workers and frees the pool.
 * Returns: 0 (the pool is gone; pool NULL is 0 too), PLAIT_ETIMEDOUT, PLAIT_ECANCELED (closed, but
 *   workers still run: call again), PLAIT_ECHILD, PLAIT_EDEADLK (from one of its own workers).
 * Blocks: yes, cancellable. Who: threads of the process that opened it. Python: close(); join(). */
PLAIT_API int plait_pool_close(plait_pool *pool, int64_t timeout);

/* As close, but kills worker processes at work, and asks threads to stop (plait_cancel): calls in
 * progress return PLAIT_ECLOSED. Python: terminate(); join(). */
PLAIT_API int plait_pool_terminate(plait_pool *pool, int64_t timeout);

/* Workers alive just now; PLAIT_EINVAL (NULL), PLAIT_ECHILD. Never blocks. */
PLAIT_API int plait_pool_workers(plait_pool *pool);

/* Runs fn on each item and waits for all.
 * Requires: an open pool; fn; for processes nothing of what items write but *out is seen here, and
 *   pointers inside items must lie in the arena.
 * Returns: 0 (all items done); the code of the failed item with the lowest index, after all have
 *   been run; PLAIT_ETIMEDOUT, PLAIT_ECANCELED (no item is running any more: processes at work were
 *   killed and replaced, threads were asked to stop and waited for), PLAIT_ECLOSED, PLAIT_ECHILD,
 *   PLAIT_EINVAL (NULL, n > 0 with a size of 0 for an array that is given, timeout below -1),
 *   PLAIT_EOVERFLOW (sizes, timeout), PLAIT_ENOMEM; PLAIT_EDIED (every worker's initializer failed)
 *   and PLAIT_EAGAIN, PLAIT_EMFILE, PLAIT_EWORKERS (every worker died and none can be started).
 * Blocks: yes, cancellable. Who: threads of the process that opened the pool, several at once; and
 *   the pool's own workers. n of 0 returns 0 at once. Python: Pool.map(fn, items). */
PLAIT_API int plait_map_items(plait_pool *pool, const plait_map_call *call, int64_t timeout);

PLAIT_END_DECLS

/* plait_map_items with the sizes taken from the pointers. */
#ifdef __cplusplus
template <class In, class Out>
static inline int plait_map(plait_pool *pool, plait_item_function *fn, const In *in, Out *out,
                            size_t n, int64_t timeout)
{
    plait_map_call call = plait_map_call();
    call.fn = fn;
    call.in = in;
    call.in_size = sizeof *in;
    call.out = out;
    call.out_size = sizeof *out;
    call.n = n;
    return plait_map_items(pool, &call, timeout);
}
#else
#define plait_map(pool, function, input, output, count, timeout)                                   \
    plait_map_items((pool),                                                                        \
                    &(plait_map_call){.fn = (function),                                            \
                                      .in = (input),                                               \
                                      .in_size = sizeof *(input),                                  \
                                      .out = (output),                                             \
                                      .out_size = sizeof *(output),                                \
                                      .n = (count)},                                               \
                    (timeout))
#endif

#endif
