/* The lock: a test per promise of include/plait/lock.h, and each misuse. */
#include "harness/harness.h"

#include "park/park.h"
#include "sync/lock_word.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WAITERS = 4 };

struct box {
    plait_lock lock;
    int held;    /* the worker has the lock */
    int release; /* it may let it go */
    int stop;
    long inside;
    struct t_waiter waiters[WAITERS];
};

static int acquire(void *lock, int64_t timeout)
{
    return plait_lock_acquire(lock, timeout);
}

/* Acquires, waiting if need be, and releases. */
static int pass(void *lock, int64_t timeout)
{
    int rc = plait_lock_acquire(lock, timeout);
    return rc < 0 || plait_lock_release(lock) == 0 ? rc : PLAIT_EINVAL;
}

static void acquire_held(plait_lock *lock)
{
    CHECK_RC(plait_lock_acquire(lock, plait_seconds(T_PATIENCE_S)), 0);
}

static int hold_until_told(void *arg)
{
    struct box *b = arg;
    acquire_held(&b->lock);
    TELL(b->held, 1);
    UNTIL(SEEN(b->release));
    return plait_lock_release(&b->lock);
}

static int hold_for_ever(void *arg)
{
    struct box *b = arg;
    acquire_held(&b->lock);
    TELL(b->held, 1);
    t_sleep_for_ever();
}

static int hold_and_return(void *arg)
{
    struct box *b = arg;
    acquire_held(&b->lock);
    return 0;
}

static plait_worker start_holder(int kind, plait_function *fn, struct box *b)
{
    TELL(b->held, 0);
    plait_worker holder = t_start_one(kind, fn, b);
    UNTIL(SEEN(b->held));
    return holder;
}

/* Starts waiters, each asleep before the next one begins. */
static void start_waiters(struct t_team *team, const struct t_setting *s, struct box *b, int n,
                          t_wait *call)
{
    team->n = n;
    for (int i = 0; i < n; i++) {
        b->waiters[i] = (struct t_waiter){call, &b->lock, PLAIT_FOREVER, 0, 0, 0};
        team->workers[i] = t_start_one(s->kinds[i % 2], t_wait_once, &b->waiters[i]);
        UNTIL_WAITS(team->workers[i], PL_WAIT_LOCK);
    }
}

/* --- free and held --- */

static void without_an_arena_it_says_why_it_cannot_wait(void **state)
{
    (void)state;
    plait_lock lock = {0};
    t_check_no_arena(acquire, &lock);
}

static void zeroed_memory_is_a_free_lock(void **state)
{
    (void)state;
    static plait_lock lock;
    assert_int_equal(sizeof lock, 8);
    assert_int_equal(plait_lock_locked(&lock), 0);
    CHECK_RC(plait_lock_acquire(&lock, PLAIT_NOWAIT), 0);
    CHECK_RC(plait_lock_release(&lock), 0);
}

static void init_makes_any_bytes_a_free_lock(void **state)
{
    (void)state;
    plait_lock lock;
    plait_blame blame;
    memset(&lock, 0xff, sizeof lock);
    CHECK_RC(plait_lock_init(&lock, NULL), 0);
    assert_int_equal(plait_lock_locked(&lock), 0);
    CHECK_RC(plait_lock_acquire(&lock, PLAIT_FOREVER), 0);
    CHECK_RC(plait_lock_blame(&lock, &blame), PLAIT_ESRCH);
    CHECK_RC(plait_lock_release(&lock), 0);
}

static void null_is_refused(void **state)
{
    (void)state;
    plait_lock lock = {0};
    plait_blame blame;
    CHECK_RC(plait_lock_init(NULL, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_lock_acquire(NULL, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_lock_acquire(NULL, PLAIT_NOWAIT), PLAIT_EINVAL);
    CHECK_RC(plait_lock_release(NULL), PLAIT_EINVAL);
    assert_int_equal(plait_lock_locked(NULL), 0);
    assert_int_equal(plait_lock_holder(NULL).slot, 0);
    CHECK_RC(plait_lock_blame(NULL, &blame), PLAIT_EINVAL);
    CHECK_RC(plait_lock_blame(&lock, NULL), PLAIT_EINVAL);
}

static void locked_and_holder_follow_acquire_and_release(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        CHECK_EQ(plait_lock_locked(&b->lock), 0);
        CHECK_EQ(plait_lock_holder(&b->lock).slot, 0);
        plait_worker holder = start_holder(s->kinds[0], hold_until_told, b);
        CHECK_EQ(plait_lock_locked(&b->lock), 1);
        CHECK(plait_same(plait_lock_holder(&b->lock), holder));
        TELL(b->release, 1);
        CHECK_EQ(t_join_one(holder), 0);
        CHECK_EQ(plait_lock_locked(&b->lock), 0);
        CHECK_EQ(plait_lock_holder(&b->lock).slot, 0);
        acquire_held(&b->lock);
        CHECK(plait_same(plait_lock_holder(&b->lock), plait_self()));
        CHECK_RC(plait_lock_release(&b->lock), 0);
        t_delete(s, b);
    }
}

static void holder_is_told_while_others_wait(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        acquire_held(&b->lock);
        start_waiters(&team, s, b, 1, pass);
        CHECK_EQ(plait_lock_locked(&b->lock), 1);
        CHECK(plait_same(plait_lock_holder(&b->lock), plait_self()));
        CHECK_RC(plait_lock_release(&b->lock), 0);
        t_join(&team);
        CHECK_EQ(plait_lock_locked(&b->lock), 0);
        t_delete(s, b);
    }
}

static void waiters_wait_until_release(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        acquire_held(&b->lock);
        start_waiters(&team, s, b, WAITERS, pass);
        for (int i = 0; i < WAITERS; i++)
            CHECK_EQ(SEEN(b->waiters[i].step), 1);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        t_join(&team);
        for (int i = 0; i < WAITERS; i++)
            CHECK_RC(b->waiters[i].rc, 0);
        CHECK_EQ(plait_lock_locked(&b->lock), 0);
        t_delete(s, b);
    }
}

enum { EACH = 2000 };

static int add_many(void *arg)
{
    struct box *b = arg;
    for (int i = 0; i < EACH; i++) {
        acquire_held(&b->lock);
        b->inside++; /* plain: the lock alone keeps it whole */
        CHECK_RC(plait_lock_release(&b->lock), 0);
    }
    return 0;
}

static void what_it_guards_is_written_by_one_at_a_time(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        t_start(&team, s, WAITERS, add_many, b);
        t_join(&team);
        CHECK_EQ(b->inside, WAITERS * EACH);
        t_delete(s, b);
    }
}

static int use_in_pthread(void *arg)
{
    struct box *b = arg;
    acquire_held(&b->lock);
    CHECK(plait_same(plait_lock_holder(&b->lock), plait_self()));
    return plait_lock_release(&b->lock);
}

static void a_thread_that_plait_did_not_start_may_use_it(void **state)
{
    (void)state;
    struct box b = {0};
    CHECK_EQ(t_in_pthread(use_in_pthread, &b), 0);
    CHECK_EQ(plait_lock_locked(&b.lock), 0);
}

/* --- release --- */

static int release(void *lock)
{
    return plait_lock_release(lock);
}

static void release_by_another_worker_is_legal(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        for (int i = 0; i < 2; i++) {
            acquire_held(&b->lock);
            CHECK_EQ(t_join_one(t_start_one(s->kinds[i], release, &b->lock)), 0);
            CHECK_EQ(plait_lock_locked(&b->lock), 0);
        }
        t_delete(s, b);
    }
}

static void release_by_another_worker_wakes_a_waiter(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        acquire_held(&b->lock);
        start_waiters(&team, s, b, 2, pass);
        CHECK_EQ(t_join_one(t_start_one(s->kinds[0], release, &b->lock)), 0);
        t_join(&team);
        t_delete(s, b);
    }
}

static void release_of_a_free_lock_is_eperm_and_changes_nothing(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        plait_lock before = b->lock;
        CHECK_RC(plait_lock_release(&b->lock), PLAIT_EPERM);
        CHECK_EQ(memcmp(&before, &b->lock, sizeof before), 0);
        acquire_held(&b->lock);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        CHECK_RC(plait_lock_release(&b->lock), PLAIT_EPERM);
        CHECK_EQ(t_join_one(t_start_one(s->kinds[0], release, &b->lock)), PLAIT_EPERM);
        acquire_held(&b->lock);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        t_delete(s, b);
    }
}

static void release_after_waiters_are_gone_is_eperm(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        acquire_held(&b->lock);
        start_waiters(&team, s, b, 2, pass);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        t_join(&team);
        CHECK_RC(plait_lock_release(&b->lock), PLAIT_EPERM);
        CHECK_RC(plait_lock_acquire(&b->lock, PLAIT_NOWAIT), 0);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        t_delete(s, b);
    }
}

static void release_after_its_holder_returned_is_legal(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        CHECK_EQ(t_join_one(t_start_one(s->kinds[0], hold_and_return, b)), 0);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        acquire_held(&b->lock);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        t_delete(s, b);
    }
}

/* Who waits for what, held by whom, since when; and the kernel knows whose death is to wake it. */
static void a_waiter_is_on_record_with_its_holder(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        int64_t start = plait_now();
        plait_worker holder = start_holder(s->kinds[0], hold_until_told, b);
        start_waiters(&team, s, b, 2, pass);
        for (int i = 0; i < 2; i++) {
            struct pl_slot *slot = t_slot(team.workers[i]);
            UNTIL(SEEN(slot->waits_on) == &b->lock.word_);
            UNTIL(SEEN(slot->waits_holder) == pl_slot_id(t_slot(holder)));
            CHECK(SEEN(slot->waits_since) >= start);
        }
        bool own = s->kinds[0] == PLAIT_TASK && s->kinds[1] == PLAIT_TASK; /* it dies with them */
        UNTIL(own || SEEN(*pl_heart_word(t_slot(holder))) & FUTEX_WAITERS);
        TELL(b->release, 1);
        CHECK_EQ(t_join_one(holder), 0);
        t_join(&team);
        t_delete(s, b);
    }
}

/* --- time --- */

static void bad_timeouts_are_refused_held_or_free(void **state)
{
    (void)state;
    plait_lock lock = {0};
    t_check_bad_timeouts(acquire, &lock);
    assert_int_equal(plait_lock_locked(&lock), 0);
    acquire_held(&lock);
    t_check_bad_timeouts(acquire, &lock);
    CHECK_RC(plait_lock_release(&lock), 0);
}

static void a_timeout_is_over_in_time_and_leaves_the_lock_alone(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        plait_worker holder = start_holder(s->kinds[0], hold_until_told, b);
        t_check_time(acquire, &b->lock);
        t_check_signals(acquire, &b->lock);
        CHECK(plait_same(plait_lock_holder(&b->lock), holder));
        TELL(b->release, 1);
        CHECK_EQ(t_join_one(holder), 0);
        CHECK_RC(plait_lock_acquire(&b->lock, PLAIT_NOWAIT), 0);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        t_delete(s, b);
    }
}

static void the_longest_timeout_is_accepted(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        acquire_held(&b->lock);
        b->waiters[0] = (struct t_waiter){pass, &b->lock, PLAIT_TIMEOUT_MAX, 0, 0, 0};
        plait_worker waiter = t_start_one(s->kinds[0], t_wait_once, &b->waiters[0]);
        UNTIL_WAITS(waiter, PL_WAIT_LOCK);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        CHECK_EQ(t_join_one(waiter), 0);
        CHECK_RC(b->waiters[0].rc, 0);
        t_delete(s, b);
    }
}

static void a_timed_out_waiter_leaves_the_wake_up_to_others(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        acquire_held(&b->lock);
        start_waiters(&team, s, b, 2, pass);
        CHECK_RC(plait_lock_acquire(&b->lock, plait_ms(30)), PLAIT_ETIMEDOUT);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        t_join(&team);
        CHECK_RC(plait_lock_acquire(&b->lock, PLAIT_NOWAIT), 0);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        t_delete(s, b);
    }
}

static int acquire_twice(void *lock, int64_t timeout)
{
    acquire_held(lock);
    return plait_lock_acquire(lock, timeout);
}

static void its_own_holder_waits_until_another_releases(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        acquire_held(&b->lock);
        CHECK_RC(plait_lock_acquire(&b->lock, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
        CHECK_RC(plait_lock_acquire(&b->lock, plait_ms(5)), PLAIT_ETIMEDOUT);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        start_waiters(&team, s, b, 1, acquire_twice);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        t_join(&team);
        CHECK_RC(b->waiters[0].rc, 0);
        t_delete(s, b);
    }
}

static void errno_is_left_alone(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        errno = EXDEV;
        acquire_held(&b->lock);
        start_waiters(&team, s, b, 1, pass);
        errno = EXDEV;
        CHECK_RC(plait_lock_acquire(&b->lock, plait_ms(2)), PLAIT_ETIMEDOUT);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        CHECK_RC(plait_lock_acquire(&b->lock, PLAIT_FOREVER), 0);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        CHECK_RC(plait_lock_release(&b->lock), PLAIT_EPERM);
        CHECK_EQ(errno, EXDEV);
        t_join(&team);
        t_delete(s, b);
    }
}

/* --- cancellation --- */

static void cancellation_ends_a_wait(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        acquire_held(&b->lock);
        t_check_cancel(s, acquire, &b->lock);
        t_check_cancel_pending(s, acquire, &b->lock);
        t_check_cancel_counts(s, acquire, &b->lock);
        t_check_uncancel(s, acquire, &b->lock);
        CHECK(plait_same(plait_lock_holder(&b->lock), plait_self()));
        CHECK_RC(plait_lock_release(&b->lock), 0);
        CHECK_RC(plait_lock_acquire(&b->lock, PLAIT_NOWAIT), 0);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        t_delete(s, b);
    }
}

static void a_canceled_waiter_leaves_the_wake_up_to_others(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        acquire_held(&b->lock);
        start_waiters(&team, s, b, WAITERS, pass);
        CHECK_RC(plait_cancel(team.workers[0]), 0);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        t_join(&team);
        for (int i = 1; i < WAITERS; i++)
            CHECK_RC(b->waiters[i].rc, 0);
        CHECK(b->waiters[0].rc == 0 || b->waiters[0].rc == PLAIT_ECANCELED);
        CHECK_EQ(plait_lock_locked(&b->lock), 0);
        t_delete(s, b);
    }
}

/* --- fairness --- */

static int acquire_again_and_again(void *arg)
{
    struct box *b = arg;
    while (!SEEN(b->stop)) {
        acquire_held(&b->lock);
        b->inside++;
        CHECK_RC(plait_lock_release(&b->lock), 0);
        t_give_way();
    }
    return 0;
}

static void a_waiter_among_pushers_gets_the_lock(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team pushers;
        t_start(&pushers, s, 3, acquire_again_and_again, b);
        for (int i = 0; i < 20; i++) {
            acquire_held(&b->lock);
            CHECK_RC(plait_lock_release(&b->lock), 0);
        }
        TELL(b->stop, 1);
        t_join(&pushers);
        t_delete(s, b);
    }
}

static int pass_and_tell(void *arg)
{
    struct box *b = arg;
    acquire_held(&b->lock);
    TELL(b->held, 1);
    return plait_lock_release(&b->lock);
}

static bool is_hungry_or_served(struct box *b)
{
    return SEEN(b->held) || (SEEN(b->lock.word_) & PL_LOCK_HUNGRY);
}

/* Lets the lock go when another has waited for a while, and wants it back at once; then once more.
 * Whether the waiter had its turn by then. */
static bool is_overtaken_once_at_most(const struct t_setting *s)
{
    struct box *b = t_new(s, sizeof *b);
    acquire_held(&b->lock);
    plait_worker waiter = t_start_one(s->kinds[0], pass_and_tell, b);
    UNTIL_WAITS(waiter, PL_WAIT_LOCK);
    t_sleep(PL_HUNGER);
    CHECK_RC(plait_lock_release(&b->lock), 0);
    acquire_held(&b->lock);
    UNTIL(is_hungry_or_served(b));
    UNTIL(SEEN(b->held) || t_waits(waiter, PL_WAIT_LOCK)); /* it sleeps again */
    CHECK_RC(plait_lock_release(&b->lock), 0);
    acquire_held(&b->lock);
    bool served = SEEN(b->held);
    CHECK_RC(plait_lock_release(&b->lock), 0);
    CHECK_EQ(t_join_one(waiter), 0);
    t_delete(s, b);
    return served;
}

/* A release that meets the waiter between two naps does not find it; but not in each of many rounds. */
static void who_waited_for_1_ms_is_overtaken_once_at_most(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        int served = 0;
        for (int i = 0; i < 20; i++)
            served += is_overtaken_once_at_most(s);
        CHECK(served >= 10);
    }
}

/* Not allowed; but who waits is not left behind: its nap ends. */
static void a_lock_made_anew_while_waited_for_leaves_nobody_behind(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        acquire_held(&b->lock);
        start_waiters(&team, s, b, 2, pass);
        CHECK_RC(plait_lock_init(&b->lock, NULL), 0);
        t_join(&team);
        CHECK_EQ(plait_lock_locked(&b->lock), 0);
        t_delete(s, b);
    }
}

/* --- death --- */

static void a_killed_holder_gives_the_lock_with_owner_died(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    t_kill(start_holder(PLAIT_PROCESS, hold_for_ever, b));
    CHECK_RC(plait_lock_acquire(&b->lock, PLAIT_NOWAIT), PLAIT_OWNER_DIED);
    CHECK(plait_same(plait_lock_holder(&b->lock), plait_self()));
    CHECK_RC(plait_lock_release(&b->lock), 0);
    CHECK_RC(plait_lock_acquire(&b->lock, PLAIT_FOREVER), 0); /* told once */
    CHECK_RC(plait_lock_release(&b->lock), 0);
    t_delete(&t_processes, b);
}

static void blame_tells_once_who_died(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    plait_blame blame;
    plait_worker holder = start_holder(PLAIT_PROCESS, hold_for_ever, b);
    int pid = plait_pid(holder);
    CHECK_RC(plait_kill(holder), 0);
    CHECK_RC(plait_lock_acquire(&b->lock, PLAIT_FOREVER), PLAIT_OWNER_DIED); /* not joined yet */
    CHECK_RC(plait_lock_blame(&b->lock, &blame), 0);
    CHECK(plait_same(blame.worker, holder));
    CHECK_EQ(blame.kind, PLAIT_PROCESS);
    CHECK_EQ(blame.pid, pid);
    CHECK_EQ(blame.signal, SIGKILL);
    CHECK_EQ(blame.status, -SIGKILL);
    CHECK(!blame.returned);
    CHECK_RC(plait_lock_blame(&b->lock, &blame), PLAIT_ESRCH);
    CHECK_RC(plait_lock_release(&b->lock), 0);
    CHECK_EQ(t_join_one(holder), -SIGKILL);
    t_delete(&t_processes, b);
}

static void blame_names_the_last_who_died(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    plait_blame blame;
    t_kill(start_holder(PLAIT_PROCESS, hold_for_ever, b));
    CHECK_RC(plait_lock_acquire(&b->lock, PLAIT_FOREVER), PLAIT_OWNER_DIED);
    CHECK_RC(plait_lock_release(&b->lock), 0);
    plait_worker second = start_holder(PLAIT_PROCESS, hold_for_ever, b);
    t_kill(second);
    CHECK_RC(plait_lock_acquire(&b->lock, PLAIT_FOREVER), PLAIT_OWNER_DIED);
    CHECK_RC(plait_lock_blame(&b->lock, &blame), 0);
    CHECK(plait_same(blame.worker, second));
    CHECK_RC(plait_lock_blame(&b->lock, &blame), PLAIT_ESRCH);
    CHECK_RC(plait_lock_release(&b->lock), 0);
    t_delete(&t_processes, b);
}

static int return_at_once(void *arg)
{
    (void)arg;
    return 0;
}

static void blame_is_estale_when_the_entry_serves_another(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    plait_blame blame;
    plait_worker holder = start_holder(PLAIT_PROCESS, hold_for_ever, b);
    t_kill(holder);
    CHECK_RC(plait_lock_acquire(&b->lock, PLAIT_FOREVER), PLAIT_OWNER_DIED);
    bool again = false;
    for (int i = 0; i < 20000 && !again; i++) { /* until a new worker got its place */
        plait_worker next = t_start_one(PLAIT_THREAD, return_at_once, NULL);
        again = next.slot == holder.slot;
        t_join_one(next);
    }
    CHECK(again);
    CHECK_RC(plait_lock_blame(&b->lock, &blame), PLAIT_ESTALE);
    CHECK_RC(plait_lock_blame(&b->lock, &blame), PLAIT_ESRCH);
    CHECK_RC(plait_lock_release(&b->lock), 0);
    t_delete(&t_processes, b);
}

static void waiters_are_woken_by_the_death_of_the_holder(void **state)
{
    (void)state;
    const struct t_setting *both[] = {&t_processes, &t_mixed, &t_threads};
    for (int k = 0; k < 3; k++) {
        struct box *b = t_new(both[k], sizeof *b);
        struct t_team team;
        int told = 0;
        plait_worker holder = start_holder(PLAIT_PROCESS, hold_for_ever, b);
        start_waiters(&team, both[k], b, WAITERS, pass);
        t_kill(holder);
        t_join(&team);
        for (int i = 0; i < WAITERS; i++)
            told += b->waiters[i].rc == PLAIT_OWNER_DIED;
        CHECK_EQ(told, 1); /* the first after the death; the others find an ordinary lock */
        for (int i = 0; i < WAITERS; i++)
            CHECK(b->waiters[i].rc >= 0);
        t_delete(both[k], b);
    }
}

/* Holders killed, and a holder that releases: the same for those who wait. */
static int64_t end_holders(void)
{
    const struct t_setting *settings[] = {&t_processes, &t_mixed, &t_threads, &t_private_threads};
    struct box *b[4];
    struct t_team teams[4];
    plait_worker holders[3];
    for (int i = 0; i < 4; i++) {
        b[i] = t_new(settings[i], sizeof *b[i]);
        if (i < 3)
            holders[i] = start_holder(PLAIT_PROCESS, hold_for_ever, b[i]);
        else
            acquire_held(&b[i]->lock);
        start_waiters(&teams[i], settings[i], b[i], 2, pass);
    }
    t_let_naps_grow();
    int64_t start = plait_now();
    for (int i = 0; i < 3; i++)
        CHECK_RC(plait_kill(holders[i]), 0); /* and nobody joins it */
    CHECK_RC(plait_lock_release(&b[3]->lock), 0);
    for (int i = 0; i < 4; i++)
        UNTIL(SEEN(b[i]->waiters[0].step) == 2 && SEEN(b[i]->waiters[1].step) == 2);
    int64_t took = plait_now() - start;
    for (int i = 0; i < 4; i++) {
        t_join(&teams[i]);
        if (i < 3)
            CHECK_EQ(t_join_one(holders[i]), -SIGKILL);
        t_delete(settings[i], b[i]);
    }
    return took;
}

static void they_are_woken_at_once(void **state)
{
    (void)state;
    t_check_at_once(end_holders);
}

static int take_and_die(void *arg)
{
    struct box *b = arg;
    acquire_held(&b->lock);
    raise(SIGKILL);
    return 0;
}

/* B gets the lock and dies at once; C, who sleeps too, has never seen B with it. If C came first, the scene
 * is played again. */
static int64_t let_the_next_die(void)
{
    for (int try = 0; try < 20; try++) {
        struct box *b = t_new(&t_processes, sizeof *b);
        struct t_team team;
        acquire_held(&b->lock);
        plait_worker first = t_start_one(PLAIT_PROCESS, take_and_die, b);
        UNTIL_WAITS(first, PL_WAIT_LOCK);
        start_waiters(&team, &t_mixed, b, 2, pass);
        t_let_naps_grow();
        int64_t start = plait_now();
        CHECK_RC(plait_lock_release(&b->lock), 0);
        UNTIL(SEEN(b->waiters[0].step) == 2 && SEEN(b->waiters[1].step) == 2);
        int64_t took = plait_now() - start;
        int told = (b->waiters[0].rc == PLAIT_OWNER_DIED) + (b->waiters[1].rc == PLAIT_OWNER_DIED);
        CHECK_EQ(t_join_one(first), -SIGKILL);
        t_join(&team);
        t_delete(&t_processes, b);
        if (told == 1)
            return took;
        CHECK_EQ(told, 0);
    }
    t_die(__FILE__, __LINE__, "who came first was never served first");
}

static void the_death_of_one_who_just_got_it_is_told_at_once(void **state)
{
    (void)state;
    t_check_at_once(let_the_next_die);
}

static void a_holder_that_ended_without_release_counts_as_dead(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        plait_blame blame;
        plait_worker holder = t_start_one(s->kinds[0], hold_and_return, b);
        CHECK_EQ(t_join_one(holder), 0);
        CHECK_RC(plait_lock_acquire(&b->lock, PLAIT_FOREVER), PLAIT_OWNER_DIED);
        CHECK_RC(plait_lock_blame(&b->lock, &blame), 0);
        CHECK(plait_same(blame.worker, holder));
        CHECK(blame.returned);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        t_delete(s, b);
    }
}

static void a_pthread_that_ended_without_release_counts_as_dead(void **state)
{
    (void)state;
    struct box b = {0};
    CHECK_EQ(t_in_pthread(hold_and_return, &b), 0);
    CHECK_RC(plait_lock_acquire(&b.lock, PLAIT_FOREVER), PLAIT_OWNER_DIED);
    CHECK_RC(plait_lock_release(&b.lock), 0);
}

static void blame_without_a_death_is_esrch(void **state)
{
    (void)state;
    plait_lock lock = {0};
    plait_blame blame;
    acquire_held(&lock);
    CHECK_RC(plait_lock_blame(&lock, &blame), PLAIT_ESRCH);
    CHECK_RC(plait_lock_release(&lock), 0);
}

static void a_stopped_holder_is_not_dead(void **state)
{
    (void)state;
    struct box *b = t_new(&t_mixed, sizeof *b);
    struct t_team team;
    plait_worker holder = start_holder(PLAIT_PROCESS, hold_until_told, b);
    t_stop(holder);
    start_waiters(&team, &t_mixed, b, 2, pass);
    CHECK_RC(plait_lock_acquire(&b->lock, plait_ms(80)), PLAIT_ETIMEDOUT);
    CHECK(plait_same(plait_lock_holder(&b->lock), holder));
    TELL(b->release, 1);
    t_continue(holder);
    CHECK_EQ(t_join_one(holder), 0);
    t_join(&team);
    CHECK_RC(b->waiters[0].rc, 0);
    CHECK_RC(b->waiters[1].rc, 0);
    t_delete(&t_mixed, b);
}

static void a_killed_waiter_does_not_hold_up_the_others(void **state)
{
    (void)state;
    const struct t_setting *both[] = {&t_processes, &t_mixed};
    for (int k = 0; k < 2; k++)
        for (int victim = 0; victim < WAITERS; victim += 2) {
            struct box *b = t_new(both[k], sizeof *b);
            struct t_team team;
            acquire_held(&b->lock);
            start_waiters(&team, both[k], b, WAITERS, pass);
            t_kill(team.workers[victim]);
            team.workers[victim] = team.workers[--team.n];
            CHECK_RC(plait_lock_release(&b->lock), 0);
            t_join(&team);
            CHECK_RC(plait_lock_acquire(&b->lock, PLAIT_NOWAIT), 0);
            CHECK_RC(plait_lock_release(&b->lock), 0);
            t_delete(both[k], b);
        }
}

/* Standing still it cannot take the lock: the next one gets it. */
static void a_stopped_waiter_holds_up_nobody(void **state)
{
    (void)state;
    const struct t_setting *both[] = {&t_processes, &t_mixed};
    for (int k = 0; k < 2; k++) {
        struct box *b = t_new(both[k], sizeof *b);
        struct t_team team;
        acquire_held(&b->lock);
        start_waiters(&team, both[k], b, 3, pass);
        t_stop(team.workers[0]);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        UNTIL(SEEN(b->waiters[1].step) == 2 && SEEN(b->waiters[2].step) == 2);
        t_continue(team.workers[0]);
        t_join(&team);
        CHECK_RC(b->waiters[0].rc, 0);
        CHECK_RC(plait_lock_acquire(&b->lock, PLAIT_NOWAIT), 0);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        t_delete(both[k], b);
    }
}

static void a_killed_waiter_that_had_waited_long_leaves_a_free_lock_free(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    struct t_team team;
    acquire_held(&b->lock);
    start_waiters(&team, &t_processes, b, 1, pass);
    UNTIL(SEEN(b->lock.word_) & PL_LOCK_HUNGRY);
    t_kill(team.workers[0]);
    CHECK_RC(plait_lock_release(&b->lock), 0);
    CHECK_RC(plait_lock_acquire(&b->lock, PLAIT_NOWAIT), 0);
    CHECK_RC(plait_lock_release(&b->lock), 0);
    t_delete(&t_processes, b);
}

/* The word that is left when the last waiter dies between being woken and taking the lock. */
static void a_free_lock_with_the_flags_of_the_dead_is_free(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        const int64_t timeouts[] = {PLAIT_NOWAIT, 1, plait_ms(5), PLAIT_FOREVER};
        for (int i = 0; i < 4; i++) {
            b->lock.word_ = PL_LOCK_WAITERS | PL_LOCK_HUNGRY;
            CHECK_EQ(plait_lock_locked(&b->lock), 0);
            CHECK_RC(plait_lock_acquire(&b->lock, timeouts[i]), 0);
            CHECK_RC(plait_lock_release(&b->lock), 0);
        }
        t_delete(s, b);
    }
}

/* --- fork in user code --- */

static plait_lock copied; /* private: each process has its own */

static int use_copied(void *unused)
{
    (void)unused;
    CHECK_EQ(plait_lock_locked(&copied), 1);
    CHECK_RC(plait_lock_acquire(&copied, PLAIT_FOREVER), PLAIT_OWNER_DIED);
    CHECK_RC(plait_lock_release(&copied), 0);
    CHECK_RC(plait_lock_acquire(&copied, PLAIT_FOREVER), 0);
    CHECK_RC(plait_lock_release(&copied), 0);
    return 0;
}

static void a_private_lock_copied_by_fork_while_held_is_free_for_the_child(void **state)
{
    (void)state;
    acquire_held(&copied);
    CHECK_EQ(t_in_fork(use_copied, NULL), 0);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, use_copied, NULL)), 0);
    CHECK(plait_same(plait_lock_holder(&copied), plait_self())); /* the parent's is untouched */
    CHECK_RC(plait_lock_release(&copied), 0);
}

static int hold_copied(void *arg)
{
    struct box *b = arg;
    acquire_held(&copied);
    TELL(b->held, 1);
    UNTIL(SEEN(b->release));
    return plait_lock_release(&copied);
}

static void a_lock_that_another_thread_held_at_fork_is_free_for_the_child(void **state)
{
    (void)state;
    struct box b = {0};
    struct t_waiter waiter = {pass, &copied, PLAIT_FOREVER, 0, 0, 0};
    plait_worker holder = start_holder(PLAIT_THREAD, hold_copied, &b);
    plait_worker other = t_start_one(PLAIT_THREAD, t_wait_once, &waiter);
    UNTIL_WAITS(other, PL_WAIT_LOCK); /* the copy says that someone waits, too */
    CHECK_EQ(t_in_fork(use_copied, NULL), 0);
    CHECK_RC(plait_lock_acquire(&copied, plait_ms(5)), PLAIT_ETIMEDOUT);
    TELL(b.release, 1);
    CHECK_EQ(t_join_one(holder), 0);
    CHECK_EQ(t_join_one(other), 0);
}

static int wait_as_child(void *arg)
{
    struct box *b = arg;
    CHECK(!plait_same(plait_lock_holder(&b->lock), plait_self()));
    CHECK_RC(plait_lock_acquire(&b->lock, plait_ms(5)), PLAIT_ETIMEDOUT);
    TELL(b->held, 1);
    CHECK_RC(plait_lock_acquire(&b->lock, plait_seconds(T_PATIENCE_S)), 0);
    return plait_lock_release(&b->lock);
}

static void an_arena_lock_held_at_fork_stays_the_parents(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    acquire_held(&b->lock);
    pid_t child = t_fork(wait_as_child, b);
    UNTIL(SEEN(b->held));
    CHECK_RC(plait_lock_release(&b->lock), 0);
    CHECK_EQ(t_reap(child), 0);
    t_delete(&t_processes, b);
}

static void a_forked_child_killed_as_holder_is_blamed(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    plait_blame blame;
    pid_t child = t_fork(hold_for_ever, b);
    UNTIL(SEEN(b->held));
    assert_int_equal(kill(child, SIGKILL), 0);
    CHECK_RC(plait_lock_acquire(&b->lock, PLAIT_FOREVER), PLAIT_OWNER_DIED);
    CHECK_RC(plait_lock_blame(&b->lock, &blame), 0);
    CHECK_EQ(blame.pid, child);
    CHECK_EQ(blame.signal, SIGKILL);
    CHECK_RC(plait_lock_release(&b->lock), 0);
    CHECK_EQ(t_reap(child), 1000 + SIGKILL);
    t_delete(&t_processes, b);
}

static int release_as_child(void *lock)
{
    return plait_lock_release(lock) == 0 ? 0 : 1;
}

static void a_forked_child_may_release_what_the_parent_acquired(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    acquire_held(&b->lock);
    CHECK_EQ(t_in_fork(release_as_child, &b->lock), 0);
    CHECK_RC(plait_lock_release(&b->lock), PLAIT_EPERM);
    t_delete(&t_processes, b);
}

/* --- memory that is shared, but not the arena's --- */

static void *map_shared(int fd)
{
    int flags = MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0);
    void *memory = mmap(NULL, sizeof(struct box), PROT_READ | PROT_WRITE, flags, fd, 0);
    CHECK(memory != MAP_FAILED);
    return memory;
}

static void check_refused(struct box *b)
{
    plait_worker holder = start_holder(PLAIT_PROCESS, hold_until_told, b);
    CHECK_RC(plait_lock_acquire(&b->lock, PLAIT_FOREVER), PLAIT_EPRIVATE);
    CHECK_RC(plait_lock_acquire(&b->lock, plait_ms(5)), PLAIT_EPRIVATE);
    CHECK(plait_same(plait_lock_holder(&b->lock), holder));
    TELL(b->release, 1);
    CHECK_EQ(t_join_one(holder), 0);
    acquire_held(&b->lock); /* as long as nobody must wait, it cannot be told */
    CHECK_RC(plait_lock_release(&b->lock), 0);
}

static void a_lock_in_a_mapping_of_your_own_is_refused_to_a_second_process(void **state)
{
    (void)state;
    struct box *b = map_shared(-1);
    check_refused(b);
    munmap(b, sizeof *b);
}

static void a_lock_in_a_shared_file_is_refused_to_a_second_process(void **state)
{
    (void)state;
    char path[] = "/tmp/lock_testXXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(ftruncate(fd, sizeof(struct box)), 0);
    struct box *b = map_shared(fd);
    check_refused(b);
    munmap(b, sizeof *b);
    close(fd);
}

static void a_lock_in_a_mapping_of_your_own_serves_threads(void **state)
{
    (void)state;
    struct box *b = map_shared(-1);
    struct t_team team;
    acquire_held(&b->lock);
    start_waiters(&team, &t_private_threads, b, 2, pass);
    CHECK_RC(plait_lock_release(&b->lock), 0);
    t_join(&team);
    munmap(b, sizeof *b);
}

static int die_holding(void *lock)
{
    acquire_held(lock);
    raise(SIGKILL);
    return 0;
}

static void a_death_is_told_in_a_mapping_of_your_own_too(void **state)
{
    (void)state;
    struct box *b = map_shared(-1);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, die_holding, &b->lock)), -SIGKILL);
    CHECK_RC(plait_lock_acquire(&b->lock, PLAIT_FOREVER), PLAIT_OWNER_DIED);
    CHECK_RC(plait_lock_release(&b->lock), 0);
    munmap(b, sizeof *b);
}

#ifdef PL_STEP_HOOKS
/* --- every interleaving of a wait with the release and a request to stop --- */

/* The first is the object of the call. Another one may come and sleep behind the caller. */
struct meeting {
    plait_lock lock;
    const struct t_setting *setting;
    plait_event held, may_end;
    struct t_waiter other;
    plait_worker holder, worker;
};

static bool release_here(void *arg)
{
    struct meeting *g = arg;
    return plait_lock_release(&g->lock) == 0;
}

static bool let_another_in_and_release(void *arg)
{
    struct meeting *g = arg;
    g->other = (struct t_waiter){pass, &g->lock, PLAIT_FOREVER, 0, 0, 0};
    g->worker = t_start_one(g->setting->kinds[0], t_wait_once, &g->other);
    UNTIL_WAITS(g->worker, PL_WAIT_LOCK);
    return plait_lock_release(&g->lock) == 0;
}

static int hold_meeting(void *arg)
{
    struct meeting *g = arg;
    acquire_held(&g->lock);
    CHECK_RC(plait_event_set(&g->held), 0);
    return plait_event_wait(&g->may_end, PLAIT_FOREVER);
}

/* One call on a lock that another thread holds, which the first deed releases. */
static int meet_holder(struct meeting *g, struct t_meddling *m)
{
    CHECK_RC(plait_lock_init(&g->lock, NULL), 0);
    plait_event_init(&g->held);
    plait_event_init(&g->may_end);
    g->holder = t_start_one(PLAIT_THREAD, hold_meeting, g);
    CHECK_RC(plait_event_wait(&g->held, PLAIT_FOREVER), 0);
    int rc = t_meddle(m, acquire, &g->lock, plait_ms(T_SHORT_MS));
    t_check_canceled_once(m, rc);
    CHECK(rc < 0 || plait_same(plait_lock_holder(&g->lock), plait_self()));
    CHECK(rc < 0 || m->done[0]);
    if (rc == 0 || !m->done[0])
        CHECK_RC(plait_lock_release(&g->lock), 0);
    return rc;
}

/* Last of all: who sleeps hears of the end of the worker that it waits for, and would look. */
static void end_meeting(struct meeting *g)
{
    CHECK_RC(plait_event_set(&g->may_end), 0);
    CHECK_EQ(t_join_one(g->holder), 0);
}

static int meet(void *arg, long i, long k)
{
    struct t_meddling m = {.deeds = {release_here, t_cancel_me}, .at = {i, k}};
    for (int try = 0; try < T_TRIES; try++) {
        struct meeting *g = arg;
        meet_holder(g, &m);
        end_meeting(g);
        CHECK_RC(plait_lock_acquire(&g->lock, PLAIT_NOWAIT), 0); /* it is free for newcomers */
        CHECK_RC(plait_lock_release(&g->lock), 0);
        if ((!m.done[0] && !m.done[1]) || m.took < plait_ms(T_TOO_LONG_MS))
            return t_came_late(&m);
    }
    t_die(__FILE__, __LINE__, "deeds at steps %ld and %ld, and it slept on", i, k);
}

static int meet_in_company(void *arg, long i, long k)
{
    struct t_meddling m = {.deeds = {let_another_in_and_release, t_cancel_me}, .at = {i, k}};
    for (int try = 0; try < T_TRIES; try++) {
        struct meeting *g = arg;
        meet_holder(g, &m);
        int64_t start = plait_now();
        if (m.done[0])
            CHECK_EQ(t_join_one(g->worker), 0);
        int64_t took = plait_now() - start;
        end_meeting(g);
        CHECK_RC(g->other.rc, 0);
        if (!m.done[0] || took < plait_ms(T_TOO_LONG_MS))
            return t_came_late(&m);
    }
    t_die(__FILE__, __LINE__, "deeds at steps %ld and %ld, and the other slept on", i, k);
}

static void try_all(int (*round)(void *, long, long))
{
    const struct t_setting *both[] = {&t_private_threads, &t_threads};
    for (int n = 0; n < 2; n++) {
        struct meeting *g = t_new(both[n], sizeof *g);
        g->setting = both[n];
        t_each_pair(round, g);
        t_delete(both[n], g);
    }
}

static void at_each_step_what_meets_a_wait_is_heard(void **state)
{
    (void)state;
    try_all(meet);
}

static void at_each_step_who_gives_up_leaves_the_lock_to_the_other(void **state)
{
    (void)state;
    try_all(meet_in_company);
}
#endif

static int nothing_is_left(void **state)
{
    (void)state;
    return t_has_children() ? -1 : 0;
}

int main(int argc, char **argv)
{
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_an_arena_it_says_why_it_cannot_wait), /* the first */
        cmocka_unit_test(zeroed_memory_is_a_free_lock),
        cmocka_unit_test(init_makes_any_bytes_a_free_lock),
        cmocka_unit_test(null_is_refused),
        cmocka_unit_test(locked_and_holder_follow_acquire_and_release),
        cmocka_unit_test(holder_is_told_while_others_wait),
        cmocka_unit_test(waiters_wait_until_release),
        cmocka_unit_test(what_it_guards_is_written_by_one_at_a_time),
        cmocka_unit_test(a_thread_that_plait_did_not_start_may_use_it),
        cmocka_unit_test(release_by_another_worker_is_legal),
        cmocka_unit_test(release_by_another_worker_wakes_a_waiter),
        cmocka_unit_test(release_of_a_free_lock_is_eperm_and_changes_nothing),
        cmocka_unit_test(release_after_waiters_are_gone_is_eperm),
        cmocka_unit_test(release_after_its_holder_returned_is_legal),
        cmocka_unit_test(a_waiter_is_on_record_with_its_holder),
        cmocka_unit_test(bad_timeouts_are_refused_held_or_free),
        cmocka_unit_test(a_timeout_is_over_in_time_and_leaves_the_lock_alone),
        cmocka_unit_test(the_longest_timeout_is_accepted),
        cmocka_unit_test(a_timed_out_waiter_leaves_the_wake_up_to_others),
        cmocka_unit_test(its_own_holder_waits_until_another_releases),
        cmocka_unit_test(errno_is_left_alone),
        cmocka_unit_test(cancellation_ends_a_wait),
        cmocka_unit_test(a_canceled_waiter_leaves_the_wake_up_to_others),
        cmocka_unit_test(a_waiter_among_pushers_gets_the_lock),
        cmocka_unit_test(who_waited_for_1_ms_is_overtaken_once_at_most),
        cmocka_unit_test(a_lock_made_anew_while_waited_for_leaves_nobody_behind),
        cmocka_unit_test(a_killed_holder_gives_the_lock_with_owner_died),
        cmocka_unit_test(blame_tells_once_who_died),
        cmocka_unit_test(blame_names_the_last_who_died),
        cmocka_unit_test(blame_is_estale_when_the_entry_serves_another),
        cmocka_unit_test(waiters_are_woken_by_the_death_of_the_holder),
        cmocka_unit_test(they_are_woken_at_once),
        cmocka_unit_test(the_death_of_one_who_just_got_it_is_told_at_once),
        cmocka_unit_test(a_holder_that_ended_without_release_counts_as_dead),
        cmocka_unit_test(a_pthread_that_ended_without_release_counts_as_dead),
        cmocka_unit_test(blame_without_a_death_is_esrch),
        cmocka_unit_test(a_stopped_holder_is_not_dead),
        cmocka_unit_test(a_killed_waiter_does_not_hold_up_the_others),
        cmocka_unit_test(a_stopped_waiter_holds_up_nobody),
        cmocka_unit_test(a_killed_waiter_that_had_waited_long_leaves_a_free_lock_free),
        cmocka_unit_test(a_free_lock_with_the_flags_of_the_dead_is_free),
        cmocka_unit_test(a_private_lock_copied_by_fork_while_held_is_free_for_the_child),
        cmocka_unit_test(a_lock_that_another_thread_held_at_fork_is_free_for_the_child),
        cmocka_unit_test(an_arena_lock_held_at_fork_stays_the_parents),
        cmocka_unit_test(a_forked_child_killed_as_holder_is_blamed),
        cmocka_unit_test(a_forked_child_may_release_what_the_parent_acquired),
        cmocka_unit_test(a_lock_in_a_mapping_of_your_own_is_refused_to_a_second_process),
        cmocka_unit_test(a_lock_in_a_shared_file_is_refused_to_a_second_process),
        cmocka_unit_test(a_lock_in_a_mapping_of_your_own_serves_threads),
        cmocka_unit_test(a_death_is_told_in_a_mapping_of_your_own_too),
#ifdef PL_STEP_HOOKS
        cmocka_unit_test(at_each_step_what_meets_a_wait_is_heard),
        cmocka_unit_test(at_each_step_who_gives_up_leaves_the_lock_to_the_other),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
