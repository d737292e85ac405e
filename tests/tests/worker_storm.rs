//! Bad input at every stage: truncated, bit-flipped and random datagrams by the million.
//! Nothing panics, nothing grows, every datagram is counted, and the good session beside it all is
//! served as if nothing had happened.
//!
//! `TIDEGATE_STORM` says how many datagrams, `TIDEGATE_SEED` which; a failure names both.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tidegate_coap::code::Code;
use tidegate_coap::message::Type;
use tidegate_dataplane::config::Config;
use tidegate_dataplane::fate::Fate;
use tidegate_dataplane::net::peer::Peer;
use tidegate_dtls::client;
use tidegate_dtls::suite::{KeyExchange, Suite};
use tidegate_tests::story::credentials::{Authority, Server, raw_device};
use tidegate_tests::story::{KEY, Story, Who, identity, request, seen};

#[test]
fn bad_datagrams_disturb_nobody() {
    let count = setting("TIDEGATE_STORM", 5_000_000);
    let seed = setting("TIDEGATE_SEED", 1);
    let mut storm = Storm::new(seed);
    for number in 0..count {
        storm.gust();
        if number % 5_000 == 0 {
            storm.check(number);
        }
    }
    storm.check(count);
}

struct Storm {
    story: Story,
    random: StdRng,
    /// Served beside the storm.
    good: Who,
    /// Datagrams as honest devices send them, at every stage, to be spoilt.
    honest: Vec<(Peer, Vec<u8>)>,
    strangers: usize,
    authority: Authority,
    server: Server,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let mut config = Config::default();
        config.sessions.per_worker = 64;
        config.handshake.half_open = 16;
        let mut story = Story::with(seed, config);
        let (authority, server) = (Authority::new(), Server::raw());
        story.trusts(&[&[authority.item()][..], &server.items()].concat());
        let good = story.connected(0, Some(b"good"));
        let random = StdRng::seed_from_u64(seed);
        let honest = Vec::new();
        let mut storm = Self { story, random, good, honest, strangers: 0, authority, server };
        storm.record_an_honest_device();
        storm
    }

    /// A device with a key or a certificate of any kind.
    fn honest_device(&mut self, number: usize, own_cid: Option<&[u8]>) -> Who {
        let suites = |key_exchange| Suite::of(key_exchange).collect();
        let mut config = client::Config { trust: self.server.trust(), ..client::Config::default() };
        let name = String::from_utf8(identity(number)).expect("digits");
        let credential = match self.strangers % 4 {
            0 => self.authority.device(&name, &[]),
            1 => {
                let (credential, spki) = raw_device();
                let keys = &mut self.story.keys;
                keys.resize(keys.len().max(number + 1), Vec::new());
                self.story.keys[number] = spki;
                credential
            }
            kind => {
                let kinds = [KeyExchange::Psk, KeyExchange::EcdhePsk];
                config.suites = suites(kinds[kind - 2]);
                return self.story.device_with(number, own_cid, KEY, config);
            }
        };
        self.story.device_as(number, credential, own_cid, config)
    }

    /// Another device shakes hands and talks; every datagram of it is recorded before it arrives.
    fn record_an_honest_device(&mut self) {
        self.strangers += 1;
        let number = 1 + self.strangers % 40;
        let own_cid = [None, Some(&b""[..]), Some(&b"cid"[..])][self.strangers % 3];
        let device = self.honest_device(number, own_cid);
        let peer = self.story.peer(device);
        let mut out = [0; 1_452];
        while let Some(length) = self.story.at(device).poll_transmit(&mut out) {
            self.honest.push((peer, out[..length].to_vec()));
            self.story.arrives(peer, &mut out[..length]);
        }
        for mid in 0..4 {
            let put = request(Type::Con, Code::PUT, mid, "/t", b"honest");
            if let Some(length) = self.story.at(device).seal(&put, &mut out) {
                self.honest.push((peer, out[..length].to_vec()));
            }
        }
        self.story.forget(device);
        let excess = self.honest.len().saturating_sub(400);
        self.honest.drain(..excess);
    }

    /// One bad datagram.
    fn gust(&mut self) {
        let (peer, mut bytes) = self.honest.choose(&mut self.random).expect("recorded").clone();
        match self.random.random_range(0..5) {
            0 => {
                let length = self.random.random_range(0..bytes.len());
                bytes.truncate(length);
            }
            1 | 2 => {
                for _ in 0..self.random.random_range(1..4) {
                    let at = self.random.random_range(0..bytes.len());
                    bytes[at] ^= 1 << self.random.random_range(0..8);
                }
            }
            3 => {
                bytes =
                    (0..self.random.random_range(0..200)).map(|_| self.random.random()).collect();
                if let Some(first) = bytes.first_mut()
                    && self.random.random()
                {
                    *first = self.random.random_range(20..=27);
                }
            }
            _ => {
                let (_, other) = self.honest.choose(&mut self.random).expect("recorded");
                let cut = self.random.random_range(0..bytes.len());
                bytes.truncate(cut);
                bytes.extend_from_slice(&other[other.len() / 2..]);
                bytes.truncate(1_452);
            }
        }
        self.story.arrives(peer, &mut bytes);
    }

    fn check(&mut self, number: u64) {
        self.story.waits_ms(1_000);
        let mid = self.story.requests(self.good, Type::Con, Code::PUT, "/t", b"still here");
        let reply = seen(self.story.hears(self.good));
        assert_eq!(reply, Some((Type::Ack, Code::CHANGED, mid)), "after {number} datagrams");
        let received = self.story.received;
        let worker = self.story.worker();
        assert_eq!(worker.counters().datagrams(), received, "every datagram is counted");
        assert!(worker.slab().live() <= 64 && worker.slab().used() <= 64);
        self.story.uplinks.clear();
        self.story.sessions.clear();
        self.record_an_honest_device();
    }
}

/// The control: the same honest datagrams, unspoilt, make sessions and uplinks.
#[test]
fn the_storm_would_be_served_if_it_were_honest() {
    let mut storm = Storm::new(7);
    let before = storm.story.uplinks.len();
    for _ in 0..10 {
        storm.record_an_honest_device();
        let last = storm.honest.len() - 4;
        let messages = storm.honest.split_off(last);
        for (peer, mut bytes) in messages {
            storm.story.arrives(peer, &mut bytes);
        }
    }
    assert!(storm.story.uplinks.len() >= before + 40);
    assert_eq!(storm.story.worker().counters().fate(Fate::NotAuthentic), 0);
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
