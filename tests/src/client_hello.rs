//! What does a foreign client offer? Its first ClientHello, caught on a socket of ours.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::Process;
use crate::wait::patience;

/// A ClientHello (RFC 6347 section 4.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// Names the session to be resumed; empty: none.
    pub session_id: Vec<u8>,
    /// Suites in the client's order.
    pub suites: Vec<u16>,
    /// Extension numbers in the order they came.
    pub extensions: Vec<u16>,
}

impl ClientHello {
    /// Whether the client wants an earlier session back (RFC 5246 section 7.4.1.2).
    pub fn asks_for_a_session(&self) -> bool {
        !self.session_id.is_empty()
    }
}

/// Starts a client towards the port it is given and returns the first ClientHello it sends.
pub fn of(client: impl FnOnce(u16) -> Command) -> ClientHello {
    try_of(client).unwrap_or_else(|said| panic!("no ClientHello: {said}"))
}

/// The same of a client that may end instead; `Err`: what it said.
pub fn try_of(client: impl FnOnce(u16) -> Command) -> Result<ClientHello, String> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    socket.set_read_timeout(Some(TICK)).expect("a timeout");
    let port = socket.local_addr().expect("bound").port();
    let mut datagram = [0; 2048];
    let mut process = Process::start("a client", &mut client(port));
    let give_up = Instant::now() + patience();
    loop {
        if let Ok(length) = socket.recv(&mut datagram) {
            return Ok(parse(&datagram[..length]).expect("a whole ClientHello"));
        }
        if process.try_wait().is_some() {
            process.wait();
            return Err(process.said());
        }
        assert!(Instant::now() < give_up, "no ClientHello: {}", process.said());
    }
}

/// Reads one record with one unfragmented ClientHello.
pub fn parse(datagram: &[u8]) -> Option<ClientHello> {
    let (headers, mut rest) = datagram.split_at_checked(13 + 12)?; // of record and handshake
    if headers[0] != HANDSHAKE || headers[3..5] != [0, 0] || headers[13] != CLIENT_HELLO {
        return None;
    }
    take(&mut rest, 2 + 32)?; // version and random
    let session_id = vector(&mut rest, 1)?.to_vec();
    vector(&mut rest, 1)?; // cookie
    let suites = vector(&mut rest, 2)?;
    vector(&mut rest, 1)?; // compression methods
    let suites = suites.chunks_exact(2).map(|c| u16::from_be_bytes([c[0], c[1]])).collect();
    let mut hello = ClientHello { session_id, suites, extensions: Vec::new() };
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

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// How often is looked whether the client has ended.
const TICK: Duration = Duration::from_millis(20);
