// std::barrier, std::latch, std::call_once beside plait's. Needs: g++
#include "meet_shape.h"
#include "once_shape.h"

#include <barrier>
#include <latch>
#include <mutex>
#include <new>

// --- barrier ---

static void *make_barrier(bool, int workers)
{
    return new (bench_private(sizeof(std::barrier<>))) std::barrier<>(workers);
}

static void meet_at_barrier(void *barrier, int, long)
{
    static_cast<std::barrier<> *>(barrier)->arrive_and_wait();
}

MEET_KIND(barriers, make_barrier, meet_at_barrier)

// --- latch: four, used in turn; see latch_bench.c ---

enum { LATCHES = 4 };

struct latches {
    int workers;
    struct alignas(128) {
        long met;
    } by[8];
    struct alignas(128) {
        alignas(std::latch) char bytes[sizeof(std::latch)];
    } at[LATCHES];
};

static void *make_latches(bool, int workers)
{
    latches *place = static_cast<latches *>(bench_private(sizeof(latches)));
    place->workers = workers;
    for (auto &at : place->at)
        new (at.bytes) std::latch(workers);
    return place;
}

static void meet_at_latch(void *arg, int which, long)
{
    latches *place = static_cast<latches *>(arg);
    long turn = place->by[which].met++;
    reinterpret_cast<std::latch *>(place->at[turn % LATCHES].bytes)->arrive_and_wait();
    if (which == 0)
        new (place->at[(turn + 2) % LATCHES].bytes) std::latch(place->workers);
}

MEET_KIND(latch_kind, make_latches, meet_at_latch)

// --- once ---

static void call_once(void *once)
{
    std::call_once(*static_cast<std::once_flag *>(once), [] {});
}

static void *make_once(bool)
{
    void *once = new (bench_private(sizeof(std::once_flag))) std::once_flag;
    call_once(once);
    return once;
}

ONCE_KIND(onces, make_once, call_once)

static const struct bench_subject table[] = {
    MEET_THREAD_CASES("barrier", "std::barrier", barriers),
    MEET_THREAD_CASES("latch", "std::latch", latch_kind),
    BENCH_SUBJECT("once_done", "std::call_once", once_done, &onces, 0),
    {},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
