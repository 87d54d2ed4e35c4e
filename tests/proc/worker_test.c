/* Processes as workers: how they end and what is told of it, what they share and what they leave. */
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static plait_blame end_of_one(plait_function *fn, void *arg)
{
    plait_blame end;
    t_join_blame(t_start_one(PLAIT_PROCESS, fn, arg), &end);
    return end;
}

static void *number(intptr_t n)
{
    return (void *)n;
}

static int give_back(void *n)
{
    return (int)(intptr_t)n;
}

/* --- ways to end --- */

static int a_returned_status_is_given_whole(void *unused)
{
    (void)unused;
    const int statuses[] = {0, 1, -1, 7, 255, 256, 300, -300, INT_MAX, INT_MIN};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        plait_blame end;
        plait_worker w = t_start_one(PLAIT_PROCESS, give_back, number(statuses[i]));
        CHECK_RC(plait_join(w, &end, PLAIT_FOREVER), 0);
        CHECK_EQ(end.status, statuses[i]);
        CHECK(end.returned);
        CHECK_EQ(end.signal, 0);
    }
    return 0;
}

static int the_exit_code_is_the_status_modulo_256(void *unused)
{
    (void)unused;
    const int statuses[] = {0, 1, -1, 255, 256, 300};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        int status;
        plait_worker w = t_start_one(PLAIT_PROCESS, give_back, number(statuses[i]));
        int pid = plait_pid(w);
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        CHECK(WIFEXITED(status));
        CHECK_EQ(WEXITSTATUS(status), statuses[i] & 255);
        CHECK_EQ(t_join_one(w), statuses[i]);
    }
    return 0;
}

static int leave(void *status)
{
    exit((int)(intptr_t)status);
}

static int leave_at_once(void *status)
{
    _exit((int)(intptr_t)status);
}

static int leave_the_thread(void *status)
{
    pthread_exit(status);
}

static void expect_exit(plait_function *fn, int status, int expected)
{
    plait_blame end;
    plait_worker w = t_start_one(PLAIT_PROCESS, fn, number(status));
    CHECK_RC(plait_join(w, &end, PLAIT_FOREVER), PLAIT_DIED);
    CHECK_EQ(end.status, expected);
    CHECK_EQ(end.signal, 0);
    CHECK(!end.returned && !end.core_dumped);
}

static int exiting_is_not_returning(void *unused)
{
    (void)unused;
    expect_exit(leave, 0, 0);
    expect_exit(leave, 3, 3);
    expect_exit(leave, 255, 255);
    expect_exit(leave_at_once, 0, 0);
    expect_exit(leave_at_once, 4, 4);
    expect_exit(leave_at_once, 300, 300 & 255); /* all the kernel keeps */
    return 0;
}

/* Not under a sanitizer, whose own thread keeps the process alive. */
static int leaving_the_thread_is_not_returning(void *unused)
{
    (void)unused;
    if (t_is_sanitized())
        return PROGRAM_SKIPPED;
    expect_exit(leave_the_thread, 5, 0);
    return 0;
}

static int raise_it(void *n)
{
    raise((int)(intptr_t)n);
    return 1;
}

static int abort_it(void *unused)
{
    (void)unused;
    abort();
}

static volatile int *volatile nowhere = (volatile int *)64; /* the compiler must not see where */

static int crash(void *unused)
{
    (void)unused;
    signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would exit */
    *nowhere = 1;
    return 1;
}

static void expect_signal(plait_function *fn, int n)
{
    plait_blame end;
    plait_worker w = t_start_one(PLAIT_PROCESS, fn, number(n));
    CHECK_RC(plait_join(w, &end, PLAIT_FOREVER), PLAIT_DIED);
    CHECK_EQ(end.signal, n);
    CHECK_EQ(end.status, -n);
    CHECK(!end.returned);
}

static int a_signal_that_kills_is_named(void *unused)
{
    (void)unused;
    const int deadly[] = {SIGKILL, SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGALRM, SIGUSR1};
    for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++)
        expect_signal(raise_it, deadly[i]);
    expect_signal(abort_it, SIGABRT);
    expect_signal(crash, SIGSEGV);
    return 0;
}

/* --- ends at the very beginning --- */

static int dies_when_forked; /* which signal the child gets before plait sees it */

static void die_when_forked(void)
{
    if (dies_when_forked)
        raise(dies_when_forked);
}

/* A handler of ours runs in the child before plait has written it down. */
static void watch_forks(void)
{
    CHECK_EQ(pthread_atfork(NULL, NULL, die_when_forked), 0);
}

static int a_child_that_dies_before_it_is_registered_is_joined(void *unused)
{
    (void)unused;
    watch_forks();
    for (int i = 0; i < 20; i++) {
        plait_blame end;
        dies_when_forked = SIGKILL;
        plait_worker w = t_start_one(PLAIT_PROCESS, give_back, NULL);
        int pid = plait_pid(w);
        dies_when_forked = 0;
        CHECK_RC(plait_join(w, &end, PLAIT_FOREVER), PLAIT_DIED);
        CHECK_EQ(end.signal, SIGKILL);
        CHECK_EQ(end.pid, pid);
        CHECK_RC(plait_join(w, NULL, PLAIT_FOREVER), PLAIT_ESTALE);
    }
    CHECK(!t_has_children());
    CHECK_EQ(plait_enumerate(NULL, 0), 1);
    return 0;
}

static int a_child_that_dies_before_it_is_registered_is_not_alive_for_ever(void *unused)
{
    (void)unused;
    plait_blame end;
    watch_forks();
    dies_when_forked = SIGSEGV;
    plait_worker w = t_start_one(PLAIT_PROCESS, give_back, NULL);
    dies_when_forked = 0;
    UNTIL(!plait_is_alive(w));
    CHECK_EQ(plait_state(w), PLAIT_STATE_ENDED);
    CHECK_EQ(plait_enumerate(NULL, 0), 1);
    CHECK_RC(plait_exit_status(w, &end), 0);
    CHECK_EQ(end.signal, SIGSEGV);
    CHECK_EQ(t_join_one(w), -SIGSEGV);
    return 0;
}

static int a_function_that_crashes_at_once_is_a_result(void *unused)
{
    (void)unused;
    for (int i = 0; i < 50; i++)
        CHECK_EQ(end_of_one(crash, NULL).signal, SIGSEGV);
    CHECK(!t_has_children());
    return 0;
}

/* --- blame --- */

static int burn(void *unused)
{
    (void)unused;
    struct rusage usage;
    do
        getrusage(RUSAGE_SELF, &usage);
    while (usage.ru_utime.tv_sec == 0 && usage.ru_utime.tv_usec + usage.ru_stime.tv_usec < 30000);
    return 9;
}

static int blame_says_who_it_was_and_what_it_cost(void *unused)
{
    (void)unused;
    plait_blame end;
    plait_worker w;
    int64_t before = plait_now();
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, burn, NULL, &(plait_options){.name = "burner"}), 0);
    int pid = plait_pid(w);
    CHECK_RC(plait_join(w, &end, PLAIT_FOREVER), 0);
    int64_t after = plait_now();
    CHECK(plait_same(end.worker, w));
    CHECK_EQ(end.kind, PLAIT_PROCESS);
    CHECK(pid > 0 && pid != getpid());
    CHECK_EQ(end.pid, pid);
    CHECK_EQ(end.tid, pid);
    CHECK_EQ(end.status, 9);
    CHECK(strcmp(end.name, "burner") == 0);
    CHECK(before <= end.started && end.started <= end.ended && end.ended <= after);
    CHECK(end.user_ns + end.system_ns >= plait_ms(30));
    CHECK(end.user_ns + end.system_ns <= after - before + plait_ms(20)); /* a tick is coarse */
    CHECK(end.max_rss >= 100 << 10 && end.max_rss % 1024 == 0);
    return 0;
}

static int wait_for_ever(void *event)
{
    return plait_event_wait(event, PLAIT_FOREVER);
}

static int the_dead_are_told_apart_from_those_who_returned(void *unused)
{
    (void)unused;
    plait_event *never = plait_alloc(sizeof *never);
    plait_worker w = t_start_one(PLAIT_PROCESS, wait_for_ever, never);
    UNTIL_WAITS(w, 0);
    int64_t before = plait_now();
    plait_blame end;
    CHECK_RC(plait_kill(w), 0);
    CHECK_RC(plait_join(w, &end, PLAIT_FOREVER), PLAIT_DIED);
    CHECK_EQ(end.signal, SIGKILL);
    CHECK(end.ended >= before && end.ended <= plait_now());
    CHECK(end.started <= before);
    CHECK(end.max_rss > 0);
    return 0;
}

/* The kernel decides whether a core is dumped: a plain child shows what it does here. */
static int a_core_dump_is_told(void *unused)
{
    (void)unused;
    char folder[] = "/tmp/plait-core-XXXXXX", command[64];
    struct rlimit limit;
    CHECK(mkdtemp(folder) != NULL);
    CHECK_EQ(chdir(folder), 0);
    getrlimit(RLIMIT_CORE, &limit);
    limit.rlim_cur = limit.rlim_max < 1 << 20 ? limit.rlim_max : 1 << 20;
    CHECK_EQ(setrlimit(RLIMIT_CORE, &limit), 0);
    int status;
    pid_t pid = t_fork(abort_it, NULL);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    plait_blame end = end_of_one(abort_it, NULL);
    CHECK_EQ(end.core_dumped, WCOREDUMP(status) != 0);
    CHECK_EQ(end.signal, SIGABRT);
    limit.rlim_cur = 0;
    CHECK_EQ(setrlimit(RLIMIT_CORE, &limit), 0);
    CHECK_EQ(chdir("/"), 0);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    CHECK_EQ(system(command), 0);
    return 0;
}

/* --- what goes along --- */

/* What `fn` lets a program write to standard output; its text, and its status must be 0. */
static void output_of(plait_function *fn, char *text, size_t size)
{
    int ends[2];
    size_t have = 0;
    ssize_t n;
    CHECK_EQ(pipe(ends), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        exit(fn(NULL));
    }
    close(ends[1]);
    while ((n = read(ends[0], text + have, size - 1 - have)) > 0)
        have += (size_t)n;
    text[have] = 0;
    close(ends[0]);
    CHECK_EQ(t_reap(pid), 0);
}

static int say(void *text)
{
    printf("%s", (char *)text);
    return 0;
}

static int say_and_exit(void *text)
{
    printf("%s", (char *)text);
    exit(0);
}

static int talk(void *unused)
{
    (void)unused;
    printf("one ");
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, say, "two ")), 0);
    printf("three ");
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, say_and_exit, "four ")), 0);
    printf("five");
    return 0;
}

static int what_is_buffered_is_written_once(void *unused)
{
    (void)unused;
    char text[200];
    output_of(talk, text, sizeof text);
    CHECK(strcmp(text, "one two three four five") == 0);
    return 0;
}

static int other_streams_of_the_parent_are_not_written_by_the_child(void *unused)
{
    (void)unused;
    char path[] = "/tmp/plait-stream-XXXXXX", text[100] = "";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    unlink(path);
    FILE *file = fdopen(dup(fd), "w");
    fprintf(file, "once");
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, give_back, NULL)), 0);
    fclose(file);
    CHECK_EQ(pread(fd, text, sizeof text - 1, 0), 4);
    CHECK(strcmp(text, "once") == 0);
    close(fd);
    return 0;
}

static int handlers_ran;

static void at_exit_of_the_parent(void)
{
    handlers_ran++;
    if (handlers_ran > 1)
        _exit(55);
}

static int write_x(void *fd)
{
    return write((int)(intptr_t)fd, "x", 1) == 1 ? 0 : 1;
}

/* As Python's: the handlers that were registered before the fork are the parent's. */
static int a_child_that_returns_does_not_run_its_parents_exit_handlers(void *unused)
{
    (void)unused;
    atexit(at_exit_of_the_parent);
    handlers_ran = 1; /* in a child one more is one too many */
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, give_back, number(3))), 3);
    handlers_ran = 0;
    return 0;
}

static int descriptors_are_inherited(void *unused)
{
    (void)unused;
    int ends[2];
    char c = 0;
    CHECK_EQ(pipe(ends), 0);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, write_x, number(ends[1]))), 0);
    CHECK_EQ(read(ends[0], &c, 1), 1);
    CHECK_EQ(c, 'x');
    return 0;
}

static int be_terminated(void *unused)
{
    struct sigaction action;
    (void)unused;
    sigaction(SIGTERM, NULL, &action);
    CHECK(action.sa_handler == SIG_DFL);
    sigaction(SIGINT, NULL, &action);
    CHECK(action.sa_handler == SIG_DFL);
    raise(SIGTERM);
    return 0;
}

static int signals_are_left_at_their_defaults(void *unused)
{
    (void)unused;
    struct sigaction action;
    CHECK_EQ(end_of_one(be_terminated, NULL).signal, SIGTERM);
    for (int n = 1; n < 32; n++) {
        sigaction(n, NULL, &action);
        if (n != SIGKILL && n != SIGSTOP && !t_is_sanitized())
            CHECK(action.sa_handler == SIG_DFL);
    }
    return 0;
}

/* --- a program without the usual descriptors, folders and calls --- */

static int wait_a_while(void *event)
{
    return plait_event_wait(event, plait_ms(50)) == PLAIT_ETIMEDOUT ? 5 : 1;
}

/* A daemon's: what it then writes to "standard error" must not land in plait. */
static int closed_standard_descriptors_are_not_taken(void *unused)
{
    (void)unused;
    int keep = dup(2);
    for (int fd = 0; fd < 3; fd++)
        close(fd);
    plait_event *never = plait_alloc(sizeof *never);
    CHECK(never != NULL);
    plait_worker w = t_start_one(PLAIT_PROCESS, wait_a_while, never);
    for (int fd = 0; fd < 3; fd++)
        CHECK_EQ(write(fd, "stray", 5), -1);
    int status = t_join_one(w);
    dup2(keep, 2);
    CHECK_EQ(status, 5);
    return 0;
}

static int work_in_an_empty_root(void *folder)
{
    if (chroot(folder) != 0 || chdir("/") != 0)
        return PROGRAM_SKIPPED;
    plait_event *never = plait_alloc(sizeof *never);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, wait_a_while, never)), 5);
    CHECK_EQ(end_of_one(raise_it, number(SIGKILL)).signal, SIGKILL);
    plait_worker w = t_start_one(PLAIT_PROCESS, wait_for_ever, never);
    UNTIL(plait_state(w) == PLAIT_STATE_BLOCKED);
    t_kill(w);
    CHECK(plait_cpu_count() >= 1);
    CHECK_EQ(plait_enumerate(NULL, 0), 1);
    return 0;
}

static int everything_works_without_proc(void *unused)
{
    (void)unused;
    char folder[] = "/tmp/plait-root-XXXXXX";
    CHECK(mkdtemp(folder) != NULL);
    int status = t_in_fork(work_in_an_empty_root, folder);
    rmdir(folder);
    return status;
}

/* --- leftovers --- */

static int a_thousand_starts_leave_nothing(void *unused)
{
    (void)unused;
    plait_arena_statistics before, after;
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, give_back, NULL)), 0);
    CHECK_RC(plait_arena_stats(&before), 0);
    int files = t_open_files();
    for (long i = 0; i < t_scaled(t_is_sanitized() ? 100 : 1000); i++) {
        plait_worker w;
        int argument = (int)i;
        CHECK_RC(plait_start(&w, PLAIT_PROCESS, i % 3 ? give_back : raise_it,
                             i % 3 ? (void *)&argument : number(SIGKILL),
                             &(plait_options){.arg_size = i % 3 ? sizeof argument : 0,
                                              .start_method = PLAIT_FORK}),
                 0);
        CHECK(plait_join(w, NULL, PLAIT_FOREVER) >= 0);
    }
    CHECK(!t_has_children());
    CHECK_EQ(t_open_files(), files);
    CHECK_RC(plait_arena_stats(&after), 0);
    CHECK_EQ(entries_in_use(), 1);
    CHECK_EQ(after.blocks, before.blocks);
    CHECK_EQ(plait_enumerate(NULL, 0), 1);
    return 0;
}

static int die_with_argument(void *how)
{
    switch (*(int *)how) {
    case 0:
        raise(SIGKILL);
        break;
    case 1:
        exit(1);
    case 2:
        _exit(1);
    case 3:
        pthread_exit(NULL);
    }
    return 0;
}

static int the_copy_of_an_argument_is_freed_however_the_worker_ends(void *unused)
{
    (void)unused;
    plait_arena_statistics before, after;
    CHECK_RC(plait_arena_stats(&before), 0);
    for (int how = 0; how < (t_is_sanitized() ? 3 : 5); how++) {
        plait_worker w;
        CHECK_RC(plait_start(&w, PLAIT_PROCESS, die_with_argument, &how,
                             &(plait_options){.arg_size = sizeof how}),
                 0);
        CHECK(plait_join(w, NULL, PLAIT_FOREVER) >= 0);
        CHECK_RC(plait_arena_stats(&after), 0);
        CHECK_EQ(after.blocks, before.blocks);
    }
    return 0;
}

static int detached_children_are_collected_by_later_calls(void *unused)
{
    (void)unused;
    plait_worker w;
    for (int i = 0; i < 20; i++)
        CHECK_RC(plait_start(&w, PLAIT_PROCESS, give_back, NULL, &(plait_options){.detach = true}),
                 0);
    UNTIL(plait_children(NULL, 0) == 0 && !t_has_children());
    UNTIL(plait_enumerate(NULL, 0) == 1);
    CHECK_RC(plait_join(w, NULL, PLAIT_FOREVER), PLAIT_ESTALE);
    return 0;
}

/* --- generations --- */

static plait_worker started_by_thread;

static int start_from_here(void *fn)
{
    started_by_thread = t_start_one(PLAIT_PROCESS, (plait_function *)(uintptr_t)fn, number(6));
    return 0;
}

static int a_process_started_by_a_thread_is_the_processs_child(void *unused)
{
    (void)unused;
    plait_worker thread = t_start_one(PLAIT_THREAD, start_from_here, (void *)(uintptr_t)give_back);
    CHECK_EQ(t_join_one(thread), 0);
    t_sleep(plait_ms(50)); /* long enough for a sweep to see that the starter has ended */
    plait_event never = {0};
    CHECK_RC(plait_event_wait(&never, plait_ms(50)), PLAIT_ETIMEDOUT);
    plait_blame end;
    CHECK_RC(plait_join(started_by_thread, &end, PLAIT_FOREVER), 0);
    CHECK_EQ(end.status, 6);
    CHECK(!t_has_children());
    return 0;
}

/* Generation n starts generation n - 1 and returns n more than it did. */
static int beget(void *n)
{
    if (!n)
        return 0;
    plait_worker child = t_start_one(PLAIT_PROCESS, beget, number((intptr_t)n - 1));
    CHECK(plait_same(plait_parent(child), plait_self()));
    CHECK_EQ(plait_children(NULL, 0), 1);
    int sum = (int)(intptr_t)n + t_join_one(child);
    CHECK_EQ(plait_children(NULL, 0), 0);
    return sum;
}

static int workers_start_workers(void *unused)
{
    (void)unused;
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, beget, number(8))), 8 * 9 / 2);
    CHECK_EQ(plait_enumerate(NULL, 0), 1);
    return 0;
}

static int inherited(void *unused)
{
    (void)unused;
    return t_open_files();
}

static int inherited_by_grandchild(void *unused)
{
    (void)unused;
    return t_join_one(t_start_one(PLAIT_PROCESS, inherited, NULL));
}

/* What a child needs for itself (its tie to the parent) must not pile up from one to the next. */
static int descriptors_do_not_pile_up_over_generations(void *unused)
{
    (void)unused;
    int child = t_join_one(t_start_one(PLAIT_PROCESS, inherited, NULL));
    int grandchild = t_join_one(t_start_one(PLAIT_PROCESS, inherited_by_grandchild, NULL));
    CHECK_EQ(grandchild, child);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROGRAM(a_returned_status_is_given_whole),
        PROGRAM(the_exit_code_is_the_status_modulo_256),
        PROGRAM(exiting_is_not_returning),
        PROGRAM(leaving_the_thread_is_not_returning),
        PROGRAM(a_signal_that_kills_is_named),
        PROGRAM(a_child_that_dies_before_it_is_registered_is_joined),
        PROGRAM(a_child_that_dies_before_it_is_registered_is_not_alive_for_ever),
        PROGRAM(a_function_that_crashes_at_once_is_a_result),
        PROGRAM(blame_says_who_it_was_and_what_it_cost),
        PROGRAM(the_dead_are_told_apart_from_those_who_returned),
        PROGRAM(a_core_dump_is_told),
        PROGRAM(what_is_buffered_is_written_once),
        PROGRAM(other_streams_of_the_parent_are_not_written_by_the_child),
        PROGRAM(a_child_that_returns_does_not_run_its_parents_exit_handlers),
        PROGRAM(descriptors_are_inherited),
        PROGRAM(signals_are_left_at_their_defaults),
        PROGRAM(closed_standard_descriptors_are_not_taken),
        PROGRAM(everything_works_without_proc),
        PROGRAM(a_thousand_starts_leave_nothing),
        PROGRAM(the_copy_of_an_argument_is_freed_however_the_worker_ends),
        PROGRAM(detached_children_are_collected_by_later_calls),
        PROGRAM(a_process_started_by_a_thread_is_the_processs_child),
        PROGRAM(workers_start_workers),
        PROGRAM(descriptors_do_not_pile_up_over_generations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
