/* Dying at each change of shared memory: the victim is stepped through instruction by instruction.
 *
 * Naive: the hooks under the atomic operations are enough. Their hole: plain stores between two of
 * them, such as the links of a queue, leave states that no hook sees. Cure: the root traces the
 * victim (ptrace), compares the shared memory after each instruction, and kills it right after the
 * k-th change. Between two changes a death makes no difference to anybody; except that a system call
 * (waking somebody) changes no memory, so the instruction before each counts as well.
 *
 * It needs no hooks. Only the world and the worker table are compared: what operations of the
 * allocator change is left to its own test. */
#include "steps_internal.h"

#include "registry/registry.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

/* A part of shared memory and how it was before the instruction. */
struct area {
    const char *now;
    char *before;
    size_t size;
};

void st_be_traced(void)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
        steps_fail(__FILE__, __LINE__, "nobody may trace here");
    raise(SIGSTOP);
}

/* Waits until it stands still; false: it is dead, and not collected. */
static bool stands(pid_t pid)
{
    siginfo_t info;
    while (waitid(P_PID, (id_t)pid, &info, WSTOPPED | WEXITED | WNOWAIT) < 0)
        if (errno != EINTR)
            return false;
    if (info.si_code != CLD_TRAPPED && info.si_code != CLD_STOPPED)
        return false;
    return waitid(P_PID, (id_t)pid, &info, WSTOPPED) == 0;
}

static bool is_before_system_call(pid_t pid)
{
#if defined(__x86_64__)
    enum { SYSCALL = 0x050f };
    long at = ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user_regs_struct, rip), NULL);
    return (ptrace(PTRACE_PEEKTEXT, pid, at, NULL) & 0xffff) == SYSCALL;
#else
    (void)pid;
    return false;
#endif
}

static void watch(struct area *area, const void *start, size_t size)
{
    *area = (struct area){.now = start, .before = malloc(size ? size : 1), .size = size};
    memcpy(area->before, start, size);
}

/* The first word that has changed, or NULL; takes note of the change. */
static const void *changed_in(struct area *area)
{
    if (memcmp(area->now, area->before, area->size) == 0)
        return NULL;
    size_t i = 0;
    while (i + 1 < area->size && area->now[i] == area->before[i])
        i++;
    memcpy(area->before, area->now, area->size);
    return area->now + i / 4 * 4;
}

static void kill_here(struct fate *fate, pid_t pid, const char *what, const void *word)
{
    st_describe(fate->where, sizeof fate->where, what, word);
    st_look_last(fate);
    fate->killed_at = plait_now();
    st_tell(&fate->killed);
    kill(pid, SIGKILL);
    while (stands(pid))
        ptrace(PTRACE_CONT, pid, NULL, NULL);
}

void st_trace_victim(struct fate *fate)
{
    struct area world, slots;
    pid_t pid = plait_pid(fate->worker);
    watch(&world, st_now->world, st_now->s->world_size);
    watch(&slots, pl_slot_at(0), (size_t)pl_arena->slots_ready * PL_SLOT_SIZE);
    bool alive = stands(pid);
    while (alive && !st_look(&fate->finished)) {
        if (is_before_system_call(pid) && ++fate->steps == fate->k) {
            kill_here(fate, pid, "before a system call,", NULL);
            return;
        }
        ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL);
        alive = stands(pid);
        const void *word = changed_in(&world);
        word = word ? word : changed_in(&slots);
        if (alive && word && ++fate->steps == fate->k) {
            kill_here(fate, pid, "after changing", word);
            return;
        }
    }
    ptrace(PTRACE_DETACH, pid, NULL, NULL);
    free(world.before);
    free(slots.before);
}
