/* Waking a thread that sleeps in the kernel on descriptors: by a signal, to exactly that thread.
 *
 * A sleeper on descriptors watches no word, so a request to stop must reach it otherwise. An eventfd per
 * thread that is polled too would cost a descriptor for each thread, and other processes could not
 * write to it; a helper thread would have to be woken itself. A signal costs nothing until it is sent.
 *
 * Naive: look at `cancel`, then poll; the canceller sends SIGURG, and poll returns EINTR. Its race: the signal
 * comes between the look and the sleep, is handled there, and the sleep goes on for ever. Cure: the signal is
 * blocked from before the look; ppoll and epoll_pwait unblock it at the instant they sleep.
 *
 *    sleeper                                      canceller
 *    1 blocks the signal                          a raises `cancel`     (seq_cst)
 *    2 in_poll = 1           (seq_cst)            b looks at in_poll    (seq_cst)
 *    3 looks at `cancel`     (seq_cst)            c if it is 1: tgkill
 *    4 sleeps with the signal unblocked
 *    5 in_poll = 0, unblocks the signal
 *
 * Of 2 and a one comes first. If a: 3 sees it. If 2: b sees 1, and the signal is either pending at 4, which
 * then does not sleep, or comes during 4, which it ends.
 *
 * SIGURG: ignored by default, so a stray one harms nobody, and hardly used by anybody (Go does the same). But an
 * ignored signal interrupts nothing; so a handler that does nothing is installed at the first wait if
 * there is none. A handler of the program stays, and does as well: it is called for nudges, too.
 *
 * What the program may do, and what then happens:
 *   - it blocks the signal itself, as many do with all signals in their threads: it stays blocked but in
 *     the sleep. Where it is not blocked it is unblocked after, so exec'ed programs inherit no change, unless
 *     they are spawned while a hold lasts (pl_poll_hold: the task loop), with SIGURG blocked then. Threads started then, too;
 *     both only as far as SIGURG goes. A forked child lets go of the hold.
 *   - it unblocks the signal: only inside our sleep, from a handler, could it do so where it matters, and there
 *     it is unblocked.
 *   - it changes other bits of its mask: that is the mask slept with, also in a hold. One that were kept from the hold's
 *     beginning would let in signals that are blocked since, say for a signalfd.
 *   - it sets the signal to SIG_IGN or SIG_DFL later: nudges are lost until the end of a nap, when the handler
 *     is installed again.
 *   - the sleeper belongs to another user (EPERM), or lies in a pid namespace where its ids are others: naps only.
 *
 * A canceller that is held up between b and c sends to a thread that sleeps no more: the handler is called where
 * the program is. It is installed with SA_RESTART, but calls that are never restarted (nanosleep, poll) may return EINTR:
 * rare, and as with any signal. If the thread is gone, tgkill finds nobody, or another thread of that
 * process; a process that has got the pid and a thread with the tid ignores it.
 *
 * A sleeper killed anywhere here leaves in_poll at 1 in a slot that is reset before it is used again. */
#include "base/atomic.h"
#include "park/park.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NUDGE = SIGURG };

/* The calling thread's; `mask` and `blocked_before` are valid while the signal is blocked by us. */
static _Thread_local struct {
    sigset_t mask;       /* the thread's own, less the signal */
    bool blocked_before; /* the thread had it blocked, so it stays so */
    bool held;           /* between pl_poll_hold and pl_poll_let_go */
} here __attribute__((tls_model("initial-exec")));

/* --- the handler --- */

static uint32_t installed; /* atomic; 1 once a look was had. Any thread sets it */

static void do_nothing(int signal)
{
    (void)signal;
}

/* A handler that the program installs between the two calls is lost; so it is rarely done. */
static void install(void)
{
    struct sigaction now, ours = {.sa_handler = do_nothing, .sa_flags = SA_RESTART | SA_ONSTACK};
    sigaction(NUDGE, NULL, &now);
    if (!(now.sa_flags & SA_SIGINFO) && (now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN))
        sigaction(NUDGE, &ours, NULL);
    pl_store_relaxed(&installed, 1u);
}

void pl_poll_renew(void)
{
    install();
}

/* --- the mask --- */

static void block(void)
{
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, NUDGE);
    pthread_sigmask(SIG_BLOCK, &only, &here.mask);
    if (!here.held)
        here.blocked_before = sigismember(&here.mask, NUDGE);
    sigdelset(&here.mask, NUDGE);
}

static void unblock(void)
{
    sigset_t only;
    if (here.blocked_before)
        return;
    sigemptyset(&only);
    sigaddset(&only, NUDGE);
    pthread_sigmask(SIG_UNBLOCK, &only, NULL);
}

void pl_poll_hold(void)
{
    if (!here.held)
        block();
    here.held = true;
}

void pl_poll_let_go(void)
{
    if (here.held)
        unblock();
    here.held = false;
}

__attribute__((constructor(101))) static void watch_fork(void)
{
    pthread_atfork(NULL, NULL, pl_poll_let_go);
}

const sigset_t *pl_poll_mask(void)
{
    return &here.mask;
}

/* --- sleeper and canceller --- */

void pl_poll_enter(struct pl_slot *slot)
{
    if (!pl_load_relaxed(&installed))
        install();
    block(); /* also in a hold: the program may have changed its mask, and we must sleep with it */
    if (pl_self.bell)
        pl_store_seq_cst(&pl_self.bell->slot, slot);
    pl_store_seq_cst(&slot->in_poll, 1u);
}

void pl_poll_leave(struct pl_slot *slot)
{
    pl_store_relaxed(&slot->in_poll, 0u);
    if (!here.held)
        unblock();
}

void pl_poll_nudge(struct pl_slot *slot)
{
    uint32_t host = pl_load_acquire(&slot->host);
    if (host)
        slot = pl_slot_of(host);
    if (!pl_load_seq_cst(&slot->in_poll))
        return;
    int saved = errno;
    syscall(SYS_tgkill, pl_load_relaxed(&slot->pid), pl_load_relaxed(&slot->tid), NUDGE);
    errno = saved;
}
