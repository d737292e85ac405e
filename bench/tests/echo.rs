//! Do the bare echoes send everything back, whole and to its sender?

use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tidegate_bench::echo::{Way, serve};

const WAYS: [Way; 3] = [Way::Mmsg, Way::IoUring, Way::TokioUring];

/// An echo of this process; its thread ends with it.
fn echo(way: Way, reply_bytes: usize) -> SocketAddr {
    let (ready, address) = mpsc::channel();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    thread::spawn(move || {
        serve(way, any, reply_bytes, |at| ready.send(at).expect("the test listens"))
    });
    address.recv().expect("an echo that starts")
}

fn peer_of(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a socket");
    socket.connect(server).expect("loopback");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    socket
}

/// Nothing at all, one byte, a record, and the largest datagram a link takes.
#[test]
fn each_length_comes_back_to_its_sender() {
    for way in WAYS {
        let server = echo(way, usize::MAX);
        let peers = [peer_of(server), peer_of(server)];
        let mut buffer = [0; 2_048];
        for len in [0, 1, 77, 0, 1_452, 77] {
            for (peer, fill) in peers.iter().zip([0x11, 0x22]) {
                peer.send(&vec![fill; len]).expect("loopback");
            }
            for (peer, fill) in peers.iter().zip([0x11, 0x22]) {
                let got = peer.recv(&mut buffer).expect("an echo");
                assert_eq!(buffer[..got], vec![fill; len], "{way:?}, {len} bytes");
            }
        }
    }
}

/// Far more than it has buffers, at once: some may be lost on the way in, but it goes on.
#[test]
fn a_burst_beyond_its_buffers_does_not_end_it() {
    for way in WAYS {
        let server = echo(way, usize::MAX);
        let peer = peer_of(server);
        (0..5_000).for_each(|_| drop(peer.send(&[7; 77])));
        peer.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
        let mut buffer = [0; 2_048];
        while peer.recv(&mut buffer).is_ok() {}
        let late = peer_of(server);
        for round in 0..100_u8 {
            late.send(&[round; 60]).expect("loopback");
            let got = late.recv(&mut buffer).expect("it goes on");
            assert_eq!(buffer[..got], [round; 60], "{way:?}");
        }
    }
}

/// An edge's reply is shorter than the request; an echo beside it sends as little.
#[test]
fn a_reply_is_cut_to_its_bound() {
    for way in WAYS {
        let peer = peer_of(echo(way, 35));
        let mut buffer = [0; 2_048];
        for (sent, returned) in [(34, 34), (35, 35), (36, 35), (96, 35)] {
            peer.send(&vec![3; sent]).expect("loopback");
            assert_eq!(peer.recv(&mut buffer).expect("an echo"), returned, "{way:?}");
        }
    }
}
