/* Processes made by fork, zygote and spawn: what each has, what it does not, and what a death leaves. */
#include "program.h"

#include "registry/registry.h"
#include "worker/begin.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FOR_EACH_METHOD(m) for (int m = PLAIT_FORK; m <= PLAIT_SPAWN; m++)
#define FOR_EACH_CLEAN_METHOD(m) for (int m = PLAIT_ZYGOTE; m <= PLAIT_SPAWN; m++)

static int the_programs_own = 1; /* set to 2 in the program, before anything is started */
static int preloaded;
static char *executable;

static int give_back(void *n)
{
    return (int)(intptr_t)n;
}

static plait_worker begin(int method, plait_function *fn, void *arg)
{
    plait_worker w;
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, fn, arg, &(plait_options){.start_method = method}), 0);
    return w;
}

static int run(int method, plait_function *fn, void *arg)
{
    return t_join_one(begin(method, fn, arg));
}

/* The zygote of this process, -1: none. It is a child that is no worker. */
static pid_t find_zygote(void)
{
    char path[64], text[64] = "", name[32];
    DIR *folder = opendir("/proc");
    pid_t found = -1;
    CHECK(folder != NULL);
    for (struct dirent *entry; (entry = readdir(folder));) {
        int pid = atoi(entry->d_name), parent = 0;
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        FILE *file = pid > 0 ? fopen(path, "re") : NULL;
        if (!file)
            continue;
        if (fgets(text, sizeof text, file) &&
            sscanf(text, "%*d (%31[^)]) %*c %d", name, &parent) == 2 && parent == getpid() &&
            strcmp(name, "plait-zygote") == 0)
            found = pid;
        fclose(file);
    }
    closedir(folder);
    return found;
}

/* --- what a process has --- */

struct seen {
    int pid, parent, own, argument;
    int blocked, ignored, handled;
    int files;
    char cwd[200];
};

static void handle(int signal)
{
    (void)signal;
}

static int look_around(void *arg)
{
    struct seen *s = arg;
    sigset_t mask;
    struct sigaction hup, usr1;
    s->pid = getpid();
    s->parent = getppid();
    s->own = the_programs_own;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    s->blocked = sigismember(&mask, SIGTERM);
    sigaction(SIGPIPE, NULL, &hup);
    sigaction(SIGUSR1, NULL, &usr1);
    s->ignored = hup.sa_handler == SIG_IGN;
    s->handled = usr1.sa_handler != SIG_DFL;
    s->files = t_open_files();
    CHECK(getcwd(s->cwd, sizeof s->cwd));
    return 7;
}

static int each_runs_as_a_child_of_its_starter(void *unused)
{
    (void)unused;
    the_programs_own = 2;
    FOR_EACH_METHOD(m)
    {
        struct seen *s = plait_alloc(sizeof *s);
        plait_blame blame;
        plait_worker w = begin(m, look_around, s);
        CHECK_EQ(plait_pid(w) > 0, 1);
        CHECK_RC(plait_join(w, &blame, PLAIT_FOREVER), 0);
        CHECK_EQ(blame.status, 7);
        CHECK_EQ(s->parent, getpid());
        CHECK_EQ(s->pid, blame.pid);
        CHECK_EQ(s->own, m == PLAIT_FORK ? 2 : 1); /* private memory is the program's as it began */
        plait_free(s);
    }
    return 0;
}

static int the_clean_ones_have_no_signals_and_no_files_of_the_program(void *unused)
{
    (void)unused;
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGUSR1, handle);
    for (int i = 0; i < 20; i++)
        CHECK(dup(0) >= 0); /* not close-on-exec */
    FOR_EACH_CLEAN_METHOD(m)
    {
        struct seen *s = plait_alloc(sizeof *s);
        CHECK_EQ(run(m, look_around, s), 7);
        CHECK_EQ(s->blocked, 0);
        CHECK_EQ(s->ignored, 0);
        CHECK_EQ(s->handled, 0);
        CHECK(s->files < 14);
        plait_free(s);
    }
    return 0;
}

static int the_working_directory_is_that_of_the_moment(void *unused)
{
    (void)unused;
    const char *const places[] = {"/", "/proc", "/usr"};
    struct seen *s = plait_alloc(sizeof *s);
    for (size_t i = 0; i < 3; i++) {
        CHECK_EQ(chdir(places[i]), 0);
        FOR_EACH_METHOD(m)
        {
            CHECK_EQ(run(m, look_around, s), 7);
            CHECK(strcmp(s->cwd, places[i]) == 0);
        }
    }
    return 0;
}

static int print_hello(void *unused)
{
    (void)unused;
    printf("hello\n");
    return 0;
}

static int the_streams_are_those_of_the_moment(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(m)
    {
        for (int i = 0; i < 2; i++) {
            char text[20] = "";
            int ends[2];
            CHECK_EQ(pipe(ends), 0);
            fflush(stdout);
            int kept = dup(1);
            dup2(ends[1], 1);
            CHECK_EQ(run(m, print_hello, NULL), 0);
            dup2(kept, 1);
            close(kept);
            close(ends[1]);
            CHECK_EQ(read(ends[0], text, sizeof text - 1), 6);
            CHECK(strcmp(text, "hello\n") == 0);
            close(ends[0]);
        }
    }
    return 0;
}

static int say_whether_open(void *fd)
{
    return fcntl((int)(intptr_t)fd, F_GETFD) >= 0;
}

static int a_closed_stream_is_closed_there_too(void *unused)
{
    (void)unused;
    CHECK_EQ(run(PLAIT_ZYGOTE, say_whether_open, NULL), 1);
    close(0);
    CHECK_EQ(run(PLAIT_ZYGOTE, say_whether_open, NULL), 0);
    CHECK_EQ(run(PLAIT_FORK, say_whether_open, NULL), 0);
    return 0;
}

/* --- descriptors --- */

struct handed {
    int n;
    int fds[64];
    ino_t inodes[64];
};

static int compare_inodes(void *arg)
{
    const struct handed *h = arg;
    struct stat st;
    for (int i = 0; i < h->n; i++) {
        CHECK_EQ(fstat(h->fds[i], &st), 0);
        CHECK_EQ(st.st_ino, h->inodes[i]);
    }
    return 0;
}

static void add_pipe(struct handed *h, int number)
{
    int ends[2];
    struct stat st;
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    close(ends[1]);
    int fd = number < 0 ? ends[0] : dup3(ends[0], number, O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(fstat(fd, &st), 0);
    h->fds[h->n] = fd;
    h->inodes[h->n++] = st.st_ino;
}

static int descriptors_are_handed_over_under_their_numbers(void *unused)
{
    (void)unused;
    struct handed *h = plait_alloc(sizeof *h);
    for (int i = 0; i < 20; i++)
        add_pipe(h, -1);
    add_pipe(h, 200);
    add_pipe(h, 512);
    add_pipe(h, 513);
    add_pipe(h, 514);
    add_pipe(h, 515);
    add_pipe(h, 1000);
    FOR_EACH_METHOD(m)
    {
        for (int i = 0; i < 3; i++) {
            plait_worker w;
            CHECK_RC(plait_start(
                         &w, PLAIT_PROCESS, compare_inodes, h,
                         &(plait_options){.start_method = m, .fds = h->fds, .n_fds = (size_t)h->n}),
                     0);
            CHECK_EQ(t_join_one(w), 0);
            int keep = h->fds[0]; /* in another order the next time */
            h->fds[0] = h->fds[h->n - 1];
            h->fds[h->n - 1] = keep;
            ino_t inode = h->inodes[0];
            h->inodes[0] = h->inodes[h->n - 1];
            h->inodes[h->n - 1] = inode;
        }
    }
    return 0;
}

static void hand_over(int method, struct handed *h, int expected)
{
    plait_worker w;
    plait_options o = {.start_method = method, .fds = h->fds, .n_fds = (size_t)h->n};
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, compare_inodes, h, &o), expected);
    if (expected == 0)
        CHECK_EQ(t_join_one(w), 0);
}

static void limit_descriptors(rlim_t most)
{
    struct rlimit limit;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = most;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static int descriptors_up_to_the_limit_are_handed_over(void *unused)
{
    (void)unused;
    struct handed *h = plait_alloc(sizeof *h);
    limit_descriptors(100);
    for (int fd = 44; fd < 60; fd++) /* where a zygote has its own */
        add_pipe(h, fd);
    add_pipe(h, 3 + t_open_files());
    add_pipe(h, 98);
    FOR_EACH_METHOD(m)
    hand_over(m, h, 0);
    add_pipe(h, 99);
    hand_over(PLAIT_ZYGOTE, h, 0);
    hand_over(PLAIT_SPAWN, h, PLAIT_EMFILE); /* which needs a number above */
    limit_descriptors(200);                  /* of which the zygote does not know */
    add_pipe(h, 150);
    hand_over(PLAIT_FORK, h, 0);
    hand_over(PLAIT_SPAWN, h, 0);
    hand_over(PLAIT_ZYGOTE, h, PLAIT_EMFILE);
    CHECK_RC(plait_zygote_stop(), 0);
    hand_over(PLAIT_ZYGOTE, h, 0);
    return 0;
}

static int descriptors_that_cannot_be_handed_over_are_refused(void *unused)
{
    (void)unused;
    plait_worker w = {12, 34};
    const int closed[] = {999}, negative[] = {-1}, twice[] = {5, 5};
    int many[300];
    for (int i = 0; i < 300; i++)
        many[i] = i;
    dup2(0, 5);
    FOR_EACH_CLEAN_METHOD(m)
    {
        int before = t_open_files();
        plait_options o = {.start_method = m, .fds = closed, .n_fds = 1};
        CHECK_RC(plait_start(&w, PLAIT_PROCESS, give_back, NULL, &o), PLAIT_EBADF);
        o.fds = negative;
        CHECK_RC(plait_start(&w, PLAIT_PROCESS, give_back, NULL, &o), PLAIT_EBADF);
        o = (plait_options){.start_method = m, .fds = twice, .n_fds = 2};
        CHECK_RC(plait_start(&w, PLAIT_PROCESS, give_back, NULL, &o), PLAIT_EINVAL);
        o = (plait_options){.start_method = m, .fds = many, .n_fds = 300};
        CHECK_RC(plait_start(&w, PLAIT_PROCESS, give_back, NULL, &o), PLAIT_EOVERFLOW);
        o = (plait_options){.start_method = m, .n_fds = 1};
        CHECK_RC(plait_start(&w, PLAIT_PROCESS, give_back, NULL, &o), PLAIT_EINVAL);
        CHECK(w.slot == 12 && w.generation == 34);
        CHECK(t_open_files() <= before + 3); /* the zygote's may have come */
        CHECK_EQ(run(m, give_back, NULL), 0);
    }
    return 0;
}

/* --- arguments and functions --- */

struct big {
    int n[100];
};

static int sum_up(void *arg)
{
    const struct big *b = arg;
    int sum = 0;
    for (int i = 0; i < 100; i++)
        sum += b->n[i];
    return sum;
}

static int arguments_are_copied_and_freed(void *unused)
{
    (void)unused;
    struct big b;
    plait_arena_statistics before, after;
    for (int i = 0; i < 100; i++)
        b.n[i] = i;
    FOR_EACH_METHOD(m)
    {
        plait_worker w;
        plait_options o = {.start_method = m, .arg_size = sizeof b};
        CHECK_EQ(run(m, give_back, NULL), 0); /* what is needed once */
        CHECK_RC(plait_arena_stats(&before), 0);
        for (int i = 0; i < 20; i++) {
            CHECK_RC(plait_start(&w, PLAIT_PROCESS, sum_up, &b, &o), 0);
            CHECK_EQ(t_join_one(w), 4950);
        }
        CHECK_RC(plait_arena_stats(&after), 0);
        CHECK_EQ(after.blocks, before.blocks);
    }
    return 0;
}

static int private_arguments_are_refused(void *unused)
{
    (void)unused;
    plait_worker w;
    struct big b;
    FOR_EACH_CLEAN_METHOD(m)
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, sum_up, &b, &(plait_options){.start_method = m}),
             PLAIT_EPRIVATE);
    return 0;
}

static int functions_of_libraries_are_found(void *unused)
{
    (void)unused;
    int *result = plait_alloc(sizeof *result);
    CHECK_EQ(run(PLAIT_ZYGOTE, give_back, NULL), 0); /* there is a zygote without the library */
    void *library = dlopen(getenv("PLAIT_TEST_LIBRARY"), RTLD_NOW);
    CHECK(library != NULL);
    plait_function *fn = (plait_function *)(uintptr_t)dlsym(library, "library_function");
    CHECK(fn != NULL);
    FOR_EACH_METHOD(m)
    {
        *result = 0;
        CHECK_EQ(run(m, fn, result), 11);
        CHECK_EQ(*result, 4711);
    }
    return 0;
}

static int a_library_that_is_gone_is_told(void *unused)
{
    (void)unused;
    char path[] = "/tmp/plait-test-library-XXXXXX", command[600];
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    snprintf(command, sizeof command, "cp %s %s", getenv("PLAIT_TEST_LIBRARY"), path);
    CHECK_EQ(system(command), 0);
    CHECK_EQ(run(PLAIT_ZYGOTE, give_back, NULL), 0);
    void *library = dlopen(path, RTLD_NOW);
    CHECK(library != NULL);
    unlink(path);
    plait_function *fn = (plait_function *)(uintptr_t)dlsym(library, "library_function");
    FOR_EACH_CLEAN_METHOD(m)
    {
        plait_blame blame;
        int *result = plait_alloc(sizeof *result);
        plait_worker w = begin(m, fn, result);
        CHECK_RC(plait_join(w, &blame, PLAIT_FOREVER), PLAIT_DIED);
        CHECK_RC(blame.status, PLAIT_EMODULE);
        CHECK_EQ(blame.returned, false);
        CHECK_EQ(*result, 0);
    }
    return 0;
}

static int code_made_at_run_time_is_refused(void *unused)
{
    (void)unused;
    plait_worker w;
    void *page = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    plait_function *fn = (plait_function *)(uintptr_t)page;
    FOR_EACH_CLEAN_METHOD(m)
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, fn, NULL, &(plait_options){.start_method = m}),
             PLAIT_EMODULE);
    return 0;
}

/* --- generations --- */

struct generations {
    int left, method, deepest;
};

static int begin_the_next(void *arg)
{
    struct generations *g = arg;
    CHECK_EQ(plait_get_start_method(), g->method); /* goes from process to process */
    if (ADD(g->left, -1) == 0) {
        g->deepest = getpid();
        return 5;
    }
    plait_worker w;
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, begin_the_next, g, NULL), 0);
    return t_join_one(w);
}

static int processes_start_processes(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(m)
    {
        struct generations *g = plait_alloc(sizeof *g);
        *g = (struct generations){.left = 4, .method = m};
        CHECK_RC(plait_set_start_method(m), 0);
        CHECK_EQ(run(PLAIT_START_DEFAULT, begin_the_next, g), 5);
        CHECK_EQ(g->left, 0);
    }
    return 0;
}

static int the_default_can_be_set(void *unused)
{
    (void)unused;
    CHECK_RC(plait_set_start_method(-1), PLAIT_EINVAL);
    CHECK_RC(plait_set_start_method(4), PLAIT_EINVAL);
    CHECK_EQ(plait_get_start_method(), PLAIT_FORK); /* the harness's */
    CHECK_RC(plait_set_start_method(PLAIT_START_DEFAULT), 0);
    CHECK_EQ(plait_get_start_method(), PLAIT_ZYGOTE);
    struct seen *s = plait_alloc(sizeof *s);
    the_programs_own = 2;
    CHECK_EQ(run(PLAIT_START_DEFAULT, look_around, s), 7);
    CHECK_EQ(s->own, 1);
    CHECK(find_zygote() > 0);
    return 0;
}

/* --- the primitives, between processes of different images --- */

struct meeting {
    plait_lock lock;
    plait_barrier barrier;
    plait_semaphore semaphore;
    plait_event event;
    long sum, actions;
};

static int act(void *arg)
{
    struct meeting *m = arg;
    m->actions++;
    return 0;
}

static int meet(void *arg)
{
    struct meeting *m = arg;
    for (int i = 0; i < 1000; i++)
        PLAIT_WITH(&m->lock)
            m->sum++;
    for (int i = 0; i < 5; i++)
        CHECK(plait_barrier_wait(&m->barrier, PLAIT_FOREVER) >= 0);
    CHECK_RC(plait_semaphore_release(&m->semaphore, 1), 0);
    CHECK_RC(plait_event_wait(&m->event, PLAIT_FOREVER), 0);
    return 0;
}

static int all_methods_meet_in_the_same_primitives(void *unused)
{
    (void)unused;
    struct meeting *m = plait_alloc(sizeof *m);
    plait_worker w[6];
    plait_barrier_options o = {.action = act, .arg = m};
    CHECK_RC(plait_barrier_init(&m->barrier, 6, &o), 0);
    for (int i = 0; i < 6; i++)
        w[i] = begin(PLAIT_FORK + i % 3, meet, m);
    for (int i = 0; i < 6; i++)
        CHECK_RC(plait_semaphore_acquire(&m->semaphore, PLAIT_FOREVER), 0);
    CHECK_RC(plait_event_set(&m->event), 0);
    for (int i = 0; i < 6; i++)
        CHECK_EQ(t_join_one(w[i]), 0);
    CHECK_EQ(m->sum, 6000);
    CHECK_EQ(m->actions, 5);
    return 0;
}

static int hold_for_ever(void *arg)
{
    struct meeting *m = arg;
    CHECK_RC(plait_lock_acquire(&m->lock, PLAIT_FOREVER), 0);
    TELL(m->sum, 1);
    t_sleep_for_ever();
}

static int a_killed_holder_is_noticed_at_once(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(m)
    {
        struct meeting *meeting = plait_alloc(sizeof *meeting);
        plait_worker w = begin(m, hold_for_ever, meeting);
        UNTIL(SEEN(meeting->sum) == 1);
        CHECK_RC(plait_kill(w), 0);
        CHECK_RC(plait_lock_acquire(&meeting->lock, plait_seconds(20)), PLAIT_OWNER_DIED);
        CHECK_EQ(t_join_one(w), -SIGKILL);
    }
    return 0;
}

static int square(const void *in, void *out)
{
    int n = *(const int *)in;
    *(int *)out = n * n;
    return 0;
}

static int a_pool_of_clean_processes_maps(void *unused)
{
    (void)unused;
    int in[100], out[100];
    plait_pool *pool;
    plait_pool_options wrong = {.start_method = 4};
    CHECK_RC(plait_pool_open(&pool, PLAIT_PROCESS, 3, &wrong), PLAIT_EINVAL);
    FOR_EACH_METHOD(m)
    {
        plait_pool_options o = {.start_method = m};
        CHECK_RC(plait_pool_open(&pool, PLAIT_PROCESS, 3, &o), 0);
        for (int i = 0; i < 100; i++)
            in[i] = i;
        CHECK_RC(plait_map(pool, square, in, out, 100, PLAIT_FOREVER), 0);
        for (int i = 0; i < 100; i++)
            CHECK_EQ(out[i], i * i);
        CHECK_RC(plait_pool_close(pool, PLAIT_FOREVER), 0);
    }
    return 0;
}

struct library_meeting {
    plait_barrier barrier;
    int ready, actions;
};

static int load_and_meet(void *arg)
{
    struct library_meeting *m = arg;
    void *library = dlopen(getenv("PLAIT_TEST_LIBRARY"), RTLD_NOW);
    CHECK(library != NULL);
    plait_function *fn = (plait_function *)(uintptr_t)dlsym(library, "library_function");
    plait_barrier_options o = {.action = fn, .arg = &m->actions};
    CHECK_RC(plait_barrier_init(&m->barrier, 2, &o), 0);
    TELL(m->ready, 1);
    return plait_barrier_wait(&m->barrier, PLAIT_FOREVER) >= 0 ? 0 : 1;
}

static int meet_last(void *arg)
{
    struct library_meeting *m = arg;
    UNTIL(SEEN(m->ready) == 1 && plait_barrier_waiting(&m->barrier) == 1);
    return plait_barrier_wait(&m->barrier, PLAIT_FOREVER) >= 0 ? 0 : 1;
}

/* Two of one zygote, of which only one has loaded the library. */
static int a_function_of_a_library_loaded_later_is_found_by_siblings(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(m)
    {
        struct library_meeting *meeting = plait_alloc(sizeof *meeting);
        plait_worker first = begin(m, load_and_meet, meeting);
        plait_worker last = begin(m, meet_last, meeting);
        CHECK_EQ(t_join_one(first), 0);
        CHECK_EQ(t_join_one(last), 0);
        CHECK_EQ(meeting->actions, 4711);
    }
    return 0;
}

/* --- the zygote's life --- */

static int stay(void *arg)
{
    COUNT(*(int *)arg);
    t_sleep_for_ever();
}

static int processes_outlive_their_zygote(void *unused)
{
    (void)unused;
    int *n = plait_alloc(sizeof *n);
    plait_worker w = begin(PLAIT_ZYGOTE, stay, n);
    UNTIL(SEEN(*n) == 1);
    for (int i = 0; i < 5; i++) {
        pid_t zygote = find_zygote();
        CHECK(zygote > 0);
        CHECK_EQ(kill(zygote, SIGKILL), 0);
        CHECK_EQ(run(PLAIT_ZYGOTE, give_back, NULL), 0);
        CHECK(find_zygote() != zygote);
        CHECK(plait_is_alive(w));
    }
    t_kill(w);
    return 0;
}

static void *kill_soon(void *pid)
{
    t_sleep(plait_ms(100));
    kill((pid_t)(intptr_t)pid, SIGKILL);
    return NULL;
}

static int a_zygote_that_dies_while_it_is_asked_is_made_anew(void *unused)
{
    (void)unused;
    pthread_t thread;
    CHECK_EQ(run(PLAIT_ZYGOTE, give_back, NULL), 0);
    pid_t zygote = find_zygote();
    CHECK_EQ(kill(zygote, SIGSTOP), 0);
    CHECK_EQ(pthread_create(&thread, NULL, kill_soon, (void *)(intptr_t)zygote), 0);
    CHECK_EQ(run(PLAIT_ZYGOTE, give_back, NULL), 0);
    pthread_join(thread, NULL);
    CHECK(!t_has_children() || find_zygote() > 0);
    return 0;
}

/* The zygote is killed at any moment of many starts: each start either made exactly one process or says why not. */
static void *kill_now_and_then(void *stop)
{
    while (!SEEN(*(int *)stop)) {
        pid_t zygote = find_zygote();
        if (zygote > 0)
            kill(zygote, SIGKILL);
    }
    return NULL;
}

static int count_me(void *n)
{
    COUNT(*(int *)n);
    return 0;
}

static int no_start_is_made_twice_or_lost(void *unused)
{
    (void)unused;
    int *n = plait_alloc(sizeof *n), stop = 0, started = 0, killed = 0;
    pthread_t thread;
    CHECK_EQ(run(PLAIT_ZYGOTE, give_back, NULL), 0);
    CHECK_EQ(pthread_create(&thread, NULL, kill_now_and_then, &stop), 0);
    for (long i = t_rounds(200); i > 0; i--) {
        plait_worker w;
        int rc = plait_start(&w, PLAIT_PROCESS, count_me, n,
                             &(plait_options){.start_method = PLAIT_ZYGOTE});
        CHECK(rc == 0 || rc == PLAIT_EAGAIN || rc == PLAIT_EINIT);
        if (rc < 0)
            continue;
        int status = t_join_one(w);
        CHECK(status == 0 || status == -SIGKILL);
        started += status == 0;
        killed += status != 0; /* one that has just been made is called as its zygote */
    }
    TELL(stop, 1);
    pthread_join(thread, NULL);
    CHECK(*n >= started && *n <= started + killed);
    CHECK(started > 0);
    CHECK_RC(plait_zygote_stop(), 0);
    /* Under TSan zygotes fork twice, and one killed half way leaves a child that nobody knows of; see zygote_ask.c. */
    CHECK(!t_has_children() || t_is_sanitized());
    return 0;
}

static void *start_one_by_zygote(void *unused)
{
    (void)unused;
    plait_worker w;
    plait_start(&w, PLAIT_PROCESS, give_back, NULL,
                &(plait_options){.start_method = PLAIT_ZYGOTE, .daemon = true});
    return NULL;
}

static int a_cancelled_starter_leaves_the_zygote_to_others(void *unused)
{
    (void)unused;
    pthread_t thread;
    CHECK_EQ(run(PLAIT_ZYGOTE, give_back, NULL), 0);
    pid_t zygote = find_zygote();
    CHECK_EQ(kill(zygote, SIGSTOP), 0);
    CHECK_EQ(pthread_create(&thread, NULL, start_one_by_zygote, NULL), 0);
    t_sleep(plait_ms(50)); /* it waits for an answer, most likely; in any case the rest holds */
    pthread_cancel(thread);
    t_sleep(plait_ms(50));
    CHECK_EQ(kill(zygote, SIGCONT), 0);
    pthread_join(thread, NULL);
    CHECK_EQ(run(PLAIT_ZYGOTE, give_back, NULL), 0);
    return run(PLAIT_FORK, give_back, NULL);
}

static int say_environment(void *unused)
{
    (void)unused;
    const char *text = getenv("PLAIT_TEST_WORD");
    return text ? atoi(text) : -1;
}

static int a_stopped_zygote_is_made_with_what_holds_then(void *unused)
{
    (void)unused;
    CHECK_RC(plait_zygote_stop(), 0); /* there is none */
    setenv("PLAIT_TEST_WORD", "1", 1);
    CHECK_EQ(run(PLAIT_ZYGOTE, say_environment, NULL), 1);
    setenv("PLAIT_TEST_WORD", "2", 1);
    CHECK_EQ(run(PLAIT_SPAWN, say_environment, NULL), 2);
    CHECK_RC(plait_zygote_stop(), 0);
    CHECK_EQ(find_zygote(), -1);
    CHECK_EQ(run(PLAIT_ZYGOTE, say_environment, NULL), 2);
    return 0;
}

/* Its processes would have what the program has given up. */
static int a_program_that_has_given_something_up_does_not_get_it_back_from_its_zygote(void *unused)
{
    (void)unused;
    if (geteuid() != 0)
        return PROGRAM_SKIPPED;
    plait_worker w;
    const gid_t group = 12345;
    CHECK_EQ(run(PLAIT_ZYGOTE, give_back, NULL), 0);
    pid_t zygote = find_zygote();
    CHECK_EQ(setgroups(1, &group), 0);
    CHECK_EQ(run(PLAIT_ZYGOTE, give_back, NULL), 0);
    CHECK(find_zygote() != zygote);
    int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    CHECK_EQ(chroot("/usr"), 0);
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, give_back, NULL,
                         &(plait_options){.start_method = PLAIT_ZYGOTE}),
             PLAIT_ENOTSUP); /* there is no /proc below that root */
    CHECK_EQ(run(PLAIT_FORK, give_back, NULL), 0);
    CHECK_EQ(fchdir(root), 0);
    CHECK_EQ(chroot("."), 0);
    return run(PLAIT_ZYGOTE, give_back, NULL);
}

static int say_role(void *unused)
{
    (void)unused;
    return getenv("PLAIT_ROLE") != NULL;
}

static int the_role_is_not_passed_on(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(m)
    CHECK_EQ(run(m, say_role, NULL), 0);
    return 0;
}

/* A program that closes all descriptors, as daemons do, may have its own under our numbers. */
static int no_descriptor_of_another_is_taken_for_the_zygotes(void *unused)
{
    (void)unused;
    char path[40], what[40];
    CHECK_EQ(run(PLAIT_ZYGOTE, give_back, NULL), 0);
    pid_t zygote = find_zygote(), bystander = fork();
    if (bystander == 0)
        t_sleep_for_ever();
    int handle = pl_process_open(bystander);
    CHECK(handle >= 0);
    for (int fd = 3; fd < 64; fd++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(path, what, sizeof what - 1);
        what[n < 0 ? 0 : n] = 0;
        if (fd != handle &&
            (strcmp(what, "anon_inode:[pidfd]") == 0 || strncmp(what, "socket:", 7) == 0))
            CHECK_EQ(dup2(handle, fd), fd);
    }
    int files = t_open_files();
    CHECK_RC(plait_zygote_stop(), 0);
    CHECK_EQ(t_open_files(), files);
    CHECK(!has_ended(bystander));
    CHECK(has_ended(zygote));
    CHECK_EQ(run(PLAIT_ZYGOTE, give_back, NULL), 0);
    kill(bystander, SIGKILL);
    t_reap(bystander);
    return 0;
}

static int terminal_signals_do_not_end_the_zygote(void *unused)
{
    (void)unused;
    signal(SIGINT, SIG_IGN);
    CHECK_EQ(run(PLAIT_ZYGOTE, give_back, NULL), 0);
    pid_t zygote = find_zygote();
    kill(zygote, SIGINT);
    kill(zygote, SIGTERM);
    kill(zygote, SIGTSTP);
    CHECK_EQ(run(PLAIT_ZYGOTE, give_back, NULL), 0);
    CHECK_EQ(find_zygote(), zygote);
    return 0;
}

static int say_preloaded(void *unused)
{
    (void)unused;
    return preloaded;
}

static int preload(void)
{
    if (getenv("PLAIT_TEST_SLOW")) {
        printf("x");
        t_sleep(plait_seconds(4));
    }
    preloaded = 77;
    if (getenv("PLAIT_TEST_KILL"))
        kill(getpid(), SIGKILL);
    const char *text = getenv("PLAIT_TEST_PRELOAD");
    return text ? atoi(text) : 0;
}

/* As some libraries of linear algebra do. */
static int where_constructors_start_threads_spawn_is_the_default(void *unused)
{
    (void)unused;
    plait_worker w;
    plait_options zygote = {.start_method = PLAIT_ZYGOTE};
    if (t_is_sanitized()) /* they want to be the first library; and TSan's zygotes have threads anyway */
        return PROGRAM_SKIPPED;
    setenv("LD_PRELOAD", getenv("PLAIT_TEST_LIBRARY"), 1);
    setenv("PLAIT_TEST_THREAD", "1", 1);
    CHECK_RC(plait_set_start_method(PLAIT_START_DEFAULT), 0);
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, give_back, NULL, &zygote), PLAIT_EPRELOAD);
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, give_back, NULL, NULL),
             PLAIT_EPRELOAD); /* there is a hook */
    plait_zygote_preload(NULL);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(run(PLAIT_START_DEFAULT, give_back, NULL), 0);
    CHECK_EQ(find_zygote(), -1);
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, give_back, NULL, &zygote), PLAIT_EPRELOAD);
    CHECK(!t_has_children());
    return 0;
}

static int the_preload_hook_runs_in_the_zygote_alone(void *unused)
{
    (void)unused;
    CHECK_EQ(preloaded, 0);
    CHECK_EQ(run(PLAIT_ZYGOTE, say_preloaded, NULL), 77);
    CHECK_EQ(run(PLAIT_SPAWN, say_preloaded, NULL), 0);
    CHECK_EQ(preloaded, 0);
    CHECK_RC(plait_zygote_stop(), 0);
    setenv("PLAIT_TEST_PRELOAD", "-5", 1);
    plait_worker w;
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, give_back, NULL,
                         &(plait_options){.start_method = PLAIT_ZYGOTE}),
             -5);
    CHECK(!t_has_children());
    return 0;
}

static int a_zygote_that_is_killed_at_its_beginning_is_not_taken_for_a_wrong_main(void *unused)
{
    (void)unused;
    plait_worker w;
    setenv("PLAIT_TEST_KILL", "1", 1);
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, give_back, NULL,
                         &(plait_options){.start_method = PLAIT_ZYGOTE}),
             PLAIT_EAGAIN);
    unsetenv("PLAIT_TEST_KILL");
    CHECK(!t_has_children());
    return run(PLAIT_ZYGOTE, give_back, NULL);
}

static void *kill_children(void *stop)
{
    siginfo_t info;
    while (!SEEN(*(int *)stop)) {
        for (pid_t pid = getpid() + 1; pid < getpid() + 300; pid++)
            if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0)
                kill(pid, SIGKILL);
    }
    return NULL;
}

/* Also before they exec. */
static int of_a_killed_one_the_signal_is_known(void *unused)
{
    (void)unused;
    int stop = 0;
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, kill_children, &stop), 0);
    for (int i = 0; i < 60; i++) {
        int status = run(PLAIT_SPAWN, give_back, NULL);
        CHECK(status == 0 || status == -SIGKILL);
    }
    TELL(stop, 1);
    pthread_join(thread, NULL);
    CHECK(!t_has_children());
    return 0;
}

static int a_preload_hook_may_take_long_and_print(void *unused)
{
    (void)unused;
    char text[20] = "";
    int ends[2];
    CHECK_EQ(pipe(ends), 0);
    fflush(stdout);
    int kept = dup(1);
    dup2(ends[1], 1);
    setenv("PLAIT_TEST_SLOW", "1", 1);
    pl_zygote_patience = plait_seconds(3); /* with one that says nothing */
    for (int i = 0; i < 3; i++)
        CHECK_EQ(run(PLAIT_ZYGOTE, give_back, NULL), 0);
    dup2(kept, 1);
    close(ends[1]);
    CHECK_EQ(read(ends[0], text, sizeof text), 1); /* once, not by each process */
    return 0;
}

static int who_reads_a_stream_sees_the_program_close_it(void *unused)
{
    (void)unused;
    char byte;
    int ends[2];
    CHECK_EQ(pipe(ends), 0);
    dup2(ends[1], 1);
    close(ends[1]);
    CHECK_EQ(run(PLAIT_ZYGOTE, give_back, NULL), 0);
    close(1);
    struct pollfd p = {.fd = ends[0], .events = POLLIN};
    CHECK_EQ(poll(&p, 1, T_PATIENCE_S * 1000), 1);
    CHECK_EQ(read(ends[0], &byte, 1), 0);
    CHECK_EQ(run(PLAIT_ZYGOTE, give_back, NULL), 0);
    return 0;
}

/* --- many --- */

static int a_thousand_starts_leave_nothing(void *unused)
{
    (void)unused;
    FOR_EACH_CLEAN_METHOD(m)
    {
        CHECK_EQ(run(m, give_back, NULL), 0);
        int files = t_open_files(), entries = entries_in_use();
        for (long i = t_rounds(m == PLAIT_SPAWN ? 200 : 1000); i > 0; i--)
            CHECK_EQ(run(m, give_back, NULL), 0);
        CHECK_EQ(t_open_files(), files);
        CHECK_EQ(entries_in_use(), entries);
    }
    CHECK_RC(plait_zygote_stop(), 0);
    CHECK(!t_has_children());
    return 0;
}

static void *start_some(void *n)
{
    for (int i = 0; i < 10; i++)
        CHECK_EQ(run(i % 2 ? PLAIT_ZYGOTE : PLAIT_SPAWN, count_me, n), 0);
    return NULL;
}

static int threads_start_at_once(void *unused)
{
    (void)unused;
    int *n = plait_alloc(sizeof *n);
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, start_some, n), 0);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    CHECK_EQ(*n, 80);
    return 0;
}

static int many_live_at_once(void *unused)
{
    (void)unused;
    enum { MANY = 100 };
    int *n = plait_alloc(sizeof *n);
    FOR_EACH_CLEAN_METHOD(m)
    {
        plait_worker w[MANY];
        int most = m == PLAIT_SPAWN || t_is_sanitized() ? 20 : MANY;
        *n = 0;
        for (int i = 0; i < most; i++)
            w[i] = begin(m, stay, n);
        UNTIL(SEEN(*n) == most);
        for (int i = 0; i < most; i++)
            t_kill(w[i]);
    }
    return 0;
}

static int start_in_task(void *n)
{
    CHECK_EQ(run(PLAIT_ZYGOTE, count_me, n), 0);
    CHECK_EQ(run(PLAIT_SPAWN, count_me, n), 0);
    return 0;
}

static int tasks_start_them(void *unused)
{
    (void)unused;
    int *n = plait_alloc(sizeof *n);
    plait_worker w[5];
    for (int i = 0; i < 5; i++)
        w[i] = t_start_one(PLAIT_TASK, start_in_task, n);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(t_join_one(w[i]), 0);
    CHECK_EQ(*n, 10);
    return 0;
}

/* --- who dies with whom --- */

struct family {
    int n;
    pid_t pids[16];
    int method;
};

static int stay_on_the_board(void *arg)
{
    struct family *f = arg;
    f->pids[COUNT(f->n) - 1] = getpid();
    t_sleep_for_ever();
}

static int stay_with_a_child(void *arg)
{
    struct family *f = arg;
    begin(f->method, stay_on_the_board, f);
    return stay_on_the_board(f);
}

static int found_a_family(void *board)
{
    struct family *on_board = board;
    struct family *f = plait_alloc(sizeof *f);
    f->method = on_board->method;
    begin(f->method, stay_with_a_child, f);
    begin(f->method, stay_with_a_child, f);
    UNTIL(SEEN(f->n) == 4);
    for (int i = 0; i < 4; i++)
        on_board->pids[i] = f->pids[i];
    pid_t zygote = find_zygote();
    on_board->pids[4] = zygote > 0 ? zygote : getpid();
    TELL(on_board->n, 5);
    t_sleep_for_ever();
}

static int children_and_zygotes_die_with_the_program(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(m)
    {
        struct family *f = board_new(sizeof *f);
        f->method = m;
        pid_t program = t_fork(found_a_family, f);
        UNTIL(SEEN(f->n) == 5);
        CHECK_EQ(kill(program, SIGKILL), 0);
        for (int i = 0; i < 5; i++)
            UNTIL(has_ended(f->pids[i]));
        CHECK_EQ(t_reap(program), 1000 + SIGKILL);
    }
    return 0;
}

/* In every order: one of the family is killed, and then those whom it holds are gone, and the others live. */
static int a_grandchild_dies_with_its_parent_and_nobody_else(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(m)
    {
        struct family *f = plait_alloc(sizeof *f);
        f->method = m;
        plait_worker first = begin(m, stay_with_a_child, f);
        UNTIL(SEEN(f->n) == 2);
        plait_worker second = begin(m, stay_with_a_child, f);
        UNTIL(SEEN(f->n) == 4);
        pid_t zygote = find_zygote();
        t_kill(first);
        UNTIL(has_ended(f->pids[0]) && has_ended(f->pids[1]));
        CHECK(!has_ended(f->pids[2]) && !has_ended(f->pids[3]));
        CHECK(m != PLAIT_ZYGOTE || !has_ended(zygote));
        t_kill(second);
        UNTIL(has_ended(f->pids[2]) && has_ended(f->pids[3]));
    }
    return 0;
}

struct beginning {
    int *n;
    int method;
    plait_worker worker;
};

static void *begin_and_leave(void *arg)
{
    struct beginning *b = arg;
    b->worker = begin(b->method, stay, b->n);
    return NULL;
}

static int the_end_of_the_starting_thread_is_not_theirs(void *unused)
{
    (void)unused;
    int *n = plait_alloc(sizeof *n);
    FOR_EACH_METHOD(m)
    {
        struct beginning b = {n, m, {0, 0}};
        pthread_t thread;
        *n = 0;
        CHECK_RC(plait_zygote_stop(), 0);
        CHECK_EQ(pthread_create(&thread, NULL, begin_and_leave, &b), 0);
        pthread_join(thread, NULL);
        UNTIL(SEEN(*n) == 1);
        CHECK_EQ(run(m, give_back, NULL), 0); /* the zygote has lost its thread too */
        CHECK(plait_is_alive(b.worker));
        t_kill(b.worker);
    }
    return 0;
}

struct detached {
    int method, ready;
    pid_t pid, parent;
};

static int stay_detached(void *arg)
{
    struct detached *d = arg;
    d->pid = getpid();
    TELL(d->ready, 1);
    UNTIL(SEEN(d->ready) == 2);
    return 0;
}

static int start_detached(void *arg)
{
    struct detached *d = arg;
    struct detached *shared = plait_alloc(sizeof *shared);
    plait_worker w;
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, stay_detached, shared,
                         &(plait_options){.start_method = d->method, .detach = true}),
             0);
    CHECK_RC(plait_join(w, NULL, PLAIT_FOREVER), PLAIT_ESTALE);
    UNTIL(SEEN(shared->ready) == 1);
    d->pid = shared->pid;
    TELL(d->ready, 1);
    t_sleep_for_ever();
}

static int detached_ones_outlive_the_program(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(m)
    {
        struct detached *d = board_new(sizeof *d);
        d->method = m;
        pid_t program = t_fork(start_detached, d);
        UNTIL(SEEN(d->ready) == 1);
        CHECK_EQ(kill(program, SIGKILL), 0);
        CHECK_EQ(t_reap(program), 1000 + SIGKILL);
        t_sleep(plait_ms(50)); /* time itself: it is not killed a little later either */
        CHECK(!has_ended(d->pid));
        kill(d->pid, SIGKILL);
    }
    return 0;
}

static int tell_the_board(void *board)
{
    TELL(*(int *)board, getpid());
    return 0;
}

struct board_name {
    char path[64];
    int method;
};

static int open_board(void *arg)
{
    const struct board_name *name = arg;
    int fd = open(name->path, O_RDWR | O_CLOEXEC);
    int *board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(board != MAP_FAILED);
    return tell_the_board(board);
}

/* The starter has ended before the new process, executed anew, has come to plait_init. */
static int start_detached_and_end(void *arg)
{
    struct board_name *name = arg;
    plait_worker w;
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, open_board, name,
                         &(plait_options){.start_method = name->method,
                                          .detach = true,
                                          .arg_size = sizeof *name}),
             0);
    _exit(0);
}

static int detached_ones_run_though_the_program_ends_at_once(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(m)
    {
        struct board_name name = {"/tmp/plait-test-board-XXXXXX", m};
        int fd = mkstemp(name.path);
        CHECK(fd >= 0);
        CHECK_EQ(ftruncate(fd, sizeof(int)), 0);
        int *board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        CHECK(board != MAP_FAILED);
        CHECK_EQ(t_reap(t_fork(start_detached_and_end, &name)), 0);
        UNTIL(SEEN(*board) > 0);
        unlink(name.path);
        close(fd);
    }
    return 0;
}

/* --- options of the process --- */

struct settings {
    char cwd[100], word[20];
    mode_t mask;
    int nice;
    rlim_t files;
    pid_t session;
};

static int look_at_settings(void *arg)
{
    struct settings *s = arg;
    struct rlimit limit;
    CHECK(getcwd(s->cwd, sizeof s->cwd));
    snprintf(s->word, sizeof s->word, "%s", getenv("WORD") ? getenv("WORD") : "");
    s->mask = umask(0);
    s->nice = getpriority(PRIO_PROCESS, 0);
    getrlimit(RLIMIT_NOFILE, &limit);
    s->files = limit.rlim_cur;
    s->session = getsid(0);
    return 3;
}

static int options_of_the_process_are_applied_before_it_runs(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(m)
    {
        struct settings *s = plait_alloc(sizeof *s);
        plait_limit limit = {RLIMIT_NOFILE, 300, 400};
        const char *const env[] = {"WORD=given", NULL};
        plait_process_options at = {.cwd = "/usr",
                                    .env = env,
                                    .nice = 3,
                                    .set_umask = true,
                                    .umask = 027,
                                    .limits = &limit,
                                    .n_limits = 1,
                                    .new_session = true};
        plait_worker w;
        int nice_before = getpriority(PRIO_PROCESS, 0);
        CHECK_RC(plait_start(&w, PLAIT_PROCESS, look_at_settings, s,
                             &(plait_options){.start_method = m, .process = &at}),
                 0);
        int pid = plait_pid(w);
        CHECK_EQ(t_join_one(w), 3);
        CHECK(strcmp(s->cwd, "/usr") == 0);
        CHECK(strcmp(s->word, "given") == 0);
        CHECK_EQ(s->mask, 027);
        CHECK_EQ(s->nice, nice_before + 3 > 19 ? 19 : nice_before + 3);
        CHECK_EQ(s->files, 300);
        CHECK_EQ(s->session, pid);
    }
    return 0;
}

static int options_that_fail_are_told_by_the_start(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(m)
    {
        plait_worker w = {12, 34};
        plait_process_options nowhere = {.cwd = "/nowhere/at/all"};
        plait_process_options nobody = {.user = "no such user at all"};
        plait_options o = {.start_method = m, .process = &nowhere};
        CHECK_EQ(run(m, give_back, NULL), 0);
        int files = t_open_files(), entries = entries_in_use();
        plait_arena_statistics before, after;
        CHECK_RC(plait_arena_stats(&before), 0);
        CHECK_RC(plait_start(&w, PLAIT_PROCESS, give_back, NULL, &o), PLAIT_ENOENT);
        o.process = &nobody;
        CHECK_RC(plait_start(&w, PLAIT_PROCESS, give_back, NULL, &o), PLAIT_ENOENT);
        CHECK(w.slot == 12 && w.generation == 34);
        CHECK_RC(plait_arena_stats(&after), 0);
        CHECK_EQ(after.blocks, before.blocks);
        CHECK_EQ(t_open_files(), files);
        CHECK_EQ(entries_in_use(), entries);
        CHECK_RC(plait_start(&w, PLAIT_THREAD, give_back, NULL, &o), PLAIT_EINVAL);
    }
    CHECK_RC(plait_zygote_stop(), 0);
    CHECK(!t_has_children());
    return 0;
}

enum { BYSTANDERS = 60 };

struct bystanders {
    int n, done;
    plait_worker workers[BYSTANDERS];
};

static void *fork_bystanders(void *arg)
{
    struct bystanders *b = arg;
    for (int i = 0; i < BYSTANDERS; i++)
        b->workers[i] = begin(PLAIT_FORK, stay, &b->n);
    TELL(b->done, 1);
    return NULL;
}

/* Processes that another thread forks meanwhile inherit what a start uses, and live on. */
static int options_are_applied_while_other_threads_fork(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(m)
    {
        struct bystanders *b = plait_alloc(sizeof *b);
        /* With a user, spawn copies its starter. */
        plait_process_options at = {.nice = 1, .user = geteuid() == 0 ? "root" : NULL};
        pthread_t thread;
        CHECK_EQ(pthread_create(&thread, NULL, fork_bystanders, b), 0);
        while (!SEEN(b->done)) {
            plait_worker w;
            CHECK_RC(plait_start(&w, PLAIT_PROCESS, give_back, NULL,
                                 &(plait_options){.start_method = m, .process = &at}),
                     0);
            CHECK_EQ(t_join_one(w), 0);
        }
        pthread_join(thread, NULL);
        for (int i = 0; i < BYSTANDERS; i++)
            t_kill(b->workers[i]);
    }
    return 0;
}

/* --- when it cannot be --- */

static int exec_self(const char *how)
{
    execl("/proc/self/exe", executable, how, (char *)NULL);
    return 99;
}

static int without_plait_init_it_is_an_error_that_says_so(void *unused)
{
    (void)unused;
    return exec_self("--forgets");
}

static int a_program_that_calls_plait_init_only_sometimes_is_told(void *unused)
{
    (void)unused;
    return exec_self("--sometimes");
}

/* An exec would make it what a setuid program is, which takes no role, and runs main. */
static int one_who_acts_as_another_user_is_not_executed_anew(void *unused)
{
    (void)unused;
    return geteuid() == 0 ? exec_self("--as-another") : PROGRAM_SKIPPED;
}

static int act_as_another(void)
{
    plait_worker w;
    CHECK(!getenv("PLAIT_TEST_MAIN_RAN"));
    setenv("PLAIT_TEST_MAIN_RAN", "1", 1);
    CHECK_EQ(seteuid(1000000u + (unsigned)getpid()), 0);
    FOR_EACH_CLEAN_METHOD(m)
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, give_back, NULL, &(plait_options){.start_method = m}),
             PLAIT_ENOTSUP);
    CHECK_EQ(plait_get_start_method(), PLAIT_FORK);
    CHECK_EQ(run(PLAIT_START_DEFAULT, give_back, NULL), 0);
    CHECK_EQ(seteuid(0), 0);
    FOR_EACH_METHOD(m)
    CHECK_EQ(run(m, give_back, NULL), 0);
    return 0;
}

/* A worker that left by pthread_exit would have main go on, as if a user had called it. */
static int a_role_is_taken_in_the_first_thread_only(void *unused)
{
    (void)unused;
    return exec_self("--in-thread");
}

static void *begin_program(void *how)
{
    CHECK_RC(pl_program_begin(2, (char *[]){executable, how, NULL}), 0);
    return NULL;
}

static int begin_in_a_thread(const char *how)
{
    enum { CANNOT_BE = 124 };
    pthread_t thread;
    plait_worker w;
    CHECK_EQ(pthread_create(&thread, NULL, begin_program, (void *)(uintptr_t)how), 0);
    pthread_join(thread, NULL);
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, give_back, NULL,
                         &(plait_options){.start_method = PLAIT_ZYGOTE}),
             PLAIT_EINIT);
    CHECK_EQ(run(PLAIT_SPAWN, give_back, NULL), CANNOT_BE);
    return 0;
}

static int try_all(int expected_zygote, int expected_spawn)
{
    plait_worker w;
    plait_options zygote = {.start_method = PLAIT_ZYGOTE}, spawn = {.start_method = PLAIT_SPAWN};
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, give_back, NULL, &zygote), expected_zygote);
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, give_back, NULL, &spawn), expected_spawn);
    if (expected_spawn == 0)
        CHECK_EQ(t_join_one(w), 0);
    CHECK_EQ(run(PLAIT_FORK, give_back, NULL), 0);
    CHECK(!t_has_children());
    return 0;
}

static int descriptors_at_their_limit_are_told(void *unused)
{
    (void)unused;
    plait_worker w;
    CHECK_EQ(run(PLAIT_ZYGOTE, give_back, NULL), 0);
    CHECK_RC(plait_zygote_stop(), 0);
    int lowest = fill_descriptors(100);
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, give_back, NULL,
                         &(plait_options){.start_method = PLAIT_ZYGOTE}),
             PLAIT_EMFILE);
    for (int fd = lowest; fd < 100; fd++)
        close(fd);
    CHECK_EQ(run(PLAIT_ZYGOTE, give_back, NULL), 0);
    return 0;
}

static int a_program_that_closes_everything_is_told(void *unused)
{
    (void)unused;
    plait_worker w;
    CHECK_EQ(run(PLAIT_ZYGOTE, give_back, NULL), 0);
    for (int fd = 3; fd < 1024; fd++)
        close(fd);
    FOR_EACH_CLEAN_METHOD(m)
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, give_back, NULL, &(plait_options){.start_method = m}),
             PLAIT_EBADF);
    CHECK_EQ(run(PLAIT_FORK, give_back, NULL), 0);
    return 0;
}

static int processes_are_refused_at_their_limit(void *unused)
{
    (void)unused;
    CHECK_EQ(run(PLAIT_ZYGOTE, give_back, NULL), 0);
    become_nobody_else();
    struct rlimit before, none;
    CHECK_EQ(getrlimit(RLIMIT_NPROC, &before), 0);
    none = (struct rlimit){1, before.rlim_max};
    CHECK_EQ(setrlimit(RLIMIT_NPROC, &none), 0);
    FOR_EACH_METHOD(m)
    {
        plait_worker w;
        CHECK_RC(
            plait_start(&w, PLAIT_PROCESS, give_back, NULL, &(plait_options){.start_method = m}),
            PLAIT_EAGAIN);
    }
    CHECK_EQ(setrlimit(RLIMIT_NPROC, &before), 0);
    return 0;
}

/* --- the same where siblings cannot be made --- */

static int without_siblings(plait_function *fn)
{
    pl_zygotes_fork_twice = true;
    return fn(NULL);
}

#define FORKING_TWICE(fn)                                                                          \
    static int fn##_forking_twice(void *unused)                                                    \
    {                                                                                              \
        (void)unused;                                                                              \
        return without_siblings(fn);                                                               \
    }

FORKING_TWICE(each_runs_as_a_child_of_its_starter)
FORKING_TWICE(descriptors_are_handed_over_under_their_numbers)
FORKING_TWICE(all_methods_meet_in_the_same_primitives)
FORKING_TWICE(processes_outlive_their_zygote)
FORKING_TWICE(a_thousand_starts_leave_nothing)
FORKING_TWICE(children_and_zygotes_die_with_the_program)
FORKING_TWICE(options_of_the_process_are_applied_before_it_runs)
FORKING_TWICE(options_that_fail_are_told_by_the_start)
FORKING_TWICE(threads_start_at_once)

static int in_another_role(const char *how)
{
    if (strcmp(how, "--forgets") == 0)
        return try_all(PLAIT_EINIT, PLAIT_EINIT);
    if (strcmp(how, "--in-thread") == 0)
        return begin_in_a_thread(how);
    if (getenv("PLAIT_ROLE") && strcmp(how, "--sometimes") == 0)
        return 0; /* main ends, and plait_init was not called */
    CHECK_RC(pl_program_begin(2, (char *[]){executable, (char *)(uintptr_t)how, NULL}), 0);
    if (strcmp(how, "--as-another") == 0)
        return act_as_another();
    plait_worker w;
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, give_back, NULL,
                         &(plait_options){.start_method = PLAIT_ZYGOTE}),
             PLAIT_EINIT);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        PROGRAM(each_runs_as_a_child_of_its_starter),
        PROGRAM(the_clean_ones_have_no_signals_and_no_files_of_the_program),
        PROGRAM(the_working_directory_is_that_of_the_moment),
        PROGRAM(the_streams_are_those_of_the_moment),
        PROGRAM(a_closed_stream_is_closed_there_too),
        PROGRAM(descriptors_are_handed_over_under_their_numbers),
        PROGRAM(descriptors_up_to_the_limit_are_handed_over),
        PROGRAM(descriptors_that_cannot_be_handed_over_are_refused),
        PROGRAM(arguments_are_copied_and_freed),
        PROGRAM(private_arguments_are_refused),
        PROGRAM(functions_of_libraries_are_found),
        PROGRAM(a_library_that_is_gone_is_told),
        PROGRAM(code_made_at_run_time_is_refused),
        PROGRAM(processes_start_processes),
        PROGRAM(the_default_can_be_set),
        PROGRAM(all_methods_meet_in_the_same_primitives),
        PROGRAM(a_killed_holder_is_noticed_at_once),
        PROGRAM(a_pool_of_clean_processes_maps),
        PROGRAM(a_function_of_a_library_loaded_later_is_found_by_siblings),
        PROGRAM(processes_outlive_their_zygote),
        PROGRAM(a_zygote_that_dies_while_it_is_asked_is_made_anew),
        PROGRAM(no_start_is_made_twice_or_lost),
        PROGRAM(a_cancelled_starter_leaves_the_zygote_to_others),
        PROGRAM(a_stopped_zygote_is_made_with_what_holds_then),
        PROGRAM(a_program_that_has_given_something_up_does_not_get_it_back_from_its_zygote),
        PROGRAM(the_role_is_not_passed_on),
        PROGRAM(no_descriptor_of_another_is_taken_for_the_zygotes),
        PROGRAM(terminal_signals_do_not_end_the_zygote),
        PROGRAM(where_constructors_start_threads_spawn_is_the_default),
        PROGRAM(the_preload_hook_runs_in_the_zygote_alone),
        PROGRAM(a_zygote_that_is_killed_at_its_beginning_is_not_taken_for_a_wrong_main),
        PROGRAM(of_a_killed_one_the_signal_is_known),
        PROGRAM(a_preload_hook_may_take_long_and_print),
        PROGRAM(who_reads_a_stream_sees_the_program_close_it),
        PROGRAM(a_thousand_starts_leave_nothing),
        PROGRAM(threads_start_at_once),
        PROGRAM(many_live_at_once),
        PROGRAM(tasks_start_them),
        PROGRAM(children_and_zygotes_die_with_the_program),
        PROGRAM(a_grandchild_dies_with_its_parent_and_nobody_else),
        PROGRAM(the_end_of_the_starting_thread_is_not_theirs),
        PROGRAM(detached_ones_outlive_the_program),
        PROGRAM(detached_ones_run_though_the_program_ends_at_once),
        PROGRAM(options_of_the_process_are_applied_before_it_runs),
        PROGRAM(options_that_fail_are_told_by_the_start),
        PROGRAM(options_are_applied_while_other_threads_fork),
        PROGRAM(without_plait_init_it_is_an_error_that_says_so),
        PROGRAM(a_program_that_calls_plait_init_only_sometimes_is_told),
        PROGRAM(one_who_acts_as_another_user_is_not_executed_anew),
        PROGRAM(a_role_is_taken_in_the_first_thread_only),
        PROGRAM(descriptors_at_their_limit_are_told),
        PROGRAM(a_program_that_closes_everything_is_told),
        PROGRAM(processes_are_refused_at_their_limit),
        PROGRAM(each_runs_as_a_child_of_its_starter_forking_twice),
        PROGRAM(descriptors_are_handed_over_under_their_numbers_forking_twice),
        PROGRAM(all_methods_meet_in_the_same_primitives_forking_twice),
        PROGRAM(processes_outlive_their_zygote_forking_twice),
        PROGRAM(a_thousand_starts_leave_nothing_forking_twice),
        PROGRAM(children_and_zygotes_die_with_the_program_forking_twice),
        PROGRAM(options_of_the_process_are_applied_before_it_runs_forking_twice),
        PROGRAM(options_that_fail_are_told_by_the_start_forking_twice),
        PROGRAM(threads_start_at_once_forking_twice),
    };
    executable = argv[0];
    if (argc > 1 && strncmp(argv[1], "--", 2) == 0)
        return in_another_role(argv[1]);
    plait_zygote_preload(preload);
    if (pl_program_begin(argc, argv) < 0)
        return 1;
    t_arguments(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
