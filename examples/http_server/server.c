/* An HTTP/1.1 server for the files of a folder: a task for each connection, written as if it were the only one.
 *
 * Try:  build/release/examples/http_server/http_server FOLDER 8080 2 10
 *       (the port; threads, each with a loop and a listening socket of its own; seconds a client may be silent)
 *
 * Requests are parsed by libhttp-parser. SIGINT stops the server: who waits for a request goes, who
 * is being answered gets the rest first. */
#include "connection.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS_MOST = 64 };

static int root; /* the folder */
static int64_t patience;

/* The last words must not be lost: a connection that is closed with unread bytes is reset. */
static void part(struct connection *c)
{
    PLAIT_TIMEOUT(plait_seconds(1))
        for (int i = 0; plait_write_eof(c->stream) == 0 && i < 64; i++)
            if (plait_read(c->stream, c->buffer, BUFFER, PLAIT_FOREVER) <= 0)
                return;
}

static int serve_client(plait_stream *stream, void *arg)
{
    struct connection c = {.stream = stream};
    int rc = 0, status = 0;
    (void)arg;
    http_parser_init(&c.parser, HTTP_REQUEST);
    c.parser.data = &c;
    do {
        status = receive(&c, patience);
        PLAIT_SHIELD if (status == 0) rc = answer(&c, root, patience);
    } while (status == 0 && rc == 0 && c.keep_alive);
    c.keep_alive = false;
    if (status > 0)
        answer_status(&c, status, patience);
    if (status >= 0 && rc == 0)
        part(&c);
    return 0;
}

static int serve(void *listener)
{
    int rc = plait_serve(listener, serve_client, NULL,
                         &(plait_serve_options){.kind = PLAIT_TASK, .max_clients = 10000});
    plait_listener_close(listener);
    return rc == PLAIT_ECANCELED ? 0 : rc;
}

static void check(const char *what, int rc)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, plait_strerror(rc));
    _Exit(1);
}

int main(int argc, char **argv)
{
    plait_worker threads[THREADS_MOST];
    plait_listener *listener;
    plait_listen_options options = {.reuse_port = true, .backlog = 1024};
    char port[16];
    sigset_t interrupt;
    int n = argc > 3 ? atoi(argv[3]) : 1;
    patience = plait_seconds(argc > 4 ? atof(argv[4]) : 10);
    if (argc < 3 || n < 1 || n > THREADS_MOST || (root = open(argv[1], O_RDONLY | O_DIRECTORY)) < 0)
        return fprintf(stderr, "usage: http_server FOLDER PORT [THREADS [SECONDS]]\n"), 2;
    http_parser_set_max_header_size(HEADER_MOST);
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    pthread_sigmask(SIG_BLOCK, &interrupt, NULL); /* in all threads: it is waited for */
    snprintf(port, sizeof port, "%s", argv[2]);
    for (int i = 0; i < n; i++) {
        check("listening", plait_listen(&listener, NULL, port, &options, PLAIT_FOREVER));
        snprintf(port, sizeof port, "%d", plait_listener_port(listener));
        check("starting", plait_start(&threads[i], PLAIT_THREAD, serve, listener, NULL));
    }
    printf("port %s\n", port);
    fflush(stdout);
    plait_signal_wait(&interrupt, NULL, PLAIT_FOREVER);
    for (int i = 0; i < n; i++)
        plait_cancel(threads[i]);
    for (int i = 0; i < n; i++)
        check("serving", plait_join(threads[i], NULL, PLAIT_FOREVER));
    puts("stopped");
    return 0;
}
