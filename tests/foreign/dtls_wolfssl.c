/* How does wolfSSL 5.9 carry the device? PSK, ECDHE_PSK (AES-128-GCM), raw public keys, X.509,
 * Connection ID, session-id resumption, both roles. */
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>

#include <wolfssl/wolfcrypt/settings.h>
#include <wolfssl/ssl.h>

#include "device.h"

static const struct options *options;
static WOLFSSL_CTX *context;
static WOLFSSL *ssl;
static WOLFSSL_SESSION *saved;

static void check(const char *what, int result) {
    char text[WOLFSSL_MAX_ERROR_SZ];
    if (result == WOLFSSL_SUCCESS) return;
    int error = ssl ? wolfSSL_get_error(ssl, result) : result;
    fail("%s: %d %s", what, error, wolfSSL_ERR_error_string(error, text));
}

static int send_datagram(WOLFSSL *s, char *bytes, int len, void *unused) {
    (void)s, (void)unused;
    return udp_send((unsigned char *)bytes, len);
}

static int receive_datagram(WOLFSSL *s, char *bytes, int max, void *unused) {
    (void)s, (void)unused;
    int len = udp_receive((unsigned char *)bytes, max);
    return len ? len : WOLFSSL_CBIO_ERR_WANT_READ;
}

static unsigned our_psk(WOLFSSL *s, const char *hint, char *identity, unsigned identity_max,
                        unsigned char *psk, unsigned psk_max) {
    (void)s, (void)hint;
    if (strlen(options->identity) >= identity_max || options->psk_len > psk_max) return 0;
    strcpy(identity, options->identity);
    memcpy(psk, options->psk, options->psk_len);
    return (unsigned)options->psk_len;
}

static unsigned their_psk(WOLFSSL *s, const char *identity, unsigned char *psk, unsigned max) {
    (void)s;
    if (strcmp(identity, options->identity) || options->psk_len > max) return 0;
    memcpy(psk, options->psk, options->psk_len);
    return (unsigned)options->psk_len;
}

/* In place of a chain: is it the one key we know? */
static int is_known_key(int ok, WOLFSSL_X509_STORE_CTX *store) {
    static unsigned char known[1000];
    (void)ok;
    int len = read_file(options->raw_peer, known, sizeof known);
    return store->certs && store->certs->length == (unsigned)len &&
           !memcmp(store->certs->buffer, known, len);
}

static void set_up_credentials(void) {
    if (options->identity && options->serve)
        wolfSSL_CTX_set_psk_server_callback(context, their_psk);
    else if (options->identity)
        wolfSSL_CTX_set_psk_client_callback(context, our_psk);
    int both = WOLFSSL_VERIFY_PEER | WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    if (options->ca) {
        check("ca", wolfSSL_CTX_load_verify_locations(context, options->ca, NULL));
        wolfSSL_CTX_set_verify(context, both, NULL);
    }
    if (options->cert) {
        check("cert", wolfSSL_CTX_use_certificate_chain_file(context, options->cert));
        check("key", wolfSSL_CTX_use_PrivateKey_file(context, options->key, WOLFSSL_FILETYPE_PEM));
    }
    if (options->raw_key) {
        char raw = WOLFSSL_CERT_TYPE_RPK;
        int der = WOLFSSL_FILETYPE_ASN1;
        check("raw", wolfSSL_CTX_use_certificate_file(context, options->raw_public, der));
        check("raw key", wolfSSL_CTX_use_PrivateKey_file(context, options->raw_key, der));
        check("client type", wolfSSL_CTX_set_client_cert_type(context, &raw, 1));
        check("server type", wolfSSL_CTX_set_server_cert_type(context, &raw, 1));
        wolfSSL_CTX_set_verify(context, both, is_known_key);
    }
}

void tls_set_up(const struct options *wanted) {
    options = wanted;
    wolfSSL_Init();
    context = wolfSSL_CTX_new(options->serve ? wolfDTLSv1_2_server_method()
                                             : wolfDTLSv1_2_client_method());
    if (!context) fail("no context");
    if (wolfSSL_CTX_set_cipher_list(context, options->suite) != WOLFSSL_SUCCESS)
        fail("unknown suite: %s", options->suite);
    set_up_credentials();
    if (!options->extended_master_secret) wolfSSL_CTX_DisableExtendedMasterSecret(context);
    wolfSSL_CTX_SetIORecv(context, receive_datagram);
    wolfSSL_CTX_SetIOSend(context, send_datagram);
}

static void begin(int resume) {
    wolfSSL_free(ssl);
    ssl = wolfSSL_new(context);
    if (!ssl) fail("no session");
    wolfSSL_dtls_set_using_nonblock(ssl, 1);
    /* The library wants an address for its cookies; the socket knows the real one. */
    struct sockaddr_in any = {.sin_family = AF_INET};
    wolfSSL_dtls_set_peer(ssl, &any, sizeof any);
    if (options->server_name)
        check("sni", wolfSSL_UseSNI(ssl, WOLFSSL_SNI_HOST_NAME, options->server_name,
                                    (unsigned short)strlen(options->server_name)));
    if (options->server_name) check("name", wolfSSL_check_domain_name(ssl, options->server_name));
    if (options->fragment_code)
        check("mfl", wolfSSL_UseMaxFragment(ssl, (unsigned char)options->fragment_code));
    if (options->cid_len >= 0) {
        unsigned char cid[CID_MAX];
        random_bytes(cid, sizeof cid);
        check("cid", wolfSSL_dtls_cid_use(ssl));
        if (options->cid_len) check("cid", wolfSSL_dtls_cid_set(ssl, cid, options->cid_len));
    }
    if (resume && !saved) fail("nothing to resume");
    if (resume) check("session", wolfSSL_set_session(ssl, saved));
}

void tls_shake_hands(int resume) {
    begin(resume);
    int result;
    long long due_ms = now_ms() + 1000LL * wolfSSL_dtls_get_current_timeout(ssl);
    for (;;) {
        result = options->serve ? wolfSSL_accept(ssl) : wolfSSL_connect(ssl);
        if (result == WOLFSSL_SUCCESS) break;
        int error = wolfSSL_get_error(ssl, result);
        if (error != WOLFSSL_ERROR_WANT_READ && error != WOLFSSL_ERROR_WANT_WRITE)
            check("handshake", result);
        udp_wait(50);
        if (now_ms() < due_ms) continue;
        result = wolfSSL_dtls_got_timeout(ssl);
        if (result != WOLFSSL_SUCCESS) check("timeout", result);
        due_ms = now_ms() + 1000LL * wolfSSL_dtls_get_current_timeout(ssl);
    }
    if (!options->serve) {
        wolfSSL_SESSION_free(saved);
        saved = wolfSSL_get1_session(ssl);
    }
}

int tls_read(unsigned char *bytes, int max) {
    int got = wolfSSL_read(ssl, bytes, max);
    if (got > 0) return got;
    int error = wolfSSL_get_error(ssl, got);
    if (error == WOLFSSL_ERROR_WANT_READ || error == WOLFSSL_ERROR_WANT_WRITE) return 0;
    if (error == WOLFSSL_ERROR_ZERO_RETURN) return -1;
    check("read", got);
    return -1;
}

void tls_write(const unsigned char *bytes, int len) {
    if (wolfSSL_write(ssl, bytes, len) != len) check("write", -1);
}

void tls_close(void) {
    wolfSSL_shutdown(ssl);
}

const char *tls_suite(void) {
    return wolfSSL_get_cipher_name(ssl);
}

int tls_is_resumed(void) {
    return wolfSSL_session_reused(ssl);
}

int tls_peer_cid(unsigned char *cid) {
    unsigned len = 0;
    if (options->cid_len < 0 || !wolfSSL_dtls_cid_is_enabled(ssl)) return -1;
    wolfSSL_dtls_cid_get_tx_size(ssl, &len);
    if (len) wolfSSL_dtls_cid_get_tx(ssl, cid, len);
    return (int)len;
}
