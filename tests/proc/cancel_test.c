/* Stopping processes: terminate, kill and cancel reach the one meant, or nobody. */
#include "program.h"

#include "park/park.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
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

typedef int call_on_worker(plait_worker worker);

/* In the arena; what the workers of a test share. */
struct world {
    plait_worker subject;
    plait_event done;
    int rc;
    int ready;
};

static struct world *new_world(void)
{
    struct world *w = plait_alloc(sizeof *w);
    CHECK(w != NULL);
    return w;
}

static int stand_still(void *unused)
{
    (void)unused;
    while (pause())
        ;
    return 0;
}

static int give_back(void *n)
{
    return (int)(intptr_t)n;
}

static int wait_for_done(void *world)
{
    struct world *w = world;
    return plait_event_wait(&w->done, PLAIT_FOREVER);
}

/* --- signals --- */

static void expect_end(call_on_worker *call, int signal)
{
    plait_blame end;
    plait_worker w = t_start_one(PLAIT_PROCESS, stand_still, NULL);
    CHECK_RC(call(w), 0);
    CHECK_RC(plait_join(w, &end, PLAIT_FOREVER), PLAIT_DIED);
    CHECK_EQ(end.signal, signal);
    CHECK_RC(call(w), PLAIT_ESTALE);
}

static int terminate_is_sigterm_and_kill_is_sigkill(void *unused)
{
    (void)unused;
    expect_end(plait_terminate, SIGTERM);
    expect_end(plait_kill, SIGKILL);
    return 0;
}

static volatile sig_atomic_t terms;

static void count_term(int signal)
{
    (void)signal;
    terms++;
}

static int note_terms(void *world)
{
    struct world *w = world;
    signal(SIGTERM, count_term);
    TELL(w->ready, 1);
    while (terms < 2)
        pause();
    return 7;
}

static int terminate_may_be_caught(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    plait_worker worker = t_start_one(PLAIT_PROCESS, note_terms, w);
    UNTIL(SEEN(w->ready));
    plait_blame end;
    int rc;
    do {
        plait_terminate(worker); /* two that come together are one for the kernel */
        rc = plait_join(worker, &end, plait_ms(5));
    } while (rc == PLAIT_ETIMEDOUT);
    CHECK_RC(rc, 0);
    CHECK_EQ(end.status, 7);
    return 0;
}

static int the_ended_are_not_signalled(void *unused)
{
    (void)unused;
    plait_worker w = t_start_one(PLAIT_PROCESS, give_back, (void *)3);
    UNTIL(has_ended(plait_pid(w)));
    CHECK_RC(plait_kill(w), PLAIT_ESRCH);
    CHECK_RC(plait_terminate(w), PLAIT_ESRCH);
    CHECK_RC(plait_cancel(w), PLAIT_ESRCH);
    CHECK_EQ(t_join_one(w), 3); /* and its status is unharmed */
    w = t_start_one(PLAIT_PROCESS, stand_still, NULL);
    CHECK_RC(plait_kill(w), 0);
    UNTIL(has_ended(plait_pid(w)));
    CHECK_RC(plait_terminate(w), PLAIT_ESRCH);
    CHECK_EQ(t_join_one(w), -SIGKILL);
    return 0;
}

static int killed_twice_is_killed(void *unused)
{
    (void)unused;
    for (int i = 0; i < 50; i++) {
        plait_worker w = t_start_one(PLAIT_PROCESS, stand_still, NULL);
        CHECK_RC(plait_kill(w), 0);
        int rc = plait_kill(w);
        CHECK(rc == 0 || rc == PLAIT_ESRCH);
        CHECK_EQ(t_join_one(w), -SIGKILL);
    }
    return 0;
}

static int kill_subject(void *world)
{
    struct world *w = world;
    w->rc = plait_kill(w->subject);
    return 0;
}

static int start_subject(void *world)
{
    struct world *w = world;
    w->subject = t_start_one(PLAIT_PROCESS, stand_still, NULL);
    TELL(w->ready, 1);
    return t_join_one(w->subject);
}

static int siblings_and_grandparents_may_kill(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    w->subject = t_start_one(PLAIT_PROCESS, stand_still, NULL);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, kill_subject, w)), 0);
    CHECK_RC(w->rc, 0);
    CHECK_EQ(t_join_one(w->subject), -SIGKILL);
    plait_worker child = t_start_one(PLAIT_PROCESS, start_subject, w);
    UNTIL(SEEN(w->ready));
    CHECK_RC(plait_kill(w->subject), 0);
    CHECK_EQ(t_join_one(child), -SIGKILL);
    return 0;
}

static int kill_self(void *unused)
{
    (void)unused;
    return plait_kill(plait_self());
}

static int a_process_may_kill_itself(void *unused)
{
    (void)unused;
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, kill_self, NULL)), -SIGKILL);
    return 0;
}

static int a_stopped_process_can_be_killed(void *unused)
{
    (void)unused;
    plait_worker w = t_start_one(PLAIT_PROCESS, stand_still, NULL);
    t_stop(w);
    t_kill(w);
    return 0;
}

static int kill_parent(void *world)
{
    struct world *w = world;
    w->rc = plait_kill(plait_parent(plait_self()));
    return 0;
}

static int middle(void *world)
{
    t_start_one(PLAIT_PROCESS, kill_parent, world);
    return stand_still(NULL);
}

static int a_child_may_kill_its_parent_and_dies_with_it(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, middle, w)), -SIGKILL);
    return 0;
}

/* --- a process that is not there yet --- */

static call_on_worker *before_fork;
static int before_fork_rc, before_fork_seen;

/* Between the entry in the table and the fork. */
static void call_before_fork(void)
{
    plait_worker all[8];
    if (!before_fork)
        return;
    int n = plait_enumerate(all, 8);
    for (int i = 0; i < n && i < 8; i++) {
        if (plait_state(all[i]) != PLAIT_STATE_NEW)
            continue;
        before_fork_seen++;
        before_fork_rc = before_fork(all[i]);
    }
}

static void expect_harmless(call_on_worker *call, int expected)
{
    before_fork = call;
    before_fork_seen = 0;
    plait_worker w = t_start_one(PLAIT_PROCESS, give_back, (void *)6);
    before_fork = NULL;
    CHECK_EQ(before_fork_seen, 1);
    CHECK_RC(before_fork_rc, expected);
    CHECK_EQ(t_join_one(w), 6);
}

/* To kill pid 0 would be to kill the whole process group. */
static int one_that_is_not_forked_yet_is_not_signalled(void *unused)
{
    (void)unused;
    CHECK_EQ(pthread_atfork(call_before_fork, NULL, NULL), 0);
    expect_harmless(plait_kill, PLAIT_EBUSY);
    expect_harmless(plait_terminate, PLAIT_EBUSY);
    return 0;
}

static int ask_to_stop_before_fork(plait_worker w)
{
    return plait_cancel(w);
}

static int canceled_at_once(void *world)
{
    struct world *w = world;
    CHECK_RC(plait_event_wait(&w->done, PLAIT_FOREVER), PLAIT_ECANCELED);
    return 6;
}

static int a_request_to_stop_reaches_one_that_is_not_forked_yet(void *unused)
{
    (void)unused;
    struct world *world = new_world();
    CHECK_EQ(pthread_atfork(call_before_fork, NULL, NULL), 0);
    before_fork = ask_to_stop_before_fork;
    plait_worker w = t_start_one(PLAIT_PROCESS, canceled_at_once, world);
    before_fork = NULL;
    CHECK_RC(before_fork_rc, 0);
    CHECK_EQ(t_join_one(w), 6);
    return 0;
}

/* --- cancelling across processes --- */

static int cancel_subject(void *world)
{
    struct world *w = world;
    w->rc = plait_cancel(w->subject);
    return 0;
}

static int any_worker_may_cancel_any(void *unused)
{
    (void)unused;
    FOR_EACH_KIND(subject)
    FOR_EACH_KIND(canceler)
    {
        struct world *w = new_world();
        w->subject = t_start_one(subject, wait_for_done, w);
        UNTIL_WAITS(w->subject, PL_WAIT_EVENT);
        CHECK_EQ(t_join_one(t_start_one(canceler, cancel_subject, w)), 0);
        CHECK_RC(w->rc, 0);
        CHECK_EQ(t_join_one(w->subject), PLAIT_ECANCELED);
        plait_free(w);
    }
    return 0;
}

static int cancel_parent(void *world)
{
    struct world *w = world;
    w->rc = plait_cancel(plait_parent(plait_self()));
    return stand_still(NULL);
}

static int a_child_may_cancel_its_parents_join(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    plait_worker child = t_start_one(PLAIT_PROCESS, cancel_parent, w);
    CHECK_RC(plait_join(child, NULL, plait_seconds(T_PATIENCE_S)), PLAIT_ECANCELED);
    CHECK_EQ(plait_cancelling(), 1);
    CHECK_EQ(plait_uncancel(), 0);
    t_kill(child);
    return 0;
}

static int a_stopped_process_gets_the_request_when_it_goes_on(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    plait_worker worker = t_start_one(PLAIT_PROCESS, wait_for_done, w);
    UNTIL_WAITS(worker, PL_WAIT_EVENT);
    t_stop(worker);
    CHECK_RC(plait_cancel(worker), 0);
    t_continue(worker);
    CHECK_EQ(t_join_one(worker), PLAIT_ECANCELED);
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

/* Without pidfds a child is still safe to signal: its parent has not collected it. */
static int without_pidfds_parents_kill_and_join(int error)
{
    struct world *w = new_world();
    if (!refuse(SYS_pidfd_open, error))
        return PROGRAM_SKIPPED;
    expect_end(plait_terminate, SIGTERM);
    expect_end(plait_kill, SIGKILL);
    plait_worker ended = t_start_one(PLAIT_PROCESS, give_back, (void *)3);
    UNTIL(has_ended(plait_pid(ended)));
    CHECK_RC(plait_kill(ended), PLAIT_ESRCH);
    CHECK_EQ(t_join_one(ended), 3);
    w->subject = t_start_one(PLAIT_PROCESS, stand_still, NULL);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, kill_subject, w)), 0);
    CHECK_RC(w->rc, PLAIT_ENOTSUP);
    CHECK_EQ(plait_is_alive(w->subject), 1);
    t_kill(w->subject);
    return 0;
}

static int without_pidfds_in_the_kernel_parents_kill_and_join(void *unused)
{
    (void)unused;
    return without_pidfds_parents_kill_and_join(ENOSYS);
}

static int with_pidfds_refused_parents_kill_and_join(void *unused)
{
    (void)unused;
    return without_pidfds_parents_kill_and_join(EPERM);
}

static int a_killer_without_a_descriptor_says_so_or_kills(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    plait_worker own = t_start_one(PLAIT_PROCESS, stand_still, NULL);
    w->subject = t_start_one(PLAIT_PROCESS, stand_still, NULL);
    plait_worker ended = t_start_one(PLAIT_PROCESS, give_back, (void *)3);
    UNTIL(has_ended(plait_pid(ended)));
    int first = fill_descriptors(60);
    int rc = plait_kill(own);
    CHECK(rc == 0 || rc == PLAIT_EMFILE);
    int ended_rc = plait_kill(ended);
    CHECK(ended_rc == PLAIT_ESRCH || ended_rc == PLAIT_EMFILE);
    CHECK_EQ(plait_is_alive(w->subject), 1);
    CHECK_EQ(t_join_one(ended), 3);
    for (int fd = first; fd < 60; fd++)
        close(fd);
    CHECK(rc == 0 || plait_kill(own) == 0);
    CHECK_EQ(t_join_one(own), -SIGKILL);
    t_kill(w->subject);
    return 0;
}

static int kill_as_another_user(void *world)
{
    become_nobody_else();
    return kill_subject(world);
}

static int what_the_kernel_forbids_is_told(void *unused)
{
    (void)unused;
    if (geteuid() != 0)
        return PROGRAM_SKIPPED;
    struct world *w = new_world();
    w->subject = t_start_one(PLAIT_PROCESS, stand_still, NULL);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, kill_as_another_user, w)), 0);
    CHECK_RC(w->rc, PLAIT_EPERM);
    CHECK_EQ(plait_is_alive(w->subject), 1);
    t_kill(w->subject);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROGRAM(terminate_is_sigterm_and_kill_is_sigkill),
        PROGRAM(terminate_may_be_caught),
        PROGRAM(the_ended_are_not_signalled),
        PROGRAM(killed_twice_is_killed),
        PROGRAM(siblings_and_grandparents_may_kill),
        PROGRAM(a_process_may_kill_itself),
        PROGRAM(a_stopped_process_can_be_killed),
        PROGRAM(a_child_may_kill_its_parent_and_dies_with_it),
        PROGRAM(one_that_is_not_forked_yet_is_not_signalled),
        PROGRAM(a_request_to_stop_reaches_one_that_is_not_forked_yet),
        PROGRAM(any_worker_may_cancel_any),
        PROGRAM(a_child_may_cancel_its_parents_join),
        PROGRAM(a_stopped_process_gets_the_request_when_it_goes_on),
        PROGRAM(without_pidfds_in_the_kernel_parents_kill_and_join),
        PROGRAM(with_pidfds_refused_parents_kill_and_join),
        PROGRAM(a_killer_without_a_descriptor_says_so_or_kills),
        PROGRAM(what_the_kernel_forbids_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
