/* Addresses of sockets, and as text. */
#include "io/io.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

static const size_t path_at = offsetof(struct sockaddr_un, sun_path);

int pl_socket(const plait_address *address, int type)
{
    int fd = socket(pl_system(address)->any.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? pl_io_error(errno) : fd;
}

int plait_address_unix(plait_address *ret, const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t length = path ? strlen(path) : 0;
    if (!ret || length == 0)
        return PLAIT_EINVAL;
    if (length >= sizeof un.sun_path)
        return PLAIT_EOVERFLOW;
    memcpy(un.sun_path, path, length + 1);
    bool abstract = path[0] == '@';
    if (abstract)
        un.sun_path[0] = 0;
    memset(ret, 0, sizeof *ret);
    memcpy(ret->bytes, &un, sizeof un);
    ret->length = (uint32_t)(path_at + length + (abstract ? 0 : 1));
    return 0;
}

static int unix_text(const plait_address *address, char *text, size_t size)
{
    const struct sockaddr_un *un = &pl_system(address)->un;
    size_t length = address->length > path_at ? address->length - path_at : 0;
    if (length > 0 && un->sun_path[0] == 0)
        return snprintf(text, size, "@%.*s", (int)length - 1, un->sun_path + 1);
    return snprintf(text, size, "%.*s", (int)length, un->sun_path);
}

static int ip6_text(const plait_address *address, char *text, size_t size)
{
    const struct sockaddr_in6 *in6 = &pl_system(address)->in6;
    char host[INET6_ADDRSTRLEN] = "", scope[IF_NAMESIZE + 1] = "";
    inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
    if (in6->sin6_scope_id)
        snprintf(scope, sizeof scope, "%%%u", in6->sin6_scope_id);
    return snprintf(text, size, "[%s%s]:%u", host, scope, ntohs(in6->sin6_port));
}

static int ip4_text(const plait_address *address, char *text, size_t size)
{
    const struct sockaddr_in *in = &pl_system(address)->in;
    char host[INET_ADDRSTRLEN] = "";
    inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
    return snprintf(text, size, "%s:%u", host, ntohs(in->sin_port));
}

int plait_address_text(const plait_address *address, char *text, size_t size)
{
    char whole[160];
    if (!address || !text || size == 0)
        return PLAIT_EINVAL;
    int saved = errno, n;
    switch (pl_system(address)->any.sa_family) {
    case AF_INET:
        n = ip4_text(address, whole, sizeof whole);
        break;
    case AF_INET6:
        n = ip6_text(address, whole, sizeof whole);
        break;
    case AF_UNIX:
        n = unix_text(address, whole, sizeof whole);
        break;
    default:
        return PLAIT_ENOTSUP;
    }
    errno = saved;
    if ((size_t)n >= size)
        return PLAIT_EOVERFLOW;
    memcpy(text, whole, (size_t)n + 1);
    return 0;
}

int plait_address_port(const plait_address *address)
{
    if (!address)
        return PLAIT_EINVAL;
    if (pl_system(address)->any.sa_family == AF_INET)
        return ntohs(pl_system(address)->in.sin_port);
    if (pl_system(address)->any.sa_family == AF_INET6)
        return ntohs(pl_system(address)->in6.sin6_port);
    return PLAIT_ENOTSUP;
}

int pl_socket_name(int fd, bool peer, char *text, size_t size)
{
    plait_address address;
    socklen_t length = sizeof address.bytes;
    int saved = errno;
    memset(&address, 0, sizeof address);
    int rc = peer ? getpeername(fd, &pl_system(&address)->any, &length)
                  : getsockname(fd, &pl_system(&address)->any, &length);
    if (rc < 0)
        rc = errno == ENOTSOCK ? PLAIT_ENOTSUP : pl_io_error(errno);
    errno = saved;
    address.length = length;
    return rc < 0 ? rc : plait_address_text(&address, text, size);
}
