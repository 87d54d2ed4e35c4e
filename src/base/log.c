/* The log: one function of the program's, or standard error. */
#include "base/log.h"

#include <errno.h>
#include <plait/log.h>
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

int plait_set_log(plait_log_function *fn, void *arg)
{
    argument = arg;
    function = fn ? fn : to_stderr;
    return 0;
}

void pl_log(const char *text)
{
    int saved = errno;
    function(text, argument);
    errno = saved;
}
