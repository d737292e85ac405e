/* A device that is not ours: CoAP over DTLS 1.2 (PSK, Connection ID) on Mbed TLS.
 *
 *   coap_device HOST PORT IDENTITY KEYHEX [suite=NAME] [cid=BYTES] [patience=MS]
 *
 * Without cid= it does not offer the extension; cid=0 wants none in records towards itself but
 * uses the server's. A request without any answer is given up after patience (60000). It shakes
 * hands once, then obeys lines on stdin and tells on stdout:
 *
 *   con|non get|put|post|delete PATH[?QUERY] [TEXT]   ->  response CODE TYPE [TEXT] | timeout
 *   rebind                                            ->  rebound PORT   (a new UDP port)
 *   deaf on|off     drop what arrives, like a device that sleeps   ->  deaf on|off
 *
 * A request from the server is answered (GET 2.05, DELETE 2.02, else 2.04) whenever it comes:
 *   request METHOD TYPE PATH [TEXT]
 *
 * End of stdin: close_notify and exit 0. Every failure of its own: a line on stderr and exit 1.
 */
#include <netdb.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "mbedtls/ctr_drbg.h"
#include "mbedtls/entropy.h"
#include "mbedtls/error.h"
#include "mbedtls/ssl.h"
#include "mbedtls/timing.h"
#include "psa/crypto.h"

enum { CON = 0, NON = 1, ACK = 2, RST = 3 };
enum { URI_PATH = 11, CONTENT_FORMAT = 12, URI_QUERY = 15 };
enum { CODE_GET = 1, CODE_DELETE = 4, CODE_DELETED = 66, CODE_CHANGED = 68, CODE_CONTENT = 69 };
enum { MESSAGE_MAX = 1500, ACK_TIMEOUT_MS = 2000 };

static const char *const TYPES[] = {"CON", "NON", "ACK", "RST"};
static const char *const METHODS[] = {"", "get", "post", "put", "delete"};

struct message {
    int type, code, mid, token_len, payload_len;
    unsigned char token[8];
    char path[256];                  /* "a/b?x=1&y=2" */
    char payload[MESSAGE_MAX + 1];   /* always ends with a zero byte */
};

/* The one request of ours that may be under way. */
static struct {
    int active, acked;
    unsigned char bytes[MESSAGE_MAX];
    int len, mid, type;
    long long due_ms, interval_ms, give_up_ms;
} pending;

static struct addrinfo *server;
static int udp = -1;
static int deaf;
static int next_mid;
static int patience_ms = 60000;
static mbedtls_ssl_context ssl;

static void fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

static void fail_tls(const char *what, int error) {
    char text[200];
    mbedtls_strerror(error, text, sizeof text);
    fail("%s: -0x%04x %s", what, -error, text);
}

static long long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* --- UDP ------------------------------------------------------------------------------------ */

/* A fresh socket; the old one closes only afterwards, so that the port really changes. */
static int open_udp(void) {
    int old = udp;
    udp = socket(server->ai_family, SOCK_DGRAM, 0);
    if (udp < 0 || connect(udp, server->ai_addr, server->ai_addrlen) != 0) fail("no UDP socket");
    if (old >= 0) close(old);
    struct sockaddr_storage local;
    socklen_t len = sizeof local;
    getsockname(udp, (struct sockaddr *)&local, &len);
    char port[16];
    getnameinfo((struct sockaddr *)&local, len, NULL, 0, port, sizeof port, NI_NUMERICSERV);
    return atoi(port);
}

static int udp_send(void *context, const unsigned char *bytes, size_t len) {
    (void)context;
    if (send(udp, bytes, len, 0) < 0) { /* a refused port (server restarting) is loss, as outdoors */
    }
    return (int)len;
}

static int udp_receive(void *context, unsigned char *bytes, size_t len) {
    (void)context;
    for (;;) {
        ssize_t got = recv(udp, bytes, len, MSG_DONTWAIT);
        if (got <= 0) return MBEDTLS_ERR_SSL_WANT_READ;
        if (!deaf) return (int)got;
    }
}

/* --- CoAP codec (RFC 7252 section 3) ---------------------------------------------------------- */

static int put_option(unsigned char *out, int *previous, int number, const char *value, int len) {
    int delta = number - *previous, n = 0;
    if (len > 268 || delta > 12) fail("option too long");
    out[n++] = (unsigned char)(delta << 4 | (len < 13 ? len : 13));
    if (len >= 13) out[n++] = (unsigned char)(len - 13);
    memcpy(out + n, value, len);
    *previous = number;
    return n + len;
}

static int put_options(unsigned char *out, int *previous, int number, char *text, const char *by) {
    int n = 0;
    for (char *part = strtok(text, by); part; part = strtok(NULL, by))
        n += put_option(out + n, previous, number, part, (int)strlen(part));
    return n;
}

static int write_request(unsigned char *out, int type, int code, int mid, char *uri, char *text) {
    int n = 0, previous = 0;
    out[n++] = (unsigned char)(0x40 | type << 4 | 4);
    out[n++] = (unsigned char)code;
    out[n++] = (unsigned char)(mid >> 8);
    out[n++] = (unsigned char)mid;
    memcpy(out + n, out + 2, 2); /* token: "dv" and the Message ID, so that a late answer fits none */
    out[n + 2] = 'd', out[n + 3] = 'v', n += 4;
    char *query = strchr(uri, '?');
    if (query) *query++ = 0;
    n += put_options(out + n, &previous, URI_PATH, uri, "/");
    if (text && *text) n += put_option(out + n, &previous, CONTENT_FORMAT, "", 0); /* text/plain */
    if (query) n += put_options(out + n, &previous, URI_QUERY, query, "&");
    if (text && *text) {
        out[n++] = 0xff;
        memcpy(out + n, text, strlen(text));
        n += (int)strlen(text);
    }
    return n;
}

static int write_response(unsigned char *out, const struct message *request, int type, int code,
                          int mid, const char *text) {
    int n = 0;
    out[n++] = (unsigned char)(0x40 | type << 4 | request->token_len);
    out[n++] = (unsigned char)code;
    out[n++] = (unsigned char)(mid >> 8);
    out[n++] = (unsigned char)mid;
    memcpy(out + n, request->token, request->token_len);
    n += request->token_len;
    if (*text) {
        out[n++] = 0xff;
        memcpy(out + n, text, strlen(text));
        n += (int)strlen(text);
    }
    return n;
}

static int extended(const unsigned char *in, int len, int *at, int nibble) {
    if (nibble < 13) return nibble;
    if (nibble == 13 && *at + 1 <= len) return in[(*at)++] + 13;
    if (nibble == 14 && *at + 2 <= len) return *at += 2, (in[*at - 2] << 8 | in[*at - 1]) + 269;
    fail("the server's option is malformed");
    return 0;
}

static void parse(const unsigned char *in, int len, struct message *out) {
    memset(out, 0, sizeof *out);
    if (len < 4 || in[0] >> 6 != 1 || (in[0] & 15) > 8) fail("the server sent no CoAP message");
    out->type = in[0] >> 4 & 3;
    out->code = in[1];
    out->mid = in[2] << 8 | in[3];
    out->token_len = in[0] & 15;
    int at = 4 + out->token_len, number = 0, queries = 0;
    if (at > len) fail("the server's token is cut");
    memcpy(out->token, in + 4, out->token_len);
    while (at < len && in[at] != 0xff) {
        int head = in[at++];
        number += extended(in, len, &at, head >> 4);
        int value_len = extended(in, len, &at, head & 15);
        if (at + value_len > len) fail("the server's option is cut");
        if (number == URI_PATH || number == URI_QUERY) {
            size_t used = strlen(out->path);
            const char *by = number == URI_PATH ? (used ? "/" : "") : (queries++ ? "&" : "?");
            snprintf(out->path + used, sizeof out->path - used, "%s%.*s", by, value_len, in + at);
        }
        at += value_len;
    }
    if (at < len) {
        out->payload_len = len - at - 1;
        memcpy(out->payload, in + at + 1, out->payload_len);
    }
}

/* --- exchanges -------------------------------------------------------------------------------- */

static void transmit(const unsigned char *bytes, int len) {
    int result = mbedtls_ssl_write(&ssl, bytes, len);
    if (result < 0) fail_tls("write", result);
}

static void transmit_empty(int type, int mid) {
    unsigned char bytes[4] = {(unsigned char)(0x40 | type << 4), 0, (unsigned char)(mid >> 8),
                              (unsigned char)mid};
    transmit(bytes, sizeof bytes);
}

static void on_server_request(const struct message *m) {
    const char *method = m->code <= 4 ? METHODS[m->code] : "?";
    printf("request %s %s %s %s\n", method, TYPES[m->type], m->path[0] ? m->path : "-", m->payload);
    int code = m->code == CODE_GET ? CODE_CONTENT : m->code == CODE_DELETE ? CODE_DELETED : CODE_CHANGED;
    char text[300] = "";
    if (m->code == CODE_GET) snprintf(text, sizeof text, "value of %s", m->path);
    unsigned char out[MESSAGE_MAX];
    int is_con = m->type == CON;
    int mid = is_con ? m->mid : next_mid++ & 0xffff;
    transmit(out, write_response(out, m, is_con ? ACK : NON, code, mid, text));
}

static void on_message(const struct message *m) {
    static int last_request_mid = -1, last_response_mid = -1;
    if (m->code >= 1 && m->code < 32) {
        if (m->type > NON) fail("the server sent a request in an %s", TYPES[m->type]);
        if (m->mid == last_request_mid) printf("again\n");
        last_request_mid = m->mid;
        on_server_request(m);
        return;
    }
    if (m->code == 0) {
        if (m->type == CON) transmit_empty(RST, m->mid); /* a ping */
        if (pending.active && m->mid == pending.mid && m->type == ACK && !pending.acked) {
            pending.acked = 1;
            pending.give_up_ms = now_ms() + patience_ms;
            printf("acknowledged\n");
        }
        if (pending.active && m->mid == pending.mid && m->type == RST) {
            pending.active = 0;
            printf("reset\n");
        }
        return;
    }
    int is_ours = pending.active && m->token_len == 4 && memcmp(m->token, pending.bytes + 4, 4) == 0;
    int is_again = m->type == CON && m->mid == last_response_mid; /* our ACK was lost */
    if (m->type == CON) transmit_empty(is_ours || is_again ? ACK : RST, m->mid);
    if (!is_ours) return;
    last_response_mid = m->mid;
    pending.active = 0;
    printf("response %d.%02d %s %s\n", m->code >> 5, m->code & 31, TYPES[m->type], m->payload);
}

/* Sends the pending request again while nothing was heard (RFC 7252 section 4.2). */
static void on_due(void) {
    if (!pending.active) return;
    if (now_ms() >= pending.give_up_ms) {
        pending.active = 0;
        printf("timeout\n");
    } else if (!pending.acked && pending.type == CON && now_ms() >= pending.due_ms) {
        transmit(pending.bytes, pending.len);
        pending.interval_ms *= 2;
        pending.due_ms += pending.interval_ms;
    }
}

static void start_request(int type, int code, char *uri, char *text) {
    if (pending.active) fail("a request is still under way");
    memset(&pending, 0, sizeof pending);
    pending.active = 1;
    pending.type = type;
    pending.mid = next_mid++ & 0xffff;
    pending.len = write_request(pending.bytes, type, code, pending.mid, uri, text);
    transmit(pending.bytes, pending.len);
    pending.interval_ms = ACK_TIMEOUT_MS;
    pending.due_ms = now_ms() + pending.interval_ms;
    pending.give_up_ms = now_ms() + patience_ms;
}

/* --- commands --------------------------------------------------------------------------------- */

static void obey(char *line) {
    char *rest = line;
    char *word = strsep(&rest, " ");
    if (!strcmp(word, "rebind")) {
        printf("rebound %d\n", open_udp());
    } else if (!strcmp(word, "deaf") && rest) {
        deaf = !strcmp(rest, "on");
        printf("deaf %s\n", deaf ? "on" : "off");
    } else if (!strcmp(word, "con") || !strcmp(word, "non")) {
        char *method = strsep(&rest, " "), *uri = strsep(&rest, " ");
        if (!method || !uri) fail("con|non METHOD PATH [TEXT]");
        for (int code = 1; code <= 4; code++)
            if (!strcmp(method, METHODS[code])) {
                start_request(*word == 'c' ? CON : NON, code, uri, rest);
                return;
            }
        fail("unknown method: %s", method);
    } else {
        fail("unknown command: %s", word);
    }
}

/* Takes whole lines from stdin; returns 0 at its end. */
static int read_commands(void) {
    static char buffer[4096];
    static size_t used;
    ssize_t got = read(0, buffer + used, sizeof buffer - 1 - used);
    if (got <= 0) return 0;
    used += got;
    buffer[used] = 0;
    char *end;
    while ((end = strchr(buffer, '\n'))) {
        *end = 0;
        obey(buffer);
        used -= end + 1 - buffer;
        memmove(buffer, end + 1, used + 1);
    }
    return 1;
}

/* Reads what came over DTLS; returns 0 when the server closed. */
static int read_messages(void) {
    for (;;) {
        unsigned char bytes[MESSAGE_MAX];
        int got = mbedtls_ssl_read(&ssl, bytes, sizeof bytes);
        if (got == MBEDTLS_ERR_SSL_WANT_READ || got == MBEDTLS_ERR_SSL_WANT_WRITE) return 1;
        if (got == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY || got == 0) return printf("closed\n"), 0;
        if (got < 0) fail_tls("read", got);
        struct message message;
        parse(bytes, got, &message);
        on_message(&message);
    }
}

static void serve(void) {
    for (;;) {
        struct pollfd fds[2] = {{0, POLLIN, 0}, {udp, POLLIN, 0}};
        poll(fds, 2, pending.active ? 50 : -1);
        if (fds[1].revents && !read_messages()) return;
        if (fds[0].revents && !read_commands()) break;
        on_due();
    }
    mbedtls_ssl_close_notify(&ssl);
}

/* --- DTLS ------------------------------------------------------------------------------------- */

static size_t parse_hex(const char *text, unsigned char *out, size_t max) {
    size_t len = strlen(text) / 2;
    if (len > max || strlen(text) % 2) fail("bad key");
    for (size_t i = 0; i < len; i++) {
        unsigned byte;
        if (sscanf(text + 2 * i, "%2x", &byte) != 1) fail("bad key");
        out[i] = (unsigned char)byte;
    }
    return len;
}

static void set_up(mbedtls_ssl_config *config, const char *identity, const char *key_hex,
                   const char *suite, int cid_len) {
    static mbedtls_entropy_context entropy;
    static mbedtls_ctr_drbg_context random;
    static mbedtls_timing_delay_context timer;
    static int suites[2];
    unsigned char key[256], cid[32];
    int result;
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&random);
    mbedtls_ctr_drbg_seed(&random, mbedtls_entropy_func, &entropy, NULL, 0);
    psa_crypto_init();
    mbedtls_ctr_drbg_random(&random, (unsigned char *)&next_mid, sizeof next_mid);
    mbedtls_ctr_drbg_random(&random, cid, sizeof cid);
    next_mid &= 0xffff;
    mbedtls_ssl_config_init(config);
    mbedtls_ssl_config_defaults(config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_DATAGRAM,
                                MBEDTLS_SSL_PRESET_DEFAULT);
    mbedtls_ssl_conf_rng(config, mbedtls_ctr_drbg_random, &random);
    mbedtls_ssl_conf_max_tls_version(config, MBEDTLS_SSL_VERSION_TLS1_2);
    size_t key_len = parse_hex(key_hex, key, sizeof key);
    result = mbedtls_ssl_conf_psk(config, key, key_len, (const unsigned char *)identity,
                                  strlen(identity));
    if (result) fail_tls("psk", result);
    suites[0] = mbedtls_ssl_get_ciphersuite_id(suite);
    if (!suites[0]) fail("unknown suite: %s", suite);
    mbedtls_ssl_conf_ciphersuites(config, suites);
    mbedtls_ssl_conf_cid(config, cid_len > 0 ? cid_len : 0, MBEDTLS_SSL_UNEXPECTED_CID_IGNORE);
    mbedtls_ssl_init(&ssl);
    if ((result = mbedtls_ssl_setup(&ssl, config))) fail_tls("setup", result);
    mbedtls_ssl_set_hostname(&ssl, NULL);
    mbedtls_ssl_set_timer_cb(&ssl, &timer, mbedtls_timing_set_delay, mbedtls_timing_get_delay);
    mbedtls_ssl_set_bio(&ssl, NULL, udp_send, udp_receive, NULL);
    if (cid_len >= 0) mbedtls_ssl_set_cid(&ssl, MBEDTLS_SSL_CID_ENABLED, cid, cid_len);
}

static void shake_hands(int local_port) {
    int result;
    while ((result = mbedtls_ssl_handshake(&ssl))) {
        if (result != MBEDTLS_ERR_SSL_WANT_READ && result != MBEDTLS_ERR_SSL_WANT_WRITE)
            fail_tls("handshake", result);
        struct pollfd fd = {udp, POLLIN, 0};
        poll(&fd, 1, 50);
    }
    int enabled = 0;
    unsigned char cid[64];
    size_t cid_len = 0;
    mbedtls_ssl_get_peer_cid(&ssl, &enabled, cid, &cid_len);
    printf("ready %s %d cid=", mbedtls_ssl_get_ciphersuite(&ssl), local_port);
    for (size_t i = 0; enabled && i < cid_len; i++) printf("%02x", cid[i]);
    printf("%s\n", enabled ? "" : "none");
}

int main(int argc, char **argv) {
    const char *suite = "TLS-PSK-WITH-AES-128-CCM-8";
    int cid_len = -1;
    if (argc < 5) fail("coap_device HOST PORT IDENTITY KEYHEX [suite=NAME] [cid=BYTES] [patience=MS]");
    for (int i = 5; i < argc; i++) {
        if (!strncmp(argv[i], "suite=", 6)) suite = argv[i] + 6;
        else if (!strncmp(argv[i], "cid=", 4)) cid_len = atoi(argv[i] + 4);
        else if (!strncmp(argv[i], "patience=", 9)) patience_ms = atoi(argv[i] + 9);
        else fail("unknown option: %s", argv[i]);
    }
    if (cid_len > 32) fail("a Connection ID has at most 32 bytes here");
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM};
    if (getaddrinfo(argv[1], argv[2], &hints, &server)) fail("unknown host");
    mbedtls_ssl_config config;
    int local_port = open_udp();
    set_up(&config, argv[3], argv[4], suite, cid_len);
    shake_hands(local_port);
    serve();
    return 0;
}
