// Boost.Context's fcontext beside pl_context_switch, and for information beside a task's switch.
// Needs: libboost-context-dev
#include "switch_shape.h"

#include <boost/context/detail/fcontext.hpp>

namespace bc = boost::context::detail;

static bc::fcontext_t other;
alignas(64) static char stack[SWITCH_STACK];

static void come_back(bc::transfer_t from)
{
    for (;;)
        from = bc::jump_fcontext(from.fctx, nullptr);
}

static void make()
{
    other = bc::make_fcontext(stack + sizeof stack, sizeof stack, come_back);
}

static inline void round_trip()
{
    other = bc::jump_fcontext(other, nullptr).fctx;
}

SWITCH_KIND(boost_kind, make, round_trip)

static const struct bench_subject table[] = {
    BENCH_SUBJECT("context_switch", "Boost.Context", switch_bare, &boost_kind, 0),
    BENCH_INFO("task_switch", "Boost.Context", switch_bare, &boost_kind, 0),
    {},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
