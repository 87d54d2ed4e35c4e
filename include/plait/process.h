/* plait_process_options: what a new process is to have, be it another program (program.h) or a worker of the family.
 *
 *     plait_process_options at = {.cwd = "/srv/data", .nice = 5,
 *                                 .limits = (plait_limit[]){{RLIMIT_CORE, 0, 0}}, .n_limits = 1};
 *     plait_program *p;
 *     plait_program_start(&p, PLAIT_ARGV("sort", "names"), &(plait_program_options){.process = &at});
 *
 * All zero is the default: the starter's directory, environment, priority, processors, limits, group and user. All is
 * resolved and opened by the starter, and applied by the new process before anything of it runs; what fails is
 * reported to the starter, with the step, and the process is gone without a trace.
 *
 * Descriptors: 0, 1, 2 and those asked for; every other is closed in the new process. A standard stream that is closed
 * in the starter is /dev/null there.
 * Signals: none is blocked; handlers and ignored ones are at their default, but for SIGHUP, SIGINT and SIGQUIT, which stay
 * ignored if they are (nohup, a shell's &).
 * Death: the process is killed when the one that started it is gone, of whatever, unless it is started detached; see program.h.
 * Python's counterpart: the arguments of subprocess.Popen from cwd to umask, os.posix_spawn's file actions and flags. */
#ifndef PLAIT_PROCESS_H
#define PLAIT_PROCESS_H

#include <plait/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

PLAIT_BEGIN_DECLS

/* One of setrlimit(2)'s; UINT64_MAX: no limit. */
typedef struct plait_limit {
    int which; /* RLIMIT_CORE, ... */
    uint64_t soft, hard;
} plait_limit;

/* All zero is the default. What is pointed to is read by the starting call only. */
typedef struct plait_process_options {
    const char *cwd; /* directory to work in; NULL: the starter's */
    const char *const
        *env;        /* the whole environment, "NAME=value", NULL at the end; NULL: the starter's */
    int nice;        /* added to the niceness */
    const int *cpus; /* processors it may run on */
    size_t n_cpus;   /* 0: the starter's */
    const plait_limit *limits;
    size_t n_limits;
    const char *cgroup; /* directory of a cgroup (version 2) to enter */
    bool set_umask;     /* `umask` counts */
    unsigned int umask; /* mode bits that new files do not get */
    bool new_session;   /* setsid: a session and group of its own, without a terminal */
    bool take_terminal; /* with new_session: standard input becomes its controlling terminal */
    bool new_group;     /* a process group of its own */
    int process_group;  /* or this one, of its session; 0: the starter's */
    const char *user;   /* name or number; gets this user's groups, too, unless they are given */
    const char *group;  /* name or number */
    const char *const *groups; /* further groups, names or numbers */
    size_t n_groups;
    bool set_groups;   /* `groups` counts even if n_groups is 0 */
    bool keep_signals; /* blocked and ignored signals stay so */
    bool subreaper;    /* processes below it that lose their parent become its children */
} plait_process_options;

/* The steps from the first check to the new program's first instruction, to say which failed. */
enum plait_process_step {
    PLAIT_STEP_NONE = 0,
    PLAIT_STEP_ARGUMENTS, /* an argument or option that is not valid */
    PLAIT_STEP_STREAMS,   /* a pipe, or a file for a standard stream; path: the file */
    PLAIT_STEP_CLONE,     /* the new process itself */
    PLAIT_STEP_SESSION,   /* new_session, take_terminal */
    PLAIT_STEP_GROUP,     /* new_group, process_group */
    PLAIT_STEP_TIE,       /* that it dies with its starter */
    PLAIT_STEP_CGROUP,    /* path: the directory */
    PLAIT_STEP_NICE,
    PLAIT_STEP_CPUS,
    PLAIT_STEP_DESCRIPTORS, /* handing them over, closing the others */
    PLAIT_STEP_CWD,         /* path: the directory */
    PLAIT_STEP_LIMITS,
    PLAIT_STEP_USER,     /* user, group, groups; path: the name that is not known */
    PLAIT_STEP_CALLBACK, /* program.h's .before_exec returned an error */
    PLAIT_STEP_EXEC,     /* path: the program */
};

enum { PLAIT_FAILED_PATH_SIZE = 256 };

/* Why a process could not be started. */
typedef struct plait_process_failure {
    int code;                          /* what the call returned */
    int step;                          /* enum plait_process_step */
    int error;                         /* errno of what failed; 0: none, it was refused before */
    char path[PLAIT_FAILED_PATH_SIZE]; /* what it was about, cut if longer; "" if nothing */
} plait_process_failure;

/* The step in words ("changing to the directory"), for messages. Never NULL; constant. Never blocks; anyone may call. */
PLAIT_API const char *plait_process_step_text(int step);

PLAIT_END_DECLS
#endif
