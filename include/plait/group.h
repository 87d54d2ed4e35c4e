/* Groups: workers that are started together and end together.
 *
 *     plait_group g = {0};
 *     PLAIT_GROUP(&g) {
 *         plait_group_start(&g, NULL, PLAIT_THREAD, fetch, urls[0], NULL);
 *         plait_group_start(&g, NULL, PLAIT_PROCESS, parse, shared, NULL);
 *         wait_for_a_click();                       // PLAIT_ECANCELED if one of them fails
 *     } else {
 *         rc = plait_group_error(&g);               // what went wrong first
 *     }                                             // here all have ended, whatever happened
 *
 * The end of the block waits for all members, of any kind, on every way out (by return and goto, too). A member fails when its function
 * returns a negative value, or when it is killed or calls exit: then the error is PLAIT_EDIED. The first failure cancels all other
 * members, and the body: the blocking calls of the worker that entered the group return PLAIT_ECANCELED, as in a
 * scope that is over (scope.h), until it has left. It learns of a failure in calls that block, in plait_checkpoint, and
 * when it leaves. PLAIT_ECANCELED as a status is no failure: a member that is cancelled alone ends alone.
 *
 * A request to stop that the body gets (plait_cancel), or a scope around it that is over, cancels the members; leaving then
 * returns PLAIT_ECANCELED. If there is a failure as well, that is returned, and the request is said again by the next
 * blocking call. The group itself sends its body no requests, so none can be lost or remain.
 *
 * All zero it is ready. It lies in private memory, is used once, and is not copied or moved while used. The
 * worker that entered is its owner: it enters, leaves and fails; every worker of the process may start members
 * and cancel. Members are joined by the group; who joins or detaches one itself takes its result away from it.
 * Python's counterpart: asyncio.TaskGroup, for which however no thread and no process can be a member; there the body's
 * own count of requests (cancelling) goes up while a failure cancels it, here it does not. */
#ifndef PLAIT_GROUP_H
#define PLAIT_GROUP_H

#include <plait/lock.h>
#include <plait/scope.h>
#include <plait/worker.h>

PLAIT_BEGIN_DECLS

enum { PLAIT_GROUP_FAILURES = 8 }; /* members whose failures are kept; of more, the count is */

/* Its fields are not for direct use. */
typedef struct plait_group {
    plait_scope scope_;                     /* the body */
    plait_lock lock_;                       /* for all below, unless said */
    struct plait_group *self_;              /* to notice copies; NULL: not entered */
    struct plait_member_ *members_, *last_; /* not joined yet, oldest first */
    struct plait_member_ *first_failed_;    /* as the body saw it; NULL: none, or joined */
    uint32_t owner_, forks_;                /* who entered, in which process */
    uint32_t state_;
    int error_;    /* of the first failure; 0: none */
    int failures_; /* how many failed */
    int64_t failed_at_, look_every_;
    plait_blame failed_[PLAIT_GROUP_FAILURES];
} plait_group;

/* Enters: the caller becomes the owner, its blocking calls the body. The block does it, and so does the first start of
 * a group that nobody has entered.
 * Returns: 0; PLAIT_EINVAL (NULL, a copy of a group in use), PLAIT_EBUSY (entered already), PLAIT_ECLOSED (left
 *   or cancelled), PLAIT_ECHILD (entered before a fork), PLAIT_EPRIVATE (in the arena), and as registering may fail: PLAIT_EARENA, PLAIT_ENOMEM, PLAIT_EWORKERS.
 * Blocks: no. Who: threads, processes, tasks. Python: TaskGroup.__aenter__. */
PLAIT_API int plait_group_enter(plait_group *group);

/* Starts a member, as plait_start does; with `ret` not NULL it tells which worker it is.
 * Requires: options without daemon and detach.
 * Returns: 0; PLAIT_ECLOSED (left, failed or cancelled; while the owner leaves it is open as long as there is a member
 *   that it waits for), PLAIT_EINVAL, PLAIT_ECHILD, PLAIT_EPRIVATE as enter, and all that plait_start returns.
 * Blocks: only while another worker starts a member. Who: any worker of the process. Python: TaskGroup.create_task. */
PLAIT_API int plait_group_start(plait_group *group, plait_worker *ret, int kind, plait_function *fn,
                                void *arg, const plait_options *options);

/* The body itself has failed: as a member that returned `error`. The members are cancelled.
 * Returns: 0; PLAIT_EINVAL (not negative, or PLAIT_ECANCELED), PLAIT_EPERM (not the owner), PLAIT_ECLOSED, PLAIT_ECHILD.
 * Blocks: as start. Who: the owner. Python: an exception in the body. */
PLAIT_API int plait_group_fail(plait_group *group, int error);

/* Cancels the members and the body; this is no failure. Before the group is entered: its block will be skipped, without
 * `else`. After it is left: nothing.
 * Returns: 0, PLAIT_EINVAL, PLAIT_ECHILD. Blocks: as start. Who: any worker of the process. Python:
 * TaskGroup.cancel() (3.15). */
PLAIT_API int plait_group_cancel(plait_group *group);

/* Waits until all members have ended, and closes the group. Once they are cancelled, nothing ends this wait but
 * their end.
 * Returns: 0; the first failure; PLAIT_ECANCELED (the caller was asked to stop, or a scope around it is over);
 *   PLAIT_EDEADLK (a member waits for the owner: the members were cancelled);
 *   PLAIT_EPERM (not the owner), PLAIT_ECLOSED (left already), PLAIT_EINVAL, PLAIT_ECHILD. Of a group never entered 0.
 * Blocks: yes. Who: the owner. Python: TaskGroup.__aexit__. */
PLAIT_API int plait_group_leave(plait_group *group);

/* What leaving returned (or entering, if that failed in a block); before it, the first failure so far. Never blocks. */
PLAIT_API int plait_group_error(const plait_group *group);

/* How members failed: fills up to `most` entries, the first failure first, and returns how many failed; those past
 * PLAIT_GROUP_FAILURES are only counted. Complete once the group is left. The body's own failure is
 * an entry with nobody as the worker. PLAIT_EINVAL (NULL, most negative). Never blocks. Python: ExceptionGroup.exceptions. */
PLAIT_API int plait_group_failures(const plait_group *group, plait_blame *array, int most);

/* What the block expands to. Not for direct use. */
struct plait_group_block_ {
    plait_group *group;
    int pass;
    int once;
};
PLAIT_API void plait_group_begin_(struct plait_group_block_ *block, plait_group *group);
PLAIT_API void plait_group_next_(struct plait_group_block_ *block);
PLAIT_API void plait_group_end_(struct plait_group_block_ *block);

PLAIT_END_DECLS

#define PLAIT_GROUP_AS_(group, name, first)                                                        \
    PLAIT_BLOCK_AS_(plait_group_block_, name, first, plait_group_begin_(&name, group),             \
                    plait_group_next_, plait_group_end_)
#define PLAIT_GROUP_UNIQUE_(group, n)                                                              \
    PLAIT_GROUP_AS_(group, PLAIT_BLOCK_NAME_(plait_block_, n), PLAIT_BLOCK_NAME_(plait_first_, n))

/* `break` and `continue` leave the block, as its end does; `else` runs if leaving returned an error. */
#define PLAIT_GROUP(group) PLAIT_GROUP_UNIQUE_(group, __COUNTER__)

#endif
