/* Contexts: flows of one thread, each with a stack of its own, of which one runs at a time.
 *
 * A context that does not run is one pointer: what a function call has to keep lies on its stack, and the
 * pointer says where. A switch is a function call that returns into another flow: it keeps the registers that a callee keeps,
 * and how floating point rounds and traps, but neither the signal mask nor errno.
 *
 * Under sanitizers the same calls also tell them which stack runs now; without that ASan takes every other
 * stack for corrupted, and TSan takes the flows of a thread for one. TSan's limit is 8,127 flows and threads at once,
 * and it needs some 0.9 MiB for each. */
#ifndef PL_PORT_CONTEXT_H
#define PL_PORT_CONTEXT_H

#include "base/sanitizers.h"

#include <stddef.h>

/* Written by the thread it belongs to. */
struct pl_context {
    void *sp; /* while it does not run: what pl_context_swap kept, on the context's own stack */
#if PL_ASAN
    void *fake;      /* frames that ASan keeps elsewhere, while it does not run */
    const void *low; /* its stack */
    size_t size;
#endif
#if PL_TSAN
    void *fiber;    /* what TSan calls it */
    int is_threads; /* the fiber is the thread's own, adopted */
#endif
};

/* Prepares a context that runs entry(arg) on [low, low + size) at its first switch, with the rounding
 * of the caller. `entry` never returns: it ends with pl_context_leave. Touches the stack's topmost page only. */
void pl_context_make(struct pl_context *c, void *low, size_t size, void (*entry)(void *),
                     void *arg);

/* Makes the calling flow, that of the thread itself, one that can be switched away from. Once per thread, before. */
void pl_context_adopt(struct pl_context *c);

/* Frees what a context holds beyond its stack. It does not run, and will not again; or it is the thread's own, adopted, and all
 * others of the thread have been dropped. */
void pl_context_drop(struct pl_context *c);

/* The switch itself, by processor: keeps the calling flow's registers on its stack, where they are in *save,
 * and goes on with those at `load`. */
#if defined(__x86_64__) && defined(__LP64__) && !defined(PL_CONTEXT_UCONTEXT)
#include "port/arch/context_x86_64.h"
#else
void pl_context_swap(void **save, void *load);
#endif

#if !PL_ASAN && !PL_TSAN

/* Keeps the calling flow in *from and goes on with *to; returns when something switches back to *from. Both are of the calling
 * thread. */
static inline void pl_context_switch(struct pl_context *from, struct pl_context *to)
{
    pl_context_swap(&from->sp, to->sp);
}

/* As pl_context_switch, but the calling flow ends here: nothing switches to it again. Its stack is in use until
 * the other flow goes on, which may then drop it. */
_Noreturn static inline void pl_context_leave(struct pl_context *from, struct pl_context *to)
{
    pl_context_swap(&from->sp, to->sp);
    __builtin_unreachable();
}

#else

void pl_context_switch(struct pl_context *from, struct pl_context *to);
_Noreturn void pl_context_leave(struct pl_context *from, struct pl_context *to);

#endif
#endif
