//! What do the network tests stand on? A `Net` over real loopback sockets, with a bell.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tidegate_dataplane::config::{Backend, Config};
use tidegate_dataplane::net::batch::Outbox;
use tidegate_dataplane::net::peer::Peer;
use tidegate_dataplane::net::{Net, Shared, Woken};
use tidegate_ring::Doorbell;

/// Longer than anything takes; only a failing test waits for it.
pub const LONG: Duration = Duration::from_secs(20);

/// Tells a story once on each backend.
#[macro_export]
macro_rules! on_both_backends {
    ($($(#[$doc:meta])* $story:ident;)+) => { $(
        $(#[$doc])*
        mod $story {
            use tidegate_dataplane::config::Backend;
            #[test]
            fn on_io_uring() {
                if $crate::net_rig::has_io_uring() {
                    super::$story(Backend::IoUring);
                }
            }
            #[test]
            fn on_mmsg() {
                super::$story(Backend::Mmsg);
            }
        }
    )+ };
}

/// One worker's network, and an outbox.
pub struct Rig {
    pub net: Net,
    pub outbox: Outbox,
    pub bell: Doorbell,
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
}

/// One datagram as it was reaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaped {
    pub peer: Peer,
    pub bytes: Vec<u8>,
    pub truncated: bool,
}

impl Rig {
    /// Worker 0, listening at these addresses.
    pub fn open(backend: Backend, listen: &[&str]) -> Self {
        let listen: Vec<SocketAddr> = listen.iter().map(|a| a.parse().unwrap()).collect();
        Self::worker(backend, &listen, 0)
    }

    /// A worker of a group.
    pub fn worker(backend: Backend, listen: &[SocketAddr], worker: u8) -> Self {
        Self::spinning(backend, listen, worker, 0)
    }

    /// One that looks for `spin_us` before it sleeps.
    pub fn spinning(backend: Backend, listen: &[SocketAddr], worker: u8, spin_us: u32) -> Self {
        let mut config = Config { listen: listen.to_vec(), ..Config::default() };
        config.net.spin_us = spin_us;
        config.net.backend = backend;
        Self::configured(&config, worker)
    }

    /// One with these settings.
    pub fn configured(config: &Config, worker: u8) -> Self {
        Self::among(config, 1, worker)
    }

    /// One of so many workers.
    pub fn among(config: &Config, workers: u8, worker: u8) -> Self {
        let bell = bell();
        let shared = Shared::open(config, workers);
        let bell_end = std::os::fd::AsFd::as_fd(&bell);
        let net = Net::open_with(config, &shared, worker, bell_end).unwrap();
        let addresses = net.local_addresses().unwrap();
        Self { net, outbox: Outbox::new(), bell, addresses }
    }

    /// Puts a datagram into the outbox.
    pub fn post(&mut self, peer: Peer, bytes: &[u8]) {
        let index = self.outbox.begin(peer).unwrap();
        self.outbox.buffer_mut(index)[..bytes.len()].copy_from_slice(bytes);
        self.outbox.commit(index, bytes.len());
    }

    /// Sends what was posted.
    pub fn flush(&mut self) {
        self.net.flush(&mut self.outbox);
        assert!(self.outbox.is_empty());
    }

    /// One batch, without waiting.
    pub fn reap(&mut self) -> Vec<Reaped> {
        let mut batch = self.net.reap();
        let reap = batch.iter_mut().map(|datagram| Reaped {
            peer: datagram.peer,
            bytes: datagram.bytes.to_vec(),
            truncated: datagram.truncated,
        });
        reap.collect()
    }

    /// Waits for datagrams or the bell. A signal may end a single wait early.
    pub fn wait(&mut self) -> Woken {
        wait(&mut self.net)
    }

    /// Waits for exactly `count` datagrams.
    pub fn receive(&mut self, count: usize) -> Vec<Reaped> {
        let mut reaped = Vec::new();
        while reaped.len() < count {
            let woken = self.wait();
            assert!(woken != Woken::default(), "{} of {count} came", reaped.len());
            reaped.append(&mut self.reap());
        }
        assert_eq!(reaped.len(), count);
        reaped
    }

    /// All that is there now.
    pub fn drain(&mut self) -> Vec<Reaped> {
        let mut reaped = Vec::new();
        while self.net.wait(Duration::ZERO).datagrams {
            reaped.append(&mut self.reap());
        }
        reaped
    }
}

/// Waits for datagrams or the bell; neither came if neither is said.
pub fn wait(net: &mut Net) -> Woken {
    let begun = Instant::now();
    loop {
        let woken = net.wait(LONG);
        if woken != Woken::default() || begun.elapsed() >= LONG {
            return woken;
        }
    }
}

/// A client on loopback of the same family, which sends to `server` and hears only from there.
pub fn client(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(if server.is_ipv6() { "[::1]:0" } else { "127.0.0.1:0" }).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket
}

/// The next datagram a client hears.
pub fn hear(client: &UdpSocket) -> Vec<u8> {
    let mut bytes = [0; 2_048];
    loop {
        match client.recv(&mut bytes) {
            Ok(len) => return bytes[..len].to_vec(),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}"),
        }
    }
}

/// Whether nothing waits for a client.
pub fn hears_nothing(client: &UdpSocket) -> bool {
    client.set_nonblocking(true).unwrap();
    let heard = client.recv(&mut [0; 2_048]);
    client.set_nonblocking(false).unwrap();
    matches!(heard, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// A doorbell as the rings have it, which needs no name any more once it is open.
pub fn bell() -> Doorbell {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("tidegate-bell-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let bell = Doorbell::create(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    bell
}

/// Whether this kernel, or the container's filter, allows io_uring at all. Where it does, a backend
/// that does not start is a failure.
pub fn has_io_uring() -> bool {
    let Err(refused) = io_uring::IoUring::new(2) else { return true };
    let by_policy = matches!(refused.raw_os_error(), Some(libc::ENOSYS | libc::EPERM));
    assert!(by_policy, "io_uring: {refused}");
    eprintln!("this kernel refuses io_uring ({refused}): only mmsg is tested");
    false
}
