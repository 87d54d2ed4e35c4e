/* plait_event: a round trip between two workers with an event in each direction. See round_trip.h
 * for what is measured. Peers: peers/event_*.c.
 *
 * Read "busy" as what two workers in conversation pay, where spinning before sleeping should win,
 * and "asleep" as the price of waking somebody, where nothing beats the bare futex but a little
 * spinning on the way back. */
#include "round_trip.h"

#include <plait/plait.h>

static void *make(bool shared)
{
    plait_event *event = shared ? plait_alloc(128) : bench_private(sizeof *event);
    bench_check(event, "no event");
    return event;
}

static void ring(void *event)
{
    plait_event_set(event);
}

static void await(void *event)
{
    bench_check(plait_event_wait(event, PLAIT_FOREVER) == 0, "not waited");
    plait_event_clear(event);
}

TRIP_KIND(ours, make, ring, await)

static const struct bench_subject table[] = {
    TRIP_THREAD_CASES("event", "plait", ours, false),
    TRIP_PROCESS_CASES("event", "plait", ours, false),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
