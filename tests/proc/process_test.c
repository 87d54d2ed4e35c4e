/* What Python's Process promises, by each start method: docs/python.md has the rows. */
#include "methods.h"

#include "base/atomic.h"
#include "park/park.h"
#include "port/process.h"
#include "registry/registry.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the arena; all that the processes of a test know of each other. */
struct world {
    plait_worker subject;
    plait_event done;
    int method;
    int arrived;
    int status;
    pid_t pid;
    bool matches;
    char text[PLAIT_NAME_SIZE];
};

static struct world *new_world(int method)
{
    struct world *w = plait_alloc(sizeof *w);
    CHECK(w != NULL);
    w->method = method;
    return w;
}

/* Where zygotes fork twice, those of processes that have ended come here as orphans. */
static void collect_orphans(void)
{
    int adopts = 0;
    CHECK_EQ(prctl(PR_GET_CHILD_SUBREAPER, &adopts), 0);
    while (adopts && waitpid(-1, NULL, 0) > 0)
        continue;
}

static int leave_nothing(void)
{
    CHECK_RC(plait_zygote_stop(), 0);
    collect_orphans();
    CHECK(!t_has_children());
    CHECK_EQ(plait_enumerate(NULL, 0), 1);
    return 0;
}

static int wait_for_done(void *world)
{
    struct world *w = world;
    COUNT(w->arrived);
    CHECK_RC(plait_event_wait(&w->done, PLAIT_FOREVER), 0);
    return 7;
}

/* --- how it ends --- */

static int give_back(void *world)
{
    return ((struct world *)world)->status;
}

static int leave(void *world)
{
    exit(((struct world *)world)->status);
}

static int leave_at_once(void *world)
{
    _exit(((struct world *)world)->status);
}

static void *leave_beside(void *world)
{
    exit(((struct world *)world)->status);
}

/* Any thread may end the process, as sys.exit in none but the first does. */
static int leave_by_a_thread(void *world)
{
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, leave_beside, world), 0);
    t_sleep_for_ever();
}

static int become_a_program(void *world)
{
    (void)world;
    execl("/bin/sh", "sh", "-c", "exit 5", (char *)NULL);
    return 1;
}

static int abort_it(void *world)
{
    (void)world;
    abort();
}

struct ending {
    plait_function *fn;
    int given;
    int rc, status, signal;
};

static void expect_end(int method, const struct ending *e)
{
    struct world *w = new_world(method);
    plait_blame end, told;
    w->status = e->given;
    plait_worker worker = start_by(method, e->fn, w);
    UNTIL(plait_is_alive(worker) == 0);
    CHECK_RC(plait_exit_status(worker, &told), 0); /* Python's exitcode, before any join */
    CHECK_RC(plait_join(worker, &end, plait_seconds(T_PATIENCE_S)), e->rc);
    CHECK_EQ(end.status, e->status);
    CHECK_EQ(end.signal, e->signal);
    CHECK_EQ(end.returned, e->rc == 0);
    CHECK_EQ(told.status, e->status);
    CHECK_EQ(told.signal, e->signal);
    CHECK_EQ(plait_is_alive(worker), 0);
    CHECK_RC(plait_exit_status(worker, &told), PLAIT_ESTALE);
    plait_free(w);
}

static int the_ends_are_those_of_exitcode(void *unused)
{
    (void)unused;
    const struct ending endings[] = {
        {give_back, 0, 0, 0, 0},
        {give_back, 300, 0, 300, 0}, /* whole, where Python has 44 */
        {give_back, -1, 0, -1, 0},   /* whole, where Python has 255 */
        {leave, 3, PLAIT_DIED, 3, 0},
        {leave, 300, PLAIT_DIED, 300, 0},
        {leave, -1, PLAIT_DIED, -1, 0},
        {leave_at_once, 300, PLAIT_DIED, 300 & 255, 0}, /* all that the kernel keeps */
        {leave_at_once, -1, PLAIT_DIED, 255, 0},
        {leave_by_a_thread, 6, PLAIT_DIED, 6, 0},
        {become_a_program, 0, PLAIT_DIED, 5, 0},
        {abort_it, 0, PLAIT_DIED, -SIGABRT, SIGABRT},
    };
    FOR_EACH_METHOD(method)
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++)
        expect_end(method, &endings[i]);
    return leave_nothing();
}

static int terminate_kill_and_interrupt_end_it(void *unused)
{
    (void)unused;
    int (*const calls[])(plait_worker) = {plait_terminate, plait_kill, plait_interrupt};
    const int signals[] = {SIGTERM, SIGKILL, SIGINT};
    FOR_EACH_METHOD(method)
    for (int i = 0; i < 3; i++) {
        struct world *w = new_world(method);
        plait_worker worker = start_by(method, wait_for_done, w);
        UNTIL(SEEN(w->arrived));
        CHECK_RC(calls[i](worker), 0);
        CHECK_EQ(t_join_one(worker), -signals[i]);
        CHECK_RC(calls[i](worker), PLAIT_ESTALE);
        plait_free(w);
    }
    return leave_nothing();
}

/* --- joining --- */

static int join_with_a_limit_may_be_repeated(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(method)
    {
        struct world *w = new_world(method);
        plait_worker worker = start_by(method, wait_for_done, w);
        CHECK_RC(plait_join(worker, NULL, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
        CHECK_RC(plait_join(worker, NULL, plait_ms(5)), PLAIT_ETIMEDOUT);
        CHECK_RC(plait_join(worker, NULL, -5), PLAIT_EINVAL); /* Python takes that for a poll */
        CHECK_EQ(plait_is_alive(worker), 1);
        plait_blame end;
        CHECK_RC(plait_exit_status(worker, &end), PLAIT_EBUSY);
        plait_event_set(&w->done);
        CHECK_EQ(t_join_one(worker), 7);
        plait_free(w);
    }
    return leave_nothing();
}

static int leave_a_child_of_its_own(void *world)
{
    struct world *w = world;
    pid_t pid = fork();
    if (pid == 0)
        t_sleep_for_ever();
    TELL(w->pid, pid);
    return 8;
}

/* In Python such a grandchild holds the sentinel open, and join(timeout) waits for it in vain. */
static int a_grandchild_that_lives_delays_neither_join_nor_sentinel(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(method)
    {
        struct world *w = new_world(method);
        plait_worker worker = start_by(method, leave_a_child_of_its_own, w);
        int sentinel = plait_sentinel(worker);
        CHECK(sentinel >= 0 || sentinel == PLAIT_ESRCH);
        if (sentinel >= 0) {
            CHECK(plait_wait_fd(sentinel, PLAIT_READABLE, plait_seconds(T_PATIENCE_S)) > 0);
            close(sentinel);
        }
        plait_blame end;
        CHECK_RC(plait_join(worker, &end, plait_seconds(T_PATIENCE_S)), 0);
        CHECK_EQ(end.status, 8);
        CHECK(!has_ended(SEEN(w->pid)));
        CHECK_EQ(kill(w->pid, SIGKILL), 0);
        plait_free(w);
    }
    CHECK_RC(plait_zygote_stop(), 0);
    return 0;
}

/* --- the parent --- */

static int look_at_parent(void *world)
{
    struct world *w = world;
    plait_worker parent = plait_parent(plait_self());
    int sentinel = plait_sentinel(parent);
    w->matches = plait_same(parent, w->subject) && plait_pid(parent) == getppid() &&
                 plait_is_alive(parent) == 1 &&
                 plait_wait_fd(sentinel, PLAIT_READABLE, PLAIT_NOWAIT) == PLAIT_ETIMEDOUT;
    close(sentinel);
    w->status = plait_join(parent, NULL, PLAIT_NOWAIT);
    return 0;
}

static int compare_births(void *unused)
{
    (void)unused;
    return pl_this_process().birth == pl_process_birth(getpid()) ? 0 : 1;
}

/* By the clock where that is certain, by /proc where two ticks are possible; each comes up. */
static int a_process_knows_its_birth_as_the_kernel_does(void *unused)
{
    enum { MANY = 300 };
    const int64_t ms = 1000 * 1000;
    (void)unused;
    CHECK_EQ(pl_process_birth_between(51 * ms, 59 * ms), 5); /* ticks are hundredths of a second */
    CHECK_EQ(pl_process_birth_between(59 * ms, 61 * ms), 0);
    CHECK_EQ(pl_process_birth_between(50 * ms, 59 * ms), 0); /* too close to tell */
    FOR_EACH_METHOD(method)
    for (int i = 0; i < t_rounds(method == PLAIT_SPAWN ? 10 : MANY); i++)
        CHECK_EQ(t_join_one(start_by(method, compare_births, NULL)), 0);
    return leave_nothing();
}

/* Python's parent_process(): whoever made the process in truth, its parent is who started it. */
static int a_process_knows_its_parent(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(method)
    {
        struct world *w = new_world(method);
        w->subject = plait_self();
        CHECK_EQ(t_join_one(start_by(method, look_at_parent, w)), 0);
        CHECK(w->matches);
        CHECK_RC(w->status, PLAIT_ESTALE); /* main is nobody's to join; it has a sentinel */
        plait_free(w);
    }
    return leave_nothing();
}

static int outlive_parent(void *world)
{
    struct world *w = world;
    plait_worker parent = plait_parent(plait_self());
    TELL(w->pid, getpid());
    plait_blame end;
    int rc = plait_join(parent, &end, plait_seconds(T_PATIENCE_S));
    TELL(w->status, rc == PLAIT_DIED ? plait_is_alive(parent) + 1 : 100);
    return 0;
}

static int start_one_who_outlives(void *world)
{
    struct world *w = world;
    plait_worker worker;
    CHECK_RC(plait_start(&worker, PLAIT_PROCESS, outlive_parent, w,
                         &(plait_options){.start_method = w->method, .detach = true}),
             0);
    UNTIL(SEEN(w->pid));
    UNTIL_WAITS(worker, PL_WAIT_JOIN);
    raise(SIGKILL);
    return 0;
}

/* As parent_process().join(), which watches a pipe. */
static int a_process_may_wait_for_its_parents_end(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(method)
    {
        struct world *w = new_world(method);
        plait_worker parent = start_by(method, start_one_who_outlives, w);
        UNTIL(SEEN(w->status));
        CHECK_EQ(w->status, 1);
        UNTIL(has_ended(w->pid));
        int rc = plait_join(parent, NULL, plait_seconds(T_PATIENCE_S));
        CHECK(rc == PLAIT_DIED || rc == PLAIT_ESTALE); /* its child may have been the first */
        plait_free(w);
    }
    CHECK_RC(plait_zygote_stop(), 0);
    return 0;
}

/* --- names, what it has at its beginning --- */

static int say_names(void *world)
{
    struct world *w = world;
    char kernels[16];
    CHECK_RC(plait_name(plait_self(), w->text, sizeof w->text), 0);
    CHECK_EQ(prctl(PR_GET_NAME, kernels), 0);
    w->matches = strncmp(kernels, w->text, sizeof kernels - 1) == 0;
    CHECK_RC(plait_set_name("renamed"), 0);
    return 0;
}

static int names_are_given_or_made(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(method)
    for (int named = 0; named < 2; named++) {
        struct world *w = new_world(method);
        plait_worker worker;
        plait_blame end;
        CHECK_RC(plait_start(&worker, PLAIT_PROCESS, say_names, w,
                             &(plait_options){.start_method = method,
                                              .name = named ? "reader of the lines" : NULL}),
                 0);
        CHECK_RC(plait_join(worker, &end, plait_seconds(T_PATIENCE_S)), 0);
        CHECK(w->matches);
        CHECK(named ? strcmp(w->text, "reader of the lines") == 0
                    : strncmp(w->text, "Process-", 8) == 0);
        CHECK(strcmp(end.name, "renamed") == 0);
        plait_free(w);
    }
    return leave_nothing();
}

static int read_a_byte(void *world)
{
    struct world *w = world;
    char byte = 0;
    w->matches = read(STDIN_FILENO, &byte, 1) == 1 && byte == 'x';
    return 0;
}

/* Python gives it /dev/null. */
static int standard_input_is_the_starters(void *unused)
{
    (void)unused;
    int ends[2];
    CHECK_EQ(pipe(ends), 0);
    CHECK_EQ(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
    CHECK_EQ(write(ends[1], "xxx", 3), 3);
    FOR_EACH_METHOD(method)
    {
        struct world *w = new_world(method);
        CHECK_EQ(t_join_one(start_by(method, read_a_byte, w)), 0);
        CHECK(w->matches);
        plait_free(w);
    }
    return leave_nothing();
}

static int look_at_ignored(void *world)
{
    struct world *w = world;
    const int kept[] = {SIGHUP, SIGINT, SIGQUIT}, reset[] = {SIGPIPE, SIGUSR1, SIGCHLD};
    struct sigaction now;
    w->matches = true;
    for (int i = 0; i < 3; i++) {
        sigaction(kept[i], NULL, &now);
        w->matches = w->matches && now.sa_handler == SIG_IGN;
        sigaction(reset[i], NULL, &now);
        bool as_it_should =
            w->method == PLAIT_FORK ? now.sa_handler == SIG_IGN : now.sa_handler == SIG_DFL;
        w->matches = w->matches && as_it_should;
    }
    return 0;
}

/* What nohup and a shell without job control do holds for the workers, too. */
static int what_a_shell_has_ignored_stays_ignored(void *unused)
{
    (void)unused;
    const int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGUSR1, SIGCHLD};
    for (int i = 0; i < 6; i++)
        signal(ignored[i], SIG_IGN);
    FOR_EACH_METHOD(method)
    {
        struct world *w = new_world(method);
        CHECK_EQ(t_join_one(start_by(method, look_at_ignored, w)), 0);
        CHECK(w->matches);
        plait_free(w);
    }
    return leave_nothing();
}

/* --- its own end --- */

static int finish_late(void *world)
{
    struct world *w = world;
    CHECK_RC(plait_event_wait(&w->done, PLAIT_FOREVER), 0);
    COUNT(w->arrived);
    return 0;
}

static int serve_for_ever(void *unused)
{
    (void)unused;
    t_sleep_for_ever();
}

static int start_a_thread_and_a_daemon(void *world)
{
    struct world *w = world;
    plait_worker daemon;
    t_start_one(PLAIT_THREAD, finish_late, w);
    CHECK_RC(plait_start(&daemon, PLAIT_PROCESS, serve_for_ever, NULL,
                         &(plait_options){.start_method = w->method, .daemon = true}),
             0);
    TELL(w->pid, plait_pid(daemon));
    return 9;
}

/* Python's non-daemonic threads are joined, daemonic processes terminated. */
static int a_process_that_returns_ends_in_order(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(method)
    {
        struct world *w = new_world(method);
        plait_worker worker = start_by(method, start_a_thread_and_a_daemon, w);
        UNTIL(SEEN(w->pid));
        CHECK_RC(plait_join(worker, NULL, plait_ms(20)), PLAIT_ETIMEDOUT);
        CHECK(!has_ended(w->pid));
        plait_event_set(&w->done);
        CHECK_EQ(t_join_one(worker), 9);
        CHECK_EQ(SEEN(w->arrived), 1);
        UNTIL(has_ended(w->pid));
        plait_free(w);
    }
    return leave_nothing();
}

/* --- who is there --- */

static int children_are_listed_until_they_are_joined(void *unused)
{
    (void)unused;
    struct world *w = new_world(PLAIT_FORK);
    plait_worker workers[3], listed[3];
    FOR_EACH_METHOD(method)
    workers[method - PLAIT_FORK] = start_by(method, wait_for_done, w);
    CHECK_EQ(plait_children(listed, 3), 3);
    UNTIL(SEEN(w->arrived) == 3);
    CHECK_EQ(plait_enumerate(NULL, 0), 4); /* the zygote is none of them */
    plait_event_set(&w->done);
    for (int i = 0; i < 3; i++)
        UNTIL(plait_is_alive(workers[i]) == 0);
    CHECK_EQ(plait_children(NULL, 0), 3); /* Python drops those that have ended */
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(plait_same(listed[0], workers[i]) + plait_same(listed[1], workers[i]) +
                     plait_same(listed[2], workers[i]),
                 1);
        CHECK_EQ(t_join_one(workers[i]), 7);
        CHECK_EQ(plait_children(NULL, 0), 2 - i);
    }
    return leave_nothing();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        PROGRAM(the_ends_are_those_of_exitcode),
        PROGRAM(terminate_kill_and_interrupt_end_it),
        PROGRAM(join_with_a_limit_may_be_repeated),
        PROGRAM(a_grandchild_that_lives_delays_neither_join_nor_sentinel),
        PROGRAM(a_process_knows_its_parent),
        PROGRAM(a_process_knows_its_birth_as_the_kernel_does),
        PROGRAM(a_process_may_wait_for_its_parents_end),
        PROGRAM(names_are_given_or_made),
        PROGRAM(standard_input_is_the_starters),
        PROGRAM(what_a_shell_has_ignored_stays_ignored),
        PROGRAM(a_process_that_returns_ends_in_order),
        PROGRAM(children_are_listed_until_they_are_joined),
    };
    BEGIN_METHODS(argc, argv);
    t_arguments(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
