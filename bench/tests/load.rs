//! Does the load of side-by-side runs count what was answered, and only that?

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tidegate_bench::echo::{Way, serve};
use tidegate_bench::ratio::load::{Load, Plan, bind};

fn plan() -> Plan {
    Plan {
        sockets: 16,
        outstanding: 8,
        path: "echo",
        payload_bytes: 48,
        identity: "test-",
        key: b"0123456789abcdef",
        connection_id: true,
        devices_each: 1,
    }
}

fn echo() -> SocketAddr {
    let (ready, address) = mpsc::channel();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    thread::spawn(move || serve(Way::Mmsg, any, 35, |at| ready.send(at).expect("it listens")));
    address.recv().expect("an echo that starts")
}

#[test]
fn bare_datagrams_are_counted_when_they_are_back() {
    let mut load = Load::bare(echo(), &plan()).expect("sockets");
    assert_eq!(load.datagram_bytes().expect("a reply"), (48, 35));
    for _ in 0..2 {
        let slice = load.run(Duration::from_millis(50)).expect("a stretch");
        assert!(slice.completed >= 8 && slice.lost == 0, "{slice:?}");
    }
}

/// What an echo returns is no answer to a request.
#[test]
fn an_echo_is_no_edge() {
    let mut load = Load::clear(echo(), &plan()).expect("sockets");
    assert!(load.datagram_bytes().is_err());
}

/// A server that answers the first five requests and then falls silent: the stretch ends all the
/// same, and says what was lost.
#[test]
fn what_is_not_answered_is_lost_and_not_counted() {
    let server = UdpSocket::bind(("127.0.0.1", 0)).expect("a socket");
    let address = server.local_addr().expect("an address");
    thread::spawn(move || {
        let mut datagram = [0; 64];
        for _ in 0..5 {
            let (len, peer) = server.recv_from(&mut datagram).expect("a request");
            server.send_to(&datagram[..len], peer).expect("loopback");
        }
        // Kept open: a closed port would be heard of.
        while server.recv_from(&mut datagram).is_ok() {}
    });
    let mut load = Load::bare(address, &plan()).expect("sockets");
    let slice = load.run(Duration::from_millis(10)).expect("a stretch");
    assert_eq!((slice.completed, slice.lost), (5, 8), "{slice:?}");
}

#[test]
fn loopback_is_reached_from_its_own_address() {
    let local = |server: Ipv4Addr| {
        bind(IpAddr::V4(server)).and_then(|socket| socket.local_addr()).expect("a socket").ip()
    };
    assert_eq!(local(Ipv4Addr::LOCALHOST), Ipv4Addr::LOCALHOST);
    assert_eq!(local(Ipv4Addr::new(192, 0, 2, 1)), Ipv4Addr::UNSPECIFIED);
}
