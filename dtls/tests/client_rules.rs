//! What does a client refuse of a server's hello and of its flight 4? One rule a test; every
//! message of the server is written here.

#![allow(clippy::unwrap_used)]

mod story;

use story::credential::{Kind, SERVER_NAME};
use story::{ClientEnd, first_message, message_datagram};
use tidegate_crypto::agreement::{Ephemeral, Group};
use tidegate_dtls::alert::{Alert, Description};
use tidegate_dtls::certificate::{Certificate, CertificateRequest, ECDSA_SIGN};
use tidegate_dtls::extension::{CertificateTypes, Extensions};
use tidegate_dtls::hello::{ClientHello, ServerHello};
use tidegate_dtls::key_exchange::{EcdhParams, ServerKeyExchange};
use tidegate_dtls::{Failure, Suite, client};

const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const KEY_EXCHANGE: u8 = 12;
const CERTIFICATE_REQUEST: u8 = 13;
const DONE: u8 = 14;

const PSK: Suite = Suite::PskAes128Ccm8;
const ECDHE_PSK: Suite = Suite::EcdhePskAes128Ccm8;
const ECDSA: Suite = Suite::EcdheEcdsaAes128Ccm8;

/// A client that has sent its first hello, and takes messages without a cookie in between.
fn client(kind: Kind, suite: Suite) -> ClientEnd {
    start(kind, kind.client(suite))
}

fn start(kind: Kind, config: client::Config) -> ClientEnd {
    ClientEnd::start(config, 0, 9, Some(b"me"), kind.credential(), None)
}

/// What the server says, a message a datagram.
fn says(client: &mut ClientEnd, messages: &[(u8, Vec<u8>)]) {
    for (seq, (msg_type, body)) in (0..).zip(messages) {
        client.on_datagram(0, &message_datagram(*msg_type, seq, seq.into(), body));
    }
}

/// The client gives up for this reason, and says so.
#[track_caller]
fn refuses(mut client: ClientEnd, messages: &[(u8, Vec<u8>)], failure: Failure) {
    let (last, before) = messages.split_last().unwrap();
    says(&mut client, before);
    assert_eq!(client.log.failure, None, "not before the last message");
    let seq = before.len() as u16;
    client.log.take();
    client.on_datagram(0, &message_datagram(last.0, seq, seq.into(), &last.1));
    assert_eq!(client.log.failure, Some(failure));
    let alert = Alert::parse(&client.log.take().pop().unwrap()[13..]).unwrap();
    assert_eq!(alert, Alert::fatal(failure.alert().unwrap()));
}

fn hello(suite: Suite, extensions: Extensions<'_>) -> (u8, Vec<u8>) {
    let mut body = Vec::new();
    ServerHello::new(&[9; 32], b"", suite, extensions).write(&mut body);
    (SERVER_HELLO, body)
}

fn plain(suite: Suite) -> (u8, Vec<u8>) {
    hello(suite, Extensions { extended_master_secret: true, ..Extensions::NONE })
}

fn key_exchange(message: ServerKeyExchange<'_>) -> (u8, Vec<u8>) {
    let mut body = Vec::new();
    message.write(&mut body);
    (KEY_EXCHANGE, body)
}

fn share(group: Group, point: &[u8]) -> (u8, Vec<u8>) {
    let params = EcdhParams { group: group.code(), point };
    key_exchange(ServerKeyExchange::EcdhePsk { hint: b"", params })
}

fn good_share() -> (u8, Vec<u8>) {
    share(Group::X25519, Ephemeral::new(Group::X25519, &[3; 48]).share())
}

fn request() -> (u8, Vec<u8>) {
    let mut body = Vec::new();
    CertificateRequest { types: &[ECDSA_SIGN], signature_algorithms: &[4, 3], authorities: &[] }
        .write(&mut body);
    (CERTIFICATE_REQUEST, body)
}

fn done() -> (u8, Vec<u8>) {
    (DONE, Vec::new())
}

/// The last hello that the client sent.
fn offered(client: &ClientEnd) -> Vec<u8> {
    first_message(client.log.outbox.last().unwrap()).2.to_vec()
}

/// RFC 9853 section 3, RFC 7250 section 4.1, RFC 8422 section 5.1: what is offered depends on who
/// we are and whom we believe.
#[test]
fn a_hello_offers_what_its_credential_is_for() {
    let body = offered(&client(Kind::PreSharedKey, PSK));
    let hello = ClientHello::parse(&body).unwrap();
    assert_eq!(hello.cipher_suites, [0xc0, 0xa8, 0x00, 0xff]);
    let extensions = hello.extensions;
    assert!(extensions.return_routability_check && extensions.connection_id.is_some());
    assert_eq!(extensions.server_name, Some(SERVER_NAME.as_bytes()));
    assert_eq!((extensions.supported_groups, extensions.signature_algorithms), (None, None));

    let body = offered(&client(Kind::PreSharedKey, ECDHE_PSK));
    let extensions = ClientHello::parse(&body).unwrap().extensions;
    assert_eq!(extensions.supported_groups, Some(&[0, 29, 0, 23, 0, 24][..]));
    assert_eq!(extensions.ec_point_formats, Some(&[0][..]));
    assert_eq!(extensions.signature_algorithms, None);

    let body = offered(&client(Kind::Certificate, ECDSA));
    let extensions = ClientHello::parse(&body).unwrap().extensions;
    assert_eq!(extensions.signature_algorithms, Some(&[4, 3, 5, 3][..]));
    let types = (extensions.client_certificate_type, extensions.server_certificate_type);
    assert_eq!(types, (None, None), "X.509 needs no words");

    let body = offered(&client(Kind::RawPublicKey, ECDSA));
    let extensions = ClientHello::parse(&body).unwrap().extensions;
    let raw = Some(CertificateTypes::Offered(&[2]));
    let types = (extensions.client_certificate_type, extensions.server_certificate_type);
    assert_eq!(types, (raw, raw));
}

/// RFC 6066 section 3: an address is no host name. The check of RFC 9853 needs a Connection ID.
#[test]
fn an_address_is_not_offered_as_a_name_nor_a_check_without_a_connection_id() {
    let kind = Kind::PreSharedKey;
    for address in ["192.0.2.1", "2001:db8::1"] {
        let config = client::Config { server_name: Some(address.into()), ..kind.client(PSK) };
        let body = offered(&start(kind, config));
        assert_eq!(ClientHello::parse(&body).unwrap().extensions.server_name, None, "{address}");
    }
    let end = ClientEnd::start(kind.client(PSK), 0, 9, None, kind.credential(), None);
    let body = offered(&end);
    assert!(!ClientHello::parse(&body).unwrap().extensions.return_routability_check);
}

/// RFC 5246 section 7.4.1.4: a ServerHello brings nothing unasked.
#[test]
fn an_extension_that_was_not_offered_is_refused() {
    let kind = Kind::PreSharedKey;
    let config = || client::Config {
        extended_master_secret: false,
        server_name: None,
        return_routability: false,
        ..kind.client(PSK)
    };
    let none = Extensions::NONE;
    let chosen = Some(CertificateTypes::Chosen(2));
    for extensions in [
        Extensions { extended_master_secret: true, ..none },
        Extensions { server_name: Some(b""), ..none },
        Extensions { max_fragment_length: Some(1), ..none },
        Extensions { return_routability_check: true, ..none },
        Extensions { supported_groups: Some(&[0, 23]), ..none },
        Extensions { ec_point_formats: Some(&[0]), ..none },
        Extensions { signature_algorithms: Some(&[4, 3]), ..none },
        Extensions { client_certificate_type: chosen, ..none },
        Extensions { server_certificate_type: chosen, ..none },
    ] {
        let answer = [hello(PSK, extensions)];
        refuses(start(kind, config()), &answer, Failure::UnsupportedExtension);
    }
    let mut control = start(kind, config());
    says(&mut control, &[hello(PSK, none), done()]);
    assert_eq!(control.log.failure, None);
}

#[test]
fn a_hello_with_what_was_not_offered_is_illegal() {
    let kind = Kind::PreSharedKey;
    refuses(client(kind, PSK), &[plain(ECDHE_PSK)], Failure::Illegal);
    let answered = |extensions| [hello(PSK, extensions)];
    let config = client::Config { max_fragment_length: Some(2), ..kind.client(PSK) };
    let other = Extensions { max_fragment_length: Some(1), ..Extensions::NONE };
    refuses(start(kind, config), &answered(other), Failure::Illegal);
    let long = Extensions { connection_id: Some(&[1; 33]), ..Extensions::NONE };
    refuses(client(kind, PSK), &answered(long), Failure::Illegal);
    let renewed = Extensions { renegotiation_info: Some(b"x"), ..Extensions::NONE };
    refuses(client(kind, PSK), &answered(renewed), Failure::Renegotiation);
    let (kind, x509) = (Kind::RawPublicKey, Some(CertificateTypes::Chosen(0)));
    let extensions = Extensions { server_certificate_type: x509, ..Extensions::NONE };
    refuses(client(kind, ECDSA), &[hello(ECDSA, extensions)], Failure::Illegal);
}

/// RFC 5246 section 7.3, RFC 4279 section 2, RFC 5489 section 2: who says what, and in which order.
#[test]
fn a_message_out_of_its_place_is_unexpected() {
    let hint = || key_exchange(ServerKeyExchange::Psk { hint: b"hint" });
    let certificate = || {
        let mut body = Vec::new();
        Certificate::X509(vec![b"der"]).write(&mut body);
        (CERTIFICATE, body)
    };
    let psk = || client(Kind::PreSharedKey, PSK);
    let unexpected = Failure::UnexpectedMessage;
    refuses(psk(), &[done()], unexpected);
    refuses(psk(), &[plain(PSK), plain(PSK)], unexpected);
    refuses(psk(), &[plain(PSK), certificate()], unexpected);
    refuses(psk(), &[plain(PSK), request()], unexpected);
    refuses(psk(), &[plain(PSK), hint(), hint()], unexpected);
    let ecdhe = || client(Kind::PreSharedKey, ECDHE_PSK);
    refuses(ecdhe(), &[plain(ECDHE_PSK), done()], unexpected);
    refuses(ecdhe(), &[plain(ECDHE_PSK), good_share(), good_share()], unexpected);
    refuses(ecdhe(), &[plain(ECDHE_PSK), good_share(), request()], unexpected);
    let signed = || client(Kind::Certificate, ECDSA);
    refuses(signed(), &[plain(ECDSA), good_share()], unexpected);
    refuses(signed(), &[plain(ECDSA), request()], unexpected);
    refuses(signed(), &[plain(ECDSA), done()], unexpected);

    let mut control = psk();
    says(&mut control, &[plain(PSK), hint(), done()]);
    let mut with_share = ecdhe();
    says(&mut with_share, &[plain(ECDHE_PSK), good_share(), done()]);
    for end in [control, with_share] {
        assert_eq!(end.log.failure, None);
        let flight_5 = end.log.outbox.last().unwrap();
        assert_eq!(story::records(flight_5, 0), [(22, 0), (20, 0), (22, 1)]);
    }
}

/// RFC 8422 sections 5.4, 5.10 and 5.11: the group is one of ours, and the share is one of it.
#[test]
fn a_share_that_can_not_be_agreed_with_is_illegal() {
    let kind = Kind::PreSharedKey;
    let of = |groups: &[Group]| {
        start(kind, client::Config { groups: groups.to_vec(), ..kind.client(ECDHE_PSK) })
    };
    let p256 = Ephemeral::new(Group::Secp256r1, &[3; 48]);
    let other = [plain(ECDHE_PSK), share(Group::Secp256r1, p256.share())];
    refuses(of(&[Group::X25519]), &other, Failure::Illegal);
    let zeros = [plain(ECDHE_PSK), share(Group::X25519, &[0; 32]), done()];
    refuses(of(&[Group::X25519]), &zeros, Failure::Illegal);
    let mut off_curve = p256.share().to_vec();
    off_curve[64] ^= 1;
    let off_curve = [plain(ECDHE_PSK), share(Group::Secp256r1, &off_curve), done()];
    refuses(of(&[Group::Secp256r1]), &off_curve, Failure::Illegal);
    let mut control = of(&[Group::Secp256r1]);
    says(&mut control, &[other[0].clone(), other[1].clone(), done()]);
    assert_eq!(control.log.failure, None);
}

#[test]
fn a_server_without_a_certificate_is_nobody() {
    let mut body = Vec::new();
    Certificate::X509(Vec::new()).write(&mut body);
    let flight = [plain(ECDSA), (CERTIFICATE, body)];
    refuses(client(Kind::Certificate, ECDSA), &flight, Failure::NoCertificate);
    assert_eq!(Failure::NoCertificate.alert(), Some(Description::HANDSHAKE_FAILURE));
}
