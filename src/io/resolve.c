/* Names to addresses. Numbers are answered at once; for names the system's resolver is asked, which blocks for as
 * long as it likes: so a helper thread asks it, and the caller waits for that as for anything else. */
#include "base/clock.h"
#include "io/io.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOST_SIZE = 256, SERVICE_SIZE = 64 };

/* A question, and the answer once it is known. */
struct lookup {
    struct pl_errand errand;
    char host[HOST_SIZE], service[SERVICE_SIZE];
    bool has_host, has_service;
    struct addrinfo hints;
    struct addrinfo *answer; /* freed with it */
    int rc;                  /* of getaddrinfo */
    int error;               /* errno, for EAI_SYSTEM */
};

static void ask(struct lookup *l, int flags)
{
    struct addrinfo hints = l->hints;
    hints.ai_flags |= flags;
    l->answer = NULL;
    l->rc = getaddrinfo(l->has_host ? l->host : NULL, l->has_service ? l->service : NULL, &hints,
                        &l->answer);
    l->error = errno;
}

static void run(struct pl_errand *errand)
{
    ask((struct lookup *)errand, 0);
}

static void discard(struct pl_errand *errand)
{
    struct lookup *l = (struct lookup *)errand;
    if (l->answer)
        freeaddrinfo(l->answer);
    free(l);
}

static int code_of(const struct lookup *l)
{
    switch (l->rc) {
    case 0:
        return 0;
    case EAI_MEMORY:
        return PLAIT_ENOMEM;
    case EAI_FAMILY:
    case EAI_SOCKTYPE:
        return PLAIT_ENOTSUP;
    case EAI_SYSTEM:
        return pl_io_error(l->error);
    default:
        return PLAIT_ENAME;
    }
}

/* Copies up to `most` addresses; how many there are. */
static int copy_answer(const struct lookup *l, plait_address *array, int most)
{
    int n = 0;
    for (const struct addrinfo *a = l->answer; a; a = a->ai_next) {
        if (a->ai_addrlen > sizeof array->bytes)
            continue;
        if (n < most) {
            memset(&array[n], 0, sizeof array[n]);
            memcpy(array[n].bytes, a->ai_addr, a->ai_addrlen);
            array[n].length = (uint32_t)a->ai_addrlen;
        }
        n++;
    }
    return n;
}

static bool copy_text(char *to, size_t size, const char *from, bool *has)
{
    *has = from != NULL;
    return !from || (size_t)snprintf(to, size, "%s", from) < size;
}

static int new_lookup(struct lookup **ret, const char *host, const char *service,
                      const plait_resolve_options *options)
{
    struct lookup *l = calloc(1, sizeof *l);
    if (!l)
        return PLAIT_ENOMEM;
    l->errand = (struct pl_errand){.run = run, .discard = discard};
    l->hints.ai_family = options ? options->family : AF_UNSPEC;
    l->hints.ai_socktype = options && options->datagram ? SOCK_DGRAM : SOCK_STREAM;
    l->hints.ai_flags = options && options->passive ? AI_PASSIVE : 0;
    if (!copy_text(l->host, sizeof l->host, host, &l->has_host) ||
        !copy_text(l->service, sizeof l->service, service, &l->has_service)) {
        free(l);
        return PLAIT_ENAME;
    }
    *ret = l;
    return 0;
}

/* Whether the numbers said all there is to say. */
static bool is_numeric(struct lookup *l)
{
    ask(l, AI_NUMERICHOST | AI_NUMERICSERV);
    return l->rc != EAI_NONAME && l->rc != EAI_SERVICE;
}

int pl_resolve(const char *host, const char *service, const plait_resolve_options *options,
               plait_address *array, int most, struct pl_wait *wait)
{
    struct lookup *l = NULL;
    int rc = new_lookup(&l, host, service, options);
    if (rc < 0)
        return rc;
    if (is_numeric(l)) {
        rc = code_of(l);
        rc = rc < 0 ? rc : copy_answer(l, array, most);
        discard(&l->errand);
        return rc;
    }
    if (wait->deadline == 0) { /* nobody would be there for the answer */
        discard(&l->errand);
        return PLAIT_ETIMEDOUT;
    }
    rc = pl_errand_run(&l->errand, wait);
    if (rc < 0)
        return rc;
    rc = code_of(l);
    rc = rc < 0 ? rc : copy_answer(l, array, most);
    pl_errand_leave(&l->errand);
    return rc;
}

int plait_resolve(const char *host, const char *service, const plait_resolve_options *options,
                  plait_address *array, int most, int64_t timeout)
{
    struct pl_wait wait;
    if ((!host && !service) || most < 0 || (!array && most > 0))
        return PLAIT_EINVAL;
    int rc = pl_wait_begin(&wait, PL_WAIT_HELPER, timeout);
    int saved = errno;
    if (rc == 0)
        rc = pl_resolve(host, service, options, array, most, &wait);
    errno = saved;
    return rc;
}
