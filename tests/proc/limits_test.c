/* Limits of the system: a clear error, nothing leaked, and later starts work. */
#include "program.h"

#include "arena/arena.h"
#include "park/park.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int give_back(void *n)
{
    return (int)(intptr_t)n;
}

static int stand_still(void *unused)
{
    (void)unused;
    while (pause())
        ;
    return 0;
}

static int wait_for_event(void *event)
{
    return plait_event_wait(event, PLAIT_FOREVER);
}

static void limit(int which, rlim_t most)
{
    struct rlimit now;
    CHECK_EQ(getrlimit(which, &now), 0);
    now.rlim_cur = most > now.rlim_max ? now.rlim_max : most;
    CHECK_EQ(setrlimit(which, &now), 0);
}

/* What must be as before after a start that failed. */
struct leftovers {
    int files, entries, children;
    plait_arena_statistics arena;
};

static struct leftovers count_leftovers(void)
{
    CHECK_RC(plait_init(NULL, NULL), 0);
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
}

/* A start that has to fail: the error, *ret and errno untouched, nothing left. */
static void expect_refusal(int kind, const plait_options *options, int expected)
{
    struct leftovers before = count_leftovers();
    plait_options o = options ? *options : (plait_options){0};
    char argument[100] = "copied";
    plait_worker w = {12, 34};
    o.arg_size = sizeof argument;
    errno = EXDEV;
    for (int i = 0; i < 3; i++)
        CHECK_RC(plait_start(&w, kind, give_back, argument, &o), expected);
    CHECK_EQ(errno, EXDEV);
    CHECK(w.slot == 12 && w.generation == 34);
    expect_same(&before);
}

static void expect_all_to_work(void)
{
    FOR_EACH_KIND(kind)
    CHECK_EQ(t_join_one(t_start_one(kind, give_back, (void *)7)), 7);
}

/* --- threads and processes --- */

/* As a user without other processes, who may have `n` threads in all. */
static bool be_user_with(rlim_t n)
{
    if (geteuid() != 0)
        return false;
    become_nobody_else();
    limit(RLIMIT_NPROC, n);
    return true;
}

static int the_limit_on_threads_is_eagain(void *unused)
{
    (void)unused;
    if (t_is_sanitized() || !be_user_with(4)) /* a sanitizer has threads of its own */
        return PROGRAM_SKIPPED;
    expect_all_to_work();
    static plait_event done;
    struct t_team team;
    t_start(&team, &t_private_threads, 3, wait_for_event, &done);
    FOR_EACH_KIND(kind)
    expect_refusal(kind, NULL, PLAIT_EAGAIN);
    plait_event_set(&done);
    t_join(&team);
    UNTIL(plait_enumerate(NULL, 0) == 1);
    expect_all_to_work();
    return 0;
}

static int the_limit_on_processes_is_eagain(void *unused)
{
    (void)unused;
    if (t_is_sanitized() || !be_user_with(4))
        return PROGRAM_SKIPPED;
    expect_all_to_work();
    plait_worker w[3];
    for (int i = 0; i < 3; i++)
        w[i] = t_start_one(PLAIT_PROCESS, stand_still, NULL);
    for (int round = 0; round < 20; round++)
        FOR_EACH_KIND(kind)
    expect_refusal(kind, NULL, PLAIT_EAGAIN);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(plait_is_alive(w[i]), 1);
        t_kill(w[i]);
    }
    expect_all_to_work();
    CHECK(!t_has_children());
    return 0;
}

/* Ended workers that nobody has collected count for the kernel; plait collects what it may. */
static int ended_detached_processes_do_not_use_up_the_limit(void *unused)
{
    (void)unused;
    if (t_is_sanitized() || !be_user_with(4))
        return PROGRAM_SKIPPED;
    for (int i = 0; i < 20; i++) {
        plait_worker w;
        CHECK_RC(plait_start(&w, PLAIT_PROCESS, give_back, NULL, &(plait_options){.detach = true}),
                 0);
        UNTIL(has_ended(plait_pid(w) > 0 ? plait_pid(w) : -1));
    }
    return 0;
}

/* --- memory for stacks --- */

static int a_stack_that_cannot_be_had_is_an_error(void *unused)
{
    (void)unused;
    plait_options huge = {.stack_size = (size_t)1 << 46};
    int rc;
    plait_worker w;
    rc = plait_start(&w, PLAIT_THREAD, give_back, NULL, &huge);
    CHECK(rc == PLAIT_EAGAIN || rc == PLAIT_ENOMEM);
    expect_refusal(PLAIT_THREAD, &huge, rc);
    plait_options tiny = {.stack_size = 1};
    expect_refusal(PLAIT_THREAD, &tiny, PLAIT_EINVAL);
    plait_options most = {.stack_size = SIZE_MAX};
    rc = plait_start(&w, PLAIT_THREAD, give_back, NULL, &most);
    CHECK(rc == PLAIT_EAGAIN || rc == PLAIT_ENOMEM || rc == PLAIT_EINVAL);
    expect_refusal(PLAIT_THREAD, &most, rc);
    expect_all_to_work();
    return 0;
}

static int an_argument_too_large_is_enomem(void *unused)
{
    (void)unused;
    struct leftovers before = count_leftovers();
    plait_worker w;
    char argument = 1;
    FOR_EACH_KIND(kind)
    {
        CHECK_RC(plait_start(&w, kind, give_back, &argument,
                             &(plait_options){.arg_size = (size_t)1 << 40}),
                 PLAIT_ENOMEM);
        CHECK_RC(
            plait_start(&w, kind, give_back, &argument, &(plait_options){.arg_size = SIZE_MAX}),
            PLAIT_ENOMEM);
    }
    expect_same(&before);
    expect_all_to_work();
    return 0;
}

/* --- descriptors --- */

static int without_a_descriptor_there_is_no_arena(void *unused)
{
    (void)unused;
    plait_worker w;
    int first = fill_descriptors(40);
    CHECK_RC(plait_init(NULL, NULL), PLAIT_EARENA);
    CHECK_RC(plait_start(&w, PLAIT_THREAD, give_back, NULL, NULL), PLAIT_EARENA);
    CHECK(plait_alloc(1) == NULL);
    CHECK_RC(plait_last_error(), PLAIT_EARENA);
    CHECK_EQ(plait_self().slot, 0);
    for (int fd = first; fd < 40; fd++)
        close(fd);
    expect_all_to_work();
    return 0;
}

static int without_descriptors_a_first_process_is_emfile(void *unused)
{
    (void)unused;
    CHECK_RC(plait_init(NULL, NULL), 0);
    int first = fill_descriptors(40);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_THREAD, give_back, (void *)7)), 7);
    plait_worker w = {12, 34};
    for (int free = 0; free < 2; free++) { /* one is not enough for the two ends of a pipe */
        errno = EXDEV;
        for (int i = 0; i < 5; i++)
            CHECK_RC(plait_start(&w, PLAIT_PROCESS, give_back, NULL, NULL), PLAIT_EMFILE);
        CHECK_EQ(errno, EXDEV);
        CHECK(w.slot == 12 && w.generation == 34);
        close(first + free);
    }
    CHECK_EQ(plait_enumerate(NULL, 0), 1);
    CHECK(!t_has_children());
    for (int fd = first; fd < 40; fd++)
        close(fd);
    expect_all_to_work();
    return 0;
}

/* With a process started before, all is there that a further one needs. */
static int without_descriptors_later_processes_work(void *unused)
{
    (void)unused;
    expect_all_to_work();
    int first = fill_descriptors(40);
    for (int i = 0; i < 20; i++) {
        plait_blame end;
        CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, give_back, (void *)(intptr_t)i)), i);
        plait_worker w = t_start_one(PLAIT_PROCESS, stand_still, NULL);
        CHECK_RC(plait_join(w, NULL, plait_ms(30)), PLAIT_ETIMEDOUT);
        CHECK_EQ(plait_is_alive(w), 1);
        CHECK_EQ(plait_state(w) == PLAIT_STATE_ENDED, 0);
        CHECK_RC(plait_exit_status(w, &end), PLAIT_EBUSY);
        CHECK_EQ(kill(plait_pid(w), SIGKILL), 0);
        CHECK_EQ(t_join_one(w), -SIGKILL);
    }
    for (int fd = first; fd < 40; fd++)
        close(fd);
    CHECK(!t_has_children());
    return 0;
}

static int open_and_close(void *stop)
{
    while (!SEEN(*(int *)stop)) {
        int fds[64], n = 0;
        while (n < 64 && (fds[n] = open("/dev/null", O_RDONLY)) >= 0)
            n++;
        while (n > 0)
            close(fds[--n]);
    }
    return 0;
}

/* The table of descriptors is full now and then; nobody may take a worker for dead because of it. */
static int descriptors_that_run_out_now_and_then_confuse_nobody(void *unused)
{
    (void)unused;
    int stop = 0;
    expect_all_to_work();
    limit(RLIMIT_NOFILE, 40);
    plait_worker greedy = t_start_one(PLAIT_THREAD, open_and_close, &stop);
    for (int i = 0; i < 200; i++) {
        plait_worker w;
        int rc = plait_start(&w, PLAIT_PROCESS, i & 1 ? give_back : stand_still, NULL, NULL);
        if (rc == PLAIT_EMFILE)
            continue;
        CHECK_RC(rc, 0);
        if (!(i & 1)) {
            CHECK_EQ(plait_is_alive(w), 1);
            CHECK_EQ(kill(plait_pid(w), SIGKILL), 0);
        }
        CHECK_EQ(t_join_one(w), i & 1 ? 0 : -SIGKILL);
    }
    TELL(stop, 1);
    CHECK_EQ(t_join_one(greedy), 0);
    CHECK(!t_has_children());
    return 0;
}

/* --- sizes of files, processor time --- */

static int a_limit_on_file_sizes_is_met_by_a_smaller_arena(void *unused)
{
    (void)unused;
    limit(RLIMIT_FSIZE, (rlim_t)100 << 20);
    plait_arena_statistics s;
    CHECK_RC(plait_arena_stats(&s), 0);
    CHECK(s.size <= (uint64_t)100 << 20);
    expect_all_to_work();
    return 0;
}

static int burn(void *unused)
{
    (void)unused;
    for (volatile long i = 0;; i++)
        ;
    return 0;
}

static int burn_within_limit(void *unused)
{
    limit(RLIMIT_CPU, 1);
    return burn(unused);
}

static int a_process_that_the_system_stops_is_a_result(void *unused)
{
    (void)unused;
    plait_blame end;
    plait_worker w = t_start_one(PLAIT_PROCESS, burn_within_limit, NULL);
    CHECK_RC(plait_join(w, &end, PLAIT_FOREVER), PLAIT_DIED);
    CHECK_EQ(end.signal, SIGXCPU);
    CHECK(end.user_ns + end.system_ns >= plait_ms(100)); /* the limit counts ticks, this runs */
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROGRAM(the_limit_on_threads_is_eagain),
        PROGRAM(the_limit_on_processes_is_eagain),
        PROGRAM(ended_detached_processes_do_not_use_up_the_limit),
        PROGRAM(a_stack_that_cannot_be_had_is_an_error),
        PROGRAM(an_argument_too_large_is_enomem),
        PROGRAM(without_a_descriptor_there_is_no_arena),
        PROGRAM(without_descriptors_a_first_process_is_emfile),
        PROGRAM(without_descriptors_later_processes_work),
        PROGRAM(descriptors_that_run_out_now_and_then_confuse_nobody),
        PROGRAM(a_limit_on_file_sizes_is_met_by_a_smaller_arena),
        PROGRAM(a_process_that_the_system_stops_is_a_result),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
