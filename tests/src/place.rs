//! Where does a story live? Its own directory and ports, gone when it ends.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that is removed with everything in it when dropped.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// A new empty directory. Short on purpose: paths of FIFOs and configs stay readable.
    pub fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tidegate-{}-{count}-{name}", process::id()));
        // What a killed process of the same number left behind.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into it and returns the file's path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A port that nobody on loopback uses, for TCP and UDP, below the range the kernel gives to
/// clients. *Invariant:* never the same one twice in this process.
pub fn free_port() -> u16 {
    free_ports(1)
}

/// The first of so many such ports in a row.
pub fn free_ports(count: u32) -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = process::id().wrapping_mul(101);
    for _ in 0..PORTS {
        let taken = NEXT.fetch_add(count, Ordering::Relaxed);
        let port = PORT_FIRST + (start.wrapping_add(taken) % PORTS) as u16;
        let is_free = |port| {
            let address = (Ipv4Addr::LOCALHOST, port);
            TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
        };
        if (port..port + count as u16).all(is_free) {
            return port;
        }
    }
    panic!("no free port from {PORT_FIRST} on");
}

/// Whether somebody has this UDP port. It asks the kernel's table: to bind it, even for a moment,
/// would take it from the server that is about to.
pub fn is_taken(port: u16) -> bool {
    ["/proc/net/udp", "/proc/net/udp6"].iter().any(|table| {
        let rows = fs::read_to_string(table).unwrap_or_else(|e| panic!("{table}: {e}"));
        // sl local_address rem_address …; an address is HEX:PORT.
        let mut local = rows.lines().skip(1).filter_map(|row| row.split_whitespace().nth(1));
        local.any(|address| address.ends_with(&format!(":{port:04X}")))
    })
}

const PORT_FIRST: u16 = 14_000;
const PORTS: u32 = 18_000;
