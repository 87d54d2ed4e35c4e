/* Datagrams: a test per promise of include/plait/datagram.h, and each misuse. */
#include "harness/harness.h"

#include "park/park.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LONG plait_seconds(T_PATIENCE_S)

static plait_address loopback(int port)
{
    plait_address a;
    char text[16];
    plait_resolve_options udp = {.datagram = true};
    snprintf(text, sizeof text, "%d", port);
    CHECK_RC(plait_resolve("127.0.0.1", text, &udp, &a, 1, LONG), 1);
    return a;
}

static plait_datagram *open_any(plait_address *own)
{
    plait_datagram *d;
    plait_address any = loopback(0);
    CHECK_RC(plait_datagram_open(&d, &any, NULL, NULL), 0);
    CHECK_RC(plait_datagram_address(d, own), 0);
    CHECK(plait_address_port(own) > 0);
    return d;
}

static int receive(void *d, int64_t timeout)
{
    char c[10];
    return plait_receive_from(d, c, sizeof c, NULL, NULL, timeout);
}

static void without_an_arena_it_says_why_it_cannot_wait(void **state)
{
    (void)state;
    plait_address own;
    plait_datagram *d = open_any(&own);
    t_check_no_arena(receive, d);
    plait_datagram_close(d);
}

/* --- messages --- */

static int answer(void *arg)
{
    plait_datagram *d = arg;
    char text[100];
    size_t n;
    plait_address from;
    for (;;) {
        CHECK_RC(plait_receive_from(d, text, sizeof text, &n, &from, LONG), 0);
        CHECK_RC(plait_send_to(d, text, n, &from, LONG), 0);
        if (n == 3)
            return 0;
    }
}

static void messages_keep_their_bounds_and_say_whose_they_are(void **state)
{
    (void)state;
    const int kinds[] = {PLAIT_THREAD, PLAIT_PROCESS, PLAIT_TASK};
    for (int k = 0; k < 3; k++)
        for (int connected = 0; connected < 2; connected++) {
            plait_address own, his, from;
            char text[100];
            size_t n = 9;
            plait_datagram *server = open_any(&his), *d = NULL;
            plait_worker worker = t_start_one(kinds[k], answer, server);
            if (connected)
                CHECK_RC(plait_datagram_open(&d, NULL, &his, NULL), 0);
            else
                d = open_any(&own);
            const plait_address *to = connected ? NULL : &his;
            errno = EXDEV;
            CHECK_RC(plait_send_to(d, "hello", 5, to, LONG), 0);
            CHECK_RC(plait_send_to(d, NULL, 0, to, LONG), 0); /* of 0 bytes: a message */
            CHECK_RC(plait_receive_from(d, text, sizeof text, &n, &from, LONG), 0);
            CHECK_EQ(n, 5);
            CHECK_EQ(memcmp(text, "hello", 5), 0);
            CHECK_EQ(plait_address_port(&from), plait_address_port(&his));
            CHECK_RC(plait_receive_from(d, text, sizeof text, &n, NULL, LONG), 0);
            CHECK_EQ(n, 0);
            CHECK_RC(plait_send_to(d, "end", 3, to, LONG), 0);
            CHECK_RC(plait_receive_from(d, text, sizeof text, NULL, NULL, LONG), 0);
            CHECK_EQ(errno, EXDEV);
            CHECK_EQ(t_join_one(worker), 0);
            plait_datagram_close(d);
            plait_datagram_close(server);
        }
}

static void a_message_that_does_not_fit_says_how_long_it_was(void **state)
{
    (void)state;
    plait_address own;
    plait_datagram *d = open_any(&own);
    char text[100];
    size_t n;
    CHECK_RC(plait_send_to(d, "0123456789", 10, &own, LONG), 0);
    CHECK_RC(plait_send_to(d, "next", 4, &own, LONG), 0);
    CHECK_RC(plait_receive_from(d, text, 4, &n, NULL, LONG), PLAIT_EMSGSIZE);
    CHECK_EQ(n, 10);
    CHECK_EQ(memcmp(text, "0123", 4), 0);
    CHECK_RC(plait_receive_from(d, text, 4, &n, NULL, LONG), 0);
    CHECK_EQ(n, 4);
    static char huge[100000];
    CHECK_RC(plait_send_to(d, huge, sizeof huge, &own, LONG), PLAIT_EMSGSIZE);
    plait_datagram_close(d);
}

static void nobody_there_is_told_to_the_connected(void **state)
{
    (void)state;
    plait_address his;
    plait_datagram *d, *gone = open_any(&his);
    plait_datagram_close(gone);
    CHECK_RC(plait_datagram_open(&d, NULL, &his, NULL), 0);
    CHECK_RC(plait_send_to(d, "x", 1, NULL, LONG), 0);
    CHECK_RC(receive(d, LONG), PLAIT_ECONNREFUSED);
    CHECK_RC(receive(d, plait_ms(2)), PLAIT_ETIMEDOUT); /* and goes on */
    plait_datagram_close(d);
}

static void broadcasting_is_an_option(void **state)
{
    (void)state;
    plait_address any = loopback(0), all;
    plait_datagram *d;
    plait_resolve_options udp = {.datagram = true};
    CHECK_RC(plait_resolve("127.255.255.255", "9", &udp, &all, 1, LONG), 1);
    CHECK_RC(plait_datagram_open(&d, &any, NULL, NULL), 0);
    CHECK_RC(plait_send_to(d, "x", 1, &all, LONG), PLAIT_EACCES);
    plait_datagram_close(d);
    plait_datagram_options options = {.broadcast = true};
    CHECK_RC(plait_datagram_open(&d, &any, NULL, &options), 0);
    CHECK_RC(plait_send_to(d, "x", 1, &all, LONG), 0);
    plait_datagram_close(d);
}

static void addresses_are_taken_once_unless_shared(void **state)
{
    (void)state;
    plait_address own;
    plait_datagram *a, *b = NULL;
    plait_datagram_options shared = {.reuse_port = true};
    a = open_any(&own);
    CHECK_RC(plait_datagram_open(&b, &own, NULL, NULL), PLAIT_EADDRINUSE);
    CHECK_RC(plait_datagram_open(&b, &own, NULL, &shared), PLAIT_EADDRINUSE);
    CHECK(b == NULL);
    plait_datagram_close(a);
    CHECK_RC(plait_datagram_open(&a, &own, NULL, &shared), 0);
    CHECK_RC(plait_datagram_open(&b, &own, NULL, &shared), 0);
    plait_datagram_close(a);
    plait_datagram_close(b);
}

static void unix_sockets_send_messages_too(void **state)
{
    (void)state;
    char folder[] = "/tmp/plait-test-XXXXXX", path[100], text[100];
    plait_address own, from;
    plait_datagram *server, *client;
    size_t n;
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/socket", folder);
    CHECK_RC(plait_address_unix(&own, path), 0);
    CHECK_RC(plait_datagram_open(&client, NULL, &own, NULL), PLAIT_ENOENT);
    CHECK_RC(plait_datagram_open(&server, &own, NULL, NULL), 0);
    CHECK_RC(plait_datagram_open(&client, NULL, &own, NULL), 0);
    CHECK_RC(plait_send_to(client, "question", 8, NULL, LONG), 0);
    CHECK_RC(plait_receive_from(server, text, 4, &n, &from, LONG), PLAIT_EMSGSIZE);
    CHECK_EQ(n, 8);
    CHECK_RC(plait_send_to(server, "answer", 6, &from, LONG),
             0); /* it has a name to be answered at */
    CHECK_RC(plait_receive_from(client, text, sizeof text, &n, &from, LONG), 0);
    CHECK_RC(plait_address_text(&from, text, sizeof text), 0);
    CHECK_EQ(strcmp(text, path), 0);
    plait_datagram_close(client);
    plait_datagram_close(server);
    CHECK(access(path, F_OK) < 0);
    rmdir(folder);
}

/* --- waiting --- */

static int send_when_full(void *d, int64_t timeout)
{
    int rc;
    static char bytes[1000];
    do
        rc = plait_send_to(d, bytes, sizeof bytes, NULL, timeout);
    while (rc == 0);
    return rc;
}

static void check_call(const struct t_setting *s, t_wait *call, void *object)
{
    t_check_bad_timeouts(call, object);
    t_check_time(call, object);
    t_check_cancel(s, call, object);
    t_check_cancel_pending(s, call, object);
    t_check_uncancel(s, call, object);
}

static void each_call_can_time_out_and_be_cancelled(void **state)
{
    (void)state;
    FOR_EACH_SETTING(s)
    {
        plait_address own, to;
        plait_datagram *d = open_any(&own), *server, *client;
        check_call(s, receive, d);
        plait_datagram_close(d);
        CHECK_RC(plait_address_unix(&to, "@plait-datagram-test"), 0);
        CHECK_RC(plait_datagram_open(&server, &to, NULL, NULL), 0);
        CHECK_RC(plait_datagram_open(&client, NULL, &to, NULL), 0);
        check_call(s, send_when_full, client); /* who does not receive makes the sender wait */
        plait_datagram_close(client);
        plait_datagram_close(server);
    }
}

static void closing_ends_the_waits_in_it(void **state)
{
    (void)state;
    const int kinds[] = {PLAIT_THREAD, PLAIT_TASK};
    for (int k = 0; k < 2; k++)
        for (int connected = 0; connected < 2; connected++) {
            plait_address own;
            plait_datagram *d = open_any(&own), *other = d;
            if (connected)
                CHECK_RC(plait_datagram_open(&d, NULL, &own, NULL), 0);
            struct t_waiter w[2] = {{receive, d, PLAIT_FOREVER, 0, 0, 0},
                                    {receive, d, PLAIT_FOREVER, 0, 0, 0}};
            plait_worker workers[2]; /* any number may wait */
            for (int i = 0; i < 2; i++)
                workers[i] = t_start_one(kinds[k], t_wait_once, &w[i]);
            for (int i = 0; i < 2 && k == 0; i++)
                UNTIL_WAITS(workers[i], PL_WAIT_FD);
            CHECK_RC(plait_sleep(plait_ms(1)), 0);
            CHECK_RC(plait_datagram_close(d), 0);
            for (int i = 0; i < 2; i++) {
                CHECK_EQ(t_join_one(workers[i]), 0);
                CHECK_RC(w[i].rc, PLAIT_ECLOSED);
            }
            if (connected)
                plait_datagram_close(other);
        }
}

static void misuse_is_refused(void **state)
{
    (void)state;
    plait_address own, un;
    plait_datagram *d = open_any(&own), *e = NULL;
    CHECK_RC(plait_address_unix(&un, "@x"), 0);
    CHECK_RC(plait_datagram_open(NULL, &own, NULL, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_datagram_open(&e, NULL, NULL, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_datagram_open(&e, &own, &un, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_send_to(NULL, "x", 1, &own, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_send_to(d, NULL, 1, &own, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_send_to(d, "x", 1, NULL, LONG), PLAIT_EINVAL); /* to whom? */
    CHECK_RC(plait_datagram_open(&e, NULL, &own, NULL), 0);
    CHECK_RC(plait_send_to(e, "x", 1, &own, LONG), PLAIT_EINVAL); /* that is settled */
    CHECK_RC(plait_receive_from(NULL, NULL, 0, NULL, NULL, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_receive_from(d, NULL, 1, NULL, NULL, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_datagram_fd(NULL), PLAIT_EINVAL);
    CHECK_RC(plait_datagram_address(NULL, &own), PLAIT_EINVAL);
    CHECK_RC(plait_datagram_close(NULL), 0);
    plait_datagram_close(d);
    plait_datagram_close(e);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_an_arena_it_says_why_it_cannot_wait),
        cmocka_unit_test(messages_keep_their_bounds_and_say_whose_they_are),
        cmocka_unit_test(a_message_that_does_not_fit_says_how_long_it_was),
        cmocka_unit_test(nobody_there_is_told_to_the_connected),
        cmocka_unit_test(broadcasting_is_an_option),
        cmocka_unit_test(addresses_are_taken_once_unless_shared),
        cmocka_unit_test(unix_sockets_send_messages_too),
        cmocka_unit_test(each_call_can_time_out_and_be_cancelled),
        cmocka_unit_test(closing_ends_the_waits_in_it),
        cmocka_unit_test(misuse_is_refused),
    };
    t_arguments(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
