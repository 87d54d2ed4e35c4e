/* plait_latch: two and four workers that meet at one latch after the other. See meet_shape.h for what is
 * measured. Peers: std::latch, and a count under a pthread mutex and condition.
 *
 * A latch opens once. There are four, used in turn, over all runs; the first worker closes the one that
 * all have left, which is that of two meetings ago. */
#include "meet_shape.h"

#include <plait/plait.h>

enum { LATCHES = 4, APART = 128 };

struct place {
    int workers;
    char apart[124];
    struct {
        long met; /* meetings of this worker */
        char apart[120];
    } by[8];
    union {
        plait_latch latch;
        char apart[APART];
    } at[LATCHES];
};

static void *make(bool shared, int workers)
{
    struct place *place = shared ? plait_alloc(sizeof *place) : bench_private(sizeof *place);
    bench_check(place, "no latches");
    place->workers = workers;
    for (int i = 0; i < LATCHES; i++)
        plait_latch_init(&place->at[i].latch, workers);
    return place;
}

static void meet(void *arg, int which, long i)
{
    struct place *place = arg;
    (void)i;
    long turn = place->by[which].met++;
    bench_check(plait_latch_arrive_and_wait(&place->at[turn % LATCHES].latch, PLAIT_FOREVER) == 0,
                "not met");
    if (which == 0)
        plait_latch_init(&place->at[(turn + 2) % LATCHES].latch, place->workers);
}

MEET_KIND(ours, make, meet)

static const struct bench_subject table[] = {
    MEET_THREAD_CASES("latch", "plait", ours),
    MEET_PROCESS_CASES("latch", "plait", ours),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
