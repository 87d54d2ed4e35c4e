/* Who dies with whom: processes and the parent that started them. */
#include "program.h"

#include "registry/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 32 };

/* What a family tells the program that watches it from outside. */
struct board {
    int places; /* given out on the board */
    int n;      /* workers that have come and written down who they are */
    pid_t pids[MOST];
    int ready; /* the family stands */
    int go;    /* a signal to it */
    int result;
    int generations; /* how many more, for `beget` */
    pid_t extra;
};

static void *number(intptr_t n)
{
    return (void *)n;
}

static int stand_still(void *unused)
{
    (void)unused;
    while (pause())
        ;
    return 0;
}

static int return_one(void *unused)
{
    (void)unused;
    return 1;
}

static void forget_who_came(struct board *b)
{
    TELL(b->n, 0);
    TELL(b->places, 0);
}

static void come(struct board *b)
{
    b->pids[COUNT(b->places) - 1] = getpid();
    COUNT(b->n);
}

/* A worker that stays until it is killed. */
static int stay(void *board)
{
    struct board *b = board;
    come(b);
    return stand_still(NULL);
}

static void start_to_stay(struct board *b, int n)
{
    int before = SEEN(b->n);
    for (int i = 0; i < n; i++)
        t_start_one(PLAIT_PROCESS, stay, b);
    UNTIL(SEEN(b->n) == before + n);
}

/* Runs `fn` as a program of its own in this session and waits until it says that it is ready. */
static pid_t start_family(plait_function *fn, struct board *b)
{
    adopt_orphans();
    pid_t family = t_fork(fn, b);
    UNTIL(SEEN(b->ready) || has_ended(family));
    CHECK(SEEN(b->ready));
    return family;
}

/* All on the board end, by SIGKILL. */
static void expect_them_to_die(struct board *b)
{
    for (int i = 0; i < b->n; i++)
        CHECK_EQ(t_reap(b->pids[i]), 1000 + SIGKILL);
}

/* And they were the last of the family. */
static void expect_all_to_die(struct board *b)
{
    expect_them_to_die(b);
    CHECK_EQ(living_in_session(getsid(0)), 1);
}

static void expect_all_to_live(struct board *b)
{
    t_sleep(plait_ms(30));
    for (int i = 0; i < b->n; i++)
        CHECK(!has_ended(b->pids[i]));
}

/* --- the parent is killed --- */

static int have_three(void *board)
{
    struct board *b = board;
    start_to_stay(b, 3);
    TELL(b->ready, 1);
    return stand_still(NULL);
}

static void die_with(int signal)
{
    struct board *b = board_new(sizeof *b);
    pid_t family = start_family(have_three, b);
    CHECK_EQ(b->n, 3);
    expect_all_to_live(b);
    CHECK_EQ(kill(family, signal), 0);
    CHECK_EQ(t_reap(family), 1000 + signal);
    expect_all_to_die(b);
}

static int children_die_with_a_parent_that_is_killed(void *unused)
{
    (void)unused;
    die_with(SIGKILL);
    die_with(SIGTERM);
    die_with(SIGINT);
    die_with(SIGABRT);
    return 0;
}

static int leave_without_a_word(void *board)
{
    struct board *b = board;
    start_to_stay(b, 3);
    TELL(b->ready, 1);
    UNTIL(SEEN(b->go));
    _exit(3);
}

static int children_die_with_a_parent_that_leaves_by_underscore_exit(void *unused)
{
    (void)unused;
    struct board *b = board_new(sizeof *b);
    pid_t family = start_family(leave_without_a_word, b);
    TELL(b->go, 1);
    CHECK_EQ(t_reap(family), 3);
    expect_all_to_die(b);
    return 0;
}

static int beget(void *board)
{
    struct board *b = board;
    come(b);
    if (ADD(b->generations, -1) > 0)
        t_start_one(PLAIT_PROCESS, beget, b);
    return stand_still(NULL);
}

static int have_descendants(void *board)
{
    struct board *b = board;
    TELL(b->generations, 5);
    t_start_one(PLAIT_PROCESS, beget, b);
    UNTIL(SEEN(b->n) == 5);
    TELL(b->ready, 1);
    return stand_still(NULL);
}

static int grandchildren_die_too(void *unused)
{
    (void)unused;
    struct board *b = board_new(sizeof *b);
    pid_t family = start_family(have_descendants, b);
    expect_all_to_live(b);
    CHECK_EQ(kill(family, SIGKILL), 0);
    CHECK_EQ(t_reap(family), 1000 + SIGKILL);
    expect_all_to_die(b);
    return 0;
}

static int those_below_a_dead_one_die_and_those_above_live(void *unused)
{
    (void)unused;
    struct board *b = board_new(sizeof *b);
    pid_t family = start_family(have_descendants, b);
    CHECK_EQ(kill(b->pids[2], SIGKILL), 0);
    UNTIL(has_ended(b->pids[2])); /* its parent, which stands still, does not collect it */
    CHECK_EQ(t_reap(b->pids[3]), 1000 + SIGKILL);
    CHECK_EQ(t_reap(b->pids[4]), 1000 + SIGKILL);
    CHECK(!has_ended(family) && !has_ended(b->pids[0]) && !has_ended(b->pids[1]));
    CHECK_EQ(kill(family, SIGKILL), 0);
    t_reap(family);
    b->n = 2;
    CHECK_EQ(t_reap(b->pids[0]), 1000 + SIGKILL);
    CHECK_EQ(t_reap(b->pids[1]), 1000 + SIGKILL);
    return 0;
}

static int have_stopped_children(void *board)
{
    struct board *b = board;
    start_to_stay(b, 3);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(kill(b->pids[i], SIGSTOP), 0);
    TELL(b->ready, 1);
    return stand_still(NULL);
}

static int stopped_children_die_too(void *unused)
{
    (void)unused;
    struct board *b = board_new(sizeof *b);
    pid_t family = start_family(have_stopped_children, b);
    CHECK_EQ(kill(family, SIGKILL), 0);
    t_reap(family);
    expect_all_to_die(b);
    return 0;
}

static int stay_deaf(void *board)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    for (int n = 1; n < 32; n++)
        signal(n, SIG_IGN);
    setpgid(0, 0);
    return stay(board);
}

static int have_deaf_child(void *board)
{
    struct board *b = board;
    t_start_one(PLAIT_PROCESS, stay_deaf, b);
    UNTIL(SEEN(b->n) == 1);
    TELL(b->ready, 1);
    return stand_still(NULL);
}

static int children_that_block_all_signals_die_too(void *unused)
{
    (void)unused;
    struct board *b = board_new(sizeof *b);
    pid_t family = start_family(have_deaf_child, b);
    CHECK_EQ(kill(family, SIGKILL), 0);
    t_reap(family);
    expect_all_to_die(b);
    return 0;
}

/* The parent dies while the child is being born, at once or a little later. */
static int start_and_die(void *delay)
{
    struct board *unused = NULL;
    plait_worker w;
    plait_start(&w, PLAIT_PROCESS, stand_still, unused, NULL);
    for (volatile intptr_t i = 0; i < (intptr_t)delay * 100; i++)
        ;
    kill(getpid(), SIGKILL);
    return 0;
}

static int children_being_started_die_too(void *unused)
{
    (void)unused;
    adopt_orphans();
    for (intptr_t i = 0; i < t_scaled(100); i++)
        CHECK_EQ(t_in_fork(start_and_die, number(i * 20)), 1000 + SIGKILL);
    UNTIL(living_in_session(getsid(0)) == 1);
    return 0;
}

/* --- the thread that started them ends --- */

static int start_three_here(void *board)
{
    start_to_stay(board, 3);
    return 0;
}

static int start_by_threads(void *board)
{
    struct board *b = board;
    t_in_pthread(start_three_here, b);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_THREAD, start_three_here, b)), 0);
    TELL(b->ready, 1);
    return stand_still(NULL);
}

static int the_end_of_the_thread_that_started_them_kills_nobody(void *unused)
{
    (void)unused;
    struct board *b = board_new(sizeof *b);
    pid_t family = start_family(start_by_threads, b);
    CHECK_EQ(b->n, 6);
    expect_all_to_live(b);
    CHECK_EQ(kill(family, SIGKILL), 0);
    t_reap(family);
    expect_all_to_die(b);
    return 0;
}

static void *go_on(void *board)
{
    struct board *b = board;
    UNTIL(SEEN(b->go));
    _exit(5);
}

static int leave_the_first_thread(void *board)
{
    struct board *b = board;
    pthread_t other;
    start_to_stay(b, 2);
    CHECK_EQ(pthread_create(&other, NULL, go_on, b), 0);
    TELL(b->ready, 1);
    pthread_exit(NULL);
}

static int the_end_of_the_first_thread_kills_nobody(void *unused)
{
    (void)unused;
    struct board *b = board_new(sizeof *b);
    pid_t family = start_family(leave_the_first_thread, b);
    expect_all_to_live(b);
    TELL(b->go, 1);
    CHECK_EQ(t_reap(family), 5);
    expect_all_to_die(b);
    return 0;
}

static int fill_and_start_by_threads(void *board)
{
    struct board *b = board;
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, return_one, NULL)), 1);
    int first = fill_descriptors(60);
    t_in_pthread(start_three_here, b);
    for (int fd = first; fd < 60; fd++)
        close(fd);
    TELL(b->ready, 1);
    return stand_still(NULL);
}

static int with_all_descriptors_in_use_children_are_tied_all_the_same(void *unused)
{
    (void)unused;
    struct board *b = board_new(sizeof *b);
    pid_t family = start_family(fill_and_start_by_threads, b);
    expect_all_to_live(b);
    CHECK_EQ(kill(family, SIGKILL), 0);
    t_reap(family);
    expect_all_to_die(b);
    return 0;
}

static int drop_privileges_and_start_by_threads(void *board)
{
    struct board *b = board;
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, return_one, NULL)), 1);
    start_to_stay(b, 1);
    become_nobody_else();
    t_in_pthread(start_three_here, b);
    TELL(b->ready, 1);
    return stand_still(NULL);
}

static int after_dropping_privileges_children_are_tied_all_the_same(void *unused)
{
    (void)unused;
    if (geteuid() != 0)
        return PROGRAM_SKIPPED;
    struct board *b = board_new(sizeof *b);
    pid_t family = start_family(drop_privileges_and_start_by_threads, b);
    CHECK_EQ(b->n, 4);
    expect_all_to_live(b);
    CHECK_EQ(kill(family, SIGKILL), 0);
    t_reap(family);
    expect_all_to_die(b);
    return 0;
}

static int start_in_an_empty_root(void *board)
{
    struct board *b = board;
    CHECK_EQ(chroot("/var/empty") == 0 || chroot("/mnt") == 0, 1);
    start_to_stay(b, 3);
    TELL(b->ready, 1);
    return stand_still(NULL);
}

/* Without /proc the tie is another one, but there is one. */
static int without_proc_children_die_with_their_parent(void *unused)
{
    (void)unused;
    if (geteuid() != 0)
        return PROGRAM_SKIPPED;
    struct board *b = board_new(sizeof *b);
    pid_t family = start_family(start_in_an_empty_root, b);
    CHECK_EQ(kill(family, SIGKILL), 0);
    t_reap(family);
    expect_all_to_die(b);
    return 0;
}

/* --- others who might hold the line --- */

static int have_others(void *board)
{
    struct board *b = board;
    char *sleeper[] = {"sleep", "1000", NULL};
    start_to_stay(b, 1);
    b->pids[1] = t_fork(stand_still, NULL);
    CHECK_EQ(posix_spawnp(&b->pids[2], "sleep", NULL, NULL, sleeper, NULL), 0);
    b->extra = b->pids[2];
    TELL(b->ready, 1);
    return stand_still(NULL);
}

/* A process that the program forked or executed itself lives on, and it has inherited much. */
static int processes_of_the_program_keep_no_worker_alive(void *unused)
{
    (void)unused;
    struct board *b = board_new(sizeof *b);
    pid_t family = start_family(have_others, b);
    CHECK_EQ(kill(family, SIGKILL), 0);
    t_reap(family);
    CHECK_EQ(t_reap(b->pids[0]), 1000 + SIGKILL);
    for (int i = 1; i < 3; i++) {
        CHECK(!has_ended(b->pids[i]));
        CHECK_EQ(kill(b->pids[i], SIGTERM), 0);
        CHECK_EQ(t_reap(b->pids[i]), 1000 + SIGTERM);
    }
    return 0;
}

static int have_detached_sibling(void *board)
{
    struct board *b = board;
    plait_worker w;
    start_to_stay(b, 1);
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, stay, b,
                         &(plait_options){.detach = true, .start_method = PLAIT_FORK}),
             0);
    UNTIL(SEEN(b->n) == 2);
    start_to_stay(b, 1);
    TELL(b->ready, 1);
    return stand_still(NULL);
}

static int a_detached_process_outlives_its_parent_and_holds_no_sibling(void *unused)
{
    (void)unused;
    struct board *b = board_new(sizeof *b);
    pid_t family = start_family(have_detached_sibling, b);
    CHECK_EQ(kill(family, SIGKILL), 0);
    t_reap(family);
    CHECK_EQ(t_reap(b->pids[0]), 1000 + SIGKILL);
    CHECK_EQ(t_reap(b->pids[2]), 1000 + SIGKILL);
    t_sleep(plait_ms(50));
    CHECK(!has_ended(b->pids[1]));
    CHECK_EQ(kill(b->pids[1], SIGTERM), 0);
    CHECK_EQ(t_reap(b->pids[1]), 1000 + SIGTERM);
    return 0;
}

static int beget_detached(void *board)
{
    struct board *b = board;
    b->extra = getpid();
    start_to_stay(b, 2);
    TELL(b->ready, 1);
    return stand_still(NULL);
}

static int leave_detached_with_children(void *board)
{
    plait_worker w;
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, beget_detached, board,
                         &(plait_options){.detach = true, .start_method = PLAIT_FORK}),
             0);
    return 0;
}

static int children_of_a_detached_process_die_with_it(void *unused)
{
    (void)unused;
    struct board *b = board_new(sizeof *b);
    adopt_orphans();
    pid_t family = t_fork(leave_detached_with_children, b);
    t_reap(family);
    UNTIL(SEEN(b->ready));
    expect_all_to_live(b);
    CHECK(!has_ended(b->extra));
    CHECK_EQ(kill(b->extra, SIGKILL), 0);
    CHECK_EQ(t_reap(b->extra), 1000 + SIGKILL);
    expect_all_to_die(b);
    return 0;
}

/* --- descriptors that the program closes and uses again --- */

struct pipe_work {
    int ends[2];
    struct board *board;
};

static int use_pipe(void *work)
{
    struct pipe_work *w = work;
    struct board *b = w->board;
    come(b);
    CHECK_EQ(write(w->ends[1], "from the child", 14), 14);
    UNTIL(SEEN(b->go));
    return 6;
}

/* The numbers of all that plait had opened come back as ends of pipes. */
static int close_all_and_start(void *board)
{
    enum { PIPES = 8 };
    static struct pipe_work works[PIPES];
    struct board *b = board;
    char text[20];
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, return_one, NULL)), 1);
    CHECK_EQ(close_range(3, ~0u, 0), 0);
    for (int i = 0; i < PIPES; i++) {
        works[i].board = b;
        CHECK_EQ(pipe(works[i].ends), 0);
    }
    for (int i = 0; i < PIPES; i++) {
        TELL(b->go, 0);
        forget_who_came(b);
        plait_worker w = t_start_one(PLAIT_PROCESS, use_pipe, &works[i]);
        for (int k = 0; k < PIPES; k++)
            CHECK_EQ(write(works[k].ends[1], "x", 1), 1); /* deadly to one that is tied to it */
        UNTIL(SEEN(b->n) == 1);
        TELL(b->go, 1);
        CHECK_EQ(t_join_one(w), 6);
        CHECK(read(works[i].ends[0], text, sizeof text) > 0);
    }
    forget_who_came(b);
    start_to_stay(b, 2);
    TELL(b->ready, 1);
    return stand_still(NULL);
}

static int a_program_may_close_all_descriptors_and_use_their_numbers(void *unused)
{
    (void)unused;
    struct board *b = board_new(sizeof *b);
    pid_t family = start_family(close_all_and_start, b);
    expect_all_to_live(b);
    CHECK_EQ(kill(family, SIGKILL), 0);
    t_reap(family);
    expect_all_to_die(b);
    return 0;
}

/* --- what is left in the registry --- */

static plait_event *never;

/* The survivor looks around until only its own entry and those of the watchers are in use. */
static int outlive_and_count(void *board)
{
    struct board *b = board;
    TELL(b->ready, 1);
    UNTIL(SEEN(b->go));
    do
        plait_event_wait(never, plait_ms(20));
    while (entries_in_use() > 1 || plait_enumerate(NULL, 0) > 1);
    TELL(b->result, 1);
    return 0;
}

static int leave_all_kinds_behind(void *board)
{
    struct board *b = board;
    plait_worker w;
    never = plait_alloc(sizeof *never);
    for (int i = 0; i < 5; i++)
        t_start_one(PLAIT_PROCESS, return_one, NULL);
    start_to_stay(b, 3);
    for (int i = 0; i < 3; i++)
        t_start_one(PLAIT_THREAD, stand_still, NULL);
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, outlive_and_count, b,
                         &(plait_options){.detach = true, .start_method = PLAIT_FORK}),
             0);
    return stand_still(NULL);
}

static int entries_of_a_dead_family_are_given_back(void *unused)
{
    (void)unused;
    struct board *b = board_new(sizeof *b);
    pid_t family = start_family(leave_all_kinds_behind, b);
    CHECK_EQ(kill(family, SIGKILL), 0);
    t_reap(family);
    expect_them_to_die(b);
    TELL(b->go, 1);
    UNTIL(SEEN(b->result));
    return 0;
}

static int middle(void *board)
{
    struct board *b = board;
    for (int i = 0; i < 3; i++)
        t_start_one(PLAIT_PROCESS, return_one, NULL);
    start_to_stay(b, 3);
    for (int i = 0; i < 3; i++)
        t_start_one(PLAIT_THREAD, stand_still, NULL);
    TELL(b->ready, 1);
    return stand_still(NULL);
}

static int entries_below_a_dead_worker_are_given_back(void *unused)
{
    (void)unused;
    struct board *b = board_new(sizeof *b);
    plait_event *e = plait_alloc(sizeof *e);
    plait_arena_statistics before, after;
    CHECK_RC(plait_arena_stats(&before), 0);
    plait_worker w = t_start_one(PLAIT_PROCESS, middle, b);
    UNTIL(SEEN(b->ready));
    t_kill(w);
    do
        plait_event_wait(e, plait_ms(20));
    while (entries_in_use() > 1 || plait_enumerate(NULL, 0) > 1);
    CHECK_RC(plait_arena_stats(&after), 0);
    CHECK_EQ(after.blocks, before.blocks);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROGRAM(children_die_with_a_parent_that_is_killed),
        PROGRAM(children_die_with_a_parent_that_leaves_by_underscore_exit),
        PROGRAM(grandchildren_die_too),
        PROGRAM(those_below_a_dead_one_die_and_those_above_live),
        PROGRAM(stopped_children_die_too),
        PROGRAM(children_that_block_all_signals_die_too),
        PROGRAM(children_being_started_die_too),
        PROGRAM(the_end_of_the_thread_that_started_them_kills_nobody),
        PROGRAM(the_end_of_the_first_thread_kills_nobody),
        PROGRAM(with_all_descriptors_in_use_children_are_tied_all_the_same),
        PROGRAM(after_dropping_privileges_children_are_tied_all_the_same),
        PROGRAM(without_proc_children_die_with_their_parent),
        PROGRAM(processes_of_the_program_keep_no_worker_alive),
        PROGRAM(a_detached_process_outlives_its_parent_and_holds_no_sibling),
        PROGRAM(children_of_a_detached_process_die_with_it),
        PROGRAM(a_program_may_close_all_descriptors_and_use_their_numbers),
        PROGRAM(entries_of_a_dead_family_are_given_back),
        PROGRAM(entries_below_a_dead_worker_are_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
