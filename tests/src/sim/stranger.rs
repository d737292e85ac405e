//! What does a stranger send who hears everything and has no key? Replays, forgeries, floods of
//! hellos from addresses that are not his, and noise.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use rand::Rng;
use rand::rngs::StdRng;

use super::dataplane::{Datagram, Origin};
use super::seed;

/// The stranger, and what he has heard.
pub(crate) struct Stranger {
    heard: VecDeque<Datagram>,
    random: StdRng,
}

/// Bound: datagrams he remembers.
const HEARD_MAX: usize = 96;

/// Whether the address is of the stranger's network, where no device is.
pub(crate) fn is_strangers(address: SocketAddr) -> bool {
    matches!(address.ip(), IpAddr::V4(ip) if ip.octets()[..3] == [198, 51, 100])
}

impl Stranger {
    pub(crate) fn new(run_seed: u64) -> Self {
        Self { heard: VecDeque::new(), random: seed::stream(run_seed, "stranger", 0) }
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
    pub(crate) fn sends(&mut self, is_known: impl Fn(Origin) -> bool) -> Datagram {
        let own = SocketAddr::from((
            [198, 51, 100, self.random.random_range(1..=254)],
            self.random.random_range(1_024..u16::MAX),
        ));
        let at = self.random.random_range(0..HEARD_MAX);
        let heard = self.heard.get(at % self.heard.len().max(1)).cloned();
        let noise = Datagram { from: own, bytes: vec![22; 40], origin: Origin::Stranger };
        let Datagram { from: theirs, mut bytes, origin } = heard.unwrap_or(noise);
        let is_own = self.random.random();
        let from = if is_own { own } else { theirs };
        match self.random.random_range(0..6) {
            0 if origin != Origin::Stranger => {
                let from = if is_known(origin) { from } else { theirs };
                return Datagram { from, bytes, origin };
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
        Datagram { from: if may_count { theirs } else { from }, bytes, origin }
    }

    /// The number of a record becomes a far greater one.
    fn forges_number(&mut self, bytes: &mut [u8]) {
        if let Some(number) = bytes.get_mut(5..11) {
            number[3] = number[3].wrapping_add(self.random.random_range(1..4));
        }
    }
}

fn is_hello(bytes: &[u8]) -> bool {
    bytes.first() == Some(&22) && bytes.get(13) == Some(&1)
}
