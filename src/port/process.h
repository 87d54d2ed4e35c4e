/* Processes: reaping, asking, signalling, and dying with one's parent. Errors are -errno. */
#ifndef PL_PORT_PROCESS_H
#define PL_PORT_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

struct pl_process_end {
    int status; /* exit code, if signal is 0 */
    int signal;
    bool core;
    int64_t user_ns, system_ns; /* peeked: of hundredths of a second */
    int64_t max_rss;            /* bytes; peeked: 0, not known */
};

/* How a zombie child has ended. It stays one, so that others can still ask, until it is collected. 0 with
 * *ret; -EAGAIN: it still runs; -ECHILD: not our child, or somebody else collected it (then the pid may
 * be a later process's, of another `birth`). */
int pl_process_reap(int pid, uint64_t birth, struct pl_process_end *ret);
void pl_process_collect(int pid);

/* Waits for a child that is about to end, and collects it. */
void pl_process_await(int pid);

/* Waits until a child is a zombie, at most until `deadline`. 0, -ETIMEDOUT, or -ENOSYS where pidfds
 * are not to be had: then poll pl_process_reap. */
int pl_process_wait(int pid, int64_t deadline);

/* When a process began, in the kernel's count: with the pid it names one process for ever. 0 if there
 * is no such process or no /proc. */
uint64_t pl_process_birth(int pid);

/* The same of a process that was made between two instants of pl_boot_time, if they tell it; 0: they lie in two ticks. */
uint64_t pl_process_birth_between(int64_t earliest, int64_t latest);

/* ns since boot. */
int64_t pl_boot_time(void);

/* Whether the process with this pid and birth (0: whatever its birth) is there and some thread of it
 * runs. Where the birth cannot be learned, the pid has to do. */
bool pl_process_lives(int pid, uint64_t birth);

/* Whether the process behind a handle has ended wholly, its first thread and all others. */
bool pl_process_has_ended(int handle);

/* Learns how any process of this user ended while it is a zombie, without collecting it; waits up
 * to `patience` ns for it to become one. `birth` tells it from a later process with the same pid;
 * 0: not known. 0, or a negative errno if it cannot be known. */
int pl_process_peek(int pid, uint64_t birth, int64_t patience, struct pl_process_end *ret);

/* Whether a child of this process runs: then its pid is its own, for it is not collected yet. Needs
 * neither a descriptor nor /proc. */
bool pl_process_child_runs(int pid);

/* How many threads a process has; 0: it is gone, or cannot be looked at. */
int pl_process_threads(int pid);

/* Whether no thread or process has this id. */
bool pl_process_gone(int tid);

/* Opens a handle to whatever process has this pid now; the caller makes sure after that it is the
 * one meant. A descriptor, or -errno. */
int pl_process_open(int pid);

/* Sends a signal through a handle. */
int pl_process_signal(int handle, int signal);

/* A lifeline: a pipe of which a parent holds the writing end and that no one writes to. When the
 * parent dies, of anything, the kernel closes it, and each child that is tied gets SIGKILL from the
 * kernel itself (O_ASYNC with F_SETSIG): no thread waits, none can be late. Unlike PDEATHSIG this
 * follows the process, not the thread that called fork. */
struct pl_lifeline {
    int read_end, write_end;
    uint64_t inode; /* of the pipe: the program may close our descriptors and use the numbers */
};

/* 0 or -errno. */
int pl_lifeline_make(struct pl_lifeline *ret);

/* Whether both descriptors are still the pipe's. */
bool pl_lifeline_is_whole(const struct pl_lifeline *line);

/* And whether this user may open it anew, as children have to. */
bool pl_lifeline_is_usable(const struct pl_lifeline *line);

/* In the parent, before it makes a child: the reading end opened anew, for that child alone; -1: there is no /proc, or no
 * descriptor. The child could do so too, but the kernel makes its part of /proc with the first look at it, which takes 50 us. */
int pl_lifeline_open(int read_end);

/* In the child: to be killed when the parent dies. Closes the inherited ends. `own` from pl_lifeline_open. If the parent is
 * dead already, does not return. */
void pl_lifeline_tie(const struct pl_lifeline *parents, int own);

/* The same for a process that has been handed the reading end alone, which is closed. */
void pl_lifeline_tie_to(int read_end, int own);

/* Before an exec: keeps the tie open beyond it, above the numbers that programs use. What to close if the exec fails; -1:
 * nothing. */
int pl_lifeline_keep(void);

/* In a forked child: lets go of the tie that its parent had to its own parent. */
void pl_lifeline_untie(void);

/* In the child: drops the inherited ends. */
void pl_lifeline_drop(const struct pl_lifeline *parents);

#endif
