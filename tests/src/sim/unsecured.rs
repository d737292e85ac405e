//! Who speaks without security, and from where? Addresses as the API provisions them, and what may
//! be said of a plain datagram by where it comes from.
//!
//! Without security the address is the device (RFC 7252 section 9): whoever can write it is
//! believed. So nobody here sends from a plain device's address what that device never sent, and
//! no two of them ever have each other's.

use std::net::SocketAddr;

use tidegate_controlplane::model::{Device, Network, NetworkBlock, SecurityMode, SourceAddress};
use tidegate_controlplane::store::names::{Replacement, Standing};
use tidegate_controlplane::store::records::encode;
use tidegate_controlplane::store::{Table, Transaction};
use tidegate_dataplane::net::peer::Peer;

use super::plan::{DevicePlan, Security};

/// Where the edge takes plain CoAP.
pub(crate) const LISTEN: ([u8; 4], u16) = ([10, 9, 9, 9], 5_683);
/// The place of that socket: behind those of `listen`.
const SOCKET: u8 = 2;

/// Where a device is at first.
pub(crate) fn home(number: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number as u8 + 1], 5_000))
}

/// The device as a worker's socket sees it.
pub(crate) fn peer(address: SocketAddr, is_plain: bool) -> Peer {
    Peer::new(address, if is_plain { SOCKET } else { 0 })
}

/// Whether that is a plain one.
pub(crate) fn is_plain(peer: &Peer) -> bool {
    peer.socket() == SOCKET
}

/// The network block of a device: what the API has stored of it.
pub(crate) fn block(plan: &DevicePlan, identity: String) -> NetworkBlock {
    let home = home(plan.number);
    let port = |any_port: bool| (!any_port).then_some(home.port());
    match plan.security {
        Security::Psk => NetworkBlock {
            identity: Some(identity),
            endpoint: plan.listens.then_some(home),
            ..NetworkBlock::default()
        },
        Security::Plain { any_port } => NetworkBlock {
            source_address: Some(SourceAddress { ip: home.ip(), port: port(any_port) }),
            ..NetworkBlock::default()
        },
    }
}

/// The block of a plain device that may not be one now: its address is gone, or its mode is.
pub(crate) fn barred(block: NetworkBlock, stamp: u64) -> NetworkBlock {
    if stamp.is_multiple_of(2) {
        return NetworkBlock { source_address: None, ..block };
    }
    NetworkBlock { security_modes: Some(vec![SecurityMode::PreSharedKey]), ..block }
}

/// A device's record changes as the API changes it: with names and standing, in one transaction.
/// `stamp` is one that it never had.
pub(crate) fn replacement(before: &Device, after: &Device, stamp: u64) -> Transaction {
    let mut tx = Transaction::new();
    tx.changes.extend(Replacement::new(Some(before), Some(after)).changes);
    tx.put(Table::Devices, after.id.0, encode(after));
    let mut standing = Standing::drawn(after);
    standing.stamp = stamp;
    tx.put(Table::Standings, after.id.0, standing.encode());
    tx
}

/// The network of every device here.
pub(crate) const NETWORK: Network = Network::Cellular;

/// The plain devices of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unsecured {
    /// Number, address, and whether any port of it will do.
    homes: Vec<(usize, SocketAddr, bool)>,
}

impl Unsecured {
    pub(crate) fn of(devices: &[DevicePlan]) -> Self {
        let homes = devices.iter().filter_map(|device| match device.security {
            Security::Plain { any_port } => Some((device.number, home(device.number), any_port)),
            Security::Psk => None,
        });
        Self { homes: homes.collect() }
    }

    /// The device that a plain datagram from there is of, when the sheet says so.
    pub(crate) fn who(&self, from: SocketAddr) -> Option<usize> {
        let is_it = |(_, home, any_port): &&(usize, SocketAddr, bool)| {
            *home == from || *any_port && home.ip() == from.ip()
        };
        self.homes.iter().find(is_it).map(|(number, ..)| *number)
    }

    /// Whether a device may have an address: a plain one never has that of another one.
    pub(crate) fn may_have(&self, number: usize, address: SocketAddr) -> bool {
        let is_plain = self.homes.iter().any(|(plain, ..)| *plain == number);
        let is_anothers = |(plain, home, _): &(usize, SocketAddr, bool)| {
            *plain != number && home.ip() == address.ip()
        };
        !is_plain || !self.homes.iter().any(is_anothers)
    }

    /// Whether a device may move to another port of its own address.
    pub(crate) fn is_any_port(&self, number: usize) -> bool {
        self.homes.iter().any(|(plain, _, any_port)| *plain == number && *any_port)
    }
}
