//! What does a steady request cost, against an echo that does nothing else than take it and send as
//! many bytes back, and against libcoap's server?

use std::io;
use std::time::Duration;

use super::figure::{Figure, Goal};
use super::load::{Load, Plan};
use super::servers::{self, ECHO_PATH, Edge, KEY, LIBCOAP_PATH, echo};
use super::{Side, by_turns};
use crate::echo::Way;

/// Sockets, each with one request on its way.
pub const SOCKETS: usize = 1_024;
/// Payload of the PUTs, bytes.
pub const PAYLOAD_BYTES: usize = 48;
const UNIT: &str = "ns of server CPU";

/// PUTs to the edge's echo path over DTLS with a Connection ID.
pub fn plan() -> Plan {
    Plan {
        sockets: SOCKETS,
        outstanding: SOCKETS,
        path: ECHO_PATH,
        payload_bytes: PAYLOAD_BYTES,
        identity: "bench-",
        key: KEY.as_bytes(),
        connection_id: true,
        devices_each: 1,
    }
}

/// An edge on one backend, and devices.
fn edge(way: Way) -> io::Result<Side> {
    let server = Edge { backend: backend_of(way), ..Edge::default() }.start()?;
    let load = Load::dtls(server.address, &plan())?;
    Ok(Side { server, load })
}

/// A bare echo of requests and replies of these lengths.
fn bare(way: Way, (request_bytes, reply_bytes): (usize, usize)) -> io::Result<Side> {
    let server = echo(way, reply_bytes)?;
    let load = Load::bare(server.address, &Plan { payload_bytes: request_bytes, ..plan() })?;
    Ok(Side { server, load })
}

/// A CON PUT that the edge answers itself, on one backend, beside the bare echo of that backend.
pub fn con_put(way: Way, pairs: usize, stretch: Duration) -> io::Result<Figure> {
    let mut ours = edge(way)?;
    let bytes = ours.load.datagram_bytes()?;
    let mut bare = bare(way, bytes)?;
    let pairs = measure(&mut ours, &mut bare, pairs, stretch)?;
    let name = format!(
        "steady CON PUT over DTLS, CID, CCM_8, {} B in, {} B out, {}, against a bare echo",
        bytes.0,
        bytes.1,
        backend_of(way)
    );
    Ok(Figure::from_pairs(name, UNIT, &pairs, Some(Goal::AtMost(1.12))))
}

/// The same without security.
pub fn clear(pairs: usize, stretch: Duration) -> io::Result<Figure> {
    let server = Edge { is_clear: true, ..Edge::default() }.start()?;
    let load = Load::clear(server.address, &plan())?;
    let mut ours = Side { server, load };
    let bytes = ours.load.datagram_bytes()?;
    let mut bare = bare(Way::IoUring, bytes)?;
    let pairs = measure(&mut ours, &mut bare, pairs, stretch)?;
    let name = format!(
        "steady CON PUT, plain CoAP, {} B in, {} B out, io_uring, against a bare echo",
        bytes.0, bytes.1
    );
    Ok(Figure::from_pairs(name, UNIT, &pairs, None))
}

/// Bare echoes beside each other: what the way in and out alone makes.
pub fn ways(way: Way, pairs: usize, stretch: Duration) -> io::Result<Figure> {
    let (mut one, mut other) = (bare(way, LENGTHS)?, bare(Way::Mmsg, LENGTHS)?);
    let pairs = measure(&mut one, &mut other, pairs, stretch)?;
    let name = format!("bare echo: {way:?} against recvmmsg");
    Ok(Figure::from_pairs(name, UNIT, &pairs, None))
}

/// Our backends beside each other.
pub fn backends(pairs: usize, stretch: Duration) -> io::Result<Figure> {
    let (mut one, mut other) = (edge(Way::IoUring)?, edge(Way::Mmsg)?);
    let pairs = measure(&mut one, &mut other, pairs, stretch)?;
    Ok(Figure::from_pairs("steady CON PUT: io_uring against recvmmsg", UNIT, &pairs, None))
}

/// An edge that has locked itself in, beside one that has not.
pub fn confined(pairs: usize, stretch: Duration) -> io::Result<Figure> {
    let server = Edge { is_confined: false, ..Edge::default() }.start()?;
    let load = Load::dtls(server.address, &plan())?;
    let (mut one, mut other) = (edge(Way::IoUring)?, Side { server, load });
    let pairs = measure(&mut one, &mut other, pairs, stretch)?;
    Ok(Figure::from_pairs("steady CON PUT: confined against not", UNIT, &pairs, None))
}

/// Against libcoap's server (Debian, OpenSSL), 64 requests on their way over so many sessions.
pub fn libcoap(sessions: usize, goal: f64, pairs: usize, stretch: Duration) -> io::Result<Figure> {
    let plan = Plan { sockets: sessions, outstanding: 64, connection_id: false, ..plan() };
    // Both servers first: the sockets of the load take thousands of ports.
    let (server, peer) = (Edge::default().start()?, servers::libcoap("openssl")?);
    // A process may have 20 000 files here and there; our devices can share sockets.
    let devices_each = if sessions > 4_096 { 4 } else { 1 };
    let sockets = sessions / devices_each;
    let connection_id = devices_each > 1;
    let shared = Plan { sockets, connection_id, devices_each, ..plan };
    let load = Load::dtls(server.address, &shared)?;
    let mut ours = Side { server, load };
    let load = Load::dtls(peer.address, &Plan { path: LIBCOAP_PATH, ..plan })?;
    let mut theirs = Side { server: peer, load };
    let pairs = measure(&mut ours, &mut theirs, pairs, stretch)?;
    let name = format!(
        "steady CON PUT over DTLS, CCM_8, {sessions} sessions, 64 at a time, against libcoap \
         (OpenSSL)"
    );
    Ok(Figure::from_pairs(name, UNIT, &pairs, Some(Goal::AtMost(goal))))
}

/// Warms both up, then takes them by turns.
pub fn measure(
    one: &mut Side,
    other: &mut Side,
    pairs: usize,
    stretch: Duration,
) -> io::Result<Vec<(f64, f64)>> {
    one.cost_ns(stretch / 2)?;
    other.cost_ns(stretch / 2)?;
    by_turns(pairs, || one.cost_ns(stretch), || other.cost_ns(stretch))
}

/// Keeps an edge busy for so long and says each second what a request costs: for profilers.
pub fn hold(way: Way, seconds: u64) -> io::Result<()> {
    let mut ours = edge(way)?;
    println!("process {} on {}", ours.server.process.id(), ours.server.address);
    for _ in 0..seconds {
        println!("{:.0} ns a request", ours.cost_ns(Duration::from_secs(1))?);
    }
    Ok(())
}

fn backend_of(way: Way) -> &'static str {
    match way {
        Way::Mmsg => "mmsg",
        Way::IoUring | Way::TokioUring => "io_uring",
    }
}

/// Of a sealed PUT and its answer.
const LENGTHS: (usize, usize) = (96, 35);
