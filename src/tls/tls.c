/* TLS as a transport of a stream.
 *
 * OpenSSL works on two pieces of memory here and never sees the descriptor: what comes from the peer is put into `in`, what
 * goes to it is taken from `out`. So all waiting is the stream's own, and works in tasks.
 *
 * Naive: a lock around each call. Its hole: a reader that waits inside it keeps the writer out, for the two sides
 * of a stream share one SSL object. Cure: the lock is held while OpenSSL computes and never while anybody waits. Facts:
 *   1 all of struct tls is under the lock but `received`, which is the reader's, and `sent`, which is the sender's;
 *   2 who has set `sending` is the sender: what lies in `out` leaves in order, for one at a time takes it;
 *   3 the writing side sends until nothing is left, waiting for the kernel. A reader that has something to say (an
 *     alert, an answer to a change of keys) and finds no sender sends what goes at once; else it leaves it to the writer;
 *   4 a failure stays: OpenSSL's object may not be used after one. The exception are the stream's own codes (time, requests to stop),
 *     which come between two calls of OpenSSL. Only during the handshake they are final, too;
 *   5 the descriptor's end is the end only if the peer has said so before (close_notify). Else somebody on the way may have
 *     cut the connection, and the caller must not take half for the whole. */
#include "tls/tls.h"

#include <plait/clock.h>
#include <plait/transport.h>

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RECORD = 16 * 1024, ROOM = RECORD + 1024 };

struct tls {
    pthread_mutex_t lock; /* nobody waits for anything else while holding it */
    SSL *ssl;
    BIO *in, *out; /* the object's */
    plait_tls_context *context;
    bool established;         /* the handshake is over */
    bool said_goodbye;        /* close_notify is in `out` or gone */
    bool sending;             /* fact 2 */
    int failed;               /* 0 or the code of all further calls */
    char why[256];            /* it failed */
    size_t sent_at, sent_end; /* [sent_at, sent_end) of `sent` is still to go */
    unsigned char sent[ROOM]; /* taken from `out` */
    unsigned char received[ROOM];
};

static void lock(struct tls *tls)
{
    pl_tls_enter();
    pthread_mutex_lock(&tls->lock);
}

static void unlock(struct tls *tls)
{
    pthread_mutex_unlock(&tls->lock);
    pl_tls_leave();
}

/* --- failing --- */

static int fail(struct tls *tls, const char *why)
{
    if (tls->failed == 0) {
        tls->failed = PLAIT_ETLS;
        snprintf(tls->why, sizeof tls->why, "%s", why);
    }
    return tls->failed;
}

static bool speaks_no_tls(int reason)
{
    return reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST ||
           reason == SSL_R_HTTPS_PROXY_REQUEST || reason == SSL_R_PACKET_LENGTH_TOO_LONG ||
           reason == SSL_R_BAD_PACKET_LENGTH;
}

/* A call of OpenSSL's has failed: why, in words. */
static int fail_by_openssl(struct tls *tls)
{
    enum { ALERTS = SSL_AD_REASON_OFFSET };
    unsigned long error = ERR_peek_error();
    int reason = ERR_GET_LIB(error) == ERR_LIB_SSL ? ERR_GET_REASON(error) : 0;
    long verdict = SSL_get_verify_result(tls->ssl);
    if (tls->failed != 0) {
        ERR_clear_error();
    } else if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        ERR_clear_error();
        snprintf(tls->why, sizeof tls->why, "the peer's certificate is refused: %s",
                 X509_verify_cert_error_string(verdict));
    } else if (speaks_no_tls(reason) && !tls->established) {
        pl_tls_say(tls->why, sizeof tls->why, "the peer does not speak TLS");
    } else if (reason >= ALERTS) {
        pl_tls_say(tls->why, sizeof tls->why, "the peer refuses");
    } else {
        pl_tls_say(tls->why, sizeof tls->why, "TLS");
    }
    return tls->failed = PLAIT_ETLS;
}

/* --- what goes to the peer --- */

/* Whether there is something to send, in `sent`. Under the lock, by who may send. */
static bool has_to_send(struct tls *tls)
{
    if (tls->sent_at < tls->sent_end)
        return true;
    int n = BIO_read(tls->out, tls->sent, sizeof tls->sent);
    tls->sent_at = 0;
    tls->sent_end = n > 0 ? (size_t)n : 0;
    return n > 0;
}

/* Sends all, waiting. By the writing side, which holds the lock before and after but not meanwhile. */
static int send_all(struct tls *tls, plait_transfer *t)
{
    int rc = 0;
    tls->sending = true;
    while (rc == 0 && has_to_send(tls)) {
        unlock(tls);
        ssize_t sent =
            plait_transfer_send(t, tls->sent + tls->sent_at, tls->sent_end - tls->sent_at);
        lock(tls);
        if (sent < 0)
            rc = (int)sent;
        else
            tls->sent_at += (size_t)sent;
    }
    tls->sending = false;
    return rc;
}

/* Sends what goes at once, unless somebody is at it. Under the lock. */
static void send_some(struct tls *tls, plait_transfer *t)
{
    while (!tls->sending && has_to_send(tls)) {
        ssize_t sent =
            plait_transfer_send_now(t, tls->sent + tls->sent_at, tls->sent_end - tls->sent_at);
        if (sent <= 0)
            return;
        tls->sent_at += (size_t)sent;
    }
}

/* --- what comes from it --- */

/* Receives something into `in`, waiting. By the reader, who holds the lock before and after but not meanwhile. 0: there is
 * more, or a code. */
static int receive(struct tls *tls, plait_transfer *t, const char *if_it_ended)
{
    unlock(tls);
    ssize_t n = plait_transfer_receive(t, tls->received, sizeof tls->received);
    lock(tls);
    if (n == 0)
        return fail(tls, if_it_ended);
    if (n < 0)
        return (int)n;
    return BIO_write(tls->in, tls->received, (int)n) == n ? 0 : PLAIT_ENOMEM;
}

/* Bytes that have been received whole: 1 with *got, 0 at the end, PLAIT_EAGAIN (more must come), or a code. */
static int read_now(struct tls *tls, void *to, size_t size, size_t *got)
{
    if (tls->failed != 0)
        return tls->failed;
    ERR_clear_error();
    if (SSL_read_ex(tls->ssl, to, size, got) == 1)
        return 1;
    switch (SSL_get_error(tls->ssl, 0)) {
    case SSL_ERROR_WANT_READ:
        return PLAIT_EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        return fail_by_openssl(tls);
    }
}

static ssize_t tls_read(void *self, plait_transfer *t, void *to, size_t size)
{
    struct tls *tls = self;
    size_t got = 0;
    int rc;
    lock(tls);
    for (;;) {
        rc = read_now(tls, to, size, &got);
        send_some(tls, t);
        if (rc != PLAIT_EAGAIN)
            break;
        rc = receive(tls, t, "the connection ended without a goodbye (close_notify)");
        if (rc < 0)
            break;
    }
    unlock(tls);
    return rc == 1 ? (ssize_t)got : rc;
}

/* --- writing --- */

/* Encrypts from the parts until there is a good piece to send. 0 or a code. */
static int encrypt_some(struct tls *tls, const struct iovec **parts, int *n, size_t *skip,
                        size_t *done)
{
    while (*n > 0 && BIO_ctrl_pending(tls->out) < RECORD) {
        size_t left = (*parts)->iov_len - *skip, took = 0;
        if (left == 0) {
            ++*parts;
            --*n;
            *skip = 0;
            continue;
        }
        ERR_clear_error();
        if (SSL_write_ex(tls->ssl, (char *)(*parts)->iov_base + *skip,
                         left < RECORD ? left : RECORD, &took) != 1)
            return fail_by_openssl(tls);
        *skip += took;
        *done += took;
    }
    return 0;
}

static int tls_write(void *self, plait_transfer *t, const struct iovec *parts, int n, size_t *done)
{
    struct tls *tls = self;
    size_t skip = 0;
    lock(tls);
    int rc = tls->failed;
    if (rc == 0 && tls->said_goodbye)
        rc = PLAIT_EPIPE;
    if (rc == 0)
        rc = send_all(tls, t); /* what an earlier call has left */
    while (rc == 0 && n > 0) {
        rc = tls->failed; /* the reader may have met it meanwhile */
        if (rc == 0)
            rc = encrypt_some(tls, &parts, &n, &skip, done);
        if (rc == 0)
            rc = send_all(tls, t);
    }
    unlock(tls);
    return rc;
}

static void say_goodbye(struct tls *tls)
{
    if (!tls->established || tls->failed != 0 || tls->said_goodbye)
        return;
    ERR_clear_error();
    tls->said_goodbye = true;
    SSL_shutdown(tls->ssl);
    ERR_clear_error();
}

static int tls_write_eof(void *self, plait_transfer *t)
{
    struct tls *tls = self;
    lock(tls);
    int rc = tls->failed;
    if (rc == 0) {
        say_goodbye(tls);
        rc = send_all(tls, t);
    }
    unlock(tls);
    return rc;
}

/* --- beginning and end --- */

/* One step of the handshake. 1 done, 0 the peer is to say something, or a code. */
static int shake_hands(struct tls *tls)
{
    ERR_clear_error();
    int rc = SSL_do_handshake(tls->ssl);
    if (rc == 1)
        return 1;
    return SSL_get_error(tls->ssl, rc) == SSL_ERROR_WANT_READ ? 0 : fail_by_openssl(tls);
}

static int start(struct tls *tls, plait_transfer *t)
{
    for (;;) {
        int step = shake_hands(tls);
        if (step < 0) {
            send_some(tls, t); /* the peer may hear why */
            return step;
        }
        int rc = send_all(tls, t);
        if (rc < 0 || step == 1)
            return rc;
        rc = receive(tls, t, "the peer ended the connection during the handshake");
        if (rc < 0)
            return rc;
    }
}

static int tls_start(void *self, plait_transfer *t)
{
    struct tls *tls = self;
    lock(tls);
    int rc = start(tls, t);
    if (rc == PLAIT_ECONNRESET || rc == PLAIT_EPIPE)
        rc = fail(tls, "the peer cut the connection during the handshake");
    else if (rc < 0)
        fail(tls, "the handshake was given up");
    tls->established = rc == 0;
    unlock(tls);
    return rc;
}

static void tls_close(void *self, plait_transfer *t)
{
    struct tls *tls = self;
    lock(tls);
    say_goodbye(tls);
    send_some(tls, t);
    unlock(tls);
}

static void tls_free(void *self)
{
    struct tls *tls = self;
    int saved = errno;
    pl_tls_enter();
    SSL_free(tls->ssl);
    pl_tls_leave();
    plait_tls_context_free(tls->context);
    pthread_mutex_destroy(&tls->lock);
    OPENSSL_cleanse(tls->sent, sizeof tls->sent);
    free(tls);
    errno = saved;
}

static const plait_transport table = {
    .start = tls_start,
    .read = tls_read,
    .write = tls_write,
    .write_eof = tls_write_eof,
    .close = tls_close,
    .free = tls_free,
};

/* --- making --- */

static bool make_object(struct tls *tls)
{
    tls->ssl = SSL_new(tls->context->ssl);
    tls->in = BIO_new(BIO_s_mem());
    tls->out = BIO_new(BIO_s_mem());
    if (!tls->ssl || !tls->in || !tls->out) {
        BIO_free(tls->in);
        BIO_free(tls->out);
        return false;
    }
    BIO_set_mem_eof_return(tls->in, -1); /* empty is not the end */
    SSL_set_bio(tls->ssl, tls->in, tls->out);
    return true;
}

static struct tls *new_tls(plait_tls_context *context)
{
    struct tls *tls = calloc(1, sizeof *tls);
    if (!tls)
        return NULL;
    pthread_mutex_init(&tls->lock, NULL);
    tls->context = pl_tls_context_keep(context);
    pl_tls_enter();
    bool made = make_object(tls);
    pl_tls_leave();
    if (made)
        return tls;
    tls_free(tls);
    return NULL;
}

/* Whom the client expects. An address is looked for among the certificate's addresses and is not sent. */
static int expect(SSL *ssl, const char *name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1)
        return 0;
    ERR_clear_error();
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (SSL_set1_host(ssl, name) != 1 || SSL_set_tlsext_host_name(ssl, name) != 1)
        return PLAIT_EINVAL; /* too long, say */
    return 0;
}

static int be_client(struct tls *tls, const char *server_name)
{
    int rc = 0;
    pl_tls_enter();
    SSL_set_verify(tls->ssl, tls->context->accepts_any ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    SSL_set_connect_state(tls->ssl);
    if (server_name)
        rc = expect(tls->ssl, server_name);
    pl_tls_leave();
    return rc;
}

static void be_server(struct tls *tls)
{
    int peer = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    pl_tls_enter();
    SSL_set_verify(tls->ssl, tls->context->requires_client ? peer : SSL_VERIFY_NONE, NULL);
    SSL_set_accept_state(tls->ssl);
    pl_tls_leave();
}

/* Takes the object. */
static int start_on(plait_stream *stream, struct tls *tls, int64_t timeout)
{
    bool taken;
    int rc = plait_transport_start(stream, &table, tls, &taken, timeout);
    if (!taken)
        tls_free(tls);
    return rc;
}

int plait_tls_start_client(plait_stream *stream, plait_tls_context *context,
                           const char *server_name, int64_t timeout)
{
    if (!stream || !context || (server_name ? !*server_name : !context->accepts_any))
        return PLAIT_EINVAL;
    int saved = errno;
    struct tls *tls = new_tls(context);
    int rc = tls ? be_client(tls, server_name) : PLAIT_ENOMEM;
    if (rc < 0 && tls)
        tls_free(tls);
    if (rc == 0)
        rc = start_on(stream, tls, timeout);
    ERR_clear_error();
    errno = saved;
    return rc;
}

int plait_tls_start_server(plait_stream *stream, plait_tls_context *context, int64_t timeout)
{
    if (!stream || !context || !SSL_CTX_get0_certificate(context->ssl))
        return PLAIT_EINVAL;
    int saved = errno, rc = PLAIT_ENOMEM;
    struct tls *tls = new_tls(context);
    if (tls) {
        be_server(tls);
        rc = start_on(stream, tls, timeout);
    }
    ERR_clear_error();
    errno = saved;
    return rc;
}

/* --- connecting --- */

static struct {
    pthread_once_t once;
    plait_tls_context *context; /* constant once made; lives as long as the process */
    int rc;
} by_default = {.once = PTHREAD_ONCE_INIT};

static void make_default(void)
{
    by_default.rc = plait_tls_context_create(&by_default.context, NULL);
}

/* ns that are left of a timeout. */
static int64_t left_until(int64_t timeout, int64_t deadline)
{
    int64_t left = timeout <= 0 ? timeout : deadline - plait_now();
    return timeout > 0 && left < 0 ? 0 : left;
}

int plait_tls_connect(plait_stream **ret, const char *host, const char *port,
                      const plait_tls_connect_options *options, int64_t timeout)
{
    plait_tls_connect_options none = {0};
    const plait_tls_connect_options *o = options ? options : &none;
    plait_tls_context *context = o->context;
    plait_stream *stream;
    if (o->why && o->why_size > 0)
        o->why[0] = 0;
    if (!ret)
        return PLAIT_EINVAL;
    if (!context) {
        int saved = errno;
        pthread_once(&by_default.once, make_default);
        errno = saved;
        if (by_default.rc < 0)
            return by_default.rc;
        context = by_default.context;
    }
    int64_t now = plait_now();
    int64_t deadline = timeout > INT64_MAX - now ? INT64_MAX : now + timeout;
    int rc = plait_connect(&stream, host, port, o->connect, timeout);
    if (rc < 0)
        return rc;
    rc = plait_tls_start_client(stream, context, o->server_name ? o->server_name : host,
                                left_until(timeout, deadline));
    if (rc == 0) {
        *ret = stream;
        return 0;
    }
    if (o->why && o->why_size > 0)
        plait_tls_error(stream, o->why, o->why_size);
    plait_stream_close(stream);
    return rc;
}

/* --- about it --- */

int plait_tls_error(const plait_stream *stream, char *text, size_t size)
{
    if (!stream || !text || size == 0)
        return PLAIT_EINVAL;
    struct tls *tls = plait_transport_self(stream, &table);
    if (!tls)
        return PLAIT_ENOTSUP;
    lock(tls);
    snprintf(text, size, "%s", tls->why);
    unlock(tls);
    return 0;
}

static void copy(char *to, size_t size, const char *text)
{
    snprintf(to, size, "%s", text ? text : "");
}

/* "CN=a,O=b", the most special first. */
static void describe_peer(X509 *peer, char *to, size_t size)
{
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio && X509_NAME_print_ex(bio, X509_get_subject_name(peer), 0, XN_FLAG_RFC2253) >= 0) {
        int n = BIO_read(bio, to, (int)size - 1);
        to[n > 0 ? n : 0] = 0;
    }
    BIO_free(bio);
}

static void describe(struct tls *tls, plait_tls_info *ret)
{
    const unsigned char *alpn;
    unsigned length;
    copy(ret->version, sizeof ret->version, SSL_get_version(tls->ssl));
    copy(ret->cipher, sizeof ret->cipher, SSL_get_cipher_name(tls->ssl));
    copy(ret->server_name, sizeof ret->server_name,
         SSL_get_servername(tls->ssl, TLSEXT_NAMETYPE_host_name));
    SSL_get0_alpn_selected(tls->ssl, &alpn, &length);
    if (length > 0)
        memcpy(ret->alpn, alpn, length); /* at most 255 bytes */
    X509 *peer = SSL_get0_peer_certificate(tls->ssl);
    if (peer)
        describe_peer(peer, ret->peer, sizeof ret->peer);
    ret->verified = peer && SSL_get_verify_mode(tls->ssl) != SSL_VERIFY_NONE &&
                    SSL_get_verify_result(tls->ssl) == X509_V_OK;
}

int plait_tls_info_of(const plait_stream *stream, plait_tls_info *ret)
{
    if (!stream || !ret)
        return PLAIT_EINVAL;
    struct tls *tls = plait_transport_self(stream, &table);
    if (!tls)
        return PLAIT_ENOTSUP;
    int saved = errno;
    memset(ret, 0, sizeof *ret);
    lock(tls);
    bool established = tls->established;
    if (established)
        describe(tls, ret);
    ERR_clear_error();
    unlock(tls);
    errno = saved;
    return established ? 0 : PLAIT_ENOTCONN;
}
