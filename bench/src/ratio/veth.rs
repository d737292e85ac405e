//! What does a request cost past the kernel's sockets? AF_XDP on one end of a veth pair, against a
//! bare echo over sockets on one end of another pair that is made alike.
//!
//! Two pairs, because a program on an interface changes how the kernel receives on it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::Side;
use super::figure::{Figure, Goal};
use super::load::{Load, Plan};
use super::process::{OWN_CORE, Place, SERVER_CORE};
use super::servers::{Edge, Server, echo_at};
use super::steady::{measure, plan};
use crate::echo::Way;
use pair::{EDGE_INTERFACE, EDGE_IPV4, Side as End, VethPair};

#[path = "../../../dataplane/tests/net_rig/veth.rs"]
mod pair;

/// A CON PUT over DTLS that the edge answers itself, on AF_XDP; and on io_uring sockets, for
/// comparison.
pub fn against_sockets(pairs: usize, stretch: Duration) -> io::Result<Vec<Figure>> {
    let pair = || {
        let pair = VethPair::new(1).map_err(io::Error::other)?;
        // Unless somebody wants to see what that changes.
        if std::env::var_os(SHARES_CORE).is_none() {
            pair.devices_receive_on(OWN_CORE).map_err(io::Error::other)?;
        }
        Ok::<_, io::Error>(pair)
    };
    let (one, other, third) = (pair()?, pair()?, pair()?);
    let interface = Some(EDGE_INTERFACE);
    let mut xdp = edge(&one, Edge { backend: "xdp", interface, ..Edge::default() })?;
    if !xdp.server.log().contains("xdp, queue") {
        return Err(io::Error::other(format!("no AF_XDP: {}", xdp.server.log())));
    }
    let mut sockets = edge(&third, Edge::default())?;
    let (request_bytes, reply_bytes) = xdp.load.datagram_bytes()?;
    let server = echo_at(Way::IoUring, reply_bytes, address(), &place(&other))?;
    let plan = Plan { payload_bytes: request_bytes, ..plan() };
    let load = other.on(End::Devices, || Load::bare(server.address, &plan))?;
    let mut bare = Side { server, load };
    let unit = "ns of server CPU";
    let on_xdp = measure(&mut xdp, &mut bare, pairs, stretch)?;
    let on_sockets = measure(&mut sockets, &mut bare, pairs, stretch)?;
    let name = |how: &str| {
        format!("steady CON PUT over DTLS on veth, {how}, against a bare socket echo on veth")
    };
    Ok(vec![
        Figure::from_pairs(name("AF_XDP"), unit, &on_xdp, Some(Goal::AtMost(0.55))),
        Figure::from_pairs(name("io_uring"), unit, &on_sockets, None),
    ])
}

fn edge(pair: &VethPair, edge: Edge) -> io::Result<Side> {
    let edge = Edge { address: Some(address()), place: place(pair), ..edge };
    let server: Server = edge.start()?;
    let load = pair.on(End::Devices, || Load::dtls(server.address, &plan()))?;
    Ok(Side { server, load })
}

fn place(pair: &VethPair) -> Place {
    Place { cores: SERVER_CORE.to_string(), namespace: Some(pair.name(End::Edge).to_owned()) }
}

fn address() -> SocketAddr {
    let ip: IpAddr = EDGE_IPV4.parse().expect("an address");
    SocketAddr::from((ip, 5_684))
}

/// With it in the environment what the servers send is received on their core, as veth does by
/// itself.
const SHARES_CORE: &str = "TIDEGATE_RATIO_SHARE";
