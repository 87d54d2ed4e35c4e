/* Task-local variables: who sees which value, and which tokens put one back. */
#include "harness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static char a[] = "a", b[] = "b", c[] = "c", initial[] = "initial";
static plait_local plain, defaulted = PLAIT_LOCAL(initial);
enum { MANY = 40 };
static plait_local many[MANY];
static char places[MANY]; /* their values are places in it */

static void a_variable_has_its_default_until_it_is_set(void **state)
{
    (void)state;
    CHECK(plait_local_get(&plain) == NULL);
    CHECK(plait_local_get(&defaulted) == initial);
    CHECK(plait_local_get_or(&defaulted, b) == b);
    CHECK_EQ(plait_local_is_set(&defaulted), 0);
    CHECK_RC(plait_local_set(&defaulted, NULL, NULL), 0);
    CHECK(plait_local_get(&defaulted) == NULL); /* NULL is a value */
    CHECK_EQ(plait_local_is_set(&defaulted), 1);
    CHECK(plait_local_get_or(&defaulted, b) == NULL);
    CHECK(plait_local_get(&plain) == NULL);
}

static void tokens_put_back_what_was(void **state)
{
    (void)state;
    plait_local_token first, second;
    CHECK_RC(plait_local_set(&plain, a, &first), 0);
    CHECK_RC(plait_local_set(&plain, b, &second), 0);
    CHECK(plait_local_get(&plain) == b);
    CHECK_RC(plait_local_reset(&plain, &second), 0);
    CHECK(plait_local_get(&plain) == a);
    CHECK_RC(plait_local_reset(&plain, &second), PLAIT_ESTALE); /* once */
    CHECK(plait_local_get(&plain) == a);
    CHECK_RC(plait_local_reset(&plain, &first), 0);
    CHECK_EQ(plait_local_is_set(&plain), 0);
    CHECK_RC(plait_local_reset(&defaulted, &first), PLAIT_EINVAL); /* of another variable */
}

static int reset_in_another(void *token)
{
    return plait_local_reset(&plain, token);
}

static void a_token_is_for_the_worker_that_set(void **state)
{
    (void)state;
    plait_local_token token;
    CHECK_RC(plait_local_set(&plain, a, &token), 0);
    FOR_EACH_KIND(kind)
    CHECK_RC(t_join_one(t_start_one(kind, reset_in_another, &token)), PLAIT_EPERM);
    CHECK_RC(t_in_pthread(reset_in_another, &token), PLAIT_EPERM);
    CHECK_EQ(t_in_fork(reset_in_another, &token), (uint8_t)PLAIT_EPERM);
    CHECK_RC(plait_local_reset(&plain, &token), 0);
}

static int sees_a_and_sets_b(void *arg)
{
    (void)arg;
    CHECK(plait_local_get(&plain) == a);
    CHECK(plait_local_get(&defaulted) == c);
    CHECK_RC(plait_local_set(&plain, b, NULL), 0);
    CHECK(plait_local_get(&plain) == b);
    CHECK(plait_local_get(&defaulted) == c);
    return 0;
}

static void a_worker_begins_with_its_starters_values(void **state)
{
    (void)state;
    plait_local_token token, other;
    CHECK_RC(plait_local_set(&plain, a, &token), 0);
    CHECK_RC(plait_local_set(&defaulted, c, &other), 0);
    for (int i = 0; i < 3; i++) {
        FOR_EACH_KIND(kind)
        CHECK_EQ(t_join_one(t_start_one(kind, sees_a_and_sets_b, NULL)), 0);
        CHECK_EQ(t_in_fork(sees_a_and_sets_b, NULL), 0);
        CHECK(plait_local_get(&plain) == a);
    }
    CHECK_RC(plait_local_reset(&plain, &token), 0);
    CHECK_RC(plait_local_reset(&defaulted, &other), 0);
}

struct gate {
    plait_event go;
    int seen;
};

static int look_later(void *arg)
{
    struct gate *g = arg;
    CHECK_RC(plait_event_wait(&g->go, PLAIT_FOREVER), 0);
    g->seen = plait_local_get(&plain) == a;
    return 0;
}

static void what_the_starter_sets_later_is_its_own(void **state)
{
    (void)state;
    plait_local_token token;
    FOR_EACH_KIND(kind)
    {
        struct gate *g = plait_alloc(sizeof *g);
        CHECK_RC(plait_local_set(&plain, a, &token), 0);
        plait_worker w = t_start_one(kind, look_later, g);
        CHECK_RC(plait_local_set(&plain, b, NULL), 0);
        CHECK_RC(plait_event_set(&g->go), 0);
        CHECK_EQ(t_join_one(w), 0);
        CHECK_EQ(g->seen, 1);
        CHECK_RC(plait_local_reset(&plain, &token), 0);
        CHECK_RC(plait_free(g), 0);
    }
}

static int is_unset(void *arg)
{
    (void)arg;
    return plait_local_is_set(&plain);
}

static void a_thread_of_the_programs_own_begins_with_none(void **state)
{
    (void)state;
    plait_local_token token;
    CHECK_RC(plait_local_set(&plain, a, &token), 0);
    CHECK_EQ(t_in_pthread(is_unset, NULL), 0);
    CHECK_RC(plait_local_reset(&plain, &token), 0);
}

static int change_many(void *arg)
{
    char *mine = arg;
    plait_local_token tokens[MANY];
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < MANY; i++)
            CHECK_RC(plait_local_set(&many[i], mine + i, &tokens[i]), 0);
        for (int i = 0; i < MANY; i++)
            CHECK(plait_local_get(&many[i]) == mine + i);
        for (int i = 0; i < MANY; i++)
            CHECK_RC(plait_local_reset(&many[(i * 7) % MANY], &tokens[(i * 7) % MANY]), 0);
        for (int i = 0; i < MANY; i++)
            CHECK(plait_local_get(&many[i]) == (i % 2 ? places + i : NULL));
    }
    return 0;
}

static void many_variables_in_many_workers_do_not_mix(void **state)
{
    (void)state;
    static char bytes[8][MANY];
    plait_worker w[8];
    for (int i = 1; i < MANY; i += 2)
        CHECK_RC(plait_local_set(&many[i], places + i, NULL), 0);
    /* Processes first: ASan's allocator, unlike libc's, may be locked for ever in a child forked beside busy threads. */
    for (int i = 0; i < 8; i++)
        w[i] = t_start_one(i < 2 ? PLAIT_PROCESS : PLAIT_THREAD, change_many, bytes[i]);
    change_many(bytes[0]);
    for (int i = 0; i < 8; i++)
        CHECK_EQ(t_join_one(w[i]), 0);
}

static void misuse_is_told(void **state)
{
    (void)state;
    plait_local_token empty;
    memset(&empty, 0, sizeof empty);
    errno = EXDEV;
    CHECK(plait_local_get(NULL) == NULL);
    CHECK_EQ(plait_local_is_set(NULL), 0);
    CHECK_RC(plait_local_set(NULL, a, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_local_reset(NULL, &empty), PLAIT_EINVAL);
    CHECK_RC(plait_local_reset(&plain, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_local_reset(&plain, &empty), PLAIT_EINVAL);
    CHECK_EQ(errno, EXDEV);
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
        cmocka_unit_test(a_variable_has_its_default_until_it_is_set),
        cmocka_unit_test(tokens_put_back_what_was),
        cmocka_unit_test(a_token_is_for_the_worker_that_set),
        cmocka_unit_test(a_worker_begins_with_its_starters_values),
        cmocka_unit_test(what_the_starter_sets_later_is_its_own),
        cmocka_unit_test(a_thread_of_the_programs_own_begins_with_none),
        cmocka_unit_test(many_variables_in_many_workers_do_not_mix),
        cmocka_unit_test(misuse_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
