//! Does an established association open what it may, once, and drop the rest for its reason?
//! (RFC 6347 section 4.1, RFC 9146 sections 3 to 6)

#![allow(clippy::unwrap_used)]

mod story;

use story::{OUT_BYTES, application, shake_hands};
use tidegate_crypto::aead;
use tidegate_dtls::alert::{Alert, Description};
use tidegate_dtls::established::{
    Control, FAILED_OPENS_MAX, NUMBERS_FOR_ALERTS, Opened, SealError, on_control,
};
use tidegate_dtls::record::{ContentType, Record, SEQUENCE_MAX};
use tidegate_dtls::return_routability::{Cookie, PathMessage};
use tidegate_dtls::suite::KeyExchange;
use tidegate_dtls::{Drop, Established, Suite, client, server};
use zerocopy::IntoBytes;

/// A client and a server of one association; both announce a Connection ID, or neither.
fn pair(suite: Suite, cids: bool) -> (Established, Established) {
    let server = server::Config { own_cid_len: if cids { 6 } else { 0 }, ..Default::default() };
    let client = client::Config { suites: vec![suite], ..Default::default() };
    let (client, server) = shake_hands(server, client, cids.then_some(b"me"));
    (client.session.unwrap(), server.session.unwrap())
}

fn open(session: &mut Established, datagram: &[u8]) -> Result<Opened, Drop> {
    let record = Record::parse(datagram, 0, session.own_cid_len())?;
    session.open(&record, &mut datagram.to_vec())
}

/// Where `write_sequence` stands in the plain data.
const WRITE_SEQUENCE_AT: usize = 0;

fn with_write_sequence(mut session: Established, sequence: u64) -> Established {
    let place = &mut session.as_mut_bytes()[WRITE_SEQUENCE_AT..][..8];
    place.copy_from_slice(&sequence.to_ne_bytes());
    assert_eq!(session.write_sequence(), sequence);
    session
}

/// RFC 6347 section 4.1.2.6.
#[test]
fn a_record_is_opened_once() {
    for suite in Suite::of(KeyExchange::Psk) {
        for cids in [false, true] {
            let (mut client, mut server) = pair(suite, cids);
            let record = application(&mut client, b"21.5");
            let opened = open(&mut server, &record).unwrap();
            assert_eq!(opened.content_type, ContentType::APPLICATION_DATA);
            assert_eq!(open(&mut server, &record), Err(Drop::Replayed));
        }
    }
}

#[test]
fn the_window_reaches_sixty_three_records_back() {
    let (mut client, mut server) = pair(Suite::PskAes128Ccm8, true);
    let records: Vec<_> = (0..66).map(|_| application(&mut client, b"x")).collect();
    open(&mut server, &records[65]).unwrap();
    assert_eq!(open(&mut server, &records[1]), Err(Drop::TooOld));
    assert!(open(&mut server, &records[2]).is_ok());
}

/// RFC 9146 section 6: a delayed record is delivered, and does not move the peer's address.
#[test]
fn only_a_newer_record_is_newest() {
    let (mut client, mut server) = pair(Suite::PskAes128Ccm8, true);
    let [first, second, third] = [(); 3].map(|()| application(&mut client, b"x"));
    assert!(open(&mut server, &second).unwrap().is_newest);
    assert!(!open(&mut server, &first).unwrap().is_newest);
    assert!(open(&mut server, &third).unwrap().is_newest);
}

/// Two copies in one batch are both planned before either is finished.
#[test]
fn copies_in_one_batch_are_delivered_once() {
    let (mut client, mut server) = pair(Suite::PskAes128Gcm, true);
    let datagram = application(&mut client, b"once");
    let record = Record::parse(&datagram, 0, 6).unwrap();
    let (mut one, mut two) = (datagram.clone(), datagram.clone());
    let plans = [server.plan_open(&record), server.plan_open(&record)];
    let [first, second] = plans.map(Result::unwrap);
    let mut jobs = [server.open_job(&first, &mut one), server.open_job(&second, &mut two)];
    aead::open(&mut jobs);
    let [first_done, second_done] = jobs.map(|job| job.done);
    assert!(first_done && second_done);
    let opened = server.finish_open(&first, first_done, &one).unwrap();
    assert_eq!(&one[opened.content], b"once");
    assert_eq!(server.finish_open(&second, second_done, &two), Err(Drop::Replayed));
}

/// Six sentences, number two: the number is taken before anything is sealed.
#[test]
fn a_planned_number_is_gone_even_if_nothing_is_sealed() {
    let (mut client, mut server) = pair(Suite::PskAes128Ccm8, true);
    let before = client.write_sequence();
    let mut out = [0; OUT_BYTES];
    let plan = client.plan_seal(ContentType::APPLICATION_DATA, 5, &mut out).unwrap();
    assert_eq!(client.write_sequence(), before + 1);
    let header_len = client.header_len();
    out[header_len..header_len + 5].copy_from_slice(b"hello");
    aead::seal(&mut [client.seal_job(&plan, &mut out)]);
    let next = application(&mut client, b"next");
    assert_eq!(&next[5..11], &(before + 1).to_be_bytes()[2..]);
    assert!(open(&mut server, &out[..plan.datagram_len()]).is_ok());
    assert!(open(&mut server, &next).is_ok());
}

/// RFC 6347 section 4.1: no number twice, so an association ends before its numbers do.
#[test]
fn the_last_numbers_are_for_alerts_and_then_there_is_none() {
    let (client, _) = pair(Suite::PskAes128Ccm8, true);
    let mut out = [0; OUT_BYTES];
    let last = SEQUENCE_MAX - NUMBERS_FOR_ALERTS;
    let mut session = with_write_sequence(client, last);
    let kind = ContentType::APPLICATION_DATA;
    assert!(session.seal(kind, b"last", &mut out).is_ok());
    assert_eq!(session.seal(kind, b"none", &mut out), Err(SealError::SequenceExhausted));
    assert!(session.close_notify(&mut out).is_ok(), "a number is left to say so");

    let mut session = with_write_sequence(client, SEQUENCE_MAX);
    assert!(session.no_renegotiation(&mut out).is_ok());
    assert_eq!(session.no_renegotiation(&mut out), Err(SealError::SequenceExhausted));
    for beyond in [SEQUENCE_MAX + 1, u64::MAX] {
        let mut session = with_write_sequence(client, beyond);
        assert_eq!(session.close_notify(&mut out), Err(SealError::SequenceExhausted));
    }
}

#[test]
fn too_many_records_that_do_not_authenticate_end_the_association() {
    let (mut client, mut server) = pair(Suite::PskAes128Ccm8, true);
    let good = application(&mut client, b"good");
    let mut bad = application(&mut client, b"bad");
    *bad.last_mut().unwrap() ^= 1;
    for _ in 1..FAILED_OPENS_MAX {
        assert_eq!(open(&mut server, &bad), Err(Drop::BadTag));
    }
    let mut not_yet = server;
    assert!(!not_yet.is_closed() && open(&mut not_yet, &good).is_ok());
    assert_eq!(open(&mut server, &bad), Err(Drop::BadTag));
    assert!(server.is_closed());
    assert_eq!(open(&mut server, &good), Err(Drop::Closed));
    assert_eq!(server.close_notify(&mut [0; OUT_BYTES]), Err(SealError::Closed));
}

#[test]
fn each_thing_a_record_can_get_wrong_has_its_reason() {
    for cids in [false, true] {
        let (mut client, mut server) = pair(Suite::PskAes128Ccm8, cids);
        let good = application(&mut client, b"");
        let mut dropped = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut datagram = good.clone();
            change(&mut datagram);
            open(&mut server, &datagram).unwrap_err()
        };
        let length_at = good.len() - (8 + usize::from(cids) + 8) - 1;
        assert_eq!(dropped(&|d| d.truncate(12)), Drop::Truncated);
        assert_eq!(dropped(&|d| d[length_at] += 1), Drop::Truncated);
        assert_eq!(dropped(&|d| d[2] = 0xff), Drop::Version);
        assert_eq!(dropped(&|d| d[4] = 0), Drop::Epoch);
        assert_eq!(dropped(&|d| d[4] = 2), Drop::Epoch);
        assert_eq!(dropped(&|d| d[length_at] -= 1), Drop::Truncated, "no room for the tag");
        assert_eq!(dropped(&|d| d[10] ^= 2), Drop::BadTag, "another number");
        assert_eq!(dropped(&|d| *d.last_mut().unwrap() ^= 1), Drop::BadTag);
        if cids {
            assert_eq!(dropped(&|d| d[11] ^= 1), Drop::BadTag, "the CID is authenticated");
        } else {
            assert_eq!(dropped(&|d| d[0] = 21), Drop::BadTag, "the type is authenticated");
            assert_eq!(dropped(&|d| d[0] = 20), Drop::ContentType);
            assert_eq!(dropped(&|d| d[0] = 24), Drop::ContentType);
            assert_eq!(dropped(&|d| d[0] = 25), Drop::ContentType);
        }
        assert!(open(&mut server, &good).is_ok(), "none of this took its number");
    }
}

/// RFC 9146 section 3: who announced a Connection ID takes no record without one.
#[test]
fn a_record_without_the_expected_connection_id_is_invalid() {
    let (_, mut with_cid) = pair(Suite::PskAes128Ccm8, true);
    let (mut plain_client, mut plain) = pair(Suite::PskAes128Ccm8, false);
    let record = application(&mut plain_client, b"21.5");
    assert_eq!(open(&mut with_cid, &record), Err(Drop::CidMissing));
    assert!(open(&mut plain, &record).is_ok(), "the control");
}

/// Records as no implementation of ours writes them: padded, empty, of unknown type.
fn sealed_inner(session: &mut Established, inner: &[u8]) -> Vec<u8> {
    // The last byte of `inner` takes the place of the type that plan_seal wrote.
    let mut out = vec![0; OUT_BYTES];
    let content_len = inner.len() - 1;
    let plan = session.plan_seal(ContentType::APPLICATION_DATA, content_len, &mut out).unwrap();
    let at = session.header_len();
    out[at..at + inner.len()].copy_from_slice(inner);
    aead::seal(&mut [session.seal_job(&plan, &mut out)]);
    out.truncate(plan.datagram_len());
    out
}

/// RFC 9146 section 4: the real type is the last byte that is not zero.
#[test]
fn padding_is_stripped_and_a_missing_type_is_noticed() {
    let (mut client, mut server) = pair(Suite::PskAes256Gcm, true);
    let padded = sealed_inner(&mut client, b"data\x17\0\0\0\0");
    let opened = open(&mut server, &padded).unwrap();
    assert_eq!((opened.content_type, opened.content.len()), (ContentType::APPLICATION_DATA, 4));
    let alert = sealed_inner(&mut client, b"\x02\x28\x15\0");
    assert_eq!(open(&mut server, &alert).unwrap().content_type, ContentType::ALERT);
    let only_type = sealed_inner(&mut client, b"\x17");
    assert_eq!(open(&mut server, &only_type).unwrap().content.len(), 0);
    let zeros = sealed_inner(&mut client, &[0; 9]);
    assert_eq!(open(&mut server, &zeros), Err(Drop::InnerType));
    assert_eq!(open(&mut server, &zeros), Err(Drop::Replayed), "its number is taken");
}

/// RFC 5288 section 3: the explicit nonce is the sender's choice, not the record number.
#[test]
fn an_explicit_nonce_of_the_peers_own_is_used() {
    let (mut client, mut server) = pair(Suite::PskAes128Ccm8, true);
    let mut out = [0; OUT_BYTES];
    let plan = client.plan_seal(ContentType::APPLICATION_DATA, 2, &mut out).unwrap();
    let at = client.header_len();
    out[at..at + 2].copy_from_slice(b"ok");
    out[at - 8..at].copy_from_slice(&[0xee; 8]);
    aead::seal(&mut [client.seal_job(&plan, &mut out)]);
    assert!(open(&mut server, &out[..plan.datagram_len()]).is_ok());
}

#[test]
fn a_buffer_may_be_exactly_long_enough() {
    let (mut client, _) = pair(Suite::PskAes128Ccm, true);
    let len = 10 + client.overhead();
    let kind = ContentType::APPLICATION_DATA;
    let before = client.write_sequence();
    assert_eq!(client.seal(kind, &[0; 10], &mut vec![0; len - 1]), Err(SealError::NoRoom));
    assert_eq!(client.write_sequence(), before, "nothing planned, nothing taken");
    assert_eq!(client.seal(kind, &[0; 10], &mut vec![0; len]), Ok(len));
}

#[test]
fn a_record_holds_two_to_the_fourteen_bytes() {
    let (mut client, mut server) = pair(Suite::PskAes128Ccm8, true);
    let mut out = vec![0; 20_000];
    let kind = ContentType::APPLICATION_DATA;
    let len = client.seal(kind, &vec![1; 1 << 14], &mut out).unwrap();
    assert_eq!(open(&mut server, &out[..len]).unwrap().content.len(), 1 << 14);
    let too_long = client.seal(kind, &vec![1; (1 << 14) + 1], &mut out);
    assert_eq!(too_long, Err(SealError::TooLong));
}

/// RFC 5246 section 7.2.1: answered once, and over.
#[test]
fn close_notify_is_answered_and_closes_both() {
    let (mut client, mut server) = pair(Suite::PskAes128Ccm8, true);
    let mut out = vec![0; OUT_BYTES];
    let len = client.close_notify(&mut out).unwrap();
    let mut datagram = out[..len].to_vec();
    let record = Record::parse(&datagram, 0, 6).unwrap();
    let opened = server.open(&record, &mut datagram).unwrap();
    let control = on_control(opened.content_type, &datagram[opened.content]);
    assert_eq!(control, Control::CloseNotify);
    let len = server.close_notify(&mut out).unwrap();
    assert_eq!(open(&mut client, &out[..len]), Err(Drop::Closed));
    assert_eq!(server.seal(ContentType::ALERT, &[1, 0], &mut out), Err(SealError::Closed));
}

#[test]
fn what_is_not_application_data_means_one_thing_each() {
    let message = |msg_type: u8| {
        let mut content = vec![0; 24];
        (content[0], content[3], content[11]) = (msg_type, 12, 12);
        on_control(ContentType::HANDSHAKE, &content)
    };
    assert_eq!(message(20), Control::FinishedAgain);
    assert_eq!(message(1), Control::Renegotiation);
    assert_eq!(message(0), Control::Renegotiation);
    assert_eq!(message(16), Control::Ignored(Drop::Unexpected));
    let malformed = Control::Ignored(Drop::Malformed);
    assert_eq!(on_control(ContentType::HANDSHAKE, &[20, 0]), malformed);
    assert_eq!(on_control(ContentType::ALERT, &[2]), malformed);
    let fatal = Alert::fatal(Description::INTERNAL_ERROR).bytes();
    let expected = Control::FatalAlert(Description::INTERNAL_ERROR);
    assert_eq!(on_control(ContentType::ALERT, &fatal), expected);
    let warning = Alert::warning(Description::USER_CANCELED).bytes();
    let ignored = Control::Ignored(Drop::AlertIgnored);
    assert_eq!(on_control(ContentType::ALERT, &warning), ignored);
    let challenge = Control::Path(PathMessage::Challenge(Cookie([0; 8])));
    assert_eq!(on_control(ContentType::RETURN_ROUTABILITY_CHECK, &[0; 9]), challenge);
    assert_eq!(on_control(ContentType::RETURN_ROUTABILITY_CHECK, &[0; 8]), malformed);
    let unknown = Control::Ignored(Drop::ContentType);
    assert_eq!(on_control(ContentType::HEARTBEAT, &[0; 9]), unknown);
}

/// RFC 5746 section 4.5: a warning, and the association goes on.
#[test]
fn renegotiation_is_refused_and_the_association_goes_on() {
    let (mut client, mut server) = pair(Suite::PskAes128Ccm8, true);
    let mut out = vec![0; OUT_BYTES];
    let len = server.no_renegotiation(&mut out).unwrap();
    assert!(open(&mut client, &out[..len]).is_ok());
    let record = application(&mut client, b"still here");
    assert!(open(&mut server, &record).is_ok());
}

/// In full handshakes the server's flight is the last one (RFC 6347 section 4.2.4).
#[test]
fn a_client_has_no_last_flight_to_repeat() {
    let (mut client, mut server) = pair(Suite::PskAes128Ccm8, true);
    let mut out = [0; OUT_BYTES];
    assert_eq!(client.last_flight_again(&mut out), None);
    assert!(server.last_flight_again(&mut out).is_some());
    assert_eq!(server.last_flight_again(&mut out[..13]), None, "no room for it");
}

#[test]
fn a_wiped_association_has_no_keys_and_does_nothing() {
    let (mut client, mut server) = pair(Suite::PskAes128Ccm8, false);
    let record = application(&mut client, b"x");
    server.wipe();
    assert!(server.as_bytes().iter().all(|byte| *byte == 0));
    assert_eq!(open(&mut server, &record), Err(Drop::Corrupt));
    let sealed = server.seal(ContentType::APPLICATION_DATA, b"x", &mut [0; OUT_BYTES]);
    assert_eq!(sealed, Err(SealError::Corrupt));
}

#[test]
fn nothing_prints_a_key() {
    let (client, _) = pair(Suite::PskAes128Ccm8, true);
    let text = format!("{client:?}");
    let key = hex::encode(&client.as_bytes()[..16]);
    assert!(!text.contains("key") && !text.contains(&key), "{text}");
}
