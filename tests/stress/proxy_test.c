/* Proxies that come and go in the queue of a word on which processes wait, too: no wake-up is lost.
 *
 * One process gives permits one at a time: it adds 1 to the word, wakes one, and goes on when the permit was taken.
 * Processes take them, asleep on the word while it is 0. A loop stands in the same queue with watches that never
 * take one: it arms and disarms them all the time, and when one is told, it wakes another and leaves, as a
 * cancelled waiter does. If ever a wake-up stays with a watch, a permit lies about while all sleep, for good. */
#include "task/proxy.h"

#include "base/clock.h"
#include "harness.h"
#include "port/futex.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { RING, EARS, POLLS, WAYS, SKIPPED = 77 };

enum { WATCHES = 6, TAKERS = 2 };

struct world {
    uint32_t permits;
    int stop;
    long given, taken, told;
    long rounds;
    int way;
    pid_t giver;
};

static int take(void *arg)
{
    struct world *w = arg;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        uint32_t n = SEEN(w->permits);
        if (SEEN(w->stop))
            return 0;
        if (n == 0)
            pl_futex_wait(&w->permits, 0, true, PL_NEVER);
        else if (__atomic_compare_exchange_n(&w->permits, &n, n - 1, false, __ATOMIC_SEQ_CST,
                                             __ATOMIC_SEQ_CST))
            ADD(w->taken, 1);
    }
}

static int give(void *arg)
{
    struct world *w = arg;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (long i = 0; i < w->rounds; i++) {
        ADD(w->given, 1);
        ADD(w->permits, 1);
        pl_futex_wake(&w->permits, 1, true);
        for (int spin = 0; spin < 100 && SEEN(w->permits); spin++)
            sched_yield();
        UNTIL(SEEN(w->permits) == 0);
    }
    TELL(w->stop, 1);
    return 0;
}

struct sleeper {
    struct pl_proxied *watch;
    bool told;
};

static struct world *here;

static void told(void *arg)
{
    struct sleeper *s = arg;
    s->told = true;
    here->told++;
}

static void leave(struct pl_proxies *p, struct sleeper *s)
{
    pl_proxy_disarm(p, s->watch);
    if (s->told) /* it may have been a wake-up, which this one will not use */
        pl_futex_wake(&here->permits, 1, true);
    *s = (struct sleeper){0};
}

/* It dies if a permit is not taken in time. */
static bool giver_has_ended(const struct world *w)
{
    siginfo_t info = {.si_pid = 0};
    return waitid(P_PID, (id_t)w->giver, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid != 0;
}

static void come_and_go(struct world *w)
{
    struct pl_proxies p = {0};
    struct sleeper s[WATCHES] = {{0}};
    uint64_t seed = t_seed();
    here = w;
    for (long turns = 1; !SEEN(w->stop); turns++) {
        CHECK(turns % 8192 != 0 || !giver_has_ended(w) || SEEN(w->stop));
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
        struct sleeper *one = &s[(seed >> 33) % WATCHES];
        if (one->watch) {
            leave(&p, one);
        } else {
            one->watch = pl_proxy_arm(&p, &w->permits, 0, one);
            CHECK(one->watch);
        }
        if (seed >> 62) /* else it leaves before it was there, or untold */
            pl_proxy_submit(&p);
        if ((seed >> 60 & 3) == 0)
            pl_proxy_collect(&p, told);
    }
    for (int i = 0; i < WATCHES; i++)
        if (s[i].watch)
            leave(&p, &s[i]);
    pl_proxies_end(&p);
}

static int play(void *arg)
{
    struct world *w = arg;
    pid_t pids[TAKERS + 1];
    if (w->way >= EARS)
        pl_uring_forget_all();
    if (w->way == POLLS)
        pl_futex_forget_waitv();
    for (int i = 0; i < TAKERS; i++)
        pids[i] = t_fork(take, w);
    pids[TAKERS] = w->giver = t_fork(give, w);
    come_and_go(w);
    CHECK_EQ(t_reap(pids[TAKERS]), 0);
    CHECK_EQ(w->permits, 0);
    CHECK_EQ(w->taken, w->given);
    CHECK_EQ(w->given, w->rounds);
    TELL(w->permits, 1); /* the takers have to see the end */
    pl_futex_wake(&w->permits, TAKERS, true);
    for (int i = 0; i < TAKERS; i++)
        CHECK_EQ(t_reap(pids[i]), 0);
    return 0;
}

static void no_wake_up_stays_with_a_watch(int way, long rounds)
{
    struct world *w =
        mmap(NULL, sizeof *w, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(w != MAP_FAILED);
    w->way = way;
    w->rounds = t_rounds(rounds);
    int status; /* t_in_fork would limit the time of all wake-ups together, not that of each */
    pid_t pid = t_fork(play, w);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    print_message("%ld wake-ups, %ld told\n", w->given, w->told);
    munmap(w, sizeof *w);
}

static void no_wake_up_stays_in_the_ring(void **state)
{
    (void)state;
    no_wake_up_stays_with_a_watch(RING, 100000);
}

static void no_wake_up_stays_with_ears(void **state)
{
    (void)state;
    no_wake_up_stays_with_a_watch(EARS, 100000);
}

static void no_wake_up_stays_with_ears_that_poll(void **state)
{
    (void)state;
    no_wake_up_stays_with_a_watch(POLLS, 20000);
}

int main(int argc, char **argv)
{
    t_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_wake_up_stays_in_the_ring),
        cmocka_unit_test(no_wake_up_stays_with_ears),
        cmocka_unit_test(no_wake_up_stays_with_ears_that_poll),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
