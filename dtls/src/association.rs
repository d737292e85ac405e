//! What do both roles of a handshake share? Records in, messages to the role in order, flights and
//! alerts out, and the timer.
//!
//! ```text
//!  datagram ─▶ records ─▶ fragments ─▶ reassembly ─▶ Side::on_message ─▶ flight ─▶ datagrams
//!                 │ epoch 1, too early                       │
//!                 ▼                                          ▼ keys
//!               held ───────── as soon as keys and ChangeCipherSpec are there
//! ```

use tidegate_crypto::prf::Transcript;

use crate::Drop;
use crate::alert::{Alert, Description, Level};
use crate::established::{Established, Opened};
use crate::extension::fragment_bytes_max;
use crate::failure::Failure;
use crate::flight::{Cut, Due, Flight, Retransmission, Timing};
use crate::handshake::{Fragment, MessageType};
use crate::key_schedule::{VERIFY_DATA_BYTES, add_message};
use crate::reassembly::{Offered, Reassembly};
use crate::record::{self, CONTENT_BYTES_MAX, ContentType, DTLS_1_2, Record};

/// How both roles use the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Longest datagram of a handshake, bytes; at least [`MTU_MIN`](crate::flight::MTU_MIN).
    pub mtu: usize,
    /// When flights are sent again.
    pub timing: Timing,
    /// Longest handshake message taken, and bytes of early messages held, together.
    pub message_bytes_max: usize,
}

impl Default for Link {
    /// What fits any IPv6 link, RFC 6347's timers, and messages of 8 KiB.
    fn default() -> Self {
        Self { mtu: 1_200, timing: Timing::default(), message_bytes_max: 8 << 10 }
    }
}

/// The part of a handshake that is the same in both roles.
pub(crate) struct Association {
    link: Link,
    /// What records toward us carry, once announced; empty for nothing.
    pub(crate) own_cid: Vec<u8>,
    pub(crate) reassembly: Reassembly,
    pub(crate) flight: Flight,
    pub(crate) retransmission: Retransmission,
    pub(crate) transcript: Transcript,
    /// The next message number of ours.
    pub(crate) message_seq: u16,
    /// The next record number of ours in epoch 0.
    pub(crate) sequence: u64,
    /// The code that limits our records from now on.
    pub(crate) max_fragment_length: Option<u8>,
    ccs_seen: bool,
    keys: Option<Established>,
    held: Vec<u8>,
    /// A datagram that is no part of a flight: the last flight, or an alert.
    parting: Vec<u8>,
    outcome: Outcome,
    last_drop: Option<Drop>,
}

/// Bytes of protected records that are held until they can be opened. *Bound:* a Finished with
/// Connection IDs of 32 bytes takes 106; a second one and a little early data fit.
pub const HELD_BYTES_MAX: usize = 512;

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Open,
    /// The event is still to be polled.
    Established(Established),
    Failed(Failure),
    /// The event is polled.
    EstablishedTold,
    FailedTold,
}

/// What a role does with its messages.
pub(crate) trait Side {
    /// A message whose turn it is, whole.
    fn on_message(
        &mut self,
        association: &mut Association,
        now_ms: u64,
        message: Message<'_>,
    ) -> Result<(), Failure>;

    /// A fragment of a message that had its turn: the peer may be repeating a flight.
    fn on_repeated(
        &mut self,
        association: &mut Association,
        now_ms: u64,
        fragment: &Fragment<'_>,
    ) -> Result<(), Failure>;
}

/// A handshake message without its headers.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_field_names)] // the RFC calls it message_seq
pub(crate) struct Message<'a> {
    pub(crate) msg_type: MessageType,
    pub(crate) message_seq: u16,
    pub(crate) body: &'a [u8],
}

/// How a handshake ended.
#[derive(Debug)]
pub(crate) enum Ended {
    Established(Established),
    Failed(Failure),
}

impl Association {
    pub(crate) fn new(link: Link, now_ms: u64) -> Self {
        Self {
            link,
            own_cid: Vec::new(),
            reassembly: Reassembly::new(0, link.message_bytes_max),
            flight: Flight::default(),
            retransmission: Retransmission::new(link.timing, now_ms),
            transcript: Transcript::new(),
            message_seq: 0,
            sequence: 0,
            max_fragment_length: None,
            ccs_seen: false,
            keys: None,
            held: Vec::new(),
            parting: Vec::new(),
            outcome: Outcome::Open,
            last_drop: None,
        }
    }

    /// Takes a datagram; returns how many bytes of it were the handshake's.
    pub(crate) fn on_datagram<S: Side>(
        &mut self,
        side: &mut S,
        now_ms: u64,
        datagram: &mut [u8],
    ) -> usize {
        let mut at = 0;
        while at < datagram.len() && self.is_open() {
            match Record::parse(datagram, at, self.own_cid.len()) {
                Err(drop) => {
                    self.ignore(drop);
                    return datagram.len();
                }
                // A client that repeats its last flight to a server that has begun anew with it.
                Ok(record) if self.is_for_another(&record, datagram) => return at,
                Ok(record) => {
                    at = record.end();
                    if let Err(drop) = self.on_record(side, now_ms, &record, datagram) {
                        self.ignore(drop);
                    }
                    self.release_held(side, now_ms);
                }
            }
        }
        if self.is_established() { at } else { datagram.len() }
    }

    /// The timer.
    pub(crate) fn on_due(&mut self, now_ms: u64, may_send: bool) -> bool {
        if !self.is_open() {
            return true;
        }
        match self.retransmission.on_due(now_ms) {
            Due::Nothing => true,
            Due::SendAgain => {
                if may_send {
                    self.flight.rewind();
                }
                true
            }
            Due::GiveUp => false,
        }
    }

    pub(crate) fn due_ms(&self) -> Option<u64> {
        self.is_open().then(|| self.retransmission.due_ms())
    }

    /// Writes the next datagram and returns its length.
    pub(crate) fn poll_transmit(&mut self, out: &mut [u8]) -> Option<usize> {
        if !self.is_open() {
            let parting = std::mem::take(&mut self.parting);
            out[..parting.len()].copy_from_slice(&parting);
            return Some(parting.len()).filter(|len| *len > 0);
        }
        // RFC 6347 section 4.1.1.1: nobody answers, so perhaps nothing that large arrives.
        let patient = self.retransmission.count() < RETRANSMISSIONS_BEFORE_SMALLER;
        let mtu = if patient { self.link.mtu } else { self.link.mtu.min(SMALL_MTU) };
        let limit = self.max_fragment_length.and_then(fragment_bytes_max);
        let mut cut = Cut {
            mtu,
            content_bytes_max: limit.unwrap_or(CONTENT_BYTES_MAX),
            sequence: &mut self.sequence,
            keys: self.keys.as_mut(),
        };
        self.flight.poll(&mut cut, out)
    }

    pub(crate) fn poll_ended(&mut self) -> Option<Ended> {
        let (told, ended) = match self.outcome {
            Outcome::Established(established) => {
                (Outcome::EstablishedTold, Ended::Established(established))
            }
            Outcome::Failed(failure) => (Outcome::FailedTold, Ended::Failed(failure)),
            Outcome::Open | Outcome::EstablishedTold | Outcome::FailedTold => return None,
        };
        self.outcome = told;
        Some(ended)
    }

    /// Why something was ignored last, if anything was since the last call.
    pub(crate) fn take_drop(&mut self) -> Option<Drop> {
        self.last_drop.take()
    }

    pub(crate) fn ignore(&mut self, drop: Drop) {
        self.last_drop = Some(drop);
    }

    pub(crate) fn take_held(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.outcome, Outcome::Open)
    }

    pub(crate) fn is_established(&self) -> bool {
        matches!(self.outcome, Outcome::Established(_) | Outcome::EstablishedTold)
    }

    /// Whether a protected record of the peer did not authenticate.
    pub(crate) fn saw_wrong_key(&self) -> bool {
        self.keys.is_some_and(|keys| keys.failed_opens() > 0)
    }

    /// Heap bytes held now.
    pub(crate) fn bytes(&self) -> usize {
        let buffers = self.held.capacity() + self.parting.capacity() + self.own_cid.capacity();
        self.reassembly.bytes() + self.flight.bytes() + buffers
    }

    /// Appends a message of ours to the transcript and the flight; returns its number.
    pub(crate) fn send(&mut self, msg_type: MessageType, body: &[u8]) -> u16 {
        let message_seq = self.number_message(msg_type, body);
        self.flight.push(msg_type, message_seq, body);
        message_seq
    }

    /// Takes the next number for a message of ours and appends it to the transcript alone.
    pub(crate) fn number_message(&mut self, msg_type: MessageType, body: &[u8]) -> u16 {
        let message_seq = self.message_seq;
        self.message_seq = message_seq.wrapping_add(1);
        add_message(&mut self.transcript, msg_type, message_seq, body);
        message_seq
    }

    /// Records of epoch 1 can be opened and sealed from now on.
    pub(crate) fn install_keys<S: Side>(&mut self, side: &mut S, now_ms: u64, keys: Established) {
        self.keys = Some(keys);
        self.release_held(side, now_ms);
    }

    /// The handshake is over and good; `parting` is sent once more, if not empty.
    pub(crate) fn succeed(&mut self, parting: &[u8]) {
        let established = self.keys.take().expect("keys before Finished");
        self.flight.clear();
        self.parting = parting.to_vec();
        self.outcome = Outcome::Established(established);
    }

    /// The handshake is over and good, and our Finished is its last message: it is sent now, and by
    /// the session whenever the peer asks for it.
    pub(crate) fn succeed_with_last_flight(
        &mut self,
        verify_data: [u8; VERIFY_DATA_BYTES],
        message_seq: u16,
    ) {
        let sequence = self.sequence as u32;
        let keys = self.keys.as_mut().expect("keys before Finished");
        keys.keep_last_flight(verify_data, message_seq, sequence);
        let mut parting = [0; PARTING_BYTES_MAX];
        let len = keys.last_flight_again(&mut parting).expect("new keys have numbers and room");
        self.succeed(&parting[..len]);
    }

    /// The handshake is over; the peer is told if the failure says so.
    pub(crate) fn fail(&mut self, failure: Failure) {
        if !self.is_open() {
            return;
        }
        self.flight.clear();
        self.parting.clear();
        if let Some(description) = failure.alert() {
            self.parting = self.alert(Alert::fatal(description), failure);
        }
        self.wipe();
        self.outcome = Outcome::Failed(failure);
    }

    /// The datagram of an alert: protected only when the peer proved to have the keys.
    fn alert(&mut self, alert: Alert, failure: Failure) -> Vec<u8> {
        let mut datagram = vec![0; ALERT_BYTES_MAX];
        let len = match &mut self.keys {
            Some(keys) if failure == Failure::Finished => {
                keys.alert(alert, &mut datagram).unwrap_or(0)
            }
            _ => {
                let (kind, content) = (ContentType::ALERT, alert.bytes());
                let sequence = self.sequence;
                self.sequence += 1;
                let at = record::write_header(
                    &mut datagram,
                    kind,
                    DTLS_1_2,
                    0,
                    sequence,
                    &[],
                    content.len(),
                );
                datagram[at..at + content.len()].copy_from_slice(&content);
                at + content.len()
            }
        };
        datagram.truncate(len);
        datagram
    }

    /// Whether the record's Connection ID is not ours. Hellos without one announce nothing, and
    /// then a record with one is noise like any other.
    fn is_for_another(&self, record: &Record, datagram: &[u8]) -> bool {
        record.content_type == ContentType::TLS12_CID
            && !self.own_cid.is_empty()
            && datagram[record.cid()] != self.own_cid
    }

    fn on_record<S: Side>(
        &mut self,
        side: &mut S,
        now_ms: u64,
        record: &Record,
        datagram: &mut [u8],
    ) -> Result<(), Drop> {
        match record.epoch {
            0 => self.on_plaintext(side, now_ms, record, &datagram[record.fragment()]),
            1 if self.keys.is_some() && self.ccs_seen => {
                self.on_protected(side, now_ms, record, datagram)
            }
            1 => self.hold(&datagram[record.start()..record.end()]),
            _ => Err(Drop::Epoch),
        }
    }

    fn on_plaintext<S: Side>(
        &mut self,
        side: &mut S,
        now_ms: u64,
        record: &Record,
        content: &[u8],
    ) -> Result<(), Drop> {
        if record.version >> 8 != 0xfe {
            return Err(Drop::Version);
        }
        match record.content_type {
            ContentType::HANDSHAKE => self.on_handshake(side, now_ms, 0, content),
            ContentType::ALERT => self.on_alert(content),
            ContentType::CHANGE_CIPHER_SPEC if content == [1] => {
                self.ccs_seen = true;
                Ok(())
            }
            ContentType::CHANGE_CIPHER_SPEC => Err(Drop::Malformed),
            ContentType::APPLICATION_DATA => Err(Drop::Epoch),
            _ => Err(Drop::ContentType),
        }
    }

    fn on_protected<S: Side>(
        &mut self,
        side: &mut S,
        now_ms: u64,
        record: &Record,
        datagram: &mut [u8],
    ) -> Result<(), Drop> {
        let keys = self.keys.as_mut().expect("asked before");
        let Opened { content_type, content, .. } = keys.open(record, datagram)?;
        match content_type {
            ContentType::HANDSHAKE => self.on_handshake(side, now_ms, 1, &datagram[content]),
            ContentType::ALERT => self.on_alert(&datagram[content]),
            // RFC 6347 section 4.2.4: not before the Finished.
            ContentType::APPLICATION_DATA => Err(Drop::TooEarly),
            _ => Err(Drop::ContentType),
        }
    }

    fn on_handshake<S: Side>(
        &mut self,
        side: &mut S,
        now_ms: u64,
        epoch: u16,
        mut content: &[u8],
    ) -> Result<(), Drop> {
        let mut result = if content.is_empty() { Err(Drop::Malformed) } else { Ok(()) };
        while !content.is_empty() && self.is_open() {
            let (fragment, rest) = Fragment::parse(content)?;
            content = rest;
            let offered = self.on_fragment(side, now_ms, epoch, &fragment);
            result = result.and(offered);
        }
        result
    }

    fn on_fragment<S: Side>(
        &mut self,
        side: &mut S,
        now_ms: u64,
        epoch: u16,
        fragment: &Fragment<'_>,
    ) -> Result<(), Drop> {
        // Finished alone is protected, and nothing else ever is: a stranger can't write one.
        if (fragment.msg_type == MessageType::FINISHED) != (epoch == 1) {
            return Err(Drop::Unexpected);
        }
        if fragment.msg_type == MessageType::HELLO_REQUEST {
            return Err(Drop::Unexpected);
        }
        match self.reassembly.offer(fragment, epoch) {
            Ok(Offered::Due(body)) => {
                let (msg_type, message_seq) = (fragment.msg_type, fragment.message_seq);
                self.deliver(side, now_ms, Message { msg_type, message_seq, body });
            }
            Ok(Offered::Kept) => {}
            Err(Drop::Repeated) => {
                if let Err(failure) = side.on_repeated(self, now_ms, fragment) {
                    self.fail(failure);
                }
                return Err(Drop::Repeated);
            }
            Err(drop) => return Err(drop),
        }
        while self.is_open()
            && let Some(whole) = self.reassembly.take_due()
        {
            let (msg_type, message_seq) = (whole.msg_type, whole.message_seq);
            self.deliver(side, now_ms, Message { msg_type, message_seq, body: &whole.body });
        }
        Ok(())
    }

    fn deliver<S: Side>(&mut self, side: &mut S, now_ms: u64, message: Message<'_>) {
        if let Err(failure) = side.on_message(self, now_ms, message) {
            self.fail(failure);
        }
    }

    /// An alert ends the handshake it comes in, and nothing else: the association before it is not
    /// touched by what anyone can write.
    fn on_alert(&mut self, content: &[u8]) -> Result<(), Drop> {
        let alert = Alert::parse(content).ok_or(Drop::Malformed)?;
        if alert.level == Level::Fatal || alert.description == Description::CLOSE_NOTIFY {
            self.fail(Failure::PeerAlert(alert.description));
            Ok(())
        } else {
            Err(Drop::AlertIgnored)
        }
    }

    fn hold(&mut self, record: &[u8]) -> Result<(), Drop> {
        if self.held.len() + record.len() > HELD_BYTES_MAX {
            return Err(Drop::TooEarly);
        }
        self.held.extend_from_slice(record);
        Ok(())
    }

    /// Opens what was held as soon as that is possible. What follows a Finished stays held: it is
    /// the session's.
    fn release_held<S: Side>(&mut self, side: &mut S, now_ms: u64) {
        if self.held.is_empty() || self.keys.is_none() || !self.ccs_seen || !self.is_open() {
            return;
        }
        let mut held = std::mem::take(&mut self.held);
        let mut at = 0;
        while at < held.len() && self.is_open() {
            let Ok(record) = Record::parse(&held, at, self.own_cid.len()) else { break };
            at = record.end();
            if let Err(drop) = self.on_protected(side, now_ms, &record, &mut held) {
                self.ignore(drop);
            }
        }
        if self.is_established() {
            self.held = held.split_off(at);
        }
    }

    fn wipe(&mut self) {
        if let Some(keys) = &mut self.keys {
            keys.wipe();
        }
        if let Outcome::Established(established) = &mut self.outcome {
            established.wipe();
        }
        self.keys = None;
        self.held = Vec::new();
    }
}

impl std::ops::Drop for Association {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// After this many retransmissions datagrams get smaller.
const RETRANSMISSIONS_BEFORE_SMALLER: u32 = 3;
/// That small, bytes: what every IPv4 host takes, less its headers.
const SMALL_MTU: usize = 508;
/// Our last flight under any suite with a Connection ID of 32 bytes: 14 + 106 bytes.
const PARTING_BYTES_MAX: usize = 128;
/// An alert under any suite with a Connection ID of 32 bytes, and more.
const ALERT_BYTES_MAX: usize = 128;
