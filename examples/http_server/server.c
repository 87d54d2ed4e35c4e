/* An HTTP/1.1 server for the files of a folder: a task for each connection, written as if it were the only one.
 *
 * Try:  build/release/examples/http_server/http_server FOLDER 8080 2 10
 *       (the port; threads, each with a loop and a listening socket of its own; seconds a client may be silent)
 *
 * Requests are parsed by libhttp-parser. SIGINT stops the server: who waits for a request goes, who
 * is being answered gets the rest first. */
#include <plait/plait.h>
#include <fcntl.h>
#include <http_parser.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { URL_MOST = 2048, HEADER_MOST = 8192, BUFFER = 16384, SMALL = 12288, THREADS_MOST = 64 };

static int root; /* the folder */
static int64_t patience;

struct connection {
    plait_stream *stream;
    http_parser parser;
    char url[URL_MOST + 1], path[URL_MOST + 16];
    size_t url_length, begin, end; /* [begin, end) of buffer is not parsed yet */
    bool complete, keep_alive;
    char buffer[BUFFER];
};

/* --- requests --- */

static int on_url(http_parser *parser, const char *bytes, size_t n)
{
    struct connection *c = parser->data;
    if (c->url_length + n > URL_MOST)
        return 1;
    memcpy(c->url + c->url_length, bytes, n);
    c->url_length += n;
    return 0;
}

static int on_complete(http_parser *parser)
{
    struct connection *c = parser->data;
    c->complete = true;
    c->keep_alive = http_should_keep_alive(parser);
    http_parser_pause(parser, 1); /* the next one has to wait for our answer */
    return 0;
}

/* Reads one request, or finds it among what was read with the last. 0, a status for what is none, or -1: the client
 * has gone, is silent, or the server stops. */
static int receive(struct connection *c)
{
    static const http_parser_settings settings = {.on_url = on_url,
                                                  .on_message_complete = on_complete};
    c->url_length = c->complete = 0;
    http_parser_pause(&c->parser, 0);
    PLAIT_TIMEOUT(patience) {
        for (;;) {
            c->begin +=
                http_parser_execute(&c->parser, &settings, c->buffer + c->begin, c->end - c->begin);
            if (c->complete)
                return 0;
            if (HTTP_PARSER_ERRNO(&c->parser) == HPE_CB_url)
                return 414;
            if (HTTP_PARSER_ERRNO(&c->parser) != HPE_OK)
                return HTTP_PARSER_ERRNO(&c->parser) == HPE_HEADER_OVERFLOW ? 431 : 400;
            ssize_t n = plait_read(c->stream, c->buffer, BUFFER, PLAIT_FOREVER);
            if (n <= 0)
                return -1;
            c->begin = 0;
            c->end = (size_t)n;
        }
    }
    return -1;
}

/* The path within the folder, "%41" being "A"; a folder's page is its index.html. False: no valid URL. */
static bool find_path(struct connection *c)
{
    struct http_parser_url parts = {0};
    char *to = c->path;
    if (http_parser_parse_url(c->url, c->url_length, 0, &parts) != 0 ||
        !(parts.field_set & 1 << UF_PATH))
        return false;
    const char *from = c->url + parts.field_data[UF_PATH].off,
               *end = from + parts.field_data[UF_PATH].len;
    while (from < end && *from == '/')
        from++;
    for (; from < end; from++) {
        unsigned byte = (unsigned char)*from;
        int read = 0;
        if (byte == '%' &&
            (end - from < 3 || sscanf(from + 1, "%2x%n", &byte, &read) != 1 || read != 2))
            return false;
        if (byte == 0)
            return false;
        from += read;
        *to++ = (char)byte;
    }
    strcpy(to, to == c->path || to[-1] == '/' ? "index.html" : "");
    return true;
}

/* --- answers --- */

/* The kernel sees to it that no "..", link or mount leads out of the folder. */
static int open_beneath(const char *path)
{
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK, .resolve = RESOLVE_BENEATH};
    return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

static const char *type_of(const char *path)
{
    static const char *const types[][2] = {{".html", "text/html; charset=utf-8"},
                                           {".txt", "text/plain; charset=utf-8"},
                                           {".css", "text/css"},
                                           {".js", "text/javascript"},
                                           {".json", "application/json"},
                                           {".png", "image/png"},
                                           {".jpg", "image/jpeg"},
                                           {".svg", "image/svg+xml"}};
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < sizeof types / sizeof types[0]; i++)
        if (strcmp(dot, types[i][0]) == 0)
            return types[i][1];
    return "application/octet-stream";
}

static int write_head(char *to, size_t size, const struct connection *c, const char *status,
                      const char *type, long long length)
{
    char date[40];
    time_t now = time(NULL);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &(struct tm){0}));
    return snprintf(to, size,
                    "HTTP/1.1 %s\r\nDate: %s\r\nContent-Type: %s\r\nContent-Length: %lld\r\n"
                    "%sConnection: %s\r\n\r\n",
                    status, date, type, length, atoi(status) == 405 ? "Allow: GET, HEAD\r\n" : "",
                    c->keep_alive ? "keep-alive" : "close");
}

static int answer_status(struct connection *c, const char *status)
{
    char text[400];
    bool head = c->parser.method == HTTP_HEAD;
    int n = write_head(text, sizeof text, c, status, "text/plain", (long long)strlen(status) + 1);
    n += snprintf(text + n, sizeof text - (size_t)n, head ? "" : "%s\n", status);
    return plait_write(c->stream, text, (size_t)n, NULL, patience);
}

static int answer_file(struct connection *c, int fd, long long size)
{
    char text[400 + SMALL];
    ssize_t n = write_head(text, 400, c, "200 OK", type_of(c->path), size), body = 0;
    bool wanted = c->parser.method == HTTP_GET && size > 0;
    if (wanted && size <= SMALL && (body = pread(fd, text + n, SMALL, 0)) != size)
        return -1; /* it has changed meanwhile: cut the connection, so that the client knows */
    int rc = plait_write(c->stream, text, (size_t)(n + body), NULL, patience);
    return rc < 0 || !wanted || body > 0
               ? rc
               : plait_sendfile(c->stream, fd, 0, (uint64_t)size, NULL, PLAIT_FOREVER);
}

static int answer(struct connection *c)
{
    struct stat about;
    if (c->parser.method != HTTP_GET && c->parser.method != HTTP_HEAD)
        return answer_status(c, "405 Method Not Allowed");
    if (!find_path(c))
        return answer_status(c, "400 Bad Request");
    int fd = open_beneath(c->path);
    if (fd < 0)
        return answer_status(c,
                             errno == EXDEV || errno == EACCES ? "403 Forbidden" : "404 Not Found");
    int rc = fstat(fd, &about) == 0 && S_ISREG(about.st_mode) ? answer_file(c, fd, about.st_size)
                                                              : answer_status(c, "404 Not Found");
    close(fd);
    return rc;
}

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
        status = receive(&c);
        PLAIT_SHIELD if (status == 0) rc = answer(&c);
    } while (status == 0 && rc == 0 && c.keep_alive);
    c.keep_alive = false;
    if (status > 0)
        answer_status(&c, status == 400   ? "400 Bad Request"
                          : status == 414 ? "414 URI Too Long"
                                          : "431 Request Header Fields Too Large");
    if (status >= 0 && rc == 0)
        part(&c);
    return 0;
}

/* --- the server --- */

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
    pthread_sigmask(SIG_BLOCK, &interrupt, NULL); /* in all threads: it is read from a descriptor */
    snprintf(port, sizeof port, "%s", argv[2]);
    for (int i = 0; i < n; i++) {
        check("listening", plait_listen(&listener, NULL, port, &options, PLAIT_FOREVER));
        snprintf(port, sizeof port, "%d", plait_listener_port(listener));
        check("starting", plait_start(&threads[i], PLAIT_THREAD, serve, listener, NULL));
    }
    printf("port %s\n", port);
    fflush(stdout);
    int signals = signalfd(-1, &interrupt, SFD_CLOEXEC);
    plait_wait_fd(signals, PLAIT_READABLE, PLAIT_FOREVER);
    for (int i = 0; i < n; i++)
        plait_cancel(threads[i]);
    for (int i = 0; i < n; i++)
        check("serving", plait_join(threads[i], NULL, PLAIT_FOREVER));
    puts("stopped");
    return 0;
}
