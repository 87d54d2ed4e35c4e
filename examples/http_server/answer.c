/* Answers: a file of the folder, or a status. Small files go with their header in one piece, others from the kernel's memory. */
#include "connection.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SMALL = 12288, PIECE = 1 << 20 };

/* The kernel sees to it that no "..", link or mount leads out of the folder. */
static int open_beneath(int root, const char *path)
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

/* A status as it is sent. */
static const char *words_of(int code)
{
    static const char *const all[] = {"400 Bad Request",  "403 Forbidden",
                                      "404 Not Found",    "405 Method Not Allowed",
                                      "414 URI Too Long", "431 Request Header Fields Too Large"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (atoi(all[i]) == code)
            return all[i];
    return "500 Internal Server Error";
}

int answer_status(struct connection *c, int code, int64_t patience)
{
    const char *status = words_of(code);
    char text[400];
    bool head = c->parser.method == HTTP_HEAD;
    int n = write_head(text, sizeof text, c, status, "text/plain", (long long)strlen(status) + 1);
    n += snprintf(text + n, sizeof text - (size_t)n, "%s%s", head ? "" : status, head ? "" : "\n");
    return plait_write(c->stream, text, (size_t)n, NULL, patience);
}

static int answer_file(struct connection *c, int fd, long long size, int64_t patience)
{
    char text[400 + SMALL];
    ssize_t n = write_head(text, 400, c, "200 OK", type_of(c->path), size), body = 0;
    bool wanted = c->parser.method == HTTP_GET && size > 0;
    if (wanted && size <= SMALL && (body = pread(fd, text + n, SMALL, 0)) != size)
        return -1; /* it has changed meanwhile: cut the connection, so that the client knows */
    int rc = plait_write(c->stream, text, (size_t)(n + body), NULL, patience);
    if (!wanted || body > 0)
        return rc;
    for (long long at = 0; rc == 0 && at < size; at += PIECE) {
        long long left = size - at;
        rc = plait_sendfile(c->stream, fd, at, (uint64_t)(left < PIECE ? left : PIECE), NULL,
                            patience);
    }
    return rc;
}

int answer(struct connection *c, int root, int64_t patience)
{
    struct stat about;
    if (c->parser.method != HTTP_GET && c->parser.method != HTTP_HEAD)
        return answer_status(c, 405, patience);
    if (!find_path(c))
        return answer_status(c, 400, patience);
    int fd = open_beneath(root, c->path);
    if (fd < 0)
        return answer_status(c, errno == EXDEV || errno == EACCES ? 403 : 404, patience);
    int rc = fstat(fd, &about) == 0 && S_ISREG(about.st_mode)
                 ? answer_file(c, fd, about.st_size, patience)
                 : answer_status(c, 404, patience);
    close(fd);
    return rc;
}
