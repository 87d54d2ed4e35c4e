/* A supervisor whose children end as they like, while others give it orders. Invariants, for every kind of supervisor and children of all kinds:
 *   - of a child there is one at a time;
 *   - each start has one end: as many are told of as there were;
 *   - each end that nobody asked for is followed by a restart, but for those that come while it stops;
 *   - what the supervisor counts is what it has told, and what the children have counted themselves. */
#include "harness/harness.h"

#include "park/park.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CHILDREN = 6 };

struct child {
    struct world *world;
    uint64_t seed;
    long begun, over, here;
    long told_start, told_end, told_unasked, told_restart; /* the supervisor's listener */
};

struct world {
    plait_supervisor s;
    struct child children[CHILDREN + 1]; /* the last comes and goes by orders */
    long ends, wanted;
    long orders;
    int stop, extra_may_be_left;
};

static int live_a_little(void *arg)
{
    struct child *c = arg;
    COUNT(c->begun);
    CHECK_EQ(COUNT(c->here), 1);
    uint64_t seed = c->seed + (uint64_t)SEEN(c->begun);
    int rc = plait_sleep(t_below(&seed, 3) == 0 ? t_below(&seed, 2000) * 1000 : 0);
    ADD(c->here, -1);
    COUNT(c->over);
    if (rc < 0 || SEEN(c->world->ends) >= c->world->wanted)
        return rc < 0 ? rc : plait_sleep(PLAIT_FOREVER);
    bool process = plait_kind_of(plait_self()) == PLAIT_PROCESS;
    switch (t_below(&seed, process ? 4 : 2)) {
    case 0:
        return 0;
    case 1:
        return -7;
    case 2:
        _exit(t_below(&seed, 2)); /* exit takes sanitizers up to a second */
    default:
        return raise(SIGKILL);
    }
}

static void note(const plait_supervisor_report *r, void *arg)
{
    struct world *w = arg;
    if (!r->child[0])
        return;
    struct child *c = &w->children[r->child[0] - 'a'];
    c->told_start += r->event == PLAIT_REPORT_START;
    c->told_end += r->event == PLAIT_REPORT_END;
    c->told_restart += r->event == PLAIT_REPORT_RESTART;
    if (r->event == PLAIT_REPORT_END && !r->asked) {
        c->told_unasked++;
        COUNT(w->ends);
    }
    CHECK(r->event != PLAIT_REPORT_NO_START && r->event != PLAIT_REPORT_GIVE_UP);
}

static plait_child child_of(struct world *w, int i, int kind)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g"};
    return (plait_child){.name = names[i],
                         .kind = kind,
                         .function = live_a_little,
                         .argument = &w->children[i],
                         .grace = PLAIT_FOREVER};
}

static int give_orders(void *arg)
{
    struct world *w = arg;
    uint64_t seed = 5;
    plait_child extra = child_of(w, CHILDREN, PLAIT_PROCESS);
    while (!SEEN(w->stop)) {
        static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
        int rc =
            plait_supervisor_restart(&w->s, names[t_below(&seed, CHILDREN)], NULL, PLAIT_FOREVER);
        CHECK(rc == 0 || rc == PLAIT_ECLOSED);
        COUNT(w->orders);
        if (t_below(&seed, 4) == 0) {
            rc = plait_supervisor_add(&w->s, &extra, NULL, PLAIT_FOREVER);
            CHECK(rc == 0 || rc == PLAIT_ECLOSED || rc == PLAIT_EEXIST);
            rc = plait_supervisor_remove(&w->s, "g", t_below(&seed, 2) ? PLAIT_FOREVER : 0);
            CHECK(rc == 0 || rc == PLAIT_ECLOSED || rc == PLAIT_ENOENT || rc == PLAIT_ETIMEDOUT ||
                  rc == PLAIT_EBUSY);
            TELL(w->extra_may_be_left, rc != 0 && rc != PLAIT_ENOENT);
        }
        plait_sleep(t_below(&seed, 1000) * 1000);
    }
    return 0;
}

/* Processes are forked here, beside threads, which ASan's own allocator does not bear. */
static int possible(int kind)
{
    return kind == PLAIT_PROCESS && !t_may_fork_beside_threads() ? PLAIT_TASK : kind;
}

static struct world *new_world(int sup, int strategy, plait_worker *ret)
{
    struct world *w = plait_alloc(sizeof *w);
    uint64_t seed = t_seed();
    CHECK(w != NULL);
    plait_supervisor_options o = {.strategy = strategy,
                                  .intensity = PLAIT_SUPERVISOR_INTENSITY,
                                  .period = 1,
                                  .listener = note,
                                  .argument = w};
    CHECK_RC(plait_supervisor_init(&w->s, &o), 0);
    w->wanted = t_rounds(400);
    for (int i = 0; i <= CHILDREN; i++)
        w->children[i] = (struct child){.world = w, .seed = seed + 1000 * (uint64_t)i};
    for (int i = 0; i < CHILDREN; i++) {
        plait_child c = child_of(w, i, possible(PLAIT_THREAD + i % 3));
        CHECK_RC(plait_supervisor_add(&w->s, &c, NULL, 0), 0);
    }
    CHECK_RC(plait_supervisor_start(ret, &w->s, sup, NULL), 0);
    return w;
}

static void check_counts(struct world *w, int strategy)
{
    plait_child_info info[CHILDREN];
    int n = plait_supervisor_list(&w->s, info, CHILDREN);
    CHECK(n == CHILDREN || (n == CHILDREN + 1 && w->extra_may_be_left));
    for (int i = 0; i <= CHILDREN; i++) {
        struct child *c = &w->children[i];
        CHECK_EQ(c->told_start, c->told_end);
        CHECK_EQ(c->told_unasked, c->told_restart);
        CHECK_EQ(c->begun, c->over);
        CHECK(c->begun <=
              c->told_start); /* one that is cancelled before its first step has not begun */
        CHECK_EQ(c->here, 0);
        if (i < CHILDREN) {
            CHECK_EQ(info[i].starts, c->told_start);
            CHECK_EQ(info[i].state, PLAIT_CHILD_STOPPED);
            if (strategy == PLAIT_ONE_FOR_ONE)
                CHECK_EQ(info[i].restarts, c->told_restart);
        }
    }
}

static void run(int sup, int strategy, int who_orders)
{
    plait_worker supervisor, orders = {0, 0};
    struct world *w = new_world(sup, strategy, &supervisor);
    if (who_orders)
        orders = t_start_one(who_orders, give_orders, w);
    UNTIL(SEEN(w->ends) >= w->wanted && (!who_orders || SEEN(w->orders) > 0));
    TELL(w->stop, 1);
    if (who_orders)
        CHECK_EQ(t_join_one(orders), 0);
    CHECK_RC(plait_supervisor_stop(&w->s, PLAIT_FOREVER), 0);
    CHECK_EQ(t_join_one(supervisor), 0);
    check_counts(w, strategy);
    plait_free(w);
}

static void every_start_has_one_end(void **state)
{
    (void)state;
    FOR_EVERY_KIND(sup)
    for (int strategy = PLAIT_ONE_FOR_ONE; strategy <= PLAIT_REST_FOR_ONE; strategy++)
        run(possible(sup), strategy, 0);
}

static void every_start_has_one_end_whatever_is_ordered(void **state)
{
    (void)state;
    FOR_EVERY_KIND(sup)
    FOR_EACH_KIND(who)
    run(possible(sup), PLAIT_ONE_FOR_ONE, possible(who));
}

static void nothing_is_left(void **state)
{
    (void)state;
    CHECK(!t_has_children());
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_start_has_one_end),
        cmocka_unit_test(every_start_has_one_end_whatever_is_ordered),
        cmocka_unit_test(nothing_is_left),
    };
    t_arguments(argc, argv);
    return cmocka_run_group_tests_name("supervisor", tests, NULL, NULL);
}
