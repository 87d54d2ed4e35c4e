/* What listen.c and serve.c know of a listener. */
#ifndef PL_IO_LISTEN_H
#define PL_IO_LISTEN_H

#include <plait/listener.h>

#include "io/io.h"

#include <sys/un.h>

enum { PL_LISTENER_MOST = 16 };

/* All but io, reserve and turn is constant. */
struct plait_listener {
    struct pl_io io; /* of an epoll descriptor */
    int fds[PL_LISTENER_MOST];
    int n;
    int reserve;   /* atomic: a descriptor kept for want of others; -1: lost, or one uses it */
    uint32_t turn; /* atomic: at which socket the next accept begins */
    bool delay, keepalive;
    size_t limit;
    dev_t device; /* whose file `path` was */
    ino_t inode;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* "": no file */
};

void pl_listener_delete(plait_listener *listener);

#endif
