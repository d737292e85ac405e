//! Do datagrams that leave in one call arrive as what they were? Runs to one peer (UDP_SEGMENT).
#![allow(clippy::unwrap_used)]

mod net_rig;

use net_rig::{LONG, Rig, client, hear, hears_nothing};
use std::net::UdpSocket;
use tidegate_dataplane::config::{Backend, Config};
use tidegate_dataplane::net::peer::Peer;

on_both_backends! {
    a_run_arrives_as_the_datagrams_it_was;
    without_the_knob_each_leaves_by_itself;
    a_run_leaves_from_the_address_it_was_asked_at;
    a_run_that_is_refused_counts_as_often_as_it_has_datagrams;
}

/// Lengths as a flight has them: full ones, a shorter last one, then another burst; and somebody
/// else's in between.
const LENGTHS: [usize; 7] = [1_200, 1_200, 1_200, 340, 90, 90, 90];

fn bodies() -> impl Iterator<Item = Vec<u8>> {
    LENGTHS.iter().enumerate().map(|(number, len)| vec![number as u8 + 1; *len])
}

/// Posts them all to each of two peers, one peer after the other, and looks at what they hear.
fn tell(backend: Backend, listen: &str, gso: bool) -> u64 {
    let mut config = Config { listen: vec![listen.parse().unwrap()], ..Config::default() };
    (config.net.backend, config.net.gso) = (backend, gso);
    let mut rig = Rig::configured(&config, 0);
    let clients = [client(rig.addresses[0]), client(rig.addresses[0])];
    for client in &clients {
        client.send(b"hello").unwrap();
        let peer = rig.receive(1)[0].peer;
        bodies().for_each(|body| rig.post(peer, &body));
    }
    rig.flush();
    for client in &clients {
        bodies().for_each(|body| assert_eq!(hear(client), body));
        assert!(hears_nothing(client));
    }
    let stats = rig.net.stats();
    assert_eq!((stats.sent, stats.send_errors.total()), (14, 0), "{stats:?}");
    assert_eq!(stats.sent_bytes, 2 * LENGTHS.iter().sum::<usize>() as u64);
    stats.joined
}

fn a_run_arrives_as_the_datagrams_it_was(backend: Backend) {
    for listen in ["127.0.0.1:0", "[::1]:0"] {
        assert_eq!(tell(backend, listen, true), 2 * (3 + 2), "{listen}");
    }
}

fn without_the_knob_each_leaves_by_itself(backend: Backend) {
    assert_eq!(tell(backend, "127.0.0.1:0", false), 0);
}

fn a_run_leaves_from_the_address_it_was_asked_at(backend: Backend) {
    let mut rig = Rig::open(backend, &["0.0.0.0:0"]);
    let mut asked = rig.addresses[0];
    asked.set_ip("127.0.0.2".parse().unwrap());
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    client.connect(asked).unwrap();
    client.send(b"from where?").unwrap();
    let peer = rig.receive(1)[0].peer;
    rig.post(peer, b"one");
    rig.post(peer, b"two");
    rig.flush();
    assert_eq!([hear(&client), hear(&client)], [b"one", b"two"]);
    assert_eq!(rig.net.stats().joined, 1);
}

fn a_run_that_is_refused_counts_as_often_as_it_has_datagrams(backend: Backend) {
    let mut rig = Rig::open(backend, &["127.0.0.1:0"]);
    let broadcast = Peer::new("255.255.255.255:9".parse().unwrap(), 0);
    (0..3).for_each(|_| rig.post(broadcast, b"forbidden"));
    let other = Peer::new("[::1]:9".parse().unwrap(), 0);
    (0..2).for_each(|_| rig.post(other, b"the other family"));
    rig.flush();
    rig.net.wait(std::time::Duration::ZERO);
    let errors = rig.net.stats().send_errors;
    assert_eq!((errors.forbidden, errors.no_socket, errors.total()), (3, 2, 5));
}
