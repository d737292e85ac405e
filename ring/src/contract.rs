//! What crosses the rings? Every entry, its fixed layout, and who sends it to whom.
//!
//! An entry is `kind` (in the ring's entry header), one fixed struct from this file, and a tail of
//! bytes whose meaning stands at the struct. All integers are little-endian in memory (both sides
//! are the same machine). Every field read is checked as if hostile: the parsers below return
//! `None` instead of trusting a length, and enums travel as `u8` and are parsed.
//!
//! CoAP messages cross as the bytes of RFC 7252 section 3. Towards a worker their type and code
//! count, their Message ID and token are zero/empty: the worker assigns both.

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Changes whenever a layout or a meaning in this file changes; rings of another version are
/// refused when they are opened.
pub const CONTRACT_VERSION: u32 = 9;

/// Longest tail an entry may carry, bytes. *Why:* one CoAP message in one DTLS record, or one
/// identity (256) or key (256); longer bodies cross in pieces ([`Body`]).
pub const TAIL_BYTES_MAX: usize = 2048;

/// Longest body of a device's request or response that crosses, bytes. *Why:* a quarter of a ring,
/// so that one body never stands in the way of everything else.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// Longest trust sheet, bytes.
pub const TRUST_BYTES_MAX: usize = 1 << 20;

/// Most requests outstanding with one device (NSTART of RFC 7252 section 4.7).
pub const NSTART_MAX: usize = 8;

/// In [`Published`]: the worker's own window.
pub const OWN_WINDOW: u32 = u32::MAX;

/// Longest policy sheet, bytes.
pub const POLICIES_BYTES_MAX: usize = 1 << 20;

/// A wireless device's id: the bytes of its UUID.
pub type DeviceId = [u8; 16];
/// A downlink message's id: the bytes of its UUID.
pub type MessageId = [u8; 16];
/// How the id begins by which a long value of the edge's own is read; what follows is its version.
pub const VALUE_PREFIX: [u8; 8] = *b"resource";

/// Names one DTLS session of one worker: `worker:8 | slot:24 | generation:32`, most significant
/// first. A session that was replaced has another generation, so a stale reference finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionRef(pub u64);

impl SessionRef {
    /// Builds a reference; `slot` keeps its low 24 bits.
    pub fn new(worker: u8, slot: u32, generation: u32) -> Self {
        Self(u64::from(worker) << 56 | u64::from(slot & 0xff_ffff) << 32 | u64::from(generation))
    }
    /// The worker that owns the session.
    pub fn worker(self) -> u8 {
        (self.0 >> 56) as u8
    }
    /// The slot in that worker's slab.
    pub fn slot(self) -> u32 {
        (self.0 >> 32) as u32 & 0xff_ffff
    }
    /// The slot's generation when the session was made.
    pub fn generation(self) -> u32 {
        self.0 as u32
    }
}

macro_rules! wire_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $value:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* $variant = $value),+ }
        impl $name {
            /// Parses the byte that crossed; `None` for a value this version does not know.
            pub fn from_wire(byte: u8) -> Option<Self> {
                match byte { $($value => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

wire_enum! {
    /// The kind of an entry. 1–31 go from a worker to the control plane, 32–63 the other way.
    Kind {
        /// [`Hello`]: a worker started (or restarted); everything it held in memory is gone, its
        /// sessions are not.
        Hello = 1,
        /// [`Uplink`] + the request as received (RFC 7252 bytes, token and options included).
        Uplink = 2,
        /// [`CredentialWanted`] + the name that its [`Claim`] describes.
        CredentialWanted = 3,
        /// [`Outcome`] + the device's response as received, when there is one.
        Outcome = 4,
        /// [`SessionUp`] + the name under which the device was let in (as in
        /// [`CredentialWanted`]); empty when the session was resumed.
        SessionUp = 5,
        /// [`SessionDown`], no tail.
        SessionDown = 6,
        /// [`Counters`] + `count` little-endian `u64`, in the order of the dataplane's enum.
        Counters = 7,
        /// [`ConnectFailed`], no tail.
        ConnectFailed = 8,
        /// [`Notice`] + what its [`Event`] describes: the first to be left out when there is much
        /// to tell.
        Notice = 9,
        /// [`Body`] + a piece of it: the body of the [`Uplink`] or [`Outcome`] behind its pieces.
        Body = 10,
        /// [`Wanted`], no tail: a piece of a body that goes to a device.
        Wanted = 11,
        /// [`Notification`] + the notification as received: what an application observes has
        /// another state.
        Notification = 12,
        /// [`Credential`] + the pre-shared key (empty unless the verdict is `Known`).
        Credential = 32,
        /// [`CredentialDropped`], no tail: forget the cached credential of the device.
        CredentialDropped = 33,
        /// [`Published`], no tail: what became of an [`Uplink`].
        Published = 34,
        /// [`Answer`] + the application's response to a GET or POST (code, options, payload).
        Answer = 35,
        /// [`Downlink`] + a request for the device (type, code, options, payload).
        Downlink = 36,
        /// [`Cancel`], no tail: do not send this downlink any more, and observe nothing by it.
        Cancel = 37,
        /// [`SessionEnd`], no tail: end this session (replaced elsewhere, or no longer wanted).
        SessionEnd = 38,
        /// [`Trust`] + a piece of the trust sheet (layout in [`crate::trust`]).
        Trust = 39,
        /// [`Connect`] + the PSK identity, then the key.
        Connect = 40,
        /// [`Policies`] + a piece of the policy sheet (layout in [`crate::policy`]).
        Policies = 41,
        /// [`Class`], no tail: the session belongs to another class from now on.
        Class = 42,
        /// [`Piece`] + that piece; empty when the control plane does not have it (any more).
        Piece = 43,
        /// [`Downlink`] + a response with the token of a device's request: a notification of what
        /// the device observes. Of a longer body (`body_bytes`) the tail has the beginning.
        Notify = 44,
    }
}

wire_enum! {
    /// Which network block of the device record the credential came from.
    Network { /// `Cellular` (known by IMEI).
        Cellular = 1, /// `WiFi` (known by MAC address).
        WiFi = 2 }
}

wire_enum! {
    /// How a device says who it is (RFC 7252 section 9), and what stands in the tail.
    Claim {
        /// PreSharedKey: the PSK identity.
        PskIdentity = 1,
        /// RawPublicKey: the DER of its SubjectPublicKeyInfo; the device proved to own the key.
        RawPublicKey = 2,
        /// Certificate: SHA-256 of the leaf (32 bytes), then its names, each a little-endian `u16`
        /// length and UTF-8: `CN=…` from the subject, `DNS:…`, `URI:…` from the SAN. The chain is
        /// validated and the device proved to own the key.
        Certificate = 3,
        /// NoSec: the source address as the trust sheet has it, 16 bytes and a little-endian port
        /// (0: any); never in [`CredentialWanted`].
        Address = 4,
    }
}

wire_enum! {
    /// What the control plane knows about an identity.
    Verdict { /// The tail is the key.
        Known = 1, /// No device has this identity.
        Unknown = 2, /// The store can't say now: drop the handshake, the device tries again.
        Unavailable = 3 }
}

wire_enum! {
    /// What became of an uplink; decides the response code (design section 8).
    Publication { /// The promise is kept (broker PUBACK, or synced store): 2.04 / 2.02.
        Confirmed = 1, /// Broker down or too slow: 5.03 with Max-Age.
        Unavailable = 2, /// The device has no destination, or its rule is gone: 4.04.
        NoRoute = 3, /// Not authorised: 4.03.
        Forbidden = 4, /// Published, and the application is expected to answer (GET, POST).
        AwaitingAnswer = 5, /// Longer than the device's profile allows: 4.13.
        TooLarge = 6, /// If-Match or If-None-Match does not hold: 4.12.
        NotFulfilled = 7 }
}

wire_enum! {
    /// A step in a downlink's life.
    Step { /// Left this machine at least once.
        Sent = 1, /// Acknowledged by the device (ACK, or a response that implies it).
        Delivered = 2, /// The device's response is in the tail.
        Responded = 3, /// Will not be sent again; `reason` says why.
        Failed = 4 }
}

wire_enum! {
    /// Why a downlink failed.
    FailReason { /// No reason: the step is not `Failed`.
        None = 0, /// MAX_RETRANSMIT without an ACK (RFC 7252 section 4.2).
        Timeout = 1, /// The device answered RST.
        Reset = 2, /// The session named is gone, or none could be opened to the device.
        NoSession = 3, /// No free exchange, or the worker's queue for the device is full.
        Busy = 4, /// The request that the answer belongs to is gone (answered, timed out).
        TokenGone = 5, /// Cancelled before it was sent.
        Cancelled = 6, /// The message does not fit a record, or is not a CoAP message; or the blocks
        /// of the device's response do not fit each other.
        Malformed = 7, /// The device's response is longer than it may be, or there is no room.
        TooLarge = 8 }
}

wire_enum! {
    /// What a device's owner may want to know, and what stands in the tail.
    Event {
        /// The worker itself answered 4.xx or 5.xx, or nothing because the request was a NON: the
        /// path as [`crate::policy::Path`] writes it, cut where it is too long.
        Refused = 1,
        /// An application answered 4.xx or 5.xx: the path, as above but for its shorter bound.
        Answered = 2,
        /// No outcome came in time, the device was answered 5.03 or 5.04: the same.
        TimedOut = 3,
        /// A handshake of a known device failed: no tail.
        HandshakeFailed = 4,
        /// A handshake failed before the device had proven anything: the name it claimed, which
        /// anyone could have, as in [`CredentialWanted`]; its [`Claim`] stands in `code`.
        HandshakeUnproven = 5,
        /// The control plane did not take the request, the device was answered an error: the same.
        Unpublished = 6,
    }
}

wire_enum! {
    /// Why a handshake of a device failed.
    Mishap { /// The peer fell silent.
        Timeout = 1, /// A known identity with another key.
        WrongKey = 2, /// The certificate has expired, or is not valid yet.
        CertificateExpired = 3, /// The certificate's authority is not one of ours.
        UnknownAuthority = 4, /// The certificate is missing, damaged or of no use here.
        BadCertificate = 5, /// Nothing in common: version, suite, group, extension.
        NothingCommon = 6, /// Messages that no honest peer sends, or changed on the way.
        Malformed = 7, /// The peer said so by an alert.
        PeerAlert = 8, /// Nobody could say whose the credential is.
        Unavailable = 9, /// It may not use what it came with.
        AccessDenied = 10 }
}

wire_enum! {
    /// Why a session ended.
    EndReason { /// The device said close_notify.
        Closed = 1, /// Replaced by a newer session of the same device.
        Replaced = 2, /// Its credential was dropped.
        CredentialDropped = 3, /// Idle longer than the configured time.
        Idle = 4, /// A fatal alert, or too many records that did not authenticate.
        Broken = 5, /// The slab was full and this was the longest idle session.
        Evicted = 6 }
}

macro_rules! layout {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident : $ty:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
        #[repr(C)]
        pub struct $name { $($(#[$fdoc])* pub $field: $ty),+ }
        impl $name {
            /// Splits an entry's bytes into this struct and its tail; `None` when too short.
            pub fn split(entry: &[u8]) -> Option<(&Self, &[u8])> {
                Self::ref_from_prefix(entry).ok()
            }
        }
    };
}

layout! {
    /// First entry of a worker's life.
    Hello { /// Random per process start.
        incarnation: U64, /// Which worker.
        worker: u8, /// How many workers this dataplane runs.
        workers: u8 }
}
layout! {
    /// One request of a device, to be published. Not released before its [`Published`] is sent.
    Uplink { /// Names the exchange that waits for [`Published`] and perhaps [`Answer`].
        exchange: U64, /// The authenticated sender.
        device: DeviceId, /// Its session now ([`SessionRef`]): where downlinks can go.
        session: U64, /// Unix time of receipt, milliseconds.
        received_unix_ms: U64, /// The class by which it was let through.
        class: U16, /// [`Network`].
        network: u8, /// 1 when the request is a GET, POST, FETCH: an answer is awaited.
        answer_awaited: u8, /// Bytes of its body, when that crossed in pieces ([`Body`]) and the
        /// tail has none; 0: the payload in the tail is all.
        body_bytes: U32 }
}
layout! {
    /// A piece of a body that came block by block (RFC 7959). The pieces of one body come in order,
    /// from its beginning, with nothing between them, and its [`Uplink`] behind the last: they are
    /// released with it. Pieces without it are what a worker left that was killed.
    Body { /// The exchange of the [`Uplink`]; of an [`Outcome`], [`name_of_message`].
        exchange: U64, /// Where this piece belongs, bytes.
        offset: U32, /// Length of the whole body, bytes, at most [`BODY_BYTES_MAX`].
        total: U32 }
}
layout! {
    /// A handshake is parked until the credential for this identity comes.
    CredentialWanted { /// Echoed in [`Credential`].
        request: U64, /// [`Claim`].
        claim: u8 }
}
layout! {
    /// A step in a downlink's life. Exactly one entry per message has `is_final` = 1.
    Outcome { /// Which message.
        message_id: MessageId, /// Its device.
        device: DeviceId, /// Unix time, milliseconds.
        at_unix_ms: U64, /// [`Step`].
        step: u8, /// [`FailReason`].
        reason: u8, /// 1: nothing follows for this message.
        is_final: u8, /// [`Network`] of the session, for the uplink JSON of a response.
        network: u8, /// Bytes of the response's body, when that crossed in pieces ([`Body`]) and the
        /// tail has none; 0: the payload in the tail is all.
        body_bytes: U32 }
}
layout! {
    /// A handshake completed.
    SessionUp { /// The authenticated device.
        device: DeviceId, /// [`SessionRef`].
        session: U64, /// Unix time, milliseconds.
        at_unix_ms: U64, /// Cipher suite, IANA number.
        suite: U16, /// Peer port.
        peer_port: U16, /// Peer address, IPv4 as mapped IPv6.
        peer_ip: [u8; 16], /// From [`Credential`], [`Connect`] or the trust sheet: what was valid.
        stamp: U64, /// From the same: which policies and quotas count for it.
        class: U16, /// 1 when records towards us carry a Connection ID.
        has_cid: u8, /// [`Network`].
        network: u8, /// [`Claim`].
        claim: u8, /// 1 when an earlier session was resumed.
        resumed: u8, /// 1 when we opened it ([`Connect`]).
        connected: u8 }
}
layout! {
    /// A session ended.
    SessionDown { /// Its device.
        device: DeviceId, /// [`SessionRef`].
        session: U64, /// Unix time, milliseconds.
        at_unix_ms: U64, /// [`EndReason`].
        reason: u8 }
}
layout! {
    /// A snapshot of the worker's counters, once a second while they change.
    Counters { /// How many `u64` follow.
        count: U32 }
}
layout! {
    /// The answer to [`CredentialWanted`].
    Credential { /// From [`CredentialWanted`].
        request: U64, /// The device of the identity (zero unless `Known`).
        device: DeviceId, /// Changes whenever a credential of the device does; a resumed session
        /// carries the one it was made with, so that the control plane can refuse it.
        stamp: U64, /// Which policies and quotas of the policy sheet count for the device.
        class: U16, /// [`Verdict`].
        verdict: u8, /// [`Network`] whose block holds the identity (0 unless `Known`).
        network: u8 }
}
layout! {
    /// The device was deleted or a credential of it changed: forget it, and what could be resumed.
    /// Its sessions are ended by [`SessionEnd`].
    CredentialDropped { /// Which device.
        device: DeviceId }
}
layout! {
    /// A piece of the trust sheet: certificate authorities, the server's own identities, and the
    /// devices without security. Pieces come in order, from 0 on; the sheet counts when it is
    /// whole, and a batch sees one of them. Sent when a worker says [`Hello`] and on each change.
    Trust { /// Grows with each sheet; a piece of another one begins anew.
        generation: U64, /// Where this piece belongs, bytes.
        offset: U32, /// Length of the whole sheet, bytes, at most [`TRUST_BYTES_MAX`].
        total: U32 }
}
layout! {
    /// A piece of the policy sheet: what classes of devices may ask for and how often. Pieces come
    /// as those of [`Trust`] do.
    Policies { /// Grows with each sheet; a piece of another one begins anew.
        generation: U64, /// Where this piece belongs, bytes.
        offset: U32, /// Length of the whole sheet, bytes, at most [`POLICIES_BYTES_MAX`].
        total: U32 }
}
layout! {
    /// The device's policies or its account changed: its session goes on in another class. Ignored
    /// unless the session is still that device's.
    Class { /// Which device.
        device: DeviceId, /// Which session ([`SessionRef`]).
        session: U64, /// Of the policy sheet.
        class: U16 }
}
layout! {
    /// Something for the customer's log. Never waited for: what finds no room is counted.
    Notice { /// Which device; zero when the event says that it is not known.
        device: DeviceId, /// Its session ([`SessionRef`]); zero when it has none.
        session: U64, /// Unix time, milliseconds.
        at_unix_ms: U64, /// The class the session is in.
        class: U16, /// [`Event`].
        event: u8, /// The method of the request, CoAP code; 0 where there is none.
        method: u8, /// What it was answered, CoAP code; 0: nothing.
        code: u8, /// [`Mishap`] of a handshake; of a refused request what it was, or would have been,
        /// answered.
        detail: u8, /// 1 when the request was Confirmable.
        confirmable: u8, /// The request's Message ID.
        mid: U16 }
}
layout! {
    /// Open a session to a device (the edge is the DTLS client). Answered by [`SessionUp`] with
    /// `connected` = 1, or by [`ConnectFailed`].
    Connect { /// To whom.
        device: DeviceId, /// As in [`Credential`].
        stamp: U64, /// As in [`Credential`].
        class: U16, /// Echoed in [`ConnectFailed`].
        attempt: U64, /// Where it listens, IPv4 as mapped IPv6.
        peer_ip: [u8; 16], /// And on which port.
        peer_port: U16, /// How much of the tail is the identity, bytes; the rest is the key.
        identity_len: U16, /// [`Network`].
        network: u8 }
}
layout! {
    /// The device did not answer, or not with the right key.
    ConnectFailed { /// Which device.
        device: DeviceId, /// From [`Connect`].
        attempt: U64 }
}
layout! {
    /// Ends one session; ignored unless it is still that device's.
    SessionEnd { /// Which device.
        device: DeviceId, /// Which session ([`SessionRef`]).
        session: U64, /// [`EndReason`], echoed in [`SessionDown`].
        reason: u8 }
}
layout! {
    /// What became of an [`Uplink`].
    Published { /// From [`Uplink`].
        exchange: U64, /// Max-Age of a 5.03, seconds.
        max_age_s: U32, /// With `AwaitingAnswer`: how long the ACK is held back for an answer,
        /// ms since the request came; [`OWN_WINDOW`]: the worker's own.
        piggyback_window_ms: U32, /// How it is responded to; with `AwaitingAnswer`, how long it may
        /// go without an answer.
        terms: Terms, /// [`Publication`].
        publication: u8 }
}
layout! {
    /// How to speak with a device: what its application profile says. 0: the worker's own.
    Terms { /// ACK_TIMEOUT, ms.
        ack_timeout_ms: U32, /// How long a request, of either side, waits for its response, ms.
        response_timeout_ms: U32, /// ACK_RANDOM_FACTOR, percent.
        ack_random_percent: U16, /// MAX_RETRANSMIT and 1.
        max_retransmit_plus_1: u8, /// NSTART, at most [`NSTART_MAX`].
        nstart: u8 }
}
layout! {
    /// An application's response to a request of the device.
    Answer { /// From [`Uplink`], carried by the ResponseToken.
        exchange: U64, /// For the [`Outcome`]s.
        message_id: MessageId, /// Must be the exchange's device, or the answer is refused.
        device: DeviceId, /// How, when it is no piggybacked one.
        terms: Terms, /// Bytes of its body, when the worker has to ask for them ([`Wanted`]) and
        /// the tail has none; 0: the payload in the tail is all.
        body_bytes: U32 }
}
layout! {
    /// A request for a device. One with Observe 0 registers, until one of the same id with Observe
    /// 1 (RFC 7641).
    Downlink { /// For the [`Outcome`]s.
        message_id: MessageId, /// To whom.
        device: DeviceId, /// Where the device was last seen ([`SessionRef`]).
        session: U64, /// How.
        terms: Terms, /// As in [`Answer`].
        body_bytes: U32 }
}
layout! {
    /// What a device tells of a resource that an application observes (RFC 7641). Newer than all
    /// before of the same message.
    Notification { /// The message that asked for it.
        message_id: MessageId, /// Its device.
        device: DeviceId, /// Unix time of receipt, milliseconds.
        at_unix_ms: U64, /// The Observe option, 24 bits.
        sequence: U32, /// Bytes of its body, when that crossed in pieces ([`Body`], under
        /// [`name_of_message`]) and the tail has none; 0: the payload in the tail is all.
        body_bytes: U32, /// 1: the device tells of it no more.
        is_last: u8, /// [`Network`] of the session.
        network: u8 }
}
layout! {
    /// A device takes a long body block by block: the worker wants the piece that begins at
    /// `offset`. Asked again when no [`Piece`] comes.
    Wanted { /// Echoed in [`Piece`].
        body: U64, /// Whose body.
        message_id: MessageId, /// Its device.
        device: DeviceId, /// Where the piece begins, bytes.
        offset: U32 }
}
layout! {
    /// A piece of a body, as long as fits a tail, or to its end.
    Piece { /// From [`Wanted`].
        body: U64, /// From [`Wanted`].
        offset: U32 }
}
layout! {
    /// Takes back a [`Downlink`] that has not left yet.
    Cancel { /// Which message.
        message_id: MessageId, /// Of which device.
        device: DeviceId, /// Where it waits ([`SessionRef`]).
        session: U64 }
}

/// What the pieces of a response's body are named by: [`Body`] has no room for a whole id, and
/// needs none.
pub fn name_of_message(id: &MessageId) -> u64 {
    u64::from_le_bytes([id[0], id[1], id[2], id[3], id[4], id[5], id[6], id[7]])
}

impl Published {
    /// With the worker's own windows and terms.
    pub fn new(exchange: U64, max_age_s: u32, publication: Publication) -> Self {
        Self {
            exchange,
            max_age_s: max_age_s.into(),
            piggyback_window_ms: OWN_WINDOW.into(),
            terms: Terms::OWN,
            publication: publication as u8,
        }
    }
}

impl Terms {
    /// The worker's own values for everything.
    pub const OWN: Self = Self {
        ack_timeout_ms: U32::ZERO,
        response_timeout_ms: U32::ZERO,
        ack_random_percent: U16::ZERO,
        max_retransmit_plus_1: 0,
        nstart: 0,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ref_keeps_its_three_parts() {
        let session = SessionRef::new(7, 0x12_3456, 0x89ab_cdef);
        assert_eq!(
            (session.worker(), session.slot(), session.generation()),
            (7, 0x12_3456, 0x89ab_cdef)
        );
    }

    #[test]
    fn a_short_entry_is_refused_and_an_unknown_byte_too() {
        assert!(Published::split(&[0; 28]).is_none());
        assert_eq!(Published::split(&[0; 30]).map(|(_, tail)| tail.len()), Some(1));
        assert_eq!(Kind::from_wire(0), None);
        assert_eq!(Kind::from_wire(36), Some(Kind::Downlink));
    }
}
