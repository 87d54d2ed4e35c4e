/* The fair lock: what plait_lock promises with the option `fair`. Its line is served in the order of
 * arrival, exactly; whoever leaves it, of whatever, holds up nobody behind. */
#include "harness/harness.h"

#include "park/park.h"
#include "sync/lock_word.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { MOST = 8 };

struct box;

/* Someone who stands in line; who gets the lock writes itself down. */
struct customer {
    struct box *box;
    int64_t timeout;
    int me;
    int rc;
    int over;
};

struct box {
    plait_lock lock;
    plait_condition condition;
    plait_rlock rlock;
    int served[MOST]; /* under the lock */
    int n;
    int held, go;
    struct customer customers[MOST];
    struct t_waiter waiter;
};

static const plait_lock_options fair = {.fair = true};

static struct box *new_box(const struct t_setting *s)
{
    struct box *b = t_new(s, sizeof *b);
    CHECK_RC(plait_lock_init(&b->lock, &fair), 0);
    return b;
}

static int acquire(void *lock, int64_t timeout)
{
    return plait_lock_acquire(lock, timeout);
}

static void acquire_held(plait_lock *lock)
{
    CHECK_RC(plait_lock_acquire(lock, plait_seconds(T_PATIENCE_S)), 0);
}

static void check_free(plait_lock *lock)
{
    CHECK_EQ(plait_lock_locked(lock), 0);
    CHECK_RC(plait_lock_acquire(lock, PLAIT_NOWAIT), 0);
    CHECK_RC(plait_lock_release(lock), 0);
}

static int be_served(void *arg)
{
    struct customer *c = arg;
    struct box *b = c->box;
    c->rc = plait_lock_acquire(&b->lock, c->timeout);
    if (c->rc >= 0) {
        b->served[b->n++] = c->me;
        CHECK_RC(plait_lock_release(&b->lock), 0);
    }
    TELL(c->over, 1);
    return 0;
}

static plait_worker stand_in_line(int kind, struct box *b, int me, int64_t timeout)
{
    b->customers[me] = (struct customer){.box = b, .me = me, .timeout = timeout};
    plait_worker worker = t_start_one(kind, be_served, &b->customers[me]);
    UNTIL_WAITS(worker, PL_WAIT_LOCK);
    return worker;
}

/* Each is asleep in the line before the next one comes. */
static void form_line(struct t_team *team, const struct t_setting *s, struct box *b, int n)
{
    team->n = n;
    for (int i = 0; i < n; i++)
        team->workers[i] = stand_in_line(s->kinds[i % 2], b, i, PLAIT_FOREVER);
}

static void check_served(const struct box *b, const int *expected, int n)
{
    CHECK_EQ(b->n, n);
    for (int i = 0; i < n; i++)
        CHECK_EQ(b->served[i], expected[i]);
}

#define CHECK_SERVED(b, ...)                                                                       \
    check_served((b), (const int[]){__VA_ARGS__}, (int)(sizeof(int[]){__VA_ARGS__} / sizeof(int)))

/* Kills one, if that is not done yet, and takes it out of the team. */
static void kill_member(struct t_team *team, int i)
{
    int rc = plait_kill(team->workers[i]);
    CHECK(rc == 0 || rc == PLAIT_ESRCH);
    CHECK_EQ(t_join_one(team->workers[i]), -SIGKILL);
    for (team->n--; i < team->n; i++)
        team->workers[i] = team->workers[i + 1];
}

/* --- a lock like any other --- */

static void without_an_arena_it_says_why_it_cannot_wait(void **state)
{
    (void)state;
    plait_lock lock;
    CHECK_RC(plait_lock_init(&lock, &fair), 0);
    t_check_no_arena(acquire, &lock);
}

static void free_and_held_as_any_lock(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s);
        check_free(&b->lock);
        CHECK_RC(plait_lock_release(&b->lock), PLAIT_EPERM);
        acquire_held(&b->lock);
        CHECK(plait_same(plait_lock_holder(&b->lock), plait_self()));
        CHECK_EQ(plait_lock_locked(&b->lock), 1);
        CHECK_RC(plait_lock_acquire(&b->lock, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
        CHECK_RC(plait_lock_acquire(&b->lock, plait_ms(3)), PLAIT_ETIMEDOUT); /* not recursive */
        CHECK_RC(plait_lock_release(&b->lock), 0);
        check_free(&b->lock);
        t_delete(s, b);
    }
}

static void init_without_the_option_makes_a_plain_lock_of_it(void **state)
{
    (void)state;
    plait_lock lock;
    memset(&lock, 0xff, sizeof lock);
    CHECK_RC(plait_lock_init(&lock, &fair), 0);
    check_free(&lock);
    CHECK(lock.word_ != 0);
    CHECK_RC(plait_lock_init(&lock, &(plait_lock_options){0}), 0);
    CHECK_EQ(lock.word_, 0);
}

static void timeouts_signals_and_cancellation_as_any_lock(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s);
        t_check_bad_timeouts(acquire, &b->lock);
        acquire_held(&b->lock);
        t_check_bad_timeouts(acquire, &b->lock);
        t_check_time(acquire, &b->lock);
        t_check_signals(acquire, &b->lock);
        t_check_cancel(s, acquire, &b->lock);
        t_check_cancel_pending(s, acquire, &b->lock);
        t_check_cancel_counts(s, acquire, &b->lock);
        t_check_uncancel(s, acquire, &b->lock);
        CHECK(plait_same(plait_lock_holder(&b->lock), plait_self()));
        CHECK_RC(plait_lock_release(&b->lock), 0);
        check_free(&b->lock);
        t_delete(s, b);
    }
}

/* --- the line --- */

static void the_line_is_served_in_the_order_of_arrival(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    for (int round = 0; round < 5; round++) {
        struct box *b = new_box(s);
        struct t_team team;
        acquire_held(&b->lock);
        form_line(&team, s, b, MOST);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        t_join(&team);
        CHECK_SERVED(b, 0, 1, 2, 3, 4, 5, 6, 7);
        check_free(&b->lock);
        t_delete(s, b);
    }
}

static void who_wants_it_back_stands_behind_the_line(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    for (int round = 0; round < 20; round++) {
        struct box *b = new_box(s);
        struct t_team team;
        acquire_held(&b->lock);
        form_line(&team, s, b, 2);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        acquire_held(&b->lock);
        CHECK_SERVED(b, 0, 1);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        t_join(&team);
        t_delete(s, b);
    }
}

static void who_will_not_wait_does_not_overtake_either(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    for (int round = 0; round < 20; round++) {
        struct box *b = new_box(s);
        struct t_team team;
        acquire_held(&b->lock);
        form_line(&team, s, b, 1);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        int rc;
        while ((rc = plait_lock_acquire(&b->lock, PLAIT_NOWAIT)) < 0) {
            CHECK_RC(rc, PLAIT_ETIMEDOUT);
            t_give_way();
        }
        CHECK_SERVED(b, 0);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        t_join(&team);
        t_delete(s, b);
    }
}

static int release(void *lock)
{
    return plait_lock_release(lock);
}

static void a_strangers_release_calls_the_first(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s);
        struct t_team team;
        acquire_held(&b->lock);
        form_line(&team, s, b, 3);
        CHECK_EQ(t_join_one(t_start_one(s->kinds[0], release, &b->lock)), 0);
        t_join(&team);
        CHECK_SERVED(b, 0, 1, 2);
        t_delete(s, b);
    }
}

static void who_gives_up_loses_its_place_and_nobody_elses(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s);
        struct t_team team = {.n = 6};
        acquire_held(&b->lock);
        for (int i = 0; i < 6; i++)
            team.workers[i] =
                stand_in_line(s->kinds[i % 2], b, i, i % 3 == 0 ? plait_ms(60) : PLAIT_FOREVER);
        CHECK_RC(plait_cancel(team.workers[1]), 0);
        CHECK_RC(plait_cancel(team.workers[4]), 0);
        for (int i = 0; i < 6; i++)
            if (i != 2 && i != 5)
                UNTIL(SEEN(b->customers[i].over));
        CHECK_RC(plait_lock_release(&b->lock), 0);
        t_join(&team);
        CHECK_SERVED(b, 2, 5);
        CHECK_RC(b->customers[0].rc, PLAIT_ETIMEDOUT);
        CHECK_RC(b->customers[1].rc, PLAIT_ECANCELED);
        CHECK_RC(b->customers[3].rc, PLAIT_ETIMEDOUT);
        CHECK_RC(b->customers[4].rc, PLAIT_ECANCELED);
        check_free(&b->lock);
        t_delete(s, b);
    }
}

static void who_comes_again_stands_at_the_end(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s);
        struct t_team team;
        acquire_held(&b->lock);
        form_line(&team, s, b, 3);
        CHECK_RC(plait_cancel(team.workers[0]), 0);
        CHECK_EQ(t_join_one(team.workers[0]), 0);
        team.workers[0] = stand_in_line(s->kinds[0], b, 0, PLAIT_FOREVER);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        t_join(&team);
        CHECK_SERVED(b, 1, 2, 0);
        t_delete(s, b);
    }
}

/* Two locks have two lines. */
static void a_worker_in_one_line_does_not_count_in_another(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s), *other = new_box(s);
        struct t_team team;
        acquire_held(&b->lock);
        acquire_held(&other->lock);
        form_line(&team, s, b, 2);
        CHECK_RC(plait_lock_release(&other->lock), 0);
        check_free(&other->lock);
        CHECK_EQ(b->n, 0);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        t_join(&team);
        t_delete(s, b);
        t_delete(s, other);
    }
}

static void waiters_flag_goes_with_the_line(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s);
        struct t_team team;
        acquire_held(&b->lock);
        form_line(&team, s, b, 2);
        CHECK(b->lock.word_ & PL_LOCK_WAITERS);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        t_join(&team);
        check_free(&b->lock);
        CHECK_EQ(b->lock.word_, PL_LOCK_FAIR); /* who comes next need not look at any line */
        t_delete(s, b);
    }
}

/* --- deaths --- */

static void the_dead_in_the_line_are_skipped(void **state)
{
    (void)state;
    const struct t_setting *both[] = {&t_processes, &t_mixed}; /* even ones are processes */
    for (int k = 0; k < 2; k++) {
        struct box *b = new_box(both[k]);
        struct t_team team;
        acquire_held(&b->lock);
        form_line(&team, both[k], b, 6);
        kill_member(&team, 4);
        kill_member(&team, 0);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        t_join(&team);
        CHECK_SERVED(b, 1, 2, 3, 5);
        check_free(&b->lock);
        t_delete(both[k], b);
    }
}

static void the_called_one_dies_and_the_next_is_served_at_once(void **state)
{
    (void)state;
    const struct t_setting *both[] = {&t_processes, &t_mixed};
    for (int k = 0; k < 2; k++) {
        struct box *b = new_box(both[k]);
        struct t_team team;
        acquire_held(&b->lock);
        form_line(&team, both[k], b, 4);
        t_stop(team.workers[0]);
        CHECK_RC(plait_lock_release(&b->lock), 0); /* calls one who cannot come */
        kill_member(&team, 0);
        t_join(&team);
        CHECK_SERVED(b, 1, 2, 3);
        for (int i = 1; i < 4; i++)
            CHECK_RC(b->customers[i].rc, 0);
        t_delete(both[k], b);
    }
}

static void a_stopped_first_delays_and_loses_nothing(void **state)
{
    (void)state;
    struct box *b = new_box(&t_processes);
    struct t_team team;
    acquire_held(&b->lock);
    form_line(&team, &t_processes, b, 3);
    t_stop(team.workers[0]);
    CHECK_RC(plait_lock_release(&b->lock), 0);
    CHECK_RC(plait_lock_acquire(&b->lock, PLAIT_NOWAIT),
             PLAIT_ETIMEDOUT); /* free, but not for us */
    CHECK_RC(plait_lock_acquire(&b->lock, plait_ms(30)), PLAIT_ETIMEDOUT);
    CHECK_EQ(plait_lock_locked(&b->lock), 0);
    t_continue(team.workers[0]);
    t_join(&team);
    CHECK_SERVED(b, 0, 1, 2);
    check_free(&b->lock);
    t_delete(&t_processes, b);
}

static int hold_for_ever(void *arg)
{
    struct box *b = arg;
    acquire_held(&b->lock);
    TELL(b->held, 1);
    t_sleep_for_ever();
}

static plait_worker start_holder(struct box *b)
{
    plait_worker holder = t_start_one(PLAIT_PROCESS, hold_for_ever, b);
    UNTIL(SEEN(b->held));
    return holder;
}

static void the_first_is_told_of_the_holders_death_and_the_line_goes_on(void **state)
{
    (void)state;
    const struct t_setting *all[] = {&t_processes, &t_mixed, &t_threads};
    for (int k = 0; k < 3; k++) {
        struct box *b = new_box(all[k]);
        struct t_team team;
        plait_blame blame;
        plait_worker holder = start_holder(b);
        form_line(&team, all[k], b, 4);
        t_kill(holder);
        t_join(&team);
        CHECK_SERVED(b, 0, 1, 2, 3);
        for (int i = 0; i < 4; i++)
            CHECK_RC(b->customers[i].rc, i ? 0 : PLAIT_OWNER_DIED);
        acquire_held(&b->lock);
        CHECK_RC(plait_lock_blame(&b->lock, &blame), 0);
        CHECK(plait_same(blame.worker, holder));
        CHECK_RC(plait_lock_release(&b->lock), 0);
        t_delete(all[k], b);
    }
}

static void a_line_of_dead_keeps_nobody_out(void **state)
{
    (void)state;
    const int64_t timeouts[] = {PLAIT_NOWAIT, plait_ms(5), PLAIT_FOREVER};
    for (int k = 0; k < 6; k++) {
        bool holder_dies = k >= 3;
        struct box *b = new_box(&t_processes);
        struct t_team team;
        plait_worker holder;
        if (holder_dies)
            holder = start_holder(b);
        else
            acquire_held(&b->lock);
        form_line(&team, &t_processes, b, 3);
        while (team.n)
            kill_member(&team, 0);
        if (holder_dies)
            t_kill(holder);
        else
            CHECK_RC(plait_lock_release(&b->lock), 0);
        CHECK_RC(plait_lock_acquire(&b->lock, timeouts[k % 3]), holder_dies ? PLAIT_OWNER_DIED : 0);
        CHECK_RC(plait_lock_release(&b->lock), 0);
        check_free(&b->lock);
        CHECK_EQ(b->lock.word_, PL_LOCK_FAIR);
        t_delete(&t_processes, b);
    }
}

/* B gets the lock and dies at once; C behind has never seen B with it. */
static int take_and_die(void *arg)
{
    struct box *b = arg;
    acquire_held(&b->lock);
    raise(SIGKILL);
    return 0;
}

static int64_t let_the_next_die(void)
{
    struct box *b = new_box(&t_processes);
    acquire_held(&b->lock);
    plait_worker first = t_start_one(PLAIT_PROCESS, take_and_die, b);
    UNTIL_WAITS(first, PL_WAIT_LOCK);
    plait_worker second = stand_in_line(PLAIT_PROCESS, b, 1, PLAIT_FOREVER);
    plait_worker third = stand_in_line(PLAIT_THREAD, b, 2, PLAIT_FOREVER);
    t_let_naps_grow();
    int64_t start = plait_now();
    CHECK_RC(plait_lock_release(&b->lock), 0);
    UNTIL(SEEN(b->customers[1].over) && SEEN(b->customers[2].over));
    int64_t took = plait_now() - start;
    CHECK_EQ(t_join_one(first), -SIGKILL);
    CHECK_EQ(t_join_one(second), 0);
    CHECK_EQ(t_join_one(third), 0);
    CHECK_RC(b->customers[1].rc, PLAIT_OWNER_DIED);
    CHECK_RC(b->customers[2].rc, 0);
    CHECK_SERVED(b, 1, 2);
    t_delete(&t_processes, b);
    return took;
}

static void the_death_of_one_who_just_got_it_is_told_at_once(void **state)
{
    (void)state;
    t_check_at_once(let_the_next_die);
}

/* The first in line is called, stands still, and is killed; nobody joins it meanwhile. */
static int64_t let_the_called_die(void)
{
    struct box *b = new_box(&t_processes);
    struct t_team team;
    acquire_held(&b->lock);
    form_line(&team, &t_processes, b, 3);
    t_let_naps_grow();
    t_stop(team.workers[0]);
    CHECK_RC(plait_lock_release(&b->lock), 0);
    int64_t start = plait_now();
    CHECK_RC(plait_kill(team.workers[0]), 0);
    UNTIL(SEEN(b->customers[1].over) && SEEN(b->customers[2].over));
    int64_t took = plait_now() - start;
    kill_member(&team, 0);
    t_join(&team);
    CHECK_SERVED(b, 1, 2);
    t_delete(&t_processes, b);
    return took;
}

static void the_death_of_the_called_one_is_noticed_at_once(void **state)
{
    (void)state;
    t_check_at_once(let_the_called_die);
}

/* --- with others --- */

static int wait_and_be_served(void *arg)
{
    struct customer *c = arg;
    struct box *b = c->box;
    acquire_held(&b->lock);
    c->rc = plait_condition_wait(&b->condition, PLAIT_FOREVER);
    b->served[b->n++] = c->me;
    return plait_lock_release(&b->lock);
}

static void a_condition_on_a_fair_lock_serves_in_order(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s);
        struct t_team team = {.n = 4};
        CHECK_RC(plait_condition_init(&b->condition, &b->lock), 0);
        for (int i = 0; i < 4; i++) {
            b->customers[i] = (struct customer){.box = b, .me = i};
            team.workers[i] = t_start_one(s->kinds[i % 2], wait_and_be_served, &b->customers[i]);
            UNTIL_WAITS(team.workers[i], PL_WAIT_CONDITION);
        }
        acquire_held(&b->lock);
        for (int i = 0; i < 4; i++) { /* one after the other into the lock's line */
            CHECK_RC(plait_condition_notify(&b->condition, 1), 1);
            UNTIL_WAITS(team.workers[i], PL_WAIT_LOCK);
        }
        CHECK_RC(plait_lock_release(&b->lock), 0);
        t_join(&team);
        CHECK_SERVED(b, 0, 1, 2, 3);
        t_delete(s, b);
    }
}

static int be_served_by_rlock(void *arg)
{
    struct customer *c = arg;
    struct box *b = c->box;
    CHECK_RC(plait_rlock_acquire(&b->rlock, PLAIT_FOREVER), 0);
    CHECK_RC(plait_rlock_acquire(&b->rlock, PLAIT_NOWAIT),
             0); /* past the line: it has it already */
    CHECK_EQ(plait_rlock_depth(&b->rlock), 2);
    b->served[b->n++] = c->me;
    CHECK_RC(plait_rlock_release(&b->rlock), 0);
    return plait_rlock_release(&b->rlock);
}

static void a_fair_rlock_serves_in_order(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s);
        struct t_team team = {.n = 4};
        CHECK_RC(plait_rlock_init(&b->rlock, &fair), 0);
        CHECK_RC(plait_rlock_acquire(&b->rlock, PLAIT_FOREVER), 0);
        for (int i = 0; i < 4; i++) {
            b->customers[i] = (struct customer){.box = b, .me = i};
            team.workers[i] = t_start_one(s->kinds[i % 2], be_served_by_rlock, &b->customers[i]);
            UNTIL_WAITS(team.workers[i], PL_WAIT_RLOCK);
        }
        CHECK_RC(plait_rlock_release(&b->rlock), 0);
        CHECK_RC(plait_rlock_acquire(&b->rlock, PLAIT_FOREVER), 0);
        CHECK_SERVED(b, 0, 1, 2, 3);
        CHECK_RC(plait_rlock_release(&b->rlock), 0);
        t_join(&team);
        t_delete(s, b);
    }
}

/* --- fork --- */

static struct box copied; /* private: each process has its own */

static int use_copied(void *unused)
{
    (void)unused;
    CHECK_RC(plait_lock_acquire(&copied.lock, PLAIT_NOWAIT), PLAIT_OWNER_DIED);
    CHECK_RC(plait_lock_release(&copied.lock), 0);
    check_free(&copied.lock);
    struct t_team team; /* its own threads stand in a line of its own */
    acquire_held(&copied.lock);
    form_line(&team, &t_private_threads, &copied, 3);
    CHECK_RC(plait_lock_release(&copied.lock), 0);
    t_join(&team);
    CHECK_SERVED(&copied, 0, 1, 2);
    return 0;
}

static void a_forked_copy_has_nobody_of_the_parents_line(void **state)
{
    (void)state;
    struct t_team team;
    CHECK_RC(plait_lock_init(&copied.lock, &fair), 0);
    acquire_held(&copied.lock);
    form_line(&team, &t_private_threads, &copied, 2);
    CHECK_EQ(t_in_fork(use_copied, NULL), 0);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, use_copied, NULL)), 0);
    CHECK(plait_same(plait_lock_holder(&copied.lock), plait_self()));
    CHECK_RC(plait_lock_release(&copied.lock), 0);
    t_join(&team);
    CHECK_SERVED(&copied, 0, 1);
}

#ifdef PL_STEP_HOOKS
/* --- every interleaving of a wait with what ends it --- */

struct meeting {
    struct box box; /* first: its lock is the object of the call */
    const struct t_setting *setting;
    plait_event held, may_end;
    plait_worker holder, before, behind;
};

static int hold_meeting(void *arg)
{
    struct meeting *g = arg;
    acquire_held(&g->box.lock);
    CHECK_RC(plait_event_set(&g->held), 0);
    return plait_event_wait(&g->may_end, PLAIT_FOREVER);
}

static bool release_here(void *arg)
{
    struct meeting *g = arg;
    return plait_lock_release(&g->box.lock) == 0;
}

static bool let_another_in_and_release(void *arg)
{
    struct meeting *g = arg;
    g->behind = stand_in_line(g->setting->kinds[0], &g->box, 1, PLAIT_FOREVER);
    return release_here(g);
}

/* Before the caller stands one who gives up, unless it has been served already. */
static bool let_the_one_before_give_up(void *arg)
{
    struct meeting *g = arg;
    int rc = plait_cancel(g->before);
    CHECK(rc == 0 || rc == PLAIT_ESRCH);
    UNTIL(SEEN(g->box.customers[0].over));
    return true;
}

static int call_it(struct meeting *g, struct t_meddling *m, bool with_one_before)
{
    CHECK_RC(plait_lock_init(&g->box.lock, &fair), 0);
    g->box.n = 0;
    plait_event_init(&g->held);
    plait_event_init(&g->may_end);
    g->holder = t_start_one(PLAIT_THREAD, hold_meeting, g);
    CHECK_RC(plait_event_wait(&g->held, PLAIT_FOREVER), 0);
    if (with_one_before)
        g->before = stand_in_line(g->setting->kinds[0], &g->box, 0, PLAIT_FOREVER);
    int rc = t_meddle(m, acquire, &g->box.lock, plait_ms(T_SHORT_MS));
    if (m->deeds[1] == t_cancel_me)
        t_check_canceled_once(m, rc);
    CHECK(rc < 0 || plait_same(plait_lock_holder(&g->box.lock), plait_self()));
    if (rc == 0 || plait_same(plait_lock_holder(&g->box.lock), g->holder))
        CHECK_RC(plait_lock_release(&g->box.lock), 0);
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
        int rc = call_it(g, &m, false);
        CHECK(rc < 0 || m.done[0]);
        end_meeting(g);
        check_free(&g->box.lock);
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
        call_it(g, &m, false);
        int64_t start = plait_now();
        if (m.done[0])
            CHECK_EQ(t_join_one(g->behind), 0);
        int64_t took = plait_now() - start;
        end_meeting(g);
        if (!m.done[0])
            return t_came_late(&m);
        CHECK_SERVED(&g->box, 1);
        if (took < plait_ms(T_TOO_LONG_MS))
            return t_came_late(&m);
    }
    t_die(__FILE__, __LINE__, "deeds at steps %ld and %ld, and the other slept on", i, k);
}

/* The one before gives up at a step, the lock becomes free at another: the caller gets it at once. */
static int meet_behind_another(void *arg, long i, long k)
{
    struct t_meddling m = {.deeds = {let_the_one_before_give_up, release_here}, .at = {i, k}};
    for (int try = 0; try < T_TRIES; try++) {
        struct meeting *g = arg;
        call_it(g, &m, true);
        if (!m.done[0])
            plait_cancel(g->before);
        CHECK_EQ(t_join_one(g->before), 0);
        end_meeting(g);
        check_free(&g->box.lock);
        if (!m.done[0] || !m.done[1] || m.took < plait_ms(T_TOO_LONG_MS))
            return t_came_late(&m);
    }
    t_die(__FILE__, __LINE__, "deeds at steps %ld and %ld, and it slept on", i, k);
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

static void at_each_step_who_gives_up_leaves_the_lock_to_the_next(void **state)
{
    (void)state;
    try_all(meet_in_company);
}

static void at_each_step_the_next_is_served_when_the_one_before_gives_up(void **state)
{
    (void)state;
    struct meeting *g = t_new(&t_threads, sizeof *g);
    g->setting = &t_threads;
    t_each_pair(meet_behind_another, g);
    t_delete(&t_threads, g);
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
        cmocka_unit_test(free_and_held_as_any_lock),
        cmocka_unit_test(init_without_the_option_makes_a_plain_lock_of_it),
        cmocka_unit_test(timeouts_signals_and_cancellation_as_any_lock),
        cmocka_unit_test(the_line_is_served_in_the_order_of_arrival),
        cmocka_unit_test(who_wants_it_back_stands_behind_the_line),
        cmocka_unit_test(who_will_not_wait_does_not_overtake_either),
        cmocka_unit_test(a_strangers_release_calls_the_first),
        cmocka_unit_test(who_gives_up_loses_its_place_and_nobody_elses),
        cmocka_unit_test(who_comes_again_stands_at_the_end),
        cmocka_unit_test(a_worker_in_one_line_does_not_count_in_another),
        cmocka_unit_test(waiters_flag_goes_with_the_line),
        cmocka_unit_test(the_dead_in_the_line_are_skipped),
        cmocka_unit_test(the_called_one_dies_and_the_next_is_served_at_once),
        cmocka_unit_test(a_stopped_first_delays_and_loses_nothing),
        cmocka_unit_test(the_first_is_told_of_the_holders_death_and_the_line_goes_on),
        cmocka_unit_test(a_line_of_dead_keeps_nobody_out),
        cmocka_unit_test(the_death_of_one_who_just_got_it_is_told_at_once),
        cmocka_unit_test(the_death_of_the_called_one_is_noticed_at_once),
        cmocka_unit_test(a_condition_on_a_fair_lock_serves_in_order),
        cmocka_unit_test(a_fair_rlock_serves_in_order),
        cmocka_unit_test(a_forked_copy_has_nobody_of_the_parents_line),
#ifdef PL_STEP_HOOKS
        cmocka_unit_test(at_each_step_what_meets_a_wait_is_heard),
        cmocka_unit_test(at_each_step_who_gives_up_leaves_the_lock_to_the_next),
        cmocka_unit_test(at_each_step_the_next_is_served_when_the_one_before_gives_up),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
