/* swapcontext beside pl_context_switch: it also keeps the signal mask, by a system call. Needs: libc6-dev */
#include "switch_shape.h"

#include <ucontext.h>

static ucontext_t here, there;
static char stack[SWITCH_STACK] __attribute__((aligned(64)));

static void come_back(void)
{
    for (;;)
        swapcontext(&there, &here);
}

static void make(void)
{
    getcontext(&there);
    there.uc_stack.ss_sp = stack;
    there.uc_stack.ss_size = sizeof stack;
    makecontext(&there, come_back, 0);
}

static inline void round_trip(void)
{
    swapcontext(&here, &there);
}

SWITCH_KIND(libc, make, round_trip)

static const struct bench_subject table[] = {
    BENCH_SUBJECT("context_switch", "ucontext", switch_bare, &libc, 0),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
