/* Ctrl-C: asks the tree to end, or ends it.
 *
 * Naive: leave it to the default, by which each process dies at once, wherever it is; or to each process, which then all clean up
 * beside one another, and a parent takes its children's end for a failure. Cure: the first process of the family asks its
 * main worker, as plait_cancel does, and the request goes down the tree as the tree ends (finish.c). All
 * others do nothing. That needs no thread and no task: asking is adding to a word and waking, which may be done here,
 * in the signal handler itself; so it works while the main thread computes, and even in one that never waits the second Ctrl-C
 * does: it kills. Facts:
 *   1 everything here reads the worker table and makes system calls; nothing is locked, allocated or waited for;
 *   2 a second one is one that finds the first not taken back: the main worker has requests that are not undone;
 *   3 who is killed is named by a pidfd, opened while the worker's heart beats: then the pid is its own. */
#include "base/atomic.h"
#include "park/park.h"
#include "port/process.h"
#include "worker/signals.h"
#include "worker/worker_internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static int32_t interrupted_by; /* atomic: the signal; 0: none has come */
static uint32_t of_family;     /* atomic: a process that plait started for another of the family */
static int dies_of;            /* the signal of which the program is to be seen to die; 0: none */

void pl_interrupt_forget(void)
{
    __atomic_store_n(&interrupted_by, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&of_family, 0u, __ATOMIC_RELAXED);
    dies_of = 0;
}

void pl_interrupt_join_family(void)
{
    pl_store_seq_cst(&of_family, 1u);
}

/* --- the worker table --- */

/* The slot of this process's main thread. NULL: it is not registered, or has left. */
static struct pl_slot *find_main(void)
{
    int32_t pid = (int32_t)getpid();
    uint32_t ready = pl_arena ? pl_load_acquire(&pl_arena->slots_ready) : 0;
    for (uint32_t i = 1; i < ready; i++) {
        struct pl_slot *slot = pl_slot_at(i);
        if (pl_load_relaxed(&slot->tid) == pid && pl_load_acquire(&slot->pid) == pid &&
            pl_life_of(pl_load_acquire(&slot->life)) == PL_RUNNING && !pl_load_relaxed(&slot->host))
            return slot;
    }
    return NULL;
}

bool pl_interrupt_is_left_to_first(void)
{
    if (!pl_load_seq_cst(&of_family))
        return false;
    const struct pl_slot *slot = find_main();
    return !slot || !(pl_load_relaxed(&slot->flags) & PL_FLAG_DETACHED);
}

/* Whether a process is of the family. */
static bool is_known(int32_t pid)
{
    uint32_t ready = pl_arena ? pl_load_acquire(&pl_arena->slots_ready) : 0;
    for (uint32_t i = 1; i < ready; i++)
        if (pl_load_acquire(&pl_slot_at(i)->pid) == pid &&
            pl_life_of(pl_load_acquire(&pl_slot_at(i)->life)) == PL_RUNNING)
            return true;
    return false;
}

bool pl_interrupt_is_for_first(int signum, const siginfo_t *info)
{
    if (signum != SIGINT || !pl_interrupt_is_left_to_first())
        return false;
    bool sent = info->si_code == SI_USER || info->si_code == SI_TKILL;
    return !sent || !is_known((int32_t)info->si_pid);
}

static bool is_asked(struct pl_slot *slot)
{
    return pl_load_seq_cst(&slot->asked.made) != pl_load_relaxed(&slot->asked.undone);
}

/* --- killing --- */

static void kill_process(struct pl_slot *slot)
{
    uint64_t life = pl_load_acquire(&slot->life);
    int32_t pid = pl_load_acquire(&slot->pid);
    if (pl_life_of(life) != PL_RUNNING || pid <= 0 || pid == (int32_t)getpid() ||
        pid != pl_load_relaxed(&slot->tid) ||
        (pl_load_relaxed(&slot->flags) & (PL_FLAG_DETACHED | PL_FLAG_FOREIGN)))
        return;
    int handle = pl_process_open(pid);
    bool alive = !pl_heart_is_stopped(slot) && pl_load_acquire(&slot->life) == life; /* fact 3 */
    if (handle >= 0 && alive)
        pl_process_signal(handle, SIGKILL);
    else if (alive)
        kill(pid, SIGKILL);
    if (handle >= 0)
        close(handle);
}

/* All at once; their lifelines would kill them one after the other, and do it for those that are not registered yet.
 * Who is not tied to anybody takes care of himself: the detached, and what the program has forked itself. */
static void kill_all_others(void)
{
    uint32_t ready = pl_arena ? pl_load_acquire(&pl_arena->slots_ready) : 0;
    for (uint32_t i = 1; i < ready; i++)
        kill_process(pl_slot_at(i));
}

/* As by default. The first process of a container is spared by the kernel, so it exits as if killed. */
static _Noreturn void die_of(int signum)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, signum);
    sigaction(signum, &action, NULL);
    kill(getpid(), signum);
    pthread_sigmask(SIG_UNBLOCK, &only, NULL);
    _exit(128 + signum);
}

/* --- asking --- */

/* Asks those that this process has started; whether there is anybody. */
static bool ask_children(void)
{
    bool any = false;
    int32_t pid = (int32_t)getpid();
    uint32_t ready = pl_arena ? pl_load_acquire(&pl_arena->slots_ready) : 0;
    for (uint32_t i = 1; i < ready; i++) {
        struct pl_slot *slot = pl_slot_at(i);
        uint64_t life = pl_load_acquire(&slot->life);
        if (pl_load_relaxed(&slot->parent_pid) != pid || pl_life_of(life) != PL_RUNNING ||
            (pl_load_relaxed(&slot->flags) & PL_FLAG_DETACHED) || pl_load_relaxed(&slot->host))
            continue;
        any |= pl_cancel_request(slot, pl_generation_of(life)) == 0;
    }
    return any;
}

void pl_interrupt(int signum)
{
    struct pl_slot *main = find_main();
    bool again = pl_load_seq_cst(&interrupted_by) && (!main || is_asked(main)); /* fact 2 */
    pl_store_seq_cst(&interrupted_by, (int32_t)signum);
    if (again) {
        if (!pl_load_seq_cst(&of_family))
            kill_all_others();
        die_of(signum);
    }
    if (main)
        pl_cancel_request(main, pl_generation_of(pl_load_acquire(&main->life)));
    else if (!ask_children())
        die_of(signum);
}

/* --- the end --- */

void pl_signals_note_exit(int status)
{
    int signum = pl_load_seq_cst(&interrupted_by);
    struct pl_slot *main = signum ? find_main() : NULL;
    dies_of = main && is_asked(main) && status != 0 ? signum : 0;
}

/* As late as can be: what the program does at exit is done. What exit would do after is done here. */
__attribute__((destructor(101))) static void die_if_interrupted(void)
{
    if (dies_of == 0)
        return;
    fcloseall();
    die_of(dies_of);
}
