/* The priority-inheriting lock: a test per promise of include/plait/pi_lock.h, and each misuse. */
#include "harness/harness.h"

#include "park/park.h"
#include "port/futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WAITERS = 3 };

struct box {
    plait_pi_lock lock, other;
    plait_rlock rlock;
    long inside;
    int step, go;
    struct t_waiter waiters[WAITERS];
    uint64_t order; /* who got it, one digit each */
    uint32_t dead;
};

static int acquire(void *lock, int64_t timeout)
{
    return plait_pi_lock_acquire(lock, timeout);
}

/* A waiter that gives back what it gets. */
static int visit(void *lock, int64_t timeout)
{
    int rc = plait_pi_lock_acquire(lock, timeout);
    if (rc >= 0)
        CHECK_RC(plait_pi_lock_release(lock), 0);
    return rc;
}

static plait_worker start_waiter(const struct t_setting *s, struct box *b, int i)
{
    b->waiters[i] = (struct t_waiter){visit, &b->lock, PLAIT_FOREVER, 0, 0, 0};
    plait_worker w = t_start_one(s->kinds[i % 2], t_wait_once, &b->waiters[i]);
    UNTIL_WAITS(w, PL_WAIT_PI_LOCK);
    return w;
}

/* --- holding --- */

static void without_an_arena_it_says_why_it_cannot_be_had(void **state)
{
    (void)state;
    plait_pi_lock lock = {0};
    t_check_no_arena(acquire, &lock);
    CHECK_EQ(plait_pi_lock_locked(&lock), 0);
}

static void zeroed_memory_is_a_free_lock(void **state)
{
    (void)state;
    static plait_pi_lock lock;
    CHECK_EQ(plait_pi_lock_locked(&lock), 0);
    CHECK_EQ(plait_pi_lock_holder(&lock).slot, 0);
    CHECK_RC(plait_pi_lock_release(&lock), PLAIT_EPERM);
    CHECK_RC(plait_pi_lock_acquire(&lock, PLAIT_NOWAIT), 0);
    CHECK_EQ(plait_pi_lock_locked(&lock), 1);
    CHECK(plait_same(plait_pi_lock_holder(&lock), plait_self()));
    CHECK_RC(plait_pi_lock_release(&lock), 0);
    CHECK_EQ(plait_pi_lock_locked(&lock), 0);
    CHECK_EQ(plait_pi_lock_holder(&lock).slot, 0);
}

static void init_frees_whatever_the_bytes_were(void **state)
{
    (void)state;
    plait_pi_lock lock;
    plait_blame blame;
    memset(&lock, 0xff, sizeof lock);
    CHECK_RC(plait_pi_lock_init(&lock), 0);
    CHECK_RC(plait_pi_lock_acquire(&lock, PLAIT_FOREVER), 0);
    CHECK_RC(plait_pi_lock_blame(&lock, &blame), PLAIT_ESRCH);
    CHECK_RC(plait_pi_lock_release(&lock), 0);
}

static int release_anothers(void *lock)
{
    return plait_pi_lock_release(lock);
}

static void misuse_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    plait_blame blame;
    CHECK_RC(plait_pi_lock_init(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_pi_lock_acquire(NULL, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_pi_lock_release(NULL), PLAIT_EINVAL);
    CHECK_EQ(plait_pi_lock_locked(NULL), 0);
    CHECK_EQ(plait_pi_lock_holder(NULL).slot, 0);
    FOR_EACH_TASKLESS_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        t_check_bad_timeouts(acquire, &b->lock);
        CHECK_RC(plait_pi_lock_acquire(&b->lock, PLAIT_FOREVER), 0);
        CHECK_RC(plait_pi_lock_acquire(&b->lock, PLAIT_FOREVER), PLAIT_EDEADLK);
        CHECK_RC(plait_pi_lock_acquire(&b->lock, PLAIT_NOWAIT), PLAIT_EDEADLK);
        t_check_bad_timeouts(acquire, &b->lock);
        for (int i = 0; i < 2; i++)
            CHECK_EQ(t_join_one(t_start_one(s->kinds[i], release_anothers, &b->lock)), PLAIT_EPERM);
        CHECK_EQ(t_in_pthread(release_anothers, &b->lock), PLAIT_EPERM);
        CHECK_RC(plait_pi_lock_blame(NULL, &blame), PLAIT_EINVAL);
        CHECK_RC(plait_pi_lock_blame(&b->lock, NULL), PLAIT_EINVAL);
        CHECK(plait_same(plait_pi_lock_holder(&b->lock), plait_self()));
        CHECK_RC(plait_pi_lock_release(&b->lock), 0);
        CHECK_RC(plait_pi_lock_release(&b->lock), PLAIT_EPERM);
        t_delete(s, b);
    }
}

static int try_as_a_task(void *lock)
{
    errno = EXDEV;
    CHECK_RC(plait_pi_lock_acquire(lock, PLAIT_NOWAIT), PLAIT_ENOTSUP);
    CHECK_RC(plait_pi_lock_acquire(lock, PLAIT_FOREVER), PLAIT_ENOTSUP);
    CHECK(plait_self().slot); /* known or not */
    CHECK_RC(plait_pi_lock_acquire(lock, PLAIT_NOWAIT), PLAIT_ENOTSUP);
    CHECK_RC(plait_pi_lock_release(lock), PLAIT_EPERM);
    CHECK_EQ(errno, EXDEV);
    return 0;
}

/* The kernel would take one task of a thread for the other. The thread's own flow may, with tasks or without. */
static void a_task_is_refused_free_or_held(void **state)
{
    (void)state;
    plait_pi_lock lock = {0};
    CHECK_EQ(t_join_one(t_start_one(PLAIT_TASK, try_as_a_task, &lock)), 0);
    plait_worker task = t_start_one(PLAIT_TASK, try_as_a_task, &lock);
    CHECK_RC(plait_pi_lock_acquire(&lock, PLAIT_FOREVER), 0);
    CHECK_EQ(t_join_one(task), 0);
    CHECK(plait_same(plait_pi_lock_holder(&lock), plait_self()));
    CHECK_RC(plait_pi_lock_release(&lock), 0);
}

static int add_many(void *arg)
{
    struct box *b = arg;
    for (int i = 0; i < 500; i++) {
        CHECK_RC(plait_pi_lock_acquire(&b->lock, PLAIT_FOREVER), 0);
        b->inside++;
        CHECK_RC(plait_pi_lock_release(&b->lock), 0);
    }
    return 0;
}

static void one_worker_at_a_time(void **state)
{
    (void)state;
    FOR_EACH_TASKLESS_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        t_start(&team, s, 4, add_many, b);
        t_join(&team);
        CHECK_EQ(b->inside, 2000);
        CHECK_EQ(plait_pi_lock_locked(&b->lock), 0);
        t_delete(s, b);
    }
}

static void plait_with_takes_it(void **state)
{
    (void)state;
    plait_pi_lock lock = {0};
    PLAIT_WITH(&lock)
        CHECK(plait_same(plait_pi_lock_holder(&lock), plait_self()));
    CHECK_EQ(plait_pi_lock_locked(&lock), 0);
}

/* --- waiting --- */

static void a_release_lets_all_through_one_after_the_other(void **state)
{
    (void)state;
    FOR_EACH_TASKLESS_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        plait_worker w[WAITERS];
        CHECK_RC(plait_pi_lock_acquire(&b->lock, PLAIT_FOREVER), 0);
        for (int i = 0; i < WAITERS; i++)
            w[i] = start_waiter(s, b, i);
        for (int i = 0; i < WAITERS; i++)
            CHECK_EQ(SEEN(b->waiters[i].step), 1);
        CHECK_RC(plait_pi_lock_release(&b->lock), 0);
        for (int i = 0; i < WAITERS; i++) {
            CHECK_EQ(t_join_one(w[i]), 0);
            CHECK_RC(b->waiters[i].rc, 0);
        }
        CHECK_EQ(plait_pi_lock_locked(&b->lock), 0);
        t_delete(s, b);
    }
}

/* A newcomer cannot take it while it is handed over. */
static void what_was_released_with_a_waiter_is_the_waiters(void **state)
{
    (void)state;
    FOR_EACH_TASKLESS_SETTING(s)
    for (int i = 0; i < 10; i++) {
        struct box *b = t_new(s, sizeof *b);
        CHECK_RC(plait_pi_lock_acquire(&b->lock, PLAIT_FOREVER), 0);
        plait_worker w = start_waiter(s, b, 0);
        CHECK_RC(plait_pi_lock_release(&b->lock), 0);
        int rc = plait_pi_lock_acquire(&b->lock, PLAIT_NOWAIT);
        if (rc == 0) { /* then it had come through already */
            UNTIL(SEEN(b->waiters[0].step) == 2);
            CHECK_RC(plait_pi_lock_release(&b->lock), 0);
        }
        CHECK_EQ(t_join_one(w), 0);
        CHECK_RC(b->waiters[0].rc, 0);
        t_delete(s, b);
    }
}

static int hold_until_told(void *arg)
{
    struct box *b = arg;
    CHECK_RC(plait_pi_lock_acquire(&b->lock, PLAIT_FOREVER), 0);
    TELL(b->step, 1);
    UNTIL(SEEN(b->go));
    return plait_pi_lock_release(&b->lock);
}

static plait_worker let_another_hold(int kind, struct box *b)
{
    TELL(b->step, 0);
    TELL(b->go, 0);
    plait_worker w = t_start_one(kind, hold_until_told, b);
    UNTIL(SEEN(b->step));
    return w;
}

static void let_it_end(struct box *b, plait_worker w)
{
    TELL(b->go, 1);
    CHECK_EQ(t_join_one(w), 0);
}

static void a_timeout_is_over_in_time_and_takes_nothing(void **state)
{
    (void)state;
    FOR_EACH_TASKLESS_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        plait_worker w = let_another_hold(s->kinds[0], b);
        t_check_bad_timeouts(acquire, &b->lock);
        t_check_time(acquire, &b->lock);
        t_check_signals(acquire, &b->lock);
        let_it_end(b, w);
        CHECK_EQ(plait_pi_lock_locked(&b->lock), 0);
        CHECK_RC(visit(&b->lock, PLAIT_TIMEOUT_MAX), 0);
        t_delete(s, b);
    }
}

static void cancellation_ends_a_wait_and_takes_nothing(void **state)
{
    (void)state;
    FOR_EACH_TASKLESS_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        plait_worker w = let_another_hold(s->kinds[1], b);
        t_check_cancel(s, acquire, &b->lock);
        t_check_cancel_pending(s, acquire, &b->lock);
        t_check_cancel_counts(s, acquire, &b->lock);
        t_check_uncancel(s, acquire, &b->lock);
        let_it_end(b, w);
        CHECK_EQ(plait_pi_lock_locked(&b->lock), 0);
        t_delete(s, b);
    }
}

static void errno_is_left_alone(void **state)
{
    (void)state;
    struct box *b = t_new(&t_mixed, sizeof *b);
    plait_worker w = let_another_hold(PLAIT_PROCESS, b);
    errno = EXDEV;
    CHECK_RC(visit(&b->lock, plait_ms(2)), PLAIT_ETIMEDOUT);
    CHECK_RC(plait_pi_lock_release(&b->lock), PLAIT_EPERM);
    TELL(b->go, 1);
    CHECK_RC(visit(&b->lock, PLAIT_FOREVER), 0);
    CHECK_EQ(errno, EXDEV);
    CHECK_EQ(t_join_one(w), 0);
    t_delete(&t_mixed, b);
}

/* Two who each hold one and want the other's. One of them is told, and the other goes on. */
static int take_in_turn(plait_pi_lock *first, plait_pi_lock *second, struct box *b)
{
    CHECK_RC(plait_pi_lock_acquire(first, PLAIT_FOREVER), 0);
    COUNT(b->step);
    UNTIL(SEEN(b->step) >= 2);
    int rc = plait_pi_lock_acquire(second, PLAIT_FOREVER);
    CHECK(rc == 0 || rc == PLAIT_EDEADLK);
    if (rc == 0)
        CHECK_RC(plait_pi_lock_release(second), 0);
    CHECK_RC(plait_pi_lock_release(first), 0);
    return rc == PLAIT_EDEADLK;
}

static int take_forth(void *arg)
{
    struct box *b = arg;
    return take_in_turn(&b->lock, &b->other, b);
}

static int take_back(void *arg)
{
    struct box *b = arg;
    return take_in_turn(&b->other, &b->lock, b);
}

static void a_ring_of_waits_is_broken(void **state)
{
    (void)state;
    FOR_EACH_TASKLESS_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        plait_worker forth = t_start_one(s->kinds[0], take_forth, b);
        plait_worker back = t_start_one(s->kinds[1], take_back, b);
        int told = t_join_one(forth);
        told += t_join_one(back);
        CHECK(told == 1 ||
              told == 2); /* the kernel may tell the second before the first has left */
        CHECK_EQ(plait_pi_lock_locked(&b->lock) + plait_pi_lock_locked(&b->other), 0);
        t_delete(s, b);
    }
}

/* The kernel sees no ring that goes through an rlock. */
static int take_rlock_second(void *arg)
{
    struct box *b = arg;
    CHECK_RC(plait_pi_lock_acquire(&b->lock, PLAIT_FOREVER), 0);
    COUNT(b->step);
    UNTIL(SEEN(b->step) >= 2);
    int rc = plait_rlock_acquire(&b->rlock, PLAIT_FOREVER);
    CHECK(rc == 0 || rc == PLAIT_EDEADLK);
    if (rc == 0)
        CHECK_RC(plait_rlock_release(&b->rlock), 0);
    CHECK_RC(plait_pi_lock_release(&b->lock), 0);
    return rc == PLAIT_EDEADLK;
}

static int take_rlock_first(void *arg)
{
    struct box *b = arg;
    CHECK_RC(plait_rlock_acquire(&b->rlock, PLAIT_FOREVER), 0);
    COUNT(b->step);
    UNTIL(SEEN(b->step) >= 2);
    int rc = plait_pi_lock_acquire(&b->lock, PLAIT_FOREVER);
    CHECK(rc == 0 || rc == PLAIT_EDEADLK);
    if (rc == 0)
        CHECK_RC(plait_pi_lock_release(&b->lock), 0);
    CHECK_RC(plait_rlock_release(&b->rlock), 0);
    return rc == PLAIT_EDEADLK;
}

static void a_ring_through_other_owned_locks_is_broken(void **state)
{
    (void)state;
    FOR_EACH_TASKLESS_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        plait_worker first = t_start_one(s->kinds[0], take_rlock_first, b);
        plait_worker second = t_start_one(s->kinds[1], take_rlock_second, b);
        CHECK_EQ(t_join_one(first) + t_join_one(second), 1);
        t_delete(s, b);
    }
}

/* --- priorities --- */

struct soldier {
    struct box *box;
    int rank;
};

static int queue_up(void *arg)
{
    struct soldier *soldier = arg;
    struct box *b = soldier->box;
    struct sched_param param = {.sched_priority = soldier->rank};
    CHECK_EQ(sched_setscheduler(0, SCHED_FIFO, &param), 0);
    CHECK_RC(plait_pi_lock_acquire(&b->lock, PLAIT_FOREVER), 0);
    b->order = b->order * 10 + (uint64_t)soldier->rank;
    return plait_pi_lock_release(&b->lock);
}

static bool may_set_priorities(void)
{
    struct sched_param fifo = {.sched_priority = 1}, other = {0};
    if (sched_setscheduler(0, SCHED_FIFO, &fifo) < 0)
        return false;
    CHECK_EQ(sched_setscheduler(0, SCHED_OTHER, &other), 0);
    return true;
}

static void the_highest_priority_is_next(void **state)
{
    (void)state;
    if (!may_set_priorities())
        skip();
    FOR_EACH_TASKLESS_SETTING(s)
    {
        static const int ranks[WAITERS] = {2, 3, 1};
        struct box *b = t_new(s, sizeof *b);
        struct soldier *soldiers = t_new(s, WAITERS * sizeof *soldiers);
        struct t_team team = {.n = WAITERS};
        CHECK_RC(plait_pi_lock_acquire(&b->lock, PLAIT_FOREVER), 0);
        for (int i = 0; i < WAITERS; i++) {
            soldiers[i] = (struct soldier){b, ranks[i]};
            team.workers[i] = t_start_one(s->kinds[i % 2], queue_up, &soldiers[i]);
            UNTIL_WAITS(team.workers[i], PL_WAIT_PI_LOCK);
        }
        CHECK_RC(plait_pi_lock_release(&b->lock), 0);
        t_join(&team);
        CHECK_EQ(b->order, 321);
        t_delete(s, soldiers);
        t_delete(s, b);
    }
}

/* The 18th number of /proc/PID/task/TID/stat: the kernel's priority, -1 - n for real-time priority n. */
static int kernel_priority(plait_worker w)
{
    char path[64], text[1024] = "";
    int priority = 99;
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", plait_pid(w), plait_tid(w));
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    CHECK(fgets(text, sizeof text, file) != NULL);
    fclose(file);
    char *at = strrchr(text, ')') + 2;
    for (int field = 3; field < 18; field++)
        at = strchr(at, ' ') + 1;
    CHECK_EQ(sscanf(at, "%d", &priority), 1);
    return priority;
}

static void the_holder_inherits_the_priority_of_who_waits(void **state)
{
    (void)state;
    if (!may_set_priorities())
        skip();
    FOR_EACH_TASKLESS_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct soldier *soldier = t_new(s, sizeof *soldier);
        plait_worker holder = let_another_hold(s->kinds[0], b);
        CHECK(kernel_priority(holder) >= 0);
        *soldier = (struct soldier){b, 7};
        plait_worker w = t_start_one(s->kinds[1], queue_up, soldier);
        UNTIL(kernel_priority(holder) == -8);
        let_it_end(b, holder);
        CHECK_EQ(t_join_one(w), 0);
        t_delete(s, soldier);
        t_delete(s, b);
    }
}

/* --- death --- */

static int take_and_sleep(void *arg)
{
    struct box *b = arg;
    CHECK_RC(plait_pi_lock_acquire(&b->lock, PLAIT_FOREVER), 0);
    TELL(b->dead, pl_self.id);
    TELL(b->step, 1);
    t_sleep_for_ever();
}

static plait_worker let_one_hold_for_ever(struct box *b)
{
    TELL(b->step, 0);
    plait_worker w = t_start_one(PLAIT_PROCESS, take_and_sleep, b);
    UNTIL(SEEN(b->step));
    return w;
}

static void check_blame(struct box *b, plait_worker dead)
{
    plait_blame blame;
    int rc = plait_pi_lock_blame(&b->lock, &blame);
    if (rc == 0) {
        CHECK(plait_same(blame.worker, dead));
        CHECK_EQ(blame.signal, SIGKILL);
    } else {
        CHECK_RC(rc, PLAIT_ESTALE); /* its entry serves another */
    }
    CHECK_RC(plait_pi_lock_blame(&b->lock, &blame), PLAIT_ESRCH);
}

static void the_next_one_is_told_of_a_death_and_of_whose(void **state)
{
    (void)state;
    for (int nowait = 0; nowait < 2; nowait++) {
        struct box *b = t_new(&t_processes, sizeof *b);
        plait_worker w = let_one_hold_for_ever(b);
        CHECK_RC(plait_kill(w), 0);
        struct t_poll poll = {0};
        int rc = PLAIT_ETIMEDOUT;
        while (rc == PLAIT_ETIMEDOUT) {
            rc = plait_pi_lock_acquire(&b->lock, nowait ? PLAIT_NOWAIT : PLAIT_FOREVER);
            if (rc == PLAIT_ETIMEDOUT)
                t_poll_again(&poll, __FILE__, __LINE__, "the dead one's lock can be had");
        }
        CHECK_RC(rc, PLAIT_OWNER_DIED);
        check_blame(b, w);
        CHECK_EQ(t_join_one(w), -SIGKILL);
        CHECK_RC(plait_pi_lock_release(&b->lock), 0);
        CHECK_RC(visit(&b->lock, PLAIT_NOWAIT), 0); /* told once */
        t_delete(&t_processes, b);
    }
}

static void a_dead_holders_lock_goes_to_one_who_waits(void **state)
{
    (void)state;
    const struct t_setting *both[] = {&t_processes, &t_mixed};
    for (int k = 0; k < 2; k++) {
        struct box *b = t_new(both[k], sizeof *b);
        plait_worker holder = let_one_hold_for_ever(b), w[WAITERS];
        for (int i = 0; i < WAITERS; i++)
            w[i] = start_waiter(both[k], b, i);
        t_kill(holder);
        int told = 0;
        for (int i = 0; i < WAITERS; i++) {
            CHECK_EQ(t_join_one(w[i]), 0);
            told += b->waiters[i].rc == PLAIT_OWNER_DIED;
            CHECK(b->waiters[i].rc == 0 || b->waiters[i].rc == PLAIT_OWNER_DIED);
        }
        CHECK_EQ(told, 1);
        CHECK_EQ(plait_pi_lock_locked(&b->lock), 0);
        t_delete(both[k], b);
    }
}

static void a_killed_waiter_takes_nothing_along(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    plait_worker holder = let_another_hold(PLAIT_THREAD, b);
    t_kill(start_waiter(&t_processes, b, 0));
    plait_worker w = start_waiter(&t_mixed, b, 1);
    t_kill(start_waiter(&t_processes, b, 2));
    let_it_end(b, holder);
    CHECK_EQ(t_join_one(w), 0);
    CHECK_RC(b->waiters[1].rc, 0);
    CHECK_RC(visit(&b->lock, PLAIT_NOWAIT), 0);
    t_delete(&t_processes, b);
}

static int end_with_it(void *arg)
{
    struct box *b = arg;
    CHECK_RC(plait_pi_lock_acquire(&b->lock, PLAIT_FOREVER), 0);
    TELL(b->step, 1);
    UNTIL(SEEN(b->go));
    return 0;
}

static void who_ends_with_it_has_died_with_it(void **state)
{
    (void)state;
    FOR_EACH_TASKLESS_SETTING(s)
    for (int waits = 0; waits < 2; waits++) {
        struct box *b = t_new(s, sizeof *b);
        plait_worker w = t_start_one(s->kinds[0], end_with_it, b), waiter = {0, 0};
        UNTIL(SEEN(b->step));
        if (waits)
            waiter = start_waiter(s, b, 1);
        TELL(b->go, 1);
        if (waits) {
            CHECK_EQ(t_join_one(waiter), 0);
            CHECK_RC(b->waiters[1].rc, PLAIT_OWNER_DIED);
        }
        CHECK_EQ(t_join_one(w), 0);
        CHECK_RC(visit(&b->lock, PLAIT_FOREVER), waits ? 0 : PLAIT_OWNER_DIED);
        t_delete(s, b);
    }
}

/* --- thread ids that are given to another --- */

/* As a dead one leaves the word whose thread id then becomes that of a living thread. */
static void forge(struct box *b, int tid, uint32_t holder, uint32_t flags)
{
    TELL(b->lock.word_, (uint32_t)tid | flags);
    TELL(b->lock.holder_, holder);
}

static uint32_t dead_id(struct box *b)
{
    t_kill(let_one_hold_for_ever(b));
    CHECK_RC(visit(&b->lock, PLAIT_FOREVER), PLAIT_OWNER_DIED);
    return SEEN(b->dead);
}

static void *be_a_stranger(void *arg)
{
    struct box *b = arg;
    TELL(b->step, gettid());
    UNTIL(SEEN(b->go));
    return NULL;
}

static void a_living_thread_that_never_had_it_is_not_waited_for(void **state)
{
    (void)state;
    const struct t_setting *both[] = {&t_threads, &t_private_threads};
    for (int k = 0; k < 2; k++)
        for (int flags = 0; flags < 2; flags++) {
            struct box *b = t_new(both[k], sizeof *b), *c = t_new(&t_threads, sizeof *c);
            uint32_t waiters = flags ? FUTEX_WAITERS : 0, dead = dead_id(c);
            pthread_t stranger;
            CHECK_EQ(pthread_create(&stranger, NULL, be_a_stranger, b), 0);
            UNTIL(SEEN(b->step));
            /* A thread that plait does not know; another worker; oneself. */
            plait_worker w = let_another_hold(PLAIT_THREAD, c);
            int tids[] = {SEEN(b->step), plait_tid(w), gettid()};
            for (int i = 0; i < 3; i++) {
                forge(b, tids[i], 0, waiters);
                CHECK_RC(visit(&b->lock, PLAIT_FOREVER), 0); /* had not come to hold it */
                forge(b, tids[i], dead, waiters);
                CHECK_RC(visit(&b->lock, PLAIT_FOREVER), PLAIT_OWNER_DIED);
                CHECK_EQ(SEEN(b->lock.word_), 0);
            }
            let_it_end(c, w);
            TELL(b->go, 1);
            CHECK_EQ(pthread_join(stranger, NULL), 0);
            t_delete(both[k], b);
            t_delete(&t_threads, c);
        }
}

/* Some were queued in the kernel for the wrong one: it seemed to be about to get the lock. */
static void who_is_queued_for_the_wrong_thread_comes_back(void **state)
{
    (void)state;
    FOR_EACH_TASKLESS_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        plait_worker w[WAITERS];
        CHECK_RC(visit(&b->other, PLAIT_NOWAIT), 0);
        TELL(pl_self.slot->pi_word, &b->lock.word_);
        ADD(pl_self.slot->pi_moves, 1);
        forge(b, gettid(), 0, 0);
        for (int i = 0; i < WAITERS; i++)
            w[i] = start_waiter(s, b, i);
        t_sleep(plait_ms(30)); /* they stay: for all they know, it is ours */
        for (int i = 0; i < WAITERS; i++)
            CHECK_EQ(SEEN(b->waiters[i].step), 1);
        ADD(pl_self.slot->pi_moves, 1);
        for (int i = 0; i < WAITERS; i++) {
            CHECK_EQ(t_join_one(w[i]), 0);
            CHECK_RC(b->waiters[i].rc, 0);
        }
        CHECK_EQ(SEEN(b->lock.word_), 0);
        t_delete(s, b);
    }
}

/* --- other kernels --- */

static int wait_by_wall_clock(void *arg)
{
    struct box *b = arg;
    pl_futex_forget_lock_pi2();
    t_check_time(acquire, &b->lock);
    TELL(b->go, 1);
    return visit(&b->lock, PLAIT_FOREVER);
}

static void without_lock_pi2_it_waits_by_the_wall_clock(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    plait_worker w = let_another_hold(PLAIT_PROCESS, b);
    CHECK_EQ(t_in_fork(wait_by_wall_clock, b), 0);
    CHECK_EQ(t_join_one(w), 0);
    t_delete(&t_processes, b);
}

static int find_it_unsupported(void *arg)
{
    struct box *b = arg;
    pl_futex_forget_pi();
    CHECK_RC(acquire(&b->lock, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
    CHECK_RC(acquire(&b->lock, PLAIT_FOREVER), PLAIT_ENOTSUP);
    return visit(&b->other, PLAIT_FOREVER);
}

static void without_such_locks_in_the_kernel_a_held_one_is_not_supported(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    plait_worker w = let_another_hold(PLAIT_PROCESS, b);
    CHECK_EQ(t_in_fork(find_it_unsupported, b), 0);
    let_it_end(b, w);
    t_delete(&t_processes, b);
}

/* --- fork in user code --- */

static int use_the_copy(void *arg)
{
    struct box *b = arg;
    CHECK_RC(plait_pi_lock_release(&b->lock), PLAIT_EPERM);
    CHECK_RC(visit(&b->lock, PLAIT_FOREVER), PLAIT_OWNER_DIED);
    CHECK_RC(visit(&b->lock, PLAIT_FOREVER), 0);
    return add_many(b);
}

static void a_private_one_copied_by_fork_is_free_for_the_child(void **state)
{
    (void)state;
    struct box *b = t_new(&t_private_threads, sizeof *b);
    CHECK_RC(plait_pi_lock_acquire(&b->lock, PLAIT_FOREVER), 0);
    plait_worker w = start_waiter(&t_private_threads, b, 0);
    CHECK_EQ(t_in_fork(use_the_copy, b), 0);
    CHECK_EQ(SEEN(b->waiters[0].step), 1);
    CHECK_RC(plait_pi_lock_release(&b->lock), 0);
    CHECK_EQ(t_join_one(w), 0);
    t_delete(&t_private_threads, b);
}

static int wait_for_the_parent(void *arg)
{
    struct box *b = arg;
    CHECK_RC(plait_pi_lock_release(&b->lock), PLAIT_EPERM);
    CHECK_RC(visit(&b->lock, plait_ms(2)), PLAIT_ETIMEDOUT);
    TELL(b->go, 1);
    return visit(&b->lock, PLAIT_FOREVER);
}

static void one_in_the_arena_is_the_parents(void **state)
{
    (void)state;
    struct box *b = t_new(&t_threads, sizeof *b);
    CHECK_RC(plait_pi_lock_acquire(&b->lock, PLAIT_FOREVER), 0);
    pid_t child = t_fork(wait_for_the_parent, b);
    UNTIL(SEEN(b->go));
    CHECK_RC(plait_pi_lock_release(&b->lock), 0);
    CHECK_EQ(t_reap(child), 0);
    t_delete(&t_threads, b);
}

static int find_it_private(void *lock)
{
    return visit(lock, PLAIT_FOREVER) == PLAIT_EPRIVATE ? 0 : 1;
}

static void shared_memory_of_ones_own_is_told_apart(void **state)
{
    (void)state;
    plait_pi_lock *lock =
        mmap(NULL, sizeof *lock, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(lock != MAP_FAILED);
    CHECK_RC(plait_pi_lock_acquire(lock, PLAIT_FOREVER), 0);
    CHECK_EQ(t_in_fork(find_it_private, lock), 0);
    CHECK_RC(plait_pi_lock_release(lock), 0);
    munmap(lock, sizeof *lock);
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
        cmocka_unit_test(without_an_arena_it_says_why_it_cannot_be_had),
        cmocka_unit_test(zeroed_memory_is_a_free_lock),
        cmocka_unit_test(init_frees_whatever_the_bytes_were),
        cmocka_unit_test(misuse_is_refused_and_changes_nothing),
        cmocka_unit_test(a_task_is_refused_free_or_held),
        cmocka_unit_test(one_worker_at_a_time),
        cmocka_unit_test(plait_with_takes_it),
        cmocka_unit_test(a_release_lets_all_through_one_after_the_other),
        cmocka_unit_test(what_was_released_with_a_waiter_is_the_waiters),
        cmocka_unit_test(a_timeout_is_over_in_time_and_takes_nothing),
        cmocka_unit_test(cancellation_ends_a_wait_and_takes_nothing),
        cmocka_unit_test(errno_is_left_alone),
        cmocka_unit_test(a_ring_of_waits_is_broken),
        cmocka_unit_test(a_ring_through_other_owned_locks_is_broken),
        cmocka_unit_test(the_highest_priority_is_next),
        cmocka_unit_test(the_holder_inherits_the_priority_of_who_waits),
        cmocka_unit_test(the_next_one_is_told_of_a_death_and_of_whose),
        cmocka_unit_test(a_dead_holders_lock_goes_to_one_who_waits),
        cmocka_unit_test(a_killed_waiter_takes_nothing_along),
        cmocka_unit_test(who_ends_with_it_has_died_with_it),
        cmocka_unit_test(a_living_thread_that_never_had_it_is_not_waited_for),
        cmocka_unit_test(who_is_queued_for_the_wrong_thread_comes_back),
        cmocka_unit_test(without_lock_pi2_it_waits_by_the_wall_clock),
        cmocka_unit_test(without_such_locks_in_the_kernel_a_held_one_is_not_supported),
        cmocka_unit_test(a_private_one_copied_by_fork_is_free_for_the_child),
        cmocka_unit_test(one_in_the_arena_is_the_parents),
        cmocka_unit_test(shared_memory_of_ones_own_is_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
