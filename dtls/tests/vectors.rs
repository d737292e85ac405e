//! Do we read what another implementation wrote?

#![allow(clippy::unwrap_used)]

use tidegate_crypto::aead::{Aad, Aead, Job, open};
use tidegate_dtls::established::{Established, Negotiated};
use tidegate_dtls::handshake::{Fragment, MessageType};
use tidegate_dtls::key_schedule::{DirectionKeys, KeyBlock, Role};
use tidegate_dtls::record::{ContentType, Record};
use tidegate_dtls::{Drop, Suite};

/// A wolfSSL client's Finished to a Californium server: `PSK_WITH_AES_128_CCM_8`, a Connection ID
/// of 6 bytes, and an explicit nonce that is not the record number.
const KEY: &str = "9a25c2246b85d61f75342338bc12f748";
const IV: &str = "ff17e494";
const CID: &str = "fb50e61de26e";
const AAD: &str = "ffffffffffffffff190619fefd0001000000000000fb50e61de26e0019";
const FRAGMENT: &str = "000000000000000030e66fa58a3607ce14dd5ed8271f5eac5f69ee598676e109f8336366\
                        31bb7c9b20";
const INNER: &str = "1400000c000300000000000c384d34a8c22da7a6767a830916";

fn datagram() -> Vec<u8> {
    hex::decode(format!("19fefd0001000000000000{CID}{:04x}{FRAGMENT}", FRAGMENT.len() / 2)).unwrap()
}

fn server() -> Established {
    let direction = |key: &str, iv: &str| {
        let mut keys = DirectionKeys { key: [0; 32], iv: [0; 4] };
        hex::decode_to_slice(key, &mut keys.key[..16]).unwrap();
        hex::decode_to_slice(iv, &mut keys.iv).unwrap();
        keys
    };
    let keys = KeyBlock { client: direction(KEY, IV), server: direction(&"00".repeat(16), IV) };
    let negotiated = Negotiated {
        suite: Suite::PskAes128Ccm8,
        own_cid_len: 6,
        peer_cid: b"",
        extended_master_secret: true,
        max_fragment_length: None,
        return_routability: false,
    };
    Established::new(&negotiated, &keys, Role::Server)
}

#[test]
fn the_finished_of_a_foreign_client_is_opened() {
    let mut datagram = datagram();
    let record = Record::parse(&datagram, 0, 6).unwrap();
    assert_eq!(datagram[record.cid()], hex::decode(CID).unwrap());
    let mut server = server();
    let opened = server.open(&record, &mut datagram).unwrap();
    assert_eq!(opened.content_type, ContentType::HANDSHAKE);
    let content = &datagram[opened.content];
    assert_eq!(hex::encode(content), INNER[..INNER.len() - 2], "all but the type");
    let (finished, rest) = Fragment::parse(content).unwrap();
    assert_eq!((finished.msg_type, finished.message_seq), (MessageType::FINISHED, 3));
    assert!(finished.is_whole() && rest.is_empty());
}

/// The same through the AEAD alone, so that an error in our associated data would show.
#[test]
fn the_associated_data_is_that_of_rfc_9146_section_5_3() {
    let fragment = hex::decode(FRAGMENT).unwrap();
    let (explicit_nonce, text) = fragment.split_at(8);
    let nonce = [&hex::decode(IV).unwrap(), explicit_nonce].concat().try_into().unwrap();
    let key = hex::decode(KEY).unwrap();
    let mut text = text.to_vec();
    let aad = Aad::new(&hex::decode(AAD).unwrap());
    let mut jobs = [Job::new(Aead::Aes128Ccm8, &key, nonce, aad, &mut text)];
    open(&mut jobs);
    assert!(jobs[0].done);
    assert_eq!(hex::encode(&text[..text.len() - 8]), INNER);
}

#[test]
fn no_bit_of_it_can_be_changed() {
    for bit in 0..8 * datagram().len() {
        let mut changed = datagram();
        changed[bit / 8] ^= 1 << (bit % 8);
        let opened = Record::parse(&changed, 0, 6)
            .and_then(|record| server().open(&record, &mut changed).map(|_| ()));
        match bit / 8 {
            0 | 18 => assert!(opened.is_err(), "bit {bit} of the type or the length"),
            1 | 2 => assert_eq!(opened, Err(Drop::Version), "bit {bit}"),
            3 | 4 => assert_eq!(opened, Err(Drop::Epoch), "bit {bit}"),
            17 => assert_eq!(opened, Err(Drop::Truncated), "bit {bit}"),
            _ => assert_eq!(opened, Err(Drop::BadTag), "bit {bit}"),
        }
    }
}
