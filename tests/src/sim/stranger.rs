//! What does a stranger send who hears everything and has no key? Replays, forgeries, floods of
//! hellos from addresses that are not his, and noise.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use rand::Rng;
use rand::rngs::StdRng;

use super::dataplane::{Datagram, Origin};
use super::seed;
use super::unsecured::Unsecured;

/// The stranger, and what he has heard.
pub(crate) struct Stranger {
    heard: VecDeque<Datagram>,
    random: StdRng,
    /// Of what he does with plain CoAP.
    plainly: StdRng,
}

/// Bound: datagrams he remembers.
const HEARD_MAX: usize = 96;

/// Whether the address is of the stranger's network, where no device is.
pub(crate) fn is_strangers(address: SocketAddr) -> bool {
    matches!(address.ip(), IpAddr::V4(ip) if ip.octets()[..3] == [198, 51, 100])
}

impl Stranger {
    pub(crate) fn new(run_seed: u64) -> Self {
        let of = |label| seed::stream(run_seed, label, 0);
        Self { heard: VecDeque::new(), random: of("stranger"), plainly: of("stranger plainly") }
    }

    /// A device has sent this.
    pub(crate) fn hears(&mut self, datagram: Datagram) {
        if self.heard.len() == HEARD_MAX {
            self.heard.pop_front();
        }
        self.heard.push_back(datagram);
    }

    /// One datagram of his. `is_known`: the edge has this record already; he never takes a record
    /// that the edge does not know elsewhere, which would be a rebinding and not his doing.
    pub(crate) fn sends(&mut self, is_known: impl Fn(Origin) -> bool, who: &Unsecured) -> Datagram {
        let own = SocketAddr::from((
            [198, 51, 100, self.random.random_range(1..=254)],
            self.random.random_range(1_024..u16::MAX),
        ));
        let at = self.random.random_range(0..HEARD_MAX);
        let heard = self.heard.get(at % self.heard.len().max(1)).cloned();
        let (bytes, origin, is_plain) = (vec![22; 40], Origin::Stranger, false);
        let noise = Datagram { from: own, is_plain, bytes, origin };
        let Datagram { from: theirs, is_plain, mut bytes, origin } = heard.unwrap_or(noise);
        let is_own = self.random.random();
        let from = if is_own { own } else { theirs };
        if is_plain {
            return self.sends_plain((own, theirs), bytes, origin, who);
        }
        if self.plainly.random_range(0..12) == 0 {
            // What is no plain CoAP at all, and not from where anybody may speak it.
            let from = if who.who(from).is_none() { from } else { own };
            return Datagram { from, is_plain: true, bytes, origin: Origin::Stranger };
        }
        match self.random.random_range(0..6) {
            0 if origin != Origin::Stranger => {
                let from = if is_known(origin) { from } else { theirs };
                return Datagram { from, is_plain, bytes, origin };
            }
            0 => {}
            1 => {
                let bit = self.random.random_range(0..bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            2 => {
                let len = self.random.random_range(0..bytes.len());
                bytes.truncate(len);
            }
            3 => self.forges_number(&mut bytes),
            4 => {
                let len = self.random.random_range(0..120);
                bytes = (0..len).map(|_| self.random.random()).collect();
                if let Some(first) = bytes.first_mut() {
                    *first = self.random.random_range(20..28);
                }
            }
            _ => {
                let hello = self.heard.iter().rev().find(|heard| is_hello(&heard.bytes));
                bytes = hello.map_or_else(|| vec![22; 40], |hello| hello.bytes.clone());
            }
        }
        // A last flight holds a record of its session, which may be news to the edge.
        let may_count = origin == Origin::Handshake;
        let origin = if may_count { origin } else { Origin::Stranger };
        Datagram { from: if may_count { theirs } else { from }, is_plain, bytes, origin }
    }

    /// One that he makes of plain CoAP. From a plain device's address he sends nothing but copies
    /// of its requests: it is believed whatever comes from there, and an old ACK might be taken
    /// for one of today.
    fn sends_plain(
        &mut self,
        (own, theirs): (SocketAddr, SocketAddr),
        mut bytes: Vec<u8>,
        origin: Origin,
        who: &Unsecured,
    ) -> Datagram {
        let drawn = self.plainly.random_range(0..6);
        if drawn < 2 && speaks(&bytes) {
            return Datagram { from: theirs, is_plain: true, bytes, origin };
        }
        let neighbour = SocketAddr::new(theirs.ip(), self.plainly.random_range(1_024..4_096));
        let is_nobodys = drawn < 5 && who.who(neighbour).is_none();
        let from = if is_nobodys { neighbour } else { own };
        if drawn != 2 {
            // Another message of his own, with another Message ID.
            let last = bytes.len() - 1;
            bytes[last] ^= 1 << self.plainly.random_range(0..8);
            self.plainly.fill(&mut bytes[2..4]);
        }
        Datagram { from, is_plain: drawn != 3, bytes, origin: Origin::Stranger }
    }

    /// The number of a record becomes a far greater one.
    fn forges_number(&mut self, bytes: &mut [u8]) {
        if let Some(number) = bytes.get_mut(5..11) {
            number[3] = number[3].wrapping_add(self.random.random_range(1..4));
        }
    }
}

/// A CON or a NON: a message that can be taken for a request or a response.
pub(crate) fn speaks(message: &[u8]) -> bool {
    message.first().is_some_and(|first| first >> 4 & 3 < 2)
}

fn is_hello(bytes: &[u8]) -> bool {
    bytes.first() == Some(&22) && bytes.get(13) == Some(&1)
}
