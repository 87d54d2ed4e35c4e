/* Time: a test per promise of include/plait/clock.h. */
#include "harness/harness.h"

#include "base/clock.h"

#include <errno.h>
#include <math.h>
#include <time.h>

static void times_are_nanoseconds(void **state)
{
    (void)state;
    assert_int_equal(plait_us(1), 1000);
    assert_int_equal(plait_ms(20), 20 * 1000 * 1000);
    assert_true(plait_seconds(1.5) == INT64_C(1500000000));
    assert_int_equal(plait_us(0), PLAIT_NOWAIT);
    assert_int_equal(plait_ms(0), PLAIT_NOWAIT);
    assert_int_equal(plait_seconds(0), PLAIT_NOWAIT);
    assert_int_equal(plait_seconds(-0.0), PLAIT_NOWAIT);
    assert_int_equal(PLAIT_FOREVER, -1);
    assert_int_equal(PLAIT_NOWAIT, 0);
}

static void negative_amounts_stay_negative_and_are_not_forever(void **state)
{
    (void)state;
    assert_int_equal(plait_us(-1), -1000);
    assert_int_equal(plait_ms(-1), -1000000);
    assert_true(plait_seconds(-1) == INT64_C(-1000000000));
    assert_int_equal(pl_check_timeout(plait_us(-1)), PLAIT_EINVAL);
    assert_int_equal(pl_check_timeout(plait_ms(-1)), PLAIT_EINVAL);
    assert_int_equal(pl_check_timeout(plait_seconds(-0.001)), PLAIT_EINVAL);
}

static void what_does_not_fit_is_refused_not_clamped_or_wrapped(void **state)
{
    (void)state;
    const int64_t large[] = {plait_us(INT64_MAX),  plait_ms(INT64_MAX),  plait_ms(INT64_MAX / 1000),
                             plait_seconds(9.3e9), plait_seconds(1e300), plait_seconds(INFINITY)};
    const int64_t small[] = {plait_us(INT64_MIN),   plait_ms(INT64_MIN),      plait_seconds(-9.3e9),
                             plait_seconds(-1e300), plait_seconds(-INFINITY), plait_seconds(NAN)};
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++)
        CHECK_RC(pl_check_timeout(large[i]), PLAIT_EOVERFLOW);
    for (size_t i = 0; i < sizeof small / sizeof small[0]; i++)
        CHECK_RC(pl_check_timeout(small[i]), PLAIT_EINVAL);
    assert_true(plait_seconds(NAN) == INT64_MIN);
    assert_true(plait_us(INT64_MAX) == INT64_MAX && plait_us(INT64_MIN) == INT64_MIN);
}

static void the_largest_timeout_is_146_years(void **state)
{
    (void)state;
    assert_true(PLAIT_TIMEOUT_MAX == INT64_MAX / 2);
    assert_int_equal(PLAIT_TIMEOUT_MAX / INT64_C(1000000000) / (365 * 24 * 3600), 146);
    CHECK_RC(pl_check_timeout(PLAIT_TIMEOUT_MAX), 0);
    CHECK_RC(pl_check_timeout(PLAIT_TIMEOUT_MAX + 1), PLAIT_EOVERFLOW);
    CHECK_RC(pl_check_timeout(PLAIT_FOREVER), 0);
    CHECK_RC(pl_check_timeout(-2), PLAIT_EINVAL);
}

static void a_deadline_is_now_plus_the_timeout(void **state)
{
    (void)state;
    int64_t before = plait_now(), deadline = pl_deadline(plait_ms(10));
    assert_true(deadline >= before + plait_ms(10));
    assert_true(deadline <= plait_now() + plait_ms(10));
    assert_true(pl_deadline(PLAIT_FOREVER) == PL_NEVER);
    assert_true(pl_deadline(PLAIT_TIMEOUT_MAX) > before); /* it does not wrap */
    assert_true(pl_passed(before));
    assert_false(pl_passed(PL_NEVER));
}

static void now_never_goes_back(void **state)
{
    (void)state;
    int64_t last = plait_now();
    for (int i = 0; i < 100000; i++) {
        int64_t now = plait_now();
        assert_true(now >= last);
        last = now;
    }
}

static void now_is_the_monotonic_clock(void **state)
{
    (void)state;
    struct timespec ts;
    int64_t before = plait_now();
    clock_gettime(CLOCK_MONOTONIC, &ts);
    int64_t between = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
    assert_true(before <= between && between <= plait_now());
}

static int note(void *arg)
{
    TELL(*(int64_t *)arg, plait_now());
    return 0;
}

static void all_workers_have_the_same_clock(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        int64_t *noted = t_new(s, sizeof *noted);
        for (int i = 0; i < 2; i++) {
            int64_t before = plait_now();
            CHECK_EQ(t_join_one(t_start_one(s->kinds[i], note, noted)), 0);
            CHECK(before <= *noted && *noted <= plait_now());
        }
        t_delete(s, noted);
    }
}

static void errno_is_left_alone(void **state)
{
    (void)state;
    errno = EXDEV;
    plait_now();
    assert_int_equal(errno, EXDEV);
}

int main(int argc, char **argv)
{
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_nanoseconds),
        cmocka_unit_test(negative_amounts_stay_negative_and_are_not_forever),
        cmocka_unit_test(what_does_not_fit_is_refused_not_clamped_or_wrapped),
        cmocka_unit_test(the_largest_timeout_is_146_years),
        cmocka_unit_test(a_deadline_is_now_plus_the_timeout),
        cmocka_unit_test(now_never_goes_back),
        cmocka_unit_test(now_is_the_monotonic_clock),
        cmocka_unit_test(all_workers_have_the_same_clock),
        cmocka_unit_test(errno_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
