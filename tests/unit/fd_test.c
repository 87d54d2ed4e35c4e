/* Waiting for descriptors: a test per promise of include/plait/fd.h, and each misuse. */
#include "harness/harness.h"

#include "park/park.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WAITERS = 4, SETTINGS = 4 };

static void new_pipe(int ends[2])
{
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
}

static void close_both(const int ends[2])
{
    close(ends[0]);
    close(ends[1]);
}

static void put_byte(int fd)
{
    CHECK_EQ(write(fd, "x", 1), 1);
}

static void take_byte(int fd)
{
    char c;
    CHECK_EQ(read(fd, &c, 1), 1);
}

/* As any blocking call: the object is where the descriptor's number lies. */
static int wait_readable(void *fd, int64_t timeout)
{
    return plait_wait_fd(*(int *)fd, PLAIT_READABLE, timeout);
}

/* --- refusals --- */

static void without_an_arena_it_says_why_it_cannot_wait(void **state)
{
    (void)state;
    int p[2];
    new_pipe(p);
    put_byte(p[1]);
    CHECK_RC(wait_readable(&p[0], PLAIT_FOREVER), PLAIT_READABLE); /* none is needed for that */
    CHECK(pl_arena == NULL);
    take_byte(p[0]);
    t_check_no_arena(wait_readable, &p[0]);
    close_both(p);
}

static void events_that_do_not_exist_are_refused(void **state)
{
    (void)state;
    int p[2];
    new_pipe(p);
    errno = EXDEV;
    CHECK_RC(plait_wait_fd(p[0], 0, PLAIT_NOWAIT), PLAIT_EINVAL);
    CHECK_RC(plait_wait_fd(p[0], 32, PLAIT_NOWAIT), PLAIT_EINVAL);
    CHECK_RC(plait_wait_fd(p[0], PLAIT_READABLE | 64, PLAIT_NOWAIT), PLAIT_EINVAL);
    CHECK_RC(plait_wait_fd(p[0], -1, PLAIT_NOWAIT), PLAIT_EINVAL);
    CHECK_EQ(errno, EXDEV);
    close_both(p);
}

static void bad_timeouts_are_refused_ready_or_not(void **state)
{
    (void)state;
    int p[2];
    new_pipe(p);
    t_check_bad_timeouts(wait_readable, &p[0]);
    put_byte(p[1]);
    t_check_bad_timeouts(wait_readable, &p[0]);
    close_both(p);
}

static void what_is_not_open_is_refused(void **state)
{
    (void)state;
    int p[2];
    new_pipe(p);
    int closed = fcntl(p[0], F_DUPFD, 500); /* a number that nobody else gets meanwhile */
    CHECK(closed >= 0);
    close(closed);
    close_both(p);
    errno = EXDEV;
    const int64_t timeouts[] = {PLAIT_NOWAIT, PLAIT_FOREVER, 1000};
    for (int i = 0; i < 3; i++) {
        CHECK_RC(plait_wait_fd(closed, PLAIT_READABLE, timeouts[i]), PLAIT_EBADF);
        CHECK_RC(plait_wait_fd(-1, PLAIT_READABLE, timeouts[i]), PLAIT_EBADF);
        CHECK_RC(plait_wait_fd(INT32_MIN, PLAIT_WRITABLE, timeouts[i]), PLAIT_EBADF);
    }
    struct pl_wait wait;
    CHECK_RC(pl_self_known(), 0);
    CHECK_RC(pl_wait_begin(&wait, PL_WAIT_FD, PLAIT_FOREVER), 0);
    CHECK_RC(pl_park_fd(closed, POLLIN, &wait), PLAIT_EBADF);
    CHECK_RC(pl_park_fd(-1, POLLIN, &wait), PLAIT_EBADF);
    CHECK_EQ(errno, EXDEV);
}

/* --- what descriptors there are --- */

static void check_becomes_readable(int fd, void (*make)(int fd), int with)
{
    CHECK_RC(wait_readable(&fd, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
    CHECK_RC(wait_readable(&fd, 1), PLAIT_ETIMEDOUT);
    make(with);
    int rc = wait_readable(&fd, PLAIT_FOREVER);
    CHECK(rc > 0 && (rc & PLAIT_READABLE));
    CHECK_EQ(wait_readable(&fd, PLAIT_NOWAIT), rc);
}

static void set_eventfd(int fd)
{
    CHECK_EQ(eventfd_write(fd, 3), 0);
}

static void start_clock(int fd)
{
    struct itimerspec in = {.it_value = {0, 1000000}};
    CHECK_EQ(timerfd_settime(fd, 0, &in, NULL), 0);
}

static void kill_child(int pid)
{
    CHECK_EQ(kill(pid, SIGKILL), 0);
}

static void pipes_and_sockets_become_ready(void **state)
{
    (void)state;
    int p[2];
    new_pipe(p);
    check_becomes_readable(p[0], put_byte, p[1]);
    close_both(p);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, p), 0);
    check_becomes_readable(p[0], put_byte, p[1]);
    close_both(p);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, p), 0);
    check_becomes_readable(p[0], put_byte, p[1]);
    close_both(p);
}

static void what_only_linux_has_becomes_ready(void **state)
{
    (void)state;
    int fd = eventfd(0, EFD_CLOEXEC);
    check_becomes_readable(fd, set_eventfd, fd);
    int epoll = epoll_create1(EPOLL_CLOEXEC), p[2];
    new_pipe(p);
    CHECK_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, p[0], &(struct epoll_event){.events = EPOLLIN}), 0);
    check_becomes_readable(epoll, put_byte, p[1]);
    close(fd);
    close(epoll);
    close_both(p);
    fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    check_becomes_readable(fd, start_clock, fd);
    close(fd);
}

static int hold_still(void *unused)
{
    (void)unused;
    t_sleep_for_ever();
}

static void a_pidfd_is_ready_when_the_process_has_ended(void **state)
{
    (void)state;
    pid_t child = t_fork(hold_still, NULL);
    int fd = (int)syscall(434 /* pidfd_open */, child, 0);
    if (fd >= 0)
        check_becomes_readable(fd, kill_child, child);
    else
        kill_child(child);
    close(fd);
    CHECK_EQ(t_reap(child), 1000 + SIGKILL);
}

static void a_terminal_becomes_ready(void **state)
{
    (void)state;
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0)
        skip();
    CHECK_EQ(grantpt(master), 0);
    CHECK_EQ(unlockpt(master), 0);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    CHECK(slave >= 0);
    check_becomes_readable(master, put_byte, slave);
    CHECK(plait_wait_fd(slave, PLAIT_WRITABLE, PLAIT_NOWAIT) > 0);
    close(slave);
    close(master);
}

static void regular_files_are_always_ready(void **state)
{
    (void)state;
    char name[] = "/tmp/plait-fd-XXXXXX";
    int fd = mkstemp(name);
    CHECK(fd >= 0);
    unlink(name);
    CHECK_RC(plait_wait_fd(fd, PLAIT_READABLE | PLAIT_WRITABLE, PLAIT_FOREVER),
             PLAIT_READABLE | PLAIT_WRITABLE);
    CHECK_RC(plait_wait_fd(fd, PLAIT_WRITABLE, PLAIT_NOWAIT), PLAIT_WRITABLE);
    close(fd);
}

/* --- what they are ready for --- */

static void only_what_was_asked_for_counts(void **state)
{
    (void)state;
    int s[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
    CHECK_RC(plait_wait_fd(s[0], PLAIT_READABLE | PLAIT_WRITABLE, PLAIT_FOREVER), PLAIT_WRITABLE);
    CHECK_RC(plait_wait_fd(s[0], PLAIT_PRIORITY, plait_ms(1)), PLAIT_ETIMEDOUT);
    CHECK_RC(plait_wait_fd(s[0], PLAIT_HANGUP, plait_ms(1)), PLAIT_ETIMEDOUT);
    put_byte(s[1]);
    CHECK_RC(plait_wait_fd(s[0], PLAIT_READABLE | PLAIT_WRITABLE, PLAIT_FOREVER),
             PLAIT_READABLE | PLAIT_WRITABLE);
    CHECK_RC(plait_wait_fd(s[0], PLAIT_WRITABLE, PLAIT_FOREVER), PLAIT_WRITABLE);
    close_both(s);
}

static void the_end_of_a_stream_and_a_hangup_always_count(void **state)
{
    (void)state;
    int s[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
    CHECK_EQ(shutdown(s[1], SHUT_WR), 0);
    CHECK_RC(plait_wait_fd(s[0], PLAIT_READABLE, PLAIT_FOREVER), PLAIT_READABLE);
    CHECK_RC(plait_wait_fd(s[0], PLAIT_HANGUP, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
    close(s[1]);
    CHECK_RC(plait_wait_fd(s[0], PLAIT_HANGUP, PLAIT_FOREVER), PLAIT_HANGUP);
    CHECK_RC(plait_wait_fd(s[0], PLAIT_PRIORITY, PLAIT_FOREVER), PLAIT_HANGUP);
    close(s[0]);
    new_pipe(s);
    close(s[1]);
    CHECK_RC(plait_wait_fd(s[0], PLAIT_READABLE, PLAIT_FOREVER), PLAIT_HANGUP);
    close(s[0]);
    new_pipe(s);
    close(s[0]); /* no reader */
    CHECK_RC(plait_wait_fd(s[1], PLAIT_WRITABLE, PLAIT_FOREVER), PLAIT_WRITABLE | PLAIT_FAILED);
    CHECK_RC(plait_wait_fd(s[1], PLAIT_FAILED, PLAIT_FOREVER), PLAIT_FAILED);
    CHECK_RC(plait_wait_fd(s[1], PLAIT_READABLE, PLAIT_FOREVER), PLAIT_FAILED);
    close(s[1]);
}

/* Two sockets of TCP that are connected with each other; the third listens. */
static void connect_tcp(int s[3])
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    s[2] = socket(AF_INET, SOCK_STREAM, 0);
    s[0] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK_EQ(bind(s[2], (struct sockaddr *)&a, sizeof a), 0);
    CHECK_EQ(listen(s[2], 1), 0);
    CHECK_EQ(getsockname(s[2], (struct sockaddr *)&a, &size), 0);
    CHECK(connect(s[0], (struct sockaddr *)&a, sizeof a) == 0 || errno == EINPROGRESS);
    CHECK_RC(plait_wait_fd(s[2], PLAIT_READABLE, PLAIT_FOREVER), PLAIT_READABLE);
    s[1] = accept(s[2], NULL, NULL);
    CHECK(s[1] >= 0);
    CHECK_RC(plait_wait_fd(s[0], PLAIT_WRITABLE, PLAIT_FOREVER), PLAIT_WRITABLE);
}

static void a_connection_is_accepted_and_urgent_data_seen(void **state)
{
    (void)state;
    int s[3];
    connect_tcp(s);
    CHECK_RC(plait_wait_fd(s[1], PLAIT_PRIORITY, plait_ms(1)), PLAIT_ETIMEDOUT);
    CHECK_EQ(send(s[0], "u", 1, MSG_OOB), 1);
    CHECK_RC(plait_wait_fd(s[1], PLAIT_PRIORITY, PLAIT_FOREVER), PLAIT_PRIORITY);
    struct linger none = {1, 0};
    CHECK_EQ(setsockopt(s[0], SOL_SOCKET, SO_LINGER, &none, sizeof none), 0);
    close(s[0]); /* resets the connection */
    int rc = plait_wait_fd(s[1], PLAIT_FAILED, PLAIT_FOREVER);
    CHECK(rc > 0 && (rc & PLAIT_FAILED));
    close(s[1]);
    close(s[2]);
}

/* --- waiting --- */

struct box {
    int pipe[2];
    struct t_waiter waiters[WAITERS];
};

static int through(const struct box *b)
{
    int n = 0;
    for (int i = 0; i < WAITERS; i++)
        n += SEEN(b->waiters[i].step) == 2;
    return n;
}

static void start_waiters(struct t_team *team, const struct t_setting *s, struct box *b)
{
    new_pipe(b->pipe);
    team->n = WAITERS;
    for (int i = 0; i < WAITERS; i++) {
        b->waiters[i] = (struct t_waiter){wait_readable, &b->pipe[0], PLAIT_FOREVER, 0, 0, 0};
        team->workers[i] = t_start_one(s->kinds[i % 2], t_wait_once, &b->waiters[i]);
        UNTIL_WAITS(team->workers[i], PL_WAIT_FD);
    }
}

static void all_who_wait_are_told(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        struct t_team team;
        struct box *b = t_new(s, sizeof *b);
        start_waiters(&team, s, b);
        CHECK_EQ(through(b), 0);
        put_byte(b->pipe[1]);
        t_join(&team);
        for (int i = 0; i < WAITERS; i++)
            CHECK_RC(b->waiters[i].rc, PLAIT_READABLE);
        close_both(b->pipe);
        t_delete(s, b);
    }
}

static void a_killed_waiter_leaves_nothing(void **state)
{
    (void)state;
    struct t_team team;
    struct box *b = t_new(&t_processes, sizeof *b);
    start_waiters(&team, &t_processes, b);
    t_kill(team.workers[0]);
    put_byte(b->pipe[1]);
    for (int i = 1; i < WAITERS; i++) {
        CHECK_EQ(t_join_one(team.workers[i]), 0);
        CHECK_RC(b->waiters[i].rc, PLAIT_READABLE);
    }
    close_both(b->pipe);
    t_delete(&t_processes, b);
}

static void a_timeout_is_over_in_time(void **state)
{
    (void)state;
    int p[2];
    new_pipe(p);
    t_check_time(wait_readable, &p[0]);
    close_both(p);
}

static void signals_do_not_restart_the_time(void **state)
{
    (void)state;
    int p[2];
    new_pipe(p);
    t_check_signals(wait_readable, &p[0]);
    close_both(p);
}

static int send_nudges(void *worker)
{
    plait_worker *w = worker;
    int pid = plait_pid(*w), tid = plait_tid(*w);
    while (!SEEN(w[1].slot)) {
        syscall(SYS_tgkill, pid, tid, SIGURG);
        plait_event_wait(&(plait_event){0}, plait_us(50));
    }
    return 0;
}

/* Such as come when a canceller was held up. */
static void nudges_for_nothing_end_no_wait(void **state)
{
    (void)state;
    int p[2];
    plait_worker me[2] = {plait_self()};
    new_pipe(p);
    plait_worker sender = t_start_one(PLAIT_THREAD, send_nudges, me);
    int64_t start = plait_now();
    CHECK_RC(wait_readable(&p[0], plait_ms(100)), PLAIT_ETIMEDOUT);
    CHECK(plait_now() - start >= plait_ms(100));
    put_byte(p[1]);
    CHECK_RC(wait_readable(&p[0], PLAIT_FOREVER), PLAIT_READABLE);
    TELL(me[1].slot, 1);
    CHECK_EQ(t_join_one(sender), 0);
    close_both(p);
}

static int close_it(void *arg)
{
    struct t_waiter *w = arg;
    UNTIL(SEEN(w->go));
    close(*(int *)w->object);
    TELL(w->step, 9);
    return 0;
}

static void a_wait_for_what_was_closed_can_be_cancelled(void **state)
{
    (void)state;
    int p[2];
    new_pipe(p);
    int number = dup(p[0]);
    struct t_waiter w = {wait_readable, &number, PLAIT_FOREVER, 0, 0, 0};
    struct t_waiter c = {.object = &number};
    plait_worker waiter = t_start_one(PLAIT_THREAD, t_wait_once, &w);
    plait_worker closer = t_start_one(PLAIT_THREAD, close_it, &c);
    UNTIL_WAITS(waiter, PL_WAIT_FD);
    t_sleep(plait_ms(20)); /* on record it is a little before it sleeps */
    TELL(c.go, 1);
    CHECK_EQ(t_join_one(closer), 0);
    CHECK_RC(plait_cancel(waiter), 0);
    CHECK_EQ(t_join_one(waiter), 0);
    CHECK(w.rc == PLAIT_ECANCELED || w.rc == PLAIT_EBADF); /* it may look again first */
    close_both(p);
}

static void the_wait_is_on_record(void **state)
{
    (void)state;
    assert_string_equal(pl_wait_name(PL_WAIT_FD), "a descriptor");
    CHECK_RC(plait_state(plait_self()), PLAIT_STATE_RUNNING); /* and off it after */
    CHECK_EQ(__atomic_load_n(&pl_self.slot->in_poll, __ATOMIC_RELAXED), 0);
}

/* --- cancellation --- */

static void cancellation_ends_a_wait(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        int *p = t_new(s, 2 * sizeof *p);
        new_pipe(p);
        t_check_cancel(s, wait_readable, &p[0]);
        t_check_cancel_pending(s, wait_readable, &p[0]);
        t_check_cancel_counts(s, wait_readable, &p[0]);
        t_check_uncancel(s, wait_readable, &p[0]);
        close_both(p);
        t_delete(s, p);
    }
}

static int64_t cancel_all(void)
{
    struct box *b[SETTINGS];
    struct t_team teams[SETTINGS];
    for (int i = 0; i < SETTINGS; i++) {
        b[i] = t_new(&t_settings[i], sizeof *b[i]);
        start_waiters(&teams[i], &t_settings[i], b[i]);
    }
    int64_t start = plait_now();
    for (int i = 0; i < SETTINGS; i++)
        for (int k = 0; k < WAITERS; k++)
            CHECK_RC(plait_cancel(teams[i].workers[k]), 0);
    for (int i = 0; i < SETTINGS; i++)
        UNTIL(through(b[i]) == WAITERS);
    int64_t took = plait_now() - start;
    for (int i = 0; i < SETTINGS; i++) {
        t_join(&teams[i]);
        for (int k = 0; k < WAITERS; k++)
            CHECK_RC(b[i]->waiters[k].rc, PLAIT_ECANCELED);
        close_both(b[i]->pipe);
        t_delete(&t_settings[i], b[i]);
    }
    return took;
}

static void cancellation_ends_a_wait_at_once(void **state)
{
    (void)state;
    t_check_at_once(cancel_all);
}

static void what_is_ready_comes_before_a_request(void **state)
{
    (void)state;
    int p[2];
    new_pipe(p);
    put_byte(p[1]);
    CHECK_RC(plait_cancel(plait_self()), 0);
    CHECK_RC(wait_readable(&p[0], PLAIT_FOREVER), PLAIT_READABLE);
    take_byte(p[0]);
    CHECK_RC(wait_readable(&p[0], PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
    CHECK_RC(wait_readable(&p[0], PLAIT_FOREVER), PLAIT_ECANCELED);
    CHECK_EQ(plait_uncancel(), 0);
    close_both(p);
}

static void a_firm_wait_is_not_ended(void **state)
{
    (void)state;
    int p[2];
    struct pl_wait wait;
    new_pipe(p);
    CHECK_RC(pl_wait_begin(&wait, PL_WAIT_FD, plait_ms(5)), 0);
    wait.uncancellable = true;
    CHECK_RC(plait_cancel(plait_self()), 0);
    CHECK_RC(pl_park_fd(p[0], POLLIN, &wait), PLAIT_ETIMEDOUT);
    CHECK_RC(plait_checkpoint(), PLAIT_ECANCELED);
    CHECK_EQ(plait_uncancel(), 0);
    close_both(p);
}

/* --- the signal, the handler, the mask --- */

static bool is_blocked(int signal)
{
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    return sigismember(&mask, signal);
}

static void change_mask(int how, int signal)
{
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, signal);
    CHECK_EQ(pthread_sigmask(how, &only, NULL), 0);
}

static void the_threads_mask_is_as_before(void **state)
{
    (void)state;
    int p[2];
    new_pipe(p);
    for (int blocked = 0; blocked < 2; blocked++) {
        change_mask(blocked ? SIG_BLOCK : SIG_UNBLOCK, SIGURG);
        CHECK_RC(wait_readable(&p[0], 1000), PLAIT_ETIMEDOUT);
        CHECK_EQ(is_blocked(SIGURG), blocked);
        CHECK_EQ(is_blocked(SIGUSR1), 0);
    }
    change_mask(SIG_UNBLOCK, SIGURG);
    close_both(p);
}

static int wait_with_all_blocked(void *waiter)
{
    sigset_t all, after;
    sigfillset(&all);
    CHECK_EQ(pthread_sigmask(SIG_SETMASK, &all, NULL), 0);
    t_wait_once(waiter);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &after), 0);
    CHECK_EQ(sigismember(&after, SIGURG), 1);
    CHECK_EQ(sigismember(&after, SIGUSR1), 1);
    return 0;
}

static int64_t cancel_with_all_blocked(void)
{
    int64_t took = 0;
    int *p = t_new(&t_processes, 2 * sizeof *p);
    struct t_waiter *w = t_new(&t_processes, sizeof *w);
    new_pipe(p);
    FOR_EACH_KIND(kind)
    {
        *w = (struct t_waiter){wait_readable, &p[0], PLAIT_FOREVER, 0, 0, 0};
        plait_worker worker = t_start_one(kind, wait_with_all_blocked, w);
        UNTIL_WAITS(worker, PL_WAIT_FD);
        t_sleep(plait_ms(5));
        int64_t start = plait_now();
        CHECK_RC(plait_cancel(worker), 0);
        CHECK_EQ(t_join_one(worker), 0);
        took += plait_now() - start;
        CHECK_RC(w->rc, PLAIT_ECANCELED);
    }
    close_both(p);
    t_delete(&t_processes, p);
    t_delete(&t_processes, w);
    return took;
}

static void who_blocks_all_signals_is_cancelled_at_once_too(void **state)
{
    (void)state;
    t_check_at_once(cancel_with_all_blocked);
}

static int calls;

static void count_call(int signal)
{
    (void)signal;
    COUNT(calls);
}

static int64_t cancel_one(void)
{
    int p[2];
    new_pipe(p);
    struct t_waiter w = {wait_readable, &p[0], PLAIT_FOREVER, 0, 0, 0};
    plait_worker worker = t_start_one(PLAIT_THREAD, t_wait_once, &w);
    UNTIL_WAITS(worker, PL_WAIT_FD);
    t_sleep(plait_ms(5)); /* to be asleep, so that it takes a signal */
    int64_t start = plait_now();
    CHECK_RC(plait_cancel(worker), 0);
    CHECK_EQ(t_join_one(worker), 0);
    CHECK_RC(w.rc, PLAIT_ECANCELED);
    close_both(p);
    return plait_now() - start;
}

static int in_a_program_with_its_own_handler(void *unused)
{
    (void)unused;
    struct sigaction own = {.sa_handler = count_call, .sa_flags = SA_RESTART}, now;
    CHECK_EQ(sigaction(SIGURG, &own, NULL), 0);
    t_check_at_once(cancel_one);
    CHECK(SEEN(calls) >= 1);
    CHECK_EQ(sigaction(SIGURG, NULL, &now), 0);
    CHECK(now.sa_handler == count_call);
    return 0;
}

static int in_a_program_that_ignores_it_later(void *unused)
{
    (void)unused;
    CHECK(cancel_one() < plait_seconds(T_PATIENCE_S)); /* has the handler installed */
    CHECK(signal(SIGURG, SIG_IGN) != SIG_ERR);
    CHECK(cancel_one() < plait_seconds(T_PATIENCE_S)); /* after a nap, in the worst case */
    t_check_at_once(cancel_one);                       /* which has installed it again */
    return 0;
}

static int in_a_program_with_none(void *unused)
{
    (void)unused;
    int p[2];
    struct sigaction now;
    CHECK(signal(SIGURG, SIG_DFL) != SIG_ERR);
    new_pipe(p);
    CHECK_RC(wait_readable(&p[0], 1000), PLAIT_ETIMEDOUT);
    CHECK_EQ(sigaction(SIGURG, NULL, &now), 0);
    CHECK(now.sa_handler != SIG_DFL && now.sa_handler != SIG_IGN);
    CHECK(now.sa_flags & SA_RESTART);
    CHECK_EQ(raise(SIGURG), 0); /* and it does no harm */
    return 0;
}

/* Each in a program of its own, forked before anybody here has waited. */
static void a_handler_of_the_program_stays(void **state)
{
    (void)state;
    CHECK_EQ(t_in_fork(in_a_program_with_its_own_handler, NULL), 0);
}

static void without_a_handler_there_is_one_after(void **state)
{
    (void)state;
    CHECK_EQ(t_in_fork(in_a_program_with_none, NULL), 0);
}

static void if_it_is_ignored_later_a_request_comes_after_a_nap(void **state)
{
    (void)state;
    CHECK_EQ(t_in_fork(in_a_program_that_ignores_it_later, NULL), 0);
}

static int mask_in_child(void *unused)
{
    (void)unused;
    return is_blocked(SIGURG);
}

static int wait_in_hold(void *waiter)
{
    pl_poll_hold();
    CHECK_EQ(is_blocked(SIGURG), 1);
    t_wait_once(waiter);
    CHECK_EQ(is_blocked(SIGURG), 1);
    CHECK_EQ(t_in_fork(mask_in_child, NULL), 0);
    pl_poll_let_go();
    CHECK_EQ(is_blocked(SIGURG), 0);
    pl_poll_let_go(); /* once too often is nothing */
    return 0;
}

static int64_t cancel_in_hold(void)
{
    int p[2];
    new_pipe(p);
    struct t_waiter w = {wait_readable, &p[0], PLAIT_FOREVER, 0, 0, 0};
    plait_worker worker = t_start_one(PLAIT_THREAD, wait_in_hold, &w);
    UNTIL_WAITS(worker, PL_WAIT_FD);
    t_sleep(plait_ms(5));
    int64_t start = plait_now();
    CHECK_RC(plait_cancel(worker), 0);
    UNTIL(SEEN(w.step) == 2);
    int64_t took = plait_now() - start;
    CHECK_EQ(t_join_one(worker), 0);
    CHECK_RC(w.rc, PLAIT_ECANCELED);
    close_both(p);
    return took;
}

static int block_more_in_hold(void *unused)
{
    int p[2];
    (void)unused;
    CHECK(signal(SIGUSR1, count_call) != SIG_ERR);
    new_pipe(p);
    pl_poll_hold();
    change_mask(SIG_BLOCK, SIGUSR1);
    change_mask(SIG_UNBLOCK, SIGURG); /* nor does this undo the hold */
    CHECK_EQ(raise(SIGUSR1), 0);
    CHECK_RC(wait_readable(&p[0], plait_ms(1)), PLAIT_ETIMEDOUT);
    CHECK_EQ(SEEN(calls), 0);
    CHECK_EQ(is_blocked(SIGURG), 1);
    CHECK_EQ(is_blocked(SIGUSR1), 1);
    pl_poll_let_go();
    CHECK_EQ(is_blocked(SIGURG), 0);
    CHECK_EQ(is_blocked(SIGUSR1), 1);
    change_mask(SIG_UNBLOCK, SIGUSR1);
    CHECK_EQ(SEEN(calls), 1);
    return 0;
}

static void what_is_blocked_meanwhile_stays_blocked_in_the_sleep(void **state)
{
    (void)state;
    CHECK_EQ(t_in_fork(block_more_in_hold, NULL), 0);
}

static void the_signal_may_stay_blocked_between_waits(void **state)
{
    (void)state;
    t_check_at_once(cancel_in_hold);
}

struct plain_thread {
    int fd, rc;
    pthread_t thread;
    int started;
};

static void *wait_in_pthread(void *arg)
{
    struct plain_thread *t = arg;
    TELL(t->started, 1);
    t->rc = wait_readable(&t->fd, PLAIT_FOREVER);
    TELL(t->started, 2);
    return NULL;
}

static void pthread_cancel_does_not_strike_within(void **state)
{
    (void)state;
    int p[2];
    new_pipe(p);
    struct plain_thread t = {.fd = p[0]};
    CHECK_EQ(pthread_create(&t.thread, NULL, wait_in_pthread, &t), 0);
    UNTIL(SEEN(t.started) == 1);
    t_sleep(plait_ms(5));
    CHECK_EQ(pthread_cancel(t.thread), 0);
    t_sleep(plait_ms(5));
    put_byte(p[1]);
    CHECK_EQ(pthread_join(t.thread, NULL), 0);
    CHECK_EQ(t.started, 2);
    CHECK_RC(t.rc, PLAIT_READABLE);
    close_both(p);
}

struct hosted {
    int fd;
    struct pl_slot *task, *thread;
};

static int wait_beside_a_task(void *arg)
{
    struct hosted *h = arg;
    CHECK_RC(pl_self_known(), 0);
    h->thread = pl_self.slot;
    CHECK_RC(pl_slot_enter_task(&h->task, plait_self()), 0);
    CHECK_EQ(pl_slot_of(h->task->host) == h->thread, 1);
    CHECK_RC(wait_readable(&h->fd, PLAIT_FOREVER), PLAIT_READABLE);
    pl_slot_leave_task(h->task, 0);
    return 0;
}

static int nudge_a_task(void *unused)
{
    (void)unused;
    struct hosted h = {0};
    int p[2];
    struct sigaction own = {.sa_handler = count_call, .sa_flags = SA_RESTART};
    CHECK_EQ(sigaction(SIGURG, &own, NULL), 0);
    new_pipe(p);
    h.fd = p[0];
    plait_worker w = t_start_one(PLAIT_THREAD, wait_beside_a_task, &h);
    UNTIL_WAITS(w, PL_WAIT_FD);
    UNTIL(__atomic_load_n(&h.thread->in_poll, __ATOMIC_SEQ_CST));
    CHECK_EQ(SEEN(calls), 0);
    errno = EXDEV;
    pl_poll_nudge(h.task);
    CHECK_EQ(errno, EXDEV);
    UNTIL(SEEN(calls) == 1);
    pl_poll_nudge(pl_self.slot); /* does not sleep: is sent nothing */
    CHECK_EQ(SEEN(calls), 1);
    put_byte(p[1]);
    CHECK_EQ(t_join_one(w), 0);
    CHECK_EQ(SEEN(calls), 1);
    close_both(p);
    return 0;
}

static void to_nudge_a_task_is_to_nudge_its_thread(void **state)
{
    (void)state;
    CHECK_EQ(t_in_fork(nudge_a_task, NULL), 0);
}

/* --- a parker that waits for descriptors itself --- */

static int asked_fd;
static uint32_t asked_events;

static int answer(struct pl_parker *self, int fd, uint32_t events, struct pl_wait *wait,
                  struct pl_fd_watch *watch)
{
    (void)self;
    (void)watch;
    CHECK_EQ(wait->kind, PL_WAIT_FD);
    asked_fd = fd;
    asked_events = events;
    return POLLOUT | POLLHUP;
}

static void a_loop_is_asked_instead(void **state)
{
    (void)state;
    int p[2];
    struct pl_parker parker = {.wait_fd = answer};
    new_pipe(p);
    CHECK_RC(pl_self_known(), 0);
    pl_self.parker = &parker;
    int rc = plait_wait_fd(p[0], PLAIT_READABLE | PLAIT_PRIORITY, PLAIT_FOREVER);
    pl_self.parker = NULL;
    CHECK_EQ(rc, PLAIT_WRITABLE | PLAIT_HANGUP);
    CHECK_EQ(asked_fd, p[0]);
    CHECK_EQ(asked_events, POLLIN | POLLPRI);
    close_both(p);
}

#ifdef PL_STEP_HOOKS
/* --- every interleaving of a wait with a byte and a request to stop --- */

static int meeting_point[2];

static bool write_here(void *unused)
{
    (void)unused;
    put_byte(meeting_point[1]);
    return true;
}

static int meet(void *held, long i, long k)
{
    struct t_meddling m = {.deeds = {write_here, t_cancel_me}, .at = {i, k}};
    for (int try = 0; try < T_TRIES; try++) {
        if (*(bool *)held)
            pl_poll_hold();
        int rc = t_meddle(&m, wait_readable, &meeting_point[0], plait_ms(T_SHORT_MS));
        pl_poll_let_go();
        t_check_canceled_once(&m, rc);
        CHECK(rc != PLAIT_READABLE || m.done[0]);
        CHECK(rc == PLAIT_READABLE || rc == PLAIT_ECANCELED || rc == PLAIT_ETIMEDOUT);
        CHECK_EQ(is_blocked(SIGURG), 0);
        if (m.done[0])
            take_byte(meeting_point[0]);
        if (!(m.done[0] || m.done[1]) || m.took <= plait_ms(T_TOO_LONG_MS))
            return t_came_late(&m);
    }
    t_die(__FILE__, __LINE__, "deeds at steps %ld and %ld, and it slept on", i, k);
}

static void at_each_step_what_meets_a_wait_is_heard(void **state)
{
    (void)state;
    new_pipe(meeting_point);
    for (int held = 0; held < 2; held++)
        t_each_pair(meet, &(bool){held});
    close_both(meeting_point);
}
#endif

static int nothing_is_left(void **state)
{
    (void)state;
    return t_has_children() ? -1 : 0;
}

int main(int argc, char **argv)
{
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_an_arena_it_says_why_it_cannot_wait), /* the first */
        cmocka_unit_test(without_a_handler_there_is_one_after),
        cmocka_unit_test(a_handler_of_the_program_stays),
        cmocka_unit_test(if_it_is_ignored_later_a_request_comes_after_a_nap),
        cmocka_unit_test(events_that_do_not_exist_are_refused),
        cmocka_unit_test(bad_timeouts_are_refused_ready_or_not),
        cmocka_unit_test(what_is_not_open_is_refused),
        cmocka_unit_test(pipes_and_sockets_become_ready),
        cmocka_unit_test(what_only_linux_has_becomes_ready),
        cmocka_unit_test(a_pidfd_is_ready_when_the_process_has_ended),
        cmocka_unit_test(a_terminal_becomes_ready),
        cmocka_unit_test(regular_files_are_always_ready),
        cmocka_unit_test(only_what_was_asked_for_counts),
        cmocka_unit_test(the_end_of_a_stream_and_a_hangup_always_count),
        cmocka_unit_test(a_connection_is_accepted_and_urgent_data_seen),
        cmocka_unit_test(all_who_wait_are_told),
        cmocka_unit_test(a_killed_waiter_leaves_nothing),
        cmocka_unit_test(a_timeout_is_over_in_time),
        cmocka_unit_test(signals_do_not_restart_the_time),
        cmocka_unit_test(nudges_for_nothing_end_no_wait),
        cmocka_unit_test(a_wait_for_what_was_closed_can_be_cancelled),
        cmocka_unit_test(the_wait_is_on_record),
        cmocka_unit_test(cancellation_ends_a_wait),
        cmocka_unit_test(cancellation_ends_a_wait_at_once),
        cmocka_unit_test(what_is_ready_comes_before_a_request),
        cmocka_unit_test(a_firm_wait_is_not_ended),
        cmocka_unit_test(the_threads_mask_is_as_before),
        cmocka_unit_test(who_blocks_all_signals_is_cancelled_at_once_too),
        cmocka_unit_test(what_is_blocked_meanwhile_stays_blocked_in_the_sleep),
        cmocka_unit_test(the_signal_may_stay_blocked_between_waits),
        cmocka_unit_test(to_nudge_a_task_is_to_nudge_its_thread),
        cmocka_unit_test(pthread_cancel_does_not_strike_within),
        cmocka_unit_test(a_loop_is_asked_instead),
#ifdef PL_STEP_HOOKS
        cmocka_unit_test(at_each_step_what_meets_a_wait_is_heard),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
