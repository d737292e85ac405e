//! What does a steady request cost, against an echo that does nothing else than take it and send as
//! many bytes back?

use std::io;
use std::time::Duration;

use super::figure::{Figure, Goal};
use super::load::{Load, Plan};
use super::servers::{ECHO_PATH, Edge, KEY, echo};
use super::{Side, by_turns};
use crate::echo::Way;

/// Devices, each with one request on its way.
pub const DEVICES: usize = 1_024;
/// Payload of the PUTs, bytes.
pub const PAYLOAD_BYTES: usize = 48;

/// A CON PUT that the edge answers itself, on one backend, beside the bare echo of that backend.
pub fn con_put(way: Way, pairs: usize, stretch: Duration) -> io::Result<Figure> {
    let mut ours = edge(Edge { backend: backend_of(way), ..Edge::default() }, DEVICES)?;
    let (request_bytes, reply_bytes) = ours.load.datagram_bytes()?;
    let server = echo(way, reply_bytes)?;
    let load = Load::bare(server.address, DEVICES, request_bytes)?;
    let mut bare = Side { server, load };

    ours.cost_ns(stretch / 2)?;
    bare.cost_ns(stretch / 2)?;
    let pairs = by_turns(pairs, || ours.cost_ns(stretch), || bare.cost_ns(stretch))?;
    let name = format!(
        "steady CON PUT, DTLS CID CCM_8, {request_bytes} B in, {reply_bytes} B out, {}, \
         against a bare echo",
        backend_of(way),
    );
    Ok(Figure::from_pairs(name, "ns of server CPU", &pairs, Some(Goal::AtMost(1.12))))
}

/// Keeps an edge busy for so long and says each second what a request costs: for profilers.
pub fn hold(way: Way, seconds: u64) -> io::Result<()> {
    let mut ours = edge(Edge { backend: backend_of(way), ..Edge::default() }, DEVICES)?;
    println!("process {} on {}", ours.server.process.id(), ours.server.address);
    for _ in 0..seconds {
        println!("{:.0} ns a request", ours.cost_ns(Duration::from_secs(1))?);
    }
    Ok(())
}

/// An edge, and devices that put to its echo path.
fn edge(edge: Edge, devices: usize) -> io::Result<Side> {
    let server = edge.start()?;
    let plan = Plan {
        devices,
        path: ECHO_PATH,
        payload_bytes: PAYLOAD_BYTES,
        key: KEY.as_bytes(),
        connection_id: true,
    };
    let load = Load::dtls(server.address, &plan)?;
    Ok(Side { server, load })
}

fn backend_of(way: Way) -> &'static str {
    match way {
        Way::Mmsg => "mmsg",
        Way::IoUring | Way::TokioUring => "io_uring",
    }
}
