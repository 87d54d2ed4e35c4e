/* exec: this process goes on as another program.
 *
 *     plait_execvp("less", PLAIT_ARGV("less", "report.txt"));        // returns only if it fails
 *
 * It is the whole process: its other threads and tasks are gone without a word, its tasks' stacks, its handlers of atexit and
 * exit are not run. What stays: pid, parent, children (programs and worker processes that were started here go on, and are killed when
 * this process ends as the other program), descriptors that are not closed on exec (plait's all are), the directory, ignored signals and the calling thread's signal mask.
 * Before, the buffers of stdio are flushed, which plain execv(3) loses: of stdout and stderr; and of all other streams, unless the process
 * has further threads, of which one may be reading from a stream and hold its lock.
 *
 * A worker process that executes another program: its locks are released by the kernel, and their next holder is told PLAIT_OWNER_DIED; other
 * plait objects treat it as dead. Yet it is not joined before the program ends, whose exit status it then has (PLAIT_DIED). It dies with its
 * parent as before. For both ties a descriptor each, numbered 200 or above, is open in the new program: one that closes them ends its children and
 * frees itself; one whose own children hold them longer than it lives keeps the workers alive for so long.
 * Python's counterpart: os.execv, execve, execvp, execvpe and, with PLAIT_ARGV (program.h), the forms with l. */
#ifndef PLAIT_EXEC_H
#define PLAIT_EXEC_H

#include <plait/program.h>

PLAIT_BEGIN_DECLS

/* Executes the program at `path`; in the forms with p a name without a slash is looked for in PATH (of env, if given), and what is no
 * program by itself is taken for a shell script; in those with e it gets the environment `env`, NULL at the end. If it fails, the process is as before.
 * Requires: path; argv with at least argv[0] (a program may rely on it), NULL at the end.
 * Returns: only if it failed: PLAIT_EINVAL (NULL, no argv[0], an environment entry without a name or '='), PLAIT_ENOENT, PLAIT_EACCES and what else
 *   execve(2) says; PLAIT_ENOMEM. Blocks: while the streams are flushed. Who: threads, processes, tasks; not signal handlers; after fork, yes.
 * Python: os.execv, os.execve, os.execvp, os.execvpe. */
PLAIT_API int plait_execv(const char *path, const char *const *argv);
PLAIT_API int plait_execve(const char *path, const char *const *argv, const char *const *env);
PLAIT_API int plait_execvp(const char *name, const char *const *argv);
PLAIT_API int plait_execvpe(const char *name, const char *const *argv, const char *const *env);

PLAIT_END_DECLS
#endif
