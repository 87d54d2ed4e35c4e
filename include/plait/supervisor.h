/* Supervisors: workers that are started in order, watched, and started again when they end.
 *
 * A supervisor does no work of its own. It runs in a worker - thread, process or task - starts its children, of any kind,
 * and sleeps until one of them ends or somebody asks it for something. What happens then is said beforehand, so that the
 * program itself need not know what to do about a crash: it begins that part of itself afresh.
 *
 *     static plait_supervisor s; // or in the arena: then every process of the family may ask it
 *
 *     int main(int argc, char **argv)
 *     {
 *         plait_init(&argc, &argv);
 *         plait_supervisor_init(&s, &(plait_supervisor_options){.strategy = PLAIT_REST_FOR_ONE});
 *         plait_supervisor_add(&s, &(plait_child){.name = "store", .kind = PLAIT_PROCESS, .function = store}, NULL, 0);
 *         plait_supervisor_add(&s, &(plait_child){.name = "web", .kind = PLAIT_THREAD, .function = web}, NULL, 0);
 *         return plait_supervisor_run(&s) < 0; // until it is stopped, or gives up
 *     }
 *
 * Which end counts as normal: the function returned 0, a positive number or PLAIT_ECANCELED, or a process called exit(0).
 *
 * Restarting: `.restart` says of each child whether it is started again. The strategy says who else is: nobody, all
 * children, or those that come after it in order. They are stopped first, in reverse order, and all are started in order. A
 * child that cannot be started again counts as having ended again. More than
 * `.intensity` restarts within `.period` mean that starting again does not help: then all are stopped and
 * plait_supervisor_run returns PLAIT_EINTENSITY. A supervisor may be the child of another, which sees that as an abnormal end and
 * starts the whole branch afresh: a tree.
 *
 * Stopping a child: it is asked to (plait_cancel). A process that is there still after half its `.grace` gets SIGTERM, at the end of
 * it SIGKILL. A thread or a task cannot be ended from outside: it is asked again each time its grace is over, which is
 * reported (PLAIT_REPORT_REFUSED), and waited for however long it takes, as it shares the memory of the others.
 *
 * Death of the supervisor: if its process is killed, its threads and tasks are gone with it, and the kernel kills its
 * processes (worker.h); whoever waits for it is told PLAIT_EDIED. In the arena, the table of children is left, and
 * plait_supervisor_run may be called on it again, by whoever starts the dead one anew: it begins afresh. A program's exit waits
 * for a supervisor as for any worker: stop it first.
 *
 * All zero it is ready: one for one, 3 restarts in 5 seconds, no children. It is some 24 KiB, so better not on the stack of a
 * task. It must not be copied or freed while it runs. Limits: PLAIT_SUPERVISOR_CHILDREN children, more by a tree. Python has no counterpart; the
 * idea is Erlang's (OTP's supervisor). */
#ifndef PLAIT_SUPERVISOR_H
#define PLAIT_SUPERVISOR_H

#include <plait/lock.h>
#include <plait/worker.h>

PLAIT_BEGIN_DECLS

enum {
    PLAIT_SUPERVISOR_CHILDREN = 64,
    PLAIT_SUPERVISOR_INTENSITY = 128, /* the largest that can be counted */
};

/* Who is restarted when a child has ended that is to be. */
enum plait_strategy {
    PLAIT_ONE_FOR_ONE = 0,  /* that child */
    PLAIT_ONE_FOR_ALL = 1,  /* all */
    PLAIT_REST_FOR_ONE = 2, /* that child and those after it */
};

/* Which ends of a child call for a restart. */
enum plait_restart {
    PLAIT_PERMANENT = 0, /* each */
    PLAIT_TRANSIENT = 1, /* those that are not normal */
    PLAIT_TEMPORARY = 2, /* none; when it ends, also for the sake of another, it is forgotten */
};

/* A child as it is to be. All zero but the first three is the default. */
typedef struct plait_child {
    const char *name; /* copied; 1 to 31 bytes, no two alike in a supervisor */
    int kind;         /* enum plait_kind */
    plait_function *function;
    void *argument; /* as plait_start's; with options.arg_size each start copies it. It stays as it
                     * is while the child is in the table */
    int restart;    /* enum plait_restart */
    bool ready;     /* it calls plait_supervisor_ready: only then it counts as started */
    int64_t ready_timeout; /* ns for that, then the start has failed; 0: for ever */
    int64_t grace;         /* ns to end by itself when it is stopped; 0: 5 s, 1: as good as none,
                            * PLAIT_FOREVER: all it wants (for a supervisor as a child) */
    plait_options options; /* for plait_start; without detach; the name is the child's */
} plait_child;

/* Where a child stands. */
enum plait_child_state {
    PLAIT_CHILD_STOPPED = 0,
    PLAIT_CHILD_STARTING = 1, /* not ready yet */
    PLAIT_CHILD_RUNNING = 2,
    PLAIT_CHILD_STOPPING = 3,
};

/* What a supervisor reports. */
enum plait_report {
    PLAIT_REPORT_START = 1,    /* a child was started: `worker` */
    PLAIT_REPORT_READY = 2,    /* it has said that it is ready */
    PLAIT_REPORT_NO_START = 3, /* it could not be started, or was not ready in time: `error` */
    PLAIT_REPORT_END = 4,      /* it has ended: `blame`; `asked`, if it was stopped */
    PLAIT_REPORT_RESTART = 5,  /* it is to be restarted: `restarts` in this period */
    PLAIT_REPORT_REFUSED = 6,  /* a thread or task has not stopped by the end of its grace */
    PLAIT_REPORT_GIVE_UP = 7,  /* too many restarts: `restarts` */
    PLAIT_REPORT_OVER = 8,     /* all are stopped: `error` is what the run returns */
};

typedef struct plait_supervisor_report {
    int event;                   /* enum plait_report */
    char child[PLAIT_NAME_SIZE]; /* empty: the supervisor itself */
    plait_worker worker;
    int error;
    int restarts;
    bool asked;
    int64_t when; /* plait_now() */
    plait_blame blame;
} plait_supervisor_report;

/* Called in the supervisor's worker, between two things that it does. It should not take long, and must not end the worker. */
typedef void plait_supervisor_listener(const plait_supervisor_report *report, void *argument);

/* All zero is the default. */
typedef struct plait_supervisor_options {
    int strategy;   /* enum plait_strategy */
    int intensity;  /* restarts within `period` that are borne; 0: 3; negative: none */
    int64_t period; /* ns; 0: 5 s */
    bool ends;      /* it is over, with 0, once no child runs; else it then waits for orders */
    plait_supervisor_listener *listener; /* told of everything; NULL: nobody */
    void *argument;                      /* for it */
} plait_supervisor_options;

/* A child as it is. */
typedef struct plait_child_info {
    char name[PLAIT_NAME_SIZE];
    plait_worker worker; /* the last one; all zero: never started */
    int kind, restart;
    int state;        /* enum plait_child_state */
    int starts;       /* how often it was started */
    int restarts;     /* how many of these because it, or another, had ended */
    int failures;     /* how often it ended unasked and not normally */
    plait_blame last; /* its last end; .worker all zero: none yet */
} plait_child_info;

/* A function where processes of several images of the program find it. Its fields are not for direct use, like the following. */
typedef struct plait_function_place_ {
    plait_function *address;
    uint64_t place[3];
} plait_function_place_;

typedef struct plait_supervised_ {
    plait_child spec; /* but for name and function */
    plait_function_place_ function;
    char name[PLAIT_NAME_SIZE];
    uint32_t place; /* children are in the order of these numbers; 0: the entry is free */
    int state, starts, restarts, failures;
    plait_worker worker;
    plait_blame last;
} plait_supervised_;

typedef struct plait_order_ {
    uint32_t word; /* IDLE, ASKED or DONE */
    int what, result;
    char name[PLAIT_NAME_SIZE];
    plait_child child;
    plait_function_place_ function;
    plait_worker worker;
} plait_order_;

typedef struct plait_supervisor {
    plait_lock lock_;               /* for the table, and for who the owner is */
    plait_lock desk_;               /* one order at a time */
    struct plait_supervisor *self_; /* to notice copies; NULL: not used yet */
    uint32_t forks_;                /* the process that uses it, if it is private */
    uint32_t owner_;                /* id of the worker that runs it; 0: none. Atomic */
    uint32_t stop_;                 /* it is to end. Atomic */
    uint32_t places_;               /* the last place given. Under lock_ */
    plait_supervisor_options options_;
    plait_function_place_ listener_;
    plait_supervised_ children_[PLAIT_SUPERVISOR_CHILDREN];
    plait_order_ order_;
    int64_t restarts_[PLAIT_SUPERVISOR_INTENSITY]; /* when the last ones were. The owner's */
    int n_restarts_;
} plait_supervisor;

/* Sets the options of a supervisor that has not been used, and empties it. Zeroed memory needs no init; NULL: all defaults.
 * Returns: 0; PLAIT_EINVAL (NULL, unknown strategy, intensity above PLAIT_SUPERVISOR_INTENSITY, negative period);
 *   in the arena as registering may fail.
 * Blocks: no. Who: anyone, while nobody uses it. Python: none; OTP: init/1. */
PLAIT_API int plait_supervisor_init(plait_supervisor *supervisor,
                                    const plait_supervisor_options *options);

/* Adds a child, as the last in order. If the supervisor runs, the child is started and waited for until it is (`.ready`).
 * Requires: child as above; a function of the program or of a library; an argument, and pointers in its options, that the supervisor's
 *   process can use.
 * Returns: 0, with *ret (if not NULL) the worker, all zero if it is not started yet; PLAIT_EINVAL (bad name, kind, restart or time, no function,
 *   options.detach or .name), PLAIT_EEXIST (there is one of that name), PLAIT_EOVERFLOW (PLAIT_SUPERVISOR_CHILDREN already), and
 *   all that plait_start returns, PLAIT_EDIED or the negative status (it ended before it was ready), PLAIT_ETIMEDOUT too if it was not
 *   ready in its time: then it is not in the table. Of orders to one that runs: PLAIT_ETIMEDOUT (the order
 *   stands, and will be carried out), PLAIT_ECANCELED (so it will, if it was placed by then), PLAIT_EBUSY (all that time other orders were being
 *   carried out: this one was not placed), PLAIT_ECLOSED (it ends), PLAIT_EDIED (the supervisor has died), PLAIT_EDEADLK
 *   (the caller is the supervisor, in its listener), PLAIT_ECHILD (private, copied by a fork), and as registering may fail.
 * Blocks: yes if it runs, cancellable; orders are carried out one after the other. Who: threads, processes, tasks that see it.
 * OTP: supervisor:start_child. */
PLAIT_API int plait_supervisor_add(plait_supervisor *supervisor, const plait_child *child,
                                   plait_worker *ret, int64_t timeout);

/* Stops a child if it runs, and forgets it.
 * Returns: 0; PLAIT_ENOENT (none of that name), PLAIT_EINVAL, and as every order (add).
 * Blocks, who: as add. OTP: terminate_child and delete_child. */
PLAIT_API int plait_supervisor_remove(plait_supervisor *supervisor, const char *name,
                                      int64_t timeout);

/* Stops a child if it runs, and starts it. That does not count for the intensity, and concerns no other child.
 * Returns: 0 with *ret (if not NULL) the new worker; PLAIT_ENOENT; PLAIT_ECLOSED (the supervisor does not run); why it could not be started (it is
 *   in the table still); PLAIT_EINVAL, and as every order (add).
 * Blocks, who: as add. OTP: terminate_child and restart_child. */
PLAIT_API int plait_supervisor_restart(plait_supervisor *supervisor, const char *name,
                                       plait_worker *ret, int64_t timeout);

/* The children in order: fills up to `most` entries of `array` and returns how many there are. Of a supervisor that does not run, or
 * has died, all are stopped. PLAIT_EINVAL (NULL, most negative, array NULL with most > 0), PLAIT_ECHILD, and as registering may fail.
 * Blocks: only while another reads or changes the table. Who: as add. OTP: which_children, count_children. */
PLAIT_API int plait_supervisor_list(plait_supervisor *supervisor, plait_child_info *array,
                                    int most);

/* Tells the supervisor to stop its children and to end, and waits until it has; one that does not run is left alone.
 * Returns: 0; PLAIT_ETIMEDOUT, PLAIT_ECANCELED (it ends all the same); PLAIT_EDIED, PLAIT_EINVAL, PLAIT_EOVERFLOW, PLAIT_ECHILD, and as registering may
 *   fail. In its listener: 0 at once.
 * Blocks: yes, cancellable. Who: as add; a child that calls it is stopped itself meanwhile. OTP: sys:terminate, or the parent's exit. */
PLAIT_API int plait_supervisor_stop(plait_supervisor *supervisor, int64_t timeout);

/* Runs the supervisor in the calling worker: starts its children in order and looks after them until it is told to stop, asked
 * to (plait_cancel, or a scope that is over), has given up, or has nothing left (`.ends`). Then all are stopped in reverse order.
 * Requires: supervisor, which nobody runs.
 * Returns, when no child is left: 0 (plait_supervisor_stop, .ends); PLAIT_ECANCELED; PLAIT_EINTENSITY; why a child could not be started
 *   in the beginning (as add). Before anything is done: PLAIT_EINVAL (NULL, a copy), PLAIT_EBUSY (it runs),
 *   PLAIT_ECHILD (private, copied by a fork), and as registering may fail: PLAIT_EARENA, PLAIT_ENOMEM, PLAIT_EWORKERS.
 * Blocks: yes, cancellable. Who: threads, processes, tasks; not signal handlers. OTP: supervisor:start_link. */
PLAIT_API int plait_supervisor_run(plait_supervisor *supervisor);

/* Starts a worker that runs it. For a process it has to lie in the arena.
 * Returns: as plait_start; the status of the worker is what plait_supervisor_run returns.
 * Blocks: no. Who: as plait_start. */
PLAIT_API int plait_supervisor_start(plait_worker *ret, plait_supervisor *supervisor, int kind,
                                     const plait_options *options);

/* Says that the calling worker is ready, if it is the child of a supervisor that waits for that (`.ready`); else nothing
 * happens, so that a function may say so wherever it runs.
 * Returns: 0, and as registering may fail. Never blocks. Who: the child itself, not a worker that it started; not signal handlers.
 * OTP: proc_lib:init_ack. */
PLAIT_API int plait_supervisor_ready(void);

PLAIT_END_DECLS
#endif
