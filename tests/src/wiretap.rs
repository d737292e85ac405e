//! What went over the wire? A relay between devices and the edge that keeps every datagram and
//! writes them down as a capture file, for which no privilege is needed. It may lose some.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use crate::client_hello::{self, ClientHello};

/// A relay at work; it stops when dropped.
#[derive(Debug)]
pub struct Wiretap {
    /// Where devices find it.
    pub port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// Every so-many-th datagram is lost; 0: none.
    loses_every: u64,
    passed: AtomicU64,
    lost: AtomicU64,
    datagrams: Mutex<Vec<Datagram>>,
}

/// One datagram as it passed.
#[derive(Clone, Debug)]
struct Datagram {
    at: Duration,
    from_port: u16,
    to_port: u16,
    payload: Vec<u8>,
}

impl Wiretap {
    /// A relay towards a port on loopback.
    pub fn towards(server_port: u16) -> Self {
        Self::losing(server_port, 0)
    }

    /// The same; every so-many-th datagram is lost, after the handshake. Counted over both ways: an
    /// odd number loses from either.
    pub fn losing(server_port: u16, every: u64) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let port = socket.local_addr().expect("bound").port();
        let shared = Arc::new(Shared { loses_every: every, ..Shared::default() });
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || relay(&socket, port, server_port, &shared)
        });
        Self { port, shared, thread: Some(thread) }
    }

    /// How many it lost.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Every ClientHello that passed so far.
    pub fn client_hellos(&self) -> Vec<ClientHello> {
        let datagrams = self.shared.datagrams.lock().unwrap_or_else(PoisonError::into_inner);
        let from_devices = datagrams.iter().filter(|datagram| datagram.to_port == self.port);
        from_devices.filter_map(|datagram| client_hello::parse(&datagram.payload)).collect()
    }

    /// Writes what passed so far as a capture: IPv4, devices by their ports, the server at 5684.
    pub fn write_capture(&self, path: &Path) {
        let datagrams = self.shared.datagrams.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = Vec::new();
        // pcap: magic, version 2.4, zone, accuracy, longest packet, LINKTYPE_RAW.
        for field in [0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 65_535, 101_u32] {
            file.extend_from_slice(&field.to_le_bytes());
        }
        for datagram in datagrams.iter() {
            let packet = datagram.packet(self.port);
            let length = packet.len() as u32;
            let at = datagram.at;
            for field in [at.as_secs() as u32, at.subsec_micros(), length, length] {
                file.extend_from_slice(&field.to_le_bytes());
            }
            file.extend_from_slice(&packet);
        }
        fs::write(path, file).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}

impl Drop for Wiretap {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Datagram {
    /// IPv4 and UDP headers around it; checksums are left out, as on many loopbacks.
    fn packet(&self, server_port: u16) -> Vec<u8> {
        let as_seen = |port| if port == server_port { COAPS_PORT } else { port };
        let udp_bytes = 8 + self.payload.len() as u16;
        let mut packet = vec![0x45, 0];
        packet.extend_from_slice(&(20 + udp_bytes).to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0x40, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
        packet.extend_from_slice(&as_seen(self.from_port).to_be_bytes());
        packet.extend_from_slice(&as_seen(self.to_port).to_be_bytes());
        packet.extend_from_slice(&udp_bytes.to_be_bytes());
        packet.extend_from_slice(&[0, 0]);
        packet.extend_from_slice(&self.payload);
        packet
    }
}

const COAPS_PORT: u16 = 5684;

/// Every device gets a socket of its own towards the server, so that the server sees as many
/// addresses as there are, and a new one when a device takes a new port.
fn relay(devices: &UdpSocket, port: u16, server_port: u16, shared: &Shared) {
    const TICK: Duration = Duration::from_millis(1);
    devices.set_read_timeout(Some(TICK)).expect("a timeout");
    let mut upstream: HashMap<SocketAddr, UdpSocket> = HashMap::new();
    let mut bytes = [0; 2048];
    while !shared.stop.load(Ordering::Relaxed) {
        if let Ok((length, device)) = devices.recv_from(&mut bytes) {
            shared.keep(device.port(), port, &bytes[..length]);
            let socket = upstream.entry(device).or_insert_with(|| towards(server_port));
            if shared.lets_through() {
                let _ = socket.send(&bytes[..length]);
            }
        }
        for (device, socket) in &upstream {
            while let Ok(length) = socket.recv(&mut bytes) {
                shared.keep(port, device.port(), &bytes[..length]);
                if shared.lets_through() {
                    let _ = devices.send_to(&bytes[..length], device);
                }
            }
        }
    }
}

fn towards(server_port: u16) -> UdpSocket {
    let connect = || -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect((Ipv4Addr::LOCALHOST, server_port))?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    connect().expect("a socket towards the server")
}

/// Datagrams that a handshake may take: losing from it is another story's.
const HANDSHAKE_MAX: u64 = 16;

impl Shared {
    fn lets_through(&self) -> bool {
        let number = 1 + self.passed.fetch_add(1, Ordering::Relaxed);
        let may_lose = self.loses_every > 0 && number > HANDSHAKE_MAX;
        let is_lost = may_lose && number.is_multiple_of(self.loses_every);
        self.lost.fetch_add(u64::from(is_lost), Ordering::Relaxed);
        !is_lost
    }

    fn keep(&self, from_port: u16, to_port: u16, payload: &[u8]) {
        let at = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
        let datagram = Datagram { at, from_port, to_port, payload: payload.to_vec() };
        self.datagrams.lock().unwrap_or_else(PoisonError::into_inner).push(datagram);
    }
}
