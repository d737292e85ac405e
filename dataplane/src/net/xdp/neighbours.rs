//! Through whom is a peer reached? The Ethernet address its last datagram came from: its own, or
//! the router's.
//!
//! The kernel keeps neighbours and routes; this is only a memory of what it would find, and a short
//! one: a peer that has been silent for a while is written to by the ordinary socket, so that a
//! router that was replaced, or a device that moved, costs nothing but the kernel's own search.
//!
//! *Bound:* a fixed table; a peer that finds no room displaces the one silent for longest of its
//! pair. *Invariant:* a pair is one cache line.

use foldhash::fast::RandomState;
use std::hash::BuildHasher;

/// Peers heard lately.
pub(super) struct Neighbours {
    pairs: Box<[Pair]>,
    hasher: RandomState,
}

#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Pair {
    entries: [Entry; 2],
}

#[derive(Clone, Copy, Default)]
struct Entry {
    ip: [u8; 16],
    mac: [u8; 6],
    /// Seconds; 0 = empty.
    heard_s: u32,
}

impl Neighbours {
    /// Room for `count` peers, a power of two.
    pub(super) fn new(count: usize) -> Self {
        assert!(count.is_power_of_two() && count >= 2);
        let pairs = vec![Pair::default(); count / 2].into();
        Self { pairs, hasher: RandomState::default() }
    }

    /// A datagram of this peer came from there. `now_s` begins at 1.
    pub(super) fn learn(&mut self, ip: [u8; 16], mac: [u8; 6], now_s: u32) {
        let pair = self.pair(ip);
        let entries = &mut self.pairs[pair].entries;
        let entry = match entries {
            [known, _] | [_, known] if known.ip == ip && known.heard_s > 0 => known,
            [first, second] if first.heard_s <= second.heard_s => first,
            [_, second] => second,
        };
        // Mostly nothing is new, and a line not written stays clean.
        if entry.heard_s != now_s || entry.ip != ip || entry.mac != mac {
            *entry = Entry { ip, mac, heard_s: now_s };
        }
    }

    /// Where datagrams to this peer go; `None` if it has not been heard lately.
    pub(super) fn find(&self, ip: [u8; 16], now_s: u32) -> Option<[u8; 6]> {
        let pair = &self.pairs[self.pair(ip)];
        let entry = pair.entries.iter().find(|entry| entry.ip == ip && entry.heard_s > 0)?;
        (now_s.saturating_sub(entry.heard_s) <= AGE_S).then_some(entry.mac)
    }

    fn pair(&self, ip: [u8; 16]) -> usize {
        self.hasher.hash_one(u128::from_ne_bytes(ip)) as usize & (self.pairs.len() - 1)
    }
}

/// How long a peer's neighbour is believed without a word from it.
pub(super) const AGE_S: u32 = 10;

const _: () = assert!(size_of::<Pair>() == 64);

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u16) -> [u8; 16] {
        let mut ip = [0xfd; 16];
        ip[14..].copy_from_slice(&n.to_be_bytes());
        ip
    }

    #[test]
    fn the_last_word_counts_for_as_long_as_it_is_fresh() {
        let mut neighbours = Neighbours::new(1_024);
        assert_eq!(neighbours.find(ip(1), 5), None);
        neighbours.learn(ip(1), [1; 6], 5);
        neighbours.learn(ip(1), [2; 6], 6);
        assert_eq!(neighbours.find(ip(1), 6), Some([2; 6]));
        assert_eq!(neighbours.find(ip(1), 6 + AGE_S), Some([2; 6]));
        assert_eq!(neighbours.find(ip(1), 7 + AGE_S), None);
        assert_eq!(neighbours.find([0; 16], 6), None, "an empty place is nobody's");
    }

    #[test]
    fn without_room_the_one_silent_for_longest_gives_way() {
        let mut neighbours = Neighbours::new(2);
        for (n, now_s) in [(1, 1), (2, 2), (1, 3), (3, 4)] {
            neighbours.learn(ip(n), [n as u8; 6], now_s);
        }
        let found = [1, 2, 3].map(|n| neighbours.find(ip(n), 4));
        assert_eq!(found, [Some([1; 6]), None, Some([3; 6])]);
    }
}
