/* Streams and listeners: a test per promise of include/plait/stream.h and listener.h, and each misuse. */
#include "harness/harness.h"

#include "park/park.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { MIB = 1 << 20 };
#define LONG plait_seconds(T_PATIENCE_S)

static const int kinds[] = {PLAIT_THREAD, PLAIT_PROCESS, PLAIT_TASK};
#define FOR_EACH_OF_3_KINDS(kind)                                                                  \
    for (int i_ = 0, kind = kinds[0]; i_ < 3; kind = kinds[++i_ < 3 ? i_ : 0])

/* --- two ends and a peer at one of them --- */

enum way { UNIX, TCP, WAYS };

static void tcp_pair(plait_stream **a, plait_stream **b)
{
    plait_listener *l;
    char port[16];
    CHECK_RC(plait_listen(&l, "127.0.0.1", "0", NULL, LONG), 0);
    snprintf(port, sizeof port, "%d", plait_listener_port(l));
    CHECK_RC(plait_connect(a, "127.0.0.1", port, NULL, LONG), 0);
    CHECK_RC(plait_accept(l, b, LONG), 0);
    CHECK_RC(plait_listener_close(l), 0);
}

static void new_pair(enum way way, plait_stream **a, plait_stream **b)
{
    if (way == TCP)
        tcp_pair(a, b);
    else
        CHECK_RC(plait_stream_pair(a, b), 0);
}

/* A worker of some kind at the far end. */
struct link {
    plait_stream *near, *far;
    int kind;
    plait_function *act; /* with the far end */
    plait_worker peer;
};

static int peer_main(void *arg)
{
    struct link *l = arg;
    if (l->kind == PLAIT_PROCESS)
        plait_stream_close(l->near);
    int rc = l->act(l->far);
    plait_stream_close(l->far);
    return rc;
}

static void link_to(struct link *l, enum way way, int kind, plait_function *act)
{
    *l = (struct link){.kind = kind, .act = act};
    new_pair(way, &l->near, &l->far);
    l->peer = t_start_one(kind, peer_main, l);
    if (kind == PLAIT_PROCESS)
        plait_stream_close(l->far);
}

static void unlink_from(struct link *l)
{
    CHECK_RC(plait_stream_close(l->near), 0);
    CHECK_EQ(t_join_one(l->peer), 0);
}

#define FOR_EACH_LINK(l, act)                                                                      \
    FOR_EACH_OF_3_KINDS(kind_)                                                                     \
    for (struct link link_, *l = &link_; l;)                                                       \
        for (int way_ = 0; way_ < WAYS || (l = NULL); way_++)                                      \
            for (int once_ = (link_to(l, (enum way)way_, kind_, act), 1); once_;                   \
                 once_ = (unlink_from(l), 0))

static void put(plait_stream *s, const char *text)
{
    size_t done = 0;
    CHECK_RC(plait_write(s, text, strlen(text), &done, LONG), 0);
    CHECK_EQ(done, strlen(text));
}

/* --- reading --- */

static int read_some(void *stream, int64_t timeout)
{
    char c[10];
    return (int)plait_read(stream, c, sizeof c, timeout);
}

static void without_an_arena_it_says_why_it_cannot_wait(void **state)
{
    (void)state;
    plait_stream *a, *b;
    new_pair(UNIX, &a, &b);
    put(b, "x");
    CHECK_RC(read_some(a, PLAIT_FOREVER), 1); /* none is needed for that */
    t_check_no_arena(read_some, a);
    plait_stream_close(a);
    plait_stream_close(b);
}

static int say_hello_and_wait(void *s)
{
    char c;
    put(s, "hello");
    CHECK_EQ(plait_read(s, &c, 1, LONG), 0);
    return 0;
}

static void read_gives_what_there_is(void **state)
{
    (void)state;
    FOR_EACH_LINK(l, say_hello_and_wait)
    {
        char text[100];
        errno = EXDEV;
        CHECK_EQ(plait_read(l->near, text, 2, LONG), 2);
        CHECK(memcmp(text, "he", 2) == 0);
        CHECK_EQ(plait_read(l->near, text, sizeof text, LONG), 3);
        CHECK(memcmp(text, "llo", 3) == 0);
        CHECK_RC((int)plait_read(l->near, text, 1, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
        CHECK_RC((int)plait_read(l->near, text, 1, plait_ms(2)), PLAIT_ETIMEDOUT);
        CHECK_EQ(plait_stream_at_eof(l->near), 0);
        CHECK_EQ(errno, EXDEV);
    }
}

static int trickle(void *s)
{
    for (const char *c = "one\ntwo--=three\nfour"; *c; c++) {
        CHECK_RC(plait_write(s, c, 1, NULL, LONG), 0);
        CHECK_RC(plait_yield(), 0);
    }
    return 0;
}

static void reads_put_bytes_together_that_come_one_at_a_time(void **state)
{
    (void)state;
    FOR_EACH_LINK(l, trickle)
    {
        char text[100];
        size_t got = 99;
        CHECK_RC(plait_read_exactly(l->near, text, 2, &got, LONG), 0);
        CHECK_EQ(got, 2);
        CHECK_RC(plait_read_line(l->near, text, sizeof text, &got, LONG), 0);
        CHECK_EQ(got, 2);
        CHECK_EQ(strcmp(text, "e\n"), 0);
        CHECK_RC(plait_read_until(l->near, text, sizeof text, "-=", 2, &got, LONG), 0);
        CHECK_EQ(got, 6);
        CHECK_EQ(memcmp(text, "two--=", 6), 0);
        CHECK_RC(plait_read_line(l->near, text, sizeof text, &got, LONG), 0);
        CHECK_EQ(strcmp(text, "three\n"), 0);
        CHECK_RC(plait_read_exactly(l->near, text, 10, &got, LONG), PLAIT_EEOF);
        CHECK_EQ(got, 4);
        CHECK_EQ(memcmp(text, "four", 4), 0);
        CHECK_EQ(plait_stream_at_eof(l->near), 1);
        CHECK_EQ(plait_read(l->near, text, 1, LONG), 0); /* and again */
        CHECK_RC(plait_read_exactly(l->near, text, 1, &got, LONG), PLAIT_EEOF);
        CHECK_EQ(got, 0);
        CHECK_RC(plait_read_exactly(l->near, text, 0, &got, LONG), 0);
    }
}

static int say_lines(void *s)
{
    put(s, "first\nlast");
    return 0;
}

static void the_last_line_may_lack_its_end(void **state)
{
    (void)state;
    FOR_EACH_LINK(l, say_lines)
    {
        char text[100];
        size_t got;
        CHECK_RC(plait_read_line(l->near, text, sizeof text, NULL, LONG), 0);
        CHECK_RC(plait_read_line(l->near, text, sizeof text, &got, LONG), 0);
        CHECK_EQ(got, 4);
        CHECK_EQ(strcmp(text, "last"), 0);
        CHECK_RC(plait_read_line(l->near, text, sizeof text, &got, LONG), PLAIT_EEOF);
        CHECK_EQ(got, 0);
    }
}

static void read_until_gives_what_is_left_at_the_end(void **state)
{
    (void)state;
    FOR_EACH_LINK(l, say_lines)
    {
        char text[100];
        size_t got;
        CHECK_RC(plait_read_until(l->near, text, sizeof text, "xyz", 3, &got, LONG), PLAIT_EEOF);
        CHECK_EQ(got, 10);
        CHECK_RC(plait_read_until(l->near, text, sizeof text, "xyz", 3, &got, LONG), PLAIT_EEOF);
        CHECK_EQ(got, 0);
    }
}

static void past_the_limit_nothing_is_consumed(void **state)
{
    (void)state;
    FOR_EACH_LINK(l, say_lines)
    {
        char text[100];
        size_t got = 7;
        CHECK_RC(plait_read_until(l->near, text, 5, "\n", 1, &got, LONG), PLAIT_ELIMIT);
        CHECK_EQ(got, 0);
        CHECK_RC(plait_read_line(l->near, text, 6, &got, LONG), PLAIT_ELIMIT);
        CHECK_RC(plait_read_until(l->near, text, 6, "\n", 1, &got, LONG), 0);
        CHECK_EQ(memcmp(text, "first\n", 6), 0);
    }
}

static void a_timeout_keeps_what_read_until_has_got(void **state)
{
    (void)state;
    plait_stream *a, *b;
    char text[10];
    size_t got;
    new_pair(TCP, &a, &b);
    put(b, "abc");
    CHECK_RC(plait_read_until(a, text, 10, ";", 1, &got, plait_ms(5)), PLAIT_ETIMEDOUT);
    CHECK_EQ(got, 0);
    CHECK_RC(plait_read_exactly(a, text, 5, &got, plait_ms(5)), PLAIT_ETIMEDOUT);
    CHECK_EQ(got, 3); /* delivered, and told */
    put(b, "d;");
    CHECK_RC(plait_read_until(a, text, 10, ";", 1, &got, LONG), 0);
    CHECK_EQ(got, 2);
    plait_stream_close(a);
    plait_stream_close(b);
}

static void the_streams_own_limit_counts_too(void **state)
{
    (void)state;
    int fds[2];
    plait_stream *a, *b;
    char text[40];
    size_t got;
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    CHECK_RC(plait_stream_of_fd(&a, fds[0], &(plait_stream_options){.limit = 8}), 0);
    CHECK_RC(plait_stream_of_fd(&b, fds[1], NULL), 0);
    put(b, "1234567;12345678;");
    CHECK_RC(plait_read_until(a, text, sizeof text, ";", 1, &got, LONG), 0);
    CHECK_EQ(got, 8);
    CHECK_RC(plait_read_until(a, text, sizeof text, ";", 1, &got, LONG), PLAIT_ELIMIT);
    CHECK_RC(plait_read_exactly(a, text, 9, &got, LONG), 0); /* may be longer */
    CHECK_EQ(memcmp(text, "12345678;", 9), 0);
    plait_stream_close(a);
    plait_stream_close(b);
}

static void read_all_reads_to_the_end_or_says_that_there_is_more(void **state)
{
    (void)state;
    for (size_t size = 8; size <= 12; size++)
        FOR_EACH_LINK(l, say_lines)
        {
            char text[100];
            size_t got;
            CHECK_RC(plait_read_all(l->near, text, size, &got, LONG), size < 10 ? PLAIT_ELIMIT : 0);
            CHECK_EQ(got, size < 10 ? size : 10);
            CHECK_EQ(memcmp(text, "first\nlast", got), 0);
            CHECK_RC(plait_read_all(l->near, text, sizeof text, &got, LONG), 0);
            CHECK_EQ(got, size < 10 ? 10 - size : 0);
        }
}

/* --- ends --- */

static int read_then_answer(void *s)
{
    char text[100];
    size_t got;
    CHECK_RC(plait_read_all(s, text, sizeof text, &got, LONG), 0);
    CHECK_EQ(got, 8);
    put(s, "answer");
    return 0;
}

static void a_half_closed_stream_still_reads(void **state)
{
    (void)state;
    FOR_EACH_LINK(l, read_then_answer)
    {
        char text[100];
        size_t got;
        put(l->near, "question");
        CHECK_RC(plait_write_eof(l->near), 0);
        CHECK_RC(plait_write_eof(l->near), 0);
        CHECK_RC(plait_write(l->near, "x", 1, NULL, LONG), PLAIT_EPIPE);
        CHECK_RC(plait_read_all(l->near, text, sizeof text, &got, LONG), 0);
        CHECK_EQ(got, 6);
    }
}

static int reset(void *s)
{
    char c;
    CHECK_EQ(plait_read(s, &c, 1, LONG), 1);
    struct linger now = {1, 0};
    setsockopt(plait_stream_fd(s), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    return 0;
}

static void a_reset_is_not_the_end(void **state)
{
    (void)state;
    FOR_EACH_OF_3_KINDS(kind)
    {
        struct link l;
        char c;
        link_to(&l, TCP, kind, reset);
        put(l.near, "x");
        CHECK_RC((int)plait_read(l.near, &c, 1, LONG), PLAIT_ECONNRESET);
        CHECK_RC((int)plait_read(l.near, &c, 1, LONG), PLAIT_ECONNRESET); /* it stays so */
        CHECK_RC(plait_read_exactly(l.near, &c, 1, NULL, LONG), PLAIT_ECONNRESET);
        CHECK_EQ(plait_stream_at_eof(l.near), 0);
        CHECK_RC(plait_write(l.near, "x", 1, NULL, LONG), PLAIT_ECONNRESET);
        unlink_from(&l);
    }
}

static void a_reset_that_the_writer_met_is_told_the_reader(void **state)
{
    (void)state;
    plait_stream *a, *b;
    char c;
    int error;
    socklen_t size = sizeof error;
    new_pair(TCP, &a, &b);
    CHECK_RC(plait_stream_abort(b), 0);
    CHECK_RC(plait_wait_fd(plait_stream_fd(a), PLAIT_HANGUP, LONG) > 0, 1);
    CHECK_RC(plait_write(a, "x", 1, NULL, LONG), PLAIT_ECONNRESET);
    CHECK_RC((int)plait_read(a, &c, 1, LONG), PLAIT_ECONNRESET);
    plait_stream_close(a);
    /* And if somebody else took the kernel's only word of it. */
    new_pair(TCP, &a, &b);
    CHECK_RC(plait_stream_abort(b), 0);
    CHECK_RC(plait_wait_fd(plait_stream_fd(a), PLAIT_HANGUP, LONG) > 0, 1);
    CHECK_EQ(getsockopt(plait_stream_fd(a), SOL_SOCKET, SO_ERROR, &error, &size), 0);
    CHECK_EQ(error, ECONNRESET);
    CHECK_RC((int)plait_read(a, &c, 1, LONG), PLAIT_ECONNRESET);
    plait_stream_close(a);
}

static void both_closing_in_good_order_is_the_end(void **state)
{
    (void)state;
    plait_stream *a, *b;
    char c;
    new_pair(TCP, &a, &b);
    CHECK_RC(plait_write_eof(a), 0);
    CHECK_RC(plait_write_eof(b), 0);
    CHECK_EQ(plait_read(a, &c, 1, LONG), 0);
    CHECK_EQ(plait_read(b, &c, 1, LONG), 0);
    CHECK_EQ(plait_read(a, &c, 1, LONG), 0);
    plait_stream_close(a);
    plait_stream_close(b);
}

static int read_for_ever(void *s)
{
    char c[100];
    while (plait_read(s, c, sizeof c, PLAIT_FOREVER) > 0)
        ;
    return 0;
}

static void a_killed_peer_is_the_end(void **state)
{
    (void)state;
    struct link l;
    char c;
    for (int way = 0; way < WAYS; way++) {
        link_to(&l, (enum way)way, PLAIT_PROCESS, read_for_ever);
        t_kill(l.peer);
        CHECK_EQ(plait_read(l.near, &c, 1, LONG), 0);
        plait_stream_close(l.near);
    }
}

static int leave(void *s)
{
    (void)s;
    return 0;
}

static void writing_to_who_has_gone_is_a_code_and_no_signal(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_DFL);
    FOR_EACH_LINK(l, leave)
    {
        char c;
        int rc = 0;
        while (rc == 0) /* TCP learns of it by the answer to the first */
            rc = plait_write(l->near, "x", 1, NULL, LONG);
        CHECK(rc == PLAIT_EPIPE || rc == PLAIT_ECONNRESET);
        (void)c;
    }
    int p[2];
    plait_stream *s;
    sigset_t pending, pipe_only;
    CHECK_EQ(pipe(p), 0);
    CHECK_RC(plait_stream_of_fd(&s, p[1], NULL), 0);
    close(p[0]);
    CHECK_RC(plait_write(s, "x", 1, NULL, LONG), PLAIT_EPIPE);
    sigpending(&pending);
    CHECK_EQ(sigismember(&pending, SIGPIPE), 0);
    /* One that the program had pending itself stays. */
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, NULL);
    raise(SIGPIPE);
    CHECK_RC(plait_write(s, "x", 1, NULL, LONG), PLAIT_EPIPE);
    sigpending(&pending);
    CHECK_EQ(sigismember(&pending, SIGPIPE), 1);
    signal(SIGPIPE, SIG_IGN);
    pthread_sigmask(SIG_UNBLOCK, &pipe_only, NULL);
    signal(SIGPIPE, SIG_DFL);
    plait_stream_close(s);
}

/* --- writing --- */

/* Until nothing more goes: what the kernel takes to the other end makes room again. */
static size_t fill(plait_stream *s)
{
    static const char zeros[MIB];
    size_t sum = 0, done;
    do {
        plait_write(s, zeros, sizeof zeros, &done, plait_ms(10));
        sum += done;
    } while (done > 0);
    return sum;
}

static void who_does_not_read_makes_the_writer_wait(void **state)
{
    (void)state;
    for (int way = 0; way < WAYS; way++) {
        plait_stream *a, *b;
        static char bytes[16 * MIB];
        size_t got, done, more = 0;
        new_pair((enum way)way, &a, &b);
        done = fill(a);
        CHECK(done > 0 && done < sizeof bytes);
        CHECK_RC(plait_write(a, bytes, sizeof bytes, &more, plait_ms(20)), PLAIT_ETIMEDOUT);
        CHECK(done + more < sizeof bytes); /* nothing is stored up by us */
        plait_write_eof(a);
        CHECK_RC(plait_read_all(b, bytes, sizeof bytes, &got, LONG), 0);
        CHECK_EQ(got, done + more); /* *done is exact */
        plait_stream_close(a);
        plait_stream_close(b);
    }
}

static int send_and_check(void *s)
{
    unsigned char *bytes = malloc(MIB);
    size_t n;
    for (int i = 0; i < MIB; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 251);
    CHECK_RC(plait_write(s, bytes, MIB, &n, LONG), 0);
    CHECK_EQ(n, MIB);
    CHECK_RC(plait_write_eof(s), 0);
    free(bytes);
    return 0;
}

static int read_and_check(void *s)
{
    unsigned char *bytes = malloc(MIB);
    size_t n;
    CHECK_RC(plait_read_exactly(s, bytes, MIB, &n, LONG), 0);
    for (int i = 0; i < MIB; i++)
        CHECK_EQ(bytes[i], (unsigned char)(i * 7 + i / 251));
    CHECK_EQ(plait_read(s, bytes, 1, LONG), 0);
    free(bytes);
    return 0;
}

static int both_ways(void *s)
{
    plait_worker writer;
    int kind = plait_state(plait_self()) >= 0 && pl_self.task ? PLAIT_TASK : PLAIT_THREAD;
    CHECK_RC(plait_start(&writer, kind, send_and_check, s, NULL), 0);
    read_and_check(s);
    CHECK_RC(plait_join(writer, NULL, LONG), 0);
    return 0;
}

static void one_reads_while_another_writes(void **state)
{
    (void)state;
    FOR_EACH_LINK(l, both_ways)
    {
        both_ways(l->near);
    }
}

static void parts_are_written_in_order(void **state)
{
    (void)state;
    plait_stream *a, *b;
    struct iovec parts[40];
    char expected[2000] = "", text[2000];
    size_t done, got;
    new_pair(TCP, &a, &b);
    for (int i = 0; i < 40; i++) {
        parts[i].iov_base = (void *)(uintptr_t) "abcdefghijklmnopqrstuvwxyz";
        parts[i].iov_len = (size_t)(i % 5 == 0 ? 0 : i % 26);
        size_t end = strlen(expected);
        memcpy(expected + end, parts[i].iov_base, parts[i].iov_len);
        expected[end + parts[i].iov_len] = 0;
    }
    CHECK_RC(plait_writev(a, parts, 40, &done, LONG), 0);
    CHECK_EQ(done, strlen(expected));
    CHECK_RC(plait_read_exactly(b, text, done, &got, LONG), 0);
    CHECK_EQ(memcmp(text, expected, got), 0);
    CHECK_RC(plait_writev(a, parts, 0, &done, LONG), 0);
    CHECK_RC(plait_writev(a, parts, 1, &done, LONG), 0); /* of no bytes */
    CHECK_EQ(done, 0);
    CHECK_RC(plait_writev(a, NULL, 1, &done, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_writev(a, parts, -1, &done, LONG), PLAIT_EINVAL);
    plait_stream_close(a);
    plait_stream_close(b);
}

static int new_file(const void *bytes, size_t size)
{
    char path[] = "/tmp/plait-test-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    unlink(path);
    CHECK_EQ(write(fd, bytes, size), (ssize_t)size);
    return fd;
}

static int file_sent;

static int send_file(void *s)
{
    uint64_t done;
    CHECK_RC(plait_sendfile(s, file_sent, 3, 0, &done, LONG), 0);
    CHECK_EQ(done, MIB - 3);
    return 0;
}

static void sendfile_sends_a_file(void **state)
{
    (void)state;
    char *bytes = malloc(MIB), *text = malloc(MIB);
    size_t got;
    uint64_t done;
    for (int i = 0; i < MIB; i++)
        bytes[i] = (char)(i * 13 + i / 255);
    file_sent = new_file(bytes, MIB);
    FOR_EACH_LINK(l, send_file)
    {
        CHECK_RC(plait_read_all(l->near, text, MIB, &got, LONG), 0);
        CHECK_EQ(got, MIB - 3);
        CHECK_EQ(memcmp(text, bytes + 3, got), 0);
        CHECK_RC(plait_sendfile(l->near, -1, 0, 0, NULL, LONG), PLAIT_EINVAL);
    }
    plait_stream *a, *b;
    new_pair(TCP, &a, &b);
    CHECK_RC(plait_sendfile(a, file_sent, MIB - 10, 11, &done, LONG), PLAIT_EEOF);
    CHECK_EQ(done, 10);
    CHECK_RC(plait_sendfile(a, file_sent, 5, 6, &done, LONG), 0);
    CHECK_EQ(done, 6);
    CHECK_RC(plait_read_exactly(b, text, 16, &got, LONG), 0);
    CHECK_EQ(memcmp(text, bytes + MIB - 10, 10) | memcmp(text + 10, bytes + 5, 6), 0);
    fill(a);
    CHECK_RC(plait_sendfile(a, file_sent, 0, 0, &done, plait_ms(10)), PLAIT_ETIMEDOUT);
    CHECK_RC(plait_stream_abort(b), 0);
    CHECK_RC(plait_sendfile(a, file_sent, 0, 0, &done, LONG), PLAIT_ECONNRESET);
    CHECK_EQ(lseek(file_sent, 0, SEEK_CUR), MIB); /* its position is its own */
    plait_stream_close(a);
    close(file_sent);
    free(bytes);
    free(text);
}

/* --- each blocking call: time, cancellation, closing --- */

static int exactly(void *s, int64_t timeout)
{
    char c;
    return plait_read_exactly(s, &c, 1, NULL, timeout);
}

static int line(void *s, int64_t timeout)
{
    char c[10];
    return plait_read_line(s, c, sizeof c, NULL, timeout);
}

static int all(void *s, int64_t timeout)
{
    char c[10];
    return plait_read_all(s, c, sizeof c, NULL, timeout);
}

/* More than there is ever room for. */
static int write_much(void *s, int64_t timeout)
{
    static const char zeros[32 * MIB];
    return plait_write(s, zeros, sizeof zeros, NULL, timeout);
}

static int accept_one(void *l, int64_t timeout)
{
    plait_stream *s;
    return plait_accept(l, &s, timeout);
}

static t_wait *const reads[] = {read_some, exactly, line, all};

static void check_call(const struct t_setting *s, t_wait *call, void *object)
{
    t_check_cancel(s, call, object);
    if (s->shared && call != read_some)
        return;
    t_check_bad_timeouts(call, object);
    t_check_time(call, object);
    t_check_signals(call, object);
    t_check_cancel_pending(s, call, object);
    t_check_cancel_counts(s, call, object);
    t_check_uncancel(s, call, object);
}

static void each_call_can_time_out_and_be_cancelled(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        plait_stream *a, *b;
        plait_listener *l;
        int p[2];
        new_pair(TCP, &a, &b);
        for (int i = 0; i < 4; i++)
            check_call(s, reads[i], a);
        fill(a);
        check_call(s, write_much, a);
        plait_stream_close(a);
        plait_stream_close(b);
        CHECK_RC(plait_listen(&l, NULL, "0", NULL, LONG), 0);
        check_call(s, accept_one, l);
        plait_listener_close(l);
        CHECK_EQ(pipe(p), 0);
        CHECK_RC(plait_stream_of_fd(&a, p[0], NULL), 0);
        check_call(s, read_some, a);
        plait_stream_close(a);
        close(p[1]);
    }
}

static int task_calls(void *waiter)
{
    return t_wait_once(waiter);
}

static void a_waiting_task_can_be_cancelled_and_time_out(void **state)
{
    (void)state;
    plait_stream *a, *b;
    new_pair(TCP, &a, &b);
    for (int i = 0; i < 4; i++) {
        struct t_waiter w = {reads[i], a, PLAIT_FOREVER, 0, 0, 0};
        plait_worker task = t_start_one(PLAIT_TASK, task_calls, &w);
        while (w.step == 0)
            CHECK_RC(plait_yield(), 0);
        CHECK_RC(plait_sleep(plait_ms(1)), 0);
        CHECK_RC(plait_cancel(task), 0);
        CHECK_EQ(t_join_one(task), 0);
        CHECK_RC(w.rc, PLAIT_ECANCELED);
        w = (struct t_waiter){reads[i], a, plait_ms(3), 0, 0, 0};
        CHECK_EQ(t_join_one(t_start_one(PLAIT_TASK, task_calls, &w)), 0);
        CHECK_RC(w.rc, PLAIT_ETIMEDOUT);
    }
    plait_stream_close(a);
    plait_stream_close(b);
}

static int close_it(void *s)
{
    return plait_stream_close(s);
}

static int abort_it(void *s)
{
    return plait_stream_abort(s);
}

static int close_listener(void *l)
{
    return plait_listener_close(l);
}

/* Closes it while a thread, then while a task waits in it. */
static void check_closed_by(t_wait *call, void *object, int (*close_object)(void *), int kind)
{
    struct t_waiter w = {call, object, PLAIT_FOREVER, 0, 0, 0};
    int files = t_open_files();
    plait_worker worker = t_start_one(kind, t_wait_once, &w);
    if (kind == PLAIT_TASK)
        CHECK_RC(plait_sleep(plait_ms(1)), 0);
    else
        UNTIL_WAITS(worker, PL_WAIT_FD);
    int64_t start = plait_now();
    CHECK_RC(close_object(object), 0);
    CHECK_EQ(t_join_one(worker), 0);
    CHECK(plait_now() - start < plait_seconds(5));
    CHECK_RC(w.rc, PLAIT_ECLOSED);
    if (kind == PLAIT_THREAD) /* a loop has its own */
        CHECK(t_open_files() < files);
}

static void closing_ends_the_waits_in_it(void **state)
{
    (void)state;
    const int both[] = {PLAIT_THREAD, PLAIT_TASK};
    CHECK_EQ(t_join_one(t_start_one(PLAIT_TASK, leave, NULL)), 0); /* a loop has descriptors */
    for (int k = 0; k < 2; k++) {
        plait_stream *a, *b;
        plait_listener *l;
        int p[2];
        for (int way = 0; way < WAYS; way++) {
            for (int i = 0; i < 4; i++) {
                new_pair((enum way)way, &a, &b);
                check_closed_by(reads[i], a, close_it, both[k]);
                plait_stream_close(b);
            }
            new_pair((enum way)way, &a, &b);
            fill(a);
            check_closed_by(write_much, a, close_it, both[k]);
            plait_stream_close(b);
        }
        new_pair(TCP, &a, &b);
        check_closed_by(read_some, a, abort_it, both[k]);
        CHECK_RC(read_some(b, LONG), PLAIT_ECONNRESET);
        plait_stream_close(b);
        CHECK_EQ(pipe(p), 0);
        CHECK_RC(plait_stream_of_fd(&a, p[0], NULL), 0);
        check_closed_by(read_some, a, close_it, both[k]);
        close(p[1]);
        CHECK_RC(plait_listen(&l, NULL, "0", NULL, LONG), 0);
        check_closed_by(accept_one, l, close_listener, both[k]);
    }
}

static void a_second_reader_or_writer_is_refused(void **state)
{
    (void)state;
    plait_stream *a, *b;
    new_pair(TCP, &a, &b);
    fill(a);
    struct t_waiter r = {read_some, a, PLAIT_FOREVER, 0, 0, 0};
    struct t_waiter w = {write_much, a, PLAIT_FOREVER, 0, 0, 0};
    plait_worker reader = t_start_one(PLAIT_THREAD, t_wait_once, &r);
    plait_worker writer = t_start_one(PLAIT_THREAD, t_wait_once, &w);
    UNTIL_WAITS(reader, PL_WAIT_FD);
    UNTIL_WAITS(writer, PL_WAIT_FD);
    for (int i = 0; i < 4; i++)
        CHECK_RC(reads[i](a, LONG), PLAIT_EBUSY);
    CHECK_RC(write_much(a, LONG), PLAIT_EBUSY);
    CHECK_RC(plait_write_eof(a), PLAIT_EBUSY);
    CHECK_RC(plait_sendfile(a, 0, 0, 1, NULL, LONG), PLAIT_EBUSY);
    put(b, "x");
    CHECK_EQ(t_join_one(reader), 0);
    CHECK_RC(r.rc, 1);
    plait_stream_close(b);
    CHECK_EQ(t_join_one(writer), 0);
    CHECK(w.rc == PLAIT_ECONNRESET || w.rc == PLAIT_EPIPE);
    plait_stream_close(a);
}

static int read_copy(void *s)
{
    CHECK_RC(read_some(s, plait_ms(5)), PLAIT_ETIMEDOUT);
    return plait_stream_close(s);
}

static void a_forked_copy_knows_nothing_of_the_parents_readers(void **state)
{
    (void)state;
    plait_stream *a, *b;
    new_pair(UNIX, &a, &b);
    struct t_waiter r = {read_some, a, PLAIT_FOREVER, 0, 0, 0};
    plait_worker reader = t_start_one(PLAIT_THREAD, t_wait_once, &r);
    UNTIL_WAITS(reader, PL_WAIT_FD);
    CHECK_EQ(t_in_fork(read_copy, a), 0);
    put(b, "x");
    CHECK_EQ(t_join_one(reader), 0);
    CHECK_RC(r.rc, 1);
    plait_stream_close(a);
    plait_stream_close(b);
}

/* A number that is in use again at once must not confuse whoever waited for the one before. */
static void numbers_of_descriptors_are_used_again(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 50; i++) {
            plait_stream *a, *b, *c, *d;
            new_pair(i % 2, &a, &b);
            struct t_waiter r = {read_some, a, PLAIT_FOREVER, 0, 0, 0};
            plait_worker reader = t_start_one(k ? PLAIT_TASK : PLAIT_THREAD, t_wait_once, &r);
            if (k || i % 3 == 0)
                CHECK_RC(plait_sleep(plait_us(100)), 0);
            while (SEEN(r.step) == 0)
                CHECK_RC(plait_yield(), 0);
            put(b, "xy");
            CHECK_EQ(t_join_one(reader), 0);
            plait_stream_close(a);
            plait_stream_close(b);
            new_pair(i % 2, &c, &d);
            CHECK_RC(read_some(c, plait_us(50)), PLAIT_ETIMEDOUT);
            put(d, "z");
            CHECK_RC(read_some(c, LONG), 1);
            plait_stream_close(c);
            plait_stream_close(d);
        }
}

/* --- of descriptors --- */

static void only_what_can_be_waited_for_becomes_a_stream(void **state)
{
    (void)state;
    plait_stream *s = NULL;
    int file = new_file("x", 1), p[2], datagram = socket(AF_UNIX, SOCK_DGRAM, 0);
    errno = EXDEV;
    CHECK_RC(plait_stream_of_fd(&s, file, NULL), PLAIT_ENOTSUP);
    CHECK_RC(plait_stream_of_fd(&s, datagram, NULL), PLAIT_ENOTSUP);
    CHECK_RC(plait_stream_of_fd(&s, -1, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_stream_of_fd(NULL, file, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_stream_of_fd(&s, 1000000, NULL), PLAIT_EBADF);
    CHECK(s == NULL);
    CHECK_EQ(errno, EXDEV);
    CHECK_EQ(close(file) | close(datagram), 0); /* still the caller's */
    CHECK_EQ(pipe(p), 0);
    int kept = dup(p[0]);
    CHECK_RC(plait_stream_of_fd(&s, p[0], NULL), 0);
    CHECK_EQ(plait_stream_fd(s), p[0]);
    CHECK(fcntl(p[0], F_GETFL) & O_NONBLOCK);
    CHECK(fcntl(p[0], F_GETFD) & FD_CLOEXEC);
    CHECK_EQ(write(p[1], "ab", 2), 2);
    CHECK_RC(read_some(s, LONG), 2);
    CHECK_RC(plait_write_eof(s), PLAIT_ENOTSUP);
    char text[10];
    CHECK_RC(plait_peer_name(s, text, sizeof text), PLAIT_ENOTSUP);
    close(p[1]);
    CHECK_RC(read_some(s, LONG), 0);
    CHECK_RC(plait_stream_close(s), 0);
    CHECK(!(fcntl(kept, F_GETFL) & O_NONBLOCK)); /* as it was */
    close(kept);
}

static void null_is_refused(void **state)
{
    (void)state;
    plait_stream *a, *b;
    plait_listener *l = NULL;
    char c;
    new_pair(UNIX, &a, &b);
    CHECK_RC((int)plait_read(NULL, &c, 1, LONG), PLAIT_EINVAL);
    CHECK_RC((int)plait_read(a, NULL, 1, LONG), PLAIT_EINVAL);
    CHECK_RC((int)plait_read(a, &c, 0, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_read_exactly(NULL, &c, 1, NULL, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_read_exactly(a, NULL, 1, NULL, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_read_until(a, &c, 1, "", 0, NULL, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_read_until(a, &c, 1, NULL, 1, NULL, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_read_line(a, &c, 1, NULL, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_read_all(NULL, &c, 1, NULL, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_write(NULL, "x", 1, NULL, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_write(a, NULL, 1, NULL, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_write(a, NULL, 0, NULL, LONG), 0);
    CHECK_RC(plait_write_eof(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_stream_pair(NULL, &b), PLAIT_EINVAL);
    CHECK_RC(plait_stream_fd(NULL), PLAIT_EINVAL);
    CHECK_EQ(plait_stream_at_eof(NULL), 0);
    CHECK_RC(plait_stream_close(NULL), 0);
    CHECK_RC(plait_stream_abort(NULL), 0);
    CHECK_RC(plait_peer_name(a, NULL, 10), PLAIT_EINVAL);
    CHECK_RC(plait_connect(NULL, "x", "1", NULL, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_connect(&a, NULL, "1", NULL, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_connect(&a, "x", NULL, NULL, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_connect_unix(&a, NULL, NULL, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_listen(&l, NULL, NULL, NULL, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_listen(NULL, NULL, "0", NULL, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_listen_unix(&l, NULL, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_accept(NULL, &a, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_listener_close(NULL), 0);
    CHECK_RC(plait_listener_port(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_serve(NULL, NULL, NULL, NULL), PLAIT_EINVAL);
    CHECK(l == NULL);
    plait_stream_close(a);
    plait_stream_close(b);
}

/* --- connecting and listening --- */

static void names_of_both_ends_as_text(void **state)
{
    (void)state;
    plait_listener *l;
    plait_stream *a, *b;
    char port[16], one[100], two[100];
    const char *hosts[] = {"127.0.0.1", "::1"};
    for (int i = 0; i < 2; i++) {
        if (plait_listen(&l, hosts[i], "0", NULL, LONG) < 0)
            continue; /* a machine without IPv6 */
        snprintf(port, sizeof port, "%d", plait_listener_port(l));
        CHECK_RC(plait_connect(&a, hosts[i], port, NULL, LONG), 0);
        CHECK_RC(plait_accept(l, &b, LONG), 0);
        CHECK_RC(plait_peer_name(a, one, sizeof one), 0);
        CHECK_RC(plait_local_name(b, two, sizeof two), 0);
        CHECK_EQ(strcmp(one, two), 0);
        snprintf(two, sizeof two, i ? "[%s]:%s" : "%s:%s", hosts[i], port);
        CHECK_EQ(strcmp(one, two), 0);
        CHECK_RC(plait_listener_name(l, 0, two, sizeof two), 0);
        CHECK_EQ(strcmp(one, two), 0);
        CHECK_RC(plait_listener_name(l, 1, two, sizeof two), PLAIT_ENOENT);
        CHECK_RC(plait_peer_name(a, one, strlen(one)), PLAIT_EOVERFLOW);
        plait_stream_close(a);
        plait_stream_close(b);
        plait_listener_close(l);
    }
}

static void connecting_says_why_it_failed(void **state)
{
    (void)state;
    plait_listener *l;
    plait_stream *s = NULL;
    char port[16];
    CHECK_RC(plait_listen(&l, "127.0.0.1", "0", NULL, LONG), 0);
    snprintf(port, sizeof port, "%d", plait_listener_port(l));
    plait_listener *other = NULL;
    CHECK_RC(plait_listen(&other, "127.0.0.1", port, NULL, LONG), PLAIT_EADDRINUSE);
    CHECK(other == NULL);
    plait_connect_options from = {.local_host = "127.0.0.2"};
    plait_stream *a, *b;
    char text[40];
    CHECK_RC(plait_connect(&a, "127.0.0.1", port, &from, LONG), 0);
    CHECK_RC(plait_accept(l, &b, LONG), 0);
    CHECK_RC(plait_peer_name(b, text, sizeof text), 0);
    CHECK_EQ(strncmp(text, "127.0.0.2:", 10), 0);
    plait_stream_close(a);
    plait_stream_close(b);
    plait_listener_close(l);
    errno = EXDEV;
    CHECK_RC(plait_connect(&s, "127.0.0.1", port, NULL, LONG), PLAIT_ECONNREFUSED);
    CHECK_RC(plait_connect(&s, "localhost", port, NULL, LONG), PLAIT_ECONNREFUSED);
    from.local_host = "192.0.2.77";
    CHECK_RC(plait_connect(&s, "127.0.0.1", port, &from, LONG), PLAIT_EADDRNOTAVAIL);
    CHECK_RC(plait_listen(&l, "192.0.2.77", "0", NULL, LONG), PLAIT_EADDRNOTAVAIL);
    CHECK_RC(plait_connect_unix(&s, "/nonexistent/socket", NULL, LONG), PLAIT_ENOENT);
    CHECK_RC(plait_connect_unix(&s, "@plait-nobody-here", NULL, LONG), PLAIT_ECONNREFUSED);
    CHECK_EQ(errno, EXDEV);
    CHECK(s == NULL);
}

static int option(plait_stream *s, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof value;
    CHECK_EQ(getsockopt(plait_stream_fd(s), level, name, &value, &size), 0);
    return value != 0;
}

static void small_writes_go_at_once_unless_told_otherwise(void **state)
{
    (void)state;
    for (int other = 0; other < 2; other++) {
        plait_listener *l;
        plait_stream *s[2];
        char port[16];
        plait_listen_options there = {.delay = other, .keepalive = other};
        plait_connect_options here = {.delay = other, .keepalive = other};
        CHECK_RC(plait_listen(&l, "127.0.0.1", "0", &there, LONG), 0);
        snprintf(port, sizeof port, "%d", plait_listener_port(l));
        CHECK_RC(plait_connect(&s[0], "127.0.0.1", port, &here, LONG), 0);
        CHECK_RC(plait_accept(l, &s[1], LONG), 0);
        for (int i = 0; i < 2; i++) {
            CHECK_EQ(option(s[i], IPPROTO_TCP, TCP_NODELAY), !other);
            CHECK_EQ(option(s[i], SOL_SOCKET, SO_KEEPALIVE), other);
            plait_stream_close(s[i]);
        }
        plait_listener_close(l);
    }
}

/* A name with two addresses, at one of which somebody listens. */
static void all_addresses_of_a_name_are_tried(void **state)
{
    (void)state;
    plait_listener *l;
    plait_stream *a, *b;
    char port[16];
    CHECK_RC(plait_listen(&l, "127.0.0.1", "0", NULL, LONG), 0);
    snprintf(port, sizeof port, "%d", plait_listener_port(l));
    const int64_t delays[] = {0, 1, PLAIT_FOREVER};
    for (int i = 0; i < 3; i++) {
        plait_connect_options o = {.happy_eyeballs_delay = delays[i]};
        CHECK_RC(plait_connect(&a, "localhost", port, &o, LONG), 0);
        CHECK_RC(plait_accept(l, &b, LONG), 0);
        plait_stream_close(a);
        plait_stream_close(b);
    }
    plait_listener_close(l);
}

static int connect_to(void *port, int64_t timeout)
{
    plait_stream *s = NULL;
    int rc = plait_connect(&s, "127.0.0.1", port, NULL, timeout);
    plait_stream_close(s);
    return rc;
}

/* Where the queue of connections is full, nobody answers. */
static void connecting_can_time_out_and_be_cancelled(void **state)
{
    (void)state;
    plait_listener *l;
    plait_stream *s[8];
    static char port[16];
    int n = 0;
    CHECK_RC(plait_listen(&l, "127.0.0.1", "0", &(plait_listen_options){.backlog = 1}, LONG), 0);
    snprintf(port, sizeof port, "%d", plait_listener_port(l));
    while (n < 8 && plait_connect(&s[n], "127.0.0.1", port, NULL, plait_ms(100)) == 0)
        n++;
    CHECK(n < 8);
    FOR_EACH_SETTING(setting)
    {
        t_check_bad_timeouts(connect_to, port);
        t_check_time(connect_to, port);
        t_check_cancel(setting, connect_to, port);
    }
    while (n > 0)
        plait_stream_close(s[--n]);
    plait_listener_close(l);
}

static void any_port_is_the_same_for_both_families(void **state)
{
    (void)state;
    plait_listener *l;
    plait_stream *a, *b;
    char port[16], text[40];
    const char *hosts[] = {"127.0.0.1", "::1"};
    CHECK_RC(plait_listen(&l, NULL, "0", NULL, LONG), 0);
    snprintf(port, sizeof port, "%d", plait_listener_port(l));
    int n = plait_listener_name(l, 1, text, sizeof text) == 0 ? 2 : 1;
    for (int i = 0; i < n; i++) {
        CHECK_RC(plait_connect(&a, hosts[i], port, NULL, LONG), 0);
        CHECK_RC(plait_accept(l, &b, LONG), 0);
        plait_stream_close(a);
        plait_stream_close(b);
    }
    plait_listener_close(l);
}

static void unix_sockets_replace_stale_files_and_remove_their_own(void **state)
{
    (void)state;
    char folder[] = "/tmp/plait-test-XXXXXX", path[100], text[100];
    plait_listener *l, *m = NULL;
    plait_stream *a, *b;
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/socket", folder);
    CHECK_RC(plait_listen_unix(&l, path, NULL), 0);
    CHECK_RC(plait_listen_unix(&m, path, NULL), PLAIT_EADDRINUSE); /* somebody listens there */
    CHECK_RC(plait_connect_unix(&a, path, NULL, LONG), 0);
    CHECK_RC(plait_accept(l, &b, LONG), 0);
    CHECK_RC(plait_peer_name(a, text, sizeof text), 0);
    CHECK_EQ(strcmp(text, path), 0);
    CHECK_RC(plait_peer_name(b, text, sizeof text), 0);
    CHECK_EQ(strcmp(text, ""), 0);
    CHECK_RC(plait_listener_port(l), PLAIT_ENOTSUP);
    CHECK_EQ(t_in_fork(close_listener, l), 0);
    CHECK_EQ(access(path, F_OK), 0); /* a forked copy leaves the file */
    plait_stream_close(a);
    plait_stream_close(b);
    plait_listener_close(l);
    CHECK(access(path, F_OK) < 0);
    /* A file that a dead one left. */
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    strcpy(un.sun_path, path);
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_EQ(bind(dead, (struct sockaddr *)&un, sizeof un), 0);
    close(dead);
    CHECK_RC(plait_listen_unix(&l, path, NULL), 0);
    /* Another has put its own there. */
    unlink(path);
    CHECK_RC(plait_listen_unix(&m, path, NULL), 0);
    plait_listener_close(l);
    CHECK_EQ(access(path, F_OK), 0);
    plait_listener_close(m);
    int file = open(path, O_CREAT | O_WRONLY, 0600);
    close(file);
    CHECK_RC(plait_listen_unix(&l, path, NULL), PLAIT_EADDRINUSE);
    unlink(path);
    rmdir(folder);
    CHECK_RC(plait_listen_unix(&l, "@plait-stream-test", NULL), 0);
    CHECK_RC(plait_connect_unix(&a, "@plait-stream-test", NULL, LONG), 0);
    CHECK_RC(plait_peer_name(a, text, sizeof text), 0);
    CHECK_EQ(strcmp(text, "@plait-stream-test"), 0);
    plait_stream_close(a);
    plait_listener_close(l);
    memset(text, 'x', sizeof text);
    char too_long[200] = {0};
    memset(too_long, 'x', sizeof too_long - 1);
    CHECK_RC(plait_listen_unix(&l, too_long, NULL), PLAIT_EOVERFLOW);
}

static void without_descriptors_the_peer_is_turned_away(void **state)
{
    (void)state;
    plait_listener *l;
    plait_stream *a[3], *b, *c;
    char port[16];
    struct rlimit before, low;
    CHECK_RC(plait_listen(&l, "127.0.0.1", "0", NULL, LONG), 0);
    snprintf(port, sizeof port, "%d", plait_listener_port(l));
    for (int i = 0; i < 3; i++)
        CHECK_RC(plait_connect(&a[i], "127.0.0.1", port, NULL, LONG), 0);
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = before;
    int next = dup(0);
    close(next);
    low.rlim_cur = (rlim_t)next;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
    errno = EXDEV;
    CHECK_RC(plait_accept(l, &b, LONG), PLAIT_EMFILE);
    CHECK_RC(plait_accept(l, &b, LONG), PLAIT_EMFILE);
    CHECK_RC(plait_stream_pair(&b, &c), PLAIT_EMFILE);
    CHECK_EQ(errno, EXDEV);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(read_some(a[i], LONG), 0); /* they were told */
    CHECK_RC(plait_accept(l, &b, LONG), 0);
    put(b, "x");
    CHECK_RC(read_some(a[2], LONG), 1);
    for (int i = 0; i < 3; i++)
        plait_stream_close(a[i]);
    plait_stream_close(b);
    plait_listener_close(l);
}

/* --- serving --- */

struct service {
    plait_listener *listener;
    char port[16];
    plait_serve_options options;
    int inside, most, served;
    int rc;
};

static int echo(plait_stream *s, void *arg)
{
    struct service *v = arg;
    char bytes[1000];
    ssize_t n;
    int inside = COUNT(v->inside);
    CHECK(inside <= (v->options.max_clients ? v->options.max_clients : inside));
    while ((n = plait_read(s, bytes, sizeof bytes, PLAIT_FOREVER)) > 0)
        CHECK_RC(plait_write(s, bytes, (size_t)n, NULL, LONG), 0);
    ADD(v->inside, -1);
    if (n == 0)
        COUNT(v->served);
    return (int)n;
}

static int serve(void *arg)
{
    struct service *v = arg;
    TELL(v->rc, plait_serve(v->listener, echo, v, &v->options));
    return 0;
}

static int ask(void *arg)
{
    struct service *v = arg;
    for (int i = 0; i < 5; i++) {
        plait_stream *s;
        char text[10];
        CHECK_RC(plait_connect(&s, "127.0.0.1", v->port, NULL, LONG), 0);
        put(s, "hello\n");
        CHECK_RC(plait_read_line(s, text, sizeof text, NULL, LONG), 0);
        CHECK_EQ(strcmp(text, "hello\n"), 0);
        CHECK_RC(plait_write_eof(s), 0);
        CHECK_RC(read_some(s, LONG), 0);
        plait_stream_close(s);
    }
    return 0;
}

enum { ASKERS = 6 };

static plait_worker open_service(struct service *v, int kind, int max_clients)
{
    *v = (struct service){.options = {.kind = kind, .max_clients = max_clients}};
    CHECK_RC(plait_listen(&v->listener, "127.0.0.1", "0", NULL, LONG), 0);
    snprintf(v->port, sizeof v->port, "%d", plait_listener_port(v->listener));
    return t_start_one(kind, serve, v);
}

static void ask_service(struct service *v, int kind)
{
    plait_worker askers[ASKERS];
    for (int i = 0; i < ASKERS; i++)
        askers[i] = t_start_one(kind, ask, v);
    for (int i = 0; i < ASKERS; i++)
        CHECK_EQ(t_join_one(askers[i]), 0);
}

static void a_worker_for_each_client_and_no_more_than_allowed(void **state)
{
    (void)state;
    const int served_by[] = {PLAIT_THREAD, PLAIT_TASK};
    for (int k = 0; k < 2; k++)
        for (int most = 0; most <= 4; most += 2) {
            static struct service v;
            plait_worker server = open_service(&v, served_by[k], most);
            FOR_EACH_OF_3_KINDS(kind)
            {
                ask_service(&v, kind);
            }
            CHECK_RC(plait_cancel(server), 0);
            CHECK_EQ(t_join_one(server), 0);
            CHECK_RC(SEEN(v.rc), PLAIT_ECANCELED);
            CHECK_EQ(SEEN(v.inside), 0);
            CHECK_EQ(SEEN(v.served), 3 * ASKERS * 5);
            plait_listener_close(v.listener);
        }
}

static void serving_ends_with_its_clients(void **state)
{
    (void)state;
    const int served_by[] = {PLAIT_THREAD, PLAIT_TASK};
    for (int k = 0; k < 2; k++)
        for (int closing = 0; closing < 2; closing++) {
            static struct service v;
            plait_stream *s;
            char text[10];
            plait_worker server = open_service(&v, served_by[k], 0);
            CHECK_RC(plait_connect(&s, "127.0.0.1", v.port, NULL, LONG), 0);
            put(s, "one\n");
            CHECK_RC(plait_read_line(s, text, sizeof text, NULL, LONG), 0);
            if (closing) { /* the client may finish */
                CHECK_RC(plait_listener_close(v.listener), 0);
                put(s, "two\n");
                CHECK_RC(plait_read_line(s, text, sizeof text, NULL, LONG), 0);
                CHECK_EQ(SEEN(v.inside), 1);
                CHECK_RC(plait_write_eof(s), 0);
            } else { /* it is asked to stop */
                CHECK_RC(plait_cancel(server), 0);
            }
            CHECK_RC(read_some(s, LONG), 0);
            CHECK_EQ(t_join_one(server), 0);
            CHECK_RC(SEEN(v.rc), closing ? PLAIT_ECLOSED : PLAIT_ECANCELED);
            CHECK_EQ(SEEN(v.inside), 0);
            plait_stream_close(s);
            if (!closing)
                plait_listener_close(v.listener);
        }
}

static void processes_do_not_serve(void **state)
{
    (void)state;
    plait_listener *l;
    plait_serve_options options = {.kind = PLAIT_PROCESS};
    CHECK_RC(plait_listen(&l, "127.0.0.1", "0", NULL, LONG), 0);
    CHECK_RC(plait_serve(l, echo, NULL, &options), PLAIT_ENOTSUP);
    options.kind = 77;
    CHECK_RC(plait_serve(l, echo, NULL, &options), PLAIT_EINVAL);
    options = (plait_serve_options){.max_clients = -1};
    CHECK_RC(plait_serve(l, echo, NULL, &options), PLAIT_EINVAL);
    plait_listener_close(l);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_an_arena_it_says_why_it_cannot_wait),
        cmocka_unit_test(read_gives_what_there_is),
        cmocka_unit_test(reads_put_bytes_together_that_come_one_at_a_time),
        cmocka_unit_test(the_last_line_may_lack_its_end),
        cmocka_unit_test(read_until_gives_what_is_left_at_the_end),
        cmocka_unit_test(past_the_limit_nothing_is_consumed),
        cmocka_unit_test(a_timeout_keeps_what_read_until_has_got),
        cmocka_unit_test(the_streams_own_limit_counts_too),
        cmocka_unit_test(read_all_reads_to_the_end_or_says_that_there_is_more),
        cmocka_unit_test(a_half_closed_stream_still_reads),
        cmocka_unit_test(a_reset_is_not_the_end),
        cmocka_unit_test(a_reset_that_the_writer_met_is_told_the_reader),
        cmocka_unit_test(both_closing_in_good_order_is_the_end),
        cmocka_unit_test(a_killed_peer_is_the_end),
        cmocka_unit_test(writing_to_who_has_gone_is_a_code_and_no_signal),
        cmocka_unit_test(who_does_not_read_makes_the_writer_wait),
        cmocka_unit_test(one_reads_while_another_writes),
        cmocka_unit_test(parts_are_written_in_order),
        cmocka_unit_test(sendfile_sends_a_file),
        cmocka_unit_test(each_call_can_time_out_and_be_cancelled),
        cmocka_unit_test(a_waiting_task_can_be_cancelled_and_time_out),
        cmocka_unit_test(closing_ends_the_waits_in_it),
        cmocka_unit_test(a_second_reader_or_writer_is_refused),
        cmocka_unit_test(a_forked_copy_knows_nothing_of_the_parents_readers),
        cmocka_unit_test(numbers_of_descriptors_are_used_again),
        cmocka_unit_test(only_what_can_be_waited_for_becomes_a_stream),
        cmocka_unit_test(null_is_refused),
        cmocka_unit_test(names_of_both_ends_as_text),
        cmocka_unit_test(connecting_says_why_it_failed),
        cmocka_unit_test(small_writes_go_at_once_unless_told_otherwise),
        cmocka_unit_test(all_addresses_of_a_name_are_tried),
        cmocka_unit_test(connecting_can_time_out_and_be_cancelled),
        cmocka_unit_test(any_port_is_the_same_for_both_families),
        cmocka_unit_test(unix_sockets_replace_stale_files_and_remove_their_own),
        cmocka_unit_test(without_descriptors_the_peer_is_turned_away),
        cmocka_unit_test(a_worker_for_each_client_and_no_more_than_allowed),
        cmocka_unit_test(serving_ends_with_its_clients),
        cmocka_unit_test(processes_do_not_serve),
    };
    t_arguments(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
