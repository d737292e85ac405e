//! How does a client resume a session, and when does it not? (RFC 5246 section 7.3, RFC 7627
//! section 5.3)

#![allow(clippy::unwrap_used)]

mod story;

use story::credential::{Kind, SERVER_NAME, server};
use story::{ClientEnd, PSK, ServerEnd, application, exchange, first_message, records};
use tidegate_crypto::secret::Secret;
use tidegate_dtls::client::{self, Credential, Session};
use tidegate_dtls::established::Control;
use tidegate_dtls::extension::Extensions;
use tidegate_dtls::hello::{ClientHello, ServerHello};
use tidegate_dtls::key_schedule::{MasterSecret, psk_premaster};
use tidegate_dtls::resumption::{Parameters, Resumable};
use tidegate_dtls::{Failure, Link, Suite};

const SUITE: Suite = Suite::PskAes128Ccm8;
const MS: u64 = 1_000;

fn config() -> client::Config {
    Kind::PreSharedKey.client(SUITE)
}

fn begin(config: client::Config, seed: u8, session: Option<&Session>) -> ClientEnd {
    ClientEnd::start(config, 0, seed, Some(b"me"), Kind::PreSharedKey.credential(), session)
}

/// A server that keeps a session, and what the client keeps of it.
fn kept(config: client::Config) -> (ServerEnd, ClientEnd) {
    let mut server = ServerEnd::new(server(6, Link::default()));
    server.keeps_sessions = true;
    let mut client = begin(config, 9, None);
    exchange(&mut client, &mut server, 0);
    assert!(client.session.is_some() && !client.is_resumed);
    (server, client)
}

/// The client up to the moment when the server's flight 2 is on its way.
fn at_flight_2(server: &mut ServerEnd, config: client::Config, session: &Session) -> ClientEnd {
    let mut client = begin(config, 10, Some(session));
    server.on_datagram(0, &client.log.take().pop().unwrap());
    client.on_datagram(0, &server.log.take().pop().unwrap());
    server.on_datagram(0, &client.log.take().pop().unwrap());
    client
}

/// The session id in a hello.
fn offered(datagram: &[u8]) -> Vec<u8> {
    ClientHello::parse(first_message(datagram).2).unwrap().head.session_id.to_vec()
}

#[test]
fn a_resumed_session_has_new_keys_and_new_connection_ids_and_may_be_resumed_again() {
    let (mut server, first) = kept(config());
    let session = first.kept.unwrap();
    let mut client = begin(config(), 10, Some(&session));
    exchange(&mut client, &mut server, 0);
    assert!(client.is_resumed && server.was_resumed);
    assert_eq!(client.kept.as_ref().unwrap().id, session.id);
    let (old, mut new) = (first.session.unwrap(), client.session.unwrap());
    assert_ne!(old.peer_cid(), new.peer_cid());
    assert!(new.has_return_routability() && new.has_extended_master_secret());
    let up = application(&mut new, b"resumed");
    server.on_datagram(0, &up);
    assert_eq!(server.log.application, [b"resumed"]);
    let mut again = begin(config(), 11, client.kept.as_ref());
    exchange(&mut again, &mut server, 0);
    assert!(again.is_resumed);
}

/// RFC 5246 section 7.3, figure 2: the client has the last word.
#[test]
fn the_last_flight_is_the_clients() {
    let (mut server, first) = kept(config());
    let mut client = at_flight_2(&mut server, config(), first.kept.as_ref().unwrap());
    let flight_2 = server.log.take().pop().unwrap();
    assert_eq!(records(&flight_2, 2), [(22, 0), (20, 0), (25, 1)]);
    client.on_datagram(0, &flight_2);
    let flight_3 = client.log.take().pop().unwrap();
    assert_eq!(records(&flight_3, 6), [(20, 0), (25, 1)]);
    assert!(client.session.is_some() && client.due_ms().is_none(), "no timer of its own");
    server.on_datagram(0, &flight_3);
    assert!(server.was_resumed && server.log.take().is_empty());
}

/// RFC 6347 section 4.2.4: who sends the last flight sends it again for whoever did not hear it.
#[test]
fn a_lost_last_flight_comes_again_when_the_server_repeats_its_own() {
    let (mut server, first) = kept(config());
    let mut client = at_flight_2(&mut server, config(), first.kept.as_ref().unwrap());
    client.on_datagram(0, &server.log.take().pop().unwrap());
    client.log.take(); // lost
    server.was_resumed = false;
    server.on_due(MS);
    let again = server.log.take().pop().unwrap();
    client.on_datagram(MS, &again);
    assert_eq!(client.log.controls, [Control::FinishedAgain]);
    server.on_datagram(MS, &client.log.take().pop().unwrap());
    assert!(server.was_resumed);

    // The control: application data of the server shows that it has heard.
    let down = application(server.session.as_mut().unwrap(), b"heard");
    client.on_datagram(MS, &down);
    let session = client.session.as_mut().unwrap();
    assert_eq!(session.last_flight_again(&mut [0; 256]), None);
}

#[test]
fn a_lost_flight_two_comes_again_by_either_timer() {
    for by_client in [false, true] {
        let (mut server, first) = kept(config());
        let mut client = at_flight_2(&mut server, config(), first.kept.as_ref().unwrap());
        server.log.take(); // lost
        if by_client {
            client.on_due(MS);
            server.on_datagram(MS, &client.log.take().pop().unwrap());
        } else {
            server.on_due(MS);
        }
        exchange(&mut client, &mut server, MS);
        assert!(client.is_resumed && client.session.is_some(), "{by_client}");
    }
}

/// RFC 5246 section 7.4.1.3: another id in the ServerHello means a full handshake, from the same
/// hello.
#[test]
fn a_server_that_forgot_gets_a_full_handshake() {
    let (mut server, first) = kept(config());
    let session = first.kept.unwrap();
    server.sessions.clear();
    let mut client = begin(config(), 10, Some(&session));
    assert_eq!(offered(&client.log.outbox[0]), session.id);
    exchange(&mut client, &mut server, 0);
    assert!(client.session.is_some() && !client.is_resumed && !server.was_resumed);
    assert_ne!(client.kept.unwrap().id, session.id);
}

/// RFC 7627 section 5.3, RFC 6066 sections 3 and 4: what the session does not fit is not offered.
#[test]
fn a_session_is_offered_only_where_it_belongs() {
    let (_, first) = kept(config());
    let session = first.kept.unwrap();
    let hello = |config| offered(&begin(config, 10, Some(&session)).log.outbox[0]);
    assert_eq!(hello(config()), session.id, "the control");
    let other_name = Some(format!("not.{SERVER_NAME}"));
    for config in [
        client::Config { extended_master_secret: false, ..config() },
        client::Config { max_fragment_length: Some(1), ..config() },
        client::Config { server_name: other_name, ..config() },
        client::Config { suites: vec![Suite::PskAes128Ccm], ..config() },
    ] {
        assert_eq!(hello(config), []);
    }
}

/// RFC 7627 section 5.3: without the extension there is nothing to keep.
#[test]
fn a_session_without_extended_master_secret_is_not_kept() {
    let (server, client) = kept(client::Config { extended_master_secret: false, ..config() });
    assert!(client.kept.is_none() && server.sessions.is_empty());
}

#[test]
fn max_fragment_length_lasts_with_the_session() {
    let short = || client::Config { max_fragment_length: Some(1), ..config() };
    let (mut server, first) = kept(short());
    let mut client = begin(short(), 10, first.kept.as_ref());
    exchange(&mut client, &mut server, 0);
    assert!(client.is_resumed);
    for session in [client.session.unwrap(), server.session.unwrap()] {
        assert_eq!(session.content_bytes_max(), 512);
    }
}

/// What a server answers to the hello that offers `session`, in one message.
fn answered(session: &Session, suite: Suite, extended_master_secret: bool) -> Option<Failure> {
    let config = client::Config { suites: vec![SUITE, Suite::PskAes128Ccm], ..config() };
    let mut client = begin(config, 10, Some(session));
    let extensions = Extensions { extended_master_secret, ..Extensions::NONE };
    let mut body = Vec::new();
    ServerHello::new(&[1; 32], &session.id, suite, extensions).write(&mut body);
    client.on_datagram(0, &story::message_datagram(2, 0, 0, &body));
    client.log.failure
}

/// RFC 5246 section 7.4.1.3 and RFC 7627 section 5.3: a session comes back as it was.
#[test]
fn a_resumed_hello_has_the_suite_and_the_extension_of_the_session() {
    let (_, first) = kept(config());
    let session = first.kept.unwrap();
    assert_eq!(answered(&session, SUITE, true), None);
    assert_eq!(answered(&session, Suite::PskAes128Ccm, true), Some(Failure::Illegal));
    let without = Some(Failure::ResumedWithoutExtendedMasterSecret);
    assert_eq!(answered(&session, SUITE, false), without);
}

/// Whoever has the id and not the secret gets no session: neither end hears a Finished.
#[test]
fn a_session_id_without_its_secret_is_worth_nothing() {
    let (mut server, first) = kept(config());
    let stolen = first.kept.unwrap().id.clone();
    let parameters = Parameters {
        suite: SUITE,
        extended_master_secret: true,
        max_fragment_length: None,
        server_name: Some(SERVER_NAME.as_bytes()),
    };
    let guessed = MasterSecret::derive(SUITE.hash(), &psk_premaster(b"guess"), &[1; 32], &[2; 32]);
    let session = Session { id: stolen, resumable: Resumable::new(&guessed, &parameters) };
    server.session = None;
    let mut client = begin(config(), 10, Some(&session));
    exchange(&mut client, &mut server, 0);
    assert!(client.session.is_none() && server.session.is_none());
    while let Some(due_ms) = client.due_ms() {
        client.on_due(due_ms);
    }
    assert_eq!(client.log.failure, Some(Failure::WrongKey));
}

/// The credential is not asked for when a session is resumed, and is when it is not.
#[test]
fn resumption_needs_no_credential_and_the_fallback_does() {
    let (mut server, first) = kept(config());
    let session = first.kept.unwrap();
    let wrong = || Credential::Psk { identity: b"nobody".to_vec(), psk: Secret::new(PSK) };
    let start = || ClientEnd::start(config(), 0, 10, Some(b"me"), wrong(), Some(&session));
    let mut client = start();
    exchange(&mut client, &mut server, 0);
    assert!(client.is_resumed);
    server.sessions.clear();
    let mut client = start();
    exchange(&mut client, &mut server, 0);
    assert!(client.session.is_none());
}
