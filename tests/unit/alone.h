/* The little of cmocka and of the harness that context_test.c uses, for processors that we have a compiler and an emulator
 * for, but no cmocka. */
#ifndef TESTS_UNIT_ALONE_H
#define TESTS_UNIT_ALONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#define assert_true(x)                                                                             \
    ((x) ? (void)0 : (fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #x), exit(1)))
#define assert_false(x) assert_true(!(x))
#define assert_int_equal(a, b) assert_true((a) == (b))
#define CHECK_RC(call, expected) assert_true((call) == (expected))

struct CMUnitTest {
    const char *name;
    void (*run)(void **state);
};
#define cmocka_unit_test(fn)                                                                       \
    {                                                                                              \
#fn, fn                                                                                    \
    }
#define cmocka_run_group_tests(tests, begin, end)                                                  \
    run_all(tests, sizeof tests / sizeof *tests, begin, end)

static int run_all(const struct CMUnitTest *tests, size_t n, int (*begin)(void **),
                   int (*end)(void **))
{
    begin(NULL);
    for (size_t i = 0; i < n; i++) {
        tests[i].run(NULL);
        printf("passed: %s\n", tests[i].name);
    }
    return end(NULL);
}

#endif
