//! What does a worker count? The names, in the order in which the values cross the ring: what
//! became of datagrams, what else happened, what there is.
//!
//! The first line of each is what people read in the metrics.

macro_rules! counters {
    ($(#[$doc:meta])* $name:ident, $all:ident {
        $($(#[doc = $help:literal])+ $variant:ident => $text:literal),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[doc = $help])+ $variant),+ }
        impl $name {
            /// All of them, in counter order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The name in metrics and logs.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
            /// What it counts, in a sentence.
            pub fn help(self) -> &'static str {
                match self { $(Self::$variant => concat!($($help),+)),+ }
            }
        }
        /// How many there are.
        pub const $all: usize = $name::ALL.len();
    };
}

counters! {
    /// How a datagram ended.
    Fate, FATES {
        /// A record was authentic and was dealt with.
        Accepted => "accepted",
        /// Moved a handshake on.
        Handshake => "handshake",
        /// A ClientHello without a valid cookie, answered by a HelloVerifyRequest.
        HelloVerified => "hello_verified",
        /// Given to the worker that owns the session.
        HandedOver => "handed_over",
        /// No bytes.
        Empty => "drop_empty",
        /// Longer than the largest datagram we take.
        Truncated => "drop_truncated",
        /// Not a DTLS record: too short, another protocol, lengths that do not fit.
        NotDtls => "drop_not_dtls",
        /// A record of a version we do not speak.
        Version => "drop_version",
        /// A Connection ID that names no session of ours.
        UnknownCid => "drop_unknown_cid",
        /// A protected record from an address without a session.
        UnknownPeer => "drop_unknown_peer",
        /// A protected record without the Connection ID its session uses.
        CidExpected => "drop_cid_expected",
        /// An unprotected record that belongs to no handshake.
        Unprotected => "drop_unprotected",
        /// An epoch the session does not have.
        Epoch => "drop_epoch",
        /// A sequence number seen before, or too old to tell.
        Replayed => "drop_replayed",
        /// The tag does not fit.
        NotAuthentic => "drop_not_authentic",
        /// For a session that has just ended, or whose slot holds nothing usable.
        SessionDead => "drop_session_dead",
        /// Authentic, but its content can't be used: wrong type, malformed.
        Unusable => "drop_unusable",
        /// A handshake message that can't be parsed.
        HandshakeMalformed => "drop_handshake_malformed",
        /// A handshake message that has no place now: repeated, out of order beyond the buffer.
        HandshakeUnexpected => "drop_handshake_unexpected",
        /// A proven ClientHello, and all handshakes or session slots are in use.
        NoRoom => "drop_no_room",
        /// A proven ClientHello from a source that has its share of handshakes under way.
        SourceLimit => "drop_source_limit",
        /// Plain CoAP from an address that belongs to no device.
        NoSecStranger => "drop_nosec_stranger",
        /// From the address of a device without a session, and not a CoAP message.
        NotCoap => "drop_not_coap",
        /// For another worker whose hand-over queue is full or that does not exist.
        HandoverFull => "drop_handover_full",
    }
}

counters! {
    /// Other things worth counting.
    Tally, TALLIES {
        /// Datagrams put into the outbox.
        Sent => "datagrams_sent",
        /// Datagrams not sent because the outbox was full.
        OutboxFull => "outbox_full",
        /// Handshakes completed.
        SessionUp => "session_up",
        /// Handshakes completed by resuming an earlier session.
        SessionResumed => "session_resumed",
        /// ClientHellos that named a session which is not here, or too old.
        ResumptionUnknown => "resumption_unknown",
        /// Sessions that are not resumed any more because of a fatal alert or a changed credential.
        ResumptionForgotten => "resumption_forgotten",
        /// What one worker had to tell another and had no room for.
        LetterLost => "letter_lost",
        /// Sessions that we began to open to a device.
        Connect => "connect",
        /// Sessions that we opened to a device.
        Connected => "session_connected",
        /// Sessions we could not open: no answer, another key, no room.
        ConnectFailed => "connect_failed",
        /// Sessions ended, for any reason.
        SessionDown => "session_down",
        /// Sessions ended to make room.
        Evicted => "session_evicted",
        /// Handshakes that failed, for any of the reasons that follow.
        HandshakeFailed => "handshake_failed",
        /// Of a device that is known: what it and we hold does not fit, or it did not hear us.
        HandshakeKnown => "handshake_failed_known_device",
        /// The peer fell silent.
        HandshakeTimeout => "handshake_failed_timeout",
        /// An identity, a certificate or a raw public key that belongs to no device.
        HandshakeUnknown => "handshake_failed_unknown_device",
        /// A known identity with another key.
        HandshakeWrongKey => "handshake_failed_wrong_key",
        /// A certificate that is missing, expired, unreadable, or whose authority is not ours.
        HandshakeCertificate => "handshake_failed_certificate",
        /// Nothing in common: version, suite, group, certificate type, extended master secret.
        HandshakeNothingCommon => "handshake_failed_nothing_common",
        /// Messages that no honest peer sends, or that someone changed on the way.
        HandshakeMalformed => "handshake_failed_malformed",
        /// The peer said so by an alert.
        HandshakeRefused => "handshake_failed_refused",
        /// The control plane could not say whose the credential is: the device tries again.
        HandshakeUnavailable => "handshake_failed_unavailable",
        /// Peer addresses moved by a newer authentic record.
        AddressMoved => "address_moved",
        /// New addresses that a device was asked to answer at.
        PathChallenge => "path_challenge",
        /// New addresses at which no answer came in time.
        PathTimeout => "path_timeout",
        /// New addresses at which the device wants nothing (path_drop).
        PathDropped => "path_dropped",
        /// New addresses not checked because too many were being checked.
        PathNoRoom => "path_no_room",
        /// Answers to no challenge of ours, or from elsewhere.
        PathInvalid => "path_invalid",
        /// Challenges of devices answered.
        PathAnswered => "path_answered",
        /// Flight 6 sent again because the client repeated its Finished.
        FinishedRepeated => "finished_repeated",
        /// Credentials asked of the control plane.
        CredentialWanted => "credential_wanted",
        /// Credentials served from memory.
        CredentialRemembered => "credential_remembered",
        /// Requests received for the first time.
        Request => "request",
        /// Requests received again and answered from memory.
        RequestRepeated => "request_repeated",
        /// Requests to the echo path, answered at once.
        Echo => "request_echo",
        /// Requests put on the uplink ring.
        Uplink => "uplink",
        /// Requests refused because the uplink ring or the exchange table was full.
        UplinkRefused => "uplink_refused",
        /// Requests answered 4.xx by the worker itself.
        RequestRejected => "request_rejected",
        /// Requests answered 4.03 because no policy of the device allows them.
        RequestForbidden => "request_forbidden",
        /// Notifications of devices put on the uplink ring.
        Notification => "notification",
        /// Notifications of devices that were older than the last one.
        NotificationStale => "notification_stale",
        /// Notifications of devices without room for them, or whose later blocks did not come.
        NotificationLost => "notification_lost",
        /// Notifications for devices taken from the control plane.
        Notify => "notify",
        /// Requests answered 4.01 with a challenge, for want of a fresh Echo value.
        RequestUnfresh => "request_unfresh",
        /// Requests beyond the quota of the device or its account: 4.29, or silence for a NON.
        RequestLimited => "request_limited",
        /// Requests of sessions whose class no policy sheet has yet.
        ClassUnknown => "class_unknown",
        /// Bodies begun by a first block.
        UploadBegun => "upload_begun",
        /// Bodies that came whole, block by block.
        UploadWhole => "upload_whole",
        /// Blocks of bodies whose beginning is not there: 4.08.
        UploadIncomplete => "upload_incomplete",
        /// Blocks of bodies that are longer than they may be: 4.13.
        UploadTooLarge => "upload_too_large",
        /// Blocks for which there was no room: 5.03, or silence for a NON.
        UploadNoRoom => "upload_no_room",
        /// Bodies forgotten before they were whole: too old, or in the way of others.
        UploadForgotten => "upload_forgotten",
        /// Lists of missing blocks sent to devices: 4.08 (RFC 9177).
        UploadAsked => "upload_asked",
        /// Blocks of bodies that were whole before (RFC 9177).
        UploadBlockLate => "upload_block_late",
        /// Answers of applications that devices read block by block.
        AnswerLong => "answer_long",
        /// Of them, those whose blocks go without being asked for one by one (RFC 9177).
        AnswerQuick => "answer_quick",
        /// Blocks of such answers that devices missed and asked for.
        AnswerBlockMissing => "answer_block_missing",
        /// Requests whose outcome did not come in time.
        ResponseTimeout => "response_timeout",
        /// CoAP messages that were not well formed.
        MessageMalformed => "message_malformed",
        /// CoAP messages that match nothing: stray ACK, RST or response.
        MessageStray => "message_stray",
        /// CoAP pings.
        Ping => "ping",
        /// Separate responses that were never acknowledged.
        ResponseLost => "response_lost",
        /// Retransmitted messages of ours.
        Retransmission => "retransmission",
        /// Downlink requests started.
        Downlink => "downlink",
        /// Downlink requests and answers refused: no session, no room, malformed.
        DownlinkRefused => "downlink_refused",
        /// Trust sheets taken into use.
        Trust => "trust",
        /// Trust sheets, or pieces of one, that could not be used; the last good sheet stays.
        TrustRefused => "trust_refused",
        /// Policy sheets taken into use.
        Policies => "policies",
        /// Policy sheets, or pieces of one, that could not be used; the last good sheet stays.
        PoliciesRefused => "policies_refused",
        /// Entries of the control plane that could not be used.
        EntryRefused => "entry_refused",
        /// Outcomes and notices lost because the uplink ring was full to the brim.
        NoticeLost => "notice_lost",
        /// Notices told for the customer's log.
        Notice => "notice",
        /// Notices for the customer's log left out: too many, or too little room on the ring.
        NoticeShed => "notice_shed",
        /// Datagrams of those we know that the kernel dropped because a receive buffer was full.
        KernelDropped => "kernel_dropped",
        /// Datagrams of strangers, handshakes most of them, that the kernel dropped because a
        /// receive buffer was full.
        StrangersDropped => "strangers_dropped",
        /// Datagrams that the kernel refused to send.
        SendRefused => "send_refused",
    }
}

counters! {
    /// What there is right now.
    Gauge, GAUGES {
        /// Sessions, and slots kept for handshakes.
        Sessions => "sessions",
        /// Sessions there may be.
        SessionsMax => "sessions_max",
        /// Sessions that can be resumed.
        Resumable => "resumable_sessions",
        /// Handshakes under way.
        Handshakes => "handshakes_in_progress",
        /// Requests of devices that wait for their outcome, or for copies of themselves.
        Exchanges => "exchanges",
        /// Requests for devices under way or waiting for their turn.
        Downlinks => "downlinks",
        /// Resources of devices that applications observe.
        Observations => "observations",
        /// Bodies that come block by block and are not whole yet.
        Uploads => "uploads",
        /// Bytes of memory in use for them.
        UploadBytes => "upload_bytes",
        /// Bytes of memory there are for them.
        UploadBytesMax => "upload_bytes_max",
        /// Bytes on the ring to the control plane that it has not released.
        RingBacklog => "uplink_ring_backlog_bytes",
        /// Bytes that ring holds.
        RingCapacity => "uplink_ring_capacity_bytes",
    }
}
