//! Are handshakes decoded in which neither end is ours? OpenSSL's `s_client` and `s_server`,
//! captured on a loopback interface: a PSK hint, a session ticket, a PUT, close_notify from both.

#![allow(clippy::unwrap_used)]

use tidegate_coap::code::Code;
use tidegate_coap::message::Type;
use tidegate_crypto::secret::Secret;
use tidegate_dtls::Suite;
use tidegate_dtls::handshake::MessageType;
use tidegate_loadgen::decode::association::Records;
use tidegate_loadgen::decode::{Decoded, Direction, Event, What};

const PSK: [u8; 8] = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
const WITHOUT_EMS: &[u8] = include_bytes!("../../tests/captures/openssl_ccm8_without_ems.pcap");
const SHA_384: &[u8] = include_bytes!("../../tests/captures/openssl_gcm_sha384.pcap");

/// RFC 5246 section 8.1: the master secret of a peer without RFC 7627.
#[test]
fn without_extended_master_secret() {
    check(WITHOUT_EMS, Suite::PskAes128Ccm8, false);
}

#[test]
fn with_the_suite_of_sha_384() {
    check(SHA_384, Suite::PskAes256Gcm, true);
}

fn check(capture: &[u8], suite: Suite, has_extended_master_secret: bool) {
    let decoded = Decoded::from_capture(capture, &[Secret::new(&PSK)]).unwrap();
    assert!(decoded.is_complete());
    let [association] = &decoded.associations[..] else { panic!("one association") };
    assert_eq!(association.suite(), Some(suite));
    assert_eq!(association.has_extended_master_secret(), has_extended_master_secret);
    // Two Finished and two close_notify beside the PUT.
    let records = Records { application: 1, other: 4, repeated: 0, refused: 0 };
    assert_eq!(association.records, records);

    let said: Vec<_> = decoded.events.iter().filter_map(handshake_type).collect();
    let (server, client) = (Direction::ToServer, Direction::ToClient);
    let expected = [
        (server, MessageType::CLIENT_HELLO),
        (client, MessageType::HELLO_VERIFY_REQUEST),
        (server, MessageType::CLIENT_HELLO),
        (client, MessageType::SERVER_HELLO),
        (client, MessageType::SERVER_KEY_EXCHANGE),
        (client, MessageType::SERVER_HELLO_DONE),
        (server, MessageType::CLIENT_KEY_EXCHANGE),
        // NewSessionTicket (RFC 5077): in the transcript of the server's Finished alone.
        (client, MessageType(4)),
    ];
    assert_eq!(said, expected);

    let messages: Vec<_> = decoded.messages().map(|(_, message)| message).collect();
    let [put] = messages[..] else { panic!("one message") };
    assert_eq!((put.ty, put.code, put.mid), (Type::Con, Code::PUT, 0x1234));
    assert_eq!(put.options.uri_path().collect::<Vec<_>>(), [Some("t")]);
    assert_eq!(put.payload, b"21");
}

fn handshake_type(event: &Event) -> Option<(Direction, MessageType)> {
    match event.what {
        What::Handshake { msg_type, .. } => Some((event.direction, msg_type)),
        _ => None,
    }
}
