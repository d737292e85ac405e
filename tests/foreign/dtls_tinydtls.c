/* How does tinydtls carry the device? PSK (16-byte keys, 32-byte names) and raw public keys on
 * P-256, AES-128-CCM only: the library of many constrained devices. No Connection ID, no
 * resumption, no certificates. */
#include <string.h>
#include <sys/socket.h>

#include "tinydtls.h"
#include "dtls.h"
#include "dtls_debug.h"

#include "device.h"

static const struct options *options;
static dtls_context_t *context;
static session_t peer;
static dtls_ecdsa_key_t ecdsa;
static unsigned char raw_key[300], raw_peer[300];
static unsigned char inbox[MESSAGE_MAX];
static int inbox_len, is_connected, is_closed;

static const struct {
    const char *name;
    dtls_cipher_t code;
} SUITES[] = {
    {"TLS_PSK_WITH_AES_128_CCM", TLS_PSK_WITH_AES_128_CCM},
    {"TLS_PSK_WITH_AES_128_CCM_8", TLS_PSK_WITH_AES_128_CCM_8},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_CCM", TLS_ECDHE_ECDSA_WITH_AES_128_CCM},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8", TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8},
};
enum { SUITE_COUNT = sizeof SUITES / sizeof SUITES[0] };

/* Where things stand in SEC1 and SubjectPublicKeyInfo, P-256 with a named curve. */
enum { SEC1_LEN = 121, SEC1_PRIVATE = 7, SEC1_X = 57, SPKI_LEN = 91, SPKI_X = 27, FIELD = 32 };

static int on_write(dtls_context_t *c, session_t *s, uint8 *bytes, size_t len) {
    (void)c, (void)s;
    return udp_send(bytes, (int)len);
}

static int on_read(dtls_context_t *c, session_t *s, uint8 *bytes, size_t len) {
    (void)c, (void)s;
    if (len > sizeof inbox) fail("a message too long");
    memcpy(inbox, bytes, len);
    inbox_len = (int)len;
    return 0;
}

static int on_event(dtls_context_t *c, session_t *s, dtls_alert_level_t level, unsigned short code) {
    (void)c, (void)s;
    if (level == DTLS_ALERT_LEVEL_FATAL) fail("handshake: fatal alert %d", code);
    if (code == DTLS_EVENT_CONNECTED) is_connected = 1;
    if (level && code == DTLS_ALERT_CLOSE_NOTIFY) is_closed = 1;
    return 0;
}

static void on_parameters(dtls_context_t *c, session_t *s, dtls_user_parameters_t *parameters) {
    (void)c, (void)s;
    for (int i = 0; i < SUITE_COUNT; i++)
        if (!strcmp(SUITES[i].name, options->suite)) parameters->cipher_suites[0] = SUITES[i].code;
    parameters->cipher_suites[1] = TLS_NULL_WITH_NULL_NULL;
}

static int on_psk(dtls_context_t *c, const session_t *s, dtls_credentials_type_t type,
                  const unsigned char *name, size_t name_len, unsigned char *out, size_t max) {
    (void)c, (void)s;
    size_t identity_len = strlen(options->identity);
    if (type == DTLS_PSK_HINT) return 0;
    if (type == DTLS_PSK_IDENTITY) {
        if (identity_len > max) fail("the name is too long for tinydtls");
        memcpy(out, options->identity, identity_len);
        return (int)identity_len;
    }
    if (name_len != identity_len || memcmp(name, options->identity, name_len))
        return dtls_alert_fatal_create(DTLS_ALERT_DECRYPT_ERROR);
    if (options->psk_len > max) fail("the key is too long for tinydtls");
    memcpy(out, options->psk, options->psk_len);
    return (int)options->psk_len;
}

static int on_own_key(dtls_context_t *c, const session_t *s, const dtls_ecdsa_key_t **out) {
    (void)c, (void)s;
    *out = &ecdsa;
    return 0;
}

static int on_peer_key(dtls_context_t *c, const session_t *s, const unsigned char *x,
                       const unsigned char *y, size_t len) {
    (void)c, (void)s;
    int same = len == FIELD && !memcmp(x, raw_peer + SPKI_X, FIELD) &&
               !memcmp(y, raw_peer + SPKI_X + FIELD, FIELD);
    return same ? 0 : dtls_alert_fatal_create(DTLS_ALERT_BAD_CERTIFICATE);
}

void tls_set_up(const struct options *wanted) {
    static dtls_handler_t handler = {.write = on_write, .read = on_read, .event = on_event,
                                     .get_user_parameters = on_parameters};
    options = wanted;
    int known = 0;
    for (int i = 0; i < SUITE_COUNT; i++) known |= !strcmp(SUITES[i].name, options->suite);
    if (!known) fail("unknown suite: %s", options->suite);
    if (options->cert) fail("no certificates in tinydtls");
    if (options->cid_len >= 0) fail("no Connection ID in tinydtls");
    if (options->identity) handler.get_psk_info = on_psk;
    if (options->raw_key) {
        if (read_file(options->raw_key, raw_key, sizeof raw_key) != SEC1_LEN ||
            read_file(options->raw_peer, raw_peer, sizeof raw_peer) != SPKI_LEN)
            fail("not a key on P-256");
        ecdsa.curve = DTLS_ECDH_CURVE_SECP256R1;
        ecdsa.priv_key = raw_key + SEC1_PRIVATE;
        ecdsa.pub_key_x = raw_key + SEC1_X;
        ecdsa.pub_key_y = raw_key + SEC1_X + FIELD;
        handler.get_ecdsa_key = on_own_key;
        handler.verify_ecdsa_key = on_peer_key;
    }
    dtls_init();
    dtls_set_log_level(DTLS_LOG_CRIT);
    context = dtls_new_context(NULL);
    dtls_set_handler(context, &handler);
    dtls_session_init(&peer); /* one peer: the address in it stays empty */
    peer.addr.sa.sa_family = AF_INET;
    peer.size = sizeof peer.addr.sin;
}

static int take_datagrams(void) {
    unsigned char bytes[MESSAGE_MAX + 200];
    int len;
    clock_time_t next = 0;
    dtls_check_retransmit(context, &next);
    while (!inbox_len && !is_closed && (len = udp_receive(bytes, sizeof bytes)))
        dtls_handle_message(context, &peer, bytes, len);
    return inbox_len;
}

void tls_shake_hands(int resume) {
    if (resume) fail("no resumption in tinydtls");
    is_connected = is_closed = 0;
    if (!options->serve && dtls_connect(context, &peer) < 0) fail("handshake: no ClientHello");
    while (take_datagrams(), !is_connected) udp_wait(50);
}

int tls_read(unsigned char *bytes, int max) {
    if (!take_datagrams()) return is_closed ? -1 : 0;
    if (inbox_len > max) fail("a message too long");
    int len = inbox_len;
    memcpy(bytes, inbox, len);
    inbox_len = 0;
    return len;
}

void tls_write(const unsigned char *bytes, int len) {
    unsigned char copy[MESSAGE_MAX]; /* the library encrypts in place */
    memcpy(copy, bytes, len);
    if (dtls_write(context, &peer, copy, len) != len) fail("write: refused");
}

void tls_close(void) {
    dtls_peer_t *known = dtls_get_peer(context, &peer);
    if (known) dtls_reset_peer(context, known);
}

const char *tls_suite(void) {
    return options->suite;
}

int tls_is_resumed(void) {
    return 0;
}

int tls_peer_cid(unsigned char *cid) {
    (void)cid;
    return -1;
}
