/* Another library's connections in tasks or threads: hiredis, with a wait of plait's wherever it would block.
 *
 * Try:  29_redis task
 *       29_redis thread
 *
 * A library that can send and receive without blocking needs one function of some ten lines to be used in tasks: ask(). Ten
 * clients count to a hundred each, on a connection of their own, while one waits for a message. Redis is started for this
 * on a socket in a folder of its own, and ended again. */
#include <hiredis/hiredis.h>
#include <plait/plait.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CLIENTS = 10, STEPS = 100 };

static char folder[] = "/tmp/plait-redis-XXXXXX", path[64];
static pid_t server;

/* --- hiredis in tasks --- */

static redisReply *ask(redisContext *c, const char *format, ...)
{
    void *reply = NULL;
    int rc = 0, sent = 0;
    va_list values;
    va_start(values, format);
    redisvAppendCommand(c, format, values);
    va_end(values);
    while (rc >= 0 && redisBufferWrite(c, &sent) == REDIS_OK && !sent)
        rc = plait_wait_fd(c->fd, PLAIT_WRITABLE, plait_seconds(30));
    while (rc >= 0 && redisGetReplyFromReader(c, &reply) == REDIS_OK && !reply) {
        rc = plait_wait_fd(c->fd, PLAIT_READABLE, plait_seconds(30));
        if (rc > 0 && redisBufferRead(c) != REDIS_OK)
            rc = PLAIT_EIO;
    }
    return reply; /* NULL: it failed, or was cancelled */
}

static redisContext *connect_to_server(void)
{
    redisContext *c = redisConnectUnixNonBlock(path);
    if (!c || c->err) {
        if (c)
            redisFree(c);
        return NULL;
    }
    return c;
}

/* --- what the clients do --- */

static int count(void *unused)
{
    redisContext *c = connect_to_server();
    redisReply *r = NULL;
    (void)unused;
    for (int i = 0; i < STEPS; i++) {
        freeReplyObject(r);
        r = c ? ask(c, "INCR counter") : NULL;
        if (!r)
            return PLAIT_EIO;
    }
    if (r->integer == (long long)CLIENTS * STEPS) /* it was the last of all steps */
        freeReplyObject(ask(c, "LPUSH news %s", "all have counted"));
    freeReplyObject(r);
    redisFree(c);
    return 0;
}

static char news[100];

static int wait_for_news(void *unused)
{
    redisContext *c = connect_to_server();
    redisReply *r = c ? ask(c, "BLPOP news 0") : NULL;
    (void)unused;
    if (!r || r->type != REDIS_REPLY_ARRAY)
        return PLAIT_EIO;
    snprintf(news, sizeof news, "%s", r->element[1]->str);
    freeReplyObject(r);
    redisFree(c);
    return 0;
}

/* --- the server --- */

static void end_server(void)
{
    kill(server, SIGTERM);
    waitpid(server, NULL, 0);
    unlink(path);
    rmdir(folder);
}

static void give_up(int status, const char *why)
{
    printf("(%s)\n", why);
    fflush(stdout);
    end_server();
    _Exit(status);
}

static void start_server(void)
{
    if (!mkdtemp(folder))
        exit(1);
    snprintf(path, sizeof path, "%s/socket", folder);
    server = fork();
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (!freopen("/dev/null", "w", stdout))
            _exit(126);
        char *const options[] = {"redis-server", "--port", "0",     "--unixsocket", path,
                                 "--save",       "",       "--dir", folder,         NULL};
        execvp("redis-server", options);
        execvp("redis-check-rdb", options); /* the same program, in Debian's redis-tools */
        _exit(127);
    }
    for (int i = 0; i < 1000; i++) {
        redisContext *c = connect_to_server();
        if (c) {
            redisFree(c);
            return;
        }
        plait_sleep(plait_ms(10));
        if (waitpid(server, NULL, WNOHANG) == server)
            give_up(77, "skipped: there is no redis-server, or it does not start");
    }
    give_up(1, "the server does not answer");
}

/* --- all of it --- */

static int kind = PLAIT_TASK;

static int run_clients(void *unused)
{
    plait_worker w[CLIENTS + 1];
    plait_blame end;
    (void)unused;
    for (int i = 0; i <= CLIENTS; i++)
        if (plait_start(&w[i], kind, i == 0 ? wait_for_news : count, NULL, NULL) < 0)
            give_up(1, "a client cannot be started");
    for (int i = 0; i <= CLIENTS; i++)
        if (plait_join(w[i], &end, PLAIT_FOREVER) < 0 || end.status < 0)
            give_up(1, "a client has failed");
    return 0;
}

int main(int argc, char **argv)
{
    if (plait_init(&argc, &argv) < 0)
        return 1;
    if (argc > 1 && strcmp(argv[1], "thread") == 0)
        kind = PLAIT_THREAD;
    start_server();
    run_clients(NULL);
    printf("%d clients have counted to %d each\n", CLIENTS, STEPS);
    printf("the news: %s\n", news);
    end_server();
    return 0;
}
