/* Starting where something is missing: each start method works all the same, or says what is missing; nothing is left. */
#include "methods.h"

#include "base/atomic.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef PR_GET_TID_ADDRESS
#define PR_GET_TID_ADDRESS 40
#endif

#define FOR_EACH_CLEAN_METHOD(method)                                                              \
    for (int method = PLAIT_ZYGOTE; method <= PLAIT_SPAWN; method++)

static char *executable;

/* --- one start --- */

struct text {
    char is[100];
};

static int count_letters(void *text)
{
    return (int)strlen(((struct text *)text)->is);
}

/* What must be as before. */
struct leftovers {
    int files, entries, children;
    plait_arena_statistics arena;
};

static struct leftovers count_leftovers(void)
{
    CHECK_RC(plait_zygote_stop(), 0);
    struct leftovers now = {
        .files = t_open_files(), .entries = entries_in_use(), .children = plait_children(NULL, 0)};
    CHECK_RC(plait_arena_stats(&now.arena), 0);
    return now;
}

static void expect_same(const struct leftovers *before)
{
    struct leftovers now = count_leftovers();
    CHECK_EQ(now.files, before->files);
    CHECK_EQ(now.entries, before->entries);
    CHECK_EQ(now.children, before->children);
    CHECK_EQ(now.arena.blocks, before->arena.blocks);
    CHECK(!t_has_children());
}

/* 0: the process has run and was joined. */
static int try_start(int method)
{
    struct text copied = {"sevenly"};
    plait_worker w = {12, 34};
    errno = EXDEV;
    int rc = plait_start(&w, PLAIT_PROCESS, count_letters, &copied,
                         &(plait_options){.start_method = method, .arg_size = sizeof copied});
    CHECK_EQ(errno, EXDEV);
    if (rc == 0)
        CHECK_EQ(t_join_one(w), 7);
    else
        CHECK(w.slot == 12 && w.generation == 34);
    return rc;
}

/* Three starts in a row, with a zygote made for them. */
static void expect(int method, int rc)
{
    struct leftovers before = count_leftovers();
    for (int i = 0; i < 3; i++)
        CHECK_RC(try_start(method), rc);
    expect_same(&before);
}

static void expect_of_all(int fork, int zygote, int spawn)
{
    expect(PLAIT_FORK, fork);
    expect(PLAIT_ZYGOTE, zygote);
    expect(PLAIT_SPAWN, spawn);
}

/* What is made once, with the first start, is there. */
static void begin_with_all(void)
{
    FOR_EACH_METHOD(method)
    CHECK_RC(try_start(method), 0);
    CHECK_RC(plait_zygote_stop(), 0);
}

static void limit(int which, rlim_t most)
{
    struct rlimit now;
    CHECK_EQ(getrlimit(which, &now), 0);
    now.rlim_cur = most > now.rlim_max ? now.rlim_max : most;
    CHECK_EQ(setrlimit(which, &now), 0);
}

static void lift_limit(int which)
{
    limit(which, RLIM_INFINITY);
}

/* --- limits on resources --- */

static int the_limit_on_processes_is_eagain(void *unused)
{
    (void)unused;
    if (geteuid() != 0)
        return PROGRAM_SKIPPED;
    begin_with_all();
    become_nobody_else();
    begin_with_all(); /* a lifeline of that user's */
    limit(RLIMIT_NPROC, 1);
    expect_of_all(PLAIT_EAGAIN, PLAIT_EAGAIN, PLAIT_EAGAIN);
    lift_limit(RLIMIT_NPROC);
    expect_of_all(0, 0, 0);
    return 0;
}

/* The zygote is there, and has no room for one more beside itself. */
static int a_zygote_that_may_not_fork_says_so(void *unused)
{
    (void)unused;
    if (geteuid() != 0 || t_is_sanitized())
        return PROGRAM_SKIPPED;
    become_nobody_else();
    begin_with_all();
    limit(RLIMIT_NPROC, 2);
    expect(PLAIT_ZYGOTE, PLAIT_EAGAIN);
    lift_limit(RLIMIT_NPROC);
    expect(PLAIT_ZYGOTE, 0);
    return 0;
}

enum { MOST_FILES = 100 };

/* What fills the table of descriptors, so that `left` more can be opened. */
struct filling {
    int fds[MOST_FILES], n;
};

static void fill_but(struct filling *f, int left)
{
    limit(RLIMIT_NOFILE, MOST_FILES);
    for (f->n = 0; (f->fds[f->n] = dup(2)) >= 0;)
        f->n++;
    CHECK_EQ(errno, EMFILE);
    CHECK(f->n > left);
    while (left-- > 0)
        close(f->fds[--f->n]);
}

static void empty(struct filling *f)
{
    while (f->n > 0)
        close(f->fds[--f->n]);
}

static int with_few_descriptors_left_it_works_or_is_emfile(void *unused)
{
    (void)unused;
    begin_with_all();
    for (int left = 0; left < 12; left++)
        FOR_EACH_METHOD(method)
        {
            struct leftovers before = count_leftovers();
            struct filling f;
            fill_but(&f, left);
            int rc = try_start(method);
            empty(&f);
            CHECK(rc == 0 || rc == PLAIT_EMFILE);
            CHECK(rc == 0 || method != PLAIT_FORK);
            CHECK(rc == 0 || left < 8); /* so many are enough */
            expect_same(&before);
        }
    return 0;
}

static int say_whether_in_root(void *unused)
{
    (void)unused;
    char folder[200];
    CHECK(getcwd(folder, sizeof folder));
    return strcmp(folder, "/") == 0 ? 1 : 2;
}

/* With a zygote there, what is missing is the descriptor of the directory; it must not be the zygote's instead. */
static int a_process_is_never_begun_in_another_directory(void *unused)
{
    (void)unused;
    begin_with_all();
    CHECK_EQ(t_join_one(start_by(PLAIT_ZYGOTE, say_whether_in_root, NULL)), 2);
    CHECK_EQ(chdir("/"), 0);
    for (int left = 0; left < 4; left++) {
        plait_worker w;
        struct filling f;
        fill_but(&f, left);
        int rc = plait_start(&w, PLAIT_PROCESS, say_whether_in_root, NULL,
                             &(plait_options){.start_method = PLAIT_ZYGOTE});
        CHECK(rc == 0 || (rc == PLAIT_EMFILE && left == 0));
        if (rc == 0)
            CHECK_EQ(t_join_one(w), 1);
        empty(&f);
    }
    CHECK_EQ(t_join_one(start_by(PLAIT_ZYGOTE, say_whether_in_root, NULL)), 1);
    CHECK_RC(plait_zygote_stop(), 0);
    return 0;
}

/* As a program that is begun with a small table. */
static int a_small_table_of_descriptors_is_enough(void *unused)
{
    (void)unused;
    limit(RLIMIT_NOFILE, (rlim_t)t_open_files() + 20);
    begin_with_all();
    expect_of_all(0, 0, 0);
    return 0;
}

static int files_may_be_limited_to_nothing_once_there_is_an_arena(void *unused)
{
    (void)unused;
    if (t_is_sanitized()) /* TSan writes a file of its own when it begins */
        return PROGRAM_SKIPPED;
    begin_with_all();
    limit(RLIMIT_FSIZE, 0);
    expect_of_all(0, 0, 0);
    return 0;
}

static int a_small_arena_is_found_by_all(void *unused)
{
    (void)unused;
    plait_arena_statistics s;
    limit(RLIMIT_FSIZE, (rlim_t)100 << 20);
    begin_with_all();
    CHECK_RC(plait_arena_stats(&s), 0);
    CHECK(s.size <= (uint64_t)100 << 20);
    expect_of_all(0, 0, 0);
    return 0;
}

/* The starter has all that it needs; the process is to have no room for the arena. */
static int without_room_for_the_arena_a_spawned_process_ends_with_125(void *unused)
{
    (void)unused;
    if (t_is_sanitized()) /* they need more themselves */
        return PROGRAM_SKIPPED;
    begin_with_all();
    const plait_limit small[] = {
        {.which = RLIMIT_AS, .soft = (uint64_t)64 << 20, .hard = RLIM_INFINITY}};
    const plait_process_options process = {.limits = small, .n_limits = 1};
    FOR_EACH_METHOD(method)
    {
        struct leftovers before = count_leftovers();
        struct text copied = {"sevenly"};
        plait_worker w;
        plait_blame end;
        CHECK_RC(plait_start(&w, PLAIT_PROCESS, count_letters, &copied,
                             &(plait_options){.start_method = method,
                                              .arg_size = sizeof copied,
                                              .process = &process}),
                 0);
        /* The others have it mapped before the limit comes. */
        int rc = plait_join(w, &end, plait_seconds(T_PATIENCE_S));
        CHECK_RC(rc, method == PLAIT_SPAWN ? PLAIT_DIED : 0);
        CHECK_EQ(end.status, method == PLAIT_SPAWN ? 125 : 7);
        CHECK_EQ(end.signal, 0);
        expect_same(&before);
    }
    return 0;
}

static int without_memory_for_a_stack_it_is_enomem(void *unused)
{
    (void)unused;
    if (t_is_sanitized())
        return PROGRAM_SKIPPED;
    begin_with_all();
    limit(RLIMIT_AS, 1 << 20);
    int zygote = try_start(PLAIT_ZYGOTE), spawn = try_start(PLAIT_SPAWN);
    lift_limit(RLIMIT_AS);
    CHECK_RC(zygote, PLAIT_ENOMEM);
    CHECK_RC(spawn, PLAIT_ENOMEM);
    expect_of_all(0, 0, 0);
    return 0;
}

static int raise_quit(void *unused)
{
    (void)unused;
    raise(SIGQUIT);
    return 0;
}

static int without_cores_the_signal_is_told_and_no_core(void *unused)
{
    (void)unused;
    limit(RLIMIT_CORE, 0);
    FOR_EACH_METHOD(method)
    {
        plait_blame end;
        CHECK_RC(plait_join(start_by(method, raise_quit, NULL), &end, plait_seconds(T_PATIENCE_S)),
                 PLAIT_DIED);
        CHECK_EQ(end.signal, SIGQUIT);
        CHECK(!end.core_dumped);
    }
    CHECK_RC(plait_zygote_stop(), 0);
    return 0;
}

/* --- a control group that holds no more --- */

static bool write_text(const char *folder, const char *name, const char *text)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));
    if (fd >= 0)
        close(fd);
    return n == (ssize_t)strlen(text);
}

/* Makes a group for one process. Where; NULL: that cannot be done here. */
static const char *make_group(char *ret, size_t size)
{
    static const char *const roots[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified",
                                        "/sys/fs/cgroup/pids"};
    for (size_t i = 0; i < sizeof roots / sizeof roots[0]; i++) {
        snprintf(ret, size, "%s/plait-test-%d", roots[i], (int)getpid());
        if (mkdir(ret, 0755) != 0)
            continue;
        if (write_text(ret, "pids.max", "1"))
            return roots[i];
        rmdir(ret);
    }
    return NULL;
}

static int a_full_control_group_is_eagain(void *unused)
{
    (void)unused;
    char group[200];
    if (t_is_sanitized()) /* with threads of their own */
        return PROGRAM_SKIPPED;
    begin_with_all();
    const char *root = make_group(group, sizeof group);
    if (!root)
        return PROGRAM_SKIPPED;
    if (!write_text(group, "cgroup.procs", "0")) {
        rmdir(group);
        return PROGRAM_SKIPPED;
    }
    expect_of_all(PLAIT_EAGAIN, PLAIT_EAGAIN, PLAIT_EAGAIN);
    CHECK(write_text(group, "pids.max", "2")); /* the zygote, and no other */
    expect_of_all(0, PLAIT_EAGAIN, 0);
    CHECK(write_text(group, "pids.max", "3"));
    expect_of_all(0, 0, 0);
    CHECK(write_text(root, "cgroup.procs", "0"));
    CHECK_EQ(rmdir(group), 0);
    return 0;
}

/* --- the program's file --- */

static char copy_path[300];

static void copy_program(void)
{
    char buffer[65536];
    snprintf(copy_path, sizeof copy_path, "%s.copy.%d", executable, (int)getpid());
    int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int to = open(copy_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    CHECK(from >= 0 && to >= 0);
    for (ssize_t n; (n = read(from, buffer, sizeof buffer)) > 0;)
        CHECK_EQ(write(to, buffer, (size_t)n), n);
    close(from);
    close(to);
}

static int exec_copy(const char *how)
{
    copy_program();
    execl(copy_path, copy_path, how, (char *)NULL);
    unlink(copy_path);
    return 99;
}

static int a_deleted_program_is_still_the_program(void *unused)
{
    (void)unused;
    return exec_copy("--deleted");
}

static int a_replaced_program_goes_on_with_the_old_build(void *unused)
{
    (void)unused;
    return exec_copy("--replaced");
}

static int a_program_that_may_not_be_executed_is_eacces(void *unused)
{
    (void)unused;
    return exec_copy("--forbidden");
}

static int a_program_on_a_file_system_without_programs_is_eacces(void *unused)
{
    (void)unused;
    if (unshare(CLONE_NEWNS) != 0)
        return PROGRAM_SKIPPED;
    return exec_copy("--noexec");
}

static void run_deleted(void)
{
    CHECK_EQ(unlink(copy_path), 0);
    expect_of_all(0, 0, 0);
}

/* What stands there now is no program at all: who executed it by its name would see. */
static void run_replaced(void)
{
    char other[320];
    snprintf(other, sizeof other, "%s.new", copy_path);
    int fd = open(other, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, "#!/bin/false\n", 13), 13);
    close(fd);
    CHECK_EQ(rename(other, copy_path), 0);
    expect_of_all(0, 0, 0);
    CHECK_EQ(unlink(copy_path), 0);
}

/* A zygote that is there needs the file no more. */
static void run_forbidden(void)
{
    CHECK_RC(try_start(PLAIT_ZYGOTE), 0);
    CHECK_EQ(chmod(copy_path, 0644), 0);
    CHECK_RC(try_start(PLAIT_ZYGOTE), 0);
    expect_of_all(0, PLAIT_EACCES, PLAIT_EACCES);
    CHECK_EQ(chmod(copy_path, 0755), 0);
    expect_of_all(0, 0, 0);
    CHECK_EQ(unlink(copy_path), 0);
}

static int remount_and_run(char *folder)
{
    bool mounted = mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                   mount(folder, folder, NULL, MS_BIND, NULL) == 0;
    if (!mounted)
        return PROGRAM_SKIPPED;
    execl(copy_path, copy_path, "--noexec-mounted", (char *)NULL);
    return 99;
}

static int run_noexec_mounted(char *folder)
{
    CHECK_RC(try_start(PLAIT_ZYGOTE), 0);
    if (mount(NULL, folder, NULL, MS_BIND | MS_REMOUNT | MS_NOEXEC, NULL) != 0)
        return PROGRAM_SKIPPED;
    CHECK_RC(try_start(PLAIT_ZYGOTE), 0);
    expect_of_all(0, PLAIT_EACCES, PLAIT_EACCES);
    return 0;
}

/* --- no /proc, no /dev/shm --- */

static int without_proc_it_is_enotsup_but_for_fork(void *unused)
{
    (void)unused;
    char folder[] = "/tmp/plait-root-XXXXXX";
    begin_with_all();
    CHECK(mkdtemp(folder) != NULL);
    int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    bool able = chroot(folder) == 0 && chdir("/") == 0;
    /* The harness counts descriptors in /proc, so that is left out here. */
    int rc[3][3];
    for (int round = 0; able && round < 3; round++)
        FOR_EACH_METHOD(method)
    rc[round][method - PLAIT_FORK] = try_start(method);
    CHECK_EQ(fchdir(root), 0);
    CHECK_EQ(chroot("."), able ? 0 : -1);
    close(root);
    rmdir(folder);
    if (!able)
        return PROGRAM_SKIPPED;
    for (int round = 0; round < 3; round++) {
        CHECK_RC(rc[round][0], 0);
        CHECK_RC(rc[round][1], PLAIT_ENOTSUP);
        CHECK_RC(rc[round][2], PLAIT_ENOTSUP);
    }
    CHECK_RC(plait_zygote_stop(), 0);
    CHECK(!t_has_children());
    expect_of_all(0, 0, 0);
    return 0;
}

static int a_full_dev_shm_is_in_nobodys_way(void *unused)
{
    (void)unused;
    char page[4096] = "";
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", "/dev/shm", "tmpfs", 0, "size=4096") != 0)
        return PROGRAM_SKIPPED;
    int fd = open("/dev/shm/full", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    while (write(fd, page, sizeof page) > 0)
        continue;
    CHECK_EQ(errno, ENOSPC);
    close(fd);
    begin_with_all();
    expect_of_all(0, 0, 0);
    return 0;
}

/* --- system calls that are refused --- */

/* A call; if `mask` is not 0, only with an argument whose lower half has these bits. */
struct refusal {
    int call;
    int argument;
    uint32_t mask, value;
};

/* From now on such a call answers `error` in this process and those it forks and executes. */
static bool refuse(const struct refusal *r, int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)r->call, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)(offsetof(struct seccomp_data, args) +
                                                      (size_t)r->argument * sizeof(uint64_t))),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, r->mask),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, r->value, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

#define ANY(call) (&(struct refusal){(call), 0, 0, 0})
#define WITH(call, argument, bits) (&(struct refusal){(call), (argument), (bits), (bits)})
#define IS(call, argument, is) (&(struct refusal){(call), (argument), UINT32_MAX, (is)})

/* One that works all the same, whichever way it is refused. */
static int works_without(const struct refusal *refused)
{
    begin_with_all();
    if (!refuse(refused, ENOSYS))
        return PROGRAM_SKIPPED;
    expect_of_all(0, 0, 0);
    if (!refuse(refused, EPERM)) /* of two filters that refuse the later one's error counts */
        return PROGRAM_SKIPPED;
    expect_of_all(0, 0, 0);
    return 0;
}

#define WORKS_WITHOUT(name, refused)                                                               \
    static int name(void *unused)                                                                  \
    {                                                                                              \
        (void)unused;                                                                              \
        return works_without(refused);                                                             \
    }

WORKS_WITHOUT(all_work_without_clone3, ANY(SYS_clone3))
WORKS_WITHOUT(all_work_without_clones_that_share_memory, WITH(SYS_clone, 0, CLONE_VM | CLONE_VFORK))
WORKS_WITHOUT(all_work_without_siblings, WITH(SYS_clone, 0, CLONE_PARENT))
WORKS_WITHOUT(all_work_without_pidfd_open, ANY(SYS_pidfd_open))
WORKS_WITHOUT(all_work_without_pidfd_send_signal, ANY(SYS_pidfd_send_signal))
WORKS_WITHOUT(all_work_without_close_range, ANY(SYS_close_range))
WORKS_WITHOUT(all_work_without_get_robust_list, ANY(SYS_get_robust_list))
WORKS_WITHOUT(all_work_without_set_robust_list, ANY(SYS_set_robust_list))
WORKS_WITHOUT(all_work_without_the_place_of_the_thread_id, IS(SYS_prctl, 0, PR_GET_TID_ADDRESS))
WORKS_WITHOUT(all_work_without_names, IS(SYS_prctl, 0, PR_SET_NAME))
WORKS_WITHOUT(all_work_without_ties_to_threads, IS(SYS_prctl, 0, PR_SET_PDEATHSIG))

static int count_files(void *unused)
{
    (void)unused;
    return t_open_files();
}

/* What is not meant for a clean process is closed one by one then. */
static int without_close_range_descriptors_are_closed_all_the_same(void *unused)
{
    (void)unused;
    if (!refuse(ANY(SYS_close_range), ENOSYS))
        return PROGRAM_SKIPPED;
    for (int i = 0; i < 20; i++)
        CHECK(dup(2) >= 0); /* not close-on-exec */
    FOR_EACH_CLEAN_METHOD(method)
    {
        int files = t_join_one(start_by(method, count_files, NULL));
        CHECK(files > 2 && files < 14);
    }
    CHECK_RC(plait_zygote_stop(), 0);
    return 0;
}

/* One that is told. */
static int is_told(const struct refusal *refused, int error, int fork, int zygote, int spawn)
{
    begin_with_all();
    if (!refuse(refused, error))
        return PROGRAM_SKIPPED;
    expect_of_all(fork, zygote, spawn);
    if (t_is_sanitized()) /* the search for leaks at exit makes a clone */
        _exit(0);
    return 0;
}

#define IS_TOLD(name, refused, error, fork, zygote, spawn)                                         \
    static int name(void *unused)                                                                  \
    {                                                                                              \
        (void)unused;                                                                              \
        return is_told((refused), (error), (fork), (zygote), (spawn));                             \
    }

IS_TOLD(without_clone_it_is_eagain, ANY(SYS_clone), EAGAIN, PLAIT_EAGAIN, PLAIT_EAGAIN,
        PLAIT_EAGAIN)
IS_TOLD(with_clone_forbidden_it_is_eagain, ANY(SYS_clone), EPERM, PLAIT_EAGAIN, PLAIT_EAGAIN,
        PLAIT_EAGAIN)
IS_TOLD(without_memory_for_a_clone_it_is_enomem, ANY(SYS_clone), ENOMEM, PLAIT_ENOMEM, PLAIT_ENOMEM,
        PLAIT_ENOMEM)
IS_TOLD(without_execve_it_is_eperm, ANY(SYS_execve), EPERM, 0, PLAIT_EPERM, PLAIT_EPERM)
IS_TOLD(without_sendmsg_it_is_eagain, ANY(SYS_sendmsg), EPERM, 0, PLAIT_EAGAIN, 0)
IS_TOLD(without_recvmsg_it_is_eagain, ANY(SYS_recvmsg), EPERM, 0, PLAIT_EAGAIN, 0)
IS_TOLD(a_full_table_of_the_systems_files_is_emfile, ANY(SYS_socketpair), ENFILE, 0, PLAIT_EMFILE,
        0)
IS_TOLD(without_memory_for_a_socket_it_is_enomem, ANY(SYS_socketpair), ENOBUFS, 0, PLAIT_ENOMEM, 0)

/* Where the zygote's grandchildren cannot be adopted, and siblings cannot be made. */
static int without_siblings_and_adoption_it_is_enotsup(void *unused)
{
    (void)unused;
    begin_with_all();
    if (!refuse(IS(SYS_prctl, 0, PR_SET_CHILD_SUBREAPER), EPERM) ||
        !refuse(IS(SYS_prctl, 0, PR_GET_TID_ADDRESS), EPERM))
        return PROGRAM_SKIPPED;
    expect_of_all(0, PLAIT_ENOTSUP, 0);
    return 0;
}

/* The new process cannot map the arena: a zygote says so as it begins, a spawned process when it has been started. */
static int without_shared_mappings_it_is_earena_or_125(void *unused)
{
    (void)unused;
    if (t_is_sanitized()) /* they share memory themselves */
        return PROGRAM_SKIPPED;
    begin_with_all();
    struct leftovers before = count_leftovers();
    if (!refuse(WITH(SYS_mmap, 3, MAP_SHARED), EPERM))
        return PROGRAM_SKIPPED;
    expect(PLAIT_FORK, 0);
    expect(PLAIT_ZYGOTE, PLAIT_EARENA);
    for (int i = 0; i < 3; i++) {
        plait_blame end;
        plait_worker w = start_by(PLAIT_SPAWN, count_files, NULL);
        CHECK_RC(plait_join(w, &end, plait_seconds(T_PATIENCE_S)), PLAIT_DIED);
        CHECK_EQ(end.status, 125);
        CHECK_EQ(end.signal, 0);
    }
    expect_same(&before);
    return 0;
}

static int without_memory_files_there_is_no_arena_or_another_one(void *unused)
{
    (void)unused;
    if (!refuse(ANY(SYS_memfd_create), ENOSYS))
        return PROGRAM_SKIPPED;
    int rc = plait_init(NULL, NULL);
    CHECK(rc == 0 || rc == PLAIT_EARENA);
    if (rc == 0)
        expect_of_all(0, 0, 0);
    else
        FOR_EACH_METHOD(method)
    CHECK_RC(try_start(method), PLAIT_EARENA);
    return 0;
}

static int once_made_the_arena_needs_no_memory_files(void *unused)
{
    (void)unused;
    begin_with_all();
    if (!refuse(ANY(SYS_memfd_create), EPERM))
        return PROGRAM_SKIPPED;
    expect_of_all(0, 0, 0);
    return 0;
}

/* --- others who collect children --- */

static int raise_it(void *signal)
{
    raise(*(int *)signal);
    return 9;
}

/* A value is known whoever collects the process, for it says so itself; a signal only to who collects it. */
static void expect_ends(bool collected)
{
    int *signal = plait_alloc(sizeof *signal);
    *signal = SIGTERM;
    FOR_EACH_METHOD(method)
    for (int i = 0; i < 5; i++) {
        plait_blame end;
        CHECK_RC(try_start(method), 0);
        plait_worker w = start_by(method, raise_it, signal);
        UNTIL(has_ended(plait_pid(w)));
        if (collected)
            UNTIL(kill(plait_pid(w), 0) < 0);
        CHECK_RC(plait_join(w, &end, plait_seconds(T_PATIENCE_S)), PLAIT_DIED);
        CHECK_EQ(end.status, collected ? -1 : -SIGTERM);
        CHECK_EQ(end.signal, collected ? 0 : SIGTERM);
        CHECK_RC(plait_join(w, NULL, PLAIT_NOWAIT), PLAIT_ESTALE);
    }
    plait_free(signal);
    CHECK_RC(plait_zygote_stop(), 0);
    CHECK(!t_has_children());
    CHECK_EQ(plait_enumerate(NULL, 0), 1);
}

static void collect_all(int signal)
{
    (void)signal;
    int saved = errno;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        continue;
    errno = saved;
}

static int with_sigchld_ignored_values_are_known_and_signals_are_not(void *unused)
{
    (void)unused;
    signal(SIGCHLD, SIG_IGN);
    expect_ends(true);
    return 0;
}

static int with_children_not_kept_values_are_known_and_signals_are_not(void *unused)
{
    (void)unused;
    struct sigaction none = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
    CHECK_EQ(sigaction(SIGCHLD, &none, NULL), 0);
    expect_ends(true);
    return 0;
}

static int with_a_handler_that_collects_values_are_known_and_signals_are_not(void *unused)
{
    (void)unused;
    struct sigaction all = {.sa_handler = collect_all, .sa_flags = SA_RESTART};
    CHECK_EQ(sigaction(SIGCHLD, &all, NULL), 0);
    expect_ends(true);
    return 0;
}

static void look_only(int signal)
{
    (void)signal;
}

static int a_handler_that_does_not_collect_changes_nothing(void *unused)
{
    (void)unused;
    struct sigaction look = {.sa_handler = look_only, .sa_flags = 0};
    CHECK_EQ(sigaction(SIGCHLD, &look, NULL), 0);
    expect_ends(false);
    return 0;
}

/* --- */

static char *folder_of(char *path)
{
    static char folder[300];
    snprintf(folder, sizeof folder, "%s", path);
    char *end = strrchr(folder, '/');
    CHECK(end != NULL);
    *end = 0;
    return folder;
}

/* As the copy. */
static int in_another_role(const char *how)
{
    snprintf(copy_path, sizeof copy_path, "%s", executable);
    if (strcmp(how, "--noexec") == 0) {
        int rc = remount_and_run(folder_of(copy_path));
        unlink(copy_path);
        return rc;
    }
    begin_with_all();
    if (strcmp(how, "--deleted") == 0)
        run_deleted();
    if (strcmp(how, "--replaced") == 0)
        run_replaced();
    if (strcmp(how, "--forbidden") == 0)
        run_forbidden();
    if (strcmp(how, "--noexec-mounted") != 0)
        return 0;
    int rc = run_noexec_mounted(folder_of(copy_path));
    unlink(copy_path);
    return rc;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        PROGRAM(the_limit_on_processes_is_eagain),
        PROGRAM(a_zygote_that_may_not_fork_says_so),
        PROGRAM(with_few_descriptors_left_it_works_or_is_emfile),
        PROGRAM(a_process_is_never_begun_in_another_directory),
        PROGRAM(a_small_table_of_descriptors_is_enough),
        PROGRAM(files_may_be_limited_to_nothing_once_there_is_an_arena),
        PROGRAM(a_small_arena_is_found_by_all),
        PROGRAM(without_room_for_the_arena_a_spawned_process_ends_with_125),
        PROGRAM(without_memory_for_a_stack_it_is_enomem),
        PROGRAM(without_cores_the_signal_is_told_and_no_core),
        PROGRAM(a_full_control_group_is_eagain),
        PROGRAM(a_deleted_program_is_still_the_program),
        PROGRAM(a_replaced_program_goes_on_with_the_old_build),
        PROGRAM(a_program_that_may_not_be_executed_is_eacces),
        PROGRAM(a_program_on_a_file_system_without_programs_is_eacces),
        PROGRAM(without_proc_it_is_enotsup_but_for_fork),
        PROGRAM(a_full_dev_shm_is_in_nobodys_way),
        PROGRAM(all_work_without_clone3),
        PROGRAM(all_work_without_clones_that_share_memory),
        PROGRAM(all_work_without_siblings),
        PROGRAM(all_work_without_pidfd_open),
        PROGRAM(all_work_without_pidfd_send_signal),
        PROGRAM(all_work_without_close_range),
        PROGRAM(without_close_range_descriptors_are_closed_all_the_same),
        PROGRAM(all_work_without_get_robust_list),
        PROGRAM(all_work_without_set_robust_list),
        PROGRAM(all_work_without_the_place_of_the_thread_id),
        PROGRAM(all_work_without_names),
        PROGRAM(all_work_without_ties_to_threads),
        PROGRAM(without_clone_it_is_eagain),
        PROGRAM(with_clone_forbidden_it_is_eagain),
        PROGRAM(without_memory_for_a_clone_it_is_enomem),
        PROGRAM(without_execve_it_is_eperm),
        PROGRAM(without_sendmsg_it_is_eagain),
        PROGRAM(without_recvmsg_it_is_eagain),
        PROGRAM(a_full_table_of_the_systems_files_is_emfile),
        PROGRAM(without_memory_for_a_socket_it_is_enomem),
        PROGRAM(without_siblings_and_adoption_it_is_enotsup),
        PROGRAM(without_shared_mappings_it_is_earena_or_125),
        PROGRAM(without_memory_files_there_is_no_arena_or_another_one),
        PROGRAM(once_made_the_arena_needs_no_memory_files),
        PROGRAM(with_sigchld_ignored_values_are_known_and_signals_are_not),
        PROGRAM(with_children_not_kept_values_are_known_and_signals_are_not),
        PROGRAM(with_a_handler_that_collects_values_are_known_and_signals_are_not),
        PROGRAM(a_handler_that_does_not_collect_changes_nothing),
    };
    executable = argv[0];
    BEGIN_METHODS(argc, argv);
    if (argc > 1 && strncmp(argv[1], "--", 2) == 0)
        return in_another_role(argv[1]);
    t_arguments(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
