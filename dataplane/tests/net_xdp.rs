//! Do datagrams pass an AF_XDP socket as they pass the ordinary one? On a veth pair between two
//! namespaces, with the kernel's own stack as the other side; each story says which way they went.
//!
//! Only root may do this: for others the stories end with a word of why.
#![allow(clippy::unwrap_used)]

mod net_rig;
#[path = "net_rig/veth.rs"]
mod veth;

use net_rig::{LONG, Rig, hear};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};
use tidegate_dataplane::bounds::{DATAGRAM_BYTES_MAX, OUTBOX_SLOTS};
use tidegate_dataplane::config::{Backend, Config};
use tidegate_dataplane::net::peer::Peer;
use tidegate_dataplane::net::stats::Stats;
use tidegate_dataplane::net::{Net, Shared};
use veth::{EDGE_INTERFACE, Side, VethPair};

const IPV4: &str = "10.84.0.1:5684";
const IPV6: &str = "[fd84::1]:5684";

#[test]
fn every_datagram_comes_back_and_none_by_the_socket() {
    on_the_edge(1, |pair| {
        for (listen, server) in
            [(IPV4, IPV4), (IPV6, IPV6), ("0.0.0.0:5684", IPV4), ("[::]:5684", IPV6)]
        {
            let mut rig = open(&[listen]);
            assert!(rig.net.describe().starts_with("xdp, queue 0 (native, copying)"));
            let clients: Vec<UdpSocket> = (0..20).map(|_| client(pair, server)).collect();
            for round in 0..50u8 {
                for (number, client) in clients.iter().enumerate() {
                    client.send(&body(number, round)).unwrap();
                }
                echo(&mut rig, clients.len());
                for (number, client) in clients.iter().enumerate() {
                    assert_eq!(hear(client), body(number, round));
                }
            }
            let stats = rig.net.stats();
            assert_eq!((stats.received, stats.xdp_received), (1_000, 1_000), "{listen} {stats:?}");
            assert_eq!((stats.sent, stats.xdp_sent), (1_000, 1_000), "{listen} {stats:?}");
            assert_eq!((stats.kernel_drops, stats.xdp_malformed), (0, 0), "{stats:?}");
            assert_conserved(&mut rig);
        }
    });
}

/// The control: without the program the same datagrams pass the socket.
#[test]
fn the_ordinary_socket_takes_all_when_nothing_is_before_it() {
    on_the_edge(1, |pair| {
        let mut rig = Rig::configured(&config(Backend::Mmsg, &[IPV4]), 0);
        let client = client(pair, IPV4);
        client.send(b"hello").unwrap();
        echo(&mut rig, 1);
        assert_eq!(hear(&client), b"hello");
        let stats = rig.net.stats();
        assert_eq!((stats.received, stats.xdp_received, stats.xdp_sent), (1, 0, 0));
        assert_eq!(rig.net.frames(), None);
    });
}

#[test]
fn every_length_comes_back_unchanged() {
    on_the_edge(1, |pair| {
        for listen in [IPV4, IPV6] {
            let mut rig = open(&[listen]);
            let client = client(pair, listen);
            // What fits the MTU whole: IPv6 headers are 20 bytes longer.
            let longest = if listen == IPV4 { 1_472 } else { 1_452 };
            for len in 0..=longest {
                let sent: Vec<u8> = (0..len).map(|at| (at * 7 + len) as u8).collect();
                client.send(&sent).unwrap();
                let one = rig.receive(1).remove(0);
                assert_eq!((&one.bytes, one.truncated), (&sent, false));
                if len > 0 {
                    rig.post(one.peer, &one.bytes);
                    rig.flush();
                    assert_eq!(hear(&client), sent);
                }
            }
            let stats = rig.net.stats();
            assert_eq!(stats.xdp_received, longest as u64 + 1, "{stats:?}");
            // IPv6 packets of over 1 280 bytes are the kernel's, which hears of narrow paths.
            let by_frames = if listen == IPV4 { 1_472 } else { 1_280 - 48 };
            assert_eq!((stats.sent, stats.xdp_sent), (longest as u64, by_frames), "{stats:?}");
        }
    });
}

/// A device's packets cut on their way, and whatever is not for us.
#[test]
fn what_the_program_leaves_to_the_kernel_still_arrives() {
    on_the_edge(1, |pair| {
        let mut rig = open(&[IPV4, IPV6]);
        pair.ip(Side::Devices, "link set dev0 mtu 1280").unwrap();
        for server in [IPV4, IPV6] {
            let client = client(pair, server);
            let long = vec![0x5a; 1_400];
            client.send(&long).unwrap();
            let one = rig.receive(1).remove(0);
            assert_eq!((&one.bytes, one.peer.address()), (&long, client.local_addr().unwrap()));
            assert_eq!(rig.net.stats().xdp_received, 0, "in fragments");
        }
        // Longer than any datagram of ours, whole or not.
        let client = client(pair, IPV4);
        client.send(&vec![1; DATAGRAM_BYTES_MAX + 1]).unwrap();
        assert!(rig.receive(1)[0].truncated);
        // Another port of the same address has another owner.
        let other = UdpSocket::bind("10.84.0.1:5000").unwrap();
        let stranger = self::client(pair, "10.84.0.1:5000");
        stranger.send(b"not yours").unwrap();
        assert_eq!(hear(&other), b"not yours");
        assert_eq!(rig.net.stats().xdp_received, 0);
    });
}

/// Whoever has not been heard lately is reached by the kernel's neighbours and routes.
#[test]
fn the_first_word_of_ours_goes_by_the_socket() {
    on_the_edge(1, |pair| {
        for listen in [IPV4, IPV6, "0.0.0.0:5684"] {
            let mut rig = open(&[listen]);
            let client = client(pair, if listen == IPV6 { IPV6 } else { IPV4 });
            let peer = Peer::new(client.local_addr().unwrap(), 0);
            rig.post(peer, b"who is there?");
            rig.flush();
            assert_eq!(hear(&client), b"who is there?");
            assert_eq!((rig.net.stats().sent, rig.net.stats().xdp_sent), (1, 0));
            client.send(b"me").unwrap();
            let peer = rig.receive(1)[0].peer;
            rig.post(peer, b"welcome");
            rig.flush();
            assert_eq!(hear(&client), b"welcome");
            assert_eq!((rig.net.stats().sent, rig.net.stats().xdp_sent), (2, 1));
        }
    });
}

/// A replaced router, or a device with another address of its hardware.
#[test]
fn answers_follow_the_neighbour_that_brought_the_request() {
    on_the_edge(1, |pair| {
        let mut rig = open(&[IPV4]);
        let client = client(pair, IPV4);
        for mac in ["02:00:00:00:00:07", "02:00:00:00:00:08"] {
            pair.ip(Side::Devices, &format!("link set dev0 address {mac}")).unwrap();
            client.send(mac.as_bytes()).unwrap();
            echo(&mut rig, 1);
            assert_eq!(hear(&client), mac.as_bytes());
        }
        assert_eq!(rig.net.stats().xdp_sent, 2);
    });
}

#[test]
fn a_wildcard_answers_from_the_address_that_was_written_to() {
    on_the_edge(1, |pair| {
        pair.ip(Side::Edge, "address add 10.84.0.9/16 dev edge0").unwrap();
        let mut rig = open(&["0.0.0.0:5684", "[::]:5684"]);
        let others = ["10.84.0.9:5684", IPV4, IPV6];
        // Connected sockets: they hear only whom they wrote to.
        let clients = others.map(|server| client(pair, server));
        for (turn, client) in clients.iter().enumerate() {
            client.send(&[turn as u8]).unwrap();
            echo(&mut rig, 1);
            assert_eq!(hear(client), [turn as u8]);
        }
        assert_eq!((rig.net.stats().xdp_received, rig.net.stats().xdp_sent), (3, 3));
        // An address that came later is the socket's.
        pair.ip(Side::Edge, "address add 10.84.0.10/16 dev edge0").unwrap();
        let late = client(pair, "10.84.0.10:5684");
        late.send(b"late").unwrap();
        echo(&mut rig, 1);
        assert_eq!(hear(&late), b"late");
        assert_eq!((rig.net.stats().xdp_received, rig.net.stats().received), (3, 4));
    });
}

#[test]
fn a_link_local_peer_is_known_with_its_interface() {
    on_the_edge(1, |pair| {
        let mut rig = open(&["[::]:5684"]);
        let (ours, theirs) =
            (index_of(EDGE_INTERFACE), pair.on(Side::Devices, || index_of("dev0")));
        let server = format!("[fe80::1%{theirs}]:5684");
        let client = client(pair, &server);
        client.send(b"near").unwrap();
        let one = rig.receive(1).remove(0);
        let expected = format!("[fe80::2%{ours}]:{}", client.local_addr().unwrap().port());
        assert_eq!(one.peer.address(), expected.parse().unwrap());
        rig.post(one.peer, b"indeed");
        rig.flush();
        assert_eq!(hear(&client), b"indeed");
        assert_eq!((rig.net.stats().xdp_received, rig.net.stats().xdp_sent), (1, 1));
    });
}

/// More than all frames hold: what finds none is counted, and then everything goes on.
#[test]
fn a_flood_is_dropped_counted_and_over() {
    on_the_edge(1, |pair| {
        let mut rig = open(&[IPV4]);
        let client = client(pair, IPV4);
        for number in 0..5_000u32 {
            client.send(&number.to_be_bytes()).unwrap();
        }
        let mut first = 0;
        while first < 2_048 {
            assert!(rig.wait().datagrams);
            first += rig.reap().len();
        }
        first += rig.drain().len();
        let stats = rig.net.stats();
        assert_eq!(stats.received + stats.kernel_drops, 5_000, "{stats:?}");
        assert!(stats.kernel_drops > 0 && stats.received == first as u64, "{stats:?}");
        assert_conserved(&mut rig);
        client.send(b"still there?").unwrap();
        echo(&mut rig, 1);
        assert_eq!(hear(&client), b"still there?");
    });
}

#[test]
fn a_full_outbox_leaves_in_one_flush() {
    on_the_edge(1, |pair| {
        let mut rig = open(&[IPV4]);
        let client = client(pair, IPV4);
        client.send(b"hello").unwrap();
        let peer = rig.receive(1)[0].peer;
        // More often than there are frames to send from.
        for _ in 0..10 {
            for number in 0..OUTBOX_SLOTS {
                rig.post(peer, &(number as u16).to_be_bytes());
            }
            rig.flush();
            for number in 0..OUTBOX_SLOTS {
                assert_eq!(hear(&client), (number as u16).to_be_bytes());
            }
        }
        assert_eq!(rig.net.stats().xdp_sent, 10 * OUTBOX_SLOTS as u64);
        assert_conserved(&mut rig);
    });
}

/// The program leaves with its process, and a new one is served at once.
#[test]
fn a_worker_restarts_at_once_on_its_queue() {
    on_the_edge(1, |pair| {
        let client = client(pair, IPV4);
        for turn in 0..10u8 {
            let mut rig = open(&[IPV4]);
            client.send(&[turn]).unwrap();
            assert_eq!(rig.receive(1)[0].bytes, [turn]);
            assert_eq!(rig.net.stats().xdp_received, 1);
        }
        let mut rig = Rig::configured(&config(Backend::Mmsg, &[IPV4]), 0);
        client.send(b"by the socket").unwrap();
        assert_eq!(rig.receive(1)[0].bytes, b"by the socket");
    });
}

#[test]
fn an_interface_that_goes_away_leaves_the_sockets() {
    on_the_edge(1, |pair| {
        let mut rig = open(&[IPV4, "127.0.0.1:5684"]);
        client(pair, IPV4).send(b"hello").unwrap();
        let peer = rig.receive(1)[0].peer;
        pair.ip(Side::Edge, "link delete edge0").unwrap();
        for _ in 0..2 {
            rig.post(peer, b"lost");
            rig.flush();
        }
        let stats = rig.net.stats();
        assert_eq!((stats.interfaces_lost, stats.xdp_sent), (1, 1), "{stats:?}");
        let local = net_rig::client("127.0.0.1:5684".parse().unwrap());
        local.send(b"hello").unwrap();
        echo(&mut rig, 1);
        assert_eq!(hear(&local), b"hello");
        // No descriptor is readable for ever: a wait without news sleeps, once.
        let sleeps = rig.net.stats().sleeps;
        rig.net.wait(Duration::from_millis(50));
        assert_eq!(rig.net.stats().sleeps, sleeps + 1);
    });
}

#[test]
fn the_bell_and_the_time_end_a_wait() {
    on_the_edge(1, |pair| {
        let mut rig = open(&[IPV4]);
        assert_eq!(rig.net.wait(Duration::ZERO), tidegate_dataplane::net::Woken::default());
        rig.bell.ring();
        let woken = rig.wait();
        assert!(woken.bell && !woken.datagrams);
        // Also while datagrams come without a pause.
        let client = client(pair, IPV4);
        rig.bell.ring();
        let mut turns = 0;
        loop {
            client.send(b"more").unwrap();
            if rig.net.wait(LONG).bell {
                break;
            }
            rig.reap();
            turns += 1;
            assert!(turns < 100, "the bell is heard under load");
        }
    });
}

#[test]
fn a_busy_queue_is_waited_for_and_misses_nothing() {
    on_the_edge(1, |pair| {
        let mut config = config(Backend::Xdp, &[IPV4]);
        config.net.gather_us = 1_000;
        let mut rig = Rig::configured(&config, 0);
        let client = client(pair, IPV4);
        let begun = Instant::now();
        while rig.net.stats().gathers == 0 && begun.elapsed() < LONG {
            for number in 0..200u8 {
                client.send(&[number]).unwrap();
            }
            let numbers: Vec<u8> = rig.receive(200).iter().map(|one| one.bytes[0]).collect();
            assert!(numbers.into_iter().eq(0..200));
        }
        assert!(rig.net.stats().gathers > 0);
        assert_conserved(&mut rig);
    });
}

/// Two queues, two workers: a queue's socket takes what is not another worker's.
#[test]
fn a_record_of_another_worker_finds_it_by_its_socket() {
    on_the_edge(2, |pair| {
        let config = config(Backend::Xdp, &[IPV4]);
        let shared = Shared::open(&config, 2);
        let bells = [net_rig::bell(), net_rig::bell()];
        let mut workers: Vec<Net> = (0..2u8)
            .map(|worker| {
                let bell = std::os::fd::AsFd::as_fd(&bells[usize::from(worker)]);
                Net::open_with(&config, &shared, worker, bell).unwrap()
            })
            .collect();
        for worker in 0..2u8 {
            let mut record = [0x5a; 40];
            (record[0], record[11]) = (25, worker);
            for _ in 0..64 {
                client(pair, IPV4).send(&record).unwrap();
            }
            assert_eq!(received(&mut workers, 64)[usize::from(worker)], 64, "{record:?}");
        }
        let stats: Vec<Stats> = workers.iter().map(Net::stats).collect();
        let by_frames: u64 = stats.iter().map(|one| one.xdp_received).sum();
        // Ports are spread over both queues, so that each worker got some either way.
        assert!(by_frames > 0 && by_frames < 128, "{stats:?}");
        // What names no worker stays on its queue.
        for _ in 0..64 {
            client(pair, IPV4).send(&[22; 40]).unwrap();
        }
        let spread = received(&mut workers, 64);
        assert!(spread[0] > 0 && spread[1] > 0, "{spread:?}");
        let now: u64 = workers.iter().map(|net| net.stats().xdp_received).sum();
        assert_eq!(now, by_frames + 64);
    });
}

#[test]
fn where_it_cannot_be_had_the_sockets_serve_and_say_why() {
    let says = |interface: &str, listen: &[&str]| {
        let mut config = config(Backend::Xdp, listen);
        config.net.xdp_interface = interface.into();
        let mut rig = Rig::configured(&config, 0);
        let client = net_rig::client(rig.addresses[0]);
        client.send(b"hello").unwrap();
        echo(&mut rig, 1);
        assert_eq!(hear(&client), b"hello");
        rig.net.describe().to_owned()
    };
    for (interface, listen, why) in [
        ("nowhere0", "127.0.0.1:0", "No such device"),
        ("lo", "127.0.0.1:0", "not an Ethernet interface"),
    ] {
        let told = says(interface, &[listen]);
        let fallback =
            told.starts_with("io_uring (no xdp") || told.starts_with("mmsg (no io_uring");
        assert!(fallback && told.contains(&format!("on {interface}: {why}")), "{told}");
    }
    on_the_edge(1, move |_| {
        let told = says(EDGE_INTERFACE, &["127.0.0.1:5684"]);
        assert!(told.contains("it has none of the addresses we listen at"), "{told}");
    });
    on_the_edge(1, |_| {
        let config = config(Backend::Xdp, &[IPV4]);
        let shared = Shared::open(&config, 2);
        let bells = [net_rig::bell(), net_rig::bell()];
        let [first, second] = [0, 1].map(|worker| {
            let bell = std::os::fd::AsFd::as_fd(&bells[usize::from(worker)]);
            Net::open_with(&config, &shared, worker, bell).unwrap()
        });
        assert!(first.describe().starts_with("xdp, queue 0"), "{}", first.describe());
        assert!(second.describe().contains("no xdp for worker 1: it has 1 queue"));
    });
}

/// Tells a story on a thread on the edge's side of a new pair, if this user may make one.
fn on_the_edge(queues: u32, story: impl FnOnce(&VethPair) + Send) {
    match VethPair::new(queues) {
        Ok(pair) => pair.on(Side::Edge, || story(&pair)),
        Err(reason) => {
            assert!(!rustix::process::geteuid().is_root(), "root may not be refused: {reason}");
            eprintln!("only root can make a veth pair ({reason}): this story is not told");
        }
    }
}

fn config(backend: Backend, listen: &[&str]) -> Config {
    let listen = listen.iter().map(|address| address.parse().unwrap()).collect();
    let mut config = Config { listen, ..Config::default() };
    config.net.backend = backend;
    config.net.xdp_interface = EDGE_INTERFACE.into();
    config
}

fn open(listen: &[&str]) -> Rig {
    let rig = Rig::configured(&config(Backend::Xdp, listen), 0);
    assert!(rig.net.describe().starts_with("xdp"), "{}", rig.net.describe());
    rig
}

/// A socket on the devices' side that hears only its server.
fn client(pair: &VethPair, server: &str) -> UdpSocket {
    let server: SocketAddr = server.parse().unwrap();
    pair.on(Side::Devices, || {
        let any = if server.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
        let socket = UdpSocket::bind(any).unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        socket
    })
}

/// Sends the next `count` datagrams back.
fn echo(rig: &mut Rig, count: usize) {
    for one in rig.receive(count) {
        rig.post(one.peer, &one.bytes);
    }
    rig.flush();
}

/// What each worker received, `count` in all.
fn received(workers: &mut [Net], count: usize) -> Vec<usize> {
    let mut received = vec![0; workers.len()];
    while received.iter().sum::<usize>() < count {
        for (worker, received) in workers.iter_mut().zip(&mut received) {
            worker.wait(Duration::from_millis(1));
            *received += worker.reap().len();
        }
    }
    received
}

/// Every frame is where it should be when nothing is under way.
fn assert_conserved(rig: &mut Rig) {
    let frames = rig.net.frames().unwrap();
    assert_eq!((frames.lent, frames.sending), (0, 0), "{frames:?}");
    assert_eq!(frames.free + frames.filled, 3_072, "{frames:?}");
}

fn index_of(interface: &str) -> u32 {
    rustix::net::netdevice::name_to_index(UdpSocket::bind("[::]:0").unwrap(), interface).unwrap()
}

/// What client `number` says: different for each.
fn body(number: usize, round: u8) -> Vec<u8> {
    let mut body = format!("{number:4}/{round:4}").into_bytes();
    body.resize(12 + (number * 31 + usize::from(round)) % 80, round);
    body
}
