/* Another library's event loop in tasks: curl's multi interface, 20 transfers at once from one thread.
 *
 * Try:  28_curl_multi
 *
 * Curl asks for two things: to be told when a socket is ready, and when a time has passed. A task for each socket and
 * one for the time do that, and nothing else is needed; fetch() then reads as if it blocked. The server is tasks of
 * the same thread. It answers nobody before all 20 have asked: one after the other they would wait for ever. */
#include <curl/curl.h>
#include <plait/plait.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRANSFERS = 20, PIECE = 1000 };

static void check(const char *what, int rc)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, plait_strerror(rc));
    _Exit(1);
}

/* Curl and TLS want larger stacks than plait gives unasked. */
static plait_worker start(plait_function *fn, void *arg, int64_t delay)
{
    plait_worker task;
    plait_options options = {.stack_size = 256 << 10, .delay = delay, .detach = true};
    check("plait_start", plait_start(&task, PLAIT_TASK, fn, arg, &options));
    return task;
}

/* --- curl in tasks --- */

static CURLM *multi;
static plait_worker timer;

/* A socket that curl wants to know about. */
struct watch {
    curl_socket_t fd;
    int events; /* PLAIT_READABLE, PLAIT_WRITABLE; 0: not any more */
    plait_worker task;
};

struct transfer {
    plait_event done;
    CURLcode result;
    size_t bytes;
};

static void tell_who_is_done(void)
{
    CURLMsg *message;
    struct transfer *t;
    int left;
    while ((message = curl_multi_info_read(multi, &left))) {
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        t->result = message->data.result;
        plait_event_set(&t->done);
    }
}

static int watch_socket(void *arg)
{
    struct watch *w = arg;
    while (w->events) {
        int running, flags = 0, ready = plait_wait_fd(w->fd, w->events, PLAIT_FOREVER);
        if (ready < 0 || !w->events)
            break;
        flags |= ready & PLAIT_READABLE ? CURL_CSELECT_IN : 0;
        flags |= ready & PLAIT_WRITABLE ? CURL_CSELECT_OUT : 0;
        flags |= ready & (PLAIT_HANGUP | PLAIT_FAILED) ? CURL_CSELECT_ERR : 0;
        curl_multi_socket_action(multi, w->fd, flags, &running);
        tell_who_is_done();
    }
    free(w);
    return 0;
}

/* Curl calls this when it wants something else of a socket. A task that waits for what is not wanted any more is
 * cancelled. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *unused, void *known)
{
    struct watch *w = known;
    int events = what == CURL_POLL_REMOVE ? 0
                 : what == CURL_POLL_IN   ? PLAIT_READABLE
                 : what == CURL_POLL_OUT  ? PLAIT_WRITABLE
                                          : PLAIT_READABLE | PLAIT_WRITABLE;
    (void)easy, (void)unused;
    if (w && (w->events == events || plait_same(w->task, plait_self()))) {
        w->events = events; /* it calls us, and looks again */
        if (!events)
            curl_multi_assign(multi, fd, NULL);
        return 0;
    }
    if (w) {
        w->events = 0;
        plait_cancel(w->task);
        w = NULL;
    }
    if (events && (w = calloc(1, sizeof *w))) {
        *w = (struct watch){.fd = fd, .events = events};
        w->task = start(watch_socket, w, 0);
    }
    curl_multi_assign(multi, fd, w);
    return 0;
}

static int time_has_passed(void *unused)
{
    int running;
    (void)unused;
    timer = (plait_worker){0};
    curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
    tell_who_is_done();
    return 0;
}

static int on_timer(CURLM *m, long ms, void *unused)
{
    (void)m, (void)unused;
    plait_cancel(timer); /* before its time has come it never runs */
    timer = (plait_worker){0};
    if (ms >= 0)
        timer = start(time_has_passed, NULL, plait_ms(ms));
    return 0;
}

static size_t count(char *bytes, size_t size, size_t n, void *transfer)
{
    (void)bytes;
    ((struct transfer *)transfer)->bytes += size * n;
    return size * n;
}

/* How many bytes there are at the address; -1: it failed. In any task of this thread. */
static long fetch(const char *url)
{
    struct transfer t = {0};
    CURL *easy = curl_easy_init();
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, &t);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, count);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &t);
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_multi_add_handle(multi, easy);
    int rc = plait_event_wait(&t.done, plait_seconds(30));
    curl_multi_remove_handle(multi, easy);
    curl_easy_cleanup(easy);
    return rc == 0 && t.result == CURLE_OK ? (long)t.bytes : -1;
}

/* --- a server to fetch from --- */

static plait_listener *listener;
static plait_latch all_have_asked;

static int answer(plait_stream *s, void *unused)
{
    static char body[TRANSFERS * PIECE];
    char line[1000], head[200];
    int wanted = 0;
    (void)unused;
    while (plait_read_line(s, line, sizeof line, NULL, PLAIT_FOREVER) == 0 && line[0] != '\r')
        sscanf(line, "GET /%d", &wanted);
    plait_latch_count_down(&all_have_asked, 1);
    plait_latch_wait(&all_have_asked, PLAIT_FOREVER);
    snprintf(head, sizeof head,
             "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", wanted * PIECE);
    plait_write(s, head, strlen(head), NULL, PLAIT_FOREVER);
    return plait_write(s, body, (size_t)wanted * PIECE, NULL, PLAIT_FOREVER);
}

static int serve(void *unused)
{
    (void)unused;
    return plait_serve(listener, answer, NULL, &(plait_serve_options){.kind = PLAIT_TASK});
}

/* --- all of it --- */

static int fetched;
static long sum;

static int fetch_one(void *arg)
{
    char url[100];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/%d", plait_listener_port(listener),
             (int)(intptr_t)arg);
    long bytes = fetch(url);
    fetched += bytes >= 0;
    sum += bytes;
    return 0;
}

static int fetch_all(void *unused)
{
    plait_worker server, task[TRANSFERS];
    plait_options options = {.stack_size = 256 << 10};
    (void)unused;
    check("plait_start", plait_start(&server, PLAIT_TASK, serve, NULL, NULL));
    for (int i = 0; i < TRANSFERS; i++)
        check("plait_start",
              plait_start(&task[i], PLAIT_TASK, fetch_one, (void *)(intptr_t)(i + 1), &options));
    for (int i = 0; i < TRANSFERS; i++)
        check("plait_join", plait_join(task[i], NULL, PLAIT_FOREVER));
    plait_cancel(server);
    return plait_join(server, NULL, PLAIT_FOREVER);
}

int main(int argc, char **argv)
{
    check("plait_init", plait_init(&argc, &argv));
    check("plait_latch_init", plait_latch_init(&all_have_asked, TRANSFERS));
    check("plait_listen", plait_listen(&listener, "127.0.0.1", "0", NULL, PLAIT_FOREVER));
    curl_global_init(CURL_GLOBAL_DEFAULT);
    multi = curl_multi_init();
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);

    check("plait_run", plait_run(fetch_all, NULL));

    printf("%d of %d transfers at once: %ld bytes\n", fetched, TRANSFERS, sum);
    curl_multi_cleanup(multi);
    curl_global_cleanup();
    plait_listener_close(listener);
    return fetched == TRANSFERS ? 0 : 1;
}
