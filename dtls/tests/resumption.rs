//! When does a server resume a session, and what is new in it? One rule of the RFCs a test, with a
//! client whose every message is written here.

#![allow(clippy::unwrap_used)]

mod story;

use story::peer::Peer;
use story::{IDENTITY, PSK, ServerEnd, application, records};
use tidegate_dtls::alert::{Alert, Description};
use tidegate_dtls::extension::Extensions;
use tidegate_dtls::handshake::MessageType;
use tidegate_dtls::hello::{ClientHello, ClientHelloHead};
use tidegate_dtls::key_exchange::ClientKeyExchange;
use tidegate_dtls::key_schedule::{MasterSecret, psk_premaster};
use tidegate_dtls::{Drop, Failure, Suite, server};

const HELLO: ClientHello<'_> = ClientHello {
    head: ClientHelloHead { version: 0xfefd, random: &[7; 32], session_id: b"", cookie: b"" },
    cipher_suites: &[0xc0, 0xa8, 0x00, 0xa8],
    compression: &[0],
    extensions: Extensions {
        extended_master_secret: true,
        connection_id: Some(b"wish"),
        ..Extensions::NONE
    },
};

fn config() -> server::Config {
    server::Config { own_cid_len: 6, ..Default::default() }
}

/// The session that a full handshake with `hello` leaves, and the server that keeps it.
fn full(hello: &ClientHello<'_>) -> (ServerEnd, MasterSecret, Vec<u8>) {
    let (peer, master, session_id) = full_with(config(), hello);
    (peer.server, master, session_id)
}

fn full_with(config: server::Config, hello: &ClientHello<'_>) -> (Peer, MasterSecret, Vec<u8>) {
    let mut server = ServerEnd::new(config);
    server.keeps_sessions = true;
    let mut peer = Peer::says(server, hello);
    let session_id = peer.server_hello().session_id.to_vec();
    assert_eq!(peer.types(), [2, 14]);
    let mut body = Vec::new();
    ClientKeyExchange::Psk { identity: IDENTITY }.write(&mut body);
    peer.sends(MessageType::CLIENT_KEY_EXCHANGE, &body);
    let master = peer.master(&psk_premaster(PSK));
    assert!(peer.finishes(&master));
    assert!(peer.server.session.is_some() && !peer.server.was_resumed);
    (peer, master, session_id)
}

/// The same client, later, with another random.
fn later<'a>(hello: &ClientHello<'a>, session_id: &'a [u8]) -> ClientHello<'a> {
    ClientHello { head: ClientHelloHead { random: &[8; 32], session_id, ..hello.head }, ..*hello }
}

/// A server that was asked to resume began a full handshake under a new name.
#[track_caller]
fn is_full(peer: &Peer, session_id: &[u8]) {
    assert_eq!(peer.types(), [2, 14], "ServerHello, ServerHelloDone");
    assert_ne!(peer.server_hello().session_id, session_id);
    let handshake = peer.server.handshake.as_ref().unwrap();
    assert!(!handshake.is_resumed() && handshake.resumable().is_none());
}

/// RFC 5246 section 7.3, figure 2; RFC 9146 section 3: the Connection IDs are new.
#[test]
fn an_abbreviated_handshake_has_the_flights_of_figure_two() {
    let (server, master, session_id) = full(&HELLO);
    let old_cid = server.session_cid.clone();
    let mut peer = Peer::says(server, &later(&HELLO, &session_id));
    let flight_2 = peer.datagrams.last().unwrap();
    assert_eq!(records(flight_2, 4), [(22, 0), (20, 0), (25, 1)], "one datagram");
    assert_eq!(peer.types(), [2], "a ServerHello alone in the clear");
    let hello = peer.server_hello();
    assert_eq!((hello.session_id, hello.cipher_suite), (&session_id[..], 0xc0a8));
    assert!(hello.extensions.extended_master_secret);
    assert_ne!(hello.extensions.connection_id, Some(&old_cid[..]));
    assert!(peer.server.handshake.as_ref().unwrap().is_resumed());
    assert!(peer.finishes(&master), "the server's Finished came first");
    assert!(peer.server.was_resumed && peer.server.log.outbox.is_empty(), "no flight 4");

    let datagram = application(peer.keys.as_mut().unwrap(), b"resumed");
    peer.server.on_datagram(0, &datagram);
    assert_eq!(peer.server.log.application, [b"resumed"]);
    assert_eq!(peer.server.sessions.len(), 1, "it is kept already");
}

/// RFC 5246 section F.1.4: the keys of a resumed session are new, so the old records mean nothing.
#[test]
fn a_resumed_session_does_not_open_records_of_the_one_before() {
    let extensions = Extensions { connection_id: None, ..HELLO.extensions };
    let hello = ClientHello { extensions, ..HELLO };
    let (mut first, master, session_id) = full_with(server::Config::default(), &hello);
    let old_keys = first.keys.as_mut().unwrap();
    let mut old = [application(old_keys, b"first"), application(old_keys, b"second")];
    first.server.on_datagram(0, &old[0]);
    assert_eq!(first.server.log.application, [b"first"], "the control");
    let mut peer = Peer::says(first.server, &later(&hello, &session_id));
    assert!(peer.finishes(&master));
    peer.server.on_datagram(0, &old[1]);
    assert_eq!(peer.server.log.drops.pop(), Some(Drop::BadTag));
    old[1] = application(peer.keys.as_mut().unwrap(), b"second");
    peer.server.on_datagram(0, &old[1]);
    assert_eq!(peer.server.log.application.len(), 2);
}

/// RFC 5246 section 7.4.1.2: an id that is not known is no error.
#[test]
fn an_unknown_session_id_begins_a_full_handshake_from_the_same_hello() {
    let (server, _, session_id) = full(&HELLO);
    let peer = Peer::says(server, &later(&HELLO, &[0x55; 32]));
    is_full(&peer, &[0x55; 32]);
    assert_eq!(peer.server_hello().session_id.len(), 32);
    assert_ne!(peer.server_hello().session_id, session_id);
}

/// RFC 7627 section 5.3: who showed the extension before and drops it now is refused.
#[test]
fn a_session_with_extended_master_secret_is_not_resumed_without() {
    let (server, _, session_id) = full(&HELLO);
    let extensions = Extensions { extended_master_secret: false, ..HELLO.extensions };
    let peer = Peer::says(server, &ClientHello { extensions, ..later(&HELLO, &session_id) });
    let failure = Failure::ResumedWithoutExtendedMasterSecret;
    assert_eq!(peer.server.log.failure, Some(failure));
    assert_eq!(peer.alerts, [Alert::fatal(Description::HANDSHAKE_FAILURE)]);
}

/// RFC 7627 section 5.3: a session without the extension is never resumed, so it gets no name.
#[test]
fn a_session_without_extended_master_secret_has_no_id() {
    let extensions = Extensions { extended_master_secret: false, ..HELLO.extensions };
    let (server, _, session_id) = full(&ClientHello { extensions, ..HELLO });
    assert!(session_id.is_empty() && server.sessions.is_empty());
}

/// The control: with the extension, but an owner that keeps no sessions.
#[test]
fn an_owner_that_keeps_no_sessions_names_none() {
    let peer = Peer::says(ServerEnd::new(config()), &HELLO);
    assert!(peer.server_hello().session_id.is_empty());
}

/// RFC 6066 section 3: a session belongs to the name it was made for.
#[test]
fn another_server_name_begins_a_full_handshake() {
    let named = |server_name| {
        let extensions = Extensions { server_name, ..HELLO.extensions };
        ClientHello { extensions, ..HELLO }
    };
    let (server, master, session_id) = full(&named(Some(b"a.example")));
    let peer = Peer::says(server, &later(&named(Some(b"b.example")), &session_id));
    is_full(&peer, &session_id);
    let mut server = peer.server;
    server.handshake = None;
    let peer = Peer::says(server, &later(&named(None), &session_id));
    is_full(&peer, &session_id);
    let mut server = peer.server;
    server.handshake = None;
    let mut peer = Peer::says(server, &later(&named(Some(b"A.EXAMPLE")), &session_id));
    assert!(peer.finishes(&master) && peer.server.was_resumed, "the control");
    assert_eq!(peer.server_hello().extensions.server_name, None, "RFC 6066 section 3");
}

/// RFC 6066 section 4: what limits records lasts as long as the session.
#[test]
fn another_max_fragment_length_begins_a_full_handshake() {
    let limited = |max_fragment_length| {
        let extensions = Extensions { max_fragment_length, ..HELLO.extensions };
        ClientHello { extensions, ..HELLO }
    };
    let (server, master, session_id) = full(&limited(Some(1)));
    let mut server = {
        let peer = Peer::says(server, &later(&limited(None), &session_id));
        is_full(&peer, &session_id);
        peer.server
    };
    server.handshake = None;
    let mut peer = Peer::says(server, &later(&limited(Some(1)), &session_id));
    assert_eq!(peer.server_hello().extensions.max_fragment_length, Some(1));
    assert!(peer.finishes(&master) && peer.server.was_resumed, "the control");
    assert_eq!(peer.server.session.unwrap().content_bytes_max(), 512);
}

/// RFC 5246 section 7.4.1.2: the suite of the session has to be among those offered; the one the
/// server would prefer now is not asked.
#[test]
fn the_suite_of_the_session_has_to_be_offered() {
    let (server, master, session_id) = full(&HELLO);
    let gcm_alone = ClientHello { cipher_suites: &[0x00, 0xa8], ..HELLO };
    let peer = Peer::says(server, &later(&gcm_alone, &session_id));
    is_full(&peer, &session_id);
    let mut server = peer.server;
    server.handshake = None;
    server.config = std::sync::Arc::new(server::Config {
        suites: vec![Suite::PskAes128Gcm, Suite::PskAes128Ccm8],
        ..config()
    });
    let mut peer = Peer::says(server, &later(&HELLO, &session_id));
    assert_eq!(peer.server_hello().cipher_suite, 0xc0a8);
    assert!(peer.finishes(&master) && peer.server.was_resumed, "the control");
}

/// RFC 9146 section 3: negotiated afresh, in all four combinations.
#[test]
fn connection_ids_are_negotiated_anew() {
    let with = |connection_id| {
        let extensions = Extensions { connection_id, ..HELLO.extensions };
        ClientHello { extensions, ..HELLO }
    };
    for before in [None, Some(&b"wish"[..])] {
        for after in [None, Some(&b""[..]), Some(b"another wish")] {
            let (server, master, session_id) = full(&with(before));
            let mut peer = Peer::says(server, &later(&with(after), &session_id));
            assert!(peer.finishes(&master));
            let session = peer.server.session.unwrap();
            assert_eq!(session.own_cid_len(), after.map_or(0, |_| 6), "{before:?} {after:?}");
            assert_eq!(session.peer_cid(), after.unwrap_or_default());
        }
    }
}

/// RFC 6347 section 4.2.4: in an abbreviated handshake the server waits, so it has the timer.
#[test]
fn flight_two_is_repeated_by_timer_and_when_the_client_repeats_itself() {
    let (server, master, session_id) = full(&HELLO);
    let mut peer = Peer::says(server, &later(&HELLO, &session_id));
    let first = peer.datagrams.last().unwrap().clone();
    let due_ms = peer.server.due_ms().unwrap();
    assert_eq!(due_ms, 1_000);
    peer.server.on_due(due_ms);
    let again = peer.server.log.take().pop().unwrap();
    assert_eq!(records(&again, 4), records(&first, 4));
    assert_ne!(again, first, "new record numbers");
    assert_eq!(peer.server.due_ms(), Some(3_000), "twice as long");
    peer.repeats(2_000);
    assert_eq!(records(peer.datagrams.last().unwrap(), 4), records(&first, 4));
    // The Finished of either transmission is the same message.
    assert!(peer.finishes(&master) && peer.server.was_resumed);
    assert_eq!(peer.server.due_ms(), None);
}

/// The control: without the client's Finished nothing is established, whatever else it sends.
#[test]
fn application_data_before_the_last_finished_establishes_nothing() {
    let (mut server, master, session_id) = full(&HELLO);
    server.session = None;
    let mut peer = Peer::says(server, &later(&HELLO, &session_id));
    peer.installs(&master);
    let early = application(peer.keys.as_mut().unwrap(), b"early");
    peer.server.on_datagram(0, &early);
    assert!(peer.server.session.is_none() && peer.server.log.application.is_empty());
    for _ in 0..20 {
        if let Some(due_ms) = peer.server.due_ms() {
            peer.server.on_due(due_ms);
        }
    }
    assert_eq!(peer.server.log.failure, Some(Failure::Timeout));
}

/// A Finished under other keys is noise; one that authenticates and is wrong ends the handshake.
#[test]
fn the_last_finished_is_verified() {
    let (server, master, session_id) = full(&HELLO);
    let mut peer = Peer::says(server, &later(&HELLO, &session_id));
    peer.installs(&master);
    peer.sends_finished(&[0; 12]);
    assert_eq!(peer.server.log.failure, Some(Failure::Finished));
    let (server, _, session_id) = full(&HELLO);
    let mut peer = Peer::says(server, &later(&HELLO, &session_id));
    let stranger = MasterSecret::derive(
        Suite::PskAes128Ccm8.hash(),
        &psk_premaster(b"another key"),
        &[1; 32],
        &[2; 32],
    );
    assert!(!peer.finishes(&stranger));
    assert_eq!(peer.server.log.failure, None);
    assert!(peer.server.handshake.is_some(), "still waiting");
}

/// The cookie is asked for all the same: what a session costs to resume is more than a hello.
#[test]
fn a_session_id_does_not_open_the_door() {
    let (mut server, _, session_id) = full(&HELLO);
    server.log.take();
    let hello = later(&HELLO, &session_id);
    server.on_datagram(0, &story::hello_datagram(&hello, 0, 0));
    let verify = server.log.take().pop().unwrap();
    assert_eq!(story::first_message(&verify).0, 3, "HelloVerifyRequest");
    assert!(server.handshake.is_none());
}
