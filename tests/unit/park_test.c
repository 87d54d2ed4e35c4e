/* The waiting room: sleeping and waking, time, cancellation, deaths, on any kernel; parkers; spinning. */
#include "park/park.h"

#include "arena/arena.h"
#include "base/atomic.h"
#include "harness.h"
#include "port/cpu.h"
#include "port/futex.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

/* --- a word to wait for --- */

struct box {
    uint32_t word;
    uint32_t seen;
    uint32_t holder;
    int64_t timeout;
    bool uncancellable;
    int rc; /* of the last of those who parked */
    int parked, returned;
    int stop;
};

/* Parks until the word differs; a nap as long as the time given, so that a lost wake-up is not made
 * up for by the next look. */
static int park_box(struct box *b)
{
    struct pl_wait wait;
    CHECK_RC(pl_self_known(), 0);
    CHECK_RC(pl_wait_begin(&wait, PL_WAIT_EVENT, b->timeout), 0);
    wait.holder = b->holder;
    wait.uncancellable = b->uncancellable;
    wait.nap = plait_seconds(2 * T_PATIENCE_S);
    COUNT(b->parked);
    int rc = 0;
    while (rc == 0 && pl_load_acquire(&b->word) == b->seen && !(b->holder && pl_is_dead(b->holder)))
        rc = pl_park(&b->word, b->seen, &wait);
    return rc;
}

static int park_here(void *box)
{
    struct box *b = box;
    int rc = park_box(b);
    TELL(b->rc, rc);
    COUNT(b->returned);
    return 0;
}

/* Tasks that wait in the arena may be counted twice, see park.h; this thread has some, if any. */
static void check_woken(const struct box *b, int woken, int expected)
{
    bool twice = pl_self.task && pl_arena_holds(b);
    CHECK(woken >= expected && woken <= (twice ? 2 * expected : expected));
}

static void change(struct box *b, int n, int expected)
{
    pl_will_unpark(&b->word);
    pl_store_release(&b->word, b->seen + 1);
    int woken = pl_unpark(&b->word, n);
    if (expected >= 0)
        check_woken(b, woken, expected);
}

static struct box *new_box(const struct t_setting *s)
{
    struct box *b = t_new(s, sizeof *b);
    b->timeout = plait_seconds(T_PATIENCE_S);
    return b;
}

static void a_changed_word_is_not_slept_on(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s);
        struct pl_wait wait;
        CHECK_RC(pl_self_known(), 0);
        CHECK_RC(pl_wait_begin(&wait, PL_WAIT_EVENT, PLAIT_FOREVER), 0);
        wait.nap = plait_seconds(2 * T_PATIENCE_S);
        int64_t start = plait_now();
        CHECK_RC(pl_park(&b->word, b->word + 1, &wait), 0);
        CHECK(plait_now() - start < plait_seconds(T_PATIENCE_S));
        t_delete(s, b);
    }
}

static void a_wake_up_reaches_the_sleeper(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s);
        struct t_team team;
        t_start(&team, s, 1, park_here, b);
        UNTIL_WAITS(team.workers[0], PL_WAIT_EVENT);
        change(b, 1, 1);
        t_join(&team);
        CHECK_RC(b->rc, 0);
        t_delete(s, b);
    }
}

static void nobody_asleep_nobody_woken(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s);
        CHECK_EQ(pl_unpark(&b->word, 1), 0);
        CHECK_EQ(pl_unpark(&b->word, INT32_MAX), 0);
        t_delete(s, b);
    }
}

static int sleep_once(void *box)
{
    struct box *b = box;
    struct pl_wait wait;
    CHECK_RC(pl_self_known(), 0);
    CHECK_RC(pl_wait_begin(&wait, PL_WAIT_SEMAPHORE, b->timeout), 0);
    wait.nap = plait_seconds(2 * T_PATIENCE_S);
    int rc = pl_park(&b->word, b->seen, &wait);
    TELL(b->rc, rc);
    COUNT(b->returned);
    return 0;
}

/* The word stays as it is: only those who are woken return. */
static void as_many_are_woken_as_asked_for(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s);
        struct t_team team;
        t_start(&team, s, 5, sleep_once, b);
        for (int i = 0; i < 5; i++)
            UNTIL_WAITS(team.workers[i], PL_WAIT_SEMAPHORE);
        CHECK_EQ(pl_unpark(&b->word, 2), 2);
        UNTIL(SEEN(b->returned) == 2);
        t_sleep(plait_ms(10));
        CHECK_EQ(SEEN(b->returned), 2);
        check_woken(b, pl_unpark(&b->word, 100), 3);
        t_join(&team);
        CHECK_EQ(pl_unpark(&b->word, 100), 0);
        t_delete(s, b);
    }
}

static int sleep_in_turn(void *box)
{
    return sleep_once(box);
}

static void the_first_to_come_is_the_first_to_be_woken(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s);
        struct t_team team = {.n = 4};
        for (int i = 0; i < 4; i++) {
            team.workers[i] = t_start_one(s->kinds[i % 2], sleep_in_turn, b);
            UNTIL_WAITS(team.workers[i], PL_WAIT_SEMAPHORE);
        }
        bool one_queue = !s->shared || !t_has_tasks(s) || s->kinds[0] == s->kinds[1];
        for (int i = 0; i < 4; i++) {
            CHECK_EQ(pl_unpark(&b->word, 1), 1);
            if (one_queue)
                UNTIL(plait_state(team.workers[i]) == PLAIT_STATE_ENDED);
            else
                UNTIL(SEEN(b->returned) == i + 1);
            for (int k = i + 1; one_queue && k < 4; k++)
                CHECK_EQ(plait_state(team.workers[k]), PLAIT_STATE_BLOCKED);
        }
        t_join(&team);
        t_delete(s, b);
    }
}

static int sleep_again_and_again(void *arg)
{
    struct box *b = arg;
    struct pl_wait wait;
    CHECK_RC(pl_self_known(), 0);
    while (!SEEN(b->stop)) {
        CHECK_RC(pl_wait_begin(&wait, PL_WAIT_SEMAPHORE, PLAIT_FOREVER), 0);
        CHECK_RC(pl_park(&b->word, 0, &wait), 0);
        COUNT(b->returned);
    }
    return 0;
}

static int sleep_without_naps(void *arg)
{
    struct box *b = arg;
    struct pl_wait wait;
    CHECK_RC(pl_self_known(), 0);
    CHECK_RC(pl_wait_begin(&wait, PL_WAIT_SEMAPHORE, PLAIT_FOREVER), 0);
    wait.nap = plait_seconds(T_PATIENCE_S);
    CHECK_RC(pl_park(&b->word, 0, &wait), 0);
    return 0;
}

/* They are at hand, and would be woken before it each time. */
static void a_thread_has_its_turn_among_tasks_that_come_again(void **state)
{
    (void)state;
    enum { TASKS = 3, MOST = 40 };
    struct box *b = new_box(&t_tasks);
    plait_worker thread = t_start_one(PLAIT_THREAD, sleep_without_naps, b);
    UNTIL_WAITS(thread, PL_WAIT_SEMAPHORE);
    struct t_team team;
    t_start(&team, &t_tasks, TASKS, sleep_again_and_again, b);
    int rounds = 0;
    for (; plait_state(thread) != PLAIT_STATE_ENDED; rounds++) {
        CHECK(rounds < MOST);
        for (int i = 0; i < TASKS; i++)
            UNTIL_WAITS(team.workers[i], PL_WAIT_SEMAPHORE);
        CHECK(pl_unpark(&b->word, 1) >= 1);
        t_sleep(plait_ms(1));
    }
    TELL(b->stop, 1);
    TELL(b->word, 1);
    pl_unpark(&b->word, 100);
    t_join(&team);
    CHECK_EQ(t_join_one(thread), 0);
    t_delete(&t_tasks, b);
}

/* Words beside each other meet in the same buckets; only the word's own sleepers may be woken. */
static void sleepers_on_other_words_sleep_on(void **state)
{
    (void)state;
    enum { WORDS = 30 };
    FOR_EACH_SETTING(s)
    {
        struct box *boxes = t_new(s, WORDS * sizeof *boxes);
        struct t_team team;
        for (int i = 0; i < WORDS; i++)
            boxes[i].timeout = plait_seconds(T_PATIENCE_S);
        t_start_each(&team, s, WORDS, park_here, boxes, sizeof *boxes);
        for (int i = 0; i < WORDS; i++)
            UNTIL_WAITS(team.workers[i], PL_WAIT_EVENT);
        for (int i = 0; i < WORDS; i++) {
            change(&boxes[i], 100, 1);
            UNTIL(SEEN(boxes[i].returned) == 1);
            if (i + 1 < WORDS)
                CHECK_EQ(SEEN(boxes[i + 1].returned), 0);
        }
        t_join(&team);
        t_delete(s, boxes);
    }
}

/* --- time --- */

static int park_timed(void *box, int64_t timeout)
{
    struct box *b = box;
    struct pl_wait wait;
    CHECK_RC(pl_self_known(), 0);
    int rc = pl_wait_begin(&wait, PL_WAIT_EVENT, timeout);
    while (rc == 0 && pl_load_acquire(&b->word) == b->seen)
        rc = pl_park(&b->word, b->seen, &wait);
    return rc;
}

static void waits_end_on_time_and_by_request(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s);
        t_check_bad_timeouts(park_timed, b);
        t_check_time(park_timed, b);
        t_check_signals(park_timed, b);
        t_check_cancel(s, park_timed, b);
        t_check_cancel_pending(s, park_timed, b);
        t_check_cancel_counts(s, park_timed, b);
        t_check_uncancel(s, park_timed, b);
        t_delete(s, b);
    }
}

static void a_mere_look_does_not_sleep(void **state)
{
    (void)state;
    struct pl_wait wait;
    uint32_t word = 0;
    CHECK_RC(pl_self_known(), 0);
    CHECK_RC(pl_wait_begin(&wait, PL_WAIT_LOCK, PLAIT_NOWAIT), 0);
    CHECK_RC(pl_park(&word, 0, &wait), PLAIT_ETIMEDOUT);
    CHECK(!wait.slept);
    CHECK_EQ(wait.began, 0);
}

static void naps_grow_and_end(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s);
        struct pl_wait wait;
        CHECK_RC(pl_self_known(), 0);
        CHECK_RC(pl_wait_begin(&wait, PL_WAIT_EVENT, plait_seconds(20)), 0);
        int64_t start = plait_now();
        for (int i = 0; i < 3; i++)
            CHECK_RC(pl_park(&b->word, 0, &wait), 0); /* nothing happened: a nap's end */
        CHECK(plait_now() - start >= PL_FIRST_NAP * (1 + 2 + 4) - plait_ms(1));
        CHECK_EQ(wait.nap, PL_FIRST_NAP * 8);
        CHECK(wait.slept);
        CHECK(wait.began >= start);
        t_delete(s, b);
    }
}

static void one_who_may_not_be_cancelled_is_not(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s);
        b->uncancellable = true;
        plait_worker w = t_start_one(s->kinds[0], park_here, b);
        UNTIL_WAITS(w, PL_WAIT_EVENT);
        CHECK_RC(plait_cancel(w), 0);
        t_sleep(plait_ms(30));
        CHECK_EQ(SEEN(b->returned), 0);
        change(b, 1, -1);
        CHECK_EQ(t_join_one(w), 0);
        CHECK_RC(b->rc, 0);
        t_delete(s, b);
    }
}

/* --- what is written down --- */

/* For itself only, while nobody else can wake it. */
static void check_listed(const struct box *b)
{
    plait_task_info info;
    CHECK_EQ(plait_task_list(&info, 1), 1);
    CHECK(info.waits_on == &b->word && strcmp(info.waits, "an event") == 0);
}

static void who_sleeps_is_on_record(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s);
        int64_t before = plait_now();
        plait_worker w = t_start_one(s->kinds[0], park_here, b);
        UNTIL_WAITS(w, PL_WAIT_EVENT);
        struct pl_slot *slot = t_slot(w);
        CHECK_EQ(plait_state(w), PLAIT_STATE_BLOCKED);
        if (s->kinds[0] == PLAIT_TASK)
            check_listed(b);
        if (s->kinds[0] != PLAIT_TASK || s->shared) {
            CHECK(pl_load_acquire(&slot->waits_on) == &b->word);
            int64_t since = pl_load_acquire(&slot->waits_since);
            CHECK(since >= before && since <= plait_now());
        }
        change(b, 1, 1);
        UNTIL(plait_state(w) == PLAIT_STATE_ENDED);
        CHECK_EQ(pl_load_acquire(&slot->waits_kind), PL_WAIT_NONE);
        CHECK_EQ(t_join_one(w), 0);
        t_delete(s, b);
    }
}

/* --- deaths --- */

static int stand_still(void *unused)
{
    (void)unused;
    while (pause())
        ;
    return 0;
}

static int stand_until_told(void *box)
{
    struct box *b = box;
    UNTIL(SEEN(b->stop));
    return 0;
}

static void the_death_of_the_holder_wakes(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s);
        plait_worker holder = t_start_one(PLAIT_PROCESS, stand_still, NULL);
        UNTIL(plait_state(holder) == PLAIT_STATE_RUNNING);
        b->holder = pl_slot_find(holder)->id;
        struct t_team team;
        t_start(&team, s, 3, park_here, b);
        for (int i = 0; i < 3; i++)
            UNTIL_WAITS(team.workers[i], PL_WAIT_EVENT);
        t_kill(holder);
        t_join(&team);
        CHECK_EQ(b->returned, 3);
        CHECK_RC(b->rc, 0);
        t_delete(s, b);
    }
}

static void the_end_of_a_thread_that_holds_wakes(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s);
        plait_worker holder = t_start_one(PLAIT_THREAD, stand_until_told, b);
        UNTIL(plait_state(holder) == PLAIT_STATE_RUNNING);
        b->holder = pl_slot_find(holder)->id;
        plait_worker w = t_start_one(s->kinds[0], park_here, b);
        UNTIL_WAITS(w, PL_WAIT_EVENT);
        TELL(b->stop, 1);
        CHECK_EQ(t_join_one(w), 0);
        CHECK_RC(b->rc, 0);
        CHECK_EQ(t_join_one(holder), 0);
        t_delete(s, b);
    }
}

static void a_holder_that_is_dead_already_is_not_waited_for(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s);
        struct pl_wait wait;
        plait_worker holder = t_start_one(PLAIT_PROCESS, stand_still, NULL);
        uint32_t id = pl_slot_find(holder)->id;
        t_kill(holder);
        CHECK_RC(pl_self_known(), 0);
        CHECK_RC(pl_wait_begin(&wait, PL_WAIT_LOCK, PLAIT_FOREVER), 0);
        wait.nap = plait_seconds(2 * T_PATIENCE_S);
        wait.holder = id;
        CHECK_RC(pl_park(&b->word, 0, &wait), 0);
        t_delete(s, b);
    }
}

enum { CROWD = 12 };

/* Watches all of a crowd at once; returns when the word changes or one of them dies. */
struct guard {
    struct box box;
    uint32_t ids[CROWD];
    int rounds;
};

static int watch_crowd(void *guard)
{
    struct guard *g = guard;
    struct pl_wait wait;
    CHECK_RC(pl_self_known(), 0);
    CHECK_RC(pl_wait_begin(&wait, PL_WAIT_POOL, PLAIT_FOREVER), 0);
    wait.nap = plait_seconds(2 * T_PATIENCE_S);
    wait.others = g->ids;
    wait.n_others = CROWD;
    CHECK_RC(pl_park(&g->box.word, 0, &wait), 0);
    return 0;
}

static void the_death_of_any_of_many_wakes(void **state)
{
    (void)state;
    for (int dead = 0; dead < CROWD; dead += CROWD - 1) {
        struct guard *g = t_new(&t_mixed, sizeof *g);
        plait_worker crowd[CROWD];
        for (int i = 0; i < CROWD; i++) {
            crowd[i] = t_start_one(PLAIT_PROCESS, stand_still, NULL);
            UNTIL(plait_state(crowd[i]) == PLAIT_STATE_RUNNING);
            g->ids[i] = pl_slot_find(crowd[i])->id;
        }
        FOR_EACH_KIND(kind)
        {
            plait_worker w = t_start_one(kind, watch_crowd, g);
            UNTIL_WAITS(w, PL_WAIT_POOL);
            if (kind == PLAIT_THREAD)
                change(&g->box, 1, 1);
            else
                t_kill(crowd[dead]);
            CHECK_EQ(t_join_one(w), 0);
            pl_store_release(&g->box.word, 0u);
        }
        for (int i = 0; i < CROWD; i++)
            if (i != dead)
                t_kill(crowd[i]);
        t_delete(&t_mixed, g);
    }
}

/* --- a kernel that cannot watch several words --- */

static int wait_event(void *event, int64_t timeout)
{
    return plait_event_wait(event, timeout);
}

static int wait_lock(void *lock, int64_t timeout)
{
    int rc = plait_lock_acquire(lock, timeout);
    if (rc >= 0)
        plait_lock_release(lock);
    return rc;
}

static int wait_semaphore(void *semaphore, int64_t timeout)
{
    return plait_semaphore_acquire(semaphore, timeout);
}

static int wait_condition(void *condition, int64_t timeout)
{
    plait_condition *c = condition;
    CHECK(plait_lock_acquire(plait_condition_lock(c), PLAIT_FOREVER) >= 0 ||
          plait_lock_acquire(plait_condition_lock(c), PLAIT_FOREVER) >= 0); /* a request may wait */
    int rc = plait_condition_wait(c, timeout);
    CHECK_RC(plait_lock_release(plait_condition_lock(c)), 0);
    return rc;
}

static int wait_join(void *worker, int64_t timeout)
{
    return plait_join(*(plait_worker *)worker, NULL, timeout);
}

struct all {
    plait_event event;
    plait_lock lock;
    plait_semaphore semaphore;
    plait_condition condition;
    plait_worker worker;
    int step;
};

static void check_call(const struct t_setting *s, t_wait *call, void *object)
{
    t_check_time(call, object);
    t_check_signals(call, object);
    t_check_cancel(s, call, object);
    if (call != wait_condition) { /* which waits for its lock first */
        t_check_cancel_pending(s, call, object);
        t_check_uncancel(s, call, object);
    }
}

/* A waiter on each primitive, woken by what it waits for. */
static void check_wake_ups(const struct t_setting *s, struct all *a)
{
    t_wait *calls[] = {wait_event, wait_lock, wait_semaphore};
    void *objects[] = {&a->event, &a->lock, &a->semaphore};
    struct t_waiter *waiters = t_new(s, 3 * sizeof *waiters);
    struct t_team team;
    for (int i = 0; i < 3; i++)
        waiters[i] =
            (struct t_waiter){.call = calls[i], .object = objects[i], .timeout = PLAIT_FOREVER};
    t_start_each(&team, s, 3, t_wait_once, waiters, sizeof *waiters);
    for (int i = 0; i < 3; i++)
        UNTIL_WAITS(team.workers[i], 0);
    plait_event_set(&a->event);
    plait_lock_release(&a->lock);
    plait_semaphore_release(&a->semaphore, 1);
    t_join(&team);
    for (int i = 0; i < 3; i++)
        CHECK_RC(waiters[i].rc, 0);
    t_delete(s, waiters);
}

static int take_and_stand(void *all)
{
    struct all *a = all;
    CHECK_RC(plait_lock_acquire(&a->lock, PLAIT_FOREVER), 0);
    TELL(a->step, 1);
    return stand_still(NULL);
}

static int take_from_the_dead(void *all)
{
    struct all *a = all;
    int rc = plait_lock_acquire(&a->lock, PLAIT_FOREVER);
    CHECK_RC(plait_lock_release(&a->lock), 0);
    return rc;
}

static void check_death(const struct t_setting *s, struct all *a)
{
    if (!s->shared)
        return;
    plait_worker holder = t_start_one(PLAIT_PROCESS, take_and_stand, a);
    UNTIL(SEEN(a->step));
    plait_worker w = t_start_one(s->kinds[1], take_from_the_dead, a);
    UNTIL_WAITS(w, PL_WAIT_LOCK);
    t_kill(holder);
    CHECK_EQ(t_join_one(w), PLAIT_OWNER_DIED);
}

static void check_primitives(const struct t_setting *s)
{
    struct all *a = t_new(s, sizeof *a);
    plait_worker still = t_start_one(PLAIT_PROCESS, stand_still, NULL);
    a->worker = still;
    CHECK_RC(plait_lock_acquire(&a->lock, PLAIT_FOREVER), 0);
    check_call(s, wait_event, &a->event);
    check_call(s, wait_lock, &a->lock);
    check_call(s, wait_semaphore, &a->semaphore);
    check_call(s, wait_condition, &a->condition);
    check_call(s, wait_join, &a->worker);
    check_wake_ups(s, a);
    check_death(s, a);
    t_kill(still);
    t_delete(s, a);
}

static int forget_and_check_all(void *unused)
{
    (void)unused;
    pl_futex_forget_waitv();
    struct pl_watch watch = {&(uint32_t){0}, 1, false};
    CHECK_EQ(pl_futex_wait_any(&watch, 1, INT64_MAX), -ENOSYS);
    FOR_EACH_SETTING(s)
    check_primitives(s);
    return 0;
}

static void without_waitv_every_wait_still_ends(void **state)
{
    (void)state;
    assert_int_equal(t_in_fork(forget_and_check_all, NULL), 0);
}

/* From now on this system call answers `error`. False: the kernel has no filters. */
static bool refuse(int call, int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static int refuse_and_check_all(void *error)
{
    if (!refuse(SYS_futex_waitv, (int)(intptr_t)error))
        return 77;
    check_primitives(&t_mixed);
    return 0;
}

static void a_filter_that_refuses_waitv_is_found_out(void **state)
{
    (void)state;
    const int errors[] = {ENOSYS, EPERM};
    for (int i = 0; i < 2; i++) {
        int status = t_in_fork(refuse_and_check_all, (void *)(intptr_t)errors[i]);
        if (status == 77)
            skip();
        assert_int_equal(status, 0);
    }
}

/* --- no wake-up is lost --- */

struct rally {
    uint32_t turn; /* whose it is: even or odd */
    long rounds;
    uint32_t next_player;
};

static int play(void *rally)
{
    struct rally *r = rally;
    struct pl_wait wait;
    uint32_t me = __atomic_fetch_add(&r->next_player, 1, __ATOMIC_SEQ_CST);
    CHECK_RC(pl_self_known(), 0);
    for (uint32_t i = me; i < 2 * r->rounds; i += 2) {
        CHECK_RC(pl_wait_begin(&wait, PL_WAIT_EVENT, plait_seconds(T_PATIENCE_S)), 0);
        wait.nap = plait_seconds(2 * T_PATIENCE_S);
        uint32_t seen;
        while ((seen = pl_load_acquire(&r->turn)) != i)
            CHECK_RC(pl_park(&r->turn, seen, &wait), 0);
        pl_will_unpark(&r->turn);
        pl_store_release(&r->turn, i + 1);
        pl_unpark(&r->turn, 1);
    }
    return 0;
}

static void no_wake_up_is_lost(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct rally *r = t_new(s, sizeof *r);
        struct t_team team;
        r->rounds = t_scaled(t_is_sanitized() ? 1000 : 5000);
        t_start(&team, s, 2, play, r);
        t_join(&team);
        CHECK_EQ(r->turn, 2 * r->rounds);
        t_delete(s, r);
    }
}

/* Sleepers that give up and wakers meet; whoever was counted as woken has returned 0. */
static int give_up_early(void *box)
{
    struct box *b = box;
    struct pl_wait wait;
    CHECK_RC(pl_self_known(), 0);
    while (!SEEN(b->stop)) {
        CHECK_RC(pl_wait_begin(&wait, PL_WAIT_EVENT, plait_us(50)), 0);
        uint32_t seen = pl_load_acquire(&b->word);
        COUNT(b->parked);
        int rc = pl_park(&b->word, seen, &wait);
        CHECK(rc == 0 || rc == PLAIT_ETIMEDOUT);
        COUNT(b->returned);
    }
    return 0;
}

static void giving_up_and_waking_may_meet(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = new_box(s);
        struct t_team team;
        t_start(&team, s, 3, give_up_early, b);
        int64_t until = plait_now() + plait_ms(100);
        while (plait_now() < until) {
            pl_fetch_add_acq_rel(&b->word, 1u);
            CHECK(pl_unpark(&b->word, 2) <= 2);
        }
        TELL(b->stop, 1);
        t_join(&team);
        CHECK_EQ(b->parked, b->returned);
        t_delete(s, b);
    }
}

/* --- the lot and fork --- */

static int park_in_child(void *box)
{
    struct box *b = box;
    CHECK_EQ(pl_unpark(&b->word, 100), 0); /* the sleepers are the parent's */
    CHECK_RC(park_timed(b, plait_ms(2)), PLAIT_ETIMEDOUT);
    plait_worker w = t_start_one(PLAIT_THREAD, park_here, b);
    UNTIL_WAITS(w, PL_WAIT_EVENT);
    change(b, 100, 1);
    return t_join_one(w);
}

static void a_forked_childs_lot_is_empty(void **state)
{
    (void)state;
    struct box *b = new_box(&t_private_threads);
    struct t_team team;
    t_start(&team, &t_private_threads, 3, park_here, b);
    for (int i = 0; i < 3; i++)
        UNTIL_WAITS(team.workers[i], PL_WAIT_EVENT);
    assert_int_equal(t_in_fork(park_in_child, b), 0);
    change(b, 100, 3);
    t_join(&team);
    t_delete(&t_private_threads, b);
}

/* --- a parker of one's own --- */

struct own_parker {
    struct pl_parker parker;
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    int slept, woken;
};

/* As a loop of tasks would: it sleeps in its own way until its node is woken. */
static void own_sleep(struct pl_parker *self, struct pl_parked *node, int64_t until)
{
    struct own_parker *own = (struct own_parker *)self;
    COUNT(own->slept);
    CHECK(!node->shared);
    pthread_mutex_lock(&own->mutex);
    while (!pl_load_acquire(&node->woken) && plait_now() < until) {
        struct timespec ts;
        clock_gettime(CLOCK_REALTIME, &ts);
        ts.tv_nsec += 1000000;
        if (ts.tv_nsec >= 1000000000) {
            ts.tv_nsec -= 1000000000;
            ts.tv_sec++;
        }
        pthread_cond_timedwait(&own->condition, &own->mutex, &ts);
    }
    pthread_mutex_unlock(&own->mutex);
}

static void own_wake(struct pl_parker *self, struct pl_parked *node)
{
    struct own_parker *own = (struct own_parker *)self;
    COUNT(own->woken);
    pthread_mutex_lock(&own->mutex);
    pl_store_release(&node->woken, 1u);
    pthread_cond_broadcast(&own->condition);
    pthread_mutex_unlock(&own->mutex);
}

static struct own_parker own = {.parker = {.sleep = own_sleep, .wake = own_wake},
                                .mutex = PTHREAD_MUTEX_INITIALIZER,
                                .condition = PTHREAD_COND_INITIALIZER};

static int wait_in_own_way(void *box)
{
    CHECK_RC(pl_self_known(), 0);
    pl_self.parker = &own.parker;
    park_here(box);
    pl_self.parker = NULL;
    return 0;
}

static void a_parker_of_ones_own_sleeps_and_is_woken(void **state)
{
    (void)state;
    struct box *b = new_box(&t_private_threads);
    plait_worker w = t_start_one(PLAIT_THREAD, wait_in_own_way, b);
    UNTIL(SEEN(own.slept) == 1 && plait_state(w) == PLAIT_STATE_BLOCKED);
    change(b, 1, 1);
    CHECK_EQ(t_join_one(w), 0);
    CHECK_RC(b->rc, 0);
    CHECK_EQ(own.woken, 1);
    t_delete(&t_private_threads, b);
}

static void a_parker_of_ones_own_keeps_time(void **state)
{
    (void)state;
    uint32_t word = 0;
    struct box b = {.word = word};
    CHECK_RC(pl_self_known(), 0);
    pl_self.parker = &own.parker;
    int before = own.slept;
    t_check_time(park_timed, &b);
    pl_self.parker = NULL;
    CHECK(own.slept > before);
}

static int wait_event_in_own_way(void *event)
{
    CHECK_RC(pl_self_known(), 0);
    pl_self.parker = &own.parker;
    int rc = plait_event_wait(event, plait_seconds(T_PATIENCE_S));
    pl_self.parker = NULL;
    return rc;
}

static void primitives_go_through_the_parker(void **state)
{
    (void)state;
    plait_event event = {0};
    int before = own.woken;
    plait_worker w = t_start_one(PLAIT_THREAD, wait_event_in_own_way, &event);
    UNTIL(plait_state(w) == PLAIT_STATE_BLOCKED);
    t_sleep(plait_ms(5));
    CHECK_RC(plait_event_set(&event), 0);
    CHECK_EQ(t_join_one(w), 0);
    CHECK_EQ(own.woken, before + 1);
}

/* --- futexes --- */

static void waking_an_address_that_is_gone_is_harmless(void **state)
{
    (void)state;
    uint32_t *word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(word != MAP_FAILED);
    errno = EXDEV;
    assert_int_equal(pl_futex_wake(word, 1, false), 0);
    assert_int_equal(munmap(word, 4096), 0);
    assert_int_equal(pl_futex_wake(word, 1, false), 0);
    assert_int_equal(pl_futex_wake(word, 1, true), 0);
    assert_int_equal(errno, EXDEV);
}

static void a_futex_wait_ends_on_time_or_at_once(void **state)
{
    (void)state;
    uint32_t word = 1, other = 1;
    struct pl_watch both[] = {{&word, 1, false}, {&other, 1, true}};
    errno = EXDEV;
    assert_int_equal(pl_futex_wait(&word, 0, false, INT64_MAX), 0);
    assert_int_equal(pl_futex_wait(&word, 0, true, INT64_MAX), 0);
    assert_int_equal(pl_futex_wait(&word, 1, false, plait_now() - 1), -ETIMEDOUT);
    int64_t until = plait_now() + plait_ms(5);
    int rc;
    do
        rc = pl_futex_wait(&word, 1, true, until);
    while (rc == 0);
    assert_int_equal(rc, -ETIMEDOUT);
    assert_true(plait_now() >= until);
    rc = pl_futex_wait_any(both, 2, plait_now() + plait_ms(5));
    assert_true(rc == -ETIMEDOUT || rc == -ENOSYS || rc == 0);
    both[1].seen = 0;
    rc = pl_futex_wait_any(both, 2, INT64_MAX);
    assert_true(rc == 0 || rc == -ENOSYS);
    assert_int_equal(errno, EXDEV);
}

/* --- spinning --- */

enum { LEAST_PAUSES = 64, MOST_PAUSES = 50000 };

static void expect_sane_budget(void)
{
    uint32_t budget = pl_self.spin_budget;
    CHECK(budget == 1 || (budget >= LEAST_PAUSES && budget <= MOST_PAUSES));
}

/* Spins to the end; how many pauses that took. */
static uint32_t spin_out(void)
{
    struct pl_spin spin = {0};
    while (pl_spin(&spin))
        CHECK(spin.spent <= MOST_PAUSES + 64);
    CHECK(spin.spent <= pl_self.spin_budget + 64);
    return spin.spent;
}

static int the_budget_stays_in_bounds(void *unused)
{
    (void)unused;
    uint64_t seed = t_seed();
    spin_out();
    expect_sane_budget();
    for (int i = 0; i < 2000; i++) {
        struct pl_spin spin = {.spent = (uint32_t)t_below(&seed, 60000)};
        switch (t_below(&seed, 4)) {
        case 0:
            pl_spin_won(&spin);
            break;
        case 1:
            pl_spin_slept(t_below(&seed, 100));
            break;
        case 2:
            pl_spin_slept((int64_t)(t_random(&seed) >> 2));
            break;
        default:
            pl_spin_slept(0);
        }
        expect_sane_budget();
        if (i % 100 == 0)
            spin_out();
    }
    return 0;
}

static void spinning_stays_in_bounds(void **state)
{
    (void)state;
    assert_int_equal(t_in_pthread(the_budget_stays_in_bounds, NULL), 0);
}

static int long_sleeps_teach_not_to_spin(void *unused)
{
    (void)unused;
    spin_out();
    for (int i = 0; i < 40; i++)
        pl_spin_slept(plait_seconds(1));
    CHECK(pl_self.spin_budget <= LEAST_PAUSES);
    CHECK(spin_out() <= LEAST_PAUSES + 64);
    if (pl_cpu_parallel() < 2)
        return 0;
    uint32_t low = pl_self.spin_budget;
    for (int i = 0; i < 40; i++)
        pl_spin_slept(100);
    CHECK(pl_self.spin_budget > low); /* and short ones teach to */
    return 0;
}

static void the_budget_is_learned(void **state)
{
    (void)state;
    assert_int_equal(t_in_pthread(long_sleeps_teach_not_to_spin, NULL), 0);
}

static int on_one_processor(void *unused)
{
    (void)unused;
    cpu_set_t all, one;
    CHECK_EQ(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &all)) {
            CPU_SET(i, &one);
            break;
        }
    CHECK_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    CHECK_EQ(pl_cpu_parallel(), 1);
    struct pl_spin spin = {0};
    CHECK(!pl_spin(&spin));
    CHECK_EQ(spin.spent, 0);
    for (int i = 0; i < 10; i++) {
        pl_spin_won(&spin);
        pl_spin_slept(1);
        CHECK(!pl_spin(&spin));
    }
    check_primitives(&t_mixed); /* and everything still works */
    return 0;
}

static int on_one_processor_anew(void *unused)
{
    (void)unused;
    execl("/proc/self/exe", "park_test", "one", NULL);
    return 1;
}

/* In a process that has not counted its processors yet. */
static void with_one_processor_nobody_spins(void **state)
{
    (void)state;
    assert_int_equal(t_in_fork(on_one_processor_anew, NULL), 0);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "one") == 0)
        return on_one_processor(NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_changed_word_is_not_slept_on),
        cmocka_unit_test(a_wake_up_reaches_the_sleeper),
        cmocka_unit_test(nobody_asleep_nobody_woken),
        cmocka_unit_test(as_many_are_woken_as_asked_for),
        cmocka_unit_test(the_first_to_come_is_the_first_to_be_woken),
        cmocka_unit_test(a_thread_has_its_turn_among_tasks_that_come_again),
        cmocka_unit_test(sleepers_on_other_words_sleep_on),
        cmocka_unit_test(waits_end_on_time_and_by_request),
        cmocka_unit_test(a_mere_look_does_not_sleep),
        cmocka_unit_test(naps_grow_and_end),
        cmocka_unit_test(one_who_may_not_be_cancelled_is_not),
        cmocka_unit_test(who_sleeps_is_on_record),
        cmocka_unit_test(the_death_of_the_holder_wakes),
        cmocka_unit_test(the_end_of_a_thread_that_holds_wakes),
        cmocka_unit_test(a_holder_that_is_dead_already_is_not_waited_for),
        cmocka_unit_test(the_death_of_any_of_many_wakes),
        cmocka_unit_test(without_waitv_every_wait_still_ends),
        cmocka_unit_test(a_filter_that_refuses_waitv_is_found_out),
        cmocka_unit_test(no_wake_up_is_lost),
        cmocka_unit_test(giving_up_and_waking_may_meet),
        cmocka_unit_test(a_forked_childs_lot_is_empty),
        cmocka_unit_test(a_parker_of_ones_own_sleeps_and_is_woken),
        cmocka_unit_test(a_parker_of_ones_own_keeps_time),
        cmocka_unit_test(primitives_go_through_the_parker),
        cmocka_unit_test(waking_an_address_that_is_gone_is_harmless),
        cmocka_unit_test(a_futex_wait_ends_on_time_or_at_once),
        cmocka_unit_test(spinning_stays_in_bounds),
        cmocka_unit_test(the_budget_is_learned),
        cmocka_unit_test(with_one_processor_nobody_spins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
