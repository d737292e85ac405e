//! Does the stateless door keep its promises? (RFC 6347 section 4.2.1)

#![allow(clippy::unwrap_used)]

mod story;

use story::{Dice, PEER, first_message, hello_datagram};
use tidegate_dtls::Drop;
use tidegate_dtls::cookie::{COOKIE_BYTES, CookieJar, Greeting, VERIFY_BYTES, greet};
use tidegate_dtls::extension::Extensions;
use tidegate_dtls::hello::{ClientHello, ClientHelloHead, parse_hello_verify_request};

const PERIOD_MS: u64 = 1_000;

fn jar() -> CookieJar {
    CookieJar::new(0, &[1; 32], PERIOD_MS)
}

fn hello(cookie: &[u8]) -> Vec<u8> {
    hello_of(&[7; 32], cookie)
}

fn hello_of(random: &[u8; 32], cookie: &[u8]) -> Vec<u8> {
    let head = ClientHelloHead { version: 0xfefd, random, session_id: b"", cookie };
    let hello = ClientHello {
        head,
        cipher_suites: &[0xc0, 0xa8],
        compression: &[0],
        extensions: Extensions::default(),
    };
    hello_datagram(&hello, 0, 0)
}

fn cookie_for(jar: &CookieJar, now_ms: u64, peer: &[u8]) -> Vec<u8> {
    let mut out = [0; VERIFY_BYTES];
    assert_eq!(greet(jar, now_ms, peer, &hello(b""), &mut out), Greeting::Verify(VERIFY_BYTES));
    parse_hello_verify_request(first_message(&out).2).unwrap().to_vec()
}

fn ask(jar: &CookieJar, now_ms: u64, peer: &[u8], datagram: &[u8]) -> Greeting {
    greet(jar, now_ms, peer, datagram, &mut [0; VERIFY_BYTES])
}

#[test]
fn a_cookie_is_good_for_its_address_and_its_hello_alone() {
    let jar = jar();
    let cookie = cookie_for(&jar, 0, PEER);
    assert_eq!(cookie.len(), COOKIE_BYTES);
    assert_eq!(ask(&jar, 0, PEER, &hello(&cookie)), Greeting::Proven);
    let refused = Greeting::Verify(VERIFY_BYTES);
    assert_eq!(ask(&jar, 0, b"another address", &hello(&cookie)), refused);
    assert_eq!(ask(&jar, 0, PEER, &hello_of(&[8; 32], &cookie)), refused);
    assert_eq!(ask(&jar, 0, PEER, &hello(&cookie[1..])), refused);
    for bit in 0..8 * COOKIE_BYTES {
        let mut forged = cookie.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(ask(&jar, 0, PEER, &hello(&forged)), refused, "bit {bit}");
    }
}

#[test]
fn a_cookie_outlives_one_rotation_and_not_two() {
    let mut jar = jar();
    let cookie = cookie_for(&jar, 0, PEER);
    assert_eq!(jar.due_ms(), PERIOD_MS);
    jar.rotate(PERIOD_MS, &[2; 32]);
    assert_eq!(ask(&jar, PERIOD_MS, PEER, &hello(&cookie)), Greeting::Proven);
    assert_eq!(ask(&jar, 2 * PERIOD_MS - 1, PEER, &hello(&cookie)), Greeting::Proven);
    jar.rotate(2 * PERIOD_MS, &[3; 32]);
    let refused = Greeting::Verify(VERIFY_BYTES);
    assert_eq!(ask(&jar, 2 * PERIOD_MS, PEER, &hello(&cookie)), refused);
}

#[test]
fn a_cookie_spoils_even_if_nobody_rotates() {
    let jar = jar();
    let cookie = cookie_for(&jar, 0, PEER);
    assert_eq!(ask(&jar, 2 * PERIOD_MS - 1, PEER, &hello(&cookie)), Greeting::Proven);
    let refused = Greeting::Verify(VERIFY_BYTES);
    assert_eq!(ask(&jar, 2 * PERIOD_MS, PEER, &hello(&cookie)), refused);
}

/// A stranger never gets more bytes than it sent: the shortest thing that is answered is longer
/// than the answer.
#[test]
fn nothing_shorter_than_the_answer_is_answered() {
    let jar = jar();
    let whole = hello(b"");
    let mut answered = 0;
    for len in 0..=whole.len() {
        // As one record that is cut short, and as a first fragment of that length.
        let mut fragment = whole[..len].to_vec();
        if len > 25 {
            fragment[12] = (len - 13) as u8;
            fragment[24] = (len - 25) as u8;
        }
        for datagram in [&whole[..len], &fragment] {
            if let Greeting::Verify(answer) = ask(&jar, 0, PEER, datagram) {
                assert!(answer <= len, "{answer} bytes for {len}");
                answered += 1;
            }
        }
    }
    assert!(answered > 1, "fragments that hold their cookie are answered");
}

#[test]
fn a_first_fragment_must_hold_its_cookie() {
    let jar = jar();
    let cookie = cookie_for(&jar, 0, PEER);
    let whole = hello(&cookie);
    let cut = |body_len: u8| {
        let mut fragment = whole[..25 + usize::from(body_len)].to_vec();
        fragment[12] = 12 + body_len;
        fragment[24] = body_len;
        fragment
    };
    let end_of_cookie = 2 + 32 + 1 + 1 + COOKIE_BYTES as u8;
    assert_eq!(ask(&jar, 0, PEER, &cut(end_of_cookie)), Greeting::Proven);
    let too_short = ask(&jar, 0, PEER, &cut(end_of_cookie - 1));
    assert_eq!(too_short, Greeting::Drop(Drop::HelloFragment));
}

#[test]
fn what_is_no_hello_is_dropped_for_its_reason() {
    let jar = jar();
    let good = hello(b"");
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut datagram = good.clone();
        change(&mut datagram);
        ask(&jar, 0, PEER, &datagram)
    };
    let dropped = |change: &dyn Fn(&mut Vec<u8>)| match changed(change) {
        Greeting::Drop(drop) => drop,
        other => panic!("{other:?}"),
    };
    assert_eq!(dropped(&|d| d.truncate(0)), Drop::Truncated);
    assert_eq!(dropped(&|d| d[0] = 23), Drop::NotHello);
    assert_eq!(dropped(&|d| d[1] = 3), Drop::Version);
    assert_eq!(dropped(&|d| d[4] = 1), Drop::NotHello);
    assert_eq!(dropped(&|d| d[5] = 1), Drop::NotHello, "an absurd record number");
    assert_eq!(dropped(&|d| d[13] = 16), Drop::NotHello);
    assert_eq!(dropped(&|d| d[25] = 3), Drop::Version);
    assert_eq!(dropped(&|d| d[59] = 33), Drop::Malformed, "session id");
    assert_eq!(dropped(&|d| d[24] += 1), Drop::Malformed, "fragment longer than its record");
    assert_eq!(dropped(&|d| d[12] -= 1), Drop::Malformed, "record shorter than its fragment");
    // A record of DTLS 1.0 may carry the first hello.
    assert_eq!(changed(&|d| d[2] = 0xff), Greeting::Verify(VERIFY_BYTES));
}

#[test]
fn a_storm_at_the_door_is_never_proven_and_never_amplified() {
    let jar = jar();
    let mut dice = Dice(1);
    for _ in 0..100_000 {
        let mut datagram = hello(&[9; COOKIE_BYTES]);
        for _ in 0..=dice.below(3) {
            let at = dice.below(datagram.len());
            datagram[at] ^= 1 << dice.below(8);
        }
        if dice.percent(30) {
            datagram.truncate(dice.below(datagram.len()));
        }
        match ask(&jar, 0, PEER, &datagram) {
            Greeting::Verify(len) => assert!(len <= datagram.len()),
            Greeting::Drop(_) => {}
            Greeting::Proven => panic!("{datagram:02x?}"),
        }
    }
}
