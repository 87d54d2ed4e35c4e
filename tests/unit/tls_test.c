/* TLS: a test per promise of include/plait/tls.h and transport.h, and each misuse. The certificates are made here. */
#include "harness/harness.h"

#include "park/park.h"

#include <plait/tls.h>
#include <plait/transport.h>

#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MIB = 1 << 20 };
#define LONG plait_seconds(T_PATIENCE_S)

static const int kinds[] = {PLAIT_THREAD, PLAIT_PROCESS, PLAIT_TASK};
#define FOR_EACH_OF_3_KINDS(kind)                                                                  \
    for (int i_ = 0, kind = kinds[0]; i_ < 3; kind = kinds[++i_ < 3 ? i_ : 0])                     \
        if (kind != PLAIT_PROCESS || t_may_fork_beside_threads())

/* --- certificates --- */

static char folder[] = "/tmp/plait-tls-XXXXXX";

/* The path of a file of the test's; it stays. */
static const char *path_of(const char *name)
{
    static _Thread_local char paths[32][64];
    char path[64];
    int i = 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    while (i < 31 && paths[i][0] && strcmp(paths[i], path) != 0)
        i++;
    return memcpy(paths[i], path, sizeof path);
}

struct party {
    EVP_PKEY *key;
    X509 *certificate;
};

static void add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    CHECK(e);
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
}

/* A key and a certificate for it, valid from `from` to `to` (s from now), signed by `by` (NULL: by itself). */
static struct party new_party(const char *name, const char *alt_names, long from, long to,
                              const struct party *by)
{
    static long serial;
    struct party p = {.key = EVP_EC_gen("P-256"), .certificate = X509_new()};
    X509 *x = p.certificate;
    CHECK(p.key && x);
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(x), from);
    X509_gmtime_adj(X509_getm_notAfter(x), to);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(by ? by->certificate : x));
    X509_set_pubkey(x, p.key);
    add_extension(x, by ? by->certificate : x, NID_basic_constraints, by ? "CA:FALSE" : "CA:TRUE");
    if (alt_names)
        add_extension(x, by ? by->certificate : x, NID_subject_alt_name, alt_names);
    CHECK(X509_sign(x, by ? by->key : p.key, EVP_sha256()) > 0);
    return p;
}

/* Key and certificate in one file; the certificate alone in another. */
static void save(const struct party *p, const char *name)
{
    char alone[50];
    snprintf(alone, sizeof alone, "%s.crt", name);
    FILE *f = fopen(path_of(name), "w");
    CHECK(f && PEM_write_PrivateKey(f, p->key, NULL, NULL, 0, NULL, NULL));
    CHECK(PEM_write_X509(f, p->certificate));
    fclose(f);
    f = fopen(path_of(alone), "w");
    CHECK(f && PEM_write_X509(f, p->certificate));
    fclose(f);
}

static void forget(struct party *p)
{
    EVP_PKEY_free(p->key);
    X509_free(p->certificate);
}

static void make(const char *file, const char *name, const char *alt_names, long from, long to,
                 const struct party *by)
{
    struct party p = new_party(name, alt_names, from, to, by);
    save(&p, file);
    forget(&p);
}

enum { DAY = 24 * 3600 };

static int make_certificates(void **state)
{
    (void)state;
    const char *local = "DNS:localhost,DNS:*.plait.test,IP:127.0.0.1";
    CHECK(mkdtemp(folder));
    struct party ca = new_party("plait test CA", NULL, -DAY, DAY, NULL);
    save(&ca, "ca");
    make("server", "plait server", local, -DAY, DAY, &ca);
    make("client", "plait client", NULL, -DAY, DAY, &ca);
    make("expired", "plait server", local, -2 * DAY, -DAY, &ca);
    make("future", "plait server", local, DAY, 2 * DAY, &ca);
    make("other", "other", "DNS:other.test,IP:127.0.0.2", -DAY, DAY, &ca);
    make("self", "localhost", local, -DAY, DAY, NULL);
    struct party locked = new_party("locked", local, -DAY, DAY, &ca);
    save(&locked, "locked");
    FILE *f = fopen(path_of("locked.key"), "w");
    CHECK(f && PEM_write_PrivateKey(f, locked.key, EVP_aes_128_cbc(),
                                    (const unsigned char *)"sesame", 6, NULL, NULL));
    fclose(f);
    forget(&locked);
    forget(&ca);
    return 0;
}

static int remove_certificates(void **state)
{
    (void)state;
    const char *names[] = {"ca",         "server",      "client",     "expired",   "future",
                           "other",      "self",        "locked",     "ca.crt",    "server.crt",
                           "client.crt", "expired.crt", "future.crt", "other.crt", "self.crt",
                           "locked.crt", "locked.key"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unlink(path_of(names[i]));
    return rmdir(folder);
}

/* --- two ends --- */

static plait_tls_context *new_context(plait_tls_options options)
{
    plait_tls_context *context;
    CHECK_RC(plait_tls_context_create(&context, &options), 0);
    return context;
}

static plait_tls_context *client_context(void)
{
    return new_context((plait_tls_options){.ca_file = path_of("ca.crt")});
}

static plait_tls_context *server_context(const char *certificate)
{
    return new_context(
        (plait_tls_options){.ca_file = path_of("ca.crt"), /* quicker to read than the system's */
                            .certificate_file = path_of(certificate)});
}

enum way { UNIX, TCP, WAYS };

static void new_pair(enum way way, plait_stream **a, plait_stream **b)
{
    plait_listener *l;
    char port[16];
    if (way == UNIX) {
        CHECK_RC(plait_stream_pair(a, b), 0);
        return;
    }
    CHECK_RC(plait_listen(&l, "127.0.0.1", "0", NULL, LONG), 0);
    snprintf(port, sizeof port, "%d", plait_listener_port(l));
    CHECK_RC(plait_connect(a, "127.0.0.1", port, NULL, LONG), 0);
    CHECK_RC(plait_accept(l, b, LONG), 0);
    CHECK_RC(plait_listener_close(l), 0);
}

/* A worker of some kind at the far end, who serves. */
struct link {
    plait_stream *near, *far;
    int kind;
    plait_function *act; /* with the far end */
    plait_tls_context *client, *server;
    bool raw;      /* the far end speaks no TLS by itself */
    int server_rc; /* what its handshake is to return */
    plait_worker peer;
};

static int peer_main(void *arg)
{
    struct link *l = arg;
    if (l->kind == PLAIT_PROCESS)
        plait_stream_close(l->near);
    if (!l->raw)
        CHECK_RC(plait_tls_start_server(l->far, l->server, LONG), l->server_rc);
    int rc = l->act ? l->act(l->far) : 0;
    plait_stream_close(l->far);
    return rc;
}

static void start_peer(struct link *l, enum way way, int kind)
{
    l->kind = kind;
    new_pair(way, &l->near, &l->far);
    l->peer = t_start_one(kind, peer_main, l);
    if (kind == PLAIT_PROCESS)
        plait_stream_close(l->far);
}

static void link_to(struct link *l, enum way way, int kind, plait_function *act)
{
    *l = (struct link){.act = act, .client = client_context(), .server = server_context("server")};
    start_peer(l, way, kind);
    CHECK_RC(plait_tls_start_client(l->near, l->client, "localhost", LONG), 0);
}

static void free_contexts(struct link *l)
{
    plait_tls_context_free(l->client);
    plait_tls_context_free(l->server);
}

static void unlink_from(struct link *l)
{
    CHECK_RC(plait_stream_close(l->near), 0);
    CHECK_EQ(t_join_one(l->peer), 0);
    free_contexts(l);
}

#define FOR_EACH_LINK(l, act)                                                                      \
    FOR_EACH_OF_3_KINDS(kind_)                                                                     \
    for (struct link link_, *l = &link_; l;)                                                       \
        for (int way_ = 0; way_ < WAYS || (l = NULL); way_++)                                      \
            for (int once_ = (link_to(l, (enum way)way_, kind_, act), 1); once_;                   \
                 once_ = (unlink_from(l), 0))

static void put(plait_stream *s, const char *text)
{
    size_t done = 0;
    CHECK_RC(plait_write(s, text, strlen(text), &done, LONG), 0);
    CHECK_EQ(done, strlen(text));
}

static void check_error(const plait_stream *s, const char *part)
{
    char why[300];
    CHECK_RC(plait_tls_error(s, why, sizeof why), 0);
    if (!strstr(why, part))
        t_die(__FILE__, __LINE__, "'%s' does not say '%s'", why, part);
}

/* --- the calls of streams --- */

static int talk(void *s)
{
    char text[100];
    size_t got;
    CHECK_RC(plait_read_line(s, text, sizeof text, &got, LONG), 0);
    CHECK(strcmp(text, "hello\n") == 0);
    put(s, "one\ntwo--three");
    put(s, "four");
    CHECK_RC(plait_write_eof(s), 0);
    CHECK_RC(plait_write_eof(s), 0);
    CHECK_RC(plait_write(s, "x", 1, &got, LONG), PLAIT_EPIPE);
    CHECK_EQ(got, 0);
    /* Half closed: it still reads. */
    CHECK_RC(plait_read_line(s, text, sizeof text, &got, LONG), 0);
    CHECK(strcmp(text, "late\n") == 0);
    CHECK_EQ(plait_read(s, text, 1, LONG), 0);
    return 0;
}

static void all_calls_work_as_without(void **state)
{
    (void)state;
    FOR_EACH_LINK(l, talk)
    {
        char text[100];
        size_t got;
        errno = EXDEV;
        CHECK_RC((int)plait_read(l->near, text, 1, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
        CHECK_RC((int)plait_read(l->near, text, 1, plait_ms(2)), PLAIT_ETIMEDOUT);
        put(l->near, "hello\n");
        CHECK_RC(plait_read_line(l->near, text, sizeof text, &got, LONG), 0);
        CHECK(strcmp(text, "one\n") == 0);
        CHECK_RC(plait_read_until(l->near, text, sizeof text, "--", 2, &got, LONG), 0);
        CHECK(got == 5 && memcmp(text, "two--", 5) == 0);
        CHECK_RC(plait_read_exactly(l->near, text, 3, &got, LONG), 0);
        CHECK(memcmp(text, "thr", 3) == 0);
        CHECK_RC(plait_read_all(l->near, text, sizeof text, &got, LONG), 0);
        CHECK(got == 6 && memcmp(text, "eefour", 6) == 0);
        CHECK_EQ(plait_stream_at_eof(l->near), 1);
        CHECK_EQ(plait_read(l->near, text, 1, LONG), 0);
        CHECK_RC(plait_read_exactly(l->near, text, 1, &got, LONG), PLAIT_EEOF);
        put(l->near, "late\n");
        CHECK_RC(plait_write_eof(l->near), 0);
        check_error(l->near, "");
        CHECK_EQ(errno, EXDEV);
    }
}

static int send_and_check(void *s)
{
    unsigned char *bytes = malloc(MIB);
    size_t n;
    for (int i = 0; i < MIB; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 251);
    CHECK_RC(plait_write(s, bytes, MIB, &n, LONG), 0);
    CHECK_EQ(n, MIB);
    CHECK_RC(plait_write_eof(s), 0);
    free(bytes);
    return 0;
}

static int read_and_check(void *s)
{
    unsigned char *bytes = malloc(MIB);
    size_t n;
    CHECK_RC(plait_read_exactly(s, bytes, MIB, &n, LONG), 0);
    for (int i = 0; i < MIB; i++)
        CHECK_EQ(bytes[i], (unsigned char)(i * 7 + i / 251));
    CHECK_EQ(plait_read(s, bytes, 1, LONG), 0);
    free(bytes);
    return 0;
}

static int both_ways(void *s)
{
    plait_worker writer;
    int kind = pl_self.task ? PLAIT_TASK : PLAIT_THREAD;
    CHECK_RC(plait_start(&writer, kind, send_and_check, s, NULL), 0);
    read_and_check(s);
    CHECK_RC(plait_join(writer, NULL, LONG), 0);
    return 0;
}

static void one_reads_while_another_writes(void **state)
{
    (void)state;
    FOR_EACH_LINK(l, both_ways)
    {
        both_ways(l->near);
    }
}

static int check_parts(void *s)
{
    char text[2000], expected[2000] = "";
    size_t got, n = 0;
    for (int i = 0; i < 40; i++)
        for (int k = 0; k < (i % 5 == 0 ? 0 : i % 26); k++)
            expected[n++] = (char)('a' + k);
    CHECK_RC(plait_read_all(s, text, sizeof text, &got, LONG), 0);
    CHECK_EQ(got, n);
    CHECK_EQ(memcmp(text, expected, n), 0);
    return 0;
}

static void parts_are_written_in_order(void **state)
{
    (void)state;
    FOR_EACH_LINK(l, check_parts)
    {
        struct iovec parts[40];
        for (int i = 0; i < 40; i++) {
            parts[i].iov_base = (void *)(uintptr_t) "abcdefghijklmnopqrstuvwxyz";
            parts[i].iov_len = (size_t)(i % 5 == 0 ? 0 : i % 26);
        }
        CHECK_RC(plait_writev(l->near, parts, 40, NULL, LONG), 0);
        CHECK_RC(plait_writev(l->near, parts, 0, NULL, LONG), 0);
        CHECK_RC(plait_write_eof(l->near), 0);
    }
}

static void sendfile_sends_a_file(void **state)
{
    (void)state;
    FOR_EACH_LINK(l, read_and_check)
    {
        char path[] = "/tmp/plait-test-XXXXXX";
        int fd = mkstemp(path);
        unsigned char *bytes = malloc(MIB + 5);
        uint64_t done;
        for (int i = 0; i < MIB; i++)
            bytes[i + 5] = (unsigned char)(i * 7 + i / 251);
        CHECK_EQ(write(fd, bytes, MIB + 5), MIB + 5);
        unlink(path);
        CHECK_RC(plait_sendfile(l->near, fd, 5, 0, &done, LONG), 0);
        CHECK_EQ(done, MIB);
        CHECK_RC(plait_write_eof(l->near), 0);
        close(fd);
        free(bytes);
    }
}

static int read_some(void *s, int64_t timeout)
{
    char c;
    return (int)plait_read(s, &c, 1, timeout);
}

static int write_much(void *s, int64_t timeout)
{
    static const char zeros[32 * MIB];
    return plait_write(s, zeros, sizeof zeros, NULL, timeout);
}

static int wait_for_the_end(void *s)
{
    char c;
    ssize_t n;
    while ((n = plait_read(s, &c, 1, LONG)) > 0)
        ;
    CHECK_EQ(n, 0);
    return 0;
}

static void a_second_reader_or_writer_is_refused(void **state)
{
    (void)state;
    FOR_EACH_LINK(l, wait_for_the_end)
    {
        struct t_waiter w = {.call = read_some, .object = l->near, .timeout = PLAIT_FOREVER};
        plait_worker reader = t_start_one(PLAIT_THREAD, t_wait_once, &w);
        UNTIL_WAITS(reader, PL_WAIT_FD);
        CHECK_RC(read_some(l->near, LONG), PLAIT_EBUSY);
        CHECK_RC(plait_cancel(reader), 0);
        CHECK_EQ(t_join_one(reader), 0);
        CHECK_RC(w.rc, PLAIT_ECANCELED);
        CHECK_RC(plait_tls_start_client(l->near, l->client, "localhost", LONG), PLAIT_EBUSY);
        CHECK_RC(plait_tls_start_server(l->near, l->server, LONG), PLAIT_EBUSY);
    }
}

/* --- who the peer is --- */

/* A handshake of each side's; what both return is to be `rc` and `server_rc`, and the client's reason to say `why`. */
static void meet(const plait_tls_options *client, const plait_tls_options *server, const char *name,
                 int rc, int server_rc, const char *why, plait_tls_info *info)
{
    FOR_EACH_OF_3_KINDS(kind)
    {
        struct link l = {.server_rc = server_rc};
        l.client = new_context(*client);
        l.server = new_context(*server);
        start_peer(&l, TCP, kind);
        errno = EXDEV;
        CHECK_RC(plait_tls_start_client(l.near, l.client, name, LONG), rc);
        CHECK_EQ(errno, EXDEV);
        check_error(l.near, why);
        if (info)
            CHECK_RC(plait_tls_info_of(l.near, info), rc < 0 ? PLAIT_ENOTCONN : 0);
        if (rc < 0) {
            char c;
            CHECK_RC((int)plait_read(l.near, &c, 1, LONG), PLAIT_ETLS);
            CHECK_RC(plait_write(l.near, &c, 1, NULL, LONG), PLAIT_ETLS);
            CHECK_RC(plait_write_eof(l.near), PLAIT_ETLS);
        }
        plait_stream_close(l.near);
        CHECK_EQ(t_join_one(l.peer), 0);
        free_contexts(&l);
    }
}

static void certificates_that_cannot_be_trusted_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *certificate, *name, *why;
    } cases[] = {
        {"expired", "localhost", "certificate has expired"},
        {"future", "localhost", "not yet valid"},
        {"self", "localhost", "self-signed"},
        {"other", "localhost", "hostname mismatch"},
        {"other", "127.0.0.1", "IP address mismatch"},
        {"server", "a.b.plait.test", "hostname mismatch"},
        {"server", "plait server", "hostname mismatch"}, /* the common name does not count */
    };
    plait_tls_options client = {.ca_file = path_of("ca.crt")};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        plait_tls_options server = {.ca_file = path_of("ca.crt"),
                                    .certificate_file = path_of(cases[i].certificate)};
        meet(&client, &server, cases[i].name, PLAIT_ETLS, PLAIT_ETLS, cases[i].why, NULL);
    }
    plait_tls_options system = {0}; /* who does not know this test's authority */
    plait_tls_options server = {.ca_file = path_of("ca.crt"),
                                .certificate_file = path_of("server")};
    meet(&system, &server, "localhost", PLAIT_ETLS, PLAIT_ETLS, "unable to get local issuer", NULL);
}

static void names_and_addresses_of_the_certificate_are_accepted(void **state)
{
    (void)state;
    const char *names[] = {"localhost", "127.0.0.1", "www.plait.test"};
    plait_tls_options client = {.ca_file = path_of("ca.crt")};
    plait_tls_options server = {.ca_file = path_of("ca.crt"),
                                .certificate_file = path_of("server")};
    for (int i = 0; i < 3; i++) {
        plait_tls_info info;
        meet(&client, &server, names[i], 0, 0, "", &info);
        CHECK(strcmp(info.version, "TLSv1.3") == 0);
        CHECK(strncmp(info.cipher, "TLS_", 4) == 0);
        CHECK(strcmp(info.peer, "CN=plait server") == 0);
        CHECK(strcmp(info.alpn, "") == 0);
        CHECK(strcmp(info.server_name, i == 1 ? "" : names[i]) == 0);
        CHECK(info.verified);
    }
}

static void only_by_name_anyone_is_accepted(void **state)
{
    (void)state;
    plait_tls_info info;
    plait_tls_options client = {.dangerously_accept_any_certificate = true};
    plait_tls_options server = {.ca_file = path_of("ca.crt"), .certificate_file = path_of("self")};
    meet(&client, &server, NULL, 0, 0, "", &info);
    CHECK(!info.verified);
    meet(&client, &server, "example.org", 0, 0, "", &info);
    CHECK(!info.verified);
    CHECK(strcmp(info.server_name, "example.org") == 0);
}

static int expect_client(void *s)
{
    plait_tls_info info;
    CHECK_RC(plait_tls_info_of(s, &info), 0);
    CHECK(strcmp(info.peer, "CN=plait client") == 0);
    CHECK(info.verified);
    put(s, "ok");
    return wait_for_the_end(s);
}

static void clients_can_be_asked_for_certificates(void **state)
{
    (void)state;
    FOR_EACH_OF_3_KINDS(kind)
    for (int i = 0; i < 3; i++) {
        static const char *const certificates[] = {"client", "self", NULL};
        struct link l = {.server_rc = i == 0 ? 0 : PLAIT_ETLS,
                         .act = i == 0 ? expect_client : NULL};
        l.client = new_context((plait_tls_options){
            .ca_file = path_of("ca.crt"),
            .certificate_file = certificates[i] ? path_of(certificates[i]) : NULL});
        l.server = new_context((plait_tls_options){.ca_file = path_of("ca.crt"),
                                                   .certificate_file = path_of("server"),
                                                   .require_client_certificate = true});
        start_peer(&l, TCP, kind);
        char text[3];
        /* In TLS 1.3 the client is done before the server looks at its certificate. */
        CHECK_RC(plait_tls_start_client(l.near, l.client, "localhost", LONG), 0);
        int rc = plait_read_exactly(l.near, text, 2, NULL, LONG);
        CHECK_RC(rc, i == 0 ? 0 : PLAIT_ETLS);
        if (i == 1)
            check_error(l.near, "unknown ca");
        if (i == 2)
            check_error(l.near, "certificate required");
        plait_stream_close(l.near);
        CHECK_EQ(t_join_one(l.peer), 0);
        free_contexts(&l);
    }
}

static void a_protocol_is_agreed_upon(void **state)
{
    (void)state;
    plait_tls_info info;
    const char *const ours[] = {"h2", "http/1.1", NULL}, *const theirs[] = {"http/1.1", "h2", NULL},
                      *const strange[] = {"gopher", NULL};
    plait_tls_options client = {.ca_file = path_of("ca.crt"), .alpn = ours};
    plait_tls_options server = {
        .ca_file = path_of("ca.crt"), .certificate_file = path_of("server"), .alpn = theirs};
    meet(&client, &server, "localhost", 0, 0, "", &info);
    CHECK(strcmp(info.alpn, "http/1.1") == 0); /* the server's best */
    client.alpn = NULL;
    meet(&client, &server, "localhost", 0, 0, "", &info);
    CHECK(strcmp(info.alpn, "") == 0);
    client.alpn = strange;
    meet(&client, &server, "localhost", PLAIT_ETLS, PLAIT_ETLS, "no application protocol", NULL);
}

/* A client of 2006, by OpenSSL alone. */
static int speak_tls_1_1(void *stream)
{
    int fd = plait_stream_fd(stream);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    SSL_CTX *c = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_security_level(c, 0);
    CHECK(SSL_CTX_set_min_proto_version(c, TLS1_VERSION) == 1);
    CHECK(SSL_CTX_set_max_proto_version(c, TLS1_1_VERSION) == 1);
    SSL *ssl = SSL_new(c);
    SSL_set_fd(ssl, fd);
    CHECK(SSL_connect(ssl) != 1);
    SSL_free(ssl);
    SSL_CTX_free(c);
    return 0;
}

static void old_versions_are_refused(void **state)
{
    (void)state;
    struct link l = {.server = server_context("server"), .act = speak_tls_1_1, .raw = true};
    start_peer(&l, TCP, PLAIT_THREAD);
    CHECK_RC(plait_tls_start_server(l.near, l.server, LONG), PLAIT_ETLS);
    check_error(l.near, "unsupported protocol");
    plait_stream_close(l.near);
    CHECK_EQ(t_join_one(l.peer), 0);
    plait_tls_context_free(l.server);
    plait_tls_info info;
    plait_tls_options client = {.ca_file = path_of("ca.crt"), .minimum = PLAIT_TLS_1_3};
    plait_tls_options server = {.ca_file = path_of("ca.crt"),
                                .certificate_file = path_of("server")};
    meet(&client, &server, "localhost", 0, 0, "", &info);
    CHECK(strcmp(info.version, "TLSv1.3") == 0);
}

/* --- peers that are none --- */

static int say_plain_text(void *s)
{
    char byte;
    put(s, "220 mail.example.org ready\r\n");
    while (plait_read(s, &byte, 1, LONG) > 0)
        ;
    return 0;
}

static int say_garbage(void *s)
{
    char bytes[1000], byte;
    memset(bytes, 0xa5, sizeof bytes);
    memcpy(bytes, "\x16\x03\x03\x00\x50", 5); /* a record of the right kind */
    plait_write(s, bytes, sizeof bytes, NULL, LONG);
    while (plait_read(s, &byte, 1, LONG) > 0)
        ;
    return 0;
}

static int vanish(void *s)
{
    char byte;
    CHECK_EQ(plait_read(s, &byte, 1, LONG), 1);
    return 0;
}

static int vanish_after_reading(void *s)
{
    char bytes[5];
    CHECK_RC(plait_read_exactly(s, bytes, 5, NULL, LONG), 0);
    size_t n = (size_t)((unsigned char)bytes[3] << 8 | (unsigned char)bytes[4]);
    char *rest = malloc(n);
    CHECK_RC(plait_read_exactly(s, rest, n, NULL, LONG), 0);
    free(rest);
    return 0;
}

static void a_peer_without_tls_is_told_as_such(void **state)
{
    (void)state;
    static const struct {
        plait_function *act;
        const char *why;
    } cases[] = {
        {say_plain_text, "does not speak TLS"},
        {say_garbage, "TLS: "},
        {vanish, "the peer "},
        {vanish_after_reading, "ended the connection during the handshake"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        FOR_EACH_OF_3_KINDS(kind)
    for (int as_server = 0; as_server < 2; as_server++) {
        struct link l = {.act = cases[i].act, .raw = true};
        l.client = client_context();
        l.server = server_context("server");
        if (as_server && (cases[i].act == vanish || cases[i].act == vanish_after_reading))
            l.act = NULL; /* a server waits for the first word */
        start_peer(&l, TCP, kind);
        CHECK_RC(as_server ? plait_tls_start_server(l.near, l.server, LONG)
                           : plait_tls_start_client(l.near, l.client, "localhost", LONG),
                 PLAIT_ETLS);
        check_error(l.near, as_server && !l.act ? "the peer " : cases[i].why);
        plait_stream_close(l.near);
        CHECK_EQ(t_join_one(l.peer), 0);
        free_contexts(&l);
    }
}

/* --- the end --- */

static int end_without_goodbye(void *s)
{
    put(s, "half of it");
    CHECK_EQ(shutdown(plait_stream_fd(s), SHUT_WR), 0);
    char c;
    plait_read(s, &c, 1, LONG);
    return 0;
}

static void a_cut_connection_is_not_the_end(void **state)
{
    (void)state;
    FOR_EACH_LINK(l, end_without_goodbye)
    {
        char text[100];
        size_t got;
        CHECK_RC(plait_read_all(l->near, text, sizeof text, &got, LONG), PLAIT_ETLS);
        CHECK_EQ(got, 10);
        check_error(l->near, "without a goodbye");
        CHECK_EQ(plait_stream_at_eof(l->near), 0);
        CHECK_RC((int)plait_read(l->near, text, 1, LONG), PLAIT_ETLS);
        CHECK_RC(plait_write(l->near, text, 1, NULL, LONG), PLAIT_ETLS);
    }
}

static int say_garbage_later(void *s)
{
    put(s, "good");
    CHECK_EQ(
        send(plait_stream_fd(s), "\x17\x03\x03\x00\x20 not what was agreed upon at all", 37, 0),
        37);
    char c;
    plait_read(s, &c, 1, LONG);
    return 0;
}

static void bytes_that_were_changed_are_refused(void **state)
{
    (void)state;
    FOR_EACH_LINK(l, say_garbage_later)
    {
        char text[100];
        CHECK_RC(plait_read_exactly(l->near, text, 4, NULL, LONG), 0);
        CHECK_RC((int)plait_read(l->near, text, 1, LONG), PLAIT_ETLS);
        check_error(l->near, "bad record mac");
    }
}

static int close_at_once(void *s)
{
    put(s, "bye");
    return 0;
}

static void closing_says_goodbye(void **state)
{
    (void)state;
    FOR_EACH_LINK(l, close_at_once)
    {
        char text[10];
        size_t got;
        CHECK_RC(plait_read_all(l->near, text, sizeof text, &got, LONG), 0);
        CHECK_EQ(got, 3);
    }
}

static int write_to_who_has_gone(void *s)
{
    static char zeros[64 * 1024];
    int rc = 0;
    for (int i = 0; rc == 0 && i < 1000; i++)
        rc = plait_write(s, zeros, sizeof zeros, NULL, LONG);
    CHECK(rc == PLAIT_EPIPE || rc == PLAIT_ECONNRESET);
    return 0;
}

static void writing_to_who_has_gone_is_a_code_and_no_signal(void **state)
{
    (void)state;
    FOR_EACH_LINK(l, write_to_who_has_gone)
    {
        char c;
        CHECK_EQ(plait_read(l->near, &c, 1, LONG), 1);
    }
}

static int sleep_until_killed(void *s)
{
    put(s, "x");
    t_sleep_for_ever();
}

static void a_killed_peer_is_not_the_end(void **state)
{
    (void)state;
    struct link l;
    char c;
    link_to(&l, TCP, PLAIT_PROCESS, sleep_until_killed);
    CHECK_EQ(plait_read(l.near, &c, 1, LONG), 1);
    t_kill(l.peer);
    CHECK_RC((int)plait_read(l.near, &c, 1, LONG), PLAIT_ETLS);
    plait_stream_close(l.near);
    free_contexts(&l);
}

/* --- time and requests to stop --- */

/* Both ends in this worker; a thread has made the handshake at the far one. */
static int serve_handshake(void *arg)
{
    struct link *l = arg;
    return plait_tls_start_server(l->far, l->server, LONG);
}

static void new_tls_pair(enum way way, plait_stream **near, plait_stream **far)
{
    struct link l = {.client = client_context(), .server = server_context("server")};
    new_pair(way, near, far);
    l.far = *far;
    plait_worker other = t_start_one(PLAIT_THREAD, serve_handshake, &l);
    CHECK_RC(plait_tls_start_client(*near, l.client, "localhost", LONG), 0);
    CHECK_EQ(t_join_one(other), 0);
    free_contexts(&l); /* the streams keep them */
}

static void aborting_says_no_goodbye(void **state)
{
    (void)state;
    plait_stream *a, *b;
    char c;
    new_tls_pair(UNIX, &a, &b);
    plait_stream_abort(a);
    CHECK_RC((int)plait_read(b, &c, 1, LONG), PLAIT_ETLS);
    plait_stream_close(b);
}

/* A handshake with a peer that keeps silent, on a new connection each time: the rest of it is good for nothing. */
static int shake_hands(void *context, int64_t timeout)
{
    plait_stream *a, *b;
    new_pair(UNIX, &a, &b);
    int rc = plait_tls_start_client(a, context, "localhost", timeout);
    if (rc == PLAIT_ETIMEDOUT || rc == PLAIT_ECANCELED)
        check_error(a, "given up");
    plait_stream_close(a);
    plait_stream_close(b);
    return rc;
}

static int connect_and_wait(void *listener, int64_t timeout)
{
    char port[16];
    plait_stream *s = NULL;
    snprintf(port, sizeof port, "%d", plait_listener_port(listener));
    int rc = plait_tls_connect(&s, "127.0.0.1", port, NULL, timeout);
    CHECK(!s);
    return rc;
}

static void check_call(const struct t_setting *s, t_wait *call, void *object)
{
    t_check_bad_timeouts(call, object);
    t_check_time(call, object);
    t_check_signals(call, object);
    t_check_cancel(s, call, object);
    t_check_cancel_pending(s, call, object);
    t_check_cancel_counts(s, call, object);
    t_check_uncancel(s, call, object);
}

static void each_call_can_time_out_and_be_cancelled(void **state)
{
    (void)state;
    const struct t_setting *settings[] = {&t_private_threads, &t_threads};
    for (int i = 0; i < 2; i++) {
        plait_stream *a, *b;
        plait_listener *l;
        new_tls_pair(TCP, &a, &b);
        check_call(settings[i], read_some, a);
        while (write_much(a, 0) == 0)
            ;
        check_call(settings[i], write_much, a);
        plait_stream_close(a);
        plait_stream_close(b);
        plait_tls_context *c = client_context();
        check_call(settings[i], shake_hands, c);
        plait_tls_context_free(c);
        CHECK_RC(plait_listen(&l, "127.0.0.1", "0", NULL, LONG), 0);
        check_call(settings[i], connect_and_wait, l);
        plait_listener_close(l);
    }
}

static int task_calls(void *waiter)
{
    return t_wait_once(waiter);
}

static void a_waiting_task_can_be_cancelled_and_time_out(void **state)
{
    (void)state;
    plait_stream *a, *b;
    plait_tls_context *c = client_context();
    new_tls_pair(TCP, &a, &b);
    struct t_waiter waiters[] = {
        {.call = read_some, .object = a, .timeout = PLAIT_FOREVER},
        {.call = write_much, .object = a, .timeout = PLAIT_FOREVER},
        {.call = shake_hands, .object = c, .timeout = PLAIT_FOREVER},
    };
    for (int i = 0; i < 3; i++) {
        plait_worker w = t_start_one(PLAIT_TASK, task_calls, &waiters[i]);
        for (int k = 0; k < 5; k++)
            CHECK_RC(plait_sleep(plait_ms(1)), 0);
        UNTIL(SEEN(waiters[i].step) == 1);
        CHECK_RC(plait_cancel(w), 0);
        CHECK_EQ(t_join_one(w), 0);
        CHECK_RC(waiters[i].rc, PLAIT_ECANCELED);
        waiters[i].timeout = plait_ms(5);
        CHECK_EQ(t_join_one(t_start_one(PLAIT_TASK, task_calls, &waiters[i])), 0);
        CHECK_RC(waiters[i].rc, PLAIT_ETIMEDOUT);
    }
    plait_stream_close(a);
    plait_stream_close(b);
    plait_tls_context_free(c);
}

/* What a write that timed out says has gone does arrive, by what is written next, and nothing twice. */
static void a_write_that_timed_out_can_be_continued(void **state)
{
    (void)state;
    enum { SIZE = 8 * MIB };
    plait_stream *a, *b;
    unsigned char *bytes = malloc(SIZE), *got = malloc(SIZE);
    size_t written = 0, have = 0;
    int timeouts = 0;
    new_tls_pair(TCP, &a, &b);
    for (int i = 0; i < SIZE; i++)
        bytes[i] = (unsigned char)(i * 11 + i / 977);
    while (written < SIZE) {
        size_t done;
        int rc = plait_write(a, bytes + written, SIZE - written, &done, PLAIT_NOWAIT);
        CHECK(rc == 0 ? written + done == SIZE : rc == PLAIT_ETIMEDOUT);
        written += done;
        timeouts += rc < 0;
        ssize_t n = plait_read(b, got + have, SIZE - have, PLAIT_NOWAIT);
        CHECK(n > 0 || n == PLAIT_ETIMEDOUT);
        have += n > 0 ? (size_t)n : 0;
    }
    CHECK(timeouts > 0);
    CHECK_RC(plait_read_exactly(b, got + have, SIZE - have, NULL, LONG), 0);
    CHECK_EQ(memcmp(bytes, got, SIZE), 0);
    plait_stream_close(a);
    plait_stream_close(b);
    free(bytes);
    free(got);
}

/* Nothing is stored up for a peer that does not read. */
static void a_write_takes_nothing_before_the_last_one_has_gone(void **state)
{
    (void)state;
    plait_stream *a, *b;
    size_t done = 0;
    char bytes[MIB / 64] = "";
    new_tls_pair(UNIX, &a, &b);
    while (write_much(a, PLAIT_NOWAIT) == 0)
        ;
    for (int i = 0; i < 3; i++) {
        CHECK_RC(plait_write(a, bytes, sizeof bytes, &done, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
        CHECK_EQ(done, 0);
    }
    plait_stream_close(a);
    plait_stream_close(b);
}

static void closing_ends_the_waits_in_it(void **state)
{
    (void)state;
    t_wait *const calls[] = {read_some, write_much};
    for (int i = 0; i < 2; i++) {
        plait_stream *a, *b;
        new_tls_pair(TCP, &a, &b);
        struct t_waiter w = {.call = calls[i], .object = a, .timeout = PLAIT_FOREVER};
        plait_worker waiter = t_start_one(PLAIT_THREAD, t_wait_once, &w);
        UNTIL_WAITS(waiter, PL_WAIT_FD);
        CHECK_RC(plait_stream_close(a), 0);
        CHECK_EQ(t_join_one(waiter), 0);
        CHECK_RC(w.rc, PLAIT_ECLOSED);
        plait_stream_close(b);
    }
}

static int use_in_child(void *s)
{
    char c;
    CHECK_RC((int)plait_read(s, &c, 1, PLAIT_NOWAIT), PLAIT_ECHILD);
    CHECK_RC(plait_write(s, "x", 1, NULL, PLAIT_NOWAIT), PLAIT_ECHILD);
    CHECK_RC(plait_write_eof(s), PLAIT_ECHILD);
    CHECK_RC(plait_stream_close(s), 0);
    return 0;
}

static void a_forked_child_can_only_close_it(void **state)
{
    (void)state;
    plait_stream *a, *b;
    char c;
    new_tls_pair(TCP, &a, &b);
    CHECK_EQ(t_in_fork(use_in_child, a), 0);
    put(a, "y"); /* the connection is as it was */
    CHECK_EQ(plait_read(b, &c, 1, LONG), 1);
    CHECK_EQ(c, 'y');
    plait_stream_close(a);
    plait_stream_close(b);
}

static int make_context(void *unused)
{
    (void)unused;
    plait_tls_context_free(client_context());
    return 0;
}

/* A handshake that is given up after the first step, which asks for random numbers. */
static int shake_hands_once(void *unused)
{
    (void)unused;
    plait_tls_context *c = client_context();
    for (int i = 0; i < 10; i++)
        CHECK_RC(shake_hands(c, PLAIT_NOWAIT), PLAIT_ETIMEDOUT);
    plait_tls_context_free(c);
    return 0;
}

static int make_contexts(void *stop)
{
    while (!SEEN(*(int *)stop)) /* each new thread makes OpenSSL take locks */
        CHECK_EQ(t_join_one(t_start_one(PLAIT_THREAD, shake_hands_once, NULL)), 0);
    return 0;
}

/* OpenSSL has locks for the whole process, which the child would find taken by who is not there. */
static void a_child_forked_while_others_compute_does_not_hang(void **state)
{
    (void)state;
    if (!t_may_fork_beside_threads())
        skip();
    int stop = 0;
    plait_worker others[3];
    for (int i = 0; i < 3; i++)
        others[i] = t_start_one(PLAIT_THREAD, make_contexts, &stop);
    for (int i = 0; i < 50; i++)
        CHECK_EQ(t_join_one(t_start_one(PLAIT_PROCESS, make_context, NULL)), 0);
    TELL(stop, 1);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(t_join_one(others[i]), 0);
}

/* --- starting in the middle --- */

static int starttls_server(void *arg)
{
    struct link *l = arg;
    char text[100];
    CHECK_RC(plait_read_line(l->far, text, sizeof text, NULL, LONG), 0);
    CHECK(strcmp(text, "STARTTLS\n") == 0);
    put(l->far, "go ahead\n");
    int rc = plait_tls_start_server(l->far, l->server, LONG);
    CHECK_RC(rc, l->server_rc);
    if (rc < 0) { /* nothing of what came too early is ever read */
        CHECK_RC((int)plait_read(l->far, text, 1, LONG), PLAIT_ETLS);
        CHECK_EQ(shutdown(plait_stream_fd(l->far), SHUT_RDWR), 0);
        return 0;
    }
    CHECK_RC(plait_read_line(l->far, text, sizeof text, NULL, LONG), 0);
    CHECK(strcmp(text, "secret\n") == 0);
    return 0;
}

static void starting_tls_after_plain_talk(void **state)
{
    (void)state;
    FOR_EACH_OF_3_KINDS(kind)
    for (int injected = 0; injected < 2; injected++) {
        char text[100];
        struct link l = {.client = client_context(), .server = server_context("server")};
        l.server_rc = injected ? PLAIT_ETLS : 0;
        new_pair(TCP, &l.near, &l.far);
        plait_worker server = t_start_one(kind, starttls_server, &l);
        put(l.near, injected ? "STARTTLS\nsecret\n" : "STARTTLS\n");
        CHECK_RC(plait_read_line(l.near, text, sizeof text, NULL, LONG), 0);
        int rc = plait_tls_start_client(l.near, l.client, "localhost", LONG);
        CHECK_RC(rc, injected ? PLAIT_ETLS : 0);
        if (rc == 0)
            put(l.near, "secret\n");
        CHECK_EQ(t_join_one(server), 0);
        plait_stream_close(l.near);
        plait_stream_close(l.far);
        free_contexts(&l);
    }
}

/* The server has looked at the first bytes already, which are the handshake's. */
static int peek_server(void *arg)
{
    struct link *l = arg;
    char text[20000];
    CHECK_RC(plait_read_until(l->far, text, sizeof text, "no such words", 13, NULL, plait_ms(20)),
             PLAIT_ETIMEDOUT);
    CHECK_RC(plait_tls_start_server(l->far, l->server, LONG), 0);
    CHECK_RC(plait_read_line(l->far, text, sizeof text, NULL, LONG), 0);
    return strcmp(text, "secret\n");
}

static void what_was_received_before_is_taken_for_tls(void **state)
{
    (void)state;
    struct link l = {.client = client_context(), .server = server_context("server")};
    new_pair(TCP, &l.near, &l.far);
    plait_worker server = t_start_one(PLAIT_THREAD, peek_server, &l);
    CHECK_RC(plait_tls_start_client(l.near, l.client, "localhost", LONG), 0);
    put(l.near, "secret\n");
    CHECK_EQ(t_join_one(server), 0);
    plait_stream_close(l.near);
    plait_stream_close(l.far);
    free_contexts(&l);
}

/* --- connecting and serving --- */

struct service {
    plait_listener *listener;
    plait_tls_context *context;
    int kind;
};

static int echo_line(plait_stream *s, void *context)
{
    char line[100];
    size_t n;
    if (plait_tls_start_server(s, context, LONG) < 0)
        return 0;
    if (plait_read_line(s, line, sizeof line, &n, LONG) == 0)
        plait_write(s, line, n, NULL, LONG);
    return plait_write_eof(s);
}

static int serve(void *arg)
{
    struct service *v = arg;
    plait_serve_options options = {.kind = v->kind};
    CHECK_RC(plait_serve(v->listener, echo_line, v->context, &options), PLAIT_ECLOSED);
    return 0;
}

static int ask(void *arg)
{
    struct service *v = arg;
    char port[16], line[100], why[100] = "x";
    plait_stream *s;
    plait_tls_context *c = client_context();
    plait_tls_connect_options o = {.context = c, .why = why, .why_size = sizeof why};
    snprintf(port, sizeof port, "%d", plait_listener_port(v->listener));
    CHECK_RC(plait_tls_connect(&s, "localhost", port, &o, LONG), 0);
    CHECK(strcmp(why, "") == 0);
    put(s, "hello\n");
    CHECK_RC(plait_read_line(s, line, sizeof line, NULL, LONG), 0);
    CHECK(strcmp(line, "hello\n") == 0);
    CHECK_EQ(plait_read(s, line, 1, LONG), 0);
    plait_stream_close(s);
    o.server_name = "elsewhere.test";
    errno = EXDEV;
    CHECK_RC(plait_tls_connect(&s, "127.0.0.1", port, &o, LONG), PLAIT_ETLS);
    CHECK(strstr(why, "hostname mismatch"));
    CHECK_RC(plait_tls_connect(&s, "127.0.0.1", port, NULL, LONG), PLAIT_ETLS);
    CHECK_EQ(errno, EXDEV);
    plait_tls_context_free(c);
    return 0;
}

static void clients_connect_to_a_server(void **state)
{
    (void)state;
    FOR_EACH_OF_3_KINDS(kind)
    for (int serving = PLAIT_THREAD; serving; serving = serving == PLAIT_THREAD ? PLAIT_TASK : 0) {
        struct service v = {.context = server_context("server"), .kind = serving};
        plait_worker askers[8];
        CHECK_RC(plait_listen(&v.listener, "127.0.0.1", "0", NULL, LONG), 0);
        plait_worker server = t_start_one(PLAIT_THREAD, serve, &v);
        for (int i = 0; i < 8; i++)
            askers[i] = t_start_one(kind, ask, &v);
        for (int i = 0; i < 8; i++)
            CHECK_EQ(t_join_one(askers[i]), 0);
        plait_listener_close(v.listener);
        CHECK_EQ(t_join_one(server), 0);
        plait_tls_context_free(v.context);
    }
}

static int look_at_stack(void *s)
{
    plait_task_info info[10];
    int n = plait_task_list(info, 10);
    for (int i = 0; i < n && i < 10; i++)
        if (info[i].stack_size <= 64 * 1024) /* not the thread's own */
            CHECK(info[i].stack_used <= info[i].stack_size * 3 / 4);
    return wait_for_the_end(s);
}

static void a_handshake_fits_on_the_stack_of_a_task(void **state)
{
    (void)state;
    struct link l;
    link_to(&l, TCP, PLAIT_TASK, look_at_stack);
    unlink_from(&l);
}

/* --- OpenSSL's own programs and calls at the other end --- */

static bool has_openssl(void)
{
    return system("openssl version >/dev/null 2>&1") == 0;
}

static void its_server_understands_us(void **state)
{
    (void)state;
    if (!has_openssl())
        skip();
    const char *versions[] = {"tls1_2", "tls1_3"};
    for (int i = 0; i < 2; i++) {
        char command[400], line[200], port[16] = "";
        plait_stream *s;
        plait_tls_info info;
        plait_tls_context *c = client_context();
        plait_tls_connect_options o = {.context = c};
        snprintf(command, sizeof command,
                 "exec openssl s_server -accept 127.0.0.1:0 -%s -cert %s -rev -naccept 1 2>&1",
                 versions[i], path_of("server"));
        FILE *f = popen(command, "r");
        CHECK(f);
        while (!port[0] && fgets(line, sizeof line, f))
            sscanf(line, "ACCEPT 127.0.0.1:%15s", port);
        CHECK_RC(plait_tls_connect(&s, "127.0.0.1", port, &o, LONG), 0);
        CHECK_RC(plait_tls_info_of(s, &info), 0);
        CHECK(strcmp(info.version, i == 0 ? "TLSv1.2" : "TLSv1.3") == 0);
        put(s, "hello\n");
        CHECK_RC(plait_read_line(s, line, sizeof line, NULL, LONG), 0);
        CHECK(strcmp(line, "olleh\n") == 0);
        CHECK_RC(plait_write_eof(s), 0);
        plait_stream_close(s);
        while (fgets(line, sizeof line, f))
            ;
        pclose(f);
        plait_tls_context_free(c);
    }
}

static void its_client_understands_us(void **state)
{
    (void)state;
    if (!has_openssl())
        skip();
    const char *versions[] = {"tls1_2", "tls1_3"};
    for (int i = 0; i < 2; i++) {
        char command[400], line[200] = "";
        struct service v = {.context = server_context("server"), .kind = PLAIT_TASK};
        CHECK_RC(plait_listen(&v.listener, "127.0.0.1", "0", NULL, LONG), 0);
        plait_worker server = t_start_one(PLAIT_THREAD, serve, &v);
        snprintf(command, sizeof command,
                 "echo hello | openssl s_client -connect 127.0.0.1:%d -%s -CAfile %s "
                 "-verify_return_error -verify_hostname localhost -quiet 2>/dev/null",
                 plait_listener_port(v.listener), versions[i], path_of("ca.crt"));
        FILE *f = popen(command, "r");
        CHECK(f && fgets(line, sizeof line, f));
        CHECK(strcmp(line, "hello\n") == 0);
        CHECK_EQ(pclose(f), 0);
        plait_listener_close(v.listener);
        CHECK_EQ(t_join_one(server), 0);
        plait_tls_context_free(v.context);
    }
}

/* Asks for new keys, and to begin anew, by OpenSSL alone. */
static int ask_for_new_keys(void *stream)
{
    int fd = plait_stream_fd(stream);
    char c;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    CHECK(SSL_CTX_use_certificate_chain_file(context, path_of("server")) == 1);
    CHECK(SSL_CTX_use_PrivateKey_file(context, path_of("server"), SSL_FILETYPE_PEM) == 1);
    SSL *ssl = SSL_new(context);
    SSL_set_fd(ssl, fd);
    CHECK(SSL_accept(ssl) == 1);
    for (int i = 0; i < 10; i++) {
        CHECK(SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) == 1);
        CHECK(SSL_write(ssl, "x", 1) == 1);
        CHECK(SSL_read(ssl, &c, 1) == 1); /* would fail if it came with keys of another time */
        CHECK_EQ(c, 'y');
    }
    CHECK(SSL_shutdown(ssl) == 0);
    CHECK(SSL_shutdown(ssl) == 1); /* our goodbye */
    SSL_free(ssl);
    SSL_CTX_free(context);
    return 0;
}

static void new_keys_are_agreed_upon_while_reading(void **state)
{
    (void)state;
    struct link l = {.client = client_context(), .act = ask_for_new_keys, .raw = true};
    char c;
    start_peer(&l, TCP, PLAIT_THREAD);
    CHECK_RC(plait_tls_start_client(l.near, l.client, "localhost", LONG), 0);
    for (int i = 0; i < 10; i++) {
        CHECK_EQ(plait_read(l.near, &c, 1, LONG), 1);
        put(l.near, "y");
    }
    CHECK_EQ(plait_read(l.near, &c, 1, LONG), 0);
    plait_stream_close(l.near);
    CHECK_EQ(t_join_one(l.peer), 0);
    plait_tls_context_free(l.client);
}

/* --- misuse --- */

static void bad_options_are_refused(void **state)
{
    (void)state;
    char why[200], long_name[300];
    memset(long_name, 'a', 299);
    long_name[299] = 0;
    const char *empty[] = {"", NULL};
    long_name[200] = 0;
    const char *too_many[] = {long_name, long_name, NULL};
    const struct {
        plait_tls_options o;
        int rc;
        const char *why;
    } cases[] = {
        {{.ca_file = "/nowhere"}, PLAIT_ENOENT, "/nowhere"},
        {{.ca_file = path_of("locked.key")}, PLAIT_ETLS, "locked.key"},
        {{.certificate_file = "/nowhere"}, PLAIT_ENOENT, "/nowhere"},
        {{.certificate_file = path_of("server.crt"), .key_file = "/nowhere"}, PLAIT_ENOENT, "/no"},
        {{.certificate_file = path_of("server.crt"), .key_file = path_of("client")},
         PLAIT_ETLS,
         "key values mismatch"},
        {{.certificate_file = path_of("server.crt")}, PLAIT_ETLS, "server.crt"},
        {{.certificate_file = path_of("locked.crt"), .key_file = path_of("locked.key")},
         PLAIT_ETLS,
         "locked.key"},
        {{.certificate_file = path_of("locked.crt"),
          .key_file = path_of("locked.key"),
          .key_password = "wrong"},
         PLAIT_ETLS,
         "locked.key"},
        {{.key_file = path_of("server")}, PLAIT_EINVAL, ""},
        {{.minimum = 11}, PLAIT_EINVAL, ""},
        {{.require_client_certificate = true}, PLAIT_EINVAL, ""},
        {{.alpn = empty}, PLAIT_EINVAL, ""},
        {{.alpn = too_many}, PLAIT_EOVERFLOW, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        plait_tls_context *c = NULL;
        plait_tls_options o = cases[i].o;
        o.why = why;
        o.why_size = sizeof why;
        errno = EXDEV;
        int rc = plait_tls_context_create(&c, &o);
        if (rc != cases[i].rc || c)
            t_die(__FILE__, __LINE__, "case %zu: %s (%s)", i, plait_errname(rc), why);
        if (!strstr(why, cases[i].why))
            t_die(__FILE__, __LINE__, "case %zu: '%s'", i, why);
        CHECK_EQ(errno, EXDEV);
    }
    plait_tls_context *c;
    CHECK_RC(plait_tls_context_create(NULL, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_tls_context_create(&c, NULL), 0);
    plait_tls_context_free(c);
    plait_tls_options locked = {.certificate_file = path_of("locked.crt"),
                                .key_file = path_of("locked.key"),
                                .key_password = "sesame"};
    CHECK_RC(plait_tls_context_create(&c, &locked), 0);
    plait_tls_context_free(c);
    CHECK_RC(plait_tls_context_free(NULL), 0);
}

static void misuse_is_refused(void **state)
{
    (void)state;
    plait_stream *a, *b, *pipe_end;
    plait_tls_context *c = client_context(), *v = server_context("server");
    plait_tls_info info;
    char text[10];
    int p[2];
    new_pair(UNIX, &a, &b);
    CHECK_RC(plait_tls_start_client(NULL, c, "x", LONG), PLAIT_EINVAL);
    CHECK_RC(plait_tls_start_client(a, NULL, "x", LONG), PLAIT_EINVAL);
    CHECK_RC(plait_tls_start_client(a, c, NULL, LONG), PLAIT_EINVAL); /* it is to be checked */
    CHECK_RC(plait_tls_start_client(a, c, "", LONG), PLAIT_EINVAL);
    CHECK_RC(plait_tls_start_client(a, c, "x", -2), PLAIT_EINVAL);
    CHECK_RC(plait_tls_start_server(NULL, v, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_tls_start_server(a, NULL, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_tls_start_server(a, c, LONG), PLAIT_EINVAL); /* no certificate */
    CHECK_RC(plait_tls_connect(NULL, "localhost", "1", NULL, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_tls_connect(&a, NULL, "1", NULL, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_tls_error(NULL, text, 10), PLAIT_EINVAL);
    CHECK_RC(plait_tls_error(a, NULL, 10), PLAIT_EINVAL);
    CHECK_RC(plait_tls_error(a, text, 0), PLAIT_EINVAL);
    CHECK_RC(plait_tls_error(a, text, 10), PLAIT_ENOTSUP);
    CHECK_RC(plait_tls_info_of(NULL, &info), PLAIT_EINVAL);
    CHECK_RC(plait_tls_info_of(a, NULL), PLAIT_EINVAL);
    CHECK_RC(plait_tls_info_of(a, &info), PLAIT_ENOTSUP);
    put(a, "still plain");
    CHECK_EQ(plait_read(b, text, 5, LONG), 5);
    CHECK_EQ(pipe(p), 0);
    CHECK_RC(plait_stream_of_fd(&pipe_end, p[0], NULL), 0);
    CHECK_RC(plait_tls_start_client(pipe_end, c, "x", LONG), PLAIT_ENOTSUP);
    plait_stream_close(pipe_end);
    close(p[1]);
    plait_stream_close(a);
    plait_stream_close(b);
    plait_tls_context_free(c);
    plait_tls_context_free(v);
}

/* --- a transport of one's own --- */

static ssize_t xor_read(void *self, plait_transfer *t, void *to, size_t size)
{
    ssize_t n = plait_transfer_receive(t, to, size);
    for (ssize_t i = 0; i < n; i++)
        ((char *)to)[i] ^= *(char *)self;
    return n;
}

static int xor_write(void *self, plait_transfer *t, const struct iovec *parts, int n, size_t *done)
{
    for (int i = 0; i < n; i++)
        for (size_t k = 0; k < parts[i].iov_len; k++, ++*done) {
            char c = (char)(((char *)parts[i].iov_base)[k] ^ *(char *)self);
            ssize_t sent = plait_transfer_send(t, &c, 1);
            if (sent < 0)
                return (int)sent;
        }
    return 0;
}

static void a_transport_may_be_anybodys(void **state)
{
    (void)state;
    static const plait_transport table = {.read = xor_read, .write = xor_write}, bad = {0};
    plait_stream *a, *b;
    char key = 42, text[10];
    bool taken = true;
    size_t done;
    new_pair(UNIX, &a, &b);
    CHECK_RC(plait_transport_start(a, &bad, &key, &taken, LONG), PLAIT_EINVAL);
    CHECK(!taken);
    CHECK_RC(plait_transport_start(NULL, &table, &key, NULL, LONG), PLAIT_EINVAL);
    CHECK_RC(plait_transport_start(a, &table, &key, &taken, LONG), 0);
    CHECK(taken);
    CHECK_RC(plait_transport_start(a, &table, &key, &taken, LONG), PLAIT_EBUSY);
    CHECK(!taken);
    CHECK(plait_transport_self(a, &table) == &key);
    CHECK(!plait_transport_self(a, &bad) && !plait_transport_self(b, &table));
    CHECK_RC(plait_write(a, "abc", 3, &done, LONG), 0);
    CHECK_EQ(done, 3);
    CHECK_EQ(plait_read(b, text, 10, LONG), 3);
    CHECK_EQ(text[0], 'a' ^ 42);
    put(b, "X\n");
    CHECK_EQ(plait_read(a, text, 10, LONG), 2);
    CHECK_EQ(text[0], 'X' ^ 42);
    CHECK_RC(plait_write_eof(a), PLAIT_ENOTSUP);
    plait_stream_close(b);
    CHECK_EQ(plait_read(a, text, 10, LONG), 0);
    CHECK_EQ(plait_stream_at_eof(a), 1);
    plait_stream_close(a);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_calls_work_as_without),
        cmocka_unit_test(one_reads_while_another_writes),
        cmocka_unit_test(parts_are_written_in_order),
        cmocka_unit_test(sendfile_sends_a_file),
        cmocka_unit_test(a_second_reader_or_writer_is_refused),
        cmocka_unit_test(certificates_that_cannot_be_trusted_are_refused),
        cmocka_unit_test(names_and_addresses_of_the_certificate_are_accepted),
        cmocka_unit_test(only_by_name_anyone_is_accepted),
        cmocka_unit_test(clients_can_be_asked_for_certificates),
        cmocka_unit_test(a_protocol_is_agreed_upon),
        cmocka_unit_test(old_versions_are_refused),
        cmocka_unit_test(a_peer_without_tls_is_told_as_such),
        cmocka_unit_test(a_cut_connection_is_not_the_end),
        cmocka_unit_test(bytes_that_were_changed_are_refused),
        cmocka_unit_test(closing_says_goodbye),
        cmocka_unit_test(writing_to_who_has_gone_is_a_code_and_no_signal),
        cmocka_unit_test(a_killed_peer_is_not_the_end),
        cmocka_unit_test(aborting_says_no_goodbye),
        cmocka_unit_test(each_call_can_time_out_and_be_cancelled),
        cmocka_unit_test(a_waiting_task_can_be_cancelled_and_time_out),
        cmocka_unit_test(a_write_that_timed_out_can_be_continued),
        cmocka_unit_test(a_write_takes_nothing_before_the_last_one_has_gone),
        cmocka_unit_test(closing_ends_the_waits_in_it),
        cmocka_unit_test(a_forked_child_can_only_close_it),
        cmocka_unit_test(a_child_forked_while_others_compute_does_not_hang),
        cmocka_unit_test(starting_tls_after_plain_talk),
        cmocka_unit_test(what_was_received_before_is_taken_for_tls),
        cmocka_unit_test(clients_connect_to_a_server),
        cmocka_unit_test(a_handshake_fits_on_the_stack_of_a_task),
        cmocka_unit_test(its_server_understands_us),
        cmocka_unit_test(its_client_understands_us),
        cmocka_unit_test(new_keys_are_agreed_upon_while_reading),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(misuse_is_refused),
        cmocka_unit_test(a_transport_may_be_anybodys),
    };
    t_arguments(argc, argv);
    return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
