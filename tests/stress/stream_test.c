/* Streams under load. Invariants:
 *   - each byte arrives once and in order, whatever times out or is cancelled between: what a call says it has
 *     done is exact;
 *   - a client that is killed costs its own connection and nobody else's;
 *   - in the end no descriptor is left. */
#include "harness/harness.h"

#include "park/park.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONG plait_seconds(T_PATIENCE_S)

enum { CLIENTS = 6, PIECE = 20000 };

static const int kinds[] = {PLAIT_THREAD, PLAIT_PROCESS, PLAIT_TASK};

/* Byte i of the stream with that seed. */
static unsigned char byte_at(uint64_t seed, uint64_t i)
{
    return (unsigned char)((i * 2654435761u + seed * 40503u) >> 7);
}

static void make_bytes(unsigned char *to, uint64_t seed, uint64_t from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = byte_at(seed, from + i);
}

/* --- a service that sends back what it gets --- */

struct service {
    plait_listener *listener;
    char port[16];
    int kind;
    long bytes;   /* echoed in all */
    long clients; /* that came to their end */
    int rc;
};

static int echo(plait_stream *s, void *arg)
{
    struct service *v = arg;
    unsigned char bytes[4096];
    ssize_t n;
    while ((n = plait_read(s, bytes, sizeof bytes, PLAIT_FOREVER)) > 0) {
        size_t done;
        int rc = plait_write(s, bytes, (size_t)n, &done, LONG);
        ADD(v->bytes, (long)done);
        if (rc < 0)
            break;
    }
    COUNT(v->clients);
    return 0;
}

static int serve(void *arg)
{
    struct service *v = arg;
    plait_serve_options options = {.kind = v->kind, .max_clients = CLIENTS};
    v->rc = plait_serve(v->listener, echo, v, &options);
    return 0;
}

static plait_worker open_service(struct service *v, int kind)
{
    *v = (struct service){.kind = kind};
    CHECK_RC(plait_listen(&v->listener, "127.0.0.1", "0", NULL, LONG), 0);
    snprintf(v->port, sizeof v->port, "%d", plait_listener_port(v->listener));
    return t_start_one(kind, serve, v);
}

static void close_service(struct service *v, plait_worker server)
{
    CHECK_RC(plait_listener_close(v->listener), 0);
    CHECK_EQ(t_join_one(server), 0);
    CHECK_RC(v->rc, PLAIT_ECLOSED);
}

/* --- clients --- */

struct client {
    struct service *service;
    plait_stream *stream;
    uint64_t seed;
    uint64_t total;
};

/* Writes all, in pieces, with timeouts that are often too short. */
static int send_all(void *arg)
{
    struct client *c = arg;
    uint64_t sent = 0, random = c->seed + 1;
    unsigned char bytes[PIECE];
    while (sent < c->total) {
        size_t n = (size_t)t_below(&random, PIECE) + 1, done;
        n = n < c->total - sent ? n : (size_t)(c->total - sent);
        make_bytes(bytes, c->seed, sent, n);
        int rc = plait_write(c->stream, bytes, n, &done, t_below(&random, 2000) * 1000);
        CHECK(rc == 0 ? done == n : rc == PLAIT_ETIMEDOUT || rc == PLAIT_ECANCELED);
        sent += done;
    }
    CHECK_RC(plait_write_eof(c->stream), 0);
    return 0;
}

static void check_bytes(const struct client *c, uint64_t from, const unsigned char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        CHECK_EQ(bytes[i], byte_at(c->seed, from + i));
}

/* Reads all, by one call or the other, with timeouts that are often too short. */
static void receive_all(struct client *c)
{
    uint64_t came = 0, random = c->seed + 2;
    unsigned char bytes[PIECE], separator = 'x';
    int rc = 0;
    while (rc != PLAIT_EEOF) {
        size_t n = (size_t)t_below(&random, PIECE) + 1, got = 0;
        int64_t timeout = t_below(&random, 2000) * 1000;
        switch (t_below(&random, 3)) {
        case 0:
            rc = plait_read_exactly(c->stream, bytes, n, &got, timeout);
            break;
        case 1:
            rc = plait_read_until(c->stream, bytes, n, &separator, 1, &got, timeout);
            CHECK(rc != 0 || bytes[got - 1] == separator);
            break;
        default: {
            ssize_t some = plait_read(c->stream, bytes, n, timeout);
            got = some > 0 ? (size_t)some : 0;
            rc = some > 0 ? 0 : some == 0 ? PLAIT_EEOF : (int)some;
        }
        }
        CHECK(rc == 0 || rc == PLAIT_EEOF || rc == PLAIT_ETIMEDOUT || rc == PLAIT_ELIMIT ||
              rc == PLAIT_ECANCELED);
        check_bytes(c, came, bytes, got);
        came += got;
    }
    CHECK_EQ(came, c->total);
}

static int be_client(void *arg)
{
    struct client *c = arg;
    plait_worker writer;
    CHECK_RC(plait_connect(&c->stream, "127.0.0.1", c->service->port, NULL, LONG), 0);
    int kind = pl_self.task ? PLAIT_TASK : PLAIT_THREAD;
    CHECK_RC(plait_start(&writer, kind, send_all, c, NULL), 0);
    receive_all(c);
    plait_join(writer, NULL, LONG);
    plait_stream_close(c->stream);
    return 0;
}

static long start_clients(struct client *clients, plait_worker *workers, struct service *v,
                          int kind, uint64_t *seed)
{
    long sum = 0;
    for (int i = 0; i < CLIENTS; i++) {
        uint64_t total = (uint64_t)t_below(seed, (int)t_rounds(400000));
        clients[i] = (struct client){.service = v, .seed = t_random(seed), .total = total};
        sum += (long)total;
        workers[i] = t_start_one(kind, be_client, &clients[i]);
    }
    return sum;
}

static void each_byte_comes_once_and_in_order(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    const int served_by[] = {PLAIT_THREAD, PLAIT_TASK};
    for (int s = 0; s < 2; s++)
        for (int k = 0; k < 3; k++) {
            static struct service v;
            struct client clients[CLIENTS];
            plait_worker workers[CLIENTS], server = open_service(&v, served_by[s]);
            long sum = start_clients(clients, workers, &v, kinds[k], &seed);
            for (int i = 0; i < CLIENTS; i++)
                CHECK_EQ(t_join_one(workers[i]), 0);
            close_service(&v, server);
            CHECK_EQ(SEEN(v.bytes), sum);
            CHECK_EQ(SEEN(v.clients), CLIENTS);
        }
}

/* What is told of a cancelled call is exact, too. */
static void cancelling_loses_no_byte(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    static struct service v;
    plait_worker writer, server = open_service(&v, PLAIT_THREAD);
    struct client one = {
        .service = &v, .seed = t_random(&seed), .total = (uint64_t)t_rounds(3000000)};
    CHECK_RC(plait_connect(&one.stream, "127.0.0.1", v.port, NULL, LONG), 0);
    writer = t_start_one(PLAIT_THREAD, send_all, &one);
    uint64_t came = 0;
    unsigned char bytes[PIECE];
    while (came < one.total) {
        plait_cancel(writer);
        ssize_t n = plait_read(one.stream, bytes, sizeof bytes, LONG);
        CHECK(n > 0);
        check_bytes(&one, came, bytes, (size_t)n);
        came += (uint64_t)n;
    }
    CHECK_EQ(plait_read(one.stream, bytes, 1, LONG), 0);
    CHECK_EQ(t_join_one(writer), 0);
    plait_stream_close(one.stream);
    close_service(&v, server);
    CHECK_EQ(SEEN(v.bytes), one.total);
}

static void killed_clients_cost_only_their_own_connections(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    const int served_by[] = {PLAIT_THREAD, PLAIT_TASK};
    int files = 0;
    for (int s = 0; s < 2; s++)
        for (long round = 0; round < t_rounds(8); round++) {
            static struct service v;
            struct client clients[CLIENTS], last[CLIENTS];
            plait_worker workers[CLIENTS], others[CLIENTS], server = open_service(&v, served_by[s]);
            start_clients(clients, workers, &v, PLAIT_PROCESS, &seed);
            start_clients(last, others, &v, PLAIT_THREAD, &seed);
            for (int i = 0; i < CLIENTS; i++) {
                CHECK_RC(plait_sleep(t_below(&seed, 2000) * 1000), 0);
                plait_kill(workers[i]);
            }
            for (int i = 0; i < CLIENTS; i++) {
                CHECK_RC(plait_join(workers[i], NULL, LONG) >= 0, 1);
                CHECK_EQ(t_join_one(others[i]), 0);
            }
            close_service(&v, server);
            CHECK(SEEN(v.clients) >= CLIENTS);
            CHECK_RC(plait_sleep(1), 0); /* without tasks the loop goes */
            if (files == 0)
                files = t_open_files();
            CHECK_EQ(t_open_files(), files);
        }
}

/* One closes while others wait to read and to accept: each returns, and nothing is left. */
static int read_once(void *s)
{
    char bytes[100];
    return (int)plait_read(s, bytes, sizeof bytes, LONG);
}

static int write_much(void *s)
{
    static const char bytes[8 << 20];
    return plait_write(s, bytes, sizeof bytes, NULL, LONG);
}

static void closing_meets_readers_and_writers_anywhere(void **state)
{
    (void)state;
    uint64_t seed = t_seed();
    for (long i = 0; i < t_rounds(200); i++) {
        plait_stream *a, *b;
        plait_worker w[2];
        CHECK_RC(plait_stream_pair(&a, &b), 0);
        w[0] = t_start_one(PLAIT_THREAD, read_once, a);
        w[1] = t_start_one(PLAIT_THREAD, write_much, a);
        for (int k = 0; k < 2; k++) /* it may be closed once all are inside */
            UNTIL(plait_state(w[k]) == PLAIT_STATE_BLOCKED);
        t_dither(&seed, 50 * 1000);
        int fd = plait_stream_fd(a);
        CHECK_RC(plait_stream_close(a), 0);
        CHECK_RC(t_join_one(w[0]), PLAIT_ECLOSED);
        CHECK_RC(t_join_one(w[1]), PLAIT_ECLOSED);
        CHECK(fcntl(fd, F_GETFD) < 0);
        plait_stream_close(b);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_byte_comes_once_and_in_order),
        cmocka_unit_test(cancelling_loses_no_byte),
        cmocka_unit_test(killed_clients_cost_only_their_own_connections),
        cmocka_unit_test(closing_meets_readers_and_writers_anywhere),
    };
    t_arguments(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
