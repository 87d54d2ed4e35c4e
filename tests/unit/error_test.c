/* Result codes: a test per promise of include/plait/error.h. */
#include "harness/harness.h"

#include "base/error.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#define CODE(code)                                                                                 \
    {                                                                                              \
        code, #code                                                                                \
    }
static const struct {
    int code;
    const char *name;
} codes[] = {
    CODE(PLAIT_OK),           CODE(PLAIT_OWNER_DIED),   CODE(PLAIT_DIED),
    CODE(PLAIT_EPERM),        CODE(PLAIT_ESRCH),        CODE(PLAIT_EAGAIN),
    CODE(PLAIT_ENOMEM),       CODE(PLAIT_EBUSY),        CODE(PLAIT_EINVAL),
    CODE(PLAIT_EMFILE),       CODE(PLAIT_EDEADLK),      CODE(PLAIT_ECHILD),
    CODE(PLAIT_EOVERFLOW),    CODE(PLAIT_ENOTSUP),      CODE(PLAIT_ETIMEDOUT),
    CODE(PLAIT_ECANCELED),    CODE(PLAIT_ESTALE),       CODE(PLAIT_EARENA),
    CODE(PLAIT_EPRIVATE),     CODE(PLAIT_EFOREIGN),     CODE(PLAIT_EFREED),
    CODE(PLAIT_EDIED),        CODE(PLAIT_ECLOSED),      CODE(PLAIT_EWORKERS),
    CODE(PLAIT_EBROKEN),      CODE(PLAIT_EBADF),        CODE(PLAIT_ECONNRESET),
    CODE(PLAIT_ECONNREFUSED), CODE(PLAIT_EPIPE),        CODE(PLAIT_ENOENT),
    CODE(PLAIT_EACCES),       CODE(PLAIT_EADDRINUSE),   CODE(PLAIT_EADDRNOTAVAIL),
    CODE(PLAIT_ENETUNREACH),  CODE(PLAIT_EHOSTUNREACH), CODE(PLAIT_ENOTCONN),
    CODE(PLAIT_EMSGSIZE),     CODE(PLAIT_ENOSPC),       CODE(PLAIT_EIO),
    CODE(PLAIT_EEOF),         CODE(PLAIT_ELIMIT),       CODE(PLAIT_ENAME),
    CODE(PLAIT_ETLS),
};
enum { CODES = sizeof codes / sizeof codes[0] };

static void every_code_has_its_name(void **state)
{
    (void)state;
    for (int i = 0; i < CODES; i++)
        assert_string_equal(plait_errname(codes[i].code), codes[i].name);
}

static void every_code_has_a_sentence_of_its_own(void **state)
{
    (void)state;
    for (int i = 0; i < CODES; i++) {
        const char *sentence = plait_strerror(codes[i].code);
        assert_true(strlen(sentence) > 0);
        assert_string_not_equal(sentence, plait_strerror(12345));
        for (int k = 0; k < i; k++)
            assert_string_not_equal(sentence, plait_strerror(codes[k].code));
    }
}

static void an_unknown_code_says_so(void **state)
{
    (void)state;
    const int unknown[] = {3, 12345, -1000, -3999, -5000, INT_MIN, INT_MAX};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        assert_string_equal(plait_errname(unknown[i]), "PLAIT_E?");
        assert_string_equal(plait_strerror(unknown[i]), plait_strerror(12345));
    }
}

static void an_errno_that_plait_has_no_name_for_keeps_its_own(void **state)
{
    (void)state;
    assert_string_equal(plait_errname(-EXDEV), "EXDEV");
    assert_string_equal(plait_strerror(-EXDEV), strerrordesc_np(EXDEV));
    assert_string_equal(plait_errname(-ELOOP), "ELOOP");
    assert_string_equal(plait_errname(EXDEV), "PLAIT_E?");
    for (int e = 1; e <= 133; e++) {
        const char *name = strerrorname_np(e);
        if (name)
            assert_string_not_equal(plait_strerror(-e), plait_strerror(12345));
        assert_true(!name == !strcmp(plait_errname(-e), "PLAIT_E?"));
    }
}

static void an_errno_becomes_a_code(void **state)
{
    (void)state;
    errno = EXDEV;
    assert_int_equal(pl_error_from_errno(EBADF), PLAIT_EBADF);
    assert_int_equal(pl_error_from_errno(ECONNRESET), PLAIT_ECONNRESET);
    assert_int_equal(pl_error_from_errno(ELOOP), -ELOOP);
    assert_int_equal(pl_error_from_errno(0), PLAIT_EIO);
    assert_int_equal(pl_error_from_errno(-1), PLAIT_EIO);
    assert_int_equal(errno, EXDEV);
}

static void codes_are_distinct(void **state)
{
    (void)state;
    for (int i = 0; i < CODES; i++)
        for (int k = 0; k < i; k++)
            assert_int_not_equal(codes[i].code, codes[k].code);
}

static void errors_are_negative_and_notices_positive(void **state)
{
    (void)state;
    assert_int_equal(PLAIT_OK, 0);
    assert_true(PLAIT_OWNER_DIED > 0 && PLAIT_DIED > 0);
    for (int i = 3; i < CODES; i++)
        assert_true(codes[i].code < 0);
}

static void where_an_errno_fits_it_is_that_errno_negated(void **state)
{
    (void)state;
    assert_int_equal(PLAIT_EPERM, -EPERM);
    assert_int_equal(PLAIT_EINVAL, -EINVAL);
    assert_int_equal(PLAIT_ENOTSUP, -EOPNOTSUPP);
    assert_int_equal(PLAIT_ETIMEDOUT, -ETIMEDOUT);
    assert_int_equal(PLAIT_ECANCELED, -ECANCELED);
    assert_int_equal(PLAIT_EBADF, -EBADF);
    assert_int_equal(PLAIT_ECONNRESET, -ECONNRESET);
    assert_int_equal(PLAIT_EIO, -EIO);
    assert_true(PLAIT_EEOF < -4000 && PLAIT_ETLS < -4000);
    assert_true(PLAIT_EARENA < -4000 && PLAIT_EWORKERS < -4000);
}

static int first_look(void *unused)
{
    (void)unused;
    return plait_last_error();
}

static void last_error_is_0_until_something_fails(void **state)
{
    (void)state;
    assert_int_equal(t_in_pthread(first_look, NULL), 0);
}

static void last_error_tells_why_there_was_no_pointer(void **state)
{
    (void)state;
    int local;
    assert_null(plait_strdup(NULL));
    assert_int_equal(plait_last_error(), PLAIT_EINVAL);
    assert_null(plait_realloc(&local, 10));
    assert_int_equal(plait_last_error(), PLAIT_EFOREIGN);
    assert_null(plait_alloc(SIZE_MAX));
    assert_int_equal(plait_last_error(), PLAIT_ENOMEM);
}

static void success_leaves_last_error_as_it_was(void **state)
{
    (void)state;
    assert_null(pl_null(PLAIT_EBUSY));
    void *block = plait_alloc(10);
    assert_non_null(block);
    assert_int_equal(plait_last_error(), PLAIT_EBUSY);
    assert_int_equal(plait_free(block), 0);
    assert_int_equal(plait_last_error(), PLAIT_EBUSY);
}

static int fail_here(void *unused)
{
    (void)unused;
    return plait_strdup(NULL) ? 0 : plait_last_error();
}

static void each_thread_has_its_own_last_error(void **state)
{
    (void)state;
    assert_null(pl_null(PLAIT_EBUSY));
    FOR_EACH_KIND(kind)
    {
        assert_int_equal(t_join_one(t_start_one(kind, fail_here, NULL)), PLAIT_EINVAL);
        assert_int_equal(plait_last_error(), PLAIT_EBUSY);
    }
    assert_int_equal(t_in_pthread(fail_here, NULL), PLAIT_EINVAL);
    assert_int_equal(plait_last_error(), PLAIT_EBUSY);
}

static void asking_leaves_errno_alone(void **state)
{
    (void)state;
    errno = EXDEV;
    plait_strerror(PLAIT_EINVAL);
    plait_errname(12345);
    plait_last_error();
    assert_int_equal(errno, EXDEV);
}

static int text_in_child(void *unused)
{
    (void)unused;
    return strcmp(plait_errname(PLAIT_ETIMEDOUT), "PLAIT_ETIMEDOUT");
}

static void forked_children_may_ask(void **state)
{
    (void)state;
    assert_int_equal(t_in_fork(text_in_child, NULL), 0);
}

int main(int argc, char **argv)
{
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_its_name),
        cmocka_unit_test(every_code_has_a_sentence_of_its_own),
        cmocka_unit_test(an_unknown_code_says_so),
        cmocka_unit_test(an_errno_that_plait_has_no_name_for_keeps_its_own),
        cmocka_unit_test(an_errno_becomes_a_code),
        cmocka_unit_test(codes_are_distinct),
        cmocka_unit_test(errors_are_negative_and_notices_positive),
        cmocka_unit_test(where_an_errno_fits_it_is_that_errno_negated),
        cmocka_unit_test(last_error_is_0_until_something_fails),
        cmocka_unit_test(last_error_tells_why_there_was_no_pointer),
        cmocka_unit_test(success_leaves_last_error_as_it_was),
        cmocka_unit_test(each_thread_has_its_own_last_error),
        cmocka_unit_test(asking_leaves_errno_alone),
        cmocka_unit_test(forked_children_may_ask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
