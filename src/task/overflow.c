/* Overflows: a handler for SIGSEGV that recognises the guards of stacks.
 *
 * An overflow is a write to the guard page, so the thread gets SIGSEGV, and there is no stack left to
 * handle it on: the handler has one of its own, per thread (sigaltstack). Everything it calls is allowed in signal
 * handlers.
 *
 *   1. The handler is installed once per process, with the first watch, and never removed: others may have been installed
 *      over it, and removing it then would undo theirs.
 *   2. Every SIGSEGV goes on to the handler that was there before, also a reported one; if there was none, the default is
 *      put back and the fault happens again, at the same instruction, so that core dumps show the place. */
#include "task/overflow.h"

#include "base/atomic.h"
#include "task/stack.h"

#include <errno.h>
#include <plait/error.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

const char *(*pl_overflow_name)(void);

/* For the handler and for those it goes on to, beside the frame that the kernel makes. */
enum { ROOM = 32 << 10 };

static struct sigaction
    previous;         /* written before `installed` is 2; SIG_DFL again by the handler */
static int installed; /* 1: being installed, by the thread that set it; 2: done */

/* The calling thread's. */
static _Thread_local struct {
    int watches;
    void *map; /* the stack for signals that it got from here; NULL: it had one */
    size_t size;
} mine;

/* --- the report, without anything that a signal handler must not call --- */

struct line {
    char text[256];
    size_t n;
};

static void add(struct line *l, const char *text)
{
    while (*text && l->n < sizeof l->text)
        l->text[l->n++] = *text++;
}

static void add_number(struct line *l, size_t number)
{
    char digits[24];
    size_t at = sizeof digits - 1;
    digits[at] = 0;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    add(l, digits + at);
}

static void report(const struct pl_stack *stack)
{
    const char *name = pl_overflow_name ? pl_overflow_name() : NULL;
    struct line l = {.n = 0};
    add(&l, "plait: stack overflow: task \"");
    add(&l, name && *name ? name : "?");
    add(&l, "\" has used up its stack of ");
    add_number(&l, stack->size);
    add(&l, " bytes; start it with a larger .stack_size\n");
    ssize_t written = write(STDERR_FILENO, l.text, l.n);
    (void)written; /* with no standard error there is nobody to tell */
}

/* --- the handler --- */

/* Fact 2, no handler: the fault happens again, and a signal that somebody sent is sent again. */
static void die_by_default(int signal, const siginfo_t *info)
{
    struct sigaction plain = {.sa_handler = SIG_DFL};
    sigaction(signal, &plain, NULL);
    if (info->si_code <= 0)
        syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), signal);
}

static void go_on(int signal, siginfo_t *info, void *context)
{
    struct sigaction old = previous;
    bool informed = old.sa_flags & SA_SIGINFO;
    if (!informed && old.sa_handler == SIG_IGN && info->si_code <= 0)
        return; /* sent, and ignored; a fault cannot be */
    if (!informed && (old.sa_handler == SIG_DFL || old.sa_handler == SIG_IGN)) {
        die_by_default(signal, info);
        return;
    }
    if (old.sa_flags & SA_RESETHAND) {
        previous.sa_handler = SIG_DFL;
        previous.sa_flags = 0;
    }
    sigset_t before;
    pthread_sigmask(SIG_BLOCK, &old.sa_mask, &before);
    if (old.sa_flags & SA_NODEFER) {
        sigset_t itself;
        sigemptyset(&itself);
        sigaddset(&itself, signal);
        pthread_sigmask(SIG_UNBLOCK, &itself, NULL);
    }
    if (informed)
        old.sa_sigaction(signal, info, context);
    else
        old.sa_handler(signal);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void handle(int signal, siginfo_t *info, void *context)
{
    int saved = errno;
    struct pl_stack stack;
    if (info->si_code > 0 && pl_stack_guards(info->si_addr, &stack))
        report(&stack);
    errno = saved;
    go_on(signal, info, context);
}

static void install(void)
{
    int none = 0;
    if (pl_load_acquire(&installed) == 2 || !pl_cas_acquire(&installed, &none, 1)) /* A:overflow */
        return;
    struct sigaction ours = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&ours.sa_mask);
    sigaction(SIGSEGV, NULL, &previous); /* at the first signal it is to be there */
    sigaction(SIGSEGV, &ours, NULL);
    pl_store_release(&installed, 2); /* R:overflow */
}

/* --- the stack for it --- */

static size_t least_room(void)
{
    return (size_t)getauxval(AT_MINSIGSTKSZ) + MINSIGSTKSZ;
}

static int give_stack(void)
{
    stack_t now;
    if (sigaltstack(NULL, &now) == 0 && !(now.ss_flags & SS_DISABLE) && now.ss_size >= least_room())
        return 0;
    size_t size = least_room() + ROOM;
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (map == MAP_FAILED)
        return PLAIT_ENOMEM;
    if (sigaltstack(&(stack_t){.ss_sp = map, .ss_size = size}, NULL) != 0) {
        munmap(map, size); /* it runs on a small one right now: a handler calls us */
        return 0;
    }
    mine.map = map;
    mine.size = size;
    return 0;
}

/* If the thread runs on it, it stays: a handler calls us. If the program has put another in its place, that stays. */
static void take_stack(void)
{
    stack_t now, none = {.ss_flags = SS_DISABLE};
    if (!mine.map || sigaltstack(NULL, &now) != 0)
        return;
    if (now.ss_sp != mine.map || sigaltstack(&none, NULL) == 0)
        munmap(mine.map, mine.size);
    mine.map = NULL;
}

int pl_overflow_watch(void)
{
    if (mine.watches++ > 0)
        return 0;
    int saved = errno;
    int failed = give_stack();
    if (failed)
        mine.watches = 0;
    else
        install();
    errno = saved;
    return failed;
}

void pl_overflow_unwatch(void)
{
    if (mine.watches == 0 || --mine.watches > 0)
        return;
    int saved = errno;
    take_stack();
    errno = saved;
}
