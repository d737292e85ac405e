//! What does a foreign client offer? Its first ClientHello, caught on a socket of ours.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;

use crate::process::Process;
use crate::wait::patience;

/// A ClientHello without a cookie (RFC 6347 section 4.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// Suites in the client's order.
    pub suites: Vec<u16>,
    /// Extension numbers in the order they came.
    pub extensions: Vec<u16>,
}

/// Starts a client towards the port it is given and returns the first ClientHello it sends.
pub fn of(client: impl FnOnce(u16) -> Command) -> ClientHello {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    socket.set_read_timeout(Some(patience())).expect("a timeout");
    let port = socket.local_addr().expect("bound").port();
    let mut datagram = [0; 2048];
    let process = Process::start("a client", &mut client(port));
    let length = socket
        .recv(&mut datagram)
        .unwrap_or_else(|e| panic!("no ClientHello: {e}\n{}", process.said()));
    parse(&datagram[..length]).expect("a whole ClientHello")
}

/// Reads one record with one unfragmented ClientHello.
fn parse(datagram: &[u8]) -> Option<ClientHello> {
    let mut rest = datagram.get(13 + 12..)?; // record and handshake headers
    take(&mut rest, 2 + 32)?; // version and random
    vector(&mut rest, 1)?; // session_id
    vector(&mut rest, 1)?; // cookie
    let suites = vector(&mut rest, 2)?;
    vector(&mut rest, 1)?; // compression methods
    let suites = suites.chunks_exact(2).map(|c| u16::from_be_bytes([c[0], c[1]])).collect();
    let mut hello = ClientHello { suites, extensions: Vec::new() };
    if rest.is_empty() {
        return Some(hello);
    }
    let mut extensions = vector(&mut rest, 2)?;
    while !extensions.is_empty() {
        let number = take(&mut extensions, 2)?;
        hello.extensions.push(u16::from_be_bytes([number[0], number[1]]));
        vector(&mut extensions, 2)?;
    }
    Some(hello)
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

/// A vector with a length of one or two bytes before it.
fn vector<'a>(rest: &mut &'a [u8], length_bytes: usize) -> Option<&'a [u8]> {
    let length = take(rest, length_bytes)?.iter().fold(0, |all, b| all << 8 | usize::from(*b));
    take(rest, length)
}
