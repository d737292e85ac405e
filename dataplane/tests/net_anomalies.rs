//! Does a worker go on receiving and sending whatever peers and the kernel do to it? Each anomaly
//! is caused for real, is counted, and harms no datagram beside it.
#![allow(clippy::unwrap_used)]

mod net_rig;

use net_rig::{LONG, Reaped, Rig, client, hear, hears_nothing};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;
use tidegate_dataplane::bounds::{BATCH_MAX, DATAGRAM_BYTES_MAX};
use tidegate_dataplane::config::Backend;
use tidegate_dataplane::net::Woken;
use tidegate_dataplane::net::peer::Peer;

on_both_backends! {
    datagrams_without_bytes_stop_nothing;
    a_datagram_is_cut_only_beyond_the_limit;
    a_burst_beyond_all_buffers_is_received_in_order;
    batches_end_at_their_bound;
    a_peer_that_is_gone_harms_no_other;
    what_the_kernel_refuses_is_counted_and_the_rest_is_sent;
    the_bell_ends_a_wait;
    a_bell_heard_while_reaping_ends_the_next_wait;
    a_bell_that_breaks_is_left_alone;
    nothing_comes_in_no_time;
    a_wildcard_socket_answers_from_the_address_it_was_asked_at;
}

fn datagrams_without_bytes_stop_nothing(backend: Backend) {
    for listen in ["127.0.0.1:0", "[::1]:0"] {
        let mut rig = Rig::open(backend, &[listen]);
        let client = client(rig.addresses[0]);
        for turn in 0..20u8 {
            let sent: [&[u8]; 4] = [&[], &[turn], &[], &[]];
            for bytes in sent {
                client.send(bytes).unwrap();
            }
            let bytes: Vec<Vec<u8>> = rig.receive(4).into_iter().map(|one| one.bytes).collect();
            assert_eq!(bytes, sent);
        }
        assert_eq!(rig.net.stats().zero_length, 60);
        assert_eq!(rig.net.stats().received, 80);
    }
}

fn a_datagram_is_cut_only_beyond_the_limit(backend: Backend) {
    for listen in ["127.0.0.1:0", "[::1]:0"] {
        let mut rig = Rig::open(backend, &[listen]);
        let client = client(rig.addresses[0]);
        for (len, cut) in [
            (DATAGRAM_BYTES_MAX, false),
            (DATAGRAM_BYTES_MAX + 1, true),
            (9_000, true),
            (65_000, true),
            (DATAGRAM_BYTES_MAX, false),
        ] {
            let sent: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            client.send(&sent).unwrap();
            let one = rig.receive(1).remove(0);
            assert_eq!(one.truncated, cut, "{len}");
            assert_eq!(one.bytes, sent[..DATAGRAM_BYTES_MAX], "{len}");
        }
        assert_eq!(rig.net.stats().truncated, 3);
    }
}

/// 1 424 datagrams of a stranger against 128 buffers: `wait` is called in between, so that io_uring
/// takes as many as it can, runs out, and has to be begun again.
fn a_burst_beyond_all_buffers_is_received_in_order(backend: Backend) {
    let mut rig = Rig::open(backend, &["127.0.0.1:0"]);
    let client = client(rig.addresses[0]);
    for _ in 0..3 {
        let before = rig.net.stats();
        for number in 0..1_424u32 {
            client.send(&number.to_be_bytes()).unwrap();
            if number % 64 == 0 {
                rig.net.wait(Duration::ZERO);
            }
        }
        let drops = rig.net.stats().stranger_drops - before.stranger_drops;
        let reaped = rig.receive(1_424 - drops as usize);
        let numbers: Vec<u32> = reaped.iter().map(number_of).collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
        if drops == 0 {
            assert!(numbers.iter().copied().eq(0..1_424));
        }
    }
    assert!(rig.drain().is_empty());
    let stats = rig.net.stats();
    assert_eq!(stats.buffers_exhausted > 0, backend == Backend::IoUring, "{stats:?}");
    assert_eq!(stats.receive_errors, 0, "{stats:?}");
}

fn batches_end_at_their_bound(backend: Backend) {
    let mut rig = Rig::open(backend, &["127.0.0.1:0"]);
    let client = client(rig.addresses[0]);
    for number in 0..=BATCH_MAX as u32 {
        client.send(&number.to_be_bytes()).unwrap();
    }
    assert!(rig.wait().datagrams);
    let mut numbers: Vec<u32> = Vec::new();
    while numbers.len() <= BATCH_MAX {
        let batch = rig.reap();
        assert!(batch.len() <= BATCH_MAX);
        numbers.extend(batch.iter().map(number_of));
    }
    assert!(numbers.into_iter().eq(0..=BATCH_MAX as u32));
}

fn a_peer_that_is_gone_harms_no_other(backend: Backend) {
    let mut rig = Rig::open(backend, &["127.0.0.1:0"]);
    let (gone, live) = (client(rig.addresses[0]), client(rig.addresses[0]));
    gone.send(b"gone").unwrap();
    live.send(b"live").unwrap();
    let reaped = rig.receive(2);
    let (gone_peer, live_peer) = (reaped[0].peer, reaped[1].peer);
    drop(gone);
    for turn in 0..10u8 {
        rig.post(gone_peer, b"nobody is there");
        rig.post(live_peer, &[turn]);
        rig.flush();
        assert_eq!(hear(&live), [turn]);
        live.send(&[turn]).unwrap();
        assert_eq!(rig.receive(1)[0].bytes, [turn]);
    }
    assert_eq!(rig.net.stats().receive_errors, 0);
}

fn what_the_kernel_refuses_is_counted_and_the_rest_is_sent(backend: Backend) {
    let mut rig = Rig::open(backend, &["127.0.0.1:0"]);
    let client = client(rig.addresses[0]);
    client.send(b"hello").unwrap();
    let peer = rig.receive(1)[0].peer;
    let to = |address: &str, socket| Peer::new(address.parse().unwrap(), socket);
    let broadcast = to("255.255.255.255:9", 0);
    rig.post(broadcast, b"forbidden without SO_BROADCAST");
    rig.post(peer, b"one");
    rig.post(to("127.0.0.1:9", 7), b"a socket that this configuration does not have");
    rig.post(to("[::1]:9", 0), b"the other family");
    rig.post(peer, b"two");
    rig.post(broadcast, b"again");
    let given_up = rig.outbox.begin(peer).unwrap();
    rig.outbox.buffer_mut(given_up)[0] = 1;
    rig.post(peer, b"three");
    rig.flush();
    assert_eq!([hear(&client), hear(&client), hear(&client)], [&b"one"[..], b"two", b"three"]);
    assert!(hears_nothing(&client));
    rig.net.wait(Duration::ZERO);
    let stats = rig.net.stats();
    assert_eq!((stats.send_errors.forbidden, stats.send_errors.no_socket), (2, 2), "{stats:?}");
    assert_eq!((stats.send_errors.total(), stats.sent), (4, 5), "{stats:?}");
}

fn the_bell_ends_a_wait(backend: Backend) {
    let mut rig = Rig::open(backend, &["127.0.0.1:0"]);
    let rung = Woken { datagrams: false, bell: true };
    for _ in 0..5 {
        // Rung before, rung meanwhile, and rung many times for one wait.
        rig.bell.ring();
        assert_eq!(rig.wait(), rung);
        std::thread::scope(|scope| {
            scope.spawn(|| rig.bell.ring());
            assert_eq!(net_rig::wait(&mut rig.net), rung);
        });
        (0..1_000).for_each(|_| rig.bell.ring());
        assert_eq!(rig.wait(), rung);
    }
    // Silenced each time: nothing is left, though a late echo of a ring may be told once.
    rig.net.wait(Duration::ZERO);
    assert_eq!(rig.net.wait(Duration::ZERO), Woken::default());
    assert!(rig.net.stats().bells >= 15);
}

fn a_bell_heard_while_reaping_ends_the_next_wait(backend: Backend) {
    let mut rig = Rig::open(backend, &["127.0.0.1:0"]);
    let client = client(rig.addresses[0]);
    rig.bell.ring();
    client.send(b"hello").unwrap();
    assert_eq!(rig.reap().len(), 1);
    assert!(rig.wait().bell);
}

fn a_bell_that_breaks_is_left_alone(backend: Backend) {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let mut config = tidegate_dataplane::config::Config {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        ..Default::default()
    };
    config.net.backend = backend;
    let bell = std::os::fd::AsFd::as_fd(&ours);
    let mut net = tidegate_dataplane::net::Net::open(&config, 0, bell).unwrap();
    drop(theirs);
    assert!(net_rig::wait(&mut net).bell);
    for _ in 0..3 {
        assert_eq!(net.wait(Duration::from_millis(1)), Woken::default());
    }
    assert_eq!(net.stats().bells_lost, 1);
    client(net.local_addresses().unwrap()[0]).send(b"still here").unwrap();
    assert!(net_rig::wait(&mut net).datagrams);
}

fn nothing_comes_in_no_time(backend: Backend) {
    let mut rig = Rig::open(backend, &["127.0.0.1:0", "[::1]:0"]);
    assert_eq!(rig.net.wait(Duration::ZERO), Woken::default());
    assert_eq!(rig.net.wait(Duration::from_millis(2)), Woken::default());
    assert!(rig.reap().is_empty());
    rig.flush();
    assert_eq!(rig.net.stats().sent, 0);
}

/// The control sends to the same peer without what it remembers: the kernel then picks another
/// address than the one it was asked at.
fn a_wildcard_socket_answers_from_the_address_it_was_asked_at(backend: Backend) {
    let mut rig = Rig::open(backend, &["0.0.0.0:0"]);
    let mut asked = rig.addresses[0];
    asked.set_ip("127.0.0.2".parse().unwrap());
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    client.send_to(b"from where?", asked).unwrap();
    let peer = rig.receive(1)[0].peer;
    let control = Peer::new(peer.address(), peer.socket());
    assert_ne!(peer, control);
    let mut answered_from = |peer| -> SocketAddr {
        rig.post(peer, b"from here");
        rig.flush();
        loop {
            match client.recv_from(&mut [0; 16]) {
                Ok((_, from)) => return from,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}"),
            }
        }
    };
    assert_eq!(answered_from(peer), asked);
    let mut kernels_choice = asked;
    kernels_choice.set_ip("127.0.0.1".parse().unwrap());
    assert_eq!(answered_from(control), kernels_choice);
}

fn number_of(one: &Reaped) -> u32 {
    u32::from_be_bytes(one.bytes[..].try_into().unwrap())
}
