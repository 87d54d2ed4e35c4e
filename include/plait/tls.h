/* TLS under a stream: encrypted, and sure of who is at the other end. A library of its own (-lplait_tls, pkg-config plait_tls) over OpenSSL.
 *
 *     plait_stream *s;
 *     char line[200], why[200];
 *     plait_tls_connect_options o = {.why = why, .why_size = sizeof why};
 *     int rc = plait_tls_connect(&s, "www.debian.org", "443", &o, plait_seconds(10));
 *     if (rc < 0)
 *         return fprintf(stderr, "%s\n", rc == PLAIT_ETLS ? why : plait_strerror(rc));
 *     plait_write(s, "HEAD / HTTP/1.0\r\n\r\n", 19, NULL, PLAIT_FOREVER);
 *     plait_read_line(s, line, sizeof line, NULL, plait_seconds(10));
 *     plait_stream_close(s);
 *
 * A server starts TLS in the function of plait_serve, so that a slow handshake holds up nobody else:
 *
 *     static int client(plait_stream *s, void *context)
 *     {
 *         if (plait_tls_start_server(s, context, plait_seconds(10)) < 0)
 *             return 0;
 *         ...                                                  // plait_read, plait_write
 *         return plait_write_eof(s);                           // the goodbye
 *     }
 *
 * All calls of stream.h work as before, in threads, processes and tasks, one reader beside one writer. What differs:
 *   - they may return PLAIT_ETLS, and then do so for ever; plait_tls_error says why. One such reason is that the connection
 *     ended without the goodbye (close_notify): what was received may be cut short. plait_read returns 0, and the
 *     others PLAIT_EEOF, only after a goodbye;
 *   - plait_write_eof says the goodbye, and waits as plait_write does; reading goes on. plait_stream_close says it
 *     only if the kernel takes it at once, plait_stream_abort never;
 *   - a write that times out may have taken up to 16 KiB of which not all has gone (they count as done): the rest goes with the
 *     next call that writes. plait_sendfile copies;
 *   - a child forked after TLS was started cannot use the stream (PLAIT_ECHILD); it closes it.
 *
 * Checked unless refused by name: the certificate's chain, its dates, and that it is for the host name or address that was asked for. TLS 1.2 or
 * newer, no renegotiation, no compression; sessions are not resumed. Revocation is not checked.
 * Fork: other threads may be anywhere in these calls; the fork waits until none of them computes. It does not wait for those that call OpenSSL by
 * themselves, whose locks a child could find taken for ever.
 * Death: as stream.h; the peer of a killed process sees PLAIT_ETLS, not the end.
 * Limits: a handshake needs some 16 KiB of stack, a connection some 60 KiB of memory. Tasks of the same thread stand still while a
 * handshake is computed, some milliseconds. Python's counterpart: ssl.SSLContext, asyncio's ssl= and start_tls. */
#ifndef PLAIT_TLS_H
#define PLAIT_TLS_H

#include <plait/stream.h>

PLAIT_BEGIN_DECLS

/* What connections have in common: whom to trust, and one's own certificate. Constant once made; any number of streams and
 * workers use it at once. */
typedef struct plait_tls_context plait_tls_context;

enum { PLAIT_TLS_1_2 = 12, PLAIT_TLS_1_3 = 13 };

/* All zero is the default, good for clients. */
typedef struct plait_tls_options {
    const char *ca_file; /* whom to trust: a file of certificates (PEM); ... */
    const char
        *ca_dir; /* ... a folder of them (openssl rehash). Both NULL: those the system trusts */
    const char *certificate_file; /* one's own, with the chain behind it (PEM). Servers need one */
    const char *key_file;         /* its key (PEM); NULL: in certificate_file */
    const char *key_password;     /* NULL: the key is not encrypted */
    const char *const
        *alpn;   /* names of protocols, the best first, then NULL. A server refuses clients that
                                   * offer none of them; clients that offer nothing are let in. NULL: none */
    int minimum; /* PLAIT_TLS_1_2, PLAIT_TLS_1_3; 0: PLAIT_TLS_1_2 */
    /* A server refuses clients without a certificate that ca_file or ca_dir vouches for; one of them must be given. */
    bool require_client_certificate;
    /* A client takes any certificate of any host: whoever sits on the way reads and writes with it. For tests. */
    bool dangerously_accept_any_certificate;
    char *why; /* where to say why it failed, in words; NULL: nowhere */
    size_t why_size;
} plait_tls_options;

/* Makes a context. `options` NULL: all defaults.
 * Returns: 0 with *ret set, else *ret is untouched: PLAIT_ENOENT, PLAIT_EACCES, ... (a file), PLAIT_ETLS (what is in it, or the key is not the
 *   certificate's), PLAIT_EINVAL (NULL, a bad minimum, a key without a certificate, no one to vouch for clients, an ALPN name of 0 or more than 255 bytes), PLAIT_EOVERFLOW (ALPN names of
 *   more than 255 bytes together), PLAIT_ENOMEM.
 * Blocks: while it reads files, for all tasks of the thread. Who: threads, processes, tasks; not signal handlers; after fork, yes.
 * Python: ssl.create_default_context, load_cert_chain, set_alpn_protocols. */
PLAIT_API int plait_tls_context_create(plait_tls_context **ret, const plait_tls_options *options);

/* Frees a context; streams that use it may live on. NULL does nothing. Returns: 0. Never blocks. Who: as above, once. */
PLAIT_API int plait_tls_context_free(plait_tls_context *context);

/* All zero is the default. */
typedef struct plait_tls_connect_options {
    plait_tls_context *context; /* NULL: one with all defaults, made at the first use */
    const char *server_name;    /* whose certificate it must be; NULL: host's */
    const plait_connect_options *connect;
    char *why; /* where to say why the handshake failed; NULL: nowhere */
    size_t why_size;
} plait_tls_connect_options;

/* Connects and starts TLS, within one timeout.
 * Returns: 0 with *ret set; as plait_connect; PLAIT_ETLS (the handshake failed); and as plait_tls_context_create for the default one.
 * Blocks: yes, cancellable. Who: threads, processes, tasks; not signal handlers; after fork, yes.
 * Python: asyncio.open_connection(host, port, ssl=True). */
PLAIT_API int plait_tls_connect(plait_stream **ret, const char *host, const char *port,
                                const plait_tls_connect_options *options, int64_t timeout);

/* Starts TLS on a connected stream, at once or after some talk in the clear ("STARTTLS"). The client says whom it expects: a host
 * name, or an address as text; NULL only with dangerously_accept_any_certificate. Bytes that the stream has received
 * and not given out are taken for TLS.
 * Requires: nobody else reads or writes meanwhile; no TLS before.
 * Returns: 0; PLAIT_ETLS (the peer speaks no TLS, its certificate is refused, it refused ours, it has gone: plait_tls_error),
 *   PLAIT_ETIMEDOUT, PLAIT_ECANCELED, and the rest as plait_read: with all these the stream can only be closed. Without having begun: PLAIT_EINVAL
 *   (NULL; a server without certificate), PLAIT_EBUSY (somebody reads or writes; TLS already), PLAIT_ENOTSUP (a pipe or terminal), PLAIT_ECLOSED, PLAIT_ECHILD, PLAIT_ENOMEM.
 * Blocks: yes, cancellable. Who: as plait_read. Python: loop.start_tls, StreamWriter.start_tls. */
PLAIT_API int plait_tls_start_client(plait_stream *stream, plait_tls_context *context,
                                     const char *server_name, int64_t timeout);
PLAIT_API int plait_tls_start_server(plait_stream *stream, plait_tls_context *context,
                                     int64_t timeout);

/* Says in words why a call on the stream has returned PLAIT_ETLS; "" if none has. Cut short if it does not fit.
 * Returns: 0, PLAIT_EINVAL (NULL, size 0), PLAIT_ENOTSUP (no TLS). Never blocks. Python: str(ssl.SSLError). */
PLAIT_API int plait_tls_error(const plait_stream *stream, char *text, size_t size);

/* What has been agreed; "" where there is none. Texts are cut short if they do not fit. */
typedef struct plait_tls_info {
    char version[16];      /* "TLSv1.3" */
    char cipher[64];       /* "TLS_AES_256_GCM_SHA384" */
    char alpn[256];        /* the protocol */
    char server_name[256]; /* what the client has asked for */
    char peer[256];        /* the subject of the peer's certificate, "CN=www.example.org" */
    bool verified;         /* the peer has a certificate, and it was checked */
} plait_tls_info;

/* Returns: 0; PLAIT_ENOTSUP (no TLS), PLAIT_ENOTCONN (its handshake has failed), PLAIT_EINVAL (NULL).
 * Never blocks. Who: anyone who may use the stream. Python: SSLObject.version, cipher, getpeercert, selected_alpn_protocol. */
PLAIT_API int plait_tls_info_of(const plait_stream *stream, plait_tls_info *ret);

PLAIT_END_DECLS
#endif
