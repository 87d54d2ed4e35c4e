/* The rwlock: a test per promise of include/plait/rwlock.h, and each misuse. */
#include "harness/harness.h"

#include "park/park.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WAITERS = 4, CROWD = 120 };

struct box {
    plait_rwlock rw;
    plait_rwlock more[PL_READINGS + 1];
    int reading, in, go; /* workers that read; that are in; what they wait for */
    int order;           /* counts those that get in, one after the other */
    int writer_at;       /* when the writer got in */
    struct t_waiter waiters[WAITERS];
};

static int acquire_read(void *rw, int64_t timeout)
{
    return plait_rwlock_acquire_read(rw, timeout);
}

static int acquire_write(void *rw, int64_t timeout)
{
    return plait_rwlock_acquire_write(rw, timeout);
}

static int pass_read(void *rw, int64_t timeout)
{
    int rc = plait_rwlock_acquire_read(rw, timeout);
    if (rc >= 0)
        CHECK_RC(plait_rwlock_release_read(rw), 0);
    return rc;
}

static int pass_write(void *rw, int64_t timeout)
{
    int rc = plait_rwlock_acquire_write(rw, timeout);
    if (rc >= 0)
        CHECK_RC(plait_rwlock_release_write(rw), 0);
    return rc;
}

static void check_is_free(plait_rwlock *rw)
{
    CHECK_EQ(plait_rwlock_readers(rw), 0);
    CHECK(plait_same(plait_rwlock_writer(rw), (plait_worker){0, 0}));
    CHECK_RC(pass_write(rw, PLAIT_NOWAIT), 0);
    CHECK_RC(pass_read(rw, PLAIT_NOWAIT), 0);
}

/* Starts a worker that makes the call, and waits until it is asleep in it. */
static plait_worker start_waiter(int kind, struct t_waiter *w, t_wait *call, plait_rwlock *rw)
{
    *w = (struct t_waiter){call, rw, PLAIT_FOREVER, 0, 0, 0};
    plait_worker worker = t_start_one(kind, t_wait_once, w);
    UNTIL_WAITS(worker, call == acquire_read || call == pass_read ? PL_WAIT_READ : PL_WAIT_WRITE);
    return worker;
}

/* Workers that hold it until told to let go. */
static int read_until_told(void *arg)
{
    struct box *b = arg;
    CHECK_RC(plait_rwlock_acquire_read(&b->rw, plait_seconds(T_PATIENCE_S)), 0);
    COUNT(b->reading);
    UNTIL(SEEN(b->go));
    ADD(b->reading, -1);
    CHECK_RC(plait_rwlock_release_read(&b->rw), 0);
    return 0;
}

static int write_until_told(void *arg)
{
    struct box *b = arg;
    CHECK_RC(plait_rwlock_acquire_write(&b->rw, plait_seconds(T_PATIENCE_S)), 0);
    TELL(b->in, 1);
    UNTIL(SEEN(b->go));
    CHECK_RC(plait_rwlock_release_write(&b->rw), 0);
    return 0;
}

static plait_worker start_reader(int kind, struct box *b)
{
    int before = SEEN(b->reading);
    plait_worker w = t_start_one(kind, read_until_told, b);
    UNTIL(SEEN(b->reading) == before + 1);
    return w;
}

static plait_worker start_writer(int kind, struct box *b)
{
    plait_worker w = t_start_one(kind, write_until_told, b);
    UNTIL(SEEN(b->in));
    return w;
}

/* --- without others --- */

static void without_an_arena_it_says_why_it_cannot_wait(void **state)
{
    (void)state;
    plait_rwlock rw = {0};
    t_check_no_arena(acquire_read, &rw);
    t_check_no_arena(acquire_write, &rw);
}

static void zeroed_memory_is_a_free_rwlock(void **state)
{
    (void)state;
    static plait_rwlock rw;
    check_is_free(&rw);
}

static void init_makes_it_free_whatever_it_was(void **state)
{
    (void)state;
    plait_rwlock rw;
    memset(&rw, 0xff, sizeof rw);
    CHECK_RC(plait_rwlock_init(&rw, NULL), 0);
    check_is_free(&rw);
    memset(&rw, 0xff, sizeof rw);
    CHECK_RC(plait_rwlock_init(&rw, &(plait_rwlock_options){0}), 0);
    check_is_free(&rw);
    CHECK_RC(plait_rwlock_acquire_read(&rw, PLAIT_NOWAIT), 0);
    CHECK_RC(plait_rwlock_init(&rw, &(plait_rwlock_options){.reserved = 1}), PLAIT_EINVAL);
    CHECK_EQ(plait_rwlock_readers(&rw), 1);
    CHECK_RC(plait_rwlock_release_read(&rw), 0);
}

static void null_is_refused(void **state)
{
    (void)state;
    plait_rwlock rw = {0};
    plait_blame blame;
    CHECK_RC(plait_rwlock_init(NULL, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_rwlock_acquire_read(NULL, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_rwlock_acquire_write(NULL, PLAIT_FOREVER), PLAIT_EINVAL);
    CHECK_RC(plait_rwlock_release_read(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_rwlock_release_write(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_rwlock_blame(NULL, &blame), PLAIT_EINVAL);
    CHECK_RC(plait_rwlock_blame(&rw, NULL), PLAIT_EINVAL);
    CHECK_EQ(plait_rwlock_readers(NULL), 0);
    CHECK(plait_same(plait_rwlock_writer(NULL), (plait_worker){0, 0}));
}

static void it_tells_who_writes_and_how_many_read(void **state)
{
    (void)state;
    plait_rwlock rw = {0};
    CHECK_RC(plait_rwlock_acquire_write(&rw, PLAIT_FOREVER), 0);
    CHECK(plait_same(plait_rwlock_writer(&rw), plait_self()));
    CHECK_EQ(plait_rwlock_readers(&rw), 0);
    CHECK_RC(plait_rwlock_release_write(&rw), 0);
    CHECK_RC(plait_rwlock_acquire_read(&rw, PLAIT_FOREVER), 0);
    CHECK(plait_same(plait_rwlock_writer(&rw), (plait_worker){0, 0}));
    CHECK_EQ(plait_rwlock_readers(&rw), 1);
    CHECK_RC(plait_rwlock_release_read(&rw), 0);
    check_is_free(&rw);
}

static void errno_is_left_alone(void **state)
{
    (void)state;
    struct box b = {0};
    plait_worker other = start_writer(PLAIT_THREAD, &b);
    errno = EXDEV;
    CHECK_RC(plait_rwlock_acquire_read(&b.rw, plait_ms(2)), PLAIT_ETIMEDOUT);
    CHECK_RC(plait_rwlock_acquire_write(&b.rw, plait_ms(2)), PLAIT_ETIMEDOUT);
    CHECK_RC(plait_rwlock_release_write(&b.rw), PLAIT_EPERM);
    CHECK_RC(plait_rwlock_release_read(&b.rw), PLAIT_EPERM);
    CHECK_EQ(errno, EXDEV);
    TELL(b.go, 1);
    CHECK_EQ(t_join_one(other), 0);
}

/* --- what waits for oneself, and what is not one's own --- */

static void a_reader_may_read_again_and_releases_as_often(void **state)
{
    (void)state;
    plait_rwlock rw = {0};
    for (int i = 0; i < 5; i++) {
        CHECK_RC(plait_rwlock_acquire_read(&rw, PLAIT_NOWAIT), 0);
        CHECK_EQ(plait_rwlock_readers(&rw), 1);
    }
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(plait_rwlock_readers(&rw), 1);
        CHECK_RC(plait_rwlock_release_read(&rw), 0);
    }
    CHECK_RC(plait_rwlock_release_read(&rw), PLAIT_EPERM);
    check_is_free(&rw);
}

static void reading_deeper_than_65535_is_refused(void **state)
{
    (void)state;
    plait_rwlock rw = {0};
    for (int i = 0; i < 65535; i++)
        CHECK_RC(plait_rwlock_acquire_read(&rw, PLAIT_NOWAIT), 0);
    CHECK_RC(plait_rwlock_acquire_read(&rw, PLAIT_NOWAIT), PLAIT_EAGAIN);
    for (int i = 0; i < 65535; i++)
        CHECK_RC(plait_rwlock_release_read(&rw), 0);
    CHECK_RC(plait_rwlock_release_read(&rw), PLAIT_EPERM);
    check_is_free(&rw);
}

static void what_would_wait_for_oneself_is_refused_at_once(void **state)
{
    (void)state;
    plait_rwlock rw = {0};
    CHECK_RC(plait_rwlock_acquire_write(&rw, PLAIT_FOREVER), 0);
    CHECK_RC(plait_rwlock_acquire_write(&rw, PLAIT_FOREVER), PLAIT_EDEADLK);
    CHECK_RC(plait_rwlock_acquire_read(&rw, PLAIT_FOREVER), PLAIT_EDEADLK);
    CHECK_RC(plait_rwlock_acquire_read(&rw, PLAIT_NOWAIT), PLAIT_EDEADLK);
    CHECK_EQ(plait_rwlock_readers(&rw), 0);
    CHECK(plait_same(plait_rwlock_writer(&rw), plait_self()));
    CHECK_RC(plait_rwlock_release_write(&rw), 0);
    CHECK_RC(plait_rwlock_release_write(&rw), PLAIT_EPERM);
    CHECK_RC(plait_rwlock_acquire_read(&rw, PLAIT_FOREVER), 0);
    CHECK_RC(plait_rwlock_acquire_write(&rw, PLAIT_FOREVER), PLAIT_EDEADLK);
    CHECK_RC(plait_rwlock_acquire_write(&rw, PLAIT_NOWAIT), PLAIT_EDEADLK);
    CHECK_EQ(plait_rwlock_readers(&rw), 1);
    CHECK_RC(plait_rwlock_release_read(&rw), 0);
    check_is_free(&rw);
}

/* Also if the way to the answer is the long one: a writer waits for the reader. */
static void a_reader_cannot_write_while_another_writer_waits_for_it(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        CHECK_RC(plait_rwlock_acquire_read(&b->rw, PLAIT_FOREVER), 0);
        plait_worker writer = start_waiter(s->kinds[1], &b->waiters[0], pass_write, &b->rw);
        CHECK_RC(plait_rwlock_acquire_write(&b->rw, PLAIT_FOREVER), PLAIT_EDEADLK);
        CHECK_RC(plait_rwlock_release_read(&b->rw), 0);
        CHECK_EQ(t_join_one(writer), 0);
        CHECK_RC(b->waiters[0].rc, 0);
        check_is_free(&b->rw);
        t_delete(s, b);
    }
}

static void a_reader_reads_again_although_a_writer_waits(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        CHECK_RC(plait_rwlock_acquire_read(&b->rw, PLAIT_FOREVER), 0);
        plait_worker writer = start_waiter(s->kinds[1], &b->waiters[0], pass_write, &b->rw);
        CHECK(plait_same(plait_rwlock_writer(&b->rw), (plait_worker){0, 0}));
        CHECK_RC(plait_rwlock_acquire_read(&b->rw, PLAIT_NOWAIT), 0);
        CHECK_RC(plait_rwlock_acquire_read(&b->rw, PLAIT_FOREVER), 0);
        for (int i = 0; i < 3; i++) {
            CHECK_EQ(SEEN(b->waiters[0].step), 1);
            CHECK_RC(plait_rwlock_release_read(&b->rw), 0);
        }
        CHECK_EQ(t_join_one(writer), 0);
        CHECK_RC(b->waiters[0].rc, 0);
        check_is_free(&b->rw);
        t_delete(s, b);
    }
}

static int release_what_is_not_mine(void *rw)
{
    CHECK_RC(plait_rwlock_release_read(rw), PLAIT_EPERM);
    CHECK_RC(plait_rwlock_release_write(rw), PLAIT_EPERM);
    plait_blame blame;
    CHECK_RC(plait_rwlock_blame(rw, &blame), PLAIT_EPERM);
    return 0;
}

static void only_who_acquired_it_may_release_it(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    for (int i = 0; i < 2; i++) {
        struct box *b = t_new(s, sizeof *b);
        CHECK_EQ(t_join_one(t_start_one(s->kinds[i], release_what_is_not_mine, &b->rw)), 0);
        CHECK_RC(plait_rwlock_acquire_write(&b->rw, PLAIT_FOREVER), 0);
        CHECK_EQ(t_join_one(t_start_one(s->kinds[i], release_what_is_not_mine, &b->rw)), 0);
        CHECK_RC(plait_rwlock_release_read(&b->rw), PLAIT_EPERM);
        CHECK_RC(plait_rwlock_release_write(&b->rw), 0);
        CHECK_RC(plait_rwlock_acquire_read(&b->rw, PLAIT_FOREVER), 0);
        CHECK_EQ(t_join_one(t_start_one(s->kinds[i], release_what_is_not_mine, &b->rw)), 0);
        CHECK_RC(plait_rwlock_release_write(&b->rw), PLAIT_EPERM);
        CHECK_RC(plait_rwlock_release_read(&b->rw), 0);
        check_is_free(&b->rw);
        t_delete(s, b);
    }
    plait_rwlock rw = {0};
    CHECK_EQ(t_in_pthread(release_what_is_not_mine, &rw), 0);
}

/* --- with others --- */

static void readers_are_in_together_and_keep_writers_out(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct t_team team;
        t_start(&team, s, WAITERS, read_until_told, b);
        UNTIL(SEEN(b->reading) == WAITERS);
        CHECK_EQ(plait_rwlock_readers(&b->rw), WAITERS);
        CHECK_RC(pass_write(&b->rw, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
        CHECK_RC(pass_write(&b->rw, plait_ms(5)), PLAIT_ETIMEDOUT);
        CHECK_RC(pass_read(&b->rw, PLAIT_NOWAIT), 0); /* no trace is left of the attempt */
        plait_worker writer = start_waiter(s->kinds[0], &b->waiters[0], pass_write, &b->rw);
        TELL(b->go, 1);
        t_join(&team);
        CHECK_EQ(t_join_one(writer), 0);
        CHECK_RC(b->waiters[0].rc, 0);
        check_is_free(&b->rw);
        t_delete(s, b);
    }
}

static void a_writer_is_in_alone(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        plait_worker writer = start_writer(s->kinds[1], b);
        CHECK(plait_same(plait_rwlock_writer(&b->rw), writer));
        CHECK_RC(pass_write(&b->rw, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
        CHECK_RC(pass_read(&b->rw, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
        CHECK_RC(pass_write(&b->rw, plait_ms(5)), PLAIT_ETIMEDOUT);
        CHECK_RC(pass_read(&b->rw, plait_ms(5)), PLAIT_ETIMEDOUT);
        CHECK_EQ(plait_rwlock_readers(&b->rw), 0);
        TELL(b->go, 1);
        CHECK_EQ(t_join_one(writer), 0);
        check_is_free(&b->rw);
        t_delete(s, b);
    }
}

/* --- who comes first --- */

static void a_waiting_writer_holds_up_new_readers(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        CHECK_RC(plait_rwlock_acquire_read(&b->rw, PLAIT_FOREVER), 0);
        plait_worker writer = start_waiter(s->kinds[0], &b->waiters[0], pass_write, &b->rw);
        plait_worker reader = start_waiter(s->kinds[1], &b->waiters[1], pass_read, &b->rw);
        CHECK_EQ(plait_rwlock_readers(&b->rw), 1);
        CHECK_RC(plait_rwlock_release_read(&b->rw), 0);
        CHECK_EQ(t_join_one(writer), 0);
        CHECK_EQ(t_join_one(reader), 0);
        check_is_free(&b->rw);
        t_delete(s, b);
    }
}

struct queuer {
    struct box *box;
    int came_in; /* its place in the order */
};

static int read_in_turn(void *arg)
{
    struct queuer *q = arg;
    CHECK_RC(plait_rwlock_acquire_read(&q->box->rw, plait_seconds(T_PATIENCE_S)), 0);
    TELL(q->came_in, COUNT(q->box->order));
    UNTIL(SEEN(q->box->go));
    return plait_rwlock_release_read(&q->box->rw);
}

static int write_in_turn(void *arg)
{
    struct queuer *q = arg;
    CHECK_RC(plait_rwlock_acquire_write(&q->box->rw, plait_seconds(T_PATIENCE_S)), 0);
    TELL(q->came_in, COUNT(q->box->order));
    return plait_rwlock_release_write(&q->box->rw);
}

struct line {
    struct box box;
    struct queuer writers[2], readers[WAITERS];
};

/* Two writers wait, then readers; the one inside leaves: all readers get in before any writer. */
static void readers_asleep_get_in_before_the_next_writer(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct line *l = t_new(s, sizeof *l);
        struct t_team team = {.n = 2 + WAITERS};
        CHECK_RC(plait_rwlock_acquire_write(&l->box.rw, PLAIT_FOREVER), 0);
        for (int i = 0; i < team.n; i++) {
            struct queuer *q = i < 2 ? &l->writers[i] : &l->readers[i - 2];
            q->box = &l->box;
            team.workers[i] = t_start_one(s->kinds[i % 2], i < 2 ? write_in_turn : read_in_turn, q);
            UNTIL_WAITS(team.workers[i], i < 2 ? PL_WAIT_WRITE : PL_WAIT_READ);
        }
        CHECK_RC(plait_rwlock_release_write(&l->box.rw), 0);
        UNTIL(SEEN(l->box.order) == WAITERS);
        CHECK_EQ(plait_rwlock_readers(&l->box.rw), WAITERS);
        for (int i = 0; i < 2; i++)
            UNTIL_WAITS(team.workers[i], PL_WAIT_WRITE);
        CHECK_RC(pass_read(&l->box.rw, PLAIT_NOWAIT),
                 PLAIT_ETIMEDOUT); /* now it is a writer's turn */
        TELL(l->box.go, 1);
        t_join(&team);
        for (int i = 0; i < 2; i++)
            CHECK(l->writers[i].came_in > WAITERS);
        check_is_free(&l->box.rw);
        t_delete(s, l);
    }
}

/* Stopped when it is its turn, it cannot hurry: the others wait all the same, and readers need not. */
static void a_writer_that_waited_long_is_served_before_other_writers(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    CHECK_RC(plait_rwlock_acquire_write(&b->rw, PLAIT_FOREVER), 0);
    plait_worker old = start_waiter(PLAIT_PROCESS, &b->waiters[0], pass_write, &b->rw);
    UNTIL(SEEN(b->rw.word_) & UINT32_C(0x20000000)); /* it has said so: RW_HUNGRY of rwlock.c */
    UNTIL_WAITS(old, PL_WAIT_WRITE);
    t_stop(old);
    CHECK_RC(plait_rwlock_release_write(&b->rw), 0);
    CHECK_RC(pass_write(&b->rw, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
    CHECK_RC(pass_write(&b->rw, plait_ms(2)), PLAIT_ETIMEDOUT);
    CHECK_RC(pass_read(&b->rw, PLAIT_NOWAIT), 0);
    t_continue(old);
    CHECK_EQ(t_join_one(old), 0);
    CHECK_RC(b->waiters[0].rc, 0);
    check_is_free(&b->rw);
    t_delete(&t_processes, b);
}

/* Even from asleep: as soon as they are let in they count. */
static void readers_are_in_when_release_write_returns(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct line *l = t_new(s, sizeof *l);
        struct t_team team = {.n = WAITERS};
        CHECK_RC(plait_rwlock_acquire_write(&l->box.rw, PLAIT_FOREVER), 0);
        for (int i = 0; i < WAITERS; i++) {
            l->readers[i].box = &l->box;
            team.workers[i] = t_start_one(s->kinds[i % 2], read_in_turn, &l->readers[i]);
            UNTIL_WAITS(team.workers[i], PL_WAIT_READ);
        }
        CHECK_RC(plait_rwlock_release_write(&l->box.rw), 0);
        CHECK_EQ(plait_rwlock_readers(&l->box.rw), WAITERS);
        CHECK_RC(plait_rwlock_acquire_write(&l->box.rw, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
        TELL(l->box.go, 1);
        t_join(&team);
        check_is_free(&l->box.rw);
        t_delete(s, l);
    }
}

static int64_t release_to_all(bool by_writer)
{
    enum { SETTINGS = 4 };
    struct box *b[SETTINGS];
    struct t_team teams[SETTINGS];
    for (int i = 0; i < SETTINGS; i++) {
        b[i] = t_new(&t_settings[i], sizeof *b[i]);
        CHECK_RC(by_writer ? acquire_write(&b[i]->rw, PLAIT_FOREVER)
                           : acquire_read(&b[i]->rw, PLAIT_FOREVER),
                 0);
        teams[i].n = WAITERS;
        for (int k = 0; k < WAITERS; k++)
            teams[i].workers[k] = start_waiter(t_settings[i].kinds[k % 2], &b[i]->waiters[k],
                                               k % 2 == 0 ? pass_write : pass_read, &b[i]->rw);
    }
    t_let_naps_grow();
    int64_t start = plait_now();
    for (int i = 0; i < SETTINGS; i++)
        CHECK_RC(by_writer ? plait_rwlock_release_write(&b[i]->rw)
                           : plait_rwlock_release_read(&b[i]->rw),
                 0);
    for (int i = 0; i < SETTINGS; i++)
        for (int k = 0; k < WAITERS; k++)
            UNTIL(SEEN(b[i]->waiters[k].step) == 2);
    int64_t took = plait_now() - start;
    for (int i = 0; i < SETTINGS; i++) {
        t_join(&teams[i]);
        t_delete(&t_settings[i], b[i]);
    }
    return took;
}

static int64_t last_reader_leaves(void)
{
    return release_to_all(false);
}

static int64_t writer_leaves(void)
{
    return release_to_all(true);
}

static void all_who_wait_get_through_at_once(void **state)
{
    (void)state;
    t_check_at_once(writer_leaves);
    t_check_at_once(last_reader_leaves);
}

/* --- rings --- */

static void keep_quiet(const char *text, void *reports)
{
    (void)text;
    COUNT(*(int *)reports);
}

/* Two workers, each holding what the other wants. */
struct ring {
    plait_rwlock rws[2];
    bool reads, wants_to_read; /* how both hold the one and want the other */
    int arrived, refused, reports;
};

struct ring_place {
    struct ring *ring;
    int i;
};

static int hold_one_and_want_the_other(void *arg)
{
    struct ring_place *place = arg;
    struct ring *r = place->ring;
    plait_rwlock *mine = &r->rws[place->i], *other = &r->rws[!place->i];
    CHECK_RC((r->reads ? acquire_read : acquire_write)(mine, PLAIT_FOREVER), 0);
    COUNT(r->arrived);
    UNTIL(SEEN(r->arrived) == 2);
    int rc = (r->wants_to_read ? pass_read : pass_write)(other, PLAIT_FOREVER);
    CHECK(rc == 0 || rc == PLAIT_EDEADLK);
    if (rc < 0)
        COUNT(r->refused);
    CHECK_RC((r->reads ? plait_rwlock_release_read : plait_rwlock_release_write)(mine), 0);
    return 0;
}

static void a_ring_of_workers_is_undone_by_refusing_one(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    for (int k = 0; k < 3; k++) {
        struct ring *r = t_new(s, sizeof *r);
        struct ring_place *places = t_new(s, 2 * sizeof *places);
        struct t_team team;
        r->reads = k == 0;
        r->wants_to_read = k == 1;
        CHECK_EQ(plait_set_log(keep_quiet, &r->reports), 0);
        for (int i = 0; i < 2; i++)
            places[i] = (struct ring_place){r, i};
        t_start_each(&team, s, 2, hold_one_and_want_the_other, places, sizeof *places);
        t_join(&team);
        CHECK_EQ(r->refused, 1);
        CHECK_EQ(r->reports, 1);
        for (int i = 0; i < 2; i++)
            check_is_free(&r->rws[i]);
        CHECK_EQ(plait_set_log(NULL, NULL), 0);
        t_delete(s, places);
        t_delete(s, r);
    }
}

static int read_twice_in_turn(void *arg)
{
    struct box *b = arg;
    CHECK_RC(plait_rwlock_acquire_read(&b->rw, PLAIT_FOREVER), 0);
    TELL(b->in, 1);
    UNTIL(SEEN(b->go));
    CHECK_RC(plait_rwlock_release_read(&b->rw), 0);
    CHECK_RC(plait_rwlock_acquire_read(&b->rw, PLAIT_FOREVER), 0);
    return plait_rwlock_release_read(&b->rw);
}

/* The writer has been woken and does not run: by what it has put on record it waits for the reader, who
 * waits for it. */
static void check_no_ring(struct box *b)
{
    plait_worker reader = t_start_one(PLAIT_PROCESS, read_twice_in_turn, b);
    UNTIL(SEEN(b->in));
    if (b->rw.overflow_)
        for (int i = 0; i < PLAIT_RWLOCK_ENTRIES_; i++)
            CHECK_RC(plait_rwlock_release_read(&b->rw), 0);
    plait_worker writer = start_waiter(PLAIT_PROCESS, &b->waiters[0], pass_write, &b->rw);
    t_stop(writer);
    TELL(b->go, 1);
    UNTIL_WAITS(reader, PL_WAIT_READ);
    t_sleep(plait_ms(100)); /* time enough for several looks for a deadlock */
    t_continue(writer);
    CHECK_EQ(t_join_one(writer), 0);
    CHECK_RC(b->waiters[0].rc, 0);
    CHECK_EQ(t_join_one(reader), 0);
    check_is_free(&b->rw);
}

static void a_reader_that_comes_again_while_the_writer_is_stopped_is_no_ring(void **state)
{
    (void)state;
    for (int crowded = 0; crowded < 2; crowded++) {
        struct box *b = t_new(&t_processes, sizeof *b);
        if (crowded) { /* the reader has to use the registry */
            CHECK_RC(plait_rwlock_acquire_read(&b->rw, PLAIT_FOREVER), 0);
            for (int i = 0; i < PLAIT_RWLOCK_ENTRIES_; i++)
                b->rw.readers_[i].id_ = pl_self.id;
        }
        check_no_ring(b);
        t_delete(&t_processes, b);
    }
}

/* --- more readers than entries --- */

/* More than a team: threads, at once in the same rwlock. */
struct crowd {
    struct box *b;
    pthread_t threads[CROWD];
    plait_worker processes[8];
    int n_processes;
};

static void *crowd_reads(void *arg)
{
    read_until_told(arg);
    return NULL;
}

static void start_crowd(struct crowd *c, struct box *b, int n_processes)
{
    c->b = b;
    c->n_processes = n_processes;
    for (int i = 0; i < n_processes; i++)
        c->processes[i] = t_start_one(PLAIT_PROCESS, read_until_told, b);
    for (int i = 0; i < CROWD; i++)
        CHECK(pthread_create(&c->threads[i], NULL, crowd_reads, b) == 0);
}

static void join_crowd(struct crowd *c)
{
    for (int i = 0; i < CROWD; i++)
        CHECK(pthread_join(c->threads[i], NULL) == 0);
    for (int i = 0; i < c->n_processes; i++)
        CHECK_EQ(t_join_one(c->processes[i]), 0);
}

static void more_than_100_read_at_once_and_a_writer_waits_for_all(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct crowd c;
        int n = t_has_processes(s) ? 8 : 0;
        start_crowd(&c, b, n);
        UNTIL(SEEN(b->reading) == CROWD + n);
        CHECK_EQ(plait_rwlock_readers(&b->rw), CROWD + n);
        CHECK_RC(pass_write(&b->rw, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
        plait_worker writer = start_waiter(s->kinds[0], &b->waiters[0], pass_write, &b->rw);
        CHECK_RC(pass_read(&b->rw, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
        TELL(b->go, 1);
        CHECK_EQ(t_join_one(writer), 0);
        CHECK_EQ(SEEN(b->reading), 0);
        join_crowd(&c);
        check_is_free(&b->rw);
        CHECK_EQ(b->rw.overflow_, 0); /* writers need not look through the registry any more */
        t_delete(s, b);
    }
}

static int asleep_to_read(void)
{
    plait_worker all[CROWD + 100];
    int asleep = 0, n = plait_enumerate(all, CROWD + 100);
    for (int i = 0; i < n; i++)
        asleep += t_waits(all[i], PL_WAIT_READ);
    return asleep;
}

static void more_than_100_asleep_get_in_before_the_next_writer(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct box *b = t_new(s, sizeof *b);
        struct crowd c;
        int n = t_has_processes(s) ? 8 : 0;
        CHECK_RC(plait_rwlock_acquire_write(&b->rw, PLAIT_FOREVER), 0);
        start_crowd(&c, b, n);
        UNTIL(asleep_to_read() == CROWD + n);
        CHECK_RC(plait_rwlock_release_write(&b->rw), 0);
        CHECK_EQ(plait_rwlock_readers(&b->rw), CROWD + n);
        CHECK_RC(pass_write(&b->rw, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
        UNTIL(SEEN(b->reading) == CROWD + n);
        TELL(b->go, 1);
        join_crowd(&c);
        check_is_free(&b->rw);
        t_delete(s, b);
    }
}

/* Fills the entries with other readers, so that the caller has to use the registry. */
struct filler {
    plait_rwlock *rws;
    int n, *in, *go;
};

static int fill_one(void *arg)
{
    struct filler *f = arg;
    for (int i = 0; i < f->n; i++)
        CHECK_RC(plait_rwlock_acquire_read(&f->rws[i], PLAIT_FOREVER), 0);
    COUNT(*f->in);
    UNTIL(SEEN(*f->go));
    for (int i = 0; i < f->n; i++)
        CHECK_RC(plait_rwlock_release_read(&f->rws[i]), 0);
    return 0;
}

static void crowded_rwlocks_are_read_deep_and_up_to_4_at_once(void **state)
{
    (void)state;
    const struct t_setting *both[] = {&t_private_threads, &t_threads};
    for (int k = 0; k < 2; k++) {
        struct box *b = t_new(both[k], sizeof *b);
        struct filler f = {b->more, PL_READINGS + 1, &b->in, &b->go};
        struct t_team team;
        t_start(&team, both[k], PLAIT_RWLOCK_ENTRIES_, fill_one, &f);
        UNTIL(SEEN(b->in) == PLAIT_RWLOCK_ENTRIES_);
        for (int i = 0; i < PL_READINGS; i++)
            for (int depth = 0; depth < 3; depth++) {
                CHECK_RC(plait_rwlock_acquire_read(&b->more[i], PLAIT_NOWAIT), 0);
                CHECK_EQ(plait_rwlock_readers(&b->more[i]), PLAIT_RWLOCK_ENTRIES_ + 1);
                CHECK_RC(plait_rwlock_acquire_write(&b->more[i], PLAIT_NOWAIT), PLAIT_EDEADLK);
            }
        CHECK_RC(plait_rwlock_acquire_read(&b->more[PL_READINGS], PLAIT_NOWAIT), PLAIT_EAGAIN);
        CHECK_EQ(plait_rwlock_readers(&b->more[PL_READINGS]), PLAIT_RWLOCK_ENTRIES_);
        for (int i = 0; i < PL_READINGS; i++)
            for (int depth = 0; depth < 3; depth++)
                CHECK_RC(plait_rwlock_release_read(&b->more[i]), 0);
        for (int i = 0; i <= PL_READINGS; i++)
            CHECK_RC(plait_rwlock_release_read(&b->more[i]), PLAIT_EPERM);
        CHECK_RC(plait_rwlock_acquire_read(&b->more[PL_READINGS], PLAIT_NOWAIT), 0);
        CHECK_RC(plait_rwlock_release_read(&b->more[PL_READINGS]), 0);
        TELL(b->go, 1);
        t_join(&team);
        for (int i = 0; i <= PL_READINGS; i++)
            check_is_free(&b->more[i]);
        t_delete(both[k], b);
    }
}

/* --- time --- */

static void bad_timeouts_are_refused_free_and_held(void **state)
{
    (void)state;
    struct box b = {0};
    t_check_bad_timeouts(acquire_read, &b.rw);
    t_check_bad_timeouts(acquire_write, &b.rw);
    plait_worker writer = start_writer(PLAIT_THREAD, &b);
    t_check_bad_timeouts(acquire_read, &b.rw);
    t_check_bad_timeouts(acquire_write, &b.rw);
    TELL(b.go, 1);
    CHECK_EQ(t_join_one(writer), 0);
    check_is_free(&b.rw);
}

/* What each blocking call promises, while a writer is inside, while readers are, with others asleep. */
static void check_waits(const struct t_setting *s, struct box *b, t_wait *call)
{
    t_check_time(call, &b->rw);
    t_check_signals(call, &b->rw);
    t_check_cancel(s, call, &b->rw);
    t_check_cancel_pending(s, call, &b->rw);
    t_check_cancel_counts(s, call, &b->rw);
    t_check_uncancel(s, call, &b->rw);
}

static void waits_end_by_time_and_cancellation_and_leave_no_trace(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    for (int by_writer = 0; by_writer < 2; by_writer++) {
        struct box *b = t_new(s, sizeof *b);
        plait_worker holder =
            by_writer ? start_writer(s->kinds[0], b) : start_reader(s->kinds[0], b);
        check_waits(s, b, acquire_write);
        if (by_writer)
            check_waits(s, b, acquire_read);
        CHECK_RC(pass_read(&b->rw, PLAIT_NOWAIT), by_writer ? PLAIT_ETIMEDOUT : 0);
        CHECK_EQ(plait_rwlock_readers(&b->rw), !by_writer);
        TELL(b->go, 1);
        CHECK_EQ(t_join_one(holder), 0);
        check_is_free(&b->rw);
        t_delete(s, b);
    }
}

/* Readers that wait behind a writer go on when it gives up, at once. */
static int64_t writer_gives_up(void)
{
    struct box *b = t_new(&t_mixed, sizeof *b);
    struct t_team team = {.n = 2};
    CHECK_RC(plait_rwlock_acquire_read(&b->rw, PLAIT_FOREVER), 0);
    plait_worker writer = start_waiter(PLAIT_PROCESS, &b->waiters[0], pass_write, &b->rw);
    for (int i = 0; i < 2; i++)
        team.workers[i] = start_waiter(t_mixed.kinds[i], &b->waiters[1 + i], pass_read, &b->rw);
    t_let_naps_grow();
    int64_t start = plait_now();
    CHECK_RC(plait_cancel(writer), 0);
    UNTIL(SEEN(b->waiters[1].step) == 2 && SEEN(b->waiters[2].step) == 2);
    int64_t took = plait_now() - start;
    CHECK_EQ(t_join_one(writer), 0);
    CHECK_RC(b->waiters[0].rc, PLAIT_ECANCELED);
    t_join(&team);
    CHECK_RC(plait_rwlock_release_read(&b->rw), 0);
    check_is_free(&b->rw);
    t_delete(&t_mixed, b);
    return took;
}

static void readers_go_on_when_the_writer_before_them_gives_up(void **state)
{
    (void)state;
    t_check_at_once(writer_gives_up);
}

/* --- death --- */

static int read_and_sleep(void *arg)
{
    struct box *b = arg;
    CHECK_RC(plait_rwlock_acquire_read(&b->rw, PLAIT_FOREVER), 0);
    CHECK_RC(plait_rwlock_acquire_read(&b->rw, PLAIT_FOREVER), 0);
    TELL(b->in, 1);
    t_sleep_for_ever();
}

static int write_and_sleep(void *arg)
{
    struct box *b = arg;
    int rc = plait_rwlock_acquire_write(&b->rw, PLAIT_FOREVER);
    CHECK(rc >= 0);
    TELL(b->in, 1);
    t_sleep_for_ever();
}

static plait_worker start_doomed(struct box *b, plait_function *fn)
{
    TELL(b->in, 0);
    plait_worker w = t_start_one(PLAIT_PROCESS, fn, b);
    UNTIL(SEEN(b->in));
    return w;
}

static void a_dead_reader_is_forgotten_without_notice(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    t_kill(start_doomed(b, read_and_sleep));
    CHECK_RC(pass_read(&b->rw, PLAIT_NOWAIT), 0);
    CHECK_RC(pass_write(&b->rw, PLAIT_NOWAIT), 0);
    check_is_free(&b->rw);
    t_delete(&t_processes, b);
}

static int64_t reader_dies(void)
{
    struct box *b = t_new(&t_mixed, sizeof *b);
    plait_worker doomed = start_doomed(b, read_and_sleep), writers[2];
    for (int i = 0; i < 2; i++)
        writers[i] = start_waiter(t_mixed.kinds[i], &b->waiters[i], pass_write, &b->rw);
    t_let_naps_grow();
    int64_t start = plait_now();
    t_kill(doomed);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(t_join_one(writers[i]), 0);
        CHECK_RC(b->waiters[i].rc, 0);
    }
    int64_t took = plait_now() - start;
    check_is_free(&b->rw);
    t_delete(&t_mixed, b);
    return took;
}

static void a_readers_death_wakes_the_writer_at_once(void **state)
{
    (void)state;
    t_check_at_once(reader_dies);
}

static void check_blamed(plait_rwlock *rw, plait_worker dead)
{
    plait_blame blame;
    CHECK_RC(plait_rwlock_blame(rw, &blame), 0);
    CHECK(plait_same(blame.worker, dead));
    CHECK_EQ(blame.signal, SIGKILL);
}

static void after_a_writers_death_all_are_told_until_a_writer_was(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    plait_blame blame;
    plait_worker dead = start_doomed(b, write_and_sleep);
    t_kill(dead); /* joined: of what it died is known */
    for (int i = 0; i < 2; i++) {
        CHECK_RC(plait_rwlock_acquire_read(&b->rw, PLAIT_FOREVER), PLAIT_OWNER_DIED);
        check_blamed(&b->rw, dead);
        check_blamed(&b->rw, dead);
        CHECK_RC(plait_rwlock_release_read(&b->rw), 0);
    }
    CHECK_RC(plait_rwlock_acquire_write(&b->rw, PLAIT_FOREVER), PLAIT_OWNER_DIED);
    check_blamed(&b->rw, dead);
    CHECK_RC(plait_rwlock_blame(&b->rw, &blame), PLAIT_ESRCH);
    CHECK_RC(plait_rwlock_release_write(&b->rw), 0);
    CHECK_RC(plait_rwlock_acquire_read(&b->rw, PLAIT_FOREVER), 0);
    CHECK_RC(plait_rwlock_blame(&b->rw, &blame), PLAIT_ESRCH);
    CHECK_RC(plait_rwlock_release_read(&b->rw), 0);
    check_is_free(&b->rw);
    t_delete(&t_processes, b);
}

static void if_the_next_writer_dies_too_it_is_the_one_blamed(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    plait_worker dead[2];
    for (int i = 0; i < 2; i++) {
        dead[i] = start_doomed(b, write_and_sleep);
        t_kill(dead[i]);
    }
    CHECK_RC(plait_rwlock_acquire_write(&b->rw, PLAIT_FOREVER), PLAIT_OWNER_DIED);
    check_blamed(&b->rw, dead[1]);
    CHECK_RC(plait_rwlock_release_write(&b->rw), 0);
    check_is_free(&b->rw);
    t_delete(&t_processes, b);
}

static int64_t writer_dies(void)
{
    struct box *b = t_new(&t_mixed, sizeof *b);
    struct t_team team = {.n = WAITERS};
    int told = 0;
    plait_worker doomed = start_doomed(b, write_and_sleep);
    for (int i = 0; i < WAITERS; i++)
        team.workers[i] = start_waiter(t_mixed.kinds[i % 2], &b->waiters[i],
                                       i == 0 || i == 3 ? pass_write : pass_read, &b->rw);
    t_let_naps_grow();
    int64_t start = plait_now();
    t_kill(doomed);
    t_join(&team);
    int64_t took = plait_now() - start;
    for (int i = 0; i < WAITERS; i += 3)
        told += b->waiters[i].rc == PLAIT_OWNER_DIED;
    CHECK_EQ(told, 1);
    check_is_free(&b->rw);
    t_delete(&t_mixed, b);
    return took;
}

static void a_writers_death_wakes_all_at_once_and_one_writer_is_told(void **state)
{
    (void)state;
    t_check_at_once(writer_dies);
}

/* It never was inside. */
static void a_waiting_writers_death_is_no_notice(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    CHECK_RC(plait_rwlock_acquire_read(&b->rw, PLAIT_FOREVER), 0);
    plait_worker first = start_waiter(PLAIT_PROCESS, &b->waiters[0], acquire_write, &b->rw);
    plait_worker second = start_waiter(PLAIT_PROCESS, &b->waiters[1], acquire_write, &b->rw);
    plait_worker reader = start_waiter(PLAIT_PROCESS, &b->waiters[2], pass_read, &b->rw);
    t_kill(first);
    UNTIL_WAITS(second, PL_WAIT_WRITE);
    t_kill(second);
    CHECK_EQ(t_join_one(reader), 0);
    CHECK_RC(b->waiters[2].rc, 0);
    CHECK_RC(plait_rwlock_release_read(&b->rw), 0);
    check_is_free(&b->rw);
    t_delete(&t_processes, b);
}

static void stopped_waiters_hold_up_nobody_else(void **state)
{
    (void)state;
    struct box *b = t_new(&t_mixed, sizeof *b);
    CHECK_RC(plait_rwlock_acquire_write(&b->rw, PLAIT_FOREVER), 0);
    plait_worker stopped = start_waiter(PLAIT_PROCESS, &b->waiters[0], pass_read, &b->rw);
    plait_worker other = start_waiter(PLAIT_PROCESS, &b->waiters[1], pass_read, &b->rw);
    t_stop(stopped);
    CHECK_RC(plait_rwlock_release_write(&b->rw), 0);
    CHECK_EQ(t_join_one(other), 0);
    CHECK_EQ(plait_rwlock_readers(&b->rw), 1); /* it is in, though it does not know yet */
    CHECK_RC(pass_read(&b->rw, PLAIT_NOWAIT), 0);
    t_continue(stopped);
    CHECK_EQ(t_join_one(stopped), 0);
    check_is_free(&b->rw);
    t_delete(&t_mixed, b);
}

/* A thread that ends while it reads or writes is as dead as a killed process. */
static int read_and_end(void *rw)
{
    return plait_rwlock_acquire_read(rw, PLAIT_FOREVER);
}

static int write_and_end(void *rw)
{
    int rc = plait_rwlock_acquire_write(rw, PLAIT_FOREVER);
    return rc < 0 ? rc : 0;
}

static void who_ends_without_release_counts_as_dead(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    for (int i = 0; i < 2; i++) {
        struct box *b = t_new(s, sizeof *b);
        CHECK_EQ(t_join_one(t_start_one(s->kinds[i], read_and_end, &b->rw)), 0);
        CHECK_RC(pass_write(&b->rw, PLAIT_FOREVER), 0);
        CHECK_EQ(t_join_one(t_start_one(s->kinds[i], write_and_end, &b->rw)), 0);
        CHECK_RC(pass_read(&b->rw, PLAIT_FOREVER), PLAIT_OWNER_DIED);
        CHECK_RC(pass_write(&b->rw, PLAIT_FOREVER), PLAIT_OWNER_DIED);
        check_is_free(&b->rw);
        t_delete(s, b);
    }
}

/* Dead readers' entries are used again although no writer ever comes by. */
static void dead_readers_leave_no_crowd(void **state)
{
    (void)state;
    struct box *b = t_new(&t_threads, sizeof *b);
    for (int i = 0; i < 3 * PLAIT_RWLOCK_ENTRIES_; i++)
        CHECK_EQ(t_in_pthread(read_and_end, &b->rw), 0);
    CHECK_EQ(b->rw.overflow_, 0);
    CHECK_EQ(plait_rwlock_readers(&b->rw), 0);
    check_is_free(&b->rw);
    t_delete(&t_threads, b);
}

/* --- fork in user code --- */

static plait_rwlock copied; /* private: each process has its own */

static int use_copied_read(void *unused)
{
    (void)unused;
    CHECK_RC(plait_rwlock_release_read(&copied), PLAIT_EPERM);
    CHECK_RC(pass_read(&copied, PLAIT_FOREVER), 0);
    CHECK_RC(pass_write(&copied, PLAIT_FOREVER), 0);
    check_is_free(&copied);
    return 0;
}

static int use_copied_written(void *unused)
{
    (void)unused;
    CHECK_RC(plait_rwlock_release_write(&copied), PLAIT_EPERM);
    CHECK_RC(pass_read(&copied, PLAIT_FOREVER), PLAIT_OWNER_DIED);
    CHECK_RC(pass_write(&copied, PLAIT_FOREVER), PLAIT_OWNER_DIED);
    CHECK_RC(pass_write(&copied, PLAIT_FOREVER), 0);
    check_is_free(&copied);
    return 0;
}

static int write_copied(void *unused)
{
    (void)unused;
    CHECK_RC(pass_write(&copied, PLAIT_FOREVER), PLAIT_OWNER_DIED);
    check_is_free(&copied);
    return 0;
}

static void who_held_a_private_rwlock_at_fork_is_gone_for_the_child(void **state)
{
    (void)state;
    CHECK_RC(plait_rwlock_acquire_read(&copied, PLAIT_FOREVER), 0);
    CHECK_EQ(t_in_fork(use_copied_read, NULL), 0);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, use_copied_read, NULL)), 0);
    CHECK_EQ(plait_rwlock_readers(&copied), 1); /* the parent's is untouched */
    CHECK_RC(plait_rwlock_release_read(&copied), 0);
    CHECK_RC(plait_rwlock_acquire_write(&copied, PLAIT_FOREVER), 0);
    CHECK_EQ(t_in_fork(use_copied_written, NULL), 0);
    CHECK_EQ(t_in_fork(write_copied, NULL), 0);
    CHECK(plait_same(plait_rwlock_writer(&copied), plait_self()));
    CHECK_RC(plait_rwlock_release_write(&copied), 0);
    check_is_free(&copied);
}

static void who_waited_for_a_private_rwlock_at_fork_is_gone_for_the_child(void **state)
{
    (void)state;
    struct t_waiter w[4];
    plait_worker others[4];
    CHECK_RC(plait_rwlock_acquire_write(&copied, PLAIT_FOREVER), 0);
    for (int i = 0; i < 4; i++)
        others[i] = start_waiter(PLAIT_THREAD, &w[i], i < 2 ? pass_write : pass_read, &copied);
    CHECK_EQ(t_in_fork(use_copied_written, NULL), 0);
    CHECK_EQ(t_in_fork(write_copied, NULL), 0);
    CHECK_RC(plait_rwlock_release_write(&copied), 0);
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(t_join_one(others[i]), 0);
        CHECK_RC(w[i].rc, 0);
    }
    check_is_free(&copied);
}

static int wait_as_child(void *arg)
{
    struct box *b = arg;
    CHECK_RC(pass_write(&b->rw, plait_ms(2)), PLAIT_ETIMEDOUT);
    CHECK_RC(plait_rwlock_release_read(&b->rw), PLAIT_EPERM);
    CHECK_RC(pass_read(&b->rw, PLAIT_FOREVER), 0);
    return 0;
}

static void in_the_arena_a_forked_child_is_another_worker(void **state)
{
    (void)state;
    struct box *b = t_new(&t_processes, sizeof *b);
    CHECK_RC(plait_rwlock_acquire_read(&b->rw, PLAIT_FOREVER), 0);
    CHECK_EQ(t_in_fork(wait_as_child, b), 0);
    CHECK_EQ(plait_rwlock_readers(&b->rw), 1);
    CHECK_RC(plait_rwlock_release_read(&b->rw), 0);
    check_is_free(&b->rw);
    t_delete(&t_processes, b);
}

/* --- memory that is shared, but not the arena's --- */

static void shared_memory_of_the_programs_own_is_refused_when_noticed(void **state)
{
    (void)state;
    struct box *b =
        mmap(NULL, sizeof *b, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(b != MAP_FAILED);
    plait_worker holder = start_writer(PLAIT_PROCESS, b);
    CHECK_RC(pass_read(&b->rw, PLAIT_FOREVER), PLAIT_EPRIVATE);
    CHECK_RC(pass_write(&b->rw, PLAIT_FOREVER), PLAIT_EPRIVATE);
    TELL(b->go, 1);
    CHECK_EQ(t_join_one(holder), 0);
    TELL(b->go, 0);
    holder = start_reader(PLAIT_PROCESS, b);
    CHECK_RC(pass_write(&b->rw, PLAIT_FOREVER), PLAIT_EPRIVATE);
    CHECK_EQ(plait_rwlock_readers(&b->rw), 1);
    TELL(b->go, 1);
    CHECK_EQ(t_join_one(holder), 0);
    check_is_free(&b->rw);
    CHECK_EQ(munmap(b, sizeof *b), 0);
}

#ifdef PL_STEP_HOOKS
/* --- every interleaving of a wait with a release and a request to stop --- */

/* The holder is a thread that does as it is told, for the caller cannot hold what it waits for. */
struct meeting {
    plait_rwlock rw; /* first: the object of the call */
    int order, done; /* what the holder is to do, and has done: 1 write, 2 read, 3 let go, 4 end */
    bool by_writer;
};

static int obey(void *arg)
{
    struct meeting *g = arg;
    int held = 0, order;
    do {
        UNTIL((order = SEEN(g->order)) != SEEN(g->done));
        if (order == 1)
            CHECK_RC(plait_rwlock_acquire_write(&g->rw, PLAIT_FOREVER), 0);
        else if (order == 2)
            CHECK_RC(plait_rwlock_acquire_read(&g->rw, PLAIT_FOREVER), 0);
        else if (order == 3)
            CHECK_RC(held == 1 ? plait_rwlock_release_write(&g->rw)
                               : plait_rwlock_release_read(&g->rw),
                     0);
        held = order;
        TELL(g->done, order);
    } while (order != 4);
    return 0;
}

static void tell(struct meeting *g, int order)
{
    TELL(g->order, order);
    UNTIL(SEEN(g->done) == order);
}

static bool let_go(void *meeting)
{
    tell(meeting, 3);
    return true;
}

static t_wait *met;

static int meet(void *arg, long i, long k)
{
    struct meeting *g = arg;
    struct t_meddling m = {.deeds = {let_go, t_cancel_me}, .at = {i, k}};
    for (int try = 0; try < T_TRIES; try++) {
        tell(g, g->by_writer ? 1 : 2);
        int rc = t_meddle(&m, met, &g->rw, plait_ms(T_SHORT_MS));
        t_check_canceled_once(&m, rc);
        if (!m.done[0])
            tell(g, 3);
        check_is_free(&g->rw);
        if ((!m.done[0] && !m.done[1]) || m.took < plait_ms(T_TOO_LONG_MS))
            return t_came_late(&m);
    }
    t_die(__FILE__, __LINE__, "deeds at steps %ld and %ld, and it slept on", i, k);
}

static void at_each_step_what_meets_a_wait_is_heard(void **state)
{
    (void)state;
    static const struct {
        const struct t_setting *setting;
        t_wait *call;
        bool by_writer;
    } cases[] = {{&t_private_threads, pass_read, true},
                 {&t_threads, pass_read, true},
                 {&t_threads, pass_write, true},
                 {&t_private_threads, pass_write, false}};
    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        struct meeting *g = t_new(cases[n].setting, sizeof *g);
        met = cases[n].call;
        g->by_writer = cases[n].by_writer;
        plait_worker holder = t_start_one(PLAIT_THREAD, obey, g);
        t_each_pair(meet, g);
        tell(g, 4);
        CHECK_EQ(t_join_one(holder), 0);
        t_delete(cases[n].setting, g);
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
        cmocka_unit_test(zeroed_memory_is_a_free_rwlock),
        cmocka_unit_test(init_makes_it_free_whatever_it_was),
        cmocka_unit_test(null_is_refused),
        cmocka_unit_test(it_tells_who_writes_and_how_many_read),
        cmocka_unit_test(errno_is_left_alone),
        cmocka_unit_test(a_reader_may_read_again_and_releases_as_often),
        cmocka_unit_test(reading_deeper_than_65535_is_refused),
        cmocka_unit_test(what_would_wait_for_oneself_is_refused_at_once),
        cmocka_unit_test(a_reader_cannot_write_while_another_writer_waits_for_it),
        cmocka_unit_test(a_reader_reads_again_although_a_writer_waits),
        cmocka_unit_test(only_who_acquired_it_may_release_it),
        cmocka_unit_test(readers_are_in_together_and_keep_writers_out),
        cmocka_unit_test(a_writer_is_in_alone),
        cmocka_unit_test(a_waiting_writer_holds_up_new_readers),
        cmocka_unit_test(readers_asleep_get_in_before_the_next_writer),
        cmocka_unit_test(a_writer_that_waited_long_is_served_before_other_writers),
        cmocka_unit_test(readers_are_in_when_release_write_returns),
        cmocka_unit_test(all_who_wait_get_through_at_once),
        cmocka_unit_test(a_ring_of_workers_is_undone_by_refusing_one),
        cmocka_unit_test(a_reader_that_comes_again_while_the_writer_is_stopped_is_no_ring),
        cmocka_unit_test(more_than_100_read_at_once_and_a_writer_waits_for_all),
        cmocka_unit_test(more_than_100_asleep_get_in_before_the_next_writer),
        cmocka_unit_test(crowded_rwlocks_are_read_deep_and_up_to_4_at_once),
        cmocka_unit_test(bad_timeouts_are_refused_free_and_held),
        cmocka_unit_test(waits_end_by_time_and_cancellation_and_leave_no_trace),
        cmocka_unit_test(readers_go_on_when_the_writer_before_them_gives_up),
        cmocka_unit_test(a_dead_reader_is_forgotten_without_notice),
        cmocka_unit_test(a_readers_death_wakes_the_writer_at_once),
        cmocka_unit_test(after_a_writers_death_all_are_told_until_a_writer_was),
        cmocka_unit_test(if_the_next_writer_dies_too_it_is_the_one_blamed),
        cmocka_unit_test(a_writers_death_wakes_all_at_once_and_one_writer_is_told),
        cmocka_unit_test(a_waiting_writers_death_is_no_notice),
        cmocka_unit_test(stopped_waiters_hold_up_nobody_else),
        cmocka_unit_test(who_ends_without_release_counts_as_dead),
        cmocka_unit_test(dead_readers_leave_no_crowd),
        cmocka_unit_test(who_held_a_private_rwlock_at_fork_is_gone_for_the_child),
        cmocka_unit_test(who_waited_for_a_private_rwlock_at_fork_is_gone_for_the_child),
        cmocka_unit_test(in_the_arena_a_forked_child_is_another_worker),
        cmocka_unit_test(shared_memory_of_the_programs_own_is_refused_when_noticed),
#ifdef PL_STEP_HOOKS
        cmocka_unit_test(at_each_step_what_meets_a_wait_is_heard),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
