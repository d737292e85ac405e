//! Sessions that the edge opens: it is the client, the device waits.

use tidegate_coap::code::Code;
use tidegate_coap::message::Type;
use tidegate_dataplane::bounds::{CONNECTS_MAX, HANDSHAKE_LIFETIME_MS};
use tidegate_dataplane::config::Config;
use tidegate_dataplane::fate::{Fate, Tally};
use tidegate_dataplane::net::peer::Peer;
use tidegate_ring::contract::{self as wire, Kind, Step};
use tidegate_tests::story::{
    KEY, Listener, SessionNotice, Story, device_id, identity, request, seen,
};
use zerocopy::IntoBytes;

const STAMP: u64 = 77;

fn order(number: u8, attempt: u64) -> wire::Connect {
    let peer = Peer::new(Listener::address(number), 0);
    wire::Connect {
        device: device_id(number.into()),
        stamp: STAMP.into(),
        class: 0.into(),
        attempt: attempt.into(),
        peer_ip: peer.ip_bytes(),
        peer_port: peer.port().into(),
        identity_len: (identity(number.into()).len() as u16).into(),
        network: wire::Network::Cellular as u8,
    }
}

/// The control plane orders a session to device `number`.
fn connects(story: &mut Story, number: u8, attempt: u64) {
    let tail = [&identity(number.into())[..], KEY].concat();
    story.tells_at(0, Kind::Connect, order(number, attempt).as_bytes(), &tail);
}

fn sends_downlink(story: &mut Story) {
    let up = story.last_session();
    let worker = wire::SessionRef(up.session.get()).worker();
    let downlink = wire::Downlink {
        message_id: [1; 16],
        device: up.device,
        session: up.session,
        terms: wire::Terms::OWN,
        body_bytes: 0.into(),
    };
    let message = request(Type::Con, Code::PUT, 0, "/led", b"on");
    story.tells_at(worker.into(), Kind::Downlink, downlink.as_bytes(), &message);
}

/// The four ways to have Connection IDs, over workers that are not the one that connects: the
/// session opens, and serves downlinks and uplinks like any other.
#[test]
fn a_session_opened_by_the_edge_serves_like_any_other() {
    for lands_on in 0..3 {
        for (edge_cid, device_cid) in
            [(true, &b"dev"[..]), (true, b""), (false, b"dev"), (false, b"")]
        {
            let what = format!("worker {lands_on}, {edge_cid}, {device_cid:?}");
            let mut config = Config::default();
            config.handshake.connection_id = edge_cid;
            let mut story = Story::with_workers(1, 3, config);
            let device = story.listens(1, KEY, device_cid, lands_on);
            connects(&mut story, 1, 9);
            assert!(story.listener(device).is_up(), "{what}");
            let up = story.last_session();
            assert_eq!((up.connected, up.resumed, up.stamp.get()), (1, 0, STAMP));
            assert_eq!((up.device, up.claim), (device_id(1), wire::Claim::PskIdentity as u8));
            assert_eq!((up.peer_port.get(), up.has_cid == 1), (5_684, edge_cid), "{what}");
            assert_eq!(story.names, [identity(1)]);
            assert_eq!(wire::SessionRef(up.session.get()).worker(), 0);

            sends_downlink(&mut story);
            assert!(story.listener(device).heard.pop_front().is_some(), "{what}");
            let steps: Vec<_> = story.outcomes.iter().map(|(outcome, _)| outcome.step).collect();
            assert_eq!(steps.last(), Some(&(Step::Responded as u8)), "{what}: {steps:?}");

            let put = request(Type::Con, Code::PUT, 5, "/t", b"21");
            story.listener(device).says(&put);
            story.exchange();
            assert_eq!(story.uplinks.len(), 1, "{what}");
            let reply = story.listener(device).heard.pop_back();
            assert_eq!(seen(reply), Some((Type::Ack, Code::CHANGED, 5)), "{what}");
        }
    }
}

/// Without a Connection ID the other workers know the peer by name, and forget it with the session.
#[test]
fn a_peer_is_expected_as_long_as_it_has_a_session_and_no_longer() {
    let mut config = Config::default();
    config.handshake.connection_id = false;
    let mut story = Story::with_workers(2, 2, config);
    let device = story.listens(1, KEY, b"", 1);
    connects(&mut story, 1, 9);
    let handed_over = |story: &mut Story| story.worker_at(1).counters().fate(Fate::HandedOver);
    let during_handshake = handed_over(&mut story);
    assert!(during_handshake > 0);
    story.listener(device).says(&request(Type::Non, Code::PUT, 5, "/t", b"21"));
    story.exchange();
    assert_eq!(handed_over(&mut story), during_handshake + 1);
    let up = story.last_session();
    let reason = wire::EndReason::Replaced as u8;
    let end = wire::SessionEnd { device: up.device, session: up.session, reason };
    story.tells_at(0, Kind::SessionEnd, end.as_bytes(), &[]);
    story.listener(device).says(&request(Type::Non, Code::PUT, 6, "/t", b"22"));
    story.exchange();
    assert_eq!(handed_over(&mut story), during_handshake + 1);
    assert_eq!(story.worker_at(1).counters().fate(Fate::UnknownPeer), 1);
}

/// The control: noise from others costs the workers that don't connect no letter.
#[test]
fn nobody_else_is_expected() {
    let mut story = Story::with_workers(3, 2, Config::default());
    story.listens(1, KEY, b"", 1);
    story.listener(0).is_deaf = true;
    connects(&mut story, 1, 9);
    let server_hello = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for port in 1_000..1_100 {
        let stranger = Peer::new(([192, 0, 2, 1], port).into(), 0);
        story.arrives_at(1, stranger, &mut server_hello.to_vec());
    }
    assert!(story.worker_at(1).counters().fate(Fate::HandedOver) < 3);
}

#[test]
fn a_connected_session_survives_a_restart() {
    for edge_cid in [true, false] {
        let mut config = Config::default();
        config.handshake.connection_id = edge_cid;
        let mut story = Story::with_workers(4, 2, config);
        let device = story.listens(1, KEY, b"dev", 1);
        connects(&mut story, 1, 9);
        story.restarts();
        story.listener(device).says(&request(Type::Con, Code::PUT, 5, "/t", b"21"));
        story.exchange();
        assert_eq!(story.uplinks.len(), 1, "{edge_cid}");
    }
}

/// Lost datagrams are made good by the edge's timer, which is the client's.
#[test]
fn a_connection_survives_lost_datagrams() {
    for lost in 1..=3 {
        let mut story = Story::new(5);
        let device = story.listens(1, KEY, b"", 0);
        story.loses(lost);
        connects(&mut story, 1, 9);
        assert!(!story.listener(device).is_up(), "the first datagram was lost");
        story.waits_ms(30_000);
        assert!(story.listener(device).is_up(), "{lost}");
        assert_eq!(story.last_session().connected, 1);
    }
}

#[test]
fn a_device_that_does_not_answer_or_has_another_key_is_given_up() {
    for is_deaf in [true, false] {
        let mut story = Story::new(6);
        let device = story.listens(1, b"another key here", b"", 0);
        story.listener(device).is_deaf = is_deaf;
        connects(&mut story, 1, 9);
        story.waits_ms(HANDSHAKE_LIFETIME_MS);
        assert_eq!((story.sessions.len(), story.unconnected.len()), (0, 1));
        let failed = story.unconnected[0];
        assert_eq!((failed.device, failed.attempt.get()), (device_id(1), 9));
        assert_eq!(story.worker().slab().live(), 0, "the slot is free again");
        assert_eq!(story.worker().counters().of(Tally::ConnectFailed), 1);
        story.listener(device).is_deaf = true;
        connects(&mut story, 1, 10);
        assert_eq!(story.unconnected.len(), 1, "and the next attempt is under way");
    }
}

/// Both sides of the bound; and one attempt to a peer at a time.
#[test]
fn sessions_being_opened_have_a_bound() {
    let mut story = Story::new(7);
    let peer_ip = |number: u32| {
        let [_, a, b, c] = number.to_be_bytes();
        Peer::new(([10, a, b, c], 5_684).into(), 0).ip_bytes()
    };
    let tail = [&identity(1)[..], KEY].concat();
    for number in 1..=CONNECTS_MAX + 1 {
        let order = wire::Connect { peer_ip: peer_ip(number), ..order(1, number.into()) };
        story.tells_at(0, Kind::Connect, order.as_bytes(), &tail);
        assert_eq!(story.unconnected.len(), usize::from(number > CONNECTS_MAX), "{number}");
    }
    story.waits_ms(HANDSHAKE_LIFETIME_MS);
    assert_eq!(story.unconnected.len(), CONNECTS_MAX as usize + 1);
    let order = wire::Connect { peer_ip: peer_ip(1), ..order(1, 1_000) };
    story.tells_at(0, Kind::Connect, order.as_bytes(), &tail);
    story.tells_at(
        0,
        Kind::Connect,
        wire::Connect { attempt: 1_001.into(), ..order }.as_bytes(),
        &tail,
    );
    assert_eq!(story.unconnected.len(), CONNECTS_MAX as usize + 2);
    assert_eq!(story.unconnected.last().map(|failed| failed.attempt.get()), Some(1_001));
}

#[test]
fn an_order_that_makes_no_sense_is_refused() {
    let good = order(1, 1);
    let tail = [&identity(1)[..], KEY].concat();
    let misfits = [
        wire::Connect { identity_len: 0.into(), ..good },
        wire::Connect { identity_len: (tail.len() as u16).into(), ..good },
        wire::Connect { identity_len: u16::MAX.into(), ..good },
        wire::Connect { peer_port: 0.into(), ..good },
        wire::Connect { network: 0, ..good },
    ];
    for (number, misfit) in (1..).zip(misfits) {
        let mut story = Story::new(8);
        story.tells_at(0, Kind::Connect, misfit.as_bytes(), &tail);
        let refused = story.worker().counters().of(Tally::EntryRefused);
        assert_eq!((refused, story.worker().slab().used()), (1, 0), "{number}");
    }
    let mut story = Story::with_workers(9, 2, Config::default());
    story.tells_at(1, Kind::Connect, good.as_bytes(), &tail);
    assert_eq!(story.worker_at(1).counters().of(Tally::EntryRefused), 1, "not the one for it");
    for ip in ["0.0.0.0:1", "224.0.1.187:1"] {
        let nowhere = Peer::new(ip.parse().expect("an address"), 0);
        let order = wire::Connect { peer_ip: nowhere.ip_bytes(), ..good };
        let failed = story.unconnected.len();
        story.tells_at(0, Kind::Connect, order.as_bytes(), &tail);
        assert_eq!(story.unconnected.len(), failed + 1, "{ip}");
    }
}

/// The device calls in the meantime, from where it listens: what it opens is its session.
#[test]
fn a_device_that_calls_while_it_is_called_gets_in() {
    let mut story = Story::new(10);
    let listening = story.listens(1, KEY, b"", 0);
    story.listener(listening).is_deaf = true;
    connects(&mut story, 1, 9);
    let device = story.connected(1, Some(b""));
    story.waits_ms(HANDSHAKE_LIFETIME_MS);
    assert!(story.at(device).is_up());
    assert_eq!(story.unconnected.len(), 1);
    let ups = story.sessions.iter().filter(|notice| matches!(notice, SessionNotice::Up(_)));
    assert_eq!(ups.count(), 1);
}
