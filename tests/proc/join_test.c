/* Joining processes: by parents and strangers, by several at once, and when others meddle. */
#include "program.h"

#include "park/park.h"
#include "registry/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the workers of one test share; in the arena. */
struct world {
    plait_event done;     /* ends those who wait for it */
    plait_worker subject; /* who is to be joined */
    plait_blame ends[8];
    int rcs[8];
    int n; /* results in `ends` and `rcs` */
    int ready;
    int go;
};

static struct world *new_world(void)
{
    struct world *w = plait_alloc(sizeof *w);
    CHECK(w != NULL);
    return w;
}

static int wait_for_done(void *world)
{
    struct world *w = world;
    CHECK_RC(plait_event_wait(&w->done, PLAIT_FOREVER), 0);
    return 7;
}

static int join_subject(void *world)
{
    struct world *w = world;
    plait_blame end = {0};
    int rc = plait_join(w->subject, &end, plait_seconds(T_PATIENCE_S));
    int place = COUNT(w->n) - 1;
    w->ends[place] = end;
    w->rcs[place] = rc;
    return 0;
}

static int give_back(void *n)
{
    return (int)(intptr_t)n;
}

static int raise_it(void *n)
{
    raise((int)(intptr_t)n);
    return 1;
}

/* --- strangers --- */

static int a_sibling_joins_one_who_returns(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    w->subject = t_start_one(PLAIT_PROCESS, wait_for_done, w);
    plait_worker sibling = t_start_one(PLAIT_PROCESS, join_subject, w);
    UNTIL_WAITS(sibling, PL_WAIT_JOIN);
    plait_event_set(&w->done);
    CHECK_EQ(t_join_one(sibling), 0);
    CHECK_RC(w->rcs[0], 0);
    CHECK_EQ(w->ends[0].status, 7);
    CHECK(w->ends[0].returned);
    CHECK(plait_same(w->ends[0].worker, w->subject));
    CHECK_RC(plait_join(w->subject, NULL, PLAIT_FOREVER), PLAIT_ESTALE);
    CHECK_EQ(plait_children(NULL, 0), 0); /* which also collects the zombie */
    UNTIL(plait_children(NULL, 0) == 0 && !t_has_children());
    return 0;
}

/* The parent is busy and does not collect, so the stranger asks the kernel about the zombie. */
static int a_sibling_joins_one_who_is_killed(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    w->subject = t_start_one(PLAIT_PROCESS, wait_for_done, w);
    int pid = plait_pid(w->subject);
    plait_worker sibling = t_start_one(PLAIT_PROCESS, join_subject, w);
    UNTIL_WAITS(sibling, PL_WAIT_JOIN);
    CHECK_RC(plait_kill(w->subject), 0);
    UNTIL(SEEN(w->n) == 1);
    CHECK_EQ(t_join_one(sibling), 0);
    CHECK_RC(w->rcs[0], PLAIT_DIED);
    CHECK(!w->ends[0].returned);
    CHECK_EQ(w->ends[0].pid, pid);
    CHECK_EQ(w->ends[0].signal, SIGKILL);
    CHECK_EQ(w->ends[0].status, -SIGKILL);
    UNTIL(plait_children(NULL, 0) == 0 && !t_has_children());
    return 0;
}

/* If the parent collects first, the kernel has nothing to tell a stranger; the registry has. */
static int a_stranger_may_not_learn_the_signal_but_learns_the_death(void *unused)
{
    (void)unused;
    for (int round = 0; round < 20; round++) {
        struct world *w = new_world();
        w->subject = t_start_one(PLAIT_PROCESS, wait_for_done, w);
        plait_worker sibling = t_start_one(PLAIT_PROCESS, join_subject, w);
        UNTIL_WAITS(sibling, PL_WAIT_JOIN);
        int pid = plait_pid(w->subject);
        CHECK_EQ(kill(pid, SIGKILL), 0);
        CHECK_EQ(waitpid(pid, NULL, 0), pid); /* at once, past plait */
        CHECK_EQ(t_join_one(sibling), 0);
        CHECK_RC(w->rcs[0], PLAIT_DIED);
        CHECK((w->ends[0].signal == SIGKILL && w->ends[0].status == -SIGKILL) ||
              (w->ends[0].signal == 0 && w->ends[0].status == -1));
        CHECK(!w->ends[0].returned);
        plait_free(w);
    }
    return 0;
}

static int join_grandchild(void *world)
{
    struct world *w = world;
    w->subject = t_start_one(PLAIT_PROCESS, wait_for_done, w);
    TELL(w->ready, 1);
    CHECK_RC(plait_event_wait(&w->done, PLAIT_FOREVER), 0);
    UNTIL(SEEN(w->go));
    CHECK_RC(plait_join(w->subject, NULL, PLAIT_FOREVER), PLAIT_ESTALE);
    return 3;
}

static int a_grandparent_joins_its_grandchild(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    plait_blame end;
    plait_worker child = t_start_one(PLAIT_PROCESS, join_grandchild, w);
    UNTIL(SEEN(w->ready));
    CHECK(plait_same(plait_parent(w->subject), child));
    CHECK_RC(plait_join(w->subject, NULL, plait_ms(20)), PLAIT_ETIMEDOUT);
    plait_event_set(&w->done);
    CHECK_RC(plait_join(w->subject, &end, PLAIT_FOREVER), 0);
    CHECK_EQ(end.status, 7);
    TELL(w->go, 1);
    CHECK_EQ(t_join_one(child), 3);
    return 0;
}

static int start_and_stand_still(void *world)
{
    struct world *w = world;
    w->subject = t_start_one(PLAIT_PROCESS, wait_for_done, w);
    TELL(w->ready, 1);
    while (pause())
        ;
    return 0;
}

/* Nobody but the kernel tells of the death: the parent is stopped all the while. */
static int a_stranger_needs_no_help_from_the_parent(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    plait_blame end;
    plait_worker child = t_start_one(PLAIT_PROCESS, start_and_stand_still, w);
    UNTIL(SEEN(w->ready));
    t_stop(child);
    CHECK_RC(plait_kill(w->subject), 0);
    CHECK_RC(plait_join(w->subject, &end, PLAIT_FOREVER), PLAIT_DIED);
    CHECK_EQ(end.signal, SIGKILL);
    t_continue(child);
    t_kill(child);
    return 0;
}

static int child_dies_when_forked;

static void die_when_forked(void)
{
    if (child_dies_when_forked)
        raise(SIGKILL);
}

static int bear_dead_and_stand_still(void *world)
{
    struct world *w = world;
    CHECK_EQ(pthread_atfork(NULL, NULL, die_when_forked), 0);
    child_dies_when_forked = 1;
    w->subject = t_start_one(PLAIT_PROCESS, wait_for_done, w);
    child_dies_when_forked = 0;
    TELL(w->ready, 1);
    while (pause())
        ;
    return 0;
}

static int a_stranger_joins_one_who_died_before_it_was_registered(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    plait_worker child = t_start_one(PLAIT_PROCESS, bear_dead_and_stand_still, w);
    UNTIL(SEEN(w->ready));
    CHECK_RC(plait_join(w->subject, NULL, plait_seconds(20)), PLAIT_DIED);
    CHECK_EQ(plait_is_alive(w->subject), 0);
    t_kill(child);
    return 0;
}

/* --- several --- */

static void start_joiners(struct t_team *team, struct world *w)
{
    t_start(team, &t_mixed, 6, join_subject, w);
    for (int i = 0; i < team->n; i++)
        UNTIL_WAITS(team->workers[i], PL_WAIT_JOIN);
}

static int all_who_wait_get_the_result(void *unused)
{
    (void)unused;
    for (int round = 0; round < 10; round++) {
        struct world *w = new_world();
        struct t_team team;
        w->subject = t_start_one(round & 1 ? PLAIT_PROCESS : PLAIT_THREAD, wait_for_done, w);
        start_joiners(&team, w);
        plait_event_set(&w->done);
        t_join(&team);
        CHECK_EQ(w->n, 6);
        for (int i = 0; i < 6; i++) {
            CHECK_RC(w->rcs[i], 0);
            CHECK_EQ(w->ends[i].status, 7);
            CHECK(plait_same(w->ends[i].worker, w->subject));
        }
        CHECK_RC(plait_join(w->subject, NULL, PLAIT_NOWAIT), PLAIT_ESTALE);
        plait_free(w);
    }
    return 0;
}

static int all_who_wait_learn_of_the_death(void *unused)
{
    (void)unused;
    for (int round = 0; round < 10; round++) {
        struct world *w = new_world();
        struct t_team team;
        w->subject = t_start_one(PLAIT_PROCESS, wait_for_done, w);
        start_joiners(&team, w);
        CHECK_EQ(kill(plait_pid(w->subject), SIGKILL), 0);
        t_join(&team);
        for (int i = 0; i < 6; i++) {
            CHECK_RC(w->rcs[i], PLAIT_DIED);
            CHECK(w->ends[i].signal == SIGKILL || w->ends[i].signal == 0);
            CHECK(!w->ends[i].returned);
        }
        plait_free(w);
    }
    CHECK(plait_children(NULL, 0) == 0);
    UNTIL(plait_children(NULL, 0) == 0 && !t_has_children());
    return 0;
}

/* --- a joiner that is held up --- */

static int hold_ends[2];

static void hold(int signal)
{
    char c;
    (void)signal;
    while (read(hold_ends[0], &c, 1) != 1)
        ;
}

/* Makes the slot of `w` the next to be claimed. */
static plait_worker start_in_slot(plait_worker w, int kind, plait_function *fn, void *arg)
{
    __atomic_store_n(&pl_arena->slot_cursor, w.slot, __ATOMIC_SEQ_CST);
    plait_worker next = t_start_one(kind, fn, arg);
    CHECK_EQ(next.slot, w.slot);
    return next;
}

/* A joiner stands in a signal handler while its worker is joined by another and the entry is used
 * for the next. Whatever it says, it must neither wait for that one nor speak of it. */
static int a_joiner_that_is_held_up_does_not_join_the_next_in_that_place(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    CHECK_EQ(pipe(hold_ends), 0);
    signal(SIGUSR1, hold);
    w->subject = t_start_one(PLAIT_PROCESS, wait_for_done, w);
    plait_worker joiner = t_start_one(PLAIT_THREAD, join_subject, w);
    UNTIL_WAITS(joiner, PL_WAIT_JOIN);
    CHECK_EQ(tgkill(getpid(), plait_tid(joiner), SIGUSR1), 0);
    t_sleep(plait_ms(20));
    plait_event_set(&w->done);
    plait_worker first = w->subject;
    CHECK_EQ(t_join_one(first), 7);
    struct world *w2 = new_world();
    plait_worker next = start_in_slot(first, PLAIT_PROCESS, wait_for_done, w2);
    CHECK_EQ(write(hold_ends[1], "x", 1), 1);
    CHECK_EQ(t_join_one(joiner), 0);
    CHECK(w->rcs[0] == PLAIT_ESTALE || (w->rcs[0] == 0 && w->ends[0].status == 7));
    CHECK_EQ(plait_is_alive(next), 1);
    plait_event_set(&w2->done);
    CHECK_EQ(t_join_one(next), 7);
    return 0;
}

/* --- refusals, time, cancellation --- */

static int join_self(void *unused)
{
    (void)unused;
    return -plait_join(plait_self(), NULL, PLAIT_FOREVER);
}

static int a_process_cannot_join_itself(void *unused)
{
    (void)unused;
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, join_self, NULL)), -PLAIT_EDEADLK);
    return 0;
}

static int join_timed(void *worker, int64_t timeout)
{
    return plait_join(*(plait_worker *)worker, NULL, timeout);
}

static int join_of_a_process_keeps_the_promises_of_waits(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    w->subject = t_start_one(PLAIT_PROCESS, wait_for_done, w);
    t_check_bad_timeouts(join_timed, &w->subject);
    t_check_time(join_timed, &w->subject);
    t_check_signals(join_timed, &w->subject);
    t_check_cancel(&t_mixed, join_timed, &w->subject);
    t_check_cancel_pending(&t_mixed, join_timed, &w->subject);
    t_check_cancel_counts(&t_mixed, join_timed, &w->subject);
    t_check_uncancel(&t_mixed, join_timed, &w->subject);
    plait_event_set(&w->done);
    CHECK_EQ(t_join_one(w->subject), 7);
    return 0;
}

static int a_stopped_process_is_not_a_dead_one(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    w->subject = t_start_one(PLAIT_PROCESS, wait_for_done, w);
    UNTIL_WAITS(w->subject, PL_WAIT_EVENT);
    t_stop(w->subject);
    CHECK_RC(plait_join(w->subject, NULL, plait_ms(50)), PLAIT_ETIMEDOUT);
    CHECK_EQ(plait_is_alive(w->subject), 1);
    t_continue(w->subject);
    CHECK_RC(plait_join(w->subject, NULL, plait_ms(20)), PLAIT_ETIMEDOUT);
    t_stop(w->subject);
    CHECK_RC(plait_kill(w->subject), 0);
    CHECK_EQ(t_join_one(w->subject), -SIGKILL);
    return 0;
}

/* --- a process whose first thread leaves and whose others go on --- */

static void *linger(void *world)
{
    struct world *w = world;
    TELL(w->ready, 1);
    UNTIL(SEEN(w->go));
    return NULL;
}

static int leave_a_thread_behind(void *world)
{
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, linger, world), 0);
    pthread_exit(NULL);
}

/* Not under a sanitizer, whose own thread keeps the process alive for ever. */
static int a_join_of_a_process_that_lingers_can_be_given_up(void *unused)
{
    (void)unused;
    if (t_is_sanitized())
        return PROGRAM_SKIPPED;
    struct world *w = new_world();
    w->subject = t_start_one(PLAIT_PROCESS, leave_a_thread_behind, w);
    UNTIL(SEEN(w->ready));
    CHECK_RC(plait_join(w->subject, NULL, plait_ms(50)), PLAIT_ETIMEDOUT);
    plait_worker joiner = t_start_one(PLAIT_THREAD, join_subject, w);
    t_sleep(plait_ms(30)); /* the request may come before the wait or in it */
    CHECK_RC(plait_cancel(joiner), 0);
    CHECK_EQ(t_join_one(joiner), 0);
    CHECK_RC(w->rcs[0], PLAIT_ECANCELED);
    TELL(w->go, 1);
    plait_blame end;
    CHECK_RC(plait_join(w->subject, &end, PLAIT_FOREVER), PLAIT_DIED);
    CHECK_EQ(end.status, 0);
    CHECK(!t_has_children());
    return 0;
}

static int a_process_that_lingers_can_be_killed(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    w->subject = t_start_one(PLAIT_PROCESS, leave_a_thread_behind, w);
    UNTIL(SEEN(w->ready));
    t_sleep(plait_ms(20)); /* the first thread may or may not have left */
    CHECK_RC(plait_kill(w->subject), 0);
    CHECK_RC(plait_join(w->subject, NULL, plait_seconds(20)), PLAIT_DIED);
    CHECK(!t_has_children());
    return 0;
}

/* --- others who wait for children --- */

static int a_child_collected_by_the_program_is_still_joined(void *unused)
{
    (void)unused;
    plait_blame end;
    for (int i = 0; i < 3; i++) {
        plait_worker w = t_start_one(PLAIT_PROCESS, i == 0 ? give_back : raise_it,
                                     (void *)(intptr_t)(i == 1 ? SIGKILL : SIGTERM));
        CHECK_EQ(waitpid(-1, NULL, 0), plait_pid(w));
        int rc = plait_join(w, &end, PLAIT_FOREVER);
        CHECK_RC(rc, i == 0 ? 0 : PLAIT_DIED);
        CHECK_EQ(end.status, i == 0 ? SIGTERM : -1); /* what it said itself; unknown */
        CHECK_EQ(end.signal, 0);
        CHECK_RC(plait_join(w, NULL, PLAIT_NOWAIT), PLAIT_ESTALE);
    }
    CHECK_EQ(plait_enumerate(NULL, 0), 1);
    return 0;
}

static void *collect_all(void *world)
{
    while (!SEEN(((struct world *)world)->go))
        if (waitpid(-1, NULL, 0) < 0)
            sched_yield();
    return NULL;
}

static int a_thread_that_collects_all_children_hangs_nobody(void *unused)
{
    (void)unused;
    struct world *w = new_world();
    pthread_t thief;
    CHECK_EQ(pthread_create(&thief, NULL, collect_all, w), 0);
    for (int i = 0; i < 200; i++) {
        plait_blame end;
        plait_worker worker =
            t_start_one(PLAIT_PROCESS, i & 1 ? raise_it : give_back, (void *)(intptr_t)SIGTERM);
        CHECK_RC(plait_join(worker, &end, PLAIT_FOREVER), i & 1 ? PLAIT_DIED : 0);
        CHECK(i & 1 ? end.status == -SIGTERM || end.status == -1 : end.status == SIGTERM);
    }
    TELL(w->go, 1);
    CHECK_EQ(pthread_join(thief, NULL), 0);
    CHECK(!t_has_children());
    CHECK_EQ(plait_enumerate(NULL, 0), 1);
    return 0;
}

static int ignoring_sigchld_hangs_nobody(void *unused)
{
    (void)unused;
    signal(SIGCHLD, SIG_IGN);
    for (int i = 0; i < 20; i++) {
        plait_blame end;
        plait_worker w =
            t_start_one(PLAIT_PROCESS, i & 1 ? raise_it : give_back, (void *)(intptr_t)SIGTERM);
        CHECK_RC(plait_join(w, &end, PLAIT_FOREVER), i & 1 ? PLAIT_DIED : 0);
        CHECK_EQ(plait_is_alive(w), 0);
    }
    CHECK(!t_has_children());
    return 0;
}

static int plait_collects_only_its_own(void *unused)
{
    (void)unused;
    pid_t own = t_fork(give_back, (void *)(intptr_t)9);
    for (int i = 0; i < 20; i++)
        CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, give_back, NULL)), 0);
    plait_children(NULL, 0);
    CHECK_EQ(t_reap(own), 9);
    return 0;
}

/* --- a pid that is used again --- */

/* The next process is to have this pid. False: the kernel does not let us. */
static bool choose_pid(pid_t pid)
{
    char text[20];
    int n = snprintf(text, sizeof text, "%d", (int)pid - 1);
    int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, (size_t)n) == n;
    if (fd >= 0)
        close(fd);
    return done;
}

static int stand_still(void *unused)
{
    (void)unused;
    while (pause())
        ;
    return 0;
}

/* An innocent process with the pid of one that is gone; 0 if that cannot be had. */
static pid_t fork_with_pid(pid_t pid)
{
    t_sleep(plait_ms(30)); /* births are told in ticks of 10 ms; no pid comes back that soon */
    for (int i = 0; i < 200; i++) {
        if (!choose_pid(pid))
            return 0;
        pid_t got = t_fork(stand_still, NULL);
        if (got == pid)
            return pid;
        CHECK_EQ(kill(got, SIGKILL), 0);
        t_reap(got);
    }
    return 0;
}

static int a_process_that_got_a_dead_workers_pid_is_left_alone(void *unused)
{
    (void)unused;
    plait_blame end;
    plait_worker w = t_start_one(PLAIT_PROCESS, raise_it, (void *)(intptr_t)SIGKILL);
    pid_t pid = plait_pid(w);
    CHECK_EQ(waitpid(pid, NULL, 0), pid); /* stolen: plait does not know that it is gone */
    pid_t innocent = fork_with_pid(pid);
    if (!innocent)
        return PROGRAM_SKIPPED;
    CHECK_RC(plait_kill(w), PLAIT_ESRCH);
    CHECK_RC(plait_terminate(w), PLAIT_ESRCH);
    CHECK_EQ(plait_is_alive(w), 0);
    CHECK_RC(plait_join(w, &end, plait_seconds(5)), PLAIT_DIED);
    CHECK_EQ(end.status, -1);
    CHECK_EQ(end.signal, 0);
    CHECK_EQ(kill(innocent, 0), 0);
    CHECK(!has_ended(innocent));
    CHECK_EQ(kill(innocent, SIGTERM), 0);
    CHECK_EQ(t_reap(innocent), 1000 + SIGTERM);
    return 0;
}

/* The same with a detached child, which plait collects by the way. */
static int collecting_by_the_way_leaves_innocents_alone(void *unused)
{
    (void)unused;
    plait_worker w;
    CHECK_RC(plait_start(&w, PLAIT_PROCESS, give_back, NULL, &(plait_options){.detach = true}), 0);
    pid_t pid = waitpid(-1, NULL, 0);
    CHECK(pid > 0);
    pid_t innocent = fork_with_pid(pid);
    if (!innocent)
        return PROGRAM_SKIPPED;
    CHECK_EQ(kill(innocent, SIGTERM), 0);
    UNTIL(has_ended(innocent));
    CHECK_EQ(plait_children(NULL, 0), 0);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, give_back, NULL)), 0);
    CHECK_EQ(t_reap(innocent), 1000 + SIGTERM);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROGRAM(a_sibling_joins_one_who_returns),
        PROGRAM(a_sibling_joins_one_who_is_killed),
        PROGRAM(a_stranger_may_not_learn_the_signal_but_learns_the_death),
        PROGRAM(a_grandparent_joins_its_grandchild),
        PROGRAM(a_stranger_needs_no_help_from_the_parent),
        PROGRAM(a_stranger_joins_one_who_died_before_it_was_registered),
        PROGRAM(all_who_wait_get_the_result),
        PROGRAM(all_who_wait_learn_of_the_death),
        PROGRAM(a_joiner_that_is_held_up_does_not_join_the_next_in_that_place),
        PROGRAM(a_process_cannot_join_itself),
        PROGRAM(join_of_a_process_keeps_the_promises_of_waits),
        PROGRAM(a_stopped_process_is_not_a_dead_one),
        PROGRAM(a_join_of_a_process_that_lingers_can_be_given_up),
        PROGRAM(a_process_that_lingers_can_be_killed),
        PROGRAM(a_child_collected_by_the_program_is_still_joined),
        PROGRAM(a_thread_that_collects_all_children_hangs_nobody),
        PROGRAM(ignoring_sigchld_hangs_nobody),
        PROGRAM(plait_collects_only_its_own),
        PROGRAM(a_process_that_got_a_dead_workers_pid_is_left_alone),
        PROGRAM(collecting_by_the_way_leaves_innocents_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
