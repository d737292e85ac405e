//! Does anything panic, grow, or disturb a good association when datagrams are changed, cut, mixed
//! or invented? Seeded, so that a failure can be run again.

#![allow(clippy::unwrap_used)]

mod story;

use std::sync::Arc;

use story::credential::Kind;
use story::{ClientEnd, Dice, IDENTITY, OUT_BYTES, PSK, ServerEnd, application, shake_hands};
use tidegate_dtls::record::{ContentType, Record};
use tidegate_dtls::{Established, Failure, Link, Suite, client, server};
use zerocopy::{FromBytes, IntoBytes};

/// Changes a datagram in one of the ways that networks and enemies do.
fn spoil(dice: &mut Dice, datagram: &mut Vec<u8>) {
    match dice.below(6) {
        0 => {
            for _ in 0..=dice.below(4) {
                let at = dice.below(datagram.len());
                datagram[at] ^= 1 << dice.below(8);
            }
        }
        1 => datagram.truncate(dice.below(datagram.len())),
        2 => {
            // The bytes of headers, where lengths and numbers stand.
            let at = dice.below(datagram.len().min(60));
            datagram[at] = [0, 1, 2, 0x7f, 0x80, 0xfe, 0xff][dice.below(7)];
        }
        3 => {
            let copy = datagram.clone();
            datagram.extend(&copy[dice.below(copy.len())..]);
        }
        4 => {
            let len = dice.below(200);
            *datagram = (0..len).map(|_| dice.roll() as u8).collect();
        }
        _ => {
            // A plausible record around noise.
            let len = dice.below(120);
            let kind = [20, 21, 22, 23, 25][dice.below(5)];
            let mut record = vec![kind, 0xfe, 0xfd, 0, dice.below(3) as u8];
            record.extend(&(dice.roll() % 8).to_be_bytes()[2..]);
            if kind == 25 {
                record.extend([1; 6]);
            }
            record.extend([0, len as u8]);
            record.extend((0..len).map(|_| (dice.roll() % 24) as u8));
            *datagram = record;
        }
    }
}

fn server_config() -> server::Config {
    server::Config { own_cid_len: 6, ..Default::default() }
}

/// Every flight of the client among spoiled copies of it, and spoiled ones of the server's back.
#[test]
fn a_handshake_in_a_storm_stays_inside_its_memory_and_never_panics() {
    let config = server_config();
    let bound = config.handshake_bytes_max() + size_of::<server::Handshake>();
    let (mut thrown, mut completed) = (0, 0);
    for seed in 0..2_000 {
        let mut dice = Dice(seed);
        let wildness = (seed % 20) as usize;
        let mut server = ServerEnd::new(config.clone());
        let mut client = ClientEnd::new(client::Config::default(), 0, seed as u8, Some(b"me"));
        for _ in 0..8 {
            for genuine in client.log.take() {
                for _ in 0..wildness {
                    let mut spoiled = genuine.clone();
                    spoil(&mut dice, &mut spoiled);
                    server.on_datagram(0, &spoiled);
                    thrown += 1;
                    let bytes = server.handshake.as_ref().map_or(0, server::Handshake::bytes);
                    assert!(bytes <= bound, "seed {seed}: {bytes} bytes");
                }
                server.on_datagram(0, &genuine);
            }
            for genuine in server.log.take() {
                for _ in 0..wildness {
                    let mut spoiled = genuine.clone();
                    spoil(&mut dice, &mut spoiled);
                    client.on_datagram(0, &spoiled);
                    thrown += 1;
                }
                client.on_datagram(0, &genuine);
            }
        }
        completed += u32::from(client.session.is_some() && server.session.is_some());
    }
    assert!(thrown > 100_000, "{thrown} datagrams");
    // Plaintext can be forged, so many handshakes die of it; the storm is not always so wild that
    // none lives, or nothing behind the first flights would have been tried.
    assert!((150..1_900).contains(&completed), "{completed} completed");
}

/// The same with key agreement, raw public keys and certificates, full and resumed: longer flights,
/// and more to hold.
#[test]
fn every_kind_of_handshake_in_a_storm_stays_inside_its_memory_and_never_panics() {
    let config = story::credential::server(6, Link { mtu: 300, ..Link::default() });
    let bound = config.handshake_bytes_max() + size_of::<server::Handshake>();
    let (mut thrown, mut completed, mut resumed) = (0, 0, 0);
    let suites = [Suite::EcdhePskAes128Ccm8, Suite::EcdheEcdsaAes128Ccm8];
    let kinds = suites.iter().flat_map(|suite| Kind::of(*suite).iter().map(move |k| (*suite, *k)));
    for (seed, (suite, kind)) in (0..240).zip(kinds.cycle()) {
        let mut dice = Dice(seed);
        let wildness = (seed / 12 % 6) as usize;
        let mut server = ServerEnd::new(config.clone());
        server.keeps_sessions = true;
        let mut kept = None;
        for attempt in 1..=2 {
            let (own_cid, credential) = (Some(&b"me"[..]), kind.credential());
            let client = kind.client(suite);
            let mut client =
                ClientEnd::start(client, 0, attempt, own_cid, credential, kept.as_ref());
            for _ in 0..10 {
                for genuine in client.log.take() {
                    for _ in 0..wildness {
                        let mut spoiled = genuine.clone();
                        spoil(&mut dice, &mut spoiled);
                        server.on_datagram(0, &spoiled);
                        thrown += 1;
                        let bytes = server.handshake.as_ref().map_or(0, server::Handshake::bytes);
                        assert!(bytes <= bound, "seed {seed}: {bytes} of {bound} bytes");
                    }
                    server.on_datagram(0, &genuine);
                }
                for genuine in server.log.take() {
                    for _ in 0..wildness {
                        let mut spoiled = genuine.clone();
                        spoil(&mut dice, &mut spoiled);
                        client.on_datagram(0, &spoiled);
                    }
                    client.on_datagram(0, &genuine);
                }
            }
            completed += u32::from(client.session.is_some());
            resumed += u32::from(client.is_resumed);
            kept = client.kept.take();
            server.handshake = None;
        }
    }
    assert!(thrown > 2_000, "{thrown} datagrams");
    assert!((80..470).contains(&completed) && resumed >= 40, "{completed}, {resumed} resumed");
}

/// The session beside the storm notices nothing but its counters.
#[test]
fn an_established_association_in_a_storm_opens_every_genuine_record() {
    let (mut client, mut server) =
        shake_hands(server_config(), client::Config::default(), Some(b"me"));
    let of_client = client.session.as_mut().unwrap();
    let mut dice = Dice(7);
    let mut genuine_count = 0;
    for round in 0..10_000u32 {
        let content = round.to_be_bytes();
        let genuine = application(of_client, &content);
        for _ in 0..10 {
            let mut spoiled = genuine.clone();
            spoil(&mut dice, &mut spoiled);
            if spoiled != genuine && !spoiled.starts_with(&genuine) {
                server.on_datagram(0, &spoiled);
            }
        }
        // The limit on records that do not authenticate is another test's.
        let session = server.session.as_mut().unwrap();
        if session.failed_opens() > 60_000 {
            let at = 8 + 16 + 8 + 2;
            session.as_mut_bytes()[at..at + 2].fill(0);
            assert_eq!(session.failed_opens(), 0);
        }
        server.log.drops.clear();
        server.log.outbox.clear();
        server.on_datagram(0, &genuine);
        genuine_count += 1;
        assert_eq!(server.log.application.len(), genuine_count);
        assert_eq!(server.log.application[genuine_count - 1], content);
    }
}

/// Shared memory may hold anything (six sentences: every field is checked as if hostile).
#[test]
fn random_bytes_as_an_association_never_panic() {
    let (client, server) = shake_hands(server_config(), client::Config::default(), Some(b"me"));
    let (mut sender, receiver) = (client.session.unwrap(), server.session.unwrap());
    let mut dice = Dice(3);
    let mut out = vec![0; OUT_BYTES];
    for round in 0..60_000 {
        let mut bytes = [0; size_of::<Established>()];
        if round % 2 == 0 {
            bytes.copy_from_slice(receiver.as_bytes());
            for _ in 0..=dice.below(6) {
                bytes[64 + dice.below(bytes.len() - 64)] = dice.roll() as u8;
            }
        } else {
            bytes.fill_with(|| dice.roll() as u8);
        }
        let mut garbage = Established::read_from_bytes(&bytes).unwrap();
        let mut datagram = application(&mut sender, b"hello");
        if let Ok(record) = Record::parse(&datagram, 0, dice.below(8)) {
            let _ = garbage.open(&record, &mut datagram);
        }
        let (cid_len, kind) = (garbage.own_cid_len(), [22, 23, 25][dice.below(3)]);
        let mut longer = vec![kind; 400];
        longer[..5].copy_from_slice(&[kind, 0xfe, 0xfd, 0, 1]);
        let length_at = 11 + if kind == 25 { cid_len } else { 0 };
        longer[length_at..length_at + 2].copy_from_slice(&[0, dice.below(100) as u8]);
        if let Ok(record) = Record::parse(&longer, 0, cid_len) {
            let _ = garbage.open(&record, &mut longer);
        }
        let content = &[7; 2000][..dice.below(2000)];
        let len = garbage.seal(ContentType::APPLICATION_DATA, content, &mut out);
        assert!(len.is_err() || len.unwrap() <= out.len());
        let _ = garbage.last_flight_again(&mut out);
        let _ = garbage.no_renegotiation(&mut out);
        let _ = (garbage.suite(), garbage.peer_cid().len(), format!("{garbage:?}"));
        let _ = garbage.close_notify(&mut out);
    }
}

/// What one client can make a server hold between hello and credential, by bytes it controls.
#[test]
fn the_memory_of_a_half_open_handshake_is_bounded_and_its_figure_is_known() {
    let config = Arc::new(server_config());
    let mut server = ServerEnd::new(server_config());
    server.answers_credentials = false;
    let mut client =
        ClientEnd::with_credential(client::Config::default(), 0, 9, None, IDENTITY, PSK);
    for _ in 0..2 {
        server.on_datagram(0, &client.log.take().pop().unwrap());
        client.on_datagram(0, &server.log.take().pop().unwrap());
    }
    let quiet = server.handshake.as_ref().unwrap().bytes();
    assert!(quiet < 2_048, "an ordinary half-open handshake takes {quiet} bytes");

    let bound = config.handshake_bytes_max() + size_of::<server::Handshake>();
    assert!(bound < 16 << 10, "{bound} bytes");
    // The most expensive client: fragments of long messages, all numbers, and early records.
    for message_seq in 2..9u16 {
        for length in [8 << 10, 2 << 10, 1 << 10] {
            let mut fragment = story::message_datagram(16, message_seq, 9, &[1; 8]);
            fragment[14..17].copy_from_slice(&u32::to_be_bytes(length)[1..]);
            server.on_datagram(0, &fragment);
        }
    }
    let mut early = vec![23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0, 0, 200];
    early.resize(213, 5);
    for _ in 0..10 {
        server.on_datagram(0, &early);
    }
    let handshake = server.handshake.as_ref().unwrap();
    assert!(handshake.bytes() > 8 << 10, "it did cost something");
    assert!(handshake.bytes() <= bound, "{} of {bound} bytes", handshake.bytes());
    assert_eq!(server.log.failure, None::<Failure>);
}
