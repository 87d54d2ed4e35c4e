/* The orderly end of a program: who is waited for, who is asked to end, who is left behind. */
#include "program.h"

#include "park/park.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a program tells its watcher. */
struct board {
    int ready; /* it is about to end */
    int go;    /* its workers may go on */
    int done;  /* workers that came to their end */
    int order; /* counts what happens */
    int at[8]; /* when each did, by `order` */
    pid_t pid;
};

enum { WORKER, DAEMON, HANDLER };

static int return_one(void *unused)
{
    (void)unused;
    return 1;
}

static int stand_still(void *unused)
{
    (void)unused;
    while (pause())
        ;
    return 0;
}

static int finish_when_told(void *board)
{
    struct board *b = board;
    UNTIL(SEEN(b->go));
    TELL(b->at[WORKER], COUNT(b->order));
    COUNT(b->done);
    return 0;
}

static plait_worker start_with(int kind, plait_function *fn, void *arg, plait_options options)
{
    plait_worker w;
    options.start_method = PLAIT_FORK;
    CHECK_RC(plait_start(&w, kind, fn, arg, &options), 0);
    return w;
}

/* Runs `fn` as a program that ends by exit(its result). */
struct call {
    plait_function *fn;
    struct board *board;
};

static int run_and_exit(void *call)
{
    struct call *c = call;
    exit(c->fn(c->board));
}

static pid_t begin(plait_function *fn, struct board *b)
{
    struct call call = {fn, b};
    adopt_orphans();
    return t_fork(run_and_exit, &call);
}

static int run(plait_function *fn, struct board *b)
{
    return t_reap(begin(fn, b));
}

/* The program has reached its end and waits there; it ends only when its workers have been told. */
static void expect_to_wait(plait_function *fn, int workers)
{
    struct board *b = board_new(sizeof *b);
    pid_t pid = begin(fn, b);
    UNTIL(SEEN(b->ready));
    t_sleep(plait_ms(30));
    CHECK(!has_ended(pid));
    CHECK_EQ(SEEN(b->done), 0);
    TELL(b->go, 1);
    CHECK_EQ(t_reap(pid), 4);
    CHECK_EQ(b->done, workers);
}

/* --- waited for --- */

static int end_with_threads_and_processes(void *board)
{
    struct board *b = board;
    for (int i = 0; i < 2; i++)
        FOR_EACH_KIND(kind)
    t_start_one(kind, finish_when_told, b);
    TELL(b->ready, 1);
    return 4;
}

static int exit_waits_for_threads_and_processes(void *unused)
{
    (void)unused;
    expect_to_wait(end_with_threads_and_processes, 4);
    return 0;
}

static int start_more_at_the_end(void *board)
{
    struct board *b = board;
    UNTIL(SEEN(b->go));
    FOR_EACH_KIND(kind)
    t_start_one(kind, finish_when_told, b);
    COUNT(b->done);
    return 0;
}

static int end_with_one_who_starts_more(void *board)
{
    struct board *b = board;
    t_start_one(PLAIT_THREAD, start_more_at_the_end, b);
    t_start_one(PLAIT_PROCESS, start_more_at_the_end, b);
    TELL(b->ready, 1);
    return 4;
}

static int those_started_meanwhile_are_waited_for_too(void *unused)
{
    (void)unused;
    expect_to_wait(end_with_one_who_starts_more, 6);
    return 0;
}

static int start_by_a_thread_that_ends(void *board)
{
    t_start_one(PLAIT_PROCESS, finish_when_told, board);
    t_start_one(PLAIT_THREAD, finish_when_told, board);
    return 0;
}

static int end_with_workers_of_a_thread(void *board)
{
    struct board *b = board;
    CHECK_EQ(t_join_one(t_start_one(PLAIT_THREAD, start_by_a_thread_that_ends, b)), 0);
    t_in_pthread(start_by_a_thread_that_ends, b);
    TELL(b->ready, 1);
    return 4;
}

static int those_whose_starter_has_ended_are_waited_for_too(void *unused)
{
    (void)unused;
    expect_to_wait(end_with_workers_of_a_thread, 4);
    return 0;
}

static int end_although_cancelled(void *board)
{
    struct board *b = board;
    FOR_EACH_KIND(kind)
    t_start_one(kind, finish_when_told, b);
    CHECK_RC(plait_cancel(plait_self()), 0);
    TELL(b->ready, 1);
    return 4;
}

static int a_request_to_stop_does_not_cut_the_end_short(void *unused)
{
    (void)unused;
    expect_to_wait(end_although_cancelled, 2);
    return 0;
}

static int exit_here(void *board)
{
    struct board *b = board;
    TELL(b->ready, 1);
    exit(4);
}

static int end_by_a_worker_thread(void *board)
{
    struct board *b = board;
    FOR_EACH_KIND(kind)
    t_start_one(kind, finish_when_told, b);
    t_start_one(PLAIT_THREAD, exit_here, b);
    stand_still(NULL);
    return 1;
}

static int a_worker_thread_may_end_the_program(void *unused)
{
    (void)unused;
    expect_to_wait(end_by_a_worker_thread, 2);
    return 0;
}

static int end_by_a_foreign_thread(void *board)
{
    struct board *b = board;
    FOR_EACH_KIND(kind)
    t_start_one(kind, finish_when_told, b);
    t_in_pthread(exit_here, b);
    return 1;
}

static int a_thread_of_the_program_may_end_it(void *unused)
{
    (void)unused;
    expect_to_wait(end_by_a_foreign_thread, 2);
    return 0;
}

static int end_with_the_dead(void *unused)
{
    (void)unused;
    for (int i = 0; i < 10; i++) {
        t_start_one(PLAIT_PROCESS, return_one, NULL);
        t_start_one(PLAIT_THREAD, return_one, NULL);
        CHECK_RC(plait_kill(t_start_one(PLAIT_PROCESS, stand_still, NULL)), 0);
    }
    return 4;
}

static int workers_nobody_joined_are_no_hindrance(void *unused)
{
    (void)unused;
    CHECK_EQ(run(end_with_the_dead, board_new(sizeof(struct board))), 4);
    return 0;
}

static int end_with_stolen_children(void *unused)
{
    (void)unused;
    for (int i = 0; i < 4; i++)
        t_start_one(PLAIT_PROCESS, return_one, NULL);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    signal(SIGCHLD, SIG_IGN);
    for (int i = 0; i < 4; i++)
        t_start_one(PLAIT_PROCESS, return_one, NULL);
    return 4;
}

static int children_that_others_collected_are_no_hindrance(void *unused)
{
    (void)unused;
    CHECK_EQ(run(end_with_stolen_children, board_new(sizeof(struct board))), 4);
    return 0;
}

/* --- daemons --- */

static int end_with_daemon_threads(void *unused)
{
    (void)unused;
    static plait_event never;
    start_with(PLAIT_THREAD, stand_still, NULL, (plait_options){.daemon = true});
    plait_worker w = start_with(PLAIT_THREAD, stand_still, &never, (plait_options){.daemon = true});
    CHECK_EQ(plait_is_alive(w), 1);
    return 4;
}

static int daemon_threads_are_left_behind(void *unused)
{
    (void)unused;
    CHECK_EQ(run(end_with_daemon_threads, board_new(sizeof(struct board))), 4);
    return 0;
}

static int end_with_daemon_processes(void *board)
{
    struct board *b = board;
    plait_worker w = start_with(PLAIT_PROCESS, stand_still, NULL, (plait_options){.daemon = true});
    b->pid = plait_pid(w);
    start_with(PLAIT_PROCESS, stand_still, NULL, (plait_options){.daemon = true});
    return 4;
}

static int daemon_processes_end_with_the_program(void *unused)
{
    (void)unused;
    struct board *b = board_new(sizeof *b);
    CHECK_EQ(run(end_with_daemon_processes, b), 4);
    CHECK(has_ended(b->pid));
    CHECK_EQ(kill(b->pid, 0), -1); /* the program collected it itself */
    return 0;
}

/* A daemon that tidies up when it is asked to end, and takes its time. */
static int serve(void *board)
{
    struct board *b = board;
    sigset_t set;
    int signal;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    TELL(b->ready, 1);
    CHECK_EQ(sigwait(&set, &signal), 0);
    t_sleep(plait_ms(30));
    TELL(b->at[DAEMON], COUNT(b->order));
    COUNT(b->done);
    return 0;
}

static int end_with_tidy_daemon(void *board)
{
    struct board *b = board;
    start_with(PLAIT_PROCESS, serve, b, (plait_options){.daemon = true});
    UNTIL(SEEN(b->ready));
    return 4;
}

static int a_daemon_process_is_given_the_time_to_tidy_up(void *unused)
{
    (void)unused;
    struct board *b = board_new(sizeof *b);
    CHECK_EQ(run(end_with_tidy_daemon, b), 4);
    CHECK_EQ(b->done, 1);
    return 0;
}

static int end_with_both(void *board)
{
    struct board *b = board;
    start_with(PLAIT_PROCESS, serve, b, (plait_options){.daemon = true});
    UNTIL(SEEN(b->ready));
    t_start_one(PLAIT_THREAD, finish_when_told, b);
    return 4;
}

/* The others may need its service to the last. */
static int daemons_serve_until_the_others_have_ended(void *unused)
{
    (void)unused;
    struct board *b = board_new(sizeof *b);
    pid_t pid = begin(end_with_both, b);
    UNTIL(SEEN(b->ready));
    t_sleep(plait_ms(30));
    CHECK_EQ(SEEN(b->order), 0);
    TELL(b->go, 1);
    CHECK_EQ(t_reap(pid), 4);
    CHECK_EQ(b->at[WORKER], 1);
    CHECK_EQ(b->at[DAEMON], 2);
    return 0;
}

static int become_sleep(void *board)
{
    struct board *b = board;
    TELL(b->pid, getpid());
    execlp("sleep", "sleep", "1000", NULL);
    return 1;
}

static int end_with_another_program(void *board)
{
    struct board *b = board;
    plait_worker w = start_with(PLAIT_PROCESS, become_sleep, b, (plait_options){.daemon = true});
    UNTIL(SEEN(b->pid));
    t_sleep(plait_ms(30)); /* until it has become another, as a rule */
    CHECK_EQ(plait_is_alive(w), 1);
    return 4;
}

static int a_daemon_that_became_another_program_is_ended_too(void *unused)
{
    (void)unused;
    struct board *b = board_new(sizeof *b);
    CHECK_EQ(run(end_with_another_program, b), 4);
    CHECK(has_ended(b->pid));
    return 0;
}

/* --- detached and foreign --- */

static int end_with_detached(void *board)
{
    struct board *b = board;
    start_with(PLAIT_PROCESS, finish_when_told, b, (plait_options){.detach = true});
    start_with(PLAIT_THREAD, stand_still, NULL, (plait_options){.detach = true});
    plait_detach(t_start_one(PLAIT_THREAD, stand_still, NULL));
    return 4;
}

static int the_detached_are_not_waited_for(void *unused)
{
    (void)unused;
    struct board *b = board_new(sizeof *b);
    CHECK_EQ(run(end_with_detached, b), 4);
    CHECK_EQ(b->done, 0);
    TELL(b->go, 1); /* the process lives on and does what it was to do */
    UNTIL(SEEN(b->done) == 1);
    return 0;
}

static void *foreign(void *event)
{
    plait_event_wait(event, PLAIT_FOREVER);
    return NULL;
}

static int end_with_foreign_threads(void *unused)
{
    (void)unused;
    static plait_event never;
    pthread_t thread;
    t_start_one(PLAIT_THREAD, return_one, NULL);
    CHECK_EQ(pthread_create(&thread, NULL, foreign, &never), 0);
    UNTIL(plait_enumerate(NULL, 0) >= 2);
    return 4;
}

static int threads_of_the_program_are_not_waited_for(void *unused)
{
    (void)unused;
    CHECK_EQ(run(end_with_foreign_threads, board_new(sizeof(struct board))), 4);
    return 0;
}

static int fork_and_end(void *board)
{
    struct board *b = board;
    struct call call = {return_one, b};
    for (int daemon = 0; daemon < 2; daemon++)
        start_with(PLAIT_PROCESS, finish_when_told, b, (plait_options){.daemon = daemon});
    CHECK_EQ(t_in_fork(run_and_exit, &call), 1);
    CHECK_EQ(plait_children(NULL, 0), 2);
    plait_worker children[2];
    plait_children(children, 2);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(plait_is_alive(children[i]), 1);
    TELL(b->go, 1);
    UNTIL(SEEN(b->done) == 2);
    return 4;
}

static int the_end_of_a_forked_child_is_not_its_parents(void *unused)
{
    (void)unused;
    CHECK_EQ(run(fork_and_end, board_new(sizeof(struct board))), 4);
    return 0;
}

/* --- handlers --- */

static struct board *handlers_board;

static void use_plait_at_exit(void)
{
    struct board *b = handlers_board;
    void *block = plait_alloc(10);
    plait_lock lock = {0};
    if (block && plait_free(block) == 0 && plait_lock_acquire(&lock, PLAIT_NOWAIT) == 0 &&
        plait_lock_release(&lock) == 0)
        TELL(b->at[HANDLER], 1);
}

static int end_with_handlers(void *board)
{
    handlers_board = board;
    atexit(use_plait_at_exit);
    t_start_one(PLAIT_PROCESS, return_one, NULL);
    return 4;
}

static int handlers_may_use_plait(void *unused)
{
    (void)unused;
    struct board *b = board_new(sizeof *b);
    CHECK_EQ(run(end_with_handlers, b), 4);
    CHECK_EQ(b->at[HANDLER], 1);
    return 0;
}

/* --- the end of a worker process is the end of a program, too --- */

static int leave_children(void *board)
{
    struct board *b = board;
    FOR_EACH_KIND(kind)
    t_start_one(kind, finish_when_told, b);
    start_with(PLAIT_PROCESS, serve, b, (plait_options){.daemon = true});
    UNTIL(SEEN(b->ready));
    TELL(b->ready, 2);
    return 9;
}

static int leave_children_by_exit(void *board)
{
    exit(leave_children(board));
}

static void expect_children_to_be_waited_for(plait_function *fn, int expected)
{
    struct board *b = board_new(sizeof *b);
    plait_blame end;
    plait_worker w = t_start_one(PLAIT_PROCESS, fn, b);
    UNTIL(SEEN(b->ready) == 2);
    CHECK_RC(plait_join(w, NULL, plait_ms(30)), PLAIT_ETIMEDOUT);
    CHECK_EQ(plait_is_alive(w), 1);
    TELL(b->go, 1);
    CHECK_RC(plait_join(w, &end, PLAIT_FOREVER), expected);
    CHECK_EQ(end.status, 9);
    CHECK_EQ(b->done, 3);
    CHECK_EQ(plait_enumerate(NULL, 0), 1);
}

static int a_worker_that_returns_waits_for_its_own(void *unused)
{
    (void)unused;
    expect_children_to_be_waited_for(leave_children, 0);
    return 0;
}

static int a_worker_that_exits_waits_for_its_own(void *unused)
{
    (void)unused;
    expect_children_to_be_waited_for(leave_children_by_exit, PLAIT_DIED);
    return 0;
}

/* --- main itself --- */

/* This program, executed anew: `main` returns with workers about. */
static int main_that_returns(int argc, char **argv)
{
    CHECK_RC(plait_init(&argc, &argv), 0);
    int *count = plait_alloc(sizeof *count);
    plait_worker w;
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, return_one, count, NULL), 0);
    CHECK_RC(plait_start(&w, PLAIT_THREAD, return_one, count, NULL), 0);
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, stand_still, count, &(plait_options){.daemon = true}),
             0);
    CHECK_RC(plait_start(&w, PLAIT_THREAD, stand_still, count, &(plait_options){.daemon = true}),
             0);
    return 4;
}

static int execute_self(void *unused)
{
    (void)unused;
    execl("/proc/self/exe", "finish_test", "return", NULL);
    return 1;
}

static int a_main_that_returns_ends_in_order(void *unused)
{
    (void)unused;
    CHECK_EQ(t_in_fork(execute_self, NULL), 4);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "return") == 0)
        return main_that_returns(argc, argv);
    const struct CMUnitTest tests[] = {
        PROGRAM(exit_waits_for_threads_and_processes),
        PROGRAM(those_started_meanwhile_are_waited_for_too),
        PROGRAM(those_whose_starter_has_ended_are_waited_for_too),
        PROGRAM(a_request_to_stop_does_not_cut_the_end_short),
        PROGRAM(a_worker_thread_may_end_the_program),
        PROGRAM(a_thread_of_the_program_may_end_it),
        PROGRAM(workers_nobody_joined_are_no_hindrance),
        PROGRAM(children_that_others_collected_are_no_hindrance),
        PROGRAM(daemon_threads_are_left_behind),
        PROGRAM(daemon_processes_end_with_the_program),
        PROGRAM(a_daemon_process_is_given_the_time_to_tidy_up),
        PROGRAM(daemons_serve_until_the_others_have_ended),
        PROGRAM(a_daemon_that_became_another_program_is_ended_too),
        PROGRAM(the_detached_are_not_waited_for),
        PROGRAM(threads_of_the_program_are_not_waited_for),
        PROGRAM(the_end_of_a_forked_child_is_not_its_parents),
        PROGRAM(handlers_may_use_plait),
        PROGRAM(a_worker_that_returns_waits_for_its_own),
        PROGRAM(a_worker_that_exits_waits_for_its_own),
        PROGRAM(a_main_that_returns_ends_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
