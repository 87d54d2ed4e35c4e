/* Requests: what libhttp-parser makes of the bytes, and the file that a URL means. */
#include "connection.h"

#include <stdio.h>
#include <string.h>

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

int receive(struct connection *c, int64_t patience)
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

bool find_path(struct connection *c)
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
