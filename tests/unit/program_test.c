/* Other programs: what plait/program.h and plait/process.h promise, in threads, processes and tasks. */
#include "harness.h"

#include "park/park.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SH(script) PLAIT_ARGV("/bin/sh", "-c", script)

enum { PATIENCE_S = 30 };
static const int64_t patience = (int64_t)PATIENCE_S * 1000000000;

/* Each of these scenarios as a thread, a process and a task. */
static void in_every_kind(plait_function *fn)
{
    FOR_EVERY_KIND(kind)
    CHECK_EQ(t_join_one(t_start_one(kind, fn, NULL)), 0);
}

#define IN_EVERY_KIND(scenario)                                                                    \
    static void scenario(void **state)                                                             \
    {                                                                                              \
        (void)state;                                                                               \
        in_every_kind(scenario##_);                                                                \
    }                                                                                              \
    struct swallow_semicolon

static bool is(const char *bytes, size_t size, const char *text)
{
    return size == strlen(text) && memcmp(bytes, text, size) == 0 && bytes[size] == 0;
}

#define CHECK_TEXT(bytes, size, text)                                                              \
    (is((bytes), (size), (text)) ? (void)0                                                         \
                                 : t_die(__FILE__, __LINE__, "%s is \"%s\"", #bytes, (bytes)))

/* What a script writes, with options. */
static void expect_output(const plait_program_options *options, const char *script,
                          const char *expected)
{
    plait_run_result r;
    plait_run_options o = {.capture = true, .check = true};
    if (options)
        o.program = *options;
    int rc = plait_run_program(SH(script), &o, &r, patience);
    if (rc != 0)
        t_die(__FILE__, __LINE__, "%s: %s %s: %s %s", script, plait_errname(rc),
              plait_process_step_text(r.failure.step), r.failure.path, r.err);
    CHECK_TEXT(r.out, r.out_size, expected);
    plait_run_free(&r);
}

static void expect_refusal(const char *const *argv, const plait_program_options *options, int code,
                           int step, const char *path)
{
    plait_process_failure failure = {.code = 1};
    plait_program_options o = options ? *options : (plait_program_options){0};
    plait_program *p = (void *)1;
    int before = t_open_files();
    o.failure = &failure;
    errno = EXDEV;
    CHECK_RC(plait_program_start(&p, argv, &o), code);
    CHECK_EQ(errno, EXDEV);
    CHECK(p == (void *)1);
    CHECK_RC(failure.code, code);
    if (failure.step != step)
        t_die(__FILE__, __LINE__, "failed at %s", plait_process_step_text(failure.step));
    if (path && strcmp(failure.path, path) != 0)
        t_die(__FILE__, __LINE__, "path is %s", failure.path);
    CHECK(t_open_files() <= before); /* a loop that is done closes its own */
    CHECK(!t_has_children());
}

static plait_program *start(const char *const *argv, const plait_program_options *options)
{
    plait_program *p;
    CHECK_RC(plait_program_start(&p, argv, options), 0);
    return p;
}

static const plait_program_options all_pipes = {
    .in = {.kind = PLAIT_PIPE}, .out = {.kind = PLAIT_PIPE}, .err = {.kind = PLAIT_PIPE}};

/* --- starting and its failures --- */

static int a_program_runs_and_its_status_comes_back_(void *unused)
{
    (void)unused;
    plait_program_end end;
    plait_program *p = start(SH("exit 7"), NULL);
    CHECK(plait_program_pid(p) > 0);
    CHECK_RC(plait_program_wait(p, &end, patience), 0);
    CHECK_EQ(end.status, 7);
    CHECK_EQ(end.signal, 0);
    CHECK_EQ(end.pid, plait_program_pid(p));
    CHECK(!end.unknown && end.max_rss > 0);
    CHECK_RC(plait_program_wait(p, &end, PLAIT_NOWAIT), 0); /* again */
    CHECK_RC(plait_program_poll(p, &end), 0);
    CHECK_EQ(end.status, 7);
    plait_program_close(p);
    CHECK(!t_has_children());
    return 0;
}
IN_EVERY_KIND(a_program_runs_and_its_status_comes_back);

static int a_signal_is_the_status_negated_(void *unused)
{
    (void)unused;
    plait_run_result r;
    CHECK_RC(plait_run_program(SH("kill -9 $$"), NULL, &r, patience), 0);
    CHECK_EQ(r.end.status, -SIGKILL);
    CHECK_EQ(r.end.signal, SIGKILL);
    plait_run_free(&r);
    return 0;
}
IN_EVERY_KIND(a_signal_is_the_status_negated);

static void a_program_that_is_not_there_is_an_error_here(void **state)
{
    (void)state;
    expect_refusal(PLAIT_ARGV("/no/such/program"), NULL, PLAIT_ENOENT, PLAIT_STEP_EXEC,
                   "/no/such/program");
    expect_refusal(PLAIT_ARGV("no-such-program-in-path", "x"), NULL, PLAIT_ENOENT, PLAIT_STEP_EXEC,
                   "no-such-program-in-path");
    expect_refusal(PLAIT_ARGV("/etc/passwd"), NULL, PLAIT_EACCES, PLAIT_STEP_EXEC, "/etc/passwd");
    expect_refusal(PLAIT_ARGV("/etc/passwd/x"), NULL, -ENOTDIR, PLAIT_STEP_EXEC, NULL);
    expect_refusal(PLAIT_ARGV(""), NULL, PLAIT_ENOENT, PLAIT_STEP_EXEC, NULL);
    expect_refusal(PLAIT_ARGV("/"), NULL, PLAIT_EACCES, PLAIT_STEP_EXEC, "/");
}

static void a_start_that_fails_is_no_signal_of_a_child(void **state)
{
    (void)state;
    sigset_t child, before;
    struct timespec now = {0, 0};
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &child, &before);
    expect_refusal(PLAIT_ARGV("/no/such/program"), NULL, PLAIT_ENOENT, PLAIT_STEP_EXEC, NULL);
    CHECK(sigtimedwait(&child, NULL, &now) < 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void arguments_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    plait_program *p;
    CHECK_RC(plait_program_start(NULL, PLAIT_ARGV("true"), NULL), PLAIT_EINVAL);
    CHECK_RC(plait_program_start(&p, NULL, NULL), PLAIT_EINVAL);
    expect_refusal((const char *const[]){NULL}, NULL, PLAIT_EINVAL, PLAIT_STEP_ARGUMENTS, "argv");
    const plait_process_options bad[] = {
        {.env = (const char *const[]){"NAME", NULL}},
        {.env = (const char *const[]){"=x", NULL}},
        {.new_session = true, .new_group = true},
        {.new_session = true, .process_group = 5},
        {.new_group = true, .process_group = 5},
        {.process_group = -5},
        {.take_terminal = true},
        {.n_cpus = 1},
        {.cpus = (int[]){-1}, .n_cpus = 1},
        {.cpus = (int[]){INT_MAX}, .n_cpus = 1},
        {.n_limits = 1},
        {.limits = (plait_limit[]){{RLIMIT_CORE, 2, 1}}, .n_limits = 1},
        {.limits = (plait_limit[]){{1000, 1, 1}}, .n_limits = 1},
        {.n_groups = 1},
        {.set_umask = true, .umask = 010000},
        {.user = ""},
        {.user = "4123456"}, /* whose groups nobody knows */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect_refusal(SH("true"), &(plait_program_options){.process = &bad[i]}, PLAIT_EINVAL,
                       PLAIT_STEP_ARGUMENTS, NULL);
    const plait_program_options wrong[] = {
        {.out = {.kind = 77}},
        {.out = {.kind = -1}},
        {.in = {.kind = PLAIT_MERGED}},
        {.out = {.kind = PLAIT_MERGED}},
        {.out = {.kind = PLAIT_FILE}},
        {.pipe_size = -1},
        {.n_fds = 1},
        {.n_moves = 1},
        {.fds = (int[]){1, 1, 9, 9},
         .n_fds = 0,
         .moves = (plait_fd_move[]){{1, 9}, {2, 9}},
         .n_moves = 2},
        {.moves = (plait_fd_move[]){{1, -1}}, .n_moves = 1},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        expect_refusal(SH("true"), &wrong[i], PLAIT_EINVAL, PLAIT_STEP_ARGUMENTS, NULL);
    expect_refusal(SH("true"), &(plait_program_options){.fds = (int[]){999}, .n_fds = 1},
                   PLAIT_EBADF, PLAIT_STEP_DESCRIPTORS, NULL);
    expect_refusal(SH("true"), &(plait_program_options){.in = {.kind = PLAIT_FD, .fd = 999}},
                   PLAIT_EBADF, PLAIT_STEP_STREAMS, NULL);
}

static void no_handle_is_an_error(void **state)
{
    (void)state;
    CHECK_RC(plait_program_wait(NULL, NULL, 0), PLAIT_EINVAL);
    CHECK_RC(plait_program_poll(NULL, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_program_signal(NULL, 9), PLAIT_EINVAL);
    CHECK_RC(plait_program_kill(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_program_kill_tree(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_program_communicate(NULL, NULL, 0, NULL, 0), PLAIT_EINVAL);
    CHECK_RC(plait_program_close_in(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_program_pid(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_program_fd(NULL), PLAIT_EINVAL);
    CHECK(!plait_program_in(NULL) && !plait_program_out(NULL) && !plait_program_err(NULL));
    CHECK_RC(plait_program_close(NULL), 0);
    CHECK_RC(plait_run_program(SH("true"), NULL, NULL, 0), PLAIT_EINVAL);
    CHECK_RC(plait_program_start_pipeline(NULL, NULL, 1, NULL), PLAIT_EINVAL);
    plait_run_free(NULL);
    char *text;
    CHECK_RC(plait_shell_output(NULL, &text, 0), PLAIT_EINVAL);
    CHECK_RC(plait_shell_output("true", NULL, 0), PLAIT_EINVAL);
    for (int step = PLAIT_STEP_NONE; step <= PLAIT_STEP_EXEC; step++)
        CHECK(plait_process_step_text(step) != NULL);
    CHECK(strstr(plait_process_step_text(99), "unknown") != NULL);
    CHECK(strstr(plait_process_step_text(-1), "unknown") != NULL);
}

/* Waits for the first program; the call is tried on one that does not end. */
static int wait_call(void *program, int64_t timeout)
{
    return plait_program_wait(program, NULL, timeout);
}

static int communicate_call(void *program, int64_t timeout)
{
    return plait_program_communicate(program, NULL, 0, NULL, timeout);
}

static void waiting_keeps_the_promises_of_every_wait(void **state)
{
    (void)state;
    plait_program *p = start(PLAIT_ARGV("sleep", "1000"), &all_pipes);
    t_wait *const calls[] = {wait_call, communicate_call};
    for (int i = 0; i < 2; i++) {
        t_check_bad_timeouts(calls[i], p);
        t_check_time(calls[i], p);
        t_check_signals(calls[i], p);
        t_check_cancel(&t_private_threads, calls[i], p);
        t_check_cancel_pending(&t_private_threads, calls[i], p);
        t_check_cancel(&t_private_tasks, calls[i], p);
    }
    plait_program_close(p);
    CHECK(!t_has_children());
}

/* --- what the program has --- */

static int the_directory_counts_and_a_bad_one_is_named_(void *unused)
{
    (void)unused;
    plait_process_options at = {.cwd = "/usr"};
    expect_output(&(plait_program_options){.process = &at}, "pwd", "/usr\n");
    at.cwd = "/no/such/place";
    expect_refusal(SH("true"), &(plait_program_options){.process = &at}, PLAIT_ENOENT,
                   PLAIT_STEP_CWD, "/no/such/place");
    at.cwd = "/bin"; /* relative programs count from it */
    plait_program_end end;
    plait_program *p = start(PLAIT_ARGV("./true"), &(plait_program_options){.process = &at});
    CHECK_RC(plait_program_wait(p, &end, patience), 0);
    CHECK_EQ(end.status, 0);
    plait_program_close(p);
    return 0;
}
IN_EVERY_KIND(the_directory_counts_and_a_bad_one_is_named);

static void the_environment_is_replaced_and_its_path_is_searched(void **state)
{
    (void)state;
    plait_process_options p = {.env = (const char *const[]){"A=b", "EMPTY=", NULL}};
    expect_output(&(plait_program_options){.process = &p},
                  "/usr/bin/env | grep -v -e PWD -e _= -e SHLVL", "A=b\nEMPTY=\n");
    setenv("FROM_STARTER", "yes", 1);
    expect_output(NULL, "echo $FROM_STARTER", "yes\n");
    p.env = (const char *const[]){"PATH=/no/where:/etc", NULL};
    expect_refusal(PLAIT_ARGV("true"), &(plait_program_options){.process = &p}, PLAIT_ENOENT,
                   PLAIT_STEP_EXEC, "true");
    expect_refusal(PLAIT_ARGV("passwd"), &(plait_program_options){.process = &p}, PLAIT_EACCES,
                   PLAIT_STEP_EXEC, "/etc/passwd");
    p.env = (const char *const[]){"X=1", NULL}; /* without PATH: the usual places */
    plait_program *q = start(PLAIT_ARGV("true"), &(plait_program_options){.process = &p});
    CHECK_RC(plait_program_wait(q, NULL, patience), 0);
    plait_program_close(q);
}

static void niceness_mask_limits_and_processors_are_set(void **state)
{
    (void)state;
    cpu_set_t mine;
    int cpu = 0;
    sched_getaffinity(0, sizeof mine, &mine);
    while (!CPU_ISSET(cpu, &mine))
        cpu++;
    plait_process_options p = {.nice = 3,
                               .set_umask = true,
                               .umask = 027,
                               .limits =
                                   (plait_limit[]){{RLIMIT_NOFILE, 77, 99}, {RLIMIT_CORE, 0, 0}},
                               .n_limits = 2,
                               .cpus = &cpu,
                               .n_cpus = 1};
    char expected[100];
    snprintf(expected, sizeof expected, "%d\n0027\n77 99\n%d\n", getpriority(PRIO_PROCESS, 0) + 3,
             1);
    expect_output(&(plait_program_options){.process = &p},
                  "nice; umask; echo $(ulimit -n) $(ulimit -H -n); nproc", expected);
    p = (plait_process_options){.cpus = (int[]){60000}, .n_cpus = 1};
    expect_refusal(SH("true"), &(plait_program_options){.process = &p}, PLAIT_EINVAL,
                   PLAIT_STEP_CPUS, NULL);
    p = (plait_process_options){.cgroup = "/no/such/cgroup"};
    expect_refusal(SH("true"), &(plait_program_options){.process = &p}, PLAIT_ENOENT,
                   PLAIT_STEP_CGROUP, "/no/such/cgroup");
}

static void sessions_and_groups_are_made_and_joined(void **state)
{
    (void)state;
    plait_process_options p = {.new_session = true};
    const char *script = "set -- $(cat /proc/$$/stat); echo $(($5 == $$)) $(($6 == $$))";
    expect_output(&(plait_program_options){.process = &p}, script, "1 1\n");
    p = (plait_process_options){.new_group = true};
    expect_output(&(plait_program_options){.process = &p}, script, "1 0\n");
    expect_output(NULL, script, "0 0\n");
    plait_program *leader =
        start(PLAIT_ARGV("sleep", "1000"), &(plait_program_options){.process = &p});
    char expected[20];
    snprintf(expected, sizeof expected, "%d\n", plait_program_pid(leader));
    p = (plait_process_options){.process_group = plait_program_pid(leader)};
    expect_output(&(plait_program_options){.process = &p}, "set -- $(cat /proc/$$/stat); echo $5",
                  expected);
    plait_program_close(leader);
    p = (plait_process_options){.process_group = 1};
    expect_refusal(SH("true"), &(plait_program_options){.process = &p}, PLAIT_EPERM,
                   PLAIT_STEP_GROUP, NULL);
}

static void a_terminal_is_taken(void **state)
{
    (void)state;
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
        skip();
    int terminal = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK(terminal >= 0);
    plait_process_options p = {.new_session = true, .take_terminal = true};
    plait_program_options o = {.process = &p, .in = {.kind = PLAIT_FD, .fd = terminal}};
    const char *script = "set -- $(cat /proc/$$/stat); [ $7 != 0 ] && echo has one";
    expect_output(&o, script, "has one\n");
    o.in = (plait_stream_spec){.kind = PLAIT_NULL};
    expect_refusal(SH(script), &o, -ENOTTY, PLAIT_STEP_SESSION, NULL);
    close(terminal);
    close(master);
}

static void a_cgroup_is_entered(void **state)
{
    (void)state;
    const char *const places[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    char folder[100];
    int made = -1;
    for (int i = 0; i < 2 && made < 0; i++) {
        snprintf(folder, sizeof folder, "%s/cgroup.procs", places[i]);
        if (access(folder, W_OK) < 0)
            continue;
        snprintf(folder, sizeof folder, "%s/plait-test-%d", places[i], (int)getpid());
        made = mkdir(folder, 0755);
    }
    if (made < 0)
        skip();
    plait_run_result r;
    plait_process_options p = {.cgroup = folder};
    plait_run_options o = {.capture = true, .program.process = &p};
    CHECK_RC(plait_run_program(SH("cat /proc/$$/cgroup"), &o, &r, patience), 0);
    CHECK(strstr(r.out, strrchr(folder, '/')) != NULL);
    plait_run_free(&r);
    UNTIL(rmdir(folder) == 0);
}

static void the_user_and_all_its_groups_are_changed(void **state)
{
    (void)state;
    plait_process_options p = {.user = "no-such-user"};
    expect_refusal(SH("true"), &(plait_program_options){.process = &p}, PLAIT_ENOENT,
                   PLAIT_STEP_USER, "no-such-user");
    p = (plait_process_options){.group = "no-such-group"};
    expect_refusal(SH("true"), &(plait_program_options){.process = &p}, PLAIT_ENOENT,
                   PLAIT_STEP_USER, "no-such-group");
    if (geteuid() != 0)
        skip();
    p = (plait_process_options){.user = "nobody"};
    expect_output(
        &(plait_program_options){.process = &p},
        "id -un; id -rn -u; test $(id -G | tr ' ' '\\n' | grep -c '^0$') = 0 && echo none",
        "nobody\nnobody\nnone\n");
    p = (plait_process_options){.user = "4123456",
                                .group = "4123457",
                                .groups = (const char *const[]){"5", "6"},
                                .n_groups = 2};
    expect_output(&(plait_program_options){.process = &p}, "id -u; id -g; id -G",
                  "4123456\n4123457\n4123457 5 6\n");
    p = (plait_process_options){.group = "4123457", .set_groups = true};
    expect_output(&(plait_program_options){.process = &p}, "id -u; id -G", "0\n4123457\n");
    /* What fails after the change is told, too. */
    p = (plait_process_options){.user = "nobody"};
    expect_refusal(PLAIT_ARGV("/no/such"), &(plait_program_options){.process = &p}, PLAIT_ENOENT,
                   PLAIT_STEP_EXEC, "/no/such");
}

static void do_nothing(int signal)
{
    (void)signal;
}

/* Bits of a line of /proc/self/status as the program sees them. */
static uint64_t signals_of(const plait_process_options *process, const char *line)
{
    plait_run_result r;
    plait_run_options o = {.capture = true, .program.process = process};
    CHECK_RC(plait_run_program(PLAIT_ARGV("grep", line, "/proc/self/status"), &o, &r, patience), 0);
    uint64_t bits = strtoull(r.out + strlen(line) + 1, NULL, 16);
    plait_run_free(&r);
    return bits;
}

static void signals_are_reset_unless_they_are_to_stay(void **state)
{
    (void)state;
    const plait_process_options keep = {.keep_signals = true};
    enum {
        USR1 = 1 << (SIGUSR1 - 1),
        USR2 = 1 << (SIGUSR2 - 1),
        PIPE = 1 << (SIGPIPE - 1),
        HUP = 1 << (SIGHUP - 1)
    };
    sigset_t blocked, before;
    signal(SIGUSR1, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR2, do_nothing);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    CHECK_EQ(signals_of(NULL, "SigBlk:"), 0);
    CHECK_EQ(signals_of(NULL, "SigIgn:") & (USR1 | USR2 | PIPE | HUP), HUP);
    CHECK_EQ(signals_of(&keep, "SigBlk:"), USR2);
    CHECK_EQ(signals_of(&keep, "SigIgn:") & (USR1 | USR2 | PIPE | HUP), USR1 | PIPE | HUP);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    struct sigaction now;
    sigaction(SIGUSR2, NULL, &now); /* the starter's own are as before */
    CHECK(now.sa_handler == do_nothing);
    const int all[] = {SIGUSR1, SIGPIPE, SIGHUP, SIGUSR2};
    for (int i = 0; i < 4; i++)
        signal(all[i], SIG_DFL);
}

/* A task's thread blocks a signal while it has tasks; programs do not see that. */
static int what_waiting_blocks_is_not_inherited(void *unused)
{
    (void)unused;
    const plait_process_options keep = {.keep_signals = true};
    CHECK_EQ(signals_of(NULL, "SigBlk:"), 0);
    CHECK_EQ(signals_of(&keep, "SigBlk:") & 1 << (SIGURG - 1), 0);
    return 0;
}

static void tasks_start_programs_with_no_signal_blocked(void **state)
{
    (void)state;
    CHECK_EQ(t_join_one(t_start_one(PLAIT_TASK, what_waiting_blocks_is_not_inherited, NULL)), 0);
}

/* --- descriptors --- */

static const char list_files[] =
    "i=0; while [ $i -lt 199 ]; do [ -e /proc/$$/fd/$i ] && printf \"$i \"; i=$((i+1)); done; true";

static void only_the_standard_streams_and_what_was_passed_are_open(void **state)
{
    (void)state;
    int files[8];
    for (int i = 0; i < 8; i++)
        files[i] = open("/dev/null", O_RDONLY); /* not even closed on exec */
    expect_output(NULL, list_files, "0 1 2 ");
    char expected[40];
    snprintf(expected, sizeof expected, "0 1 2 %d %d ", files[1], files[4]);
    expect_output(&(plait_program_options){.fds = (int[]){files[4], files[1]}, .n_fds = 2},
                  list_files, expected);
    for (int i = 0; i < 8; i++)
        close(files[i]);
}

static int named(const char *text)
{
    char path[] = "/tmp/plait-program-test-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    unlink(path);
    CHECK_EQ(write(fd, text, strlen(text)), strlen(text));
    lseek(fd, 0, SEEK_SET);
    return fd;
}

/* Every permutation of four numbers onto themselves, and shifts over each other. */
static void descriptors_are_moved_in_any_permutation(void **state)
{
    (void)state;
    const char *text[] = {"a", "b", "c", "d"};
    int fd[4];
    for (int i = 0; i < 4; i++) {
        int low = named(text[i]);
        fd[i] = fcntl(low, F_DUPFD_CLOEXEC, 20 + i);
        close(low);
    }
    for (int code = 0; code < 256; code++) {
        int to[4] = {code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6};
        if ((1 << to[0] | 1 << to[1] | 1 << to[2] | 1 << to[3]) != 15)
            continue;
        plait_fd_move moves[5];
        char expected[6] = "";
        for (int i = 0; i < 4; i++) {
            moves[i] = (plait_fd_move){fd[i], fd[to[i]]};
            expected[to[i]] = *text[i];
            lseek(fd[i], 0, SEEK_SET);
        }
        moves[4] = (plait_fd_move){fd[0], 8}; /* one goes to two places */
        strcat(expected, "");
        expect_output(&(plait_program_options){.moves = moves, .n_moves = 5},
                      "cat /proc/$$/fd/20 /proc/$$/fd/21 /proc/$$/fd/22 /proc/$$/fd/23; cmp -s "
                      "/proc/$$/fd/8 /proc/$$/fd/20 || true",
                      expected);
    }
    for (int i = 0; i < 4; i++)
        close(fd[i]);
}

static void standard_streams_can_be_each_others(void **state)
{
    (void)state;
    int in = named("input\n"), out = named(""), err = named("");
    char text[100] = "";
    plait_program_options o = {.in = {.kind = PLAIT_FD, .fd = in},
                               .out = {.kind = PLAIT_FD, .fd = out},
                               .err = {.kind = PLAIT_FD, .fd = err}};
    plait_program *p = start(SH("cat; echo error >&2"), &o);
    CHECK_RC(plait_program_wait(p, NULL, patience), 0);
    plait_program_close(p);
    CHECK_EQ(pread(out, text, sizeof text, 0), 6);
    CHECK(strncmp(text, "input\n", 6) == 0);
    CHECK_EQ(pread(err, text, sizeof text, 0), 6);
    CHECK(strncmp(text, "error\n", 6) == 0);
    close(in);
    close(out);
    close(err);
}

static int read_pipe(int fd, char *text, size_t size)
{
    size_t n = 0;
    for (ssize_t got; (got = read(fd, text + n, size - n)) > 0;)
        n += (size_t)got;
    text[n] = 0;
    return (int)n;
}

/* In a process of its own, whose standard streams are closed in all ways. */
static int start_with_closed_streams(void *closed)
{
    int mask = *(int *)closed, ends[2];
    char text[200];
    int at = fcntl(2, F_DUPFD_CLOEXEC, 50); /* to say what is wrong */
    dup2(open("/dev/null", O_WRONLY), 2);
    CHECK_EQ(pipe(ends), 0);
    int out = fcntl(ends[1], F_DUPFD_CLOEXEC, 60), in = fcntl(ends[0], F_DUPFD_CLOEXEC, 70);
    close(ends[0]);
    close(ends[1]);
    for (int i = 0; i < 3; i++)
        if (mask & 1 << i)
            close(i);
    plait_program *p;
    plait_program_options o = {
        .out = {.kind = PLAIT_FD, .fd = out}, .moves = (plait_fd_move[]){{out, 5}}, .n_moves = 1};
    int rc = plait_program_start(&p,
                                 SH("for i in 0 1 2; do test -e /proc/$$/fd/$i && printf $i; done; "
                                    "readlink /proc/$$/fd/0; cat; echo lost >&2; echo kept >&5"),
                                 &o);
    if (rc == 0)
        rc = plait_program_wait(p, NULL, patience);
    dup2(at, 2);
    CHECK_RC(rc, 0);
    close(out);
    read_pipe(in, text, sizeof text - 1);
    if (mask & 1)
        CHECK(strcmp(text, "012/dev/null\nkept\n") == 0);
    else
        CHECK(strncmp(text, "012", 3) == 0);
    plait_program_close(p);
    plait_run_result r; /* pipes take the free numbers, and must not end there */
    for (int i = 0; i < 3; i++)
        if (mask & 1 << i)
            close(i);
    plait_run_options all = {.capture = true, .input = "in", .input_size = 2};
    rc = plait_run_program(SH("cat; echo err >&2"), &all, &r, patience);
    dup2(at, 2);
    CHECK_RC(rc, 0);
    CHECK_TEXT(r.out, r.out_size, "in");
    CHECK_TEXT(r.err, r.err_size, "err\n");
    plait_run_free(&r);
    return 0;
}

static void a_starter_may_have_its_standard_streams_closed(void **state)
{
    (void)state;
    for (int mask = 1; mask < 8; mask++)
        CHECK_EQ(t_in_fork(start_with_closed_streams, &mask), 0);
}

static int callback_result;

static int change_directory(void *arg)
{
    *(int *)arg = 1;
    return callback_result ? callback_result : chdir("/usr") < 0 ? errno : 0;
}

static void a_callback_runs_before_the_program_and_may_refuse(void **state)
{
    (void)state;
    int called = 0;
    plait_program_options o = {.before_exec = change_directory, .before_exec_arg = &called};
    expect_output(&o, "pwd", "/usr\n");
    callback_result = ENOLCK;
    expect_refusal(SH("true"), &o, -ENOLCK, PLAIT_STEP_CALLBACK, NULL);
    callback_result = 0;
}

/* --- streams --- */

static int a_program_is_read_and_written_by_streams_(void *unused)
{
    (void)unused;
    char line[100];
    plait_program *p =
        start(PLAIT_ARGV("cat"),
              &(plait_program_options){.in = {.kind = PLAIT_PIPE}, .out = {.kind = PLAIT_PIPE}});
    CHECK(plait_program_err(p) == NULL);
    for (int i = 0; i < 10; i++) {
        CHECK_RC(plait_write(plait_program_in(p), "hello\n", 6, NULL, patience), 0);
        CHECK_RC(plait_read_line(plait_program_out(p), line, sizeof line, NULL, patience), 0);
        CHECK(strcmp(line, "hello\n") == 0);
    }
    CHECK_RC(plait_program_poll(p, NULL), PLAIT_EBUSY);
    CHECK_RC(plait_program_close_in(p), 0);
    CHECK_RC(plait_program_close_in(p), 0);
    CHECK(plait_program_in(p) == NULL);
    CHECK_RC(plait_read_line(plait_program_out(p), line, sizeof line, NULL, patience), PLAIT_EEOF);
    CHECK_RC(plait_program_wait(p, NULL, patience), 0);
    plait_program_close(p);
    return 0;
}
IN_EVERY_KIND(a_program_is_read_and_written_by_streams);

static void files_are_read_made_emptied_and_appended_to(void **state)
{
    (void)state;
    char folder[] = "/tmp/plait-program-test-XXXXXX", path[60];
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/out", folder);
    plait_program_options o = {.out = {.kind = PLAIT_FILE, .path = path},
                               .err = {.kind = PLAIT_MERGED}};
    for (int i = 0; i < 3; i++) {
        o.out.append = i == 2;
        plait_program *p = start(SH("echo out; echo err >&2"), &o);
        CHECK_RC(plait_program_wait(p, NULL, patience), 0);
        plait_program_close(p);
    }
    expect_output(&(plait_program_options){.in = {.kind = PLAIT_FILE, .path = path}}, "cat",
                  "out\nerr\nout\nerr\n");
    expect_output(&(plait_program_options){.in = {.kind = PLAIT_NULL}}, "cat", "");
    unlink(path);
    expect_refusal(SH("true"), &(plait_program_options){.in = {.kind = PLAIT_FILE, .path = path}},
                   PLAIT_ENOENT, PLAIT_STEP_STREAMS, path);
    rmdir(folder);
    expect_refusal(SH("true"), &(plait_program_options){.out = {.kind = PLAIT_FILE, .path = path}},
                   PLAIT_ENOENT, PLAIT_STEP_STREAMS, path);
    expect_refusal(SH("true"),
                   &(plait_program_options){.out = {.kind = PLAIT_FILE, .path = "/usr"}}, -EISDIR,
                   PLAIT_STEP_STREAMS, "/usr");
}

static void errors_can_go_where_output_goes(void **state)
{
    (void)state;
    plait_captured c;
    plait_program *p =
        start(SH("echo out; echo err >&2; echo more"),
              &(plait_program_options){.out = {.kind = PLAIT_PIPE}, .err = {.kind = PLAIT_MERGED}});
    CHECK_RC(plait_program_communicate(p, NULL, 0, &c, patience), 0);
    CHECK_TEXT(c.out, c.out_size, "out\nerr\nmore\n");
    CHECK_TEXT(c.err, c.err_size, "");
    plait_program_close(p);
}

static void a_pipes_size_is_what_was_asked_for(void **state)
{
    (void)state;
    plait_program *p =
        start(PLAIT_ARGV("sleep", "1000"),
              &(plait_program_options){.out = {.kind = PLAIT_PIPE}, .pipe_size = 4096});
    CHECK_EQ(fcntl(plait_stream_fd(plait_program_out(p)), F_GETPIPE_SZ), 4096);
    plait_program_close(p);
    plait_process_failure failure; /* more than anybody may have */
    int rc = plait_program_start(&p, SH("true"),
                                 &(plait_program_options){.out = {.kind = PLAIT_PIPE},
                                                          .pipe_size = INT_MAX,
                                                          .failure = &failure});
    CHECK(rc == PLAIT_EPERM || rc == PLAIT_EINVAL);
    CHECK_EQ(failure.step, PLAIT_STEP_STREAMS);
}

/* --- the forms of a command --- */

static void the_executable_may_be_another_than_argv_says(void **state)
{
    (void)state;
    plait_run_result r;
    plait_run_options o = {.capture = true, .program.executable = "/bin/sh"};
    CHECK_RC(plait_run_program(PLAIT_ARGV("called-so", "-c", "echo $0"), &o, &r, patience), 0);
    CHECK_TEXT(r.out, r.out_size, "called-so\n");
    plait_run_free(&r);
}

static void a_shell_gets_the_script_and_its_arguments(void **state)
{
    (void)state;
    plait_run_result r;
    plait_run_options o = {.capture = true, .program.shell = true};
    CHECK_RC(plait_run_program(PLAIT_ARGV("echo $0-$1-$#", "zero", "one two"), &o, &r, patience),
             0);
    CHECK_TEXT(r.out, r.out_size, "zero-one two-1\n");
    plait_run_free(&r);
    o.program.executable = "/no/shell";
    CHECK_RC(plait_run_program(PLAIT_ARGV("true"), &o, &r, patience), PLAIT_ENOENT);
    CHECK(strcmp(r.failure.path, "/no/shell") == 0);
    plait_run_free(&r);
}

static char *script_file(const char *text, int mode)
{
    static char path[] = "/tmp/plait-program-test-XXXXXX";
    strcpy(path + sizeof path - 7, "XXXXXX");
    int fd = mkstemp(path);
    CHECK_EQ(write(fd, text, strlen(text)), strlen(text));
    fchmod(fd, (mode_t)mode);
    close(fd);
    return path;
}

static void a_file_without_a_header_is_a_shell_script(void **state)
{
    (void)state;
    plait_run_result r;
    plait_run_options o = {.capture = true};
    char *path = script_file("echo script $1 $#\n", 0755);
    CHECK_RC(plait_run_program(PLAIT_ARGV(path, "a b", "c"), &o, &r, patience), 0);
    CHECK_TEXT(r.out, r.out_size, "script a b 2\n");
    plait_run_free(&r);
    unlink(path);
    path = script_file("#!/no/such/interpreter\n", 0755);
    expect_refusal(PLAIT_ARGV(path), NULL, PLAIT_ENOENT, PLAIT_STEP_EXEC, path);
    unlink(path);
    path = script_file("echo not to be run\n", 0644);
    expect_refusal(PLAIT_ARGV(path), NULL, PLAIT_EACCES, PLAIT_STEP_EXEC, path);
    unlink(path);
}

static void the_shells_output_comes_as_text(void **state)
{
    (void)state;
    char *text;
    CHECK_RC(plait_shell_output("echo out; echo err >&2; exit 3", &text, patience), 3);
    CHECK(strcmp(text, "out\nerr") == 0);
    free(text);
    CHECK_RC(plait_shell_output("printf 'a\\n\\n'", &text, patience), 0);
    CHECK(strcmp(text, "a\n") == 0);
    free(text);
    CHECK_RC(plait_shell_output("echo before; kill -9 $$", &text, patience), PLAIT_EDIED);
    CHECK(strcmp(text, "before") == 0);
    free(text);
    CHECK_RC(plait_shell_output("echo begun; sleep 1000", &text, plait_ms(300)), PLAIT_ETIMEDOUT);
    CHECK(strcmp(text, "begun") == 0 || !*text); /* as far as it had come */
    free(text);
    CHECK(!t_has_children());
}

/* --- communicating --- */

static int much_goes_both_ways_(void *unused)
{
    (void)unused;
    const size_t size = (size_t)(t_is_sanitized() ? 2 : 16) << 20;
    char *bytes = malloc(size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i * 2654435761u >> 13);
    plait_captured c;
    plait_program *p = start(SH("tee /dev/stderr"), &all_pipes);
    CHECK_RC(plait_program_communicate(p, bytes, size, &c, patience), 0);
    CHECK_EQ(c.out_size, size);
    CHECK_EQ(c.err_size, size);
    CHECK(memcmp(c.out, bytes, size) == 0 && memcmp(c.err, bytes, size) == 0);
    plait_program_close(p);
    free(bytes);
    return 0;
}
IN_EVERY_KIND(much_goes_both_ways);

static void what_was_read_before_its_time_was_over_is_kept(void **state)
{
    (void)state;
    plait_captured c;
    plait_program *p =
        start(SH("echo one; read line; echo two $line; echo err >&2; exit 4"), &all_pipes);
    char input[300000];
    memset(input, 'x', sizeof input);
    input[0] = '\n';
    /* A program that reads one byte of it: the rest stays unwritten. */
    plait_program *slow = start(SH("read line; echo got; sleep 1000"), &all_pipes);
    UNTIL((plait_program_communicate(slow, input, sizeof input, &c, PLAIT_NOWAIT), c.out_size > 3));
    for (int i = 0; i < 3; i++) {
        CHECK_RC(plait_program_communicate(slow, input, sizeof input, &c, plait_ms(20)),
                 PLAIT_ETIMEDOUT);
        CHECK_TEXT(c.out, c.out_size, "got\n");
        CHECK_RC(plait_program_communicate(slow, input, 5, &c, plait_ms(1)), PLAIT_EINVAL);
    }
    CHECK_RC(plait_program_poll(slow, NULL), PLAIT_EBUSY);
    plait_program_close(slow);
    UNTIL((plait_program_communicate(p, "line\n", 5, &c, PLAIT_NOWAIT), c.out_size > 0));
    CHECK_RC(plait_program_communicate(p, "line\n", 5, &c, patience), 0);
    CHECK_TEXT(c.out, c.out_size, "one\ntwo line\n");
    CHECK_TEXT(c.err, c.err_size, "err\n");
    CHECK_RC(plait_program_communicate(p, "line\n", 5, &c, PLAIT_NOWAIT), 0);
    CHECK_RC(plait_program_communicate(p, NULL, 0, &c, PLAIT_NOWAIT), 0);
    CHECK_TEXT(c.out, c.out_size, "one\ntwo line\n");
    plait_program_end end;
    CHECK_RC(plait_program_poll(p, &end), 0);
    CHECK_EQ(end.status, 4);
    plait_program_close(p);
}

static void bytes_read_by_the_caller_before_are_not_lost(void **state)
{
    (void)state;
    char line[20];
    plait_captured c;
    plait_program *p = start(SH("echo one; echo two; read x; echo three"), &all_pipes);
    CHECK_RC(plait_read_line(plait_program_out(p), line, sizeof line, NULL, patience), 0);
    CHECK_RC(plait_program_communicate(p, "\n", 1, &c, patience), 0);
    CHECK_TEXT(c.out, c.out_size, "two\nthree\n");
    plait_program_close(p);
}

static void a_program_need_not_read_its_input(void **state)
{
    (void)state;
    char *input = calloc(1, 1 << 20);
    plait_captured c;
    plait_program_end end;
    plait_program *p = start(SH("exec <&-; echo done; exit 2"), &all_pipes);
    CHECK_RC(plait_program_communicate(p, input, 1 << 20, &c, patience), 0);
    CHECK_TEXT(c.out, c.out_size, "done\n");
    CHECK_RC(plait_program_poll(p, &end), 0);
    CHECK_EQ(end.status, 2);
    plait_program_close(p);
    p = start(SH("echo x"), &(plait_program_options){.out = {.kind = PLAIT_PIPE}});
    CHECK_RC(plait_program_communicate(p, "x", 1, &c, patience), PLAIT_EINVAL); /* no pipe for it */
    CHECK_RC(plait_program_communicate(p, NULL, 1, &c, patience), PLAIT_EINVAL);
    CHECK_RC(plait_program_communicate(p, NULL, 0, &c, patience), 0);
    plait_program_close(p);
    free(input);
}

static void a_program_that_closes_its_output_is_still_waited_for(void **state)
{
    (void)state;
    plait_captured c;
    plait_program *p = start(SH("echo x; exec >&- 2>&- <&-; exec sleep 1000"), &all_pipes);
    UNTIL((plait_program_communicate(p, NULL, 0, &c, PLAIT_NOWAIT), !plait_program_out(p)));
    CHECK_RC(plait_program_communicate(p, NULL, 0, &c, plait_ms(20)), PLAIT_ETIMEDOUT);
    CHECK_TEXT(c.out, c.out_size, "x\n");
    CHECK_RC(plait_program_kill(p), 0);
    CHECK_RC(plait_program_communicate(p, NULL, 0, &c, patience), 0);
    CHECK_TEXT(c.out, c.out_size, "x\n");
    plait_program_close(p);
}

/* The end of an output is there when nobody has it any more. */
static void a_process_left_behind_keeps_the_pipe_and_the_time_counts(void **state)
{
    (void)state;
    plait_captured c;
    plait_program_end end;
    plait_process_options group = {.new_group = true};
    plait_program *p =
        start(SH("sleep 1000 & echo left; exit 5"),
              &(plait_program_options){.process = &group, .out = {.kind = PLAIT_PIPE}});
    UNTIL((plait_program_communicate(p, NULL, 0, &c, PLAIT_NOWAIT), c.out_size > 4));
    CHECK_RC(plait_wait_fd(plait_program_fd(p), PLAIT_READABLE, patience), PLAIT_READABLE);
    CHECK_RC(plait_program_communicate(p, NULL, 0, &c, plait_ms(20)), PLAIT_ETIMEDOUT);
    CHECK_TEXT(c.out, c.out_size, "left\n");
    CHECK_RC(plait_program_kill_tree(p),
             0); /* a zombie that is not collected yet: its group is still its own */
    CHECK_RC(plait_program_communicate(p, NULL, 0, &c, patience), 0);
    CHECK_RC(plait_program_poll(p, &end), 0);
    CHECK_EQ(end.status, 5);
    CHECK_RC(plait_program_kill_tree(p), PLAIT_ESRCH);
    plait_program_close(p);
}

static void no_more_than_the_limit_is_kept_and_the_rest_can_be_read(void **state)
{
    (void)state;
    plait_captured c;
    char rest[100];
    plait_program_options o = {.out = {.kind = PLAIT_PIPE}, .limit = 5};
    plait_program *p = start(SH("printf 1234567890"), &o);
    CHECK_RC(plait_program_communicate(p, NULL, 0, &c, patience), PLAIT_ELIMIT);
    CHECK_TEXT(c.out, c.out_size, "12345");
    CHECK_RC(plait_program_communicate(p, NULL, 0, &c, patience), PLAIT_ELIMIT);
    size_t got;
    CHECK_RC(plait_read_all(plait_program_out(p), rest, sizeof rest, &got, patience), 0);
    CHECK(got == 5 && memcmp(rest, "67890", 5) == 0);
    CHECK_RC(plait_program_communicate(p, NULL, 0, &c, patience), 0);
    CHECK_TEXT(c.out, c.out_size, "12345");
    plait_program_close(p);
    p = start(SH("printf 12345"), &o); /* just as much is no more */
    CHECK_RC(plait_program_communicate(p, NULL, 0, &c, patience), 0);
    CHECK_TEXT(c.out, c.out_size, "12345");
    plait_program_close(p);
}

static int communicate_for_long(void *program)
{
    return plait_program_communicate(program, NULL, 0, NULL, patience);
}

static void a_second_one_that_communicates_is_refused(void **state)
{
    (void)state;
    for (int kind = PLAIT_THREAD; kind <= PLAIT_TASK; kind += PLAIT_TASK - PLAIT_THREAD) {
        plait_program *p = start(PLAIT_ARGV("sleep", "1000"), &all_pipes);
        plait_worker w = t_start_one(kind, communicate_for_long, p);
        UNTIL_WAITS(w, PL_WAIT_FD);
        CHECK_RC(plait_program_communicate(p, NULL, 0, NULL, patience), PLAIT_EBUSY);
        CHECK_RC(plait_program_kill(p), 0);
        CHECK_EQ(t_join_one(w), 0);
        plait_program_close(p);
    }
}

/* --- the end --- */

struct watch {
    plait_program *program;
    plait_program_end end;
};

static int wait_and_note(void *arg)
{
    struct watch *w = arg;
    return plait_program_wait(w->program, &w->end, patience);
}

static void all_that_wait_get_the_result(void **state)
{
    (void)state;
    enum { N = 12 };
    struct watch watches[N];
    plait_worker workers[N];
    plait_program *p = start(PLAIT_ARGV("sleep", "1000"), NULL);
    for (int i = 0; i < N; i++) {
        watches[i] = (struct watch){.program = p};
        workers[i] = t_start_one(i % 2 ? PLAIT_TASK : PLAIT_THREAD, wait_and_note, &watches[i]);
    }
    for (int i = 0; i < N; i++)
        UNTIL_WAITS(workers[i], PL_WAIT_FD);
    CHECK_RC(plait_program_terminate(p), 0);
    for (int i = 0; i < N; i++) {
        CHECK_EQ(t_join_one(workers[i]), 0);
        CHECK_EQ(watches[i].end.status, -SIGTERM);
    }
    plait_program_close(p);
    CHECK(!t_has_children());
}

static void signals_after_the_end_reach_nobody(void **state)
{
    (void)state;
    plait_program *p = start(PLAIT_ARGV("sleep", "1000"), NULL);
    CHECK_RC(plait_program_signal(p, 0), 0);
    CHECK_RC(plait_program_signal(p, -1), PLAIT_EINVAL);
    CHECK_RC(plait_program_signal(p, 1000), PLAIT_EINVAL);
    CHECK_RC(plait_program_poll(p, NULL), PLAIT_EBUSY);
    CHECK_RC(plait_program_kill(p), 0);
    CHECK_RC(plait_program_wait(p, NULL, patience), 0);
    CHECK_RC(plait_program_signal(p, SIGTERM), PLAIT_ESRCH);
    CHECK_RC(plait_program_terminate(p), PLAIT_ESRCH);
    CHECK_RC(plait_program_kill(p), PLAIT_ESRCH);
    plait_program_close(p);
    p = start(PLAIT_ARGV("true"), NULL); /* a zombie counts as ended */
    CHECK_RC(plait_wait_fd(plait_program_fd(p), PLAIT_READABLE, patience), PLAIT_READABLE);
    CHECK_RC(plait_program_kill(p), PLAIT_ESRCH);
    plait_program_end end;
    CHECK_RC(plait_program_poll(p, &end), 0);
    CHECK_EQ(end.status, 0);
    plait_program_close(p);
}

static void a_stopped_program_has_not_ended(void **state)
{
    (void)state;
    plait_program *p = start(PLAIT_ARGV("sleep", "1000"), NULL);
    CHECK_RC(plait_program_signal(p, SIGSTOP), 0);
    CHECK_RC(plait_program_wait(p, NULL, plait_ms(50)), PLAIT_ETIMEDOUT);
    CHECK_RC(plait_program_signal(p, SIGCONT), 0);
    CHECK_RC(plait_program_terminate(p), 0);
    CHECK_RC(plait_program_wait(p, NULL, patience), 0);
    plait_program_close(p);
}

static void closing_kills_what_still_runs(void **state)
{
    (void)state;
    int before = t_open_files();
    for (int i = 0; i < 5; i++) {
        plait_program *p = start(SH("trap '' TERM; sleep 1000 | sleep 1000"), &all_pipes);
        pid_t pid = plait_program_pid(p);
        plait_program_close(p);
        CHECK(kill(pid, 0) < 0 && errno == ESRCH);
    }
    CHECK(t_open_files() <= before); /* a loop that is done closes its own */
    CHECK(!t_has_children());
}

/* Somebody else collects, or the kernel does: how it ended is known all the same, or said not to be; never 0 by mistake. */
static void a_status_that_others_took_is_not_taken_for_success(void **state)
{
    (void)state;
    plait_program_end end;
    plait_program *p = start(SH("exit 9"), NULL);
    CHECK_EQ(waitpid(plait_program_pid(p), NULL, 0), plait_program_pid(p));
    int rc = plait_program_wait(p, &end, patience);
    CHECK(rc == 0 || rc == PLAIT_ENOSTATUS);
    CHECK_EQ(end.status, rc == 0 ? 9 : -1);
    CHECK_EQ(end.unknown, rc != 0);
    CHECK_RC(plait_program_poll(p, &end), rc);
    CHECK_RC(plait_program_kill(p), PLAIT_ESRCH);
    plait_program_close(p);
    signal(SIGCHLD, SIG_IGN);
    p = start(SH("kill -15 $$"), NULL);
    rc = plait_program_wait(p, &end, patience);
    CHECK(rc == 0 || rc == PLAIT_ENOSTATUS);
    CHECK_EQ(end.status, rc == 0 ? -SIGTERM : -1);
    plait_program_close(p);
    expect_refusal(PLAIT_ARGV("/no/such"), NULL, PLAIT_ENOENT, PLAIT_STEP_EXEC, "/no/such");
    signal(SIGCHLD, SIG_DFL);
}

/* In a forked child a handle is its parent's. */
static int use_copy(void *program)
{
    plait_program *p = program;
    CHECK_RC(plait_program_wait(p, NULL, PLAIT_NOWAIT), PLAIT_ECHILD);
    CHECK_RC(plait_program_poll(p, NULL), PLAIT_ECHILD);
    CHECK_RC(plait_program_kill(p), PLAIT_ECHILD);
    CHECK_RC(plait_program_kill_tree(p), PLAIT_ECHILD);
    CHECK_RC(plait_program_close_in(p), PLAIT_ECHILD);
    CHECK_RC(plait_program_communicate(p, NULL, 0, NULL, 0), PLAIT_ECHILD);
    CHECK_RC(plait_program_close(p), 0);
    return 0;
}

static void a_forked_child_cannot_use_its_parents_handle(void **state)
{
    (void)state;
    plait_program *p = start(PLAIT_ARGV("sleep", "1000"), &all_pipes);
    CHECK_EQ(t_in_fork(use_copy, p), 0);
    CHECK_RC(plait_program_poll(p, NULL), PLAIT_EBUSY);
    plait_program_close(p);
}

/* --- run --- */

static int run_gives_all_that_came_of_it_(void *unused)
{
    (void)unused;
    plait_run_result r;
    plait_run_options o = {.capture = true, .input = "hello", .input_size = 5};
    CHECK_RC(plait_run_program(SH("cat; echo err >&2; exit 3"), &o, &r, patience), 0);
    CHECK_TEXT(r.out, r.out_size, "hello");
    CHECK_TEXT(r.err, r.err_size, "err\n");
    CHECK_EQ(r.end.status, 3);
    plait_run_free(&r);
    CHECK(!r.out && !r.err);
    o.check = true;
    CHECK_RC(plait_run_program(SH("cat; echo err >&2; exit 3"), &o, &r, patience), PLAIT_ESTATUS);
    CHECK_TEXT(r.err, r.err_size, "err\n");
    plait_run_free(&r);
    CHECK_RC(plait_run_program(PLAIT_ARGV("/no/such"), &o, &r, patience), PLAIT_ENOENT);
    CHECK_EQ(r.failure.step, PLAIT_STEP_EXEC);
    CHECK_EQ(r.end.pid, 0);
    CHECK_TEXT(r.out, r.out_size, "");
    plait_run_free(&r);
    o = (plait_run_options){.capture = true,
                            .has_input = true}; /* empty input is not the starter's */
    CHECK_RC(plait_run_program(PLAIT_ARGV("cat"), &o, &r, patience), 0);
    CHECK_TEXT(r.out, r.out_size, "");
    plait_run_free(&r);
    return 0;
}
IN_EVERY_KIND(run_gives_all_that_came_of_it);

static void run_refuses_what_excludes_each_other(void **state)
{
    (void)state;
    const plait_run_options wrong[] = {
        {.input = "x", .input_size = 1, .program.in.kind = PLAIT_NULL},
        {.has_input = true, .program.in.kind = PLAIT_PIPE},
        {.capture = true, .program.out.kind = PLAIT_NULL},
        {.capture = true, .program.err.kind = PLAIT_MERGED},
        {.input_size = 1},
        {.program.detach = true},
    };
    plait_run_result r;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        CHECK_RC(plait_run_program(SH("true"), &wrong[i], &r, patience), PLAIT_EINVAL);
        CHECK_EQ(r.failure.step, PLAIT_STEP_ARGUMENTS);
        plait_run_free(&r);
    }
    CHECK_RC(plait_run_program(SH("true"), NULL, &r, -2), PLAIT_EINVAL);
    plait_run_free(&r);
}

static bool is_gone(int pid)
{
    char path[40], text[200], state = 'X';
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return true;
    char *rest = fgets(text, sizeof text, f) ? strrchr(text, ')') : NULL;
    if (rest)
        sscanf(rest, ") %c", &state);
    fclose(f);
    return state == 'Z' || state == 'X';
}

/* Grandchildren in other sessions, without parents, that ignore what can be ignored. */
static const char wild_tree[] =
    "trap '' TERM INT HUP; echo $$; "
    "(setsid sh -c 'echo $$; trap \"\" TERM; sleep 1000 & echo $!; wait' &) ; "
    "(sh -c 'setsid sh -c \"echo \\$\\$; sleep 1000 & echo \\$!; exec sleep 1000\" &' &) ; "
    "sleep 1000 & echo $!; wait"; /* six lines */

static void check_all_gone(const char *text, int least)
{
    int n = 0;
    while (*text) {
        char *end;
        long pid = strtol(text, &end, 10);
        if (end != text && pid > 0) {
            if (!is_gone((int)pid))
                t_die(__FILE__, __LINE__, "%ld lives", pid);
            n++;
        }
        text = end + strcspn(end, "\n") + (end[strcspn(end, "\n")] != 0);
    }
    CHECK(n >= least);
}

static int what_takes_too_long_is_killed_with_all_below_it_(void *unused)
{
    (void)unused;
    plait_run_result r;
    plait_run_options o = {.capture = true};
    CHECK_RC(plait_run_program(SH(wild_tree), &o, &r, plait_ms(500)), PLAIT_ETIMEDOUT);
    CHECK_EQ(r.end.signal, SIGKILL);
    check_all_gone(r.out, 0); /* as far as it had come; the next test waits for all */
    plait_run_free(&r);
    CHECK(!t_has_children());
    return 0;
}
IN_EVERY_KIND(what_takes_too_long_is_killed_with_all_below_it);

static void a_tree_is_killed_as_a_whole(void **state)
{
    (void)state;
    char line[20], text[200] = "";
    plait_process_options below = {.subreaper = true};
    plait_program *p = start(
        SH(wild_tree), &(plait_program_options){.process = &below, .out = {.kind = PLAIT_PIPE}});
    for (int i = 0; i < 6; i++) {
        CHECK_RC(plait_read_line(plait_program_out(p), line, sizeof line, NULL, patience), 0);
        strcat(text, line);
    }
    CHECK_RC(plait_program_kill_tree(p), 0);
    check_all_gone(text, 6);
    plait_program_end end;
    CHECK_RC(plait_program_poll(p, &end), 0);
    CHECK_EQ(end.signal, SIGKILL);
    plait_program_close(p);
}

static void a_tree_that_grows_is_killed_too(void **state)
{
    (void)state;
    /* Each forks the next and ends, so there is none that a single look could not pass by. All hold the pipe. */
    const char *chain = "f() { sleep 0.01; (f) & }; f 2>/dev/null; while :; do sleep 0.01; done";
    plait_process_options below = {.subreaper = true};
    for (long i = 0; i < t_rounds(4); i++) {
        char byte;
        plait_program *p = start(
            SH(chain), &(plait_program_options){.process = &below, .out = {.kind = PLAIT_PIPE}});
        t_sleep(plait_ms(50));
        CHECK_RC(plait_program_kill_tree(p), 0);
        CHECK_EQ(plait_read(plait_program_out(p), &byte, 1, plait_seconds(3)), 0);
        plait_program_close(p);
    }
    CHECK(!t_has_children());
}

struct cancel_run {
    plait_run_result result;
    int rc;
};

static int run_for_long(void *arg)
{
    struct cancel_run *c = arg;
    plait_run_options o = {.capture = true};
    c->rc = plait_run_program(SH("echo $$; sleep 1000"), &o, &c->result, patience);
    return 0;
}

static void a_run_that_is_cancelled_is_killed(void **state)
{
    (void)state;
    for (int kind = PLAIT_THREAD; kind <= PLAIT_TASK; kind += PLAIT_TASK - PLAIT_THREAD) {
        struct cancel_run c = {.rc = 1};
        plait_worker w = t_start_one(kind, run_for_long, &c);
        UNTIL_WAITS(w, PL_WAIT_FD);
        t_sleep(plait_ms(100));
        CHECK_RC(plait_cancel(w), 0);
        CHECK_EQ(t_join_one(w), 0);
        CHECK_RC(c.rc, PLAIT_ECANCELED);
        CHECK_EQ(c.result.end.signal, SIGKILL);
        plait_run_free(&c.result);
        CHECK(!t_has_children());
    }
}

static int scope_over_run(void *unused)
{
    (void)unused;
    plait_run_result r;
    int rc = 0, over = 0;
    PLAIT_TIMEOUT(plait_ms(100)) {
        rc = plait_run_program(PLAIT_ARGV("sleep", "1000"), NULL, &r, PLAIT_FOREVER);
        plait_run_free(&r);
    } else {
        over = 1;
    }
    CHECK_RC(rc, PLAIT_ECANCELED);
    CHECK_EQ(over, 1);
    return 0;
}

static void a_scope_ends_a_run(void **state)
{
    (void)state;
    in_every_kind(scope_over_run);
}

static void a_run_longer_than_its_limit_is_killed(void **state)
{
    (void)state;
    plait_run_result r;
    plait_run_options o = {.capture = true, .program.limit = 1000};
    CHECK_RC(plait_run_program(SH("while :; do echo yes; done"), &o, &r, patience), PLAIT_ELIMIT);
    CHECK_EQ(r.out_size, 1000);
    CHECK_EQ(r.end.signal, SIGKILL);
    plait_run_free(&r);
}

/* --- pipelines --- */

static int a_pipeline_has_one_input_one_output_and_all_statuses_(void *unused)
{
    (void)unused;
    plait_run_result r;
    plait_program_end ends[3];
    plait_run_options o = {.capture = true, .input = "b\na\nb\n", .input_size = 6};
    const char *const *const argvs[] = {SH("sort; echo first >&2; exit 3"), PLAIT_ARGV("uniq"),
                                        SH("cat; echo last >&2; exit 4")};
    CHECK_RC(plait_run_pipeline(argvs, 3, &o, &r, ends, patience), 0);
    CHECK_TEXT(r.out, r.out_size, "a\nb\n");
    CHECK(strstr(r.err, "first\n") && strstr(r.err, "last\n"));
    CHECK_EQ(ends[0].status, 3);
    CHECK_EQ(ends[1].status, 0);
    CHECK_EQ(ends[2].status, 4);
    CHECK_EQ(r.end.status, 4);
    plait_run_free(&r);
    CHECK(!t_has_children());
    return 0;
}
IN_EVERY_KIND(a_pipeline_has_one_input_one_output_and_all_statuses);

static void a_pipeline_that_cannot_start_leaves_nothing(void **state)
{
    (void)state;
    plait_program *programs[3] = {0};
    plait_process_failure failure;
    int before = t_open_files();
    plait_program_options o = {.out = {.kind = PLAIT_PIPE}, .failure = &failure};
    const char *const *const argvs[] = {PLAIT_ARGV("sleep", "1000"), PLAIT_ARGV("/no/such"),
                                        PLAIT_ARGV("cat")};
    CHECK_RC(plait_program_start_pipeline(programs, argvs, 3, &o), PLAIT_ENOENT);
    CHECK(strcmp(failure.path, "/no/such") == 0);
    CHECK(!programs[0]);
    CHECK(t_open_files() <= before); /* a loop that is done closes its own */
    CHECK(!t_has_children());
    /* The first is cut off by the last: that is no failure. */
    plait_run_result r;
    plait_run_options run = {.capture = true, .check = true};
    const char *const *const head[] = {PLAIT_ARGV("yes"), PLAIT_ARGV("head", "-n", "1")};
    CHECK_RC(plait_run_pipeline(head, 2, &run, &r, NULL, patience), 0);
    CHECK_TEXT(r.out, r.out_size, "y\n");
    plait_run_free(&r);
    const char *const *const fail[] = {SH("exit 1"), PLAIT_ARGV("cat")};
    CHECK_RC(plait_run_pipeline(fail, 2, &run, &r, NULL, patience), PLAIT_ESTATUS);
    plait_run_free(&r);
}

/* --- many --- */

static void thousands_leave_nothing_behind(void **state)
{
    (void)state;
    plait_run_result r;
    CHECK_RC(plait_init(NULL, NULL), 0);
    CHECK_RC(plait_run_program(PLAIT_ARGV("true"), NULL, &r, patience), 0);
    plait_run_free(&r);
    int before = t_open_files();
    for (long i = 0, n = t_rounds(200); i < n; i++) {
        plait_run_options o = {.capture = i % 2};
        CHECK_RC(plait_run_program(PLAIT_ARGV(i % 16 == 15 ? "/no/such" : "/bin/true"), &o, &r,
                                   patience),
                 i % 16 == 15 ? PLAIT_ENOENT : 0);
        CHECK_EQ(r.end.status, 0);
        plait_run_free(&r);
    }
    CHECK(t_open_files() <= before); /* a loop that is done closes its own */
    CHECK(!t_has_children());
}

static int run_one(void *unused)
{
    (void)unused;
    plait_run_result r;
    plait_run_options o = {.capture = true, .input = "x", .input_size = 1};
    CHECK_RC(plait_run_program(PLAIT_ARGV("cat"), &o, &r, patience), 0);
    CHECK_TEXT(r.out, r.out_size, "x");
    plait_run_free(&r);
    return 0;
}

static void many_run_at_once(void **state)
{
    (void)state;
    enum { N = 100 };
    plait_worker workers[N];
    int before = t_open_files();
    for (int i = 0; i < N; i++)
        workers[i] = t_start_one(i % 4 ? PLAIT_TASK : PLAIT_THREAD, run_one, NULL);
    for (int i = 0; i < N; i++)
        CHECK_EQ(t_join_one(workers[i]), 0);
    CHECK(t_open_files() <= before + 4); /* the loop's own */
    CHECK(!t_has_children());
}

/* A worker forked by another thread in the middle of a start must not have the pipe: then its reader would wait for that worker. */
static int stand_still(void *unused)
{
    (void)unused;
    t_sleep_for_ever();
}

enum { FORKS = 40 };

static int fork_now_and_then(void *workers)
{
    for (int i = 0; i < FORKS; i++) {
        ((plait_worker *)workers)[i] = t_start_one(PLAIT_PROCESS, stand_still, NULL);
        t_sleep(plait_ms(1));
    }
    return 0;
}

/* Each of them lives on. cat is killed, for they do have the starter's end of its input. */
static void forks_in_other_threads_do_not_keep_pipes_open(void **state)
{
    (void)state;
    if (!t_may_fork_beside_threads())
        skip();
    plait_worker workers[FORKS], w = t_start_one(PLAIT_THREAD, fork_now_and_then, workers);
    for (int i = 0; i < 50 || plait_is_alive(w); i++) {
        plait_program *p = start(PLAIT_ARGV("cat"), &all_pipes);
        CHECK_RC(plait_program_kill(p), 0);
        CHECK_RC(plait_program_communicate(p, NULL, 0, NULL, plait_seconds(5)), 0);
        plait_program_close(p);
    }
    CHECK_EQ(t_join_one(w), 0);
    for (int i = 0; i < FORKS; i++)
        t_kill(workers[i]);
}

int main(int argc, char **argv)
{
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_runs_and_its_status_comes_back),
        cmocka_unit_test(a_signal_is_the_status_negated),
        cmocka_unit_test(a_program_that_is_not_there_is_an_error_here),
        cmocka_unit_test(a_start_that_fails_is_no_signal_of_a_child),
        cmocka_unit_test(arguments_that_make_no_sense_are_refused),
        cmocka_unit_test(no_handle_is_an_error),
        cmocka_unit_test(waiting_keeps_the_promises_of_every_wait),
        cmocka_unit_test(the_directory_counts_and_a_bad_one_is_named),
        cmocka_unit_test(the_environment_is_replaced_and_its_path_is_searched),
        cmocka_unit_test(niceness_mask_limits_and_processors_are_set),
        cmocka_unit_test(sessions_and_groups_are_made_and_joined),
        cmocka_unit_test(a_terminal_is_taken),
        cmocka_unit_test(a_cgroup_is_entered),
        cmocka_unit_test(the_user_and_all_its_groups_are_changed),
        cmocka_unit_test(signals_are_reset_unless_they_are_to_stay),
        cmocka_unit_test(tasks_start_programs_with_no_signal_blocked),
        cmocka_unit_test(only_the_standard_streams_and_what_was_passed_are_open),
        cmocka_unit_test(descriptors_are_moved_in_any_permutation),
        cmocka_unit_test(standard_streams_can_be_each_others),
        cmocka_unit_test(a_starter_may_have_its_standard_streams_closed),
        cmocka_unit_test(a_callback_runs_before_the_program_and_may_refuse),
        cmocka_unit_test(a_program_is_read_and_written_by_streams),
        cmocka_unit_test(errors_can_go_where_output_goes),
        cmocka_unit_test(a_pipes_size_is_what_was_asked_for),
        cmocka_unit_test(the_executable_may_be_another_than_argv_says),
        cmocka_unit_test(a_shell_gets_the_script_and_its_arguments),
        cmocka_unit_test(a_file_without_a_header_is_a_shell_script),
        cmocka_unit_test(the_shells_output_comes_as_text),
        cmocka_unit_test(much_goes_both_ways),
        cmocka_unit_test(what_was_read_before_its_time_was_over_is_kept),
        cmocka_unit_test(bytes_read_by_the_caller_before_are_not_lost),
        cmocka_unit_test(a_program_need_not_read_its_input),
        cmocka_unit_test(a_program_that_closes_its_output_is_still_waited_for),
        cmocka_unit_test(a_process_left_behind_keeps_the_pipe_and_the_time_counts),
        cmocka_unit_test(no_more_than_the_limit_is_kept_and_the_rest_can_be_read),
        cmocka_unit_test(a_second_one_that_communicates_is_refused),
        cmocka_unit_test(all_that_wait_get_the_result),
        cmocka_unit_test(signals_after_the_end_reach_nobody),
        cmocka_unit_test(a_stopped_program_has_not_ended),
        cmocka_unit_test(closing_kills_what_still_runs),
        cmocka_unit_test(a_status_that_others_took_is_not_taken_for_success),
        cmocka_unit_test(a_forked_child_cannot_use_its_parents_handle),
        cmocka_unit_test(run_gives_all_that_came_of_it),
        cmocka_unit_test(run_refuses_what_excludes_each_other),
        cmocka_unit_test(what_takes_too_long_is_killed_with_all_below_it),
        cmocka_unit_test(a_tree_is_killed_as_a_whole),
        cmocka_unit_test(a_tree_that_grows_is_killed_too),
        cmocka_unit_test(a_run_that_is_cancelled_is_killed),
        cmocka_unit_test(a_scope_ends_a_run),
        cmocka_unit_test(a_run_longer_than_its_limit_is_killed),
        cmocka_unit_test(a_pipeline_has_one_input_one_output_and_all_statuses),
        cmocka_unit_test(a_pipeline_that_cannot_start_leaves_nothing),
        cmocka_unit_test(thousands_leave_nothing_behind),
        cmocka_unit_test(many_run_at_once),
        cmocka_unit_test(forks_in_other_threads_do_not_keep_pipes_open),
        /* Last: leaves helper threads, and TSan does not like forks beside these. */
        cmocka_unit_test(files_are_read_made_emptied_and_appended_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
