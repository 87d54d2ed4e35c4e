/* Deadlocks under load: none is seen where none is, and each that is there is undone. */
#include "harness/harness.h"

#include <stdio.h>
#include <string.h>

enum { LOCKS = 6, WORKERS = 4 };

struct world {
    long rounds;
    int errors, reports;
    plait_rlock locks[LOCKS];
    long used[LOCKS], sum[WORKERS];
};

static struct world *counted_in; /* where reports are counted; in the arena */

static void count(const char *text, void *unused)
{
    (void)unused;
    CHECK(strstr(text, "plait: deadlock: "));
    COUNT(counted_in->reports);
}

struct part {
    struct world *world;
    int who;
    bool ordered;
};

static int lock_all(struct part *part, const int *wish, int n)
{
    for (int i = 0; i < n; i++) {
        int rc = plait_rlock_acquire(&part->world->locks[wish[i]], PLAIT_FOREVER);
        if (rc == 0)
            continue;
        CHECK_RC(rc, PLAIT_EDEADLK);
        COUNT(part->world->errors);
        while (--i >= 0)
            CHECK_RC(plait_rlock_release(&part->world->locks[wish[i]]), 0);
        return rc;
    }
    return 0;
}

static void use(struct part *part, const int *wish, int n, uint64_t *random)
{
    for (int i = 0; i < n; i++)
        part->world->used[wish[i]]++;
    part->world->sum[part->who] += n;
    t_dither(random, 3 * 1000);
    for (int i = 0; i < n; i++)
        CHECK_RC(plait_rlock_release(&part->world->locks[wish[i]]), 0);
}

/* A few different locks: in the order of their numbers, or in any. */
static int choose(struct part *part, int *wish, uint64_t *random)
{
    int n = 0, start = t_below(random, LOCKS), step = 1 + t_below(random, 2);
    for (int i = start; i < LOCKS; i += step)
        wish[n++] = i;
    for (int i = n - 1; i > 0 && !part->ordered; i--) {
        int other = t_below(random, i + 1), kept = wish[i];
        wish[i] = wish[other];
        wish[other] = kept;
    }
    return n;
}

static int use_several(void *arg)
{
    struct part *part = arg;
    uint64_t random = t_seed() + (uint64_t)part->who;
    for (long i = 0; i < part->world->rounds; i++) {
        int wish[LOCKS], n = choose(part, wish, &random);
        while (lock_all(part, wish, n) < 0) /* at once again would often close the next ring */
            t_sleep(t_below(&random, 1000 * 1000));
        use(part, wish, n, &random);
    }
    return 0;
}

static void run(const struct t_setting *s, bool ordered, long rounds)
{
    struct world *w = t_new(s, sizeof *w);
    struct part *parts = t_new(s, sizeof *parts * WORKERS);
    struct t_team team;
    counted_in = plait_alloc(sizeof *counted_in);
    w->rounds = t_rounds(rounds);
    for (int i = 0; i < WORKERS; i++)
        parts[i] = (struct part){w, i, ordered};
    t_start_each(&team, s, WORKERS, use_several, parts, sizeof *parts);
    t_join(&team);
    long used = 0, sum = 0;
    for (int i = 0; i < LOCKS; i++)
        used += w->used[i];
    for (int i = 0; i < WORKERS; i++)
        sum += w->sum[i];
    CHECK_EQ(used, sum);
    CHECK_EQ(counted_in->reports, w->errors);
    if (ordered)
        CHECK_EQ(w->errors, 0);
    plait_free(counted_in);
    t_delete(s, parts);
    t_delete(s, w);
}

/* Looked for as early as can be, while locks change hands all the time. */
static void none_is_seen_where_none_is(void **state)
{
    (void)state;
    CHECK_RC(plait_deadlock_policy(PLAIT_DEADLOCK_DEFAULT, 1), 0);
    FOR_EACH_SETTING(s)
    run(s, true, 20000);
}

/* The last one standing in each ring fails, lets go and tries again: all get through. */
static void each_that_is_there_is_undone(void **state)
{
    (void)state;
    CHECK_RC(plait_deadlock_policy(PLAIT_DEADLOCK_DEFAULT, 1), 0);
    FOR_EACH_SETTING(s)
    run(s, false, 400);
}

static int listen_in(void **state)
{
    (void)state;
    return plait_set_log(count, NULL);
}

int main(int argc, char **argv)
{
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none_is_seen_where_none_is),
        cmocka_unit_test(each_that_is_there_is_undone),
    };
    return cmocka_run_group_tests(tests, listen_in, NULL);
}
