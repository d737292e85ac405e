/* What lies between a CoAP device (coap_device.c) and the DTLS library under it (dtls_*.c)? One
 * session at a time over one UDP socket; a failure ends the program with a line on stderr. */
#ifndef DEVICE_H
#define DEVICE_H

#include <stddef.h>

enum { MESSAGE_MAX = 1500, CID_MAX = 32, KEY_MAX = 256 };

/* How to introduce oneself and what to ask for; a null pointer means: not given. */
struct options {
    int serve;                      /* be the DTLS server (and still the CoAP device) */
    const char *identity;           /* with psk: the pre-shared key's name */
    unsigned char psk[KEY_MAX];
    size_t psk_len;
    const char *suite;              /* as IANA has it, e.g. TLS_PSK_WITH_AES_128_CCM_8 */
    int cid_len;                    /* wanted in records towards us; -1: no extension at all */
    const char *key;                /* file: private key, PEM */
    const char *cert;               /* file: certificate, PEM */
    const char *ca;                 /* file: whom to trust, PEM */
    const char *raw_key;            /* file: private key as SEC1 DER, to be shown raw */
    const char *raw_public;         /* file: its SubjectPublicKeyInfo, DER */
    const char *raw_peer;           /* file: the peer's SubjectPublicKeyInfo, DER */
    const char *server_name;        /* server_name extension, and the name to be proven */
    int fragment_code;              /* max_fragment_length: 1..4, 0: not offered */
    int extended_master_secret;
};

/* --- the DTLS library, dtls_*.c --- */
void tls_set_up(const struct options *options);
/* Shakes hands, as options->serve says; with resume: asks for the session before. */
void tls_shake_hands(int resume);
/* Bytes of one message, 0: nothing for now, -1: closed by the peer. */
int tls_read(unsigned char *bytes, int max);
void tls_write(const unsigned char *bytes, int len);
/* Says close_notify, keeps what resumption needs. */
void tls_close(void);
const char *tls_suite(void);
int tls_is_resumed(void);
/* The Connection ID the peer wants in our records; its length, or -1 without the extension. */
int tls_peer_cid(unsigned char *cid);

/* --- the device, coap_device.c --- */
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
long long now_ms(void);
int udp_send(const unsigned char *bytes, int len);
/* Bytes of one datagram, or 0 when none has come. */
int udp_receive(unsigned char *bytes, int max);
void udp_wait(int at_most_ms);
void random_bytes(unsigned char *bytes, int len);
/* Reads a whole file; its length. */
int read_file(const char *path, unsigned char *bytes, int max);

#endif
