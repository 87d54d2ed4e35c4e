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

enum { PICTURE_SLOTS = 64 };

/* What is compared, as it was before the instruction: what the victim may change, and others who sleep
 * do not. */
struct picture {
    char *world;
    struct pl_slot own;                  /* the victim's entry */
    struct pl_turn turns[PICTURE_SLOTS]; /* the places of others in queues */
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

/* The first word of `now` that differs from `before`, or NULL; `before` is brought up to date. */
static const void *compare(const void *now, void *before, size_t size)
{
    const char *a = now, *b = before;
    if (memcmp(a, b, size) == 0)
        return NULL;
    size_t i = 0;
    while (i + 1 < size && a[i] == b[i])
        i++;
    memcpy(before, now, size);
    return a + i / 4 * 4;
}

/* The first change since the last look, or NULL. */
static const void *look_for_change(struct picture *p, struct pl_slot *victim)
{
    const void *word = compare(st_now->world, p->world, st_now->s->world_size);
    const void *in_slot = compare(victim, &p->own, sizeof p->own);
    word = word ? word : in_slot;
    for (uint32_t i = 0; i < pl_arena->slots_ready && i < PICTURE_SLOTS; i++) {
        const void *in_turn = compare(&pl_slot_at(i)->turn, &p->turns[i], sizeof p->turns[i]);
        word = word ? word : in_turn;
    }
    return word;
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

/* One instruction. False: the victim is dead, by its own or by our doing. */
static bool step(struct fate *fate, pid_t pid, struct picture *p)
{
    if (is_before_system_call(pid) && ++fate->steps == fate->k) {
        kill_here(fate, pid, "before a system call,", NULL);
        return false;
    }
    ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL);
    if (!stands(pid))
        return false;
    const void *word = look_for_change(p, pl_slot_at(fate->worker.slot));
    if (!word || ++fate->steps != fate->k)
        return true;
    kill_here(fate, pid, "after changing", word);
    return false;
}

void st_trace_victim(struct fate *fate)
{
    struct picture p = {.world = calloc(1, st_now->s->world_size + 1)};
    pid_t pid = plait_pid(fate->worker);
    look_for_change(&p, pl_slot_at(fate->worker.slot));
    bool alive = stands(pid);
    while (alive && !st_look(&fate->finished))
        alive = step(fate, pid, &p);
    if (alive)
        ptrace(PTRACE_DETACH, pid, NULL, NULL);
    free(p.world);
}
