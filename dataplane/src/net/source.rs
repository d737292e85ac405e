//! Which of this machine's addresses did a peer write to? The reply must leave from the same one,
//! or the peer's NAT, firewall or DTLS stack drops it.
//!
//! A socket bound to one address answers from it by itself; only wildcard sockets need this. A peer
//! remembers the address as one byte, because it lives in a session slot.
//!
//! *Why a hash:* the slot outlives the process. The number is made from the address alone (and
//! moved on only if another address had it), so a restarted process, or another worker, gives the
//! same address the same number. Until it has heard an address again it lets the kernel choose.
//! *Bound:* 255 addresses; datagrams to further ones are answered as the kernel chooses.

/// The local addresses heard so far, by number.
#[derive(Debug)]
pub(super) struct Sources {
    addresses: Box<[Option<[u8; 16]>; 256]>,
    /// The address asked for last, and its number. *Why:* most machines have one.
    last: ([u8; 16], u8),
}

impl Sources {
    pub(super) fn new() -> Self {
        Self { addresses: Box::new([None; 256]), last: ([0; 16], 0) }
    }

    /// The number of `address`, 1..=255; 0 when all are taken.
    pub(super) fn number(&mut self, address: [u8; 16]) -> u8 {
        if self.last.0 != address {
            self.last = (address, self.find(address));
        }
        self.last.1
    }

    fn find(&mut self, address: [u8; 16]) -> u8 {
        let first = hash(&address);
        for step in 0..255u16 {
            let number = ((u16::from(first) - 1 + step) % 255 + 1) as u8;
            let known = &mut self.addresses[usize::from(number)];
            match known {
                Some(known) if *known != address => {}
                _ => {
                    *known = Some(address);
                    return number;
                }
            }
        }
        0
    }

    /// The address of a number; `None` for 0 and for one not heard yet.
    pub(super) fn address(&self, number: u8) -> Option<[u8; 16]> {
        self.addresses[usize::from(number)]
    }
}

/// FNV-1a folded to 1..=255. Not keyed: only this machine's own addresses are hashed.
fn hash(address: &[u8; 16]) -> u8 {
    let hash = address
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    (hash % 255 + 1) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u16) -> [u8; 16] {
        let mut address = [0xfd; 16];
        address[14..].copy_from_slice(&n.to_be_bytes());
        address
    }

    #[test]
    fn a_restarted_process_gives_the_same_number() {
        let (mut before, mut after) = (Sources::new(), Sources::new());
        let number = before.number(address(1));
        assert_eq!((before.number(address(1)), after.number(address(1))), (number, number));
        assert_eq!(before.address(number), Some(address(1)));
    }

    #[test]
    fn addresses_with_the_same_hash_keep_apart() {
        let mut sources = Sources::new();
        let twin = (1..=u16::MAX).find(|n| hash(&address(*n)) == hash(&address(0)));
        let (one, two) = (address(0), address(twin.unwrap_or_default()));
        let numbers = (sources.number(one), sources.number(two));
        assert_ne!(numbers.0, numbers.1);
        assert_eq!((sources.number(one), sources.number(two)), numbers);
    }

    #[test]
    fn the_256th_address_is_left_to_the_kernel() {
        let mut sources = Sources::new();
        let numbers: std::collections::HashSet<u8> =
            (0..255).map(|n| sources.number(address(n))).collect();
        assert!(numbers.len() == 255 && !numbers.contains(&0));
        assert_eq!(sources.number(address(255)), 0);
        assert_eq!(sources.address(0), None);
        assert_eq!(sources.number(address(254)), sources.number(address(254)));
    }
}
