/* libuv beside plait's tasks: timers, and a TCP echo server of callbacks. Needs: libuv1-dev */
#include "program_shape.h"
#include "echo_shape.h"
#include "timer_shape.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <uv.h>

/* --- timers; libuv's count milliseconds --- */

static uv_timer_t *start_timers(uv_timer_cb fired, long n, int64_t (*due)(long i, long n))
{
    uv_timer_t *timers = malloc((size_t)n * sizeof *timers);
    bench_check(timers, "no memory");
    for (long i = 0; i < n; i++) {
        uv_timer_init(uv_default_loop(), &timers[i]);
        bench_check(uv_timer_start(&timers[i], fired, (uint64_t)due(i, n) / 1000000, 0) == 0,
                    "no timer");
    }
    return timers;
}

static long n_fired;

static void count(uv_timer_t *timer)
{
    (void)timer;
    n_fired++;
}

static void fire_all(long n)
{
    start_timers(count, n, timer_soon);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    bench_check(n_fired == n, "not all have fired");
}

static void cancel_all(long n)
{
    uv_timer_t *timers = start_timers(count, n, timer_late);
    for (long i = 0; i < n; i++)
        uv_timer_stop(&timers[timer_shuffled(i, n)]);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    bench_check(n_fired == 0, "a cancelled one has fired");
}

static timer_all *const firing = fire_all, *const cancelling = cancel_all;

/* --- echo --- */

struct client {
    uv_tcp_t tcp;
    uv_write_t write;
    char bytes[ECHO_BUFFER];
};

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer);

static void give_buffer(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
    (void)wanted;
    *buffer = uv_buf_init(((struct client *)handle)->bytes, ECHO_BUFFER);
}

static void on_close(uv_handle_t *handle)
{
    free(handle);
}

static void on_written(uv_write_t *write, int status)
{
    if (status < 0)
        uv_close((uv_handle_t *)write->handle, on_close);
    else
        uv_read_start(write->handle, give_buffer, on_read);
}

/* What does not fit into the socket is written before the next read. */
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct client *client = (struct client *)stream;
    if (n < 0) {
        uv_close((uv_handle_t *)stream, on_close);
        return;
    }
    uv_buf_t rest = uv_buf_init(buffer->base, (unsigned)n);
    int written = uv_try_write(stream, &rest, 1);
    if (written == n)
        return;
    rest.base += written > 0 ? written : 0;
    rest.len -= written > 0 ? (size_t)written : 0;
    uv_read_stop(stream);
    uv_write(&client->write, stream, &rest, 1, on_written);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct client *client = malloc(sizeof *client);
    bench_check(status == 0 && client, "no connection");
    uv_tcp_init(listener->loop, &client->tcp);
    bench_check(uv_accept(listener, (uv_stream_t *)client) == 0, "not accepted");
    uv_tcp_nodelay(&client->tcp, 1);
    uv_read_start((uv_stream_t *)client, give_buffer, on_read);
}

static double serve(const struct bench_subject *self)
{
    uv_tcp_t listener;
    struct sockaddr_in address;
    int size = sizeof address;
    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_init(uv_default_loop(), &listener);
    uv_tcp_bind(&listener, (const struct sockaddr *)&address, 0);
    bench_check(uv_listen((uv_stream_t *)&listener, ECHO_BACKLOG, on_connection) == 0,
                "not listening");
    uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &size);
    echo_start_load(self, ntohs(address.sin_port));
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    bench_fail("the server ended");
}

/* --- programs --- */

static void on_exit_status(uv_process_t *process, int64_t status, int signal)
{
    bench_check(status == 0 && signal == 0, "the program failed");
    uv_close((uv_handle_t *)process, NULL);
}

static void cycle_program(void)
{
    uv_process_t process;
    char *arguments[] = {(char *)"true", NULL};
    uv_process_options_t options = {
        .exit_cb = on_exit_status, .file = "/bin/true", .args = arguments};
    bench_check(uv_spawn(uv_default_loop(), &process, &options) == 0, "not spawned");
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}

static program_cycle *const program = cycle_program;

static const struct bench_subject table[] = {
    PROGRAM_CASES("libuv", program),
    TIMER_CASES("task_timers", "libuv", firing),
    TIMER_CASES("task_timers_cancelled", "libuv", cancelling),
    ECHO_CASES("libuv", serve),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
