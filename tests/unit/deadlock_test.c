/* Deadlocks: a test per promise of include/plait/deadlock.h, with rings of threads, of processes, and mixed. */
#include "harness/harness.h"

#include "base/sanitizers.h"
#include "park/record.h"
#include "port/memory.h"

#include <poll.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST = 5 };

/* What all processes of a test have reported, in the arena. */
struct reports {
    plait_lock lock;
    int n;
    char last[4096];
};
static struct reports *reports;

static void keep(const char *text, void *unused)
{
    (void)unused;
    PLAIT_WITH(&reports->lock) {
        snprintf(reports->last, sizeof reports->last, "%s", text);
        COUNT(reports->n); /* last: who sees it may read the text */
    }
}

static int start_listening(void **state)
{
    (void)state;
    reports = plait_alloc(sizeof *reports);
    plait_set_log(keep, NULL);
    return reports ? 0 : -1;
}

static int begin(void **state)
{
    (void)state;
    memset(reports, 0, sizeof *reports);
    return plait_deadlock_policy(PLAIT_DEADLOCK_DEFAULT, 0);
}

/* --- rings --- */

/* Worker i takes object i, and when all have theirs the next one's. */
struct ring {
    int size, arrived, errors, done, go;
    bool plain;      /* locks, not rlocks */
    int taken_from;  /* the holder of object 1 has had it released by a stranger */
    int64_t timeout; /* of the second acquire */
    int rc[MOST];
    plait_rlock rlocks[MOST];
};

static int acquire(struct ring *r, int i, int64_t timeout)
{
    return r->plain ? plait_lock_acquire(&r->rlocks[i].lock_, timeout)
                    : plait_rlock_acquire(&r->rlocks[i], timeout);
}

static void release(struct ring *r, int i)
{
    CHECK_RC(
        r->plain ? plait_lock_release(&r->rlocks[i].lock_) : plait_rlock_release(&r->rlocks[i]), 0);
}

struct place {
    struct ring *ring;
    int i;
};

static int take_two(void *arg)
{
    struct place *place = arg;
    struct ring *r = place->ring;
    int next = (place->i + 1) % r->size;
    CHECK_RC(acquire(r, place->i, PLAIT_FOREVER), 0);
    COUNT(r->arrived);
    UNTIL(SEEN(r->arrived) >= r->size);
    int rc = acquire(r, next, r->timeout);
    TELL(r->rc[place->i], rc);
    if (rc == PLAIT_EDEADLK)
        COUNT(r->errors);
    else if (rc >= 0)
        release(r, next);
    if (!(place->i == 1 && SEEN(r->taken_from)))
        release(r, place->i);
    COUNT(r->done);
    return 0;
}

struct party {
    struct ring *ring;
    struct place *places;
    struct t_team team;
};

/* Starts a ring of n with the setting's kinds of workers, named worker-0, worker-1, ... */
static void start_ring(struct party *party, const struct t_setting *s, int n, bool plain,
                       int64_t timeout)
{
    party->ring = t_new(s, sizeof *party->ring);
    party->places = t_new(s, sizeof *party->places * MOST);
    party->ring->size = n;
    party->ring->plain = plain;
    party->ring->timeout = timeout;
    party->team.n = n;
    for (int i = 0; i < n; i++) {
        char name[PLAIT_NAME_SIZE];
        snprintf(name, sizeof name, "worker-%d", i);
        party->places[i] = (struct place){party->ring, i};
        CHECK_RC(plait_start(&party->team.workers[i], s->kinds[i % 2], take_two, &party->places[i],
                             &(plait_options){.name = name}),
                 0);
    }
}

static void end_ring(struct party *party, const struct t_setting *s)
{
    t_join(&party->team);
    t_delete(s, party->ring);
    t_delete(s, party->places);
}

static bool all_wait(struct party *party, int kind)
{
    for (int i = 0; i < party->team.n; i++)
        if (!t_waits(party->team.workers[i], kind))
            return false;
    return true;
}

/* Sleeps long enough for each waiter to have looked for a deadlock. */
static void let_them_look(void)
{
    t_sleep(plait_ms(150));
}

static void check_named(const struct party *party)
{
    for (int i = 0; i < party->team.n; i++) {
        char name[PLAIT_NAME_SIZE + 2];
        snprintf(name, sizeof name, "\"worker-%d\"", i);
        CHECK(strstr(reports->last, name));
    }
}

static void exactly_one_of_a_ring_fails_and_the_others_go_on(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        for (int n = 2; n <= MOST; n++) {
            struct party party;
            begin(NULL);
            start_ring(&party, s, n, false, PLAIT_FOREVER);
            UNTIL(SEEN(party.ring->done) == n);
            CHECK_EQ(party.ring->errors, 1);
            CHECK_EQ(SEEN(reports->n), 1);
            CHECK(strstr(reports->last, "plait: deadlock: "));
            check_named(&party);
            end_ring(&party, s);
        }
    }
}

static void a_ring_of_plain_locks_is_reported_once_and_waited_on(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct party party;
        begin(NULL);
        start_ring(&party, s, 3, true, PLAIT_FOREVER);
        UNTIL(SEEN(reports->n) == 1);
        let_them_look();
        CHECK_EQ(SEEN(reports->n), 1);
        CHECK(strstr(reports->last, "suspected deadlock"));
        check_named(&party);
        UNTIL(all_wait(&party, PL_WAIT_LOCK)); /* but for the moments in which they look */
        TELL(party.ring->taken_from, 1);
        release(party.ring, 1); /* a stranger may: then it is no deadlock any more */
        UNTIL(SEEN(party.ring->done) == 3);
        for (int i = 0; i < 3; i++)
            CHECK_RC(party.ring->rc[i], 0);
        end_ring(&party, s);
    }
}

static void a_wait_with_a_timeout_ends_the_ring_by_itself(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct party party;
        begin(NULL);
        start_ring(&party, s, 3, false, plait_ms(200));
        UNTIL(SEEN(party.ring->done) == 3);
        CHECK_EQ(party.ring->errors, 0);
        CHECK_EQ(SEEN(reports->n), 0);
        end_ring(&party, s);
    }
}

/* --- policies --- */

static void a_policy_may_fail_suspected_ones_too(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct party party;
        begin(NULL);
        CHECK_RC(plait_deadlock_policy(PLAIT_DEADLOCK_FAIL, 0), 0);
        start_ring(&party, s, 3, true, PLAIT_FOREVER);
        UNTIL(SEEN(party.ring->done) == 3);
        CHECK_EQ(party.ring->errors, 1);
        CHECK_EQ(SEEN(reports->n), 1);
        end_ring(&party, s);
    }
}

static void check_nobody_fails(enum plait_deadlock_policy policy, int expected_reports)
{
    FOR_EACH_SETTING(s)
    {
        struct party party;
        begin(NULL);
        CHECK_RC(plait_deadlock_policy(policy, 0), 0);
        start_ring(&party, s, 2, false, PLAIT_FOREVER);
        UNTIL(all_wait(&party, PL_WAIT_RLOCK));
        UNTIL(SEEN(reports->n) == expected_reports);
        let_them_look();
        CHECK_EQ(SEEN(reports->n), expected_reports);
        UNTIL(all_wait(&party, PL_WAIT_RLOCK));
        CHECK_RC(plait_cancel(party.team.workers[0]), 0);
        UNTIL(SEEN(party.ring->done) == 2);
        CHECK_EQ(party.ring->errors, 0);
        CHECK_RC(party.ring->rc[0], PLAIT_ECANCELED);
        CHECK_RC(party.ring->rc[1], 0);
        end_ring(&party, s);
    }
}

static void a_policy_may_only_report(void **state)
{
    (void)state;
    check_nobody_fails(PLAIT_DEADLOCK_REPORT, 1);
}

static void a_policy_may_ignore_them(void **state)
{
    (void)state;
    check_nobody_fails(PLAIT_DEADLOCK_IGNORE, 0);
}

static int abort_on_deadlock(void *unused)
{
    (void)unused;
    struct party party;
    CHECK_RC(plait_deadlock_policy(PLAIT_DEADLOCK_ABORT, plait_ms(5)), 0);
    signal(SIGABRT, SIG_DFL);
    start_ring(&party, &t_private_threads, 2, false, PLAIT_FOREVER);
    end_ring(&party, &t_private_threads);
    return 0;
}

static void a_policy_may_abort(void **state)
{
    (void)state;
    CHECK_EQ(t_in_fork(abort_on_deadlock, NULL), 1000 + SIGABRT);
    CHECK_EQ(SEEN(reports->n), 1);
}

static void bad_policies_are_refused(void **state)
{
    (void)state;
    CHECK_RC(plait_deadlock_policy((enum plait_deadlock_policy)9, 0), PLAIT_EINVAL);
    CHECK_RC(plait_deadlock_policy((enum plait_deadlock_policy)(-1), 0), PLAIT_EINVAL);
    CHECK_RC(plait_deadlock_policy(PLAIT_DEADLOCK_FAIL, -2), PLAIT_EINVAL);
    CHECK_RC(plait_deadlock_policy(PLAIT_DEADLOCK_FAIL, PLAIT_TIMEOUT_MAX + 1), PLAIT_EOVERFLOW);
    CHECK_RC(plait_deadlock_policy(PLAIT_DEADLOCK_FAIL, PLAIT_FOREVER), 0);
}

/* --- other waits --- */

static int acquire_own_lock(void *lock)
{
    CHECK_RC(plait_lock_acquire(lock, PLAIT_FOREVER), 0);
    CHECK_RC(plait_lock_acquire(lock, PLAIT_FOREVER), 0);
    return plait_lock_release(lock);
}

static void who_takes_a_plain_lock_twice_is_suspected(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        plait_lock *lock = t_new(s, sizeof *lock);
        begin(NULL);
        plait_worker w = t_start_one(s->kinds[0], acquire_own_lock, lock);
        UNTIL(SEEN(reports->n) == 1);
        CHECK(strstr(reports->last, "waits for itself"));
        CHECK_RC(plait_lock_release(lock), 0);
        CHECK_EQ(t_join_one(w), 0);
        CHECK_EQ(SEEN(reports->n), 1);
        t_delete(s, lock);
    }
}

/* Two that join each other. */
struct couple {
    plait_worker workers[2];
    int known, rc[2];
};
static struct couple *couple;

static struct {
    plait_rlock locks[2];
    int rc[2];
} crossing;

static int cross_over(void *who)
{
    int i = (int)(intptr_t)who;
    CHECK_RC(plait_rlock_acquire(&crossing.locks[i], PLAIT_FOREVER), 0);
    t_give_way();
    crossing.rc[i] = plait_rlock_acquire(&crossing.locks[!i], PLAIT_FOREVER);
    if (crossing.rc[i] == 0)
        CHECK_RC(plait_rlock_release(&crossing.locks[!i]), 0);
    return plait_rlock_release(&crossing.locks[i]);
}

/* Nobody else could find it for them: all are asleep on one thread. */
static void tasks_of_one_thread_are_named_and_one_gives_way(void **state)
{
    (void)state;
    static const char *const names[2] = {"adder", "carrier"};
    plait_worker tasks[2];
    begin(NULL);
    for (int i = 0; i < 2; i++)
        CHECK_RC(plait_start(&tasks[i], PLAIT_TASK, cross_over, (void *)(intptr_t)i,
                             &(plait_options){.name = names[i]}),
                 0);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(t_join_one(tasks[i]), 0);
    int failed = crossing.rc[0] ? 0 : 1;
    CHECK_RC(crossing.rc[failed], PLAIT_EDEADLK);
    CHECK_RC(crossing.rc[!failed], 0);
    CHECK_EQ(SEEN(reports->n), 1);
    CHECK(strstr(reports->last, "task \"adder\"") && strstr(reports->last, "task \"carrier\""));
}

static int join_the_other(void *who)
{
    int i = (int)(intptr_t)who;
    UNTIL(SEEN(couple->known));
    TELL(couple->rc[i], plait_join(couple->workers[!i], NULL, PLAIT_FOREVER));
    return 0;
}

static void of_two_that_join_each_other_one_fails(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        if (!s->shared ||
            (t_has_tasks(s) && t_has_processes(s))) /* no other process joins a task */
            continue;
        begin(NULL);
        couple = plait_alloc(sizeof *couple);
        for (int i = 0; i < 2; i++)
            couple->workers[i] = t_start_one(s->kinds[i], join_the_other, (void *)(intptr_t)i);
        TELL(couple->known, 1);
        int failed = -1;
        UNTIL((failed = SEEN(couple->rc[0]) ? 0 : SEEN(couple->rc[1]) ? 1 : -1) >= 0);
        CHECK_RC(couple->rc[failed], PLAIT_EDEADLK);
        /* Of two tasks of one thread the second is refused without a wait, as one that joins itself. */
        CHECK_EQ(SEEN(reports->n), s->kinds[0] != PLAIT_TASK || s->kinds[1] != PLAIT_TASK);
        CHECK(!SEEN(reports->n) || strstr(reports->last, "the end of a worker"));
        CHECK_EQ(t_join_one(couple->workers[!failed]),
                 0); /* which has joined the one that failed */
        plait_free(couple);
    }
}

/* A lock's holder joins a worker that waits for the lock. */
struct errand {
    plait_rlock lock;
    int rc;
};

static int take_and_tell(void *arg)
{
    struct errand *e = arg;
    TELL(e->rc, plait_rlock_acquire(&e->lock, PLAIT_FOREVER));
    return 0;
}

static void joining_a_worker_that_waits_for_ones_own_lock_is_a_deadlock(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct errand *e = t_new(s, sizeof *e);
        begin(NULL);
        CHECK_RC(plait_rlock_acquire(&e->lock, PLAIT_FOREVER), 0);
        plait_worker w = t_start_one(s->kinds[0], take_and_tell, e);
        int rc = plait_join(w, NULL, PLAIT_FOREVER);
        CHECK(rc == PLAIT_EDEADLK || (rc == 0 && e->rc == PLAIT_EDEADLK));
        CHECK_RC(plait_rlock_release(&e->lock), 0);
        if (rc < 0)
            CHECK_EQ(t_join_one(w), 0);
        CHECK_EQ(SEEN(reports->n), 1);
        t_delete(s, e);
    }
}

/* A gil is owned: who holds it and waits elsewhere cannot be made to hand it over by anybody. */
struct interpreter {
    plait_gil gil;
    plait_rlock cache;
    int holds_gil, rc;
};

static int take_cache_with_gil(void *arg)
{
    struct interpreter *in = arg;
    CHECK_RC(plait_gil_acquire(&in->gil, PLAIT_FOREVER), 0);
    TELL(in->holds_gil, 1);
    UNTIL(plait_rlock_locked(&in->cache));
    in->rc = plait_rlock_acquire(&in->cache, PLAIT_FOREVER);
    if (in->rc == 0)
        CHECK_RC(plait_rlock_release(&in->cache), 0);
    return plait_gil_release(&in->gil);
}

static void a_ring_with_a_gil_is_certain(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct interpreter *in = t_new(s, sizeof *in);
        begin(NULL);
        plait_worker w = t_start_one(s->kinds[0], take_cache_with_gil, in);
        UNTIL(SEEN(in->holds_gil));
        CHECK_RC(plait_rlock_acquire(&in->cache, PLAIT_FOREVER), 0);
        int rc = plait_gil_acquire(&in->gil, PLAIT_FOREVER);
        if (rc == 0)
            CHECK_RC(plait_gil_release(&in->gil), 0);
        CHECK_RC(plait_rlock_release(&in->cache), 0);
        CHECK_EQ(t_join_one(w), 0);
        CHECK_EQ((rc == PLAIT_EDEADLK) + (in->rc == PLAIT_EDEADLK), 1);
        CHECK_EQ(SEEN(reports->n), 1);
        t_delete(s, in);
    }
}

/* --- what is none --- */

static int hold_first(void *arg)
{
    struct ring *r = arg;
    CHECK_RC(acquire(r, 0, PLAIT_FOREVER), 0);
    COUNT(r->arrived);
    UNTIL(SEEN(r->go));
    release(r, 0);
    return 0;
}

static int hold_second_wait_for_first(void *arg)
{
    struct ring *r = arg;
    CHECK_RC(acquire(r, 1, PLAIT_FOREVER), 0);
    COUNT(r->arrived);
    CHECK_RC(acquire(r, 0, PLAIT_FOREVER), 0);
    release(r, 0);
    release(r, 1);
    return 0;
}

static int wait_for_second(void *arg)
{
    struct ring *r = arg;
    CHECK_RC(acquire(r, 1, PLAIT_FOREVER), 0);
    release(r, 1);
    return 0;
}

/* Also while the one at its end, on whom it all depends, is stopped: that is no death and no wait. */
static void a_chain_is_no_deadlock(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct ring *r = t_new(s, sizeof *r);
        begin(NULL);
        plait_worker first = t_start_one(s->kinds[1], hold_first, r);
        UNTIL(SEEN(r->arrived) == 1);
        plait_worker second = t_start_one(s->kinds[0], hold_second_wait_for_first, r);
        UNTIL(SEEN(r->arrived) == 2);
        plait_worker third = t_start_one(s->kinds[1], wait_for_second, r);
        UNTIL_WAITS(second, PL_WAIT_RLOCK);
        UNTIL_WAITS(third, PL_WAIT_RLOCK);
        if (t_is_all_processes(s))
            t_stop(first);
        let_them_look();
        CHECK_EQ(SEEN(reports->n), 0);
        if (t_is_all_processes(s))
            t_continue(first);
        TELL(r->go, 1);
        CHECK_EQ(t_join_one(first) | t_join_one(second) | t_join_one(third), 0);
        CHECK_EQ(SEEN(reports->n), 0);
        t_delete(s, r);
    }
}

/* --- a ring with locks in two processes' own memory --- */

static plait_rlock own; /* private: each process has its own */

struct far {
    plait_rlock a, b;
    int holds_own, holds_b, done, errors;
};

static int finish(struct far *f, int rc)
{
    if (rc == PLAIT_EDEADLK)
        COUNT(f->errors);
    COUNT(f->done);
    return rc;
}

static int hold_own_take_b(void *arg)
{
    struct far *f = arg;
    CHECK_RC(plait_rlock_acquire(&own, PLAIT_FOREVER), 0);
    TELL(f->holds_own, 1);
    int rc = finish(f, plait_rlock_acquire(&f->b, PLAIT_FOREVER));
    if (rc >= 0)
        CHECK_RC(plait_rlock_release(&f->b), 0);
    return plait_rlock_release(&own);
}

/* In a process of its own: its two threads are two of the ring. */
static int hold_a_take_own(void *arg)
{
    struct far *f = arg;
    CHECK_RC(plait_rlock_acquire(&f->a, PLAIT_FOREVER), 0);
    UNTIL(SEEN(f->holds_b));
    plait_worker w = t_start_one(PLAIT_THREAD, hold_own_take_b, f);
    UNTIL(SEEN(f->holds_own));
    int rc = finish(f, plait_rlock_acquire(&own, PLAIT_FOREVER));
    if (rc >= 0)
        CHECK_RC(plait_rlock_release(&own), 0);
    CHECK_RC(plait_rlock_release(&f->a), 0);
    return t_join_one(w);
}

static void a_ring_may_lead_through_another_process_own_memory(void **state)
{
    (void)state;
    struct far *f = plait_alloc(sizeof *f);
    begin(NULL);
    CHECK_RC(plait_rlock_acquire(&f->b, PLAIT_FOREVER), 0);
    TELL(f->holds_b, 1);
    plait_worker w = t_start_one(PLAIT_PROCESS, hold_a_take_own, f);
    UNTIL(SEEN(f->holds_own));
    int rc = finish(f, plait_rlock_acquire(&f->a, PLAIT_FOREVER));
    if (rc >= 0)
        CHECK_RC(plait_rlock_release(&f->a), 0);
    CHECK_RC(plait_rlock_release(&f->b), 0);
    CHECK_EQ(t_join_one(w), 0);
    CHECK_EQ(f->done, 3);
    CHECK_EQ(f->errors, 1);
    CHECK_EQ(SEEN(reports->n), 1);
    plait_free(f);
}

/* --- a log function that waits --- */

static struct desk {
    plait_rlock a, b, log;
    int has_a, inside, told, deepest, log_rc;
} * desk;

static void log_with_lock(const char *text, void *unused)
{
    (void)text;
    (void)unused;
    TELL(desk->inside, desk->inside + 1);
    if (desk->inside > desk->deepest)
        TELL(desk->deepest, desk->inside);
    COUNT(desk->told);
    if (desk->inside < 5)
        TELL(desk->log_rc, plait_rlock_acquire(&desk->log, PLAIT_FOREVER));
    if (SEEN(desk->log_rc) == 0)
        plait_rlock_release(&desk->log);
    TELL(desk->inside, desk->inside - 1);
}

static int take_log_and_a_then_b(void *unused)
{
    (void)unused;
    CHECK_RC(plait_rlock_acquire(&desk->log, PLAIT_FOREVER), 0);
    CHECK_RC(plait_rlock_acquire(&desk->a, PLAIT_FOREVER), 0);
    TELL(desk->has_a, 1);
    CHECK_RC(plait_rlock_acquire(&desk->b, PLAIT_FOREVER), 0);
    CHECK_RC(plait_rlock_release(&desk->b), 0);
    CHECK_RC(plait_rlock_release(&desk->a), 0);
    return plait_rlock_release(&desk->log);
}

/* It waits for one of those that it is told of: that ring is no reason to tell it again. */
static void a_log_function_that_waits_is_not_called_again(void **state)
{
    (void)state;
    static struct desk private_desk;
    desk = &private_desk;
    begin(NULL);
    plait_set_log(log_with_lock, NULL);
    CHECK_RC(plait_rlock_acquire(&desk->b, PLAIT_FOREVER), 0);
    plait_worker w = t_start_one(PLAIT_THREAD, take_log_and_a_then_b, NULL);
    UNTIL(SEEN(desk->has_a));
    UNTIL_WAITS(w, PL_WAIT_RLOCK);
    CHECK_RC(plait_rlock_acquire(&desk->a, PLAIT_FOREVER), PLAIT_EDEADLK);
    plait_set_log(keep, NULL);
    CHECK_RC(plait_rlock_release(&desk->b), 0);
    CHECK_EQ(t_join_one(w), 0);
    CHECK_EQ(desk->told, 1);
    CHECK_EQ(desk->deepest, 1);
    CHECK_RC(desk->log_rc, PLAIT_EDEADLK);
}

/* --- what the report says --- */

static plait_lock accounts_lock;

static void the_report_says_label_symbol_and_who(void **state)
{
    (void)state;
    begin(NULL);
    CHECK_RC(plait_label(&accounts_lock, "accounts"), 0);
    plait_worker w;
    CHECK_RC(plait_start(&w, PLAIT_THREAD, acquire_own_lock, &accounts_lock,
                         &(plait_options){.name = "clerk"}),
             0);
    UNTIL(SEEN(reports->n) == 1);
    char expected[80];
    snprintf(expected, sizeof expected, "thread \"clerk\" (pid %d, tid %d)", getpid(),
             plait_tid(w));
    CHECK(strstr(reports->last, expected));
    CHECK(strstr(reports->last, "a lock \"accounts\" at 0x"));
    CHECK(strstr(reports->last, "(accounts_lock)"));
    CHECK_RC(plait_lock_release(&accounts_lock), 0);
    CHECK_EQ(t_join_one(w), 0);
}

static plait_condition changed;

static int wait_for_change(void *unused)
{
    (void)unused;
    PLAIT_WITH(&changed)
        CHECK_RC(plait_condition_wait(&changed, PLAIT_FOREVER), 0);
    return 0;
}

/* Not under that of a word of plait's own. */
static void a_wait_for_a_condition_is_told_under_its_name(void **state)
{
    (void)state;
    struct pl_text text = {.length = 0};
    struct pl_wait_record record;
    CHECK_RC(plait_label(&changed, "changed"), 0);
    plait_worker w = t_start_one(PLAIT_THREAD, wait_for_change, NULL);
    UNTIL_WAITS(w, PL_WAIT_CONDITION);
    UNTIL(pl_wait_read(pl_slot_at(w.slot), &record));
    pl_text_add_wait(&text, &record);
    CHECK(strstr(text.bytes, "a condition \"changed\" at 0x"));
    CHECK(strstr(text.bytes, "(changed)"));
    PLAIT_WITH(&changed)
        CHECK_EQ(plait_condition_notify(&changed, 1), 1);
    CHECK_EQ(t_join_one(w), 0);
}

static void check_label(const void *object, const char *expected)
{
    char text[PLAIT_LABEL_SIZE];
    pl_label_get(object, getpid(), text, sizeof text);
    assert_string_equal(text, expected);
}

static void a_label_is_replaced_cut_and_removed(void **state)
{
    (void)state;
    static const char long_name[] = "0123456789012345678901234567890123456789";
    char cut[PLAIT_LABEL_SIZE];
    int object;
    snprintf(cut, sizeof cut, "%.*s", PLAIT_LABEL_SIZE - 1, long_name);
    CHECK_RC(plait_label(NULL, "x"), PLAIT_EINVAL);
    check_label(&object, "");
    CHECK_RC(plait_label(&object, "first"), 0);
    check_label(&object, "first");
    CHECK_RC(plait_label(&object, long_name), 0);
    check_label(&object, cut);
    CHECK_RC(plait_label(&object, NULL), 0);
    check_label(&object, "");
}

static void a_report_without_end_is_cut_and_ends_its_line(void **state)
{
    (void)state;
    struct pl_text text = {.length = 0};
    for (int i = 0; i < 1000; i++)
        pl_text_add(&text, "line %d\n", i);
    CHECK_EQ(strlen(text.bytes), sizeof text.bytes - 1);
    CHECK_EQ(strlen(text.bytes), text.length);
    assert_string_equal(text.bytes + text.length - 4, "...\n");
}

/* --- patience --- */

/* It still looks around for the dead, once a second. */
static void a_late_look_for_deadlocks_makes_no_nap_long(void **state)
{
    (void)state;
    static plait_lock lock;
    begin(NULL);
    CHECK_RC(plait_deadlock_policy(PLAIT_DEADLOCK_DEFAULT, plait_ms(3600 * 1000)), 0);
    CHECK_RC(plait_lock_acquire(&lock, PLAIT_FOREVER), 0);
    plait_worker w = t_start_one(PLAIT_THREAD, acquire_own_lock, &lock);
    UNTIL_WAITS(w, PL_WAIT_LOCK);
    UNTIL(SEEN(pl_slot_at(w.slot)->waits_seq) >= 3 * 2);
    CHECK_RC(plait_lock_release(&lock), 0);
    UNTIL(plait_lock_holder(&lock).slot == w.slot);
    UNTIL_WAITS(w, PL_WAIT_LOCK);
    CHECK_RC(plait_lock_release(&lock), 0);
    CHECK_EQ(t_join_one(w), 0);
    CHECK_EQ(SEEN(reports->n), 0);
}

/* --- words that may be gone --- */

static void a_word_in_memory_that_is_unmapped_is_not_read(void **state)
{
    (void)state;
    uint32_t seen = 0,
             *word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(word != MAP_FAILED);
    *word = 77;
    errno = EXDEV;
    CHECK(pl_memory_peek(word, &seen) && seen == 77);
    CHECK_EQ(munmap(word, 4096), 0);
    CHECK(!pl_memory_peek(word, &seen));
    CHECK_EQ(errno, EXDEV);
}

/* --- all asleep --- */

static int wait_for_event(void *event)
{
    return plait_event_wait(event, PLAIT_FOREVER) == PLAIT_ECANCELED ? 0 : 1;
}

static void *sleep_unknown(void *unused)
{
    pause();
    return unused;
}

static plait_event *never;

static int be_all_asleep(void)
{
    plait_worker w = t_start_one(PLAIT_PROCESS, wait_for_event, never);
    return plait_join(w, NULL, PLAIT_FOREVER);
}

static int be_asleep_but_for_a_thread(void)
{
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, sleep_unknown, NULL), 0);
    plait_worker w = t_start_one(PLAIT_THREAD, wait_for_event, never);
    return plait_join(w, NULL, PLAIT_FOREVER);
}

static int wait_for_descriptor(void *unused)
{
    int p[2];
    (void)unused;
    CHECK_EQ(pipe(p), 0);
    return plait_wait_fd(p[0], PLAIT_READABLE, PLAIT_FOREVER);
}

static int be_asleep_but_for_a_descriptor(void)
{
    t_start_one(PLAIT_PROCESS, wait_for_descriptor, NULL);
    return be_all_asleep();
}

struct table {
    plait_semaphore side[2];
};

static int serve(void *arg)
{
    struct table *table = arg;
    while (plait_semaphore_release(&table->side[0], 1) == 0)
        CHECK_RC(plait_semaphore_acquire(&table->side[1], PLAIT_FOREVER), 0);
    return 1;
}

static int answer(void *arg)
{
    struct table *table = arg;
    while (plait_semaphore_acquire(&table->side[0], PLAIT_FOREVER) == 0)
        CHECK_RC(plait_semaphore_release(&table->side[1], 1), 0);
    return 1;
}

/* Two play ping-pong; the others sleep, so that at each time someone looks whether all do. */
static int play(void)
{
    enum { SPECTATORS = 24 };
    struct table *table = plait_alloc(sizeof *table);
    t_start_one(PLAIT_THREAD, serve, table);
    plait_worker w = t_start_one(PLAIT_THREAD, answer, table);
    for (int i = 0; i < SPECTATORS; i++) {
        t_start_one(PLAIT_THREAD, wait_for_event, never);
        t_sleep(plait_ms(7));
    }
    return plait_join(w, NULL, PLAIT_FOREVER);
}

static const struct family {
    const char *name;
    int (*live)(void);
} families[] = {
    {"--asleep", be_all_asleep},
    {"--thread", be_asleep_but_for_a_thread},
    {"--play", play},
    {"--descriptor", be_asleep_but_for_a_descriptor},
};

/* Reads what comes for so long; how many bytes. */
static size_t listen_for(int fd, char *text, size_t size, int64_t time)
{
    size_t have = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    for (int64_t end = plait_now() + time, left; (left = end - plait_now()) > 0;)
        if (have < size && poll(&p, 1, (int)(left / plait_ms(1)) + 1) > 0) {
            ssize_t n = read(fd, text + have, size - have);
            if (n <= 0)
                break;
            have += (size_t)n;
        }
    return have;
}

/* How often a family says that all of it sleep: one of its own, so that nobody else in it is awake. Listens
 * for `time`, and, if asked to wait, before that until there is something to be heard. */
static int reports_of(const char *family, bool wait, int64_t time)
{
    static char text[1 << 16];
    int fds[2], n = 0;
    CHECK_EQ(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        close(fds[1]);
        execl("/proc/self/exe", "deadlock_test", family, NULL);
        _exit(9);
    }
    close(fds[1]);
    alarm(0);
    struct pollfd p = {.fd = fds[0], .events = POLLIN};
    if (wait)
        poll(&p, 1, 20 * 1000);
    text[listen_for(fds[0], text, sizeof text - 1, time)] = 0;
    kill(pid, SIGKILL);
    t_reap(pid);
    close(fds[0]);
    for (const char *at = text; (at = strstr(at, "workers sleep")); at++)
        n++;
    return n;
}

static void if_all_sleep_that_is_reported_once(void **state)
{
    (void)state;
#if PL_TSAN
    skip(); /* it starts a thread of its own, which for all plait knows might wake them */
#endif
    CHECK_EQ(reports_of("--asleep", true, plait_ms(800)), 1);
}

static void a_thread_that_is_not_known_might_wake_them(void **state)
{
    (void)state;
    CHECK_EQ(reports_of("--thread", false, plait_ms(800)), 0);
}

static void what_a_descriptor_belongs_to_might_wake_them(void **state)
{
    (void)state;
    CHECK_EQ(reports_of("--descriptor", false, plait_ms(600)), 0);
}

static void who_is_just_being_woken_is_not_asleep(void **state)
{
    (void)state;
    CHECK_EQ(reports_of("--play", false, plait_ms(1000)), 0);
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < sizeof families / sizeof families[0]; i++)
        if (strcmp(argv[1], families[i].name) == 0) {
            never = plait_alloc(sizeof *never);
            return families[i].live();
        }
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exactly_one_of_a_ring_fails_and_the_others_go_on),
        cmocka_unit_test(a_ring_of_plain_locks_is_reported_once_and_waited_on),
        cmocka_unit_test(a_wait_with_a_timeout_ends_the_ring_by_itself),
        cmocka_unit_test(a_policy_may_fail_suspected_ones_too),
        cmocka_unit_test(a_policy_may_only_report),
        cmocka_unit_test(a_policy_may_ignore_them),
        cmocka_unit_test(a_policy_may_abort),
        cmocka_unit_test(bad_policies_are_refused),
        cmocka_unit_test(who_takes_a_plain_lock_twice_is_suspected),
        cmocka_unit_test(tasks_of_one_thread_are_named_and_one_gives_way),
        cmocka_unit_test(of_two_that_join_each_other_one_fails),
        cmocka_unit_test(joining_a_worker_that_waits_for_ones_own_lock_is_a_deadlock),
        cmocka_unit_test(a_ring_with_a_gil_is_certain),
        cmocka_unit_test(a_chain_is_no_deadlock),
        cmocka_unit_test(a_ring_may_lead_through_another_process_own_memory),
        cmocka_unit_test(a_log_function_that_waits_is_not_called_again),
        cmocka_unit_test(the_report_says_label_symbol_and_who),
        cmocka_unit_test(a_wait_for_a_condition_is_told_under_its_name),
        cmocka_unit_test(a_label_is_replaced_cut_and_removed),
        cmocka_unit_test(a_word_in_memory_that_is_unmapped_is_not_read),
        cmocka_unit_test(a_report_without_end_is_cut_and_ends_its_line),
        cmocka_unit_test(a_late_look_for_deadlocks_makes_no_nap_long),
        cmocka_unit_test(if_all_sleep_that_is_reported_once),
        cmocka_unit_test(a_thread_that_is_not_known_might_wake_them),
        cmocka_unit_test(what_a_descriptor_belongs_to_might_wake_them),
        cmocka_unit_test(who_is_just_being_woken_is_not_asleep),
    };
    return cmocka_run_group_tests(tests, start_listening, NULL);
}
