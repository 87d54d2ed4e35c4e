/* Proxies: words that others change or wake are told to a loop, by each of the three ways; no wake-up is lost. */
#include "task/proxy.h"

#include "base/clock.h"
#include "harness.h"
#include "port/futex.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { RING, EARS, POLLS, WAYS, SKIPPED = 77 };

static const char *const names[] = {"ring", "ears", "polls"};

static void choose(int way)
{
    if (way >= EARS)
        pl_uring_forget_all();
    if (way == POLLS)
        pl_futex_forget_waitv();
}

static int look_for_ring(void *unused)
{
    (void)unused;
    static uint32_t word;
    struct pl_proxies p = {0};
    struct pl_proxied *watch = pl_proxy_arm(&p, &word, 0, NULL);
    CHECK(watch);
    bool has = p.has_ring;
    pl_proxy_disarm(&p, watch);
    pl_proxies_end(&p);
    return has;
}

/* In a process of its own, for the end of a ring makes itself felt: see turn(). */
static bool has_ring(void)
{
    return t_in_fork(look_for_ring, NULL) == 1;
}

/* All ears are without work; a watch that was not let go would keep one. */
static void end_ears(void)
{
    pl_ears_tire_after(0);
    UNTIL(pl_ears() == 0);
}

/* What one scene is told: its way is chosen already. */
static int way_now;

struct scene {
    plait_function *play;
    int way;
};

static int play_scene(void *arg)
{
    struct scene *s = arg;
    way_now = s->way;
    choose(s->way);
    if (s->way == RING && !has_ring())
        return SKIPPED;
    int rc = s->play(NULL);
    end_ears();
    return rc;
}

/* The scene in each way, each in a process of its own, for what is forgotten stays so. */
static void in_each_way(plait_function *play)
{
    for (int way = 0; way < WAYS; way++) {
        int status = t_in_fork(play_scene, &(struct scene){play, way});
        if (status == SKIPPED)
            print_message("no ring on this machine\n");
        else if (status)
            fail_msg("%s: %d", names[way], status);
    }
}

#define SCENE(name)                                                                                \
    static int scene_##name(void *unused);                                                         \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        in_each_way(scene_##name);                                                                 \
    }                                                                                              \
    static int scene_##name(void *unused __attribute__((unused)))

/* --- a small loop --- */

struct loop {
    struct pl_proxies p;
    int epoll;
    int watched; /* fd + 1 */
};

struct sleeper {
    struct pl_proxied *watch;
    int told;
};

static void told(void *arg)
{
    struct sleeper *s = arg;
    s->told++;
}

static struct loop *new_loop(void)
{
    struct loop *l = calloc(1, sizeof *l);
    CHECK(l);
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    CHECK(l->epoll >= 0);
    CHECK_EQ(pl_proxy_fd(&l->p), -1);
    return l;
}

static _Thread_local int rings_closed;

static void end_loop(struct loop *l)
{
    rings_closed += l->p.has_ring;
    pl_proxies_end(&l->p);
    CHECK_EQ(pl_proxy_fd(&l->p), -1);
    close(l->epoll);
    free(l);
}

static void submit(struct loop *l)
{
    pl_proxy_submit(&l->p);
    int fd = pl_proxy_fd(&l->p);
    if (fd < 0 || l->watched)
        return;
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    CHECK_EQ(epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &event), 0);
    l->watched = fd + 1;
}

/* One turn; collects only if the bell was rung, so that a missing bell shows. */
static void turn(struct loop *l, int ms)
{
    struct epoll_event event;
    submit(l);
    int n = epoll_wait(l->epoll, &event, 1, ms);
    /* No signal is sent, and a result must not look like one; but some time after a ring was closed the kernel
     * interrupts its thread once. */
    CHECK(n >= 0 || (errno == EINTR && rings_closed > 0));
    if (n > 0)
        pl_proxy_collect(&l->p, told);
}

static void arm(struct loop *l, struct sleeper *s, uint32_t *word, uint32_t seen)
{
    errno = EXDEV;
    *s = (struct sleeper){0};
    s->watch = pl_proxy_arm(&l->p, word, seen, s);
    CHECK(s->watch);
    CHECK_EQ(errno, EXDEV);
}

static void disarm(struct loop *l, struct sleeper *s)
{
    errno = EXDEV;
    pl_proxy_disarm(&l->p, s->watch);
    s->watch = NULL;
    CHECK_EQ(errno, EXDEV);
}

#define UNTIL_TOLD(loop, condition) UNTIL((condition) || (turn((loop), 10), (condition)))

/* Turns that have a chance to show what must not come. */
static void look_around(struct loop *l)
{
    for (int i = 0; i < 5; i++)
        turn(l, 4);
}

static void *new_shared(size_t size)
{
    void *got = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(got != MAP_FAILED);
    return got;
}

/* The watch stands in the word's queue: a wake-up of nobody else's reaches it. Only where there is a queue. */
static void submit_and_settle(struct loop *l)
{
    submit(l);
    if (way_now == EARS)
        t_sleep(plait_ms(20)); /* until the ear sleeps; tests that need it do not rely on it */
}

/* --- other processes --- */

struct board {
    uint32_t word;
    int asleep, woken, stop;
    long hits;
};

static int change_word(void *arg)
{
    struct board *b = arg;
    TELL(b->word, b->word + 1);
    pl_futex_wake(&b->word, 1, true);
    return 0;
}

static int sleep_on_word(void *arg)
{
    struct board *b = arg;
    COUNT(b->asleep);
    pl_futex_wait(&b->word, 0, true, PL_NEVER);
    COUNT(b->woken);
    return 0;
}

/* Whether a process sleeps in the kernel. */
static bool is_asleep(pid_t pid)
{
    char path[64], text[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = 0;
    const char *after = strrchr(text, ')');
    return after && after[1] && after[2] == 'S';
}

static pid_t start_sleeper(struct board *b)
{
    int before = SEEN(b->asleep);
    pid_t pid = t_fork(sleep_on_word, b);
    UNTIL(SEEN(b->asleep) == before + 1 && is_asleep(pid));
    return pid;
}

/* --- telling --- */

SCENE(a_word_changed_before_arming_is_told)
{
    struct loop *l = new_loop();
    struct board *b = new_shared(sizeof *b);
    struct sleeper s;
    b->word = 7;
    arm(l, &s, &b->word, 6);
    UNTIL_TOLD(l, s.told);
    disarm(l, &s);
    end_loop(l);
    return 0;
}

SCENE(a_word_changed_before_submitting_is_told)
{
    struct loop *l = new_loop();
    struct board *b = new_shared(sizeof *b);
    struct sleeper s;
    arm(l, &s, &b->word, 0);
    CHECK_EQ(t_in_fork(change_word, b), 0);
    UNTIL_TOLD(l, s.told);
    disarm(l, &s);
    end_loop(l);
    return 0;
}

SCENE(a_word_changed_and_woken_by_another_process_is_told)
{
    struct loop *l = new_loop();
    struct board *b = new_shared(sizeof *b);
    for (uint32_t i = 0; i < 10; i++) {
        struct sleeper s;
        arm(l, &s, &b->word, i);
        turn(l, 0);
        pid_t pid = t_fork(change_word, b);
        UNTIL_TOLD(l, s.told);
        CHECK_EQ(SEEN(b->word), i + 1);
        CHECK_EQ(t_reap(pid), 0);
        disarm(l, &s);
    }
    end_loop(l);
    return 0;
}

SCENE(a_wake_up_without_a_change_is_told)
{
    struct loop *l = new_loop();
    struct board *b = new_shared(sizeof *b);
    struct sleeper s;
    arm(l, &s, &b->word, 0);
    if (way_now != POLLS) {
        UNTIL((turn(l, 0), pl_futex_wake(&b->word, 1, true) == 1));
        UNTIL_TOLD(l, s.told);
    } else {
        turn(l, 0);
        CHECK_EQ(pl_futex_wake(&b->word, 1, true), 0); /* it takes none */
    }
    disarm(l, &s);
    end_loop(l);
    return 0;
}

SCENE(a_watch_tells_once_and_others_tell_nothing)
{
    struct loop *l = new_loop();
    struct board *b = new_shared(2 * sizeof *b);
    struct sleeper s, quiet;
    arm(l, &s, &b[0].word, 0);
    arm(l, &quiet, &b[1].word,
        0); /* the newer comes first in an ear's list: it may be told for no reason */
    look_around(l);
    CHECK(s.told == 0 && quiet.told == 0);
    TELL(b[0].word, 1);
    pl_futex_wake(&b[0].word, INT_MAX, true);
    UNTIL_TOLD(l, s.told);
    pl_futex_wake(&b[0].word, INT_MAX, true);
    look_around(l);
    CHECK_EQ(s.told, 1);
    if (way_now != EARS)
        CHECK_EQ(quiet.told, 0);
    disarm(l, &s);
    disarm(l, &quiet);
    look_around(l);
    end_loop(l);
    return 0;
}

/* told() may arm and disarm. */
static struct loop *busy;
static struct sleeper victims[2];

static void tell_and_change(void *arg)
{
    struct sleeper *s = arg, *other = &victims[s == &victims[0]];
    s->told++;
    disarm(busy, s);
    if (other->watch)
        disarm(busy, other);
}

SCENE(a_sleeper_that_is_told_may_disarm_others)
{
    struct loop *l = busy = new_loop();
    struct board *b = new_shared(sizeof *b);
    b->word = 1;
    arm(l, &victims[0], &b->word, 0);
    arm(l, &victims[1], &b->word, 0);
    submit(l);
    UNTIL((pl_proxy_collect(&l->p, tell_and_change), victims[0].told + victims[1].told > 0));
    t_sleep(plait_ms(20));
    pl_proxy_collect(&l->p, tell_and_change);
    CHECK_EQ(victims[0].told + victims[1].told, 1);
    end_loop(l);
    return 0;
}

SCENE(five_thousand_words_are_watched_at_once)
{
    enum { N = 5000 };
    struct loop *l = new_loop();
    uint32_t *words = new_shared(N * sizeof *words);
    struct sleeper *s = calloc(N, sizeof *s);
    CHECK(s);
    for (int i = 0; i < N; i++)
        arm(l, &s[i], &words[i], 0);
    look_around(l);
    for (int i = 0; i < N; i++)
        CHECK_EQ(s[i].told, 0);
    for (int i = 0; i < N; i++) {
        TELL(words[i], 1);
        int woken = pl_futex_wake(&words[i], 1, true);
        CHECK(way_now != RING || woken == 1);
    }
    for (int i = 0; i < N; i++)
        UNTIL_TOLD(l, s[i].told);
    look_around(l);
    for (int i = 0; i < N; i++) {
        CHECK_EQ(s[i].told, 1);
        disarm(l, &s[i]);
    }
    free(s);
    end_loop(l);
    return 0;
}

/* More results at once than a ring has room for. */
SCENE(five_thousand_words_that_differ_are_told)
{
    enum { N = 5000 };
    struct loop *l = new_loop();
    struct board *b = new_shared(sizeof *b);
    struct sleeper *s = calloc(N, sizeof *s);
    CHECK(s);
    b->word = 1;
    for (int i = 0; i < N; i++)
        arm(l, &s[i], &b->word, 0);
    for (int i = 0; i < N; i++)
        UNTIL_TOLD(l, s[i].told);
    look_around(l);
    for (int i = 0; i < N; i++) {
        CHECK_EQ(s[i].told, 1);
        disarm(l, &s[i]);
    }
    free(s);
    end_loop(l);
    return 0;
}

SCENE(five_thousand_watches_can_be_withdrawn)
{
    enum { N = 5000 };
    struct loop *l = new_loop();
    uint32_t *words = new_shared(N * sizeof *words);
    struct sleeper *s = calloc(N, sizeof *s);
    CHECK(s);
    for (int i = 0; i < N; i++)
        arm(l, &s[i], &words[i], 0);
    submit_and_settle(l);
    for (int i = 0; i < N; i++)
        disarm(l, &s[i]);
    for (int i = 0; i < N; i++) {
        UNTIL(pl_futex_wake(&words[i], 1, true) == 0); /* ears take their time */
        CHECK_EQ(s[i].told, 0);
    }
    free(s);
    end_loop(l);
    return 0;
}

/* --- counting --- */

/* Watches and processes stand in one queue, and each wake-up is for one of them. */
SCENE(each_wake_up_reaches_one)
{
    enum { WATCHES = 8, PROCESSES = 4 };
    struct loop *l = new_loop();
    struct board *b = new_shared(sizeof *b);
    struct sleeper s[WATCHES];
    pid_t pids[PROCESSES];
    int hits = 0, n_told = 0;
    for (int i = 0; i < WATCHES; i++) {
        arm(l, &s[i], &b->word, 0);
        if (i % 2 == 0)
            pids[i / 2] = start_sleeper(b);
        submit(l);
    }
    int most = way_now == POLLS ? PROCESSES : WATCHES + PROCESSES;
    for (struct t_poll poll = {0}; n_told + SEEN(b->woken) < most;) {
        int hit = pl_futex_wake(&b->word, 1, true);
        hits += hit;
        if (!hit)
            t_poll_again(&poll, __FILE__, __LINE__, "all are woken");
        turn(l, 0);
        n_told = 0;
        for (int i = 0; i < WATCHES; i++)
            n_told += s[i].told;
        CHECK(way_now == EARS || n_told + SEEN(b->woken) <= hits);
    }
    CHECK(hits <= most);
    if (way_now != EARS)
        CHECK_EQ(hits, most);
    for (int i = 0; i < PROCESSES; i++)
        CHECK_EQ(t_reap(pids[i]), 0);
    for (int i = 0; i < WATCHES; i++)
        disarm(l, &s[i]);
    end_loop(l);
    return 0;
}

SCENE(what_an_untold_watch_swallowed_is_passed_on)
{
    struct loop *l = new_loop();
    for (int round = 0; round < 10; round++) {
        struct board *b = new_shared(sizeof *b);
        struct sleeper s;
        arm(l, &s, &b->word, 0);
        submit_and_settle(l);
        pid_t pid = start_sleeper(b);
        UNTIL(pl_futex_wake(&b->word, 1, true) == 1); /* first in the queue: the watch */
        if (way_now == RING && round == 0)
            CHECK_EQ(b->woken, 0);
        if (round % 2)
            t_sleep(plait_ms(2)); /* in the box or the ring by now */
        disarm(l, &s);
        CHECK_EQ(t_reap(pid), 0);
        CHECK_EQ(s.told, 0);
        munmap(b, sizeof *b);
    }
    end_loop(l);
    return 0;
}

/* What came before another watch was withdrawn is still told after. */
SCENE(withdrawing_one_loses_nothing_of_the_others)
{
    enum { N = 20 };
    struct loop *l = new_loop();
    struct board *b = new_shared(N * sizeof *b);
    struct sleeper s[N];
    for (int i = 0; i < N; i++)
        arm(l, &s[i], &b[i].word, 0);
    submit_and_settle(l);
    for (int i = 1; i < N; i++) {
        TELL(b[i].word, 1);
        pl_futex_wake(&b[i].word, 1, true);
    }
    disarm(l, &s[0]);
    for (int i = 1; i < N; i++)
        UNTIL_TOLD(l, s[i].told);
    for (int i = 1; i < N; i++)
        disarm(l, &s[i]);
    end_loop(l);
    return 0;
}

SCENE(a_watch_never_submitted_takes_no_wake_up)
{
    struct loop *l = new_loop();
    struct board *b = new_shared(sizeof *b);
    struct sleeper s;
    pid_t pid = start_sleeper(b);
    arm(l, &s, &b->word, 0);
    UNTIL(pl_futex_wake(&b->word, 1, true) == 1);
    disarm(l, &s);
    CHECK_EQ(t_reap(pid), 0);
    end_loop(l);
    return 0;
}

/* --- deaths and forks --- */

static int watch_and_stand_still(void *arg)
{
    struct board *b = arg;
    struct loop *l = new_loop();
    struct sleeper s;
    arm(l, &s, &b->word, 0);
    submit_and_settle(l);
    TELL(b->stop, 1);
    while (pause())
        ;
    return 0;
}

SCENE(a_dead_process_watches_no_more)
{
    struct board *b = new_shared(sizeof *b);
    pid_t pid = t_fork(watch_and_stand_still, b);
    UNTIL(SEEN(b->stop));
    kill(pid, SIGKILL);
    CHECK_EQ(t_reap(pid), 1000 + SIGKILL);
    CHECK_EQ(pl_futex_wake(&b->word, INT_MAX, true), 0);
    return 0;
}

struct family {
    struct loop *loop;
    struct board *board;
    struct sleeper *sleepers;
};

static int forget_and_watch(void *arg)
{
    struct family *f = arg;
    CHECK_EQ(pl_ears(), 0);
    pl_proxies_forget(&f->loop->p);
    CHECK_EQ(pl_proxy_fd(&f->loop->p), -1);
    struct loop *l = new_loop();
    struct sleeper s;
    arm(l, &s, &f->board[1].word, 0);
    turn(l, 0);
    TELL(f->board[1].word, 1);
    pl_futex_wake(&f->board[1].word, INT_MAX, true);
    UNTIL_TOLD(l, s.told);
    disarm(l, &s);
    end_loop(l);
    close(f->loop->epoll);
    free(f->loop);
    free(f->sleepers);
    return 0;
}

/* Watches of all states: fresh, in the kernel, ready, told, withdrawn. */
SCENE(a_forked_child_has_its_own_and_the_parent_keeps_its)
{
    struct loop *l = new_loop();
    struct board *b = new_shared(4 * sizeof *b);
    struct sleeper *s = calloc(5, sizeof *s);
    CHECK(s);
    b[2].word = 1;
    arm(l, &s[0], &b[0].word, 0);
    arm(l, &s[1], &b[2].word, 0);
    UNTIL_TOLD(l, s[1].told);
    arm(l, &s[2], &b[3].word, 0);
    submit_and_settle(l);
    TELL(b[3].word, 1);
    pl_futex_wake(&b[3].word, 1, true); /* not collected yet */
    arm(l, &s[3], &b[0].word, 0);
    arm(l, &s[4], &b[0].word, 0);
    submit_and_settle(l);
    disarm(l, &s[4]);
    CHECK_EQ(t_in_fork(forget_and_watch, &(struct family){l, b, s}), 0);
    UNTIL_TOLD(l, s[2].told);
    TELL(b[0].word, 1);
    pl_futex_wake(&b[0].word, INT_MAX, true);
    UNTIL_TOLD(l, s[0].told && s[3].told);
    for (int i = 0; i < 4; i++)
        disarm(l, &s[i]);
    free(s);
    end_loop(l);
    return 0;
}

/* A child that knows nothing of it holds the descriptors; the parent's end is an end all the same. */
static int stand_still(void *unused)
{
    (void)unused;
    while (pause())
        ;
    return 0;
}

SCENE(a_child_that_keeps_the_descriptors_harms_nobody)
{
    struct loop *l = new_loop();
    struct board *b = new_shared(sizeof *b);
    struct sleeper s;
    arm(l, &s, &b->word, 0);
    submit_and_settle(l);
    pid_t pid = t_fork(stand_still, NULL);
    disarm(l, &s);
    end_loop(l);
    UNTIL(pl_futex_wake(&b->word, INT_MAX, true) == 0);
    kill(pid, SIGKILL);
    CHECK_EQ(t_reap(pid), 1000 + SIGKILL);
    return 0;
}

SCENE(nothing_is_left_open)
{
    int before = t_open_files();
    for (int i = 0; i < 20; i++) {
        struct loop *l = new_loop();
        struct board *b = new_shared(sizeof *b);
        struct sleeper s;
        arm(l, &s, &b->word, (uint32_t)i % 2);
        if (i % 3)
            turn(l, 0);
        disarm(l, &s);
        end_loop(l);
        munmap(b, sizeof *b);
    }
    CHECK_EQ(t_open_files(), before);
    return 0;
}

/* --- two loops, signals, idle ears --- */

enum { ROUNDS = 50 }; /* 5 ms each where ears poll */

static int watch_in_a_thread(void *arg)
{
    struct board *b = arg;
    struct loop *l = new_loop();
    for (uint32_t i = 0; i < ROUNDS; i++) {
        struct sleeper s;
        arm(l, &s, &b->word, 2 * i);
        UNTIL_TOLD(l, SEEN(b->word) != 2 * i);
        disarm(l, &s);
        ADD(b->word, 1);
        pl_futex_wake(&b->word, INT_MAX, true);
    }
    end_loop(l);
    return 0;
}

static void *watch_in_a_pthread(void *arg)
{
    return (void *)(intptr_t)watch_in_a_thread(arg);
}

SCENE(loops_of_several_threads_watch_the_same_word)
{
    struct board *b = new_shared(sizeof *b);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, watch_in_a_pthread, b), 0);
    struct loop *l = new_loop();
    ADD(b->word, 1);
    for (uint32_t i = 0; i < ROUNDS - 1; i++) {
        struct sleeper s;
        arm(l, &s, &b->word, 2 * i + 1);
        UNTIL_TOLD(l, SEEN(b->word) > 2 * i + 1);
        disarm(l, &s);
        ADD(b->word, 1);
        pl_futex_wake(&b->word, INT_MAX, true);
    }
    CHECK_EQ(pthread_join(thread, NULL), 0);
    end_loop(l);
    return 0;
}

static void die_of_it(int signal)
{
    (void)signal;
    CHECK(!"an ear has handled a signal");
}

SCENE(ears_handle_no_signals)
{
    struct loop *l = new_loop();
    struct board *b = new_shared(sizeof *b);
    struct sleeper s;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    signal(SIGUSR1, die_of_it);
    arm(l, &s, &b->word, 0);
    submit_and_settle(l);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    for (int i = 0; i < 20; i++) {
        CHECK_EQ(kill(getpid(), SIGUSR1), 0);
        t_sleep(plait_ms(1));
        CHECK_EQ(sigtimedwait(&set, NULL, &(struct timespec){0, 0}), SIGUSR1);
    }
    disarm(l, &s);
    end_loop(l);
    return 0;
}

SCENE(ears_without_work_end)
{
    if (way_now == RING)
        return 0;
    pl_ears_tire_after(plait_ms(5));
    struct loop *l = new_loop();
    struct board *b = new_shared(sizeof *b);
    for (int round = 0; round < 5; round++) {
        struct sleeper s;
        arm(l, &s, &b->word, (uint32_t)round);
        turn(l, 0);
        CHECK_EQ(pl_ears(), 1);
        t_sleep(plait_ms(10));
        CHECK_EQ(pl_ears(), 1); /* it has work */
        ADD(b->word, 1);
        pl_futex_wake(&b->word, 1, true);
        UNTIL_TOLD(l, s.told);
        disarm(l, &s);
        UNTIL(pl_ears() == 0);
    }
    end_loop(l);
    return 0;
}

/* --- refusals --- */

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

static void check_watching(struct loop *l, struct board *b)
{
    struct sleeper s;
    uint32_t seen = SEEN(b->word);
    arm(l, &s, &b->word, seen);
    turn(l, 0);
    CHECK_EQ(s.told, 0);
    TELL(b->word, seen + 1);
    pl_futex_wake(&b->word, 1, true);
    UNTIL_TOLD(l, s.told);
    disarm(l, &s);
}

struct refusal {
    int call, error;
};

static int refuse_and_watch(void *arg)
{
    struct refusal *r = arg;
    if (!refuse(r->call, r->error))
        return SKIPPED;
    rings_closed = r->call == SYS_io_uring_register; /* at once, for it is of no use */
    struct loop *l = new_loop();
    check_watching(l, new_shared(sizeof(struct board)));
    CHECK_EQ(pl_ears(), 1);
    end_loop(l);
    end_ears();
    return 0;
}

static void a_refused_ring_is_replaced_by_ears(void **state)
{
    (void)state;
    const struct refusal refusals[] = {
        {SYS_io_uring_setup, ENOSYS},   {SYS_io_uring_setup, EPERM},
        {SYS_io_uring_setup, ENOMEM},   {SYS_io_uring_setup, EMFILE},
        {SYS_io_uring_register, EPERM}, {SYS_io_uring_register, EINVAL},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        int status = t_in_fork(refuse_and_watch, (void *)(uintptr_t)&refusals[i]);
        if (status == SKIPPED)
            skip();
        assert_int_equal(status, 0);
    }
}

/* A filter that comes late: all that the ring had is told or passed on, the rest goes to ears. */
static int refuse_enter_later(void *error)
{
    if (!has_ring())
        return 0;
    struct loop *l = new_loop();
    struct board *b = new_shared(3 * sizeof *b);
    struct sleeper s[3];
    for (int i = 0; i < 3; i++) {
        if (i == 2) {
            pid_t pid = start_sleeper(&b[1]); /* behind the watch */
            CHECK_EQ(pl_futex_wake(&b[1].word, 1, true), 1);
            if (!refuse(SYS_io_uring_enter, (int)(intptr_t)error))
                return SKIPPED;
            disarm(l, &s[1]);
            rings_closed = 1;
            CHECK_EQ(t_reap(pid), 0);
        }
        arm(l, &s[i], &b[i].word, 0);
        submit(l);
    }
    UNTIL_TOLD(l, s[0].told);
    CHECK_EQ(s[2].told, 0);
    CHECK_EQ(pl_futex_wake(&b[0].word, INT_MAX, true), 0);
    disarm(l, &s[0]);
    check_watching(l, &b[0]);
    disarm(l, &s[2]);
    CHECK_EQ(pl_ears(), 1);
    end_loop(l);
    end_ears();
    return 0;
}

static void a_ring_that_fails_later_loses_nothing(void **state)
{
    (void)state;
    const int errors[] = {EPERM, ENOSYS, EAGAIN};
    for (int i = 0; i < 3; i++) {
        int status = t_in_fork(refuse_enter_later, (void *)(intptr_t)errors[i]);
        if (status == SKIPPED)
            skip();
        assert_int_equal(status, 0);
    }
}

SCENE(without_descriptors_nothing_is_watched_yet)
{
    struct loop *l = new_loop();
    struct board *b = new_shared(sizeof *b);
    struct rlimit limit;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit none = {0, limit.rlim_max};
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    errno = EXDEV;
    CHECK(!pl_proxy_arm(&l->p, &b->word, 0, NULL));
    CHECK_EQ(errno, EXDEV);
    CHECK_EQ(pl_proxy_fd(&l->p), -1);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    check_watching(l, b);
    end_loop(l);
    return 0;
}

int main(int argc, char **argv)
{
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_word_changed_before_arming_is_told),
        cmocka_unit_test(a_word_changed_before_submitting_is_told),
        cmocka_unit_test(a_word_changed_and_woken_by_another_process_is_told),
        cmocka_unit_test(a_wake_up_without_a_change_is_told),
        cmocka_unit_test(a_watch_tells_once_and_others_tell_nothing),
        cmocka_unit_test(a_sleeper_that_is_told_may_disarm_others),
        cmocka_unit_test(five_thousand_words_are_watched_at_once),
        cmocka_unit_test(five_thousand_words_that_differ_are_told),
        cmocka_unit_test(five_thousand_watches_can_be_withdrawn),
        cmocka_unit_test(each_wake_up_reaches_one),
        cmocka_unit_test(what_an_untold_watch_swallowed_is_passed_on),
        cmocka_unit_test(withdrawing_one_loses_nothing_of_the_others),
        cmocka_unit_test(a_watch_never_submitted_takes_no_wake_up),
        cmocka_unit_test(a_dead_process_watches_no_more),
        cmocka_unit_test(a_forked_child_has_its_own_and_the_parent_keeps_its),
        cmocka_unit_test(a_child_that_keeps_the_descriptors_harms_nobody),
        cmocka_unit_test(nothing_is_left_open),
        cmocka_unit_test(loops_of_several_threads_watch_the_same_word),
        cmocka_unit_test(ears_handle_no_signals),
        cmocka_unit_test(ears_without_work_end),
        cmocka_unit_test(a_refused_ring_is_replaced_by_ears),
        cmocka_unit_test(a_ring_that_fails_later_loses_nothing),
        cmocka_unit_test(without_descriptors_nothing_is_watched_yet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
