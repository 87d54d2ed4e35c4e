/* A pool: one function over many items, by threads, by processes, and with an item that crashes.
 *
 * Try:  08_map
 *
 * plait_map takes arrays and waits for all. plait_map_items says more: here, what became of the item
 * that killed its worker. It fails alone; the worker is replaced and the others are done. */
#include <plait/plait.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { N = 1000, WORKERS = 4, UNLUCKY = 13 };

static int square(const void *in, void *out)
{
    *(long *)out = *(const int *)in * (long)*(const int *)in;
    return 0;
}

static int square_or_crash(const void *in, void *out)
{
    if (*(const int *)in == UNLUCKY)
        abort();
    return square(in, out);
}

static int failed(const char *what, int code)
{
    fprintf(stderr, "%s: %s\n", what, plait_strerror(code));
    return 1;
}

static int squares(int kind, const char *name, const int *in, long *out)
{
    plait_pool *pool;
    int rc = plait_pool_open(&pool, kind, WORKERS, NULL);
    if (rc < 0)
        return failed("plait_pool_open", rc);
    rc = plait_map(pool, square, in, out, N, PLAIT_FOREVER);
    if (rc < 0)
        return failed("plait_map", rc);
    printf("%d %s: the square of %d is %ld\n", WORKERS, name, in[N - 1], out[N - 1]);
    rc = plait_pool_close(pool, PLAIT_FOREVER);
    return rc < 0 ? failed("plait_pool_close", rc) : 0;
}

static int squares_and_a_crash(const int *in, long *out)
{
    plait_pool *pool;
    plait_map_failure failure;
    plait_map_call call = {.fn = square_or_crash,
                           .in = in,
                           .in_size = sizeof *in,
                           .out = out,
                           .out_size = sizeof *out,
                           .n = N,
                           .failure = &failure};
    int rc = plait_pool_open(&pool, PLAIT_PROCESS, WORKERS, NULL);
    if (rc < 0)
        return failed("plait_pool_open", rc);
    rc = plait_map_items(pool, &call, PLAIT_FOREVER);
    if (rc != PLAIT_EDIED)
        return failed("plait_map_items", rc);
    printf("%zu item failed, number %zu: %s\n", failure.failed, failure.item, plait_strerror(rc));
    printf("the worker died of signal %d (%s)\n", failure.blame.signal,
           strsignal(failure.blame.signal));
    printf("the square of %d is %ld all the same\n", in[N - 1], out[N - 1]);
    rc = plait_pool_close(pool, PLAIT_FOREVER);
    return rc < 0 ? failed("plait_pool_close", rc) : 0;
}

int main(int argc, char **argv)
{
    static int in[N]; /* not in the arena: copied to the processes, and the results back */
    static long out[N];
    int rc = plait_init(&argc, &argv);
    if (rc < 0)
        return failed("plait_init", rc);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* no core file for the crash to come */
    for (int i = 0; i < N; i++)
        in[i] = i;
    rc = squares(PLAIT_THREAD, "threads", in, out);
    memset(out, 0, sizeof out);
    rc = rc ? rc : squares(PLAIT_PROCESS, "processes", in, out);
    memset(out, 0, sizeof out);
    return rc ? rc : squares_and_a_crash(in, out);
}
