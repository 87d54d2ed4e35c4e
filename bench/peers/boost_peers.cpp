/* Boost.Fiber beside plait's tasks. Stacks are of 64 KiB, as plait's are. Needs: libboost-fiber-dev g++ */
#include "task_shape.h"
#include "timer_shape.h"
#include "worker_shape.h"

#include <boost/fiber/all.hpp>
#include <chrono>
#include <vector>

namespace fibers = boost::fibers;

enum { STACK = 64 * 1024 };

/* --- crews --- */

static void crew(int n, task_body *body, void *arg)
{
    std::vector<fibers::fiber> members;
    members.reserve(size_t(n));
    for (int i = 0; i < n; i++)
        members.emplace_back(std::allocator_arg, fibers::fixedsize_stack(STACK), body, arg, i);
    for (auto &member : members)
        member.join();
}

static void yield()
{
    boost::this_fiber::yield();
}

static fibers::unbuffered_channel<long> *channels[2];

static void put(task_place place, long item)
{
    channels[place]->push(item);
}

static long take(task_place place)
{
    return channels[place]->value_pop();
}

TASK_KIND(ours, crew, yield, put, take)

static double hand_over(const bench_subject *self)
{
    fibers::unbuffered_channel<long> items, answers;
    channels[TASK_ITEMS] = &items;
    channels[TASK_ANSWERS] = &answers;
    return task_hand_over(self);
}

/* --- start and join, with stacks from a pool --- */

static void start_join()
{
    static fibers::pooled_fixedsize_stack stacks(STACK);
    fibers::fiber(std::allocator_arg, stacks, [] {}).join();
}

static worker_cycle *const cycle = start_join;

/* --- parked --- */

static fibers::mutex mutex;
static fibers::condition_variable opened;
static bool is_open;

static void gate_wait()
{
    std::unique_lock<fibers::mutex> lock(mutex);
    opened.wait(lock, [] { return is_open; });
}

static void gate_open()
{
    std::unique_lock<fibers::mutex> lock(mutex);
    is_open = true;
    opened.notify_all();
}

static const task_gate gate = {crew, yield, gate_wait, gate_open};

/* --- sleepers --- */

static long sleepers;

static void sleep_all(long n)
{
    sleepers = n;
    crew(
        int(n),
        [](void *, int which) {
            boost::this_fiber::sleep_for(std::chrono::nanoseconds(timer_soon(which, sleepers)));
        },
        nullptr);
}

static timer_all *const sleeping = sleep_all;

static const struct bench_subject table[] = {
    BENCH_SUBJECT("task_switch", "Boost.Fiber", task_switch, &ours, 2),
    BENCH_SUBJECT("task_switch_100", "Boost.Fiber", task_switch, &ours, 100),
    BENCH_SUBJECT("task_start_join", "Boost.Fiber", worker_start, &cycle, 0),
    BENCH_SUBJECT("task_channel", "Boost.Fiber", hand_over, &ours, 0),
    BENCH_SUBJECT("task_parked_100k", "Boost.Fiber", task_parked, &gate, 100000),
    BENCH_SUBJECT("task_sleepers_100k", "Boost.Fiber", timer_run, &sleeping, 100000),
    {},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
