/* Killing trees of processes (port/tree.h): none gets away, strangers are left alone.
 *
 * Who belongs to a tree is told by a pipe: all below have inherited its writing end, and its other end
 * is at its end when the last of them is gone, wherever they may have hidden. */
#include "program.h"

#include "port/process.h"
#include "port/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 64 };

struct board {
    int places, n; /* of those who have come */
    pid_t pids[MOST];
    int ready;
    int forks;
};

static int kinship[2]; /* the pipe */

static struct board *begin_kinship(void)
{
    CHECK_EQ(pipe(kinship), 0);
    return board_new(sizeof(struct board));
}

/* The last one who holds the writing end besides the test is gone, or will be within a second. */
static void expect_no_kin(void)
{
    struct pollfd p = {.fd = kinship[0]};
    close(kinship[1]);
    CHECK(poll(&p, 1, t_is_sanitized() ? 10000 : 1000) == 1);
    close(kinship[0]);
}

static bool has_kin(void)
{
    struct pollfd p = {.fd = kinship[0]};
    return poll(&p, 1, 0) == 0;
}

static int stand_still(void *unused)
{
    (void)unused;
    while (pause())
        ;
    return 0;
}

static int stay(void *board)
{
    struct board *b = board;
    TELL(b->pids[COUNT(b->places) - 1], getpid());
    COUNT(b->n);
    return stand_still(NULL);
}

static void wait_until_stopped(pid_t pid)
{
    char path[40], text[300], state = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    do {
        FILE *f = fopen(path, "r");
        CHECK(f && fgets(text, sizeof text, f));
        fclose(f);
        state = strrchr(text, ')')[2];
    } while (state != 'T' && (t_sleep(plait_us(100)), true));
}

/* Kills the tree of a child and expects it to have been that. */
static void kill_tree_of(pid_t top)
{
    CHECK_EQ(pl_tree_kill(top, pl_process_birth(top), false), 0);
    CHECK_EQ(t_reap(top), 1000 + SIGKILL);
}

static void kill_tree_of_subreaper(pid_t top)
{
    CHECK_EQ(pl_tree_kill(top, pl_process_birth(top), true), 0);
    CHECK_EQ(t_reap(top), 1000 + SIGKILL);
}

/* --- shapes --- */

/* The calling process and six generations below it. */
static int beget(void *board)
{
    struct board *b = board;
    if (COUNT(b->n) < 7)
        t_fork(beget, b);
    return stand_still(NULL);
}

static int a_process_and_all_generations_below_it_are_killed(void *unused)
{
    (void)unused;
    struct board *b = begin_kinship();
    pid_t top = t_fork(beget, b);
    UNTIL(SEEN(b->n) == 7);
    kill_tree_of(top);
    expect_no_kin();
    return 0;
}

static int hide(void *board)
{
    setsid();
    if (fork() == 0) {
        setsid();
        t_fork(stay, board);
        stay(board);
    }
    return 0;
}

/* As daemon(3) does, several times. Only for a topmost one who adopts them they are still in its tree. */
static int have_hidden(void *board)
{
    adopt_orphans();
    for (int i = 0; i < 5; i++)
        CHECK_EQ(t_in_fork(hide, board), 0);
    return stay(board);
}

static int below_a_subreaper_none_hides_in_another_session(void *unused)
{
    (void)unused;
    struct board *b = begin_kinship();
    pid_t top = t_fork(have_hidden, b);
    UNTIL(SEEN(b->n) == 11);
    kill_tree_of(top);
    expect_no_kin();
    return 0;
}

static int have_two(void *board)
{
    t_fork(stay, board);
    t_fork(stay, board);
    return stay(board);
}

static int those_beside_it_and_above_it_live(void *unused)
{
    (void)unused;
    struct board *b = begin_kinship();
    pid_t other = t_fork(have_two, b);
    UNTIL(SEEN(b->n) == 3);
    pid_t top = t_fork(have_two, b);
    UNTIL(SEEN(b->n) == 6);
    kill_tree_of(top);
    for (int i = 0; i < 3; i++)
        CHECK(!has_ended(b->pids[i]));
    kill_tree_of(other);
    expect_no_kin();
    return 0;
}

static int be_deaf(void *board)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    for (int n = 1; n < 32; n++)
        signal(n, SIG_IGN);
    return have_two(board);
}

static int those_who_block_and_ignore_all_signals_are_killed(void *unused)
{
    (void)unused;
    struct board *b = begin_kinship();
    pid_t top = t_fork(be_deaf, b);
    UNTIL(SEEN(b->n) == 3);
    kill_tree_of(top);
    expect_no_kin();
    return 0;
}

static int those_who_are_stopped_already_are_killed(void *unused)
{
    (void)unused;
    struct board *b = begin_kinship();
    pid_t top = t_fork(have_two, b);
    UNTIL(SEEN(b->n) == 3);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(kill(b->pids[i], SIGSTOP), 0);
    for (int i = 0; i < 3; i++)
        wait_until_stopped(b->pids[i]);
    kill_tree_of(top);
    expect_no_kin();
    return 0;
}

/* --- trees that grow meanwhile --- */

/* Each forks a child and ends, so that the one to be killed is another every moment. */
static int run_away(void *board)
{
    struct board *b = board;
    while (COUNT(b->forks) < 50000)
        if (fork() != 0)
            _exit(0);
    _exit(0);
}

static int let_run(void *board)
{
    struct board *b = board;
    adopt_orphans();
    signal(SIGCHLD, SIG_IGN); /* who has ended vanishes at once */
    for (int i = 0; i < 4; i++)
        t_fork(run_away, b);
    TELL(b->ready, 1);
    return stand_still(NULL);
}

static int below_a_subreaper_none_escapes_by_forking_and_ending(void *unused)
{
    (void)unused;
    for (int i = 0; i < t_scaled(5); i++) {
        struct board *b = begin_kinship();
        pid_t top = t_fork(let_run, b);
        UNTIL(SEEN(b->forks) > 100);
        kill_tree_of_subreaper(top);
        expect_no_kin();
    }
    return 0;
}

static void *fork_on(void *board)
{
    struct board *b = board;
    while (SEEN(b->n) < 40) {
        if (fork() == 0)
            stay(b);
        usleep(500);
    }
    return NULL;
}

/* From three threads, the first not among them; children that stay. Not for ASan, see the harness. */
static int fork_from_threads(void *board)
{
    struct board *b = board;
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, fork_on, b);
    return stand_still(NULL);
}

static int threads_that_fork_meanwhile_leave_nobody_behind(void *unused)
{
    (void)unused;
    if (!t_may_fork_beside_threads())
        return PROGRAM_SKIPPED;
    for (int i = 0; i < t_scaled(10); i++) {
        struct board *b = begin_kinship();
        pid_t top = t_fork(fork_from_threads, b);
        UNTIL(SEEN(b->n) > i);
        kill_tree_of(top);
        expect_no_kin();
    }
    return 0;
}

extern char **environ;

static void *run_true(void *board)
{
    struct board *b = board;
    char *sleeper[] = {"sleep", "1000", NULL};
    for (int i = 0; i < 30; i++) {
        pid_t pid;
        CHECK_EQ(posix_spawnp(&pid, "sleep", NULL, NULL, sleeper, environ), 0);
        COUNT(b->forks);
    }
    return NULL;
}

static int spawn_from_threads(void *board)
{
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, run_true, board);
    return stand_still(NULL);
}

/* Who is in the middle of posix_spawn cannot be stopped before its child is on its way. */
static int those_who_start_programs_meanwhile_leave_nobody_behind(void *unused)
{
    (void)unused;
    for (int i = 0; i < t_scaled(10); i++) {
        struct board *b = begin_kinship();
        pid_t top = t_fork(spawn_from_threads, b);
        UNTIL(SEEN(b->forks) > i);
        kill_tree_of(top);
        expect_no_kin();
    }
    return 0;
}

/* The child runs on its parent's memory, and the parent hangs until it ends. */
__attribute__((noinline)) static int vfork_and_wait(void *board)
{
    struct board *volatile b = board;
    if (vfork() == 0) {
        TELL(b->ready, 1);
        for (;;)
            usleep(1000);
    }
    return stand_still(NULL);
}

static int a_parent_that_hangs_in_vfork_is_no_reason_to_wait(void *unused)
{
    (void)unused;
    struct board *b = begin_kinship();
    pid_t top = t_fork(vfork_and_wait, b);
    UNTIL(SEEN(b->ready));
    kill_tree_of(top);
    expect_no_kin();
    return 0;
}

/* --- groups --- */

/* Whoever is allowed to go on has a child, far away. */
static void flee(int signal)
{
    (void)signal;
    if (fork() == 0) {
        setsid();
        alarm(T_PATIENCE_S); /* if none finds it */
        for (;;)
            pause();
    }
}

static int lead_a_group(void *board)
{
    setpgid(0, 0);
    signal(SIGHUP, SIG_IGN);
    signal(SIGCONT, flee);
    return have_two(board);
}

static int have_groups(void *board)
{
    for (int i = 0; i < 8; i++)
        t_fork(lead_a_group, board);
    return stay(board);
}

/* The kernel continues stopped groups that lose their last link to the session. */
static int groups_that_are_orphaned_meanwhile_are_killed(void *unused)
{
    (void)unused;
    struct board *b = begin_kinship();
    pid_t top = t_fork(have_groups, b);
    UNTIL(SEEN(b->n) == 25);
    kill_tree_of(top);
    expect_no_kin();
    return 0;
}

/* --- who is meant --- */

static int return_three(void *unused)
{
    (void)unused;
    return 3;
}

static int one_that_has_ended_is_no_longer_there(void *unused)
{
    (void)unused;
    pid_t pid = t_fork(return_three, NULL);
    uint64_t birth = pl_process_birth(pid);
    wait_for_zombie(pid);
    CHECK_EQ(pl_tree_kill(pid, birth, false), -ESRCH);
    CHECK_EQ(t_reap(pid), 3);
    CHECK_EQ(pl_tree_kill(pid, birth, false), -ESRCH);
    return 0;
}

static int a_stranger_with_the_same_pid_is_left_alone(void *unused)
{
    (void)unused;
    struct board *b = begin_kinship();
    pid_t top = t_fork(have_two, b);
    UNTIL(SEEN(b->n) == 3);
    CHECK_EQ(pl_tree_kill(top, pl_process_birth(top) + 1, false), -ESRCH);
    CHECK_EQ(pl_tree_kill(0, 0, false), -ESRCH);
    CHECK_EQ(pl_tree_kill(1, 0, false), -EPERM); /* nor the first process of all */
    CHECK_EQ(pl_tree_kill(-1, 0, false), -ESRCH);
    for (int i = 0; i < 3; i++)
        CHECK(!has_ended(b->pids[i]));
    CHECK(has_kin());
    kill_tree_of(top);
    expect_no_kin();
    return 0;
}

static int kill_my_own(void *unused)
{
    (void)unused;
    CHECK_EQ(pl_tree_kill(getpid(), 0, false), -EDEADLK);
    CHECK_EQ(pl_tree_kill(getppid(), 0, false), -EDEADLK);
    return 4;
}

static int the_callers_own_tree_is_refused(void *unused)
{
    (void)unused;
    CHECK_EQ(t_in_fork(kill_my_own, NULL), 4);
    return 0;
}

static int without_descriptors_nothing_is_done(void *unused)
{
    (void)unused;
    struct board *b = begin_kinship();
    pid_t top = t_fork(have_two, b);
    UNTIL(SEEN(b->n) == 3);
    uint64_t birth = pl_process_birth(top);
    int first = fill_descriptors(60);
    CHECK_EQ(pl_tree_kill(top, birth, false), -EMFILE);
    for (int fd = first; fd < 60; fd++)
        close(fd);
    CHECK(!has_ended(top));
    kill_tree_of(top);
    expect_no_kin();
    return 0;
}

static int live_as_another(void *board)
{
    if (setuid(1000001) < 0)
        _exit(9);
    return have_two(board);
}

static int live_as_one(void *board)
{
    t_fork(live_as_another, board);
    CHECK_EQ(setuid(1000002), 0);
    return have_two(board);
}

static int living_of(const struct board *b)
{
    int living = 0;
    for (int i = 0; i < SEEN(b->n); i++)
        living += !has_ended(b->pids[i]);
    return living;
}

static int kill_as_one(void *pid)
{
    CHECK_EQ(setuid(1000002), 0);
    CHECK_EQ(pl_tree_kill((int)(intptr_t)pid, 0, false), -EPERM);
    return 0;
}

/* Those of other users are told of, and the others are killed. */
static int of_those_who_may_not_be_killed_it_tells(void *unused)
{
    (void)unused;
    if (geteuid() != 0)
        return PROGRAM_SKIPPED;
    struct board *b = begin_kinship();
    pid_t top = t_fork(live_as_one, b);
    UNTIL(SEEN(b->n) == 6);
    CHECK_EQ(t_in_fork(kill_as_one, (void *)(intptr_t)top), 0);
    CHECK_EQ(t_reap(top), 1000 + SIGKILL);
    UNTIL(living_of(b) <= 3);
    CHECK_EQ(living_of(b), 3);
    for (int i = 0; i < 6; i++)
        kill(b->pids[i], SIGKILL);
    expect_no_kin();
    return 0;
}

static int nothing_is_left_open(void *unused)
{
    (void)unused;
    int before = t_open_files();
    for (int i = 0; i < 10; i++) {
        struct board *b = begin_kinship();
        pid_t top = t_fork(have_two, b);
        UNTIL(SEEN(b->n) == 3);
        errno = 77;
        CHECK_EQ(pl_tree_kill(top, pl_process_birth(top), false), 0);
        CHECK_EQ(errno, 77);
        t_reap(top);
        expect_no_kin();
    }
    CHECK_EQ(t_open_files(), before);
    return 0;
}

int main(int argc, char **argv)
{
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        PROGRAM(a_process_and_all_generations_below_it_are_killed),
        PROGRAM(below_a_subreaper_none_hides_in_another_session),
        PROGRAM(those_beside_it_and_above_it_live),
        PROGRAM(those_who_block_and_ignore_all_signals_are_killed),
        PROGRAM(those_who_are_stopped_already_are_killed),
        PROGRAM(below_a_subreaper_none_escapes_by_forking_and_ending),
        PROGRAM(threads_that_fork_meanwhile_leave_nobody_behind),
        PROGRAM(those_who_start_programs_meanwhile_leave_nobody_behind),
        PROGRAM(a_parent_that_hangs_in_vfork_is_no_reason_to_wait),
        PROGRAM(groups_that_are_orphaned_meanwhile_are_killed),
        PROGRAM(one_that_has_ended_is_no_longer_there),
        PROGRAM(a_stranger_with_the_same_pid_is_left_alone),
        PROGRAM(the_callers_own_tree_is_refused),
        PROGRAM(without_descriptors_nothing_is_done),
        PROGRAM(of_those_who_may_not_be_killed_it_tells),
        PROGRAM(nothing_is_left_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
