/* TCP echo servers on the loopback with a task per connection. See echo_shape.h and echo_load.c.
 * Peers: libuv, Go's net package, asyncio's streams.
 *
 * "plait": streams. "plait, bare": the kernel's calls on descriptors, and plait_wait_fd where they would block. */
#include "echo_shape.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <plait/plait.h>
#include <stdlib.h>
#include <sys/socket.h>

static void start(plait_function *echo, void *connection)
{
    plait_worker task;
    plait_options options = {.detach = true};
    bench_check(plait_start(&task, PLAIT_TASK, echo, connection, &options) == 0, "no task");
}

static int listen_anywhere(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    bench_check(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
                    listen(fd, ECHO_BACKLOG) == 0 &&
                    getsockname(fd, (struct sockaddr *)&address, &size) == 0,
                "not listening");
    *port = ntohs(address.sin_port);
    return fd;
}

/* --- bare --- */

static bool may_go_on(int fd, int events)
{
    return errno == EAGAIN && plait_wait_fd(fd, events, PLAIT_FOREVER) > 0;
}

static ssize_t read_some(int fd, char *buffer)
{
    ssize_t n;
    do
        n = recv(fd, buffer, ECHO_BUFFER, 0);
    while (n < 0 && may_go_on(fd, PLAIT_READABLE));
    return n;
}

static bool write_all(int fd, const char *buffer, ssize_t size)
{
    for (ssize_t n, done = 0; done<size; done += n> 0 ? n : 0) {
        n = send(fd, buffer + done, (size_t)(size - done), MSG_NOSIGNAL);
        if (n < 0 && !may_go_on(fd, PLAIT_WRITABLE))
            return false;
    }
    return true;
}

static int echo_bare(void *connection)
{
    int fd = (int)(intptr_t)connection;
    char *buffer = malloc(ECHO_BUFFER);
    bench_check(buffer, "no memory");
    ssize_t n;
    while ((n = read_some(fd, buffer)) > 0 && write_all(fd, buffer, n))
        continue;
    free(buffer);
    close(fd);
    return 0;
}

static int serve_bare(void *subject)
{
    int port, listener = listen_anywhere(&port);
    echo_start_load(subject, port);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (fd < 0) {
            bench_check(may_go_on(listener, PLAIT_READABLE), "not accepted");
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        start(echo_bare, (void *)(intptr_t)fd);
    }
    return 0;
}

static double bare(const struct bench_subject *self)
{
    plait_run(serve_bare, (void *)self);
    bench_fail("the server ended");
}

/* --- streams --- */

enum { CLIENTS = 20000 };

static int echo_stream(plait_stream *stream, void *arg)
{
    char *buffer = malloc(ECHO_BUFFER);
    bench_check(buffer, "no memory");
    ssize_t n;
    (void)arg;
    while ((n = plait_read(stream, buffer, ECHO_BUFFER, PLAIT_FOREVER)) > 0)
        if (plait_write(stream, buffer, (size_t)n, NULL, PLAIT_FOREVER) < 0)
            break;
    free(buffer);
    return 0;
}

static int serve_streams(void *subject)
{
    plait_listener *listener;
    plait_listen_options listening = {.backlog = ECHO_BACKLOG};
    plait_serve_options serving = {.kind = PLAIT_TASK, .max_clients = CLIENTS};
    bench_check(plait_listen(&listener, "127.0.0.1", "0", &listening, PLAIT_FOREVER) == 0,
                "not listening");
    echo_start_load(subject, plait_listener_port(listener));
    return plait_serve(listener, echo_stream, NULL, &serving);
}

static double streams(const struct bench_subject *self)
{
    plait_run(serve_streams, (void *)self);
    bench_fail("the server ended");
}

static const struct bench_subject table[] = {
    ECHO_CASES("plait", streams),
    ECHO_CASES("plait, bare", bare),
    {0},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, table);
}
