/* plait_acquire_all: a test per promise of include/plait/acquire_all.h, and each misuse. */
#include "harness/harness.h"

#include "park/park.h"
#include "sync/lock_word.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { LOCKS = 5, MANY = 300 };

struct box {
    plait_lock locks[LOCKS];
    plait_lock *all[LOCKS]; /* in no particular order */
    struct t_waiter waiters[2];
    int step;
};

static struct box *new_box(const struct t_setting *s)
{
    static const int order[LOCKS] = {3, 0, 4, 2, 1};
    struct box *b = t_new(s, sizeof *b);
    for (int i = 0; i < LOCKS; i++)
        b->all[i] = &b->locks[order[i]];
    return b;
}

static int acquire(void *box, int64_t timeout)
{
    return plait_acquire_all(((struct box *)box)->all, LOCKS, timeout);
}

static int release(struct box *b)
{
    return plait_release_all(b->all, LOCKS);
}

static int locked(const struct box *b)
{
    int n = 0;
    for (int i = 0; i < LOCKS; i++)
        n += plait_lock_locked(&b->locks[i]);
    return n;
}

static void hold(plait_lock *lock)
{
    CHECK_RC(plait_lock_acquire(lock, PLAIT_NOWAIT), 0);
}

static plait_worker start_waiter(const struct t_setting *s, struct box *b, int i)
{
    b->waiters[i] = (struct t_waiter){acquire, b, PLAIT_FOREVER, 0, 0, 0};
    plait_worker w = t_start_one(s->kinds[i % 2], t_wait_once, &b->waiters[i]);
    UNTIL_WAITS(w, PL_WAIT_LOCK);
    return w;
}

/* --- all --- */

static void without_an_arena_it_says_why_it_cannot_wait(void **state)
{
    (void)state;
    struct box b = {0};
    for (int i = 0; i < LOCKS; i++)
        b.all[i] = &b.locks[i];
    t_check_no_arena(acquire, &b);
    CHECK_EQ(locked(&b), 0);
}

static void all_are_held_by_the_caller_and_then_by_nobody(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s);
        CHECK_RC(acquire(b, PLAIT_FOREVER), 0);
        CHECK_EQ(locked(b), LOCKS);
        for (int i = 0; i < LOCKS; i++)
            CHECK(plait_same(plait_lock_holder(&b->locks[i]), plait_self()));
        CHECK_RC(release(b), 0);
        CHECK_EQ(locked(b), 0);
        CHECK_RC(acquire(b, PLAIT_NOWAIT), 0);
        CHECK_RC(release(b), 0);
        CHECK_RC(acquire(b, plait_ms(1)), 0);
        CHECK_RC(release(b), 0);
        t_delete(s, b);
    }
}

static void one_is_enough_and_hundreds_are_not_too_many(void **state)
{
    (void)state;
    static plait_lock locks[MANY];
    static plait_lock *all[MANY];
    for (int i = 0; i < MANY; i++)
        all[i] = &locks[(i * 7) % MANY];
    CHECK_RC(plait_acquire_all(all, 1, PLAIT_FOREVER), 0);
    CHECK_EQ(plait_lock_locked(all[0]), 1);
    CHECK_EQ(plait_lock_locked(all[1]), 0);
    CHECK_RC(plait_release_all(all, 1), 0);
    CHECK_RC(plait_acquire_all(all, MANY, PLAIT_FOREVER), 0);
    for (int i = 0; i < MANY; i++)
        CHECK_EQ(plait_lock_locked(&locks[i]), 1);
    CHECK_RC(plait_release_all(all, MANY), 0);
    for (int i = 0; i < MANY; i++)
        CHECK_EQ(plait_lock_locked(&locks[i]), 0);
}

static void private_locks_and_those_of_the_arena_mix(void **state)
{
    (void)state;
    plait_lock own[2] = {{0}, {0}};
    plait_lock *shared = plait_alloc(2 * sizeof *shared);
    plait_lock *all[] = {&shared[1], &own[0], &shared[0], &own[1]};
    CHECK_RC(plait_acquire_all(all, 4, PLAIT_FOREVER), 0);
    CHECK_EQ(plait_lock_locked(&own[1]) + plait_lock_locked(&shared[0]), 2);
    CHECK_RC(plait_release_all(all, 4), 0);
    CHECK_RC(plait_free(shared), 0);
}

static void the_array_is_left_as_it_was(void **state)
{
    (void)state;
    struct box *b = new_box(&t_threads);
    plait_lock *before[LOCKS];
    memcpy(before, b->all, sizeof before);
    CHECK_RC(acquire(b, PLAIT_FOREVER), 0);
    CHECK_RC(release(b), 0);
    CHECK_EQ(memcmp(before, b->all, sizeof before), 0);
    t_delete(&t_threads, b);
}

/* --- misuse --- */

static void misuse_is_refused_and_takes_nothing(void **state)
{
    (void)state;
    struct box *b = new_box(&t_threads);
    plait_lock *twice[] = {&b->locks[0], &b->locks[1], &b->locks[0]};
    plait_lock *with_null[] = {&b->locks[0], NULL, &b->locks[1]};
    CHECK_RC(plait_acquire_all(NULL, 1, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_acquire_all(b->all, 0, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_acquire_all(b->all, -1, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_acquire_all(b->all, INT_MIN, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_acquire_all(twice, 3, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_acquire_all(with_null, 3, PLAIT_FOREVER), PLAIT_EINVAL);
    t_check_bad_timeouts(acquire, b);
    CHECK_EQ(locked(b), 0);
    CHECK_RC(plait_acquire_all(twice, 2, PLAIT_FOREVER), 0); /* the first two differ */
    CHECK_RC(plait_release_all(twice, 3), PLAIT_EINVAL);
    CHECK_RC(plait_release_all(NULL, 1), PLAIT_EINVAL);
    CHECK_RC(plait_release_all(twice, 0), PLAIT_EINVAL);
    CHECK_RC(plait_release_all(with_null, 3), PLAIT_EINVAL);
    CHECK_EQ(locked(b), 2);
    CHECK_RC(plait_release_all(twice, 2), 0);
    t_delete(&t_threads, b);
}

static void release_with_a_free_one_among_them_changes_nothing(void **state)
{
    (void)state;
    struct box *b = new_box(&t_threads);
    CHECK_RC(release(b), PLAIT_EPERM);
    for (int i = 0; i < LOCKS; i++) {
        CHECK_RC(acquire(b, PLAIT_FOREVER), 0);
        CHECK_RC(plait_lock_release(&b->locks[i]), 0);
        CHECK_RC(release(b), PLAIT_EPERM);
        CHECK_EQ(locked(b), LOCKS - 1);
        hold(&b->locks[i]);
        CHECK_RC(release(b), 0);
    }
    t_delete(&t_threads, b);
}

/* --- none --- */

static void a_held_one_keeps_all_and_nothing_stays_taken(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    for (int i = 0; i < LOCKS; i++) {
        struct box *b = new_box(s);
        hold(&b->locks[i]);
        CHECK_RC(acquire(b, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
        CHECK_EQ(locked(b), 1);
        CHECK_RC(acquire(b, plait_us(50)), PLAIT_ETIMEDOUT);
        CHECK_EQ(locked(b), 1);
        CHECK_RC(plait_lock_release(&b->locks[i]), 0);
        t_delete(s, b);
    }
}

static void a_timeout_is_over_in_time(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s);
        hold(&b->locks[LOCKS - 1]);
        t_check_time(acquire, b);
        t_check_signals(acquire, b);
        CHECK_EQ(locked(b), 1);
        t_delete(s, b);
    }
}

static int release_first_late(void *arg)
{
    struct box *b = arg;
    t_sleep(plait_ms(30));
    CHECK_RC(plait_lock_release(&b->locks[0]), 0);
    return 0;
}

/* 30 ms of the 50 go by at the first lock: the second has what is left, not 50 again. */
static void the_timeout_is_for_the_whole(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s);
        hold(&b->locks[0]);
        hold(&b->locks[1]);
        int64_t best = INT64_MAX;
        for (int try = 0; try < 5 && best >= plait_ms(78); try++) {
            int64_t start = plait_now();
            plait_worker w = t_start_one(s->kinds[0], release_first_late, b);
            CHECK_RC(acquire(b, plait_ms(50)), PLAIT_ETIMEDOUT);
            int64_t took = plait_now() - start;
            CHECK(took >= plait_ms(50));
            best = took < best ? took : best;
            CHECK_EQ(t_join_one(w), 0);
            CHECK_EQ(locked(b), 1);
            hold(&b->locks[0]);
        }
        CHECK(best < plait_ms(78));
        t_delete(s, b);
    }
}

static void cancellation_ends_the_wait_and_takes_nothing(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s);
        hold(&b->locks[2]);
        t_check_cancel(s, acquire, b);
        t_check_cancel_pending(s, acquire, b);
        t_check_cancel_counts(s, acquire, b);
        t_check_uncancel(s, acquire, b);
        CHECK_EQ(locked(b), 1);
        t_delete(s, b);
    }
}

static void errno_is_left_alone(void **state)
{
    (void)state;
    struct box *b = new_box(&t_threads);
    errno = EXDEV;
    hold(&b->locks[2]);
    CHECK_RC(acquire(b, plait_ms(2)), PLAIT_ETIMEDOUT);
    CHECK_RC(release(b), PLAIT_EPERM);
    CHECK_RC(plait_lock_release(&b->locks[2]), 0);
    CHECK_RC(acquire(b, plait_ms(2)), 0);
    CHECK_RC(release(b), 0);
    CHECK_EQ(errno, EXDEV);
    t_delete(&t_threads, b);
}

/* --- waiting --- */

static void release_lets_all_who_wait_through_one_after_the_other(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s);
        CHECK_RC(acquire(b, PLAIT_FOREVER), 0);
        plait_worker first = start_waiter(s, b, 0), second = start_waiter(s, b, 1);
        CHECK_RC(release(b), 0);
        CHECK_EQ(t_join_one(first), 0);
        CHECK_EQ(t_join_one(second), 0);
        CHECK(b->waiters[0].rc >= 0 && b->waiters[1].rc >= 0);
        CHECK_EQ(b->waiters[0].rc + b->waiters[1].rc,
                 PLAIT_OWNER_DIED); /* to end with it is a death */
        CHECK_EQ(locked(b), LOCKS);
        t_delete(s, b);
    }
}

/* It must not take a higher one while it waits for a lower: others could not go on. */
static void what_is_not_needed_yet_is_free_for_others(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s);
        hold(&b->locks[2]);
        plait_worker w = start_waiter(s, b, 0);
        CHECK_EQ(plait_lock_locked(&b->locks[0]) + plait_lock_locked(&b->locks[1]), 2);
        CHECK_EQ(plait_lock_locked(&b->locks[3]) + plait_lock_locked(&b->locks[4]), 0);
        CHECK_RC(plait_lock_release(&b->locks[2]), 0);
        CHECK_EQ(t_join_one(w), 0);
        CHECK_RC(b->waiters[0].rc, 0);
        t_delete(s, b);
    }
}

/* --- death --- */

static int hold_second_and_die(void *arg)
{
    struct box *b = arg;
    hold(&b->locks[1]);
    TELL(b->step, 1);
    t_sleep_for_ever();
}

static plait_worker let_one_die_with_the_second(struct box *b)
{
    TELL(b->step, 0);
    plait_worker w = t_start_one(PLAIT_PROCESS, hold_second_and_die, b);
    UNTIL(SEEN(b->step) == 1);
    CHECK_RC(plait_kill(w), 0);
    CHECK_EQ(t_join_one(w), -SIGKILL);
    return w;
}

static void a_death_is_told_and_whose_lock_it_was(void **state)
{
    (void)state;
    struct box *b = new_box(&t_processes);
    plait_worker w = let_one_die_with_the_second(b);
    CHECK_RC(acquire(b, PLAIT_FOREVER), PLAIT_OWNER_DIED);
    for (int i = 0; i < LOCKS; i++) {
        plait_blame blame;
        int rc = plait_lock_blame(&b->locks[i], &blame);
        if (i != 1)
            CHECK_RC(rc, PLAIT_ESRCH);
        else if (rc == 0)
            CHECK(plait_same(blame.worker, w));
        else
            CHECK_RC(rc, PLAIT_ESTALE); /* its entry may serve another */
    }
    CHECK_RC(release(b), 0);
    CHECK_RC(acquire(b, PLAIT_FOREVER), 0); /* told once */
    CHECK_RC(release(b), 0);
    t_delete(&t_processes, b);
}

static void an_older_death_that_nobody_asked_about_is_not_told_again(void **state)
{
    (void)state;
    struct box *b = new_box(&t_processes);
    plait_blame blame;
    let_one_die_with_the_second(b);
    CHECK_RC(plait_lock_acquire(&b->locks[1], PLAIT_FOREVER), PLAIT_OWNER_DIED);
    CHECK_RC(plait_lock_release(&b->locks[1]), 0); /* repaired, without asking */
    CHECK_RC(acquire(b, PLAIT_FOREVER), 0);
    CHECK_RC(plait_lock_blame(&b->locks[1], &blame), PLAIT_ESRCH);
    CHECK_RC(release(b), 0);
    t_delete(&t_processes, b);
}

/* Who takes a lock over from the dead and then fails has not repaired anything. */
static void a_death_is_not_lost_with_a_call_that_fails(void **state)
{
    (void)state;
    struct box *b = new_box(&t_processes);
    plait_blame blame;
    plait_worker w = let_one_die_with_the_second(b);
    hold(&b->locks[4]);
    for (int i = 0; i < 3; i++) {
        CHECK_RC(acquire(b, i ? plait_us(100) : PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
        CHECK_EQ(plait_lock_locked(&b->locks[0]) + plait_lock_locked(&b->locks[2]), 0);
    }
    CHECK_RC(plait_lock_acquire(&b->locks[1], PLAIT_FOREVER), PLAIT_OWNER_DIED);
    CHECK_RC(plait_lock_blame(&b->locks[1], &blame), 0);
    CHECK(plait_same(blame.worker, w));
    CHECK_RC(plait_lock_release(&b->locks[1]), 0);
    CHECK_RC(plait_lock_release(&b->locks[4]), 0);
    CHECK_RC(acquire(b, PLAIT_NOWAIT), 0);
    CHECK_RC(release(b), 0);
    t_delete(&t_processes, b);
}

static int take_second(void *box, int64_t timeout)
{
    struct box *b = box;
    int rc = plait_lock_acquire(&b->locks[1], timeout);
    if (rc >= 0)
        CHECK_RC(plait_lock_release(&b->locks[1]), 0);
    return rc;
}

/* Its end would wake those who watch it. */
static int fail_and_stay(void *arg)
{
    struct box *b = arg;
    CHECK_RC(acquire(b, PLAIT_FOREVER), PLAIT_ECANCELED);
    UNTIL(SEEN(b->step) == 2);
    return 0;
}

static int64_t give_back_to_the_dead(bool fair)
{
    struct box *b = new_box(&t_mixed);
    plait_worker others[2];
    CHECK_RC(plait_lock_init(&b->locks[1], &(plait_lock_options){.fair = fair}), 0);
    let_one_die_with_the_second(b);
    hold(&b->locks[4]);
    plait_worker w = t_start_one(PLAIT_PROCESS, fail_and_stay, b);
    UNTIL_WAITS(w, PL_WAIT_LOCK);
    struct t_waiter *second = t_new(&t_mixed, 2 * sizeof *second);
    for (int i = 0; i < 2; i++) {
        second[i] = (struct t_waiter){take_second, b, PLAIT_FOREVER, 0, 0, 0};
        others[i] = t_start_one(t_mixed.kinds[i], t_wait_once, &second[i]);
        UNTIL_WAITS(others[i], PL_WAIT_LOCK);
    }
    t_let_naps_grow();
    int64_t start = plait_now();
    CHECK_RC(plait_cancel(w), 0);
    CHECK_EQ(t_join_one(others[0]) + t_join_one(others[1]), 0);
    int64_t took = plait_now() - start;
    TELL(b->step, 2);
    CHECK_EQ(t_join_one(w), 0);
    CHECK_EQ(second[0].rc + second[1].rc, PLAIT_OWNER_DIED); /* one of them is told */
    t_delete(&t_mixed, second);
    t_delete(&t_mixed, b);
    return took;
}

static int64_t give_plain_lock_back(void)
{
    return give_back_to_the_dead(false);
}

static int64_t give_fair_lock_back(void)
{
    return give_back_to_the_dead(true);
}

static void who_waits_for_what_is_given_back_to_the_dead_wakes_at_once(void **state)
{
    (void)state;
    t_check_at_once(give_plain_lock_back);
    t_check_at_once(give_fair_lock_back);
}

static void a_killed_waiter_leaves_what_it_had_as_one_who_died_with_it(void **state)
{
    (void)state;
    struct box *b = new_box(&t_processes);
    hold(&b->locks[2]);
    plait_worker w = start_waiter(&t_processes, b, 0);
    t_kill(w);
    CHECK_RC(plait_lock_acquire(&b->locks[0], PLAIT_FOREVER), PLAIT_OWNER_DIED);
    CHECK_RC(plait_lock_release(&b->locks[0]), 0);
    CHECK_RC(plait_lock_release(&b->locks[2]), 0);
    CHECK_RC(acquire(b, PLAIT_FOREVER), PLAIT_OWNER_DIED); /* the one at 1 */
    CHECK_RC(release(b), 0);
    t_delete(&t_processes, b);
}

/* --- fork in user code --- */

static int use_the_copies(void *arg)
{
    struct box *b = arg;
    CHECK_RC(acquire(b, PLAIT_FOREVER), PLAIT_OWNER_DIED);
    CHECK_RC(release(b), 0);
    CHECK_RC(acquire(b, PLAIT_FOREVER), 0);
    return release(b);
}

static void private_locks_copied_by_fork_are_free_for_the_child(void **state)
{
    (void)state;
    struct box *b = new_box(&t_private_threads);
    CHECK_RC(acquire(b, PLAIT_FOREVER), 0);
    CHECK_EQ(t_in_fork(use_the_copies, b), 0);
    CHECK_EQ(locked(b), LOCKS);
    CHECK_RC(release(b), 0);
    t_delete(&t_private_threads, b);
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
        cmocka_unit_test(without_an_arena_it_says_why_it_cannot_wait),
        cmocka_unit_test(all_are_held_by_the_caller_and_then_by_nobody),
        cmocka_unit_test(one_is_enough_and_hundreds_are_not_too_many),
        cmocka_unit_test(private_locks_and_those_of_the_arena_mix),
        cmocka_unit_test(the_array_is_left_as_it_was),
        cmocka_unit_test(misuse_is_refused_and_takes_nothing),
        cmocka_unit_test(release_with_a_free_one_among_them_changes_nothing),
        cmocka_unit_test(a_held_one_keeps_all_and_nothing_stays_taken),
        cmocka_unit_test(a_timeout_is_over_in_time),
        cmocka_unit_test(the_timeout_is_for_the_whole),
        cmocka_unit_test(cancellation_ends_the_wait_and_takes_nothing),
        cmocka_unit_test(errno_is_left_alone),
        cmocka_unit_test(release_lets_all_who_wait_through_one_after_the_other),
        cmocka_unit_test(what_is_not_needed_yet_is_free_for_others),
        cmocka_unit_test(a_death_is_told_and_whose_lock_it_was),
        cmocka_unit_test(an_older_death_that_nobody_asked_about_is_not_told_again),
        cmocka_unit_test(a_death_is_not_lost_with_a_call_that_fails),
        cmocka_unit_test(who_waits_for_what_is_given_back_to_the_dead_wakes_at_once),
        cmocka_unit_test(a_killed_waiter_leaves_what_it_had_as_one_who_died_with_it),
        cmocka_unit_test(private_locks_copied_by_fork_are_free_for_the_child),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
