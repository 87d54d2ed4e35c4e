/* Other programs and the life of those who start them: who dies with whom, what is left; under limits, and with less than usual
 * from the kernel. */
#include "methods.h"
#include "program.h"

#include "port/process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000
#endif

#define SH(script) PLAIT_ARGV("/bin/sh", "-c", script)

enum { MOST = 16 };
static const int64_t patience = (int64_t)30 * 1000000000;

/* What a family tells the program that watches it. */
struct board {
    int n;
    pid_t pids[MOST];
    int ready, go;
    const plait_program_options *options;
};

static void note(struct board *b, pid_t pid)
{
    b->pids[b->n++] = pid;
}

static plait_program *start(const char *const *argv, const plait_program_options *options)
{
    plait_program *p;
    plait_process_failure failure = {0};
    plait_program_options o = options ? *options : (plait_program_options){0};
    o.failure = &failure;
    int rc = plait_program_start(&p, argv, &o);
    if (rc < 0)
        t_die(__FILE__, __LINE__, "%s: %s: %s", plait_errname(rc),
              plait_process_step_text(failure.step), failure.path);
    return p;
}

static int stand_still(void *unused)
{
    (void)unused;
    while (pause())
        ;
    return 0;
}

static pid_t start_family(plait_function *fn, struct board *b)
{
    adopt_orphans();
    pid_t family = t_fork(fn, b);
    UNTIL(SEEN(b->ready) || has_ended(family));
    CHECK(SEEN(b->ready));
    return family;
}

static void expect_alive(const struct board *b)
{
    t_sleep(plait_ms(50));
    for (int i = 0; i < b->n; i++)
        CHECK(!has_ended(b->pids[i]));
}

/* The family is killed: all on the board die of it, within a second. */
static void kill_and_expect(pid_t family, const struct board *b)
{
    expect_alive(b);
    CHECK_EQ(kill(family, SIGKILL), 0);
    CHECK_EQ(t_reap(family), 1000 + SIGKILL);
    int64_t since = plait_now();
    for (int i = 0; i < b->n; i++)
        UNTIL(has_ended(b->pids[i]));
    for (int i = b->n; i-- > 0;) /* parents were noted last */
        CHECK_EQ(t_reap(b->pids[i]), 1000 + SIGKILL);
    CHECK(plait_now() - since < plait_seconds(t_is_sanitized() ? 10 : 1));
}

/* --- dying with the starter --- */

static int have_a_program(void *board)
{
    struct board *b = board;
    note(b, plait_program_pid(start(PLAIT_ARGV("sleep", "1000"), b->options)));
    TELL(b->ready, 1);
    return stand_still(NULL);
}

static void dies_with_its_starter(const plait_process_options *process)
{
    plait_program_options o = {.process = process};
    struct board *b = board_new(sizeof *b);
    b->options = &o;
    kill_and_expect(start_family(have_a_program, b), b);
}

static int a_program_dies_with_its_starter(void *unused)
{
    (void)unused;
    dies_with_its_starter(NULL);
    dies_with_its_starter(&(plait_process_options){.new_session = true});
    dies_with_its_starter(&(plait_process_options){.new_group = true, .cwd = "/", .nice = 1});
    dies_with_its_starter(&(plait_process_options){
        .limits = (plait_limit[]){{RLIMIT_NOFILE, 10, 10}}, .n_limits = 1});
    if (geteuid() == 0)
        dies_with_its_starter(&(plait_process_options){.user = "nobody"});
    return 0;
}

static int start_here(void *board)
{
    struct board *b = board;
    note(b, plait_program_pid(start(PLAIT_ARGV("sleep", "1000"), NULL)));
    return 0;
}

static int start_by_threads(void *board)
{
    struct board *b = board;
    t_in_pthread(start_here, b);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_THREAD, start_here, b)), 0);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_TASK, start_here, b)), 0);
    TELL(b->ready, 1);
    return stand_still(NULL);
}

static int the_end_of_the_thread_that_started_it_kills_no_program(void *unused)
{
    (void)unused;
    struct board *b = board_new(sizeof *b);
    pid_t family = start_family(start_by_threads, b);
    CHECK_EQ(b->n, 3);
    t_sleep(plait_ms(100));
    kill_and_expect(family, b);
    return 0;
}

/* Reads pids that a program prints. */
static void note_printed(struct board *b, plait_program *p, int n)
{
    char line[30];
    for (int i = 0; i < n; i++) {
        CHECK_RC(plait_read_line(plait_program_out(p), line, sizeof line, NULL, patience), 0);
        note(b, atoi(line));
    }
}

static int have_a_group(void *board)
{
    struct board *b = board;
    plait_process_options group = {.new_group = true};
    plait_program *p = start(
        SH("sleep 1000 & echo $!; sh -c 'echo $$; sleep 1000 & echo $!; wait' & echo $$; wait"),
        &(plait_program_options){.process = &group, .out = {.kind = PLAIT_PIPE}});
    note_printed(b, p, 4);
    TELL(b->ready, 1);
    return stand_still(NULL);
}

static int what_is_in_its_own_group_dies_with_it(void *unused)
{
    (void)unused;
    struct board *b = board_new(sizeof *b);
    kill_and_expect(start_family(have_a_group, b), b);
    return 0;
}

static int start_in_worker(void *board)
{
    start_here(board);
    TELL(((struct board *)board)->ready, 1);
    return stand_still(NULL);
}

static int have_a_worker_with_a_program(void *board)
{
    struct board *b = board;
    plait_worker w = t_start_one(PLAIT_PROCESS, start_in_worker, b);
    UNTIL(SEEN(b->ready));
    note(b, plait_pid(w));
    return stand_still(NULL);
}

static int a_workers_program_dies_with_the_family(void *unused)
{
    (void)unused;
    struct board *b = board_new(sizeof *b);
    pid_t family = start_family(have_a_worker_with_a_program, b);
    UNTIL(b->n == 2);
    kill_and_expect(family, b);
    return 0;
}

static int start_detached(void *board)
{
    struct board *b = board;
    plait_program *p = start(PLAIT_ARGV("sleep", "1000"), &(plait_program_options){.detach = true});
    note(b, plait_program_pid(p));
    CHECK_RC(plait_program_close(p), 0); /* lets go */
    TELL(b->ready, 1);
    return stand_still(NULL);
}

static int a_detached_program_lives_on(void *unused)
{
    (void)unused;
    struct board *b = board_new(sizeof *b);
    pid_t family = start_family(start_detached, b);
    CHECK_EQ(kill(family, SIGKILL), 0);
    t_reap(family);
    expect_alive(b);
    CHECK_EQ(kill(b->pids[0], SIGKILL), 0);
    CHECK_EQ(t_reap(b->pids[0]), 1000 + SIGKILL);
    return 0;
}

static int detached_ones_that_ended_are_collected_by_later_starts(void *unused)
{
    (void)unused;
    for (int i = 0; i < 10; i++) {
        plait_program *p = start(PLAIT_ARGV("true"), &(plait_program_options){.detach = true});
        pid_t pid = plait_program_pid(p);
        plait_program_close(p);
        UNTIL(has_ended(pid));
    }
    plait_run_result r;
    CHECK_RC(plait_run_program(PLAIT_ARGV("true"), NULL, &r, patience), 0);
    plait_run_free(&r);
    CHECK(!t_has_children());
    return 0;
}

/* The starter dies in the middle of a start, at any instant. */
static int start_and_die(void *delay)
{
    plait_program *p;
    struct timespec ts = {0, (long)(intptr_t)delay * 1000};
    pid_t self = getpid(), killer = fork();
    if (killer == 0) {
        nanosleep(&ts, NULL);
        kill(self, SIGKILL);
        _exit(0);
    }
    for (;;) {
        plait_process_options group = {.new_group = true};
        if (plait_program_start(
                &p, PLAIT_ARGV("sleep", "1000"),
                &(plait_program_options){.process = &group, .in = {.kind = PLAIT_PIPE}}) < 0)
            _exit(9);
    }
}

static int programs_being_started_die_too(void *unused)
{
    (void)unused;
    adopt_orphans();
    for (intptr_t i = 0; i < t_scaled(20); i++)
        CHECK_EQ(t_in_fork(start_and_die, (void *)(i * 300)), 1000 + SIGKILL);
    UNTIL((waitpid(-1, NULL, WNOHANG), living_in_session(getsid(0)) == 1));
    return 0;
}

/* --- exec --- */

static int exec_sleep(void *board)
{
    struct board *b = board;
    note(b, getpid());
    TELL(b->ready, 1);
    plait_execvp("sleep", PLAIT_ARGV("sleep", "1000"));
    return 1;
}

static int have_a_worker_that_executes(void *board)
{
    t_start_one(PLAIT_PROCESS, exec_sleep, board);
    return stand_still(NULL);
}

static int a_worker_that_executes_still_dies_with_its_parent(void *unused)
{
    (void)unused;
    struct board *b = board_new(sizeof *b);
    pid_t family = start_family(have_a_worker_that_executes, b);
    t_sleep(plait_ms(100));
    kill_and_expect(family, b);
    return 0;
}

/* In the arena: a worker that is started clean has nothing else of its parent's. */
struct pair {
    pid_t program, worker;
    int ready;
};

static int start_and_execute(void *arg)
{
    struct pair *pair = arg;
    pair->program = plait_program_pid(start(PLAIT_ARGV("sleep", "1000"), NULL));
    pair->worker = getpid();
    TELL(pair->ready, 1);
    plait_execvp("sleep", PLAIT_ARGV("sleep", "1000"));
    return 1;
}

static int have_one_of_each_method(void *board)
{
    struct board *b = board;
    FOR_EACH_METHOD(method)
    {
        plait_worker w;
        struct pair *pair = plait_alloc(sizeof *pair);
        CHECK_RC(plait_start(&w, PLAIT_PROCESS, start_and_execute, pair,
                             &(plait_options){.start_method = method}),
                 0);
        UNTIL(SEEN(pair->ready));
        note(b, pair->program);
        note(b, pair->worker);
    }
    TELL(b->ready, 1);
    return stand_still(NULL);
}

static int programs_of_workers_of_every_method_die_with_the_family(void *unused)
{
    (void)unused;
    struct board *b = board_new(sizeof *b);
    pid_t family = start_family(have_one_of_each_method, b);
    CHECK_EQ(b->n, 6);
    expect_alive(b);
    t_sleep(plait_ms(100));
    CHECK_EQ(kill(family, SIGKILL), 0);
    CHECK_EQ(t_reap(family), 1000 + SIGKILL);
    for (int i = 0; i < b->n; i++)
        UNTIL(has_ended(b->pids[i]));
    return 0;
}

struct locked {
    plait_lock lock;
    int step;
};

static int lock_and_execute(void *arg)
{
    struct locked *l = arg;
    CHECK_RC(plait_lock_acquire(&l->lock, patience), 0);
    TELL(l->step, 1);
    plait_execv("/bin/sh", SH("read x; exit 5"));
    return 1;
}

static int a_worker_that_executes_loses_its_locks_and_is_joined_at_the_programs_end(void *unused)
{
    (void)unused;
    int ends[2];
    plait_blame end;
    struct locked *l = plait_alloc(sizeof *l);
    memset(l, 0, sizeof *l);
    CHECK_EQ(pipe(ends), 0);
    dup2(ends[0], 0);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    plait_worker w = t_start_one(PLAIT_PROCESS, lock_and_execute, l);
    UNTIL(SEEN(l->step));
    CHECK_RC(plait_lock_acquire(&l->lock, patience), PLAIT_OWNER_DIED);
    CHECK_RC(plait_lock_release(&l->lock), 0);
    CHECK_RC(plait_join(w, &end, plait_ms(50)), PLAIT_ETIMEDOUT);
    CHECK_EQ(plait_is_alive(w), 1);
    CHECK_EQ(write(ends[1], "\n", 1), 1);
    CHECK_RC(plait_join(w, &end, patience), PLAIT_DIED);
    CHECK_EQ(end.status, 5);
    CHECK_EQ(end.signal, 0);
    CHECK(!t_has_children());
    plait_free(l);
    return 0;
}

static const char *temporary(char *path, const char *text)
{
    strcpy(path, "/tmp/plait-program-test-XXXXXX");
    int fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    return path;
}

static int execute_with_full_buffers(void *path)
{
    FILE *f = fopen(path, "w");
    setvbuf(f, NULL, _IOFBF, 4096);
    fputs("not lost", f);
    dup2(open("/dev/null", O_WRONLY), 1);
    errno = EXDEV;
    CHECK_RC(plait_execvp("/no/such", PLAIT_ARGV("x")), PLAIT_ENOENT); /* and goes on */
    CHECK_EQ(errno, EXDEV);
    fputs(", either", f);
    plait_execvpe("sh", PLAIT_ARGV("sh", "-c", "test $A = b && exit 6"),
                  (const char *const[]){"A=b", "PATH=/bin", NULL});
    return 1;
}

static int buffers_are_written_before_an_exec(void *unused)
{
    (void)unused;
    char path[40], text[40] = "";
    if (pl_process_threads(getpid()) != 1) /* a sanitizer's: then only the standard streams are */
        return PROGRAM_SKIPPED;
    temporary(path, "");
    CHECK_EQ(t_in_fork(execute_with_full_buffers, path), 6);
    int fd = open(path, O_RDONLY);
    CHECK(read(fd, text, sizeof text) > 0);
    CHECK(strcmp(text, "not lost, either") == 0);
    close(fd);
    unlink(path);
    return 0;
}

static int exec_checks_its_arguments(void *unused)
{
    (void)unused;
    int before = t_open_files();
    CHECK_RC(plait_execv(NULL, PLAIT_ARGV("x")), PLAIT_EINVAL);
    CHECK_RC(plait_execv("/bin/true", NULL), PLAIT_EINVAL);
    CHECK_RC(plait_execv("/bin/true", (const char *const[]){NULL}), PLAIT_EINVAL);
    CHECK_RC(plait_execve("/bin/true", PLAIT_ARGV("x"), NULL), PLAIT_EINVAL);
    CHECK_RC(plait_execvpe("true", PLAIT_ARGV("x"), (const char *const[]){"NAME", NULL}),
             PLAIT_EINVAL);
    CHECK_RC(plait_execv("/etc/passwd", PLAIT_ARGV("x")), PLAIT_EACCES);
    CHECK_RC(plait_execv("/", PLAIT_ARGV("x")), PLAIT_EACCES);
    CHECK_RC(plait_execvp("no-such-program", PLAIT_ARGV("x")), PLAIT_ENOENT);
    CHECK_EQ(t_open_files(), before);
    return 0;
}

static int signals_of_task(void *unused)
{
    (void)unused;
    plait_execvp("sh", SH("grep -q '^SigBlk:.0*$' /proc/self/status && exit 4"));
    return 1;
}

static int execute_in_a_task(void *unused)
{
    t_join_one(t_start_one(PLAIT_TASK, signals_of_task, unused));
    return 1;
}

static int a_task_may_execute_and_blocks_no_signal(void *unused)
{
    CHECK_EQ(t_in_fork(execute_in_a_task, unused), 4);
    return 0;
}

/* --- limits --- */

static void expect_works(void)
{
    plait_run_result r;
    plait_run_options o = {.capture = true, .check = true, .input = "in", .input_size = 2};
    CHECK_RC(plait_run_program(SH("cat; echo err >&2"), &o, &r, patience), 0);
    CHECK(strcmp(r.out, "in") == 0 && strcmp(r.err, "err\n") == 0);
    plait_run_free(&r);
}

/* Without needing one itself. */
static int count_files(void)
{
    int n = 0;
    for (int fd = 0; fd < 60; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* Each number of free descriptors: it works or says PLAIT_EMFILE, and nothing is left. */
static int descriptors_that_run_out_are_an_error(void *unused)
{
    (void)unused;
    CHECK_RC(plait_init(NULL, NULL), 0);
    int first = fill_descriptors(60), worked = 0;
    bool lifeline = false;
    for (int free = 0; free < 20; free++) {
        for (int pipes = 0; pipes < 2; pipes++) {
            plait_run_result r;
            int before = count_files();
            plait_run_options o = {.capture = pipes, .has_input = pipes};
            int rc = plait_run_program(PLAIT_ARGV("true"), &o, &r, patience);
            CHECK(rc == 0 || rc == PLAIT_EMFILE);
            if (rc < 0)
                CHECK(r.failure.step == PLAIT_STEP_TIE || r.failure.step == PLAIT_STEP_STREAMS ||
                      r.failure.step == PLAIT_STEP_CLONE);
            else
                CHECK_EQ(r.end.status, 0);
            worked += rc == 0;
            plait_run_free(&r);
            CHECK(!t_has_children());
            int more = count_files() - before;
            CHECK(more == 0 || (more == 2 && !lifeline)); /* which stays */
            lifeline |= more == 2;
        }
        close(first + free);
    }
    CHECK(worked >= 10);
    expect_works();
    return 0;
}

static int the_limit_on_processes_is_eagain(void *unused)
{
    (void)unused;
    if (geteuid() != 0 || t_is_sanitized())
        return PROGRAM_SKIPPED;
    become_nobody_else();
    expect_works();
    struct rlimit two = {2, 2};
    plait_program *p = start(PLAIT_ARGV("sleep", "1000"), NULL), *q = NULL;
    CHECK_EQ(setrlimit(RLIMIT_NPROC, &two), 0);
    plait_process_failure failure = {0};
    int before = t_open_files();
    for (int i = 0; i < 20; i++)
        CHECK_RC(plait_program_start(
                     &q, PLAIT_ARGV("true"),
                     &(plait_program_options){.failure = &failure, .out = {.kind = PLAIT_PIPE}}),
                 PLAIT_EAGAIN);
    CHECK_EQ(failure.step, PLAIT_STEP_CLONE);
    CHECK(!q);
    CHECK_EQ(t_open_files(), before);
    plait_program_close(p);
    CHECK(!t_has_children());
    CHECK_RC(plait_program_start(&q, PLAIT_ARGV("true"), NULL), 0);
    plait_program_close(q);
    return 0;
}

static int a_place_where_nothing_may_be_executed_is_named(void *unused)
{
    (void)unused;
    char folder[] = "/tmp/plait-program-test-XXXXXX", path[60];
    CHECK(mkdtemp(folder) != NULL);
    bool mounted = unshare(CLONE_NEWNS) == 0 &&
                   mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                   mount("none", folder, "tmpfs", MS_NOEXEC, NULL) == 0;
    if (!mounted) {
        rmdir(folder);
        return PROGRAM_SKIPPED;
    }
    snprintf(path, sizeof path, "%s/script", folder);
    int fd = open(path, O_WRONLY | O_CREAT, 0755);
    CHECK_EQ(write(fd, "#!/bin/sh\n", 10), 10);
    close(fd);
    plait_process_failure failure = {0};
    plait_program *p;
    CHECK_RC(
        plait_program_start(&p, PLAIT_ARGV(path), &(plait_program_options){.failure = &failure}),
        PLAIT_EACCES);
    CHECK_EQ(failure.step, PLAIT_STEP_EXEC);
    CHECK(strcmp(failure.path, path) == 0);
    umount(folder);
    rmdir(folder);
    return 0;
}

/* --- less than usual from the kernel --- */

/* From now on this call answers `error`; with bits, only if its n-th argument has one of them. */
static bool refuse_if(int call, int error, int argument, unsigned bits)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                 (unsigned)(offsetof(struct seccomp_data, args) + 8 * (size_t)argument)),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    if (bits == 0)
        code[1].jf = 3, code[2] = code[4], code[3] = code[4];
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void expect_failures_told(void)
{
    plait_process_failure failure = {0};
    plait_program *p;
    plait_process_options at = {.cwd = "/no/such"};
    CHECK_RC(plait_program_start(&p, PLAIT_ARGV("/no/such"),
                                 &(plait_program_options){.failure = &failure}),
             PLAIT_ENOENT);
    CHECK_EQ(failure.step, PLAIT_STEP_EXEC);
    CHECK_RC(plait_program_start(&p, PLAIT_ARGV("true"),
                                 &(plait_program_options){.failure = &failure, .process = &at}),
             PLAIT_ENOENT);
    CHECK_EQ(failure.step, PLAIT_STEP_CWD);
    CHECK(!t_has_children());
}

static void expect_all_of_it(void)
{
    int before;
    expect_works();
    before = t_open_files();
    expect_works();
    expect_failures_told();
    plait_run_result r;
    CHECK_RC(plait_run_program(SH("exec sleep 1000"), NULL, &r, plait_ms(50)), PLAIT_ETIMEDOUT);
    CHECK_EQ(r.end.signal, SIGKILL);
    plait_run_free(&r);
    CHECK_EQ(t_open_files(), before);
    CHECK(!t_has_children());
}

static int without_shared_memory_programs_are_started_by_copies(void *unused)
{
    (void)unused;
    if (!refuse_if(SYS_clone, EPERM, 0, CLONE_VFORK))
        return PROGRAM_SKIPPED;
    expect_all_of_it();
    return 0;
}

static int without_clone3_nothing_changes(void *unused)
{
    (void)unused;
    if (!refuse_if(SYS_clone3, ENOSYS, 0, 0))
        return PROGRAM_SKIPPED;
    expect_all_of_it();
    return 0;
}

static int without_pidfds_waiting_is_looking(void *unused)
{
    (void)unused;
    if (!refuse_if(SYS_clone, EPERM, 0, CLONE_VFORK | CLONE_PIDFD) ||
        !refuse_if(SYS_pidfd_open, ENOSYS, 0, 0))
        return PROGRAM_SKIPPED;
    plait_program *p = start(PLAIT_ARGV("sleep", "0.1"), NULL);
    CHECK_RC(plait_program_fd(p), PLAIT_ENOTSUP);
    CHECK_RC(plait_program_wait(p, NULL, plait_ms(1)), PLAIT_ETIMEDOUT);
    CHECK_RC(plait_program_wait(p, NULL, patience), 0);
    CHECK_RC(plait_program_kill(p), PLAIT_ESRCH);
    plait_program_close(p);
    expect_all_of_it();
    return 0;
}

static int without_close_range_other_descriptors_are_closed_too(void *unused)
{
    (void)unused;
    if (!refuse_if(SYS_close_range, ENOSYS, 0, 0))
        return PROGRAM_SKIPPED;
    for (int i = 0; i < 100; i++)
        dup(2);
    plait_run_result r;
    plait_run_options o = {.capture = true, .program = {.fds = (int[]){33}, .n_fds = 1}};
    CHECK_RC(plait_run_program(SH("i=3; while [ $i -lt 199 ]; do [ -e /proc/$$/fd/$i ] && printf "
                                  "\"$i \"; i=$((i+1)); done"),
                               &o, &r, patience),
             0);
    CHECK(strcmp(r.out, "33 ") == 0);
    plait_run_free(&r);
    return 0;
}

/* No /proc: the tie is the thread's that started it. */
static int have_a_program_without_proc(void *board)
{
    bool hidden = unshare(CLONE_NEWNS) == 0 &&
                  mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                  mount("none", "/proc", "tmpfs", 0, NULL) == 0;
    ((struct board *)board)->go = hidden;
    return have_a_program(board);
}

static int without_proc_a_program_dies_with_its_starter_too(void *unused)
{
    (void)unused;
    plait_process_options nobody = {.user = "nobody"};
    plait_program_options plain = {.process = NULL}, changed = {.process = &nobody};
    for (int i = 0; i < (geteuid() == 0 ? 2 : 1); i++) {
        struct board *b = board_new(sizeof *b);
        b->options = i ? &changed : &plain;
        pid_t family = start_family(have_a_program_without_proc, b);
        kill_and_expect(family, b);
        if (!b->go)
            return PROGRAM_SKIPPED;
    }
    return 0;
}

/* Kernels before 6.15 do not remember how somebody else's zombie ended. */
static int a_status_that_is_lost_is_said_to_be(void *unused)
{
    (void)unused;
    if (!refuse_if(SYS_ioctl, ENOTTY, 1, 0xff00))
        return PROGRAM_SKIPPED;
    plait_program_end end;
    plait_program *p = start(SH("exit 0"), NULL);
    CHECK_EQ(waitpid(plait_program_pid(p), NULL, 0), plait_program_pid(p));
    for (int i = 0; i < 3; i++) {
        CHECK_RC(plait_program_wait(p, &end, patience), PLAIT_ENOSTATUS);
        CHECK(end.unknown && end.status == -1);
    }
    CHECK_RC(plait_program_poll(p, NULL), PLAIT_ENOSTATUS);
    plait_program_close(p);
    signal(SIGCHLD, SIG_IGN);
    plait_run_result r;
    plait_run_options o = {.capture = true, .check = true};
    CHECK_RC(plait_run_program(SH("echo x"), &o, &r, patience), PLAIT_ENOSTATUS);
    CHECK(strcmp(r.out, "x\n") == 0);
    plait_run_free(&r);
    return 0;
}

/* --- trees --- */

/* Who takes orphans in has to collect those of a tree that it kills. */
static int a_killed_tree_leaves_no_zombies_to_a_subreaper(void *unused)
{
    (void)unused;
    adopt_orphans();
    plait_run_result r;
    CHECK_RC(plait_run_program(SH("(setsid sleep 1000 &); (sleep 1000 &); sleep 1000 & sleep 1000"),
                               NULL, &r, plait_ms(200)),
             PLAIT_ETIMEDOUT);
    plait_run_free(&r);
    CHECK_EQ(living_in_session(getsid(0)), 1);
    CHECK(!t_has_children());
    return 0;
}

int main(int argc, char **argv)
{
    BEGIN_METHODS(argc, argv);
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        PROGRAM(a_program_dies_with_its_starter),
        PROGRAM(the_end_of_the_thread_that_started_it_kills_no_program),
        PROGRAM(what_is_in_its_own_group_dies_with_it),
        PROGRAM(a_workers_program_dies_with_the_family),
        PROGRAM(a_detached_program_lives_on),
        PROGRAM(detached_ones_that_ended_are_collected_by_later_starts),
        PROGRAM(programs_being_started_die_too),
        PROGRAM(a_worker_that_executes_still_dies_with_its_parent),
        PROGRAM(programs_of_workers_of_every_method_die_with_the_family),
        PROGRAM(a_worker_that_executes_loses_its_locks_and_is_joined_at_the_programs_end),
        PROGRAM(buffers_are_written_before_an_exec),
        PROGRAM(exec_checks_its_arguments),
        PROGRAM(a_task_may_execute_and_blocks_no_signal),
        PROGRAM(descriptors_that_run_out_are_an_error),
        PROGRAM(the_limit_on_processes_is_eagain),
        PROGRAM(a_place_where_nothing_may_be_executed_is_named),
        PROGRAM(without_shared_memory_programs_are_started_by_copies),
        PROGRAM(without_clone3_nothing_changes),
        PROGRAM(without_pidfds_waiting_is_looking),
        PROGRAM(without_close_range_other_descriptors_are_closed_too),
        PROGRAM(without_proc_a_program_dies_with_its_starter_too),
        PROGRAM(a_status_that_is_lost_is_said_to_be),
        PROGRAM(a_killed_tree_leaves_no_zombies_to_a_subreaper),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
