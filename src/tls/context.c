/* Contexts: OpenSSL's, set up so that forgetting an option never means less safety.
 *
 * One context serves clients and servers; what differs between them is set for each connection (tls.c). */
#include "tls/tls.h"

#include "base/atomic.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- errors --- */

/* The first error is the reason, those after it say through which functions it went up. */
int pl_tls_say(char *why, size_t size, const char *what)
{
    unsigned long error = ERR_get_error();
    ERR_clear_error();
    if (ERR_SYSTEM_ERROR(error)) {
        int code = -(int)ERR_GET_REASON(error);
        snprintf(why, size, "%s: %s", what, plait_strerror(code));
        return code;
    }
    const char *reason = ERR_reason_error_string(error);
    snprintf(why, size, "%s: %s", what, reason ? reason : "OpenSSL does not say why");
    return ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE ? PLAIT_ENOMEM : PLAIT_ETLS;
}

/* --- options --- */

static int set_trust(SSL_CTX *ssl, const plait_tls_options *o)
{
    if (!o->ca_file && !o->ca_dir)
        return SSL_CTX_set_default_verify_paths(ssl) == 1
                   ? 0
                   : pl_tls_say(o->why, o->why_size, "the system's certificates");
    if (SSL_CTX_load_verify_locations(ssl, o->ca_file, o->ca_dir) != 1)
        return pl_tls_say(o->why, o->why_size, o->ca_file ? o->ca_file : o->ca_dir);
    if (o->require_client_certificate && o->ca_file)
        SSL_CTX_set_client_CA_list(ssl, SSL_load_client_CA_file(o->ca_file));
    return 0;
}

/* Never asks at the terminal, as OpenSSL does by itself. */
static int give_password(char *to, int size, int for_writing, void *password)
{
    (void)for_writing;
    size_t length = password ? strlen(password) : 0;
    if (length == 0 || length > (size_t)size)
        return -1;
    memcpy(to, password, length);
    return (int)length;
}

static int set_certificate(SSL_CTX *ssl, const plait_tls_options *o)
{
    const char *key = o->key_file ? o->key_file : o->certificate_file;
    if (!o->certificate_file)
        return o->key_file ? PLAIT_EINVAL : 0;
    SSL_CTX_set_default_passwd_cb(ssl, give_password);
    SSL_CTX_set_default_passwd_cb_userdata(ssl, (void *)(uintptr_t)o->key_password);
    int rc = 0;
    if (SSL_CTX_use_certificate_chain_file(ssl, o->certificate_file) != 1)
        rc = pl_tls_say(o->why, o->why_size, o->certificate_file);
    else if (SSL_CTX_use_PrivateKey_file(ssl, key, SSL_FILETYPE_PEM) != 1 ||
             SSL_CTX_check_private_key(ssl) != 1)
        rc = pl_tls_say(o->why, o->why_size, key);
    SSL_CTX_set_default_passwd_cb_userdata(ssl, NULL); /* it is the caller's */
    return rc;
}

/* The server's choice: its own best that the client knows, too. */
static int choose_alpn(SSL *ssl, const unsigned char **ret, unsigned char *length,
                       const unsigned char *offered, unsigned offered_length, void *arg)
{
    (void)ssl;
    const plait_tls_context *context = arg;
    unsigned char *chosen;
    int rc = SSL_select_next_proto(&chosen, length, context->alpn, context->alpn_length, offered,
                                   offered_length);
    *ret = chosen;
    return rc == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int set_alpn(plait_tls_context *context, const char *const *names)
{
    for (; names && *names; names++) {
        size_t length = strlen(*names);
        if (length == 0 || length > 255)
            return PLAIT_EINVAL;
        if (context->alpn_length + 1 + length > 255)
            return PLAIT_EOVERFLOW;
        context->alpn[context->alpn_length] = (unsigned char)length;
        memcpy(context->alpn + context->alpn_length + 1, *names, length);
        context->alpn_length += 1 + (unsigned)length;
    }
    if (context->alpn_length > 0) {
        SSL_CTX_set_alpn_select_cb(context->ssl, choose_alpn, context);
        if (SSL_CTX_set_alpn_protos(context->ssl, context->alpn, context->alpn_length) != 0)
            return PLAIT_ENOMEM;
    }
    return 0;
}

/* What holds for all. Sessions are not resumed: tickets would be sent at a time when nobody may be reading, and a connection closed
 * with unread bytes is reset, which can cost the peer what was written before. */
static int set_rules(SSL_CTX *ssl, int minimum)
{
    int version = minimum == PLAIT_TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    /* The chain is what the file says, and not what happens to be trusted here. */
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    if (SSL_CTX_set_num_tickets(ssl, 0) != 1 || SSL_CTX_set_min_proto_version(ssl, version) != 1)
        return PLAIT_ENOMEM;
    return 0;
}

static int set_up(plait_tls_context *context, const plait_tls_options *o)
{
    context->users = 1;
    context->accepts_any = o->dangerously_accept_any_certificate;
    context->requires_client = o->require_client_certificate;
    context->ssl = SSL_CTX_new(TLS_method());
    if (!context->ssl)
        return pl_tls_say(o->why, o->why_size, "OpenSSL");
    int rc = set_rules(context->ssl, o->minimum);
    rc = rc < 0 ? rc : set_trust(context->ssl, o);
    rc = rc < 0 ? rc : set_certificate(context->ssl, o);
    return rc < 0 ? rc : set_alpn(context, o->alpn);
}

static bool is_valid(const plait_tls_options *o)
{
    if (o->minimum != 0 && o->minimum != PLAIT_TLS_1_2 && o->minimum != PLAIT_TLS_1_3)
        return false;
    return !o->require_client_certificate || o->ca_file || o->ca_dir;
}

int plait_tls_context_create(plait_tls_context **ret, const plait_tls_options *options)
{
    char unheard[1];
    plait_tls_options o = options ? *options : (plait_tls_options){0};
    if (!o.why || o.why_size == 0) {
        o.why = unheard;
        o.why_size = sizeof unheard;
    }
    o.why[0] = 0;
    if (!ret || !is_valid(&o))
        return PLAIT_EINVAL;
    int saved = errno;
    plait_tls_context *context = calloc(1, sizeof *context);
    pl_tls_enter();
    ERR_clear_error();
    int rc = context ? set_up(context, &o) : PLAIT_ENOMEM;
    ERR_clear_error();
    pl_tls_leave();
    if (rc < 0)
        plait_tls_context_free(context);
    else
        *ret = context;
    errno = saved;
    return rc;
}

plait_tls_context *pl_tls_context_keep(plait_tls_context *context)
{
    pl_fetch_add_relaxed(&context->users, 1u);
    return context;
}

int plait_tls_context_free(plait_tls_context *context)
{
    /* R:tls.users, A:tls.users: all uses by the others come before the last one frees it. */
    if (!context || pl_fetch_add_acq_rel(&context->users, -1u) > 1)
        return 0;
    int saved = errno;
    pl_tls_enter();
    SSL_CTX_free(context->ssl);
    pl_tls_leave();
    free(context);
    errno = saved;
    return 0;
}
