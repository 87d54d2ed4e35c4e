/* A connection and the request that is being answered on it. */
#ifndef CONNECTION_H
#define CONNECTION_H

#include <http_parser.h>
#include <plait/plait.h>

enum { URL_MOST = 2048, HEADER_MOST = 8192, BUFFER = 16384 };

struct connection {
    plait_stream *stream;
    http_parser parser;
    char url[URL_MOST + 1], path[URL_MOST + 16];
    size_t url_length, begin, end; /* [begin, end) of buffer is not parsed yet */
    bool complete, keep_alive;
    char buffer[BUFFER];
};

/* Reads one request, or finds it among what was read with the last. 0, a status for what is none, or -1: the client
 * has gone, is silent for `patience`, or the server stops. (request.c) */
int receive(struct connection *c, int64_t patience);

/* The path within the folder, "%41" being "A"; a folder's page is its index.html. False: no valid URL. (request.c) */
bool find_path(struct connection *c);

/* Answers the request from the folder `root`; or with a status. 0, or a code. (answer.c) */
int answer(struct connection *c, int root, int64_t patience);
int answer_status(struct connection *c, int status, int64_t patience);

#endif
