"""How does python-mbedtls (Mbed TLS 2.28) carry a device's bytes?

mbedtls_device.py HOST PORT [OPTION=VALUE …], the options being those of ../coap_device.c: bytes from
stdin go into the session and back to stdout. With again=yes a second session is made after the
first, out of the same context.
"""

import os
import select
import socket
import sys

from mbedtls import pk, tls, x509

GIVE_UP_S = 20


def configuration(given):
    suite = given["suite"].replace("_", "-")
    if suite not in tls.ciphers_available():
        sys.exit("unknown suite")
    only_dtls_1_2 = {
        "lowest_supported_version": tls.DTLSVersion.DTLSv1_2,
        "highest_supported_version": tls.DTLSVersion.DTLSv1_2,
        "ciphers": [suite],
    }
    if "psk" in given:
        identity, key = given["psk"].rsplit(":", 1)
        return tls.DTLSConfiguration(
            pre_shared_key=(identity, bytes.fromhex(key)),
            validate_certificates=False,
            **only_dtls_1_2,
        )
    certificate = x509.CRT.from_file(given["cert"])
    with open(given["key"], encoding="ascii") as file:
        key = pk.ECC.from_PEM(file.read())
    return tls.DTLSConfiguration(
        certificate_chain=([certificate], key),
        trust_store=tls.TrustStore.from_pem_file(given["ca"]),
        validate_certificates=True,
        **only_dtls_1_2,
    )


def connect(context, server, name):
    session = context.wrap_socket(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), name)
    session.settimeout(GIVE_UP_S)
    session.connect(server)
    session.do_handshake()
    return session


def close(session):
    session.shutdown(socket.SHUT_RDWR)
    session.close()


def carry(session):
    while True:
        ready, _, _ = select.select([sys.stdin.buffer, session], [], [])
        if session in ready:
            os.write(1, session.recv(4096))
        if sys.stdin.buffer in ready:
            typed = os.read(0, 1500)
            if not typed:
                return
            session.send(typed)


def main():
    host, port, *rest = sys.argv[1:]
    given = dict(pair.split("=", 1) for pair in rest)
    context = tls.ClientContext(configuration(given))
    server = (host, int(port))
    name = given.get("sni")
    if "again" in given:
        close(connect(context, server, name))
    session = connect(context, server, name)
    carry(session)
    close(session)


if __name__ == "__main__":
    main()
