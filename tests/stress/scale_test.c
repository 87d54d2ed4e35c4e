/* Many of everything: tasks, timers, connections. Small here; `make large` runs the same with the numbers that are promised:
 * a million tasks, a million timers, 10,000 connections. Invariants:
 *   - each task that waits is woken once, each timer fires once, in order and not before its time;
 *   - a task that waits costs at most TASK_BYTES of memory (large only);
 *   - each byte that is sent comes back, whoever else is slow, breaks off, or finds no descriptor left;
 *   - what was refused for lack of descriptors is served later. */
#include "harness/harness.h"

#include "park/park.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TASK_BYTES = 4710, STACK = 32 << 10 };

#define LONG plait_seconds(10 * T_PATIENCE_S)

static bool is_large;

static int many(int small, int large)
{
    return is_large ? large : t_is_sanitized() ? small / 4 : small;
}

/* --- tasks on one event --- */

static size_t own_memory(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f && fscanf(f, "%*s %ld", &pages) == 1);
    fclose(f);
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

static plait_event gate;
static long through;

static int wait_at_gate(void *arg)
{
    (void)arg;
    CHECK_RC(plait_event_wait(&gate, PLAIT_FOREVER), 0);
    through++;
    return 0;
}

static int look_at_gate(void *arg)
{
    (void)arg;
    CHECK_RC(plait_event_wait(&gate, 1), PLAIT_ETIMEDOUT);
    return 0;
}

static void tasks_on_one_event_are_small_and_all_woken(void **state)
{
    (void)state;
    int n = many(1000, 1000000);
    plait_worker *w = malloc((size_t)n * sizeof *w);
    memset(w, 0, (size_t)n * sizeof *w);
    memset(&gate, 0, sizeof gate);
    through = 0;
    CHECK_EQ(t_join_one(t_start_one(PLAIT_TASK, look_at_gate, NULL)), 0); /* the first costs more */
    size_t before = own_memory();
    for (int i = 0; i < n; i++)
        CHECK_RC(plait_start(&w[i], PLAIT_TASK, wait_at_gate, NULL, NULL), 0);
    CHECK_RC(plait_yield(), 0);
    CHECK_EQ(through, 0);
    size_t each = (own_memory() - before) / (size_t)n;
    print_message("%d tasks wait; %zu bytes each\n", n, each);
    if (is_large && !t_is_sanitized())
        CHECK(each <= TASK_BYTES);
    CHECK_RC(plait_event_set(&gate), 0);
    for (int i = 0; i < n; i++)
        CHECK_EQ(t_join_one(w[i]), 0);
    CHECK_EQ(through, n);
    free(w);
}

/* --- timers --- */

static struct {
    int64_t *at;
    long fired;
    int64_t last;
} timers;

static int fire(void *arg)
{
    int64_t at = timers.at[(intptr_t)arg];
    CHECK(at >= timers.last);
    CHECK(plait_now() >= at);
    timers.at[(intptr_t)arg] = INT64_MAX; /* not again */
    timers.last = at;
    timers.fired++;
    return 0;
}

static void timers_fire_once_and_in_order(void **state)
{
    (void)state;
    int n = many(1000, 1000000);
    uint64_t seed = t_seed();
    plait_worker loop = plait_loop();
    timers.at = malloc((size_t)n * sizeof *timers.at);
    timers.fired = timers.last = 0;
    int64_t begin = plait_now() + plait_ms(is_large ? 3000 : 5); /* after all have been asked for */
    for (int i = 0; i < n; i++) {
        timers.at[i] = begin + (int64_t)(t_random(&seed) % (uint64_t)plait_ms(200));
        CHECK_RC(plait_call_at(NULL, loop, timers.at[i], fire, (void *)(intptr_t)i), 0);
    }
    UNTIL((plait_sleep(plait_ms(1)), timers.fired == n));
    for (int i = 0; i < n; i++)
        CHECK(timers.at[i] == INT64_MAX);
    free(timers.at);
}

/* --- a service in a process of its own, with clients that are tasks here --- */

enum { MESSAGES = 5, MESSAGE = 64, SLOW_BYTES = 512 << 10 };

struct service { /* in the arena */
    plait_listener *listener;
    char port[16];
    plait_client_function *fn;
    int most;
    int descriptors; /* that it may open more; 0: as many as it likes */
    long bytes, ended, broken;
    long clients_done, fast_done, turned_away, served; /* of the clients */
    int rc;
    plait_event go, fast_are_done, enough;
    plait_worker worker;
};

static void limit_descriptors(int more)
{
    struct rlimit limit;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    int next = dup(0);
    close(next);
    limit.rlim_cur = (rlim_t)(next + more);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static int serve(void *arg)
{
    struct service *v = arg;
    plait_serve_options options = {.kind = PLAIT_TASK, .max_clients = v->most};
    if (v->descriptors) {
        CHECK_RC(plait_yield(), 0);
        limit_descriptors(v->descriptors);
    }
    TELL(v->rc, plait_serve(v->listener, v->fn, v, &options));
    return 0;
}

static struct service *open_service(plait_client_function *fn, int most, int descriptors)
{
    struct service *v = plait_alloc(sizeof *v);
    v->fn = fn;
    v->most = most;
    v->descriptors = descriptors;
    plait_listen_options options = {.backlog = 4096};
    CHECK_RC(plait_listen(&v->listener, "127.0.0.1", "0", &options, LONG), 0);
    snprintf(v->port, sizeof v->port, "%d", plait_listener_port(v->listener));
    v->worker = t_start_one(PLAIT_PROCESS, serve, v);
    return v;
}

static void close_service(struct service *v, long clients, long broken)
{
    UNTIL((plait_sleep(plait_ms(1)), SEEN(v->ended) == clients));
    CHECK_EQ(SEEN(v->broken), broken);
    CHECK_RC(plait_cancel(v->worker), 0);
    CHECK_EQ(t_join_one(v->worker), 0);
    CHECK_RC(v->rc, PLAIT_ECANCELED);
    plait_listener_close(v->listener);
    plait_free(v);
}

static int echo(plait_stream *s, void *arg)
{
    struct service *v = arg;
    char bytes[MESSAGE];
    ssize_t n;
    while ((n = plait_read(s, bytes, sizeof bytes, PLAIT_FOREVER)) > 0) {
        ADD(v->bytes, (long)n);
        int rc = plait_write(s, bytes, (size_t)n, NULL, PLAIT_FOREVER);
        if (rc < 0 && (n = rc))
            break;
    }
    ADD(v->broken, n < 0);
    COUNT(v->ended);
    return 0;
}

/* Says something and hears the same. */
static int exchange(plait_stream *s, int who, int which)
{
    char out[MESSAGE], in[MESSAGE];
    memset(out, 0, sizeof out);
    snprintf(out, sizeof out, "message %d of %d", which, who);
    int rc = plait_write(s, out, sizeof out, NULL, LONG);
    if (rc == 0)
        rc = plait_read_exactly(s, in, sizeof in, NULL, LONG);
    if (rc == 0)
        CHECK(memcmp(in, out, sizeof in) == 0);
    return rc;
}

struct client {
    struct service *v;
    int number;
    bool is_odd; /* slow, or one that breaks off */
};

/* Runs n clients, each a task; every `odd`th is odd. */
static void run_clients(struct service *v, plait_function *fn, int n, int odd)
{
    struct client *c = calloc((size_t)n, sizeof *c);
    plait_worker *w = calloc((size_t)n, sizeof *w);
    plait_options options = {.stack_size = STACK};
    for (int i = 0; i < n; i++) {
        c[i] = (struct client){.v = v, .number = i, .is_odd = odd && i % odd == 0};
        CHECK_RC(plait_start(&w[i], PLAIT_TASK, fn, &c[i], &options), 0);
    }
    for (int i = 0; i < n; i++) {
        plait_blame blame;
        CHECK_RC(plait_join(w[i], &blame, LONG), 0);
        CHECK_EQ(blame.status, 0);
    }
    free(w);
    free(c);
}

/* As many descriptors as the test needs; false, with a message: they are not to be had. */
static bool raise_descriptors(int need)
{
    struct rlimit limit;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur >= (rlim_t)need)
        return true;
    print_message("skipped: %d descriptors are needed, the hard limit is %ld (ulimit -Hn)\n", need,
                  (long)limit.rlim_cur);
    return false;
}

/* All are connected before the first speaks. */
static int talk(void *arg)
{
    struct client *c = arg;
    plait_stream *s;
    CHECK_RC(plait_connect(&s, "127.0.0.1", c->v->port, NULL, LONG), 0);
    CHECK_RC(exchange(s, c->number, 0), 0);
    if (COUNT(c->v->clients_done) == c->v->most)
        CHECK_RC(plait_event_set(&c->v->go), 0);
    CHECK_RC(plait_event_wait(&c->v->go, LONG), 0);
    for (int i = 1; i < MESSAGES; i++)
        CHECK_RC(exchange(s, c->number, i), 0);
    plait_stream_close(s);
    return 0;
}

static void connections_all_talk_at_once(void **state)
{
    (void)state;
    int n = many(1000, 10000);
    if (!raise_descriptors(n + 100))
        skip();
    struct service *v = open_service(echo, n, 0);
    run_clients(v, talk, n, 0);
    CHECK_EQ(SEEN(v->bytes), (long)n * MESSAGES * MESSAGE);
    close_service(v, n, 0);
}

/* --- some do not read --- */

static int pour(plait_stream *s, void *arg)
{
    static char bytes[SLOW_BYTES];
    struct service *v = arg;
    int small = 64 << 10;
    size_t done;
    setsockopt(plait_stream_fd(s), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    CHECK_RC(plait_write(s, bytes, sizeof bytes, &done, PLAIT_FOREVER), 0);
    ADD(v->bytes, (long)done);
    COUNT(v->ended);
    return 0;
}

/* The slow ones begin, and go on when all the others have finished. */
static int drink(void *arg)
{
    struct client *c = arg;
    char bytes[4096];
    long sum = 0;
    ssize_t n;
    plait_stream *s;
    CHECK_RC(plait_connect(&s, "127.0.0.1", c->v->port, NULL, LONG), 0);
    if (c->is_odd) {
        CHECK_RC((int)plait_read(s, bytes, 1, LONG), 1);
        sum = 1;
        CHECK_RC(plait_event_wait(&c->v->fast_are_done, LONG), 0);
    }
    while ((n = plait_read(s, bytes, sizeof bytes, LONG)) > 0)
        sum += n;
    CHECK_RC((int)n, 0);
    CHECK_EQ(sum, SLOW_BYTES);
    plait_stream_close(s);
    if (!c->is_odd && COUNT(c->v->fast_done) == c->v->clients_done)
        CHECK_RC(plait_event_set(&c->v->fast_are_done), 0);
    return 0;
}

static void slow_readers_hold_up_nobody_else(void **state)
{
    (void)state;
    int n = many(100, 1000), slow = n / 5;
    if (!raise_descriptors(n + 100))
        skip();
    struct service *v = open_service(pour, n, 0);
    v->clients_done = n - slow; /* so many fast ones */
    run_clients(v, drink, n, 5);
    close_service(v, n, 0);
}

/* --- some break off --- */

static int talk_or_break_off(void *arg)
{
    struct client *c = arg;
    plait_stream *s;
    CHECK_RC(plait_connect(&s, "127.0.0.1", c->v->port, NULL, LONG), 0);
    for (int i = 0; i < MESSAGES; i++) {
        if (c->is_odd && i == MESSAGES / 2)
            return plait_stream_abort(s);
        CHECK_RC(exchange(s, c->number, i), 0);
    }
    plait_stream_close(s);
    return 0;
}

static void who_breaks_off_costs_only_his_own_connection(void **state)
{
    (void)state;
    int n = many(1000, 10000), odd = (n + 2) / 3;
    if (!raise_descriptors(n + 100))
        skip();
    struct service *v = open_service(echo, n, 0);
    run_clients(v, talk_or_break_off, n, 3);
    CHECK_EQ(SEEN(v->bytes), ((long)(n - odd) * MESSAGES + odd * (MESSAGES / 2)) * MESSAGE);
    close_service(v, n, odd);
}

/* --- no descriptor is left --- */

enum { DESCRIPTORS = 40, TURNED = 3 };

/* Holds its connection until some others have been turned away; whoever was comes again. */
static int insist(void *arg)
{
    struct client *c = arg;
    for (;;) {
        plait_stream *s;
        CHECK_RC(plait_connect(&s, "127.0.0.1", c->v->port, NULL, LONG), 0);
        int rc = exchange(s, c->number, 0);
        if (rc == 0) {
            COUNT(c->v->served);
            CHECK_RC(plait_event_wait(&c->v->enough, LONG), 0);
            plait_stream_close(s);
            return 0;
        }
        CHECK(rc == PLAIT_EEOF || rc == PLAIT_ECONNRESET || rc == PLAIT_EPIPE);
        plait_stream_close(s);
        if (COUNT(c->v->turned_away) == TURNED)
            CHECK_RC(plait_event_set(&c->v->enough), 0);
        CHECK_RC(plait_sleep(plait_ms(5)), 0);
    }
}

static void without_descriptors_some_are_turned_away_and_served_later(void **state)
{
    (void)state;
    int n = many(200, 1000);
    struct service *v = open_service(echo, n, DESCRIPTORS);
    run_clients(v, insist, n, 0);
    CHECK_EQ(SEEN(v->served), n);
    CHECK(SEEN(v->turned_away) >= TURNED);
    CHECK_EQ(SEEN(v->bytes), (long)n * MESSAGE);
    print_message("%d served, %ld turned away before\n", n, SEEN(v->turned_away));
    close_service(v, n, 0);
}

static int descriptors_before;

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

/* What comes with the first worker of each kind stays. */
static int begin(void **state)
{
    (void)state;
    CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, do_nothing, NULL)), 0);
    CHECK_EQ(t_join_one(t_start_one(PLAIT_TASK, do_nothing, NULL)), 0);
    plait_sleep(1); /* a thread without tasks has no loop any more */
    descriptors_before = t_open_files();
    return 0;
}

static int nothing_is_left(void **state)
{
    (void)state;
    plait_sleep(1);
    return t_has_children() || t_open_files() > descriptors_before ? -1 : 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_on_one_event_are_small_and_all_woken),
        cmocka_unit_test(timers_fire_once_and_in_order),
        cmocka_unit_test(connections_all_talk_at_once),
        cmocka_unit_test(slow_readers_hold_up_nobody_else),
        cmocka_unit_test(who_breaks_off_costs_only_his_own_connection),
        cmocka_unit_test(without_descriptors_some_are_turned_away_and_served_later),
    };
    if (argc > 1 && strcmp(argv[1], "--large") == 0) {
        is_large = true;
        argv[1] = argv[0];
        argc--;
        argv++;
    }
    t_arguments(argc, argv);
    return cmocka_run_group_tests(tests, begin, nothing_is_left);
}
