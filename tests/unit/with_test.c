/* PLAIT_WITH: a test per promise of include/plait/with.h, and each way out of the block. */
#include "harness/harness.h"

#include "park/park.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

struct box {
    plait_lock lock;
    plait_semaphore semaphore;
    plait_condition condition;
    int held, go;
    long count;
};

static plait_lock a, b;

static bool both_free(void)
{
    return !plait_lock_locked(&a) && !plait_lock_locked(&b);
}

/* --- what it holds --- */

static void the_block_runs_once_with_the_lock_held(void **state)
{
    (void)state;
    int runs = 0;
    PLAIT_WITH(&a) {
        runs++;
        assert_true(plait_same(plait_lock_holder(&a), plait_self()));
    }
    assert_int_equal(runs, 1);
    assert_true(both_free());
}

static void one_statement_needs_no_braces(void **state)
{
    (void)state;
    int locked = 0;
    PLAIT_WITH(&a)
        locked = plait_lock_locked(&a);
    assert_int_equal(locked, 1);
    assert_true(both_free());
}

static void a_semaphore_gives_a_permit_for_the_block(void **state)
{
    (void)state;
    plait_semaphore s;
    CHECK_RC(plait_semaphore_init(&s, 2, 2), 0);
    PLAIT_WITH(&s) {
        assert_int_equal(plait_semaphore_value(&s), 1);
        PLAIT_WITH(&s)
            assert_int_equal(plait_semaphore_value(&s), 0);
    }
    assert_int_equal(plait_semaphore_value(&s), 2);
}

static void a_condition_lends_its_lock(void **state)
{
    (void)state;
    plait_condition own = {0}, bound;
    CHECK_RC(plait_condition_init(&bound, &a), 0);
    PLAIT_WITH(&own) {
        CHECK_RC(plait_condition_notify(&own, 1), 0);
        assert_true(plait_lock_locked(plait_condition_lock(&own)));
    }
    assert_false(plait_lock_locked(plait_condition_lock(&own)));
    PLAIT_WITH(&bound)
        assert_true(plait_lock_locked(&a));
    assert_true(both_free());
}

static int read_within(plait_rwlock *rw, bool leave)
{
    PLAIT_WITH_READ(rw)
    {
        assert_int_equal(plait_rwlock_readers(rw), 1);
        PLAIT_WITH_READ(rw)
        assert_int_equal(plait_rwlock_readers(rw), 1);
        if (leave)
            return 1;
    }
    return 0;
}

static void an_rwlock_is_held_to_read_or_to_write(void **state)
{
    (void)state;
    plait_rwlock rw = {0};
    int refused = 0;
    assert_int_equal(read_within(&rw, true), 1);
    assert_int_equal(plait_rwlock_readers(&rw), 0);
    assert_int_equal(read_within(&rw, false), 0);
    PLAIT_WITH_WRITE(&rw)
    {
        assert_true(plait_same(plait_rwlock_writer(&rw), plait_self()));
        PLAIT_WITH_READ(&rw)
        fail();
        else refused++;
        PLAIT_WITH_WRITE(&rw)
        fail();
        else refused++;
    }
    assert_int_equal(refused, 2);
    CHECK_RC(plait_rwlock_acquire_write(&rw, PLAIT_NOWAIT), 0);
    CHECK_RC(plait_rwlock_release_write(&rw), 0);
}

static void blocks_nest(void **state)
{
    (void)state;
    int runs = 0;
    PLAIT_WITH(&a) {
        PLAIT_WITH(&b) {
            runs++;
            assert_true(plait_lock_locked(&a) && plait_lock_locked(&b));
        }
        assert_true(plait_lock_locked(&a) && !plait_lock_locked(&b));
    }
    PLAIT_WITH(&a)
        PLAIT_WITH(&b)
            runs += plait_lock_locked(&a) && plait_lock_locked(&b);
    assert_int_equal(runs, 2);
    assert_true(both_free());
}

static int asked;

static plait_lock *ask_for_a(void)
{
    asked++;
    return &a;
}

static void the_expression_is_evaluated_once(void **state)
{
    (void)state;
    asked = 0;
    PLAIT_WITH(ask_for_a())
        assert_int_equal(asked, 1);
    assert_int_equal(asked, 1);
    assert_true(both_free());
}

/* --- ways out --- */

static int return_from_within(int depth)
{
    PLAIT_WITH(&a) {
        if (depth == 1)
            return 1;
        PLAIT_WITH(&b)
            return 2;
    }
    return 0;
}

static void return_releases(void **state)
{
    (void)state;
    assert_int_equal(return_from_within(1), 1);
    assert_true(both_free());
    assert_int_equal(return_from_within(2), 2);
    assert_true(both_free());
}

static int locked_as_returned(void)
{
    PLAIT_WITH(&a)
        return plait_lock_locked(&a); /* evaluated with the lock held */
    return -1;
}

static void the_returned_value_is_made_before_the_release(void **state)
{
    (void)state;
    assert_int_equal(locked_as_returned(), 1);
    assert_true(both_free());
}

static void break_leaves_the_block_not_the_loop_around_it(void **state)
{
    (void)state;
    int rounds = 0, after = 0;
    for (int i = 0; i < 3; i++) {
        PLAIT_WITH(&a) {
            rounds++;
            if (i >= 0)
                break;
            after++;
        }
        assert_true(both_free());
    }
    assert_int_equal(rounds, 3);
    assert_int_equal(after, 0);
}

static void continue_leaves_the_block_not_the_loop_around_it(void **state)
{
    (void)state;
    int rounds = 0, after = 0, behind = 0;
    for (int i = 0; i < 3; i++) {
        PLAIT_WITH(&a) {
            rounds++;
            if (i >= 0)
                continue;
            after++;
        }
        assert_true(both_free());
        behind++;
    }
    assert_int_equal(rounds, 3);
    assert_int_equal(after, 0);
    assert_int_equal(behind, 3);
}

static void break_in_a_loop_within_the_block_leaves_that_loop(void **state)
{
    (void)state;
    PLAIT_WITH(&a) {
        for (;;)
            break;
        assert_true(plait_lock_locked(&a));
    }
    assert_true(both_free());
}

static void goto_releases(void **state)
{
    (void)state;
    PLAIT_WITH(&a) {
        PLAIT_WITH(&b)
            goto out;
        fail();
    }
    fail();
out:
    assert_true(both_free());
}

/* --- when it cannot be had --- */

static void without_it_the_else_branch_runs(void **state)
{
    (void)state;
    int blocks = 0, elses = 0;
    plait_lock *lock = NULL;
    plait_semaphore *semaphore = NULL;
    plait_condition *condition = NULL;
    PLAIT_WITH(lock)
        blocks++;
    else elses++;
    PLAIT_WITH(semaphore)
        blocks++;
    else elses++;
    PLAIT_WITH(condition) {
        blocks++;
    }
    else
    {
        elses++;
    }
    PLAIT_WITH(lock) /* no else: nothing happens */
        blocks++;
    assert_int_equal(blocks, 0);
    assert_int_equal(elses, 3);
}

static void with_it_the_else_branch_does_not_run(void **state)
{
    (void)state;
    int blocks = 0, elses = 0;
    PLAIT_WITH(&a)
        blocks++;
    else elses++;
    assert_int_equal(blocks, 1);
    assert_int_equal(elses, 0);
    assert_true(both_free());
}

static int return_from_else(plait_lock *lock)
{
    PLAIT_WITH(lock) {
        return 1;
    }
    else
    {
        return 2;
    }
    return 3;
}

static void return_from_the_else_branch_releases_nothing(void **state)
{
    (void)state;
    CHECK_RC(plait_lock_acquire(&a, PLAIT_NOWAIT), 0);
    assert_int_equal(return_from_else(NULL), 2);
    assert_true(plait_lock_locked(&a));
    CHECK_RC(plait_lock_release(&a), 0);
    assert_int_equal(return_from_else(&a), 1);
    assert_true(both_free());
}

enum { GOT, STOPPED };

static int with_lock(struct box *box)
{
    PLAIT_WITH(&box->lock)
        return GOT;
    else return STOPPED;
    return -1;
}

static int with_semaphore(struct box *box)
{
    PLAIT_WITH(&box->semaphore)
        return GOT;
    else return STOPPED;
    return -1;
}

static int with_condition(struct box *box)
{
    PLAIT_WITH(&box->condition)
        return GOT;
    else return STOPPED;
    return -1;
}

typedef int with(struct box *box);
static with *const withs[] = {with_lock, with_semaphore, with_condition};

/* Asked to stop while it waits in each of them: else runs, and the request is still due. */
static int be_stopped(void *arg)
{
    struct box *box = arg;
    for (int i = 0; i < 3; i++) {
        TELL(box->go, i + 1);
        CHECK_EQ(withs[i](box), STOPPED);
        CHECK_EQ(withs[(i + 1) % 3](box), STOPPED); /* it stays */
        CHECK_EQ(plait_cancelling(), 1);
        CHECK_RC(plait_lock_acquire(&box->lock, PLAIT_FOREVER), PLAIT_ECANCELED);
        CHECK_RC(plait_lock_acquire(&box->lock, plait_ms(2)), PLAIT_ETIMEDOUT);
        CHECK_EQ(plait_uncancel(), 0);
    }
    return 0;
}

static void a_request_to_stop_runs_the_else_branch_and_stays(void **state)
{
    (void)state;
    const int waits[] = {PL_WAIT_LOCK, PL_WAIT_SEMAPHORE, PL_WAIT_LOCK};
    FOR_EACH_SETTING(s)
    {
        struct box *box = t_new(s, sizeof *box);
        CHECK_RC(plait_lock_acquire(&box->lock, PLAIT_FOREVER), 0);
        CHECK_RC(plait_lock_acquire(plait_condition_lock(&box->condition), PLAIT_FOREVER), 0);
        plait_worker w = t_start_one(s->kinds[0], be_stopped, box);
        for (int i = 0; i < 3; i++) {
            UNTIL(SEEN(box->go) == i + 1);
            UNTIL_WAITS(w, waits[i]);
            CHECK_RC(plait_cancel(w), 0);
            UNTIL(SEEN(box->go) != i + 1 || !plait_is_alive(w));
        }
        CHECK_EQ(t_join_one(w), 0);
        t_delete(s, box);
    }
}

/* --- among workers --- */

enum { WORKERS = 4, EACH = 1000 };

static int add(void *arg)
{
    struct box *box = arg;
    for (int i = 0; i < EACH; i++) {
        PLAIT_WITH(&box->lock) {
            box->count++;
            if (i % 3 == 0)
                continue;
            if (i % 3 == 1)
                break;
        }
    }
    return 0;
}

static void the_sum_is_exact(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *box = t_new(s, sizeof *box);
        struct t_team team;
        t_start(&team, s, WORKERS, add, box);
        t_join(&team);
        CHECK_EQ(box->count, WORKERS * EACH);
        CHECK_EQ(plait_lock_locked(&box->lock), 0);
        t_delete(s, box);
    }
}

static int die_within(void *arg)
{
    struct box *box = arg;
    PLAIT_WITH(&box->lock)
        raise(SIGKILL);
    return 0;
}

static void after_the_death_of_a_holder_the_block_runs_and_blame_tells(void **state)
{
    (void)state;
    struct box *box = t_new(&t_processes, sizeof *box);
    plait_blame blame;
    int runs = 0;
    plait_worker w = t_start_one(PLAIT_PROCESS, die_within, box);
    CHECK_EQ(t_join_one(w), -SIGKILL);
    PLAIT_WITH(&box->lock) {
        runs++;
        CHECK_RC(plait_lock_blame(&box->lock, &blame), 0);
        CHECK(plait_same(blame.worker, w));
    }
    assert_int_equal(runs, 1);
    CHECK_EQ(plait_lock_locked(&box->lock), 0);
    t_delete(&t_processes, box);
}

static int consume(void *arg)
{
    struct box *box = arg;
    for (int i = 0; i < 100; i++)
        PLAIT_WITH(&box->condition) {
            while (box->count == 0)
                plait_condition_wait(&box->condition, PLAIT_FOREVER);
            box->count--;
        }
    return 0;
}

static void waiting_within_the_block_works(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *box = t_new(s, sizeof *box);
        struct t_team team;
        t_start(&team, s, 2, consume, box);
        for (int i = 0; i < 200; i++)
            PLAIT_WITH(&box->condition) {
                box->count++;
                CHECK(plait_condition_notify(&box->condition, 1) >= 0);
            }
        t_join(&team);
        CHECK_EQ(box->count, 0);
        t_delete(s, box);
    }
}

/* --- fork in the block --- */

static void a_child_forked_in_the_block_leaves_the_parents_lock_alone(void **state)
{
    (void)state;
    struct box *shared = plait_alloc(sizeof *shared);
    pid_t child = -1;
    PLAIT_WITH(&shared->lock) {
        PLAIT_WITH(&a)
            child = fork();
        if (child == 0)
            break;
        CHECK_EQ(t_reap(child), 0);
        CHECK(plait_lock_locked(&shared->lock));
    }
    if (child == 0) /* the copy in private memory was its own to let go */
        _exit(plait_lock_locked(&a) || !plait_lock_locked(&shared->lock));
    CHECK(!plait_lock_locked(&shared->lock));
    plait_free(shared);
}

int main(int argc, char **argv)
{
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_block_runs_once_with_the_lock_held),
        cmocka_unit_test(one_statement_needs_no_braces),
        cmocka_unit_test(a_semaphore_gives_a_permit_for_the_block),
        cmocka_unit_test(a_condition_lends_its_lock),
        cmocka_unit_test(an_rwlock_is_held_to_read_or_to_write),
        cmocka_unit_test(blocks_nest),
        cmocka_unit_test(the_expression_is_evaluated_once),
        cmocka_unit_test(return_releases),
        cmocka_unit_test(the_returned_value_is_made_before_the_release),
        cmocka_unit_test(break_leaves_the_block_not_the_loop_around_it),
        cmocka_unit_test(continue_leaves_the_block_not_the_loop_around_it),
        cmocka_unit_test(break_in_a_loop_within_the_block_leaves_that_loop),
        cmocka_unit_test(goto_releases),
        cmocka_unit_test(without_it_the_else_branch_runs),
        cmocka_unit_test(with_it_the_else_branch_does_not_run),
        cmocka_unit_test(return_from_the_else_branch_releases_nothing),
        cmocka_unit_test(a_request_to_stop_runs_the_else_branch_and_stays),
        cmocka_unit_test(the_sum_is_exact),
        cmocka_unit_test(after_the_death_of_a_holder_the_block_runs_and_blame_tells),
        cmocka_unit_test(waiting_within_the_block_works),
        cmocka_unit_test(a_child_forked_in_the_block_leaves_the_parents_lock_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
