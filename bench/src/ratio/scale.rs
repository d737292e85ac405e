//! What do a million sessions cost? Sessions of an earlier life of the edge, which it finds in its
//! run directory when it starts: no handshakes are needed to have them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use tidegate_dataplane::clock::Now;
use tidegate_dataplane::net::peer::Peer;
use tidegate_dataplane::slab::{self, CID_BYTES, Slab};
use tidegate_dtls::established::{Established, Negotiated};
use tidegate_dtls::key_schedule::{DirectionKeys, KeyBlock};
use tidegate_dtls::{Role, Suite};

use super::Side;
use super::figure::{Figure, Goal};
use super::load::{Load, Plan, bind};
use super::servers::Edge;
use super::steady::{measure, plan};

/// A million.
pub const MANY: usize = 1_000_000;
const FEW: usize = 1_000;
/// Sockets of the load: the kernel's part is the same on both sides.
const SOCKETS: usize = 1_000;

/// Request cost over sockets at 1 M sessions against 1 k.
pub fn requests(pairs: usize, stretch: Duration) -> io::Result<Figure> {
    let (mut many, mut few) = (edge(MANY)?, edge(FEW)?);
    let pairs = measure(&mut many, &mut few, pairs, stretch)?;
    let name = "steady CON PUT over DTLS, CID, CCM_8: 1 M sessions against 1 k";
    Ok(Figure::from_pairs(name, "ns of server CPU", &pairs, Some(Goal::AtMost(1.2))))
}

/// Resident memory of a session: the edge with a million, less the edge without one.
pub fn idle_bytes() -> io::Result<Figure> {
    let config = Edge { sessions: MANY, resumptions: 0, ..Edge::default() };
    let (many, none) = (edge(MANY)?.server, config.start()?);
    let bytes = (many.process.resident_bytes()?, none.process.resident_bytes()?);
    let each = bytes.0.saturating_sub(bytes.1) as f64 / MANY as f64;
    let name = "idle established session, resident memory over 1 M, resumption off";
    Ok(Figure::from_pairs(name, "bytes", &[(each, 256.0)], Some(Goal::AtMost(1.0))))
}

/// An edge that finds so many sessions, and their devices.
fn edge(sessions: usize) -> io::Result<Side> {
    let own = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let sockets = (0..SOCKETS).map(|_| bind(own)).collect::<io::Result<Vec<_>>>()?;
    let mut devices = vec![Vec::new(); SOCKETS];
    let config = Edge { sessions, resumptions: 0, ..Edge::default() };
    let server = config.start_after(|run_dir| {
        fill(&run_dir.join("worker-0.slab"), sessions, &sockets, &mut devices)
    })?;
    let plan = Plan { sockets: SOCKETS, outstanding: SOCKETS, ..plan() };
    let load = Load::adopted(server.address, sockets, devices, &plan)?;
    Ok(Side { server, load })
}

fn fill(
    path: &Path,
    sessions: usize,
    sockets: &[UdpSocket],
    devices: &mut [Vec<Established>],
) -> io::Result<()> {
    let boot_id = slab::boot_id();
    let (mut slab, _) = Slab::open(path, 0, sessions as u32, boot_id)?;
    let now_s = Now::read().s();
    // Devices of one socket lie far from each other, as they would after some time.
    for number in 0..sessions {
        let socket = number % SOCKETS;
        let peer = Peer::new(sockets[socket].local_addr()?, 0);
        let slot = slab.reserve(peer, number as u16, now_s).expect("room for all");
        let (edge, device) = ends(number, &slab.cid(slot));
        let mut id = [1; 16];
        id[..8].copy_from_slice(&number.to_le_bytes());
        slab.establish(slot, id, 1, edge, 0);
        slab.get_mut(slot).told = 1;
        devices[socket].push(device);
    }
    Ok(())
}

/// Both ends of a session with keys of its own.
pub fn ends(number: usize, cid: &[u8]) -> (Established, Established) {
    let direction = |which: u8| {
        let mut keys = DirectionKeys { key: [which; 32], iv: [which; 4] };
        keys.key[..8].copy_from_slice(&number.to_le_bytes());
        keys
    };
    let keys = KeyBlock { client: direction(1), server: direction(2) };
    let end = |role, own_cid_len, peer_cid: &[u8]| {
        let negotiated = Negotiated {
            suite: Suite::PskAes128Ccm8,
            own_cid_len,
            peer_cid,
            extended_master_secret: true,
            max_fragment_length: None,
            return_routability: false,
        };
        Established::new(&negotiated, &keys, role)
    };
    (end(Role::Server, CID_BYTES, &[]), end(Role::Client, 0, cid))
}
