/* Addresses and names: a test per promise of include/plait/resolve.h. */
#include "harness/harness.h"

#include "park/park.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

#define LONG plait_seconds(T_PATIENCE_S)

static void text_is(const plait_address *a, const char *expected)
{
    char text[100];
    CHECK_RC(plait_address_text(a, text, sizeof text), 0);
    if (strcmp(text, expected) != 0)
        t_die(__FILE__, __LINE__, "%s, not %s", text, expected);
}

static void numbers_need_no_waiting(void **state)
{
    (void)state;
    plait_address a[4];
    CHECK(pl_arena == NULL);
    errno = EXDEV;
    CHECK_RC(plait_resolve("127.0.0.1", "80", NULL, a, 4, PLAIT_NOWAIT), 1);
    text_is(&a[0], "127.0.0.1:80");
    CHECK_EQ(plait_address_port(&a[0]), 80);
    CHECK_RC(plait_resolve("::1", "8080", NULL, a, 4, PLAIT_NOWAIT), 1);
    text_is(&a[0], "[::1]:8080");
    CHECK_EQ(plait_address_port(&a[0]), 8080);
    plait_resolve_options only_4 = {.family = AF_INET}, passive = {.passive = true};
    CHECK_RC(plait_resolve(NULL, "7", &only_4, a, 4, PLAIT_NOWAIT), 1);
    text_is(&a[0], "127.0.0.1:7");
    only_4.passive = true;
    CHECK_RC(plait_resolve(NULL, "7", &only_4, a, 4, PLAIT_NOWAIT), 1);
    text_is(&a[0], "0.0.0.0:7");
    int n = plait_resolve(NULL, "7", &passive, a, 4, PLAIT_NOWAIT);
    CHECK(n == 1 || n == 2);
    CHECK_EQ(errno, EXDEV);
    CHECK(pl_arena == NULL); /* nobody had to be registered */
}

static int look_up_localhost(void *unused)
{
    (void)unused;
    plait_address a[8];
    plait_resolve_options only_4 = {.family = AF_INET};
    errno = EXDEV;
    CHECK_RC(plait_resolve("localhost", "80", &only_4, a, 8, LONG), 1);
    text_is(&a[0], "127.0.0.1:80");
    CHECK_RC(plait_resolve("localhost", "80", &only_4, NULL, 0, LONG), 1);
    CHECK_RC(plait_resolve("127.0.0.1", "no-such-service", NULL, a, 8, LONG), PLAIT_ENAME);
    CHECK_RC(plait_resolve("no such host.invalid", "80", NULL, a, 8, LONG), PLAIT_ENAME);
    CHECK_EQ(errno, EXDEV);
    return 0;
}

static void names_are_looked_up_in_all_kinds_of_worker(void **state)
{
    (void)state;
    const int kinds[] = {PLAIT_THREAD, PLAIT_PROCESS, PLAIT_TASK};
    for (int k = 0; k < 3; k++)
        if (kinds[k] != PLAIT_PROCESS || t_may_fork_beside_threads())
            CHECK_EQ(t_join_one(t_start_one(kinds[k], look_up_localhost, NULL)), 0);
    CHECK_EQ(look_up_localhost(NULL), 0);
}

static int look_up(void *host, int64_t timeout)
{
    plait_address a;
    int rc = plait_resolve(host, "http", NULL, &a, 1, timeout);
    return rc > 0 ? 0 : rc;
}

/* The helper may have been faster: then the next call says it. */
static int look_up_canceled(void *host)
{
    CHECK_RC(plait_cancel(plait_self()), 0);
    int rc = look_up(host, PLAIT_FOREVER);
    CHECK(rc == PLAIT_ECANCELED || rc == 0);
    CHECK_RC(plait_checkpoint(), rc == 0 ? PLAIT_ECANCELED : 0);
    return look_up(host, PLAIT_FOREVER);
}

static void a_lookup_can_be_given_up(void **state)
{
    (void)state;
    t_check_bad_timeouts(look_up, "localhost");
    for (int i = 0; i < 50; i++) {
        int rc = look_up("localhost", 1);
        CHECK(rc == PLAIT_ETIMEDOUT || rc == 0);
    }
    CHECK_RC(look_up("localhost", PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_THREAD, look_up_canceled, "localhost")), 0);
    if (t_may_fork_beside_threads())
        CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, look_up_canceled, "localhost")), 0);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_TASK, look_up_canceled, "localhost")), 0);
}

static void misuse_is_refused(void **state)
{
    (void)state;
    plait_address a = {0};
    char text[100], name[400];
    CHECK_RC(plait_resolve(NULL, NULL, NULL, &a, 1, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_resolve("x", NULL, NULL, NULL, 1, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_resolve("x", NULL, NULL, &a, -1, LONG), PLAIT_EINVAL);
    memset(name, 'x', sizeof name);
    name[399] = 0;
    CHECK_RC(plait_resolve(name, "80", NULL, &a, 1, LONG), PLAIT_ENAME);
    CHECK_RC(plait_resolve("127.0.0.1", name, NULL, &a, 1, LONG), PLAIT_ENAME);
    CHECK_EQ(a.length, 0);
    CHECK_RC(plait_address_text(&a, text, sizeof text), PLAIT_ENOTSUP);
    CHECK_RC(plait_address_text(NULL, text, sizeof text), PLAIT_EINVAL);
    CHECK_RC(plait_address_text(&a, NULL, sizeof text), PLAIT_EINVAL);
    CHECK_RC(plait_address_port(&a), PLAIT_ENOTSUP);
    CHECK_RC(plait_address_port(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_address_unix(&a, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_address_unix(&a, ""), PLAIT_EINVAL);
    CHECK_RC(plait_address_unix(NULL, "/x"), PLAIT_EINVAL);
    CHECK_RC(plait_address_unix(&a, name), PLAIT_EOVERFLOW);
    name[108] = 0;
    CHECK_RC(plait_address_unix(&a, name), PLAIT_EOVERFLOW);
    name[107] = 0;
    CHECK_RC(plait_address_unix(&a, name), 0);
    char whole[160];
    CHECK_RC(plait_address_text(&a, whole, sizeof whole), 0);
    CHECK_EQ(strcmp(whole, name), 0);
    CHECK_RC(plait_address_text(&a, whole, 107), PLAIT_EOVERFLOW);
    CHECK_RC(plait_address_unix(&a, "@abc"), 0);
    text_is(&a, "@abc");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_need_no_waiting),
        cmocka_unit_test(names_are_looked_up_in_all_kinds_of_worker),
        cmocka_unit_test(a_lookup_can_be_given_up),
        cmocka_unit_test(misuse_is_refused),
    };
    t_arguments(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
