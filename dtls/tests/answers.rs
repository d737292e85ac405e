//! What does a server answer to a ClientHello? One rule of the RFCs a test.

#![allow(clippy::unwrap_used)]

mod story;

use story::{ServerEnd, first_message, hello_datagram};
use tidegate_dtls::alert::{Alert, Description};
use tidegate_dtls::extension::Extensions;
use tidegate_dtls::hello::{ClientHello, ClientHelloHead, ServerHello, parse_hello_verify_request};
use tidegate_dtls::record::{ContentType, Record};
use tidegate_dtls::{Failure, Suite, server};

const HELLO: ClientHello<'_> = ClientHello {
    head: ClientHelloHead { version: 0xfefd, random: &[7; 32], session_id: b"", cookie: b"" },
    cipher_suites: &[0xc0, 0xa8],
    compression: &[0],
    extensions: Extensions::NONE,
};

/// Both hellos through the door; what the server says to the second.
fn answer(config: server::Config, hello: &ClientHello<'_>) -> (ServerEnd, Vec<u8>) {
    let mut server = ServerEnd::new(config);
    server.on_datagram(0, &hello_datagram(hello, 0, 0));
    let verify = server.log.take().pop().unwrap();
    let cookie = parse_hello_verify_request(first_message(&verify).2).unwrap();
    let head = ClientHelloHead { cookie, ..hello.head };
    server.on_datagram(0, &hello_datagram(&ClientHello { head, ..*hello }, 1, 1));
    let answer = server.log.take();
    assert_eq!(answer.len(), 1, "one datagram");
    (server, answer.into_iter().next().unwrap())
}

fn with_cid() -> server::Config {
    server::Config { own_cid_len: 6, ..Default::default() }
}

fn server_hello(datagram: &[u8]) -> ServerHello<'_> {
    let (msg_type, message_seq, body) = first_message(datagram);
    assert_eq!((msg_type, message_seq), (2, 1));
    ServerHello::parse(body).unwrap()
}

#[track_caller]
fn refuses(config: server::Config, hello: &ClientHello<'_>, failure: Failure, alert: Description) {
    let (server, datagram) = answer(config, hello);
    assert_eq!(server.log.failure, Some(failure));
    let record = Record::parse(&datagram, 0, 0).unwrap();
    assert_eq!((record.content_type, record.epoch), (ContentType::ALERT, 0));
    assert_eq!(Alert::parse(&datagram[record.fragment()]), Some(Alert::fatal(alert)));
    assert!(server.handshake.is_none() && server.session.is_none());
}

/// RFC 5246 section 7.4.1.4: only what was offered may be answered.
#[test]
fn a_hello_without_extensions_gets_one_without() {
    let (_, datagram) = answer(with_cid(), &HELLO);
    let hello = server_hello(&datagram);
    assert_eq!(hello.extensions, Extensions::default());
    assert_eq!(first_message(&datagram).2.len(), 2 + 32 + 1 + 2 + 1, "no empty block either");
    assert_eq!((hello.version, hello.compression, hello.session_id), (0xfefd, 0, &b""[..]));
}

#[test]
fn what_is_offered_is_answered() {
    let offered = Extensions {
        max_fragment_length: Some(3),
        supported_groups: Some(&[0, 29]),
        extended_master_secret: true,
        connection_id: Some(b"wish"),
        renegotiation_info: Some(b""),
        ..Extensions::NONE
    };
    let (_, datagram) = answer(with_cid(), &ClientHello { extensions: offered, ..HELLO });
    let expected = Extensions { supported_groups: None, connection_id: Some(&[1; 6]), ..offered };
    assert_eq!(server_hello(&datagram).extensions, expected);
}

/// RFC 5746 section 3.6: the signalling suite counts as the extension.
#[test]
fn the_renegotiation_scsv_is_answered_by_the_extension() {
    let suites = [0xc0, 0xa8, 0x00, 0xff];
    let (_, datagram) = answer(with_cid(), &ClientHello { cipher_suites: &suites, ..HELLO });
    assert_eq!(server_hello(&datagram).extensions.renegotiation_info, Some(&b""[..]));
}

/// RFC 5746 section 3.6.
#[test]
fn a_first_handshake_that_renews_another_is_refused() {
    let extensions = Extensions { renegotiation_info: Some(&[1; 12]), ..HELLO.extensions };
    let hello = ClientHello { extensions, ..HELLO };
    refuses(with_cid(), &hello, Failure::Renegotiation, Description::HANDSHAKE_FAILURE);
}

/// RFC 9146 section 3.
#[test]
fn a_server_without_connection_ids_of_its_own_still_uses_the_clients() {
    let extensions = Extensions { connection_id: Some(b"wish"), ..HELLO.extensions };
    let (_, datagram) = answer(server::Config::default(), &ClientHello { extensions, ..HELLO });
    assert_eq!(server_hello(&datagram).extensions.connection_id, Some(&b""[..]));
}

#[test]
fn a_connection_id_of_thirty_two_bytes_is_used_and_one_of_thirty_three_is_not() {
    for (len, is_used) in [(32, true), (33, false)] {
        assert_eq!(takes_up(Suite::PskAes128Ccm8, len), is_used, "{len} bytes");
    }
}

/// The keys are twice as long: what a session has room for is shorter.
#[test]
fn beside_keys_of_256_bits_a_connection_id_of_sixteen_bytes_is_used_and_one_of_seventeen_not() {
    for (len, is_used) in [(16, true), (17, false)] {
        assert_eq!(takes_up(Suite::PskAes256Ccm8, len), is_used, "{len} bytes");
    }
}

/// Whether a Connection ID of `len` bytes is taken up with this suite.
fn takes_up(suite: Suite, len: usize) -> bool {
    let (cid, code) = (vec![7; len], suite.code().to_be_bytes());
    let extensions = Extensions { connection_id: Some(&cid), ..HELLO.extensions };
    let hello = ClientHello { extensions, cipher_suites: &code, ..HELLO };
    let (_, datagram) = answer(with_cid(), &hello);
    let answered = server_hello(&datagram).extensions.connection_id;
    assert!(answered.is_none_or(|cid| cid == [1; 6]), "{len} bytes");
    answered.is_some()
}

#[test]
fn dtls_one_point_zero_is_refused_and_one_point_three_comes_down() {
    let with_version =
        |version| ClientHello { head: ClientHelloHead { version, ..HELLO.head }, ..HELLO };
    let old = with_version(0xfeff);
    refuses(with_cid(), &old, Failure::Version, Description::PROTOCOL_VERSION);
    let (_, datagram) = answer(with_cid(), &with_version(0xfefc));
    assert_eq!(server_hello(&datagram).version, 0xfefd);
}

#[test]
fn without_a_common_suite_there_is_no_handshake() {
    let hello = ClientHello { cipher_suites: &[0x00, 0x2f, 0x00, 0xff], ..HELLO };
    refuses(with_cid(), &hello, Failure::NoCommonSuite, Description::HANDSHAKE_FAILURE);
    let config = server::Config { suites: vec![Suite::PskAes128Gcm], ..with_cid() };
    refuses(config, &HELLO, Failure::NoCommonSuite, Description::HANDSHAKE_FAILURE);
}

/// RFC 7627 section 5.3: the server may insist.
#[test]
fn extended_master_secret_can_be_demanded() {
    let config = || server::Config { require_extended_master_secret: true, ..with_cid() };
    let alert = Description::HANDSHAKE_FAILURE;
    refuses(config(), &HELLO, Failure::NoExtendedMasterSecret, alert);
    let extensions = Extensions { extended_master_secret: true, ..HELLO.extensions };
    let (_, datagram) = answer(config(), &ClientHello { extensions, ..HELLO });
    assert!(server_hello(&datagram).extensions.extended_master_secret);
}

#[test]
fn a_hello_that_can_not_be_read_is_refused() {
    let no_null = ClientHello { compression: &[1], ..HELLO };
    refuses(with_cid(), &no_null, Failure::Illegal, Description::ILLEGAL_PARAMETER);
    let no_suites = ClientHello { cipher_suites: &[], ..HELLO };
    refuses(with_cid(), &no_suites, Failure::Decode, Description::DECODE_ERROR);
}

/// RFC 6347 section 4.2.2: numbers begin where the client's stand, whatever that is.
#[test]
fn a_third_hello_continues_its_own_numbers() {
    let mut server = ServerEnd::new(with_cid());
    let head = ClientHelloHead { cookie: b"of another server", ..HELLO.head };
    server.on_datagram(0, &hello_datagram(&ClientHello { head, ..HELLO }, 1, 5));
    let verify = server.log.take().pop().unwrap();
    assert_eq!(Record::parse(&verify, 0, 0).unwrap().sequence, 5, "RFC 6347 section 4.2.1");
    let (msg_type, message_seq, body) = first_message(&verify);
    assert_eq!((msg_type, message_seq), (3, 1));
    let cookie = parse_hello_verify_request(body).unwrap();
    let head = ClientHelloHead { cookie, ..HELLO.head };
    server.on_datagram(0, &hello_datagram(&ClientHello { head, ..HELLO }, 2, 6));
    let flight_4 = server.log.take().pop().unwrap();
    assert_eq!(Record::parse(&flight_4, 0, 0).unwrap().sequence, 6);
    assert_eq!(first_message(&flight_4).1, 2);
}
