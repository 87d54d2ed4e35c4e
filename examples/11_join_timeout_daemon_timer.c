/* Waiting for a worker with a limit; workers that exit does not wait for; a timer, cancelled in time.
 *
 * Try:  11_join_timeout_daemon_timer thread
 *       11_join_timeout_daemon_timer process
 *
 * plait_join with a timeout only stops waiting: the worker goes on, and can be joined later. A daemon is a worker that the program does
 * not wait for when it exits: a thread just ends with it, a process gets SIGTERM. A timer calls a function after a
 * while, unless it is cancelled before. */
#include <plait/plait.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void check(const char *what, int rc)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, plait_strerror(rc));
    _Exit(1);
}

static int wait_for_go(void *arg)
{
    return plait_event_wait(arg, PLAIT_FOREVER) == 0 ? 42 : 1;
}

static int never_end(void *unused)
{
    (void)unused;
    for (;;)
        plait_sleep(
            PLAIT_FOREVER); /* a request to stop ends one sleep only: it does not want to stop */
    return 0;
}

static int say(void *arg)
{
    puts(arg);
    return 0;
}

static void join_with_a_limit(int kind)
{
    plait_worker worker;
    plait_blame end;
    plait_event *go = plait_alloc(sizeof *go);
    check("plait_start", plait_start(&worker, kind, wait_for_go, go, NULL));
    int rc = plait_join(worker, &end, plait_ms(20));
    printf("joined for 20 ms: %s, it %s\n", plait_errname(rc),
           plait_is_alive(worker) ? "runs on" : "has ended");
    plait_event_set(go);
    check("plait_join", plait_join(worker, &end, PLAIT_FOREVER));
    printf("joined: it returned %d\n", end.status);
    plait_free(go);
}

static void use_timers(void)
{
    plait_timer soon = {0}, late = {0};
    check("plait_timer_start",
          plait_timer_start(&soon, PLAIT_THREAD, plait_ms(10), say, "a timer has fired", NULL));
    check("plait_timer_start",
          plait_timer_start(&late, PLAIT_THREAD, plait_seconds(60), say, "never said", NULL));
    check("plait_timer_join", plait_timer_join(&soon, NULL, PLAIT_FOREVER));
    check("plait_timer_cancel", plait_timer_cancel(&soon)); /* too late, and harmless */
    check("plait_timer_cancel", plait_timer_cancel(&late));
    check("plait_timer_join", plait_timer_join(&late, NULL, PLAIT_FOREVER));
    printf("the other was cancelled: %u calls\n", plait_timer_fired(&late));
}

int main(int argc, char **argv)
{
    int kind = argc > 1 && strcmp(argv[1], "process") == 0 ? PLAIT_PROCESS : PLAIT_THREAD;
    plait_worker daemon;
    check("plait_init", plait_init(&argc, &argv));
    join_with_a_limit(kind);
    use_timers();
    plait_options options = {.name = "daemon", .daemon = true};
    check("plait_start", plait_start(&daemon, kind, never_end, NULL, &options));
    puts("exit does not wait for the daemon");
    return 0;
}
