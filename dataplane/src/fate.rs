//! What became of every datagram, and what else happened? One counter each, never both.
//!
//! *Invariant:* every datagram taken from the network ends in exactly one [`Fate`]; the sum over
//! all fates is the number of datagrams received. A datagram of several records has the fate of
//! its first record that was accepted, or else of its first record.

macro_rules! counters {
    ($(#[$doc:meta])* $name:ident, $all:ident {
        $($(#[$vdoc:meta])* $variant:ident => $text:literal),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }
        impl $name {
            /// All of them, in counter order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The name in metrics and logs.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
        const $all: usize = $name::ALL.len();
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
        /// Requests beyond the quota of the device or its account: 4.29, or silence for a NON.
        RequestLimited => "request_limited",
        /// Requests of sessions whose class no policy sheet has yet.
        ClassUnknown => "class_unknown",
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
    }
}

/// How a datagram ends whose record `dtls` ignored.
impl From<tidegate_dtls::Drop> for Fate {
    fn from(reason: tidegate_dtls::Drop) -> Self {
        use tidegate_dtls::Drop as D;
        match reason {
            D::Truncated | D::NotHello => Self::NotDtls,
            D::Version => Self::Version,
            D::Epoch => Self::Epoch,
            D::CidMissing => Self::CidExpected,
            D::Replayed | D::TooOld => Self::Replayed,
            D::BadTag => Self::NotAuthentic,
            D::ContentType | D::InnerType | D::Oversized | D::AlertIgnored => Self::Unusable,
            D::HelloFragment | D::Malformed | D::FragmentMismatch | D::MessageTooLong => {
                Self::HandshakeMalformed
            }
            D::Repeated | D::TooEarly | D::Unexpected | D::OtherHello => Self::HandshakeUnexpected,
            D::Closed | D::Corrupt => Self::SessionDead,
        }
    }
}

/// Why a handshake failed.
impl From<tidegate_dtls::Failure> for Tally {
    fn from(failure: tidegate_dtls::Failure) -> Self {
        use tidegate_dtls::Failure as F;
        match failure {
            F::Timeout => Self::HandshakeTimeout,
            F::UnknownIdentity | F::UnknownKey | F::AccessDenied => Self::HandshakeUnknown,
            F::WrongKey => Self::HandshakeWrongKey,
            F::NoCertificate
            | F::BadCertificate
            | F::UnsupportedCertificate
            | F::CertificateExpired
            | F::UnknownAuthority
            | F::CertificateUnknown => Self::HandshakeCertificate,
            F::Version
            | F::NoCommonSuite
            | F::NoExtendedMasterSecret
            | F::ResumedWithoutExtendedMasterSecret
            | F::NoCommonCertificateType => Self::HandshakeNothingCommon,
            F::Renegotiation
            | F::Decode
            | F::Illegal
            | F::UnsupportedExtension
            | F::UnexpectedMessage
            | F::Signature
            | F::Finished => Self::HandshakeMalformed,
            F::PeerAlert(_) => Self::HandshakeRefused,
        }
    }
}

/// The counters of one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    values: [u64; FATES + TALLIES],
}

impl Counters {
    /// How many counters there are.
    pub const COUNT: usize = FATES + TALLIES;

    /// Counts a datagram's end.
    pub fn end(&mut self, fate: Fate) {
        self.values[fate as usize] += 1;
    }

    /// Counts something else.
    pub fn tally(&mut self, tally: Tally) {
        self.values[FATES + tally as usize] += 1;
    }

    /// Datagrams that ended so.
    pub fn fate(&self, fate: Fate) -> u64 {
        self.values[fate as usize]
    }

    /// How often it happened.
    pub fn of(&self, tally: Tally) -> u64 {
        self.values[FATES + tally as usize]
    }

    /// All datagrams, whatever became of them.
    pub fn datagrams(&self) -> u64 {
        self.values[..FATES].iter().sum()
    }

    /// All values: the fates, then the tallies, in the order of the enums.
    pub fn values(&self) -> &[u64] {
        &self.values
    }

    /// Names in the order of [`Self::values`].
    pub fn names() -> impl Iterator<Item = &'static str> {
        Fate::ALL.iter().map(|f| f.name()).chain(Tally::ALL.iter().map(|t| t.name()))
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self { values: [0; FATES + TALLIES] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fates_add_up_to_the_datagrams_and_tallies_do_not() {
        let mut counters = Counters::default();
        for fate in Fate::ALL {
            counters.end(*fate);
        }
        counters.tally(Tally::Sent);
        assert_eq!(counters.datagrams(), Fate::ALL.len() as u64);
        assert_eq!((counters.fate(Fate::Empty), counters.of(Tally::Sent)), (1, 1));
        assert_eq!(Counters::names().count(), Counters::COUNT);
    }
}
