/* Tasks that do not let others run: what is reported of them (plait_slow_task_limit), and what is not. */
#include "harness/harness.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT plait_ms(20)
enum { LONG_MS = 60 };

/* What was told, in one piece. */
static struct {
    pthread_mutex_t lock;
    char text[65536];
} told = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void keep(const char *text, void *unused)
{
    (void)unused;
    pthread_mutex_lock(&told.lock);
    strncat(told.text, text, sizeof told.text - strlen(told.text) - 1);
    pthread_mutex_unlock(&told.lock);
}

static int count(const char *what)
{
    int n = 0;
    pthread_mutex_lock(&told.lock);
    for (const char *at = told.text; (at = strstr(at, what)); at++)
        n++;
    pthread_mutex_unlock(&told.lock);
    return n;
}

/* How often a task of that name has been reported, and that it goes on. A machine that stands still for a while makes
 * any task slow; so what others were is not asked. */
static int starts(const char *name)
{
    char line[PLAIT_NAME_SIZE + 100];
    snprintf(line, sizeof line, "plait: slow task: \"%s\" has run for ", name);
    return count(line);
}

static int ends(const char *name)
{
    char line[PLAIT_NAME_SIZE + 100];
    snprintf(line, sizeof line, "plait: slow task: \"%s\" let others run after ", name);
    return count(line);
}

static bool tells(const char *text)
{
    if (count(text) > 0)
        return true;
    print_message("not in: %s", told.text);
    return false;
}

static int begin(void **state)
{
    (void)state;
    told.text[0] = 0;
    plait_set_log(keep, NULL);
    CHECK_RC(plait_slow_task_limit(LIMIT), 0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    return plait_slow_task_limit(0);
}

/* --- ways to be slow --- */

static int own_reports(void)
{
    char name[PLAIT_NAME_SIZE];
    CHECK_RC(plait_name(plait_self(), name, sizeof name), 0);
    return starts(name);
}

/* Neither ends before it was reported; then a little later. */
static __attribute__((noinline)) int spin_for_ages(int64_t (*clock)(void))
{
    int before = own_reports(), now;
    int64_t until = clock() + plait_seconds(T_PATIENCE_S);
    while ((now = own_reports()) == before && clock() < until)
        ;
    until = clock() + plait_ms(5);
    while (clock() < until)
        ;
    if (now == before)
        print_message("not told of: %s", told.text);
    return now - before - 1;
}

static __attribute__((noinline)) int block_for_ages(int64_t (*clock)(void))
{
    int before = own_reports(), now;
    int64_t until = clock() + plait_seconds(T_PATIENCE_S);
    while ((now = own_reports()) == before && clock() < until)
        usleep(100000);
    return now - before - 1;
}

static int spin(void *arg)
{
    (void)arg;
    return spin_for_ages(plait_now);
}

static int block(void *arg)
{
    (void)arg;
    return block_for_ages(plait_now);
}

static int spin_unnoticed(void *arg)
{
    (void)arg;
    for (int64_t until = plait_now() + plait_ms(LONG_MS); plait_now() < until;)
        ;
    return 0;
}

/* The longest time that it let nobody else run, as far as it sees. */
static int64_t last_step, longest;

static void note_step(void)
{
    int64_t now = plait_now();
    longest = now - last_step > longest ? now - last_step : longest;
    last_step = now;
}

static int be_good(void *arg)
{
    (void)arg;
    for (int64_t until = plait_now() + plait_ms(3 * LONG_MS); plait_now() < until; note_step()) {
        CHECK_RC(plait_yield(), 0);
        note_step();
        CHECK_RC(plait_sleep(plait_ms(1)), 0);
    }
    return 0;
}

static int sleep_well(void *arg)
{
    (void)arg;
    return plait_sleep(plait_ms(LONG_MS));
}

static plait_worker start_named(plait_function *fn, const char *name)
{
    plait_worker w;
    CHECK_RC(plait_start(&w, PLAIT_TASK, fn, NULL, &(plait_options){.name = name}), 0);
    return w;
}

/* Runs them to the end beside each other. */
static void run_both(plait_function *one, plait_function *other)
{
    plait_worker a = start_named(one, "one"), b = start_named(other, "other");
    CHECK_EQ(t_join_one(a), 0);
    CHECK_EQ(t_join_one(b), 0);
}

/* --- reported --- */

static void who_spins_is_named_with_the_functions_it_is_in(void **state)
{
    (void)state;
    run_both(spin, be_good);
    UNTIL(ends("one") == 1);
    CHECK_EQ(starts("one"), 1);
    CHECK(tells("other tasks of \"MainThread\": 1\n"));
    CHECK(tells("plait:   in spin_for_ages"));
    CHECK(tells("plait:   in spin"));
    CHECK_EQ(count("pl_task_main"), 0); /* not what is plait's */
}

static void who_blocks_outside_plait_is_named_too(void **state)
{
    (void)state;
    run_both(be_good, block);
    UNTIL(ends("other") == 1);
    CHECK_EQ(starts("other"), 1);
    CHECK(tells("  in usleep"));
    CHECK(tells("  in block_for_ages"));
}

/* The milliseconds that stand after `text`. */
static long number_after(const char *text)
{
    pthread_mutex_lock(&told.lock);
    const char *at = strstr(told.text, text);
    CHECK(at != NULL);
    long ms = strtol(at + strlen(text), NULL, 10);
    pthread_mutex_unlock(&told.lock);
    return ms;
}

static void it_is_told_how_long_it_was(void **state)
{
    (void)state;
    int64_t began = plait_now();
    run_both(spin, sleep_well);
    UNTIL(ends("one") == 1);
    long most = (plait_now() - began) / 1000000;
    long first = number_after("\"one\" has run for ");
    long total = number_after("\"one\" let others run after ");
    CHECK(first >= LIMIT / 1000000 && first <= total && total <= most);
}

static void a_task_without_a_name_has_its_number(void **state)
{
    (void)state;
    plait_worker w;
    char name[PLAIT_NAME_SIZE];
    CHECK_RC(plait_start(&w, PLAIT_TASK, spin, NULL, NULL), 0);
    CHECK_RC(plait_name(w, name, sizeof name), 0);
    CHECK(strncmp(name, "Task-", 5) == 0);
    CHECK_EQ(t_join_one(w), 0);
    UNTIL(ends(name) == 1);
    CHECK_EQ(starts(name), 1);
}

static int twice(void *arg)
{
    CHECK_EQ(spin(arg), 0);
    CHECK_RC(plait_yield(), 0);
    return spin(arg);
}

static void each_time_is_told(void **state)
{
    (void)state;
    run_both(twice, sleep_well);
    UNTIL(ends("one") == 2);
    CHECK_EQ(starts("one"), 2);
}

static void a_threads_own_flow_holds_up_its_tasks(void **state)
{
    (void)state;
    plait_worker w = start_named(sleep_well, "one");
    CHECK_EQ(spin_for_ages(plait_now), 0);
    CHECK_EQ(t_join_one(w), 0);
    UNTIL(ends("MainThread") == 1);
    CHECK(tells("other tasks of \"MainThread\": 1\n"));
    CHECK(tells("in a_threads_own_flow_holds_up_its_tasks+0x"));
}

static int run_two_slow_ones(void *arg)
{
    (void)arg;
    plait_worker w[2];
    char name[2][PLAIT_NAME_SIZE];
    for (int i = 0; i < 2; i++) {
        CHECK_RC(plait_start(&w[i], PLAIT_TASK, spin, NULL, NULL), 0);
        CHECK_RC(plait_name(w[i], name[i], PLAIT_NAME_SIZE), 0);
    }
    for (int i = 0; i < 2; i++)
        CHECK_EQ(t_join_one(w[i]), 0);
    for (int i = 0; i < 2; i++)
        UNTIL(ends(name[i]) == 1);
    return 0;
}

static void loops_of_several_threads_are_watched(void **state)
{
    (void)state;
    plait_worker w[3];
    for (int i = 0; i < 3; i++)
        w[i] = t_start_one(PLAIT_THREAD, run_two_slow_ones, NULL);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(t_join_one(w[i]), 0);
}

static const char deaf_line[] = "slow task: a task of \"MainThread\" has run for ";

static int spin_deaf(void *arg)
{
    sigset_t all, before;
    (void)arg;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (int64_t until = plait_now() + plait_seconds(T_PATIENCE_S);
         count(deaf_line) == 0 && plait_now() < until;)
        ;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return 0;
}

static void who_blocks_signals_is_told_without_functions(void **state)
{
    (void)state;
    run_both(spin_deaf, sleep_well);
    CHECK(tells(deaf_line));
    CHECK_EQ(count("in spin_deaf"), 0);
    run_both(spin, sleep_well); /* and the next one with them */
    CHECK(tells("plait:   in spin_for_ages"));
}

static int watch_in_child(void *arg)
{
    (void)arg;
    begin(NULL); /* the limit is inherited; the log too */
    run_both(spin, sleep_well);
    UNTIL(ends("one") == 1);
    CHECK(tells("in spin_for_ages"));
    return 0;
}

static void a_forked_child_watches_its_own(void **state)
{
    (void)state;
    CHECK_EQ(t_in_fork(watch_in_child, NULL), 0);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, watch_in_child, NULL)), 0);
    CHECK_EQ(starts("one"), 0);
}

/* --- not reported --- */

static void who_waits_in_time_is_not_told(void **state)
{
    (void)state;
    last_step = plait_now();
    longest = 0;
    run_both(be_good, be_good);
    note_step();
    if (count("slow task") > 0) {
        print_message("longest %ld us: %s", (long)longest / 1000, told.text);
        CHECK(longest >= LIMIT);
    }
}

static void a_loop_that_sleeps_is_not_slow(void **state)
{
    (void)state;
    CHECK_RC(plait_slow_task_limit(plait_ms(4 * LONG_MS)), 0);
    plait_worker w = start_named(sleep_well, "one");
    CHECK_RC(plait_sleep(plait_ms(10 * LONG_MS)), 0);
    CHECK_EQ(t_join_one(w), 0);
    CHECK_EQ(count("slow task"), 0);
}

static void a_thread_without_tasks_may_do_what_it_likes(void **state)
{
    (void)state;
    CHECK_EQ(spin_unnoticed(NULL), 0);
    CHECK_EQ(plait_run(spin_unnoticed, NULL), 0); /* that is the thread's own flow */
    CHECK_EQ(count("slow task"), 0);
}

static void once_switched_off_nothing_is_told(void **state)
{
    (void)state;
    CHECK_RC(plait_slow_task_limit(0), 0);
    run_both(spin_unnoticed, sleep_well);
    CHECK_EQ(count("slow task"), 0);
    CHECK_RC(plait_slow_task_limit(LIMIT), 0);
    run_both(spin, sleep_well);
    UNTIL(ends("one") == 1);
}

static void a_longer_limit_lets_it_pass(void **state)
{
    (void)state;
    CHECK_RC(plait_slow_task_limit(plait_seconds(100)), 0);
    run_both(spin_unnoticed, spin_unnoticed);
    CHECK_EQ(count("slow task"), 0);
}

static void the_slow_ones_notice_nothing(void **state)
{
    (void)state;
    plait_worker w = start_named(sleep_well, "one");
    errno = EXDEV;
    CHECK_EQ(spin_for_ages(plait_now), 0);
    CHECK_EQ(errno, EXDEV);
    CHECK_EQ(t_join_one(w), 0);
}

static void a_bad_limit_is_refused(void **state)
{
    (void)state;
    errno = EXDEV;
    CHECK_RC(plait_slow_task_limit(-1), PLAIT_EINVAL);
    CHECK_RC(plait_slow_task_limit(PLAIT_TIMEOUT_MAX + 1), PLAIT_EOVERFLOW);
    CHECK_RC(plait_slow_task_limit(1), 0); /* as 1 ms */
    CHECK_EQ(errno, EXDEV);
    run_both(spin, sleep_well);
    UNTIL(ends("one") == 1);
}

/* --- the word in the environment --- */

/* This program again, slow; what it has written to standard error. */
static void run_program(const char *wish, const char *how, char *output, size_t size)
{
    int p[2], status;
    size_t n = 0;
    ssize_t got;
    CHECK_EQ(pipe(p), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(p[1], STDERR_FILENO);
        if (wish)
            setenv("PLAIT_SLOW_TASK", wish, 1);
        else
            unsetenv("PLAIT_SLOW_TASK");
        execl("/proc/self/exe", "slow_task_test", how, NULL);
        _exit(127);
    }
    close(p[1]);
    while ((got = read(p[0], output + n, size - 1 - n)) > 0)
        n += (size_t)got;
    output[n] = 0;
    close(p[0]);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

static void keep_and_show(const char *text, void *unused)
{
    keep(text, unused);
    CHECK_EQ(write(STDERR_FILENO, text, strlen(text)), strlen(text));
}

static int run_slow_program(void)
{
    plait_set_log(keep_and_show, NULL);
    run_both(spin, sleep_well);
    UNTIL(ends("one") == 1);
    return 0;
}

static int run_slow_program_unnoticed(void)
{
    run_both(spin_unnoticed, sleep_well);
    return 0;
}

static void the_environment_switches_it_on(void **state)
{
    (void)state;
    char output[8192];
    run_program("20", "--slow", output, sizeof output);
    CHECK(strstr(output, "plait: slow task: \"one\" has run for "));
    CHECK(strstr(output, "plait:   in spin_for_ages"));
    CHECK(strstr(output, "let others run after "));
    const char *const offs[] = {NULL, "0", "", "-5", "x", "99999999999999999999"};
    for (int i = 0; i < 6; i++) {
        run_program(offs[i], "--unnoticed", output, sizeof output);
        CHECK_EQ(strlen(output), 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--slow") == 0)
        return run_slow_program();
    if (argc == 2 && strcmp(argv[1], "--unnoticed") == 0)
        return run_slow_program_unnoticed();
    const struct CMUnitTest tests[] = {
        TEST(who_spins_is_named_with_the_functions_it_is_in),
        TEST(who_blocks_outside_plait_is_named_too),
        TEST(it_is_told_how_long_it_was),
        TEST(a_task_without_a_name_has_its_number),
        TEST(each_time_is_told),
        TEST(a_threads_own_flow_holds_up_its_tasks),
        TEST(loops_of_several_threads_are_watched),
        TEST(who_blocks_signals_is_told_without_functions),
        TEST(a_forked_child_watches_its_own),
        TEST(who_waits_in_time_is_not_told),
        TEST(a_loop_that_sleeps_is_not_slow),
        TEST(a_thread_without_tasks_may_do_what_it_likes),
        TEST(once_switched_off_nothing_is_told),
        TEST(a_longer_limit_lets_it_pass),
        TEST(the_slow_ones_notice_nothing),
        TEST(a_bad_limit_is_refused),
        TEST(the_environment_switches_it_on),
    };
    t_arguments(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
