/* The rlock: a test per promise of include/plait/rlock.h, and each misuse; conditions on it. */
#include "harness/harness.h"

#include "park/park.h"
#include "sync/lock_word.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WAITERS = 4 };

struct box {
    plait_rlock rlock;
    plait_condition condition;
    int held, release, stop;
    long inside;
    int depth;
    struct t_waiter waiters[WAITERS];
};

static int acquire(void *rlock, int64_t timeout)
{
    return plait_rlock_acquire(rlock, timeout);
}

/* Acquires twice, the first time waiting if need be, and releases. */
static int pass(void *arg, int64_t timeout)
{
    plait_rlock *rlock = arg;
    int rc = plait_rlock_acquire(rlock, timeout);
    if (rc < 0)
        return rc;
    CHECK_EQ(plait_rlock_depth(rlock), 1);
    CHECK_RC(plait_rlock_acquire(rlock, PLAIT_NOWAIT), 0);
    CHECK_EQ(plait_rlock_depth(rlock), 2);
    CHECK_RC(plait_rlock_release(rlock), 0);
    CHECK_RC(plait_rlock_release(rlock), 0);
    return rc;
}

static void take(plait_rlock *rlock, int times)
{
    for (int i = 0; i < times; i++)
        CHECK_RC(plait_rlock_acquire(rlock, plait_seconds(T_PATIENCE_S)), 0);
}

static void give(plait_rlock *rlock, int times)
{
    for (int i = 0; i < times; i++)
        CHECK_RC(plait_rlock_release(rlock), 0);
}

static void check_free(plait_rlock *rlock)
{
    CHECK_EQ(plait_rlock_locked(rlock), 0);
    CHECK_EQ(plait_rlock_depth(rlock), 0);
    CHECK_EQ(plait_rlock_holder(rlock).slot, 0);
    CHECK_RC(plait_rlock_release(rlock), PLAIT_EPERM);
    CHECK_RC(pass(rlock, PLAIT_NOWAIT), 0);
}

static int hold_until_told(void *arg)
{
    struct box *b = arg;
    take(&b->rlock, 3);
    TELL(b->held, 1);
    UNTIL(SEEN(b->release));
    give(&b->rlock, 3);
    return 0;
}

static int hold_for_ever(void *arg)
{
    struct box *b = arg;
    take(&b->rlock, 3);
    TELL(b->held, 1);
    t_sleep_for_ever();
}

static int hold_and_return(void *arg)
{
    struct box *b = arg;
    take(&b->rlock, 2);
    return 0;
}

static plait_worker start_holder(int kind, plait_function *fn, struct box *b)
{
    TELL(b->held, 0);
    plait_worker holder = t_start_one(kind, fn, b);
    UNTIL(SEEN(b->held));
    return holder;
}

static void start_waiters(struct t_team *team, const struct t_setting *s, struct box *b, int n,
                          t_wait *call)
{
    team->n = n;
    for (int i = 0; i < n; i++) {
        b->waiters[i] = (struct t_waiter){call, &b->rlock, PLAIT_FOREVER, 0, 0, 0};
        team->workers[i] = t_start_one(s->kinds[i % 2], t_wait_once, &b->waiters[i]);
        UNTIL_WAITS(team->workers[i], PL_WAIT_RLOCK);
    }
}

/* --- free and held --- */

static void without_an_arena_it_says_why_it_cannot_wait(void **state)
{
    (void)state;
    plait_rlock rlock = {0};
    t_check_no_arena(acquire, &rlock);
}

static void zeroed_memory_is_a_free_rlock(void **state)
{
    (void)state;
    static plait_rlock rlock;
    check_free(&rlock);
}

static void init_makes_any_bytes_a_free_rlock(void **state)
{
    (void)state;
    plait_rlock rlock;
    plait_blame blame;
    const plait_lock_options fair = {.fair = true};
    const plait_lock_options *all[] = {NULL, &fair};
    for (int i = 0; i < 2; i++) {
        memset(&rlock, 0xff, sizeof rlock);
        CHECK_RC(plait_rlock_init(&rlock, all[i]), 0);
        check_free(&rlock);
        CHECK_RC(plait_rlock_blame(&rlock, &blame), PLAIT_ESRCH);
    }
}

static void null_is_refused(void **state)
{
    (void)state;
    plait_rlock rlock = {0};
    plait_blame blame;
    CHECK_RC(plait_rlock_init(NULL, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_rlock_acquire(NULL, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_rlock_acquire(NULL, PLAIT_NOWAIT), PLAIT_EINVAL);
    CHECK_RC(plait_rlock_release(NULL), PLAIT_EINVAL);
    CHECK_EQ(plait_rlock_depth(NULL), 0);
    CHECK_EQ(plait_rlock_locked(NULL), 0);
    CHECK_EQ(plait_rlock_holder(NULL).slot, 0);
    CHECK_RC(plait_rlock_blame(NULL, &blame), PLAIT_EINVAL);
    CHECK_RC(plait_rlock_blame(&rlock, NULL), PLAIT_EINVAL);
}

static void its_holder_takes_it_again_and_gives_it_back_as_often(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        for (uint32_t depth = 1; depth <= 5; depth++) {
            take(&b->rlock, 1);
            CHECK_EQ(plait_rlock_depth(&b->rlock), depth);
        }
        for (uint32_t depth = 5; depth >= 1; depth--) {
            CHECK_EQ(plait_rlock_depth(&b->rlock), depth);
            CHECK(plait_same(plait_rlock_holder(&b->rlock), plait_self()));
            CHECK_EQ(plait_rlock_locked(&b->rlock), 1);
            give(&b->rlock, 1);
        }
        check_free(&b->rlock);
        t_delete(s, b);
    }
}

static void others_wait_until_the_last_release(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        take(&b->rlock, 3);
        start_waiters(&team, s, b, WAITERS, pass);
        give(&b->rlock, 2);
        CHECK(plait_same(plait_rlock_holder(&b->rlock), plait_self()));
        for (int i = 0; i < WAITERS; i++)
            CHECK_EQ(SEEN(b->waiters[i].step), 1);
        take(&b->rlock, 1); /* past those who wait */
        give(&b->rlock, 2);
        t_join(&team);
        for (int i = 0; i < WAITERS; i++)
            CHECK_RC(b->waiters[i].rc, 0);
        check_free(&b->rlock);
        t_delete(s, b);
    }
}

enum { EACH = 1000 };

static void add(struct box *b, int levels)
{
    take(&b->rlock, 1);
    if (levels > 1)
        add(b, levels - 1);
    else
        b->inside++; /* plain: the rlock alone keeps it whole */
    give(&b->rlock, 1);
}

static int add_many(void *arg)
{
    for (int i = 0; i < EACH; i++)
        add(arg, 1 + i % 4);
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

static void a_thread_that_plait_did_not_start_may_use_it(void **state)
{
    (void)state;
    struct box b = {0};
    CHECK_EQ(t_in_pthread(add_many, &b), 0);
    CHECK_EQ(b.inside, EACH);
    check_free(&b.rlock);
}

/* --- misuse --- */

static void taken_as_often_as_can_be_counted_it_refuses(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        take(&b->rlock, 1);
        b->rlock.depth_ = UINT32_MAX - 1; /* as if taken so often */
        take(&b->rlock, 1);
        CHECK_RC(plait_rlock_acquire(&b->rlock, PLAIT_FOREVER), PLAIT_EOVERFLOW);
        CHECK_RC(plait_rlock_acquire(&b->rlock, PLAIT_NOWAIT), PLAIT_EOVERFLOW);
        CHECK_EQ(plait_rlock_depth(&b->rlock), UINT32_MAX);
        int blocks = 0, elses = 0;
        PLAIT_WITH(&b->rlock)
            blocks++;
        else elses++;
        CHECK_EQ(blocks, 0);
        CHECK_EQ(elses, 1);
        give(&b->rlock, 1);
        take(&b->rlock, 1);
        b->rlock.depth_ = 1;
        give(&b->rlock, 1);
        check_free(&b->rlock);
        t_delete(s, b);
    }
}

static int release_anothers(void *arg)
{
    plait_rlock *rlock = arg;
    plait_rlock before = *rlock;
    CHECK_EQ(plait_rlock_depth(rlock), 0); /* the caller's */
    CHECK_EQ(plait_rlock_locked(rlock), 1);
    CHECK_RC(plait_rlock_release(rlock), PLAIT_EPERM);
    CHECK_RC(plait_rlock_acquire(rlock, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
    CHECK_EQ(memcmp(&before, rlock, sizeof before), 0);
    return 0;
}

static void release_by_another_worker_is_eperm_and_changes_nothing(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        CHECK_RC(plait_rlock_release(&b->rlock), PLAIT_EPERM);
        take(&b->rlock, 2);
        for (int i = 0; i < 2; i++)
            CHECK_EQ(t_join_one(t_start_one(s->kinds[i], release_anothers, &b->rlock)), 0);
        CHECK_EQ(t_in_pthread(release_anothers, &b->rlock), 0);
        CHECK_EQ(plait_rlock_depth(&b->rlock), 2);
        give(&b->rlock, 2);
        CHECK_RC(plait_rlock_release(&b->rlock), PLAIT_EPERM);
        t_delete(s, b);
    }
}

static void bad_timeouts_are_refused_whoever_holds_it(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        t_check_bad_timeouts(acquire, &b->rlock);
        take(&b->rlock, 2);
        t_check_bad_timeouts(acquire, &b->rlock);
        CHECK_EQ(plait_rlock_depth(&b->rlock), 2);
        give(&b->rlock, 2);
        plait_worker holder = start_holder(s->kinds[0], hold_until_told, b);
        t_check_bad_timeouts(acquire, &b->rlock);
        TELL(b->release, 1);
        CHECK_EQ(t_join_one(holder), 0);
        check_free(&b->rlock);
        t_delete(s, b);
    }
}

static void errno_is_left_alone(void **state)
{
    (void)state;
    plait_rlock rlock = {0};
    errno = EXDEV;
    take(&rlock, 2);
    give(&rlock, 2);
    CHECK_RC(plait_rlock_release(&rlock), PLAIT_EPERM);
    CHECK_EQ(errno, EXDEV);
}

/* --- time and cancellation --- */

static void timeouts_and_cancellation_end_a_wait_and_change_nothing(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        plait_worker holder = start_holder(s->kinds[0], hold_until_told, b);
        t_check_time(acquire, &b->rlock);
        t_check_signals(acquire, &b->rlock);
        t_check_cancel(s, acquire, &b->rlock);
        t_check_cancel_pending(s, acquire, &b->rlock);
        t_check_cancel_counts(s, acquire, &b->rlock);
        t_check_uncancel(s, acquire, &b->rlock);
        CHECK(plait_same(plait_rlock_holder(&b->rlock), holder));
        TELL(b->release, 1);
        CHECK_EQ(t_join_one(holder), 0); /* it gave it back three times, as it took it */
        check_free(&b->rlock);
        t_delete(s, b);
    }
}

static int take_again_although_asked_to_stop(void *arg)
{
    struct box *b = arg;
    take(&b->rlock, 1);
    CHECK_RC(plait_cancel(plait_self()), 0);
    take(&b->rlock, 1); /* it does not wait, so it does not hear of it */
    give(&b->rlock, 2);
    CHECK_RC(plait_checkpoint(), PLAIT_ECANCELED);
    return 0;
}

static void who_has_it_already_gets_it_although_asked_to_stop(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        CHECK_EQ(t_join_one(t_start_one(s->kinds[0], take_again_although_asked_to_stop, b)), 0);
        t_delete(s, b);
    }
}

/* --- death --- */

static void after_a_death_it_is_held_once_with_owner_died(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    plait_blame blame;
    plait_worker holder = start_holder(PLAIT_PROCESS, hold_for_ever, b);
    CHECK_RC(plait_kill(holder), 0);
    CHECK_RC(plait_rlock_acquire(&b->rlock, PLAIT_FOREVER), PLAIT_OWNER_DIED);
    CHECK_EQ(plait_rlock_depth(&b->rlock), 1);
    take(&b->rlock, 1); /* told once */
    CHECK_EQ(plait_rlock_depth(&b->rlock), 2);
    CHECK_RC(plait_rlock_blame(&b->rlock, &blame), 0);
    CHECK(plait_same(blame.worker, holder));
    CHECK_EQ(blame.signal, SIGKILL);
    CHECK_RC(plait_rlock_blame(&b->rlock, &blame), PLAIT_ESRCH);
    give(&b->rlock, 2);
    check_free(&b->rlock);
    CHECK_EQ(t_join_one(holder), -SIGKILL);
    t_delete(&t_processes, b);
}

static void waiters_are_woken_by_the_death_of_the_holder(void **state)
{
    (void)state;
    const struct t_setting *all[] = {&t_processes, &t_mixed, &t_threads};
    for (int k = 0; k < 3; k++) {
        struct box *b = t_new(all[k], sizeof *b);
        struct t_team team;
        int told = 0;
        plait_worker holder = start_holder(PLAIT_PROCESS, hold_for_ever, b);
        start_waiters(&team, all[k], b, WAITERS, pass);
        t_kill(holder);
        t_join(&team);
        for (int i = 0; i < WAITERS; i++)
            told += b->waiters[i].rc == PLAIT_OWNER_DIED;
        CHECK_EQ(told, 1);
        check_free(&b->rlock);
        t_delete(all[k], b);
    }
}

static void a_holder_that_ended_without_release_counts_as_dead(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        CHECK_EQ(t_join_one(t_start_one(s->kinds[0], hold_and_return, b)), 0);
        CHECK_RC(plait_rlock_acquire(&b->rlock, PLAIT_NOWAIT), PLAIT_OWNER_DIED);
        CHECK_EQ(plait_rlock_depth(&b->rlock), 1);
        give(&b->rlock, 1);
        check_free(&b->rlock);
        t_delete(s, b);
    }
}

static int take_and_die(void *arg)
{
    struct box *b = arg;
    take(&b->rlock, 1);
    take(&b->rlock, 1);
    raise(SIGKILL);
    return 0;
}

/* B takes it and dies at once; C, who waits too, has not seen B with it. Both are asleep for long, so that
 * the next nap's end is far. If C came first, the scene is played again. */
static int64_t let_the_next_die(void)
{
    for (int try = 0; try < 20; try++) {
        struct box *b = t_new(&t_processes, sizeof *b);
        struct t_team team;
        take(&b->rlock, 1);
        plait_worker first = t_start_one(PLAIT_PROCESS, take_and_die, b);
        UNTIL_WAITS(first, PL_WAIT_RLOCK);
        start_waiters(&team, &t_processes, b, 1, pass);
        t_let_naps_grow();
        int64_t start = plait_now();
        give(&b->rlock, 1);
        UNTIL(SEEN(b->waiters[0].step) == 2);
        int64_t took = plait_now() - start;
        int rc = b->waiters[0].rc;
        CHECK_EQ(t_join_one(first), -SIGKILL);
        t_join(&team);
        t_delete(&t_processes, b);
        if (rc == PLAIT_OWNER_DIED)
            return took;
        CHECK_RC(rc, 0);
    }
    t_die(__FILE__, __LINE__, "who came first was never served first");
}

static void the_death_of_one_who_just_got_it_is_told_at_once(void **state)
{
    (void)state;
    t_check_at_once(let_the_next_die);
}

/* --- fork --- */

static plait_rlock copied; /* private: each process has its own */

static int use_copied(void *unused)
{
    (void)unused;
    CHECK_EQ(plait_rlock_depth(&copied), 0); /* the child is another worker */
    CHECK_RC(plait_rlock_release(&copied), PLAIT_EPERM);
    CHECK_RC(plait_rlock_acquire(&copied, PLAIT_FOREVER), PLAIT_OWNER_DIED);
    CHECK_EQ(plait_rlock_depth(&copied), 1);
    give(&copied, 1);
    check_free(&copied);
    return 0;
}

static void a_private_rlock_copied_by_fork_while_held_is_free_for_the_child(void **state)
{
    (void)state;
    take(&copied, 3);
    CHECK_EQ(t_in_fork(use_copied, NULL), 0);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, use_copied, NULL)), 0);
    CHECK_EQ(plait_rlock_depth(&copied), 3); /* the parent's is untouched */
    give(&copied, 3);
}

static int wait_as_child(void *arg)
{
    struct box *b = arg;
    CHECK_EQ(plait_rlock_depth(&b->rlock), 0);
    CHECK_RC(plait_rlock_release(&b->rlock), PLAIT_EPERM);
    CHECK_RC(plait_rlock_acquire(&b->rlock, plait_ms(5)), PLAIT_ETIMEDOUT);
    TELL(b->held, 1);
    return pass(&b->rlock, plait_seconds(T_PATIENCE_S));
}

static void an_arena_rlock_held_at_fork_stays_the_parents(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    take(&b->rlock, 2);
    pid_t child = t_fork(wait_as_child, b);
    UNTIL(SEEN(b->held));
    CHECK_EQ(plait_rlock_depth(&b->rlock), 2);
    give(&b->rlock, 2);
    CHECK_EQ(t_reap(child), 0);
    t_delete(&t_processes, b);
}

static void in_a_mapping_of_your_own_it_is_refused_to_a_second_process(void **state)
{
    (void)state;
    struct box *b =
        mmap(NULL, sizeof *b, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(b != MAP_FAILED);
    plait_worker holder = start_holder(PLAIT_PROCESS, hold_until_told, b);
    CHECK_RC(plait_rlock_acquire(&b->rlock, PLAIT_FOREVER), PLAIT_EPRIVATE);
    CHECK_EQ(plait_rlock_depth(&b->rlock), 0);
    TELL(b->release, 1);
    CHECK_EQ(t_join_one(holder), 0);
    munmap(b, sizeof *b);
}

/* --- PLAIT_WITH --- */

static int count_down(plait_rlock *rlock, int n)
{
    PLAIT_WITH(rlock)
        return n == 0 ? (int)plait_rlock_depth(rlock) : count_down(rlock, n - 1);
    return -1;
}

static void blocks_nest_on_one_rlock(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        CHECK_EQ(count_down(&b->rlock, 4), 5);
        check_free(&b->rlock);
        t_delete(s, b);
    }
}

static void blocks_nest_on_an_rlock_and_its_conditions(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        CHECK_RC(plait_condition_init_rlock(&b->condition, &b->rlock), 0);
        PLAIT_WITH(&b->condition)
            PLAIT_WITH(&b->rlock)
                PLAIT_WITH(&b->condition) {
                    CHECK_EQ(plait_rlock_depth(&b->rlock), 3);
                    CHECK_RC(plait_condition_notify_all(&b->condition), 0);
                }
        check_free(&b->rlock);
        t_delete(s, b);
    }
}

static void a_child_forked_in_the_block_leaves_the_parents_rlock_alone(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    pid_t child = -1;
    PLAIT_WITH(&b->rlock) {
        PLAIT_WITH(&b->rlock)
            child = fork();
        if (child == 0)
            break;
        CHECK_EQ(t_reap(child), 0);
        CHECK_EQ(plait_rlock_depth(&b->rlock), 1);
    }
    if (child == 0)
        _exit(!plait_rlock_locked(&b->rlock));
    check_free(&b->rlock);
    t_delete(&t_processes, b);
}

/* --- a condition on it --- */

static void init_on_an_rlock_refuses_what_cannot_be(void **state)
{
    (void)state;
    plait_condition condition;
    plait_rlock rlock = {0};
    struct box *b = t_new(&t_processes, sizeof *b);
    CHECK_RC(plait_condition_init_rlock(NULL, &rlock), PLAIT_EINVAL);
    CHECK_RC(plait_condition_init_rlock(&condition, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_condition_init_rlock(&b->condition, &rlock), PLAIT_EPRIVATE);
    CHECK_RC(plait_condition_init_rlock(&condition, &rlock), 0);
    CHECK(plait_condition_lock(&condition) == NULL);
    CHECK_RC(plait_condition_acquire(NULL, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_condition_release(NULL), PLAIT_EINVAL);
    t_delete(&t_processes, b);
}

static void acquire_and_release_go_to_the_lock_it_is_on(void **state)
{
    (void)state;
    plait_condition own = {0}, on_rlock;
    plait_rlock rlock = {0};
    CHECK_RC(plait_condition_init_rlock(&on_rlock, &rlock), 0);
    for (uint32_t depth = 1; depth <= 3; depth++) {
        CHECK_RC(plait_condition_acquire(&on_rlock, PLAIT_FOREVER), 0);
        CHECK_EQ(plait_rlock_depth(&rlock), depth);
    }
    for (int i = 0; i < 3; i++)
        CHECK_RC(plait_condition_release(&on_rlock), 0);
    CHECK_RC(plait_condition_release(&on_rlock), PLAIT_EPERM);
    CHECK_RC(plait_condition_acquire(&own, PLAIT_FOREVER), 0);
    CHECK_RC(plait_condition_acquire(&own, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
    CHECK_RC(plait_condition_release(&own), 0);
    CHECK_RC(plait_condition_release(&own), PLAIT_EPERM);
}

static void wait_and_notify_demand_the_rlock(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    CHECK_RC(plait_condition_init_rlock(&b->condition, &b->rlock), 0);
    CHECK_RC(plait_condition_wait(&b->condition, PLAIT_FOREVER), PLAIT_EPERM);
    CHECK_RC(plait_condition_notify(&b->condition, 1), PLAIT_EPERM);
    plait_worker holder = start_holder(PLAIT_PROCESS, hold_until_told, b);
    CHECK_RC(plait_condition_wait(&b->condition, PLAIT_FOREVER), PLAIT_EPERM);
    CHECK_RC(plait_condition_notify(&b->condition, 1), PLAIT_EPERM);
    TELL(b->release, 1);
    CHECK_EQ(t_join_one(holder), 0);
    t_delete(&t_processes, b);
}

/* Waits with the rlock held as often as b->depth says; after that it holds it as often again. */
static int wait_deep(void *arg, int64_t timeout)
{
    struct box *b = arg;
    take(&b->rlock, b->depth);
    int rc = plait_condition_wait(&b->condition, timeout);
    CHECK_EQ(plait_rlock_depth(&b->rlock), (uint32_t)b->depth);
    give(&b->rlock, b->depth);
    CHECK_EQ(plait_rlock_depth(&b->rlock), 0);
    return rc;
}

static struct box *new_condition(const struct t_setting *s, int depth)
{
    struct box *b = t_new(s, sizeof *b);
    CHECK_RC(plait_condition_init_rlock(&b->condition, &b->rlock), 0);
    b->depth = depth;
    return b;
}

static plait_worker start_deep_waiter(int kind, struct box *b, int i, int64_t timeout)
{
    b->waiters[i] = (struct t_waiter){wait_deep, b, timeout, 0, 0, 0};
    plait_worker worker = t_start_one(kind, t_wait_once, &b->waiters[i]);
    UNTIL_WAITS(worker, PL_WAIT_CONDITION);
    return worker;
}

static void wait_lets_go_of_all_levels_and_restores_them(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    for (int depth = 1; depth <= 4; depth += 3) {
        struct box *b = new_condition(s, depth);
        plait_worker waiters[2];
        for (int i = 0; i < 2; i++)
            waiters[i] = start_deep_waiter(s->kinds[i], b, i, PLAIT_FOREVER);
        take(&b->rlock, 2); /* free, although each of them had it `depth` times */
        CHECK_RC(plait_condition_notify(&b->condition, 2), 2);
        give(&b->rlock, 2);
        for (int i = 0; i < 2; i++) {
            CHECK_EQ(t_join_one(waiters[i]), 0);
            CHECK_RC(b->waiters[i].rc, 0);
        }
        check_free(&b->rlock);
        t_delete(s, b);
    }
}

static void a_timeout_restores_all_levels(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_condition(s, 3);
        CHECK_RC(wait_deep(b, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
        CHECK_RC(wait_deep(b, plait_ms(3)), PLAIT_ETIMEDOUT);
        plait_worker waiter = start_deep_waiter(s->kinds[0], b, 0, plait_ms(40));
        take(&b->rlock, 2);
        UNTIL_WAITS(waiter, PL_WAIT_RLOCK); /* its time is over, and we have the rlock */
        give(&b->rlock, 2);
        CHECK_EQ(t_join_one(waiter), 0);
        CHECK_RC(b->waiters[0].rc, PLAIT_ETIMEDOUT);
        check_free(&b->rlock);
        t_delete(s, b);
    }
}

static void cancellation_restores_all_levels(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_condition(s, 3);
        t_check_cancel(s, wait_deep, b);
        t_check_cancel_counts(s, wait_deep, b);
        plait_worker waiter = start_deep_waiter(s->kinds[0], b, 0, PLAIT_FOREVER);
        take(&b->rlock, 2);
        CHECK_RC(plait_cancel(waiter), 0);
        UNTIL_WAITS(waiter, PL_WAIT_RLOCK);
        give(&b->rlock, 2);
        CHECK_EQ(t_join_one(waiter), 0);
        CHECK_RC(b->waiters[0].rc, PLAIT_ECANCELED);
        check_free(&b->rlock);
        t_delete(s, b);
    }
}

static void owner_died_restores_all_levels(void **state)
{
    (void)state;
    struct box *b = new_condition(&t_processes, 3);
    plait_worker waiter = start_deep_waiter(PLAIT_PROCESS, b, 0, PLAIT_FOREVER);
    plait_worker holder = start_holder(PLAIT_PROCESS, hold_for_ever, b);
    t_kill(holder);
    CHECK_EQ(t_join_one(waiter), 0);
    CHECK_RC(b->waiters[0].rc, PLAIT_OWNER_DIED);
    check_free(&b->rlock);
    t_delete(&t_processes, b);
}

static bool is_set(void *word)
{
    return *(int *)word != 0;
}

static void wait_for_restores_all_levels(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_condition(s, 3);
        take(&b->rlock, 3);
        CHECK_RC(plait_condition_wait_for(&b->condition, is_set, &b->stop, plait_ms(3)),
                 PLAIT_ETIMEDOUT);
        CHECK_EQ(plait_rlock_depth(&b->rlock), 3);
        b->stop = 1;
        CHECK_RC(plait_condition_wait_for(&b->condition, is_set, &b->stop, plait_ms(3)), 0);
        CHECK_EQ(plait_rlock_depth(&b->rlock), 3);
        give(&b->rlock, 3);
        check_free(&b->rlock);
        t_delete(s, b);
    }
}

#ifdef PL_STEP_HOOKS
/* --- every interleaving of a wait on the condition with what ends it --- */

static bool notify_here(void *arg)
{
    struct box *b = arg;
    if (plait_rlock_acquire(&b->rlock, PLAIT_NOWAIT) < 0)
        return false;
    bool held_by_caller =
        plait_rlock_depth(&b->rlock) > 1; /* we are the calling thread ourselves */
    int n = held_by_caller ? 0 : plait_condition_notify(&b->condition, 1);
    give(&b->rlock, 1);
    return n == 1;
}

static int wait_held(void *arg, int64_t timeout)
{
    struct box *b = arg;
    return plait_condition_wait(&b->condition, timeout);
}

static int meet(void *arg, long i, long k)
{
    struct t_meddling m = {.deeds = {notify_here, t_cancel_me}, .at = {i, k}};
    for (int try = 0; try < T_TRIES; try++) {
        struct box *b = arg;
        CHECK_RC(plait_rlock_init(&b->rlock, NULL), 0);
        CHECK_RC(plait_condition_init_rlock(&b->condition, &b->rlock), 0);
        take(&b->rlock, 3);
        int rc = t_meddle(&m, wait_held, b, plait_ms(T_SHORT_MS));
        t_check_canceled_once(&m, rc);
        CHECK(rc == 0 || !m.done[0]);
        CHECK_EQ(plait_rlock_depth(&b->rlock), 3);
        give(&b->rlock, 3);
        check_free(&b->rlock);
        if ((!m.done[0] && !m.done[1]) || m.took < plait_ms(T_TOO_LONG_MS))
            return t_came_late(&m);
    }
    t_die(__FILE__, __LINE__, "deeds at steps %ld and %ld, and it slept on", i, k);
}

static void at_each_step_a_wait_keeps_all_levels(void **state)
{
    (void)state;
    const struct t_setting *both[] = {&t_private_threads, &t_threads};
    for (int n = 0; n < 2; n++) {
        struct box *b = t_new(both[n], sizeof *b);
        t_each_pair(meet, b);
        t_delete(both[n], b);
    }
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
        cmocka_unit_test(zeroed_memory_is_a_free_rlock),
        cmocka_unit_test(init_makes_any_bytes_a_free_rlock),
        cmocka_unit_test(null_is_refused),
        cmocka_unit_test(its_holder_takes_it_again_and_gives_it_back_as_often),
        cmocka_unit_test(others_wait_until_the_last_release),
        cmocka_unit_test(what_it_guards_is_written_by_one_at_a_time),
        cmocka_unit_test(a_thread_that_plait_did_not_start_may_use_it),
        cmocka_unit_test(taken_as_often_as_can_be_counted_it_refuses),
        cmocka_unit_test(release_by_another_worker_is_eperm_and_changes_nothing),
        cmocka_unit_test(bad_timeouts_are_refused_whoever_holds_it),
        cmocka_unit_test(errno_is_left_alone),
        cmocka_unit_test(timeouts_and_cancellation_end_a_wait_and_change_nothing),
        cmocka_unit_test(who_has_it_already_gets_it_although_asked_to_stop),
        cmocka_unit_test(after_a_death_it_is_held_once_with_owner_died),
        cmocka_unit_test(waiters_are_woken_by_the_death_of_the_holder),
        cmocka_unit_test(a_holder_that_ended_without_release_counts_as_dead),
        cmocka_unit_test(the_death_of_one_who_just_got_it_is_told_at_once),
        cmocka_unit_test(a_private_rlock_copied_by_fork_while_held_is_free_for_the_child),
        cmocka_unit_test(an_arena_rlock_held_at_fork_stays_the_parents),
        cmocka_unit_test(in_a_mapping_of_your_own_it_is_refused_to_a_second_process),
        cmocka_unit_test(blocks_nest_on_one_rlock),
        cmocka_unit_test(blocks_nest_on_an_rlock_and_its_conditions),
        cmocka_unit_test(a_child_forked_in_the_block_leaves_the_parents_rlock_alone),
        cmocka_unit_test(init_on_an_rlock_refuses_what_cannot_be),
        cmocka_unit_test(acquire_and_release_go_to_the_lock_it_is_on),
        cmocka_unit_test(wait_and_notify_demand_the_rlock),
        cmocka_unit_test(wait_lets_go_of_all_levels_and_restores_them),
        cmocka_unit_test(a_timeout_restores_all_levels),
        cmocka_unit_test(cancellation_restores_all_levels),
        cmocka_unit_test(owner_died_restores_all_levels),
        cmocka_unit_test(wait_for_restores_all_levels),
#ifdef PL_STEP_HOOKS
        cmocka_unit_test(at_each_step_a_wait_keeps_all_levels),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
