/* Tasks under load. Invariants:
 *   - a task that was started ends exactly once, whoever started, cancels and joins it, and never runs if it was
 *     cancelled before its first step;
 *   - tasks, threads and processes exclude each other exactly, whatever times out or is cancelled meanwhile;
 *   - no sleep is too short, and no permit is lost, however timers, requests and wake-ups meet. */
#include "harness/harness.h"

#include <string.h>

static uint64_t seed_of(uint64_t *random)
{
    return t_random(random) | 1;
}

/* --- loops that send each other tasks --- */

enum { LOOPS = 4, IN_FLIGHT = 24, RECENT = 64 };

struct job {
    int begun, ended, what;
    uint64_t seed;
    plait_worker worker;
};

static struct {
    plait_worker loops[LOOPS];
    int arrived, done;
    uint64_t recent[RECENT]; /* handles, whole or of the past */
    plait_semaphore permits;
    plait_event all_done;
    long started, joined, unborn, cancelled;
} town;

static void publish(const struct job *job, uint64_t *random)
{
    TELL(town.recent[t_below(random, RECENT)],
         (uint64_t)job->worker.slot << 32 | job->worker.generation);
}

static void cancel_someone(uint64_t *random)
{
    uint64_t handle = SEEN(town.recent[t_below(random, RECENT)]);
    plait_worker w = {.slot = (uint32_t)(handle >> 32), .generation = (uint32_t)handle};
    if (!w.slot)
        return;
    int rc = plait_cancel(w);
    CHECK(rc == 0 || rc == PLAIT_ESRCH || rc == PLAIT_ESTALE);
    if (rc == 0)
        COUNT(town.cancelled);
}

static int use_permit(struct job *job)
{
    int rc = plait_semaphore_acquire(&town.permits, PLAIT_FOREVER);
    if (rc < 0)
        return rc;
    plait_yield();
    CHECK_RC(plait_semaphore_release(&town.permits, 1), 0);
    return t_below(&job->seed, 2) ? plait_yield() : 0;
}

static int do_job(void *arg)
{
    struct job *job = arg;
    int rc = 0;
    CHECK_EQ(COUNT(job->begun), 1);
    switch (job->what) {
    case 0:
        rc = plait_yield();
        break;
    case 1:
        rc = plait_sleep(t_below(&job->seed, 200 * 1000));
        break;
    case 2:
        cancel_someone(&job->seed);
        break;
    default:
        rc = use_permit(job);
        break;
    }
    CHECK(rc == 0 || rc == PLAIT_ECANCELED);
    CHECK_EQ(COUNT(job->ended), 1);
    return rc;
}

static void send_job(struct job *job, uint64_t *random)
{
    plait_options o = {.loop = town.loops[t_below(random, LOOPS)],
                       .delay = t_below(random, 4) ? 0 : t_below(random, 100 * 1000)};
    *job = (struct job){.what = t_below(random, 4), .seed = seed_of(random)};
    CHECK_RC(plait_start(&job->worker, PLAIT_TASK, do_job, job, &o), 0);
    COUNT(town.started);
    publish(job, random);
}

static void join_job(struct job *job)
{
    plait_blame end;
    CHECK_RC(plait_join(job->worker, &end, plait_seconds(T_PATIENCE_S)), 0);
    COUNT(town.joined);
    CHECK_EQ(SEEN(job->begun), SEEN(job->ended));
    if (!SEEN(job->begun)) {
        CHECK_EQ(end.status, PLAIT_ECANCELED);
        COUNT(town.unborn);
    }
    CHECK_RC(plait_join(job->worker, NULL, PLAIT_NOWAIT), PLAIT_ESTALE);
    job->worker.slot = 0;
}

static int send_and_join(void *arg)
{
    struct job jobs[IN_FLIGHT] = {{0}};
    uint64_t random = *(uint64_t *)arg;
    town.loops[random % LOOPS] = plait_loop(); /* they were given numbers so */
    COUNT(town.arrived);
    while (SEEN(town.arrived) < LOOPS)
        CHECK_RC(plait_sleep(plait_us(100)), 0);
    for (long i = 0, n = t_rounds(4000); i < n; i++) {
        struct job *job = &jobs[t_below(&random, IN_FLIGHT)];
        if (job->worker.slot)
            join_job(job);
        send_job(job, &random);
        if (t_below(&random, 4) == 0)
            cancel_someone(&random);
    }
    for (int i = 0; i < IN_FLIGHT; i++)
        if (jobs[i].worker.slot)
            join_job(&jobs[i]);
    if (COUNT(town.done) == LOOPS)
        CHECK_RC(plait_event_set(&town.all_done), 0);
    return plait_event_wait(&town.all_done, PLAIT_FOREVER); /* others may send here still */
}

static int run_member(void *arg)
{
    return plait_run(send_and_join, arg);
}

/* A thread without a loop. */
static int cancel_all_the_time(void *arg)
{
    uint64_t random = *(uint64_t *)arg;
    while (SEEN(town.done) < LOOPS) {
        cancel_someone(&random);
        t_dither(&random, 20 * 1000);
    }
    return 0;
}

static void every_task_ends_once_whoever_sent_cancels_and_joins_it(void **state)
{
    (void)state;
    uint64_t random = t_seed(), seeds[LOOPS + 1];
    plait_worker members[LOOPS], canceller;
    memset(&town, 0, sizeof town);
    CHECK_RC(plait_semaphore_init(&town.permits, 2, 2), 0);
    for (int i = 0; i <= LOOPS; i++)
        seeds[i] = (t_random(&random) / LOOPS / 2) * LOOPS + (uint64_t)i;
    for (int i = 0; i < LOOPS; i++)
        members[i] = t_start_one(PLAIT_THREAD, run_member, &seeds[i]);
    canceller = t_start_one(PLAIT_THREAD, cancel_all_the_time, &seeds[LOOPS]);
    for (int i = 0; i < LOOPS; i++)
        CHECK_EQ(t_join_one(members[i]), 0);
    CHECK_EQ(t_join_one(canceller), 0);
    CHECK_EQ(town.started, LOOPS * t_rounds(4000));
    CHECK_EQ(town.joined, town.started);
    CHECK_EQ(plait_semaphore_value(&town.permits), 2);
    print_message("%ld tasks, %ld requests to stop, %ld never began\n", town.started,
                  town.cancelled, town.unborn);
}

/* --- tasks, threads and processes --- */

enum { WORKERS = 4, TASKS = 6, PERMITS = 3 };

struct place {
    plait_lock lock;
    plait_semaphore permits;
    plait_event gate;
    long plain;   /* under the lock */
    long taken;   /* atomic: times the lock was taken */
    int inside;   /* atomic */
    long refused; /* atomic */
    uint64_t seed;
};

static void take_lock(struct place *p, uint64_t *random)
{
    int64_t timeout = t_below(random, 3) ? PLAIT_FOREVER : t_below(random, 50 * 1000);
    int rc = plait_lock_acquire(&p->lock, timeout);
    if (rc == PLAIT_ETIMEDOUT || rc == PLAIT_ECANCELED) {
        COUNT(p->refused);
        return;
    }
    CHECK_RC(rc, 0);
    long seen = p->plain;
    if (t_below(random, 8) == 0)
        plait_yield(); /* others of this thread run while we hold it */
    p->plain = seen + 1;
    COUNT(p->taken);
    CHECK_RC(plait_lock_release(&p->lock), 0);
}

static void take_permit(struct place *p, uint64_t *random)
{
    int64_t timeout = t_below(random, 3) ? PLAIT_FOREVER : t_below(random, 50 * 1000);
    int rc = plait_semaphore_acquire(&p->permits, timeout);
    if (rc == PLAIT_ETIMEDOUT || rc == PLAIT_ECANCELED) {
        COUNT(p->refused);
        return;
    }
    CHECK_RC(rc, 0);
    CHECK(COUNT(p->inside) <= PERMITS);
    if (t_below(random, 8) == 0)
        plait_yield();
    ADD(p->inside, -1);
    CHECK_RC(plait_semaphore_release(&p->permits, 1), 0);
}

static void pass_gate(struct place *p, uint64_t *random)
{
    if (t_below(random, 2))
        CHECK_RC(plait_event_set(&p->gate), 0);
    else if (t_below(random, 2))
        CHECK_RC(plait_event_clear(&p->gate), 0);
    else
        plait_event_wait(&p->gate, t_below(random, 50 * 1000));
}

static int contend(void *arg)
{
    struct place *p = arg;
    uint64_t random = ADD(p->seed, 12345) * 2 + 1;
    for (long i = 0, n = t_rounds(300); i < n; i++) {
        switch (t_below(&random, 4)) {
        case 0:
            take_permit(p, &random);
            break;
        case 1:
            pass_gate(p, &random);
            break;
        default:
            take_lock(p, &random);
            break;
        }
    }
    return 0;
}

static int contend_with_tasks(void *arg)
{
    struct place *p = arg;
    plait_worker w[TASKS];
    uint64_t random = ADD(p->seed, 54321) * 2 + 1;
    for (int i = 0; i < TASKS; i++)
        CHECK_RC(plait_start(&w[i], PLAIT_TASK, contend, p, NULL), 0);
    for (int i = 0; i < 20; i++) {
        int rc = plait_cancel(w[t_below(&random, TASKS)]);
        CHECK(rc == 0 || rc == PLAIT_ESRCH);
        CHECK_RC(plait_sleep(t_below(&random, 1000 * 1000)), 0);
    }
    for (int i = 0; i < TASKS; i++)
        CHECK_RC(plait_join(w[i], NULL, plait_seconds(T_PATIENCE_S)), 0);
    return 0;
}

static int contend_in_run(void *arg)
{
    return plait_run(contend_with_tasks, arg);
}

static void tasks_threads_and_processes_exclude_each_other(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    FOR_EACH_TASKLESS_SETTING(s)
    {
        struct place *p = t_new(s, sizeof *p);
        struct t_team with, without;
        p->seed = seed;
        CHECK_RC(plait_semaphore_init(&p->permits, PERMITS, PERMITS), 0);
        t_start(&with, s, WORKERS, contend_in_run, p);
        t_start(&without, s, 2, contend, p);
        t_join(&with);
        t_join(&without);
        CHECK_EQ(p->plain, p->taken);
        CHECK(p->taken > 0);
        CHECK_EQ(p->inside, 0);
        CHECK_EQ(plait_semaphore_value(&p->permits), PERMITS);
        CHECK_RC(plait_lock_acquire(&p->lock, PLAIT_NOWAIT), 0);
        CHECK_RC(plait_lock_release(&p->lock), 0);
        t_delete(s, p);
    }
}

/* --- timers --- */

enum { SLEEPERS = 60 };

static struct {
    plait_semaphore permits;
    long taken, given, slept, refused;
    int stop;
} hall;

static int take_what_comes(void *arg)
{
    uint64_t random = (uintptr_t)arg | 1;
    while (!SEEN(hall.stop)) {
        int64_t time = t_below(&random, 50 * 1000), now = plait_now();
        int rc = plait_semaphore_acquire(&hall.permits, time);
        if (rc == 0)
            hall.taken++;
        CHECK(rc != PLAIT_ETIMEDOUT || plait_now() - now >= time);
        CHECK(rc == 0 || rc == PLAIT_ETIMEDOUT || rc == PLAIT_ECANCELED);
        if (rc < 0 && t_below(&random, 4) == 0)
            plait_yield();
    }
    return 0;
}

static int sleep_well(void *arg)
{
    uint64_t random = (uintptr_t)arg | 1;
    while (!SEEN(hall.stop)) {
        int64_t time = t_below(&random, 300 * 1000), now = plait_now();
        int rc = plait_sleep(time);
        CHECK(rc == 0 || rc == PLAIT_ECANCELED);
        CHECK(rc < 0 || plait_now() - now >= time);
        hall.slept += rc == 0;
        hall.refused += rc < 0;
    }
    return 0;
}

static int give_from_outside(void *arg)
{
    uint64_t random = *(uint64_t *)arg;
    while (!SEEN(hall.stop)) {
        CHECK_RC(plait_semaphore_release(&hall.permits, 1), 0);
        COUNT(hall.given);
        t_dither(&random, 30 * 1000);
    }
    return 0;
}

static int cancel_and_give(void *arg)
{
    plait_worker w[SLEEPERS];
    uint64_t random = *(uint64_t *)arg;
    for (int i = 0; i < SLEEPERS; i++)
        CHECK_RC(plait_start(&w[i], PLAIT_TASK, i % 2 ? sleep_well : take_what_comes,
                             (void *)(uintptr_t)(t_random(&random) >> 8), NULL),
                 0);
    plait_yield(); /* who is cancelled before his first step does not run */
    for (long i = 0, n = t_rounds(8000); i < n; i++) {
        CHECK_RC(plait_cancel(w[t_below(&random, SLEEPERS)]), 0);
        if (t_below(&random, 2)) {
            CHECK_RC(plait_semaphore_release(&hall.permits, 1), 0);
            COUNT(hall.given);
        }
        CHECK_RC(plait_sleep(t_below(&random, 20 * 1000)), 0);
    }
    TELL(hall.stop, 1);
    for (int i = 0; i < SLEEPERS; i++)
        CHECK_RC(plait_join(w[i], NULL, plait_seconds(T_PATIENCE_S)), 0);
    return 0;
}

static void timers_requests_and_permits_that_meet_lose_nothing(void **state)
{
    (void)state;
    uint64_t random = t_seed();
    memset(&hall, 0, sizeof hall);
    plait_worker giver = t_start_one(PLAIT_THREAD, give_from_outside, &random);
    assert_int_equal(plait_run(cancel_and_give, &random), 0);
    CHECK_EQ(t_join_one(giver), 0);
    CHECK_EQ(hall.taken + plait_semaphore_value(&hall.permits), hall.given);
    CHECK(hall.taken > 0 && hall.slept > 0 && hall.refused > 0);
    print_message("%ld permits, %ld sleeps, %ld refused\n", hall.given, hall.slept, hall.refused);
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
        cmocka_unit_test(every_task_ends_once_whoever_sent_cancels_and_joins_it),
        cmocka_unit_test(tasks_threads_and_processes_exclude_each_other),
        cmocka_unit_test(timers_requests_and_permits_that_meet_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
