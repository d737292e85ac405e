//! Do we read what another implementation wrote?

#![allow(clippy::unwrap_used)]

use tidegate_crypto::aead::{Aad, Aead, Job, open};
use tidegate_crypto::agreement::{Ephemeral, Group};
use tidegate_crypto::prf::Hash;
use tidegate_dtls::established::{Established, Negotiated};
use tidegate_dtls::handshake::{Fragment, MessageType};
use tidegate_dtls::key_schedule::{
    DirectionKeys, KeyBlock, MasterSecret, Role, ecdhe_psk_premaster,
};
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

/// RFC 5489 section 2 from end to end: Bob's and Alice's keys of RFC 7748 section 6.1 and a
/// pre-shared key. The rest was computed from the RFCs' formulas by another program (Python's
/// `hmac` and `hashlib`).
const BOB: &str = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb";
const ALICE_SHARE: &str = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
const PREMASTER: &str = "00204a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742\
                         001030313233343536373839616263646566";

struct Derived {
    hash: Hash,
    suite: Suite,
    master: &'static str,
    /// Client key, server key, client IV, server IV.
    key_block: &'static str,
    extended: &'static str,
}

const DERIVED: [Derived; 2] = [
    Derived {
        hash: Hash::Sha256,
        suite: Suite::EcdhePskAes128Ccm8,
        master: "b69e71062a709b4542e0628a142541a72d3bddf578907a289ea75a4e343348ca\
                 8831f40a038b3ba69ad281a3474d7e88",
        key_block: "ccc7ac62ee062d39495468c2c488d2d246df9b327079e440bba3bae3821f004d\
                    6eab6fdbf81e5ef2",
        extended: "25358c51d50d6983e22b90649908943d0170b4c236f23664dc66e4b7a8ce354b\
                   71754a0d405bb2a97fc3e7cca8d3d02a",
    },
    Derived {
        hash: Hash::Sha384,
        suite: Suite::EcdhePskAes256Gcm,
        master: "76b751120494ef613725e2ec2cd538ff94a5db3a859cc9b0d37707f1531eea8e\
                 3c53be7471bbb7a62c34712f944fbf45",
        key_block: "a7e8fb34345a213757759e90db64a11a37f72f6accd4130fbc84312f5397b850\
                    27f15cfdf995cda6d011198ca9ef8cfa48bb85973a251c619dfd74fa27d10e4e\
                    a10e071c98d5f2f1",
        extended: "642c4d57dd98338d018a540d84a4f8b07391085b26a819789250d08890aa31c5\
                   773afef8299d790fd0f5f3e862551dc5",
    },
];

#[test]
fn a_key_agreement_with_a_pre_shared_key_makes_the_keys_that_another_program_makes() {
    let mut seed = [0; 48];
    hex::decode_to_slice(BOB, &mut seed[..32]).unwrap();
    let bob = Ephemeral::new(Group::X25519, &seed);
    let agreed = bob.agree(&hex::decode(ALICE_SHARE).unwrap()).unwrap();
    let premaster = ecdhe_psk_premaster(&agreed, b"0123456789abcdef");
    assert_eq!(hex::encode(premaster.as_bytes()), PREMASTER);
    for derived in DERIVED {
        let master = MasterSecret::derive(derived.hash, &premaster, &[0x11; 32], &[0x22; 32]);
        assert_eq!(hex::encode(master.as_bytes()), derived.master);
        let block = master.key_block(derived.suite, &[0x11; 32], &[0x22; 32]);
        let key_bytes = derived.suite.aead().key_bytes();
        let (client, server) = (&block.client, &block.server);
        let parts = [&client.key[..key_bytes], &server.key[..key_bytes], &client.iv, &server.iv];
        assert_eq!(hex::encode(parts.concat()), derived.key_block);
        let session_hash = derived.hash.digest(&[b"all messages"]);
        let extended = MasterSecret::derive_extended(derived.hash, &premaster, &session_hash);
        assert_eq!(hex::encode(extended.as_bytes()), derived.extended);
    }
}
