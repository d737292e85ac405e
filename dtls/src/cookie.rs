//! Does this stranger receive what is sent to its address? The stateless door of a server
//! (RFC 6347 section 4.2.1).
//!
//! A ClientHello without our cookie is answered by a HelloVerifyRequest, shorter than any
//! ClientHello; nothing is remembered and nothing is allocated. Secrets rotate; a cookie is good
//! for between one and two periods.

use tidegate_crypto::cookie::CookieKey;
use tidegate_crypto::secret::equal;
use tidegate_faults::{Bug, has};

use crate::Drop;
use crate::control::LAST_SEQUENCE_MAX;
use crate::handshake::{self, Fragment, MessageType};
use crate::hello::ClientHelloHead;
use crate::record::{self, ContentType, DTLS_1_0, Record};

/// The secrets behind the cookies: the current one and the one before.
#[derive(Debug)]
pub struct CookieJar {
    current: CookieKey,
    previous: Option<CookieKey>,
    /// When `current` came.
    rotated_ms: u64,
    period_ms: u64,
}

/// Length of a cookie, bytes. *Why:* 128 bits can't be guessed, old clients take at most 32, and
/// a ClientHello cut into fragments of 64 bytes still has its whole cookie in the first.
pub const COOKIE_BYTES: usize = 16;
/// How long a secret serves unless configured, milliseconds. *Why:* longer than a client on a slow
/// link takes to answer, short enough that harvested cookies spoil.
pub const PERIOD_MS: u64 = 120_000;

impl CookieJar {
    /// A jar whose first secret is `secret` (random bytes).
    pub fn new(now_ms: u64, secret: &[u8; 32], period_ms: u64) -> Self {
        Self { current: CookieKey::new(secret), previous: None, rotated_ms: now_ms, period_ms }
    }

    /// When [`rotate`](Self::rotate) wants to be called next.
    pub fn due_ms(&self) -> u64 {
        self.rotated_ms.saturating_add(self.period_ms)
    }

    /// Puts a new secret in; cookies of the one before stay good for one more period.
    pub fn rotate(&mut self, now_ms: u64, secret: &[u8; 32]) {
        let retired = std::mem::replace(&mut self.current, CookieKey::new(secret));
        self.previous = (now_ms < self.due_ms().saturating_add(self.period_ms)).then_some(retired);
        self.rotated_ms = now_ms;
    }

    fn bake(&self, parts: &[&[u8]]) -> [u8; COOKIE_BYTES] {
        cut(self.current.mac(parts))
    }

    fn knows(&self, now_ms: u64, parts: &[&[u8]], cookie: &[u8]) -> bool {
        if cookie.len() != COOKIE_BYTES {
            return false;
        }
        // Invariant: a secret serves at most two periods, even if nobody rotates.
        let age_ms = now_ms.saturating_sub(self.rotated_ms);
        let current = (age_ms < self.period_ms.saturating_mul(2)).then_some(&self.current);
        let previous = self.previous.as_ref().filter(|_| age_ms < self.period_ms);
        let is_ours = |key: &CookieKey| equal(&cut(key.mac(parts)), cookie);
        current.is_some_and(is_ours) || previous.is_some_and(is_ours)
    }
}

fn cut(mac: [u8; 32]) -> [u8; COOKIE_BYTES] {
    let mut cookie = [0; COOKIE_BYTES];
    cookie.copy_from_slice(&mac[..COOKIE_BYTES]);
    cookie
}

/// What to do about a stranger's datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// Nothing; count it.
    Drop(Drop),
    /// Send the HelloVerifyRequest: this many bytes of `out`.
    Verify(usize),
    /// The cookie is ours: make a `server::Handshake` and feed it this datagram.
    Proven,
}

/// Length of the datagram [`greet`] answers with, bytes. Shorter than the shortest ClientHello.
pub const VERIFY_BYTES: usize = record::HEADER_BYTES + handshake::HEADER_BYTES + VERIFY_BODY_BYTES;

const VERIFY_BODY_BYTES: usize = 2 + 1 + COOKIE_BYTES;

/// Looks at the first record of a datagram from someone without an association. `peer` are the
/// bytes of its address and port; `out` has at least [`VERIFY_BYTES`].
///
/// The cookie covers the address and what stands before the cookie in the hello. *Why* not the
/// suites: they may lie in a later fragment, and the Finished messages cover them.
pub fn greet(
    jar: &CookieJar,
    now_ms: u64,
    peer: &[u8],
    datagram: &[u8],
    out: &mut [u8],
) -> Greeting {
    let hello = match FirstHello::parse(datagram) {
        Ok(hello) => hello,
        Err(drop) => return Greeting::Drop(drop),
    };
    let head = &hello.head;
    let parts = [peer, &head.version.to_be_bytes()[..], head.random, head.session_id];
    if jar.knows(now_ms, &parts, head.cookie) || has(Bug::CookieNotAsked) {
        return Greeting::Proven;
    }
    write_hello_verify_request(&hello, &jar.bake(&parts), out);
    Greeting::Verify(VERIFY_BYTES)
}

/// The session that a ClientHello at the front of a datagram wants to resume, mostly empty; `None`
/// when there is no ClientHello.
pub fn session_id(datagram: &[u8]) -> Option<&[u8]> {
    FirstHello::parse(datagram).ok().map(|hello| hello.head.session_id)
}

/// A ClientHello, or the first fragment of one, at the front of a datagram.
pub(crate) struct FirstHello<'a> {
    pub(crate) record: Record,
    pub(crate) message_seq: u16,
    pub(crate) head: ClientHelloHead<'a>,
}

impl<'a> FirstHello<'a> {
    pub(crate) fn parse(datagram: &'a [u8]) -> Result<Self, Drop> {
        let record = Record::parse(datagram, 0, 0)?;
        if record.content_type != ContentType::HANDSHAKE || record.epoch != 0 {
            return Err(Drop::NotHello);
        }
        // Why both bytes' high half only: hellos travel in records of DTLS 1.0 as well as 1.2.
        if record.version >> 8 != 0xfe {
            return Err(Drop::Version);
        }
        let (fragment, _) = Fragment::parse(&datagram[record.fragment()])?;
        if fragment.msg_type != MessageType::CLIENT_HELLO || fragment.offset != 0 {
            return Err(Drop::NotHello);
        }
        let head = match ClientHelloHead::parse(fragment.body) {
            Some(head) => head,
            None if fragment.is_whole() => return Err(Drop::Malformed),
            None => return Err(Drop::HelloFragment),
        };
        if head.version >> 8 != 0xfe {
            return Err(Drop::Version);
        }
        if record.sequence > FIRST_SEQUENCE_MAX {
            return Err(Drop::NotHello);
        }
        Ok(Self { record, message_seq: fragment.message_seq, head })
    }
}

/// Highest record number a first ClientHello may have, so that a whole handshake's records find
/// room behind it: we count on from it (RFC 6347 section 4.2.1).
const FIRST_SEQUENCE_MAX: u64 = LAST_SEQUENCE_MAX as u64 - (1 << 16);

/// Message and record numbers are the ClientHello's, so that a client in its second or third
/// attempt finds the answer it waits for.
fn write_hello_verify_request(hello: &FirstHello<'_>, cookie: &[u8; COOKIE_BYTES], out: &mut [u8]) {
    let sequence = hello.record.sequence;
    let fragment_len = handshake::HEADER_BYTES + VERIFY_BODY_BYTES;
    let kind = ContentType::HANDSHAKE;
    let at = record::write_header(out, kind, DTLS_1_0, 0, sequence, &[], fragment_len);
    let header = handshake::header(
        MessageType::HELLO_VERIFY_REQUEST,
        VERIFY_BODY_BYTES,
        hello.message_seq,
        0,
        VERIFY_BODY_BYTES,
    );
    out[at..at + header.len()].copy_from_slice(&header);
    let body = &mut out[at + header.len()..][..VERIFY_BODY_BYTES];
    body[..2].copy_from_slice(&DTLS_1_0.to_be_bytes());
    body[2] = COOKIE_BYTES as u8;
    body[3..].copy_from_slice(cookie);
}
