/* Sentinels, interrupts, and the killing of a worker with all that is below it; for each start method. */
#include "methods.h"

#include "park/park.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

enum { MOST = 32 };

/* In the arena; all that the workers of a test know of each other. */
struct world {
    plait_worker subject;
    plait_event done;
    int method;
    int places, n; /* processes that have come */
    pid_t pids[MOST];
    int fd, rc;
    int turns, stop;
};

static struct world *new_world(int method)
{
    struct world *w = plait_alloc(sizeof *w);
    CHECK(w != NULL);
    w->method = method;
    return w;
}

static void come(struct world *w, pid_t pid)
{
    TELL(w->pids[COUNT(w->places) - 1], pid);
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
    come(world, getpid());
    return stand_still(NULL);
}

static int give_three(void *unused)
{
    (void)unused;
    return 3;
}

static int wait_for_done(void *world)
{
    struct world *w = world;
    return plait_event_wait(&w->done, PLAIT_FOREVER);
}

/* --- sentinels --- */

static int watch_sentinel(void *world)
{
    struct world *w = world;
    int rc = plait_wait_fd(w->fd, POLLIN, plait_seconds(T_PATIENCE_S));
    CHECK(rc > 0 && (rc & POLLIN));
    CHECK(plait_is_alive(w->subject) == 0);
    return 0;
}

static int a_sentinel_is_readable_when_its_process_ends_and_not_before(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(method)
    {
        struct world *w = new_world(method);
        w->subject = start_by(method, wait_for_done, w);
        w->fd = plait_sentinel(w->subject);
        CHECK(w->fd > 2);
        CHECK_EQ(fcntl(w->fd, F_GETFD), FD_CLOEXEC);
        CHECK_RC(plait_wait_fd(w->fd, POLLIN, plait_ms(20)), PLAIT_ETIMEDOUT);
        plait_worker thread = t_start_one(PLAIT_THREAD, watch_sentinel, w);
        plait_worker tasks[2];
        for (int i = 0; i < 2; i++)
            tasks[i] = t_start_one(PLAIT_TASK, watch_sentinel, w);
        plait_event_set(&w->done);
        for (int i = 0; i < 2; i++)
            CHECK_EQ(t_join_one(tasks[i]), 0);
        CHECK_EQ(t_join_one(thread), 0);
        CHECK_EQ(t_join_one(w->subject), 0);
        CHECK(plait_wait_fd(w->fd, POLLIN, PLAIT_NOWAIT) > 0); /* and stays so */
        CHECK_RC(plait_sentinel(w->subject), PLAIT_ESTALE);
        close(w->fd);
    }
    return 0;
}

static int a_sentinel_tells_of_a_kill(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(method)
    {
        struct world *w = new_world(method);
        w->subject = start_by(method, stay, w);
        UNTIL(SEEN(w->n));
        int fd = plait_sentinel(w->subject), second = plait_sentinel(w->subject);
        CHECK(fd >= 0 && second >= 0 && fd != second);
        CHECK_EQ(kill(w->pids[0], SIGKILL), 0);
        CHECK(plait_wait_fd(fd, POLLIN, PLAIT_FOREVER) > 0);
        CHECK(plait_wait_fd(second, POLLIN, PLAIT_FOREVER) > 0);
        CHECK_EQ(t_join_one(w->subject), -SIGKILL);
        close(fd);
        close(second);
    }
    return 0;
}

static int one_that_has_ended_has_a_sentinel_until_it_is_collected(void *unused)
{
    (void)unused;
    plait_blame end;
    plait_worker w = t_start_one(PLAIT_PROCESS, give_three, NULL);
    wait_for_zombie(plait_pid(w));
    int fd = plait_sentinel(w);
    CHECK(fd >= 0 && plait_wait_fd(fd, POLLIN, PLAIT_NOWAIT) > 0);
    close(fd);
    UNTIL(plait_exit_status(w, &end) == 0); /* which collects it */
    CHECK_RC(plait_sentinel(w), PLAIT_ESRCH);
    CHECK_EQ(t_join_one(w), 3);
    return 0;
}

static int ask_for_sentinel(void *world)
{
    struct world *w = world;
    int fd = plait_sentinel(w->subject);
    CHECK(fd >= 0);
    TELL(w->fd, 1);
    CHECK(plait_wait_fd(fd, POLLIN, PLAIT_FOREVER) > 0);
    close(fd);
    return 0;
}

static int strangers_may_have_a_sentinel(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(method)
    {
        struct world *w = new_world(method);
        w->subject = start_by(method, wait_for_done, w);
        plait_worker sibling = start_by(method, ask_for_sentinel, w);
        UNTIL(SEEN(w->fd));
        plait_event_set(&w->done);
        CHECK_EQ(t_join_one(sibling), 0);
        CHECK_EQ(t_join_one(w->subject), 0);
    }
    return 0;
}

static int who_has_no_process_of_its_own_has_no_sentinel(void *unused)
{
    (void)unused;
    struct world *w = new_world(PLAIT_FORK);
    plait_worker thread = t_start_one(PLAIT_THREAD, wait_for_done, w);
    plait_worker task = t_start_one(PLAIT_TASK, wait_for_done, w);
    errno = 77;
    CHECK_RC(plait_sentinel((plait_worker){0, 0}), PLAIT_EINVAL);
    CHECK_RC(plait_sentinel(thread), PLAIT_ENOTSUP);
    CHECK_RC(plait_sentinel(task), PLAIT_ENOTSUP);
    CHECK_RC(plait_kill_tree((plait_worker){0, 0}), PLAIT_EINVAL);
    CHECK_RC(plait_kill_tree(thread), PLAIT_ENOTSUP);
    CHECK_RC(plait_kill_tree(task), PLAIT_ENOTSUP);
    CHECK_RC(plait_interrupt(thread), PLAIT_ENOTSUP);
    CHECK_EQ(errno, 77);
    plait_event_set(&w->done);
    CHECK_EQ(t_join_one(thread), 0);
    CHECK_EQ(t_join_one(task), 0);
    CHECK_RC(plait_kill_tree(thread), PLAIT_ESTALE);
    return 0;
}

/* --- interrupts --- */

static int interrupt_is_sigint(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(method)
    {
        struct world *w = new_world(method);
        plait_worker worker = start_by(method, stay, w);
        UNTIL(SEEN(w->n));
        CHECK_RC(plait_interrupt(worker), 0);
        CHECK_EQ(t_join_one(worker), -SIGINT);
        CHECK_RC(plait_interrupt(worker), PLAIT_ESTALE);
    }
    return 0;
}

/* --- trees --- */

static void expect_all_to_end(struct world *w)
{
    for (int i = 0; i < w->n; i++)
        UNTIL(has_ended(w->pids[i]));
}

extern char **environ;

/* Two workers, one detached, and a program. */
static int have_all_kinds(void *world)
{
    struct world *w = world;
    plait_worker worker;
    pid_t program;
    char *sleeper[] = {"sleep", "1000", NULL};
    start_by(w->method, stay, w);
    CHECK_RC(plait_start(&worker, PLAIT_PROCESS, stay, w,
                         &(plait_options){.start_method = w->method, .detach = true}),
             0);
    CHECK_EQ(posix_spawnp(&program, "sleep", NULL, NULL, sleeper, environ), 0);
    come(w, program);
    return stay(w);
}

static int have_a_family(void *world)
{
    struct world *w = world;
    start_by(w->method, have_all_kinds, w);
    return have_all_kinds(w);
}

static int a_worker_is_killed_with_workers_and_programs_of_all_generations(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(method)
    {
        struct world *w = new_world(method);
        struct world *other = new_world(method);
        plait_worker beside = start_by(method, stay, other);
        plait_worker top = start_by(method, have_a_family, w);
        UNTIL(SEEN(w->n) == 8 && SEEN(other->n) == 1);
        CHECK_RC(plait_kill_tree(top), 0);
        CHECK_EQ(t_join_one(top), -SIGKILL);
        expect_all_to_end(w);
        CHECK(!has_ended(other->pids[0]));
        CHECK_RC(plait_kill_tree(beside), 0); /* of one */
        CHECK_EQ(t_join_one(beside), -SIGKILL);
    }
    return 0;
}

/* As a daemon of the old kind: in a session of its own, its parent gone. */
static int go_into_hiding(void *world)
{
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        if (child == 0) {
            setsid();
            if (fork() == 0)
                stay(world);
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
    return stay(world);
}

static int a_subreaper_is_killed_with_those_who_hid_below_it(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(method)
    {
        struct world *w = new_world(method);
        plait_worker top;
        CHECK_RC(plait_start(&top, PLAIT_PROCESS, go_into_hiding, w,
                             &(plait_options){.start_method = method, .subreaper = true}),
                 0);
        UNTIL(SEEN(w->n) == 4);
        CHECK_RC(plait_kill_tree(top), 0);
        CHECK_EQ(t_join_one(top), -SIGKILL);
        expect_all_to_end(w);
    }
    return 0;
}

/* Whose parent it becomes is the promise; without the option it would be somebody above. */
static int adopt_one(void *world)
{
    struct world *w = world;
    int is, child = fork();
    if (child == 0) {
        if (fork() == 0)
            stay(w);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    UNTIL(SEEN(w->n));
    CHECK_EQ(prctl(PR_GET_CHILD_SUBREAPER, &is), 0);
    CHECK_EQ(kill(w->pids[0], SIGTERM), 0);
    return (waitpid(w->pids[0], NULL, 0) > 0) == is ? 10 + is : 1;
}

static int only_subreapers_adopt(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(method)
    for (int adopts = 0; adopts < 2; adopts++) {
        plait_worker worker;
        CHECK_RC(plait_start(&worker, PLAIT_PROCESS, adopt_one, new_world(method),
                             &(plait_options){.start_method = method, .subreaper = adopts}),
                 0);
        CHECK_EQ(t_join_one(worker), 10 + adopts);
    }
    plait_worker none = {0, 0};
    CHECK_RC(
        plait_start(&none, PLAIT_THREAD, give_three, NULL, &(plait_options){.subreaper = true}),
        PLAIT_EINVAL);
    CHECK_RC(plait_start(&none, PLAIT_TASK, give_three, NULL, &(plait_options){.subreaper = true}),
             PLAIT_EINVAL);
    CHECK_EQ(none.slot, 0);
    return 0;
}

static int kill_subject_tree(void *world)
{
    struct world *w = world;
    TELL(w->rc, plait_kill_tree(w->subject));
    return 0;
}

static int siblings_and_tasks_may_kill_a_tree(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(method)
    FOR_EVERY_KIND(kind)
    {
        struct world *w = new_world(method);
        w->rc = 1;
        w->subject = start_by(method, have_all_kinds, w);
        UNTIL(SEEN(w->n) == 4);
        CHECK_EQ(t_join_one(kind == PLAIT_PROCESS ? start_by(method, kill_subject_tree, w)
                                                  : t_start_one(kind, kill_subject_tree, w)),
                 0);
        CHECK_RC(w->rc, 0);
        CHECK_EQ(t_join_one(w->subject), -SIGKILL);
        expect_all_to_end(w);
    }
    return 0;
}

static int count_turns(void *world)
{
    struct world *w = world;
    while (!w->stop) {
        w->turns++;
        plait_sleep(plait_us(50));
    }
    return 0;
}

static int spawn_for_ever(void *world)
{
    struct world *w = world;
    come(w, getpid());
    for (;;) {
        if (fork() == 0)
            _exit(0);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
    }
}

/* Whoever kills in a task holds up no other while processes come to a stop. */
static int tasks_beside_one_that_kills_a_tree_run(void *unused)
{
    (void)unused;
    struct world *w = new_world(PLAIT_FORK);
    plait_worker counter = t_start_one(PLAIT_TASK, count_turns, w);
    int during = 0;
    for (int i = 0; i < 50 && during == 0; i++) {
        struct world *v = new_world(PLAIT_FORK);
        v->subject = t_start_one(PLAIT_PROCESS, spawn_for_ever, v);
        UNTIL(SEEN(v->n));
        int before = w->turns;
        CHECK_RC(plait_kill_tree(v->subject), 0);
        during = w->turns - before;
        CHECK_EQ(t_join_one(v->subject), -SIGKILL);
    }
    CHECK(during > 0);
    w->stop = 1;
    CHECK_EQ(t_join_one(counter), 0);
    return 0;
}

static int kill_those_above(void *world)
{
    struct world *w = world;
    CHECK_RC(plait_kill_tree(w->subject), PLAIT_EDEADLK);
    CHECK_RC(plait_kill_tree(plait_self()), PLAIT_EDEADLK);
    come(w, getpid());
    return 0;
}

static int kill_from_below(void *world)
{
    struct world *w = world;
    w->subject = plait_self();
    CHECK_EQ(t_join_one(start_by(w->method, kill_those_above, w)), 0);
    return 5;
}

static int nobody_kills_a_tree_that_it_belongs_to(void *unused)
{
    (void)unused;
    FOR_EACH_METHOD(method)
    CHECK_EQ(t_join_one(start_by(method, kill_from_below, new_world(method))), 5);
    return 0;
}

static int the_tree_of_one_that_has_ended_is_not_there(void *unused)
{
    (void)unused;
    plait_worker w = t_start_one(PLAIT_PROCESS, give_three, NULL);
    wait_for_zombie(plait_pid(w));
    CHECK_RC(plait_kill_tree(w), PLAIT_ESRCH);
    CHECK_EQ(t_join_one(w), 3);
    CHECK_RC(plait_kill_tree(w), PLAIT_ESTALE);
    return 0;
}

/* --- less than usual from the kernel --- */

/* From now on this system call answers `error` in this process and those it forks. */
static bool refuse(int call, int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static int without_pidfds_it_is_said(int error)
{
    struct world *w = new_world(PLAIT_FORK);
    plait_worker top = t_start_one(PLAIT_PROCESS, have_all_kinds, w);
    UNTIL(SEEN(w->n) == 4);
    if (!refuse(SYS_pidfd_open, error))
        return PROGRAM_SKIPPED;
    CHECK_RC(plait_sentinel(top), PLAIT_ENOTSUP);
    CHECK_RC(plait_kill_tree(top), PLAIT_ENOTSUP);
    for (int i = 0; i < 4; i++)
        CHECK(!has_ended(w->pids[i]));
    for (int i = 0; i < 4; i++)
        kill(w->pids[i], SIGKILL);
    CHECK_EQ(t_join_one(top), -SIGKILL);
    return 0;
}

static int without_pidfds_in_the_kernel_it_is_said(void *unused)
{
    (void)unused;
    return without_pidfds_it_is_said(ENOSYS);
}

static int with_pidfds_refused_it_is_said(void *unused)
{
    (void)unused;
    return without_pidfds_it_is_said(EPERM);
}

static int without_a_descriptor_it_is_said(void *unused)
{
    (void)unused;
    struct world *w = new_world(PLAIT_FORK);
    plait_worker top = t_start_one(PLAIT_PROCESS, have_all_kinds, w);
    UNTIL(SEEN(w->n) == 4);
    int first = fill_descriptors(60);
    CHECK_RC(plait_sentinel(top), PLAIT_EMFILE);
    CHECK_RC(plait_kill_tree(top), PLAIT_EMFILE);
    for (int fd = first; fd < 60; fd++)
        close(fd);
    for (int i = 0; i < 4; i++)
        CHECK(!has_ended(w->pids[i]));
    CHECK_RC(plait_kill_tree(top), 0);
    CHECK_EQ(t_join_one(top), -SIGKILL);
    return 0;
}

static int nothing_is_left_open(void *unused)
{
    (void)unused;
    int before = 0;
    for (int i = 0; i < 5; i++) {
        struct world *w = new_world(PLAIT_FORK);
        plait_worker top = t_start_one(PLAIT_PROCESS, have_all_kinds, w);
        UNTIL(SEEN(w->n) == 4);
        close(plait_sentinel(top));
        CHECK_RC(plait_kill_tree(top), 0);
        CHECK_EQ(t_join_one(top), -SIGKILL);
        before = i == 0 ? t_open_files() : before; /* with what a first use leaves open */
    }
    CHECK_EQ(t_open_files(), before);
    return 0;
}

int main(int argc, char **argv)
{
    BEGIN_METHODS(argc, argv);
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        PROGRAM(a_sentinel_is_readable_when_its_process_ends_and_not_before),
        PROGRAM(a_sentinel_tells_of_a_kill),
        PROGRAM(one_that_has_ended_has_a_sentinel_until_it_is_collected),
        PROGRAM(strangers_may_have_a_sentinel),
        PROGRAM(who_has_no_process_of_its_own_has_no_sentinel),
        PROGRAM(interrupt_is_sigint),
        PROGRAM(a_worker_is_killed_with_workers_and_programs_of_all_generations),
        PROGRAM(a_subreaper_is_killed_with_those_who_hid_below_it),
        PROGRAM(only_subreapers_adopt),
        PROGRAM(siblings_and_tasks_may_kill_a_tree),
        PROGRAM(tasks_beside_one_that_kills_a_tree_run),
        PROGRAM(nobody_kills_a_tree_that_it_belongs_to),
        PROGRAM(the_tree_of_one_that_has_ended_is_not_there),
        PROGRAM(without_pidfds_in_the_kernel_it_is_said),
        PROGRAM(with_pidfds_refused_it_is_said),
        PROGRAM(without_a_descriptor_it_is_said),
        PROGRAM(nothing_is_left_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
