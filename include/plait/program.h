/* plait_program: another program, started, fed, read, waited for and ended; by threads, processes and tasks alike.
 *
 *     plait_run_result r;
 *     plait_run_options how = {.capture = true, .check = true};
 *     int rc = plait_run_program(PLAIT_ARGV("git", "rev-parse", "HEAD"), &how, &r, plait_seconds(5));
 *     if (rc == 0)
 *         printf("at %s", r.out);
 *     else
 *         fprintf(stderr, "%s (%s): %s\n", plait_strerror(rc), plait_process_step_text(r.failure.step), r.err);
 *     plait_run_free(&r);
 *
 * plait_run_program does it all: start, input, output, end, and in time. plait_program_start is for what stays for longer.
 *
 * Starting costs the same for small and large programs: no memory is copied. A start that fails is told exactly, with errno,
 * step and path, and leaves nothing.
 * A program has standard streams and no other descriptors than those passed to it; see process.h for what else it has.
 * No plait call ever waits for children in general, nor touches SIGCHLD: other libraries' children, and the program's own, stay theirs.
 * If others do (SIGCHLD ignored, a wait(2) for any child), Linux 6.15 and later still tells how it ended; before, PLAIT_ENOSTATUS does.
 *
 * A handle belongs to the process that made it; any of its threads and tasks may use it, at once, except for plait_program_close. In
 * a forked child all calls but that one answer PLAIT_ECHILD.
 * Death: a program is killed by the kernel when the process that started it is gone, of whatever, and not if only the thread is.
 * That is what one descriptor in it is for, the reading end of a pipe, numbered 200 or above: a program that closes all that it does not
 * know, and one that changes its user by setuid bit, outlive their starter. What it has started itself dies with it only if it
 * is in the program's own process group (.new_group, .new_session). Started with .detach, a program is not tied.
 * Python's counterpart: subprocess.Popen, subprocess.run, asyncio.create_subprocess_exec. */
#ifndef PLAIT_PROGRAM_H
#define PLAIT_PROGRAM_H

#include <plait/clock.h>
#include <plait/process.h>
#include <plait/stream.h>

PLAIT_BEGIN_DECLS

typedef struct plait_program plait_program;

/* The arguments of a program: PLAIT_ARGV("ls", "-l"). Of C only; lives as long as the block around it. */
#define PLAIT_ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})

/* --- what to start --- */

/* Where a standard stream comes from, goes to. */
enum plait_stream_kind {
    PLAIT_INHERIT = 0, /* as in the starter; /dev/null if that has it closed */
    PLAIT_PIPE,        /* to the starter: plait_program_in, _out, _err */
    PLAIT_NULL,        /* /dev/null */
    PLAIT_FD,          /* the descriptor .fd, which stays the caller's */
    PLAIT_FILE,        /* the file .path: read; or made, emptied (unless .append) and written */
    PLAIT_MERGED,      /* of .err only: where .out goes */
};

/* All zero: inherited. */
typedef struct plait_stream_spec {
    int kind; /* enum plait_stream_kind */
    int fd;
    const char *path;
    bool append; /* write at the file's end */
} plait_stream_spec;

/* The program is to have the caller's descriptor `from` as number `to`. */
typedef struct plait_fd_move {
    int from, to;
} plait_fd_move;

/* All zero is the default. What is pointed to is read by the starting call only. */
typedef struct plait_program_options {
    const plait_process_options
        *process; /* directory, environment, user, ...; NULL: as the caller's */
    plait_stream_spec in, out, err;
    int pipe_size; /* bytes a pipe holds, F_SETPIPE_SZ; 0: the system's 64 KiB */
    size_t limit;  /* bytes that plait_program_communicate keeps of each output; 0: no limit */
    const char *executable; /* what is run instead of argv[0], which it is told all the same */
    bool shell; /* argv[0] is a script for /bin/sh (or .executable), the others its $0, $1, ... */
    const int *fds; /* descriptors to pass under their own numbers */
    size_t n_fds;
    const plait_fd_move *moves; /* and under others, in any permutation */
    size_t n_moves;
    bool detach; /* it outlives the caller's process, and is not killed by plait_program_close */
    /* Called in the new process last before the program, in memory that it may share with the caller: it may only do what a
     * signal handler may. Returns 0, or an errno, with which the start fails. */
    int (*before_exec)(void *arg);
    void *before_exec_arg;
    plait_process_failure *failure; /* out: why the start failed; not touched if it did not */
} plait_program_options;

/* How a program ended. */
typedef struct plait_program_end {
    int pid;
    int status; /* exit code; -signal if killed (as Python); -1 if unknown */
    int signal; /* 0: it ended by itself */
    bool core_dumped;
    bool unknown;               /* somebody else has collected it: PLAIT_ENOSTATUS */
    int64_t user_ns, system_ns; /* processor time used; 0 if unknown */
    int64_t max_rss;            /* most memory it had resident, bytes */
} plait_program_end;

/* Starts a program. argv[0] without a slash is looked for in the PATH of its environment; a relative path counts from its directory.
 * What is no program by itself (ENOEXEC) is taken for a shell script, as execvp does.
 * Requires: ret; argv with at least argv[0], NULL at the end.
 * Returns: 0 with *ret set; else *ret is untouched, nothing is left, and options->failure says more: PLAIT_EINVAL (argv NULL or
 *   empty, options that contradict, an environment entry without a name or '='), PLAIT_ENOENT, PLAIT_EACCES and whatever else
 *   the system says of the program, directory, file, user or limit; PLAIT_EBADF (a descriptor to pass), PLAIT_EAGAIN (limit on processes),
 *   PLAIT_EMFILE, PLAIT_ENOMEM; and as opening a .path may fail in a task.
 * Blocks: until the program runs or cannot, which is the kernel's time to read its file. Who: threads, processes, tasks; not signal
 *   handlers; after fork, yes. Ownership: the handle is the caller's, for plait_program_close.
 * Python: subprocess.Popen(args, ...), os.posix_spawn, os.spawnv. */
PLAIT_API int plait_program_start(plait_program **ret, const char *const *argv,
                                  const plait_program_options *options);

/* Starts n programs, each one's output the next one's input. Of the options, .in is the first one's, .out the last one's, the rest counts for all.
 * If one cannot be started, those before it are killed and collected.
 * Returns: as plait_program_start, with ret[0] to ret[n - 1] set; PLAIT_EINVAL also for n < 1. Python: Popen(stdin=other.stdout). */
PLAIT_API int plait_program_start_pipeline(plait_program **ret, const char *const *const *argvs,
                                           int n, const plait_program_options *options);

/* --- its streams --- */

/* The caller's ends of its pipes; NULL if there is none, or it was closed. They belong to the handle: not to be closed with plait_stream_close,
 * but with plait_program_close_in. Never block. Python: Popen.stdin, .stdout, .stderr. */
PLAIT_API plait_stream *plait_program_in(plait_program *program);
PLAIT_API plait_stream *plait_program_out(plait_program *program);
PLAIT_API plait_stream *plait_program_err(plait_program *program);

/* Closes the pipe to its standard input: it reads the end. Again: 0.
 * Returns: 0, PLAIT_EINVAL (NULL), PLAIT_ECHILD. Never blocks. Python: Popen.stdin.close(). */
PLAIT_API int plait_program_close_in(plait_program *program);

/* What plait_program_communicate has read so far. The bytes are the handle's, followed by a zero byte. */
typedef struct plait_captured {
    const char *out, *err; /* "" if there is no such pipe */
    size_t out_size, err_size;
} plait_captured;

/* Writes `input` to the program, reads both outputs to their ends, and waits for its end; all at once, so that no size of any of them
 * blocks another. Pipes that are done are closed. A program that does not read all of its input is no error.
 * After PLAIT_ETIMEDOUT, PLAIT_ECANCELED and PLAIT_ENOMEM nothing is lost, the program goes on, and the call may be made again, with the same input: what was
 * written is skipped, what was read is kept. Once it is over it gives the same again.
 * The end of an output is there when *all* that hold it have closed it: a process that the program has left behind with it may keep this
 * call waiting after the program's end. Use a timeout.
 * Requires: input if size > 0, and then a pipe for it. ret may be NULL.
 * Returns: 0; PLAIT_ELIMIT (an output is longer than .limit: that much of it is kept, the rest can be read from the stream),
 *   PLAIT_ENOSTATUS (all is read; how it ended is not known), PLAIT_ETIMEDOUT, PLAIT_ECANCELED, PLAIT_EBUSY (another worker communicates
 *   or reads), PLAIT_EINVAL (another input than before), PLAIT_EOVERFLOW, PLAIT_ENOMEM, PLAIT_ECHILD, PLAIT_EMFILE, and as
 *   registering may fail: PLAIT_EARENA, PLAIT_EWORKERS. *ret is filled in, but with PLAIT_EINVAL, PLAIT_EBUSY and PLAIT_ECHILD.
 * Blocks: yes, cancellable. Who: threads, tasks of the process; not signal handlers. Python: Popen.communicate(input, timeout). */
PLAIT_API int plait_program_communicate(plait_program *program, const void *input, size_t size,
                                        plait_captured *ret, int64_t timeout);

/* --- its end --- */

/* Waits for its end. Any number of workers may; each gets the result, also later ones.
 * Waiting for a program that fills a pipe which nobody reads is a deadlock: see plait_program_communicate.
 * Returns: 0 with *ret (may be NULL) filled in; PLAIT_ENOSTATUS (it has ended, how is not known; *ret says so), PLAIT_ETIMEDOUT, PLAIT_ECANCELED,
 *   PLAIT_EINVAL, PLAIT_EOVERFLOW, PLAIT_ECHILD, and as registering may fail: PLAIT_EARENA, PLAIT_ENOMEM, PLAIT_EWORKERS.
 * Blocks: yes, cancellable. Who: threads, tasks of the process; not signal handlers. Python: Popen.wait(timeout). */
PLAIT_API int plait_program_wait(plait_program *program, plait_program_end *ret, int64_t timeout);

/* The same without waiting. Returns: 0, PLAIT_ENOSTATUS; PLAIT_EBUSY (it runs; a stopped one, too), PLAIT_EINVAL, PLAIT_ECHILD.
 * Never blocks. Python: Popen.poll(). */
PLAIT_API int plait_program_poll(plait_program *program, plait_program_end *ret);

/* Sends it a signal; SIGTERM; SIGKILL. It reaches this program or nobody, also when its pid is in use again.
 * Returns: 0; PLAIT_ESRCH (it has ended), PLAIT_EPERM (it runs as another user), PLAIT_EINVAL (no such signal), PLAIT_ECHILD. Never block.
 * Who: threads, tasks of the process; not signal handlers. Python: send_signal, terminate, kill. */
PLAIT_API int plait_program_signal(plait_program *program, int signal);
PLAIT_API int plait_program_terminate(plait_program *program);
PLAIT_API int plait_program_kill(plait_program *program);

/* Kills it and all below it: what it has started, what that has started, and so on; and its process group and session, if it has
 * its own. They are stopped first, so that none escapes. Those that have lost their parent are found if the program was started as
 * a .subreaper (as plait_run_program does), or are in its group or session. Returns when all are gone.
 * Returns: 0; PLAIT_ESRCH (it has ended and is collected), PLAIT_EPERM (some run as another user; the others are gone), PLAIT_EBUSY (some
 *   are dying and not gone after 5 s), PLAIT_ENOTSUP (no /proc, or no pidfds: it alone is killed), PLAIT_EMFILE, PLAIT_ENOMEM (it and those
 *   found are killed), PLAIT_ECHILD, PLAIT_EINVAL.
 * Blocks: briefly; not cancellable. Who: as plait_program_wait. Python: os.killpg, and psutil's children(recursive=True). */
PLAIT_API int plait_program_kill_tree(plait_program *program);

/* Closes the pipes and gives the handle up. A program that still runs is killed before, with all below it, and collected, unless it is detached.
 * So nothing is left behind, whatever happened before. NULL does nothing. In a forked child the handle's copy is freed and nothing else.
 * Returns: 0. Blocks: only if it has to kill; not cancellable. Who: one worker, while no other uses the handle.
 * Python: the end of "with Popen(...)", which waits instead. */
PLAIT_API int plait_program_close(plait_program *program);

/* Its pid. A descriptor that is readable once it has ended, for plait_wait_fd; it stays the handle's; PLAIT_ENOTSUP: not on this kernel.
 * PLAIT_EINVAL (NULL). Never block. Python: Popen.pid, os.pidfd_open. */
PLAIT_API int plait_program_pid(const plait_program *program);
PLAIT_API int plait_program_fd(const plait_program *program);

/* --- all in one --- */

/* All zero is the default. */
typedef struct plait_run_options {
    plait_program_options program; /* .limit is of each output; .detach must not be set */
    const void *input;             /* written to its standard input, which then is a pipe */
    size_t input_size;
    bool has_input; /* a pipe also if input_size is 0 */
    bool capture;   /* out and err are pipes and come back in the result, unless they were given */
    bool check;     /* a status other than 0 is PLAIT_ESTATUS */
} plait_run_options;

/* What came of it; filled in in any case but PLAIT_EINVAL for ret, and to be given to plait_run_free. */
typedef struct plait_run_result {
    plait_program_end end; /* pid 0: it did not start */
    char *out, *err;       /* what was captured, and a zero byte; never NULL */
    size_t out_size, err_size;
    plait_process_failure failure; /* if it did not start */
} plait_run_result;

/* Runs a program to its end. Whatever goes wrong, and when the time is over, it is killed with all below it and collected, and what it had
 * written by then is in the result. It is started as a .subreaper to that end.
 * Returns: 0; PLAIT_ESTATUS (.check: its status is not 0), PLAIT_ENOSTATUS, PLAIT_ELIMIT (killed, having written more than .limit),
 *   PLAIT_ETIMEDOUT, PLAIT_ECANCELED (both: killed), PLAIT_EINVAL (input and another .in, capture and another .out or .err, .detach), and as plait_program_start
 *   and plait_program_communicate.
 * Blocks: yes, cancellable. Who: threads, processes, tasks; not signal handlers; after fork, yes.
 * Python: subprocess.run, call, check_call, check_output; with .shell: os.system. */
PLAIT_API int plait_run_program(const char *const *argv, const plait_run_options *options,
                                plait_run_result *ret, int64_t timeout);

/* The same for n programs, each one's output the next one's input: `input` goes to the first, the last one's output and the errors of all
 * come back. ends: NULL, or n entries, how each one ended; ret->end is the last one's. With .check PLAIT_ESTATUS if any status is not 0,
 * but for those that died of SIGPIPE before the last one. Returns: as plait_run_program. */
PLAIT_API int plait_run_pipeline(const char *const *const *argvs, int n,
                                 const plait_run_options *options, plait_run_result *ret,
                                 plait_program_end *ends, int64_t timeout);

/* Frees what a result holds and zeroes it. Zeroed: nothing. */
PLAIT_API void plait_run_free(plait_run_result *result);

/* Runs a command of the shell and gives what it has written to both outputs, less one line end at the end, in *ret, to be freed with free().
 * Returns: its status, 0 to 255; else as plait_run_program: PLAIT_EDIED if a signal killed it. *ret is what was written, also then; NULL
 *   only for PLAIT_EINVAL and PLAIT_ENOMEM. Python: subprocess.getstatusoutput(command). */
PLAIT_API int plait_shell_output(const char *command, char **ret, int64_t timeout);

PLAIT_END_DECLS
#endif
