/* The queue of timers: order, removal, and agreement with a sorted array over many random steps. */
#include "harness.h"
#include "task/timers.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- invariants --- */

/* Walks the whole heap (without recursion: children are put on a list of what is to be seen). */
static size_t check_heap(const struct pl_timers *timers, const struct pl_timer **todo)
{
    size_t n = 0, seen = 0;
    if (timers->first) {
        CHECK(timers->first->prev == timers->first);
        CHECK(timers->first->next == NULL);
        todo[n++] = timers->first;
    }
    while (seen < n) {
        const struct pl_timer *parent = todo[seen++], *before = parent;
        for (const struct pl_timer *t = parent->child; t; before = t, t = t->next) {
            CHECK(t->prev == before);
            CHECK(t->when > parent->when || (t->when == parent->when && t->turn > parent->turn));
            todo[n++] = t;
        }
    }
    CHECK_EQ(n, timers->count);
    return n;
}

/* --- single promises --- */

static void zeroed_memory_is_an_empty_queue(void **state)
{
    (void)state;
    struct pl_timers timers = {0};
    struct pl_timer timer = {0};
    CHECK_EQ(pl_timers_count(&timers), 0);
    CHECK(pl_timers_first(&timers) == NULL);
    CHECK(pl_timers_expired(&timers, INT64_MAX) == NULL);
    CHECK(!pl_timer_is_queued(&timer));
    pl_timers_remove(&timers, &timer);
    CHECK_EQ(pl_timers_count(&timers), 0);
}

static void a_timer_is_due_at_its_instant_and_not_before(void **state)
{
    (void)state;
    struct pl_timers timers = {0};
    struct pl_timer timer = {0};
    pl_timers_add(&timers, &timer, 100);
    CHECK(pl_timer_is_queued(&timer));
    CHECK(pl_timers_first(&timers) == &timer);
    CHECK_EQ(pl_timers_count(&timers), 1);
    CHECK(pl_timers_expired(&timers, 99) == NULL);
    CHECK(pl_timer_is_queued(&timer));
    CHECK(pl_timers_expired(&timers, 100) == &timer);
    CHECK(!pl_timer_is_queued(&timer));
    CHECK_EQ(timer.when, 100);
    CHECK(pl_timers_expired(&timers, INT64_MAX) == NULL);
    pl_timers_remove(&timers, &timer);
    CHECK_EQ(pl_timers_count(&timers), 0);
}

static void all_instants_can_be_told_apart(void **state)
{
    (void)state;
    static const int64_t instants[] = {INT64_MAX, 0, INT64_MAX - 1, INT64_MIN,
                                       -1,        1, INT64_MIN + 1};
    static const int order[] = {3, 6, 4, 1, 5, 2, 0};
    struct pl_timers timers = {0};
    struct pl_timer t[7] = {0};
    for (int i = 0; i < 7; i++)
        pl_timers_add(&timers, &t[i], instants[i]);
    for (int i = 0; i < 6; i++)
        CHECK(pl_timers_expired(&timers, INT64_MAX - 1) == &t[order[i]]);
    CHECK(pl_timers_expired(&timers, INT64_MAX - 1) == NULL);
    CHECK(pl_timers_first(&timers) == &t[0]);
    CHECK(pl_timers_expired(&timers, INT64_MAX) == &t[0]);
    CHECK(pl_timers_first(&timers) == NULL);
}

enum { MANY = 1000 };

static void equal_instants_come_in_order_of_adding(void **state)
{
    (void)state;
    static struct pl_timer t[MANY];
    uint64_t random = t_seed();
    struct pl_timers timers = {0};
    memset(t, 0, sizeof t);
    for (int i = 0; i < MANY; i++)
        pl_timers_add(&timers, &t[i], i % 3);
    for (int k = 0; k < MANY / 10; k++) { /* who is added again is at the end */
        int i = t_below(&random, MANY / 2);
        if (!pl_timer_is_queued(&t[i]))
            continue;
        pl_timers_remove(&timers, &t[i]);
    }
    for (int instant = 0; instant < 3; instant++)
        for (int i = instant; i < MANY; i += 3)
            if (pl_timer_is_queued(&t[i]))
                CHECK(pl_timers_expired(&timers, 2) == &t[i]);
    CHECK_EQ(pl_timers_count(&timers), 0);
    pl_timers_add(&timers, &t[0], 5);
    pl_timers_add(&timers, &t[1], 5);
    pl_timers_remove(&timers, &t[0]);
    pl_timers_add(&timers, &t[0], 5);
    CHECK(pl_timers_expired(&timers, 5) == &t[1]);
    CHECK(pl_timers_expired(&timers, 5) == &t[0]);
}

static void between_two_that_expire_others_may_go_and_come(void **state)
{
    (void)state;
    static struct pl_timer t[MANY];
    static const struct pl_timer *todo[MANY];
    struct pl_timers timers = {0};
    int left = MANY, late = 0;
    memset(t, 0, sizeof t);
    for (int i = 0; i < MANY; i++)
        pl_timers_add(&timers, &t[i], (i * 7919) % MANY);
    for (struct pl_timer *due; (due = pl_timers_expired(&timers, MANY)) != NULL; left--) {
        struct pl_timer *victim = pl_timers_first(&timers); /* also the one that would be next */
        if (late < MANY / 4 && victim) {
            pl_timers_remove(&timers, victim);
            CHECK(!pl_timer_is_queued(victim));
            pl_timers_add(&timers, victim, MANY + 1 + late++);
            left--;
        }
        check_heap(&timers, todo);
    }
    CHECK_EQ(left, 0);
    CHECK_EQ(pl_timers_count(&timers), late);
    for (int i = 0; i < late; i++)
        CHECK_EQ(pl_timers_expired(&timers, INT64_MAX)->when, MANY + 1 + i);
}

/* --- no step takes long --- */

static size_t children(const struct pl_timer *timer)
{
    size_t n = 0;
    for (timer = timer->child; timer; timer = timer->next)
        n++;
    return n;
}

static void no_timer_gets_many_children(void **state)
{
    (void)state;
    enum { N = 1 << 16 };
    struct pl_timer *t = calloc(N, sizeof *t);
    CHECK(t != NULL);
    for (int shape = 0; shape < 4; shape++) {
        uint64_t random = t_seed();
        struct pl_timers timers = {0};
        size_t most = 0;
        for (int i = 0; i < N; i++)
            pl_timers_add(&timers, &t[i],
                          shape == 0   ? i
                          : shape == 1 ? N - i
                          : shape == 2 ? 7
                                       : t_below(&random, N));
        for (int i = 0; i < N; i++) { /* the first goes, another one comes; then all go */
            struct pl_timer *first = pl_timers_first(&timers);
            size_t n = children(first);
            most = n > most ? n : most;
            pl_timers_remove(&timers, first);
            if (i % 2)
                pl_timers_add(&timers, first, N + i);
        }
        printf("[   SEEN   ] at most %zu children\n", most);
        CHECK(most <= 256); /* a plain pairing heap has 65,535 */
        while (pl_timers_expired(&timers, INT64_MAX))
            ;
    }
    free(t);
}

/* --- the model --- */

struct model {
    int n;
    int sorted[MANY]; /* numbers of timers, as they are to expire */
};

static void model_add(struct model *m, const struct pl_timer *t, int which)
{
    int at = m->n++;
    for (; at > 0 && t[m->sorted[at - 1]].when > t[which].when; at--)
        m->sorted[at] = m->sorted[at - 1];
    m->sorted[at] = which;
}

static void model_remove(struct model *m, int which)
{
    int at = 0;
    while (at < m->n && m->sorted[at] != which)
        at++;
    CHECK(at < m->n);
    memmove(&m->sorted[at], &m->sorted[at + 1], sizeof m->sorted[0] * (size_t)(--m->n - at));
}

static void check_first(const struct pl_timers *timers, const struct model *m,
                        const struct pl_timer *t)
{
    CHECK_EQ(pl_timers_count(timers), m->n);
    CHECK(pl_timers_first(timers) == (m->n ? &t[m->sorted[0]] : NULL));
}

static void it_agrees_with_a_sorted_array(void **state)
{
    (void)state;
    static struct pl_timer t[MANY];
    static const struct pl_timer *todo[MANY];
    static struct model m;
    uint64_t random = t_seed();
    struct pl_timers timers = {0};
    int64_t now = 0;
    int spread = 1;
    memset(t, 0, sizeof t);
    m.n = 0;
    for (int step = 0; step < 100000; step++) {
        if (step % 1000 == 0) {
            check_heap(&timers, todo);
            spread = 1 << t_below(&random, 20); /* many equal instants, or hardly any */
        }
        int which = t_below(&random, MANY), deed = t_below(&random, 100);
        CHECK_EQ(pl_timer_is_queued(&t[which]), t[which].prev != NULL);
        if (deed < 96 && !pl_timer_is_queued(&t[which])) {
            pl_timers_add(&timers, &t[which], now + t_below(&random, spread) - spread / 8);
            model_add(&m, t, which);
        } else if (deed < 60) {
            pl_timers_remove(&timers, &t[which]);
            model_remove(&m, which);
        } else if (deed >= 98) {
            now += t_below(&random, spread) / 16;
            struct pl_timer *due;
            while ((due = pl_timers_expired(&timers, now)) != NULL) {
                CHECK(m.n > 0 && due == &t[m.sorted[0]]);
                model_remove(&m, m.sorted[0]);
            }
            CHECK(m.n == 0 || t[m.sorted[0]].when > now);
        }
        check_first(&timers, &m, t);
    }
    check_heap(&timers, todo);
    for (; m.n > 0; model_remove(&m, m.sorted[0]))
        CHECK(pl_timers_expired(&timers, INT64_MAX) == &t[m.sorted[0]]);
    CHECK_EQ(pl_timers_count(&timers), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zeroed_memory_is_an_empty_queue),
        cmocka_unit_test(a_timer_is_due_at_its_instant_and_not_before),
        cmocka_unit_test(all_instants_can_be_told_apart),
        cmocka_unit_test(equal_instants_come_in_order_of_adding),
        cmocka_unit_test(between_two_that_expire_others_may_go_and_come),
        cmocka_unit_test(no_timer_gets_many_children),
        cmocka_unit_test(it_agrees_with_a_sorted_array),
    };
    t_arguments(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
