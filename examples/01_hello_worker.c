/* A worker: started, named, given an argument, joined. One word makes it a thread, a process
 * or a task.
 *
 * Try:  01_hello_worker thread
 *       01_hello_worker process
 *       01_hello_worker task
 *
 * A process does not see main's variables: what it is given must lie in the arena (plait_alloc,
 * plait_strdup), or be copied for it (.arg_size). A thread or a task may be given any pointer, so
 * code that obeys the rule for processes works for all. The task runs while main waits in plait_join. */
#include <plait/plait.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int greet(void *arg)
{
    const char *whom = arg;
    char name[PLAIT_NAME_SIZE];
    int rc = plait_name(plait_self(), name, sizeof name);
    if (rc < 0)
        return rc;
    printf("hello, %s, says the %s\n", whom, name);
    return 7;
}

static int failed(const char *what, int code)
{
    fprintf(stderr, "%s: %s\n", what, plait_strerror(code));
    return 1;
}

static int kind_named(const char *name)
{
    return strcmp(name, "process") == 0 ? PLAIT_PROCESS
           : strcmp(name, "task") == 0  ? PLAIT_TASK
                                        : PLAIT_THREAD;
}

int main(int argc, char **argv)
{
    int kind = kind_named(argc > 1 ? argv[1] : "thread");
    plait_worker worker;
    plait_blame end;

    int rc = plait_init(&argc, &argv); /* the first call of a program that uses plait */
    if (rc < 0)
        return failed("plait_init", rc);
    char *whom = plait_strdup("world");
    if (!whom)
        return failed("plait_strdup", plait_last_error());

    rc = plait_start(&worker, kind, greet, whom, &(plait_options){.name = "greeter"});
    if (rc < 0)
        return failed("plait_start", rc);
    rc = plait_join(worker, &end, PLAIT_FOREVER);
    if (rc < 0)
        return failed("plait_join", rc);

    printf("the %s returned %d; it ran in %s process\n", end.name, end.status,
           end.pid == getpid() ? "this" : "another");
    plait_free(whom);
    return 0;
}
