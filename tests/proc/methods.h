/* methods - tests of worker processes that are to hold for each start method.
 *
 * What such a test runs in a process finds all it knows at its argument, in the arena: a process that is executed afresh
 * has none of its parent's variables. Its main begins with BEGIN_METHODS. */
#ifndef TESTS_PROC_METHODS_H
#define TESTS_PROC_METHODS_H

#include "program.h"

#include "worker/begin.h"

#define FOR_EACH_METHOD(method) for (int method = PLAIT_FORK; method <= PLAIT_SPAWN; method++)

/* As plait_init, but without an arena: each test is a family of its own. */
#define BEGIN_METHODS(argc, argv) CHECK(pl_program_begin((argc), (argv)) == 0)

static inline plait_worker start_by(int method, plait_function *fn, void *arg)
{
    plait_worker worker;
    CHECK_RC(plait_start(&worker, PLAIT_PROCESS, fn, arg, &(plait_options){.start_method = method}),
             0);
    return worker;
}

#endif
