/* What context.c and tls.c share. */
#ifndef PL_TLS_TLS_H
#define PL_TLS_TLS_H

#include <plait/tls.h>

#include <openssl/ssl.h>
#include <stdint.h>

/* All but users is constant. */
struct plait_tls_context {
    SSL_CTX *ssl;
    uint32_t users; /* atomic: the owner and the streams */
    bool accepts_any, requires_client;
    unsigned char alpn[256]; /* as on the wire: each name after its length */
    unsigned alpn_length;
};

/* Around all that OpenSSL does: a fork of another thread waits until it is over. Not to be entered twice. (fork.c) */
void pl_tls_enter(void);
void pl_tls_leave(void);

plait_tls_context *pl_tls_context_keep(plait_tls_context *context);

/* Writes in words what OpenSSL's queue of errors says of this thread's last failed call, and empties it. PLAIT_ETLS, or
 * the code of a system call that has failed, or PLAIT_ENOMEM. */
int pl_tls_say(char *why, size_t size, const char *what);

#endif
