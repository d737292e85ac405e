//! Which loss does each rule of RFC 6347 section 4.2.4 repair?

#![allow(clippy::unwrap_used)]

mod story;

use story::{ClientEnd, ServerEnd, records};
use tidegate_dtls::established::Control;
use tidegate_dtls::record::{Record, protected_part};
use tidegate_dtls::server::Answer;
use tidegate_dtls::{Drop, Failure, Link, Timing, client, server};

const MS: u64 = 1_000;

/// Both ends with the cookie proven and flight 4 on its way.
fn at_flight_4() -> (ClientEnd, ServerEnd, Vec<u8>) {
    let mut server = ServerEnd::new(server::Config { own_cid_len: 6, ..Default::default() });
    let mut client = ClientEnd::new(client::Config::default(), 0, 9, Some(b"me"));
    for _ in 0..2 {
        let up = client.log.take().pop().unwrap();
        server.on_datagram(0, &up);
        if server.handshake.is_none() {
            let down = server.log.take().pop().unwrap();
            client.on_datagram(0, &down);
        }
    }
    let flight_4 = server.log.take().pop().unwrap();
    (client, server, flight_4)
}

/// The datagram's records, each as a datagram.
fn split(datagram: &[u8], cid_len: usize) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    let mut at = 0;
    while at < datagram.len() {
        let record = Record::parse(datagram, at, cid_len).unwrap();
        parts.push(datagram[at..record.end()].to_vec());
        at = record.end();
    }
    parts
}

fn sequence_of(datagram: &[u8]) -> u64 {
    datagram[5..11].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[test]
fn a_lost_flight_four_comes_again_by_the_servers_timer_with_new_record_numbers() {
    let (mut client, mut server, lost) = at_flight_4();
    assert_eq!(server.due_ms(), Some(MS));
    server.on_due(MS - 1);
    assert!(server.log.outbox.is_empty(), "not before its time");
    server.on_due(MS);
    let again = server.log.take().pop().unwrap();
    assert_eq!(again.len(), lost.len());
    assert_eq!(again[25..60], lost[25..60], "the same message");
    assert!(sequence_of(&again) > sequence_of(&lost));
    assert_eq!(server.due_ms(), Some(MS + 2 * MS), "doubled");
    client.on_datagram(MS, &again);
    story::exchange(&mut client, &mut server, MS);
    assert!(client.session.is_some() && server.session.is_some());
}

#[test]
fn a_repeated_hello_is_answered_by_flight_four_and_not_too_often() {
    let (mut client, mut server, _) = at_flight_4();
    client.on_due(MS);
    let repeated = client.log.take().pop().unwrap();
    server.on_datagram(MS - 1, &repeated);
    assert_eq!(server.log.take().len(), 1, "read retransmit: send flight again");
    assert_eq!(server.due_ms(), Some(2 * MS - 1), "and the timer anew");
    server.on_datagram(MS, &repeated);
    assert_eq!(server.log.take().len(), 0, "copies of one datagram are not answered each");
    assert_eq!(server.log.drops, [Drop::Repeated, Drop::Repeated]);
}

#[test]
fn whoever_repeats_a_hello_does_not_keep_a_handshake_alive() {
    let (mut client, mut server, _) = at_flight_4();
    client.on_due(MS);
    let repeated = client.log.take().pop().unwrap();
    let give_up_ms = Timing::default().total_ms();
    let mut now_ms = 0;
    let mut answers = 0;
    while now_ms < give_up_ms {
        now_ms += 500;
        server.on_datagram(now_ms, &repeated);
        server.on_due(now_ms);
        answers += server.log.take().len();
    }
    assert_eq!(server.log.failure, Some(Failure::Timeout));
    assert!(server.handshake.is_none() && answers <= give_up_ms as usize / 250);
}

#[test]
fn an_echo_of_the_cookieless_hello_is_dropped() {
    let mut server = ServerEnd::new(server::Config::default());
    let mut client = ClientEnd::new(client::Config::default(), 0, 9, None);
    let first = client.log.take().pop().unwrap();
    server.on_datagram(0, &first);
    let verify = server.log.take().pop().unwrap();
    client.on_datagram(0, &verify);
    let second = client.log.take().pop().unwrap();
    server.on_datagram(0, &second);
    server.log.take();
    server.on_datagram(MS, &first);
    assert!(server.log.take().is_empty());
    assert_eq!(server.log.drops, [Drop::Repeated]);
}

#[test]
fn a_lost_flight_five_comes_again_when_the_server_repeats_flight_four() {
    let (mut client, mut server, flight_4) = at_flight_4();
    client.on_datagram(0, &flight_4);
    let lost = client.log.take().pop().unwrap();
    server.on_due(MS);
    let again = server.log.take().pop().unwrap();
    client.on_datagram(MS, &again);
    let flight_5 = client.log.take().pop().unwrap();
    assert_eq!(records(&flight_5, 6), records(&lost, 6));
    let finished = |flight: &[u8]| sequence_of(&split(flight, 6)[2]);
    assert_eq!((finished(&lost), finished(&flight_5)), (0, 1), "the epoch stays, the number not");
    server.on_datagram(MS, &flight_5);
    assert!(server.session.is_some());
}

/// The server has long forgotten the handshake: the established association answers.
#[test]
fn a_lost_flight_six_comes_again_when_the_client_repeats_its_finished() {
    let (mut client, mut server, flight_4) = at_flight_4();
    client.on_datagram(0, &flight_4);
    let flight_5 = client.log.take().pop().unwrap();
    server.on_datagram(0, &flight_5);
    let lost = server.log.take().pop().unwrap();
    assert!(server.handshake.is_none());
    for round in 1..=3 {
        client.on_due(client.due_ms().unwrap());
        let repeated = client.log.take().pop().unwrap();
        server.on_datagram(round * MS, &repeated);
        let again = server.log.take().pop().unwrap();
        assert_eq!(records(&again, 2), [(20, 0), (25, 1)]);
        assert_eq!(sequence_of(&again), sequence_of(&lost) + round);
        assert_eq!(server.log.controls.pop(), Some(Control::FinishedAgain));
        if round == 3 {
            client.on_datagram(round * MS, &again);
        }
    }
    assert!(client.session.is_some());
    let up = story::application(client.session.as_mut().unwrap(), b"hello");
    server.on_datagram(4 * MS, &up);
    assert_eq!(server.log.application, [b"hello"]);
}

/// RFC 6347 section 4.2.4: application data shows that the client has our Finished, so whoever
/// repeats its own afterwards is a delayed copy.
#[test]
fn flight_six_is_not_repeated_after_application_data() {
    let (mut client, mut server, flight_4) = at_flight_4();
    client.on_datagram(0, &flight_4);
    server.on_datagram(0, &client.log.take().pop().unwrap());
    client.on_due(client.due_ms().unwrap());
    let late_copy = client.log.take().pop().unwrap();
    client.on_datagram(0, &server.log.take().pop().unwrap());
    let up = story::application(client.session.as_mut().unwrap(), b"hello");
    server.on_datagram(MS, &up);
    server.on_datagram(MS, &late_copy);
    assert_eq!(server.log.controls, [Control::FinishedAgain]);
    assert!(server.log.take().is_empty());
}

/// A delayed copy of the hello began a second handshake beside the session: the Finished that the
/// client repeats names the session, and the handshake lets it pass.
#[test]
fn a_phantom_handshake_does_not_swallow_the_repeated_finished() {
    let mut server = ServerEnd::new(server::Config { own_cid_len: 6, ..Default::default() });
    let mut client = ClientEnd::new(client::Config::default(), 0, 9, Some(b"me"));
    server.on_datagram(0, &client.log.take().pop().unwrap());
    client.on_datagram(0, &server.log.take().pop().unwrap());
    let hello = client.log.take().pop().unwrap();
    server.on_datagram(0, &hello);
    client.on_datagram(0, &server.log.take().pop().unwrap());
    server.on_datagram(0, &client.log.take().pop().unwrap());
    server.log.take(); // flight 6 is lost
    server.on_datagram(0, &hello);
    server.log.take();

    client.on_due(MS);
    let mut flight_5 = client.log.take().pop().unwrap();
    let before_finished = protected_part(&flight_5, 6).unwrap();
    let phantom = server.handshake.as_mut().unwrap();
    assert_eq!(phantom.on_datagram(MS, &mut flight_5), before_finished);
    server.on_datagram(MS, &flight_5);
    assert_eq!(server.log.controls, [Control::FinishedAgain]);
    client.on_datagram(MS, &server.log.take().pop().unwrap());
    assert!(client.session.is_some());
}

#[test]
fn a_finished_before_its_change_cipher_spec_is_held() {
    let (mut client, mut server, flight_4) = at_flight_4();
    client.on_datagram(0, &flight_4);
    let parts = split(&client.log.take().pop().unwrap(), 6);
    for part in [2, 0, 1] {
        assert!(server.session.is_none());
        server.on_datagram(0, &parts[part]);
    }
    assert!(server.session.is_some());
    assert_eq!(server.log.drops, []);
}

#[test]
fn a_lost_change_cipher_spec_costs_a_retransmission_and_nothing_more() {
    let (mut client, mut server, flight_4) = at_flight_4();
    client.on_datagram(0, &flight_4);
    let parts = split(&client.log.take().pop().unwrap(), 6);
    server.on_datagram(0, &parts[0]);
    server.on_datagram(0, &parts[2]);
    assert!(server.session.is_none() && server.log.failure.is_none());
    client.on_due(client.due_ms().unwrap());
    story::exchange(&mut client, &mut server, MS);
    assert!(client.session.is_some() && server.session.is_some());
}

#[test]
fn a_client_holds_a_finished_before_its_change_cipher_spec() {
    let (mut client, mut server, flight_4) = at_flight_4();
    client.on_datagram(0, &flight_4);
    server.on_datagram(0, &client.log.take().pop().unwrap());
    let parts = split(&server.log.take().pop().unwrap(), 2);
    let down = story::application(server.session.as_mut().unwrap(), b"early");
    client.on_datagram(0, &parts[1]);
    client.on_datagram(0, &down);
    assert!(client.session.is_none());
    client.on_datagram(0, &parts[0]);
    assert!(client.session.is_some());
    assert_eq!(client.log.application, [b"early"], "what followed the Finished was held too");
}

#[test]
fn application_data_behind_the_finished_belongs_to_the_session() {
    let (mut client, mut server, flight_4) = at_flight_4();
    client.on_datagram(0, &flight_4);
    server.on_datagram(0, &client.log.take().pop().unwrap());
    let mut datagram = server.log.take().pop().unwrap();
    datagram.extend(story::application(server.session.as_mut().unwrap(), b"one datagram"));
    client.on_datagram(0, &datagram);
    assert_eq!(client.log.application, [b"one datagram"]);
}

/// The credential is on its way: nothing is repeated meanwhile, and nothing is lost.
#[test]
fn a_parked_handshake_is_quiet_and_goes_on_with_its_credential() {
    let (mut client, mut server, flight_4) = at_flight_4();
    server.answers_credentials = false;
    client.on_datagram(0, &flight_4);
    let flight_5 = client.log.take().pop().unwrap();
    server.on_datagram(0, &flight_5);
    assert_eq!(story::identity(server.handshake.as_ref().unwrap()), story::IDENTITY);
    server.on_due(MS);
    client.on_due(MS);
    server.on_datagram(MS, &client.log.take().pop().unwrap());
    assert!(server.log.take().is_empty() && server.session.is_none());
    server.handshake.as_mut().unwrap().on_credential(MS, Answer::Psk(story::PSK));
    server.settle(MS);
    assert!(server.session.is_some());
    client.on_datagram(MS, &server.log.take().pop().unwrap());
    assert!(client.session.is_some());
}

#[test]
fn a_credential_nobody_waits_for_is_ignored() {
    let (mut client, mut server, flight_4) = at_flight_4();
    server.handshake.as_mut().unwrap().on_credential(0, Answer::Psk(b"too early"));
    client.on_datagram(0, &flight_4);
    server.answers_credentials = false;
    server.on_datagram(0, &client.log.take().pop().unwrap());
    let handshake = server.handshake.as_mut().unwrap();
    handshake.on_credential(0, Answer::Psk(story::PSK));
    handshake.on_credential(0, Answer::Psk(b"another one"));
    server.settle(0);
    assert!(server.session.is_some());
}

/// After three timeouts the datagrams are what any path carries (RFC 6347 section 4.1.1.1).
#[test]
fn repeated_loss_makes_datagrams_smaller() {
    let config =
        client::Config { link: Link { mtu: 1_400, ..Link::default() }, ..Default::default() };
    let mut client = ClientEnd::with_credential(config, 0, 9, None, &[b'i'; 900], story::PSK);
    let mut server = ServerEnd::new(server::Config::default());
    for _ in 0..2 {
        server.on_datagram(0, &client.log.take().pop().unwrap());
        client.on_datagram(0, &server.log.take().pop().unwrap());
    }
    let longest = |datagrams: Vec<Vec<u8>>| datagrams.iter().map(Vec::len).max().unwrap();
    assert!(longest(client.log.take()) > 900);
    for retransmission in 1..=4 {
        client.on_due(client.due_ms().unwrap());
        let longest = longest(client.log.take());
        assert_eq!(longest <= 508, retransmission >= 3, "{longest} bytes");
    }
}
