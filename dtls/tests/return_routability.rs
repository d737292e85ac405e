//! Who may ask whether a peer receives at its new address, and what is answered? (RFC 9853)

#![allow(clippy::unwrap_used)]

mod story;

use story::{ClientEnd, OUT_BYTES, ServerEnd, application, shake_hands};
use tidegate_dtls::established::Control;
use tidegate_dtls::record::{ContentType, Record};
use tidegate_dtls::return_routability::{Cookie, Outcome, PathMessage, TIMEOUT_MS, Validation};
use tidegate_dtls::{Drop, client, server};

const COOKIE: Cookie = Cookie([7; 8]);
/// Addresses, as this test names them.
const OLD: u8 = 1;
const NEW: u8 = 2;

fn ends(offers: bool, takes: bool, own_cid: Option<&[u8]>) -> (ClientEnd, ServerEnd) {
    let server = server::Config { own_cid_len: 6, return_routability: takes, ..Default::default() };
    let client = client::Config { return_routability: offers, ..Default::default() };
    shake_hands(server, client, own_cid)
}

/// What a server sends, as the client hears it; and what it answers.
fn asks(client: &mut ClientEnd, server: &mut ServerEnd, message: PathMessage) -> Vec<Vec<u8>> {
    let mut out = vec![0; OUT_BYTES];
    let len = server.session.as_mut().unwrap().path_message(message, &mut out).unwrap();
    client.on_datagram(0, &out[..len]);
    client.log.take()
}

/// Section 3: both hellos, and never without a Connection ID.
#[test]
fn it_takes_both_hellos_and_a_connection_id() {
    for own_cid in [None, Some(&b""[..]), Some(b"me")] {
        for (offers, takes) in [(false, false), (false, true), (true, false), (true, true)] {
            let (client, server) = ends(offers, takes, own_cid);
            let (client, server) = (client.session.unwrap(), server.session.unwrap());
            let expected = offers && takes && own_cid.is_some();
            assert_eq!(client.has_return_routability(), expected, "{offers} {takes} {own_cid:?}");
            assert_eq!(server.has_return_routability(), expected, "{offers} {takes} {own_cid:?}");
        }
    }
}

/// The control: without the extension nobody asks, and who is asked all the same hears nothing.
#[test]
fn nobody_checks_the_path_unless_that_was_negotiated() {
    for own_cid in [None, Some(&b"me"[..])] {
        let (client, server) = ends(false, true, own_cid);
        let (mut client, mut server) = (client.session.unwrap(), server.session.unwrap());
        let challenge = PathMessage::Challenge(COOKIE);
        let mut out = vec![0; OUT_BYTES];
        assert_eq!(server.path_message(challenge, &mut out), None);
        let kind = ContentType::RETURN_ROUTABILITY_CHECK;
        let len = server.seal(kind, &challenge.bytes(), &mut out).unwrap();
        let record = Record::parse(&out[..len], 0, client.own_cid_len()).unwrap();
        assert_eq!(client.open(&record, &mut out[..len]), Err(Drop::ContentType));
    }
}

/// Section 5.1, the whole exchange: the client says the cookie back, once for each challenge.
#[test]
fn a_challenge_is_answered_once_and_the_answer_validates_the_address() {
    let (mut client, mut server) = ends(true, true, Some(b"me"));
    let up = application(client.session.as_mut().unwrap(), b"from elsewhere");
    server.on_datagram(0, &up);
    let mut check = Validation::new(NEW, COOKIE, 0, TIMEOUT_MS, up.len());

    let answers = asks(&mut client, &mut server, check.challenge());
    assert_eq!(answers.len(), 1);
    assert!(check.take_budget(answers[0].len()), "a challenge is within the budget");
    server.on_datagram(0, &answers[0]);
    let Some(Control::Path(answer)) = server.log.controls.pop() else { panic!("an answer") };
    assert_eq!(check.on_message(10, OLD, answer), Outcome::Invalid);
    assert_eq!(check.on_message(10, NEW, answer), Outcome::Validated);
}

/// Section 4: what is unknown, or nobody asked for, is ignored; and the session goes on.
#[test]
fn other_messages_are_heard_and_not_answered() {
    let (mut client, mut server) = ends(true, true, Some(b"me"));
    for message in [PathMessage::Response(COOKIE), PathMessage::Drop(COOKIE)] {
        assert!(asks(&mut client, &mut server, message).is_empty());
        assert_eq!(client.log.controls.pop(), Some(Control::Path(message)));
    }
    let mut out = vec![0; OUT_BYTES];
    let kind = ContentType::RETURN_ROUTABILITY_CHECK;
    let len = server.session.as_mut().unwrap().seal(kind, &[9, 1], &mut out).unwrap();
    client.on_datagram(0, &out[..len]);
    assert_eq!(client.log.drops, [Drop::Unexpected]);
    assert!(client.log.take().is_empty());
    let down = application(server.session.as_mut().unwrap(), b"still here");
    client.on_datagram(0, &down);
    assert_eq!(client.log.application, [b"still here"]);
}

/// RFC 9146 section 3: in a session with Connection IDs the check is hidden like everything else.
#[test]
fn a_check_travels_behind_the_connection_id() {
    let (_, mut server) = ends(true, true, Some(b"me"));
    let mut out = vec![0; OUT_BYTES];
    let challenge = PathMessage::Challenge(COOKIE);
    server.session.as_mut().unwrap().path_message(challenge, &mut out).unwrap();
    assert_eq!(out[0], ContentType::TLS12_CID.0);
    let (_, mut server) = ends(true, true, Some(b""));
    server.session.as_mut().unwrap().path_message(challenge, &mut out).unwrap();
    assert_eq!(out[0], ContentType::RETURN_ROUTABILITY_CHECK.0);
}
