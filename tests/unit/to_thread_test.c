/* Helper threads: a test per promise of include/plait/to_thread.h and file.h. */
#include "harness/harness.h"

#include "park/park.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LONG plait_seconds(T_PATIENCE_S)

static const int kinds[] = {PLAIT_THREAD, PLAIT_PROCESS, PLAIT_TASK};

/* A function that blocks until it is let go. */
struct gate {
    int open, inside, most, done;
};

static int pass(void *arg)
{
    struct gate *g = arg;
    int inside = COUNT(g->inside), most = SEEN(g->most);
    while (inside > most && !__atomic_compare_exchange_n(&g->most, &most, inside, false,
                                                         __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        ;
    while (!SEEN(g->open))
        t_sleep(plait_us(100));
    ADD(g->inside, -1);
    COUNT(g->done);
    return 0;
}

static struct gate gate; /* shut */

static int wait_at_gate(void *g, int64_t timeout)
{
    return plait_to_thread(pass, g, NULL, timeout);
}

static void without_an_arena_it_says_why_it_cannot_wait(void **state)
{
    (void)state;
    t_check_no_arena(wait_at_gate, &gate);
}

static int square(void *arg)
{
    int n = *(int *)arg;
    errno = ENOSPC;
    return n * n;
}

static int square_by_helper(void *arg)
{
    (void)arg;
    int n = 7, result = 0;
    errno = EXDEV;
    CHECK_RC(plait_to_thread(square, &n, &result, LONG), 0);
    CHECK_EQ(result, 49);
    CHECK_RC(plait_to_thread(square, &n, NULL, PLAIT_FOREVER), 0);
    CHECK_EQ(errno, EXDEV);
    return 0;
}

static void it_gives_what_the_function_returned(void **state)
{
    (void)state;
    for (int k = 0; k < 3; k++)
        if (kinds[k] != PLAIT_PROCESS || t_may_fork_beside_threads())
            CHECK_EQ(t_join_one(t_start_one(kinds[k], square_by_helper, NULL)), 0);
    CHECK_EQ(t_in_pthread(square_by_helper, NULL), 0);
    if (!t_is_sanitized())                              /* as above */
        CHECK_EQ(t_in_fork(square_by_helper, NULL), 0); /* whose parent has helpers */
}

static int other_thread(void *arg)
{
    (void)arg;
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    return (gettid() != getpid()) + 2 * sigismember(&mask, SIGUSR1);
}

static void it_runs_in_a_thread_that_gets_no_signals(void **state)
{
    (void)state;
    int result;
    CHECK_RC(plait_to_thread(other_thread, NULL, &result, LONG), 0);
    CHECK_EQ(result, 3);
}

static int tick(void *arg)
{
    struct gate *g = arg;
    for (int i = 0; i < 3; i++)
        CHECK_RC(plait_sleep(plait_us(200)), 0);
    TELL(g->open, 1);
    return 0;
}

static void other_tasks_run_meanwhile(void **state)
{
    (void)state;
    struct gate g = {0};
    plait_worker ticker = t_start_one(PLAIT_TASK, tick, &g);
    CHECK_RC(plait_to_thread(pass, &g, NULL, LONG), 0); /* which only the task can end */
    CHECK_EQ(t_join_one(ticker), 0);
}

static void a_wait_given_up_leaves_the_function_running(void **state)
{
    (void)state;
    FOR_EACH_TASKLESS_SETTING(s)
    {
        if (t_has_processes(s) && !t_may_fork_beside_threads())
            continue;
        static struct gate g;
        g = (struct gate){0};
        t_check_bad_timeouts(wait_at_gate, &g);
        CHECK_EQ(SEEN(g.inside), 0);
        t_check_time(wait_at_gate, &g);
        UNTIL(SEEN(g.inside) == 3); /* also the one that would have had to wait */
        t_check_cancel(s, wait_at_gate, &g);
        int inside = 3; /* and those of threads; a process has a gate and helpers of its own */
        for (int i = 0; i < 2; i++)
            inside += s->kinds[i] == PLAIT_THREAD;
        UNTIL(SEEN(g.inside) == inside);
        TELL(g.open, 1);
        UNTIL(SEEN(g.done) == inside);
    }
}

static void a_task_that_is_cancelled_returns_at_once(void **state)
{
    (void)state;
    struct t_waiter w = {wait_at_gate, &gate, PLAIT_FOREVER, 0, 0, 0};
    plait_worker task = t_start_one(PLAIT_TASK, t_wait_once, &w);
    UNTIL(plait_sleep(plait_us(100)) == 0 && SEEN(gate.inside) == 1);
    CHECK_RC(plait_cancel(task), 0);
    CHECK_EQ(t_join_one(task), 0);
    CHECK_RC(w.rc, PLAIT_ECANCELED);
    TELL(gate.open, 1);
    UNTIL(SEEN(gate.done) == 1);
    gate = (struct gate){0};
}

enum { MANY = 100, HELPERS = 32 };

static int enter_gate(void *g)
{
    return wait_at_gate(g, LONG);
}

static void there_are_no_more_helpers_than_promised(void **state)
{
    (void)state;
    struct gate g = {0};
    plait_worker tasks[MANY];
    for (int i = 0; i < MANY; i++)
        tasks[i] = t_start_one(PLAIT_TASK, enter_gate, &g);
    UNTIL(plait_sleep(plait_us(100)) == 0 && SEEN(g.inside) == HELPERS);
    CHECK_RC(plait_sleep(plait_ms(5)), 0);
    CHECK_EQ(SEEN(g.most), HELPERS);
    TELL(g.open, 1);
    for (int i = 0; i < MANY; i++)
        CHECK_EQ(t_join_one(tasks[i]), 0);
    CHECK_EQ(SEEN(g.done), MANY);
    CHECK_EQ(SEEN(g.most), HELPERS);
}

static int descend(void *arg)
{
    int depth = *(int *)arg, result;
    if (depth == 0)
        return 0;
    int below = depth - 1;
    CHECK_RC(plait_to_thread(descend, &below, &result, LONG), 0);
    return result + 1;
}

static void nesting_blocks_nothing(void **state)
{
    (void)state;
    int depth = 2 * HELPERS, result;
    CHECK_RC(plait_to_thread(descend, &depth, &result, LONG), 0);
    CHECK_EQ(result, 2 * HELPERS);
}

static void null_is_refused(void **state)
{
    (void)state;
    CHECK_RC(plait_to_thread(NULL, NULL, NULL, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_open(NULL, 0, 0, LONG), PLAIT_EINVAL);
    CHECK_RC((int)plait_pread(-1, NULL, 0, 0, LONG), PLAIT_EINVAL);
    CHECK_RC((int)plait_pread(0, NULL, 1, 0, LONG), PLAIT_EINVAL);
    CHECK_RC((int)plait_pwrite(0, "x", 1, -1, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_fsync(-1, LONG), PLAIT_EINVAL);
}

/* --- files --- */

static int use_file(void *arg)
{
    char *path = arg, text[20];
    errno = EXDEV;
    int fd = plait_open(path, O_CREAT | O_RDWR | O_EXCL, 0600, LONG);
    CHECK(fd >= 0);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    CHECK_RC(plait_open(path, O_CREAT | O_EXCL, 0600, LONG), PLAIT_EEXIST);
    CHECK_RC((int)plait_pwrite(fd, "0123456789", 10, 5, LONG), 10);
    CHECK_RC((int)plait_pread(fd, text, 20, 7, LONG), 8);
    CHECK_EQ(memcmp(text, "23456789", 8), 0);
    CHECK_RC((int)plait_pread(fd, text, 20, 15, LONG), 0);
    CHECK_RC(plait_fsync(fd, LONG), 0);
    CHECK_RC(plait_fsync(fd, -2), PLAIT_EINVAL);
    close(fd);
    CHECK_RC((int)plait_pread(100000, text, 20, 0, LONG), PLAIT_EBADF);
    CHECK_EQ(unlink(path), 0);
    CHECK_RC(plait_open(path, O_RDONLY, 0, LONG), PLAIT_ENOENT);
    errno = EXDEV;
    CHECK_RC(plait_open("/nonexistent/x", O_RDONLY, 0, LONG), PLAIT_ENOENT);
    CHECK_EQ(errno, EXDEV);
    return 0;
}

static void files_read_the_same_in_all_kinds_of_worker(void **state)
{
    (void)state;
    char folder[] = "/tmp/plait-test-XXXXXX", path[100];
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/file", folder);
    for (int k = 0; k < 3; k++)
        if (kinds[k] != PLAIT_PROCESS || t_may_fork_beside_threads())
            CHECK_EQ(t_join_one(t_start_one(kinds[k], use_file, path)), 0);
    rmdir(folder);
}

static int open_fifo(void *path, int64_t timeout)
{
    return plait_open(path, O_RDONLY, 0, timeout);
}

static int give_up_opening(void *path)
{
    return open_fifo(path, plait_ms(2));
}

/* A fifo opens when somebody opens its other end: by then nobody wants it, so it is closed. */
static void a_file_opened_too_late_is_closed(void **state)
{
    (void)state;
    char folder[] = "/tmp/plait-test-XXXXXX", path[100], c;
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/fifo", folder);
    CHECK_EQ(mkfifo(path, 0600), 0);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_TASK, give_up_opening, path)), PLAIT_ETIMEDOUT);
    int fd = open(path, O_WRONLY); /* waits for the helper */
    CHECK(fd >= 0);
    signal(SIGPIPE, SIG_IGN);
    UNTIL(write(fd, "x", 1) < 0 && errno == EPIPE);
    signal(SIGPIPE, SIG_DFL);
    (void)c;
    close(fd);
    unlink(path);
    rmdir(folder);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_an_arena_it_says_why_it_cannot_wait),
        cmocka_unit_test(it_gives_what_the_function_returned),
        cmocka_unit_test(it_runs_in_a_thread_that_gets_no_signals),
        cmocka_unit_test(other_tasks_run_meanwhile),
        cmocka_unit_test(a_wait_given_up_leaves_the_function_running),
        cmocka_unit_test(a_task_that_is_cancelled_returns_at_once),
        cmocka_unit_test(there_are_no_more_helpers_than_promised),
        cmocka_unit_test(nesting_blocks_nothing),
        cmocka_unit_test(null_is_refused),
        cmocka_unit_test(files_read_the_same_in_all_kinds_of_worker),
        cmocka_unit_test(a_file_opened_too_late_is_closed),
    };
    t_arguments(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
