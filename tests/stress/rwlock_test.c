/* The rwlock under load. Invariants:
 *   - while anyone reads or writes, what writers write as a pair is equal, in plain memory;
 *   - the sum of what is written is exact, whatever times out, is canceled or is killed meanwhile;
 *   - torn data comes with PLAIT_OWNER_DIED only, to readers as well;
 *   - after each death the others go on, and at the end nobody is left in the rwlock. */
#include "harness/harness.h"

#include <string.h>
#include <unistd.h>

enum { WORKERS = 6, LONG_NS = 20 * 1000, MOST = 40 };

struct member {
    struct world *world;
    uint64_t seed;
    long done; /* updates of the counters; written under the rwlock */
    long reads;
    long refused; /* requests to stop that it heard of */
};

struct world {
    plait_rwlock rw;
    long a, b;   /* plain, under the rwlock: equal, but in the middle of an update */
    long rounds; /* for each member */
    long told;   /* deaths that writers were told of */
    int stop;
    struct member members[MOST];
};

static struct world *new_world(const struct t_setting *s, uint64_t seed)
{
    struct world *w = t_new(s, sizeof *w);
    for (int i = 0; i < MOST; i++)
        w->members[i] = (struct member){.world = w, .seed = seed + (uint64_t)i};
    return w;
}

static long all_done(const struct world *w)
{
    long sum = 0;
    for (int i = 0; i < MOST; i++)
        sum += SEEN(w->members[i].done);
    return sum;
}

static void check_is_free(struct world *w)
{
    CHECK_EQ(plait_rwlock_readers(&w->rw), 0);
    CHECK_RC(plait_rwlock_acquire_write(&w->rw, PLAIT_NOWAIT), 0);
    CHECK_RC(plait_rwlock_release_write(&w->rw), 0);
    CHECK_RC(plait_rwlock_acquire_read(&w->rw, PLAIT_NOWAIT), 0);
    CHECK_RC(plait_rwlock_release_read(&w->rw), 0);
}

/* The update, with time to be killed in each of its states. */
static void update(struct member *m, bool slowly)
{
    struct world *w = m->world;
    CHECK_EQ(w->a, w->b);
    TELL(w->a, w->a + 1);
    if (slowly)
        t_dither(&m->seed, LONG_NS);
    TELL(m->done, m->done + 1); /* from here on it counts */
    if (slowly)
        t_dither(&m->seed, LONG_NS);
    TELL(w->b, w->b + 1);
}

static void look(struct member *m, bool slowly)
{
    const struct world *w = m->world;
    long a = w->a;
    if (slowly)
        t_dither(&m->seed, LONG_NS);
    CHECK_EQ(w->b, a);
    TELL(m->reads, m->reads + 1);
}

/* Reads, now and then deeper. */
static void look_deep(struct member *m, bool slowly)
{
    look(m, slowly);
    if (t_below(&m->seed, 4) > 0)
        return;
    CHECK_RC(plait_rwlock_acquire_read(&m->world->rw, PLAIT_FOREVER), 0);
    look(m, slowly);
    CHECK_RC(plait_rwlock_release_read(&m->world->rw), 0);
    look(m, false);
}

/* --- no deaths --- */

enum { EACH = 4000, EACH_OF_MANY = 1000 };

static int read_and_write(void *arg)
{
    struct member *m = arg;
    struct world *w = m->world;
    for (long i = 0, n = w->rounds; i < n; i++) {
        bool slowly = t_below(&m->seed, 64) == 0;
        if (t_below(&m->seed, 4) == 0) {
            CHECK_RC(plait_rwlock_acquire_write(&w->rw, PLAIT_FOREVER), 0);
            update(m, slowly);
            CHECK_RC(plait_rwlock_release_write(&w->rw), 0);
        } else {
            CHECK_RC(plait_rwlock_acquire_read(&w->rw, PLAIT_FOREVER), 0);
            look_deep(m, slowly);
            CHECK_RC(plait_rwlock_release_read(&w->rw), 0);
        }
    }
    return 0;
}

static void readers_see_whole_updates_and_none_is_lost(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    FOR_EACH_SETTING(s)
    {
        struct world *w = new_world(s, seed);
        struct t_team team;
        w->rounds = t_rounds(EACH);
        t_start_each(&team, s, WORKERS, read_and_write, w->members, sizeof w->members[0]);
        t_join(&team);
        CHECK_EQ(w->a, all_done(w));
        CHECK_EQ(w->b, all_done(w));
        check_is_free(w);
        t_delete(s, w);
    }
}

/* Twice as many as there are entries, so that the registry is used, too. */
static void more_workers_than_entries_lose_nothing(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    FOR_EACH_SETTING(s)
    {
        struct world *w = new_world(s, seed);
        struct t_team team;
        CHECK(MOST > 2 * PLAIT_RWLOCK_ENTRIES_);
        w->rounds = t_rounds(EACH_OF_MANY);
        t_start_each(&team, s, MOST, read_and_write, w->members, sizeof w->members[0]);
        t_join(&team);
        CHECK_EQ(w->a, all_done(w));
        CHECK_EQ(w->b, all_done(w));
        check_is_free(w);
        t_delete(s, w);
    }
}

/* Timeouts of all lengths; whoever gets in does its part. */
static int go_in_if_in_time(void *arg)
{
    struct member *m = arg;
    struct world *w = m->world;
    while (!SEEN(w->stop)) {
        bool write = t_below(&m->seed, 3) == 0;
        int64_t timeout = t_below(&m->seed, 200) * 1000;
        int rc = write ? plait_rwlock_acquire_write(&w->rw, timeout)
                       : plait_rwlock_acquire_read(&w->rw, timeout);
        ADD(m->refused, rc == PLAIT_ECANCELED);
        CHECK(rc == 0 || rc == PLAIT_ETIMEDOUT || rc == PLAIT_ECANCELED);
        if (rc < 0)
            continue;
        write ? update(m, true) : look(m, true);
        CHECK_RC(write ? plait_rwlock_release_write(&w->rw) : plait_rwlock_release_read(&w->rw), 0);
    }
    return 0;
}

static long heard_by(struct world *w, int crowd)
{
    long heard = 0;
    for (int i = 0; i < crowd; i++)
        heard += SEEN(w->members[i].refused);
    return heard;
}

static void timeouts_and_cancellations_lose_nothing(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    FOR_EACH_SETTING(s)
    for (int crowd = WORKERS; crowd <= 30; crowd += 24) {
        struct world *w = new_world(s, seed);
        struct t_team team;
        long asked = 0;
        t_start_each(&team, s, crowd, go_in_if_in_time, w->members, sizeof w->members[0]);
        for (long i = 0, n = t_rounds(300); i < n; i++, asked++) {
            CHECK_RC(plait_cancel(team.workers[t_below(&seed, crowd)]), 0);
            t_dither(&seed, 200 * 1000);
        }
        UNTIL(heard_by(w, crowd) > 0); /* each is heard when its worker sleeps next */
        TELL(w->stop, 1);
        t_join(&team);
        CHECK_EQ(w->a, all_done(w));
        CHECK(heard_by(w, crowd) <= asked);
        check_is_free(w);
        t_delete(s, w);
    }
}

/* --- neither starves --- */

static int write_until_stopped(void *arg)
{
    struct member *m = arg;
    while (!SEEN(m->world->stop)) {
        CHECK_RC(plait_rwlock_acquire_write(&m->world->rw, PLAIT_FOREVER), 0);
        update(m, true);
        CHECK_RC(plait_rwlock_release_write(&m->world->rw), 0);
    }
    return 0;
}

/* Somebody reads all the time: the one leaves when the next is in. */
static int read_until_stopped(void *arg)
{
    struct member *m = arg;
    while (!SEEN(m->world->stop)) {
        CHECK_RC(plait_rwlock_acquire_read(&m->world->rw, PLAIT_FOREVER), 0);
        look(m, true);
        CHECK_RC(plait_rwlock_release_read(&m->world->rw), 0);
    }
    return 0;
}

/* The last one does its share of the one kind amid the others, all of the other kind. */
static void check_gets_through(const struct t_setting *s, plait_function *others, bool write)
{
    struct world *w = new_world(s, 1);
    struct member *m = &w->members[MOST - 1];
    struct t_team team;
    t_start_each(&team, s, WORKERS, others, w->members, sizeof w->members[0]);
    for (long i = 0, n = t_rounds(50); i < n; i++) {
        int64_t timeout = plait_seconds(T_PATIENCE_S);
        CHECK_RC(write ? plait_rwlock_acquire_write(&w->rw, timeout)
                       : plait_rwlock_acquire_read(&w->rw, timeout),
                 0);
        write ? update(m, false) : look(m, false);
        CHECK_RC(write ? plait_rwlock_release_write(&w->rw) : plait_rwlock_release_read(&w->rw), 0);
    }
    TELL(w->stop, 1);
    t_join(&team);
    CHECK_EQ(w->a, all_done(w));
    t_delete(s, w);
}

static void a_writer_gets_in_amid_readers(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    check_gets_through(s, read_until_stopped, true);
}

static void a_reader_gets_in_amid_writers(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    check_gets_through(s, write_until_stopped, false);
}

/* --- deaths --- */

/* After the death of a writer: exactly one update may be half done. */
static void repair(struct world *w)
{
    long done = all_done(w);
    CHECK(w->a == w->b || w->a == w->b + 1);
    CHECK(done == w->a || done == w->b);
    w->a = w->b = done;
    w->told++;
}

static void read_in_danger(struct member *m)
{
    struct world *w = m->world;
    int rc = plait_rwlock_acquire_read(&w->rw, PLAIT_FOREVER);
    CHECK(rc == 0 || rc == PLAIT_OWNER_DIED);
    if (rc == 0)
        look(m, true);
    else
        CHECK(w->a == w->b || w->a == w->b + 1);
    if (t_below(&m->seed, 4) == 0) {
        CHECK_RC(plait_rwlock_acquire_read(&w->rw, PLAIT_FOREVER), 0);
        CHECK_RC(plait_rwlock_release_read(&w->rw), 0);
    }
    CHECK_RC(plait_rwlock_release_read(&w->rw), 0);
}

static void write_in_danger(struct member *m)
{
    struct world *w = m->world;
    int rc = plait_rwlock_acquire_write(&w->rw, PLAIT_FOREVER);
    CHECK(rc == 0 || rc == PLAIT_OWNER_DIED);
    if (rc == PLAIT_OWNER_DIED)
        repair(w);
    CHECK_EQ(SEEN(w->a), all_done(w));
    update(m, true);
    CHECK_RC(plait_rwlock_release_write(&w->rw), 0);
}

static int live_in_danger(void *arg)
{
    struct member *m = arg;
    while (!SEEN(m->world->stop))
        if (t_below(&m->seed, 2))
            read_in_danger(m);
        else
            write_in_danger(m);
    return 0;
}

/* Waits until each of those that live has come by once more. */
static void let_all_go_on(struct world *w, int n)
{
    for (int i = 0; i < n; i++) {
        struct member *m = &w->members[i];
        long before = SEEN(m->done) + SEEN(m->reads);
        UNTIL(SEEN(m->done) + SEEN(m->reads) > before);
    }
}

/* Returns how many were killed while writing. */
static long kill_often(int n, long rounds)
{
    uint64_t seed = t_seed();
    struct world *w = new_world(&t_mixed, seed);
    struct t_team team = {.n = n};
    for (int i = 0; i < n; i++)
        team.workers[i] =
            t_start_one(i % 3 ? PLAIT_PROCESS : PLAIT_THREAD, live_in_danger, &w->members[i]);
    for (long i = 0; i < rounds; i++) {
        int victim = 1 + t_below(&seed, n - 1);
        victim -= victim % 3 == 0;
        t_dither(&seed, 400 * 1000);
        t_kill(team.workers[victim]);
        w->members[victim].seed += 1000;
        team.workers[victim] = t_start_one(PLAIT_PROCESS, live_in_danger, &w->members[victim]);
        if (i % 10 == 0)
            let_all_go_on(w, n);
    }
    TELL(w->stop, 1);
    t_join(&team);
    int rc = plait_rwlock_acquire_write(&w->rw, PLAIT_NOWAIT);
    CHECK(rc == 0 || rc == PLAIT_OWNER_DIED);
    if (rc == PLAIT_OWNER_DIED)
        repair(w);
    CHECK_EQ(w->a, all_done(w));
    CHECK_EQ(w->b, w->a);
    CHECK_RC(plait_rwlock_release_write(&w->rw), 0);
    check_is_free(w);
    CHECK(w->told <= rounds);
    print_message("%ld kills, %ld of them while writing, %ld updates\n", rounds, w->told, w->a);
    long told = w->told;
    t_delete(&t_mixed, w);
    return told;
}

static void kills_tear_nothing_unnoticed_and_stop_nobody(void **state)
{
    (void)state;
    CHECK(kill_often(WORKERS, t_rounds(500)) > 0);
}

static void kills_among_more_workers_than_entries_stop_nobody(void **state)
{
    (void)state;
    kill_often(30, t_rounds(60));
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
        cmocka_unit_test(readers_see_whole_updates_and_none_is_lost),
        cmocka_unit_test(more_workers_than_entries_lose_nothing),
        cmocka_unit_test(timeouts_and_cancellations_lose_nothing),
        cmocka_unit_test(a_writer_gets_in_amid_readers),
        cmocka_unit_test(a_reader_gets_in_amid_writers),
        cmocka_unit_test(kills_tear_nothing_unnoticed_and_stop_nobody),
        cmocka_unit_test(kills_among_more_workers_than_entries_stop_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
