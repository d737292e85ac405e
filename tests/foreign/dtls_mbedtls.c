/* How does Mbed TLS 3.6 carry the device? PSK, X.509, Connection ID, session-id resumption, both
 * roles; no raw public keys (RFC 7250) and no ECDHE_PSK with AEAD suites in this library. */
#include <stdio.h>
#include <string.h>

#include "mbedtls/ctr_drbg.h"
#include "mbedtls/entropy.h"
#include "mbedtls/error.h"
#include "mbedtls/pk.h"
#include "mbedtls/ssl.h"
#include "mbedtls/ssl_cache.h"
#include "mbedtls/ssl_cookie.h"
#include "mbedtls/timing.h"
#include "psa/crypto.h"

#include "device.h"

static const struct options *options;
static mbedtls_ssl_config config;
static mbedtls_ssl_context ssl;
static mbedtls_ssl_session saved;
static mbedtls_ssl_cache_context cache;
static mbedtls_ssl_cookie_ctx cookies;
static mbedtls_timing_delay_context timer;
static mbedtls_ctr_drbg_context rng;
static mbedtls_x509_crt certificate, authorities;
static mbedtls_pk_context key;
static int has_saved, is_resumed;

static void check(const char *what, int result) {
    char text[200];
    if (result >= 0) return;
    mbedtls_strerror(result, text, sizeof text);
    fail("%s: -0x%04x %s", what, -result, text);
}

static int send_datagram(void *context, const unsigned char *bytes, size_t len) {
    (void)context;
    return udp_send(bytes, (int)len);
}

static int receive_datagram(void *context, unsigned char *bytes, size_t max) {
    (void)context;
    int len = udp_receive(bytes, (int)max);
    return len ? len : MBEDTLS_ERR_SSL_WANT_READ;
}

/* The library's names have dashes and the prefix TLS: TLS-PSK-WITH-AES-128-CCM-8. */
static void choose_suite(void) {
    static int suites[2];
    char name[100];
    snprintf(name, sizeof name, "%s", options->suite);
    for (char *c = name; *c; c++)
        if (*c == '_') *c = '-';
    suites[0] = mbedtls_ssl_get_ciphersuite_id(name);
    if (!suites[0]) fail("unknown suite: %s", options->suite);
    mbedtls_ssl_conf_ciphersuites(&config, suites);
}

static void set_up_credentials(void) {
    if (options->raw_key) fail("no raw public keys in Mbed TLS");
    if (options->identity)
        check("psk", mbedtls_ssl_conf_psk(&config, options->psk, options->psk_len,
                                          (const unsigned char *)options->identity,
                                          strlen(options->identity)));
    if (options->ca) {
        check("ca", mbedtls_x509_crt_parse_file(&authorities, options->ca));
        mbedtls_ssl_conf_ca_chain(&config, &authorities, NULL);
        mbedtls_ssl_conf_authmode(&config, MBEDTLS_SSL_VERIFY_REQUIRED);
    }
    if (options->cert) {
        check("cert", mbedtls_x509_crt_parse_file(&certificate, options->cert));
        check("key", mbedtls_pk_parse_keyfile(&key, options->key, NULL, mbedtls_ctr_drbg_random,
                                              &rng));
        check("own", mbedtls_ssl_conf_own_cert(&config, &certificate, &key));
    }
}

static void offer_cid(void) {
    unsigned char cid[CID_MAX];
    if (options->cid_len < 0) return;
    random_bytes(cid, sizeof cid);
    check("cid", mbedtls_ssl_set_cid(&ssl, MBEDTLS_SSL_CID_ENABLED, cid, options->cid_len));
}

void tls_set_up(const struct options *wanted) {
    static mbedtls_entropy_context entropy;
    options = wanted;
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&rng);
    check("seed", mbedtls_ctr_drbg_seed(&rng, mbedtls_entropy_func, &entropy, NULL, 0));
    psa_crypto_init();
    mbedtls_x509_crt_init(&certificate);
    mbedtls_x509_crt_init(&authorities);
    mbedtls_pk_init(&key);
    mbedtls_ssl_session_init(&saved);
    mbedtls_ssl_config_init(&config);
    mbedtls_ssl_config_defaults(
        &config, options->serve ? MBEDTLS_SSL_IS_SERVER : MBEDTLS_SSL_IS_CLIENT,
        MBEDTLS_SSL_TRANSPORT_DATAGRAM, MBEDTLS_SSL_PRESET_DEFAULT);
    mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &rng);
    mbedtls_ssl_conf_max_tls_version(&config, MBEDTLS_SSL_VERSION_TLS1_2);
    choose_suite();
    set_up_credentials();
    mbedtls_ssl_conf_cid(&config, options->cid_len > 0 ? options->cid_len : 0,
                         MBEDTLS_SSL_UNEXPECTED_CID_IGNORE);
    mbedtls_ssl_conf_extended_master_secret(&config, options->extended_master_secret);
    mbedtls_ssl_conf_session_tickets(&config, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
    check("mfl", mbedtls_ssl_conf_max_frag_len(&config, options->fragment_code));
    if (options->serve) {
        mbedtls_ssl_cache_init(&cache);
        mbedtls_ssl_conf_session_cache(&config, &cache, mbedtls_ssl_cache_get,
                                       mbedtls_ssl_cache_set);
        mbedtls_ssl_cookie_init(&cookies);
        check("cookie", mbedtls_ssl_cookie_setup(&cookies, mbedtls_ctr_drbg_random, &rng));
        mbedtls_ssl_conf_dtls_cookies(&config, mbedtls_ssl_cookie_write, mbedtls_ssl_cookie_check,
                                      &cookies);
    }
    mbedtls_ssl_init(&ssl);
    check("setup", mbedtls_ssl_setup(&ssl, &config));
    check("name", mbedtls_ssl_set_hostname(&ssl, options->server_name));
    mbedtls_ssl_set_timer_cb(&ssl, &timer, mbedtls_timing_set_delay, mbedtls_timing_get_delay);
    mbedtls_ssl_set_bio(&ssl, NULL, send_datagram, receive_datagram, NULL);
}

/* A fresh association, as client or as server before and after its cookie. */
static void begin(int resume) {
    check("reset", mbedtls_ssl_session_reset(&ssl));
    offer_cid();
    if (options->serve)
        check("peer", mbedtls_ssl_set_client_transport_id(&ssl, (const unsigned char *)"one", 3));
    if (resume && !has_saved) fail("nothing to resume");
    if (resume) check("session", mbedtls_ssl_set_session(&ssl, &saved));
}

void tls_shake_hands(int resume) {
    int result;
    begin(resume);
    while ((result = mbedtls_ssl_handshake(&ssl))) {
        if (result == MBEDTLS_ERR_SSL_HELLO_VERIFY_REQUIRED) {
            begin(0);
        } else if (result == MBEDTLS_ERR_SSL_WANT_READ || result == MBEDTLS_ERR_SSL_WANT_WRITE) {
            udp_wait(50);
        } else {
            check("handshake", result);
        }
    }
    if (options->serve) return; /* as a server the library does not tell its session */
    mbedtls_ssl_session now;
    mbedtls_ssl_session_init(&now);
    check("session", mbedtls_ssl_get_session(&ssl, &now));
    /* Equal ids: the server took the session up again (RFC 5246 section 7.4.1.3). */
    size_t len = mbedtls_ssl_session_get_id_len(&now);
    is_resumed = resume && len && len == mbedtls_ssl_session_get_id_len(&saved) &&
                 !memcmp(*mbedtls_ssl_session_get_id(&now), *mbedtls_ssl_session_get_id(&saved), len);
    mbedtls_ssl_session_free(&saved);
    saved = now;
    has_saved = len > 0;
}

int tls_read(unsigned char *bytes, int max) {
    int got = mbedtls_ssl_read(&ssl, bytes, max);
    if (got == MBEDTLS_ERR_SSL_WANT_READ || got == MBEDTLS_ERR_SSL_WANT_WRITE) return 0;
    if (got == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY || got == 0) return -1;
    check("read", got);
    return got;
}

void tls_write(const unsigned char *bytes, int len) {
    check("write", mbedtls_ssl_write(&ssl, bytes, len));
}

void tls_close(void) {
    mbedtls_ssl_close_notify(&ssl);
}

const char *tls_suite(void) {
    return mbedtls_ssl_get_ciphersuite(&ssl);
}

int tls_is_resumed(void) {
    return is_resumed;
}

int tls_peer_cid(unsigned char *cid) {
    int enabled = 0;
    size_t len = 0;
    mbedtls_ssl_get_peer_cid(&ssl, &enabled, cid, &len);
    return enabled ? (int)len : -1;
}
