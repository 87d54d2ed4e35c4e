/* pl_context_switch: what a switch between tasks cannot cost less than. See switch_shape.h. Peers: Boost.Context's
 * fcontext, which keeps the same registers, and libc's ucontext. */
#include "switch_shape.h"

#include "port/context.h"

static struct pl_context here, there;
static char stack[SWITCH_STACK] __attribute__((aligned(64)));

static void come_back(void *unused)
{
    (void)unused;
    for (;;)
        pl_context_switch(&there, &here);
}

static void make(void)
{
    pl_context_adopt(&here);
    pl_context_make(&there, stack, sizeof stack, come_back, NULL);
}

static inline void round_trip(void)
{
    pl_context_switch(&here, &there);
}

SWITCH_KIND(ours, make, round_trip)

static const struct bench_subject table[] = {
    BENCH_SUBJECT("context_switch", "plait", switch_bare, &ours, 0),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
