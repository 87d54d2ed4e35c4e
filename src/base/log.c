/* The log: one function of the program's, or standard error.
 *
 * The function may wait for a lock itself, and what it waits for may close a ring again. That is reported to standard
 * error: if it were told, it would wait anew, be told of that, and so on to the end of the stack. */
#include "base/log.h"

#include <errno.h>
#include <plait/log.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

static void to_stderr(const char *text, void *unused)
{
    (void)unused;
    ssize_t written = write(STDERR_FILENO, text, strlen(text));
    (void)written; /* with no standard error there is nobody to tell */
}

static plait_log_function *function = to_stderr; /* written by plait_set_log, before it is needed */
static void *argument;
static _Thread_local bool is_telling; /* this thread is in the function */

int plait_set_log(plait_log_function *fn, void *arg)
{
    argument = arg;
    function = fn ? fn : to_stderr;
    return 0;
}

void pl_log(const char *text)
{
    int saved = errno;
    if (is_telling) {
        to_stderr(text, NULL);
    } else {
        is_telling = true;
        function(text, argument);
        is_telling = false;
    }
    errno = saved;
}
