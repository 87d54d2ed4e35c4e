/* plait_once: the call after it is done, in private memory and in the arena. See once_shape.h. Peers:
 * pthread_once, std::call_once (neither is for processes). */
#include "once_shape.h"

#include <plait/plait.h>

static int nothing(void *unused, int notice)
{
    (void)unused, (void)notice;
    return 0;
}

static void call(void *once)
{
    bench_check(plait_once_call(once, nothing, NULL) >= 0, "not done");
}

static void *make(bool shared)
{
    plait_once *once = shared ? plait_alloc(128) : bench_private(sizeof *once);
    bench_check(once, "no once");
    call(once);
    return once;
}

ONCE_KIND(ours, make, call)

static const struct bench_subject table[] = {
    BENCH_SUBJECT("once_done", "plait", once_done, &ours, 0),
    BENCH_SUBJECT("once_done", "plait shared", once_done, &ours, 1),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
