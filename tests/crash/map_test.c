/* plait_map, with a worker killed at each atomic step, and with each party held up at each step.
 *
 * Killed: in round k the victim, a worker process of a pool (or the owner of a pool), dies right
 * before its k-th step, from its initializer to its sign-off; k counts up until victims come
 * through. In each round all results must be exact, deaths must be told, the pool must go on, and
 * nothing may be left.
 *
 * Held up: in round k one party stands still for a while right before its k-th step, while others go
 * on: a worker while its caller gives up or the pool ends, a caller that repairs while another
 * calls, a caller while the pool is closed. Whatever one pause at one place can break is met.
 *
 * The steps are those of the build with hooks (base/atomic.h). PLAIT_STEPS=NAME:K runs one round. */
#include "harness.h"

#include "base/atomic.h"
#include "pool/pool_internal.h"

#include <plait/arena.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 6, BAD = 3 }; /* items of a round's first call; the one that always fails */

static struct world {
    long k, second;   /* the first victim stops before this step, the next before that; 0: not */
    int victims;      /* workers that asked to be victims */
    int stopped;      /* victims that were killed or held up */
    int64_t hold;     /* how long a step is held up */
    int inside, over; /* items that wait; calls that are over */
    int runs[64];
    int tries;
    plait_event event;
    plait_pool *pool;
} * w;

/* --- steps --- */

static _Thread_local struct {
    long left;                 /* steps; 0: they are not counted */
    pid_t pid;                 /* of the process that counts: a forked child does not */
    const void *looked_at[16]; /* words that a spinning caller looks at again and again */
    int place;
} steps;

static void arm(long k)
{
    steps.left = k;
    steps.pid = getpid();
    memset(steps.looked_at, 0, sizeof steps.looked_at);
}

static bool is_look(const char *what)
{
    return strcmp(what, "load") == 0;
}

/* Words that workers and callers spin on. */
static bool is_spun_on(const void *word)
{
    struct plait_pool *pool = __atomic_load_n(&w->pool, __ATOMIC_RELAXED);
    if (!pool)
        return false;
    bool found = word == &pool->work || word == &pool->state || word == &pool->manage;
    for (int j = 0; j < PL_POOL_JOBS; j++) {
        struct pl_job *job = __atomic_load_n(&pool->jobs[j], __ATOMIC_RELAXED);
        found |= job && word == &job->done;
    }
    return found || (word >= (void *)pool->seat && word < (void *)&pool->seat[pool->n_seats]);
}

/* Whoever spins may look at the same few words as often as he likes: that counts once. */
static bool looks_again(const void *word)
{
    if (!is_spun_on(word))
        return false;
    for (int i = 0; i < 16; i++)
        if (steps.looked_at[i] == word)
            return true;
    steps.looked_at[steps.place++ % 16] = word;
    return false;
}

static bool is_the_step(void)
{
    if (steps.left == 0 || steps.pid != getpid())
        return false;
    return --steps.left == 0;
}

/* To die before a look is to die before the next deed, so the deeds are counted. */
static void die_here(const char *what, const void *word)
{
    (void)word;
    if (is_look(what) || !is_the_step())
        return;
    COUNT(w->stopped);
    kill(getpid(), SIGKILL);
}

static void hold_here(const char *what, const void *word)
{
    if ((is_look(what) && looks_again(word)) || !is_the_step())
        return;
    COUNT(w->stopped);
    t_sleep(w->hold);
}

/* An initializer: the steps of the first worker, and perhaps of the second, are counted. */
static int become_victim(void *arg)
{
    (void)arg;
    int nth = COUNT(w->victims);
    if (nth <= 2)
        arm(nth == 1 ? w->k : w->second);
    return 0;
}

/* --- rounds --- */

static struct {
    char name[100]; /* empty: all */
    long k;         /* 0: all */
} only;

static struct {
    const char *name;
    long k;
} now;

static void read_choice(void)
{
    const char *text = getenv("PLAIT_STEPS");
    if (text)
        sscanf(text, "%99[^:]:%ld", only.name, &only.k);
}

/* A failed check aborts, a round that hangs is ended: say how to come back here. */
static void tell_round(int signal_number)
{
    fprintf(stderr, "again: PLAIT_STEPS=%s:%ld\n", now.name, now.k);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static bool is_chosen(const char *name, long k)
{
    return !only.name[0] || (strcmp(only.name, name) == 0 && (!only.k || only.k == k));
}

static uint64_t blocks_now(void)
{
    plait_arena_statistics s;
    CHECK_RC(plait_arena_stats(&s), 0);
    return s.blocks;
}

static void run_one(const char *name, void (*round)(void), long k)
{
    uint64_t blocks = blocks_now();
    now.name = name;
    now.k = k;
    memset(w, 0, sizeof *w);
    w->k = k;
    alarm(60);
    round();
    alarm(0);
    CHECK_EQ(blocks_now(), blocks);
    CHECK(!t_has_children());
}

/* Rounds for every k (or every `stride`-th), until in a few of them in a row nobody was stopped; up to
 * `least` in any case. */
static void run_more_rounds(const char *name, void (*round)(void),
                            void (*hook)(const char *, const void *), long least, long stride)
{
    enum { CALM = 4, MOST = 20000 };
    long calm = 0, rounds = 0;
    pl_step_hook = hook;
    for (long k = 1; k < MOST && (k < least || calm < CALM); k += stride) {
        if (!is_chosen(name, k))
            continue;
        run_one(name, round, k);
        calm = w->stopped ? 0 : calm + 1;
        rounds++;
    }
    pl_step_hook = NULL;
    CHECK(calm >= CALM || only.name[0]);
    fprintf(stderr, "  %s: %ld rounds\n", name, rounds);
}

static void run_rounds(const char *name, void (*round)(void),
                       void (*hook)(const char *, const void *))
{
    run_more_rounds(name, round, hook, 0, 1);
}

static void open_pool(int kind, int workers, int retries)
{
    plait_pool_options options = {.retries = retries, .initializer = become_victim};
    CHECK_RC(plait_pool_open(&w->pool, kind, workers, &options), 0);
}

static void close_pool(void)
{
    CHECK_RC(plait_pool_close(w->pool, plait_seconds(T_PATIENCE_S)), 0);
}

/* --- a call whose outcome is known --- */

struct outcome {
    int rc, n;
    int in[64], out[64];
    plait_map_failure failure;
};

static int triple(const void *in, void *out)
{
    int i = *(const int *)in;
    COUNT(w->runs[i]);
    *(int *)out = 3 * i + 1;
    return i == BAD ? -7 : 0;
}

static void call_triple(struct outcome *o, int n, size_t chunk)
{
    plait_map_call call = {.fn = triple,
                           .in = o->in,
                           .in_size = sizeof *o->in,
                           .out = o->out,
                           .out_size = sizeof *o->out,
                           .n = (size_t)n,
                           .chunk = chunk,
                           .failure = &o->failure};
    memset(w->runs, 0, sizeof w->runs);
    for (int i = 0; i < n; i++) {
        o->in[i] = i;
        o->out[i] = -1;
    }
    o->n = n;
    o->rc = plait_map_items(w->pool, &call, plait_seconds(T_PATIENCE_S));
}

/* Deaths are told, and runs are repeated only after one. */
static void check_deaths(const struct outcome *o, size_t deaths_most)
{
    size_t runs = 0;
    for (int i = 0; i < o->n; i++)
        runs += (size_t)SEEN(w->runs[i]);
    CHECK(o->failure.deaths <= deaths_most);
    CHECK(o->failure.retried <= o->failure.deaths);
    CHECK(runs <= (size_t)o->n + o->failure.retried);
    CHECK(o->failure.deaths == 0 || o->failure.blame.signal == SIGKILL);
}

/* Every item is done and right; the bad one has failed, once. */
static void check_all_done(const struct outcome *o)
{
    bool bad = o->n > BAD;
    for (int i = 0; i < o->n; i++) {
        CHECK_EQ(o->out[i], 3 * i + 1);
        CHECK(SEEN(w->runs[i]) >= 1);
    }
    CHECK_RC(o->rc, bad ? -7 : 0);
    CHECK_EQ(o->failure.failed, bad);
    CHECK_EQ(o->failure.item, bad ? BAD : 0);
}

/* Three calls: by chunks, by single items, of one item. Up to `deaths` workers may die in them. */
static void make_three_calls(size_t deaths)
{
    static const struct {
        int n;
        size_t chunk;
    } calls[] = {{N, 2}, {N + 3, 1}, {1, 0}};
    for (int i = 0; i < 3; i++) {
        struct outcome o;
        call_triple(&o, calls[i].n, calls[i].chunk);
        check_deaths(&o, deaths);
        check_all_done(&o);
    }
}

/* --- a worker dies --- */

static void round_only_worker(void)
{
    open_pool(PLAIT_PROCESS, 1, 1);
    make_three_calls(1);
    close_pool();
}

static void the_only_worker_dies_at_each_step(void **state)
{
    (void)state;
    run_rounds("only", round_only_worker, die_here);
}

static void round_one_of_two(void)
{
    open_pool(PLAIT_PROCESS, 2, 1);
    make_three_calls(1);
    close_pool();
}

static void one_of_two_workers_dies_at_each_step(void **state)
{
    (void)state;
    run_rounds("one_of_two", round_one_of_two, die_here);
}

/* The replacement dies too, a little later in its own life. */
static void round_twice(void)
{
    w->second = 1 + w->k * 7 % 90;
    open_pool(PLAIT_PROCESS, 1, 2);
    make_three_calls(2);
    close_pool();
}

static void a_worker_and_its_replacement_die(void **state)
{
    (void)state;
    run_rounds("twice", round_twice, die_here);
}

/* Without a second run at most one item is lost, and it is the one that is named. */
static void round_no_retries(void)
{
    struct outcome o;
    int lost = 0;
    open_pool(PLAIT_PROCESS, 1, 0);
    call_triple(&o, N, 3);
    check_deaths(&o, 1);
    CHECK_EQ(o.failure.retried, 0);
    if (o.failure.failed == 2 || (o.failure.failed == 1 && o.rc == PLAIT_EDIED)) {
        lost = 1;
        CHECK_EQ(o.failure.deaths, 1);
        CHECK(o.rc == PLAIT_EDIED || (o.rc == -7 && o.failure.item == BAD));
    }
    for (int i = 0; i < N; i++)
        lost -= o.out[i] == -1;
    CHECK(lost == 0 || lost == 1); /* it may have been through with what it died of */
    CHECK(o.rc == -7 || o.rc == PLAIT_EDIED);
    close_pool();
}

static void a_worker_without_retries_dies_at_each_step(void **state)
{
    (void)state;
    run_rounds("no_retries", round_no_retries, die_here);
}

static int wait_to_be_stopped(const void *in, void *out)
{
    (void)in;
    (void)out;
    COUNT(w->inside);
    return plait_event_wait(&w->event, PLAIT_FOREVER);
}

/* The worker dies while its caller gives up; the next call knows nothing of that. */
static void round_timeout_and_death(void)
{
    plait_map_call call = {.fn = wait_to_be_stopped, .n = 2};
    open_pool(PLAIT_PROCESS, 1, 1);
    CHECK_RC(plait_map_items(w->pool, &call, plait_ms(1)), PLAIT_ETIMEDOUT);
    make_three_calls(1);
    close_pool();
}

static void a_worker_dies_while_its_caller_gives_up(void **state)
{
    (void)state;
    run_rounds("timeout_and_death", round_timeout_and_death, die_here);
}

/* --- the owner dies --- */

static int own_a_pool(void *arg)
{
    struct outcome o;
    plait_pool *pool;
    (void)arg;
    arm(w->k);
    CHECK_RC(plait_pool_open(&pool, PLAIT_PROCESS, 2, NULL), 0);
    w->pool = pool;
    call_triple(&o, N, 1);
    CHECK_RC(plait_pool_close(pool, PLAIT_FOREVER), 0);
    arm(0);
    return 0;
}

/* Its workers are given to us, the next of kin, when it is gone. */
static void reap_all(void)
{
    struct t_poll poll = {0};
    pid_t pid;
    while ((pid = waitpid(-1, NULL, WNOHANG)) >= 0)
        if (pid == 0)
            t_poll_again(&poll, __FILE__, __LINE__, "the workers of a dead owner end");
}

static void round_owner(void)
{
    plait_blame end;
    plait_worker owner = t_start_one(PLAIT_PROCESS, own_a_pool, NULL);
    int status = t_join_blame(owner, &end);
    CHECK_EQ(status, SEEN(w->stopped) ? -SIGKILL : 0);
    reap_all();
}

/* What a dead owner had allocated stays allocated: nobody else knows of it. */
static void workers_vanish_when_their_owner_dies_at_each_step(void **state)
{
    (void)state;
    enum { CALM = 4, MOST = 20000 };
    long calm = 0, rounds = 0, stride = t_scaled(1) > 1 ? 1 : 5;
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    pl_step_hook = die_here;
    for (long k = 1; k < MOST && calm < CALM; k += stride, rounds++) {
        if (!is_chosen("owner", k))
            continue;
        memset(w, 0, sizeof *w);
        now.name = "owner";
        now.k = w->k = k;
        round_owner();
        calm = w->stopped ? 0 : calm + 1;
    }
    pl_step_hook = NULL;
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
    fprintf(stderr, "  owner: %ld rounds\n", rounds);
    memset(w, 0, sizeof *w);
    open_pool(PLAIT_PROCESS, 2, 0); /* all is well with the rest of the family */
    make_three_calls(0);
    close_pool();
}

/* --- a worker is held up --- */

static int expect_no_request(const void *in, void *out)
{
    (void)in;
    (void)out;
    return plait_cancelling() == 0 && plait_checkpoint() == 0 ? 0 : -1;
}

static int map_some(plait_item_function *fn)
{
    plait_map_call call = {.fn = fn, .n = 3, .chunk = 1};
    return plait_map_items(w->pool, &call, plait_seconds(T_PATIENCE_S));
}

/* While it stands still, its caller gives up: the request to stop must find it all the same, and
 * must not find a later item. */
static void give_up_on(int kind)
{
    plait_map_call waits = {.fn = wait_to_be_stopped, .n = 2};
    w->hold = plait_ms(4);
    open_pool(kind, 1, 0);
    CHECK_RC(plait_map_items(w->pool, &waits, plait_ms(1)), PLAIT_ETIMEDOUT);
    CHECK_RC(map_some(expect_no_request), 0);
    close_pool();
}

static void round_give_up_on_thread(void)
{
    give_up_on(PLAIT_THREAD);
}

static void round_give_up_on_process(void)
{
    give_up_on(PLAIT_PROCESS);
}

static void a_caller_gives_up_while_a_worker_stands_still(void **state)
{
    (void)state;
    run_rounds("give_up_on_thread", round_give_up_on_thread, hold_here);
    run_rounds("give_up_on_process", round_give_up_on_process, hold_here);
}

static int call_and_wait(void *arg)
{
    int *rc = arg;
    plait_map_call call = {.fn = wait_to_be_stopped, .n = 3, .chunk = 1};
    *rc = plait_map_items(w->pool, &call, PLAIT_FOREVER);
    COUNT(w->over);
    return 0;
}

static void terminate_under(int kind)
{
    int rc = 1;
    w->hold = plait_ms(3);
    open_pool(kind, 1, 0);
    plait_worker caller = t_start_one(PLAIT_THREAD, call_and_wait, &rc);
    UNTIL(SEEN(w->inside) || (SEEN(w->stopped) && t_waits(caller, PL_WAIT_ITEMS)));
    CHECK_RC(plait_pool_terminate(w->pool, plait_seconds(T_PATIENCE_S)), 0);
    CHECK_EQ(t_join_one(caller), 0);
    CHECK_RC(rc, PLAIT_ECLOSED);
}

static void round_terminate_threads(void)
{
    terminate_under(PLAIT_THREAD);
}

static void round_terminate_processes(void)
{
    terminate_under(PLAIT_PROCESS);
}

static void a_pool_is_terminated_while_a_worker_stands_still(void **state)
{
    (void)state;
    run_rounds("terminate_threads", round_terminate_threads, hold_here);
    run_rounds("terminate_processes", round_terminate_processes, hold_here);
}

/* The other worker does everything meanwhile; three calls come and go. */
static void round_slow_worker(void)
{
    w->hold = plait_ms(2);
    open_pool(PLAIT_THREAD, 2, 0);
    make_three_calls(0);
    close_pool();
}

static void calls_come_and_go_while_a_worker_stands_still(void **state)
{
    (void)state;
    run_rounds("slow_worker", round_slow_worker, hold_here);
}

/* --- a caller is held up --- */

static int die_first(const void *in, void *out)
{
    (void)in;
    (void)out;
    if (COUNT(w->tries) == 1)
        raise(SIGKILL);
    return 0;
}

static int call_and_repair(void *arg)
{
    int *rc = arg;
    plait_map_call call = {.fn = die_first, .n = 3, .chunk = 1};
    arm(w->k);
    *rc = plait_map_items(w->pool, &call, PLAIT_FOREVER);
    arm(0);
    COUNT(w->over);
    return 0;
}

/* While it stands still in its repairs, another's calls come and go, each of them exact. */
static void round_repair(void)
{
    int rc = 1;
    plait_pool_options options = {.retries = 1};
    w->hold = plait_ms(2);
    CHECK_RC(plait_pool_open(&w->pool, PLAIT_PROCESS, 2, &options), 0);
    plait_worker caller = t_start_one(PLAIT_THREAD, call_and_repair, &rc);
    do {
        struct outcome o;
        call_triple(&o, N, 1);
        CHECK_EQ(o.failure.retried, 0);
        check_all_done(&o);
    } while (!SEEN(w->over));
    CHECK_EQ(t_join_one(caller), 0);
    CHECK_RC(rc, 0);
    close_pool();
}

static void calls_come_and_go_while_a_repairer_stands_still(void **state)
{
    (void)state;
    /* The other may be the one that repairs: then there are few steps, and no sign of the end. */
    run_more_rounds("repair", round_repair, hold_here, 600, t_scaled(1) > 1 ? 1 : 4);
}

static int call_once(void *arg)
{
    struct outcome *o = arg;
    arm(w->k);
    call_triple(o, N, 1);
    arm(0);
    COUNT(w->over);
    return 0;
}

enum { FILL = 0x5a };

/* Takes memory that a pool may just have given back, and fills it. */
static int take_and_fill(unsigned char **blocks, int n)
{
    static const size_t sizes[] = {sizeof(struct plait_pool) + 2 * sizeof(struct pl_seat),
                                   sizeof(struct pl_job)};
    for (int i = 0; i < n; i++) {
        blocks[i] = plait_alloc(sizes[i % 2]);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], FILL, plait_alloc_size(blocks[i]));
    }
    return n;
}

static void check_and_give_back(unsigned char **blocks, int n)
{
    for (int i = 0; i < n; i++) {
        size_t size = plait_alloc_size(blocks[i]);
        for (size_t k = 0; k < size; k++)
            CHECK_EQ(blocks[i][k], FILL);
        CHECK_RC(plait_free(blocks[i]), 0);
    }
}

/* The pool is closed while a caller stands still in its call: that must be waited for, or the caller
 * must be done with the pool. Before it has begun in earnest, closing would be a mistake. */
static void round_close_under_caller(void)
{
    enum { BLOCKS = 8 };
    struct outcome o;
    unsigned char *blocks[BLOCKS];
    w->hold = plait_ms(3);
    CHECK_RC(plait_pool_open(&w->pool, PLAIT_THREAD, 1, NULL), 0);
    plait_worker caller = t_start_one(PLAIT_THREAD, call_once, &o);
    UNTIL(SEEN(w->stopped) || SEEN(w->over));
    if (__atomic_load_n(&w->pool->callers, __ATOMIC_SEQ_CST) == 0)
        UNTIL(SEEN(w->over));
    close_pool();
    take_and_fill(blocks, BLOCKS);
    CHECK_EQ(t_join_one(caller), 0);
    if (o.rc != PLAIT_ECLOSED) /* the closing came before it was counted in */
        check_all_done(&o);
    check_and_give_back(blocks, BLOCKS);
}

static void a_pool_is_closed_while_a_caller_stands_still(void **state)
{
    (void)state;
    run_rounds("close_under_caller", round_close_under_caller, hold_here);
}

/* A caller that has been asked to stop while it stood still tells so, once. */
static int listen_once(void *arg)
{
    struct outcome *o = arg;
    arm(w->k);
    call_triple(o, N, 1);
    arm(0);
    UNTIL(SEEN(w->over));
    CHECK_RC(plait_checkpoint(), o->rc == PLAIT_ECANCELED ? 0 : PLAIT_ECANCELED);
    return 0;
}

static void round_cancel_caller(void)
{
    struct outcome o;
    w->hold = plait_ms(2);
    CHECK_RC(plait_pool_open(&w->pool, PLAIT_THREAD, 1, NULL), 0);
    plait_worker caller = t_start_one(PLAIT_THREAD, listen_once, &o);
    UNTIL(SEEN(w->stopped) || SEEN(w->runs[N - 1]));
    CHECK_RC(plait_cancel(caller), 0);
    TELL(w->over, 1);
    CHECK_EQ(t_join_one(caller), 0);
    CHECK(o.rc == PLAIT_ECANCELED || o.rc == -7);
    close_pool();
}

static void a_caller_is_asked_to_stop_while_it_stands_still(void **state)
{
    (void)state;
    run_rounds("cancel_caller", round_cancel_caller, hold_here);
}

/* --- a caller is held up while it gives up --- */

static void work_for(int64_t ns)
{
    int64_t end = plait_now() + ns;
    while (plait_now() < end)
        ;
}

/* Longer than its caller's patience. */
static int work_too_long(const void *in, void *out)
{
    (void)in;
    (void)out;
    COUNT(w->inside);
    work_for(600 * 1000);
    return 0;
}

static int give_up_slowly(void *arg)
{
    plait_map_call call = {.fn = work_too_long, .n = 3, .chunk = 1};
    (void)arg;
    arm(w->k);
    int rc = plait_map_items(w->pool, &call, plait_us(300));
    arm(0);
    CHECK(rc == 0 || rc == PLAIT_ETIMEDOUT);
    COUNT(w->over);
    return 0;
}

static int expect_no_request_for_long(const void *in, void *out)
{
    int rc = expect_no_request(in, out);
    work_for(100 * 1000);
    return rc < 0 ? rc : expect_no_request(in, out);
}

/* While it stands still, its worker goes on to another's items. These must not be stopped. */
static void give_up_on_busy(int kind)
{
    w->hold = plait_ms(2);
    CHECK_RC(plait_pool_open(&w->pool, kind, 1, NULL), 0);
    plait_worker caller = t_start_one(PLAIT_THREAD, give_up_slowly, NULL);
    UNTIL(SEEN(w->inside) || SEEN(w->over));
    do
        CHECK_RC(map_some(expect_no_request_for_long), 0);
    while (!SEEN(w->over));
    CHECK_EQ(t_join_one(caller), 0);
    CHECK_RC(map_some(expect_no_request_for_long), 0);
    close_pool();
}

static void round_stop_busy_thread(void)
{
    give_up_on_busy(PLAIT_THREAD);
}

static void round_stop_busy_process(void)
{
    give_up_on_busy(PLAIT_PROCESS);
}

static void a_caller_stands_still_while_it_gives_up(void **state)
{
    (void)state;
    run_more_rounds("stop_busy_thread", round_stop_busy_thread, hold_here, 200, 1);
    run_more_rounds("stop_busy_process", round_stop_busy_process, hold_here, 200, 1);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_only_worker_dies_at_each_step),
        cmocka_unit_test(one_of_two_workers_dies_at_each_step),
        cmocka_unit_test(a_worker_and_its_replacement_die),
        cmocka_unit_test(a_worker_without_retries_dies_at_each_step),
        cmocka_unit_test(a_worker_dies_while_its_caller_gives_up),
        cmocka_unit_test(a_caller_gives_up_while_a_worker_stands_still),
        cmocka_unit_test(a_pool_is_terminated_while_a_worker_stands_still),
        cmocka_unit_test(calls_come_and_go_while_a_worker_stands_still),
        cmocka_unit_test(calls_come_and_go_while_a_repairer_stands_still),
        cmocka_unit_test(a_pool_is_closed_while_a_caller_stands_still),
        cmocka_unit_test(a_caller_is_asked_to_stop_while_it_stands_still),
        cmocka_unit_test(a_caller_stands_still_while_it_gives_up),
        cmocka_unit_test(workers_vanish_when_their_owner_dies_at_each_step),
    };
    read_choice();
    signal(SIGABRT, tell_round);
    signal(SIGALRM, tell_round);
    w = t_new(&t_processes, sizeof *w);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
