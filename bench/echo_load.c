/* echo_load CASE SUBJECT PORT PID: asks the echo server at a port of the loopback, which is process PID, and
 * prints the figures of a run as harness.h says. The servers start it; see echo_shape.h.
 *
 * echo_SIZE/CONNECTIONS: each connection has one message of SIZE bytes under way: when it is back, whole and
 * unchanged, the next one leaves at once. Each has had an answer, and a tenth of the time that a run may take
 * has passed, before it counts for that time, and until it has counted as many answers as there are connections:
 *     echo_SIZE      ns per request, all connections together: 1e9 / requests per second
 *     echo_SIZE_cpu  ns of the server's processor time per request, the kernel's for it included
 *     echo_SIZE_p50  ns from sending to the whole answer, half of the requests
 *     echo_SIZE_p99  ns, 99 of 100 requests
 * echo_idle: 10,000 connections are opened, a hundred at a time, and each is asked once for 64 bytes:
 *     echo_idle         ns per connection
 *     echo_idle_memory  bytes that became resident in the server per connection, when all of them wait
 *
 * It is one thread with epoll; what it costs is not counted, but it shares the machine with the server, and a
 * request that waits for it to look is as late as one that waits for the server. */
#include "echo_shape.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

enum { IDLE = 10000, IDLE_SIZE = 64, EVENTS = 256, TIME_LIMIT = 10 };

struct connection {
    int fd;
    uint32_t number; /* of the message under way; the first word of its bytes */
    size_t sent, got;
    int64_t asked;
    bool wants_out;
};

static struct load {
    int port, epoll, server;
    size_t size;
    int n_connections;
    struct connection *connections;
    char *message, *answer; /* of `size` bytes */
    int answered_once;      /* connections */
    bool counting, no_more; /* `no_more`: what is answered is not asked again */
    int64_t *took;          /* ns of each request counted */
    size_t n_took, room;
} load;

/* --- connections --- */

static void watch(struct connection *c, int operation, bool out)
{
    struct epoll_event event = {EPOLLIN | (out ? EPOLLOUT : 0u), {.ptr = c}};
    c->wants_out = out;
    bench_check(epoll_ctl(load.epoll, operation, c->fd, &event) == 0, "epoll_ctl");
}

/* Closing resets, so that no port is kept from the next run. */
static void open_connection(struct connection *c)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)load.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    bench_check(c->fd >= 0, "no socket");
    bench_check(connect(c->fd, (struct sockaddr *)&address, sizeof address) == 0, "not connected");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    watch(c, EPOLL_CTL_ADD, false);
}

/* --- one message there and back --- */

static void send_rest(struct connection *c)
{
    while (c->sent < load.size) {
        memcpy(load.message, &c->number, sizeof c->number);
        ssize_t n =
            send(c->fd, load.message + c->sent, load.size - c->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            break;
        bench_check(n > 0, "not sent");
        c->sent += (size_t)n;
    }
    if (c->wants_out != (c->sent < load.size))
        watch(c, EPOLL_CTL_MOD, !c->wants_out);
}

static void ask(struct connection *c)
{
    c->number++;
    c->sent = c->got = 0;
    c->asked = bench_now();
    send_rest(c);
}

static void note(int64_t took)
{
    if (load.n_took == load.room) {
        load.room = load.room ? 2 * load.room : 1 << 16;
        load.took = realloc(load.took, load.room * sizeof *load.took);
        bench_check(load.took, "no memory");
    }
    load.took[load.n_took++] = took;
}

static void answered(struct connection *c)
{
    load.answered_once += c->number == 1;
    if (load.counting)
        note(bench_now() - c->asked);
    if (!load.no_more)
        ask(c);
}

static void receive(struct connection *c)
{
    ssize_t n = recv(c->fd, load.answer, load.size - c->got, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    bench_check(n > 0, "the server has closed a connection");
    memcpy(load.message, &c->number, sizeof c->number);
    bench_check(memcmp(load.answer, load.message + c->got, (size_t)n) == 0, "not an echo");
    c->got += (size_t)n;
    if (c->got == load.size)
        answered(c);
}

/* --- all of them --- */

static void turn(void)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(load.epoll, events, EVENTS, 100);
    bench_check(n >= 0 || errno == EINTR, "epoll_wait");
    for (int i = 0; i < n; i++) {
        struct connection *c = events[i].data.ptr;
        if (events[i].events & EPOLLOUT)
            send_rest(c);
        if (events[i].events & ~(uint32_t)EPOLLOUT)
            receive(c);
    }
}

static void prepare(int n, size_t size)
{
    load.size = size;
    load.epoll = epoll_create1(0);
    load.connections = calloc((size_t)n, sizeof *load.connections);
    load.message = malloc(size);
    load.answer = malloc(size);
    bench_check(load.connections && load.message && load.answer, "no memory");
    for (size_t i = 0; i < size; i++)
        load.message[i] = (char)(i % 251);
}

/* Opens n more connections and returns when each has had an answer. */
static void open_more(int n)
{
    int first = load.n_connections;
    load.n_connections += n;
    for (int i = first; i < load.n_connections; i++)
        open_connection(&load.connections[i]);
    for (int i = first; i < load.n_connections; i++)
        ask(&load.connections[i]);
    while (load.answered_once < load.n_connections)
        turn();
}

/* --- the figures --- */

static int64_t server_worked(void)
{
    clockid_t clock;
    struct timespec t;
    bench_check(clock_getcpuclockid(load.server, &clock) == 0 && clock_gettime(clock, &t) == 0,
                "the server has no clock");
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static double percentile(int percent)
{
    return (double)load.took[(load.n_took - 1) * (size_t)percent / 100];
}

static double exchange(const struct bench_subject *self)
{
    const int n = (int)self->x, size = *(const int *)self->what;
    prepare(n, (size_t)size);
    open_more(n);
    int64_t start = bench_now(), worked, took;
    while (bench_now() - start < bench_budget() / 10)
        turn();
    load.counting = true;
    start = bench_now();
    worked = server_worked();
    while ((took = bench_now() - start) < bench_budget() || load.n_took < (size_t)n)
        turn();
    worked = server_worked() - worked;
    double requests = (double)load.n_took;
    qsort(load.took, load.n_took, sizeof *load.took, compare);
    bench_also("cpu", (double)worked / requests, "ns");
    bench_also("p50", percentile(50), "ns");
    bench_also("p99", percentile(99), "ns");
    return (double)took / requests;
}

/* By the hundred, so that no server's backlog is full. The first hundred are not counted. */
static double idle(const struct bench_subject *self)
{
    (void)self;
    prepare(IDLE + 100, IDLE_SIZE);
    load.no_more = true;
    open_more(100);
    long before = bench_resident(load.server);
    int64_t start = bench_now();
    for (int i = 0; i < IDLE; i += 100)
        open_more(100);
    int64_t took = bench_now() - start;
    nanosleep(&(struct timespec){0, 20 * 1000 * 1000},
              NULL); /* the last one's server goes to wait */
    bench_also("memory", (double)(bench_resident(load.server) - before) / IDLE, "B");
    return (double)took / IDLE;
}

/* The command line says what the table of one run is. */
int main(int argc, char **argv)
{
    bench_check(argc == 5, "usage: echo_load CASE SUBJECT PORT PID");
    int size, n;
    struct bench_subject table[] = {BENCH_SUBJECT(argv[1], argv[2], idle, NULL, 0), {0}};
    if (sscanf(argv[1], "echo_%d/%d", &size, &n) == 2)
        table[0] = (struct bench_subject)BENCH_SUBJECT(argv[1], argv[2], exchange, &size, n);
    else
        bench_check(strcmp(argv[1], "echo_idle") == 0, "no such case");
    load.port = atoi(argv[3]);
    load.server = atoi(argv[4]);
    echo_allow_descriptors();
    alarm(TIME_LIMIT);
    return bench_main(3, argv, table);
}
