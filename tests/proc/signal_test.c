/* Ctrl-C: what becomes of a tree of workers, of its parts, and of the program's exit status. */
#include "program.h"

#include "worker/begin.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a program tells its watcher. */
struct board {
    int ready;    /* workers that wait */
    int tidied;   /* and have come to their end, being asked to */
    int handlers; /* exit handlers that ran */
    int taken_back;
    int rc;
    pid_t child;
    int order, ended_at;
};

static struct board *board; /* of the program that runs */

/* --- the program beside the watcher: in a process group of its own --- */

static plait_function *to_run;

static int begin_program(void *unused)
{
    (void)unused;
    setpgid(0, 0);
    exit(to_run(NULL));
}

static pid_t begin(plait_function *fn)
{
    board = board_new(sizeof *board);
    to_run = fn;
    signal(SIGINT, SIG_DFL); /* whoever runs the tests may ignore it */
    adopt_orphans();
    pid_t pid = t_fork(begin_program, NULL);
    setpgid(pid, pid); /* whoever is first */
    return pid;
}

static void ctrl_c(pid_t group)
{
    CHECK_EQ(kill(-group, SIGINT), 0);
}

static bool is_over(pid_t pid)
{
    siginfo_t info = {.si_pid = 0};
    CHECK_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT), 0);
    return info.si_pid == pid;
}

/* How it ends, which must be soon. As t_reap. */
static int soon_over(pid_t pid)
{
    int64_t began = plait_now();
    UNTIL(is_over(pid));
    if (!t_is_sanitized())
        CHECK(plait_now() - began < plait_seconds(1));
    return t_reap(pid);
}

static int begin_plait(void)
{
    CHECK_RC(plait_init(NULL, NULL), 0);
    return 0;
}

static plait_worker start(int kind, plait_function *fn)
{
    plait_worker w;
    plait_options o = {.start_method = kind == PLAIT_PROCESS ? PLAIT_FORK : 0};
    CHECK_RC(plait_start(&w, kind, fn, NULL, &o), 0);
    return w;
}

/* --- a tree --- */

/* Waits until asked to stop; asked once only, it has time to tidy up. */
static int wait_to_be_asked(void *unused)
{
    (void)unused;
    plait_event never = {0};
    COUNT(board->ready);
    int rc = plait_event_wait(&never, PLAIT_FOREVER);
    CHECK_RC(rc, PLAIT_ECANCELED);
    CHECK_EQ(plait_cancelling(), 1);
    CHECK_RC(plait_sleep(plait_ms(5)), 0);
    COUNT(board->tidied);
    return rc;
}

/* Starts some and goes without having waited for them. The process first: not every allocator bears a fork beside
 * threads (t_may_fork_beside_threads). */
static int begin_branch(void *unused)
{
    start(PLAIT_PROCESS, wait_to_be_asked);
    start(PLAIT_THREAD, wait_to_be_asked);
    start(PLAIT_THREAD, wait_to_be_asked);
    start(PLAIT_TASK, wait_to_be_asked);
    start(PLAIT_TASK, wait_to_be_asked);
    return wait_to_be_asked(unused);
}

enum { TREE = 3 * 6 };

static int main_of_tree(void *unused)
{
    (void)unused;
    begin_plait();
    plait_worker w = {0, 0};
    for (int i = 0; i < 3; i++)
        w = start(PLAIT_PROCESS, begin_branch);
    return plait_join(w, NULL, PLAIT_FOREVER) != 0;
}

static int entries_of(const char *path)
{
    char command[100], text[20] = "";
    snprintf(command, sizeof command, "ls %s | wc -l", path);
    FILE *p = popen(command, "r");
    CHECK(p && fgets(text, sizeof text, p));
    pclose(p);
    return atoi(text);
}

static int one_ctrl_c_ends_a_tree(void *unused)
{
    (void)unused;
    int shm = entries_of("/dev/shm");
    pid_t pid = begin(main_of_tree);
    UNTIL(SEEN(board->ready) == TREE);
    ctrl_c(pid);
    CHECK_EQ(soon_over(pid), 1000 + SIGINT);
    CHECK_EQ(board->tidied, TREE);
    CHECK_EQ(living_in_session(getsid(0)), 1);
    CHECK_EQ(entries_of("/dev/shm"), shm);
    return 0;
}

/* A real terminal, where it is the kernel that sends it. */
static int a_terminal_sends_it_to_all(void *unused)
{
    (void)unused;
    int terminal;
    board = board_new(sizeof *board);
    adopt_orphans();
    pid_t pid = forkpty(&terminal, NULL, NULL, NULL);
    if (pid == 0) {
        signal(SIGINT, SIG_DFL);
        exit(main_of_tree(NULL));
    }
    CHECK(pid > 0);
    UNTIL(SEEN(board->ready) == TREE);
    CHECK_EQ(write(terminal, "\x03", 1), 1);
    CHECK_EQ(soon_over(pid), 1000 + SIGINT);
    CHECK_EQ(board->tidied, TREE);
    CHECK_EQ(living_in_session(pid), 0);
    close(terminal);
    return 0;
}

/* --- a tree whose processes are started clean --- */

/* In the arena, for they have nothing else of their parents'. */
struct clean {
    int ready, tidied;
    int method;
};

static struct clean *clean;

static int leaf(void *arg)
{
    struct clean *c = arg;
    plait_event never = {0};
    COUNT(c->ready);
    CHECK_RC(plait_event_wait(&never, PLAIT_FOREVER), PLAIT_ECANCELED);
    COUNT(c->tidied);
    return 0;
}

static int branch(void *arg)
{
    struct clean *c = arg;
    plait_worker w;
    plait_options o = {.start_method = c->method};
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, leaf, c, &o), 0);
    CHECK_RC(plait_start(&w, PLAIT_THREAD, leaf, c, NULL), 0);
    return leaf(arg);
}

static void tell_board(void)
{
    TELL(board->tidied, clean->tidied);
}

static int main_of_clean_tree(void *method)
{
    plait_worker w = {0, 0};
    plait_options o = {.start_method = (int)(intptr_t)method};
    atexit(tell_board);
    begin_plait();
    clean = plait_alloc(sizeof *clean);
    clean->method = o.start_method;
    for (int i = 0; i < 2; i++)
        CHECK_RC(plait_start(&w, PLAIT_PROCESS, branch, clean, &o), 0);
    UNTIL(SEEN(clean->ready) == 6);
    TELL(board->ready, 6);
    return plait_join(w, NULL, PLAIT_FOREVER) != 0;
}

static int main_of_zygote_tree(void *unused)
{
    (void)unused;
    return main_of_clean_tree((void *)PLAIT_ZYGOTE);
}

static int main_of_spawned_tree(void *unused)
{
    (void)unused;
    return main_of_clean_tree((void *)PLAIT_SPAWN);
}

static int whichever_way_they_were_started(void *unused)
{
    (void)unused;
    plait_function *const mains[] = {main_of_zygote_tree, main_of_spawned_tree};
    for (int i = 0; i < 2; i++) {
        pid_t pid = begin(mains[i]);
        UNTIL(SEEN(board->ready) == 6);
        ctrl_c(pid);
        CHECK_EQ(soon_over(pid), 1000 + SIGINT);
        CHECK_EQ(board->tidied, 6);
        UNTIL(living_in_session(getsid(0)) == 1);
    }
    return 0;
}

/* While the tree is still growing, too. */
static int whenever_it_comes_all_end(void *unused)
{
    (void)unused;
    uint64_t random = t_seed();
    for (long i = t_rounds(60); i > 0; i--) {
        pid_t pid = begin(main_of_tree);
        t_sleep((int64_t)(t_random(&random) % (uint64_t)plait_ms(8)));
        ctrl_c(pid);
        CHECK_EQ(soon_over(pid), 1000 + SIGINT);
        UNTIL(living_in_session(getsid(0)) == 1);
    }
    return 0;
}

/* Groups pass it on; nobody is asked twice for that. */
static int main_with_groups(void *unused)
{
    (void)unused;
    int rc = 0;
    begin_plait();
    plait_group group = {0};
    plait_options fork = {.start_method = PLAIT_FORK};
    CHECK_RC(plait_group_enter(&group), 0);
    for (int i = 0; i < 2; i++)
        CHECK_RC(plait_group_start(&group, NULL, PLAIT_PROCESS, begin_branch, NULL, &fork), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_RC(plait_group_start(&group, NULL, PLAIT_THREAD, wait_to_be_asked, NULL, NULL), 0);
        CHECK_RC(plait_group_start(&group, NULL, PLAIT_TASK, wait_to_be_asked, NULL, NULL), 0);
    }
    rc = plait_group_leave(&group);
    CHECK_RC(rc, PLAIT_ECANCELED);
    CHECK_EQ(board->tidied, 2 + 2 + 12);
    return 1;
}

static int groups_hand_it_on(void *unused)
{
    (void)unused;
    pid_t pid = begin(main_with_groups);
    UNTIL(SEEN(board->ready) == 2 + 2 + 12);
    ctrl_c(pid);
    CHECK_EQ(soon_over(pid), 1000 + SIGINT);
    CHECK_EQ(board->tidied, 2 + 2 + 12);
    return 0;
}

static int tasks_for_main(void *unused)
{
    start(PLAIT_TASK, wait_to_be_asked);
    start(PLAIT_TASK, wait_to_be_asked);
    return wait_to_be_asked(unused);
}

static int main_in_run(void *unused)
{
    (void)unused;
    begin_plait();
    return plait_run(tasks_for_main, NULL) != 0;
}

static int the_tasks_of_a_run_are_asked_too(void *unused)
{
    (void)unused;
    pid_t pid = begin(main_in_run);
    UNTIL(SEEN(board->ready) == 3);
    ctrl_c(pid);
    CHECK_EQ(soon_over(pid), 1000 + SIGINT);
    CHECK_EQ(board->tidied, 3);
    return 0;
}

/* --- main is not waiting in its flow --- */

static int main_that_is_done(void *unused)
{
    (void)unused;
    begin_plait();
    start(PLAIT_PROCESS, begin_branch);
    start(PLAIT_THREAD, wait_to_be_asked);
    return 1;
}

static int who_waits_at_exit_hands_it_on(void *unused)
{
    (void)unused;
    pid_t pid = begin(main_that_is_done);
    UNTIL(SEEN(board->ready) == 7);
    t_sleep(plait_ms(30));
    ctrl_c(pid);
    CHECK_EQ(soon_over(pid), 1000 + SIGINT);
    CHECK_EQ(board->tidied, 7);
    return 0;
}

static int main_that_has_left(void *unused)
{
    main_that_is_done(unused);
    pthread_exit(NULL);
}

static int without_a_main_thread_the_workers_are_asked(void *unused)
{
    (void)unused;
    if (t_is_under_tsan())
        return PROGRAM_SKIPPED;
    pid_t pid = begin(main_that_has_left);
    UNTIL(SEEN(board->ready) == 7);
    t_sleep(plait_ms(30));
    ctrl_c(pid);
    UNTIL(is_over(pid));
    t_reap(pid);
    CHECK_EQ(board->tidied, 7);
    return 0;
}

/* --- the second one --- */

static _Noreturn int refuse(void *unused)
{
    (void)unused;
    plait_event never = {0};
    COUNT(board->ready);
    for (;;)
        plait_event_wait(&never, PLAIT_FOREVER);
}

static _Noreturn int compute(void *unused)
{
    (void)unused;
    COUNT(board->ready);
    for (volatile long i = 0;; i++)
        ;
}

static int main_of_the_stubborn(void *unused)
{
    (void)unused;
    begin_plait();
    plait_worker w = start(PLAIT_PROCESS, refuse);
    start(PLAIT_PROCESS, compute);
    start(PLAIT_THREAD, refuse);
    board->rc = plait_join(w, NULL, PLAIT_FOREVER);
    return 1;
}

static int a_second_ctrl_c_kills_those_who_refuse(void *unused)
{
    (void)unused;
    pid_t pid = begin(main_of_the_stubborn);
    UNTIL(SEEN(board->ready) == 3);
    ctrl_c(pid);
    UNTIL(SEEN(board->rc) == PLAIT_ECANCELED);
    t_sleep(plait_ms(50));
    CHECK(!is_over(pid));
    ctrl_c(pid);
    CHECK_EQ(soon_over(pid), 1000 + SIGINT);
    UNTIL(living_in_session(getsid(0)) == 1);
    return 0;
}

static int main_that_computes(void *unused)
{
    begin_plait();
    start(PLAIT_PROCESS, wait_to_be_asked);
    return compute(unused);
}

static int a_second_ctrl_c_ends_who_never_looks(void *unused)
{
    (void)unused;
    if (t_is_under_tsan())
        return PROGRAM_SKIPPED;
    pid_t pid = begin(main_that_computes);
    UNTIL(SEEN(board->ready) == 2);
    ctrl_c(pid);
    t_sleep(plait_ms(50));
    CHECK(!is_over(pid));
    ctrl_c(pid);
    CHECK_EQ(soon_over(pid), 1000 + SIGINT);
    UNTIL(living_in_session(getsid(0)) == 1);
    return 0;
}

static int main_that_takes_back(void *unused)
{
    (void)unused;
    begin_plait();
    start(PLAIT_PROCESS, wait_to_be_asked);
    for (int i = 0; i < 5; i++) {
        CHECK_RC(plait_sleep(PLAIT_FOREVER), PLAIT_ECANCELED);
        CHECK_EQ(plait_uncancel(), 0);
        COUNT(board->taken_back);
    }
    CHECK_RC(plait_sleep(PLAIT_FOREVER), PLAIT_ECANCELED);
    return 1;
}

static int who_takes_it_back_goes_on_with_all_his_workers(void *unused)
{
    (void)unused;
    pid_t pid = begin(main_that_takes_back);
    UNTIL(SEEN(board->ready) == 1);
    for (int i = 0; i < 5; i++) {
        ctrl_c(pid);
        UNTIL(SEEN(board->taken_back) == i + 1);
        CHECK_EQ(board->tidied, 0);
    }
    ctrl_c(pid);
    CHECK_EQ(soon_over(pid), 1000 + SIGINT);
    CHECK_EQ(board->tidied, 1);
    return 0;
}

/* --- who does not take part --- */

static int main_with_one(void *unused)
{
    (void)unused;
    begin_plait();
    plait_worker w = start(PLAIT_PROCESS, wait_to_be_asked);
    board->child = plait_pid(w);
    return plait_join(w, NULL, PLAIT_FOREVER) < 0;
}

static int a_worker_does_not_die_of_it_by_itself(void *unused)
{
    (void)unused;
    pid_t pid = begin(main_with_one);
    UNTIL(SEEN(board->ready) == 1 && SEEN(board->child));
    for (int i = 0; i < 3; i++)
        CHECK_EQ(kill(board->child, SIGINT), 0);
    t_sleep(plait_ms(30));
    CHECK(!has_ended(board->child));
    CHECK_EQ(board->tidied, 0);
    ctrl_c(pid);
    CHECK_EQ(soon_over(pid), 1000 + SIGINT);
    return 0;
}

static int main_that_interrupts_one(void *unused)
{
    (void)unused;
    begin_plait();
    plait_worker one = start(PLAIT_PROCESS, wait_to_be_asked);
    plait_worker other = start(PLAIT_PROCESS, wait_to_be_asked);
    UNTIL(SEEN(board->ready) == 2);
    CHECK_RC(plait_interrupt(one), 0);
    CHECK_RC(plait_join(one, NULL, PLAIT_FOREVER), 0);
    CHECK_EQ(board->tidied, 1);
    CHECK_EQ(plait_is_alive(other), 1);
    CHECK_RC(plait_interrupt(other), 0);
    CHECK_RC(plait_join(other, NULL, PLAIT_FOREVER), 0);
    CHECK_EQ(plait_cancelling(), 0);
    return 9;
}

static int a_worker_that_the_family_interrupts_is_asked_itself(void *unused)
{
    (void)unused;
    pid_t pid = begin(main_that_interrupts_one);
    UNTIL(is_over(pid));
    CHECK_EQ(t_reap(pid), 9);
    return 0;
}

static int main_of_a_detached(void *unused)
{
    (void)unused;
    plait_worker w;
    plait_options o = {.detach = true, .start_method = PLAIT_FORK};
    begin_plait();
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, wait_to_be_asked, NULL, &o), 0);
    TELL(board->child, plait_pid(w));
    plait_sleep(PLAIT_FOREVER);
    return 1;
}

static int a_detached_process_is_asked_by_itself(void *unused)
{
    (void)unused;
    pid_t pid = begin(main_of_a_detached);
    UNTIL(SEEN(board->ready) == 1 && SEEN(board->child));
    CHECK_EQ(kill(board->child, SIGINT), 0);
    UNTIL(SEEN(board->tidied) == 1);
    CHECK(!is_over(pid));
    ctrl_c(pid);
    CHECK_EQ(soon_over(pid), 1000 + SIGINT);
    return 0;
}

static int main_that_forks(void *unused)
{
    (void)unused;
    begin_plait();
    pid_t pid = fork();
    if (pid == 0) {
        COUNT(board->ready);
        while (pause())
            ;
    }
    while (waitpid(pid, &board->rc, 0) < 0)
        CHECK_EQ(errno, EINTR);
    plait_sleep(PLAIT_FOREVER);
    return 1;
}

static int a_process_that_the_program_forked_itself_dies_as_any_other(void *unused)
{
    (void)unused;
    pid_t pid = begin(main_that_forks);
    UNTIL(SEEN(board->ready) == 1);
    t_sleep(plait_ms(10));
    ctrl_c(pid);
    CHECK_EQ(soon_over(pid), 1000 + SIGINT);
    CHECK(WIFSIGNALED(board->rc) && WTERMSIG(board->rc) == SIGINT);
    return 0;
}

static int main_of_a_shell(void *unused)
{
    (void)unused;
    begin_plait();
    execl("/bin/sh", "sh", "-c", "kill -INT $$; exit 0", (char *)NULL);
    return 1;
}

static int an_executed_program_has_the_default_back(void *unused)
{
    (void)unused;
    CHECK_EQ(soon_over(begin(main_of_a_shell)), 1000 + SIGINT);
    return 0;
}

/* --- exit status --- */

static void count_exit(void)
{
    COUNT(board->handlers);
}

static int main_that_returns(void *status)
{
    begin_plait();
    atexit(count_exit);
    printf("left in the buffer");
    COUNT(board->ready);
    CHECK_RC(plait_sleep(PLAIT_FOREVER), PLAIT_ECANCELED);
    return (int)(intptr_t)status;
}

static int main_that_fails(void *unused)
{
    (void)unused;
    return main_that_returns((void *)3);
}

static int main_that_is_content(void *unused)
{
    (void)unused;
    return main_that_returns((void *)0);
}

static int main_that_dealt_with_it(void *unused)
{
    (void)unused;
    int status = main_that_returns((void *)4);
    CHECK_EQ(plait_uncancel(), 0);
    return status;
}

/* Its standard output is a pipe; what it has printed in the end. */
static int status_of(plait_function *fn, char *text, size_t size)
{
    int ends[2], out = dup(1);
    CHECK_EQ(pipe(ends), 0);
    fflush(stdout);
    dup2(ends[1], 1);
    pid_t pid = begin(fn);
    dup2(out, 1);
    close(out);
    close(ends[1]);
    UNTIL(SEEN(board->ready) == 1);
    ctrl_c(pid);
    int status = soon_over(pid);
    ssize_t n = read(ends[0], text, size - 1);
    text[n > 0 ? n : 0] = 0;
    close(ends[0]);
    CHECK_EQ(board->handlers, 1);
    CHECK(strcmp(text, "left in the buffer") == 0);
    return status;
}

static int the_status_says_how_it_went(void *unused)
{
    char text[100];
    (void)unused;
    CHECK_EQ(status_of(main_that_fails, text, sizeof text), 1000 + SIGINT);
    CHECK_EQ(status_of(main_that_is_content, text, sizeof text), 0);
    CHECK_EQ(status_of(main_that_dealt_with_it, text, sizeof text), 4);
    return 0;
}

static int main_with_sigterm(void *unused)
{
    begin_plait();
    CHECK_RC(plait_signal(SIGTERM, PLAIT_SIGNAL_CANCEL, NULL, NULL), 0);
    start(PLAIT_THREAD, wait_to_be_asked);
    wait_to_be_asked(unused);
    return 1;
}

static int sigterm_can_be_had_the_same_way(void *unused)
{
    (void)unused;
    pid_t pid = begin(main_with_sigterm);
    UNTIL(SEEN(board->ready) == 2);
    CHECK_EQ(kill(pid, SIGTERM), 0);
    CHECK_EQ(soon_over(pid), 1000 + SIGTERM);
    CHECK_EQ(board->tidied, 2);
    return 0;
}

static int main_that_terminates_one(void *unused)
{
    (void)unused;
    begin_plait();
    CHECK_RC(plait_signal(SIGTERM, PLAIT_SIGNAL_CANCEL, NULL, NULL), 0);
    plait_worker w = start(PLAIT_PROCESS, wait_to_be_asked);
    UNTIL(SEEN(board->ready) == 1);
    CHECK_RC(plait_terminate(w), 0);
    CHECK_RC(plait_join(w, NULL, PLAIT_FOREVER), 0);
    CHECK_EQ(board->tidied, 1);
    CHECK_EQ(plait_cancelling(), 0);
    return 5;
}

static int a_worker_that_is_terminated_is_asked_by_that(void *unused)
{
    (void)unused;
    pid_t pid = begin(main_that_terminates_one);
    UNTIL(is_over(pid));
    CHECK_EQ(t_reap(pid), 5);
    return 0;
}

/* --- when it is not plait's business --- */

static int main_that_turns_it_off(void *unused)
{
    begin_plait();
    CHECK_RC(plait_signal(SIGINT, PLAIT_SIGNAL_DEFAULT, NULL, NULL), 0);
    begin_plait(); /* does not bring it back */
    start(PLAIT_PROCESS, wait_to_be_asked);
    return wait_to_be_asked(unused);
}

static int turned_off_all_die_at_once(void *unused)
{
    (void)unused;
    pid_t pid = begin(main_that_turns_it_off);
    UNTIL(SEEN(board->ready) == 2);
    ctrl_c(pid);
    CHECK_EQ(soon_over(pid), 1000 + SIGINT);
    CHECK_EQ(board->tidied, 0);
    return 0;
}

static int main_that_was_told_to_ignore_it(void *unused)
{
    (void)unused;
    plait_signal_action now;
    signal(SIGINT, SIG_IGN);
    begin_plait();
    CHECK_RC(plait_signal_get(SIGINT, &now), 0);
    CHECK(now.fn == PLAIT_SIGNAL_IGNORE);
    COUNT(board->ready);
    plait_sleep(plait_ms(50));
    return 6;
}

static int in_the_background_it_stays_ignored(void *unused)
{
    (void)unused;
    pid_t pid = begin(main_that_was_told_to_ignore_it);
    UNTIL(SEEN(board->ready) == 1);
    ctrl_c(pid);
    CHECK_EQ(soon_over(pid), 6);
    return 0;
}

static void set_order(int signum)
{
    (void)signum;
    board->order = 7;
}

static int main_with_a_handler_of_its_own(void *unused)
{
    (void)unused;
    signal(SIGINT, set_order);
    begin_plait();
    COUNT(board->ready);
    UNTIL(SEEN(board->order) == 7);
    return board->order;
}

static int a_handler_of_the_program_stays(void *unused)
{
    (void)unused;
    pid_t pid = begin(main_with_a_handler_of_its_own);
    UNTIL(SEEN(board->ready) == 1);
    ctrl_c(pid);
    CHECK_EQ(soon_over(pid), 7);
    return 0;
}

static void set_event(const plait_signal_info *info, void *event)
{
    CHECK_EQ(info->signum, SIGINT);
    plait_event_set(event);
}

static int wait_for_own(void *unused)
{
    (void)unused;
    plait_event event = {0};
    CHECK_RC(plait_signal(SIGINT, set_event, &event, NULL), 0);
    COUNT(board->ready);
    CHECK_RC(plait_event_wait(&event, PLAIT_FOREVER), 0);
    COUNT(board->tidied);
    return 0;
}

static int main_with_handlers_everywhere(void *unused)
{
    begin_plait();
    plait_worker w = start(PLAIT_PROCESS, wait_for_own);
    wait_for_own(unused);
    CHECK_RC(plait_join(w, NULL, PLAIT_FOREVER), 0);
    return 8;
}

static int with_handlers_each_process_handles_it(void *unused)
{
    (void)unused;
    pid_t pid = begin(main_with_handlers_everywhere);
    UNTIL(SEEN(board->ready) == 2);
    ctrl_c(pid);
    CHECK_EQ(soon_over(pid), 8);
    CHECK_EQ(board->tidied, 2);
    return 0;
}

int main(int argc, char **argv)
{
    pl_program_begin(argc, argv);
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        PROGRAM(one_ctrl_c_ends_a_tree),
        PROGRAM(a_terminal_sends_it_to_all),
        PROGRAM(whichever_way_they_were_started),
        PROGRAM(whenever_it_comes_all_end),
        PROGRAM(groups_hand_it_on),
        PROGRAM(the_tasks_of_a_run_are_asked_too),
        PROGRAM(who_waits_at_exit_hands_it_on),
        PROGRAM(without_a_main_thread_the_workers_are_asked),
        PROGRAM(a_second_ctrl_c_kills_those_who_refuse),
        PROGRAM(a_second_ctrl_c_ends_who_never_looks),
        PROGRAM(who_takes_it_back_goes_on_with_all_his_workers),
        PROGRAM(a_worker_does_not_die_of_it_by_itself),
        PROGRAM(a_worker_that_the_family_interrupts_is_asked_itself),
        PROGRAM(a_detached_process_is_asked_by_itself),
        PROGRAM(a_process_that_the_program_forked_itself_dies_as_any_other),
        PROGRAM(an_executed_program_has_the_default_back),
        PROGRAM(the_status_says_how_it_went),
        PROGRAM(sigterm_can_be_had_the_same_way),
        PROGRAM(a_worker_that_is_terminated_is_asked_by_that),
        PROGRAM(turned_off_all_die_at_once),
        PROGRAM(in_the_background_it_stays_ignored),
        PROGRAM(a_handler_of_the_program_stays),
        PROGRAM(with_handlers_each_process_handles_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
