//! What is left of an association when its handshake is over? Keys, counters and a replay window:
//! 136 bytes that open and seal records (RFC 6347 section 4.1, RFC 9146 sections 4 and 5).
//!
//! An [`Established`] lives in shared memory that outlives the process, so it is plain data and
//! every bit pattern is one: what this crate would never have written is found out when it is used
//! and never panics.
//!
//! Receiving: [`plan_open`](Established::plan_open) → [`open_job`](Established::open_job) → one
//! `aead::open` for many associations → [`finish_open`](Established::finish_open). Sending:
//! [`plan_seal`](Established::plan_seal) → [`seal_job`](Established::seal_job) → `aead::seal`.
//! *Invariant:* `plan_seal` takes the sequence number, and has stored the next one, before
//! anything is sealed: no number seals twice, not even when the process dies in between.
//! Nothing here allocates.

use std::ops::Range;

use tidegate_crypto::aead::{
    self, Aad, Aead, EXPLICIT_NONCE_BYTES, FIXED_IV_BYTES, Job, NONCE_BYTES,
};
use tidegate_faults::{Bug, has};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
use zeroize::Zeroize;

use crate::Drop;
pub use crate::control::{Control, on_control};
use crate::extension::fragment_bytes_max;
use crate::key_schedule::{KeyBlock, Role, VERIFY_DATA_BYTES};
use crate::record::{self, CID_BYTES_MAX, CONTENT_BYTES_MAX, ContentType, DTLS_1_2, Record};
use crate::record::{HEADER_BYTES, SEQUENCE_MAX};
use crate::replay::Replay;
use crate::suite::Suite;

/// One established association, seen from one of its ends.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Established {
    /// The number of the next record of epoch 1; above [`SEQUENCE_MAX`] when there is none.
    write_sequence: u64,
    replay: Replay,
    read_iv: [u8; FIXED_IV_BYTES],
    write_iv: [u8; FIXED_IV_BYTES],
    /// Code point.
    suite: u16,
    /// Records that did not authenticate, up to [`FAILED_OPENS_MAX`].
    failed_opens: u16,
    /// 0: records toward us carry no Connection ID.
    own_cid_len: u8,
    /// 0: records from us carry no Connection ID.
    peer_cid_len: u8,
    flags: u8,
    /// Bits 16–23 of the next record number of epoch 0.
    pub(crate) last_sequence_high: u8,
    /// Read key, write key and the Connection ID toward the peer, one right behind the other, each
    /// as long as it is; then zeros. *Why packed:* all that a record of a 128-bit suite needs lies
    /// in the first 88 bytes, and a million sessions are read from memory, not from a cache.
    keys_and_cid: [u8; KEYS_AND_CID_BYTES],
    /// Our Finished, for [`Established::last_flight_again`].
    pub(crate) last_verify_data: [u8; VERIFY_DATA_BYTES],
    pub(crate) last_message_seq: u16,
    /// Low 16 bits of the next record number of epoch 0.
    pub(crate) last_sequence_low: u16,
}

const _: () = assert!(size_of::<Established>() == 136 && align_of::<Established>() == 8);

/// *Why not twice the longest key and the longest Connection ID:* each session pays for it, and
/// hardly any has both.
const KEYS_AND_CID_BYTES: usize = 80;

/// Longest Connection ID that a session of `suite` can send: 32 bytes beside the keys of a 128-bit
/// suite, 16 beside those of a 256-bit one.
pub(crate) fn peer_cid_bytes_max(suite: Suite) -> usize {
    (KEYS_AND_CID_BYTES - 2 * suite.aead().key_bytes()).min(CID_BYTES_MAX)
}

/// How many records may fail to authenticate before the keys are given up. *Why:* far below the
/// integrity limits of AES-CCM and AES-GCM (RFC 9147 section 4.5.3), and a forger of an 8-byte tag
/// has a chance of 2^-48; yet too many for a passer-by to end a session with.
pub const FAILED_OPENS_MAX: u16 = u16::MAX;
/// Numbers at the end of the epoch that only alerts may use, so that `close_notify` has one.
pub const NUMBERS_FOR_ALERTS: u64 = 16;

/// The epoch of everything here: there is no renegotiation.
const EPOCH: u16 = 1;

/// `flags`: the master secret is an extended one.
const EXTENDED_MASTER_SECRET: u8 = 1;
/// `flags`: we sent the last flight of the handshake and may have to send it again.
pub(crate) const LAST_FLIGHT: u8 = 1 << 1;
/// `flags`: a close_notify or a fatal alert ended it.
const CLOSED: u8 = 1 << 2;
/// `flags`: return_routability_check is negotiated.
const RETURN_ROUTABILITY: u8 = 1 << 3;
/// `flags`: where the code of max_fragment_length stands, 3 bits; 0 when not negotiated.
const MAX_FRAGMENT_SHIFT: u8 = 4;

/// What two hellos agreed upon.
#[derive(Clone, Copy, Debug)]
pub struct Negotiated<'a> {
    /// The chosen suite.
    pub suite: Suite,
    /// Length of the Connection ID toward us, at most [`CID_BYTES_MAX`]; 0 for none.
    pub own_cid_len: usize,
    /// The Connection ID toward the peer, at most 32 bytes, 16 with a 256-bit suite; empty for
    /// none.
    pub peer_cid: &'a [u8],
    /// Whether the master secret is an extended one.
    pub extended_master_secret: bool,
    /// The code of max_fragment_length, 1–4.
    pub max_fragment_length: Option<u8>,
    /// Whether a new address of the peer is checked (RFC 9853).
    pub return_routability: bool,
}

impl Established {
    /// The end that has `role`, with nothing sent or received yet.
    ///
    /// # Panics
    /// If a Connection ID is too long: the handshake refuses those.
    pub fn new(negotiated: &Negotiated<'_>, keys: &KeyBlock, role: Role) -> Self {
        let (read, write) = match role {
            Role::Client => (&keys.server, &keys.client),
            Role::Server => (&keys.client, &keys.server),
        };
        let (cid, key_bytes) = (negotiated.peer_cid, negotiated.suite.aead().key_bytes());
        assert!(negotiated.own_cid_len <= CID_BYTES_MAX, "own Connection ID of at most 32 bytes");
        let longest = peer_cid_bytes_max(negotiated.suite);
        assert!(cid.len() <= longest, "Connection ID of the peer of at most {longest} bytes");
        let mut keys_and_cid = [0; KEYS_AND_CID_BYTES];
        keys_and_cid[..key_bytes].copy_from_slice(&read.key[..key_bytes]);
        keys_and_cid[key_bytes..2 * key_bytes].copy_from_slice(&write.key[..key_bytes]);
        keys_and_cid[2 * key_bytes..][..cid.len()].copy_from_slice(cid);
        Self {
            write_sequence: 0,
            replay: Replay::default(),
            read_iv: read.iv,
            write_iv: write.iv,
            suite: negotiated.suite.code(),
            failed_opens: 0,
            own_cid_len: negotiated.own_cid_len as u8,
            peer_cid_len: cid.len() as u8,
            flags: (u8::from(negotiated.extended_master_secret) * EXTENDED_MASTER_SECRET)
                | (u8::from(negotiated.return_routability) * RETURN_ROUTABILITY)
                | (negotiated.max_fragment_length.unwrap_or(0) << MAX_FRAGMENT_SHIFT),
            last_sequence_high: 0,
            keys_and_cid,
            last_verify_data: [0; VERIFY_DATA_BYTES],
            last_message_seq: 0,
            last_sequence_low: 0,
        }
    }

    /// Judges a record by everything but its tag, and says how to open it.
    #[inline]
    pub fn plan_open(&self, record: &Record) -> Result<OpenPlan, Drop> {
        let aead = self.aead().ok_or(Drop::Corrupt)?;
        if self.own_cid_len as usize > CID_BYTES_MAX {
            return Err(Drop::Corrupt);
        }
        if self.is_closed() {
            return Err(Drop::Closed);
        }
        self.judge(record)?;
        self.replay.check(record.sequence)?;
        let fragment = record.fragment();
        let hidden_type = usize::from(self.own_cid_len > 0);
        let text_len = fragment
            .len()
            .checked_sub(EXPLICIT_NONCE_BYTES)
            .filter(|len| *len >= aead.tag_bytes() + hidden_type)
            .ok_or(Drop::Truncated)?;
        if text_len > aead::TEXT_BYTES_MAX {
            return Err(Drop::Oversized);
        }
        let place = Place {
            start: record.start() as u16,
            text_start: (fragment.start + EXPLICIT_NONCE_BYTES) as u16,
            text_end: fragment.end as u16,
            aead,
        };
        Ok(OpenPlan { place, sequence: record.sequence, content_type: record.content_type })
    }

    /// The work for `aead::open`; `datagram` is the one that the planned record was parsed from.
    #[inline]
    pub fn open_job<'a>(&'a self, plan: &OpenPlan, datagram: &'a mut [u8]) -> Job<'a> {
        let key = &self.keys_and_cid[..plan.place.aead.key_bytes()];
        job(plan.place, key, self.read_iv, datagram)
    }

    /// Takes the outcome of the job: `verified` is its `done`. Looks at the replay window once
    /// more, because a copy of the record may have been in the same batch.
    #[inline]
    pub fn finish_open(
        &mut self,
        plan: &OpenPlan,
        verified: bool,
        datagram: &[u8],
    ) -> Result<Opened, Drop> {
        if !verified {
            if has(Bug::ReplayBeforeAuthentication) {
                self.replay.commit(plan.sequence);
            }
            self.failed_opens = self.failed_opens.saturating_add(1);
            return Err(Drop::BadTag);
        }
        self.replay.check(plan.sequence)?;
        let is_newest = self.replay.commit(plan.sequence);
        let mut content = plan.place.text();
        content.end -= plan.place.aead.tag_bytes();
        let mut content_type = plan.content_type;
        if content_type == ContentType::TLS12_CID {
            let inner = &datagram[content.clone()];
            let place = inner.iter().rposition(|byte| *byte != 0).ok_or(Drop::InnerType)?;
            content_type = ContentType(inner[place]);
            content.end = content.start + place;
        }
        if content.len() > CONTENT_BYTES_MAX {
            return Err(Drop::Oversized);
        }
        let is_check = content_type == ContentType::RETURN_ROUTABILITY_CHECK;
        if is_check && !self.has_return_routability() {
            return Err(Drop::ContentType);
        }
        if content_type == ContentType::APPLICATION_DATA {
            self.flags &= !LAST_FLIGHT;
        }
        Ok(Opened { content_type, content, is_newest })
    }

    /// Opens one record at once: [`plan_open`](Self::plan_open) to
    /// [`finish_open`](Self::finish_open), for callers with no batch.
    pub fn open(&mut self, record: &Record, datagram: &mut [u8]) -> Result<Opened, Drop> {
        let plan = self.plan_open(record)?;
        let mut jobs = [self.open_job(&plan, datagram)];
        aead::open(&mut jobs);
        let [Job { done, .. }] = jobs;
        self.finish_open(&plan, done, datagram)
    }

    /// Where the content has to stand in the record's buffer, bytes from its start.
    #[inline]
    pub fn header_len(&self) -> usize {
        HEADER_BYTES + usize::from(self.peer_cid_len) + EXPLICIT_NONCE_BYTES
    }

    /// How much longer the datagram is than its content, bytes.
    #[inline]
    pub fn overhead(&self) -> usize {
        let tag = self.aead().map_or(aead::TAG_BYTES_MAX, Aead::tag_bytes);
        self.header_len() + usize::from(self.peer_cid_len > 0) + tag
    }

    /// Where content of any length may stand in a record's buffer of `room` bytes.
    #[inline]
    pub fn content_room(&self, room: usize) -> Range<usize> {
        let start = self.header_len();
        start..(start + room).saturating_sub(self.overhead()).max(start)
    }

    /// Longest content of one record: 2^14 bytes unless max_fragment_length was negotiated.
    #[inline]
    pub fn content_bytes_max(&self) -> usize {
        fragment_bytes_max(self.flags >> MAX_FRAGMENT_SHIFT & 7).unwrap_or(CONTENT_BYTES_MAX)
    }

    /// Takes a sequence number and writes everything of the record but the content, which stands
    /// (or will stand, before the job is made) at [`header_len`](Self::header_len) and has
    /// `content_len` bytes.
    #[inline]
    pub fn plan_seal(
        &mut self,
        content_type: ContentType,
        content_len: usize,
        out: &mut [u8],
    ) -> Result<SealPlan, SealError> {
        let aead = self.aead().ok_or(SealError::Corrupt)?;
        let peer_cid = self.peer_cid_behind(aead).ok_or(SealError::Corrupt)?;
        let datagram_len = content_len.saturating_add(self.overhead());
        if self.is_closed() {
            return Err(SealError::Closed);
        }
        if content_len > self.content_bytes_max() {
            return Err(SealError::TooLong);
        }
        if datagram_len > out.len() {
            return Err(SealError::NoRoom);
        }
        let reserved = if content_type == ContentType::ALERT { 0 } else { NUMBERS_FOR_ALERTS };
        let sequence = self.write_sequence;
        if sequence > SEQUENCE_MAX - reserved {
            return Err(SealError::SequenceExhausted);
        }
        let text_start = HEADER_BYTES + peer_cid.len() + EXPLICIT_NONCE_BYTES;
        let has_cid = !peer_cid.is_empty();
        let outer_type = if has_cid { ContentType::TLS12_CID } else { content_type };
        let fragment_len = datagram_len - text_start + EXPLICIT_NONCE_BYTES;
        record::write_header(out, outer_type, DTLS_1_2, EPOCH, sequence, peer_cid, fragment_len);
        let explicit_nonce = u64::from(EPOCH) << 48 | sequence;
        out[text_start - EXPLICIT_NONCE_BYTES..text_start]
            .copy_from_slice(&explicit_nonce.to_be_bytes());
        if has_cid {
            out[text_start + content_len] = content_type.0;
        }
        let (text_start, text_end) = (text_start as u16, datagram_len as u16);
        if !has(Bug::SequenceTakenAfterSealing) {
            self.write_sequence = sequence + 1;
        }
        Ok(SealPlan(Place { start: 0, text_start, text_end, aead }))
    }

    /// The work for `aead::seal`; `out` is the one that was planned with, content included.
    #[inline]
    pub fn seal_job<'a>(&'a self, plan: &SealPlan, out: &'a mut [u8]) -> Job<'a> {
        let SealPlan(place) = *plan;
        let key_bytes = place.aead.key_bytes();
        job(place, &self.keys_and_cid[key_bytes..2 * key_bytes], self.write_iv, out)
    }

    /// A planned record is sealed. Nothing is left to do: its number was taken when it was planned.
    #[inline]
    pub fn on_sealed(&mut self) {
        if has(Bug::SequenceTakenAfterSealing) {
            self.write_sequence += 1;
        }
    }

    /// Seals one record at once and returns its length, for callers with no batch.
    pub fn seal(
        &mut self,
        content_type: ContentType,
        content: &[u8],
        out: &mut [u8],
    ) -> Result<usize, SealError> {
        let plan = self.plan_seal(content_type, content.len(), out)?;
        out[self.header_len()..][..content.len()].copy_from_slice(content);
        aead::seal(&mut [self.seal_job(&plan, out)]);
        self.on_sealed();
        Ok(plan.datagram_len())
    }

    /// The suite; `None` if the bytes are none of this crate's.
    pub fn suite(&self) -> Option<Suite> {
        Suite::from_code(self.suite)
    }
    /// What records toward the peer carry; empty for none.
    pub fn peer_cid(&self) -> &[u8] {
        self.aead().and_then(|aead| self.peer_cid_behind(aead)).unwrap_or_default()
    }
    /// Length of what records toward us carry, bytes; 0 for none.
    #[inline]
    pub fn own_cid_len(&self) -> usize {
        self.own_cid_len.into()
    }
    /// Whether the master secret is bound to the handshake (RFC 7627).
    pub fn has_extended_master_secret(&self) -> bool {
        self.flags & EXTENDED_MASTER_SECRET != 0
    }
    /// Whether a new address of the peer is checked before it is used (RFC 9853).
    #[inline]
    pub fn has_return_routability(&self) -> bool {
        self.flags & RETURN_ROUTABILITY != 0
    }
    /// The number the next sealed record takes.
    pub fn write_sequence(&self) -> u64 {
        self.write_sequence
    }
    /// How many records did not authenticate.
    pub fn failed_opens(&self) -> u16 {
        self.failed_opens
    }
    /// Nothing can be sent or received any more: closed, or too many records did not authenticate.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.flags & CLOSED != 0 || self.failed_opens == FAILED_OPENS_MAX
    }
    /// Overwrites everything, keys first, with zeros; a wiped association is `Corrupt`.
    pub fn wipe(&mut self) {
        self.as_mut_bytes().zeroize();
    }

    #[inline]
    fn aead(&self) -> Option<Aead> {
        Suite::from_code(self.suite).map(Suite::aead)
    }
    /// The Connection ID toward the peer behind the two keys; `None` when it is longer than any.
    #[inline]
    fn peer_cid_behind(&self, aead: Aead) -> Option<&[u8]> {
        let len = usize::from(self.peer_cid_len);
        let room = &self.keys_and_cid[2 * aead.key_bytes()..];
        if len <= CID_BYTES_MAX { room.get(..len) } else { None }
    }
    pub(crate) fn has_flag(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
    pub(crate) fn set_last_flight(&mut self) {
        self.flags |= LAST_FLIGHT;
    }
    pub(crate) fn set_closed(&mut self) {
        self.flags |= CLOSED;
    }

    /// What RFC 9146 section 3 and RFC 6347 section 4.1 say before any key is touched.
    #[inline]
    fn judge(&self, record: &Record) -> Result<(), Drop> {
        if record.epoch != EPOCH {
            return Err(Drop::Epoch);
        }
        if record.version != DTLS_1_2 {
            return Err(Drop::Version);
        }
        let has_cid = record.content_type == ContentType::TLS12_CID;
        if self.own_cid_len > 0 {
            let is_ours = has_cid && record.cid().len() == usize::from(self.own_cid_len);
            return if is_ours { Ok(()) } else { Err(Drop::CidMissing) };
        }
        match record.content_type {
            ContentType::ALERT
            | ContentType::HANDSHAKE
            | ContentType::APPLICATION_DATA
            | ContentType::RETURN_ROUTABILITY_CHECK => Ok(()),
            _ => Err(Drop::ContentType),
        }
    }
}

impl std::fmt::Debug for Established {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Established")
            .field("suite", &self.suite())
            .field("own_cid_len", &self.own_cid_len)
            .field("peer_cid", &self.peer_cid())
            .field("write_sequence", &self.write_sequence)
            .field("replay", &self.replay)
            .field("failed_opens", &self.failed_opens)
            .finish_non_exhaustive()
    }
}

/// Where the parts of a protected record stand in its datagram.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Of the header.
    start: u16,
    /// Behind the explicit nonce.
    text_start: u16,
    /// Behind the tag: the end of the record.
    text_end: u16,
    aead: Aead,
}

impl Place {
    #[inline]
    fn text(self) -> Range<usize> {
        self.text_start.into()..self.text_end.into()
    }
}

/// How to open one record.
#[derive(Clone, Copy, Debug)]
pub struct OpenPlan {
    sequence: u64,
    place: Place,
    content_type: ContentType,
}

/// What was in a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The real type, also when a Connection ID hid it.
    pub content_type: ContentType,
    /// Where the plaintext stands in the datagram; may be empty.
    pub content: Range<usize>,
    /// Newer than every record before it: the peer's address may follow (RFC 9146 section 6).
    pub is_newest: bool,
}

/// How to seal one record.
#[derive(Clone, Copy, Debug)]
pub struct SealPlan(Place);

impl SealPlan {
    /// Length of the record, header and tag included, bytes.
    #[inline]
    pub fn datagram_len(&self) -> usize {
        self.0.text_end.into()
    }
}

/// Why nothing can be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// The epoch has no number left: close the association (RFC 6347 section 4.1).
    SequenceExhausted,
    /// The buffer is too short.
    NoRoom,
    /// More content than one record may carry.
    TooLong,
    /// The association is closed.
    Closed,
    /// The stored association is not one that this crate wrote.
    Corrupt,
}

/// The work on one record. Nonce and additional data follow from its header, which stands in
/// `datagram` as it was received, or as it will be sent.
#[inline]
fn job<'a>(
    place: Place,
    key: &'a [u8],
    iv: [u8; FIXED_IV_BYTES],
    datagram: &'a mut [u8],
) -> Job<'a> {
    let (head, text) = datagram[place.start.into()..place.text_end.into()]
        .split_at_mut(usize::from(place.text_start - place.start));
    let (header, explicit) = head.split_at(head.len() - EXPLICIT_NONCE_BYTES);
    let mut nonce = [0; NONCE_BYTES];
    nonce[..FIXED_IV_BYTES].copy_from_slice(&iv);
    nonce[FIXED_IV_BYTES..].copy_from_slice(explicit);
    let aad = aad(header, text.len() - place.aead.tag_bytes());
    Job::new(place.aead, key, nonce, aad, text)
}

/// What is authenticated beside the plaintext of `plaintext_len` bytes: RFC 5246 section 6.2.3.3,
/// and with a Connection ID RFC 9146 section 5.3. `header` ends with the fragment's length.
#[inline]
fn aad(header: &[u8], plaintext_len: usize) -> Aad {
    let (fixed, cid_and_len) = header.split_at(11);
    let cid = &cid_and_len[..cid_and_len.len() - 2];
    let mut aad = Aad::EMPTY;
    if fixed[0] == ContentType::TLS12_CID.0 {
        let kind = fixed[0];
        aad.push(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, kind, cid.len() as u8, kind]);
        // Version, epoch and sequence number.
        aad.push(&fixed[1..11]);
        aad.push(cid);
    } else {
        aad.push(&fixed[3..11]);
        aad.push(&fixed[..3]);
    }
    aad.push(&(plaintext_len as u16).to_be_bytes());
    aad
}
