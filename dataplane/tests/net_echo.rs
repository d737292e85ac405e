//! Does every datagram come back to the peer it came from? Ten thousand of them, from many sockets,
//! of every length, on both backends and both address families.
#![allow(clippy::unwrap_used)]

mod net_rig;

use net_rig::{LONG, Rig, client, hear};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tidegate_dataplane::bounds::{DATAGRAM_BYTES_MAX, OUTBOX_SLOTS};
use tidegate_dataplane::config::{Backend, Config};
use tidegate_dataplane::net::stats::Stats;

on_both_backends! {
    ten_thousand_datagrams_come_back_to_their_senders;
    every_length_comes_back_unchanged;
    two_families_share_a_worker;
    a_full_outbox_leaves_in_one_flush;
    a_worker_restarts_at_once_on_its_address;
    a_worker_that_looks_before_it_sleeps_misses_nothing;
    a_worker_waits_for_a_fuller_batch_under_load_and_only_then;
}

fn ten_thousand_datagrams_come_back_to_their_senders(backend: Backend) {
    for listen in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
        let echo = Echo::start(backend, listen);
        let clients: Vec<UdpSocket> = (0..50).map(|_| client(echo.address)).collect();
        for round in 0..50u16 {
            for (number, client) in clients.iter().enumerate() {
                for turn in 0..4 {
                    client.send(&body(number, round, turn)).unwrap();
                }
            }
            for (number, client) in clients.iter().enumerate() {
                for turn in 0..4 {
                    assert_eq!(hear(client), body(number, round, turn));
                }
            }
        }
        let stats = echo.stop();
        assert_eq!((stats.received, stats.sent), (10_000, 10_000), "{listen}: {stats:?}");
        assert_eq!((stats.kernel_drops, stats.receive_errors), (0, 0), "{stats:?}");
        assert_eq!((stats.send_errors.total(), stats.truncated), (0, 0), "{stats:?}");
    }
}

fn every_length_comes_back_unchanged(backend: Backend) {
    for listen in ["127.0.0.1:0", "[::]:0"] {
        let echo = Echo::start(backend, listen);
        let client = client(echo.address);
        let mut total = 0;
        for len in 1..=DATAGRAM_BYTES_MAX {
            let sent: Vec<u8> = (0..len).map(|at| (at * 7 + len) as u8).collect();
            client.send(&sent).unwrap();
            assert_eq!(hear(&client), sent, "{len}");
            total += len as u64;
        }
        let stats = echo.stop();
        assert_eq!((stats.received_bytes, stats.sent_bytes), (total, total));
        assert_eq!((stats.truncated, stats.zero_length), (0, 0));
    }
}

fn two_families_share_a_worker(backend: Backend) {
    let mut rig = Rig::open(backend, &["127.0.0.1:0", "[::1]:0"]);
    let clients = [client(rig.addresses[0]), client(rig.addresses[1])];
    for (number, client) in clients.iter().enumerate() {
        client.send(&[number as u8]).unwrap();
    }
    for one in rig.receive(2) {
        let number = usize::from(one.bytes[0]);
        assert_eq!(usize::from(one.peer.socket()), number);
        assert_eq!(one.peer.address(), clients[number].local_addr().unwrap());
        rig.post(one.peer, &one.bytes);
    }
    rig.flush();
    assert_eq!((hear(&clients[0]), hear(&clients[1])), (vec![0], vec![1]));
}

fn a_full_outbox_leaves_in_one_flush(backend: Backend) {
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    let mut config = Config { listen, ..Config::default() };
    // Cut apart again, datagrams take more of the client's receive buffer than it has for so many.
    (config.net.backend, config.net.gso) = (backend, false);
    let mut rig = Rig::configured(&config, 0);
    let client = client(rig.addresses[0]);
    client.send(b"hello").unwrap();
    let peer = rig.receive(1)[0].peer;
    for number in 0..OUTBOX_SLOTS {
        rig.post(peer, &(number as u16).to_be_bytes());
    }
    assert_eq!(rig.outbox.room(), 0);
    rig.flush();
    for number in 0..OUTBOX_SLOTS {
        assert_eq!(hear(&client), (number as u16).to_be_bytes());
    }
}

fn a_worker_restarts_at_once_on_its_address(backend: Backend) {
    let mut address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    for turn in 0..20u8 {
        let mut rig = Rig::worker(backend, &[address], 0);
        address = rig.addresses[0];
        client(address).send(&[turn]).unwrap();
        assert_eq!(rig.receive(1)[0].bytes, [turn]);
    }
}

fn a_worker_that_looks_before_it_sleeps_misses_nothing(backend: Backend) {
    let echo = Echo::spinning(backend, "127.0.0.1:0", 200);
    let client = client(echo.address);
    for turn in 0..500u16 {
        client.send(&turn.to_be_bytes()).unwrap();
        assert_eq!(hear(&client), turn.to_be_bytes());
    }
    let stats = echo.stop();
    assert_eq!((stats.received, stats.sent), (500, 500));
}

fn a_worker_waits_for_a_fuller_batch_under_load_and_only_then(backend: Backend) {
    for gather_us in [0, 1_000] {
        let mut config =
            Config { listen: vec!["127.0.0.1:0".parse().unwrap()], ..Config::default() };
        (config.net.backend, config.net.gather_us) = (backend, gather_us);
        let mut rig = Rig::configured(&config, 0);
        let client = client(rig.addresses[0]);
        let begun = Instant::now();
        while rig.net.stats().gathers == 0 && begun.elapsed() < LONG {
            for number in 0..200u8 {
                client.send(&[0, number]).unwrap();
            }
            let numbers: Vec<u8> = rig.receive(200).iter().map(|one| one.bytes[1]).collect();
            assert!(numbers.into_iter().eq(0..200));
            if gather_us == 0 && rig.net.stats().received > 10_000 {
                break;
            }
        }
        assert_eq!(rig.net.stats().gathers > 0, gather_us > 0);
        // The first waits of a quiet time may not know that it is one.
        let mut gathers = u64::MAX;
        while gathers != rig.net.stats().gathers && begun.elapsed() < LONG {
            gathers = rig.net.stats().gathers;
            rig.net.wait(Duration::from_millis(20));
        }
        assert_eq!(rig.net.stats().gathers, gathers);
    }
}

/// What client `number` says: different for each, between 12 and 91 bytes.
fn body(number: usize, round: u16, turn: u8) -> Vec<u8> {
    let mut body = format!("{number:4}/{round:4}/{turn}").into_bytes();
    body.resize(12 + (number * 31 + usize::from(round)) % 80, turn);
    body
}

/// A worker on its own thread that sends everything back.
struct Echo {
    address: SocketAddr,
    should_stop: Arc<AtomicBool>,
    bell: tidegate_ring::Doorbell,
    thread: JoinHandle<Stats>,
}

impl Echo {
    fn start(backend: Backend, listen: &'static str) -> Self {
        Self::spinning(backend, listen, 0)
    }

    fn spinning(backend: Backend, listen: &'static str, spin_us: u32) -> Self {
        let should_stop = Arc::new(AtomicBool::new(false));
        let (started, start) = mpsc::channel();
        let stop = Arc::clone(&should_stop);
        let thread = std::thread::spawn(move || {
            let mut rig = Rig::spinning(backend, &[listen.parse().unwrap()], 0, spin_us);
            // A second bell that stays ours: the worker's own is on its thread.
            let bell = net_rig::bell();
            let (mut address, theirs) = (rig.addresses[0], rig.bell);
            rig.bell = bell;
            if address.ip().is_unspecified() {
                let ip = if address.is_ipv6() { "::1" } else { "127.0.0.1" };
                address.set_ip(ip.parse().unwrap());
            }
            started.send((address, theirs)).unwrap();
            while !stop.load(Ordering::SeqCst) {
                rig.net.wait(LONG);
                for datagram in rig.net.reap().iter_mut() {
                    let index = rig.outbox.begin(datagram.peer).unwrap();
                    let len = datagram.bytes.len();
                    rig.outbox.buffer_mut(index)[..len].copy_from_slice(datagram.bytes);
                    rig.outbox.commit(index, len);
                }
                rig.flush();
            }
            rig.net.stats()
        });
        let (address, bell) = start.recv().unwrap();
        Self { address, should_stop, bell, thread }
    }

    fn stop(self) -> Stats {
        self.should_stop.store(true, Ordering::SeqCst);
        self.bell.ring();
        self.thread.join().unwrap()
    }
}
