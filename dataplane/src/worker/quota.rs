//! How many handshakes may one source have under way? A share of the table, so that a host that
//! proved its address can't keep all others out.
//!
//! A source is an IPv4 address or an IPv6 /64: what one subscriber has. A carrier's translator is
//! one source too, so the share is large.
//!
//! *Bound:* one counter for each handshake under way.

use crate::net::peer::Peer;
use foldhash::quality::RandomState;
use hashbrown::HashMap;

/// Handshakes under way, by source.
#[derive(Debug)]
pub(super) struct Quota {
    by_source: HashMap<[u8; 16], u32, RandomState>,
    each: u32,
}

impl Quota {
    /// `each` for one source; `all` handshakes are under way at most.
    pub(super) fn new(each: u32, all: u32) -> Self {
        let by_source = HashMap::with_capacity_and_hasher(all as usize, RandomState::default());
        Self { by_source, each }
    }

    /// Whether another handshake may begin.
    pub(super) fn allows(&self, peer: &Peer) -> bool {
        self.by_source.get(&source(peer)).is_none_or(|count| *count < self.each)
    }

    /// One begins.
    pub(super) fn take(&mut self, peer: &Peer) {
        *self.by_source.entry(source(peer)).or_insert(0) += 1;
    }

    /// One is over.
    pub(super) fn give_back(&mut self, peer: &Peer) {
        let source = source(peer);
        match self.by_source.get_mut(&source) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.by_source.remove(&source)),
        }
    }
}

fn source(peer: &Peer) -> [u8; 16] {
    let mut ip = peer.ip_bytes();
    if !ip.starts_with(&V4_MAPPED) {
        ip[8..].fill(0);
    }
    ip
}

const V4_MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Peer {
        Peer::new(text.parse().unwrap(), 0)
    }

    #[test]
    fn a_source_has_its_share_and_not_one_more() {
        let mut quota = Quota::new(2, 8);
        quota.take(&peer("192.0.2.1:1"));
        assert!(quota.allows(&peer("192.0.2.1:2")));
        quota.take(&peer("192.0.2.1:2"));
        assert!(!quota.allows(&peer("192.0.2.1:3")) && quota.allows(&peer("192.0.2.2:3")));
        quota.give_back(&peer("192.0.2.1:1"));
        assert!(quota.allows(&peer("192.0.2.1:3")));
        quota.give_back(&peer("192.0.2.1:2"));
        assert!(quota.by_source.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let mut quota = Quota::new(1, 8);
        quota.take(&peer("[2001:db8:0:1::1]:1"));
        assert!(!quota.allows(&peer("[2001:db8:0:1:ffff::2]:1")));
        assert!(quota.allows(&peer("[2001:db8:0:2::1]:1")));
    }
}
