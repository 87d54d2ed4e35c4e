/* The life of worker processes, for each start method: joined by many, ended with the program, killed in any order,
 * started by the thousand; and what is told of their end. `make large` starts ten thousand in a row. */
#include "methods.h"

#include "park/park.h"
#include "port/oom.h"
#include "registry/registry.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <plait/start_method.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static bool is_large;

enum { MOST = 32, AT_ONCE = 200 };

/* In the arena; all that the workers of a test know of each other. */
struct world {
    plait_worker subject;
    plait_event done;
    int method;
    int places, n; /* processes that have come */
    pid_t pids[MOST];
    plait_worker workers[MOST]; /* the same */
    int timed_out, got;
    plait_blame ends[8];
    int rcs[8];
};

/* What a program tells its watcher, who is not of its family. */
struct board {
    int method;
    int n;
    pid_t pids[MOST];
    int ready, go;
};

static struct world *new_world(int method)
{
    struct world *w = plait_alloc(sizeof *w);
    CHECK(w != NULL);
    w->method = method;
    return w;
}

static struct board *new_board(int method)
{
    struct board *b = board_new(sizeof *b);
    b->method = method;
    return b;
}

static void come(struct world *w)
{
    int place = COUNT(w->places) - 1;
    w->workers[place] = plait_self();
    TELL(w->pids[place], getpid());
    COUNT(w->n);
}

static int stand_still(void *unused)
{
    (void)unused;
    while (pause())
        ;
    return 0;
}

static int stay(void *world)
{
    come(world);
    return stand_still(NULL);
}

static int wait_for_done(void *world)
{
    struct world *w = world;
    CHECK_RC(plait_event_wait(&w->done, PLAIT_FOREVER), 0);
    return 7;
}

/* Within a second nobody of this session but the caller runs. */
static void expect_to_be_alone(void)
{
    int64_t until = plait_now() + plait_seconds(t_is_sanitized() ? 5 : 1);
    while (living_in_session(getsid(0)) > 1) {
        CHECK(plait_now() < until);
        t_sleep(plait_us(500));
    }
}

/* --- joining --- */

static int join_in_vain_and_again(void *world)
{
    struct world *w = world;
    plait_blame end;
    CHECK_RC(plait_join(w->subject, &end, plait_ms(10)), PLAIT_ETIMEDOUT);
    COUNT(w->timed_out);
    int rc = plait_join(w->subject, &end, plait_seconds(T_PATIENCE_S));
    int place = COUNT(w->got) - 1;
    w->ends[place] = end;
    w->rcs[place] = rc;
    return 0;
}

static void join_by_many(int method, const struct t_setting *s)
{
    struct world *w = new_world(method);
    struct t_team team;
    w->subject = start_by(method, wait_for_done, w);
    t_start(&team, s, 6, join_in_vain_and_again, w);
    UNTIL(SEEN(w->timed_out) == 6);
    for (int i = 0; i < 6; i++)
        UNTIL_WAITS(team.workers[i], PL_WAIT_JOIN);
    plait_event_set(&w->done);
    t_join(&team);
    for (int i = 0; i < 6; i++) {
        CHECK_RC(w->rcs[i], 0);
        CHECK_EQ(w->ends[i].status, 7);
        CHECK(plait_same(w->ends[i].worker, w->subject));
    }
    CHECK_RC(plait_join(w->subject, NULL, PLAIT_NOWAIT), PLAIT_ESTALE);
}

static int many_join_with_timeouts_at_once(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(method)
    {
        join_by_many(method, &t_threads);
        join_by_many(method, &t_processes);
        join_by_many(method, &t_mixed);
        join_by_many(method, &t_tasks);
        join_by_many(method, &t_tasks_and_processes);
    }
    CHECK_RC(plait_zygote_stop(), 0);
    UNTIL(plait_children(NULL, 0) == 0 && !t_has_children());
    return 0;
}

/* --- the thread that started it, the end of the program, detaching --- */

static int start_subject(void *world)
{
    struct world *w = world;
    w->subject = start_by(w->method, wait_for_done, w);
    return 0;
}

static int a_process_outlives_the_thread_that_started_it(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(method)
    for (int by_plait = 0; by_plait < 2; by_plait++) {
        struct world *w = new_world(method);
        if (by_plait)
            CHECK_EQ(t_join_one(t_start_one(PLAIT_THREAD, start_subject, w)), 0);
        else
            CHECK_EQ(t_in_pthread(start_subject, w), 0);
        UNTIL_WAITS(w->subject, PL_WAIT_EVENT);
        t_sleep(plait_ms(20));
        CHECK_EQ(plait_is_alive(w->subject), 1);
        plait_event_set(&w->done);
        CHECK_EQ(t_join_one(w->subject), 7);
    }
    return 0;
}

static int have_child_and_stay(void *world)
{
    struct world *w = world;
    start_by(w->method, stay, w);
    return stay(w);
}

static int end_with_daemon_that_has_children(void *board)
{
    struct board *b = board;
    struct world *w = new_world(b->method);
    plait_worker worker;
    CHECK_RC(plait_start(&worker, PLAIT_PROCESS, have_child_and_stay, w,
                         &(plait_options){.start_method = b->method, .daemon = true}),
             0);
    UNTIL(SEEN(w->n) == 2);
    exit(4);
}

static int daemons_end_with_the_program_and_their_children_with_them(void *unused)
{
    (void)unused;
    adopt_orphans();
    FOR_EACH_METHOD(method)
    {
        CHECK_EQ(t_in_fork(end_with_daemon_that_has_children, new_board(method)), 4);
        expect_to_be_alone();
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
    }
    return 0;
}

static int the_detached_leave_nothing_behind(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(method)
    {
        struct world *w = new_world(method);
        plait_worker worker;
        CHECK_RC(plait_start(&worker, PLAIT_PROCESS, wait_for_done, w,
                             &(plait_options){.start_method = method, .detach = true}),
                 0);
        w->subject = start_by(method, wait_for_done, w);
        CHECK_RC(plait_detach(w->subject), 0);
        CHECK_RC(plait_join(worker, NULL, PLAIT_NOWAIT), PLAIT_ESTALE);
        CHECK_RC(plait_join(w->subject, NULL, PLAIT_NOWAIT), PLAIT_ESTALE);
        plait_event_set(&w->done);
        UNTIL(plait_children(NULL, 0) == 0 && entries_in_use() == 1);
    }
    return 0;
}

/* --- killed in any order --- */

/* A program with a worker that has a worker, each with another beside it. Tells who they are. */
static int have_descendants(void *board)
{
    struct board *b = board;
    struct world *w = new_world(b->method);
    b->pids[0] = getpid();
    start_by(b->method, have_child_and_stay, w);
    UNTIL(SEEN(w->n) == 2);
    bool child_is_first = plait_same(plait_parent(w->workers[0]), plait_self());
    b->pids[1] = w->pids[!child_is_first];
    b->pids[2] = w->pids[child_is_first];
    start_by(b->method, have_child_and_stay, w);
    UNTIL(SEEN(w->n) == 4);
    TELL(b->ready, 1);
    return stand_still(NULL);
}

static const int orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

/* How many files there are in a folder. */
static int files_in(const char *folder)
{
    int n = 0;
    DIR *dir = opendir(folder);
    CHECK(dir != NULL);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

/* With folders of its own, in which nobody else makes files. False: not permitted. */
static bool has_own_folders(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", "/dev/shm", "tmpfs", 0, NULL) == 0 &&
           mount("none", "/tmp", "tmpfs", 0, NULL) == 0;
}

static void kill_in_order(int method, const int *order, int64_t pause)
{
    struct board *b = new_board(method);
    pid_t family = t_fork(have_descendants, b);
    UNTIL(SEEN(b->ready) || has_ended(family));
    for (int i = 0; i < 3; i++) {
        kill(b->pids[order[i]], SIGKILL); /* it may have died with its parent */
        if (pause)
            t_sleep(pause);
    }
    expect_to_be_alone();
    CHECK_EQ(t_reap(family), 1000 + SIGKILL);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

static int killed_in_any_order_nobody_and_no_file_is_left(void *unused)
{
    (void)unused;
    bool look_at_files = has_own_folders();
    adopt_orphans();
    FOR_EACH_METHOD(method)
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++)
        for (int k = 0; k < 3; k++)
            kill_in_order(method, orders[i], k * plait_ms(1));
    if (look_at_files) {
        CHECK_EQ(files_in("/dev/shm"), 2);
        CHECK_EQ(files_in("/tmp"), 2);
    } else {
        print_message("files left behind are not looked for: no mount namespace to be had\n");
    }
    return 0;
}

/* --- many --- */

static int double_it(void *number)
{
    return *(int *)number * 2;
}

static void start_in_a_row(int method, long n)
{
    plait_arena_statistics before, after;
    for (long i = -1; i < n; i++) {
        plait_worker w;
        int number = (int)i;
        plait_options o = {.start_method = method, .arg_size = sizeof number};
        CHECK_RC(plait_start(&w, PLAIT_PROCESS, double_it, &number, &o), 0);
        CHECK_EQ(t_join_one(w), 2 * number);
        if (i < 0) /* the first leaves what all use */
            CHECK_RC(plait_arena_stats(&before), 0);
    }
    CHECK_RC(plait_arena_stats(&after), 0);
    CHECK_EQ(after.blocks, before.blocks);
}

static int starts_in_a_row_leave_no_zombie_no_descriptor_no_entry(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(method)
    {
        start_in_a_row(method, 1);
        int files = t_open_files(), entries = entries_in_use();
        int running = living_in_session(getsid(0));
        start_in_a_row(method, is_large ? 10000 : t_scaled(t_is_sanitized() ? 50 : 300));
        CHECK_EQ(t_open_files(), files);
        CHECK_EQ(entries_in_use(), entries);
        CHECK_EQ(living_in_session(getsid(0)), running);
        CHECK_RC(plait_zygote_stop(), 0);
        CHECK(!t_has_children());
    }
    return 0;
}

static int two_hundred_live_at_once(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(method)
    {
        plait_worker workers[AT_ONCE];
        int n = t_is_sanitized() ? 50 : AT_ONCE;
        struct world *w = new_world(method);
        int files = 0;
        for (int i = 0; i < n; i++) {
            workers[i] = start_by(method, wait_for_done, w);
            files = i == 0 ? t_open_files() : files;
        }
        for (int i = 0; i < n; i++)
            UNTIL_WAITS(workers[i], PL_WAIT_EVENT);
        CHECK_EQ(plait_children(NULL, 0), n);
        CHECK_EQ(t_open_files(), files);
        plait_event_set(&w->done);
        for (int i = 0; i < n; i++)
            CHECK_EQ(t_join_one(workers[i]), 7);
        CHECK_EQ(plait_children(NULL, 0), 0);
    }
    return 0;
}

/* --- what is told of an end --- */

static volatile uint64_t sink;

static int burn_and_stay(void *world)
{
    struct timespec used = {0, 0}; /* its own time: others may have the processor meanwhile */
    while (used.tv_sec == 0 && used.tv_nsec < plait_ms(60)) {
        sink++;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    }
    return stay(world);
}

static int have_burner(void *world)
{
    struct world *w = world;
    w->subject = start_by(w->method, burn_and_stay, w);
    return stand_still(NULL);
}

/* A stranger who looks at the zombie, which the parent, standing still, does not collect. */
static int a_stranger_learns_what_a_process_has_used_but_not_of_what_it_was_killed_for(void *unused)
{
    (void)unused;
    struct world *w = new_world(PLAIT_FORK);
    plait_blame end;
    plait_worker parent = t_start_one(PLAIT_PROCESS, have_burner, w);
    UNTIL(SEEN(w->n));
    CHECK_EQ(kill(w->pids[0], SIGKILL), 0);
    CHECK_RC(plait_join(w->subject, &end, PLAIT_FOREVER), PLAIT_DIED);
    CHECK_EQ(end.signal, SIGKILL);
    CHECK(end.user_ns + end.system_ns >= plait_ms(10));
    CHECK_EQ(end.max_rss, 0);
    CHECK_EQ(end.oom_killed, -1);
    t_kill(parent);
    return 0;
}

static int one_that_ends_otherwise_was_not_killed_for_want_of_memory(void *unused)
{
    (void)unused;
    bool is_known = pl_oom_kills() >= 0;
    FOR_EACH_METHOD(method)
    {
        struct world *w = new_world(method);
        plait_blame end;
        plait_event_set(&w->done);
        CHECK_RC(plait_join(start_by(method, wait_for_done, w), &end, PLAIT_FOREVER), 0);
        CHECK_EQ(end.oom_killed, 0);
        const int signals[] = {SIGKILL, SIGTERM};
        for (int i = 0; i < 2; i++) {
            plait_worker worker = start_by(method, stay, w);
            UNTIL(SEEN(w->n) == i + 1);
            CHECK_EQ(kill(w->pids[i], signals[i]), 0);
            CHECK_RC(plait_join(worker, &end, PLAIT_FOREVER), PLAIT_DIED);
            CHECK_EQ(end.oom_killed, i == 0 && !is_known ? -1 : 0);
        }
        CHECK_EQ(t_join_blame(t_start_one(PLAIT_THREAD, wait_for_done, w), &end), 7);
        CHECK_EQ(end.oom_killed, 0);
    }
    return 0;
}

static bool write_to(const char *folder, const char *file, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return written;
}

static int eat(void *unused)
{
    enum { MOUTHFUL = 1 << 20 };
    (void)unused;
    CHECK(write_to("/proc/self", "oom_score_adj", "1000")); /* it, not its parent */
    for (int i = 0; i < 200; i++) {
        char *food = malloc(MOUTHFUL);
        if (food)
            memset(food, i, MOUTHFUL);
    }
    return 0;
}

struct diner {
    char folder[128];
    int method;
};

static int start_eater(void *diner)
{
    const struct diner *d = diner;
    char pid[20];
    plait_blame end;
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    if (!write_to(d->folder, "cgroup.procs", pid))
        return PROGRAM_SKIPPED;
    if (pl_oom_kills() < 0)
        return PROGRAM_SKIPPED;
    CHECK_RC(plait_join(start_by(d->method, eat, NULL), &end, PLAIT_FOREVER), PLAIT_DIED);
    CHECK_EQ(end.signal, SIGKILL);
    CHECK_EQ(end.oom_killed, 1);
    plait_worker other = start_by(d->method, stand_still, NULL);
    CHECK_RC(plait_kill(other), 0);
    CHECK_RC(plait_join(other, &end, PLAIT_FOREVER), PLAIT_DIED);
    CHECK_EQ(end.oom_killed, 0); /* that was before its time */
    return 0;
}

/* A control group with little memory. False: not permitted. */
static bool make_group(struct diner *d)
{
    const char *const places[] = {"/sys/fs/cgroup/memory", "/sys/fs/cgroup"};
    const char *const limits[] = {"memory.limit_in_bytes", "memory.max"};
    for (int i = 0; i < 2; i++) {
        snprintf(d->folder, sizeof d->folder, "%s/plait_test_%d", places[i], (int)getpid());
        if (mkdir(d->folder, 0755) < 0)
            continue;
        write_to(d->folder, "memory.swap.max", "0");
        if (write_to(d->folder, limits[i], "50331648"))
            return true;
        rmdir(d->folder);
    }
    return false;
}

static int one_that_the_kernel_kills_for_want_of_memory_is_told_apart(void *unused)
{
    (void)unused;
    if (t_is_sanitized())
        return PROGRAM_SKIPPED;
    struct diner d;
    int status = PROGRAM_SKIPPED;
    if (!make_group(&d)) {
        print_message("no control group to be had\n");
        return PROGRAM_SKIPPED;
    }
    FOR_EACH_METHOD(method)
    {
        d.method = method;
        status = t_in_fork(start_eater, &d);
        if (status != 0)
            break;
    }
    UNTIL(rmdir(d.folder) == 0);
    return status;
}

int main(int argc, char **argv)
{
    BEGIN_METHODS(argc, argv);
    is_large = argc > 1 && strcmp(argv[1], "--large") == 0;
    if (!is_large)
        t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        PROGRAM(many_join_with_timeouts_at_once),
        PROGRAM(a_process_outlives_the_thread_that_started_it),
        PROGRAM(daemons_end_with_the_program_and_their_children_with_them),
        PROGRAM(the_detached_leave_nothing_behind),
        PROGRAM(killed_in_any_order_nobody_and_no_file_is_left),
        PROGRAM(starts_in_a_row_leave_no_zombie_no_descriptor_no_entry),
        PROGRAM(two_hundred_live_at_once),
        PROGRAM(a_stranger_learns_what_a_process_has_used_but_not_of_what_it_was_killed_for),
        PROGRAM(one_that_ends_otherwise_was_not_killed_for_want_of_memory),
        PROGRAM(one_that_the_kernel_kills_for_want_of_memory_is_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
