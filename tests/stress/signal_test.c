/* Signals in a crowd: whatever the main thread does, none is lost, and no wait is cut short or made longer. */
#include "harness.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* In the arena: senders are threads and processes. */
struct world {
    plait_lock lock;
    plait_event never, tick;
    plait_semaphore permits;
    plait_condition condition;
    plait_worker sleeper;
    int pipe[2];
    pid_t target;
    long sent;    /* signals, by all */
    long covered; /* so many had been sent when the last handler began */
    long runs;
    long counted; /* arrivals that handlers were told of */
    long queued;
    int each; /* so many signals of each sender */
    int left; /* senders that are not done */
};

static void cover(const plait_signal_info *info, void *world)
{
    struct world *w = world;
    CHECK(info->count >= 1);
    long sent = SEEN(w->sent);
    ADD(w->counted, (long)info->count);
    COUNT(w->runs);
    TELL(w->covered, sent);
}

/* It also waits. */
static void cover_slowly(const plait_signal_info *info, void *world)
{
    struct world *w = world;
    cover(info, world);
    CHECK_RC(plait_lock_acquire(&w->lock, PLAIT_FOREVER), 0);
    CHECK_RC(plait_lock_release(&w->lock), 0);
    plait_sleep(plait_us(50));
}

static int send_and_see(void *world)
{
    struct world *w = world;
    for (int i = 0; i < w->each; i++) {
        long mine = COUNT(w->sent);
        CHECK_EQ(kill(w->target, SIGUSR1), 0);
        UNTIL(SEEN(w->covered) >= mine || t_is_under_tsan());
        if (i % 4 == 0) {
            CHECK_RC(plait_lock_acquire(&w->lock, PLAIT_FOREVER), 0);
            plait_sleep(plait_us(100));
            CHECK_RC(plait_lock_release(&w->lock), 0);
        }
    }
    ADD(w->left, -1);
    return 0;
}

static int wait_for_never(void *world)
{
    return plait_event_wait(&((struct world *)world)->never, PLAIT_FOREVER);
}

/* All kinds of waits in turn, each with a deadline that must hold. */
static void wait_in_some_way(struct world *w, int way)
{
    enum { TIME = 2 * 1000 * 1000 };
    int64_t start = plait_now();
    int rc;
    switch (way % 8) {
    case 0:
        rc = plait_event_wait(&w->never, TIME);
        break;
    case 1:
        rc = plait_semaphore_acquire(&w->permits, TIME);
        break;
    case 2:
        rc = plait_join(w->sleeper, NULL, TIME);
        break;
    case 3:
        rc = plait_wait_fd(w->pipe[0], PLAIT_READABLE, TIME);
        break;
    case 4:
        rc = plait_sleep(TIME) == 0 ? PLAIT_ETIMEDOUT : 0;
        break;
    case 5: {
        plait_lock own = {0};
        CHECK_RC(plait_lock_acquire(&own, TIME), 0);
        rc = plait_lock_acquire(&own, TIME); /* a plain lock: anybody may release it */
        break;
    }
    case 6:
        CHECK_RC(plait_lock_acquire(plait_condition_lock(&w->condition), PLAIT_FOREVER), 0);
        rc = plait_condition_wait(&w->condition, TIME);
        CHECK_RC(plait_lock_release(plait_condition_lock(&w->condition)), 0);
        break;
    default:
        CHECK_RC(plait_lock_acquire(&w->lock, PLAIT_FOREVER), 0);
        CHECK_RC(plait_lock_release(&w->lock), 0);
        return;
    }
    CHECK_RC(rc, PLAIT_ETIMEDOUT);
    CHECK(plait_now() - start >= TIME);
}

static struct world *new_world(int senders, int each)
{
    struct world *w = plait_alloc(sizeof *w);
    CHECK(w != NULL);
    CHECK_RC(plait_semaphore_init(&w->permits, 0, 0), 0);
    CHECK_EQ(pipe(w->pipe), 0);
    w->target = getpid();
    w->left = senders;
    w->each = each;
    w->sleeper = t_start_one(PLAIT_PROCESS, wait_for_never, w);
    return w;
}

static void end_world(struct world *w)
{
    CHECK_RC(plait_event_set(&w->never), 0);
    CHECK_EQ(t_join_one(w->sleeper), 0);
    close(w->pipe[0]);
    close(w->pipe[1]);
    plait_free(w);
}

enum { SENDERS = 4 };

static int storm(void *handler)
{
    plait_signal_function *const *fn = handler;
    plait_worker senders[SENDERS];
    struct world *w = new_world(SENDERS, (int)t_rounds(1000));
    CHECK_RC(plait_signal(SIGUSR1, *fn, w, NULL), 0);
    for (int i = 0; i < SENDERS; i++)
        senders[i] = t_start_one(i % 2 ? PLAIT_THREAD : PLAIT_PROCESS, send_and_see, w);
    for (int way = 0; SEEN(w->left) > 0; way++)
        wait_in_some_way(w, way);
    for (int i = 0; i < SENDERS; i++)
        CHECK_EQ(t_join_one(senders[i]), 0);
    CHECK_EQ(w->sent, (long)SENDERS * w->each);
    CHECK(w->counted <= w->sent && w->runs <= w->counted);
    CHECK(w->covered == w->sent || t_is_under_tsan());
    CHECK_RC(plait_signal(SIGUSR1, PLAIT_SIGNAL_DEFAULT, NULL, NULL), 0);
    end_world(w);
    return 0;
}

static plait_signal_function *const quick = cover, *const slow = cover_slowly;

static void after_each_signal_a_handler_runs(void **state)
{
    (void)state;
    CHECK_EQ(storm((void *)&quick), 0);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, storm, (void *)&quick)), 0);
}

static void also_if_handlers_wait(void **state)
{
    (void)state;
    CHECK_EQ(storm((void *)&slow), 0);
}

static int keep_busy(void *world)
{
    struct world *w = world;
    while (SEEN(w->left) > 0)
        CHECK_RC(plait_yield(), 0);
    return 0;
}

static int storm_beside_tasks(void *handler)
{
    struct world busy = {.left = 1};
    plait_worker task = t_start_one(PLAIT_TASK, keep_busy, &busy);
    CHECK_EQ(storm(handler), 0);
    TELL(busy.left, 0);
    CHECK_EQ(t_join_one(task), 0);
    return 0;
}

static void also_in_a_thread_with_tasks(void **state)
{
    (void)state;
    CHECK_EQ(plait_run(storm, (void *)&slow), 0);
    CHECK_EQ(plait_run(storm_beside_tasks, (void *)&quick), 0);
}

/* --- signals that queue --- */

static void add(const plait_signal_info *info, void *world)
{
    struct world *w = world;
    ADD(w->counted, (long)info->count);
}

static int queue_many(void *world)
{
    struct world *w = world;
    for (int i = 0; i < w->each; i++) {
        while (sigqueue(w->target, SIGRTMIN + 2, (union sigval){.sival_int = i}) < 0) {
            CHECK_EQ(errno, EAGAIN);
            plait_sleep(plait_us(100));
        }
        COUNT(w->sent);
    }
    ADD(w->left, -1);
    return 0;
}

static int count_queued(void *unused)
{
    (void)unused;
    plait_worker senders[SENDERS];
    struct world *w = new_world(SENDERS, (int)t_rounds(20000));
    CHECK_RC(plait_signal(SIGRTMIN + 2, add, w, NULL), 0);
    for (int i = 0; i < SENDERS; i++)
        senders[i] = t_start_one(i % 2 ? PLAIT_THREAD : PLAIT_PROCESS, queue_many, w);
    for (int way = 0; SEEN(w->left) > 0; way++)
        wait_in_some_way(w, way);
    for (int i = 0; i < SENDERS; i++)
        CHECK_EQ(t_join_one(senders[i]), 0);
    while (SEEN(w->counted) < w->sent && !t_is_under_tsan())
        CHECK_RC(plait_sleep(plait_us(200)), 0);
    CHECK(w->counted == (long)SENDERS * w->each || t_is_under_tsan());
    CHECK_RC(plait_signal(SIGRTMIN + 2, PLAIT_SIGNAL_DEFAULT, NULL, NULL), 0);
    end_world(w);
    return 0;
}

static void those_that_queue_are_all_counted(void **state)
{
    (void)state;
    CHECK_EQ(count_queued(NULL), 0);
    CHECK_EQ(plait_run(count_queued, NULL), 0);
}

/* --- taken by those who wait for them --- */

struct hall {
    pid_t target;
    int to_take;
    long sum; /* of what came along */
    sigset_t set;
};

static int take_some(void *hall)
{
    struct hall *h = hall;
    plait_signal_info info;
    int rc = 0;
    while (SEEN(h->to_take) > 0) {
        rc = plait_signal_wait(&h->set, &info, plait_ms(1));
        if (rc == PLAIT_ETIMEDOUT)
            continue;
        CHECK_RC(rc, SIGRTMIN + 3);
        ADD(h->sum, (long)(int)info.value);
        ADD(h->to_take, -1);
    }
    return 0;
}

static void each_is_taken_once_by_threads_and_tasks(void **state)
{
    (void)state;
    enum { TAKERS = 5 };
    struct hall h = {.target = getpid(), .to_take = (int)t_rounds(20000)};
    plait_worker takers[TAKERS];
    long expected = 0, n = h.to_take;
    sigemptyset(&h.set);
    sigaddset(&h.set, SIGRTMIN + 3);
    pthread_sigmask(SIG_BLOCK, &h.set, NULL);
    for (int i = 0; i < TAKERS; i++)
        takers[i] = t_start_one(i % 2 ? PLAIT_THREAD : PLAIT_TASK, take_some, &h);
    for (int i = 1; i <= n; i++) {
        while (sigqueue(h.target, SIGRTMIN + 3, (union sigval){.sival_int = i}) < 0)
            plait_sleep(plait_us(100));
        expected += i;
        if (i % 50 == 0)
            plait_sleep(plait_us(100));
    }
    for (int i = 0; i < TAKERS; i++)
        CHECK_EQ(t_join_one(takers[i]), 0);
    CHECK_EQ(h.sum, expected);
    CHECK_EQ(h.to_take, 0);
    pthread_sigmask(SIG_UNBLOCK, &h.set, NULL);
}

static int nothing_is_left(void **state)
{
    (void)state;
    return t_has_children() ? -1 : 0;
}

int main(int argc, char **argv)
{
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_each_signal_a_handler_runs),
        cmocka_unit_test(also_if_handlers_wait),
        cmocka_unit_test(also_in_a_thread_with_tasks),
        cmocka_unit_test(those_that_queue_are_all_counted),
        cmocka_unit_test(each_is_taken_once_by_threads_and_tasks),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
