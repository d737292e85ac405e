/* A device that is not ours: CoAP over DTLS 1.2 on the library whose dtls_*.c it is linked with.
 *
 *   coap_device_LIBRARY HOST PORT [psk=IDENTITY:KEYHEX] [suite=NAME] [cid=BYTES] [OPTION=VALUE …]
 *
 *   key=FILE cert=FILE ca=FILE            X.509, PEM
 *   raw_key=FILE raw_public=FILE raw_peer=FILE    raw public keys: SEC1 DER, SPKI DER, SPKI DER
 *   sni=NAME   mfl=CODE   ems=no   patience=MS   serve=yes
 *
 * Without cid= it does not offer the extension; cid=0 wants none in records towards itself but
 * uses the server's. A request without any answer is given up after patience (60000). It shakes
 * hands, says so, then obeys lines on stdin and tells on stdout:
 *
 *   ready SUITE PORT resumed=yes|no cid=HEX|none      (the peer's Connection ID)
 *   con|non get|put|post|delete PATH[?QUERY] [TEXT]   ->  response CODE TYPE [TEXT] | timeout
 *   rebind                                            ->  rebound PORT   (a new UDP port)
 *   reconnect full|resumed     close_notify, another port, another handshake   ->  ready …
 *   deaf on|off     drop what arrives, like a device that sleeps   ->  deaf on|off
 *
 * A request from the peer is answered (GET 2.05, DELETE 2.02, else 2.04) whenever it comes:
 *   request METHOD TYPE PATH [TEXT]
 *
 * With serve=yes it binds HOST PORT instead ("listening PORT") and shakes hands with whoever
 * comes, one peer after the other.
 *
 * End of stdin: close_notify and exit 0. Every failure of its own: a line on stderr and exit 1.
 */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "device.h"

enum { CON = 0, NON = 1, ACK = 2, RST = 3 };
enum { URI_PATH = 11, CONTENT_FORMAT = 12, URI_QUERY = 15 };
enum { CODE_GET = 1, CODE_DELETE = 4, CODE_DELETED = 66, CODE_CHANGED = 68, CODE_CONTENT = 69 };
enum { ACK_TIMEOUT_MS = 2000 };

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

static struct options options = {
    .suite = "TLS_PSK_WITH_AES_128_CCM_8", .cid_len = -1, .extended_master_secret = 1};
static struct addrinfo *host;
static int udp = -1;
static struct sockaddr_storage peer; /* as a server: whom we talk to */
static socklen_t peer_len;
static int deaf;
static int next_mid;
static int patience_ms = 60000;

void fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

long long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

void random_bytes(unsigned char *bytes, int len) {
    if (getrandom(bytes, len, 0) != len) fail("no random bytes");
}

int read_file(const char *path, unsigned char *bytes, int max) {
    FILE *file = fopen(path, "rb");
    if (!file) fail("no file %s", path);
    int len = (int)fread(bytes, 1, max, file);
    if (len == max) fail("%s is too long", path);
    fclose(file);
    return len;
}

/* --- UDP ------------------------------------------------------------------------------------ */

static int local_port(void) {
    struct sockaddr_storage local;
    socklen_t len = sizeof local;
    getsockname(udp, (struct sockaddr *)&local, &len);
    char port[16];
    getnameinfo((struct sockaddr *)&local, len, NULL, 0, port, sizeof port, NI_NUMERICSERV);
    return atoi(port);
}

/* A fresh socket; the old one closes only afterwards, so that the port really changes. */
static void open_udp(void) {
    int old = udp;
    udp = socket(host->ai_family, SOCK_DGRAM, 0);
    int result = options.serve ? bind(udp, host->ai_addr, host->ai_addrlen)
                               : connect(udp, host->ai_addr, host->ai_addrlen);
    if (udp < 0 || result != 0) fail("no UDP socket");
    if (old >= 0) close(old);
}

/* As a server: waits for the next peer and talks to it alone. */
static void await_peer(void) {
    unsigned char byte;
    for (;;) {
        peer_len = sizeof peer;
        if (recvfrom(udp, &byte, 1, MSG_PEEK, (struct sockaddr *)&peer, &peer_len) >= 0) return;
        if (errno != ECONNREFUSED) fail("no peer"); /* else: the peer before has gone */
    }
}

int udp_send(const unsigned char *bytes, int len) {
    const struct sockaddr *to = options.serve ? (struct sockaddr *)&peer : NULL;
    if (sendto(udp, bytes, len, 0, to, options.serve ? peer_len : 0) < 0) {
        /* a refused port (server restarting) is loss, as outdoors */
    }
    return len;
}

int udp_receive(unsigned char *bytes, int max) {
    for (;;) {
        struct sockaddr_storage from;
        socklen_t from_len = sizeof from;
        ssize_t got = recvfrom(udp, bytes, max, MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
        if (got <= 0) return 0;
        int is_other = options.serve && memcmp(&from, &peer, from_len) != 0;
        if (!deaf && !is_other) return (int)got;
    }
}

void udp_wait(int at_most_ms) {
    struct pollfd fd = {udp, POLLIN, 0};
    poll(&fd, 1, at_most_ms);
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
    tls_write(bytes, len);
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

static void shake_hands(int resume) {
    unsigned char cid[256];
    tls_shake_hands(resume);
    int cid_len = tls_peer_cid(cid);
    printf("ready %s %d resumed=%s cid=", tls_suite(), local_port(), tls_is_resumed() ? "yes" : "no");
    for (int i = 0; i < cid_len; i++) printf("%02x", cid[i]);
    printf("%s\n", cid_len < 0 ? "none" : "");
}

static void obey(char *line) {
    char *rest = line;
    char *word = strsep(&rest, " ");
    if (!strcmp(word, "rebind")) {
        open_udp();
        printf("rebound %d\n", local_port());
    } else if (!strcmp(word, "reconnect") && rest) {
        tls_close();
        open_udp();
        shake_hands(!strcmp(rest, "resumed"));
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

/* Reads what came over DTLS; returns 0 when the peer closed. */
static int read_messages(void) {
    unsigned char bytes[MESSAGE_MAX];
    int len;
    while ((len = tls_read(bytes, sizeof bytes)) > 0) {
        struct message message;
        parse(bytes, len, &message);
        on_message(&message);
    }
    if (len < 0) printf("closed\n");
    return len == 0;
}

static void talk(void) {
    for (;;) {
        struct pollfd fds[2] = {{0, POLLIN, 0}, {udp, POLLIN, 0}};
        poll(fds, 2, pending.active ? 50 : -1);
        if (fds[1].revents && !read_messages()) {
            if (!options.serve) return;
            await_peer();
            shake_hands(0);
        }
        if (fds[0].revents && !read_commands()) break;
        on_due();
    }
    tls_close();
}

/* --- start ------------------------------------------------------------------------------------ */

static void take_psk(char *identity_and_key) {
    char *hex = strrchr(identity_and_key, ':');
    if (!hex) fail("psk=IDENTITY:KEYHEX");
    *hex++ = 0;
    options.identity = identity_and_key;
    options.psk_len = strlen(hex) / 2;
    if (options.psk_len > sizeof options.psk || strlen(hex) % 2) fail("bad key");
    for (size_t i = 0; i < options.psk_len; i++) {
        unsigned byte;
        if (sscanf(hex + 2 * i, "%2x", &byte) != 1) fail("bad key");
        options.psk[i] = (unsigned char)byte;
    }
}

static void take_option(char *text) {
    char *value = text, *name = strsep(&value, "=");
    if (!value) fail("OPTION=VALUE, not %s", text);
    else if (!strcmp(name, "psk")) take_psk(value);
    else if (!strcmp(name, "suite")) options.suite = value;
    else if (!strcmp(name, "cid")) options.cid_len = atoi(value);
    else if (!strcmp(name, "key")) options.key = value;
    else if (!strcmp(name, "cert")) options.cert = value;
    else if (!strcmp(name, "ca")) options.ca = value;
    else if (!strcmp(name, "raw_key")) options.raw_key = value;
    else if (!strcmp(name, "raw_public")) options.raw_public = value;
    else if (!strcmp(name, "raw_peer")) options.raw_peer = value;
    else if (!strcmp(name, "sni")) options.server_name = value;
    else if (!strcmp(name, "mfl")) options.fragment_code = atoi(value);
    else if (!strcmp(name, "ems")) options.extended_master_secret = strcmp(value, "no") != 0;
    else if (!strcmp(name, "serve")) options.serve = !strcmp(value, "yes");
    else if (!strcmp(name, "patience")) patience_ms = atoi(value);
    else fail("unknown option: %s", name);
}

int main(int argc, char **argv) {
    if (argc < 3) fail("coap_device_LIBRARY HOST PORT [OPTION=VALUE …]");
    for (int i = 3; i < argc; i++) take_option(argv[i]);
    if (options.cid_len > CID_MAX) fail("a Connection ID has at most %d bytes here", CID_MAX);
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM};
    if (getaddrinfo(argv[1], argv[2], &hints, &host)) fail("unknown host");
    random_bytes((unsigned char *)&next_mid, sizeof next_mid);
    next_mid &= 0xffff;
    tls_set_up(&options);
    open_udp(); /* last: whoever sees a server's port taken may take it for able to serve */
    if (options.serve) {
        printf("listening %d\n", local_port());
        await_peer();
    }
    shake_hands(0);
    talk();
    return 0;
}
