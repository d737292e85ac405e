//! Which device speaks plain CoAP from this address? Those the trust sheet names; nobody else.
//!
//! RFC 7252 section 9, mode NoSec: the source address is the identity, so it is as good as the
//! network that carries it. Datagrams of the sockets in `[nosec] listen` come here and nowhere
//! else; a session with keys is never looked for, and its sockets never lead here.
//!
//! *Bound:* one slot for each device on the sheet. A device that may use any port and begins to
//! use another one has moved: its old endpoint ends, as does what was under way with it.

use super::Worker;
use super::sessions::Admitted;
use crate::bounds::RING_HEADROOM_BYTES;
use crate::clock::Now;
use crate::fate::{Fate, Tally};
use crate::net::batch::Outbox;
use crate::net::peer::Peer;
use crate::slab::Slot;
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use rand::Rng;
use tidegate_coap::message::Message;
use tidegate_faults::{Bug, has};
use tidegate_ring::contract::{Claim, DeviceId, EndReason};
use tidegate_ring::trust;

/// The devices without security, and their slots.
#[derive(Debug, Default)]
pub(super) struct NoSec {
    by_address: HashMap<Address, Known, RandomState>,
}

/// IPv6, or IPv4 mapped into it, and the port; `ANY_PORT` where the sheet does not say.
type Address = ([u8; 16], u16);

#[derive(Clone, Copy, Debug)]
struct Known {
    device: DeviceId,
    network: u8,
    class: u16,
    /// `None`: taken over from an earlier life, and no sheet has come yet that says so.
    stamp: Option<u64>,
    /// Its session, once it has spoken.
    slot: Option<u32>,
}

impl NoSec {
    /// The devices of a sheet. An address that two of them claim is nobody's: the edge could not
    /// tell them apart.
    pub(super) fn of_sheet(devices: impl Iterator<Item = trust::NoSec>) -> Self {
        let mut by_address: HashMap<Address, Option<Known>, RandomState> = HashMap::default();
        for trust::NoSec { ip, port, network, device, stamp, class } in devices {
            let known = Known { device, network, class, stamp: Some(stamp), slot: None };
            match by_address.entry((ip, port)) {
                Entry::Occupied(mut taken) => drop(taken.insert(None)),
                Entry::Vacant(free) => drop(free.insert(Some(known))),
            }
        }
        let known = by_address.into_iter().filter_map(|(address, known)| Some((address, known?)));
        Self { by_address: known.collect() }
    }

    /// A session of an earlier life goes on; whether it may is said by the next sheet.
    pub(super) fn on_taken_over(&mut self, slot: u32, entry: &Slot) {
        let (device, network, class) = (entry.device, entry.network, entry.class);
        let known = Known { device, network, class, stamp: None, slot: Some(slot) };
        self.by_address.insert((entry.peer.ip_bytes(), entry.peer.port()), known);
    }

    /// The session in `slot` has ended, if it was one of these.
    pub(super) fn on_ended(&mut self, slot: u32, peer: &Peer) {
        let Some((address, known)) = self.find(peer) else { return };
        if known.slot == Some(slot) && known.stamp.is_none() {
            self.by_address.remove(&address);
        } else if known.slot == Some(slot) {
            self.by_address.insert(address, Known { slot: None, ..known });
        }
    }

    /// Who speaks from there: the device with this port, or else the one with any port.
    fn find(&self, peer: &Peer) -> Option<(Address, Known)> {
        let (ip, port) = (peer.ip_bytes(), peer.port());
        let known = |address| Some((address, *self.by_address.get(&address)?));
        if has(Bug::PortNotAsked) {
            let named = self.by_address.iter().find(|((named, _), _)| *named == ip);
            return named.map(|(address, known)| (*address, *known));
        }
        known((ip, port)).or_else(|| known((ip, ANY_PORT)))
    }
}

impl Worker {
    /// A datagram of a plain CoAP socket.
    pub(super) fn on_nosec(
        &mut self,
        now: Now,
        peer: Peer,
        bytes: &[u8],
        outbox: &mut Outbox,
    ) -> Fate {
        if bytes.is_empty() {
            return Fate::Empty;
        }
        let Some((address, known)) = self.nosec.find(&peer) else { return Fate::NoSecStranger };
        let slot = match known.slot {
            Some(slot) if self.slab.get(slot).peer == peer => slot,
            _ if Message::parse(bytes).is_err() => return Fate::NotCoap,
            _ => match self.admit(now, peer, address, known, outbox) {
                Some(slot) => slot,
                None => return Fate::NoRoom,
            },
        };
        self.slab.get_mut(slot).last_seen_s = now.s();
        self.on_message(now, slot, bytes, outbox);
        Fate::Accepted
    }

    /// A device speaks for the first time, or from another port than before.
    fn admit(
        &mut self,
        now: Now,
        peer: Peer,
        address: Address,
        known: Known,
        outbox: &mut Outbox,
    ) -> Option<u32> {
        if let Some(old) = known.slot {
            self.end_session(now, old, EndReason::Replaced, outbox);
        }
        // What no sheet has confirmed ends with its session.
        let stamp = known.stamp?;
        if self.slab.is_full() && !self.make_room(now, outbox) {
            return None;
        }
        let slot = self.slab.reserve(peer, self.random.random(), now.s())?;
        self.slab.get_mut(slot).class = known.class;
        self.slab.admit(slot, known.device, known.network, self.random.random());
        let name = sheet_address(&address);
        let (claim, resumed, connected) = (Claim::Address, false, false);
        let admitted = Admitted { stamp, claim, name: &name, resumed, connected };
        // Anyone who can forge an address can do this again and again: it must not fill the part
        // of the ring that others count on.
        if !self.tell_session_up(now, slot, &admitted, RING_HEADROOM_BYTES) {
            self.counters.tally(Tally::NoticeLost);
            self.slab.release(slot);
            return None;
        }
        self.counters.tally(Tally::SessionUp);
        self.nosec.by_address.insert(address, Known { slot: Some(slot), ..known });
        Some(slot)
    }

    /// Another sheet counts from now on. Sessions of devices it does not name end.
    pub(super) fn replace_nosec(&mut self, now: Now, sheet: NoSec, outbox: &mut Outbox) {
        let old = std::mem::replace(&mut self.nosec, sheet);
        for slot in old.by_address.values().filter_map(|known| known.slot) {
            let entry = self.slab.get(slot);
            match self.nosec.find(&entry.peer) {
                Some((address, known))
                    if known.device == entry.device && known.network == entry.network =>
                {
                    self.slab.get_mut(slot).class = known.class;
                    self.nosec.by_address.insert(address, Known { slot: Some(slot), ..known });
                }
                _ => self.end_session(now, slot, EndReason::CredentialDropped, outbox),
            }
        }
    }
}

/// The name of a [`Claim::Address`]: address and port (little-endian) as on the sheet.
fn sheet_address((ip, port): &Address) -> [u8; 18] {
    let mut name = [0; 18];
    name[..16].copy_from_slice(ip);
    name[16..].copy_from_slice(&port.to_le_bytes());
    name
}

/// The sheet's word for a device that may use any port of its address.
const ANY_PORT: u16 = 0;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn device(number: u8, ip: u8, port: u16) -> trust::NoSec {
        let ip = std::net::Ipv4Addr::new(10, 0, 0, ip).to_ipv6_mapped().octets();
        trust::NoSec { ip, port, network: 1, device: [number; 16], stamp: 1, class: 0 }
    }

    fn who(nosec: &NoSec, text: &str) -> Option<u8> {
        let found = nosec.find(&Peer::new(text.parse().unwrap(), 2))?;
        Some(found.1.device[0])
    }

    #[test]
    fn a_device_with_a_port_goes_before_one_with_any() {
        let nosec = NoSec::of_sheet([device(1, 7, 5683), device(2, 7, ANY_PORT)].into_iter());
        assert_eq!(who(&nosec, "10.0.0.7:5683"), Some(1));
        assert_eq!(who(&nosec, "10.0.0.7:5684"), Some(2));
        assert_eq!(who(&nosec, "10.0.0.8:5683"), None);
    }

    #[test]
    fn an_address_of_two_devices_is_nobodys() {
        let sheet = [device(1, 7, 9), device(2, 7, 9), device(3, 7, 9), device(4, 8, 9)];
        let nosec = NoSec::of_sheet(sheet.into_iter());
        assert_eq!(who(&nosec, "10.0.0.7:9"), None);
        assert_eq!(who(&nosec, "10.0.0.8:9"), Some(4));
    }
}
