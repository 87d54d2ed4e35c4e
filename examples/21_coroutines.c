/* Tasks: ten thousand that sleep, a lock between them, an echo server with a task per client, and a call that blocks.
 *
 * Try:  21_coroutines
 *       21_coroutines 1000000      a million sleepers, in some 4.5 GB
 *
 * All of it runs on one thread. A task goes on until it waits in a plait call, and then another one
 * runs; what stops in no plait call stops them all, so that belongs into plait_to_thread. */
#include <plait/plait.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ADDERS = 100, CLIENTS = 100, QUESTIONS = 10 };

static void check(const char *what, int rc)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, plait_strerror(rc));
    _Exit(1);
}

/* Runs n tasks and waits for all; one that fails ends the program. */
static void run_all(int n, plait_function *fn, void *arg)
{
    plait_worker *tasks = calloc((size_t)n, sizeof *tasks);
    plait_blame end;
    check("calloc", tasks ? 0 : PLAIT_ENOMEM);
    for (int i = 0; i < n; i++)
        check("plait_start", plait_start(&tasks[i], PLAIT_TASK, fn, arg, NULL));
    for (int i = 0; i < n; i++) {
        check("plait_join", plait_join(tasks[i], &end, PLAIT_FOREVER));
        check("a task", end.status);
    }
    free(tasks);
}

/* --- sleepers --- */

static int doze(void *arg)
{
    (void)arg;
    return plait_sleep(plait_ms(200));
}

static void sleep_together(int n)
{
    int64_t start = plait_now();
    run_all(n, doze, NULL);
    printf("%d tasks have slept 0.2 s each\n", n);
    printf("(all of them in %.2f s)\n", (double)(plait_now() - start) / 1e9);
}

/* --- a lock: tasks take turns where they wait, so also in the middle of this addition --- */

struct tally {
    plait_lock lock;
    long sum;
};

static int add(void *arg)
{
    struct tally *t = arg;
    int rc = PLAIT_ECANCELED; /* if asked to stop before the lock is ours */
    PLAIT_WITH(&t->lock) {
        long seen = t->sum;
        rc = plait_yield();
        t->sum = seen + 1;
    }
    return rc;
}

static void add_together(void)
{
    struct tally tally = {0};
    run_all(ADDERS, add, &tally);
    printf("%d tasks have added one under a lock: %ld\n", ADDERS, tally.sum);
}

/* --- echo: server and clients are tasks of the same thread --- */

static int echo(plait_stream *stream, void *arg)
{
    char line[256];
    ssize_t n;
    int rc = 0;
    (void)arg;
    while (rc == 0 && (n = plait_read(stream, line, sizeof line, PLAIT_FOREVER)) != 0)
        rc = n < 0 ? (int)n : plait_write(stream, line, (size_t)n, NULL, PLAIT_FOREVER);
    return rc;
}

static int serve(void *listener)
{
    plait_serve_options options = {.kind = PLAIT_TASK};
    return plait_serve(listener, echo, NULL, &options);
}

struct asking {
    char port[8];
    int answers;
};

static int question(plait_stream *stream, int i, struct asking *asking)
{
    char asked[32], answer[32];
    size_t size = (size_t)snprintf(asked, sizeof asked, "question %d\n", i);
    int rc = plait_write(stream, asked, size, NULL, plait_seconds(5));
    if (rc == 0)
        rc = plait_read_exactly(stream, answer, size, NULL, plait_seconds(5));
    asking->answers += rc == 0 && memcmp(asked, answer, size) == 0;
    return rc;
}

static int ask(void *arg)
{
    struct asking *asking = arg;
    plait_stream *stream;
    int rc = plait_connect(&stream, "127.0.0.1", asking->port, NULL, plait_seconds(5));
    if (rc < 0)
        return rc;
    for (int i = 0; rc == 0 && i < QUESTIONS; i++)
        rc = question(stream, i, asking);
    plait_stream_close(stream);
    return rc;
}

static void ask_together(void)
{
    plait_listener *listener;
    plait_worker server;
    plait_blame end;
    struct asking asking = {.answers = 0};
    check("plait_listen", plait_listen(&listener, "127.0.0.1", "0", NULL, PLAIT_FOREVER));
    snprintf(asking.port, sizeof asking.port, "%d", plait_listener_port(listener));
    check("plait_start", plait_start(&server, PLAIT_TASK, serve, listener, NULL));

    run_all(CLIENTS, ask, &asking);
    plait_listener_close(listener); /* the server has its clients finish, and ends */
    check("plait_join", plait_join(server, &end, PLAIT_FOREVER));
    printf("%d clients have had %d answers; the server: %s\n", CLIENTS, asking.answers,
           plait_errname(end.status));
}

/* --- a call that blocks --- */

static int block(void *arg)
{
    (void)arg;
    usleep(100000); /* not plait's: of a library, say */
    return 42;
}

static int tick(void *ticks)
{
    int rc;
    while ((rc = plait_sleep(plait_ms(5))) == 0)
        ++*(int *)ticks;
    return rc;
}

static void block_beside_a_clock(void)
{
    int ticks = 0, answer = 0;
    plait_worker clock;
    check("plait_start", plait_start(&clock, PLAIT_TASK, tick, &ticks, NULL));
    block(NULL);
    printf("a call that blocks stops all tasks: the clock has ticked %d times\n", ticks);

    check("plait_to_thread", plait_to_thread(block, NULL, &answer, PLAIT_FOREVER));
    printf("in another thread: the answer is %d, and the clock %s\n", answer,
           ticks > 0 ? "has ticked" : "stood still");
    printf("(%d times)\n", ticks);
    check("plait_cancel", plait_cancel(clock));
    check("plait_join", plait_join(clock, NULL, PLAIT_FOREVER));
}

static int all(void *sleepers)
{
    sleep_together(*(int *)sleepers);
    add_together();
    ask_together();
    block_beside_a_clock();
    return 0;
}

int main(int argc, char **argv)
{
    int sleepers = argc > 1 ? atoi(argv[1]) : 10000;
    check("plait_init", plait_init(&argc, &argv));
    return plait_run(all, &sleepers);
}
