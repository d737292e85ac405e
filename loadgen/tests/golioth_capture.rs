//! Do our record layer, key schedule and CoAP codec understand a real device of another vendor?
//! A capture of Golioth's SDK and service, and TShark's opinion of the same bytes beside it.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

use tidegate_coap::content_format;
use tidegate_crypto::secret::Secret;
use tidegate_dtls::Suite;
use tidegate_dtls::handshake::MessageType;
use tidegate_loadgen::decode::association::{Finished, Records};
use tidegate_loadgen::decode::{Counts, Decoded, Direction, What, print};

const CAPTURE: &[u8] = include_bytes!("../../tests/captures/golioth_basics_psk.pcapng");
const TSHARK: &str = include_str!("../../tests/captures/golioth_basics_psk.tshark.txt");
/// The key is the text these digits spell, which is hex digits again.
const PSK_HEX: &str = "3639616631363835626139303830626539303739323237323863316539376335";

fn decoded() -> Decoded {
    let psk = Secret::from(hex::decode(PSK_HEX).unwrap());
    Decoded::from_capture(CAPTURE, &[psk]).unwrap()
}

#[test]
fn every_packet_is_accounted_for() {
    let counts = Counts { packets: 78, not_dtls: 8, datagrams: 70, ..Counts::default() };
    assert_eq!(decoded().counts, counts, "the 8 are DNS");
}

#[test]
fn the_handshake_is_read_message_by_message() {
    let decoded = decoded();
    let before_coap = decoded.events.iter().take_while(|e| !matches!(e.what, What::Coap(_)));
    let handshake: Vec<_> =
        before_coap.map(|event| (event.direction, event.what.clone())).collect();
    let message =
        |msg_type, message_seq, body_bytes| What::Handshake { msg_type, message_seq, body_bytes };
    let (server, client) = (Direction::ToServer, Direction::ToClient);
    let expected = [
        (server, message(MessageType::CLIENT_HELLO, 0, 246)),
        (client, message(MessageType::HELLO_VERIFY_REQUEST, 0, 23)),
        (server, message(MessageType::CLIENT_HELLO, 1, 266)),
        (client, message(MessageType::SERVER_HELLO, 1, 49)),
        (client, message(MessageType::SERVER_HELLO_DONE, 2, 0)),
        (server, message(MessageType::CLIENT_KEY_EXCHANGE, 2, 43)),
        (server, What::ChangeCipherSpec),
        (server, What::Finished { is_verified: true }),
        (client, What::ChangeCipherSpec),
        (client, What::Finished { is_verified: true }),
    ];
    assert_eq!(handshake, expected);
}

#[test]
fn both_finished_are_verified_and_all_records_open() {
    let decoded = decoded();
    let [association] = &decoded.associations[..] else { panic!("one association") };
    assert_eq!(association.client.to_string(), "192.168.1.26:35430");
    assert_eq!(association.server.to_string(), "34.135.90.112:5684");
    assert_eq!(association.identity, b"20230614151602-linux@blush-unexpected-fox");
    assert_eq!(association.suite(), Some(Suite::PskAes128Gcm));
    assert!(association.has_extended_master_secret());
    assert!(association.cid(Direction::ToServer).is_empty(), "OpenSSL knows no Connection IDs");
    assert_eq!(association.client_finished, Finished::Verified);
    assert_eq!(association.server_finished, Finished::Verified);
    let records = Records { application: 64, other: 2, repeated: 0, refused: 0 };
    assert_eq!(association.records, records, "the other two are the Finished");
    assert!(decoded.is_complete());
}

#[test]
fn every_coap_message_is_the_one_that_tshark_sees() {
    let decoded = decoded();
    let ours: Vec<String> = decoded
        .messages()
        .map(|(event, message)| {
            let path: Vec<_> = message.options.uri_path().map(Option::unwrap).collect();
            let format = message.options.content_format().and_then(content_format::name);
            let What::Coap(bytes) = &event.what else { panic!("a CoAP message") };
            [
                event.time_ns.to_string(),
                if event.direction == Direction::ToServer { "client" } else { "server" }.to_owned(),
                format!("{:?}", message.ty).to_uppercase(),
                message.code.to_string(),
                message.mid.to_string(),
                hex::encode(message.token.as_bytes()),
                if path.is_empty() { "-".to_owned() } else { path.join("/") },
                format.unwrap_or("-").to_owned(),
                message.payload.len().to_string(),
                hex::encode(bytes),
            ]
            .join("\t")
        })
        .collect();
    let tshark: Vec<&str> = TSHARK.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(tshark.len(), 64);
    for (ours, tshark) in ours.iter().zip(&tshark) {
        assert_eq!(ours, tshark);
    }
    assert_eq!(ours.len(), tshark.len());
}

/// Three of the lines that a user sees.
#[test]
fn the_conversation_is_printed() {
    let mut out = Vec::new();
    print::print(&decoded(), "device.pcapng", &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    for line in [
        "#1   0.883720 → CON POST mid=43165 token=7d5b8266 Uri-Path=.d Uri-Path=my_string \
         Content-Format=application/json | \"asdf\"",
        "#1   1.045593 → CON GET mid=43168 token=7d5b8269 Observe=0 Uri-Path=.u Uri-Path=desired \
         Accept=application/json",
        "#1  11.091874 ← ACK NOT_FOUND(4.04) mid=43185 token=7d5b827a",
        "#1 Finished of client verified, of server verified; 64 application records opened",
    ] {
        assert!(text.lines().any(|printed| printed == line), "{line}\nnot in\n{text}");
    }
}

/// With another key nothing opens, and the summary says so.
#[test]
fn another_key_opens_nothing() {
    let decoded = Decoded::from_capture(CAPTURE, &[Secret::new(PSK_HEX.as_bytes())]).unwrap();
    assert_eq!(decoded.messages().count(), 0);
    assert!(!decoded.is_complete());
    let association = &decoded.associations[0];
    assert_eq!(association.records, Records { refused: 66, ..Records::default() });
    assert_eq!(association.client_finished, Finished::Missing);
    let mut out = Vec::new();
    print::print(&decoded, "device.pcapng", &mut out).unwrap();
    assert!(String::from_utf8(out).unwrap().contains("none of the keys given fits"));
}

/// One flipped bit in one protected record costs that record and no other.
#[test]
fn a_flipped_bit_costs_one_record() {
    let mut file = CAPTURE.to_vec();
    // The first application record's ciphertext, where TShark shows it.
    let ciphertext = hex::decode("0d1445328a601a2e58f9ac52babe96c9464a4345b7481dcd").unwrap();
    let place = file.windows(ciphertext.len()).position(|bytes| bytes == ciphertext).unwrap();
    file[place + 10] ^= 1;
    let psk = Secret::from(hex::decode(PSK_HEX).unwrap());
    let decoded = Decoded::from_capture(&file, &[psk]).unwrap();
    let records = decoded.associations[0].records;
    assert_eq!((records.application, records.refused), (63, 1));
    assert!(!decoded.is_complete());
    let mut out = String::new();
    write!(out, "{:?}", decoded.events).unwrap();
    assert_eq!(out.matches("Refused(BadTag)").count(), 1);
}
