/* A stream is closed while another worker reads from it, and its number is in use again at once. Invariants:
 *   - the reader is told PLAIT_ECLOSED, keeps what it had got, and gets nothing that was sent to another stream;
 *   - the streams that follow, one of which has the number, get each byte that was sent to them. */
#include "harness/harness.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

enum { ROUNDS = 10000, NEXT = 3 };

#define LONG plait_seconds(T_PATIENCE_S)

static void give_way(void)
{
    CHECK_RC(plait_yield(), 0);
}

static void tcp_pair(plait_listener *l, plait_stream **a, plait_stream **b)
{
    char port[16];
    snprintf(port, sizeof port, "%d", plait_listener_port(l));
    CHECK_RC(plait_connect(a, "127.0.0.1", port, NULL, LONG), 0);
    CHECK_RC(plait_accept(l, b, LONG), 0);
}

struct scene {
    plait_listener *listener;
    plait_semaphore begin, done;
    plait_stream *stream; /* to be read; before `begin` */
    unsigned char first;  /* the byte it gets */
    long rounds, reused;
};

static void new_pair(struct scene *s, long round, plait_stream **a, plait_stream **b)
{
    if (round % 16 == 0)
        tcp_pair(s->listener, a, b);
    else
        CHECK_RC(plait_stream_pair(a, b), 0);
}

static int read_in_vain(void *arg)
{
    struct scene *s = arg;
    for (long i = 0; i < s->rounds; i++) {
        unsigned char bytes[100] = {0};
        size_t got;
        CHECK_RC(plait_semaphore_acquire(&s->begin, LONG), 0);
        CHECK_RC(plait_read_exactly(s->stream, bytes, sizeof bytes, &got, LONG), PLAIT_ECLOSED);
        CHECK_EQ(got, 1);
        CHECK_EQ(bytes[0], s->first);
        CHECK_EQ(bytes[1], 0);
        CHECK_RC(plait_semaphore_release(&s->done, 1), 0);
    }
    return 0;
}

/* The reader has taken its byte, so it is inside the call. */
static bool is_taken(int fd)
{
    int left = -1;
    CHECK_EQ(ioctl(fd, FIONREAD, &left), 0);
    return left == 0;
}

static void send_byte(plait_stream *to, long which)
{
    unsigned char byte = (unsigned char)(which * 7 + 1);
    CHECK_RC(plait_write(to, &byte, 1, NULL, LONG), 0);
}

static void check_byte(plait_stream *from, long which)
{
    unsigned char bytes[2];
    CHECK_RC((int)plait_read(from, bytes, 2, LONG), 1);
    CHECK_EQ(bytes[0], (unsigned char)(which * 7 + 1));
}

static void close_and_reuse(struct scene *s, long round, uint64_t *seed)
{
    plait_stream *b, *next[NEXT], *peer[NEXT];
    new_pair(s, round, &s->stream, &b);
    int fd = plait_stream_fd(s->stream);
    s->first = (unsigned char)(round % 255 + 1);
    CHECK_RC(plait_write(b, &s->first, 1, NULL, LONG), 0);
    CHECK_RC(plait_semaphore_release(&s->begin, 1), 0);
    for (int i = 0; !is_taken(fd);
         i++) /* soon; on a busy machine spinning would only keep the reader from it */
        CHECK_RC(i < 100 ? plait_yield() : plait_sleep(plait_us(50)), 0);
    t_dither(seed, 20 * 1000);
    CHECK_RC(plait_stream_close(s->stream), 0);
    for (int i = 0; i < NEXT; i++) { /* the first before the reader can know, the last after */
        new_pair(s, round, &next[i], &peer[i]);
        s->reused += plait_stream_fd(next[i]) == fd || plait_stream_fd(peer[i]) == fd;
        send_byte(peer[i], round + i);
        give_way();
    }
    CHECK_RC(plait_semaphore_acquire(&s->done, LONG), 0);
    for (int i = 0; i < NEXT; i++) {
        check_byte(next[i], round + i);
        plait_stream_close(next[i]);
        plait_stream_close(peer[i]);
    }
    plait_stream_close(b);
}

static void play(int kind)
{
    uint64_t seed = t_seed();
    struct scene s = {.rounds = t_rounds(ROUNDS)};
    CHECK_RC(plait_listen(&s.listener, "127.0.0.1", "0", NULL, LONG), 0);
    plait_worker reader = t_start_one(kind, read_in_vain, &s);
    for (long i = 0; i < s.rounds; i++)
        close_and_reuse(&s, i, &seed);
    CHECK_EQ(t_join_one(reader), 0);
    print_message("%ld rounds, the number was in use again in %ld\n", s.rounds, s.reused);
    CHECK(s.reused > 0);
    plait_listener_close(s.listener);
}

static void a_task_is_told_and_gets_no_other_streams_bytes(void **state)
{
    (void)state;
    play(PLAIT_TASK);
}

static void a_thread_is_told_and_gets_no_other_streams_bytes(void **state)
{
    (void)state;
    play(PLAIT_THREAD);
}

static int read_in_vain_as_a_task(void *arg)
{
    plait_blame end;
    plait_worker task = t_start_one(PLAIT_TASK, read_in_vain, arg);
    CHECK_RC(plait_join(task, &end, PLAIT_FOREVER), 0); /* it lasts as long as the whole test */
    return end.status;
}

static int play_from_a_task(void *arg)
{
    (void)arg;
    uint64_t seed = t_seed();
    struct scene s = {.rounds = t_rounds(ROUNDS / 4)};
    CHECK_RC(plait_listen(&s.listener, "127.0.0.1", "0", NULL, LONG), 0);
    plait_worker reader = t_start_one(PLAIT_THREAD, read_in_vain_as_a_task, &s);
    for (long i = 0; i < s.rounds; i++)
        close_and_reuse(&s, i, &seed);
    CHECK_EQ(t_join_one(reader), 0);
    print_message("%ld rounds, the number was in use again in %ld\n", s.rounds, s.reused);
    plait_listener_close(s.listener);
    return 0;
}

static void tasks_of_two_threads_do_not_mix_them_up(void **state)
{
    (void)state;
    CHECK_EQ(plait_run(play_from_a_task, NULL), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_is_told_and_gets_no_other_streams_bytes),
        cmocka_unit_test(a_thread_is_told_and_gets_no_other_streams_bytes),
        cmocka_unit_test(tasks_of_two_threads_do_not_mix_them_up),
    };
    t_arguments(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
