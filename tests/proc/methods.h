/* methods - tests of worker processes that are to hold for each start method.
 *
 * What such a test runs in a process finds all it knows at its argument, in the arena: a process that is executed afresh
 * has none of its parent's variables. */
#ifndef TESTS_PROC_METHODS_H
#define TESTS_PROC_METHODS_H

#include "program.h"

static const int methods[] = {PLAIT_FORK};

#define FOR_EACH_METHOD(method)                                                                    \
    for (size_t place_ = 0, last_ = sizeof methods / sizeof methods[0]; place_ < last_; place_++)  \
        for (int method = methods[place_], once_ = 1; once_; once_ = 0)

static inline plait_worker start_by(int method, plait_function *fn, void *arg)
{
    plait_worker worker;
    CHECK_RC(plait_start(&worker, PLAIT_PROCESS, fn, arg, &(plait_options){.start_method = method}),
             0);
    return worker;
}

#endif
