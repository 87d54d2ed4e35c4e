/* Where plait's reports go: the few things it says without being asked.
 *
 * There are reports of deadlocks (deadlock.h), of lock orders that may deadlock (PLAIT_LOCKDEP), and of tasks that let no
 * others run (PLAIT_SLOW_TASK, task.h). Each is
 * a few lines of text that begin with "plait: ". Unless the program says otherwise they are
 * written to standard error, each in one piece.
 *
 *     static void to_syslog(const char *text, void *unused) { syslog(LOG_WARNING, "%s", text); }
 *
 *     plait_set_log(to_syslog, NULL);
 *
 * Python's counterpart: logging, faulthandler. */
#ifndef PLAIT_LOG_H
#define PLAIT_LOG_H

#include <plait/export.h>

PLAIT_BEGIN_DECLS

/* Gets each report. `text` ends with a newline and is gone after the call. Runs in the worker that
 * found out, inside the call in which it waits; reports of slow tasks come from a helper thread. It may take locks, but none that a worker it is told of
 * may hold; it may not wait for conditions, and must return (no longjmp, no exception). What is
 * found while it runs, in its own waits, goes to standard error. */
typedef void plait_log_function(const char *text, void *arg);

/* Sends the reports found by this process to fn(text, arg); NULL: to standard error again. Forked
 * children inherit it. Call it before other threads wait for anything.
 * Returns: 0. Never blocks. Who: any thread. Python: logging.setLogRecordFactory, roughly. */
PLAIT_API int plait_set_log(plait_log_function *fn, void *arg);

PLAIT_END_DECLS
#endif
